//! Asks engines for sessions that ended, so that events which never came are made up for. Where outbound events
//! are off, this is the polling mode.
//!
//! Everything is on the engine's own clock. Each sweep goes back a little behind the last one (reports appear late),
//! and what was seen before is known by its lsid. Customer surveys are asked for over a longer time: a survey submitted
//! after its session was swept is imported too, which the vendor's polling loses (beyondtrust.md H).

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use deskbridge_core::clock::new_id;
use deskbridge_core::event::{EventKind, Origin};
use deskbridge_core::session_report::{ExitSurvey, SessionReport};
use deskbridge_remote_support::{EngineFault, Error as EngineError, RemoteSupport, SurveyBy};
use deskbridge_security::sha256;
use deskbridge_store::{KnownEvent, NewEvent};
use deskbridge_work::WorkError;

use crate::Services;
use crate::connections::{Connection, first_that_answers, named_ticket, one_for_each_way};
use crate::ownership::external_key;

/// How far behind the last sweep the next one begins. Reports lag by seconds.
const OVERLAP_SECONDS: i64 = 600;
/// The first sweep of a new account goes back this far.
const FIRST_SECONDS: i64 = 3_600;
/// After a long stop, not more than this is asked for in one question; less where the reports of that time are too large together.
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
    /// One for each way to it.
    ways: Vec<Arc<Connection>>,
    engine_title: &'static str,
}

impl Account {
    /// The account of that stored form, if a running connection wants it swept.
    pub fn find(services: &Services, name: &str) -> Option<Self> {
        let mut users = services.connections.current().by_account(name);
        users.retain(|connection| connection.policy().sweeps());
        let engine_title = users.first()?.engine.as_ref().filter(|engine| engine.abilities().can_be_swept)?.title();
        Some(Self { name: name.to_owned(), ways: one_for_each_way(users.clone()), users, engine_title })
    }

    /// What people call the engine, as it stands in a sentence.
    pub fn engine_title(&self) -> &'static str {
        self.engine_title
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
    if let Err(error) = &swept
        && !matches!(error, WorkError::Denied(_) | WorkError::Resting { .. })
    {
        // Not the whole interval: the engine may only have been busy for a moment. What it denies, it denies until a person has acted.
        services.store.take_sweep_turn(tenant, &account.name, i64::MAX, next_at.min(now + AGAIN_AFTER_MS)).await?;
    }
    swept.map(Some)
}

async fn sweep(services: &Services, account: &Account, checkpoint: Option<i64>) -> Result<Swept, WorkError> {
    let (engine, clock) = first_that_answers(&account.ways).await.map_err(WorkError::of_engine)?;
    let engine = engine.as_ref();
    let their_now = clock.unwrap_or_else(|| services.clock.now_seconds());
    let since = checkpoint.map_or(their_now - FIRST_SECONDS, |checkpoint| checkpoint.min(their_now) - OVERLAP_SECONDS);
    let mut windows = Windows::new(since, their_now, LONGEST_SECONDS);
    let mut sessions = 0;
    let mut questions = 0;
    while let Some(window) = windows.next() {
        // However small the windows have become, each sweep gets beyond the one before.
        if questions >= MOST_QUESTIONS && checkpoint.is_none_or(|checkpoint| window.since > checkpoint) {
            break;
        }
        questions += 1;
        let found = match engine.sessions_ended_since(window.since, window.seconds).await {
            Err(EngineError { fault: EngineFault::TooLarge | EngineFault::Unexpected, .. }) if windows.halve() => continue,
            Err(EngineError { fault: EngineFault::TooLarge | EngineFault::Unexpected, .. }) => {
                one_by_one(engine, window).await.map_err(WorkError::of_engine)?
            }
            other => of_tickets(other.map_err(WorkError::of_engine)?.iter()),
        };
        sessions += add_unknown(services, account, engine, EventKind::SessionEnd, found).await?;
        services.store.save_checkpoint(&account.name, swept_until(checkpoint, window.until, their_now)).await?;
        windows.pass();
    }
    let surveys = if engine.abilities().surveys { sweep_surveys(services, account, engine, their_now).await? } else { 0 };
    if sessions + surveys > 0 {
        tracing::info!(account = account.name, sessions, surveys, "the sweep found what no event had told of");
        services.wake.notify_one();
    }
    Ok(Swept { sessions, surveys })
}

