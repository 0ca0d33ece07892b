//! The background's decisions: who may ask what, and what he gets. Pure: a question with all there is to know goes in, the answer, the changed
//! memory and what is to be sent on come out; `assets/background.js` does the rest.
//!
//! Callers are content scripts, whose page may have taken them over, and our own pages, which any site may put into a frame. So a question is
//! believed only as far as the browser vouches for it: the sender's origin, tab, frame and document.
//!
//! A *mount* is what lets a frame be the panel: a random id, made for one document that shows a ticket, given to the first frame of the same
//! tab that brings it, and to that frame alone.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::json::lenient;
use crate::settings::{Managed, Paired, Settings, Stored, connection_of};
use crate::site::{self, Form, Page, Plan, SiteKind, Snapshot};
use crate::texts::{Word, Words};

/// Documents remembered; beyond, the oldest goes.
const MOST_DOCUMENTS: usize = 200;
/// Mounts of one document; beyond, the oldest goes.
const MOST_MOUNTS: usize = 10;
/// Longest text put into a reply, in characters.
const LONGEST_TEXT: usize = 20_000;
/// The panel's page in the package.
const PANEL: &str = "/panel.html";

/// Everything the background knows when it is asked.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Question {
    /// What is asked.
    pub message: Value,
    /// Who asks.
    pub sender: Sender,
    /// Who we are.
    pub extension: Extension,
    /// What the user has set.
    #[serde(default, deserialize_with = "lenient")]
    pub stored: Stored,
    /// What a policy sets.
    #[serde(default, deserialize_with = "lenient")]
    pub managed: Managed,
    /// The pairing, if there is one.
    #[serde(default, deserialize_with = "lenient")]
    pub paired: Option<Paired>,
    /// What is remembered while the browser runs.
    #[serde(default, deserialize_with = "lenient")]
    pub memory: Memory,
    /// The browser's language.
    #[serde(default)]
    pub language: String,
    /// 128 random bits in hexadecimal, fresh for each question.
    pub random: String,
}

/// This extension, as the browser names it.
#[derive(Clone, Debug, Deserialize)]
pub struct Extension {
    /// `runtime.id`.
    pub id: String,
    /// The origin of its pages.
    pub origin: String,
}

/// The sender of a message, as the browser tells (autotask-extension.md e.3).
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Sender {
    /// The extension it is of.
    pub id: String,
    /// The document's address.
    pub url: String,
    /// The document's origin.
    pub origin: String,
    /// The tab's number.
    pub tab: Option<i64>,
    /// The frame's number in the tab; 0: the tab's own document.
    pub frame: Option<i64>,
    /// The document's id.
    pub document: Option<String>,
}

/// What is remembered while the browser runs (`storage.session`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memory {
    #[serde(default)]
    documents: Vec<Document>,
}

/// A document that shows a ticket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Document {
    tab: i64,
    frame: i64,
    id: String,
    kind: SiteKind,
    site: String,
    is_dark: bool,
    key: String,
    /// The ticket's id on its page.
    ticket: String,
    /// What the server knows it by.
    reference: String,
    target: Option<String>,
    #[serde(default)]
    recipient: Option<String>,
    #[serde(default)]
    has_reply: bool,
    #[serde(default)]
    is_over_page: bool,
    mounts: Vec<Held>,
}

/// A mount, and the frame that holds it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Held {
    id: String,
    frame: Option<i64>,
}

/// What can be asked.
#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "type", rename_all = "camelCase", rename_all_fields = "camelCase")]
enum Message {
    /// A page asks what to collect.
    Look { url: String, title: String },
    /// A page hands in what it collected.
    Plan { url: String, title: String, site: usize, snapshot: Snapshot, background: String },
    /// A page wants to show the panel of the ticket it was told.
    Mount { key: String },
    /// A page shows its ticket no more.
    Leave,
    /// A frame of ours says which mount it was made for.
    Claim { mount: String },
    /// A page wants to know what the sessions of the ticket it was told come to.
    Sessions { key: String },
    /// The panel leads to the settings.
    Settings,
    /// The panel has text for the reply.
    Insert { mount: String, text: String },
    /// The panel has a note for the ticket.
    Note { mount: String, note: NoteTexts },
}

