//! Keeps our calls to an outside system below its limits, which everything that uses the account shares.
//!
//! A call waits for its turn, first come first served, and fails only when it would have to wait longer than a person would. Some of every
//! window is kept for calls that a person waits for, so that they never stand behind a backlog. What the system itself says about its limit
//! goes first: after a refusal no call leaves for a while, and work that would have to wait for that long fails at once with the rest of
//! the wait, so that it can be put aside.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, sleep_until, timeout_at};

/// Longest wait for a turn.
const MAX_WAIT: Duration = Duration::from_secs(30);
/// Longest pause that a person's call waits through.
const PERSONS_PATIENCE: Duration = Duration::from_secs(5);
/// The first pause after a refusal that names none; each further refusal doubles it.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// Longest pause that we make up ourselves.
const LONGEST_OWN_PAUSE: Duration = Duration::from_mins(1);
/// Longest pause we accept from the other system: limits are per hour at most.
const MAX_PAUSE: Duration = Duration::from_hours(1);
/// Calls spread a little when they travel, so the windows we keep are a twentieth longer than the other system's.
const SLACK: f64 = 1.05;
/// One call in so many, and at least one, is kept for people.
const KEPT_FOR_PEOPLE: u32 = 16;
/// What went before a start or a pause is not known, nor who else begins: in the first window only this part of our share leaves.
const GENTLE_PART: u32 = 4;
/// Longer windows begin as they go on: what they hold is far from used up by one start.
const LONGEST_GENTLE_WINDOW: Duration = Duration::from_secs(1);

/// Servers that share the database, this one included: all of them use the same accounts, and share every account's limits.
static SERVERS: AtomicU32 = AtomicU32::new(1);

/// From now on `servers` share every limit, this one included.
pub fn share_with(servers: u32) {
    SERVERS.store(servers.max(1), Ordering::Relaxed);
}

/// At most `calls` within any `length`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// How many.
    pub calls: u32,
    /// Within which time.
    pub length: Duration,
}

/// Who waits for a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Urgency {
    /// A person in front of a page.
    Person,
    /// Work that can be put aside.
    Work,
}

/// Why there is no turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoTurn {
    /// More calls wait than can leave in time.
    Busy {
        /// When a turn may be had.
        retry_after: Duration,
    },
    /// The other system refuses calls, or did a moment ago.
    Paused {
        /// The rest of the pause.
        retry_after: Duration,
    },
}

/// The limits of one account.
pub struct Limiter {
    /// Calls under way at the same time, with how many there may be.
    at_once: Option<(Semaphore, u32)>,
    servers: &'static AtomicU32,
    /// Those who wait queue here, each kind by itself. Tokio's mutex is fair: whoever came first goes first.
    people: tokio::sync::Mutex<()>,
    people_waiting: AtomicU32,
    work: tokio::sync::Mutex<()>,
    state: Mutex<State>,
}

struct State {
    windows: Vec<Window>,
    /// When recent calls left.
    departures: VecDeque<Instant>,
    /// Begin of the careful first window.
    gentle_from: Instant,
    pause: Option<Pause>,
}

struct Pause {
    began_at: Instant,
    ends_at: Instant,
    /// Refusals in a row, each after the pause of the one before.
    repeats: u32,
}

/// A call may be sent. What its answer says about the limit is told here.
#[must_use]
pub struct Turn<'a> {
    limiter: &'a Limiter,
    departed_at: Instant,
    _place: Option<SemaphorePermit<'a>>,
}

impl Limiter {
    /// Limits by number in time.
    pub fn of_windows(windows: Vec<Window>) -> Self {
        Self::new(windows, None)
    }

    /// A limit of calls under way at the same time.
    pub fn of_calls_at_once(calls: u32) -> Self {
        Self::new(Vec::new(), Some(calls))
    }

    fn new(windows: Vec<Window>, at_once: Option<u32>) -> Self {
        Self {
            at_once: at_once.map(|calls| (Semaphore::new(calls as usize), calls)),
            servers: &SERVERS,
            people: tokio::sync::Mutex::default(),
            people_waiting: AtomicU32::new(0),
            work: tokio::sync::Mutex::default(),
            state: Mutex::new(State { windows, departures: VecDeque::new(), gentle_from: Instant::now(), pause: None }),
        }
    }

    /// These windows from now on; what has left counts on.
    pub fn change_windows(&self, windows: Vec<Window>) {
        self.state().windows = windows;
    }

