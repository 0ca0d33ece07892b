//! A session that belongs to no ticket gets one: its external key is a JSON object that says what the ticket is to hold.
//!
//! Written once for all help desks, and for whatever makes a ticket. The ticket is remembered by the session's lsid, so a second
//! representative, a retry or a crash makes no second one; its id is written back to the session, so that the console, the later events and
//! the report name the ticket.

use std::sync::Arc;

use deskbridge_core::session_report::SessionReport;
use deskbridge_help_desks::{Item, NewTicket};
use deskbridge_remote_support::{EngineFault, Error as EngineError};
use deskbridge_store::LeasedEvent;
use deskbridge_work::WorkError;
use deskbridge_work::delivery::{Deliverer, Planned};
use deskbridge_work::heard::Heard;
use deskbridge_work::worker::Handled;
use serde_json::{Map, Value};

use crate::connections::Connection;
use crate::import_session::{elsewhere, note_progress, read_report};
use crate::ownership::external_key;
use crate::{Services, live_sessions, ticket_fields};

/// What comes after the ticket does not wait longer for its fields for its customer.
const FIELDS_TIME: std::time::Duration = std::time::Duration::from_secs(5);
/// The delivery of a new ticket. The store knows it too: who created a session's ticket owns the session.
pub(crate) const TICKET: &str = "ticket";

/// Someone joined: if a representative is in the session and it belongs to no ticket yet, it gets one.
pub(crate) async fn run(
    services: &Services,
    connection: &Arc<Connection>,
    event: &LeasedEvent,
    heard: &Heard,
) -> Result<Handled, WorkError> {
    if !connection.help_desk.abilities().creates_tickets {
        return note_progress(services, connection, event, heard).await;
    }
    let report = read_report(connection, &event.lsid, heard).await?;
    if let Some(elsewhere) = elsewhere(services, connection, event, &report).await? {
        return Ok(elsewhere);
    }
    let help_desk = connection.help_desk.as_ref();
    let mut deliverer = Deliverer::load(services.store.as_ref(), &services.clock, help_desk, connection.id, event, heard).await?;
    let ticket = if report.representatives.is_empty() { None } else { ensure(services, connection, &mut deliverer, &report).await? };
    live_sessions::remember(services, connection, &report, ticket.as_deref()).await?;
    let done = ticket.map_or_else(|| "live state brought up to date".into(), |ticket| format!("the session has ticket {ticket}"));
    Ok(Handled { confirmed: deliverer.into_written(), ..Handled::done(done) })
}

/// The ticket created for the event's session or help request, if there is one.
pub(crate) fn created(deliverer: &Deliverer<'_>) -> Option<String> {
    deliverer.confirmed(TICKET).map(str::to_owned)
}

/// The ticket of a session whose external key asks for a new one; created if there is none yet. `None`: it does not ask.
pub(crate) async fn ensure(
    services: &Services,
    connection: &Arc<Connection>,
    deliverer: &mut Deliverer<'_>,
    report: &SessionReport,
) -> Result<Option<String>, WorkError> {
    if !connection.help_desk.abilities().creates_tickets {
        return Ok(None);
    }
    let Some(fields) = external_key(report).and_then(asked_fields) else { return Ok(None) };
    let ticket = if let Some(ticket) = created(deliverer) {
        ticket
    } else {
        let ticket = create(connection, deliverer, fields, report).await?;
        fill_fields(services, connection, &ticket).await;
        ticket
    };
    // An ended session takes no external key; its ticket is remembered all the same. A representative who has chosen a ticket in the
    // meantime keeps it.
    if report.end_time.is_none()
        && let Some(engine) = &connection.engine
    {
        match engine.set_ticket(&report.lsid, external_key(report), &ticket).await {
            // The record finds its ticket without it, and needs no such permission.
            Err(EngineError { fault: EngineFault::Denied { reason }, .. }) => {
                tracing::warn!(connection = connection.name(), lsid = report.lsid, reason, "the session does not name its new ticket");
            }
            answer => deliverer.heard().engine(answer)?,
        }
    }
    Ok(Some(ticket))
}

async fn create(
    connection: &Connection,
    deliverer: &mut Deliverer<'_>,
    fields: Map<String, Value>,
    report: &SessionReport,
) -> Result<String, WorkError> {
    let with = report.customer_name().map_or_else(String::new, |name| format!(" with {name}"));
    let by = report.representative_name().map_or_else(String::new, |name| format!(" by {name}"));
    let mut new = NewTicket {
        key_in_text: false,
        fields,
        title: format!("Remote support session{with}"),
        description: format!("Created when the remote support session{with}{by} began."),
        ..NewTicket::default()
    };
    let written = write(deliverer, &new).await;
    let ticket = match written {
        // Customers write the key: what is refused because of it must not cost the ticket, and its report.
        Err(WorkError::Permanent(reason)) if !new.fields.is_empty() => {
            tracing::info!(connection = connection.name(), reason, "the ticket was refused; it is tried with the external key as text");
            new.key_in_text = true;
            write(deliverer, &new).await?
        }
        other => other?,
    };
    tracing::info!(connection = connection.name(), ticket, lsid = report.lsid, "ticket created for a session");
    Ok(ticket)
}

/// Writes a ticket for the event's session or help request, once. The answer is its id.
pub(crate) async fn write(deliverer: &mut Deliverer<'_>, new: &NewTicket) -> Result<String, WorkError> {
    let marker = marker(deliverer);
    let done = deliverer.once(&Planned { kind: TICKET, ticket: "", marker: &marker, item: Item::Ticket(new) }).await?;
    Ok(done.remote_id)
}

/// Looks for the ticket that an earlier attempt may have made, and makes none. The answer is its id.
pub(crate) async fn look_for(deliverer: &mut Deliverer<'_>) -> Result<Option<String>, WorkError> {
    let (marker, new) = (marker(deliverer), NewTicket::default());
    let found = deliverer.look_for(&Planned { kind: TICKET, ticket: "", marker: &marker, item: Item::Ticket(&new) }).await?;
    Ok(found.map(|found| found.remote_id))
}

/// Short: Autotask's field for it takes 50 characters (autotask-extension.md a.5).
fn marker(deliverer: &Deliverer<'_>) -> String {
    format!("deskbridge/{}", deliverer.key(TICKET).lsid)
}

/// Fills the new ticket's fields for its customer, unless that takes too long.
pub(crate) async fn fill_fields(services: &Services, connection: &Arc<Connection>, ticket: &str) {
    let filled = tokio::time::timeout(FIELDS_TIME, ticket_fields::fill(services, connection, ticket)).await;
    if filled.is_err() {
        tracing::warn!(connection = connection.name(), ticket, "the new ticket's fields are filled when an agent opens it");
    }
}

/// The fields an external key asks for, if it is a JSON object.
fn asked_fields(key: &str) -> Option<Map<String, Value>> {
    if key.starts_with('{') { serde_json::from_str(key).ok() } else { None }
}
