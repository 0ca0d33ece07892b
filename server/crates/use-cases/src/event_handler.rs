//! What each event of a support session leads to. An event of a session whose connection is not known yet is first given its connection.

use std::sync::Arc;

use async_trait::async_trait;
use deskbridge_core::event::EventKind;
use deskbridge_core::ids::ConnectionId;
use deskbridge_core::session_report::SessionReport;
use deskbridge_remote_support::{Error as EngineError, RemoteSupport};
use deskbridge_store::{LeasedEvent, Outcome, SlotWork};
use deskbridge_work::WorkError;
use deskbridge_work::heard::Heard;
use deskbridge_work::worker::{EventHandler, Handled, SlotOwner};

use crate::connections::{Connection, Directory, first_that_answers, one_for_each_way};
use crate::ownership::{self, Owner};
use crate::{Services, create_ticket, help_request, import_session, import_survey, incidents};

/// The use cases, as the worker calls them.
pub struct SupportEvents(pub Arc<Services>);

#[async_trait]
impl EventHandler for SupportEvents {
    fn slot_owner(&self, slot: &SlotWork) -> Option<SlotOwner> {
        let directory = self.0.connections.current();
        if let Some(id) = slot.connection {
            let connection = directory.by_id(id)?;
            let saved_at = directory.saved_at(id);
            return Some(SlotOwner { name: connection.name().to_owned(), policy: connection.policy().clone(), saved_at });
        }
        let users = directory.by_account_or_host(&slot.slot);
        let policy = users.iter().map(|connection| connection.policy()).max_by_key(|policy| policy.retry_attempt_limit)?;
        let saved_at = users.iter().map(|connection| directory.saved_at(connection.id)).max().unwrap_or_default();
        Some(SlotOwner { name: slot.slot.clone(), policy: policy.clone(), saved_at })
    }

    async fn handle(&self, event: &LeasedEvent, heard: &Heard) -> Result<Handled, WorkError> {
        let services = &*self.0;
        let directory = services.connections.current();
        let Some(id) = event.connection else { return give_connection(services, &directory, event, heard).await };
        let gone = || WorkError::Passing { what: "the connection does not run any more".into(), retry_after: None };
        let connection = directory.by_id(id).ok_or_else(gone)?;
        match event.kind {
            EventKind::Progress => import_session::note_progress(services, connection, event, heard).await,
            EventKind::SomeoneJoins => create_ticket::run(services, connection, event, heard).await,
            EventKind::SessionEnd => import_session::run(services, connection, event, heard).await,
            EventKind::HelpRequest => help_request::run(services, connection, event, heard).await,
            EventKind::CustomerSurvey | EventKind::RepresentativeSurvey => import_survey::run(services, connection, event, heard).await,
            EventKind::Incident | EventKind::IncidentEnd | EventKind::IncidentReopened => {
                incidents::settle::run(services, connection, event, heard).await
            }
        }
    }

    fn ended(&self, event: &LeasedEvent) {
        if let Some(connection) = event.connection.filter(|_| event.kind.is_of_incident()) {
            self.0.incidents.tell(connection, &event.lsid);
        }
    }
}

/// A session's report by the first of these ways that works, with the engine.
async fn report_by_any(
    ways: &[Arc<Connection>],
    lsid: &str,
) -> Option<(Arc<dyn RemoteSupport>, Result<Option<Arc<SessionReport>>, EngineError>)> {
    let mut last = None;
    for engine in ways.iter().filter_map(|connection| connection.engine.as_ref()) {
        let answer = engine.session(lsid).await;
        let is_of_the_way = answer.as_ref().is_err_and(EngineError::is_of_the_way);
        last = Some((engine.clone(), answer));
        if !is_of_the_way {
            break;
        }
    }
    last
}

