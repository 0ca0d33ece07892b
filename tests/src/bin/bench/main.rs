//! Measures the real server in a release build, each figure against a stated peer on the same machine in the same run.
//!
//! Rounds of the server and of its peer alternate, and medians are compared, so that what else the machine does meets
//! both. Must not link the server, and must not judge: a missed target is printed, and ends with 1 only under `--check`.

#![expect(clippy::cast_precision_loss, reason = "counts and sizes here are far below 2^52")]

mod bare_route;
mod connections;
mod events;
mod extension;
mod help_center;
mod load;
mod machine;
mod memory;
mod panel;
mod queue;
mod ready;
mod sidebar;
mod table;

use std::net::SocketAddr;
use std::process::ExitCode;

use anyhow::{Context, Result};
use deskbridge_tests::scene::Scene;

use table::{Row, Verdict};

/// Senders at the same time, each on a connection of its own.
const SENDERS: usize = 64;
/// Rounds of the server and of its peer each; odd, so that there is a median.
const ROUNDS: usize = 5;

const USAGE: &str = "usage: bench [sidebar|events|connections|memory|panel|queue|extension|help-center] [--check]";

/// What can be measured by itself.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Bench {
    Sidebar,
    Events,
    Connections,
    Memory,
    Panel,
    Queue,
    Extension,
    HelpCenter,
}

impl Bench {
    const ALL: [(&str, Self); 8] = [
        ("sidebar", Self::Sidebar),
        ("events", Self::Events),
        ("connections", Self::Connections),
        ("memory", Self::Memory),
        ("panel", Self::Panel),
        ("queue", Self::Queue),
        ("extension", Self::Extension),
        ("help-center", Self::HelpCenter),
    ];

    async fn run(self) -> Result<Vec<Row>> {
        match self {
            Self::Sidebar => {
                let mut rows = sidebar::run().await?;
                rows.append(&mut ready::run().await?);
                Ok(rows)
            }
            Self::Events => events::run().await,
            Self::Connections => connections::run().await,
            Self::Memory => memory::run().await,
            Self::Panel => panel::run(),
            Self::Queue => queue::run().await,
            Self::Extension => extension::run().await,
            Self::HelpCenter => help_center::run().await,
        }
    }
}

fn main() -> ExitCode {
    match start() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("could not measure: {error:#}");
            ExitCode::FAILURE
        }
    }
}

#[tokio::main]
async fn start() -> Result<ExitCode> {
    deskbridge_tests::zendesk::install_crypto_provider();
    let mut check = false;
    let mut only = None;
    for argument in std::env::args().skip(1) {
        match argument.as_str() {
            bare_route::ARGUMENT => return bare_route::serve().await.map(|()| ExitCode::SUCCESS),
            "--check" => check = true,
            name => only = Some(Bench::ALL.iter().find(|(known, _)| *known == name).context(USAGE)?.1),
        }
    }
    println!("{}", machine::description()?);
    let mut rows = Vec::new();
    for (name, bench) in Bench::ALL {
        if only.is_none_or(|only| only == bench) {
            eprintln!("measuring: {name} …");
            rows.extend(bench.run().await.with_context(|| name.to_owned())?);
        }
    }
    table::print(&rows);
    let missed = rows.iter().any(|row| row.verdict == Verdict::Missed);
    Ok(if check && missed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Where a scene's server listens.
fn server_address(scene: &Scene) -> Result<SocketAddr> {
    Ok(scene.server.url().trim_start_matches("http://").parse()?)
}
