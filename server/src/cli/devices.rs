//! `deskbridge devices pair | codes | withdraw | list | revoke`: codes that pair browsers, and the browsers paired.

use std::process::ExitCode;

use anyhow::Context;
use clap::Subcommand;
use deskbridge_core::clock::{random_bytes, rfc3339};
use deskbridge_core::ids::{ConnectionId, TenantId};
use deskbridge_security::sha256;
use deskbridge_shared::device::{PairingLink, normalize_code, pairing_code};
use deskbridge_store::{CodeId, Device, DeviceGrant, DevicesOf, NewPairingCode, PairingCode, StoredConnection, Withdrawal};
use uuid::Uuid;

use super::{ConfigFile, Opened, open};

const MINUTE_MS: i64 = 60_000;
const DAY_MS: i64 = 24 * 60 * MINUTE_MS;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make a code that pairs a browser, or many.
    Pair(Pair),
    /// The codes, newest first; what they are is not shown again.
    Codes {
        /// How many.
        #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(i64).range(1..=100_000))]
        limit: i64,
        #[command(flatten)]
        file: ConfigFile,
    },
    /// End a code before its time; browsers it has paired stay paired.
    Withdraw {
        /// The code's id.
        id: CodeId,
        #[command(flatten)]
        file: ConfigFile,
    },
    /// The paired browsers, newest first.
    List {
        /// How many.
        #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(i64).range(1..=100_000))]
        limit: i64,
        #[command(flatten)]
        file: ConfigFile,
    },
    /// End a browser's pairing, or several, at once and for good.
    Revoke {
        #[command(flatten)]
        which: Which,
        #[command(flatten)]
        file: ConfigFile,
    },
}

/// Whose pairing ends. Of several devices, the codes that could pair more of them end, too.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
pub(crate) struct Which {
    /// The device's id.
    id: Option<Uuid>,
    /// All devices of the agent of that name, or of that address where they were given no name.
    #[arg(long, value_name = "NAME", value_parser = one_line)]
    agent: Option<String>,
    /// All devices of the agent with that address.
    #[arg(long, value_name = "ADDRESS", value_parser = one_line)]
    email: Option<String>,
    /// All devices paired with the code of that id.
    #[arg(long, value_name = "CODE_ID")]
    code: Option<CodeId>,
}

impl Which {
    /// Unless it is one device.
    fn several(&self) -> Option<DevicesOf> {
        let agent = self.agent.clone().map(DevicesOf::Agent);
        let email = self.email.clone().map(DevicesOf::Email);
        agent.or(email).or(self.code.map(DevicesOf::Code))
    }
}

#[derive(Debug, clap::Args)]
pub(crate) struct Pair {
    /// What the browser may be used for; may be given more than once.
    #[arg(long = "connection", value_name = "NAME", required = true)]
    connections: Vec<String>,
    /// The agent's name.
    #[arg(long, value_name = "NAME", value_parser = one_line)]
    agent: Option<String>,
    /// The agent's address in the ticket systems.
    #[arg(long, value_name = "ADDRESS", value_parser = one_line)]
    email: Option<String>,
    /// How long the code can be used.
    #[arg(long, default_value_t = 15, value_parser = clap::value_parser!(i64).range(1..=1_440))]
    minutes: i64,
    /// How long the code can be used, in days: for a rollout.
    #[arg(long, conflicts_with = "minutes", value_parser = clap::value_parser!(i64).range(1..=365))]
    days: Option<i64>,
    /// How many browsers it pairs.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(i32).range(1..=100_000))]
    uses: i32,
    #[command(flatten)]
    file: ConfigFile,
}

pub(super) fn one_line(text: &str) -> Result<String, &'static str> {
    let text = text.trim();
    let sound = (1..=200).contains(&text.chars().count()) && !text.chars().any(char::is_control);
    if sound { Ok(text.to_owned()) } else { Err("expected one line of 1 to 200 characters") }
}

