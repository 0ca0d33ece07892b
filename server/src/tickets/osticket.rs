//! osTicket. Its API reads nothing and takes no notes (osticket.md 0): the agent's own browser session puts the report on
//! the ticket, where he opens the panel. A ticket is known by its number, which the appliance, agents and customers see.

use std::time::Duration;

use async_trait::async_trait;

use super::{Abilities, Agent, AgentReference, Files, NewNote, Ticket, TicketError, TicketSystem};

/// A help desk. There is nothing to ask it.
pub struct OsTicket;

/// Longest number an administrator's format makes (osticket.md 0, fact 2; the column holds 20).
const MAX_NUMBER: usize = 20;

#[async_trait]
impl TicketSystem for OsTicket {
    fn abilities(&self) -> Abilities {
        Abilities {
            note: None,
            files: Files::WithNote,
            notes_are_public: false,
            expands_placeholders: false,
            settles_within: Duration::ZERO,
            records_time: false,
            creates_tickets: false,
        }
    }

    fn is_ticket_name(&self, text: &str) -> bool {
        (1..=MAX_NUMBER).contains(&text.len())
            && text.bytes().any(|byte| byte.is_ascii_digit())
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte))
    }

    async fn ticket(&self, name: &str) -> Result<Ticket, TicketError> {
        if self.is_ticket_name(name) {
            Ok(Ticket { id: name.to_owned(), ..Ticket::default() })
        } else {
            Err(TicketError::NoTicket("an osTicket ticket number has letters, digits, dots and dashes".into()))
        }
    }

    async fn agent_for(&self, agent: &AgentReference, _ticket: &Ticket) -> Result<Agent, TicketError> {
        match agent {
            AgentReference::Device { name, email, .. } => Ok(Agent { name: name.clone(), email: email.clone(), locale: None }),
            AgentReference::User(_) => Err(TicketError::NotAllowed("osTicket tickets are opened with the browser extension".into())),
        }
    }

    async fn find_note(&self, _ticket: &str, _marker: &str) -> Result<Option<String>, TicketError> {
        Err(TicketError::no_ability("be read"))
    }

    async fn append_note(&self, _ticket: &str, _note: &NewNote<'_>) -> Result<String, TicketError> {
        Err(TicketError::no_ability("take notes from a server"))
    }
}
