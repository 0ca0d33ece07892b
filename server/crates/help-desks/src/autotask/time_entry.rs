//! Time entries (autotask-extension.md a.7): the session's window, for the resource behind its primary representative.
//!
//! Many tenants refuse an entry that crosses midnight UTC, and all refuse one of more than a day. Such a window is sent whole
//! where that is possible at all, and in parts, one for each day, after the tenant has refused it; a part that stands
//! already is not written again.

use std::collections::VecDeque;

use serde_json::{Value, json};

use super::client::{Client, Fault};
use super::defaults::TimeDefaults;
use super::lookup::{Lookup, Resource};
use super::query::{Entity, Filter};
use super::record_write::{Deciding, RecordWrite};
use super::text::{cut, one_line};
use crate::{HelpDeskError, Prepared, TimeEntry, WriteOutcome};
use deskbridge_core::clock::rfc3339;
use deskbridge_core::text::shown;
use deskbridge_http_client::cached::Freshness;

const MINUTE_MS: i64 = 60_000;
const DAY_MS: i64 = 24 * 60 * MINUTE_MS;
/// A session longer than so many days is none a person worked at.
const MAX_PARTS: usize = 8;
/// Longest summary, in characters (autotask-extension.md a.7).
const SUMMARY: usize = 32_000;
/// Entries of a ticket looked at.
const MAX_ENTRIES: usize = 5_000;
/// Said where the settings say nothing.
const SUMMARY_DEFAULT: &str = "Remote support session";

/// A window, Unix ms of whole seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Window {
    start: i64,
    end: i64,
}

impl Window {
    /// At least a minute: the shortest entry Autotask takes.
    fn of(entry: &TimeEntry) -> Self {
        let second = |ms: i64| ms - ms.rem_euclid(1_000);
        let start = second(entry.started_at);
        Self { start, end: second(entry.ended_at).max(start + MINUTE_MS) }
    }

    fn is_of_one_day(self) -> bool {
        self.start.div_euclid(DAY_MS) == self.end.div_euclid(DAY_MS)
    }

    fn can_be_sent_whole(self) -> bool {
        self.end - self.start <= DAY_MS
    }

    /// One window for each day. Each but the last ends a second before midnight, since midnight is the next day's.
    fn by_day(self) -> Vec<Self> {
        let mut parts = Vec::new();
        let mut start = self.start;
        while start < self.end && parts.len() <= MAX_PARTS {
            let midnight = (start.div_euclid(DAY_MS) + 1) * DAY_MS;
            let end = self.end.min(midnight - 1_000);
            parts.push(if end == self.end {
                Self { start, end: end.max(start + MINUTE_MS) }
            } else {
                Self { start: start.min(end - MINUTE_MS), end }
            });
            start = midnight;
        }
        parts
    }

    /// To four places, as Autotask keeps hours.
    fn hours(self) -> f64 {
        let ten_thousandths = ((self.end - self.start) / 1_000 * 10_000 + 1_800) / 3_600;
        f64::from(u32::try_from(ten_thousandths).unwrap_or(0)) / 10_000.0
    }
}

/// The marker of a window's part; a part of one is the window.
fn part_marker(marker: &str, part: usize, parts: usize) -> String {
    if parts == 1 { marker.to_owned() } else { format!("{marker} part {} of {parts}", part + 1) }
}

/// The id of the entry that carries the marker, or of the first of all its parts. Some parts are none: the rest must be written.
pub(super) async fn find(client: &Client, ticket: i64, entry: &TimeEntry, marker: &str) -> Result<Option<i64>, HelpDeskError> {
    let standing = Standing::read(client, ticket, marker).await?;
    if let Some(id) = standing.id(marker) {
        return Ok(Some(id));
    }
    let parts = Window::of(entry).by_day().len();
    let ids: Option<Vec<i64>> = (0..parts).map(|part| standing.id(&part_marker(marker, part, parts))).collect();
    Ok(ids.and_then(|ids| ids.first().copied()))
}

/// The right without which non-billable entries are not answered to queries, as Autotask calls it.
pub(super) const RIGHT_TO_SEE_NON_BILLABLE: &str = "“Can view non-billable time entries”";

