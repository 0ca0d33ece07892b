//! What a paired browser and the server must agree on to the letter: the text a request's signature covers, its headers,
//! pairing codes and links, bodies. Pure text: the caller brings hashes, keys, time and chance.

#[cfg(feature = "serde")]
use serde::{Deserialize, Serialize};

use crate::host;

/// Header with the device's id (a UUID in lower case with hyphens).
pub const DEVICE_HEADER: &str = "Deskbridge-Device";
/// Header with the time of signing: Unix milliseconds, decimal.
pub const TIME_HEADER: &str = "Deskbridge-Time";
/// Header with [`NONCE_BYTES`] random bytes, base64url without padding, never the same twice.
pub const NONCE_HEADER: &str = "Deskbridge-Nonce";
/// Header with the signature: ECDSA P-256 with SHA-256 as WebCrypto makes it (r and s, 64 bytes), base64url without padding.
pub const SIGNATURE_HEADER: &str = "Deskbridge-Signature";

/// Random bytes of a nonce.
pub const NONCE_BYTES: usize = 16;
/// What a browser that is just being paired signs as its device id.
pub const NEW_DEVICE: &str = "new";
/// How far a request's time may be from the server's, either way. Milliseconds.
pub const CLOCK_TOLERANCE_MS: i64 = 90_000;
/// Longest name of a device or browser, in characters.
pub const MAX_NAME: usize = 100;

/// First line of every text that is signed: a signature made for anything else says nothing here.
const PURPOSE: &str = "deskbridge-request-v1";

/// What a signature covers. Every field is the text exactly as sent; none may hold a line feed.
#[derive(Clone, Copy, Debug)]
pub struct SignedRequest<'a> {
    /// `GET`, `POST`, `DELETE`.
    pub method: &'a str,
    /// Origin of the server's public address, as in `https://remote.example.com`: no slash at the end, no default port.
    pub origin: &'a str,
    /// Path and query as in the request line, escapes untouched: `/api/v1/panel?connection=a&ticket=1`.
    pub path_and_query: &'a str,
    /// SHA-256 of the body, 64 lower-case hexadecimal digits; of nothing where there is no body.
    pub body_sha256: &'a str,
    /// [`TIME_HEADER`]'s value.
    pub time: &'a str,
    /// [`NONCE_HEADER`]'s value.
    pub nonce: &'a str,
    /// [`DEVICE_HEADER`]'s value, or [`NEW_DEVICE`] while pairing.
    pub device: &'a str,
}

impl SignedRequest<'_> {
    /// The text to sign, as UTF-8.
    pub fn text(&self) -> String {
        [PURPOSE, self.method, self.origin, self.path_and_query, self.body_sha256, self.time, self.nonce, self.device].join("\n")
    }
}

/// Characters of a pairing code without its hyphens: 80 bits.
pub const CODE_CHARACTERS: usize = 16;

/// Crockford's alphabet: no I, L, O, U.
const CODE_ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/// The code of 80 random bits, as people read it: `ABCD-EFGH-JKMN-PQRS`.
pub fn pairing_code(bits: [u8; 10]) -> String {
    let mut code = String::with_capacity(CODE_CHARACTERS + 3);
    for place in 0..CODE_CHARACTERS {
        if place > 0 && place % 4 == 0 {
            code.push('-');
        }
        let bit = place * 5;
        let pair = u16::from(bits[bit / 8]) << 8 | u16::from(bits.get(bit / 8 + 1).copied().unwrap_or(0));
        code.push(char::from(CODE_ALPHABET[usize::from(pair >> (11 - bit % 8) & 31)]));
    }
    code
}

/// A code as somebody typed it, in its one stored form: capitals, no hyphens or spaces, `O` as 0, `I` and `L` as 1. `None` if it is none.
pub fn normalize_code(typed: &str) -> Option<String> {
    let mut code = String::with_capacity(CODE_CHARACTERS);
    for character in typed.trim().chars().filter(|character| !matches!(character, '-' | ' ')) {
        let character = match character.to_ascii_uppercase() {
            'O' => '0',
            'I' | 'L' => '1',
            other => other,
        };
        if code.len() == CODE_CHARACTERS || !u8::try_from(character).is_ok_and(|byte| CODE_ALPHABET.contains(&byte)) {
            return None;
        }
        code.push(character);
    }
    (code.len() == CODE_CHARACTERS).then_some(code)
}

