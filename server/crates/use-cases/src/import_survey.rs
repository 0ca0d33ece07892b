//! An exit survey was answered: it goes onto the ticket of its session, once.
//!
//! The event may come before the survey can be read, and a representative's survey before the session's report.

use std::sync::Arc;

use deskbridge_core::event::{EventKind, Origin};
use deskbridge_core::session_report::ExitSurvey;
use deskbridge_remote_support::SurveyBy;
use deskbridge_reports::RenderOptions;
use deskbridge_security::sha256;
use deskbridge_store::LeasedEvent;
use deskbridge_work::WorkError;
use deskbridge_work::delivery::Deliverer;
use deskbridge_work::worker::Handled;

use crate::connections::Connection;
use crate::import_session::{NO_TICKET, elsewhere, read_report, ticket_of};
use crate::sweep::times_told;
use crate::{Services, note};

/// A survey is waited for this long if others of its session can be read already.
const OTHERS_PATIENCE_MS: i64 = 20_000;
/// Imports the survey of `event`.
pub(crate) async fn run(services: &Services, connection: &Arc<Connection>, event: &LeasedEvent) -> Result<Handled, WorkError> {
    let report = read_report(connection, &event.lsid).await?;
    if let Some(elsewhere) = elsewhere(services, connection, event, &report).await? {
        return Ok(elsewhere);
    }
    let help_desk = connection.help_desk.as_ref();
    let mut deliverer = Deliverer::load(services.store.as_ref(), &services.clock, help_desk, connection.id, event).await?;
    let Some(ticket) = ticket_of(connection, &mut deliverer, &report).await? else { return Ok(Handled::done(NO_TICKET)) };
    if connection.help_desk.abilities().note.is_none() {
        return Ok(Handled::done("the help desk takes no notes from a server"));
    }
    let Some(engine) = &connection.engine else { return Ok(Handled::done("the connection has no remote-support system any more")) };
    let is_customers = event.kind == EventKind::CustomerSurvey;
    let (kind, whose, by) = if is_customers {
        ("customer-survey", "Customer's", SurveyBy::Customer)
    } else {
        ("representative-survey", "Representative's", SurveyBy::Representative)
    };
    let mut surveys = engine.surveys_of_session(by, &event.lsid, report.start_time).await?;
    surveys.sort_by_key(|survey| survey.timestamp);
    let title = format!("{whose} exit survey of session {}", event.lsid);
    let mut done = Vec::new();
    for survey in &surveys {
        // Several people may answer; each answer is a delivery of its own, whichever of them can be read first.
        let kind = format!("{kind}-{}", distinction(survey));
        let render = |options: &RenderOptions, form| {
            if is_customers {
                services.reports.fit_customer_survey(survey, options, form)
            } else {
                services.reports.fit_representative_survey(survey, options, form)
            }
        };
        done.push(note::deliver(connection, &mut deliverer, &kind, &ticket, &title, render).await?);
    }
    // The appliance tells of each survey once: with fewer surveys, one of them cannot be read yet.
    let events = services.store.known_events(&event.account, event.kind, std::slice::from_ref(&event.lsid)).await?;
    let outbound = times_told(events.iter().filter(|event| event.origin == Origin::Outbound));
    let is_waited_for = services.clock.now_ms() - event.received_at < OTHERS_PATIENCE_MS;
    if done.is_empty() || done.len() < outbound && is_waited_for {
        return Err(WorkError::NotReady);
    }
    Ok(Handled { confirmed: deliverer.into_written(), ..Handled::done(done.join("; ")) })
}

/// Tells the surveys of a session apart.
fn distinction(survey: &ExitSurvey) -> String {
    let by = survey.submitted_by.as_ref().map(|actor| format!("{actor:?}")).unwrap_or_default();
    let [a, b, c, d, ..] = sha256(format!("{:?}/{by}", survey.timestamp).as_bytes());
    format!("{:08x}", u32::from_be_bytes([a, b, c, d]))
}
