//! `[[connection.api_token]]`: a token with which a program calls this server.

use schemars::JsonSchema;
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};

use super::fault::Within;
use super::secret::Secret;
use crate::api_purpose::ApiPurpose;

/// A shorter secret can be guessed.
const SHORTEST_SECRET: usize = 24;

/// A token with which a program calls this server. `deskbridge tokens create` makes others.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "ApiToken")]
pub struct ApiTokenSettings {
    /// For people: who calls with it. No two tokens of a connection have the same.
    pub name: String,
    /// What the program sends. At least 24 characters.
    pub secret: Secret,
    /// What the program may do with it.
    #[serde(rename = "for")]
    pub purposes: Vec<ApiPurpose>,
}

impl ApiTokenSettings {
    /// `others`: the tokens before it.
    pub(super) fn check(&self, others: &[Self], faults: &mut Within<'_>) {
        if self.name.trim().is_empty() || self.name.chars().count() > 100 || self.name.chars().any(char::is_control) {
            faults.add("name", &self.name, "one line of 1 to 100 characters");
        }
        if others.iter().any(|other| other.name == self.name) {
            faults.add("name", &self.name, "a name no other token of the connection has");
        }
        if self.purposes.is_empty() {
            let all = ApiPurpose::ALL.map(|purpose| format!("\"{purpose}\"")).join(", ");
            faults.add("for", "", &format!("at least one of {all}"));
        }
        faults.readable_secret("secret", Some(&self.secret));
        if !self.secret.is_stored_mark()
            && let Ok(secret) = self.secret.resolve()
            && !is_sound(secret.expose_secret())
        {
            let expected =
                format!("at least {SHORTEST_SECRET} characters, letters, digits and symbols without blanks, as a header can hold them");
            faults.add("secret", "a secret", &expected);
        }
    }
}

fn is_sound(secret: &str) -> bool {
    secret.chars().count() >= SHORTEST_SECRET && secret.bytes().all(|byte| byte.is_ascii_graphic())
}
