//! The wire: connections, request bodies, places, latency, ordered faults, the record of every request.
//!
//! Served by hand, because a fault must be able to drop the connection instead of answering.

use std::sync::Arc;

use axum::http::Request;
use axum::response::Response;
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use serde_json::Value;

use super::call::{Call, Refusal, Reply};
use super::schema::Entity;
use super::times::real_time;
use super::{Shared, api, pages};
use crate::wire::{Dropped, Fault, RecordedRequest, gateway_page, hang};

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
        self.shared.line.changed();
    }
}

pub(super) async fn answer(shared: Arc<Shared>, door: Door, request: Request<Incoming>) -> Result<Response, Dropped> {
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
    let fault = shared.line.faults().take(&call.method, &call.path, &call.query, &call.body);
    match &fault {
        Some(Fault::Hang) => return hang().await,
        Some(Fault::CloseConnection) => return Err(Dropped),
        Some(Fault::Status { code, body, retry_after }) => {
            let reply = Reply::ordered(*code, body);
            let reply = retry_after.map_or(reply.clone(), |seconds| reply.with("retry-after", seconds.to_string()));
            return Ok(finish(shared, number, reply));
        }
        Some(Fault::Delay(by)) => tokio::time::sleep(*by).await,
        _ => {}
    }
    if let Some(after) = fault.as_ref().and_then(Fault::applies_after) {
        let later = Arc::clone(shared);
        shared.line.later(after, move || {
            let _ = dispatch(&later, door, &call);
            later.line.changed();
        });
        return match fault {
            Some(Fault::StatusThenApplyLater { code, .. }) => Ok(finish(shared, number, Reply::page(code, gateway_page(code)))),
            Some(Fault::CloseThenApplyLater(_)) => Err(Dropped),
            _ => hang().await,
        };
    }
    let (reply, user) = dispatch(shared, door, &call);
    shared.line.journal().authorised(number, user);
    shared.line.changed();
    match fault {
        Some(Fault::ApplyThenClose) => Err(Dropped),
        Some(Fault::ApplyThenHang) => hang().await,
        Some(Fault::ApplyThenStatus(code)) => Ok(finish(shared, number, Reply::ordered(code, "Server Error"))),
        _ => Ok(finish(shared, number, reply)),
    }
}

fn record(shared: &Shared, call: &Call) -> usize {
    let mut headers = call.headers.clone();
    headers.remove("secret");
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

fn finish(shared: &Shared, number: usize, reply: Reply) -> Response {
    shared.line.journal().answered(number, reply.status);
    shared.line.changed();
    reply.into_response()
}

fn dispatch(shared: &Shared, door: Door, call: &Call) -> (Reply, Option<String>) {
    let mut tenant = shared.tenant();
    match door {
        Door::Services(zone) => api::answer(&mut tenant, &shared.zones, zone, call),
        Door::Web(zone) => (pages::answer(&tenant, zone, call), None),
    }
}
