//! Finds where text would get a meaning that no escape takes away, so that an invisible character can part it.
//!
//! GitHub and GitLab look for mentions, references and addresses in the *rendered* text, where a backslash or an entity is
//! gone already (`\@x` and `&#64;x` still mention: github/markup#1168), and Jira looks for issue keys and addresses the same
//! way. Only a character between the two halves helps. Must not change, remove or reorder any other character.

use crate::document::Inline;
use std::ops::Range;

/// U+2060: has no width, allows no line break, survives Unicode normalisation, and is neither letter, digit, white space
/// nor punctuation for the ticket systems' patterns.
pub const WORD_JOINER: char = '\u{2060}';

/// Stands for inline code when text around it is looked at: no letter, digit or mark.
pub(crate) const OBJECT: char = '\u{FFFC}';

/// A line's characters, and after which of them a joiner goes.
pub(crate) struct Line {
    pub(crate) characters: Vec<char>,
    pub(crate) joiner_after: Vec<bool>,
}

impl Line {
    pub(crate) fn new(characters: Vec<char>) -> Self {
        let joiner_after = vec![false; characters.len()];
        Self { characters, joiner_after }
    }

    pub(crate) fn at(&self, index: usize) -> Option<char> {
        self.characters.get(index).copied()
    }

    pub(crate) fn before(&self, index: usize) -> Option<char> {
        index.checked_sub(1).and_then(|index| self.at(index))
    }

    /// The first character that is no white space. Ticket systems do not agree on what white space before a command or a
    /// block's name may be.
    pub(crate) fn first_visible(&self) -> Option<char> {
        self.at(self.run(0, char::is_whitespace))
    }

    pub(crate) fn part_after(&mut self, index: usize) {
        self.joiner_after[index] = true;
    }

    /// These characters with their joiners.
    pub(crate) fn text(&self, range: Range<usize>) -> String {
        let pairs = self.characters[range.clone()].iter().zip(&self.joiner_after[range]);
        pairs.flat_map(|(character, joiner)| [Some(*character), joiner.then_some(WORD_JOINER)]).flatten().collect()
    }

    /// Length of the run of characters for which `belongs` holds, beginning at `start`.
    pub(crate) fn run(&self, start: usize, belongs: impl Fn(char) -> bool) -> usize {
        self.characters.get(start..).map_or(0, |rest| rest.iter().take_while(|character| belongs(**character)).count())
    }

    /// Characters `start..start + pattern.len()` are `pattern`, ASCII case ignored.
    pub(crate) fn is_at(&self, start: usize, pattern: &str) -> bool {
        let mut index = start;
        pattern.chars().all(|wanted| {
            let found = self.at(index).is_some_and(|character| character.eq_ignore_ascii_case(&wanted));
            index += 1;
            found
        })
    }

    /// `https://…` and any other scheme, `www.…`, `mailto:` and e-mail addresses.
    pub(crate) fn part_addresses(&mut self) {
        for index in 0..self.characters.len() {
            match self.characters[index] {
                ':' if self.is_at(index + 1, "//") => self.part_after(index),
                '@' if self.at(index + 1).is_some_and(|next| !next.is_whitespace()) => self.part_after(index),
                'w' | 'W' if self.is_at(index, "www.") => self.part_after(index + 2),
                _ => {}
            }
        }
    }

    /// `ABC-12`: issue keys, `GH-1`, `CVE-2026-1`, `GHSA-…`. No dates, no numbers.
    pub(crate) fn part_issue_keys(&mut self) {
        let mut word_start = 0;
        for index in 0..self.characters.len() {
            let character = self.characters[index];
            if character == '-'
                && self.characters[word_start..index].iter().any(char::is_ascii_alphabetic)
                && (self.at(index + 1).is_some_and(|next| next.is_ascii_digit()) || self.is_at(word_start, "GHSA-"))
            {
                self.part_after(index);
            }
            if !(character.is_ascii_alphanumeric() || character == '_') {
                word_start = index + 1;
            }
        }
    }
}

/// The line of these pieces (inline code as [`OBJECT`]), parted where `part` says so for the whole line or for a piece alone:
/// marks between two pieces begin a new word to some who look, and to others not.
pub(crate) fn parted_line(pieces: &[Vec<char>], part: impl Fn(&mut Line)) -> Line {
    let mut line = Line::new(pieces.concat());
    part(&mut line);
    let mut start = 0;
    for piece in pieces {
        let mut alone = Line::new(piece.clone());
        part(&mut alone);
        for (offset, parts) in alone.joiner_after.iter().enumerate() {
            line.joiner_after[start + offset] |= parts;
        }
        start += piece.len();
    }
    line
}

/// Text with its addresses parted, for formats where nothing else is found in text.
pub(crate) fn part_addresses(text: &str) -> String {
    let mut line = Line::new(text.chars().collect());
    line.part_addresses();
    line.text(0..line.characters.len())
}

/// The same content, addresses parted in all that is no link. Also those that begin in one span and end in another.
pub(crate) fn part_addresses_in(content: &[Inline]) -> Vec<Inline> {
    let visible = |inline: &Inline| match inline {
        Inline::Span(span) if span.link.is_none() => span.text.chars().collect(),
        Inline::Span(_) => vec![OBJECT],
        Inline::LineBreak => vec!['\n'],
    };
    let pieces: Vec<Vec<char>> = content.iter().map(visible).collect();
    let line = parted_line(&pieces, Line::part_addresses);
    let mut start = 0;
    let mut parted = content.to_vec();
    for (inline, piece) in parted.iter_mut().zip(&pieces) {
        if let Inline::Span(span) = inline
            && span.link.is_none()
        {
            span.text = line.text(start..start + piece.len());
        }
        start += piece.len();
    }
    parted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_parted_and_nothing_else() {
        for (text, expected) in [
            ("see https://x.example/a", "see https:|//x.example/a"),
            ("FTP://x", "FTP:|//x"),
            ("www.example.com", "www|.example.com"),
            ("(WWW.example.com)", "(WWW|.example.com)"),
            ("²www.x", "²www|.x"),
            ("mail a@b.example", "mail a@|b.example"),
            ("a @ b", "a @ b"),
            ("12:30 C:/x", "12:30 C:/x"),
            ("", ""),
        ] {
            assert_eq!(part_addresses(text).replace(WORD_JOINER, "|"), expected);
        }
    }

    #[test]
    fn issue_keys_are_parted_and_dates_are_not() {
        for (text, expected) in [
            ("ABC-12", "ABC-|12"),
            ("see AB_C2-1.", "see AB_C2-|1."),
            ("CVE-2026-1731", "CVE-|2026-1731"),
            ("GHSA-jfh8-c2jp-5v3q", "GHSA-|jfh8-c2jp-|5v3q"),
            ("2024-12-03", "2024-12-03"),
            ("well-known", "well-known"),
            ("-1", "-1"),
        ] {
            let mut line = Line::new(text.chars().collect());
            line.part_issue_keys();
            assert_eq!(line.text(0..line.characters.len()).replace(WORD_JOINER, "|"), expected);
        }
    }
}
