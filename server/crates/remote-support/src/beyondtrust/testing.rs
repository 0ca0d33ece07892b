//! A double of the appliance for this room's tests: it answers what it was told to and remembers what it was asked.
//! The simulated appliance with real behaviour lives in the tests package; this one must stay dumb.

use super::{ApplianceClient, ApplianceSettings, Credentials, Limits};
use axum::Json;
use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, post};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

pub(super) const OAUTH_SECRET: &str = "s3cret value";

#[derive(Clone)]
pub(super) struct Reply {
    status: StatusCode,
    headers: HeaderMap,
    body: String,
}

impl Reply {
    pub(super) fn new(status: StatusCode, body: impl Into<String>) -> Self {
        Self { status, headers: HeaderMap::new(), body: body.into() }
    }

    pub(super) fn ok(body: impl Into<String>) -> Self {
        Self::new(StatusCode::OK, body)
    }

    pub(super) fn with(mut self, name: &'static str, value: &'static str) -> Self {
        self.headers.insert(name, HeaderValue::from_static(value));
        self
    }
}

/// A request as it came.
#[derive(Clone)]
pub(super) struct Call {
    pub(super) path: String,
    pub(super) headers: HeaderMap,
    pub(super) body: String,
}

impl Call {
    pub(super) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

#[derive(Default)]
struct Memory {
    calls: Vec<Call>,
    token_calls: Vec<Call>,
    /// Tokens up to this number are dead.
    dead_tokens: usize,
    next: VecDeque<Reply>,
    always: Option<Reply>,
}

type Shared = Arc<Mutex<Memory>>;

pub(super) struct Double {
    host: String,
    memory: Shared,
}

impl Double {
    pub(super) async fn start() -> Self {
        let memory = Shared::default();
        let router = Router::new().route("/oauth2/token", post(token)).fallback(any(answer)).with_state(memory.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = listener.local_addr().unwrap().to_string();
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { host, memory }
    }

    pub(super) fn host(&self) -> &str {
        &self.host
    }

    /// The answer where no other is queued.
    pub(super) fn always(&self, reply: Reply) {
        self.memory.lock().unwrap().always = Some(reply);
    }

    /// Queues one answer.
    pub(super) fn next(&self, reply: Reply) {
        self.memory.lock().unwrap().next.push_back(reply);
    }

    pub(super) fn kill_tokens(&self) {
        let mut memory = self.memory.lock().unwrap();
        memory.dead_tokens = memory.token_calls.len();
    }

    pub(super) fn calls(&self) -> Vec<Call> {
        self.memory.lock().unwrap().calls.clone()
    }

    pub(super) fn token_calls(&self) -> Vec<Call> {
        self.memory.lock().unwrap().token_calls.clone()
    }

    pub(super) fn token_requests(&self) -> usize {
        self.token_calls().len()
    }

    pub(super) fn oauth_settings(&self) -> ApplianceSettings {
        let credentials = Credentials::OAuth { client_id: "client".to_owned(), client_secret: OAUTH_SECRET.into() };
        self.settings(credentials)
    }

    pub(super) fn legacy_settings(&self) -> ApplianceSettings {
        let credentials = Credentials::Legacy { username: "integration".to_owned(), password: "p&ss".into() };
        ApplianceSettings { use_plain_http: true, ..self.settings(credentials) }
    }

    fn settings(&self, credentials: Credentials) -> ApplianceSettings {
        let limits = Limits { per_second: 100_000, per_hour: 100_000_000 };
        ApplianceSettings { limits, ..ApplianceSettings::new(&self.host, credentials) }
    }

    pub(super) fn oauth_client(&self) -> ApplianceClient {
        ApplianceClient::without_tls(self.oauth_settings())
    }

    pub(super) fn legacy_client(&self) -> ApplianceClient {
        ApplianceClient::new(self.legacy_settings()).unwrap()
    }
}

async fn token(State(memory): State<Shared>, uri: Uri, headers: HeaderMap, body: String) -> Response {
    let call = Call { path: uri.path().to_owned(), headers, body };
    // base64("client:wrong")
    let wrong = call.header("authorization") == "Basic Y2xpZW50Ondyb25n";
    let mut memory = memory.lock().unwrap();
    memory.token_calls.push(call);
    if wrong {
        let error = serde_json::json!({"error": "invalid_client", "message": "Client authentication failed."});
        return (StatusCode::UNAUTHORIZED, Json(error)).into_response();
    }
    let token = format!("token-{}", memory.token_calls.len());
    Json(serde_json::json!({"access_token": token, "token_type": "Bearer", "expires_in": 3600})).into_response()
}

async fn answer(State(memory): State<Shared>, uri: Uri, headers: HeaderMap, body: String) -> Response {
    let call = Call { path: uri.path().to_owned(), headers, body };
    let mut memory = memory.lock().unwrap();
    let number = call.header("authorization").strip_prefix("Bearer token-").and_then(|number| number.parse::<usize>().ok());
    let dead = number.is_some_and(|number| number <= memory.dead_tokens);
    memory.calls.push(call);
    if dead {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    let reply = memory.next.pop_front().or_else(|| memory.always.clone()).expect("an answer was prepared");
    (reply.status, reply.headers, reply.body).into_response()
}
