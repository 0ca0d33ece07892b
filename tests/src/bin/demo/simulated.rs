//! Simulated appliances, a simulated Zendesk, Autotask and osTicket, and a real server between them.

use std::io::IsTerminal;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use axum::Router;
use axum::extract::State;
use axum::response::{Html, Redirect};
use axum::routing::{get, post};
use deskbridge_shared::routes;
use deskbridge_tests::appliance::{Representative, SessionScript, SimulatedAppliance, Step};
use deskbridge_tests::device::Browser;
use deskbridge_tests::help_desks::{AUTOTASK, Desks, OSTICKET};
use deskbridge_tests::outcomes;
use deskbridge_tests::scene::{CONNECTION, Plan, Scene};
use deskbridge_tests::server::{Deskbridge, loopback_client};
use deskbridge_tests::zendesk::TicketField;
use reqwest::Method;
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Mutex, mpsc};

use crate::{DIRECTORY, EXTENSION};

/// Between two steps of a played session: slow enough to watch the panel, fast enough not to bore.
const PACE: Duration = Duration::from_millis(900);

/// The number of the osTicket ticket that is opened.
const OSTICKET_NUMBER: &str = "515631";

/// The ticket field that gets the customer's chat link.
const LINK_FIELD: u64 = 360_002;

/// Stands in the transcript of the played session.
const LAST_WORDS: &str = "Läuft wieder, vielen Dank";

/// Plays by itself, or with a person until Ctrl-C.
pub async fn run(check: bool) -> Result<()> {
    let desks = Desks::start().await?;
    let [autotask, osticket] = desks.connections();
    let server = Deskbridge::builder().directory(DIRECTORY).public_host("localhost").connection(autotask).connection(osticket);
    let connection = toml::from_str(&format!("[help_center]\nlink_field = {LINK_FIELD}"))?;
    let scene = Scene::prepare(Plan { server, connection, ..Plan::default() }).await?;
    put_the_button_into_the_help_center(&scene)?;
    let scene = scene.started().await?;
    desks.tell(&scene.server);
    let code = desks.pairing_code(&scene.server).await?;
    desks.set_up_extension(&scene.server, &code, &Path::new(DIRECTORY).join(EXTENSION))?;
    if check { play_the_whole_story(scene, desks, &code).await } else { show(scene, desks, &code).await }
}

/// As an administrator does it by the page "Customize Help Center": a field for chat links, and the line in the theme.
fn put_the_button_into_the_help_center(scene: &Scene) -> Result<()> {
    scene.zendesk.add_ticket_field(TicketField { id: LINK_FIELD, ..TicketField::shown_to_customers("Support chat link") });
    let line = format!(
        "<script src=\"{}{}\" data-connection=\"{CONNECTION}\" data-locale=\"{{{{help_center.locale}}}}\" defer></script>",
        scene.server.public_url(),
        routes::HELP_CENTER_BUTTON,
    );
    scene.zendesk.alter_help_center_theme(|theme| theme.head_line = Some(line))
}

/// Where the customer of the first ticket sees it, signed in.
fn customers_page(scene: &Scene) -> Result<String> {
    let ticket = scene.people.vpn_ticket;
    let customer = scene.zendesk.ticket(ticket).context("the ticket is gone")?.requester_id;
    Ok(scene.zendesk.signed_in_request_page(customer, "en-us", ticket))
}

