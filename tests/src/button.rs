//! The customer's button without a browser: a scene whose connection has a Help Center, and the requests that its pages' script sends.

use anyhow::{Context, Result, ensure};
use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use deskbridge_shared::routes;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, Method};
use serde_json::{Value, json};
use toml::Table;

use crate::scene::{CONNECTION, Plan, Scene, merge};
use crate::server::{Deskbridge, loopback_client};
use crate::zendesk::{Role, SimulatedZendesk, Ticket, User};

/// An issue that the appliance and the app's settings have.
pub const ISSUE: &str = "general_tech";
/// Others of the app's settings.
pub const OTHER_ISSUES: [&str; 2] = ["network", "printing"];
/// Where the account publishes the keys of its tokens.
pub const KEYS: &str = "/api/v2/help_center/integration/keys";

/// A request, to be spoilt before it is sent.
#[derive(Clone, Debug)]
pub struct Request {
    /// Method.
    pub method: Method,
    /// Path and query, as they are sent.
    pub path: String,
    /// Headers, in the order in which they are sent.
    pub headers: Vec<(&'static str, Vec<u8>)>,
    /// Body.
    pub body: Vec<u8>,
}

impl Request {
    /// One without headers and body.
    pub fn new(method: Method, path: impl Into<String>) -> Self {
        Self { method, path: path.into(), headers: Vec::new(), body: Vec::new() }
    }

    /// One more header.
    #[must_use]
    pub fn and(mut self, name: &'static str, value: impl AsRef<[u8]>) -> Self {
        self.headers.push((name, value.as_ref().to_vec()));
        self
    }

    /// The header with this value alone; with none of them, without it.
    #[must_use]
    pub fn with(mut self, name: &'static str, values: &[&str]) -> Self {
        self.headers.retain(|(known, _)| *known != name);
        values.iter().fold(self, |request, value| request.and(name, value))
    }

    /// The same with this body.
    #[must_use]
    pub fn saying(mut self, body: impl AsRef<[u8]>) -> Self {
        body.as_ref().clone_into(&mut self.body);
        self
    }

    /// The same with a member of its JSON body changed, which a JSON pointer names.
    #[must_use]
    pub fn member(self, pointer: &str, value: impl Into<Value>) -> Self {
        let mut body: Value = serde_json::from_slice(&self.body).unwrap_or_default();
        match body.pointer_mut(pointer) {
            Some(member) => *member = value.into(),
            None => panic!("{body} has no {pointer}"),
        }
        self.saying(body.to_string())
    }

    /// Its `Origin`, where it has one.
    pub fn origins(&self) -> Vec<&[u8]> {
        self.headers.iter().filter(|(name, _)| *name == "origin").map(|(_, value)| value.as_slice()).collect()
    }
}

/// What came back.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Status.
    pub status: u16,
    /// Headers.
    pub headers: HeaderMap,
    /// Body.
    pub body: String,
}

impl Answer {
    /// A header's text; empty when there is none.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// The name in the problem document's `type`; empty when the answer is none.
    pub fn problem(&self) -> String {
        if self.header("content-type") != "application/problem+json" {
            return String::new();
        }
        let problem: Value = serde_json::from_str(&self.body).unwrap_or_default();
        let kind = problem["type"].as_str().unwrap_or_default();
        kind.strip_prefix("urn:deskbridge:problem:").unwrap_or_default().to_owned()
    }

    /// Its status and the name of its problem.
    pub fn refusal(&self) -> (u16, String) {
        (self.status, self.problem())
    }

    /// The JSON of an answer with this status.
    pub fn json(&self, status: u16) -> Result<Value> {
        ensure!(self.status == status, "{} instead of {status}: {}", self.status, self.body);
        serde_json::from_str(&self.body).with_context(|| self.body.clone())
    }

    /// The `url` of a chat that was started.
    pub fn chat_url(&self) -> Result<String> {
        Ok(self.json(201)?["url"].as_str().context("no url")?.to_owned())
    }
}