/// What a pairing link says. The code stands behind `#`, so that no server or log sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PairingLink {
    /// The server's origin.
    pub origin: String,
    /// The code in its stored form: see [`normalize_code`].
    pub code: String,
}

impl PairingLink {
    /// The link as text. `origin` without a slash at the end.
    pub fn text(origin: &str, code: &str) -> String {
        format!("{origin}{}#{code}", crate::routes::PAIR)
    }

    /// Reads a link somebody pasted. `None` unless it is `https` (or `http` on this machine) and a pairing link. `idna`: see
    /// [`host::to_ascii`].
    pub fn parse(link: &str, idna: impl FnOnce(&str) -> Option<String>) -> Option<Self> {
        let (address, code) = link.trim().split_once('#')?;
        let origin = address.strip_suffix(crate::routes::PAIR)?;
        let (scheme, authority) = origin.split_once("://")?;
        let scheme = scheme.to_ascii_lowercase();
        let authority = authority.to_ascii_lowercase();
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
            _ => (authority.as_str(), None),
        };
        let plain = matches!(host, "localhost" | "127.0.0.1" | "[::1]");
        let host = if plain { host.to_owned() } else { host::to_ascii(host, idna)? };
        let ported = port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port > 0));
        if !(scheme == "https" || scheme == "http" && plain) || !ported {
            return None;
        }
        // The browser's form of an origin leaves the default port out; what is signed must be equal on both sides.
        let default_port = if scheme == "https" { "443" } else { "80" };
        let port = port.filter(|port| *port != default_port).map_or_else(String::new, |port| format!(":{port}"));
        Some(Self { origin: format!("{scheme}://{host}{port}"), code: normalize_code(code)? })
    }
}

/// Body of `POST /api/v1/devices`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize), serde(deny_unknown_fields))]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PairRequest {
    /// The pairing code, as typed.
    pub code: String,
    /// The public key: SPKI in DER, base64url without padding. ECDSA on P-256.
    #[cfg_attr(feature = "openapi", schema(pattern = "^[A-Za-z0-9_-]{122}$"))]
    pub public_key: String,
    /// What the person calls this browser.
    #[cfg_attr(feature = "serde", serde(default, skip_serializing_if = "Option::is_none"))]
    #[cfg_attr(feature = "openapi", schema(max_length = 100, pattern = r"^[^\u0000-\u001f\u007f-\u009f]*$"))]
    pub name: Option<String>,
    /// Browser and system, as in `Firefox 140 on Windows`.
    #[cfg_attr(feature = "serde", serde(default, skip_serializing_if = "Option::is_none"))]
    #[cfg_attr(feature = "openapi", schema(max_length = 100, pattern = r"^[^\u0000-\u001f\u007f-\u009f]*$"))]
    pub browser: Option<String>,
}

/// Answer to pairing (201, or 200 again) and to `GET /api/v1/devices/self`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct DeviceAnswer {
    /// The device's id, for the header `Deskbridge-Device`.
    #[cfg_attr(feature = "openapi", schema(format = "uuid"))]
    pub device: String,
    /// Its name.
    pub name: String,
    /// The agent it was paired for; none with a code for anybody.
    #[cfg_attr(feature = "openapi", schema(required))]
    pub agent: Option<String>,
    /// What it may be used for, less connections that are disabled or gone.
    pub connections: Vec<DeviceConnection>,
    /// The server's time: RFC 3339 UTC.
    #[cfg_attr(feature = "openapi", schema(format = "date-time"))]
    pub server_time: String,
}

