//! PostgreSQL: several servers may share it. Claims skip rows another server holds.

use std::str::FromStr;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgPoolOptions};

use super::{Result, check_not_newer};

/// The database these queries are compiled for.
pub(super) type Db = sqlx::Postgres;

/// Two servers that claim at once take different rows.
pub(super) const CLAIM: &str = super::claim!("FOR UPDATE OF e SKIP LOCKED");

#[path = "queries.rs"]
#[expect(clippy::duplicate_mod, reason = "the same statements, compiled for the other database")]
mod queries;

pub(super) static MIGRATOR: sqlx::migrate::Migrator = sqlx::migrate!("migrations/postgres");

pub(super) async fn connect(url: &str) -> Result<queries::SqlStore> {
    let options = PgConnectOptions::from_str(url)?.application_name("deskbridge");
    let pool = PgPoolOptions::new().max_connections(10).acquire_timeout(Duration::from_secs(10)).connect_with(options).await?;
    check_not_newer(applied(&pool).await, &MIGRATOR)?;
    MIGRATOR.run(&pool).await?;
    Ok(queries::SqlStore { read: pool.clone(), write: pool })
}

async fn applied(pool: &sqlx::Pool<Db>) -> Option<i64> {
    sqlx::query_scalar::<_, Option<i64>>("SELECT max(version) FROM _sqlx_migrations").fetch_one(pool).await.ok().flatten()
}
