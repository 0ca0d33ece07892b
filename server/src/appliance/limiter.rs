//! Keeps us below the appliance's limits, which are shared by everything that uses the API account
//! (beyondtrust.md J.1: 20 calls a second, 15,000 an hour).
//!
//! A call waits for its turn, first come first served, and fails only when it would have to wait longer than a person
//! would. What the appliance itself says about its limit goes first: a pause makes calls fail at once with the
//! rest of the wait, so that a worker can put its work aside.

use super::{Error, Limits};
use governor::clock::Clock;
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};
use std::num::NonZeroU32;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout_at};

/// Longest wait for a turn.
const MAX_WAIT: Duration = Duration::from_secs(30);
/// Pause where the appliance names none.
pub(super) const DEFAULT_PAUSE: Duration = Duration::from_mins(1);
/// Longest pause we accept from the appliance: its limit is per hour.
const MAX_PAUSE: Duration = Duration::from_hours(1);

type Window = RateLimiter<NotKeyed, InMemoryState, TokioClock, NoOpMiddleware<Nanos>>;

pub(super) struct Limiter {
    clock: TokioClock,
    hour: Window,
    second: Window,
    /// Tokio's mutex is fair: whoever came first has the turn.
    turn: tokio::sync::Mutex<()>,
    paused_until: Mutex<Option<Instant>>,
}

impl Limiter {
    pub(super) fn new(limits: Limits) -> Self {
        let clock = TokioClock { start: Instant::now() };
        Self {
            clock,
            hour: RateLimiter::direct_with_clock(quota(limits.per_hour, Duration::from_hours(1)), clock),
            second: RateLimiter::direct_with_clock(quota(limits.per_second, Duration::from_secs(1)), clock),
            turn: tokio::sync::Mutex::new(()),
            paused_until: Mutex::new(None),
        }
    }

    /// Returns when a call may be sent.
    pub(super) async fn turn(&self) -> Result<(), Error> {
        self.check_pause()?;
        let deadline = Instant::now() + MAX_WAIT;
        let _turn = timeout_at(deadline, self.turn.lock()).await.map_err(|_| Error::Busy { retry_after: MAX_WAIT })?;
        for window in [&self.hour, &self.second] {
            while let Err(not_until) = window.check() {
                let wait = not_until.wait_time_from(self.clock.now());
                if Instant::now() + wait > deadline {
                    return Err(Error::Busy { retry_after: wait });
                }
                sleep(wait).await;
            }
        }
        // The appliance may have said stop while we waited.
        self.check_pause()
    }

    /// No calls for that long. A pause never shortens one that is already longer.
    pub(super) fn pause(&self, length: Duration) {
        let until = Instant::now() + length.min(MAX_PAUSE);
        let mut paused_until = self.paused_until.lock().unwrap_or_else(PoisonError::into_inner);
        *paused_until = Some(paused_until.map_or(until, |earlier| earlier.max(until)));
    }

    fn check_pause(&self) -> Result<(), Error> {
        let mut paused_until = self.paused_until.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        match *paused_until {
            Some(until) if until > now => Err(Error::RateLimited { retry_after: until - now }),
            _ => {
                *paused_until = None;
                Ok(())
            }
        }
    }
}

/// A quota that lets no window of that length see more than `limit` calls: a quarter of them at once, the rest spread
/// out. (A plain quota of the same figure lets nearly twice as many through in its first window.)
fn quota(limit: u32, window: Duration) -> Quota {
    let burst = (limit / 4).max(1);
    let spread = limit.saturating_sub(burst).max(1);
    // 1 ns and more: windows are a second or an hour.
    let period = (window / spread).max(Duration::from_nanos(1));
    let burst = NonZeroU32::new(burst).unwrap_or(NonZeroU32::MIN);
    Quota::with_period(period).map_or(Quota::per_hour(NonZeroU32::MIN), |quota| quota.allow_burst(burst))
}

/// Tokio's monotonic clock, so that tests can stop it.
#[derive(Clone, Copy)]
struct TokioClock {
    start: Instant,
}

impl Clock for TokioClock {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        self.start.elapsed().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn departures(limits: Limits, calls: usize) -> Vec<Duration> {
        let limiter = Limiter::new(limits);
        let start = Instant::now();
        let mut departures = Vec::new();
        for _ in 0..calls {
            limiter.turn().await.unwrap();
            departures.push(start.elapsed());
        }
        departures
    }

    fn most_in_any(window: Duration, departures: &[Duration]) -> usize {
        departures
            .iter()
            .map(|start| departures.iter().filter(|time| *time >= start && time.saturating_sub(*start) < window).count())
            .max()
            .unwrap_or_default()
    }

    #[tokio::test(start_paused = true)]
    async fn no_second_sees_more_calls_than_the_appliance_allows() {
        let departures = departures(Limits { per_second: 20, per_hour: 100_000 }, 200).await;
        assert_eq!(departures[4], Duration::ZERO, "a few calls go at once");
        let most = most_in_any(Duration::from_secs(1), &departures);
        assert!((15..=20).contains(&most), "{most}");
        let total = departures[199];
        assert!(total > Duration::from_secs(10) && total < Duration::from_secs(15), "{total:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn no_hour_sees_more_calls_than_the_appliance_allows() {
        let departures = departures(Limits { per_second: 1000, per_hour: 400 }, 1200).await;
        let most = most_in_any(Duration::from_hours(1), &departures);
        assert!((300..=400).contains(&most), "{most}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_does_not_wait_longer_than_a_person_would() {
        let limiter = std::sync::Arc::new(Limiter::new(Limits { per_second: 1, per_hour: 100_000 }));
        let start = Instant::now();
        let calls: Vec<_> = (0..100)
            .map(|_| {
                let limiter = limiter.clone();
                tokio::spawn(async move { limiter.turn().await })
            })
            .collect();
        let mut passed = 0;
        for call in calls {
            match call.await.unwrap() {
                Ok(()) => passed += 1,
                Err(error) => assert!(matches!(error, Error::Busy { .. }), "{error}"),
            }
        }
        assert!((29..=32).contains(&passed), "{passed}");
        assert!(start.elapsed() <= MAX_WAIT + Duration::from_secs(1));
    }

    #[tokio::test(start_paused = true)]
    async fn an_exhausted_hour_is_told_at_once() {
        let limiter = Limiter::new(Limits { per_second: 20, per_hour: 4 });
        limiter.turn().await.unwrap();
        let start = Instant::now();
        assert!(matches!(limiter.turn().await, Err(Error::Busy { retry_after }) if retry_after > MAX_WAIT));
        assert_eq!(start.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_holds_calls_and_ends() {
        let limiter = Limiter::new(Limits::default());
        limiter.pause(Duration::from_secs(90));
        limiter.pause(Duration::from_secs(10));
        tokio::time::advance(Duration::from_secs(30)).await;
        assert_eq!(limiter.turn().await, Err(Error::RateLimited { retry_after: Duration::from_mins(1) }));
        tokio::time::advance(Duration::from_mins(1)).await;
        assert_eq!(limiter.turn().await, Ok(()));
    }
}
