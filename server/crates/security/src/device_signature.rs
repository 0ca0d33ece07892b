//! Requests signed by paired browsers: ECDSA on P-256 with SHA-256, as WebCrypto makes it.
//!
//! The text that is signed stands in `deskbridge_shared::device`; here are the checks of what came. Time and replays are the caller's
//! to check, after the signature and in that order: a stranger shall learn nothing from them.

use std::fmt::Write as _;

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use deskbridge_shared::device::{CLOCK_TOLERANCE_MS, NONCE_BYTES, SignedRequest};
use uuid::Uuid;

use super::sha256;

/// SPKI of a P-256 key up to its point: the algorithm id-ecPublicKey, the curve prime256v1, a bit string of 66 octets (RFC 5480, 2).
const SPKI_HEADER: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01,
    0x07, 0x03, 0x42, 0x00,
];
/// An uncompressed point: the octet 4, x, y. Browsers export no other form.
const POINT_BYTES: usize = 65;
/// r and s.
const SIGNATURE_BYTES: usize = 64;
/// Characters of a time: enough for the next thirty thousand years.
const MAX_TIME: usize = 15;

/// Why a key cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyFault {
    /// Not base64url without padding.
    #[error("must be base64url without padding")]
    Encoding,
    /// Something else than the one form browsers export.
    #[error("must be the SPKI of an ECDSA key on P-256, in DER")]
    Form,
    /// The point is not on the curve.
    #[error("must be a point on the curve P-256")]
    Point,
}

/// Which part of a proof does not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProofFault {
    /// The time.
    #[error("Deskbridge-Time must be Unix milliseconds, in digits")]
    Time,
    /// The nonce.
    #[error("Deskbridge-Nonce must be 16 bytes in base64url without padding")]
    Nonce,
    /// The signature.
    #[error("Deskbridge-Signature must be 64 bytes in base64url without padding")]
    Signature,
}

/// Reads a public key as a browser sends it: its DER, which is on the curve.
pub fn read_public_key(text: &str) -> Result<Vec<u8>, KeyFault> {
    if text.len() > (SPKI_HEADER.len() + POINT_BYTES) * 2 {
        return Err(KeyFault::Form);
    }
    let der = URL_SAFE_NO_PAD.decode(text).map_err(|_| KeyFault::Encoding)?;
    let point = der.strip_prefix(&SPKI_HEADER).filter(|point| point.len() == POINT_BYTES && point[0] == 4).ok_or(KeyFault::Form)?;
    UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).parse().map_err(|_| KeyFault::Point)?;
    Ok(der)
}

/// What a request brings to prove who sent it: read, not yet believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Proof<'a> {
    /// As sent.
    pub time: &'a str,
    /// Unix ms.
    pub time_ms: i64,
    /// As sent; there is only one text for the same bytes.
    pub nonce: &'a str,
    signature: [u8; SIGNATURE_BYTES],
}

impl<'a> Proof<'a> {
    /// Reads the three headers' values.
    pub fn read(time: &'a str, nonce: &'a str, signature: &str) -> Result<Self, ProofFault> {
        let digits = (1..=MAX_TIME).contains(&time.len()) && time.bytes().all(|byte| byte.is_ascii_digit());
        let time_ms = time.parse().ok().filter(|_| digits).ok_or(ProofFault::Time)?;
        decode::<NONCE_BYTES>(nonce).ok_or(ProofFault::Nonce)?;
        Ok(Self { time, time_ms, nonce, signature: decode(signature).ok_or(ProofFault::Signature)? })
    }

    /// Whether the key's owner signed exactly this request.
    pub fn holds(&self, public_key: &[u8], request: &SignedRequest<'_>) -> bool {
        let text = request.text();
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, public_key).verify(text.as_bytes(), &self.signature).is_ok()
    }

    /// Whether it was signed about now (Unix ms).
    pub fn is_timely(&self, now: i64) -> bool {
        now.abs_diff(self.time_ms) <= CLOCK_TOLERANCE_MS.unsigned_abs()
    }

    /// What is remembered of the request, and until when (Unix ms): by then its time refuses it on every server, also on one whose
    /// clock is behind. Not of the signature: from each anybody can make a second that holds as well.
    pub fn memory(&self, device: Uuid) -> ([u8; 32], i64) {
        let fingerprint = sha256(format!("{device} {}", self.nonce).as_bytes());
        (fingerprint, self.time_ms.saturating_add(2 * CLOCK_TOLERANCE_MS))
    }
}

