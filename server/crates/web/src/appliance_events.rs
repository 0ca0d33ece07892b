//! `POST /ERSPost`: outbound events. Stored in one durable commit, then exactly 200; nothing else happens here.
//!
//! The appliance sends nothing more until it has its 200 (beyondtrust.md E.1), so a 4xx is only for what is not the
//! appliance's: a wrong address, a wrong token, something that is no event. What is posted is a hint; the session is re-read.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Extension, RawQuery, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use deskbridge_core::clock::new_id;
use deskbridge_core::event::Origin;
use deskbridge_core::fault_point;
use deskbridge_remote_support::EventRefusal;
use deskbridge_remote_support::beyondtrust::{is_appliance_id, is_lsid};
use deskbridge_security::sha256;
use deskbridge_shared::routes;
use deskbridge_store::NewEvent;
use deskbridge_use_cases::Services;
use deskbridge_use_cases::connections::{Connection, Directory, named_ticket};
use deskbridge_work::metrics;
use utoipa::openapi::path::{Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::{ObjectBuilder, Type};
use utoipa::{IntoParams, ToSchema};

use crate::event_names::of_posted_name;
use crate::media_type;
use crate::peer::Peer;
use crate::problem::Problem;
use crate::state::EventState;

/// Without `?appliance` (seed guide: an appliance id of "default").
const DEFAULT_APPLIANCE: &str = "default";

/// The address the appliance posts to.
enum Address {}

impl IntoParams for Address {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let parameter = |name: &str, about: &str, schema: ObjectBuilder| {
            let parameter = ParameterBuilder::new().name(name).parameter_in(ParameterIn::Query).description(Some(about));
            parameter.schema(Some(schema.schema_type(Type::String))).build()
        };
        let id = ObjectBuilder::new().default(Some(DEFAULT_APPLIANCE.into())).pattern(Some("^[A-Za-z0-9._]{1,64}$"));
        vec![
            parameter("appliance", "The connection's `appliance_id`", id),
            parameter("token", "The connection's event token, where it has one", ObjectBuilder::new()),
        ]
    }
}

/// The variables that are read; others may be there.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes what is read pair by pair")]
struct EventForm {
    /// The event's name; of a kind not known it is acknowledged and ignored.
    event: String,
    /// The session's id. An event of a known kind must have it.
    #[schema(pattern = "^[0-9a-fA-F]{32}$", nullable = false)]
    lsid: Option<String>,
    /// The ticket's id, with the connection's where several have one appliance.
    #[schema(nullable = false)]
    external_key: Option<String>,
}

/// An outbound event of an appliance.
///
/// It is stored for every connection of that appliance that admits it.
#[utoipa::path(
    post,
    path = routes::APPLIANCE_EVENTS,
    operation_id = "appliance_event",
    params(Address),
    request_body(content = EventForm, content_type = "application/x-www-form-urlencoded"),
    responses(
        (status = 200, description = "The event is on disk, or nobody needs it"),
        (status = 401, response = Problem),
        (status = 403, response = Problem),
        (status = 404, response = Problem),
        (status = 415, response = Problem),
        (status = 503, response = Problem),
    ),
)]
pub async fn receive(
    State(state): State<Arc<EventState>>,
    Extension(Peer(peer)): Extension<Peer>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    let (appliance, token) = read_query(query.as_deref().unwrap_or_default())?;
    let directory = state.services.connections.current();
    let named = directory.by_appliance_id(&appliance);
    if named.is_empty() {
        metrics::event_refused("unknown_appliance");
        tracing::warn!(appliance, %peer, "outbound event for an unknown appliance");
        return Err(Problem::unknown_appliance());
    }
    let admissions: Vec<_> = named
        .iter()
        .map(|connection| connection.event_door().map_or(Err(EventRefusal::Source), |door| door.admit(peer.ip(), token.as_deref())))
        .collect();
    let admitted: Vec<&Arc<Connection>> =
        named.iter().zip(&admissions).filter(|(_, admission)| admission.is_ok()).map(|(connection, _)| connection).collect();
    if admitted.is_empty() {
        let reason = admissions.into_iter().find_map(Result::err).unwrap_or(EventRefusal::Source);
        metrics::event_refused(if reason == EventRefusal::Token { "token" } else { "source" });
        tracing::warn!(appliance, %peer, ?reason, "outbound event refused");
        return Err(Problem::event_refused(reason == EventRefusal::Token));
    }
    if !media_type::is(&headers, media_type::FORM) {
        return Err(Problem::not_a_form());
    }
    let body = body.map_err(Problem::unread_body)?;
    let Some(events) = read_events(&state.services, &directory, &admitted, &body)? else {
        return Ok(StatusCode::OK.into_response());
    };
    if !events.is_empty() {
        for event in &events {
            let name = event.received_by.and_then(|id| directory.name_of(id)).unwrap_or_default();
            metrics::event_received(name, event.kind);
        }
        state.intake.commit(events).await?;
        fault_point::reach("stored");
        state.services.wake.notify_one();
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

/// The rows of one posted event, one for each connection that admits it; `None` for an event nobody needs. Where only one connection uses
/// the appliance the session is that one's; else whose it is is found out when the event is worked at.
fn read_events(
    services: &Services,
    directory: &Directory,
    admitted: &[&Arc<Connection>],
    body: &[u8],
) -> Result<Option<Vec<NewEvent>>, Problem> {
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
    let received_at = services.clock.now_ms();
    let mut events: Vec<NewEvent> = Vec::new();
    for connection in admitted {
        let Some(engine) = &connection.engine else { continue };
        let account = engine.account().to_string();
        let is_only = directory.only_user_of_host(&engine.account().host) == Some(connection.id);
        // Another connection of the appliance may want what this one does not.
        if is_only && !connection.policy().processes(kind) {
            continue;
        }
        let ticket = named_ticket(&directory.by_account(&account), field("external_key"));
        events.push(NewEvent {
            id: new_id(&services.clock),
            tenant: connection.tenant.clone(),
            account,
            connection: is_only.then_some(connection.id),
            fingerprint: sha256(&[connection.id.to_string().as_bytes(), b"/", body].concat()),
            received_by: Some(connection.id),
            kind,
            lsid: lsid.to_ascii_lowercase(),
            ticket,
            origin: Origin::Outbound,
            received_at,
        });
    }
    Ok(Some(events))
}
