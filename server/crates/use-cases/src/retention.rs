//! What is kept for how long. Everything goes in small steps, so that no transaction is long.

use deskbridge_store::StoreError;

use crate::Services;

/// Rows one step removes.
const STEP: i64 = 500;
/// Steps of one kind in one round; what is left waits for the next.
const MOST_STEPS: usize = 200;
const DAY_MS: i64 = 86_400_000;
/// For so long after its end a pairing code is known, so that its late user is told why it does not work.
const KEEP_CODES_MS: i64 = 30 * DAY_MS;
/// So long after nothing handed out can lead to a session any more, a late sweep may still ask whose a session is.
const KEEP_HANDED_OUT_MS: i64 = 7 * DAY_MS;
/// So long after its end a customer who opens a chat is told that it has ended.
const KEEP_CHATS_MS: i64 = DAY_MS;
/// How far accounts were swept and listened to that no connection uses any more.
const KEEP_ACCOUNTS_MS: i64 = 90 * DAY_MS;

/// How long things are kept, by the server's settings.
#[derive(Clone, Copy, Debug)]
pub struct Retention {
    /// Events that are done.
    pub events_days: u32,
    /// What was written to help desks, what is known of sessions and whose they are, links to machines, requests for help, revoked devices and API tokens, and
    /// incidents that have ended, since their last post. An open incident stays: it can be posted again at any time, and must not get a second
    /// ticket.
    pub sessions_days: u32,
}

/// Removes what need not be kept longer; the answer counts the rows.
pub async fn purge(services: &Services, retention: Retention) -> Result<u64, StoreError> {
    let now = services.clock.now_ms();
    let before = |days: u32| now - i64::from(days) * DAY_MS;
    let (events, sessions) = (before(retention.events_days), before(retention.sessions_days));
    let store = services.store.as_ref();
    let mut removed = 0;
    removed += in_steps(|| store.purge_agent_sessions(now, STEP)).await?;
    removed += in_steps(|| store.purge_events(events, STEP)).await?;
    removed += in_steps(|| store.purge_deliveries(sessions, STEP)).await?;
    removed += in_steps(|| store.purge_incidents(sessions, STEP)).await?;
    removed += in_steps(|| store.purge_note_leases(now, STEP)).await?;
    removed += in_steps(|| store.purge_customer_chats(now - KEEP_CHATS_MS, STEP)).await?;
    removed += in_steps(|| store.purge_use_counts(now, STEP)).await?;
    removed += in_steps(|| store.purge_sessions(sessions, STEP)).await?;
    removed += in_steps(|| store.purge_ownership(now - KEEP_HANDED_OUT_MS, sessions, STEP)).await?;
    removed += in_steps(|| store.purge_sweeps(now - KEEP_ACCOUNTS_MS, STEP)).await?;
    removed += in_steps(|| store.purge_listeners(now - KEEP_ACCOUNTS_MS, STEP)).await?;
    removed += in_steps(|| store.purge_links(sessions, STEP)).await?;
    removed += in_steps(|| store.purge_help_tickets(sessions, STEP)).await?;
    removed += in_steps(|| store.purge_devices(now, now - KEEP_CODES_MS, sessions, STEP)).await?;
    removed += in_steps(|| store.purge_api_tokens(sessions, STEP)).await?;
    Ok(removed)
}

async fn in_steps<Step: Future<Output = Result<u64, StoreError>>>(step: impl Fn() -> Step) -> Result<u64, StoreError> {
    let mut removed = 0;
    for _ in 0..MOST_STEPS {
        let rows = step().await?;
        removed += rows;
        if rows == 0 {
            break;
        }
        // Others write between two steps.
        tokio::task::yield_now().await;
    }
    Ok(removed)
}
