//! Chat links: which ticket, which issue, until when.
//!
//! Whoever holds the link may start a chat tied to the ticket; nothing else can be done with it.

use serde::{Deserialize, Serialize};

use super::signed_token::Signed;

/// What a chat link says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChatInvitation {
    /// The connection's id; its name in links made before connections had ids.
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

impl Signed for ChatInvitation {
    const PURPOSE: &'static str = "chat link";

    fn expires_at(&self) -> i64 {
        self.expires_at
    }
}

#[cfg(test)]
mod tests {
    use super::super::administrator_token::AdministratorInvitation;
    use super::super::seal::MasterKey;
    use super::super::signed_token::{TokenError, issue, verify};
    use super::*;

    #[test]
    fn only_an_unchanged_unexpired_token_of_this_server_opens() {
        let key = MasterKey::ephemeral();
        let verify = |key: &MasterKey, token: &str, now| verify::<ChatInvitation>(key, token, now);
        let invitation =
            ChatInvitation { connection: "Zendesk".into(), ticket: "88121".into(), issue: Some("general_tech".into()), expires_at: 1_000 };
        let token = issue(&key, &invitation);
        assert_eq!(verify(&key, &token, 999), Ok(invitation));
        assert_eq!(verify(&key, &token, 1_000), Err(TokenError::Expired));
        assert_eq!(verify(&MasterKey::ephemeral(), &token, 999), Err(TokenError::Invalid));
        for wrong in ["", ".", "a.b", &token[1..], &token[..token.len() - 1], &token.replace('.', ""), &"x".repeat(5_000)] {
            assert_eq!(verify(&key, wrong, 999), Err(TokenError::Invalid), "{wrong}");
        }
        let other = issue(&key, &AdministratorInvitation { connection: "Zendesk".into(), agent: "7".into(), expires_at: 1_000 });
        assert_eq!(verify(&key, &other, 999), Err(TokenError::Invalid), "for another purpose");
    }
}
