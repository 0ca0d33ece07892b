//! What the product does, one file for each thing. Here connections, the store and the outside systems meet; nothing here knows HTTP
//! requests or pages.

pub mod allowed_actions;
pub mod apply_settings;
pub mod chat_link;
pub mod connections;
mod create_ticket;
pub mod event_handler;
mod import_session;
mod import_survey;
pub mod jump;
pub mod live_sessions;
mod note;
pub mod ownership;
pub mod record_in_page;
mod record_time;
pub mod retention;
pub mod services;
pub mod session_key;
pub mod sweep;
pub mod ticket_access;

use std::time::Duration;

use deskbridge_help_desks::HelpDeskError;
use deskbridge_remote_support::Error as EngineError;
use deskbridge_store::StoreError;

pub use services::Services;

/// Why a use case did not do what it was asked. Each kind is told to the caller in its own way.
#[derive(Debug, thiserror::Error)]
pub enum SupportError {
    /// The help desk.
    #[error(transparent)]
    HelpDesk(#[from] HelpDeskError),
    /// The remote-support system.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The appliance has no complete report yet; reports lag the sessions (beyondtrust.md, fact 7).
    #[error("the report of this session is not there yet; try again in a moment")]
    NotReady,
    /// Another browser is adding a report to this ticket.
    #[error("a report is being added to this ticket in another browser, by {agent}")]
    NoteUnderWay {
        /// The agent who does.
        agent: String,
        /// How long that may take yet.
        wait: Duration,
    },
    /// Not allowed by the settings.
    #[error("{0}")]
    NotOffered(String),
    /// A value that cannot be used.
    #[error("{field}: {problem}")]
    Invalid {
        /// The field of the request.
        field: String,
        /// What is expected.
        problem: String,
    },
}

impl SupportError {
    fn invalid(field: &str, problem: impl Into<String>) -> Self {
        Self::Invalid { field: field.to_owned(), problem: problem.into() }
    }

    fn no_engine() -> Self {
        Self::NotOffered("this connection has no remote-support system; it only makes tickets".into())
    }
}

#[cfg(test)]
mod settings_tests;