/// Whether the API user is shown non-billable entries: there is no saying so but to be shown one.
pub(super) async fn sees_non_billable(client: &Client) -> Result<bool, Fault> {
    let filter = Filter::is("isNonBillable", true);
    let rows = client.query(Entity::TimeEntries, &filter, &["isNonBillable"], 1, "a look at non-billable time entries").await?;
    Ok(rows.iter().any(|row| row["isNonBillable"] == true))
}

/// Whether an entry that is not found does not stand. A non-billable one may stand unseen, and would be written twice.
pub(super) async fn prove_absence(client: &Client, defaults: &TimeDefaults, ticket: i64) -> Result<(), HelpDeskError> {
    if defaults.is_non_billable != Some(true) || sees_non_billable(client).await? {
        return Ok(());
    }
    Err(HelpDeskError::Refused(format!(
        "nobody knows whether the time entry stands on ticket {ticket}: its write got no certain answer, and Autotask shows the API user no \
         non-billable entries. It is not written again, so that it does not stand twice. Give the API user's security level the right \
         {RIGHT_TO_SEE_NON_BILLABLE}, then `deskbridge events retry`; or look at the ticket and enter the time by hand"
    )))
}

/// Windows, each with its marker.
type MarkedWindows = VecDeque<(Window, String)>;

/// A time entry, or what is left of it, with all that was looked up for it.
pub(super) struct Entry<'a> {
    client: &'a Client,
    lookup: &'a Lookup,
    defaults: &'a TimeDefaults,
    ticket: i64,
    resource: i64,
    role: i64,
    marker: String,
    whole: Window,
    /// Windows still to be written, each with its marker. One that is the whole may have to be parted.
    left: MarkedWindows,
    /// The id of the first part that stands.
    first: Option<i64>,
    /// The work type is left out: the API user may not set it (autotask-extension.md a.7).
    without_work_type: bool,
}

/// Looks everything up for a time entry, and gets its first request ready.
pub(super) async fn prepare<'a>(
    client: &'a Client,
    lookup: &'a Lookup,
    defaults: &'a TimeDefaults,
    domain: Option<&str>,
    ticket: i64,
    entry: &TimeEntry,
    marker: &str,
) -> Result<Prepared<'a>, HelpDeskError> {
    let worker = async |freshness: &Freshness| {
        let resource = resource_of(client, lookup, &entry.representative, domain, freshness).await?;
        let role = lookup.role_of(client, &resource, defaults.role_name.as_deref(), freshness).await?;
        Ok::<_, HelpDeskError>((resource.id, role))
    };
    let freshness = Freshness::any();
    let (resource, role) = match (worker(&freshness).await, freshness.once_more()) {
        (Err(HelpDeskError::Refused(_)), Some(new)) => worker(&new).await?,
        (other, _) => other?,
    };
    let whole = Window::of(entry);
    let standing = if whole.is_of_one_day() { Standing(Vec::new()) } else { Standing::read(client, ticket, marker).await? };
    let (left, first) = if standing.is_empty() && (whole.is_of_one_day() || whole.can_be_sent_whole()) {
        (VecDeque::from([(whole, marker.to_owned())]), None)
    } else {
        standing.missing_parts(whole, marker)?
    };
    let marker = marker.to_owned();
    Entry { client, lookup, defaults, ticket, resource, role, marker, whole, left, first, without_work_type: false }.next().await
}

