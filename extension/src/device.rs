//! This browser as a device: pairs, signs requests, asks the server about itself. Wasm only; the words are `deskbridge_shared::device`'s.
//!
//! The key never leaves the browser: WebCrypto makes it so that it cannot be read out, and keeps it as an object.
//!
//! Pairing can be cut short anywhere, and a code works once. So the key is kept before it is sent, and asked for again with the same code until
//! the server has said yes or no: it answers the device it has made for that key. Only one page pairs at a time, or there would be two keys.

use std::cell::Cell;
use std::rc::Rc;

use deskbridge_shared::api::SessionList;
use deskbridge_shared::device::{
    DEVICE_HEADER, DeviceAnswer, NEW_DEVICE, NONCE_BYTES, NONCE_HEADER, PairRequest, SIGNATURE_HEADER, SignedRequest, TIME_HEADER,
    normalize_code,
};
use deskbridge_shared::panel::requests::{Call, Place, Request};
use deskbridge_shared::panel::{Answer, Backend, Done, SessionsSummary};
use deskbridge_shared::routes;
use js_sys::Date;
use serde::Deserialize;
use wasm_bindgen_futures::spawn_local;

use crate::browser::{self, DeviceKey, Refused, Slot};
use crate::json::{lenient, read, write};
use crate::options::Trouble;
use crate::router::SessionsOf;
use crate::settings::{Managed, Paired, Stored, enrolment};
use crate::signing::{base64url, browser_name, hexadecimal};

/// A key, with the server it speaks to and the device it speaks for.
pub struct Signer {
    key: DeviceKey,
    /// The server's clock less ours, in milliseconds; learned when it says that ours is wrong.
    skew: Cell<i64>,
}

impl Signer {
    /// For the device that was paired. `None`: the browser has lost the key. An error: the browser does not give it out now.
    pub async fn of(paired: &Paired) -> Result<Option<Self>, Refused> {
        let key = browser::kept_key(Slot::Device).await?;
        Ok(key.filter(|key| key.server == paired.server && key.device == paired.device).map(Self::with))
    }

    const fn with(key: DeviceKey) -> Self {
        Self { key, skew: Cell::new(0) }
    }

    /// Sends a signed request; once more if the server says that our clock is wrong, with its time.
    pub async fn call(&self, method: &str, path: &str, body: Option<&str>) -> Answer {
        let answer = self.send(method, path, body).await;
        match server_time_of(&answer) {
            Some(time) => {
                self.skew.set(time - milliseconds(Date::now()));
                self.send(method, path, body).await
            }
            None => answer,
        }
    }

    async fn send(&self, method: &str, path: &str, body: Option<&str>) -> Answer {
        self.try_to_send(method, path, body).await.unwrap_or_default()
    }

    async fn try_to_send(&self, method: &str, path: &str, body: Option<&str>) -> Option<Answer> {
        let body_sha256 = hexadecimal(&browser::sha256(body.unwrap_or_default().as_bytes()).await.ok()?);
        let time = (milliseconds(Date::now()) + self.skew.get()).to_string();
        let nonce = base64url(&browser::random(u32::try_from(NONCE_BYTES).ok()?));
        let (origin, device) = (&self.key.server, &self.key.device);
        let signed = SignedRequest { method, origin, path_and_query: path, body_sha256: &body_sha256, time: &time, nonce: &nonce, device };
        let signature = base64url(&browser::signature(&self.key.key, &signed.text()).await.ok()?);
        let mut headers =
            vec![("Accept", "application/json"), (TIME_HEADER, &time), (NONCE_HEADER, &nonce), (SIGNATURE_HEADER, &signature)];
        // A browser that is just being paired has no id yet.
        if device != NEW_DEVICE {
            headers.push((DEVICE_HEADER, device));
        }
        if body.is_some() {
            headers.push(("Content-Type", "application/json"));
        }
        let fetched = browser::send_request(&format!("{origin}{path}"), method, &headers, body).await?;
        let server_time = fetched.date.and_then(|date| parse_time(&date));
        Some(Answer { status: fetched.status, body: fetched.body, server_time })
    }
}

/// The server's time, in Unix milliseconds, if the answer says that our clock is wrong.
fn server_time_of(answer: &Answer) -> Option<i64> {
    #[derive(Deserialize)]
    struct Clock {
        #[serde(rename = "type")]
        kind: String,
        server_time: String,
    }
    let clock: Clock = read(&answer.body)?;
    if clock.kind.ends_with(":clock") { parse_time(&clock.server_time) } else { None }
}

/// A time as text, in Unix milliseconds.
fn parse_time(text: &str) -> Option<i64> {
    let time = Date::parse(text);
    (!time.is_nan()).then(|| milliseconds(time))
}

#[expect(clippy::cast_possible_truncation, reason = "JavaScript's times fit")]
const fn milliseconds(time: f64) -> i64 {
    time as i64
}

/// Pairs this browser.
pub async fn pair(server: &str, code: &str, name: &str) -> Result<Paired, Trouble> {
    let (server, code, name) = (server.to_owned(), code.to_owned(), name.to_owned());
    let pairing = async move { pair_alone(&server, &code, &name).await };
    browser::alone(pairing).await.unwrap_or(Err(Trouble::NoKey))
}

