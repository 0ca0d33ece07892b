//! What was asked of the appliance, and the faults it was told to have.
//!
//! Recording sees every request, also those that a fault swallows; neither changes what a healthy answer says.

use std::collections::VecDeque;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{Method, StatusCode};
use axum::response::Response;
use futures_util::stream;

use super::access::AuthorizationKind;
use super::answer::{self, Refusal};
use super::options::Options;
use crate::tls::CloseWithoutAnswer;

/// So many requests are remembered; the oldest are forgotten first.
const RECORD_LIMIT: usize = 100_000;

const SLOW_BYTE_INTERVAL: Duration = Duration::from_millis(200);
/// Ten minutes of dribbling: longer than any client should wait.
const SLOW_BYTES: usize = 3_000;

/// The doors of the appliance.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Endpoint {
    /// `POST /oauth2/token`.
    Token,
    /// `/api/command` and `/api/command.ns`.
    Command,
    /// `/api/command/v2/…`.
    CommandV2,
    /// `/api/reporting` and `/api/reporting.ns`.
    Reporting,
    /// `/api/client_script` and `/api/client_script.ns`.
    ClientScript,
    /// `/api/start_session` and `/api/start_session.ns`.
    StartSession,
    /// `GET /check_health`.
    Health,
    /// Pages for people.
    Page,
    /// Anything else: 404.
    Unknown,
}

impl Endpoint {
    /// The door behind a path (beyondtrust.md A.1, B.1, D.1, F.1: with `.ns` or without).
    pub(super) fn of(path: &str) -> Self {
        match path.strip_suffix(".ns").unwrap_or(path) {
            "/api/command" => Self::Command,
            "/api/reporting" => Self::Reporting,
            "/api/client_script" => Self::ClientScript,
            "/api/start_session" => Self::StartSession,
            _ => match path {
                "/oauth2/token" => Self::Token,
                "/check_health" => Self::Health,
                "/" | "/chat" | "/console" | "/session_download" => Self::Page,
                _ if path.starts_with("/api/command/v2/") => Self::CommandV2,
                _ => Self::Unknown,
            },
        }
    }
}

/// A request as it arrived.
#[derive(Clone, Debug)]
pub struct RecordedRequest {
    /// Counted from 0 since the start.
    pub number: u64,
    /// Unix milliseconds of the appliance's clock.
    pub at_milliseconds: i64,
    /// HTTP method.
    pub method: Method,
    /// Path without query.
    pub path: String,
    /// Which door.
    pub endpoint: Endpoint,
    /// The `action`, `generate_report` or `grant_type`; for other doors empty.
    pub operation: String,
    /// Query and form pairs, secrets included.
    pub parameters: Vec<(String, String)>,
    /// How it proved who sent it.
    pub authorization: AuthorizationKind,
    /// Whether it asked for the connection to be closed, as the vendor wishes (beyondtrust.md B.1).
    pub connection_close: bool,
    /// Content type, when given.
    pub content_type: Option<String>,
    /// Status of the answer; none while it is being answered, or when no answer was given.
    pub status: Option<u16>,
}

impl RecordedRequest {
    /// The value of a parameter.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        let mut found = self.parameters.iter().filter(|(key, _)| key == name);
        found.next().map(|(_, value)| value.as_str())
    }

    /// Whether this is the given action or report.
    pub fn is(&self, operation: &str) -> bool {
        self.operation == operation
    }
}

/// The remembered requests, oldest first.
#[derive(Debug, Default)]
pub(super) struct Recording {
    requests: VecDeque<RecordedRequest>,
    total: u64,
}

impl Recording {
    pub(super) fn add(&mut self, mut request: RecordedRequest) -> u64 {
        let number = self.total;
        self.total += 1;
        request.number = number;
        if self.requests.len() >= RECORD_LIMIT {
            self.requests.pop_front();
        }
        self.requests.push_back(request);
        number
    }

