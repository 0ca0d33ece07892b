//! osTicket. Its API reads nothing and takes no notes (osticket.md 0): the agent's own browser session puts the report on
//! the ticket, where they open the panel. A ticket is known by its number, which the appliance, agents and customers see.

mod section;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use deskbridge_core::finding::Finding;
use deskbridge_core::settings::ConnectionSettings;
use deskbridge_documents::{Format, Guards, Limit, Measure, NoteForm};

pub use self::section::OsTicketSection;
use crate::{Abilities, Agent, AgentReference, Files, HelpDesk, HelpDeskError, Prepared, Surroundings, Ticket, Write, section_of};

/// A help desk. There is nothing to ask it.
pub struct OsTicket {
    section: OsTicketSection,
}

/// An internal note: HTML. 65,535 bytes of a message are kept (osticket.md 2.7); less room for what the editor adds.
const NOTE: NoteForm = NoteForm { format: Format::Html(Guards::OSTICKET), limit: Limit { measure: Measure::Bytes, most: 60_000 } };
/// Longest number an administrator's format makes (osticket.md 0, fact 2; the column holds 20).
const MAX_NUMBER: usize = 20;

impl OsTicket {
    /// The help desk of a connection.
    pub(crate) fn build(settings: &ConnectionSettings) -> Result<Arc<dyn HelpDesk>, String> {
        Ok(Arc::new(Self { section: section_of(settings)? }))
    }
}

#[async_trait]
impl HelpDesk for OsTicket {
    fn name(&self) -> &'static str {
        "osticket"
    }

    fn abilities(&self) -> Abilities {
        Abilities {
            note: None,
            page_note: Some(NOTE),
            files: Files::Never,
            notes_are_public: false,
            takes_internal_notes: true,
            settles_within: Duration::ZERO,
            guards_repeats: false,
            records_time: false,
            creates_tickets: false,
            follows_up: false,
        }
    }

    fn is_ticket_name(&self, text: &str) -> bool {
        (1..=MAX_NUMBER).contains(&text.len())
            && text.bytes().any(|byte| byte.is_ascii_digit())
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte))
    }

    async fn ticket_for(&self, agent: &AgentReference, name: &str) -> Result<(Ticket, Agent), HelpDeskError> {
        if !self.is_ticket_name(name) {
            return Err(HelpDeskError::NoTicket("an osTicket ticket number has letters, digits, dots and dashes".into()));
        }
        match agent {
            AgentReference::Device { name: agent, email, .. } => {
                let agent = Agent { name: agent.clone(), email: email.clone(), locale: None };
                Ok((Ticket { id: name.to_owned(), ..Ticket::default() }, agent))
            }
            AgentReference::User(_) => Err(HelpDeskError::NotAllowed("osTicket tickets are opened with the browser extension".into())),
        }
    }

    async fn prepare<'a>(&'a self, _write: &Write<'_>) -> Result<Prepared<'a>, HelpDeskError> {
        Err(HelpDeskError::no_ability("take notes from a server"))
    }

    async fn find(&self, _write: &Write<'_>) -> Result<Option<String>, HelpDeskError> {
        Err(HelpDeskError::no_ability("be read"))
    }

    fn site(&self) -> Option<String> {
        Some(self.section.site())
    }

    async fn check(&self, _around: &Surroundings<'_>) -> Vec<Finding> {
        Vec::new()
    }
}
