//! Leases due events, has them done, and writes down how it went.
//!
//! Each connection has its own few places, so a hung appliance or a sick ticket system fills only its own. A lease is
//! renewed while its event is worked at; when the renewal finds the lease lost, the work is dropped.

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::event::setting;
use super::health::{Change, Health, Told};
use super::retry::{self, Attempt};
use crate::app::App;
use crate::clock::random_fraction;
use crate::connections::Connection;
use crate::store::{EventName, LeasedEvent, Outcome, StoreError};
use crate::support::import_session::{self, ImportError};
use crate::support::{create_ticket, import_survey};
use crate::{fault_point, metrics};

/// Length of a lease (DESIGN.md, Settled details).
const LEASE_MS: i64 = 15_000;
/// So long before its end a lease that cannot be renewed is given up.
const LEASE_MARGIN_MS: i64 = 2_000;
/// How often it is renewed.
const RENEW_EVERY: Duration = Duration::from_secs(5);
/// Without a wake-up, the store is looked at this often, more or less a tenth.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// And not more often than this.
const LOOK_LEAST: Duration = Duration::from_millis(100);
/// Time a stop leaves running work.
const STOP_PATIENCE: Duration = Duration::from_secs(8);

/// One connection's places and health.
#[derive(Default)]
struct Lane {
    taken: usize,
    health: Health,
}

/// What a finished piece of work tells the loop.
struct Finished {
    connection: String,
    lsid: String,
    verdict: Verdict,
}

/// What the work says about the outside systems.
enum Verdict {
    /// They answered, whatever became of the event.
    Well,
    /// They failed in a way that passes.
    Passing(Option<Duration>),
    /// They refused the credentials.
    Denied,
    /// Nothing: they were not asked, or the work broke off.
    Nothing,
}

/// Works until `stop`; then lets running work end or gives its leases back.
pub async fn run(app: Arc<App>, stop: CancellationToken) {
    let owner = app.server_id;
    let mut running: JoinSet<Finished> = JoinSet::new();
    let mut lanes: HashMap<String, Lane> = HashMap::new();
    while !stop.is_cancelled() {
        app.worker_looked_at.store(app.clock.now_ms(), Ordering::Relaxed);
        let wait = match lease_due(&app, owner, &mut running, &mut lanes).await {
            Ok(next_due) => next_due,
            Err(error) => {
                tracing::error!(%error, "events could not be leased; trying again");
                LOOK_EVERY
            }
        };
        let look_again = tokio::time::sleep(wait.mul_f64(0.9 + 0.2 * random_fraction()));
        tokio::select! {
            () = stop.cancelled() => break,
            () = app.wake.notified() => {}
            () = look_again => {}
            Some(finished) = running.join_next() => settle(finished, &mut lanes),
        }
        while let Some(finished) = running.try_join_next() {
            settle(finished, &mut lanes);
        }
    }
    let drained = tokio::time::timeout(STOP_PATIENCE, async { while running.join_next().await.is_some() {} }).await;
    if drained.is_err() {
        running.shutdown().await;
    }
    match app.store.release_leases(owner, app.clock.now_ms()).await {
        Ok(0) => {}
        Ok(released) => tracing::info!(released, "unfinished events given back"),
        Err(error) => tracing::warn!(%error, "leases could not be given back; they end by themselves"),
    }
}

/// Fills free places. The answer is when to look again.
async fn lease_due(
    app: &Arc<App>,
    owner: Uuid,
    running: &mut JoinSet<Finished>,
    lanes: &mut HashMap<String, Lane>,
) -> Result<Duration, StoreError> {
    for connection in app.connections.all().iter() {
        let lane = lanes.entry(connection.name().to_owned()).or_default();
        let free = lane.health.places(Instant::now()).saturating_sub(lane.taken);
        if free == 0 {
            continue;
        }
        let now = app.clock.now_ms();
        let events = app.store.claim_events(connection.name(), owner, now, now + LEASE_MS, i64::try_from(free).unwrap_or(1)).await?;
        for event in events {
            lane.taken += 1;
            let (app, connection) = (app.clone(), connection.clone());
            running.spawn(async move {
                let worked = AssertUnwindSafe(work(&app, &connection, &event)).catch_unwind().await;
                let verdict = worked.unwrap_or_else(|_| {
                    // The event comes back when its lease ends, and counts as an attempt.
                    tracing::error!(event = %event.id, "the work broke off");
                    Verdict::Nothing
                });
                Finished { connection: event.connection, lsid: event.lsid, verdict }
            });
        }
    }
    let due_in_ms = app.store.next_due().await?.map_or(i64::MAX, |due| due - app.clock.now_ms());
    // What is due but finds no place waits for a place, not for time.
    Ok(Duration::from_millis(u64::try_from(due_in_ms).unwrap_or(0)).clamp(LOOK_LEAST, LOOK_EVERY))
}

