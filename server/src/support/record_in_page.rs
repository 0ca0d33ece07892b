//! The report of a session for a ticket system that takes no notes from a server: the agent's own page puts it onto the ticket.
//!
//! The server hands out the note with its marker and remembers when the page says it stands; the page looks for the marker first.

use super::deliver::{fit, marker};
use super::import_session::{REPORT, external_key};
use super::{SupportError, ticket_access};
use crate::app::App;
use crate::appliance::is_lsid;
use crate::connections::Connection;
use crate::reports::{Body, NoteLimit};
use crate::store::{DeliveryKey, DeliveryState};
use crate::tickets::AgentReference;

/// osTicket keeps 65,535 bytes of a message (osticket.md 2.7).
const LIMIT: NoteLimit = NoteLimit { body: Body::Html, bytes: 60_000 };

/// A note to put onto a ticket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageRecord {
    /// One line.
    pub title: String,
    /// With the marker as its last line.
    pub html: String,
    /// Found again by this text.
    pub marker: String,
    /// It stands on the ticket already.
    pub recorded: bool,
}

/// The note of the session `lsid` of `ticket`.
pub async fn prepare(
    app: &App,
    connection: &Connection,
    agent: &AgentReference,
    ticket: &str,
    lsid: &str,
) -> Result<PageRecord, SupportError> {
    let key = delivery_key(connection, lsid)?;
    let access = ticket_access::check_open(connection, agent, ticket).await?;
    let report = connection.appliance.support_session(&key.lsid).await?;
    let report = report.filter(|report| report.end_time.is_some()).ok_or(SupportError::NotReady)?;
    if external_key(&report) != Some(access.ticket.id.as_str()) {
        return Err(SupportError::invalid("lsid", "a session of this ticket"));
    }
    let marker = marker(&key);
    let delivery = app.store.plan_delivery(&key, &access.ticket.id, &marker, app.clock.now_ms()).await?;
    let fitted = fit(connection, LIMIT, &marker, |options, limit| app.reports.fit_session_report(&report, options, limit));
    let fitted = fitted.map_err(|fault| SupportError::NotOffered(fault.to_string()))?;
    tracing::info!(connection = connection.name(), ticket = access.ticket.id, lsid = key.lsid, %agent, "a report was handed out to a page");
    let title = format!("Remote support session {}", key.lsid);
    Ok(PageRecord { title, html: fitted.body, marker, recorded: delivery.state == DeliveryState::Confirmed })
}

/// The note stands on the ticket: nobody is offered to add it again.
pub async fn confirm(app: &App, connection: &Connection, agent: &AgentReference, ticket: &str, lsid: &str) -> Result<(), SupportError> {
    let key = delivery_key(connection, lsid)?;
    let access = ticket_access::check(connection, agent, ticket).await?;
    let known = app.store.sessions_of_ticket(connection.name(), &access.ticket.id).await?;
    if !known.iter().any(|session| session.lsid == key.lsid && session.ended_at.is_some()) {
        return Err(SupportError::invalid("lsid", "an ended session of this ticket"));
    }
    let now = app.clock.now_ms();
    app.store.plan_delivery(&key, &access.ticket.id, &marker(&key), now).await?;
    app.store.mark_confirmed(&key, "added in the page", now).await?;
    app.store.mark_recorded(connection.name(), &key.lsid, now).await?;
    tracing::info!(connection = connection.name(), ticket = access.ticket.id, lsid = key.lsid, %agent, "the page added the report");
    Ok(())
}

fn delivery_key(connection: &Connection, lsid: &str) -> Result<DeliveryKey, SupportError> {
    if connection.tickets.abilities().note.is_some() {
        return Err(SupportError::NotOffered("reports reach this ticket system by themselves".into()));
    }
    if !is_lsid(lsid) {
        return Err(SupportError::invalid("lsid", "32 hexadecimal characters"));
    }
    let (connection, lsid) = (connection.name().to_owned(), lsid.to_ascii_lowercase());
    Ok(DeliveryKey { connection, lsid, kind: REPORT.to_owned(), part: 0 })
}
