//! Events as they came: leased to workers, tried again, put aside for a person when nothing helps.
//!
//! An event comes from an engine's account. While nobody knows which connection its session belongs to, it waits in the account's own
//! queue slot; once that is decided it waits in the connection's. A slot's name is the account ([`EngineAccount`]'s stored form) or the
//! connection's id.

use async_trait::async_trait;
use deskbridge_core::event::{EventKind, Origin};
use deskbridge_core::ids::{ConnectionId, TenantId};
use uuid::Uuid;

use crate::{DeliveryKey, KnownSession, Result};

/// An event to store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewEvent {
    /// Sorts by time.
    pub id: Uuid,
    /// Whose it is.
    pub tenant: TenantId,
    /// The engine's account it came from, in its stored form.
    pub account: String,
    /// The connection whose door it came through; an event found by a sweep has none.
    pub received_by: Option<ConnectionId>,
    /// The connection its session belongs to, where that is known from the beginning.
    pub connection: Option<ConnectionId>,
    /// SHA-256 over what makes the event itself; the same event of the same account posted twice is stored once.
    pub fingerprint: [u8; 32],
    /// What it asks for.
    pub kind: EventKind,
    /// The engine's session id.
    pub lsid: String,
    /// The ticket it seems to be for. Only the order depends on it, until the report says more.
    pub ticket: Option<String>,
    /// Where from.
    pub origin: Origin,
    /// Unix ms.
    pub received_at: i64,
}

/// An event leased to this process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeasedEvent {
    /// The event's id.
    pub id: Uuid,
    /// Whose it is.
    pub tenant: TenantId,
    /// The engine's account it came from, in its stored form.
    pub account: String,
    /// The connection its session belongs to. None: to be decided.
    pub connection: Option<ConnectionId>,
    /// What it asks for.
    pub kind: EventKind,
    /// The engine's session id.
    pub lsid: String,
    /// The ticket, as far as known.
    pub ticket: Option<String>,
    /// Where from.
    pub origin: Origin,
    /// Unix ms.
    pub received_at: i64,
    /// Attempts, this one included.
    pub attempts: i32,
    /// Every later write names it; a higher epoch in the row means the lease is lost.
    pub epoch: i64,
    /// Unix ms of the lease's begin.
    pub leased_at: i64,
}

/// An event that came, as far as others of its session look at it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownEvent {
    /// The engine's session id.
    pub lsid: String,
    /// Where from.
    pub origin: Origin,
    /// The connection's id through whose door it came.
    pub received_by: Option<String>,
}

/// What an attempt at an event came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttemptRow {
    /// Unix ms.
    pub leased_at: i64,
    /// Unix ms.
    pub ended_at: i64,
    /// `done`, `retry`, `dead`, `undecided` or `assigned`.
    pub result: String,
    /// What was done, or what stood in the way, with the start of the system's answer.
    pub message: String,
    /// Unix ms of the attempt planned after it.
    pub next_at: Option<i64>,
}

/// How an attempt at an event ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing more to do; the text says what was done.
    Done(String),
    /// Again at that time (Unix ms).
    Retry {
        /// Unix ms.
        not_before: i64,
        /// What stood in the way.
        reason: String,
        /// Whether this attempt counts towards the limit.
        counts: bool,
    },
    /// A person must look.
    Dead(String),
    /// No proof ties the session to one connection: a person decides. The text names the connections it could belong to.
    Undecided(String),
    /// The session belongs to this connection, in whose slot the event goes on at once, with a fresh count of attempts.
    Belongs {
        /// The owner.
        connection: ConnectionId,
        /// By which proof.
        reason: String,
    },
}

/// An event as people see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventRow {
    /// The event's id.
    pub id: Uuid,
    /// The engine's account, in its stored form.
    pub account: String,
    /// The connection. None: not decided.
    pub connection: Option<ConnectionId>,
    /// The name of that connection, else of the one whose door it came through, while there is such a connection.
    pub connection_name: Option<String>,
    /// What it asks for.
    pub kind: String,
    /// The engine's session id.
    pub lsid: String,
    /// The ticket, as far as known.
    pub ticket: Option<String>,
    /// Where from.
    pub origin: String,
    /// `ready`, `leased`, `done`, `dead` or `undecided`.
    pub state: String,
    /// Attempts so far.
    pub attempts: i32,
    /// Unix ms.
    pub received_at: i64,
    /// Unix ms of the next attempt.
    pub not_before: i64,
    /// What the last attempt came to.
    pub outcome: Option<String>,
}

