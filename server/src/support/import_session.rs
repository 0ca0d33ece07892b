//! The support session ended: its report goes onto the ticket, once.
//!
//! Everything is re-read from the appliance; the event that came is only a hint. The order of the steps is what makes
//! "once" true: planned, *sent* is stored, the note is written, *confirmed* is stored. An attempt that finds *sent*
//! looks for the marker on the ticket before it writes again.

use std::time::Duration;

use super::live_sessions;
use crate::app::App;
use crate::appliance::{self, SupportSession};
use crate::config::NoteVisibility;
use crate::connections::Connection;
use crate::fault_point;
use crate::reports::{FittedNote, NoteLimit, RenderOptions, TemplateFault};
use crate::store::{DeliveryKey, DeliveryState, LeasedEvent, Origin, StoreError};
use crate::tickets::{NewNote, TicketError};

/// Later sessions of a ticket wait this long for one the appliance has no report of.
const ORDER_PATIENCE_MS: i64 = 20_000;

/// The delivery of a session's report.
const REPORT: &str = "report";

/// Why an event could not be brought to its end now.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The appliance has no complete report yet; reports lag the events (beyondtrust.md, fact 7).
    #[error("the appliance has no complete report of the session yet")]
    NotReady,
    /// An earlier session of the same ticket comes first.
    #[error("an earlier session of this ticket is not recorded yet")]
    NotItsTurn,
    /// A passing fault of one of the systems.
    #[error("{what}")]
    Passing {
        /// What happened.
        what: String,
        /// When the system wants to be asked again.
        retry_after: Option<Duration>,
    },
    /// Credentials or permissions: the connection must wait for a person.
    #[error("{0}")]
    Denied(String),
    /// It can not succeed.
    #[error("{0}")]
    Permanent(String),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<appliance::Error> for ImportError {
    fn from(error: appliance::Error) -> Self {
        let what = error.to_string();
        match error {
            appliance::Error::NoReport => Self::NotReady,
            appliance::Error::Denied { .. } | appliance::Error::Settings(_) => Self::Denied(what),
            appliance::Error::RateLimited { retry_after } | appliance::Error::Busy { retry_after } => {
                Self::Passing { what, retry_after: Some(retry_after) }
            }
            // A refusal in words may pass (a site that restarts says many things); the retry limit ends it.
            _ => Self::Passing { what, retry_after: None },
        }
    }
}

impl From<TicketError> for ImportError {
    fn from(error: TicketError) -> Self {
        match error {
            TicketError::Passing { what, retry_after, .. } => Self::Passing { what, retry_after },
            TicketError::Denied(what) => Self::Denied(what),
            TicketError::NoTicket(what) | TicketError::NotAllowed(what) | TicketError::Refused(what) => Self::Permanent(what),
        }
    }
}

/// Imports the session of `event`. The answer says what was done.
pub async fn run(app: &App, connection: &Connection, event: &LeasedEvent) -> Result<String, ImportError> {
    // An event and a sweep often tell of the same session; the second costs the appliance nothing.
    if app.store.is_confirmed(&delivery_key(connection, event, REPORT)).await? {
        return Ok("the report stands on its ticket already".into());
    }
    let report = match read_report(connection, &event.lsid).await {
        Err(ImportError::NotReady) if app.clock.now_ms() - event.received_at > ORDER_PATIENCE_MS => {
            // Perhaps nobody's session at all: the ticket it named must not wait for it.
            app.store.forget_ticket(event).await?;
            return Err(ImportError::NotReady);
        }
        other => other?,
    };
    live_sessions::remember(app, connection, &report).await?;
    if report.end_time.is_none() {
        return Err(ImportError::NotReady);
    }
    let Some(ticket) = ticket_of(connection, &report)? else { return Ok("the session belongs to no ticket (no external key)".into()) };
    if !app.store.take_turn(event, &ticket).await? {
        return Err(ImportError::NotItsTurn);
    }
    let render = |options: &RenderOptions, limit| app.reports.fit_session_report(&report, options, limit);
    let done = deliver(app, connection, event, REPORT, &ticket, render).await?;
    app.store.mark_recorded(connection.name(), &event.lsid, app.clock.now_ms()).await?;
    Ok(done)
}

