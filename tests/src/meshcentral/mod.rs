//! A real MeshCentral, as an administrator would run it: its npm package, a data directory, one process, one port on loopback.
//!
//! Nothing is simulated: [`RealMeshCentral`] runs the package that `cargo xtask setup` installs, [`RealAgent`] runs the agent that MeshCentral
//! hands out, [`Technician`] opens MeshCentral's own pages in Chromium, [`Assistant`] speaks to the agent as MeshCentral Assistant does.
//! [`Control`] is what tests see and change as MeshCentral's administrator.
//!
//! Must not know Deskbridge. Several instances run beside each other; each has its own directory, port, accounts and agents.

mod agent;
mod control;
mod customers_browser;
mod prepared;
mod technician;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use aws_lc_rs::encoding::{AsDer as _, PublicKeyX509Der};
use aws_lc_rs::rsa;
use aws_lc_rs::signature::KeyPair as _;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;
use tokio_rustls::rustls::pki_types::PrivatePkcs1KeyDer;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;

pub use agent::{Assistant, Display, RealAgent, request_help};
pub use control::{Control, Link};
pub use customers_browser::CustomersBrowser;
pub use technician::Technician;

use crate::logs::Logs;
use crate::ports::Port;
use crate::processes::{self, Leashed, Signal, leashed};
use crate::server::{skip, until};

/// Full administrator.
pub const ADMIN: Account = Account { user: "admin", password: "Admin-Passw0rd" };

/// A person with an account of their own, who may open the machines of the device group without a link.
pub const OWN_ACCOUNT: Account = Account { user: "tina", password: "Tina-Passw0rd" };

/// The account that makes links; it has [`SERVICE_GROUP_RIGHTS`] and [`SERVICE_SITE_RIGHTS`]. Its login token: [`RealMeshCentral::token`].
pub const SERVICE: Account = Account { user: "service", password: "Service-Passw0rd" };

/// What the service account may do in the device group: remote control (8), guest sharing (524288), device details (1048576).
pub const SERVICE_GROUP_RIGHTS: u64 = 8 + 524_288 + 1_048_576;

/// What the service account may do in all of MeshCentral: recordings (512).
pub const SERVICE_SITE_RIGHTS: u64 = 512;

/// The one device group.
pub const GROUP: &str = "Customers";

/// What MeshCentral prints when it takes connections.
const READY: &str = "HTTPS server running on";

/// The body of the block that ends a recording.
const LAST_BLOCK: &[u8] = b"MeshCentralMCREC";

/// Files that take part in a copy of the prepared data directory; everything else is made anew.
const CONFIG: &str = "config.json";
const CA: &str = "root-cert-public.crt";
/// The key of the certificate that its pages come with.
const WEB_KEY: &str = "webserver-cert-private.key";

/// A user name and its password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Account {
    /// As typed when signing in.
    pub user: &'static str,
    /// In clear.
    pub password: &'static str,
}

/// A login token: it signs in as the account that made it, and no second factor is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// `~t:` and letters.
    pub user: String,
    /// In clear.
    pub password: String,
}

/// Says why MeshCentral cannot be run here.
pub fn obtainable() -> Result<()> {
    prepared::place().map(drop)
}

/// True where MeshCentral can be run; else says so in one line that `cargo xtask test` counts as a skipped test. CI never skips.
pub fn is_obtainable_for(test: &str) -> Result<bool> {
    let Err(error) = obtainable() else {
        return Ok(true);
    };
    skip(test, &format!("{error:#}"))?;
    Ok(false)
}

/// One MeshCentral with a directory of its own. Killed when dropped.
#[derive(Debug)]
pub struct RealMeshCentral {
    // Fields are dropped in order: the directory goes when nobody writes into it any more.
    process: Option<Leashed>,
    logs: Logs,
    port: Port,
    directory: TempDir,
    prepared: prepared::Prepared,
}

impl RealMeshCentral {
    /// Starts one and waits until it takes connections. Sessions are recorded; there are the accounts [`ADMIN`], [`SERVICE`] and
    /// [`OWN_ACCOUNT`], and the device group [`GROUP`] without machines.
    pub async fn start() -> Result<Self> {
        Self::start_with(|_| ()).await
    }