/// Sends a request to a server.
pub async fn send(http: &Client, base: &str, request: &Request) -> Result<Answer> {
    let mut headers = HeaderMap::new();
    for (name, value) in &request.headers {
        headers.append(HeaderName::from_static(name), HeaderValue::from_bytes(value)?);
    }
    let sent = http.request(request.method.clone(), format!("{base}{}", request.path)).headers(headers).body(request.body.clone());
    let answer = sent.send().await.with_context(|| format!("no answer to {} {}", request.method, request.path))?;
    Ok(Answer { status: answer.status().as_u16(), headers: answer.headers().clone(), body: answer.text().await? })
}

/// Members of the body of a press.
pub fn press_body(connection: &str, ticket: &str, issue: &str, proof: (&str, &str)) -> Value {
    json!({"connection": connection, "ticket": ticket, "issue": issue, "proof": {"kind": proof.0, "value": proof.1}})
}

/// A text signed by the server's master key for a purpose, as chat links are.
pub fn sign(master_key: &str, purpose: &str, said: &Value) -> Result<String> {
    let master = hmac::Key::new(hmac::HMAC_SHA256, &STANDARD.decode(master_key.trim())?);
    let key = hmac::Key::new(hmac::HMAC_SHA256, hmac::sign(&master, purpose.as_bytes()).as_ref());
    let payload = said.to_string();
    let tag = hmac::sign(&key, payload.as_bytes());
    Ok(format!("{}.{}", URL_SAFE_NO_PAD.encode(&payload), URL_SAFE_NO_PAD.encode(&tag.as_ref()[..16])))
}

/// A plan whose connection has a Help Center: keys of `[connection.help_center]` as text. Neither outside system limits its callers.
pub fn plan(help_center: &str) -> Plan {
    let connection = help_center_section(help_center);
    let mut plan = Plan { connection, ..Plan::default() };
    plan.zendesk.rate_limits = None;
    plan.appliance.rate_limits = None;
    plan
}

/// `[connection.help_center]` with these keys.
pub fn help_center_section(keys: &str) -> Table {
    match format!("[help_center]\n{keys}").parse() {
        Ok(section) => section,
        Err(error) => panic!("the Help Center's keys are not TOML: {error}\n{keys}"),
    }
}

/// A scene with a Help Center, and those who use it.
pub struct Desk {
    /// Everything that runs.
    pub scene: Scene,
    /// The requester of [`Desk::ticket`].
    pub customer: u64,
    /// In copy on it.
    pub in_copy: u64,
    /// The requester of [`Desk::foreign_ticket`].
    pub stranger: u64,
    /// The customer's.
    pub ticket: u64,
    /// Somebody else's.
    pub foreign_ticket: u64,
    /// Without redirects.
    pub http: Client,
}

impl Desk {
    /// Starts everything.
    pub async fn start(plan: Plan) -> Result<Self> {
        let mut desk = Self::prepare(plan).await?;
        desk.scene.server.start().await?;
        Ok(desk)
    }

    /// Everything but the server runs.
    pub async fn prepare(plan: Plan) -> Result<Self> {
        Self::of(Scene::prepare(plan).await?)
    }

    /// Those people in this scene.
    pub fn of(scene: Scene) -> Result<Self> {
        let people = &scene.people;
        let requester = |ticket: u64| scene.zendesk.ticket(ticket).map(|ticket| ticket.requester_id).context("no ticket");
        let (ticket, foreign_ticket) = (people.vpn_ticket, people.printer_ticket);
        let (customer, stranger) = (requester(ticket)?, requester(foreign_ticket)?);
        let in_copy = scene.zendesk.add_user(User { name: "Mia Berg".to_owned(), role: Role::EndUser, ..User::default() });
        scene.zendesk.alter_ticket(ticket, |ticket| ticket.collaborator_ids.push(in_copy));
        Ok(Self { customer, in_copy, stranger, ticket, foreign_ticket, http: loopback_client()?, scene })
    }

    /// The simulated account.
    pub fn zendesk(&self) -> &SimulatedZendesk {
        &self.scene.zendesk
    }

