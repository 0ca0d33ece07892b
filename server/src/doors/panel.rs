//! `/api/v1/…`: the panel's calls. The session says who calls and for which connection; the ticket in the request is a claim.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::Duration;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, RawQuery, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use deskbridge_shared::api::{JumpRequest, LiveSession, PanelModel, SessionKey};
use futures_util::stream::{self, Stream};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use tower_sessions::session::Id;
use tower_sessions::{Session, SessionStore};
use uuid::Uuid;

use super::device_proof::DeviceIdentity;
use super::problem::Problem;
use crate::app::App;
use crate::clock::rfc3339;
use crate::connections::Connection;
use crate::support::{chat_link, jump, live_sessions, offer, record_in_page, session_key, ticket_access};
use crate::tickets::AgentReference;

/// How often a stream looks for changes.
const STREAM_EVERY: Duration = Duration::from_secs(2);
/// A stream ends after so many looks; the panel opens the next one.
const STREAM_LOOKS: usize = 150;
/// Streams one server holds at a time; beyond, panels poll.
const MAX_STREAMS: usize = 1_000;
/// Streams one server holds for one agent or device, so that nobody takes them all.
const MAX_STREAMS_OF_ONE: usize = 4;

/// Fields of a jump, besides the ticket reference.
const JUMP_FIELDS: [&str; 10] =
    ["method", "target", "jumpoint", "username", "port", "protocol", "terminal", "quality", "display_size", "console"];

/// Who a session belongs to. This, and nothing mutable, is what a session stores.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// Connection name.
    pub connection: String,
    /// The agent's user id in the ticket system.
    pub agent_id: u64,
}

impl Identity {
    /// Its name in the session's data.
    pub const KEY: &'static str = "identity";
}

/// Who calls, and what for: an agent by a session of his connection, or a paired browser for each connection it is paired for.
pub struct Caller {
    connections: Vec<Arc<Connection>>,
    agent: AgentReference,
    pass: Pass,
}

/// What let a caller in. It is looked at again while an answer goes on.
#[derive(Clone, Copy, Debug)]
enum Pass {
    Session(Id),
    Device(Uuid),
}

impl Pass {
    /// The connection of that name as it runs now; none if it does not run, or if the pass does not open it any more.
    async fn connection(self, app: &App, name: &str) -> anyhow::Result<Option<Arc<Connection>>> {
        let opens = match self {
            // Whoever has opened a session has opened it for one connection; with that it ends.
            Self::Session(id) => app.sessions.load(&id).await?.is_some(),
            Self::Device(id) => {
                let device = app.store.device(id).await?.filter(|device| device.revoked_at.is_none());
                device.is_some_and(|device| device.grant.connections.iter().any(|granted| granted == name))
            }
        };
        Ok(if opens { app.connections.by_name(name) } else { None })
    }
}

impl FromRequestParts<Arc<App>> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Problem> {
        if let Some(device) = parts.extensions.get::<DeviceIdentity>() {
            let connections = device.connections.iter().filter_map(|name| app.connections.by_name(name)).collect();
            let name = device.agent_name.clone().unwrap_or_else(|| device.name.clone());
            let agent = AgentReference::Device { id: device.device, name, email: device.agent_email.clone() };
            return Ok(Self { connections, agent, pass: Pass::Device(device.device) });
        }
        let session = Session::from_request_parts(parts, app).await.map_err(|_| Problem::no_session())?;
        let identity: Option<Identity> = session.get(Identity::KEY).await.map_err(|error| {
            tracing::error!(%error, "a session could not be read");
            Problem::unavailable("The database does not answer. Try again in a moment.")
        })?;
        let (identity, id) = identity.zip(session.id()).ok_or_else(Problem::no_session)?;
        // Gone or disabled since.
        let connection = app.connections.by_name(&identity.connection).ok_or_else(Problem::no_session)?;
        Ok(Self { connections: vec![connection], agent: AgentReference::User(identity.agent_id), pass: Pass::Session(id) })
    }
}

