//! What is known of support sessions, for the panel.

use async_trait::async_trait;
use deskbridge_core::ids::{ConnectionId, TenantId};
use deskbridge_core::session_report::SessionKind;

use crate::Result;

/// What is known of a support session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownSession {
    /// Whose it is.
    pub tenant: TenantId,
    /// The connection it belongs to.
    pub connection: ConnectionId,
    /// The engine's session id.
    pub lsid: String,
    /// Its ticket when last seen.
    pub ticket: String,
    /// Primary representative.
    pub representative: Option<String>,
    /// Primary customer.
    pub customer: Option<String>,
    /// Name of the machine it is with.
    pub machine: Option<String>,
    /// What it is, where an engine has several kinds.
    pub kind: Option<SessionKind>,
    /// The engine keeps a recording of it, which we give out.
    pub recording: bool,
    /// A representative is in it.
    pub active: bool,
    /// Unix ms.
    pub started_at: Option<i64>,
    /// Unix ms.
    pub ended_at: Option<i64>,
    /// Unix ms; its report stands on the ticket.
    pub recorded_at: Option<i64>,
}

/// Known support sessions.
#[async_trait]
pub trait SupportSessions: Send + Sync {
    /// Adds or updates what is known of a session; never unsets `ended_at` or `recorded_at`.
    async fn save_session(&self, session: &KnownSession, now: i64) -> Result<()>;
    /// A session's report stands on the ticket.
    async fn mark_recorded(&self, connection: ConnectionId, lsid: &str, now: i64) -> Result<()>;
    /// What is known of a session.
    async fn support_session(&self, connection: ConnectionId, lsid: &str) -> Result<Option<KnownSession>>;
    /// Sessions of a ticket, newest first, at most 50.
    async fn sessions_of_ticket(&self, connection: ConnectionId, ticket: &str) -> Result<Vec<KnownSession>>;
    /// Removes up to `limit` sessions last seen before `before` (Unix ms).
    async fn purge_sessions(&self, before: i64, limit: i64) -> Result<u64>;
}
