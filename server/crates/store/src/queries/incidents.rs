//! Incidents.

use async_trait::async_trait;
use deskbridge_core::event::EventKind;
use deskbridge_core::ids::ConnectionId;
use sqlx::Row;
use uuid::Uuid;

use super::{DbQuery, DbRow, DbTransaction, LOCK_ROW, NOTIFY, Retention, SqlStore, damaged, delete_before, deliveries, inbox};
use crate::incidents::Step;
use crate::{
    DeliveryKey, IncidentChange, IncidentPost, IncidentTicket, IncidentWork, Incidents, PostStored, Result, StoredIncident,
    incident_account,
};

pub(super) const RETENTION: Retention =
    Retention { table: "incident", key: "connection, lsid", time: "updated_at", condition: "NOT is_open" };

const SELECT: &str = "SELECT source, source_id, posted, is_open, changes, creator, retry_at, ticket, ticket_url, updated_at,
   (SELECT count(*) FROM incident_change c WHERE c.connection = incident.connection AND c.lsid = incident.lsid) AS untold
 FROM incident WHERE connection = $1 AND lsid = $2";

fn stored_incident(row: &DbRow) -> Result<StoredIncident> {
    let creator: &str = row.try_get("creator")?;
    let ticket = row.try_get::<Option<String>, _>("ticket")?.zip(row.try_get::<Option<String>, _>("ticket_url")?);
    Ok(StoredIncident {
        source: row.try_get("source")?,
        source_id: row.try_get("source_id")?,
        posted: row.try_get("posted")?,
        is_open: row.try_get("is_open")?,
        changes: row.try_get("changes")?,
        untold: row.try_get("untold")?,
        creator: creator.parse::<Uuid>().map_err(|_| damaged("an incident's creator"))?,
        retry_at: row.try_get("retry_at")?,
        ticket: ticket.map(|(id, url)| IncidentTicket { id, url }),
        updated_at: row.try_get("updated_at")?,
    })
}

/// Adds an incident; nothing where it is known.
fn add(post: &IncidentPost) -> DbQuery<'_> {
    sqlx::query(
        "INSERT INTO incident (tenant, connection, lsid, source, source_id, posted, is_open, creator, first_seen, updated_at, argus_pk)
         VALUES ($1, $2, $3, $4, $5, $6, TRUE, $7, $8, $8, $9) ON CONFLICT (connection, lsid) DO NOTHING",
    )
    .bind(post.tenant.as_str())
    .bind(post.connection.to_string())
    .bind(&post.lsid)
    .bind(&post.source)
    .bind(&post.source_id)
    .bind(&post.posted)
    .bind(post.id.to_string())
    .bind(post.now)
    .bind(post.argus_pk)
}

