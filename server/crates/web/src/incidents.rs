//! `POST /api/v1/incidents`: a monitoring system posts an incident and is told its ticket (docs/incidents.md). The post is stored before
//! anything else is done; who hangs up loses nothing.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, PathRejection};
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use deskbridge_core::incident::Incident;
use deskbridge_core::text::shown;
use deskbridge_shared::routes;
use deskbridge_use_cases::Services;
use deskbridge_use_cases::connections::Connection;
use deskbridge_use_cases::incidents::{self, Answer, NotTaken, Received, Status};
use serde::Serialize;
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use crate::api_caller::IncidentCaller;
use crate::media_type;
use crate::panel::read_query;
use crate::problem::Problem;
use crate::state::IncidentState;

/// Longest body.
pub(crate) const MAX_BODY: usize = 1024 * 1024;
/// Longest words of a ticket system that are told, in characters.
const MAX_WORDS: usize = 2_000;
/// What a caller is asked to wait where nobody knows better.
const ASK_AGAIN_IN: Duration = Duration::from_secs(5);

/// What a call about incidents names in its address.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "describes what is read pair by pair")]
struct ConnectionNamed {
    /// The connection's name or id.
    connection: String,
}

/// How a post is answered.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "describes what is read pair by pair")]
struct Mode {
    /// `queued`: answered as soon as the incident is stored. Without it the answer waits for the ticket.
    #[param(nullable = false)]
    mode: Option<String>,
}

/// An incident in the small form. Argus's serialized incident is taken too: there `source` is an object.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes what is read member by member")]
struct SmallIncident {
    /// The monitoring system's name.
    source: String,
    /// Its id of the incident. With `source` it makes the incident itself.
    id: String,
    /// One line.
    title: String,
    /// Several lines.
    description: Option<String>,
    /// 1 (critical) to 5 (information).
    #[schema(minimum = 1, maximum = 5)]
    level: Option<u8>,
    /// Its page.
    url: Option<String>,
    /// Names and values.
    tags: Option<std::collections::HashMap<String, String>>,
    /// False: it has ended.
    open: Option<bool>,
    /// When it began: RFC 3339.
    start_time: Option<String>,
    /// When it ended: RFC 3339.
    end_time: Option<String>,
}

/// The ticket of an incident.
#[derive(Debug, Serialize, ToSchema)]
struct IncidentAnswer {
    /// Where people see it. Null: an incident that has ended has none.
    ticket_url: Option<String>,
    /// What people call it.
    ticket_identifier: Option<String>,
    /// This post made it.
    created: bool,
}

/// The incident is stored.
#[derive(Debug, Serialize, ToSchema)]
struct IncidentQueued {
    /// Tells how far its ticket is.
    status_url: String,
}

/// How far an incident's ticket is.
#[derive(Debug, Default, Serialize, ToSchema)]
struct IncidentStatus {
    /// `waiting`, `made` or `dead`.
    state: &'static str,
    /// Where people see the ticket, once it is made.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    ticket_url: Option<String>,
    /// What people call it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    ticket_identifier: Option<String>,
    /// What stands in the way, in the ticket system's words where it has any.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    reason: Option<String>,
}