impl<'a> Entry<'a> {
    /// The next window's request.
    async fn next(self) -> Result<Prepared<'a>, HelpDeskError> {
        let Some((window, marker)) = self.left.front() else {
            return Err(HelpDeskError::Refused("the session has no time to record".into()));
        };
        let mut body = body(self.defaults, self.ticket, self.resource, self.role, *window, marker);
        if self.without_work_type
            && let Some(fields) = body.as_object_mut()
        {
            fields.remove("billingCodeID");
        }
        let ready = self.client.ready(Entity::TimeEntries, "TimeEntries".to_owned(), body, "the time entry").await?;
        Ok(RecordWrite::boxed(ready, move |written| self.after(written)))
    }

    fn after(mut self, written: Result<i64, Fault>) -> Deciding<'a> {
        Box::pin(async move {
            match written {
                Ok(id) => {
                    self.left.pop_front();
                    let first = *self.first.get_or_insert(id);
                    if self.left.is_empty() {
                        return WriteOutcome::Written(first.to_string());
                    }
                    match self.next().await {
                        Ok(next) => WriteOutcome::Partly(next),
                        // What is missing is found missing by the next attempt.
                        Err(error) => WriteOutcome::Refused(error),
                    }
                }
                Err(Fault::Refused { said, .. }) if self.is_whole_of_several_days() && speaks_of_midnight(&said) => {
                    tracing::info!(ticket = self.ticket, said, "the tenant takes no time entry over midnight; it is written in parts");
                    match Standing(Vec::new()).missing_parts(self.whole, &self.marker) {
                        Ok((left, first)) => self.instead(|entry| (entry.left, entry.first) = (left, first)).await,
                        Err(error) => WriteOutcome::Refused(error),
                    }
                }
                Err(Fault::Refused { said, .. })
                    if !self.without_work_type && self.defaults.billing_code.is_some() && forbids_work_type(&said) =>
                {
                    tracing::warn!(said, "the API user may not set a time entry's work type; the ticket's own is taken");
                    self.instead(|entry| entry.without_work_type = true).await
                }
                Err(fault) => {
                    if let Fault::Refused { .. } = fault {
                        self.lookup.doubt();
                    }
                    WriteOutcome::Refused(fault.into())
                }
            }
        })
    }

    fn is_whole_of_several_days(&self) -> bool {
        !self.whole.is_of_one_day() && self.left.front().is_some_and(|(window, _)| *window == self.whole)
    }

    async fn instead(mut self, change: impl FnOnce(&mut Self)) -> WriteOutcome<'a> {
        change(&mut self);
        match self.next().await {
            Ok(next) => WriteOutcome::TryInstead(next),
            Err(error) => WriteOutcome::Refused(error),
        }
    }
}

/// The resource behind a representative: his user name, if it is an e-mail address, else with the domain.
async fn resource_of(
    client: &Client,
    lookup: &Lookup,
    representative: &str,
    domain: Option<&str>,
    freshness: &Freshness,
) -> Result<std::sync::Arc<Resource>, HelpDeskError> {
    let representative = representative.trim();
    let name = match domain {
        Some(domain) if !representative.contains('@') => format!("{representative}@{}", domain.trim_start_matches('@')),
        _ => representative.to_owned(),
    };
    let shown = shown(&name, 120);
    match lookup.resource(client, &name, freshness).await? {
        Some(resource) if resource.is_active => Ok(resource),
        Some(resource) => Err(HelpDeskError::Refused(format!(
            "the Autotask resource {} ({shown}) is not active; enter the time for somebody else, or activate it and retry this event",
            resource.name
        ))),
        None => Err(HelpDeskError::Refused(format!(
            "Autotask has no resource with the e-mail address or user name {shown}; correct default_domain or the representative's user name, then \
             retry this event"
        ))),
    }
}

fn body(defaults: &TimeDefaults, ticket: i64, resource: i64, role: i64, window: Window, marker: &str) -> Value {
    let summary = defaults.summary_notes.as_deref().unwrap_or(SUMMARY_DEFAULT);
    let mut body = json!({
        "ticketID": ticket,
        "resourceID": resource,
        "roleID": role,
        "dateWorked": rfc3339(window.start),
        "startDateTime": rfc3339(window.start),
        "endDateTime": rfc3339(window.end),
        "hoursWorked": window.hours(),
        "summaryNotes": cut(summary, SUMMARY),
        "internalNotes": format!("Remote support session [{marker}]"),
    });
    let given = [
        ("billingCodeID", defaults.billing_code.map(Value::from)),
        ("contractID", defaults.contract.map(Value::from)),
        ("offsetHours", defaults.offset_hours.clone().map(Value::from)),
        ("isNonBillable", defaults.is_non_billable.map(Value::from)),
        ("showOnInvoice", defaults.show_on_invoice.map(Value::from)),
    ];
    for (name, value) in given {
        if let Some(value) = value {
            body[name] = value;
        }
    }
    body
}

fn forbids_work_type(said: &str) -> bool {
    let said = said.to_lowercase();
    (said.contains("billingcodeid") || said.contains("allocationcodeid"))
        && ["not authorized", "not authorised", "not allowed", "permission"].iter().any(|text| said.contains(text))
}

fn speaks_of_midnight(said: &str) -> bool {
    said.to_lowercase().contains("midnight")
}

/// The ticket's entries that carry a marker.
struct Standing(Vec<(i64, String)>);

