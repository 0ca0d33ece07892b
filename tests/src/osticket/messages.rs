//! What osTicket keeps of a message: the harmless part of its HTML, without symbols, up to the column's size (osticket.md 2.5, 2.7).

use crate::html::{self, Rules};

/// Bytes the column holds; the rest goes without a word.
const COLUMN: usize = 65_535;

const RULES: Rules = Rules {
    elements: &[
        "a",
        "b",
        "blockquote",
        "br",
        "code",
        "dd",
        "del",
        "details",
        "div",
        "dl",
        "dt",
        "em",
        "h1",
        "h2",
        "h3",
        "h4",
        "h5",
        "h6",
        "hr",
        "i",
        "img",
        "ins",
        "li",
        "ol",
        "p",
        "pre",
        "s",
        "small",
        "span",
        "strong",
        "sub",
        "summary",
        "sup",
        "table",
        "tbody",
        "td",
        "tfoot",
        "th",
        "thead",
        "tr",
        "u",
        "ul",
    ],
    attribute,
};

/// Schemes of links; a client launcher's is not among them.
const LINKS: [&str; 13] = ["aim", "feed", "file", "ftp", "gopher", "http", "https", "irc", "mailto", "news", "nntp", "sftp", "ssh"];
const IMAGES: [&str; 4] = ["cid", "http", "https", "data"];

/// A message as it is kept.
pub(super) fn sanitised(html: &str) -> String {
    let mut kept = html::clean(&without_symbols(html), &RULES);
    let end = (0..=COLUMN.min(kept.len())).rev().find(|at| kept.is_char_boundary(*at));
    kept.truncate(end.unwrap_or_default());
    kept
}

/// Nearly all emoji and dingbats go, and a few signs of Latin-1.
pub(super) fn without_symbols(text: &str) -> String {
    let is_kept =
        |c: &char| !matches!(c, '©' | '®' | 'ª' | '¬' | '«' | '°' | 'º' | '⌚' | '\u{2701}'..='\u{27bf}' | '\u{1f000}'..='\u{1faff}');
    text.chars().filter(is_kept).collect()
}

fn attribute(element: &str, attribute: &str, value: &str) -> Option<String> {
    let with_scheme = |known: &[&str]| match value.trim_start().split_once(':') {
        Some((scheme, _)) if !known.contains(&scheme.to_ascii_lowercase().as_str()) => format!("denied:{value}"),
        _ => value.to_owned(),
    };
    match (element, attribute) {
        ("a", "href") => Some(with_scheme(&LINKS)),
        ("img", "src") => Some(with_scheme(&IMAGES)),
        (_, "id" | "class" | "action" | "srcset") => None,
        (_, name) if name.starts_with("on") || name.starts_with("data") => None,
        _ => Some(value.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_harmless_part_is_kept() {
        for (sent, kept) in [
            ("<p style=\"color:red\" class=\"c\" onclick=\"x()\">a<!-- m --></p>", "<p style=\"color:red\">a</p>"),
            (
                "<a href=\"sra://x\">j</a><a href=\"https://x.example/?a=1\">k</a>",
                "<a href=\"denied:sra://x\">j</a><a href=\"https://x.example/?a=1\">k</a>",
            ),
            ("<script>x()</script><form><input>b</form>", "b"),
            ("Läuft 👍 ✓ →", "Läuft   →"),
        ] {
            assert_eq!(sanitised(sent), kept);
        }
        let cut = sanitised(&"ü".repeat(40_000));
        assert_eq!(cut.len(), 65_534);
    }
}
