//! The support sessions of a ticket, as far as events and the appliance have told.
//!
//! Events bring the state along. Where they are not sent for a session that has only begun, the appliance is asked while
//! somebody looks and a key or a session is open, but rarely: one question per connection and interval.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use deskbridge_shared::api::{LiveSession, SessionState};
use tokio::time::Instant;

use super::SupportError;
use super::import_session::external_key;
use crate::app::App;
use crate::appliance::SupportSession;
use crate::clock::rfc3339;
use crate::connections::Connection;
use crate::store::{KnownSession, Result as StoreResult};

/// Least time between two questions to one appliance for panels' sake.
const ASK_AFTER: Duration = Duration::from_secs(10);
/// A session begun longer ago is not asked for any more.
const LONGEST_SESSION_MS: i64 = 12 * 3_600_000;

/// The sessions of `ticket`, newest first.
pub async fn of_ticket(app: &Arc<App>, connection: &Arc<Connection>, ticket: &str) -> Result<Vec<LiveSession>, SupportError> {
    let known = app.store.sessions_of_ticket(connection.name(), ticket).await?;
    let now = app.clock.now_ms();
    let open_key = app.store.open_key(connection.name(), ticket, now).await?;
    let open_since =
        known.iter().filter(|session| session.ended_at.is_none()).filter_map(|session| session.started_at).chain(open_key).min();
    if let Some(since) = open_since.filter(|since| now - since < LONGEST_SESSION_MS)
        && turn_to_ask(connection)
    {
        let (app, connection) = (app.clone(), connection.clone());
        tokio::spawn(async move { ask(&app, &connection, since).await });
    }
    Ok(known.iter().map(shown).collect())
}

fn turn_to_ask(connection: &Connection) -> bool {
    let mut asked_at = connection.live_asked_at.lock().unwrap_or_else(PoisonError::into_inner);
    let due = asked_at.is_none_or(|at| at.elapsed() >= ASK_AFTER);
    if due {
        *asked_at = Some(Instant::now());
    }
    due
}

async fn ask(app: &App, connection: &Connection, since_ms: i64) {
    let asked = connection.appliance.support_sessions_started_since(since_ms.div_euclid(1_000)).await;
    match asked {
        Ok(reports) => {
            for report in &reports {
                if let Err(error) = remember(app, connection, report, None).await {
                    tracing::warn!(connection = connection.name(), %error, "a session's state could not be stored");
                }
            }
        }
        Err(error) => tracing::debug!(connection = connection.name(), %error, "sessions under way could not be asked for"),
    }
}

/// Stores what a report says about the session's state; `ticket`: its ticket's id, where that is known better than the report
/// does. A session without a ticket is not kept.
pub async fn remember(app: &App, connection: &Connection, report: &SupportSession, ticket: Option<&str>) -> StoreResult<()> {
    let named = external_key(report).filter(|key| connection.tickets.is_ticket_name(key));
    let Some(ticket) = ticket.or(named) else { return Ok(()) };
    let ms = |seconds: Option<i64>| seconds.map(|seconds| seconds.saturating_mul(1_000));
    let session = KnownSession {
        connection: connection.name().to_owned(),
        lsid: report.lsid.clone(),
        ticket: ticket.to_owned(),
        representative: report.representative_name().map(str::to_owned),
        customer: report.customer_name().map(str::to_owned),
        active: !report.representatives.is_empty(),
        started_at: ms(report.start_time),
        ended_at: ms(report.end_time),
        recorded_at: None,
    };
    app.store.save_session(&session, app.clock.now_ms()).await
}

fn shown(session: &KnownSession) -> LiveSession {
    let state = match session {
        KnownSession { recorded_at: Some(_), .. } => SessionState::Recorded,
        KnownSession { ended_at: Some(_), .. } => SessionState::Ended,
        KnownSession { active: true, .. } => SessionState::Active,
        _ => SessionState::Waiting,
    };
    LiveSession {
        lsid: session.lsid.clone(),
        state,
        representative: session.representative.clone(),
        customer: session.customer.clone(),
        started_at: session.started_at.map(rfc3339),
        ended_at: session.ended_at.map(rfc3339),
    }
}
