//! A simulated Jira: the REST API of Cloud (version 3) or of Data Center (version 2).
//!
//! Tests start it in their own process and steer it by [`SimulatedJira`]. It is strict: what the vendor's documents refuse it refuses, and
//! where it is Cloud its own answers are held against them, too ([`SimulatedJira::violations`]). A search lags behind what was written. Facts
//! are from `argus-tickets.md` 2.2.

mod api;
mod delivery;
mod jql;
mod json_schema;
mod site;
mod vendor;

use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use anyhow::{Context as _, Result};
use axum::body::Body;
use axum::http::Request;
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use serde_json::{Map, Value, json};
use time::OffsetDateTime;
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};

pub use crate::wire::{Fault, Matching, RecordedRequest};
pub use delivery::{JiraCloudDesk, JiraDataCenterDesk};
pub use site::{Field, Issue, LONGEST_LAG, Transition};

use crate::wire::{Dropped, Instead, Line, gateway_page, locked};
use api::{Call, Reply};
use site::Site;

/// A report's file has 1 MB at most.
const BODY_MAX: usize = 16 * 1024 * 1024;

/// Which Jira.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// REST API 3, ADF, e-mail address and API token.
    Cloud,
    /// REST API 2, wiki markup, personal access token.
    DataCenter,
}

/// Somebody.
#[derive(Clone, Debug)]
pub struct User {
    /// Account id (Cloud) or user name (Data Center).
    pub id: String,
    /// E-mail address.
    pub email: String,
    /// Name.
    pub name: String,
}

/// What a Jira is like when it starts.
#[derive(Clone, Debug)]
pub struct Options {
    /// Which Jira.
    pub kind: Kind,
    /// Key of its only project; its id is 10000.
    pub project: String,
    /// How long a search lags behind.
    pub search_lag: Duration,
    /// The API user first.
    pub users: Vec<User>,
    /// The API user's token.
    pub token: String,
    /// Roles of the project.
    pub roles: Vec<String>,
    /// Groups.
    pub groups: Vec<String>,
    /// Most entries of a page, whatever is asked for.
    pub page_max: usize,
    /// It tells the fields of new tickets.
    pub tells_fields: bool,
}

impl Options {
    /// One of that kind, with a search that lags (Cloud) or hardly lags (Data Center).
    pub fn of(kind: Kind) -> Self {
        let user = |id: &str, email: &str, name: &str| User { id: id.to_owned(), email: email.to_owned(), name: name.to_owned() };
        Self {
            kind,
            project: "NET".to_owned(),
            search_lag: if kind == Kind::Cloud { LONGEST_LAG } else { Duration::ZERO },
            users: vec![user("5b10-api", "deskbridge@msp.example", "Deskbridge"), user("5b10-anna", "anna@msp.example", "Anna Berg")],
            token: "ATATT3xFfGF0-simulated".to_owned(),
            roles: vec!["Service Desk Team".to_owned()],
            groups: vec!["jira-technicians".to_owned()],
            page_max: 7,
            tells_fields: true,
        }
    }

    fn user(&self) -> &User {
        &self.users[0]
    }

    fn authorization(&self) -> String {
        match self.kind {
            Kind::Cloud => format!("Basic {}", STANDARD.encode(format!("{}:{}", self.user().email, self.token))),
            Kind::DataCenter => format!("Bearer {}", self.token),
        }
    }
}

struct Shared {
    site: Mutex<Site>,
    line: Line,
}

impl Shared {
    fn site(&self) -> MutexGuard<'_, Site> {
        locked(&self.site)
    }
}

/// A running Jira. Clones are handles to the same one.
#[derive(Clone)]
pub struct SimulatedJira {
    shared: Arc<Shared>,
    url: String,
    _guard: Arc<DropGuard>,
}

#[expect(clippy::disallowed_methods, reason = "when a request really came")]
fn real_time() -> OffsetDateTime {
    OffsetDateTime::now_utc()
}

