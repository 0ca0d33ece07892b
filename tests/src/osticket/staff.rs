//! The staff's side, `scp/`: sign-in, queue and ticket pages, the look-up and the lock, internal notes (osticket.md 2.14).

use axum::http::{Method, header};
use serde_json::{Value, json};

use super::desk::{Desk, EntryKind, LOCK_LIFE};
use super::pages::{self, Draft};
use super::web_server::{CRASH, Call, Reply};
use crate::extension::STAFF_POLICY;

const COOKIE: &str = "OSTSESSID";
/// Of the login page: it has no `'unsafe-eval'` (autotask-extension.md d.1).
const LOGIN_POLICY: &str = "frame-ancestors 'self'; script-src 'self' 'unsafe-inline'; object-src 'none'";

/// The answer, and the user name of the agent whose session it was.
pub(super) fn answer(desk: &mut Desk, call: &Call) -> (Reply, Option<String>) {
    let Some(page) = call.path.strip_prefix(&format!("{}scp/", desk.options.path)) else {
        return (not_found(), None);
    };
    if page == "login.php" {
        return (login(desk, call), None);
    }
    let ajax = page.strip_prefix("ajax.php/");
    let session = call.cookie(COOKIE).and_then(|id| desk.session(id).cloned());
    let Some((agent, csrf_token)) = session.and_then(|session| Some((session.agent?, session.csrf_token))) else {
        let refusal = if ajax.is_some() { Reply::new(403, "Must login: Authentication Required") } else { to_login(desk, call) };
        return (refusal, None);
    };
    let given = call.header("x-csrftoken").or_else(|| call.field("__CSRFToken__"));
    let asker = Asker { agent, csrf_token: &csrf_token };
    let reply = if call.method == Method::POST && given != Some(&csrf_token) {
        Reply::new(400, "Valid CSRF Token Required")
    } else {
        match (&call.method, ajax, page) {
            (&Method::GET, Some("tickets/lookup" | "tickets/number-lookup"), _) => look_up(desk, &asker, call),
            (&Method::GET, Some(path), _) => preview(desk, &asker, path),
            (&Method::POST, Some(path), _) => lock(desk, &asker, path),
            (&Method::GET, None, "" | "index.php" | "tickets.php") => tickets_page(desk, &asker, call),
            (&Method::POST, None, "tickets.php") => act(desk, &asker, call),
            _ => not_found(),
        }
    };
    (reply, Some(desk.agents[agent].user.clone()))
}

/// Somebody who is signed in.
struct Asker<'a> {
    agent: usize,
    csrf_token: &'a str,
}

fn not_found() -> Reply {
    Reply::new(404, "<!DOCTYPE html><title>404 Not Found</title><h1>Not Found</h1>")
}

// Signing in. Its wording and the fate of a wrong password are [recalled].

/// Remembers where he wanted to go.
fn to_login(desk: &mut Desk, call: &Call) -> Reply {
    let known = call.cookie(COOKIE).filter(|id| desk.session(id).is_some()).map(str::to_owned);
    let id = known.unwrap_or_else(|| desk.open_session(None));
    if let Some(session) = desk.session(&id)
        && call.method == Method::GET
    {
        session.destination = Some(call.address.clone());
    }
    with_cookie(desk, Reply::redirect(format!("{}scp/login.php", desk.options.path)), &id)
}

fn login(desk: &mut Desk, call: &Call) -> Reply {
    let known = call.cookie(COOKIE).filter(|id| desk.session(id).is_some()).map(str::to_owned);
    if call.method == Method::GET {
        let id = known.unwrap_or_else(|| desk.open_session(None));
        let page = login_page(desk, &id, "");
        return with_cookie(desk, page, &id);
    }
    let Some(id) = known else { return Reply::new(400, "Valid CSRF Token Required") };
    let session = desk.session(&id).cloned();
    let session = session.filter(|session| call.field("__CSRFToken__") == Some(&session.csrf_token));
    let Some(session) = session else { return Reply::new(400, "Valid CSRF Token Required") };
    let (user, password) = (call.field("userid").unwrap_or_default(), call.field("passwd").unwrap_or_default());
    let agent = desk.agents.iter().position(|agent| agent.user == user && agent.password == password);
    let is_login = call.field("do") == Some("scplogin");
    let Some(agent) = agent.filter(|_| is_login) else { return login_page(desk, &id, "Access denied") };
    // A session that was known before somebody signed in is worth nothing afterwards.
    desk.sessions.remove(&id);
    let id = desk.open_session(Some(agent));
    let destination = session.destination.unwrap_or_else(|| format!("{}scp/index.php", desk.options.path));
    with_cookie(desk, Reply::redirect(destination), &id)
}

