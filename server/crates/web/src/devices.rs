//! `/api/v1/devices` and `/pair`: browsers are paired, ask about themselves, and take themselves away.
//!
//! What a device may do beyond that is decided by the doors it knocks at, from the [`DeviceIdentity`] that `device_proof` gives them.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Json;
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use deskbridge_shared::device::{
    DEVICE_HEADER, DeviceAnswer, DeviceConnection, MAX_NAME, NEW_DEVICE, NONCE_HEADER, PairRequest, SIGNATURE_HEADER, TIME_HEADER,
    normalize_code,
};
use deskbridge_shared::problem::Kind;
use deskbridge_shared::routes;
use tower_http::cors::{AllowOrigin, CorsLayer};

use deskbridge_core::clock::{new_id, rfc3339};
use deskbridge_security::{device_signature, sha256};
use deskbridge_store::{GroupCommit, NewDevice, Pairing, SeenRequest, Store, StoreError};
use deskbridge_work::metrics;

use crate::device_proof::{self, DeviceIdentity, Refusal};
use crate::panel::read_object;
use crate::peer::{Peer, network};
use crate::problem::Problem;
use crate::state::{PageState, PanelState};
use crate::{media_type, pages};

/// How long a browser may believe a preflight's answer.
const PREFLIGHT_AGE: Duration = Duration::from_hours(1);

/// What the doors for devices share.
pub struct DeviceDoor {
    /// This server's origin, as it stands in every signed text.
    pub origin: String,
    /// Remembers requests, many in one commit; false for one seen before.
    pub seen: GroupCommit<SeenRequest, bool>,
    wrong_codes: Mutex<WrongCodes>,
}

impl DeviceDoor {
    /// Starts the writing task. `public_url` was checked with the settings.
    pub fn new(public_url: &str, store: Arc<dyn Store>) -> anyhow::Result<Self> {
        let seen = GroupCommit::start(move |requests: Vec<SeenRequest>| {
            let store = store.clone();
            async move { store.remember_requests(&requests).await }
        });
        Ok(Self { origin: url::Url::parse(public_url)?.origin().ascii_serialization(), seen, wrong_codes: Mutex::default() })
    }
}

/// Lets extensions, and no web page, call across origins. Nothing a browser adds by itself goes along.
pub fn cors() -> CorsLayer {
    let extension = |origin: &HeaderValue, _: &Parts| {
        ["chrome-extension://", "moz-extension://"].iter().any(|scheme| origin.as_bytes().starts_with(scheme.as_bytes()))
    };
    let ours = [DEVICE_HEADER, TIME_HEADER, NONCE_HEADER, SIGNATURE_HEADER];
    let ours = ours.into_iter().filter_map(|name| HeaderName::from_bytes(name.as_bytes()).ok());
    CorsLayer::new()
        .allow_origin(AllowOrigin::predicate(extension))
        .allow_methods([Method::GET, Method::POST, Method::DELETE])
        .allow_headers(ours.chain([header::CONTENT_TYPE, header::ACCEPT]).collect::<Vec<_>>())
        .expose_headers([header::DATE, header::RETRY_AFTER])
        .max_age(PREFLIGHT_AGE)
}

/// Takes what [`cors`] says to every origin away from those that may not call anyway: a web page is told nothing.
pub async fn hide_cors(mut response: Response) -> Response {
    let headers = response.headers_mut();
    if !headers.contains_key(header::ACCESS_CONTROL_ALLOW_ORIGIN) {
        for name in [
            header::ACCESS_CONTROL_ALLOW_HEADERS,
            header::ACCESS_CONTROL_ALLOW_METHODS,
            header::ACCESS_CONTROL_EXPOSE_HEADERS,
            header::ACCESS_CONTROL_MAX_AGE,
        ] {
            headers.remove(name);
        }
    }
    response
}

