//! The guest name of a link: the one text of ours that stands in every event of its sessions, and so our external key.
//!
//! The person at the machine may read it, too. Anybody with an account on the server can write the same text into a link of their own: so it
//! ends with a token that is bound to the machine and to the kind of session, and a link counts only if our own account made it.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use deskbridge_core::ids::ConnectionId;
use deskbridge_core::session_report::SessionKind;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::LinkKey;

/// MeshCentral takes so many characters (meshuser.js, createDeviceShareLink).
const LONGEST: usize = 128;
/// A ticket's id is never longer where agents name it.
const LONGEST_TICKET: usize = 64;
const ID_BYTES: usize = 16;
const MAC_BYTES: usize = 10;

/// What a guest name says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct GuestName {
    /// The agent who had the link made.
    pub(super) agent: String,
    /// The ticket's id.
    pub(super) ticket: String,
    /// The connection.
    pub(super) connection: ConnectionId,
}

/// The link's machine and kind, which the token is bound to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bound<'a> {
    /// The machine's id.
    pub(super) machine: &'a str,
    /// What the link opens.
    pub(super) kind: SessionKind,
}

fn mac(key: &LinkKey, connection: ConnectionId, text: &str, bound: Bound<'_>) -> Hmac<Sha256> {
    let mut mac = Hmac::<Sha256>::new_from_slice(&**key).expect("HMAC takes keys of any length");
    for part in [&connection.to_string(), text, bound.machine, bound.kind.as_str()] {
        mac.update(&(part.len() as u64).to_be_bytes());
        mac.update(part.as_bytes());
    }
    mac
}

/// Characters of the rest of a guest name: the token, and what is between the parts.
const AROUND: usize = ((ID_BYTES + MAC_BYTES) * 8).div_ceil(6) + ", ticket ".len() + " []".len();

/// The agent's name as it stands in the guest name: cut where the ticket's id leaves less room. None: it has no name.
pub(super) fn agent(name: &GuestName) -> Option<String> {
    let room = LONGEST.saturating_sub(AROUND + name.ticket.chars().count());
    let agent: String = name.agent.chars().map(|character| if character.is_control() { ' ' } else { character }).take(room).collect();
    Some(agent.trim().to_owned()).filter(|agent| !agent.is_empty())
}

/// `Anna Berg, ticket 88121 [token]`. None: the ticket's id cannot stand in one.
pub(super) fn write(key: &LinkKey, name: &GuestName, bound: Bound<'_>) -> Option<String> {
    let is_plain = |character: char| !character.is_control() && !character.is_whitespace() && character != '[' && character != ']';
    if name.ticket.is_empty() || name.ticket.len() > LONGEST_TICKET || !name.ticket.chars().all(is_plain) {
        return None;
    }
    let rest = format!("ticket {}", name.ticket);
    let text = agent(name).map_or_else(|| rest.clone(), |agent| format!("{agent}, {rest}"));
    let tag = mac(key, name.connection, &text, bound).finalize().into_bytes();
    let mut token = uuid::Uuid::from(name.connection).as_bytes().to_vec();
    token.extend_from_slice(&tag[..MAC_BYTES]);
    Some(format!("{text} [{}]", URL_SAFE_NO_PAD.encode(token)))
}

/// Reads one that this server made for that machine and kind. None: it did not.
pub(super) fn read(key: &LinkKey, text: &str, bound: Bound<'_>) -> Option<GuestName> {
    let (said, token) = text.strip_suffix(']')?.rsplit_once(" [")?;
    let token = URL_SAFE_NO_PAD.decode(token).ok().filter(|token| token.len() == ID_BYTES + MAC_BYTES)?;
    let (id, tag) = token.split_at(ID_BYTES);
    let connection = ConnectionId::from(uuid::Uuid::from_slice(id).ok()?);
    mac(key, connection, said, bound).verify_truncated_left(tag).ok()?;
    let (agent, ticket) = match said.rsplit_once(", ticket ") {
        Some((agent, ticket)) => (agent, ticket),
        None => ("", said.strip_prefix("ticket ")?),
    };
    Some(GuestName { agent: agent.to_owned(), ticket: ticket.to_owned(), connection })
}

