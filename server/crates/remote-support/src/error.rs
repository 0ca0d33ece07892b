//! Why an engine did not do what it was asked, in the kinds a caller branches on. Each engine words what people read.

use std::time::Duration;

/// Why a question to an engine failed. The text says what a person should do, and holds no secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub struct Error {
    /// What people read.
    pub what: String,
    /// The kind.
    pub fault: EngineFault,
}

/// Kinds of failure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EngineFault {
    /// No connection, a broken one, or no answer in time.
    Unreachable,
    /// It, or our own limit of calls to it, has no room now.
    Busy {
        /// How long to leave it alone.
        retry_after: Duration,
    },
    /// Credentials or rights do not suffice, or the settings cannot make a client: a person must act.
    Denied {
        /// What it said.
        reason: String,
    },
    /// Credentials were refused a while ago, and are left alone.
    Resting {
        /// When they are tried again.
        again_in: Duration,
    },
    /// There is no report, or not yet.
    NoReport,
    /// It refused in its own words.
    Refused {
        /// These.
        message: String,
    },
    /// An answer that is not understood.
    Unexpected,
    /// An answer that is too large to be read. The same question is answered in the same way; a smaller one may not be.
    TooLarge,
    /// What was asked can never succeed.
    Impossible,
}

impl Error {
    /// A failure of that kind.
    pub fn new(fault: EngineFault, what: impl Into<String>) -> Self {
        Self { what: what.into(), fault }
    }

    /// An engine was asked for what it cannot do: its abilities say so.
    pub(crate) fn not_able(what: &str) -> Self {
        Self::new(EngineFault::Impossible, format!("this remote-support system has no {what}"))
    }

    /// Whether another way to the same account may succeed: credentials are refused, or nothing is reached.
    pub fn is_of_the_way(&self) -> bool {
        matches!(
            self.fault,
            EngineFault::Unreachable
                | EngineFault::Busy { .. }
                | EngineFault::Denied { .. }
                | EngineFault::Resting { .. }
                | EngineFault::Unexpected
        )
    }

    /// Whether the same question may be answered later without anybody changing anything.
    pub fn is_passing(&self) -> bool {
        matches!(self.fault, EngineFault::Unreachable | EngineFault::Busy { .. } | EngineFault::NoReport)
    }
}
