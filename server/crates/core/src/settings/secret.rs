//! A secret in the settings: a literal, or a reference (`env:NAME`, `file:PATH`) that is read where it is used.

use std::fmt;

use schemars::JsonSchema;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};

/// Stands for "as stored" in an exported file.
pub const STORED: &str = "(stored)";

/// A secret as the settings have it. Neither `Debug` nor an error shows its text; it implements no `Display`.
#[derive(Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(transparent)]
pub struct Secret(String);

/// A reference that leads nowhere. The text names the reference, never a value.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum SecretError {
    /// The variable is not set.
    #[error("the environment variable {0} is not set; set it for this process")]
    Variable(String),
    /// The file cannot be read.
    #[error("the file {0} cannot be read ({1}); check its path and permissions")]
    File(String, String),
    /// Nothing there.
    #[error("the secret is empty; write it, or env:NAME, or file:PATH")]
    Empty,
}

impl Secret {
    /// A literal secret or a reference.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The secret itself. Line ends at the end of a file are not part of it.
    pub fn resolve(&self) -> Result<SecretString, SecretError> {
        let value = if let Some(name) = self.0.strip_prefix("env:") {
            std::env::var(name).map_err(|_| SecretError::Variable(name.to_owned()))?
        } else if let Some(path) = self.0.strip_prefix("file:") {
            let text = std::fs::read_to_string(path).map_err(|error| SecretError::File(path.to_owned(), error.kind().to_string()))?;
            text.trim_end_matches(['\r', '\n']).to_owned()
        } else {
            self.0.clone()
        };
        if value.is_empty() { Err(SecretError::Empty) } else { Ok(SecretString::from(value)) }
    }

    /// Its text, as the settings have it.
    pub(super) fn text_mut(&mut self) -> &mut String {
        &mut self.0
    }

    /// Whether a secret's text is a reference, which may be shown.
    pub fn is_reference(text: &str) -> bool {
        text.starts_with("env:") || text.starts_with("file:")
    }

    /// Whether the text stands for what is stored already.
    pub fn is_stored_mark(&self) -> bool {
        self.0 == STORED
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}