/// A note as the panel hands it in, and as the background hands it on (src/site/osticket_note.rs).
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct NoteTexts {
    title: String,
    html: String,
    text: String,
    marker: String,
    title_marker: String,
    send_until: Option<i64>,
}

/// What the background does now.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Outcome {
    /// What the sender gets; null: nothing.
    pub reply: Value,
    /// The memory, if it changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<Memory>,
    /// What a content script is asked before the sender gets an answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub forward: Option<Forward>,
    /// The settings are opened: Firefox lets no page in a site's frame do that.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub opens_settings: bool,
    /// What the server is asked before the sender gets an answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sessions_of: Option<SessionsOf>,
}

/// A question to the server for a ticket's sessions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SessionsOf {
    /// Who asks.
    pub paired: Paired,
    /// The connection's name.
    pub connection: String,
    /// What the server knows the ticket by.
    pub ticket: String,
    /// Whether the page is asked to add reports, so that one may wait.
    pub adds_reports: bool,
    /// After so many seconds the page asks again.
    pub every: u32,
    /// The server is asked again after so many seconds at the soonest, however often a page asks.
    pub least: u32,
}

/// A message to a content script.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Forward {
    /// The tab.
    pub tab: i64,
    /// The frame in it.
    pub frame: i64,
    /// What it is told.
    pub message: Value,
}

/// What to answer. A question nobody may ask gets null, whatever it was.
pub fn answer(question: &Question) -> Outcome {
    decide(question).unwrap_or_default()
}

fn decide(question: &Question) -> Option<Outcome> {
    let sender = &question.sender;
    // Messages of other extensions come by another event; this is the second lock.
    if sender.id != question.extension.id {
        return None;
    }
    let message: Message = serde_json::from_value(question.message.clone()).ok()?;
    let place = Place { tab: sender.tab?, frame: sender.frame?, document: sender.document.as_deref().unwrap_or_default() };
    let is_panel = sender.origin == question.extension.origin && is_panel_page(&sender.url, &question.extension.origin);
    match message {
        Message::Settings if is_panel => Some(Outcome { opens_settings: true, ..Outcome::default() }),
        Message::Claim { mount } if is_panel => Some(claim(question, &place, &mount)),
        Message::Insert { mount, text } if is_panel => insert(question, &place, &mount, &text),
        Message::Note { mount, note } if is_panel => write_note(question, &place, &mount, &note),
        _ if is_panel => None,
        message => from_page(question, &place, message),
    }
}

/// Where a message comes from, in numbers.
struct Place<'a> {
    tab: i64,
    frame: i64,
    document: &'a str,
}

impl Document {
    fn is_at(&self, place: &Place<'_>) -> bool {
        self.tab == place.tab && self.frame == place.frame && self.id == place.document
    }
}

fn is_panel_page(url: &str, origin: &str) -> bool {
    let page = url.strip_prefix(origin).and_then(|rest| rest.strip_prefix(PANEL));
    page.is_some_and(|rest| rest.is_empty() || rest.starts_with(['#', '?']))
}

