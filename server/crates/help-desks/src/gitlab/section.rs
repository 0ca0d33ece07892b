//! `[connection.gitlab]`: the issues of one GitLab project (argus-tickets.md 2.4).

use std::path::PathBuf;

use deskbridge_core::incident::Attribute;
use deskbridge_core::settings::{A_HOST_NAME, Role, Secret, Section, Within, has_bad_host, is_outside_address, plain_address};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::issue::{self, field_names, is_field};
use crate::zendesk::NoteVisibility;

/// A project on GitLab.com or on a GitLab of one's own, version 15 or later.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GitLabSection {
    /// The address under which people open GitLab, with the path it is installed under.
    pub url: String,
    /// A personal, project or group access token with the scope `api`.
    pub token: Secret,
    /// The project: its full path such as `group/sub/project`, or its number.
    pub project: String,
    /// Certificates (PEM) that may sign GitLab's, besides those the machine trusts.
    pub ca_file: Option<PathBuf>,
    /// Labels that every new issue gets. Those that the project does not have are left out.
    #[serde(default)]
    pub labels_set: Vec<String>,
    /// Labels that an incident's issue gets from the incident: its members, or `{ tag = "key" }`.
    #[serde(default)]
    pub labels_mapping: Vec<Attribute>,
    /// Who can read the session report: an internal note is for members with at least the role Reporter.
    #[serde(default)]
    pub note_visibility: NoteVisibility,
    /// Sessions are added to their issue's time spent.
    #[serde(default)]
    pub update_time_spent: bool,
    /// Seconds after which a write that got no answer cannot be done any more. Until then it is looked for and not repeated.
    #[serde(default = "default_settle")]
    #[schemars(range(min = 5, max = 3_600))]
    pub settle_seconds: u32,
    /// The secret token of the project's webhook, which tells of closed issues. At least 16 characters.
    pub webhook_secret: Option<Secret>,
    /// A session that belongs to no issue gets one when a representative joins.
    #[serde(default)]
    pub enable_automatic_ticket_creation: bool,
    /// A JSON object, as text: what a new issue has where nothing else is said.
    pub ticket_default_data: Option<String>,
    /// What a session's external key may set besides what the matter is. Customers can write the key.
    #[serde(default)]
    pub external_key_may_set: Vec<String>,
}

/// GitLab's own limit for a label (255 characters).
const MAX_LABEL: usize = 255;
/// Shorter secrets could be guessed.
const SHORTEST_WEBHOOK_SECRET: usize = 16;

fn default_settle() -> u32 {
    12
}

impl Section for GitLabSection {
    const NAME: &'static str = "gitlab";
    const ROLE: Role = Role::HelpDesk;
    const SECRETS: &'static [&'static str] = &["token", "webhook_secret"];

    fn check(&self, faults: &mut Within<'_>) {
        if !is_outside_address(&self.url) {
            let expected = "an address like https://gitlab.example.com: https (http only for a loopback host), no user, no query";
            faults.add("url", &self.url, if has_bad_host(&self.url) { A_HOST_NAME } else { expected });
        } else if self.site().to_ascii_lowercase().contains("/api/") {
            faults.add("url", &self.url, "GitLab's own address, without api/v4");
        }
        faults.readable_secret("token", Some(&self.token));
        if !is_project(self.project()) {
            faults.add("project", &self.project, "the project's full path like group/sub/project, or its number");
        }
        if let Some(path) = &self.ca_file
            && deskbridge_http_client::certificates(path).is_none()
        {
            faults.add("ca_file", path.display(), "a readable file with certificates in PEM form");
        }
        let is_label = |label: &&String| !label.trim().is_empty() && label.chars().count() <= MAX_LABEL && !label.contains(',');
        if let Some(label) = self.labels_set.iter().find(|label| !is_label(label)) {
            faults.add("labels_set", label, "labels of 1 to 255 characters without a comma");
        }
        faults.readable_secret("webhook_secret", self.webhook_secret.as_ref());
        if let Some(Ok(secret)) = self.webhook_secret.as_ref().filter(|secret| !secret.is_stored_mark()).map(Secret::resolve)
            && secrecy::ExposeSecret::expose_secret(&secret).chars().count() < SHORTEST_WEBHOOK_SECRET
        {
            faults.add("webhook_secret", "set", "at least 16 characters");
        }
        if let Some(text) = &self.ticket_default_data
            && let Err(expected) = issue::read_defaults(text)
        {
            faults.add("ticket_default_data", text, &expected);
        }
        if let Some(name) = self.external_key_may_set.iter().find(|name| !is_field(name)) {
            faults.add("external_key_may_set", name, &format!("names of {}", field_names()));
        }
    }

    fn identity(&self) -> Vec<String> {
        vec![plain_address(&self.url), self.project().to_ascii_lowercase()]
    }
}

/// `group/project` with as many groups as there are, or a number.
fn is_project(text: &str) -> bool {
    let is_part = |part: &str| {
        !part.is_empty()
            && !matches!(part, "." | "..")
            && part.chars().all(|character| character.is_alphanumeric() || "-_.+".contains(character))
    };
    text.bytes().all(|byte| byte.is_ascii_digit()) && !text.is_empty() || (text.contains('/') && text.split('/').all(is_part))
}

impl GitLabSection {
    /// The address all of GitLab's pages begin with, as browsers write it.
    pub fn site(&self) -> String {
        format!("{}/", plain_address(&self.url))
    }

    /// The project's path or number.
    pub(super) fn project(&self) -> &str {
        self.project.trim().trim_matches('/')
    }

    /// The project's path, if it is not named by its number.
    pub(super) fn project_path(&self) -> Option<&str> {
        let project = self.project();
        project.contains('/').then_some(project)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_project_is_a_path_or_a_number() {
        for (text, expected) in [
            ("group/project", true),
            ("group/sub/project", true),
            ("Größe/netz.v2_a+b-c", true),
            ("42", true),
            ("project", false),
            ("", false),
            ("group//project", false),
            ("group/..", false),
            ("https://gitlab.example.com/group/project", false),
            ("group/project#1", false),
        ] {
            assert_eq!(is_project(text), expected, "{text}");
        }
    }
}
