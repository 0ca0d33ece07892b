//! Waits for the ticket of a posted incident, and tells what became of it. The inbox goes on with it, whoever waits or not.

use std::time::Duration;

use deskbridge_core::ids::ConnectionId;
use deskbridge_store::{IncidentTicket, IncidentWork, StoreError, StoredIncident};
use tokio::time::Instant;

use super::receive::Received;
use super::settle::OVER;
use super::{DIGITS, LSID};
use crate::Services;
use crate::connections::Connection;

/// How often the row is looked at: another server may make the ticket.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// What a post is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It has its ticket.
    Made {
        /// The ticket.
        ticket: IncidentTicket,
        /// This post made it.
        is_created: bool,
    },
    /// It ended before it had one, or nobody told of it before: there is none.
    NoTicket,
    /// The ticket system refused for good. The same post is tried anew.
    Refused(String),
    /// A fault that passes: it is tried again by itself.
    Failed {
        /// What happened.
        reason: String,
        /// When.
        again_in: Duration,
    },
    /// The ticket system did not answer in time; it is still being made.
    TooSlow,
}

/// Waits until the incident has its ticket, cannot get it for now, or the connection's time is over.
pub async fn wait(services: &Services, connection: &Connection, received: &Received) -> Result<Answer, StoreError> {
    let Some(known) = &received.known else { return Ok(Answer::NoTicket) };
    if let Some(answer) = made(known, received) {
        return Ok(answer);
    }
    if !known.is_open {
        return Ok(Answer::NoTicket);
    }
    let deadline = Instant::now() + Duration::from_secs(u64::from(connection.settings.incident_timeout_seconds));
    let told = services.incidents.told(connection.id, &received.lsid);
    loop {
        let mut notified = std::pin::pin!(told.notified());
        notified.as_mut().enable();
        let (known, work) = look(services, connection.id, &received.lsid).await?;
        let left = deadline.saturating_duration_since(Instant::now());
        if let Some(answer) = judge(known.as_ref(), work.as_ref(), received, services.clock.now_ms(), left) {
            return Ok(answer);
        }
        let pause = LOOK_EVERY.min(left);
        tokio::select! {
            () = notified => {}
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// The work first: what was stored together with the ticket is seen with it.
async fn look(
    services: &Services,
    connection: ConnectionId,
    lsid: &str,
) -> Result<(Option<StoredIncident>, Option<IncidentWork>), StoreError> {
    let work = services.store.incident_work(connection, lsid).await?;
    Ok((services.store.incident(connection, lsid).await?, work))
}

fn made(known: &StoredIncident, received: &Received) -> Option<Answer> {
    let ticket = known.ticket.clone()?;
    Some(Answer::Made { ticket, is_created: known.creator == received.post })
}

/// What can be said now; none: wait on. `left`: of the time for the answer.
fn judge(known: Option<&StoredIncident>, work: Option<&IncidentWork>, received: &Received, now: i64, left: Duration) -> Option<Answer> {
    let Some(known) = known else { return Some(Answer::NoTicket) };
    if let Some(answer) = made(known, received) {
        return Some(answer);
    }
    let is_over = left.is_zero();
    let Some(work) = work else { return is_over.then_some(Answer::TooSlow) };
    match work.state.as_str() {
        "dead" => Some(Answer::Refused(work.outcome.clone().unwrap_or_default())),
        "ready" => {
            let again_in = Duration::from_millis(u64::try_from(work.not_before - now).unwrap_or(0));
            match &work.outcome {
                // Not before this answer.
                Some(reason) if again_in > left || is_over => Some(Answer::Failed { reason: reason.clone(), again_in }),
                _ => is_over.then_some(Answer::TooSlow),
            }
        }
        "leased" => is_over.then_some(Answer::TooSlow),
        // Done, without a ticket.
        _ if !known.is_open => Some(Answer::NoTicket),
        _ => is_over.then_some(Answer::TooSlow),
    }
}

/// How far an incident's ticket is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Status {
    /// Not made yet; what stood in the way, if it was tried.
    Waiting(Option<String>),
    /// Made.
    Made(IncidentTicket),
    /// It will not be made by itself.
    Dead(String),
}

/// How far the ticket of an incident is; none where there is no such incident. `id`: what follows the word in its id.
pub async fn status(services: &Services, connection: ConnectionId, id: &str) -> Result<Option<Status>, StoreError> {
    if id.len() != DIGITS || !id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Ok(None);
    }
    let (known, work) = look(services, connection, &format!("{LSID}{}", id.to_ascii_lowercase())).await?;
    let Some(known) = known else { return Ok(None) };
    let state = work.as_ref().map(|work| work.state.as_str());
    Ok(Some(match (known.ticket, state) {
        (Some(ticket), _) => Status::Made(ticket),
        (None, Some("dead")) => Status::Dead(work.and_then(|work| work.outcome).unwrap_or_default()),
        (None, Some("ready" | "leased")) => Status::Waiting(work.and_then(|work| work.outcome)),
        (None, _) if !known.is_open => Status::Dead(OVER.to_owned()),
        (None, _) => Status::Waiting(None),
    }))
}

impl Received {
    /// What the address of its status ends in.
    pub fn status_id(&self) -> &str {
        self.lsid.strip_prefix(LSID).unwrap_or(&self.lsid)
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn known(is_open: bool, ticket: Option<&str>) -> StoredIncident {
        StoredIncident {
            source: "nav".into(),
            source_id: "42".into(),
            posted: None,
            is_open,
            changes: 0,
            untold: 0,
            creator: Uuid::from_u128(1),
            retry_at: 0,
            ticket: ticket.map(|id| IncidentTicket { id: id.into(), url: "https://t".into() }),
            updated_at: 0,
        }
    }

    #[test]
    fn a_caller_waits_only_for_what_can_still_come() {
        let received = |post| Received { lsid: "incident-1".into(), post: Uuid::from_u128(post), known: None };
        let left = Duration::from_secs(8);
        let judged = |known: &StoredIncident, state: &str, not_before: i64, outcome: Option<&str>, left| {
            let work = IncidentWork { state: state.into(), not_before, outcome: outcome.map(str::to_owned) };
            judge(Some(known), Some(&work), &received(1), 1_000, left)
        };
        let open = known(true, None);
        for (state, not_before, outcome, left, expected) in [
            ("ready", 1_000, None, left, None),
            ("leased", 1_000, Some("HTTP 500"), left, None),
            ("ready", 3_000, Some("HTTP 500"), left, None),
            ("ready", 10_000, Some("HTTP 503"), left, Some(Answer::Failed { reason: "HTTP 503".into(), again_in: Duration::from_secs(9) })),
            ("ready", 500, Some("HTTP 500"), Duration::ZERO, Some(Answer::Failed { reason: "HTTP 500".into(), again_in: Duration::ZERO })),
            ("ready", 1_000, None, Duration::ZERO, Some(Answer::TooSlow)),
            ("leased", 1_000, Some("HTTP 500"), Duration::ZERO, Some(Answer::TooSlow)),
            ("dead", 1_000, Some("no such queue"), left, Some(Answer::Refused("no such queue".into()))),
        ] {
            assert_eq!(judged(&open, state, not_before, outcome, left), expected, "{state} {not_before} {outcome:?} {left:?}");
        }
        assert_eq!(judged(&known(false, None), "done", 0, None, left), Some(Answer::NoTicket));
        assert_eq!(judge(None, None, &received(1), 1_000, left), Some(Answer::NoTicket));
        let made = known(true, Some("7"));
        for (post, created) in [(1, true), (2, false)] {
            let Some(Answer::Made { is_created, .. }) = judge(Some(&made), None, &received(post), 1_000, left) else { panic!("made") };
            assert_eq!(is_created, created);
        }
    }
}
