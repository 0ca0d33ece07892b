//! One request to Request Tracker's REST 2 (argus-tickets.md 2.1), and what its answer means.
//!
//! REST 2 answers JSON, errors too. A web page in its place is of something else: of RT's own web pages, of a sign-in in front of it, of a
//! gateway, whatever the status. Messages are in the API user's language, so none of them is read.

use std::path::Path;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use deskbridge_core::text::shown;
use deskbridge_http_client::{self as outgoing, refusals::Refusals};
use reqwest::Method;
use reqwest::header::{self, HeaderValue};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

use crate::HelpDeskError;

/// An answer's limit. Nothing that is asked for has the texts of notes in it.
const MAX_ANSWER: usize = 4 * 1024 * 1024;
/// How much of an unexpected answer is told, in characters.
const MAX_EXCERPT: usize = 300;
/// Below the address of RT.
const REST: &str = "REST/2.0/";

/// How RT knows us.
pub(super) enum Credentials {
    /// `Authorization: token …`; `Bearer` is refused.
    Token(SecretString),
    /// User name and password.
    Basic(String, SecretString),
}

/// Why a request gave nothing.
#[derive(Clone, Debug, thiserror::Error)]
pub(super) enum Fault {
    /// 404, in RT's own words.
    #[error("Request Tracker has no such record: {0}")]
    NotFound(&'static str),
    /// 403, in RT's own words.
    #[error("Request Tracker does not let the API user use {what}: {said}")]
    NoRight {
        /// What was asked.
        what: &'static str,
        /// In RT's words.
        said: String,
    },
    /// Refused in words: nothing was written, and the same request will be refused again.
    #[error("Request Tracker refused {what}: {said}")]
    Refused {
        /// What was asked.
        what: &'static str,
        /// In RT's words.
        said: String,
    },
    /// The request is too large for RT or for what stands before it (413).
    #[error("{0} is too large for Request Tracker or its web server (HTTP 413); raise the web server's limit for requests")]
    TooLarge(&'static str),
    /// All else.
    #[error(transparent)]
    Other(#[from] HelpDeskError),
}

impl From<Fault> for HelpDeskError {
    /// A lacking right befalls this one thing, not the connection: rights differ by queue.
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Other(error) => error,
            fault => Self::Refused(fault.to_string()),
        }
    }
}

/// RT as one API user.
pub(super) struct Client {
    http: reqwest::Client,
    /// With a slash at the end.
    rest: String,
    authorization: HeaderValue,
    refusals: Refusals,
}

/// Why there is no answer.
enum Silence {
    /// The request never left.
    NotSent(String),
    /// It left, at least in part.
    NoAnswer(String),
}

impl From<Silence> for HelpDeskError {
    fn from(silence: Silence) -> Self {
        match silence {
            Silence::NotSent(what) | Silence::NoAnswer(what) => Self::passing(what),
        }
    }
}

/// A request that writes, ready to be sent.
pub(super) struct Ready<'a> {
    client: &'a Client,
    path: String,
    body: Value,
    what: &'static str,
}

/// What became of a request that writes.
pub(super) enum Sent {
    /// Done (201): the answer, and the last part of `Location`.
    Done {
        /// JSON.
        body: Value,
        /// The number at the end of `Location`.
        location: Option<String>,
    },
    /// Nothing was written.
    Refused(Fault),
    /// It may be written, or may still be.
    Unknown(HelpDeskError),
}

impl Ready<'_> {
    /// Sends exactly one request.
    pub(super) async fn send(self) -> Sent {
        if let Err(resting) = self.client.refusals.turn() {
            return Sent::Refused(HelpDeskError::from(resting).into());
        }
        let answer = match self.client.exchange(Method::POST, &self.path, Some(&self.body)).await {
            Ok(answer) => answer,
            Err(Silence::NotSent(what)) => return Sent::Refused(HelpDeskError::passing(what).into()),
            Err(Silence::NoAnswer(what)) => return Sent::Unknown(HelpDeskError::passing(what)),
        };
        self.client.take_note(&answer);
        let (says_no, location) = (answer.says_no(), answer.location.clone());
        match answer.ok(self.what) {
            Ok(body) => Sent::Done { body, location },
            Err(fault) if says_no => Sent::Refused(fault),
            Err(fault) => Sent::Unknown(fault.into()),
        }
    }
}

struct Answer {
    status: u16,
    body: Value,
    text: String,
    retry_after: Option<Duration>,
    location: Option<String>,
}

