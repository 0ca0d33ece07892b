//! Users, groups, organisations, and search (zendesk.md d.9).

use serde_json::{Value, json};

use super::account::{Account, Ticket, TicketAccess, User, merged};
use super::call::{Call, Outcome, PAGING, Reply, paged};

/// Search ends here (zendesk.md d.12).
const SEARCH_END: usize = 1000;

pub(super) fn show(account: &Account, id: u64) -> Outcome {
    let user = account.users.get(&id).ok_or_else(Reply::no_record)?;
    Ok(Reply::json(200, json!({"user": user.json(&account.url)})))
}

/// The caller; an anonymous one gets an anonymous user.
pub(super) fn show_self(account: &Account, call: &Call) -> Reply {
    let user = match account.users.get(&call.caller) {
        Some(user) => {
            let token = call.session.as_ref().map_or_else(super::random_token, |session| session.authenticity_token.clone());
            merged(user.json(&account.url), json!({"authenticity_token": token}))
        }
        None => json!({
            "id": null, "name": "Anonymous user", "email": "invalid@example.com", "role": "end-user",
            "locale": "en-US", "verified": false, "suspended": false, "authenticity_token": null,
        }),
    };
    Reply::json(200, json!({"user": user}))
}

pub(super) fn search_users(account: &Account, call: &Call) -> Outcome {
    call.only_query(&["query", "external_id", "page", "per_page"])?;
    let matches: Box<dyn Fn(&User) -> bool> = match (call.query("query"), call.query("external_id")) {
        (Some(query), None) => {
            let wanted = query.trim_start_matches("email:").trim_matches('"').to_lowercase();
            Box::new(move |user| user.email.to_lowercase().contains(&wanted) || user.name.to_lowercase().contains(&wanted))
        }
        (None, Some(external_id)) => {
            let wanted = external_id.to_owned();
            Box::new(move |user| user.external_id.as_ref() == Some(&wanted))
        }
        _ => return Err(Reply::bad_request("query or external_id is needed").into()),
    };
    let found = account.users.values().filter(|user| matches(user)).map(|user| user.json(&account.url)).collect();
    paged(call, &account.url, "users", found)
}

pub(super) fn group_memberships(account: &Account, call: &Call, id: u64) -> Outcome {
    call.only_query(PAGING)?;
    let user = account.users.get(&id).ok_or_else(Reply::no_record)?;
    let rows = memberships(user.id, &user.group_ids, "group_id");
    paged(call, &account.url, "group_memberships", rows)
}

pub(super) fn organization_memberships(account: &Account, call: &Call, id: u64) -> Outcome {
    call.only_query(PAGING)?;
    let user = account.users.get(&id).ok_or_else(Reply::no_record)?;
    let rows = memberships(user.id, &user.organization_ids, "organization_id");
    paged(call, &account.url, "organization_memberships", rows)
}

fn memberships(user: u64, of: &[u64], key: &str) -> Vec<Value> {
    of.iter()
        .enumerate()
        .map(|(at, other)| json!({"id": user * 1000 + at as u64, "user_id": user, key: other, "default": at == 0}))
        .collect()
}

pub(super) fn groups(account: &Account, call: &Call) -> Outcome {
    call.only_query(PAGING)?;
    let groups = account.groups.keys().map(|id| group_json(account, *id)).collect();
    paged(call, &account.url, "groups", groups)
}

pub(super) fn group(account: &Account, call: &Call, id: u64) -> Outcome {
    call.only_query(&[])?;
    account.groups.get(&id).ok_or_else(Reply::no_record)?;
    Ok(Reply::json(200, json!({"group": group_json(account, id)})))
}

fn group_json(account: &Account, id: u64) -> Value {
    json!({
        "id": id, "name": account.groups.get(&id), "description": "", "default": false, "deleted": false,
        "is_public": !account.private_groups.contains(&id),
        "url": format!("{}/api/v2/groups/{id}.json", account.url),
    })
}

pub(super) fn organization(account: &Account, call: &Call, id: u64) -> Outcome {
    call.only_query(&[])?;
    let name = account.organizations.get(&id).ok_or_else(Reply::no_record)?;
    let organization = json!({
        "id": id, "name": name, "url": format!("{}/api/v2/organizations/{id}.json", account.url),
        "details": null, "notes": null, "group_id": null, "external_id": null, "domain_names": [],
        "shared_tickets": false, "shared_comments": false, "tags": [], "organization_fields": {},
    });
    Ok(Reply::json(200, json!({"organization": organization})))
}

pub(super) fn custom_roles(account: &Account, call: &Call) -> Outcome {
    call.only_query(PAGING)?;
    let roles = account.custom_roles.iter().map(|(id, access)| custom_role_json(*id, *access)).collect();
    paged(call, &account.url, "custom_roles", roles)
}

