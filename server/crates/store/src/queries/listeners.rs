//! Which server hears an engine's account.

use async_trait::async_trait;
use deskbridge_core::ids::TenantId;
use sqlx::Row;
use uuid::Uuid;

use super::{Retention, SqlStore};
use crate::{Held, Listeners, Result};

pub(super) const RETENTION: Retention = Retention { table: "listener", key: "account", time: "held_until", condition: "TRUE" };

#[async_trait]
impl Listeners for SqlStore {
    async fn hold_listener(&self, tenant: &TenantId, account: &str, server: Uuid, now: i64, until: i64) -> Result<Option<Held>> {
        let row = sqlx::query(
            "INSERT INTO listener (tenant, account, holder, held_until) VALUES ($1, $2, $3, $4)
             ON CONFLICT (account) DO UPDATE SET holder = excluded.holder, held_until = excluded.held_until
             WHERE listener.holder IS NULL OR listener.holder = excluded.holder OR listener.held_until <= $5
             RETURNING cursor, clock_ahead",
        )
        .bind(tenant.as_str())
        .bind(account)
        .bind(&server.as_bytes()[..])
        .bind(until)
        .bind(now)
        .fetch_optional(&self.write)
        .await?;
        row.map(|row| Ok(Held { cursor: row.try_get("cursor")?, clock_ahead: row.try_get("clock_ahead")? })).transpose()
    }

    async fn save_cursor(&self, account: &str, server: Uuid, cursor: i64, clock_ahead: Option<i64>) -> Result<bool> {
        let saved = sqlx::query("UPDATE listener SET cursor = $3, clock_ahead = $4 WHERE account = $1 AND holder = $2")
            .bind(account)
            .bind(&server.as_bytes()[..])
            .bind(cursor)
            .bind(clock_ahead)
            .execute(&self.write)
            .await?;
        Ok(saved.rows_affected() == 1)
    }

    async fn release_listener(&self, account: &str, server: Uuid) -> Result<()> {
        // The time stays: it says when the account was last held.
        sqlx::query("UPDATE listener SET holder = NULL WHERE account = $1 AND holder = $2")
            .bind(account)
            .bind(&server.as_bytes()[..])
            .execute(&self.write)
            .await?;
        Ok(())
    }

    async fn purge_listeners(&self, before: i64, limit: i64) -> Result<u64> {
        self.purge(&RETENTION, before, limit).await
    }
}
