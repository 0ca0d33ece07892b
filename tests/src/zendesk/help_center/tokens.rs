//! The integration token of a signed-in customer, its keys, and spoilt ones for tests (zendesk.md e.3; changes-2026-11.md C13).
//!
//! Real clock, not the account's: the side under test checks these times by its own.

use std::sync::{Arc, OnceLock};

use anyhow::Context as _;
use aws_lc_rs::hmac;
use aws_lc_rs::signature::{RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512, RSA_PSS_SHA256, RsaEncoding};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::super::account::{Account, real_time};
use super::super::call::{Call, Outcome, Reply};
use super::super::keys::AppKey;

/// A key whose public half the account shows.
#[derive(Clone, Debug)]
pub(super) struct PublishedKey {
    pub kid: String,
    pub key: Arc<AppKey>,
    pub is_published: bool,
}

impl PublishedKey {
    pub(super) fn new(key: Arc<AppKey>) -> Self {
        let digest = Sha256::digest(key.public_pem());
        let kid: Vec<String> = digest.iter().take(20).map(|byte| format!("{byte:02x}")).collect();
        Self { kid: kid.concat(), key, is_published: true }
    }
}

/// One key for the whole process, as the app's is, and another one than that.
pub(super) fn first_key() -> anyhow::Result<Arc<AppKey>> {
    static KEY: OnceLock<Arc<AppKey>> = OnceLock::new();
    if let Some(key) = KEY.get() {
        return Ok(Arc::clone(key));
    }
    let made = Arc::new(AppKey::generate()?);
    Ok(Arc::clone(KEY.get_or_init(|| made)))
}

/// How a token is signed, whatever its header says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Signing {
    /// RSA, PKCS#1 v1.5, SHA-256.
    Rs256,
    /// RSA, PKCS#1 v1.5, SHA-384.
    Rs384,
    /// RSA, PKCS#1 v1.5, SHA-512.
    Rs512,
    /// RSA, PSS, SHA-256.
    Ps256,
    /// HMAC, SHA-256, with these bytes as the secret, for instance a public key's.
    Hs256(Vec<u8>),
    /// These bytes as the signature; none of them for an unsigned token.
    Bytes(Vec<u8>),
}

/// A token before it is signed. As [`SimulatedZendesk::help_center_token`] gives it, it is genuine.
///
/// [`SimulatedZendesk::help_center_token`]: super::super::SimulatedZendesk::help_center_token
#[derive(Clone, Debug)]
pub struct HelpCenterToken {
    /// Header as JSON text: text, so that a test can name a member twice or write no JSON at all.
    pub header: String,
    /// Claims as JSON text.
    pub claims: String,
    /// Who signs.
    pub key: Arc<AppKey>,
    /// How.
    pub signing: Signing,
}

impl HelpCenterToken {
    /// Puts a member into the header, or takes it out with `None`.
    #[must_use]
    pub fn with_header(mut self, name: &str, value: impl Into<Option<Value>>) -> Self {
        self.header = changed(&self.header, name, value.into());
        self
    }

    /// Puts a claim in, or takes it out with `None`.
    #[must_use]
    pub fn with_claim(mut self, name: &str, value: impl Into<Option<Value>>) -> Self {
        self.claims = changed(&self.claims, name, value.into());
        self
    }

    /// The same, signed by another key; its `kid` stays.
    #[must_use]
    pub fn signed_by(mut self, key: &Arc<AppKey>) -> Self {
        self.key = Arc::clone(key);
        self
    }

    /// The same, signed in another way; its `alg` stays.
    #[must_use]
    pub fn signed_as(mut self, signing: Signing) -> Self {
        self.signing = signing;
        self
    }

    /// The token's text.
    pub fn encode(&self) -> anyhow::Result<String> {
        let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(&self.header), URL_SAFE_NO_PAD.encode(&self.claims));
        let rsa = |encoding: &'static dyn RsaEncoding| self.key.signature(encoding, message.as_bytes());
        let signature = match &self.signing {
            Signing::Rs256 => rsa(&RSA_PKCS1_SHA256)?,
            Signing::Rs384 => rsa(&RSA_PKCS1_SHA384)?,
            Signing::Rs512 => rsa(&RSA_PKCS1_SHA512)?,
            Signing::Ps256 => rsa(&RSA_PSS_SHA256)?,
            Signing::Hs256(secret) => hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), message.as_bytes()).as_ref().to_vec(),
            Signing::Bytes(bytes) => bytes.clone(),
        };
        Ok(format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }
}

fn changed(object: &str, name: &str, value: Option<Value>) -> String {
    let mut object: Value = serde_json::from_str(object).unwrap_or_else(|_| json!({}));
    match (object.as_object_mut(), value) {
        (Some(members), Some(value)) => drop(members.insert(name.to_owned(), value)),
        (Some(members), None) => drop(members.remove(name)),
        (None, _) => {}
    }
    object.to_string()
}

/// A genuine token for this user; `None` when there is no such user.
pub(super) fn genuine(account: &mut Account, user: u64) -> anyhow::Result<HelpCenterToken> {
    let now = real_time().unix_timestamp();
    let life = account.help_center.token_life;
    let known = account.users.get(&user).context("no such user")?;
    let claims = json!({
        "userId": known.id,
        "name": known.name,
        "email": known.email,
        "externalId": known.external_id,
        "iat": now,
        "exp": now + life,
    });
    let signer = super::keys_of(account)?.last().context("no key")?;
    let header = json!({"typ": "JWT", "alg": "RS256", "kid": signer.kid});
    Ok(HelpCenterToken { header: header.to_string(), claims: claims.to_string(), key: Arc::clone(&signer.key), signing: Signing::Rs256 })
}

/// `GET /api/v2/help_center/integration/token`: for a session of the Help Center, not for an API token.
pub(in super::super) fn give(account: &mut Account, call: &Call) -> Outcome {
    call.only_query(&[])?;
    if call.session.is_none() {
        return Err(Reply::forbidden().into());
    }
    match genuine(account, call.caller).and_then(|token| token.encode()) {
        Ok(token) => Ok(Reply::json(200, json!({"token": token})).with("cache-control", "no-store")),
        Err(error) => Err(Reply::error(500, "InternalError", &format!("{error:#}")).into()),
    }
}

/// `GET /api/v2/help_center/integration/keys`
pub(in super::super) fn keys(account: &mut Account, call: &Call) -> Outcome {
    call.only_query(&[])?;
    let keys = super::keys_of(account).map_err(|error| Reply::error(500, "InternalError", &format!("{error:#}")))?;
    let shown: Vec<Value> = keys
        .iter()
        .filter(|key| key.is_published)
        .map(|key| {
            let (modulus, exponent) = key.key.public_numbers();
            json!({"kid": key.kid, "kty": "RSA", "n": URL_SAFE_NO_PAD.encode(modulus), "e": URL_SAFE_NO_PAD.encode(exponent)})
        })
        .collect();
    Ok(Reply::json(200, json!({"keys": shown})))
}
