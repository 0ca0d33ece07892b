//! Keeps us below the appliance's limits, which are shared by everything that uses the API account
//! (beyondtrust.md J.1: 20 calls a second, 15,000 an hour).
//!
//! A call waits for its turn, first come first served, and fails only when it would have to wait longer than a person
//! would. What the appliance itself says about its limit goes first: a pause makes calls fail at once with the
//! rest of the wait, so that a worker can put its work aside.

use super::{Error, Limits};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::MutexGuard;
use tokio::time::{Instant, sleep, timeout_at};

/// Longest wait for a turn.
const MAX_WAIT: Duration = Duration::from_secs(30);
/// Pause where the appliance names none.
pub(super) const DEFAULT_PAUSE: Duration = Duration::from_mins(1);
/// Longest pause we accept from the appliance: its limit is per hour.
const MAX_PAUSE: Duration = Duration::from_hours(1);

/// Calls spread a little when they travel, so the windows we keep are a twentieth longer than the appliance's.
const SLACK: f64 = 1.05;

pub(super) struct Limiter {
    limits: Limits,
    /// Servers that share the limits, this one included.
    servers: AtomicU32,
    /// When recent calls left. Tokio's mutex is fair: whoever came first has the turn.
    departures: tokio::sync::Mutex<VecDeque<Instant>>,
    paused_until: Mutex<Option<Instant>>,
}

impl Limiter {
    pub(super) fn new(limits: Limits) -> Self {
        Self { limits, servers: AtomicU32::new(1), departures: tokio::sync::Mutex::new(VecDeque::new()), paused_until: Mutex::new(None) }
    }

    /// From now on `servers` use the account's limits, this one included.
    pub(super) fn share(&self, servers: u32) {
        self.servers.store(servers.max(1), Ordering::Relaxed);
    }

    /// Returns when a call may be sent.
    pub(super) async fn turn(&self) -> Result<(), Error> {
        self.check_pause()?;
        let deadline = Instant::now() + MAX_WAIT;
        let mut departures = timeout_at(deadline, self.departures.lock()).await.map_err(|_| Error::Busy { retry_after: MAX_WAIT })?;
        if let Some(at) = self.next_departure(&mut departures) {
            if at > deadline {
                return Err(Error::Busy { retry_after: at - Instant::now() });
            }
            sleep(at - Instant::now()).await;
        }
        departures.push_back(Instant::now());
        drop(departures);
        // The appliance may have said stop while we waited.
        self.check_pause()
    }

    /// When the next call may leave so that neither window ever sees more than its share; `None`: now.
    fn next_departure(&self, departures: &mut MutexGuard<'_, VecDeque<Instant>>) -> Option<Instant> {
        let hour = Duration::from_hours(1).mul_f64(SLACK);
        let now = Instant::now();
        while departures.front().is_some_and(|departed| *departed + hour <= now) {
            departures.pop_front();
        }
        let windows = [(self.limits.per_second, Duration::from_secs(1).mul_f64(SLACK)), (self.limits.per_hour, hour)];
        let free = windows.map(|(limit, window)| {
            let share = usize::try_from(limit / self.servers.load(Ordering::Relaxed)).unwrap_or(usize::MAX).max(1);
            let oldest_of_a_full_window = departures.len().checked_sub(share).and_then(|index| departures.get(index));
            oldest_of_a_full_window.map(|departed| *departed + window)
        });
        free.into_iter().flatten().max().filter(|at| *at > now)
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

#[cfg(test)]
mod tests {
    use super::*;

    async fn departures(limits: Limits, calls: usize) -> Vec<Duration> {
        let limiter = Limiter::new(limits);
        let start = Instant::now();
        let mut departures = Vec::new();
        for _ in 0..calls {
            while let Err(Error::Busy { retry_after }) = limiter.turn().await {
                tokio::time::sleep(retry_after).await;
            }
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
        assert_eq!(departures[19], Duration::ZERO, "what is allowed goes at once");
        assert_eq!(most_in_any(Duration::from_secs(1), &departures), 20);
        let total = departures[199];
        assert!(total > Duration::from_secs(9) && total < Duration::from_secs(10), "{total:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn servers_that_share_an_account_share_its_limits() {
        let limiter = Limiter::new(Limits::default());
        limiter.share(3);
        let start = Instant::now();
        for _ in 0..7 {
            limiter.turn().await.unwrap();
        }
        assert!(start.elapsed() >= Duration::from_secs(1), "six a second each");
    }

    #[tokio::test(start_paused = true)]
    async fn no_hour_sees_more_calls_than_the_appliance_allows() {
        let departures = departures(Limits { per_second: 1000, per_hour: 400 }, 1200).await;
        let most = most_in_any(Duration::from_hours(1), &departures);
        assert_eq!(most, 400);
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
        assert!((28..=32).contains(&passed), "{passed}");
        assert!(start.elapsed() <= MAX_WAIT + Duration::from_secs(1));
    }

    #[tokio::test(start_paused = true)]
    async fn an_exhausted_hour_is_told_at_once() {
        let limiter = Limiter::new(Limits { per_second: 20, per_hour: 4 });
        for _ in 0..4 {
            limiter.turn().await.unwrap();
        }
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