    /// The same with another `config.json`; `change` gets what [`RealMeshCentral::start`] would write.
    pub async fn start_with(change: impl FnOnce(&mut Value)) -> Result<Self> {
        let prepared = prepared::prepared().await?;
        let directory = tempfile::Builder::new().prefix("deskbridge-meshcentral-").tempdir().context("cannot make a directory")?;
        prepared.copy_to(&data(directory.path()))?;
        let mesh = Self { process: None, logs: Logs::new(), port: Port::reserve()?, directory, prepared };
        let mut config = config(mesh.port.number(), &mesh.recordings_directory());
        change(&mut config);
        mesh.write_config(&config)?;
        mesh.started().await
    }

    /// On an empty data directory that has its accounts already.
    async fn start_bare(prepared: prepared::Prepared, directory: TempDir, port: Port) -> Result<Self> {
        Self { process: None, logs: Logs::new(), port, directory, prepared }.started().await
    }

    async fn started(mut self) -> Result<Self> {
        self.run().await?;
        Ok(self)
    }

    /// `https://127.0.0.1:PORT`; the same after a restart.
    pub fn url(&self) -> String {
        format!("https://{}", self.port.address())
    }

    /// The port on 127.0.0.1.
    pub const fn port(&self) -> u16 {
        self.port.number()
    }

    /// The certificate that its own one is signed with, PEM.
    pub fn ca_file(&self) -> PathBuf {
        self.data_directory().join(CA)
    }

    /// The SHA-256 of its pages' public key (SPKI, Base64): what Chromium's `--ignore-certificate-errors-spki-list` takes, so that a person's
    /// browser takes this certificate and no other unknown one.
    pub fn key_hash(&self) -> Result<String> {
        let key = PrivatePkcs1KeyDer::from_pem_file(self.data_directory().join(WEB_KEY)).context("no key of the pages' certificate")?;
        let key = rsa::KeyPair::from_der(key.secret_pkcs1_der()).ok().context("a key that is not RSA's")?;
        let public: PublicKeyX509Der<'_> = key.public_key().as_der().ok().context("no public key")?;
        Ok(BASE64_STANDARD.encode(Sha256::digest(public.as_ref())))
    }

    /// The [`SERVICE`] account's login token, which never expires.
    pub fn token(&self) -> &Token {
        &self.prepared.token
    }

    /// Id of [`GROUP`], `mesh//…`.
    pub fn group_id(&self) -> &str {
        &self.prepared.group
    }

    /// `config.json`, databases and certificates.
    pub fn data_directory(&self) -> PathBuf {
        data(self.directory.path())
    }

    /// The recorded sessions' files.
    pub fn recordings_directory(&self) -> PathBuf {
        self.directory.path().join("recordings")
    }

    /// Everything MeshCentral printed, across restarts.
    pub const fn logs(&self) -> &Logs {
        &self.logs
    }

    /// Its administrator's connection.
    pub async fn admin(&self) -> Result<Control> {
        Control::connect(self, ADMIN.user, ADMIN.password).await
    }

    /// The service account's connection, by its login token.
    pub async fn service(&self) -> Result<Control> {
        Control::connect(self, &self.token().user, &self.token().password).await
    }

    /// Ends it at once, as a power cut would; returns when it is gone. Its port refuses connections until it is started again.
    pub fn kill_hard(&mut self) -> Result<()> {
        self.process.take().context("MeshCentral does not run").map(drop)
    }

    /// Kills it if it runs, and starts it again on the same port and data; waits until it takes connections.
    pub async fn restart(&mut self) -> Result<()> {
        drop(self.process.take());
        self.run().await
    }