/// The checkpoint after a window that ended at `until`: what was swept before stays swept, unless their clock was set back.
fn swept_until(checkpoint: Option<i64>, until: i64, their_now: i64) -> i64 {
    checkpoint.filter(|checkpoint| *checkpoint <= their_now).map_or(until, |before| before.max(until))
}

/// A time that is asked about in one question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Window {
    since: i64,
    until: i64,
    /// As the engine is asked; 0: until now.
    seconds: u32,
}

/// The windows of a sweep. They become shorter where the answers are too large.
struct Windows {
    since: i64,
    now: i64,
    most: i64,
    length: i64,
}

impl Windows {
    fn new(since: i64, now: i64, most: i64) -> Self {
        Self { since, now, most, length: most }
    }

    /// The next window to ask about, again until it has passed. `None`: all have.
    fn next(&self) -> Option<Window> {
        let Self { since, now, length, .. } = *self;
        match now - since {
            ..=0 => None,
            left if left > length => Some(Window { since, until: since + length, seconds: u32::try_from(length).unwrap_or(u32::MAX) }),
            _ => Some(Window { since, until: now, seconds: 0 }),
        }
    }

    /// The next window becomes half as long. `false`: a second has no halves.
    fn halve(&mut self) -> bool {
        let length = self.length.min(self.now - self.since);
        self.length = (length / 2).max(1);
        length > 1
    }

    /// The next window is done. What follows it may be less.
    fn pass(&mut self) {
        self.since += self.length.min(self.now - self.since);
        self.length = (self.length * 2).min(self.most);
    }
}

/// The sessions of tickets among these.
fn of_tickets<'a>(sessions: impl Iterator<Item = &'a SessionReport>) -> Vec<Found> {
    let mut ended: Vec<&SessionReport> = sessions.filter(|session| session.is_ended() && external_key(session).is_some()).collect();
    // Notes of a ticket shall stand in the order in which its sessions ended.
    ended.sort_by_key(|session| (session.end_time, session.lseq));
    ended.into_iter().map(|session| Found::session(&session.lsid, session.external_key.clone())).collect()
}

/// The sessions of a window whose reports are too large together.
async fn one_by_one(engine: &dyn RemoteSupport, window: Window) -> Result<Vec<Found>, EngineError> {
    let (mut reports, mut unreadable) = (Vec::new(), Vec::new());
    for lsid in engine.ids_of_sessions_ended_since(window.since, window.seconds).await? {
        match engine.session(&lsid).await {
            Ok(report) => reports.extend(report),
            // Whose session it is is not known; its event is a dead letter that says where to look.
            Err(EngineError { fault: EngineFault::TooLarge | EngineFault::Unexpected, .. }) => unreadable.push(Found::session(&lsid, None)),
            Err(error) => return Err(error),
        }
    }
    let mut found = of_tickets(reports.iter().map(Arc::as_ref));
    found.extend(unreadable);
    Ok(found)
}

async fn sweep_surveys(services: &Services, account: &Account, engine: &dyn RemoteSupport, their_now: i64) -> Result<usize, WorkError> {
    let wanted = |kind| account.users.iter().any(|connection| connection.policy().processes_found(kind));
    let mut added = 0;
    for (kind, by) in [(EventKind::CustomerSurvey, SurveyBy::Customer), (EventKind::RepresentativeSurvey, SurveyBy::Representative)] {
        if wanted(kind) {
            let surveys = surveys(engine, by, their_now).await.map_err(WorkError::of_engine)?;
            added += add_unknown(services, account, engine, kind, surveys.iter().map(Found::survey).collect()).await?;
        }
    }
    Ok(added)
}

async fn surveys(engine: &dyn RemoteSupport, by: SurveyBy, their_now: i64) -> Result<Vec<ExitSurvey>, EngineError> {
    let mut windows = Windows::new(their_now - SURVEY_SECONDS, their_now, SURVEY_SECONDS);
    let mut surveys = Vec::new();
    while let Some(window) = windows.next() {
        match engine.surveys_since(by, window.since, window.seconds).await {
            Err(EngineError { fault: EngineFault::TooLarge, .. }) if windows.halve() => continue,
            Err(error @ EngineError { fault: EngineFault::TooLarge, .. }) => {
                tracing::warn!(since = window.since, %error, "surveys of sessions that began in this second are left out");
            }
            found => surveys.extend(found?),
        }
        windows.pass();
    }
    Ok(surveys)
}