/// Why no browser was paired.
#[derive(Debug, thiserror::Error)]
enum PairRefusal {
    #[error("too many wrong codes")]
    Limited(Duration),
    #[error("{0}")]
    Proof(#[from] Refusal),
    #[error("the request does not read")]
    Body(Problem),
    #[error("no such code")]
    UnknownCode,
    #[error("the code was used")]
    CodeUsed,
    #[error("the code has expired")]
    CodeExpired,
    #[error("the browser is paired already")]
    AlreadyPaired,
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl PairRefusal {
    /// For the figures.
    fn outcome(&self) -> &'static str {
        match self {
            Self::Limited(_) => "limited",
            Self::Proof(_) | Self::Body(_) => "refused",
            Self::UnknownCode => "unknown_code",
            Self::CodeUsed => "code_used",
            Self::CodeExpired => "code_expired",
            Self::AlreadyPaired => "already_paired",
            Self::Store(_) => "unavailable",
        }
    }
}

impl From<PairRefusal> for Problem {
    fn from(refusal: PairRefusal) -> Self {
        match refusal {
            PairRefusal::Limited(wait) => Self::too_many_codes(wait),
            PairRefusal::Proof(refusal) => refusal.into(),
            PairRefusal::Body(problem) => problem,
            PairRefusal::UnknownCode => Self::pairing_code(),
            PairRefusal::CodeUsed => Self::pairing_code_gone(Kind::PairingCodeUsed, "The pairing code was used before"),
            PairRefusal::CodeExpired => Self::pairing_code_gone(Kind::PairingCodeExpired, "The pairing code has expired"),
            PairRefusal::AlreadyPaired => Self::already_paired(),
            PairRefusal::Store(error) => error.into(),
        }
    }
}

/// Pairs a browser: a one-time code against a public key.
///
/// The signature, of the new key, says `new` where the device's id would stand.
#[utoipa::path(
    post,
    path = routes::DEVICES,
    request_body = PairRequest,
    security(("device_time" = [], "device_nonce" = [], "device_signature" = [])),
    responses(
        (status = 200, description = "Paired before, by this key and this code: the device, unless it is revoked", body = DeviceAnswer),
        (status = 201, description = "Paired", body = DeviceAnswer),
        (status = 401, response = Problem),
        (status = 403, response = Problem),
        (status = 409, response = Problem),
        (status = 410, response = Problem),
        (status = 422, response = Problem),
        (status = 429, response = Problem),
        (status = 503, response = Problem),
    ),
)]
pub async fn pair(State(state): State<Arc<PanelState>>, request: Request) -> Response {
    match admit(&state, request).await {
        Ok((status, answer)) => {
            metrics::pairing(if status == StatusCode::CREATED { "paired" } else { "paired_before" });
            (status, Json(answer)).into_response()
        }
        Err(refusal) => {
            metrics::pairing(refusal.outcome());
            tracing::info!(outcome = refusal.outcome(), "a browser was not paired");
            Problem::from(refusal).into_response()
        }
    }
}

/// The device, new (201) or as it was paired before (200).
async fn admit(state: &PanelState, request: Request) -> Result<(StatusCode, DeviceAnswer), PairRefusal> {
    // The listener always says who is at the other end.
    let peer = request.extensions().get::<Peer>().map_or(IpAddr::V6(Ipv6Addr::UNSPECIFIED), |peer| peer.0.ip());
    let (parts, body) = request.into_parts();
    if parts.headers.contains_key(DEVICE_HEADER) {
        return Err(Refusal::Header("Deskbridge-Device must not be there: a browser that is being paired has no id yet").into());
    }
    let proof = device_proof::read_proof(&parts.headers)?;
    let body = device_proof::read_body(Request::from_parts(parts.clone(), body)).await?;
    let wanted = read_wanted(&parts.headers, &body).map_err(PairRefusal::Body)?;
    device_proof::check_signature(state, &proof, &wanted.public_key, &parts, &body, NEW_DEVICE)?;
    let now = device_proof::check_time(state, &proof)?;
    let device = NewDevice { id: new_id(&state.services.clock), public_key: wanted.public_key, name: wanted.name, browser: wanted.browser };
    let pairing = match wanted.code {
        Some(code) => state.services.store.pair_device(&sha256(code.as_bytes()), &device, now).await?,
        None => Pairing::UnknownCode,
    };
    match pairing {
        Pairing::Paired(device) => {
            tracing::info!(device = %device.id, agent = device.grant.agent_name, "a browser was paired");
            Ok((StatusCode::CREATED, answer(state, &device.into())))
        }
        Pairing::PairedBefore(device) => {
            tracing::info!(device = %device.id, agent = device.grant.agent_name, "a browser asked again for the device it was paired as");
            Ok((StatusCode::OK, answer(state, &device.into())))
        }
        // Only now: a right code is taken, however many wrong ones came from the same address.
        Pairing::UnknownCode => Err(match wrong_codes(state).note(peer, now) {
            Some(wait) => PairRefusal::Limited(wait),
            None => PairRefusal::UnknownCode,
        }),
        Pairing::CodeUsed => Err(PairRefusal::CodeUsed),
        Pairing::CodeExpired => Err(PairRefusal::CodeExpired),
        Pairing::AlreadyPaired => Err(PairRefusal::AlreadyPaired),
    }
}

