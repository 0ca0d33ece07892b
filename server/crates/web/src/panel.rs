//! `/api/v1/…`: the panel's calls. The session says who calls and for which connection; the ticket in the request is a claim.

use std::collections::{BTreeMap, HashMap};
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
use deskbridge_core::clock::rfc3339;
use deskbridge_core::ids::ConnectionId;
use deskbridge_help_desks::{AgentReference, Ticket};
use deskbridge_shared::api::{
    ChatLink, JumpLaunch, JumpRequest, LinkEnded, LiveSession, MachineList, PageRecord, PanelModel, Recorded, RecordingLink,
    SESSION_OWNER_HEADER, SessionKey, SessionList,
};
use deskbridge_shared::routes;
use deskbridge_use_cases::connections::Connection;
use deskbridge_use_cases::{
    allowed_actions, chat_link, customize_help_center, jump, live_sessions, machines, record_in_page, recording, session_key,
    ticket_access, ticket_fields,
};
use futures_util::stream::{self, Stream};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tower_sessions::session::{Id, Record};
use tower_sessions::{Session, SessionStore, session_store};
use utoipa::openapi::schema::AdditionalProperties;
use utoipa::openapi::{Ref, RefOr, Schema};
use utoipa::{IntoParams, IntoResponses, PartialSchema, ToResponse, ToSchema};
use uuid::Uuid;

use crate::cookies::{self, Bearer};
use crate::device_proof::DeviceIdentity;
use crate::media_type;
use crate::problem::Problem;
use crate::state::PanelState;

/// How often a stream looks for changes.
const STREAM_EVERY: Duration = Duration::from_secs(2);
/// A stream ends after so many looks; the panel opens the next one.
const STREAM_POLLS: usize = 150;
/// Streams one server holds at a time; beyond, panels poll.
const MAX_STREAMS: usize = 1_000;
/// Streams one server holds for one agent or device, so that nobody takes them all.
const MAX_STREAMS_OF_ONE: usize = 4;

/// Fields of a jump, besides the ticket reference.
pub(crate) const JUMP_FIELDS: [&str; 10] =
    ["method", "target", "jumpoint", "username", "port", "protocol", "terminal", "quality", "display_size", "console"];

/// Who a session belongs to. This, and nothing mutable, is what a session stores.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The connection.
    pub connection: ConnectionId,
    /// The agent's user id in the help desk.
    pub agent: String,
}

impl Identity {
    /// Its name in the session's data.
    pub const KEY: &'static str = "identity";

    /// Whose a session is, as the sidebar's page says it back ([`SESSION_OWNER_HEADER`]).
    pub fn owner(&self) -> String {
        format!("{}:{}", self.connection, self.agent)
    }
}

/// Who calls, and what for: an agent by a session of their connection, or a paired browser for each connection it is paired for.
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
    /// The connection of that id as it runs now; none if it does not run, or if the pass does not open it any more.
    async fn connection(self, state: &PanelState, id: ConnectionId) -> anyhow::Result<Option<Arc<Connection>>> {
        let opens = match self {
            // Whoever has opened a session has opened it for one connection; with that it ends.
            Self::Session(session) => state.sessions.load(&session).await?.is_some(),
            Self::Device(device) => {
                let device = state.services.store.device(device).await?.filter(|device| device.revoked_at.is_none());
                device.is_some_and(|device| device.grant.connections.contains(&id))
            }
        };
        Ok(if opens { state.services.connections.current().by_id(id).cloned() } else { None })
    }
}

