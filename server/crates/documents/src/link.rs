//! Addresses that may become links. Everything else stays text: `javascript:` and client launchers such as `sra://` are no
//! links in a note (osTicket would write `denied:` before them, osticket.md 2.5).
//!
//! Must not repair an address: what is signed must arrive as it was signed. Only characters that no URL may hold are
//! percent-encoded, which also keeps them from ending a link in any of the formats.

use std::fmt;
use std::sync::Arc;

/// Longer addresses stay text. No browser or ticket system takes longer ones reliably.
pub const MAX_URL_BYTES: usize = 8192;

/// An absolute `http:`, `https:` or `mailto:` address; printable ASCII without any of `` "<>\^`{|} ``.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct LinkUrl(Arc<str>);

impl fmt::Debug for LinkUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

impl LinkUrl {
    /// `None` for another scheme, a relative address, control characters, or more than [`MAX_URL_BYTES`]. White space around
    /// it is ignored.
    pub fn new(address: &str) -> Option<Self> {
        let address = address.trim_ascii();
        if address.chars().any(char::is_control) {
            return None;
        }
        let after = |scheme: &str| {
            let start = address.get(..scheme.len())?;
            start.eq_ignore_ascii_case(scheme).then(|| &address[scheme.len()..])
        };
        let (authority_end, usable) = if let Some(rest) = after("https://").or_else(|| after("http://")) {
            let authority = rest.find(['/', '?', '#']).unwrap_or(rest.len());
            (address.len() - rest.len() + authority, authority > 0)
        } else {
            (0, after("mailto:").is_some_and(|rest| !rest.is_empty()))
        };
        if !usable {
            return None;
        }
        let mut encoded = String::with_capacity(address.len());
        for (position, character) in address.char_indices() {
            // Square brackets belong to the host alone: [2001:db8::1].
            let allowed = match character {
                '"' | '<' | '>' | '\\' | '^' | '`' | '{' | '|' | '}' => false,
                '[' | ']' => position < authority_end,
                _ => character.is_ascii_graphic(),
            };
            if allowed {
                encoded.push(character);
            } else {
                let mut buffer = [0; 4];
                for byte in character.encode_utf8(&mut buffer).bytes() {
                    encoded.push('%');
                    for half in [byte >> 4, byte & 15] {
                        encoded.extend(char::from_digit(u32::from(half), 16).map(|digit| digit.to_ascii_uppercase()));
                    }
                }
            }
        }
        (encoded.len() <= MAX_URL_BYTES).then(|| Self(encoded.into()))
    }

    /// The address, ready for use between double quotes once `&` is escaped.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_web_and_mail_addresses_become_links() {
        for (address, expected) in [
            ("https://x.example", Some("https://x.example")),
            (" HTTP://X.example/a?b=l%3De9&c#d ", Some("HTTP://X.example/a?b=l%3De9&c#d")),
            ("mailto:a@b.example", Some("mailto:a@b.example")),
            ("https://x.example/a b\"<>|{}[]^`\\é", Some("https://x.example/a%20b%22%3C%3E%7C%7B%7D%5B%5D%5E%60%5C%C3%A9")),
            ("https://[2001:db8::1]:8443/[x]", Some("https://[2001:db8::1]:8443/%5Bx%5D")),
            ("https://", None),
            ("https:///x", None),
            ("mailto:", None),
            ("javascript:alert(1)", None),
            ("java\nscript:alert(1)", None),
            ("https://x.example/\u{0}", None),
            ("data:text/html,x", None),
            ("sra://x", None),
            ("/a", None),
            ("//x.example", None),
            ("", None),
            ("é", None),
        ] {
            let url = LinkUrl::new(address);
            assert_eq!(url.as_ref().map(LinkUrl::as_str), expected, "{address}");
            if let Some(url) = url {
                assert_eq!(LinkUrl::new(url.as_str()), Some(url), "encoded once");
            }
        }
        assert_eq!(LinkUrl::new(&format!("https://x.example/{}", "a".repeat(MAX_URL_BYTES))), None);
    }
}
