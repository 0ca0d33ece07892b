//! What the delivery suite must know of GitHub: which request writes what, and what stands on the issues.

use anyhow::Result;
use axum::http::Method;
use serde_json::json;
use toml::Table;

use super::{Fault, Matching, Options, RecordedRequest, SimulatedGitHub};
use crate::appliance::SimulatedAppliance;
use crate::delivery_suite::{HelpDeskDouble, Request, Session, Standing};
use crate::scene;

/// A repository for the delivery suite.
pub struct GitHubDesk(SimulatedGitHub);

impl HelpDeskDouble for GitHubDesk {
    const SECTION: &'static str = "github";
    const WRITES: &'static [Request] = &[Request::Ticket, Request::Note];
    const TAKES_FILES: bool = false;

    async fn start(_appliance: &SimulatedAppliance) -> Result<Self> {
        Ok(Self(SimulatedGitHub::start(Options::default()).await?))
    }

    fn connection(&self, appliance: &SimulatedAppliance, name: &str, id: &str) -> Table {
        let sections = format!("[panel]\n{}\nenable_automatic_ticket_creation = true\n", self.0.section());
        scene::connection(appliance, name, id, &sections)
    }

    fn add_ticket(&self) -> Result<String> {
        Ok(self.0.add_issue("To be written on", "Since this morning."))
    }

    fn matching(&self, request: Request, session: &Session) -> Matching {
        let path = match request {
            Request::Ticket => self.0.path("issues"),
            _ => self.0.path(&format!("issues/{}/comments", session.ticket)),
        };
        Matching::new(Method::POST, path).exactly().containing(&session.lsid)
    }

    fn refusal(&self, words: &str) -> Fault {
        let body = json!({ "message": "Validation Failed", "errors": [{ "resource": "Issue", "code": "custom", "field": "body", "message": words }] });
        Fault::Status { code: 422, body: body.to_string(), retry_after: None }
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
        for issue in self.0.issues() {
            standing.tickets += usize::from(issue.title == session.title());
            for comment in issue.comments {
                if comment.body.contains(&session.marker("report")) {
                    standing.reports += 1;
                } else if comment.body.contains(&session.marker("")) {
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