/// The session a request has: by the bearer from page memory, or by the browser's cookie.
async fn session_of(parts: &mut Parts, state: &Arc<PanelState>) -> Result<(Identity, Id), Problem> {
    let unavailable = |error: &dyn std::fmt::Display| {
        tracing::error!(%error, "a session could not be read");
        Problem::unavailable("The database does not answer. Try again in a moment.")
    };
    let (identity, id): (Option<Value>, Option<Id>) = match cookies::bearer(&parts.headers) {
        Bearer::Session(id) => {
            let mut record = state.sessions.load(&id).await.map_err(|error| unavailable(&error))?;
            if record.is_none() {
                record = later_session(&parts.headers, state).await.map_err(|error| unavailable(&error))?;
            }
            let id = record.as_ref().map(|record| record.id);
            (record.and_then(|mut record| record.data.remove(Identity::KEY)), id)
        }
        Bearer::Unreadable => return Err(Problem::no_session()),
        Bearer::Absent => {
            let session = Session::from_request_parts(parts, state).await.map_err(|_| Problem::no_session())?;
            (session.get(Identity::KEY).await.map_err(|error| unavailable(&error))?, session.id())
        }
    };
    let identity = identity.and_then(|identity| serde_json::from_value(identity).ok());
    identity.zip(id).ok_or_else(Problem::no_session)
}

/// In place of a bearer's session that has ended: a later one of the same agent and connection, opened by another of their tabs. The browser's
/// cookie names it; the page says by a header whose it was. The bearer and the header keep other sites' requests out, as always.
async fn later_session(headers: &HeaderMap, state: &PanelState) -> session_store::Result<Option<Record>> {
    let Some(owner) = headers.get(SESSION_OWNER_HEADER) else { return Ok(None) };
    let Some(id) = cookies::session_of_cookie(headers) else { return Ok(None) };
    let is_owners = |record: &Record| {
        let identity = record.data.get(Identity::KEY).and_then(|identity| Identity::deserialize(identity).ok());
        identity.is_some_and(|identity| identity.owner().as_bytes() == owner.as_bytes())
    };
    state.sessions.load_if(&id, is_owners).await
}

impl FromRequestParts<Arc<PanelState>> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &Arc<PanelState>) -> Result<Self, Problem> {
        let directory = state.services.connections.current();
        if let Some(device) = parts.extensions.get::<DeviceIdentity>() {
            let connections = device.connections.iter().filter_map(|id| directory.by_id(*id).cloned()).collect();
            let name = device.agent_name.clone().unwrap_or_else(|| device.name.clone());
            let agent = AgentReference::Device { id: device.device, name, email: device.agent_email.clone() };
            return Ok(Self { connections, agent, pass: Pass::Device(device.device) });
        }
        let (identity, id) = session_of(parts, state).await?;
        // Gone or disabled since.
        let connection = directory.by_id(identity.connection).cloned().ok_or_else(Problem::no_session)?;
        Ok(Self { connections: vec![connection], agent: AgentReference::User(identity.agent), pass: Pass::Session(id) })
    }
}

impl Caller {
    /// The connection and the ticket named, if the caller may use that connection.
    fn ticket_ref<'a>(&'a self, connection: &str, ticket: &'a str) -> Result<(&'a Arc<Connection>, &'a str), Problem> {
        let connection = self.connections.iter().find(|own| own.is_called(connection)).ok_or_else(Problem::foreign_connection)?;
        if ticket.is_empty() || ticket.len() > 64 {
            return Err(Problem::bad_request("ticket: 1 to 64 characters"));
        }
        Ok((connection, ticket))
    }
}

/// A JSON body; unknown fields are refused, so that a typo is told and not ignored.
pub struct JsonBody<T>(T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for JsonBody<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        if !media_type::is(request.headers(), media_type::JSON) {
            return Err(Problem::bad_request("Send JSON with Content-Type: application/json."));
        }
        let body = Bytes::from_request(request, state).await.map_err(Problem::unread_body)?;
        read_object(&body).map(JsonBody).map_err(Problem::bad_request)
    }
}

/// Reads a JSON object; the error says what is wrong with it. To serde an array is an object without its names.
pub(crate) fn read_object<T: DeserializeOwned>(body: &[u8]) -> Result<T, String> {
    let first = body.iter().find(|byte| !byte.is_ascii_whitespace());
    if first.is_some_and(|first| *first != b'{') {
        return Err("The body must be a JSON object.".to_owned());
    }
    serde_json::from_slice(body).map_err(|error| error.to_string())
}

