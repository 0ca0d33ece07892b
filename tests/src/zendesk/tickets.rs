//! Tickets, comments, audits and tags over REST (zendesk.md d.2 to d.8).
//!
//! Everything is checked before anything changes: a refused call leaves no trace.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use time::format_description::well_known::Rfc3339;
use time::{Duration, OffsetDateTime};

use super::account::{Account, COMMENT_LIMIT, Draft, NewComment, Remembered, Ticket, TicketRecord, User, merged};
use super::call::{Call, Outcome, PAGING, Reply, only_keys, paged};

/// Kept but not understood here; given back as they were sent.
const ONLY_KEPT: &[&str] = &[
    "assignee_email",
    "attribute_value_ids",
    "brand_id",
    "collaborators",
    "custom_status_id",
    "due_at",
    "email_ccs",
    "follower_ids",
    "followers",
    "problem_id",
    "recipient",
    "sharing_agreement_ids",
    "ticket_form_id",
];
const SET_BY_UPDATE: &[&str] = &[
    "assignee_id",
    "collaborator_ids",
    "comment",
    "custom_fields",
    "external_id",
    "group_id",
    "metadata",
    "organization_id",
    "priority",
    "requester_id",
    "safe_update",
    "status",
    "subject",
    "tags",
    "type",
    "updated_stamp",
];
const SET_BY_CREATE: &[&str] = &[
    "assignee_id",
    "collaborator_ids",
    "comment",
    "custom_fields",
    "external_id",
    "group_id",
    "metadata",
    "organization_id",
    "priority",
    "requester",
    "requester_id",
    "status",
    "subject",
    "submitter_id",
    "tags",
    "type",
    "via_followup_source_id",
];
const STATUSES: &[&str] = &["new", "open", "pending", "hold", "solved", "closed"];
const PRIORITIES: &[&str] = &["urgent", "high", "normal", "low"];
const KINDS: &[&str] = &["problem", "incident", "question", "task"];
const IDEMPOTENCY_LIFE: Duration = Duration::hours(2);
const IDEMPOTENCY_KEY_MAX: usize = 255;

type Checked<T> = Result<T, Box<Reply>>;

pub(super) fn list(account: &Account, call: &Call) -> Outcome {
    call.only_query(&[PAGING, &["external_id"]].concat())?;
    let caller = caller(account, call)?;
    let found = account
        .tickets
        .values()
        .map(|record| &record.ticket)
        .filter(|ticket| account.may_see(caller, ticket))
        .filter(|ticket| match call.query("external_id") {
            Some(wanted) => ticket.external_id.as_deref() == Some(wanted),
            None => true,
        })
        .map(|ticket| ticket.json(&account.url))
        .collect();
    paged(call, &account.url, "tickets", found)
}

pub(super) fn show(account: &Account, call: &Call, id: u64) -> Outcome {
    call.only_query(&[])?;
    let record = visible(account, call, id)?;
    Ok(Reply::json(200, json!({"ticket": record.ticket.json(&account.url)})))
}