    /// Returns when a call may be sent.
    ///
    /// # Errors
    /// When it could not leave within [`MAX_WAIT`], or the other system refuses calls for longer than the caller would wait.
    pub async fn turn(&self, urgency: Urgency) -> Result<Turn<'_>, NoTurn> {
        let deadline = Instant::now() + MAX_WAIT;
        let too_many = |_| NoTurn::Busy { retry_after: MAX_WAIT };
        let place = match &self.at_once {
            Some((places, calls)) => {
                // One place of all while we are alone; so many that no more than our share are taken, while several servers ask.
                let taken = calls / (calls / self.servers()).max(1);
                let place = timeout_at(deadline, places.acquire_many(taken)).await.map_err(too_many)?;
                place.ok()
            }
            None => None,
        };
        let (queue, _waiting) = match urgency {
            Urgency::Person => (&self.people, Some(Counted::new(&self.people_waiting))),
            Urgency::Work => (&self.work, None),
        };
        let _first_in_queue = timeout_at(deadline, queue.lock()).await.map_err(too_many)?;
        loop {
            let wait_until = {
                let mut state = self.state();
                let Some(at) = self.next_departure(&mut state, urgency)? else {
                    let departed_at = Instant::now();
                    if !state.windows.is_empty() {
                        state.departures.push_back(departed_at);
                    }
                    return Ok(Turn { limiter: self, departed_at, _place: place });
                };
                at
            };
            if wait_until > deadline {
                return Err(NoTurn::Busy { retry_after: wait_until - Instant::now() });
            }
            sleep_until(wait_until).await;
        }
    }

    /// When the next call may leave so that no window ever sees more than its share; `None`: now.
    fn next_departure(&self, state: &mut State, urgency: Urgency) -> Result<Option<Instant>, NoTurn> {
        let now = Instant::now();
        let pause_ends_at = state.pause.as_ref().map(|pause| pause.ends_at).filter(|at| *at > now);
        if let Some(at) = pause_ends_at
            && (urgency == Urgency::Work || at - now > PERSONS_PATIENCE)
        {
            return Err(NoTurn::Paused { retry_after: at - now });
        }
        let longest = state.windows.iter().map(|window| window.length.mul_f64(SLACK)).max().unwrap_or_default();
        while state.departures.front().is_some_and(|departed| *departed + longest <= now) {
            state.departures.pop_front();
        }
        let free_again = state.windows.iter().filter_map(|window| {
            let length = window.length.mul_f64(SLACK);
            let most = self.share_of(window, urgency, now < state.gentle_from + length);
            let oldest_of_a_full_window = state.departures.len().checked_sub(most).and_then(|index| state.departures.get(index));
            oldest_of_a_full_window.map(|departed| *departed + length)
        });
        Ok(free_again.chain(pause_ends_at).max().filter(|at| *at > now))
    }

    fn share_of(&self, window: &Window, urgency: Urgency, is_first_window: bool) -> usize {
        let share = (window.calls / self.servers()).max(1);
        let part = match urgency {
            _ if is_first_window && window.length <= LONGEST_GENTLE_WINDOW => share / GENTLE_PART,
            Urgency::Person => share,
            Urgency::Work => {
                let kept = (share / KEPT_FOR_PEOPLE).max(1).max(self.people_waiting.load(Ordering::Relaxed));
                share.saturating_sub(kept)
            }
        };
        usize::try_from(part.max(1)).unwrap_or(usize::MAX)
    }

    /// No calls for that long. A pause never shortens one that is already longer.
    pub fn pause(&self, length: Duration) {
        let now = Instant::now();
        self.state().pause_until(now + length.min(MAX_PAUSE), 0);
    }

    fn servers(&self) -> u32 {
        self.servers.load(Ordering::Relaxed).max(1)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn pause_until(&mut self, ends_at: Instant, repeats: u32) {
        let ends_at = self.pause.as_ref().map_or(ends_at, |earlier| earlier.ends_at.max(ends_at));
        self.pause = Some(Pause { began_at: Instant::now(), ends_at, repeats });
        self.gentle_from = ends_at;
    }
}

/// Counts as long as it lives.
struct Counted<'a>(&'a AtomicU32);

impl<'a> Counted<'a> {
    fn new(number: &'a AtomicU32) -> Self {
        number.fetch_add(1, Ordering::Relaxed);
        Self(number)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Turn<'_> {
    /// The other system refused the call because its limit is used up. `retry_after`: where it says when to come again; else we leave it
    /// alone for longer each time. Answers how long that is.
    pub fn refused(&self, retry_after: Option<Duration>) -> Duration {
        let now = Instant::now();
        // “Come again in 0 s” says nothing: the limit is used up.
        let retry_after = retry_after.filter(|wait| !wait.is_zero());
        let mut state = self.limiter.state();
        // Of many calls that left together all are refused: one pause.
        let is_known = state.pause.as_ref().is_some_and(|pause| self.departed_at <= pause.began_at && pause.ends_at > now);
        if !is_known || retry_after.is_some() {
            let repeats = state.pause.as_ref().map_or(0, |pause| pause.repeats + u32::from(!is_known));
            let own = || FIRST_PAUSE.saturating_mul(1_u32.checked_shl(repeats).unwrap_or(u32::MAX)).min(LONGEST_OWN_PAUSE);
            state.pause_until(now + retry_after.unwrap_or_else(own).min(MAX_PAUSE), repeats);
        }
        state.pause.as_ref().map_or(Duration::ZERO, |pause| pause.ends_at.saturating_duration_since(now))
    }

    /// The other system did not refuse the call because of its limit: what was refused before it left is over.
    pub fn passed(&self) {
        let mut state = self.limiter.state();
        state.pause.take_if(|pause| pause.ends_at <= self.departed_at);
    }
}

#[cfg(test)]
mod tests;
