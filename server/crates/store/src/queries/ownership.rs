//! What was handed out, and whose sessions are.

use std::collections::HashSet;

use async_trait::async_trait;
use deskbridge_core::ids::ConnectionId;
use sqlx::{QueryBuilder, Row};

use super::{CHUNK, Db, Retention, SqlStore, connection_of, push_list};
use crate::{HandedOut, NewHandedOut, OwnerDecision, Ownership, Result};

#[cfg(test)]
pub(super) const RETENTIONS: [Retention; 2] = [HANDED_OUT, OWNERS];
const HANDED_OUT: Retention =
    Retention { table: "handed_out", key: "connection, ticket, kind, issued_at", time: "usable_until", condition: "TRUE" };
const OWNERS: Retention = Retention { table: "session_owner", key: "host, lsid", time: "decided_at", condition: "TRUE" };

#[async_trait]
impl Ownership for SqlStore {
    async fn hand_out(&self, given: &NewHandedOut) -> Result<()> {
        let mut transaction = self.write.begin().await?;
        // What can still be used goes on. What ended keeps its own row: a session of it may be asked for later.
        let prolonged = sqlx::query(
            "UPDATE handed_out SET given = given + 1, usable_until = CASE WHEN usable_until > $5 THEN usable_until ELSE $5 END
             WHERE connection = $1 AND ticket = $2 AND kind = $3 AND issued_at <= $4 AND usable_until > $4",
        )
        .bind(given.connection.to_string())
        .bind(&given.ticket)
        .bind(given.kind.as_str())
        .bind(given.issued_at)
        .bind(given.usable_until)
        .execute(&mut *transaction)
        .await?;
        if prolonged.rows_affected() == 0 {
            sqlx::query(
                "INSERT INTO handed_out (tenant, connection, ticket, kind, issued_at, usable_until) VALUES ($1, $2, $3, $4, $5, $6)
                 ON CONFLICT (connection, ticket, kind, issued_at) DO UPDATE SET given = handed_out.given + 1, usable_until =
                   CASE WHEN handed_out.usable_until > excluded.usable_until THEN handed_out.usable_until ELSE excluded.usable_until END",
            )
            .bind(given.tenant.as_str())
            .bind(given.connection.to_string())
            .bind(&given.ticket)
            .bind(given.kind.as_str())
            .bind(given.issued_at)
            .bind(given.usable_until)
            .execute(&mut *transaction)
            .await?;
        }
        transaction.commit().await?;
        Ok(())
    }

    async fn handed_out(&self, connections: &[ConnectionId], ticket: &str, started_at: i64, tolerance_ms: i64) -> Result<Vec<HandedOut>> {
        let mut handed_out = Vec::new();
        for chunk in connections.chunks(CHUNK) {
            let mut select = QueryBuilder::<Db>::new("SELECT connection, issued_at, usable_until FROM handed_out WHERE ticket = ");
            select.push_bind(ticket.to_owned());
            select.push(" AND issued_at <= ").push_bind(started_at.saturating_add(tolerance_ms));
            select.push(" AND usable_until > ").push_bind(started_at.saturating_sub(tolerance_ms));
            select.push(" AND (kind <> 'key' OR used < given) AND connection IN ");
            push_list(&mut select, chunk.iter().map(ConnectionId::to_string));
            select.push(" ORDER BY connection, issued_at");
            for row in select.build().fetch_all(&self.read).await? {
                handed_out.push(HandedOut {
                    connection: connection_of(&row)?,
                    issued_at: row.try_get("issued_at")?,
                    usable_until: row.try_get("usable_until")?,
                });
            }
        }
        Ok(handed_out)
    }

    async fn open_since(&self, connection: ConnectionId, ticket: &str, not_before: i64, now: i64) -> Result<Option<i64>> {
        let row = sqlx::query(
            "SELECT min(issued_at) AS since FROM handed_out WHERE connection = $1 AND ticket = $2 AND usable_until > $3 AND issued_at > $4",
        )
        .bind(connection.to_string())
        .bind(ticket)
        .bind(now)
        .bind(not_before)
        .fetch_one(&self.read)
        .await?;
        Ok(row.try_get("since")?)
    }

    async fn known_owners(&self, host: &str, lsid: &str, connections: &[ConnectionId]) -> Result<Vec<ConnectionId>> {
        let rows = sqlx::query(
            "SELECT connection, 1 AS decided FROM session_owner WHERE host = $1 AND lsid = $2
             UNION ALL SELECT connection, 0 FROM support_session WHERE lsid = $2
             UNION ALL SELECT connection, 0 FROM delivery WHERE lsid = $2 AND kind = 'ticket' AND state = 'confirmed'",
        )
        .bind(host)
        .bind(lsid)
        .fetch_all(&self.read)
        .await?;
        let mut decided = HashSet::new();
        let mut known = HashSet::new();
        for row in &rows {
            let owners = if row.try_get::<i32, _>("decided")? == 1 { &mut decided } else { &mut known };
            owners.insert(connection_of(row)?);
        }
        // One decided for a connection that is not asked for belongs to none of those that are.
        let owners = if decided.is_empty() { known } else { decided };
        Ok(connections.iter().copied().filter(|connection| owners.contains(connection)).collect())
    }

    async fn decide_owner(&self, decision: &OwnerDecision<'_>) -> Result<ConnectionId> {
        let mut transaction = self.write.begin().await?;
        // Of two that decide at once, the second changes nothing and gets the first one's answer.
        let made = sqlx::query(
            "INSERT INTO session_owner (tenant, host, lsid, connection, proof, decided_at) VALUES ($1, $2, $3, $4, $5, $6)
             ON CONFLICT (host, lsid) DO NOTHING",
        )
        .bind(decision.tenant.as_str())
        .bind(decision.host)
        .bind(decision.lsid)
        .bind(decision.connection.to_string())
        .bind(decision.proof)
        .bind(decision.now)
        .execute(&mut *transaction)
        .await?;
        if made.rows_affected() == 0 {
            let decided = sqlx::query("SELECT connection FROM session_owner WHERE host = $1 AND lsid = $2")
                .bind(decision.host)
                .bind(decision.lsid)
                .fetch_one(&mut *transaction)
                .await?;
            return connection_of(&decided);
        }
        if let Some(ticket) = decision.used_up_for {
            // Where a Jump or a chat link was handed out too, nobody knows that it was the key.
            sqlx::query(
                "UPDATE handed_out SET used = used + 1 WHERE connection = $1 AND ticket = $2 AND kind = 'key' AND used < given
                 AND NOT EXISTS (SELECT 1 FROM handed_out o WHERE o.connection = $1 AND o.ticket = $2 AND o.kind <> 'key' AND o.usable_until > $3)
                 AND issued_at = (SELECT min(f.issued_at) FROM handed_out f WHERE f.connection = $1 AND f.ticket = $2 AND f.kind = 'key'
                   AND f.used < f.given)",
            )
            .bind(decision.connection.to_string())
            .bind(ticket)
            .bind(decision.now)
            .execute(&mut *transaction)
            .await?;
        }
        transaction.commit().await?;
        Ok(decision.connection)
    }

    async fn purge_ownership(&self, handed_out_before: i64, decided_before: i64, limit: i64) -> Result<u64> {
        Ok(self.purge(&HANDED_OUT, handed_out_before, limit).await? + self.purge(&OWNERS, decided_before, limit).await?)
    }
}
