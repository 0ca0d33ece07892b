//! A real `deskbridge serve`, as an administrator would run it: a settings file, a process, its log, its listeners.
//!
//! Must not link the server's code: whatever a test wants to know, it asks over HTTP, reads in the log or in the
//! database, as the outside world does.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Output, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use deskbridge_shared::routes;
use tempfile::TempDir;
use tokio::process::{Child, Command};
use toml::{Table, Value};

use crate::logs::Logs;
use crate::ports::Port;
use crate::postgres;
use crate::processes::{self, Signal, program_beside_us};

/// The server's program, if it is not the one beside the running test.
pub const PROGRAM_VARIABLE: &str = "DESKBRIDGE_BIN";

/// From start to ready, migrations included, on a busy machine.
const START_LIMIT: Duration = Duration::from_mins(1);

/// From SIGTERM to the end; requests and deliveries under way are finished.
const STOP_LIMIT: Duration = Duration::from_secs(40);

/// A command that ends by itself.
const COMMAND_LIMIT: Duration = Duration::from_mins(1);

/// How often readiness is asked for while the server starts.
const READY_INTERVAL: Duration = Duration::from_millis(20);

/// How often [`until`] asks.
const ASK_EVERY: Duration = Duration::from_millis(50);

/// The two databases; everything durable is shown on both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Database {
    /// A file in the server's directory.
    Sqlite,
    /// A fresh database of [`crate::postgres`].
    Postgres,
}

impl Database {
    /// For tests that tell the same story on either.
    pub const ALL: [Self; 2] = [Self::Sqlite, Self::Postgres];

    /// Both, or SQLite alone, loudly, where there is no PostgreSQL.
    pub fn obtainable() -> Vec<Self> {
        match crate::postgres::obtainable() {
            Ok(()) => Self::ALL.to_vec(),
            Err(error) => {
                tell(&format!("PostgreSQL is left out: {error:#}"));
                vec![Self::Sqlite]
            }
        }
    }
}