/// The query's parameters, each once.
pub(crate) fn read_query(query: Option<&str>) -> Result<HashMap<String, String>, Problem> {
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

/// The connection and the ticket that every call names: in the query, or as members of the body.
#[derive(IntoParams, ToSchema)]
#[into_params(parameter_in = Query)]
struct TicketReference {
    /// The connection's name or id.
    connection: String,
    /// The ticket's id.
    #[param(min_length = 1, max_length = 64)]
    #[schema(min_length = 1, max_length = 64)]
    ticket: String,
}

impl TicketReference {
    fn take(values: &mut HashMap<String, String>) -> Result<Self, Problem> {
        let mut take = |name: &str| values.remove(name).ok_or_else(|| Problem::bad_request(format!("{name} is missing")));
        Ok(Self { connection: take("connection")?, ticket: take("ticket")? })
    }
}

/// What every call about a ticket may answer: the agent may not work on it, it is not there, one of the systems does not do its part.
struct TicketProblems;

impl IntoResponses for TicketProblems {
    fn responses() -> BTreeMap<String, RefOr<utoipa::openapi::Response>> {
        let (name, _) = Problem::response();
        ["403", "404", "502"].map(|status| (status.to_owned(), Ref::from_response_name(name).into())).into()
    }
}

/// What the panel is told about a ticket.
#[derive(Debug, Serialize, ToSchema)]
pub struct PanelAnswer {
    #[serde(flatten)]
    model: PanelModel,
    /// By name, in the language of `locale`.
    #[schema(value_type = HashMap<String, String>)]
    texts: Map<String, Value>,
    /// Only where the ticket system takes no notes from a server: the page puts the reports onto the ticket.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    record_in_page: bool,
}

/// What the panel offers on a ticket.
#[utoipa::path(
    get,
    path = routes::PANEL,
    operation_id = "panel",
    params(
        TicketReference,
        ("locale" = Option<String>, Query, description = "A language; without it the agent's own in the ticket system"),
    ),
    responses(
        (status = 200, description = "The panel's model", body = PanelAnswer),
        TicketProblems,
    ),
)]
pub async fn model(State(state): State<Arc<PanelState>>, caller: Caller, RawQuery(query): RawQuery) -> Result<Json<PanelAnswer>, Problem> {
    let mut values = read_query(query.as_deref())?;
    let reference = TicketReference::take(&mut values)?;
    let (connection, ticket) = caller.ticket_ref(&reference.connection, &reference.ticket)?;
    let access = ticket_access::check(connection, &caller.agent, ticket).await?;
    let allowed = allowed_actions::current(connection).await?;
    ticket_fields::fill_soon(&state.services, connection, &access.ticket.id);
    let wanted = values.remove("locale").or_else(|| access.agent.locale.clone()).unwrap_or_default();
    let (locale, texts) = state.translations.choose(&wanted);
    let abilities = connection.engine.as_ref().map(|engine| engine.abilities());
    let model = PanelModel {
        connection: connection.name().to_owned(),
        ticket: access.ticket.id.clone(),
        methods: allowed.methods,
        jumpoints: allowed.jumpoints,
        issues: allowed.issues,
        target: access.ticket.target.clone(),
        locale: locale.to_owned(),
        help_center_page: customize_help_center::address(&state.services, connection, &caller.agent, &access),
        session_keys: abilities.is_some_and(|abilities| abilities.session_keys),
        machines: abilities.is_some_and(|abilities| abilities.machines),
    };
    Ok(Json(PanelAnswer { model, texts: texts.clone(), record_in_page: connection.help_desk.abilities().note.is_none() }))
}

