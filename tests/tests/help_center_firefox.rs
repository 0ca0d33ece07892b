//! The customer's button in a real Firefox: from the press to a public note that the customer reads, by mouse and by keyboard, with foreign
//! cookies refused, under a strict policy. `help_center_browser.rs` shows the rest.
//!
//! A machine without Firefox or geckodriver leaves this out, and says so; CI may not.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use deskbridge_tests::appliance::{Party, Representative};
use deskbridge_tests::chat_button::{BLOCKER, ChatButton, LISTENER, head_line};
use deskbridge_tests::firefox::{self, Firefox};
use deskbridge_tests::scene::{Plan, Scene};
use deskbridge_tests::server::{Deskbridge, tell, until};
use deskbridge_tests::zendesk::{self, Details};
use serde_json::{Value, json};
use thirtyfour::Key;
use toml::toml;

const LIMIT: Duration = Duration::from_mins(1);
const READY: &str = "The chat opens in a new window.";
const OPENING: &str = "Opening the chat…";
const OPEN: &str = "The chat is open in another window. To start again, close that window first.";
/// The simulated appliance's page of a chat.
const CHAT_PAGE: &str = "Remote support session, customer's side.";

/// Cookies of other sites are refused.
const NO_FOREIGN_COOKIES: (&str, i64) = ("network.cookie.cookieBehavior", 1);

/// A scene whose Help Center has the line in its head, and a customer's Firefox; `None` where there is no Firefox to be had.
struct Stage {
    scene: Scene,
    firefox: Firefox,
    ticket: u64,
}

impl Stage {
    async fn start(preferences: &[(&str, Value)]) -> Result<Option<Self>> {
        if let Err(error) = firefox::obtainable() {
            if std::env::var_os("CI").is_some_and(|ci| ci == "true") {
                bail!("CI needs Firefox: {error:#}");
            }
            tell(&format!("Firefox is left out: {error:#}"));
            return Ok(None);
        }
        let connection = toml! {
            [zendesk]
            note_visibility = "public"
            [help_center]
        };
        let mut zendesk = zendesk::Options::default();
        zendesk.installation_settings["issues"] = json!("general_tech=General Technical Issues\nemail=E-mail and calendar");
        let server = Deskbridge::builder().public_host("localhost");
        let scene = Scene::start(Plan { connection, zendesk, server, ..Plan::default() }).await?;
        let head = format!("{LISTENER}{}", head_line(&scene.server));
        scene.zendesk.alter_help_center_theme(|theme| theme.head_line = Some(head))?;
        let ticket = scene.people.vpn_ticket;
        Ok(Some(Self { scene, firefox: Firefox::start_with(preferences).await?, ticket }))
    }

