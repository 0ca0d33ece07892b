//! The report of a session for a help desk that takes no notes from a server: the agent's own page puts it onto the ticket.
//!
//! The server hands out the note with its marker and remembers when the page says it stands; the page looks for the marker first.
//!
//! Two pages that look at the same moment would both see no marker. So a ticket is leased to one browser at a time, and the page must have sent
//! its note well before the lease ends: a note that is under way then can still be seen by the next.

use std::sync::Arc;
use std::time::Duration;

use deskbridge_core::clock::random_bytes;
use deskbridge_documents::{Format, NoteForm, guarded};
use deskbridge_help_desks::AgentReference;
use deskbridge_remote_support::beyondtrust::is_lsid;
use deskbridge_reports::session_title;
use deskbridge_shared::api::{NOTE_LEASE_MS, PageRecord};
use deskbridge_store::{DeliveryKey, DeliveryState, NoteLease};
use uuid::Uuid;

use crate::connections::Connection;
use crate::import_session::REPORT;
use crate::note::{Content, audience, marker, render_options};
use crate::ownership::{self, Owner, external_key};
use crate::ticket_access::TicketAccess;
use crate::{NotOffered, Services, SupportError, ValueFault, ticket_access};

/// Within so long of [`NOTE_LEASE_MS`] its page must have sent the note: the rest is for a request that is under way (the page waits 60 s for it).
pub const SEND_WITHIN: Duration = Duration::from_secs(105);

/// As many digits of a session's id as tell the sessions of one ticket apart.
const TITLE_DIGITS: usize = 8;

/// The note of the session `lsid` of `ticket`.
pub async fn prepare(
    services: &Services,
    connection: &Arc<Connection>,
    agent: &AgentReference,
    ticket: &str,
    lsid: &str,
) -> Result<PageRecord, SupportError> {
    let (key, form) = delivery_key(connection, lsid)?;
    let access = ticket_access::check_open(connection, agent, ticket).await?;
    let engine = connection.engine.as_ref().ok_or_else(SupportError::no_engine)?;
    let report = engine.session(&key.lsid).await?;
    let report = report.filter(|report| report.end_time.is_some()).ok_or(SupportError::NotReady)?;
    let directory = services.connections.current();
    let owner = ownership::of_session(services, &directory, engine.as_ref(), &report).await?;
    let is_ours = matches!(owner, Owner::Connection { id, .. } if id == connection.id);
    if !is_ours || external_key(&report) != Some(access.ticket.id.as_str()) {
        return Err(SupportError::invalid("lsid", ValueFault::SessionOfAnotherTicket, "a session of this ticket"));
    }
    let marker = marker(&key);
    let deliveries = services.store.deliveries(connection.id, &key.lsid).await?;
    let recorded = deliveries.iter().any(|delivery| delivery.key == key && delivery.state == DeliveryState::Confirmed);
    let audience = audience(&connection.help_desk.abilities());
    let options = render_options(services, connection, audience, &marker);
    let title_marker = format!("[{}]", &key.lsid[..TITLE_DIGITS]);
    let title = format!("{} {title_marker}", shortened(&guarded(session_title(&report), form.format)));
    let content = Content::Session(report);
    let written = async |form| {
        let fitted = content.render(&services.reports, options.clone(), form).await;
        fitted.map(|fitted| fitted.body).map_err(|fault| SupportError::not_offered(NotOffered::ReportNotWritten, fault.to_string()))
    };
    let html = written(form).await?;
    let text = match form.format {
        // An administrator's own template for plain text may be broken: the usual form does without.
        Format::Html(guards) => written(NoteForm { format: Format::Text(guards), ..form }).await.unwrap_or_else(|error| {
            tracing::warn!(connection = connection.name(), lsid = key.lsid, %error, "a report could not be written as plain text");
            String::new()
        }),
        _ => html.clone(),
    };
    let lease = if recorded { String::new() } else { take_lease(services, connection, agent, &access).await? };
    tracing::info!(connection = connection.name(), ticket = access.ticket.id, lsid = key.lsid, %agent, "a report was handed out to a page");
    Ok(PageRecord { title, html, text, marker, title_marker, recorded, lease, send_within_seconds: SEND_WITHIN.as_secs() })
}

