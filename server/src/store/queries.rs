//! Every statement, once; compiled for SQLite and for PostgreSQL, which both read `$1`, `RETURNING` and `ON CONFLICT`.
//! `super` says which database: its `Db`, and what its claims need.

use std::collections::HashSet;

use async_trait::async_trait;
use sqlx::{QueryBuilder, Row};
use uuid::Uuid;

use super::{CLAIM, Db, NOTIFY, Wakes};
use crate::store::{
    AttemptRow, Delivery, DeliveryKey, DeliveryState, EventName, EventRow, KnownSession, LeasedEvent, NewAgentSession, NewEvent, Origin,
    Outcome, QueueSize, Result, Store, StoreError, StoredAgentSession, StoredConnection,
};

#[path = "device_queries.rs"]
mod devices;

/// Most rows one INSERT takes: well below both databases' limits on parameters (32,766 and 65,535).
const INSERT_CHUNK: usize = 256;
/// Attempts at one event that are kept.
const KEPT_ATTEMPTS: i64 = 20;

type DbRow = <Db as sqlx::Database>::Row;

/// The pools of one database; on PostgreSQL both are the same.
pub(in crate::store) struct SqlStore {
    pub(in crate::store) read: sqlx::Pool<Db>,
    pub(in crate::store) write: sqlx::Pool<Db>,
    pub(in crate::store) wakes: Wakes,
}

/// Cuts rows into as few chunks as powers of two allow: few different statements, so that each is prepared once and kept.
fn insert_chunks<T>(mut rows: &[T]) -> impl Iterator<Item = &[T]> {
    std::iter::from_fn(move || {
        let length = INSERT_CHUNK.min(1 << rows.len().checked_ilog2()?);
        let (chunk, rest) = rows.split_at(length);
        rows = rest;
        Some(chunk)
    })
}

fn damaged(what: &str) -> StoreError {
    StoreError::Damaged(what.to_owned())
}

fn id_of(bytes: &[u8]) -> Result<Uuid> {
    Uuid::from_slice(bytes).map_err(|_| damaged("an event's id"))
}

fn event_row(row: &DbRow) -> Result<EventRow> {
    Ok(EventRow {
        id: id_of(row.try_get("id")?)?,
        connection: row.try_get("connection")?,
        kind: row.try_get("kind")?,
        lsid: row.try_get("lsid")?,
        origin: row.try_get("origin")?,
        state: row.try_get("state")?,
        attempts: row.try_get("attempts")?,
        received_at: row.try_get("received_at")?,
        not_before: row.try_get("not_before")?,
        outcome: row.try_get("outcome")?,
    })
}

fn leased_event(row: &DbRow, now: i64) -> Result<LeasedEvent> {
    Ok(LeasedEvent {
        id: id_of(row.try_get("id")?)?,
        connection: row.try_get("connection")?,
        kind: EventName::parse(row.try_get("kind")?).ok_or_else(|| damaged("an event's kind"))?,
        lsid: row.try_get("lsid")?,
        ticket: row.try_get("ticket")?,
        origin: Origin::parse(row.try_get("origin")?).ok_or_else(|| damaged("an event's origin"))?,
        received_at: row.try_get("received_at")?,
        attempts: row.try_get("attempts")?,
        epoch: row.try_get("lease_epoch")?,
        leased_at: now,
    })
}

fn known_session(row: &DbRow) -> Result<KnownSession> {
    Ok(KnownSession {
        connection: row.try_get("connection")?,
        lsid: row.try_get("lsid")?,
        ticket: row.try_get("ticket")?,
        representative: row.try_get("representative")?,
        customer: row.try_get("customer")?,
        active: row.try_get("active")?,
        started_at: row.try_get("started_at")?,
        ended_at: row.try_get("ended_at")?,
        recorded_at: row.try_get("recorded_at")?,
    })
}

fn insert_sessions(sessions: &[NewAgentSession]) -> QueryBuilder<Db> {
    let mut insert = QueryBuilder::new("INSERT INTO agent_session (id_hash, connection, record, created_at, used_at, keep_until) ");
    insert.push_values(sessions, |mut values, session| {
        values
            .push_bind(session.id_hash.to_vec())
            .push_bind(session.connection.clone())
            .push_bind(session.record.clone())
            .push_bind(session.created_at)
            .push_bind(session.created_at)
            .push_bind(session.keep_until);
    });
    insert.push(" ON CONFLICT DO NOTHING");
    insert
}

