//! One request to the account's REST API, and what its answer means (zendesk.md d.1, d.10, d.11).

use reqwest::{Method, header};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

use crate::outgoing;
use crate::security::sha256;
use crate::tickets::TicketError;

/// An answer's limit; a page of a hundred audits with full comments stays below.
const MAX_ANSWER: usize = 16 * 1024 * 1024;
/// How much of an unexpected answer is told.
const MAX_EXCERPT: usize = 300;

/// The account as one API user.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    origin: String,
    username: String,
    token: SecretString,
}

/// An answer that came, whatever its status.
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// JSON, or null if the body is none.
    pub body: Value,
    text: String,
    retry_after: Option<std::time::Duration>,
    request_id: Option<String>,
}

impl Client {
    /// A client. Fails only if the TLS library cannot start.
    pub fn new(origin: String, username: &str, token: SecretString) -> reqwest::Result<Self> {
        Ok(Self { http: outgoing::client().build()?, origin, username: format!("{username}/token"), token })
    }

    fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.http
            .request(method, format!("{}{path}", self.origin))
            .basic_auth(&self.username, Some(self.token.expose_secret()))
            .header(header::ACCEPT, "application/json")
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> Result<Answer, TicketError> {
        let passing = |what: &str| TicketError::passing(format!("Zendesk: {what}"));
        let request = request.build().map_err(|_| passing("the request could not be made"))?;
        let writes = *request.method() != Method::GET;
        let response = self.http.execute(request).await.map_err(|error| match outgoing::describe(&error) {
            what if writes && outgoing::may_be_done(&error) => TicketError::Unanswered(format!("Zendesk: {what}")),
            what => passing(what),
        })?;
        let status = response.status().as_u16();
        let retry_after = outgoing::retry_after(response.headers());
        let request_id =
            response.headers().get("x-zendesk-request-id").and_then(|id| id.to_str().ok()).map(|id| id.chars().take(64).collect());
        let body = outgoing::read_body(response, MAX_ANSWER).await.map_err(|error| passing(&error.to_string()))?;
        let text = String::from_utf8_lossy(&body).into_owned();
        let body = serde_json::from_str(&text).unwrap_or(Value::Null);
        Ok(Answer { status, body, text, retry_after, request_id })
    }

    /// A GET.
    pub async fn get(&self, path: &str) -> Result<Answer, TicketError> {
        self.send(self.request(Method::GET, path)).await
    }

    /// A GET whose answer need not be JSON: status and body.
    pub async fn get_text(&self, path: &str) -> Result<(u16, String), TicketError> {
        let answer = self.get(path).await?;
        Ok((answer.status, answer.text))
    }

    /// A request with a JSON body.
    pub async fn send_json(&self, method: Method, path: &str, body: &Value) -> Result<Answer, TicketError> {
        self.send(self.request(method, path).json(body)).await
    }

    /// A creation: within two hours the same key and body create once (zendesk.md d.5).
    pub async fn create_json(&self, path: &str, key: &str, body: &Value) -> Result<Answer, TicketError> {
        // Another body under the same key would be refused.
        let [a, b, c, d, ..] = sha256(body.to_string().as_bytes());
        let key = format!("{key}/{:08x}", u32::from_be_bytes([a, b, c, d]));
        self.send(self.request(Method::POST, path).header("Idempotency-Key", key).json(body)).await
    }

    /// An upload.
    pub async fn post_file(&self, path: &str, content_type: &str, bytes: Vec<u8>) -> Result<Answer, TicketError> {
        self.send(self.request(Method::POST, path).header(header::CONTENT_TYPE, content_type).body(bytes)).await
    }
}

impl Answer {
    /// The body of a success; else what the failure means. `what` names the thing asked for.
    pub fn ok(self, what: &str) -> Result<Value, TicketError> {
        let reference = self.request_id.as_deref().map_or_else(String::new, |id| format!(" (request {id})"));
        let said = self.excerpt();
        match self.status {
            200..=299 if self.body.is_null() => {
                Err(TicketError::passing(format!("Zendesk answered HTTP {} without JSON for {what}{reference}", self.status)))
            }
            200..=299 => Ok(self.body),
            401 => Err(TicketError::Denied(format!("Zendesk did not accept the API user; check username and token{reference}"))),
            403 => {
                Err(TicketError::Denied(format!("Zendesk does not let the API user use {what}; give its role access{reference}: {said}")))
            }
            408 | 409 | 425 | 429 | 500..=599 => Err(TicketError::Passing {
                what: format!("Zendesk answered HTTP {} for {what}{reference}: {said}", self.status),
                retry_after: self.retry_after,
            }),
            300..=399 => Err(TicketError::Refused(format!("Zendesk redirects (HTTP {}) for {what}; check the account's url", self.status))),
            status => Err(TicketError::Refused(format!("Zendesk refused {what} (HTTP {status}){reference}: {said}"))),
        }
    }

    /// What the answer says, in a few words: error bodies come in several shapes, and may be no JSON (zendesk.md d.10).
    fn excerpt(&self) -> String {
        let error = &self.body["error"];
        let parts = [
            error.as_str(),
            error["title"].as_str(),
            error["message"].as_str(),
            self.body["description"].as_str(),
            self.body["errors"][0]["title"].as_str(),
            self.body["details"]
                .as_object()
                .and_then(|details| details.values().next())
                .and_then(|detail| detail[0]["description"].as_str()),
        ];
        let words = parts.into_iter().flatten().collect::<Vec<_>>().join(": ");
        let words = if words.is_empty() && self.body.is_null() { self.text.clone() } else { words };
        words.chars().filter(|character| !character.is_control()).take(MAX_EXCERPT).collect()
    }
}
