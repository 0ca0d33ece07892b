//! Chats of customers, counts of uses, and the epoch of values in ticket fields.

use async_trait::async_trait;
use deskbridge_core::ids::{ConnectionId, TenantId};
use sqlx::Row;

use super::{DbRow, Retention, SqlStore, connection_of};
use crate::{CustomerChat, CustomerChats, NewCustomerChat, Result, UseLimit};

#[cfg(test)]
pub(super) const RETENTIONS: [Retention; 2] = [CHATS, USES];
const CHATS: Retention =
    Retention { table: "customer_chat", key: "connection, ticket, customer, issue", time: "expires_at", condition: "TRUE" };
const USES: Retention = Retention { table: "use_count", key: "tenant, subject", time: "ends_at", condition: "TRUE" };

fn chat(row: &DbRow) -> Result<CustomerChat> {
    Ok(CustomerChat {
        id: row.try_get("id")?,
        connection: connection_of(row)?,
        ticket: row.try_get("ticket")?,
        issue: row.try_get("issue")?,
        name: row.try_get("name")?,
        company: row.try_get("company")?,
        expires_at: row.try_get("expires_at")?,
        opened_at: row.try_get("opened_at")?,
    })
}

#[async_trait]
impl CustomerChats for SqlStore {
    async fn customer_chat_of(&self, new: &NewCustomerChat<'_>, now: i64) -> Result<Option<CustomerChat>> {
        let found = sqlx::query(
            "SELECT id, connection, ticket, issue, name, company, expires_at, opened_at FROM customer_chat
             WHERE connection = $1 AND ticket = $2 AND customer = $3 AND issue = $4 AND expires_at > $5",
        )
        .bind(new.connection.to_string())
        .bind(new.ticket)
        .bind(new.customer)
        .bind(new.issue)
        .bind(now)
        .fetch_optional(&self.write)
        .await?;
        found.as_ref().map(chat).transpose()
    }

    async fn start_customer_chat(&self, new: &NewCustomerChat<'_>, instead_of: Option<&str>, now: i64) -> Result<CustomerChat> {
        sqlx::query(
            "INSERT INTO customer_chat (tenant, connection, ticket, customer, issue, id, name, company, expires_at, opened_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
             ON CONFLICT (connection, ticket, customer, issue) DO UPDATE SET
               id = excluded.id, name = excluded.name, company = excluded.company, expires_at = excluded.expires_at,
               opened_at = excluded.opened_at
             WHERE customer_chat.expires_at <= $11 OR customer_chat.id = $12",
        )
        .bind(new.tenant.as_str())
        .bind(new.connection.to_string())
        .bind(new.ticket)
        .bind(new.customer)
        .bind(new.issue)
        .bind(new.id)
        .bind(new.name)
        .bind(new.company)
        .bind(new.expires_at)
        .bind(new.opened_at)
        .bind(now)
        .bind(instead_of)
        .execute(&self.write)
        .await?;
        let stored = sqlx::query(
            "SELECT id, connection, ticket, issue, name, company, expires_at, opened_at FROM customer_chat
             WHERE connection = $1 AND ticket = $2 AND customer = $3 AND issue = $4",
        )
        .bind(new.connection.to_string())
        .bind(new.ticket)
        .bind(new.customer)
        .bind(new.issue)
        .fetch_one(&self.write)
        .await?;
        chat(&stored)
    }

    async fn customer_chat(&self, id: &str) -> Result<Option<CustomerChat>> {
        let found =
            sqlx::query("SELECT id, connection, ticket, issue, name, company, expires_at, opened_at FROM customer_chat WHERE id = $1")
                .bind(id)
                .fetch_optional(&self.read)
                .await?;
        found.as_ref().map(chat).transpose()
    }

