//! Asks the appliance for sessions that ended, so that events which never came are made up for. Where outbound events
//! are off, this is the polling mode.
//!
//! Everything is on the appliance's own clock. Each sweep goes back a little behind the last one (reports appear late),
//! and what was seen before is known by its lsid. Customer surveys are asked for over a longer time: a survey submitted
//! after its session was swept is imported too, which the vendor's polling loses (beyondtrust.md H).

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use deskbridge_core::clock::new_id;
use deskbridge_core::event::{EventKind, Origin};
use deskbridge_core::session_report::ExitSurvey;
use deskbridge_remote_support::{RemoteSupport, SurveyBy};
use deskbridge_security::sha256;
use deskbridge_store::{KnownEvent, NewEvent};
use deskbridge_work::WorkError;

use crate::Services;
use crate::connections::{Connection, named_ticket};

/// How far behind the last sweep the next one begins. Reports lag by seconds.
const OVERLAP_SECONDS: i64 = 600;
/// The first sweep of a new account goes back this far.
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

/// An account to sweep, with the connections that use it. One sweep serves them all.
pub struct Account {
    name: String,
    users: Vec<Arc<Connection>>,
    engine: Arc<dyn RemoteSupport>,
}

impl Account {
    /// The account of that stored form, if a running connection wants it swept.
    pub fn find(services: &Services, name: &str) -> Option<Self> {
        let mut users = services.connections.current().by_account(name);
        users.retain(|connection| connection.policy().sweeps());
        let engine = users.first()?.engine.clone().filter(|engine| engine.abilities().can_be_swept)?;
        Some(Self { name: name.to_owned(), users, engine })
    }

    /// The shortest time between two sweeps that one of the connections wants.
    fn interval(&self) -> Duration {
        self.users.iter().map(|connection| connection.policy().polling_interval).min().unwrap_or(Duration::from_mins(5))
    }
}

/// Sweeps the account if it is due and no other server does; at a server's start in any case. `None`: not its turn.
pub async fn sweep_if_due(services: &Services, account: &Account, at_start: bool) -> Result<Option<Swept>, WorkError> {
    let now = services.clock.now_ms();
    let next_at = now.saturating_add(i64::try_from(account.interval().as_millis()).unwrap_or(i64::MAX));
    let due_by = if at_start { i64::MAX } else { now };
    let Some(tenant) = account.users.first().map(|connection| &connection.tenant) else { return Ok(None) };
    let Some(checkpoint) = services.store.take_sweep_turn(tenant, &account.name, due_by, next_at).await? else { return Ok(None) };
    let swept = sweep(services, account, checkpoint).await;
    if swept.is_err() {
        // Not the whole interval: the appliance may only have been busy for a moment.
        services.store.take_sweep_turn(tenant, &account.name, i64::MAX, next_at.min(now + AGAIN_AFTER_MS)).await?;
    }
    swept.map(Some)
}

async fn sweep(services: &Services, account: &Account, checkpoint: Option<i64>) -> Result<Swept, WorkError> {
    let their_now = account.engine.clock().await?.unwrap_or_else(|| services.clock.now_seconds());
    let mut since = checkpoint.map_or(their_now - FIRST_SECONDS, |checkpoint| checkpoint.min(their_now) - OVERLAP_SECONDS);
    let mut sessions = 0;
    for _ in 0..MOST_QUESTIONS {
        let (until, seconds) =
            if their_now - since > LONGEST_SECONDS { (since + LONGEST_SECONDS, LONGEST_SECONDS) } else { (their_now, 0) };
        sessions += sweep_sessions(services, account, since, u32::try_from(seconds).unwrap_or(0)).await?;
        services.store.save_checkpoint(&account.name, until).await?;
        if until == their_now {
            break;
        }
        since = until;
    }
    let surveys = if account.engine.abilities().surveys { sweep_surveys(services, account, their_now).await? } else { 0 };
    if sessions + surveys > 0 {
        tracing::info!(account = account.name, sessions, surveys, "the sweep found what no event had told of");
        services.wake.notify_one();
    }
    Ok(Swept { sessions, surveys })
}

