//! What the product does, one file for each thing. Here connections, the store and the outside systems meet; nothing here knows HTTP
//! requests or pages.

pub mod allowed_actions;
pub mod api_tokens;
pub mod apply_settings;
pub mod chat_link;
pub mod connections;
mod create_ticket;
pub mod customer_chat;
pub mod customize_help_center;
pub mod event_handler;
mod help_request;
mod import_session;
mod import_survey;
pub mod incidents;
pub mod jump;
pub mod listen;
pub mod live_sessions;
pub mod machines;
mod note;
pub mod ownership;
pub mod record_in_page;
mod record_time;
pub mod recording;
pub mod retention;
pub mod services;
pub mod session_key;
pub mod sweep;
pub mod ticket_access;
pub mod ticket_fields;

use std::time::Duration;

use deskbridge_help_desks::HelpDeskError;
use deskbridge_remote_support::Error as EngineError;
use deskbridge_shared::api::JumpMethod;
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
    /// The engine has no complete report yet; reports lag the sessions (beyondtrust.md, fact 7).
    #[error("the report of this session is not there yet; try again in a moment")]
    NotReady,
    /// The ticket has no such link to a machine.
    #[error("this ticket has no such link")]
    NoSuchLink,
    /// Another browser is adding a report to this ticket.
    #[error("a report is being added to this ticket in another browser, by {agent}")]
    NoteUnderWay {
        /// The agent who does.
        agent: String,
        /// How long that may take yet.
        wait: Duration,
    },
    /// Not allowed by the settings.
    #[error("{what}")]
    NotOffered {
        /// The kind of reason.
        why: NotOffered,
        /// What is missing, and what to do.
        what: String,
    },
    /// A value that cannot be used.
    #[error("{field}: {problem}")]
    Invalid {
        /// The field of the request.
        field: String,
        /// The kind of fault.
        fault: ValueFault,
        /// What is expected.
        problem: String,
    },
}

/// Why something is not offered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotOffered {
    /// The Jump method is not allowed.
    Method(JumpMethod),
    /// There are no issues, so no chat links.
    Chat,
    /// Keys go to the agent's own queue, and no e-mail address is known to find it by.
    AgentWithoutEmail,
    /// The connection has no remote-support system.
    NoRemoteSupport,
    /// The remote-support system does not list its machines.
    Machines,
    /// Reports reach the help desk without its page.
    RecordNotNeeded,
    /// The report's template failed.
    ReportNotWritten,
}

/// What is wrong with a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValueFault {
    /// It is none of those the field can have.
    Unknown,
    /// It must be given.
    Missing,
    /// It has more than so many characters.
    TooLong(usize),
    /// The Jump method has no such option.
    NotTaken(JumpMethod),
    /// No such Jumpoint is offered.
    Jumpoint,
    /// No such issue is offered.
    Issue,
    /// The session is another ticket's.
    SessionOfAnotherTicket,
    /// The session is not known as one of this ticket that has ended.
    SessionNotEnded,
    /// The session has no recording that can be given out.
    SessionNotRecorded,
}

impl SupportError {
    fn invalid(field: &str, fault: ValueFault, problem: impl Into<String>) -> Self {
        Self::Invalid { field: field.to_owned(), fault, problem: problem.into() }
    }

    fn not_offered(why: NotOffered, what: impl Into<String>) -> Self {
        Self::NotOffered { why, what: what.into() }
    }

    fn no_engine() -> Self {
        Self::not_offered(NotOffered::NoRemoteSupport, "this connection has no remote-support system; it only makes tickets")
    }
}

#[cfg(test)]
mod machine_tests;
#[cfg(test)]
mod recording_tests;
#[cfg(test)]
mod settings_tests;
#[cfg(test)]
mod testing;