    /// The account's own origin.
    pub fn origin(&self) -> &str {
        self.scene.zendesk.url()
    }

    /// A genuine token of this user.
    pub fn token(&self, user: u64) -> Result<String> {
        self.scene.zendesk.help_center_token(user)?.encode()
    }

    /// A press with a token of this user, as the page's script sends it.
    pub fn press(&self, user: u64, ticket: u64) -> Result<Request> {
        Ok(self.press_by(("help_center_token", &self.token(user)?), ticket))
    }

    /// A press with this proof.
    pub fn press_by(&self, proof: (&str, &str), ticket: u64) -> Request {
        let body = press_body(CONNECTION, &ticket.to_string(), ISSUE, proof);
        Request::new(Method::POST, routes::HELP_CENTER_CHATS)
            .and("origin", self.origin())
            .and("content-type", "application/json")
            .saying(body.to_string())
    }

    /// What the script asks first.
    pub fn offer(&self, query: &str) -> Request {
        Request::new(Method::GET, format!("{}?{query}", routes::HELP_CENTER_OFFER)).and("origin", self.origin())
    }

    /// The offer of [`CONNECTION`].
    pub fn own_offer(&self) -> Request {
        self.offer("connection=Simulated%20Zendesk&locale=en-us")
    }

    /// Sends it to the server.
    pub async fn ask(&self, request: &Request) -> Result<Answer> {
        send(&self.http, self.scene.server.public_url(), request).await
    }

    /// Sends it to this server under its own address.
    pub async fn ask_at(&self, server: &Deskbridge, request: &Request) -> Result<Answer> {
        send(&self.http, server.url(), request).await
    }

    /// Opens an address of the server, without following it.
    pub async fn open(&self, method: Method, url: &str) -> Result<Answer> {
        let path = url.strip_prefix(self.scene.server.public_url()).context("another server's address")?;
        self.ask(&Request::new(method, path)).await
    }

    /// Posts a form to an address of the server.
    pub async fn submit(&self, url: &str, form: &str) -> Result<Answer> {
        let path = url.strip_prefix(self.scene.server.public_url()).context("another server's address")?;
        self.ask(&Request::new(Method::POST, path).and("content-type", "application/x-www-form-urlencoded").saying(form)).await
    }

    /// Another ticket of this user; gives its number.
    pub fn add_ticket(&self, requester_id: u64, subject: &str) -> u64 {
        let (subject, description) = (subject.to_owned(), format!("{subject}, since this morning."));
        self.scene.zendesk.add_ticket(Ticket { subject, description, requester_id, ..Ticket::default() })
    }

    /// An address of a chat link for a ticket: `i` is an issue or null, `left` how many seconds it lives.
    pub fn chat_link(&self, ticket: &str, issue: Option<&str>, left: i64) -> Result<String> {
        let now = self.scene.appliance.clock().now();
        let mut said = json!({"c": CONNECTION, "t": ticket, "e": now + left});
        if let Some(issue) = issue {
            said["i"] = json!(issue);
        }
        Ok(format!("{}/{}", routes::CHAT_LINK, self.sign("chat link", &said)?))
    }

    /// A text signed by the server for a purpose.
    pub fn sign(&self, purpose: &str, said: &Value) -> Result<String> {
        sign(&std::fs::read_to_string(self.scene.server.directory().join("deskbridge.key"))?, purpose, said)
    }

    /// How often the account's keys were fetched.
    pub fn key_fetches(&self) -> usize {
        self.scene.zendesk.count(&Method::GET, KEYS)
    }

    /// Fails when the appliance knows a session or was asked to start one.
    pub fn nothing_began(&self) -> Result<()> {
        let sessions = self.scene.appliance.sessions();
        ensure!(sessions.is_empty(), "a session began: {sessions:?}");
        let started = self.scene.appliance.count(|request| request.path.contains("start_session"));
        ensure!(started == 0, "the appliance was asked {started} times to start a session");
        Ok(())
    }
}

/// Puts a section into a connection's settings.
pub fn with_section(mut connection: Table, section: Table) -> Table {
    merge(&mut connection, section);
    connection
}