/// Stores one post, and answers whether there is an event to be woken for.
async fn store(transaction: &mut DbTransaction, post: &IncidentPost) -> Result<(PostStored, bool)> {
    let is_new = post.is_open && add(post).execute(&mut **transaction).await?.rows_affected() == 1;
    let connection = post.connection.to_string();
    let select = format!("{SELECT}{LOCK_ROW}");
    let row = sqlx::query(sqlx::AssertSqlSafe(select)).bind(&connection).bind(&post.lsid).fetch_optional(&mut **transaction).await?;
    let Some(row) = row else { return Ok((PostStored::Unknown, false)) };
    let mut known = stored_incident(&row)?;
    let step = Step::of(&known, is_new, post.is_open, post.now);
    if step.is_idle {
        return Ok((PostStored::Known(known), false));
    }
    known.is_open = post.is_open;
    known.updated_at = post.now;
    if step.is_change {
        known.changes += 1;
        known.untold += 1;
        sqlx::query(
            "INSERT INTO incident_change (tenant, connection, lsid, number, is_open, changed_at) VALUES ($1, $2, $3, $4, $5, $6)
             ON CONFLICT (connection, lsid, number) DO NOTHING",
        )
        .bind(post.tenant.as_str())
        .bind(&connection)
        .bind(&post.lsid)
        .bind(known.changes)
        .bind(post.is_open)
        .bind(post.changed_at)
        .execute(&mut **transaction)
        .await?;
    }
    let mut is_due = false;
    if let Some(kind) = step.work {
        let mut insert = inbox::insert_rows(&[post.event(kind, known.changes)]);
        insert.push(" ON CONFLICT (account, fingerprint) DO UPDATE SET state = 'ready', attempts = 0, finished_at = NULL, not_before = ");
        let earliest = post.now.max(known.retry_at);
        insert.push_bind(earliest);
        // One that is worked at, or is due, stays as it is.
        insert.push(" WHERE inbox_event.state IN ('dead', 'done') OR inbox_event.state = 'ready' AND inbox_event.not_before > ");
        insert.push_bind(earliest);
        is_due = insert.build().execute(&mut **transaction).await?.rows_affected() == 1;
        if is_due && kind == EventKind::Incident {
            known.creator = post.id;
        }
    }
    if known.ticket.is_none() {
        known.posted = Some(post.posted.clone());
    }
    sqlx::query(
        "UPDATE incident SET posted = $3, is_open = $4, changes = $5, creator = $6, updated_at = $7 WHERE connection = $1 AND lsid = $2",
    )
    .bind(&connection)
    .bind(&post.lsid)
    .bind(&known.posted)
    .bind(known.is_open)
    .bind(known.changes)
    .bind(known.creator.to_string())
    .bind(known.updated_at)
    .execute(&mut **transaction)
    .await?;
    Ok((PostStored::Known(known), is_due))
}

/// The first `number` changes need not be told any more.
fn forget_changes<'q>(connection: &'q str, lsid: &'q str, number: i64) -> DbQuery<'q> {
    sqlx::query("DELETE FROM incident_change WHERE connection = $1 AND lsid = $2 AND number <= $3").bind(connection).bind(lsid).bind(number)
}

/// Forgets a connection's incidents, their events and what was written for them: its tickets are another system's now, or nobody's.
pub(super) async fn forget_incidents(transaction: &mut DbTransaction, connection: ConnectionId) -> Result<()> {
    for of_account in [
        "DELETE FROM event_attempt WHERE event_id IN (SELECT id FROM inbox_event WHERE connection = $1 AND account = $2)",
        "DELETE FROM inbox_event WHERE connection = $1 AND account = $2",
    ] {
        sqlx::query(of_account).bind(connection.to_string()).bind(incident_account(connection)).execute(&mut **transaction).await?;
    }
    for of_connection in [
        "DELETE FROM delivery WHERE connection = $1 AND lsid IN (SELECT lsid FROM incident WHERE connection = $1)",
        "DELETE FROM incident_change WHERE connection = $1",
        "DELETE FROM incident WHERE connection = $1",
    ] {
        sqlx::query(of_connection).bind(connection.to_string()).execute(&mut **transaction).await?;
    }
    Ok(())
}

#[async_trait]
impl Incidents for SqlStore {
    async fn store_incidents(&self, posts: &[IncidentPost]) -> Result<Vec<PostStored>> {
        let mut transaction = self.write.begin().await?;
        // Rows are locked in one order, so that two servers never wait for each other.
        let mut order: Vec<usize> = (0..posts.len()).collect();
        order.sort_by(|one, other| {
            let key = |index: &usize| posts.get(*index).map(|post| (post.connection, &post.lsid));
            key(one).cmp(&key(other)).then(one.cmp(other))
        });
        let mut answers = vec![PostStored::Unknown; posts.len()];
        let mut is_due = false;
        for index in order {
            let (Some(post), Some(answer)) = (posts.get(index), answers.get_mut(index)) else { continue };
            let (stored, wakes) = store(&mut transaction, post).await?;
            *answer = stored;
            is_due |= wakes;
        }
        if let Some(notify) = NOTIFY.filter(|_| is_due) {
            sqlx::query(notify).execute(&mut *transaction).await?;
        }
        transaction.commit().await?;
        Ok(answers)
    }

