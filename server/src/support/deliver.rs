//! Writes something to the ticket system once, whatever dies in between.
//!
//! The order of the steps is what makes "once" true: planned, *sent* is stored, the write is done, *confirmed* is stored. An
//! attempt that finds *sent* looks for the marker in the ticket system before it writes again.

use std::time::Duration;

use super::import_session::ImportError;
use crate::app::App;
use crate::connections::Connection;
use crate::fault_point;
use crate::reports::{Attachment, FittedNote, NoteLimit, RenderOptions, TemplateFault};
use crate::store::{DeliveryKey, DeliveryState, LeasedEvent, Origin};
use crate::tickets::{Files, NewNote, NewTicket, TicketError, TimeEntry};

/// What is written.
pub(super) enum Item<'a> {
    /// A note on a ticket.
    Note(NewNote<'a>),
    /// A file on a ticket.
    File(&'a Attachment),
    /// A time entry on a ticket.
    Time(&'a TimeEntry),
    /// A ticket.
    Ticket(&'a NewTicket),
}

/// Where a delivery's item stands, and whether this attempt put it there.
pub(super) struct Delivered {
    /// The ticket.
    pub ticket: String,
    /// The item's id in the ticket system.
    pub remote_id: String,
    /// What happened, in words.
    pub how: &'static str,
}

/// After the death of a process its last write may still be on its way this long.
const UNKNOWN_FATE_MS: i64 = 20_000;

/// The part every marker begins with.
const MARKER: &str = "deskbridge";

/// Which delivery of the event's session this is.
pub(super) fn delivery_key(connection: &Connection, event: &LeasedEvent, kind: &str) -> DeliveryKey {
    DeliveryKey { connection: connection.name().to_owned(), lsid: event.lsid.clone(), kind: kind.to_owned(), part: 0 }
}

/// The text a delivery is found again by.
pub(super) fn marker(key: &DeliveryKey) -> String {
    format!("{MARKER}/{}/{}/{}", key.lsid, key.kind, key.part)
}

/// Writes `item` once. `planned`: its ticket and marker; where an earlier attempt may have written, that attempt's ticket counts.
pub(super) async fn once(
    app: &App,
    connection: &Connection,
    event: &LeasedEvent,
    key: &DeliveryKey,
    planned: (&str, &str),
    item: Item<'_>,
) -> Result<Delivered, ImportError> {
    let delivery = app.store.plan_delivery(key, planned.0, planned.1, app.clock.now_ms()).await?;
    let delivered = |remote_id: String, how| Delivered { ticket: delivery.ticket.clone(), remote_id, how };
    let now = app.clock.now_ms();
    match delivery.state {
        DeliveryState::Confirmed => return Ok(delivered(delivery.remote_id.clone().unwrap_or_default(), "stands already on")),
        // What a sweep found may have been written before a backup of the database was restored.
        state if state == DeliveryState::Sent || event.origin == Origin::Polling => {
            if let Some(remote_id) = find(connection, &delivery.ticket, &delivery.marker, &item).await? {
                app.store.mark_confirmed(key, &remote_id, app.clock.now_ms()).await?;
                return Ok(delivered(remote_id, "was found on"));
            }
            if state == DeliveryState::Sent && now < delivery.settled_at {
                return Err(ImportError::Unsettled { until: delivery.settled_at });
            }
        }
        _ => {}
    }
    fault_point::reach("planned");
    let sent_at = app.clock.now_ms();
    if !app.store.mark_sent(key, delivery.sends, event, sent_at, sent_at + UNKNOWN_FATE_MS).await? {
        return Err(ImportError::NotItsTurn);
    }
    fault_point::reach("sent");
    let remote_id = match write(connection, &delivery.ticket, &delivery.marker, &item).await {
        Ok(remote_id) => remote_id,
        Err(error) => {
            let (state, settled_at) = fate(&error, sent_at, app.clock.now_ms(), connection.tickets.abilities().settles_within);
            app.store.settle_sent(key, delivery.sends, state, settled_at).await?;
            return Err(error.into());
        }
    };
    fault_point::reach("written");
    app.store.mark_confirmed(key, &remote_id, app.clock.now_ms()).await?;
    Ok(delivered(remote_id, "was written to"))
}

/// What a failed write leaves behind, and until when it may still be done (Unix ms).
fn fate(error: &TicketError, sent_at: i64, now: i64, settles_within: Duration) -> (DeliveryState, i64) {
    match error {
        // The system said no: there is nothing to look for, and a newer external key counts.
        TicketError::Denied(_) | TicketError::NoTicket(_) | TicketError::NotAllowed(_) | TicketError::Refused(_) => {
            (DeliveryState::Planned, now)
        }
        TicketError::Passing { .. } => (DeliveryState::Sent, now),
        TicketError::Unanswered(_) => {
            (DeliveryState::Sent, sent_at.saturating_add(i64::try_from(settles_within.as_millis()).unwrap_or(i64::MAX)))
        }
    }
}

async fn find(connection: &Connection, ticket: &str, marker: &str, item: &Item<'_>) -> Result<Option<String>, TicketError> {
    let tickets = &connection.tickets;
    match item {
        Item::Note(_) => tickets.find_note(ticket, marker).await,
        Item::File(_) => tickets.find_file(ticket, marker).await,
        Item::Time(entry) => tickets.find_time(ticket, entry).await,
        Item::Ticket(_) => tickets.find_ticket(marker).await,
    }
}

async fn write(connection: &Connection, ticket: &str, marker: &str, item: &Item<'_>) -> Result<String, TicketError> {
    let tickets = &connection.tickets;
    match item {
        Item::Note(note) => tickets.append_note(ticket, note).await,
        Item::File(file) => tickets.attach(ticket, file, marker).await,
        Item::Time(entry) => tickets.record_time(ticket, entry).await,
        Item::Ticket(new) => tickets.create_ticket(new).await,
    }
}

/// Writes a note once, and the file that goes with it. `render` makes it, within a limit.
pub(super) async fn note(
    app: &App,
    connection: &Connection,
    event: &LeasedEvent,
    kind: &str,
    ticket: &str,
    title: &str,
    render: impl FnOnce(&RenderOptions, NoteLimit) -> Result<FittedNote, TemplateFault>,
) -> Result<String, ImportError> {
    let abilities = connection.tickets.abilities();
    let Some(limit) = abilities.note else {
        return Err(ImportError::Permanent("the ticket system takes no notes from a server".into()));
    };
    let key = delivery_key(connection, event, kind);
    let marker = marker(&key);
    if app.store.confirmed(&key).await?.is_some() {
        return Ok(format!("the {kind} stands already"));
    }
    let fitted = fit(connection, limit, &marker, render).map_err(|fault| ImportError::Permanent(fault.to_string()))?;
    let mut without_file = String::new();
    if abilities.files == Files::ByThemselves
        && let Some(file) = &fitted.attachment
    {
        // The file first: the note speaks of it.
        let key = delivery_key(connection, event, &format!("{kind}-file"));
        match once(app, connection, event, &key, (ticket, &self::marker(&key)), Item::File(file)).await {
            // A shortened report is better than none.
            Err(ImportError::Permanent(reason)) => without_file = format!("; its file was not taken: {reason}"),
            other => drop(other?),
        }
    }
    let attachments = if abilities.files == Files::WithNote { fitted.attachment.as_slice() } else { &[] };
    let note = NewNote { title, body: &fitted.body, marker: &marker, attachments };
    let done = once(app, connection, event, &key, (ticket, &marker), Item::Note(note)).await?;
    Ok(format!("the {kind} {} ticket {} (note {}){without_file}", done.how, done.ticket, done.remote_id))
}

/// A note with its marker as the last line, within the limit.
pub(super) fn fit(
    connection: &Connection,
    limit: NoteLimit,
    marker: &str,
    render: impl FnOnce(&RenderOptions, NoteLimit) -> Result<FittedNote, TemplateFault>,
) -> Result<FittedNote, TemplateFault> {
    let footer = limit.body.last_line(marker);
    let fitted = render(&render_options(connection), NoteLimit { bytes: limit.bytes.saturating_sub(footer.len()), ..limit })?;
    Ok(FittedNote { body: fitted.body + &footer, ..fitted })
}

fn render_options(connection: &Connection) -> RenderOptions {
    let section = &connection.settings.reports;
    RenderOptions {
        utc_offset_minutes: section.utc_offset_minutes,
        include_system_chatter: section.include_system_chatter,
        system_categories: section.system_categories.clone(),
        include_signed_links: section.include_signed_links,
        is_public: connection.tickets.abilities().notes_are_public,
        report_page_host: Some(connection.settings.appliance.host.clone()),
        neutralise_placeholders: connection.tickets.abilities().expands_placeholders,
    }
}
