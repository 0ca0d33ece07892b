//! Asks the appliance for sessions that ended, so that events which never came are made up for. Where outbound events
//! are off, this is the polling mode.
//!
//! Everything is on the appliance's own clock. Each sweep goes back a little behind the last one (reports appear late),
//! and what was seen before is known by its lsid. Customer surveys are asked for over a longer time: a survey submitted
//! after its session was swept is imported too, which the vendor's polling loses (beyondtrust.md H).

use std::time::Duration;

use sha2::{Digest, Sha256};

use super::import_session::ImportError;
use crate::app::App;
use crate::appliance::{ExitSurvey, SurveyQuery};
use crate::clock::new_id;
use crate::config::EventKind;
use crate::connections::Connection;
use crate::store::{EventName, NewEvent, Origin};

/// How far behind the last sweep the next one begins. Reports lag by seconds.
const OVERLAP_SECONDS: i64 = 600;
/// The first sweep of a new connection goes back this far.
const FIRST_SECONDS: i64 = 3_600;
/// After a long stop, not more than this is asked for in one question.
const LONGEST_SECONDS: i64 = 6 * 3_600;
/// And not more questions than this are asked in one sweep.
const MOST_QUESTIONS: usize = 60;
/// A survey is waited for this long after its session began.
const SURVEY_SECONDS: i64 = 48 * 3_600;

/// After a sweep that failed.
const AGAIN_AFTER_MS: i64 = 30_000;

/// What a sweep found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Sessions nobody had told of.
    pub sessions: usize,
    /// Surveys nobody had told of.
    pub surveys: usize,
}

/// Time between two sweeps of the connection; none if its settings want no session ends at all.
pub fn interval(connection: &Connection) -> Option<Duration> {
    let section = &connection.settings.appliance;
    let wanted = section.polling_events.contains(&EventKind::SessionEnd) || section.outbound_events.contains(&EventKind::SessionEnd);
    wanted.then(|| Duration::from_secs(u64::from(section.polling_interval_minutes) * 60))
}

/// Sweeps the connection if it is due and no other server does; at a server's start in any case. `None`: not its turn.
pub async fn sweep_if_due(app: &App, connection: &Connection, at_start: bool) -> Result<Option<Swept>, ImportError> {
    let Some(interval) = interval(connection) else { return Ok(None) };
    let now = app.clock.now_ms();
    let next_at = now.saturating_add(i64::try_from(interval.as_millis()).unwrap_or(i64::MAX));
    let Some(checkpoint) = app.store.take_sweep_turn(connection.name(), if at_start { i64::MAX } else { now }, next_at).await? else {
        return Ok(None);
    };
    let swept = sweep(app, connection, checkpoint).await;
    if swept.is_err() {
        // Not the whole interval: the appliance may only have been busy for a moment.
        app.store.take_sweep_turn(connection.name(), i64::MAX, next_at.min(now + AGAIN_AFTER_MS)).await?;
    }
    swept.map(Some)
}

async fn sweep(app: &App, connection: &Connection, checkpoint: Option<i64>) -> Result<Swept, ImportError> {
    let their_now = connection.appliance.api_info().await?.timestamp.unwrap_or_else(|| app.clock.now_seconds());
    let mut since = checkpoint.map_or(their_now - FIRST_SECONDS, |checkpoint| checkpoint.min(their_now) - OVERLAP_SECONDS);
    let mut sessions = 0;
    for _ in 0..MOST_QUESTIONS {
        let (until, seconds) =
            if their_now - since > LONGEST_SECONDS { (since + LONGEST_SECONDS, LONGEST_SECONDS) } else { (their_now, 0) };
        sessions += sweep_sessions(app, connection, since, u32::try_from(seconds).unwrap_or(0)).await?;
        app.store.save_checkpoint(connection.name(), until).await?;
        if until == their_now {
            break;
        }
        since = until;
    }
    let surveys = sweep_surveys(app, connection, their_now).await?;
    if sessions + surveys > 0 {
        tracing::info!(connection = connection.name(), sessions, surveys, "the sweep found what no event had told of");
        app.wake.notify_one();
    }
    Ok(Swept { sessions, surveys })
}