/// Something the engine knows of.
struct Found {
    lsid: String,
    ticket: Option<String>,
    /// Tells several of one session and kind apart.
    distinction: String,
}

impl Found {
    fn session(lsid: &str, ticket: Option<String>) -> Self {
        Self { lsid: lsid.to_ascii_lowercase(), ticket, distinction: String::new() }
    }

    fn survey(survey: &ExitSurvey) -> Self {
        Self {
            lsid: survey.lsid.to_ascii_lowercase(),
            ticket: None,
            distinction: survey.timestamp.map_or_else(String::new, |at| at.to_string()),
        }
    }
}

/// How often the engine told of something. Each connection's recipient hears of it, so the one that heard most often counts.
pub(crate) fn times_told<'a>(events: impl Iterator<Item = &'a KnownEvent>) -> usize {
    let mut heard: HashMap<&Option<String>, usize> = HashMap::new();
    for event in events {
        *heard.entry(&event.received_by).or_default() += 1;
    }
    heard.into_values().max().unwrap_or(0)
}

/// The fingerprint of an event that we made of what an engine knows. However we learnt of it, it is one event: what was missed by whoever
/// listened may be found by a sweep, and the reverse.
pub(crate) fn fingerprint(kind: EventKind, lsid: &str, distinction: &str) -> [u8; 32] {
    sha256(format!("sweep/{}/{lsid}/{distinction}", kind.as_str()).as_bytes())
}

/// Stores events for what no event is known of. What was found by an earlier sweep has the same fingerprint and is not stored again.
async fn add_unknown(
    services: &Services,
    account: &Account,
    engine: &dyn RemoteSupport,
    kind: EventKind,
    found: Vec<Found>,
) -> Result<usize, WorkError> {
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
    let only = directory.only_user_of_host(&engine.account().host);
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
            fingerprint: fingerprint(kind, &found.lsid, &found.distinction),
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Asks about all of `windows`, where answers to more than `fits` seconds are too large; what was asked, by outcome.
    fn asked(mut windows: Windows, fits: impl Fn(i64) -> i64) -> (Vec<Window>, usize) {
        let (mut passed, mut refused) = (Vec::new(), 0);
        while let Some(window) = windows.next() {
            if window.until - window.since > fits(window.since) && windows.halve() {
                refused += 1;
                continue;
            }
            passed.push(window);
            windows.pass();
        }
        (passed, refused)
    }

    #[test]
    fn nothing_is_left_out_however_much_windows_are_halved() {
        for (since, now) in [(0, 6 * 3600), (7, 20 * 3600), (0, 1), (0, 600)] {
            for fits in [0, 1, 3, 100, 3_600, 100_000] {
                let dense = |at: i64| if (500..540).contains(&at) { fits } else { 100_000 };
                for (passed, refused) in [
                    asked(Windows::new(since, now, LONGEST_SECONDS), |_| fits.max(60)),
                    asked(Windows::new(since, now, LONGEST_SECONDS), dense),
                ] {
                    let mut at = since;
                    for window in &passed {
                        assert_eq!(window.since, at);
                        assert!(window.until > at && window.until - at <= LONGEST_SECONDS);
                        let is_last = window.until == now;
                        assert_eq!(i64::from(window.seconds), if is_last { 0 } else { window.until - at });
                        at = window.until;
                    }
                    assert_eq!(at, now);
                    assert!(refused <= passed.len() + 15, "{refused} of {}", passed.len());
                }
            }
        }
    }

    /// Each sweep begins before the checkpoint, with small windows where the reports are large: one that fails midway must not go back.
    #[test]
    fn a_checkpoint_never_goes_back_but_with_their_clock() {
        assert_eq!(swept_until(Some(1_000), 700, 5_000), 1_000);
        assert_eq!(swept_until(Some(1_000), 1_300, 5_000), 1_300);
        assert_eq!(swept_until(None, 700, 5_000), 700);
        assert_eq!(swept_until(Some(9_000), 700, 5_000), 700);
    }

    #[test]
    fn a_second_has_no_halves() {
        let mut windows = Windows::new(0, 3, LONGEST_SECONDS);
        assert!(windows.halve());
        assert_eq!(windows.next(), Some(Window { since: 0, until: 1, seconds: 1 }));
        assert!(!windows.halve());
        windows.pass();
        assert_eq!(windows.next(), Some(Window { since: 1, until: 3, seconds: 0 }));
        windows.pass();
        assert_eq!(windows.next(), None);
    }
}