pub(crate) async fn run(command: &Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Pair(wanted) => pair(wanted).await?,
        Command::Codes { limit, file } => {
            let opened = open(&file.load()?.server).await?;
            let now = opened.clock.now_ms();
            let known = opened.store.connections().await?;
            for code in opened.store.list_pairing_codes(*limit).await? {
                println!("{}", code_line(&code, &known, now));
            }
        }
        Command::Withdraw { id, file } => {
            let opened = open(&file.load()?.server).await?;
            match opened.store.withdraw_pairing_code(*id, opened.clock.now_ms()).await? {
                Withdrawal::Withdrawn => println!("withdrawn"),
                Withdrawal::EndedBefore => println!("it had ended before"),
                Withdrawal::UnknownCode => {
                    eprintln!("deskbridge: there is no code {id}; `deskbridge devices codes` shows their ids");
                    return Ok(ExitCode::FAILURE);
                }
            }
        }
        Command::List { limit, file } => {
            let opened = open(&file.load()?.server).await?;
            let known = opened.store.connections().await?;
            for device in opened.store.list_devices(*limit).await? {
                println!("{}", line(&device, &known));
            }
        }
        Command::Revoke { which, file } => {
            let opened = open(&file.load()?.server).await?;
            return revoke(&opened, which).await;
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn pair(wanted: &Pair) -> anyhow::Result<()> {
    let settings = wanted.file.load()?;
    let opened = open(&settings.server).await?;
    let known = opened.store.connections().await?;
    let mut connections = Vec::new();
    for name in &wanted.connections {
        let found = known.iter().find(|connection| connection.name == *name || connection.id.to_string() == *name);
        let names = || known.iter().map(|connection| connection.name.as_str()).collect::<Vec<_>>().join(", ");
        let found = found.with_context(|| {
            format!(
                "there is no connection “{name}” in the database; there is: {}. Put new ones there with `deskbridge config apply`.",
                names()
            )
        })?;
        connections.push(found.id);
    }
    connections.sort_unstable();
    connections.dedup();
    let code = pairing_code(random_bytes());
    let now = opened.clock.now_ms();
    let expires_at = now + wanted.days.map_or(wanted.minutes * MINUTE_MS, |days| days * DAY_MS);
    let grant = DeviceGrant { agent_name: wanted.agent.clone(), agent_email: wanted.email.clone(), connections };
    let code_hash = sha256(normalize_code(&code).unwrap_or_default().as_bytes());
    let new = NewPairingCode { tenant: TenantId::main(), code_hash, grant: grant.clone(), uses: wanted.uses, created_at: now, expires_at };
    opened.store.add_pairing_code(&new).await?;
    println!("code     {code}");
    println!("link     {}", PairingLink::text(settings.server.public_origin(), &code));
    println!("agent    {}", agent(&grant));
    println!("for      {}", names(&grant.connections, &known).join(", "));
    println!("until    {}, {}", rfc3339(expires_at), if wanted.uses == 1 { "once".to_owned() } else { format!("{} times", wanted.uses) });
    println!("id       {}", CodeId::of(&code_hash));
    println!("Whoever has the code can pair a browser with it. It is not shown again.");
    Ok(())
}

async fn revoke(opened: &Opened, which: &Which) -> anyhow::Result<ExitCode> {
    let now = opened.clock.now_ms();
    if let Some(several) = which.several() {
        let revoked = opened.store.revoke_devices_of(&several, now).await?;
        match revoked.codes {
            0 => println!("{} revoked", revoked.devices),
            codes => println!("{} revoked, codes withdrawn: {codes}", revoked.devices),
        }
        return Ok(if revoked.devices + revoked.codes > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    let Some(id) = which.id else { return Ok(ExitCode::FAILURE) };
    if opened.store.revoke_device(id, now).await? {
        println!("revoked");
    } else if opened.store.device(id).await?.is_some() {
        println!("it was revoked before");
    } else {
        eprintln!("deskbridge: there is no device {id}; `deskbridge devices list` shows their ids");
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

fn agent(grant: &DeviceGrant) -> String {
    match (&grant.agent_name, &grant.agent_email) {
        (Some(name), Some(email)) => format!("{name} <{email}>"),
        (Some(one), None) | (None, Some(one)) => one.clone(),
        (None, None) => "anybody".to_owned(),
    }
}

/// The connections' names, in their order. A grant ends with its connection, so each has one.
fn names(ids: &[ConnectionId], known: &[StoredConnection]) -> Vec<String> {
    let name = |id: &ConnectionId| {
        known.iter().find(|connection| connection.id == *id).map_or_else(|| id.to_string(), |connection| connection.name.clone())
    };
    let mut names: Vec<String> = ids.iter().map(name).collect();
    names.sort();
    names
}

fn connections(grant: &DeviceGrant, known: &[StoredConnection]) -> String {
    if grant.connections.is_empty() { "for nothing any more".to_owned() } else { names(&grant.connections, known).join(", ") }
}

fn code_line(code: &PairingCode, known: &[StoredConnection], now: i64) -> String {
    let until = rfc3339(code.expires_at);
    let state = match code.uses_left {
        _ if code.expires_at <= now => format!("ended {until}"),
        0 => "used up".to_owned(),
        1 => format!("1 use left until {until}"),
        uses => format!("{uses} uses left until {until}"),
    };
    format!(
        "{} made {}, {state}, {} paired: {}, {}",
        code.id,
        rfc3339(code.created_at),
        code.paired,
        agent(&code.grant),
        connections(&code.grant, known)
    )
}

fn line(device: &Device, known: &[StoredConnection]) -> String {
    let state = match (device.revoked_at, device.used_at) {
        (Some(at), _) => format!("revoked {}", rfc3339(at)),
        (None, Some(at)) => format!("used {}", rfc3339(at)),
        (None, None) => "not used yet".to_owned(),
    };
    let browser = device.browser.as_deref().map(|browser| format!(" ({browser})")).unwrap_or_default();
    let code = device.code_hash.as_ref().map(|hash| format!(", code {}", CodeId::of(hash))).unwrap_or_default();
    format!(
        "{} paired {}, {state}: {}{browser}, {}, {}{code}",
        device.id,
        rfc3339(device.paired_at),
        device.name,
        agent(&device.grant),
        connections(&device.grant, known)
    )
}
