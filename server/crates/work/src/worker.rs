//! Leases due events, has them done, and stores how it went.
//!
//! Each connection has its own queue slot with room for a few events, so a hung engine or a sick help desk fills only its own. A lease is
//! renewed while its event is worked at; when the renewal finds the lease lost, the work is dropped.

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use futures_util::FutureExt;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use async_trait::async_trait;
use deskbridge_core::clock::{Clock, random_fraction};
use deskbridge_core::fault_point;
use deskbridge_core::settings::EventPolicy;
use deskbridge_store::{DeliveryKey, LeasedEvent, Outcome, SlotWork, Store, StoreError};

use crate::health::{Change, Health};
use crate::heard::{Heard, Said, System};
use crate::retry::{self, Attempt};
use crate::{WorkError, metrics};

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

/// What runs in a queue slot.
#[derive(Clone, Debug)]
pub struct SlotOwner {
    /// For people: the connection's name, or the account.
    pub name: String,
    /// Which events are tried again, and how often.
    pub policy: EventPolicy,
    /// When its settings were last saved, or found to be good, Unix ms: whatever rests is tried again at once.
    pub saved_at: i64,
}

/// An event that was brought to its end.
#[derive(Debug)]
pub struct Handled {
    /// How it ended.
    pub outcome: Outcome,
    /// Deliveries that were written and are not stored as confirmed yet, with the ids of what they left.
    pub confirmed: Vec<(DeliveryKey, String)>,
    /// The session's report stands on its ticket.
    pub recorded: bool,
}

impl Handled {
    /// Done; nothing was written.
    pub fn done(what: impl Into<String>) -> Self {
        Self { outcome: Outcome::Done(what.into()), confirmed: Vec::new(), recorded: false }
    }
}

/// Knows what events mean.
#[async_trait]
pub trait EventHandler: Send + Sync {
    /// Who works in that slot now. `None`: nobody, its events wait.
    fn slot_owner(&self, slot: &SlotWork) -> Option<SlotOwner>;
    /// Brings an event to its end. What it hears from outside systems goes through `heard`.
    async fn handle(&self, event: &LeasedEvent, heard: &Heard) -> Result<Handled, WorkError>;
    /// What an attempt came to is stored.
    fn ended(&self, _event: &LeasedEvent) {}
}

/// What the worker works with.
pub struct Worker {
    /// The inbox.
    pub store: Arc<dyn Store>,
    /// The time.
    pub clock: Clock,
    /// This process among the servers that share the database.
    pub server_id: Uuid,
    /// Wakes the worker when an event was stored.
    pub wake: Arc<Notify>,
    /// When it last looked for events (Unix ms), for /readyz.
    pub looked_at: Arc<AtomicI64>,
    /// Knows what events mean.
    pub handler: Arc<dyn EventHandler>,
}

/// One queue slot's running work and health.
#[derive(Default)]
struct Slot {
    running: usize,
    health: Health,
    /// Of the owner its health is of.
    saved_at: i64,
}

/// What a finished piece of work tells the loop.
struct Finished {
    slot: String,
    name: String,
    lsid: String,
    heard: Vec<(System, Said)>,
}

/// Works until `stop`; then lets running work end or gives its leases back.
pub async fn run(worker: Arc<Worker>, stop: CancellationToken) {
    let mut running: JoinSet<Finished> = JoinSet::new();
    let mut slots: HashMap<String, Slot> = HashMap::new();
    while !stop.is_cancelled() {
        worker.looked_at.store(worker.clock.now_ms(), Ordering::Relaxed);
        let wait = match lease_due(&worker, &mut running, &mut slots).await {
            Ok(next_due) => next_due,
            Err(error) => {
                tracing::error!(%error, "events could not be leased; trying again");
                LOOK_EVERY
            }
        };
        let look_again = tokio::time::sleep(wait.mul_f64(0.9 + 0.2 * random_fraction()));
        tokio::select! {
            () = stop.cancelled() => break,
            () = worker.wake.notified() => {}
            () = look_again => {}
            Some(finished) = running.join_next() => settle(finished, &mut slots),
        }
        while let Some(finished) = running.try_join_next() {
            settle(finished, &mut slots);
        }
    }
    let drained = tokio::time::timeout(STOP_PATIENCE, async { while running.join_next().await.is_some() {} }).await;
    if drained.is_err() {
        running.shutdown().await;
    }
    match worker.store.release_leases(worker.server_id, worker.clock.now_ms()).await {
        Ok(0) => {}
        Ok(released) => tracing::info!(released, "unfinished events given back"),
        Err(error) => tracing::warn!(%error, "leases could not be given back; they end by themselves"),
    }
}

