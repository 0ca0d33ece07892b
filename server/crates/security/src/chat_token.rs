//! Chat links: which ticket, which issue, until when, under HMAC-SHA-256 of a key derived from the master key.
//!
//! Whoever holds the link may start a chat tied to the ticket; nothing else can be done with it.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

use super::seal::MasterKey;

/// Longer tokens are not even decoded.
const MAX_LENGTH: usize = 1_024;
const MAC_BYTES: usize = 16;

/// What a chat link says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChatInvitation {
    /// Connection name.
    #[serde(rename = "c")]
    pub connection: String,
    /// Ticket id.
    #[serde(rename = "t")]
    pub ticket: String,
    /// Issue code name; none: the customer chooses.
    #[serde(rename = "i", skip_serializing_if = "Option::is_none")]
    pub issue: Option<String>,
    /// Unix seconds.
    #[serde(rename = "e")]
    pub expires_at: i64,
}

/// Why a chat link opens nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChatTokenError {
    /// Not made by this server, or changed.
    #[error("this link is not valid")]
    Invalid,
    /// Too old.
    #[error("this link has expired")]
    Expired,
}

fn mac(key: &MasterKey, payload: &[u8]) -> Hmac<Sha256> {
    let mut mac = Hmac::<Sha256>::new_from_slice(&*key.derive("chat link")).expect("HMAC takes keys of any length");
    mac.update(payload);
    mac
}

/// The token of an invitation, URL-safe.
pub fn issue(key: &MasterKey, invitation: &ChatInvitation) -> String {
    let payload = serde_json::to_vec(invitation).unwrap_or_default();
    let tag = mac(key, &payload).finalize().into_bytes();
    format!("{}.{}", URL_SAFE_NO_PAD.encode(&payload), URL_SAFE_NO_PAD.encode(&tag[..MAC_BYTES]))
}

/// Reads a token. `now`: Unix seconds.
pub fn verify(key: &MasterKey, token: &str, now: i64) -> Result<ChatInvitation, ChatTokenError> {
    if token.len() > MAX_LENGTH {
        return Err(ChatTokenError::Invalid);
    }
    let (payload, tag) = token.split_once('.').ok_or(ChatTokenError::Invalid)?;
    let payload = URL_SAFE_NO_PAD.decode(payload).map_err(|_| ChatTokenError::Invalid)?;
    let tag = URL_SAFE_NO_PAD.decode(tag).map_err(|_| ChatTokenError::Invalid)?;
    if tag.len() != MAC_BYTES {
        return Err(ChatTokenError::Invalid);
    }
    mac(key, &payload).verify_truncated_left(&tag).map_err(|_| ChatTokenError::Invalid)?;
    let invitation: ChatInvitation = serde_json::from_slice(&payload).map_err(|_| ChatTokenError::Invalid)?;
    if invitation.expires_at <= now { Err(ChatTokenError::Expired) } else { Ok(invitation) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_unchanged_unexpired_token_of_this_server_opens() {
        let key = MasterKey::ephemeral();
        let invitation =
            ChatInvitation { connection: "Zendesk".into(), ticket: "88121".into(), issue: Some("general_tech".into()), expires_at: 1_000 };
        let token = issue(&key, &invitation);
        assert_eq!(verify(&key, &token, 999), Ok(invitation));
        assert_eq!(verify(&key, &token, 1_000), Err(ChatTokenError::Expired));
        assert_eq!(verify(&MasterKey::ephemeral(), &token, 999), Err(ChatTokenError::Invalid));
        for wrong in ["", ".", "a.b", &token[1..], &token[..token.len() - 1], &token.replace('.', ""), &"x".repeat(5_000)] {
            assert_eq!(verify(&key, wrong, 999), Err(ChatTokenError::Invalid), "{wrong}");
        }
    }
}
