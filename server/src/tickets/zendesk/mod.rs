//! Zendesk over its REST API (zendesk.md d), as one API user of the account.

mod client;
mod create;
mod installation;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use moka::future::Cache;
use reqwest::Method;
use serde_json::{Value, json};

pub use client::{Answer, Client};
pub use installation::InstallationSettings;

use super::{Abilities, Agent, AgentReference, Files, NewNote, NewTicket, Ticket, TicketError, TicketSystem};
use crate::config::{NoteVisibility, ZendeskSection};
use crate::reports::NoteLimit;
use crate::security::app_key::{KeyFault, pem_of_answer};

/// Name of our entry in a ticket audit's custom metadata.
const MARKER_KEY: &str = "deskbridge_marker";
/// The query of a list's first page, at its largest (zendesk.md d.12).
const FIRST_PAGE: &str = "page[size]=100";
/// An agent in more groups than these pages hold is not found in the others.
const MAX_MEMBERSHIP_PAGES: usize = 20;
/// A ticket takes 5,000 comments; with field changes it may have more audits.
const MAX_AUDIT_PAGES: usize = 100;
/// A write that got no answer for so long is not done any more.
const SETTLES_WITHIN: Duration = Duration::from_secs(45);
/// What an agent may do is asked again after this time.
const AGENT_CACHE: Duration = Duration::from_mins(1);

/// One account.
pub struct Zendesk {
    client: Client,
    settings: ZendeskSection,
    target_field: Option<String>,
    agents: Cache<u64, Arc<Profile>>,
}

/// What an agent may see, as far as the API tells (zendesk.md d.9).
struct Profile {
    agent: Agent,
    is_agent: bool,
    restriction: Option<String>,
    organisation: Option<u64>,
}

impl Zendesk {
    /// An account. `target_field`: the ticket field with the machine's name.
    pub fn new(settings: ZendeskSection, client: Client, target_field: Option<String>) -> Self {
        let agents = Cache::builder().max_capacity(1_000).time_to_live(AGENT_CACHE).build();
        Self { client, settings, target_field, agents }
    }

    /// The app's public key (PEM): `.pem` first, then the path without extension (zendesk.md b.3).
    pub async fn app_public_key(&self) -> Result<String, KeyFault> {
        let path = format!("/api/v2/apps/{}/public_key", self.settings.app_id);
        let mut reasons = Vec::new();
        for path in [format!("{path}.pem"), path] {
            match self.client.get_text(&path).await {
                Ok((200, body)) => match pem_of_answer(&body) {
                    Some(pem) => return Ok(pem),
                    None => reasons.push("no public key in the answer".to_owned()),
                },
                Ok((status, _)) => reasons.push(format!("HTTP {status}")),
                Err(error) => reasons.push(error.to_string()),
            }
        }
        Err(KeyFault::NotFetched(reasons.join("; then ")))
    }

    /// The settings the account's administrator gave our installation.
    pub async fn installation_settings(&self) -> Result<InstallationSettings, TicketError> {
        let answer = self.client.get("/api/v2/apps/installations").await?.ok("the list of app installations")?;
        let id = self.settings.installation_id;
        let found = answer["installations"].as_array().into_iter().flatten().find(|row| row["id"].as_u64() == Some(id));
        found.map(|row| InstallationSettings::read(&row["settings"])).ok_or_else(|| {
            TicketError::Refused(format!("installation {id} is not among the account's app installations; check installation_id"))
        })
    }

    /// Who the API user is: its role, for `deskbridge check`.
    pub async fn whoami(&self) -> Result<(String, String), TicketError> {
        let answer = self.client.get("/api/v2/users/me").await?.ok("the API user")?;
        let role = answer["user"]["role"].as_str().unwrap_or("end-user").to_owned();
        let anonymous = answer["user"]["id"].is_null();
        if anonymous || role == "end-user" {
            return Err(TicketError::Denied(
                "the account treats the API user as an end user; check username and token, and give the user an agent role".into(),
            ));
        }
        Ok((answer["user"]["email"].as_str().unwrap_or_default().to_owned(), role))
    }