/// The ticket reference every call has.
#[derive(Debug, Deserialize)]
pub struct TicketReference {
    connection: String,
    ticket: String,
}

impl Caller {
    /// The connection and the ticket named, if the caller may use that connection.
    fn place<'a>(&'a self, reference: &'a TicketReference) -> Result<(&'a Arc<Connection>, &'a str), Problem> {
        let connection = self.connections.iter().find(|connection| connection.name() == reference.connection);
        let connection = connection.ok_or_else(Problem::foreign_connection)?;
        if reference.ticket.is_empty() || reference.ticket.len() > 64 {
            return Err(Problem::bad_request("ticket: 1 to 64 characters"));
        }
        Ok((connection, &reference.ticket))
    }
}

/// A JSON body; unknown fields are refused, so that a typo is told and not ignored.
pub struct JsonBody<T>(T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for JsonBody<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let content_type = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        if !content_type.split(';').next().is_some_and(|mime| mime.trim().eq_ignore_ascii_case("application/json")) {
            return Err(Problem::bad_request("Send JSON with Content-Type: application/json."));
        }
        let body = Bytes::from_request(request, state).await.map_err(|rejection| match rejection.status() {
            StatusCode::PAYLOAD_TOO_LARGE => Problem::too_large(),
            _ => Problem::bad_request("The body could not be read, or came too slowly."),
        })?;
        serde_json::from_slice(&body).map(JsonBody).map_err(|error| Problem::bad_request(error.to_string()))
    }
}

/// The query's parameters, each once.
fn read_query(query: Option<&str>) -> Result<HashMap<String, String>, Problem> {
    let pairs: Vec<(String, String)> =
        serde_urlencoded::from_str(query.unwrap_or_default()).map_err(|error| Problem::bad_request(error.to_string()))?;
    let mut values = HashMap::new();
    for (name, value) in pairs {
        if values.insert(name.clone(), value).is_some() {
            return Err(Problem::bad_request(format!("{name} is given more than once")));
        }
    }
    Ok(values)
}

fn reference(values: &mut HashMap<String, String>) -> Result<TicketReference, Problem> {
    let mut take = |name: &str| values.remove(name).ok_or_else(|| Problem::bad_request(format!("{name} is missing")));
    Ok(TicketReference { connection: take("connection")?, ticket: take("ticket")? })
}

/// `GET /api/v1/panel`
pub async fn model(State(app): State<Arc<App>>, caller: Caller, RawQuery(query): RawQuery) -> Result<Json<Value>, Problem> {
    let mut values = read_query(query.as_deref())?;
    let reference = reference(&mut values)?;
    let (connection, ticket) = caller.place(&reference)?;
    let access = ticket_access::check(connection, &caller.agent, ticket).await?;
    let offer = offer::current(connection).await?;
    let wanted = values.remove("locale").or_else(|| access.agent.locale.clone()).unwrap_or_default();
    let (locale, texts) = app.translations.choose(&wanted);
    let model = PanelModel {
        connection: connection.name().to_owned(),
        ticket: access.ticket.id.clone(),
        methods: offer.methods,
        jumpoints: offer.jumpoints,
        issues: offer.issues,
        target: access.ticket.target.clone(),
        locale: locale.to_owned(),
    };
    let mut model = serde_json::to_value(model).map_err(|_| Problem::internal())?;
    model["texts"] = Value::Object(texts.clone());
    if connection.tickets.abilities().note.is_none() {
        model["record_in_page"] = Value::Bool(true);
    }
    Ok(Json(model))
}

/// Body of `POST /api/v1/sessions/key`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyBody {
    connection: String,
    ticket: String,
    queue: Option<String>,
    ttl_seconds: Option<u32>,
}

