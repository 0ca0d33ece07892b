//! What can go wrong with an appliance, in the kinds a caller branches on.
//!
//! Every text says what the person should do. Nothing here may hold a secret: excerpts and the appliance's own
//! sentences pass through [`redact`] before they become part of an error.

use deskbridge_http_client::limiter::NoTurn;
use deskbridge_http_client::refusals::Resting;
use std::time::Duration;

use crate::EngineFault;

/// Longest piece of a foreign answer that may stand in an error.
const EXCERPT_CHARACTERS: usize = 300;
/// A run of this many token-like characters with a digit in it is taken for a key, a hash or a signed link.
const TOKEN_LIKE_CHARACTERS: usize = 20;
/// A number this long is taken for a session key: those have seven digits (beyondtrust.md B.4).
const KEY_LIKE_DIGITS: usize = 6;

/// Why a call to the appliance failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// No connection, no TLS, a broken connection or a 5xx answer. Try again later.
    #[error("the appliance {host} cannot be reached ({reason}); it is tried again. Check its host name, its certificate and the network")]
    NotReachable {
        /// Host as configured.
        host: String,
        /// What the transport said.
        reason: String,
    },
    /// Connected, but no complete answer in time. Try again later.
    #[error(
        "the appliance {host} did not answer within {seconds} s; it is tried again. If this stays, check the appliance's load and the network"
    )]
    Timeout {
        /// Host as configured.
        host: String,
        /// The limit that was reached.
        seconds: u64,
    },
    /// Credentials or permissions do not suffice: every further call would fail too, so hold the connection.
    #[error(
        "the appliance refuses these credentials ({reason}). Check the API account under Management > API Configuration: it must be enabled, \
         have full access to the Command API and access to support session reports, and its id and secret must be the ones configured here"
    )]
    Denied {
        /// What the appliance said.
        reason: String,
    },
    /// Credentials were refused a while ago, and are left alone.
    #[error("{what}")]
    Resting {
        /// How they were refused, and what ends the rest.
        what: String,
        /// When they are tried again.
        again_in: Duration,
    },
    /// The appliance says that its limit is used up (beyondtrust.md J.1).
    #[error("the appliance's limit of API calls is used up; calls go on in {} s. Check what else uses this API account", retry_after.as_secs())]
    RateLimited {
        /// How long to leave the appliance alone.
        retry_after: Duration,
    },
    /// Our own limiter has more waiting calls than it can let through in time.
    #[error("too many calls to this appliance are waiting; try again in {} s", retry_after.as_secs())]
    Busy {
        /// When a turn may be had.
        retry_after: Duration,
    },
    /// "No Support report information matching your chosen criteria is available." (beyondtrust.md D.5): nothing
    /// in a range, not ready yet for a single session.
    #[error("the appliance has no report for this yet; reports appear some seconds after the session ends")]
    NoReport,
    /// The appliance answered with an `<error>` document (beyondtrust.md B.4).
    #[error("the appliance refused the call: {message}")]
    Refused {
        /// Its text, redacted.
        message: String,
    },
    /// An answer that is no answer of an appliance, or not of the shape known.
    #[error(
        "the appliance's answer is not understood: {what}. Check that the host is the appliance and not a proxy or a portal. The answer began: {excerpt:?}"
    )]
    Unexpected {
        /// What was wrong.
        what: String,
        /// Its beginning, redacted and cut.
        excerpt: String,
    },
    /// More than is read of an answer. The same question is answered in the same way; a smaller one may not be.
    #[error("the appliance's answer is too large to be read (more than {limit}); look at it on the appliance")]
    TooLarge {
        /// The most that is read.
        limit: String,
    },
    /// The settings cannot make a client.
    #[error("appliance settings: {0}")]
    Settings(String),
    /// What the caller asked can never succeed.
    #[error("{0}")]
    Argument(String),
}

