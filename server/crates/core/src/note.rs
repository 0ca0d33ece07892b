//! What a note can be, as far as whoever renders it must know: its form, its size, the file that goes with it.

/// Which of a report's two forms a ticket system takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body {
    /// HTML of the few elements help desks accept.
    Html,
    /// Plain text.
    Text,
}

impl Body {
    /// A last line of its own.
    pub fn last_line(self, text: &str) -> String {
        match self {
            Self::Html => format!("<p>{text}</p>"),
            Self::Text => format!("\n\n{text}"),
        }
    }
}

/// How much a ticket system takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoteLimit {
    /// In which form.
    pub body: Body,
    /// Bytes of UTF-8.
    pub bytes: usize,
}

impl NoteLimit {
    /// Zendesk: 64 kB (65,536 bytes), less room for a marker and for what the account may count differently.
    pub const ZENDESK: Self = Self { body: Body::Html, bytes: 60_000 };
}

/// A file that goes with a note.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attachment {
    /// `session-LSID.html` or `.txt`; letters, digits, `-` and `_` otherwise.
    pub file_name: String,
    /// With charset.
    pub content_type: &'static str,
    /// Content.
    pub bytes: Vec<u8>,
}
