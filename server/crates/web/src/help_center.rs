//! `/help-center/…`: the customer's button on the Help Center's pages. What a page says is a claim; who the customer is must be proved.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Extension, RawQuery, Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::{Json, http};
use deskbridge_core::clock::rfc3339;
use deskbridge_core::ids::{ConnectionId, TenantId};
use deskbridge_help_desks::HelpDeskError;
use deskbridge_help_desks::zendesk::{CustomerProof, HelpCenter};
use deskbridge_shared::routes;
use deskbridge_use_cases::Services;
use deskbridge_use_cases::connections::Connection;
use deskbridge_use_cases::customer_chat::{self, LIMIT_SPAN, Press, Refusal, ShownProof};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::{IntoParams, ToSchema};

use crate::assets::Assets;
use crate::media_type;
use crate::panel::read_query;
use crate::peer::{ClientAddress, network};
use crate::problem::Problem;
use crate::state::HelpCenterState;
use crate::texts::direction;

/// A browser asks so rarely whether the button has changed, in seconds.
const BUTTON_AGE: &str = "public, max-age=300";
/// A browser keeps the answer to a preflight for so many seconds.
const PREFLIGHT_AGE: &str = "600";
/// Time for all that is asked of other systems before a chat starts.
pub(crate) const START_TIME: Duration = Duration::from_secs(12);
/// Longest name of a connection, ticket, issue or locale.
const MAX_NAME: usize = 400;
/// Longest ticket.
const MAX_TICKET: usize = 64;
/// Addresses whose refusals one server counts at a time.
const MOST_ADDRESSES: usize = 20_000;
/// The texts of the button begin so.
const TEXT_PREFIX: &str = "button_";

/// The customer's button, a script for the Help Center's pages.
#[utoipa::path(
    get,
    path = routes::HELP_CENTER_BUTTON,
    operation_id = "help_center_button",
    responses(
        (status = 200, description = "The script", body = String, content_type = "text/javascript", headers(("ETag" = String))),
        (status = 304, description = "It has not changed"),
    ),
)]
pub async fn button(State(assets): State<Arc<Assets>>, headers: HeaderMap) -> Response {
    let button = &assets.button;
    let known = headers.get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let common = [
        (header::CONTENT_TYPE, "text/javascript; charset=utf-8"),
        (header::CACHE_CONTROL, BUTTON_AGE),
        (header::ETAG, &button.tag),
        (http::HeaderName::from_static("cross-origin-resource-policy"), "cross-origin"),
    ];
    if known.split(',').any(|tag| tag.trim().trim_start_matches("W/") == button.tag) {
        (StatusCode::NOT_MODIFIED, common).into_response()
    } else {
        (common, button.script.clone()).into_response()
    }
}

/// Lets pages of the Help Centers call across origins, without anything a browser adds by itself. Whose connection a page may name is checked
/// by the calls; a preflight names none.
pub async fn cors(State(state): State<Arc<HelpCenterState>>, request: Request, next: Next) -> Response {
    let allowed = origin(request.headers()).ok().flatten().filter(|origin| is_help_centers(&state.services, origin)).cloned();
    let mut response = if request.method() == Method::OPTIONS {
        match &allowed {
            Some(_) => {
                let headers = [
                    (header::ACCESS_CONTROL_ALLOW_METHODS, "GET, POST"),
                    (header::ACCESS_CONTROL_ALLOW_HEADERS, "content-type"),
                    (header::ACCESS_CONTROL_MAX_AGE, PREFLIGHT_AGE),
                ];
                (StatusCode::NO_CONTENT, headers).into_response()
            }
            None => Problem::foreign_page().into_response(),
        }
    } else {
        next.run(request).await
    };
    let headers = response.headers_mut();
    headers.append(header::VARY, HeaderValue::from_static("Origin"));
    if let Some(origin) = allowed {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static("Retry-After"));
    }
    response
}

/// The one `Origin`, if there is any.
fn origin(headers: &HeaderMap) -> Result<Option<&HeaderValue>, Problem> {
    let mut origins = headers.get_all(header::ORIGIN).iter();
    match (origins.next(), origins.next()) {
        (origin, None) => Ok(origin),
        _ => Err(Problem::foreign_page()),
    }
}

/// Whether the origin is that of a Help Center, of whatever connection.
fn is_help_centers(services: &Services, origin: &HeaderValue) -> bool {
    origin.to_str().is_ok_and(|origin| services.connections.current().is_help_center_origin(origin))
}

