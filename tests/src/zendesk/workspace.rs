//! The agent workspace: plain pages that host the app's sidebar as the real one does, and the data they need.
//!
//! The `agent` in the query says who looks; there is no sign-in. `behaviour` (JSON) makes the page slow, silent or ignorant towards its app:
//! see `workspace/app-host.js` and `workspace/ticket.js`. Must stay on loopback.

use std::convert::Infallible;
use std::sync::Arc;

use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse as _, Response};
use futures_util::stream;
use serde_json::{Value, json};

use super::Shared;
use super::account::{Account, Draft, NewComment, Ticket, User, rfc3339};
use super::call::{Call, Outcome, Reply, only_keys};
use super::launch::{Location, launch};

const START: &str = include_str!("workspace/start.html");
const TICKET: &str = include_str!("workspace/ticket.html");
const FILES: &[(&str, &str, &str)] = &[
    ("workspace.css", "text/css; charset=utf-8", include_str!("workspace/workspace.css")),
    ("start.js", "text/javascript; charset=utf-8", include_str!("workspace/start.js")),
    ("ticket.js", "text/javascript; charset=utf-8", include_str!("workspace/ticket.js")),
    ("app-host.js", "text/javascript; charset=utf-8", include_str!("workspace/app-host.js")),
];
/// Frames and form targets may be anywhere: the app's server is another origin.
const PAGE_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
     img-src 'self' data:; frame-src *; form-action *; base-uri 'none'";

/// A ticket in a workspace path: a saved one, or the form of a new one.
fn ticket_in(segment: &str) -> Result<Option<u64>, Box<Reply>> {
    match segment {
        "new" => Ok(None),
        id => id.parse().map(Some).map_err(|_| Reply::no_endpoint().into()),
    }
}

/// Pages, their files and their data; `None` when the path is none of them.
pub(super) fn answer(account: &mut Account, call: &Call) -> Option<Outcome> {
    let segments: Vec<&str> = call.path.trim_matches('/').split('/').collect();
    Some(match (call.method.as_str(), segments.as_slice()) {
        ("GET", ["" | "agent"]) => Ok(page(START)),
        ("GET", ["favicon.ico"]) => Ok(Reply::empty(204)),
        ("GET", ["agent", "tickets", _]) => Ok(page(TICKET)),
        ("GET", ["agent", "files", name]) => file(name),
        ("GET", ["agent", "overview"]) => Ok(no_store(overview(account))),
        ("GET", ["agent", "data", ticket]) => data(account, call, ticket),
        ("POST", ["agent", "launch", ticket]) => launch_app(account, call, ticket),
        ("POST", ["agent", "tickets", "new"]) => create(account, call),
        ("POST", ["agent", "tickets", ticket, "comments"]) => reply(account, call, ticket),
        _ => return None,
    })
}

/// Tells a page about changes of its ticket (`ticket`) and about messages to the app (`notification`).
pub(super) fn events(shared: Arc<Shared>, call: &Call) -> Response {
    let (ticket, agent, told) = {
        let account = shared.account();
        let segment = call.path.rsplit('/').next().unwrap_or_default();
        let looked_up = ticket_in(segment).and_then(|ticket| {
            let agent = agent(&account, call)?;
            visible(&account, agent, ticket)?;
            Ok((ticket, agent.id))
        });
        match looked_up {
            Ok((ticket, agent)) => (ticket, agent, account.notifications.len()),
            Err(refusal) => return refusal.into_response(),
        }
    };
    let watch = Watch { changes: shared.line.changes.subscribe(), shared, ticket, agent, told, revision: None };
    let events = stream::unfold(watch, |mut watch| async move {
        loop {
            if let Some(event) = watch.next_event() {
                return Some((Ok::<_, Infallible>(event), watch));
            }
            watch.changes.changed().await.ok()?;
        }
    });
    Sse::new(events).keep_alive(KeepAlive::default()).into_response()
}

struct Watch {
    shared: Arc<Shared>,
    changes: tokio::sync::watch::Receiver<u64>,
    ticket: Option<u64>,
    agent: u64,
    /// How many messages to the app this page has been told.
    told: usize,
    revision: Option<u64>,
}

