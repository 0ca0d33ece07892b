//! One request to GitHub's REST API (argus-tickets.md 2.3), and what its answer means.
//!
//! GitHub answers JSON, errors too. A web page in its place is of something else: a gateway, a sign-in, another web server.

use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use deskbridge_core::text::shown;
use deskbridge_http_client::limiter::{Limiter, NoTurn, Urgency, Window};
use deskbridge_http_client::{self as outgoing, refusals::Refusals};
use reqwest::Method;
use reqwest::header::{self, HeaderMap, HeaderValue};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use url::Url;

use crate::HelpDeskError;

/// An answer's limit: a page of [`PER_PAGE`] texts, each as long as GitHub takes them.
const MAX_ANSWER: usize = 24 * 1024 * 1024;
/// Issues or comments in one answer, at most.
pub(super) const PER_PAGE: usize = 50;
/// How much of an unexpected answer is told, in characters.
const MAX_EXCERPT: usize = 400;
/// Longest wait for the answer to a write: GitHub ends a request after 10 s (argus-tickets.md 2.3).
const WRITE_TIMEOUT: Duration = Duration::from_secs(12);
/// Redirects that are followed: a repository can be renamed and moved.
const MAX_REDIRECTS: usize = 3;
/// The second is for what knows no media type of GitHub's own.
const ACCEPT: &str = "application/vnd.github+json, application/json;q=0.9";
/// Supported until March 2028 at least.
const API_VERSION: &str = "2022-11-28";
/// After a refusal for too many requests that says nothing of when to come again; each further one doubles it.
const LEAST_PAUSE: Duration = Duration::from_mins(1);
const LONGEST_PAUSE: Duration = Duration::from_mins(16);
/// GitHub takes about 80 new contents a minute and 500 an hour from one user; the rest is left to others.
const NEW_CONTENTS: [Window; 2] =
    [Window { calls: 64, length: Duration::from_mins(1) }, Window { calls: 450, length: Duration::from_hours(1) }];

/// Why a request gave nothing.
#[derive(Clone, Debug, thiserror::Error)]
pub(super) enum Fault {
    /// 404, in GitHub's own words: it is not there, or the token may not see it.
    #[error("GitHub shows the token no such thing: {0}")]
    NotFound(&'static str),
    /// 403, in GitHub's own words.
    #[error("GitHub does not let the token use {what}: {said}")]
    NoRight {
        /// What was asked.
        what: &'static str,
        /// In GitHub's words.
        said: String,
    },
    /// Refused in words: nothing was written, and the same request will be refused again.
    #[error("GitHub refused {what}: {said}")]
    Refused {
        /// What was asked.
        what: &'static str,
        /// In GitHub's words.
        said: String,
        /// 422: the request's content is at fault.
        is_of_content: bool,
        /// 410: it was deleted, or issues are turned off.
        is_gone: bool,
    },
    /// All else.
    #[error(transparent)]
    Other(#[from] HelpDeskError),
}

impl From<Fault> for HelpDeskError {
    /// A lacking permission befalls this one thing: rights differ by repository.
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Other(error) => error,
            fault => Self::Refused(fault.to_string()),
        }
    }
}

/// GitHub with one token.
pub(super) struct Client {
    http: reqwest::Client,
    /// With a slash at the end.
    api: String,
    authorization: HeaderValue,
    refusals: Refusals,
    /// Whether GitHub takes requests at all.
    requests: Limiter,
    /// What makes new content, where the limits are known.
    writes: Option<Limiter>,
    /// Refusals for too many requests in a row that did not say when to come again.
    strikes: AtomicU32,
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
    method: Method,
    path: String,
    body: Value,
    what: &'static str,
}

/// What became of a request that writes.
pub(super) enum Sent {
    /// Done: the answer.
    Done(Value),
    /// The repository has another name now. Nothing was written.
    Moved,
    /// Nothing was written.
    Refused(Fault),
    /// It may be written, or may still be.
    Unknown(HelpDeskError),
}

/// A page of a list.
pub(super) struct Page {
    /// What is on it.
    pub(super) items: Vec<Value>,
    /// Another follows.
    pub(super) next: Option<String>,
}

