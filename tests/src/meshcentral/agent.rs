//! MeshCentral's real agent for Linux, and what stands on a customer's machine beside it: a screen, and MeshCentral Assistant.

use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use super::{Control, RealMeshCentral, with_plain_environment};
use crate::logs::Logs;
use crate::postgres::account_named;
use crate::processes::{self, Leashed, Signal, leashed};
use crate::server::until;

/// MeshCentral's numbers of its Linux agents.
const AGENT: &str = if cfg!(target_arch = "aarch64") { "26" } else { "6" };

/// The agent's local socket, in its working directory.
const PIPE: &str = "DAIPC";

/// From the agent's start until MeshCentral has it on line and gave it its core.
const START_LIMIT: Duration = Duration::from_mins(1);

/// A packet from the agent.
const PACKET_LIMIT: Duration = Duration::from_secs(20);

/// What a [`Display`] shows everywhere: red, green, blue.
pub(super) const SCREEN_COLOUR: [u8; 3] = [255, 204, 0];

/// A virtual screen of one colour. Ends when dropped.
#[derive(Debug)]
pub struct Display {
    _server: Leashed,
    name: String,
}

impl Display {
    /// Says why there can be no screen.
    pub fn obtainable() -> Result<()> {
        for program in ["Xvfb", "xsetroot"] {
            let path = std::env::var_os("PATH").unwrap_or_default();
            let there = std::env::split_paths(&path).any(|directory| directory.join(program).is_file());
            ensure!(there, "{program} is not installed: cargo xtask setup");
        }
        Ok(())
    }

    /// Starts one of 800 × 600 pixels.
    pub async fn start() -> Result<Self> {
        Self::start_of(800, 600).await
    }

    /// Starts one of that many pixels.
    pub async fn start_of(width: u32, height: u32) -> Result<Self> {
        Self::obtainable()?;
        let logs = Logs::new();
        let mut command = leashed(Path::new("Xvfb"));
        // It takes a free number and tells it on standard output.
        command.args(["-displayfd", "1", "-screen", "0", &format!("{width}x{height}x24"), "-nolisten", "tcp", "-noreset"]);
        let server = Leashed::start(command, &logs).await?;
        let number = logs.wait_for("^[0-9]+$").await.context("Xvfb did not start")?;
        let name = format!(":{number}");
        let [red, green, blue] = SCREEN_COLOUR;
        let drawn = tokio::process::Command::new("xsetroot")
            .args(["-solid", &format!("#{red:02x}{green:02x}{blue:02x}")])
            .env("DISPLAY", &name)
            .kill_on_drop(true)
            .status();
        let drawn = tokio::time::timeout(PACKET_LIMIT, drawn).await.context("xsetroot does not end")?.context("cannot start xsetroot")?;
        ensure!(drawn.success(), "nothing was drawn: {drawn}");
        Ok(Self { _server: server, name })
    }

    /// `:NUMBER`.
    pub fn name(&self) -> &str {
        &self.name
    }
}

/// One agent with a directory of its own, run as an unprivileged account. Killed when dropped.
#[derive(Debug)]
pub struct RealAgent {
    process: Option<Leashed>,
    logs: Logs,
    directory: TempDir,
    name: String,
    display: Option<String>,
    id: String,
}

impl RealAgent {
    /// Downloads the agent from this MeshCentral, runs it and waits until it is on line and ready. `name` must not be another machine's.
    pub async fn start(mesh: &RealMeshCentral, name: &str, display: Option<&Display>) -> Result<Self> {
        let directory = tempfile::Builder::new().prefix("deskbridge-agent-").tempdir().context("cannot make a directory")?;
        let group = mesh.group_id().rsplit('/').next().unwrap_or_default();
        let program = directory.path().join("meshagent");
        download(mesh, "meshagents", &[("id", AGENT)], &program).await?;
        download(mesh, "meshsettings", &[("id", group)], &directory.path().join("meshagent.msh")).await?;
        std::fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).context("cannot make the agent a program")?;
        if let Some((user, group)) = unprivileged()? {
            chown(directory.path(), Some(user), Some(group)).context("cannot give the agent its directory")?;
        }
        let mut agent = Self {
            process: None,
            logs: Logs::new(),
            directory,
            name: name.to_owned(),
            display: display.map(|display| display.name.clone()),
            id: String::new(),
        };
        agent.run(mesh).await?;
        Ok(agent)
    }

    /// The machine's id, `node//…`.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The machine's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What the agent printed.
    pub const fn logs(&self) -> &Logs {
        &self.logs
    }

    /// Ends the agent at once; MeshCentral then shows the machine as off line.
    pub fn kill_hard(&mut self) -> Result<()> {
        self.process.take().context("the agent does not run").map(drop)
    }

    /// Kills the agent if it runs, and starts it again as the same machine; waits until it is on line and ready.
    pub async fn restart(&mut self, mesh: &RealMeshCentral) -> Result<()> {
        drop(self.process.take());
        self.run(mesh).await
    }

    /// Waits until the agent is on line, for instance after MeshCentral was restarted.
    pub async fn wait_until_on_line(&self, mesh: &RealMeshCentral) -> Result<()> {
        self.found_on_line(&mesh.admin().await?).await.map(drop)
    }

    /// Sends a signal; [`Signal::Stop`] makes an agent that hangs.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        processes::send(self.process.as_ref().context("the agent does not run")?.id(), signal)
    }

    /// Lets the agent report this hardware, for machines in which it finds none (`identifiers`: `product_name`, `bios_serial`, …).
    pub async fn report_hardware(&self, mesh: &RealMeshCentral, hardware: &Value) -> Result<()> {
        let admin = mesh.admin().await?;
        let message = json!({"action": "sysinfo", "data": {"hash": "of a test", "hardware": hardware}});
        // The console's line is cut at quotes: base64 holds none.
        let message = BASE64_STANDARD.encode(message.to_string());
        let script = format!("require('MeshAgent').SendCommand(JSON.parse(Buffer.from('{message}','base64').toString()))");
        admin.agent_console(&self.id, &format!("eval \"{script}\""))?;
        admin.event("the hardware is stored", |event| event["action"] == "sysinfohash" && event["nodeid"] == *self.id).await?;
        Ok(())
    }

    fn pipe(&self) -> PathBuf {
        self.directory.path().join(PIPE)
    }

    async fn run(&mut self, mesh: &RealMeshCentral) -> Result<()> {
        let admin = mesh.admin().await?;
        // The agent makes it when its core runs.
        std::fs::remove_file(self.pipe()).ok();
        let mut command = leashed(&self.directory.path().join("meshagent"));
        command.arg("run").arg(format!("--agentName={}", self.name));
        with_plain_environment(&mut command, self.directory.path());
        command.env("SHELL", "/bin/bash").envs(self.display.as_ref().map(|display| ("DISPLAY", display)));
        if let Some((user, group)) = unprivileged()? {
            command.uid(user).gid(group);
        }
        self.process = Some(Leashed::start(command, &self.logs).await?);
        self.id = self.found_on_line(&admin).await?;
        Ok(())
    }

    async fn found_on_line(&self, admin: &Control) -> Result<String> {
        let id = std::sync::Mutex::new(String::new());
        until("the agent is on line and its core runs", START_LIMIT, async || {
            let machines = admin.machines().await?;
            let own = machines.iter().find(|machine| machine["name"] == *self.name && is_on_line(machine));
            if let Some(own) = own.and_then(|machine| machine["_id"].as_str()) {
                own.clone_into(&mut id.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
            }
            Ok(own.is_some() && self.pipe().exists())
        })
        .await
        .with_context(|| format!("the agent printed: {}", self.logs.tail()))?;
        Ok(id.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner))
    }
}

