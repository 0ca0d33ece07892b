//! osTicket. Its API reads nothing and takes no notes (osticket.md 0): the agent's own browser session puts the report on
//! the ticket, where they open the panel. A ticket is known by its number, which the appliance, agents and customers see.

mod section;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use deskbridge_core::finding::Finding;
use deskbridge_core::settings::ConnectionSettings;
use deskbridge_core::text::shown;
use deskbridge_documents::{Format, Guards, Limit, Measure, NoteForm};
use deskbridge_http_client as http_client;
use reqwest::header;

pub use self::section::OsTicketSection;
use crate::{
    Abilities, Agent, AgentReference, Files, HelpDesk, HelpDeskError, NotAllowed, Prepared, Surroundings, Ticket, Write, section_of,
};

/// A help desk. There is nothing to ask it.
pub struct OsTicket {
    section: OsTicketSection,
}

/// An internal note: HTML. 65,535 bytes of a message are kept (osticket.md 2.7); less room for what the editor adds.
const NOTE: NoteForm = NoteForm { format: Format::Html(Guards::OSTICKET), limit: Limit { measure: Measure::Bytes, most: 60_000 } };
/// As much of a page as is read, in bytes.
const MAX_PAGE: usize = 256 * 1024;
/// Longest address shown, in characters.
const MAX_SHOWN: usize = 200;
/// Stands in the form agents sign in with, and in no other page.
const SIGN_IN: &str = "value=\"scplogin\"";
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
            takes_incidents: false,
            closes_tickets: false,
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
                let agent = Agent { name: agent.clone(), email: email.clone(), locale: None, is_administrator: false };
                Ok((Ticket { id: name.to_owned(), ..Ticket::default() }, agent))
            }
            AgentReference::User(_) => {
                Err(HelpDeskError::not_allowed(NotAllowed::PanelInExtension, "osTicket tickets are opened with the browser extension"))
            }
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
        vec![self.check_site().await]
    }
}

impl OsTicket {
    /// Whether agents' sign-in page answers where the settings say. Nobody signs in.
    async fn check_site(&self) -> Finding {
        const WHAT: &str = "osTicket's staff pages";
        let address = format!("{}scp/login.php", self.section.site());
        let bad = |found: String| {
            let advice = "osticket.url must be the address under which agents open osTicket, without scp/";
            Finding::bad(WHAT, format!("{address} {found}: {advice}"))
        };
        let asked = async { http_client::shared()?.get(&address).send().await };
        let response = match asked.await {
            Ok(response) => response,
            Err(error) => {
                let why = http_client::describe(&error);
                let meaning = "agents' browsers must reach it; where this server need not, this is no fault";
                return Finding::note(WHAT, format!("{address} cannot be reached from here ({why}): {meaning}"));
            }
        };
        let status = response.status();
        if let Some(to) = response.headers().get(header::LOCATION).filter(|_| status.is_redirection()) {
            return bad(format!("leads to {}", shown(&String::from_utf8_lossy(to.as_bytes()), MAX_SHOWN)));
        }
        let page = http_client::read_beginning(response, MAX_PAGE).await.map(|page| page.body).unwrap_or_default();
        // The sign-in form, in any language (`include/staff/login.tpl.php`).
        if status.is_success() && String::from_utf8_lossy(&page).contains(SIGN_IN) {
            return Finding::good(WHAT, self.section.site());
        }
        bad(format!("answers HTTP {} without osTicket's sign-in form", status.as_u16()))
    }
}
