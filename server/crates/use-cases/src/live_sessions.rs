//! The support sessions of a ticket, as far as events and the appliance have told.
//!
//! Events bring the state along. Where they are not sent for a session that has only begun, the appliance is asked while
//! somebody looks and a key or a session is open, but rarely: one question per connection and interval.

use std::sync::Arc;
use std::time::Duration;

use deskbridge_core::clock::rfc3339;
use deskbridge_core::session_report::SessionReport;
use deskbridge_shared::api::{LiveSession, SessionState};
use deskbridge_store::{KnownSession, Result as StoreResult};

use crate::connections::Connection;
use crate::ownership::{self, Owner, external_key};
use crate::{Services, SupportError};

/// Least time between two questions to one appliance for panels' sake.
const ASK_AFTER: Duration = Duration::from_secs(10);
/// A session begun longer ago is not asked for any more.
const LONGEST_SESSION_MS: i64 = 12 * 3_600_000;

/// The sessions of `ticket`, newest first.
pub async fn of_ticket(services: &Arc<Services>, connection: &Arc<Connection>, ticket: &str) -> Result<Vec<LiveSession>, SupportError> {
    let known = services.store.sessions_of_ticket(connection.id, ticket).await?;
    let now = services.clock.now_ms();
    let handed_out = services.store.open_since(connection.id, ticket, now - LONGEST_SESSION_MS, now).await?;
    let begun = known.iter().filter(|session| session.ended_at.is_none()).filter_map(|session| session.started_at);
    // Each by itself: a session whose end nobody ever told must not hide what began today.
    let open_since = begun.chain(handed_out).filter(|since| now - since < LONGEST_SESSION_MS).min();
    if let Some(since) = open_since
        && let Some(engine) = &connection.engine
        && services.connections.may_ask_live(&engine.account().to_string(), ASK_AFTER)
    {
        let (services, connection) = (services.clone(), connection.clone());
        tokio::spawn(async move { ask(&services, &connection, since).await });
    }
    Ok(known.iter().map(shown).collect())
}

/// Asks for all sessions since then, whosever they are, and stores each for its own connection.
async fn ask(services: &Services, connection: &Connection, since_ms: i64) {
    let Some(engine) = &connection.engine else { return };
    let reports = match engine.sessions_started_since(since_ms.div_euclid(1_000)).await {
        Ok(reports) => reports,
        Err(error) => {
            tracing::debug!(connection = connection.name(), %error, "sessions under way could not be asked for");
            return;
        }
    };
    let directory = services.connections.current();
    for report in &reports {
        if external_key(report).is_none() {
            continue;
        }
        let stored = async {
            if let Owner::Connection { id, .. } = ownership::of_session(services, &directory, engine.as_ref(), report).await?
                && let Some(owner) = directory.by_id(id)
            {
                remember(services, owner, report, None).await?;
            }
            StoreResult::<()>::Ok(())
        };
        if let Err(error) = stored.await {
            tracing::warn!(connection = connection.name(), %error, "a session's state could not be stored");
        }
    }
}

/// Stores what a report says about the session's state; `ticket`: its ticket's id, where that is known better than the report
/// does. A session without a ticket is not kept.
pub(crate) async fn remember(
    services: &Services,
    connection: &Connection,
    report: &SessionReport,
    ticket: Option<&str>,
) -> StoreResult<()> {
    let named = external_key(report).filter(|key| connection.help_desk.is_ticket_name(key));
    let Some(ticket) = ticket.or(named) else { return Ok(()) };
    services.store.save_session(&known_session(connection, report, ticket), services.clock.now_ms()).await
}

/// What a report says about the session's state.
pub(crate) fn known_session(connection: &Connection, report: &SessionReport, ticket: &str) -> KnownSession {
    let ms = |seconds: Option<i64>| seconds.map(|seconds| seconds.saturating_mul(1_000));
    KnownSession {
        tenant: connection.tenant.clone(),
        connection: connection.id,
        lsid: report.lsid.to_ascii_lowercase(),
        ticket: ticket.to_owned(),
        representative: report.representative_name().map(str::to_owned),
        customer: report.customer_name().map(str::to_owned),
        active: !report.representatives.is_empty(),
        started_at: ms(report.start_time),
        ended_at: ms(report.end_time),
        recorded_at: None,
    }
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