#[async_trait]
impl Store for SqlStore {
    async fn ping(&self) -> Result<()> {
        sqlx::query("SELECT 1").execute(&self.read).await?;
        Ok(())
    }

    async fn connections(&self) -> Result<Vec<StoredConnection>> {
        let rows = sqlx::query("SELECT name, settings, updated_at FROM connection ORDER BY name").fetch_all(&self.read).await?;
        rows.iter()
            .map(|row| {
                Ok(StoredConnection {
                    name: row.try_get("name")?,
                    settings: row.try_get("settings")?,
                    updated_at: row.try_get("updated_at")?,
                })
            })
            .collect()
    }

    async fn save_connection(&self, connection: &StoredConnection, disabled: bool) -> Result<()> {
        sqlx::query(
            "INSERT INTO connection (name, settings, disabled, updated_at) VALUES ($1, $2, $3, $4)
             ON CONFLICT (name) DO UPDATE SET settings = excluded.settings, disabled = excluded.disabled, updated_at = excluded.updated_at",
        )
        .bind(&connection.name)
        .bind(&connection.settings)
        .bind(disabled)
        .bind(connection.updated_at)
        .execute(&self.write)
        .await?;
        Ok(())
    }

    async fn delete_connection(&self, name: &str) -> Result<bool> {
        let mut transaction = self.write.begin().await?;
        devices::end_grants(&mut transaction, name).await?;
        let deleted = sqlx::query("DELETE FROM connection WHERE name = $1").bind(name).execute(&mut *transaction).await?;
        transaction.commit().await?;
        Ok(deleted.rows_affected() > 0)
    }

    async fn open_agent_sessions(&self, sessions: &[NewAgentSession]) -> Result<Vec<bool>> {
        let mut transaction = self.write.begin().await?;
        let mut opened = 0;
        for chunk in insert_chunks(sessions) {
            opened += insert_sessions(chunk).build().execute(&mut *transaction).await?.rows_affected();
        }
        if usize::try_from(opened).is_ok_and(|opened| opened == sessions.len()) {
            transaction.commit().await?;
            return Ok(vec![true; sessions.len()]);
        }
        // Some are open already. Only now is it worth being told which: SQLite hands answers over row by row.
        transaction.rollback().await?;
        let mut transaction = self.write.begin().await?;
        let mut opened = HashSet::new();
        for chunk in insert_chunks(sessions) {
            for row in insert_sessions(chunk).push(" RETURNING id_hash").build().fetch_all(&mut *transaction).await? {
                opened.insert(row.try_get::<Vec<u8>, _>("id_hash")?);
            }
        }
        transaction.commit().await?;
        // Of two with the same id, the first.
        Ok(sessions.iter().map(|session| opened.remove(session.id_hash.as_slice())).collect())
    }

    async fn agent_session(&self, id_hash: &[u8; 32]) -> Result<Option<StoredAgentSession>> {
        let row = sqlx::query("SELECT record, created_at, used_at FROM agent_session WHERE id_hash = $1 AND record <> ''")
            .bind(&id_hash[..])
            .fetch_optional(&self.read)
            .await?;
        row.map(|row| {
            Ok(StoredAgentSession {
                record: row.try_get("record")?,
                created_at: row.try_get("created_at")?,
                used_at: row.try_get("used_at")?,
            })
        })
        .transpose()
    }

    async fn save_agent_session(&self, id_hash: &[u8; 32], record: &str) -> Result<()> {
        sqlx::query("UPDATE agent_session SET record = $2 WHERE id_hash = $1 AND record <> ''")
            .bind(&id_hash[..])
            .bind(record)
            .execute(&self.write)
            .await?;
        Ok(())
    }

    async fn touch_agent_session(&self, id_hash: &[u8; 32], used_at: i64) -> Result<()> {
        sqlx::query("UPDATE agent_session SET used_at = $2 WHERE id_hash = $1")
            .bind(&id_hash[..])
            .bind(used_at)
            .execute(&self.write)
            .await?;
        Ok(())
    }

