//! Jira's wiki markup.
//!
//! What a backslash takes away is known exactly: `- # * _ + ? ^ ~ | % { } [ ] ( ) ! @`, each after one backslash that has no
//! other before it (atlassian-renderer, `BackslashEscapeRendererComponent`; Cloud's converter has the same list). Two
//! backslashes are a line break, so a literal one is followed by U+2060. Emoticons, addresses, entities and issue keys know
//! no escape and are parted by U+2060.
//!
//! Every line break is written as `\\ `: a real one would let text begin a block. The blank keeps it a break (the renderer
//! looks for backslashes right behind it).

use crate::document::{Block, Document, Inline, List, ListKind, Span, lines};
use crate::joiner::{Line, OBJECT, WORD_JOINER, parted_line};
use std::fmt::Write as _;

const BREAK: &str = "\\\\ ";
/// After the parenthesis.
const EMOTICONS: [&str; 20] = [
    "y)", "n)", "i)", "/)", "x)", "!)", "+)", "-)", "?)", "on)", "off)", "*)", "*r)", "*g)", "*b)", "*y)", "flag)", "flagoff)", "c)", "r)",
];

pub(super) fn write(document: &Document) -> String {
    let mut out = String::new();
    for block in document.blocks() {
        if !out.is_empty() {
            out.push('\n');
        }
        match block {
            Block::Heading { level, content } => {
                let _ = write!(out, "h{level}. ");
                inlines(&mut out, content);
                out.push('\n');
            }
            Block::Paragraph(content) => {
                inlines(&mut out, content);
                out.push('\n');
            }
            Block::List(inner) => list(&mut out, inner, ""),
            Block::Table(table) => {
                for row in &table.rows {
                    let mut last_mark = "|";
                    for cell in &row.cells {
                        last_mark = if cell.is_header { "||" } else { "|" };
                        out.push_str(last_mark);
                        if cell.content.is_empty() {
                            out.push(' ');
                        }
                        inlines(&mut out, &cell.content);
                    }
                    out.push_str(last_mark);
                    out.push('\n');
                }
            }
            Block::Code(text) => {
                out.push_str("{noformat}\n");
                out.push_str(&without_macros(text));
                out.push_str("\n{noformat}\n");
            }
        }
    }
    out.truncate(out.trim_end_matches('\n').len());
    out
}

/// Nothing is markup in there but the end, and what begins like it.
fn without_macros(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for (position, character) in text.char_indices() {
        safe.push(character);
        if character == '{' && text[position + 1..].starts_with(|next: char| next.is_ascii_alphabetic()) {
            safe.push(WORD_JOINER);
        }
    }
    safe
}

fn list(out: &mut String, list: &List, marks: &str) {
    let mark = match list.kind {
        ListKind::Bullet => '*',
        ListKind::Ordered => '#',
    };
    let marks = format!("{marks}{mark}");
    for item in &list.items {
        out.push_str(&marks);
        out.push(' ');
        inlines(out, &item.content);
        out.push('\n');
        for inner in &item.lists {
            self::list(out, inner, &marks);
        }
    }
}

fn inlines(out: &mut String, content: &[Inline]) {
    for (index, spans) in lines(content).enumerate() {
        if index > 0 {
            out.push_str(BREAK);
        }
        write_line(out, &spans, index == 0);
    }
}

fn write_line(out: &mut String, spans: &[&Span], begins_block: bool) {
    let visible = |span: &&Span| {
        let text = span.text.chars();
        if span.style.code {
            std::iter::once(OBJECT).chain(text).chain(std::iter::once(OBJECT)).collect::<Vec<_>>()
        } else {
            text.collect()
        }
    };
    let pieces: Vec<Vec<char>> = spans.iter().map(visible).collect();
    let line = parted_line(&pieces, part);
    let line_start = out.len();
    if begins_block && names_block(&line) {
        out.push(WORD_JOINER);
    }
    let mut position = 0;
    for (index, span) in spans.iter().enumerate() {
        let code = usize::from(span.style.code);
        let count = span.text.chars().count();
        let text = escaped(&line, position + code, count);
        position += count + 2 * code;
        let after = spans.get(index + 1);
        let url = span.link.as_ref().map(crate::LinkUrl::as_str);
        let can_link = url.is_some_and(|url| !url.contains(['[', ']']));
        let (mut open, mut close) = (String::new(), String::new());
        for (has, begin, end) in [(span.style.strong, "*", "*"), (span.style.emphasis, "_", "_"), (span.style.code, "{{", "}}")] {
            if has {
                open.push_str(begin);
                close.insert_str(0, end);
            }
        }
        // Marks count only beside other characters than letters, digits, marks, and a backslash before.
        let before = out[line_start..].chars().next_back();
        if !open.is_empty() && before.is_some_and(|before| !stands_beside_marks(before) && before != '(') {
            out.push(WORD_JOINER);
        }
        out.push_str(&open);
        match url {
            Some(url) if can_link => {
                out.push('[');
                out.push_str(&text);
                out.push('|');
                out.push_str(url);
                out.push(']');
            }
            _ => out.push_str(&text),
        }
        // `\}}}` would end one brace too early or too late.
        if span.style.code && text.ends_with('}') && !can_link {
            out.push(WORD_JOINER);
        }
        out.push_str(&close);
        if !close.is_empty()
            && after.is_some_and(|after| has_marks(after) || after.link.is_some() || !after.text.starts_with(stands_beside_marks))
        {
            out.push(WORD_JOINER);
        }
        if let Some(url) = url
            && !can_link
            && after.is_none_or(|after| after.link != span.link)
        {
            let _ = write!(out, " ({})", escape_address(url));
        }
    }
}

