//! One request to the account's REST API, and what its answer means (zendesk.md d.1, d.10, d.11).

use std::sync::Arc;
use std::time::Duration;

use deskbridge_core::text::shown;
use reqwest::Method;
use reqwest::header::{self, HeaderMap};
use serde_json::Value;

use deskbridge_http_client as outgoing;
use deskbridge_http_client::refusals::Refusals;
use deskbridge_security::sha256;

use super::credentials::{Credentials, Signature};
use crate::{HelpDeskError, Prepared, WriteOutcome};

/// An answer's limit; a page of a hundred audits with full comments stays below.
const MAX_ANSWER: usize = 16 * 1024 * 1024;
/// A Help Center's page is read up to this size …
const MAX_PAGE: usize = 4 * 1024 * 1024;
/// … and for so long.
const PAGE_TIME: Duration = Duration::from_secs(8);
/// `safe_update` compares whole seconds (zendesk.md d.4): so much later, a repetition's stamp cannot be mistaken for an earlier one.
const GUARDED_REPEAT: Duration = Duration::from_secs(2);
/// How much of an unexpected answer is told.
const MAX_EXCERPT: usize = 300;
/// Where an OAuth client gets its tokens.
const TOKEN_PATH: &str = "/oauth/tokens";
/// The API user: the smallest call there is.
pub(super) const API_USER: &str = "/api/v2/users/me";

/// The account as one API user.
#[derive(Clone)]
pub struct Client(Arc<Account>);

struct Account {
    http: reqwest::Client,
    origin: String,
    credentials: Credentials,
    /// On every call.
    headers: HeaderMap,
    refusals: Refusals,
}

/// Why there is no answer.
enum Silence {
    /// The request never left.
    NotSent(HelpDeskError),
    /// It left, at least in part, and no answer came in time.
    TimedOut(String),
    /// It left, at least in part, and the connection broke.
    BrokeOff(String),
}

impl From<Silence> for HelpDeskError {
    fn from(silence: Silence) -> Self {
        match silence {
            Silence::NotSent(error) => error,
            Silence::TimedOut(what) | Silence::BrokeOff(what) => Self::passing(what),
        }
    }
}

/// A request that writes, ready to be sent.
pub struct Request {
    client: Client,
    unsigned: reqwest::Request,
    signature: Signature,
    /// After one 401 another token may be tried.
    may_sign_anew: bool,
}

impl Request {
    /// Sends it. `read`: the id in the answer; `refused`: what a refusal means; `is_guarded`: the account refuses a repetition of what was
    /// done, so that it may be sent again soon after an error that came as an answer. What got no answer in time is still worked at.
    /// `again`: the same write, for a token that was replaced after a 401: it counts as sent anew.
    pub async fn send<'a>(
        mut self,
        what: &str,
        is_guarded: bool,
        read: impl FnOnce(&Value) -> Option<String>,
        refused: impl FnOnce(Answered, HelpDeskError) -> HelpDeskError,
        again: impl FnOnce(Self) -> Prepared<'a>,
    ) -> WriteOutcome<'a> {
        if let Err(resting) = self.client.0.refusals.turn() {
            return WriteOutcome::Refused(resting.into());
        }
        let repeat_after = is_guarded.then_some(GUARDED_REPEAT);
        let repetition = self.unsigned.try_clone().filter(|_| self.may_sign_anew);
        self.signature.sign(&mut self.unsigned);
        let answer = match self.client.exchange(self.unsigned).await {
            Ok(answer) => answer,
            Err(Silence::NotSent(error)) => return WriteOutcome::Refused(error),
            Err(Silence::TimedOut(what)) => return WriteOutcome::Unknown { error: HelpDeskError::passing(what), repeat_after: None },
            Err(Silence::BrokeOff(what)) => return WriteOutcome::Unknown { error: HelpDeskError::passing(what), repeat_after },
        };
        if let Some(unsigned) = repetition
            && answer.status == 401
            && self.client.0.credentials.reject(&self.signature)
        {
            return match self.client.signature().await {
                Ok(signature) => WriteOutcome::TryInstead(again(Self { client: self.client, unsigned, signature, may_sign_anew: false })),
                Err(error) => WriteOutcome::Refused(error),
            };
        }
        let answer = self.client.judged(answer).await;
        let answered = answer.answered();
        match answer.ok(what) {
            Ok(body) => {
                if let Some(id) = read(&body) {
                    return WriteOutcome::Written(id);
                }
                let error = HelpDeskError::passing(format!("Zendesk took {what} but did not say its id"));
                WriteOutcome::Unknown { error, repeat_after }
            }
            // A gateway that speaks for Zendesk may have passed the request on.
            Err(error) if matches!(answered.status, 200..=299 | 408 | 500..=599) => WriteOutcome::Unknown { error, repeat_after },
            Err(error) => WriteOutcome::Refused(refused(answered, error)),
        }
    }
}

/// An answer that came, whatever its status.
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// JSON, or null if the body is none.
    pub body: Value,
    text: String,
    retry_after: Option<Duration>,
    request_id: Option<String>,
    /// A 403, and other calls are refused too.
    pub is_refused_everywhere: bool,
    /// What to do where the account did not accept us.
    advice: &'static str,
}