async fn sweep_sessions(services: &Services, account: &Account, since: i64, seconds: u32) -> Result<usize, WorkError> {
    let mut ended = account.engine.sessions_ended_since(since, seconds).await?;
    ended.retain(|session| session.is_ended() && session.external_key.as_deref().is_some_and(|key| !key.trim().is_empty()));
    // Notes of a ticket shall stand in the order in which its sessions ended.
    ended.sort_by_key(|session| (session.end_time, session.lseq));
    let found = ended
        .into_iter()
        .map(|session| Found { lsid: session.lsid.to_ascii_lowercase(), ticket: session.external_key, distinction: String::new() })
        .collect();
    add_unknown(services, account, EventKind::SessionEnd, found).await
}

async fn sweep_surveys(services: &Services, account: &Account, their_now: i64) -> Result<usize, WorkError> {
    let wanted = |kind| account.users.iter().any(|connection| connection.policy().processes_found(kind));
    let mut added = 0;
    for (kind, by) in [(EventKind::CustomerSurvey, SurveyBy::Customer), (EventKind::RepresentativeSurvey, SurveyBy::Representative)] {
        if wanted(kind) {
            let surveys = account.engine.surveys_since(by, their_now - SURVEY_SECONDS).await?;
            added += add_unknown(services, account, kind, surveys.iter().map(Found::survey).collect()).await?;
        }
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

/// How often the appliance told of something. Each connection's recipient hears of it, so the one that heard most often counts.
pub(crate) fn times_told<'a>(events: impl Iterator<Item = &'a KnownEvent>) -> usize {
    let mut heard: HashMap<&Option<String>, usize> = HashMap::new();
    for event in events {
        *heard.entry(&event.received_by).or_default() += 1;
    }
    heard.into_values().max().unwrap_or(0)
}

/// Stores events for what no event is known of. What was found by an earlier sweep has the same fingerprint and is not stored again.
async fn add_unknown(services: &Services, account: &Account, kind: EventKind, found: Vec<Found>) -> Result<usize, WorkError> {
    let lsids: Vec<String> = found.iter().map(|found| found.lsid.clone()).collect();
    let known = services.store.known_events(&account.name, kind, &lsids).await?;
    let mut found_times: HashMap<&str, usize> = HashMap::new();
    for lsid in &lsids {
        *found_times.entry(lsid).or_default() += 1;
    }
    let mut known_of: HashMap<&str, Vec<&KnownEvent>> = HashMap::new();
    for event in &known {
        known_of.entry(&event.lsid).or_default().push(event);
    }
    let is_told = |lsid: &str| {
        let known = known_of.get(lsid).into_iter().flatten().copied();
        times_told(known) >= found_times.get(lsid).copied().unwrap_or(0)
    };
    let received_at = services.clock.now_ms();
    let directory = services.connections.current();
    // Whose a session is is asked only where it can be several connections'.
    let only = directory.only_user_of_host(&account.engine.account().host);
    let Some(tenant) = account.users.first().map(|connection| connection.tenant.clone()) else { return Ok(0) };
    let events: Vec<NewEvent> = found
        .into_iter()
        // Several people may have answered a survey of one session.
        .filter(|found| !is_told(&found.lsid))
        .map(|found| NewEvent {
            id: new_id(&services.clock),
            tenant: tenant.clone(),
            account: account.name.clone(),
            received_by: None,
            connection: only,
            fingerprint: sha256(format!("sweep/{}/{}/{}", kind.as_str(), found.lsid, found.distinction).as_bytes()),
            kind,
            ticket: named_ticket(&account.users, found.ticket.as_deref()),
            lsid: found.lsid,
            origin: Origin::Polling,
            received_at,
        })
        .collect();
    if events.is_empty() {
        return Ok(0);
    }
    Ok(usize::try_from(services.store.add_events(&events).await?).unwrap_or(usize::MAX))
}
