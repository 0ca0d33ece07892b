//! Agents' sessions, and with the same rows the memory of sidebar tokens that were used.

use async_trait::async_trait;
use deskbridge_core::ids::{ConnectionId, TenantId};

use crate::Result;

/// A session to open, admitted by a token that may be used once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewAgentSession {
    /// Whose it is.
    pub tenant: TenantId,
    /// SHA-256 of the session id.
    pub id_hash: [u8; 32],
    /// Connection it belongs to.
    pub connection: ConnectionId,
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

/// Agents' sessions.
#[async_trait]
pub trait AgentSessions: Send + Sync {
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
    /// Removes up to `limit` rows that need not be kept longer; the answer counts them.
    async fn purge_agent_sessions(&self, now: i64, limit: i64) -> Result<u64>;
}
