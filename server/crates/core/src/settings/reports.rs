//! `[connection.reports]`: what a session report tells.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::fault::Within;

/// What a session report tells.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ReportsSection {
    /// Time zone of the times shown, in minutes east of UTC.
    #[schemars(range(min = -840, max = 840))]
    pub utc_offset_minutes: i32,
    /// Also tell what the appliance itself did, and routine such as window changes.
    pub include_system_chatter: bool,
    /// Words in the names of the system information categories told; an empty list: all.
    pub system_categories: Vec<String>,
    /// Links to recordings and chat in internal notes. They open without a login until they expire.
    pub include_signed_links: bool,
}

impl Default for ReportsSection {
    fn default() -> Self {
        Self {
            utc_offset_minutes: 0,
            include_system_chatter: false,
            // What the vendor's middleware posts (beyondtrust.md D.4).
            system_categories: ["General", "Disk", "Memory", "Network"].map(str::to_owned).to_vec(),
            include_signed_links: true,
        }
    }
}

impl ReportsSection {
    pub(super) fn check(&self, faults: &mut Within<'_>) {
        for category in &self.system_categories {
            if category.trim().is_empty() || category.len() > 100 {
                faults.add("system_categories", category, "a word of 1 to 100 characters");
            }
        }
    }
}