pub(super) fn create(account: &mut Account, call: &Call) -> Outcome {
    call.only_query(&[])?;
    let key = idempotency_key(call)?;
    let now = account.now();
    account.remembered.retain(|_, remembered| remembered.at + IDEMPOTENCY_LIFE > now);
    if let Some(key) = &key
        && let Some(remembered) = account.remembered.get(key)
    {
        if remembered.body != call.body {
            return Err(Reply::json(
                400,
                json!({"errors": [{
                    "code": "IdempotentRequestError",
                    "title": "Request parameters don't match the given idempotency key",
                }]}),
            )
            .into());
        }
        return Ok(created(account, remembered.answer.clone(), remembered.ticket).with("x-idempotency-lookup", "hit"));
    }

    let fields = ticket_object(call, SET_BY_CREATE)?;
    let mut ticket = Ticket { status: "new".to_owned(), requester_id: call.caller, ..Ticket::default() };
    if let Some(source) = fields.get("via_followup_source_id") {
        let closed = source.as_u64().and_then(|id| account.tickets.get(&id)).is_some_and(|record| record.ticket.status == "closed");
        if !closed {
            return Err(Reply::invalid("via_followup_source_id", "invalid", "is not a closed ticket").into());
        }
        ticket.other.insert("followup_source_id".to_owned(), source.clone());
    }
    let new_requester = match fields.get("requester") {
        Some(requester) => Some(requester_of(requester)?),
        None => None,
    };
    apply(account, &mut ticket, &fields)?;
    if ticket.assignee_id.is_some() && ticket.status == "new" {
        "open".clone_into(&mut ticket.status);
    }
    let comment = fields.get("comment").ok_or_else(|| Reply::invalid("base", "blank", "Description: cannot be blank"))?;
    let mut opening = comment_of(account, call, comment)?;
    let metadata = metadata_of(&fields)?;
    let known = new_requester.as_ref().and_then(|(_, email)| account.user_by_email(email));
    if let Some(suspended) = known.filter(|user| user.suspended) {
        return Err(Reply::invalid("requester", "suspended", &format!("Requester: {} is suspended.", suspended.name)).into());
    }
    // From here on nothing is refused.
    if let Some((name, email)) = new_requester {
        let known = account.user_by_email(&email).map(|user| user.id);
        ticket.requester_id = known.unwrap_or_else(|| account.add_user(User { name, email, ..User::default() }));
    }
    if comment.get("author_id").is_none() {
        opening.author_id = ticket.requester_id;
    }
    consume_uploads(account, comment);
    let id = account.add_ticket(ticket, opening, call.caller, metadata);
    let record = &account.tickets[&id];
    let answer = json!({
        "ticket": record.ticket.json(&account.url),
        "audit": record.audits[0].json(id),
    });
    let reply = created(account, answer.clone(), id);
    let Some(key) = key else {
        return Ok(reply);
    };
    account.remembered.insert(key, Remembered { body: call.body.clone(), answer, ticket: id, at: now });
    Ok(reply.with("x-idempotency-lookup", "miss"))
}

pub(super) fn update(account: &mut Account, call: &Call, id: u64) -> Outcome {
    call.only_query(&[])?;
    let record = visible(account, call, id)?;
    let fields = ticket_object(call, SET_BY_UPDATE)?;
    refuse_closed(&record.ticket)?;
    refuse_stale(&record.ticket, &fields)?;
    let full = record.comments.len() >= COMMENT_LIMIT;
    let mut ticket = record.ticket.clone();
    apply(account, &mut ticket, &fields)?;
    let comment = fields.get("comment").map(|comment| comment_of(account, call, comment)).transpose()?;
    if comment.is_some() && full {
        return Err(Reply::invalid("base", "too_many_comments", "The ticket has reached its limit of 5000 comments").into());
    }
    let metadata = metadata_of(&fields)?;
    // From here on nothing is refused.
    if let Some(comment) = fields.get("comment") {
        consume_uploads(account, comment);
    }
    let audit = account.update_ticket(ticket, comment, call.caller, metadata);
    let ticket = json!({"ticket": account.tickets[&id].ticket.json(&account.url)});
    Ok(Reply::json(
        200,
        match audit {
            Some(audit) => merged(ticket, json!({"audit": audit.json(id)})),
            None => ticket,
        },
    ))
}

pub(super) fn comments(account: &Account, call: &Call, id: u64) -> Outcome {
    call.only_query(&[PAGING, &["include_inline_images"]].concat())?;
    let record = visible(account, call, id)?;
    let comments = record.comments.iter().map(|c| c.json(&account.url)).collect();
    paged(call, &account.url, "comments", comments)
}

pub(super) fn audits(account: &Account, call: &Call, id: u64) -> Outcome {
    call.only_query(PAGING)?;
    let record = visible(account, call, id)?;
    let audits = record.audits.iter().map(|audit| audit.json(id)).collect();
    paged(call, &account.url, "audits", audits)
}

