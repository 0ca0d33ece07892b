//! What must outlive the process, on SQLite or PostgreSQL.
//!
//! [`Store`] is the one door to SQL: nothing above it knows a table. The statements stand once, in `queries.rs`, and are
//! compiled for each database; `sqlite.rs` and `postgres.rs` hold only what differs (connecting, claiming).
//!
//! | table | what for |
//! | --- | --- |
//! | `connection` | settings, sealed as a whole |
//! | `agent_session` | agents' sessions, of which a sidebar token can only open its own: the one key on ids is also the memory of tokens used |
//! | `inbox_event` | durable work: events as they came, leased to workers |
//! | `delivery` | every write to a ticket system: planned, sent, confirmed |
//! | `support_session` | what is known of a support session, for the panel |
//! | `issued_key` | session keys handed out lately: while one is open, the appliance is asked for its session |
//! | `sweep` | how far each appliance was asked for ended sessions, and whose turn it is |
//! | `server` | servers alive, which share an appliance's limits |
//! | `app_key` | public keys fetched from accounts, so that servers agree on them |
//! | `device`, `pairing_code` | paired browsers, and the codes that pair them |
//! | `device_nonce` | requests of devices seen lately: none counts twice |

/// The statement that leases due events. Of one session, a lower rank goes first, and one that is worked at is not overtaken by
/// one that was stored later with an earlier id; of one ticket, the session that ended first
/// (ends wait for ends only, so that no two events wait for each other).
/// Parameters: `$1` connection, `$2` owner, `$3` now, `$4` lease end, `$5` limit. Databases differ in `$lock` only.
macro_rules! claim {
    ($lock:literal) => {
        concat!(
            "UPDATE inbox_event SET state = 'leased', attempts = attempts + 1, lease_epoch = lease_epoch + 1, lease_owner = $2, lease_until = $4 ",
            "WHERE id IN (SELECT e.id FROM inbox_event e WHERE e.connection = $1 AND e.state IN ('ready', 'leased') AND e.not_before <= $3 ",
            "AND (e.state = 'ready' OR e.lease_until < $3) ",
            "AND NOT EXISTS (SELECT 1 FROM inbox_event o WHERE o.connection = e.connection AND o.lsid = e.lsid AND o.state IN ('ready', 'leased') ",
            "AND o.id <> e.id AND (o.rank < e.rank OR (o.rank = e.rank AND o.id < e.id) OR (o.state = 'leased' AND o.lease_until >= $3)) ",
            // A join whose next try is far away holds up nothing: the session's end does what is left of it.
            "AND NOT (o.rank = 0 AND e.rank > 0 AND o.state = 'ready' AND o.not_before > $3 + 5000)) ",
            "AND NOT (e.kind = 'session_end' AND EXISTS (SELECT 1 FROM inbox_event t WHERE t.connection = e.connection AND t.ticket = e.ticket ",
            "AND t.state IN ('ready', 'leased') AND t.kind = 'session_end' AND t.lsid <> e.lsid AND t.id < e.id)) ",
            "ORDER BY e.not_before, e.id LIMIT $5 ",
            $lock,
            ") RETURNING id, connection, kind, lsid, ticket, origin, received_at, attempts, lease_epoch"
        )
    };
}
use claim;

mod devices;
mod group_commit;
mod postgres;
mod sessions;
mod sqlite;

use std::sync::Arc;

use async_trait::async_trait;
use uuid::Uuid;

pub use devices::{
    CodeId, Device, DeviceGrant, DeviceStore, DevicesOf, NewDevice, NewPairingCode, Pairing, PairingCode, Revoked, SeenRequest, Withdrawal,
};
pub use group_commit::GroupCommit;
pub use sessions::{AgentSessionStore, Lifetimes};

/// Nothing more precise helps the caller: the request fails, the worker tries again.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database refused or is away.
    #[error("the database failed: {0}")]
    Database(#[from] sqlx::Error),
    /// Migrations.
    #[error("the database could not be brought up to date: {0}")]
    Migration(#[from] sqlx::migrate::MigrateError),
    /// A newer server has changed the schema.
    #[error(
        "the database was changed by a newer Deskbridge (schema {found}, this one knows {known}); start that version or restore a backup"
    )]
    Newer {
        /// Schema found.
        found: i64,
        /// Newest schema this server knows.
        known: i64,
    },
    /// A stored value does not read.
    #[error("a stored value does not read: {0}")]
    Damaged(String),
    /// A commit shared with other requests failed.
    #[error("{0}")]
    Group(Arc<StoreError>),
    /// Another worker has the event.
    #[error("the lease was lost; another worker has the event")]
    LeaseLost,
    /// The process is stopping.
    #[error("the server is stopping")]
    Stopped,
}