/// Figures of a test, shown whether or not it passes.
pub fn tell(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// Says that a test shows nothing here; `cargo xtask test` counts it as skipped, not as passed.
fn skipped(test: &str, reason: &str) {
    // Not by a macro: what a test that passes prints by those is thrown away.
    let _ = writeln!(std::io::stdout(), "\nskipped test: {test}: {}", reason.replace('\n', " "));
}

/// A test that cannot run here counts as skipped. CI skips none: there it fails.
pub fn skip(test: &str, reason: &str) -> Result<()> {
    skip_where(std::env::var_os("CI").is_some_and(|ci| ci == "true"), test, reason)
}

fn skip_where(is_ci: bool, test: &str, reason: &str) -> Result<()> {
    ensure!(!is_ci, "CI skips no test: {reason}");
    skipped(test, reason);
    Ok(())
}

/// Settings of a server to be started. Starts with what every test wants; each method changes one thing.
#[derive(Debug, Default)]
pub struct Builder {
    database: Option<Database>,
    database_url: Option<String>,
    directory: Option<PathBuf>,
    public_host: Option<String>,
    server: Table,
    connections: Vec<Value>,
    environment: BTreeMap<OsString, OsString>,
}

impl Builder {
    /// SQLite (the default) or a fresh PostgreSQL database.
    #[must_use]
    pub fn database(mut self, database: Database) -> Self {
        self.database = Some(database);
        self
    }

    /// An existing database, for instance [`Deskbridge::database_url`] of a server to share it with.
    #[must_use]
    pub fn database_url(mut self, url: impl Into<String>) -> Self {
        self.database_url = Some(url.into());
        self
    }

    /// Where settings, key, SQLite file and `deskbridge.log` lie, instead of a directory that goes away with the server.
    #[must_use]
    pub fn directory(mut self, directory: impl Into<PathBuf>) -> Self {
        self.directory = Some(directory.into());
        self
    }

    /// The host name outside systems and browsers know the server by, instead of `127.0.0.1`: `localhost` makes it
    /// another site than a simulated system on `127.0.0.1`.
    #[must_use]
    pub fn public_host(mut self, host: impl Into<String>) -> Self {
        self.public_host = Some(host.into());
        self
    }

    /// One key of the settings' `[server]` part; replaces what the harness would write.
    #[must_use]
    pub fn server_setting(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.server.insert(key.to_owned(), value.into());
        self
    }

    /// One `[[connection]]`.
    #[must_use]
    pub fn connection(mut self, connection: Table) -> Self {
        self.connections.push(Value::Table(connection));
        self
    }

    /// One `[[connection]]` as the text below that line: `name = …`, `[appliance]`, `[zendesk]` and so on.
    #[must_use]
    pub fn connection_text(self, text: &str) -> Self {
        match text.parse::<Table>() {
            Ok(connection) => self.connection(connection),
            Err(error) => panic!("the test's connection is not TOML: {error}"),
        }
    }

    /// An environment variable of the server, for instance a secret the settings name as `env:NAME`.
    #[must_use]
    pub fn env(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.environment.insert(name.into(), value.into());
        self
    }

    /// Writes the settings file and starts nothing: for commands other than `serve`, and for servers started later.
    pub async fn prepare(mut self) -> Result<Deskbridge> {
        let (directory, temporary) = if let Some(directory) = self.directory.take() {
            std::fs::create_dir_all(&directory).with_context(|| format!("cannot make {}", directory.display()))?;
            (directory.canonicalize()?, None)
        } else {
            let temporary = tempfile::Builder::new().prefix("deskbridge-").tempdir().context("cannot make a directory")?;
            (temporary.path().to_path_buf(), Some(temporary))
        };
        let database_url = match (self.database_url.take(), self.database) {
            (Some(url), _) => url,
            (None, Some(Database::Postgres)) => postgres::fresh_database().await,
            (None, Some(Database::Sqlite) | None) => {
                format!("sqlite://{}", directory.join("deskbridge.db").display())
            }
        };
        let public = Port::reserve()?;
        let admin = Port::reserve()?;
        let public_host = self.public_host.unwrap_or_else(|| "127.0.0.1".to_owned());
        let public_url = format!("http://{public_host}:{}", public.number());
        let own: [(&str, Value); 5] = [
            ("public_url", public_url.clone().into()),
            ("listen", public.address().to_string().into()),
            ("admin_listen", admin.address().to_string().into()),
            ("database", database_url.clone().into()),
            ("master_key_file", path_value(&directory.join("deskbridge.key"))?),
        ];
        for (key, value) in own {
            self.server.entry(key).or_insert(value);
        }
        let settings_path = directory.join("deskbridge.toml");
        std::fs::write(&settings_path, settings_text(self.server, self.connections))
            .with_context(|| format!("cannot write {}", settings_path.display()))?;
        Ok(Deskbridge {
            process: None,
            logs: Logs::new(),
            public_url,
            url: format!("http://{}", public.address()),
            admin_url: format!("http://{}", admin.address()),
            database_url,
            settings_path,
            directory,
            environment: self.environment,
            _ports: [public, admin],
            temporary,
        })
    }

    /// Writes the settings file, starts the server and waits until it is ready.
    pub async fn start(self) -> Result<Deskbridge> {
        let mut server = self.prepare().await?;
        server.start().await?;
        Ok(server)
    }
}

/// One server process and what belongs to it. Killed when dropped.
#[derive(Debug)]
pub struct Deskbridge {
    process: Option<Child>,
    logs: Logs,
    public_url: String,
    url: String,
    admin_url: String,
    database_url: String,
    settings_path: PathBuf,
    directory: PathBuf,
    environment: BTreeMap<OsString, OsString>,
    _ports: [Port; 2],
    temporary: Option<TempDir>,
}

impl Deskbridge {
    /// Settings of a server to be started.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// Address of the public listener, `http://127.0.0.1:PORT`; the same after a restart.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Address under which outside systems and browsers know the server; [`Builder::public_host`] sets its host.
    pub fn public_url(&self) -> &str {
        &self.public_url
    }

    /// Address of the admin listener; the same after a restart.
    pub fn admin_url(&self) -> &str {
        &self.admin_url
    }

    /// The database's URL.
    pub fn database_url(&self) -> &str {
        &self.database_url
    }

    /// Another server on the same database and behind the same address, not started yet. It finds the connections in the database.
    pub async fn sibling(&self) -> Result<Self> {
        let key = self.directory().join("deskbridge.key");
        Self::builder()
            .database_url(self.database_url())
            .server_setting("public_url", self.public_url())
            .server_setting("master_key_file", key.to_str().context("a plain path")?)
            .prepare()
            .await
    }

    /// This server, and on PostgreSQL, which several can share, a second one beside it.
    pub async fn with_sibling(self, database: Database) -> Result<Vec<Self>> {
        let mut servers = vec![self];
        if database == Database::Postgres {
            let mut second = servers[0].sibling().await?;
            second.start().await?;
            servers.push(second);
        }
        Ok(servers)
    }

    /// The directory that holds settings, key and SQLite file.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The settings file; tests may change it between [`Deskbridge::kill`] and [`Deskbridge::start`].
    pub fn settings_path(&self) -> &Path {
        &self.settings_path
    }

    /// Everything the server printed, across restarts.
    pub fn logs(&self) -> &Logs {
        &self.logs
    }

    /// The first log line a regular expression matches, now or within a minute.
    pub async fn wait_for_log(&self, pattern: &str) -> Result<String> {
        self.logs.wait_for(pattern).await
    }

    /// An environment variable of the server from its next start on.
    pub fn set_env(&mut self, name: impl Into<OsString>, value: impl Into<OsString>) {
        self.environment.insert(name.into(), value.into());
    }

    /// Takes an environment variable away from the server's next start on.
    pub fn remove_env(&mut self, name: impl AsRef<OsStr>) {
        self.environment.remove(name.as_ref());
    }

    /// The process's id while it runs.
    pub fn process_id(&self) -> Option<u32> {
        self.process.as_ref().and_then(Child::id)
    }

    /// Starts the process and waits until `/readyz` says 200. Fails with the last log lines when it ends before that.
    pub async fn start(&mut self) -> Result<()> {
        if self.process_id().is_some() {
            bail!("the server runs already");
        }
        if self.temporary.is_none() {
            let log = self.directory.join("deskbridge.log");
            let log = OpenOptions::new().create(true).append(true).open(&log);
            self.logs.copy_to(log.context("cannot open deskbridge.log")?);
        }
        let mut child = command(&self.environment)?
            .arg("serve")
            .arg("--config")
            .arg(&self.settings_path)
            .current_dir(&self.directory)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("cannot start deskbridge")?;
        if let Some(output) = child.stdout.take() {
            self.logs.follow(std::fs::File::from(output.into_owned_fd()?));
        }
        if let Some(errors) = child.stderr.take() {
            let errors: OwnedFd = errors.into_owned_fd()?;
            self.logs.follow(std::fs::File::from(errors));
        }
        self.process = Some(child);
        match tokio::time::timeout(START_LIMIT, self.wait_until_ready()).await {
            Ok(outcome) => outcome,
            Err(_) => bail!("not ready within {START_LIMIT:?}:\n{}", self.logs.tail()),
        }
    }

    async fn wait_until_ready(&mut self) -> Result<()> {
        let client = loopback_client()?;
        let ready = format!("{}{}", self.url, routes::READYZ);
        loop {
            if let Some(process) = &mut self.process
                && let Some(status) = process.try_wait()?
            {
                self.process = None;
                bail!("deskbridge ended with {status} before it was ready:\n{}", self.logs.tail());
            }
            // Refused until it listens.
            if let Ok(answer) = client.get(&ready).send().await
                && answer.status().is_success()
            {
                return Ok(());
            }
            tokio::time::sleep(READY_INTERVAL).await;
        }
    }

    /// Ends the process at once (SIGKILL), as a power cut would; returns when it is gone.
    pub async fn kill(&mut self) -> Result<()> {
        let mut process = self.process.take().context("the server does not run")?;
        process.kill().await.context("cannot kill deskbridge")
    }

    /// Asks the process to end (SIGTERM) and waits for it.
    pub async fn terminate(&mut self) -> Result<ExitStatus> {
        self.signal(Signal::Terminate)?;
        let mut process = self.process.take().context("the server does not run")?;
        match tokio::time::timeout(STOP_LIMIT, process.wait()).await {
            Ok(status) => status.context("cannot wait for deskbridge"),
            Err(_) => bail!("still running {STOP_LIMIT:?} after SIGTERM:\n{}", self.logs.tail()),
        }
    }

    /// How the process has ended, if it has.
    pub fn has_ended(&mut self) -> Result<Option<ExitStatus>> {
        let process = self.process.as_mut().context("the server does not run")?;
        process.try_wait().context("cannot wait for deskbridge")
    }

    /// Waits until the process ends by itself.
    pub async fn ended(&mut self) -> Result<ExitStatus> {
        let process = self.process.as_mut().context("the server does not run")?;
        let status = process.wait().await.context("cannot wait for deskbridge")?;
        self.process = None;
        Ok(status)
    }

    /// Kills it if it runs, and starts it again on the same ports, settings and database.
    pub async fn restart(&mut self) -> Result<()> {
        if self.process.is_some() {
            self.kill().await?;
        }
        self.start().await
    }

    /// Sends a signal; [`Signal::Stop`] makes a server that hangs.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        processes::send(self.process_id().context("the server does not run")?, signal)
    }

    /// Memory in use (resident set), in KiB.
    pub fn rss_kib(&self) -> Result<u64> {
        let id = self.process_id().context("the server does not run")?;
        let status = std::fs::read_to_string(format!("/proc/{id}/status")).context("the server has ended")?;
        resident_kib(&status).context("no VmRSS in /proc")
    }

    /// A figure of `GET /metrics`, summed over the lines of that name with these label values.
    pub async fn figure(&self, name: &str, labels: &[&str]) -> Result<u64> {
        let url = format!("{}{}", self.admin_url, routes::METRICS);
        let answer = loopback_client()?.get(url).send().await?;
        ensure!(answer.status().is_success(), "{}", answer.status());
        sum_of(&answer.text().await?, name, labels)
    }

    /// Runs another command of the program on the same settings and environment, for instance `["check"]`.
    pub async fn command(&self, arguments: &[&str]) -> Result<Output> {
        let mut command = command(&self.environment)?;
        command.args(arguments).arg("--config").arg(&self.settings_path).current_dir(&self.directory);
        output(command).await
    }
}

