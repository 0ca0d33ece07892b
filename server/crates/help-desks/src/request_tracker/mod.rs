//! Request Tracker over its REST 2 (argus-tickets.md 2.1), as one API user.
//!
//! RT answers to a merged ticket's number with the ticket it was merged into, and what is written to it stands there. What we keep by ticket is
//! kept by the number of then, so the ticket's other numbers are asked for.
//! Resolved and rejected tickets take notes; only a deleted one does not. Must not retry or remember what was written.

mod client;
mod comments;
mod create;
mod note;
mod people;
mod rights;
mod section;
mod text;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use deskbridge_core::finding::Finding;
use deskbridge_core::settings::ConnectionSettings;
use serde_json::Value;

use self::client::{Client, Fault, Ready, Sent};
use self::comments::Comments;
use self::note::Target;
pub use self::section::RequestTrackerSection;
use crate::zendesk::NoteVisibility;
use crate::{
    Abilities, Agent, AgentReference, Files, HelpDesk, HelpDeskError, Item, NotAllowed, Prepared, PreparedWrite, Surroundings, Ticket,
    TicketAddress, Write, WriteOutcome, section_of,
};

/// Merged tickets that are looked at; the newest count.
const MOST_MERGED: usize = 50;
/// Longest machine name told to the panel.
const MAX_TARGET: usize = 255;

/// One Request Tracker.
pub struct RequestTracker {
    client: Client,
    section: RequestTrackerSection,
    target_field: Option<String>,
}

impl RequestTracker {
    /// The RT of a connection; nothing is contacted. The error names the key at fault.
    pub(crate) fn build(settings: &ConnectionSettings) -> Result<Arc<dyn HelpDesk>, String> {
        let section: RequestTrackerSection = section_of(settings)?;
        let client = Client::new(&section.site(), &section.credentials()?, section.ca_file.as_deref());
        let client = client.map_err(|fault| format!("request_tracker: {fault}"))?;
        Ok(Arc::new(Self { client, section, target_field: settings.panel.target_field.clone() }))
    }

    async fn ticket_json(&self, id: &str) -> Result<Value, HelpDeskError> {
        if !self.is_ticket_name(id) {
            return Err(HelpDeskError::NoTicket("a ticket of Request Tracker is named by its number".into()));
        }
        let ticket = match self.client.get(&format!("ticket/{id}"), "the ticket").await {
            Err(Fault::NotFound(_)) => return Err(no_ticket(id)),
            Err(Fault::NoRight { .. }) => {
                return Err(HelpDeskError::NoTicket(format!(
                    "Request Tracker does not show ticket {id} to the API user; give them the right ShowTicket for its queue"
                )));
            }
            other => other?,
        };
        if ticket["Status"].as_str() == Some("deleted") {
            return Err(HelpDeskError::NoTicket(format!("ticket {id} was deleted")));
        }
        Ok(ticket)
    }

    /// The tickets that were merged into this one, also by way of others.
    async fn merged_into(&self, id: u64) -> Result<Vec<String>, HelpDeskError> {
        let query = format!("EffectiveId = {id} AND id != {id}");
        let rows = self.client.newest("tickets", &query, "EffectiveId", MOST_MERGED, "merged tickets").await?;
        Ok(rows.iter().filter_map(|row| note::id_of(&row["id"])).collect())
    }

    /// The ticket that a note for this one goes to.
    async fn target(&self, id: &str) -> Result<Target, HelpDeskError> {
        let ticket = self.ticket_json(id).await?;
        let offers = |wanted: &str| links(&ticket).any(|link| link == wanted);
        Ok(Target { id: number(&ticket, id)?, takes_comments: offers("comment"), takes_replies: offers("correspond") })
    }

    /// A custom field of that name, or a field of RT's own.
    fn machine(&self, ticket: &Value) -> Option<String> {
        let name = self.target_field.as_deref()?;
        let fields = ticket["CustomFields"].as_array().into_iter().flatten();
        let is_it = |field: &&Value| field["name"].as_str().is_some_and(|found| found.eq_ignore_ascii_case(name));
        let value = fields.clone().find(is_it).map_or(&ticket[name], |field| &field["values"][0]);
        let text = text::one_line(value.as_str()?, MAX_TARGET);
        (!text.is_empty()).then_some(text)
    }

    /// What becomes of a note that was sent.
    fn note_outcome<'a>(sent: Sent, target: &Target, is_public: bool, has_files: bool) -> WriteOutcome<'a> {
        match sent {
            Sent::Done { body, location } if body.is_array() => {
                WriteOutcome::Written(location.unwrap_or_else(|| "of no told number".to_owned()))
            }
            Sent::Done { .. } => unknown("the note"),
            Sent::Refused(fault) => WriteOutcome::Refused(note::refusal(target, is_public, has_files, fault)),
            Sent::Unknown(error) => WriteOutcome::Unknown { error, repeat_after: None },
        }
    }
}

