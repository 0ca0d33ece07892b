//! Zendesk over its REST API (zendesk.md d), as one API user of the account.

mod access;
pub mod app_key;
mod client;
mod closed;
mod create;
mod credentials;
mod help_center;
mod installation;
mod section;
mod sidebar_app;
pub mod sidebar_token;

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use async_trait::async_trait;
use deskbridge_core::finding::Finding;
use deskbridge_core::settings::ConnectionSettings;
use deskbridge_documents::{Format, Guards, Limit, Measure, NoteForm};
use moka::future::Cache;
use reqwest::Method;
use serde_json::{Value, json};

use self::access::{Owners, Profile};
use self::client::{API_USER, Answer, Answered, Client, Request};
pub use self::help_center::{
    Customer, CustomerProof, CustomersTicket, HelpCenter, HelpCenterSection, KeysFault, LineFound, PageChecked, PageFault, TokenFault, Who,
};
pub use self::installation::InstallationSettings;
pub use self::section::{NoteVisibility, OnClosed, ZendeskSection};
pub use self::sidebar_app::SidebarApp;
use crate::{
    Abilities, Agent, AgentReference, Files, HelpDesk, HelpDeskError, Item, NewNote, NotAllowed, PanelPolicy, Prepared, PreparedWrite,
    Surroundings, Ticket, TicketAddress, Write, WriteOutcome, section_of,
};

/// A comment: HTML. Of 64 kB the rest is cut silently, and `{{…}}` is expanded in comments of agents (zendesk.md d.3); less room for what
/// the account may count differently. Addresses become links there, as agents are used to.
const NOTE: NoteForm = NoteForm {
    format: Format::Html(Guards { placeholders: true, ..Guards::NONE }),
    limit: Limit { measure: Measure::Bytes, most: 60_000 },
};
/// Name of our entry in a ticket audit's custom metadata.
const MARKER_KEY: &str = "deskbridge_marker";
/// The query of a list's first page, at its largest (zendesk.md d.12).
const FIRST_PAGE: &str = "page[size]=100";
/// A ticket takes 5,000 comments; with field changes it may have more audits.
const MAX_AUDIT_PAGES: usize = 100;
/// How long the installation's settings are believed.
const INSTALLATION_CACHE: Duration = Duration::from_mins(1);
/// What an agent may do is asked again after this time.
const AGENT_CACHE: Duration = Duration::from_mins(1);

/// What `deskbridge check` says of API tokens (changes-2026-11.md C1).
const API_TOKENS_END: &str = "Zendesk ends all API tokens on 30 April 2027, and switches one off that was not used for 30 days. Make an OAuth \
    client and set client_id and client_secret instead of username and token: docs/zendesk.md, step 2";

/// One account.
pub struct Zendesk {
    client: Client,
    settings: ZendeskSection,
    target_field: Option<String>,
    // Made when they are first used: an empty one takes some 60 kB, and there may be ten thousand connections.
    agents: LazyLock<Cache<u64, Arc<Profile>>>,
    sidebar: SidebarApp,
    help_center: Option<HelpCenter>,
    installation: LazyLock<Cache<(), Arc<PanelPolicy>>>,
}

/// As whom everything is done.
struct ApiUser {
    id: u64,
    name: String,
    email: String,
    role: String,
}

impl Zendesk {
    /// The account of a connection; nothing is contacted. The error names the key at fault.
    pub(crate) fn build(settings: &ConnectionSettings) -> Result<Arc<dyn HelpDesk>, String> {
        let section: ZendeskSection = section_of(settings)?;
        let client = Client::new(section.origin(), section.credentials()?, section.marketplace_headers())
            .map_err(|_| "zendesk: no HTTP client; check the machine's TLS certificates".to_owned())?;
        Ok(Arc::new(Self {
            agents: LazyLock::new(|| Cache::builder().max_capacity(1_000).time_to_live(AGENT_CACHE).build()),
            sidebar: SidebarApp::new(&section, client.clone())?,
            help_center: settings.section().map(|own| HelpCenter::new(own, section.origin(), client.clone())),
            installation: LazyLock::new(|| Cache::builder().max_capacity(1).time_to_live(INSTALLATION_CACHE).build()),
            target_field: settings.panel.target_field.clone(),
            settings: section,
            client,
        }))
    }