/// Finds out which connection the event's session belongs to.
async fn give_connection(services: &Services, directory: &Directory, event: &LeasedEvent, heard: &Heard) -> Result<Handled, WorkError> {
    let users = directory.by_account_or_host(&event.account);
    let gone = || WorkError::Passing { what: "no connection of this remote-support system runs any more".into(), retry_after: None };
    let ways = one_for_each_way(users.clone());
    if event.kind == EventKind::HelpRequest {
        let engine = match ways.as_slice() {
            [only] => only.engine.clone().ok_or_else(gone)?,
            several => heard.engine(first_that_answers(several).await)?.0,
        };
        return help_request::give_connection(directory, engine.as_ref(), event, heard).await;
    }
    let (engine, answer) = report_by_any(&ways, &event.lsid).await.ok_or_else(gone)?;
    let report = match heard.engine(answer) {
        Ok(Some(report)) => report,
        Ok(None) if event.kind == EventKind::Progress => return Ok(Handled::done("no report of the session under way")),
        Ok(None) => return Err(import_session::no_report_yet(services, event).await),
        // It must not hold up the session's end; the next event or look brings the state along.
        Err(error) if event.kind == EventKind::Progress => {
            return Ok(Handled::done(format!("the live state could not be brought up to date: {error}")));
        }
        Err(error) => return Err(error),
    };
    if event.kind == EventKind::SessionEnd && !report.is_ended() {
        return Err(WorkError::NotReady);
    }
    let outcome = match ownership::of_session(services, directory, engine.as_ref(), &report).await? {
        Owner::Connection { id, proof } => {
            if is_unwanted(directory.by_id(id), event) {
                Outcome::Done("the settings of the session's connection do not process this event".into())
            } else {
                Outcome::Belongs { connection: id, reason: proof.to_owned() }
            }
        }
        Owner::Undecided(candidates) => match ownership::external_key(&report) {
            None => Outcome::Done(import_session::NO_TICKET.into()),
            // Only the live state would be kept.
            Some(key) if !matches!(event.kind, EventKind::SessionEnd) && !is_wanted_by_any(&users, event, key) => {
                Outcome::Done("nobody knows yet which connection the session belongs to".into())
            }
            Some(key) => Outcome::Undecided(undecided(directory, &candidates, &session_with(key))),
        },
    };
    Ok(Handled { outcome, confirmed: Vec::new(), recorded: false })
}

fn is_unwanted(connection: Option<&Arc<Connection>>, event: &LeasedEvent) -> bool {
    // One that does not run now may want it when it runs again.
    connection.is_some_and(|connection| !connection.policy().processes_found(event.kind))
}

/// Whether something would be written for the event: a survey, or a ticket.
fn is_wanted_by_any(users: &[Arc<Connection>], event: &LeasedEvent, key: &str) -> bool {
    let mut wanting = users.iter().filter(|connection| connection.policy().processes_found(event.kind));
    match event.kind {
        EventKind::CustomerSurvey | EventKind::RepresentativeSurvey => wanting.next().is_some(),
        EventKind::SomeoneJoins => key.starts_with('{') && wanting.any(|connection| connection.help_desk.abilities().creates_tickets),
        EventKind::Progress
        | EventKind::SessionEnd
        | EventKind::HelpRequest
        | EventKind::Incident
        | EventKind::IncidentEnd
        | EventKind::IncidentReopened => false,
    }
}

/// A session by its external key, for people.
pub(crate) fn session_with(key: &str) -> String {
    format!("session with external key “{}”", ownership::shown_key(key))
}

/// What is said of something that could belong to several connections.
pub(crate) fn undecided(directory: &Directory, candidates: &[ConnectionId], what: &str) -> String {
    format!(
        "the {what} could belong to {}; nothing was written. Decide with `deskbridge events assign EVENT_ID CONNECTION`",
        ownership::names(directory, candidates)
    )
}

#[cfg(test)]
mod tests {
    use deskbridge_remote_support::{EngineFault, HelpRequest};

    use super::*;
    use crate::testing::{Engine, HelpDesk, NOW, Rig, connection};

    /// The account's first connection has a password that is refused.
    #[tokio::test]
    async fn whose_an_event_is_is_asked_by_a_connection_that_works() {
        let (engines, help_desk) = ([Engine::new("host/account"), Engine::new("host/account")], HelpDesk::new());
        let refused = EngineError::new(EngineFault::Denied { reason: "noauth".into() }, "refused");
        *engines[0].fails.lock().unwrap() = Some(refused);
        let running = [connection(1, "a", &engines[0], &help_desk), connection(2, "b", &engines[1], &help_desk)];
        *engines[1].named.lock().unwrap() = Some(running[1].id);
        engines[0].wants_help.store(false, std::sync::atomic::Ordering::SeqCst);
        let session = SessionReport {
            lsid: "lsid".into(),
            external_key: Some("88121".into()),
            end_time: Some(NOW / 1_000),
            ..SessionReport::default()
        };
        engines[1].reports.lock().unwrap().insert("lsid".into(), session);
        let request = HelpRequest {
            id: "help".into(),
            machine_id: "node//1".into(),
            machine: "PC-17".into(),
            person: None,
            text: String::new(),
            asked_at: NOW / 1_000,
        };
        engines[1].help_requests.lock().unwrap().insert("help".into(), request);
        let rig = Rig::new(&running).await;
        for (kind, lsid) in [(EventKind::SessionEnd, "lsid"), (EventKind::HelpRequest, "help")] {
            let event = rig.unowned_event("host/account", kind, lsid).await;
            let outcome = rig.handle(&event).await;
            assert!(matches!(outcome, Outcome::Belongs { connection, .. } if connection == running[1].id), "{outcome:?}");
        }
    }
}
