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
use crate::wire::{Dropped, Fault, Instead, RecordedRequest, gateway_page};

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
    if let Some(answered) = Fault::before(fault.as_ref(), instead).await {
        return answered.map(|reply| finish(shared, number, reply));
    }
    let acting = Arc::clone(shared);
    let reply = shared.line.act(number, fault, move || dispatch(&acting, door, &call), instead).await?;
    Ok(finish(shared, number, reply))
}

fn instead(answer: Instead<'_>) -> Reply {
    match answer {
        Instead::Ordered { code, body, retry_after } => {
            let reply = Reply::ordered(code, body);
            retry_after.map_or(reply.clone(), |seconds| reply.with("retry-after", seconds.to_string()))
        }
        Instead::Gateway(code) => Reply::page(code, gateway_page(code)),
        Instead::Crash(code) => Reply::ordered(code, "Server Error"),
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
