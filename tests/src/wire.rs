//! Faults to order and the record of what was asked: the two things a test does to the wire of a simulated ticket system.
//!
//! Also what each of them has beside its data: the listener, the signal for those who wait, the end. Must not know what any request means.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Context;
use axum::http::{HeaderMap, Method, Request, StatusCode};
use axum::response::Response;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::Value;
use time::OffsetDateTime;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How long a test waits for something.
const PATIENCE: Duration = Duration::from_mins(1);

/// What every simulated ticket system has beside its data.
#[derive(Debug, Default)]
pub(crate) struct Line {
    faults: Mutex<Faults>,
    journal: Mutex<Journal>,
    pub(crate) changes: watch::Sender<u64>,
    pub(crate) stop: CancellationToken,
    pub(crate) tasks: TaskTracker,
    pending_writes: Arc<AtomicUsize>,
}

/// A write that is still to happen; counted while it exists.
struct PendingWrite(Arc<AtomicUsize>);

impl PendingWrite {
    fn begin(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(count))
    }
}

impl Drop for PendingWrite {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Line {
    /// One that ends with `stop`.
    pub(crate) fn until(stop: CancellationToken) -> Self {
        Self { stop, ..Self::default() }
    }

    pub(crate) fn faults(&self) -> MutexGuard<'_, Faults> {
        locked(&self.faults)
    }

    pub(crate) fn journal(&self) -> MutexGuard<'_, Journal> {
        locked(&self.journal)
    }

    /// Wakes everybody who waits for something.
    pub(crate) fn changed(&self) {
        self.changes.send_modify(|count| *count += 1);
    }

    /// Asks `probe` after every request and every change until it finds something, up to a minute.
    pub(crate) async fn wait_until<T>(&self, probe: impl Fn() -> Option<T>) -> anyhow::Result<T> {
        let mut changes = self.changes.subscribe();
        let found = async {
            loop {
                if let Some(found) = probe() {
                    return Ok(found);
                }
                changes.changed().await.context("the simulated system is gone")?;
            }
        };
        tokio::time::timeout(PATIENCE, found).await.with_context(|| format!("nothing within {} s", PATIENCE.as_secs()))?
    }

    /// Does what a request asks for, as its fault says. `act` does it, and gives its answer and the caller's user; the answer of a fault is
    /// made by `instead`.
    pub(crate) async fn act<R: Send + 'static>(
        &self,
        number: usize,
        fault: Option<Fault>,
        act: impl FnOnce() -> (R, Option<String>) + Send + 'static,
        instead: fn(Instead<'_>) -> R,
    ) -> Result<R, Dropped> {
        self.act_in_time(number, fault, async move { act() }, instead).await
    }

    /// The same where acting takes its time.
    pub(crate) async fn act_in_time<R: Send + 'static>(
        &self,
        number: usize,
        fault: Option<Fault>,
        act: impl Future<Output = (R, Option<String>)> + Send + 'static,
        instead: fn(Instead<'_>) -> R,
    ) -> Result<R, Dropped> {
        if let Some(after) = fault.as_ref().and_then(Fault::applies_after) {
            self.later(after, async move { drop(act.await) });
            return match fault {
                Some(Fault::StatusThenApplyLater { code, .. }) => Ok(instead(Instead::Gateway(code))),
                Some(Fault::CloseThenApplyLater(_)) => Err(Dropped),
                _ => hang().await,
            };
        }
        let (reply, user) = act.await;
        self.journal().authorised(number, user);
        self.changed();
        match fault {
            Some(Fault::ApplyThenClose) => Err(Dropped),
            Some(Fault::ApplyThenHang) => hang().await,
            Some(Fault::ApplyThenStatus(code)) => Ok(instead(Instead::Crash(code))),
            _ => Ok(reply),
        }
    }

    /// Acts so much later, whoever has gone away in the meantime; never once the simulated system has stopped.
    fn later(&self, after: Duration, act: impl Future<Output = ()> + Send + 'static) {
        let (stop, changes, pending) = (self.stop.clone(), self.changes.clone(), PendingWrite::begin(&self.pending_writes));
        // A task of its own: the caller's end must not end it.
        self.tasks.spawn(async move {
            let acting = async {
                tokio::time::sleep(after).await;
                act.await;
            };
            if stop.run_until_cancelled(acting).await.is_some() {
                changes.send_modify(|count| *count += 1);
            }
            drop(pending);
        });
    }

    /// How many writes are still to happen later.
    pub(crate) fn pending_writes(&self) -> usize {
        self.pending_writes.load(Ordering::Relaxed)
    }

    /// Takes connections until [`Line::end`]; every request goes to `answer`.
    pub(crate) fn open<A, F>(&self, listener: TcpListener, answer: A)
    where
        A: Fn(Request<Incoming>) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = Result<Response, Dropped>> + Send + 'static,
    {
        self.tasks.spawn(serve(listener, self.stop.clone(), self.tasks.clone(), answer));
    }

    /// Closes the listeners and every connection, and waits until they are.
    pub(crate) async fn end(&self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

/// A failed assertion in one test thread must not hide behind "poisoned" in the others.
pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Ends the connection without an answer.
#[derive(Debug)]
pub(crate) struct Dropped;

impl fmt::Display for Dropped {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("the connection was dropped on purpose")
    }
}

