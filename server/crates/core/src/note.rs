//! A file that goes with a note.

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
