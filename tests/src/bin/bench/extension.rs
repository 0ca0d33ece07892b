//! The browser extension in a real Chromium: what it weighs, when its button stands on a ticket page, and what it costs on every other page.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use deskbridge_tests::browser::{Browser, Settings};
use deskbridge_tests::extension::{ExtendedBrowser, OSTICKET_STYLE, STAFF_POLICY, Site, SitePage, built_extension};
use serde_json::{Value, json};

use crate::table::{Row, median, milliseconds};

/// Where `cargo xtask package extension` puts it, from the repository's root.
const PACKAGE: &str = "target/package/deskbridge-extension-chromium.zip";
/// Most bytes of the package.
const PACKAGE_TARGET: u64 = 300_000;
/// From the document's being ready to the visible button.
const BUTTON_TARGET: Duration = Duration::from_millis(150);
/// Script on a page that is no ticket's.
const IDLE_TARGET: Duration = Duration::from_millis(2);
/// Pages opened for each figure.
const LOADS: usize = 21;
/// The browser ends a background nobody asks for after 30 s.
const BACKGROUND_LIFE: Duration = Duration::from_secs(40);

/// Writes down when the button is drawn; the page's own script, which its policy allows.
const CLOCK: &str = "new MutationObserver((_, observer) => {
    if (!document.querySelector('[data-deskbridge]')) return;
    observer.disconnect();
    requestAnimationFrame(() => { window.shownAt = performance.now(); });
  }).observe(document, { childList: true, subtree: true });";

/// In a page of the extension: waits until a changed setting has become a registered script.
const REGISTERED: &str = "return (async () => {
    for (let look = 0; look < 200; look += 1) {
      if ((await chrome.scripting.getRegisteredContentScripts()).some(({ matches }) => matches.some((match) => match.includes('127.0.0.1')))) return true;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    return false;
  })()";

/// Measures.
pub async fn run() -> Result<Vec<Row>> {
    let mut rows = vec![package()?];
    rows.push(files("WebAssembly", &["core_bg.wasm"])?);
    rows.push(files("its glue", &["core.js"])?);
    rows.push(files(
        "scripts on the page",
        &["content.js", "content/collect.js", "content/frame.js", "content/mount.js", "content/acts.js"],
    )?);
    rows.push(files("background and pages", &["background.js", "bridge.js", "panel.js", "options.js"])?);
    let site = Site::start().await?;
    let ticket = site.add(
        "/scp/tickets.php?id=116",
        SitePage::saved("osticket/ticket.html", STAFF_POLICY, &[])?.with_style(OSTICKET_STYLE).with_script(CLOCK),
    );
    let other = site.add("/scp/users.php", SitePage::saved("osticket/queue.html", STAFF_POLICY, &[])?);
    let extended = ExtendedBrowser::start(Settings::default()).await?;
    extended.set(json!({ "server": "", "sites": [site.osticket("/", "")], "language": "auto" })).await?;
    let registered = extended.browser.execute(REGISTERED, Vec::new()).await?;
    ensure!(registered == true, "the extension registered no script for the site");
    let mut times = Vec::new();
    // The first load wakes the background.
    for _ in 0..=LOADS {
        times.push(button_after(&extended.browser, &ticket).await?);
    }
    let cold = Duration::from_secs_f64(times.remove(0) / 1e3);
    let button = Duration::from_secs_f64(median(times) / 1e3);
    rows.push(
        Row::new("button visible after the document is ready", milliseconds(button))
            .against("limit 150 ms", button.as_secs_f64() / BUTTON_TARGET.as_secs_f64())
            .wanted("< 150 ms", button < BUTTON_TARGET),
    );
    rows.push(Row::new("  the first one, which wakes the background", milliseconds(cold)));

    let bare = Browser::start(&Settings::default()).await?;
    let (with, without) = (script_time(&extended.browser, &other).await?, script_time(&bare, &other).await?);
    let cost = Duration::from_secs_f64((with - without).max(0.0));
    rows.push(
        Row::new("script on a page that is no ticket's", milliseconds(cost))
            .against(format!("without: {:.2} ms", without * 1e3), cost.as_secs_f64() / IDLE_TARGET.as_secs_f64())
            .wanted("< 2 ms", cost < IDLE_TARGET),
    );
    tokio::time::sleep(BACKGROUND_LIFE).await;
    ensure!(!background_runs(&extended).await?, "the background did not end by itself");
    for _ in 0..LOADS {
        extended.browser.open(&other).await?;
    }
    let woken = background_runs(&extended).await?;
    rows.push(Row::new("  wakes the background, which holds the wasm", if woken { "yes" } else { "no" }).wanted("no", !woken));
    Ok(rows)
}

fn package() -> Result<Row> {
    let bytes = std::fs::metadata(PACKAGE).with_context(|| format!("{PACKAGE} is not there: run `cargo xtask package extension`"))?.len();
    Ok(Row::new("extension, zipped", kilobytes(bytes))
        .against("limit 300 kB", bytes as f64 / PACKAGE_TARGET as f64)
        .wanted("< 300 kB", bytes < PACKAGE_TARGET))
}

fn files(what: &str, names: &[&str]) -> Result<Row> {
    let directory = built_extension()?;
    let sizes = names.iter().map(|name| Ok(std::fs::metadata(directory.join(name)).with_context(|| format!("no {name}"))?.len()));
    Ok(Row::new(format!("  {what}"), kilobytes(sizes.sum::<Result<u64>>()?)))
}

/// Milliseconds from the document's being ready, which is what `document_idle` waits for, to the drawn button.
async fn button_after(browser: &Browser, page: &str) -> Result<f64> {
    browser.open(page).await?;
    browser.element("[data-deskbridge]").await?;
    let asked = "return window.shownAt - performance.getEntriesByType('navigation')[0].domContentLoadedEventEnd";
    browser.execute(asked, Vec::new()).await?.as_f64().context("the page did not see the button")
}

/// Seconds of script one load of the page costs, all worlds together; the median of many.
async fn script_time(browser: &Browser, page: &str) -> Result<f64> {
    browser.cdp("Performance.enable", json!({})).await?;
    let mut times = Vec::new();
    for _ in 0..LOADS {
        let before = script_duration(browser).await?;
        browser.open(page).await?;
        times.push(script_duration(browser).await? - before);
    }
    Ok(median(times))
}

async fn script_duration(browser: &Browser) -> Result<f64> {
    let answer = browser.cdp("Performance.getMetrics", json!({})).await?;
    let metrics = answer["metrics"].as_array().context("no metrics")?;
    let found = metrics.iter().find(|metric| metric["name"] == "ScriptDuration");
    found.and_then(|metric| metric["value"].as_f64()).context("no ScriptDuration")
}

/// Whether the extension's service worker runs.
async fn background_runs(extended: &ExtendedBrowser) -> Result<bool> {
    let answer = extended.browser.cdp("Target.getTargets", json!({})).await?;
    let targets = answer["targetInfos"].as_array().context("no targets")?;
    let is_ours = |target: &&Value| target["url"].as_str().is_some_and(|url| url.starts_with(&extended.origin));
    Ok(targets.iter().filter(is_ours).any(|target| target["type"] == "service_worker"))
}

fn kilobytes(bytes: u64) -> String {
    format!("{:.1} kB", bytes as f64 / 1e3)
}
