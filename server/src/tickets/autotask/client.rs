//! One request to a tenant's REST API, and what its answer means (autotask-extension.md a.2, a.3, a.7, a.11).
//!
//! Autotask answers most refusals with HTTP 500, so status and text together decide what a caller is told. The one thing
//! done twice is a request whose credentials a zone refused, if the tenant has moved to another: a 401 has done nothing.

use std::time::Duration;

use reqwest::header::{self, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, Url};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use tokio::time::Instant;

use super::limits::{Gate, Pace, Usage};
use super::query::{self, Entity, Filter};
use super::zone::{Zone, Zones};
use crate::outgoing;
use crate::tickets::TicketError;

/// An answer's limit; a page of 500 notes at full length stays below.
const MAX_ANSWER: usize = 32 * 1024 * 1024;
/// How much of a refusal is told.
const MAX_EXCERPT: usize = 400;
/// Pages of one query.
const MAX_PAGES: usize = 20;
/// When to come again after too many requests at a time, where the answer does not say.
const AFTER_THREAD_LIMIT: Duration = Duration::from_secs(5);
/// The same after too many requests in an hour.
const AFTER_HOURLY_LIMIT: Duration = Duration::from_mins(2);
/// The same after too many bytes of files in five minutes (autotask-extension.md a.10).
const AFTER_FILE_LIMIT: Duration = Duration::from_mins(5);

/// Refusals in words that pass by themselves, though their status is 500.
const PASSING_TEXTS: [&str; 5] = ["deadlock", "timed out", "timeout expired", "try again", "temporarily unavailable"];

/// What to do about a refusal, by a part of its text (autotask-extension.md a.5, a.7).
const ADVICE: [(&str, &str); 8] = [
    ("combination is not currently defined", "give the resource that role, with a Service Desk queue"),
    ("is not an active general allocation code", "allocationCodeID must be a work type (a billing code of use type 1) that is active"),
    ("not exist for the required field", "a new ticket's fields can be given in ticket_default_data or in the session's external key"),
    ("queueid is required", "give queueID in ticket_default_data, or assignedResourceName"),
    ("picklist value", "Autotask's numbers differ from tenant to tenant; use the label"),
    ("summarynotes can not be blank", "give summaryNotes in time_entry_default_data"),
    ("require a start and stop time", "the ticket's type needs both; report this"),
    ("hoursworked greater than 24 hours", "enter the time by hand"),
];

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
    Other(#[from] TicketError),
}

impl From<Fault> for TicketError {
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
    pub(super) fn of_the_essential(self) -> TicketError {
        match self {
            Self::NoRight { .. } => TicketError::Denied(self.to_string()),
            other => other.into(),
        }
    }
}

fn advice(said: &str) -> String {
    let said = said.to_lowercase();
    let found = ADVICE.iter().find(|(text, _)| said.contains(text));
    found.map_or_else(String::new, |(_, advice)| format!(" ({advice})"))
}

/// The tenant as one API user.
pub(super) struct Client {
    http: reqwest::Client,
    credentials: HeaderMap,
    zones: Zones,
    gate: Gate,
    usage: Usage,
}

