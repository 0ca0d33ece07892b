//! Tickets that were made of requests for help, by the machine they came from: each machine has one to which further requests are added.

use async_trait::async_trait;
use deskbridge_core::ids::{ConnectionId, TenantId};

use crate::Result;

/// The machines of a ticket; `$1`: the connection, `$2`: the ticket.
pub(crate) const MACHINES_OF_TICKET: &str =
    "SELECT DISTINCT machine FROM help_ticket WHERE connection = $1 AND ticket = $2 ORDER BY machine";

/// The current request of a machine; `$1`: the connection, `$2`: the machine. Its event is found by the request: a connection has many.
pub(crate) const CURRENT_OF_MACHINE: &str = "SELECT request, ticket, asked_at, EXISTS (
       SELECT 1 FROM inbox_event e WHERE e.lsid = help_ticket.request AND e.kind = 'help_request' AND coalesce(e.connection, '') = help_ticket.connection
       AND e.state NOT IN ('done', 'dead', 'undecided')) AS is_under_way
     FROM help_ticket WHERE connection = $1 AND machine = $2 AND is_current";

/// A request for help that may get a ticket of its own.
#[derive(Clone, Copy, Debug)]
pub struct NewHelpTicket<'a> {
    /// Whose connection it is.
    pub tenant: &'a TenantId,
    /// The connection.
    pub connection: ConnectionId,
    /// The engine's id of the request.
    pub request: &'a str,
    /// The engine's id of the machine it came from.
    pub machine: &'a str,
    /// Unix ms of the engine's clock.
    pub asked_at: i64,
}

/// The request of a machine whose ticket is its current one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HelpTicket {
    /// The engine's id of the request.
    pub request: String,
    /// The ticket that was made of it.
    pub ticket: Option<String>,
    /// Unix ms of the engine's clock.
    pub asked_at: i64,
    /// Its event is being worked at, or waits for that.
    pub is_under_way: bool,
}

/// Tickets of requests for help.
#[async_trait]
pub trait HelpTickets: Send + Sync {
    /// Makes the request its machine's current one, unless another is; `instead_of`: the one whose place it takes. The answer is the current one
    /// then. Of several requests at once, one gets the place.
    async fn begin_help_ticket(&self, new: &NewHelpTicket<'_>, instead_of: Option<&str>) -> Result<HelpTicket>;
    /// Notes the ticket that was made of a request.
    async fn help_ticket_made(&self, connection: ConnectionId, request: &str, ticket: &str) -> Result<()>;
    /// Ids of the machines of whose requests the ticket was made.
    async fn machines_of_help(&self, connection: ConnectionId, ticket: &str) -> Result<Vec<String>>;
    /// Removes up to `limit` requests that were made before `before` (Unix ms).
    async fn purge_help_tickets(&self, before: i64, limit: i64) -> Result<u64>;
}
