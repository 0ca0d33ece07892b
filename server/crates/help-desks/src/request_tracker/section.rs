//! `[connection.request_tracker]`: one Request Tracker over its REST 2 (argus-tickets.md 2.1).

use std::path::PathBuf;

use deskbridge_core::settings::{A_HOST_NAME, Role, Secret, Section, Within, has_bad_host, is_outside_address, plain_address};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::client::Credentials;
use super::create::{self, field_names, is_field};
use crate::zendesk::NoteVisibility;

/// A Request Tracker, version 5 or later.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RequestTrackerSection {
    /// The address under which people open RT, with the path it is installed under.
    pub url: String,
    /// An authentication token of the API user.
    pub token: Option<Secret>,
    /// The API user's name, where there is no token.
    pub username: Option<String>,
    /// Their password.
    pub password: Option<Secret>,
    /// Certificates (PEM) that may sign RT's, besides those the machine trusts.
    pub ca_file: Option<PathBuf>,
    /// The queue that automatic tickets are made in: its name or number. `deskbridge check` looks at the API user's rights there.
    pub queue: String,
    /// Who can read the session report: a comment is for agents only, a reply goes to the requestors by mail, too.
    #[serde(default)]
    pub note_visibility: NoteVisibility,
    /// Sessions are added to their ticket's time worked, by a comment of their own.
    #[serde(default)]
    pub update_time_worked: bool,
    /// Seconds after which a write that got no answer cannot be done any more: as long as RT's web server works at a request. Until then
    /// it is looked for and not repeated.
    #[serde(default = "default_settle")]
    #[schemars(range(min = 5, max = 3_600))]
    pub settle_seconds: u32,
    /// A session that belongs to no ticket gets one when a representative joins.
    #[serde(default)]
    pub enable_automatic_ticket_creation: bool,
    /// A JSON object, as text: what an automatic ticket has where the external key says nothing.
    pub ticket_default_data: Option<String>,
    /// What a session's external key may set besides what the matter is. Customers can write the key.
    #[serde(default)]
    pub external_key_may_set: Vec<String>,
}

/// Longest name of a queue (RT's schema: 200 characters).
const MAX_QUEUE: usize = 200;

fn default_settle() -> u32 {
    120
}

impl Section for RequestTrackerSection {
    const NAME: &'static str = "request_tracker";
    const ROLE: Role = Role::HelpDesk;
    const SECRETS: &'static [&'static str] = &["token", "password"];

    fn check(&self, faults: &mut Within<'_>) {
        if !is_outside_address(&self.url) {
            let expected = "an address like https://rt.example.com/rt/: https (http only for a loopback host), no user, no query";
            faults.add("url", &self.url, if has_bad_host(&self.url) { A_HOST_NAME } else { expected });
        } else if self.site().to_ascii_lowercase().contains("/rest/") {
            faults.add("url", &self.url, "RT's own address, without REST/2.0");
        }
        match (&self.token, &self.username, &self.password) {
            (None, None, None) => faults.add("token", "", "an authentication token of the API user (or username and password)"),
            (Some(_), None, None) | (None, Some(_), Some(_)) => {}
            (Some(_), _, _) => faults.add("username", "set", "either token or username and password, not both"),
            (None, None, Some(_)) => faults.add("username", "", "what belongs to password"),
            (None, Some(_), None) => faults.add("password", "", "what belongs to username"),
        }
        for (key, secret) in [("token", &self.token), ("password", &self.password)] {
            faults.readable_secret(key, secret.as_ref());
        }
        if let Some(name) = &self.username
            && (name.trim().is_empty() || name.contains(':') || name.contains(char::is_control))
        {
            faults.add("username", name, "the API user's name in RT (no colon)");
        }
        if let Some(path) = &self.ca_file
            && deskbridge_http_client::certificates(path).is_none()
        {
            faults.add("ca_file", path.display(), "a readable file with certificates in PEM form");
        }
        let queue = self.queue.trim();
        if queue.is_empty() || queue.chars().count() > MAX_QUEUE || queue.contains(char::is_control) {
            faults.add("queue", &self.queue, "the name or number of a queue in RT");
        }
        if let Some(text) = &self.ticket_default_data
            && let Err(expected) = create::read_defaults(text)
        {
            faults.add("ticket_default_data", text, &expected);
        }
        if let Some(name) = self.external_key_may_set.iter().find(|name| !is_field(name)) {
            faults.add("external_key_may_set", name, &format!("names of {}", field_names()));
        }
    }

    fn identity(&self) -> Vec<String> {
        vec![plain_address(&self.url)]
    }
}

impl RequestTrackerSection {
    /// The address all of RT's pages begin with, as browsers write it.
    pub fn site(&self) -> String {
        format!("{}/", plain_address(&self.url))
    }

    /// How RT knows us. The error names the key at fault.
    pub(super) fn credentials(&self) -> Result<Credentials, String> {
        let resolved = |key: &str, secret: &Secret| secret.resolve().map_err(|error| format!("request_tracker.{key}: {error}"));
        match (&self.token, &self.username, &self.password) {
            (Some(token), ..) => Ok(Credentials::Token(resolved("token", token)?)),
            (None, Some(name), Some(password)) => Ok(Credentials::Basic(name.clone(), resolved("password", password)?)),
            _ => Err("request_tracker: token, or username and password".into()),
        }
    }
}
