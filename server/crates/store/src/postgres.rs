//! PostgreSQL: several servers may share it. Claims skip rows another server holds.

use std::str::FromStr;
use std::sync::LazyLock;
use std::time::Duration;

use sqlx::migrate::Migrator;
use sqlx::postgres::{PgConnectOptions, PgListener, PgPoolOptions};
use tokio::sync::Mutex;

use crate::due::claim;
use crate::migrations::migrations;
use crate::{Result, check_not_newer};

/// Pause before a broken listener is made anew.
const RECONNECT_AFTER: Duration = Duration::from_secs(1);

/// The database these queries are compiled for.
pub(super) type Db = sqlx::Postgres;

/// Two servers that claim at once take different rows.
pub(super) const CLAIM: &str = claim!("FOR UPDATE OF e SKIP LOCKED");

/// Two servers that purge at once remove different rows.
pub(super) const SKIP_LOCKED: &str = " FOR UPDATE SKIP LOCKED";

/// Two servers that change a row by what they read in it do so one after the other.
pub(super) const LOCK_ROW: &str = " FOR UPDATE";

/// Part of the transaction that stores events, so that others are woken when they can see them.
pub(super) const NOTIFY: Option<&str> = Some("SELECT pg_notify('deskbridge_inbox', '')");

/// Listens on a connection of its own; a broken one is made anew after a pause.
#[derive(Default)]
pub(super) struct Wakes(Mutex<Option<PgListener>>);

impl Wakes {
    pub(super) async fn next(&self, pool: &sqlx::Pool<Db>) {
        let mut kept = self.0.lock().await;
        let mut listener = match kept.take() {
            Some(listener) => listener,
            None => match listen(pool).await {
                Ok(listener) => listener,
                Err(error) => {
                    tracing::warn!(%error, "cannot listen for other servers' events; looking every second");
                    return tokio::time::sleep(RECONNECT_AFTER).await;
                }
            },
        };
        match listener.recv().await {
            Ok(_) => *kept = Some(listener),
            Err(error) => tracing::warn!(%error, "lost the connection that listens for other servers' events"),
        }
    }
}

async fn listen(pool: &sqlx::Pool<Db>) -> sqlx::Result<PgListener> {
    let mut listener = PgListener::connect_with(pool).await?;
    listener.listen("deskbridge_inbox").await?;
    Ok(listener)
}

#[path = "queries/mod.rs"]
#[expect(clippy::duplicate_mod, reason = "the same statements, compiled for the other database")]
mod queries;

#[cfg(test)]
pub(crate) use queries::purge_statements;

pub(super) static MIGRATOR: LazyLock<Migrator> = LazyLock::new(|| migrations!("postgres"));

pub(super) async fn connect(url: &str) -> Result<queries::SqlStore> {
    let options = PgConnectOptions::from_str(url)?.application_name("deskbridge");
    let pool = PgPoolOptions::new().max_connections(10).acquire_timeout(Duration::from_secs(10)).connect_with(options).await?;
    check_not_newer(applied(&pool).await, &MIGRATOR)?;
    MIGRATOR.run(&pool).await?;
    Ok(queries::SqlStore { read: pool.clone(), write: pool, wakes: Wakes::default() })
}

async fn applied(pool: &sqlx::Pool<Db>) -> Option<i64> {
    sqlx::query_scalar::<_, Option<i64>>("SELECT max(version) FROM _sqlx_migrations").fetch_one(pool).await.ok().flatten()
}