impl Client {
    /// A client; nothing is contacted. The error names the setting at fault.
    pub(super) fn new(site: &str, credentials: &Credentials, ca_file: Option<&Path>) -> Result<Self, String> {
        let http = outgoing::trusting(ca_file)?;
        let (key, value) = match credentials {
            Credentials::Token(token) => ("token", format!("token {}", token.expose_secret().trim())),
            Credentials::Basic(name, password) => {
                ("password", format!("Basic {}", STANDARD.encode(format!("{name}:{}", password.expose_secret()))))
            }
        };
        let mut authorization = HeaderValue::from_str(&value).map_err(|_| format!("{key}: letters, digits and signs of ASCII only"))?;
        authorization.set_sensitive(true);
        Ok(Self { http, rest: format!("{site}{REST}"), authorization, refusals: Refusals::default() })
    }

    /// A person waits for what is asked next.
    pub(super) fn let_person_try(&self) {
        self.refusals.let_person_try();
    }

    /// A GET below REST 2.
    pub(super) async fn get(&self, path: &str, what: &'static str) -> Result<Value, Fault> {
        self.ask(Method::GET, path, None, what).await
    }

    /// A search: REST 2 takes its conditions as the body of a POST, which changes nothing.
    pub(super) async fn search(&self, path: &str, conditions: &Value, what: &'static str) -> Result<Vec<Value>, Fault> {
        let mut page = self.ask(Method::POST, path, Some(conditions), what).await?;
        Ok(items(&mut page))
    }

    /// Tickets or transactions by a query in RT's own language, the newest first.
    pub(super) async fn newest(
        &self,
        collection: &str,
        query: &str,
        fields: &str,
        at_most: usize,
        what: &'static str,
    ) -> Result<Vec<Value>, Fault> {
        let query = deskbridge_shared::percent::encode(query);
        let path = format!("{collection}?query={query}&fields={fields}&orderby=id&order=DESC&per_page={at_most}");
        let mut page = self.get(&path, what).await?;
        Ok(items(&mut page))
    }