    async fn end_agent_session(&self, id_hash: &[u8; 32]) -> Result<()> {
        sqlx::query("UPDATE agent_session SET record = '' WHERE id_hash = $1").bind(&id_hash[..]).execute(&self.write).await?;
        Ok(())
    }

    async fn sweep_agent_sessions(&self, now: i64) -> Result<u64> {
        Ok(sqlx::query("DELETE FROM agent_session WHERE keep_until < $1").bind(now).execute(&self.write).await?.rows_affected())
    }

    async fn add_events(&self, events: &[NewEvent]) -> Result<u64> {
        let mut added = 0;
        let mut transaction = self.write.begin().await?;
        for chunk in insert_chunks(events) {
            let mut insert = QueryBuilder::<Db>::new(
                "INSERT INTO inbox_event (id, connection, fingerprint, kind, rank, lsid, ticket, origin, received_at, state, not_before) ",
            );
            insert.push_values(chunk, |mut values, event| {
                values
                    .push_bind(event.id.as_bytes().to_vec())
                    .push_bind(event.connection.clone())
                    .push_bind(event.fingerprint.to_vec())
                    .push_bind(event.kind.as_str())
                    .push_bind(event.kind.rank())
                    .push_bind(event.lsid.clone())
                    .push_bind(event.ticket.clone())
                    .push_bind(event.origin.as_str())
                    .push_bind(event.received_at)
                    .push_bind("ready")
                    .push_bind(event.received_at);
            });
            insert.push(" ON CONFLICT (connection, fingerprint) DO NOTHING");
            added += insert.build().execute(&mut *transaction).await?.rows_affected();
        }
        if let Some(notify) = NOTIFY.filter(|_| added > 0) {
            sqlx::query(notify).execute(&mut *transaction).await?;
        }
        transaction.commit().await?;
        Ok(added)
    }

    async fn claim_events(&self, connection: &str, owner: Uuid, now: i64, until: i64, limit: i64) -> Result<Vec<LeasedEvent>> {
        let rows = sqlx::query(CLAIM)
            .bind(connection)
            .bind(&owner.as_bytes()[..])
            .bind(now)
            .bind(until)
            .bind(limit)
            .fetch_all(&self.write)
            .await?;
        let mut events = rows.iter().map(|row| leased_event(row, now)).collect::<Result<Vec<_>>>()?;
        events.sort_by_key(|event| event.id);
        Ok(events)
    }

    async fn take_turn(&self, event: &LeasedEvent, ticket: &str) -> Result<bool> {
        if event.ticket.as_deref() != Some(ticket) {
            sqlx::query("UPDATE inbox_event SET ticket = $3 WHERE id = $1 AND lease_epoch = $2")
                .bind(&event.id.as_bytes()[..])
                .bind(event.epoch)
                .bind(ticket)
                .execute(&self.write)
                .await?;
        }
        let earlier = sqlx::query(
            "SELECT 1 FROM inbox_event WHERE connection = $1 AND ticket = $2 AND state IN ('ready', 'leased') AND kind = 'session_end' AND lsid <> $3 AND id < $4 LIMIT 1",
        )
        .bind(&event.connection)
        .bind(ticket)
        .bind(&event.lsid)
        .bind(&event.id.as_bytes()[..])
        .fetch_optional(&self.write)
        .await?;
        Ok(earlier.is_none())
    }

    async fn forget_ticket(&self, event: &LeasedEvent) -> Result<()> {
        sqlx::query("UPDATE inbox_event SET ticket = NULL WHERE id = $1 AND lease_epoch = $2")
            .bind(&event.id.as_bytes()[..])
            .bind(event.epoch)
            .execute(&self.write)
            .await?;
        Ok(())
    }

    async fn known_events(&self, connection: &str, kind: EventName, lsids: &[String]) -> Result<Vec<(String, Origin)>> {
        let mut known = Vec::new();
        for chunk in lsids.chunks(INSERT_CHUNK) {
            let mut select = QueryBuilder::<Db>::new("SELECT lsid, origin FROM inbox_event WHERE connection = ");
            select.push_bind(connection.to_owned()).push(" AND kind = ").push_bind(kind.as_str()).push(" AND lsid IN (");
            let mut names = select.separated(", ");
            for lsid in chunk {
                names.push_bind(lsid.clone());
            }
            select.push(")");
            for row in select.build().fetch_all(&self.read).await? {
                let origin = Origin::parse(row.try_get("origin")?).ok_or_else(|| damaged("an event's origin"))?;
                known.push((row.try_get("lsid")?, origin));
            }
        }
        Ok(known)
    }

