//! A request as the endpoints see it, and the answers they give, errors in the real shapes (zendesk.md d.10).
//!
//! Must not know any endpoint.

use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value, json};

use super::help_center::Session;

/// As whom a call is done.
#[derive(Clone, Debug)]
pub(super) struct Caller {
    pub user: u64,
    /// `None` for an API token, which may do all its user may.
    pub scopes: Option<Vec<String>>,
    /// The Help Center's session, when it was told by its cookie.
    pub session: Option<Session>,
}

/// A request, read completely.
#[derive(Clone, Debug)]
pub(super) struct Call {
    pub method: Method,
    /// Path without `.json`.
    pub path: String,
    pub query: Vec<(String, String)>,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
    /// 0 until the caller is known, and for anonymous callers.
    pub caller: u64,
    /// The caller's session, if they came by one.
    pub session: Option<Session>,
    /// It came to the Help Center's own host name, not to the account's.
    pub host_mapped: bool,
}

impl Call {
    pub(super) fn header(&self, name: impl header::AsHeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// A cookie's value; `None` when it was sent twice with different ones.
    pub(super) fn cookie(&self, name: &str) -> Option<&str> {
        let sent = self.headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
        let mut values = sent.flat_map(|cookies| cookies.split(';')).filter_map(|cookie| {
            let (key, value) = cookie.trim().split_once('=')?;
            (key == name).then_some(value)
        });
        let first = values.next()?;
        values.all(|other| other == first).then_some(first)
    }

    pub(super) fn query(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The body, which must say it is JSON, be JSON and be an object.
    pub(super) fn json(&self) -> Result<Map<String, Value>, Box<Reply>> {
        let media_type = self.header(header::CONTENT_TYPE).unwrap_or_default();
        let media_type = media_type.split(';').next().unwrap_or_default().trim();
        if !media_type.eq_ignore_ascii_case("application/json") {
            return Err(
                Reply::error(415, "UnsupportedMediaType", &format!("Content-Type must be application/json, not \"{media_type}\"")).into()
            );
        }
        match serde_json::from_slice(&self.body) {
            Ok(Value::Object(object)) => Ok(object),
            Ok(_) => Err(Reply::bad_request("the body must be a JSON object").into()),
            Err(error) => Err(Reply::bad_request(&format!("the body is not JSON: {error}")).into()),
        }
    }

    /// Refuses query parameters the endpoint does not have: the real account overlooks them, and so would we.
    pub(super) fn only_query(&self, known: &[&str]) -> Result<(), Box<Reply>> {
        match self.query.iter().find(|(key, _)| !known.contains(&key.as_str())) {
            Some((key, _)) => Err(Reply::bad_request(&format!("unknown query parameter \"{key}\"")).into()),
            None => Ok(()),
        }
    }
}

/// The only keys `object` may have; a misspelt one would be overlooked by the real account.
pub(super) fn only_keys(object: &Map<String, Value>, known: &[&str], what: &str) -> Result<(), Box<Reply>> {
    match object.keys().find(|key| !known.contains(&key.as_str())) {
        Some(key) => Err(Reply::bad_request(&format!("unknown key \"{key}\" in {what}")).into()),
        None => Ok(()),
    }
}

/// A body of an answer.
#[derive(Clone, Debug)]
pub(super) enum Content {
    Empty,
    Json(Value),
    Bytes { media_type: &'static str, bytes: Vec<u8> },
}

/// An answer; the error type of the endpoints too.
#[derive(Clone, Debug)]
pub(super) struct Reply {
    pub status: u16,
    pub headers: Vec<(&'static str, String)>,
    pub content: Content,
}

pub(super) type Outcome = Result<Reply, Box<Reply>>;

impl Reply {
    pub(super) fn json(status: u16, body: Value) -> Self {
        Self { status, headers: Vec::new(), content: Content::Json(body) }
    }

    pub(super) fn bytes(media_type: &'static str, bytes: impl Into<Vec<u8>>) -> Self {
        Self { status: 200, headers: Vec::new(), content: Content::Bytes { media_type, bytes: bytes.into() } }
    }

    pub(super) fn empty(status: u16) -> Self {
        Self { status, headers: Vec::new(), content: Content::Empty }
    }

    pub(super) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    pub(super) fn error(status: u16, error: &str, description: &str) -> Self {
        Self::json(status, json!({"error": error, "description": description}))
    }

    pub(super) fn bad_request(description: &str) -> Self {
        Self::error(400, "BadRequest", description)
    }

    pub(super) fn invalid(field: &str, kind: &str, description: &str) -> Self {
        Self::json(
            422,
            json!({
                "error": "RecordInvalid",
                "description": "RecordValidation errors",
                "details": {field: [{"type": kind, "description": description}]},
            }),
        )
    }

    pub(super) fn unauthorized() -> Self {
        Self::json(401, json!({"error": "Couldn't authenticate you"}))
    }

    pub(super) fn forbidden() -> Self {
        Self::json(
            403,
            json!({"error": {
                "title": "Forbidden",
                "message": "You do not have access to this page. Please contact the account owner of this help desk for further help.",
            }}),
        )
    }

    pub(super) fn no_record() -> Self {
        Self::error(404, "RecordNotFound", "Not found")
    }

    pub(super) fn no_endpoint() -> Self {
        Self::error(404, "InvalidEndpoint", "Not found")
    }

    pub(super) fn into_response(self) -> Response {
        let (media_type, body) = match self.content {
            Content::Empty => (None, Body::empty()),
            Content::Json(value) => (Some("application/json; charset=utf-8"), Body::from(value.to_string())),
            Content::Bytes { media_type, bytes } => (Some(media_type), Body::from(bytes)),
        };
        let mut response = Response::new(body);
        *response.status_mut() = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let headers = response.headers_mut();
        if let Some(media_type) = media_type {
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
        }
        for (name, value) in self.headers {
            if let Ok(value) = HeaderValue::from_str(&value) {
                headers.insert(HeaderName::from_static(name), value);
            }
        }
        response
    }
}

/// Query parameters of paged lists.
pub(super) const PAGING: &[&str] = &["page[size]", "page[after]", "page[before]", "page", "per_page", "sort", "sort_order"];

/// Offset lists end here (zendesk.md d.12).
const OFFSET_END: usize = 10_000;
const PAGE_MAX: usize = 100;

/// One page of `items` (each with an `id`) under `key`, in the manner the query asks for: by cursor when it has
/// `page[…]`, else by offset (zendesk.md d.12). `items` are oldest first.
pub(super) fn paged(call: &Call, url: &str, key: &str, mut items: Vec<Value>) -> Outcome {
    match (call.query("sort"), call.query("sort_order")) {
        (Some("-created_at"), None) | (None, Some("desc")) => items.reverse(),
        (None | Some("created_at"), None) | (None, Some("asc")) => {}
        _ => return Err(Reply::bad_request("unknown order").into()),
    }
    let by_cursor = call.query.iter().any(|(name, _)| name.starts_with("page["));
    if by_cursor { by_cursor_page(call, url, key, &items) } else { by_offset_page(call, url, key, items) }
}

fn by_cursor_page(call: &Call, url: &str, key: &str, items: &[Value]) -> Outcome {
    let pagination_error =
        |title: &str| Box::new(Reply::json(400, json!({"errors": [{"code": "InvalidPaginationParameter", "title": title}]})));
    let size: usize = match call.query("page[size]").map(str::parse) {
        None => PAGE_MAX,
        Some(Ok(size)) if (1..=PAGE_MAX).contains(&size) => size,
        Some(_) => {
            return Err(pagination_error("page[size] must be an integer between 1 and 100"));
        }
    };
    let position = |name: &str| -> Result<Option<usize>, Box<Reply>> {
        let Some(cursor) = call.query(name) else {
            return Ok(None);
        };
        let id = URL_SAFE_NO_PAD.decode(cursor).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        items.iter().position(|item| id == Some(cursor_text(item))).map(Some).ok_or_else(|| pagination_error("the cursor is not valid"))
    };
    let range = match (position("page[after]")?, position("page[before]")?) {
        (Some(_), Some(_)) => {
            return Err(pagination_error("page[after] and page[before] exclude each other"));
        }
        (None, Some(before)) => before.saturating_sub(size)..before,
        (after, None) => {
            let start = after.map_or(0, |at| at + 1);
            start..(start + size).min(items.len())
        }
    };
    let (has_more, has_less) = (range.end < items.len(), range.start > 0);
    let page = &items[range];
    let cursor = |item: Option<&Value>| item.map(|i| URL_SAFE_NO_PAD.encode(cursor_text(i)));
    let (after, before) = (cursor(page.last()), cursor(page.first()));
    let link = |name: &str, cursor: &Option<String>| {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        for (name, value) in &call.query {
            if name != "page[after]" && name != "page[before]" {
                query.append_pair(name, value);
            }
        }
        query.append_pair(name, cursor.as_deref().unwrap_or_default());
        format!("{url}{}.json?{}", call.path, query.finish())
    };
    Ok(Reply::json(
        200,
        json!({
            key: page,
            "meta": {"has_more": has_more, "after_cursor": after, "before_cursor": before},
            "links": {
                "next": has_more.then(|| link("page[after]", &after)),
                "prev": has_less.then(|| link("page[before]", &before)),
            },
        }),
    ))
}

fn cursor_text(item: &Value) -> String {
    item["id"].to_string()
}

fn by_offset_page(call: &Call, url: &str, key: &str, items: Vec<Value>) -> Outcome {
    let number = |name: &str, default: usize| match call.query(name).map(str::parse::<usize>) {
        None => Ok(default),
        Some(Ok(number)) if number > 0 => Ok(number),
        Some(_) => Err(Box::new(Reply::bad_request(&format!("{name} must be a positive integer")))),
    };
    // More than the maximum is cut down, not refused.
    let per_page = number("per_page", PAGE_MAX)?.min(PAGE_MAX);
    let page = number("page", 1)?;
    let start = (page - 1).saturating_mul(per_page);
    if start.saturating_add(per_page) > OFFSET_END {
        return Err(Reply::bad_request("Invalid page: records beyond 10000").into());
    }
    let count = items.len();
    let link = |page: usize| {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        for (name, value) in call.query.iter().filter(|(name, _)| name != "page") {
            query.append_pair(name, value);
        }
        query.append_pair("page", &page.to_string());
        format!("{url}{}.json?{}", call.path, query.finish())
    };
    let shown: Vec<Value> = items.into_iter().skip(start).take(per_page).collect();
    Ok(Reply::json(
        200,
        json!({
            key: shown,
            "count": count,
            "next_page": (start + per_page < count).then(|| link(page + 1)),
            "previous_page": (page > 1).then(|| link(page - 1)),
        }),
    ))
}