/// Answer of every store call.
pub type Result<T, E = StoreError> = std::result::Result<T, E>;

/// A stored connection, still sealed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredConnection {
    /// Its name.
    pub name: String,
    /// Sealed JSON of `config::ConnectionSettings`.
    pub settings: Vec<u8>,
    /// Unix ms; changes with every save.
    pub updated_at: i64,
}

/// A session to open, admitted by a token that may be used once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewAgentSession {
    /// SHA-256 of the session id.
    pub id_hash: [u8; 32],
    /// Connection it belongs to.
    pub connection: String,
    /// JSON of the session's data.
    pub record: String,
    /// Unix ms.
    pub created_at: i64,
    /// Unix ms; not removed before, so that the token stays remembered.
    pub keep_until: i64,
}

/// A session as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredAgentSession {
    /// JSON of the session's data.
    pub record: String,
    /// Unix ms.
    pub created_at: i64,
    /// Unix ms; kept to a minute's precision.
    pub used_at: i64,
}

/// What an event asks for. The numbers order the events of one support session: a lower rank goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EventName {
    /// Something happened in a session that goes on; only the live state changes.
    Progress,
    /// Someone joined: may create a ticket.
    SomeoneJoins,
    /// The session ended: its report is due.
    SessionEnd,
    /// A customer answered the exit survey.
    CustomerSurvey,
    /// A representative answered the exit survey.
    RepresentativeSurvey,
}

impl EventName {
    const ALL: [(Self, &'static str, i32); 5] = [
        (Self::Progress, "progress", 0),
        (Self::SomeoneJoins, "someone_joins", 0),
        (Self::SessionEnd, "session_end", 1),
        (Self::CustomerSurvey, "customer_survey", 2),
        (Self::RepresentativeSurvey, "representative_survey", 2),
    ];

    /// The stored name.
    pub fn as_str(self) -> &'static str {
        Self::ALL.iter().find(|(name, ..)| *name == self).map_or("progress", |(_, text, _)| text)
    }

    /// The event of a stored name.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().find(|(_, name, _)| *name == text).map(|(name, ..)| *name)
    }

    fn rank(self) -> i32 {
        Self::ALL.iter().find(|(name, ..)| *name == self).map_or(0, |(.., rank)| *rank)
    }
}

/// Where an event came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Posted by the appliance.
    Outbound,
    /// Found by asking the appliance.
    Polling,
}

impl Origin {
    /// The stored name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Outbound => "outbound",
            Self::Polling => "polling",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        [Self::Outbound, Self::Polling].into_iter().find(|origin| origin.as_str() == text)
    }
}

/// An event to store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewEvent {
    /// Sorts by time.
    pub id: Uuid,
    /// Connection name.
    pub connection: String,
    /// SHA-256 over what makes the event itself; the same event posted twice is stored once.
    pub fingerprint: [u8; 32],
    /// What it asks for.
    pub kind: EventName,
    /// The appliance's session id.
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
    /// Connection name.
    pub connection: String,
    /// What it asks for.
    pub kind: EventName,
    /// The appliance's session id.
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

/// What an attempt at an event came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttemptRow {
    /// Unix ms.
    pub leased_at: i64,
    /// Unix ms.
    pub ended_at: i64,
    /// `done`, `retry` or `dead`.
    pub result: String,
    /// What was done, or what stood in the way, with the start of the system's answer.
    pub said: String,
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
}

/// An event as people see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventRow {
    /// The event's id.
    pub id: Uuid,
    /// Connection name.
    pub connection: String,
    /// What it asks for.
    pub kind: String,
    /// The appliance's session id.
    pub lsid: String,
    /// Where from.
    pub origin: String,
    /// `ready`, `leased`, `done` or `dead`.
    pub state: String,
    /// Attempts so far.
    pub attempts: i32,
    /// Unix ms.
    pub received_at: i64,
    /// Unix ms of the next attempt.
    pub not_before: i64,
    /// What the last attempt said.
    pub outcome: Option<String>,
}

/// How many events of a connection are in a state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueSize {
    /// Connection name.
    pub connection: String,
    /// `ready`, `leased`, `done` or `dead`.
    pub state: String,
    /// How many.
    pub events: i64,
    /// Unix ms.
    pub oldest_received_at: i64,
}

/// Which write to the ticket system a delivery is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeliveryKey {
    /// Connection name.
    pub connection: String,
    /// The appliance's session id.
    pub lsid: String,
    /// `session_report`, `customer_survey`, …
    pub kind: String,
    /// 0 for the first.
    pub part: i32,
}

/// How far a delivery is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeliveryState {
    /// Nothing was written to the ticket system yet.
    Planned,
    /// A write was begun; it may have happened.
    Sent,
    /// The note stands on the ticket.
    Confirmed,
}