impl std::error::Error for Dropped {}

/// Until the peer or the simulated system goes away.
async fn hang<R>() -> Result<R, Dropped> {
    std::future::pending::<Infallible>().await;
    Err(Dropped)
}

async fn serve<A, F>(listener: TcpListener, stop: CancellationToken, tasks: TaskTracker, answer: A)
where
    A: Fn(Request<Incoming>) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Result<Response, Dropped>> + Send + 'static,
{
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                let (stop, answer) = (stop.clone(), answer.clone());
                tasks.spawn(async move { stop.run_until_cancelled(connection(stream, answer)).await });
            }
            // Out of descriptors: let others finish.
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

async fn connection<A, F>(stream: TcpStream, answer: A)
where
    A: Fn(Request<Incoming>) -> F + Send + 'static,
    F: Future<Output = Result<Response, Dropped>> + Send + 'static,
{
    // Without it small answers wait for the peer's acknowledgement.
    let _ = stream.set_nodelay(true);
    // An error here is a peer that went away or a fault that was ordered.
    let _ = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .serve_connection(TokioIo::new(stream), service_fn(answer))
        .await;
}

/// Which requests a fault hits.
#[derive(Clone, Debug, Default)]
pub struct Matching {
    /// Only this method.
    pub method: Option<Method>,
    /// Only paths that begin so, e.g. `/api/v2/tickets/`.
    pub path_prefix: String,
    /// Only requests with this text in a value of their query or in their body.
    pub containing: String,
    /// The path is exactly [`Self::path_prefix`].
    pub whole_path: bool,
}

impl Matching {
    /// Requests of this method whose path begins with `path_prefix`.
    pub fn new(method: Method, path_prefix: impl Into<String>) -> Self {
        Self { method: Some(method), path_prefix: path_prefix.into(), ..Self::default() }
    }

    /// Every REST call.
    pub fn any_api_call() -> Self {
        Self { path_prefix: "/api/".to_owned(), ..Self::default() }
    }

    /// The same for this very path alone.
    #[must_use]
    pub fn exactly(mut self) -> Self {
        self.whole_path = true;
        self
    }

    /// The same for requests about this alone: with the text in a value of their query or in their body.
    #[must_use]
    pub fn containing(mut self, text: &str) -> Self {
        text.clone_into(&mut self.containing);
        self
    }

    /// Whether it hits a request that was recorded.
    pub fn hits_recorded(&self, request: &RecordedRequest) -> bool {
        let body = request.body.to_string();
        self.hits(&request.method, &request.path, &|text| holds(&request.query, body.as_bytes(), text))
    }

    fn hits(&self, method: &Method, path: &str, holds: &dyn Fn(&str) -> bool) -> bool {
        let is_there = if self.whole_path { path == self.path_prefix } else { path.starts_with(&self.path_prefix) };
        is_there && self.method.as_ref().is_none_or(|only| only == method) && (self.containing.is_empty() || holds(&self.containing))
    }
}