    async fn incident(&self, connection: ConnectionId, lsid: &str) -> Result<Option<StoredIncident>> {
        let row = sqlx::query(SELECT).bind(connection.to_string()).bind(lsid).fetch_optional(&self.read).await?;
        row.as_ref().map(stored_incident).transpose()
    }

    async fn incident_work(&self, connection: ConnectionId, lsid: &str) -> Result<Option<IncidentWork>> {
        let row =
            sqlx::query("SELECT state, not_before, outcome FROM inbox_event WHERE lsid = $2 AND account = $1 ORDER BY id DESC LIMIT 1")
                .bind(incident_account(connection))
                .bind(lsid)
                .fetch_optional(&self.read)
                .await?;
        let read = |row: DbRow| {
            Ok(IncidentWork { state: row.try_get("state")?, not_before: row.try_get("not_before")?, outcome: row.try_get("outcome")? })
        };
        row.map(read).transpose()
    }

    async fn incident_made(
        &self,
        connection: ConnectionId,
        lsid: &str,
        ticket: &IncidentTicket,
        delivery: &DeliveryKey,
        changes: i64,
        now: i64,
    ) -> Result<()> {
        let connection_text = connection.to_string();
        let mut transaction = self.write.begin().await?;
        sqlx::query("UPDATE incident SET ticket = $3, ticket_url = $4, posted = NULL, retry_at = 0 WHERE connection = $1 AND lsid = $2")
            .bind(&connection_text)
            .bind(lsid)
            .bind(&ticket.id)
            .bind(&ticket.url)
            .execute(&mut *transaction)
            .await?;
        forget_changes(&connection_text, lsid, changes).execute(&mut *transaction).await?;
        deliveries::confirm(delivery, "", "", &ticket.id, now).execute(&mut *transaction).await?;
        transaction.commit().await?;
        Ok(())
    }

    async fn incident_waits(&self, connection: ConnectionId, lsid: &str, retry_at: i64) -> Result<()> {
        sqlx::query("UPDATE incident SET retry_at = $3 WHERE connection = $1 AND lsid = $2")
            .bind(connection.to_string())
            .bind(lsid)
            .bind(retry_at)
            .execute(&self.write)
            .await?;
        Ok(())
    }

    async fn incident_changes(&self, connection: ConnectionId, lsid: &str) -> Result<Vec<IncidentChange>> {
        let rows = sqlx::query(
            "SELECT number, is_open, changed_at FROM incident_change WHERE connection = $1 AND lsid = $2 ORDER BY number LIMIT 100",
        )
        .bind(connection.to_string())
        .bind(lsid)
        .fetch_all(&self.read)
        .await?;
        let read = |row: &DbRow| {
            let (number, is_open, changed_at) = (row.try_get("number")?, row.try_get("is_open")?, row.try_get("changed_at")?);
            Ok(IncidentChange { number, is_open, changed_at })
        };
        rows.iter().map(read).collect()
    }

    async fn incident_told(&self, connection: ConnectionId, lsid: &str, number: i64) -> Result<()> {
        let connection = connection.to_string();
        forget_changes(&connection, lsid, number).execute(&self.write).await?;
        Ok(())
    }

    async fn purge_incidents(&self, before: i64, limit: i64) -> Result<u64> {
        let mut transaction = self.write.begin().await?;
        let mut delete = delete_before(&RETENTION, before, limit);
        let rows = delete.push(" RETURNING connection, lsid").build().fetch_all(&mut *transaction).await?;
        for row in &rows {
            let (connection, lsid): (String, String) = (row.try_get("connection")?, row.try_get("lsid")?);
            forget_changes(&connection, &lsid, i64::MAX).execute(&mut *transaction).await?;
        }
        transaction.commit().await?;
        Ok(u64::try_from(rows.len()).unwrap_or(u64::MAX))
    }
}
