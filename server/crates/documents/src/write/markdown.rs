//! Markdown as GitHub and GitLab render it.
//!
//! Two things make text act here. The parser's own syntax is taken away by a backslash. What the sites look for in the
//! *rendered* text afterwards (mentions, references, commits, addresses, emoji) sees no backslash, so it is parted by U+2060
//! (joiner.rs). What bots and GitLab's quick actions look for at the beginnings of raw lines gets U+2060 before it.
//!
//! The only HTML written is `<br>` in table cells and, for GitHub, `<span>` around a dollar sign, which its documentation
//! names as the way to keep it from beginning a formula. Must not write a raw line that begins with a stranger's `/`.

use super::Flavour;
use crate::document::{Block, Document, Inline, List, ListKind, Row, Span, Style, Table, lines, strengthened};
use crate::joiner::{Line, OBJECT, WORD_JOINER, parted_line};
use crate::link::LinkUrl;
use std::fmt::Write as _;

/// Neither the raw text nor a rendered text node holds a dollar sign and anything else.
const DOLLAR: &str = "<span>&#36;</span>";

pub(super) fn write(document: &Document, flavour: Flavour) -> String {
    let mut out = String::new();
    for block in document.blocks() {
        if !out.is_empty() {
            out.push('\n');
        }
        match block {
            Block::Heading { level, content } => {
                out.extend(std::iter::repeat_n('#', usize::from(*level)));
                out.push(' ');
                Inlines { flavour, place: Place::Text { indent: 0 } }.write(&mut out, content);
                out.push('\n');
            }
            Block::Paragraph(content) => {
                Inlines { flavour, place: Place::Text { indent: 0 } }.write(&mut out, content);
                out.push('\n');
            }
            Block::List(inner) => list(&mut out, inner, flavour, 0),
            Block::Table(inner) => table(&mut out, inner, flavour),
            Block::Code(text) => code_block(&mut out, text),
        }
    }
    out.truncate(out.trim_end_matches('\n').len());
    out
}

/// Plain text in which the site finds nothing to link or to replace. Names like `core-1` stay whole, so that they are found by searches: keys of
/// issues have capital letters.
pub(super) fn parted(text: &str, flavour: Flavour) -> String {
    let mut line = Line::new(text.chars().collect());
    Inlines { flavour, place: Place::Cell }.part(&mut line);
    let mut has_capital = false;
    for index in 0..line.characters.len() {
        match line.characters[index] {
            '-' if !has_capital => line.joiner_after[index] = false,
            '-' | '_' => {}
            character if character.is_alphanumeric() => has_capital |= character.is_uppercase(),
            _ => has_capital = false,
        }
    }
    line.text(0..line.characters.len())
}

fn list(out: &mut String, list: &List, flavour: Flavour, indent: usize) {
    for (index, item) in list.items.iter().enumerate() {
        out.extend(std::iter::repeat_n(' ', indent));
        let start = out.len();
        match list.kind {
            ListKind::Bullet => out.push_str("- "),
            ListKind::Ordered => {
                let _ = write!(out, "{}. ", index + 1);
            }
        }
        // What belongs to the item stands where its text begins.
        let inner = indent + out.len() - start;
        Inlines { flavour, place: Place::Text { indent: inner } }.write(out, &item.content);
        out.push('\n');
        for inner_list in &item.lists {
            self::list(out, inner_list, flavour, inner);
        }
    }
}

/// GFM tables have one header row and no header cells elsewhere: those become strong. Without a header row an empty one
/// stands above.
fn table(out: &mut String, table: &Table, flavour: Flavour) {
    let columns = table.rows.first().map_or(0, |row| row.cells.len());
    let (header, rows) = match table.rows.split_first() {
        Some((first, rest)) if first.cells.iter().all(|cell| cell.is_header) => (Some(first), rest),
        _ => (None, &table.rows[..]),
    };
    let row = |out: &mut String, row: &Row, is_header: bool| {
        out.push('|');
        for cell in &row.cells {
            out.push(' ');
            let inlines = Inlines { flavour, place: Place::Cell };
            if cell.is_header && !is_header {
                inlines.write(out, &strengthened(&cell.content));
            } else {
                inlines.write(out, &cell.content);
            }
            out.push_str(if out.ends_with(' ') { "|" } else { " |" });
        }
        out.push('\n');
    };
    if let Some(header) = header {
        row(out, header, true);
    } else {
        out.push_str(&"| ".repeat(columns));
        out.push_str("|\n");
    }
    out.push_str(&"| --- ".repeat(columns));
    out.push_str("|\n");
    for body in rows {
        row(out, body, false);
    }
}

fn code_block(out: &mut String, text: &str) {
    let fence = "`".repeat(longest_run(text, '`').max(2) + 1);
    out.push_str(&fence);
    out.push('\n');
    for line in text.split('\n') {
        // Bots, and GitLab before 16, look for commands in raw lines and know only some of the ways to write a code block.
        let text = line.trim_start();
        out.push_str(&line[..line.len() - text.len()]);
        if text.starts_with('/') {
            out.push(WORD_JOINER);
        }
        out.push_str(text);
        out.push('\n');
    }
    out.push_str(&fence);
    out.push('\n');
}