impl Standing {
    async fn read(client: &Client, ticket: i64, marker: &str) -> Result<Self, HelpDeskError> {
        let filter = Filter::is("ticketID", ticket);
        let rows =
            client.query(Entity::TimeEntries, &filter, &["ticketID", "internalNotes"], MAX_ENTRIES, "the ticket's time entries").await?;
        let entry = |row: &Value| {
            let notes = row["internalNotes"].as_str().filter(|notes| notes.contains(marker))?;
            (row["ticketID"].as_i64() == Some(ticket)).then_some((row["id"].as_i64()?, one_line(notes)))
        };
        Ok(Self(rows.iter().filter_map(entry).collect()))
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The parts of `whole` that do not stand, one for each day, and the id of the first that does.
    fn missing_parts(&self, whole: Window, marker: &str) -> Result<(MarkedWindows, Option<i64>), HelpDeskError> {
        let parts = whole.by_day();
        if parts.len() > MAX_PARTS {
            return Err(HelpDeskError::Refused(format!("the session lasted more than {MAX_PARTS} days; enter its time by hand")));
        }
        let (mut left, mut first) = (VecDeque::new(), None);
        for (part, window) in parts.iter().enumerate() {
            let marker = part_marker(marker, part, parts.len());
            match self.id(&marker) {
                Some(id) => first = first.or(Some(id)),
                None => left.push_back((*window, marker)),
            }
        }
        Ok((left, first))
    }

    fn id(&self, marker: &str) -> Option<i64> {
        let whole = format!("[{marker}]");
        self.0.iter().find(|(_, notes)| notes.contains(&whole)).map(|(id, _)| *id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-11-21, Unix ms.
    const MIDNIGHT: i64 = 1_795_219_200_000;

    fn entry(from_s: i64, to_s: i64) -> TimeEntry {
        TimeEntry {
            started_at: MIDNIGHT + from_s * 1_000 + 321,
            ended_at: MIDNIGHT + to_s * 1_000 + 999,
            representative: "jdoe".into(),
            name: "Jane Doe".into(),
        }
    }

    fn parts(from_s: i64, to_s: i64) -> Vec<(i64, i64)> {
        let second = |ms: i64| (ms - MIDNIGHT) / 1_000;
        Window::of(&entry(from_s, to_s)).by_day().iter().map(|window| (second(window.start), second(window.end))).collect()
    }

    #[test]
    fn a_window_is_at_least_a_minute_and_its_hours_follow() {
        let hours = |from, to| Window::of(&entry(from, to)).hours();
        assert!((hours(0, 34 * 60) - 0.5667).abs() < 1e-9);
        assert!((hours(5, 5) - 0.0167).abs() < 1e-9);
        assert!((hours(0, 86_400) - 24.0).abs() < 1e-9);
        assert_eq!(rfc3339(Window::of(&entry(36_000, 36_001)).start), "2026-11-21T10:00:00Z");
    }

    #[test]
    fn a_window_over_midnight_has_a_part_for_each_day() {
        assert_eq!(parts(3_600, 7_200), [(3_600, 7_200)]);
        assert_eq!(parts(-3_600, 3_600), [(-3_600, -1), (0, 3_600)]);
        assert_eq!(parts(-10, 20), [(-61, -1), (0, 60)], "each part is at least a minute");
        assert_eq!(parts(-3_600, 0), [(-3_600, -1)], "midnight itself adds nothing");
        assert_eq!(parts(-3_600, 86_400 + 60), [(-3_600, -1), (0, 86_399), (86_400, 86_460)]);
        assert!(parts(0, 90 * 86_400).len() > MAX_PARTS);
        assert!(!Window::of(&entry(-3_600, 0)).is_of_one_day());
    }

    #[test]
    fn a_whole_entry_is_not_taken_for_a_part_nor_a_part_for_the_whole() {
        let marker = "deskbridge/x/time/0";
        let standing = Standing(vec![(7, format!("Remote support session [{}]", part_marker(marker, 0, 2)))]);
        assert_eq!(
            (standing.id(marker), standing.id(&part_marker(marker, 0, 2)), standing.id(&part_marker(marker, 1, 2))),
            (None, Some(7), None)
        );
    }

    #[test]
    fn refusals_that_mean_less_than_no_are_known() {
        assert!(forbids_work_type("The API user is not authorized to set billingCodeID"));
        assert!(!forbids_work_type("The given allocation code is not an active general allocation code"));
        assert!(speaks_of_midnight("Time entries may not span over midnight."));
    }
}
