//! A technician in Chromium, on MeshCentral's own pages.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use thirtyfour::prelude::*;

use super::agent::SCREEN_COLOUR;
use super::{Account, RealAgent, RealMeshCentral};
use crate::browser::{Browser, Settings};
use crate::server::until;

/// How long MeshCentral, the agent and the browser may take for one step.
const PATIENCE: Duration = Duration::from_mins(1);

/// What is connected to; the numbers are MeshCentral's of its tabs and buttons.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tab {
    Desktop,
    Terminal,
    Files,
}

impl Tab {
    const fn connect(self) -> &'static str {
        match self {
            Self::Desktop => "#connectbutton1",
            Self::Terminal => "#connectbutton2",
            Self::Files => "#p13Connect",
        }
    }

    const fn disconnect(self) -> &'static str {
        match self {
            Self::Desktop => "#disconnectbutton1",
            Self::Terminal => "#disconnectbutton2",
            Self::Files => "#p13Connect",
        }
    }

    /// Where the page keeps the connection (3 = to the agent).
    const fn variable(self) -> &'static str {
        match self {
            Self::Desktop => "desktop",
            Self::Terminal => "terminal",
            Self::Files => "files",
        }
    }

    /// `viewmode` in MeshCentral's addresses.
    const fn view(self) -> u8 {
        match self {
            Self::Desktop => 11,
            Self::Terminal => 12,
            Self::Files => 13,
        }
    }
}

/// A person with a browser. The browser ends, and with it their sessions, when dropped.
#[derive(Debug)]
pub struct Technician {
    browser: Browser,
    connected: Option<Tab>,
}

impl Technician {
    /// Opens a link and nothing else; it may be one that MeshCentral refuses.
    pub async fn open(url: &str) -> Result<Self> {
        let settings = Settings { accept_invalid_certificates: true, ..Settings::default() };
        let browser = Browser::start(&settings).await?;
        browser.open(url).await?;
        Ok(Self { browser, connected: None })
    }

    /// Signs in to MeshCentral with an account of their own, at a machine's terminal.
    pub async fn sign_in(mesh: &RealMeshCentral, account: Account, agent: &RealAgent) -> Result<Self> {
        let machine = agent.id().rsplit('/').next().unwrap_or_default();
        let url = format!("{}/?gotonode={machine}&viewmode={}", mesh.url(), Tab::Terminal.view());
        let technician = Self::open(&url).await?;
        technician.browser.type_into("#username", account.user).await?;
        technician.browser.type_into("#password", account.password).await?;
        technician.browser.click("#loginButton").await?;
        technician.browser.element(Tab::Terminal.connect()).await?;
        Ok(technician)
    }

    /// A person whose browser shows an opened link already.
    pub const fn with(browser: Browser) -> Self {
        Self { browser, connected: None }
    }

    /// Their browser, to go on with.
    pub fn into_browser(self) -> Browser {
        self.browser
    }

    /// The browser, for what has no helper here.
    pub const fn browser(&self) -> &Browser {
        &self.browser
    }

    /// The page's text as the technician reads it.
    pub async fn page_text(&self) -> Result<String> {
        let text = self.browser.execute("return document.body.innerText", Vec::new()).await?;
        Ok(text.as_str().unwrap_or_default().to_owned())
    }

    /// Presses Connect for the terminal; waits until the shell can be typed into.
    pub async fn connect_terminal(&mut self) -> Result<()> {
        self.connect(Tab::Terminal).await?;
        // The agent's first command clears the screen, then the prompt stands there.
        self.wait_for_terminal("the prompt", |shown| shown.lines().count() == 1 && shown.ends_with(['$', '#'])).await?;
        self.browser.click(".xterm-screen").await
    }

    /// Types into the terminal, key by key; `\n` is Enter.
    pub async fn type_into_terminal(&self, text: &str) -> Result<()> {
        let keys = text.replace('\n', &char::from(Key::Enter).to_string());
        self.browser.driver().action_chain().send_keys(keys).perform().await.context("cannot type")
    }

    /// What the terminal shows, without blanks at the end of lines and of the whole.
    pub async fn terminal_text(&self) -> Result<String> {
        const SCRIPT: &str = "return Array.from(document.querySelectorAll('.xterm-rows > div'), row => \
            row.textContent.replaceAll('\\u00a0', ' ').trimEnd()).join('\\n').trimEnd()";
        let text = self.browser.execute(SCRIPT, Vec::new()).await?;
        Ok(text.as_str().unwrap_or_default().to_owned())
    }

