//! A session that belongs to no ticket gets one: its external key is a JSON object that says what the ticket is to hold.
//!
//! Written once for all ticket systems. The ticket is remembered by the session's lsid, so a second representative, a
//! retry or a crash makes no second one; its id is written back to the session, so that the console, the later events and
//! the report name the ticket.

use serde_json::{Map, Value};

use super::deliver::{Item, delivery_key, once};
use super::import_session::{ImportError, external_key, note_progress, read_report};
use super::live_sessions;
use crate::app::App;
use crate::appliance::SupportSession;
use crate::connections::Connection;
use crate::store::{DeliveryKey, LeasedEvent};
use crate::tickets::NewTicket;

/// The delivery of a session's ticket.
const TICKET: &str = "ticket";

/// Someone joined: if a representative is in the session and it belongs to no ticket yet, it gets one.
pub async fn run(app: &App, connection: &Connection, event: &LeasedEvent) -> Result<String, ImportError> {
    if !connection.tickets.abilities().creates_tickets {
        return note_progress(app, connection, event).await;
    }
    let report = read_report(connection, &event.lsid).await?;
    let ticket = if report.representatives.is_empty() { None } else { ensure(app, connection, event, &report).await? };
    live_sessions::remember(app, connection, &report, ticket.as_deref()).await?;
    Ok(ticket.map_or_else(|| "live state brought up to date".into(), |ticket| format!("the session has ticket {ticket}")))
}

/// The ticket created for the session, if there is one.
pub(super) async fn created(app: &App, connection: &Connection, event: &LeasedEvent) -> Result<Option<String>, ImportError> {
    Ok(app.store.confirmed(&delivery_key(connection, event, TICKET)).await?)
}

/// The ticket of a session whose external key asks for a new one; created if there is none yet. `None`: it does not ask.
pub(super) async fn ensure(
    app: &App,
    connection: &Connection,
    event: &LeasedEvent,
    report: &SupportSession,
) -> Result<Option<String>, ImportError> {
    if !connection.tickets.abilities().creates_tickets {
        return Ok(None);
    }
    let Some(fields) = external_key(report).and_then(asked_fields) else { return Ok(None) };
    let key = delivery_key(connection, event, TICKET);
    let ticket = match app.store.confirmed(&key).await? {
        Some(ticket) => ticket,
        None => create(app, connection, event, &key, fields, report).await?,
    };
    if report.end_time.is_none() {
        write_back(connection, &event.lsid, &ticket, external_key(report)).await?;
    }
    Ok(Some(ticket))
}

async fn create(
    app: &App,
    connection: &Connection,
    event: &LeasedEvent,
    key: &DeliveryKey,
    fields: Map<String, Value>,
    report: &SupportSession,
) -> Result<String, ImportError> {
    let with = report.customer_name().map_or_else(String::new, |name| format!(" with {name}"));
    let by = report.representative_name().map_or_else(String::new, |name| format!(" by {name}"));
    let new = NewTicket {
        fields,
        title: format!("Remote support session{with}"),
        description: format!("Created when the remote support session{with}{by} began."),
        // Short: Autotask's field for it takes 50 characters (autotask-extension.md a.5).
        marker: format!("deskbridge/{}", event.lsid),
    };
    let done = once(app, connection, event, key, ("", &new.marker), Item::Ticket(&new)).await?;
    tracing::info!(connection = connection.name(), ticket = done.remote_id, lsid = event.lsid, "ticket created for a session");
    Ok(done.remote_id)
}

/// The session's external key becomes the ticket's id. An ended session takes none; its ticket is remembered all the same.
/// A representative who has chosen a ticket in the meantime keeps it: `seen` is the key that asked for ours.
async fn write_back(connection: &Connection, lsid: &str, ticket: &str, seen: Option<&str>) -> Result<(), ImportError> {
    let now = connection.appliance.get_session_attributes(lsid).await;
    let changed = now.is_ok_and(|attributes| attributes.get("external_key").is_some_and(|key| seen != Some(key.trim())));
    if changed {
        return Ok(());
    }
    match connection.appliance.set_session_attributes(lsid, &[("external_key", ticket)]).await {
        Err(crate::appliance::Error::Refused { message }) => {
            tracing::warn!(connection = connection.name(), lsid, message, "the session took no external key; it has probably ended");
            Ok(())
        }
        other => Ok(other?),
    }
}

/// The fields an external key asks for, if it is a JSON object.
fn asked_fields(key: &str) -> Option<Map<String, Value>> {
    if key.starts_with('{') { serde_json::from_str(key).ok() } else { None }
}
