//! PostgreSQL for tests: a database of its own for whoever asks.
//!
//! The server is the one [`SERVER_VARIABLE`] names (`cargo xtask test` starts one and names it), else a private cluster
//! is started on first use. A private cluster keeps the defaults that matter (fsync stays on), listens on loopback with
//! a password made for it, and goes away with the process that started it, however that ends.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};
use sqlx::{AssertSqlSafe, Connection, PgConnection, Row};
use tempfile::TempDir;
use url::Url;
use uuid::Uuid;

use crate::ports::Port;

/// URL of a server on which tests may create databases.
pub const SERVER_VARIABLE: &str = "DESKBRIDGE_TEST_POSTGRES";

/// All databases of tests begin like this; nothing else is ever dropped.
const NAME_PREFIX: &str = "deskbridge_test_";

/// Databases older than this belong to test runs that are over.
const LEFTOVER_AGE: Duration = Duration::from_hours(24);

/// A cluster starts in a second or two; a busy machine may need more.
const START_LIMIT: Duration = Duration::from_mins(1);

/// Creates an empty database and returns its URL. It goes away with its cluster; on a server that stays, a later run
/// drops it.
pub async fn fresh_database() -> String {
    match create_database().await {
        Ok(url) => url,
        Err(error) => panic!("no PostgreSQL database for this test: {error:#}"),
    }
}

/// Says why there is no server and none can be started; for tests that have something to show without one, too.
pub fn obtainable() -> Result<()> {
    server_url().map(drop)
}

async fn create_database() -> Result<String> {
    static LEFTOVERS: tokio::sync::OnceCell<()> = tokio::sync::OnceCell::const_new();

    let server = server_url()?;
    let mut connection = PgConnection::connect(&server)
        .await
        .with_context(|| format!("cannot connect to the server of {SERVER_VARIABLE} or its stand-in"))?;
    LEFTOVERS.get_or_try_init(|| drop_leftovers(&mut connection)).await?;
    // An id that carries its time, by which a leftover is known.
    let name = format!("{NAME_PREFIX}{}", Uuid::now_v7().simple());
    // template0: nobody is ever connected to it, so that databases can be made side by side.
    sqlx::raw_sql(AssertSqlSafe(format!("CREATE DATABASE {name} TEMPLATE template0")))
        .execute(&mut connection)
        .await
        .context("cannot create a database")?;
    connection.close().await?;
    let mut url = Url::parse(&server).context("not a URL")?;
    url.set_path(&name);
    Ok(url.into())
}

async fn drop_leftovers(connection: &mut PgConnection) -> Result<()> {
    let rows =
        sqlx::query("SELECT datname FROM pg_database WHERE starts_with(datname, $1)").bind(NAME_PREFIX).fetch_all(&mut *connection).await?;
    for row in rows {
        let name: String = row.try_get(0)?;
        if is_leftover(&name, Uuid::now_v7()) {
            sqlx::raw_sql(AssertSqlSafe(format!("DROP DATABASE IF EXISTS \"{name}\" WITH (FORCE)")))
                .execute(&mut *connection)
                .await
                .with_context(|| format!("cannot drop {name}"))?;
        }
    }
    Ok(())
}

/// Whether a name of the form `deskbridge_test_ID` is old, its id being made long before `now`.
fn is_leftover(name: &str, now: Uuid) -> bool {
    let seconds = |id: Uuid| id.get_timestamp().map(|made| made.to_unix().0);
    let made = name.strip_prefix(NAME_PREFIX).and_then(|id| Uuid::try_parse(id).ok()).and_then(seconds);
    made.zip(seconds(now)).is_some_and(|(made, now)| made + LEFTOVER_AGE.as_secs() < now)
}

fn server_url() -> Result<String> {
    // Never dropped: its holder ends it when this process ends.
    static CLUSTER: OnceLock<Result<Cluster, String>> = OnceLock::new();

    if let Ok(url) = std::env::var(SERVER_VARIABLE) {
        return Ok(url);
    }
    match CLUSTER.get_or_init(|| Cluster::start().map_err(|error| format!("{error:#}"))) {
        Ok(cluster) => Ok(cluster.url().to_owned()),
        Err(error) => bail!("{error}"),
    }
}