    async fn profile(&self, agent_id: u64) -> Result<Arc<Profile>, TicketError> {
        if let Some(profile) = self.agents.get(&agent_id).await {
            return Ok(profile);
        }
        let answer = self.client.get(&format!("/api/v2/users/{agent_id}")).await?;
        if answer.status == 404 {
            return Err(TicketError::NotAllowed("you are not an agent of this account any more".into()));
        }
        let answer = answer.ok("the agent")?;
        let user = &answer["user"];
        let text = |name: &str| user[name].as_str().map(str::to_owned);
        let suspended = user["suspended"].as_bool().unwrap_or(false);
        let profile = Arc::new(Profile {
            agent: Agent { name: text("name").unwrap_or_default(), email: text("email"), locale: text("locale") },
            is_agent: matches!(user["role"].as_str(), Some("agent" | "admin")) && !suspended && user["active"].as_bool() != Some(false),
            // Administrators see every ticket, whatever the field says.
            restriction: text("ticket_restriction").filter(|_| user["role"].as_str() != Some("admin")),
            organisation: user["organization_id"].as_u64(),
        });
        self.agents.insert(agent_id, profile.clone()).await;
        Ok(profile)
    }

    /// Whether the user belongs to the `what` (`group` or `organization`) of that id.
    async fn is_member(&self, agent_id: u64, what: &str, id: u64) -> Result<bool, TicketError> {
        let mut query = FIRST_PAGE.to_owned();
        for _ in 0..MAX_MEMBERSHIP_PAGES {
            let answer = self.client.get(&format!("/api/v2/users/{agent_id}/{what}_memberships?{query}")).await?;
            if answer.status == 404 {
                return Ok(false);
            }
            let page = answer.ok("the agent's memberships")?;
            let mut rows = page[format!("{what}_memberships").as_str()].as_array().into_iter().flatten();
            if rows.any(|row| row[format!("{what}_id").as_str()].as_u64() == Some(id)) {
                return Ok(true);
            }
            match next_page(&page) {
                Some(next) => query = next,
                None => return Ok(false),
            }
        }
        Ok(false)
    }

