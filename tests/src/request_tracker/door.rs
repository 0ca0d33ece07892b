//! A way to RT on which things go wrong: it passes requests on and records them, and fails as it is told.

use std::sync::Arc;

use axum::body::Body;
use axum::http::{Request, header};
use axum::response::Response;
use http_body_util::{BodyExt as _, Limited};
use hyper::body::{Bytes, Incoming};
use serde_json::Value;
use time::OffsetDateTime;

use super::Shared;
use crate::wire::{Dropped, Fault, Instead, RecordedRequest, gateway_page};

/// A report's file has 1 MB at most, a third more in Base64.
const BODY_MAX: usize = 16 * 1024 * 1024;

/// An answer, RT's or one in its place.
struct Reply {
    status: u16,
    headers: Vec<(header::HeaderName, String)>,
    body: Bytes,
}

impl Reply {
    fn new(status: u16, content_type: &str, body: impl Into<Bytes>) -> Self {
        Self { status, headers: vec![(header::CONTENT_TYPE, content_type.to_owned())], body: body.into() }
    }
}

#[expect(clippy::disallowed_methods, reason = "when a request really came")]
fn real_time() -> OffsetDateTime {
    OffsetDateTime::now_utc()
}

pub(super) async fn answer(shared: Arc<Shared>, request: Request<Incoming>) -> Result<Response, Dropped> {
    let (parts, body) = request.into_parts();
    let Ok(body) = Limited::new(body, BODY_MAX).collect().await else { return Err(Dropped) };
    let body = body.to_bytes();
    let query: Vec<(String, String)> = url::form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes()).into_owned().collect();
    let mut headers = parts.headers.clone();
    headers.remove(header::AUTHORIZATION);
    let number = shared.line.journal().arrived(RecordedRequest {
        at: real_time(),
        method: parts.method.clone(),
        path: parts.uri.path().to_owned(),
        query: query.clone(),
        headers,
        user: None,
        body: serde_json::from_slice(&body).unwrap_or(Value::Null),
        body_length: body.len(),
        status: None,
    });
    shared.line.changed();
    let fault = shared.line.faults().take(&parts.method, parts.uri.path(), &query, &body);
    if let Some(answered) = Fault::before(fault.as_ref(), instead).await {
        return answered.map(|reply| finish(&shared, number, reply));
    }
    let mut passed_on = shared.http.request(parts.method, format!("{}{}", shared.origin, parts.uri));
    for (name, value) in &parts.headers {
        if ![header::HOST, header::CONTENT_LENGTH, header::CONNECTION, header::TRANSFER_ENCODING].contains(name) {
            passed_on = passed_on.header(name, value);
        }
    }
    let act = async move { (pass_on(passed_on.body(body)).await, None) };
    let reply = shared.line.act_in_time(number, fault, act, instead).await?;
    Ok(finish(&shared, number, reply))
}

async fn pass_on(request: reqwest::RequestBuilder) -> Reply {
    let answer = async {
        let answer = request.send().await?;
        let status = answer.status().as_u16();
        let kept = [header::CONTENT_TYPE, header::LOCATION, header::SET_COOKIE, header::ETAG];
        let headers = answer.headers().iter().filter(|(name, _)| kept.contains(name));
        let headers = headers.filter_map(|(name, value)| Some((name.clone(), value.to_str().ok()?.to_owned()))).collect();
        reqwest::Result::Ok(Reply { status, headers, body: answer.bytes().await? })
    };
    answer.await.unwrap_or_else(|_| Reply::new(502, "text/html", gateway_page(502)))
}

fn instead(answer: Instead<'_>) -> Reply {
    match answer {
        Instead::Ordered { code, body, retry_after } => {
            let is_json = serde_json::from_str::<Value>(body).is_ok();
            let mut reply = Reply::new(code, if is_json { "application/json; charset=utf-8" } else { "text/html" }, body.to_owned());
            reply.headers.extend(retry_after.map(|seconds| (header::RETRY_AFTER, seconds.to_string())));
            reply
        }
        Instead::Gateway(code) => Reply::new(code, "text/html", gateway_page(code)),
        Instead::Crash(code) => Reply::new(code, "application/json; charset=utf-8", r#"{"message":"Internal Server Error"}"#),
    }
}

fn finish(shared: &Shared, number: usize, reply: Reply) -> Response {
    shared.line.journal().answered(number, reply.status);
    shared.line.changed();
    let mut response = Response::builder().status(reply.status);
    for (name, value) in reply.headers {
        response = response.header(name, value);
    }
    response.body(Body::from(reply.body)).unwrap_or_default()
}