/// A PostgreSQL server with its own files, stopped and removed when dropped or when this process dies.
#[derive(Debug)]
pub struct Cluster {
    url: String,
    holder: Child,
    // Kept for as long as the server runs; fields are dropped after the holder has ended.
    _kept: (TempDir, Port),
}

/// Runs the server as long as its own input is open, so that not even a killed test leaves one behind.
const HOLDER: &str = r#"
"$1/postgres" -D "$2/data" -c listen_addresses=127.0.0.1 -c "port=$3" -c "unix_socket_directories=$2" \
    -c max_connections=300 -c lc_messages=C </dev/null &
server=$!
read -r line
kill -QUIT "$server"
wait "$server"
cd / && rm -rf "$2"
"#;

impl Cluster {
    /// Makes and starts one.
    pub fn start() -> Result<Self> {
        let programs = programs()?;
        let port = Port::reserve()?;
        let directory = tempfile::Builder::new().prefix("deskbridge-postgres-").tempdir().context("cannot make a directory")?;
        let mut secret = [0; 16];
        aws_lc_rs::rand::fill(&mut secret).context("no random numbers")?;
        let password = format!("{:032x}", u128::from_be_bytes(secret));
        let password_file = directory.path().join("password");
        std::fs::write(&password_file, &password).context("cannot write the password file")?;

        let account = unprivileged_account("postgres")?;
        if let Some((user, group)) = account {
            for path in [directory.path(), &password_file] {
                std::os::unix::fs::chown(path, Some(user), Some(group))
                    .with_context(|| format!("cannot give {} to the server's account", path.display()))?;
            }
        }
        initialise(&programs, directory.path(), &password_file, account)?;

        let mut holder = command("sh", directory.path(), account);
        holder
            .args(["-c", HOLDER, "sh"])
            .arg(&programs)
            .arg(directory.path())
            .arg(port.number().to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let mut holder = holder.spawn().context("cannot start sh")?;
        let messages = holder.stderr.take().context("the server has no error output")?;
        let url = format!("postgres://deskbridge:{password}@127.0.0.1:{}/postgres", port.number());
        let cluster = Self { url, holder, _kept: (directory, port) };
        wait_until_ready(messages)?;
        Ok(cluster)
    }

    /// The URL of its maintenance database, password included.
    pub fn url(&self) -> &str {
        &self.url
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        drop(self.holder.stdin.take());
        if let Err(error) = self.holder.wait() {
            eprintln!("cannot wait for PostgreSQL's end: {error}");
        }
    }
}

fn initialise(programs: &Path, directory: &Path, password_file: &Path, account: Option<(u32, u32)>) -> Result<()> {
    let output = command(programs.join("initdb"), directory, account)
        .arg("--pgdata")
        .arg(directory.join("data"))
        .arg("--pwfile")
        .arg(password_file)
        .args(["--username=deskbridge", "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C.UTF-8"])
        .args(["--no-instructions", "--no-sync"])
        .stdin(Stdio::null())
        .output()
        .context("cannot start initdb")?;
    ensure!(output.status.success(), "initdb failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(())
}

/// Reads the server's messages until it takes connections, and goes on reading so that it never waits for us.
fn wait_until_ready(messages: ChildStderr) -> Result<()> {
    let (ready, is_ready) = mpsc::channel();
    std::thread::spawn(move || {
        let mut text = String::new();
        let mut told = false;
        for line in BufReader::new(messages).lines().map_while(Result::ok) {
            if told {
                continue;
            }
            told = true;
            // Nobody listens any more when the start was given up.
            if line.contains("database system is ready to accept connections") {
                ready.send(Ok(())).ok();
            } else if line.contains("FATAL") {
                ready.send(Err(anyhow!("{text}{line}"))).ok();
            } else {
                told = false;
                writeln!(text, "{line}").ok();
            }
        }
    });
    is_ready.recv_timeout(START_LIMIT).map_err(|_| anyhow!("not ready within {START_LIMIT:?}"))?.context("PostgreSQL did not start")
}

fn command(program: impl AsRef<std::ffi::OsStr>, directory: &Path, account: Option<(u32, u32)>) -> Command {
    let mut command = Command::new(program);
    command.current_dir(directory);
    if let Some((user, group)) = account {
        command.uid(user).gid(group);
    }
    command
}

/// The newest version's programs; Debian keeps them out of PATH.
fn programs() -> Result<PathBuf> {
    let mut versions: Vec<(u32, PathBuf)> = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let version = entry.file_name().to_str()?.parse().ok()?;
            let programs = entry.path().join("bin");
            programs.join("initdb").is_file().then_some((version, programs))
        })
        .collect();
    versions.sort();
    let (_, newest) = versions
        .pop()
        .with_context(|| format!("PostgreSQL is not installed: sudo apt-get install postgresql, or set {SERVER_VARIABLE}"))?;
    Ok(newest)
}

