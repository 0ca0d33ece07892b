//! One request to Jira's REST API (argus-tickets.md 2.2), and what its answer means.
//!
//! Jira answers JSON, errors too. Something else in its place is of another system, whatever the status: a sign-in page, a gateway.

use std::path::Path;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use deskbridge_core::text::shown;
use deskbridge_http_client::{self as outgoing, refusals::Refusals};
use reqwest::Method;
use reqwest::header::{self, HeaderMap, HeaderValue};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

use crate::HelpDeskError;

/// An answer's limit: a page of comments, each with its whole text.
const MAX_ANSWER: usize = 16 * 1024 * 1024;
/// How much of an unexpected answer is told, in characters.
const MAX_EXCERPT: usize = 300;

/// Which Jira.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// REST API 3: texts are ADF.
    Cloud,
    /// REST API 2: texts are wiki markup.
    DataCenter,
}

/// How Jira knows us.
pub(super) enum Credentials {
    /// Cloud: e-mail address and API token.
    Basic(String, SecretString),
    /// Data Center: a personal access token.
    Bearer(SecretString),
}

/// A refusal of Jira's `ErrorCollection`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Said {
    /// All of it, for people.
    pub(super) text: String,
    /// `errors`: ids of fields, and what is wrong with each.
    pub(super) fields: Vec<(String, String)>,
    /// There was more than what is about fields.
    pub(super) is_of_more: bool,
}

/// Why a request gave nothing.
#[derive(Clone, Debug, thiserror::Error)]
pub(super) enum Fault {
    /// 404, in Jira's own words: it is not there, or is not shown to the API user.
    #[error("Jira has no such record for {what}, or does not show it to the API user: {}", said.text)]
    NotFound {
        /// What was asked.
        what: &'static str,
        /// In Jira's words.
        said: Said,
    },
    /// Refused in words: nothing was written, and the same request will be refused again.
    #[error("Jira refused {what}: {}", said.text)]
    Refused {
        /// What was asked.
        what: &'static str,
        /// In Jira's words.
        said: Said,
    },
    /// The request is too large for Jira or for what stands before it (413).
    #[error("{0} is too large for Jira (HTTP 413)")]
    TooLarge(&'static str),
    /// All else.
    #[error(transparent)]
    Other(#[from] HelpDeskError),
}

impl From<Fault> for HelpDeskError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Other(error) => error,
            fault => Self::Refused(fault.to_string()),
        }
    }
}

/// Jira as one API user.
pub(super) struct Client {
    http: reqwest::Client,
    /// With a slash at the end.
    rest: String,
    authorization: HeaderValue,
    refusals: Refusals,
    pub(super) kind: Kind,
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

/// What a request carries.
pub(super) enum Body {
    /// Nothing.
    None,
    /// JSON.
    Json(Value),
    /// One file, as `multipart/form-data`.
    File {
        /// Its name.
        name: String,
        /// Its type.
        content_type: &'static str,
        /// It.
        bytes: Vec<u8>,
    },
}

/// A request that writes, ready to be sent.
pub(super) struct Ready<'a> {
    client: &'a Client,
    path: String,
    body: Body,
    what: &'static str,
}

