//! Sweeps, servers alive, apps' keys.

use async_trait::async_trait;
use deskbridge_core::ids::TenantId;
use sqlx::Row;
use uuid::Uuid;

use super::{Retention, SqlStore};
use crate::{AppKeys, Result, Servers, Sweeps};

/// An account's first sweep begins where its connections' last ones before migration 0005 ended, if they were not longer ago than this:
/// then one sweep would not reach the present anyway.
const FORMER_SWEEPS_COUNT_MS: i64 = 15 * 86_400_000;

#[cfg(test)]
pub(super) const RETENTIONS: [Retention; 2] = [SWEEPS, FORMER_SWEEPS];
const SWEEPS: Retention = Retention { table: "sweep", key: "account", time: "next_at", condition: "TRUE" };
const FORMER_SWEEPS: Retention = Retention { table: "former_sweep", key: "connection", time: "next_at", condition: "TRUE" };

#[async_trait]
impl Sweeps for SqlStore {
    async fn take_sweep_turn(&self, tenant: &TenantId, account: &str, due_by: i64, next_at: i64) -> Result<Option<Option<i64>>> {
        // Which connections used the account is not known here. Too far back does no harm: what is known is not stored again.
        let row = sqlx::query(
            "INSERT INTO sweep (tenant, account, checkpoint, next_at)
             VALUES ($1, $2, (SELECT min(f.checkpoint) FROM former_sweep f WHERE f.tenant = $1 AND f.next_at > $5), $4)
             ON CONFLICT (account) DO UPDATE SET next_at = excluded.next_at WHERE sweep.next_at <= $3
             RETURNING checkpoint",
        )
        .bind(tenant.as_str())
        .bind(account)
        .bind(due_by)
        .bind(next_at)
        .bind(next_at.saturating_sub(FORMER_SWEEPS_COUNT_MS))
        .fetch_optional(&self.write)
        .await?;
        Ok(row.map(|row| row.try_get("checkpoint")).transpose()?)
    }

    async fn save_checkpoint(&self, account: &str, checkpoint: i64) -> Result<()> {
        sqlx::query("UPDATE sweep SET checkpoint = $2 WHERE account = $1").bind(account).bind(checkpoint).execute(&self.write).await?;
        Ok(())
    }

    async fn purge_sweeps(&self, before: i64, limit: i64) -> Result<u64> {
        Ok(self.purge(&SWEEPS, before, limit).await? + self.purge(&FORMER_SWEEPS, before, limit).await?)
    }
}

#[async_trait]
impl Servers for SqlStore {
    async fn server_alive(&self, id: Uuid, now: i64, since: i64) -> Result<u32> {
        sqlx::query("INSERT INTO server (id, seen_at) VALUES ($1, $2) ON CONFLICT (id) DO UPDATE SET seen_at = excluded.seen_at")
            .bind(&id.as_bytes()[..])
            .bind(now)
            .execute(&self.write)
            .await?;
        sqlx::query("DELETE FROM server WHERE seen_at < $1").bind(since).execute(&self.write).await?;
        let row = sqlx::query("SELECT count(*) AS alive FROM server").fetch_one(&self.write).await?;
        Ok(u32::try_from(row.try_get::<i64, _>("alive")?).unwrap_or(1).max(1))
    }

    async fn server_stopped(&self, id: Uuid) -> Result<()> {
        sqlx::query("DELETE FROM server WHERE id = $1").bind(&id.as_bytes()[..]).execute(&self.write).await?;
        Ok(())
    }
}

#[async_trait]
impl AppKeys for SqlStore {
    async fn app_key(&self, app: &str) -> Result<Option<(String, i64)>> {
        let row = sqlx::query("SELECT pem, fetched_at FROM app_key WHERE app = $1").bind(app).fetch_optional(&self.read).await?;
        row.map(|row| Ok((row.try_get("pem")?, row.try_get("fetched_at")?))).transpose()
    }

    async fn save_app_key(&self, tenant: &TenantId, app: &str, pem: &str, fetched_at: i64) -> Result<()> {
        sqlx::query(
            "INSERT INTO app_key (tenant, app, pem, fetched_at) VALUES ($1, $2, $3, $4)
             ON CONFLICT (app) DO UPDATE SET tenant = excluded.tenant, pem = excluded.pem, fetched_at = excluded.fetched_at",
        )
        .bind(tenant.as_str())
        .bind(app)
        .bind(pem)
        .bind(fetched_at)
        .execute(&self.write)
        .await?;
        Ok(())
    }
}
