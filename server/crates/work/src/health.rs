//! How well a connection's outside systems do, as one small state machine: a sick connection rests instead of burning
//! its events' attempts, one event at a time finds out whether it is well again, and no other connection notices.

use std::collections::HashSet;
use std::time::Duration;

use deskbridge_core::rest::{AFTER_REFUSED_CREDENTIALS, GrowingRest};
use tokio::time::Instant;

use crate::heard::{Said, System};

/// Events of one connection worked at at the same time while all is well.
pub const SLOT_CAPACITY: usize = 8;
/// So many different sessions must fail one after the other before the connection rests: one sick ticket is not a sick system.
const SICK_AFTER: usize = 4;
/// After faults that pass by themselves.
const REST: GrowingRest = GrowingRest { first: Duration::from_secs(2), longest: Duration::from_mins(1) };

/// What the caller should say in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Nothing new.
    None,
    /// It rests, for faults that pass.
    Sick,
    /// It rests, for credentials, so long.
    Held(Duration),
    /// It is well again.
    Recovered,
}

/// A connection's health: that of each of its systems. Only a system's own answers heal it.
#[derive(Debug, Default)]
pub struct Health {
    systems: [SystemHealth; System::ALL.len()],
}

impl Health {
    /// Events that may be worked at now.
    pub fn free_capacity(&self, now: Instant) -> usize {
        self.systems.iter().map(|system| system.free_capacity(now)).min().unwrap_or(SLOT_CAPACITY)
    }

    /// Whether there is nothing to remember.
    pub fn is_well(&self) -> bool {
        self.systems.iter().all(SystemHealth::is_well)
    }

    /// Takes note of what the event of a session heard from a system.
    pub fn note(&mut self, system: System, said: &Said, lsid: &str, now: Instant) -> Change {
        self.systems[system as usize].note(said, lsid, now)
    }
}

#[derive(Debug, Default)]
struct SystemHealth {
    failed: HashSet<String>,
    rests: u32,
    refusals: u32,
    until: Option<Instant>,
}

impl SystemHealth {
    fn free_capacity(&self, now: Instant) -> usize {
        match self.until {
            Some(until) if now < until => 0,
            // After a rest, one goes ahead.
            Some(_) => 1,
            None => SLOT_CAPACITY,
        }
    }

    fn is_well(&self) -> bool {
        self.until.is_none() && self.failed.is_empty()
    }

    fn note(&mut self, said: &Said, lsid: &str, now: Instant) -> Change {
        match said {
            Said::Well => {
                let recovered = self.until.is_some();
                *self = Self::default();
                if recovered { Change::Recovered } else { Change::None }
            }
            // What was under way when the rest began says nothing new.
            _ if self.until.is_some_and(|until| now < until) => Change::None,
            Said::Denied(_) => {
                let rest = AFTER_REFUSED_CREDENTIALS.after(self.refusals);
                self.refusals += 1;
                self.hold(rest, now)
            }
            Said::Resting { again_in, .. } => self.hold(*again_in, now),
            Said::Passing { retry_after } => {
                self.failed.insert(lsid.to_owned());
                if self.until.is_none() && self.failed.len() < SICK_AFTER {
                    return Change::None;
                }
                let rest = REST.after(self.rests);
                let first = self.rests == 0;
                self.rests += 1;
                self.until = Some(now + retry_after.map_or(rest, |retry_after| retry_after.max(rest)));
                if first { Change::Sick } else { Change::None }
            }
        }
    }