/// `POST /api/v1/sessions/key`
pub async fn session_key(
    State(app): State<Arc<App>>,
    caller: Caller,
    JsonBody(body): JsonBody<KeyBody>,
) -> Result<Json<SessionKey>, Problem> {
    let reference = TicketReference { connection: body.connection, ticket: body.ticket };
    let (connection, ticket) = caller.place(&reference)?;
    let wanted = session_key::Wanted { queue: body.queue, ttl_seconds: body.ttl_seconds };
    Ok(Json(session_key::generate(&app, connection, &caller.agent, ticket, &wanted).await?))
}

/// `POST /api/v1/sessions/jump`
pub async fn jump(caller: Caller, JsonBody(mut body): JsonBody<Map<String, Value>>) -> Result<Json<Value>, Problem> {
    let mut take = |name: &str| match body.remove(name) {
        Some(Value::String(text)) => Ok(text),
        Some(_) => Err(Problem::bad_request(format!("{name} must be a text"))),
        None => Err(Problem::bad_request(format!("{name} is missing"))),
    };
    let reference = TicketReference { connection: take("connection")?, ticket: take("ticket")? };
    let (connection, ticket) = caller.place(&reference)?;
    if let Some(unknown) = body.keys().find(|name| !JUMP_FIELDS.contains(&name.as_str())) {
        return Err(Problem::bad_request(format!("{} is no field of a jump", unknown.chars().take(60).collect::<String>())));
    }
    let request: JumpRequest = serde_json::from_value(Value::Object(body)).map_err(|error| Problem::bad_request(error.to_string()))?;
    let launch_url = jump::launch_url(connection, &caller.agent, ticket, &request).await?;
    Ok(Json(json!({ "launch_url": launch_url })))
}

/// Body of `POST /api/v1/sessions/chat-link`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChatLinkBody {
    connection: String,
    ticket: String,
    issue: Option<String>,
}

/// `POST /api/v1/sessions/chat-link`
pub async fn chat_link(
    State(app): State<Arc<App>>,
    caller: Caller,
    JsonBody(body): JsonBody<ChatLinkBody>,
) -> Result<Json<Value>, Problem> {
    let reference = TicketReference { connection: body.connection, ticket: body.ticket };
    let (connection, ticket) = caller.place(&reference)?;
    let (url, expires_ms) = chat_link::make(&app, connection, &caller.agent, ticket, body.issue.as_deref()).await?;
    Ok(Json(json!({ "url": url, "expires_at": rfc3339(expires_ms) })))
}

/// Body of `POST /api/v1/sessions/record` and `…/recorded`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecordBody {
    connection: String,
    ticket: String,
    lsid: String,
}

/// `POST /api/v1/sessions/record`: the report of an ended session, for the page to put onto its ticket.
pub async fn record(State(app): State<Arc<App>>, caller: Caller, JsonBody(body): JsonBody<RecordBody>) -> Result<Json<Value>, Problem> {
    let reference = TicketReference { connection: body.connection, ticket: body.ticket };
    let (connection, ticket) = caller.place(&reference)?;
    let record = record_in_page::prepare(&app, connection, &caller.agent, ticket, &body.lsid).await?;
    Ok(Json(json!({ "title": record.title, "html": record.html, "marker": record.marker, "recorded": record.recorded })))
}

/// `POST /api/v1/sessions/recorded`: the page put the report onto the ticket.
pub async fn recorded(State(app): State<Arc<App>>, caller: Caller, JsonBody(body): JsonBody<RecordBody>) -> Result<Json<Value>, Problem> {
    let reference = TicketReference { connection: body.connection, ticket: body.ticket };
    let (connection, ticket) = caller.place(&reference)?;
    record_in_page::confirm(&app, connection, &caller.agent, ticket, &body.lsid).await?;
    Ok(Json(json!({ "recorded": true })))
}