/// Body of `POST /api/v1/sessions/key`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct KeyBody {
    /// The connection's name or id.
    connection: String,
    /// The ticket's id.
    #[schema(min_length = 1, max_length = 64)]
    ticket: String,
    /// As the setting `session_key_queue`; without it, the setting.
    #[schema(pattern = "^(general|agent|(team|issue):[A-Za-z0-9_.-]{1,64})$")]
    queue: Option<String>,
    /// Without it, the setting `session_key_ttl_seconds`, else the appliance's default.
    #[schema(minimum = 60, maximum = 604_800)]
    ttl_seconds: Option<u32>,
}

/// Makes a session key.
#[utoipa::path(
    post,
    path = routes::SESSION_KEY,
    request_body = KeyBody,
    responses(
        (status = 200, description = "Made", body = SessionKey),
        TicketProblems,
        (status = 422, response = Problem),
    ),
)]
pub async fn session_key(
    State(state): State<Arc<PanelState>>,
    caller: Caller,
    JsonBody(body): JsonBody<KeyBody>,
) -> Result<Json<SessionKey>, Problem> {
    let (connection, ticket) = caller.ticket_ref(&body.connection, &body.ticket)?;
    let wanted = session_key::Wanted { queue: body.queue, ttl_seconds: body.ttl_seconds };
    Ok(Json(session_key::generate(&state.services, connection, &caller.agent, ticket, &wanted).await?))
}

/// Body of `POST /api/v1/sessions/jump`: a [`JumpRequest`] with its ticket.
pub enum JumpBody {}

impl PartialSchema for JumpBody {
    fn schema() -> RefOr<Schema> {
        let mut body = JumpRequest::schema();
        if let (RefOr::T(Schema::Object(body)), RefOr::T(Schema::Object(reference))) = (&mut body, TicketReference::schema()) {
            body.properties.extend(reference.properties);
            body.required.extend(reference.required);
            body.additional_properties = Some(Box::new(AdditionalProperties::FreeForm(false)));
            body.description = Some("An option that the method does not take is refused.".to_owned());
        }
        body
    }
}

impl ToSchema for JumpBody {
    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        JumpRequest::schemas(schemas);
    }
}

/// Makes the client-script URL of a Jump.
#[utoipa::path(
    post,
    path = routes::JUMP,
    request_body = JumpBody,
    responses(
        (status = 200, description = "Made", body = JumpLaunch),
        TicketProblems,
        (status = 422, response = Problem),
    ),
)]
pub async fn jump(
    State(state): State<Arc<PanelState>>,
    caller: Caller,
    JsonBody(mut body): JsonBody<Map<String, Value>>,
) -> Result<Json<JumpLaunch>, Problem> {
    let mut take = |name: &str| match body.remove(name) {
        Some(Value::String(text)) => Ok(text),
        Some(_) => Err(Problem::bad_request(format!("{name} must be a text"))),
        None => Err(Problem::bad_request(format!("{name} is missing"))),
    };
    let (connection, ticket) = (take("connection")?, take("ticket")?);
    let (connection, ticket) = caller.ticket_ref(&connection, &ticket)?;
    if let Some(unknown) = body.keys().find(|name| !JUMP_FIELDS.contains(&name.as_str())) {
        return Err(Problem::bad_request(format!("{} is no field of a jump", unknown.chars().take(60).collect::<String>())));
    }
    let request: JumpRequest = serde_json::from_value(Value::Object(body)).map_err(|error| Problem::bad_request(error.to_string()))?;
    let launch = jump::launch(&state.services, connection, &caller.agent, ticket, &request).await?;
    Ok(Json(JumpLaunch {
        launch_url: launch.url,
        expires_at: launch.expires_at.map(|seconds| rfc3339(seconds.saturating_mul(1_000))),
        link: launch.link.map(|link| link.id),
    }))
}

/// Body of `POST /api/v1/sessions/chat-link`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ChatLinkBody {
    /// The connection's name or id.
    connection: String,
    /// The ticket's id.
    #[schema(min_length = 1, max_length = 64)]
    ticket: String,
    /// The code name of one of the panel's `issues`; without it the customer chooses.
    #[schema(pattern = "^[A-Za-z0-9_-]{1,64}$")]
    issue: Option<String>,
}

