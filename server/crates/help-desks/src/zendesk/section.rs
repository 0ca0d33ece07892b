//! `[connection.zendesk]`: one Zendesk account and the installation of our app in it.

use std::path::PathBuf;

use deskbridge_core::settings::{Role, Secret, Section, Within, outside_origin};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::create::{field_names, is_field};
use super::credentials::Credentials;

/// A Zendesk account.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ZendeskSection {
    /// The account's address.
    pub url: String,
    /// Identifier of an OAuth client of the account. What is done bears the name of the user who owns the client.
    pub client_id: Option<String>,
    /// Its secret.
    pub client_secret: Option<Secret>,
    /// What the client's tokens may do.
    #[serde(default = "default_scopes")]
    pub scopes: String,
    /// The API user's e-mail address, for API tokens. No account can make them any more, and all of them end on 30 April 2027
    /// (changes-2026-11.md C1).
    pub username: Option<String>,
    /// Its API token.
    pub token: Option<Secret>,
    /// Name of the integration in the Zendesk Marketplace: with the two ids below it stands in the headers of every call.
    pub marketplace_name: Option<String>,
    /// Id of the organisation that published it.
    pub marketplace_organization_id: Option<String>,
    /// Id of the published app.
    pub marketplace_app_id: Option<String>,
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
    /// Where a record goes whose ticket was closed before it came.
    #[serde(default)]
    pub on_closed: OnClosed,
    /// What a session's external key may set besides what the matter is. Customers can write the key.
    #[serde(default)]
    pub external_key_may_set: Vec<String>,
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

/// What becomes of a record whose ticket is closed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnClosed {
    /// A person decides.
    #[default]
    DeadLetter,
    /// It goes to a follow-up ticket.
    FollowUp,
}

/// Ticket audits need the global `read` (zendesk.md d.1); all we write are tickets, with their comments and uploads.
fn default_scopes() -> String {
    "read tickets:write".into()
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
    const SECRETS: &'static [&'static str] = &["client_secret", "token"];

    fn check(&self, faults: &mut Within<'_>) {
        if let Err(expected) = outside_origin(&self.url) {
            faults.add("url", &self.url, expected);
        }
        faults.one_pair(
            [("client_id", self.client_id.is_some()), ("client_secret", self.client_secret.is_some())],
            [("username", self.username.is_some()), ("token", self.token.is_some())],
            "client_id and client_secret of an OAuth client (or username and token, where an API token is still in use)",
        );
        if let Some(username) = &self.username
            && (!username.contains('@') || username.contains(char::is_whitespace) || username.contains(':'))
        {
            faults.add("username", username, "the API user's e-mail address (without /token)");
        }
        for (key, secret) in [("client_secret", &self.client_secret), ("token", &self.token)] {
            faults.readable_secret(key, secret.as_ref());
        }
        if self.scopes.trim().is_empty() {
            faults.add("scopes", &self.scopes, "scopes with spaces between them, like read tickets:write");
        }
        let is_of_marketplace = self.marketplace().iter().any(|(_, _, value)| value.is_some());
        for (key, _, value) in self.marketplace() {
            match value {
                Some(value) if HeaderValue::from_str(value).is_err() || value.trim().is_empty() => {
                    faults.add(key, value, "a text of one line");
                }
                None if is_of_marketplace => {
                    faults.add(key, "", "all three of marketplace_name, marketplace_organization_id and marketplace_app_id, or none");
                }
                _ => {}
            }
        }
        if let Some(text) = &self.ticket_default_data
            && !serde_json::from_str::<serde_json::Value>(text).is_ok_and(|value| value.is_object())
        {
            faults.add("ticket_default_data", text, "a JSON object like {\"priority\": \"high\"}");
        }
        if let Some(name) = self.external_key_may_set.iter().find(|name| !is_field(name)) {
            faults.add("external_key_may_set", name, &format!("names of {}", field_names()));
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
    /// Key, header (zendesk.md d.1) and value.
    fn marketplace(&self) -> [(&'static str, &'static str, Option<&str>); 3] {
        [
            ("marketplace_name", "x-zendesk-marketplace-name", self.marketplace_name.as_deref()),
            ("marketplace_organization_id", "x-zendesk-marketplace-organization-id", self.marketplace_organization_id.as_deref()),
            ("marketplace_app_id", "x-zendesk-marketplace-app-id", self.marketplace_app_id.as_deref()),
        ]
    }

    /// The headers of every call of an integration of the marketplace ; none for one's own app.
    pub(super) fn marketplace_headers(&self) -> HeaderMap {
        let named = self.marketplace().into_iter();
        let headers = named.filter_map(|(_, name, value)| Some((HeaderName::from_static(name), HeaderValue::from_str(value?).ok()?)));
        headers.collect()
    }

    /// How the account knows us. The error names the key at fault.
    pub(super) fn credentials(&self) -> Result<Credentials, String> {
        let resolved = |key: &str, secret: &Secret| secret.resolve().map_err(|error| format!("zendesk.{key}: {error}"));
        match (&self.client_id, &self.client_secret, &self.username, &self.token) {
            (Some(id), Some(secret), _, _) => Ok(Credentials::oauth(id, resolved("client_secret", secret)?, &self.scopes)),
            (_, _, Some(username), Some(token)) => Ok(Credentials::token(username, resolved("token", token)?)),
            _ => Err("zendesk: client_id and client_secret, or username and token".into()),
        }
    }

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
