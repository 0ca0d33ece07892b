//! Leases of tickets, for notes that pages write.

use async_trait::async_trait;
use deskbridge_core::ids::ConnectionId;
use sqlx::Row;

use super::{Retention, SqlStore};
use crate::{NoteLease, NoteLeaseHolder, NoteLeases, Result};

pub(super) const RETENTION: Retention =
    Retention { table: "note_lease", key: "connection, ticket", time: "lease_until", condition: "lease_until > 0" };

#[async_trait]
impl NoteLeases for SqlStore {
    async fn take_note_lease(&self, lease: NoteLease<'_>, now: i64) -> Result<Option<NoteLeaseHolder>> {
        let NoteLease { tenant, connection, ticket, holder, agent, until } = lease;
        let taken = sqlx::query(
            "INSERT INTO note_lease (tenant, connection, ticket, holder, agent, lease_until) VALUES ($1, $2, $3, $4, $5, $6)
             ON CONFLICT (connection, ticket) DO UPDATE SET holder = excluded.holder, agent = excluded.agent, lease_until = excluded.lease_until
             WHERE note_lease.lease_until <= $7 OR note_lease.holder = excluded.holder",
        )
        .bind(tenant.as_str())
        .bind(connection.to_string())
        .bind(ticket)
        .bind(holder)
        .bind(agent)
        .bind(until)
        .bind(now)
        .execute(&self.write)
        .await?;
        if taken.rows_affected() > 0 {
            return Ok(None);
        }
        let held = sqlx::query("SELECT agent, lease_until FROM note_lease WHERE connection = $1 AND ticket = $2")
            .bind(connection.to_string())
            .bind(ticket)
            .fetch_optional(&self.write)
            .await?;
        // Given back between the two statements: whoever asks again gets it.
        let gone = || Ok(NoteLeaseHolder { agent: String::new(), until: now });
        held.map_or_else(gone, |row| Ok(NoteLeaseHolder { agent: row.try_get("agent")?, until: row.try_get("lease_until")? })).map(Some)
    }

    async fn release_note_lease(&self, connection: ConnectionId, ticket: &str, holder: &str) -> Result<()> {
        sqlx::query("DELETE FROM note_lease WHERE connection = $1 AND ticket = $2 AND holder = $3")
            .bind(connection.to_string())
            .bind(ticket)
            .bind(holder)
            .execute(&self.write)
            .await?;
        Ok(())
    }

    async fn purge_note_leases(&self, before: i64, limit: i64) -> Result<u64> {
        self.purge(&RETENTION, before, limit).await
    }
}