/// A content script asks. Its page is of one of the sites, or it gets nothing: the page it names must be of its own origin, and of a site.
fn from_page(question: &Question, place: &Place<'_>, message: Message) -> Option<Outcome> {
    let sender = &question.sender;
    let settings = Settings::of(&question.stored, &question.managed);
    let page = |url: String, title: String| {
        // The address may be newer than the one the browser tells, but it is of the same origin or a lie.
        let is_own = url.strip_prefix(&sender.origin).is_some_and(|rest| rest.starts_with('/'));
        is_own.then_some(Page { url, title, is_top: place.frame == 0 })
    };
    let mut memory = question.memory.clone();
    let mut outcome = Outcome::default();
    match message {
        Message::Look { url, title } => {
            let look = site::look(&page(url, title)?, &settings.sites)?;
            outcome.reply = serde_json::to_value(look).ok()?;
            return Some(outcome);
        }
        Message::Plan { url, title, site, snapshot, background } => {
            let page = page(url, title)?;
            let site = settings.sites.get(site)?;
            let plan = site::plan(&page, site, &snapshot);
            // A page that draws itself anew has no ticket for a moment. When it is gone for good, the script says so.
            if let Some(plan) = plan
                && let Some(reference) = reference(site.kind, &plan)
            {
                outcome.reply = serde_json::to_value(&plan).ok()?;
                let words = Words::of(settings.language.tag(&question.language));
                let said = |word: Word| words.get(word);
                outcome.reply["labels"] = json!({ "title": said(Word::PanelOpen), "show": said(Word::PanelShow), "hide": said(Word::PanelHide),
                        "open": said(Word::PanelSessionOpen), "due": said(Word::PanelReportDue) });
                memory.show(Document {
                    tab: place.tab,
                    frame: place.frame,
                    id: place.document.into(),
                    kind: site.kind,
                    site: site.url.clone(),
                    is_dark: is_dark(&background),
                    reference: reference.clone(),
                    key: plan.key,
                    ticket: plan.ticket,
                    target: plan.target,
                    recipient: plan.recipient,
                    has_reply: plan.has_reply,
                    is_over_page: matches!(plan.mount.form, Form::Button { .. }),
                    mounts: Vec::new(),
                });
            }
        }
        Message::Mount { key } => {
            memory.mount(place, &key, &question.random)?;
            outcome.reply = json!({ "mount": question.random });
        }
        Message::Sessions { key } => {
            let document = memory.documents.iter().find(|document| document.is_at(place) && document.key == key)?;
            outcome.sessions_of = sessions_of(question, &settings, document);
        }
        Message::Leave => memory.leave(place),
        Message::Claim { .. } | Message::Settings | Message::Insert { .. } | Message::Note { .. } => return None,
    }
    outcome.memory = (memory != question.memory).then_some(memory);
    Some(outcome)
}

/// A frame gets what its panel needs, or is told that it may not be one.
fn claim(question: &Question, place: &Place<'_>, mount: &str) -> Outcome {
    let mut memory = question.memory.clone();
    let settings = Settings::of(&question.stored, &question.managed);
    let paired = paired(question, &settings);
    let reply = match memory.claim(place, mount) {
        None => json!({ "refused": true }),
        Some(document) => json!({
            "connection": connection(&settings, paired, document),
            "ticket": document.reference,
            "target": document.target,
            "recipient": document.recipient,
            "hasReply": document.has_reply,
            "isOverPage": document.is_over_page,
            "dark": document.is_dark,
            "language": settings.language,
            "paired": paired,
        }),
    };
    let memory = (memory != question.memory).then_some(memory);
    Outcome { reply, memory, ..Outcome::default() }
}

/// The pairing with the server that is set.
fn paired<'a>(question: &'a Question, settings: &Settings) -> Option<&'a Paired> {
    question.paired.as_ref().filter(|paired| paired.server == settings.server)
}

/// The connection that a document's site belongs to.
fn connection(settings: &Settings, paired: Option<&Paired>, document: &Document) -> Option<String> {
    let site = settings.sites.iter().find(|site| site.kind == document.kind && site.url == document.site)?;
    connection_of(site, &paired?.connections).map(str::to_owned)
}

