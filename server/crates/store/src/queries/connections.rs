//! Connections.

use async_trait::async_trait;
use deskbridge_core::ids::ConnectionId;
use sqlx::Row;

use super::devices::end_grants;
use super::incidents::forget_incidents;
use super::{DbQuery, DbRow, SqlStore, parse_connection, tenant_of};
use crate::{ConnectionStamp, ConnectionStore, Result, StoredConnection};

fn stored_connection(row: &DbRow) -> Result<StoredConnection> {
    Ok(StoredConnection {
        id: parse_connection(row.try_get("id")?)?,
        tenant: tenant_of(row)?,
        name: row.try_get("name")?,
        settings: row.try_get("settings")?,
        disabled: row.try_get("disabled")?,
        updated_at: row.try_get("updated_at")?,
    })
}

fn save(connection: &StoredConnection) -> DbQuery<'_> {
    sqlx::query(
        "INSERT INTO connection (id, tenant, name, settings, disabled, updated_at) VALUES ($1, $2, $3, $4, $5, $6)
         ON CONFLICT (id) DO UPDATE SET tenant = excluded.tenant, name = excluded.name, settings = excluded.settings,
           disabled = excluded.disabled, updated_at = excluded.updated_at",
    )
    .bind(connection.id.to_string())
    .bind(connection.tenant.as_str())
    .bind(&connection.name)
    .bind(&connection.settings)
    .bind(connection.disabled)
    .bind(connection.updated_at)
}

#[async_trait]
impl ConnectionStore for SqlStore {
    async fn connection_stamp(&self) -> Result<ConnectionStamp> {
        // Triggers keep it: see migration 0005.
        let row = sqlx::query("SELECT connections, latest, updated_sum FROM connection_stamp").fetch_one(&self.read).await?;
        Ok(ConnectionStamp { count: row.try_get("connections")?, latest: row.try_get("latest")?, sum: row.try_get("updated_sum")? })
    }

    async fn connections(&self) -> Result<Vec<StoredConnection>> {
        let rows = sqlx::query("SELECT id, tenant, name, settings, disabled, updated_at FROM connection ORDER BY tenant, name")
            .fetch_all(&self.read)
            .await?;
        rows.iter().map(stored_connection).collect()
    }

    async fn save_connection(&self, connection: &StoredConnection) -> Result<()> {
        save(connection).execute(&self.write).await?;
        Ok(())
    }

    async fn replace_connection(&self, connection: &StoredConnection) -> Result<()> {
        let mut transaction = self.write.begin().await?;
        end_grants(&mut transaction, connection.id).await?;
        forget_incidents(&mut transaction, connection.id).await?;
        save(connection).execute(&mut *transaction).await?;
        transaction.commit().await?;
        Ok(())
    }

    async fn touch_connection(&self, id: ConnectionId, seen: i64, updated_at: i64) -> Result<()> {
        sqlx::query("UPDATE connection SET updated_at = $3 WHERE id = $1 AND updated_at = $2")
            .bind(id.to_string())
            .bind(seen)
            .bind(updated_at)
            .execute(&self.write)
            .await?;
        Ok(())
    }

    async fn rename_host(&self, from: &str, to: &str) -> Result<()> {
        let accounts = format!("{from}/");
        let characters = i32::try_from(accounts.chars().count()).unwrap_or(i32::MAX);
        let mut transaction = self.write.begin().await?;
        for moved in [
            "UPDATE inbox_event SET account = $3 || substr(account, $2 + 1),
               slot = CASE WHEN slot = account THEN $3 || substr(account, $2 + 1) ELSE slot END
             WHERE substr(account, 1, $2) = $1 AND NOT EXISTS (SELECT 1 FROM inbox_event o
               WHERE o.account = $3 || substr(inbox_event.account, $2 + 1) AND o.fingerprint = inbox_event.fingerprint)",
            "UPDATE sweep SET account = $3 || substr(account, $2 + 1) WHERE substr(account, 1, $2) = $1
               AND NOT EXISTS (SELECT 1 FROM sweep o WHERE o.account = $3 || substr(sweep.account, $2 + 1))",
        ] {
            sqlx::query(moved).bind(&accounts).bind(characters).bind(format!("{to}/")).execute(&mut *transaction).await?;
        }
        // What is left was told of under both.
        for twice in [
            "DELETE FROM event_attempt WHERE event_id IN (SELECT id FROM inbox_event WHERE substr(account, 1, $2) = $1)",
            "DELETE FROM inbox_event WHERE substr(account, 1, $2) = $1",
            "DELETE FROM sweep WHERE substr(account, 1, $2) = $1",
        ] {
            sqlx::query(twice).bind(&accounts).bind(characters).execute(&mut *transaction).await?;
        }
        sqlx::query(
            "UPDATE session_owner SET host = $2
             WHERE host = $1 AND NOT EXISTS (SELECT 1 FROM session_owner o WHERE o.host = $2 AND o.lsid = session_owner.lsid)",
        )
        .bind(from)
        .bind(to)
        .execute(&mut *transaction)
        .await?;
        sqlx::query("DELETE FROM session_owner WHERE host = $1").bind(from).execute(&mut *transaction).await?;
        transaction.commit().await?;
        Ok(())
    }

    async fn delete_connection(&self, id: ConnectionId) -> Result<bool> {
        let mut transaction = self.write.begin().await?;
        end_grants(&mut transaction, id).await?;
        forget_incidents(&mut transaction, id).await?;
        for ended in ["DELETE FROM handed_out WHERE connection = $1", "DELETE FROM session_owner WHERE connection = $1"] {
            sqlx::query(ended).bind(id.to_string()).execute(&mut *transaction).await?;
        }
        // Nobody would ever work at them; a person gives them to another connection, or leaves them.
        sqlx::query(
            "UPDATE inbox_event SET state = 'undecided', outcome = 'its connection was removed', connection = NULL, slot = account,
               lease_epoch = lease_epoch + 1, lease_owner = NULL, lease_until = NULL
             WHERE connection = $1 AND state IN ('ready', 'leased')",
        )
        .bind(id.to_string())
        .execute(&mut *transaction)
        .await?;
        let deleted = sqlx::query("DELETE FROM connection WHERE id = $1").bind(id.to_string()).execute(&mut *transaction).await?;
        transaction.commit().await?;
        Ok(deleted.rows_affected() > 0)
    }
}
