//! What a program may do with an API token.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a program may do with an API token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ApiPurpose {
    /// Post incidents and ask what became of them.
    Incidents,
    /// Post presses of Helpdesk Buttons.
    Presses,
}

impl ApiPurpose {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Incidents, Self::Presses];

    /// Its word in settings, on the command line and in the database.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Incidents => "incidents",
            Self::Presses => "presses",
        }
    }
}

impl fmt::Display for ApiPurpose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl FromStr for ApiPurpose {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|purpose| purpose.word() == text).ok_or("expected incidents or presses")
    }
}