fn no_ticket(id: impl std::fmt::Display) -> HelpDeskError {
    HelpDeskError::NoTicket(format!("there is no ticket {id} in Request Tracker"))
}

/// An answer that is of REST 2 and says something else than it should.
fn unknown<'a>(what: &str) -> WriteOutcome<'a> {
    let error = HelpDeskError::passing(format!("Request Tracker answered something else than it should for {what}; it is looked for"));
    WriteOutcome::Unknown { error, repeat_after: None }
}

/// What RT offers to do with a record: only what the API user has the rights for.
fn links(record: &Value) -> impl Iterator<Item = &str> {
    record["_hyperlinks"].as_array().into_iter().flatten().filter_map(|link| link["ref"].as_str())
}

/// The ticket's own number: after a merge, that of the ticket it was merged into.
fn number(ticket: &Value, asked: &str) -> Result<u64, HelpDeskError> {
    let id = note::id_of(&ticket["id"]).and_then(|id| id.parse().ok());
    id.ok_or_else(|| HelpDeskError::passing(format!("Request Tracker told no number of ticket {asked}")))
}

/// By the status, where it is one of RT's own. A queue can have others; then RT has noted when a ticket was resolved, which it does not take
/// back when the ticket is opened again (1970: never).
fn is_active(ticket: &Value) -> bool {
    match ticket["Status"].as_str() {
        Some("new" | "open" | "stalled") => true,
        Some("resolved" | "rejected") => false,
        _ => ticket["Resolved"].as_str().is_none_or(|at| at.is_empty() || at.starts_with("1970-01-01")),
    }
}

fn no_ability(what: &str) -> HelpDeskError {
    HelpDeskError::no_ability(what)
}

/// A comment or a reply, ready to be sent.
struct NoteWrite<'a> {
    ready: Ready<'a>,
    target: Target,
    is_public: bool,
    has_files: bool,
}

#[async_trait]
impl<'a> PreparedWrite<'a> for NoteWrite<'a> {
    async fn send(self: Box<Self>) -> WriteOutcome<'a> {
        let Self { ready, target, is_public, has_files } = *self;
        RequestTracker::note_outcome(ready.send().await, &target, is_public, has_files)
    }
}

/// A ticket, ready to be created.
struct TicketCreation<'a> {
    ready: Ready<'a>,
    queue: String,
}

#[async_trait]
impl<'a> PreparedWrite<'a> for TicketCreation<'a> {
    async fn send(self: Box<Self>) -> WriteOutcome<'a> {
        match self.ready.send().await {
            Sent::Done { body, .. } => note::id_of(&body["id"]).map_or_else(|| unknown("the new ticket"), WriteOutcome::Written),
            Sent::Refused(Fault::NoRight { said, .. }) => WriteOutcome::Refused(HelpDeskError::Refused(format!(
                "the API user may not make tickets in the queue “{}”: give them the rights SeeQueue and CreateTicket for it ({said})",
                self.queue
            ))),
            Sent::Refused(fault) => WriteOutcome::Refused(fault.into()),
            Sent::Unknown(error) => WriteOutcome::Unknown { error, repeat_after: None },
        }
    }
}

