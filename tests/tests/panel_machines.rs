//! The panel's list of machines in a real browser, inside the simulated agent workspace, with a real MeshCentral and its real machines.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use deskbridge_tests::browser::{Browser, Settings};
use deskbridge_tests::mesh_scene::{MeshPlan, MeshScene};
use deskbridge_tests::meshcentral::{RealAgent, Technician, is_obtainable_for};
use deskbridge_tests::server::{loopback_client, until};
use deskbridge_tests::zendesk::SimulatedZendesk;
use serde_json::{Value, json};
use thirtyfour::prelude::{Key, TypingData};

const PANEL: &str = "#app";
/// What is pushed must be seen within so long.
const LIVE: Duration = Duration::from_secs(15);
/// MeshCentral tells of a recording five seconds after the session's end.
const RECORDED: Duration = Duration::from_mins(1);

/// A scene with a browser before one of its tickets.
struct Stage {
    scene: MeshScene,
    browser: Browser,
}

impl Stage {
    async fn open(settings: Settings) -> Result<Self> {
        let scene = MeshScene::start(MeshPlan::default()).await?;
        let browser = Browser::start(&Settings { height: 1_000, ..settings }).await?;
        Ok(Self { scene, browser })
    }

    async fn ticket(&self, agent: u64) -> Result<()> {
        self.browser.open(&self.scene.zendesk.ticket_page(self.scene.people.vpn_ticket, agent)).await?;
        self.browser.enter_frame(PANEL).await?;
        self.browser.element("li[data-state]").await?;
        Ok(())
    }

    async fn run(&self, script: &str) -> Result<Value> {
        self.browser.execute(script, vec![]).await
    }

    /// Presses keys where the keyboard's place is.
    async fn press(&self, keys: impl Into<TypingData>) -> Result<()> {
        Ok(self.browser.driver().action_chain().send_keys(keys).perform().await?)
    }

    /// Goes with Tab to the next button of that name.
    async fn tab_to(&self, action: &str) -> Result<()> {
        for _ in 0..12 {
            self.press(Key::Tab).await?;
            if self.run("return document.activeElement.dataset.action").await? == json!(action) {
                return Ok(());
            }
        }
        bail!("Tab does not lead to {action}")
    }

    /// Waits until a script returns true in the panel.
    async fn see(&self, what: &str, script: &str) -> Result<()> {
        until(what, LIVE, async || Ok(self.run(script).await? == json!(true))).await
    }

    /// Waits for a passing message of the page around the panel.
    async fn notice(&self, text: &str) -> Result<()> {
        self.browser.leave_frames().await?;
        self.browser.element_with_text("#toasts", text).await?;
        self.browser.enter_frame(PANEL).await
    }

    /// How many links MeshCentral has for the machine.
    async fn links(&self) -> Result<usize> {
        Ok(self.scene.mesh.service().await?.shares(self.scene.agent.id()).await?.len())
    }

    /// Takes a picture of the sidebar, where one is wanted.
    async fn picture(&self, name: &str) -> Result<()> {
        if let Some(folder) = std::env::var_os("DESKBRIDGE_SCREENSHOTS") {
            self.browser.leave_frames().await?;
            self.browser.element(PANEL).await?.screenshot(&PathBuf::from(folder).join(name)).await?;
            self.browser.enter_frame(PANEL).await?;
        }
        Ok(())
    }
}

/// Counts the panel's questions for the list from now on, and keeps the answers' way free.
const COUNT: &str = "window.lists = 0;
    const before = window.fetch;
    window.fetch = (path, ...more) => { if (String(path).includes('/machines')) lists++; return before(path, ...more); };";

/// Counts the panel's questions for a link from now on, and holds them until `release()`.
const HOLD: &str = "window.jumps = 0;
    const before = window.fetch;
    const released = new Promise((release) => { window.release = release; });
    window.fetch = async (path, ...more) => {
        if (String(path).endsWith('/jump')) { jumps++; await released; }
        return before(path, ...more);
    };";

