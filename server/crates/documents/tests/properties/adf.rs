//! ADF: valid by the rules of `@atlaskit/adf-schema` as far as we write it, and the same document.

use super::{config, strategy};
use deskbridge_documents::{Block, Cell, Document, Inline, Item, LinkUrl, List, ListKind, Row, Span, Style, Table, adf_value};
use proptest::prelude::*;
use serde_json::Value;

/// Exactly these members and no others.
fn check_members(node: &Value, members: &[&str]) {
    let mut found: Vec<&str> = node.as_object().expect("an object").keys().map(String::as_str).collect();
    let mut expected = members.to_vec();
    found.sort_unstable();
    expected.sort_unstable();
    assert_eq!(found, expected, "{node}");
}

fn kind(node: &Value) -> &str {
    node["type"].as_str().expect("a type")
}

fn content(node: &Value) -> &[Value] {
    node["content"].as_array().expect("content")
}

fn inlines(node: &Value) -> Vec<Inline> {
    content(node).iter().map(inline).collect()
}

fn inline(node: &Value) -> Inline {
    if kind(node) == "hardBreak" {
        check_members(node, &["type"]);
        return Inline::LineBreak;
    }
    assert_eq!(kind(node), "text");
    let text = node["text"].as_str().expect("text").to_owned();
    assert!(!text.is_empty(), "empty text nodes are refused");
    let mut span = Span { text, style: Style::default(), link: None };
    if let Some(marks) = node.get("marks") {
        check_members(node, &["type", "text", "marks"]);
        let marks = marks.as_array().expect("marks");
        assert!(!marks.is_empty());
        for mark in marks {
            match kind(mark) {
                "link" => {
                    check_members(mark, &["type", "attrs"]);
                    check_members(&mark["attrs"], &["href"]);
                    span.link = LinkUrl::new(mark["attrs"]["href"].as_str().expect("href"));
                    assert!(span.link.is_some());
                    continue;
                }
                "strong" => span.style.strong = true,
                "em" => span.style.emphasis = true,
                "code" => span.style.code = true,
                other => panic!("mark {other}"),
            }
            check_members(mark, &["type"]);
        }
        assert!(!(span.style.code && (span.style.strong || span.style.emphasis)), "code stands beside a link alone");
    } else {
        check_members(node, &["type", "text"]);
    }
    Inline::Span(span)
}

fn paragraph(node: &Value) -> Vec<Inline> {
    check_members(node, &["type", "content"]);
    assert_eq!(kind(node), "paragraph");
    inlines(node)
}

fn list(node: &Value) -> List {
    check_members(node, &["type", "content"]);
    let list_kind = if kind(node) == "bulletList" { ListKind::Bullet } else { ListKind::Ordered };
    let items = content(node).iter().map(|node| {
        check_members(node, &["type", "content"]);
        assert_eq!(kind(node), "listItem");
        let (first, rest) = content(node).split_first().expect("a paragraph first");
        Item { content: paragraph(first), lists: rest.iter().map(list).collect() }
    });
    List { kind: list_kind, items: items.collect() }
}

fn block(node: &Value) -> Block {
    match kind(node) {
        "heading" => {
            check_members(node, &["type", "attrs", "content"]);
            check_members(&node["attrs"], &["level"]);
            let level = u8::try_from(node["attrs"]["level"].as_u64().expect("a level")).expect("a level");
            assert!((1..=6).contains(&level));
            Block::Heading { level, content: inlines(node) }
        }
        "paragraph" => Block::Paragraph(paragraph(node)),
        "bulletList" | "orderedList" => Block::List(list(node)),
        "table" => {
            check_members(node, &["type", "content"]);
            let rows = content(node).iter().map(|node| {
                check_members(node, &["type", "content"]);
                assert_eq!(kind(node), "tableRow");
                let cells = content(node).iter().map(|node| {
                    check_members(node, &["type", "content"]);
                    assert!(matches!(kind(node), "tableHeader" | "tableCell"));
                    assert_eq!(content(node).len(), 1);
                    Cell { is_header: kind(node) == "tableHeader", content: paragraph(&content(node)[0]) }
                });
                Row { cells: cells.collect() }
            });
            Block::Table(Table { rows: rows.collect() })
        }
        "codeBlock" => {
            check_members(node, &["type", "content"]);
            let [text] = content(node) else { panic!("one text") };
            check_members(text, &["type", "text"]);
            Block::Code(text["text"].as_str().expect("text").to_owned())
        }
        other => panic!("node {other}"),
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn a_document_written_and_read_is_the_same(document in strategy::document()) {
        let value = adf_value(&document);
        check_members(&value, &["version", "type", "content"]);
        prop_assert_eq!((&value["version"], kind(&value)), (&Value::from(1), "doc"));
        let read = Document::new(content(&value).iter().map(block).collect());
        prop_assert_eq!(read, document, "{}", value);
    }
}
