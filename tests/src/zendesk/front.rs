//! The wire: connections, request bodies, latency, ordered faults, the record of every request.
//!
//! Served by hand, because a fault must be able to drop the connection instead of answering.

use std::convert::Infallible;
use std::sync::Arc;

use axum::http::{HeaderValue, Request, header};
use axum::response::Response;
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::Value;
use tokio::net::{TcpListener, TcpStream};

use super::account::real_time;
use super::call::{Call, Content, Reply};
use super::{Shared, api, uploads, workspace};
use crate::wire::{Fault, RecordedRequest};

/// Attachments may have 50 MB; nothing else comes near it.
const BODY_MAX: usize = 51 * 1024 * 1024;

/// Ends the connection without an answer.
#[derive(Debug)]
struct Dropped;

impl std::fmt::Display for Dropped {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("the connection was dropped on purpose")
    }
}

impl std::error::Error for Dropped {}

/// Takes connections until the account is stopped.
pub(super) async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    loop {
        let accepted = tokio::select! {
            () = shared.stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                let shared = Arc::clone(&shared);
                shared.tasks.clone().spawn(async move {
                    let stop = shared.stop.clone();
                    tokio::select! {
                        () = stop.cancelled() => {}
                        () = connection(stream, shared) => {}
                    }
                });
            }
            // Out of descriptors: let others finish.
            Err(_) => tokio::time::sleep(std::time::Duration::from_millis(50)).await,
        }
    }
}

async fn connection(stream: TcpStream, shared: Arc<Shared>) {
    // Without it small answers wait for the peer's acknowledgement.
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request| answer(Arc::clone(&shared), request));
    // An error here is a peer that went away or a fault that was ordered.
    let _ = hyper::server::conn::http1::Builder::new().timer(TokioTimer::new()).serve_connection(TokioIo::new(stream), service).await;
}

async fn answer(shared: Arc<Shared>, request: Request<Incoming>) -> Result<Response, Dropped> {
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
    let number = shared.journal().arrived(RecordedRequest {
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
    shared.changed();

    let latency = *shared.latency();
    if !latency.is_zero() {
        tokio::time::sleep(latency).await;
    }
    let fault = shared.faults().take(&parts.method, &sent_path);
    match &fault {
        Some(Fault::Hang) => return hang().await,
        Some(Fault::CloseConnection) => return Err(Dropped),
        Some(Fault::Status { code, body, retry_after }) => {
            return Ok(finish(&shared, number, ordered(*code, body, *retry_after)));
        }
        _ => {}
    }

    let path = match sent_path.strip_suffix(".json") {
        Some(path) if path.starts_with("/api/") => path.to_owned(),
        _ => sent_path,
    };
    let call = Call { method: parts.method, path, query, headers: parts.headers, body, caller: 0 };
    if call.path.starts_with("/agent/events/") {
        shared.journal().answered(number, 200);
        return Ok(workspace::events(shared, &call));
    }
    if let Some(Fault::ApplyLater(after)) = fault {
        let later = Arc::clone(&shared);
        // A task of its own: the caller's end must not end it.
        shared.tasks.spawn(async move {
            if later.stop.run_until_cancelled(tokio::time::sleep(after)).await.is_some() {
                let _ = dispatch(&later, call);
                later.changed();
            }
        });
        return hang().await;
    }
    let (reply, user) = dispatch(&shared, call);
    shared.journal().authorised(number, user);
    shared.changed();
    match fault {
        Some(Fault::ApplyThenClose) => Err(Dropped),
        Some(Fault::ApplyThenHang) => hang().await,
        Some(Fault::ApplyThenStatus(code)) => Ok(finish(&shared, number, ordered(code, "Internal Server Error", None))),
        _ => Ok(finish(&shared, number, reply)),
    }
}

/// Until the peer or the account goes away.
async fn hang() -> Result<Response, Dropped> {
    std::future::pending::<Infallible>().await;
    Err(Dropped)
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
    shared.journal().answered(number, reply.status);
    shared.changed();
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
    if call.path == "/oauth/tokens" && call.method == "POST" {
        let outcome = api::oauth_token(&mut account, &call);
        return (outcome.unwrap_or_else(|refusal| *refusal), None);
    }
    if let Some(secret) = call.path.strip_prefix("/attachments/token/") {
        let outcome = uploads::download(&account, secret.trim_end_matches('/'));
        return (outcome.unwrap_or_else(|refusal| *refusal), None);
    }
    if let Some(elsewhere) = own_name(&account.url, &call) {
        return (elsewhere, None);
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
