//! API tokens.

use async_trait::async_trait;
use deskbridge_core::ids::ConnectionId;
use sqlx::Row;
use uuid::Uuid;

use super::{DbRow, DbTransaction, Retention, SqlStore, connection_of, damaged, tenant_of};
use crate::{ApiToken, ApiTokens, Result, SettingsTokenUse};

pub(super) const RETENTION: Retention =
    Retention { table: "api_token", key: "id", time: "revoked_at", condition: "revoked_at IS NOT NULL" };

fn api_token(row: &DbRow) -> Result<ApiToken> {
    let hash: Vec<u8> = row.try_get("hash")?;
    Ok(ApiToken {
        tenant: tenant_of(row)?,
        connection: connection_of(row)?,
        id: Uuid::from_slice(row.try_get("id")?).map_err(|_| damaged("an API token's id"))?,
        name: row.try_get("name")?,
        hash: hash.try_into().map_err(|_| damaged("an API token's hash"))?,
        purposes: serde_json::from_str(row.try_get("purposes")?).map_err(|_| damaged("an API token's purposes"))?,
        created_at: row.try_get("created_at")?,
        revoked_at: row.try_get("revoked_at")?,
        last_used_at: row.try_get("last_used_at")?,
    })
}

/// The tokens of a connection that ends.
pub(super) async fn delete_tokens_of(transaction: &mut DbTransaction, connection: ConnectionId) -> Result<()> {
    for deleted in ["DELETE FROM api_token WHERE connection = $1", "DELETE FROM settings_token_use WHERE connection = $1"] {
        sqlx::query(deleted).bind(connection.to_string()).execute(&mut **transaction).await?;
    }
    Ok(())
}

#[async_trait]
impl ApiTokens for SqlStore {
    async fn add_api_token(&self, token: &ApiToken) -> Result<()> {
        sqlx::query(
            "INSERT INTO api_token (tenant, connection, id, name, hash, purposes, created_at, revoked_at, last_used_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        )
        .bind(token.tenant.as_str())
        .bind(token.connection.to_string())
        .bind(&token.id.as_bytes()[..])
        .bind(&token.name)
        .bind(&token.hash[..])
        .bind(serde_json::to_string(&token.purposes).unwrap_or_default())
        .bind(token.created_at)
        .bind(token.revoked_at)
        .bind(token.last_used_at)
        .execute(&self.write)
        .await?;
        Ok(())
    }

    async fn api_token(&self, hash: &[u8; 32]) -> Result<Option<ApiToken>> {
        let row = sqlx::query("SELECT * FROM api_token WHERE hash = $1").bind(&hash[..]).fetch_optional(&self.read).await?;
        row.as_ref().map(api_token).transpose()
    }

    async fn list_api_tokens(&self, limit: i64) -> Result<Vec<ApiToken>> {
        let rows = sqlx::query("SELECT * FROM api_token ORDER BY id DESC LIMIT $1").bind(limit).fetch_all(&self.read).await?;
        rows.iter().map(api_token).collect()
    }

    async fn revoke_api_token(&self, id: Uuid, now: i64) -> Result<bool> {
        let revoked = sqlx::query("UPDATE api_token SET revoked_at = $2 WHERE id = $1 AND revoked_at IS NULL")
            .bind(&id.as_bytes()[..])
            .bind(now)
            .execute(&self.write)
            .await?;
        Ok(revoked.rows_affected() == 1)
    }

    async fn touch_api_token(&self, id: Uuid, used_at: i64) -> Result<()> {
        sqlx::query("UPDATE api_token SET last_used_at = $2 WHERE id = $1")
            .bind(&id.as_bytes()[..])
            .bind(used_at)
            .execute(&self.write)
            .await?;
        Ok(())
    }

    async fn touch_settings_token(&self, used: &SettingsTokenUse) -> Result<()> {
        sqlx::query(
            "INSERT INTO settings_token_use (tenant, connection, name, used_at) VALUES ($1, $2, $3, $4)
             ON CONFLICT (connection, name) DO UPDATE SET used_at = excluded.used_at",
        )
        .bind(used.tenant.as_str())
        .bind(used.connection.to_string())
        .bind(&used.name)
        .bind(used.used_at)
        .execute(&self.write)
        .await?;
        Ok(())
    }

    async fn settings_token_uses(&self) -> Result<Vec<SettingsTokenUse>> {
        let rows = sqlx::query("SELECT tenant, connection, name, used_at FROM settings_token_use").fetch_all(&self.read).await?;
        let used = |row: &DbRow| {
            Ok(SettingsTokenUse {
                tenant: tenant_of(row)?,
                connection: connection_of(row)?,
                name: row.try_get("name")?,
                used_at: row.try_get("used_at")?,
            })
        };
        rows.iter().map(used).collect()
    }

    async fn purge_api_tokens(&self, before: i64, limit: i64) -> Result<u64> {
        self.purge(&RETENTION, before, limit).await
    }
}
