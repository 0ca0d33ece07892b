//! The support session ended: its report goes onto the ticket, once.
//!
//! Everything is re-read from the appliance; the event that came is only a hint. What makes "once" true is in deliver.rs.

use std::time::Duration;

use super::deliver::{self, delivery_key};
use super::{create_ticket, live_sessions, record_time};
use crate::app::App;
use crate::appliance::{self, SupportSession};
use crate::connections::Connection;
use crate::store::{LeasedEvent, StoreError};
use crate::tickets::TicketError;

/// Later sessions of a ticket wait this long for one the appliance has no report of.
const ORDER_PATIENCE_MS: i64 = 20_000;

/// The delivery of a session's report.
pub(super) const REPORT: &str = "report";

/// Why an event could not be brought to its end now.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The appliance has no complete report yet; reports lag the events (beyondtrust.md, fact 7).
    #[error("the appliance has no complete report of the session yet")]
    NotReady,
    /// An earlier session of the same ticket comes first, or another event of this session is worked at.
    #[error("an earlier session of this ticket, or another event of this session, comes first")]
    NotItsTurn,
    /// An earlier write may still be done; until then it is only looked for.
    #[error("an earlier write that got no answer may still be done; it is looked for until it cannot be any more")]
    Unsettled {
        /// Unix ms.
        until: i64,
    },
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
            TicketError::Passing { what, retry_after } => Self::Passing { what, retry_after },
            TicketError::Unanswered(what) => Self::Passing { what, retry_after: None },
            TicketError::Denied(what) => Self::Denied(what),
            TicketError::NoTicket(what) | TicketError::NotAllowed(what) | TicketError::Refused(what) => Self::Permanent(what),
        }
    }
}

/// Imports the session of `event`. The answer says what was done.
pub async fn run(app: &App, connection: &Connection, event: &LeasedEvent) -> Result<String, ImportError> {
    // An event and a sweep often tell of the same session; the second costs the appliance nothing.
    let last = if connection.tickets.abilities().records_time { record_time::TIME } else { REPORT };
    if app.store.confirmed(&delivery_key(connection, event, last)).await?.is_some() {
        return Ok("the session stands on its ticket already".into());
    }
    let report = match read_report(connection, &event.lsid).await {
        Err(ImportError::NotReady) if app.clock.now_ms() - event.received_at > ORDER_PATIENCE_MS => {
            // Perhaps nobody's session at all: the ticket it named must not wait for it.
            app.store.forget_ticket(event).await?;
            return Err(ImportError::NotReady);
        }
        other => other?,
    };
    if report.end_time.is_none() {
        live_sessions::remember(app, connection, &report, None).await?;
        return Err(ImportError::NotReady);
    }
    let ticket = ticket_of(app, connection, event, &report).await?;
    live_sessions::remember(app, connection, &report, ticket.as_deref()).await?;
    let Some(ticket) = ticket else { return Ok(NO_TICKET.into()) };
    // What is left after the report, its time, holds up no other session of the ticket.
    let is_reported = app.store.confirmed(&delivery_key(connection, event, REPORT)).await?.is_some();
    if !is_reported && !app.store.take_turn(event, &ticket).await? {
        return Err(ImportError::NotItsTurn);
    }
    if connection.tickets.abilities().note.is_none() {
        return Ok(format!("the ticket system takes no notes from a server; an agent adds the report on the page of ticket {ticket}"));
    }
    let title = format!("Remote support session {}", event.lsid);
    let done = deliver::note(app, connection, event, REPORT, &ticket, &title, |options, limit| {
        app.reports.fit_session_report(&report, options, limit)
    })
    .await?;
    app.store.mark_recorded(connection.name(), &event.lsid, app.clock.now_ms()).await?;
    match record_time::run(app, connection, event, &ticket, &report).await {
        Ok(Some(time)) => Ok(format!("{done}; {time}")),
        Ok(None) => Ok(done),
        Err(error) => {
            app.store.forget_ticket(event).await?;
            Err(error)
        }
    }
}

/// Something happened in a session that goes on: only the live state is brought up to date, and only if the report is there.
pub async fn note_progress(app: &App, connection: &Connection, event: &LeasedEvent) -> Result<String, ImportError> {
    match read_report(connection, &event.lsid).await {
        Ok(report) => {
            live_sessions::remember(app, connection, &report, None).await?;
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

/// What is said of a session that belongs to none.
pub(super) const NO_TICKET: &str = "the session belongs to no ticket (no external key)";

/// The id of the ticket a session belongs to: its external key, which may have changed since the event was sent, or the
/// ticket that was created for it.
pub(super) async fn ticket_of(
    app: &App,
    connection: &Connection,
    event: &LeasedEvent,
    report: &SupportSession,
) -> Result<Option<String>, ImportError> {
    let Some(key) = external_key(report) else { return create_ticket::created(app, connection, event).await };
    if connection.tickets.is_ticket_name(key) {
        return Ok(Some(connection.tickets.resolve(key).await?));
    }
    if let Some(ticket) = create_ticket::ensure(app, connection, event, report).await? {
        return Ok(Some(ticket));
    }
    let shown: String = key.chars().filter(|character| !character.is_control()).take(60).collect();
    Err(ImportError::Permanent(format!(
        "the session's external key “{shown}” is no ticket id; set it to a ticket's id in the representative console, then retry this event"
    )))
}

/// A session's external key, if it has one.
pub(super) fn external_key(report: &SupportSession) -> Option<&str> {
    report.external_key.as_deref().map(str::trim).filter(|key| !key.is_empty())
}
