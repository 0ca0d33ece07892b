//! The browser extension in a real Firefox: what differs there (an event page, Firefox's own content-script world, its policies), on saved ticket
//! pages served with their sites' policies, against the real server and a simulated appliance. `extension_browser.rs` shows the rest.
//!
//! A machine without Firefox or geckodriver leaves this out, and says so; CI may not.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use deskbridge_shared::device::PairingLink;
use deskbridge_shared::routes;
use deskbridge_tests::appliance::{self, Recipient, SessionScript, SimulatedAppliance};
use deskbridge_tests::device::pairing_code;
use deskbridge_tests::extension::{ExtendedBrowser, OSTICKET_STYLE, PJAX, STAFF_POLICY, STRICTEST_POLICY, Site, SitePage, built_extension};
use deskbridge_tests::firefox::{self, Firefox};
use deskbridge_tests::scene::{self, EVENT_TOKEN};
use deskbridge_tests::server::{Deskbridge, tell, until};
use serde_json::{Value, json};
use thirtyfour::By;
use toml::Table;

/// What the extension put onto a page, less the panel over it.
const BUTTON: &str = "[data-deskbridge]:not([data-deskbridge-panel])";
const PANEL: &str = "[data-deskbridge-panel]";
const CONNECTION: &str = "Desk";

/// A help desk of saved pages, an appliance, a server for both, and a Firefox with the extension.
struct Stage {
    site: Site,
    appliance: SimulatedAppliance,
    server: Deskbridge,
    firefox: ExtendedBrowser<Firefox>,
}

impl Stage {
    /// `None` where there is no Firefox to be had.
    async fn start() -> Result<Option<Self>> {
        if let Err(error) = firefox::obtainable() {
            if std::env::var_os("CI").is_some_and(|ci| ci == "true") {
                bail!("CI needs Firefox: {error:#}");
            }
            tell(&format!("Firefox is left out: {error:#}"));
            return Ok(None);
        }
        let site = Site::start().await?;
        let appliance = SimulatedAppliance::start(appliance::Options::default()).await?;
        let server = Deskbridge::builder().connection(connection(&appliance, &site)).start().await?;
        appliance.set_recipient(Recipient::new(format!(
            "{}{}?appliance=default&token={EVENT_TOKEN}",
            server.url(),
            routes::APPLIANCE_EVENTS
        )));
        let firefox = ExtendedBrowser::in_firefox().await?;
        Ok(Some(Self { site, appliance, server, firefox }))
    }

    fn page(&self) -> &Firefox {
        &self.firefox.browser
    }

    /// Paired, and with one site.
    async fn set_up(&self, site: Value) -> Result<()> {
        self.firefox.set(json!({ "sites": [site] })).await?;
        let code = pairing_code(&self.server, CONNECTION, &["--agent", "Avery"]).await?;
        self.firefox.pair(&PairingLink::text(self.server.public_url(), &code)).await
    }

    /// How many of the button and of the panel the page has.
    async fn counts(&self) -> Result<(u64, u64)> {
        let count = async |css: &str| {
            let count = self.page().execute("return document.querySelectorAll(arguments[0]).length", vec![json!(css)]).await?;
            count.as_u64().context("a number")
        };
        Ok((count(BUTTON).await?, count(PANEL).await?))
    }

    /// Makes a session key in the panel, whose frame is entered.
    async fn make_key(&self) -> Result<String> {
        self.page().click("[data-action='make-key']").await?;
        let key = self.page().text("[data-part='key']").await?;
        ensure!(key.len() == 7 && key.bytes().all(|byte| byte.is_ascii_digit()), "{key}");
        Ok(key)
    }

    async fn picture(&self, name: &str) -> Result<()> {
        if let Some(folder) = std::env::var_os("DESKBRIDGE_SCREENSHOTS") {
            self.page().screenshot(&PathBuf::from(folder).join(name)).await?;
        }
        Ok(())
    }

    fn no_errors(&self) -> Result<()> {
        let errors = self.page().extension_errors()?;
        ensure!(errors.is_empty(), "{errors:#?}");
        Ok(())
    }
}

fn connection(appliance: &SimulatedAppliance, site: &Site) -> Table {
    let sections = format!(
        r#"
        [panel]
        issues = ["general_tech=General Technical Issues"]
        jumpoints = ["HQ-Net"]
        allow_jump_client = true
        [osticket]
        url = "{site}/support/"
        "#,
        site = site.url,
    );
    scene::connection(appliance, CONNECTION, "default", &sections)
}