impl Drop for Deskbridge {
    fn drop(&mut self) {
        // The process itself is killed by its own drop.
        if std::thread::panicking() {
            eprintln!("--- last lines of deskbridge's log ---\n{}\n---", self.logs.tail());
        }
    }
}

/// Runs the program with these arguments and environment variables and waits for its end.
pub async fn deskbridge_cli<A: AsRef<OsStr>>(arguments: &[A], environment: &[(&str, &str)]) -> Result<Output> {
    let environment = environment.iter().map(|&(name, value)| (name.into(), value.into())).collect();
    let mut command = command(&environment)?;
    command.args(arguments);
    output(command).await
}

/// A client for our own listeners: no proxy, no redirects, a short total time.
pub fn loopback_client() -> Result<reqwest::Client> {
    reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .timeout(Duration::from_secs(30))
        .build()
        .context("cannot make an HTTP client")
}

/// Asks again and again, for what tells nobody when it changes; fails after `limit`.
pub async fn until(what: &str, limit: Duration, reached: impl AsyncFn() -> Result<bool>) -> Result<()> {
    let asked = async {
        while !reached().await? {
            tokio::time::sleep(ASK_EVERY).await;
        }
        anyhow::Ok(())
    };
    tokio::time::timeout(limit, asked).await.with_context(|| format!("waited {limit:?} in vain until {what}"))?
}

