//! Jira over its REST API, as one API user: Cloud (version 3, ADF) and Data Center (version 2, wiki markup). Facts: argus-tickets.md 2.2.
//!
//! A moved ticket needs nothing: Jira answers to its old key. Done tickets take notes. Must not retry or remember what was written.

mod client;
mod close;
mod create;
mod fields;
mod note;
mod rights;
mod section;
mod ticket_name;
mod webhook;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use deskbridge_core::finding::Finding;
use deskbridge_core::settings::ConnectionSettings;
use deskbridge_http_client::cached::{Cached, FailureLife, Freshness, Lifetime};
use serde_json::Value;

use self::client::{Client, Fault, Ready, Sent};
use self::fields::{Field, Form};
pub use self::section::JiraSection;
use self::webhook::JiraWebhook;
use crate::zendesk::NoteVisibility;
use crate::{
    Abilities, Agent, AgentReference, Files, HelpDesk, HelpDeskError, Item, NotAllowed, Prepared, PreparedWrite, Surroundings, Ticket,
    TicketAddress, Webhook, Write, WriteOutcome, section_of,
};

/// So long, what is known of project and fields serves; after a refusal it is asked for anew.
const FORM_LIFE: Duration = Duration::from_hours(1);

/// One Jira.
pub struct Jira {
    client: Client,
    section: JiraSection,
    site: String,
    /// What new tickets can have.
    forms: Cached<Form, HelpDeskError>,
    /// Every field; asked for when one is not on the screen.
    fields: Cached<Vec<Field>, HelpDeskError>,
    webhook: Option<JiraWebhook>,
}

impl Jira {
    /// The Jira of a connection; nothing is contacted. The error names the key at fault.
    pub(crate) fn build(settings: &ConnectionSettings) -> Result<Arc<dyn HelpDesk>, String> {
        Ok(Arc::new(Self::new(section_of(settings)?)?))
    }

    fn new(section: JiraSection) -> Result<Self, String> {
        let client = Client::new(&section.api(), section.kind(), &section.credentials()?, section.ca_file.as_deref());
        let client = client.map_err(|fault| format!("jira: {fault}"))?;
        let secret =
            section.webhook_secret.as_ref().map(|secret| secret.resolve().map_err(|error| format!("jira.webhook_secret: {error}")));
        let webhook = secret.transpose()?.map(JiraWebhook::new);
        Ok(Self {
            client,
            site: section.site(),
            section,
            forms: Cached::new(Lifetime::renewed_after(FORM_LIFE), FailureLife::NONE),
            fields: Cached::new(Lifetime::renewed_after(FORM_LIFE), FailureLife::NONE),
            webhook,
        })
    }

    async fn form(&self) -> Result<Arc<Form>, HelpDeskError> {
        let ask = || async { Ok(Form::load(&self.client, self.section.project.trim(), &self.section.issue_type).await?) };
        self.forms.get(&Freshness::any(), ask).await
    }

    async fn all_fields(&self) -> Result<Arc<Vec<Field>>, HelpDeskError> {
        self.fields.get(&Freshness::any(), || async { Ok(fields::all(&self.client).await?) }).await
    }

    async fn search(&self, jql: &str, fields: &[&str], at_most: usize, what: &'static str) -> Result<Vec<Value>, Fault> {
        let path = match self.client.kind {
            client::Kind::Cloud => "search/jql",
            client::Kind::DataCenter => "search",
        };
        let jql = deskbridge_shared::percent::encode(jql);
        let mut page = self.client.get(&format!("{path}?jql={jql}&fields={}&maxResults={at_most}", fields.join(",")), what).await?;
        Ok(match page["issues"].take() {
            Value::Array(issues) => issues,
            _ => Vec::new(),
        })
    }

    /// For a search; a number between quotation marks would be a name.
    fn project_clause(&self) -> String {
        let project = self.section.project.trim();
        if ticket_name::is_number(project) { format!("project = {project}") } else { format!("project = \"{project}\"") }
    }

    fn project_path(&self) -> String {
        format!("project/{}", deskbridge_shared::percent::encode(self.section.project.trim()))
    }

    fn key(&self, name: &str) -> Option<String> {
        ticket_name::key(name, &self.site, self.section.project.trim())
    }
}

/// What stands in a path must be a key. Of any project: a ticket can be moved to another one.
fn checked(ticket: &str) -> Result<(), HelpDeskError> {
    let is_key = ticket_name::is_key(ticket);
    if is_key { Ok(()) } else { Err(HelpDeskError::NoTicket("a ticket of Jira is named by its key, like NET-7".into())) }
}

/// An answer that is Jira's and says something else than it should.
fn unknown<'a>(what: &str) -> WriteOutcome<'a> {
    let error = HelpDeskError::passing(format!("Jira answered something else than it should for {what}; it is looked for"));
    WriteOutcome::Unknown { error, repeat_after: None }
}

fn no_ability(what: &str) -> HelpDeskError {
    HelpDeskError::no_ability(what)
}

/// Something on a ticket, ready to be sent.
struct TicketWrite<'a> {
    ready: Ready<'a>,
    ticket: String,
    what: &'static str,
    is_file: bool,
}