/// Pairs it by a policy's token, if that is still to be done.
pub async fn enrol() {
    let enrolling = async {
        let (server, token) = enrolment_due().await?;
        pair_alone(&server, &token, "").await.ok()
    };
    // The options page says that it has not worked yet; the next start tries again.
    let _ = browser::alone(enrolling).await;
}

/// Read when nobody else is pairing: somebody may just have done it.
async fn enrolment_due() -> Option<(String, String)> {
    #[derive(Deserialize)]
    struct Known {
        #[serde(default, deserialize_with = "lenient")]
        stored: Stored,
        #[serde(default, deserialize_with = "lenient")]
        managed: Managed,
        #[serde(default, deserialize_with = "lenient")]
        paired: Option<Paired>,
    }
    let known: Known = read(&browser::facts().await.ok()?)?;
    enrolment(&known.stored, &known.managed, known.paired.as_ref())
}

async fn pair_alone(server: &str, code: &str, name: &str) -> Result<Paired, Trouble> {
    let no_key = |Refused| Trouble::NoKey;
    let code_hash = hexadecimal(&browser::sha256(normalize_code(code).as_deref().unwrap_or(code).as_bytes()).await.map_err(no_key)?);
    let key = match browser::kept_key(Slot::Pending).await.map_err(no_key)? {
        Some(key) if key.server == server && key.code_hash == code_hash => key,
        _ => {
            let (key, public_key) = browser::new_key().await.map_err(no_key)?;
            let key = DeviceKey { key, public_key: base64url(&public_key), server: server.into(), code_hash, device: NEW_DEVICE.into() };
            browser::keep_key(Slot::Pending, Some(&key)).await.map_err(no_key)?;
            key
        }
    };
    let request = PairRequest {
        code: code.into(),
        public_key: key.public_key.clone(),
        name: Some(name.to_owned()).filter(|name| !name.is_empty()),
        browser: Some(browser_name(&browser::user_agent())),
    };
    let signer = Signer::with(key);
    let answer = signer.call("POST", routes::DEVICES, Some(&write(&request))).await;
    let paired = paired(server, &answer);
    match &paired {
        Ok(paired) => {
            let key = DeviceKey { device: paired.device.clone(), ..signer.key };
            browser::keep_key(Slot::Device, Some(&key)).await.map_err(no_key)?;
            keep(Some(paired)).await?;
        }
        Err(trouble) if trouble.ends_pairing() => {}
        Err(_) => return paired,
    }
    // At worst it is asked for again, and the server knows it.
    let _ = browser::keep_key(Slot::Pending, None).await;
    paired
}

/// Asks the server what it knows of this browser, and remembers it.
pub async fn check(paired: &Paired) -> Result<Paired, Trouble> {
    let before = paired.clone();
    let checking = async move {
        let signer = Signer::of(&before).await.ok().flatten().ok_or(Trouble::NoKey)?;
        let answer = signer.call("GET", routes::DEVICE_SELF, None).await;
        let now = self::paired(&before.server, &answer)?;
        if now != before {
            keep(Some(&now)).await?;
        }
        Ok(now)
    };
    browser::alone(checking).await.unwrap_or(Err(Trouble::NoKey))
}

/// Ends the pairing here, and on the server if it can be reached.
pub async fn forget(paired: &Paired) {
    let paired = paired.clone();
    let forgetting = async move {
        if let Ok(Some(signer)) = Signer::of(&paired).await {
            signer.call("DELETE", routes::DEVICE_SELF, None).await;
        }
        // Without the one the others are worth nothing.
        let _ = keep(None).await;
        let _ = browser::keep_key(Slot::Device, None).await;
        let _ = browser::keep_key(Slot::Pending, None).await;
    };
    let _ = browser::alone(forgetting).await;
}

fn paired(server: &str, answer: &Answer) -> Result<Paired, Trouble> {
    let known = if (200..300).contains(&answer.status) { read::<DeviceAnswer>(&answer.body) } else { None };
    let known = known.ok_or_else(|| Trouble::of(server, answer))?;
    Ok(Paired { server: server.into(), device: known.device, name: known.name, agent: known.agent, connections: known.connections })
}

async fn keep(paired: Option<&Paired>) -> Result<(), Trouble> {
    let json = write(&paired);
    browser::keep("paired", &json).await.map_err(|Refused| Trouble::NoKey)
}

/// What the sessions of a ticket come to, for the button beside it. `None`: the server did not say.
pub async fn sessions_summary(asked: &SessionsOf) -> Option<SessionsSummary> {
    let signer = Signer::of(&asked.paired).await.ok()??;
    let place = Place { connection: asked.connection.clone(), ticket: asked.ticket.clone() };
    let request = Request::new(&Call::Sessions, &place, "");
    let answer = signer.call("GET", &request.path, None).await;
    let list: SessionList = read(&answer.body).filter(|_| answer.status == 200)?;
    Some(SessionsSummary::of(&list.sessions, asked.adds_reports))
}

/// The panel's way to the server.
pub struct SignedBackend(pub Rc<Signer>);

impl Backend for SignedBackend {
    fn call(&self, request: Request, done: Done<Answer>) {
        let signer = self.0.clone();
        spawn_local(async move {
            let method = if request.body.is_some() { "POST" } else { "GET" };
            let mut answer = signer.call(method, &request.path, request.body.as_deref()).await;
            // To the panel a 401 is the end of a session that a reload renews. A device has none: what the server says stands.
            if answer.status == 401 {
                answer.status = 403;
            }
            done(answer);
        });
    }
}
