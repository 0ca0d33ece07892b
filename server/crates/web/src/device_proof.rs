//! Requests signed by paired browsers: who sent this, in front of every call of `/api/v1`.
//!
//! A request without `Deskbridge-Device` passes untouched, to be known by its session. One with it is either proved and goes on with a
//! [`DeviceIdentity`], or it is refused here. Nothing is remembered between requests: a revoked device is refused at once, by every server.

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::{FromRequest, FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use cookie::Cookie;
use deskbridge_shared::device::{DEVICE_HEADER, NONCE_HEADER, SIGNATURE_HEADER, SignedRequest, TIME_HEADER};
use uuid::Uuid;

use deskbridge_core::clock::rfc3339;
use deskbridge_core::ids::ConnectionId;
use deskbridge_security::device_signature::{Proof, ProofFault, body_digest};
use deskbridge_store::{Device, SeenRequest, StoreError};
use deskbridge_work::metrics;

use crate::cookies;
use crate::problem::Problem;
use crate::state::PanelState;

/// A device's use is noted at most once in this time, so that reading does not become writing.
const TOUCH_AFTER_MS: i64 = 60_000;

/// Who sent a signed request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceIdentity {
    /// The device.
    pub device: Uuid,
    /// What its person calls it.
    pub name: String,
    /// The agent it was paired for.
    pub agent_name: Option<String>,
    /// The agent's address in the ticket systems.
    pub agent_email: Option<String>,
    /// The connections it may be used for.
    pub connections: Vec<ConnectionId>,
}

impl DeviceIdentity {
    /// The agent as people know them.
    pub fn agent(&self) -> Option<&str> {
        self.agent_name.as_deref().or(self.agent_email.as_deref())
    }
}

impl From<Device> for DeviceIdentity {
    fn from(device: Device) -> Self {
        let grant = device.grant;
        Self {
            device: device.id,
            name: device.name,
            agent_name: grant.agent_name,
            agent_email: grant.agent_email,
            connections: grant.connections,
        }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for DeviceIdentity {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        parts.extensions.get().cloned().ok_or_else(Problem::no_device)
    }
}

/// Why a signed request is refused.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    #[error("the proof's headers do not read: {0}")]
    Header(&'static str),
    #[error("the proof does not read: {0}")]
    Proof(#[from] ProofFault),
    #[error("the request has a session, too")]
    TwoProofs,
    #[error("there is no such device")]
    UnknownDevice,
    #[error("the signature does not hold")]
    Signature,
    #[error("the device is revoked")]
    Revoked,
    #[error("the device's clock is wrong")]
    Clock { now: i64 },
    #[error("the request was seen before")]
    Replayed,
    #[error("the body cannot be read")]
    Body(Problem),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Refusal {
    /// For the figures.
    pub(super) fn reason(&self) -> &'static str {
        match self {
            Self::Header(_) | Self::Proof(_) => "proof",
            Self::TwoProofs => "two_proofs",
            Self::UnknownDevice => "unknown_device",
            Self::Signature => "signature",
            Self::Revoked => "revoked",
            Self::Clock { .. } => "clock",
            Self::Replayed => "replayed",
            Self::Body(_) => "body",
            Self::Store(_) => "unavailable",
        }
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Header(detail) => Self::device_proof(detail),
            Refusal::Proof(fault) => Self::device_proof(fault.to_string()),
            Refusal::TwoProofs => Self::two_proofs(),
            // A stranger does not learn which devices there are.
            Refusal::UnknownDevice | Refusal::Signature => Self::device_refused(),
            Refusal::Revoked => Self::device_revoked(),
            Refusal::Clock { now } => Self::clock(&rfc3339(now)),
            Refusal::Replayed => Self::replayed(),
            Refusal::Body(problem) => problem,
            Refusal::Store(error) => error.into(),
        }
    }
}

/// The middleware.
pub async fn verify(State(state): State<Arc<PanelState>>, request: Request, next: Next) -> Response {
    if !request.headers().contains_key(DEVICE_HEADER) {
        return next.run(request).await;
    }
    match admit(&state, request).await {
        Ok(request) => next.run(request).await,
        Err(refusal) => {
            metrics::device_refused(refusal.reason());
            tracing::info!(reason = refusal.reason(), "a device's request is refused");
            Problem::from(refusal).into_response()
        }
    }
}

/// The request, its sender known.
async fn admit(state: &PanelState, request: Request) -> Result<Request, Refusal> {
    let (mut parts, body) = request.into_parts();
    if carries_session(&parts.headers) {
        return Err(Refusal::TwoProofs);
    }
    let id = read_device(&parts.headers)?;
    let proof = read_proof(&parts.headers)?;
    // First the body, whosever it is: a refusal before it would tell which devices there are.
    let body = read_body(Request::from_parts(parts.clone(), body)).await?;
    // Each time from the database: revocation holds at once, on every server.
    let device = state.services.store.device(id).await?.ok_or(Refusal::UnknownDevice)?;
    check_signature(state, &proof, &device.public_key, &parts, &body, &id.to_string())?;
    if device.revoked_at.is_some() {
        return Err(Refusal::Revoked);
    }
    let now = check_time(state, &proof)?;
    let (fingerprint, keep_until) = proof.memory(id);
    if !state.devices.seen.commit(SeenRequest { tenant: device.tenant.clone(), fingerprint, keep_until }).await? {
        return Err(Refusal::Replayed);
    }
    if device.used_at.is_none_or(|used_at| now - used_at >= TOUCH_AFTER_MS)
        && let Err(error) = state.services.store.touch_device(id, now).await
    {
        // Only people look at it.
        tracing::warn!(device = %id, %error, "a device's use could not be noted");
    }
    parts.extensions.insert(DeviceIdentity::from(device));
    // What a browser says of the page a request comes from guards requests that it sends with a cookie by itself. Nobody but the device
    // can have made this one, and an extension is always another site.
    parts.headers.remove(header::ORIGIN);
    parts.headers.remove("sec-fetch-site");
    Ok(Request::from_parts(parts, Body::from(body)))
}

/// Whether a request has, or tries to have, a session.
fn carries_session(headers: &HeaderMap) -> bool {
    let ours = |line: &str| Cookie::split_parse(line.to_owned()).flatten().any(|cookie| cookie.name() == cookies::NAME);
    headers.contains_key(header::AUTHORIZATION) || headers.get_all(header::COOKIE).iter().any(|line| line.to_str().is_ok_and(ours))
}

/// The id in its one form.
fn read_device(headers: &HeaderMap) -> Result<Uuid, Refusal> {
    let text = only(headers, DEVICE_HEADER, "Deskbridge-Device must be there once")?;
    let id = Uuid::try_parse(text).ok().filter(|id| id.to_string() == text);
    id.ok_or(Refusal::Header("Deskbridge-Device must be the id the device got when it was paired"))
}

/// The proof's three headers, each once.
pub(super) fn read_proof(headers: &HeaderMap) -> Result<Proof<'_>, Refusal> {
    let time = only(headers, TIME_HEADER, "Deskbridge-Time must be there once")?;
    let nonce = only(headers, NONCE_HEADER, "Deskbridge-Nonce must be there once")?;
    let signature = only(headers, SIGNATURE_HEADER, "Deskbridge-Signature must be there once")?;
    Ok(Proof::read(time, nonce, signature)?)
}