    /// Waits until one line of the terminal is this.
    pub async fn see_terminal_line(&self, line: &str) -> Result<()> {
        self.wait_for_terminal(line, |shown| shown.lines().any(|shown| shown == line)).await
    }

    /// Waits until the terminal shows a text anywhere.
    pub async fn see_in_terminal(&self, text: &str) -> Result<()> {
        self.wait_for_terminal(text, |shown| shown.contains(text)).await
    }

    /// Presses Connect for the desktop; waits until the machine's screen is drawn, in the colour of a [`Display`](super::Display).
    pub async fn connect_desktop(&mut self) -> Result<()> {
        self.connect_desktop_showing(SCREEN_COLOUR, 0.9).await
    }

    /// The same for a screen on which programs run: so much of it has a colour.
    pub async fn connect_desktop_showing(&mut self, colour: [u8; 3], least_share: f64) -> Result<()> {
        // JPEG: a colour comes nearly as it was.
        const SHARE: &str = "const [screen, colour] = [document.getElementById('Desk'), arguments[0]]; \
            const dots = screen.getContext('2d').getImageData(0, 0, screen.width, screen.height).data; \
            let alike = 0; \
            for (let at = 0; at < dots.length; at += 4) { if (colour.every((part, index) => Math.abs(dots[at + index] - part) < 16)) alike += 4 } \
            return alike / dots.length";
        self.connect(Tab::Desktop).await?;
        until("the machine's screen is drawn", PATIENCE, async || {
            let share = self.browser.execute(SHARE, vec![json!(colour)]).await?;
            Ok(share.as_f64().is_some_and(|share| share > least_share))
        })
        .await
    }

    /// Presses Connect for the files; waits until the machine's top directory is listed.
    pub async fn connect_files(&mut self) -> Result<()> {
        self.connect(Tab::Files).await?;
        self.browser.element_with_text("#p13files", "etc").await.map(drop)
    }

    /// The id that this browser gave its session.
    pub async fn session_id(&self) -> Result<String> {
        let tab = self.connected.context("nothing is connected")?;
        let id = self.browser.execute(&format!("return {}.tunnelid", tab.variable()), Vec::new()).await?;
        id.as_str().map(str::to_owned).with_context(|| format!("no session id: {id}"))
    }

    /// Presses Disconnect.
    pub async fn disconnect(&mut self) -> Result<()> {
        let tab = self.connected.take().context("nothing is connected")?;
        self.browser.click(tab.disconnect()).await?;
        self.wait_for_state(tab, "disconnected", |state| state.is_null() || *state == 0).await
    }

    /// Waits until MeshCentral or the machine has ended the session.
    pub async fn wait_until_disconnected(&mut self) -> Result<()> {
        let tab = self.connected.take().context("nothing is connected")?;
        self.wait_for_state(tab, "disconnected from outside", |state| state.is_null() || *state == 0).await
    }

    /// Closes the browser without disconnecting first.
    pub async fn close(self) -> Result<()> {
        self.browser.close().await
    }

    async fn connect(&mut self, tab: Tab) -> Result<()> {
        if self.connected.is_some() {
            bail!("something is connected already");
        }
        self.browser.click(tab.connect()).await?;
        self.wait_for_state(tab, "connected", |state| *state == 3).await?;
        self.connected = Some(tab);
        Ok(())
    }

    async fn wait_for_state(&self, tab: Tab, what: &str, reached: impl Fn(&Value) -> bool) -> Result<()> {
        let script = format!("return {0} ? ({0}.State ?? 0) : null", tab.variable());
        until(&format!("the {} is {what}", tab.variable()), PATIENCE, async || {
            Ok(reached(&self.browser.execute(&script, Vec::new()).await.unwrap_or(json!("gone"))))
        })
        .await
    }

    async fn wait_for_terminal(&self, what: &str, reached: impl Fn(&str) -> bool) -> Result<()> {
        let waited = until(&format!("the terminal shows {what}"), PATIENCE, async || Ok(reached(&self.terminal_text().await?))).await;
        if waited.is_err() {
            return waited.with_context(|| "see the terminal's last text above").context(self.terminal_text().await.unwrap_or_default());
        }
        Ok(())
    }
}