#[async_trait]
impl<'a> PreparedWrite<'a> for TicketWrite<'a> {
    async fn send(self: Box<Self>) -> WriteOutcome<'a> {
        let Self { ready, ticket, what, is_file } = *self;
        match ready.send().await {
            Sent::Done(body) => {
                // Files are answered as a list.
                let id = note::id_of(if is_file { &body[0]["id"] } else { &body["id"] });
                id.map_or_else(|| unknown(what), WriteOutcome::Written)
            }
            Sent::Refused(fault @ (Fault::TooLarge(_) | Fault::Refused { .. })) if is_file => {
                WriteOutcome::Refused(HelpDeskError::FileRefused(fault.to_string()))
            }
            Sent::Refused(fault) => WriteOutcome::Refused(note::of_ticket(&ticket, fault)),
            Sent::Unknown(error) => WriteOutcome::Unknown { error, repeat_after: None },
        }
    }
}

#[async_trait]
impl HelpDesk for Jira {
    fn name(&self) -> &'static str {
        "jira"
    }

    fn abilities(&self) -> Abilities {
        Abilities {
            note: Some(self.client.kind.form()),
            page_note: None,
            files: if self.section.attach_files { Files::ByThemselves } else { Files::Never },
            notes_are_public: self.section.note_visibility == NoteVisibility::Public,
            takes_internal_notes: true,
            settles_within: Duration::from_secs(u64::from(self.section.settle_seconds)),
            guards_repeats: false,
            records_time: self.section.update_time_spent,
            creates_tickets: self.section.enable_automatic_ticket_creation,
            takes_incidents: true,
            closes_tickets: true,
            follows_up: false,
        }
    }

    fn is_ticket_name(&self, text: &str) -> bool {
        self.key(text).is_some()
    }

    async fn resolve(&self, name: &str) -> Result<String, HelpDeskError> {
        self.key(name)
            .ok_or_else(|| HelpDeskError::NoTicket("a ticket of Jira is named by its key, like NET-7, or its page's address".into()))
    }

    async fn ticket_for(&self, _agent: &AgentReference, _name: &str) -> Result<(Ticket, Agent), HelpDeskError> {
        Err(HelpDeskError::not_allowed(
            NotAllowed::PanelInExtension,
            "there is no panel for Jira's tickets; sessions reach them by their external key",
        ))
    }

    async fn prepare<'a>(&'a self, write: &Write<'_>) -> Result<Prepared<'a>, HelpDeskError> {
        let on_ticket = |ready: Ready<'a>, what: &'static str| -> Prepared<'a> {
            let is_file = matches!(write.item, Item::File(_));
            Box::new(TicketWrite { ready, ticket: write.ticket.to_owned(), what, is_file })
        };
        match write.item {
            Item::Ticket(new) => create::ready(self, new, write.marker).await,
            Item::Note(new) => {
                checked(write.ticket)?;
                Ok(on_ticket(note::ready(&self.client, &self.section, write.ticket, new)?, "the note"))
            }
            Item::Time(entry) => {
                checked(write.ticket)?;
                let ready = note::ready_time(&self.client, &self.section, write.ticket, entry, write.marker)?;
                Ok(on_ticket(ready, "the work log entry"))
            }
            Item::File(new) => {
                checked(write.ticket)?;
                Ok(on_ticket(note::ready_file(&self.client, write.ticket, new.file)?, "the file"))
            }
            Item::FollowUp(_) => Err(no_ability("make follow-up tickets")),
        }
    }

    async fn find(&self, write: &Write<'_>) -> Result<Option<String>, HelpDeskError> {
        if !matches!(write.item, Item::Ticket(_)) {
            checked(write.ticket)?;
        }
        match write.item {
            Item::Ticket(_) => create::find(self, write.marker).await,
            Item::Note(_) => note::find(&self.client, write.ticket, write.marker).await,
            Item::Time(entry) => note::find_time(&self.client, write.ticket, entry, write.marker).await,
            Item::File(new) => note::find_file(&self.client, write.ticket, &new.file.file_name).await,
            Item::FollowUp(_) => Err(no_ability("make follow-up tickets")),
        }
    }

    /// Whoever may not see the project's tickets finds none.
    async fn prove_absence(&self, write: &Write<'_>) -> Result<(), HelpDeskError> {
        if !matches!(write.item, Item::Ticket(_)) {
            return Ok(());
        }
        match self.permissions(&["BROWSE_PROJECTS"]).await {
            Ok(permissions) if permissions.iter().all(|(_, is_given)| *is_given) => Ok(()),
            Ok(_) | Err(Fault::NotFound { .. } | Fault::Refused { .. }) => Err(HelpDeskError::Refused(format!(
                "nobody knows whether the ticket stands in the project {}: its write got no certain answer, and Jira shows the API user no \
                 tickets there. It is not made again, so that there are not two. Give the API user the permission Browse Projects, then \
                 `deskbridge events retry`",
                self.section.project
            ))),
            Err(fault) => Err(fault.into()),
        }
    }

    async fn check(&self, _around: &Surroundings<'_>) -> Vec<Finding> {
        self.check_rights().await
    }

    async fn ticket_address(&self) -> Option<TicketAddress> {
        Some(TicketAddress { address: format!("{}browse/{{ticket}}", self.site), remark: None })
    }

    async fn close(&self, ticket: &str) -> Result<(), HelpDeskError> {
        checked(ticket)?;
        self.close_ticket(ticket).await
    }

    async fn closed_among(&self, tickets: &[String]) -> Result<Vec<String>, HelpDeskError> {
        self.closed(tickets).await
    }

    fn webhook(&self) -> Option<&dyn Webhook> {
        self.webhook.as_ref().map(|webhook| webhook as &dyn Webhook)
    }
}
