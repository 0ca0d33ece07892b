//! The customer's button in a real Chromium: on the simulated Help Center's pages, against the real server, from the press to the note on the
//! ticket. `help_center_firefox.rs` tells the same story in Firefox.
//!
//! The server is at `localhost`, which is another site than the Help Center's `127.0.0.1`. Pictures are written only where
//! `DESKBRIDGE_SCREENSHOTS` says so.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use deskbridge_shared::routes;
use deskbridge_tests::appliance::{Party, Representative};
use deskbridge_tests::browser::{Browser, Settings};
use deskbridge_tests::chat_button::{BLOCKER, ChatButton, FOCUS_COUNTER, HASTE, LISTENER, Shown, head_line, request_line};
use deskbridge_tests::scene::{CONNECTION, Plan, Scene};
use deskbridge_tests::server::{Deskbridge, until};
use deskbridge_tests::zendesk::{self, Details, Fault, HelpCenterTheme, Matching, Sidebar, TicketField};
use reqwest::Method;
use serde_json::json;
use thirtyfour::{By, Key, WindowHandle};

const LIMIT: Duration = Duration::from_mins(1);
/// The fields of `[connection.help_center]`.
const TICKET_FIELD: u64 = 360_001;
const LINK_FIELD: u64 = 360_002;

const START: &str = "Start support chat";
const CHECKING: &str = "Checking the chat…";
const READY: &str = "The chat opens in a new window.";
const OPENING: &str = "Opening the chat…";
/// Title of the page that asks before there are two chats.
const BEFORE: &str = "A chat about this request may already be open";
const OPEN: &str = "The chat is open in another window. To start again, close that window first.";
const NOBODY: &str = "Nobody is available for a chat at the moment. This page checks again every minute.";
const NOT_YOURS: &str = "You cannot start a chat for this request. Please open one of your own requests.";
const CLOSED: &str = "This request is closed. To chat with us, please submit a new request.";
const SIGN_IN: &str = "Please sign in to the Help Center, then reload this page.";
const NO_PROOF: &str = "The chat cannot be opened from here. Please reply to this request and ask for a chat link.";
const FAILED: &str = "The chat could not be opened. Please try again.";
const UNAVAILABLE: &str = "The support chat is not available right now.";

/// The simulated appliance's page of a chat.
const CHAT_PAGE: &str = "Remote support session, customer's side.";

const THREE_ISSUES: &str = "general_tech=General Technical Issues\nemail=E-mail and calendar\nvpn=VPN";
const ONE_ISSUE: &str = "general_tech=General Technical Issues";

/// A scene whose Help Center has the button, and a customer's browser.
struct Stage {
    scene: Scene,
    browser: Browser,
    ticket: u64,
    customer: u64,
}

/// The Zendesk account's administrator offers these issues; `help_center` is what the connection has in that section.
fn plan(issues: &str, help_center: &str) -> Plan {
    let connection = format!("[help_center]\n{help_center}");
    let connection = connection.parse().unwrap_or_else(|error| panic!("{error}: {connection}"));
    let mut zendesk = zendesk::Options::default();
    zendesk.installation_settings["issues"] = json!(issues);
    Plan { connection, zendesk, server: Deskbridge::builder().public_host("localhost"), ..Plan::default() }
}

fn customers_browser() -> Settings {
    // The simulated appliance's certificate.
    Settings { accept_invalid_certificates: true, ..Settings::default() }
}

impl Stage {
    async fn start(plan: Plan) -> Result<Self> {
        Self::start_with(plan, &customers_browser()).await
    }

    /// The theme has the line in its head.
    async fn start_with(plan: Plan, settings: &Settings) -> Result<Self> {
        let scene = Scene::start(plan).await?;
        Self::in_scene(scene, settings).await
    }

    async fn in_scene(scene: Scene, settings: &Settings) -> Result<Self> {
        let ticket = scene.people.vpn_ticket;
        let customer = scene.zendesk.ticket(ticket).context("the ticket")?.requester_id;
        for (id, title) in [(TICKET_FIELD, "Support reference"), (LINK_FIELD, "Support chat")] {
            scene.zendesk.add_ticket_field(TicketField { id, ..TicketField::shown_to_customers(title) });
        }
        let stage = Self { browser: Browser::start(settings).await?, scene, ticket, customer };
        stage.head(&[])?;
        Ok(stage)
    }

    /// The line for the theme's head, with these scripts before it.
    fn head(&self, scripts: &[&str]) -> Result<()> {
        let head = format!("{}{}", scripts.concat(), head_line(&self.scene.server));
        self.theme(|theme| theme.head_line = Some(head))
    }

    fn theme(&self, change: impl FnOnce(&mut HelpCenterTheme)) -> Result<()> {
        self.scene.zendesk.alter_help_center_theme(change)
    }