/// Starts what there is capacity for. The answer is when to look again.
async fn lease_due(
    worker: &Arc<Worker>,
    running: &mut JoinSet<Finished>,
    slots: &mut HashMap<String, Slot>,
) -> Result<Duration, StoreError> {
    let now = worker.clock.now_ms();
    for work in worker.store.slots_with_work(now).await? {
        let Some(slot_owner) = worker.handler.slot_owner(&work) else { continue };
        let slot = slots.entry(work.slot.clone()).or_default();
        if slot.saved_at != slot_owner.saved_at {
            (slot.health, slot.saved_at) = (Health::default(), slot_owner.saved_at);
        }
        let free = slot.health.free_capacity(Instant::now()).saturating_sub(slot.running);
        if free == 0 {
            continue;
        }
        let now = worker.clock.now_ms();
        let limit = i64::try_from(free).unwrap_or(1);
        let events = worker.store.claim_events(&work.slot, worker.server_id, now, now + LEASE_MS, limit).await?;
        for event in events {
            slot.running += 1;
            let (worker, slot_owner, slot) = (worker.clone(), slot_owner.clone(), work.slot.clone());
            running.spawn(async move {
                let worked = AssertUnwindSafe(work_at(&worker, &slot_owner, &event)).catch_unwind().await;
                let heard = worked.unwrap_or_else(|_| {
                    // The event comes back when its lease ends, and counts as an attempt.
                    tracing::error!(event = %event.id, "the work broke off");
                    Vec::new()
                });
                Finished { slot, name: slot_owner.name, lsid: event.lsid, heard }
            });
        }
    }
    // A slot without running work that is well needs no memory: there may be ten thousand connections.
    slots.retain(|_, slot| slot.running > 0 || !slot.health.is_well());
    // What was due at this look and did not start waits for capacity, a rest's end or another event. These wake us, or the next look sees them.
    let next_due = worker.store.next_due(now).await?;
    Ok(next_due.map_or(LOOK_EVERY, |at| until(at, worker.clock.now_ms()).clamp(LOOK_LEAST, LOOK_EVERY)))
}

/// The time from `now` until `at`, Unix ms both.
fn until(at: i64, now: i64) -> Duration {
    Duration::from_millis(u64::try_from(at.saturating_sub(now)).unwrap_or(0))
}

fn settle(finished: Result<Finished, tokio::task::JoinError>, slots: &mut HashMap<String, Slot>) {
    let Ok(Finished { slot, name: connection, lsid, heard }) = finished else { return };
    let Some(slot) = slots.get_mut(&slot) else { return };
    slot.running = slot.running.saturating_sub(1);
    for (system, said) in heard {
        let change = slot.health.note(system, &said, &lsid, Instant::now());
        let system = system.name();
        match (change, said) {
            (Change::Sick, _) => {
                tracing::warn!(connection, system, "a system of the connection fails; the connection's events rest until it answers again");
            }
            (Change::Held(rest), Said::Denied(reason) | Said::Resting { what: reason, .. }) => tracing::error!(
                connection,
                system,
                again_in_seconds = rest.as_secs_f64().ceil(),
                reason,
                "credentials are refused; the connection's events wait. `deskbridge check` says what to do, and ends the wait when it succeeds"
            ),
            (Change::None, _) | (Change::Held(_), Said::Well | Said::Passing { .. }) => {}
            (Change::Recovered, _) => tracing::info!(connection, system, "the system answers again"),
        }
    }
}

