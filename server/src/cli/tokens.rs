//! `deskbridge tokens create | list | revoke`: tokens with which monitoring systems and Helpdesk Buttons call this server.

use std::process::ExitCode;

use clap::Subcommand;
use deskbridge_core::api_purpose::ApiPurpose;
use deskbridge_core::clock::rfc3339;
use deskbridge_core::ids::ConnectionId;
use deskbridge_core::settings::ConnectionSettings;
use deskbridge_store::{ApiToken, StoredConnection};
use deskbridge_use_cases::api_tokens;
use deskbridge_use_cases::connections::open_settings;
use uuid::Uuid;

use super::devices::one_line;
use super::{ConfigFile, Opened, named_connection, open};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make a token. It is printed once and kept as a hash.
    Create(Create),
    /// The tokens, those in the settings too; what they are is not shown again.
    List {
        /// How many of those that were made here.
        #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(i64).range(1..=100_000))]
        limit: i64,
        #[command(flatten)]
        file: ConfigFile,
    },
    /// End a token at once and for good.
    Revoke {
        /// The token's id.
        id: Uuid,
        #[command(flatten)]
        file: ConfigFile,
    },
}

#[derive(Debug, clap::Args)]
pub(crate) struct Create {
    /// The connection it is for: its name or id.
    #[arg(long, value_name = "NAME")]
    connection: String,
    /// For people: who calls with it.
    #[arg(long, value_name = "NAME", value_parser = one_line)]
    name: String,
    /// What it is for: incidents or presses; may be given more than once.
    #[arg(long = "for", value_name = "PURPOSE", required = true, value_delimiter = ',')]
    purposes: Vec<ApiPurpose>,
    #[command(flatten)]
    file: ConfigFile,
}

pub(crate) async fn run(command: &Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Create(wanted) => create(wanted).await,
        Command::List { limit, file } => {
            list(&open(&file.load()?.server).await?, *limit).await?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Revoke { id, file } => revoke(&open(&file.load()?.server).await?, *id).await,
    }
}

async fn create(wanted: &Create) -> anyhow::Result<ExitCode> {
    let opened = open(&wanted.file.load()?.server).await?;
    let known = opened.store.connections().await?;
    let Some(connection) = named_connection(&known, &wanted.connection) else { return Ok(ExitCode::FAILURE) };
    let (secret, token) = api_tokens::create(&opened.clock, &connection.tenant, connection.id, &wanted.name, &wanted.purposes);
    opened.store.add_api_token(&token).await?;
    println!("token       {secret}");
    println!("name        {}", token.name);
    println!("connection  {}", connection.name);
    println!("for         {}", words(&token.purposes));
    println!("id          {}", token.id);
    println!("Send it as the header `Authorization: Bearer TOKEN`. It is not shown again.");
    Ok(ExitCode::SUCCESS)
}

async fn list(opened: &Opened, limit: i64) -> anyhow::Result<()> {
    let known = opened.store.connections().await?;
    for token in opened.store.list_api_tokens(limit).await? {
        println!("{}", line(&token, &known));
    }
    let uses = opened.store.settings_token_uses().await?;
    for row in &known {
        let settings = match open_settings(&opened.master_key, row) {
            Ok(settings) => settings,
            Err(fault) => {
                eprintln!("deskbridge: {}: {fault}", row.name);
                continue;
            }
        };
        let used_at = |name: &str| uses.iter().find(|used| used.connection == row.id && used.name == name).map(|used| used.used_at);
        for line in settings_lines(&settings, used_at) {
            println!("{line}");
        }
    }
    Ok(())
}

async fn revoke(opened: &Opened, id: Uuid) -> anyhow::Result<ExitCode> {
    if opened.store.revoke_api_token(id, opened.clock.now_ms()).await? {
        println!("revoked");
    } else if opened.store.list_api_tokens(i64::MAX).await?.iter().any(|token| token.id == id) {
        println!("it was revoked before");
    } else {
        eprintln!(
            "deskbridge: there is no token {id}; `deskbridge tokens list` shows their ids. One in the settings ends when it is removed there"
        );
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

fn words(purposes: &[ApiPurpose]) -> String {
    purposes.iter().map(|purpose| purpose.word()).collect::<Vec<_>>().join(", ")
}

fn name_of(id: ConnectionId, known: &[StoredConnection]) -> String {
    known.iter().find(|connection| connection.id == id).map_or_else(|| id.to_string(), |connection| connection.name.clone())
}

fn used(at: Option<i64>) -> String {
    at.map_or_else(|| "not used yet".to_owned(), |at| format!("used {}", rfc3339(at)))
}

fn line(token: &ApiToken, known: &[StoredConnection]) -> String {
    let state =
        token.revoked_at.map_or_else(|| used(token.last_used_at), |at| format!("revoked {}, {}", rfc3339(at), used(token.last_used_at)));
    let made = rfc3339(token.created_at);
    format!("{} made {made}, {state}: {}, for {}, {}", token.id, token.name, words(&token.purposes), name_of(token.connection, known))
}

fn settings_lines(settings: &ConnectionSettings, used_at: impl Fn(&str) -> Option<i64>) -> impl Iterator<Item = String> {
    settings.api_token.iter().map(move |token| {
        let state = used(used_at(&token.name));
        format!("in the settings, {state}: {}, for {}, {}", token.name, words(&token.purposes), settings.name)
    })
}