/// Something happened in a session that goes on: only the live state is brought up to date, and only if the report is there.
pub async fn note_progress(app: &App, connection: &Connection, event: &LeasedEvent) -> Result<String, ImportError> {
    match read_report(connection, &event.lsid).await {
        Ok(report) => {
            live_sessions::remember(app, connection, &report).await?;
            Ok("live state brought up to date".into())
        }
        Err(ImportError::NotReady) => Ok("no report of the session under way".into()),
        // It must not hold up the session's end; the next event or look brings the state along.
        Err(ImportError::Passing { what, .. }) => Ok(format!("the live state could not be brought up to date: {what}")),
        Err(error) => Err(error),
    }
}

pub(super) async fn read_report(connection: &Connection, lsid: &str) -> Result<SupportSession, ImportError> {
    connection.appliance.support_session(lsid).await?.ok_or(ImportError::NotReady)
}

/// The ticket a session belongs to: its external key, which may have changed since the event was sent.
pub(super) fn ticket_of(connection: &Connection, report: &SupportSession) -> Result<Option<String>, ImportError> {
    match report.external_key.as_deref().map(str::trim).filter(|key| !key.is_empty()) {
        None => Ok(None),
        Some(key) if connection.tickets.is_ticket_id(key) => Ok(Some(key.to_owned())),
        Some(key) => {
            let shown: String = key.chars().filter(|character| !character.is_control()).take(60).collect();
            Err(ImportError::Permanent(format!(
                "the session's external key “{shown}” is no ticket id; set it to a ticket's id in the representative console, then retry this event"
            )))
        }
    }
}

/// Writes a note once: see the module's comment. `render` makes it, within a limit.
pub(super) async fn deliver(
    app: &App,
    connection: &Connection,
    event: &LeasedEvent,
    kind: &str,
    ticket: &str,
    render: impl FnOnce(&RenderOptions, NoteLimit) -> Result<FittedNote, TemplateFault>,
) -> Result<String, ImportError> {
    let key = delivery_key(connection, event, kind);
    let marker = format!("deskbridge/{}/{kind}/{}", key.lsid, key.part);
    let delivery = app.store.plan_delivery(&key, ticket, &marker, app.clock.now_ms()).await?;
    match delivery.state {
        DeliveryState::Confirmed => return Ok(format!("the {kind} stands on ticket {} already", delivery.ticket)),
        // What a sweep found may have been written before a backup of the database was restored.
        state if state == DeliveryState::Sent || event.origin == Origin::Polling => {
            if let Some(note_id) = connection.tickets.find_marker(&delivery.ticket, &delivery.marker).await? {
                app.store.mark_confirmed(&key, &note_id, app.clock.now_ms()).await?;
                return Ok(format!("the {kind} was found on ticket {} (note {note_id})", delivery.ticket));
            }
        }
        _ => {}
    }
    let footer = format!("<p>{}</p>", delivery.marker);
    let limit = connection.tickets.abilities().note;
    let limit = NoteLimit { bytes: limit.bytes.saturating_sub(footer.len()), ..limit };
    let options = render_options(connection);
    let fitted = render(&options, limit).map_err(|fault| ImportError::Permanent(fault.to_string()))?;
    let html = fitted.body + &footer;
    fault_point::reach("planned");
    if !app.store.mark_sent(&key, event, app.clock.now_ms()).await? {
        return Err(StoreError::LeaseLost.into());
    }
    fault_point::reach("sent");
    let note = NewNote { html: &html, public: options.is_public, marker: &delivery.marker, attachments: fitted.attachment.as_slice() };
    let note_id = connection.tickets.append_note(&delivery.ticket, &note).await?;
    fault_point::reach("written");
    app.store.mark_confirmed(&key, &note_id, app.clock.now_ms()).await?;
    Ok(format!("the {kind} was written to ticket {} (note {note_id})", delivery.ticket))
}

fn delivery_key(connection: &Connection, event: &LeasedEvent, kind: &str) -> DeliveryKey {
    DeliveryKey { connection: connection.name().to_owned(), lsid: event.lsid.clone(), kind: kind.to_owned(), part: 0 }
}

fn render_options(connection: &Connection) -> RenderOptions {
    let section = &connection.settings.reports;
    RenderOptions {
        utc_offset_minutes: section.utc_offset_minutes,
        include_system_chatter: section.include_system_chatter,
        system_categories: section.system_categories.clone(),
        include_signed_links: section.include_signed_links,
        is_public: connection.zendesk.as_ref().is_some_and(|door| door.settings.note_visibility == NoteVisibility::Public),
        report_page_host: Some(connection.settings.appliance.host.clone()),
        neutralise_placeholders: true,
    }
}
