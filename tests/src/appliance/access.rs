//! Who may call: OAuth tokens, legacy credentials, and the limits per API account.
//!
//! It only judges credentials and counts; what the caller may do is asked door by door.

use std::collections::VecDeque;

use axum::http::{HeaderMap, StatusCode, header};
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use super::answer::{self, Refusal};
use super::options::{Options, RateLimits};
use super::parameters::Parameters;
use super::state::random_hex;

/// An account's tokens live one hour (beyondtrust.md C.1).
pub const TOKEN_SECONDS: i64 = 3600;
/// The 31st token kills the oldest (beyondtrust.md C.1).
pub const TOKEN_LIMIT: usize = 30;

/// How a request proved who sent it, without the proof.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum AuthorizationKind {
    /// Nothing.
    None,
    /// `Authorization: Basic`.
    Basic,
    /// `Authorization: Bearer`.
    Bearer,
    /// `username` and `password`, or `client_id` and `client_secret`, among the parameters.
    Parameters,
    /// Another `Authorization` scheme.
    Other,
}

#[derive(Debug)]
struct Token {
    value: String,
    expires_at: i64,
}

/// The valid tokens of the API account, oldest first.
#[derive(Debug, Default)]
pub(super) struct Tokens(VecDeque<Token>);

impl Tokens {
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    pub(super) fn valid(&self, now: i64) -> usize {
        self.0.iter().filter(|token| token.expires_at > now).count()
    }

    pub(super) fn values(&self) -> Vec<String> {
        self.0.iter().map(|token| token.value.clone()).collect()
    }

    fn accepts(&self, value: &str, now: i64) -> bool {
        let mut tokens = self.0.iter();
        tokens.any(|token| token.value == value && token.expires_at > now)
    }

    fn issue(&mut self, value: String, now: i64) {
        self.0.retain(|token| token.expires_at > now);
        while self.0.len() >= TOKEN_LIMIT {
            self.0.pop_front();
        }
        self.0.push_back(Token { value, expires_at: now + TOKEN_SECONDS });
    }
}

/// `POST /oauth2/token` (beyondtrust.md C.1).
pub(super) fn token_endpoint(
    options: &Options,
    tokens: &mut Tokens,
    headers: &HeaderMap,
    parameters: Result<Parameters, Refusal>,
    now: i64,
) -> Response {
    let parameters = match parameters {
        Ok(parameters) => parameters,
        Err(refusal) => return oauth_error(StatusCode::BAD_REQUEST, "invalid_request", &refusal.0),
    };
    let known = ["grant_type", "client_id", "client_secret", "scope"];
    if let Err(refusal) = parameters.allow_only(&known, false) {
        return oauth_error(StatusCode::BAD_REQUEST, "invalid_request", &refusal.0);
    }
    let in_header = basic_credentials(headers);
    let in_body = parameters.get("client_id").zip(parameters.get("client_secret"));
    let credentials = match (&in_header, in_body) {
        (Some((id, secret)), None) => Some((id.as_str(), secret.as_str())),
        (None, in_body) => in_body,
        (Some(_), Some(_)) => {
            let text = "Only one way of client authentication may be used.";
            return oauth_error(StatusCode::BAD_REQUEST, "invalid_request", text);
        }
    };
    let right = (options.client_id.as_str(), options.client_secret.as_str());
    if !options.authentication.allows_oauth() || credentials != Some(right) {
        let text = "Client authentication failed.";
        return oauth_error(StatusCode::UNAUTHORIZED, "invalid_client", text);
    }
    match parameters.get("grant_type") {
        Some("client_credentials") => {}
        Some(_) => {
            let text = "The grant type is not supported.";
            return oauth_error(StatusCode::BAD_REQUEST, "unsupported_grant_type", text);
        }
        None => {
            let text = "The parameter 'grant_type' is required.";
            return oauth_error(StatusCode::BAD_REQUEST, "invalid_request", text);
        }
    }
    let token = random_hex();
    tokens.issue(token.clone(), now);
    let body = json!({
        "access_token": token,
        "token_type": "Bearer",
        "expires_in": TOKEN_SECONDS,
    });
    answer::json(StatusCode::OK, &body)
}

/// Whether the request carries a valid bearer token.
pub(super) fn has_valid_token(tokens: &Tokens, headers: &HeaderMap, now: i64) -> bool {
    let value = headers.get(header::AUTHORIZATION);
    let value = value.and_then(|value| value.to_str().ok());
    let token = value.and_then(|value| strip_scheme(value, "Bearer"));
    token.is_some_and(|token| tokens.accepts(token, now))
}

/// Checks legacy credentials and takes them out of the parameters (beyondtrust.md C.2).
pub(super) fn check_password(options: &Options, parameters: &mut Parameters) -> Result<(), Refusal> {
    let username = parameters.take("username");
    let password = parameters.take("password");
    let right = username.as_deref() == Some(options.username.as_str()) && password.as_deref() == Some(options.password.as_str());
    if right { Ok(()) } else { Err(Refusal::new("Login failed")) }
}

/// Which kind of proof a request carries.
pub(super) fn authorization_kind(headers: &HeaderMap, parameters: &Parameters) -> AuthorizationKind {
    let value = headers.get(header::AUTHORIZATION);
    match value.map(|value| value.to_str().unwrap_or("")) {
        Some(value) if strip_scheme(value, "Basic").is_some() => AuthorizationKind::Basic,
        Some(value) if strip_scheme(value, "Bearer").is_some() => AuthorizationKind::Bearer,
        Some(_) => AuthorizationKind::Other,
        None if parameters.get("username").is_some() => AuthorizationKind::Parameters,
        None if parameters.get("client_id").is_some() => AuthorizationKind::Parameters,
        None => AuthorizationKind::None,
    }
}

/// Requests of the API account within the last hour, in milliseconds.
#[derive(Debug, Default)]
pub(super) struct RateWindow(VecDeque<i64>);

impl RateWindow {
    /// Counts a request. Answers how many are left this hour, or none when it is refused.
    pub(super) fn admit(&mut self, limits: RateLimits, now_milliseconds: i64) -> Option<u32> {
        let hour_ago = now_milliseconds - 3_600_000;
        while self.0.front().is_some_and(|at| *at <= hour_ago) {
            self.0.pop_front();
        }
        let second_ago = now_milliseconds - 1000;
        let this_second = self.0.iter().rev().take_while(|at| **at > second_ago);
        let this_hour = u32::try_from(self.0.len()).unwrap_or(u32::MAX);
        if this_second.count() >= limits.per_second as usize || this_hour >= limits.per_hour {
            return None;
        }
        self.0.push_back(now_milliseconds);
        Some(limits.per_hour - this_hour - 1)
    }

    /// How many are left this hour.
    pub(super) fn remaining(&self, limits: RateLimits) -> u32 {
        let used = u32::try_from(self.0.len()).unwrap_or(u32::MAX);
        limits.per_hour.saturating_sub(used)
    }
}

fn oauth_error(status: StatusCode, error: &str, message: &str) -> Response {
    answer::json(status, &json!({ "error": error, "message": message }))
}

fn basic_credentials(headers: &HeaderMap) -> Option<(String, String)> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let decoded = STANDARD.decode(strip_scheme(value, "Basic")?).ok()?;
    let (id, secret) = std::str::from_utf8(&decoded).ok()?.split_once(':')?;
    Some((id.to_owned(), secret.to_owned()))
}

fn strip_scheme<'a>(value: &'a str, scheme: &str) -> Option<&'a str> {
    let (name, rest) = value.split_once(' ')?;
    name.eq_ignore_ascii_case(scheme).then(|| rest.trim())
}