impl From<Error> for crate::Error {
    fn from(error: Error) -> Self {
        let what = error.to_string();
        let fault = match error {
            Error::NotReachable { .. } | Error::Timeout { .. } => EngineFault::Unreachable,
            Error::RateLimited { retry_after } | Error::Busy { retry_after } => EngineFault::Busy { retry_after },
            Error::Denied { reason } | Error::Settings(reason) => EngineFault::Denied { reason },
            Error::Resting { again_in, .. } => EngineFault::Resting { again_in },
            Error::NoReport => EngineFault::NoReport,
            Error::Refused { message } => EngineFault::Refused { message },
            Error::Unexpected { .. } => EngineFault::Unexpected,
            Error::TooLarge { .. } => EngineFault::TooLarge,
            Error::Argument(_) => EngineFault::Impossible,
        };
        Self::new(fault, what)
    }
}

impl From<NoTurn> for Error {
    fn from(no_turn: NoTurn) -> Self {
        match no_turn {
            NoTurn::Busy { retry_after } => Self::Busy { retry_after },
            NoTurn::Paused { retry_after } => Self::RateLimited { retry_after },
        }
    }
}

impl From<Resting> for Error {
    fn from(resting: Resting) -> Self {
        Self::Resting { what: resting.to_string(), again_in: resting.again_in }
    }
}

impl Error {
    /// Whether the same call may succeed later without anybody changing anything.
    pub fn is_passing(&self) -> bool {
        matches!(self, Self::NotReachable { .. } | Self::Timeout { .. } | Self::RateLimited { .. } | Self::Busy { .. } | Self::NoReport)
    }

    /// How long the appliance, or our limiter, asks to wait.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::RateLimited { retry_after } | Self::Busy { retry_after } => Some(*retry_after),
            _ => None,
        }
    }

    pub(super) fn unexpected(what: impl Into<String>, body: &[u8], secrets: &[&str]) -> Self {
        // Cut before decoding: the answer may be megabytes. Four bytes make at most one character.
        let beginning = String::from_utf8_lossy(&body[..body.len().min(EXCERPT_CHARACTERS * 8)]);
        Self::Unexpected { what: what.into(), excerpt: redact(&beginning, secrets) }
    }
}

/// Cuts a foreign text to 300 characters on one line, without `secrets` and without anything that looks like a token.
pub(super) fn redact(text: &str, secrets: &[&str]) -> String {
    let mut text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    for secret in secrets.iter().filter(|secret| !secret.is_empty()) {
        text = text.replace(secret, "[removed]");
    }
    let mut redacted = String::with_capacity(text.len());
    let mut run = String::new();
    for character in text.chars().map(super::xml::visible_character).chain(std::iter::once('\n')) {
        if character.is_ascii_alphanumeric() || matches!(character, '%' | '_' | '-' | '+' | '=' | '.' | '~') {
            run.push(character);
            continue;
        }
        let token_like = run.len() >= TOKEN_LIKE_CHARACTERS && run.bytes().any(|byte| byte.is_ascii_digit());
        let key_like = run.len() >= KEY_LIKE_DIGITS && run.bytes().all(|byte| byte.is_ascii_digit());
        if token_like || key_like {
            redacted.push_str("[removed]");
        } else {
            redacted.push_str(&run);
        }
        run.clear();
        redacted.push(character);
    }
    redacted.pop();
    match redacted.char_indices().nth(EXCERPT_CHARACTERS) {
        Some((end, _)) => format!("{}…", &redacted[..end]),
        None => redacted,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redaction_removes_secrets_and_token_like_runs() {
        let text = "password=pw1 is wrong,\n key 4831907, token 5f0c9d2c0b7e5a1f4c3e8b6a of http://www.beyondtrust.com/namespaces";
        assert_eq!(
            redact(text, &["pw1"]),
            "password=[removed] is wrong, key [removed], token [removed] of http://www.beyondtrust.com/namespaces"
        );
    }

    #[test]
    fn excerpts_are_cut_and_show_control_characters() {
        let error = Error::unexpected("a test", format!("\u{1}{}", "ä ".repeat(4000)).as_bytes(), &[]);
        let Error::Unexpected { excerpt, .. } = error else { panic!("{error:?}") };
        assert_eq!(excerpt.chars().count(), EXCERPT_CHARACTERS + 1);
        assert!(excerpt.starts_with("␁ä ä"), "{excerpt}");
    }
}