/// A ticket of the help desk; its number is `5156` and its id.
fn osticket(ticket: &str) -> Result<SitePage> {
    let number = format!("5156{ticket}");
    let page = SitePage::saved("osticket/ticket-device.html", STAFF_POLICY, &[("251638", &number), ("118", ticket)])?;
    Ok(page.with_style(OSTICKET_STYLE).with_script(PJAX))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_panel_that_waits_for_pairing_leads_to_the_settings_and_goes_on() -> Result<()> {
    let Some(stage) = Stage::start().await? else { return Ok(()) };
    let page = stage.page();
    let ticket = stage.site.add("/support/scp/tickets.php?id=116", osticket("116")?);
    stage.firefox.set(json!({ "sites": [stage.site.osticket("/support/", "")] })).await?;
    page.open(&ticket).await?;
    let own = page.driver().window().await?;
    page.click(BUTTON).await?;
    stage.firefox.enter_panel().await?;
    page.click("[data-message='unpaired'] [data-action='settings']").await?;
    page.leave_frames().await?;
    let settings = async || Ok::<_, anyhow::Error>(page.driver().windows().await?.into_iter().find(|tab| *tab != own));
    until("the settings are opened", Duration::from_secs(20), async || Ok(settings().await?.is_some())).await?;
    let tab = settings().await?.context("the settings")?;
    page.driver().switch_to_window(tab).await?;
    let code = pairing_code(&stage.server, CONNECTION, &["--agent", "Avery"]).await?;
    stage.firefox.pair(&PairingLink::text(stage.server.public_url(), &code)).await?;
    page.driver().switch_to_window(own).await?;
    stage.firefox.enter_panel().await?;
    page.element("[data-action='make-key']").await?;
    stage.no_errors()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn from_pairing_to_a_note_on_an_osticket_ticket() -> Result<()> {
    let Some(stage) = Stage::start().await? else { return Ok(()) };
    let page = stage.page();
    let ticket = stage.site.add("/support/scp/tickets.php?id=116", osticket("116")?);
    stage.site.add("/support/scp/tickets.php?id=117", osticket("117")?);
    stage.site.add("/support/scp/tickets.php?queue=1", SitePage::saved("osticket/queue.html", STAFF_POLICY, &[])?.with_script(PJAX));
    stage.set_up(stage.site.osticket("/support/", "")).await?;
    stage.picture("firefox-options.png").await?;

    page.open(&ticket).await?;
    page.click(BUTTON).await?;
    stage.firefox.enter_panel().await?;
    let target = page.element("#field-target").await?.value().await?.unwrap_or_default();
    ensure!(!target.is_empty(), "the machine comes from the ticket's page");
    let key = stage.make_key().await?;
    page.click("[data-action='insert-key']").await?;
    page.element_with_text("#notice", "").await?;
    let lsid = stage.appliance.begin_session_with_key(&key)?;
    for (_, step) in SessionScript::example("5156116").steps {
        stage.appliance.step(&lsid, step)?;
    }
    page.click("li[data-state='ended'] [data-action='record']").await?;
    page.element("li[data-state='recorded']").await?;
    page.leave_frames().await?;
    ensure!(stage.counts().await? == (1, 1));
    stage.picture("firefox-osticket.png").await?;
    let reply = page.execute("return document.querySelector('#response')?.value", vec![]).await?;
    ensure!(reply.as_str().is_some_and(|reply| reply.contains("?ak=")), "the invitation stands in the reply: {reply}");

    let go = async |to: &str| page.execute("return pjax(arguments[0])", vec![json!(format!("tickets.php?{to}"))]).await;
    go("id=117").await?;
    page.element(&format!("{BUTTON}[data-deskbridge='osticket:117']")).await?;
    ensure!(stage.counts().await? == (1, 0), "the other ticket's panel went with it");
    go("queue=1").await?;
    page.wait_until_gone("[data-deskbridge]").await?;
    go("id=116").await?;
    page.element(&format!("{BUTTON}[data-deskbridge='osticket:116']")).await?;
    ensure!(stage.counts().await? == (1, 0));
    let notes = page.element(".thread-entry.note").await?.text().await?;
    ensure!(notes.contains("Rebuilt the mail profile"), "{notes}");

    // An update ends the scripts on open pages; the new ones clear up behind them.
    page.execute("document.querySelector('[data-deskbridge]').setAttribute('data-is-old', '')", vec![]).await?;
    page.install(&built_extension()?).await?;
    page.element(&format!("{BUTTON}:not([data-is-old])")).await?;
    ensure!(stage.counts().await? == (1, 0));
    page.click(BUTTON).await?;
    stage.firefox.enter_panel().await?;
    stage.make_key().await?;
    stage.no_errors()
}

/// Firefox brings an IDNA of its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_with_umlauts_are_taken_where_they_are_typed() -> Result<()> {
    let Some(stage) = Stage::start().await? else { return Ok(()) };
    stage.firefox.open_options().await?;
    for bad in ["fern..müller.de", "fern müller.de", "fern☃.de", "xn--", "xn--a.de", "אa.de"] {
        stage.page().type_into("#field-server", bad).await?;
        stage.page().click("[data-action='save-server']").await?;
        stage.page().element_with_text("#fault-server", "This name cannot be used for a server.").await.context(bad)?;
    }
    stage.page().type_into("#field-server", "Fern.Müller.de").await?;
    stage.page().click("[data-action='save-server']").await?;
    stage.page().element_with_text("[role='status']", "Saved.").await?;
    let server = stage.page().element("#field-server").await?.value().await?;
    ensure!(server.as_deref() == Some("https://fern.xn--mller-kva.de"), "{server:?}");
    stage.no_errors()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_card_in_autotasks_frame_under_the_strictest_policy() -> Result<()> {
    let Some(stage) = Stage::start().await? else { return Ok(()) };
    let page = stage.page();
    let shell = stage.site.add("/AutotaskOnyx/LandingPage?view-data=e30", SitePage::saved("autotask/shell.html", STRICTEST_POLICY, &[])?);
    let detail = "/Mvc/ServiceDesk/TicketDetail.mvc?workspace=False&ticketId=35754";
    stage.site.add(detail, SitePage::saved("autotask/detail.html", STRICTEST_POLICY, &[])?);
    stage.set_up(stage.site.autotask(CONNECTION)).await?;

    page.open(&shell).await?;
    page.enter_frame("iframe").await?;
    let card = page.element(&format!("{BUTTON}[data-deskbridge='autotask:35754']")).await?;
    ensure!(stage.counts().await? == (1, 0));
    let host = card.find(By::Css(".ContentContainer > .Content > div")).await?;
    page.in_shadow_of(&host, "button").await?.click().await?;
    stage.firefox.enter_panel().await?;
    stage.make_key().await?;
    page.leave_frames().await?;
    ensure!(stage.counts().await? == (0, 0), "the shell around has nothing of ours");
    stage.picture("firefox-autotask.png").await?;
    stage.no_errors()
}
