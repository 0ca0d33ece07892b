//! A real Chromium, driven through chromedriver.
//!
//! Waits are bounded and for something: an element, a text, a frame. Nothing here knows a page of Deskbridge.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use serde_json::{Value, json};
use tempfile::TempDir;
use thirtyfour::prelude::*;
use thirtyfour::{BrowserLogEntry, LoggingPrefsLogLevel};

use crate::logs::Logs;
use crate::processes::{self, Signal};
use crate::server::loopback_client;

/// Where Debian's packages `chromium` and `chromium-driver` put them.
const CHROMIUM: &str = "/usr/bin/chromium";
const CHROMEDRIVER: &str = "/usr/bin/chromedriver";

/// How long an element lets itself be awaited, and how often it is looked for.
const PATIENCE: Duration = Duration::from_secs(20);
const LOOK_INTERVAL: Duration = Duration::from_millis(50);

/// A page or a command of the driver.
const COMMAND_LIMIT: Duration = Duration::from_mins(1);

/// From the end of a session to the end of its browser.
const END_LIMIT: Duration = Duration::from_secs(10);

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
    driver: WebDriver,
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
        let browser = Self { driver, chromedriver, chromium, _profile: profile };
        browser.driver.set_page_load_timeout(COMMAND_LIMIT).await?;
        browser.set_size(settings.width, settings.height).await?;
        Ok(browser)
    }

    /// The session itself, for what has no helper here.
    pub const fn driver(&self) -> &WebDriver {
        &self.driver
    }

    /// Opens a page and waits until it is loaded.
    pub async fn open(&self, url: &str) -> Result<()> {
        self.driver.goto(url).await.with_context(|| format!("cannot open {url}"))
    }

    /// The first displayed element of a CSS selector in the current frame, now or within 20 s.
    pub async fn element(&self, css: &str) -> Result<WebElement> {
        self.driver
            .query(By::Css(css))
            .wait(PATIENCE, LOOK_INTERVAL)
            .and_displayed()
            .first()
            .await
            .with_context(|| format!("no element '{css}' is displayed"))
    }

    /// The first displayed element of a CSS selector whose text contains `text`, now or within 20 s.
    pub async fn element_with_text(&self, css: &str, text: &str) -> Result<WebElement> {
        self.driver
            .query(By::Css(css))
            .wait(PATIENCE, LOOK_INTERVAL)
            .and_displayed()
            .with_text(thirtyfour::stringmatch::StringMatch::new(text).partial())
            .first()
            .await
            .with_context(|| format!("no element '{css}' with the text '{text}' is displayed"))
    }

    /// Waits until no element of a CSS selector is left in the current frame.
    pub async fn wait_until_gone(&self, css: &str) -> Result<()> {
        self.driver
            .query(By::Css(css))
            .wait(PATIENCE, LOOK_INTERVAL)
            .wait_until_gone()
            .await
            .with_context(|| format!("an element '{css}' stays"))
    }

    /// The text of an element as a reader sees it.
    pub async fn text(&self, css: &str) -> Result<String> {
        Ok(self.element(css).await?.text().await?)
    }

    /// Clicks an element once it can be clicked.
    pub async fn click(&self, css: &str) -> Result<()> {
        let element = self.element(css).await?;
        element.wait_until().wait(PATIENCE, LOOK_INTERVAL).enabled().await.with_context(|| format!("'{css}' stays disabled"))?;
        element.click().await.with_context(|| format!("cannot click '{css}'"))
    }

    /// Empties a field and types into it, key by key.
    pub async fn type_into(&self, css: &str, text: &str) -> Result<()> {
        let element = self.element(css).await?;
        element.clear().await?;
        element.send_keys(text).await.with_context(|| format!("cannot type into '{css}'"))
    }

    /// Goes into an iframe, cross-origin ones included; selectors then mean its document.
    pub async fn enter_frame(&self, css: &str) -> Result<()> {
        self.element(css).await?.enter_frame().await.with_context(|| format!("cannot enter the frame '{css}'"))
    }

    /// Back to the top document.
    pub async fn leave_frames(&self) -> Result<()> {
        Ok(self.driver.enter_default_frame().await?)
    }

    /// Runs a script in the current frame; its `return`ed value, where promises are awaited.
    pub async fn execute(&self, script: &str, arguments: Vec<Value>) -> Result<Value> {
        let answer = self.driver.execute(script, arguments).await.context("the script failed")?;
        Ok(answer.json().clone())
    }

    /// What pages wrote to the console and what went wrong in them since the last call, oldest first.
    pub async fn console(&self) -> Result<Vec<BrowserLogEntry>> {
        Ok(self.driver.browser_log().await?)
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

    /// Writes the page as a PNG; makes the directory if need be.
    pub async fn screenshot(&self, path: &Path) -> Result<()> {
        if let Some(directory) = path.parent() {
            std::fs::create_dir_all(directory).with_context(|| format!("cannot make {}", directory.display()))?;
        }
        let picture = self.driver.screenshot_as_png().await.context("no screenshot")?;
        std::fs::write(path, picture).with_context(|| format!("cannot write {}", path.display()))
    }

    /// A command of the Chrome DevTools Protocol to the page, for what WebDriver cannot say.
    pub async fn cdp(&self, method: &str, parameters: Value) -> Result<Value> {
        let url = format!("{}/session/{}/goog/cdp/execute", self.chromedriver.url, self.driver.session_id());
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
        self.driver.clone().quit().await.context("the browser does not end")
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Elements a test still holds would otherwise try to end the session when they go. After `close` it is an error
        // that says so.
        if self.driver.clone().leak().is_err() {
            return;
        }
        let ended = self.chromedriver.end_session(&self.driver.session_id().to_string());
        if let (Err(error), Some(id)) = (ended, self.chromium) {
            eprintln!("the browser does not end and is killed: {error:#}");
            processes::send(id, Signal::Kill).ok();
        }
    }
}

/// The driver's process, killed when dropped.
#[derive(Debug)]
struct Chromedriver {
    process: Child,
    url: String,
    logs: Logs,
}

impl Chromedriver {
    async fn start(directory: &Path) -> Result<Self> {
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

impl Chromedriver {
    /// Ends a session in order, without the runtime that a dropped test may no longer have. Written by hand for that
    /// reason; chromedriver answers when the browser is gone (WebDriver, "Delete Session").
    fn end_session(&self, id: &str) -> Result<()> {
        let address = self.url.trim_start_matches("http://");
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(END_LIMIT))?;
        write!(stream, "DELETE /session/{id} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n")?;
        let mut status = String::new();
        BufReader::new(stream).read_line(&mut status)?;
        anyhow::ensure!(status.split(' ').nth(1) == Some("200"), "chromedriver says {status:?}");
        Ok(())
    }
}

impl Drop for Chromedriver {
    fn drop(&mut self) {
        if let Err(error) = self.process.kill().and_then(|()| self.process.wait()) {
            eprintln!("cannot end chromedriver: {error}");
        }
    }
}

fn port_in(line: &str) -> Option<u16> {
    let (_, rest) = line.rsplit_once("port ")?;
    rest.trim_end_matches('.').parse().ok()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_port_is_read() {
        assert_eq!(port_in("ChromeDriver was started successfully on port 41235."), Some(41_235));
        assert_eq!(port_in("Starting ChromeDriver"), None);
    }
}
