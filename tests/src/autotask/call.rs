//! A request as the endpoints see it, the answers they give, and the shapes errors come in (autotask-extension.md a.11).
//!
//! Must not know any endpoint.

use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::Response;
use serde_json::{Map, Value, json};

/// A request, read completely.
#[derive(Clone, Debug)]
pub(super) struct Call {
    pub method: Method,
    pub path: String,
    pub query: Vec<(String, String)>,
    /// Characters of path and query together.
    pub url_length: usize,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl Call {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    pub(super) fn query(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// The body, which must say it is JSON, be JSON and be an object.
    pub(super) fn json(&self) -> Checked<Map<String, Value>> {
        let media_type = self.header(header::CONTENT_TYPE.as_str()).unwrap_or_default();
        let media_type = media_type.split(';').next().unwrap_or_default().trim();
        if !media_type.eq_ignore_ascii_case("application/json") {
            return Err(Refusal::framework(
                415,
                format!("The request entity's media type '{media_type}' is not supported for this resource."),
            ));
        }
        match serde_json::from_slice(&self.body) {
            Ok(Value::Object(object)) => Ok(object),
            Ok(_) => Err(Refusal::invalid("The body must be a JSON object.")),
            Err(error) => Err(Refusal::invalid(format!("The body is not JSON: {error}"))),
        }
    }
}

/// Why a call is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub status: u16,
    pub text: String,
    /// Said by the web framework, which always uses `{"Message": …}`.
    pub framework: bool,
}

pub(super) type Checked<T> = Result<T, Refusal>;
pub(super) type Outcome = Checked<Reply>;

impl Refusal {
    pub(super) fn new(status: u16, text: impl Into<String>) -> Self {
        Self { status, text: text.into(), framework: false }
    }

    /// Nearly everything that is wrong with a request is a 500 (a.11).
    pub(super) fn invalid(text: impl Into<String>) -> Self {
        Self::new(500, text)
    }

    pub(super) fn framework(status: u16, text: impl Into<String>) -> Self {
        Self { status, text: text.into(), framework: true }
    }

    pub(super) fn no_path(call: &Call) -> Self {
        Self::framework(404, format!("No HTTP resource was found that matches the request URI '{}'.", call.path))
    }

    pub(super) fn method(method: &Method) -> Self {
        Self::framework(405, format!("The requested resource does not support http method '{method}'."))
    }

    pub(super) fn no_record() -> Self {
        Self::new(404, "No matching records found.")
    }

    /// A required field without a value (a.7 has it for `resourceID`).
    pub(super) fn required(field: &str) -> Self {
        Self::invalid(format!("Value does not exist for the required field {field}"))
    }
}

/// How the tenant words errors; sources differ, so clients must bear all (a.11).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ErrorShape {
    /// `{"errors":["text"]}`
    #[default]
    Texts,
    /// `{"errors":[{"message":"text","field":""}]}`
    Objects,
    /// `{"Message":"text"}`
    Message,
    /// A web page with CRLF in it, and without the text.
    Page,
}

#[derive(Clone, Debug)]
enum Content {
    Empty,
    Json(Value),
    Page(String),
}

/// An answer.
#[derive(Clone, Debug)]
pub(super) struct Reply {
    pub status: u16,
    headers: Vec<(&'static str, String)>,
    content: Content,
}

impl Reply {
    pub(super) fn json(body: Value) -> Self {
        Self { status: 200, headers: Vec::new(), content: Content::Json(body) }
    }

    /// What every write answers.
    pub(super) fn item_id(id: i64) -> Self {
        Self::json(json!({ "itemId": id }))
    }

    pub(super) fn page(status: u16, html: impl Into<String>) -> Self {
        Self { status, headers: Vec::new(), content: Content::Page(html.into()) }
    }

    pub(super) fn redirect(to: String) -> Self {
        Self { status: 302, headers: vec![("location", to)], content: Content::Empty }
    }

    /// An ordered body: JSON if it is, else as it stands.
    pub(super) fn ordered(status: u16, body: &str) -> Self {
        let content = serde_json::from_str(body).map_or_else(|_| Content::Page(body.to_owned()), Content::Json);
        Self { status, headers: Vec::new(), content }
    }

    pub(super) fn refusal(refusal: Refusal, shape: ErrorShape) -> Self {
        let Refusal { status, text, framework } = refusal;
        let shape = if framework { ErrorShape::Message } else { shape };
        let content = match shape {
            ErrorShape::Texts => Content::Json(json!({"errors": [text]})),
            ErrorShape::Objects => Content::Json(json!({"errors": [{"message": text, "field": ""}]})),
            ErrorShape::Message => Content::Json(json!({"Message": text})),
            ErrorShape::Page => Content::Page(format!(
                "<!DOCTYPE html>\r\n<html><head><title>{status} - Server error</title></head>\r\n<body><h2>{status} - Server error.</h2>\r\n<h3>There is a problem with the resource you are looking for.</h3></body></html>\r\n"
            )),
        };
        Self { status, headers: Vec::new(), content }
    }

    pub(super) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    pub(super) fn into_response(self) -> Response {
        let (media_type, body) = match self.content {
            Content::Empty => (None, Body::empty()),
            Content::Json(value) => (Some("application/json; charset=utf-8"), Body::from(value.to_string())),
            Content::Page(html) => (Some("text/html; charset=utf-8"), Body::from(html)),
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
