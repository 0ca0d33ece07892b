//! Keeps foreign text from being taken for a placeholder of the ticket system.
//!
//! Zendesk expands Liquid (`{{…}}`, and tags such as `{% comment %}`) in comments of agents, which could disclose ticket fields into a public
//! comment, and unknown placeholders, and whatever stands behind a lone `{% if`, vanish (zendesk.md d.3). Chats and system information are text of strangers.
//!
//! The reference names two ways out: a backslash before the braces, and HTML code tags. Both rest on the expander: a
//! backslash stays visible wherever the account does *not* expand (an author who is no agent, another ticket system),
//! and code tags help only if the expander knows HTML. Whether entities are decoded before or after expansion is not
//! known either, which rules out writing braces as entities. So a word joiner (U+2060) goes between a brace and the brace or percent sign that follows it. It
//! has no width, allows no line break and survives Unicode normalisation: the reader sees the same text, and there
//! is no `{{` or `{%` left for anyone, before decoding or after. The price: who copies such a text copies the joiner, too.
//! Must not add anything else, and must not remove anything.

use crate::joiner::WORD_JOINER;

/// Puts U+2060 behind each opening brace that another one or a `%` follows, written out or as HTML entities: `{{`, `{%`. Takes HTML or plain
/// text.
pub fn neutralise(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    let mut rest = text;
    let mut after_brace = false;
    while let Some(character) = rest.chars().next() {
        let brace = sign(rest, &BRACE);
        let length = brace.or_else(|| sign(rest, &PERCENT));
        if length.is_some() && after_brace {
            safe.push(WORD_JOINER);
        }
        after_brace = brace.is_some();
        let (piece, remaining) = rest.split_at(length.unwrap_or(character.len_utf8()));
        safe.push_str(piece);
        rest = remaining;
    }
    safe
}

/// A character and its names among HTML's entities.
struct Sign {
    character: char,
    names: &'static [&'static str],
    /// Its code point, in decimal and in hexadecimal.
    numbers: [&'static str; 2],
}

const BRACE: Sign = Sign { character: '{', names: &["lbrace;", "lcub;"], numbers: ["123", "7b"] };
const PERCENT: Sign = Sign { character: '%', names: &["percnt;"], numbers: ["37", "25"] };

/// Bytes of the sign, or the entity for it, with which the text begins.
fn sign(text: &str, sign: &Sign) -> Option<usize> {
    if text.starts_with(sign.character) {
        return Some(sign.character.len_utf8());
    }
    let entity = text.strip_prefix('&')?;
    for name in sign.names {
        if entity.starts_with(name) {
            return Some(1 + name.len());
        }
    }
    let number = entity.strip_prefix('#')?;
    let (digits, radix) = match number.strip_prefix(['x', 'X']) {
        Some(digits) => (digits, 16),
        None => (number, 10),
    };
    let end = digits.find(|character: char| !character.is_digit(radix)).unwrap_or(digits.len());
    let value = digits[..end].trim_start_matches('0');
    let [decimal, hexadecimal] = sign.numbers;
    if !value.eq_ignore_ascii_case(if radix == 16 { hexadecimal } else { decimal }) {
        return None;
    }
    // Browsers decode a numeric entity without its semicolon, too.
    let semicolon = usize::from(digits[end..].starts_with(';'));
    Some(text.len() - digits.len() + end + semicolon)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// As a browser decodes, for the entities that can stand for a brace or be in its way.
    fn decode(html: &str) -> String {
        let mut decoded = String::new();
        let mut rest = html;
        while let Some(character) = rest.chars().next() {
            let entity = [BRACE, PERCENT].into_iter().find_map(|kind| Some((sign(rest, &kind)?, kind.character)));
            if let Some((length, character)) = entity.filter(|_| character == '&') {
                decoded.push(character);
                rest = &rest[length..];
            } else if let Some(after) = rest.strip_prefix("&amp;") {
                decoded.push('&');
                rest = after;
            } else {
                decoded.push(character);
                rest = &rest[character.len_utf8()..];
            }
        }
        decoded
    }

    #[test]
    fn braces_are_parted_in_every_spelling() {
        for (text, expected) in [
            ("{{ticket.id}}", "{\u{2060}{ticket.id}}"),
            ("{{{x}}}", "{\u{2060}{\u{2060}{x}}}"),
            ("{&#123;x", "{\u{2060}&#123;x"),
            ("&#x07B{", "&#x07B\u{2060}{"),
            ("&#123&#0000123;", "&#123\u{2060}&#0000123;"),
            ("&lbrace;&lcub;", "&lbrace;\u{2060}&lcub;"),
            ("{% comment %}{%- if x", "{\u{2060}% comment %}{\u{2060}%- if x"),
            ("{&percnt;", "{\u{2060}&percnt;"),
            ("&#123;&#37;", "&#123;\u{2060}&#37;"),
            ("{&#x25", "{\u{2060}&#x25"),
            ("100%{", "100%{"),
            ("{ {", "{ {"),
            ("&#1234;{", "&#1234;{"),
            ("{&#125;", "{&#125;"),
            ("&amp;#123;&amp;#123;", "&amp;#123;&amp;#123;"),
            ("", ""),
        ] {
            assert_eq!(neutralise(text), expected);
        }
    }

    proptest! {
        #[test]
        fn nothing_is_left_to_expand(text in r"(\{|%|&#37;|&percnt;|&#123;|&#x7b|&#0123|&lbrace;|&lcub;|&amp;|&|#|1|2|3|;|x|7|b|é| |<b>){0,30}") {
            let safe = neutralise(&text);
            for opening in ["{{", "{%"] {
                prop_assert!(!safe.contains(opening), "{}", safe);
                prop_assert!(!decode(&safe).contains(opening), "{}", safe);
            }
            prop_assert_eq!(safe.replace(WORD_JOINER, ""), text, "only joiners are added");
            prop_assert_eq!(neutralise(&safe), safe);
        }

        #[test]
        fn any_text(text in any::<String>()) {
            let safe = neutralise(&text);
            for opening in ["{{", "{%"] {
                prop_assert!(!safe.contains(opening) && !decode(&safe).contains(opening));
            }
        }
    }
}