fn settle(finished: Result<Finished, tokio::task::JoinError>, lanes: &mut HashMap<String, Lane>) {
    let Ok(Finished { connection, lsid, verdict }) = finished else { return };
    let Some(lane) = lanes.get_mut(&connection) else { return };
    lane.taken = lane.taken.saturating_sub(1);
    let told = match verdict {
        Verdict::Well => Told::Well,
        Verdict::Passing(wish) => Told::Passing { lsid: &lsid, wish },
        Verdict::Denied => Told::Denied,
        Verdict::Nothing => return,
    };
    match lane.health.hear(told, Instant::now()) {
        Change::None => {}
        Change::Sick => tracing::warn!(connection, "the connection's systems fail; its events rest until they answer again"),
        Change::Held => {
            tracing::error!(connection, "credentials are refused; the connection's events wait. `deskbridge check` says what to do");
        }
        Change::Recovered => tracing::info!(connection, "the connection's systems answer again"),
    }
}

/// Does one event and writes down how it went.
#[tracing::instrument(name = "event", skip_all, fields(id = %event.id, connection = connection.name(), kind = event.kind.as_str(), lsid = event.lsid))]
async fn work(app: &Arc<App>, connection: &Arc<Connection>, event: &LeasedEvent) -> Verdict {
    fault_point::reach("leased");
    let result = tokio::select! {
        result = process(app, connection, event) => result,
        () = lose_lease(app, event) => {
            tracing::warn!("lease lost; the work is dropped");
            return Verdict::Nothing;
        }
    };
    let verdict = match &result {
        Ok(_) | Err(ImportError::NotReady | ImportError::Permanent(_)) => Verdict::Well,
        Err(ImportError::Passing { retry_after, .. }) => Verdict::Passing(*retry_after),
        Err(ImportError::Denied(_)) => Verdict::Denied,
        Err(ImportError::NotItsTurn | ImportError::Unsettled { .. } | ImportError::Store(_)) => Verdict::Nothing,
    };
    let now = app.clock.now_ms();
    let outcome = match result {
        Ok(done) => Outcome::Done(done),
        Err(error) => {
            let section = &connection.settings.appliance;
            retry::decide(&Attempt {
                attempts: event.attempts,
                limit: section.retry_attempt_limit,
                retried: retry::is_retried(section, setting(event.kind), event.origin),
                received_at: event.received_at,
                now,
                chance: random_fraction(),
                error: &error,
            })
        }
    };
    match &outcome {
        Outcome::Done(done) => tracing::info!(done, "event done"),
        Outcome::Retry { reason, not_before, .. } => {
            tracing::info!(reason, wait_ms = not_before - now, attempts = event.attempts, "event will be tried again");
        }
        Outcome::Dead(reason) => tracing::warn!(reason, attempts = event.attempts, "event is a dead letter"),
    }
    metrics::event_ended(connection.name(), event.kind, &outcome);
    fault_point::reach("confirmed");
    match app.store.finish_event(event, &outcome, now).await {
        Ok(true) => {}
        Ok(false) => tracing::warn!("lease lost before the end was written; another worker has the event"),
        Err(error) => tracing::error!(%error, "the event's end could not be written; it comes back when its lease ends"),
    }
    fault_point::reach("finished");
    app.wake.notify_one();
    verdict
}

async fn process(app: &Arc<App>, connection: &Arc<Connection>, event: &LeasedEvent) -> Result<String, ImportError> {
    // Attempts are counted when an event is leased, so one that takes the process down with it ends here.
    let limit = connection.settings.appliance.retry_attempt_limit;
    if event.attempts > 1 && u32::try_from(event.attempts).unwrap_or(u32::MAX) > limit.saturating_add(2) {
        return Err(ImportError::Permanent(format!("the server broke off {} times while working at this event", event.attempts - 1)));
    }
    match event.kind {
        EventName::Progress => import_session::note_progress(app, connection, event).await,
        EventName::SomeoneJoins => create_ticket::run(app, connection, event).await,
        EventName::SessionEnd => import_session::run(app, connection, event).await,
        EventName::CustomerSurvey | EventName::RepresentativeSurvey => import_survey::run(app, connection, event).await,
    }
}

/// Renews the lease; returns when it is lost, or may be soon because the database does not answer.
async fn lose_lease(app: &App, event: &LeasedEvent) {
    let mut until = event.leased_at + LEASE_MS;
    loop {
        tokio::time::sleep(RENEW_EVERY).await;
        let wanted = app.clock.now_ms() + LEASE_MS;
        let left = Duration::from_millis(u64::try_from(until - LEASE_MARGIN_MS - app.clock.now_ms()).unwrap_or(0));
        match tokio::time::timeout(left, app.store.renew_lease(event, wanted)).await {
            Ok(Ok(true)) => until = wanted,
            Ok(Ok(false)) | Err(_) => return,
            Ok(Err(error)) => tracing::warn!(%error, "the lease could not be renewed"),
        }
    }
}
