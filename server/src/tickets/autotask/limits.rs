//! Staying within what a tenant allows (autotask-extension.md a.12): few requests at a time on one entity, and an hourly number
//! that all integrations of the tenant share, so that the last of it is left to the others.
//!
//! Must not send anything itself.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;

use super::query::Entity;
use crate::tickets::TicketError;

/// Requests on one entity at the same time; the fourth is refused (autotask-extension.md a.12).
const IN_FLIGHT: usize = 2;
/// Longest wait for one's turn.
const LONGEST_WAIT: Duration = Duration::from_secs(20);
/// When to come again after that.
const COME_AGAIN: Duration = Duration::from_secs(5);

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
pub(super) struct Gate([Semaphore; Entity::COUNT]);

impl Gate {
    pub(super) fn new() -> Self {
        Self([const { Semaphore::const_new(IN_FLIGHT) }; Entity::COUNT])
    }

    /// One's turn, until the permit is dropped.
    pub(super) async fn enter(&self, entity: Entity) -> Result<SemaphorePermit<'_>, TicketError> {
        match tokio::time::timeout(LONGEST_WAIT, self.0[entity as usize].acquire()).await {
            Ok(Ok(permit)) => Ok(permit),
            _ => Err(TicketError::Passing {
                what: format!("too many requests on Autotask's {} wait already", entity.name()),
                retry_after: Some(COME_AGAIN),
            }),
        }
    }
}

/// How much of the tenant's hourly number is used, as last told.
#[derive(Default)]
pub(super) struct Usage(Mutex<State>);

#[derive(Default)]
struct State {
    look_at: Option<Instant>,
    percent: u64,
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
        state.look_at = Some(Instant::now() + every);
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
        match self.state().percent {
            STOP_FROM_PERCENT.. => Pace::ComeAgain(LOOK_OFTEN),
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
    async fn slow_answers_are_a_reason_to_look() {
        let usage = Usage::default();
        usage.told(1, 10_000);
        tokio::time::advance(LOOK_OFTEN).await;
        assert!(!usage.look_is_due());
        usage.answered_after(SLOW_ANSWER);
        tokio::time::advance(LOOK_OFTEN).await;
        assert!(usage.look_is_due());
    }

    #[tokio::test(start_paused = true)]
    async fn two_at_a_time_and_others_wait_a_bounded_time() {
        let gate = Gate::new();
        let first = gate.enter(Entity::Tickets).await.unwrap();
        let _second = gate.enter(Entity::Tickets).await.unwrap();
        let _other = gate.enter(Entity::TicketNotes).await.unwrap();
        assert!(matches!(gate.enter(Entity::Tickets).await, Err(TicketError::Passing { retry_after: Some(_), .. })));
        drop(first);
        drop(gate.enter(Entity::Tickets).await.unwrap());
    }
}
