//! Incidents that a monitoring system told of, and their tickets: one each, however often an incident is posted.
//!
//! An incident is known by its connection and an id made of what makes it itself. What is to be done for it, an event of the inbox does.

use async_trait::async_trait;
use deskbridge_core::event::{EventKind, Origin};
use deskbridge_core::ids::{ConnectionId, TenantId};
use uuid::Uuid;

use crate::{DeliveryKey, NewEvent, Result};

/// So often at most it is noted that an incident which has its ticket was posted again.
const SEEN_EVERY_MS: i64 = 86_400_000;

/// An incident as it was posted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IncidentPost {
    /// Sorts by time; new for each post.
    pub id: Uuid,
    /// Whose connection it is.
    pub tenant: TenantId,
    /// The connection.
    pub connection: ConnectionId,
    /// The incident's id within the connection.
    pub lsid: String,
    /// A hash of what makes the incident itself. Its last eight bytes give way to the number of changes, for its events.
    pub fingerprint: [u8; 32],
    /// The monitoring system's name, for people.
    pub source: String,
    /// Its id of the incident, for people.
    pub source_id: String,
    /// All that was posted: JSON.
    pub posted: String,
    /// It has not ended.
    pub is_open: bool,
    /// When it ended, or was open again (Unix ms).
    pub changed_at: i64,
    /// Argus's number of it.
    pub argus_pk: Option<i64>,
    /// Unix ms.
    pub now: i64,
}

/// An incident as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredIncident {
    /// The monitoring system's name.
    pub source: String,
    /// Its id of the incident.
    pub source_id: String,
    /// What was posted last, until the ticket stands.
    pub posted: Option<String>,
    /// It has not ended.
    pub is_open: bool,
    /// How often it has ended or was open again.
    pub changes: i64,
    /// How many of these the ticket was not told of yet.
    pub untold: i64,
    /// The post that may say that it made the ticket.
    pub creator: Uuid,
    /// The ticket system asked not to be asked for this ticket before (Unix ms).
    pub retry_at: i64,
    /// Its ticket.
    pub ticket: Option<IncidentTicket>,
    /// Unix ms of the last post.
    pub updated_at: i64,
}

/// The ticket of an incident.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IncidentTicket {
    /// Its id in the ticket system.
    pub id: String,
    /// Where people see it.
    pub url: String,
}

/// An end or a reopening that the ticket was not told of yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IncidentChange {
    /// From 1, in the order in which they were told to us.
    pub number: i64,
    /// Open again; else it ended.
    pub is_open: bool,
    /// Unix ms.
    pub changed_at: i64,
}

/// How far the work for an incident is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IncidentWork {
    /// `ready`, `leased`, `done` or `dead`.
    pub state: String,
    /// Unix ms of the next attempt.
    pub not_before: i64,
    /// What the last attempt came to.
    pub outcome: Option<String>,
}

/// What storing a post came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PostStored {
    /// An end of an incident nobody told of before: nothing was stored.
    Unknown,
    /// As the incident stands now.
    Known(StoredIncident),
}

/// What a post changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Step {
    /// It ended, or is open again.
    pub(crate) is_change: bool,
    /// An event is due as soon as it may be.
    pub(crate) work: Option<EventKind>,
    /// Nothing at all is to be stored.
    pub(crate) is_idle: bool,
}

impl Step {
    /// What a post of `is_open` at `now` is to an incident.
    pub(crate) fn of(known: &StoredIncident, is_new: bool, is_open: bool, now: i64) -> Self {
        let is_change = known.is_open != is_open && !is_new;
        let work = match (&known.ticket, is_open) {
            (None, true) => Some(EventKind::Incident),
            // The one that makes the ticket may be at work.
            (None, false) => is_change.then_some(EventKind::IncidentEnd),
            (Some(_), _) if !is_change && known.untold == 0 => None,
            (Some(_), true) => Some(EventKind::IncidentReopened),
            (Some(_), false) => Some(EventKind::IncidentEnd),
        };
        Self { is_change, work, is_idle: work.is_none() && now - known.updated_at < SEEN_EVERY_MS }
    }
}

impl StoredIncident {
    /// Whether a post of it at `now` (Unix ms) would change nothing.
    pub fn needs_nothing(&self, is_open: bool, now: i64) -> bool {
        Step::of(self, false, is_open, now).is_idle
    }
}

/// The account of a connection's incidents in the inbox.
pub fn incident_account(connection: ConnectionId) -> String {
    format!("incidents/{connection}")
}

impl IncidentPost {
    /// The event for it; one for each end and each time it is open again.
    pub(crate) fn event(&self, kind: EventKind, changes: i64) -> NewEvent {
        let mut fingerprint = self.fingerprint;
        fingerprint[24..].copy_from_slice(&changes.to_be_bytes());
        NewEvent {
            id: self.id,
            tenant: self.tenant.clone(),
            account: incident_account(self.connection),
            received_by: Some(self.connection),
            connection: Some(self.connection),
            fingerprint,
            kind,
            lsid: self.lsid.clone(),
            ticket: None,
            origin: Origin::Outbound,
            received_at: self.now,
        }
    }
}

/// Incidents.
#[async_trait]
pub trait Incidents: Send + Sync {
    /// Stores posts, each with what is to be done for it, in one durable commit; answers each in order. An event that waits or is a dead
    /// letter becomes due, but never before the ticket system may be asked again.
    async fn store_incidents(&self, posts: &[IncidentPost]) -> Result<Vec<PostStored>>;
    /// An incident.
    async fn incident(&self, connection: ConnectionId, lsid: &str) -> Result<Option<StoredIncident>>;
    /// How far the newest event for it is.
    async fn incident_work(&self, connection: ConnectionId, lsid: &str) -> Result<Option<IncidentWork>>;
    /// Its ticket stands: stored together with the delivery that made it. What was posted is not needed any more, nor are the first
    /// `changes` ends and reopenings, of which the ticket needs not be told.
    async fn incident_made(
        &self,
        connection: ConnectionId,
        lsid: &str,
        ticket: &IncidentTicket,
        delivery: &DeliveryKey,
        changes: i64,
        now: i64,
    ) -> Result<()>;
    /// The ticket system shall not be asked for its ticket before that moment (Unix ms).
    async fn incident_waits(&self, connection: ConnectionId, lsid: &str, retry_at: i64) -> Result<()>;
    /// Ends and reopenings its ticket was not told of, in order.
    async fn incident_changes(&self, connection: ConnectionId, lsid: &str) -> Result<Vec<IncidentChange>>;
    /// The ticket was told of this one and those before it, or need not be.
    async fn incident_told(&self, connection: ConnectionId, lsid: &str, number: i64) -> Result<()>;
    /// Removes up to `limit` incidents that have ended and were last posted before `before` (Unix ms). Open ones stay: they may be posted
    /// again at any time.
    async fn purge_incidents(&self, before: i64, limit: i64) -> Result<u64>;
}
