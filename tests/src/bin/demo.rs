//! The demo: a simulated appliance, a simulated Zendesk and a real server, for a person with a browser.
//!
//! Everything runs on this computer and is forgotten at the next start. `--check` plays the whole story by itself.

use std::io::IsTerminal;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use axum::Router;
use axum::extract::State;
use axum::response::{Html, Redirect};
use axum::routing::{get, post};
use deskbridge_tests::appliance::{SessionScript, SimulatedAppliance, Step};
use deskbridge_tests::scene::{Plan, Scene};
use deskbridge_tests::server::Deskbridge;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Mutex, mpsc};

/// Settings, database and log; made anew at each start.
const DIRECTORY: &str = "demo-data";

/// Between two steps of a played session: slow enough to watch the panel, fast enough not to bore.
const PACE: Duration = Duration::from_millis(900);

/// Stands in the transcript of the played session.
const LAST_WORDS: &str = "Läuft wieder, vielen Dank";

#[tokio::main]
async fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let check = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => false,
        ["--check"] => true,
        _ => bail!("usage: demo [--check]"),
    };
    forget_last_time(Path::new(DIRECTORY))?;
    let scene =
        Scene::start(Plan { server: Deskbridge::builder().directory(DIRECTORY).public_host("localhost"), ..Plan::default() }).await?;
    if check { play_the_whole_story(scene).await } else { show(scene).await }
}

/// Removes what the last demo left, and nothing that is not a demo's.
fn forget_last_time(directory: &Path) -> Result<()> {
    if !directory.exists() {
        return Ok(());
    }
    ensure!(directory.join("deskbridge.toml").is_file(), "{} is there and is not the demo's: move it away", directory.display());
    std::fs::remove_dir_all(directory).with_context(|| format!("cannot remove {}", directory.display()))
}

/// Without a person: a key from the sidebar, its session, its report on the ticket, once.
async fn play_the_whole_story(mut scene: Scene) -> Result<()> {
    let ticket = scene.people.vpn_ticket;
    let sidebar = scene.open_sidebar(scene.people.agent).await?;
    let key = sidebar.session_key(ticket).await?;
    println!("Ticket {ticket}: session key {}", key.short_key);

    let lsid = scene.appliance.begin_session_with_key(&key.short_key)?;
    for (_, step) in SessionScript::example(ticket.to_string()).steps {
        scene.appliance.step(&lsid, step)?;
    }
    println!("Session {lsid} was played");

    let is_report = |body: &str| body.contains(LAST_WORDS);
    let note = scene.zendesk.wait_for_comment(ticket, |comment| is_report(&comment.plain_body)).await?;
    scene.appliance.outbound_idle().await?;
    let reports = scene.zendesk.comments(ticket);
    let reports = reports.iter().filter(|comment| is_report(&comment.plain_body)).count();
    ensure!(reports == 1, "the report stands on the ticket {reports} times");
    println!("Ticket {ticket}: the report is there ({} characters)", note.plain_body.chars().count());
    let ended = scene.server.terminate().await?;
    ensure!(ended.success(), "the server ended with {ended}");
    Ok(())
}

/// With a person, until Ctrl-C.
async fn show(scene: Scene) -> Result<()> {
    let Scene { appliance, zendesk, people: _, mut server } = scene;
    let stage = Arc::new(Stage { appliance, ticket_list: format!("{}/agent", zendesk.url()), playing: Mutex::new(()) });
    let page = serve_page(Arc::clone(&stage)).await?;
    println!("{}", instructions(&stage, &page));
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

fn instructions(stage: &Stage, page: &str) -> String {
    format!(
        "\nDeskbridge is running. Open this in your browser:\n\n    {}\n\n\
         1. Open a ticket; in the sidebar on the right, make a session key.\n\
         2. Press Enter here, or \"Play\" on {page} : a customer joins, is helped, and leaves.\n\
         \x20  Or be the customer yourself by the key's link, and the representative on {}/console .\n\
         \x20  (The browser will warn of the simulated appliance's certificate, which nobody has signed.)\n\
         3. Watch the session in the sidebar, and its report arrive on the ticket.\n\n\
         The server's settings, database and log are in {DIRECTORY}/. Ctrl-C ends everything.\n",
        stage.ticket_list,
        stage.appliance.base_url(),
    )
}

/// What console and page work on.
struct Stage {
    appliance: SimulatedAppliance,
    ticket_list: String,
    playing: Mutex<()>,
}

impl Stage {
    /// Plays a support session for the ticket of the last key or Jump; says what happens.
    async fn play(&self) {
        let Ok(_alone) = self.playing.try_lock() else {
            println!("A session is being played already.");
            return;
        };
        let Some(ticket) = self.last_ticket() else {
            println!("Make a session key in a ticket's sidebar first.");
            return;
        };
        println!("A support session for ticket {ticket} begins.");
        let script = SessionScript::example(ticket);
        let lsid = self.appliance.begin_session(script.session);
        for (_, step) in script.steps {
            tokio::time::sleep(PACE).await;
            if let Some(text) = told(&step) {
                println!("  {text}");
            }
            if let Err(error) = self.appliance.step(&lsid, step) {
                // The person may have ended it from the representative's page.
                println!("  It cannot go on: {error:#}");
                return;
            }
        }
        println!("The session is over; its report comes to the ticket now.");
    }

    /// The external key of the last session key or client script that was asked for.
    fn last_ticket(&self) -> Option<String> {
        self.appliance
            .requests()
            .iter()
            .rev()
            .flat_map(|request| &request.parameters)
            .find(|(name, _)| name == "session.custom.external_key")
            .map(|(_, ticket)| ticket.clone())
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
<ol><li>Open a ticket in the <a href="TICKETS" target="_blank" rel="noopener">ticket list</a> and make a session key.</li>
<li><form method="post" action="/play"><button>Play a support session for that ticket</button></form></li>
<li>Watch it in the sidebar; its report arrives on the ticket.</li></ol>
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
    let console = format!("{}/console", stage.appliance.base_url());
    Html(PAGE.replace("TICKETS", &stage.ticket_list).replace("CONSOLE", &console))
}

async fn play(State(stage): State<Arc<Stage>>) -> Redirect {
    tokio::spawn(async move { stage.play().await });
    Redirect::to("/")
}
