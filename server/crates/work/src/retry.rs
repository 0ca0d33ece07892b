//! When to try again: a pure function of what happened (docs/operations.md shows its table to administrators).

use std::time::Duration;

use deskbridge_store::Outcome;

use crate::WorkError;

/// Waits after a passing fault, by attempt: seconds. The last one repeats.
const STEPS: [u64; 9] = [1, 5, 30, 120, 600, 3_600, 10_800, 21_600, 43_200];
/// Each wait is made up to a fifth shorter or longer, so that failures do not march in step.
const JITTER: f64 = 0.2;
/// How long a report is waited for. It follows the session's end by seconds.
const REPORT_PATIENCE_MS: i64 = 15 * 60_000;
/// Until an event whose turn has not come looks again.
const TURN_WAIT: Duration = Duration::from_secs(1);
/// While credentials are refused the connection is held (health.rs), so the event itself need not wait long.
const DENIED_WAIT: Duration = Duration::from_secs(1);
/// Longest wait between two looks for a write that may still be done.
const LONGEST_LOOK: Duration = Duration::from_secs(15);
/// Longest wait a system may ask for.
const LONGEST_RETRY_AFTER: Duration = Duration::from_hours(1);

/// What the policy looks at.
#[derive(Clone, Copy, Debug)]
pub struct Attempt<'a> {
    /// Attempts so far, the failed one included.
    pub attempts: i32,
    /// `retry_attempt_limit`.
    pub limit: u32,
    /// Whether the settings retry this kind of event at all.
    pub retried: bool,
    /// Unix ms.
    pub received_at: i64,
    /// Unix ms.
    pub now: i64,
    /// 0.0 to 1.0.
    pub chance: f64,
    /// What went wrong.
    pub error: &'a WorkError,
}

/// What happens to the event.
pub fn decide(attempt: &Attempt<'_>) -> Outcome {
    let reason = attempt.error.to_string();
    let at = |wait: Duration| attempt.now.saturating_add(i64::try_from(wait.as_millis()).unwrap_or(i64::MAX));
    match attempt.error {
        WorkError::Permanent(_) | WorkError::Closed { .. } | WorkError::FileRefused(_) => Outcome::Dead(reason),
        WorkError::Denied(_) | WorkError::Resting { .. } => Outcome::Retry { not_before: at(DENIED_WAIT), reason, counts: false },
        WorkError::Unsettled { sent_at, until } => {
            // Looked for densely at first, then more rarely; never later than the moment from which it may be sent again.
            let age = Duration::from_millis(u64::try_from(attempt.now.saturating_sub(*sent_at)).unwrap_or(0));
            let wait = (age / 2).clamp(TURN_WAIT, LONGEST_LOOK);
            Outcome::Retry { not_before: at(wait).min((*until).max(attempt.now)), reason, counts: false }
        }
        // Woken when the earlier one ends; this is only in case that goes unnoticed.
        WorkError::NotItsTurn => Outcome::Retry { not_before: at(TURN_WAIT), reason, counts: false },
        WorkError::NotReady => {
            let age = attempt.now.saturating_sub(attempt.received_at).max(0);
            if age >= REPORT_PATIENCE_MS {
                return Outcome::Dead(format!(
                    "{reason}; waited {} minutes. If the remote-support system has the session, retry this event",
                    age / 60_000
                ));
            }
            // Asked densely at first, then ever more rarely.
            let wait = Duration::from_millis(u64::try_from(age / 2).unwrap_or(0)).clamp(Duration::from_secs(1), Duration::from_mins(1));
            Outcome::Retry { not_before: at(jittered(wait, attempt.chance)), reason, counts: false }
        }
        WorkError::Passing { retry_after: Some(retry_after), .. } => {
            // The system asks for patience: that is no failure of the event.
            let wait = (*retry_after).clamp(Duration::from_secs(1), LONGEST_RETRY_AFTER);
            Outcome::Retry { not_before: at(wait.mul_f64(1.0 + JITTER * attempt.chance)), reason, counts: false }
        }
        WorkError::Passing { .. } | WorkError::Store(_) => {
            let tried_again = u32::try_from(attempt.attempts.saturating_sub(1)).unwrap_or(0);
            if !attempt.retried || tried_again >= attempt.limit {
                let tries = if attempt.retried {
                    format!("gave up after {} attempts", attempt.attempts)
                } else {
                    "the settings do not retry this kind of event".to_owned()
                };
                return Outcome::Dead(format!("{reason}; {tries}"));
            }
            let step = STEPS[usize::try_from(tried_again).unwrap_or(usize::MAX).min(STEPS.len() - 1)];
            Outcome::Retry { not_before: at(jittered(Duration::from_secs(step), attempt.chance)), reason, counts: true }
        }
    }
}

