//! The support session ended: its report goes onto the ticket, once.
//!
//! Everything is read again from the engine; the event that came is only a hint. What makes "once" true is in `deskbridge_work::delivery`.

use std::sync::Arc;

use deskbridge_core::ids::EngineAccount;
use deskbridge_core::session_report::SessionReport;
use deskbridge_reports::{Audience, ReportTemplates};
use deskbridge_store::{LeasedEvent, Outcome};
use deskbridge_work::WorkError;
use deskbridge_work::delivery::Deliverer;
use deskbridge_work::heard::Heard;
use deskbridge_work::worker::Handled;

use crate::connections::Connection;
use crate::note::{Content, Report};
use crate::ownership::{self, Owner, external_key};
use crate::{Services, create_ticket, event_handler, live_sessions, note, record_time};

/// Later sessions of a ticket wait this long for one the engine has no report of.
const ORDER_PATIENCE_MS: i64 = 20_000;

/// The delivery of a session's report.
pub(crate) const REPORT: &str = "report";

/// The delivery of what a report for the requester leaves out.
const INTERNAL_NOTE: &str = "report-internal";

/// What is said of a session that belongs to none.
pub(crate) const NO_TICKET: &str = "the session belongs to no ticket (no external key)";

/// Imports the session of `event`.
pub(crate) async fn run(
    services: &Services,
    connection: &Arc<Connection>,
    event: &LeasedEvent,
    heard: &Heard,
) -> Result<Handled, WorkError> {
    let help_desk = connection.help_desk.as_ref();
    let abilities = help_desk.abilities();
    let mut deliverer = Deliverer::load(services.store.as_ref(), &services.clock, help_desk, connection.id, event, heard).await?;
    // An event and a sweep often tell of the same session; the second costs the engine nothing.
    let wants_internal_note = note::is_internal_note_wanted(&abilities, &connection.settings.reports);
    let all = [(REPORT, true), (record_time::TIME, abilities.records_time), (INTERNAL_NOTE, wants_internal_note)];
    if all.iter().all(|(kind, is_due)| !is_due || deliverer.confirmed(kind).is_some()) {
        return Ok(Handled { recorded: true, ..Handled::done("the session stands on its ticket already") });
    }
    let report = match read_report(connection, &event.lsid, heard).await {
        Err(WorkError::NotReady) => return Err(no_report_yet(services, event).await),
        other => other?,
    };
    if report.end_time.is_none() || report.is_incomplete {
        live_sessions::remember(services, connection, &report, None).await?;
        return Err(WorkError::NotReady);
    }
    if let Some(elsewhere) = elsewhere(services, connection, event, &report).await? {
        return Ok(elsewhere);
    }
    let Some(ticket) = ticket_of(services, connection, &mut deliverer, &report).await? else {
        let confirmed = deliverer.into_written();
        return Ok(Handled { confirmed, ..Handled::done(NO_TICKET) });
    };
    let session = live_sessions::known_session(connection, &report, &ticket);
    // What is left after the report holds up no other session of the ticket.
    let is_its_turn = services.store.begin_in_order(event, &session, services.clock.now_ms()).await?;
    if deliverer.confirmed(REPORT).is_none() && !is_its_turn {
        return Err(WorkError::NotItsTurn);
    }
    if abilities.note.is_none() {
        let done = format!("the help desk takes no notes from a server; an agent adds the report on the page of ticket {ticket}");
        return Ok(Handled { confirmed: deliverer.into_written(), ..Handled::done(done) });
    }
    let title = format!("Remote support session {}", event.lsid);
    let content = Content::Session(report.clone());
    let to_write = Report { kind: REPORT, ticket: &ticket, title: &title, audience: note::audience(&abilities), content };
    let mut done = note::deliver(services, connection, &mut deliverer, &to_write).await?;
    // Neither waits for the other: what one of them meets may never pass.
    let internal = add_internal_note(services, connection, &mut deliverer, &ticket, &report).await;
    let time = record_time::run(services, connection, &mut deliverer, &ticket, &report).await;
    match (internal, time) {
        (Ok(internal), Ok(time)) => {
            for more in internal.into_iter().chain(time) {
                done.push_str("; ");
                done.push_str(&more);
            }
        }
        // What may still pass is tried again, whatever the other met.
        (Err(WorkError::Permanent(_)) | Ok(_), Err(error)) | (Err(error), _) => {
            deliverer.confirm_written().await?;
            services.store.mark_recorded(connection.id, &event.lsid, services.clock.now_ms()).await?;
            services.store.forget_ticket(event).await?;
            return Err(error);
        }
    }
    Ok(Handled { confirmed: deliverer.into_written(), recorded: true, ..Handled::done(done) })
}

