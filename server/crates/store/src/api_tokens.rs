//! Tokens with which programs call this server, and when they were last used.
//!
//! Must not hold anything a copy of the database could be used with: tokens stand here as hashes.

use async_trait::async_trait;
use deskbridge_core::api_purpose::ApiPurpose;
use deskbridge_core::ids::{ConnectionId, TenantId};
use uuid::Uuid;

use crate::Result;

/// A token as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiToken {
    /// Whose it is.
    pub tenant: TenantId,
    /// The connection it is for.
    pub connection: ConnectionId,
    /// Its id.
    pub id: Uuid,
    /// For people: who calls with it.
    pub name: String,
    /// SHA-256 of the token.
    pub hash: [u8; 32],
    /// What it is for.
    pub purposes: Vec<ApiPurpose>,
    /// Unix ms.
    pub created_at: i64,
    /// Unix ms; from then on it opens nothing.
    pub revoked_at: Option<i64>,
    /// Unix ms; kept to a minute's precision.
    pub last_used_at: Option<i64>,
}

/// The last use of a token that stands in the settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingsTokenUse {
    /// Whose it is.
    pub tenant: TenantId,
    /// The connection it is for.
    pub connection: ConnectionId,
    /// Its name there.
    pub name: String,
    /// Unix ms.
    pub used_at: i64,
}

/// Tokens with which programs call this server.
#[async_trait]
pub trait ApiTokens: Send + Sync {
    /// Adds a token.
    async fn add_api_token(&self, token: &ApiToken) -> Result<()>;
    /// The token with this hash, revoked or not.
    async fn api_token(&self, hash: &[u8; 32]) -> Result<Option<ApiToken>>;
    /// The newest tokens, newest first, revoked ones too.
    async fn list_api_tokens(&self, limit: i64) -> Result<Vec<ApiToken>>;
    /// Revokes a token. False if there is none of that id, or if it was revoked before.
    async fn revoke_api_token(&self, id: Uuid, now: i64) -> Result<bool>;
    /// Notes that a token was used.
    async fn touch_api_token(&self, id: Uuid, used_at: i64) -> Result<()>;
    /// Notes that a token of the settings was used.
    async fn touch_settings_token(&self, used: &SettingsTokenUse) -> Result<()>;
    /// When the tokens of the settings were last used.
    async fn settings_token_uses(&self) -> Result<Vec<SettingsTokenUse>>;
    /// Removes up to `limit` tokens that were revoked before `before` (Unix ms).
    async fn purge_api_tokens(&self, before: i64, limit: i64) -> Result<u64>;
}
