//! A real Firefox ESR, driven through geckodriver.
//!
//! Knows an extension only by its directory. Nothing here knows a page of Deskbridge.

use std::ffi::OsString;
use std::fmt;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::process::Child;

use anyhow::{Context, Result, anyhow, bail, ensure};
use serde_json::{Value, json};
use tempfile::TempDir;
use thirtyfour::common::capabilities::firefox::FirefoxPreferences;
use thirtyfour::extensions::addons::firefox::FirefoxTools;
use thirtyfour::prelude::*;

use crate::extension::{ExtendedBrowser, built_extension};
use crate::logs::Logs;
use crate::page::{COMMAND_LIMIT, Page, end_session, port_in};
use crate::processes::leashed;

/// Where Debian's package `firefox-esr` puts it.
const FIREFOX: &str = "/usr/bin/firefox-esr";

/// Where `cargo xtask setup` puts its tools, below the target directory the running test lies in.
const GECKODRIVER: &str = "tools/bin/geckodriver";

/// Firefox draws an extension's address at random, unless it finds one in its settings (autotask-extension.md g.2).
const UUID: &str = "7c1d0f4e-5b7a-4f0e-9a55-0d1b6a3c2e10";

/// The window, in CSS pixels.
const WIDTH: u32 = 1280;
const HEIGHT: u32 = 1400;

/// What tests in Firefox need and a machine may lack: not every machine can spend the minutes that building geckodriver takes.
pub fn obtainable() -> Result<()> {
    ensure!(Path::new(FIREFOX).is_file(), "no Firefox: sudo apt-get install firefox-esr");
    geckodriver().map(drop)
}

/// One browser with a profile of its own. Dropping it ends browser and driver.
pub struct Firefox {
    page: Page,
    // Fields are dropped in order: the profile goes when nobody writes into it any more.
    geckodriver: Geckodriver,
    _profile: TempDir,
}

impl Firefox {
    /// Starts driver and browser, and installs the extension for as long as the browser runs; answers the origin of its pages too.
    pub async fn start(extension: &Path) -> Result<(Self, String)> {
        let id = id_of(extension)?;
        let uuids = json!({ id: UUID }).to_string();
        let firefox = Self::start_with(&[("extensions.webextensions.uuids", json!(uuids))]).await?;
        firefox.install(extension).await?;
        Ok((firefox, format!("moz-extension://{UUID}")))
    }

    /// Starts driver and browser with these preferences. It takes self-signed certificates for good.
    pub async fn start_with(preferences: &[(&str, Value)]) -> Result<Self> {
        let profile = tempfile::Builder::new().prefix("deskbridge-firefox-").tempdir().context("cannot make a directory")?;
        let geckodriver = Geckodriver::start(profile.path()).await?;
        let driver = WebDriver::builder(&geckodriver.url, capabilities(preferences)?)
            .request_timeout(COMMAND_LIMIT)
            .await
            .map_err(|error| anyhow!("no browser session: {error}\n{}", geckodriver.logs.tail()))?;
        let firefox = Self { page: Page::new(driver), geckodriver, _profile: profile };
        firefox.driver().set_page_load_timeout(COMMAND_LIMIT).await?;
        // What a frame shows below the window's edge cannot be clicked: the driver scrolls the frame alone.
        firefox.driver().set_window_rect(0, 0, WIDTH, HEIGHT).await?;
        Ok(firefox)
    }

    /// Installs the extension for as long as the browser runs; if it is there already, this is an update.
    pub async fn install(&self, extension: &Path) -> Result<()> {
        let directory = extension.to_str().context("the extension's directory is not UTF-8")?;
        let tools = FirefoxTools::new(self.driver().handle().clone());
        tools.install_addon(directory, Some(true)).await.context("the extension is not taken")
    }

    /// What went wrong in the extension's scripts: exceptions and rejected promises that nobody caught.
    pub fn extension_errors(&self) -> Result<Vec<String>> {
        self.geckodriver.logs.lines_matching("^JavaScript error: .*moz-extension://")
    }

    /// The driver's and the browser's own output, with what pages write to the console.
    pub const fn logs(&self) -> &Logs {
        &self.geckodriver.logs
    }
}