fn login_page(desk: &mut Desk, id: &str, message: &str) -> Reply {
    let csrf_token = desk.session(id).map(|session| session.csrf_token.clone()).unwrap_or_default();
    Reply::new(200, pages::login(&csrf_token, message)).with(header::CONTENT_SECURITY_POLICY, LOGIN_POLICY)
}

fn with_cookie(desk: &Desk, reply: Reply, id: &str) -> Reply {
    reply.with(header::SET_COOKIE, format!("{COOKIE}={id}; Max-Age=1440; path={}; HttpOnly", desk.options.path))
}

// Pages

fn page(html: String) -> Reply {
    Reply::new(200, html).with(header::CONTENT_SECURITY_POLICY, STAFF_POLICY)
}

fn tickets_page(desk: &Desk, asker: &Asker<'_>, call: &Call) -> Reply {
    let by_number = |number: &str| desk.tickets.iter().find(|(_, held)| held.ticket.number == number).map(|(id, _)| *id);
    let asked = match (call.query("id"), call.query("number")) {
        (Some(id), _) => Some(id.parse().ok()),
        (None, Some(number)) => Some(by_number(number)),
        (None, None) => None,
    };
    if call.query("a").is_some() {
        return not_found();
    }
    match asked {
        None => queue(desk, asker, ""),
        Some(ticket) => ticket
            .and_then(|ticket| ticket_page(desk, asker, ticket, "", &Draft::default()))
            .unwrap_or_else(|| queue(desk, asker, "Ticket: Unknown or invalid ID.")),
    }
}

fn queue(desk: &Desk, asker: &Asker<'_>, error: &str) -> Reply {
    let agent = &desk.agents[asker.agent];
    let rows: Vec<_> = desk.all_visible(asker.agent).map(|(id, held)| (id, &held.ticket)).collect();
    page(pages::queue(&desk.options.path, &agent.first_name, asker.csrf_token, error, &rows))
}

fn ticket_page(desk: &Desk, asker: &Asker<'_>, ticket: u32, error: &str, draft: &Draft<'_>) -> Option<Reply> {
    let held = desk.visible(asker.agent, ticket)?;
    Some(page(pages::ticket(ticket, held, desk.options.rich_text, &desk.agents[asker.agent].first_name, asker.csrf_token, error, draft)))
}

// Internal notes

/// The words of refusals but the first are [recalled].
fn act(desk: &mut Desk, asker: &Asker<'_>, call: &Call) -> Reply {
    let ticket = call.field("id").or_else(|| call.query("id")).and_then(|id| id.parse().ok());
    let Some(ticket) = ticket.filter(|ticket| desk.visible(asker.agent, *ticket).is_some()) else {
        return queue(desk, asker, "Ticket: Unknown or invalid ID.");
    };
    let text = |name: &str| call.field(name).unwrap_or_default();
    let error = if text("a") == "postnote" { note_fault(desk, asker, ticket, call) } else { Some("You must select action to perform") };
    let Some(error) = error else {
        let author = desk.agents[asker.agent].name();
        desk.add_entry(ticket, EntryKind::Note, author, text("title"), text("note"));
        desk.unlock(ticket);
        if let Some(held) = desk.tickets.get_mut(&ticket) {
            held.draft.clear();
        }
        return Reply::redirect(format!("tickets.php?id={ticket}"));
    };
    // What was written comes back in the form.
    let draft = Draft { title: text("title"), note: text("note") };
    ticket_page(desk, asker, ticket, error, &draft).unwrap_or_else(not_found)
}

