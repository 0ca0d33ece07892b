//! Links that open a session with a machine, made for a ticket.

use async_trait::async_trait;
use deskbridge_core::ids::{ConnectionId, TenantId};

use crate::Result;

/// The links of a ticket that can still be used; `$1`: the connection, `$2`: the ticket, `$3`: the time.
pub(crate) const LINKS_OF_TICKET: &str = "SELECT * FROM machine_link WHERE connection = $1 AND ticket = $2 AND ended_at IS NULL
     AND (expires_at IS NULL OR expires_at > $3) ORDER BY made_at DESC, link_id LIMIT 100";

/// A link to a machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MachineLink {
    /// Whose connection it is.
    pub tenant: TenantId,
    /// The connection.
    pub connection: ConnectionId,
    /// The engine's id of the link.
    pub link_id: String,
    /// The ticket's id.
    pub ticket: String,
    /// The engine's id of the machine.
    pub machine: String,
    /// The machine's name at that time.
    pub machine_name: String,
    /// The kind of session that it opens: a Jump method's name.
    pub kind: String,
    /// The name of the agent who had it made.
    pub agent: Option<String>,
    /// Their e-mail address.
    pub agent_email: Option<String>,
    /// Unix ms.
    pub made_at: i64,
    /// Unix ms. None: it does not expire.
    pub expires_at: Option<i64>,
    /// When somebody ended it, Unix ms.
    pub ended_at: Option<i64>,
}

/// Links to machines.
#[async_trait]
pub trait MachineLinks: Send + Sync {
    /// Keeps a link that was made.
    async fn add_link(&self, link: &MachineLink) -> Result<()>;
    /// The newest hundred links of a ticket that can still be used at `now` (Unix ms), newest first.
    async fn links_of_ticket(&self, connection: ConnectionId, ticket: &str, now: i64) -> Result<Vec<MachineLink>>;
    /// The link of that id, whether it can still be used or not.
    async fn link(&self, connection: ConnectionId, link_id: &str) -> Result<Option<MachineLink>>;
    /// Notes that a link was ended at `now` (Unix ms). False: there is none of that id, or it was ended before.
    async fn end_link(&self, connection: ConnectionId, link_id: &str, now: i64) -> Result<bool>;
    /// Ids of up to `limit` machines for which links of the ticket were made, the last used first.
    async fn last_machines(&self, connection: ConnectionId, ticket: &str, limit: i64) -> Result<Vec<String>>;
    /// The e-mail address of the agent of that name who had the last link of that kind made for the ticket, at or before `at` (Unix ms).
    async fn agent_email(&self, connection: ConnectionId, ticket: &str, kind: &str, agent: &str, at: i64) -> Result<Option<String>>;
    /// Removes up to `limit` links that were ended or expired before `before` (Unix ms).
    async fn purge_links(&self, before: i64, limit: i64) -> Result<u64>;
}
