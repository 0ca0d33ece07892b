//! The support sessions of a ticket, as far as events and the appliance have told.
//!
//! Events bring the state along. Where they are not sent for a session that has only begun, the appliance is asked while
//! somebody looks and a key or a session is open, but rarely: one question per account and interval, whoever looks. A customer who has
//! opened a chat waits for somebody to see that: until the chat's session is known, the interval is short.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use deskbridge_core::clock::rfc3339;
use deskbridge_core::session_report::SessionReport;
use deskbridge_help_desks::Ticket;
use deskbridge_shared::api::{LiveSession, SessionState};
use deskbridge_store::{KnownSession, Result as StoreResult};
use tokio::sync::watch;
use tokio::time::{self, Instant};

use crate::connections::Connection;
use crate::ownership::{self, Owner, external_key};
use crate::{Services, SupportError};

/// Least time between two questions to one account for panels' sake.
const ASK_AFTER: Duration = Duration::from_secs(10);
/// The same while a chat was opened and its session is not known yet.
const ASK_AFTER_CHAT: Duration = Duration::from_secs(2);
/// The session of an opened chat is looked for so long.
const CHAT_AWAITED_MS: i64 = 5 * 60_000;
/// A session begins no earlier than its chat was opened; the appliance tells whole seconds, and its clock may be a little behind ours.
const START_TOLERANCE_MS: i64 = 5_000;
/// Whoever looks waits so long for the answer to a question.
const ANSWER_PATIENCE: Duration = Duration::from_secs(2);
/// A session begun longer ago is not asked for any more.
const LONGEST_SESSION_MS: i64 = 12 * 3_600_000;

/// The sessions of `ticket`, newest first.
pub async fn of_ticket(services: &Arc<Services>, connection: &Arc<Connection>, ticket: &Ticket) -> Result<Vec<LiveSession>, SupportError> {
    let mut known = known_of(services, connection, ticket).await?;
    let now = services.clock.now_ms();
    let (mut opened_chat_at, mut handed_out) = (None, Vec::new());
    for id in ticket.ids() {
        opened_chat_at = opened_chat_at.max(services.store.customer_chat_opened_at(connection.id, id).await?);
        handed_out.extend(services.store.open_since(connection.id, id, now - LONGEST_SESSION_MS, now).await?);
    }
    let begun = known.iter().filter(|session| session.ended_at.is_none()).filter_map(|session| session.started_at);
    let last_start = known.iter().filter_map(|session| session.started_at).max();
    let awaited = opened_chat_at.filter(|opened| is_awaited(*opened, last_start));
    // Each by itself: a session whose end nobody ever told must not hide what began today.
    let open_since = begun.chain(handed_out).chain(awaited).filter(|since| now - since < LONGEST_SESSION_MS).min();
    if let Some(since) = open_since {
        let interval = ask_after(opened_chat_at, last_start, now);
        // One question brings the sessions of all chats that are awaited, on whichever ticket.
        if ask_in_turn(services, connection, since.min(now - CHAT_AWAITED_MS), interval).await {
            known = known_of(services, connection, ticket).await?;
        }
    }
    Ok(known.iter().map(shown).collect())
}

/// What is known of the ticket's sessions, whichever of its numbers they began under. Newest first.
async fn known_of(services: &Services, connection: &Connection, ticket: &Ticket) -> StoreResult<Vec<KnownSession>> {
    let mut known = Vec::new();
    for id in ticket.ids() {
        known.extend(services.store.sessions_of_ticket(connection.id, id).await?);
    }
    if !ticket.merged.is_empty() {
        // One whose start is not known yet has only begun.
        known.sort_by_key(|session| std::cmp::Reverse(session.started_at.unwrap_or(i64::MAX)));
    }
    Ok(known)
}

/// Least time between two questions. `opened_chat_at`: when the customer opened a chat; `last_start`: when the ticket's last session that is
/// known began, by the appliance's clock; all in Unix ms.
fn ask_after(opened_chat_at: Option<i64>, last_start: Option<i64>, now: i64) -> Duration {
    let is_new = |opened: i64| now - opened < CHAT_AWAITED_MS && is_awaited(opened, last_start);
    if opened_chat_at.is_some_and(is_new) { ASK_AFTER_CHAT } else { ASK_AFTER }
}