    async fn queue_sizes(&self) -> Result<Vec<QueueSize>> {
        let rows = sqlx::query(
            "SELECT connection, state, count(*) AS events, min(received_at) AS oldest FROM inbox_event GROUP BY connection, state",
        )
        .fetch_all(&self.read)
        .await?;
        rows.iter()
            .map(|row| {
                Ok(QueueSize {
                    connection: row.try_get("connection")?,
                    state: row.try_get("state")?,
                    events: row.try_get("events")?,
                    oldest_received_at: row.try_get("oldest")?,
                })
            })
            .collect()
    }

    async fn sweep_events(&self, before: i64) -> Result<u64> {
        let mut transaction = self.write.begin().await?;
        sqlx::query("DELETE FROM event_attempt WHERE event_id IN (SELECT id FROM inbox_event WHERE state = 'done' AND finished_at < $1)")
            .bind(before)
            .execute(&mut *transaction)
            .await?;
        let removed = sqlx::query("DELETE FROM inbox_event WHERE state = 'done' AND finished_at < $1")
            .bind(before)
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await?;
        Ok(removed.rows_affected())
    }

    async fn other_server_stored(&self) {
        self.wakes.next(&self.read).await;
    }

    async fn server_alive(&self, id: Uuid, now: i64, since: i64) -> Result<u32> {
        sqlx::query("INSERT INTO server (id, seen_at) VALUES ($1, $2) ON CONFLICT (id) DO UPDATE SET seen_at = excluded.seen_at")
            .bind(&id.as_bytes()[..])
            .bind(now)
            .execute(&self.write)
            .await?;
        sqlx::query("DELETE FROM server WHERE seen_at < $1").bind(since).execute(&self.write).await?;
        let row = sqlx::query("SELECT count(*) AS alive FROM server").fetch_one(&self.write).await?;
        Ok(u32::try_from(row.try_get::<i64, _>("alive")?).unwrap_or(1).max(1))
    }

    async fn take_sweep_turn(&self, connection: &str, due_by: i64, next_at: i64) -> Result<Option<Option<i64>>> {
        let row = sqlx::query(
            "INSERT INTO sweep (connection, checkpoint, next_at) VALUES ($1, NULL, $3)
             ON CONFLICT (connection) DO UPDATE SET next_at = excluded.next_at WHERE sweep.next_at <= $2
             RETURNING checkpoint",
        )
        .bind(connection)
        .bind(due_by)
        .bind(next_at)
        .fetch_optional(&self.write)
        .await?;
        Ok(row.map(|row| row.try_get("checkpoint")).transpose()?)
    }

    async fn save_checkpoint(&self, connection: &str, checkpoint: i64) -> Result<()> {
        sqlx::query("UPDATE sweep SET checkpoint = $2 WHERE connection = $1")
            .bind(connection)
            .bind(checkpoint)
            .execute(&self.write)
            .await?;
        Ok(())
    }

    async fn app_key(&self, app: &str) -> Result<Option<(String, i64)>> {
        let row = sqlx::query("SELECT pem, fetched_at FROM app_key WHERE app = $1").bind(app).fetch_optional(&self.read).await?;
        row.map(|row| Ok((row.try_get("pem")?, row.try_get("fetched_at")?))).transpose()
    }

    async fn save_app_key(&self, app: &str, pem: &str, fetched_at: i64) -> Result<()> {
        sqlx::query(
            "INSERT INTO app_key (app, pem, fetched_at) VALUES ($1, $2, $3)
             ON CONFLICT (app) DO UPDATE SET pem = excluded.pem, fetched_at = excluded.fetched_at",
        )
        .bind(app)
        .bind(pem)
        .bind(fetched_at)
        .execute(&self.write)
        .await?;
        Ok(())
    }

    async fn renew_lease(&self, event: &LeasedEvent, until: i64) -> Result<bool> {
        let renewed = sqlx::query("UPDATE inbox_event SET lease_until = $3 WHERE id = $1 AND lease_epoch = $2 AND state = 'leased'")
            .bind(&event.id.as_bytes()[..])
            .bind(event.epoch)
            .bind(until)
            .execute(&self.write)
            .await?;
        Ok(renewed.rows_affected() == 1)
    }

