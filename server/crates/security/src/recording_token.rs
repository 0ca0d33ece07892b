//! Links to recordings: of which session, until when.
//!
//! Whoever holds such a link can read that recording until it ends. That they may is found out before one is made.

use serde::{Deserialize, Serialize};

use super::signed_token::Signed;

/// What a link to a recording says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordingPass {
    /// The connection's id.
    #[serde(rename = "c")]
    pub connection: String,
    /// The session's id, in lower case.
    #[serde(rename = "s")]
    pub lsid: String,
    /// Unix seconds.
    #[serde(rename = "e")]
    pub expires_at: i64,
}

impl Signed for RecordingPass {
    const PURPOSE: &'static str = "recording link";

    fn expires_at(&self) -> i64 {
        self.expires_at
    }
}
