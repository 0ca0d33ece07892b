//! `deskbridge devices pair | list | revoke`: codes that pair browsers, and the browsers paired.

use std::process::ExitCode;

use anyhow::ensure;
use clap::Subcommand;
use deskbridge_shared::device::{PairingLink, normalize_code, pairing_code};
use uuid::Uuid;

use super::{ConfigFile, Opened, open};
use crate::clock::{random_bytes, rfc3339};
use crate::security::sha256;
use crate::store::{Device, DeviceGrant, NewPairingCode};

const MINUTE_MS: i64 = 60_000;
const DAY_MS: i64 = 24 * 60 * MINUTE_MS;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make a code that pairs a browser, or many.
    Pair(Pair),
    /// The paired browsers, newest first.
    List {
        /// How many.
        #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(i64).range(1..=100_000))]
        limit: i64,
        #[command(flatten)]
        file: ConfigFile,
    },
    /// End a browser's pairing, at once and for good.
    Revoke {
        /// The device's id.
        #[arg(required_unless_present = "agent", conflicts_with = "agent")]
        id: Option<Uuid>,
        /// All devices of the agent of that name.
        #[arg(long)]
        agent: Option<String>,
        #[command(flatten)]
        file: ConfigFile,
    },
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

fn one_line(text: &str) -> Result<String, &'static str> {
    let text = text.trim();
    let sound = (1..=200).contains(&text.chars().count()) && !text.chars().any(char::is_control);
    if sound { Ok(text.to_owned()) } else { Err("expected one line of 1 to 200 characters") }
}

pub(crate) async fn run(command: &Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Pair(wanted) => pair(wanted).await?,
        Command::List { limit, file } => {
            let opened = open(&file.load()?.server).await?;
            for device in opened.store.list_devices(*limit).await? {
                println!("{}", line(&device));
            }
        }
        Command::Revoke { id, agent, file } => {
            let opened = open(&file.load()?.server).await?;
            return revoke(&opened, *id, agent.as_deref()).await;
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn pair(wanted: &Pair) -> anyhow::Result<()> {
    let settings = wanted.file.load()?;
    let opened = open(&settings.server).await?;
    let known: Vec<String> = opened.store.connections().await?.into_iter().map(|connection| connection.name).collect();
    for name in &wanted.connections {
        ensure!(
            known.contains(name),
            "there is no connection “{name}” in the database; there is: {}. Put new ones there with `deskbridge config apply`.",
            known.join(", ")
        );
    }
    let mut connections = wanted.connections.clone();
    connections.sort();
    connections.dedup();
    let code = pairing_code(random_bytes());
    let now = opened.clock.now_ms();
    let expires_at = now + wanted.days.map_or(wanted.minutes * MINUTE_MS, |days| days * DAY_MS);
    let grant = DeviceGrant { agent_name: wanted.agent.clone(), agent_email: wanted.email.clone(), connections };
    opened
        .store
        .add_pairing_code(&NewPairingCode {
            code_hash: sha256(normalize_code(&code).unwrap_or_default().as_bytes()),
            grant: grant.clone(),
            uses: wanted.uses,
            created_at: now,
            expires_at,
        })
        .await?;
    println!("code     {code}");
    println!("link     {}", PairingLink::text(settings.server.public_origin(), &code));
    println!("agent    {}", agent(&grant));
    println!("for      {}", grant.connections.join(", "));
    println!("until    {}, {}", rfc3339(expires_at), if wanted.uses == 1 { "once".to_owned() } else { format!("{} times", wanted.uses) });
    println!("Whoever has the code can pair a browser with it. It is not shown again.");
    Ok(())
}

async fn revoke(opened: &Opened, id: Option<Uuid>, agent: Option<&str>) -> anyhow::Result<ExitCode> {
    let now = opened.clock.now_ms();
    if let Some(agent) = agent {
        let revoked = opened.store.revoke_devices_of(agent, now).await?;
        println!("{revoked} revoked");
        return Ok(if revoked > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    let Some(id) = id else { return Ok(ExitCode::FAILURE) };
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

fn line(device: &Device) -> String {
    let state = match (device.revoked_at, device.used_at) {
        (Some(at), _) => format!("revoked {}", rfc3339(at)),
        (None, Some(at)) => format!("used {}", rfc3339(at)),
        (None, None) => "not used yet".to_owned(),
    };
    let browser = device.browser.as_deref().map(|browser| format!(" ({browser})")).unwrap_or_default();
    format!(
        "{} paired {}, {state}: {}{browser}, {}, {}",
        device.id,
        rfc3339(device.paired_at),
        device.name,
        agent(&device.grant),
        device.grant.connections.join(", ")
    )
}