/// Makes a chat link.
#[utoipa::path(
    post,
    path = routes::SESSION_CHAT_LINK,
    request_body = ChatLinkBody,
    responses(
        (status = 200, description = "Made", body = ChatLink),
        TicketProblems,
        (status = 422, response = Problem),
    ),
)]
pub async fn chat_link(
    State(state): State<Arc<PanelState>>,
    caller: Caller,
    JsonBody(body): JsonBody<ChatLinkBody>,
) -> Result<Json<ChatLink>, Problem> {
    let (connection, ticket) = caller.ticket_ref(&body.connection, &body.ticket)?;
    let (url, expires_ms) = chat_link::make(&state.services, connection, &caller.agent, ticket, body.issue.as_deref()).await?;
    Ok(Json(ChatLink { url, expires_at: rfc3339(expires_ms) }))
}

/// Body of `POST /api/v1/sessions/record`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RecordBody {
    /// The connection's name or id.
    connection: String,
    /// The ticket's id.
    #[schema(min_length = 1, max_length = 64)]
    ticket: String,
    /// The session's id.
    #[schema(pattern = "^[0-9a-fA-F]{32}$")]
    lsid: String,
}

/// Body of `POST /api/v1/sessions/recorded`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RecordedBody {
    /// The connection's name or id.
    connection: String,
    /// The ticket's id.
    #[schema(min_length = 1, max_length = 64)]
    ticket: String,
    /// The session's id.
    #[schema(pattern = "^[0-9a-fA-F]{32}$")]
    lsid: String,
    /// As `record` gave it: another browser may add a report from now on.
    #[schema(max_length = 64)]
    lease: Option<String>,
}

/// The report of an ended session, for the page to put onto its ticket.
#[utoipa::path(
    post,
    path = routes::SESSION_RECORD,
    request_body = RecordBody,
    responses(
        (status = 200, description = "The note", body = PageRecord),
        TicketProblems,
        (status = 409, response = Problem),
        (status = 422, response = Problem),
    ),
)]
pub async fn record(
    State(state): State<Arc<PanelState>>,
    caller: Caller,
    JsonBody(body): JsonBody<RecordBody>,
) -> Result<Json<PageRecord>, Problem> {
    let (connection, ticket) = caller.ticket_ref(&body.connection, &body.ticket)?;
    Ok(Json(record_in_page::prepare(&state.services, connection, &caller.agent, ticket, &body.lsid).await?))
}

/// A link to the recording of a session of the ticket.
///
/// It works for five minutes, for whoever has it.
#[utoipa::path(
    post,
    path = routes::SESSION_RECORDING,
    request_body = RecordBody,
    responses(
        (status = 200, description = "The link", body = RecordingLink),
        TicketProblems,
        (status = 409, response = Problem),
        (status = 422, response = Problem),
    ),
)]
pub async fn recording(
    State(state): State<Arc<PanelState>>,
    caller: Caller,
    JsonBody(body): JsonBody<RecordBody>,
) -> Result<Json<RecordingLink>, Problem> {
    let (connection, ticket) = caller.ticket_ref(&body.connection, &body.ticket)?;
    let url = recording::link(&state.services, connection, &caller.agent, ticket, &body.lsid).await?;
    Ok(Json(RecordingLink { url }))
}