/// What became of a request that writes.
pub(super) enum Sent {
    /// Done: the answer.
    Done(Value),
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
        let answer = match self.client.exchange(Method::POST, &self.path, self.body).await {
            Ok(answer) => answer,
            Err(Silence::NotSent(what)) => return Sent::Refused(HelpDeskError::passing(what).into()),
            Err(Silence::NoAnswer(what)) => return Sent::Unknown(HelpDeskError::passing(what)),
        };
        self.client.take_note(&answer);
        let says_no = answer.says_no();
        match answer.ok(self.what, self.client.kind) {
            Ok(body) => Sent::Done(body),
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
    /// Jira took the request for one of nobody, or wants a person to sign in first, and said so in a header.
    refused_login: Option<&'static str>,
}

impl Client {
    /// A client; nothing is contacted. The error names the setting at fault.
    pub(super) fn new(api: &str, kind: Kind, credentials: &Credentials, ca_file: Option<&Path>) -> Result<Self, String> {
        let http = outgoing::trusting(ca_file)?;
        let value = match credentials {
            Credentials::Bearer(token) => format!("Bearer {}", token.expose_secret().trim()),
            Credentials::Basic(email, token) => format!("Basic {}", STANDARD.encode(format!("{email}:{}", token.expose_secret().trim()))),
        };
        let mut authorization = HeaderValue::from_str(&value).map_err(|_| "token: letters, digits and signs of ASCII only")?;
        authorization.set_sensitive(true);
        let version = match kind {
            Kind::Cloud => 3,
            Kind::DataCenter => 2,
        };
        Ok(Self { http, rest: format!("{api}rest/api/{version}/"), authorization, refusals: Refusals::default(), kind })
    }

    /// A GET below the REST API.
    pub(super) async fn get(&self, path: &str, what: &'static str) -> Result<Value, Fault> {
        self.ask(Method::GET, path, Body::None, what).await
    }

    /// A POST that changes nothing, or may be sent again.
    pub(super) async fn post(&self, path: &str, body: Value, what: &'static str) -> Result<Value, Fault> {
        self.ask(Method::POST, path, Body::Json(body), what).await
    }

    /// Gets a request that writes ready to be sent.
    pub(super) fn ready(&self, path: String, body: Body, what: &'static str) -> Result<Ready<'_>, HelpDeskError> {
        self.refusals.look()?;
        Ok(Ready { client: self, path, body, what })
    }

    async fn ask(&self, method: Method, path: &str, body: Body, what: &'static str) -> Result<Value, Fault> {
        self.refusals.turn().map_err(HelpDeskError::from)?;
        let answer = self.exchange(method, path, body).await.map_err(HelpDeskError::from)?;
        self.take_note(&answer);
        answer.ok(what, self.kind)
    }

    /// Remembers whether the credentials were accepted.
    fn take_note(&self, answer: &Answer) {
        if answer.status == 401 || answer.refused_login.is_some() {
            self.refusals.refused(&refused_credentials(self.kind, answer.refused_login));
        } else if answer.is_of_jira() && answer.status < 500 {
            self.refusals.forget();
        }
    }

    async fn exchange(&self, method: Method, path: &str, body: Body) -> Result<Answer, Silence> {
        let mut request = self.http.request(method, format!("{}{path}", self.rest)).header(header::ACCEPT, "application/json");
        // Else Jira takes a POST for one of another site's page, and refuses files always.
        request = request.header(header::AUTHORIZATION, self.authorization.clone()).header("X-Atlassian-Token", "no-check");
        request = match body {
            Body::None => request,
            Body::Json(body) => request.json(&body),
            Body::File { name, content_type, bytes } => {
                let (kind, body) = multipart(&name, content_type, &bytes);
                request.header(header::CONTENT_TYPE, kind).body(body)
            }
        };
        let response = request.send().await.map_err(|error| {
            let what = format!("Jira: {}", outgoing::describe(&error));
            if outgoing::never_left(&error) { Silence::NotSent(what) } else { Silence::NoAnswer(what) }
        })?;
        let status = response.status().as_u16();
        let retry_after = outgoing::retry_after(response.headers());
        let refused_login = refused_login(response.headers());
        let body = outgoing::read_body(response, MAX_ANSWER).await.map_err(|error| Silence::NoAnswer(format!("Jira: {error}")))?;
        let text = String::from_utf8_lossy(&body).into_owned();
        Ok(Answer { status, body: serde_json::from_str(&text).unwrap_or(Value::Null), text, retry_after, refused_login })
    }
}

/// Content type and body of a form with one file. Its name is of letters, digits and hyphens (reports: `file_names_are_harmless`).
fn multipart(name: &str, content_type: &str, bytes: &[u8]) -> (String, Vec<u8>) {
    let boundary = format!("deskbridge-{}", uuid::Uuid::from_bytes(deskbridge_core::clock::random_bytes()).simple());
    let name: String = name.chars().map(|character| if character.is_control() || character == '"' { '_' } else { character }).collect();
    let mut body = format!(
        "--{boundary}\r\nContent-Disposition: form-data; name=\"file\"; filename=\"{name}\"\r\nContent-Type: {content_type}\r\n\r\n"
    )
    .into_bytes();
    body.extend_from_slice(bytes);
    body.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
    (format!("multipart/form-data; boundary={boundary}"), body)
}

/// Jira answers what anybody may see even where it did not accept the credentials, and says so in a header.
fn refused_login(headers: &HeaderMap) -> Option<&'static str> {
    let has = |name: &str, word: &str| headers.get_all(name).iter().any(|value| value.to_str().is_ok_and(|text| text.contains(word)));
    if has("x-authentication-denied-reason", "CAPTCHA") {
        return Some("it wants a person to sign in as this user and solve a CAPTCHA first");
    }
    let is_refused = ["AUTHENTICATED_FAILED", "AUTHENTICATION_DENIED"].iter().any(|word| has("x-seraph-loginreason", word));
    is_refused.then_some("the sign-in failed")
}

fn refused_credentials(kind: Kind, why: Option<&str>) -> String {
    let why = why.map_or_else(String::new, |why| format!(" ({why})"));
    match kind {
        Kind::Cloud => format!(
            "Jira did not accept the API user{why}; check email and token. An API token lives one year at most; a token with scopes needs \
             jira.api_url = https://api.atlassian.com/ex/jira/{{cloudId}}"
        ),
        Kind::DataCenter => format!(
            "Jira did not accept the API user{why}; check token: a personal access token of Jira Data Center, which can expire. For Jira Cloud \
             set email, too"
        ),
    }
}

impl Answer {
    fn is_of_jira(&self) -> bool {
        self.body.is_object() || self.body.is_array()
    }

