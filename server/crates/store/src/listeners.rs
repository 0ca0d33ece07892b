//! Which server hears an engine's account: one at a time, and each goes on where the one before it stopped.

use async_trait::async_trait;
use deskbridge_core::ids::TenantId;
use uuid::Uuid;

use crate::Result;

/// The lease of an account's listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// Everything before that moment (Unix ms of the engine's clock) is stored. None: nobody has listened yet.
    pub cursor: Option<i64>,
    /// By how many milliseconds the engine's clock was ahead of ours when that was noted. None: it was not known.
    pub clock_ahead: Option<i64>,
}

/// Leases of accounts, and how far their events are stored.
#[async_trait]
pub trait Listeners: Send + Sync {
    /// Leases an account (its stored form) to `server` until `until`, or prolongs its lease. `None`: at `now` another server holds it.
    /// Both are Unix ms.
    async fn hold_listener(&self, tenant: &TenantId, account: &str, server: Uuid, now: i64, until: i64) -> Result<Option<Held>>;
    /// Notes how far the account's events are stored, and by how much its clock is ahead. False: `server` does not hold the account any more, and nothing was noted.
    async fn save_cursor(&self, account: &str, server: Uuid, cursor: i64, clock_ahead: Option<i64>) -> Result<bool>;
    /// Gives the account back, if `server` still holds it.
    async fn release_listener(&self, account: &str, server: Uuid) -> Result<()>;
    /// Removes up to `limit` accounts that nobody has held since `before` (Unix ms): no connection uses them any more.
    async fn purge_listeners(&self, before: i64, limit: i64) -> Result<u64>;
}