pub(super) fn tags(account: &Account, call: &Call, id: u64) -> Outcome {
    call.only_query(&[])?;
    let record = visible(account, call, id)?;
    Ok(Reply::json(200, json!({"tags": record.ticket.tags})))
}

/// What a call does with the tags it names.
#[derive(Clone, Copy, Debug)]
pub(super) enum TagChange {
    Add,
    Set,
    Remove,
}

pub(super) fn change_tags(account: &mut Account, call: &Call, id: u64, change: TagChange) -> Outcome {
    call.only_query(&[])?;
    let record = visible(account, call, id)?;
    let body = call.json()?;
    only_keys(&body, &["tags", "safe_update", "updated_stamp"], "the body")?;
    let named = tag_list(body.get("tags").unwrap_or(&Value::Null))?;
    refuse_closed(&record.ticket)?;
    refuse_stale(&record.ticket, &body)?;
    let mut ticket = record.ticket.clone();
    match change {
        TagChange::Add => ticket.tags.extend(named),
        TagChange::Set => ticket.tags = named,
        TagChange::Remove => ticket.tags.retain(|tag| !named.contains(tag)),
    }
    ticket.tags.sort();
    ticket.tags.dedup();
    let tags = ticket.tags.clone();
    account.update_ticket(ticket, None, call.caller, json!({}));
    let status = if matches!(change, TagChange::Set) { 201 } else { 200 };
    Ok(Reply::json(status, json!({"tags": tags})))
}

fn caller<'a>(account: &'a Account, call: &Call) -> Checked<&'a User> {
    account.users.get(&call.caller).ok_or_else(|| Reply::unauthorized().into())
}

fn visible<'a>(account: &'a Account, call: &Call, id: u64) -> Checked<&'a TicketRecord> {
    let record = account.tickets.get(&id).ok_or_else(Reply::no_record)?;
    if account.may_see(caller(account, call)?, &record.ticket) { Ok(record) } else { Err(Reply::forbidden().into()) }
}

fn created(account: &Account, answer: Value, id: u64) -> Reply {
    Reply::json(201, answer).with("location", format!("{}/api/v2/tickets/{id}.json", account.url))
}

fn idempotency_key(call: &Call) -> Checked<Option<(u64, String)>> {
    match call.header("idempotency-key") {
        None => Ok(None),
        Some(key) if (1..=IDEMPOTENCY_KEY_MAX).contains(&key.len()) => Ok(Some((call.caller, key.to_owned()))),
        Some(_) => Err(Reply::bad_request("Idempotency-Key must have 1 to 255 characters").into()),
    }
}

fn ticket_object(call: &Call, known: &[&str]) -> Checked<Map<String, Value>> {
    let mut body = call.json()?;
    only_keys(&body, &["ticket"], "the body")?;
    let Some(Value::Object(ticket)) = body.remove("ticket") else {
        return Err(Reply::bad_request("\"ticket\" must be an object").into());
    };
    only_keys(&ticket, &[known, ONLY_KEPT].concat(), "ticket")?;
    Ok(ticket)
}

fn refuse_closed(ticket: &Ticket) -> Checked<()> {
    if ticket.status == "deleted" {
        return Err(Reply::no_record().into());
    }
    if ticket.status == "closed" {
        return Err(Reply::invalid("status", "invalid", "Status: closed prevents ticket update").into());
    }
    Ok(())
}

/// `safe_update`, even when it is `false`, makes the account compare `updated_stamp` (zendesk.md d.4).
fn refuse_stale(ticket: &Ticket, fields: &Map<String, Value>) -> Checked<()> {
    let Some(safe) = fields.get("safe_update") else {
        return Ok(());
    };
    if !safe.is_boolean() {
        return Err(Reply::bad_request("safe_update must be true or false").into());
    }
    let stamp = fields
        .get("updated_stamp")
        .and_then(Value::as_str)
        .and_then(|text| OffsetDateTime::parse(text, &Rfc3339).ok())
        .ok_or_else(|| Reply::bad_request("safe_update needs an RFC 3339 updated_stamp"))?;
    if stamp < ticket.updated_at {
        return Err(Reply::error(
            409,
            "UpdateConflict",
            "Safe Update prevented the update due to outdated ticket data. Please fetch the latest ticket data and try again.",
        )
        .into());
    }
    Ok(())
}

