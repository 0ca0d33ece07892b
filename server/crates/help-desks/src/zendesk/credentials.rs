//! How the account knows us: an OAuth client of its own, or an API token of the time before 27 October 2026 (changes-2026-11.md C1).

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use deskbridge_core::text::shown;
use deskbridge_http_client as outgoing;
use deskbridge_http_client::oauth::{Grant, SharedToken};
use reqwest::header::{AUTHORIZATION, HeaderValue};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

use crate::HelpDeskError;

/// An answer of the token endpoint has some hundred bytes.
const MAX_ANSWER: usize = 64 * 1024;
/// Where the endpoint names no life: that of a client's tokens unless it asks for another.
const USUAL_LIFE: Duration = Duration::from_mins(30);
/// (zendesk.md d.1)
const LONGEST_LIFE: Duration = Duration::from_hours(48);
/// How much of a foreign text is told.
const MAX_EXCERPT: usize = 300;

/// How calls are signed.
pub(super) enum Credentials {
    /// `client_credentials`: no refresh token; the next token is asked for in the same way.
    OAuth(Box<OAuthClient>),
    /// `{email}/token` and the API token.
    Token { username: String, token: SecretString },
}

/// A client of the account, and its present token.
pub(super) struct OAuthClient {
    id: String,
    secret: SecretString,
    scopes: String,
    token: SharedToken<HelpDeskError>,
}

impl Credentials {
    pub(super) fn oauth(id: &str, secret: SecretString, scopes: &str) -> Self {
        let scopes = scopes.split_whitespace().collect::<Vec<_>>().join(" ");
        Self::OAuth(Box::new(OAuthClient { id: id.trim().to_owned(), secret, scopes, token: SharedToken::default() }))
    }

    pub(super) fn token(username: &str, token: SecretString) -> Self {
        Self::Token { username: format!("{username}/token"), token }
    }

    /// What a person should do when the account does not accept the call.
    pub(super) fn advice(&self) -> &'static str {
        match self {
            Self::OAuth(_) => {
                "check client_id and client_secret, and that the user who owns the OAuth client is active and may use the API"
            }
            Self::Token { .. } => {
                "check username and token. Zendesk switches API tokens off that were not used for 30 days, and all of them on 30 April 2027: \
                 use an OAuth client (docs/zendesk.md)"
            }
        }
    }

    /// The header that signs a call. `post`: a request to the token endpoint, not signed.
    ///
    /// # Errors
    /// Why no token could be had: the call has not left.
    pub(super) async fn signature(&self, post: impl FnOnce() -> reqwest::RequestBuilder) -> Result<Signature, HelpDeskError> {
        match self {
            Self::OAuth(client) => {
                let token = client.token.get(|| client.fetch(post())).await?;
                let header = sensitive(&format!("Bearer {}", token.expose_secret()))?;
                Ok(Signature { header, token: Some(token) })
            }
            Self::Token { username, token } => {
                let login = STANDARD.encode(format!("{username}:{}", token.expose_secret()));
                Ok(Signature { header: sensitive(&format!("Basic {login}"))?, token: None })
            }
        }
    }

    /// The account does not accept this signature any more. Whether another one may be tried.
    pub(super) fn reject(&self, signature: &Signature) -> bool {
        match (self, &signature.token) {
            (Self::OAuth(client), Some(dead)) => {
                client.token.reject(dead);
                true
            }
            _ => false,
        }
    }
}

/// A header for [`AUTHORIZATION`], and the token in it.
pub(super) struct Signature {
    header: HeaderValue,
    token: Option<Arc<SecretString>>,
}

impl Signature {
    pub(super) fn sign(&self, request: &mut reqwest::Request) {
        request.headers_mut().insert(AUTHORIZATION, self.header.clone());
    }
}

fn sensitive(text: &str) -> Result<HeaderValue, HelpDeskError> {
    let mut value = HeaderValue::from_str(text).map_err(|_| HelpDeskError::Denied("Zendesk: the token cannot stand in a header".into()))?;
    value.set_sensitive(true);
    Ok(value)
}

impl OAuthClient {
    /// `POST /oauth/tokens` (changes-2026-11.md, "What the OAuth replacement looks like").
    async fn fetch(&self, post: reqwest::RequestBuilder) -> Result<Grant, HelpDeskError> {
        let form = [
            ("grant_type", "client_credentials"),
            ("client_id", self.id.as_str()),
            ("client_secret", self.secret.expose_secret()),
            ("scope", self.scopes.as_str()),
        ];
        let passing = |what: &str| HelpDeskError::passing(format!("Zendesk's OAuth tokens: {what}"));
        let response = post.form(&form).send().await.map_err(|error| passing(outgoing::describe(&error)))?;
        let status = response.status().as_u16();
        let retry_after = outgoing::retry_after(response.headers());
        let body = outgoing::read_body(response, MAX_ANSWER).await.map_err(|error| passing(&error.to_string()))?;
        let body: Value = serde_json::from_slice(&body).unwrap_or(Value::Null);
        if (200..=299).contains(&status)
            && let Some(grant) = Grant::read(&body, USUAL_LIFE, LONGEST_LIFE)
        {
            return Ok(grant);
        }
        let said: Vec<&str> = ["error", "error_description"].into_iter().filter_map(|name| body[name].as_str()).collect();
        // A secret that stands in the answer must not stand in a log.
        let said = shown(&said.join(": ").replace(self.secret.expose_secret(), "(hidden)"), MAX_EXCERPT);
        Err(match (status, body["error"].as_str()) {
            (408 | 409 | 425 | 429 | 500..=599, _) => {
                HelpDeskError::Passing { what: format!("Zendesk gave no OAuth token (HTTP {status}): {said}"), retry_after }
            }
            (_, Some("invalid_scope")) => HelpDeskError::Denied(format!(
                "Zendesk does not give the OAuth client the scopes “{}” ({said}); allow them at the client, or name others in zendesk.scopes",
                self.scopes
            )),
            (400..=499, Some(_)) => HelpDeskError::Denied(format!(
                "Zendesk does not accept the OAuth client ({said}); check client_id (its Identifier) and client_secret in Admin Center > Apps and \
                 integrations > APIs > OAuth clients"
            )),
            (300..=399, _) => {
                HelpDeskError::Refused(format!("Zendesk redirects (HTTP {status}) for an OAuth token; check the account's url"))
            }
            _ => passing(&format!("HTTP {status} without a token; check the account's url")),
        })
    }
}
