//! The queue: how fast ended sessions reach their tickets, what waiting events cost in memory, and whether the door stays
//! quick meanwhile.
//!
//! The peer of the drain is the fastest that is allowed: one report from the appliance for each session at the 15 calls a second
//! that Deskbridge makes (`calls_per_second`), or one note at a time in each of the server's places at the account's latency.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use deskbridge_shared::routes;
use deskbridge_tests::appliance::{Fault, FaultRule, SessionScript};
use deskbridge_tests::scene::{EVENT_TOKEN, Plan, Scene};
use deskbridge_tests::server::Deskbridge;
use deskbridge_tests::zendesk;
use reqwest::Method;
use tokio::time::{Instant, sleep};

use crate::events::event_body;
use crate::load::{self, Measured, form_post};
use crate::table::{Row, milliseconds, rate};
use crate::{SENDERS, machine, server_address};

/// Ended sessions to bring onto tickets.
const SESSIONS: usize = 1_000;
/// Tickets they belong to.
const TICKETS: usize = 50;
/// The account's answering time.
const LATENCY: Duration = Duration::from_millis(50);
/// Events of one connection worked at at the same time (server/crates/work/src/health.rs).
const PLACES: f64 = 8.0;
/// The appliance's limit.
const CALLS_PER_SECOND: f64 = 15.0;
/// Least share of the allowed rate.
const TARGET: f64 = 0.90;
/// Events posted for another connection while the sessions drain.
const OTHER_EVENTS: usize = 4_000;
/// Most time for 99 of 100 answers.
const P99_TARGET: Duration = Duration::from_millis(20);
/// Waiting events between which memory may grow by [`GROWTH_TARGET`].
const QUEUED: [usize; 2] = [1_000, 100_000];
/// Bytes.
const GROWTH_TARGET: u64 = 20_000_000;
/// A drain that takes longer has failed.
const DRAIN_LIMIT: Duration = Duration::from_mins(4);

/// Another connection, whose appliance nobody answers for: its events wait.
const OTHER: &str = r#"
    name = "Other"
    [appliance]
    id = "other"
    host = "127.0.0.1:9"
    client_id = "other"
    client_secret = "other-secret"
    [zendesk]
    url = "http://127.0.0.1:9"
    username = "api@example.com"
    token = "other-token"
    app_id = 1
    installation_id = 1
"#;

/// Measures.
pub async fn run() -> Result<Vec<Row>> {
    let mut rows = drain().await?;
    rows.push(growth().await?);
    Ok(rows)
}

async fn drain() -> Result<Vec<Row>> {
    let options = zendesk::Options { rate_limits: None, ..zendesk::Options::default() };
    let server = Deskbridge::builder().connection_text(OTHER);
    let scene = Scene::start(Plan { zendesk: options, server, ..Plan::default() }).await?;
    scene.appliance.remove_recipient("Deskbridge");
    let tickets: Vec<u64> = (0..TICKETS).map(|number| scene.add_ticket(&format!("Ticket {number}"))).collect();
    // Nothing may be recorded before the clock runs: the appliance hangs until all sessions have ended.
    scene.appliance.add_fault(FaultRule::always(Fault::Hang));
    let mut lsids = Vec::with_capacity(SESSIONS);
    for number in 0..SESSIONS {
        lsids.push(scene.appliance.play(SessionScript::short(tickets[number % TICKETS].to_string()))?);
    }
    scene.zendesk.set_latency(LATENCY);
    let address = server_address(&scene)?;
    let events = lsids.iter().map(|lsid| form_post(&event_target("default"), &event_body(lsid))).collect();
    load::send(address, Arc::new(events), SENDERS).await?;
    scene.appliance.clear_faults();

    let notes = || scene.zendesk.count(&Method::PUT, "/api/v2/tickets/");
    until(&scene, || notes() > 0).await?;
    let (begun, before) = (Instant::now(), notes());
    let others = (0..OTHER_EVENTS).map(|_| form_post(&event_target("other"), &event_body(&crate::events::new_lsid()))).collect();
    let meanwhile: Measured = load::send(address, Arc::new(others), SENDERS).await?;
    until(&scene, || notes() >= SESSIONS).await?;
    let per_second = (SESSIONS - before) as f64 / begun.elapsed().as_secs_f64();
    ensure!(notes() == SESSIONS, "{} notes for {SESSIONS} sessions", notes());

    let allowed = CALLS_PER_SECOND.min(PLACES / LATENCY.as_secs_f64());
    let share = per_second / allowed;
    let p99 = meanwhile.p99();
    Ok(vec![
        Row::new("1,000 sessions onto tickets, Zendesk at 50 ms", rate(per_second, "notes"))
            .against(format!("allowed {}", rate(allowed, "notes")), share)
            .wanted(">= 90 %", share >= TARGET),
        Row::new("  p99 of the door meanwhile, 64 senders", milliseconds(p99))
            .against("limit 20 ms", p99.as_secs_f64() / P99_TARGET.as_secs_f64())
            .wanted("< 20 ms", p99 < P99_TARGET),
    ])
}

/// Memory with few and with many events waiting for an appliance that hangs.
async fn growth() -> Result<Row> {
    let scene = Scene::start(Plan::default()).await?;
    scene.appliance.add_fault(FaultRule::always(Fault::Hang));
    let process = scene.server.process_id().context("the server does not run")?;
    let mut resident = Vec::new();
    let mut queued = 0;
    for wanted in QUEUED {
        let events = (queued..wanted).map(|_| form_post(&event_target("default"), &event_body(&crate::events::new_lsid()))).collect();
        load::send(server_address(&scene)?, Arc::new(events), SENDERS).await?;
        queued = wanted;
        // Both after the same kind of load, so that what differs is the events.
        sleep(Duration::from_secs(2)).await;
        resident.push(machine::resident(process)?);
    }
    let (few, many) = (resident[0], resident[1]);
    let growth = many.saturating_sub(few);
    Ok(Row::new("memory with 100,000 waiting events", format!("{:.1} MB", many as f64 / 1e6))
        .against(format!("with 1,000: {:.1} MB", few as f64 / 1e6), many as f64 / few as f64)
        .wanted("+ < 20 MB", growth < GROWTH_TARGET))
}

fn event_target(appliance: &str) -> String {
    format!("{}?appliance={appliance}&token={EVENT_TOKEN}", routes::APPLIANCE_EVENTS)
}

/// Looks often until `reached`.
async fn until(scene: &Scene, reached: impl Fn() -> bool) -> Result<()> {
    let begun = Instant::now();
    while !reached() {
        ensure!(begun.elapsed() < DRAIN_LIMIT, "the queue does not drain:\n{}", scene.server.logs().tail());
        sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}