impl SimulatedJira {
    /// Starts one.
    pub async fn start(options: Options) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.context("no free port on 127.0.0.1")?;
        let url = format!("http://{}/", listener.local_addr()?);
        let stop = CancellationToken::new();
        let shared = Arc::new(Shared { site: Mutex::new(Site::new(options, url.clone())), line: Line::until(stop.clone()) });
        let answering = Arc::clone(&shared);
        shared.line.open(listener, move |request| answer(Arc::clone(&answering), request));
        Ok(Self { shared, url, _guard: Arc::new(stop.drop_guard()) })
    }

    /// Its address, with a slash at the end.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The server's `[jira]` for it, as text that more keys may follow.
    pub fn section(&self) -> String {
        let site = self.shared.site();
        let email = match site.options.kind {
            Kind::Cloud => format!("\nemail = \"{}\"", site.options.user().email),
            Kind::DataCenter => String::new(),
        };
        format!("[jira]\nurl = \"{}\"\ntoken = \"{}\"{email}\nproject = \"{}\"", self.url, site.options.token, site.options.project)
    }

    // What is done in Jira

    /// Another open ticket; answers its key.
    pub fn add_ticket(&self, summary: &str) -> Result<String> {
        let mut site = self.shared.site();
        let fields = json!({ "summary": summary, "project": { "key": site.options.project }, "issuetype": { "name": "Task" } });
        let fields: Map<String, Value> = fields.as_object().cloned().unwrap_or_default();
        let key = site.create(fields).map(|issue| issue.key.clone()).map_err(|errors| anyhow::anyhow!("{}", errors.body()))?;
        drop(site);
        self.shared.line.changed();
        Ok(key)
    }

    /// Changes a field.
    pub fn change_field(&self, id: &str, change: impl FnOnce(&mut Field)) {
        if let Some(field) = self.shared.site().fields.iter_mut().find(|field| field.id == id) {
            change(field);
        }
    }

    /// Replaces the workflow's transitions.
    pub fn set_transitions(&self, transitions: &[(&str, &str)]) {
        let transition = |(name, to): &(&str, &str)| Transition { name: (*name).to_owned(), to: (*to).to_owned() };
        self.shared.site().transitions = transitions.iter().map(transition).collect();
    }

    /// Gives a ticket a status.
    pub fn set_status(&self, key: &str, status: &str) {
        if let Some(issue) = self.shared.site().issue_mut(key) {
            status.clone_into(&mut issue.status);
        }
        self.shared.line.changed();
    }

    /// Moves a ticket to another key.
    pub fn move_ticket(&self, key: &str, new: &str) {
        self.shared.site().move_issue(key, new);
    }

    /// Deletes a ticket.
    pub fn delete_ticket(&self, key: &str) {
        self.shared.site().issues.retain(|issue| issue.key != key);
    }

    /// Takes permissions from the API user, like `ADD_COMMENTS`; the ones of an earlier call are given back.
    pub fn deny(&self, permissions: &[&str]) {
        self.shared.site().denied = permissions.iter().map(|permission| (*permission).to_owned()).collect();
    }

    /// Replaces the issue types: ids and names.
    pub fn set_types(&self, types: &[(&str, &str)]) {
        self.shared.site().types = types.iter().map(|(id, name)| ((*id).to_owned(), (*name).to_owned())).collect();
    }

    /// Another token is the API user's from now on.
    pub fn set_token(&self, token: &str) {
        token.clone_into(&mut self.shared.site().options.token);
    }

    // What stands in Jira

    /// All tickets, oldest first.
    pub fn issues(&self) -> Vec<Issue> {
        self.shared.site().issues.clone()
    }

    /// A ticket.
    pub fn issue(&self, key: &str) -> Result<Issue> {
        self.shared.site().issue(key).cloned().with_context(|| format!("no ticket {key}"))
    }

    /// What was sent or answered that the vendor's documents do not have.
    pub fn violations(&self) -> Vec<String> {
        self.shared.site().violations.clone()
    }

    // What goes wrong

    /// The next `times` matching requests fail so. Faults ordered earlier are used up first.
    pub fn fail_next(&self, times: u32, matching: Matching, fault: Fault) {
        self.shared.line.faults().order(Some(times.max(1)), matching, fault);
    }

    /// All matching requests fail so until [`SimulatedJira::clear_faults`].
    pub fn fail_always(&self, matching: Matching, fault: Fault) {
        self.shared.line.faults().order(None, matching, fault);
    }

    /// Forgets all faults.
    pub fn clear_faults(&self) {
        self.shared.line.faults().clear();
    }

    /// Requests so far, oldest first.
    pub fn requests(&self) -> Vec<RecordedRequest> {
        self.shared.line.journal().all()
    }

    /// How many writes are still to happen later, as faults ordered it.
    pub fn pending_writes(&self) -> usize {
        self.shared.line.pending_writes()
    }

    /// Asks `probe` after every request and every change until it finds something, up to a minute.
    pub async fn wait_until<T>(&self, probe: impl Fn(&Self) -> Option<T>) -> Result<T> {
        self.shared.line.wait_until(|| probe(self)).await
    }
}