    fn read_ticket(&self, ticket: &Value) -> Ticket {
        let number = |name: &str| ticket[name].as_u64();
        Ticket {
            id: number("id").map_or_else(String::new, |id| id.to_string()),
            closed: ticket["status"].as_str() == Some("closed"),
            assignee: number("assignee_id"),
            requester: number("requester_id"),
            group: number("group_id"),
            organisation: number("organization_id"),
            target: self.target_field.as_deref().and_then(|field| field_value(ticket, field)),
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

#[async_trait]
impl TicketSystem for Zendesk {
    fn abilities(&self) -> Abilities {
        Abilities {
            note: Some(NoteLimit::ZENDESK),
            files: Files::WithNote,
            notes_are_public: self.settings.note_visibility == NoteVisibility::Public,
            expands_placeholders: true,
            settles_within: SETTLES_WITHIN,
            records_time: false,
            creates_tickets: self.settings.enable_automatic_ticket_creation,
        }
    }

    fn is_ticket_name(&self, text: &str) -> bool {
        (1..=18).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit()) && !text.starts_with('0')
    }

    async fn ticket(&self, id: &str) -> Result<Ticket, TicketError> {
        if !self.is_ticket_name(id) {
            return Err(TicketError::NoTicket("a Zendesk ticket id is a whole number".into()));
        }
        let answer = self.client.get(&format!("/api/v2/tickets/{id}")).await?;
        if answer.status == 404 {
            return Err(TicketError::NoTicket(format!("there is no ticket {id} in the account, or the API user cannot see it")));
        }
        Ok(self.read_ticket(&answer.ok("the ticket")?["ticket"]))
    }

    async fn agent_for(&self, agent: &AgentReference, ticket: &Ticket) -> Result<Agent, TicketError> {
        let AgentReference::User(agent_id) = *agent else {
            return Err(TicketError::NotAllowed("Zendesk tickets have the panel in their sidebar; open it there".into()));
        };
        let profile = self.profile(agent_id).await?;
        if !profile.is_agent {
            return Err(TicketError::NotAllowed("only an active agent of the account can start remote support".into()));
        }
        let allowed = match profile.restriction.as_deref() {
            None => true,
            Some("assigned") => ticket.assignee == Some(agent_id),
            Some("requested") => ticket.requester == Some(agent_id),
            Some("groups") => match ticket.group {
                Some(group) => self.is_member(agent_id, "group", group).await?,
                None => false,
            },
            Some("organization") => match ticket.organisation {
                Some(organisation) => {
                    profile.organisation == Some(organisation) || self.is_member(agent_id, "organization", organisation).await?
                }
                None => false,
            },
            Some(_) => false,
        };
        if allowed {
            Ok(profile.agent.clone())
        } else {
            Err(TicketError::NotAllowed("your role in Zendesk does not let you work on this ticket".into()))
        }
    }

    /// Looks through the ticket's audits: our marker is in their metadata, which only the API can write, or in the comment itself.
    async fn find_note(&self, ticket: &str, marker: &str) -> Result<Option<String>, TicketError> {
        let mut query = FIRST_PAGE.to_owned();
        for _ in 0..MAX_AUDIT_PAGES {
            let answer = self.client.get(&format!("/api/v2/tickets/{ticket}/audits?{query}")).await?;
            let page = of_ticket(answer, ticket)?.ok("the ticket's audits")?;
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

    async fn append_note(&self, ticket: &str, note: &NewNote<'_>) -> Result<String, TicketError> {
        let mut upload: Option<String> = None;
        for attachment in note.attachments {
            let mut path = format!("/api/v2/uploads?filename={}", deskbridge_shared::percent::encode(&attachment.file_name));
            if let Some(token) = &upload {
                path.push_str("&token=");
                path.push_str(&deskbridge_shared::percent::encode(token));
            }
            let answer = self.client.post_file(&path, attachment.content_type, attachment.bytes.clone()).await?.ok("an attachment")?;
            let token = answer["upload"]["token"]
                .as_str()
                .ok_or_else(|| TicketError::passing("the account took an attachment but gave no token for it"))?;
            upload = Some(token.to_owned());
        }
        let mut comment = json!({ "html_body": note.body, "public": self.abilities().notes_are_public });
        if let Some(token) = upload {
            comment["uploads"] = json!([token]);
        }
        let body = json!({ "ticket": { "comment": comment, "metadata": { MARKER_KEY: note.marker } } });
        let answer = self.client.send_json(Method::PUT, &format!("/api/v2/tickets/{ticket}"), &body).await?;
        let answer = of_ticket(answer, ticket)?.ok("the note")?;
        Ok(note_id(&answer["audit"]))
    }

    async fn find_ticket(&self, marker: &str) -> Result<Option<String>, TicketError> {
        let path = format!("/api/v2/tickets?external_id={}", deskbridge_shared::percent::encode(marker));
        let found = self.client.get(&path).await?.ok("the list of tickets")?;
        let ours = found["tickets"].as_array().into_iter().flatten().find(|ticket| ticket["external_id"].as_str() == Some(marker));
        Ok(ours.map(|ticket| self.read_ticket(ticket).id))
    }

    async fn create_ticket(&self, ticket: &NewTicket) -> Result<String, TicketError> {
        let body = create::body(ticket, self.settings.ticket_default_data.as_deref(), self.abilities().notes_are_public)?;
        let answer = self.client.create_json("/api/v2/tickets", &ticket.marker, &body).await?;
        // Its role may do all else; only what asks for new tickets must wait for a person.
        let answer = answer.ok("the new ticket").map_err(|error| match error {
            TicketError::Denied(what) => TicketError::Refused(what),
            other => other,
        })?;
        let id = self.read_ticket(&answer["ticket"]).id;
        if id.is_empty() { Err(TicketError::passing("Zendesk created a ticket but did not say which")) } else { Ok(id) }
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
fn of_ticket(answer: Answer, ticket: &str) -> Result<Answer, TicketError> {
    match answer.status {
        404 => Err(TicketError::NoTicket(format!("there is no ticket {ticket} in the account any more"))),
        403 => Err(TicketError::passing(format!(
            "Zendesk does not let the API user work on ticket {ticket}; give its role access to all tickets"
        ))),
        _ => Ok(answer),
    }
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