/// `GET /api/v1/sessions`, once or as a stream.
pub async fn sessions(
    State(app): State<Arc<App>>,
    caller: Caller,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let mut values = read_query(query.as_deref())?;
    let reference = reference(&mut values)?;
    let (connection, ticket) = caller.place(&reference)?;
    let access = ticket_access::check(connection, &caller.agent, ticket).await?;
    let streams =
        headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).is_some_and(|accept| accept.contains("text/event-stream"));
    if streams && let Some(place) = StreamPlace::take(Watcher::of(&caller, connection)) {
        let stream = changes(app, caller.pass, connection.clone(), access.ticket.id.clone(), place);
        return Ok(Sse::new(stream).keep_alive(KeepAlive::new().interval(Duration::from_secs(15))).into_response());
    }
    let sessions = live_sessions::of_ticket(&app, connection, &access.ticket.id).await?;
    Ok(Json(json!({ "sessions": sessions })).into_response())
}

/// Who has a stream open.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Watcher {
    /// By connection and id there, whichever of his sessions asks.
    Agent(String, u64),
    Device(Uuid),
}

impl Watcher {
    fn of(caller: &Caller, connection: &Connection) -> Self {
        match &caller.agent {
            AgentReference::User(id) => Self::Agent(connection.name().to_owned(), *id),
            AgentReference::Device { id, .. } => Self::Device(*id),
        }
    }
}

/// Streams open now, by who has them.
static STREAMS: LazyLock<Mutex<HashMap<Watcher, usize>>> = LazyLock::new(Mutex::default);

/// A stream's place among those; given back when the stream is dropped.
struct StreamPlace(Watcher);

impl StreamPlace {
    fn take(watcher: Watcher) -> Option<Self> {
        let mut streams = STREAMS.lock().unwrap_or_else(PoisonError::into_inner);
        let own = streams.get(&watcher).copied().unwrap_or(0);
        if own >= MAX_STREAMS_OF_ONE || streams.values().sum::<usize>() >= MAX_STREAMS {
            return None;
        }
        streams.insert(watcher.clone(), own + 1);
        Some(Self(watcher))
    }
}

impl Drop for StreamPlace {
    fn drop(&mut self) {
        let mut streams = STREAMS.lock().unwrap_or_else(PoisonError::into_inner);
        match streams.get_mut(&self.0) {
            Some(own) if *own > 1 => *own -= 1,
            _ => drop(streams.remove(&self.0)),
        }
    }
}

/// The ticket's sessions now, and again whenever they change, as long as the caller may see them.
fn changes(
    app: Arc<App>,
    pass: Pass,
    connection: Arc<Connection>,
    ticket: String,
    place: StreamPlace,
) -> impl Stream<Item = Result<Event, Infallible>> {
    struct Looking {
        app: Arc<App>,
        pass: Pass,
        connection: Arc<Connection>,
        ticket: String,
        last: Option<Vec<LiveSession>>,
        looks: usize,
        _place: StreamPlace,
    }
    let begin = Looking { app, pass, connection, ticket, last: None, looks: 0, _place: place };
    stream::unfold(begin, |mut looking| async move {
        while looking.looks < STREAM_LOOKS {
            if looking.looks > 0 {
                tokio::time::sleep(STREAM_EVERY).await;
                match looking.pass.connection(&looking.app, looking.connection.name()).await {
                    Ok(Some(connection)) => looking.connection = connection,
                    // The next request is told why.
                    Ok(None) => return None,
                    Err(error) => {
                        tracing::warn!(%error, "a stream of sessions ends");
                        return None;
                    }
                }
            }
            looking.looks += 1;
            match live_sessions::of_ticket(&looking.app, &looking.connection, &looking.ticket).await {
                Ok(sessions) if looking.last.as_ref() != Some(&sessions) => {
                    let event = Event::default().event("sessions").json_data(json!({ "sessions": sessions })).unwrap_or_default();
                    looking.last = Some(sessions);
                    return Some((Ok(event), looking));
                }
                Ok(_) => {}
                Err(error) => {
                    tracing::warn!(%error, "a stream of sessions ends");
                    return None;
                }
            }
        }
        None
    })
}