#[async_trait]
impl HelpDesk for RequestTracker {
    fn name(&self) -> &'static str {
        "request_tracker"
    }

    fn abilities(&self) -> Abilities {
        Abilities {
            note: Some(note::FORM),
            page_note: None,
            files: Files::WithNote,
            notes_are_public: self.section.note_visibility == NoteVisibility::Public,
            takes_internal_notes: true,
            settles_within: Duration::from_secs(u64::from(self.section.settle_seconds)),
            guards_repeats: false,
            records_time: self.section.update_time_worked,
            creates_tickets: self.section.enable_automatic_ticket_creation,
            takes_incidents: true,
            closes_tickets: false,
            follows_up: false,
        }
    }

    /// RT's numbers have 31 bits.
    fn is_ticket_name(&self, text: &str) -> bool {
        (1..=10).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit()) && !text.starts_with('0')
    }

    async fn ticket_for(&self, agent: &AgentReference, name: &str) -> Result<(Ticket, Agent), HelpDeskError> {
        let AgentReference::Device { name: agent, email, .. } = agent else {
            return Err(HelpDeskError::not_allowed(
                NotAllowed::PanelInExtension,
                "Request Tracker's tickets have the panel by way of the browser extension; pair this browser",
            ));
        };
        self.client.let_person_try();
        let ticket = self.ticket_json(name).await?;
        let agent = match email {
            Some(email) => people::agent(&self.client, email).await?,
            None => Agent { name: agent.clone(), email: None, locale: None, is_administrator: false },
        };
        let id = number(&ticket, name)?;
        let merged = self.merged_into(id).await?;
        Ok((Ticket { id: id.to_string(), closed: false, target: self.machine(&ticket), merged }, agent))
    }

    async fn is_open(&self, ticket: &str) -> Result<bool, HelpDeskError> {
        Ok(is_active(&self.ticket_json(ticket).await?))
    }

    async fn prepare<'a>(&'a self, write: &Write<'_>) -> Result<Prepared<'a>, HelpDeskError> {
        match write.item {
            Item::Note(new) => {
                let target = self.target(write.ticket).await?;
                let ready = note::ready(&self.client, &target, new, write.marker)?;
                let has_files = !new.attachments.is_empty();
                Ok(Box::new(NoteWrite { ready, target, is_public: new.is_public, has_files }))
            }
            Item::Time(entry) => {
                let target = self.target(write.ticket).await?;
                let ready = note::ready_time(&self.client, &target, entry, write.marker)?;
                Ok(Box::new(NoteWrite { ready, target, is_public: false, has_files: false }))
            }
            Item::Ticket(new) => {
                let rules = create::Rules {
                    queue: &self.section.queue,
                    defaults: self.section.ticket_default_data.as_deref(),
                    key_may_set: &self.section.external_key_may_set,
                };
                let body = create::body(new, write.marker, &rules)?;
                let queue = note::id_of(&body["Queue"]).unwrap_or_default();
                Ok(Box::new(TicketCreation { ready: self.client.ready("ticket".to_owned(), body, "the new ticket")?, queue }))
            }
            Item::File(_) => Err(no_ability("take files by themselves")),
            Item::FollowUp(_) => Err(no_ability("make follow-up tickets")),
        }
    }

    async fn find(&self, write: &Write<'_>) -> Result<Option<String>, HelpDeskError> {
        match write.item {
            Item::Note(_) | Item::Time(_) => {
                let ticket = number(&self.ticket_json(write.ticket).await?, write.ticket)?;
                note::find(&self.client, ticket, write.marker).await
            }
            Item::Ticket(_) => {
                let link = create::link(write.marker);
                // It stands between quotation marks.
                if link.contains(['\'', '\\']) {
                    return Ok(None);
                }
                let query = format!("RefersTo = '{link}'");
                let rows = self.client.newest("tickets", &query, "Subject", 20, "the session's ticket").await?;
                Ok(rows.last().and_then(|row| note::id_of(&row["id"])))
            }
            Item::File(_) => Err(no_ability("take files by themselves")),
            Item::FollowUp(_) => Err(no_ability("make follow-up tickets")),
        }
    }

    /// Whoever may not see comments finds none.
    async fn prove_absence(&self, write: &Write<'_>) -> Result<(), HelpDeskError> {
        let is_comment = match write.item {
            Item::Note(note) => !note.is_public,
            Item::Time(_) => true,
            Item::File(_) | Item::Ticket(_) | Item::FollowUp(_) => false,
        };
        if !is_comment {
            return Ok(());
        }
        let ticket = self.ticket_json(write.ticket).await?;
        match comments::on_ticket(&self.client, &ticket).await? {
            Comments::Shown | Comments::NoneOfOurs => Ok(()),
            Comments::Hidden | Comments::Unclear => Err(HelpDeskError::Refused(format!(
                "nobody knows whether the note stands on ticket {}: its write got no certain answer, and Request Tracker shows the API user no \
                 comments there. It is not written again, so that it does not stand twice. Give the API user the right ShowTicketComments for \
                 the ticket's queue, then `deskbridge events retry`; or look at the ticket",
                write.ticket
            ))),
        }
    }

    fn site(&self) -> Option<String> {
        Some(self.section.site())
    }

    async fn check(&self, _around: &Surroundings<'_>) -> Vec<Finding> {
        self.check_rights().await
    }

    async fn ticket_address(&self) -> Option<TicketAddress> {
        Some(TicketAddress { address: format!("{}Ticket/Display.html?id={{ticket}}", self.section.site()), remark: None })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::is_active;

    #[test]
    fn a_ticket_is_active_until_it_is_resolved() {
        let (never, once) = ("1970-01-01T00:00:00Z", "2026-11-21T20:00:00Z");
        for (status, resolved, expected) in [
            ("new", json!(never), true),
            ("open", json!(once), true),
            ("stalled", json!(null), true),
            ("resolved", json!(once), false),
            ("rejected", json!(once), false),
            ("waiting for parts", json!(never), true),
            ("waiting for parts", json!(""), true),
            ("scrapped", json!(once), false),
        ] {
            assert_eq!(is_active(&json!({ "Status": status, "Resolved": resolved })), expected, "{status} {resolved}");
        }
    }
}