pub(super) fn custom_role(account: &Account, call: &Call, id: u64) -> Outcome {
    call.only_query(&[])?;
    let access = account.custom_roles.get(&id).ok_or_else(Reply::no_record)?;
    Ok(Reply::json(200, json!({"custom_role": custom_role_json(id, *access)})))
}

/// A part of what a role may do.
fn custom_role_json(id: u64, access: TicketAccess) -> Value {
    json!({
        "id": id, "name": "Technicians", "description": "", "role_type": 0, "team_member_count": 1,
        "configuration": {"ticket_access": access.name(), "ticket_editing": true, "ticket_comment_access": "public"},
    })
}

/// Tickets and users by `type:`, `external_id:`, `status:`, `tags:`, `requester:`, `custom_field_N:` and free words.
pub(super) fn search(account: &Account, call: &Call) -> Outcome {
    call.only_query(&["query", "page", "per_page", "sort_order"])?;
    let query =
        call.query("query").filter(|query| !query.trim().is_empty()).ok_or_else(|| Reply::error(422, "invalid", "query is missing"))?;
    let page: usize = call.query("page").and_then(|page| page.parse().ok()).unwrap_or(1);
    let per_page: usize = call.query("per_page").and_then(|size| size.parse().ok()).unwrap_or(100);
    if page.saturating_mul(per_page) > SEARCH_END {
        return Err(Reply::error(422, "invalid", "Invalid search: requested response size was greater than Search Response Limits").into());
    }
    let terms = terms(query);
    let kind = terms.iter().find(|term| term.0 == "type").map(|t| &t.1);
    let caller = account.users.get(&call.caller).ok_or_else(Reply::unauthorized)?;
    let mut results = Vec::new();
    if kind.is_none_or(|kind| kind == "ticket") {
        let indexed_until = account.now() - account.options.search_lag;
        results.extend(
            account
                .tickets
                .values()
                .map(|record| &record.ticket)
                .filter(|ticket| ticket.updated_at <= indexed_until)
                .filter(|ticket| account.may_see(caller, ticket))
                .filter(|ticket| terms.iter().all(|term| ticket_matches(account, ticket, term)))
                .map(|ticket| merged(ticket.json(&account.url), json!({"result_type": "ticket"}))),
        );
    }
    if kind.is_none_or(|kind| kind == "user") {
        results.extend(
            account
                .users
                .values()
                .filter(|user| terms.iter().all(|term| user_matches(user, term)))
                .map(|user| merged(user.json(&account.url), json!({"result_type": "user"}))),
        );
    }
    paged(call, &account.url, "results", results)
}

/// `name:value` pairs; free words have an empty name. Values are lower case, quotes keep blanks together.
fn terms(query: &str) -> Vec<(String, String)> {
    let mut words = vec![String::new()];
    let mut quoted = false;
    for character in query.chars() {
        match character {
            '"' => quoted = !quoted,
            c if c.is_whitespace() && !quoted => words.push(String::new()),
            c => words.last_mut().into_iter().for_each(|word| word.push(c)),
        }
    }
    words
        .iter()
        .filter(|word| !word.is_empty())
        .map(|word| match word.split_once(':') {
            Some((name, value)) => (name.to_lowercase(), value.to_lowercase()),
            None => (String::new(), word.to_lowercase()),
        })
        .collect()
}

fn ticket_matches(account: &Account, ticket: &Ticket, (name, value): &(String, String)) -> bool {
    let requester = || account.users.get(&ticket.requester_id);
    match name.as_str() {
        "type" => true,
        "" => {
            ticket.subject.to_lowercase().contains(value)
                || ticket.description.to_lowercase().contains(value)
                || ticket.id.to_string() == *value
        }
        "external_id" => ticket.external_id.as_ref().is_some_and(|id| id.to_lowercase() == *value),
        "status" => ticket.status == *value,
        "tags" => ticket.tags.iter().any(|tag| tag == value),
        "requester" => requester().is_some_and(|user| {
            user.email.to_lowercase() == *value || user.name.to_lowercase().contains(value) || user.id.to_string() == *value
        }),
        field => field
            .strip_prefix("custom_field_")
            .and_then(|id| ticket.custom_fields.get(&id.parse().ok()?))
            .filter(|held| !held.is_null())
            .is_some_and(|held| held.as_str().map_or_else(|| held.to_string(), str::to_lowercase) == *value),
    }
}

fn user_matches(user: &User, (name, value): &(String, String)) -> bool {
    match name.as_str() {
        "type" => true,
        "" => user.name.to_lowercase().contains(value) || user.email.to_lowercase() == *value,
        "email" => user.email.to_lowercase() == *value,
        "external_id" => user.external_id.as_ref().is_some_and(|id| id.to_lowercase() == *value),
        _ => false,
    }
}
