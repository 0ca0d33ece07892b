//! The panel in a real browser, inside the simulated agent workspace, against the real server.
//!
//! The screenshots it takes are those of the README; they are written only where `DESKBRIDGE_SCREENSHOTS` says so.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use deskbridge_shared::routes;
use deskbridge_tests::appliance::{
    self, Customer, EventKind, Fault, FaultRule, NamespaceSpelling, NewSession, Recipient, Representative, SessionScript, read_script,
};
use deskbridge_tests::browser::{Browser, Settings};
use deskbridge_tests::scene::{Plan, Scene};
use deskbridge_tests::server::{loopback_client, until};
use deskbridge_tests::zendesk::{self, Matching, SimulatedZendesk};
use reqwest::Method;
use serde_json::{Value, json};
use sqlx::Connection as _;

const PANEL: &str = "#app";

/// High enough for the whole panel.
fn tall() -> Settings {
    Settings { height: 1300, ..Settings::default() }
}

/// A scene with a browser before one of its tickets.
struct Stage {
    scene: Scene,
    browser: Browser,
}

impl Stage {
    async fn open(plan: Plan, settings: Settings) -> Result<Self> {
        let scene = Scene::start(plan).await?;
        let browser = Browser::start(&settings).await?;
        Ok(Self { scene, browser })
    }

    /// Opens a ticket and goes into its sidebar.
    async fn ticket(&self, ticket: u64, agent: u64) -> Result<()> {
        self.browser.open(&self.scene.zendesk.ticket_page(ticket, agent)).await?;
        self.browser.enter_frame(PANEL).await
    }

    async fn click(&self, action: &str) -> Result<()> {
        self.browser.click(&format!("[data-action='{action}']")).await
    }

    /// Takes a picture of the sidebar alone, as wide as Zendesk makes it.
    async fn picture(&self, name: &str) -> Result<()> {
        self.browser.leave_frames().await?;
        if let Some(path) = screenshot(name) {
            std::fs::create_dir_all(path.parent().context("a path in a folder")?)?;
            self.browser.element(PANEL).await?.screenshot(&path).await?;
        }
        self.browser.enter_frame(PANEL).await
    }

    async fn text(&self, css: &str) -> Result<String> {
        self.browser.text(css).await
    }

    /// Opens a workspace page that treats the panel in that way (`workspace/app-host.js`), and goes into the sidebar.
    async fn odd_page(&self, page: &str, behaviour: Value) -> Result<()> {
        self.browser.open(&SimulatedZendesk::odd_page(page, &behaviour)).await?;
        self.browser.enter_frame(PANEL).await
    }

    fn ticket_page(&self, ticket: u64) -> String {
        self.scene.zendesk.ticket_page(ticket, self.scene.people.agent)
    }

    /// Runs a script in the page around the panel.
    async fn in_workspace(&self, script: &str) -> Result<Value> {
        self.browser.leave_frames().await?;
        let answer = self.browser.execute(script, vec![]).await?;
        self.browser.enter_frame(PANEL).await?;
        Ok(answer)
    }

    /// How many questions of that kind the panel has asked the page, with that path or action among them.
    async fn asked(&self, request: &str, name: &str) -> Result<u64> {
        let count = format!(
            "return appHost.log.filter(({{ direction, message }}) => direction === 'in' && message.request === '{request}'
                && JSON.stringify(message.params).includes('{name}')).length"
        );
        self.in_workspace(&count).await?.as_u64().context("a number")
    }

    async fn reply(&self) -> Result<String> {
        let text = self.in_workspace("return document.querySelector('#editor').value").await?;
        Ok(text.as_str().context("a text")?.to_owned())
    }

    /// Waits for a passing message of the page around the panel.
    async fn notice(&self, text: &str) -> Result<()> {
        self.browser.leave_frames().await?;
        self.browser.element_with_text("#toasts", text).await?;
        self.browser.enter_frame(PANEL).await
    }
}

