//! A paired browser without a browser: signs requests as the extension does, and as an attacker might wish to.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use deskbridge_shared::device::{
    DEVICE_HEADER, DeviceAnswer, NEW_DEVICE, NONCE_BYTES, NONCE_HEADER, PairRequest, SIGNATURE_HEADER, SignedRequest, TIME_HEADER,
};
use deskbridge_shared::routes;
use reqwest::header::{CONTENT_TYPE, HeaderMap};
use reqwest::{Client, Method, Response, Url};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::server::{Deskbridge, loopback_client};

/// A browser with a key of its own.
pub struct Browser {
    key: EcdsaKeyPair,
    http: Client,
    /// Where its requests go.
    pub server: String,
    /// What it signs as the server's origin.
    pub origin: String,
    /// Its id, once it is paired.
    pub device: String,
}

/// What a request shall say before it is signed.
#[derive(Clone, Debug)]
pub struct Draft {
    /// The method.
    pub method: Method,
    /// Path and query.
    pub path: String,
    /// The body; empty for none.
    pub body: String,
    /// The server's origin.
    pub origin: String,
    /// Unix ms.
    pub time_ms: i64,
    /// Base64url.
    pub nonce: String,
    /// The device's id.
    pub device: String,
}

/// A signed request; whatever is changed now, the signature does not know.
#[derive(Clone, Debug)]
pub struct Call {
    /// The method.
    pub method: Method,
    /// Path and query.
    pub path: String,
    /// The body; empty for none.
    pub body: String,
    /// Header lines, in order.
    pub headers: Vec<(String, String)>,
}

/// An answer, read to its end.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Its status.
    pub status: u16,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub text: String,
}