impl DeliveryState {
    fn as_str(self) -> &'static str {
        match self {
            Self::Planned => "planned",
            Self::Sent => "sent",
            Self::Confirmed => "confirmed",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        match text {
            "planned" => Some(Self::Planned),
            "sent" => Some(Self::Sent),
            "confirmed" => Some(Self::Confirmed),
            _ => None,
        }
    }
}

/// A delivery as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// The ticket it was planned for.
    pub ticket: String,
    /// Stands in the note and in its metadata.
    pub marker: String,
    /// How far it is.
    pub state: DeliveryState,
    /// Id of what was written, once confirmed.
    pub remote_id: Option<String>,
    /// Writes begun so far.
    pub sends: i64,
    /// Unix ms until which the last of them may still arrive.
    pub settled_at: i64,
}

/// What is known of a support session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownSession {
    /// Connection name.
    pub connection: String,
    /// The appliance's session id.
    pub lsid: String,
    /// Its external key when last seen.
    pub ticket: String,
    /// Primary representative.
    pub representative: Option<String>,
    /// Primary customer.
    pub customer: Option<String>,
    /// A representative is in it.
    pub active: bool,
    /// Unix ms.
    pub started_at: Option<i64>,
    /// Unix ms.
    pub ended_at: Option<i64>,
    /// Unix ms; its report stands on the ticket.
    pub recorded_at: Option<i64>,
}

/// The durable memory. Every call may fail with [`StoreError`]; none blocks longer than the database's own time-outs.
#[async_trait]
pub trait Store: DeviceStore {
    /// Answers if the database does.
    async fn ping(&self) -> Result<()>;

    /// All connections, by name.
    async fn connections(&self) -> Result<Vec<StoredConnection>>;
    /// Adds or replaces a connection.
    async fn save_connection(&self, connection: &StoredConnection, disabled: bool) -> Result<()>;
    /// Removes a connection and what was granted under its name: devices' grants, codes, agents' sessions. Its events and deliveries stay.
    async fn delete_connection(&self, name: &str) -> Result<bool>;

    /// Opens sessions. For each: false where one of that id was opened before, even if it has ended since.
    async fn open_agent_sessions(&self, sessions: &[NewAgentSession]) -> Result<Vec<bool>>;
    /// A session by the hash of its id.
    async fn agent_session(&self, id_hash: &[u8; 32]) -> Result<Option<StoredAgentSession>>;
    /// Replaces a session's data.
    async fn save_agent_session(&self, id_hash: &[u8; 32], record: &str) -> Result<()>;
    /// Notes that a session was used.
    async fn touch_agent_session(&self, id_hash: &[u8; 32], used_at: i64) -> Result<()>;
    /// Ends a session; its token stays remembered.
    async fn end_agent_session(&self, id_hash: &[u8; 32]) -> Result<()>;
    /// Removes what need not be kept longer.
    async fn sweep_agent_sessions(&self, now: i64) -> Result<u64>;

