//! Faults to order and the record of what was asked: the two things a test does to the wire of a simulated ticket system.
//!
//! Must not know what any request means.

use std::collections::VecDeque;
use std::time::Duration;

use axum::http::{HeaderMap, Method};
use serde_json::Value;
use time::OffsetDateTime;

/// Which requests a fault hits.
#[derive(Clone, Debug, Default)]
pub struct Matching {
    /// Only this method.
    pub method: Option<Method>,
    /// Only paths that begin so, e.g. `/api/v2/tickets/`.
    pub path_prefix: String,
}

impl Matching {
    /// Requests of this method whose path begins with `path_prefix`.
    pub fn new(method: Method, path_prefix: impl Into<String>) -> Self {
        Self { method: Some(method), path_prefix: path_prefix.into() }
    }

    /// Every REST call.
    pub fn any_api_call() -> Self {
        Self { method: None, path_prefix: "/api/".to_owned() }
    }

    fn hits(&self, method: &Method, path: &str) -> bool {
        self.method.as_ref().is_none_or(|only| only == method) && path.starts_with(&self.path_prefix)
    }
}

/// What goes wrong.
#[derive(Clone, Debug)]
pub enum Fault {
    /// This answer instead; nothing happens.
    Status {
        /// Status code, e.g. 503.
        code: u16,
        /// Body, sent as JSON if it is JSON, else as plain text.
        body: String,
        /// Seconds for `Retry-After`.
        retry_after: Option<u64>,
    },
    /// No answer, ever.
    Hang,
    /// The connection is closed without an answer; nothing happens.
    CloseConnection,
    /// The write happens, then the connection is closed: the answer is lost.
    ApplyThenClose,
    /// The write happens, then this status is answered.
    ApplyThenStatus(u16),
    /// The write happens, then no answer comes.
    ApplyThenHang,
    /// No answer comes, and the write happens so much later, whoever has gone away in the meantime.
    ApplyLater(Duration),
}

#[derive(Debug)]
struct Ordered {
    matching: Matching,
    fault: Fault,
    /// `None` stays until cleared.
    left: Option<u32>,
}

/// The faults ordered, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Faults(Vec<Ordered>);

impl Faults {
    pub(crate) fn order(&mut self, times: Option<u32>, matching: Matching, fault: Fault) {
        self.0.push(Ordered { matching, fault, left: times });
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    /// The oldest fault that hits this request, used up by one.
    pub(crate) fn take(&mut self, method: &Method, path: &str) -> Option<Fault> {
        let at = self.0.iter().position(|ordered| ordered.matching.hits(method, path))?;
        let fault = self.0[at].fault.clone();
        if let Some(left) = &mut self.0[at].left {
            *left = left.saturating_sub(1);
            if *left == 0 {
                self.0.remove(at);
            }
        }
        Some(fault)
    }
}

/// One request as it came in.
#[derive(Clone, Debug)]
pub struct RecordedRequest {
    /// When it came, by the real clock.
    pub at: OffsetDateTime,
    /// Method.
    pub method: Method,
    /// Path as sent, with `.json` if it was there.
    pub path: String,
    /// Query pairs, decoded.
    pub query: Vec<(String, String)>,
    /// Headers, without `Authorization`.
    pub headers: HeaderMap,
    /// E-mail address of the user it was done as; `None` when refused or anonymous.
    pub user: Option<String>,
    /// Body if it was JSON, else null.
    pub body: Value,
    /// Length of the body in bytes.
    pub body_length: usize,
    /// Answered status; `None` while unanswered, and when the connection was closed instead.
    pub status: Option<u16>,
}

/// Older requests are forgotten beyond this.
const KEPT_REQUESTS: usize = 20_000;

#[derive(Debug, Default)]
pub(crate) struct Journal {
    requests: VecDeque<RecordedRequest>,
    forgotten: usize,
}

impl Journal {
    /// Returns the number to give to [`Journal::answered`].
    pub(crate) fn arrived(&mut self, request: RecordedRequest) -> usize {
        if self.requests.len() == KEPT_REQUESTS {
            self.requests.pop_front();
            self.forgotten += 1;
        }
        self.requests.push_back(request);
        self.forgotten + self.requests.len() - 1
    }

    pub(crate) fn authorised(&mut self, number: usize, user: Option<String>) {
        if let Some(request) = self.at(number) {
            request.user = user;
        }
    }

    pub(crate) fn answered(&mut self, number: usize, status: u16) {
        if let Some(request) = self.at(number) {
            request.status = Some(status);
        }
    }

    pub(crate) fn all(&self) -> Vec<RecordedRequest> {
        self.requests.iter().cloned().collect()
    }

    pub(crate) fn count(&self, method: &Method, path_prefix: &str) -> usize {
        self.requests.iter().filter(|request| request.method == *method && request.path.starts_with(path_prefix)).count()
    }

    pub(crate) fn clear(&mut self) {
        self.forgotten += self.requests.len();
        self.requests.clear();
    }

    fn at(&mut self, number: usize) -> Option<&mut RecordedRequest> {
        self.requests.get_mut(number.checked_sub(self.forgotten)?)
    }
}
