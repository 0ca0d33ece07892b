//! `[connection.reports]`: what a session report tells.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::fault::Within;
use crate::time_zone::TimeZone;

/// What a session report tells.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ReportsSection {
    /// Time zone of the times shown: an IANA name like `Europe/Berlin`. Without it: UTC.
    pub timezone: Option<String>,
    /// Out of date: time zone of the times shown, in minutes east of UTC. Write `timezone`, which knows summer time.
    #[schemars(range(min = -840, max = 840))]
    pub utc_offset_minutes: Option<i32>,
    /// Also tell what the appliance itself did, and routine such as window changes.
    pub include_system_chatter: bool,
    /// Words in the names of the system information categories told; an empty list: all.
    pub system_categories: Vec<String>,
    /// The same where notes are public, for the requester; an empty list: none. Without it: as above, but with MeshCentral none, since a machine can
    /// be anybody's.
    pub public_system_categories: Option<Vec<String>>,
    /// Where notes are public: the requester also reads what representatives wrote for their colleagues, session notes and their exit surveys.
    pub publish_representative_notes: bool,
    /// Where notes are public: what they leave out stands in a second, internal note.
    pub internal_note_beside_public: bool,
    /// Links to recordings and chat in internal notes. They open without a login until they expire.
    pub include_signed_links: bool,
}

impl Default for ReportsSection {
    fn default() -> Self {
        Self {
            timezone: None,
            utc_offset_minutes: None,
            include_system_chatter: false,
            // What the vendor's middleware posts (beyondtrust.md D.4).
            system_categories: ["General", "Disk", "Memory", "Network"].map(str::to_owned).to_vec(),
            public_system_categories: None,
            publish_representative_notes: false,
            internal_note_beside_public: false,
            include_signed_links: true,
        }
    }
}

impl ReportsSection {
    /// The time zone of the times shown. The error names the key and what is expected.
    pub fn time_zone(&self) -> Result<TimeZone, String> {
        match (&self.timezone, self.utc_offset_minutes) {
            (Some(name), _) => TimeZone::named(name).map_err(|expected| format!("reports.timezone: expected {expected}")),
            (None, Some(minutes)) => Ok(TimeZone::of_minutes(minutes)),
            (None, None) => Ok(TimeZone::default()),
        }
    }

    /// What still works and should be written otherwise, and how.
    pub fn out_of_date(&self) -> Option<String> {
        let minutes = self.utc_offset_minutes?;
        Some(format!(
            "reports.utc_offset_minutes = {minutes} is the same in summer and in winter and will go away; write the time zone instead, such as timezone = \"Europe/Berlin\""
        ))
    }

    /// Before there was `timezone`, every stored and exported connection had an offset, and 0 where nobody had written one.
    pub(super) fn normalise(&mut self) {
        self.utc_offset_minutes = self.utc_offset_minutes.filter(|minutes| *minutes != 0);
    }

    pub(super) fn check(&self, faults: &mut Within<'_>) {
        if let Some(Err(expected)) = self.timezone.as_deref().map(TimeZone::named) {
            faults.add("timezone", self.timezone.as_deref().unwrap_or_default(), &expected);
        }
        if let (Some(_), Some(minutes)) = (&self.timezone, self.utc_offset_minutes) {
            faults.add(
                "utc_offset_minutes",
                minutes,
                "only timezone, which knows summer time, and no utc_offset_minutes beside it; remove this key",
            );
        }
        let public = self.public_system_categories.as_deref().unwrap_or_default();
        for (key, categories) in [("system_categories", self.system_categories.as_slice()), ("public_system_categories", public)] {
            for category in categories.iter().filter(|category| category.trim().is_empty() || category.len() > 100) {
                faults.add(key, category, "a word of 1 to 100 characters");
            }
        }
    }
}
