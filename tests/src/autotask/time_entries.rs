//! Time worked (autotask-extension.md a.7): the rules, in the words of the real refusals where those are known.

use serde_json::json;
use time::{Duration, OffsetDateTime};

use super::api::Author;
use super::call::{Call, Checked, Outcome, Refusal, Reply};
use super::schema::{Entity, Record};
use super::tenant::{Tenant, integer, time_of};
use super::tickets::{check_work_type, id_of, not_paired, touch_ticket};
use super::times;
use super::writing::{checked, is_blank, require};

const OF_TICKET: i64 = 2;
const OF_TASK: i64 = 6;
const OF_NEITHER: i64 = 1;

pub(super) fn create(tenant: &mut Tenant, author: Author, call: &Call) -> Outcome {
    let mut record = checked(tenant, Entity::TimeEntries, &call.json()?)?;
    check(tenant, &mut record)?;
    if integer(&record, "billingCodeID").is_some() && !author.may_set_work_type {
        return Err(Refusal::invalid("The logged in Resource is not authorised to set billingCodeID"));
    }
    if integer(&record, "resourceID") != Some(author.resource) && !tenant.options.settings.proxy_time_entries {
        return Err(Refusal::invalid("The logged in Resource may not enter time for other Resources"));
    }
    // From here on nothing is refused.
    let now = times::written(tenant.now());
    record.insert("createDateTime".to_owned(), now.clone().into());
    record.insert("lastModifiedDateTime".to_owned(), now.into());
    author.sign(&mut record, "creatorUserID");
    let ticket = integer(&record, "ticketID");
    let id = tenant.insert(Entity::TimeEntries, record);
    if let Some(ticket) = ticket {
        touch_ticket(tenant, ticket, author);
    }
    Ok(Reply::item_id(id))
}

pub(super) fn update(tenant: &mut Tenant, call: &Call) -> Outcome {
    let body = call.json()?;
    let id = id_of(&body)?;
    let mut record = tenant.get(Entity::TimeEntries, id).ok_or_else(Refusal::no_record)?.clone();
    record.extend(checked(tenant, Entity::TimeEntries, &body)?);
    check(tenant, &mut record)?;
    record.insert("lastModifiedDateTime".to_owned(), times::written(tenant.now()).into());
    tenant.put(Entity::TimeEntries, id, record);
    Ok(Reply::item_id(id))
}

/// Only the account that made it may delete it (a.3), so nobody can delete what was made as somebody else (a.7).
pub(super) fn delete(tenant: &mut Tenant, author: Author, id: i64) -> Outcome {
    let creator = tenant.get(Entity::TimeEntries, id).map(|record| integer(record, "creatorUserID"));
    match creator {
        None => Err(Refusal::invalid(format!("No message. No matching records found. id {id}"))),
        Some(creator) if creator == Some(author.resource) => {
            tenant.remove(Entity::TimeEntries, id);
            Ok(Reply::item_id(id))
        }
        Some(_) => Err(Refusal::invalid("The logged in Resource does not have the adequate permissions to delete this entity.")),
    }
}

/// Checks an entry and fills in what follows from what it has: hours from the window, the date from the start.
fn check(tenant: &Tenant, record: &mut Record) -> Checked<()> {
    require(Entity::TimeEntries, record)?;
    let settings = &tenant.options.settings;
    let kind = check_parent(record)?;
    if kind == OF_TICKET {
        let role = integer(record, "roleID").ok_or_else(|| Refusal::invalid("TimeEntries for Tickets must have a roleID"))?;
        if !tenant.is_pair(integer(record, "resourceID").unwrap_or_default(), role) {
            return Err(not_paired());
        }
    }
    let window = time_of(record, "startDateTime").zip(time_of(record, "endDateTime"));
    let hours = record.get("hoursWorked").and_then(serde_json::Value::as_f64);
    if window.is_none() && hours.is_none() {
        return Err(Refusal::invalid("Must have at least one of hoursWorked or startDateTime/endDateTime"));
    }
    if window.is_none() && kind == OF_TICKET && settings.tickets_need_times {
        return Err(Refusal::invalid("TimeEntries for Service tickets require a start and stop time."));
    }
    if window.is_none() && is_blank(record.get("startDateTime")) && is_blank(record.get("dateWorked")) {
        return Err(Refusal::invalid("dateWorked is required when no value is supplied for startDateTime"));
    }
    if is_blank(record.get("summaryNotes")) {
        return Err(Refusal::invalid("TimeEntry.summaryNotes can not be blank."));
    }
    // The hours follow the window, whatever was sent (a.7).
    let hours = window.map_or(hours.unwrap_or_default(), hours_of);
    // One minute is the floor.
    if !(1.0 / 60.0 - 0.0001..=24.0).contains(&hours) {
        return Err(Refusal::invalid("hoursWorked greater than 24 hours or less than zero hours"));
    }
    if let Some((start, end)) = window
        && !settings.time_over_midnight
        && spans_midnight(start, end)
    {
        return Err(Refusal::invalid("The system setting does not allow time entries to span over midnight"));
    }
    if let Some(code) = integer(record, "billingCodeID") {
        check_work_type(tenant, code)?;
    }

    record.insert("hoursWorked".to_owned(), json!(hours));
    if is_blank(record.get("hoursToBill")) {
        record.insert("hoursToBill".to_owned(), json!(hours));
    }
    if let Some(start) = time_of(record, "startDateTime").or_else(|| time_of(record, "dateWorked")) {
        record.insert("dateWorked".to_owned(), times::written(start.replace_time(time::Time::MIDNIGHT)).into());
    }
    record.insert("timeEntryType".to_owned(), kind.into());
    Ok(())
}

/// An entry belongs to one thing; gives the entry's type.
fn check_parent(record: &Record) -> Checked<i64> {
    let has = |field: &str| integer(record, field).is_some();
    match (has("ticketID"), has("taskID"), has("internalBillingCodeID")) {
        (true, false, false) => Ok(OF_TICKET),
        (false, true, false) => Ok(OF_TASK),
        (false, false, true) => Ok(OF_NEITHER),
        (false, false, false) => Err(Refusal::required("ticketID")),
        // Misspelt by the real one too.
        _ => Err(Refusal::invalid("Only one of ticketID,taskID and InternallAllocationCodeID can be used at once")),
    }
}

fn hours_of((start, end): (OffsetDateTime, OffsetDateTime)) -> f64 {
    let hours = (end - start).as_seconds_f64() / 3600.0;
    (hours * 10_000.0).round() / 10_000.0
}

/// Ending at midnight is not over it.
fn spans_midnight(start: OffsetDateTime, end: OffsetDateTime) -> bool {
    start.date() != (end - Duration::NANOSECOND).date()
}
