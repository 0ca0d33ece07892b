//! How soon an agent can work with the panel in a real Chromium: beside a ticket of a connection with an appliance, and of one with MeshCentral.

use std::time::Duration;

use anyhow::{Context, Result};
use deskbridge_tests::browser::{Browser, Settings};
use deskbridge_tests::mesh_scene::{MeshPlan, MeshScene};
use deskbridge_tests::meshcentral;
use deskbridge_tests::scene::{Plan, Scene};
use serde_json::json;

use crate::table::{Row, median, milliseconds};

/// From the frame's first request to what the agent wants to press.
const READY_TARGET: Duration = Duration::from_millis(150);
/// Pages opened; odd, so that there is a median.
const LOADS: usize = 21;

/// Stands in every document before its own scripts, and writes down when its element that the agent waits for is drawn, in milliseconds.
const CLOCK: &str = "new MutationObserver((_, observer) => {
    if (!document.querySelector('WANTED')) return;
    observer.disconnect();
    requestAnimationFrame(() => { window.readyAt = performance.now(); });
}).observe(document, { childList: true, subtree: true });";

/// Measures.
pub async fn run() -> Result<Vec<Row>> {
    let scene = Scene::start(Plan::default()).await?;
    let page = scene.zendesk.ticket_page(scene.people.vpn_ticket, scene.people.agent);
    let mut rows = vec![measure("panel ready, in Chromium", &page, "[data-action=\"make-key\"]").await?];
    drop(scene);
    if meshcentral::is_obtainable_for("sidebar")? {
        let scene = MeshScene::start(MeshPlan::default()).await?;
        let page = scene.zendesk.ticket_page(scene.people.vpn_ticket, scene.people.agent);
        rows.push(measure("  with MeshCentral's machines", &page, "li[data-state=\"online\"]").await?);
    }
    Ok(rows)
}

async fn measure(what: &str, page: &str, wanted: &str) -> Result<Row> {
    let browser = Browser::start(&Settings::default()).await?;
    browser.cdp("Page.addScriptToEvaluateOnNewDocument", json!({"source": CLOCK.replace("WANTED", wanted)})).await?;
    let mut times = Vec::new();
    // At the first load the server asks the account and the remote-support system what is offered.
    for _ in 0..=LOADS {
        browser.open(page).await?;
        browser.enter_frame("#app").await?;
        browser.element(wanted).await?;
        let ready = browser.execute("return new Promise((done) => requestAnimationFrame(() => done(window.readyAt)))", Vec::new()).await?;
        times.push(ready.as_f64().context("the page did not see the panel")?);
        browser.leave_frames().await?;
    }
    browser.close().await?;
    let ready = Duration::from_secs_f64(median(times.split_off(1)) / 1e3);
    Ok(Row::new(what, milliseconds(ready))
        .against("limit 150 ms", ready.as_secs_f64() / READY_TARGET.as_secs_f64())
        .wanted("< 150 ms", ready < READY_TARGET))
}
