//! Plain text: every word stands where it stood.

use super::{config, strategy};
use deskbridge_documents::{Block, Document, Format, Guards, Inline, List, WORD_JOINER, write};
use proptest::prelude::*;

fn pieces(document: &Document) -> Vec<String> {
    fn inlines(content: &[Inline], pieces: &mut Vec<String>) {
        for inline in content {
            if let Inline::Span(span) = inline {
                // A no-break space is a blank in plain text, and lines end without any.
                pieces.push(span.text.replace('\u{a0}', " ").trim_matches(' ').to_owned());
            }
        }
    }
    fn items(list: &List, pieces: &mut Vec<String>) {
        for item in &list.items {
            inlines(&item.content, pieces);
            item.lists.iter().for_each(|inner| items(inner, pieces));
        }
    }
    let mut pieces = Vec::new();
    for block in document.blocks() {
        match block {
            Block::Heading { content, .. } | Block::Paragraph(content) => inlines(content, &mut pieces),
            Block::List(list) => items(list, &mut pieces),
            Block::Table(table) => table.rows.iter().flat_map(|row| &row.cells).for_each(|cell| inlines(&cell.content, &mut pieces)),
            Block::Code(text) => pieces.extend(text.lines().map(|line| line.replace('\u{a0}', " "))),
        }
    }
    pieces
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn all_text_stands_in_order(document in strategy::document()) {
        let text = write(&document, Format::Text(Guards::NONE));
        let mut rest = text.as_str();
        for piece in pieces(&document) {
            let found = rest.find(&piece);
            prop_assert!(found.is_some(), "{:?} is not in {:?} of {}", piece, rest, text);
            rest = &rest[found.unwrap_or(0) + piece.len()..];
        }
        let guarded = write(&document, Format::Text(Guards::ALL));
        prop_assert!(!guarded.contains("{{"));
        prop_assert_eq!(guarded.replace(WORD_JOINER, ""), text.replace(WORD_JOINER, ""));
    }
}
