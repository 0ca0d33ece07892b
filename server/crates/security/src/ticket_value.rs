//! The value of a ticket field that proves: whoever names it can read this ticket.
//!
//! It cannot be guessed, is another one for each connection and ticket, and ends when the connection's epoch is raised.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;

use super::seal::MasterKey;

/// What every value begins with, so that people see what it is.
const PREFIX: &str = "deskbridge-";
const MAC_BYTES: usize = 24;

/// What a value is made of.
#[derive(Clone, Copy, Debug)]
pub struct TicketValue<'a> {
    /// The tenant's id.
    pub tenant: &'a str,
    /// The connection's id.
    pub connection: &'a str,
    /// The ticket's id.
    pub ticket: &'a str,
    /// The connection's epoch.
    pub epoch: i64,
}

impl TicketValue<'_> {
    /// The value: `deskbridge-` and 32 letters, digits, `-` and `_`.
    pub fn text(&self, key: &MasterKey) -> String {
        let mut mac = Hmac::<Sha256>::new_from_slice(&*key.derive("help center ticket value")).expect("HMAC takes keys of any length");
        for part in [self.tenant, self.connection, self.ticket, &self.epoch.to_string()] {
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part.as_bytes());
        }
        format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(&mac.finalize().into_bytes()[..MAC_BYTES]))
    }

    /// Whether `given` is the value.
    pub fn is(&self, key: &MasterKey, given: &str) -> bool {
        self.text(key).as_bytes().ct_eq(given.as_bytes()).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_one_tickets_of_one_connection_and_epoch() {
        let key = MasterKey::ephemeral();
        let value = TicketValue { tenant: "main", connection: "c", ticket: "88121", epoch: 0 };
        let text = value.text(&key);
        assert!(value.is(&key, &text) && text.len() == PREFIX.len() + 32, "{text}");
        for other in [
            TicketValue { tenant: "other", ..value },
            TicketValue { connection: "d", ..value },
            TicketValue { ticket: "88122", ..value },
            TicketValue { epoch: 1, ..value },
            TicketValue { connection: "c8", ticket: "8121", ..value },
        ] {
            assert!(!other.is(&key, &text), "{other:?}");
        }
        assert!(!value.is(&MasterKey::ephemeral(), &text));
        assert!(!value.is(&key, "") && !value.is(&key, &text[..text.len() - 1]));
    }
}
