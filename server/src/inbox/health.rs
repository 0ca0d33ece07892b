//! How well a connection's outside systems do, as one small state machine: a sick connection rests instead of burning
//! its events' attempts, one event at a time finds out whether it is well again, and no other connection notices.

use std::collections::HashSet;
use std::time::Duration;

use tokio::time::Instant;

/// Events of one connection worked at at the same time while all is well.
pub const PLACES: usize = 8;
/// So many different sessions must fail one after the other before the connection rests: one sick ticket is not a sick system.
const SICK_AFTER: usize = 4;
/// First rest; each further one is twice as long.
const FIRST_REST: Duration = Duration::from_secs(2);
/// Longest rest after faults that pass by themselves.
const LONGEST_REST: Duration = Duration::from_mins(1);
/// Rest after refused credentials: a person must act, but perhaps has.
const DENIED_REST: Duration = Duration::from_secs(30);

/// How one event went, as far as health goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told<'a> {
    /// The systems answered.
    Well,
    /// A passing fault, with the session it befell and the system's own wish.
    Passing {
        /// The session.
        lsid: &'a str,
        /// `Retry-After`.
        wish: Option<Duration>,
    },
    /// Credentials were refused.
    Denied,
}

/// What the caller should say in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Nothing new.
    None,
    /// It rests, for faults that pass.
    Sick,
    /// It rests, for credentials; said once until it is well again.
    Held,
    /// It is well again.
    Recovered,
}

/// A connection's health.
#[derive(Debug, Default)]
pub struct Health {
    failed: HashSet<String>,
    rests: u32,
    held: bool,
    until: Option<Instant>,
}

impl Health {
    /// Events that may be worked at now.
    pub fn places(&self, now: Instant) -> usize {
        match self.until {
            Some(until) if now < until => 0,
            // After a rest, one goes ahead.
            Some(_) => 1,
            None => PLACES,
        }
    }

    /// Takes note of how an event went.
    pub fn hear(&mut self, told: Told<'_>, now: Instant) -> Change {
        match told {
            Told::Well => {
                let recovered = self.until.is_some();
                *self = Self::default();
                if recovered { Change::Recovered } else { Change::None }
            }
            Told::Denied => {
                self.until = Some(now + DENIED_REST);
                let first = !self.held;
                self.held = true;
                if first { Change::Held } else { Change::None }
            }
            // What was under way when the rest began says nothing new.
            Told::Passing { .. } if self.until.is_some_and(|until| now < until) => Change::None,
            Told::Passing { lsid, wish } => {
                self.failed.insert(lsid.to_owned());
                if self.until.is_none() && self.failed.len() < SICK_AFTER {
                    return Change::None;
                }
                let rest = FIRST_REST.saturating_mul(1 << self.rests.min(10)).min(LONGEST_REST);
                let first = self.rests == 0;
                self.rests += 1;
                self.until = Some(now + wish.map_or(rest, |wish| wish.max(rest)));
                if first { Change::Sick } else { Change::None }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failing(lsid: &str) -> Told<'_> {
        Told::Passing { lsid, wish: None }
    }

    #[tokio::test(start_paused = true)]
    async fn one_sick_ticket_is_not_a_sick_connection() {
        let mut health = Health::default();
        for _ in 0..50 {
            assert_eq!(health.hear(failing("a"), Instant::now()), Change::None);
        }
        assert_eq!(health.places(Instant::now()), PLACES);
    }

    #[tokio::test(start_paused = true)]
    async fn a_sick_connection_rests_longer_each_time_and_one_event_finds_out() {
        let mut health = Health::default();
        for lsid in ["a", "b", "c"] {
            assert_eq!(health.hear(failing(lsid), Instant::now()), Change::None);
        }
        assert_eq!(health.hear(failing("d"), Instant::now()), Change::Sick);
        assert_eq!(health.hear(failing("e"), Instant::now()), Change::None, "it was under way");
        for rest in [2, 4, 8, 16, 32, 60, 60] {
            assert_eq!(health.places(Instant::now()), 0);
            tokio::time::advance(Duration::from_secs(rest)).await;
            assert_eq!(health.places(Instant::now()), 1, "after {rest} s");
            health.hear(failing("a"), Instant::now());
        }
        tokio::time::advance(LONGEST_REST).await;
        assert_eq!(health.hear(Told::Well, Instant::now()), Change::Recovered);
        assert_eq!(health.places(Instant::now()), PLACES);
    }

    #[tokio::test(start_paused = true)]
    async fn a_wish_is_kept_and_refused_credentials_are_told_once() {
        let mut health = Health::default();
        for lsid in ["a", "b", "c", "d"] {
            health.hear(Told::Passing { lsid, wish: Some(Duration::from_secs(40)) }, Instant::now());
        }
        tokio::time::advance(Duration::from_secs(39)).await;
        assert_eq!(health.places(Instant::now()), 0);
        let mut health = Health::default();
        assert_eq!(health.hear(Told::Denied, Instant::now()), Change::Held);
        assert_eq!(health.places(Instant::now()), 0);
        tokio::time::advance(DENIED_REST).await;
        assert_eq!(health.places(Instant::now()), 1);
        assert_eq!(health.hear(Told::Denied, Instant::now()), Change::None);
        tokio::time::advance(DENIED_REST).await;
        assert_eq!(health.hear(Told::Well, Instant::now()), Change::Recovered);
    }
}