/// The connection that a page names, if it has a Help Center.
fn connection_called(services: &Services, name: &str) -> Result<Arc<Connection>, Problem> {
    let found = services.connections.current().called(&TenantId::main(), name).cloned();
    found.filter(|connection| connection.help_desk.help_center().is_some()).ok_or_else(Problem::connection_not_found)
}

/// Whether a page of this origin may ask about that connection.
fn admit(help_center: &HelpCenter, origin: &HeaderValue) -> Result<(), Problem> {
    let is_own = help_center.origins().iter().any(|own| own.as_bytes() == origin.as_bytes());
    if is_own { Ok(()) } else { Err(Problem::foreign_page()) }
}

/// What the button asks first.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "describes what is read by name")]
pub struct OfferQuery {
    /// The connection's name or id.
    connection: String,
    /// The page's language.
    locale: Option<String>,
}

/// An issue, as the button lists it.
#[derive(Debug, Serialize, ToSchema)]
pub struct OfferedIssue {
    /// Its code name.
    code: String,
    /// What people read.
    name: String,
}

/// What the button offers, and what it needs to do so.
#[derive(Debug, Serialize, ToSchema)]
pub struct OfferAnswer {
    /// To choose from; none: there is no button.
    issues: Vec<OfferedIssue>,
    /// How the customer may prove that the ticket is theirs: the first that the page can get is used.
    proofs: Vec<&'static str>,
    /// The ticket field that holds the proof `ticket_field`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    ticket_field: Option<String>,
    /// The ticket field that holds a chat link.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    link_field: Option<String>,
    /// By name, in the language of `locale`.
    #[schema(value_type = HashMap<String, String>)]
    texts: Map<String, Value>,
    /// The language of the texts.
    locale: String,
    /// In which direction that is written.
    dir: &'static str,
    /// False: the appliance says that no representative is logged in.
    available: bool,
}

/// What the button offers.
///
/// CORS for the origins of the connection's Help Center.
#[utoipa::path(
    get,
    path = routes::HELP_CENTER_OFFER,
    operation_id = "help_center_offer",
    params(OfferQuery),
    responses(
        (status = 200, description = "What is offered", body = OfferAnswer),
        (status = 400, response = Problem),
        (status = 403, response = Problem),
        (status = 404, response = Problem),
        (status = 502, response = Problem),
    ),
)]
pub async fn offer(
    State(state): State<Arc<HelpCenterState>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Json<OfferAnswer>, Problem> {
    let origin = origin(&headers)?;
    if origin.is_some_and(|origin| !is_help_centers(&state.services, origin)) {
        return Err(Problem::foreign_page());
    }
    let mut values = read_query(query.as_deref())?;
    let name = values.remove("connection").filter(|name| name.len() <= MAX_NAME);
    let connection = connection_called(&state.services, &name.ok_or_else(|| Problem::bad_request("connection is missing"))?)?;
    let help_center = connection.help_desk.help_center().ok_or_else(Problem::connection_not_found)?;
    if let Some(origin) = origin {
        admit(help_center, origin)?;
        state.seen.note(connection.id, origin, state.services.clock.now_ms());
    }
    let offer = within(START_TIME, customer_chat::offer(&connection)).await?;
    let (locale, _) = state.translations.choose(&values.remove("locale").unwrap_or_default());
    let texts = state.translations.page_texts(locale);
    let texts = texts.filter_map(|(name, text)| Some((name.strip_prefix(TEXT_PREFIX)?.to_owned(), text.clone()))).collect();
    let settings = help_center.settings();
    Ok(Json(OfferAnswer {
        issues: offer.issues.into_iter().map(|issue| OfferedIssue { code: issue.code_name, name: issue.title }).collect(),
        proofs: settings.customer_proof.iter().map(|proof| proof.name()).collect(),
        ticket_field: settings.ticket_field.filter(|_| help_center.takes(CustomerProof::TicketField)).map(|id| id.to_string()),
        link_field: settings.link_field.map(|id| id.to_string()),
        texts,
        locale: locale.to_owned(),
        dir: direction(locale),
        available: offer.is_available,
    }))
}

/// An outside system must not keep a customer waiting for ever.
async fn within<T, E: From<HelpDeskError>>(time: Duration, work: impl Future<Output = Result<T, E>>) -> Result<T, E> {
    tokio::time::timeout(time, work).await.unwrap_or_else(|_| Err(HelpDeskError::passing("no answer in time").into()))
}

/// Body of `POST /help-center/chats`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ChatBody {
    /// The connection's name or id.
    connection: String,
    /// The ticket's id.
    #[schema(min_length = 1, max_length = 64)]
    ticket: String,
    /// The code of one of the issues offered.
    issue: String,
    /// What shows that the ticket is the customer's.
    proof: ProofBody,
    /// `true`: the customer has closed the chat they had, and wants another.
    again: Option<String>,
}