/// Without a person: in each ticket system a key, its session, its report on the ticket, once.
async fn play_the_whole_story(mut scene: Scene, desks: Desks, code: &str) -> Result<()> {
    let ticket = scene.people.vpn_ticket;
    let sidebar = scene.open_sidebar(scene.people.agent).await?;
    let key = sidebar.session_key(ticket).await?;
    println!("Ticket {ticket}: session key {}", key.short_key);
    play_session(&scene.appliance, &key.short_key, &ticket.to_string())?;
    let note = scene.zendesk.wait_for_comment(ticket, |comment| is_report(&comment.plain_body)).await?;
    scene.appliance.outbound_idle().await?;
    let reports = scene.zendesk.comments(ticket);
    let reports = reports.iter().filter(|comment| is_report(&comment.plain_body)).count();
    ensure!(reports == 1, "the report stands on the ticket {reports} times");
    println!("Ticket {ticket}: the report is there ({} characters)", note.plain_body.chars().count());

    let lsid = chat_from_the_help_center(&scene).await?;
    scene.outcome(&lsid, outcomes::SESSION_END).await?.done()?;
    let reports = scene.zendesk.comments(ticket).into_iter().filter(|comment| comment.plain_body.contains(&lsid)).count();
    ensure!(reports == 1, "the chat's report stands on the ticket {reports} times");
    println!("Ticket {ticket}: the report of the customer's own chat is there");

    let addresses = Addresses::of(&desks);
    for address in [&addresses.autotask, &addresses.osticket] {
        // osTicket leads to its login page first.
        let answer = loopback_client()?.get(address).send().await.with_context(|| format!("{address} does not answer"))?;
        ensure!(answer.status().is_success() || answer.status().is_redirection(), "{address} says {}", answer.status());
    }
    let mut browser = Browser::new(&scene.server)?;
    browser.pair(code).await?;
    let lsid = support(&scene.server, &browser, &desks.autotask.appliance, AUTOTASK, &desks.autotask_data.ticket.to_string()).await?;
    let ticket = desks.autotask_data.ticket;
    desks.autotask.system.wait_for_note(ticket, |note| is_report(&note.description)).await?;
    let time = desks.autotask.system.wait_for_time_entry(ticket, |_| true).await?;
    scene.outcome(&lsid, outcomes::SESSION_END).await?.done()?;
    let reports = desks.autotask.system.notes(ticket).into_iter().filter(|note| is_report(&note.description)).count();
    ensure!(reports == 1, "the report stands on Autotask's ticket {reports} times");
    println!("Autotask ticket {ticket}: the report is there, and {:.2} hours", time.hours_worked);

    let lsid = support(&scene.server, &browser, &desks.osticket.appliance, OSTICKET, OSTICKET_NUMBER).await?;
    scene.outcome(&lsid, outcomes::SESSION_END).await?.done()?;
    let question = json!({ "connection": OSTICKET, "ticket": OSTICKET_NUMBER, "lsid": lsid }).to_string();
    let note = browser.ask(Method::POST, routes::SESSION_RECORD, &question).await?;
    ensure!(note.status == 200 && is_report(&note.text), "{}: {}", note.status, note.text);
    println!("osTicket ticket {OSTICKET_NUMBER}: the report is ready for the agent's page");

    let ended = scene.server.terminate().await?;
    ensure!(ended.success(), "the server ended with {ended}");
    Ok(())
}

/// The customer starts a chat from their own ticket, and a representative helps them; answers the lsid.
async fn chat_from_the_help_center(scene: &Scene) -> Result<String> {
    let ticket = scene.people.vpn_ticket;
    let customer = scene.zendesk.ticket(ticket).context("the ticket is gone")?.requester_id;
    let token = scene.zendesk.help_center_token(customer)?.encode()?;
    let question = json!({
        "connection": CONNECTION,
        "ticket": ticket.to_string(),
        "issue": "general_tech",
        "proof": { "kind": "help_center_token", "value": token },
    });
    let chats = format!("{}{}", scene.server.url(), routes::HELP_CENTER_CHATS);
    let answer = loopback_client()?.post(chats).header("origin", scene.zendesk.help_center_origin()).json(&question).send().await?;
    let (status, text) = (answer.status(), answer.text().await?);
    ensure!(status == 201, "{status}: {text}\n{}", scene.server.logs().tail());
    let answer: serde_json::Value = serde_json::from_str(&text)?;
    let url = answer["url"].as_str().context("no url")?;
    let opened = loopback_client()?.get(url).send().await?;
    let chat = opened.headers().get("location").with_context(|| format!("{} without a location", opened.status()))?.to_str()?.to_owned();
    let known: Vec<String> = scene.appliance.sessions().into_iter().map(|session| session.lsid).collect();
    scene.appliance.browse(&chat).await?;
    let session = scene.appliance.wait_for_session(|session| !known.contains(&session.lsid)).await?;
    println!("Ticket {ticket}: its customer waits in a chat");
    scene.appliance.representative_joins(&session.lsid, Representative::example())?;
    scene.appliance.end_session(&session.lsid)?;
    Ok(session.lsid)
}

fn is_report(text: &str) -> bool {
    text.contains(LAST_WORDS)
}

/// A paired browser makes a key for a ticket, and its session is played; answers the lsid.
async fn support(server: &Deskbridge, browser: &Browser, appliance: &SimulatedAppliance, connection: &str, ticket: &str) -> Result<String> {
    let question = json!({ "connection": connection, "ticket": ticket }).to_string();
    let answer = browser.ask(Method::POST, routes::SESSION_KEY, &question).await?;
    ensure!(answer.status == 200, "{connection}: {}: {}\n{}", answer.status, answer.text, server.logs().tail());
    let answer = answer.json();
    let key = answer["short_key"].as_str().context("no key")?;
    println!("{connection}, ticket {ticket}: session key {key}");
    play_session(appliance, key, ticket)
}

