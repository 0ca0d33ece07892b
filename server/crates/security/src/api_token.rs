//! Tokens with which programs call this server.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// What such a token begins with, so that people and scanners for leaked secrets know what it is.
const PREFIX: &str = "dbt_";

/// A new token, of 32 random bytes.
pub fn new_api_token(random: [u8; 32]) -> String {
    format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(random))
}