    fn hold(&mut self, rest: Duration, now: Instant) -> Change {
        self.until = Some(now + rest);
        Change::Held(rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FAILING: Said = Said::Passing { retry_after: None };
    const DENIED: Said = Said::Denied(String::new());

    #[tokio::test(start_paused = true)]
    async fn one_sick_ticket_is_not_a_sick_connection() {
        let mut health = SystemHealth::default();
        for _ in 0..50 {
            assert_eq!(health.note(&FAILING, "a", Instant::now()), Change::None);
        }
        assert_eq!(health.free_capacity(Instant::now()), SLOT_CAPACITY);
    }

    #[tokio::test(start_paused = true)]
    async fn a_sick_connection_rests_longer_each_time_and_one_event_finds_out() {
        let mut health = SystemHealth::default();
        for lsid in ["a", "b", "c"] {
            assert_eq!(health.note(&FAILING, lsid, Instant::now()), Change::None);
        }
        assert_eq!(health.note(&FAILING, "d", Instant::now()), Change::Sick);
        assert_eq!(health.note(&FAILING, "e", Instant::now()), Change::None, "it was under way");
        for rest in [2, 4, 8, 16, 32, 60, 60] {
            assert_eq!(health.free_capacity(Instant::now()), 0);
            tokio::time::advance(Duration::from_secs(rest)).await;
            assert_eq!(health.free_capacity(Instant::now()), 1, "after {rest} s");
            health.note(&FAILING, "a", Instant::now());
        }
        tokio::time::advance(REST.longest).await;
        assert_eq!(health.note(&Said::Well, "a", Instant::now()), Change::Recovered);
        assert_eq!(health.free_capacity(Instant::now()), SLOT_CAPACITY);
    }

    /// Many a system locks an account whose login is refused again and again.
    #[tokio::test(start_paused = true)]
    async fn refused_credentials_are_tried_ever_more_rarely() {
        let mut health = SystemHealth::default();
        for rest in [30, 60, 120, 240, 480, 960, 1_800, 1_800] {
            assert_eq!(health.note(&DENIED, "a", Instant::now()), Change::Held(Duration::from_secs(rest)), "each rest is told");
            // What was under way when the rest began says nothing new.
            assert_eq!(health.note(&DENIED, "a", Instant::now()), Change::None);
            tokio::time::advance(Duration::from_secs(rest - 1)).await;
            assert_eq!(health.free_capacity(Instant::now()), 0, "before {rest} s");
            tokio::time::advance(Duration::from_secs(1)).await;
            assert_eq!(health.free_capacity(Instant::now()), 1, "after {rest} s");
        }
        assert_eq!(health.note(&Said::Well, "a", Instant::now()), Change::Recovered);
        health.note(&DENIED, "a", Instant::now());
        tokio::time::advance(Duration::from_secs(30)).await;
        assert_eq!(health.free_capacity(Instant::now()), 1, "it begins anew");
    }

    /// Another connection's refusal, or a person's click, may have made the rest longer.
    #[tokio::test(start_paused = true)]
    async fn credentials_that_rest_are_waited_for_without_counting() {
        let mut health = SystemHealth::default();
        let rest = Duration::from_secs(7);
        for _ in 0..3 {
            assert_eq!(health.note(&Said::Resting { what: String::new(), again_in: rest }, "a", Instant::now()), Change::Held(rest));
            assert_eq!(health.free_capacity(Instant::now()), 0);
            tokio::time::advance(rest).await;
            assert_eq!(health.free_capacity(Instant::now()), 1);
        }
        assert_eq!(health.note(&DENIED, "a", Instant::now()), Change::Held(AFTER_REFUSED_CREDENTIALS.first));
    }

    /// A revoked token of the help desk is not tried eight at a time because the appliance answers.
    #[tokio::test(start_paused = true)]
    async fn only_a_systems_own_answers_heal_it() {
        let mut health = Health::default();
        let held = Change::Held(AFTER_REFUSED_CREDENTIALS.first);
        assert_eq!(health.note(System::HelpDesk, &Said::Denied("no".into()), "a", Instant::now()), held);
        tokio::time::advance(AFTER_REFUSED_CREDENTIALS.first).await;
        for lsid in ["a", "b", "c"] {
            assert_eq!(health.note(System::Engine, &Said::Well, lsid, Instant::now()), Change::None);
            assert_eq!(health.free_capacity(Instant::now()), 1);
        }
        assert_eq!(health.note(System::HelpDesk, &Said::Well, "a", Instant::now()), Change::Recovered);
        assert!(health.is_well() && health.free_capacity(Instant::now()) == SLOT_CAPACITY);
        // Four sessions, but no system failed for four of them.
        for (system, lsid) in [(System::Engine, "a"), (System::HelpDesk, "b"), (System::Engine, "c"), (System::HelpDesk, "d")] {
            assert_eq!(health.note(system, &Said::Passing { retry_after: None }, lsid, Instant::now()), Change::None);
        }
        assert_eq!(health.free_capacity(Instant::now()), SLOT_CAPACITY);
    }

    #[tokio::test(start_paused = true)]
    async fn a_retry_after_is_kept() {
        let mut health = SystemHealth::default();
        for lsid in ["a", "b", "c", "d"] {
            health.note(&Said::Passing { retry_after: Some(Duration::from_secs(40)) }, lsid, Instant::now());
        }
        tokio::time::advance(Duration::from_secs(39)).await;
        assert_eq!(health.free_capacity(Instant::now()), 0);
    }
}
