//! One request to GitLab's REST API v4 (argus-tickets.md 2.4), and what its answer means.
//!
//! The API answers JSON, errors too, but for its rate limit. A web page in its place is of something else: a sign-in in front of it, a
//! gateway, GitLab's own pages.

use std::path::Path;
use std::time::Duration;

use deskbridge_core::clock::random_bytes;
use deskbridge_core::note::Attachment;
use deskbridge_core::text::shown;
use deskbridge_http_client::{self as outgoing, BodyError, refusals::Refusals};
use reqwest::header::{self, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, RequestBuilder};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

use crate::HelpDeskError;

/// An answer's limit. Lists of issues have the issues' descriptions in them.
const MAX_ANSWER: usize = 16 * 1024 * 1024;
/// How much of an answer's words is told, in characters.
const MAX_EXCERPT: usize = 500;
/// Below the address of GitLab.
const API: &str = "api/v4/";
const GRAPHQL: &str = "api/graphql";
/// Takes personal, project and group access tokens.
const TOKEN: HeaderName = HeaderName::from_static("private-token");

/// Why a request gave nothing.
#[derive(Clone, Debug, thiserror::Error)]
pub(super) enum Fault {
    /// 404, in GitLab's own words. It is the same for what the token's user may not see.
    #[error("GitLab has no such record as {0}, or does not show it to the token's user")]
    NotFound(&'static str),
    /// 403, in GitLab's own words.
    #[error("GitLab does not let the token's user use {what}: {said}")]
    NoRight {
        /// What was asked.
        what: &'static str,
        /// In GitLab's words.
        said: String,
    },
    /// Refused in words: nothing was written, and the same request will be refused again.
    #[error("GitLab refused {what}: {said}")]
    Refused {
        /// What was asked.
        what: &'static str,
        /// In GitLab's words.
        said: String,
    },
    /// It is at another address now.
    #[error("{0} is at another address now")]
    Moved(&'static str, String),
    /// The request is too large for GitLab or for what stands before it (413).
    #[error("{0} is too large for GitLab or its web server (HTTP 413); raise the limit for requests")]
    TooLarge(&'static str),
    /// The answer has more than [`MAX_ANSWER`].
    #[error("GitLab's answer for {0} is too large")]
    AnswerTooLarge(&'static str),
    /// All else.
    #[error(transparent)]
    Other(#[from] HelpDeskError),
}

impl From<Fault> for HelpDeskError {
    /// A lacking right befalls this one thing, not the connection.
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Other(error) => error,
            fault => Self::Refused(fault.to_string()),
        }
    }
}

/// GitLab as one token's user.
pub(super) struct Client {
    http: reqwest::Client,
    /// With a slash at the end.
    site: String,
    token: HeaderValue,
    refusals: Refusals,
}

/// Why there is no answer.
enum Silence {
    /// The request never left.
    NotSent(String),
    /// It left, at least in part.
    NoAnswer(String),
    /// The answer is too large.
    TooLarge,
}

impl Silence {
    fn fault(self, what: &'static str) -> Fault {
        match self {
            Self::NotSent(said) | Self::NoAnswer(said) => HelpDeskError::passing(said).into(),
            Self::TooLarge => Fault::AnswerTooLarge(what),
        }
    }
}

/// A request that writes, ready to be sent.
pub(super) struct Ready<'a> {
    client: &'a Client,
    method: Method,
    path: String,
    body: Value,
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
        let Self { client, method, path, body, what } = self;
        if let Err(resting) = client.refusals.turn() {
            return Sent::Refused(HelpDeskError::from(resting).into());
        }
        let request = client.request(method, &path);
        let request = if body.is_null() { request } else { request.json(&body) };
        let answer = match client.exchange(request).await {
            Ok(answer) => answer,
            Err(Silence::NotSent(said)) => return Sent::Refused(HelpDeskError::passing(said).into()),
            Err(silence) => return Sent::Unknown(silence.fault(what).into()),
        };
        client.take_note(&answer);
        let says_no = answer.says_no();
        match answer.ok(what) {
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
    location: Option<String>,
    next_page: NextPage,
}

/// What an answer says of further pages.
enum NextPage {
    /// There is one, of this number.
    Number(u32),
    /// There is none.
    None,
    /// It says nothing.
    NotTold,
}

impl Client {
    /// A client; nothing is contacted. The error names the setting at fault.
    pub(super) fn new(site: String, token: &SecretString, ca_file: Option<&Path>) -> Result<Self, String> {
        let http = outgoing::trusting(ca_file)?;
        let mut token =
            HeaderValue::from_str(token.expose_secret().trim()).map_err(|_| "token: letters, digits and signs of ASCII only".to_owned())?;
        token.set_sensitive(true);
        Ok(Self { http, site, token, refusals: Refusals::default() })
    }

    /// A GET below the API.
    pub(super) async fn get(&self, path: &str, what: &'static str) -> Result<Value, Fault> {
        self.ask(self.request(Method::GET, path)).await.map_err(|silence| silence.or(what))?.ok(what)
    }

    /// The same for a list, page by page, until `wanted` answers something or there is no further page. At most so many pages.
    pub(super) async fn find_in_pages<T>(
        &self,
        path: &str,
        at_most: u32,
        what: &'static str,
        mut wanted: impl FnMut(&[Value]) -> Option<T>,
    ) -> Result<Option<T>, Fault> {
        let separator = if path.contains('?') { '&' } else { '?' };
        let mut page = 1;
        for _ in 0..at_most {
            let request = self.request(Method::GET, &format!("{path}{separator}per_page=100&page={page}"));
            let mut answer = self.ask(request).await.map_err(|silence| silence.or(what))?;
            let next = std::mem::replace(&mut answer.next_page, NextPage::NotTold);
            let body = answer.ok(what)?;
            let items = body.as_array().map(Vec::as_slice).unwrap_or_default();
            if let Some(found) = wanted(items) {
                return Ok(Some(found));
            }
            page = match next {
                NextPage::Number(next) if next > page => next,
                NextPage::Number(_) | NextPage::None => return Ok(None),
                NextPage::NotTold if items.is_empty() => return Ok(None),
                NextPage::NotTold => page + 1,
            };
        }
        Ok(None)
    }

    /// A question to the GraphQL API, for what REST does not tell.
    pub(super) async fn query(&self, query: &str, variables: &Value, what: &'static str) -> Result<Value, Fault> {
        let request = self.with_token(self.http.post(format!("{}{GRAPHQL}", self.site)));
        let request = request.json(&serde_json::json!({ "query": query, "variables": variables }));
        let mut answer = self.ask(request).await.map_err(|silence| silence.or(what))?.ok(what)?;
        if let Some(error) = answer["errors"][0]["message"].as_str() {
            return Err(Fault::Refused { what, said: shown(error, MAX_EXCERPT) });
        }
        Ok(answer["data"].take())
    }

    /// Uploads a file; the answer says where it is.
    pub(super) async fn upload(&self, path: &str, file: &Attachment) -> Result<Value, Fault> {
        const WHAT: &str = "the file";
        let boundary = format!("deskbridge-{}", u64::from_be_bytes(random_bytes()));
        let name: String = file.file_name.chars().filter(|character| !character.is_control() && !"\"\\/".contains(*character)).collect();
        let mut body = format!(
            "--{boundary}\r\nContent-Disposition: form-data; name=\"file\"; filename=\"{name}\"\r\nContent-Type: application/octet-stream\r\n\r\n"
        )
        .into_bytes();
        body.extend_from_slice(&file.bytes);
        body.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
        let request = self.request(Method::POST, path).header(header::CONTENT_TYPE, format!("multipart/form-data; boundary={boundary}"));
        self.ask(request.body(body)).await.map_err(|silence| silence.or(WHAT))?.ok(WHAT)
    }

    /// Gets a request that writes ready to be sent.
    pub(super) fn ready(&self, method: Method, path: String, body: Value, what: &'static str) -> Result<Ready<'_>, HelpDeskError> {
        self.refusals.look()?;
        Ok(Ready { client: self, method, path, body, what })
    }

    /// The path below the API that an address on this GitLab leads to.
    pub(super) fn path_of(&self, location: &str) -> Option<String> {
        let base = url::Url::parse(&format!("{}{API}", self.site)).ok()?;
        let target = base.join(location).ok()?;
        target.as_str().strip_prefix(base.as_str()).map(str::to_owned)
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.with_token(self.http.request(method, format!("{}{API}{path}", self.site)))
    }

    fn with_token(&self, request: RequestBuilder) -> RequestBuilder {
        request.header(header::ACCEPT, "application/json").header(TOKEN, self.token.clone())
    }

    async fn ask(&self, request: RequestBuilder) -> Result<Answer, NotAsked> {
        self.refusals.turn().map_err(|resting| NotAsked::Resting(resting.into()))?;
        let answer = self.exchange(request).await.map_err(NotAsked::Silence)?;
        self.take_note(&answer);
        Ok(answer)
    }

    /// Remembers whether the token was accepted.
    fn take_note(&self, answer: &Answer) {
        match answer.status {
            401 => self.refusals.refused(&refused_token()),
            // Whoever is refused something else has been let in.
            _ if answer.is_of_api() && answer.status < 500 => self.refusals.forget(),
            _ => {}
        }
    }

    async fn exchange(&self, request: RequestBuilder) -> Result<Answer, Silence> {
        let response = request.send().await.map_err(|error| {
            let said = format!("GitLab: {}", outgoing::describe(&error));
            if outgoing::never_left(&error) { Silence::NotSent(said) } else { Silence::NoAnswer(said) }
        })?;
        let status = response.status().as_u16();
        let headers = response.headers();
        let retry_after = outgoing::retry_after(headers);
        let location = headers.get(header::LOCATION).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let next_page = next_page(headers);
        let body = outgoing::read_body(response, MAX_ANSWER).await.map_err(|error| match error {
            BodyError::TooLarge(_) => Silence::TooLarge,
            BodyError::Broken(_) => Silence::NoAnswer(format!("GitLab: {error}")),
        })?;
        let text = String::from_utf8_lossy(&body).into_owned();
        Ok(Answer { status, body: serde_json::from_str(&text).unwrap_or(Value::Null), text, retry_after, location, next_page })
    }
}

/// Why a question has no answer.
enum NotAsked {
    /// The token rests.
    Resting(HelpDeskError),
    Silence(Silence),
}

impl NotAsked {
    fn or(self, what: &'static str) -> Fault {
        match self {
            Self::Resting(error) => error.into(),
            Self::Silence(silence) => silence.fault(what),
        }
    }
}

/// `x-next-page`, which is empty on the last page; GitLab leaves it out of none of its lists but very long ones, which have `Link` alone.
fn next_page(headers: &HeaderMap) -> NextPage {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    if let Some(next) = text("x-next-page") {
        return next.trim().parse().map_or(NextPage::None, NextPage::Number);
    }
    let Some(links) = text("link") else { return NextPage::NotTold };
    let next = links.split(',').find(|link| link.contains("rel=\"next\""));
    let number = next.and_then(|link| {
        let (_, query) = link.split('>').next()?.split_once('?')?;
        query.split('&').find_map(|pair| pair.strip_prefix("page=")?.parse().ok())
    });
    number.map_or(NextPage::None, NextPage::Number)
}

fn refused_token() -> String {
    "GitLab did not accept gitlab.token; it may have ended or been revoked. Make a new one with the scope api: in the project under Settings > \
     Access tokens, or as a user under Preferences > Access tokens"
        .to_owned()
}

/// What GitLab says in an error: `message` is a text, a list or an object of lists; some errors have `error` and `error_description` in its
/// place (argus-tickets.md 2.4).
fn words(body: &Value) -> Option<String> {
    let said = match &body["message"] {
        Value::Null => match (body["error"].as_str(), body["error_description"].as_str()) {
            (Some(error), Some(description)) => format!("{error}: {description}"),
            (Some(error), None) => error.to_owned(),
            (None, Some(description)) => description.to_owned(),
            (None, None) => flat(&body["error"]),
        },
        message => flat(message),
    };
    let said = shown(said.trim(), MAX_EXCERPT);
    (!said.is_empty()).then_some(said)
}

/// `{"title": ["is too long", "is odd"], "base": ["no"]}` as `title is too long, is odd; no`.
fn flat(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(flat).collect::<Vec<_>>().join(", "),
        Value::Object(members) => {
            let told = members.iter().map(|(name, value)| match name.as_str() {
                "base" | "error" => flat(value),
                name => format!("{name} {}", flat(value)),
            });
            told.collect::<Vec<_>>().join("; ")
        }
        other => other.to_string(),
    }
}

impl Answer {
    fn is_of_api(&self) -> bool {
        self.body.is_object() || self.body.is_array()
    }

    /// Whether the request was refused, so that nothing was written. What stands before GitLab may have passed it on when it fails itself.
    fn says_no(&self) -> bool {
        matches!(self.status, 300..=499) && self.status != 408
    }

    fn excerpt(&self) -> String {
        words(&self.body).unwrap_or_else(|| shown(&outgoing::excerpt(&self.text, MAX_EXCERPT), MAX_EXCERPT))
    }

    /// GitLab takes it for spam, or asks for a captcha, which nobody can solve here.
    fn is_called_spam(&self) -> bool {
        self.body["needs_captcha_response"].as_bool() == Some(true)
            || self.body["message"]["error"].as_str().is_some_and(|error| error.to_ascii_lowercase().contains("spam"))
    }

    /// The body of a success; else what the failure means. `what` names the thing asked for.
    fn ok(self, what: &'static str) -> Result<Value, Fault> {
        let said = self.excerpt();
        match self.status {
            200..=299 if self.is_of_api() || self.status == 204 => Ok(self.body),
            300..=399 if self.location.is_some() => Err(Fault::Moved(what, self.location.unwrap_or_default())),
            401 => Err(HelpDeskError::Denied(refused_token()).into()),
            403 if self.body["error"] == "insufficient_scope" => {
                Err(HelpDeskError::Denied(format!("gitlab.token lacks the scope api ({said}); make one that has it")).into())
            }
            400..=499 if self.is_called_spam() => {
                let advice = "GitLab takes it for spam. Its administrator can let this user write: Admin > Settings > Reporting > Spam and \
                              anti-bot protection";
                Err(Fault::Refused { what, said: format!("{said}. {advice}") })
            }
            403 if self.is_of_api() => Err(Fault::NoRight { what, said }),
            404 if self.is_of_api() => Err(Fault::NotFound(what)),
            413 => Err(Fault::TooLarge(what)),
            408 | 409 | 425 | 429 | 500..=599 => Err(HelpDeskError::Passing {
                what: format!("GitLab answered HTTP {} for {what}: {said}", self.status),
                retry_after: self.retry_after,
            }
            .into()),
            status if !self.is_of_api() => Err(HelpDeskError::passing(format!(
                "no API of GitLab answers for {what}, but something else (HTTP {status}: {said}). gitlab.url must be the address under which \
                 people open GitLab, with its path; below it, api/v4/ must be reached without a sign-in page in front of it"
            ))
            .into()),
            status => Err(Fault::Refused { what, said: format!("HTTP {status}: {said}") }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn answer(status: u16, text: &str) -> Answer {
        let body = serde_json::from_str(text).unwrap_or(Value::Null);
        Answer { status, body, text: text.to_owned(), retry_after: None, location: None, next_page: NextPage::NotTold }
    }

    /// What an answer of that status and text means: a letter for the kind, and whether it proves that nothing was written.
    fn meaning(status: u16, text: &str) -> (char, bool) {
        let answer = answer(status, text);
        let says_no = answer.says_no();
        let kind = match answer.ok("the note") {
            Ok(_) => 'o',
            Err(Fault::NotFound(_)) => 'n',
            Err(Fault::NoRight { .. }) => 'r',
            Err(Fault::Refused { .. }) => 'x',
            Err(Fault::TooLarge(_)) => 'l',
            Err(Fault::Other(HelpDeskError::Denied(_))) => 'd',
            Err(Fault::Other(HelpDeskError::Passing { .. })) => 'p',
            Err(other) => panic!("{other:?}"),
        };
        (kind, says_no)
    }

    #[test]
    fn status_and_shape_decide() {
        let page = "<!DOCTYPE html>\n<html><head>\n<title>Sign in</title></head></html>";
        let check = |status, text: &str, expected: (char, bool)| assert_eq!(meaning(status, text), expected, "{status} {text}");
        check(201, r#"{"iid":14}"#, ('o', false));
        check(401, r#"{"message":"401 Unauthorized"}"#, ('d', true));
        check(403, r#"{"error":"insufficient_scope","error_description":"higher privileges","scope":"api"}"#, ('d', true));
        check(403, r#"{"message":"403 Forbidden"}"#, ('r', true));
        check(404, r#"{"message":"404 Issue Not Found"}"#, ('n', true));
        check(404, r#"{"error":"404 Not Found"}"#, ('n', true));
        check(400, r#"{"error":"title is missing"}"#, ('x', true));
        check(400, r#"{"message":{"title":["is too long (maximum is 255 characters)"]}}"#, ('x', true));
        check(400, r#"{"message":{"error":"Your issue has been recognized as spam and has been discarded."}}"#, ('x', true));
        check(409, r#"{"needs_captcha_response":true,"message":{"error":"Please solve the reCAPTCHA"}}"#, ('x', true));
        check(405, r#"{"message":"Non GET methods are not allowed for moved projects"}"#, ('x', true));
        check(422, r#"{"message":"422 Unprocessable Entity"}"#, ('x', true));
        check(409, r#"{"message":"409 Conflict: Resource lock"}"#, ('p', true));
        check(413, page, ('l', true));
        check(429, "Retry later\n", ('p', true));
        // A sign-in, a firewall and a web server answer with any status.
        check(200, page, ('p', false));
        check(201, page, ('p', false));
        check(302, "Found", ('p', true));
        check(404, "Not Found", ('p', true));
        check(408, page, ('p', false));
        check(500, r#"{"message":"500 Internal Server Error"}"#, ('p', false));
        check(502, page, ('p', false));
    }

    #[test]
    fn words_are_read_in_every_shape() {
        for (body, expected) in [
            (json!({ "message": "400 (Bad request) \"title\" not given" }), "400 (Bad request) \"title\" not given"),
            (json!({ "message": { "title": ["is too long", "is odd"] } }), "title is too long, is odd"),
            (json!({ "message": { "base": ["no"] } }), "no"),
            (json!({ "message": ["one", "two"] }), "one, two"),
            (json!({ "message": { "error": "recognized as spam" } }), "recognized as spam"),
            (json!({ "error": "title is missing, description is invalid" }), "title is missing, description is invalid"),
            (json!({ "error": "invalid_token", "error_description": "Token was revoked." }), "invalid_token: Token was revoked."),
        ] {
            assert_eq!(words(&body).as_deref(), Some(expected), "{body}");
        }
        assert_eq!(words(&json!({ "id": 7 })), None);
        let said = answer(200, "<html><title> Sign in </title>").ok("the project").unwrap_err().to_string();
        assert!(said.contains("“Sign in”") && said.contains("gitlab.url"), "{said}");
    }

    #[test]
    fn further_pages_are_told_by_either_header() {
        let next = |name: &'static str, value: &str| {
            let headers = HeaderMap::from_iter([(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap())]);
            match next_page(&headers) {
                NextPage::Number(number) => Some(number),
                NextPage::None => Some(0),
                NextPage::NotTold => None,
            }
        };
        let link = |page: u32, rel: &str| {
            format!("<https://gitlab.example.com/api/v4/projects/7/labels?id=7&page={page}&per_page=20>; rel=\"{rel}\"")
        };
        assert_eq!((next("x-next-page", "2"), next("x-next-page", ""), next("x-page", "1")), (Some(2), Some(0), None));
        assert_eq!(next("link", &format!("{}, {}", link(1, "first"), link(3, "next"))), Some(3));
        assert_eq!(next("link", &link(1, "first")), Some(0));
    }
}