/// Marks begin and end beside these without help.
fn stands_beside_marks(character: char) -> bool {
    matches!(character, ' ' | ',' | '.' | ':' | ';' | WORD_JOINER)
}

/// An address that cannot stand in a link stands as text.
fn escape_address(url: &str) -> String {
    let mut line = Line::new(url.chars().collect());
    part(&mut line);
    escaped(&line, 0, line.characters.len())
}

fn has_marks(span: &Span) -> bool {
    span.style.strong || span.style.emphasis || span.style.code
}

/// `h3. `, `bq. `, `# `, also after white space other than blanks.
fn names_block(line: &Line) -> bool {
    let start = line.run(0, char::is_whitespace);
    let is_heading =
        line.is_at(start, "h") && line.at(start + 1).is_some_and(|digit| digit.is_ascii_digit()) && line.at(start + 2) == Some('.');
    is_heading || line.is_at(start, "bq.") || (start > 0 && line.at(start) == Some('#'))
}

fn part(line: &mut Line) {
    line.part_addresses();
    line.part_issue_keys();
    for index in 0..line.characters.len() {
        let next = line.at(index + 1);
        let parts = match line.characters[index] {
            '\\' => true,
            '{' => next.is_some_and(|next| next.is_alphanumeric() || next == '{'),
            '[' => next.is_some_and(|next| !next.is_whitespace()),
            '&' => next.is_some_and(|next| next.is_alphanumeric() || next == '#'),
            '(' => EMOTICONS.iter().any(|rest| line.is_at(index + 1, rest)) || line.is_at(index + 1, "tm)"),
            ':' | ';' => is_smiley(line, index) || is_scheme(line, index),
            _ => false,
        };
        if parts {
            line.part_after(index);
        }
    }
}

/// `:)`, `:-(`, `;)`, `:P`, `:D`.
fn is_smiley(line: &Line, eyes: usize) -> bool {
    let mouth = eyes + 1 + usize::from(line.at(eyes + 1) == Some('-'));
    match line.at(mouth) {
        Some('(' | ')') => true,
        // No emoticon inside a word or a number (jgm/pandoc#8511).
        Some('P' | 'p' | 'D' | 'd') => !line.at(mouth + 1).is_some_and(|next| next.is_ascii_alphanumeric()),
        _ => false,
    }
}

/// `mailto:x`, `tel:1`: some become links without any slashes.
fn is_scheme(line: &Line, colon: usize) -> bool {
    line.at(colon) == Some(':')
        && line.at(colon + 1).is_some_and(|next| !next.is_whitespace())
        && line.before(colon).is_some_and(|before| before.is_ascii_alphabetic())
}

/// `count` characters of the line from `start`.
fn escaped(line: &Line, start: usize, count: usize) -> String {
    let mut out = String::new();
    for index in start..start + count {
        let Some(character) = line.at(index) else {
            break;
        };
        let (before, next) = (line.before(index), line.at(index + 1));
        // Marks begin and end only beside something that is no letter and no digit; beside this text may stand a mark.
        let at_edge = index == start || index + 1 == start + count;
        let in_word = !at_edge && before.is_some_and(char::is_alphanumeric) && next.is_some_and(char::is_alphanumeric);
        let needs_backslash = match character {
            '{' | '}' | '[' | ']' | '|' => true,
            '*' | '_' | '+' | '^' | '~' | '-' => !in_word,
            '?' => before == Some('?') || next == Some('?'),
            '!' => next != Some(' '),
            '#' => index == 0,
            _ => false,
        };
        if needs_backslash {
            out.push('\\');
        }
        out.push(character);
        if line.joiner_after[index] {
            out.push(WORD_JOINER);
        }
    }
    out
}