    /// The settings the account's administrator gave our installation.
    async fn installation_settings(&self) -> Result<InstallationSettings, HelpDeskError> {
        let answer = self.client.get("/api/v2/apps/installations").await?.ok("the list of app installations")?;
        let id = self.settings.installation_id;
        let found = answer["installations"].as_array().into_iter().flatten().find(|row| row["id"].as_u64() == Some(id));
        found.map(|row| InstallationSettings::read(&row["settings"])).ok_or_else(|| {
            HelpDeskError::Refused(format!("installation {id} is not among the account's app installations; check installation_id"))
        })
    }

    /// Who the API user is.
    async fn whoami(&self) -> Result<ApiUser, HelpDeskError> {
        let answer = self.client.get(API_USER).await?.ok("the API user")?;
        let role = answer["user"]["role"].as_str().unwrap_or("end-user").to_owned();
        let id = answer["user"]["id"].as_u64();
        let Some(id) = id.filter(|_| role != "end-user") else {
            return Err(HelpDeskError::Denied(
                "the account treats the API user as an end user; check the credentials, and give the user an agent role".into(),
            ));
        };
        let text = |name: &str| answer["user"][name].as_str().unwrap_or_default().to_owned();
        Ok(ApiUser { id, name: text("name"), email: text("email"), role })
    }

    fn read_ticket(&self, ticket: &Value) -> Ticket {
        Ticket {
            id: ticket["id"].as_u64().map_or_else(String::new, |id| id.to_string()),
            closed: ticket["status"].as_str() == Some("closed"),
            target: self.target_field.as_deref().and_then(|field| field_value(ticket, field)),
            // Each of them keeps its page, and the panel there.
            merged: Vec::new(),
        }
    }
}

/// A ticket field by name, or a custom field by number (`27642` or `custom_field_27642`).
fn field_value(ticket: &Value, field: &str) -> Option<String> {
    let number = field.strip_prefix("custom_field_").unwrap_or(field).parse::<u64>().ok();
    let value = match number {
        Some(id) => ticket["custom_fields"].as_array()?.iter().find(|row| row["id"].as_u64() == Some(id)).map(|row| &row["value"])?,
        None => &ticket[field],
    };
    let text = match value {
        Value::String(text) => text.trim().to_owned(),
        Value::Number(number) => number.to_string(),
        _ => return None,
    };
    (!text.is_empty()).then(|| text.chars().take(255).collect())
}

impl Zendesk {
    fn notes_are_public(&self) -> bool {
        self.settings.note_visibility == NoteVisibility::Public
    }

    async fn ticket_json(&self, id: &str) -> Result<Value, HelpDeskError> {
        if !self.is_ticket_name(id) {
            return Err(HelpDeskError::NoTicket("a Zendesk ticket id is a whole number".into()));
        }
        let answer = self.client.get(&format!("/api/v2/tickets/{id}")).await?;
        if answer.status == 404 {
            return Err(HelpDeskError::NoTicket(format!("there is no ticket {id} in the account, or the API user cannot see it")));
        }
        let ticket = answer.ok("the ticket")?["ticket"].take();
        match (ticket["status"].as_str(), ticket["id"].as_u64()) {
            (Some("deleted"), Some(id)) => Err(closed::deleted(id)),
            _ => Ok(ticket),
        }
    }

    /// Looks through the ticket's audits: our marker is in their metadata, which only the API can write, or in the comment itself.
    async fn find_note(&self, ticket: &str, marker: &str) -> Result<Option<String>, HelpDeskError> {
        let mut query = FIRST_PAGE.to_owned();
        for _ in 0..MAX_AUDIT_PAGES {
            let answer = self.client.get(&format!("/api/v2/tickets/{ticket}/audits?{query}")).await?;
            let page = page_of_ticket(answer, ticket, "the ticket's audits")?;
            for audit in page["audits"].as_array().into_iter().flatten() {
                if audit_has(audit, marker) {
                    return Ok(Some(note_id(audit)));
                }
            }
            match next_page(&page) {
                Some(next) => query = next,
                None => return Ok(None),
            }
        }
        Ok(None)
    }

    async fn find_ticket(&self, marker: &str) -> Result<Option<String>, HelpDeskError> {
        let path = format!("/api/v2/tickets?external_id={}", deskbridge_shared::percent::encode(marker));
        let found = self.client.get(&path).await?.ok("the list of tickets")?;
        let ours = found["tickets"].as_array().into_iter().flatten().find(|ticket| ticket["external_id"].as_str() == Some(marker));
        Ok(ours.map(|ticket| self.read_ticket(ticket).id))
    }

