//! Events: stored, leased, finished.

use async_trait::async_trait;
use deskbridge_core::event::{EventKind, Origin};
use deskbridge_core::ids::ConnectionId;
use sqlx::{QueryBuilder, Row};
use uuid::Uuid;

use super::{
    CHUNK, CLAIM, Db, DbRow, NOTIFY, Retention, SqlStore, damaged, delete_before, deliveries, id_of, insert_chunks, optional_connection_of,
    push_list, support_sessions, tenant_of,
};
use crate::due::SLOTS_WITH_WORK;
use crate::{
    AttemptRow, DeliveryKey, EventFilter, EventRow, Inbox, KnownEvent, KnownSession, LeasedEvent, NewEvent, Outcome, QueueSize, Result,
    SlotWork,
};

/// Attempts at one event that are kept.
const KEPT_ATTEMPTS: i64 = 20;

pub(super) const RETENTION: Retention = Retention { table: "inbox_event", key: "id", time: "finished_at", condition: "state = 'done'" };

/// What the end of an attempt changes of its event.
struct Change<'a> {
    state: &'static str,
    /// The attempt's result.
    result: &'static str,
    message: &'a str,
    not_before: i64,
    attempts: i32,
    connection: Option<ConnectionId>,
}

impl<'a> Change<'a> {
    fn of(event: &LeasedEvent, outcome: &'a Outcome, now: i64) -> Self {
        let ended = |state, message| Self { state, result: state, message, not_before: now, attempts: event.attempts, connection: None };
        match outcome {
            Outcome::Done(message) => ended("done", message),
            Outcome::Dead(message) => ended("dead", message),
            Outcome::Undecided(message) => ended("undecided", message),
            Outcome::Retry { not_before, reason, counts } => Self {
                state: "ready",
                result: "retry",
                message: reason,
                not_before: *not_before,
                attempts: event.attempts - i32::from(!counts),
                connection: None,
            },
            Outcome::Belongs { connection, reason } => {
                Self { state: "ready", result: "assigned", message: reason, not_before: now, attempts: 0, connection: Some(*connection) }
            }
        }
    }

    fn is_end(&self) -> bool {
        self.state != "ready"
    }
}

fn origin_of(row: &DbRow) -> Result<Origin> {
    Origin::parse(row.try_get("origin")?).ok_or_else(|| damaged("an event's origin"))
}

fn event_row(row: &DbRow) -> Result<EventRow> {
    Ok(EventRow {
        id: id_of(row.try_get("id")?)?,
        account: row.try_get("account")?,
        connection: optional_connection_of(row)?,
        connection_name: row.try_get("connection_name")?,
        kind: row.try_get("kind")?,
        lsid: row.try_get("lsid")?,
        ticket: row.try_get("ticket")?,
        origin: row.try_get("origin")?,
        state: row.try_get("state")?,
        attempts: row.try_get("attempts")?,
        received_at: row.try_get("received_at")?,
        not_before: row.try_get("not_before")?,
        outcome: row.try_get("outcome")?,
    })
}

fn select_events() -> QueryBuilder<Db> {
    QueryBuilder::new(
        "SELECT e.id, e.account, e.connection, c.name AS connection_name, e.kind, e.lsid, e.ticket, e.origin, e.state, e.attempts,
           e.received_at, e.not_before, e.outcome
         FROM inbox_event e LEFT JOIN connection c ON c.id = coalesce(e.connection, e.received_by) WHERE TRUE",
    )
}

fn leased_event(row: &DbRow, now: i64) -> Result<LeasedEvent> {
    Ok(LeasedEvent {
        id: id_of(row.try_get("id")?)?,
        tenant: tenant_of(row)?,
        account: row.try_get("account")?,
        connection: optional_connection_of(row)?,
        kind: EventKind::parse(row.try_get("kind")?).ok_or_else(|| damaged("an event's kind"))?,
        lsid: row.try_get("lsid")?,
        ticket: row.try_get("ticket")?,
        origin: origin_of(row)?,
        received_at: row.try_get("received_at")?,
        attempts: row.try_get("attempts")?,
        epoch: row.try_get("lease_epoch")?,
        leased_at: now,
    })
}