    /// Stores events in one durable commit. The answer counts those that were new.
    async fn add_events(&self, events: &[NewEvent]) -> Result<u64>;
    /// Leases up to `limit` due events of a connection to `owner` until `until` (Unix ms), counting the attempt.
    /// Of one support session only the first in rank and time is leased at a time.
    async fn claim_events(&self, connection: &str, owner: Uuid, now: i64, until: i64, limit: i64) -> Result<Vec<LeasedEvent>>;
    /// Notes the ticket a session's end turned out to be for. False: an earlier end of that ticket is not done yet.
    async fn take_turn(&self, event: &LeasedEvent, ticket: &str) -> Result<bool>;
    /// Takes back what [`Store::take_turn`] or the posted event said of the ticket, so that none waits for this event.
    async fn forget_ticket(&self, event: &LeasedEvent) -> Result<()>;
    /// Session and origin of every event of that kind these sessions have had.
    async fn known_events(&self, connection: &str, kind: EventName, lsids: &[String]) -> Result<Vec<(String, Origin)>>;
    /// Per connection and state: how many events, and when the oldest came (Unix ms).
    async fn queue_sizes(&self) -> Result<Vec<QueueSize>>;
    /// Removes events done before `before` (Unix ms). Dead letters stay.
    async fn sweep_events(&self, before: i64) -> Result<u64>;
    /// Waits until another server may have stored events.
    async fn other_server_stored(&self);
    /// Notes that this server lives; the answer counts those seen since `since` (Unix ms), this one included.
    async fn server_alive(&self, id: Uuid, now: i64, since: i64) -> Result<u32>;
    /// Takes the turn to sweep a connection if it was due by `due_by` (Unix ms): the checkpoint, in seconds of the appliance's clock.
    async fn take_sweep_turn(&self, connection: &str, due_by: i64, next_at: i64) -> Result<Option<Option<i64>>>;
    /// How far a connection's appliance has been asked.
    async fn save_checkpoint(&self, connection: &str, checkpoint: i64) -> Result<()>;
    /// An app's public key and when it was fetched (Unix ms). `app`: connection and app id.
    async fn app_key(&self, app: &str) -> Result<Option<(String, i64)>>;
    /// Keeps an app's public key for all servers.
    async fn save_app_key(&self, app: &str, pem: &str, fetched_at: i64) -> Result<()>;
    /// Prolongs a lease; false if it is lost.
    async fn renew_lease(&self, event: &LeasedEvent, until: i64) -> Result<bool>;
    /// Ends an attempt; false if the lease is lost, and then nothing was written.
    async fn finish_event(&self, event: &LeasedEvent, outcome: &Outcome, now: i64) -> Result<bool>;
    /// Gives back the leases of `owner` without counting the attempts, for a clean stop. Where a write may still be on its way to
    /// the ticket, the lease ends by itself: looked for too early, its marker would be missed.
    async fn release_leases(&self, owner: Uuid, now: i64) -> Result<u64>;
    /// When the next event is due (Unix ms), if any waits. Ends of leases do not count.
    async fn next_due(&self) -> Result<Option<i64>>;
    /// Events in a state (`None`: all), newest first.
    async fn list_events(&self, state: Option<&str>, limit: i64) -> Result<Vec<EventRow>>;
    /// The newest attempts at an event that came to an end, oldest first. One that took the process down left none.
    async fn attempts(&self, id: Uuid) -> Result<Vec<AttemptRow>>;
    /// One event.
    async fn event(&self, id: Uuid) -> Result<Option<EventRow>>;
    /// Makes a dead or done event due again with a fresh count of attempts.
    async fn retry_event(&self, id: Uuid, now: i64) -> Result<bool>;

    /// The delivery of that key; planned with this ticket and marker if nothing was sent yet.
    async fn plan_delivery(&self, key: &DeliveryKey, ticket: &str, marker: &str, now: i64) -> Result<Delivery>;
    /// The id of what the delivery of that key wrote, if it is confirmed.
    async fn confirmed(&self, key: &DeliveryKey) -> Result<Option<String>>;
    /// A write is about to begin, by the worker that holds `event` and has seen the delivery with so many `sends`. False if its lease is
    /// lost, if somebody else has begun a write since, or while another event of the session may be writing: then nothing may be written.
    /// Until `settled_at` (Unix ms) it may still arrive, whatever becomes of the worker.
    async fn mark_sent(&self, key: &DeliveryKey, sends: i64, event: &LeasedEvent, now: i64, settled_at: i64) -> Result<bool>;
    /// What became of the write that was begun when `sends` others had been: nothing was written (`state` planned), or it may have been.
    async fn settle_sent(&self, key: &DeliveryKey, sends: i64, state: DeliveryState, settled_at: i64) -> Result<()>;
    /// The note stands.
    async fn mark_confirmed(&self, key: &DeliveryKey, remote_id: &str, now: i64) -> Result<()>;

    /// Adds or updates what is known of a session; never unsets `recorded_at`.
    async fn save_session(&self, session: &KnownSession, now: i64) -> Result<()>;
    /// A session's report stands on the ticket.
    async fn mark_recorded(&self, connection: &str, lsid: &str, now: i64) -> Result<()>;
    /// Sessions of a ticket, newest first.
    async fn sessions_of_ticket(&self, connection: &str, ticket: &str) -> Result<Vec<KnownSession>>;
    /// Remembers that a session key was handed out.
    async fn key_issued(&self, connection: &str, ticket: &str, issued_at: i64, expires_at: i64) -> Result<()>;
    /// The earliest issue (Unix ms) of a key of this ticket that is still open.
    async fn open_key(&self, connection: &str, ticket: &str, now: i64) -> Result<Option<i64>>;
}

/// Connects to the database of that URL and brings its schema up to date.
pub async fn open(url: &str) -> Result<Arc<dyn Store>> {
    if url.starts_with("sqlite:") { Ok(Arc::new(sqlite::connect(url).await?)) } else { Ok(Arc::new(postgres::connect(url).await?)) }
}

/// A schema newer than the newest migration this server knows must not be touched.
fn check_not_newer(applied: Option<i64>, migrator: &sqlx::migrate::Migrator) -> Result<()> {
    let known = migrator.iter().map(|migration| migration.version).max().unwrap_or(0);
    match applied {
        Some(found) if found > known => Err(StoreError::Newer { found, known }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