    /// Whether the request was refused, so that nothing was written. What stands before Jira may have passed it on when it fails itself.
    fn says_no(&self) -> bool {
        matches!(self.status, 300..=499) && self.status != 408
    }

    fn said(&self) -> Said {
        let messages = self.body["errorMessages"].as_array().into_iter().flatten().filter_map(Value::as_str);
        // Some errors come from what stands before the REST API's own code.
        let other = ["message", "error"].iter().find_map(|name| self.body[name].as_str());
        let messages: Vec<String> = messages.chain(other).map(|text| shown(text.trim(), MAX_EXCERPT)).collect();
        let fields: Vec<(String, String)> = self.body["errors"]
            .as_object()
            .into_iter()
            .flatten()
            .map(|(field, said)| (field.clone(), shown(said.as_str().map_or_else(|| said.to_string(), str::to_owned).trim(), MAX_EXCERPT)))
            .collect();
        let about = fields.iter().map(|(field, said)| format!("{}: {said}", shown(field, 60)));
        let text = messages.iter().cloned().chain(about).collect::<Vec<_>>().join("; ");
        let text = if text.is_empty() { self.excerpt() } else { text };
        Said { text, is_of_more: !messages.is_empty(), fields }
    }

    fn excerpt(&self) -> String {
        if self.body.is_null() {
            return outgoing::excerpt(&self.text, MAX_EXCERPT);
        }
        shown(&self.body.to_string(), MAX_EXCERPT)
    }