    async fn open_customer_chat(&self, id: &str, once_more: bool, now: i64) -> Result<bool> {
        let opened = sqlx::query("UPDATE customer_chat SET opened_at = $2 WHERE id = $1 AND ($3 OR opened_at IS NULL)")
            .bind(id)
            .bind(now)
            .bind(once_more)
            .execute(&self.write)
            .await?;
        Ok(opened.rows_affected() > 0)
    }

    async fn customer_chat_opened_at(&self, connection: ConnectionId, ticket: &str) -> Result<Option<i64>> {
        let row = sqlx::query("SELECT MAX(opened_at) AS opened_at FROM customer_chat WHERE connection = $1 AND ticket = $2")
            .bind(connection.to_string())
            .bind(ticket)
            .fetch_one(&self.read)
            .await?;
        Ok(row.try_get("opened_at")?)
    }

    async fn purge_customer_chats(&self, before: i64, limit: i64) -> Result<u64> {
        self.purge(&CHATS, before, limit).await
    }

    async fn count_use(&self, limit: UseLimit<'_>, now: i64) -> Result<Option<i64>> {
        let counted = sqlx::query(
            "INSERT INTO use_count (tenant, subject, used, ends_at) VALUES ($1, $2, 1, $3)
             ON CONFLICT (tenant, subject) DO UPDATE SET
               used = CASE WHEN use_count.ends_at <= $4 THEN 1 ELSE use_count.used + 1 END,
               ends_at = CASE WHEN use_count.ends_at <= $4 THEN excluded.ends_at ELSE use_count.ends_at END
             WHERE use_count.ends_at <= $4 OR use_count.used < $5",
        )
        .bind(limit.tenant.as_str())
        .bind(limit.subject)
        .bind(now.saturating_add(limit.span_ms))
        .bind(now)
        .bind(i64::from(limit.most))
        .execute(&self.write)
        .await?;
        if counted.rows_affected() > 0 {
            return Ok(None);
        }
        let row = sqlx::query("SELECT ends_at FROM use_count WHERE tenant = $1 AND subject = $2")
            .bind(limit.tenant.as_str())
            .bind(limit.subject)
            .fetch_optional(&self.write)
            .await?;
        // Purged in between: its span has ended.
        row.map_or(Ok(Some(now)), |row| Ok(Some(row.try_get("ends_at")?)))
    }

    async fn used_up(&self, limit: UseLimit<'_>, now: i64) -> Result<Option<i64>> {
        let row = sqlx::query("SELECT ends_at FROM use_count WHERE tenant = $1 AND subject = $2 AND used >= $3 AND ends_at > $4")
            .bind(limit.tenant.as_str())
            .bind(limit.subject)
            .bind(i64::from(limit.most))
            .bind(now)
            .fetch_optional(&self.read)
            .await?;
        row.map_or(Ok(None), |row| Ok(Some(row.try_get("ends_at")?)))
    }

    async fn purge_use_counts(&self, before: i64, limit: i64) -> Result<u64> {
        self.purge(&USES, before, limit).await
    }

    async fn ticket_value_epoch(&self, connection: ConnectionId) -> Result<i64> {
        let row = sqlx::query("SELECT epoch FROM ticket_value_epoch WHERE connection = $1")
            .bind(connection.to_string())
            .fetch_optional(&self.read)
            .await?;
        row.map_or(Ok(0), |row| Ok(row.try_get("epoch")?))
    }

    async fn raise_ticket_value_epoch(&self, tenant: &TenantId, connection: ConnectionId) -> Result<i64> {
        let row = sqlx::query(
            "INSERT INTO ticket_value_epoch (tenant, connection, epoch) VALUES ($1, $2, 1)
             ON CONFLICT (connection) DO UPDATE SET epoch = ticket_value_epoch.epoch + 1 RETURNING epoch",
        )
        .bind(tenant.as_str())
        .bind(connection.to_string())
        .fetch_one(&self.write)
        .await?;
        Ok(row.try_get("epoch")?)
    }
}
