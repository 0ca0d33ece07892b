//! Who is signed in to the Help Center: a cookie with a random value.

use super::super::account::Account;
use super::super::call::{Call, Outcome, Reply};
use super::super::random_token;
use super::{HelpCenter, redirect};

/// Somebody's visit. It counts at the origin where it began, and nowhere else: browsers send the cookies of one port of a host to another
/// port of it, but those of one host name never to another.
#[derive(Clone, Debug)]
pub(in super::super) struct Session {
    pub user: u64,
    /// The `X-CSRF-Token` of calls that change something.
    pub authenticity_token: String,
    host_mapped: bool,
}

/// Two ports of one host share their cookies, so each origin has a name of its own.
fn cookie_name(host_mapped: bool) -> &'static str {
    if host_mapped { "_help_center_session" } else { "_zendesk_session" }
}

impl HelpCenter {
    /// The session that the call's cookie names; `None` when it is over, was opened elsewhere or is a suspended user's.
    pub(in super::super) fn session_of<'a>(&'a self, account: &Account, call: &Call) -> Option<&'a Session> {
        let session = self.sessions.get(call.cookie(cookie_name(call.host_mapped))?)?;
        let user = account.users.get(&session.user)?;
        (session.host_mapped == call.host_mapped && !user.suspended).then_some(session)
    }

    /// Name and value of the cookie of a new session.
    pub(super) fn open_session(&mut self, user: u64, host_mapped: bool) -> (&'static str, String) {
        let value = random_token();
        self.sessions.insert(value.clone(), Session { user, authenticity_token: random_token(), host_mapped });
        (cookie_name(host_mapped), value)
    }

    pub(super) fn close_sessions(&mut self) {
        self.sessions.clear();
    }
}

/// `GET /hc/test-sign-in?user=ID&return_to=/hc/…`
pub(super) fn sign_in(account: &mut Account, call: &Call) -> Outcome {
    call.only_query(&["user", "return_to"])?;
    let user: u64 = call.query("user").and_then(|id| id.parse().ok()).ok_or_else(|| Reply::bad_request("user must be an id"))?;
    let known = account.users.get(&user).ok_or_else(|| Reply::bad_request("there is no such user"))?;
    if known.suspended {
        return Err(Reply::forbidden().into());
    }
    let return_to = call.query("return_to").unwrap_or("/hc");
    let stays = return_to == "/hc" || return_to.starts_with("/hc/");
    if !stays || return_to.chars().any(|character| character.is_control() || character == '\\') {
        return Err(Reply::bad_request("return_to must be a page of the Help Center").into());
    }
    let (name, value) = account.help_center.open_session(user, call.host_mapped);
    Ok(redirect(return_to).with("set-cookie", format!("{name}={value}; Path=/; HttpOnly; SameSite=Lax")))
}

/// `GET /hc/test-sign-out`
pub(super) fn sign_out(account: &mut Account, call: &Call) -> Reply {
    let name = cookie_name(call.host_mapped);
    if let Some(value) = call.cookie(name) {
        account.help_center.sessions.remove(value);
    }
    redirect("/hc").with("set-cookie", format!("{name}=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax"))
}
