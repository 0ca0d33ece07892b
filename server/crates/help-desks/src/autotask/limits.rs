//! Staying within what a tenant allows (autotask-extension.md a.12): few requests at a time on one entity, and an hourly number
//! that all integrations of the tenant share, so that the last of it is left to the others.
//!
//! Must not send anything itself.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use deskbridge_http_client::limiter::{Limiter, Turn, Urgency};
use tokio::time::Instant;

use super::query::Entity;
use crate::HelpDeskError;

/// Requests on one entity at the same time by all our servers; the fourth is refused (autotask-extension.md a.12).
const AT_ONCE: u32 = 2;
/// When to come again after that.
const COME_AGAIN: Duration = Duration::from_secs(5);

/// What was told so long ago says nothing of this hour any more: a tenant that does not answer the looks must not stop us for good.
const BELIEVED: Duration = Duration::from_mins(10);
/// The tenant's use is looked at this often while there is plenty left.
const LOOK_EVERY: Duration = Duration::from_mins(5);
/// And this often when there is little left, or answers are slow.
const LOOK_OFTEN: Duration = Duration::from_mins(1);
/// Autotask slows its answers down from half of the threshold on; an answer that took so long is a reason to look.
const SLOW_ANSWER: Duration = Duration::from_secs(3);
const OFTEN_FROM_PERCENT: u64 = 50;
const SLOW_FROM_PERCENT: u64 = 75;
const STOP_FROM_PERCENT: u64 = 95;
/// Added to each request when most of the threshold is used.
const SLOW_DOWN: Duration = Duration::from_millis(500);

/// Lets few requests at a time through, by entity.
pub(super) struct Gate([Limiter; Entity::COUNT]);

impl Gate {
    pub(super) fn new() -> Self {
        Self(std::array::from_fn(|_| Limiter::of_calls_at_once(AT_ONCE)))
    }

    /// One's turn, until it is dropped.
    pub(super) async fn enter(&self, entity: Entity) -> Result<Turn<'_>, HelpDeskError> {
        self.0[entity as usize].turn(Urgency::Work).await.map_err(|_| HelpDeskError::Passing {
            what: format!("too many requests on Autotask's {} wait already", entity.name()),
            retry_after: Some(COME_AGAIN),
        })
    }
}

/// How much of the tenant's hourly number is used, as last told.
#[derive(Default)]
pub(super) struct Usage(Mutex<State>);

#[derive(Default)]
struct State {
    look_at: Option<Instant>,
    percent: u64,
    told_at: Option<Instant>,
}

/// What to do with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pace {
    /// Send it.
    Go,
    /// Send it after this time.
    After(Duration),
    /// Do not send it; come again after this time.
    ComeAgain(Duration),
}

impl Usage {
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the caller should look at the tenant's use now. Only one caller is told so.
    pub(super) fn look_is_due(&self) -> bool {
        let mut state = self.state();
        let now = Instant::now();
        let due = state.look_at.is_none_or(|at| at <= now);
        if due {
            state.look_at = Some(now + LOOK_OFTEN);
        }
        due
    }

    /// What the tenant told.
    pub(super) fn told(&self, current: u64, threshold: u64) {
        let mut state = self.state();
        state.percent = current.saturating_mul(100).checked_div(threshold).unwrap_or(0);
        let every = if state.percent >= OFTEN_FROM_PERCENT { LOOK_OFTEN } else { LOOK_EVERY };
        let now = Instant::now();
        state.look_at = Some(now + every);
        state.told_at = Some(now);
    }

    /// An answer took so long.
    pub(super) fn answered_after(&self, took: Duration) {
        if took >= SLOW_ANSWER {
            let soon = Instant::now() + LOOK_OFTEN;
            let mut state = self.state();
            state.look_at = state.look_at.map(|at| at.min(soon));
        }
    }

    pub(super) fn pace(&self) -> Pace {
        let state = self.state();
        let is_believed = state.told_at.is_some_and(|at| at.elapsed() < BELIEVED);
        match state.percent {
            STOP_FROM_PERCENT.. if is_believed => Pace::ComeAgain(LOOK_OFTEN),
            SLOW_FROM_PERCENT.. => Pace::After(SLOW_DOWN),
            _ => Pace::Go,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_tenants_last_calls_are_left_to_others() {
        let usage = Usage::default();
        assert!(usage.look_is_due());
        assert!(!usage.look_is_due(), "one caller looks");
        let check = |current, expected| {
            usage.told(current, 10_000);
            assert_eq!(usage.pace(), expected, "{current}");
        };
        check(124, Pace::Go);
        check(7_499, Pace::Go);
        check(7_500, Pace::After(SLOW_DOWN));
        check(9_499, Pace::After(SLOW_DOWN));
        check(9_500, Pace::ComeAgain(LOOK_OFTEN));
        tokio::time::advance(LOOK_OFTEN).await;
        assert!(usage.look_is_due());
        check(10, Pace::Go);
    }

    #[tokio::test(start_paused = true)]
    async fn a_tenant_that_does_not_answer_the_looks_stops_nobody_for_good() {
        let usage = Usage::default();
        usage.told(9_600, 10_000);
        tokio::time::advance(BELIEVED.checked_sub(Duration::from_secs(1)).unwrap()).await;
        assert_eq!(usage.pace(), Pace::ComeAgain(LOOK_OFTEN));
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(usage.pace(), Pace::After(SLOW_DOWN));
    }

    #[tokio::test(start_paused = true)]
    async fn slow_answers_are_a_reason_to_look() {
        let usage = Usage::default();
        usage.told(1, 10_000);
        tokio::time::advance(LOOK_OFTEN).await;
        assert!(!usage.look_is_due());
        usage.answered_after(SLOW_ANSWER);
        tokio::time::advance(LOOK_OFTEN).await;
        assert!(usage.look_is_due());
    }
}