/// A pairing's body, read.
struct Wanted {
    /// In its stored form; none where what was typed cannot be a code.
    code: Option<String>,
    public_key: Vec<u8>,
    name: String,
    browser: Option<String>,
}

fn read_wanted(headers: &HeaderMap, body: &[u8]) -> Result<Wanted, Problem> {
    if !media_type::is(headers, media_type::JSON) {
        return Err(Problem::bad_request("Send JSON with Content-Type: application/json."));
    }
    let request: PairRequest = read_object(body).map_err(Problem::bad_request)?;
    let public_key =
        device_signature::read_public_key(&request.public_key).map_err(|fault| Problem::invalid("public_key", &fault.to_string()))?;
    let browser = read_name("browser", request.browser)?;
    let name = read_name("name", request.name)?.or_else(|| browser.clone()).unwrap_or_else(|| "Browser".to_owned());
    Ok(Wanted { code: normalize_code(&request.code), public_key, name, browser })
}

/// One line for people, or nothing.
fn read_name(field: &str, text: Option<String>) -> Result<Option<String>, Problem> {
    let Some(text) = text else { return Ok(None) };
    let text = text.trim();
    if text.chars().count() > MAX_NAME || text.chars().any(char::is_control) {
        return Err(Problem::invalid(field, &format!("one line of at most {MAX_NAME} characters")));
    }
    Ok((!text.is_empty()).then(|| text.to_owned()))
}

/// What a device is and may be used for.
#[utoipa::path(
    get,
    path = routes::DEVICE_SELF,
    operation_id = "device",
    security(("device" = [], "device_time" = [], "device_nonce" = [], "device_signature" = [])),
    responses((status = 200, description = "The device", body = DeviceAnswer)),
)]
pub async fn itself(State(state): State<Arc<PanelState>>, identity: DeviceIdentity) -> Json<DeviceAnswer> {
    Json(answer(&state, &identity))
}

/// A device takes itself away.
#[utoipa::path(
    delete,
    path = routes::DEVICE_SELF,
    operation_id = "forget_device",
    security(("device" = [], "device_time" = [], "device_nonce" = [], "device_signature" = [])),
    responses((status = 204, description = "Revoked")),
)]
pub async fn forget(State(state): State<Arc<PanelState>>, identity: DeviceIdentity) -> Result<StatusCode, Problem> {
    state.services.store.revoke_device(identity.device, state.services.clock.now_ms()).await?;
    tracing::info!(device = %identity.device, agent = identity.agent(), "a device took itself away");
    Ok(StatusCode::NO_CONTENT)
}

/// What a device is told about itself.
fn answer(state: &PanelState, identity: &DeviceIdentity) -> DeviceAnswer {
    let directory = state.services.connections.current();
    let connections = identity.connections.iter().filter_map(|id| directory.by_id(*id));
    DeviceAnswer {
        device: identity.device.to_string(),
        name: identity.name.clone(),
        agent: identity.agent().map(str::to_owned),
        connections: connections
            .map(|connection| DeviceConnection {
                name: connection.name().to_owned(),
                system: connection.help_desk.name().to_owned(),
                site: connection.help_desk.site(),
            })
            .collect(),
        server_time: rfc3339(state.services.clock.now_ms()),
    }
}

