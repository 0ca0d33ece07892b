//! `[connection.osticket]`: one osTicket help desk, whose staff pages the browser extension stands on.

use deskbridge_core::settings::{Role, Section, Within, is_outside_address, plain_address};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// An osTicket help desk.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OsTicketSection {
    /// The help desk's address, with the path it is installed under.
    pub url: String,
}

impl OsTicketSection {
    /// The address all of the help desk's pages begin with.
    pub fn site(&self) -> String {
        format!("{}/", self.url.trim_end_matches('/'))
    }
}

impl Section for OsTicketSection {
    const NAME: &'static str = "osticket";
    const ROLE: Role = Role::HelpDesk;
    const SECRETS: &'static [&'static str] = &[];

    fn check(&self, faults: &mut Within<'_>) {
        if !is_outside_address(&self.url) {
            let expected = "an address like https://help.example.com/support/: https (http only for a loopback host), no user, no query";
            faults.add("url", &self.url, expected);
        }
    }

    fn identity(&self) -> Vec<String> {
        vec![plain_address(&self.url)]
    }
}
