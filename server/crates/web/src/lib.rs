//! HTTP in: one file per caller. A door reads the request, calls one use case and words the answer; no SQL, no business.

mod admin;
pub mod agent_sessions;
mod appliance_events;
mod assets;
mod chat;
mod cookies;
mod device_proof;
pub mod devices;
mod event_names;
mod health;
mod media_type;
mod openapi;
mod pages;
mod panel;
mod peer;
mod problem;
pub mod state;
mod texts;
pub mod web_server;
mod zendesk_sidebar;

use std::time::Duration;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use deskbridge_shared::routes;
use tower_http::csrf::CsrfLayer;
use tower_http::set_header::SetResponseHeaderLayer;
use tower_http::timeout::RequestBodyDeadlineLayer;
use tower_http::trace::TraceLayer;

use problem::Problem;
pub use state::Web;
pub use texts::TranslationFiles;

/// Longest body of any request. A sidebar token, an outbound event with its custom fields (10 KB) and every panel call fit.
const MAX_BODY: usize = 64 * 1024;
/// Time for a whole body; a slow sender is cut off (DESIGN.md, Settled details).
const BODY_DEADLINE: Duration = Duration::from_secs(10);
/// Time for an answer. Longer than the outside systems behind it may take together.
const ANSWER_DEADLINE: Duration = Duration::from_secs(90);

/// The public listener's routes.
pub fn public(web: &Web) -> anyhow::Result<Router> {
    let origin = url::Url::parse(&web.panel.services.public_url)?.origin().ascii_serialization();
    let csrf = CsrfLayer::new().add_trusted_origin(&origin)?.with_rejection_response(|_| Problem::cross_site().into_response());
    let panel = Router::new()
        .route(routes::PANEL, get(panel::model))
        .route(routes::SESSION_KEY, post(panel::session_key))
        .route(routes::JUMP, post(panel::jump))
        .route(routes::SESSION_CHAT_LINK, post(panel::chat_link))
        .route(routes::SESSIONS, get(panel::sessions))
        .route(routes::DEVICE_SELF, get(devices::itself).delete(devices::forget))
        .route(routes::SESSION_RECORD, post(panel::record))
        .route(routes::SESSION_RECORDED, post(panel::recorded))
        .layer(csrf)
        .layer(cookies::session_layer(web.panel.sessions.clone()))
        .layer(axum::middleware::from_fn(cookies::partition))
        .layer(axum::middleware::from_fn_with_state(web.panel.clone(), device_proof::verify))
        // A code is a proof of its own, and no browser sends it by itself.
        .route(routes::DEVICES, post(devices::pair))
        // Set here, so that the answer to a preflight is made by the layers below.
        .method_not_allowed_fallback(method_not_allowed)
        .layer(SetResponseHeaderLayer::overriding(header::CACHE_CONTROL, HeaderValue::from_static("no-store")))
        .layer(devices::cors())
        .layer(axum::middleware::map_response(devices::hide_cors));
    let sidebar = Router::new().route(routes::ZENDESK_SIDEBAR, post(zendesk_sidebar::open)).with_state(web.sidebar.clone());
    let events = Router::new().route(routes::APPLIANCE_EVENTS, post(appliance_events::receive)).with_state(web.events.clone());
    let assets = Router::new().route(&format!("{}/{{file}}", routes::ASSETS), get(assets::serve)).with_state(web.assets.clone());
    let pages = Router::new()
        .route(&format!("{}/{{token}}", routes::CHAT_LINK), get(chat::open))
        .route(routes::PAIR, get(devices::page))
        .with_state(web.pages.clone());
    let router = Router::new()
        .merge(panel.with_state(web.panel.clone()))
        .merge(sidebar)
        .merge(events)
        .merge(assets)
        .merge(pages)
        .merge(health_routes(web))
        .route(routes::OPENAPI, get(openapi::document))
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed);
    Ok(common(router))
}

fn health_routes(web: &Web) -> Router {
    Router::new().route(routes::HEALTHZ, get(health::alive)).route(routes::READYZ, get(health::ready)).with_state(web.health.clone())
}

/// The admin listener's routes.
pub fn admin(web: &Web) -> Router {
    let own = Router::new().route("/", get(admin::front)).route(routes::METRICS, get(admin::metrics)).with_state(web.admin.clone());
    let router = own.merge(health_routes(web)).fallback(not_found).method_not_allowed_fallback(method_not_allowed);
    common(router)
}

/// What holds for every answer.
fn common(router: Router) -> Router {
    let fixed = |name, value| SetResponseHeaderLayer::if_not_present(name, HeaderValue::from_static(value));
    // The matched route, never the path or query: those of chat links and events hold tokens.
    let trace = TraceLayer::new_for_http().make_span_with(|request: &axum::extract::Request| {
        let route = request.extensions().get::<axum::extract::MatchedPath>().map_or("(none)", axum::extract::MatchedPath::as_str);
        tracing::info_span!("request", method = %request.method(), route)
    });
    // One stack, outermost first: axum boxes request and answer anew for each layer added by itself.
    router.layer((
        trace,
        fixed(header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"),
        fixed(header::REFERRER_POLICY, "no-referrer"),
        fixed(header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        axum::middleware::from_fn(answer_deadline),
        RequestBodyDeadlineLayer::new(BODY_DEADLINE),
        DefaultBodyLimit::max(MAX_BODY),
    ))
}

/// Nothing waits for ever. A stream of events is an answer at once.
async fn answer_deadline(request: axum::extract::Request, next: axum::middleware::Next) -> Response {
    match tokio::time::timeout(ANSWER_DEADLINE, next.run(request)).await {
        Ok(response) => response,
        Err(_) => Problem::too_slow().into_response(),
    }
}

async fn not_found() -> Problem {
    Problem::not_found()
}

async fn method_not_allowed() -> Problem {
    Problem::method_not_allowed()
}