/// The engine's machines, the ticket's own first, and the ticket's links to them.
#[utoipa::path(
    get,
    path = routes::MACHINES,
    operation_id = "machines",
    params(
        TicketReference,
        ("search" = Option<String>, Query, description = "Words that a machine's name, host name, address or person contains", max_length = 100),
        ("target" = Option<String>, Query, description = "What the ticket's page calls its machine, which is suggested then"),
    ),
    responses(
        (status = 200, description = "The machines", body = MachineList),
        TicketProblems,
        (status = 422, response = Problem),
    ),
)]
pub async fn machines(
    State(state): State<Arc<PanelState>>,
    caller: Caller,
    RawQuery(query): RawQuery,
) -> Result<Json<MachineList>, Problem> {
    let mut values = read_query(query.as_deref())?;
    let reference = TicketReference::take(&mut values)?;
    let (connection, ticket) = caller.ticket_ref(&reference.connection, &reference.ticket)?;
    let mut take = |name: &str| values.remove(name).unwrap_or_default();
    let (search, target) = (take("search"), take("target"));
    let wanted = machines::Wanted { search: &search, target: &target };
    Ok(Json(machines::of_ticket(&state.services, connection, &caller.agent, ticket, wanted).await?))
}

/// Body of `POST /api/v1/links/end`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EndLinkBody {
    /// The connection's name or id.
    connection: String,
    /// The ticket's id.
    #[schema(min_length = 1, max_length = 64)]
    ticket: String,
    /// The link's id.
    link: String,
}

/// Ends a link to a machine, and the session that was opened with it.
#[utoipa::path(
    post,
    path = routes::LINK_END,
    request_body = EndLinkBody,
    responses(
        (status = 200, description = "Ended, now or before", body = LinkEnded),
        TicketProblems,
    ),
)]
pub async fn end_link(
    State(state): State<Arc<PanelState>>,
    caller: Caller,
    JsonBody(body): JsonBody<EndLinkBody>,
) -> Result<Json<LinkEnded>, Problem> {
    let (connection, ticket) = caller.ticket_ref(&body.connection, &body.ticket)?;
    machines::end_link(&state.services, connection, &caller.agent, ticket, &body.link).await?;
    Ok(Json(LinkEnded {}))
}

/// The page put the report onto the ticket.
#[utoipa::path(
    post,
    path = routes::SESSION_RECORDED,
    request_body = RecordedBody,
    responses(
        (status = 200, description = "Remembered", body = Recorded),
        TicketProblems,
        (status = 422, response = Problem),
    ),
)]
pub async fn recorded(
    State(state): State<Arc<PanelState>>,
    caller: Caller,
    JsonBody(body): JsonBody<RecordedBody>,
) -> Result<Json<Recorded>, Problem> {
    let (connection, ticket) = caller.ticket_ref(&body.connection, &body.ticket)?;
    record_in_page::confirm(&state.services, connection, &caller.agent, ticket, &body.lsid, body.lease.as_deref()).await?;
    Ok(Json(Recorded { recorded: true }))
}

/// Body of `POST /api/v1/sessions/record/given-up`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct GivenUpBody {
    /// The connection's name or id.
    connection: String,
    /// The ticket's id.
    #[schema(min_length = 1, max_length = 64)]
    ticket: String,
    /// As `record` gave it.
    #[schema(max_length = 64)]
    lease: String,
}

/// The page did not put the report onto the ticket: another browser may.
#[utoipa::path(
    post,
    path = routes::SESSION_RECORD_GIVEN_UP,
    request_body = GivenUpBody,
    responses((status = 204, description = "Another browser may add a report to this ticket"), TicketProblems),
)]
pub async fn record_given_up(
    State(state): State<Arc<PanelState>>,
    caller: Caller,
    JsonBody(body): JsonBody<GivenUpBody>,
) -> Result<StatusCode, Problem> {
    let (connection, ticket) = caller.ticket_ref(&body.connection, &body.ticket)?;
    record_in_page::give_up(&state.services, connection, &caller.agent, ticket, &body.lease).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Support sessions of a ticket.
///
/// With `Accept: text/event-stream` a stream of them, where the caller has fewer than four: events named `sessions`, each with the same
/// JSON as data.
#[utoipa::path(
    get,
    path = routes::SESSIONS,
    params(TicketReference),
    responses(
        (
            status = 200,
            description = "The sessions, newest first",
            content((SessionList = "application/json"), (String = "text/event-stream")),
        ),
        TicketProblems,
    ),
)]
pub async fn sessions(
    State(state): State<Arc<PanelState>>,
    caller: Caller,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let mut values = read_query(query.as_deref())?;
    let reference = TicketReference::take(&mut values)?;
    let (connection, ticket) = caller.ticket_ref(&reference.connection, &reference.ticket)?;
    let access = ticket_access::check(connection, &caller.agent, ticket).await?;
    let streams =
        headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).is_some_and(|accept| accept.contains("text/event-stream"));
    if streams && let Some(open) = OpenStream::take(Watcher::of(&caller, connection)) {
        let stream = changes(state, caller.pass, connection.clone(), access.ticket.clone(), open);
        return Ok(Sse::new(stream).keep_alive(KeepAlive::new().interval(Duration::from_secs(15))).into_response());
    }
    let sessions = live_sessions::of_ticket(&state.services, connection, &access.ticket).await?;
    Ok(Json(SessionList { sessions }).into_response())
}

