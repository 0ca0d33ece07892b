//! Writes to help desks.

use async_trait::async_trait;
use deskbridge_core::ids::ConnectionId;
use sqlx::Row;

use super::{DbQuery, DbRow, Retention, SqlStore, connection_of, damaged, tenant_of};
use crate::{Deliveries, Delivery, DeliveryKey, DeliveryState, LeasedEvent, Result, SendTicket};

/// One that was sent and has no answer yet is kept: only its marker tells what became of it.
pub(super) const RETENTION: Retention = Retention {
    table: "delivery",
    key: "connection, lsid, kind, part",
    time: "coalesce(confirmed_at, sent_at, planned_at)",
    condition: "state IN ('planned', 'confirmed')",
};

/// What both ways of [`Deliveries::mark_sent`] demand of an earlier row: not confirmed, no request sent since (`$8`), and no other event
/// that sent one and may still be writing.
macro_rules! may_send {
    () => {
        "delivery.state <> 'confirmed' AND delivery.sends = $8
         AND NOT EXISTS (SELECT 1 FROM inbox_event o WHERE o.id = delivery.sent_by AND o.id <> $9 AND o.state = 'leased' AND o.lease_until >= $11)"
    };
}

/// The worker still holds its event.
macro_rules! holds_lease {
    () => {
        "EXISTS (SELECT 1 FROM inbox_event e WHERE e.id = $9 AND e.lease_epoch = $10 AND e.state = 'leased' AND e.lease_until >= $11)"
    };
}

/// What changes; an earlier request may have been done, so its ticket and marker stay.
macro_rules! sent {
    () => {
        "state = 'sent', sent_at = $11, sent_by = $9, sends = delivery.sends + 1, settled_at = $12,
         ticket = CASE WHEN delivery.state = 'planned' THEN $6 ELSE delivery.ticket END,
         marker = CASE WHEN delivery.state = 'planned' THEN $7 ELSE delivery.marker END"
    };
}

const SEND_FIRST: &str = concat!(
    "INSERT INTO delivery (tenant, connection, lsid, kind, part, ticket, marker, state, sends, sent_by, planned_at, sent_at, settled_at)
     SELECT $1, $2, $3, $4, $5, $6, $7, 'sent', $8 + 1, $9, $11, $11, $12 WHERE ",
    holds_lease!(),
    " ON CONFLICT (connection, lsid, kind, part) DO UPDATE SET ",
    sent!(),
    " WHERE ",
    may_send!()
);

const SEND_AGAIN: &str = concat!(
    "UPDATE delivery SET ",
    sent!(),
    " WHERE tenant = $1 AND connection = $2 AND lsid = $3 AND kind = $4 AND part = $5 AND ",
    holds_lease!(),
    " AND ",
    may_send!()
);

fn delivery(row: &DbRow) -> Result<Delivery> {
    Ok(Delivery {
        key: DeliveryKey {
            tenant: tenant_of(row)?,
            connection: connection_of(row)?,
            lsid: row.try_get("lsid")?,
            kind: row.try_get("kind")?,
            part: row.try_get("part")?,
        },
        ticket: row.try_get("ticket")?,
        marker: row.try_get("marker")?,
        state: parse_state(row.try_get("state")?).ok_or_else(|| damaged("a delivery's state"))?,
        remote_id: row.try_get("remote_id")?,
        sends: row.try_get("sends")?,
        sent_at: row.try_get("sent_at")?,
        settled_at: row.try_get("settled_at")?,
    })
}

fn state_name(state: DeliveryState) -> &'static str {
    match state {
        DeliveryState::Planned => "planned",
        DeliveryState::Sent => "sent",
        DeliveryState::Confirmed => "confirmed",
    }
}

fn parse_state(text: &str) -> Option<DeliveryState> {
    [DeliveryState::Planned, DeliveryState::Sent, DeliveryState::Confirmed].into_iter().find(|state| state_name(*state) == text)
}

/// Confirms a delivery. The ticket and the marker count only where none was sent; without a marker they do not.
pub(super) fn confirm<'q>(key: &'q DeliveryKey, ticket: &'q str, marker: &'q str, remote_id: &'q str, now: i64) -> DbQuery<'q> {
    sqlx::query(
        "INSERT INTO delivery (tenant, connection, lsid, kind, part, ticket, marker, state, remote_id, planned_at, confirmed_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, 'confirmed', $8, $9, $9)
         ON CONFLICT (connection, lsid, kind, part) DO UPDATE SET state = 'confirmed', remote_id = excluded.remote_id, confirmed_at = excluded.confirmed_at,
           ticket = CASE WHEN delivery.state = 'planned' AND excluded.marker <> '' THEN excluded.ticket ELSE delivery.ticket END,
           marker = CASE WHEN delivery.state = 'planned' AND excluded.marker <> '' THEN excluded.marker ELSE delivery.marker END",
    )
    .bind(key.tenant.as_str())
    .bind(key.connection.to_string())
    .bind(&key.lsid)
    .bind(&key.kind)
    .bind(key.part)
    .bind(ticket)
    .bind(marker)
    .bind(remote_id)
    .bind(now)
}

#[async_trait]
impl Deliveries for SqlStore {
    async fn deliveries(&self, connection: ConnectionId, lsid: &str) -> Result<Vec<Delivery>> {
        let rows = sqlx::query("SELECT * FROM delivery WHERE connection = $1 AND lsid = $2 ORDER BY kind, part")
            .bind(connection.to_string())
            .bind(lsid)
            .fetch_all(&self.read)
            .await?;
        rows.iter().map(delivery).collect()
    }

    async fn mark_sent(&self, event: &LeasedEvent, send: &SendTicket<'_>) -> Result<bool> {
        let marked = sqlx::query(if send.sends == 0 { SEND_FIRST } else { SEND_AGAIN })
            .bind(send.key.tenant.as_str())
            .bind(send.key.connection.to_string())
            .bind(&send.key.lsid)
            .bind(&send.key.kind)
            .bind(send.key.part)
            .bind(send.ticket)
            .bind(send.marker)
            .bind(send.sends)
            .bind(&event.id.as_bytes()[..])
            .bind(event.epoch)
            .bind(send.now)
            .bind(send.settled_at)
            .execute(&self.write)
            .await?;
        Ok(marked.rows_affected() == 1)
    }

    async fn settle_sent(&self, key: &DeliveryKey, sends: i64, state: DeliveryState, settled_at: i64) -> Result<()> {
        sqlx::query(
            "UPDATE delivery SET state = $6, settled_at = $7
             WHERE connection = $1 AND lsid = $2 AND kind = $3 AND part = $4 AND state = 'sent' AND sends = $5 + 1",
        )
        .bind(key.connection.to_string())
        .bind(&key.lsid)
        .bind(&key.kind)
        .bind(key.part)
        .bind(sends)
        .bind(state_name(state))
        .bind(settled_at)
        .execute(&self.write)
        .await?;
        Ok(())
    }

    async fn mark_confirmed(&self, key: &DeliveryKey, ticket: &str, marker: &str, remote_id: &str, now: i64) -> Result<()> {
        confirm(key, ticket, marker, remote_id, now).execute(&self.write).await?;
        Ok(())
    }

    async fn purge_deliveries(&self, before: i64, limit: i64) -> Result<u64> {
        self.purge(&RETENTION, before, limit).await
    }
}
