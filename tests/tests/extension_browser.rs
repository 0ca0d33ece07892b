//! The browser extension in a real Chromium, on saved ticket pages served with their sites' policies, against the real server and a simulated
//! appliance.
//!
//! The extension is the one built for tests (`cargo xtask build extension`). Pictures are written only where `DESKBRIDGE_SCREENSHOTS` says so.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use deskbridge_shared::device::PairingLink;
use deskbridge_shared::routes;
use deskbridge_tests::appliance::{self, Recipient, SessionScript, SimulatedAppliance};
use deskbridge_tests::browser::{Browser, Settings};
use deskbridge_tests::device::{self, pairing_code};
use deskbridge_tests::extension::{
    ExtendedBrowser, OSTICKET_STYLE, PJAX, STAFF_POLICY, STRICTEST_POLICY, Site, SitePage, built_extension, change, set_up_by_policy,
};
use deskbridge_tests::scene::EVENT_TOKEN;
use deskbridge_tests::server::{Deskbridge, until};
use reqwest::Method;
use serde_json::{Value, json};
use thirtyfour::{By, Key, TypingData};

/// What the extension put onto a page, less the panel over it.
const BUTTON: &str = "[data-deskbridge]:not([data-deskbridge-panel])";
const PANEL: &str = "[data-deskbridge-panel]";
const CONNECTION: &str = "Desk";

/// A help desk of saved pages, an appliance, a server for both, and a browser with the extension.
struct Stage {
    site: Site,
    appliance: SimulatedAppliance,
    server: Deskbridge,
    browser: ExtendedBrowser,
}

impl Stage {
    async fn start(settings: Settings) -> Result<Self> {
        Self::start_with(settings, &built_extension()?).await
    }

    /// With an extension in another directory.
    async fn start_with(settings: Settings, extension: &Path) -> Result<Self> {
        let (site, appliance, server) = Self::around().await?;
        Ok(Self { site, appliance, server, browser: ExtendedBrowser::start_with(settings, extension).await? })
    }

    /// All but the browser.
    async fn around() -> Result<(Site, SimulatedAppliance, Deskbridge)> {
        let site = Site::start().await?;
        for ticket in ["116", "117"] {
            site.add(&format!("/support/scp/tickets.php?id={ticket}"), osticket(ticket)?);
        }
        site.add("/support/scp/tickets.php?queue=1", SitePage::saved("osticket/queue.html", STAFF_POLICY, &[])?.with_script(PJAX));
        let appliance = SimulatedAppliance::start(appliance::Options::default()).await?;
        let server = Deskbridge::builder().connection_text(&connection(&appliance, &site)).start().await?;
        let events = format!("{}{}?appliance=default&token={EVENT_TOKEN}", server.url(), routes::APPLIANCE_EVENTS);
        appliance.set_recipient(Recipient::new(events));
        Ok((site, appliance, server))
    }

    /// The page's address of a ticket of the help desk.
    fn ticket(&self, ticket: &str) -> String {
        format!("{}/support/scp/tickets.php?id={ticket}", self.site.url)
    }

    async fn pairing_link(&self) -> Result<String> {
        let code = pairing_code(&self.server, CONNECTION, &["--agent", "Avery"]).await?;
        Ok(PairingLink::text(self.server.public_url(), &code))
    }

    /// Paired, and with the help desk among the sites; its connection is found by the address.
    async fn set_up(&self) -> Result<()> {
        self.browser.set(json!({ "sites": [self.site.osticket("/support/", "")] })).await?;
        self.browser.pair(&self.pairing_link().await?).await
    }

    fn browser(&self) -> &Browser {
        &self.browser.browser
    }

    async fn open(&self, address: &str) -> Result<()> {
        self.browser().open(address).await
    }

    async fn count(&self, css: &str) -> Result<u64> {
        let count = self.browser().execute("return document.querySelectorAll(arguments[0]).length", vec![json!(css)]).await?;
        count.as_u64().context("a number")
    }

    /// Opens the panel with its button, and goes into it.
    async fn open_panel(&self) -> Result<()> {
        self.browser().click(BUTTON).await?;
        self.browser.enter_panel().await
    }

    /// How many devices the server knows, revoked ones too.
    async fn devices(&self) -> Result<usize> {
        let list = self.server.command(&["devices", "list"]).await?;
        ensure!(list.status.success(), "{list:?}");
        Ok(String::from_utf8(list.stdout)?.lines().filter(|line| line.contains(" on Linux")).count())
    }

    async fn picture(&self, name: &str) -> Result<()> {
        if let Some(folder) = std::env::var_os("DESKBRIDGE_SCREENSHOTS") {
            self.browser().screenshot(&PathBuf::from(folder).join(name)).await?;
        }
        Ok(())
    }

    async fn no_errors(&self) -> Result<()> {
        let errors = self.browser().console_errors().await?;
        let errors: Vec<_> = errors.into_iter().filter(|error| !error.contains("favicon.ico")).collect();
        ensure!(errors.is_empty(), "{errors:?}");
        Ok(())
    }
}

/// A ticket of the help desk; its number is `5156` and its id.
fn osticket(ticket: &str) -> Result<SitePage> {
    let number = format!("5156{ticket}");
    let page = SitePage::saved("osticket/ticket-device.html", STAFF_POLICY, &[("251638", &number), ("118", ticket)])?;
    Ok(page.with_style(OSTICKET_STYLE).with_script(PJAX))
}

