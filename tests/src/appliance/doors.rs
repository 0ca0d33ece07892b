//! HTTP in: every request is recorded, may meet a fault, is authorised, and then goes to the part that answers it.

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State as Extracted};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::Response;
use serde_json::json;

use super::access;
use super::answer::{self, Refusal};
use super::command::{self, Call};
use super::parameters::Parameters;
use super::recording::{Endpoint, RecordedRequest, suffer, take_fault};
use super::start_session::Started;
use super::state::{Shared, State};
use super::{client_script, command_v2, pages, reporting};
use crate::tls::CloseWithoutAnswer;

/// Generous: the real limit is not known.
const BODY_LIMIT: usize = 1024 * 1024;

/// The whole appliance as a router.
pub(super) fn router(shared: Arc<Shared>) -> Router {
    // One handler: recording and faults come before any decision about paths.
    Router::new().fallback(receive).with_state(shared)
}

/// A request as the doors need it.
struct Received {
    method: Method,
    path: String,
    headers: HeaderMap,
    query: Parameters,
    /// Query and form together, or why they cannot be used.
    parameters: Result<Parameters, Refusal>,
    body: Bytes,
}

async fn receive(Extracted(shared): Extracted<Arc<Shared>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let Ok(body) = to_bytes(body, BODY_LIMIT).await else {
        return answer::text(StatusCode::PAYLOAD_TOO_LARGE, "The request is too large.");
    };
    let query = Parameters::parse(parts.uri.query().unwrap_or_default().as_bytes());
    let received = Received {
        parameters: Parameters::of_call(&parts.method, &parts.headers, &query, &body),
        method: parts.method,
        path: parts.uri.path().to_owned(),
        headers: parts.headers,
        query,
        body,
    };
    let endpoint = Endpoint::of(&received.path);
    let record = received.record(endpoint, shared.clock.now_milliseconds());
    let operation = record.operation.clone();
    let (number, fault, options) = shared.with(|state| {
        let number = state.recording.add(record);
        let fault = take_fault(&mut state.faults, endpoint, &operation);
        (number, fault, state.options.clone())
    });
    let mut response = match fault {
        Some(fault) => suffer(fault, &options, endpoint).await,
        None => shared.with(|state| answer(&shared, state, endpoint, received)),
    };
    if response.extensions().get::<CloseWithoutAnswer>().is_none() {
        shared.with(|state| state.recording.answered(number, response.status()));
    }
    if endpoint != Endpoint::Page {
        // One connection per call (beyondtrust.md B.1, B.4).
        let headers = response.headers_mut();
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

impl Received {
    fn record(&self, endpoint: Endpoint, at_milliseconds: i64) -> RecordedRequest {
        let parameters = self.parameters.as_ref().unwrap_or(&self.query);
        let operation = match endpoint {
            Endpoint::Token => parameters.get("grant_type").map(str::to_owned),
            Endpoint::Command | Endpoint::ClientScript => parameters.get("action").map(str::to_owned),
            Endpoint::Reporting => parameters.get("generate_report").map(str::to_owned),
            Endpoint::CommandV2 => Some(format!("{} {}", self.method, self.path_v2())),
            _ => None,
        };
        let text = |name| self.headers.get(name).and_then(|value| value.to_str().ok());
        RecordedRequest {
            number: 0,
            at_milliseconds,
            method: self.method.clone(),
            path: self.path.clone(),
            endpoint,
            operation: operation.unwrap_or_default(),
            parameters: parameters.pairs().to_vec(),
            authorization: access::authorization_kind(&self.headers, parameters),
            connection_close: text(header::CONNECTION).is_some_and(|value| value.eq_ignore_ascii_case("close")),
            content_type: text(header::CONTENT_TYPE).map(str::to_owned),
            status: None,
        }
    }

    fn path_v2(&self) -> &str {
        self.path.strip_prefix("/api/command/v2").unwrap_or_default()
    }
}

fn answer(shared: &Shared, state: &mut State, endpoint: Endpoint, received: Received) -> Response {
    let now = shared.clock.now();
    match endpoint {
        Endpoint::Token => {
            if received.method != Method::POST {
                return answer::text(StatusCode::METHOD_NOT_ALLOWED, Body::empty());
            }
            access::token_endpoint(&state.options, &mut state.tokens, &received.headers, received.parameters, now)
        }
        Endpoint::Command | Endpoint::Reporting => xml_api(shared, state, endpoint, received),
        Endpoint::CommandV2 => json_api(shared, state, &received),
        Endpoint::ClientScript => {
            let script = received.parameters;
            match script.and_then(|script| client_script::generate(&state.options, &script)) {
                Ok((filename, text)) => answer::attachment(&filename, text),
                Err(refusal) => {
                    let namespace = state.options.namespaces.command();
                    answer::error_document(&state.options, namespace, None, &refusal)
                }
            }
        }
        Endpoint::StartSession => {
            let started = received.parameters;
            match started.and_then(|parameters| state.start_session(&parameters, now)) {
                Ok(Started::Chat { lsid }) => match state.sessions.get(&lsid) {
                    Some(session) => pages::chat_page(session, state),
                    None => pages::problem(&Refusal::new("The session could not be started.")),
                },
                Ok(Started::Download { client_id }) => {
                    let content = format!("Simulated customer client.\nstart={client_id}\n");
                    answer::attachment("support-customer-client.exe", content)
                }
                Err(refusal) => pages::problem(&refusal),
            }
        }
        Endpoint::Health => {
            let status = if state.healthy { StatusCode::OK } else { StatusCode::INTERNAL_SERVER_ERROR };
            answer::text(status, if state.healthy { "1" } else { "0" })
        }
        Endpoint::Page => match &received.parameters {
            Ok(form) => pages::answer(state, &received.method, &received.path, form, now),
            Err(refusal) => pages::problem(refusal),
        },
        Endpoint::Unknown => answer::text(StatusCode::NOT_FOUND, "Not found."),
    }
}

fn xml_api(shared: &Shared, state: &mut State, endpoint: Endpoint, received: Received) -> Response {
    let reporting = endpoint == Endpoint::Reporting;
    let now = shared.clock.now();
    let allowed = state.options.authentication;
    let has_username = received.parameters.as_ref().is_ok_and(|p| p.get("username").is_some());
    let has_header = received.headers.contains_key(header::AUTHORIZATION);
    let by_password = allowed.allows_password() && (!allowed.allows_oauth() || (has_username && !has_header));
    if !by_password && !access::has_valid_token(&state.tokens, &received.headers, now) {
        return answer::access_denied();
    }
    let mut normal_root = None;
    let mut remaining = None;
    let answered = received.parameters.and_then(|mut parameters| {
        if by_password {
            access::check_password(&state.options, &mut parameters)?;
        }
        normal_root = if reporting {
            parameters.get("generate_report").and_then(reporting::normal_root)
        } else {
            let action = parameters.get("action");
            action.and_then(|action| command::normal_root(&state.options, action))
        };
        match admit(shared, state) {
            Admission::Unlimited => {}
            Admission::Left(left) => remaining = Some(left),
            Admission::Refused => return Ok(None),
        }
        if reporting {
            reporting::answer(state, &shared.base_url, &parameters, now).map(Some)
        } else {
            let mut call = Call { state, base_url: &shared.base_url, now };
            call.answer(&parameters).map(Some)
        }
    });
    let mut response = match answered {
        Ok(Some(text)) => answer::xml(text),
        Ok(None) => return too_many_requests(state),
        Err(refusal) => {
            let namespace = if reporting { state.options.namespaces.reporting() } else { state.options.namespaces.command() };
            answer::error_document(&state.options, namespace, normal_root, &refusal)
        }
    };
    add_rate_headers(&mut response, state, remaining);
    response
}

fn json_api(shared: &Shared, state: &mut State, received: &Received) -> Response {
    let now = shared.clock.now();
    if !access::has_valid_token(&state.tokens, &received.headers, now) {
        return answer::access_denied();
    }
    let remaining = match admit(shared, state) {
        Admission::Unlimited => None,
        Admission::Left(left) => Some(left),
        Admission::Refused => return too_many_requests(state),
    };
    let mut call = Call { state, base_url: &shared.base_url, now };
    let mut response =
        command_v2::answer(&mut call, &received.method, received.path_v2(), &received.query, &received.headers, &received.body);
    add_rate_headers(&mut response, state, remaining);
    response
}

enum Admission {
    Unlimited,
    Left(u32),
    Refused,
}

fn admit(shared: &Shared, state: &mut State) -> Admission {
    let Some(limits) = state.options.rate_limits else {
        return Admission::Unlimited;
    };
    match state.rate.admit(limits, shared.clock.now_milliseconds()) {
        Some(left) => Admission::Left(left),
        None => Admission::Refused,
    }
}

/// Status and body of a limited call are not known (beyondtrust.md J.1); no `Retry-After` is promised anywhere.
fn too_many_requests(state: &State) -> Response {
    let body = json!({
        "error": "rate_limit_exceeded",
        "message": "Too many requests.",
    });
    let mut response = answer::json(StatusCode::TOO_MANY_REQUESTS, &body);
    let remaining = state.options.rate_limits.map(|limits| state.rate.remaining(limits));
    add_rate_headers(&mut response, state, remaining);
    response
}

fn add_rate_headers(response: &mut Response, state: &State, remaining: Option<u32>) {
    if let (Some(limits), Some(remaining)) = (state.options.rate_limits, remaining) {
        answer::add_header(response, "x-ratelimit-limit", limits.per_hour);
        answer::add_header(response, "x-ratelimit-remaining", remaining);
    }
}
