//! The customer's button in a real Chromium: what its script weighs, and how soon it can be pressed on a request's page.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use deskbridge_shared::routes;
use deskbridge_tests::browser::{Browser, Settings};
use deskbridge_tests::chat_button::{ChatButton, head_line};
use deskbridge_tests::scene::{Plan, Scene};
use deskbridge_tests::server::loopback_client;

use crate::table::{Row, median, milliseconds};

/// Most bytes of the script, uncompressed.
const SIZE_TARGET: usize = 10_000;
/// From the script's first step to the button that can be pressed: two requests at the same time, one to the Help Center, one to the server.
const READY_TARGET: Duration = Duration::from_millis(150);
/// Pages opened.
const LOADS: usize = 21;

/// A theme's script, to stand before the button's: writes down when the button's script begins to build, and when the button is drawn ready.
const CLOCK: &str = "<script>
  const attach = Element.prototype.attachShadow;
  Element.prototype.attachShadow = function attachShadow(options) {
    window.begunAt = performance.now();
    const root = attach.call(this, options);
    new MutationObserver((_, observer) => {
      if (!root.querySelector('button:not([hidden])[aria-disabled=false]')) return;
      observer.disconnect();
      requestAnimationFrame(() => { window.readyAt = performance.now(); });
    }).observe(root, { childList: true, subtree: true, attributes: true });
    return root;
  };
</script>";

/// Measures.
pub async fn run() -> Result<Vec<Row>> {
    let scene = Scene::start(Plan { connection: "[help_center]".parse()?, ..Plan::default() }).await?;
    let script = format!("{}{}", scene.server.public_url(), routes::HELP_CENTER_BUTTON);
    let answer = loopback_client()?.get(script).send().await?;
    ensure!(answer.status().is_success(), "the script: {}", answer.status());
    let size = answer.bytes().await?.len();

    let head = format!("{CLOCK}{}", head_line(&scene.server));
    scene.zendesk.alter_help_center_theme(|theme| theme.head_line = Some(head))?;
    let ticket = scene.people.vpn_ticket;
    let customer = scene.zendesk.ticket(ticket).context("no ticket")?.requester_id;
    let page = scene.zendesk.signed_in_request_page(customer, "en-us", ticket);
    let browser = Browser::start(&Settings::default()).await?;
    let mut times = Vec::new();
    // At the first load the server asks the account and the appliance what is offered.
    for _ in 0..=LOADS {
        browser.open(&page).await?;
        ChatButton(&browser).until("it can be pressed", |shown| !shown.button.is_empty() && !shown.is_disabled).await?;
        let time = browser.execute("return window.readyAt - window.begunAt", Vec::new()).await?;
        times.push(time.as_f64().context("the page did not see the button")?);
    }
    let first = Duration::from_secs_f64(times.remove(0) / 1e3);
    let ready = Duration::from_secs_f64(median(times) / 1e3);
    Ok(vec![
        Row::new("customer's button, as served", format!("{:.1} kB", size as f64 / 1e3))
            .against("limit 10 kB", size as f64 / SIZE_TARGET as f64)
            .wanted("< 10 kB", size < SIZE_TARGET),
        Row::new("  ready after its script begins", milliseconds(ready))
            .against("limit 150 ms", ready.as_secs_f64() / READY_TARGET.as_secs_f64())
            .wanted("< 150 ms", ready < READY_TARGET),
        Row::new("  the first one, for which the server asks others", milliseconds(first)),
    ])
}
