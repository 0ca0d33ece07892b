//! The session's id on the wire: a `__Host-` cookie with `Partitioned`, or the same id as bearer from page memory. A bearer counts before a
//! cookie: it is this page's own session, and the browser's cookie may be another page's.
//!
//! tower-sessions writes neither `Partitioned` nor a removal cookie that browsers would accept for a `__Host-` name
//! (stack.md 1), so its Set-Cookie lines are rebuilt here.

use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::middleware::Next;
use axum::response::Response;
use cookie::{Cookie, SameSite};
use tower_sessions::SessionManagerLayer;
use tower_sessions::cookie::SameSite as SessionSameSite;
use tower_sessions::session::Id;

use crate::agent_sessions::AgentSessionStore;

/// The cookie's name.
pub const NAME: &str = "__Host-deskbridge";

/// tower-sessions on our store.
pub fn session_layer(store: AgentSessionStore) -> SessionManagerLayer<AgentSessionStore> {
    SessionManagerLayer::new(store)
        .with_name(NAME)
        .with_secure(true)
        .with_http_only(true)
        .with_same_site(SessionSameSite::None)
        .with_path("/")
}

/// The cookie that carries `id`; gone with the browser's session, and by our store's lifetimes.
pub fn session_cookie(id: &Id) -> HeaderValue {
    rebuilt(&Cookie::new(NAME, id.to_string()))
}

fn rebuilt(cookie: &Cookie<'_>) -> HeaderValue {
    let mut cookie = cookie.clone().into_owned();
    cookie.set_path("/");
    cookie.set_secure(true);
    cookie.set_http_only(true);
    cookie.set_same_site(SameSite::None);
    cookie.set_partitioned(true);
    HeaderValue::from_str(&cookie.to_string()).unwrap_or_else(|_| HeaderValue::from_static(""))
}

/// On the way out, tower-sessions' cookies are rebuilt with what it does not know.
pub async fn partition(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let lines: Vec<HeaderValue> = response.headers().get_all(header::SET_COOKIE).iter().cloned().collect();
    if !lines.is_empty() {
        response.headers_mut().remove(header::SET_COOKIE);
        for line in lines {
            let ours = line.to_str().ok().and_then(|text| Cookie::parse(text.to_owned()).ok()).filter(|cookie| cookie.name() == NAME);
            response.headers_mut().append(header::SET_COOKIE, ours.map_or(line, |cookie| rebuilt(&cookie)));
        }
    }
    response
}

/// How a request names its session.
pub enum Bearer {
    /// By this id, from page memory.
    Session(Id),
    /// By something that is no session id, which counts as a session that does not exist.
    Unreadable,
    /// Not as bearer.
    Absent,
}

/// The bearer of a request.
pub fn bearer(headers: &HeaderMap) -> Bearer {
    let Some(value) = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()) else { return Bearer::Absent };
    let (scheme, token) = value.split_once(' ').unwrap_or((value, ""));
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Bearer::Absent;
    }
    token.trim().parse().map_or(Bearer::Unreadable, Bearer::Session)
}

/// The session that the browser's cookie names.
pub fn session_of_cookie(headers: &HeaderMap) -> Option<Id> {
    let lines = headers.get_all(header::COOKIE).iter().filter_map(|line| line.to_str().ok());
    let mut cookies = lines.flat_map(Cookie::split_parse).flatten();
    cookies.find(|cookie| cookie.name() == NAME)?.value().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cookies_are_partitioned_and_host_bound_also_when_removed() {
        let check = |line: HeaderValue| {
            let line = line.to_str().unwrap().to_owned();
            for part in ["__Host-deskbridge=", "Path=/", "Secure", "HttpOnly", "SameSite=None", "Partitioned"] {
                assert!(line.contains(part), "{part} in {line}");
            }
        };
        check(session_cookie(&Id(5)));
        let mut removal = Cookie::new(NAME, "");
        removal.make_removal();
        let line = rebuilt(&removal);
        assert!(line.to_str().unwrap().contains("Max-Age=0"));
        check(line);
    }
}
