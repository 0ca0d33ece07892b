//! What the delivery suite must know of Jira: which request writes what, and what stands on the tickets.

use anyhow::Result;
use axum::http::Method;
use serde_json::json;
use toml::Table;

use super::{Fault, Kind, Matching, Options, RecordedRequest, SimulatedJira};
use crate::appliance::SimulatedAppliance;
use crate::delivery_suite::{HelpDeskDouble, Request, Session, Standing};
use crate::scene;

/// Jira Cloud for the delivery suite.
pub struct JiraCloudDesk(Desk);

/// Jira Data Center for the delivery suite.
pub struct JiraDataCenterDesk(Desk);

struct Desk {
    jira: SimulatedJira,
    rest: &'static str,
}

impl Desk {
    async fn start(kind: Kind) -> Result<Self> {
        let rest = if kind == Kind::Cloud { "/rest/api/3/" } else { "/rest/api/2/" };
        Ok(Self { jira: SimulatedJira::start(Options::of(kind)).await?, rest })
    }

    fn connection(&self, appliance: &SimulatedAppliance, name: &str, id: &str) -> Table {
        let sections = format!("{}\nupdate_time_spent = true\nenable_automatic_ticket_creation = true\n", self.jira.section());
        scene::connection(appliance, name, id, &sections)
    }

    fn matching(&self, request: Request, session: &Session) -> Matching {
        let below = |path: &str| format!("{}issue/{}/{path}", self.rest, session.ticket);
        let (path, text) = match request {
            Request::Note => (below("comment"), &session.lsid),
            Request::File => (below("attachments"), &session.lsid),
            Request::TimeEntry => (below("worklog"), &session.lsid),
            Request::Ticket => (format!("{}issue", self.rest), &session.lsid),
        };
        Matching::new(Method::POST, path).exactly().containing(text)
    }

    fn fail(&self, times: Option<u32>, matching: Matching, fault: Fault) {
        match times {
            Some(times) => self.jira.fail_next(times, matching, fault),
            None => self.jira.fail_always(matching, fault),
        }
    }

    fn standing(&self, session: &Session) -> Standing {
        let mut standing = Standing::default();
        for issue in self.jira.issues() {
            standing.tickets += usize::from(issue.fields["summary"] == session.title());
            for comment in &issue.comments {
                let text = comment["body"].to_string();
                if text.contains(&session.marker("report")) {
                    standing.reports += 1;
                } else if text.contains(&session.marker("")) {
                    standing.surveys += 1;
                }
            }
            standing.files += issue.files.iter().filter(|(_, name, ..)| name.contains(&session.lsid)).count();
            standing.time_entries +=
                issue.worklogs.iter().filter(|entry| entry["comment"].to_string().contains(&session.marker(""))).count();
        }
        standing
    }
}

fn refusal(words: &str) -> Fault {
    Fault::Status { code: 400, body: json!({ "errorMessages": [words], "errors": {} }).to_string(), retry_after: None }
}

macro_rules! double {
    ($desk:ty, $kind:expr) => {
        impl HelpDeskDouble for $desk {
            const SECTION: &'static str = "jira";
            const WRITES: &'static [Request] = &[Request::Ticket, Request::File, Request::Note, Request::TimeEntry];

            async fn start(_appliance: &SimulatedAppliance) -> Result<Self> {
                Ok(Self(Desk::start($kind).await?))
            }

            fn connection(&self, appliance: &SimulatedAppliance, name: &str, id: &str) -> Table {
                self.0.connection(appliance, name, id)
            }

            fn add_ticket(&self) -> Result<String> {
                self.0.jira.add_ticket("To be written on")
            }

            fn matching(&self, request: Request, session: &Session) -> Matching {
                self.0.matching(request, session)
            }

            fn refusal(&self, words: &str) -> Fault {
                refusal(words)
            }

            fn fail(&self, times: Option<u32>, matching: Matching, fault: Fault) {
                self.0.fail(times, matching, fault);
            }

            fn requests(&self) -> Vec<RecordedRequest> {
                self.0.jira.requests()
            }

            fn pending_writes(&self) -> usize {
                self.0.jira.pending_writes()
            }

            fn standing(&self, session: &Session) -> Standing {
                self.0.standing(session)
            }

            async fn wait_until(&self, reached: impl Fn(&Self) -> bool) -> Result<()> {
                self.0.jira.wait_until(|_| reached(self).then_some(())).await
            }
        }
    };
}

double!(JiraCloudDesk, Kind::Cloud);
double!(JiraDataCenterDesk, Kind::DataCenter);
