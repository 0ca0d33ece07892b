//! A ticket as its customers see it: the "request" (zendesk.md d.9, e.2).

use serde_json::{Value, json};

use super::account::{Account, Ticket, TicketRecord};
use super::call::{Call, Outcome, Reply};

/// What a request has of its ticket.
const KEPT: &[&str] = &[
    "id",
    "subject",
    "description",
    "custom_status_id",
    "priority",
    "type",
    "requester_id",
    "assignee_id",
    "group_id",
    "organization_id",
    "collaborator_ids",
    "email_cc_ids",
    "created_at",
    "updated_at",
    "via",
    "due_at",
];

/// Only for the requester and those in copy: agents count as customers here (zendesk.md e.2).
pub(super) fn show(account: &Account, call: &Call, id: u64) -> Outcome {
    call.only_query(&[])?;
    if account.users.get(&call.caller).is_some_and(|user| user.unverified_secondary_email) {
        return Err(Reply::forbidden().into());
    }
    let record = of_customer(account, call.caller, id).ok_or_else(Reply::no_record)?;
    Ok(Reply::json(200, json!({"request": request_json(account, &record.ticket)})))
}

/// The ticket, if this person is its requester or in copy; `None` for a deleted one.
pub(super) fn of_customer(account: &Account, user: u64, id: u64) -> Option<&TicketRecord> {
    account.tickets.get(&id).filter(|record| takes_part(&record.ticket, user))
}

/// Ids of the tickets this person asked for, newest first.
pub(super) fn asked_by(account: &Account, user: u64) -> Vec<&TicketRecord> {
    let own = account.tickets.values().filter(|record| record.ticket.requester_id == user && record.ticket.status != "deleted");
    own.rev().collect()
}

fn takes_part(ticket: &Ticket, user: u64) -> bool {
    ticket.status != "deleted" && (ticket.requester_id == user || ticket.collaborator_ids.contains(&user))
}

/// Customers are not told that a ticket is new or on hold.
pub(super) fn status(ticket: &Ticket) -> &str {
    match ticket.status.as_str() {
        "new" | "hold" => "open",
        other => other,
    }
}

/// Titles and values of the fields that customers see.
pub(super) fn public_fields<'a>(account: &'a Account, ticket: &'a Ticket) -> impl Iterator<Item = (u64, &'a str, &'a Value)> {
    let shown = account.ticket_fields.values().filter(|field| !field.system && field.is_public());
    shown.map(|field| (field.id, field.title.as_str(), ticket.custom_fields.get(&field.id).unwrap_or(&Value::Null)))
}

fn request_json(account: &Account, ticket: &Ticket) -> Value {
    let mut request = ticket.json(&account.url);
    if let Some(members) = request.as_object_mut() {
        members.retain(|name, _| KEPT.contains(&name.as_str()));
    }
    let fields: Vec<Value> = public_fields(account, ticket).map(|(id, _, value)| json!({"id": id, "value": value})).collect();
    request["status"] = json!(status(ticket));
    request["custom_fields"] = json!(fields);
    request["fields"] = json!(fields);
    request["url"] = json!(format!("{}/api/v2/requests/{}.json", account.url, ticket.id));
    request["can_be_solved_by_me"] = json!(ticket.assignee_id.is_some());
    request["followup_source_id"] = Value::Null;
    request
}
