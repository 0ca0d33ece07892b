//! `[connection.zendesk]`: one Zendesk account and the installation of our app in it.

use std::path::PathBuf;

use deskbridge_core::settings::{Role, Secret, Section, Within, outside_origin};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A Zendesk account.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ZendeskSection {
    /// The account's address.
    pub url: String,
    /// The API user's e-mail address.
    pub username: String,
    /// Its API token.
    pub token: Secret,
    /// The uploaded app; its public key verifies sidebar tokens.
    #[schemars(range(min = 1))]
    pub app_id: u64,
    /// The app's installation in the account: the tokens' audience.
    #[schemars(range(min = 1))]
    pub installation_id: u64,
    /// The app's public key (PEM); else it is fetched from the account.
    pub public_key_file: Option<PathBuf>,
    /// Who can read the session report.
    #[serde(default)]
    pub note_visibility: NoteVisibility,
    /// The longest life a sidebar token may claim. The usual five minutes are not documented (zendesk.md b.2).
    #[serde(default = "default_token_life")]
    #[schemars(range(min = 60, max = 86_400))]
    pub max_token_life_seconds: u32,
    /// Seconds after which a write that got no answer cannot be done any more. Until then it is looked for and not repeated.
    #[serde(default = "default_settle")]
    #[schemars(range(min = 5, max = 3_600))]
    pub settle_seconds: u32,
    /// A session that belongs to no ticket gets one when a representative joins.
    #[serde(default)]
    pub enable_automatic_ticket_creation: bool,
    /// A JSON object, as text: what an automatic ticket has where the external key says nothing.
    pub ticket_default_data: Option<String>,
}

/// Who can read a note.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum NoteVisibility {
    /// Agents only.
    #[default]
    Internal,
    /// The requester too.
    Public,
}

fn default_settle() -> u32 {
    45
}

fn default_token_life() -> u32 {
    900
}

impl Section for ZendeskSection {
    const NAME: &'static str = "zendesk";
    const ROLE: Role = Role::HelpDesk;
    const SECRETS: &'static [&'static str] = &["token"];

    fn check(&self, faults: &mut Within<'_>) {
        if let Err(expected) = outside_origin(&self.url) {
            faults.add("url", &self.url, expected);
        }
        if !self.username.contains('@') || self.username.contains(char::is_whitespace) || self.username.contains(':') {
            faults.add("username", &self.username, "the API user's e-mail address (without /token)");
        }
        if !self.token.is_stored_mark()
            && let Err(error) = self.token.resolve()
        {
            faults.add("token", "", &format!("a readable secret: {error}"));
        }
        if let Some(text) = &self.ticket_default_data
            && !serde_json::from_str::<serde_json::Value>(text).is_ok_and(|value| value.is_object())
        {
            faults.add("ticket_default_data", text, "a JSON object like {\"priority\": \"high\"}");
        }
        if let Some(path) = &self.public_key_file {
            let readable = std::fs::read(path).ok().and_then(|pem| jsonwebtoken::DecodingKey::from_rsa_pem(&pem).ok());
            if readable.is_none() {
                faults.add("public_key_file", path.display(), "a readable file with the app's RSA public key in PEM form");
            }
        }
    }

    fn identity(&self) -> Vec<String> {
        vec![self.origin()]
    }
}

impl ZendeskSection {
    /// The account's origin as a browser writes it: what the sidebar's query names and a token's audience begins with.
    pub fn origin(&self) -> String {
        url::Url::parse(&self.url).map_or_else(|_| self.url.clone(), |url| url.origin().ascii_serialization())
    }

    /// The origin without its scheme: what a token's issuer must be.
    pub fn authority(&self) -> String {
        let origin = self.origin();
        origin.split_once("://").map_or_else(String::new, |(_, authority)| authority.to_owned())
    }
}
