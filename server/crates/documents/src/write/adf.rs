//! Atlassian Document Format, version 1, as Jira Cloud's API version 3 takes it.
//!
//! Text nodes are text: nothing is escaped. What is valid is what `@atlaskit/adf-schema` says (argus-tickets.md 2.2): no empty
//! text node, no text outside a paragraph, no code mark beside strong or emphasis, no unknown attribute. Must not write any
//! other node: no mention, emoji, card or media.

use crate::document::{Block, Document, Inline, List, ListKind, Span};
use serde_json::{Value, json};

/// The document as ADF: `{"version": 1, "type": "doc", "content": […]}`.
pub fn to_value(document: &Document) -> Value {
    let content: Vec<Value> = document.blocks().iter().map(block).collect();
    json!({"version": 1, "type": "doc", "content": content})
}

fn block(block: &Block) -> Value {
    match block {
        Block::Heading { level, content } => json!({"type": "heading", "attrs": {"level": level}, "content": inlines(content)}),
        Block::Paragraph(content) => paragraph(content),
        Block::List(inner) => list(inner),
        Block::Table(table) => {
            let rows = table.rows.iter().map(|row| {
                let cells = row.cells.iter().map(
                    |cell| json!({"type": if cell.is_header { "tableHeader" } else { "tableCell" }, "content": [paragraph(&cell.content)]}),
                );
                json!({"type": "tableRow", "content": cells.collect::<Vec<_>>()})
            });
            json!({"type": "table", "content": rows.collect::<Vec<_>>()})
        }
        Block::Code(text) => json!({"type": "codeBlock", "content": [{"type": "text", "text": text}]}),
    }
}

fn paragraph(content: &[Inline]) -> Value {
    json!({"type": "paragraph", "content": inlines(content)})
}

fn list(list: &List) -> Value {
    let items = list.items.iter().map(|item| {
        let mut content = vec![paragraph(&item.content)];
        content.extend(item.lists.iter().map(self::list));
        json!({"type": "listItem", "content": content})
    });
    let kind = match list.kind {
        ListKind::Bullet => "bulletList",
        ListKind::Ordered => "orderedList",
    };
    json!({"type": kind, "content": items.collect::<Vec<_>>()})
}

fn inlines(content: &[Inline]) -> Vec<Value> {
    let node = |inline: &Inline| match inline {
        Inline::Span(span) => text(span),
        Inline::LineBreak => json!({"type": "hardBreak"}),
    };
    content.iter().map(node).collect()
}

fn text(span: &Span) -> Value {
    let mut marks = Vec::new();
    if let Some(url) = &span.link {
        marks.push(json!({"type": "link", "attrs": {"href": url.as_str()}}));
    }
    for (has, mark) in [(span.style.strong, "strong"), (span.style.emphasis, "em"), (span.style.code, "code")] {
        if has {
            marks.push(json!({"type": mark}));
        }
    }
    if marks.is_empty() { json!({"type": "text", "text": span.text}) } else { json!({"type": "text", "text": span.text, "marks": marks}) }
}
