//! One request to a tenant's REST API, and what its answer means (autotask-extension.md a.2, a.3, a.7, a.11).
//!
//! Autotask answers most refusals with HTTP 500, so status and text together decide what a caller is told. The one thing
//! done twice is a request whose credentials a zone refused, if the tenant has moved to another: a 401 has done nothing.

use std::sync::Arc;
use std::time::Duration;

use reqwest::Url;
use reqwest::header::{self, HeaderMap, HeaderName, HeaderValue};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use tokio::time::Instant;

use super::error_texts::{self, advice};
use super::limits::{Gate, Pace, Usage};
use super::query::{self, Entity, Filter};
use super::zone::{Zone, Zones};
use crate::HelpDeskError;
use deskbridge_http_client::{self as outgoing, limiter::Turn, refusals::Refusals};

/// An answer's limit; a page of 500 notes at full length stays below.
const MAX_ANSWER: usize = 32 * 1024 * 1024;
/// Pages of one query.
const MAX_PAGES: usize = 20;

/// Why a request gave nothing.
#[derive(Clone, Debug, thiserror::Error)]
pub(super) enum Fault {
    /// No such record (404).
    #[error("Autotask has no such record: {0}")]
    NotFound(&'static str),
    /// The API user lacks a right.
    #[error(
        "Autotask does not let the API user use {} ({what}); give its security level that right under API User (API-only): {said}",
        entity.name()
    )]
    NoRight {
        /// On which entity.
        entity: Entity,
        /// What was asked.
        what: &'static str,
        /// In Autotask's words.
        said: String,
    },
    /// Refused in words: nothing was written, and the same request will be refused again.
    #[error("Autotask refused {what}: {said}{}", advice(said))]
    Refused {
        /// What was asked.
        what: &'static str,
        /// In Autotask's words.
        said: String,
    },
    /// All else.
    #[error(transparent)]
    Other(#[from] HelpDeskError),
}

impl From<Fault> for HelpDeskError {
    /// A lacking right befalls this one thing, not the connection.
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Other(error) => error,
            Fault::NotFound(_) | Fault::NoRight { .. } | Fault::Refused { .. } => Self::Refused(fault.to_string()),
        }
    }
}

impl Fault {
    /// As an error of what a connection cannot do without: a lacking right holds the connection until a person has acted.
    pub(super) fn of_the_essential(self) -> HelpDeskError {
        match self {
            Self::NoRight { .. } => HelpDeskError::Denied(self.to_string()),
            other => other.into(),
        }
    }
}

/// The tenant as one API user.
pub(super) struct Client {
    http: reqwest::Client,
    credentials: HeaderMap,
    zones: Zones,
    gate: Gate,
    usage: Usage,
    refusals: Refusals,
}