    fn button(&self) -> ChatButton<'_> {
        ChatButton(&self.firefox)
    }

    async fn open_ready(&self) -> Result<()> {
        let customer = self.scene.zendesk.ticket(self.ticket).context("the ticket")?.requester_id;
        self.firefox.open(&self.scene.zendesk.signed_in_request_page(customer, "en-us", self.ticket)).await?;
        self.button().says(READY).await.map(drop)
    }

    fn sessions(&self) -> usize {
        self.scene.appliance.sessions().len()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn from_the_customers_press_to_a_note_that_the_customer_reads() -> Result<()> {
    let (name, value) = NO_FOREIGN_COOKIES;
    let Some(stage) = Stage::start(&[(name, json!(value))]).await? else { return Ok(()) };
    let (button, driver, ticket) = (stage.button(), stage.firefox.driver(), stage.ticket);
    let server = stage.scene.server.public_url();
    let policy = format!("default-src 'none'; style-src 'self'; script-src 'self' 'unsafe-inline' {server}; connect-src 'self' {server}");
    stage.scene.zendesk.alter_help_center_theme(|theme| theme.meta_csp = Some(policy))?;
    stage.open_ready().await?;
    let shown = button.look().await?;
    ensure!((shown.count, shown.place.as_str(), shown.issues.len()) == (1, "dl", 2), "{shown:?}");
    for (css, role, name) in [("select", "combobox", "What is it about?"), ("button", "button", "Start support chat")] {
        let (told_role, told_name) = stage.firefox.role_and_name(&button.part(css).await?).await?;
        ensure!(told_role.to_lowercase().contains(role) && told_name == name, "{css}: {told_role} “{told_name}”");
    }

    // By keyboard.
    let own = driver.window().await?;
    let known = driver.windows().await?;
    button.tab_to("select").await?;
    button.keys([Key::Down]).await?;
    button.tab_to("button").await?;
    button.keys([Key::Space]).await?;
    button.enter_window_beside(&known).await?;
    stage.firefox.element_with_text("p", CHAT_PAGE).await?;
    ensure!(
        stage.firefox.execute("return window.opener !== null", vec![]).await? == json!(true),
        "else the page cannot bring it to the front"
    );
    let session = stage.scene.appliance.wait_for_session(|session| session.external_key == ticket.to_string()).await?;
    let customer = &session.customers[0].person;
    let told = [&customer.name, &customer.company, &customer.issue].map(String::as_str);
    ensure!(told == ["Tom Okafor", "Harbour Foods Ltd", "E-mail and calendar"], "{told:?}");

    driver.switch_to_window(own.clone()).await?;
    let shown = button.says(OPEN).await?;
    ensure!((shown.button.as_str(), shown.focused.as_str()) == ("Show the chat", "button"), "{shown:?}");
    // A press in a new page of the same request starts no second session.
    stage.open_ready().await?;
    button.part("select").await?.send_keys("E-mail").await?;
    button.press().await?;
    button.says(OPEN).await?;
    ensure!(driver.windows().await?.len() == known.len() + 1, "the window that is open is found by its name");
    driver.switch_to_window(own).await?;
    ensure!(stage.sessions() == 1, "{} sessions", stage.sessions());

    let lsid = &session.lsid;
    stage.scene.appliance.representative_joins(lsid, Representative::example())?;
    stage.scene.appliance.chat(lsid, Party::REPRESENTATIVE, "I have repaired your mail profile.")?;
    stage.scene.appliance.end_session(lsid)?;
    let marker = format!("deskbridge/{lsid}/report/0");
    let note = stage.scene.zendesk.wait_for_comment(ticket, |comment| comment.plain_body.contains(&marker)).await?;
    ensure!(note.public, "{note:?}");
    stage.open_ready().await?;
    stage.firefox.element_with_text("main", "I have repaired your mail profile.").await.context("the customer reads a public note")?;
    let reports = stage.scene.zendesk.comments(ticket).iter().filter(|comment| comment.plain_body.contains("/report/")).count();
    ensure!(reports == 1, "{reports} reports");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_window_that_is_closed_makes_the_button_ready_in_the_corner_too() -> Result<()> {
    let Some(stage) = Stage::start(&[]).await? else { return Ok(()) };
    let (button, driver) = (stage.button(), stage.firefox.driver());
    stage.scene.zendesk.alter_help_center_theme(|theme| theme.details = Details::Absent)?;
    stage.open_ready().await?;
    ensure!(button.look().await?.place == "corner");
    let own = driver.window().await?;
    let known = driver.windows().await?;
    button.press().await?;
    button.enter_window_beside(&known).await?;
    stage.firefox.element_with_text("p", CHAT_PAGE).await?;
    button.close_window(&own).await?;
    let shown = button.says(READY).await?;
    ensure!(shown.focused == "button", "{shown:?}");
    ensure!(button.said().await? == ["Checking the chat…", READY, OPENING, OPEN, READY]);
    ensure!(stage.sessions() == 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_no_window_opens_the_chat_opens_in_the_same_tab() -> Result<()> {
    let Some(stage) = Stage::start(&[]).await? else { return Ok(()) };
    let driver = stage.firefox.driver();
    // No preference of Firefox blocks the window of a press.
    let head = format!("{BLOCKER}{}", head_line(&stage.scene.server));
    stage.scene.zendesk.alter_help_center_theme(|theme| theme.head_line = Some(head))?;
    stage.open_ready().await?;
    stage.button().press().await?;
    let is_there = async || Ok(driver.current_url().await?.as_str().starts_with(stage.scene.appliance.base_url()));
    until("the tab shows the chat", LIMIT, is_there).await?;
    stage.firefox.element_with_text("p", CHAT_PAGE).await?;
    ensure!(driver.windows().await?.len() == 1 && stage.sessions() == 1);
    Ok(())
}
