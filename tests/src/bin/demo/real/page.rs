//! The demo's own page, and what the customer's screen shows.
//!
//! Holds nothing that runs: what a person presses is handed on, what has happened is handed in.

use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Error, Result};
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{Html, IntoResponse, Redirect};
use axum::routing::{get, post};
use axum::{Form, Router};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::desk::{Desk, TECHNICIAN};
use super::scene::{CUSTOMER, MACHINE};

const PAGE: &str = include_str!("page.html");
const CUSTOMERS_PAGE: &str = include_str!("customer.html");

/// Requests for help that are still to be played; a person who presses more often presses in vain.
const MOST_WAITING: usize = 4;
/// MeshCentral takes more; a person writes less.
const LONGEST_TEXT: usize = 300;
/// What the customer asks unless they write something else.
const QUESTION: &str = "My mail does not open";

/// The page, served.
pub struct Page {
    /// Its address.
    pub url: String,
    /// What the customer wrote when they asked for help.
    pub help_requests: mpsc::Receiver<String>,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

struct Shared {
    html: String,
    customers_html: String,
    state: Mutex<Value>,
    help: mpsc::Sender<String>,
}

impl Shared {
    fn alter(&self, change: impl FnOnce(&mut Value)) {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

#[derive(Deserialize)]
struct Help {
    text: String,
}

impl Page {
    /// Serves it on a free port of this computer.
    pub async fn serve(desk: &Desk, meshcentral: &str) -> Result<Self> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.context("no free port")?;
        let url = format!("http://{}/", listener.local_addr()?);
        let (help, help_requests) = mpsc::channel(MOST_WAITING);
        let shared = Arc::new(Shared {
            html: filled(PAGE, desk, meshcentral),
            customers_html: filled(CUSTOMERS_PAGE, desk, meshcentral),
            state: Mutex::new(json!({})),
            help,
        });
        let router = Router::new()
            .route("/", get(async |State(shared): State<Arc<Shared>>| Html(shared.html.clone())))
            .route("/machine", get(async |State(shared): State<Arc<Shared>>| Html(shared.customers_html.clone())))
            .route("/state", get(state))
            .route("/help", post(request_help))
            .with_state(Arc::clone(&shared));
        let task = tokio::spawn(async move {
            axum::serve(listener, router).await.ok();
        });
        Ok(Self { url, help_requests, shared, task })
    }

    /// What the customer has open.
    pub fn customers_url(&self) -> String {
        format!("{}machine", self.url)
    }

    /// Shows what has happened, or why that cannot be known.
    pub fn show(&self, tickets: Value, trouble: Option<&Error>) {
        let trouble = trouble.map(|error| format!("{error:#}"));
        self.shared.alter(|state| {
            state["tickets"] = tickets;
            state["trouble"] = json!(trouble);
        });
    }

    /// Says what came of a request for help.
    pub fn tell_of_help(&self, outcome: Result<()>) {
        let said = outcome.err().map(|error| format!("{error:#}"));
        self.shared.alter(|state| state["help"] = json!({ "fault": said }));
    }

    /// Ends it.
    pub fn end(&self) {
        self.task.abort();
    }
}

fn filled(page: &str, desk: &Desk, meshcentral: &str) -> String {
    let (user, password, panel) = match desk {
        Desk::RequestTracker { .. } => {
            (TECHNICIAN.user, TECHNICIAN.password, "“Remote support” stands on the right of the ticket's page: open the panel there.")
        }
        Desk::Zendesk { .. } => ("", "", "The panel is open in the sidebar."),
    };
    let ticket = desk.ticket();
    let address = desk.page(&ticket);
    let texts = [
        ("DESK", desk.name()),
        ("TICKET_PAGE", &address),
        ("TICKET", &ticket),
        ("USER", user),
        ("PASSWORD", password),
        ("PANEL", panel),
        ("MACHINE", MACHINE),
        ("CUSTOMER", CUSTOMER),
        ("QUESTION", QUESTION),
        ("MESHCENTRAL", meshcentral),
    ];
    texts.into_iter().fold(page.to_owned(), |page, (name, text)| page.replace(&format!("{{{{{name}}}}}"), &escape(text)))
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

async fn state(State(shared): State<Arc<Shared>>) -> impl IntoResponse {
    let text = shared.state.lock().unwrap_or_else(PoisonError::into_inner).to_string();
    ([(CONTENT_TYPE, "application/json")], text)
}

async fn request_help(State(shared): State<Arc<Shared>>, Form(help): Form<Help>) -> Redirect {
    let text: String = help.text.trim().chars().filter(|character| !character.is_control()).take(LONGEST_TEXT).collect();
    let text = if text.is_empty() { QUESTION.to_owned() } else { text };
    // A full channel means that several are waiting already.
    if shared.help.try_send(text).is_ok() {
        shared.alter(|state| state["help"] = json!({ "asked": true }));
    }
    Redirect::to("/machine?asked")
}
