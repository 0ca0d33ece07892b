//! `[connection.github]`: the issues of one repository, on github.com or an Enterprise Server (argus-tickets.md 1.1, 2.3).

use std::path::PathBuf;

use deskbridge_core::incident::Attribute;
use deskbridge_core::settings::{A_HOST_NAME, Role, Secret, Section, Within, has_bad_host, is_outside_address, plain_address};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use url::Url;

use super::issue::{self, field_names, is_field};

/// A repository on GitHub whose issues are the tickets.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GitHubSection {
    /// GitHub's address: https://github.com/, or an Enterprise Server's as people open it.
    #[serde(default = "default_url")]
    pub url: String,
    /// A token that may read and write the repository's issues.
    pub token: Secret,
    /// The repository: `owner/name`.
    pub project: String,
    /// Labels that every new issue gets, if the repository has them.
    #[serde(default)]
    pub labels_set: Vec<String>,
    /// What in an incident is the name of a label: attributes like `source.name`, or tags like `{ tag = "host" }`.
    #[serde(default)]
    pub labels_mapping: Vec<Attribute>,
    /// Certificates (PEM) that may sign the Enterprise Server's, besides those the machine trusts.
    pub ca_file: Option<PathBuf>,
    /// The secret of a webhook that tells of closed issues.
    pub webhook_secret: Option<Secret>,
    /// Seconds after which a write that got no answer cannot be done any more. Until then it is looked for and not repeated.
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

/// Longest names GitHub takes.
const MAX_OWNER: usize = 100;
const MAX_NAME: usize = 100;
/// Most labels of the settings; an issue takes 100.
const MAX_LABELS: usize = 50;

fn default_url() -> String {
    "https://github.com/".to_owned()
}

/// GitHub ends a request after 10 s (argus-tickets.md 2.3).
fn default_settle() -> u32 {
    12
}

impl Section for GitHubSection {
    const NAME: &'static str = "github";
    const ROLE: Role = Role::HelpDesk;
    const SECRETS: &'static [&'static str] = &["token", "webhook_secret"];

    fn check(&self, faults: &mut Within<'_>) {
        if !is_outside_address(&self.url) {
            let expected = "an address like https://github.com/ or https://github.example.com/: https (http only for a loopback host)";
            faults.add("url", &self.url, if has_bad_host(&self.url) { A_HOST_NAME } else { expected });
        } else if self.site().to_ascii_lowercase().contains("/api/") || self.host().is_some_and(|host| host == "api.github.com") {
            faults.add("url", &self.url, "the address under which people open GitHub, without api");
        } else if self.is_public_site() && self.site() != "https://github.com/" {
            faults.add("url", &self.url, "https://github.com/; the repository goes into project");
        }
        for (key, secret) in [("token", Some(&self.token)), ("webhook_secret", self.webhook_secret.as_ref())] {
            faults.readable_secret(key, secret);
        }
        if !is_project(self.project.trim()) {
            faults.add("project", &self.project, "a repository as owner/name, like example/operations");
        }
        if self.labels_set.iter().any(|label| label.trim().is_empty()) || self.labels_set.len() > MAX_LABELS {
            faults.add("labels_set", self.labels_set.join(", "), "names of labels, at most 50");
        }
        if self.labels_mapping.len() > MAX_LABELS {
            faults.add("labels_mapping", self.labels_mapping.len(), "at most 50 attributes or tags");
        }
        if let Some(path) = &self.ca_file
            && deskbridge_http_client::certificates(path).is_none()
        {
            faults.add("ca_file", path.display(), "a readable file with certificates in PEM form");
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
        vec![plain_address(&self.url), self.project.trim().to_ascii_lowercase()]
    }
}

/// `owner/name`, of the characters that GitHub takes.
pub(super) fn is_project(text: &str) -> bool {
    let is_part = |part: &str, longest: usize| {
        (1..=longest).contains(&part.len())
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
            && !matches!(part, "." | "..")
    };
    text.split_once('/').is_some_and(|(owner, name)| is_part(owner, MAX_OWNER) && is_part(name, MAX_NAME))
}

impl GitHubSection {
    /// The address all of GitHub's pages begin with, as browsers write it.
    pub fn site(&self) -> String {
        format!("{}/", plain_address(&self.url))
    }

    fn host(&self) -> Option<String> {
        Url::parse(&self.url).ok()?.host_str().map(str::to_ascii_lowercase)
    }

    fn is_public_site(&self) -> bool {
        self.host().is_some_and(|host| matches!(host.as_str(), "github.com" | "www.github.com"))
    }

    /// Whether it is GitHub's own service, whose limits are known; an Enterprise Server has none unless it is set up so.
    pub(super) fn is_hosted(&self) -> bool {
        self.is_public_site() || self.host().is_some_and(|host| host.ends_with(".ghe.com"))
    }

    /// The address all of the API's paths begin with.
    pub(super) fn api(&self) -> String {
        match self.host() {
            Some(host) if host == "github.com" => "https://api.github.com/".to_owned(),
            // GitHub Enterprise Cloud with data residency.
            Some(host) if host.ends_with(".ghe.com") => format!("https://api.{host}/"),
            _ => format!("{}api/v3/", self.site()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn section(url: &str) -> GitHubSection {
        serde_json::from_value(serde_json::json!({ "url": url, "token": "t", "project": "example/operations" })).unwrap()
    }

    #[test]
    fn the_api_is_found_with_and_without_a_slash_at_the_end() {
        for (url, api) in [
            ("https://github.com", "https://api.github.com/"),
            ("https://github.com/", "https://api.github.com/"),
            ("https://GitHub.com/", "https://api.github.com/"),
            ("https://octo.ghe.com/", "https://api.octo.ghe.com/"),
            ("https://github.example.com", "https://github.example.com/api/v3/"),
            ("https://example.com/github", "https://example.com/github/api/v3/"),
            ("https://example.com/github/", "https://example.com/github/api/v3/"),
            ("https://notgithub.com/", "https://notgithub.com/api/v3/"),
        ] {
            assert_eq!(section(url).api(), api, "{url}");
        }
    }

    #[test]
    fn a_project_is_an_owner_and_a_name() {
        for (text, expected) in [
            ("example/operations", true),
            ("a-b/c.d_e", true),
            ("example", false),
            ("/operations", false),
            ("example/", false),
            ("example/operations/issues", false),
            ("https://github.com/example/operations", false),
            ("example/..", false),
            ("exa mple/operations", false),
        ] {
            assert_eq!(is_project(text), expected, "{text}");
        }
    }
}