fn jittered(wait: Duration, chance: f64) -> Duration {
    wait.mul_f64(1.0 - JITTER + 2.0 * JITTER * chance.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_733_240_467_000;

    fn attempt(error: &WorkError, attempts: i32) -> Attempt<'_> {
        Attempt { attempts, limit: 10, retried: true, received_at: NOW, now: NOW, chance: 0.5, error }
    }

    fn passing(retry_after: Option<Duration>) -> WorkError {
        WorkError::Passing { what: "HTTP 500".into(), retry_after }
    }

    #[test]
    fn a_passing_fault_is_tried_again_ever_more_rarely_until_the_limit() {
        let error = passing(None);
        let waits: Vec<i64> = (1..=12)
            .map(|attempts| match decide(&attempt(&error, attempts)) {
                Outcome::Retry { not_before, counts: true, .. } => (not_before - NOW) / 1_000,
                _ => -1,
            })
            .collect();
        assert_eq!(waits, [1, 5, 30, 120, 600, 3_600, 10_800, 21_600, 43_200, 43_200, -1, -1]);
    }

    #[test]
    fn the_first_retry_comes_within_two_seconds_whatever_the_chance() {
        let error = passing(None);
        for chance in [0.0, 0.5, 1.0] {
            let Outcome::Retry { not_before, .. } = decide(&Attempt { chance, ..attempt(&error, 1) }) else { panic!("no retry") };
            assert!((NOW + 500..NOW + 2_000).contains(&not_before), "{}", not_before - NOW);
        }
    }

    #[test]
    fn a_kind_that_is_not_retried_is_dead_at_once() {
        let error = passing(None);
        assert!(
            matches!(decide(&Attempt { retried: false, ..attempt(&error, 1) }), Outcome::Dead(reason) if reason.contains("do not retry"))
        );
        assert!(matches!(decide(&Attempt { limit: 0, ..attempt(&error, 1) }), Outcome::Dead(_)));
    }

    #[test]
    fn a_wish_is_honoured_and_does_not_count() {
        let error = passing(Some(Duration::from_secs(40)));
        let Outcome::Retry { not_before, counts: false, .. } = decide(&attempt(&error, 99)) else { panic!("no retry") };
        assert!((NOW + 40_000..=NOW + 48_000).contains(&not_before));
    }

    #[test]
    fn a_missing_report_is_waited_for_a_quarter_of_an_hour() {
        let error = WorkError::NotReady;
        assert!(matches!(decide(&attempt(&error, 1)), Outcome::Retry { not_before, counts: false, .. } if not_before <= NOW + 1_200));
        assert!(
            matches!(decide(&Attempt { received_at: NOW - 60_000, ..attempt(&error, 9) }), Outcome::Retry { not_before, .. } if not_before == NOW + 30_000)
        );
        assert!(matches!(decide(&Attempt { received_at: NOW - REPORT_PATIENCE_MS, ..attempt(&error, 9) }), Outcome::Dead(_)));
    }

    #[test]
    fn what_cannot_succeed_is_not_tried_again_and_refused_credentials_do_not_count() {
        assert!(
            matches!(decide(&attempt(&WorkError::Permanent("no such ticket".into()), 1)), Outcome::Dead(reason) if reason == "no such ticket")
        );
        assert!(matches!(decide(&attempt(&WorkError::Denied("401".into()), 50)), Outcome::Retry { counts: false, .. }));
    }
}