/// The ticket is this browser's for its note; the lease's name.
async fn take_lease(
    services: &Services,
    connection: &Connection,
    agent: &AgentReference,
    access: &TicketAccess,
) -> Result<String, SupportError> {
    let now = services.clock.now_ms();
    let until = now + i64::from(NOTE_LEASE_MS);
    let name = Uuid::from_bytes(random_bytes()).simple().to_string();
    let (tenant, connection, ticket) = (&connection.tenant, connection.id, access.ticket.id.as_str());
    let lease = NoteLease { tenant, connection, ticket, lease: &name, holder: &agent.to_string(), agent: &access.agent.name, until };
    match services.store.take_note_lease(lease, now).await? {
        None => Ok(name),
        Some(holder) => {
            let wait = Duration::from_millis(u64::try_from(holder.until - now).unwrap_or(0));
            Err(SupportError::NoteUnderWay { agent: holder.agent, wait })
        }
    }
}

/// The page did not write its note: another may.
pub async fn give_up(
    services: &Services,
    connection: &Connection,
    agent: &AgentReference,
    ticket: &str,
    lease: &str,
) -> Result<(), SupportError> {
    let access = ticket_access::check(connection, agent, ticket).await?;
    Ok(services.store.release_note_lease(connection.id, &access.ticket.id, lease).await?)
}

/// The note stands on the ticket: nobody is offered to add it again.
pub async fn confirm(
    services: &Services,
    connection: &Arc<Connection>,
    agent: &AgentReference,
    ticket: &str,
    lsid: &str,
    lease: Option<&str>,
) -> Result<(), SupportError> {
    let (key, _) = delivery_key(connection, lsid)?;
    let access = ticket_access::check(connection, agent, ticket).await?;
    let known = services.store.sessions_of_ticket(connection.id, &access.ticket.id).await?;
    if !known.iter().any(|session| session.lsid == key.lsid && session.ended_at.is_some()) {
        return Err(SupportError::invalid("lsid", ValueFault::SessionNotEnded, "an ended session of this ticket"));
    }
    let now = services.clock.now_ms();
    services.store.mark_confirmed(&key, &access.ticket.id, &marker(&key), "added in the page", now).await?;
    services.store.mark_recorded(connection.id, &key.lsid, now).await?;
    if let Some(lease) = lease {
        services.store.release_note_lease(connection.id, &access.ticket.id, lease).await?;
    }
    tracing::info!(connection = connection.name(), ticket = access.ticket.id, lsid = key.lsid, %agent, "the page added the report");
    Ok(())
}

/// As much of a title as a help desk keeps that stores it as HTML, in a column of 255 characters; what finds the note again stands behind it.
fn shortened(title: &str) -> String {
    const MOST: usize = 200;
    let mut length = 0;
    let fits = |character: &char| {
        length += match character {
            '&' => 5,
            '<' | '>' => 4,
            '"' => 6,
            _ => 1,
        };
        length <= MOST
    };
    title.chars().take_while(fits).collect()
}

fn delivery_key(connection: &Connection, lsid: &str) -> Result<(DeliveryKey, NoteForm), SupportError> {
    let form = connection.help_desk.abilities().page_note;
    let form = form.ok_or_else(|| SupportError::not_offered(NotOffered::RecordNotNeeded, "reports reach this help desk by themselves"))?;
    if !is_lsid(lsid) {
        return Err(SupportError::invalid("lsid", ValueFault::Unknown, "32 hexadecimal characters"));
    }
    let (tenant, connection, lsid) = (connection.tenant.clone(), connection.id, lsid.to_ascii_lowercase());
    Ok((DeliveryKey { tenant, connection, lsid, kind: REPORT.to_owned(), part: 0 }, form))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_title_leaves_room_for_its_marker() {
        assert_eq!(shortened("Remote support with Jürgen Groß, 15 min"), "Remote support with Jürgen Groß, 15 min");
        assert_eq!(shortened(&"&".repeat(120)).len(), 40);
        assert_eq!(shortened(&"[grinning face with big eyes]".repeat(20)).len(), 200);
    }
}
