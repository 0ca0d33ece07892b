//! This browser as a device: pairs, signs requests, asks the server about itself. Wasm only; the words are `deskbridge_shared::device`'s.
//!
//! The key never leaves the browser: WebCrypto makes it so that it cannot be read out, and keeps it as an object.

use std::cell::Cell;
use std::rc::Rc;

use deskbridge_shared::device::{
    DEVICE_HEADER, DeviceAnswer, NEW_DEVICE, NONCE_BYTES, NONCE_HEADER, PairRequest, SIGNATURE_HEADER, SignedRequest, TIME_HEADER,
};
use deskbridge_shared::panel::requests::Request;
use deskbridge_shared::panel::{Answer, Backend, Done};
use deskbridge_shared::routes;
use js_sys::Date;
use serde::Deserialize;
use wasm_bindgen::JsValue;
use wasm_bindgen_futures::spawn_local;

use crate::browser::{self, Refused};
use crate::json::{read, write};
use crate::options::Trouble;
use crate::settings::Paired;
use crate::signing::{base64url, browser_name, hexadecimal};

/// A key, whom it speaks for, and to which server.
pub struct Signer {
    key: JsValue,
    server: String,
    device: String,
    /// The server's clock less ours, in milliseconds; learned when it says that ours is wrong.
    skew: Cell<f64>,
}

impl Signer {
    /// For the device that was paired. `None`: the browser has lost the key.
    pub async fn of(paired: &Paired) -> Option<Self> {
        let key = browser::private_key().await?;
        Some(Self { key, server: paired.server.clone(), device: paired.device.clone(), skew: Cell::new(0.0) })
    }

    /// Sends a signed request; once more if the server says that our clock is wrong, with its time.
    pub async fn call(&self, method: &str, path: &str, body: Option<&str>) -> Answer {
        let answer = self.send(method, path, body).await;
        match server_time_of(&answer) {
            Some(time) => {
                self.skew.set(time - Date::now());
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
        let time = format!("{:.0}", Date::now() + self.skew.get());
        let nonce = base64url(&browser::random(u32::try_from(NONCE_BYTES).ok()?));
        let (origin, device) = (&self.server, &self.device);
        let signed = SignedRequest { method, origin, path_and_query: path, body_sha256: &body_sha256, time: &time, nonce: &nonce, device };
        let signature = base64url(&browser::signature(&self.key, &signed.text()).await.ok()?);
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
        let date = fetched.date.map(|date| Date::parse(&date)).filter(|date| !date.is_nan());
        #[expect(clippy::cast_possible_truncation, reason = "JavaScript's times fit")]
        let server_time = date.map(|date| date as i64);
        Some(Answer { status: fetched.status, body: fetched.body, server_time })
    }
}

/// The server's time, in Unix milliseconds, if the answer says that our clock is wrong.
fn server_time_of(answer: &Answer) -> Option<f64> {
    #[derive(Deserialize)]
    struct Clock {
        #[serde(rename = "type")]
        kind: String,
        server_time: String,
    }
    let clock: Clock = read(&answer.body)?;
    let time = Date::parse(&clock.server_time);
    (clock.kind.ends_with(":clock") && !time.is_nan()).then_some(time)
}

/// Pairs this browser: a new key, the server's leave, and only then the key is kept.
pub async fn pair(server: &str, code: &str, name: &str) -> Result<Paired, Trouble> {
    let (key, public_key) = browser::new_key().await.map_err(|Refused| Trouble::NoKey)?;
    let signer = Signer { key, server: server.into(), device: NEW_DEVICE.into(), skew: Cell::new(0.0) };
    let request = PairRequest {
        code: code.into(),
        public_key: base64url(&public_key),
        name: Some(name.to_owned()).filter(|name| !name.is_empty()),
        browser: Some(browser_name(&browser::user_agent())),
    };
    let body = write(&request);
    let answer = signer.call("POST", routes::DEVICES, Some(&body)).await;
    let paired = paired(server, &answer)?;
    browser::keep_private_key(Some(&signer.key)).await.map_err(|Refused| Trouble::NoKey)?;
    keep(Some(&paired)).await?;
    Ok(paired)
}

/// Asks the server what it knows of this browser, and remembers it.
pub async fn check(paired_before: &Paired) -> Result<Paired, Trouble> {
    let signer = Signer::of(paired_before).await.ok_or(Trouble::NoKey)?;
    let answer = signer.call("GET", routes::DEVICE_SELF, None).await;
    let paired = paired(&paired_before.server, &answer)?;
    if paired != *paired_before {
        keep(Some(&paired)).await?;
    }
    Ok(paired)
}

/// Ends the pairing here, and on the server if it can be reached.
pub async fn forget(paired: &Paired) {
    if let Some(signer) = Signer::of(paired).await {
        signer.call("DELETE", routes::DEVICE_SELF, None).await;
    }
    // Without the one the other is worth nothing.
    let _ = keep(None).await;
    let _ = browser::keep_private_key(None).await;
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
