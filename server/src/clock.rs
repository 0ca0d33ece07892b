//! Time and randomness, passed in.
//!
//! Nothing else may read the ambient clock or random source (clippy.toml bans them), so that tests decide both.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

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

/// An id that sorts by time (UUID version 7).
pub fn new_id(clock: &Clock) -> Uuid {
    let milliseconds = u64::try_from(clock.now_ms()).unwrap_or(0);
    uuid::Builder::from_unix_timestamp_millis(milliseconds, &random_bytes()).into_uuid()
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
    fn ids_sort_by_time() {
        let now = Arc::new(AtomicI64::new(1_733_239_565_000));
        let clock = Clock::Manual(now.clone());
        let first = new_id(&clock);
        now.fetch_add(1, Ordering::SeqCst);
        assert!(first < new_id(&clock));
        assert_eq!(rfc3339(clock.now_ms()), "2024-12-03T15:26:05Z");
    }
}