/// Servers are not run as root; root lends them one of Debian's accounts: user and group id.
pub(crate) fn unprivileged_account(name: &str) -> Result<Option<(u32, u32)>> {
    let ours = std::os::unix::fs::MetadataExt::uid(&std::fs::metadata("/proc/self")?);
    if ours != 0 {
        return Ok(None);
    }
    let accounts = std::fs::read_to_string("/etc/passwd").context("cannot read /etc/passwd")?;
    account_named(name, &accounts).map(Some).with_context(|| format!("there is no account '{name}' to run a server as"))
}

/// User and group id of an account (passwd(5)).
pub(crate) fn account_named(name: &str, accounts: &str) -> Option<(u32, u32)> {
    accounts.lines().find_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        let [account, _, user, group, ..] = fields[..] else {
            return None;
        };
        if account != name {
            return None;
        }
        Some((user.parse().ok()?, group.parse().ok()?))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn databases_are_empty_durable_and_apart() {
        let (first, second) = tokio::join!(fresh_database(), fresh_database());
        assert_ne!(first, second);
        let mut connection = PgConnection::connect(&first).await.unwrap();
        sqlx::query("CREATE TABLE note (body TEXT)").execute(&mut connection).await.unwrap();
        let fsync: String = sqlx::query("SHOW fsync").fetch_one(&mut connection).await.unwrap().get(0);
        assert_eq!(fsync, "on");
        let mut connection = PgConnection::connect(&second).await.unwrap();
        let tables: i64 =
            sqlx::query("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'").fetch_one(&mut connection).await.unwrap().get(0);
        assert_eq!(tables, 0);
    }

    #[tokio::test]
    async fn a_dropped_cluster_leaves_nothing_behind() {
        let cluster = Cluster::start().unwrap();
        let url = cluster.url().to_owned();
        let mut connection = PgConnection::connect(&url).await.unwrap();
        let data: String = sqlx::query("SHOW data_directory").fetch_one(&mut connection).await.unwrap().get(0);
        let directory = Path::new(&data).parent().unwrap();
        assert!(directory.exists());
        connection.close().await.unwrap();
        drop(cluster);
        assert!(!directory.exists());
        assert!(PgConnection::connect(&url).await.is_err());
    }

    #[test]
    fn only_old_databases_of_ours_are_leftovers() {
        let id = |seconds| Uuid::new_v7(uuid::Timestamp::from_unix(uuid::NoContext, seconds, 0));
        let now = 2_000_000_000;
        let check = |name: &str, expected| assert_eq!(is_leftover(name, id(now)), expected, "{name}");
        let day = LEFTOVER_AGE.as_secs();
        check(&format!("deskbridge_test_{}", id(now - day - 1).simple()), true);
        check(&format!("deskbridge_test_{}", id(now - day).simple()), false);
        check(&format!("deskbridge_live_{}", id(0).simple()), false);
        check("deskbridge_test_plan", false);
        check("postgres", false);
    }

    #[test]
    fn accounts_are_read() {
        let accounts = "root:x:0:0:root:/root:/bin/bash\npostgres:x:104:110:PostgreSQL:/var/lib/postgresql:/bin/bash\n";
        assert_eq!(account_named("postgres", accounts), Some((104, 110)));
        assert_eq!(account_named("nobody", accounts), None);
    }
}
