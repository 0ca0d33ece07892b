//! Request Tracker 5 as Debian has it (request-tracker-setup.md): prepared once, started as often as it is needed.
//!
//! Nothing of the machine's own configuration is read or changed. Each server has a directory of its own, with its database (SQLite), its
//! configuration and its caches; it listens on loopback, and goes away with the process that started it, however that ends.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

use crate::logs::Logs;
use crate::ports::Port;
use crate::postgres::unprivileged_account;
use crate::processes::program_beside_us;
use crate::server::{loopback_client, until};

const SERVER: &str = "/usr/share/request-tracker5/libexec/rt-server";
const LIBRARY: &str = "/usr/share/request-tracker5/lib";
const SETUP: &str = "/usr/sbin/rt-setup-database-5";
/// Says the version.
const GENERATED: &str = "/usr/share/request-tracker5/lib/RT/Generated.pm";
/// RT answers two seconds after its start; a busy machine may need more.
const START_LIMIT: Duration = Duration::from_mins(1);
/// Requests that are worked at at the same time; each worker takes some 200 MB, most of it shared.
const WORKERS: usize = 3;
/// RT's own path, as Debian has it.
const PATH: &str = "/rt";

/// Who and what there is besides RT's own `root`, whose password is `password`.
const DATA: &str = r"
@Users = (
    { Name => 'deskbridge', RealName => 'Deskbridge', Password => 'deskbridge-pw', EmailAddress => 'deskbridge@msp.example', Privileged => 1 },
    { Name => 'avery', RealName => 'Avery Agent', Password => 'avery-pw', EmailAddress => 'avery@msp.example', Privileged => 1 },
    { Name => 'few', Password => 'few-pw', EmailAddress => 'few@msp.example', Privileged => 1 },
    { Name => 'gone', Password => 'gone-pw', EmailAddress => 'gone@msp.example', Privileged => 1, Disabled => 1 },
    { Name => 'jane', RealName => 'Jane Roe', Password => 'jane-pw', EmailAddress => 'jane@example.com', Privileged => 0 },
);
@Queues = ( { Name => 'Support' }, { Name => 'Few rights' }, { Name => 'No rights' }, { Name => 'New' } );
@CustomFields = ( { Name => 'Machine', Type => 'FreeformSingle', LookupType => 'RT::Queue-RT::Ticket', Queue => [ 'Support' ] } );
@ACL = (
    ( map { my $user = $_; map { { UserId => $user, Right => $_, Queue => 'Support' } }
        qw(SeeQueue ShowTicket ShowTicketComments CreateTicket ReplyToTicket CommentOnTicket SeeCustomField) } qw(deskbridge avery) ),
    ( map { { UserId => 'avery', Right => $_, Queue => 'Support' } } qw(ModifyTicket OwnTicket) ),
    ( map { { UserId => 'few', Right => $_, Queue => 'Few rights' } } qw(SeeQueue ShowTicket CommentOnTicket) ),
    ( map { { UserId => 'few', Right => $_, Queue => 'No rights' } } qw(SeeQueue ShowTicket) ),
    ( map { { UserId => 'few', Right => $_, Queue => 'New' } } qw(SeeQueue ShowTicket CommentOnTicket CreateTicket) ),
);
";

/// Makes the API user's token, which can only be read now.
const TOKEN: &str = r"
use RT -init;
use RT::AuthToken;
my $user = RT::User->new(RT->SystemUser);
$user->Load('deskbridge');
my ($ok, $said, $token) = RT::AuthToken->new(RT->SystemUser)->Create(Owner => $user->id, Description => 'Deskbridge');
die $said unless $ok;
print $token;
";

/// Why there is no Request Tracker here, if so.
pub fn missing() -> Option<String> {
    let is_there = [SERVER, SETUP, GENERATED].iter().all(|path| Path::new(path).is_file());
    (!is_there).then(|| "Request Tracker 5 is not installed; `cargo xtask setup` installs Debian's as root".to_owned())
}

/// A server with its own files, ended and removed when dropped or when this process dies.
#[derive(Debug)]
pub(super) struct Server {
    /// With its path, and a slash at the end.
    pub(super) url: String,
    pub(super) token: String,
    pub(super) database: PathBuf,
    pub(super) logs: Logs,
    holder: Child,
    // Kept for as long as the server runs; fields are dropped after the holder has ended.
    _kept: (TempDir, Port),
}

/// Runs the server as long as its own input is open, so that not even a killed test leaves one behind.
const HOLDER: &str = r#"
"$1" --host 127.0.0.1 --port "$2" --webpath "$3" --max-workers "$4" </dev/null &
server=$!
read -r line
kill -TERM "$server"
wait "$server"
cd / && rm -rf "$5"
"#;

