//! `[connection.jira]`: one Jira, Cloud or Data Center (argus-tickets.md 2.2).

use std::collections::BTreeMap;
use std::path::PathBuf;

use deskbridge_core::incident::Attribute;
use deskbridge_core::settings::{A_HOST_NAME, Role, Secret, Section, Within, has_bad_host, is_outside_address, plain_address};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::client::{Credentials, Kind};
use super::create;
use super::ticket_name;
use crate::zendesk::NoteVisibility;

/// A Jira. With `email` it is Jira Cloud, without it Jira Data Center.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct JiraSection {
    /// The address under which people open Jira, with the path it is installed under.
    pub url: String,
    /// Where its REST API answers, if that is not `url`: `https://api.atlassian.com/ex/jira/{cloudId}` for Cloud tokens with scopes.
    pub api_url: Option<String>,
    /// Cloud: an API token. Data Center: a personal access token.
    pub token: Option<Secret>,
    /// E-mail address of the account the token is of. Cloud only.
    pub email: Option<String>,
    /// Certificates (PEM) that may sign Jira's, besides those the machine trusts.
    pub ca_file: Option<PathBuf>,
    /// Key of the project that tickets are made in, or its id.
    pub project: String,
    /// Issue type of new tickets: its name or id.
    #[serde(default = "default_type", rename = "type")]
    pub issue_type: String,
    /// Fields every new ticket has: name or id, and value.
    #[serde(default)]
    pub custom_fields_set: BTreeMap<String, Value>,
    /// Fields that take their value from the incident: name or id, and an attribute like `level`, or `{tag = "host"}`.
    #[serde(default)]
    pub custom_fields_mapping: BTreeMap<String, Attribute>,
    /// Name of the transition that closes a ticket. Without it: the only one that leads to a status of the category Done.
    pub close_transition: Option<String>,
    /// Secret of the webhook in Jira that tells of closed tickets.
    pub webhook_secret: Option<Secret>,
    /// Who can read the session report: `internal` hides it from customers of Jira Service Management.
    #[serde(default)]
    pub note_visibility: NoteVisibility,
    /// Internal notes can be read by members of this project role alone.
    pub internal_role: Option<String>,
    /// Internal notes can be read by members of this group alone.
    pub internal_group: Option<String>,
    /// Reports that are too long for a comment go along whole as a file.
    #[serde(default = "yes")]
    pub attach_files: bool,
    /// Sessions are added to their ticket's work log.
    #[serde(default)]
    pub update_time_spent: bool,
    /// Seconds after which a write that got no answer cannot be done any more and is found by a search, which lags by up to five seconds.
    /// Until then it is looked for and not repeated.
    #[serde(default = "default_settle")]
    #[schemars(range(min = 5, max = 3_600))]
    pub settle_seconds: u32,
    /// A session that belongs to no ticket gets one when a representative joins.
    #[serde(default)]
    pub enable_automatic_ticket_creation: bool,
    /// A JSON object, as text: fields that a ticket has where neither the external key nor `custom_fields_set` and `custom_fields_mapping` say
    /// anything.
    pub ticket_default_data: Option<String>,
    /// What a session's external key may set besides what the matter is. Customers can write the key.
    #[serde(default)]
    pub external_key_may_set: Vec<String>,
}

/// Longest name of an issue type, a transition, a role or a group.
const MAX_NAME: usize = 255;

fn default_type() -> String {
    "Task".into()
}

fn default_settle() -> u32 {
    12
}

fn yes() -> bool {
    true
}

fn is_name(text: &str) -> bool {
    !text.trim().is_empty() && text.chars().count() <= MAX_NAME && !text.contains(char::is_control)
}

impl Section for JiraSection {
    const NAME: &'static str = "jira";
    const ROLE: Role = Role::HelpDesk;
    const SECRETS: &'static [&'static str] = &["token", "webhook_secret"];

    fn check(&self, faults: &mut Within<'_>) {
        let addresses = [("url", Some(&self.url)), ("api_url", self.api_url.as_ref())];
        for (key, address) in addresses.into_iter().filter_map(|(key, address)| Some((key, address?))) {
            if !is_outside_address(address) {
                let expected = "an address like https://example.atlassian.net/: https (http only for a loopback host), no user, no query";
                faults.add(key, address, if has_bad_host(address) { A_HOST_NAME } else { expected });
            } else if plain_address(address).to_ascii_lowercase().contains("/rest/") {
                faults.add(key, address, "Jira's own address, without /rest/api");
            }
        }
        if self.token.is_none() {
            faults.add("token", "", "an API token (Cloud, with email) or a personal access token (Data Center, without email)");
        }
        for (key, secret) in [("token", &self.token), ("webhook_secret", &self.webhook_secret)] {
            faults.readable_secret(key, secret.as_ref());
        }
        if let Some(email) = &self.email
            && (!email.contains('@') || email.contains(char::is_whitespace) || email.contains(':'))
        {
            faults.add("email", email, "the e-mail address of the account the API token is of");
        }
        if let Some(path) = &self.ca_file
            && deskbridge_http_client::certificates(path).is_none()
        {
            faults.add("ca_file", path.display(), "a readable file with certificates in PEM form");
        }
        if !ticket_name::is_project(&self.project) {
            faults.add("project", &self.project, "the key of a project, like NET, or its id");
        }
        let names = [
            ("type", Some(&self.issue_type)),
            ("close_transition", self.close_transition.as_ref()),
            ("internal_role", self.internal_role.as_ref()),
            ("internal_group", self.internal_group.as_ref()),
        ];
        for (key, name) in names {
            if let Some(name) = name.filter(|name| !is_name(name)) {
                faults.add(key, name, "a name of at most 255 characters");
            }
        }
        if self.internal_role.is_some() && self.internal_group.is_some() {
            faults.add("internal_group", "set", "either internal_role or internal_group, not both");
        }
        for (key, names) in [
            ("custom_fields_set", self.custom_fields_set.keys().collect::<Vec<_>>()),
            ("custom_fields_mapping", self.custom_fields_mapping.keys().collect()),
            ("external_key_may_set", self.external_key_may_set.iter().collect()),
        ] {
            if let Some(name) = names.into_iter().find(|name| !is_name(name) || create::is_own(name)) {
                faults.add(key, name, "names or ids of fields; project, type and summary are set by other settings");
            }
        }
        if let Some(text) = &self.ticket_default_data
            && let Err(expected) = create::read_defaults(text)
        {
            faults.add("ticket_default_data", text, &expected);
        }
    }

    fn identity(&self) -> Vec<String> {
        vec![plain_address(&self.url)]
    }
}

impl JiraSection {
    /// The address all of Jira's pages begin with, as browsers write it.
    pub fn site(&self) -> String {
        format!("{}/", plain_address(&self.url))
    }

    /// The address its REST API begins with, with a slash at the end.
    pub(super) fn api(&self) -> String {
        format!("{}/", plain_address(self.api_url.as_ref().unwrap_or(&self.url)))
    }

    /// Cloud or Data Center.
    pub(super) fn kind(&self) -> Kind {
        if self.email.is_some() { Kind::Cloud } else { Kind::DataCenter }
    }

    /// How Jira knows us. The error names the key at fault.
    pub(super) fn credentials(&self) -> Result<Credentials, String> {
        let token = self.token.as_ref().ok_or("jira.token: missing")?.resolve().map_err(|error| format!("jira.token: {error}"))?;
        Ok(match &self.email {
            Some(email) => Credentials::Basic(email.clone(), token),
            None => Credentials::Bearer(token),
        })
    }
}
