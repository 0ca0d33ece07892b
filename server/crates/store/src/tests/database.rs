//! Fresh databases for tests, and plain SQL on them.

use deskbridge_core::clock::random_bytes;
use sqlx::{AssertSqlSafe, Row};
use uuid::Uuid;

/// A database, past the store's traits.
#[derive(Clone)]
pub(super) enum Raw {
    Sqlite(sqlx::SqlitePool),
    Postgres(sqlx::PgPool),
}

impl Raw {
    pub(super) async fn connect(url: &str) -> Self {
        if url.starts_with("sqlite:") {
            let options = url.parse::<sqlx::sqlite::SqliteConnectOptions>().unwrap().create_if_missing(true);
            Self::Sqlite(sqlx::sqlite::SqlitePoolOptions::new().max_connections(1).connect_with(options).await.unwrap())
        } else {
            Self::Postgres(sqlx::postgres::PgPoolOptions::new().max_connections(1).connect(url).await.unwrap())
        }
    }

    /// Runs a script. Bytes are written as SQLite reads them: `X'00ff'`.
    pub(super) async fn run(&self, script: &str) {
        match self {
            Self::Sqlite(pool) => drop(sqlx::raw_sql(AssertSqlSafe(script.to_owned())).execute(pool).await.unwrap()),
            Self::Postgres(pool) => drop(sqlx::raw_sql(AssertSqlSafe(script.replace("X'", "'\\x"))).execute(pool).await.unwrap()),
        }
    }

    /// The first column, a text, of all rows.
    pub(super) async fn texts(&self, select: &str) -> Vec<String> {
        match self {
            Self::Sqlite(pool) => {
                let rows = sqlx::query(AssertSqlSafe(select.to_owned())).fetch_all(pool).await.unwrap();
                rows.iter().map(|row| row.get::<Option<String>, _>(0).unwrap_or_default()).collect()
            }
            Self::Postgres(pool) => {
                let rows = sqlx::query(AssertSqlSafe(select.to_owned())).fetch_all(pool).await.unwrap();
                rows.iter().map(|row| row.get::<Option<String>, _>(0).unwrap_or_default()).collect()
            }
        }
    }

    /// How the database runs a statement, a step a line. It may be run: only then PostgreSQL tells of subqueries among the columns.
    pub(super) async fn plan(&self, statement: &str) -> String {
        match self {
            Self::Sqlite(pool) => {
                let rows = sqlx::query(AssertSqlSafe(format!("EXPLAIN QUERY PLAN {statement}"))).fetch_all(pool).await.unwrap();
                rows.iter().map(|row| row.get::<String, _>("detail")).collect::<Vec<_>>().join("\n")
            }
            Self::Postgres(pool) => {
                // A few rows are read faster without an index.
                sqlx::raw_sql("SET enable_seqscan = off; SET enable_bitmapscan = off; SET enable_hashjoin = off")
                    .execute(pool)
                    .await
                    .unwrap();
                self.texts(&format!("EXPLAIN (ANALYZE) {statement}")).await.join("\n")
            }
        }
    }

    /// Brings an empty database to the schema of an older server.
    pub(super) async fn migrate_to(&self, version: i64) {
        let all = match self {
            Self::Sqlite(_) => &crate::sqlite::MIGRATOR,
            Self::Postgres(_) => &crate::postgres::MIGRATOR,
        };
        let older = sqlx::migrate::Migrator::with_migrations(all.iter().filter(|one| one.version <= version).cloned().collect());
        match self {
            Self::Sqlite(pool) => older.run(pool).await.unwrap(),
            Self::Postgres(pool) => older.run(pool).await.unwrap(),
        }
    }

    pub(super) async fn close(self) {
        match self {
            Self::Sqlite(pool) => pool.close().await,
            Self::Postgres(pool) => pool.close().await,
        }
    }
}

/// Runs `story` with the URL of an empty database of each kind. PostgreSQL: `DESKBRIDGE_TEST_POSTGRES` names a server (`cargo xtask test`
/// starts one).
pub(super) async fn on_each<Running: Future<Output = ()>>(story: impl Fn(String) -> Running) {
    let folder = tempfile::tempdir().unwrap();
    story(format!("sqlite://{}", folder.path().join("story.db").display())).await;
    let Ok(server) = std::env::var("DESKBRIDGE_TEST_POSTGRES") else {
        eprintln!("DESKBRIDGE_TEST_POSTGRES is not set: run on SQLite only");
        return;
    };
    let name = format!("story_{}", Uuid::from_bytes(random_bytes()).simple());
    let server_database = Raw::connect(&server).await;
    server_database.run(&format!("CREATE DATABASE {name}")).await;
    let mut url = url::Url::parse(&server).unwrap();
    url.set_path(&name);
    story(url.into()).await;
    server_database.run(&format!("DROP DATABASE {name} WITH (FORCE)")).await;
}
