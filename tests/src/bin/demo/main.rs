//! The demo: a real server between simulated systems, or with `--real` between real ones, for a person with a browser.
//!
//! Everything runs on this computer and is forgotten at the next start. `--check` plays the whole story by itself.

mod real;
mod simulated;

use std::path::Path;

use anyhow::{Context, Result, bail, ensure};

/// Settings, database and log; made anew at each start.
const DIRECTORY: &str = "demo-data";

/// In [`DIRECTORY`]: the browser extension, set up for this demo.
const EXTENSION: &str = "extension";

const USAGE: &str = "usage: demo [--real [--simulated-tickets]] [--check]";

#[tokio::main]
async fn main() -> Result<()> {
    let (mut check, mut is_real, mut simulated_tickets) = (false, false, false);
    for argument in std::env::args().skip(1) {
        match argument.as_str() {
            "--check" => check = true,
            "--real" => is_real = true,
            "--simulated-tickets" => simulated_tickets = true,
            _ => bail!("{USAGE}"),
        }
    }
    ensure!(is_real || !simulated_tickets, "{USAGE}");
    forget_last_time(Path::new(DIRECTORY))?;
    if is_real { real::run(check, simulated_tickets).await } else { simulated::run(check).await }
}

/// Removes what the last demo left, and nothing that is not a demo's.
fn forget_last_time(directory: &Path) -> Result<()> {
    if !directory.exists() {
        return Ok(());
    }
    ensure!(directory.join("deskbridge.toml").is_file(), "{} is there and is not the demo's: move it away", directory.display());
    std::fs::remove_dir_all(directory).with_context(|| format!("cannot remove {}", directory.display()))
}