/// Whether the text stands in a value of the query or in the body.
fn holds(query: &[(String, String)], body: &[u8], text: &str) -> bool {
    query.iter().any(|(_, value)| value.contains(text)) || String::from_utf8_lossy(body).contains(text)
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
    /// A gateway gives up and answers this status with a page of its own; the write happens so much later all the same.
    StatusThenApplyLater {
        /// 502, 503 or 504.
        code: u16,
        /// How much later.
        after: Duration,
    },
    /// The connection is closed without an answer now; the write happens so much later all the same.
    CloseThenApplyLater(Duration),
    /// Everything happens as it should, but so much later: the caller waits.
    Delay(Duration),
}

/// An answer that a fault makes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Instead<'a> {
    /// As it was ordered ([`Fault::Status`]).
    Ordered { code: u16, body: &'a str, retry_after: Option<u64> },
    /// Of a gateway that gives up: [`gateway_page`].
    Gateway(u16),
    /// Of the system itself, which did what was asked and then failed.
    Crash(u16),
}

impl Fault {
    /// What the fault does before the request is looked at. `Some`: that is all.
    pub(crate) async fn before<R>(fault: Option<&Self>, instead: fn(Instead<'_>) -> R) -> Option<Result<R, Dropped>> {
        match fault? {
            Self::Hang => Some(hang().await),
            Self::CloseConnection => Some(Err(Dropped)),
            Self::Status { code, body, retry_after } => {
                Some(Ok(instead(Instead::Ordered { code: *code, body, retry_after: *retry_after })))
            }
            Self::Delay(by) => {
                tokio::time::sleep(*by).await;
                None
            }
            _ => None,
        }
    }

    /// How much later than the request the write happens, where it does not depend on the caller any more.
    fn applies_after(&self) -> Option<Duration> {
        match self {
            Self::ApplyLater(after) | Self::StatusThenApplyLater { after, .. } | Self::CloseThenApplyLater(after) => Some(*after),
            _ => None,
        }
    }
}

/// What a gateway answers for a system behind it that does not answer in time: a web page, never the system's own words.
pub(crate) fn gateway_page(code: u16) -> String {
    let reason = StatusCode::from_u16(code).ok().and_then(|status| status.canonical_reason()).unwrap_or_default();
    format!(
        "<html>\r\n<head><title>{code} {reason}</title></head>\r\n<body>\r\n<center><h1>{code} {reason}</h1></center>\r\n<hr><center>nginx</center>\r\n</body>\r\n</html>\r\n"
    )
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
    pub(crate) fn take(&mut self, method: &Method, path: &str, query: &[(String, String)], body: &[u8]) -> Option<Fault> {
        let holds = |text: &str| holds(query, body, text);
        let at = self.0.iter().position(|ordered| ordered.matching.hits(method, path, &holds))?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_hits_only_what_it_was_ordered_for() {
        let query = [("filename".to_owned(), "session-ab.html".to_owned())];
        let check = |matching: Matching, method: Method, path: &str, expected: bool| {
            let mut faults = Faults::default();
            faults.order(Some(1), matching.clone(), Fault::Hang);
            let taken = faults.take(&method, path, &query, b"{\"externalID\":\"deskbridge/cd\"}");
            assert_eq!(taken.is_some(), expected, "{matching:?} {method} {path}");
            assert_eq!(faults.0.is_empty(), expected, "used up by one");
        };
        let entries = || Matching::new(Method::POST, "/TimeEntries");
        check(entries(), Method::POST, "/TimeEntries", true);
        check(entries(), Method::POST, "/TimeEntries/query", true);
        check(entries().exactly(), Method::POST, "/TimeEntries/query", false);
        check(entries().exactly(), Method::POST, "/TimeEntries", true);
        check(entries(), Method::GET, "/TimeEntries", false);
        check(entries().containing("session-ab"), Method::POST, "/TimeEntries", true);
        check(entries().containing("deskbridge/cd"), Method::POST, "/TimeEntries", true);
        check(entries().containing("deskbridge/ab"), Method::POST, "/TimeEntries", false);
    }
}