/// Says what to do with a pairing link.
///
/// The code stands behind `#` and does not come here.
#[utoipa::path(
    get,
    path = routes::PAIR,
    operation_id = "pairing_page",
    responses((status = 200, description = "A page", body = String, content_type = "text/html"), (status = 500, description = "No page")),
)]
pub async fn page(State(state): State<Arc<PageState>>, headers: HeaderMap) -> Response {
    pages::respond(StatusCode::OK, state.pages.pair(state.translations.of_request(&headers)))
}

/// In this time …
const WRONG_CODES_WINDOW_MS: i64 = 60_000;
/// … so many wrong codes from one address …
const WRONG_CODES_OF_PEER: u32 = 10;
/// … and so many from all together are called wrong; whoever sends more is told to wait.
const WRONG_CODES_OF_ALL: u32 = 100;

/// Wrong codes of the present minute. Guessing 80 bits is hopeless, so nobody is locked out: behind a proxy all browsers have its address,
/// and one that has a right code must not wait for others' wrong ones.
#[derive(Default)]
struct WrongCodes {
    begun_at: i64,
    all: u32,
    /// Never more than wrong codes were counted.
    by_peer: HashMap<IpAddr, u32>,
}

fn wrong_codes(state: &PanelState) -> std::sync::MutexGuard<'_, WrongCodes> {
    state.devices.wrong_codes.lock().unwrap_or_else(PoisonError::into_inner)
}

impl WrongCodes {
    /// Counts a wrong code (`now`: Unix ms), or says how long to wait where there were too many.
    fn note(&mut self, peer: IpAddr, now: i64) -> Option<Duration> {
        if !(0..WRONG_CODES_WINDOW_MS).contains(&(now - self.begun_at)) {
            *self = Self { begun_at: now, ..Self::default() };
        }
        let network = network(peer);
        let of_peer = self.by_peer.get(&network).copied().unwrap_or(0);
        if self.all >= WRONG_CODES_OF_ALL || of_peer >= WRONG_CODES_OF_PEER {
            let rest = WRONG_CODES_WINDOW_MS - (now - self.begun_at);
            return Some(Duration::from_millis(rest.unsigned_abs()));
        }
        self.all += 1;
        self.by_peer.insert(network, of_peer + 1);
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_codes_are_limited_by_address_and_in_all_for_a_minute() {
        let peer = |number: u32| IpAddr::V4(number.into());
        let mut codes = WrongCodes::default();
        for _ in 0..WRONG_CODES_OF_PEER {
            assert_eq!(codes.note(peer(1), 1_000_000), None);
        }
        assert_eq!(codes.note(peer(1), 1_020_000), Some(Duration::from_secs(40)));
        for number in 0..WRONG_CODES_OF_ALL - WRONG_CODES_OF_PEER {
            assert_eq!(codes.note(peer(100 + number), 1_030_000), None);
        }
        assert_eq!(codes.note(peer(2), 1_030_000), Some(Duration::from_secs(30)));
        assert_eq!(codes.by_peer.values().sum::<u32>(), WRONG_CODES_OF_ALL, "refused ones are not kept");
        assert_eq!(codes.note(peer(1), 1_060_000), None);
        assert_eq!(codes.by_peer.len(), 1);
    }

    #[test]
    fn a_name_is_one_short_line() {
        let read = |text: &str| read_name("name", Some(text.to_owned())).map_err(drop);
        assert_eq!(read("  Anna's laptop "), Ok(Some("Anna's laptop".to_owned())));
        assert_eq!(read(" "), Ok(None));
        assert_eq!(read("a\nb"), Err(()));
        assert_eq!(read(&"ä".repeat(MAX_NAME)).map(|name| name.is_some()), Ok(true));
        assert_eq!(read(&"a".repeat(MAX_NAME + 1)), Err(()));
    }
}