    /// Gets a request that writes ready to be sent.
    pub(super) fn ready(&self, path: String, body: Value, what: &'static str) -> Result<Ready<'_>, HelpDeskError> {
        self.refusals.look()?;
        Ok(Ready { client: self, path, body, what })
    }

    async fn ask(&self, method: Method, path: &str, body: Option<&Value>, what: &'static str) -> Result<Value, Fault> {
        self.refusals.turn().map_err(HelpDeskError::from)?;
        let answer = self.exchange(method, path, body).await.map_err(HelpDeskError::from)?;
        self.take_note(&answer);
        answer.ok(what)
    }

    /// Remembers whether the credentials were accepted.
    fn take_note(&self, answer: &Answer) {
        match answer.status {
            401 => self.refusals.refused(&refused_credentials()),
            // Whoever is refused something else has been let in.
            _ if answer.is_of_rest() && answer.status < 500 => self.refusals.forget(),
            _ => {}
        }
    }

    async fn exchange(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Answer, Silence> {
        let mut request = self.http.request(method, format!("{}{path}", self.rest)).header(header::ACCEPT, "application/json");
        request = request.header(header::AUTHORIZATION, self.authorization.clone());
        if let Some(body) = body {
            request = request.json(body);
        }
        let response = request.send().await.map_err(|error| {
            let what = format!("Request Tracker: {}", outgoing::describe(&error));
            if outgoing::never_left(&error) { Silence::NotSent(what) } else { Silence::NoAnswer(what) }
        })?;
        let status = response.status().as_u16();
        let retry_after = outgoing::retry_after(response.headers());
        let location = response.headers().get(header::LOCATION).and_then(|value| value.to_str().ok()).and_then(last_number);
        let body =
            outgoing::read_body(response, MAX_ANSWER).await.map_err(|error| Silence::NoAnswer(format!("Request Tracker: {error}")))?;
        let text = String::from_utf8_lossy(&body).into_owned();
        Ok(Answer { status, body: serde_json::from_str(&text).unwrap_or(Value::Null), text, retry_after, location })
    }
}

/// The number at the end of `/REST/2.0/transaction/77`.
fn last_number(location: &str) -> Option<String> {
    let last = location.rsplit('/').next()?;
    (!last.is_empty() && last.len() <= 20 && last.bytes().all(|byte| byte.is_ascii_digit())).then(|| last.to_owned())
}

/// What stands on a page of a list.
pub(super) fn items(page: &mut Value) -> Vec<Value> {
    match page["items"].take() {
        Value::Array(items) => items,
        _ => Vec::new(),
    }
}

fn refused_credentials() -> String {
    "Request Tracker did not accept the API user; check token, or username and password, and that the user is not disabled. A token can end, \
     and is made in RT under Logged in as > Settings > Auth Tokens"
        .to_owned()
}

impl Answer {
    fn is_of_rest(&self) -> bool {
        self.body.is_object() || self.body.is_array()
    }

    /// Whether the request was refused, so that nothing was written. What stands before RT may have passed it on when it fails itself.
    fn says_no(&self) -> bool {
        matches!(self.status, 300..=499) && self.status != 408
    }

    fn excerpt(&self) -> String {
        match self.body["message"].as_str() {
            Some(message) => shown(message.trim(), MAX_EXCERPT),
            None if self.body.is_null() => outgoing::excerpt(&self.text, MAX_EXCERPT),
            None => shown(&self.body.to_string(), MAX_EXCERPT),
        }
    }

    /// The body of a success; else what the failure means. `what` names the thing asked for.
    fn ok(self, what: &'static str) -> Result<Value, Fault> {
        let said = self.excerpt();
        let no_rest = |status: u16| {
            HelpDeskError::passing(format!(
                "no REST 2 of Request Tracker answers for {what}, but something else (HTTP {status}: {said}). request_tracker.url must be the \
                 address under which people open RT, with its path, such as https://rt.example.com/rt/; below it, REST/2.0/ must be reached \
                 without a sign-in page in front of it"
            ))
        };
        match self.status {
            200..=299 if self.is_of_rest() => Ok(self.body),
            401 => Err(HelpDeskError::Denied(refused_credentials()).into()),
            403 if self.is_of_rest() => Err(Fault::NoRight { what, said }),
            404 if self.is_of_rest() => Err(Fault::NotFound(what)),
            413 => Err(Fault::TooLarge(what)),
            408 | 409 | 425 | 429 | 500..=599 => Err(HelpDeskError::Passing {
                what: format!("Request Tracker answered HTTP {} for {what}: {said}", self.status),
                retry_after: self.retry_after,
            }
            .into()),
            status if !self.is_of_rest() => Err(no_rest(status).into()),
            status => Err(Fault::Refused { what, said: format!("HTTP {status}: {said}") }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// What an answer of that status and text means: a letter for the kind, and whether it proves that nothing was written.
    fn meaning(status: u16, text: &str) -> (char, bool) {
        let body = serde_json::from_str(text).unwrap_or(Value::Null);
        let answer = Answer { status, body, text: text.to_owned(), retry_after: None, location: None };
        let says_no = answer.says_no();
        let kind = match answer.ok("the note") {
            Ok(_) => 'o',
            Err(Fault::NotFound(_)) => 'n',
            Err(Fault::NoRight { .. }) => 'r',
            Err(Fault::Refused { .. }) => 'x',
            Err(Fault::TooLarge(_)) => 'l',
            Err(Fault::Other(HelpDeskError::Denied(_))) => 'd',
            Err(Fault::Other(HelpDeskError::Passing { .. })) => 'p',
            Err(Fault::Other(other)) => panic!("{other:?}"),
        };
        (kind, says_no)
    }

    #[test]
    fn status_and_shape_decide() {
        let said = |text: &str| json!({ "message": text }).to_string();
        let page = "<!DOCTYPE html>\n<html><head>\n<title>Login</title></head></html>";
        let check = |status, text: &str, expected: (char, bool)| assert_eq!(meaning(status, text), expected, "{status} {text}");
        check(201, r#"["Comments added"]"#, ('o', false));
        check(401, &said("Unauthorized"), ('d', true));
        check(401, page, ('d', true));
        check(403, &said("Forbidden"), ('r', true));
        check(404, &said("Not Found"), ('n', true));
        check(400, &said("Permission Denied"), ('x', true));
        check(412, &said("Precondition Failed"), ('x', true));
        check(415, &said("Unsupported Media Type"), ('x', true));
        check(413, page, ('l', true));
        // RT's pages, its sign-in and its guard against forged requests come with 200, a firewall's and a web server's with any status.
        check(200, page, ('p', false));
        check(201, page, ('p', false));
        check(302, "Login required", ('p', true));
        check(403, page, ('p', true));
        check(404, "Not Found", ('p', true));
        check(429, "", ('p', true));
        check(408, page, ('p', false));
        check(500, &said("Internal Server Error"), ('p', false));
        check(503, page, ('p', false));
    }

    #[test]
    fn a_web_page_is_told_by_its_title_and_what_to_do() {
        let text = "<html><title> Login </title>".to_owned();
        let answer = Answer { status: 200, body: Value::Null, text, retry_after: None, location: None };
        let said = answer.ok("the queue").unwrap_err().to_string();
        assert!(said.contains("“Login”") && said.contains("request_tracker.url"), "{said}");
    }

    #[test]
    fn a_location_ends_with_a_number() {
        assert_eq!(last_number("/rt/REST/2.0/transaction/77").as_deref(), Some("77"));
        assert_eq!(last_number("http://rt.example.com/REST/2.0/transaction/"), None);
        assert_eq!(last_number("/REST/2.0/user/jane"), None);
    }
}
