//! The app's RSA key and what is signed with it.
//!
//! Signs with aws-lc-rs alone and never looks at the header it is given, so that tests can build every wrong token
//! there is. Must not verify anything: that is the job of the side under test.

use std::sync::{Arc, OnceLock};

use anyhow::Context as _;
use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_SHA256, RsaEncoding};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::Value;

/// Makes aws-lc-rs the provider of `jsonwebtoken` in this process; may be called any number of times.
pub fn install_crypto_provider() {
    // An error only says that some provider stands already; it is this one wherever this workspace installs it.
    let _ = jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER.install_default();
}

/// An RSA 2048 key pair as Zendesk keeps one per app (zendesk.md b.3).
#[derive(Debug)]
pub struct AppKey {
    pair: KeyPair,
    private_der: Vec<u8>,
    public_der: Vec<u8>,
}

impl AppKey {
    /// A new key. Takes some tenths of a second.
    pub fn generate() -> anyhow::Result<Self> {
        let pair = KeyPair::generate(KeySize::Rsa2048).context("making an RSA key")?;
        let private: Pkcs8V1Der<'_> = pair.as_der().context("encoding the private key")?;
        let public: PublicKeyX509Der<'_> = pair.public_key().as_der().context("encoding the public key")?;
        Ok(Self { private_der: private.as_ref().to_vec(), public_der: public.as_ref().to_vec(), pair })
    }

    /// One key for the whole process: making a key for each of a hundred tests would take longer than the tests.
    pub fn of_this_process() -> anyhow::Result<Arc<Self>> {
        static KEY: OnceLock<Arc<AppKey>> = OnceLock::new();
        if let Some(key) = KEY.get() {
            return Ok(Arc::clone(key));
        }
        let made = Arc::new(Self::generate()?);
        Ok(Arc::clone(KEY.get_or_init(|| made)))
    }

    /// Base64url header and claims with an RS256 signature, whatever the header says.
    pub fn sign(&self, header: &Value, claims: &Value) -> anyhow::Result<String> {
        let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(header.to_string()), URL_SAFE_NO_PAD.encode(claims.to_string()));
        let signature = self.signature(&RSA_PKCS1_SHA256, message.as_bytes())?;
        Ok(format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }

    /// A signature over `message`.
    pub(super) fn signature(&self, encoding: &'static dyn RsaEncoding, message: &[u8]) -> anyhow::Result<Vec<u8>> {
        let mut signature = vec![0; self.pair.public_modulus_len()];
        self.pair.sign(encoding, &SystemRandom::new(), message, &mut signature).context("signing a token")?;
        Ok(signature)
    }

    /// Modulus and exponent of the public key, without leading zeros, as a JWK has them.
    pub(super) fn public_numbers(&self) -> (&[u8], &[u8]) {
        // PKCS#1 of a 2048-bit key: SEQUENCE (4 bytes), INTEGER (4 bytes), 0, 256 bytes of modulus; INTEGER (2 bytes), exponent.
        let der = self.pair.public_key().as_ref();
        (&der[9..265], &der[267..])
    }

    /// The public key as the account serves it: `-----BEGIN PUBLIC KEY-----`.
    pub fn public_pem(&self) -> String {
        pem("PUBLIC KEY", &self.public_der)
    }

    /// The private key, PKCS#8, for tests that sign by other means.
    pub fn private_pem(&self) -> String {
        pem("PRIVATE KEY", &self.private_der)
    }

    /// The private key, PKCS#8 DER.
    pub fn private_der(&self) -> &[u8] {
        &self.private_der
    }
}

fn pem(label: &str, der: &[u8]) -> String {
    let encoded = STANDARD.encode(der);
    let mut text = format!("-----BEGIN {label}-----\n");
    let mut rest = encoded.as_str();
    while !rest.is_empty() {
        let (line, tail) = rest.split_at(rest.len().min(64));
        text.push_str(line);
        text.push('\n');
        rest = tail;
    }
    text.push_str("-----END ");
    text.push_str(label);
    text.push_str("-----\n");
    text
}
