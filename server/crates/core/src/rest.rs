//! How long something that failed again is left alone.

use std::time::Duration;

/// A rest that doubles each time.
#[derive(Clone, Copy, Debug)]
pub struct GrowingRest {
    /// The first.
    pub first: Duration,
    /// None is longer.
    pub longest: Duration,
}

/// After refused credentials. A person must act, but perhaps has; and many a system locks an account whose login is refused again and
/// again.
pub const AFTER_REFUSED_CREDENTIALS: GrowingRest = GrowingRest { first: Duration::from_secs(30), longest: Duration::from_mins(30) };

impl GrowingRest {
    /// The rest that follows so many others.
    pub fn after(self, others: u32) -> Duration {
        self.first.saturating_mul(1 << others.min(20)).min(self.longest)
    }
}