/// Whether no session is known yet that can have come of a chat opened then (Unix ms).
fn is_awaited(opened_at: i64, last_start: Option<i64>) -> bool {
    last_start.is_none_or(|start| start < opened_at - START_TOLERANCE_MS)
}

/// What the accounts of engines are asked for panels' sake: at most one question at a time for each account.
#[derive(Default)]
pub(crate) struct Questions(Mutex<HashMap<String, Question>>);

struct Question {
    asked_at: Instant,
    /// Closed when it is over.
    over: watch::Receiver<()>,
}

/// Whether an account may be asked.
enum Turn {
    /// Now. The question is over when the sender is dropped.
    Now(watch::Sender<()>),
    /// It is being asked.
    UnderWay,
    /// After this time.
    After(Duration),
}

impl Questions {
    fn turn(&self, account: &str, interval: Duration) -> Turn {
        let is_under_way = |question: &Question| question.over.has_changed().is_ok();
        let mut questions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(last) = questions.get(account) {
            if is_under_way(last) {
                return Turn::UnderWay;
            }
            if let Some(left) = interval.checked_sub(last.asked_at.elapsed()).filter(|left| !left.is_zero()) {
                return Turn::After(left);
            }
        }
        questions.retain(|_, question| is_under_way(question) || question.asked_at.elapsed() < ASK_AFTER);
        let (end, over) = watch::channel(());
        questions.insert(account.to_owned(), Question { asked_at: Instant::now(), over });
        Turn::Now(end)
    }

    /// Waits until the account's question is over, but not for long.
    async fn answer(&self, account: &str) {
        let last = {
            let questions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            questions.get(account).map(|question| (question.over.clone(), question.asked_at))
        };
        if let Some((mut over, asked_at)) = last {
            let _ = time::timeout_at(asked_at + ANSWER_PATIENCE, over.changed()).await;
        }
    }
}

/// Asks as soon as the interval allows, and waits for the answer, but for neither long. `false`: nothing was asked meanwhile.
async fn ask_in_turn(services: &Arc<Services>, connection: &Arc<Connection>, since_ms: i64, interval: Duration) -> bool {
    let Some(engine) = &connection.engine else { return false };
    let (account, questions) = (engine.account().to_string(), &services.connections.live_questions);
    let mut turn = questions.turn(&account, interval);
    if let Turn::After(left) = turn {
        if interval > ASK_AFTER_CHAT {
            return false;
        }
        time::sleep(left).await;
        turn = questions.turn(&account, interval);
    }
    if let Turn::Now(end) = turn {
        let (services, connection) = (services.clone(), connection.clone());
        // Goes on when whoever looks does not.
        tokio::spawn(async move {
            ask(&services, &connection, since_ms).await;
            drop(end);
        });
    }
    questions.answer(&account).await;
    true
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
        machine: report.machine.clone(),
        kind: report.kind,
        recording: report.recording,
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
        machine: session.machine.clone(),
        kind: session.kind.map(|kind| kind.as_str().to_owned()),
        recording: session.recording,
    }
}

#[cfg(test)]
mod tests {
    use deskbridge_core::ids::{ConnectionId, TenantId};
    use deskbridge_core::session_report::SessionKind;
    use uuid::Uuid;

    use super::*;

    const NOW: i64 = 1_800_000_000_000;

