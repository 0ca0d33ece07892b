//! Notes of tickets (autotask-extension.md a.6). Plain text: markup is kept and shown as it was sent.

use super::api::Author;
use super::call::{Call, Checked, Outcome, Refusal, Reply};
use super::schema::{Entity, Record};
use super::tenant::{Tenant, integer};
use super::tickets::{child, id_of, touch_ticket};
use super::times;
use super::writing::{is_blank, require};

/// "Internal & Co-managed", a choice of tenants with that feature.
const CO_MANAGED: i64 = 4;

pub(super) fn create(tenant: &mut Tenant, author: Author, call: &Call, ticket: i64) -> Outcome {
    let mut record = child(tenant, Entity::TicketNotes, &call.json()?, ticket)?;
    check(tenant, &record)?;
    let now = times::written(tenant.now());
    record.insert("createDateTime".to_owned(), now.clone().into());
    record.insert("lastActivityDate".to_owned(), now.into());
    author.sign(&mut record, "creatorResourceID");
    let id = tenant.insert(Entity::TicketNotes, record);
    touch_ticket(tenant, ticket, author);
    Ok(Reply::item_id(id))
}

pub(super) fn update(tenant: &mut Tenant, author: Author, call: &Call, ticket: i64) -> Outcome {
    let body = call.json()?;
    let id = id_of(&body)?;
    let held = tenant.get(Entity::TicketNotes, id).filter(|held| integer(held, "ticketID") == Some(ticket));
    let mut record = held.ok_or_else(Refusal::no_record)?.clone();
    let mut changed = child(tenant, Entity::TicketNotes, &body, ticket)?;
    for field in ["noteType", "publish"] {
        if is_blank(changed.get(field)) {
            return Err(Refusal::required(field));
        }
    }
    // The author stays.
    changed.remove("creatorResourceID");
    record.extend(changed);
    check(tenant, &record)?;
    record.insert("lastActivityDate".to_owned(), times::written(tenant.now()).into());
    tenant.put(Entity::TicketNotes, id, record);
    touch_ticket(tenant, ticket, author);
    Ok(Reply::item_id(id))
}

fn check(tenant: &Tenant, record: &Record) -> Checked<()> {
    require(Entity::TicketNotes, record)?;
    let settings = &tenant.options.settings;
    if settings.note_titles_required && is_blank(record.get("title")) {
        return Err(Refusal::new(400, "Missing Required Field: title"));
    }
    if integer(record, "publish") == Some(CO_MANAGED) && !settings.co_managed {
        return Err(Refusal::invalid("Picklist value [4] does not exist for publish"));
    }
    Ok(())
}