fn apply(account: &Account, ticket: &mut Ticket, fields: &Map<String, Value>) -> Checked<()> {
    for (name, value) in fields {
        match name.as_str() {
            "subject" => ticket.subject = text(name, value)?,
            "status" => ticket.status = one_of(name, value, STATUSES)?,
            "priority" => ticket.priority = optional(value, |v| one_of(name, v, PRIORITIES))?,
            "type" => ticket.kind = optional(value, |v| one_of(name, v, KINDS))?,
            "external_id" => ticket.external_id = optional(value, |v| text(name, v))?,
            "requester_id" => ticket.requester_id = person(account, name, value)?,
            "assignee_id" => {
                ticket.assignee_id = optional(value, |v| {
                    let id = person(account, name, v)?;
                    if account.users[&id].is_agent() { Ok(id) } else { Err(Reply::invalid(name, "invalid", "is not an agent").into()) }
                })?;
            }
            "group_id" => {
                ticket.group_id = optional(value, |v| known_id(name, v, |id| account.groups.contains_key(&id)))?;
            }
            "organization_id" => {
                ticket.organization_id = optional(value, |v| known_id(name, v, |id| account.organizations.contains_key(&id)))?;
            }
            "collaborator_ids" => {
                ticket.collaborator_ids = list_of(name, value)?.iter().map(|v| person(account, name, v)).collect::<Checked<_>>()?;
            }
            // Replaces all tags (zendesk.md d.3).
            "tags" => {
                ticket.tags = tag_list(value)?;
                ticket.tags.sort();
                ticket.tags.dedup();
            }
            // Only the fields named change. One that the account does not have is overlooked, without a word [recalled].
            "custom_fields" => {
                let known = custom_fields(value)?.into_iter().filter(|(id, _)| account.has_custom_field(*id));
                ticket.custom_fields.extend(known);
            }
            kept if ONLY_KEPT.contains(&kept) => {
                ticket.other.insert(name.clone(), value.clone());
            }
            // Handled by the callers.
            _ => {}
        }
    }
    Ok(())
}

fn comment_of(account: &Account, call: &Call, comment: &Value) -> Checked<NewComment> {
    let Value::Object(comment) = comment else {
        return Err(Reply::bad_request("\"comment\" must be an object").into());
    };
    only_keys(comment, &["author_id", "body", "html_body", "public", "uploads"], "comment")?;
    let draft = match (comment.get("body"), comment.get("html_body")) {
        (Some(_), Some(_)) => {
            return Err(Reply::bad_request("a comment has body or html_body, not both").into());
        }
        (Some(body), None) => Draft::Text(text("body", body)?),
        (None, Some(html)) => Draft::Html(text("html_body", html)?),
        (None, None) => return Err(Reply::invalid("comment", "blank", "can't be blank").into()),
    };
    let public = match comment.get("public") {
        None => None,
        Some(Value::Bool(public)) => Some(*public),
        Some(_) => return Err(Reply::bad_request("public must be true or false").into()),
    };
    let author_id = match comment.get("author_id") {
        None => call.caller,
        Some(author) => person(account, "author_id", author)?,
    };
    let mut attachments = Vec::new();
    for token in uploads_of(comment)? {
        let upload = account
            .uploads
            .get(token)
            .filter(|upload| upload.expires_at > account.now())
            .ok_or_else(|| Reply::invalid("uploads", "invalid", "the token is not valid"))?;
        attachments.extend(upload.files.iter().cloned());
    }
    Ok(NewComment { author_id, public, draft, attachments })
}

