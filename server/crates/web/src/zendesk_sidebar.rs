//! `POST /zendesk/sidebar`: Zendesk opens the sidebar with a signed token (zendesk.md b.1–b.7).
//!
//! A verified token opens a session and answers the page, whose URL keeps Zendesk's query. Every refusal looks the same
//! from outside: a plain page without a word about accounts; the reason is in the log.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use deskbridge_core::ids::TenantId;
use deskbridge_shared::routes;
use serde_json::json;
use tower_sessions::session::Id;
use utoipa::ToSchema;

use deskbridge_help_desks::zendesk::SidebarApp;
use deskbridge_help_desks::zendesk::app_key::KeyFault;
use deskbridge_help_desks::zendesk::sidebar_token::{Token, TokenFault, Verified};
use deskbridge_store::StoreError;
use deskbridge_use_cases::connections::Connection;
use deskbridge_work::metrics;

use crate::pages::{self, ColorScheme, Message, SidebarSession};
use crate::panel::Identity;
use crate::problem::Problem;
use crate::state::SidebarState;
use crate::{cookies, media_type};

/// What a refusal's page may load: its style. It stands in Zendesk's frame, and naming that account would tell who has one here.
const REFUSAL_POLICY: &str = "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'";

/// One fetch of an account's key in this time is enough for all servers together.
const REFETCH_AFTER_MS: i64 = 300_000;

/// Why the sidebar does not open.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error("the body is not a form")]
    ContentType,
    #[error("the form has no token, or more than one")]
    TokenField,
    #[error("the query is not Zendesk's: {0}")]
    Query(&'static str),
    #[error("token: {0}")]
    Token(#[from] TokenFault),
    #[error("no installation of a configured account")]
    UnknownInstallation,
    #[error("the token was used before")]
    Replay,
    #[error(transparent)]
    Key(#[from] KeyFault),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("there is no page in this language")]
    Page,
}

/// What the query says.
struct Place<'a> {
    origin: Cow<'a, str>,
    app_guid: Cow<'a, str>,
    color_scheme: ColorScheme,
}

/// What Zendesk posts.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes what is read pair by pair")]
struct SidebarForm {
    /// Signed by the account; it opens one session, once.
    #[schema(min_length = 1)]
    token: String,
}

/// Zendesk opens the sidebar with a signed token.
///
/// Verifies the token, opens a session, answers the page.
#[utoipa::path(
    post,
    path = routes::ZENDESK_SIDEBAR,
    operation_id = "open_sidebar",
    params(
        ("origin" = String, Query, description = "The account's; the token's issuer"),
        ("app_guid" = String, Query, description = "Zendesk's name for this instance of the app", format = "uuid"),
        ("colorScheme" = Option<String>, Query, description = "`dark`; anything else is light"),
    ),
    request_body(content = SidebarForm, content_type = "application/x-www-form-urlencoded"),
    responses(
        (
            status = 200,
            description = "The sidebar page",
            body = String,
            content_type = "text/html",
            headers(("Set-Cookie" = String, description = "The session's id, which the page has, too")),
        ),
        (status = 403, description = "The token opens nothing", body = String, content_type = "text/html"),
        (status = 415, description = "Not a form", body = String, content_type = "text/html"),
        (status = 503, description = "Try again in a moment", body = String, content_type = "text/html"),
    ),
)]
pub async fn open(
    State(state): State<Arc<SidebarState>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let body = match body {
        Ok(body) => body,
        Err(rejection) => return Problem::unread_body(rejection).into_response(),
    };
    match admit(&state, query.as_deref().unwrap_or_default(), &headers, &body).await {
        Ok(response) => {
            metrics::sidebar(true);
            response
        }
        Err(refusal) => {
            metrics::sidebar(false);
            refused(&state, &headers, &refusal)
        }
    }
}

async fn admit(state: &SidebarState, query: &str, headers: &HeaderMap, body: &[u8]) -> Result<Response, Refusal> {
    let token = token_field(headers, body)?;
    let place = read_query(query)?;
    let token = Token::read(&token)?;
    let directory = state.services.connections.current();
    // No key is looked at before this.
    let (connection, sidebar) = directory.by_installation(token.issuer(), token.audience()).ok_or(Refusal::UnknownInstallation)?;
    if place.origin != sidebar.origin() {
        return Err(Refusal::Query("origin is not the token's issuer"));
    }
    let verified = verify(state, sidebar, &token).await?;
    let identity = Identity { connection: connection.id, agent: verified.agent_id.to_string() };
    let id = open_session(state, connection, &identity, &verified).await?;
    // What an agent then does is logged; that they looked at a ticket is only counted.
    tracing::debug!(connection = connection.name(), agent = verified.agent_id, "sidebar opened");
    page(state, (connection, sidebar), &place, headers, (&id, &identity.owner()))
}

/// The one `token` of a form body.
fn token_field<'a>(headers: &HeaderMap, body: &'a [u8]) -> Result<Cow<'a, str>, Refusal> {
    if !media_type::is(headers, media_type::FORM) {
        return Err(Refusal::ContentType);
    }
    let mut tokens = url::form_urlencoded::parse(body).filter(|(name, _)| name == "token").map(|(_, value)| value);
    match (tokens.next(), tokens.next()) {
        (Some(token), None) if !token.is_empty() => Ok(token),
        _ => Err(Refusal::TokenField),
    }
}