/// Which events are asked for. Absent: any.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventFilter {
    /// In this state.
    pub state: Option<String>,
    /// Of this connection.
    pub connection: Option<ConnectionId>,
    /// Of this session.
    pub lsid: Option<String>,
}

/// How many events of a connection or account are in a state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueSize {
    /// The connection. None: not decided yet.
    pub connection: Option<ConnectionId>,
    /// `ready`, `leased`, `done`, `dead` or `undecided`.
    pub state: String,
    /// How many.
    pub events: i64,
    /// Unix ms.
    pub oldest_received_at: i64,
}

/// A queue slot with work that is due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlotWork {
    /// The slot's name.
    pub slot: String,
    /// The connection, if it is one's.
    pub connection: Option<ConnectionId>,
}

/// The inbox.
#[async_trait]
pub trait Inbox: Send + Sync {
    /// Stores events in one durable commit. The answer counts those that were new.
    async fn add_events(&self, events: &[NewEvent]) -> Result<u64>;
    /// Slots that have an event due at `now`, or whose lease has ended, found by index: the cost grows with the slots that have work, not
    /// with the connections there are, nor with the events that wait in a slot.
    async fn slots_with_work(&self, now: i64) -> Result<Vec<SlotWork>>;
    /// Leases up to `limit` due events of a slot to `owner` until `until` (Unix ms), counting the attempt.
    /// Of one support session (same account and lsid) only the first in rank and time is leased at a time.
    async fn claim_events(&self, slot: &str, owner: Uuid, now: i64, until: i64, limit: i64) -> Result<Vec<LeasedEvent>>;
    /// Prolongs a lease; false if it is lost.
    async fn renew_lease(&self, event: &LeasedEvent, until: i64) -> Result<bool>;
    /// Begins the delivery of a session's end, in one commit: notes the ticket it turned out to be for, saves what is known of the
    /// session, and answers whether no earlier end of that ticket waits.
    async fn begin_in_order(&self, event: &LeasedEvent, session: &KnownSession, now: i64) -> Result<bool>;
    /// Takes back what was said of the event's ticket, so that none waits for this event.
    async fn forget_ticket(&self, event: &LeasedEvent) -> Result<()>;
    /// Ends an attempt, in one commit with what was confirmed on the way (delivery and the id of what was written) and, with `recorded`,
    /// with the session's mark that its report stands. What was confirmed is stored in any case; false if the lease is lost, and then
    /// nothing else was written.
    async fn finish_event(
        &self,
        event: &LeasedEvent,
        outcome: &Outcome,
        confirmed: &[(DeliveryKey, String)],
        recorded: bool,
        now: i64,
    ) -> Result<bool>;
    /// Gives back the leases of `owner` without counting the attempts, for a clean stop. Where a write may still be on its way to
    /// the ticket, the lease ends by itself: looked for too early, its marker would be missed.
    async fn release_leases(&self, owner: Uuid, now: i64) -> Result<u64>;
    /// When the next event after that moment is due (Unix ms both), if any waits. Ends of leases do not count.
    async fn next_due(&self, after: i64) -> Result<Option<i64>>;
    /// Every event of that kind these sessions of an account have had.
    async fn known_events(&self, account: &str, kind: EventKind, lsids: &[String]) -> Result<Vec<KnownEvent>>;
    /// Waits until another server may have stored events.
    async fn other_server_stored(&self);
    /// Per connection and state: how many events, and when the oldest came (Unix ms).
    async fn queue_sizes(&self) -> Result<Vec<QueueSize>>;
    /// Events, newest first.
    async fn list_events(&self, filter: &EventFilter, limit: i64) -> Result<Vec<EventRow>>;
    /// One event.
    async fn event(&self, id: Uuid) -> Result<Option<EventRow>>;
    /// The newest attempts at an event that came to an end, oldest first. One that took the process down left none.
    async fn attempts(&self, id: Uuid) -> Result<Vec<AttemptRow>>;
    /// Makes a dead, undecided or done event due again with a fresh count of attempts, in the slot it is in.
    async fn retry_event(&self, id: Uuid, now: i64) -> Result<bool>;
    /// A person has decided: every undecided event of that session of that account goes to the connection and is due. The answer counts
    /// them. (The decision itself is remembered by [`crate::Ownership::decide_owner`].)
    async fn assign_events(&self, account: &str, lsid: &str, connection: ConnectionId, now: i64) -> Result<u64>;
    /// Removes up to `limit` events done before `before` (Unix ms), with their attempts. Dead letters and undecided ones stay.
    async fn purge_events(&self, before: i64, limit: i64) -> Result<u64>;
}
