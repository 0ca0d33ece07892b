//! What the delivery suite must know of GitLab: which request writes what, and what stands on the issues.

use anyhow::Result;
use axum::http::Method;
use serde_json::json;
use toml::Table;

use super::{Fault, Matching, Options, RecordedRequest, SimulatedGitLab};
use crate::appliance::SimulatedAppliance;
use crate::delivery_suite::{HelpDeskDouble, Request, Session, Standing};
use crate::scene;

/// A project for the delivery suite.
pub struct GitLabDesk(SimulatedGitLab);

impl HelpDeskDouble for GitLabDesk {
    const SECTION: &'static str = "gitlab";
    // A file is uploaded before its note is sent.
    const WRITES: &'static [Request] = &[Request::Ticket, Request::Note, Request::TimeEntry];

    async fn start(_appliance: &SimulatedAppliance) -> Result<Self> {
        Ok(Self(SimulatedGitLab::start(Options::default()).await?))
    }

    fn connection(&self, appliance: &SimulatedAppliance, name: &str, id: &str) -> Table {
        let sections = format!("[panel]\n{}\nupdate_time_spent = true\nenable_automatic_ticket_creation = true\n", self.0.section());
        scene::connection(appliance, name, id, &sections)
    }

    fn add_ticket(&self) -> Result<String> {
        Ok(self.0.add_issue("To be written on", "Since this morning."))
    }

    fn matching(&self, request: Request, session: &Session) -> Matching {
        let below = |path: &str| self.0.path(&format!("issues/{}/{path}", session.ticket));
        let path = match request {
            Request::Ticket => self.0.path("issues"),
            Request::Note => below("notes"),
            Request::File => self.0.path("uploads"),
            Request::TimeEntry => below("add_spent_time"),
        };
        Matching::new(Method::POST, path).exactly().containing(&session.lsid)
    }

    fn refusal(&self, words: &str) -> Fault {
        Fault::Status { code: 400, body: json!({ "message": { "base": [words] } }).to_string(), retry_after: None }
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
        let mut standing = Standing::default();
        let uploads = self.0.uploads();
        for issue in self.0.issues() {
            // A title has invisible characters where GitLab would find a commit's number.
            let title = issue.title.replace('\u{2060}', "");
            standing.tickets += usize::from(title == session.title());
            standing.time_entries += issue.times.iter().filter(|time| time.summary.contains(&session.marker("time"))).count();
            for note in issue.notes.iter().filter(|note| note.body.contains(&session.marker(""))) {
                // An upload that no note names stands nowhere.
                standing.files += uploads.iter().filter(|upload| note.body.contains(&upload.path)).count();
                if note.body.contains(&session.marker("report")) {
                    standing.reports += 1;
                } else {
                    standing.surveys += 1;
                }
            }
        }
        standing
    }

    async fn wait_until(&self, reached: impl Fn(&Self) -> bool) -> Result<()> {
        self.0.wait_until(|_| reached(self).then_some(())).await
    }
}
