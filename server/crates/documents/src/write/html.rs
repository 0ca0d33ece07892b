//! HTML of `h3 h4 p ul ol li table tr th td strong em code pre br a`, laid out as the built-in templates lay it out.
//!
//! Help desks keep few elements: osTicket and Zendesk drop others or their attributes (osticket.md 2.5). Reading it again by
//! [`crate::parse::from_html`] gives the same document, but for guards and heading levels, of which there are two. Must not write any attribute but `href`.

use super::Guards;
use crate::document::{Block, Document, Inline, List, ListKind, Span};
use crate::joiner::{part_addresses, part_addresses_in};
use crate::neutralise::neutralise;
use crate::osticket;
use std::borrow::Cow;

pub(super) fn write(document: &Document, guards: Guards) -> String {
    let writer = Writer { guards };
    let mut out = String::new();
    for block in document.blocks() {
        if !out.is_empty() {
            out.push('\n');
        }
        match block {
            Block::Heading { level, content } => {
                let tag = if *level <= 3 { "h3" } else { "h4" };
                writer.element(&mut out, tag, content);
            }
            Block::Paragraph(content) => writer.element(&mut out, "p", content),
            Block::List(list) => writer.list(&mut out, list),
            Block::Table(table) => {
                out.push_str("<table>\n");
                for row in &table.rows {
                    out.push_str("<tr>");
                    for cell in &row.cells {
                        writer.element(&mut out, if cell.is_header { "th" } else { "td" }, &cell.content);
                    }
                    out.push_str("</tr>\n");
                }
                out.push_str("</table>");
            }
            Block::Code(text) => {
                out.push_str("<pre>");
                writer.text(&mut out, &if guards.addresses { Cow::Owned(part_addresses(text)) } else { Cow::Borrowed(text.as_str()) });
                out.push_str("</pre>");
            }
        }
    }
    if guards.placeholders { neutralise(&out) } else { out }
}

struct Writer {
    guards: Guards,
}

impl Writer {
    fn element(&self, out: &mut String, tag: &str, content: &[Inline]) {
        out.push('<');
        out.push_str(tag);
        out.push('>');
        self.inlines(out, content);
        if self.guards.osticket && content.is_empty() {
            // osTicket removes empty elements: the other cells of the row would stand under the wrong heads.
            out.push('\u{a0}');
        }
        out.push_str("</");
        out.push_str(tag);
        out.push('>');
    }

    fn list(&self, out: &mut String, list: &List) {
        let tag = match list.kind {
            ListKind::Bullet => "ul",
            ListKind::Ordered => "ol",
        };
        out.push('<');
        out.push_str(tag);
        out.push_str(">\n");
        for item in &list.items {
            out.push_str("<li>");
            self.inlines(out, &item.content);
            if self.guards.osticket && item.content.is_empty() && item.lists.is_empty() {
                out.push('\u{a0}');
            }
            for inner in &item.lists {
                out.push('\n');
                self.list(out, inner);
            }
            out.push_str(if item.lists.is_empty() { "</li>\n" } else { "\n</li>\n" });
        }
        out.push_str("</");
        out.push_str(tag);
        out.push('>');
    }

    fn inlines(&self, out: &mut String, content: &[Inline]) {
        let content = if self.guards.addresses { Cow::Owned(part_addresses_in(content)) } else { Cow::Borrowed(content) };
        let mut link = None;
        for inline in content.iter() {
            let span = match inline {
                Inline::Span(span) => Some(span),
                Inline::LineBreak => None,
            };
            let wanted = span.and_then(|span| span.link.as_ref());
            if wanted != link {
                if link.is_some() {
                    out.push_str("</a>");
                }
                if let Some(url) = wanted {
                    out.push_str("<a href=\"");
                    escape(
                        out,
                        &if self.guards.osticket { Cow::Owned(osticket::keep_url(url.as_str())) } else { Cow::Borrowed(url.as_str()) },
                    );
                    out.push_str("\">");
                }
                link = wanted;
            }
            match span {
                Some(span) => self.span(out, span),
                None => out.push_str("<br>"),
            }
        }
        if link.is_some() {
            out.push_str("</a>");
        }
    }

    fn span(&self, out: &mut String, span: &Span) {
        let looks = [(span.style.strong, "strong"), (span.style.emphasis, "em"), (span.style.code, "code")];
        for (_, tag) in looks.iter().filter(|(has, _)| *has) {
            out.push('<');
            out.push_str(tag);
            out.push('>');
        }
        self.text(out, &span.text);
        for (_, tag) in looks.iter().rev().filter(|(has, _)| *has) {
            out.push_str("</");
            out.push_str(tag);
            out.push('>');
        }
    }

    fn text(&self, out: &mut String, text: &str) {
        if self.guards.osticket { escape(out, &osticket::keep(text)) } else { escape(out, text) }
    }
}

/// For text and for attributes in double quotes.
fn escape(out: &mut String, text: &str) {
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            _ => out.push(character),
        }
    }
}
