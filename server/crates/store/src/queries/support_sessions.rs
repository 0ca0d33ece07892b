//! Known support sessions.

use async_trait::async_trait;
use deskbridge_core::ids::ConnectionId;
use deskbridge_core::session_report::SessionKind;
use sqlx::Row;

use super::{DbQuery, DbRow, Retention, SqlStore, connection_of, tenant_of};
use crate::{KnownSession, Result, SupportSessions};

pub(super) const RETENTION: Retention = Retention { table: "support_session", key: "connection, lsid", time: "seen_at", condition: "TRUE" };

fn known_session(row: &DbRow) -> Result<KnownSession> {
    Ok(KnownSession {
        tenant: tenant_of(row)?,
        connection: connection_of(row)?,
        lsid: row.try_get("lsid")?,
        ticket: row.try_get("ticket")?,
        representative: row.try_get("representative")?,
        customer: row.try_get("customer")?,
        machine: row.try_get("machine")?,
        kind: row.try_get::<Option<String>, _>("kind")?.as_deref().and_then(SessionKind::parse),
        recording: row.try_get("recording")?,
        active: row.try_get("active")?,
        started_at: row.try_get("started_at")?,
        ended_at: row.try_get("ended_at")?,
        recorded_at: row.try_get("recorded_at")?,
    })
}

/// Adds or updates what is known of a session.
pub(super) fn save(session: &KnownSession, now: i64) -> DbQuery<'_> {
    sqlx::query(
        "INSERT INTO support_session (tenant, connection, lsid, ticket, representative, customer, active, started_at, ended_at, recorded_at, seen_at,
           machine, kind, recording)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)
         ON CONFLICT (connection, lsid) DO UPDATE SET ticket = excluded.ticket, representative = excluded.representative, customer = excluded.customer,
           active = excluded.active, started_at = excluded.started_at, ended_at = coalesce(excluded.ended_at, support_session.ended_at),
           recorded_at = coalesce(support_session.recorded_at, excluded.recorded_at), seen_at = excluded.seen_at,
           machine = excluded.machine, kind = excluded.kind, recording = support_session.recording OR excluded.recording",
    )
    .bind(session.tenant.as_str())
    .bind(session.connection.to_string())
    .bind(&session.lsid)
    .bind(&session.ticket)
    .bind(&session.representative)
    .bind(&session.customer)
    .bind(session.active)
    .bind(session.started_at)
    .bind(session.ended_at)
    .bind(session.recorded_at)
    .bind(now)
    .bind(&session.machine)
    .bind(session.kind.map(SessionKind::as_str))
    .bind(session.recording)
}

/// Marks that a session's report stands on the ticket.
pub(super) fn mark_recorded(connection: ConnectionId, lsid: &str, now: i64) -> DbQuery<'_> {
    sqlx::query("UPDATE support_session SET recorded_at = $3 WHERE connection = $1 AND lsid = $2")
        .bind(connection.to_string())
        .bind(lsid)
        .bind(now)
}

#[async_trait]
impl SupportSessions for SqlStore {
    async fn save_session(&self, session: &KnownSession, now: i64) -> Result<()> {
        save(session, now).execute(&self.write).await?;
        Ok(())
    }

    async fn mark_recorded(&self, connection: ConnectionId, lsid: &str, now: i64) -> Result<()> {
        mark_recorded(connection, lsid, now).execute(&self.write).await?;
        Ok(())
    }

    async fn support_session(&self, connection: ConnectionId, lsid: &str) -> Result<Option<KnownSession>> {
        let row = sqlx::query("SELECT * FROM support_session WHERE connection = $1 AND lsid = $2")
            .bind(connection.to_string())
            .bind(lsid)
            .fetch_optional(&self.read)
            .await?;
        row.as_ref().map(known_session).transpose()
    }

    async fn sessions_of_ticket(&self, connection: ConnectionId, ticket: &str) -> Result<Vec<KnownSession>> {
        let rows =
            sqlx::query("SELECT * FROM support_session WHERE connection = $1 AND ticket = $2 ORDER BY coalesce(started_at, seen_at) DESC, lsid LIMIT 50")
                .bind(connection.to_string())
                .bind(ticket)
                .fetch_all(&self.read)
                .await?;
        rows.iter().map(known_session).collect()
    }

    async fn purge_sessions(&self, before: i64, limit: i64) -> Result<u64> {
        self.purge(&RETENTION, before, limit).await
    }
}