async fn sweep_sessions(app: &App, connection: &Connection, since: i64, seconds: u32) -> Result<usize, ImportError> {
    let mut ended = connection.appliance.support_sessions_ended_since(since, seconds).await?;
    ended.retain(|session| session.is_ended() && session.external_key.as_deref().is_some_and(|key| !key.trim().is_empty()));
    // Notes of a ticket shall stand in the order in which its sessions ended.
    ended.sort_by_key(|session| (session.end_time, session.lseq));
    let found = ended
        .into_iter()
        .map(|session| Found { lsid: session.lsid.to_ascii_lowercase(), ticket: session.external_key, distinction: String::new() })
        .collect();
    add_unknown(app, connection, EventName::SessionEnd, found).await
}

async fn sweep_surveys(app: &App, connection: &Connection, their_now: i64) -> Result<usize, ImportError> {
    let section = &connection.settings.appliance;
    let polled = section.polling_events.contains(&EventKind::SessionEnd);
    let window = SurveyQuery::Window { start: their_now - SURVEY_SECONDS, seconds: 0 };
    let mut added = 0;
    for (setting, kind) in
        [(EventKind::CustomerSurvey, EventName::CustomerSurvey), (EventKind::RepresentativeSurvey, EventName::RepresentativeSurvey)]
    {
        if !polled && !section.outbound_events.contains(&setting) {
            continue;
        }
        let surveys = match kind {
            EventName::CustomerSurvey => connection.appliance.customer_surveys(window).await?,
            _ => connection.appliance.representative_surveys(window).await?,
        };
        added += add_unknown(app, connection, kind, surveys.iter().map(Found::survey).collect()).await?;
    }
    Ok(added)
}

/// Something the appliance knows of.
struct Found {
    lsid: String,
    ticket: Option<String>,
    /// Tells several of one session and kind apart.
    distinction: String,
}

impl Found {
    fn survey(survey: &ExitSurvey) -> Self {
        Self {
            lsid: survey.lsid.to_ascii_lowercase(),
            ticket: None,
            distinction: survey.timestamp.map_or_else(String::new, |at| at.to_string()),
        }
    }
}

/// Stores events for what no event is known of. What was found by an earlier sweep has the same fingerprint and is not stored again.
async fn add_unknown(app: &App, connection: &Connection, kind: EventName, found: Vec<Found>) -> Result<usize, ImportError> {
    let lsids: Vec<String> = found.iter().map(|found| found.lsid.clone()).collect();
    let known: Vec<String> = app.store.known_events(connection.name(), kind, &lsids).await?.into_iter().map(|(lsid, _)| lsid).collect();
    let times = |all: &[String], lsid: &String| all.iter().filter(|other| *other == lsid).count();
    let received_at = app.clock.now_ms();
    let events: Vec<NewEvent> = found
        .into_iter()
        // Several people may have answered a survey of one session.
        .filter(|found| times(&known, &found.lsid) < times(&lsids, &found.lsid))
        .map(|found| NewEvent {
            id: new_id(&app.clock),
            connection: connection.name().to_owned(),
            fingerprint: Sha256::digest(format!("sweep/{}/{}/{}", kind.as_str(), found.lsid, found.distinction)).into(),
            kind,
            ticket: found.ticket.as_deref().map(str::trim).filter(|key| connection.tickets.is_ticket_name(key)).map(str::to_owned),
            lsid: found.lsid,
            origin: Origin::Polling,
            received_at,
        })
        .collect();
    if events.is_empty() {
        return Ok(0);
    }
    Ok(usize::try_from(app.store.add_events(&events).await?).unwrap_or(usize::MAX))
}