fn connection(appliance: &SimulatedAppliance, site: &Site) -> String {
    let options = appliance.options();
    format!(
        r#"
        name = "{CONNECTION}"
        [appliance]
        id = "default"
        host = "{host}"
        client_id = "{client_id}"
        client_secret = "{client_secret}"
        allow_invalid_certificates = true
        event_token = "{EVENT_TOKEN}"
        [panel]
        issues = ["general_tech=General Technical Issues"]
        jumpoints = ["HQ-Net"]
        allow_jump_client = true
        allow_rdp = true
        [osticket]
        url = "{site}/support/"
        "#,
        host = appliance.host(),
        client_id = options.client_id,
        client_secret = options.client_secret,
        site = site.url,
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn from_pairing_to_a_session_beside_the_ticket() -> Result<()> {
    let stage = Stage::start(Settings { height: 1300, ..Settings::default() }).await?;
    stage.set_up().await?;
    stage.picture("options-paired.png").await?;

    stage.open(&stage.ticket("116")).await?;
    stage.browser().element(BUTTON).await?;
    ensure!(stage.count(BUTTON).await? == 1);
    stage.open_panel().await?;
    let target = stage.browser().element("#field-target").await?.value().await?.unwrap_or_default();
    ensure!(!target.is_empty(), "the machine comes from the ticket's page");
    stage.browser().click("[data-action='make-key']").await?;
    let key = stage.browser().text("[data-part='key']").await?;
    ensure!(key.len() == 7, "{key}");
    stage.browser().click("[data-action='insert-key']").await?;
    stage.browser().element_with_text("#notice", "").await?;
    let lsid = stage.appliance.begin_session_with_key(&key)?;
    for (_, step) in SessionScript::example("5156116").steps.into_iter().take(2) {
        stage.appliance.step(&lsid, step)?;
    }
    stage.browser().element("li[data-state='active']").await?;
    stage.browser().click("[data-action='jump']").await?;
    let launch = stage.browser().element("[data-part='launch']").await?.attr("href").await?.unwrap_or_default();
    ensure!(launch.contains(&target), "{launch}");
    stage.browser().leave_frames().await?;
    let tabs = stage.browser().driver().windows().await?;
    stage.browser().driver().switch_to_window(tabs[0].clone()).await?;
    stage.picture("osticket-panel.png").await?;
    let reply = stage.browser().execute("return document.querySelector('#response')?.value", vec![]).await?;
    ensure!(reply.as_str().is_some_and(|reply| reply.contains("?ak=")), "the invitation stands in the reply: {reply}");
    stage.no_errors().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_report_becomes_a_note_in_the_agents_own_session() -> Result<()> {
    let stage = Stage::start(Settings { height: 1300, ..Settings::default() }).await?;
    stage.set_up().await?;
    stage.open(&stage.ticket("116")).await?;
    stage.open_panel().await?;
    stage.browser().click("[data-action='make-key']").await?;
    let key = stage.browser().text("[data-part='key']").await?;
    let lsid = stage.appliance.begin_session_with_key(&key)?;
    for (_, step) in SessionScript::example("5156116").steps {
        stage.appliance.step(&lsid, step)?;
    }
    stage.browser().click("li[data-state='ended'] [data-action='record']").await?;
    stage.browser().element("li[data-state='recorded']").await?;
    stage.picture("osticket-recorded.png").await?;
    stage.browser().leave_frames().await?;
    stage.open(&stage.ticket("116")).await?;
    let notes = stage.browser().driver().find_all(By::Css(".thread-entry.note")).await?;
    let mut reports = 0;
    for note in notes {
        reports += usize::from(note.text().await?.contains("Rebuilt the mail profile"));
    }
    ensure!(reports == 1, "{reports} reports");
    stage.no_errors().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_report_that_waits_is_told_by_the_button_and_stands_on_top_of_the_panel() -> Result<()> {
    let stage = Stage::start(Settings { width: 1280, height: 720, ..Settings::default() }).await?;
    stage.set_up().await?;
    stage.open(&stage.ticket("116")).await?;
    let button_says = async |told: &str| {
        wait_until(stage.browser(), &format!("return document.querySelector(\"{BUTTON}\")?.ariaLabel === '{told}'")).await
    };
    button_says("Remote support").await?;
    stage.open_panel().await?;
    stage.browser().click("[data-action='make-key']").await?;
    let key = stage.browser().text("[data-part='key']").await?;
    let lsid = stage.appliance.begin_session_with_key(&key)?;
    let steps = SessionScript::example("5156116").steps;
    let mut steps = steps.into_iter();
    for (_, step) in steps.by_ref().take(2) {
        stage.appliance.step(&lsid, step)?;
    }
    stage.browser().element("li[data-state='active']").await?;
    stage.browser().leave_frames().await?;
    button_says("Remote support (a session is open)").await?;
    stage.picture("osticket-session-open-1280x720.png").await?;
    for (_, step) in steps {
        stage.appliance.step(&lsid, step)?;
    }
    button_says("Remote support (a report is waiting)").await?;
    stage.browser.enter_panel().await?;
    let in_view = "const { top, bottom } = document.querySelector(\"[data-action='record']\").getBoundingClientRect();
        return scrollY === 0 && top >= 0 && bottom <= innerHeight;";
    ensure!(stage.browser().execute(in_view, vec![]).await? == json!(true), "the button is below what is seen");
    stage.browser().leave_frames().await?;
    stage.picture("osticket-report-due-1280x720.png").await?;

    // A page that is opened later tells it, too, without its panel.
    stage.open(&stage.ticket("116")).await?;
    button_says("Remote support (a report is waiting)").await?;
    stage.open_panel().await?;
    stage.browser().click("[data-action='record']").await?;
    stage.browser().element("[data-section='sessions'] [data-action='reload-page']").await?;
    stage.browser().leave_frames().await?;
    stage.picture("osticket-report-added-1280x720.png").await?;
    stage.browser.enter_panel().await?;
    // The frame goes with its page, sometimes before the driver has answered for the click. What counts is the page that comes.
    stage.browser().click("[data-action='reload-page']").await.ok();
    stage.browser().leave_frames().await?;
    stage.browser().element_with_text(".thread-entry.note", "Rebuilt the mail profile").await?;
    button_says("Remote support").await?;
    stage.no_errors().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_panel_over_a_page_moves_with_its_button_and_closes_in_three_ways() -> Result<()> {
    let stage = Stage::start(Settings { width: 1280, height: 720, ..Settings::default() }).await?;
    let long = osticket("116")?.with_style("#content { padding-top: 200px; height: 3000px }");
    stage.site.add("/support/scp/tickets.php?id=116", long);
    stage.set_up().await?;
    stage.open(&stage.ticket("116")).await?;
    let browser = stage.browser();
    let gap = format!(
        "const [panel, button] = [{PANEL:?}, {BUTTON:?}].map((css) => document.querySelector(css).getBoundingClientRect());
         return Math.round(panel.top - button.bottom)"
    );
    stage.open_panel().await?;
    // Its own button, by the mouse.
    browser.click("[data-action='close']").await?;
    browser.leave_frames().await?;
    browser.wait_until_gone(PANEL).await?;
    ensure!(
        browser.execute("return document.activeElement === document.querySelector(arguments[0])", vec![json!(BUTTON)]).await?
            == json!(true)
    );

    stage.open_panel().await?;
    browser.leave_frames().await?;
    wait_until(browser, &gap.replace("return Math", "return 6 === Math")).await?;
    stage.picture("osticket-panel-1280x720.png").await?;
    browser.execute("scrollTo(0, 120)", vec![]).await?;
    wait_until(browser, &gap.replace("return Math", "return scrollY === 120 && 6 === Math")).await?;
    browser.execute("scrollTo(0, 2000)", vec![]).await?;
    wait_until(browser, "return document.querySelector('[data-deskbridge-panel]').getBoundingClientRect().top === 8").await?;

    // Escape in the page, whose focus stays where it is.
    browser.execute("scrollTo(0, 0); document.querySelector('#response').focus()", vec![]).await?;
    keys(browser, Key::Escape + "").await?;
    browser.wait_until_gone(PANEL).await?;
    ensure!(browser.execute("return document.activeElement.id", vec![]).await? == json!("response"));
    // A key the page has used itself closes nothing.
    browser.execute("document.querySelector('#response').onkeydown = (event) => event.preventDefault()", vec![]).await?;
    stage.open_panel().await?;
    browser.leave_frames().await?;
    browser.execute("document.querySelector('#response').focus()", vec![]).await?;
    keys(browser, Key::Escape + "").await?;
    ensure!(stage.count(PANEL).await? == 1);
    // Escape in the panel.
    stage.browser.enter_panel().await?;
    browser.click("#field-target").await?;
    keys(browser, Key::Escape + "").await?;
    browser.leave_frames().await?;
    browser.wait_until_gone(PANEL).await?;
    stage.no_errors().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_badge_outlives_a_toolbar_and_ends_with_what_it_tells() -> Result<()> {
    let stage = Stage::start(Settings::default()).await?;
    stage.set_up().await?;
    let lsid = stage.appliance.play(SessionScript::example("5156116"))?;
    let ended = async || -> Result<bool> {
        let colleague = device::Browser::paired(&stage.server, CONNECTION, &["--agent", "Bert"]).await?;
        let reference = json!({ "connection": CONNECTION, "ticket": "5156116", "lsid": lsid });
        Ok(colleague.ask(Method::POST, routes::SESSION_RECORDED, &reference.to_string()).await?.status == 200)
    };
    let button_says = async |told: &str| {
        wait_until(stage.browser(), &format!("return document.querySelector(\"{BUTTON}\")?.ariaLabel === '{told}'")).await
    };
    stage.open(&stage.ticket("116")).await?;
    stage.open_panel().await?;
    stage.browser().element("li[data-state='ended']").await?;
    stage.browser().leave_frames().await?;
    button_says("Remote support (a report is waiting)").await?;
    // The page draws its toolbar anew, and the button comes back to the open panel.
    stage.browser().execute("document.querySelector(arguments[0]).remove()", vec![json!(BUTTON)]).await?;
    button_says("Remote support (a report is waiting)").await?;
    stage.browser.enter_panel().await?;
    stage.browser().click("[data-action='close']").await?;
    stage.browser().leave_frames().await?;
    stage.browser().wait_until_gone(PANEL).await?;
    button_says("Remote support (a report is waiting)").await?;
    // A colleague adds it; the panel tells when it is opened.
    ensure!(ended().await?, "the colleague's report is recorded");
    stage.open_panel().await?;
    stage.browser().element("li[data-state='recorded']").await?;
    stage.browser().leave_frames().await?;
    button_says("Remote support").await?;
    stage.no_errors().await
}

/// osTicket's tabs for reply and note, as its script shows them one at a time.
const TABS: &str = "document.querySelector('#note').style.display = 'none';
    for (const tab of document.querySelectorAll('#response-tabs a')) tab.onclick = (event) => {
      event.preventDefault();
      for (const form of ['#reply', '#note']) document.querySelector(form).style.display = form === tab.getAttribute('href') ? '' : 'none';
    };";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn text_goes_into_the_reply_wherever_there_is_one() -> Result<()> {
    let stage = Stage::start(Settings { height: 1300, ..Settings::default() }).await?;
    stage.site.add("/support/scp/tickets.php?id=116", osticket("116")?.with_script(TABS));
    let read_only = SitePage::saved("osticket/ticket-read-only.html", STAFF_POLICY, &[])?.with_style(OSTICKET_STYLE);
    stage.site.add("/support/scp/tickets.php?id=120", read_only);
    stage.set_up().await?;
    stage.open(&stage.ticket("116")).await?;
    stage.browser().click("#post-note-tab").await?;
    let value = async || stage.browser().execute("return document.querySelector('#response').value", vec![]).await;
    stage.open_panel().await?;
    stage.browser().click("[data-action='make-key']").await?;
    stage.browser().click("[data-action='insert-key']").await?;
    stage.browser().element_with_text("#notice", "Inserted").await?;
    let to = stage.browser().element("[data-action='mail']").await?.attr("href").await?.unwrap_or_default();
    ensure!(to.starts_with("mailto:priya@customer.example?subject="), "{to}");
    stage.browser().leave_frames().await?;
    ensure!(value().await?.as_str().is_some_and(|reply| reply.contains("?ak=")), "{}", value().await?);
    stage.browser().element("#reply").await?;

    stage.open(&stage.ticket("120")).await?;
    stage.open_panel().await?;
    stage.browser().click("[data-action='make-key']").await?;
    stage.browser().element("[data-part='key']").await?;
    ensure!(stage.count("[data-action='insert-key']").await? == 0, "where no reply can be written, none is offered");
    stage.browser().leave_frames().await?;
    stage.picture("osticket-no-reply.png").await?;
    stage.no_errors().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_panel_that_waits_for_pairing_goes_on_by_itself() -> Result<()> {
    let stage = Stage::start(Settings { height: 900, ..Settings::default() }).await?;
    stage.browser.set(json!({ "sites": [stage.site.osticket("/support/", "")] })).await?;
    stage.open(&stage.ticket("116")).await?;
    let (browser, driver) = (stage.browser(), stage.browser().driver());
    stage.open_panel().await?;
    browser.element("[data-message='unpaired'] [data-action='settings']").await?;
    browser.leave_frames().await?;
    stage.picture("osticket-unpaired.png").await?;
    let page = driver.window().await?;
    stage.browser.enter_panel().await?;
    browser.click("[data-action='settings']").await?;
    browser.leave_frames().await?;
    wait_for_settings(browser).await?;
    let tab = driver.new_tab().await?;
    driver.switch_to_window(tab.clone()).await?;
    stage.browser.pair(&stage.pairing_link().await?).await?;
    driver.switch_to_window(page.clone()).await?;
    stage.browser.enter_panel().await?;
    browser.element("[data-action='make-key']").await?;

    // The key goes with the browser's data, and the panel says that.
    driver.switch_to_window(tab.clone()).await?;
    browser.execute("return deskbridge.keepKey('device', null)", vec![]).await?;
    driver.switch_to_window(page).await?;
    stage.open(&stage.ticket("116")).await?;
    stage.open_panel().await?;
    browser.element("[data-message='key-gone'] [data-action='settings']").await?;
    browser.leave_frames().await?;
    stage.picture("osticket-key-gone.png").await?;
    stage.no_errors().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_cannot_be_read_now_is_not_gone() -> Result<()> {
    let extension = tempfile::tempdir()?;
    set_up_by_policy(extension.path(), &json!({}))?;
    let read = "keptKey: (slot) => keys(";
    change(
        extension.path(),
        "bridge.js",
        read,
        &read.replace("keys(", "globalThis.sessionStorage?.isBroken ? Promise.reject(new Error('no')) : keys("),
    )?;
    let stage = Stage::start_with(Settings::default(), extension.path()).await?;
    stage.set_up().await?;
    stage.open(&stage.ticket("116")).await?;
    stage.open_panel().await?;
    stage.browser().execute("sessionStorage.isBroken = 1; location.reload()", vec![]).await?;
    stage.browser().leave_frames().await?;
    stage.browser.enter_panel().await?;
    stage.browser().element("[data-message='silent']").await?;
    stage.browser().leave_frames().await?;
    stage.picture("osticket-silent.png").await?;
    stage.browser.enter_panel().await?;
    stage.browser().execute("delete sessionStorage.isBroken", vec![]).await?;
    stage.browser().click("[data-action='try-again']").await?;
    stage.browser().leave_frames().await?;
    stage.browser.enter_panel().await?;
    stage.browser().element("[data-action='make-key']").await.map(drop)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_button_follows_the_ticket() -> Result<()> {
    let stage = Stage::start(Settings::default()).await?;
    stage.set_up().await?;
    stage.open(&stage.ticket("116")).await?;
    let of = |ticket: &str| format!("{BUTTON}[data-deskbridge='osticket:{ticket}']");
    stage.browser().element(&of("116")).await?;
    stage.browser().click(BUTTON).await?;
    stage.browser().element(PANEL).await?;

    let go = async |page: &str| stage.browser().execute("return pjax(arguments[0])", vec![json!(format!("tickets.php?{page}"))]).await;
    go("id=117").await?;
    stage.browser().element(&of("117")).await?;
    ensure!((stage.count(BUTTON).await?, stage.count(PANEL).await?) == (1, 0), "the other ticket's panel went with it");
    go("queue=1").await?;
    stage.browser().wait_until_gone("[data-deskbridge]").await?;
    go("id=116").await?;
    stage.browser().element(&of("116")).await?;
    stage.browser().driver().back().await?;
    stage.browser().wait_until_gone("[data-deskbridge]").await?;

    // osTicket draws a ticket again by itself; the panel that is open stays open.
    stage.open(&stage.ticket("116")).await?;
    stage.browser().click(BUTTON).await?;
    stage.browser.enter_panel().await?;
    stage.browser().element("[data-action='make-key']").await?;
    stage.browser().execute("window.isTheSame = true", vec![]).await?;
    stage.browser().leave_frames().await?;
    for _ in 0..3 {
        stage.browser().execute("document.querySelector('[data-deskbridge]:not([data-deskbridge-panel])').isOld = true", vec![]).await?;
        go("id=116").await?;
        wait_until(stage.browser(), "return !document.querySelector('[data-deskbridge]:not([data-deskbridge-panel])')?.isOld && document.querySelectorAll('[data-deskbridge]').length === 2").await?;
    }
    let redraw = "const container = document.querySelector('#pjax-container');
        const page = container.innerHTML;
        container.replaceChildren();
        return new Promise((resolve) => setTimeout(() => { container.innerHTML = page; resolve(); }, 300));";
    stage.browser().execute(redraw, vec![]).await?;
    wait_until(stage.browser(), "return document.querySelectorAll('[data-deskbridge]').length === 2").await?;
    stage.browser.enter_panel().await?;
    ensure!(stage.browser().execute("return window.isTheSame", vec![]).await? == json!(true), "the panel was loaded anew");
    stage.browser().leave_frames().await?;

    // What the keyboard shortcut makes the background say; no driver can press a browser's own shortcut.
    stage.open(&stage.ticket("117")).await?;
    stage.browser().element(BUTTON).await?;
    let page = stage.browser().driver().window().await?;
    let tab = stage.browser().driver().new_tab().await?;
    stage.browser().driver().switch_to_window(tab).await?;
    stage.browser.open_options().await?;
    let shortcut = "return chrome.commands.getAll().then((all) => all.find(({ name }) => name === 'open-panel').shortcut)";
    let shortcut = stage.browser().execute(shortcut, vec![]).await?;
    ensure!(stage.browser().text("kbd").await? == shortcut.as_str().unwrap_or_default() && shortcut != json!(""), "{shortcut}");
    let open = "return chrome.tabs.query({ url: arguments[0] }).then(([tab]) => chrome.tabs.sendMessage(tab.id, { type: 'open' }))";
    let told = stage.browser().execute(open, vec![json!(format!("{}/*", stage.site.url.rsplit_once(':').context("a port")?.0))]).await?;
    ensure!(told == json!(true), "{told}");
    stage.browser().driver().switch_to_window(page).await?;
    stage.browser().element(PANEL).await?;
    stage.no_errors().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_card_in_autotasks_frame_under_the_strictest_policy() -> Result<()> {
    let stage = Stage::start(Settings::default()).await?;
    stage.browser.pair(&stage.pairing_link().await?).await?;
    stage.browser.set(json!({ "server": stage.server.public_url(), "sites": [stage.site.autotask(CONNECTION)] })).await?;
    let shell = stage.site.add("/AutotaskOnyx/LandingPage?view-data=e30", SitePage::saved("autotask/shell.html", STRICTEST_POLICY, &[])?);
    let detail = "/Mvc/ServiceDesk/TicketDetail.mvc?workspace=False&ticketId=35754";
    stage.site.add(detail, SitePage::saved("autotask/detail.html", STRICTEST_POLICY, &[])?);
    stage.open(&shell).await?;
    stage.browser().enter_frame("iframe").await?;
    let card = stage.browser().element(&format!("{BUTTON}[data-deskbridge='autotask:35754']")).await?;
    ensure!(stage.count(BUTTON).await? == 1);
    let place = card.find(By::Css(".ContentContainer > .Content > div")).await?;
    stage.browser().in_shadow_of(&place, "button").await?.click().await?;
    stage.browser.enter_panel().await?;
    stage.browser().click("[data-action='make-key']").await?;
    stage.browser().element("[data-part='key']").await?;
    stage.browser().leave_frames().await?;
    ensure!(stage.count("[data-deskbridge]").await? == 0, "the shell around has nothing of ours");
    stage.picture("autotask-panel.png").await?;
    stage.no_errors().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_pages_cannot_show_the_panel() -> Result<()> {
    let stage = Stage::start(Settings::default()).await?;
    stage.set_up().await?;
    stage.open(&stage.ticket("116")).await?;
    stage.open_panel().await?;
    stage.browser().element("[data-action='make-key']").await?;
    stage.browser().leave_frames().await?;
    // As nobody but the content script and this driver can see it.
    let host = stage.browser().driver().find(By::Css(PANEL)).await?;
    let panel = stage.browser().in_shadow_of(&host, "iframe").await?.attr("src").await?.context("an address")?;
    ensure!(!panel.starts_with(&stage.browser.origin), "the panel has an address of its own in each run of the browser: {panel}");

    let refused = async |why: &str| -> Result<()> {
        stage.browser().enter_frame("#thief").await?;
        stage.browser().element_with_text("#panel", "may not show the panel").await?;
        ensure!(stage.count("button, a, input").await? == 0, "{why}");
        stage.browser().leave_frames().await
    };
    let steal = "return new Promise((resolve) => {
        const thief = Object.assign(document.createElement('iframe'), { id: 'thief', src: arguments[0], onload: () => resolve(true) });
        document.body.append(thief);
      })";
    stage.browser().execute(steal, vec![json!(panel)]).await?;
    refused("a second frame on the ticket's own page, with the first one's address").await?;

    let evil = Site::start().await?;
    let address = evil.add("/", SitePage::new("<!doctype html><title>Evil</title><body></body>", "")).replace("127.0.0.1", "localhost");
    let tab = stage.browser().driver().new_tab().await?;
    stage.browser().driver().switch_to_window(tab).await?;
    for src in [panel.clone(), panel.split('#').next().unwrap_or_default().to_owned(), format!("{}0", &panel[..panel.len() - 1])] {
        stage.open(&address).await?;
        stage.browser().execute(steal, vec![json!(src)]).await?;
        refused("a page of another site").await?;
    }
    stage.picture("refused.png").await?;
    stage.open(&address).await?;
    stage.browser().execute(steal, vec![json!(format!("{}/panel.html", stage.browser.origin))]).await?;
    stage.browser().enter_frame("#thief").await?;
    ensure!(stage.count("#panel").await? == 0, "under the address everybody knows there is no panel at all");
    stage.browser().leave_frames().await?;
    for page in ["panel.html", "options.html", "core_bg.wasm", "background.js", "manifest.json"] {
        let src = format!("{}/{page}", stage.browser.origin);
        let script = "return fetch(arguments[0]).then(() => true, () => false)";
        ensure!(stage.browser().execute(script, vec![json!(src)]).await? == json!(false), "{page} is open to web pages");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_page_makes_up_moves_nothing() -> Result<()> {
    let stage = Stage::start(Settings::default()).await?;
    stage.set_up().await?;
    stage.open(&stage.ticket("116")).await?;
    stage.browser().element(BUTTON).await?;
    let forge = "for (let round = 0; round < 50; round += 1) {
        document.dispatchEvent(new CustomEvent('deskbridge:newer'));
        window.dispatchEvent(new CustomEvent('deskbridge:newer'));
        for (const data of [{ close: true }, { height: 3000 }, { type: 'open' }]) {
          window.postMessage(data, '*');
          window.dispatchEvent(new MessageEvent('message', { data, origin: arguments[0] }));
        }
      }
      const button = document.querySelector('[data-deskbridge]:not([data-deskbridge-panel])');
      button.click();
      button.dispatchEvent(new KeyboardEvent('keydown', { key: ' ', bubbles: true }));
      return typeof globalThis.deskbridge + typeof globalThis.chrome?.runtime?.sendMessage";
    let reach = stage.browser().execute(forge, vec![json!(stage.browser.origin)]).await?;
    ensure!(reach == json!("undefinedundefined"), "the page reaches {reach}");
    ensure!((stage.count(BUTTON).await?, stage.count(PANEL).await?) == (1, 0), "made-up presses open nothing");

    let listen =
        "window.heard = []; addEventListener('message', ({ origin, data }) => window.heard.push(`${origin} ${JSON.stringify(data)}`))";
    stage.browser().execute(listen, vec![]).await?;
    stage.open_panel().await?;
    stage.browser().element("[data-action='make-key']").await?;
    // A press that nobody made makes no key: a button that was pressed is busy at once.
    let press = "const button = document.querySelector('[data-action=\"make-key\"]'); button.click(); return button.ariaDisabled";
    ensure!(stage.browser().execute(press, vec![]).await? == Value::Null);
    stage.browser().leave_frames().await?;
    let frames =
        "return [document.querySelector('[data-deskbridge-panel]').shadowRoot, window.length, document.querySelectorAll('iframe').length]";
    ensure!(stage.browser().execute(frames, vec![]).await? == json!([null, 0, 0]), "the page has no way to the frame");
    let known = "return performance.getEntries().map(({ name }) => name).concat(window.heard)";
    let known = stage.browser().execute(known, vec![]).await?.to_string();
    ensure!(known.contains("tickets.php") && !known.contains("extension"), "the page learns the frame's address: {known}");
    let height = "return document.querySelector('[data-deskbridge-panel]').offsetHeight";
    let before = stage.browser().execute(height, vec![]).await?;
    stage.browser().execute(forge, vec![json!(stage.browser.origin)]).await?;
    ensure!(stage.count(PANEL).await? == 1, "the panel stays open");
    ensure!(stage.browser().execute(height, vec![]).await? == before, "and keeps its height");
    stage.browser.enter_panel().await?;
    stage.browser().click("[data-action='make-key']").await?;
    stage.browser().element("[data-part='key']").await?;
    ensure!(stage.appliance.count(|request| request.is("generate_session_key")) == 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_panel_that_is_covered_takes_no_press() -> Result<()> {
    let stage = Stage::start(Settings::default()).await?;
    stage.set_up().await?;
    stage.open(&stage.ticket("116")).await?;
    stage.open_panel().await?;
    stage.browser().element("[data-action='make-key']").await?;
    stage.browser().leave_frames().await?;
    let bait = "const panel = document.querySelector('[data-deskbridge-panel]').getBoundingClientRect();
        const bait = Object.assign(document.createElement('div'), { id: 'bait', textContent: 'Win a prize' });
        bait.style.cssText = `position: fixed; z-index: 2147483647; background: #fff; opacity: 0.9; pointer-events: none; top: ${panel.top}px;
          left: ${panel.left}px; width: ${panel.width}px; height: ${panel.height}px`;
        document.body.append(bait);";
    let seen_through = "document.querySelector('[data-deskbridge-panel]').style.setProperty('opacity', '0')";
    let cleared =
        "document.querySelector('#bait')?.remove(); document.querySelector('[data-deskbridge-panel]').style.removeProperty('opacity')";
    for trick in [seen_through, bait] {
        stage.browser().execute(trick, vec![]).await?;
        let host = stage.browser().driver().find(By::Css(PANEL)).await?;
        stage.browser().in_shadow_of(&host, "iframe").await?.enter_frame().await?;
        stage.browser().element("html:not([data-in-sight])").await?;
        stage.browser().click("[data-action='make-key']").await?;
        stage.browser().element_with_text("#notice", "did not count").await?;
        ensure!(stage.count("[data-part='key']").await? == 0, "{trick}");
        stage.browser().leave_frames().await?;
        stage.browser().execute(cleared, vec![]).await?;
        stage.browser.enter_panel().await?;
        stage.browser().leave_frames().await?;
    }
    ensure!(stage.appliance.count(|request| request.is("generate_session_key")) == 0);
    stage.browser.enter_panel().await?;
    stage.browser().click("[data-action='make-key']").await?;
    stage.browser().element("[data-part='key']").await?;
    // What the panel itself does covers nothing.
    stage.browser().element("html[data-in-sight]").await?;
    stage.browser().leave_frames().await?;
    // Another tab hides it; whoever comes back sees it again.
    let page = stage.browser().driver().window().await?;
    let tab = stage.browser().driver().new_tab().await?;
    stage.browser().driver().switch_to_window(tab).await?;
    stage.browser.open_options().await?;
    stage.browser().driver().switch_to_window(page).await?;
    stage.browser.enter_panel().await?;
    stage.browser().element("[data-part='key']").await?;
    stage.no_errors().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ticket_in_a_strangers_frame_gets_nothing() -> Result<()> {
    let stage = Stage::start(Settings::default()).await?;
    stage.browser.set(json!({ "sites": [stage.site.autotask(CONNECTION)] })).await?;
    let detail = "/Mvc/ServiceDesk/TicketDetail.mvc?workspace=False&ticketId=35754";
    let detail = stage.site.add(detail, SitePage::saved("autotask/detail.html", STRICTEST_POLICY, &[])?);
    let framing = |address: &str| SitePage::new(&format!("<!doctype html><title>x</title><body><iframe src='{address}'></iframe>"), "");
    // Another origin and site, on the same machine.
    let stranger = Site::start().await?.add("/", framing(&detail)).replace("127.0.0.1", "localhost");
    let both = format!(
        "<!doctype html><title>x</title><body><iframe id='strange' src='{stranger}'></iframe><iframe id='own' src='{detail}'></iframe>"
    );
    let around = stage.site.add("/", SitePage::new(&both, ""));
    for top in [&stranger, &around] {
        stage.open(top).await?;
        if top == &around {
            // Begun last: by then the other would have its card.
            stage.browser().enter_frame("#own").await?;
            stage.browser().element(BUTTON).await?;
            stage.browser().leave_frames().await?;
            stage.browser().enter_frame("#strange").await?;
        }
        stage.browser().enter_frame("iframe").await?;
        stage.browser().element(".ContentContainer").await?;
        ensure!(stage.count("[data-deskbridge]").await? == 0, "{top}");
        stage.browser().leave_frames().await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_code_is_used_once_though_its_answer_is_lost() -> Result<()> {
    let stage = Stage::start(Settings::default()).await?;
    stage.browser.open_options().await?;
    // The server is asked and answers, and the page does not hear it.
    let lose = "window.sent = window.fetch;
        window.fetch = async (...asked) => { await window.sent(...asked); throw new TypeError('lost'); };";
    stage.browser().execute(lose, vec![]).await?;
    let link = stage.pairing_link().await?;
    stage.browser().type_into("#field-code", &link).await?;
    stage.browser().click("[data-action='pair']").await?;
    stage.browser().element_with_text("[data-section='pairing'] .notice-fault", "does not answer").await?;
    ensure!(stage.devices().await? == 1);
    // The same browser, later.
    stage.browser.pair(&link).await?;
    ensure!(stage.devices().await? == 1, "the code's one use is this browser's");
    stage.browser().click("[data-action='check']").await?;
    stage.browser().element_with_text("[data-section='pairing'] .notice-done", "Everything works").await.map(drop)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_policy_pairs_once_however_often_it_is_heard() -> Result<()> {
    let (site, appliance, server) = Stage::around().await?;
    let code = pairing_code(&server, CONNECTION, &["--uses", "5"]).await?;
    let extension = tempfile::tempdir()?;
    set_up_by_policy(extension.path(), &json!({ "serverUrl": server.public_url(), "enrolmentToken": code }))?;
    let own = "api.commands.onCommand";
    change(extension.path(), "background.js", own, &format!("for (let time = 0; time < 3; time += 1) pairByPolicy();\n{own}"))?;
    let browser = ExtendedBrowser::start_with(Settings::default(), extension.path()).await?;
    let stage = Stage { site, appliance, server, browser };
    stage.browser.open_options().await?;
    stage.browser().element("[data-state='paired']").await?;
    // Whoever pairs now waits for those before him.
    let last = "return navigator.locks.request('deskbridge-pairing', () => true)";
    ensure!(stage.browser().execute(last, vec![]).await? == json!(true));
    ensure!(stage.devices().await? == 1);
    stage.browser().click("[data-action='check']").await?;
    stage.browser().element_with_text("[data-section='pairing'] .notice-done", "Everything works").await.map(drop)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_background_that_fails_is_asked_again() -> Result<()> {
    let extension = tempfile::tempdir()?;
    set_up_by_policy(extension.path(), &json!({}))?;
    let asked = "const { reply, forward, sessionsOf, opensSettings } = await answer(message, sender);";
    let fails = "globalThis.failed ??= {};
        if (['look', 'plan', 'mount'].includes(message.type) && !failed[message.type]) throw new Error(failed[message.type] = 'not now');";
    change(extension.path(), "background.js", asked, &format!("{fails}\n{asked}"))?;
    let stage = Stage::start_with(Settings::default(), extension.path()).await?;
    stage.set_up().await?;
    stage.open(&stage.ticket("116")).await?;
    stage.browser().click(BUTTON).await?;
    stage.browser().click(BUTTON).await?;
    stage.browser.enter_panel().await?;
    stage.browser().element("[data-action='make-key']").await?;
    stage.browser().leave_frames().await?;
    ensure!(stage.count(PANEL).await? == 1);
    stage.no_errors().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_that_takes_its_content_script_over_reads_nothing() -> Result<()> {
    let stage = Stage::start(Settings::default()).await?;
    stage.set_up().await?;
    stage.open(&stage.ticket("116")).await?;
    stage.browser().element(BUTTON).await?;
    let tab = stage.browser().driver().new_tab().await?;
    stage.browser().driver().switch_to_window(tab).await?;
    stage.browser.open_options().await?;
    let read = "const [tab] = await chrome.tabs.query({ url: arguments[0] });
        const func = () => Promise.all([chrome.storage.local, chrome.storage.session].map((area) => area.get().catch((error) => String(error))));
        const [{ result }] = await chrome.scripting.executeScript({ target: { tabId: tab.id }, func });
        return result;";
    let read = format!("return (async (...arguments_) => {{ {} }})(...arguments)", read.replace("arguments[0]", "arguments_[0]"));
    let pages = format!("{}/*", stage.site.url.rsplit_once(':').context("a port")?.0);
    let read = stage.browser().execute(&read, vec![json!(pages)]).await?;
    let is_refused = |area: &Value| area.as_str().is_some_and(|error| error.contains("not allowed"));
    ensure!(read.as_array().is_some_and(|areas| areas.len() == 2 && areas.iter().all(is_refused)), "{read}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_update_takes_over_open_pages() -> Result<()> {
    let stage = Stage::start(Settings::default()).await?;
    stage.set_up().await?;
    stage.open(&stage.ticket("116")).await?;
    stage.browser().element(BUTTON).await?;
    stage.browser().execute("document.querySelector('[data-deskbridge]').isOld = true", vec![]).await?;
    let page = stage.browser().driver().window().await?;
    let tab = stage.browser().driver().new_tab().await?;
    stage.browser().driver().switch_to_window(tab).await?;
    stage.browser.open_options().await?;
    // The page goes with the old version.
    stage.browser().execute("setTimeout(() => chrome.runtime.reload())", vec![]).await?;
    stage.browser().driver().switch_to_window(page).await?;
    wait_until(stage.browser(), "const own = document.querySelectorAll('[data-deskbridge]'); return own.length === 1 && !own[0].isOld")
        .await?;
    stage.open_panel().await?;
    stage.browser().click("[data-action='make-key']").await?;
    stage.browser().element("[data-part='key']").await?;
    stage.browser().leave_frames().await?;
    ensure!(stage.count(BUTTON).await? == 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_options_page_says_what_is_wrong() -> Result<()> {
    let stage = Stage::start(Settings { height: 1500, ..Settings::default() }).await?;
    stage.browser.open_options().await?;
    stage.picture("options-new.png").await?;
    let told = async |part: &str, name: &str| -> Result<()> {
        stage.browser().element_with_text("[data-section='pairing'] .notice-fault", part).await?;
        stage.picture(name).await
    };
    let test = async || stage.browser().click("[data-action='check']").await;
    test().await?;
    told("not paired yet", "options-unpaired.png").await?;
    stage.browser().type_into("#field-code", "https://127.0.0.1:1/pair#ABCD-EFGH-JKMN-PQRS").await?;
    stage.browser().click("[data-action='pair']").await?;
    told("does not answer", "options-unreachable.png").await?;
    let wrong = PairingLink::text(stage.server.public_url(), "ABCD-EFGH-JKMN-PQRS");
    stage.browser().type_into("#field-code", &wrong).await?;
    stage.browser().click("[data-action='pair']").await?;
    told("does not know this code", "options-wrong-code.png").await?;

    stage.browser.pair(&stage.pairing_link().await?).await?;
    test().await?;
    stage.browser().element_with_text("[data-section='pairing'] .notice-done", "Everything works").await?;
    stage.browser().element_with_text("[data-section='pairing'] .notice-fault", "has no connection").await?;
    stage.browser().type_into("#field-new-site", &format!("{}/support/scp/index.php", stage.site.url)).await?;
    stage.browser().click("[data-action='add-osticket']").await?;
    stage.browser().element(&format!("[data-site='{}/support/']", stage.site.url)).await?;
    stage.browser().click("[data-action='toggle-1']").await?;
    stage.picture("options-at-work.png").await?;
    stage.open(&stage.ticket("116")).await?;
    stage.browser().element(BUTTON).await?;

    let revoked = stage.server.command(&["devices", "revoke", "--agent", "Avery"]).await?;
    ensure!(revoked.status.success());
    stage.open_panel().await?;
    stage.browser().element_with_text("[data-message='failed']", "pairing was ended").await?;
    stage.browser().element("[data-message='failed'] [data-action='settings']").await?;
    stage.browser().leave_frames().await?;
    stage.picture("osticket-revoked.png").await?;
    stage.browser.open_options().await?;
    test().await?;
    told("pairing was ended", "options-revoked.png").await?;
    stage.browser().click("[data-action='forget']").await?;
    stage.browser().element_with_text("[data-action='forget']", "Really forget").await?;
    stage.browser().click("[data-action='forget']").await?;
    stage.browser().element("[data-state='unpaired']").await?;
    ensure!(stage.browser().execute("return chrome.storage.local.get('paired')", vec![]).await? == json!({}));
    let language = stage.browser().element("#field-language").await?;
    language.find(By::Css("option[value='de']")).await?.click().await?;
    stage.browser().element_with_text("h1", "Deskbridge-Einstellungen").await?;
    stage.picture("options-german.png").await?;
    let unnamed = "return [...document.querySelectorAll('button, a, input, select, textarea')]
        .filter((node) => !(node.textContent.trim() || node.labels?.length)).map((node) => node.outerHTML)";
    ensure!(stage.browser().execute(unnamed, vec![]).await? == json!([]), "every control has a name");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_control_of_the_options_page_takes_keys_and_mouse() -> Result<()> {
    let stage = Stage::start(Settings { height: 1700, ..Settings::default() }).await?;
    let sites = json!([stage.site.osticket("/support/", ""), { "kind": "autotask", "url": "https://*.autotask.net/" }]);
    stage.browser.set(json!({ "sites": sites })).await?;
    stage.browser.open_options().await?;
    let browser = stage.browser();
    let site = async |member: &str, expected: Value| {
        let kept = "chrome.storage.local.get('stored').then(({ stored }) => JSON.stringify(stored.sites[0]";
        wait_until(browser, &format!("return {kept}.{member}) === '{expected}')")).await
    };

    // Keys alone: an address, the pairing with a name, a choice from a drop-down, lists.
    go_to(browser, "#field-server").await?;
    keys(browser, stage.server.public_url()).await?;
    go_to(browser, "[data-action='save-server']").await?;
    keys(browser, Key::Enter + "").await?;
    browser.element_with_text(".announcement", "Saved").await?;
    let link = stage.pairing_link().await?;
    go_to(browser, "#field-code").await?;
    keys(browser, link.as_str()).await?;
    go_to(browser, "#field-name").await?;
    keys(browser, "Front desk").await?;
    keys(browser, Key::Enter + "").await?;
    browser.element_with_text("[data-state='paired']", "Front desk").await?;
    go_to(browser, "#field-connection-0").await?;
    keys(browser, Key::Down + "").await?;
    site("connection", json!(CONNECTION)).await?;
    go_to(browser, "[data-action='toggle-0']").await?;
    keys(browser, Key::Space + "").await?;
    for (field, member, typed, kept) in [
        ("#field-labels-0", "targetLabels", "Machine\nRechner", json!(["Machine", "Rechner"])),
        ("#field-targets-0", "targetSelectors", ".machine", json!([".machine"])),
        ("#field-mounts-0", "mountSelectors", "#bar > .x", json!(["#bar > .x"])),
    ] {
        go_to(browser, field).await?;
        keys(browser, typed).await?;
        let shown = browser.element(field).await?.prop("value").await?;
        ensure!(shown.as_deref() == Some(typed), "{field} shows {shown:?}");
        keys(browser, Key::Tab + "").await?;
        site(member, kept).await?;
    }
    go_to(browser, "#field-language").await?;
    keys(browser, "D").await?;
    browser.element_with_text("h1", "Deskbridge-Einstellungen").await?;

    // The mouse opens a drop-down; the list itself is the browser's, outside the page, and takes keys.
    for (field, chosen) in [("#field-language", "en"), ("#field-connection-0", "")] {
        browser.click(field).await?;
        keys(browser, Key::Up + Key::Enter).await?;
        let chose = browser.element(field).await?.prop("value").await?;
        ensure!(chose.as_deref() == Some(chosen), "{field} shows {chose:?}");
    }
    site("connection", json!("")).await?;
    stage.no_errors().await
}

/// Waits for a tab with the settings; the driver does not list those an extension opens.
async fn wait_for_settings(browser: &Browser) -> Result<()> {
    let is_settings = |target: &Value| target["type"] == "page" && target["url"].as_str().is_some_and(|url| url.ends_with("/options.html"));
    until("the settings are opened", Duration::from_secs(20), async || {
        let targets = browser.cdp("Target.getTargets", json!({})).await?;
        Ok(targets["targetInfos"].as_array().is_some_and(|targets| targets.iter().any(is_settings)))
    })
    .await
}

/// Presses the tab key until the keyboard is on that control.
async fn go_to(browser: &Browser, css: &str) -> Result<()> {
    browser.execute("document.activeElement?.blur(); document.body.tabIndex = -1; document.body.focus()", vec![]).await?;
    for _ in 0..60 {
        keys(browser, Key::Tab + "").await?;
        if browser.execute("return document.activeElement.matches(arguments[0])", vec![json!(css)]).await? == json!(true) {
            return Ok(());
        }
    }
    bail!("the keyboard does not come to {css}")
}

/// Presses keys, wherever the keyboard is.
async fn keys(browser: &Browser, keys: impl Into<TypingData>) -> Result<()> {
    browser.driver().action_chain().send_keys(keys).perform().await.context("the keys were not pressed")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_german_panel_words_the_servers_refusal_in_german() -> Result<()> {
    let stage = Stage::start(Settings::default()).await?;
    stage.browser.set(json!({ "sites": [stage.site.osticket("/support/", "")], "language": "de" })).await?;
    stage.browser.pair(&stage.pairing_link().await?).await?;
    stage.open(&stage.ticket("116")).await?;
    stage.open_panel().await?;
    let fault = appliance::Fault::ErrorDocument("No licence is free.".into());
    stage.appliance.add_fault(appliance::FaultRule::next(1, fault).on("generate_session_key"));
    stage.browser().click("[data-action='make-key']").await?;
    let said = stage.browser().text("[data-section='key'] [role='alert']").await?;
    ensure!(said == "Das Fernwartungssystem hat abgelehnt. Es meldet: „No licence is free.“", "{said}");
    stage.browser().leave_frames().await?;
    ensure!(stage.server.command(&["devices", "revoke", "--agent", "Avery"]).await?.status.success());
    stage.open(&stage.ticket("117")).await?;
    stage.open_panel().await?;
    let said = stage.browser().text("[data-message='failed']").await?;
    ensure!(said.contains("Die Kopplung dieses Browsers wurde beendet."), "{said}");
    stage.browser().leave_frames().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_with_umlauts_are_taken_where_they_are_typed() -> Result<()> {
    let stage = Stage::start(Settings::default()).await?;
    stage.browser.set(json!({ "language": "de" })).await?;
    stage.browser.open_options().await?;
    for (field, button) in [("server", "save-server"), ("new-site", "add-osticket")] {
        // Chromium does not look into what is encoded already (`xn--a`).
        for bad in ["fern..müller.de", "fern müller.de", "fern☃.de", "xn--", "אa.de"] {
            stage.browser().type_into(&format!("#field-{field}"), bad).await?;
            stage.browser().click(&format!("[data-action='{button}']")).await?;
            stage
                .browser()
                .element_with_text(&format!("#fault-{field}"), "Dieser Name kann für keinen Server verwendet werden.")
                .await
                .context(bad)?;
        }
    }
    for typed in ["https://Fern.Müller.de:8443/", "fern.mu\u{308}ller.de:8443", "fern.xn--mller-kva.de:8443"] {
        stage.browser().type_into("#field-server", typed).await?;
        stage.browser().click("[data-action='save-server']").await?;
        stage.browser().element_with_text("[role='status']", "Gespeichert.").await.context(typed)?;
        let stored =
            stage.browser().execute("return chrome.storage.local.get('stored').then(({ stored }) => stored.server)", vec![]).await?;
        ensure!(stored == json!("https://fern.xn--mller-kva.de:8443"), "{typed}: {stored}");
    }
    // Nothing answers under that name, which is asked for in the form that DNS knows.
    stage.browser().type_into("#field-code", "https://müller.invalid/pair#ABCD-EFGH-JKMN-PQRS").await?;
    stage.browser().click("[data-action='pair']").await?;
    let fault = "[data-section='pairing'] .notice-fault";
    stage.browser().element_with_text(fault, "https://xn--mller-kva.invalid antwortet nicht").await.map(drop)
}

/// Waits until a script answers `true`.
async fn wait_until(browser: &Browser, script: &str) -> Result<()> {
    let waiting = format!(
        "const until = Date.now() + 15000;
        const is = () => {{ {script} }};
        return new Promise((resolve, reject) => {{
          const look = async () => (await is()) ? resolve(true) : Date.now() > until ? resolve(false) : setTimeout(() => look().catch(reject), 20);
          look().catch(reject);
        }});"
    );
    let came: Value = browser.execute(&waiting, vec![]).await?;
    ensure!(came == json!(true), "never came: {script}");
    Ok(())
}
