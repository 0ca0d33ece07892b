//! Creating and changing tickets, and their further devices (autotask-extension.md a.3, a.5).
//!
//! Two equal creates make two tickets: there is no idempotency key, and `externalID` need not be unique (a.14).

use axum::http::Method;
use serde_json::{Map, Value};

use super::api::Author;
use super::call::{Call, Checked, Outcome, Refusal, Reply};
use super::schema::{Entity, Record};
use super::tenant::{Tenant, integer};
use super::times;
use super::writing::{check_parents, checked, is_blank, require};

/// The status of a finished ticket (a.5).
pub(super) const COMPLETE: i64 = 5;

pub(super) fn create(tenant: &mut Tenant, author: Author, call: &Call) -> Outcome {
    let mut record = checked(tenant, Entity::Tickets, &call.json()?)?;
    require(Entity::Tickets, &record)?;
    take_defaults(tenant, &mut record);
    check(tenant, &record)?;
    if is_blank(record.get("dueDateTime")) && !tenant.options.settings.supplies_due_date {
        return Err(Refusal::required("dueDateTime"));
    }
    // From here on nothing is refused.
    let now = tenant.now();
    let number = tenant.next_ticket_number();
    record.insert("ticketNumber".to_owned(), number.into());
    record.insert("createDate".to_owned(), times::written(now).into());
    record.insert("creatorType".to_owned(), 1.into());
    author.sign(&mut record, "creatorResourceID");
    touch(&mut record, author, now);
    Ok(Reply::item_id(tenant.insert(Entity::Tickets, record)))
}

/// `PATCH` changes the fields given, `PUT` clears those not given.
pub(super) fn update(tenant: &mut Tenant, author: Author, call: &Call) -> Outcome {
    let body = call.json()?;
    let id = id_of(&body)?;
    let held = tenant.get(Entity::Tickets, id).ok_or_else(Refusal::no_record)?.clone();
    let mut changed = checked(tenant, Entity::Tickets, &body)?;
    if call.method == Method::PUT {
        for field in Entity::Tickets.fields().iter().filter(|field| !field.read_only) {
            changed.entry(field.name).or_insert(Value::Null);
        }
        changed.entry("userDefinedFields").or_insert(Value::Null);
    }
    let mut record = held;
    record.extend(changed);
    require(Entity::Tickets, &record)?;
    check(tenant, &record)?;
    if tenant.patches_to_ignore > 0 {
        // A 200 is not proof (a.3).
        tenant.patches_to_ignore = tenant.patches_to_ignore.saturating_sub(1);
        return Ok(Reply::item_id(id));
    }
    touch(&mut record, author, tenant.now());
    tenant.put(Entity::Tickets, id, record);
    Ok(Reply::item_id(id))
}

pub(super) fn add_configuration_item(tenant: &mut Tenant, call: &Call, ticket: i64) -> Outcome {
    let record = child(tenant, Entity::TicketAdditionalConfigurationItems, &call.json()?, ticket)?;
    require(Entity::TicketAdditionalConfigurationItems, &record)?;
    Ok(Reply::item_id(tenant.insert(Entity::TicketAdditionalConfigurationItems, record)))
}

/// The checked body of a record below a ticket; the ticket in the path must be there, and be the one in the body if that has one.
pub(super) fn child(tenant: &Tenant, entity: Entity, body: &Map<String, Value>, ticket: i64) -> Checked<Record> {
    tenant.get(Entity::Tickets, ticket).ok_or_else(Refusal::no_record)?;
    let mut record = checked(tenant, entity, body)?;
    if integer(&record, "ticketID").is_some_and(|given| given != ticket) {
        return Err(Refusal::invalid("ticketID is not the ticket of the request URI"));
    }
    record.insert("ticketID".to_owned(), ticket.into());
    Ok(record)
}

/// The `id` in the body of an update.
pub(super) fn id_of(body: &Map<String, Value>) -> Checked<i64> {
    let id = body.iter().find(|(name, _)| name.eq_ignore_ascii_case("id")).and_then(|(_, id)| id.as_i64());
    id.ok_or_else(|| Refusal::required("id"))
}

/// Notes, files and time entries move the ticket's last activity.
pub(super) fn touch_ticket(tenant: &mut Tenant, ticket: i64, author: Author) {
    let now = tenant.now();
    if let Some(record) = tenant.get_mut(Entity::Tickets, ticket) {
        touch(record, author, now);
    }
}

fn touch(record: &mut Record, author: Author, now: time::OffsetDateTime) {
    record.insert("lastActivityDate".to_owned(), times::written(now).into());
    record.insert("lastActivityResourceID".to_owned(), author.resource.into());
    if integer(record, "status") != Some(COMPLETE) {
        record.insert("completedDate".to_owned(), Value::Null);
    } else if is_blank(record.get("completedDate")) {
        record.insert("completedDate".to_owned(), times::written(now).into());
        record.insert("completedByResourceID".to_owned(), author.resource.into());
    }
}

fn take_defaults(tenant: &Tenant, record: &mut Record) {
    for field in Entity::Tickets.fields().iter().filter(|field| field.picklist && !field.required) {
        let default = tenant.choices(Entity::Tickets, field.name).iter().find(|choice| choice.default);
        if let Some(choice) = default
            && is_blank(record.get(field.name))
        {
            record.insert(field.name.to_owned(), choice.value.into());
        }
    }
}

/// What holds for every ticket, new or changed.
fn check(tenant: &Tenant, record: &Record) -> Checked<()> {
    check_parents(tenant, Entity::Tickets, record)?;
    let number = |field: &str| integer(record, field);
    match (number("assignedResourceID"), number("assignedResourceRoleID")) {
        (None, None) => {}
        (Some(_), None) => return Err(Refusal::required("assignedResourceRoleID")),
        (None, Some(_)) => return Err(Refusal::required("assignedResourceID")),
        (Some(resource), Some(role)) if tenant.is_pair(resource, role) => {}
        (Some(_), Some(_)) => return Err(not_paired()),
    }
    if number("queueID").is_none() {
        let by_category = number("ticketCategory").is_some_and(|id| tenant.options.settings.categories_with_queue.contains(&id));
        if by_category || number("assignedResourceID").is_none() {
            return Err(Refusal::invalid("queueID is required"));
        }
    }
    if let Some(code) = number("billingCodeID") {
        check_work_type(tenant, code)?;
    }
    for (field, entity) in [("contactID", Entity::Contacts), ("configurationItemID", Entity::ConfigurationItems)] {
        let company = number(field).and_then(|id| integer(tenant.get(entity, id)?, "companyID"));
        if company.is_some() && company != number("companyID") {
            return Err(Refusal::invalid(format!("{field} does not belong to the given companyID")));
        }
    }
    Ok(())
}

pub(super) fn not_paired() -> Refusal {
    Refusal::invalid("The specified AssignedResourceID and AssignedRoleID combination is not currently defined")
}

/// A work type is an active code of use 1 (a.7).
pub(super) fn check_work_type(tenant: &Tenant, code: i64) -> Checked<()> {
    let is_work_type = tenant.get(Entity::BillingCodes, code).and_then(|record| integer(record, "useType")) == Some(1);
    if is_work_type && tenant.is_active(Entity::BillingCodes, code) {
        return Ok(());
    }
    Err(Refusal::invalid("The given allocation code is not an active general allocation code"))
}