    /// Sends a signal; [`Signal::Stop`] makes a MeshCentral that hangs, [`Signal::Continue`] lets it run again.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        processes::send(self.process.as_ref().context("MeshCentral does not run")?.id(), signal)
    }

    /// Changes `config.json`; it counts from the next [`RealMeshCentral::restart`] on.
    pub fn change_config(&self, change: impl FnOnce(&mut Value)) -> Result<()> {
        let text = std::fs::read_to_string(self.data_directory().join(CONFIG)).context("no config.json")?;
        let mut config = serde_json::from_str(&text).context("config.json is not JSON")?;
        change(&mut config);
        self.write_config(&config)
    }

    /// A web client that trusts this MeshCentral alone, and keeps no cookies.
    pub fn http(&self) -> Result<reqwest::Client> {
        let pem = std::fs::read(self.ca_file()).context("no certificate")?;
        reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .tls_certs_only([reqwest::Certificate::from_pem(&pem)?])
            .timeout(Duration::from_secs(30))
            .build()
            .context("cannot make an HTTP client")
    }

    /// Waits until a recording's file of this session is complete, and reads it.
    pub async fn recording_of(&self, session: &str) -> Result<Vec<u8>> {
        let end = format!("-{session}.mcrec");
        let find = || {
            let entries = std::fs::read_dir(self.recordings_directory()).into_iter().flatten().flatten();
            entries.map(|entry| entry.path()).find(|path| path.to_str().is_some_and(|path| path.ends_with(&end)))
        };
        // MeshCentral closes the file 5 s after the session's end.
        until("the recording is complete", Duration::from_mins(1), async || {
            find().map_or(Ok(false), |path| Ok(std::fs::read(path)?.ends_with(LAST_BLOCK)))
        })
        .await?;
        std::fs::read(find().context("the file has gone")?).context("cannot read the recording")
    }

    /// Kills it and answers its directory.
    fn into_directory(mut self) -> Result<TempDir> {
        drop(self.process.take());
        let elsewhere = tempfile::tempdir().context("cannot make a directory")?;
        Ok(std::mem::replace(&mut self.directory, elsewhere))
    }

    fn write_config(&self, config: &Value) -> Result<()> {
        let path = self.data_directory().join(CONFIG);
        std::fs::write(&path, config.to_string()).with_context(|| format!("cannot write {}", path.display()))
    }

    async fn run(&mut self) -> Result<()> {
        let mark = self.logs.mark();
        // What MeshCentral itself starts as its second process, which ends with its standard input; the first one only starts it again after
        // updates.
        let mut command = leashed(Path::new("node"));
        command.arg("--disable-proto=delete").args(program_and_directories(self.directory.path())?).args(["--launch", "1"]);
        with_plain_environment(&mut command, self.directory.path());
        self.process = Some(Leashed::start(command, &self.logs).await?);
        self.logs.wait_for_after(mark, READY).await.context("MeshCentral did not start")?;
        Ok(())
    }
}

impl Drop for RealMeshCentral {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- last lines of MeshCentral's output ---\n{}\n---", self.logs.tail());
        }
    }
}

/// Below an instance's directory.
fn data(directory: &Path) -> PathBuf {
    directory.join("data")
}

/// MeshCentral's program and where it keeps things.
fn program_and_directories(directory: &Path) -> Result<Vec<PathBuf>> {
    let program = prepared::place()?.join("node_modules/meshcentral");
    Ok(vec![program, "--datapath".into(), data(directory), "--filespath".into(), directory.join("files")])
}

/// No settings of a developer's own, and no place but the instance's for what a program wants to keep.
fn with_plain_environment(command: &mut std::process::Command, home: &Path) {
    command.env_clear().env("HOME", home).env("LANG", "C.UTF-8").env("TERM", "xterm-256color").current_dir(home);
    command.envs(std::env::var_os("PATH").map(|path| ("PATH", path)));
}

/// Nothing but one port on loopback, and nothing sent anywhere. The certificate's name needs a dot, else MeshCentral sends
/// multicasts (LAN mode).
fn config(port: u16, recordings: &Path) -> Value {
    json!({
        "settings": {
            "cert": "127.0.0.1",
            "port": port,
            "portBind": "127.0.0.1",
            "exactPorts": true,
            "redirPort": 0,
            "mpsPort": 0,
            "WANonly": true,
            "selfUpdate": false,
            "autoBackup": false,
            "plugins": {"enabled": false},
            "agentTimeStampServer": false,
            "noAgentUpdate": true,
            "webRtcConfig": {"iceServers": []},
            "allowLoginToken": true,
        },
        "domains": {"": {
            "title": "Remote support",
            "newAccounts": false,
            "sessionRecording": {"filepath": recordings, "protocols": [1, 2, 5, 200], "index": false},
        }},
    })
}
