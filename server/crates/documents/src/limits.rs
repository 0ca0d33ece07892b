//! How much a ticket system takes, each counted its own way, and writing within it.
//!
//! Zendesk cuts silently what is too long, the others refuse it. Leaving out is done in the document, never in what is
//! written, where it could cut a tag or an escape in two. Must not choose what matters in a report: that is the template's.

use crate::document::Document;
use crate::write::{Format, write};

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure {
    /// Bytes of UTF-8.
    Bytes,
    /// Unicode code points, as Ruby and Python count.
    CodePoints,
    /// UTF-16 units, as Java and JavaScript count.
    Utf16,
}

/// How much a ticket system takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// What is counted.
    pub measure: Measure,
    /// The most that is taken.
    pub most: usize,
}

impl Limit {
    /// A comment: 64 kB, the rest is cut silently (zendesk.md d.3). Less room for a marker and for what the account may count
    /// differently.
    pub const ZENDESK: Self = Self { measure: Measure::Bytes, most: 60_000 };
    /// An issue's body or a comment: 65,536 characters, more is refused (argus-tickets.md 2.3).
    pub const GITHUB: Self = Self { measure: Measure::CodePoints, most: 65_536 };
    /// An issue's description: 1,048,576 characters (argus-tickets.md, first table).
    pub const GITLAB_ISSUE: Self = Self { measure: Measure::CodePoints, most: 1_048_576 };
    /// A note: 1,000,000 characters (argus-tickets.md, first table).
    pub const GITLAB_NOTE: Self = Self { measure: Measure::CodePoints, most: 1_000_000 };
    /// Description or comment: 32,767 characters, more is refused (argus-tickets.md 2.2). For ADF what is counted is not
    /// known; counting the JSON text is on the safe side.
    pub const JIRA: Self = Self { measure: Measure::Utf16, most: 32_767 };

    /// How long `written` is, in this limit's measure.
    pub fn length(self, written: &str) -> usize {
        match self.measure {
            Measure::Bytes => written.len(),
            Measure::CodePoints => written.chars().count(),
            Measure::Utf16 => written.encode_utf16().count(),
        }
    }

    /// Whether all of it is taken.
    pub fn takes(self, written: &str) -> bool {
        self.length(written) <= self.most
    }

    /// The same limit with room for something else, such as a marker.
    #[must_use]
    pub const fn less(self, room: usize) -> Self {
        Self { measure: self.measure, most: self.most.saturating_sub(room) }
    }
}

/// What was written, and whether it is all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shortened {
    /// Within the limit.
    pub text: String,
    /// The document's end is left out, and `…` stands in its place.
    pub is_shortened: bool,
}

/// As much of the document's beginning as the limit takes; `None` where not even `…` fits.
pub fn write_within(document: &Document, format: Format, limit: Limit) -> Option<Shortened> {
    let whole = write(document, format);
    if limit.takes(&whole) {
        return Some(Shortened { text: whole, is_shortened: false });
    }
    // No format writes a character in less than one unit, so more than `most` characters never fit.
    let (mut fits, mut too_many) = (None, document.characters().min(limit.most.saturating_add(1)));
    let mut least = 0;
    while least < too_many {
        let middle = usize::midpoint(least, too_many);
        let text = write(&document.shortened(middle), format);
        if limit.takes(&text) {
            (fits, least) = (Some(text), middle + 1);
        } else {
            too_many = middle;
        }
    }
    fits.map(|text| Shortened { text, is_shortened: true })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::{Block, Inline};
    use crate::write::{Flavour, Guards};

    fn long(text: &str, times: usize) -> Document {
        Document::new(vec![Block::Paragraph(vec![Inline::text(text.repeat(times))])])
    }

    #[test]
    fn each_measure_counts_its_own_way() {
        for (measure, expected) in [(Measure::Bytes, 6), (Measure::CodePoints, 2), (Measure::Utf16, 3)] {
            assert_eq!(Limit { measure, most: 0 }.length("é😀"), expected);
        }
    }

    #[test]
    fn what_is_too_long_is_shortened_to_the_limit() {
        let formats = [
            Format::Html(Guards::ALL),
            Format::Text(Guards::NONE),
            Format::Markdown(Flavour::GitHub),
            Format::Markdown(Flavour::GitLab),
            Format::JiraWiki,
            Format::Adf,
        ];
        for format in formats {
            for limit in [Limit::GITHUB, Limit::JIRA, Limit::ZENDESK, Limit { measure: Measure::Bytes, most: 200 }] {
                let written = write_within(&long("é<*@x😀 ", 20_000), format, limit).unwrap();
                assert!(written.is_shortened && limit.takes(&written.text));
                assert!(limit.length(&written.text) > limit.most - 60, "{format:?} {limit:?}: {}", limit.length(&written.text));
                assert!(written.text.contains('…'));
                let short = write_within(&long("é", 3), format, limit).unwrap();
                assert!(!short.is_shortened);
            }
            assert_eq!(write_within(&long("é", 300), format, Limit { measure: Measure::Bytes, most: 1 }), None);
        }
    }
}