impl Browser {
    /// A browser that is not paired yet.
    pub fn new(server: &Deskbridge) -> Result<Self> {
        let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).ok().context("no key")?;
        Ok(Self {
            key,
            http: loopback_client()?,
            server: server.url().to_owned(),
            origin: Url::parse(server.public_url())?.origin().ascii_serialization(),
            device: NEW_DEVICE.to_owned(),
        })
    }

    /// A browser paired with a code made for it; `arguments` for `devices pair` besides the connection.
    pub async fn paired(server: &Deskbridge, connection: &str, arguments: &[&str]) -> Result<Self> {
        let mut browser = Self::new(server)?;
        let code = pairing_code(server, connection, arguments).await?;
        browser.pair(&code).await?;
        Ok(browser)
    }

    /// Pairs it, and keeps the id.
    pub async fn pair(&mut self, code: &str) -> Result<DeviceAnswer> {
        let answer = self.send(&self.pairing(code)?).await?;
        ensure!(answer.status == 201, "{}: {}", answer.status, answer.text);
        let paired: DeviceAnswer = serde_json::from_str(&answer.text).with_context(|| answer.text)?;
        self.device.clone_from(&paired.device);
        Ok(paired)
    }

    /// The public key as WebCrypto exports it (SPKI), base64url.
    pub fn public_key(&self) -> Result<String> {
        let der = self.key.public_key().as_der().ok().context("no SPKI")?;
        Ok(URL_SAFE_NO_PAD.encode(der.as_ref()))
    }

    /// A signed request to be paired.
    pub fn pairing(&self, code: &str) -> Result<Call> {
        let request = PairRequest {
            code: code.to_owned(),
            public_key: self.public_key()?,
            name: Some("Anna's laptop".to_owned()),
            browser: Some("Firefox 140 on Linux".to_owned()),
        };
        let mut draft = self.draft(Method::POST, routes::DEVICES, &serde_json::to_string(&request)?);
        NEW_DEVICE.clone_into(&mut draft.device);
        Ok(self.sign(&draft))
    }

    /// A request about now, with a nonce of its own.
    pub fn draft(&self, method: Method, path: &str, body: &str) -> Draft {
        let mut nonce = [0; NONCE_BYTES];
        aws_lc_rs::rand::fill(&mut nonce).expect("random bytes");
        Draft {
            method,
            path: path.to_owned(),
            body: body.to_owned(),
            origin: self.origin.clone(),
            time_ms: now_ms(),
            nonce: URL_SAFE_NO_PAD.encode(nonce),
            device: self.device.clone(),
        }
    }

    /// Signs it with this browser's key, whosever it says it is.
    pub fn sign(&self, draft: &Draft) -> Call {
        let digest = Sha256::digest(draft.body.as_bytes());
        let digest = digest.iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"));
        let time = draft.time_ms.to_string();
        let text = SignedRequest {
            method: draft.method.as_str(),
            origin: &draft.origin,
            path_and_query: &draft.path,
            body_sha256: &digest,
            time: &time,
            nonce: &draft.nonce,
            device: &draft.device,
        }
        .text();
        let signature = self.key.sign(&SystemRandom::new(), text.as_bytes()).expect("a P-256 key signs");
        let mut headers = vec![
            (TIME_HEADER.to_owned(), time),
            (NONCE_HEADER.to_owned(), draft.nonce.clone()),
            (SIGNATURE_HEADER.to_owned(), URL_SAFE_NO_PAD.encode(signature.as_ref())),
        ];
        if draft.device != NEW_DEVICE {
            headers.push((DEVICE_HEADER.to_owned(), draft.device.clone()));
        }
        if !draft.body.is_empty() {
            headers.push((CONTENT_TYPE.to_string(), "application/json".to_owned()));
        }
        Call { method: draft.method.clone(), path: draft.path.clone(), body: draft.body.clone(), headers }
    }

    /// Sends a request as it stands; the answer is still to be read.
    pub async fn open(&self, call: &Call) -> Result<Response> {
        // reqwest would write a path's escapes anew.
        let url = Url::parse(&format!("{}{}", self.server, call.path))?;
        ensure!(url.as_str().ends_with(&call.path), "{} would be sent as {url}", call.path);
        let mut request = self.http.request(call.method.clone(), url);
        for (name, value) in &call.headers {
            request = request.header(name, value);
        }
        if !call.body.is_empty() {
            request = request.body(call.body.clone());
        }
        request.send().await.context("the server does not answer")
    }

    /// Sends a request as it stands, and reads the answer to its end.
    pub async fn send(&self, call: &Call) -> Result<Answer> {
        let answer = self.open(call).await?;
        Ok(Answer { status: answer.status().as_u16(), headers: answer.headers().clone(), text: answer.text().await? })
    }

    /// Signs and sends.
    pub async fn ask(&self, method: Method, path: &str, body: &str) -> Result<Answer> {
        self.send(&self.sign(&self.draft(method, path, body))).await
    }
}

impl Call {
    /// The value of a header that is there.
    pub fn header(&mut self, name: &str) -> &mut String {
        let line = self.headers.iter_mut().find(|(other, _)| other == name);
        &mut line.unwrap_or_else(|| panic!("{name} is not there")).1
    }
}

impl Answer {
    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("not JSON: {}", self.text))
    }
}

/// A new code of `deskbridge devices pair`.
pub async fn pairing_code(server: &Deskbridge, connection: &str, arguments: &[&str]) -> Result<String> {
    let arguments = [&["devices", "pair", "--connection", connection], arguments].concat();
    let output = server.command(&arguments).await?;
    let said = String::from_utf8(output.stdout)?;
    ensure!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    let line = said.lines().find_map(|line| line.strip_prefix("code "));
    Ok(line.with_context(|| format!("no code in\n{said}"))?.trim().to_owned())
}

/// Unix ms.
#[expect(clippy::disallowed_methods, reason = "a browser has a clock of its own")]
pub fn now_ms() -> i64 {
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(elapsed.as_millis()).unwrap_or(i64::MAX)
}
