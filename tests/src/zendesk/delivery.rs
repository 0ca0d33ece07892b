//! What the delivery suite must know of Zendesk: which request writes what, and what stands on the tickets.

use anyhow::Result;
use axum::http::Method;
use serde_json::json;
use toml::{Table, toml};

use super::{DemoData, Fault, Matching, Options, RecordedRequest, SimulatedZendesk, Ticket};
use crate::appliance::SimulatedAppliance;
use crate::delivery_suite::{HelpDeskDouble, Request, Session, Standing};
use crate::scene;

/// An account for the delivery suite.
pub struct ZendeskDesk {
    zendesk: SimulatedZendesk,
    people: DemoData,
}

impl HelpDeskDouble for ZendeskDesk {
    const SECTION: &'static str = "zendesk";
    // A file is uploaded while its note is prepared, and stands with it.
    const WRITES: &'static [Request] = &[Request::Ticket, Request::Note];

    async fn start(appliance: &SimulatedAppliance) -> Result<Self> {
        let zendesk = scene::zendesk_for(appliance, Options { rate_limits: None, ..Options::default() }).await?;
        let people = zendesk.fill_demo_data();
        Ok(Self { zendesk, people })
    }

    fn connection(&self, appliance: &SimulatedAppliance, name: &str, id: &str) -> Table {
        let mut connection = scene::to_zendesk(appliance, &self.zendesk, name, id);
        scene::merge(
            &mut connection,
            toml! {
                [zendesk]
                enable_automatic_ticket_creation = true
            },
        );
        connection
    }

    fn add_ticket(&self) -> Result<String> {
        let requester_id = self.zendesk.ticket(self.people.vpn_ticket).map_or(0, |ticket| ticket.requester_id);
        let subject = "To be written on".to_owned();
        Ok(self.zendesk.add_ticket(Ticket { description: subject.clone(), subject, requester_id, ..Ticket::default() }).to_string())
    }

    fn matching(&self, request: Request, session: &Session) -> Matching {
        let (method, path) = match request {
            Request::Note => (Method::PUT, "/api/v2/tickets/"),
            Request::File => (Method::POST, "/api/v2/uploads"),
            Request::Ticket => (Method::POST, "/api/v2/tickets"),
            Request::TimeEntry => (Method::POST, "/api/v2/no_time_entries"),
        };
        Matching::new(method, path).containing(&session.lsid)
    }

    fn refusal(&self, words: &str) -> Fault {
        let body = json!({
            "error": "RecordInvalid",
            "description": "RecordValidation errors",
            "details": {"base": [{"type": "invalid", "description": words}]},
        });
        Fault::Status { code: 422, body: body.to_string(), retry_after: None }
    }

    fn fail(&self, times: Option<u32>, matching: Matching, fault: Fault) {
        match times {
            Some(times) => self.zendesk.fail_next(times, matching, fault),
            None => self.zendesk.fail_always(matching, fault),
        }
    }

    fn requests(&self) -> Vec<RecordedRequest> {
        self.zendesk.requests()
    }

    fn pending_writes(&self) -> usize {
        self.zendesk.pending_writes()
    }

    fn standing(&self, session: &Session) -> Standing {
        let mut standing = Standing::default();
        for ticket in self.zendesk.tickets() {
            standing.tickets += usize::from(self.zendesk.ticket(ticket).is_some_and(|ticket| ticket.subject == session.title()));
            for comment in self.zendesk.comments(ticket) {
                if comment.plain_body.contains(&session.marker("report")) {
                    standing.reports += 1;
                } else if comment.plain_body.contains(&session.marker("")) {
                    standing.surveys += 1;
                }
                standing.files += comment.attachments.iter().filter(|file| file.file_name.contains(&session.lsid)).count();
            }
        }
        standing
    }

    async fn wait_until(&self, reached: impl Fn(&Self) -> bool) -> Result<()> {
        self.zendesk.wait_until(|_| reached(self).then_some(())).await
    }
}
