//! The page a driven browser shows: what a person sees and does there, in any browser.
//!
//! Waits are bounded and for something: an element, a text, a frame. Nothing here knows a page of Deskbridge, nor which browser it is.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use reqwest::Method;
use serde_json::{Value, json};
use thirtyfour::common::command::FormatRequestData;
use thirtyfour::error::WebDriverErrorInner;
use thirtyfour::prelude::*;
use thirtyfour::{ElementId, RequestData, SessionId};

/// How long an element lets itself be awaited, and how often it is looked for.
const PATIENCE: Duration = Duration::from_secs(20);
const LOOK_INTERVAL: Duration = Duration::from_millis(50);

/// A page or a command of the driver.
pub(crate) const COMMAND_LIMIT: Duration = Duration::from_mins(1);

/// From the end of a session to the end of its browser.
const END_LIMIT: Duration = Duration::from_secs(10);

/// A WebDriver session, one frame of which selectors mean.
#[derive(Debug)]
pub struct Page {
    driver: WebDriver,
}

impl Page {
    /// Of a session that has begun.
    pub(crate) const fn new(driver: WebDriver) -> Self {
        Self { driver }
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

    /// The first displayed element of a CSS selector whose text contains `text`, now or within 20 s, also where one page gives way to the next
    /// meanwhile. The error has what the page shows.
    pub async fn element_with_text(&self, css: &str, text: &str) -> Result<WebElement> {
        let begun = Instant::now();
        loop {
            let query = self.driver.query(By::Css(css)).wait(PATIENCE.saturating_sub(begun.elapsed()), LOOK_INTERVAL).and_displayed();
            let found = query.with_text(thirtyfour::stringmatch::StringMatch::new(text).partial()).first().await;
            let error = match found {
                Ok(element) => return Ok(element),
                // What was found stood on the page before.
                Err(error) if matches!(error.as_inner(), WebDriverErrorInner::StaleElementReference(_)) && begun.elapsed() < PATIENCE => {
                    continue;
                }
                Err(error) => error,
            };
            let shown = self.driver.execute("return location.href + '\\n' + document.body?.innerText", Vec::new()).await;
            let shown = shown.map_or_else(|error| error.to_string(), |shown| shown.json().to_string());
            return Err(error).with_context(|| format!("no element '{css}' with the text '{text}' is displayed, but: {shown}"));
        }
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

    /// What an element's shadow root holds, even a closed one.
    pub async fn in_shadow_of(&self, host: &WebElement, css: &str) -> Result<WebElement> {
        let root = host.handle().cmd(Shadow::Root(host.element_id())).await.context("no shadow root")?;
        let root: HashMap<String, String> = root.value()?;
        let root = root.into_values().next().context("no id of the shadow root")?;
        let found = host.handle().cmd(Shadow::Element(root, css.to_owned())).await;
        let found = found.with_context(|| format!("no '{css}' in the shadow root"))?;
        Ok(found.element(host.handle().clone())?)
    }

    /// An element's role and name, as the browser tells them to assistive technology.
    pub async fn role_and_name(&self, element: &WebElement) -> Result<(String, String)> {
        let ask = async |what| {
            let answer = element.handle().cmd(Computed { element: element.element_id(), what }).await;
            answer.with_context(|| format!("no {what}"))?.value::<String>().with_context(|| format!("the {what} is no text"))
        };
        Ok((ask("computedrole").await?, ask("computedlabel").await?))
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

    /// Writes the page as a PNG; makes the directory if need be.
    pub async fn screenshot(&self, path: &Path) -> Result<()> {
        if let Some(directory) = path.parent() {
            std::fs::create_dir_all(directory).with_context(|| format!("cannot make {}", directory.display()))?;
        }
        let picture = self.driver.screenshot_as_png().await.context("no screenshot")?;
        std::fs::write(path, picture).with_context(|| format!("cannot write {}", path.display()))
    }
}

/// WebDriver's "Get Element Shadow Root" and "Find Element From Shadow Root": thirtyfour asks by a script, which sees no closed roots.
#[derive(Debug)]
enum Shadow {
    Root(ElementId),
    Element(String, String),
}

impl FormatRequestData for Shadow {
    fn format_request(&self, session: &SessionId) -> RequestData {
        match self {
            Self::Root(host) => RequestData::new(Method::GET, format!("session/{session}/element/{host}/shadow")),
            Self::Element(root, css) => RequestData::new(Method::POST, format!("session/{session}/shadow/{root}/element"))
                .add_body(json!({"using": "css selector", "value": css})),
        }
    }
}

/// WebDriver's "Get Computed Role" and "Get Computed Label".
#[derive(Debug)]
struct Computed {
    element: ElementId,
    what: &'static str,
}

impl FormatRequestData for Computed {
    fn format_request(&self, session: &SessionId) -> RequestData {
        RequestData::new(Method::GET, format!("session/{session}/element/{}/{}", self.element, self.what))
    }
}

/// Ends a session in order, without the runtime that a dropped test may no longer have. Written by hand for that reason; the driver answers
/// when the browser is gone (WebDriver, "Delete Session").
pub(crate) fn end_session(driver_url: &str, id: &str) -> Result<()> {
    let address = driver_url.trim_start_matches("http://");
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(END_LIMIT))?;
    write!(stream, "DELETE /session/{id} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n")?;
    let mut status = String::new();
    BufReader::new(stream).read_line(&mut status)?;
    anyhow::ensure!(status.split(' ').nth(1) == Some("200"), "the driver says {status:?}");
    Ok(())
}

/// The port at the end of the line in which a driver says that it listens.
pub(crate) fn port_in(line: &str) -> Option<u16> {
    line.trim_end_matches('.').rsplit(|character: char| !character.is_ascii_digit()).next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_port_is_read() {
        assert_eq!(port_in("ChromeDriver was started successfully on port 41235."), Some(41_235));
        assert_eq!(port_in("1732250000000\tgeckodriver\tINFO\tListening on 127.0.0.1:41235"), Some(41_235));
        assert_eq!(port_in("Starting ChromeDriver"), None);
    }
}
