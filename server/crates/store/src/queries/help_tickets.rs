//! Tickets of requests for help.

use async_trait::async_trait;
use deskbridge_core::ids::ConnectionId;
use sqlx::Row;

use super::{Retention, SqlStore};
use crate::help_tickets::{CURRENT_OF_MACHINE, MACHINES_OF_TICKET};
use crate::{HelpTicket, HelpTickets, NewHelpTicket, Result};

pub(super) const RETENTION: Retention = Retention { table: "help_ticket", key: "connection, request", time: "asked_at", condition: "TRUE" };

#[async_trait]
impl HelpTickets for SqlStore {
    async fn begin_help_ticket(&self, new: &NewHelpTicket<'_>, instead_of: Option<&str>) -> Result<HelpTicket> {
        let connection = new.connection.to_string();
        let mut transaction = self.write.begin().await?;
        if let Some(former) = instead_of {
            sqlx::query("UPDATE help_ticket SET is_current = FALSE WHERE connection = $1 AND machine = $2 AND request = $3 AND is_current")
                .bind(&connection)
                .bind(new.machine)
                .bind(former)
                .execute(&mut *transaction)
                .await?;
        }
        // Another took its place before.
        sqlx::query("DELETE FROM help_ticket WHERE connection = $1 AND request = $2 AND NOT is_current AND ticket IS NULL")
            .bind(&connection)
            .bind(new.request)
            .execute(&mut *transaction)
            .await?;
        sqlx::query(
            "INSERT INTO help_ticket (tenant, connection, request, machine, asked_at, is_current) VALUES ($1, $2, $3, $4, $5, TRUE)
             ON CONFLICT DO NOTHING",
        )
        .bind(new.tenant.as_str())
        .bind(&connection)
        .bind(new.request)
        .bind(new.machine)
        .bind(new.asked_at)
        .execute(&mut *transaction)
        .await?;
        let row = sqlx::query(CURRENT_OF_MACHINE).bind(&connection).bind(new.machine).fetch_one(&mut *transaction).await?;
        transaction.commit().await?;
        Ok(HelpTicket {
            request: row.try_get("request")?,
            ticket: row.try_get("ticket")?,
            asked_at: row.try_get("asked_at")?,
            is_under_way: row.try_get("is_under_way")?,
        })
    }

    async fn help_ticket_made(&self, connection: ConnectionId, request: &str, ticket: &str) -> Result<()> {
        sqlx::query("UPDATE help_ticket SET ticket = $3 WHERE connection = $1 AND request = $2")
            .bind(connection.to_string())
            .bind(request)
            .bind(ticket)
            .execute(&self.write)
            .await?;
        Ok(())
    }

    async fn machines_of_help(&self, connection: ConnectionId, ticket: &str) -> Result<Vec<String>> {
        let rows = sqlx::query(MACHINES_OF_TICKET).bind(connection.to_string()).bind(ticket).fetch_all(&self.read).await?;
        rows.iter().map(|row| Ok(row.try_get("machine")?)).collect()
    }

    async fn purge_help_tickets(&self, before: i64, limit: i64) -> Result<u64> {
        self.purge(&RETENTION, before, limit).await
    }
}
