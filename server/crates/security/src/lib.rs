//! Proofs and secrets: chat links, devices' signatures, sealed settings.
//!
//! Nothing here knows HTTP requests or SQL; what must be remembered is handed to the store by the caller.

pub mod administrator_token;
pub mod api_token;
pub mod chat_token;
pub mod device_signature;
pub mod recording_token;
pub mod seal;
pub mod signed_token;
pub mod ticket_value;

use sha2::{Digest, Sha256};

/// SHA-256 of `bytes`.
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}