/// Where a request goes.
enum Target<'a> {
    /// Below the zone's `v1.0/`.
    Path(&'a str),
    /// A further page, of a checked host.
    Page(Url),
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
        let http = outgoing::client().build().map_err(|_| "no HTTP client; check the machine's TLS certificates".to_owned())?;
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
        Ok(Self { http, credentials, zones, gate: Gate::new(), usage: Usage::default() })
    }

    pub(super) fn zones(&self) -> &Zones {
        &self.zones
    }

    /// Requests of the last hour by all of the tenant's integrations, and how many it may make.
    pub(super) async fn threshold(&self) -> Result<(u64, u64), Fault> {
        let zone = self.zones.current().await?;
        let answer = match self.send_to(&zone, &Target::Path("ThresholdInformation"), &Method::GET, None).await? {
            answer if answer.status == 401 => match self.zones.after_refusal(&zone).await {
                Some(zone) => self.send_to(&zone, &Target::Path("ThresholdInformation"), &Method::GET, None).await?,
                None => answer,
            },
            answer => answer,
        };
        let body = answer.ok(Entity::Tickets, "the use of the API")?;
        let number = |name: &str| body[name].as_u64();
        let (current, threshold) =
            (number("currentTimeframeRequestCount").unwrap_or(0), number("externalRequestThreshold").unwrap_or(10_000));
        self.usage.told(current, threshold);
        Ok((current, threshold))
    }

    /// An entity's description: `fields` of `entityInformation`, or what the user may do with it (autotask-extension.md a.3).
    pub(super) async fn describe(&self, entity: Entity, part: &str) -> Result<Value, Fault> {
        let path = format!("{}/entityInformation{part}", entity.name());
        self.send(entity, &Target::Path(&path), &Method::GET, None).await?.ok(entity, "the description of an entity")
    }

    /// A record by id; `None`: there is none.
    pub(super) async fn item(&self, entity: Entity, id: i64, what: &'static str) -> Result<Option<Value>, Fault> {
        let path = format!("{}/{id}", entity.name());
        match self.send(entity, &Target::Path(&path), &Method::GET, None).await?.ok(entity, what) {
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
        let mut page = self.send(entity, &Target::Path(&path), &Method::POST, Some(&body)).await?.ok(entity, what)?;
        for _ in 0..MAX_PAGES {
            if let Value::Array(items) = page["items"].take() {
                rows.extend(items);
            }
            let Some(next) = page["pageDetails"]["nextPageUrl"].as_str().filter(|_| rows.len() < at_most) else { break };
            let next = self.page_of_ours(next).await?;
            // The same method and body (autotask-extension.md a.4).
            page = self.send(entity, &Target::Page(next), &Method::POST, Some(&body)).await?.ok(entity, what)?;
        }
        rows.truncate(at_most);
        Ok(rows)
    }

    /// Creates a record; the answer is its id. `path`: where, below `v1.0/`.
    pub(super) async fn create(&self, entity: Entity, path: &str, body: &Value, what: &'static str) -> Result<i64, Fault> {
        let answer = self.send(entity, &Target::Path(path), &Method::POST, Some(body)).await?.ok(entity, what)?;
        let id = answer["itemId"].as_i64();
        Ok(id.ok_or_else(|| {
            TicketError::passing(format!("Autotask answered no id for {what}; it is looked for before it is written again"))
        })?)
    }

    /// The requests carry the secret, so they go nowhere but to the zone.
    async fn page_of_ours(&self, next: &str) -> Result<Url, TicketError> {
        let zone = self.zones.current().await?;
        Url::parse(next)
            .ok()
            .filter(|url| url.origin() == zone.api.origin())
            .ok_or_else(|| TicketError::Refused("Autotask named a further page on a host that is not the tenant's zone".into()))
    }

    async fn send(&self, entity: Entity, target: &Target<'_>, method: &Method, body: Option<&Value>) -> Result<Answer, TicketError> {
        if self.usage.look_is_due()
            && let Err(error) = self.threshold().await
        {
            tracing::debug!(%error, "the use of the Autotask tenant could not be looked at");
        }
        match self.usage.pace() {
            Pace::Go => {}
            Pace::After(wait) => tokio::time::sleep(wait).await,
            Pace::ComeAgain(wait) => {
                return Err(TicketError::Passing {
                    what: "the Autotask tenant's requests of this hour are nearly used up; the rest is left to others".into(),
                    retry_after: Some(wait),
                });
            }
        }
        let _turn = self.gate.enter(entity).await?;
        let zone = self.zones.current().await?;
        let answer = self.send_to(&zone, target, method, body).await?;
        if answer.status == 401
            && matches!(target, Target::Path(_))
            && let Some(zone) = self.zones.after_refusal(&zone).await
        {
            return self.send_to(&zone, target, method, body).await;
        }
        Ok(answer)
    }

    async fn send_to(&self, zone: &Zone, target: &Target<'_>, method: &Method, body: Option<&Value>) -> Result<Answer, TicketError> {
        let passing = |what: &str| TicketError::passing(format!("Autotask: {what}"));
        let url = match target {
            Target::Path(path) => zone.url(path),
            Target::Page(url) => url.to_string(),
        };
        let mut request =
            self.http.request(method.clone(), url).headers(self.credentials.clone()).header(header::ACCEPT, "application/json");
        if let Some(body) = body {
            request = request.json(body);
        }
        let begun = Instant::now();
        let response = request.send().await.map_err(|error| passing(outgoing::describe(&error)))?;
        let status = response.status().as_u16();
        let retry_after = outgoing::retry_after(response.headers());
        let body = outgoing::read_body(response, MAX_ANSWER).await.map_err(|error| passing(&error.to_string()))?;
        self.usage.answered_after(begun.elapsed());
        let text = String::from_utf8_lossy(&body).into_owned();
        Ok(Answer { status, body: serde_json::from_str(&text).unwrap_or(Value::Null), text, retry_after })
    }
}

