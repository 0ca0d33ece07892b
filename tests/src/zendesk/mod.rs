//! A simulated Zendesk account: REST API, app key and installation, and an agent workspace that hosts the sidebar.
//!
//! Tests, benches and the demo start it in their own process and steer it by [`SimulatedZendesk`]. It is strict: what
//! the real account refuses it refuses, with the real error bodies, and misspelt keys, which the real one overlooks,
//! it refuses too. Facts are from `zendesk.md`; section letters stand in the comments.
//! It must never be reachable from another machine: it knows no sign-in for the workspace.

mod account;
mod api;
mod apps;
mod call;
mod delivery;
mod demo;
mod help_center;
mod html;
mod keys;
mod launch;
mod limits;
mod package_validator;
mod people;
mod placeholders;
mod requests;
mod ticket_fields;
mod tickets;
mod uploads;
mod web_server;
mod workspace;

use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use anyhow::Context as _;
use axum::http::Method;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};

pub use crate::wire::{Fault, Matching, RecordedRequest};
pub use account::{
    Attachment, Audit, BODY_LIMIT, COMMENT_LIMIT, Comment, Notification, Role, TARGET_FIELD, Ticket, TicketAccess, TicketRestriction,
    UPLOAD_LIFE, User,
};
pub use delivery::ZendeskDesk;
pub use demo::DemoData;
pub use help_center::{Details, HelpCenterOptions, HelpCenterTheme, HelpCenterToken, Sidebar, Signing};
pub use keys::{AppKey, install_crypto_provider};
pub use launch::{Location, SidebarLaunch};
pub use limits::RateLimits;
pub use package_validator::package_faults;
pub use ticket_fields::TicketField;

use crate::wire::{Line, locked};
use account::{Account, Draft, NewComment};

/// What one address of the key endpoint answers (zendesk.md b.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyAnswer {
    /// The PEM text itself.
    RawPem,
    /// A JSON string with the PEM text.
    JsonString,
    /// 404.
    NotFound,
}

/// The key endpoint; sources differ on every point, so all can be set.
#[derive(Clone, Copy, Debug)]
pub struct KeyEndpoint {
    /// Answer of `…/public_key.pem`.
    pub with_extension: KeyAnswer,
    /// Answer of `…/public_key`.
    pub without_extension: KeyAnswer,
    /// Whether anonymous callers get 401.
    pub needs_credentials: bool,
}

/// An OAuth client that an administrator made in the account. Its tokens act as the user who owns it, the API user
/// (changes-2026-11.md, "What the OAuth replacement looks like").
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OAuthClient {
    /// Its identifier.
    pub id: String,
    /// Its secret.
    pub secret: String,
    /// What its tokens may be asked for; others are refused.
    pub allowed_scopes: Vec<String>,
    /// Seconds a token lives unless another life is asked for.
    pub token_life: i64,
}

impl Default for OAuthClient {
    fn default() -> Self {
        Self {
            id: "deskbridge".to_owned(),
            secret: "simulated-client-secret".to_owned(),
            allowed_scopes: ["read", "tickets:write"].map(str::to_owned).into(),
            token_life: 1_800,
        }
    }
}

