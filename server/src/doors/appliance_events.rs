//! `POST /ERSPost`: outbound events. Stored in one durable commit, then exactly 200; nothing else happens here.
//!
//! The appliance sends nothing more until it has its 200 (beyondtrust.md E.1), so a 4xx is only for what is not the
//! appliance's: a wrong address, a wrong token, something that is no event. What is posted is a hint; the session is re-read.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Extension, RawQuery, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};

use super::peer::Peer;
use super::problem::Problem;
use crate::app::App;
use crate::appliance::is_lsid;
use crate::clock::new_id;
use crate::config::is_appliance_id;
use crate::connections::{Connection, EventRefusal};
use crate::inbox::event::{is_processed, of_posted_name};
use crate::store::{NewEvent, Origin};
use crate::{fault_point, metrics};

/// Without `?appliance` (seed guide: an appliance id of "default").
const DEFAULT_APPLIANCE: &str = "default";

/// Stores an event for every connection of that appliance that admits it.
pub async fn receive(
    State(app): State<Arc<App>>,
    Extension(Peer(peer)): Extension<Peer>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    let (appliance, token) = read_query(query.as_deref().unwrap_or_default())?;
    let all = app.connections.all();
    let named: Vec<&Arc<Connection>> = all.iter().filter(|connection| connection.settings.appliance.id == appliance).collect();
    if named.is_empty() {
        metrics::event_refused("unknown_appliance");
        tracing::warn!(appliance, %peer, "outbound event for an unknown appliance");
        return Err(Problem::unknown_appliance());
    }
    let admissions: Vec<_> = named.iter().map(|connection| connection.admits_event(peer.ip(), token.as_deref())).collect();
    let admitted: Vec<&Arc<Connection>> =
        named.iter().zip(&admissions).filter(|(_, admission)| admission.is_ok()).map(|(connection, _)| *connection).collect();
    if admitted.is_empty() {
        let reason = admissions.into_iter().find_map(Result::err).unwrap_or(EventRefusal::Source);
        metrics::event_refused(if reason == EventRefusal::Token { "token" } else { "source" });
        tracing::warn!(appliance, %peer, ?reason, "outbound event refused");
        return Err(Problem::event_refused(reason == EventRefusal::Token));
    }
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media_type = content_type.split(';').next().unwrap_or_default().trim();
    if !media_type.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
        return Err(Problem::not_a_form());
    }
    let body = body.map_err(|rejection| match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => Problem::too_large(),
        _ => Problem::bad_request("The body could not be read, or came too slowly."),
    })?;
    let Some(events) = read_events(&app, &admitted, &body)? else {
        return Ok(StatusCode::OK.into_response());
    };
    if !events.is_empty() {
        for event in &events {
            metrics::event_received(&event.connection, event.kind);
        }
        app.intake.commit(events).await?;
        fault_point::reach("stored");
        app.wake.notify_one();
    }
    Ok(StatusCode::OK.into_response())
}

fn read_query(query: &str) -> Result<(String, Option<String>), Problem> {
    let pairs: Vec<(String, String)> = serde_urlencoded::from_str(query).unwrap_or_default();
    let mut appliances = pairs.iter().filter(|(name, _)| name == "appliance").map(|(_, value)| value);
    let appliance = match (appliances.next(), appliances.next()) {
        (None, _) => DEFAULT_APPLIANCE.to_owned(),
        (Some(id), None) if is_appliance_id(id) => id.clone(),
        _ => return Err(Problem::unknown_appliance()),
    };
    let mut tokens = pairs.into_iter().filter(|(name, _)| name == "token").map(|(_, value)| value);
    match (tokens.next(), tokens.next()) {
        (token, None) => Ok((appliance, token)),
        _ => Err(Problem::event_refused(true)),
    }
}

/// The rows of one posted event; `None` for an event nobody needs.
fn read_events(app: &App, connections: &[&Arc<Connection>], body: &[u8]) -> Result<Option<Vec<NewEvent>>, Problem> {
    let pairs: Vec<(String, String)> =
        serde_urlencoded::from_bytes(body).map_err(|_| Problem::bad_request("The body is not form data."))?;
    let field = |name: &str| pairs.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
    let posted = field("event")
        .ok_or_else(|| Problem::bad_request("There is no event variable; set the appliance's outbound event to HTTP POST."))?;
    let Some(kind) = of_posted_name(posted) else {
        tracing::info!(event = posted.chars().take(60).collect::<String>(), "an event of an unknown kind is acknowledged and ignored");
        return Ok(None);
    };
    let lsid = field("lsid").unwrap_or_default();
    if !is_lsid(lsid) {
        return Err(Problem::bad_request("lsid must be a session's id: 32 hexadecimal characters."));
    }
    let received_at = app.clock.now_ms();
    let events = connections.iter().filter(|connection| is_processed(&connection.settings.appliance, kind)).map(|connection| NewEvent {
        id: new_id(&app.clock),
        connection: connection.name().to_owned(),
        fingerprint: Sha256::digest(body).into(),
        kind,
        lsid: lsid.to_ascii_lowercase(),
        ticket: field("external_key").map(str::trim).filter(|key| connection.tickets.is_ticket_name(key)).map(str::to_owned),
        origin: Origin::Outbound,
        received_at,
    });
    Ok(Some(events.collect()))
}
