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

use super::Shared;
use super::api::{self, Call, Reply};
use super::repository::real_time;
use crate::wire::{Dropped, Fault, Instead, RecordedRequest, gateway_page};

/// A text has 65,536 characters at most.
const BODY_MAX: usize = 1024 * 1024;

/// An answer, GitHub's or one in its place.
#[derive(Clone, Debug)]
struct Sent {
    reply: Reply,
    /// A page in place of the reply's JSON.
    page: Option<String>,
}

impl From<Reply> for Sent {
    fn from(reply: Reply) -> Self {
        Self { reply, page: None }
    }
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
        return answered.map(|sent| finish(&shared, number, sent));
    }
    let acting = Arc::clone(&shared);
    let act = move || {
        let (reply, user) = api::answer(&mut acting.repository(), &call);
        (Sent::from(reply), user)
    };
    let sent = shared.line.act(number, fault, act, instead).await?;
    Ok(finish(&shared, number, sent))
}

fn instead(answer: Instead<'_>) -> Sent {
    let page = |status: u16, text: String| Sent { reply: Reply { status, headers: Vec::new(), body: Value::Null }, page: Some(text) };
    match answer {
        Instead::Ordered { code, body, retry_after } => {
            let headers: Vec<_> = retry_after.map(|seconds| ("retry-after", seconds.to_string())).into_iter().collect();
            match serde_json::from_str(body) {
                Ok(json) => Reply { status: code, headers, body: json }.into(),
                Err(_) => Sent { reply: Reply { status: code, headers, body: Value::Null }, page: Some(body.to_owned()) },
            }
        }
        Instead::Gateway(code) => page(code, gateway_page(code)),
        Instead::Crash(code) => Reply { status: code, headers: Vec::new(), body: json!({ "message": "Server Error" }) }.into(),
    }
}

fn record(shared: &Shared, call: &Call) -> usize {
    let mut headers = call.headers.clone();
    headers.remove(header::AUTHORIZATION);
    let number = shared.line.journal().arrived(RecordedRequest {
        at: real_time(),
        method: call.method.clone(),
        path: call.path.clone(),
        query: call.query.clone(),
        headers,
        user: None,
        body: serde_json::from_slice(&call.body).unwrap_or(Value::Null),
        body_length: call.body.len(),
        status: None,
    });
    shared.line.changed();
    number
}

fn finish(shared: &Shared, number: usize, sent: Sent) -> Response {
    let Sent { reply, page } = sent;
    shared.line.journal().answered(number, reply.status);
    shared.keep_answer(number, &reply);
    shared.line.changed();
    let kind = if page.is_some() { "text/html" } else { "application/json; charset=utf-8" };
    let body = page.unwrap_or_else(|| if reply.body.is_null() { String::new() } else { reply.body.to_string() });
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    for (name, value) in reply.headers {
        if let Ok(value) = HeaderValue::from_str(&value) {
            response.headers_mut().insert(name, value);
        }
    }
    response
}
