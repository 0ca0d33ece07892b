//! The wire: connections, request bodies, ordered faults, the record of every request.
//!
//! Served by hand, because a fault must be able to drop the connection instead of answering.

use std::sync::Arc;

use axum::body::Body;
use axum::http::{HeaderValue, Request, StatusCode, header};
use axum::response::Response;
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use serde_json::{Value, json};
use time::OffsetDateTime;

use super::Shared;
use super::api::{self, Call, Content, Reply};
use crate::wire::{Dropped, Fault, Instead, RecordedRequest, gateway_page};

/// Texts have a million characters at most, files some more.
const BODY_MAX: usize = 16 * 1024 * 1024;

#[expect(clippy::disallowed_methods, reason = "when a request really came")]
fn real_time() -> OffsetDateTime {
    OffsetDateTime::now_utc()
}

pub(super) async fn answer(shared: Arc<Shared>, request: Request<Incoming>) -> Result<Response, Dropped> {
    let (parts, body) = request.into_parts();
    let Ok(body) = Limited::new(body, BODY_MAX).collect().await else { return Err(Dropped) };
    let call = Call {
        path: parts.uri.path().to_owned(),
        query: url::form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes()).into_owned().collect(),
        method: parts.method,
        headers: parts.headers,
        body: body.to_bytes().to_vec(),
    };
    let number = record(&shared, &call);
    let fault = shared.line.faults().take(&call.method, &call.path, &call.query, &call.body);
    if let Some(answered) = Fault::before(fault.as_ref(), instead).await {
        return answered.map(|reply| finish(&shared, number, reply));
    }
    let acting = Arc::clone(&shared);
    let act = move || api::answer(&mut acting.project(), &call);
    let reply = shared.line.act(number, fault, act, instead).await?;
    Ok(finish(&shared, number, reply))
}

fn instead(answer: Instead<'_>) -> Reply {
    let page = |status: u16, text: String| Reply { status, headers: Vec::new(), content: Content::Text("text/html", text) };
    match answer {
        Instead::Ordered { code, body, retry_after } => {
            let mut reply = match serde_json::from_str(body) {
                Ok(json) => Reply::json(code, json),
                Err(_) => page(code, body.to_owned()),
            };
            reply.headers.extend(retry_after.map(|seconds| ("retry-after", seconds.to_string())));
            reply
        }
        Instead::Gateway(code) => page(code, gateway_page(code)),
        Instead::Crash(code) => Reply::json(code, json!({ "message": format!("{code} Internal Server Error") })),
    }
}

fn record(shared: &Shared, call: &Call) -> usize {
    let mut headers = call.headers.clone();
    headers.remove(header::AUTHORIZATION);
    headers.remove("private-token");
    let boundary = call.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()?.split_once("boundary="));
    let body = match boundary.and_then(|(_, boundary)| api::only_file(&call.body, boundary)) {
        Some((name, _)) => json!({ "file": name }),
        None => serde_json::from_slice(&call.body).unwrap_or(Value::Null),
    };
    let number = shared.line.journal().arrived(RecordedRequest {
        at: real_time(),
        method: call.method.clone(),
        path: call.path.clone(),
        query: call.query.clone(),
        headers,
        user: None,
        body,
        body_length: call.body.len(),
        status: None,
    });
    shared.line.changed();
    number
}

fn finish(shared: &Shared, number: usize, reply: Reply) -> Response {
    shared.line.journal().answered(number, reply.status);
    shared.line.changed();
    let (kind, body) = match reply.content {
        Content::Nothing => (None, String::new()),
        Content::Json(body) => (Some("application/json"), body.to_string()),
        Content::Text(kind, text) => (Some(kind), text),
    };
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    if let Some(kind) = kind {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    }
    for (name, value) in reply.headers {
        if let Ok(value) = HeaderValue::from_str(&value) {
            headers.insert(name, value);
        }
    }
    response
}
