//! `GET /openapi.json`: the public listener's description. Each route brings its own (`utoipa::path` at the handler, `routes!` in the
//! router); what stands here is what they share.

use axum::body::Bytes;
use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use deskbridge_shared::api::SESSION_OWNER_HEADER;
use deskbridge_shared::device::{DEVICE_HEADER, NONCE_HEADER, SIGNATURE_HEADER, TIME_HEADER};
use deskbridge_shared::routes;
use utoipa::ToResponse;
use utoipa::openapi::path::{Operation, PathItem};
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{ComponentsBuilder, InfoBuilder, License, OpenApi, OpenApiBuilder, Ref, Server};

use crate::cookies;
use crate::problem::{Members, Problem};

const ABOUT: &str = "The public listener. The panel's calls need a session, which Zendesk opens by its signed URL, or a paired browser's \
                     signature. An address that is not here is answered with 404, a method that is not here with 405 and the methods \
                     there are (`Allow`), both with a `Problem`; a browser that asks for a page (`Accept: text/html`) gets the 404 as one. Docs: panel-api.md, devices.md, incidents.md, operations.md.";

const OWNER: &str = "Whose session the sidebar's page was opened with, as the page has it. Beside a bearer that has ended, the cookie counts if \
                     its session is of this owner. It opens nothing by itself.";

/// The document without routes.
pub fn frame() -> OpenApi {
    let header = |name, about| SecurityScheme::ApiKey(ApiKey::Header(ApiKeyValue::with_description(name, about)));
    let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(Some("The id in the sidebar page")).build();
    let api_token = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(Some("An API token: docs/api-tokens.md")).build();
    let components = ComponentsBuilder::new()
        .security_scheme("bearer", SecurityScheme::Http(bearer))
        .security_scheme("cookie", SecurityScheme::ApiKey(ApiKey::Cookie(ApiKeyValue::new(cookies::NAME))))
        .security_scheme("session_owner", header(SESSION_OWNER_HEADER, OWNER))
        .security_scheme("device", header(DEVICE_HEADER, "The device's id. The four headers go together: docs/devices.md"))
        .security_scheme("device_time", header(TIME_HEADER, "Unix milliseconds"))
        .security_scheme("device_nonce", header(NONCE_HEADER, "16 random bytes, base64url without padding"))
        .security_scheme("device_signature", header(SIGNATURE_HEADER, "ECDSA on P-256 with SHA-256, r and s, base64url without padding"))
        .security_scheme("api_token", SecurityScheme::Http(api_token))
        .schema_from::<Problem>()
        .schema_from::<Members>()
        .response_from::<Problem>()
        .build();
    let info = InfoBuilder::new()
        .title("Deskbridge")
        .version("0")
        .description(Some(ABOUT))
        .license(Some(License::new(env!("CARGO_PKG_LICENSE"))))
        .build();
    OpenApiBuilder::new().info(info).servers(Some([Server::new("/")])).components(Some(components)).build()
}

/// What the layers in front of the panel's calls ask for, and what they answer themselves. A call that says who may make it keeps that.
pub fn add_callers(document: &mut OpenApi) {
    for (operation, is_safe) in operations(document) {
        operation.security.get_or_insert_with(callers);
        // The device's proof with the body it covers; the session.
        add_problems(operation, &[400, 401, 408, 413]);
        if !is_safe {
            // Another site's page.
            add_problems(operation, &[403]);
        }
    }
}

/// What [`crate::common`] may answer in place of every route.
pub fn add_common(document: &mut OpenApi) {
    for (operation, _) in operations(document) {
        // Says so where it asks for none of the schemes.
        operation.security.get_or_insert_default();
        // No Host or two; our own slowness.
        add_problems(operation, &[400, 503]);
        if operation.request_body.is_some() {
            add_problems(operation, &[408, 413]);
        }
    }
}

/// An agent's session, or a paired browser.
fn callers() -> Vec<SecurityRequirement> {
    let no_scopes = <[&str; 0]>::default;
    let device = ["device_time", "device_nonce", "device_signature"]
        .into_iter()
        .fold(SecurityRequirement::new("device", no_scopes()), |device, name| device.add(name, no_scopes()));
    let later_session = SecurityRequirement::new("bearer", no_scopes()).add("session_owner", no_scopes()).add("cookie", no_scopes());
    vec![SecurityRequirement::new("bearer", no_scopes()), SecurityRequirement::new("cookie", no_scopes()), later_session, device]
}

/// An answer the operation describes itself stays.
fn add_problems(operation: &mut Operation, statuses: &[u16]) {
    let (name, _) = Problem::response();
    for status in statuses {
        let answers = operation.responses.responses.entry(status.to_string());
        answers.or_insert_with(|| Ref::from_response_name(name).into());
    }
}

/// Each operation, and whether its method changes nothing.
fn operations(document: &mut OpenApi) -> impl Iterator<Item = (&mut Operation, bool)> {
    document.paths.paths.values_mut().flat_map(|item| {
        let PathItem { get, head, options, trace, put, post, delete, patch, .. } = item;
        let safe = [get, head, options, trace].into_iter().flatten().map(|operation| (operation, true));
        safe.chain([put, post, delete, patch].into_iter().flatten().map(|operation| (operation, false)))
    })
}

/// This description.
#[utoipa::path(get, path = routes::OPENAPI, responses((status = 200, description = "OpenAPI 3.1", content_type = "application/json")))]
pub async fn document(State(document): State<Bytes>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], document)
}

#[cfg(test)]
mod tests;