    fn button(&self) -> ChatButton<'_> {
        ChatButton(&self.browser)
    }

    /// Opens the page of this ticket as its customer.
    async fn open(&self, locale: &str, ticket: u64) -> Result<()> {
        self.browser.open(&self.scene.zendesk.signed_in_request_page(self.customer, locale, ticket)).await
    }

    /// The same, once the button is there to be pressed.
    async fn open_ready(&self, ticket: u64) -> Result<()> {
        self.open("en-us", ticket).await?;
        self.button().says(READY).await.map(drop)
    }

    async fn window(&self) -> Result<WindowHandle> {
        Ok(self.browser.driver().window().await?)
    }

    /// Presses the button, and goes to the chat's window, which shows the appliance's chat.
    async fn press_and_enter_chat(&self) -> Result<WindowHandle> {
        let known = self.browser.driver().windows().await?;
        self.button().press().await?;
        let entered = async {
            let window = self.button().enter_window_beside(&known).await?;
            self.browser.element_with_text("p", CHAT_PAGE).await?;
            anyhow::Ok(window)
        };
        let entered = entered.await;
        let server = self.scene.server.logs();
        match entered {
            Ok(window) => Ok(window),
            Err(error) => Err(error.context(format!("{:#?}\n{}", self.browser.console_errors().await?, server.tail()))),
        }
    }

    /// Presses a button of a chat link's page, once its style is there: what still moves may be missed.
    async fn press_on_page(&self, text: &str) -> Result<()> {
        let is_loaded = async || Ok(self.browser.execute("return document.readyState", vec![]).await? == json!("complete"));
        until("the page is loaded", Duration::from_mins(1), is_loaded).await?;
        Ok(self.browser.element_with_text("button", text).await?.click().await?)
    }

    /// How many sessions the appliance has of this ticket.
    fn sessions(&self, ticket: u64) -> usize {
        let key = ticket.to_string();
        self.scene.appliance.sessions().iter().filter(|session| session.external_key == key).count()
    }

    /// An agent opens the ticket's panel, which fills the ticket's fields.
    async fn fill_fields(&self, ticket: u64, field: u64) -> Result<String> {
        let sidebar = self.scene.open_sidebar(self.scene.people.agent).await?;
        ensure!(sidebar.get(routes::PANEL, ticket).send().await?.status().is_success());
        let filled = self.scene.zendesk.wait_until(|zendesk| {
            let value = zendesk.ticket(ticket)?.custom_fields.get(&field)?.as_str()?.to_owned();
            (!value.is_empty()).then_some(value)
        });
        filled.await.context("the fields are not filled")
    }

    async fn picture(&self, name: &str) -> Result<()> {
        if let Some(folder) = std::env::var_os("DESKBRIDGE_SCREENSHOTS") {
            self.browser.screenshot(&PathBuf::from(folder).join(name)).await?;
        }
        Ok(())
    }

    /// Nothing failed on the pages shown so far, but for what is expected.
    async fn no_errors(&self, expected: &[&str]) -> Result<()> {
        let mut errors = self.browser.console_errors().await?;
        errors.retain(|error| !error.contains("favicon.ico") && !expected.iter().any(|part| error.contains(part)));
        ensure!(errors.is_empty(), "{errors:#?}");
        Ok(())
    }
}