fn play_session(appliance: &SimulatedAppliance, key: &str, ticket: &str) -> Result<String> {
    let lsid = appliance.begin_session_with_key(key)?;
    for (_, step) in SessionScript::example(ticket).steps {
        appliance.step(&lsid, step)?;
    }
    println!("Session {lsid} was played");
    Ok(lsid)
}

/// With a person, until Ctrl-C.
async fn show(scene: Scene, desks: Desks, code: &str) -> Result<()> {
    let customers_page = customers_page(&scene)?;
    let Scene { appliance, zendesk, people: _, mut server } = scene;
    let addresses = Addresses::of(&desks);
    let appliances = vec![appliance, desks.autotask.appliance.clone(), desks.osticket.appliance.clone()];
    let stage =
        Arc::new(Stage { appliances, ticket_list: format!("{}/agent", zendesk.url()), customers_page, addresses, playing: Mutex::new(()) });
    let page = serve_page(Arc::clone(&stage)).await?;
    println!("{}", instructions(&stage, &page, &desks, &desks.pairing_link(&server, code)));
    let mut console = read_console();
    let mut terminate = signal(SignalKind::terminate()).context("cannot wait for signals")?;
    loop {
        tokio::select! {
            _ = tokio::signal::ctrl_c() => break,
            _ = terminate.recv() => break,
            Some(()) = console.recv() => {
                let stage = Arc::clone(&stage);
                tokio::spawn(async move { stage.play().await });
            }
            status = server.ended() => bail!("the server ended with {}:\n{}", status?, server.logs().tail()),
        }
    }
    println!("\nEnding.");
    server.terminate().await?;
    Ok(())
}

/// Tickets outside Zendesk.
struct Addresses {
    autotask: String,
    osticket: String,
}

impl Addresses {
    fn of(desks: &Desks) -> Self {
        Self {
            autotask: desks.autotask.system.ticket_page(desks.autotask_data.ticket),
            osticket: desks.osticket.system.ticket_page(desks.osticket_data.vpn),
        }
    }
}

fn instructions(stage: &Stage, page: &str, desks: &Desks, pairing_link: &str) -> String {
    let agent = desks.osticket.system.options().agent;
    format!(
        "\nDeskbridge is running. Open this in your browser:\n\n    {zendesk}\n\n\
         1. Open a ticket; in the sidebar on the right, make a session key.\n\
         2. Press Enter here, or \"Play\" on {page} : a customer joins, is helped, and leaves.\n\
         \x20  Or be the customer yourself by the key's link, and the representative on {console}/console .\n\
         \x20  (The browser will warn of the simulated appliance's certificate, which nobody has signed.)\n\
         3. Watch the session in the sidebar, and its report arrive on the ticket.\n\n\
         The customer's own side is the Help Center, where the first ticket's customer is signed in already:\n\n    {customers_page}\n\n\
         Press \"Start chat\" there: the sidebar of that ticket says that the customer is waiting. Take the chat on the console.\n\
         For Mei Tanaka, an administrator of the account, the sidebar also links to \"Customize Help Center\".\n\n\
         The same in Autotask and osTicket, with the browser extension. In Chrome, Edge or Chromium: chrome://extensions, Developer mode, Load unpacked,\n\n\
         \x20   {DIRECTORY}/{EXTENSION}\n\n\
         It comes with server, sites and pairing set, as an organisation's policy would. Then:\n\n\
         \x20   {autotask}\n    {osticket}   (sign in as {user}, {password})\n\n\
         In Autotask the report and the time arrive by themselves; reload the ticket. In osTicket press \"Add report to this ticket\".\n\
         To pair by hand, load target/extension/loopback instead, paste {pairing_link} into its settings\n\
         and add {desk} to its sites (osTicket).\n\n\
         The server's settings, database and log are in {DIRECTORY}/. Ctrl-C ends everything.\n",
        zendesk = stage.ticket_list,
        customers_page = stage.customers_page,
        console = stage.appliances[0].base_url(),
        autotask = stage.addresses.autotask,
        osticket = stage.addresses.osticket,
        user = agent.user,
        password = agent.password,
        desk = desks.osticket.system.url(),
    )
}

/// What console and page work on.
struct Stage {
    /// Zendesk's first.
    appliances: Vec<SimulatedAppliance>,
    ticket_list: String,
    customers_page: String,
    addresses: Addresses,
    playing: Mutex<()>,
}

