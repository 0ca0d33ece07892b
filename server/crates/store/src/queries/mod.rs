//! Every statement, once; compiled for SQLite and for PostgreSQL, which both read `$1`, `RETURNING` and `ON CONFLICT`.
//!
//! One file for each trait. `super` says which database: its `Db`, and what its locks need.

mod agent_sessions;
mod api_tokens;
mod connections;
mod customer_chats;
mod deliveries;
mod devices;
mod help_tickets;
mod inbox;
mod incidents;
mod listeners;
mod machine_links;
mod note_leases;
mod ownership;
mod servers;
mod support_sessions;

use async_trait::async_trait;
use deskbridge_core::ids::{ConnectionId, TenantId};
use sqlx::{QueryBuilder, Row};
use uuid::Uuid;

use super::{CLAIM, Db, LOCK_ROW, NOTIFY, SKIP_LOCKED, Wakes};
use crate::{Result, Store, StoreError};

/// Most rows one INSERT takes, and most values one list has: well below both databases' limits on parameters (32,766 and 65,535).
const CHUNK: usize = 256;

type DbRow = <Db as sqlx::Database>::Row;
type DbTransaction = sqlx::Transaction<'static, Db>;
type DbQuery<'q> = sqlx::query::Query<'q, Db, <Db as sqlx::Database>::Arguments>;

/// The pools of one database; on PostgreSQL both are the same.
pub(crate) struct SqlStore {
    pub(crate) read: sqlx::Pool<Db>,
    pub(crate) write: sqlx::Pool<Db>,
    pub(crate) wakes: Wakes,
}

#[async_trait]
impl Store for SqlStore {
    async fn ping(&self) -> Result<()> {
        sqlx::query("SELECT 1").execute(&self.read).await?;
        Ok(())
    }
}

/// Rows that are kept for a time.
struct Retention {
    table: &'static str,
    /// The columns of the primary key.
    key: &'static str,
    /// The time that counts (Unix ms); there is an index on it.
    time: &'static str,
    /// Which rows may go at all, as the index has it.
    condition: &'static str,
}

impl SqlStore {
    /// Removes up to `limit` rows whose time is before `before`, the oldest first, in a transaction of their own.
    async fn purge(&self, retention: &Retention, before: i64, limit: i64) -> Result<u64> {
        let purged = delete_before(retention, before, limit).build().execute(&self.write).await?;
        Ok(purged.rows_affected())
    }
}

fn delete_before(retention: &Retention, before: i64, limit: i64) -> QueryBuilder<Db> {
    let Retention { table, key, time, condition } = retention;
    let mut delete =
        QueryBuilder::new(format!("DELETE FROM {table} WHERE ({key}) IN (SELECT {key} FROM {table} WHERE {condition} AND {time} < "));
    delete.push_bind(before).push(format_args!(" ORDER BY {time} LIMIT ")).push_bind(limit).push(SKIP_LOCKED).push(")");
    delete
}

/// The statements that remove what was kept long enough; `$1`: a time, `$2`: how many rows.
#[cfg(test)]
pub(crate) fn purge_statements() -> Vec<String> {
    [
        agent_sessions::RETENTION,
        api_tokens::RETENTION,
        deliveries::RETENTION,
        help_tickets::RETENTION,
        inbox::RETENTION,
        incidents::RETENTION,
        listeners::RETENTION,
        machine_links::RETENTION,
        note_leases::RETENTION,
        support_sessions::RETENTION,
    ]
    .iter()
    .chain(&customer_chats::RETENTIONS)
    .chain(&devices::RETENTIONS)
    .chain(&ownership::RETENTIONS)
    .chain(&servers::RETENTIONS)
    .map(|retention| delete_before(retention, 0, 0).sql().as_str().to_owned())
    .collect()
}

/// Cuts rows into as few chunks as powers of two allow: few different statements, so that each is prepared once and kept.
fn insert_chunks<T>(mut rows: &[T]) -> impl Iterator<Item = &[T]> {
    std::iter::from_fn(move || {
        let length = CHUNK.min(1 << rows.len().checked_ilog2()?);
        let (chunk, rest) = rows.split_at(length);
        rows = rest;
        Some(chunk)
    })
}

/// Adds `($1, $2, …)`.
fn push_list<T>(statement: &mut QueryBuilder<Db>, values: impl IntoIterator<Item = T>)
where
    T: for<'q> sqlx::Encode<'q, Db> + sqlx::Type<Db> + Send + 'static,
{
    statement.push("(");
    let mut list = statement.separated(", ");
    for value in values {
        list.push_bind(value);
    }
    statement.push(")");
}

fn damaged(what: &str) -> StoreError {
    StoreError::Damaged(what.to_owned())
}

fn id_of(bytes: &[u8]) -> Result<Uuid> {
    Uuid::from_slice(bytes).map_err(|_| damaged("an event's id"))
}

fn tenant_of(row: &DbRow) -> Result<TenantId> {
    Ok(TenantId::new(row.try_get::<String, _>("tenant")?))
}

fn parse_connection(text: &str) -> Result<ConnectionId> {
    text.parse().map_err(|_| damaged("a connection's id"))
}

fn connection_of(row: &DbRow) -> Result<ConnectionId> {
    parse_connection(row.try_get("connection")?)
}

fn optional_connection_of(row: &DbRow) -> Result<Option<ConnectionId>> {
    row.try_get::<Option<&str>, _>("connection")?.map(parse_connection).transpose()
}