/// What shows that a ticket is the customer's.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ProofBody {
    /// One of the offer's.
    kind: ProofKind,
    /// The token, or the field's value.
    #[schema(min_length = 1)]
    value: String,
}

/// The kinds of proof that a page can send.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ProofKind {
    /// The token that the Help Center gives its signed-in user.
    HelpCenterToken,
    /// The value of the ticket's field.
    TicketField,
}

/// A chat to be opened.
#[derive(Debug, Serialize, ToSchema)]
pub struct ChatAnswer {
    /// Opened by the customer's browser, it leads to the chat.
    #[schema(format = "uri")]
    url: String,
    /// RFC 3339 UTC.
    #[schema(format = "date-time")]
    expires_at: String,
}

/// A customer starts a chat.
///
/// CORS for the origins of the connection's Help Center. Nothing happens at the appliance before the answer's `url` is opened. The same press
/// again gets the same `url`.
#[utoipa::path(
    post,
    path = routes::HELP_CENTER_CHATS,
    operation_id = "start_chat",
    request_body = ChatBody,
    responses(
        (status = 201, description = "To be opened by the customer", body = ChatAnswer),
        (status = 400, response = Problem),
        (status = 403, response = Problem),
        (status = 404, response = Problem),
        (status = 409, response = Problem),
        (status = 415, response = Problem),
        (status = 422, response = Problem),
        (status = 429, response = Problem),
        (status = 502, response = Problem),
    ),
)]
pub async fn start(
    State(state): State<Arc<HelpCenterState>>,
    Extension(ClientAddress(address)): Extension<ClientAddress>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<(StatusCode, Json<ChatAnswer>), Problem> {
    let origin = origin(&headers)?.ok_or_else(Problem::foreign_page)?;
    let services = &state.services;
    if !is_help_centers(services, origin) {
        return Err(Problem::foreign_page());
    }
    if !media_type::is(&headers, media_type::JSON) {
        return Err(Problem::not_json());
    }
    let body = body.map_err(Problem::unread_body)?;
    let body = read_body(&body)?;
    check_lengths(&body)?;
    let connection = connection_called(services, &body.connection)?;
    let help_center = connection.help_desk.help_center().ok_or_else(Problem::connection_not_found)?;
    admit(help_center, origin)?;
    let proof = match body.proof.kind {
        ProofKind::HelpCenterToken => ShownProof::HelpCenterToken(&body.proof.value),
        ProofKind::TicketField => ShownProof::TicketField(&body.proof.value),
    };
    let press = Press { ticket: &body.ticket, issue: &body.issue, proof, again: body.again.as_deref() == Some("true") };
    match within(START_TIME, customer_chat::start(services, &connection, help_center, press)).await {
        Ok(chat) => {
            let url = format!("{}{}/{}", services.public_url, routes::HELP_CENTER_CHATS, chat.id);
            Ok((StatusCode::CREATED, Json(ChatAnswer { url, expires_at: rfc3339(chat.expires_at) })))
        }
        Err(refusal @ Refusal::Proof) => {
            let most = help_center.settings().refusals;
            let wait = state.refusals.note(connection.id, address, most, services.clock.now_ms());
            Err(wait.map_or_else(|| refusal.into(), Problem::too_many_chats))
        }
        Err(refusal) => Err(refusal.into()),
    }
}

/// Reads the body. To serde an array is an object without its names.
fn read_body(body: &[u8]) -> Result<ChatBody, Problem> {
    let read = serde_json::from_slice(body).map_err(|error| unread(&error))?;
    let shape: Value = serde_json::from_slice(body).map_err(|error| unread(&error))?;
    if shape.is_object() && shape["proof"].is_object() {
        Ok(read)
    } else {
        Err(Problem::bad_request("The body and its proof are objects; /openapi.json describes them."))
    }
}

/// Without what was sent: a proof may be in it.
fn unread(error: &serde_json::Error) -> Problem {
    Problem::bad_request(format!("The body does not read at line {}, column {}; /openapi.json describes it.", error.line(), error.column()))
}

fn check_lengths(body: &ChatBody) -> Result<(), Problem> {
    let long = [("connection", &body.connection, MAX_NAME), ("ticket", &body.ticket, MAX_TICKET), ("issue", &body.issue, MAX_NAME)];
    for (name, value, most) in long {
        if value.is_empty() || value.len() > most {
            return Err(Problem::invalid(name, &format!("1 to {most} characters")));
        }
    }
    if body.proof.value.is_empty() {
        return Err(Problem::invalid("proof", "its value is missing"));
    }
    Ok(())
}

/// Proofs that did not hold, by connection and address. A proof that holds is taken however many did not: people behind one proxy have one
/// address.
#[derive(Default)]
pub struct RefusedProofs(Mutex<HashMap<(ConnectionId, IpAddr), Refused>>);

struct Refused {
    ends_at: i64,
    count: u32,
}

impl RefusedProofs {
    /// Counts one (`now`: Unix ms), or says how long to wait where there were too many.
    fn note(&self, connection: ConnectionId, address: IpAddr, most: u32, now: i64) -> Option<Duration> {
        let mut refused = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if refused.len() >= MOST_ADDRESSES {
            refused.retain(|_, counted| counted.ends_at > now);
            // Still too many: all are counted anew rather than none.
            if refused.len() >= MOST_ADDRESSES {
                refused.clear();
            }
        }
        let span = i64::try_from(LIMIT_SPAN.as_millis()).unwrap_or(i64::MAX);
        let counted = refused.entry((connection, network(address))).or_insert(Refused { ends_at: now + span, count: 0 });
        if counted.ends_at <= now {
            *counted = Refused { ends_at: now + span, count: 0 };
        }
        if counted.count >= most {
            return Some(Duration::from_millis(u64::try_from(counted.ends_at - now).unwrap_or_default()));
        }
        counted.count += 1;
        None
    }
}

/// When a page of each origin last asked for the button's offer, for whoever sets it up.
#[derive(Default)]
pub struct SeenPages(Mutex<HashMap<(ConnectionId, String), i64>>);

impl SeenPages {
    /// Unix ms. Only origins that the connection has are noted, so they are few.
    fn note(&self, connection: ConnectionId, origin: &HeaderValue, now: i64) {
        let Ok(origin) = origin.to_str() else { return };
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert((connection, origin.to_owned()), now);
    }

    /// Unix ms; none: not since this server started.
    pub fn last(&self, connection: ConnectionId, origin: &str) -> Option<i64> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&(connection, origin.to_owned())).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refused_proofs_are_counted_by_address_for_an_hour() {
        let refused = RefusedProofs::default();
        let connection = |number: u128| ConnectionId::from(uuid::Uuid::from_u128(number));
        let note = |of: u128, address: &str, now| refused.note(connection(of), address.parse().unwrap(), 2, now);
        let hour = 3_600_000;
        assert_eq!(note(1, "192.0.2.1", 0), None);
        assert_eq!(note(1, "192.0.2.1", 10), None);
        assert_eq!(note(1, "192.0.2.1", 20_000), Some(Duration::from_millis(hour - 20_000)));
        assert_eq!(note(1, "192.0.2.2", 20_000), None, "another address");
        assert_eq!(note(2, "192.0.2.1", 20_000), None, "another connection");
        assert_eq!(note(1, "2001:db8::1", 0), None);
        assert_eq!(note(1, "2001:db8::2", 0), None);
        assert_eq!(note(1, "2001:db8::3", 0), Some(Duration::from_millis(hour)), "one network");
        assert_eq!(note(1, "192.0.2.1", i64::try_from(hour).unwrap()), None, "the hour is over");
    }

    #[test]
    fn many_addresses_do_not_fill_the_memory() {
        let refused = RefusedProofs::default();
        for number in 0..u32::try_from(MOST_ADDRESSES).unwrap() + 100 {
            refused.note(ConnectionId::from(uuid::Uuid::nil()), IpAddr::V4(number.into()), 2, 0);
        }
        assert!(refused.0.lock().unwrap().len() <= MOST_ADDRESSES);
    }
}
