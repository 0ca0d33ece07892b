//! Which connection a session of an appliance belongs to: what was handed out, and what was decided.

use async_trait::async_trait;
use deskbridge_core::ids::{ConnectionId, TenantId};

use crate::Result;

/// What was handed out for a ticket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HandedOutKind {
    /// A session key.
    Key,
    /// A Jump.
    Jump,
    /// A chat link.
    Chat,
}

impl HandedOutKind {
    /// The stored name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Key => "key",
            Self::Jump => "jump",
            Self::Chat => "chat",
        }
    }
}

/// Something that can lead to a session, as it is handed out. Of one kind, ticket and connection, the times are widened
/// and keys are counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewHandedOut {
    /// Whose it is.
    pub tenant: TenantId,
    /// By which connection.
    pub connection: ConnectionId,
    /// For which ticket.
    pub ticket: String,
    /// What.
    pub kind: HandedOutKind,
    /// Unix ms.
    pub issued_at: i64,
    /// Unix ms: a session of it begins before.
    pub usable_until: i64,
}

/// Something handed out that may have led to a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HandedOut {
    /// By which connection.
    pub connection: ConnectionId,
    /// Unix ms.
    pub issued_at: i64,
    /// Unix ms.
    pub usable_until: i64,
}

/// Whose a session is.
#[derive(Clone, Copy, Debug)]
pub struct OwnerDecision<'a> {
    /// The connection's tenant.
    pub tenant: &'a TenantId,
    /// The appliance.
    pub host: &'a str,
    /// The session.
    pub lsid: &'a str,
    /// Whose it is.
    pub connection: ConnectionId,
    /// In a few words.
    pub proof: &'a str,
    /// The ticket for which the connection handed out what the session came of. A key of it is used up: it leads to one session.
    pub used_up_for: Option<&'a str>,
    /// Unix ms.
    pub now: i64,
}

/// Proofs of ownership.
#[async_trait]
pub trait Ownership: Send + Sync {
    /// Remembers something before it is handed out. A key while an earlier one of the ticket still works keeps the earlier `issued_at`.
    async fn hand_out(&self, given: &NewHandedOut) -> Result<()>;
    /// What any of `connections` has handed out for the ticket, was not used up, and could be used at `started_at` (Unix ms), give or take `tolerance_ms`.
    async fn handed_out(&self, connections: &[ConnectionId], ticket: &str, started_at: i64, tolerance_ms: i64) -> Result<Vec<HandedOut>>;
    /// The earliest issue (Unix ms), after `not_before`, of something handed out for this ticket from which a session can still come.
    async fn open_since(&self, connection: ConnectionId, ticket: &str, not_before: i64, now: i64) -> Result<Option<i64>>;
    /// The connections, of `connections`, that a session of that host is known to belong to: the one decided; where none was decided,
    /// those for which the session is known ([`crate::KnownSession`]) or got a ticket (a confirmed delivery of kind `ticket`).
    async fn known_owners(&self, host: &str, lsid: &str, connections: &[ConnectionId]) -> Result<Vec<ConnectionId>>;
    /// Decides whose a session of that host is, unless that was decided before. The answer is who it is.
    async fn decide_owner(&self, decision: &OwnerDecision<'_>) -> Result<ConnectionId>;
    /// Removes up to `limit` of what was handed out from which no session could come since `handed_out_before`, and decisions made before
    /// `decided_before` (Unix ms).
    async fn purge_ownership(&self, handed_out_before: i64, decided_before: i64, limit: i64) -> Result<u64>;
}
