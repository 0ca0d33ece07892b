//! What the delivery suite must know of Request Tracker: which request writes what, and what stands on the tickets.

use anyhow::Result;
use axum::http::Method;
use serde_json::json;
use toml::Table;

use super::{Fault, Matching, QUEUE, REST, RealRequestTracker, RecordedRequest, missing};
use crate::appliance::SimulatedAppliance;
use crate::delivery_suite::{HelpDeskDouble, Request, Session, Standing};
use crate::scene;

/// Notes of a session, reports, time worked, files, tickets.
const STANDING: &str = "SELECT \
     (SELECT count(*) FROM Attachments WHERE Parent = 0 AND instr(Subject, ?) > 0), \
     (SELECT count(*) FROM Attachments WHERE Parent = 0 AND instr(Subject, ?) > 0), \
     (SELECT count(*) FROM Attachments WHERE Parent = 0 AND instr(Subject, ?) > 0), \
     (SELECT count(*) FROM Attachments WHERE instr(Filename, ?) > 0), \
     (SELECT count(*) FROM Tickets WHERE Subject = ?)";

/// A door to the real RT for the delivery suite.
pub struct RequestTrackerDesk(RealRequestTracker);

/// The suite asks from within what it waits for. On a thread of its own: a runtime that is entered twice on one thread loses the wake-ups of
/// the outer future.
fn now<T: Send>(asked: impl Future<Output = T> + Send) -> T {
    let runtime = tokio::runtime::Handle::current();
    std::thread::scope(|scope| scope.spawn(|| runtime.block_on(asked)).join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
}

impl HelpDeskDouble for RequestTrackerDesk {
    const SECTION: &'static str = "request_tracker";
    // A file goes with its note, in one request.
    const WRITES: &'static [Request] = &[Request::Ticket, Request::Note, Request::TimeEntry];

    fn missing() -> Option<String> {
        missing()
    }

    async fn start(_appliance: &SimulatedAppliance) -> Result<Self> {
        Ok(Self(RealRequestTracker::start().await?))
    }

    fn connection(&self, appliance: &SimulatedAppliance, name: &str, id: &str) -> Table {
        let sections = format!("[panel]\n{}\nupdate_time_worked = true\nenable_automatic_ticket_creation = true\n", self.0.section());
        scene::connection(appliance, name, id, &sections)
    }

    fn add_ticket(&self) -> Result<String> {
        now(self.0.add_ticket(QUEUE, "To be written on"))
    }

    fn matching(&self, request: Request, session: &Session) -> Matching {
        let comment = format!("{REST}ticket/{}/comment", session.ticket);
        let (path, text) = match request {
            Request::Note | Request::File => (comment, session.lsid.clone()),
            Request::TimeEntry => (comment, session.marker("time")),
            Request::Ticket => (format!("{REST}ticket"), session.lsid.clone()),
        };
        Matching::new(Method::POST, path).exactly().containing(&text)
    }

    fn refusal(&self, words: &str) -> Fault {
        Fault::Status { code: 400, body: json!({ "message": words }).to_string(), retry_after: None }
    }

    fn fail(&self, times: Option<u32>, matching: Matching, fault: Fault) {
        match times {
            Some(times) => self.0.fail_next(times, matching, fault),
            None => self.0.fail_always(matching, fault),
        }
    }

    fn requests(&self) -> Vec<RecordedRequest> {
        self.0.requests()
    }

    fn pending_writes(&self) -> usize {
        self.0.pending_writes()
    }

    fn standing(&self, session: &Session) -> Standing {
        let values = [session.marker(""), session.marker("report"), session.marker("time"), session.lsid.clone(), session.title()];
        // One question: whoever asks is asked again after every request.
        let [all, reports, time_entries, files, tickets] =
            now(self.0.counts(STANDING, &values)).unwrap_or_else(|error| panic!("{error:#}"));
        Standing { reports, surveys: all - reports - time_entries, files, time_entries, tickets }
    }

    async fn wait_until(&self, reached: impl Fn(&Self) -> bool) -> Result<()> {
        self.0.wait_until(|_| reached(self).then_some(())).await
    }
}
