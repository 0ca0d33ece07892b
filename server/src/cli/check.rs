//! `deskbridge check`: tries each connection and prints one line each, with what to do about a failure.

use std::process::ExitCode;
use std::time::Duration;

use deskbridge_core::finding::{Finding, Mark};
use deskbridge_core::ids::{ConnectionId, TenantId};
use deskbridge_core::settings::{ConnectionSettings, Settings};
use deskbridge_use_cases::apply_settings::{Target, found_good};
use deskbridge_use_cases::connections::{BuildFault, Builder, Connection, open_settings};

use super::{ConfigFile, Opened, open};

/// One connection's checks together.
const PATIENCE: Duration = Duration::from_secs(90);

pub(crate) async fn run(file: &ConfigFile, only: Option<&str>) -> anyhow::Result<ExitCode> {
    let settings = file.load()?;
    let opened = open(&settings.server).await?;
    let Some(chosen) = chosen_settings(&opened, &settings, only).await? else { return Ok(ExitCode::FAILURE) };
    let mut failed = false;
    for connection in chosen {
        let name = connection.name.clone();
        let tried = connection.clone();
        let lines = if connection.disabled {
            vec![Finding::note("disabled", "nothing is tried; set disabled = false to use it")]
        } else {
            tokio::time::timeout(PATIENCE, check(&opened, connection, settings.server.public_origin()))
                .await
                .unwrap_or_else(|_| vec![Finding::bad("time", "the checks took too long; look at the network")])
        };
        if !tried.disabled && lines.iter().all(|line| line.mark != Mark::Bad) {
            let target = Target { store: opened.store.as_ref(), master_key: &opened.master_key, clock: &opened.clock };
            found_good(&target, &tried).await?;
        }
        for line in lines {
            let mark = match line.mark {
                Mark::Good => "ok  ",
                Mark::Note => "note",
                Mark::Bad => "FAIL",
            };
            failed |= line.mark == Mark::Bad;
            println!("{mark} {name}: {}: {}", line.what, line.message);
        }
    }
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// The file's connections and the stored ones it does not name, or the one of that name. `None`: there is none, and that was said.
pub(super) async fn chosen_settings(
    opened: &Opened,
    settings: &Settings,
    only: Option<&str>,
) -> anyhow::Result<Option<Vec<ConnectionSettings>>> {
    let mut all = settings.connection.clone();
    for row in opened.store.connections().await? {
        if !all.iter().any(|connection| connection.name == row.name) {
            all.push(open_settings(&opened.master_key, &row)?);
        }
    }
    all.retain(|connection| only.is_none_or(|name| connection.name == name));
    if all.is_empty() {
        match only {
            Some(name) => eprintln!("deskbridge: there is no connection “{name}”"),
            None => eprintln!("deskbridge: there is no connection; add a [[connection]] to the settings file"),
        }
        return Ok(None);
    }
    Ok(Some(all))
}

/// A connection of these settings, stored or not; nothing is contacted.
pub(super) fn build(opened: &Opened, settings: ConnectionSettings) -> Result<Connection, BuildFault> {
    let id = settings.id.unwrap_or_else(|| ConnectionId::new(&opened.clock));
    Builder::new(&opened.master_key).build(id, TenantId::main(), settings)
}

async fn check(opened: &Opened, settings: ConnectionSettings, public_url: &str) -> Vec<Finding> {
    let connection = match build(opened, settings) {
        Ok(connection) => connection,
        Err(fault) => return vec![Finding::bad("settings", fault.to_string())],
    };
    let mut findings = match &connection.engine {
        Some(engine) => engine.check(opened.clock.now_seconds()).await,
        None => vec![Finding::note("appliance", "none; this connection only makes tickets")],
    };
    findings.extend(connection.remarks());
    findings.extend(connection.help_desk.check(&connection.surroundings(public_url)).await);
    findings
}
