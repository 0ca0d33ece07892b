//! Why an event could not be brought to its end now.

use std::time::Duration;

use deskbridge_help_desks::HelpDeskError;
use deskbridge_remote_support::{EngineFault, Error as EngineError};
use deskbridge_store::StoreError;

/// Why an event could not be brought to its end now. `retry` turns each kind into a time.
#[derive(Debug, thiserror::Error)]
pub enum WorkError {
    /// The engine has no complete report yet; reports lag the events (beyondtrust.md, fact 7).
    #[error("there is no complete report of the session yet")]
    NotReady,
    /// An earlier session of the same ticket comes first, or another event of this session is worked at.
    #[error("an earlier session of this ticket, or another event of this session, comes first")]
    NotItsTurn,
    /// An earlier write may still be done; until then it is only looked for.
    #[error("an earlier write that got no certain answer may still be done; it is looked for until it cannot be any more")]
    Unsettled {
        /// When its request left, Unix ms.
        sent_at: i64,
        /// Unix ms.
        until: i64,
    },
    /// A passing fault of one of the systems.
    #[error("{what}")]
    Passing {
        /// What happened.
        what: String,
        /// When the system wants to be asked again.
        retry_after: Option<Duration>,
    },
    /// Credentials or permissions: the connection must wait for a person.
    #[error("{0}")]
    Denied(String),
    /// Credentials were refused a while ago, and are left alone.
    #[error("{what}")]
    Resting {
        /// How they were refused.
        what: String,
        /// When they are tried again.
        again_in: Duration,
    },
    /// The ticket is closed and takes no notes any more.
    #[error("{what}")]
    Closed {
        /// It.
        ticket: String,
        /// What was said, and what to do.
        what: String,
        /// The ticket it was merged into.
        merged_into: Option<String>,
    },
    /// The help desk did not take the file; the note can stand without it.
    #[error("{0}")]
    FileRefused(String),
    /// It can not succeed.
    #[error("{0}")]
    Permanent(String),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl WorkError {
    /// The same of a remote-support system. Work at an event goes through [`crate::heard::Heard`] instead.
    pub fn of_engine(EngineError { what, fault }: EngineError) -> Self {
        match fault {
            EngineFault::NoReport => Self::NotReady,
            EngineFault::Denied { .. } => Self::Denied(what),
            EngineFault::Resting { again_in } => Self::Resting { what, again_in },
            EngineFault::Busy { retry_after } => Self::Passing { what, retry_after: Some(retry_after) },
            EngineFault::TooLarge => Self::Permanent(what),
            // A refusal in words may pass (a site that restarts says many things); the retry limit ends it.
            _ => Self::Passing { what, retry_after: None },
        }
    }

    /// The same of a help desk.
    pub(crate) fn of_help_desk(error: HelpDeskError) -> Self {
        match error {
            HelpDeskError::Passing { what, retry_after } => Self::Passing { what, retry_after },
            HelpDeskError::Denied(what) => Self::Denied(what),
            HelpDeskError::Resting { what, again_in } => Self::Resting { what, again_in },
            HelpDeskError::Closed { ticket, what, merged_into } => Self::Closed { ticket, what, merged_into },
            HelpDeskError::FileRefused(what) => Self::FileRefused(what),
            HelpDeskError::NoTicket(what) | HelpDeskError::NotAllowed { what, .. } | HelpDeskError::Refused(what) => Self::Permanent(what),
        }
    }
}