/// What an account is like when it starts.
#[derive(Clone, Debug)]
pub struct Options {
    /// Port on 127.0.0.1; 0 takes a free one.
    pub port: u16,
    /// First part of the account's real name.
    pub subdomain: String,
    /// E-mail address of the administrator the API calls are done as.
    pub api_email: String,
    /// The API token. It acts as any user: `{email}/token:{api_token}`.
    pub api_token: String,
    /// The account's OAuth client.
    pub oauth_client: Option<OAuthClient>,
    /// Id of the app.
    pub app_id: u64,
    /// Id of its installation.
    pub installation_id: u64,
    /// What the administrator filled in when he installed the app.
    pub installation_settings: Value,
    /// The key endpoint.
    pub key_endpoint: KeyEndpoint,
    /// Added to every answer.
    pub latency: Duration,
    /// `None` turns the limits off.
    pub rate_limits: Option<RateLimits>,
    /// Search does not see what changed within this time.
    pub search_lag: Duration,
    /// The Help Center.
    pub help_center: HelpCenterOptions,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            port: 0,
            subdomain: "example".to_owned(),
            api_email: "api@example.com".to_owned(),
            api_token: "simulated-api-token".to_owned(),
            oauth_client: Some(OAuthClient::default()),
            app_id: 1001,
            installation_id: 360_001_234_567,
            installation_settings: json!({
                "name": "Deskbridge",
                "title": "Deskbridge",
                "hostname": "support.example.com",
                "issues": "general_tech=General Technical Issues\nnetwork=Network and VPN\nprinting=Printing",
                "jumpoints": "HQ-Net\nWarehouse",
                "allow_jump_client": true,
                "allow_local_push": true,
                "allow_remote_push": true,
                "allow_rdp": true,
                "allow_shell_jump": true,
            }),
            key_endpoint: KeyEndpoint {
                with_extension: KeyAnswer::RawPem,
                without_extension: KeyAnswer::JsonString,
                needs_credentials: false,
            },
            latency: Duration::ZERO,
            rate_limits: Some(RateLimits::default()),
            search_lag: Duration::ZERO,
            help_center: HelpCenterOptions::default(),
        }
    }
}

/// State that connections and handles share.
#[derive(Debug)]
struct Shared {
    account: Mutex<Account>,
    latency: Mutex<Duration>,
    line: Line,
}

impl Shared {
    fn account(&self) -> MutexGuard<'_, Account> {
        locked(&self.account)
    }

    fn latency(&self) -> MutexGuard<'_, Duration> {
        locked(&self.latency)
    }
}

/// 128 random bits in hexadecimal.
#[expect(clippy::disallowed_methods, reason = "an outside system makes its own tokens")]
fn random_token() -> String {
    format!("{:032x}", rand::random::<u128>())
}

/// A running account. Clones are handles to the same one; it stops when the last is dropped.
#[derive(Clone, Debug)]
pub struct SimulatedZendesk {
    shared: Arc<Shared>,
    url: Arc<str>,
    _guard: Arc<DropGuard>,
}