impl Watch {
    fn next_event(&mut self) -> Option<Event> {
        self.changes.mark_unchanged();
        let account = self.shared.account();
        let revision = self.ticket.and_then(|id| account.tickets.get(&id)).map(|record| record.revision);
        if revision.is_some() && revision != self.revision {
            self.revision = revision;
            return Some(Event::default().event("ticket").data("changed"));
        }
        while let Some(notification) = account.notifications.get(self.told) {
            self.told += 1;
            if notification.agent_id.is_none_or(|only| only == self.agent) {
                let message = json!({"event": notification.event, "body": notification.body});
                return Some(Event::default().event("notification").data(message.to_string()));
            }
        }
        None
    }
}

fn page(html: &'static str) -> Reply {
    no_store(
        Reply::bytes("text/html; charset=utf-8", html)
            .with("content-security-policy", PAGE_POLICY)
            .with("x-content-type-options", "nosniff"),
    )
}

fn file(name: &str) -> Outcome {
    match FILES.iter().find(|(known, ..)| *known == name) {
        Some((_, media_type, text)) => Ok(no_store(Reply::bytes(media_type, *text))),
        None => Err(Reply::no_endpoint().into()),
    }
}

fn no_store(reply: Reply) -> Reply {
    reply.with("cache-control", "no-store")
}

/// The agent of the query; without one, the first agent there is.
fn agent<'a>(account: &'a Account, call: &Call) -> Result<&'a User, Box<Reply>> {
    let wanted = call.query("agent");
    account
        .users
        .values()
        .filter(|user| user.is_agent() && !user.suspended)
        .filter(|user| wanted.is_none_or(|id| user.id.to_string() == id))
        // The administrator the API calls are done as looks at no tickets unless asked to.
        .max_by_key(|user| (user.email != account.options.api_email, u64::MAX - user.id))
        .ok_or_else(|| Reply::forbidden().into())
}

fn visible(account: &Account, agent: &User, ticket: Option<u64>) -> Result<(), Box<Reply>> {
    let Some(id) = ticket else {
        return Ok(());
    };
    let record = account.tickets.get(&id).ok_or_else(Reply::no_record)?;
    if account.may_see(agent, &record.ticket) { Ok(()) } else { Err(Reply::forbidden().into()) }
}

fn person_json(user: &User) -> Value {
    json!({
        "id": user.id, "name": user.name, "email": user.email, "locale": user.locale,
        "role": if user.is_agent() { "agent" } else { "end-user" },
        "light_agent": user.light_agent,
    })
}

fn agents_json(account: &Account) -> Vec<Value> {
    account
        .users
        .values()
        .filter(|user| user.is_agent() && !user.suspended)
        .filter(|user| user.email != account.options.api_email)
        .map(person_json)
        .collect()
}

fn overview(account: &Account) -> Reply {
    let tickets: Vec<Value> = account.tickets.values().map(|record| ticket_json(account, &record.ticket)).collect();
    Reply::json(200, json!({"subdomain": account.options.subdomain, "agents": agents_json(account), "tickets": tickets}))
}

fn ticket_json(account: &Account, ticket: &Ticket) -> Value {
    let person = |id: u64| account.users.get(&id).map(person_json);
    let fields: serde_json::Map<String, Value> = ticket.custom_fields.iter().map(|(id, value)| (id.to_string(), value.clone())).collect();
    json!({
        "id": ticket.id,
        "subject": ticket.subject,
        "description": ticket.description,
        "status": ticket.status,
        "priority": ticket.priority,
        "type": ticket.kind,
        "external_id": ticket.external_id,
        "tags": ticket.tags,
        "custom_fields": fields,
        "requester": person(ticket.requester_id),
        "assignee": ticket.assignee_id.and_then(person),
        "group": ticket.group_id.and_then(|id| account.groups.get(&id)),
        "organization": ticket.organization_id.and_then(|id| account.organizations.get(&id)),
        "created_at": rfc3339(ticket.created_at),
        "updated_at": rfc3339(ticket.updated_at),
    })
}

fn data(account: &Account, call: &Call, ticket: &str) -> Outcome {
    let ticket = ticket_in(ticket)?;
    let agent = agent(account, call)?;
    visible(account, agent, ticket)?;
    let record = ticket.and_then(|id| account.tickets.get(&id));
    let comments: Vec<Value> = record
        .into_iter()
        .flat_map(|record| &record.comments)
        .map(|comment| {
            let files: Vec<Value> = comment.attachments.iter().map(|file| file.json(&account.url)).collect();
            json!({
                "id": comment.id,
                "public": comment.public,
                "html": comment.html_body,
                "author": account.users.get(&comment.author_id).map(person_json),
                "attachments": files,
                "created_at": rfc3339(comment.created_at),
            })
        })
        .collect();
    Ok(no_store(Reply::json(
        200,
        json!({
            "subdomain": account.options.subdomain,
            "agent": person_json(agent),
            "agents": agents_json(account),
            "ticket": record.map(|record| ticket_json(account, &record.ticket)),
            "comments": comments,
        }),
    )))
}

