//! How much a ticket system takes, each counted its own way, and writing within it.
//!
//! Zendesk cuts silently what is too long, the others refuse it. Leaving out is done in the document, never in what is
//! written, where it could cut a tag or an escape in two. Must not choose what matters in a report: that is the template's.

use crate::document::{Block, Document, Inline};
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

    /// What `write` makes of the most characters of `characters` that are taken; `None` where not even none of them are. The more
    /// characters, the longer it must be, and never shorter than they are.
    pub fn longest(self, characters: usize, write: impl Fn(usize) -> String) -> Option<String> {
        let (mut fits, mut least) = (None, 0);
        let mut too_many = characters.min(self.most).saturating_add(1);
        while least < too_many {
            let middle = usize::midpoint(least, too_many);
            let text = write(middle);
            if self.takes(&text) {
                (fits, least) = (Some(text), middle + 1);
            } else {
                too_many = middle;
            }
        }
        fits
    }

    /// For people: `10000 bytes`.
    pub fn text(self) -> String {
        let unit = match self.measure {
            Measure::Bytes => "bytes",
            Measure::CodePoints | Measure::Utf16 => "characters",
        };
        format!("{} {unit}", self.most)
    }
}

/// How a ticket system takes notes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoteForm {
    /// How it wants them written.
    pub format: Format,
    /// How much it takes.
    pub limit: Limit,
}

/// What was written, and whether it is all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shortened {
    /// Within the limit.
    pub text: String,
    /// The document's end is left out, and `…` stands in its place.
    pub is_shortened: bool,
}

/// As much of the document's beginning as the limit takes, and `last_line`, which is never left out (empty: none). `None` where not even
/// `…` fits.
pub fn write_within(document: &Document, form: NoteForm, last_line: &str) -> Option<Shortened> {
    let NoteForm { format, limit } = form;
    let whole = write_with(document.clone(), format, last_line);
    if limit.takes(&whole) {
        return Some(Shortened { text: whole, is_shortened: false });
    }
    let text = limit.longest(document.characters(), |characters| write_with(document.shortened(characters), format, last_line))?;
    Some(Shortened { text, is_shortened: true })
}

/// All of it, and a last line of its own (empty: none). It is ours, and is searched for, so it stands to the letter: as code where text
/// would be parted.
pub fn write_with(mut document: Document, format: Format, last_line: &str) -> String {
    document.push(match format {
        Format::Text(_) if !last_line.is_empty() => return format!("{}\n\n{last_line}", write(&document, format)),
        Format::Html(_) | Format::Text(_) => Block::Paragraph(vec![Inline::text(last_line)]),
        Format::Markdown(_) | Format::JiraWiki | Format::Adf => Block::Code(last_line.to_owned()),
    });
    write(&document, format)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::write::{Flavour, Guards};

    const MARKER: &str = "deskbridge/e9e99aeb9ad54fb381634498502c5a1b/customer-survey-9f1e0b2c/0";

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
            let limits = [(Measure::CodePoints, 65_536), (Measure::Utf16, 32_767), (Measure::Bytes, 60_000), (Measure::Bytes, 500)];
            for limit in limits.map(|(measure, most)| Limit { measure, most }) {
                let form = NoteForm { format, limit };
                let written = write_within(&long("é<*@x😀 ", 20_000), form, MARKER).unwrap();
                assert!(written.is_shortened && limit.takes(&written.text));
                assert!(limit.length(&written.text) > limit.most - 60, "{format:?} {limit:?}: {}", limit.length(&written.text));
                assert!(written.text.contains('…') && written.text.contains(MARKER));
                let short = write_within(&long("é", 3), form, "").unwrap();
                assert!(!short.is_shortened);
            }
            let form = NoteForm { format, limit: Limit { measure: Measure::Bytes, most: 1 } };
            assert_eq!(write_within(&long("é", 300), form, ""), None);
        }
    }
}
