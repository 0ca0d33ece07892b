//! Links to the page on which a help desk's administrator sets up the customer's button.

use serde::{Deserialize, Serialize};

use super::signed_token::Signed;

/// What such a link says. That they still are an administrator is asked when it is opened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AdministratorInvitation {
    /// The connection's id.
    #[serde(rename = "c")]
    pub connection: String,
    /// Their user id in the help desk.
    #[serde(rename = "a")]
    pub agent: String,
    /// Unix seconds.
    #[serde(rename = "e")]
    pub expires_at: i64,
}

impl Signed for AdministratorInvitation {
    const PURPOSE: &'static str = "help center set-up";

    fn expires_at(&self) -> i64 {
        self.expires_at
    }
}