/// The section that has the keyboard.
const FOCUSED_SECTION: &str = "return document.activeElement.closest('[data-section]')?.dataset.section";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_is_made_once_shown_at_its_machine_and_ended() -> Result<()> {
    if !is_obtainable_for("a_link_is_made_once_shown_at_its_machine_and_ended")? {
        return Ok(());
    }
    let stage = Stage::open(Settings::default()).await?;
    let browser = &stage.browser;
    let _another = RealAgent::start(&stage.scene.mesh, "Workshop", None).await?;
    stage.ticket(stage.scene.people.agent).await?;
    ensure!(
        stage.run("return [...document.querySelectorAll('[data-section]')].map((section) => section.dataset.section)").await?
            == json!(["machines", "sessions"]),
        "no key, no Jump, no chat"
    );
    browser.element_with_text("li[data-state='online'] .badge", "Online").await?;
    browser.element_with_text("li[data-state='online']", "Workshop").await?;
    let list = browser.element("[data-section='machines'] ul").await?;
    ensure!(browser.role_and_name(&list).await?.0 == "list");
    let item = browser.element("[data-section='machines'] li").await?;
    ensure!(browser.role_and_name(&item).await?.0 == "listitem");
    let terminal = browser.element("[data-action='terminal']").await?;
    ensure!(browser.role_and_name(&terminal).await? == ("button".into(), "Terminal, Reception".into()));

    stage.run(HOLD).await?;
    browser.driver().action_chain().double_click_element(&terminal).perform().await?;
    ensure!(stage.run("return jumps").await? == json!(1), "the second press asks for nothing");
    stage.run("release()").await?;
    browser.element("[data-action='end-link']").await?;
    ensure!(stage.links().await? == 1);
    ensure!(browser.driver().windows().await?.len() == 2, "one tab was opened");
    ensure!(stage.run("return document.activeElement.dataset.action").await? == json!("terminal"), "the keyboard stays");
    let row = browser.text("li .notice-done").await?;
    for part in ["Terminal", "Expires in", "Copy link for the technician", "End link"] {
        ensure!(row.contains(part), "{part} is not in {row}");
    }
    let address = browser.element("[data-part='launch']").await?.attr("href").await?.context("an address")?;
    ensure!(address.starts_with(&stage.scene.mesh.url()), "{address}");
    // Back from the new tab, behind which nothing was asked. It is the ticket's machine now.
    browser.cdp("Page.bringToFront", json!({})).await?;
    browser.element_with_text("h3", "This ticket's machine").await?;
    let groups = "return [...document.querySelectorAll('[data-section=machines] :is(h3, li > .customer)')].map((node) => node.textContent)";
    ensure!(stage.run(groups).await? == json!(["This ticket's machine", "Reception", "Other machines", "Workshop"]));
    stage.picture("panel-machines.png").await?;

    // By keyboard alone; what had the keyboard is gone then, and its section has it.
    stage.tab_to("end-link").await?;
    stage.press(Key::Enter).await?;
    stage.notice("The link has ended.").await?;
    browser.wait_until_gone("[data-action='end-link']").await?;
    ensure!(stage.run(FOCUSED_SECTION).await? == json!("machines"));
    ensure!(stage.links().await? == 0);
    ensure!(browser.console_errors().await?.is_empty());
    stage.browser.close().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_typed_stays_while_the_list_comes_anew() -> Result<()> {
    if !is_obtainable_for("what_is_typed_stays_while_the_list_comes_anew")? {
        return Ok(());
    }
    let stage = Stage::open(Settings::default()).await?;
    let browser = &stage.browser;
    stage.ticket(stage.scene.people.agent).await?;
    browser.type_into("#field-search", "nowhere").await?;
    browser.element_with_text("[data-section='machines'] .hint", "No machine found.").await?;
    stage.picture("panel-machines-search.png").await?;
    stage.see("it is said", "return document.querySelector('.panel > [role=status]').textContent === 'No machine found.'").await?;
    browser.type_into("#field-search", "Recption").await?;
    for _ in 0..5 {
        stage.press(Key::Left).await?;
    }
    stage.run(COUNT).await?;
    stage.see("the list is asked for again", "return lists > 1").await?;
    stage.press("e").await?;
    browser.element_with_text("li[data-state]", "Reception").await?;
    let typed = "const field = document.querySelector('#field-search');
        return [field.value, field.selectionStart, document.activeElement === field]";
    ensure!(stage.run(typed).await? == json!(["Reception", 4, true]), "{}", stage.run(typed).await?);
    stage.browser.close().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_machine_that_goes_off_line_loses_its_buttons_and_the_keyboard_stays_near() -> Result<()> {
    if !is_obtainable_for("a_machine_that_goes_off_line_loses_its_buttons_and_the_keyboard_stays_near")? {
        return Ok(());
    }
    let mut stage = Stage::open(Settings::default()).await?;
    stage.ticket(stage.scene.people.agent).await?;
    // The ticket's, so that its state is announced.
    stage.scene.link(&stage.scene.sidebar().await?, stage.scene.people.vpn_ticket, "desktop").await?;
    stage.browser.element("h3").await?;
    stage.tab_to("files").await?;
    stage.scene.agent.kill_hard()?;
    stage.browser.element_with_text("li[data-state='offline'] .badge", "Offline").await?;
    stage.browser.wait_until_gone("[data-action='files']").await?;
    ensure!(stage.run(FOCUSED_SECTION).await? == json!("machines"));
    let said = "return document.querySelector('.panel > [role=status]').textContent === 'Reception: Offline'";
    stage.see("it is announced", said).await?;
    stage.picture("panel-machines-offline.png").await?;

    // And MeshCentral with it: the rest of the panel goes on, and the list comes back.
    stage.scene.mesh.kill_hard()?;
    stage.browser.element("[data-section='machines'] .notice-fault").await?;
    ensure!(stage.run("return document.querySelector('[data-section=sessions] .notice-fault')").await?.is_null());
    stage.browser.element("li[data-state='offline']").await?;
    stage.picture("panel-machines-not-reached.png").await?;
    stage.scene.mesh.restart().await?;
    stage.browser.wait_until_gone("[data-section='machines'] .notice-fault").await?;
    stage.browser.close().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn long_names_fit_in_the_dark_in_german_from_right_to_left() -> Result<()> {
    if !is_obtainable_for("long_names_fit_in_the_dark_in_german_from_right_to_left")? {
        return Ok(());
    }
    let stage = Stage::open(Settings { language: "de-DE".to_owned(), ..Settings::default() }).await?;
    let name = "EMPFANGERDGESCHOSSVERWALTUNGSGEBÄUDESÜDARBEITSPLATZRECHNER0000000000042";
    let admin = stage.scene.mesh.admin().await?;
    admin.send(json!({"action": "changedevice", "nodeid": stage.scene.agent.id(), "name": name}))?;
    stage.ticket(stage.scene.people.german_agent).await?;
    stage.browser.element_with_text("li[data-state='online']", name).await?;
    stage.browser.click("[data-action='desktop']").await?;
    stage.browser.element("[data-action='end-link']").await?;
    stage.browser.element_with_text("[data-action='copy-link']", "Link für den Support-Techniker kopieren").await?;
    for direction in ["ltr", "rtl"] {
        stage.run(&format!("document.documentElement.dir = '{direction}'; document.documentElement.dataset.scheme = 'dark'")).await?;
        let cut = "const width = document.documentElement.clientWidth;
            return [...document.querySelectorAll('.panel *')].filter((node) => {
                const { left, right } = node.getBoundingClientRect();
                return !node.closest('.visually-hidden') && (left < 0 || right > width || node.scrollWidth > node.clientWidth && node.clientWidth);
            }).map((node) => node.outerHTML).concat(width > 320 ? [`${width} px`] : [])";
        ensure!(stage.run(cut).await? == json!([]), "{direction}: {}", stage.run(cut).await?);
        stage.picture(&format!("panel-machines-{direction}.png")).await?;
    }
    stage.browser.close().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_that_the_browser_did_not_open_is_told_and_can_be_copied() -> Result<()> {
    if !is_obtainable_for("a_link_that_the_browser_did_not_open_is_told_and_can_be_copied")? {
        return Ok(());
    }
    let stage = Stage::open(Settings::default()).await?;
    let page = stage.scene.zendesk.ticket_page(stage.scene.people.vpn_ticket, stage.scene.people.agent);
    let without_tabs = json!({"sandbox_without": ["allow-popups", "allow-popups-to-escape-sandbox"]});
    stage.browser.open(&SimulatedZendesk::odd_page(&page, &without_tabs)).await?;
    stage.browser.enter_frame(PANEL).await?;
    stage.browser.click("[data-action='desktop']").await?;
    stage.notice("Your browser did not open the new tab.").await?;
    stage.browser.element("[data-action='copy-link']").await?;
    stage.browser.click("[data-action='copy-link']").await?;
    stage.browser.element_with_text("[data-action='copy-link']", "Copied").await?;
    ensure!(stage.links().await? == 1);
    stage.browser.close().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_stays_while_its_machine_is_taken_out_of_meshcentral() -> Result<()> {
    if !is_obtainable_for("a_link_stays_while_its_machine_is_taken_out_of_meshcentral")? {
        return Ok(());
    }
    let mut stage = Stage::open(Settings::default()).await?;
    let people = &stage.scene.people;
    let (ticket, other, agent) = (people.vpn_ticket, people.printer_ticket, people.agent);
    let link = stage.scene.link(&stage.scene.sidebar().await?, ticket, "desktop").await?;
    stage.ticket(agent).await?;
    stage.browser.element("[data-action='end-link']").await?;
    // Else it would come back by itself.
    stage.scene.agent.kill_hard()?;
    let removed = stage.scene.mesh.admin().await?.ask(json!({"action": "removedevices", "nodeids": [stage.scene.agent.id()]})).await?;
    ensure!(removed["result"] == "ok", "{removed}");
    let item = stage.browser.element_with_text("li[data-state='unavailable']", "Reception").await?.text().await?;
    for part in ["Not available", "Desktop", "Expires in", "End link"] {
        ensure!(item.contains(part), "{part} is not in {item}");
    }
    ensure!(!item.contains("Terminal"), "nothing can be opened: {item}");
    let id = stage.browser.element("[data-action='end-link']").await?.attr("data-id").await?;
    ensure!(id.is_some() && id == link.link);
    stage.picture("panel-machines-unavailable.png").await?;

    stage.browser.open(&stage.scene.zendesk.ticket_page(other, agent)).await?;
    stage.browser.enter_frame(PANEL).await?;
    stage.browser.element_with_text("[data-section='machines'] .hint", "There is no machine yet.").await?;
    stage.picture("panel-machines-none.png").await?;
    stage.browser.close().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_recording_that_the_browser_did_not_open_is_a_link_at_its_session() -> Result<()> {
    if !is_obtainable_for("a_recording_that_the_browser_did_not_open_is_a_link_at_its_session")? {
        return Ok(());
    }
    let stage = Stage::open(Settings::default()).await?;
    let (ticket, agent) = (stage.scene.people.vpn_ticket, stage.scene.people.agent);
    let sidebar = stage.scene.sidebar().await?;
    let launch = stage.scene.link(&sidebar, ticket, "terminal").await?;
    let mut technician = Technician::open(&launch.launch_url).await?;
    technician.connect_terminal().await?;
    technician.disconnect().await?;
    technician.close().await?;
    until("the session has its recording", RECORDED, async || {
        Ok(stage.scene.sessions(&sidebar, ticket).await?.iter().any(|session| session["recording"] == true))
    })
    .await?;

    let without_tabs = json!({"sandbox_without": ["allow-popups", "allow-popups-to-escape-sandbox"]});
    stage.browser.open(&SimulatedZendesk::odd_page(&stage.scene.zendesk.ticket_page(ticket, agent), &without_tabs)).await?;
    stage.browser.enter_frame(PANEL).await?;
    stage.browser.click("[data-action='watch']").await?;
    let said = stage.browser.text("[data-section='sessions'] .notice-fault").await?;
    ensure!(said.contains("did not open the recording"), "{said}");
    ensure!(stage.run("return document.querySelector('[data-section=machines] .notice-fault')").await?.is_null());
    let link = stage.browser.element("[data-part='recording']").await?;
    ensure!(stage.browser.role_and_name(&link).await? == ("link".into(), "Open recording".into()));
    let address = link.attr("href").await?.context("an address")?;
    let recording = loopback_client()?.get(address).send().await?;
    ensure!(recording.status().is_success(), "{recording:?}");
    stage.picture("panel-machines-recording.png").await?;
    stage.browser.close().await
}
