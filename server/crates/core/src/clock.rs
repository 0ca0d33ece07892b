//! Time and randomness, passed in.
//!
//! Nothing else may read the ambient clock or random source (clippy.toml bans them), so that tests decide both.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use time::OffsetDateTime;
use uuid::Uuid;

/// Where the present time comes from.
#[derive(Clone, Debug)]
pub enum Clock {
    /// The machine's clock.
    System,
    /// A clock that stands still until a test moves it. Unix milliseconds.
    Manual(Arc<AtomicI64>),
}

impl Clock {
    /// Unix time in milliseconds.
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the machine's clock")]
    pub fn now_ms(&self) -> i64 {
        match self {
            Self::System => i64::try_from(OffsetDateTime::now_utc().unix_timestamp_nanos() / 1_000_000).unwrap_or(i64::MAX),
            Self::Manual(now) => now.load(Ordering::SeqCst),
        }
    }

    /// Unix time in whole seconds.
    pub fn now_seconds(&self) -> i64 {
        self.now_ms().div_euclid(1_000)
    }
}

/// `N` random bytes from the operating system.
#[expect(clippy::disallowed_methods, reason = "the one place that reads the random source")]
pub fn random_bytes<const N: usize>() -> [u8; N] {
    rand::random()
}

/// A number in `0.0..1.0`, for jitter.
#[expect(clippy::disallowed_methods, reason = "the one place that reads the random source")]
pub fn random_fraction() -> f64 {
    rand::random()
}

/// An id that sorts by time (UUID version 7) and, within this process, in the order of the calls: events are worked at in the
/// order of their ids, and many may be stored within a millisecond.
pub fn new_id(clock: &Clock) -> Uuid {
    /// Milliseconds, then the twelve bits of a count, which take the place of the id's first random bits (RFC 9562, 6.2, method 1).
    static LAST: AtomicU64 = AtomicU64::new(0);
    let now = u64::try_from(clock.now_ms()).unwrap_or(0) << 12;
    let later = |last: u64| now.max(last + 1);
    let last = LAST.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |last| Some(later(last))).unwrap_or_else(|last| last);
    let [.., high, low] = later(last).to_be_bytes();
    let mut bytes: [u8; 10] = random_bytes();
    (bytes[0], bytes[1]) = (high & 0x0f, low);
    uuid::Builder::from_unix_timestamp_millis(later(last) >> 12, &bytes).into_uuid()
}

/// Unix milliseconds as RFC 3339 UTC with whole seconds; out-of-range values as the epoch.
pub fn rfc3339(unix_ms: i64) -> String {
    let moment = OffsetDateTime::from_unix_timestamp(unix_ms.div_euclid(1_000)).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    moment.format(&time::format_description::well_known::Rfc3339).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_sort_by_time_and_order() {
        let now = Arc::new(AtomicI64::new(1_733_239_565_000));
        let clock = Clock::Manual(now.clone());
        let first = new_id(&clock);
        now.fetch_add(1, Ordering::SeqCst);
        assert!(first < new_id(&clock));
        let of_one_millisecond: Vec<Uuid> = (0..10_000).map(|_| new_id(&clock)).collect();
        assert!(of_one_millisecond.is_sorted());
        assert_eq!(rfc3339(clock.now_ms()), "2024-12-03T15:26:05Z");
    }
}
