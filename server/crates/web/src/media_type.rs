//! The media type a request says it has.

use axum::http::{HeaderMap, header};

/// Whether the request's `Content-Type` is this media type, whatever its parameters.
pub(crate) fn is(headers: &HeaderMap, media_type: &str) -> bool {
    let said = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    said.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case(media_type)
}

/// A form, as browsers, Zendesk and the appliance post it.
pub(crate) const FORM: &str = "application/x-www-form-urlencoded";
/// JSON.
pub(crate) const JSON: &str = "application/json";