    async fn finish_event(&self, event: &LeasedEvent, outcome: &Outcome, now: i64) -> Result<bool> {
        let (state, not_before, text, uncounted, finished) = match outcome {
            Outcome::Done(text) => ("done", now, text, 0, Some(now)),
            Outcome::Dead(text) => ("dead", now, text, 0, Some(now)),
            Outcome::Retry { not_before, reason, counts } => ("ready", *not_before, reason, i32::from(!counts), None),
        };
        let mut transaction = self.write.begin().await?;
        let ended = sqlx::query(
            "UPDATE inbox_event SET state = $3, not_before = $4, outcome = $5, attempts = attempts - $6, finished_at = $7, lease_owner = NULL, lease_until = NULL
             WHERE id = $1 AND lease_epoch = $2 AND state = 'leased'",
        )
        .bind(&event.id.as_bytes()[..])
        .bind(event.epoch)
        .bind(state)
        .bind(not_before)
        .bind(text)
        .bind(uncounted)
        .bind(finished)
        .execute(&mut *transaction)
        .await?;
        if ended.rows_affected() == 0 {
            return Ok(false);
        }
        sqlx::query(
            "INSERT INTO event_attempt (event_id, epoch, leased_at, ended_at, result, said, next_at) VALUES ($1, $2, $3, $4, $5, $6, $7)",
        )
        .bind(&event.id.as_bytes()[..])
        .bind(event.epoch)
        .bind(event.leased_at)
        .bind(now)
        .bind(if finished.is_some() { state } else { "retry" })
        .bind(text)
        .bind(finished.is_none().then_some(not_before))
        .execute(&mut *transaction)
        .await?;
        // Most events have one attempt; only those with many pay for the clearing.
        if event.epoch > KEPT_ATTEMPTS {
            sqlx::query("DELETE FROM event_attempt WHERE event_id = $1 AND epoch <= $2")
                .bind(&event.id.as_bytes()[..])
                .bind(event.epoch - KEPT_ATTEMPTS)
                .execute(&mut *transaction)
                .await?;
        }
        transaction.commit().await?;
        Ok(true)
    }

    async fn release_leases(&self, owner: Uuid, now: i64) -> Result<u64> {
        let released = sqlx::query(
            "UPDATE inbox_event SET state = 'ready', not_before = $2, attempts = attempts - 1, lease_epoch = lease_epoch + 1, lease_owner = NULL, lease_until = NULL
             WHERE lease_owner = $1 AND state = 'leased' AND NOT EXISTS (SELECT 1 FROM delivery d
               WHERE d.connection = inbox_event.connection AND d.lsid = inbox_event.lsid AND d.state = 'sent')",
        )
        .bind(&owner.as_bytes()[..])
        .bind(now)
        .execute(&self.write)
        .await?;
        Ok(released.rows_affected())
    }

    async fn next_due(&self) -> Result<Option<i64>> {
        // The first condition is the index's own; the second passes over the few leased rows at its head.
        let row = sqlx::query(
            "SELECT not_before FROM inbox_event WHERE state IN ('ready', 'leased') AND state = 'ready' ORDER BY not_before LIMIT 1",
        )
        .fetch_optional(&self.read)
        .await?;
        Ok(row.map(|row| row.try_get("not_before")).transpose()?)
    }

    async fn list_events(&self, state: Option<&str>, limit: i64) -> Result<Vec<EventRow>> {
        let rows = sqlx::query("SELECT * FROM inbox_event WHERE $1 = '' OR state = $1 ORDER BY id DESC LIMIT $2")
            .bind(state.unwrap_or_default())
            .bind(limit)
            .fetch_all(&self.read)
            .await?;
        rows.iter().map(event_row).collect()
    }

    async fn event(&self, id: Uuid) -> Result<Option<EventRow>> {
        let row = sqlx::query("SELECT * FROM inbox_event WHERE id = $1").bind(&id.as_bytes()[..]).fetch_optional(&self.read).await?;
        row.as_ref().map(event_row).transpose()
    }

