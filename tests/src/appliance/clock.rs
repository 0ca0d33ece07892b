//! The simulated appliance's own clock: the machine's time plus an offset that a test can move.
//!
//! Everything the appliance stamps, expires or counts per time asks this clock and no other; only the retry timers of
//! outbound events run on real time, since somebody really waits for them.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use time::OffsetDateTime;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;

const ISO: &[BorrowedFormatItem<'_>] = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]+00:00");

/// A clonable handle to one clock.
#[derive(Clone, Debug, Default)]
pub struct SimulatedClock {
    offset_milliseconds: Arc<AtomicI64>,
}

impl SimulatedClock {
    /// Now, in Unix seconds.
    pub fn now(&self) -> i64 {
        self.now_milliseconds().div_euclid(1000)
    }

    /// Now, in Unix milliseconds.
    #[expect(clippy::disallowed_methods, reason = "this clock is where the appliance's time comes from")]
    pub fn now_milliseconds(&self) -> i64 {
        let real = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(0));
        real + self.offset_milliseconds.load(Ordering::Relaxed)
    }

    /// How far this clock is ahead of the machine's, in seconds; negative when it is behind.
    pub fn set_offset_seconds(&self, seconds: i64) {
        self.offset_milliseconds.store(seconds * 1000, Ordering::Relaxed);
    }

    /// Moves this clock forward.
    pub fn advance_seconds(&self, seconds: i64) {
        self.offset_milliseconds.fetch_add(seconds * 1000, Ordering::Relaxed);
    }
}

/// Unix seconds as the reports write them: `2024-12-03T15:26:05+00:00` (beyondtrust.md D.3).
pub(super) fn iso(unix_seconds: i64) -> String {
    OffsetDateTime::from_unix_timestamp(unix_seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH).format(ISO).unwrap_or_default()
}