impl Stage {
    /// Plays a support session for the ticket of the last key or Jump; says what happens.
    async fn play(&self) {
        let Ok(_alone) = self.playing.try_lock() else {
            println!("A session is being played already.");
            return;
        };
        let Some((appliance, ticket)) = self.last_ticket() else {
            println!("Make a session key beside a ticket first.");
            return;
        };
        println!("A support session for ticket {ticket} begins.");
        let script = SessionScript::example(ticket);
        let lsid = appliance.begin_session(script.session);
        for (_, step) in script.steps {
            tokio::time::sleep(PACE).await;
            if let Some(text) = told(&step) {
                println!("  {text}");
            }
            if let Err(error) = appliance.step(&lsid, step) {
                // The person may have ended it from the representative's page.
                println!("  It cannot go on: {error:#}");
                return;
            }
        }
        println!("The session is over; its report comes to the ticket now, in osTicket when you add it.");
    }

    /// The external key of the last session key or client script that was asked for, and the appliance that was asked.
    fn last_ticket(&self) -> Option<(&SimulatedAppliance, String)> {
        let mut asked = Vec::new();
        for appliance in &self.appliances {
            for request in appliance.requests() {
                let key = request.parameters.iter().find(|(name, _)| name == "session.custom.external_key");
                asked.extend(key.map(|(_, ticket)| (request.at_milliseconds, appliance, ticket.clone())));
            }
        }
        asked.into_iter().max_by_key(|(at, _, _)| *at).map(|(_, appliance, ticket)| (appliance, ticket))
    }
}

/// What a person is told of a step; the chat stands in the report.
fn told(step: &Step) -> Option<&'static str> {
    match step {
        Step::CustomerJoins(_) => Some("The customer joins."),
        Step::RepresentativeJoins(_) => Some("The representative joins; they talk, look around, move files."),
        Step::Ends => Some("The session ends."),
        Step::RepresentativeSurvey(_) => Some("The representative fills in the exit survey."),
        Step::CustomerSurvey(_) => Some("The customer fills in the exit survey."),
        _ => None,
    }
}

/// Each Enter. In a thread of its own, which nobody waits for at the end; without a terminal there is none.
fn read_console() -> mpsc::UnboundedReceiver<()> {
    let (pressed, enters) = mpsc::unbounded_channel();
    if std::io::stdin().is_terminal() {
        std::thread::spawn(move || {
            for line in std::io::stdin().lines() {
                if line.is_err() || pressed.send(()).is_err() {
                    return;
                }
            }
        });
    }
    enters
}

const PAGE: &str = r#"<!doctype html><html lang="en"><meta charset="utf-8">
<meta name="viewport" content="width=device-width"><title>Deskbridge demo</title>
<style>body{font:16px/1.5 system-ui,sans-serif;max-width:40rem;margin:3rem auto;padding:0 1rem;color-scheme:light dark}
button{font:inherit;padding:.4rem 1rem}</style>
<h1>Deskbridge demo</h1>
<ol><li>Open a ticket in the <a href="TICKETS" target="_blank" rel="noopener">ticket list</a> and make a session key.
With the browser extension: a ticket in <a href="AUTOTASK" target="_blank" rel="noopener">Autotask</a> or
<a href="OSTICKET" target="_blank" rel="noopener">osTicket</a>.</li>
<li><form method="post" action="/play"><button>Play a support session for that ticket</button></form></li>
<li>Watch it in the panel; its report arrives on the ticket.</li></ol>
<p>The customer's side: <a href="CUSTOMER" target="_blank" rel="noopener">their own ticket in the Help Center</a>, with a button that starts a
chat. The panel beside that ticket says that they are waiting.</p>
<p>The representative's side is the <a href="CONSOLE" target="_blank" rel="noopener">console</a>
of the simulated appliance; the browser will warn of its certificate.</p></html>"#;

/// Serves the demo's own page on a free port; answers its address.
async fn serve_page(stage: Arc<Stage>) -> Result<String> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.context("no free port")?;
    let url = format!("http://{}/", listener.local_addr()?);
    let router = Router::new().route("/", get(page)).route("/play", post(play)).with_state(stage);
    tokio::spawn(async move { axum::serve(listener, router).await });
    Ok(url)
}

async fn page(State(stage): State<Arc<Stage>>) -> Html<String> {
    let console = format!("{}/console", stage.appliances[0].base_url());
    let Addresses { autotask, osticket } = &stage.addresses;
    let customer = stage.customers_page.replace('&', "&amp;");
    let texts =
        [("CUSTOMER", &customer), ("TICKETS", &stage.ticket_list), ("CONSOLE", &console), ("AUTOTASK", autotask), ("OSTICKET", osticket)];
    Html(texts.into_iter().fold(PAGE.to_owned(), |page, (name, address)| page.replace(name, address)))
}

async fn play(State(stage): State<Arc<Stage>>) -> Redirect {
    tokio::spawn(async move { stage.play().await });
    Redirect::to("/")
}
