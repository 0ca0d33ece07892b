//! Keeps text as it is through osTicket's cleaning of messages (osticket.md 2.5; `include/class.format.php`, `safe_html`).
//!
//! osTicket decodes entities before it removes what may do harm, and does both twice. So escaped text comes to life: a customer's `</div>`
//! ends the note, their `<h2>` is a heading, and `position:` takes everything up to the next quotation mark with it. Escaping several times
//! would rest on the number of passes, which differs between versions, titles and plain text. A word joiner (U+2060) behind the character that
//! begins an entity or such a pattern holds for any number of passes, and the reader sees the same text. For `<` it is not enough: libxml2
//! before 2.9.14 (RHEL 9, Ubuntu 22.04) removes everything from a `<` that begins no tag to the next `>`. It is written as `‹`.
//!
//! It also removes most emoji and some signs of Latin-1, and its database connection knows three-byte characters only: MySQL cuts the message
//! at the first other one, or writes `????`. These are written in words here. Must not change anything else.

use std::borrow::Cow;

use crate::joiner::WORD_JOINER;

/// Stands for a character without a name.
const UNKNOWN: char = '\u{FFFD}';
/// Most characters of an emoji: a family with skin tones.
const LONGEST_EMOJI: usize = 10;

/// Text of which osTicket keeps everything. Takes text, not HTML: escape what comes of it.
pub(crate) fn keep(text: &str) -> String {
    part(&in_words(text))
}

/// An address of which osTicket keeps everything.
pub(crate) fn keep_url(url: &str) -> String {
    // Percent-encoded they mean the same, and are no patterns.
    let url = url.replace("&#", "%26#").replace("position:", "position%3A");
    let mut kept = String::with_capacity(url.len());
    let mut rest = url.as_str();
    while let Some(at) = rest.find('&') {
        // An entity without its semicolon; else the sign alone.
        let (piece, end, after) = match entity(&rest[at..]) {
            Some(length) => (&rest[..at + length - 1], "%3B", at + length),
            None => (&rest[..=at], "", at + 1),
        };
        kept.extend([piece, end]);
        rest = &rest[after..];
    }
    kept + rest
}

/// Puts joiners in.
fn part(text: &str) -> String {
    const PATTERN: &str = "position";
    let mut kept = String::with_capacity(text.len() + 16);
    for (at, character) in text.char_indices() {
        let follows = &text[at + character.len_utf8()..];
        let before = &text.as_bytes()[at.saturating_sub(PATTERN.len())..at];
        if character == ':' && before.eq_ignore_ascii_case(PATTERN.as_bytes()) {
            kept.push(WORD_JOINER);
        }
        kept.push(if character == '<' { '‹' } else { character });
        let begins = match character {
            '&' => begins_entity(&text[at..]),
            // `src="data:…"` becomes a file, `data-cid="…"` goes.
            '=' => follows.starts_with('"'),
            _ => false,
        };
        if begins {
            kept.push(WORD_JOINER);
        }
    }
    kept
}

/// Whether the `&` at the beginning is taken for an entity's. libxml2 needs no semicolon behind a number, nor, from 2.14 on, behind old names; those
/// of HTML's own signs count here. Not all: `?a=1&b=2` stays an address.
fn begins_entity(text: &str) -> bool {
    let is_sign = |sign: &str| text.get(..sign.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(sign));
    ["&#", "&lt", "&gt", "&amp", "&quot"].into_iter().any(is_sign) || entity(text).is_some()
}

/// Bytes of what looks like an entity at the beginning: `&copy;`, `&#60;`.
fn entity(text: &str) -> Option<usize> {
    let name = text.strip_prefix('&')?;
    let length = name.find(|character: char| !(character.is_ascii_alphanumeric() || character == '#'))?;
    (length > 0 && name[length..].starts_with(';')).then_some(length + 2)
}

