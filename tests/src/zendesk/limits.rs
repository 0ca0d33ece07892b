//! Request limits with the numbers of the reference (zendesk.md d.11).
//!
//! Sliding windows over the account's own clock. Must not decide what the refusal looks like.

use std::collections::{HashMap, VecDeque};

use time::{Duration, OffsetDateTime};

/// How much the account allows. The default is an Enterprise account without add-on.
#[derive(Clone, Debug)]
pub struct RateLimits {
    /// Requests of the whole account in a minute.
    pub requests_per_minute: usize,
    /// "Update Ticket" of the whole account in a minute.
    pub ticket_updates_per_minute: usize,
    /// "Update Ticket" of one user on one ticket in ten minutes.
    pub updates_of_one_ticket_per_ten_minutes: usize,
    /// Audit lists in a minute.
    pub audit_lists_per_minute: usize,
    /// Notifications to apps in a minute.
    pub notifications_per_minute: usize,
}

impl Default for RateLimits {
    fn default() -> Self {
        Self {
            requests_per_minute: 700,
            ticket_updates_per_minute: 100,
            updates_of_one_ticket_per_ten_minutes: 30,
            audit_lists_per_minute: 500,
            notifications_per_minute: 100,
        }
    }
}

/// What a window counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Counted {
    Account,
    TicketUpdates,
    UpdatesOfTicket { user: u64, ticket: u64 },
    AuditLists,
    Notifications,
}

/// A window's state after a request, for the answer's headers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Allowance {
    pub counted: Counted,
    pub total: usize,
    pub remaining: usize,
    /// Whole seconds until a place is free again, at least 1.
    pub resets: i64,
}

#[derive(Debug, Default)]
pub(super) struct Limiter {
    pub limits: Option<RateLimits>,
    windows: HashMap<Counted, VecDeque<OffsetDateTime>>,
}

impl Limiter {
    pub(super) fn new(limits: Option<RateLimits>) -> Self {
        Self { limits, windows: HashMap::new() }
    }

    /// Counts the request in all of `windows`, or in none: then the first full one is the error.
    pub(super) fn count(&mut self, now: OffsetDateTime, windows: &[Counted]) -> Result<Vec<Allowance>, Allowance> {
        let Some(limits) = self.limits.clone() else {
            return Ok(Vec::new());
        };
        let mut allowances = Vec::with_capacity(windows.len());
        for &counted in windows {
            let (total, length) = size(&limits, counted);
            let stamps = self.windows.entry(counted).or_default();
            while stamps.front().is_some_and(|first| *first + length <= now) {
                stamps.pop_front();
            }
            let resets = stamps.front().map_or(length, |first| *first + length - now);
            let allowance = Allowance {
                counted,
                total,
                remaining: total.saturating_sub(stamps.len() + 1),
                resets: (resets + Duration::milliseconds(999)).whole_seconds().max(1),
            };
            if stamps.len() >= total {
                return Err(allowance);
            }
            allowances.push(allowance);
        }
        for counted in windows {
            self.windows.entry(*counted).or_default().push_back(now);
        }
        // One window per ticket: forget those whose time is over.
        if self.windows.len() > 10_000 {
            self.windows.retain(|_, stamps| stamps.back().is_some_and(|l| *l + TEN_MINUTES > now));
        }
        Ok(allowances)
    }
}

const TEN_MINUTES: Duration = Duration::minutes(10);

fn size(limits: &RateLimits, counted: Counted) -> (usize, Duration) {
    match counted {
        Counted::Account => (limits.requests_per_minute, Duration::MINUTE),
        Counted::TicketUpdates => (limits.ticket_updates_per_minute, Duration::MINUTE),
        Counted::UpdatesOfTicket { .. } => (limits.updates_of_one_ticket_per_ten_minutes, TEN_MINUTES),
        Counted::AuditLists => (limits.audit_lists_per_minute, Duration::MINUTE),
        Counted::Notifications => (limits.notifications_per_minute, Duration::MINUTE),
    }
}
