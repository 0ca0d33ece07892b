//! `[connection.autotask]`: one Autotask tenant over its REST API. The names are the vendor guide's (autotask-extension.md a.17).

use deskbridge_core::settings::{A_HOST_NAME, Role, Secret, Section, Within, has_bad_host, is_outside_address, plain_address};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::defaults::{TicketDefaults, TimeDefaults};

/// An Autotask tenant.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AutotaskSection {
    /// The API user's key; it looks like an e-mail address.
    pub username: String,
    /// The API user's secret.
    pub secret: Secret,
    /// The tracking identifier of the integration.
    pub integration_code: Secret,
    /// Where to ask for the tenant's zone. A services URL of any age is understood (`https://webservices5.autotask.net/…`);
    /// without one any zone is asked.
    pub services_url: Option<String>,
    /// The type of the notes: a label of the tenant's note types, or a number. Default 1.
    #[serde(default = "default_note_type")]
    pub note_type: LabelOrId,
    /// Requesters read the notes.
    #[serde(default)]
    pub publish_notes_as_public: bool,
    /// The value of the tenant's list `publish` whose notes and files only agents read: its label or number. Default 2.
    pub publish_internal: Option<LabelOrId>,
    /// The value of that list whose notes and files customers read too. Default 1.
    pub publish_public: Option<LabelOrId>,
    /// Seconds after which a write that got no answer cannot be done any more: Autotask works at a request for five minutes at most
    /// (autotask-extension.md a.12). Until then it is looked for and not repeated.
    #[serde(default = "default_settle")]
    #[schemars(range(min = 5, max = 3_600))]
    pub settle_seconds: u32,
    /// Sessions become time entries.
    #[serde(default)]
    pub update_time_entry: bool,
    /// The guide's JSON object, as text.
    pub time_entry_default_data: Option<String>,
    /// Makes a representative's user name an e-mail address; `defaultDomain` in the time entry's data does too.
    pub default_domain: Option<String>,
    /// A session that belongs to no ticket gets one when a representative joins.
    #[serde(default)]
    pub enable_automatic_ticket_creation: bool,
    /// The guide's JSON object, as text.
    pub ticket_default_data: Option<String>,
    /// What a session's external key may set besides what any may: a new ticket's fields, by the names of `ticket_default_data`.
    #[serde(default = "default_external_key_may_set")]
    pub external_key_may_set: Vec<String>,
}

/// A label as people see it, or the number behind it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum LabelOrId {
    /// The number.
    Id(u32),
    /// The label, or a number as text.
    Label(String),
}

/// Fields named in `external_key_may_set` at most.
const MAX_NAMED_FIELDS: usize = 100;
/// Longest name of a field.
const MAX_FIELD_NAME: usize = 60;

/// A portal for several companies says so in the key, as the vendor's guide has it. It gives nobody more than the key gives anyway, which
/// may name any ticket of any company.
fn default_external_key_may_set() -> Vec<String> {
    vec!["accountName".to_owned()]
}

fn default_settle() -> u32 {
    300
}

fn default_note_type() -> LabelOrId {
    LabelOrId::Id(1)
}

impl Section for AutotaskSection {
    const NAME: &'static str = "autotask";
    const ROLE: Role = Role::HelpDesk;
    const SECRETS: &'static [&'static str] = &["secret", "integration_code"];

    fn check(&self, faults: &mut Within<'_>) {
        if self.username.trim().is_empty() || self.username.contains(char::is_whitespace) {
            faults.add("username", &self.username, "the API user's key (Username in Autotask)");
        }
        for (key, secret) in [("secret", &self.secret), ("integration_code", &self.integration_code)] {
            faults.readable_secret(key, Some(secret));
        }
        if let Some(url) = &self.services_url
            && !is_outside_address(url)
        {
            let expected = "an address like https://webservices5.autotask.net/ (http only for a loopback host)";
            faults.add("services_url", url, if has_bad_host(url) { A_HOST_NAME } else { expected });
        }
        if let Some(domain) = &self.default_domain
            && !is_domain(domain)
        {
            faults.add("default_domain", domain, "a mail domain like example.com");
        }
        if let Some(text) = &self.time_entry_default_data {
            match TimeDefaults::read(text) {
                Err(expected) => faults.add("time_entry_default_data", text, &expected),
                Ok(defaults) if self.update_time_entry => {
                    if let Some(missing) = defaults.missing() {
                        faults.add("time_entry_default_data", text, missing);
                    }
                }
                Ok(_) => {}
            }
        } else if self.update_time_entry {
            faults.add(
                "time_entry_default_data",
                "",
                "a JSON object with at least roleName and summaryNotes, since update_time_entry is on",
            );
        }
        if let Some(text) = &self.ticket_default_data
            && let Err(expected) = TicketDefaults::read(text)
        {
            faults.add("ticket_default_data", text, &expected);
        }
        if self.external_key_may_set.len() > MAX_NAMED_FIELDS {
            faults.add("external_key_may_set", "", &format!("at most {MAX_NAMED_FIELDS} names"));
        }
        if let Some(name) = self.external_key_may_set.iter().find(|name| !is_field_name(name)) {
            faults.add("external_key_may_set", name, "names of a ticket's fields, like accountName or contractID");
        }
    }

    /// The API user decides the tenant; what stands behind the @ is the tenant's.
    fn identity(&self) -> Vec<String> {
        let tenant = self.username.rsplit('@').next().unwrap_or_default().to_ascii_lowercase();
        [tenant].into_iter().chain(self.services_url.as_deref().map(plain_address)).collect()
    }
}

/// Not those that only Autotask or we may set.
fn is_field_name(text: &str) -> bool {
    (1..=MAX_FIELD_NAME).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
        && !["id", "externalID"].iter().any(|own| text.eq_ignore_ascii_case(own))
}

fn is_domain(text: &str) -> bool {
    text.contains('.')
        && text.len() <= 253
        && text.split('.').all(|label| !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-'))
}