fn insert_events(events: &[NewEvent]) -> QueryBuilder<Db> {
    let mut insert = insert_rows(events);
    insert.push(" ON CONFLICT (account, fingerprint) DO NOTHING");
    insert
}

/// Adds events; what becomes of one that is stored already, the caller says.
pub(super) fn insert_rows(events: &[NewEvent]) -> QueryBuilder<Db> {
    let mut insert = QueryBuilder::new(
        "INSERT INTO inbox_event
           (id, tenant, account, received_by, connection, slot, fingerprint, kind, rank, lsid, ticket, origin, received_at, state, not_before) ",
    );
    insert.push_values(events, |mut values, event| {
        let connection = event.connection.as_ref().map(ConnectionId::to_string);
        values
            .push_bind(event.id.as_bytes().to_vec())
            .push_bind(event.tenant.as_str().to_owned())
            .push_bind(event.account.clone())
            .push_bind(event.received_by.as_ref().map(ConnectionId::to_string))
            .push_bind(connection.clone())
            .push_bind(connection.unwrap_or_else(|| event.account.clone()))
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
    insert
}

#[async_trait]
impl Inbox for SqlStore {
    async fn add_events(&self, events: &[NewEvent]) -> Result<u64> {
        let mut added = 0;
        let mut transaction = self.write.begin().await?;
        for chunk in insert_chunks(events) {
            added += insert_events(chunk).build().execute(&mut *transaction).await?.rows_affected();
        }
        if let Some(notify) = NOTIFY.filter(|_| added > 0) {
            sqlx::query(notify).execute(&mut *transaction).await?;
        }
        transaction.commit().await?;
        Ok(added)
    }

    async fn slots_with_work(&self, now: i64) -> Result<Vec<SlotWork>> {
        let rows = sqlx::query(SLOTS_WITH_WORK).bind(now).fetch_all(&self.read).await?;
        rows.iter()
            .map(|row| {
                let slot: String = row.try_get("slot")?;
                // An account's stored form has a slash, a connection's id none.
                Ok(SlotWork { connection: slot.parse().ok(), slot })
            })
            .collect()
    }

    async fn claim_events(&self, slot: &str, owner: Uuid, now: i64, until: i64, limit: i64) -> Result<Vec<LeasedEvent>> {
        let rows =
            sqlx::query(CLAIM).bind(slot).bind(&owner.as_bytes()[..]).bind(now).bind(until).bind(limit).fetch_all(&self.write).await?;
        let mut events = rows.iter().map(|row| leased_event(row, now)).collect::<Result<Vec<_>>>()?;
        events.sort_by_key(|event| event.id);
        Ok(events)
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

    async fn begin_in_order(&self, event: &LeasedEvent, session: &KnownSession, now: i64) -> Result<bool> {
        let mut transaction = self.write.begin().await?;
        if event.ticket.as_ref() != Some(&session.ticket) {
            sqlx::query("UPDATE inbox_event SET ticket = $3 WHERE id = $1 AND lease_epoch = $2")
                .bind(&event.id.as_bytes()[..])
                .bind(event.epoch)
                .bind(&session.ticket)
                .execute(&mut *transaction)
                .await?;
        }
        support_sessions::save(session, now).execute(&mut *transaction).await?;
        transaction.commit().await?;
        // Only now: of two that note the same ticket at once, at least the later one to commit sees the other.
        let earlier = sqlx::query(
            "SELECT 1 FROM inbox_event WHERE account = $5 AND (connection = $1 OR connection IS NULL) AND ticket = $2
             AND state IN ('ready', 'leased') AND kind = 'session_end' AND lsid <> $3 AND id < $4 LIMIT 1",
        )
        .bind(session.connection.to_string())
        .bind(&session.ticket)
        .bind(&event.lsid)
        .bind(&event.id.as_bytes()[..])
        .bind(&event.account)
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

    async fn finish_event(
        &self,
        event: &LeasedEvent,
        outcome: &Outcome,
        confirmed: &[(DeliveryKey, String)],
        recorded: bool,
        now: i64,
    ) -> Result<bool> {
        let change = Change::of(event, outcome, now);
        let mut transaction = self.write.begin().await?;
        for (key, remote_id) in confirmed {
            deliveries::confirm(key, "", "", remote_id, now).execute(&mut *transaction).await?;
        }
        let ended = sqlx::query(
            "UPDATE inbox_event SET state = $3, not_before = $4, outcome = $5, attempts = $6, finished_at = $7,
               connection = coalesce($8, connection), slot = coalesce($8, slot), lease_owner = NULL, lease_until = NULL
             WHERE id = $1 AND lease_epoch = $2 AND state = 'leased'",
        )
        .bind(&event.id.as_bytes()[..])
        .bind(event.epoch)
        .bind(change.state)
        .bind(change.not_before)
        .bind(change.message)
        .bind(change.attempts)
        .bind(change.is_end().then_some(now))
        .bind(change.connection.as_ref().map(ConnectionId::to_string))
        .execute(&mut *transaction)
        .await?;
        if ended.rows_affected() == 0 {
            transaction.commit().await?;
            return Ok(false);
        }
        sqlx::query(
            "INSERT INTO event_attempt (tenant, event_id, epoch, leased_at, ended_at, result, said, next_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        )
        .bind(event.tenant.as_str())
        .bind(&event.id.as_bytes()[..])
        .bind(event.epoch)
        .bind(event.leased_at)
        .bind(now)
        .bind(change.result)
        .bind(change.message)
        .bind((!change.is_end()).then_some(change.not_before))
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
        let recorded_for = event.connection.or(confirmed.first().map(|(key, _)| key.connection)).filter(|_| recorded);
        if let Some(connection) = recorded_for {
            support_sessions::mark_recorded(connection, &event.lsid, now).execute(&mut *transaction).await?;
        }
        transaction.commit().await?;
        Ok(true)
    }

    async fn release_leases(&self, owner: Uuid, now: i64) -> Result<u64> {
        let released = sqlx::query(
            "UPDATE inbox_event SET state = 'ready', not_before = $2, attempts = attempts - 1, lease_epoch = lease_epoch + 1, lease_owner = NULL, lease_until = NULL
             WHERE lease_owner = $1 AND state IN ('ready', 'leased') AND state = 'leased' AND NOT EXISTS (SELECT 1 FROM delivery d
               WHERE d.connection = inbox_event.connection AND d.lsid = inbox_event.lsid AND d.state = 'sent')",
        )
        .bind(&owner.as_bytes()[..])
        .bind(now)
        .execute(&self.write)
        .await?;
        Ok(released.rows_affected())
    }

    async fn next_due(&self, after: i64) -> Result<Option<i64>> {
        // The first condition is the index's own.
        let row = sqlx::query(
            "SELECT not_before FROM inbox_event WHERE state IN ('ready', 'leased') AND state = 'ready' AND not_before > $1
             ORDER BY not_before LIMIT 1",
        )
        .bind(after)
        .fetch_optional(&self.read)
        .await?;
        Ok(row.map(|row| row.try_get("not_before")).transpose()?)
    }

    async fn known_events(&self, account: &str, kind: EventKind, lsids: &[String]) -> Result<Vec<KnownEvent>> {
        let mut known = Vec::new();
        for chunk in lsids.chunks(CHUNK) {
            // The account of events stored before migration 0005 is not known; their sessions are known by the lsid alone.
            let mut select = QueryBuilder::<Db>::new("SELECT lsid, origin, received_by FROM inbox_event WHERE kind = ");
            select.push_bind(kind.as_str());
            select.push(" AND (account = ").push_bind(account.to_owned()).push(" OR account LIKE 'connection/%') AND lsid IN ");
            push_list(&mut select, chunk.iter().cloned());
            for row in select.build().fetch_all(&self.read).await? {
                known.push(KnownEvent { lsid: row.try_get("lsid")?, origin: origin_of(&row)?, received_by: row.try_get("received_by")? });
            }
        }
        Ok(known)
    }

    async fn other_server_stored(&self) {
        self.wakes.next(&self.read).await;
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
                    connection: optional_connection_of(row)?,
                    state: row.try_get("state")?,
                    events: row.try_get("events")?,
                    oldest_received_at: row.try_get("oldest")?,
                })
            })
            .collect()
    }

    async fn list_events(&self, filter: &EventFilter, limit: i64) -> Result<Vec<EventRow>> {
        let mut select = select_events();
        if let Some(state) = &filter.state {
            select.push(" AND e.state = ").push_bind(state.clone());
        }
        if let Some(connection) = filter.connection {
            select.push(" AND e.connection = ").push_bind(connection.to_string());
        }
        if let Some(lsid) = &filter.lsid {
            select.push(" AND e.lsid = ").push_bind(lsid.clone());
        }
        select.push(" ORDER BY e.id DESC LIMIT ").push_bind(limit);
        select.build().fetch_all(&self.read).await?.iter().map(event_row).collect()
    }

    async fn event(&self, id: Uuid) -> Result<Option<EventRow>> {
        let mut select = select_events();
        select.push(" AND e.id = ").push_bind(id.as_bytes().to_vec());
        select.build().fetch_optional(&self.read).await?.as_ref().map(event_row).transpose()
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
                message: row.try_get("said")?,
                next_at: row.try_get("next_at")?,
            })
        };
        rows.iter().map(read).collect()
    }

    async fn retry_event(&self, id: Uuid, now: i64) -> Result<bool> {
        let changed = sqlx::query(
            "UPDATE inbox_event SET state = 'ready', attempts = 0, not_before = $2, finished_at = NULL
             WHERE id = $1 AND state IN ('dead', 'done', 'undecided')",
        )
        .bind(&id.as_bytes()[..])
        .bind(now)
        .execute(&self.write)
        .await?;
        Ok(changed.rows_affected() == 1)
    }

    async fn assign_events(&self, account: &str, lsid: &str, connection: ConnectionId, now: i64) -> Result<u64> {
        let assigned = sqlx::query(
            "UPDATE inbox_event SET connection = $3, slot = $3, state = 'ready', attempts = 0, not_before = $4, finished_at = NULL
             WHERE account = $1 AND lsid = $2 AND state = 'undecided'",
        )
        .bind(account)
        .bind(lsid)
        .bind(connection.to_string())
        .bind(now)
        .execute(&self.write)
        .await?;
        Ok(assigned.rows_affected())
    }

    async fn purge_events(&self, before: i64, limit: i64) -> Result<u64> {
        let mut transaction = self.write.begin().await?;
        let rows = delete_before(&RETENTION, before, limit).push(" RETURNING id").build().fetch_all(&mut *transaction).await?;
        let ids = rows.iter().map(|row| row.try_get("id")).collect::<sqlx::Result<Vec<Vec<u8>>>>()?;
        for chunk in ids.chunks(CHUNK) {
            let mut delete = QueryBuilder::<Db>::new("DELETE FROM event_attempt WHERE event_id IN ");
            push_list(&mut delete, chunk.iter().cloned());
            delete.build().execute(&mut *transaction).await?;
        }
        transaction.commit().await?;
        Ok(u64::try_from(rows.len()).unwrap_or(u64::MAX))
    }
}