impl Ready<'_> {
    /// Sends exactly one request.
    pub(super) async fn send(self) -> Sent {
        if let Err(error) = self.client.may_ask().await {
            return Sent::Refused(error.into());
        }
        let url = format!("{}{}", self.client.api, self.path);
        let answer = match self.client.exchange(self.method, &url, Some(&self.body)).await {
            Ok(answer) => answer,
            Err(Silence::NotSent(what)) => return Sent::Refused(HelpDeskError::passing(what).into()),
            Err(Silence::NoAnswer(what)) => return Sent::Unknown(HelpDeskError::passing(what)),
        };
        if answer.is_redirect() {
            return Sent::Moved;
        }
        let says_no = answer.says_no();
        match answer.ok(self.what) {
            Ok(answer) => Sent::Done(answer.body),
            Err(fault) if says_no => Sent::Refused(fault),
            Err(fault) => Sent::Unknown(fault.into()),
        }
    }
}

/// What came back.
pub(super) struct Answer {
    status: u16,
    headers: HeaderMap,
    /// JSON, else null.
    pub(super) body: Value,
    text: String,
    /// It was one request too many; GitHub wants to be left alone for so long.
    limited: Option<Duration>,
}

impl Client {
    /// A client; nothing is contacted. The error names the setting at fault. `is_hosted`: it is GitHub's own service.
    pub(super) fn new(api: String, token: &SecretString, ca_file: Option<&Path>, is_hosted: bool) -> Result<Self, String> {
        let http = outgoing::trusting(ca_file)?;
        let value = format!("Bearer {}", token.expose_secret().trim());
        let mut authorization = HeaderValue::from_str(&value).map_err(|_| "token: letters, digits and signs of ASCII only".to_owned())?;
        authorization.set_sensitive(true);
        Ok(Self {
            http,
            api,
            authorization,
            refusals: Refusals::default(),
            requests: Limiter::of_windows(Vec::new()),
            writes: is_hosted.then(|| Limiter::of_windows(NEW_CONTENTS.to_vec())),
            strikes: AtomicU32::new(0),
        })
    }

    /// Something below the API's address.
    pub(super) async fn get(&self, path: &str, what: &'static str) -> Result<Value, Fault> {
        self.ask(path, what).await.map(|answer| answer.body)
    }

    /// A page of a list: `query` is the first one's, or what an earlier page says of the next.
    pub(super) async fn page(&self, path: &str, query: &str, what: &'static str) -> Result<Page, Fault> {
        let answer = self.ask(&format!("{path}?{query}"), what).await?;
        let next = answer.header("link").and_then(next_query);
        match answer.body {
            Value::Array(items) => Ok(Page { items, next }),
            _ => Err(HelpDeskError::passing(format!("GitHub answered something else than a list for {what}")).into()),
        }
    }

    /// The same with what else the answer says. A renamed repository's answers are fetched from where GitHub says they are, if that is
    /// its API too.
    pub(super) async fn ask(&self, path: &str, what: &'static str) -> Result<Answer, Fault> {
        let mut url = format!("{}{path}", self.api);
        for _ in 0..MAX_REDIRECTS {
            self.may_ask().await?;
            let answer = self.exchange(Method::GET, &url, None).await.map_err(HelpDeskError::from)?;
            match answer.location(&url) {
                Some(to) if answer.is_redirect() && is_below(&self.api, &to) => url = to.into(),
                _ => return answer.ok(what),
            }
        }
        Err(HelpDeskError::passing(format!("GitHub sends the question for {what} from one address to another")).into())
    }