    async fn attempts(&self, id: Uuid) -> Result<Vec<AttemptRow>> {
        let rows = sqlx::query("SELECT leased_at, ended_at, result, said, next_at FROM event_attempt WHERE event_id = $1 ORDER BY epoch")
            .bind(&id.as_bytes()[..])
            .fetch_all(&self.read)
            .await?;
        let read = |row: &DbRow| {
            Ok(AttemptRow {
                leased_at: row.try_get("leased_at")?,
                ended_at: row.try_get("ended_at")?,
                result: row.try_get("result")?,
                said: row.try_get("said")?,
                next_at: row.try_get("next_at")?,
            })
        };
        rows.iter().map(read).collect()
    }

    async fn retry_event(&self, id: Uuid, now: i64) -> Result<bool> {
        let changed = sqlx::query("UPDATE inbox_event SET state = 'ready', attempts = 0, not_before = $2, finished_at = NULL WHERE id = $1 AND state IN ('dead', 'done')")
            .bind(&id.as_bytes()[..])
            .bind(now)
            .execute(&self.write)
            .await?;
        Ok(changed.rows_affected() == 1)
    }

    async fn plan_delivery(&self, key: &DeliveryKey, ticket: &str, marker: &str, now: i64) -> Result<Delivery> {
        sqlx::query(
            "INSERT INTO delivery (connection, lsid, kind, part, ticket, marker, state, planned_at) VALUES ($1, $2, $3, $4, $5, $6, 'planned', $7)
             ON CONFLICT (connection, lsid, kind, part) DO UPDATE SET ticket = excluded.ticket, marker = excluded.marker WHERE delivery.state = 'planned'",
        )
        .bind(&key.connection)
        .bind(&key.lsid)
        .bind(&key.kind)
        .bind(key.part)
        .bind(ticket)
        .bind(marker)
        .bind(now)
        .execute(&self.write)
        .await?;
        let row = sqlx::query(
            "SELECT ticket, marker, state, remote_id, sends, settled_at FROM delivery WHERE connection = $1 AND lsid = $2 AND kind = $3 AND part = $4",
        )
        .bind(&key.connection)
        .bind(&key.lsid)
        .bind(&key.kind)
        .bind(key.part)
        .fetch_one(&self.write)
        .await?;
        let state = DeliveryState::parse(row.try_get("state")?).ok_or_else(|| damaged("a delivery's state"))?;
        Ok(Delivery {
            ticket: row.try_get("ticket")?,
            marker: row.try_get("marker")?,
            state,
            remote_id: row.try_get("remote_id")?,
            sends: row.try_get("sends")?,
            settled_at: row.try_get("settled_at")?,
        })
    }

    async fn confirmed(&self, key: &DeliveryKey) -> Result<Option<String>> {
        let row = sqlx::query(
            "SELECT remote_id FROM delivery WHERE connection = $1 AND lsid = $2 AND kind = $3 AND part = $4 AND state = 'confirmed'",
        )
        .bind(&key.connection)
        .bind(&key.lsid)
        .bind(&key.kind)
        .bind(key.part)
        .fetch_optional(&self.read)
        .await?;
        row.map(|row| Ok(row.try_get::<Option<String>, _>("remote_id")?.unwrap_or_default())).transpose()
    }

    async fn mark_sent(&self, key: &DeliveryKey, sends: i64, event: &LeasedEvent, now: i64, settled_at: i64) -> Result<bool> {
        let marked = sqlx::query(
            "UPDATE delivery SET state = 'sent', sent_at = $5, sent_by = $6, sends = sends + 1, settled_at = $9
             WHERE connection = $1 AND lsid = $2 AND kind = $3 AND part = $4 AND state <> 'confirmed' AND sends = $8
             AND EXISTS (SELECT 1 FROM inbox_event e WHERE e.id = $6 AND e.lease_epoch = $7 AND e.state = 'leased' AND e.lease_until >= $5)
             AND NOT EXISTS (SELECT 1 FROM inbox_event o WHERE o.id = delivery.sent_by AND o.id <> $6 AND o.state = 'leased' AND o.lease_until >= $5)",
        )
        .bind(&key.connection)
        .bind(&key.lsid)
        .bind(&key.kind)
        .bind(key.part)
        .bind(now)
        .bind(&event.id.as_bytes()[..])
        .bind(event.epoch)
        .bind(sends)
        .bind(settled_at)
        .execute(&self.write)
        .await?;
        Ok(marked.rows_affected() == 1)
    }