impl Answer {
    /// The body of a success; else what the failure means. `what` names the thing asked for.
    fn ok(self, entity: Entity, what: &'static str) -> Result<Value, Fault> {
        let Self { status, body, text, retry_after } = self;
        if (200..300).contains(&status) {
            return if body.is_object() {
                Ok(body)
            } else {
                Err(TicketError::passing(format!("Autotask answered HTTP {status} without JSON for {what}")).into())
            };
        }
        let said = said(&body);
        let words = said.clone().unwrap_or_else(|| excerpt(&text));
        let passing = |retry_after| {
            Err(TicketError::Passing { what: format!("Autotask answered HTTP {status} for {what}: {words}"), retry_after }.into())
        };
        let lower = words.to_lowercase();
        if let Some(wait) = throttled(status, &lower) {
            return passing(Some(retry_after.unwrap_or(wait)));
        }
        match (status, &said) {
            (401, _) => Err(TicketError::Denied(format!(
                "Autotask did not accept the API user; check username, secret and integration_code, and that the user is active: {words}"
            ))
            .into()),
            (403, _) => Err(Fault::NoRight { entity, what, said: words }),
            (500, Some(_)) if lower.contains("adequate permissions") => Err(Fault::NoRight { entity, what, said: words }),
            (404, _) => Err(Fault::NotFound(what)),
            (500, Some(_)) if !PASSING_TEXTS.iter().any(|text| lower.contains(text)) => Err(Fault::Refused { what, said: words }),
            (408 | 409 | 425 | 500..=599, _) => passing(retry_after),
            (300..=399, _) => {
                Err(TicketError::Refused(format!("Autotask redirects (HTTP {status}) for {what}; check services_url")).into())
            }
            _ => Err(Fault::Refused { what, said: format!("HTTP {status}: {words}") }),
        }
    }
}

/// The wait that a refusal for too many requests means; these come with many a status (autotask-extension.md a.10 to a.12).
fn throttled(status: u16, lower: &str) -> Option<Duration> {
    let says = |texts: &[&str]| texts.iter().all(|text| lower.contains(text));
    if lower.contains("itgenatr005") || says(&["thread", "threshold"]) {
        return Some(AFTER_THREAD_LIMIT);
    }
    if status >= 400 && (says(&["attachment", "5 minute"]) || says(&["attachment", "five minute"])) {
        return Some(AFTER_FILE_LIMIT);
    }
    if status >= 400 && says(&["threshold", "exceeded"]) {
        return Some(AFTER_HOURLY_LIMIT);
    }
    (status == 429).then_some(AFTER_THREAD_LIMIT)
}

/// The words of an error body, whose shape varies; none if it is of no known shape (autotask-extension.md a.11).
pub(super) fn said(body: &Value) -> Option<String> {
    let of_error = |error: &Value| error.as_str().or_else(|| error["message"].as_str()).map(str::to_owned);
    let errors: Vec<String> = body["errors"].as_array().into_iter().flatten().filter_map(of_error).collect();
    let words =
        if errors.is_empty() { body["Message"].as_str().or_else(|| body["message"].as_str())?.to_owned() } else { errors.join("; ") };
    Some(excerpt(&words)).filter(|words| !words.is_empty())
}

fn excerpt(text: &str) -> String {
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    words.chars().filter(|character| !character.is_control()).take(MAX_EXCERPT).collect()
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
            Fault::Refused { .. } | Fault::Other(TicketError::Refused(_)) => ('x', None),
            Fault::Other(TicketError::Denied(_)) => ('d', None),
            Fault::Other(TicketError::Passing { retry_after, .. }) => ('p', retry_after.map(|wait| wait.as_secs())),
            Fault::Other(other) => panic!("{other:?}"),
        }
    }

    #[test]
    fn status_and_text_decide() {
        let errors = |text: &str| json!({ "errors": [text] }).to_string();
        let check = |status, text: &str, expected: (char, Option<u64>)| assert_eq!(meaning(status, text), expected, "{status} {text}");
        let refused = [
            "Value does not exist for the required field resourceID",
            "TimeEntries for Tickets must have a roleID",
            "The specified AssignedResourceID and AssignedRoleID combination is not currently defined",
            "Must have at least one of hoursWorked or startDateTime/endDateTime",
            "TimeEntries for Service tickets require a start and stop time.",
            "dateWorked is required when no value is supplied for startDateTime",
            "TimeEntry.summaryNotes can not be blank.",
            "hoursWorked greater than 24 hours or less than zero hours",
            "The given allocation code is not an active general allocation code",
            "Only one of ticketID,taskID and InternallAllocationCodeID can be used at once",
            "Picklist value [3] does not exist for priority",
            "Some text nobody has written down yet",
        ];
        for text in refused {
            check(500, &errors(text), ('x', None));
        }
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
    fn a_refusal_is_told_in_autotasks_words_with_what_to_do_and_within_bounds() {
        let fault = Fault::Refused { what: "the ticket", said: "Picklist value [3] does not exist for priority".into() };
        let told = TicketError::from(fault).to_string();
        assert!(told.contains("[3] does not exist for priority") && told.contains("use the label"), "{told}");
        assert_eq!(said(&json!({ "errors": ["a\r\n  b", { "message": "c" }] })).as_deref(), Some("a b; c"));
        assert_eq!(said(&json!({ "errors": ["x".repeat(10_000)] })).unwrap().len(), MAX_EXCERPT);
    }
}
