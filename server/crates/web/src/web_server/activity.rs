//! What runs on a connection, and since when nothing does.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

/// HTTP/2 frames that ask for nothing: so many are free, ...
const FREE_FRAMES: u32 = 1_000;
/// ... and so many more for each request and each piece of an answer. A peer that takes an answer in the smallest sensible portions sends two
/// WINDOW_UPDATEs for each of the 16 in a piece.
const FRAMES_EARNED: u32 = 64;

/// Shared by a connection's stream, requests and answers.
pub(super) struct Activity {
    state: Mutex<State>,
    changed: Notify,
}

struct State {
    /// Requests whose answer is not yet made or not yet taken.
    running: usize,
    /// When the last of them ended.
    quiet_since: Instant,
    /// When a head began that is not yet complete. Of HTTP/2 only the first counts: later bytes may be anything.
    head_since: Option<Instant>,
    is_http2: bool,
    /// Whether the last that came is the end of a head.
    ends_a_head: bool,
    /// HTTP/1: what came belongs to the request after the one that runs. Not known of one with a body; the limit of idleness ends that.
    has_more: bool,
    frames_left: u32,
}

/// Why a connection should end.
pub(super) enum Over {
    /// A request's head was not complete in time.
    Head,
    /// There was no request for long.
    Idle,
}

impl Activity {
    pub(super) fn new() -> Self {
        let now = Instant::now();
        let state = State {
            running: 0,
            quiet_since: now,
            head_since: Some(now),
            is_http2: false,
            ends_a_head: false,
            has_more: false,
            frames_left: FREE_FRAMES,
        };
        Self { state: Mutex::new(state), changed: Notify::new() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The peer sent something, which may end a head; false when it has sent too many frames that ask for nothing.
    #[must_use]
    pub(super) fn came(&self, ends_a_head: bool, idle_frames: u32) -> bool {
        let mut state = self.state();
        state.ends_a_head = ends_a_head;
        if state.running == 0 && state.head_since.is_none() && !state.is_http2 {
            state.head_since = Some(Instant::now());
            self.changed.notify_one();
        }
        let left = state.frames_left.checked_sub(idle_frames);
        state.frames_left = left.unwrap_or(0);
        left.is_some()
    }

    /// A request's head is complete. The request runs until what is returned is dropped.
    pub(super) fn begin(self: &Arc<Self>, is_http2: bool, has_body: bool) -> Running {
        let mut state = self.state();
        state.has_more = !is_http2 && !has_body && !state.ends_a_head;
        state.running += 1;
        state.head_since = None;
        state.is_http2 = is_http2;
        drop(state);
        let running = Running(self.clone());
        running.went_on();
        self.changed.notify_one();
        running
    }

    /// Returns when a head takes longer than `head`, or when nothing has run for `idle` since `from`.
    pub(super) async fn over(&self, from: Instant, head: Duration, idle: Duration) -> Over {
        loop {
            let due = {
                let state = self.state();
                let idle_at = state.quiet_since.max(from) + idle;
                match state.head_since.map(|since| since + head) {
                    _ if state.running > 0 => None,
                    Some(at) if at < idle_at => Some((at, Over::Head)),
                    _ => Some((idle_at, Over::Idle)),
                }
            };
            match due {
                None => self.changed.notified().await,
                Some((at, over)) => {
                    if timeout_at(at, self.changed.notified()).await.is_err() {
                        return over;
                    }
                }
            }
        }
    }
}

/// A request that runs.
pub(super) struct Running(Arc<Activity>);

impl Running {
    /// The peer took a piece of the answer, or asked.
    pub(super) fn went_on(&self) {
        let mut state = self.0.state();
        state.frames_left = state.frames_left.saturating_add(FRAMES_EARNED);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.running -= 1;
        if state.running == 0 {
            state.quiet_since = Instant::now();
            if state.has_more {
                state.head_since = Some(state.quiet_since);
            }
            self.0.changed.notify_one();
        }
    }
}
