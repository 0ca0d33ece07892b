//! Ticket systems: what they can do, and one file each.
//!
//! A connector does one request when told to; it never retries and never remembers (the inbox does). What a system cannot
//! do, its [`Abilities`] say; the use cases ask before they act.

pub mod autotask;
pub mod osticket;
pub mod zendesk;

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::reports::{Attachment, NoteLimit};

/// A ticket as far as the use cases look at it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
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
    /// The machine: from the configured field, or the ticket's configuration item.
    pub target: Option<String>,
}

/// Who asks for something on a ticket.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum AgentReference {
    /// A user of the ticket system, by the system's own signed word.
    User(u64),
    /// A paired browser, and the agent an administrator paired it for.
    Device {
        /// The device.
        id: Uuid,
        /// The agent's name, else the device's.
        name: String,
        /// The agent's e-mail address.
        email: Option<String>,
    },
}

impl fmt::Display for AgentReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(id) => write!(f, "user {id}"),
            Self::Device { id, .. } => write!(f, "device {id}"),
        }
    }
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
    /// One line, for systems whose notes have a title.
    pub title: &'a str,
    /// In the form and within the size of [`Abilities::note`].
    pub body: &'a str,
    /// Found again by this text.
    pub marker: &'a str,
    /// Files, where [`Abilities::files`] says they go with the note.
    pub attachments: &'a [Attachment],
}

/// Work to record on a ticket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimeEntry {
    /// Start, Unix ms.
    pub started_at: i64,
    /// End, Unix ms.
    pub ended_at: i64,
    /// User name of the session's primary representative.
    pub representative: String,
    /// Found again by this text.
    pub marker: String,
}

/// A ticket to create.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewTicket {
    /// The system's own field names, and the plain `title` (or `subject`), `description`, `name`, `email` of every system.
    pub fields: Map<String, Value>,
    /// Said where `fields` name no title.
    pub title: String,
    /// Said where `fields` name no description.
    pub description: String,
    /// Found again by this text.
    pub marker: String,
}

/// How files reach a ticket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Files {
    /// With the note.
    WithNote,
    /// Each by itself.
    ByThemselves,
}

/// What a system can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Abilities {
    /// What a note may be; none: the system takes no notes from a server.
    pub note: Option<NoteLimit>,
    /// How files reach a ticket.
    pub files: Files,
    /// The requester reads the notes.
    pub notes_are_public: bool,
    /// What is written goes through the system's own placeholders.
    pub expands_placeholders: bool,
    /// How long after its begin a write that got no answer may still be done.
    pub settles_within: Duration,
    /// Sessions are recorded as time entries.
    pub records_time: bool,
    /// A session that belongs to no ticket gets one.
    pub creates_tickets: bool,
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
    },
    /// A write was sent, and no answer came in our time: it may still be done.
    #[error("{0}")]
    Unanswered(String),
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

impl TicketError {
    fn passing(what: impl Into<String>) -> Self {
        Self::Passing { what: what.into(), retry_after: None }
    }

    fn no_ability(what: &str) -> Self {
        Self::Refused(format!("this ticket system cannot {what}"))
    }
}

/// A ticket system.
#[async_trait]
pub trait TicketSystem: Send + Sync {
    /// What it can do.
    fn abilities(&self) -> Abilities;
    /// Whether `text` can name a ticket at all: an id, or another name [`TicketSystem::resolve`] knows.
    fn is_ticket_name(&self, text: &str) -> bool;
    /// The id of the ticket of that name. Systems whose only names are ids need not be asked.
    async fn resolve(&self, name: &str) -> Result<String, TicketError> {
        Ok(name.to_owned())
    }
    /// A ticket, by id or another name.
    async fn ticket(&self, name: &str) -> Result<Ticket, TicketError>;
    /// An agent who may work on the ticket, or [`TicketError::NotAllowed`].
    async fn agent_for(&self, agent: &AgentReference, ticket: &Ticket) -> Result<Agent, TicketError>;
    /// The id of a note that carries the marker.
    async fn find_note(&self, ticket: &str, marker: &str) -> Result<Option<String>, TicketError>;
    /// Appends a note; the answer is its id.
    async fn append_note(&self, ticket: &str, note: &NewNote<'_>) -> Result<String, TicketError>;
    /// The id of a file that carries the marker.
    async fn find_file(&self, _ticket: &str, _marker: &str) -> Result<Option<String>, TicketError> {
        Err(TicketError::no_ability("take files by themselves"))
    }
    /// Attaches a file; the answer is its id.
    async fn attach(&self, _ticket: &str, _file: &Attachment, _marker: &str) -> Result<String, TicketError> {
        Err(TicketError::no_ability("take files by themselves"))
    }
    /// The id of a time entry that carries the marker.
    async fn find_time(&self, _ticket: &str, _entry: &TimeEntry) -> Result<Option<String>, TicketError> {
        Err(TicketError::no_ability("record time"))
    }
    /// Records time; the answer is the entry's id.
    async fn record_time(&self, _ticket: &str, _entry: &TimeEntry) -> Result<String, TicketError> {
        Err(TicketError::no_ability("record time"))
    }
    /// The id of a ticket that carries the marker.
    async fn find_ticket(&self, _marker: &str) -> Result<Option<String>, TicketError> {
        Err(TicketError::no_ability("create tickets"))
    }
    /// Creates a ticket; the answer is its id.
    async fn create_ticket(&self, _ticket: &NewTicket) -> Result<String, TicketError> {
        Err(TicketError::no_ability("create tickets"))
    }
}
