//! Reports as small documents, and how each ticket system wants them written.
//!
//! Why it exists: a report is rendered once, from one template, and ticket systems take HTML, plain text, Markdown, Jira
//! wiki markup or ADF. A template's HTML becomes a [`Document`] ([`parse::from_html`]), and [`write()`] turns that into any
//! [`Format`]. Chats, names and system information are text of strangers: whatever they hold, text stays text in every
//! format. It becomes no tag, image, mention, command, macro or placeholder, and no link (in HTML and plain text: where
//! [`Guards`] ask for that).
//!
//! What it must not do: I/O, read a clock, know templates or a ticket system beyond its format and its [`Limit`].
//!
//! Where a format gives text a meaning that cannot be escaped, an invisible word joiner (U+2060) is put into it: see
//! [`WORD_JOINER`]. Who copies such text copies the joiner, too. Inline code and code blocks have (nearly) none: a template
//! puts what people copy into `<code>`.

mod document;
mod joiner;
mod limits;
mod link;
mod neutralise;
mod osticket;
pub mod parse;
mod write;

pub use document::{Block, Cell, Document, Inline, Item, List, ListKind, MAX_COLUMNS, MAX_LIST_DEPTH, Row, Span, Style, Table};
pub use joiner::WORD_JOINER;
pub use limits::{Limit, Measure, NoteForm, Shortened, write_with, write_within};
pub use link::{LinkUrl, MAX_URL_BYTES};
pub use neutralise::neutralise;
pub use write::adf::to_value as adf_value;
pub use write::{Flavour, Format, Guards, guarded, guarded_title, write};