    /// The note with its files uploaded.
    async fn prepare_note(&self, write: &Write<'_>, note: &NewNote<'_>) -> Result<NoteUpdate, HelpDeskError> {
        let answer = self.client.get(&format!("/api/v2/tickets/{}", write.ticket)).await?;
        let ticket = page_of_ticket(answer, write.ticket, "the ticket")?["ticket"].take();
        if let Some(error) = self.unwritable(&ticket).await? {
            return Err(error);
        }
        let stamp = ticket["updated_at"].as_str().map(str::to_owned);
        let is_guarded = stamp.is_some();
        let mut upload: Option<String> = None;
        for attachment in note.attachments {
            let mut path = format!("/api/v2/uploads?filename={}", deskbridge_shared::percent::encode(&attachment.file_name));
            if let Some(token) = &upload {
                path.push_str("&token=");
                path.push_str(&deskbridge_shared::percent::encode(token));
            }
            let answer = self.client.post_file(&path, attachment.content_type, attachment.bytes.clone()).await?;
            // The API user just read the ticket: it is the file that is not taken, whatever the words are.
            let is_of_the_file = matches!(answer.status, 400 | 403 | 404 | 413 | 415 | 422) && !answer.is_refused_everywhere;
            let answer = answer.ok("the file").map_err(|error| match error {
                error if is_of_the_file || (note.gives_up_files && !error.is_of_credentials()) => {
                    HelpDeskError::FileRefused(error.to_string())
                }
                error => error,
            })?;
            let token = answer["upload"]["token"]
                .as_str()
                .ok_or_else(|| HelpDeskError::passing("the account took an attachment but gave no token for it"))?;
            upload = Some(token.to_owned());
        }
        let mut comment = json!({ "html_body": note.body, "public": note.is_public });
        if let Some(token) = upload {
            comment["uploads"] = json!([token]);
        }
        let mut ticket = json!({ "comment": comment, "metadata": { MARKER_KEY: write.marker } });
        // Of two requests with the same stamp the account does one: whatever a gateway answered to the first.
        if let Some(stamp) = stamp {
            ticket["safe_update"] = true.into();
            ticket["updated_stamp"] = stamp.into();
        }
        let body = json!({ "ticket": ticket });
        let request = self.client.write(Method::PUT, &format!("/api/v2/tickets/{}", write.ticket), &body).await?;
        Ok(NoteUpdate { request, ticket: write.ticket.to_owned(), is_guarded })
    }
}

/// A note, ready to be sent.
struct NoteUpdate {
    request: Request,
    ticket: String,
    is_guarded: bool,
}

#[async_trait]
impl<'a> PreparedWrite<'a> for NoteUpdate {
    async fn send(self: Box<Self>) -> WriteOutcome<'a> {
        let Self { request, ticket, is_guarded } = *self;
        let read = |answer: &Value| Some(note_id(&answer["audit"]));
        let refused = |answered: Answered, error| match (answered.status, error) {
            // Closed in this very moment, perhaps: the next attempt looks.
            (422, HelpDeskError::Refused(what)) if says_closed(&what) => HelpDeskError::passing(what),
            (_, error) => of_ticket(answered, &ticket).unwrap_or(error),
        };
        let again = |request| -> Prepared<'a> { Box::new(Self { request, ticket: ticket.clone(), is_guarded }) };
        request.send("the note", is_guarded, read, refused, again).await
    }
}

/// A ticket, ready to be created.
struct TicketCreation(Request);

#[async_trait]
impl<'a> PreparedWrite<'a> for TicketCreation {
    async fn send(self: Box<Self>) -> WriteOutcome<'a> {
        let id = |answer: &Value| answer["ticket"]["id"].as_u64().map(|id| id.to_string());
        // Its role may do all else; only what asks for new tickets must wait for a person.
        let refused = |_, error| match error {
            HelpDeskError::Denied(what) => HelpDeskError::Refused(what),
            other => other,
        };
        self.0.send("the new ticket", false, id, refused, |request| Box::new(Self(request))).await
    }
}