/// SHA-256 of a body in lower-case hexadecimal digits, as it stands in the signed text.
pub fn body_digest(body: &[u8]) -> String {
    sha256(body).iter().fold(String::with_capacity(64), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn decode<const N: usize>(text: &str) -> Option<[u8; N]> {
    // Of another length, it is not even decoded.
    (text.len() == (N * 4).div_ceil(3)).then(|| URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::encoding::AsDer;
    use aws_lc_rs::rand::SystemRandom;
    use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, KeyPair};

    use super::*;

    const NOW: i64 = 1_733_240_467_000;
    const TIME: &str = "1733240467000";
    const NONCE: &str = "AAECAwQFBgcICQoLDA0ODw";

    fn new_key() -> EcdsaKeyPair {
        EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap()
    }

    fn der(key: &EcdsaKeyPair) -> Vec<u8> {
        key.public_key().as_der().unwrap().as_ref().to_vec()
    }

    fn request<'a>(body: &'a str, nonce: &'a str) -> SignedRequest<'a> {
        SignedRequest {
            method: "GET",
            origin: "https://remote.example.com",
            path_and_query: "/api/v1/devices/self",
            body_sha256: body,
            time: TIME,
            nonce,
            device: "new",
        }
    }

    #[test]
    fn a_browsers_key_is_read_and_nothing_else() {
        let der = der(&new_key());
        let check = |bytes: &[u8], expected| assert_eq!(read_public_key(&URL_SAFE_NO_PAD.encode(bytes)).map(drop), expected);
        assert_eq!(read_public_key(&URL_SAFE_NO_PAD.encode(&der)), Ok(der.clone()));
        assert_eq!(read_public_key(&format!("{}=", URL_SAFE_NO_PAD.encode(&der))), Err(KeyFault::Encoding));
        assert_eq!(read_public_key("+/+/"), Err(KeyFault::Encoding));
        check(&[], Err(KeyFault::Form));
        check(&der[26..], Err(KeyFault::Form));
        check(&der[..90], Err(KeyFault::Form));
        check(&[der.as_slice(), &[0]].concat(), Err(KeyFault::Form));
        check(&vec![0; 10_000], Err(KeyFault::Form));
        let mut compressed = der.clone();
        compressed[26] = 2;
        check(&compressed, Err(KeyFault::Form));
        let other = EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).unwrap();
        check(other.public_key().as_der().unwrap().as_ref(), Err(KeyFault::Form));
        let mut off = der.clone();
        off[90] ^= 1;
        check(&off, Err(KeyFault::Point));
        check(&[SPKI_HEADER.as_slice(), &[4], &[0; 64]].concat(), Err(KeyFault::Point));
    }

    #[test]
    fn a_signature_holds_for_its_own_request_and_key() {
        let (key, stranger) = (new_key(), new_key());
        let body = body_digest(b"");
        assert_eq!(body, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
        let signed = request(&body, NONCE);
        let signature = key.sign(&SystemRandom::new(), signed.text().as_bytes()).unwrap();
        let signature = URL_SAFE_NO_PAD.encode(signature.as_ref());
        let proof = Proof::read(TIME, NONCE, &signature).unwrap();
        assert!(proof.holds(&der(&key), &signed));
        assert!(!proof.holds(&der(&stranger), &signed));
        assert!(!proof.holds(&[], &signed));
        let changed = [
            SignedRequest { method: "HEAD", ..signed },
            SignedRequest { origin: "https://remote.example.com:444", ..signed },
            SignedRequest { path_and_query: "/api/v1/devices/self?", ..signed },
            SignedRequest { body_sha256: &body.to_uppercase(), ..signed },
            SignedRequest { time: "1733240467001", ..signed },
            SignedRequest { nonce: "AAECAwQFBgcICQoLDA0OEA", ..signed },
            SignedRequest { device: "00000000-0000-0000-0000-000000000000", ..signed },
        ];
        for changed in changed {
            assert!(!proof.holds(&der(&key), &changed), "{changed:?}");
        }
        let zeros = URL_SAFE_NO_PAD.encode([0; 64]);
        assert!(!Proof::read(TIME, NONCE, &zeros).unwrap().holds(&der(&key), &signed));
    }

    #[test]
    fn a_proof_reads_in_one_form_only() {
        let signature = URL_SAFE_NO_PAD.encode([1; 64]);
        let check = |time, nonce, signature: &str, expected| assert_eq!(Proof::read(time, nonce, signature).map(drop), expected);
        check(TIME, NONCE, &signature, Ok(()));
        for time in ["", "-1", "+1", " 1", "1.0", "0x1", "1\n", "1e3", "1234567890123456", "١"] {
            check(time, NONCE, &signature, Err(ProofFault::Time));
        }
        // The last has bits set behind its last byte: another text for the same bytes.
        for nonce in ["", "AAECAwQFBgcICQoLDA0OD", "AAECAwQFBgcICQoLDA0ODw==", "AAECAwQFBgcICQoLDA0O/w", "AAECAwQFBgcICQoLDA0ODx"] {
            check(TIME, nonce, &signature, Err(ProofFault::Nonce));
        }
        for wrong in ["", &signature[1..], &URL_SAFE_NO_PAD.encode([1; 65]), &"x".repeat(10_000)] {
            check(TIME, NONCE, wrong, Err(ProofFault::Signature));
        }
    }

    #[test]
    fn time_holds_for_ninety_seconds_either_way_and_memory_outlasts_it() {
        let signature = URL_SAFE_NO_PAD.encode([1; 64]);
        let proof = Proof::read(TIME, NONCE, &signature).unwrap();
        for (drift, timely) in [(0, true), (90_000, true), (90_001, false), (-90_000, true), (-90_001, false), (i64::MIN, false)] {
            assert_eq!(proof.is_timely(NOW.saturating_add(drift)), timely, "{drift}");
        }
        let (fingerprint, until) = proof.memory(Uuid::nil());
        assert!(!proof.is_timely(until));
        assert_ne!(proof.memory(Uuid::max()).0, fingerprint, "each device has its own nonces");
    }
}
