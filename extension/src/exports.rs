//! What the JavaScript hosts call. Wasm only; JSON goes in and out.

use serde::{Deserialize, Serialize};
use serde_json::json;
use wasm_bindgen::prelude::wasm_bindgen;
use wasm_bindgen_futures::spawn_local;

use crate::json::{read, write};
use crate::router::{self, Memory, Question, SessionsOf};
use crate::settings::{Managed, Settings, Stored, match_pattern};
use crate::signing::hexadecimal;
use crate::site::osticket_note::{self, NoteTask, Posting, Response};
use crate::{browser, device, options_page, panel_page};

/// A message came: what to answer, remember and send on. `null` for what does not read.
#[wasm_bindgen]
pub fn route(question: &str) -> String {
    write(&read::<Question>(question).map(|question| router::answer(&question)).unwrap_or_default())
}

/// A tab was closed: the memory without it.
#[wasm_bindgen(js_name = withoutTab)]
pub fn without_tab(memory: &str, tab: f64) -> String {
    #[expect(clippy::cast_possible_truncation, reason = "browsers number tabs with integers")]
    let memory = read::<Memory>(memory).unwrap_or_default().without_tab(tab as i64);
    write(&memory)
}

/// The patterns of the pages to run on, as a JSON list; less those the manifest has anyway.
#[wasm_bindgen]
pub fn patterns(stored: &str, managed: &str) -> String {
    let stored: Stored = read(stored).unwrap_or_default();
    let managed: Managed = read(managed).unwrap_or_default();
    let sites = Settings::of(&stored, &managed).sites;
    let mut patterns: Vec<String> = sites.iter().filter_map(|site| match_pattern(&site.url)).collect();
    patterns.sort();
    patterns.dedup();
    write(&patterns)
}

/// The next step of a note, and what to hand in with its answer.
#[derive(Serialize)]
struct NoteStep {
    posting: Posting,
    step: osticket_note::Step,
}

/// Begins a note in the agent's own osTicket session. `task`: a [`NoteTask`]; `null` for what is none.
#[wasm_bindgen(js_name = beginNote)]
pub fn begin_note(task: &str) -> String {
    let begun = read::<NoteTask>(task).map(osticket_note::start);
    write(&begun.map(|(posting, step)| NoteStep { posting, step }))
}

/// Goes on with it. `answered`: the posting, what came of its request, and the time (Unix milliseconds).
#[wasm_bindgen(js_name = continueNote)]
pub fn continue_note(answered: &str) -> String {
    #[derive(Deserialize)]
    struct Answered {
        posting: Posting,
        response: Response,
        now: i64,
    }
    let Some(Answered { mut posting, response, now }) = read(answered) else { return String::new() };
    let step = posting.take(&response, now);
    write(&NoteStep { posting, step })
}

/// What the sessions of a ticket come to. `asked`: a [`SessionsOf`]; `null` where the server does not say.
#[wasm_bindgen(js_name = sessionsSummary)]
pub async fn sessions_summary(asked: String) -> String {
    let Some(asked) = read::<SessionsOf>(&asked) else { return "null".into() };
    let summary = device::sessions_summary(&asked).await;
    write(&summary.map(|summary| json!({ "isOpen": summary.is_open, "hasReport": summary.has_report, "every": asked.every })))
}

/// 128 random bits in hexadecimal.
#[wasm_bindgen(js_name = randomId)]
pub fn random_id() -> String {
    hexadecimal(&browser::random(16))
}

/// Pairs by a policy's token, if there is one and the browser is not paired with that server yet.
#[wasm_bindgen]
pub async fn enrol() {
    device::enrol().await;
}

/// A press on the panel did not count: it was covered.
#[wasm_bindgen(js_name = sayCovered)]
pub fn say_covered() {
    panel_page::say_covered();
}

/// Shows the panel in `panel.html`.
#[wasm_bindgen(js_name = startPanel)]
pub fn start_panel() {
    spawn_local(panel_page::start());
}

/// Shows the options in `options.html`.
#[wasm_bindgen(js_name = startOptions)]
pub fn start_options() {
    options_page::start();
}
