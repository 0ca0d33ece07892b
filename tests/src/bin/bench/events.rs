//! Acknowledged events a second (`POST /ERSPost`: read, checked, committed with FULL sync, answered) against a bare loop
//! that inserts the same rows into a database of the same schema, one row in each FULL-sync commit.
//!
//! While the rates are compared the appliance hangs: the workers wait, as they do while a real one is away, and what is
//! measured is the door. The last lines show the door while the workers import sessions at the appliance's own limit.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use deskbridge_shared::routes;
use deskbridge_tests::appliance::{Fault, FaultRule, SessionScript};
use deskbridge_tests::scene::{EVENT_TOKEN, Plan, Scene};
use deskbridge_tests::server::Deskbridge;
use deskbridge_tests::zendesk;
use rand::Rng;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous};
use tokio::time::Instant;
use uuid::Uuid;

use crate::load::{self, Measured, Requests, form_post};
use crate::table::{Row, median, milliseconds, rate};
use crate::{ROUNDS, SENDERS, server_address};

/// Events of one round of the server.
const EVENTS_PER_ROUND: usize = 24_000;
/// Rows of one round of the bare loop.
const ROWS_PER_ROUND: usize = 8_000;
/// Sessions waiting to be imported when the busy round begins: more than the workers may ask for while it lasts.
const BUSY_SESSIONS: usize = 150;
/// Least share of the bare loop's rate.
const TARGET: f64 = 0.60;
/// Most time for 99 of 100 answers.
const P99_TARGET: Duration = Duration::from_millis(20);

/// Measures.
pub async fn run() -> Result<Vec<Row>> {
    let scene = Scene::start(Plan::default()).await?;
    scene.appliance.add_fault(FaultRule::always(Fault::Hang));
    let bare = BareLoop::open().await?;
    let mut rounds = Vec::with_capacity(ROUNDS);
    for round in 0..ROUNDS {
        let (ours, bare) = if round % 2 == 0 {
            let ours = post_events(&scene).await?;
            (ours, bare.insert(ROWS_PER_ROUND).await?)
        } else {
            let bare = bare.insert(ROWS_PER_ROUND).await?;
            (post_events(&scene).await?, bare)
        };
        eprintln!("  round {}: {} against {}", round + 1, rate(ours.per_second, "events"), rate(bare, "rows"));
        rounds.push((ours, bare));
    }
    let of = |figure: fn(&Measured, f64) -> f64| median(rounds.iter().map(|(ours, bare)| figure(ours, *bare)).collect());
    let share = of(|ours, bare| ours.per_second / bare);
    let p99 = Duration::from_secs_f64(of(|ours, _| ours.p99().as_secs_f64()));
    let p99_share = p99.as_secs_f64() / P99_TARGET.as_secs_f64();
    drop(scene);
    let busy = busy().await?;
    Ok(vec![
        Row::new("acknowledged events, workers waiting for the appliance", rate(of(|ours, _| ours.per_second), "events"))
            .against(format!("bare SQLite FULL-sync loop {}", rate(of(|_, bare| bare), "rows")), share)
            .wanted(">= 60 %", share >= TARGET),
        Row::new("  p99, 64 senders", milliseconds(p99)).against("limit 20 ms", p99_share).wanted("< 20 ms", p99 < P99_TARGET),
        Row::new(
            format!("  while workers import sessions ({} reports read, {} notes written)", busy.reports, busy.notes),
            format!("{}, p99 {}", rate(busy.measured.per_second, "events"), milliseconds(busy.measured.p99())),
        ),
    ])
}

/// Posts distinct events by all senders.
async fn post_events(scene: &Scene) -> Result<Measured> {
    let target = format!("{}?appliance=default&token={EVENT_TOKEN}", routes::APPLIANCE_EVENTS);
    let event = |_| form_post(&target, &event_body(&new_lsid()));
    let requests: Requests = Arc::new((0..EVENTS_PER_ROUND).map(event).collect());
    load::send(server_address(scene)?, requests, SENDERS).await
}