fn launch_app(account: &Account, call: &Call, ticket: &str) -> Outcome {
    let ticket = ticket_in(ticket)?;
    let agent = agent(account, call)?;
    visible(account, agent, ticket)?;
    let (Some(app_url), true) = (&account.app_url, account.installation_enabled) else {
        return Ok(no_store(Reply::json(200, json!({"app_url": null}))));
    };
    let location = match ticket {
        Some(_) => Location::TicketSidebar,
        None => Location::NewTicketSidebar,
    };
    let scheme = match call.query("colorScheme") {
        Some("dark") => "dark",
        _ => "light",
    };
    let launch = launch(account, agent.id, location, scheme).map_err(|error| Reply::error(500, "InternalError", &error.to_string()))?;
    let mut context = json!({
        "instanceGuid": launch.app_guid.to_string(),
        "product": "support",
        "account": {"subdomain": account.options.subdomain},
        "location": location.name(),
    });
    // A ticket not saved has no id, and the key is absent (zendesk.md c.5).
    if let Some(id) = ticket {
        context["ticketId"] = json!(id);
    }
    Ok(no_store(Reply::json(
        200,
        json!({
            "app_url": app_url,
            "query": launch.query,
            "app_guid": launch.app_guid.to_string(),
            "token": launch.token,
            "metadata": {
                "appId": account.options.app_id,
                "installationId": account.options.installation_id,
                "name": account.options.installation_settings["name"].as_str().unwrap_or("Deskbridge"),
                "version": "1.0.0",
                "settings": account.options.installation_settings,
            },
            "context": context,
        }),
    )))
}

fn reply(account: &mut Account, call: &Call, ticket: &str) -> Outcome {
    let ticket = ticket_in(ticket)?;
    let agent = agent(account, call)?.clone();
    visible(account, &agent, ticket)?;
    let record = ticket.and_then(|id| account.tickets.get(&id)).ok_or_else(Reply::no_record)?;
    let comment = comment(call, &agent)?;
    let mut changed = record.ticket.clone();
    if comment.public == Some(true) && changed.status == "new" {
        "open".clone_into(&mut changed.status);
    }
    account.update_ticket(changed, Some(comment), agent.id, json!({}));
    Ok(Reply::json(201, json!({})))
}

fn create(account: &mut Account, call: &Call) -> Outcome {
    let agent = agent(account, call)?.clone();
    let opening = comment(call, &agent)?;
    let body = call.json()?;
    let field = |name: &str| {
        body.get(name)
            .and_then(Value::as_str)
            .map(|value| value.trim().to_owned())
            .filter(|value| !value.is_empty())
            .ok_or_else(|| Reply::invalid(name, "blank", "can't be blank"))
    };
    let (subject, email) = (field("subject")?, field("requester_email")?);
    let known = account.user_by_email(&email).map(|user| user.id);
    let requester_id = known.unwrap_or_else(|| {
        let name = email.split('@').next().unwrap_or_default().to_owned();
        account.add_user(User { name, email, ..User::default() })
    });
    let ticket =
        Ticket { subject, requester_id, assignee_id: Some(agent.id), group_id: agent.group_ids.first().copied(), ..Ticket::default() };
    let id = account.add_ticket(ticket, opening, agent.id, json!({}));
    Ok(Reply::json(201, json!({"id": id})))
}

fn comment(call: &Call, agent: &User) -> Result<NewComment, Box<Reply>> {
    let body = call.json()?;
    only_keys(&body, &["text", "public", "subject", "requester_email"], "the body")?;
    let text = body.get("text").and_then(Value::as_str).unwrap_or_default();
    if text.trim().is_empty() {
        return Err(Reply::invalid("text", "blank", "can't be blank").into());
    }
    let public = body.get("public").and_then(Value::as_bool) == Some(true);
    Ok(NewComment {
        author_id: agent.id,
        public: Some(public && !agent.light_agent),
        draft: Draft::Text(text.to_owned()),
        attachments: Vec::new(),
    })
}