fn only<'a>(headers: &'a HeaderMap, name: &'static str, fault: &'static str) -> Result<&'a str, Refusal> {
    let mut values = headers.get_all(HeaderName::from_bytes(name.as_bytes()).map_err(|_| Refusal::Header(fault))?).iter();
    match (values.next().map(|value| value.to_str()), values.next()) {
        (Some(Ok(value)), None) => Ok(value),
        _ => Err(Refusal::Header(fault)),
    }
}

/// The whole body, within the limit and the deadline every request has.
pub(super) async fn read_body(request: Request) -> Result<Bytes, Refusal> {
    Bytes::from_request(request, &()).await.map_err(|rejection| Refusal::Body(Problem::unread_body(rejection)))
}

/// Whether the key's owner signed this method, path, query and body, for this server and this device.
pub(super) fn check_signature(
    state: &PanelState,
    proof: &Proof<'_>,
    public_key: &[u8],
    parts: &Parts,
    body: &[u8],
    device: &str,
) -> Result<(), Refusal> {
    let signed = SignedRequest {
        method: parts.method.as_str(),
        origin: &state.devices.origin,
        path_and_query: parts.uri.path_and_query().map_or("/", axum::http::uri::PathAndQuery::as_str),
        body_sha256: &body_digest(body),
        time: proof.time,
        nonce: proof.nonce,
        device,
    };
    if proof.holds(public_key, &signed) { Ok(()) } else { Err(Refusal::Signature) }
}

/// The present time (Unix ms), if the signature was made about now.
pub(super) fn check_time(state: &PanelState, proof: &Proof<'_>) -> Result<i64, Refusal> {
    let now = state.services.clock.now_ms();
    if proof.is_timely(now) { Ok(now) } else { Err(Refusal::Clock { now }) }
}
