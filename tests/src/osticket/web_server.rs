//! The wire: connections, request bodies, latency, ordered faults, the record of every request.
//!
//! Served by hand, because a fault must be able to drop the connection instead of answering.

use std::sync::Arc;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, header};
use axum::response::Response;
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use serde_json::Value;

use super::desk::real_time;
use super::{Shared, staff};
use crate::wire::{Dropped, Fault, Instead, RecordedRequest, gateway_page};

/// PHP's own limit for forms.
const BODY_MAX: usize = 8 * 1024 * 1024;

/// What a crash answers with status 200 (osticket.md 0, 3.1).
pub const CRASH: &str = "<br />\n<b>Fatal error</b>:  Allowed memory size of 50331648 bytes exhausted (tried to allocate 13983744 bytes) in \
                         <b>/srv/osticket/include/class.thread.php</b> on line <b>40</b><br />\n";

/// A request, read completely.
#[derive(Debug)]
pub(super) struct Call {
    pub method: Method,
    pub path: String,
    pub query: Vec<(String, String)>,
    /// Path and query as they were sent.
    pub address: String,
    pub headers: HeaderMap,
    /// The fields of a form.
    pub form: Vec<(String, String)>,
}

impl Call {
    pub(super) fn query(&self, name: &str) -> Option<&str> {
        of(&self.query, name)
    }

    pub(super) fn field(&self, name: &str) -> Option<&str> {
        of(&self.form, name)
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The value of a cookie.
    pub(super) fn cookie(&self, name: &str) -> Option<&str> {
        let cookies = self.header(header::COOKIE.as_str())?;
        cookies.split(';').filter_map(|cookie| cookie.trim().split_once('=')).find(|(key, _)| *key == name).map(|(_, value)| value)
    }
}

fn of<'a>(pairs: &'a [(String, String)], name: &str) -> Option<&'a str> {
    // As in PHP, the last of several counts.
    pairs.iter().rev().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
}

/// An answer. Everything is called HTML, JSON too (osticket.md 3.3).
#[derive(Clone, Debug)]
pub(super) struct Reply {
    pub status: u16,
    headers: Vec<(HeaderName, String)>,
    body: String,
}

impl Reply {
    pub(super) fn new(status: u16, body: impl Into<String>) -> Self {
        Self { status, headers: Vec::new(), body: body.into() }
    }

    pub(super) fn redirect(to: impl Into<String>) -> Self {
        Self::new(302, "").with(header::LOCATION, to)
    }

    pub(super) fn with(mut self, name: HeaderName, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    fn into_response(self) -> Response {
        let mut response = Response::new(Body::from(self.body));
        *response.status_mut() = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let fixed = [(header::CONTENT_TYPE, "text/html; charset=utf-8"), (header::CACHE_CONTROL, "no-store, no-cache, must-revalidate")];
        let fixed = fixed.map(|(name, value)| (name, value.to_owned()));
        for (name, value) in fixed.into_iter().chain(self.headers) {
            if let Ok(value) = HeaderValue::from_str(&value) {
                response.headers_mut().append(name, value);
            }
        }
        response
    }
}

pub(super) async fn answer(shared: Arc<Shared>, request: Request<Incoming>) -> Result<Response, Dropped> {
    let (parts, body) = request.into_parts();
    let Ok(body) = Limited::new(body, BODY_MAX).collect().await else {
        return Ok(Reply::new(413, "<h1>413 Request Entity Too Large</h1>").into_response());
    };
    let body = body.to_bytes();
    let call = Call {
        path: parts.uri.path().to_owned(),
        query: url::form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes()).into_owned().collect(),
        address: parts.uri.path_and_query().map_or_else(String::new, ToString::to_string),
        form: form(&parts.headers, &body),
        method: parts.method,
        headers: parts.headers,
    };
    let number = record(&shared, &call, body.len());
    let latency = shared.desk().options.latency;
    if !latency.is_zero() {
        tokio::time::sleep(latency).await;
    }
    let fault = shared.line.faults().take(&call.method, &call.path, &call.query, &body);
    if let Some(answered) = Fault::before(fault.as_ref(), instead).await {
        return answered.map(|reply| finish(&shared, number, reply));
    }
    let acting = Arc::clone(&shared);
    let reply = shared.line.act(number, fault, move || staff::answer(&mut acting.desk(), &call), instead).await?;
    Ok(finish(&shared, number, reply))
}

fn instead(answer: Instead<'_>) -> Reply {
    match answer {
        Instead::Ordered { code, body, retry_after } => {
            let reply = Reply::new(code, body);
            retry_after.map_or(reply.clone(), |seconds| reply.with(header::RETRY_AFTER, seconds.to_string()))
        }
        Instead::Gateway(code) => Reply::new(code, gateway_page(code)),
        Instead::Crash(code) => Reply::new(code, CRASH),
    }
}

fn form(headers: &HeaderMap, body: &[u8]) -> Vec<(String, String)> {
    let media_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if media_type.split(';').next().unwrap_or_default().trim() == "application/x-www-form-urlencoded" {
        url::form_urlencoded::parse(body).into_owned().collect()
    } else {
        Vec::new()
    }
}

fn record(shared: &Shared, call: &Call, body_length: usize) -> usize {
    let mut headers = call.headers.clone();
    headers.remove(header::COOKIE);
    let number = shared.line.journal().arrived(RecordedRequest {
        at: real_time(),
        method: call.method.clone(),
        path: call.path.clone(),
        query: call.query.clone(),
        headers,
        user: None,
        body: Value::Null,
        body_length,
        status: None,
    });
    shared.line.changed();
    number
}

fn finish(shared: &Shared, number: usize, reply: Reply) -> Response {
    shared.line.journal().answered(number, reply.status);
    shared.line.changed();
    reply.into_response()
}