    #[test]
    fn a_chat_just_opened_is_asked_for_often_until_its_session_is_known() {
        let check =
            |opened_chat_at, last_start, expected| assert_eq!(ask_after(opened_chat_at, last_start, NOW), expected, "{last_start:?}");
        check(None, None, ASK_AFTER);
        check(None, Some(NOW - 60_000), ASK_AFTER);
        check(Some(NOW), None, ASK_AFTER_CHAT);
        check(Some(NOW + 1_000), None, ASK_AFTER_CHAT);
        check(Some(NOW - CHAT_AWAITED_MS + 1), None, ASK_AFTER_CHAT);
        check(Some(NOW - CHAT_AWAITED_MS), None, ASK_AFTER);
        // One of before is not the chat's; the chat's own may seem to begin a little before it was opened.
        let opened = NOW - 60_000;
        check(Some(opened), Some(opened - START_TOLERANCE_MS - 1), ASK_AFTER_CHAT);
        check(Some(opened), Some(opened - START_TOLERANCE_MS), ASK_AFTER);
        check(Some(opened), Some(opened + 3_000), ASK_AFTER);
    }

    /// What a report tells of a machine reaches the panel through the database.
    #[test]
    fn the_panel_is_told_machine_kind_and_recording() {
        let session = KnownSession {
            tenant: TenantId::main(),
            connection: ConnectionId::from(Uuid::from_u128(1)),
            lsid: "e9".repeat(16),
            ticket: "88121".to_owned(),
            representative: None,
            customer: None,
            machine: Some("front desk".to_owned()),
            kind: Some(SessionKind::Files),
            recording: true,
            active: false,
            started_at: None,
            ended_at: Some(NOW),
            recorded_at: None,
        };
        let told = |session: &KnownSession| {
            let live = shown(session);
            (live.machine, live.kind, live.recording)
        };
        assert_eq!(told(&session), (Some("front desk".to_owned()), Some("files".to_owned()), true));
        assert_eq!(told(&KnownSession { machine: None, kind: None, recording: false, ..session }), (None, None, false));
    }

    #[tokio::test(start_paused = true)]
    async fn an_account_is_asked_once_in_an_interval_and_never_twice_at_a_time() {
        let questions = Questions::default();
        let Turn::Now(end) = questions.turn("a", ASK_AFTER_CHAT) else { panic!("the first") };
        let Turn::Now(_end_of_another) = questions.turn("b", ASK_AFTER_CHAT) else { panic!("another account") };
        time::advance(ASK_AFTER * 2).await;
        assert!(matches!(questions.turn("a", ASK_AFTER_CHAT), Turn::UnderWay), "however long it takes");
        drop(end);
        let Turn::Now(end) = questions.turn("a", ASK_AFTER) else { panic!("the interval is over") };
        drop(end);
        time::advance(Duration::from_millis(500)).await;
        let left = |interval| if let Turn::After(left) = questions.turn("a", interval) { left } else { panic!("too early") };
        assert_eq!(left(ASK_AFTER_CHAT), Duration::from_millis(1_500));
        assert_eq!(left(ASK_AFTER), Duration::from_millis(9_500));
        time::advance(left(ASK_AFTER_CHAT)).await;
        assert!(left(ASK_AFTER) > Duration::ZERO, "who waits for no chat asks no sooner");
        assert!(matches!(questions.turn("a", ASK_AFTER_CHAT), Turn::Now(_)));
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_looks_waits_for_the_answer_but_not_for_long() {
        let questions = Arc::new(Questions::default());
        let took = async |questions: &Questions| {
            let begin = Instant::now();
            questions.answer("a").await;
            begin.elapsed()
        };
        assert_eq!(took(&questions).await, Duration::ZERO, "nothing was asked");
        let Turn::Now(end) = questions.turn("a", ASK_AFTER_CHAT) else { panic!("the first") };
        tokio::spawn(async move {
            time::sleep(Duration::from_millis(700)).await;
            drop(end);
        });
        assert_eq!(took(&questions).await, Duration::from_millis(700));
        assert_eq!(took(&questions).await, Duration::ZERO, "it is over");
        time::advance(ASK_AFTER).await;
        let Turn::Now(_never) = questions.turn("a", ASK_AFTER_CHAT) else { panic!("the interval is over") };
        assert_eq!(took(&questions).await, ANSWER_PATIENCE);
        assert_eq!(took(&questions).await, Duration::ZERO, "an account that does not answer holds up each look once");
    }
}
