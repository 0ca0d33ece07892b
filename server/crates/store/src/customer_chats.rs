//! Chats that customers start from their own tickets, and what keeps them within bounds.

use async_trait::async_trait;
use deskbridge_core::ids::{ConnectionId, TenantId};

use crate::Result;

/// A chat to be started.
#[derive(Clone, Copy, Debug)]
pub struct NewCustomerChat<'a> {
    /// Whose connection it is.
    pub tenant: &'a TenantId,
    /// The connection.
    pub connection: ConnectionId,
    /// The ticket's id.
    pub ticket: &'a str,
    /// By what the customer proved themself, in a form that is the same at each press.
    pub customer: &'a str,
    /// The issue's code name.
    pub issue: &'a str,
    /// Stands in its address: nobody can guess it.
    pub id: &'a str,
    /// The customer's name.
    pub name: Option<&'a str>,
    /// Their company's name.
    pub company: Option<&'a str>,
    /// Unix ms until which it can be opened.
    pub expires_at: i64,
    /// When an earlier chat was opened that may still be going on (Unix ms): this one counts as opened then.
    pub opened_at: Option<i64>,
}

/// A chat as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CustomerChat {
    /// Stands in its address.
    pub id: String,
    /// The connection.
    pub connection: ConnectionId,
    /// The ticket's id.
    pub ticket: String,
    /// The issue's code name.
    pub issue: String,
    /// The customer's name.
    pub name: Option<String>,
    /// Their company's name.
    pub company: Option<String>,
    /// Unix ms until which it can be opened.
    pub expires_at: i64,
    /// When it was last opened, Unix ms.
    pub opened_at: Option<i64>,
}

/// What somebody may do only so often.
#[derive(Clone, Copy, Debug)]
pub struct UseLimit<'a> {
    /// Whose tenant.
    pub tenant: &'a TenantId,
    /// Who and what.
    pub subject: &'a str,
    /// How often in one span.
    pub most: u32,
    /// The span in ms; it begins with the first use.
    pub span_ms: i64,
}

/// Chats of customers, how often they are started, and the epoch of the values in ticket fields.
#[async_trait]
pub trait CustomerChats: Send + Sync {
    /// The customer's chat about this issue on this ticket that can still be opened at `now` (Unix ms).
    async fn customer_chat_of(&self, new: &NewCustomerChat<'_>, now: i64) -> Result<Option<CustomerChat>>;
    /// Starts a chat, in place of `instead_of` or of one that cannot be opened any more. If another server was quicker, its chat.
    async fn start_customer_chat(&self, new: &NewCustomerChat<'_>, instead_of: Option<&str>, now: i64) -> Result<CustomerChat>;
    /// The chat of that id.
    async fn customer_chat(&self, id: &str) -> Result<Option<CustomerChat>>;
    /// Notes that it is opened at `now` (Unix ms). False: it was opened before, and not to be opened `once_more`.
    async fn open_customer_chat(&self, id: &str, once_more: bool, now: i64) -> Result<bool>;
    /// When a chat of this ticket was last opened, Unix ms.
    async fn customer_chat_opened_at(&self, connection: ConnectionId, ticket: &str) -> Result<Option<i64>>;
    /// Removes up to `limit` chats that could not be opened any more before `before` (Unix ms).
    async fn purge_customer_chats(&self, before: i64, limit: i64) -> Result<u64>;

    /// Counts a use at `now` (Unix ms). An answer: there were too many already, and the span ends then.
    async fn count_use(&self, limit: UseLimit<'_>, now: i64) -> Result<Option<i64>>;
    /// Whether there were too many already at `now` (Unix ms), and when the span ends.
    async fn used_up(&self, limit: UseLimit<'_>, now: i64) -> Result<Option<i64>>;
    /// Removes up to `limit` counts whose span ended before `before` (Unix ms).
    async fn purge_use_counts(&self, before: i64, limit: i64) -> Result<u64>;

    /// The epoch of a connection's values in ticket fields; 0 until it is raised.
    async fn ticket_value_epoch(&self, connection: ConnectionId) -> Result<i64>;
    /// Raises it; the answer is the new one.
    async fn raise_ticket_value_epoch(&self, tenant: &TenantId, connection: ConnectionId) -> Result<i64>;
}
