//! Agents' sessions.

use std::collections::HashSet;

use async_trait::async_trait;
use sqlx::{QueryBuilder, Row};

use super::{Db, Retention, SqlStore, insert_chunks};
use crate::{AgentSessions, NewAgentSession, Result, StoredAgentSession};

pub(super) const RETENTION: Retention = Retention { table: "agent_session", key: "id_hash", time: "keep_until", condition: "TRUE" };

fn insert_sessions(sessions: &[NewAgentSession]) -> QueryBuilder<Db> {
    let mut insert = QueryBuilder::new("INSERT INTO agent_session (id_hash, tenant, connection, record, created_at, used_at, keep_until) ");
    insert.push_values(sessions, |mut values, session| {
        values
            .push_bind(session.id_hash.to_vec())
            .push_bind(session.tenant.as_str().to_owned())
            .push_bind(session.connection.to_string())
            .push_bind(session.record.clone())
            .push_bind(session.created_at)
            .push_bind(session.created_at)
            .push_bind(session.keep_until);
    });
    insert.push(" ON CONFLICT DO NOTHING");
    insert
}

#[async_trait]
impl AgentSessions for SqlStore {
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
        // Some are open already. Only now are the ids of the new ones asked for: SQLite returns them row by row, which costs time.
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

    async fn purge_agent_sessions(&self, now: i64, limit: i64) -> Result<u64> {
        self.purge(&RETENTION, now, limit).await
    }
}