fn note_fault(desk: &Desk, asker: &Asker<'_>, ticket: u32, call: &Call) -> Option<&'static str> {
    if desk.options.locking {
        let code = call.field("lockCode").unwrap_or_default();
        match desk.lock_of(ticket) {
            None => return Some("This action requires a lock. Please try again!"),
            Some(lock) if lock.agent != asker.agent => return Some("Action Denied. Ticket is locked by someone else!"),
            Some(lock) if lock.code != code => return Some("Your lock has expired. Please try again!"),
            Some(_) => {}
        }
    }
    call.field("note").is_none_or(|note| note.trim().is_empty()).then_some("Note details required")
}

// AJAX

fn lock(desk: &mut Desk, asker: &Asker<'_>, path: &str) -> Reply {
    if let Some(id) = path.strip_prefix("lock/").and_then(|path| path.strip_suffix("/release")) {
        return id.parse().ok().map_or_else(not_found, |id| Reply::new(200, if desk.release(id, asker.agent) { "1" } else { "0" }));
    }
    let Some(ticket) = path.strip_prefix("lock/ticket/").and_then(|id| id.parse().ok()) else { return not_found() };
    if !desk.options.locking {
        return Reply::new(418, "");
    }
    if desk.visible(asker.agent, ticket).is_none() {
        return Reply::new(200, json!({ "id": 0, "retry": false, "msg": "Lock denied!" }).to_string());
    }
    let now = desk.now();
    let lock = match desk.lock_of(ticket).cloned() {
        Some(lock) if lock.agent != asker.agent => {
            let avatar = "<img  class=\"avatar\" alt=\"Avatar\" src=\"data:,\" />";
            let msg = format!("Currently locked by {avatar}{}", desk.agents[lock.agent].name());
            return Reply::new(200, json!({ "id": 0, "retry": false, "msg": msg }).to_string());
        }
        // The bug: renewed in the second in which it was taken or renewed, it crashes.
        Some(lock) if lock.renewed.unix_timestamp() == now.unix_timestamp() => return Reply::new(500, CRASH),
        Some(_) => desk.renew(ticket),
        None => desk.lock(ticket, asker.agent),
    };
    Reply::new(200, json!({ "id": lock.id, "time": LOCK_LIFE.as_secs(), "code": lock.code }).to_string())
}

/// By number, name or address; then rows of the requesters (osticket.md 3.3).
fn look_up(desk: &Desk, asker: &Asker<'_>, call: &Call) -> Reply {
    let wanted = call.query("q").unwrap_or_default();
    if wanted.is_empty() {
        return Reply::new(200, "[]");
    }
    let lower = wanted.to_lowercase();
    let is_wanted = |text: &str| text.to_lowercase().contains(&lower);
    let found: Vec<_> = desk
        .all_visible(asker.agent)
        .filter(|(_, held)| {
            [&held.ticket.number, &held.ticket.requester_email, &held.ticket.requester_name].iter().any(|text| is_wanted(text))
        })
        .collect();
    let mut rows: Vec<Value> = Vec::new();
    for (id, held) in &found {
        let (number, email) = (&held.ticket.number, &held.ticket.requester_email);
        rows.push(json!({
            "id": number, "value": number, "ticket_id": id, "info": format!("{number} \u{2014} {email}"), "subject": held.ticket.subject,
            "user": held.ticket.requester_name, "tasks": 0, "thread_id": id, "collaborators": 0, "entries": held.entries.len(),
            "mergeType": "visual", "children": false, "matches": wanted,
        }));
    }
    let mut people: Vec<&str> = found.iter().map(|(_, held)| held.ticket.requester_email.as_str()).collect();
    people.sort_unstable();
    for same in people.chunk_by(|one, other| one == other) {
        let (email, count) = (same[0], same.len());
        rows.push(json!({ "email": email, "value": email, "info": format!("{email} ({count})"), "matches": wanted }));
    }
    Reply::new(200, Value::from(rows).to_string())
}

fn preview(desk: &Desk, asker: &Asker<'_>, path: &str) -> Reply {
    let id = path.strip_prefix("tickets/").and_then(|rest| rest.strip_suffix("/preview")).and_then(|id| id.parse().ok());
    id.and_then(|id: u32| desk.visible(asker.agent, id)).map_or_else(not_found, |held| Reply::new(200, pages::preview(&held.ticket)))
}