    /// Gets a request that writes ready to be sent, and waits for its turn.
    pub(super) async fn ready(&self, method: Method, path: String, body: Value, what: &'static str) -> Result<Ready<'_>, HelpDeskError> {
        self.refusals.look()?;
        if let Some(writes) = &self.writes {
            drop(writes.turn(Urgency::Work).await.map_err(no_turn)?);
        }
        Ok(Ready { client: self, method, path, body, what })
    }

    /// Whether GitHub may be asked now: it is neither to be left alone, nor did it refuse the token.
    async fn may_ask(&self) -> Result<(), HelpDeskError> {
        drop(self.requests.turn(Urgency::Work).await.map_err(no_turn)?);
        Ok(self.refusals.turn()?)
    }

    async fn exchange(&self, method: Method, url: &str, body: Option<&Value>) -> Result<Answer, Silence> {
        let mut request = self.http.request(method, url).header(header::ACCEPT, ACCEPT).header("X-GitHub-Api-Version", API_VERSION);
        request = request.header(header::AUTHORIZATION, self.authorization.clone());
        if let Some(body) = body {
            request = request.json(body).timeout(WRITE_TIMEOUT);
        }
        let response = request.send().await.map_err(|error| {
            let what = format!("GitHub: {}", outgoing::describe(&error));
            if outgoing::never_left(&error) { Silence::NotSent(what) } else { Silence::NoAnswer(what) }
        })?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let body = outgoing::read_body(response, MAX_ANSWER).await.map_err(|error| Silence::NoAnswer(format!("GitHub: {error}")))?;
        let mut answer = Answer::new(status, headers, String::from_utf8_lossy(&body).into_owned());
        self.take_note(&mut answer);
        Ok(answer)
    }

    /// Remembers whether the token was accepted, and whether GitHub wants to be left alone.
    fn take_note(&self, answer: &mut Answer) {
        answer.limited = answer.wants_pause(|| {
            let strikes = self.strikes.fetch_add(1, Ordering::Relaxed).min(8);
            LEAST_PAUSE.saturating_mul(1 << strikes).min(LONGEST_PAUSE)
        });
        if let Some(pause) = answer.limited {
            // Going on may cost the account (argus-tickets.md 2.3).
            self.requests.pause(pause);
            return;
        }
        match answer.status {
            401 => self.refusals.refused(&refused_token()),
            // Whoever is refused something else has been let in.
            _ if answer.is_json() && answer.status < 500 => {
                self.refusals.forget();
                self.strikes.store(0, Ordering::Relaxed);
            }
            _ => {}
        }
    }
}

fn no_turn(no_turn: NoTurn) -> HelpDeskError {
    let (what, retry_after) = match no_turn {
        NoTurn::Busy { retry_after } => ("more is to be written to GitHub than it takes in a minute or an hour", retry_after),
        NoTurn::Paused { retry_after } => {
            ("GitHub refused a request because there were too many, and is left alone for a while", retry_after)
        }
    };
    HelpDeskError::Passing { what: what.to_owned(), retry_after: Some(retry_after) }
}

/// Whether an address is one of the API's own.
fn is_below(api: &str, address: &Url) -> bool {
    Url::parse(api).is_ok_and(|api| api.origin() == address.origin() && address.path().starts_with(api.path()))
}

/// The query of `rel="next"` in a `Link`. Its path may be another, by the repository's number.
fn next_query(link: &str) -> Option<String> {
    let next = link.split(',').find(|part| part.split(';').skip(1).any(|mark| mark.trim() == "rel=\"next\""))?;
    let (_, address) = next.split_once('<')?;
    let (address, _) = address.split_once('>')?;
    let (_, query) = address.split_once('?')?;
    Some(query.to_owned())
}

fn refused_token() -> String {
    "GitHub did not accept the token: it is wrong, was revoked, or has ended. Make a new one under Settings > Developer settings > Personal \
     access tokens, and set it as github.token"
        .to_owned()
}

impl Answer {
    fn new(status: u16, headers: HeaderMap, text: String) -> Self {
        Self { status, headers, body: serde_json::from_str(&text).unwrap_or(Value::Null), text, limited: None }
    }

    /// A header's text.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    fn is_json(&self) -> bool {
        self.body.is_object() || self.body.is_array()
    }

    fn is_redirect(&self) -> bool {
        matches!(self.status, 301 | 302 | 307 | 308)
    }

    fn location(&self, asked: &str) -> Option<Url> {
        Url::parse(asked).ok()?.join(self.header("location")?).ok()
    }

    /// Whether the request was refused, so that nothing was written. What stands before GitHub may have passed it on when it fails itself.
    fn says_no(&self) -> bool {
        matches!(self.status, 300..=499) && self.status != 408
    }

    /// For how long GitHub wants to be left alone, if it was one request too many; `own`, where it does not say how long. A 403 is also what
    /// a lacking permission gets.
    fn wants_pause(&self, own: impl FnOnce() -> Duration) -> Option<Duration> {
        let retry_after = outgoing::retry_after(&self.headers).filter(|wait| !wait.is_zero());
        let is_used_up = self.header("x-ratelimit-remaining").map(str::trim) == Some("0");
        let text = || self.text.to_ascii_lowercase();
        let is_limit = match self.status {
            429 => true,
            403 => retry_after.is_some() || is_used_up || text().contains("rate limit") || text().contains("abuse detection"),
            _ => false,
        };
        let reset = || outgoing::time_until(&self.headers, self.header("x-ratelimit-reset")?.trim().parse().ok()?);
        let told = || retry_after.or_else(|| if is_used_up { reset() } else { None });
        is_limit.then(|| told().unwrap_or_else(own))
    }