    async fn settle_sent(&self, key: &DeliveryKey, sends: i64, state: DeliveryState, settled_at: i64) -> Result<()> {
        sqlx::query(
            "UPDATE delivery SET state = $6, settled_at = $7
             WHERE connection = $1 AND lsid = $2 AND kind = $3 AND part = $4 AND state = 'sent' AND sends = $5 + 1",
        )
        .bind(&key.connection)
        .bind(&key.lsid)
        .bind(&key.kind)
        .bind(key.part)
        .bind(sends)
        .bind(state.as_str())
        .bind(settled_at)
        .execute(&self.write)
        .await?;
        Ok(())
    }

    async fn mark_confirmed(&self, key: &DeliveryKey, remote_id: &str, now: i64) -> Result<()> {
        sqlx::query(
            "UPDATE delivery SET state = 'confirmed', remote_id = $5, confirmed_at = $6 WHERE connection = $1 AND lsid = $2 AND kind = $3 AND part = $4",
        )
        .bind(&key.connection)
        .bind(&key.lsid)
        .bind(&key.kind)
        .bind(key.part)
        .bind(remote_id)
        .bind(now)
        .execute(&self.write)
        .await?;
        Ok(())
    }

    async fn save_session(&self, session: &KnownSession, now: i64) -> Result<()> {
        sqlx::query(
            "INSERT INTO support_session (connection, lsid, ticket, representative, customer, active, started_at, ended_at, recorded_at, seen_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
             ON CONFLICT (connection, lsid) DO UPDATE SET ticket = excluded.ticket, representative = excluded.representative, customer = excluded.customer,
               active = excluded.active, started_at = excluded.started_at, ended_at = coalesce(excluded.ended_at, support_session.ended_at),
               recorded_at = coalesce(support_session.recorded_at, excluded.recorded_at), seen_at = excluded.seen_at",
        )
        .bind(&session.connection)
        .bind(&session.lsid)
        .bind(&session.ticket)
        .bind(&session.representative)
        .bind(&session.customer)
        .bind(session.active)
        .bind(session.started_at)
        .bind(session.ended_at)
        .bind(session.recorded_at)
        .bind(now)
        .execute(&self.write)
        .await?;
        Ok(())
    }

    async fn mark_recorded(&self, connection: &str, lsid: &str, now: i64) -> Result<()> {
        sqlx::query("UPDATE support_session SET recorded_at = $3 WHERE connection = $1 AND lsid = $2")
            .bind(connection)
            .bind(lsid)
            .bind(now)
            .execute(&self.write)
            .await?;
        Ok(())
    }

    async fn sessions_of_ticket(&self, connection: &str, ticket: &str) -> Result<Vec<KnownSession>> {
        let rows =
            sqlx::query("SELECT * FROM support_session WHERE connection = $1 AND ticket = $2 ORDER BY started_at DESC, lsid LIMIT 50")
                .bind(connection)
                .bind(ticket)
                .fetch_all(&self.read)
                .await?;
        rows.iter().map(known_session).collect()
    }

    async fn key_issued(&self, connection: &str, ticket: &str, issued_at: i64, expires_at: i64) -> Result<()> {
        sqlx::query(
            "INSERT INTO issued_key (connection, ticket, issued_at, expires_at) VALUES ($1, $2, $3, $4)
             ON CONFLICT (connection, ticket) DO UPDATE SET expires_at = excluded.expires_at,
               issued_at = CASE WHEN issued_key.expires_at > excluded.issued_at THEN issued_key.issued_at ELSE excluded.issued_at END",
        )
        .bind(connection)
        .bind(ticket)
        .bind(issued_at)
        .bind(expires_at)
        .execute(&self.write)
        .await?;
        Ok(())
    }

    async fn open_key(&self, connection: &str, ticket: &str, now: i64) -> Result<Option<i64>> {
        let row = sqlx::query("SELECT issued_at FROM issued_key WHERE connection = $1 AND ticket = $2 AND expires_at > $3")
            .bind(connection)
            .bind(ticket)
            .bind(now)
            .fetch_optional(&self.read)
            .await?;
        row.map(|row| row.try_get("issued_at")).transpose().map_err(StoreError::from)
    }
}
