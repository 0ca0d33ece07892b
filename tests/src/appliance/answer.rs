//! What the appliance writes back: XML documents, JSON, pages and errors in the spellings chosen in the options.
//!
//! It decides nothing; the doors do.

use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use super::options::{ErrorStyle, Options};

/// Why a call is refused, in the words of the appliance's `<error>` document.
#[derive(Clone, Debug)]
pub(super) struct Refusal(pub String);

impl Refusal {
    pub(super) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

/// The sentence for "nothing found" (beyondtrust.md, fact 2).
pub(super) const NO_REPORT: &str = "No Support report information matching your chosen criteria is available.";

/// A growing XML document. Text and attributes are escaped; elements are closed by the caller.
pub(super) struct Xml {
    text: String,
}

impl Xml {
    /// Starts a document whose root stands in `namespace`.
    pub(super) fn document(root: &str, namespace: &str) -> Self {
        let mut xml = Self { text: String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n") };
        xml.open(root, &[("xmlns", namespace)]);
        xml.line();
        xml
    }

    pub(super) fn open(&mut self, name: &str, attributes: &[(&str, &str)]) {
        self.tag(name, attributes);
        self.text.push('>');
    }

    pub(super) fn close(&mut self, name: &str) {
        self.text.push_str("</");
        self.text.push_str(name);
        self.text.push_str(">\n");
    }

    pub(super) fn element(&mut self, name: &str, attributes: &[(&str, &str)], content: &str) {
        if content.is_empty() {
            self.tag(name, attributes);
            self.text.push_str(" />\n");
            return;
        }
        self.open(name, attributes);
        escape_into(&mut self.text, content);
        self.close(name);
    }

    pub(super) fn line(&mut self) {
        self.text.push('\n');
    }

    pub(super) fn finish(mut self, root: &str) -> String {
        self.close(root);
        self.text
    }

    fn tag(&mut self, name: &str, attributes: &[(&str, &str)]) {
        self.text.push('<');
        self.text.push_str(name);
        for (attribute, value) in attributes {
            self.text.push(' ');
            self.text.push_str(attribute);
            self.text.push_str("=\"");
            escape_into(&mut self.text, value);
            self.text.push('"');
        }
    }
}

/// Whether XML 1.0 can carry this text. What it cannot carry goes into `<encoded_body>` (beyondtrust.md, fact 6).
pub(super) fn is_legal_in_xml(text: &str) -> bool {
    text.chars().all(is_legal_character)
}

pub(super) fn base64_of(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

fn is_legal_character(character: char) -> bool {
    matches!(character, '\t' | '\n' | '\r' | '\u{20}'..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..)
}

pub(super) fn escape_into(output: &mut String, text: &str) {
    for character in text.chars() {
        match character {
            '&' => output.push_str("&amp;"),
            '<' => output.push_str("&lt;"),
            '>' => output.push_str("&gt;"),
            '"' => output.push_str("&quot;"),
            // A literal carriage return would be read as a line feed.
            '\r' => output.push_str("&#xD;"),
            legal if is_legal_character(legal) => output.push(legal),
            _ => output.push('\u{fffd}'),
        }
    }
}

pub(super) fn xml(text: String) -> Response {
    with_type(StatusCode::OK, "text/xml; charset=UTF-8", text)
}

pub(super) fn json(status: StatusCode, value: &serde_json::Value) -> Response {
    with_type(status, "application/json", value.to_string())
}

pub(super) fn html(status: StatusCode, text: String) -> Response {
    with_type(status, "text/html; charset=UTF-8", text)
}

pub(super) fn text(status: StatusCode, text: impl Into<Body>) -> Response {
    with_type(status, "text/plain; charset=UTF-8", text)
}

pub(super) fn attachment(filename: &str, content: String) -> Response {
    let mut response = with_type(StatusCode::OK, "application/octet-stream", content);
    if let Ok(value) = HeaderValue::from_str(&format!("attachment; filename=\"{filename}\"")) {
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_DISPOSITION, value);
    }
    response
}

pub(super) fn add_header(response: &mut Response, name: &'static str, value: u32) {
    let headers = response.headers_mut();
    headers.insert(HeaderName::from_static(name), HeaderValue::from(value));
}

fn with_type(status: StatusCode, content_type: &'static str, body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    let value = HeaderValue::from_static(content_type);
    response.headers_mut().insert(header::CONTENT_TYPE, value);
    response
}

/// The answer to a bad or missing token, on every endpoint (beyondtrust.md C.1).
pub(super) fn access_denied() -> Response {
    let body = json!({
        "error": "access_denied",
        "message": "The resource owner or authorization server denied the request.",
    });
    json(StatusCode::UNAUTHORIZED, &body)
}

/// An XML API's error: HTTP 200 and an error document. `normal_root` is the root the call would have had.
pub(super) fn error_document(options: &Options, namespace: &str, normal_root: Option<&str>, refusal: &Refusal) -> Response {
    let mut message = String::new();
    escape_into(&mut message, &refusal.0);
    let document = match (options.error_style, normal_root) {
        (ErrorStyle::Nested, Some(root)) => {
            format!("<{root} xmlns=\"{namespace}\"><error>{message}</error></{root}>")
        }
        (ErrorStyle::Decorated, _) => {
            format!("<error\n  xmlns=\"{namespace}\" code=\"1\" >\n  {message}\n</error >")
        }
        (ErrorStyle::Plain | ErrorStyle::Nested, _) => {
            format!("<error xmlns=\"{namespace}\">{message}</error>")
        }
    };
    xml(format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n{document}\n"))
}
