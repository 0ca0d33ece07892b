//! Plain text for people.
//!
//! Headings are underlined; emphasis stands between `*`, which is how an event differs from what somebody said; a table of names and values
//! becomes `name: value`; further lines of a text are indented, so that
//! no stranger's text begins a line in the first column and looks like one of ours. (Paragraphs under a large heading are
//! ours to break: templates write them.) Must not escape anything: plain text has nothing to escape.

use super::{Format, Guards, guarded};
use crate::document::{Block, Document, Inline, List, ListKind, Table};
use crate::joiner::{WORD_JOINER, part_addresses, part_addresses_in};
use crate::link::LinkUrl;
use std::borrow::Cow;

const INDENT: usize = 4;
/// A longer underline than this helps nobody.
const MAX_UNDERLINE: usize = 72;

pub(super) fn write(document: &Document, guards: Guards) -> String {
    let writer = Writer { guards };
    let mut out = String::new();
    let mut before: Option<&Block> = None;
    // Under a small heading stand entries (notes, categories), not prose: closer together.
    let mut in_entries = false;
    let mut table_indent = 0;
    let last = document.blocks().len().saturating_sub(1);
    for (index, block) in document.blocks().iter().enumerate() {
        let follows = |kind: fn(&Block) -> bool| before.is_some_and(kind);
        let after_paragraph = follows(|block| matches!(block, Block::Paragraph(_)));
        let after_table = follows(|block| matches!(block, Block::Table(_)));
        let after_heading = follows(|block| matches!(block, Block::Heading { .. }));
        let is_close = match block {
            Block::Table(_) => after_heading || after_paragraph,
            Block::Paragraph(content) => {
                after_heading || (in_entries && (after_paragraph || after_table) && !(index == last && is_remark(content)))
            }
            Block::Heading { .. } | Block::List(_) | Block::Code(_) => after_heading,
        };
        if before.is_some() && !is_close {
            out.push('\n');
        }
        match block {
            Block::Heading { level, content } => {
                in_entries = *level > 3;
                let title = writer.inlines(content, 0);
                let underline = if in_entries { "-" } else { "=" };
                let width = title.chars().filter(|character| *character != WORD_JOINER).count().min(MAX_UNDERLINE);
                out.push_str(&title);
                out.push('\n');
                out.push_str(&underline.repeat(width));
                out.push('\n');
            }
            Block::Paragraph(content) => {
                out.push_str(&writer.inlines(content, if in_entries && !(index == last && is_remark(content)) { INDENT } else { 0 }));
                out.push('\n');
            }
            Block::List(list) => writer.list(&mut out, list, 0),
            Block::Table(table) => {
                table_indent = if after_paragraph || (after_table && table_indent > 0) { INDENT } else { 0 };
                writer.table(&mut out, table, table_indent);
            }
            Block::Code(text) => {
                for line in text.lines() {
                    let line = if guards.addresses { part_addresses(line) } else { line.to_owned() };
                    push_line(&mut out, INDENT, &shown(&line));
                }
            }
        }
        before = Some(block);
    }
    out.truncate(out.trim_end_matches('\n').len());
    guarded(out, Format::Text(guards))
}

/// Nothing but emphasis: at the end, a remark about the whole, no entry.
fn is_remark(content: &[Inline]) -> bool {
    content.iter().all(|inline| matches!(inline, Inline::Span(span) if span.style.emphasis))
}

fn push_line(out: &mut String, indent: usize, line: &str) {
    if !line.is_empty() {
        out.extend(std::iter::repeat_n(' ', indent));
        out.push_str(line);
    }
    out.push('\n');
}

/// A no-break space keeps blanks apart from each other in a document; plain text needs no help.
fn shown(text: &str) -> String {
    text.replace('\u{a0}', " ")
}

struct Writer {
    guards: Guards,
}

impl Writer {
    /// Further lines begin with `indent` blanks.
    fn inlines(&self, content: &[Inline], indent: usize) -> String {
        let content = &*if self.guards.addresses { Cow::Owned(part_addresses_in(content)) } else { Cow::Borrowed(content) };
        let mut out = String::new();
        let mut index = 0;
        while let Some(inline) = content.get(index) {
            match inline {
                Inline::LineBreak => {
                    out.push('\n');
                    if content.get(index + 1) != Some(&Inline::LineBreak) {
                        out.extend(std::iter::repeat_n(' ', indent));
                    }
                    index += 1;
                }
                Inline::Span(span) if span.link.is_none() => {
                    let is_emphasis =
                        |inline: Option<&Inline>| matches!(inline, Some(Inline::Span(span)) if span.style.emphasis && span.link.is_none());
                    if span.style.emphasis && !is_emphasis(index.checked_sub(1).and_then(|before| content.get(before))) {
                        out.push('*');
                    }
                    out.push_str(&shown(&span.text));
                    if span.style.emphasis && !is_emphasis(content.get(index + 1)) {
                        out.push('*');
                    }
                    index += 1;
                }
                Inline::Span(first) => {
                    let same_link = |inline: &&Inline| matches!(inline, Inline::Span(span) if span.link == first.link);
                    let spans = content[index..].iter().take_while(same_link).count();
                    let label: String = content[index..index + spans]
                        .iter()
                        .map(|inline| match inline {
                            Inline::Span(span) => shown(&span.text),
                            Inline::LineBreak => String::new(),
                        })
                        .collect();
                    if let Some(url) = &first.link {
                        out.push_str(&link(&label, url, spans == content.len()));
                    }
                    index += spans;
                }
            }
        }
        out
    }

    fn list(&self, out: &mut String, list: &List, indent: usize) {
        for (index, item) in list.items.iter().enumerate() {
            let mark = match list.kind {
                ListKind::Bullet => "* ".to_owned(),
                ListKind::Ordered => format!("{}. ", index + 1),
            };
            push_line(out, indent, &(mark + &self.inlines(&item.content, indent + INDENT)));
            for inner in &item.lists {
                self.list(out, inner, indent + INDENT);
            }
        }
    }

    fn table(&self, out: &mut String, table: &Table, indent: usize) {
        let names_and_values = table.rows.iter().all(|row| matches!(&row.cells[..], [name, value] if name.is_header && !value.is_header));
        for row in &table.rows {
            if names_and_values {
                let name = self.inlines(&row.cells[0].content, indent + INDENT);
                let value = self.inlines(&row.cells[1].content, indent + INDENT);
                // "How do you rate the support? 5"
                let mark = if name.is_empty() || name.ends_with(['?', ':', '!']) { " " } else { ": " };
                push_line(out, indent, (name + mark + &value).trim_matches(' '));
            } else {
                let cells: Vec<String> = row.cells.iter().map(|cell| self.inlines(&cell.content, 0).replace('\n', " ")).collect();
                push_line(out, indent, cells.join(" | ").trim_end_matches(' '));
            }
        }
    }
}

fn link(label: &str, url: &LinkUrl, stands_alone: bool) -> String {
    let url = url.as_str();
    if label == url || url.strip_prefix("mailto:") == Some(label) {
        return label.to_owned();
    }
    if stands_alone { format!("{label}: {url}") } else { format!("{label} ({url})") }
}