/// `conn` is a sum of bits; 1 is the agent.
fn is_on_line(machine: &Value) -> bool {
    machine["conn"].as_u64().is_some_and(|conn| conn & 1 == 1) && machine["agent"]["core"].is_string()
}

/// MeshCentral Assistant of a person at the machine: it speaks to the agent over the agent's local socket, as the real one does (meshcore.js,
/// "DAIPC"). Ended when dropped; a request for help stands until it is taken back.
#[derive(Debug)]
pub struct Assistant {
    stream: UnixStream,
}

impl Assistant {
    /// A person signs in to the machine.
    pub async fn start(agent: &RealAgent, person: &str) -> Result<Self> {
        let mut assistant = Self { stream: UnixStream::connect(agent.pipe()).await.context("the agent has no local socket")? };
        assistant.send(&json!({"cmd": "register", "value": person})).await?;
        let answer = assistant.next().await?;
        ensure!(answer["cmd"] == "serverstate", "{answer}");
        Ok(assistant)
    }

    /// "Request help".
    pub async fn request_help(&mut self, text: &str) -> Result<()> {
        self.send(&json!({"cmd": "requesthelp", "value": text})).await
    }

    /// "Cancel help request".
    pub async fn cancel_help(&mut self) -> Result<()> {
        self.send(&json!({"cmd": "cancelhelp"})).await
    }

    async fn send(&mut self, message: &Value) -> Result<()> {
        let text = message.to_string();
        // The length counts itself.
        let length = u32::try_from(text.len() + 4)?;
        self.stream.write_all(&[&length.to_le_bytes(), text.as_bytes()].concat()).await.context("the agent does not listen")
    }

    async fn next(&mut self) -> Result<Value> {
        let packet = async {
            let length = self.stream.read_u32_le().await?;
            let mut text = vec![0; usize::try_from(length)?.saturating_sub(4)];
            self.stream.read_exact(&mut text).await?;
            anyhow::Ok(serde_json::from_slice(&text)?)
        };
        tokio::time::timeout(PACKET_LIMIT, packet).await.context("the agent says nothing")?
    }
}

/// Anna, signed in at the machine, asks for help; waits until MeshCentral shows it.
pub async fn request_help(mesh: &RealMeshCentral, agent: &RealAgent, text: &str) -> Result<Assistant> {
    let admin = mesh.admin().await?;
    let mut assistant = Assistant::start(agent, "anna").await?;
    assistant.request_help(text).await?;
    admin
        .event("the request for help", |event| {
            event["action"] == "devicesessions" && event["nodeid"] == *agent.id && event["sessions"]["help"]["anna"] == text
        })
        .await?;
    Ok(assistant)
}

async fn download(mesh: &RealMeshCentral, what: &str, query: &[(&str, &str)], to: &Path) -> Result<()> {
    let answer = mesh.http()?.get(format!("{}/{what}", mesh.url())).query(query).send().await.with_context(|| format!("no {what}"))?;
    let answer = answer.error_for_status().with_context(|| format!("no {what}"))?;
    std::fs::write(to, answer.bytes().await?).with_context(|| format!("cannot write {}", to.display()))
}

/// The agent must not do as root what a technician types; root lends it `nobody`.
pub(super) fn unprivileged() -> Result<Option<(u32, u32)>> {
    let ours = std::os::unix::fs::MetadataExt::uid(&std::fs::metadata("/proc/self")?);
    if ours != 0 {
        return Ok(None);
    }
    let accounts = std::fs::read_to_string("/etc/passwd").context("cannot read /etc/passwd")?;
    account_named("nobody", &accounts).map(Some).context("there is no account 'nobody' to run the agent as")
}
