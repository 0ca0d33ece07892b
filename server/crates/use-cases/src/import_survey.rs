//! An exit survey was answered: it goes onto the ticket of its session, once.
//!
//! The event may come before the survey can be read, and a representative's survey before the session's report.

use std::sync::Arc;

use deskbridge_core::event::{EventKind, Origin};
use deskbridge_core::session_report::{Actor, ExitSurvey};
use deskbridge_remote_support::SurveyBy;
use deskbridge_security::sha256;
use deskbridge_store::LeasedEvent;
use deskbridge_work::WorkError;
use deskbridge_work::delivery::Deliverer;
use deskbridge_work::heard::Heard;
use deskbridge_work::worker::Handled;
use serde_json::json;

use crate::connections::Connection;
use crate::import_session::{NO_TICKET, elsewhere, read_report, ticket_of};
use crate::note::{Content, Report};
use crate::sweep::times_told;
use crate::{Services, note};

/// A survey is waited for this long if others of its session can be read already.
const OTHERS_PATIENCE_MS: i64 = 20_000;

/// Imports the survey of `event`.
pub(crate) async fn run(
    services: &Services,
    connection: &Arc<Connection>,
    event: &LeasedEvent,
    heard: &Heard,
) -> Result<Handled, WorkError> {
    let report = read_report(connection, &event.lsid, heard).await?;
    if let Some(elsewhere) = elsewhere(services, connection, event, &report).await? {
        return Ok(elsewhere);
    }
    let help_desk = connection.help_desk.as_ref();
    let mut deliverer = Deliverer::load(services.store.as_ref(), &services.clock, help_desk, connection.id, event, heard).await?;
    let Some(ticket) = ticket_of(services, connection, &mut deliverer, &report).await? else { return Ok(Handled::done(NO_TICKET)) };
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
    let abilities = connection.help_desk.abilities();
    let audience =
        if is_customers { Some(note::audience(&abilities)) } else { note::audience_among_agents(&abilities, &connection.settings.reports) };
    let Some(audience) = audience else {
        return Ok(Handled::done(
            "a representative's survey is for agents, and the requester would read it: this help desk has no internal notes",
        ));
    };
    let mut surveys = heard.engine(engine.surveys_of_session(by, &event.lsid, report.start_time).await)?;
    surveys.sort_by_key(|survey| survey.timestamp);
    let title = format!("{whose} exit survey of session {}", event.lsid);
    let mut done = Vec::new();
    for survey in &surveys {
        // Several people may answer; each answer is a delivery of its own, whichever of them can be read first.
        let of_0_1 = format!("{kind}-{}", distinction_of_0_1(survey));
        // What an earlier release wrote, or began to write, goes on under its name.
        let kind = if deliverer.knows(&of_0_1) { of_0_1 } else { format!("{kind}-{}", distinction(survey)) };
        let content = if is_customers { Content::CustomerSurvey } else { Content::RepresentativeSurvey };
        let to_write = Report { kind: &kind, ticket: &ticket, title: &title, audience, content: content(Arc::new(survey.clone())) };
        done.push(note::deliver(services, connection, &mut deliverer, &to_write).await?);
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

/// Tells the surveys of a session apart. It is part of what is stored, and of what stands on tickets: it is made of these values, whatever
/// else a survey may tell one day.
fn distinction(survey: &ExitSurvey) -> String {
    let by = survey.submitted_by.as_ref();
    let (kind, number, name) = (by.map(|by| &by.kind), by.and_then(|by| by.gsnumber.as_ref()), by.and_then(|by| by.name.as_ref()));
    short_hash(&json!([survey.timestamp, kind, number, name]).to_string())
}

/// The same as release 0.1 made it: Rust's debugging text of the one who filled the survey in, as they were described then.
fn distinction_of_0_1(survey: &ExitSurvey) -> String {
    let by = survey.submitted_by.as_ref().map_or_else(String::new, |by| {
        let Actor { kind, gsnumber, name, .. } = by;
        format!("Actor {{ kind: {kind:?}, gsnumber: {gsnumber:?}, name: {name:?} }}")
    });
    short_hash(&format!("{:?}/{by}", survey.timestamp))
}

fn short_hash(text: &str) -> String {
    let [a, b, c, d, ..] = sha256(text.as_bytes());
    format!("{:08x}", u32::from_be_bytes([a, b, c, d]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn survey(timestamp: Option<i64>, submitted_by: Option<(&str, Option<&str>, &str)>) -> ExitSurvey {
        let submitted_by = submitted_by.map(|(kind, gsnumber, name)| Actor {
            kind: kind.to_owned(),
            gsnumber: gsnumber.map(str::to_owned),
            name: Some(name.to_owned()),
        });
        ExitSurvey { timestamp, submitted_by, ..ExitSurvey::default() }
    }

    /// The first is stored by this release and those to come, the second was by 0.1: whoever has to change one of them here posts surveys twice.
    #[test]
    fn a_surveys_key_never_changes() {
        let check = |survey: &ExitSurvey, now: &str, of_0_1: &str| {
            assert_eq!((distinction(survey).as_str(), distinction_of_0_1(survey).as_str()), (now, of_0_1));
        };
        check(&survey(Some(1_733_240_520), Some(("customer", None, "John Smith"))), "a91c5498", "09df0707");
        check(&survey(Some(1_733_240_520), Some(("rep", Some("21"), "J\"D\u{200d}\\ 'é'"))), "e7da8265", "00a8b0ca");
        check(&survey(None, None), "6cd8cec7", "a5632bf8");
    }

    #[test]
    fn surveys_of_a_session_are_told_apart() {
        let of = |timestamp, by| distinction(&survey(timestamp, by));
        let one = of(Some(1), Some(("customer", Some("22"), "John")));
        for other in [
            of(Some(2), Some(("customer", Some("22"), "John"))),
            of(Some(1), Some(("rep", Some("22"), "John"))),
            of(Some(1), Some(("customer", Some("23"), "John"))),
            of(Some(1), Some(("customer", Some("22"), "Jane"))),
            of(Some(1), None),
        ] {
            assert_ne!(one, other);
        }
    }
}
