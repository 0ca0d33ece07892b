//! The wire: connections, request bodies, latency, ordered faults, the record of every request.
//!
//! Served by hand, because a fault must be able to drop the connection instead of answering.

use std::sync::Arc;

use axum::http::{HeaderValue, Request, header};
use axum::response::Response;
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use serde_json::Value;

use super::account::real_time;
use super::call::{Call, Content, Reply};
use super::{Shared, api, help_center, uploads, workspace};
use crate::wire::{Dropped, Fault, Instead, RecordedRequest, gateway_page};

/// Attachments may have 50 MB; nothing else comes near it.
const BODY_MAX: usize = 51 * 1024 * 1024;

pub(super) async fn answer(shared: Arc<Shared>, host_mapped: bool, request: Request<Incoming>) -> Result<Response, Dropped> {
    let (parts, body) = request.into_parts();
    let sent_path = parts.uri.path().to_owned();
    let query: Vec<(String, String)> = url::form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes()).into_owned().collect();
    let body = match Limited::new(body, BODY_MAX).collect().await {
        Ok(collected) => collected.to_bytes().to_vec(),
        Err(_) => {
            return Ok(Reply::error(413, "PayloadTooLarge", "at most 50 MB").into_response());
        }
    };

    let mut headers = parts.headers.clone();
    headers.remove(header::AUTHORIZATION);
    let number = shared.line.journal().arrived(RecordedRequest {
        at: real_time(),
        method: parts.method.clone(),
        path: sent_path.clone(),
        query: query.clone(),
        headers,
        user: None,
        body: serde_json::from_slice(&body).unwrap_or(Value::Null),
        body_length: body.len(),
        status: None,
    });
    shared.line.changed();

    let latency = *shared.latency();
    if !latency.is_zero() {
        tokio::time::sleep(latency).await;
    }
    let fault = shared.line.faults().take(&parts.method, &sent_path, &query, &body);
    if let Some(answered) = Fault::before(fault.as_ref(), instead).await {
        return answered.map(|reply| finish(&shared, number, reply));
    }

    let path = match sent_path.strip_suffix(".json") {
        Some(path) if path.starts_with("/api/") => path.to_owned(),
        _ => sent_path,
    };
    let call = Call { method: parts.method, path, query, headers: parts.headers, body, caller: 0, session: None, host_mapped };
    if call.path.starts_with("/agent/events/") && !host_mapped {
        shared.line.journal().answered(number, 200);
        return Ok(workspace::events(shared, &call));
    }
    let acting = Arc::clone(&shared);
    let reply = shared.line.act(number, fault, move || dispatch(&acting, call), instead).await?;
    Ok(finish(&shared, number, reply))
}

fn instead(answer: Instead<'_>) -> Reply {
    match answer {
        Instead::Ordered { code, body, retry_after } => ordered(code, body, retry_after),
        Instead::Gateway(code) => Reply { status: code, ..Reply::bytes("text/html", gateway_page(code)) },
        Instead::Crash(code) => ordered(code, "Internal Server Error", None),
    }
}

fn ordered(code: u16, body: &str, retry_after: Option<u64>) -> Reply {
    let mut reply = match serde_json::from_str(body) {
        Ok(json) => Reply::json(code, json),
        Err(_) => Reply::bytes("text/plain; charset=utf-8", body),
    };
    reply.status = code;
    match retry_after {
        Some(seconds) => reply.with("retry-after", seconds.to_string()),
        None => reply,
    }
}

fn finish(shared: &Shared, number: usize, reply: Reply) -> Response {
    shared.line.journal().answered(number, reply.status);
    shared.line.changed();
    let mut response = reply.into_response();
    if let Ok(id) = HeaderValue::from_str(&super::random_token()) {
        response.headers_mut().insert("x-zendesk-request-id", id);
    }
    response
}

fn dispatch(shared: &Shared, call: Call) -> (Reply, Option<String>) {
    let mut account = shared.account();
    if call.path.starts_with("/api/v2/") {
        return api::answer(&mut account, call);
    }
    if call.path == "/oauth/tokens" && call.method == "POST" && !call.host_mapped {
        let outcome = api::oauth_token(&mut account, &call);
        return (outcome.unwrap_or_else(|refusal| *refusal), None);
    }
    if let Some(secret) = call.path.strip_prefix("/attachments/token/") {
        let outcome = uploads::download(&account, secret.trim_end_matches('/'));
        return (outcome.unwrap_or_else(|refusal| *refusal), None);
    }
    let url = if call.host_mapped { account.help_center.origin(&account.url) } else { &account.url };
    if let Some(elsewhere) = own_name(url, &call) {
        return (elsewhere, None);
    }
    if let Some((outcome, user)) = help_center::answer(&mut account, &call) {
        return (outcome.unwrap_or_else(|refusal| *refusal), user);
    }
    if call.host_mapped {
        return (Reply::no_endpoint(), None);
    }
    let reply = match workspace::answer(&mut account, &call) {
        Some(outcome) => outcome.unwrap_or_else(|refusal| *refusal),
        None => Reply::no_endpoint(),
    };
    (reply, None)
}

/// Pages live under one name only: the app is told that origin, and messages from another would be refused.
fn own_name(url: &str, call: &Call) -> Option<Reply> {
    let host = call.header(header::HOST)?;
    if call.method != "GET" || url.trim_start_matches("http://") == host {
        return None;
    }
    let query = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(&call.query).finish();
    let separator = if query.is_empty() { "" } else { "?" };
    let mut reply = Reply::empty(307);
    reply.content = Content::Empty;
    Some(reply.with("location", format!("{url}{}{separator}{query}", call.path)))
}
