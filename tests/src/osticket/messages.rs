//! What osTicket keeps of a message: the harmless part of its HTML, without symbols, up to the column's size (osticket.md 2.5, 2.7).
//!
//! As the real one does, it decodes the entities of HTML's own signs before it cleans, and does both twice: text that was escaped once is
//! HTML again. Checked against osTicket 1.18.1.

use std::sync::LazyLock;

use regex::Regex;

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
    ends: &["div", "body", "html"],
    attribute,
};

/// Schemes of links; a client launcher's is not among them.
const LINKS: [&str; 13] = ["aim", "feed", "file", "ftp", "gopher", "http", "https", "irc", "mailto", "news", "nntp", "sftp", "ssh"];
const IMAGES: [&str; 4] = ["cid", "http", "https", "data"];

/// What goes before HTML is looked at, wherever it stands (`Format::safe_html`).
static PATTERNS: LazyLock<Vec<(Regex, &str)>> = LazyLock::new(|| {
    let patterns = [
        ("(?is)<head.+?</head>|<script.+?</script>|<style.+?</style>", ""),
        (r"<!\[[^\]<]+\]>", ""),
        ("<!DOCTYPE[^>]+>", ""),
        (r"<\?[^>]+>", ""),
        ("(?i)<html[^>]+", "<html"),
        ("data-cid=\"[^\"]*\"", ""),
        // In visible text, too, and over any number of elements.
        ("position:[^!\";]+;?", ""),
    ];
    patterns.map(|(pattern, by)| (self::pattern(pattern), by)).into()
});
static NUMBER: LazyLock<Regex> = LazyLock::new(|| pattern("&#([xX][0-9A-Fa-f]+|[0-9]+);?"));
static NO_TAG: LazyLock<Regex> = LazyLock::new(|| pattern("<[^a-zA-Z/!?][^>]*>?"));

fn pattern(pattern: &str) -> Regex {
    Regex::new(pattern).unwrap_or_else(|error| panic!("{error}"))
}

/// Empty ones go.
const NEVER_EMPTY: [&str; 12] = ["td", "th", "tr", "b", "strong", "em", "span", "li", "ul", "ol", "h3", "h4"];

/// A message as it is kept.
pub(super) fn sanitised(html: &str) -> String {
    let mut kept = stored(without_symbols(&cleaned(&cleaned(html))));
    let end = (0..=COLUMN.min(kept.len())).rev().find(|at| kept.is_char_boundary(*at));
    kept.truncate(end.unwrap_or_default());
    kept
}

/// The connection speaks the database's three-byte characters; MySQL cuts at the first longer one.
fn stored(mut text: String) -> String {
    text.truncate(text.find(|character| character > '\u{ffff}').unwrap_or(text.len()));
    text
}

/// A message where rich text is off: it is text, but libxml balances it all the same, and loses what stands behind a stray closing tag or an
/// opening one without its end.
pub(super) fn as_text(text: &str) -> String {
    let text = without_symbols(text.trim());
    let cuts = ["</div>", "</body>", "<!--"].iter().filter_map(|cut| text.find(cut));
    let opened = text.match_indices('<').find(|(at, _)| {
        let tag = &text[at + 1..];
        tag.starts_with(|c: char| c.is_ascii_alphabetic()) && !tag.contains('>')
    });
    let end = cuts.chain(opened.map(|(at, _)| at)).min().unwrap_or(text.len());
    let escaped = stored(text[..end].to_owned()).replace('<', "&lt;").replace('>', "&gt;");
    format!("<div style=\"white-space:pre-wrap\">{escaped}</div>")
}

/// A title: one pass, without tags.
pub(super) fn title(text: &str) -> String {
    stored(without_symbols(&html::text(&cleaned(text)))).chars().take(255).collect()
}

/// One pass.
fn cleaned(html: &str) -> String {
    let mut html = decoded(&html.replace("<p></p>", "<p><br></p>"));
    // libxml2 needs no semicolon behind a number, and before 2.9.14 removes a `<` that begins nothing up to the next `>`.
    html = NUMBER.replace_all(&html, "&#$1;").into_owned();
    html = NO_TAG.replace_all(&html, "").into_owned();
    for (pattern, by) in PATTERNS.iter() {
        html = pattern.replace_all(&html, *by).into_owned();
    }
    let mut kept = html::clean(&html, &RULES);
    for element in NEVER_EMPTY {
        kept = kept.replace(&format!("<{element}></{element}>"), "");
    }
    kept
}

/// `htmlspecialchars_decode`: one level.
fn decoded(html: &str) -> String {
    const ENTITIES: [(&str, &str); 8] =
        [("&lt;", "<"), ("&#60;", "<"), ("&gt;", ">"), ("&#62;", ">"), ("&quot;", "\""), ("&#34;", "\""), ("&amp;", "&"), ("&#38;", "&")];
    html::replaced(html, &ENTITIES)
}

/// Nearly all emoji and dingbats go, and a few signs of Latin-1 (`Format::strip_emoticons`, and what 1.18.4 adds).
fn without_symbols(text: &str) -> String {
    let is_kept = |c: &char| {
        !matches!(*c, '\u{a9}'..='\u{ae}' | '°' | 'º' | '\u{2310}'..='\u{231f}' | '\u{2322}'..='\u{232f}' | '\u{23e0}'..='\u{23ff}'
            | '\u{2702}'..='\u{27b0}' | '\u{1f300}'..='\u{1f3ff}' | '\u{1f400}'..='\u{1f64f}' | '\u{1f680}'..='\u{1f6ff}'
            | '\u{1f910}'..='\u{1f999}' | '\u{1f9c0}'..='\u{1f9ef}')
    };
    text.chars().filter(is_kept).collect()
}

fn attribute(element: &str, attribute: &str, value: &str) -> Option<String> {
    let with_scheme = |known: &[&str]| match value.trim_start().split_once(':') {
        // Of the pass before.
        Some(("denied", _)) => value.to_owned(),
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
            // Seen on osTicket 1.18.1.
            ("<p>a &lt;b&gt;b&lt;/b&gt;</p>", "<p>a <b>b</b></p>"),
            ("<p>a &amp;lt;b&amp;gt;b</p>", "<p>a <b>b</b></p>"),
            ("<p>a &amp;amp;lt;b&amp;amp;gt;</p>", "<p>a &lt;b&gt;</p>"),
            ("<ul><li>a: &lt;/div&gt;</li><li>b</li></ul>", "<ul><li>a: </li></ul>"),
            ("<p>a</p><p>&lt;!-- see below</p><p>b</p>", "<p>a</p><p><br></p>"),
            ("<p>job position: clerk</p><p>b</p>", "<p>job </p>"),
            ("<p>x &lt;\u{2060}/div&gt; y</p>", "<p>x  y</p>"),
            ("<p>x &amp;#60b&gt;y</p><p>position&amp;#58 z</p>", "<p>x <b>y</b></p><p></p>"),
            ("<p>x ‹/div&gt; y &amp;\u{2060}#60b</p>", "<p>x ‹/div&gt; y &amp;\u{2060}#60b</p>"),
            ("<p>VPN \u{1f7e2} ok</p>", "<p>VPN "),
            ("<tr><td></td><td>2</td></tr>", "<tr><td>2</td></tr>"),
        ] {
            assert_eq!(sanitised(sent), kept);
        }
        let cut = sanitised(&"ü".repeat(40_000));
        assert_eq!(cut.len(), 65_534);
    }
}
