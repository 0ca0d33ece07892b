//! HTML, read again by html5ever as browsers read it.

use super::{bare, config, strategy};
use deskbridge_documents::{Block, Document, Format, Guards, parse, write};
use proptest::prelude::*;
use regex::Regex;

const ELEMENTS: [&str; 16] = ["h3", "h4", "p", "ul", "ol", "li", "table", "tr", "th", "td", "strong", "em", "code", "pre", "br", "a"];

/// Every `<` begins one of our elements, written as we write them, and all are closed in order.
fn check_elements(html: &str) {
    let mut open = Vec::new();
    for piece in html.split('<').skip(1) {
        let (tag, _) = piece.split_once('>').unwrap_or_else(|| panic!("no > after <{piece}"));
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop(), Some(name), "{html}");
            continue;
        }
        let name = tag.split(' ').next().unwrap_or_default();
        assert!(ELEMENTS.contains(&name), "<{tag}>");
        if name == "a" {
            let url = tag.strip_prefix("a href=\"").and_then(|rest| rest.strip_suffix('"')).unwrap_or_else(|| panic!("<{tag}>"));
            assert!(["https://", "http://", "mailto:"].iter().any(|scheme| url.starts_with(scheme)), "{url}");
            assert!(!url.contains(['"', ' ', '`', '<', '>']), "{url}");
        } else {
            assert_eq!(tag, name, "an attribute");
        }
        if name != "br" {
            open.push(name);
        }
    }
    assert!(open.is_empty(), "{open:?}");
}

/// HTML has two sizes of headings here.
fn two_levels(document: &Document) -> Document {
    let block = |block: &Block| match block {
        Block::Heading { level, content } => Block::Heading { level: if *level <= 3 { 3 } else { 4 }, content: content.clone() },
        other => other.clone(),
    };
    Document::new(document.blocks().iter().map(block).collect())
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn a_document_written_and_read_is_the_same(document in strategy::document()) {
        let html = write(&document, Format::Html(Guards::NONE));
        check_elements(&html);
        prop_assert_eq!(parse::from_html(&html), two_levels(&document), "{}", html);
    }

    #[test]
    fn guarded_text_differs_by_joiners_alone(document in strategy::document()) {
        let html = write(&document, Format::Html(Guards::ALL));
        check_elements(&html);
        let read = parse::from_html(&html);
        prop_assert_eq!(bare(&read), bare(&two_levels(&document)), "{}", html);
        prop_assert!(!html.contains("{{"), "{}", html);
        // What is no link looks like none.
        let no_links = super::change_spans(&read, |span| if span.link.is_some() { span.text = "…".to_owned() });
        let text = write(&super::change_spans(&no_links, |span| span.link = None), Format::Text(Guards::NONE));
        let address = Regex::new(r"://|\bwww\.|\S@[A-Za-z0-9]").expect("a pattern");
        prop_assert!(!address.is_match(&text), "{}", text);
    }

    #[test]
    fn any_html_gives_a_document_that_reads_back(html in "(<(/?(p|div|b|i|em|strong|a href=https://x.example/|ul|ol|li|table|tr|td|th|h3|pre|code|br|script|style|template|svg|title|select|option|textarea|span|math|font|form|caption))>|&lt;|&#x7b;|&|<|\"| |\n|a|b|é){0,40}") {
        let document = parse::from_html(&html);
        let written = write(&document, Format::Html(Guards::NONE));
        check_elements(&written);
        prop_assert_eq!(parse::from_html(&written), two_levels(&document), "{}", written);
    }
}
