//! A real Chromium, driven through chromedriver.
//!
//! Nothing here knows a page of Deskbridge.

use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, anyhow};
use serde_json::{Value, json};
use tempfile::TempDir;
use thirtyfour::prelude::*;
use thirtyfour::{BrowserLogEntry, LoggingPrefsLogLevel};

use crate::logs::Logs;
use crate::page::{COMMAND_LIMIT, Page, end_session, port_in};
use crate::processes::{self, Signal};
use crate::server::loopback_client;

/// Where Debian's packages `chromium` and `chromium-driver` put them.
const CHROMIUM: &str = "/usr/bin/chromium";
const CHROMEDRIVER: &str = "/usr/bin/chromedriver";

/// No calls home, nothing that depends on the machine's screen, keyring or shared memory. As root, Chromium runs
/// without a sandbox or not at all.
const FLAGS: [&str; 15] = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-sync",
    "--disable-crash-reporter",
    "--no-default-browser-check",
    "--no-first-run",
    "--no-proxy-server",
    "--password-store=basic",
    "--hide-scrollbars",
];

/// How the browser shall be.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Width of the page in CSS pixels.
    pub width: u32,
    /// Height of the page in CSS pixels.
    pub height: u32,
    /// Whether pages are told that the user prefers dark colours.
    pub dark: bool,
    /// The browser's language, for instance `de-DE`.
    pub language: String,
    /// Directories of unpacked extensions.
    pub extensions: Vec<PathBuf>,
    /// Takes self-signed certificates for good.
    pub accept_invalid_certificates: bool,
    /// Further command-line flags of Chromium.
    pub flags: Vec<String>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            width: 1280,
            height: 900,
            dark: false,
            language: "en-US".to_owned(),
            extensions: Vec::new(),
            accept_invalid_certificates: false,
            flags: Vec::new(),
        }
    }
}

/// One browser with a profile of its own. Dropping it ends browser and driver.
#[derive(Debug)]
pub struct Browser {
    page: Page,
    // Fields are dropped in order: the profile goes when nobody writes into it any more.
    chromedriver: Chromedriver,
    chromium: Option<u32>,
    _profile: TempDir,
}

impl Browser {
    /// Starts driver and browser.
    pub async fn start(settings: &Settings) -> Result<Self> {
        let profile = tempfile::Builder::new().prefix("deskbridge-browser-").tempdir().context("cannot make a directory")?;
        let directory = profile.path();
        let chromedriver = Chromedriver::start(directory).await?;
        let driver = WebDriver::builder(&chromedriver.url, capabilities(settings, directory)?)
            .request_timeout(COMMAND_LIMIT)
            .await
            .map_err(|error| anyhow!("no browser session: {error}\n{}", chromedriver.logs.tail()))?;
        let chromium = driver.capabilities().get("goog:processID").and_then(Value::as_u64).and_then(|id| u32::try_from(id).ok());
        let browser = Self { page: Page::new(driver), chromedriver, chromium, _profile: profile };
        browser.driver().set_page_load_timeout(COMMAND_LIMIT).await?;
        browser.set_size(settings.width, settings.height).await?;
        Ok(browser)
    }

    /// What pages wrote to the console and what went wrong in them since the last call, oldest first.
    pub async fn console(&self) -> Result<Vec<BrowserLogEntry>> {
        Ok(self.driver().browser_log().await?)
    }

    /// The messages of [`Browser::console`] that tell of a failure: exceptions, refused requests, CSP violations.
    pub async fn console_errors(&self) -> Result<Vec<String>> {
        let entries = self.console().await?;
        Ok(entries.into_iter().filter(|entry| entry.level == "SEVERE").map(|entry| entry.message).collect())
    }

    /// Makes the page so large, in CSS pixels; works below the smallest window too (a sidebar of 320 px).
    pub async fn set_size(&self, width: u32, height: u32) -> Result<()> {
        self.cdp("Emulation.setDeviceMetricsOverride", json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false}))
            .await?;
        Ok(())
    }

    /// A command of the Chrome DevTools Protocol to the page, for what WebDriver cannot say.
    pub async fn cdp(&self, method: &str, parameters: Value) -> Result<Value> {
        let url = format!("{}/session/{}/goog/cdp/execute", self.chromedriver.url, self.driver().session_id());
        let answer = loopback_client()?
            .post(url)
            .json(&json!({"cmd": method, "params": parameters}))
            .send()
            .await
            .context("chromedriver does not answer")?;
        let status = answer.status();
        let body: Value = answer.json().await.context("chromedriver's answer is not JSON")?;
        anyhow::ensure!(status.is_success(), "{method} failed: {}", body["value"]["message"]);
        Ok(body["value"].clone())
    }

    /// Ids of the driver's and the browser's main process.
    pub fn processes(&self) -> Vec<u32> {
        std::iter::once(self.chromedriver.process.id()).chain(self.chromium).collect()
    }

    /// The driver's and the browser's own output.
    pub const fn logs(&self) -> &Logs {
        &self.chromedriver.logs
    }

    /// Ends the browser in order; what a test that passed should do.
    pub async fn close(self) -> Result<()> {
        self.driver().clone().quit().await.context("the browser does not end")
    }
}