#[cfg(test)]
mod tests {
    use zeroize::Zeroizing;

    use super::*;

    const MACHINE: Bound<'_> = Bound { machine: "node//10CCu3", kind: SessionKind::Terminal };

    fn key(byte: u8) -> LinkKey {
        Zeroizing::new([byte; 32])
    }

    fn name(agent: &str, ticket: &str) -> GuestName {
        GuestName { agent: agent.into(), ticket: ticket.into(), connection: "0197a2f0-0000-7000-8000-000000000001".parse().unwrap() }
    }

    #[test]
    fn what_was_written_is_read_again() {
        for (agent, ticket) in
            [("Anna Berg", "88121"), ("", "1"), ("Eve, ticket 7", "88121"), ("[x] Zoë 語", "T20261130.0001"), ("a", &"9".repeat(64))]
        {
            let wanted = name(agent, ticket);
            let text = write(&key(1), &wanted, MACHINE).unwrap();
            assert!(text.chars().count() <= LONGEST, "{text}");
            assert_eq!(read(&key(1), &text, MACHINE), Some(wanted), "{text}");
        }
        let text = write(&key(1), &name("Anna Berg", "88121"), MACHINE).unwrap();
        assert!(text.starts_with("Anna Berg, ticket 88121 ["), "{text}");
    }

    #[test]
    fn a_long_name_is_cut_and_the_ticket_is_not() {
        let text = write(&key(1), &name(&"ä".repeat(200), "88121"), MACHINE).unwrap();
        assert_eq!(text.chars().count(), LONGEST);
        assert_eq!(read(&key(1), &text, MACHINE).unwrap().ticket, "88121");
        for ticket in ["1", "88121", &"9".repeat(LONGEST_TICKET)] {
            let name = name(&format!(" Anna-Sophia von Berg zu {}", "ä".repeat(60)), ticket);
            let text = write(&key(1), &name, MACHINE).unwrap();
            assert_eq!(agent(&name), Some(read(&key(1), &text, MACHINE).unwrap().agent), "{text}");
        }
        assert_eq!(write(&key(1), &name("a\nb\u{7}", "5"), MACHINE).unwrap().find(char::is_control), None);
    }

    #[test]
    fn a_ticket_that_could_be_misread_has_no_guest_name() {
        for ticket in ["", "5 [x", "a b", "1]", "a\u{a0}b", &"9".repeat(65), "{\"title\": \"x\"}"] {
            assert_eq!(write(&key(1), &name("Anna", ticket), MACHINE), None, "{ticket}");
        }
    }

    /// The text of a link can be read by people who can make links of their own.
    #[test]
    fn the_same_text_elsewhere_is_not_believed() {
        let text = write(&key(1), &name("Anna", "88121"), MACHINE).unwrap();
        assert_eq!(read(&key(2), &text, MACHINE), None, "another server's");
        assert_eq!(read(&key(1), &text, Bound { machine: "node//other", ..MACHINE }), None);
        assert_eq!(read(&key(1), &text, Bound { kind: SessionKind::Desktop, ..MACHINE }), None);
        let other = text.replace("88121", "88122");
        assert_eq!(read(&key(1), &other, MACHINE), None);
        for garbage in [
            "",
            "]",
            " []",
            "Ticket 88121",
            "Anna, ticket 88121",
            "Anna, ticket 88121 [AAAA]",
            &text[..text.len() - 1],
            &format!("x{text}"),
        ] {
            assert_eq!(read(&key(1), garbage, MACHINE), None, "{garbage}");
        }
        // Nor with a connection's id of somebody's choice.
        let at = text.len() - 30;
        let mut changed = text.clone();
        changed.replace_range(at..=at, if &text[at..=at] == "A" { "B" } else { "A" });
        assert_eq!(read(&key(1), &changed, MACHINE), None);
    }
}