fn sessions_of(question: &Question, settings: &Settings, document: &Document) -> Option<SessionsOf> {
    let paired = paired(question, settings)?;
    Some(SessionsOf {
        connection: connection(settings, Some(paired), document)?,
        paired: paired.clone(),
        ticket: document.reference.clone(),
        adds_reports: document.kind == SiteKind::Osticket,
        // The server asks the help desk each time whether the agent may see the ticket, and Autotask counts its calls.
        every: if document.kind == SiteKind::Osticket { 30 } else { 300 },
        least: if document.kind == SiteKind::Osticket { 5 } else { 60 },
    })
}

fn insert(question: &Question, place: &Place<'_>, mount: &str, text: &str) -> Option<Outcome> {
    let document = question.memory.held(place, mount)?;
    if text.is_empty() || text.chars().nth(LONGEST_TEXT).is_some() {
        return None;
    }
    let (selectors, tab) = (reply_fields(document.kind), reply_tab(document.kind));
    let message = json!({ "type": "insert", "key": document.key, "selectors": selectors, "tab": tab, "text": text });
    Some(document.told(message))
}

fn write_note(question: &Question, place: &Place<'_>, mount: &str, note: &NoteTexts) -> Option<Outcome> {
    let document = question.memory.held(place, mount)?;
    if document.kind != SiteKind::Osticket {
        return None;
    }
    let (key, site, ticket) = (&document.key, &document.site, &document.ticket);
    let message = json!({ "type": "note", "key": key, "site": site, "ticket": ticket, "note": note });
    Some(document.told(message))
}

/// What the server and the appliance know the ticket by: its id, osTicket's number. osTicket's id may be another ticket's number, so
/// it never stands in for one.
const fn reference(kind: SiteKind, plan: &Plan) -> Option<&String> {
    match kind {
        SiteKind::Autotask | SiteKind::RequestTracker => Some(&plan.ticket),
        SiteKind::Osticket => plan.number.as_ref(),
    }
}

/// Where an agent writes to the customer. osTicket: a text area, with Redactor before it unless the agent has switched that off; Autotask: the
/// quick note (autotask-extension.md c.3).
const fn reply_fields(kind: SiteKind) -> &'static [&'static str] {
    match kind {
        SiteKind::Osticket => &["#reply .redactor-in", "#reply .redactor-editor", "#reply textarea#response"],
        SiteKind::Autotask => &[".QuickNote textarea"],
        // Replies are written on a page of their own.
        SiteKind::RequestTracker => &[],
    }
}

/// What shows the form of those fields where another form is shown in its place: osTicket has one tab for replies and one for notes.
const fn reply_tab(kind: SiteKind) -> Option<&'static str> {
    match kind {
        SiteKind::Osticket => Some("#response_options ul.tabs a[href='#reply']"),
        SiteKind::Autotask | SiteKind::RequestTracker => None,
    }
}

impl Document {
    fn told(&self, message: Value) -> Outcome {
        Outcome { forward: Some(Forward { tab: self.tab, frame: self.frame, message }), ..Outcome::default() }
    }
}

impl Memory {
    /// A document shows a ticket. The mounts of the same ticket stay good; a document that stood there before is gone.
    fn show(&mut self, mut document: Document) {
        let before = self.documents.iter().position(|known| known.tab == document.tab && known.frame == document.frame);
        if let Some(before) = before {
            let before = self.documents.remove(before);
            if before.id == document.id && before.key == document.key {
                document.mounts = before.mounts;
            }
        }
        if self.documents.len() >= MOST_DOCUMENTS {
            self.documents.remove(0);
        }
        self.documents.push(document);
    }

    fn leave(&mut self, place: &Place<'_>) {
        self.documents.retain(|document| !document.is_at(place));
    }