impl Deref for Browser {
    type Target = Page;

    fn deref(&self) -> &Page {
        &self.page
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Elements a test still holds would otherwise try to end the session when they go. After `close` it is an error
        // that says so.
        if self.driver().clone().leak().is_err() {
            return;
        }
        let ended = end_session(&self.chromedriver.url, &self.driver().session_id().to_string());
        if let (Err(error), Some(id)) = (ended, self.chromium) {
            eprintln!("the browser does not end and is killed: {error:#}");
            processes::send(id, Signal::Kill).ok();
        }
    }
}

/// What chromedriver says when its port is another program's.
const PORT_TAKEN: &str = "port not available";

/// The driver's process, killed when dropped.
#[derive(Debug)]
struct Chromedriver {
    process: Child,
    url: String,
    logs: Logs,
}

impl Chromedriver {
    /// With port 0, chromedriver takes a free port of IPv6 and then wants the same one of IPv4. Another program may have that, and
    /// chromedriver ends; it is started again then.
    async fn start(directory: &Path) -> Result<Self> {
        const STARTS: usize = 5;
        let mut starts = 1;
        loop {
            match Self::start_once(directory).await {
                Err(error) if starts < STARTS && error.to_string().contains(PORT_TAKEN) => starts += 1,
                result => return result,
            }
        }
    }

    async fn start_once(directory: &Path) -> Result<Self> {
        let mut process = Command::new(CHROMEDRIVER)
            .arg("--port=0")
            .env("TMPDIR", directory)
            // Crash reports go there, whatever the profile.
            .env("XDG_CONFIG_HOME", directory)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {CHROMEDRIVER}: sudo apt-get install chromium chromium-driver"))?;
        let logs = Logs::new();
        if let Some(output) = process.stdout.take() {
            logs.follow(output);
        }
        if let Some(errors) = process.stderr.take() {
            logs.follow(errors);
        }
        let mut chromedriver = Self { process, url: String::new(), logs };
        let line = chromedriver.logs.wait_for("started successfully on port [0-9]+").await?;
        let port = port_in(&line).with_context(|| format!("no port in '{line}'"))?;
        chromedriver.url = format!("http://127.0.0.1:{port}");
        Ok(chromedriver)
    }
}

impl Drop for Chromedriver {
    fn drop(&mut self) {
        if let Err(error) = self.process.kill().and_then(|()| self.process.wait()) {
            eprintln!("cannot end chromedriver: {error}");
        }
    }
}

fn capabilities(settings: &Settings, profile: &Path) -> Result<thirtyfour::ChromeCapabilities> {
    let mut capabilities = DesiredCapabilities::chrome();
    capabilities.set_binary(CHROMIUM)?;
    for flag in FLAGS {
        capabilities.add_arg(flag)?;
    }
    capabilities.add_arg(&format!("--user-data-dir={}", profile.join("profile").display()))?;
    capabilities.add_arg(&format!("--lang={}", settings.language))?;
    // Outside of developer mode an unpacked extension that reloads itself stays switched off.
    let prefs = json!({"intl.accept_languages": settings.language, "extensions.ui.developer_mode": !settings.extensions.is_empty()});
    capabilities.add_experimental_option("prefs", prefs)?;
    if settings.dark {
        capabilities.add_arg("--force-dark-mode")?;
    }
    if !settings.extensions.is_empty() {
        let directories: Vec<String> = settings.extensions.iter().map(|directory| directory.display().to_string()).collect();
        capabilities.add_arg(&format!("--load-extension={}", directories.join(",")))?;
    }
    for flag in &settings.flags {
        capabilities.add_arg(flag)?;
    }
    capabilities.accept_insecure_certs(settings.accept_invalid_certificates)?;
    capabilities.set_browser_log_level(LoggingPrefsLogLevel::All)?;
    Ok(capabilities)
}
