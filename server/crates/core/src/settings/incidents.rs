//! What a connection does with incidents (docs/incidents.md).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub(super) fn default_timeout() -> u32 {
    10
}

/// What happens to the ticket of an incident that has ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnIncidentEnd {
    /// A note says so.
    #[default]
    Note,
    /// A note says so, and the ticket is closed.
    Close,
    /// Nothing.
    Nothing,
}