/// Who has a stream open.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Watcher {
    /// By connection and id there, whichever of their sessions asks.
    Agent(ConnectionId, String),
    Device(Uuid),
}

impl Watcher {
    fn of(caller: &Caller, connection: &Connection) -> Self {
        match &caller.agent {
            AgentReference::User(id) => Self::Agent(connection.id, id.clone()),
            AgentReference::Device { id, .. } => Self::Device(*id),
        }
    }
}

/// Streams open now, by who has them.
static STREAMS: LazyLock<Mutex<HashMap<Watcher, usize>>> = LazyLock::new(Mutex::default);

/// One stream among those; no longer counted when it is dropped.
struct OpenStream(Watcher);

impl OpenStream {
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

impl Drop for OpenStream {
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
    state: Arc<PanelState>,
    pass: Pass,
    connection: Arc<Connection>,
    ticket: Ticket,
    open: OpenStream,
) -> impl Stream<Item = Result<Event, Infallible>> {
    struct Polling {
        state: Arc<PanelState>,
        pass: Pass,
        connection: Arc<Connection>,
        ticket: Ticket,
        last: Option<Vec<LiveSession>>,
        polls: usize,
        _open: OpenStream,
    }
    let begin = Polling { state, pass, connection, ticket, last: None, polls: 0, _open: open };
    stream::unfold(begin, |mut polling| async move {
        while polling.polls < STREAM_POLLS {
            if polling.polls > 0 {
                tokio::select! {
                    () = tokio::time::sleep(STREAM_EVERY) => {}
                    // Whoever watches asks another server, or this one when it is back.
                    () = polling.state.stop.cancelled() => return None,
                }
                match polling.pass.connection(&polling.state, polling.connection.id).await {
                    Ok(Some(connection)) => polling.connection = connection,
                    // The next request is told why.
                    Ok(None) => return None,
                    Err(error) => {
                        tracing::warn!(%error, "a stream of sessions ends");
                        return None;
                    }
                }
            }
            polling.polls += 1;
            match live_sessions::of_ticket(&polling.state.services, &polling.connection, &polling.ticket).await {
                Ok(sessions) if polling.last.as_ref() != Some(&sessions) => {
                    let list = SessionList { sessions };
                    let event = Event::default().event("sessions").json_data(&list).unwrap_or_default();
                    polling.last = Some(list.sessions);
                    return Some((Ok(event), polling));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_an_object() {
        #[derive(Debug, PartialEq, Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Body {
            connection: String,
        }
        let read = |body: &str| read_object::<Body>(body.as_bytes()).map(|body| body.connection);
        assert_eq!(read(" \n{\"connection\": \"a\"}"), Ok("a".to_owned()));
        assert_eq!(read("[\"a\"]"), Err("The body must be a JSON object.".to_owned()));
        for wrong in ["", "7", "\"a\"", "{", "{\"connection\": \"a\", \"more\": 1}", "{\"connection\": \"a\", \"connection\": \"b\"}"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
