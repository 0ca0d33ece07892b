//! SQLite: the embedded default. One writing connection (SQLite has one writer anyway, and a queue in the pool beats
//! a busy error) and a few for reading; WAL with FULL sync, so that a commit survives a power cut.

use std::str::FromStr;
use std::sync::LazyLock;
use std::time::Duration;

use sqlx::migrate::Migrator;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};

use crate::due::claim;
use crate::migrations::migrations;
use crate::{Result, check_not_newer};

/// The database these queries are compiled for.
pub(super) type Db = sqlx::Sqlite;

/// SQLite has one writer, so a claim needs no row locks.
pub(super) const CLAIM: &str = claim!("");

/// Nor does a purge.
pub(super) const SKIP_LOCKED: &str = "";

/// Nor does who changes a row by what they read in it.
pub(super) const LOCK_ROW: &str = "";

/// Nobody else uses the file: a writer wakes its own workers.
pub(super) const NOTIFY: Option<&str> = None;

/// Never wakes: see [`NOTIFY`].
#[derive(Default)]
pub(super) struct Wakes;

impl Wakes {
    pub(super) async fn next(&self, _pool: &sqlx::Pool<Db>) {
        std::future::pending::<()>().await;
    }
}

/// The writer's page cache (KiB, negated): keys are hashes, so every insert touches another page of their index.
const WRITE_CACHE: &str = "-8000";
/// Pages in the write-ahead log (16 MB) before they are moved into the database: a page written often is moved once.
const CHECKPOINT_AFTER: &str = "4000";

#[path = "queries/mod.rs"]
mod queries;

#[cfg(test)]
pub(crate) use queries::purge_statements;

pub(super) static MIGRATOR: LazyLock<Migrator> = LazyLock::new(|| migrations!("sqlite"));

pub(super) async fn connect(url: &str) -> Result<queries::SqlStore> {
    let options = SqliteConnectOptions::from_str(url)?
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(Duration::from_secs(5))
        .foreign_keys(true);
    let memory = url.contains(":memory:");
    // An insert of many rows notes what it changes, in case it fails halfway: in memory, not in a file made anew each time.
    let writing =
        options.clone().pragma("cache_size", WRITE_CACHE).pragma("wal_autocheckpoint", CHECKPOINT_AFTER).pragma("temp_store", "memory");
    let write =
        SqlitePoolOptions::new().max_connections(1).min_connections(1).idle_timeout(None).max_lifetime(None).connect_with(writing).await?;
    check_not_newer(applied(&write).await, &MIGRATOR)?;
    MIGRATOR.run(&write).await?;
    // A memory database lives in its one connection.
    let read =
        if memory { write.clone() } else { SqlitePoolOptions::new().max_connections(4).connect_with(options.read_only(true)).await? };
    Ok(queries::SqlStore { read, write, wakes: Wakes })
}

async fn applied(pool: &sqlx::Pool<Db>) -> Option<i64> {
    // No table yet: a fresh database.
    sqlx::query_scalar::<_, Option<i64>>("SELECT max(version) FROM _sqlx_migrations").fetch_one(pool).await.ok().flatten()
}
