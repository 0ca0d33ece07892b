//! `[connection.osticket]`: one osTicket help desk, whose staff pages the browser extension stands on.

use deskbridge_core::settings::{A_HOST_NAME, Role, Section, Within, has_bad_host, is_outside_address, plain_address};
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
    /// The address all of the help desk's pages begin with, as browsers write it: a name with letters of its own in ASCII.
    pub fn site(&self) -> String {
        format!("{}/", plain_address(&self.url))
    }
}

impl Section for OsTicketSection {
    const NAME: &'static str = "osticket";
    const ROLE: Role = Role::HelpDesk;
    const SECRETS: &'static [&'static str] = &[];

    fn check(&self, faults: &mut Within<'_>) {
        if !is_outside_address(&self.url) {
            let expected = "an address like https://help.example.com/support/: https (http only for a loopback host), no user, no query";
            faults.add("url", &self.url, if has_bad_host(&self.url) { A_HOST_NAME } else { expected });
        }
    }

    fn identity(&self) -> Vec<String> {
        vec![plain_address(&self.url)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_site_is_written_as_browsers_write_it() {
        let site = |url: &str| OsTicketSection { url: url.to_owned() }.site();
        assert_eq!(site("https://help.example.com/support"), "https://help.example.com/support/");
        assert_eq!(site("https://hilfe.müller.de/Support/"), "https://hilfe.xn--mller-kva.de/Support/");
        assert_eq!(site("https://HELP.example.com:443"), "https://help.example.com/");
    }
}