impl Server {
    /// Starts one on a copy of the prepared database and waits until it answers.
    pub(super) async fn start() -> Result<Self> {
        let prepared = prepared()?;
        let port = Port::reserve()?;
        let account = unprivileged_account("nobody")?;
        let directory = tempfile::Builder::new().prefix("deskbridge-rt-").tempdir().context("cannot make a directory")?;
        let database = directory.path().join("rtdb");
        std::fs::copy(prepared.join("rtdb"), &database).context("cannot copy the prepared database")?;
        configure(directory.path(), port.number(), account)?;
        let mut holder = command("sh", directory.path(), account);
        holder
            .args(["-c", HOLDER, "sh", SERVER, &port.number().to_string(), PATH, &WORKERS.to_string()])
            .arg(directory.path())
            // A Ctrl-C in a terminal is for us alone: the shell has to see to the end.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let mut holder = holder.spawn().context("cannot start sh")?;
        let logs = Logs::new();
        logs.follow(holder.stderr.take().context("the server has no error output")?);
        let url = format!("http://127.0.0.1:{}{PATH}/", port.number());
        let token = std::fs::read_to_string(prepared.join("token")).context("cannot read the token")?;
        let server = Self { url, token, database, logs, holder, _kept: (directory, port) };
        let (http, asked) = (loopback_client()?, format!("{}REST/2.0/", server.url));
        let answers = async || Ok(http.get(&asked).send().await.is_ok_and(|answer| answer.status() == 401));
        until("Request Tracker answers", START_LIMIT, answers).await.with_context(|| server.logs.tail())?;
        Ok(server)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.holder.stdin.take());
        if let Err(error) = self.holder.wait() {
            eprintln!("cannot wait for Request Tracker's end: {error}");
        }
    }
}

/// Where the prepared database and the token lie; made once for each version of RT and of what is in it.
fn prepared() -> Result<PathBuf> {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _one_at_a_time = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let version = std::fs::read(GENERATED).with_context(|| format!("cannot read {GENERATED}"))?;
    let digest: [u8; 32] =
        [DATA.as_bytes(), TOKEN.as_bytes(), &version].into_iter().fold(Sha256::new(), Sha256::chain_update).finalize().into();
    let [a, b, c, d, ..] = digest;
    let name = format!("{:08x}", u32::from_be_bytes([a, b, c, d]));
    // Beside the programs: target/PROFILE.
    let place = program_beside_us("deskbridge")?.with_file_name("request-tracker");
    let prepared = place.join(name);
    if prepared.is_dir() {
        return Ok(prepared);
    }
    let account = unprivileged_account("nobody")?;
    let directory = tempfile::Builder::new().prefix("deskbridge-rt-").tempdir().context("cannot make a directory")?;
    configure(directory.path(), 80, account)?;
    let data = directory.path().join("data.pl");
    std::fs::write(&data, DATA).context("cannot write the data")?;
    let setup = |arguments: &[&str]| {
        let output = command(SETUP, directory.path(), account).args(arguments).stdin(Stdio::null()).output();
        let output = output.with_context(|| format!("cannot start {SETUP}"))?;
        let said = [output.stdout, output.stderr].concat();
        ensure!(output.status.success(), "{SETUP} {arguments:?}: {}", String::from_utf8_lossy(&said));
        Ok(())
    };
    setup(&["--action", "init", "--dba", "", "--prompt-for-dba-password="])?;
    setup(&["--action", "insert", "--skip-create", "--datafile", data.to_str().context("a plain path")?])?;
    let token = command("perl", directory.path(), account).args(["-I", LIBRARY, "-e", TOKEN]).stdin(Stdio::null()).output()?;
    ensure!(token.status.success(), "no token: {}", String::from_utf8_lossy(&token.stderr));
    std::fs::create_dir_all(&place)?;
    let made = tempfile::Builder::new().prefix("making-").tempdir_in(&place).context("cannot make a directory")?;
    std::fs::copy(directory.path().join("rtdb"), made.path().join("rtdb")).context("cannot keep the database")?;
    std::fs::write(made.path().join("token"), token.stdout.trim_ascii())?;
    // Another process may have been faster.
    if std::fs::rename(made.path(), &prepared).is_err() {
        ensure!(prepared.is_dir(), "cannot keep the prepared database as {}", prepared.display());
    }
    Ok(prepared)
}

/// RT's configuration and caches, and who they belong to.
fn configure(directory: &Path, port: u16, account: Option<(u32, u32)>) -> Result<()> {
    let path = directory.to_str().context("a plain path")?;
    // `testfile` sends no mail. The lowest cost of a password's hash: each request pays it.
    let text = format!(
        r"
Set($rtname, 'rt.example.test');
Set($Organization, 'rt.example.test');
Set($CorrespondAddress, 'rt@example.test');
Set($CommentAddress, 'rt-comment@example.test');
Set($DatabaseType, 'SQLite');
Set($DatabaseName, '{path}/rtdb');
Set($WebPath, '{PATH}');
Set($WebDomain, '127.0.0.1');
Set($WebPort, {port});
Set($MailCommand, 'testfile');
Set($LogToSyslog, undef);
Set($LogToSTDERR, 'warning');
Set($BcryptCost, 4);
Set($Timezone, 'UTC');
$RT::MasonDataDir = '{path}/mason';
$RT::MasonSessionDir = '{path}/sessions';
1;
"
    );
    std::fs::write(directory.join("site.pm"), text).context("cannot write the configuration")?;
    for name in ["mason", "sessions"] {
        std::fs::create_dir_all(directory.join(name))?;
    }
    if let Some((user, group)) = account {
        for path in ["", "site.pm", "mason", "sessions", "rtdb"].map(|name| directory.join(name)).iter().filter(|path| path.exists()) {
            std::os::unix::fs::chown(path, Some(user), Some(group)).with_context(|| format!("cannot give away {}", path.display()))?;
        }
    }
    Ok(())
}

fn command(program: &str, directory: &Path, account: Option<(u32, u32)>) -> Command {
    let mut command = Command::new(program);
    command
        .current_dir(directory)
        .env("RT_SITE_CONFIG", directory.join("site.pm"))
        .env("RT_SITE_CONFIG_DIR", directory.join("no-more"))
        // Files of outgoing mail.
        .env("TMPDIR", directory)
        .env("HOME", directory);
    if let Some((user, group)) = account {
        command.uid(user).gid(group);
    }
    command
}
