//! Ticket systems: what they can do, and one file each.
//!
//! A connector does one request when told to; it never retries and never remembers (the inbox does).

pub mod zendesk;

use std::time::Duration;

use async_trait::async_trait;

use crate::reports::{Attachment, NoteLimit};

/// A ticket as far as the use cases look at it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ticket {
    /// Its id, in the system's own form.
    pub id: String,
    /// Takes no more notes.
    pub closed: bool,
    /// Assigned agent.
    pub assignee: Option<u64>,
    /// Requester.
    pub requester: Option<u64>,
    /// Group.
    pub group: Option<u64>,
    /// Organisation.
    pub organisation: Option<u64>,
    /// The machine, from the configured field.
    pub target: Option<String>,
}

/// An agent of the ticket system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agent {
    /// Name.
    pub name: String,
    /// E-mail address.
    pub email: Option<String>,
    /// Language, like `de` or `en-US`.
    pub locale: Option<String>,
}

/// A note to append.
#[derive(Clone, Debug)]
pub struct NewNote<'a> {
    /// HTML, within [`Abilities::note`].
    pub html: &'a str,
    /// The requester reads it.
    pub public: bool,
    /// Found again by this text.
    pub marker: &'a str,
    /// Files.
    pub attachments: &'a [Attachment],
}

/// What a system can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Abilities {
    /// What a note may be.
    pub note: NoteLimit,
}

/// Why a call failed, as far as the caller must know. The text says what to do; it holds no secret.
#[derive(Clone, Debug, thiserror::Error)]
pub enum TicketError {
    /// No answer, or one that says "later": try again.
    #[error("{what}")]
    Passing {
        /// What happened.
        what: String,
        /// The system's own wish.
        retry_after: Option<Duration>,
        /// A write may have happened all the same.
        uncertain: bool,
    },
    /// Wrong or insufficient credentials: nothing will work until a person acts.
    #[error("{0}")]
    Denied(String),
    /// There is no such ticket.
    #[error("{0}")]
    NoTicket(String),
    /// The agent may not work on it.
    #[error("{0}")]
    NotAllowed(String),
    /// The system refused for good.
    #[error("{0}")]
    Refused(String),
}

/// A ticket system.
#[async_trait]
pub trait TicketSystem: Send + Sync {
    /// What it can do.
    fn abilities(&self) -> Abilities;
    /// Whether `text` can be a ticket's id at all.
    fn is_ticket_id(&self, text: &str) -> bool;
    /// A ticket.
    async fn ticket(&self, id: &str) -> Result<Ticket, TicketError>;
    /// An agent who may work on the ticket, or [`TicketError::NotAllowed`].
    async fn agent_for(&self, agent_id: u64, ticket: &Ticket) -> Result<Agent, TicketError>;
    /// The id of a note that carries the marker.
    async fn find_marker(&self, ticket: &str, marker: &str) -> Result<Option<String>, TicketError>;
    /// Appends a note; the answer is its id.
    async fn append_note(&self, ticket: &str, note: &NewNote<'_>) -> Result<String, TicketError>;
}
