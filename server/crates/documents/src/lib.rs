//! Reports as small documents, and how each ticket system wants them written.
//!
//! Why it exists: a report is rendered once, from one template, and ticket systems take HTML, plain text, Markdown, Jira
//! wiki markup or ADF. A template's HTML becomes a [`Document`] ([`parse::from_html`]), and a writer turns that into any
//! format. Chats, names and system information are text of strangers: whatever they hold, text stays text in every
//! format. It becomes no tag, link, image, mention, command, macro or placeholder.
//!
//! What it must not do: I/O, read a clock, know templates or a ticket system beyond its format.

mod document;
mod link;
pub mod parse;

pub use document::{Block, Cell, Document, Inline, Item, List, ListKind, MAX_COLUMNS, MAX_LIST_DEPTH, Row, Span, Style, Table};
pub use link::{LinkUrl, MAX_URL_BYTES};