    /// Makes a mount for the ticket the document shows. `None`: it shows no such ticket.
    fn mount(&mut self, place: &Place<'_>, key: &str, id: &str) -> Option<()> {
        let document = self.documents.iter_mut().find(|document| document.is_at(place) && document.key == key)?;
        // Ids of another shape would be no secret.
        if id.len() != 32 || !id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        if document.mounts.len() >= MOST_MOUNTS {
            document.mounts.remove(0);
        }
        document.mounts.push(Held { id: id.into(), frame: None });
        Some(())
    }

    /// Gives the mount to the frame, unless another has it. A frame of the same tab that is not the ticket page's own.
    fn claim(&mut self, place: &Place<'_>, mount: &str) -> Option<&Document> {
        let document = self.documents.iter_mut().find(|document| document.mounts.iter().any(|held| held.id == mount))?;
        let held = document.mounts.iter_mut().find(|held| held.id == mount)?;
        if document.tab != place.tab || place.frame == 0 || held.frame.is_some_and(|frame| frame != place.frame) {
            return None;
        }
        held.frame = Some(place.frame);
        Some(document)
    }

    /// The document of a mount the frame holds.
    fn held(&self, place: &Place<'_>, mount: &str) -> Option<&Document> {
        let holds = |held: &Held| held.id == mount && held.frame == Some(place.frame);
        self.documents.iter().find(|document| document.tab == place.tab && document.mounts.iter().any(holds))
    }

    /// The memory without a tab that was closed.
    #[must_use]
    pub fn without_tab(&self, tab: i64) -> Self {
        Self { documents: self.documents.iter().filter(|document| document.tab != tab).cloned().collect() }
    }
}