    /// The body of a success; else what the failure means. `what` names the thing asked for.
    fn ok(self, what: &'static str, kind: Kind) -> Result<Value, Fault> {
        if self.status == 401 || self.refused_login.is_some() {
            return Err(HelpDeskError::Denied(refused_credentials(kind, self.refused_login)).into());
        }
        let said = self.said();
        match self.status {
            204 => Ok(Value::Null),
            200..=299 if self.is_of_jira() => Ok(self.body),
            404 | 410 if self.is_of_jira() => Err(Fault::NotFound { what, said }),
            413 => Err(Fault::TooLarge(what)),
            408 | 409 | 425 | 429 | 500..=599 => Err(HelpDeskError::Passing {
                what: format!("Jira answered HTTP {} for {what}: {}", self.status, said.text),
                retry_after: self.retry_after,
            }
            .into()),
            status if !self.is_of_jira() => Err(HelpDeskError::passing(format!(
                "no REST API of Jira answers for {what}, but something else (HTTP {status}: {}). jira.url must be the address under which people \
                 open Jira, with its path; below it, rest/api must be reached without a sign-in page in front of it",
                said.text
            ))
            .into()),
            status => Err(Fault::Refused { what, said: Said { text: format!("HTTP {status}: {}", said.text), ..said } }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn answer(status: u16, text: &str) -> Answer {
        let body = serde_json::from_str(text).unwrap_or(Value::Null);
        Answer { status, body, text: text.to_owned(), retry_after: None, refused_login: None }
    }

    /// What an answer of that status and text means: a letter for the kind, and whether it proves that nothing was written.
    fn meaning(status: u16, text: &str) -> (char, bool) {
        let answer = answer(status, text);
        let says_no = answer.says_no();
        let kind = match answer.ok("the note", Kind::Cloud) {
            Ok(_) => 'o',
            Err(Fault::NotFound { .. }) => 'n',
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
        let said = json!({ "errorMessages": ["no"], "errors": {} }).to_string();
        let page = "<!DOCTYPE html>\n<html><head>\n<title>Log in</title></head></html>";
        let check = |status, text: &str, expected: (char, bool)| assert_eq!(meaning(status, text), expected, "{status} {text}");
        check(201, r#"{"id":"1"}"#, ('o', false));
        check(204, "", ('o', false));
        check(400, &said, ('x', true));
        check(401, "Client must be authenticated to access this resource.", ('d', true));
        check(403, &said, ('x', true));
        check(404, &said, ('n', true));
        check(413, page, ('l', true));
        check(422, &said, ('x', true));
        check(429, "", ('p', true));
        // A sign-in page comes with 200, a firewall's and a web server's with any status.
        check(200, page, ('p', false));
        check(201, page, ('p', false));
        check(302, "", ('p', true));
        check(403, page, ('p', true));
        check(404, page, ('p', true));
        check(408, page, ('p', false));
        check(500, &said, ('p', false));
        check(503, page, ('p', false));
    }

    #[test]
    fn every_part_of_a_refusal_is_told() {
        let body = json!({ "errorMessages": ["Rule 7"], "errors": { "summary": "Summary can't exceed 255 characters." } });
        let said = answer(400, &body.to_string()).said();
        assert_eq!(said.text, "Rule 7; summary: Summary can't exceed 255 characters.");
        assert!(said.is_of_more && said.fields.len() == 1);
        let said = answer(401, r#"{"code":401,"message":"Unauthorized; scope does not match"}"#).said();
        assert_eq!(said.text, "Unauthorized; scope does not match");
        assert_eq!(answer(403, "<html><title> Log in </title>").said().text, "a web page, “Log in”");
    }

    #[test]
    fn a_refused_sign_in_is_told_by_a_header_too() {
        let headers =
            |name: &'static str, value: &'static str| HeaderMap::from_iter([(name.parse().unwrap(), HeaderValue::from_static(value))]);
        assert!(refused_login(&headers("x-seraph-loginreason", "AUTHENTICATED_FAILED")).is_some());
        assert!(refused_login(&headers("x-authentication-denied-reason", "CAPTCHA_CHALLENGE; login-url=x")).is_some());
        assert!(refused_login(&headers("x-seraph-loginreason", "OK")).is_none());
        let refused = Answer { refused_login: Some("x"), ..answer(200, r#"{"issues":[]}"#) };
        assert!(matches!(refused.ok("tickets", Kind::Cloud), Err(Fault::Other(HelpDeskError::Denied(_)))));
    }
}
