//! HTTP in: one file per caller. A door reads the request, calls one use case and words the answer; no SQL, no business.

mod admin;
pub mod agent_sessions;
pub mod api_caller;
mod appliance_events;
mod assets;
mod chat;
mod cookies;
mod customize;
mod device_proof;
pub mod devices;
mod event_names;
mod health;
mod help_center;
mod incidents;
mod media_type;
mod openapi;
mod pages;
mod panel;
mod peer;
mod problem;
mod recording;
pub mod state;
mod texts;
pub mod web_server;
mod zendesk_sidebar;

use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::DefaultBodyLimit;
use axum::http::{HeaderMap, HeaderValue, StatusCode, Version, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use deskbridge_shared::api::ANSWER_DEADLINE_MS;
use deskbridge_shared::routes;
use tower_http::csrf::CsrfLayer;
use tower_http::set_header::SetResponseHeaderLayer;
use tower_http::timeout::RequestBodyDeadlineLayer;
use tower_http::trace::TraceLayer;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use problem::Problem;
pub use state::Web;
pub use texts::TranslationFiles;

/// Longest body of any request. A sidebar token, an outbound event with its custom fields (10 KB) and every panel call fit.
const MAX_BODY: usize = 64 * 1024;
/// Time for a whole body; a slow sender is cut off (DESIGN.md, Settled details).
const BODY_DEADLINE: Duration = Duration::from_secs(10);
/// Time for an answer. Longer than the outside systems behind it may take together.
const ANSWER_DEADLINE: Duration = Duration::from_millis(ANSWER_DEADLINE_MS as u64);

/// The public listener's routes. What `routes!` adds has its description with it; nothing is added in another way.
pub fn public(web: &Web) -> anyhow::Result<Router> {
    let origin = url::Url::parse(&web.panel.services.public_url)?.origin().ascii_serialization();
    let csrf = CsrfLayer::new().add_trusted_origin(&origin)?.with_rejection_response(|_| Problem::cross_site().into_response());
    let mut calls = OpenApiRouter::with_openapi(openapi::frame())
        .routes(routes!(panel::model))
        .routes(routes!(panel::session_key))
        .routes(routes!(panel::jump))
        .routes(routes!(panel::machines))
        .routes(routes!(panel::end_link))
        .routes(routes!(panel::chat_link))
        .routes(routes!(panel::sessions))
        .routes(routes!(devices::itself, devices::forget))
        .routes(routes!(panel::recording))
        .routes(routes!(panel::record))
        .routes(routes!(panel::recorded))
        .routes(routes!(panel::record_given_up));
    openapi::add_callers(calls.get_openapi_mut());
    let calls = calls
        .layer(csrf)
        .layer(cookies::session_layer(web.panel.sessions.clone()))
        .layer(axum::middleware::from_fn(cookies::partition))
        .layer(axum::middleware::from_fn_with_state(web.panel.clone(), device_proof::verify))
        // A code is a proof of its own, and no browser sends it by itself.
        .routes(routes!(devices::pair));
    let (panel, document) = calls.split_for_parts();
    let panel = panel
        // Set here, so that the answer to a preflight is made by the layers below.
        .method_not_allowed_fallback(method_not_allowed)
        .layer(SetResponseHeaderLayer::overriding(header::CACHE_CONTROL, HeaderValue::from_static("no-store")))
        .layer(devices::cors())
        .layer(axum::middleware::map_response(devices::hide_cors));
    let sidebar = OpenApiRouter::new().routes(routes!(zendesk_sidebar::open)).with_state(web.sidebar.clone());
    let events = OpenApiRouter::new().routes(routes!(appliance_events::receive)).with_state(web.events.clone());
    let incidents = OpenApiRouter::new()
        .routes(routes!(incidents::receive))
        .routes(routes!(incidents::status))
        .layer(DefaultBodyLimit::max(incidents::MAX_BODY))
        .with_state(web.incidents.clone());
    let assets = OpenApiRouter::new().routes(routes!(assets::serve)).with_state(web.assets.clone());
    let button = OpenApiRouter::new().routes(routes!(help_center::button)).with_state(web.assets.clone());
    let (help_center, document) =
        OpenApiRouter::with_openapi(document).routes(routes!(help_center::offer)).routes(routes!(help_center::start)).split_for_parts();
    let help_center = help_center
        // Set here, so that the answer to a preflight is made by the layer below.
        .method_not_allowed_fallback(method_not_allowed)
        .layer(axum::middleware::from_fn_with_state(web.help_center.clone(), help_center::cors))
        .with_state(web.help_center.clone());
    let pages = OpenApiRouter::new()
        .routes(routes!(chat::look, chat::press))
        .routes(routes!(chat::open, chat::open_once_more))
        .routes(routes!(devices::page))
        .routes(routes!(recording::read))
        .with_state(web.pages.clone());
    let customize =
        OpenApiRouter::new().routes(routes!(customize::page)).routes(routes!(customize::check)).with_state(web.customize.clone());
    let (router, document) = OpenApiRouter::with_openapi(document)
        .merge(sidebar)
        .merge(events)
        .merge(incidents)
        .merge(assets)
        .merge(button)
        .merge(pages)
        .merge(customize)
        .merge(health_routes(web))
        .split_for_parts();
    let (description, mut document) = OpenApiRouter::<Bytes>::with_openapi(document).routes(routes!(openapi::document)).split_for_parts();
    openapi::add_common(&mut document);
    let pages = web.pages.clone();
    let router = router
        .merge(panel.with_state(web.panel.clone()))
        .merge(help_center)
        .merge(description.with_state(Bytes::from(serde_json::to_vec(&document)?)))
        .fallback(move |headers: HeaderMap| async move { nothing_here(&pages, &headers) })
        .method_not_allowed_fallback(method_not_allowed);
    Ok(common(router))
}

fn health_routes(web: &Web) -> OpenApiRouter {
    OpenApiRouter::new().routes(routes!(health::alive)).routes(routes!(health::ready)).with_state(web.health.clone())
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
    // Who answers with a failure has logged why.
    let trace = trace.on_failure(());
    // One stack, outermost first: axum boxes request and answer anew for each layer added by itself.
    router.layer((
        trace,
        fixed(header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"),
        fixed(header::REFERRER_POLICY, "no-referrer"),
        fixed(header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        // Only what never changes says otherwise.
        fixed(header::CACHE_CONTROL, "no-store"),
        axum::middleware::from_fn(one_host),
        axum::middleware::from_fn(answer_deadline),
        RequestBodyDeadlineLayer::new(BODY_DEADLINE),
        DefaultBodyLimit::max(MAX_BODY),
    ))
}

/// Proxies and we must not disagree about which host is meant (RFC 9112, 3.2). HTTP/2 names it in the request itself.
async fn one_host(request: axum::extract::Request, next: axum::middleware::Next) -> Response {
    let given = request.headers().get_all(header::HOST).iter().count();
    let is_named = match request.version() {
        Version::HTTP_2 => given + usize::from(request.uri().authority().is_some()) > 0 && given <= 1,
        Version::HTTP_11 => given == 1,
        _ => given <= 1,
    };
    if is_named { next.run(request).await } else { Problem::bad_request("The request needs one Host header.").into_response() }
}

/// Nothing waits for ever. A stream of events is an answer at once.
async fn answer_deadline(request: axum::extract::Request, next: axum::middleware::Next) -> Response {
    match tokio::time::timeout(ANSWER_DEADLINE, next.run(request)).await {
        Ok(response) => response,
        Err(_) => Problem::too_slow().into_response(),
    }
}

/// A page for a person, whose browser asks for one: mail programs break links. For programs, a problem document.
fn nothing_here(state: &state::PageState, headers: &HeaderMap) -> Response {
    let accepts = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if accepts.contains("text/html") {
        let locale = state.translations.of_request(headers);
        pages::respond(StatusCode::NOT_FOUND, state.pages.message(locale, pages::Message::NotFound))
    } else {
        Problem::not_found().into_response()
    }
}

async fn not_found() -> Problem {
    Problem::not_found()
}

async fn method_not_allowed() -> Problem {
    Problem::method_not_allowed()
}

#[cfg(test)]
mod tests {
    use super::*;
    use deskbridge_http_client::TOTAL_TIMEOUT;
    use deskbridge_shared::api::PANEL_PATIENCE_MS;

    #[test]
    fn the_server_answers_before_the_panel_gives_up() {
        assert!(TOTAL_TIMEOUT < ANSWER_DEADLINE, "it knows who did not answer");
        assert!(ANSWER_DEADLINE < Duration::from_millis(PANEL_PATIENCE_MS.into()), "and says so before the panel blames the network");
    }
}