async fn answer(shared: Arc<Shared>, request: Request<Incoming>) -> Result<Response, Dropped> {
    let (parts, body) = request.into_parts();
    let Ok(body) = Limited::new(body, BODY_MAX).collect().await else { return Err(Dropped) };
    let call = Call {
        path: parts.uri.path().to_owned(),
        query: url::form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes()).into_owned().collect(),
        method: parts.method,
        headers: parts.headers,
        body: body.to_bytes().to_vec(),
    };
    let mut headers = call.headers.clone();
    headers.remove("authorization");
    // The beginning of a form, where its file's name stands.
    let form = || Value::from(String::from_utf8_lossy(&call.body[..call.body.len().min(500)]).into_owned());
    let body = if call.body.is_empty() { Value::Null } else { serde_json::from_slice(&call.body).unwrap_or_else(|_| form()) };
    let number = shared.line.journal().arrived(RecordedRequest {
        at: real_time(),
        method: call.method.clone(),
        path: call.path.clone(),
        query: call.query.clone(),
        headers,
        user: None,
        body,
        body_length: call.body.len(),
        status: None,
    });
    shared.line.changed();
    let fault = shared.line.faults().take(&call.method, &call.path, &call.query, &call.body);
    if let Some(answered) = Fault::before(fault.as_ref(), instead).await {
        return answered.map(|reply| finish(&shared, number, reply));
    }
    let acting = Arc::clone(&shared);
    let reply = shared.line.act(number, fault, move || api::answer(&mut acting.site(), &call), instead).await?;
    Ok(finish(&shared, number, reply))
}

fn instead(answer: Instead<'_>) -> Reply {
    let reply = |status: u16, content_type: &'static str, body: String| Reply { status, headers: Vec::new(), content_type, body };
    match answer {
        Instead::Ordered { code, body, retry_after } => {
            let is_json = serde_json::from_str::<Value>(body).is_ok();
            let mut reply = reply(code, if is_json { "application/json;charset=UTF-8" } else { "text/html" }, body.to_owned());
            reply.headers.extend(retry_after.map(|seconds| ("retry-after", seconds.to_string())));
            reply
        }
        Instead::Gateway(code) => reply(code, "text/html", gateway_page(code)),
        Instead::Crash(code) => {
            reply(code, "application/json", json!({ "errorMessages": ["Internal server error"], "errors": {} }).to_string())
        }
    }
}

fn finish(shared: &Shared, number: usize, reply: Reply) -> Response {
    shared.line.journal().answered(number, reply.status);
    shared.line.changed();
    let mut response = Response::builder().status(reply.status).header("content-type", reply.content_type);
    for (name, value) in reply.headers {
        response = response.header(name, value);
    }
    response.body(Body::from(reply.body)).unwrap_or_default()
}