    pub(super) fn answered(&mut self, number: u64, status: StatusCode) {
        let first = self.requests.front().map_or(0, |request| request.number);
        let position = number.checked_sub(first).and_then(|at| usize::try_from(at).ok());
        if let Some(request) = position.and_then(|position| self.requests.get_mut(position)) {
            request.status = Some(status.as_u16());
        }
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &RecordedRequest> {
        self.requests.iter()
    }

    pub(super) fn forget(&mut self) {
        self.requests.clear();
    }
}

/// What goes wrong with a request instead of its answer.
#[derive(Clone, Debug)]
pub enum Fault {
    /// This status with this text.
    Status(u16, String),
    /// HTTP 200 and an `<error>` document with this text.
    ErrorDocument(String),
    /// No answer, until the caller gives up or the appliance stops.
    Hang,
    /// The connection is closed without a byte.
    CloseConnection,
    /// HTTP 200 and bytes that are no document.
    Garbage,
    /// HTTP 200 and a body that arrives byte by byte for ten minutes.
    SlowBody,
}

/// A fault, where it strikes and how often.
#[derive(Clone, Debug)]
pub struct FaultRule {
    /// Only at this door; everywhere when none.
    pub endpoint: Option<Endpoint>,
    /// Only this action or report; every one when none.
    pub operation: Option<String>,
    /// How often; for ever when none.
    pub times: Option<u32>,
    /// What happens.
    pub fault: Fault,
}

impl FaultRule {
    /// A fault that strikes every request until it is cleared.
    pub fn always(fault: Fault) -> Self {
        Self { endpoint: None, operation: None, times: None, fault }
    }

    /// A fault that strikes so many requests.
    pub fn next(times: u32, fault: Fault) -> Self {
        Self { times: Some(times), ..Self::always(fault) }
    }

    /// The same, only at this door.
    #[must_use]
    pub fn at(mut self, endpoint: Endpoint) -> Self {
        self.endpoint = Some(endpoint);
        self
    }

    /// The same, only for this action or report.
    #[must_use]
    pub fn on(mut self, operation: &str) -> Self {
        self.operation = Some(operation.into());
        self
    }
}

/// Takes the first fault that fits out of the rules, or lowers its count.
pub(super) fn take_fault(rules: &mut Vec<FaultRule>, endpoint: Endpoint, operation: &str) -> Option<Fault> {
    let fits = |rule: &FaultRule| {
        rule.times != Some(0)
            && rule.endpoint.is_none_or(|only| only == endpoint)
            && rule.operation.as_deref().is_none_or(|only| only == operation)
    };
    let rule = rules.iter_mut().find(|rule| fits(rule))?;
    if let Some(times) = &mut rule.times {
        *times -= 1;
    }
    let fault = rule.fault.clone();
    rules.retain(|rule| rule.times != Some(0));
    Some(fault)
}

/// The faulty answer.
pub(super) async fn suffer(fault: Fault, options: &Options, endpoint: Endpoint) -> Response {
    match fault {
        Fault::Status(status, body) => {
            let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            answer::text(status, body)
        }
        Fault::ErrorDocument(message) => {
            let namespace = match endpoint {
                Endpoint::Reporting => options.namespaces.reporting(),
                _ => options.namespaces.command(),
            };
            answer::error_document(options, namespace, None, &Refusal(message))
        }
        Fault::Hang => std::future::pending().await,
        Fault::CloseConnection => {
            let mut response = Response::new(Body::empty());
            response.extensions_mut().insert(CloseWithoutAnswer);
            response
        }
        Fault::Garbage => {
            let mut bytes = b"<?xml version=\"1.0\"?><session_list><session lsid=\"".to_vec();
            bytes.extend([0xff, 0x00, 0xc3, b'<', b'<', b'{']);
            let mut response = answer::xml(String::new());
            *response.body_mut() = Body::from(bytes);
            response
        }
        Fault::SlowBody => {
            let bytes = stream::unfold(0, |sent| async move {
                if sent >= SLOW_BYTES {
                    return None;
                }
                if sent > 0 {
                    tokio::time::sleep(SLOW_BYTE_INTERVAL).await;
                }
                let byte = Bytes::from_static(b" ");
                Some((Ok::<_, std::convert::Infallible>(byte), sent + 1))
            });
            let mut response = answer::xml(String::new());
            *response.body_mut() = Body::from_stream(bytes);
            response
        }
    }
}