    /// What GitHub says, with what `errors` name.
    fn words(&self) -> String {
        let Some(message) = self.body["message"].as_str() else {
            return if self.body.is_null() { outgoing::excerpt(&self.text, MAX_EXCERPT) } else { shown(self.text.trim(), MAX_EXCERPT) };
        };
        let errors = self.body["errors"].as_array().into_iter().flatten().filter_map(|error| {
            let text = |name: &str| error[name].as_str().filter(|text| !text.trim().is_empty());
            let named = || [text("resource"), text("field"), text("code")].into_iter().flatten().collect::<Vec<_>>().join(" ");
            let said = error.as_str().or_else(|| text("message")).map_or_else(named, str::to_owned);
            (!said.is_empty()).then_some(said)
        });
        let errors = errors.collect::<Vec<_>>().join("; ");
        let said = if errors.is_empty() { message.trim().to_owned() } else { format!("{}: {errors}", message.trim()) };
        shown(&said, MAX_EXCERPT)
    }

    /// Itself, if it is a success; else what the failure means. `what` names the thing asked for.
    fn ok(self, what: &'static str) -> Result<Self, Fault> {
        let said = self.words();
        if let Some(pause) = self.limited {
            let what = format!("GitHub takes no more requests for now (HTTP {}: {said})", self.status);
            return Err(HelpDeskError::Passing { what, retry_after: Some(pause) }.into());
        }
        let refused = |is_of_content, is_gone| Fault::Refused { what, said: said.clone(), is_of_content, is_gone };
        match self.status {
            200..=299 if self.is_json() => Ok(self),
            401 => Err(HelpDeskError::Denied(refused_token()).into()),
            403 if self.is_json() => {
                let needs = self.header("x-accepted-github-permissions").filter(|needs| !needs.trim().is_empty());
                let needs = needs.map_or_else(String::new, |needs| format!(" (the token needs {})", shown(needs, MAX_EXCERPT)));
                Err(Fault::NoRight { what, said: format!("{said}{needs}") })
            }
            404 if self.is_json() => Err(Fault::NotFound(what)),
            408 | 409 | 425 | 500..=599 => Err(HelpDeskError::Passing {
                what: format!("GitHub answered HTTP {} for {what}: {said}", self.status),
                retry_after: outgoing::retry_after(&self.headers),
            }
            .into()),
            410 if self.is_json() => Err(refused(false, true)),
            422 if self.is_json() => Err(refused(true, false)),
            400..=499 if self.is_json() => Err(refused(false, false)),
            status => Err(HelpDeskError::passing(format!(
                "no API of GitHub answers for {what}, but something else (HTTP {status}: {said}). github.url must be https://github.com/, or \
                 the address under which people open the Enterprise Server; its api/v3 must be reached without a sign-in page in front of it"
            ))
            .into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn answer(status: u16, headers: &[(&'static str, &'static str)], text: &str) -> Answer {
        let headers = headers.iter().map(|(name, value)| (header::HeaderName::from_static(name), HeaderValue::from_static(value)));
        let mut answer = Answer::new(status, headers.collect(), text.to_owned());
        answer.limited = answer.wants_pause(|| LEAST_PAUSE);
        answer
    }

    #[test]
    fn status_and_shape_decide() {
        // A letter for the kind, and whether it proves that nothing was written.
        let meaning = |status: u16, text: &str| {
            let answer = answer(status, &[], text);
            let says_no = answer.says_no();
            let kind = match answer.ok("the issue") {
                Ok(_) => 'o',
                Err(Fault::NotFound(_)) => 'n',
                Err(Fault::NoRight { .. }) => 'r',
                Err(Fault::Refused { is_of_content: true, .. }) => 'c',
                Err(Fault::Refused { is_gone: true, .. }) => 'g',
                Err(Fault::Refused { .. }) => 'x',
                Err(Fault::Other(HelpDeskError::Denied(_))) => 'd',
                Err(Fault::Other(HelpDeskError::Passing { .. })) => 'p',
                Err(Fault::Other(other)) => panic!("{other:?}"),
            };
            (kind, says_no)
        };
        let said = |text: &str| json!({ "message": text }).to_string();
        let page = "<html><head><title>Sign in</title></head></html>";
        for (status, text, expected) in [
            (201, "{}".to_owned(), ('o', false)),
            (401, said("Bad credentials"), ('d', true)),
            (403, said("Resource not accessible by personal access token"), ('r', true)),
            (403, said("You have exceeded a secondary rate limit"), ('p', true)),
            (404, said("Not Found"), ('n', true)),
            (410, said("Issues are disabled for this repo"), ('g', true)),
            (422, said("Validation Failed"), ('c', true)),
            (400, said("Problems parsing JSON"), ('x', true)),
            (429, String::new(), ('p', true)),
            (200, page.to_owned(), ('p', false)),
            (403, page.to_owned(), ('p', true)),
            (404, page.to_owned(), ('p', true)),
            (408, page.to_owned(), ('p', false)),
            (500, said("Server Error"), ('p', false)),
            (503, page.to_owned(), ('p', false)),
        ] {
            assert_eq!(meaning(status, &text), expected, "{status} {text}");
        }
    }

    #[test]
    fn a_limit_says_when_to_come_again() {
        let date = ("date", "Sun, 06 Nov 1994 08:49:37 GMT");
        let secondary = r#"{"message":"You have exceeded a secondary rate limit. Please wait a few minutes before you try again."}"#;
        let seconds = |status, headers: &[_], text| answer(status, headers, text).limited.map(|wait| wait.as_secs());
        assert_eq!(seconds(403, &[("retry-after", "7")], "{}"), Some(7));
        assert_eq!(seconds(429, &[("retry-after", "7")], "{}"), Some(7));
        assert_eq!(seconds(403, &[("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "784111807"), date], "{}"), Some(30));
        // The time of the reset says nothing while requests are left.
        assert_eq!(seconds(403, &[("x-ratelimit-remaining", "40"), ("x-ratelimit-reset", "784111807"), date], secondary), Some(60));
        assert_eq!(seconds(403, &[], secondary), Some(60));
        assert_eq!(seconds(403, &[("x-ratelimit-remaining", "40")], r#"{"message":"Must have admin rights"}"#), None);
        assert_eq!(seconds(422, &[("retry-after", "7")], "{}"), None);
    }

    #[test]
    fn what_github_says_of_each_error_is_told() {
        for (body, expected) in [
            (
                json!({ "message": "Validation Failed", "errors": [{ "resource": "Issue", "code": "custom", "field": "body",
                        "message": "body is too long (maximum is 65536 characters)" }] }),
                "Validation Failed: body is too long (maximum is 65536 characters)",
            ),
            (
                json!({ "message": "Validation Failed", "errors": [{ "value": "x", "resource": "Issue", "field": "assignees", "code": "invalid" }] }),
                "Validation Failed: Issue assignees invalid",
            ),
            (
                json!({ "message": "Validation Failed", "errors": ["Could not resolve to a node"] }),
                "Validation Failed: Could not resolve to a node",
            ),
            (json!({ "message": "Bad credentials", "documentation_url": "x" }), "Bad credentials"),
        ] {
            assert_eq!(answer(422, &[], &body.to_string()).words(), expected);
        }
    }

    #[test]
    fn the_next_page_is_told_by_its_query() {
        let link = "<https://api.github.com/repositories/1/issues?page=1>; rel=\"prev\", <https://api.github.com/repositories/1/issues?per_page=50&after=Y3%3D>; rel=\"next\"";
        assert_eq!(next_query(link).as_deref(), Some("per_page=50&after=Y3%3D"));
        assert_eq!(next_query("<https://api.github.com/repositories/1/issues?page=1>; rel=\"first\""), None);
    }

    #[test]
    fn only_the_api_itself_is_followed_to() {
        for (address, expected) in [
            ("https://github.example.com/api/v3/repositories/7", true),
            ("https://github.example.com/other", false),
            ("https://github.example.com:8443/api/v3/repositories/7", false),
            ("http://github.example.com/api/v3/repositories/7", false),
            ("https://evil.example/api/v3/repositories/7", false),
        ] {
            assert_eq!(is_below("https://github.example.com/api/v3/", &Url::parse(address).unwrap()), expected, "{address}");
        }
    }
}
