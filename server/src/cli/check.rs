//! `deskbridge check`: tries each connection and prints one line each, with what to do about a failure.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use super::{ConfigFile, Opened, open};
use crate::appliance;
use crate::clock::Clock;
use crate::config::{ConnectionSettings, Settings};
use crate::connections::{Connection, open_settings};
use crate::support::offer::Offer;
use crate::tickets::TicketError;

/// A clock this far off makes tokens and sweeps go wrong.
const CLOCK_TOLERANCE_SECONDS: i64 = 30;
/// One connection's checks together.
const PATIENCE: Duration = Duration::from_secs(90);

/// How a line begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mark {
    Good,
    Note,
    Bad,
}

struct Line {
    mark: Mark,
    what: &'static str,
    said: String,
}

fn good(what: &'static str, said: impl Into<String>) -> Line {
    Line { mark: Mark::Good, what, said: said.into() }
}

fn note(what: &'static str, said: impl Into<String>) -> Line {
    Line { mark: Mark::Note, what, said: said.into() }
}

fn bad(what: &'static str, said: impl Into<String>) -> Line {
    Line { mark: Mark::Bad, what, said: said.into() }
}

pub(crate) async fn run(file: &ConfigFile, only: Option<&str>) -> anyhow::Result<ExitCode> {
    let settings = file.load()?;
    let opened = open(&settings.server).await?;
    let Some(chosen) = chosen_settings(&opened, &settings, only).await? else { return Ok(ExitCode::FAILURE) };
    let mut failed = false;
    for connection in chosen {
        let name = connection.name.clone();
        let lines = if connection.disabled {
            vec![note("disabled", "nothing is tried; set disabled = false to use it")]
        } else {
            tokio::time::timeout(PATIENCE, check(connection, &opened.clock))
                .await
                .unwrap_or_else(|_| vec![bad("time", "the checks took too long; look at the network")])
        };
        for line in lines {
            let mark = match line.mark {
                Mark::Good => "ok  ",
                Mark::Note => "note",
                Mark::Bad => "FAIL",
            };
            failed |= line.mark == Mark::Bad;
            println!("{mark} {name}: {}: {}", line.what, line.said);
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

async fn check(settings: ConnectionSettings, clock: &Clock) -> Vec<Line> {
    let connection = match Connection::build(settings, 0) {
        Ok(connection) => connection,
        Err(fault) => return vec![bad("settings", fault.to_string())],
    };
    let mut lines = check_appliance(&connection, clock).await;
    lines.extend(check_zendesk(&connection).await);
    lines.extend(check_autotask(&connection).await);
    lines
}

/// `get_api_info` proves credentials, clock and permissions in one call (beyondtrust.md B.5).
async fn check_appliance(connection: &Connection, clock: &Clock) -> Vec<Line> {
    let info = match connection.appliance.api_info().await {
        Ok(info) => info,
        Err(error @ appliance::Error::Denied { .. }) => return vec![bad("appliance login", error.to_string())],
        Err(error) => return vec![bad("appliance", error.to_string())],
    };
    let mut lines =
        vec![good("appliance login", format!("API {} of {}", info.api_version, info.company_name.as_deref().unwrap_or("the appliance")))];
    if let Some(theirs) = info.timestamp {
        let apart = clock.now_seconds() - theirs;
        lines.push(if apart.abs() <= CLOCK_TOLERANCE_SECONDS {
            good("clock", format!("{} s apart", apart.abs()))
        } else {
            bad(
                "clock",
                format!(
                    "this machine is {} s {} the appliance; set both clocks by NTP",
                    apart.abs(),
                    if apart > 0 { "ahead of" } else { "behind" }
                ),
            )
        });
    }
    let permission = |what, allowed: Option<bool>, missing: &str| match allowed {
        Some(true) => good(what, "given"),
        Some(false) => bad(what, missing),
        None => note(what, "the appliance does not tell; old versions do not"),
    };
    lines.push(permission(
        "permission for session keys",
        info.may_command(),
        "give the API account Full Access to the Command API (Management > API Configuration)",
    ));
    let missing = "give the API account access to Support Session Reports and Recordings (Management > API Configuration)";
    lines.push(permission("permission for session reports", info.may_report_sessions(), missing));
    lines
}

async fn check_zendesk(connection: &Connection) -> Vec<Line> {
    let Some(door) = &connection.zendesk else { return Vec::new() };
    let mut lines = Vec::new();
    match door.api.whoami().await {
        Ok((email, role)) => lines.push(good("Zendesk login", format!("{email} ({role})"))),
        Err(error) => return vec![bad("Zendesk login", error.to_string())],
    }
    let api = Arc::clone(&door.api);
    lines.push(match door.key.get(|| async move { api.app_public_key().await }).await {
        Ok(_) => good("sidebar key", if door.settings.public_key_file.is_some() { "from the file" } else { "fetched from the account" }),
        Err(error) => bad("sidebar key", error.to_string()),
    });
    match door.api.installation_settings().await {
        Ok(installation) => {
            let offer = Offer::combine(&connection.settings.panel, &installation);
            let methods: Vec<_> = offer.methods.iter().map(|method| method.name()).collect();
            let methods = if methods.is_empty() { "no Jump".to_owned() } else { methods.join(", ") };
            lines.push(good("panel", format!("{methods}; {} Jumpoints; {} issues", offer.jumpoints.len(), offer.issues.len())));
            let named = installation.hostname.as_deref().filter(|name| !connection.settings.appliance.host.starts_with(name));
            if let Some(name) = named {
                let host = &connection.settings.appliance.host;
                lines.push(note(
                    "host name",
                    format!("the app's settings in Zendesk name {name}, this connection {host}; sessions go to {host}"),
                ));
            }
            for line in &installation.unreadable_issues {
                lines.push(note("issues", format!("“{line}” in the app's settings is no code=Name and is left out")));
            }
        }
        // With another id no sidebar token's audience is ours.
        Err(TicketError::Refused(refused)) => lines.push(bad("installation", refused)),
        Err(error) => lines.push(note("panel", format!("{error}; [connection.panel] alone decides what is offered"))),
    }
    lines
}

/// Nothing is written: the right to add is believed as far as the tenant tells of it.
async fn check_autotask(connection: &Connection) -> Vec<Line> {
    let Some(autotask) = &connection.autotask else { return Vec::new() };
    let mut lines = Vec::new();
    match autotask.zone().await {
        Ok(zone) => lines.push(good("Autotask zone", format!("{} ({})", zone.name.as_deref().unwrap_or("without a name"), zone.api))),
        Err(error) => return vec![bad("Autotask zone", error.to_string())],
    }
    match autotask.threshold().await {
        Ok((used, threshold)) => lines.push(good("Autotask login", format!("{used} of {threshold} requests of this hour are used"))),
        Err(error) => {
            lines.push(bad("Autotask login", error.to_string()));
            return lines;
        }
    }
    lines.push(match autotask.note_type_shown().await {
        Ok(note_type) => good("note type", note_type),
        Err(error) => bad("note type", error.to_string()),
    });
    for finding in autotask.findings().await {
        lines.push(match finding.said {
            Ok(said) => good(finding.what, said),
            Err(error) if finding.is_needed => bad(finding.what, error.to_string()),
            Err(error) => note(finding.what, error.to_string()),
        });
    }
    lines
}
