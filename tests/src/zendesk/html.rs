//! What becomes of HTML in a comment.
//!
//! Strict on purpose: styles, classes and `data-` attributes do not survive. The exact list of the real system is not public; this one holds
//! what a report needs.

use crate::html::{self, Rules};

pub(super) use crate::html::{escape_text, from_text, text};

const RULES: Rules = Rules {
    ends: &[],
    elements: &[
        "a",
        "b",
        "blockquote",
        "br",
        "code",
        "dd",
        "del",
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
        "kbd",
        "li",
        "ol",
        "p",
        "pre",
        "s",
        "span",
        "strong",
        "sub",
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

/// Well-formed HTML with only the kept elements and attributes.
pub(super) fn clean(html: &str) -> String {
    html::clean(html, &RULES)
}

fn attribute(element: &str, attribute: &str, value: &str) -> Option<String> {
    keeps(element, attribute, value).then(|| value.to_owned())
}

fn keeps(tag: &str, attribute: &str, value: &str) -> bool {
    let safe_link = ["https://", "http://", "mailto:"].iter().any(|scheme| value.trim_start().to_ascii_lowercase().starts_with(scheme));
    match (tag, attribute) {
        ("a", "href") | ("img", "src") => safe_link,
        ("a" | "img", "title") | ("img", "alt" | "width" | "height") | ("td" | "th", "colspan" | "rowspan") => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_harmless_html_survives() {
        for (input, expected) in [
            ("<h3>A</h3><p>b<br/>c</p>", "<h3>A</h3><p>b<br>c</p>"),
            ("a<!-- marker -->b", "ab"),
            ("<p class='x' data-m=1 onclick=\"go()\">t</p>", "<p>t</p>"),
            ("x<script>alert('<p>')</script>y", "xy"),
            ("<a href=\"javascript:x\">j</a>", "<a>j</a>"),
            ("<a href='https://example.com/?a=1&amp;b=2'>l</a>", "<a href=\"https://example.com/?a=1&amp;b=2\">l</a>"),
            ("€<b>€</b>", "€<b>€</b>"),
            ("1 < 2 & 3 &gt; 2", "1 &lt; 2 &amp; 3 &gt; 2"),
            ("&#123;&lbrace;x}}", "{{x}}"),
            ("<p><b>open</p></i>", "<p><b>open</b></p>"),
            ("<form><input>in</form>", "in"),
            ("<p a", ""),
        ] {
            let cleaned = clean(input);
            if expected.is_empty() {
                assert!(!cleaned.contains("<p a"), "{input}");
            } else {
                assert_eq!(cleaned, expected, "{input}");
            }
            assert_eq!(clean(&cleaned), cleaned, "not stable: {input}");
        }
    }

    #[test]
    fn text_has_a_line_per_block() {
        assert_eq!(text("<h3>Chat</h3><table><tr><td>a</td><td>b &amp; c</td></tr></table><p>x<br>y</p>"), "Chat\na b & c\nx\ny");
    }
}