impl Client {
    /// A client; nothing is contacted. Fails only if the TLS library cannot start.
    pub(super) fn new(origin: String, credentials: Credentials, headers: HeaderMap) -> reqwest::Result<Self> {
        Ok(Self(Arc::new(Account { http: outgoing::shared()?, origin, credentials, headers, refusals: Refusals::default() })))
    }

    /// A person waits for what is asked next.
    pub fn let_person_try(&self) {
        self.0.refusals.let_person_try();
    }

    fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        let account = &self.0;
        account
            .http
            .request(method, format!("{}{path}", account.origin))
            .headers(account.headers.clone())
            .header(header::ACCEPT, "application/json")
    }

    /// Signs and sends. A token that the account does not accept any more is replaced once: a 401 has done nothing.
    async fn send(&self, mut request: reqwest::Request) -> Result<Answer, Silence> {
        self.0.refusals.turn().map_err(|resting| Silence::NotSent(resting.into()))?;
        let again = request.try_clone();
        let signature = self.sign(&mut request).await?;
        let answer = self.exchange(request).await?;
        let answer = match again {
            Some(mut again) if answer.status == 401 && self.0.credentials.reject(&signature) => {
                self.sign(&mut again).await?;
                self.exchange(again).await?
            }
            _ => answer,
        };
        Ok(self.judged(answer).await)
    }

    /// Notes what an answer tells of the credentials. A firewall that dislikes one text says nothing about the API user's rights.
    async fn judged(&self, mut answer: Answer) -> Answer {
        match answer.status {
            401 => self.0.refusals.refused(&answer.refused_credentials()),
            403 => {
                answer.is_refused_everywhere = self.is_refused_everywhere().await;
                if !answer.is_refused_everywhere {
                    self.0.refusals.forget();
                }
            }
            // Whoever is refused something else has been let in.
            200..=299 | 404 | 422 if !answer.body.is_null() => self.0.refusals.forget(),
            _ => {}
        }
        answer
    }

    /// Whether even the smallest call is refused.
    async fn is_refused_everywhere(&self) -> bool {
        let Ok(mut request) = self.request(Method::GET, API_USER).build() else { return false };
        if self.sign(&mut request).await.is_err() {
            return false;
        }
        self.exchange(request).await.is_ok_and(|answer| matches!(answer.status, 401 | 403))
    }

    async fn sign(&self, request: &mut reqwest::Request) -> Result<Signature, Silence> {
        let signature = self.signature().await.map_err(Silence::NotSent)?;
        signature.sign(request);
        Ok(signature)
    }

    async fn signature(&self) -> Result<Signature, HelpDeskError> {
        let signature = self.0.credentials.signature(|| self.request(Method::POST, TOKEN_PATH)).await;
        signature.inspect_err(|error| {
            if let HelpDeskError::Denied(_) = error {
                self.0.refusals.refused(error);
            }
        })
    }

    async fn exchange(&self, request: reqwest::Request) -> Result<Answer, Silence> {
        let failed = |error: reqwest::Error| {
            let what = format!("Zendesk: {}", outgoing::describe(&error));
            if outgoing::never_left(&error) {
                Silence::NotSent(HelpDeskError::passing(what))
            } else if error.is_timeout() {
                Silence::TimedOut(what)
            } else {
                Silence::BrokeOff(what)
            }
        };
        let response = self.0.http.execute(request).await.map_err(failed)?;
        let status = response.status().as_u16();
        let retry_after = outgoing::retry_after(response.headers());
        let request_id =
            response.headers().get("x-zendesk-request-id").and_then(|id| id.to_str().ok()).map(|id| id.chars().take(64).collect());
        let body = outgoing::read_body(response, MAX_ANSWER).await.map_err(|error| Silence::BrokeOff(format!("Zendesk: {error}")))?;
        let text = String::from_utf8_lossy(&body).into_owned();
        let body = serde_json::from_str(&text).unwrap_or(Value::Null);
        Ok(Answer { status, body, text, retry_after, request_id, is_refused_everywhere: false, advice: self.0.credentials.advice() })
    }

    /// A request that may be sent again without harm.
    async fn ask(&self, request: reqwest::RequestBuilder) -> Result<Answer, HelpDeskError> {
        let request = request.build().map_err(|_| HelpDeskError::passing("Zendesk: the request could not be made"))?;
        Ok(self.send(request).await?)
    }

    /// A GET.
    pub async fn get(&self, path: &str) -> Result<Answer, HelpDeskError> {
        self.ask(self.request(Method::GET, path)).await
    }

    /// A GET whose answer need not be JSON: status and body.
    pub async fn get_text(&self, path: &str) -> Result<(u16, String), HelpDeskError> {
        let answer = self.get(path).await?;
        Ok((answer.status, answer.text))
    }

    /// A request that writes, ready to be sent.
    pub async fn write(&self, method: Method, path: &str, body: &Value) -> Result<Request, HelpDeskError> {
        self.ready(self.request(method, path).json(body)).await
    }

    /// A creation, ready to be sent: within two hours the same key and body create once (zendesk.md d.5).
    pub async fn create(&self, path: &str, key: &str, body: &Value) -> Result<Request, HelpDeskError> {
        // Another body under the same key would be refused.
        let [a, b, c, d, ..] = sha256(body.to_string().as_bytes());
        let key = format!("{key}/{:08x}", u32::from_be_bytes([a, b, c, d]));
        self.ready(self.request(Method::POST, path).header("Idempotency-Key", key).json(body)).await
    }

    /// With a token at hand, so that none need be asked for when the request counts as sent.
    async fn ready(&self, request: reqwest::RequestBuilder) -> Result<Request, HelpDeskError> {
        self.0.refusals.look()?;
        let signature = self.signature().await?;
        let unsigned = request.build().map_err(|_| HelpDeskError::passing("Zendesk: the request could not be made"))?;
        Ok(Request { client: self.clone(), unsigned, signature, may_sign_anew: true })
    }

    /// A request that may be repeated: whatever it changes is the same afterwards.
    pub async fn change(&self, method: Method, path: &str, body: &Value) -> Result<Answer, HelpDeskError> {
        self.ask(self.request(method, path).json(body)).await
    }

    /// A GET without credentials: status and body.
    pub async fn get_as_anybody(&self, path: &str) -> Result<(u16, String), HelpDeskError> {
        let request = self.request(Method::GET, path).build();
        let request = request.map_err(|_| HelpDeskError::passing("Zendesk: the request could not be made"))?;
        let answer = self.exchange(request).await?;
        Ok((answer.status, answer.text))
    }

    /// A page as anybody sees it, from any address.
    pub async fn public_page(&self, address: &str) -> Result<PublicPage, HelpDeskError> {
        let failed = |what: &dyn std::fmt::Display| HelpDeskError::passing(what.to_string());
        let request = self.0.http.get(address).timeout(PAGE_TIME).header(header::ACCEPT, "text/html");
        let response = request.send().await.map_err(|error| failed(&outgoing::describe(&error)))?;
        let status = response.status().as_u16();
        let location = response.headers().get(header::LOCATION).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let body = outgoing::read_body(response, MAX_PAGE).await.map_err(|error| failed(&error))?;
        Ok(PublicPage { status, location, text: String::from_utf8_lossy(&body).into_owned() })
    }

    /// An upload.
    pub async fn post_file(&self, path: &str, content_type: &str, bytes: Vec<u8>) -> Result<Answer, HelpDeskError> {
        self.ask(self.request(Method::POST, path).header(header::CONTENT_TYPE, content_type).body(bytes)).await
    }
}

