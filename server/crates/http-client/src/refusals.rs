//! Credentials that were refused are left alone for a while, whoever wants to use them: an event, a sweep, or a person who opens one ticket
//! after the other. Each further refusal makes the rest longer. A person may try once within each rest, since perhaps somebody has acted.
//!
//! Whoever keeps credentials keeps one of these with them, so that new credentials are tried at once.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use deskbridge_core::rest::AFTER_REFUSED_CREDENTIALS;
use tokio::time::Instant;

/// What is known of an account's credentials.
#[derive(Default)]
pub struct Refusals(Mutex<State>);

#[derive(Default)]
struct State {
    refused: u32,
    said: String,
    until: Option<Instant>,
    /// One request was let through to find out.
    is_tried: bool,
    /// A person has had their try within this rest.
    person_has_tried: bool,
}

/// The credentials were refused a while ago; nothing is asked now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resting {
    /// How they were refused.
    pub said: String,
    /// When they are tried again.
    pub again_in: Duration,
}

impl Refusals {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the credentials may be used. After a rest one caller finds out for all; the others wait for its answer.
    ///
    /// # Errors
    /// They rest.
    pub fn turn(&self) -> Result<(), Resting> {
        let mut state = self.state();
        state.rest()?;
        if state.refused > 0 {
            state.is_tried = true;
            // The rest has ended by itself.
            if state.until.is_some() {
                state.person_has_tried = false;
            }
            // In case no answer comes.
            state.until = Some(Instant::now() + AFTER_REFUSED_CREDENTIALS.first);
        }
        Ok(())
    }

    /// Whether the caller that passed last finds out for all.
    pub fn is_tried(&self) -> bool {
        self.state().is_tried
    }

    /// A person waits: the rest ends for the next request, unless one has tried within this rest.
    pub fn let_person_try(&self) {
        let mut state = self.state();
        if state.rest().is_err() && !state.is_tried && !state.person_has_tried {
            (state.until, state.person_has_tried) = (None, true);
        }
    }

    /// The same as [`Self::turn`] for a caller that does not use them yet.
    ///
    /// # Errors
    /// They rest.
    pub fn look(&self) -> Result<(), Resting> {
        self.state().rest()
    }

    /// They were refused.
    pub fn refused(&self, said: &impl fmt::Display) {
        let mut state = self.state();
        // What was under way when the rest began says nothing new.
        if state.rest().is_err() && !state.is_tried {
            return;
        }
        state.until = Some(Instant::now() + AFTER_REFUSED_CREDENTIALS.after(state.refused));
        state.refused += 1;
        state.said = said.to_string();
        state.is_tried = false;
    }

    /// They were accepted, or others may be in their place.
    pub fn forget(&self) {
        *self.state() = State::default();
    }
}

impl State {
    fn rest(&self) -> Result<(), Resting> {
        let again_in = self.until.map_or(Duration::ZERO, |until| until.saturating_duration_since(Instant::now()));
        if again_in.is_zero() { Ok(()) } else { Err(Resting { said: self.said.clone(), again_in }) }
    }
}

impl fmt::Display for Resting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.again_in.as_secs_f64().ceil();
        write!(f, "{} (not tried again for {seconds} s; saved settings or a successful `deskbridge check` end that at once)", self.said)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::advance;

    fn seconds(resting: Result<(), Resting>) -> Option<u64> {
        resting.err().map(|resting| resting.again_in.as_secs())
    }

    #[tokio::test(start_paused = true)]
    async fn each_refusal_makes_the_rest_longer_and_one_finds_out() {
        let refusals = Refusals::default();
        assert_eq!((refusals.turn(), refusals.turn()), (Ok(()), Ok(())));
        for rest in [30, 60, 120, 240, 480, 960, 1_800, 1_800] {
            refusals.refused(&"no");
            // From requests that were under way.
            refusals.refused(&"no");
            assert_eq!((seconds(refusals.turn()), seconds(refusals.look())), (Some(rest), Some(rest)));
            advance(Duration::from_secs(rest)).await;
            assert!(!refusals.is_tried());
            assert_eq!((refusals.look(), refusals.turn()), (Ok(()), Ok(())));
            assert!(refusals.is_tried());
            assert_eq!(seconds(refusals.turn()), Some(30), "one is on its way");
        }
        refusals.forget();
        assert_eq!((refusals.turn(), refusals.turn()), (Ok(()), Ok(())));
        refusals.refused(&"no");
        assert_eq!(seconds(refusals.turn()), Some(30));
    }

    #[tokio::test(start_paused = true)]
    async fn a_person_may_try_once_within_each_rest() {
        let refusals = Refusals::default();
        refusals.refused(&"no");
        for rest in [60, 240, 960] {
            refusals.let_person_try();
            assert_eq!(refusals.turn(), Ok(()));
            // While it is not known what came of that.
            refusals.let_person_try();
            assert!(refusals.turn().is_err());
            refusals.refused(&"no");
            for _ in 0..3 {
                refusals.let_person_try();
                assert_eq!(seconds(refusals.turn()), Some(rest));
            }
            advance(Duration::from_secs(rest)).await;
            assert_eq!(refusals.turn(), Ok(()));
            refusals.refused(&"no");
        }
        refusals.let_person_try();
        assert_eq!(refusals.turn(), Ok(()));
        refusals.forget();
        assert_eq!((refusals.turn(), refusals.turn()), (Ok(()), Ok(())));
    }

    #[tokio::test(start_paused = true)]
    async fn a_try_without_an_answer_is_followed_by_another() {
        let refusals = Refusals::default();
        refusals.refused(&"no");
        advance(Duration::from_secs(30)).await;
        assert_eq!(refusals.turn(), Ok(()));
        advance(Duration::from_secs(30)).await;
        assert_eq!(refusals.turn(), Ok(()));
        refusals.refused(&"no");
        assert_eq!(seconds(refusals.turn()), Some(60));
    }
}