/// Writes what osTicket does not keep in words.
fn in_words(text: &str) -> Cow<'_, str> {
    if !text.contains(is_lost) {
        return Cow::Borrowed(text);
    }
    let mut kept = String::with_capacity(text.len() + 32);
    let mut rest = text;
    while let Some(character) = rest.chars().next() {
        let mut length = character.len_utf8();
        if is_lost(character) {
            if let Some(words) = sign(character) {
                kept.push_str(words);
                // Says how the sign is to be drawn.
                length += rest[length..].chars().next().filter(|next| *next == '\u{FE0F}').map_or(0, char::len_utf8);
            } else if let Some((name, bytes)) = emoji(rest) {
                kept.extend(["[", name, "]"]);
                length = bytes;
            } else {
                kept.push(UNKNOWN);
            }
        } else {
            kept.push(character);
        }
        rest = &rest[length..];
    }
    Cow::Owned(kept)
}

/// Ranges of `Format::strip_emoticons`; later versions remove the degree sign and `º` too (osticket.md 2.5).
fn is_lost(character: char) -> bool {
    matches!(
        character,
        '\u{A9}'..='\u{AE}' | 'º' | '\u{2310}'..='\u{231F}' | '\u{2322}'..='\u{232F}' | '\u{23E0}'..='\u{23FF}' | '\u{2702}'..='\u{27B0}' | '\u{FFFE}'..
    )
}

/// The name of the longest emoji at the beginning, and its bytes.
fn emoji(text: &str) -> Option<(&'static str, usize)> {
    let ends: Vec<usize> = text.char_indices().take(LONGEST_EMOJI).map(|(at, character)| at + character.len_utf8()).collect();
    ends.iter().rev().find_map(|end| emojis::get(&text[..*end]).map(|emoji| (emoji.name(), *end)))
}

/// Signs that are no emoji, or are read as text.
fn sign(character: char) -> Option<&'static str> {
    Some(match character {
        '©' => "(c)",
        '®' => "(R)",
        'ª' => "a",
        'º' => "o",
        // osTicket keeps the closing one; a pair is more than one half.
        '«' | '❝' | '❞' => "\"",
        '⌘' => "Cmd",
        '⌥' => "Option",
        // Says where a word may be broken; skin tones, of a sign that is kept.
        '\u{AD}' | '\u{1F3FB}'..='\u{1F3FF}' => "",
        '¬' => "not ",
        '\u{2713}' => "[check mark]",
        '\u{2715}' | '\u{2717}' | '\u{2718}' => "[cross]",
        '\u{2794}' | '\u{2798}'..='\u{27AF}' => "→",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_begins_something_is_parted_from_the_rest() {
        for (text, kept) in [
            ("</div>", "‹/div>"),
            ("if a < b && c <d>", "if a ‹ b && c ‹d>"),
            ("&#60/div> &#x3ch2> my position&#58 &LT/div> &quotx", "&~#60/div> &~#x3ch2> my position&~#58 &~LT/div> &~quotx"),
            ("&lt;b&gt; &#60; &amp;lt;", "&~lt;b&~gt; &~#60; &~amp;lt;"),
            ("https://x.example/?a=1&b=2", "https://x.example/?a=1&b=2"),
            ("position: north", "position~: north"),
            ("Content-Disposition: attachment", "Content-Disposition~: attachment"),
            ("src=\"data:a\" data-cid=\"1\"", "src=~\"data:a\" data-cid=~\"1\""),
            ("a = \"b\"", "a = \"b\""),
        ] {
            assert_eq!(keep(text).replace(WORD_JOINER, "~"), kept);
        }
    }

    #[test]
    fn what_is_not_kept_is_written_in_words() {
        for (text, kept) in [
            ("VPN 🟢 ok", "VPN [green circle] ok"),
            ("👍🏽 👨‍👩‍👧", "[thumbs up: medium skin tone] [family: man, woman, girl]"),
            ("❤️ done ✓ ⌘C ☝🏽", "[red heart] done [check mark] CmdC ☝"),
            ("𠮷田", "\u{FFFD}田"),
            ("© 2026 «Müller» 20 °C → … €", "(c) 2026 \"Müller» 20 °C → … €"),
        ] {
            assert_eq!(keep(text), kept);
        }
    }

    #[test]
    fn addresses_mean_the_same() {
        for (url, kept) in [
            ("https://x.example/?a=1&b=2", "https://x.example/?a=1&b=2"),
            ("https://x.example/?position:1&lt;x&amp;y", "https://x.example/?position%3A1&lt%3Bx&amp%3By"),
            ("https://x.example/position&#58b", "https://x.example/position%26#58b"),
        ] {
            assert_eq!(keep_url(url), kept);
        }
    }
}