/// A monitoring system posts an incident.
///
/// The same incident again, by `source` and `id` or as Argus numbers it, is answered with the same ticket. With `open: false` its ticket is
/// told of the end.
#[utoipa::path(
    post,
    path = routes::INCIDENTS,
    operation_id = "post_incident",
    params(ConnectionNamed, Mode),
    security(("api_token" = [])),
    request_body(content = SmallIncident, content_type = "application/json"),
    responses(
        (status = 200, description = "It had its ticket already, or needs none", body = IncidentAnswer),
        (status = 201, description = "Its ticket was made", body = IncidentAnswer),
        (status = 202, description = "It is stored, and its ticket will be made", body = IncidentQueued),
        (status = 401, response = Problem),
        (status = 403, response = Problem),
        (status = 404, response = Problem),
        (status = 415, response = Problem),
        (status = 422, response = Problem),
        (status = 502, response = Problem),
        (status = 504, response = Problem),
    ),
)]
pub async fn receive(
    State(state): State<Arc<IncidentState>>,
    IncidentCaller(caller): IncidentCaller,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    let is_queued = match read_query(query.as_deref())?.get("mode").map(String::as_str) {
        None => false,
        Some("queued") => true,
        Some(_) => return Err(Problem::invalid("mode", "expected queued, or no mode at all")),
    };
    if !media_type::is(&headers, media_type::JSON) {
        return Err(Problem::not_json());
    }
    let body = body.map_err(Problem::unread_body)?;
    let posted: Value = serde_json::from_slice(&body).map_err(|error| Problem::bad_request(format!("The body is no JSON: {error}")))?;
    drop(body);
    let incident = Incident::read(posted).map_err(|fault| Problem::invalid(fault.member, fault.expected))?;
    let (services, connection) = (&state.services, &caller.connection);
    let received = incidents::receive(services, connection, incident).await?;
    let status_url = status_url(services, connection, &received);
    if is_queued {
        return Ok(match received.known.as_ref().filter(|known| known.is_open && known.ticket.is_none()) {
            Some(_) => (StatusCode::ACCEPTED, Json(IncidentQueued { status_url })).into_response(),
            None => answer(incidents::wait(services, connection, &received).await?, &status_url)?,
        });
    }
    let waited = tokio::select! {
        waited = incidents::wait(services, connection, &received) => waited?,
        () = state.stop.cancelled() => Answer::TooSlow,
    };
    answer(waited, &status_url)
}

fn answer(answer: Answer, status_url: &str) -> Result<Response, Problem> {
    let (status, answer) = match answer {
        Answer::Made { ticket, is_created } => {
            let status = if is_created { StatusCode::CREATED } else { StatusCode::OK };
            (status, IncidentAnswer { ticket_url: Some(ticket.url), ticket_identifier: Some(ticket.id), created: is_created })
        }
        Answer::NoTicket => (StatusCode::OK, IncidentAnswer { ticket_url: None, ticket_identifier: None, created: false }),
        Answer::Refused(reason) => return Err(Problem::ticket_refused(&shown(&reason, MAX_WORDS))),
        Answer::Failed { reason, again_in } => return Err(Problem::ticket_not_made(&shown(&reason, MAX_WORDS), status_url, again_in)),
        Answer::TooSlow => return Err(Problem::ticket_under_way(status_url, ASK_AGAIN_IN)),
    };
    Ok((status, Json(answer)).into_response())
}

fn status_url(services: &Services, connection: &Connection, received: &Received) -> String {
    format!("{}{}/{}?connection={}", services.public_url, routes::INCIDENTS, received.status_id(), connection.id)
}

/// How far the ticket of a posted incident is.
///
/// The address is what a post with `mode=queued` was answered.
#[utoipa::path(
    get,
    path = "/{id}",
    context_path = routes::INCIDENTS,
    operation_id = "incident_status",
    params(("id" = String, Path, description = "As in `status_url`"), ConnectionNamed),
    security(("api_token" = [])),
    responses(
        (status = 200, description = "How far it is", body = IncidentStatus),
        (status = 401, response = Problem),
        (status = 403, response = Problem),
        (status = 404, response = Problem),
        (status = 422, response = Problem),
    ),
)]
pub async fn status(
    State(state): State<Arc<IncidentState>>,
    IncidentCaller(caller): IncidentCaller,
    id: Result<Path<String>, PathRejection>,
) -> Result<Response, Problem> {
    let Path(id) = id.map_err(|_| Problem::not_found())?;
    let status = incidents::status(&state.services, caller.connection.id, &id).await?.ok_or_else(Problem::not_found)?;
    Ok(Json(match status {
        Status::Waiting(reason) => IncidentStatus { state: "waiting", reason, ..IncidentStatus::default() },
        Status::Made(ticket) => {
            IncidentStatus { state: "made", ticket_url: Some(ticket.url), ticket_identifier: Some(ticket.id), reason: None }
        }
        Status::Dead(reason) => IncidentStatus { state: "dead", reason: Some(reason), ..IncidentStatus::default() },
    })
    .into_response())
}

impl From<NotTaken> for Problem {
    fn from(refused: NotTaken) -> Self {
        match refused {
            NotTaken::NoTickets => Self::incidents_not_taken(refused.to_string()),
            NotTaken::Store(error) => error.into(),
        }
    }
}
