//! Links to machines.

use async_trait::async_trait;
use deskbridge_core::ids::ConnectionId;
use sqlx::Row;

use super::{DbRow, Retention, SqlStore, connection_of, tenant_of};
use crate::machine_links::LINKS_OF_TICKET;
use crate::{MachineLink, MachineLinks, Result};

pub(super) const RETENTION: Retention =
    Retention { table: "machine_link", key: "connection, link_id", time: "coalesce(ended_at, expires_at)", condition: "TRUE" };

fn machine_link(row: &DbRow) -> Result<MachineLink> {
    Ok(MachineLink {
        tenant: tenant_of(row)?,
        connection: connection_of(row)?,
        link_id: row.try_get("link_id")?,
        ticket: row.try_get("ticket")?,
        machine: row.try_get("machine")?,
        machine_name: row.try_get("machine_name")?,
        kind: row.try_get("kind")?,
        agent: row.try_get("agent")?,
        agent_email: row.try_get("agent_email")?,
        made_at: row.try_get("made_at")?,
        expires_at: row.try_get("expires_at")?,
        ended_at: row.try_get("ended_at")?,
    })
}

#[async_trait]
impl MachineLinks for SqlStore {
    async fn add_link(&self, link: &MachineLink) -> Result<()> {
        sqlx::query(
            "INSERT INTO machine_link
               (tenant, connection, link_id, ticket, machine, machine_name, kind, agent, agent_email, made_at, expires_at, ended_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)",
        )
        .bind(link.tenant.as_str())
        .bind(link.connection.to_string())
        .bind(&link.link_id)
        .bind(&link.ticket)
        .bind(&link.machine)
        .bind(&link.machine_name)
        .bind(&link.kind)
        .bind(&link.agent)
        .bind(&link.agent_email)
        .bind(link.made_at)
        .bind(link.expires_at)
        .bind(link.ended_at)
        .execute(&self.write)
        .await?;
        Ok(())
    }

    async fn links_of_ticket(&self, connection: ConnectionId, ticket: &str, now: i64) -> Result<Vec<MachineLink>> {
        let rows = sqlx::query(LINKS_OF_TICKET).bind(connection.to_string()).bind(ticket).bind(now).fetch_all(&self.read).await?;
        rows.iter().map(machine_link).collect()
    }

    async fn link(&self, connection: ConnectionId, link_id: &str) -> Result<Option<MachineLink>> {
        let row = sqlx::query("SELECT * FROM machine_link WHERE connection = $1 AND link_id = $2")
            .bind(connection.to_string())
            .bind(link_id)
            .fetch_optional(&self.read)
            .await?;
        row.as_ref().map(machine_link).transpose()
    }

    async fn end_link(&self, connection: ConnectionId, link_id: &str, now: i64) -> Result<bool> {
        let ended = sqlx::query("UPDATE machine_link SET ended_at = $3 WHERE connection = $1 AND link_id = $2 AND ended_at IS NULL")
            .bind(connection.to_string())
            .bind(link_id)
            .bind(now)
            .execute(&self.write)
            .await?;
        Ok(ended.rows_affected() == 1)
    }

    async fn agent_email(&self, connection: ConnectionId, ticket: &str, kind: &str, agent: &str, at: i64) -> Result<Option<String>> {
        let row = sqlx::query(
            "SELECT agent_email FROM machine_link
             WHERE connection = $1 AND ticket = $2 AND kind = $3 AND agent = $4 AND made_at <= $5
             ORDER BY made_at DESC LIMIT 1",
        )
        .bind(connection.to_string())
        .bind(ticket)
        .bind(kind)
        .bind(agent)
        .bind(at)
        .fetch_optional(&self.read)
        .await?;
        Ok(row.map(|row| row.try_get("agent_email")).transpose()?.flatten())
    }

    async fn last_machines(&self, connection: ConnectionId, ticket: &str, limit: i64) -> Result<Vec<String>> {
        let rows = sqlx::query(
            "SELECT machine, max(made_at) AS last FROM machine_link WHERE connection = $1 AND ticket = $2
             GROUP BY machine ORDER BY last DESC, machine LIMIT $3",
        )
        .bind(connection.to_string())
        .bind(ticket)
        .bind(limit)
        .fetch_all(&self.read)
        .await?;
        rows.iter().map(|row| Ok(row.try_get("machine")?)).collect()
    }

    async fn purge_links(&self, before: i64, limit: i64) -> Result<u64> {
        self.purge(&RETENTION, before, limit).await
    }
}