fn sum_of(metrics: &str, name: &str, labels: &[&str]) -> Result<u64> {
    let mut sum = 0;
    for line in metrics.lines() {
        let rest = line.strip_prefix(name).filter(|rest| rest.starts_with(['{', ' ']));
        if rest.is_some_and(|rest| labels.iter().all(|label| rest.contains(&format!("\"{label}\"")))) {
            sum += line.rsplit(' ').next().context("a value")?.parse::<u64>().with_context(|| line.to_owned())?;
        }
    }
    Ok(sum)
}

fn command(environment: &BTreeMap<OsString, OsString>) -> Result<Command> {
    let program = match std::env::var_os(PROGRAM_VARIABLE) {
        Some(program) => program.into(),
        None => program_beside_us("deskbridge")?,
    };
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        // A developer's own settings must not leak into a test.
        if name.to_string_lossy().starts_with("DESKBRIDGE_") {
            command.env_remove(name);
        }
    }
    command.env("NO_COLOR", "1").env("NO_PROXY", "127.0.0.1,localhost").envs(environment).kill_on_drop(true);
    Ok(command)
}

async fn output(mut command: Command) -> Result<Output> {
    command.stdin(Stdio::null());
    tokio::time::timeout(COMMAND_LIMIT, command.output())
        .await
        .with_context(|| format!("the command did not end within {COMMAND_LIMIT:?}"))?
        .context("cannot start deskbridge")
}