/// An end event as the appliance posts it (beyondtrust.md E.4).
pub fn event_body(lsid: &str) -> String {
    format!("event=support_conference_end&version=7&timestamp=1733240467&appliance_id=9d2c0b7e5a1f4c3e8b6a7d5c4b3a2f10&lsid={lsid}")
}

/// The id of a session nobody has seen.
pub fn new_lsid() -> String {
    Uuid::from_bytes(random_bytes()).simple().to_string()
}

fn random_bytes<const N: usize>() -> [u8; N] {
    rand::rng().random()
}

struct Busy {
    measured: Measured,
    reports: usize,
    notes: usize,
}

/// One round while the workers have real sessions to import: the appliance's own events go first, and it allows so
/// many calls that some sessions are still waiting when the round is over.
async fn busy() -> Result<Busy> {
    let unlimited = zendesk::Options { rate_limits: None, ..zendesk::Options::default() };
    let scene = Scene::start(Plan { zendesk: unlimited, ..Plan::default() }).await?;
    let ticket = scene.people.vpn_ticket;
    for _ in 0..BUSY_SESSIONS {
        scene.appliance.play(SessionScript::example(ticket.to_string()))?;
    }
    scene.appliance.outbound_idle().await?;
    scene.appliance.wait_for_request(|request| request.is("SupportSession")).await?;
    let reports = || scene.appliance.count(|request| request.is("SupportSession"));
    let notes = || scene.zendesk.comments(ticket).len();
    let (reports_before, notes_before) = (reports(), notes());
    let measured = post_events(&scene).await?;
    let busy = Busy { measured, reports: reports() - reports_before, notes: notes() - notes_before };
    ensure!(busy.reports > 0, "the workers read no report while the events came: they were not busy");
    Ok(busy)
}

/// The peer: one connection, one row, one commit, again.
struct BareLoop {
    pool: SqlitePool,
    connection: String,
    // Holds the database's directory.
    _migrated: Deskbridge,
}

impl BareLoop {
    /// An empty database with the server's own schema, opened with the server's own settings.
    async fn open() -> Result<Self> {
        let migrated = Deskbridge::builder().prepare().await?;
        let output = migrated.command(&["migrate"]).await?;
        ensure!(output.status.success(), "the schema could not be made: {}", String::from_utf8_lossy(&output.stderr));
        let path = migrated.directory().join("deskbridge.db");
        let options = SqliteConnectOptions::new()
            .filename(path)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true);
        let pool =
            SqlitePoolOptions::new().max_connections(1).connect_with(options).await.context("cannot open the bare loop's database")?;
        Ok(Self { pool, connection: Uuid::now_v7().to_string(), _migrated: migrated })
    }

    /// Inserts rows; answers how many a second.
    async fn insert(&self, rows: usize) -> Result<f64> {
        let mut connection = self.pool.acquire().await?;
        let begun = Instant::now();
        for _ in 0..rows {
            sqlx::query(
                "INSERT INTO inbox_event
                   (id, tenant, account, received_by, connection, slot, fingerprint, kind, rank, lsid, origin, received_at, state, not_before)
                 VALUES ($1, 'main', $2, $3, $3, $3, $4, 'session_end', $5, $6, 'outbound', $7, 'ready', $7)
                 ON CONFLICT (account, fingerprint) DO NOTHING",
            )
            .bind(Uuid::now_v7().as_bytes().to_vec())
            .bind("127.0.0.1:8443/simulated-client")
            .bind(&self.connection)
            .bind(random_bytes::<32>().to_vec())
            .bind(1)
            .bind(new_lsid())
            .bind(1_733_240_467_000_i64)
            .execute(&mut *connection)
            .await?;
        }
        Ok(rows as f64 / begun.elapsed().as_secs_f64())
    }
}