fn longest_run(text: &str, of: char) -> usize {
    text.split(|character| character != of).map(str::len).max().unwrap_or(0)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Line starts can begin a block.
    Text {
        /// Blanks before further lines.
        indent: usize,
    },
    /// Everything is on one raw line, `|` ends it.
    Cell,
}

struct Inlines {
    flavour: Flavour,
    place: Place,
}

impl Inlines {
    fn write(&self, out: &mut String, content: &[Inline]) {
        for (index, spans) in lines(content).enumerate() {
            if index > 0 {
                match self.place {
                    Place::Text { indent } => {
                        out.push_str("\\\n");
                        out.extend(std::iter::repeat_n(' ', indent));
                    }
                    Place::Cell => out.push_str("<br>"),
                }
            }
            self.line(out, &spans);
        }
    }

    fn line(&self, out: &mut String, spans: &[&Span]) {
        let visible = |span: &&Span| if span.style.code { vec![OBJECT] } else { span.text.chars().collect::<Vec<_>>() };
        let pieces: Vec<Vec<char>> = spans.iter().map(visible).collect();
        let line = parted_line(&pieces, |line| self.part(line));
        let line_start = out.len();
        if self.place != Place::Cell && line.first_visible() == Some('/') {
            out.push(WORD_JOINER);
        }
        let mut position = 0;
        for (index, span) in spans.iter().enumerate() {
            let before = index.checked_sub(1).map(|index| spans[index]);
            let after = spans.get(index + 1).copied();
            if span.link.is_some() && before.is_none_or(|before| before.link != span.link) {
                out.push('[');
            }
            // A dollar sign before or backticks beside a code span would change what it is.
            if ends_in(out, line_start, if span.style.code { '`' } else { '*' }) && has_marks(span.style) {
                out.push(WORD_JOINER);
            }
            if span.style.code {
                self.code(out, &span.text, span.link.is_some());
                position += 1;
            } else {
                let text = self.text(&line, position, span.text.chars().count(), after.is_none());
                emphasised(out, line_start, &text, span, after);
                position += span.text.chars().count();
            }
            if let Some(url) = &span.link
                && after.is_none_or(|after| after.link != span.link)
            {
                out.push_str("](");
                destination(out, url);
                out.push(')');
            }
        }
    }

    /// What the sites would find in rendered text.
    fn part(&self, line: &mut Line) {
        line.part_addresses();
        line.part_issue_keys();
        let git_lab = self.flavour == Flavour::GitLab;
        let mut index = 0;
        while let Some(character) = line.at(index) {
            let next = line.at(index + 1);
            let next_is = |matches: fn(char) -> bool| next.is_some_and(matches);
            let parts = match character {
                '#' => next_is(char::is_alphanumeric),
                ':' => is_emoji(line, index),
                // References to merge requests, epics, milestones, labels, snippets, iterations, work items; inline diffs.
                '!' | '&' if git_lab => next_is(|next| next.is_alphanumeric() || next == '"'),
                '%' | '~' if git_lab => next_is(|next| !next.is_whitespace()),
                '$' if git_lab => next.is_some(),
                '*' if git_lab => line.is_at(index + 1, "iteration:"),
                '[' if git_lab => next_is(|next| next.is_alphabetic() || matches!(next, '[' | '_' | '+' | '-')),
                '{' if git_lab => next_is(|next| matches!(next, '+' | '-')),
                // `group/project>` is a link to the project.
                _ if git_lab => next == Some('>') && !character.is_whitespace(),
                _ => false,
            };
            if parts {
                line.part_after(index);
            }
            index += 1;
        }
        part_commits(line);
    }

    /// `count` characters of the line from `start`, escaped and parted. `is_last`: nothing follows on the line.
    fn text(&self, line: &Line, start: usize, count: usize, is_last: bool) -> String {
        let mut out = String::new();
        let numbered = line.run(0, |character| character.is_ascii_digit());
        for index in start..start + count {
            let Some(character) = line.at(index) else {
                break;
            };
            let next = line.at(index + 1);
            let at_line_start = index == 0 && self.place != Place::Cell;
            let ends_span = index + 1 == start + count;
            let needs_backslash = match character {
                '\\' | '`' | '*' | '_' | '[' | ']' | '<' | '>' | '~' | '|' | '^' | '#' => true,
                '&' => next.is_some_and(|next| next.is_alphanumeric() || next == '#'),
                '!' => next == Some('[') || (ends_span && !is_last),
                '=' => at_line_start || index == start || ends_span || next == Some('=') || line.before(index) == Some('='),
                '-' | '+' | ':' | ';' => at_line_start,
                '.' | ')' => index == numbered && numbered > 0 && self.place != Place::Cell,
                '$' => self.flavour == Flavour::GitLab,
                _ => false,
            };
            if character == '$' && self.flavour == Flavour::GitHub {
                out.push_str(DOLLAR);
            } else {
                if needs_backslash {
                    out.push('\\');
                }
                out.push(character);
            }
            if line.joiner_after[index] {
                out.push(WORD_JOINER);
            }
        }
        out
    }

