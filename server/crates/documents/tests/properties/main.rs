//! Whatever strangers type, text stays text: any document is written, read again with the format's own parser, and must be
//! the same document. The word joiners the writers add (and those strangers typed) are left out of the comparison.

mod adf;
mod html;
mod jira;
mod markdown;
mod strategy;
mod text;

use deskbridge_documents::{Block, Cell, Document, Inline, Item, List, Row, Span, Table, WORD_JOINER};
use proptest::test_runner::Config;

/// `PROPTEST_CASES` can ask for more.
fn config() -> Config {
    let default = Config::default();
    Config { cases: default.cases.max(600), failure_persistence: None, ..default }
}

/// Without any word joiner, and in normal form again.
fn bare(document: &Document) -> Document {
    change_spans(document, |span| span.text = span.text.replace(WORD_JOINER, ""))
}

/// In normal form, with each span (and code block, seen as one) changed.
fn change_spans(document: &Document, change: impl Fn(&mut Span)) -> Document {
    let inlines = |content: &[Inline]| {
        let mut content = content.to_vec();
        for inline in &mut content {
            if let Inline::Span(span) = inline {
                change(span);
            }
        }
        content
    };
    let block = |block: &Block| match block {
        Block::Heading { level, content } => Block::Heading { level: *level, content: inlines(content) },
        Block::Paragraph(content) => Block::Paragraph(inlines(content)),
        Block::List(list) => Block::List(change_items(list, &inlines)),
        Block::Table(table) => {
            let cell = |cell: &Cell| Cell { is_header: cell.is_header, content: inlines(&cell.content) };
            let row = |row: &Row| Row { cells: row.cells.iter().map(cell).collect() };
            Block::Table(Table { rows: table.rows.iter().map(row).collect() })
        }
        Block::Code(text) => {
            let mut span = Span { text: text.clone(), ..Span::default() };
            change(&mut span);
            Block::Code(span.text)
        }
    };
    Document::new(document.blocks().iter().map(block).collect())
}

fn change_items(list: &List, inlines: &impl Fn(&[Inline]) -> Vec<Inline>) -> List {
    let item = |item: &Item| Item {
        content: inlines(&item.content),
        lists: item.lists.iter().map(|inner| change_items(inner, inlines)).collect(),
    };
    List { kind: list.kind, items: list.items.iter().map(item).collect() }
}
