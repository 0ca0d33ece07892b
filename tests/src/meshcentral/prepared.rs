//! The installed package, and a data directory that is made once: keys, certificates and accounts take MeshCentral some seconds.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use tokio::process::Command;
use tokio::sync::OnceCell;

use super::{
    ADMIN, Account, CA, CONFIG, GROUP, OWN_ACCOUNT, RealMeshCentral, SERVICE, SERVICE_GROUP_RIGHTS, SERVICE_SITE_RIGHTS, Token, config,
    data, program_and_directories, with_plain_environment,
};
use crate::ports::Port;
use crate::server::until;

/// What `cargo xtask setup` installs; names MeshCentral's version.
const PACKAGE: &str = include_str!("../../meshcentral/package.json");

/// Grows when something else is prepared than before.
const PREPARATION: u32 = 1;

/// Remote control of every machine in the group, for a person who signs in to MeshCentral.
const OWN_ACCOUNT_RIGHTS: u64 = 8;

/// Windows agents that MeshCentral signs at its start, with the port in the signature: of no use to another instance.
const SIGNED_AGENTS: &str = "signedagents";

/// What was prepared, beside the data itself.
const FACTS: &str = "prepared.json";

/// A command that ends by itself.
const COMMAND_LIMIT: Duration = Duration::from_mins(1);

/// A data directory to be copied.
#[derive(Clone, Debug)]
pub(super) struct Prepared {
    directory: PathBuf,
    pub(super) group: String,
    pub(super) token: Token,
}

/// Where the package is installed, below the target directory that the running test lies in.
pub(super) fn place() -> Result<PathBuf> {
    let package: Value = serde_json::from_str(PACKAGE).context("package.json is not JSON")?;
    let version = package["dependencies"]["meshcentral"].as_str().context("package.json names no version")?;
    let tool = format!("tools/meshcentral-{version}");
    let own = std::env::current_exe().context("cannot find the running program")?;
    let mut places = own.ancestors().map(|directory| directory.join(&tool));
    // npm writes this list when everything is there.
    match places.find(|place| place.join("node_modules/.package-lock.json").is_file()) {
        Some(place) => Ok(place),
        None => bail!("MeshCentral {version} is not installed: cargo xtask setup (needs npm)"),
    }
}

/// Prepares the data directory, if no test has done so yet.
pub(super) async fn prepared() -> Result<Prepared> {
    static PREPARED: OnceCell<Prepared> = OnceCell::const_new();
    PREPARED.get_or_try_init(find_or_make).await.cloned()
}

async fn find_or_make() -> Result<Prepared> {
    let place = place()?;
    let directory = place.join(format!("prepared-{PREPARATION}"));
    // Other test programs wait here for the first one.
    let lock = File::create(place.join("prepared.lock")).context("cannot make a lock")?;
    let lock = tokio::task::spawn_blocking(move || lock.lock().map(|()| lock)).await?.context("cannot lock")?;
    if !directory.join(FACTS).is_file() {
        make(&place, &directory).await.context("cannot prepare MeshCentral's data")?;
    }
    drop(lock);
    let facts: Value = serde_json::from_slice(&std::fs::read(directory.join(FACTS)).context("no prepared facts")?)?;
    let text = |name: &str| facts[name].as_str().map(str::to_owned).with_context(|| format!("no prepared {name}"));
    let token = Token { user: text("token_user")?, password: text("token_password")? };
    Ok(Prepared { group: text("group")?, token, directory })
}

impl Prepared {
    /// A copy for one instance, without its own settings.
    pub(super) fn copy_to(&self, data: &Path) -> Result<()> {
        std::fs::create_dir_all(data).with_context(|| format!("cannot make {}", data.display()))?;
        for entry in std::fs::read_dir(&self.directory).context("no prepared data")? {
            let entry = entry?;
            if entry.file_type()?.is_file() && entry.file_name() != FACTS {
                std::fs::copy(entry.path(), data.join(entry.file_name())).context("cannot copy the prepared data")?;
            }
        }
        Ok(())
    }
}

async fn make(place: &Path, directory: &Path) -> Result<()> {
    let temporary = tempfile::Builder::new().prefix("preparing-").tempdir_in(place).context("cannot make a directory")?;
    let data = data(temporary.path());
    std::fs::create_dir(&data).context("cannot make a directory")?;
    let port = Port::reserve()?;
    let settings = config(port.number(), &temporary.path().join("recordings"));
    std::fs::write(data.join(CONFIG), settings.to_string()).context("cannot write config.json")?;
    // Possible only while MeshCentral does not run.
    for account in [ADMIN, SERVICE, OWN_ACCOUNT] {
        command(temporary.path(), &["--createaccount", account.user, "--pass", account.password]).await?;
    }
    command(temporary.path(), &["--adminaccount", ADMIN.user]).await?;

    let nothing =
        Prepared { directory: PathBuf::new(), group: String::new(), token: Token { user: String::new(), password: String::new() } };
    let mesh = RealMeshCentral::start_bare(nothing, temporary, port).await?;
    let admin = mesh.admin().await?;
    let made = admin.ask(json!({"action": "createmesh", "meshname": GROUP, "meshtype": 2, "desc": ""})).await?;
    let group = made["meshid"].as_str().with_context(|| format!("no device group: {made}"))?.to_owned();
    admin.set_group_rights(&group, SERVICE, SERVICE_GROUP_RIGHTS).await?;
    admin.set_group_rights(&group, OWN_ACCOUNT, OWN_ACCOUNT_RIGHTS).await?;
    admin.set_site_rights(SERVICE, SERVICE_SITE_RIGHTS).await?;
    let Account { user, password } = SERVICE;
    let service = super::Control::connect(&mesh, user, password).await?;
    let token = service.ask(json!({"action": "createLoginToken", "name": "Deskbridge", "expire": 0})).await?;
    let text = |name: &str| token[name].as_str().with_context(|| format!("no login token: {token}"));
    let facts = json!({"group": group, "token_user": text("tokenUser")?, "token_password": text("tokenPass")?});

    // MeshCentral writes one record after the other, and answers before: the token is the last one.
    let database = mesh.data_directory().join("meshcentral.db");
    until("the login token is written", COMMAND_LIMIT, async || Ok(std::fs::read_to_string(&database)?.contains(text("tokenUser")?)))
        .await?;
    ensure!(mesh.ca_file().is_file(), "no {CA}");
    let temporary = mesh.into_directory()?;
    std::fs::remove_dir_all(data.join(SIGNED_AGENTS)).context("MeshCentral signed no agents")?;
    std::fs::write(data.join(FACTS), facts.to_string()).context("cannot write the facts")?;
    std::fs::remove_dir_all(directory).or_else(|error| if error.kind() == std::io::ErrorKind::NotFound { Ok(()) } else { Err(error) })?;
    std::fs::rename(&data, directory).context("cannot move the prepared data")?;
    drop(temporary);
    Ok(())
}

/// Runs one of MeshCentral's commands on the data directory.
async fn command(directory: &Path, arguments: &[&str]) -> Result<()> {
    let mut command = std::process::Command::new("node");
    command.args(program_and_directories(directory)?).args(arguments).stdin(Stdio::null());
    with_plain_environment(&mut command, directory);
    let ended = tokio::time::timeout(COMMAND_LIMIT, Command::from(command).kill_on_drop(true).output()).await;
    let output = ended.context("the command does not end")?.context("cannot start node")?;
    let said = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success() && said.contains("Done."), "{}: {said}{}", arguments[0], String::from_utf8_lossy(&output.stderr));
    Ok(())
}