fn read_query(query: &str) -> Result<Place<'_>, Refusal> {
    let mut values: HashMap<Cow<'_, str>, Cow<'_, str>> = HashMap::new();
    for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
        if name == "token" {
            return Err(Refusal::Query("a token in the address"));
        }
        if values.insert(name, value).is_some() {
            return Err(Refusal::Query("a repeated parameter"));
        }
    }
    let app_guid = values.remove("app_guid").filter(|guid| uuid::Uuid::try_parse(guid).is_ok() && guid.len() == 36);
    Ok(Place {
        origin: values.remove("origin").ok_or(Refusal::Query("no origin"))?,
        app_guid: app_guid.ok_or(Refusal::Query("app_guid is no GUID"))?,
        color_scheme: if values.get("colorScheme").is_some_and(|scheme| *scheme == "dark") {
            ColorScheme::Dark
        } else {
            ColorScheme::Light
        },
    })
}

/// Verifies with the cached key; a signature that does not match may mean a new key.
async fn verify(state: &SidebarState, sidebar: &SidebarApp, token: &Token<'_>) -> Result<Verified, Refusal> {
    let now = state.services.clock.now_seconds();
    let fetch = || app_key(state, sidebar);
    let key = sidebar.keys().get(fetch).await?;
    match token.verify(&key, &sidebar.expected(), now) {
        Err(TokenFault::Signature) => match sidebar.keys().after_bad_signature(&key, fetch).await {
            Some(newer) => Ok(token.verify(&newer, &sidebar.expected(), now)?),
            None => Err(TokenFault::Signature.into()),
        },
        other => Ok(other?),
    }
}

/// The account's key: what another server (or this one before a restart) fetched lately, else from the account; the older
/// one goes on serving while the account is away.
async fn app_key(state: &SidebarState, sidebar: &SidebarApp) -> Result<String, KeyFault> {
    let (store, name) = (&state.services.store, sidebar.key_name());
    let now = state.services.clock.now_ms();
    let stored = store.app_key(&name).await.unwrap_or_else(|error| {
        tracing::warn!(%error, "stored keys cannot be read");
        None
    });
    if let Some((pem, _)) = stored.as_ref().filter(|(_, fetched_at)| now - fetched_at < REFETCH_AFTER_MS) {
        return Ok(pem.clone());
    }
    match sidebar.fetch_key().await {
        Ok(pem) => {
            if let Err(error) = store.save_app_key(&TenantId::main(), &name, &pem, now).await {
                tracing::warn!(%error, "a fetched key cannot be kept for other servers");
            }
            Ok(pem)
        }
        Err(fault) => stored.map(|(pem, _)| pem).ok_or(fault),
    }
}

/// Opens a session unless the token was used before: one insert decides both.
async fn open_session(state: &SidebarState, connection: &Connection, identity: &Identity, verified: &Verified) -> Result<Id, Refusal> {
    let id = Id(i128::from_le_bytes(verified.session_id(&state.services.master_key)));
    let data = HashMap::from([(Identity::KEY.to_owned(), json!(identity))]);
    let row = state.sessions.new_session(&id, &connection.tenant, connection.id, &data, verified.remember_until);
    if state.admissions.commit(row).await? { Ok(id) } else { Err(Refusal::Replay) }
}

fn page(
    state: &SidebarState,
    (connection, sidebar): (&Connection, &SidebarApp),
    place: &Place<'_>,
    headers: &HeaderMap,
    (id, owner): (&Id, &str),
) -> Result<Response, Refusal> {
    let locale = state.translations.of_request(headers);
    let bearer = id.to_string();
    let session = SidebarSession {
        bearer: &bearer,
        owner,
        connection: connection.name(),
        account_origin: sidebar.origin(),
        app_guid: &place.app_guid,
    };
    let page = state.pages.sidebar(locale, place.color_scheme, &session).ok_or(Refusal::Page)?;
    let policy = format!(
        "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self'; connect-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors {}",
        sidebar.origin()
    );
    let mut response = Html(page).into_response();
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_str(&policy).unwrap_or(HeaderValue::from_static("frame-ancestors 'none'")),
    );
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::SET_COOKIE, cookies::session_cookie(id));
    Ok(response)
}

fn refused(state: &SidebarState, headers: &HeaderMap, refusal: &Refusal) -> Response {
    let (status, message) = match refusal {
        Refusal::Key(_) | Refusal::Store(_) | Refusal::Page => {
            tracing::error!(reason = %refusal, "the sidebar could not be opened");
            (StatusCode::SERVICE_UNAVAILABLE, Message::SidebarUnavailable)
        }
        Refusal::ContentType => (StatusCode::UNSUPPORTED_MEDIA_TYPE, plain_refusal(refusal)),
        _ => (StatusCode::FORBIDDEN, plain_refusal(refusal)),
    };
    let mut response = pages::respond(status, state.pages.message(state.translations.of_request(headers), message));
    // It stands in the ticket page's frame.
    response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(REFUSAL_POLICY));
    response
}

fn plain_refusal(refusal: &Refusal) -> Message {
    tracing::warn!(reason = %refusal, "sidebar refused");
    Message::SidebarOutside
}
