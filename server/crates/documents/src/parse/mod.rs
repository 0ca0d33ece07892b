//! HTML, as a Handlebars template rendered it, to a [`Document`].
//!
//! Reads HTML as browsers do, by html5ever: missing end tags, entities (decoded once), tables without `tbody`. What a document
//! has no word for loses its look and keeps its text; what browsers do not show (`script`, `style`, comments) is gone.
//! Attributes are ignored but for the address of a link.
//!
//! Must not fail and must not overflow, whatever is nested how deep: a template is an administrator's. Bounds are
//! [`MAX_HTML_BYTES`], [`MAX_DEPTH`] and [`MAX_NODES`]; what is beyond the first and the last is left out, and the document
//! then ends with `…`.

mod convert;
mod tree;

use crate::document::{Block, Document, Inline};

/// Longer HTML is cut at a character.
pub const MAX_HTML_BYTES: usize = 16 * 1024 * 1024;
/// Elements nested deeper lose their look; where they would begin a line, one begins.
pub const MAX_DEPTH: usize = 100;
/// Elements and texts. A report of 100,000 entries has half as many.
pub const MAX_NODES: usize = 1_000_000;

/// What was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parsed {
    /// Ends with `…` where it is not all.
    pub document: Document,
    /// Nothing was left out for being beyond [`MAX_HTML_BYTES`] or [`MAX_NODES`].
    pub is_whole: bool,
}

/// Reads a fragment or a whole page.
pub fn from_html(html: &str) -> Document {
    read(html).document
}

/// Reads a fragment or a whole page, and tells whether that was all.
pub fn read(html: &str) -> Parsed {
    let cut = html.floor_char_boundary(html.len().min(MAX_HTML_BYTES));
    let tree = tree::build(&html[..cut]);
    let mut blocks = convert::blocks(&tree);
    let is_whole = cut == html.len() && !tree.is_full;
    if !is_whole {
        blocks.push(Block::Paragraph(vec![Inline::text("…")]));
    }
    Parsed { document: Document::new(blocks), is_whole }
}