// Where the button stands

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_line_in_the_head_puts_the_button_beside_the_details_of_every_theme() -> Result<()> {
    type Change = fn(&mut HelpCenterTheme);
    let stage = Stage::start(plan(ONE_ISSUE, "")).await?;
    let themes: [(&str, &str, Change); 8] = [
        ("Copenhagen", "dl", |_| {}),
        ("an aside", "div", |theme| theme.sidebar = Sidebar::Aside),
        ("renamed classes", "dl", |theme| theme.renamed_classes = true),
        ("details made by a script", "dl", |theme| theme.details = Details::LateByScript(300)),
        ("an aside made by a script", "div", |theme| (theme.details, theme.sidebar) = (Details::LateByScript(300), Sidebar::Aside)),
        ("details replaced by a script", "dl", |theme| theme.details = Details::ReplacedByScript(300)),
        ("no details", "corner", |theme| theme.details = Details::Absent),
        ("an address without a language", "dl", |theme| theme.redirects_to_locale = false),
    ];
    for (name, place, change) in themes {
        stage.head(&[])?;
        let head = stage.scene.zendesk.help_center_theme().head_line;
        stage.theme(|theme| {
            *theme = HelpCenterTheme { head_line: head, ..HelpCenterTheme::default() };
            change(theme);
        })?;
        let page = stage.scene.zendesk.signed_in_request_page(stage.customer, "en-us", stage.ticket);
        stage.browser.open(&if name.contains("language") { page.replace("/en-us", "") } else { page }).await?;
        let settled = "return document.querySelector('#request-details template') === null";
        until("the theme's script is done", LIMIT, async || Ok(stage.browser.execute(settled, vec![]).await? == json!(true))).await?;
        let shown = stage.button().until(name, |shown| shown.place == place && shown.message == READY).await.context(name)?;
        ensure!((shown.count, shown.button.as_str()) == (1, START), "{name}: {shown:?}");
        stage.no_errors(&[]).await.context(name)?;
    }
    for page in ["/hc/en-us", "/hc/en-us/requests"] {
        stage.browser.open(&format!("{}{page}", stage.scene.zendesk.help_center_origin())).await?;
        let loaded = "return performance.getEntriesByType('resource').some(({ name }) => name.endsWith('/help-center/button.js'))";
        ensure!(stage.browser.execute(loaded, vec![]).await? == json!(true), "{page} has the script");
        ensure!(stage.button().look().await?.count == 0, "{page} has no button");
    }
    stage.open_ready(stage.ticket).await?;
    stage.press_and_enter_chat().await?;
    ensure!(stage.sessions(stage.ticket) == 1);
    stage.browser.close().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_administrators_own_place_wins_and_there_is_one_button() -> Result<()> {
    let stage = Stage::start(plan(ONE_ISSUE, "")).await?;
    let (head, snippet) = (head_line(&stage.scene.server), request_line(&stage.scene.server));
    for (name, head, snippet, place) in [
        ("the snippet alone", None, Some(snippet.clone()), "own"),
        ("both", Some(head.clone()), Some(snippet.clone()), "own"),
        ("the head's line twice", Some(format!("{head}{head}")), None, "dl"),
        ("the snippet twice", None, Some(format!("{snippet}{snippet}")), "own"),
    ] {
        stage.theme(|theme| (theme.head_line, theme.request_page_snippet) = (head, snippet))?;
        stage.open("en-us", stage.ticket).await?;
        let shown = stage.button().says(READY).await.context(name)?;
        ensure!((shown.count, shown.place.as_str(), shown.button.as_str()) == (1, place, START), "{name}: {shown:?}");
    }
    stage.theme(|theme| (theme.head_line, theme.request_page_snippet) = (None, Some(snippet)))?;
    stage.open_ready(stage.ticket).await?;
    stage.press_and_enter_chat().await?;
    ensure!(stage.sessions(stage.ticket) == 1);
    stage.no_errors(&[]).await?;
    stage.browser.close().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_link_in_the_tickets_field_and_the_panels_link_lead_to_a_page_with_a_button() -> Result<()> {
    let help_center = format!("link_field = {LINK_FIELD}");
    let stage = Stage::start(plan(THREE_ISSUES, &help_center)).await?;
    // Without the button: the link is text among the request's details, or in an e-mail.
    stage.theme(|theme| theme.head_line = None)?;
    let link = stage.fill_fields(stage.ticket, LINK_FIELD).await?;
    stage.open("en-us", stage.ticket).await?;
    stage.browser.element_with_text("dd", &link).await.context("the customer reads the link")?;
    let other = stage.scene.people.printer_ticket;
    let agent = Browser::start(&Settings { height: 1300, ..Settings::default() }).await?;
    agent.open(&stage.scene.zendesk.ticket_page(other, stage.scene.people.agent)).await?;
    agent.enter_frame("#app").await?;
    agent.click("[data-action='make-chat-link']").await?;
    let made = agent.element("[data-part='chat-link']").await?.attr("href").await?.context("an address")?;
    agent.close().await?;
    // The agent has chosen the issue of the second.
    for (ticket, link, button, issue) in
        [(stage.ticket, link, "E-mail and calendar", "E-mail and calendar"), (other, made, "Start the chat", "General Technical Issues")]
    {
        stage.browser.open(&link).await?;
        stage.browser.element_with_text("h1", "Start a support chat").await?;
        ensure!(stage.sessions(ticket) == 0, "opening a link starts nothing");
        stage.press_on_page(button).await?;
        stage.browser.element_with_text("p", CHAT_PAGE).await?;
        let session = stage.scene.appliance.wait_for_session(|session| session.external_key == ticket.to_string()).await?;
        ensure!(session.customers[0].person.issue == issue, "{session:?}");
        ensure!(stage.sessions(ticket) == 1);
    }
    stage.no_errors(&[]).await?;
    stage.browser.close().await
}

/// Two connections' buttons want the same place, and each watches the page.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_connections_lines_stand_side_by_side_and_the_page_goes_on() -> Result<()> {
    let stage = Stage::start(plan(ONE_ISSUE, "")).await?;
    let head = head_line(&stage.scene.server);
    stage.theme(|theme| theme.head_line = Some(format!("{head}{}", head.replace(CONNECTION, "Another"))))?;
    stage.open("en-us", stage.ticket).await?;
    let words =
        "return [...document.querySelectorAll('deskbridge-chat')].map((each) => each.shadowRoot.querySelector('p').textContent).sort()";
    let said = async || Ok(stage.browser.execute(words, vec![]).await? == json!([READY, UNAVAILABLE]));
    until("both say what they have", Duration::from_mins(1), said).await?;
    // Whatever moves then moves once.
    let moves = "const done = arguments[0]; let moves = 0; new MutationObserver(() => moves++).observe(document.body, { childList: true, \
                 subtree: true }); document.querySelector('main').append('.'); setTimeout(() => done(moves), 500)";
    let moves = stage.browser.driver().execute_async(moves, vec![]).await?.json().as_u64();
    ensure!(moves.is_some_and(|moves| moves < 5), "{moves:?} moves");
    stage.browser.close().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_place_that_the_theme_takes_away_is_given_up_for_the_details() -> Result<()> {
    let stage = Stage::start(plan(ONE_ISSUE, "")).await?;
    let snippet = format!("<div id=\"own\">{}</div>", request_line(&stage.scene.server));
    stage.theme(|theme| (theme.head_line, theme.request_page_snippet) = (None, Some(snippet)))?;
    stage.open_ready(stage.ticket).await?;
    ensure!(stage.button().look().await?.place == "own");
    stage.browser.execute("document.querySelector('#own').remove()", vec![]).await?;
    until("it stands beside the details", Duration::from_mins(1), async || Ok(stage.button().look().await?.place == "dl")).await?;
    stage.press_and_enter_chat().await?;
    stage.browser.close().await
}

// What the button says

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ready_opening_open_and_ready_again() -> Result<()> {
    let stage = Stage::start(plan(ONE_ISSUE, "")).await?;
    stage.head(&[LISTENER, FOCUS_COUNTER])?;
    stage.open_ready(stage.ticket).await?;
    let shown = stage.button().look().await?;
    let ready = Shown {
        count: 1,
        place: "dl".to_owned(),
        button: START.to_owned(),
        message: READY.to_owned(),
        language: "en".to_owned(),
        ..Shown::default()
    };
    ensure!(shown == ready, "one issue needs no list: {shown:?}");
    ensure!(stage.button().said().await? == [CHECKING, READY]);

    // A token that takes its time.
    let token = Matching::new(Method::GET, "/api/v2/help_center/integration/token");
    stage.scene.zendesk.fail_next(1, token, Fault::Delay(Duration::from_secs(2)));
    let own = stage.window().await?;
    let known = stage.browser.driver().windows().await?;
    stage.button().press().await?;
    let chat = stage.button().enter_window_beside(&known).await?;
    stage.browser.element_with_text("body", OPENING).await?;
    stage.browser.driver().switch_to_window(own.clone()).await?;
    let shown = stage.button().says(OPENING).await?;
    ensure!(shown.is_disabled && shown.button == START && shown.focused == "button", "{shown:?}");
    let shown = stage.button().says(OPEN).await?;
    ensure!(!shown.is_disabled && shown.button == "Show the chat" && shown.focused == "button", "{shown:?}");
    stage.browser.driver().switch_to_window(chat.clone()).await?;
    stage.browser.element_with_text("p", CHAT_PAGE).await?;
    ensure!(
        stage.browser.execute("return window.opener !== null", vec![]).await? == json!(true),
        "else the page cannot bring it to the front"
    );

    // Shown again.
    stage.browser.driver().switch_to_window(own.clone()).await?;
    let focused = async || stage.browser.execute("return window.focused", vec![]).await;
    ensure!(focused().await? == json!(1), "in front when it opens");
    stage.button().press().await?;
    ensure!(focused().await? == json!(2), "a press brings it to the front");
    stage.browser.driver().switch_to_window(chat).await?;

    stage.button().close_window(&own).await?;
    let shown = stage.button().says(READY).await?;
    ensure!((shown.button.as_str(), shown.focused.as_str()) == (START, "button"), "{shown:?}");
    ensure!(stage.button().said().await? == [CHECKING, READY, OPENING, OPEN, READY]);
    ensure!(stage.sessions(stage.ticket) == 1);
    stage.no_errors(&[]).await?;
    stage.browser.close().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_reason_for_no_chat_is_said_and_only_what_helps_is_offered() -> Result<()> {
    let stage = Stage::start(plan(ONE_ISSUE, "")).await?;
    let ticket = stage.ticket;
    let zendesk = &stage.scene.zendesk;
    let says = async |message: &str, button: &str| {
        let shown = stage.button().says(message).await?;
        ensure!(shown.count == 1 && shown.button == button && shown.issues.is_empty(), "{shown:?}");
        Ok(shown)
    };
    // Somebody else's ticket: the page is the theme's "not found", at the ticket's address.
    let stranger = zendesk.ticket(stage.scene.people.printer_ticket).context("the ticket")?.requester_id;
    stage.browser.open(&zendesk.signed_in_request_page(stranger, "en-us", ticket)).await?;
    says(NOT_YOURS, "").await?;
    zendesk.alter_ticket(ticket, |ticket| "closed".clone_into(&mut ticket.status)).context("the ticket")?;
    stage.open("en-us", ticket).await?;
    says(CLOSED, "").await?;
    zendesk.alter_ticket(ticket, |ticket| "open".clone_into(&mut ticket.status)).context("the ticket")?;

    // Closed after the page was opened.
    stage.open_ready(ticket).await?;
    zendesk.alter_ticket(ticket, |ticket| "closed".clone_into(&mut ticket.status)).context("the ticket")?;
    stage.button().press().await?;
    ensure!(says(CLOSED, "").await?.focused == "p", "the focus does not get lost");
    zendesk.alter_ticket(ticket, |ticket| "open".clone_into(&mut ticket.status)).context("the ticket")?;

    // Signed out in another tab: before the page looks, and after.
    let looks = Matching::new(Method::GET, format!("/api/v2/requests/{ticket}"));
    zendesk.fail_next(1, looks, Fault::Status { code: 401, body: "{}".to_owned(), retry_after: None });
    stage.open("en-us", ticket).await?;
    says(SIGN_IN, "").await?;
    stage.open_ready(ticket).await?;
    zendesk.end_help_center_sessions();
    stage.button().press().await?;
    says(SIGN_IN, "").await?;

    // A plan without the token, and no other proof.
    zendesk.set_integration_token(false);
    stage.open_ready(ticket).await?;
    stage.button().press().await?;
    ensure!(says(NO_PROOF, "").await?.focused == "p");
    zendesk.set_integration_token(true);

    // The server cannot be asked what it offers.
    stage.browser.cdp("Network.enable", json!({})).await?;
    stage.browser.cdp("Network.setBlockedURLs", json!({"urls": [format!("*{}*", routes::HELP_CENTER_OFFER)]})).await?;
    stage.open("en-us", ticket).await?;
    says(UNAVAILABLE, "Try again").await?;
    stage.browser.cdp("Network.setBlockedURLs", json!({"urls": []})).await?;
    stage.button().press().await?;
    ensure!(says(READY, START).await?.focused == "button");
    ensure!(stage.browser.driver().windows().await?.len() == 1, "no window was left behind");
    ensure!(stage.sessions(ticket) == 0);
    stage.browser.close().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_was_away_is_tried_again() -> Result<()> {
    let mut stage = Stage::start(plan(ONE_ISSUE, "")).await?;
    stage.open_ready(stage.ticket).await?;
    stage.scene.server.kill().await?;
    stage.button().press().await?;
    let shown = stage.button().says(FAILED).await?;
    ensure!((shown.button.as_str(), shown.focused.as_str()) == ("Try again", "button"), "{shown:?}");
    let windows = async || Ok(stage.browser.driver().windows().await?.len() == 1);
    until("the empty window is closed", LIMIT, windows).await?;
    stage.scene.server.start().await?;
    stage.press_and_enter_chat().await?;
    ensure!(stage.sessions(stage.ticket) == 1);
    stage.browser.close().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_on_line_is_said_until_somebody_is() -> Result<()> {
    let stage = Stage::start(plan(ONE_ISSUE, "")).await?;
    stage.head(&[HASTE])?;
    let log_in = |is_there: bool| {
        stage.scene.appliance.change_options(|options| options.representatives.iter_mut().for_each(|one| one.logged_in = is_there));
    };
    log_in(false);
    stage.open("en-us", stage.ticket).await?;
    let shown = stage.button().says(NOBODY).await?;
    ensure!(shown.button.is_empty(), "{shown:?}");
    log_in(true);
    stage.button().says(READY).await?;
    stage.press_and_enter_chat().await?;
    stage.browser.close().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_limit_is_said_with_its_minutes_and_ends() -> Result<()> {
    let stage = Stage::start(plan(ONE_ISSUE, "chats_per_customer = 1")).await?;
    let other = stage.scene.add_ticket("Headset is silent");
    stage.open_ready(stage.ticket).await?;
    let own = stage.window().await?;
    stage.press_and_enter_chat().await?;
    stage.button().close_window(&own).await?;
    stage.head(&[HASTE, LISTENER])?;
    stage.open_ready(other).await?;
    stage.button().press().await?;
    let said = async || Ok(stage.button().said().await?.len() >= 5);
    until("the limit is over", LIMIT, said).await?;
    let said = stage.button().said().await?;
    let minutes = said[3].strip_prefix("Too many attempts. Please try again in ").with_context(|| format!("{said:?}"))?;
    let minutes: u32 = minutes.trim_end_matches(" min.").parse()?;
    ensure!((55..=60).contains(&minutes) && said[4] == READY, "{said:?}");
    ensure!(stage.sessions(other) == 0);
    stage.browser.close().await
}

// Who the customer is

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_proof_that_the_page_can_get_is_used() -> Result<()> {
    let help_center = format!(
        "customer_proof = [\"help_center_token\", \"ticket_field\", \"chat_link\"]\nticket_field = {TICKET_FIELD}\nlink_field = {LINK_FIELD}"
    );
    let stage = Stage::start(plan(ONE_ISSUE, &help_center)).await?;
    let own = stage.window().await?;
    for (has_token, has_value, holder) in
        [(true, true, format!("user:{}", stage.customer)), (false, true, "field".to_owned()), (false, false, "link".to_owned())]
    {
        let ticket = stage.scene.add_ticket(&format!("Proved by {holder}"));
        stage.fill_fields(ticket, LINK_FIELD).await?;
        stage.scene.zendesk.set_integration_token(has_token);
        if !has_value {
            stage.scene.zendesk.alter_ticket(ticket, |ticket| ticket.custom_fields.remove(&TICKET_FIELD)).context("the ticket")?;
        }
        stage.open_ready(ticket).await?;
        let known = stage.browser.driver().windows().await?;
        stage.button().press().await?;
        stage.button().enter_window_beside(&known).await?;
        if holder == "link" {
            stage.browser.element_with_text("h1", "Start a support chat").await?;
            ensure!(stage.sessions(ticket) == 0, "the link's page has a button of its own");
            stage.press_on_page("Start the chat").await?;
        } else {
            stage.scene.server.wait_for_log(&format!("a customer starts a chat.*{ticket}.*{holder}")).await?;
        }
        stage.browser.element_with_text("p", CHAT_PAGE).await?;
        ensure!(stage.sessions(ticket) == 1, "{holder}");
        stage.button().close_window(&own).await?;
    }
    stage.no_errors(&["integration/token"]).await?;
    stage.browser.close().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_foreign_cookies_and_the_three_documented_entries_of_a_strict_policy_are_enough() -> Result<()> {
    let settings = Settings { flags: vec!["--test-third-party-cookie-phaseout".to_owned()], ..customers_browser() };
    let stage = Stage::start_with(plan(THREE_ISSUES, ""), &settings).await?;
    let server = stage.scene.server.public_url();
    let policy = format!("default-src 'none'; style-src 'self'; script-src 'self' {server}; connect-src 'self' {server}");
    for (name, policy, works) in [
        ("the documented entries", policy.clone(), true),
        ("no connection to the server", policy.replace(&format!("connect-src 'self' {server}"), "connect-src 'self'"), false),
    ] {
        stage.theme(|theme| theme.meta_csp = Some(policy))?;
        stage.open("en-us", stage.ticket).await?;
        let shown = stage.button().says(if works { READY } else { UNAVAILABLE }).await.context(name)?;
        ensure!(shown.issues.len() == if works { 3 } else { 0 }, "{name}: {shown:?}");
        if !works {
            continue;
        }
        let height = stage.button().part("button").await?.rect().await?.height;
        ensure!(height >= 44.0, "the button has its style: {height}");
        let own = stage.window().await?;
        stage.press_and_enter_chat().await?;
        stage.button().close_window(&own).await?;
        stage.no_errors(&[]).await?;
    }
    stage.browser.close().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_no_window_opens_the_chat_opens_in_the_same_tab() -> Result<()> {
    let stage = Stage::start(plan(ONE_ISSUE, "")).await?;
    stage.head(&[BLOCKER])?;
    stage.open_ready(stage.ticket).await?;
    stage.button().press().await?;
    let driver = stage.browser.driver();
    let is_there = async || Ok(driver.current_url().await?.as_str().starts_with(stage.scene.appliance.base_url()));
    until("the tab shows the chat", LIMIT, is_there).await?;
    stage.browser.element_with_text("p", CHAT_PAGE).await?;
    ensure!(driver.windows().await?.len() == 1);
    driver.back().await?;
    stage.button().says(READY).await?;
    ensure!(stage.sessions(stage.ticket) == 1);
    stage.browser.close().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_help_center_with_a_host_name_of_its_own() -> Result<()> {
    let mut plan = plan(ONE_ISSUE, "origins = [\"http://127.0.0.1:1\"]");
    plan.zendesk.help_center.host_mapped = true;
    let mut scene = Scene::prepare(plan).await?;
    let settings = std::fs::read_to_string(scene.server.settings_path())?;
    let origin = scene.zendesk.help_center_origin();
    ensure!(origin != scene.zendesk.url() && settings.contains("\"http://127.0.0.1:1\""));
    scene.server.start().await?;
    let mut stage = Stage::in_scene(scene, &customers_browser()).await?;
    stage.open("en-us", stage.ticket).await?;
    stage.button().says(UNAVAILABLE).await.context("an origin that is not in the settings")?;
    stage.scene.server.kill().await?;
    std::fs::write(stage.scene.server.settings_path(), settings.replace("http://127.0.0.1:1", &origin))?;
    stage.scene.server.start().await?;
    stage.open_ready(stage.ticket).await?;
    stage.press_and_enter_chat().await?;
    ensure!(stage.sessions(stage.ticket) == 1);
    stage.browser.close().await
}

// How it is used and looks

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn by_keyboard_alone_with_names_and_announcements() -> Result<()> {
    let stage = Stage::start(plan(THREE_ISSUES, "")).await?;
    stage.head(&[LISTENER])?;
    stage.open_ready(stage.ticket).await?;
    let button = stage.button();
    for (css, role, name) in [("select", "combobox", "What is it about?"), ("button", "button", START), ("[role=status]", "status", "")] {
        let (told_role, told_name) = stage.browser.role_and_name(&button.part(css).await?).await?;
        ensure!(told_role.to_lowercase().contains(role) && told_name == name, "{css}: {told_role} “{told_name}”");
    }
    let own = stage.window().await?;
    let known = stage.browser.driver().windows().await?;
    button.tab_to("select").await?;
    button.keys([Key::Down]).await?;
    button.tab_to("button").await?;
    button.keys([Key::Enter]).await?;
    button.enter_window_beside(&known).await?;
    stage.browser.element_with_text("p", CHAT_PAGE).await?;
    let session = stage.scene.appliance.wait_for_session(|session| session.external_key == stage.ticket.to_string()).await?;
    ensure!(session.customers[0].person.issue == "E-mail and calendar", "{session:?}");
    button.close_window(&own).await?;
    let shown = button.says(READY).await?;
    ensure!((shown.focused.as_str(), shown.issues.len()) == ("button", 3), "{shown:?}");

    // The session at the appliance goes on: the space bar leads back to it, not to a second one.
    button.keys([Key::Space]).await?;
    button.enter_window_beside(&known).await?;
    stage.browser.element_with_text("h1", BEFORE).await?;
    button.close_window(&own).await?;
    button.says(READY).await?;
    ensure!(button.said().await? == [CHECKING, READY, OPENING, OPEN, READY, OPENING, OPEN, READY]);
    ensure!(stage.sessions(stage.ticket) == 1);
    // Nothing left to press: the sentence has the focus.
    stage.scene.zendesk.set_integration_token(false);
    button.keys([Key::Enter]).await?;
    ensure!(button.says(NO_PROOF).await?.focused == "p");
    stage.no_errors(&["integration/token"]).await?;
    stage.browser.close().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_other_languages_directions_colours_and_on_a_narrow_screen() -> Result<()> {
    let stage = Stage::start(plan(THREE_ISSUES, "")).await?;
    let rect = async || {
        let script = "const { left, right, width } = document.querySelector('deskbridge-chat').getBoundingClientRect();
            return [left, right, width, document.documentElement.clientWidth, document.documentElement.scrollWidth];";
        serde_json::from_value::<[f64; 5]>(stage.browser.execute(script, vec![]).await?).context("numbers")
    };
    // Lower pages make smaller pictures.
    stage.browser.set_size(1280, 440).await?;
    stage.open_ready(stage.ticket).await?;
    stage.picture("help-center-button.png").await?;

    stage.open("de", stage.ticket).await?;
    let shown = stage.button().says("Der Chat öffnet sich in einem neuen Fenster.").await?;
    ensure!((shown.button.as_str(), shown.language.as_str()) == ("Support-Chat starten", "de"), "{shown:?}");

    // English texts on a page from right to left; in the corner, at the page's end.
    stage.open("ar", stage.ticket).await?;
    let shown = stage.button().says(READY).await?;
    ensure!((shown.place.as_str(), shown.language.as_str()) == ("dl", "en"), "{shown:?}");
    let lefts = "const { shadowRoot } = document.querySelector('deskbridge-chat');
        return ['label', '[role=status]'].map((css) => shadowRoot.querySelector(css).getBoundingClientRect().left);";
    let lefts = stage.browser.execute(lefts, vec![]).await?;
    ensure!(lefts[0] == lefts[1], "its texts are aligned: {lefts}");
    let directions = "const { shadowRoot } = document.querySelector('deskbridge-chat');
        return [document.dir, ...['label', 'button', '[role=status]'].map((css) => getComputedStyle(shadowRoot.querySelector(css)).direction)];";
    ensure!(stage.browser.execute(directions, vec![]).await? == json!(["rtl", "ltr", "ltr", "ltr"]));
    stage.picture("help-center-rtl.png").await?;
    for (locale, at_left) in [("ar", true), ("en-us", false)] {
        stage.theme(|theme| theme.details = Details::Absent)?;
        stage.open(locale, stage.ticket).await?;
        let shown = stage.button().says(READY).await?;
        let [left, right, width, page, _] = rect().await?;
        ensure!(shown.place == "corner" && width < page / 2.0, "{locale}: {shown:?}");
        ensure!(if at_left { left < 50.0 } else { right > page - 50.0 }, "{locale}: {left} to {right} of {page}");
    }
    stage.picture("help-center-corner.png").await?;
    stage.theme(|theme| (theme.details, theme.dark) = (Details::Server, true))?;
    stage.open_ready(stage.ticket).await?;
    stage.picture("help-center-dark.png").await?;
    stage.theme(|theme| theme.details = Details::Absent)?;
    stage.open_ready(stage.ticket).await?;
    stage.picture("help-center-corner-dark.png").await?;

    let forced = json!({"features": [{"name": "forced-colors", "value": "active"}]});
    stage.browser.cdp("Emulation.setEmulatedMedia", forced).await?;
    stage.theme(|theme| (theme.details, theme.dark) = (Details::Server, false))?;
    stage.open_ready(stage.ticket).await?;
    let colours = "const [button, text] = ['button', 'button span'].map((css) => getComputedStyle(document.querySelector('deskbridge-chat').shadowRoot.querySelector(css)));
        return [button.backgroundColor, text.color];";
    let colours = stage.browser.execute(colours, vec![]).await?;
    ensure!(colours[0] != colours[1], "the text can be read: {colours}");
    stage.picture("help-center-forced-colors.png").await?;
    stage.browser.cdp("Emulation.setEmulatedMedia", json!({"features": []})).await?;

    // The details are folded up on a narrow screen: the button stands outside.
    stage.browser.set_size(320, 800).await?;
    for (name, details) in [("help-center-mobile.png", Details::Server), ("help-center-mobile-corner.png", Details::Absent)] {
        stage.theme(|theme| theme.details = details)?;
        stage.open_ready(stage.ticket).await?;
        let [left, right, width, page, scrolled] = rect().await?;
        ensure!(width > 150.0 && left >= 0.0 && right <= page && scrolled <= page, "{name}: {left} to {right} of {page}, {scrolled}");
        stage.picture(name).await?;
    }
    // And moves back when there is room.
    stage.theme(|theme| theme.details = Details::Server)?;
    stage.open_ready(stage.ticket).await?;
    ensure!(stage.button().look().await?.place != "dl");
    stage.browser.set_size(1280, 900).await?;
    stage.button().until("the details are unfolded", |shown| shown.place == "dl").await?;
    stage.no_errors(&[]).await?;
    stage.browser.close().await
}

// The whole story

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn from_the_customers_press_to_the_note_on_the_ticket() -> Result<()> {
    let stage = Stage::start(plan(THREE_ISSUES, "")).await?;
    let ticket = stage.ticket;
    let agent = Browser::start(&Settings { height: 1300, ..Settings::default() }).await?;
    agent.open(&stage.scene.zendesk.ticket_page(ticket, stage.scene.people.agent)).await?;
    agent.enter_frame("#app").await?;
    agent.element("[data-action='make-key']").await?;

    stage.open_ready(ticket).await?;
    let own = stage.window().await?;
    stage.button().part("select").await?.send_keys("E-mail").await?;
    stage.press_and_enter_chat().await?;
    let session = stage.scene.appliance.wait_for_session(|session| session.external_key == ticket.to_string()).await?;
    let customer = &session.customers[0].person;
    let told = [&customer.name, &customer.company, &customer.issue].map(String::as_str);
    ensure!(told == ["Tom Okafor", "Harbour Foods Ltd", "E-mail and calendar"], "{told:?}");

    let waiting = agent.element(".notice-waiting").await?.text().await?;
    ensure!(waiting.contains("The customer is waiting") && waiting.contains("Tom Okafor"), "{waiting}");
    let status = agent.execute("return document.querySelector('#panel [role=status]').textContent", vec![]).await?;
    ensure!(status.as_str().is_some_and(|status| status.contains("The customer is waiting")), "{status}");
    agent.leave_frames().await?;
    agent.element_with_text("#toasts", "The customer is waiting").await?;
    agent.enter_frame("#app").await?;

    let lsid = &session.lsid;
    stage.scene.appliance.representative_joins(lsid, Representative::example())?;
    agent.element("li[data-state='active']").await?;
    agent.wait_until_gone(".notice-waiting").await?;
    stage.scene.appliance.chat(lsid, Party::REPRESENTATIVE, "I have repaired your mail profile.")?;
    stage.browser.type_into("input[name='text']", "Thank you, it works again.").await?;
    stage.browser.element_with_text("button", "Send").await?.click().await?;
    stage.browser.element_with_text("li", "it works again").await?;
    stage.scene.appliance.end_session(lsid)?;
    let marker = format!("deskbridge/{lsid}/report/0");
    let note = stage.scene.zendesk.wait_for_comment(ticket, |comment| comment.plain_body.contains(&marker)).await?;
    ensure!(
        !note.public && note.plain_body.contains("it works again") && note.plain_body.contains("repaired your mail profile"),
        "{note:?}"
    );
    agent.element("li[data-state='recorded']").await?;
    stage.scene.appliance.outbound_idle().await?;
    let reports = stage.scene.zendesk.comments(ticket).iter().filter(|comment| comment.plain_body.contains("/report/")).count();
    ensure!(reports == 1 && stage.sessions(ticket) == 1, "{reports} reports");

    // An internal note is not the customer's.
    stage.button().close_window(&own).await?;
    stage.open_ready(ticket).await?;
    let page = stage.browser.text("main").await?;
    ensure!(page.contains("Right now would be fine") && !page.contains("repaired your mail profile"), "{page}");
    stage.no_errors(&[]).await?;
    ensure!(agent.console_errors().await?.is_empty());
    agent.close().await?;
    stage.browser.close().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn however_often_it_is_pressed_the_appliance_has_one_session() -> Result<()> {
    let stage = Stage::start(plan(ONE_ISSUE, "")).await?;
    let ticket = stage.ticket;
    stage.open_ready(ticket).await?;
    let first = stage.window().await?;
    let driver = stage.browser.driver();
    let second = driver.new_tab().await?;
    driver.switch_to_window(second.clone()).await?;
    stage.open_ready(ticket).await?;
    // Twice in one tab, and at once in the other.
    let known = driver.windows().await?;
    let button = stage.button().part("button").await?;
    driver.action_chain().double_click_element(&button).perform().await?;
    driver.switch_to_window(first.clone()).await?;
    stage.button().press().await?;
    stage.button().says(OPEN).await?;
    driver.switch_to_window(second.clone()).await?;
    stage.button().says(OPEN).await?;
    stage.scene.appliance.wait_for_session(|session| session.external_key == ticket.to_string()).await?;
    // A new page does not know the window.
    stage.open_ready(ticket).await?;
    stage.button().press().await?;
    stage.button().says(OPEN).await?;
    let windows: Vec<WindowHandle> = driver.windows().await?.into_iter().filter(|window| !known.contains(window)).collect();
    let mut chats = 0;
    for window in windows {
        driver.switch_to_window(window).await?;
        stage.browser.element("h1").await?;
        let title = driver.find(By::Css("h1")).await?.text().await?;
        ensure!(title == "Chat" || title == BEFORE, "{title}");
        chats += usize::from(title == "Chat");
    }
    ensure!(chats == 1 && stage.sessions(ticket) == 1, "{chats} chats, {} sessions", stage.sessions(ticket));
    stage.browser.close().await
}