/// A page as anybody sees it.
pub struct PublicPage {
    /// HTTP status.
    pub status: u16,
    /// Where it leads, as it says it.
    pub location: Option<String>,
    /// Its text.
    pub text: String,
}

/// What a refusal is judged by.
#[derive(Clone, Copy)]
pub struct Answered {
    /// HTTP status.
    pub status: u16,
    /// A 403, and other calls are refused too.
    pub is_refused_everywhere: bool,
}

impl Answer {
    /// What a refusal is judged by.
    pub fn answered(&self) -> Answered {
        Answered { status: self.status, is_refused_everywhere: self.is_refused_everywhere }
    }

    fn reference(&self) -> String {
        self.request_id.as_deref().map_or_else(String::new, |id| format!(" (request {id})"))
    }

    fn refused_credentials(&self) -> String {
        format!("Zendesk did not accept the API user; {}{}", self.advice, self.reference())
    }

    /// The body of a success; else what the failure means. `what` names the thing asked for.
    pub fn ok(self, what: &str) -> Result<Value, HelpDeskError> {
        let reference = self.reference();
        let said = self.excerpt();
        match self.status {
            200..=299 if self.body.is_null() => {
                Err(HelpDeskError::passing(format!("Zendesk answered HTTP {} without JSON for {what}{reference}", self.status)))
            }
            200..=299 => Ok(self.body),
            401 => Err(HelpDeskError::Denied(self.refused_credentials())),
            403 if !self.body.is_object() && !self.is_refused_everywhere => Err(HelpDeskError::passing(format!(
                "something in front of Zendesk, such as a firewall, refused {what} (HTTP 403){reference}, while other calls pass: {said}"
            ))),
            403 => {
                Err(HelpDeskError::Denied(format!("Zendesk does not let the API user use {what}; give its role access{reference}: {said}")))
            }
            408 | 409 | 425 | 429 | 500..=599 => Err(HelpDeskError::Passing {
                what: format!("Zendesk answered HTTP {} for {what}{reference}: {said}", self.status),
                retry_after: self.retry_after,
            }),
            300..=399 => {
                Err(HelpDeskError::Refused(format!("Zendesk redirects (HTTP {}) for {what}; check the account's url", self.status)))
            }
            status => Err(HelpDeskError::Refused(format!("Zendesk refused {what} (HTTP {status}){reference}: {said}"))),
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
        shown(&words, MAX_EXCERPT)
    }
}