fn settings_text(server: Table, connections: Vec<Value>) -> String {
    let mut settings = Table::new();
    settings.insert("server".to_owned(), Value::Table(server));
    if !connections.is_empty() {
        settings.insert("connection".to_owned(), Value::Array(connections));
    }
    settings.to_string()
}

fn path_value(path: &Path) -> Result<Value> {
    Ok(path.to_str().context("the directory's name is not UTF-8")?.into())
}

fn resident_kib(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_written_as_an_administrator_would() {
        let mut server = Table::new();
        server.insert("public_url".to_owned(), "https://remote.example.com".into());
        let connection = "name = \"Zendesk \\\"test\\\"\"\n[appliance]\nid = \"default\"".parse().unwrap();
        let text = settings_text(server, vec![Value::Table(connection)]);
        assert!(text.contains("[[connection]]") && text.contains("[connection.appliance]"), "{text}");
        let read: Table = text.parse().unwrap();
        assert_eq!(read["server"]["public_url"].as_str(), Some("https://remote.example.com"));
        assert_eq!(read["connection"][0]["name"].as_str(), Some("Zendesk \"test\""));
        assert_eq!(read["connection"][0]["appliance"]["id"].as_str(), Some("default"));
    }

    #[tokio::test]
    async fn own_settings_yield_to_the_tests() {
        let server = Deskbridge::builder().server_setting("public_url", "https://remote.example.com").prepare().await.unwrap();
        let settings: Table = std::fs::read_to_string(server.settings_path()).unwrap().parse().unwrap();
        assert_eq!(settings["server"]["public_url"].as_str(), Some("https://remote.example.com"));
        assert_eq!(settings["server"]["listen"].as_str().map(|listen| format!("http://{listen}")), Some(server.url().to_owned()));
        assert!(server.database_url().starts_with("sqlite:///"));
        let directory = server.directory().to_owned();
        drop(server);
        assert!(!directory.exists());
    }

    #[test]
    fn figures_of_one_name_and_label_are_summed() {
        let metrics =
            "# TYPE a counter\na{connection=\"x\",kind=\"k\"} 2\na{connection=\"y\",kind=\"k\"} 3\na_more{connection=\"x\"} 9\na 4\n";
        let check = |labels: &[&str], expected: u64| assert_eq!(sum_of(metrics, "a", labels).unwrap(), expected, "{labels:?}");
        check(&[], 9);
        check(&["x"], 2);
        check(&["k"], 5);
        check(&["z"], 0);
    }

    #[test]
    fn ci_skips_no_test() {
        assert_eq!(skip_where(true, "a", "no Request Tracker").unwrap_err().to_string(), "CI skips no test: no Request Tracker");
    }

    #[test]
    fn memory_is_read() {
        assert_eq!(resident_kib("Name:\tx\nVmRSS:\t   10240 kB\nThreads:\t3\n"), Some(10_240));
        assert_eq!(resident_kib("Name:\tx\n"), None);
    }
}
