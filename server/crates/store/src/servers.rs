//! What servers that share a database agree on.

use async_trait::async_trait;
use deskbridge_core::ids::TenantId;
use uuid::Uuid;

use crate::Result;

/// How far each engine's account was asked for ended sessions.
#[async_trait]
pub trait Sweeps: Send + Sync {
    /// Takes the turn to sweep an account (its stored form) if it was due by `due_by` (Unix ms): the checkpoint, in seconds of the engine's
    /// clock.
    async fn take_sweep_turn(&self, tenant: &TenantId, account: &str, due_by: i64, next_at: i64) -> Result<Option<Option<i64>>>;
    /// How far an account has been asked.
    async fn save_checkpoint(&self, account: &str, checkpoint: i64) -> Result<()>;
    /// Removes up to `limit` sweeps that were not taken since `before` (Unix ms): of accounts that no connection uses any more.
    async fn purge_sweeps(&self, before: i64, limit: i64) -> Result<u64>;
}

/// Servers alive.
#[async_trait]
pub trait Servers: Send + Sync {
    /// Notes that this server lives; the answer counts those seen since `since` (Unix ms), this one included.
    async fn server_alive(&self, id: Uuid, now: i64, since: i64) -> Result<u32>;
    /// Notes that this server stops: the others need not wait until it has not been seen for long.
    async fn server_stopped(&self, id: Uuid) -> Result<()>;
}

/// Public keys of apps.
#[async_trait]
pub trait AppKeys: Send + Sync {
    /// An app's public key and when it was fetched (Unix ms). `app`: account and app id.
    async fn app_key(&self, app: &str) -> Result<Option<(String, i64)>>;
    /// Keeps an app's public key for all servers.
    async fn save_app_key(&self, tenant: &TenantId, app: &str, pem: &str, fetched_at: i64) -> Result<()>;
}
