//! What the delivery suite must know of Autotask: which request writes what, and what stands on the tickets.

use anyhow::Result;
use axum::http::Method;
use serde_json::{Value, json};
use toml::Table;

use super::{Entity, Fault, Matching, Options, REST, RecordedRequest, SampleData, SimulatedAutotask};
use crate::appliance::SimulatedAppliance;
use crate::delivery_suite::{HelpDeskDouble, Request, Session, Standing};
use crate::scene;

/// A tenant for the delivery suite.
pub struct AutotaskDesk {
    autotask: SimulatedAutotask,
    data: SampleData,
}

impl HelpDeskDouble for AutotaskDesk {
    const SECTION: &'static str = "autotask";
    const WRITES: &'static [Request] = &[Request::Ticket, Request::File, Request::Note, Request::TimeEntry];

    async fn start(_appliance: &SimulatedAppliance) -> Result<Self> {
        let mut options = Options::default();
        // Else a session around midnight would be another story.
        options.settings.time_over_midnight = true;
        // Else the first request for a ticket would be one without a due date, which is refused.
        options.settings.supplies_due_date = true;
        let autotask = SimulatedAutotask::start(options).await?;
        let data = autotask.fill_sample_data()?;
        // The representative of every script is somebody here.
        autotask.alter_record(Entity::Resources, data.technician, json!({ "email": "jdoe@msp.example" }))?;
        Ok(Self { autotask, data })
    }

    fn connection(&self, appliance: &SimulatedAppliance, name: &str, id: &str) -> Table {
        let time = json!({"defaultDomain": "msp.example", "roleName": "Technician", "summaryNotes": "Remote support session"});
        let ticket =
            json!({"accountName": "harbour logistics", "assignedResourceName": "anna.lindqvist", "assignedResourceRoleName": "Technician"});
        let sections = format!(
            r"
            [panel]
            {}
            update_time_entry = true
            time_entry_default_data = '{time}'
            enable_automatic_ticket_creation = true
            ticket_default_data = '{ticket}'
            ",
            self.autotask.section(),
        );
        scene::connection(appliance, name, id, &sections)
    }

    fn add_ticket(&self) -> Result<String> {
        let mut copy = self.autotask.record(Entity::Tickets, self.data.ticket).unwrap_or_default();
        for own in ["id", "ticketNumber"] {
            copy.remove(own);
        }
        Ok(self.autotask.add(Entity::Tickets, Value::Object(copy))?.to_string())
    }

    fn matching(&self, request: Request, session: &Session) -> Matching {
        let below_tickets = |path: &str| format!("{REST}Tickets/{}/{path}", session.ticket);
        let (path, text) = match request {
            Request::Note => (below_tickets("Notes"), &session.lsid),
            Request::File => (below_tickets("Attachments"), &session.lsid),
            Request::TimeEntry => (format!("{REST}TimeEntries"), &session.lsid),
            Request::Ticket => (format!("{REST}Tickets"), &session.lsid),
        };
        Matching::new(Method::POST, path).exactly().containing(text)
    }

    fn refusal(&self, words: &str) -> Fault {
        // Nearly every refusal is a 500 (a.11); this beginning is one the tenant always means.
        let text = format!("Picklist value [{words}] does not exist for noteType");
        Fault::Status { code: 500, body: json!({ "errors": [text] }).to_string(), retry_after: None }
    }

    fn fail(&self, times: Option<u32>, matching: Matching, fault: Fault) {
        match times {
            Some(times) => self.autotask.fail_next(times, matching, fault),
            None => self.autotask.fail_always(matching, fault),
        }
    }

    fn requests(&self) -> Vec<RecordedRequest> {
        self.autotask.requests()
    }

    fn pending_writes(&self) -> usize {
        self.autotask.pending_writes()
    }

    fn standing(&self, session: &Session) -> Standing {
        let mut standing = Standing::default();
        for ticket in self.autotask.records(Entity::Tickets) {
            standing.tickets += usize::from(ticket.get("title").and_then(Value::as_str) == Some(session.title().as_str()));
            let id = ticket.get("id").and_then(Value::as_i64).unwrap_or_default();
            for note in self.autotask.notes(id) {
                if note.title.contains(&session.marker("report")) {
                    standing.reports += 1;
                } else if note.title.contains(&session.marker("")) {
                    standing.surveys += 1;
                }
            }
            standing.files += self.autotask.attachments(id).iter().filter(|file| file.title.contains(&session.marker(""))).count();
            let entries = self.autotask.time_entries(id);
            standing.time_entries += entries.iter().filter(|entry| entry.internal_notes.contains(&session.marker(""))).count();
        }
        standing
    }

    async fn wait_until(&self, reached: impl Fn(&Self) -> bool) -> Result<()> {
        self.autotask.wait_until(|_| reached(self).then_some(())).await
    }
}
