//! Texts of ours that come back from outside: what they say, under HMAC-SHA-256 of a key derived from the master key for one purpose.
//!
//! Whoever holds one can use it for that purpose until it ends; nobody can make or change one.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::Sha256;

use super::seal::MasterKey;

/// Longer tokens are not even decoded.
const MAX_LENGTH: usize = 1_024;
const MAC_BYTES: usize = 16;

/// What a token says.
pub trait Signed: Serialize + DeserializeOwned {
    /// What it is for. Never changes: tokens that are out there were signed for it.
    const PURPOSE: &'static str;

    /// Unix seconds from which it opens nothing.
    fn expires_at(&self) -> i64;
}

/// Why a token opens nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Not made by this server, for another purpose, or changed.
    #[error("this link is not valid")]
    Invalid,
    /// Too old.
    #[error("this link has expired")]
    Expired,
}

fn mac<T: Signed>(key: &MasterKey, payload: &[u8]) -> Hmac<Sha256> {
    let mut mac = Hmac::<Sha256>::new_from_slice(&*key.derive(T::PURPOSE)).expect("HMAC takes keys of any length");
    mac.update(payload);
    mac
}

/// The token, URL-safe.
pub fn issue<T: Signed>(key: &MasterKey, said: &T) -> String {
    let payload = serde_json::to_vec(said).unwrap_or_default();
    let tag = mac::<T>(key, &payload).finalize().into_bytes();
    format!("{}.{}", URL_SAFE_NO_PAD.encode(&payload), URL_SAFE_NO_PAD.encode(&tag[..MAC_BYTES]))
}

/// Reads a token. `now`: Unix seconds.
pub fn verify<T: Signed>(key: &MasterKey, token: &str, now: i64) -> Result<T, TokenError> {
    if token.len() > MAX_LENGTH {
        return Err(TokenError::Invalid);
    }
    let (payload, tag) = token.split_once('.').ok_or(TokenError::Invalid)?;
    let payload = URL_SAFE_NO_PAD.decode(payload).map_err(|_| TokenError::Invalid)?;
    let tag = URL_SAFE_NO_PAD.decode(tag).map_err(|_| TokenError::Invalid)?;
    if tag.len() != MAC_BYTES {
        return Err(TokenError::Invalid);
    }
    mac::<T>(key, &payload).verify_truncated_left(&tag).map_err(|_| TokenError::Invalid)?;
    let said: T = serde_json::from_slice(&payload).map_err(|_| TokenError::Invalid)?;
    if said.expires_at() <= now { Err(TokenError::Expired) } else { Ok(said) }
}
