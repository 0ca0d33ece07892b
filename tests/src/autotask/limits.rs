//! The limits: requests in an hour, requests at once, bytes attached in five minutes (autotask-extension.md a.10, a.12).
//!
//! Must not decide what a refusal looks like, nor know of requests.

use std::collections::{HashMap, VecDeque};

use time::{Duration, OffsetDateTime};

use super::schema::Entity;

/// Requests of one tracking id on one entity at the same time.
pub const CONCURRENT_MAX: usize = 3;
/// Bytes attached within [`ATTACHING_TIME`].
pub const ATTACHED_MAX: usize = 10_000_000;
/// The window of [`ATTACHED_MAX`], and how long attaching is blocked after it was exceeded.
pub const ATTACHING_TIME: Duration = Duration::minutes(5);
const THRESHOLD_TIME: Duration = Duration::minutes(60);

/// What is in flight, by tracking id and entity.
#[derive(Debug, Default)]
pub(super) struct InFlight(HashMap<(String, Entity), usize>);

impl InFlight {
    /// Whether there was a place; each one taken must be given back.
    pub(super) fn take(&mut self, bucket: &(String, Entity)) -> bool {
        let taken = self.0.entry(bucket.clone()).or_default();
        let free = *taken < CONCURRENT_MAX;
        *taken += usize::from(free);
        free
    }

    /// By all tracking ids.
    pub(super) fn of(&self, entity: Entity) -> usize {
        self.0.iter().filter(|((_, held), _)| *held == entity).map(|(_, taken)| taken).sum()
    }

    pub(super) fn give_back(&mut self, bucket: &(String, Entity)) {
        if let Some(taken) = self.0.get_mut(bucket) {
            *taken = taken.saturating_sub(1);
            if *taken == 0 {
                self.0.remove(bucket);
            }
        }
    }
}

/// Requests of the whole tenant in the rolling hour.
#[derive(Debug, Default)]
pub(super) struct Requests {
    stamps: VecDeque<(OffsetDateTime, usize)>,
    total: usize,
}

impl Requests {
    pub(super) fn add(&mut self, now: OffsetDateTime, count: usize) {
        self.stamps.push_back((now, count));
        self.total += count;
    }

    pub(super) fn within_the_hour(&mut self, now: OffsetDateTime) -> usize {
        while let Some(&(at, count)) = self.stamps.front()
            && at + THRESHOLD_TIME <= now
        {
            self.stamps.pop_front();
            self.total -= count;
        }
        self.total
    }
}

/// By how much a tenant that has had so many of so many requests answers later: 0.5 s from half on, 1 s from three quarters on.
pub(super) fn slowness(count: usize, threshold: usize) -> Duration {
    match count * 4 / threshold.max(1) {
        0 | 1 => Duration::ZERO,
        2 => Duration::milliseconds(500),
        _ => Duration::SECOND,
    }
}

/// Bytes attached lately.
#[derive(Debug, Default)]
pub(super) struct Attaching {
    stamps: VecDeque<(OffsetDateTime, usize)>,
    blocked_until: Option<OffsetDateTime>,
}

impl Attaching {
    /// Whether so many bytes may be attached now; a refusal blocks all others for a while.
    pub(super) fn admit(&mut self, now: OffsetDateTime, bytes: usize) -> bool {
        if self.blocked_until.is_some_and(|until| now < until) {
            return false;
        }
        self.stamps.retain(|(at, _)| *at + ATTACHING_TIME > now);
        let so_far: usize = self.stamps.iter().map(|(_, bytes)| bytes).sum();
        if so_far + bytes > ATTACHED_MAX {
            self.blocked_until = Some(now + ATTACHING_TIME);
            return false;
        }
        self.stamps.push_back((now, bytes));
        true
    }
}