/// A connection a device may use.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct DeviceConnection {
    /// The connection's name.
    pub name: String,
    /// The ticket system: `zendesk`, `autotask`, `osticket`, …
    pub system: String,
    /// The ticket system's address in a browser, with a path where it is installed below one; none where it has no page of its own.
    #[cfg_attr(feature = "openapi", schema(required, format = "uri"))]
    pub site: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn idna(name: &str) -> Option<String> {
        url::Host::parse(name).ok().map(|host| host.to_string())
    }

    #[test]
    fn the_signed_text_is_as_agreed() {
        let request = SignedRequest {
            method: "POST",
            origin: "https://remote.example.com",
            path_and_query: "/api/v1/sessions/key?x=%41",
            body_sha256: "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
            time: "1733240467000",
            nonce: "AAECAwQFBgcICQoLDA0ODw",
            device: "new",
        };
        let expected = "deskbridge-request-v1\nPOST\nhttps://remote.example.com\n/api/v1/sessions/key?x=%41\n\
                        e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\n1733240467000\nAAECAwQFBgcICQoLDA0ODw\nnew";
        assert_eq!(request.text(), expected);
    }

    #[test]
    fn codes_read_as_people_type_them() {
        assert_eq!(pairing_code([0; 10]), "0000-0000-0000-0000");
        assert_eq!(pairing_code([255; 10]), "ZZZZ-ZZZZ-ZZZZ-ZZZZ");
        assert_eq!(pairing_code([0x00, 0x44, 0x32, 0x14, 0xc7, 0x42, 0x54, 0xb6, 0x35, 0xcf]), "0123-4567-89AB-CDEF");
        let check = |typed, code: Option<&str>| assert_eq!(normalize_code(typed).as_deref(), code, "{typed}");
        check(" abcd-efgh-jkmn-pqrs ", Some("ABCDEFGHJKMNPQRS"));
        check("ABCD EFGH JKMN oIl0", Some("ABCDEFGHJKMN0110"));
        check("ABCD-EFGH-JKMN-PQR", None);
        check("ABCD-EFGH-JKMN-PQRST", None);
        check("ABCD-EFGH-JKMN-PQRU", None);
        check("ABCD-EFGH-JKMN-PQRé", None);
        check("", None);
    }

    #[test]
    fn links_read_back_and_lead_nowhere_else() {
        let check = |link: &str, origin: Option<&str>| {
            assert_eq!(PairingLink::parse(link, idna).map(|link| link.origin).as_deref(), origin, "{link}");
        };
        check("https://remote.example.com/pair#ABCD-EFGH-JKMN-PQRS", Some("https://remote.example.com"));
        check(" HTTPS://Remote.Example.com:443/pair#ABCDEFGHJKMNPQRS\n", Some("https://remote.example.com"));
        check("https://remote.example.com:8443/pair#ABCD-EFGH-JKMN-PQRS", Some("https://remote.example.com:8443"));
        check("http://127.0.0.1:8180/pair#ABCD-EFGH-JKMN-PQRS", Some("http://127.0.0.1:8180"));
        check("http://[::1]/pair#ABCD-EFGH-JKMN-PQRS", Some("http://[::1]"));
        check("https://Hilfe.Müller.de:8443/pair#ABCD-EFGH-JKMN-PQRS", Some("https://hilfe.xn--mller-kva.de:8443"));
        check("https://hilfe..müller.de/pair#ABCD-EFGH-JKMN-PQRS", None);
        check("https://hilfe😀.de/pair#ABCD-EFGH-JKMN-PQRS", None);
        check("http://remote.example.com/pair#ABCD-EFGH-JKMN-PQRS", None);
        check("https://user@remote.example.com/pair#ABCD-EFGH-JKMN-PQRS", None);
        check("https://remote.example.com/x/pair#ABCD-EFGH-JKMN-PQRS", None);
        check("https://remote.example.com/pair?a#ABCD-EFGH-JKMN-PQRS", None);
        check("https://remote.example.com:/pair#ABCD-EFGH-JKMN-PQRS", None);
        check("https:///pair#ABCD-EFGH-JKMN-PQRS", None);
        check("https://remote.example.com/pair#ABCD", None);
        check("https://remote.example.com/pair", None);
        for (typed, used) in crate::host::names_for_tests() {
            let origin = used.map(|name| format!("https://{name}"));
            check(&format!("https://{typed}/pair#ABCD-EFGH-JKMN-PQRS"), origin.as_deref());
        }
    }

    proptest! {
        #[test]
        fn every_code_reads_back(bits in any::<[u8; 10]>()) {
            let code = pairing_code(bits);
            let stored = normalize_code(&code);
            prop_assert_eq!(stored.clone(), Some(code.replace('-', "")));
            let link = PairingLink::text("https://remote.example.com", &code);
            prop_assert_eq!(PairingLink::parse(&link, idna).map(|link| link.code), stored);
        }
    }
}