    fn code(&self, out: &mut String, text: &str, in_link: bool) {
        let mut content = String::with_capacity(text.len());
        for character in text.chars() {
            if character == '|' && self.place == Place::Cell {
                // `\\|`: parsers of tables do not agree whether that ends the cell.
                if content.ends_with('\\') {
                    content.push(WORD_JOINER);
                }
                content.push('\\');
            }
            // "[`]: x`](…)" would define a reference.
            if character == ':' && in_link && content.ends_with(']') {
                content.push(WORD_JOINER);
            }
            content.push(character);
        }
        let fence = "`".repeat(longest_run(&content, '`') + 1);
        let pad = if content.starts_with('`') || content.ends_with('`') { " " } else { "" };
        for piece in [&fence, pad, &content, pad, &fence] {
            out.push_str(piece);
        }
    }
}

fn has_marks(style: Style) -> bool {
    style.strong || style.emphasis || style.code
}

/// The line written so far ends in an unescaped `mark`.
fn ends_in(out: &str, line_start: usize, mark: char) -> bool {
    let line = &out[line_start..];
    let Some(before) = line.strip_suffix(mark) else {
        return false;
    };
    (before.len() - before.trim_end_matches('\\').len()).is_multiple_of(2)
}

/// Puts `*`s around text so that they open and close whatever stands beside them: CommonMark's rules of flanking look at
/// both neighbours, and U+2060 counts as a letter to them.
fn emphasised(out: &mut String, line_start: usize, text: &str, span: &Span, after: Option<&Span>) {
    let marks = match (span.style.strong, span.style.emphasis) {
        (false, false) => "",
        (true, false) => "**",
        (false, true) => "*",
        (true, true) => "***",
    };
    if marks.is_empty() {
        out.push_str(text);
        return;
    }
    let before = out[line_start..].chars().next_back();
    let opens = match text.chars().next() {
        Some(first) if first.is_alphanumeric() => true,
        Some(first) => first.is_ascii_punctuation() && before.is_none_or(|before| before == ' ' || before.is_ascii_punctuation()),
        None => true,
    };
    let closes = match text.chars().next_back() {
        Some(last) if last.is_alphanumeric() => true,
        Some(last) if last.is_ascii_punctuation() => match after {
            None => true,
            // A bracket or a backtick follows.
            Some(after) if after.link != span.link || after.style.code => true,
            Some(after) => {
                let next = after.text.chars().next();
                !(after.style.strong || after.style.emphasis) && next.is_some_and(|next| next == ' ' || next.is_ascii_punctuation())
            }
        },
        _ => false,
    };
    out.push_str(marks);
    if !opens {
        out.push(WORD_JOINER);
    }
    out.push_str(text);
    if !closes {
        out.push(WORD_JOINER);
    }
    out.push_str(marks);
}

/// `:name:` of letters, digits, `_`, `+`, `-`, but neither a time (`15:26:05`) nor a part of an address (`2001:db8::1`).
fn is_emoji(line: &Line, colon: usize) -> bool {
    let length = line.run(colon + 1, |character| character.is_ascii_alphanumeric() || matches!(character, '_' | '+' | '-'));
    if length == 0 || line.at(colon + 1 + length) != Some(':') {
        return false;
    }
    let name = &line.characters[colon + 1..=colon + length];
    let is_number = name.iter().all(char::is_ascii_hexdigit)
        && name.iter().any(char::is_ascii_digit)
        && length <= 4
        && !matches!(name, ['1', '0', '0'] | ['1', '2', '3', '4']);
    !is_number
}

/// 7 to 64 hexadecimal digits that stand alone may be a commit: no piece of 7 is left.
fn part_commits(line: &mut Line) {
    // Other letters count as parts of a word to some patterns and not to others.
    let is_word = |character: char| character.is_ascii_alphanumeric() || character == '_';
    let mut index = 0;
    while index < line.characters.len() {
        let length = line.run(index, is_word);
        let digits = line.run(index, |character| character.is_ascii_hexdigit());
        if digits == length && (7..=64).contains(&digits) {
            for piece in 1..=(digits - 1) / 6 {
                line.part_after(index + piece * 6 - 1);
            }
        }
        index += length.max(1);
    }
}

/// Between parentheses, which could end it; `$` could begin a formula. Entities are decoded before backslashes are taken
/// away (cmark), so `&` is an entity itself where one could follow.
fn destination(out: &mut String, url: &LinkUrl) {
    let has_entities = url.as_str().contains(';');
    for character in url.as_str().chars() {
        match character {
            '$' => out.push_str("%24"),
            '&' if has_entities => out.push_str("&amp;"),
            '(' | ')' => {
                out.push('\\');
                out.push(character);
            }
            _ => out.push(character),
        }
    }
}