fn screenshot(name: &str) -> Option<PathBuf> {
    std::env::var_os("DESKBRIDGE_SCREENSHOTS").map(|folder| PathBuf::from(folder).join(name))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_a_session_and_one_note() -> Result<()> {
    let stage = Stage::open(Plan::default(), tall()).await?;
    let ticket = stage.scene.people.vpn_ticket;
    let before = stage.scene.zendesk.comments(ticket).len();
    stage.ticket(ticket, stage.scene.people.agent).await?;

    stage.click("make-key").await?;
    let key = stage.text("[data-part='key']").await?;
    ensure!(key.len() == 7, "{key}");
    stage.browser.element("[data-part='expiry']").await?;
    let link = stage.text("[data-part='key-link']").await?;
    ensure!(link.contains("?ak="), "{link}");
    stage.click("insert-key").await?;
    stage.browser.leave_frames().await?;
    let reply = stage
        .browser
        .execute("return document.querySelector('#editor').value ?? document.querySelector('#editor').textContent", vec![])
        .await?;
    ensure!(reply.as_str().is_some_and(|reply| reply.contains(&link)), "the invitation stands in the reply: {reply}");
    stage.browser.enter_frame(PANEL).await?;

    let lsid = stage.scene.appliance.begin_session_with_key(&key)?;
    let mut steps = SessionScript::example(ticket.to_string()).steps.into_iter();
    for (_, step) in steps.by_ref().take(2) {
        stage.scene.appliance.step(&lsid, step)?;
    }
    stage.browser.element("li[data-state='active']").await?;
    stage.picture("panel-light.png").await?;
    for (_, step) in steps {
        stage.scene.appliance.step(&lsid, step)?;
    }
    let marker = format!("deskbridge/{lsid}/report/0");
    stage.scene.zendesk.wait_for_comment(ticket, |comment| comment.plain_body.contains(&marker)).await?;
    stage.browser.element("li[data-state='recorded']").await?;
    stage.scene.appliance.outbound_idle().await?;

    stage.browser.leave_frames().await?;
    let note = stage.browser.element_with_text("#conversation article.internal", "Läuft wieder, vielen Dank").await?;
    let note = note.text().await?;
    for part in
        ["Guten Tag, ich sehe mir das an <sofort>", "Коллега из Варны", "了解しました", "outlook.log", "Rebuilt the mail profile", &marker]
    {
        ensure!(note.contains(part), "{part} is not in the note:\n{note}");
    }
    if let Some(path) = screenshot("workspace.png") {
        stage.browser.screenshot(&path).await?;
    }
    let comments = stage.scene.zendesk.comments(ticket);
    let reports = comments.iter().filter(|comment| comment.plain_body.contains("/report/")).count();
    ensure!(reports == 1, "{reports} reports");
    ensure!(comments.len() > before);
    ensure!(stage.browser.console_errors().await?.is_empty());
    stage.browser.close().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_customer_who_waits_in_a_chat_is_announced_once() -> Result<()> {
    let stage = Stage::open(Plan::default(), tall()).await?;
    let (appliance, ticket) = (&stage.scene.appliance, stage.scene.people.vpn_ticket);
    // The appliance tells of nothing but the end, so that the panel hears what the server asks for.
    appliance.set_recipient(Recipient { events: vec![EventKind::End], ..stage.scene.recipient() });
    stage.ticket(ticket, stage.scene.people.agent).await?;
    stage.click("insert-chat-link").await?;
    stage.notice("Inserted into the reply.").await?;
    let link = stage.text("[data-part='chat-link']").await?;
    let reply = stage.reply().await?;
    ensure!(reply.contains(&format!("Please open this link to chat with us about your request: {link}")), "{reply}");

    // What the live region has said since.
    let listen = "const region = document.querySelector('[role=status][aria-live=polite]');
        window.said = [];
        new MutationObserver(() => said.push(region.textContent)).observe(region, { childList: true, characterData: true, subtree: true });";
    stage.browser.execute(listen, vec![]).await?;
    let said = async || {
        let said = stage.browser.execute("return said", vec![]).await?;
        anyhow::Ok(said.as_array().context("a list")?.iter().filter_map(Value::as_str).map(str::to_owned).collect::<Vec<_>>())
    };
    // The customer presses the button on the link's page: from then on the appliance is asked.
    let pressed = loopback_client()?.post(&link).form(&[("issue", "general_tech")]).send().await?;
    ensure!(pressed.status().is_redirection(), "{}", pressed.status());
    let lsid = appliance.begin_session(NewSession::default());
    appliance.customer_joins(&lsid, Customer::named("Tom <Okafor>"))?;
    // Now that it has a name, it is the ticket's.
    appliance.set_external_key(&lsid, &ticket.to_string())?;
    let waiting = "The customer is waiting: Tom <Okafor>";
    stage.browser.element_with_text(".notice-waiting", waiting).await?;
    stage.notice(waiting).await?;
    ensure!(said().await? == [waiting], "{:?}", said().await?);
    let first = "return document.querySelector('.panel > :not([role=status])').className";
    ensure!(stage.browser.execute(first, vec![]).await? == json!("notice notice-waiting"), "it stands first");

    // However often the list is asked for.
    let asked = async || {
        let count = "return performance.getEntriesByType('resource').filter(({ name }) => name.includes('/api/v1/sessions?')).length";
        stage.browser.execute(count, vec![]).await?.as_u64().context("a number")
    };
    let before = asked().await?;
    until("the list is asked for again and again", Duration::from_mins(1), async || Ok(asked().await? >= before + 3)).await?;
    ensure!(said().await? == [waiting], "{:?}", said().await?);
    ensure!(stage.asked("invoke", "The customer is waiting").await? == 1, "the page shows the message once");

    appliance.representative_joins(&lsid, Representative::example())?;
    stage.browser.wait_until_gone(".notice-waiting").await?;
    ensure!(said().await? == [waiting, "Session with Tom <Okafor>: In session."], "{:?}", said().await?);
    ensure!(stage.browser.console_errors().await?.is_empty());
    stage.browser.close().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_at_the_limits_is_read_whole() -> Result<()> {
    for namespaces in NamespaceSpelling::ALL {
        let plan = Plan { appliance: appliance::Options { namespaces, ..appliance::Options::default() }, ..Plan::default() };
        let stage = Stage::open(plan, tall()).await?;
        let ticket = stage.scene.people.printer_ticket;
        stage.ticket(ticket, stage.scene.people.agent).await?;
        stage.click("make-key").await?;
        let key = stage.text("[data-part='key']").await?;
        let lsid = stage.scene.appliance.begin_session_with_key(&key)?;
        for (_, step) in SessionScript::at_the_limits(ticket.to_string()).steps {
            stage.scene.appliance.step(&lsid, step)?;
        }
        let marker = format!("deskbridge/{lsid}/report/0");
        let note = stage.scene.zendesk.wait_for_comment(ticket, |comment| comment.plain_body.contains(&marker)).await?;
        stage.scene.appliance.outbound_idle().await?;
        ensure!(note.attachments.len() == 1, "{namespaces:?}: the whole report is attached");
        stage.browser.leave_frames().await?;
        stage.browser.element_with_text("#conversation article.internal", &marker).await?;
        let reports = stage.scene.zendesk.comments(ticket).iter().filter(|comment| comment.plain_body.contains("/report/")).count();
        ensure!(reports == 1, "{namespaces:?}: {reports} reports");
        ensure!(stage.browser.console_errors().await?.is_empty());
        stage.browser.close().await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_jump_opens_at_the_appliance() -> Result<()> {
    let stage = Stage::open(Plan::default(), tall()).await?;
    stage.ticket(stage.scene.people.vpn_ticket, stage.scene.people.agent).await?;
    let prefilled = stage.browser.element("#field-target").await?.value().await?.unwrap_or_default();
    ensure!(!prefilled.is_empty(), "the target comes from the ticket");
    // As the representative's browser, which has accepted the simulated appliance's certificate.
    let console = reqwest::Client::builder().danger_accept_invalid_certs(true).build()?;
    for method in ["jump_client", "local_push", "remote_push", "rdp", "shell_jump"] {
        stage.browser.execute("document.querySelector(`input[name=method][value=${arguments[0]}]`).click()", vec![json!(method)]).await?;
        stage.browser.type_into("#field-target", &format!("machine-{method}")).await?;
        stage.click("jump").await?;
        let launch = stage.browser.element_with_text("[data-section='jump'] .notice-done", "").await?;
        let launch = launch.find(thirtyfour::By::Css("a")).await?.attr("href").await?.context("no address")?;
        ensure!(launch.contains(&format!("machine-{method}")), "{method}: {launch}");
        let script = console.get(&launch).send().await?.text().await?;
        let commands = read_script(&script)?;
        ensure!(commands.len() == 1, "{method}: {script}");
    }
    stage.browser.close().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unsaved_ticket_says_so_until_it_is_saved() -> Result<()> {
    let stage = Stage::open(Plan::default(), tall()).await?;
    stage.browser.open(&stage.scene.zendesk.new_ticket_page(stage.scene.people.agent)).await?;
    stage.browser.enter_frame(PANEL).await?;
    stage.browser.element("[data-message='unsaved']").await?;
    stage.picture("panel-unsaved.png").await?;
    ensure!(stage.browser.console_errors().await?.is_empty());
    stage.browser.close().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fault_is_told_and_tried_again() -> Result<()> {
    let stage = Stage::open(Plan::default(), tall()).await?;
    stage.ticket(stage.scene.people.vpn_ticket, stage.scene.people.agent).await?;
    stage
        .scene
        .appliance
        .add_fault(FaultRule::next(1, Fault::ErrorDocument("The specified queue could not be found.".into())).on("generate_session_key"));
    stage.click("make-key").await?;
    let said = stage.text("[data-section='key'] [role='alert']").await?;
    ensure!(said.contains("The specified queue could not be found."), "{said}");
    stage.picture("panel-error.png").await?;
    stage.click("make-key").await?;
    stage.browser.element("[data-part='key']").await?;
    stage.browser.close().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_german_panel_words_problems_in_german() -> Result<()> {
    let stage = Stage::open(Plan::default(), Settings { language: "de-DE".to_owned(), ..tall() }).await?;
    let ticket = stage.scene.people.vpn_ticket;
    stage.ticket(ticket, stage.scene.people.german_agent).await?;
    let said = async |text: &str| {
        let alert = stage.browser.element_with_text("[data-section='key'] [role='alert']", text).await?;
        anyhow::Ok(alert.text().await?)
    };
    stage
        .scene
        .appliance
        .add_fault(FaultRule::next(1, Fault::ErrorDocument("The specified queue could not be found.".into())).on("generate_session_key"));
    stage.click("make-key").await?;
    // The appliance's own words stay as they are.
    let refused = said("Fernwartungssystem hat abgelehnt").await?;
    ensure!(refused == "Das Fernwartungssystem hat abgelehnt. Es meldet: „The specified queue could not be found.“", "{refused}");
    stage.scene.appliance.add_fault(FaultRule::next(1, Fault::Status(429, String::new())).on("generate_session_key"));
    stage.click("make-key").await?;
    let busy = said("ausgelastet").await?;
    let seconds =
        busy.strip_prefix("Das Fernwartungssystem ist ausgelastet: zu viele Anfragen. Versuchen Sie es in ").context(busy.clone())?;
    ensure!(seconds.strip_suffix(" s erneut.").is_some_and(|seconds| seconds.parse::<u32>().is_ok()), "{busy}");
    stage.scene.zendesk.alter_ticket(ticket, |ticket| ticket.status = "closed".into()).context("a ticket")?;
    stage.click("make-key").await?;
    let closed = said("geschlossen").await?;
    ensure!(closed.ends_with("Erstellen Sie ein Folgeticket und beginnen Sie dort."), "{closed}");

    // A panel that does not open at all.
    let other = stage.scene.people.printer_ticket;
    stage.scene.zendesk.alter_ticket(other, |ticket| ticket.status = "deleted".into()).context("a ticket")?;
    stage.browser.leave_frames().await?;
    stage.ticket(other, stage.scene.people.german_agent).await?;
    let failed = stage.text("[data-message='failed']").await?;
    ensure!(failed.contains("Dieses Ticket gibt es im Helpdesk nicht"), "{failed}");
    stage.browser.close().await
}

/// A customer's page is styled, by style sheets its own policy lets through.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_customers_page_has_the_panels_style() -> Result<()> {
    let stage = Stage::open(Plan::default(), Settings { language: "de-DE".to_owned(), ..Settings::default() }).await?;
    let sidebar = stage.scene.open_sidebar(stage.scene.people.agent).await?;
    let made: Value = sidebar.post(routes::SESSION_CHAT_LINK, stage.scene.people.vpn_ticket, json!({})).send().await?.json().await?;
    stage.browser.open(made["url"].as_str().context("url")?).await?;
    ensure!(stage.browser.execute("return document.documentElement.lang", vec![]).await? == json!("de"));
    stage.browser.element_with_text("h1", "Support-Chat starten").await?;
    let border = "return getComputedStyle(document.querySelector('button.button')).borderTopStyle";
    ensure!(stage.browser.execute(border, vec![]).await? == json!("solid"), "the choices look like buttons");
    let width = stage.browser.execute("return document.querySelector('main').offsetWidth", vec![]).await?;
    ensure!(width.as_u64().is_some_and(|width| width <= 480), "{width}");
    if let Some(path) = screenshot("chat-page.png") {
        stage.browser.screenshot(&path).await?;
    }
    let errors = stage.browser.console_errors().await?;
    ensure!(errors.iter().all(|error| error.contains("favicon.ico")), "{errors:?}");
    stage.browser.close().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dark_narrow_german_and_by_keyboard_alone() -> Result<()> {
    let settings = Settings { dark: true, language: "de-DE".to_owned(), ..tall() };
    let stage = Stage::open(Plan::default(), settings).await?;
    stage.browser.open(&stage.scene.zendesk.ticket_page(stage.scene.people.vpn_ticket, stage.scene.people.german_agent)).await?;
    let scheme = "return document.documentElement.dataset.scheme";
    stage.browser.click("#scheme").await?;
    stage.browser.enter_frame(PANEL).await?;
    stage.browser.element("[data-action='make-key']").await?;
    let begun = stage.browser.execute(scheme, vec![]).await?;
    if begun != json!("dark") {
        stage.browser.leave_frames().await?;
        stage.browser.click("#scheme").await?;
        stage.browser.enter_frame(PANEL).await?;
    }
    ensure!(stage.browser.execute(scheme, vec![]).await? == json!("dark"), "the panel follows Zendesk's colours");
    stage.browser.element_with_text("h2", "Sitzungsschlüssel").await?;
    // Tab to the first button, press it, and the key is there; the keyboard stays where it was.
    stage.browser.execute("document.body.focus()", vec![]).await?;
    let focused = focused(&stage.browser, "make-key").await?;
    ensure!(focused, "the first button is reached by Tab");
    stage.browser.driver().action_chain().send_keys(thirtyfour::Key::Enter).perform().await?;
    stage.browser.element("[data-part='key']").await?;
    ensure!(stage.browser.execute("return document.activeElement?.dataset?.action", vec![]).await? == json!("make-key"));
    let mail = stage.browser.element("[data-action='mail']").await?.attr("href").await?.unwrap_or_default();
    ensure!(mail.starts_with("mailto:tom.okafor@harbour.example?subject="), "to the ticket's requester: {mail}");
    let wide = stage.browser.execute("return document.documentElement.scrollWidth > document.documentElement.clientWidth", vec![]).await?;
    ensure!(wide == json!(false), "nothing is cut off at 320 px");
    let width = stage.browser.execute("return innerWidth", vec![]).await?;
    ensure!(width.as_u64().is_some_and(|width| width <= 320), "the sidebar is {width} px wide");
    stage.picture("panel-dark.png").await?;
    ensure!(unnamed_controls(&stage.browser).await?.as_array().is_some_and(Vec::is_empty), "every control has a name");
    ensure!(stage.browser.console_errors().await?.is_empty());
    stage.browser.close().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_ticket_named_at_registration_is_enough() -> Result<()> {
    let stage = Stage::open(Plan::default(), tall()).await?;
    let page = stage.scene.zendesk.ticket_page(stage.scene.people.vpn_ticket, stage.scene.people.german_agent);
    stage.odd_page(&page, json!({"hold": ["get"], "values": {"colorScheme": "dark"}})).await?;
    // In the agent's language, which the page has not told.
    stage.browser.element_with_text("h2", "Sitzungsschlüssel").await?;
    stage.click("make-key").await?;
    let key = stage.text("[data-part='key']").await?;
    let scheme = "return document.documentElement.dataset.scheme";
    ensure!(stage.browser.execute(scheme, vec![]).await? == json!("light"));
    stage.in_workspace("appHost.release()").await?;
    let is_taken = async || Ok(stage.browser.execute(scheme, vec![]).await? == json!("dark"));
    until("the late answer is taken", Duration::from_mins(1), is_taken).await?;
    ensure!(stage.text("[data-part='key']").await? == key, "the late answer changes nothing");
    ensure!(stage.browser.console_errors().await?.is_empty());
    stage.browser.close().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_late_registration_is_taken() -> Result<()> {
    let stage = Stage::open(Plan::default(), tall()).await?;
    stage.odd_page(&stage.ticket_page(stage.scene.people.vpn_ticket), json!({"hold": ["iframe.handshake"]})).await?;
    stage.browser.element("[data-message='no-host']").await?;
    let handshakes = "return appHost.log.filter(({ message }) => message.key === 'iframe.handshake').length";
    let before = stage.in_workspace(handshakes).await?.as_u64();
    stage.click("reload").await?;
    stage.browser.element(".loading").await?;
    ensure!(stage.in_workspace(handshakes).await?.as_u64() > before, "Try again asks the page");
    stage.in_workspace("appHost.release()").await?;
    stage.browser.element("[data-action='make-key']").await?;
    // Registered more than once, it asks for each event once.
    let subscribed = "return appHost.log.filter(({ message }) => message.key === 'iframe.on:app.activated').length";
    ensure!(stage.in_workspace(subscribed).await? == json!(1));
    stage.browser.close().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_late_answer_is_taken_and_can_be_asked_for_again() -> Result<()> {
    let stage = Stage::open(Plan::default(), tall()).await?;
    let page = stage.ticket_page(stage.scene.people.vpn_ticket);
    stage.odd_page(&page, json!({"hold": ["get"], "without_ticket": true})).await?;
    stage.browser.element("[data-message='no-host']").await?;
    let asked = stage.asked("get", "ticket.id").await?;
    stage.click("reload").await?;
    stage.browser.element(".loading").await?;
    ensure!(stage.asked("get", "ticket.id").await? > asked, "Try again asks the page");
    stage.in_workspace("appHost.release()").await?;
    stage.browser.element("[data-action='make-key']").await?;
    stage.browser.close().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_that_refuses_the_ticket_is_told_and_asked_again() -> Result<()> {
    let stage = Stage::open(Plan::default(), tall()).await?;
    let page = stage.ticket_page(stage.scene.people.vpn_ticket);
    stage.odd_page(&page, json!({"unknown": ["ticket.id"], "without_ticket": true})).await?;
    stage.browser.element("[data-message='no-host']").await?;
    stage.in_workspace("appHost.unknown.clear()").await?;
    stage.click("reload").await?;
    stage.browser.element("[data-action='make-key']").await?;
    stage.browser.close().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_id_that_comes_late_is_found() -> Result<()> {
    let stage = Stage::open(Plan::default(), tall()).await?;
    let page = stage.ticket_page(stage.scene.people.vpn_ticket);
    stage.odd_page(&page, json!({"values": {"ticket.id": null}, "without_ticket": true})).await?;
    stage.browser.element("[data-message='unsaved']").await?;
    stage.in_workspace("appHost.values = {}").await?;
    stage.browser.element("[data-action='make-key']").await?;
    stage.browser.close().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_is_for_the_ticket_that_is_shown_now() -> Result<()> {
    let stage = Stage::open(Plan::default(), tall()).await?;
    let (first, second) = (stage.scene.people.vpn_ticket, stage.scene.people.printer_ticket);
    // The page may tell of it by either event, with its number or without.
    for (event, behaviour) in [("context.updated", json!({})), ("app.activated", json!({"without_ticket": true}))] {
        stage.odd_page(&stage.ticket_page(first), behaviour).await?;
        stage.click("make-key").await?;
        let key = stage.text("[data-part='key']").await?;
        stage.in_workspace(&format!("return switchTicket({second}, '{event}')")).await?;
        stage.browser.wait_until_gone("[data-part='key']").await.context(event)?;
        stage.click("make-key").await?;
        let next = stage.text("[data-part='key']").await?;
        ensure!(next != key, "{event}: the same key");
        let lsid = stage.scene.appliance.begin_session_with_key(&next)?;
        for (_, step) in SessionScript::short(second.to_string()).steps {
            stage.scene.appliance.step(&lsid, step)?;
        }
        let marker = format!("deskbridge/{lsid}/report/0");
        stage.scene.zendesk.wait_for_comment(second, |comment| comment.plain_body.contains(&marker)).await.context(event)?;
    }
    stage.browser.close().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_made_while_the_page_has_not_said_which_ticket_it_shows() -> Result<()> {
    let stage = Stage::open(Plan::default(), tall()).await?;
    let (first, second) = (stage.scene.people.vpn_ticket, stage.scene.people.printer_ticket);
    stage.odd_page(&stage.ticket_page(first), json!({"without_ticket": true})).await?;
    stage.click("make-key").await?;
    let key = stage.text("[data-part='key']").await?;
    let made = "return performance.getEntriesByType('resource').filter(({ name }) => name.endsWith('/api/v1/sessions/key')).length";

    // The page may show another ticket, or the same one again.
    stage.in_workspace("appHost.held.add('get'); appHost.trigger('app.activated', {})").await?;
    stage.browser.element("[data-action='make-key'][aria-disabled='true']").await?;
    stage.in_workspace("appHost.release()").await?;
    stage.browser.element("[data-action='make-key']:not([aria-disabled])").await?;
    ensure!(stage.text("[data-part='key']").await? == key, "the same ticket keeps its key");

    stage.in_workspace(&format!("appHost.held.add('get'); return switchTicket({second}, 'context.updated')")).await?;
    stage.browser.element("[data-action='make-key'][aria-disabled='true']").await?;
    for action in ["make-key", "insert-key", "jump"] {
        stage.click(action).await?;
    }
    stage.browser.element("[data-message='no-host']").await?;
    let asked = stage.asked("get", "ticket.id").await?;
    stage.click("reload").await?;
    stage.browser.wait_until_gone("[data-message='no-host']").await?;
    ensure!(stage.asked("get", "ticket.id").await? > asked, "Try again asks the page");
    ensure!(stage.browser.execute(made, vec![]).await? == json!(1) && stage.reply().await?.is_empty());
    stage.in_workspace("appHost.release()").await?;
    stage.browser.wait_until_gone("[data-part='key']").await?;
    stage.click("make-key").await?;
    let next = stage.text("[data-part='key']").await?;
    let lsid = stage.scene.appliance.begin_session_with_key(&next)?;
    for (_, step) in SessionScript::short(second.to_string()).steps {
        stage.scene.appliance.step(&lsid, step)?;
    }
    let marker = format!("deskbridge/{lsid}/report/0");
    stage.scene.zendesk.wait_for_comment(second, |comment| comment.plain_body.contains(&marker)).await?;
    stage.browser.close().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_ticket_is_unsaved_whatever_id_was_told_before() -> Result<()> {
    let stage = Stage::open(Plan::default(), tall()).await?;
    let page = stage.ticket_page(stage.scene.people.vpn_ticket);
    for behaviour in [
        json!({"values": {"ticket.isNew": true}}),
        json!({"values": {"ticket.isNew": true, "ticket.id": null}}),
        json!({"values": {"ticket.isNew": true}, "unknown": ["ticket.id"], "without_ticket": true}),
    ] {
        stage.odd_page(&page, behaviour.clone()).await?;
        stage.browser.element("[data-message='unsaved']").await.with_context(|| behaviour.to_string())?;
    }
    // An answer that says nothing does not outweigh what was told.
    for behaviour in [json!({"values": {"ticket.isNew": null, "ticket.id": null}}), json!({"unknown": ["ticket.id", "ticket.isNew"]})] {
        stage.odd_page(&page, behaviour.clone()).await?;
        stage.click("make-key").await.with_context(|| behaviour.to_string())?;
        stage.browser.element("[data-part='key']").await.with_context(|| behaviour.to_string())?;
    }
    stage.browser.close().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn there_and_back_again_the_last_answer_counts() -> Result<()> {
    let stage = Stage::open(Plan::default(), tall()).await?;
    let (first, second) = (stage.scene.people.vpn_ticket, stage.scene.people.printer_ticket);
    stage.ticket(first, stage.scene.people.agent).await?;
    stage.browser.element("[data-action='make-key']").await?;
    let hold = "const real = window.fetch;
        window.held = [];
        window.fetch = async (...question) => {
            const answer = await real(...question);
            if (!answer.url.includes('/api/v1/panel?')) return answer;
            return new Promise((done) => held.push((fails) => done(fails ? new Response('{}', { status: 502 }) : answer)));
        };";
    stage.browser.execute(hold, vec![]).await?;
    for (count, ticket) in [(1, second), (2, first), (3, second)] {
        stage.in_workspace(&format!("return switchTicket({ticket}, 'context.updated')")).await?;
        let is_held = async || Ok(stage.browser.execute("return held.length", vec![]).await? == json!(count));
        until("the model is asked for", Duration::from_mins(1), is_held).await?;
    }
    // The first two come late and failed; the first of them is about the ticket that is shown now.
    stage.browser.execute("for (const [number, send] of held.entries()) send(number < 2)", vec![]).await?;
    stage.click("make-key").await?;
    stage.browser.element("[data-part='key']").await?;
    stage.browser.close().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_page_gets_the_text_once() -> Result<()> {
    let stage = Stage::open(Plan::default(), tall()).await?;
    let page = stage.ticket_page(stage.scene.people.vpn_ticket);
    stage.odd_page(&page, json!({"hold": ["comment.appendText"]})).await?;
    stage.click("make-key").await?;
    let link = stage.text("[data-part='key-link']").await?;
    stage.click("insert-key").await?;
    stage.browser.element("[data-action='insert-key'][aria-disabled='true']").await?;
    stage.click("insert-key").await?;
    // Of the panel's own time, so that a timer of its own of ten seconds has run out, however slow the machine is.
    stage.browser.execute("return new Promise((done) => setTimeout(done, 11_000))", vec![]).await?;
    ensure!(stage.reply().await?.matches(&link).count() == 1, "{}", stage.reply().await?);
    stage.in_workspace("appHost.release()").await?;
    stage.notice("Inserted into the reply.").await?;
    ensure!(stage.reply().await?.matches(&link).count() == 1, "{}", stage.reply().await?);
    ensure!((stage.asked("invoke", "appendText").await?, stage.asked("set", "comment.text").await?) == (1, 0));
    // And it can be pressed again.
    stage.browser.element("[data-action='insert-key']:not([aria-disabled])").await?;
    stage.browser.close().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn text_is_added_in_the_form_the_reply_has() -> Result<()> {
    let stage = Stage::open(Plan::default(), tall()).await?;
    let page = stage.ticket_page(stage.scene.people.vpn_ticket);
    let write = |text: &str| format!("document.querySelector('#editor').value = '{text}'");

    // Rich text is HTML.
    stage.odd_page(&page, json!({"unknown": ["comment.appendText"], "values": {"comment.useRichText": true}})).await?;
    stage.click("make-key").await?;
    let link = stage.text("[data-part='key-link']").await?.replace('&', "&amp;");
    stage.in_workspace(&write("<p>Dear Tom</p>")).await?;
    stage.click("insert-key").await?;
    stage.notice("Inserted into the reply.").await?;
    let reply = stage.reply().await?;
    ensure!(reply.starts_with("<p>Dear Tom</p><p>") && reply.ends_with("</p>"), "{reply}");
    ensure!(reply.contains("<br>") && !reply.contains('\n') && reply.contains(&link), "{reply}");

    // Plain text stays plain.
    stage.odd_page(&page, json!({"unknown": ["comment.appendText"]})).await?;
    stage.click("make-key").await?;
    let link = stage.text("[data-part='key-link']").await?;
    stage.in_workspace(&write("Dear Tom")).await?;
    stage.click("insert-key").await?;
    stage.notice("Inserted into the reply.").await?;
    let reply = stage.reply().await?;
    ensure!(reply.starts_with("Dear Tom\n") && !reply.contains("<br>") && reply.contains(&link), "{reply}");

    // Where the page does not say which, only what is clearly HTML is taken for it, and nothing else is touched.
    for (before, expected) in [("<p>Dear Tom</p>", true), ("", false), ("Dear Tom", false), ("<tom@customer.example> wrote", false)] {
        stage.odd_page(&page, json!({"unknown": ["comment.appendText", "comment.useRichText"]})).await?;
        stage.click("make-key").await?;
        stage.browser.element("[data-part='key']").await?;
        stage.in_workspace(&write(before)).await?;
        stage.click("insert-key").await?;
        stage.notice(if expected { "Inserted into the reply." } else { "could not be inserted" }).await.context(before)?;
        let reply = stage.reply().await?;
        ensure!(if expected { reply.starts_with("<p>Dear Tom</p><p>") } else { reply == before }, "{reply}");
    }

    // What cannot be read is not replaced.
    stage.odd_page(&page, json!({"unknown": ["comment.appendText", "comment.text"]})).await?;
    stage.click("make-key").await?;
    stage.in_workspace(&format!("appHost.surface.write = () => true; {}", write("Dear Tom"))).await?;
    stage.click("insert-key").await?;
    stage.notice("could not be inserted").await?;
    ensure!((stage.reply().await?.as_str(), stage.asked("set", "comment.text").await?) == ("Dear Tom", 0));
    stage.browser.close().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_text_for_one_ticket_does_not_get_into_anothers_reply() -> Result<()> {
    let stage = Stage::open(Plan::default(), tall()).await?;
    let (first, second) = (stage.scene.people.vpn_ticket, stage.scene.people.printer_ticket);
    stage.odd_page(&stage.ticket_page(first), json!({"hold": ["comment.appendText"], "unknown": ["comment.appendText"]})).await?;
    stage.click("make-key").await?;
    let link = stage.text("[data-part='key-link']").await?;
    stage.click("insert-key").await?;
    stage.browser.element("[data-action='insert-key'][aria-disabled='true']").await?;
    stage.in_workspace(&format!("return switchTicket({second}, 'context.updated')")).await?;
    stage.browser.wait_until_gone("[data-part='key']").await?;
    // Now the page answers that it cannot append.
    stage.in_workspace("appHost.release()").await?;
    until("the comment is asked for", Duration::from_mins(1), async || Ok(stage.asked("get", "comment.text").await? > 0)).await?;
    // What the panel does next comes after what it did about that.
    stage.in_workspace("appHost.unknown.clear()").await?;
    stage.click("make-key").await?;
    let next = stage.text("[data-part='key-link']").await?;
    stage.click("insert-key").await?;
    stage.notice("Inserted into the reply.").await?;
    let reply = stage.reply().await?;
    ensure!(reply.contains(&next) && !reply.contains(&link), "{reply}");
    ensure!(stage.asked("set", "comment.text").await? == 0);
    stage.browser.close().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn work_in_the_panel_counts_as_work_in_the_help_desk() -> Result<()> {
    let stage = Stage::open(Plan::default(), tall()).await?;
    stage.ticket(stage.scene.people.vpn_ticket, stage.scene.people.agent).await?;
    stage.browser.element("[data-action='make-key']").await?;
    // Much at once is told once, after a second without more (zendesk.md c.3).
    let told = "return new Promise((done) => {
            const told = () => appHost.log.filter(({ direction, message }) => direction === 'in' && message.key === 'session.live');
            const timer = setInterval(() => { if (told().length) { clearInterval(timer); done(told()); } }, 50);
        })";
    let act = "for (const kind of ['keydown', 'wheel', 'mousedown', 'touchstart', 'touchmove']) {
            for (let times = 0; times < 20; times++) document.querySelector('#panel').dispatchEvent(new Event(kind, { bubbles: true }));
        }";
    ensure!(stage.in_workspace("return appHost.log.some(({ message }) => message.key === 'session.live')").await? == json!(false));
    stage.browser.execute(act, vec![]).await?;
    let told = stage.in_workspace(told).await?;
    let guid = stage.in_workspace("return appHost.guid").await?;
    let live = json!({"direction": "in", "message": {"key": "session.live", "appGuid": guid, "instanceGuid": guid}});
    ensure!(told == json!([live]), "{told}");
    // A second timer of the panel would have run out by then, in the panel's own time.
    stage.browser.execute("return new Promise((done) => setTimeout(done, 1_500))", vec![]).await?;
    let count = "return appHost.log.filter(({ message }) => message.key === 'session.live').length";
    ensure!(stage.in_workspace(count).await? == json!(1), "told more than once");
    stage.browser.close().await
}

/// Ends the sessions of sidebars opened so far, as a night does.
async fn end_sessions(stage: &Stage) -> Result<()> {
    let mut database = sqlx::SqliteConnection::connect(stage.scene.server.database_url()).await?;
    let ended = sqlx::query("UPDATE agent_session SET created_at = 0, used_at = 0").execute(&mut database).await?;
    ensure!(ended.rows_affected() > 0, "no session");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tab_left_open_keeps_what_it_shows_and_comes_back_with_another_ticket() -> Result<()> {
    let stage = Stage::open(Plan::default(), tall()).await?;
    stage.ticket(stage.scene.people.vpn_ticket, stage.scene.people.agent).await?;
    stage.click("make-key").await?;
    let key = stage.text("[data-part='key']").await?;
    stage.click("make-chat-link").await?;
    let chat = stage.text("[data-part='chat-link']").await?;
    end_sessions(&stage).await?;

    stage.click("make-key").await?;
    let said = stage.text("[data-message='ended']").await?;
    ensure!(said.contains("Deskbridge") && said.contains("Reload all apps"), "{said}");
    ensure!((stage.text("[data-part='key']").await?, stage.text("[data-part='chat-link']").await?) == (key.clone(), chat));
    stage.browser.element("[data-action='copy-key']").await?;
    stage.click("insert-key").await?;
    stage.notice("Inserted into the reply.").await?;

    // How many times the server has answered the question for the sessions.
    let answered = async || {
        let count = "return performance.getEntriesByType('resource').filter(({ name }) => name.includes('/api/v1/sessions?')).length";
        stage.browser.execute(count, vec![]).await?.as_u64().context("a number")
    };

    // Another agent's ticket in the same browser changes nothing.
    let old = stage.browser.driver().window().await?;
    let open_beside = async |ticket: u64, agent: u64| -> Result<()> {
        let tab = stage.browser.driver().new_tab().await?;
        stage.browser.driver().switch_to_window(tab).await?;
        stage.ticket(ticket, agent).await?;
        stage.browser.element("[data-action='make-key']").await?;
        stage.browser.driver().close_window().await?;
        stage.browser.driver().switch_to_window(old.clone()).await?;
        stage.browser.enter_frame(PANEL).await
    };
    open_beside(stage.scene.people.printer_ticket, stage.scene.people.german_agent).await?;
    // Coming back to the tab asks once.
    stage.browser.element("[data-action='reload']:not([aria-disabled])").await?;
    let before = answered().await?;
    stage.click("reload").await?;
    until("the server answers", Duration::from_mins(1), async || Ok(answered().await? > before)).await?;
    stage.browser.element("[data-action='reload']:not([aria-disabled])").await?;
    stage.browser.element("[data-message='ended']").await?;

    // The agent's own does; coming back to the tab is enough.
    open_beside(stage.scene.people.printer_ticket, stage.scene.people.agent).await?;
    stage.browser.wait_until_gone("[data-message='ended']").await?;
    ensure!(stage.text("[data-part='key']").await? == key, "the key is still there");
    stage.click("make-key").await?;
    stage.browser.element_with_text("[data-section='key']", "Expires").await?;
    stage.browser.close().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_help_desk_is_named_and_not_the_network() -> Result<()> {
    let stage = Stage::open(Plan::default(), tall()).await?;
    stage.ticket(stage.scene.people.vpn_ticket, stage.scene.people.agent).await?;
    stage.browser.element("[data-action='make-key']").await?;
    // Another ticket is asked about anew. Nobody answers, so the server gives up after its own time.
    stage.scene.zendesk.fail_always(Matching::new(Method::GET, "/api/v2/tickets/"), zendesk::Fault::Hang);
    stage.in_workspace(&format!("switchTicket({}, 'context.updated')", stage.scene.people.printer_ticket)).await?;
    stage.browser.element(".loading").await?;
    let is_told = async || Ok(stage.browser.execute("return document.querySelector('.loading') === null", vec![]).await? == json!(true));
    until("the panel tells", Duration::from_mins(3), is_told).await?;
    let said = stage.text("[data-message='failed']").await?;
    let texts: Value = serde_json::from_str(include_str!("../../zendesk-app/translations/en.json"))?;
    let network = texts["panel"]["not_reached"].as_str().context("a text")?;
    ensure!(said.contains("does not answer") && !said.contains(network), "{said}");
    stage.browser.close().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_blocked_jump_is_told_and_its_link_stays() -> Result<()> {
    let stage = Stage::open(Plan::default(), tall()).await?;
    let page = stage.ticket_page(stage.scene.people.vpn_ticket);
    stage.odd_page(&page, json!({"sandbox_without": ["allow-popups", "allow-popups-to-escape-sandbox"]})).await?;
    stage.browser.type_into("#field-target", "machine-1").await?;
    stage.click("jump").await?;
    let told = stage.browser.element("[data-section='jump'] .notice-fault").await?;
    ensure!(told.text().await?.contains("did not open"), "{}", told.text().await?);
    let launch = stage.browser.element("[data-part='launch']").await?.attr("href").await?.context("no address")?;
    ensure!(launch.contains("machine-1"), "{launch}");
    stage.browser.element("[data-action='copy-jump-link']").await?;
    // Opened by its link, it is no longer told that it was not.
    stage.browser.click("[data-part='launch']").await?;
    stage.browser.wait_until_gone("[data-section='jump'] .notice-fault").await?;
    stage.browser.element("[data-section='jump'] .notice-done").await?;
    stage.browser.close().await
}

/// Presses Tab until the button of that action has the keyboard.
async fn focused(browser: &Browser, action: &str) -> Result<bool> {
    for _ in 0..10 {
        if browser.execute("return document.activeElement?.dataset?.action", vec![]).await? == json!(action) {
            return Ok(true);
        }
        browser.driver().action_chain().send_keys(thirtyfour::Key::Tab).perform().await?;
    }
    Ok(false)
}

/// Buttons, links and fields a screen reader could not name.
async fn unnamed_controls(browser: &Browser) -> Result<Value> {
    let script = "return [...document.querySelectorAll('button, a, input, select')]
        .filter((node) => !(node.textContent.trim() || node.ariaLabel || node.labels?.length))
        .map((node) => node.outerHTML)";
    browser.execute(script, vec![]).await
}