impl Deref for Firefox {
    type Target = Page;

    fn deref(&self) -> &Page {
        &self.page
    }
}

impl fmt::Debug for Firefox {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Firefox").field("page", &self.page).finish_non_exhaustive()
    }
}

impl Drop for Firefox {
    fn drop(&mut self) {
        // Elements a test still holds would otherwise try to end the session when they go.
        if self.driver().clone().leak().is_err() {
            return;
        }
        if let Err(error) = end_session(&self.geckodriver.url, &self.driver().session_id().to_string()) {
            eprintln!("Firefox does not end and is killed: {error:#}");
        }
    }
}

impl ExtendedBrowser<Firefox> {
    /// Starts Firefox with the built extension.
    pub async fn in_firefox() -> Result<Self> {
        let (browser, origin) = Firefox::start(&built_extension()?).await?;
        Ok(Self { browser, origin })
    }
}

/// The driver's process on its leash.
struct Geckodriver {
    leash: Child,
    url: String,
    logs: Logs,
}

impl Geckodriver {
    async fn start(directory: &Path) -> Result<Self> {
        let mut leash = leashed(&geckodriver()?)
            // An extension's own pages are among those that are opened with system access only.
            .args(["--port", "0", "--binary", FIREFOX, "--allow-system-access"])
            .env("TMPDIR", directory)
            // Caches and settings go there, whatever the profile.
            .env("HOME", directory)
            .env("MOZ_CRASHREPORTER_DISABLE", "1")
            .spawn()
            .context("cannot start sh")?;
        let logs = Logs::new();
        if let Some(output) = leash.stdout.take() {
            logs.follow(output);
        }
        if let Some(errors) = leash.stderr.take() {
            logs.follow(errors);
        }
        let mut geckodriver = Self { leash, url: String::new(), logs };
        let line = geckodriver.logs.wait_for("Listening on .*:[0-9]+").await?;
        let port = port_in(&line).with_context(|| format!("no port in '{line}'"))?;
        geckodriver.url = format!("http://127.0.0.1:{port}");
        Ok(geckodriver)
    }
}

impl Drop for Geckodriver {
    fn drop(&mut self) {
        drop(self.leash.stdin.take());
        if let Err(error) = self.leash.wait() {
            eprintln!("cannot wait for geckodriver's end: {error}");
        }
    }
}

fn capabilities(further: &[(&str, Value)]) -> Result<thirtyfour::FirefoxCapabilities> {
    let mut preferences = FirefoxPreferences::new();
    for (name, value) in further {
        preferences.set(name, value)?;
    }
    preferences.set("devtools.console.stdout.content", true)?;
    // The proxy of the environment, which may not know loopback.
    preferences.set("network.proxy.type", 0)?;
    let mut capabilities = DesiredCapabilities::firefox();
    capabilities.set_headless()?;
    capabilities.set_preferences(preferences)?;
    capabilities.accept_insecure_certs(true)?;
    Ok(capabilities)
}

/// An extension's id, from its manifest.
fn id_of(extension: &Path) -> Result<String> {
    let path = extension.join("manifest.json");
    let manifest = std::fs::read_to_string(&path).with_context(|| format!("no {}", path.display()))?;
    let manifest: Value = serde_json::from_str(&manifest).context("the manifest is not JSON")?;
    let id = manifest["browser_specific_settings"]["gecko"]["id"].as_str();
    id.map(str::to_owned).context("the manifest has no id for Firefox")
}

/// The one xtask built, else the one on PATH.
fn geckodriver() -> Result<PathBuf> {
    let own = std::env::current_exe().context("cannot find the running program")?;
    let built = own.ancestors().map(|directory| directory.join(GECKODRIVER));
    let path: OsString = std::env::var_os("PATH").unwrap_or_default();
    let on_path = std::env::split_paths(&path).map(|directory| directory.join("geckodriver"));
    match built.chain(on_path).find(|program| program.is_file()) {
        Some(program) => Ok(program),
        None => bail!("no geckodriver: cargo xtask setup"),
    }
}