/// Whether a page's background (`rgb(…)` or `rgba(…)`, as browsers compute it) is dark, so that the panel beside it is too. A page that sets
/// none is light. In whole numbers: reading others brings 13 kB of tables with it.
fn is_dark(color: &str) -> bool {
    let Some(inside) = color.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')')) else { return false };
    let mut parts = inside.split([',', ' ', '/']).filter(|part| !part.is_empty());
    let mut shade = || parts.next().and_then(|part| part.split('.').next()?.parse::<u32>().ok()).filter(|shade| *shade < 256);
    let (Some(red), Some(green), Some(blue)) = (shade(), shade(), shade()) else { return false };
    // Half and more: 0.5…0.9…, or 1.
    let is_opaque = parts.next().is_none_or(|alpha| alpha == "1" || alpha.strip_prefix("0.").is_some_and(|tenths| tenths >= "5"));
    // Brightness as the eye weighs it (ITU-R BT.601).
    is_opaque && 299 * red + 587 * green + 114 * blue < 100_000
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const OURS: &str = "chrome-extension://abcdefghijklmnop";
    const DESK: &str = "https://desk.example.com";
    const TICKET: &str = "https://desk.example.com/scp/tickets.php?id=116";

    /// The background with what it remembers.
    struct Background {
        memory: Memory,
        paired: Option<Value>,
        drawn: u32,
    }

    impl Background {
        fn new() -> Self {
            let connection = json!({ "name": "Desk", "system": "osticket", "site": DESK });
            let paired =
                json!({ "server": "https://remote.example.com", "device": "d", "name": "n", "agent": null, "connections": [connection] });
            Self { memory: Memory::default(), paired: Some(paired), drawn: 0 }
        }

        fn ask(&mut self, sender: &Sender, message: impl Into<Value>) -> Outcome {
            self.drawn += 1;
            let message: Value = message.into();
            let question: Question = serde_json::from_value(json!({
                "message": message,
                "sender": { "id": sender.id, "url": sender.url, "origin": sender.origin, "tab": sender.tab, "frame": sender.frame, "document": sender.document },
                "extension": { "id": "abcdefghijklmnop", "origin": OURS },
                "stored": { "server": "https://remote.example.com", "sites": [
                    { "kind": "osticket", "url": "https://desk.example.com/", "connection": "" },
                    { "kind": "osticket", "url": "https://other.example.com/", "connection": "" },
                ] },
                "paired": self.paired,
                "memory": self.memory,
                "language": "de-AT",
                "random": format!("{:032x}", self.drawn),
            }))
            .expect("a question");
            let outcome = answer(&question);
            if let Some(memory) = &outcome.memory {
                self.memory = memory.clone();
            }
            outcome
        }

        /// A ticket page that has its mount; answers the mount's id.
        fn with_mount(&mut self, sender: &Sender) -> String {
            let plan = self.ask(sender, plan("116"));
            assert_eq!((&plan.reply["key"], &plan.reply["labels"]["title"]), (&json!("osticket:116"), &json!("Fernwartung")), "{plan:?}");
            let mount = self.ask(sender, json!({ "type": "mount", "key": "osticket:116" }));
            mount.reply["mount"].as_str().expect("a mount").to_owned()
        }
    }

    fn page() -> Sender {
        let text = |text: &str| text.to_owned();
        Sender {
            id: text("abcdefghijklmnop"),
            url: text(TICKET),
            origin: text(DESK),
            tab: Some(7),
            frame: Some(0),
            document: Some(text("D1")),
        }
    }

    fn panel(frame: i64) -> Sender {
        Sender { url: format!("{OURS}/panel.html#x"), origin: OURS.into(), frame: Some(frame), document: Some("P1".into()), ..page() }
    }

    fn plan(ticket: &str) -> Value {
        let href = format!("tickets.php?id={ticket}");
        json!({ "type": "plan", "url": format!("{DESK}/scp/tickets.php?id={ticket}"), "title": "", "site": 0, "background": "rgb(255, 255, 255)", "snapshot": {
            "container": [{ "text": "" }], "tabs": [{ "text": "" }], "heading": [{ "text": "Ticket #515631", "attributes": { "href": href } }],
        } })
    }

    fn claimed(background: &mut Background, sender: &Sender, mount: &str) -> bool {
        let reply = background.ask(sender, json!({ "type": "claim", "mount": mount })).reply;
        let refused = reply == json!({ "refused": true });
        assert!(refused || reply.is_null() || reply["ticket"] == "515631", "{reply}");
        !refused && !reply.is_null()
    }

    #[test]
    fn a_ticket_page_gets_its_panel() {
        let mut background = Background::new();
        let look = background.ask(&page(), json!({ "type": "look", "url": TICKET, "title": "" }));
        assert_eq!((&look.reply["site"], look.memory), (&json!(0), None));
        let mount = background.with_mount(&page());
        let claim = background.ask(&panel(3), json!({ "type": "claim", "mount": mount })).reply;
        assert_eq!((&claim["connection"], &claim["ticket"]), (&json!("Desk"), &json!("515631")));
        assert_eq!((&claim["paired"]["device"], &claim["dark"]), (&json!("d"), &json!(false)));
    }

    #[test]
    fn a_mount_is_for_one_frame_of_its_tab() {
        let mut background = Background::new();
        let mount = background.with_mount(&page());
        assert!(!claimed(&mut background, &Sender { tab: Some(8), ..panel(3) }, &mount), "another tab");
        assert!(!claimed(&mut background, &panel(0), &mount), "the panel's page as a tab of its own");
        assert!(!claimed(&mut background, &panel(3), "0"), "a made-up id");
        assert!(claimed(&mut background, &panel(3), &mount));
        assert!(!claimed(&mut background, &panel(4), &mount), "a second frame with the same address");
        let reloaded = Sender { document: Some("P2".into()), ..panel(3) };
        assert!(claimed(&mut background, &reloaded, &mount), "the same frame, loaded again");
    }

    #[test]
    fn a_mount_goes_with_its_ticket() {
        let mut background = Background::new();
        let mount = background.with_mount(&page());
        background.ask(&page(), plan("116"));
        assert!(claimed(&mut background, &panel(3), &mount), "drawn again, the ticket is the same");
        background.ask(&page(), plan("117"));
        assert!(!claimed(&mut background, &panel(3), &mount), "another ticket is shown");

        let mount = background.with_mount(&page());
        background.ask(&page(), json!({ "type": "leave" }));
        assert!(!claimed(&mut background, &panel(3), &mount), "the page has left");

        let mount = background.with_mount(&page());
        background.memory = background.memory.without_tab(7);
        assert!(!claimed(&mut background, &panel(3), &mount), "the tab was closed");

        let mount = background.with_mount(&page());
        background.with_mount(&Sender { document: Some("D2".into()), ..page() });
        assert!(!claimed(&mut background, &panel(3), &mount), "the tab shows another document");
    }

    #[test]
    fn strangers_get_nothing() {
        let mut background = Background::new();
        let mount = background.with_mount(&page());
        let look = || json!({ "type": "look", "url": TICKET, "title": "" });
        let ask_mount = || json!({ "type": "mount", "key": "osticket:116" });
        let claim = || json!({ "type": "claim", "mount": mount });
        let insert = || json!({ "type": "insert", "mount": mount, "text": "x" });
        let mut check = |why: &str, sender: &Sender, message: Value| {
            let before = background.memory.clone();
            assert_eq!(background.ask(sender, message), Outcome::default(), "{why}");
            assert_eq!(background.memory, before, "{why}");
        };
        let foreign = Sender { origin: "https://evil.example".into(), url: "https://evil.example/scp/tickets.php?id=116".into(), ..page() };
        check("another extension", &Sender { id: "ponmlkjihgfedcba".into(), ..page() }, look());
        check("a site nobody configured", &foreign, look());
        check("a site nobody configured, which names a page of ours", &foreign, plan("116"));
        check(
            "a page of ours that names another site's",
            &page(),
            json!({ "type": "look", "url": "https://evil.example/scp/tickets.php?id=1", "title": "" }),
        );
        check(
            "a page of ours that names another of our sites",
            &page(),
            json!({ "type": "look", "url": "https://other.example.com/scp/tickets.php?id=1", "title": "" }),
        );
        check(
            "an origin that only begins like ours",
            &page(),
            json!({ "type": "look", "url": "https://desk.example.com.evil.example/scp/tickets.php?id=1", "title": "" }),
        );
        check("no tab", &Sender { tab: None, ..page() }, look());
        check("a mount from another document", &Sender { document: Some("D2".into()), ..page() }, ask_mount());
        check("a mount from another frame", &Sender { frame: Some(5), ..page() }, ask_mount());
        check("a mount of another ticket", &page(), json!({ "type": "mount", "key": "osticket:117" }));
        check("a page that claims like a panel", &page(), claim());
        check("a page that opens the settings like a panel", &page(), json!({ "type": "settings" }));
        check("a page that inserts like a panel", &page(), insert());
        check("a panel that holds no mount", &panel(9), insert());
        check("another page of ours", &Sender { url: format!("{OURS}/options.html"), ..panel(3) }, claim());
        check("a page whose name begins like the panel's", &Sender { url: format!("{OURS}/panel.html.evil"), ..panel(3) }, claim());
        check("the panel's address under another origin", &Sender { origin: DESK.into(), ..panel(3) }, claim());
        check("a message of no shape", &page(), json!({ "type": "look" }));
        check("a message nobody knows", &page(), json!({ "type": "shutdown" }));
    }

    #[test]
    fn what_the_panel_asks_goes_to_its_own_page() {
        let mut background = Background::new();
        let mount = background.with_mount(&page());
        assert!(claimed(&mut background, &panel(3), &mount));
        let inserted = background.ask(&panel(3), json!({ "type": "insert", "mount": mount, "text": "Dear" })).forward.expect("sent on");
        assert_eq!((inserted.tab, inserted.frame), (7, 0));
        assert_eq!((&inserted.message["key"], &inserted.message["text"]), (&json!("osticket:116"), &json!("Dear")));
        let asked = json!({ "type": "note", "mount": mount, "note": { "title": "t", "html": "h", "text": "p", "marker": "m", "titleMarker": "[1]", "sendUntil": 1 } });
        let noted = background.ask(&panel(3), asked).forward.expect("sent on").message;
        assert_eq!((&noted["site"], &noted["key"]), (&json!(format!("{DESK}/")), &json!("osticket:116")), "what its lock is kept by");
        let too_long = "x".repeat(LONGEST_TEXT + 1);
        assert_eq!(background.ask(&panel(3), json!({ "type": "insert", "mount": mount, "text": too_long })), Outcome::default());
    }

    #[test]
    fn a_page_may_ask_for_the_sessions_of_the_ticket_it_shows() {
        let mut background = Background::new();
        let ask = |key: &str| json!({ "type": "sessions", "key": key });
        assert_eq!(background.ask(&page(), ask("osticket:116")), Outcome::default(), "it shows none yet");
        background.with_mount(&page());
        let asked = background.ask(&page(), ask("osticket:116")).sessions_of.expect("a question");
        assert_eq!((asked.connection.as_str(), asked.ticket.as_str(), asked.adds_reports), ("Desk", "515631", true));
        assert_eq!(background.ask(&page(), ask("osticket:117")), Outcome::default(), "another ticket's");
        assert_eq!(background.ask(&Sender { tab: Some(8), ..page() }, ask("osticket:116")), Outcome::default(), "another tab");
        assert_eq!(background.ask(&panel(3), ask("osticket:116")), Outcome::default(), "a panel asks the server itself");
        background.paired = None;
        assert_eq!(background.ask(&page(), ask("osticket:116")).sessions_of, None);
    }

    #[test]
    fn an_osticket_without_its_number_gets_no_panel() {
        let mut background = Background::new();
        let mut nameless = plan("116");
        nameless["snapshot"]["heading"][0]["text"] = json!("Ticket");
        assert_eq!(background.ask(&page(), nameless), Outcome::default());
    }

    #[test]
    fn an_unpaired_browser_and_a_site_without_connection_are_told() {
        let mut background = Background::new();
        background.paired = None;
        let mount = background.with_mount(&page());
        let claim = background.ask(&panel(3), json!({ "type": "claim", "mount": mount })).reply;
        assert_eq!((&claim["paired"], &claim["connection"]), (&Value::Null, &Value::Null));
        background.paired =
            Some(json!({ "server": "https://former.example.com", "device": "d", "name": "n", "agent": null, "connections": [] }));
        let claim = background.ask(&panel(3), json!({ "type": "claim", "mount": mount })).reply;
        assert_eq!(claim["paired"], Value::Null, "paired with another server than the one set");
    }

    #[test]
    fn memory_is_bounded() {
        let mut background = Background::new();
        for tab in 0..300 {
            background.with_mount(&Sender { tab: Some(tab), ..page() });
        }
        assert_eq!(background.memory.documents.len(), MOST_DOCUMENTS);
        let sender = Sender { tab: Some(299), ..page() };
        for _ in 0..30 {
            background.ask(&sender, json!({ "type": "mount", "key": "osticket:116" }));
        }
        assert_eq!(background.memory.documents.last().expect("the last").mounts.len(), MOST_MOUNTS);
    }

    #[test]
    fn dark_pages_are_told_from_light_ones() {
        for (color, dark) in [
            ("rgb(0, 0, 0)", true),
            ("rgb(21 26 30)", true),
            ("rgba(0, 0, 0, 0)", false),
            ("rgba(10, 10, 10, 0.9)", true),
            ("rgb(255, 255, 255)", false),
            ("rgb(38, 148, 214)", false),
            ("", false),
            ("color(srgb 0 0 0)", false),
        ] {
            assert_eq!(is_dark(color), dark, "{color}");
        }
    }
}