/// What the note for the requester leaves out, for agents alone. `None`: that is not asked for, or nothing is left out.
async fn add_internal_note(
    services: &Services,
    connection: &Connection,
    deliverer: &mut Deliverer<'_>,
    ticket: &str,
    report: &Arc<SessionReport>,
) -> Result<Option<String>, WorkError> {
    let audience = Audience::AgentsBesideRequester;
    let is_wanted = note::is_internal_note_wanted(&connection.help_desk.abilities(), &connection.settings.reports);
    if !is_wanted {
        return Ok(None);
    }
    let (looked_at, options) = (report.clone(), note::render_options(services, connection, audience, ""));
    if !note::off_the_runtime(move || ReportTemplates::leaves_something_out(&looked_at, &options)).await {
        return Ok(None);
    }
    let title = format!("Remote support session {}, for agents only", report.lsid);
    let to_write = Report { kind: INTERNAL_NOTE, ticket, title: &title, audience, content: Content::Session(report.clone()) };
    note::deliver(services, connection, deliverer, &to_write).await.map(Some)
}

/// Something happened in a session that goes on: only the live state is brought up to date, and only if the report is there.
pub(crate) async fn note_progress(
    services: &Services,
    connection: &Arc<Connection>,
    event: &LeasedEvent,
    heard: &Heard,
) -> Result<Handled, WorkError> {
    match read_report(connection, &event.lsid, heard).await {
        Ok(report) => {
            match elsewhere(services, connection, event, &report).await? {
                None => live_sessions::remember(services, connection, &report, None).await?,
                Some(Handled { outcome: Outcome::Undecided(_), .. }) => {
                    return Ok(Handled::done("nobody knows yet which connection the session belongs to"));
                }
                Some(elsewhere) => return Ok(elsewhere),
            }
            Ok(Handled::done("live state brought up to date"))
        }
        Err(WorkError::NotReady) => Ok(Handled::done("no report of the session under way")),
        // It must not hold up the session's end; the next event or look brings the state along.
        Err(WorkError::Passing { what, .. }) => Ok(Handled::done(format!("the live state could not be brought up to date: {what}"))),
        Err(error) => Err(error),
    }
}

pub(crate) async fn read_report(connection: &Connection, lsid: &str, heard: &Heard) -> Result<Arc<SessionReport>, WorkError> {
    let no_engine = || WorkError::Permanent("the connection has no remote-support system any more".into());
    let engine = connection.engine.as_ref().ok_or_else(no_engine)?;
    heard.engine(engine.session(lsid).await)?.ok_or(WorkError::NotReady)
}

/// The engine has no report of the event's session yet. After a while it is perhaps nobody's session at all: the ticket it named does not
/// wait for it any longer.
pub(crate) async fn no_report_yet(services: &Services, event: &LeasedEvent) -> WorkError {
    if services.clock.now_ms() - event.received_at > ORDER_PATIENCE_MS
        && let Err(error) = services.store.forget_ticket(event).await
    {
        return error.into();
    }
    WorkError::NotReady
}

/// What to do with a session that names another connection than the one its event was given to. None: it is this one's.
pub(crate) async fn elsewhere(
    services: &Services,
    connection: &Arc<Connection>,
    event: &LeasedEvent,
    report: &SessionReport,
) -> Result<Option<Handled>, WorkError> {
    let Some(engine) = &connection.engine else { return Ok(None) };
    let directory = services.connections.current();
    let names_another = ownership::named_in(&directory, engine.as_ref(), report).iter().any(|named| *named != connection.id);
    // Before migration 0005 every connection whose recipient heard of a session was believed to own it.
    let is_unproved = EngineAccount::stored_host(&event.account).is_none() && directory.only_user_of_host(&engine.account().host).is_none();
    if !names_another && !is_unproved {
        return Ok(None);
    }
    Ok(match ownership::of_session(services, &directory, engine.as_ref(), report).await? {
        Owner::Connection { id, proof } if id != connection.id => {
            let outcome = Outcome::Belongs { connection: id, reason: proof.to_owned() };
            Some(Handled { outcome, confirmed: Vec::new(), recorded: false })
        }
        Owner::Connection { .. } => None,
        Owner::Undecided(candidates) => {
            let key = external_key(report).unwrap_or_default();
            let outcome = Outcome::Undecided(event_handler::undecided(&directory, &candidates, &event_handler::session_with(key)));
            Some(Handled { outcome, confirmed: Vec::new(), recorded: false })
        }
    })
}

/// The id of the ticket a session belongs to: its external key, which may have changed since the event was sent, or the
/// ticket that was created for it.
pub(crate) async fn ticket_of(
    services: &Services,
    connection: &Arc<Connection>,
    deliverer: &mut Deliverer<'_>,
    report: &SessionReport,
) -> Result<Option<String>, WorkError> {
    let Some(key) = external_key(report) else { return Ok(create_ticket::created(deliverer)) };
    if connection.help_desk.is_ticket_name(key) {
        return Ok(Some(deliverer.heard().help_desk(connection.help_desk.resolve(key).await)?));
    }
    if let Some(ticket) = create_ticket::ensure(services, connection, deliverer, report).await? {
        return Ok(Some(ticket));
    }
    Err(WorkError::Permanent(format!(
        "the session's external key “{}” is no ticket id; set it to a ticket's id in the representative console, then retry this event",
        ownership::shown_key(key)
    )))
}
