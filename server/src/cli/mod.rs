//! The command line: one file per command. Exit codes: 0 done, 1 failed, 2 wrong settings or wrong use.

mod check;
mod config;
mod devices;
mod events;
mod help_center;
mod links;
mod package;
mod tokens;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Parser, Subcommand};
use tokio_util::sync::CancellationToken;

use deskbridge_core::clock::Clock;
use deskbridge_core::ids::ConnectionId;
use deskbridge_core::settings::{Faults, LogFormat, ServerSection, Settings};
use deskbridge_security::seal::MasterKey;
use deskbridge_store::{self as store, Store, StoredConnection};
use deskbridge_use_cases::connections::sections;

use crate::serve;

/// Remote support inside the ticket.
#[derive(Debug, Parser)]
#[command(name = "deskbridge", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

/// Where the settings are.
#[derive(Debug, clap::Args)]
pub(crate) struct ConfigFile {
    /// Settings file; without it, deskbridge.toml here if there is one.
    #[arg(long, env = "DESKBRIDGE_CONFIG")]
    config: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the server.
    Serve {
        #[command(flatten)]
        file: ConfigFile,
    },
    /// Try each connection and say what to do about failures.
    Check {
        /// Only this one.
        connection: Option<String>,
        #[command(flatten)]
        file: ConfigFile,
    },
    /// Settings: apply a file's connections, export the stored ones, print the schema.
    Config {
        #[command(subcommand)]
        command: config::Command,
    },
    /// Build an installable package.
    Package {
        #[command(subcommand)]
        command: package::Command,
    },
    /// Events as they came, and what became of them.
    Events {
        #[command(subcommand)]
        command: events::Command,
    },
    /// Paired browsers, and the codes that pair them.
    Devices {
        #[command(subcommand)]
        command: devices::Command,
    },
    /// Tokens with which programs call: monitoring systems, Helpdesk Buttons.
    Tokens {
        #[command(subcommand)]
        command: tokens::Command,
    },
    /// The customer's button in the Help Center.
    HelpCenter {
        #[command(subcommand)]
        command: help_center::Command,
    },
    /// Print the links that lead from the ticket system to the appliance and back, ready to be entered.
    Links {
        /// Only this one's.
        connection: Option<String>,
        #[command(flatten)]
        file: ConfigFile,
    },
    /// Bring the database's schema up to date.
    Migrate {
        #[command(flatten)]
        file: ConfigFile,
    },
}

/// Reads the command line and does it.
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("deskbridge: cannot start: {error}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(run(arguments.command)) {
        Ok(code) => code,
        Err(error) => {
            if let Some(faults) = error.downcast_ref::<Faults>() {
                eprintln!("{faults}");
                ExitCode::from(2)
            } else {
                eprintln!("deskbridge: {error:#}");
                ExitCode::FAILURE
            }
        }
    }
}

async fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Serve { file } => serve(&file).await.map(|()| ExitCode::SUCCESS),
        Command::Check { connection, file } => check::run(&file, connection.as_deref()).await,
        Command::Config { command } => config::run(&command).await.map(|()| ExitCode::SUCCESS),
        Command::Package { command } => package::run(&command).map(|()| ExitCode::SUCCESS),
        Command::Events { command } => events::run(&command).await,
        Command::Devices { command } => devices::run(&command).await,
        Command::Tokens { command } => tokens::run(&command).await,
        Command::HelpCenter { command } => help_center::run(&command).await,
        Command::Links { connection, file } => links::run(&file, connection.as_deref()).await,
        Command::Migrate { file } => {
            let settings = file.load()?;
            store::open(&settings.server.database).await?;
            println!("the database is up to date");
            Ok(ExitCode::SUCCESS)
        }
    }
}

impl ConfigFile {
    /// The settings of the named file, or of `deskbridge.toml` here, or defaults; with the environment over them.
    pub(crate) fn load(&self) -> Result<Settings, Faults> {
        let here = Path::new("deskbridge.toml");
        let path = self.config.as_deref().or_else(|| here.exists().then_some(here));
        Settings::load(sections(), path, std::env::vars())
    }
}

/// What a command that works on the database needs.
pub(crate) struct Opened {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) master_key: MasterKey,
    pub(crate) clock: Clock,
}

pub(crate) async fn open(server: &ServerSection) -> anyhow::Result<Opened> {
    Ok(Opened {
        master_key: MasterKey::load_or_create(&server.master_key_file)?,
        store: store::open(&server.database).await?,
        clock: Clock::System,
    })
}

/// The stored connection of that name or id; a person is told which there are where there is none.
pub(crate) fn named_connection<'a>(stored: &'a [StoredConnection], name: &str) -> Option<&'a StoredConnection> {
    let id = name.parse::<ConnectionId>().ok();
    let found = stored.iter().find(|stored| stored.name == name || Some(stored.id) == id);
    if found.is_none() {
        let names = stored.iter().map(|stored| format!("“{}”", stored.name)).collect::<Vec<_>>().join(", ");
        eprintln!("deskbridge: there is no connection “{name}”; there are {names}");
    }
    found
}

async fn serve(file: &ConfigFile) -> anyhow::Result<()> {
    let settings = file.load()?;
    start_log(settings.server.log_format);
    let opened = open(&settings.server).await?;
    config::apply(&opened, &settings, false).await?;
    let stop = CancellationToken::new();
    let stopping = stop.clone();
    tokio::spawn(async move {
        stop_signal().await;
        stopping.cancel();
    });
    serve::run(opened.clock, settings.server, opened.master_key, opened.store, stop).await
}

/// SIGTERM or Ctrl-C.
async fn stop_signal() {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        if let Ok(mut terminate) = signal(SignalKind::terminate()) {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = tokio::signal::ctrl_c() => {}
            }
            return;
        }
    }
    let _ = tokio::signal::ctrl_c().await;
}

/// Crates that log what they read, which is what people said in a session: their lines are written at no level.
const NEVER_LOGGED: [&str; 3] = ["html5ever", "markup5ever", "tendril"];

fn start_log(format: LogFormat) {
    // tower-sessions writes a warning for each cookie that is none: anybody could fill the log.
    let usual = "info,sqlx=warn,tower_sessions=error,tower_sessions_core=error";
    let filter = tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| usual.into());
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_target(false);
    let started = match format {
        LogFormat::Text => {
            tracing::subscriber::set_global_default(builder.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stdout())).finish())
        }
        LogFormat::Json => tracing::subscriber::set_global_default(builder.json().finish()),
    };
    let level = tracing_log::AsLog::as_log(&tracing::level_filters::LevelFilter::current());
    let log = tracing_log::LogTracer::builder().with_max_level(level).ignore_all(NEVER_LOGGED).init();
    // Both answer an error only if a log was started before.
    debug_assert!(started.is_ok() && log.is_ok());
}
