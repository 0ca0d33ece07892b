//! What a person at a machine has open on its screen: a page in Chromium.

use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use tempfile::TempDir;

use super::agent::unprivileged;
use super::{Display, with_plain_environment};
use crate::logs::Logs;
use crate::processes::{Leashed, leashed};

/// Its names, as Debian and its makers have them.
const PROGRAMS: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];

/// The whole screen is the page's, and nothing is sent anywhere. Its pages are ours, so it may do without a sandbox, which it has not everywhere.
const FLAGS: [&str; 11] = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-crash-reporter",
    "--no-default-browser-check",
    "--no-first-run",
    "--password-store=basic",
    "--window-position=0,0",
];

/// A browser on a [`Display`]. Ends when dropped.
#[derive(Debug)]
pub struct CustomersBrowser {
    // Fields are dropped in order: the profile goes when nobody writes into it any more.
    _program: Leashed,
    _profile: TempDir,
}

impl CustomersBrowser {
    /// Shows a page all over a screen of that size, as the account that agents run as. None: there is no such browser here.
    pub async fn start(display: &Display, (width, height): (u32, u32), url: &str) -> Result<Option<Self>> {
        let Some(program) = program() else { return Ok(None) };
        let profile = tempfile::Builder::new().prefix("deskbridge-screen-").tempdir().context("cannot make a directory")?;
        let mut command = leashed(&program);
        command.args(FLAGS).arg(format!("--window-size={width},{height}")).arg(format!("--app={url}")).arg("--kiosk");
        command.arg(format!("--user-data-dir={}", profile.path().join("profile").display()));
        with_plain_environment(&mut command, profile.path());
        command.env("DISPLAY", display.name()).env("TMPDIR", profile.path());
        if let Some((user, group)) = unprivileged()? {
            chown(profile.path(), Some(user), Some(group)).context("cannot give the browser its directory")?;
            command.uid(user).gid(group);
        }
        Ok(Some(Self { _program: Leashed::start(command, &Logs::new()).await?, _profile: profile }))
    }
}

fn program() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let directories: Vec<PathBuf> = std::env::split_paths(&path).collect();
    let places = PROGRAMS.iter().flat_map(|name| directories.iter().map(move |directory| Path::new(directory).join(name)));
    places.into_iter().find(|place| place.is_file())
}