/// A request. Paths are below the zone's `v1.0/`.
enum Ask<'a> {
    /// A record, or what the tenant says about itself.
    Read(&'a str),
    /// A query's first page.
    Query(&'a str, &'a Value),
    /// A further page, of a checked host.
    Page(Url, &'a Value),
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

/// A new record, ready to be sent.
pub(super) struct Ready<'a> {
    client: &'a Client,
    zone: Arc<Zone>,
    _turn: Turn<'a>,
    entity: Entity,
    path: String,
    body: Value,
    what: &'static str,
    may_move: bool,
}

/// What became of a new record.
pub(super) enum Sent<'a> {
    /// It stands, with this id.
    Created(i64),
    /// The zone refused the credentials, and the tenant has moved to another. Nothing was written.
    Moved(Ready<'a>),
    /// Nothing was written.
    Refused(Fault),
    /// It may be written, or may still be.
    Unknown(HelpDeskError),
}

impl<'a> Ready<'a> {
    /// Sends exactly one request that writes.
    pub(super) async fn send(self) -> Sent<'a> {
        if let Err(resting) = self.client.refusals.turn() {
            return Sent::Refused(HelpDeskError::from(resting).into());
        }
        let request = self.client.http.post(self.zone.url(&self.path)).json(&self.body);
        let answer = match self.client.answer(request).await {
            Ok(answer) => answer,
            Err(Silence::NotSent(what)) => return Sent::Refused(HelpDeskError::passing(what).into()),
            Err(Silence::NoAnswer(what)) => return Sent::Unknown(HelpDeskError::passing(what)),
        };
        if answer.status == 401
            && self.may_move
            && let Some(zone) = self.client.zones.after_refusal(&self.zone).await
        {
            // Refused there, and perhaps accepted here.
            self.client.refusals.forget();
            return Sent::Moved(Self { zone, may_move: false, ..self });
        }
        self.client.take_note(&answer);
        let says_no = answer.says_no();
        match answer.ok(self.entity, self.what) {
            Ok(body) => match body["itemId"].as_i64() {
                Some(id) => Sent::Created(id),
                None => Sent::Unknown(HelpDeskError::passing(format!(
                    "Autotask answered no id for {}; it is looked for before it is written again",
                    self.what
                ))),
            },
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
}

impl Client {
    /// A client; nothing is contacted. The error names the setting at fault.
    pub(super) fn new(
        username: &str,
        secret: &SecretString,
        integration_code: &SecretString,
        services_url: Option<&str>,
    ) -> Result<Self, String> {
        let http = outgoing::shared().map_err(|_| "no HTTP client; check the machine's TLS certificates".to_owned())?;
        let mut credentials = HeaderMap::new();
        // (autotask-extension.md a.2)
        for (setting, name, value) in [
            ("username", "username", username),
            ("secret", "secret", secret.expose_secret()),
            ("integration_code", "apiintegrationcode", integration_code.expose_secret()),
        ] {
            let mut value =
                HeaderValue::from_str(value.trim()).map_err(|_| format!("{setting}: letters, digits and signs of ASCII only"))?;
            value.set_sensitive(true);
            credentials.insert(HeaderName::from_static(name), value);
        }
        let zones = Zones::new(http.clone(), username.to_owned(), services_url)?;
        Ok(Self { http, credentials, zones, gate: Gate::new(), usage: Usage::default(), refusals: Refusals::default() })
    }

    /// A person waits for what is asked next.
    pub(super) fn let_person_try(&self) {
        self.refusals.let_person_try();
    }

    /// Requests of the last hour by all of the tenant's integrations, and how many it may make.
    pub(super) async fn threshold(&self) -> Result<(u64, u64), Fault> {
        let entity = Entity::ThresholdInformation;
        let body = self.exchange(entity, &Ask::Read(entity.name())).await?.ok(entity, "the use of the API")?;
        let number = |name: &str| body[name].as_u64();
        let (current, threshold) =
            (number("currentTimeframeRequestCount").unwrap_or(0), number("externalRequestThreshold").unwrap_or(10_000));
        self.usage.told(current, threshold);
        Ok((current, threshold))
    }

    /// An entity's description: `fields` of `entityInformation`, or what the user may do with it (autotask-extension.md a.3).
    pub(super) async fn describe(&self, entity: Entity, part: &str) -> Result<Value, Fault> {
        let path = format!("{}/entityInformation{part}", entity.name());
        self.send(entity, &Ask::Read(&path)).await?.ok(entity, "the description of an entity")
    }

    /// A record by id; `None`: there is none.
    pub(super) async fn item(&self, entity: Entity, id: i64, what: &'static str) -> Result<Option<Value>, Fault> {
        let path = format!("{}/{id}", entity.name());
        match self.send(entity, &Ask::Read(&path)).await?.ok(entity, what) {
            Ok(mut body) => Ok(Some(body["item"].take()).filter(|item| !item.is_null())),
            Err(Fault::NotFound(_)) => Ok(None),
            Err(fault) => Err(fault),
        }
    }

    /// The records the filter lets through, at most `at_most`.
    pub(super) async fn query(
        &self,
        entity: Entity,
        filter: &Filter,
        fields: &[&str],
        at_most: usize,
        what: &'static str,
    ) -> Result<Vec<Value>, Fault> {
        let body = query::body(filter, fields, at_most);
        let path = format!("{}/query", entity.name());
        let mut rows: Vec<Value> = Vec::new();
        let mut page = self.send(entity, &Ask::Query(&path, &body)).await?.ok(entity, what)?;
        for _ in 0..MAX_PAGES {
            if let Value::Array(items) = page["items"].take() {
                rows.extend(items);
            }
            let Some(next) = page["pageDetails"]["nextPageUrl"].as_str().filter(|_| rows.len() < at_most) else { break };
            let next = self.page_of_ours(next).await?;
            // The same method and body (autotask-extension.md a.4).
            page = self.send(entity, &Ask::Page(next, &body)).await?.ok(entity, what)?;
        }
        rows.truncate(at_most);
        Ok(rows)
    }

    /// Gets a new record ready to be sent: its turn among the requests at a time, its place in the hour, the tenant's zone. `path`: where,
    /// below `v1.0/`.
    pub(super) async fn ready(&self, entity: Entity, path: String, body: Value, what: &'static str) -> Result<Ready<'_>, HelpDeskError> {
        self.refusals.look()?;
        self.keep_pace().await?;
        let zone = self.zone().await?;
        let turn = self.gate.enter(entity).await?;
        Ok(Ready { client: self, zone, _turn: turn, entity, path, body, what, may_move: true })
    }

    /// The requests carry the secret, so they go nowhere but to the zone. The tenant may have moved between two pages: asked from the
    /// beginning it answers with its own.
    async fn page_of_ours(&self, next: &str) -> Result<Url, HelpDeskError> {
        let zone = self.zone().await?;
        Url::parse(next).ok().filter(|url| url.origin() == zone.api.origin()).ok_or_else(|| {
            HelpDeskError::passing("Autotask named a further page on a host that is not the tenant's zone; it was not asked")
        })
    }

    async fn send(&self, entity: Entity, ask: &Ask<'_>) -> Result<Answer, HelpDeskError> {
        self.keep_pace().await?;
        self.exchange(entity, ask).await
    }

    /// Returns when the tenant's hourly number allows a request.
    async fn keep_pace(&self) -> Result<(), HelpDeskError> {
        if self.usage.look_is_due() {
            match self.threshold().await {
                // What is wanted would be refused, too.
                Err(Fault::Other(error)) if error.is_of_credentials() => return Err(error),
                Err(error) => tracing::debug!(%error, "the use of the Autotask tenant could not be looked at"),
                Ok(_) => {}
            }
        }
        match self.usage.pace() {
            Pace::Go => {}
            Pace::After(wait) => tokio::time::sleep(wait).await,
            Pace::ComeAgain(wait) => {
                return Err(HelpDeskError::Passing {
                    what: "the Autotask tenant's requests of this hour are nearly used up; the rest is left to others".into(),
                    retry_after: Some(wait),
                });
            }
        }
        Ok(())
    }

    /// Asks the tenant where it lives, and once more where it lives now if it has moved. A place at the gate is held for a request alone,
    /// never while a zone is looked for.
    async fn exchange(&self, entity: Entity, ask: &Ask<'_>) -> Result<Answer, HelpDeskError> {
        self.refusals.turn()?;
        let zone = self.zone().await?;
        let mut answer = self.send_to(&zone, entity, ask).await?;
        if answer.status == 401
            && !matches!(ask, Ask::Page(..))
            && let Some(zone) = self.zones.after_refusal(&zone).await
        {
            answer = self.send_to(&zone, entity, ask).await?;
        }
        self.take_note(&answer);
        Ok(answer)
    }

    /// The tenant's zone. A user whom Autotask does not know has none.
    pub(super) async fn zone(&self) -> Result<Arc<Zone>, HelpDeskError> {
        self.zones.current().await.inspect_err(|error| {
            if let HelpDeskError::Denied(_) = error {
                self.refusals.refused(error);
            }
        })
    }

    /// Remembers whether the credentials were accepted.
    fn take_note(&self, answer: &Answer) {
        match answer.status {
            401 => self.refusals.refused(&refused_credentials(&answer.words())),
            200..=299 => self.refusals.forget(),
            // Whoever is refused something else has been let in.
            _ if answer.says_no() => self.refusals.forget(),
            _ => {}
        }
    }

    async fn send_to(&self, zone: &Zone, entity: Entity, ask: &Ask<'_>) -> Result<Answer, HelpDeskError> {
        let _turn = self.gate.enter(entity).await?;
        let request = match ask {
            Ask::Read(path) => self.http.get(zone.url(path)),
            Ask::Query(path, body) => self.http.post(zone.url(path)).json(body),
            Ask::Page(url, body) => self.http.post(url.clone()).json(body),
        };
        Ok(self.answer(request).await?)
    }

    /// One request.
    async fn answer(&self, request: reqwest::RequestBuilder) -> Result<Answer, Silence> {
        let request = request.headers(self.credentials.clone()).header(header::ACCEPT, "application/json");
        let begun = Instant::now();
        let response = request.send().await.map_err(|error| {
            let what = format!("Autotask: {}", outgoing::describe(&error));
            if outgoing::never_left(&error) { Silence::NotSent(what) } else { Silence::NoAnswer(what) }
        })?;
        let status = response.status().as_u16();
        let retry_after = outgoing::retry_after(response.headers());
        let body = outgoing::read_body(response, MAX_ANSWER).await.map_err(|error| Silence::NoAnswer(format!("Autotask: {error}")))?;
        self.usage.answered_after(begun.elapsed());
        let text = String::from_utf8_lossy(&body).into_owned();
        Ok(Answer { status, body: serde_json::from_str(&text).unwrap_or(Value::Null), text, retry_after })
    }

    /// Waits for answers no longer than this.
    #[cfg(test)]
    pub(super) fn wait_at_most(&mut self, time: Duration) {
        self.http = outgoing::client().timeout(time).build().unwrap();
        self.zones.wait_with(self.http.clone());
    }
}

impl Answer {
    /// Whether Autotask itself refused, so that nothing was written. A gateway that speaks for it, and a refusal of its framework, may come
    /// while the request is still worked at; so may a refusal for time.
    fn says_no(&self) -> bool {
        match self.status {
            408 => false,
            300..=499 => true,
            500 => error_texts::errors(&self.body).is_some_and(|words| !error_texts::is_about_time(&words)),
            _ => false,
        }
    }

    fn words(&self) -> String {
        error_texts::said(&self.body).unwrap_or_else(|| error_texts::excerpt(&self.text))
    }

    /// The body of a success; else what the failure means. `what` names the thing asked for.
    fn ok(self, entity: Entity, what: &'static str) -> Result<Value, Fault> {
        if (200..300).contains(&self.status) {
            return if self.body.is_object() {
                Ok(self.body)
            } else {
                Err(HelpDeskError::passing(format!("Autotask answered HTTP {} without JSON for {what}", self.status)).into())
            };
        }
        let words = self.words();
        let Self { status, body, retry_after, .. } = self;
        let passing = |retry_after| {
            Err(HelpDeskError::Passing { what: format!("Autotask answered HTTP {status} for {what}: {words}"), retry_after }.into())
        };
        if let Some(wait) = error_texts::throttled(status, &words) {
            return passing(Some(retry_after.unwrap_or(wait)));
        }
        let is_autotasks = error_texts::errors(&body).is_some();
        match status {
            401 => Err(HelpDeskError::Denied(refused_credentials(&words)).into()),
            403 => Err(Fault::NoRight { entity, what, said: words }),
            404 => Err(Fault::NotFound(what)),
            500 if is_autotasks && error_texts::lacks_right(&words) => Err(Fault::NoRight { entity, what, said: words }),
            500 if is_autotasks && error_texts::is_permanent(&words) => Err(Fault::Refused { what, said: words }),
            408 | 409 | 425 | 500..=599 => passing(retry_after),
            300..=399 => Err(HelpDeskError::Refused(format!("Autotask redirects (HTTP {status}) for {what}; check services_url")).into()),
            _ => Err(Fault::Refused { what, said: format!("HTTP {status}: {words}") }),
        }
    }
}

fn refused_credentials(words: &str) -> String {
    format!(
        "Autotask did not accept the API user; check username, secret and integration_code, and that the user is active and not locked: Autotask \
         locks a user whose login is refused too often ({words})"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// What an answer of that status and text means: a letter for the kind, and the wait if it names one.
    fn meaning(status: u16, text: &str) -> (char, Option<u64>) {
        let body = serde_json::from_str(text).unwrap_or(Value::Null);
        let answer = Answer { status, body, text: text.to_owned(), retry_after: None };
        match answer.ok(Entity::TicketNotes, "the note").expect_err(text) {
            Fault::NotFound(_) => ('n', None),
            Fault::NoRight { .. } => ('r', None),
            Fault::Refused { .. } | Fault::Other(HelpDeskError::Refused(_)) => ('x', None),
            Fault::Other(HelpDeskError::Denied(_)) => ('d', None),
            Fault::Other(HelpDeskError::Passing { retry_after, .. }) => ('p', retry_after.map(|wait| wait.as_secs())),
            Fault::Other(other) => panic!("{other:?}"),
        }
    }

    #[test]
    fn status_and_text_decide() {
        let errors = |text: &str| json!({ "errors": [text] }).to_string();
        let check = |status, text: &str, expected: (char, Option<u64>)| assert_eq!(meaning(status, text), expected, "{status} {text}");
        check(500, &errors("Picklist value [3] does not exist for priority"), ('x', None));
        // Nobody knows whether these pass: they are tried again, and the limit of attempts ends it.
        check(500, &errors("Some text nobody has written down yet"), ('p', None));
        check(500, r#"{"Message":"An error has occurred."}"#, ('p', None));
        check(500, r#"{"message":"Picklist value [3] does not exist for priority"}"#, ('p', None));
        check(500, r#"{"errors":[{"message":"queueID is required","field":"queueID"}]}"#, ('x', None));
        check(400, &errors("Missing Required Field: title"), ('x', None));
        check(405, r#"{"Message":"The requested resource does not support http method 'GET'."}"#, ('x', None));
        check(302, "", ('x', None));
        check(500, &errors("The logged in Resource does not have the adequate permissions to query this entity type."), ('r', None));
        check(403, "", ('r', None));
        check(404, "", ('n', None));
        check(401, "", ('d', None));
        check(500, "<html>\r\n<h1>Server Error</h1></html>", ('p', None));
        check(500, "", ('p', None));
        check(500, r#"{"errors":[]}"#, ('p', None));
        check(500, &errors("Transaction was deadlocked on lock resources"), ('p', None));
        check(502, &errors("bad gateway"), ('p', None));
        check(503, "", ('p', None));
        check(504, "", ('p', None));
        check(429, "", ('p', Some(5)));
        check(500, &errors("Itgenatr005: the thread threshold of 3 was exceeded"), ('p', Some(5)));
        check(500, &errors("You have exceeded the threshold: the request threshold of 10000 was exceeded"), ('p', Some(120)));
        check(200, "<html>maintenance</html>", ('p', None));
    }

    #[test]
    fn a_refusal_is_told_in_autotasks_words_with_what_to_do() {
        let fault = Fault::Refused { what: "the ticket", said: "Picklist value [3] does not exist for priority".into() };
        let told = HelpDeskError::from(fault).to_string();
        assert!(told.contains("[3] does not exist for priority") && told.contains("use the label"), "{told}");
    }
}
