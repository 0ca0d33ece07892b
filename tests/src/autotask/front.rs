//! The wire: connections, request bodies, places, latency, ordered faults, the record of every request.
//!
//! Served by hand, because a fault must be able to drop the connection instead of answering.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::http::Request;
use axum::response::Response;
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::Value;
use tokio::net::{TcpListener, TcpStream};

use super::call::{Call, Refusal, Reply};
use super::schema::Entity;
use super::times::real_time;
use super::{Shared, api, pages};
use crate::wire::{Fault, RecordedRequest};

/// A file of 6 MB in Base64 has 8 MB; nothing else comes near it.
const BODY_MAX: usize = 16 * 1024 * 1024;

/// Which listener a connection came to.
#[derive(Clone, Copy, Debug)]
pub(super) enum Door {
    /// The web services of a zone.
    Services(usize),
    /// The web pages of a zone.
    Web(usize),
}

/// Ends the connection without an answer.
#[derive(Debug)]
struct Dropped;

impl std::fmt::Display for Dropped {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("the connection was dropped on purpose")
    }
}

impl std::error::Error for Dropped {}

/// One of the three places a tracking id has on an entity; given back when the request ends, however it ends.
struct Place {
    shared: Arc<Shared>,
    bucket: (String, Entity),
}

impl Place {
    fn take(shared: &Arc<Shared>, bucket: (String, Entity)) -> Option<Self> {
        let free = shared.in_flight().take(&bucket);
        free.then(|| Self { shared: Arc::clone(shared), bucket })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.shared.in_flight().give_back(&self.bucket);
        self.shared.changed();
    }
}

/// Takes connections until the tenant is stopped.
pub(super) async fn serve(listener: TcpListener, door: Door, shared: Arc<Shared>) {
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
                        () = connection(stream, door, shared) => {}
                    }
                });
            }
            // Out of descriptors: let others finish.
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

async fn connection(stream: TcpStream, door: Door, shared: Arc<Shared>) {
    // Without it small answers wait for the peer's acknowledgement.
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request| answer(Arc::clone(&shared), door, request));
    // An error here is a peer that went away or a fault that was ordered.
    let _ = hyper::server::conn::http1::Builder::new().timer(TokioTimer::new()).serve_connection(TokioIo::new(stream), service).await;
}

async fn answer(shared: Arc<Shared>, door: Door, request: Request<Incoming>) -> Result<Response, Dropped> {
    let (parts, body) = request.into_parts();
    let Ok(body) = Limited::new(body, BODY_MAX).collect().await else {
        let refusal = Refusal::framework(413, "The request is too large.");
        return Ok(Reply::refusal(refusal, super::ErrorShape::Message).into_response());
    };
    let call = Call {
        path: parts.uri.path().to_owned(),
        query: url::form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes()).into_owned().collect(),
        url_length: parts.uri.path_and_query().map_or(0, |path| path.as_str().len()),
        method: parts.method,
        headers: parts.headers,
        body: body.to_bytes().to_vec(),
    };
    let number = record(&shared, &call);

    let bucket = if let Door::Services(_) = door { api::bucket(&call) } else { None };
    let mut place = None;
    if let Some(bucket) = bucket {
        place = Place::take(&shared, bucket);
        if place.is_none() {
            let reply = {
                let tenant = shared.tenant();
                api::too_many_at_once(tenant.options.thread_refusal, &tenant)
            };
            return Ok(finish(&shared, number, reply));
        }
    }
    let answered = with_faults(&shared, door, call, number).await;
    drop(place);
    answered
}

async fn with_faults(shared: &Arc<Shared>, door: Door, call: Call, number: usize) -> Result<Response, Dropped> {
    let latency = shared.tenant().options.latency;
    if !latency.is_zero() {
        tokio::time::sleep(latency).await;
    }
    let fault = shared.faults().take(&call.method, &call.path);
    match &fault {
        Some(Fault::Hang) => return hang().await,
        Some(Fault::CloseConnection) => return Err(Dropped),
        Some(Fault::Status { code, body, retry_after }) => {
            let reply = Reply::ordered(*code, body);
            let reply = retry_after.map_or(reply.clone(), |seconds| reply.with("retry-after", seconds.to_string()));
            return Ok(finish(shared, number, reply));
        }
        Some(Fault::ApplyLater(after)) => {
            let (after, later) = (*after, Arc::clone(shared));
            // A task of its own: the caller's end must not end it.
            shared.tasks.spawn(async move {
                if later.stop.run_until_cancelled(tokio::time::sleep(after)).await.is_some() {
                    let _ = dispatch(&later, door, &call);
                    later.changed();
                }
            });
            return hang().await;
        }
        _ => {}
    }
    let (reply, user) = dispatch(shared, door, &call);
    shared.journal().authorised(number, user);
    shared.changed();
    match fault {
        Some(Fault::ApplyThenClose) => Err(Dropped),
        Some(Fault::ApplyThenHang) => hang().await,
        Some(Fault::ApplyThenStatus(code)) => Ok(finish(shared, number, Reply::ordered(code, "Server Error"))),
        _ => Ok(finish(shared, number, reply)),
    }
}

/// Until the peer or the tenant goes away.
async fn hang() -> Result<Response, Dropped> {
    std::future::pending::<Infallible>().await;
    Err(Dropped)
}

fn record(shared: &Shared, call: &Call) -> usize {
    let mut headers = call.headers.clone();
    headers.remove("secret");
    let number = shared.journal().arrived(RecordedRequest {
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
    shared.changed();
    number
}

fn finish(shared: &Shared, number: usize, reply: Reply) -> Response {
    shared.journal().answered(number, reply.status);
    shared.changed();
    reply.into_response()
}

fn dispatch(shared: &Shared, door: Door, call: &Call) -> (Reply, Option<String>) {
    let mut tenant = shared.tenant();
    match door {
        Door::Services(zone) => api::answer(&mut tenant, &shared.zones, zone, call),
        Door::Web(zone) => (pages::answer(&tenant, zone, call), None),
    }
}