impl SimulatedZendesk {
    /// Starts an account with one administrator and one group. Fails when the port is taken.
    pub async fn start(options: Options) -> anyhow::Result<Self> {
        install_crypto_provider();
        let key = tokio::task::spawn_blocking(AppKey::of_this_process).await.context("making the app's key")??;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, options.port))
            .await
            .with_context(|| format!("listening on 127.0.0.1:{}", options.port))?;
        let url = format!("http://{}", listener.local_addr()?);
        let mapped = help_center::mapped_listener(&options.help_center).await?;
        let stop = CancellationToken::new();
        let latency = Mutex::new(options.latency);
        let mut account = Account::new(options, url.clone(), key);
        if let Some((_, mapped_url)) = &mapped {
            account.help_center.map_to(mapped_url);
        }
        let shared = Arc::new(Shared { latency, account: Mutex::new(account), line: Line::until(stop.clone()) });
        let listeners = [(Some(listener), false), (mapped.map(|(listener, _)| listener), true)];
        for (listener, host_mapped) in listeners {
            let answering = Arc::clone(&shared);
            if let Some(listener) = listener {
                shared.line.open(listener, move |request| web_server::answer(Arc::clone(&answering), host_mapped, request));
            }
        }
        Ok(Self { shared, url: url.into(), _guard: Arc::new(stop.drop_guard()) })
    }

    /// Closes the listener and every connection, and waits until they are.
    pub async fn stop(&self) {
        self.shared.line.end().await;
    }

    /// `http://127.0.0.1:PORT`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// `127.0.0.1:PORT`, the `iss` of its tokens.
    pub fn issuer(&self) -> &str {
        self.url.trim_start_matches("http://")
    }

    /// The options as they are now.
    pub fn options(&self) -> Options {
        self.shared.account().options.clone()
    }

    /// Id of the administrator the API calls are done as.
    pub fn api_user(&self) -> u64 {
        let account = self.shared.account();
        let email = account.options.api_email.clone();
        account.user_by_email(&email).map_or(0, |user| user.id)
    }

    /// The workspace page of a ticket as an agent sees it.
    pub fn ticket_page(&self, ticket: u64, agent: u64) -> String {
        format!("{}/agent/tickets/{ticket}?agent={agent}", self.url)
    }

    /// The workspace page of a ticket not saved yet.
    pub fn new_ticket_page(&self, agent: u64) -> String {
        format!("{}/agent/tickets/new?agent={agent}", self.url)
    }

    /// A workspace page that treats its app in another way than it should, for instance `{"hold": ["get"]}`; see `workspace/app-host.js`.
    pub fn odd_page(page: &str, behaviour: &Value) -> String {
        let behaviour: String = url::form_urlencoded::byte_serialize(behaviour.to_string().as_bytes()).collect();
        format!("{page}&behaviour={behaviour}")
    }

    // People

    /// Adds a user; gives the id.
    pub fn add_user(&self, user: User) -> u64 {
        self.write(|account| account.add_user(user))
    }

    /// Changes a user; `None` when there is none.
    pub fn alter_user<T>(&self, id: u64, change: impl FnOnce(&mut User) -> T) -> Option<T> {
        self.write(|account| account.users.get_mut(&id).map(change))
    }

    /// A user as he is now.
    pub fn user(&self, id: u64) -> Option<User> {
        self.shared.account().users.get(&id).cloned()
    }

    /// Adds a group; gives the id.
    pub fn add_group(&self, name: &str) -> u64 {
        self.write(|account| account.add_group(name))
    }

    /// Adds a private group: only its members and whose role reaches all tickets see its tickets.
    pub fn add_private_group(&self, name: &str) -> u64 {
        self.write(|account| {
            let id = account.add_group(name);
            account.private_groups.insert(id);
            id
        })
    }

    /// Adds a role for agents; gives the id.
    pub fn add_custom_role(&self, access: TicketAccess) -> u64 {
        self.write(|account| {
            let id = account.next_id();
            account.custom_roles.insert(id, access);
            id
        })
    }

    /// Merges a ticket into another, as the account does for an agent, in its language: a comment on each, and the first is closed.
    pub fn merge_ticket(&self, source: u64, target: u64, agent: u64) {
        self.add_comment(target, agent, false, &format!("Die Anfrage #{source} wurde geschlossen und mit dieser Anfrage zusammengeführt."));
        self.add_comment(source, agent, false, &format!("Diese Anfrage wurde geschlossen und mit Anfrage #{target} zusammengeführt."));
        self.alter_ticket(source, |ticket| {
            ticket.tags.push("closed_by_merge".to_owned());
            "closed".clone_into(&mut ticket.status);
        });
    }

    /// Adds an organisation; gives the id.
    pub fn add_organization(&self, name: &str) -> u64 {
        self.write(|account| account.add_organization(name))
    }

    /// Whether the account itself would show the ticket to the agent.
    pub fn agent_may_see(&self, agent: u64, ticket: u64) -> bool {
        let account = self.shared.account();
        match (account.users.get(&agent), account.tickets.get(&ticket)) {
            (Some(user), Some(record)) => account.may_see(user, &record.ticket),
            _ => false,
        }
    }

    /// The OAuth tokens that live.
    pub fn oauth_tokens(&self) -> Vec<String> {
        self.shared.account().bearers.keys().cloned().collect()
    }

    /// Every OAuth token so far is void, as after a new secret.
    pub fn revoke_tokens(&self) {
        self.write(|account| account.bearers.clear());
    }

    // Ticket fields

    /// Adds a ticket field; gives the id.
    pub fn add_ticket_field(&self, field: TicketField) -> u64 {
        self.write(|account| account.add_ticket_field(field))
    }

    /// Changes a ticket field, for instance who sees it; `None` when there is none.
    pub fn alter_ticket_field<T>(&self, id: u64, change: impl FnOnce(&mut TicketField) -> T) -> Option<T> {
        self.write(|account| account.ticket_fields.get_mut(&id).map(change))
    }

    // Tickets

    /// Adds a ticket whose `description` is the requester's public first comment; gives the id. A field it has and the account has not
    /// becomes a text field for agents.
    pub fn add_ticket(&self, ticket: Ticket) -> u64 {
        self.write(|account| {
            for id in ticket.custom_fields.keys() {
                if !account.has_custom_field(*id) {
                    account.add_ticket_field(TicketField { id: *id, ..TicketField::default() });
                }
            }
            let opening = NewComment {
                author_id: ticket.requester_id,
                public: Some(true),
                draft: Draft::Text(ticket.description.clone()),
                attachments: Vec::new(),
            };
            let requester = ticket.requester_id;
            account.add_ticket(ticket, opening, requester, json!({}))
        })
    }

    /// Changes a ticket as somebody else would: `updated_at` moves. `None` when there is none.
    pub fn alter_ticket<T>(&self, id: u64, change: impl FnOnce(&mut Ticket) -> T) -> Option<T> {
        self.write(|account| {
            let now = account.now();
            let record = account.tickets.get_mut(&id)?;
            let result = change(&mut record.ticket);
            record.touch(now);
            Some(result)
        })
    }

    /// Appends a comment of any user; gives its id, or `None` when there is no such ticket.
    pub fn add_comment(&self, ticket: u64, author: u64, public: bool, text: &str) -> Option<u64> {
        self.write(|account| {
            let changed = account.tickets.get(&ticket)?.ticket.clone();
            let comment =
                NewComment { author_id: author, public: Some(public), draft: Draft::Text(text.to_owned()), attachments: Vec::new() };
            account.update_ticket(changed, Some(comment), author, json!({}))?;
            Some(account.tickets[&ticket].comments.last()?.id)
        })
    }

    /// A ticket as it is now.
    pub fn ticket(&self, id: u64) -> Option<Ticket> {
        let account = self.shared.account();
        account.tickets.get(&id).map(|record| record.ticket.clone())
    }

    /// Ids of all tickets, oldest first.
    pub fn tickets(&self) -> Vec<u64> {
        self.shared.account().tickets.keys().copied().collect()
    }

    /// The conversation, oldest first; empty when there is no such ticket.
    pub fn comments(&self, ticket: u64) -> Vec<Comment> {
        let account = self.shared.account();
        let record = account.tickets.get(&ticket);
        record.map_or_else(Vec::new, |record| record.comments.clone())
    }

    /// The audits, oldest first; empty when there is no such ticket.
    pub fn audits(&self, ticket: u64) -> Vec<Audit> {
        let account = self.shared.account();
        let record = account.tickets.get(&ticket);
        record.map_or_else(Vec::new, |record| record.audits.clone())
    }

    /// Two agents, a restricted light agent and three tickets for people to look at.
    pub fn fill_demo_data(&self) -> DemoData {
        self.write(demo::fill)
    }

    // The app

    /// Where the workspace opens the app: `http://localhost:PORT/zendesk/sidebar`.
    pub fn set_app_url(&self, url: &str) {
        self.write(|account| account.app_url = Some(url.to_owned()));
    }

    /// Replaces the installation's settings (a JSON object).
    pub fn set_installation_settings(&self, settings: Value) {
        self.write(|account| account.options.installation_settings = settings);
    }

    /// A disabled installation shows no app.
    pub fn set_installation_enabled(&self, enabled: bool) {
        self.write(|account| account.installation_enabled = enabled);
    }

    /// Changes how the key is given out.
    pub fn set_key_endpoint(&self, endpoint: KeyEndpoint) {
        self.write(|account| account.options.key_endpoint = endpoint);
    }

    /// The app's key.
    pub fn app_key(&self) -> Arc<AppKey> {
        Arc::clone(&self.shared.account().key)
    }

    /// Gives the app a new key; the old one is returned.
    pub async fn rotate_app_key(&self) -> anyhow::Result<Arc<AppKey>> {
        let key = tokio::task::spawn_blocking(AppKey::generate).await.context("making the app's new key")??;
        Ok(self.write(|account| std::mem::replace(&mut account.key, Arc::new(key))))
    }

    /// What the workspace would post to open the app beside a saved ticket.
    pub fn launch(&self, agent: u64) -> anyhow::Result<SidebarLaunch> {
        launch::launch(&self.shared.account(), agent, Location::TicketSidebar, "light")
    }

    /// A genuine token for this agent; every call gives another.
    pub fn sidebar_token(&self, agent: u64) -> anyhow::Result<String> {
        Ok(self.launch(agent)?.token)
    }

    /// Claims of a genuine token, to be spoilt and signed by [`SimulatedZendesk::sign_claims`].
    pub fn sidebar_claims(&self, agent: u64) -> Value {
        launch::claims(&self.shared.account(), agent, Location::TicketSidebar, &random_token())
    }

    /// Header of a genuine token.
    pub fn sidebar_header(&self) -> Value {
        launch::header()
    }

    /// Signs anything with the app's key by RS256, whatever the header says.
    pub fn sign_claims(&self, header: &Value, claims: &Value) -> anyhow::Result<String> {
        self.app_key().sign(header, claims)
    }

    /// Messages sent to the app's pages by `POST /api/v2/apps/notify`.
    pub fn notifications(&self) -> Vec<Notification> {
        self.shared.account().notifications.clone()
    }

    // The wire

    /// The next `times` matching requests fail so. Faults ordered earlier are used up first.
    pub fn fail_next(&self, times: u32, matching: Matching, fault: Fault) {
        self.shared.line.faults().order(Some(times.max(1)), matching, fault);
    }

    /// All matching requests fail so until [`SimulatedZendesk::clear_faults`].
    pub fn fail_always(&self, matching: Matching, fault: Fault) {
        self.shared.line.faults().order(None, matching, fault);
    }

    /// Forgets all faults.
    pub fn clear_faults(&self) {
        self.shared.line.faults().clear();
    }

    /// Changes the time added to every answer.
    pub fn set_latency(&self, latency: Duration) {
        *self.shared.latency() = latency;
    }

    /// Changes the limits; `None` turns them off.
    pub fn set_rate_limits(&self, limits: Option<RateLimits>) {
        self.write(|account| {
            account.options.rate_limits.clone_from(&limits);
            account.limiter.limits = limits;
        });
    }

    /// Moves the account's clock on: limits reset, upload tokens, access tokens and idempotency keys age.
    /// Sidebar tokens keep the real time.
    pub fn advance_clock(&self, by: Duration) {
        self.write(|account| account.clock_ahead += by);
    }

    /// Requests so far, oldest first; the latest 20,000 are kept.
    pub fn requests(&self) -> Vec<RecordedRequest> {
        self.shared.line.journal().all()
    }

    /// How many requests had this method and a path that begins so.
    pub fn count(&self, method: &Method, path_prefix: &str) -> usize {
        self.shared.line.journal().count(method, path_prefix)
    }

    /// Forgets the requests so far.
    pub fn clear_requests(&self) {
        self.shared.line.journal().clear();
    }

    /// How many writes are still to happen later, as faults ordered it.
    pub fn pending_writes(&self) -> usize {
        self.shared.line.pending_writes()
    }

    // Waiting

    /// The first comment of the ticket that `wanted` accepts, waiting for it up to a minute.
    pub async fn wait_for_comment(&self, ticket: u64, wanted: impl Fn(&Comment) -> bool) -> anyhow::Result<Comment> {
        self.wait_until(|zendesk| zendesk.comments(ticket).into_iter().find(&wanted)).await.with_context(|| {
            let seen: Vec<String> = self.comments(ticket).iter().map(|comment| comment.plain_body.chars().take(80).collect()).collect();
            format!("no such comment on ticket {ticket}, which has {seen:?}")
        })
    }

    /// Waits up to a minute until so many requests had this method and a path that begins so.
    pub async fn wait_for_requests(&self, method: &Method, path_prefix: &str, at_least: usize) -> anyhow::Result<()> {
        self.wait_until(|zendesk| (zendesk.count(method, path_prefix) >= at_least).then_some(()))
            .await
            .with_context(|| format!("fewer than {at_least} times {method} {path_prefix}"))
    }

    /// Asks `probe` after every request and every change until it finds something, up to a minute.
    pub async fn wait_until<T>(&self, probe: impl Fn(&Self) -> Option<T>) -> anyhow::Result<T> {
        self.shared.line.wait_until(|| probe(self)).await
    }

    fn write<T>(&self, change: impl FnOnce(&mut Account) -> T) -> T {
        let result = change(&mut self.shared.account());
        self.shared.line.changed();
        result
    }
}