#[async_trait]
impl HelpDesk for Zendesk {
    fn name(&self) -> &'static str {
        "zendesk"
    }

    fn abilities(&self) -> Abilities {
        Abilities {
            note: Some(NOTE),
            page_note: None,
            files: Files::WithNote,
            notes_are_public: self.notes_are_public(),
            takes_internal_notes: true,
            settles_within: Duration::from_secs(u64::from(self.settings.settle_seconds)),
            guards_repeats: true,
            records_time: false,
            creates_tickets: self.settings.enable_automatic_ticket_creation,
            takes_incidents: true,
            closes_tickets: false,
            follows_up: self.settings.on_closed == OnClosed::FollowUp,
        }
    }

    fn is_ticket_name(&self, text: &str) -> bool {
        (1..=18).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit()) && !text.starts_with('0')
    }

    async fn ticket_for(&self, agent: &AgentReference, name: &str) -> Result<(Ticket, Agent), HelpDeskError> {
        let AgentReference::User(agent) = agent else {
            return Err(HelpDeskError::not_allowed(
                NotAllowed::PanelInSidebar,
                "Zendesk tickets have the panel in their sidebar; open it there",
            ));
        };
        let no_id = |_| HelpDeskError::not_allowed(NotAllowed::NotAnAgent, "your user id is none of this account");
        let agent_id = agent.parse().map_err(no_id)?;
        self.client.let_person_try();
        let ticket = self.ticket_json(name).await?;
        let agent = self.agent_for(agent_id, &Owners::of(&ticket)).await?;
        Ok((self.read_ticket(&ticket), agent))
    }

    async fn is_open(&self, ticket: &str) -> Result<bool, HelpDeskError> {
        Ok(!matches!(self.ticket_json(ticket).await?["status"].as_str(), Some("solved" | "closed")))
    }

    async fn prepare<'a>(&'a self, write: &Write<'_>) -> Result<Prepared<'a>, HelpDeskError> {
        match write.item {
            Item::Note(note) => Ok(Box::new(self.prepare_note(write, note).await?)),
            Item::Ticket(new) => {
                let rules = create::Rules {
                    defaults: self.settings.ticket_default_data.as_deref(),
                    key_may_set: &self.settings.external_key_may_set,
                    public: self.notes_are_public(),
                };
                let body = create::body(new, write.marker, &rules)?;
                Ok(Box::new(TicketCreation(self.client.create("/api/v2/tickets", write.marker, &body).await?)))
            }
            Item::FollowUp(text) => self.prepare_follow_up(write, text).await,
            Item::File(_) => Err(HelpDeskError::no_ability("take files by themselves")),
            Item::Time(_) => Err(HelpDeskError::no_ability("record time")),
        }
    }

    async fn find(&self, write: &Write<'_>) -> Result<Option<String>, HelpDeskError> {
        match write.item {
            Item::Note(_) => self.find_note(write.ticket, write.marker).await,
            Item::Ticket(_) | Item::FollowUp(_) => self.find_ticket(write.marker).await,
            Item::File(_) => Err(HelpDeskError::no_ability("take files by themselves")),
            Item::Time(_) => Err(HelpDeskError::no_ability("record time")),
        }
    }

    /// The installation's settings, read again after a minute. While the account is away, nothing is offered rather than something it may
    /// have forbidden (the ticket could not be checked either). An API user that may not read them at all leaves it to `[connection.panel]`.
    async fn panel_policy(&self) -> Result<Arc<PanelPolicy>, HelpDeskError> {
        let read = async {
            match self.installation_settings().await {
                Err(error @ (HelpDeskError::Denied(_) | HelpDeskError::Refused(_))) => {
                    tracing::warn!(account = self.sidebar.origin(), %error, "the installation's settings cannot be read; [connection.panel] alone decides");
                    Ok(Arc::default())
                }
                other => other.map(|installation| installation.panel),
            }
        };
        self.installation.try_get_with((), read).await.map_err(|error: Arc<HelpDeskError>| (*error).clone())
    }

    /// Zendesk switches an API token off that was not used for 30 days (changes-2026-11.md C1).
    async fn keep_credentials(&self) -> Result<(), HelpDeskError> {
        if self.settings.token.is_none() {
            return Ok(());
        }
        self.client.get(API_USER).await?.ok("the API user").map(drop)
    }

    fn signed_panel(&self) -> Option<&SidebarApp> {
        Some(&self.sidebar)
    }

    fn customers_origin(&self) -> Option<String> {
        Some(self.settings.origin())
    }

    async fn is_administrator(&self, agent: &AgentReference) -> Result<bool, HelpDeskError> {
        let AgentReference::User(agent) = agent else { return Ok(false) };
        let Ok(id) = agent.parse() else { return Ok(false) };
        match self.profile(id).await {
            Ok(profile) => Ok(profile.is_administrator()),
            Err(HelpDeskError::NotAllowed { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn help_center(&self) -> Option<&HelpCenter> {
        self.help_center.as_ref()
    }

    async fn check(&self, around: &Surroundings<'_>) -> Vec<Finding> {
        let mut findings = Vec::new();
        match self.whoami().await {
            Ok(ApiUser { name, email, role, .. }) => {
                findings.push(Finding::good("Zendesk login", format!("{email} ({role}); notes bear the name “{name}”")));
            }
            Err(error) => return vec![Finding::bad("Zendesk login", error.to_string())],
        }
        if self.settings.token.is_some() {
            findings.push(Finding::note("API token", API_TOKENS_END));
        }
        findings.push(match self.sidebar.key().await {
            Ok(_) => {
                let from_file = self.settings.public_key_file.is_some();
                Finding::good("sidebar key", if from_file { "from the file" } else { "fetched from the account" })
            }
            Err(error) => Finding::bad("sidebar key", error.to_string()),
        });
        if let Err(error) = self.roles_are_readable().await {
            findings.push(Finding::note("agents' roles", error.to_string()));
        }
        match self.installation_settings().await {
            Ok(installation) => {
                let allowed = crate::allowed_actions::AllowedActions::combine(around.panel, &installation.panel);
                let methods: Vec<_> = allowed.methods.iter().map(|method| method.name()).collect();
                let methods = if methods.is_empty() { "no Jump".to_owned() } else { methods.join(", ") };
                let (jumpoints, issues) = (allowed.jumpoints.len(), allowed.issues.len());
                findings.push(Finding::good("panel", format!("{methods}; {jumpoints} Jumpoints; {issues} issues")));
                let named = installation.hostname.as_deref().zip(around.appliance_host).filter(|(name, host)| !host.starts_with(name));
                if let Some((name, host)) = named {
                    let message = format!("the app's settings in Zendesk name {name}, this connection {host}; sessions go to {host}");
                    findings.push(Finding::note("host name", message));
                }
                for line in &installation.unreadable_issues {
                    findings.push(Finding::note("issues", format!("“{line}” in the app's settings is no code=Name and is left out")));
                }
            }
            // With another id no sidebar token's audience is ours.
            Err(HelpDeskError::Refused(refused)) => findings.push(Finding::bad("installation", refused)),
            Err(error) => findings.push(Finding::note("panel", format!("{error}; [connection.panel] alone decides what is offered"))),
        }
        if let Some(help_center) = &self.help_center {
            help_center.check(&mut findings).await;
        }
        findings
    }

    async fn ticket_address(&self) -> Option<TicketAddress> {
        Some(TicketAddress { address: format!("{}/agent/tickets/{{ticket}}", self.settings.origin()), remark: None })
    }
}

/// The query of the page after `page`: by cursor where the account offers it, else by number (zendesk.md d.12).
fn next_page(page: &Value) -> Option<String> {
    let cursor = page["meta"]["after_cursor"].as_str().filter(|_| page["meta"]["has_more"].as_bool() == Some(true));
    match cursor {
        Some(cursor) => Some(format!("{FIRST_PAGE}&page[after]={}", deskbridge_shared::percent::encode(cursor))),
        None => url::Url::parse(page["next_page"].as_str()?).ok()?.query().map(str::to_owned),
    }
}

/// Refusals that speak of one ticket and say nothing about its neighbours: a missing one, and one the API user's role does not reach.
fn of_ticket(answered: Answered, ticket: &str) -> Option<HelpDeskError> {
    match answered.status {
        404 => Some(HelpDeskError::NoTicket(format!("there is no ticket {ticket} in the account any more"))),
        403 if !answered.is_refused_everywhere => Some(HelpDeskError::passing(format!(
            "Zendesk does not let the API user work on ticket {ticket}; give its role access to all tickets"
        ))),
        _ => None,
    }
}

/// Whether a refusal is about the ticket's being closed, in English: "Status: closed prevents ticket update" (zendesk.md d.3).
fn says_closed(what: &str) -> bool {
    what.to_lowercase().contains("closed")
}

/// The answer's body, unless the answer refuses this very ticket.
fn page_of_ticket(answer: Answer, ticket: &str, what: &str) -> Result<Value, HelpDeskError> {
    of_ticket(answer.answered(), ticket).map_or_else(|| answer.ok(what), Err)
}

fn audit_has(audit: &Value, marker: &str) -> bool {
    let in_metadata = audit["metadata"]["custom"][MARKER_KEY].as_str() == Some(marker);
    in_metadata
        || audit["events"].as_array().into_iter().flatten().any(|event| {
            event["type"].as_str() == Some("Comment")
                && ["html_body", "body"].iter().any(|name| event[*name].as_str().is_some_and(|body| body.contains(marker)))
        })
}

/// The id of an audit's comment, or of the audit.
fn note_id(audit: &Value) -> String {
    let comment = audit["events"].as_array().into_iter().flatten().find(|event| event["type"].as_str() == Some("Comment"));
    comment.and_then(|event| event["id"].as_u64()).or_else(|| audit["id"].as_u64()).map_or_else(String::new, |id| id.to_string())
}
