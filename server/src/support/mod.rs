//! The use cases, one file each. They know connections, the store and each other; they know neither HTTP nor pages.

pub mod chat_link;
pub mod create_ticket;
mod deliver;
pub mod import_session;
pub mod import_survey;
pub mod jump;
pub mod live_sessions;
pub mod offer;
pub mod reconcile;
pub mod record_in_page;
mod record_time;
pub mod session_key;
pub mod ticket_access;

use crate::appliance;
use crate::store::StoreError;
use crate::tickets::TicketError;

/// Why a use case did not do what it was asked. Each kind is told to the caller in its own way (doors/problem.rs).
#[derive(Debug, thiserror::Error)]
pub enum SupportError {
    /// The ticket system.
    #[error(transparent)]
    Tickets(#[from] TicketError),
    /// The appliance.
    #[error(transparent)]
    Appliance(#[from] appliance::Error),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The appliance has no complete report yet; reports lag the sessions (beyondtrust.md, fact 7).
    #[error("the report of this session is not there yet; try again in a moment")]
    NotReady,
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
}
