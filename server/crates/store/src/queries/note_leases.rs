//! Leases of tickets, for notes that pages write.

use async_trait::async_trait;
use deskbridge_core::ids::ConnectionId;
use sqlx::Row;

use super::{Retention, SqlStore};
use crate::{NoteLease, NoteLeaseHolder, NoteLeases, Result};

pub(super) const RETENTION: Retention =
    Retention { table: "note_lease", key: "connection, ticket", time: "lease_until", condition: "lease_until > 0" };

impl SqlStore {
    async fn try_to_take(&self, lease: &NoteLease<'_>, now: i64) -> Result<bool> {
        let taken = sqlx::query(
            "INSERT INTO note_lease (tenant, connection, ticket, lease, holder, agent, lease_until) VALUES ($1, $2, $3, $4, $5, $6, $7)
             ON CONFLICT (connection, ticket) DO UPDATE SET
               lease = excluded.lease, holder = excluded.holder, agent = excluded.agent, lease_until = excluded.lease_until
             WHERE note_lease.lease_until <= $8 OR note_lease.holder = excluded.holder",
        )
        .bind(lease.tenant.as_str())
        .bind(lease.connection.to_string())
        .bind(lease.ticket)
        .bind(lease.lease)
        .bind(lease.holder)
        .bind(lease.agent)
        .bind(lease.until)
        .bind(now)
        .execute(&self.write)
        .await?;
        Ok(taken.rows_affected() > 0)
    }
}

#[async_trait]
impl NoteLeases for SqlStore {
    async fn take_note_lease(&self, lease: NoteLease<'_>, now: i64) -> Result<Option<NoteLeaseHolder>> {
        // The lease that was in the way may be given back before it is read: then it is there to be taken.
        for _ in 0..2 {
            if self.try_to_take(&lease, now).await? {
                return Ok(None);
            }
            let held = sqlx::query("SELECT agent, lease_until FROM note_lease WHERE connection = $1 AND ticket = $2")
                .bind(lease.connection.to_string())
                .bind(lease.ticket)
                .fetch_optional(&self.write)
                .await?;
            if let Some(row) = held {
                return Ok(Some(NoteLeaseHolder { agent: row.try_get("agent")?, until: row.try_get("lease_until")? }));
            }
        }
        Ok(Some(NoteLeaseHolder { agent: String::new(), until: now }))
    }

    async fn release_note_lease(&self, connection: ConnectionId, ticket: &str, lease: &str) -> Result<()> {
        sqlx::query("DELETE FROM note_lease WHERE connection = $1 AND ticket = $2 AND lease = $3")
            .bind(connection.to_string())
            .bind(ticket)
            .bind(lease)
            .execute(&self.write)
            .await?;
        Ok(())
    }

    async fn purge_note_leases(&self, before: i64, limit: i64) -> Result<u64> {
        self.purge(&RETENTION, before, limit).await
    }
}