/// A token works once.
fn consume_uploads(account: &mut Account, comment: &Value) {
    let tokens = comment["uploads"].as_array().into_iter().flatten();
    for token in tokens.filter_map(Value::as_str) {
        account.uploads.remove(token);
    }
}

fn uploads_of(comment: &Map<String, Value>) -> Checked<Vec<&str>> {
    let Some(uploads) = comment.get("uploads") else {
        return Ok(Vec::new());
    };
    let tokens: Option<Vec<&str>> = uploads.as_array().and_then(|tokens| tokens.iter().map(Value::as_str).collect());
    tokens.ok_or_else(|| Reply::bad_request("uploads must be a list of tokens").into())
}

fn metadata_of(fields: &Map<String, Value>) -> Checked<Value> {
    match fields.get("metadata") {
        None => Ok(json!({})),
        Some(metadata) if metadata.is_object() => Ok(metadata.clone()),
        Some(_) => Err(Reply::bad_request("metadata must be an object").into()),
    }
}

fn requester_of(requester: &Value) -> Checked<(String, String)> {
    let Value::Object(requester) = requester else {
        return Err(Reply::bad_request("\"requester\" must be an object").into());
    };
    only_keys(requester, &["name", "email", "locale_id"], "requester")?;
    let field = |name: &str| requester.get(name).and_then(Value::as_str).filter(|value| !value.trim().is_empty()).map(str::to_owned);
    let email = field("email")
        .filter(|email| email.contains('@'))
        .ok_or_else(|| Reply::invalid("requester", "invalid", "Email: is not properly formatted"))?;
    let name = field("name").ok_or_else(|| Reply::invalid("requester", "blank", "Requester: Name: is too short"))?;
    Ok((name, email))
}

fn tag_list(value: &Value) -> Checked<Vec<String>> {
    list_of("tags", value)?.iter().map(|tag| text("tags", tag)).collect()
}

fn custom_fields(value: &Value) -> Checked<BTreeMap<u64, Value>> {
    let mut fields = BTreeMap::new();
    for field in list_of("custom_fields", value)? {
        let Value::Object(field) = field else {
            return Err(Reply::bad_request("custom_fields holds objects").into());
        };
        only_keys(field, &["id", "value"], "custom_fields")?;
        let id = known_id("custom_fields", field.get("id").unwrap_or(&Value::Null), |_| true)?;
        fields.insert(id, field.get("value").cloned().unwrap_or(Value::Null));
    }
    Ok(fields)
}

fn list_of<'a>(name: &str, value: &'a Value) -> Checked<&'a [Value]> {
    match value.as_array() {
        Some(list) => Ok(list),
        None => Err(Reply::bad_request(&format!("{name} must be a list")).into()),
    }
}

fn text(name: &str, value: &Value) -> Checked<String> {
    match value.as_str() {
        Some(text) if !text.trim().is_empty() => Ok(text.to_owned()),
        Some(_) => Err(Reply::invalid(name, "blank", "can't be blank").into()),
        None => Err(Reply::bad_request(&format!("{name} must be a string")).into()),
    }
}

fn one_of(name: &str, value: &Value, known: &[&str]) -> Checked<String> {
    match value.as_str() {
        Some(text) if known.contains(&text) => Ok(text.to_owned()),
        _ => Err(Reply::invalid(name, "invalid", " is not properly formatted").into()),
    }
}

fn optional<T>(value: &Value, read: impl FnOnce(&Value) -> Checked<T>) -> Checked<Option<T>> {
    if value.is_null() { Ok(None) } else { read(value).map(Some) }
}

fn person(account: &Account, name: &str, value: &Value) -> Checked<u64> {
    known_id(name, value, |id| account.users.contains_key(&id))
}

fn known_id(name: &str, value: &Value, known: impl Fn(u64) -> bool) -> Checked<u64> {
    value.as_u64().filter(|id| known(*id)).ok_or_else(|| Reply::invalid(name, "invalid", "is invalid").into())
}