/// Does one event and stores how it went.
#[tracing::instrument(name = "event", skip_all, fields(id = %event.id, connection = slot_owner.name, kind = event.kind.as_str(), lsid = event.lsid))]
async fn work_at(worker: &Worker, slot_owner: &SlotOwner, event: &LeasedEvent) -> Vec<(System, Said)> {
    fault_point::reach("leased");
    let heard = Heard::default();
    let result = tokio::select! {
        result = handle(worker, slot_owner, event, &heard) => result,
        () = lose_lease(worker, event) => {
            tracing::warn!("lease lost; the work is dropped");
            return Vec::new();
        }
    };
    let now = worker.clock.now_ms();
    let handled = result.unwrap_or_else(|error| {
        let policy = &slot_owner.policy;
        let outcome = retry::decide(&Attempt {
            attempts: event.attempts,
            limit: policy.limit(event.kind),
            retried: policy.retries(event.kind, event.origin),
            received_at: event.received_at,
            now,
            chance: random_fraction(),
            error: &error,
        });
        Handled { outcome, confirmed: Vec::new(), recorded: false }
    });
    match &handled.outcome {
        Outcome::Done(done) => tracing::info!(done, "event done"),
        Outcome::Retry { reason, not_before, .. } => {
            tracing::info!(reason, wait_ms = not_before - now, attempts = event.attempts, "event will be tried again");
        }
        Outcome::Dead(reason) => tracing::warn!(reason, attempts = event.attempts, "event is a dead letter"),
        Outcome::Undecided(reason) => {
            tracing::warn!(reason, "nobody knows whose session this is; `deskbridge events assign` decides");
        }
        Outcome::Belongs { connection, reason } => tracing::info!(%connection, reason, "the session's connection is known"),
    }
    metrics::event_ended(&slot_owner.name, event.kind, &handled.outcome);
    fault_point::reach("confirmed");
    match worker.store.finish_event(event, &handled.outcome, &handled.confirmed, handled.recorded, now).await {
        Ok(true) => {}
        Ok(false) => tracing::warn!("lease lost before the end was stored; another worker has the event"),
        Err(error) => tracing::error!(%error, "the event's end could not be stored; it comes back when its lease ends"),
    }
    worker.handler.ended(event);
    fault_point::reach("finished");
    worker.wake.notify_one();
    heard.into_said()
}

async fn handle(worker: &Worker, slot_owner: &SlotOwner, event: &LeasedEvent, heard: &Heard) -> Result<Handled, WorkError> {
    // Attempts are counted when an event is leased, so one that takes the process down with it ends here.
    let limit = slot_owner.policy.limit(event.kind);
    if event.attempts > 1 && u32::try_from(event.attempts).unwrap_or(u32::MAX) > limit.saturating_add(2) {
        return Err(WorkError::Permanent(format!("the server broke off {} times while working at this event", event.attempts - 1)));
    }
    worker.handler.handle(event, heard).await
}

/// Renews the lease; returns when it is lost, or may be soon because the database does not answer.
async fn lose_lease(worker: &Worker, event: &LeasedEvent) {
    let mut until = event.leased_at + LEASE_MS;
    loop {
        tokio::time::sleep(RENEW_EVERY).await;
        let wanted = worker.clock.now_ms() + LEASE_MS;
        let left = Duration::from_millis(u64::try_from(until - LEASE_MARGIN_MS - worker.clock.now_ms()).unwrap_or(0));
        match tokio::time::timeout(left, worker.store.renew_lease(event, wanted)).await {
            Ok(Ok(true)) => until = wanted,
            Ok(Ok(false)) | Err(_) => return,
            Ok(Err(error)) => tracing::warn!(%error, "the lease could not be renewed"),
        }
    }
}
