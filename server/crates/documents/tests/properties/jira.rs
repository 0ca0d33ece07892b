//! Jira's wiki markup, read again by a small strict parser of what Atlassian documents and of the rules of its renderer
//! (`com.atlassian.renderer.v2`): phrases, escapes, forced line breaks, links, tables, lists, macros. Anything that would act
//! and that no document has (a mention, an image, a macro, an emoticon, a bare address, an issue key) fails the test.

use super::{bare, config, strategy};
use deskbridge_documents::{Block, Cell, Document, Format, Inline, Item, LinkUrl, List, ListKind, Row, Span, Style, Table, write};
use proptest::prelude::*;
use regex::Regex;
use std::sync::LazyLock;

const ESCAPABLE: &str = "-#*_+?^~|%{}[]()!@";

static ACTS: LazyLock<Vec<Regex>> = LazyLock::new(|| {
    let patterns = [
        r"(?i)[a-z][a-z0-9+.-]*://",
        r"(?i)\b(mailto|tel|skype|callto|sip|news|xmpp):[^\s\u{2060}]",
        r"(?i)\bwww\.",
        r"\S@[A-Za-z0-9]",
        r"\b[A-Z][A-Z0-9_]+-[0-9]",
        r"&(#[0-9]+|#[xX][0-9a-fA-F]+|[A-Za-z][A-Za-z0-9]*);",
        r"[:;]-?([()]|[PpDd]([^0-9A-Za-z]|$))",
        r"\((y|n|i|/|x|!|\+|-|\?|on|off|\*|\*[rgby]|flag|flagoff)\)",
    ];
    patterns.iter().map(|pattern| Regex::new(pattern).expect("a pattern")).collect()
});
/// Dashes are replaced only where they were not escaped.
static DASHES: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"(^|\s)---?(\s|$)").expect("a pattern"));

struct Inlines<'a> {
    characters: &'a [char],
    found: Vec<Inline>,
}

/// The index of the unescaped `mark` that ends a phrase begun before `start`. Links are found before phrases, so what is in
/// one ends nothing.
fn phrase_end(characters: &[char], start: usize, mark: &[char]) -> Option<usize> {
    let mut index = start;
    while index < characters.len() {
        let before = characters[index - 1];
        if characters[index] == '[' && before != '\\' {
            index = unescaped(characters, index, ']')?;
        } else if index > start
            && characters[index..].starts_with(mark)
            && before != '\\'
            && !before.is_ascii_whitespace()
            && !characters.get(index + mark.len()).is_some_and(|after| after.is_alphanumeric())
        {
            return Some(index);
        }
        index += 1;
    }
    None
}

/// The first unescaped `wanted` from `start`.
fn unescaped(characters: &[char], start: usize, wanted: char) -> Option<usize> {
    (start..characters.len()).find(|index| characters[*index] == wanted && (*index == 0 || characters[index - 1] != '\\'))
}

impl Inlines<'_> {
    fn read(&mut self, start: usize, end: usize, style: Style, link: Option<&LinkUrl>) {
        let characters = &self.characters[..end];
        let mut index = start;
        while index < end {
            let character = characters[index];
            let next = characters.get(index + 1).copied();
            let before = index.checked_sub(1).map(|before| characters[before]);
            let can_begin = !before.is_some_and(|before| before.is_alphanumeric() || before == '\\')
                && next.is_some_and(|next| !next.is_ascii_whitespace());
            match character {
                '\\' if next == Some('\\') => {
                    assert!(before != Some('\\') && characters.get(index + 2) != Some(&'\\'), "three backslashes");
                    let run = characters[index + 2..].iter().take_while(|after| !after.is_whitespace());
                    assert!(!run.into_iter().any(|after| *after == '\\'), "no break: a backslash follows");
                    self.found.push(Inline::LineBreak);
                    index += 2;
                    continue;
                }
                '\\' if next.is_some_and(|next| ESCAPABLE.contains(next)) => {
                    self.push(next.unwrap_or_default(), style, link);
                    index += 2;
                    continue;
                }
                '{' if next == Some('{') => {
                    assert!(can_begin, "monospaced cannot begin here");
                    let close = phrase_end(characters, index + 2, &['}', '}']).expect("an end of monospaced");
                    self.read(index + 2, close, Style { code: true, ..style }, link);
                    index = close + 2;
                    continue;
                }
                '{' | '}' => panic!("a macro at {index} of {}", characters.iter().collect::<String>()),
                '[' => {
                    assert!(link.is_none());
                    let close = unescaped(characters, index, ']').expect("an end of the link");
                    let bar = unescaped(characters, index, '|').filter(|bar| *bar < close).expect("a link with a text");
                    let url: String = characters[bar + 1..close].iter().collect();
                    self.read(index + 1, bar, style, Some(&LinkUrl::new(&url).expect("an address")));
                    index = close + 1;
                    continue;
                }
                ']' | '|' => panic!("unescaped {character}"),
                '!' if next.is_some_and(|next| !next.is_ascii_whitespace()) && unescaped(characters, index + 1, '!').is_some() => {
                    panic!("an image")
                }
                '*' | '_' | '-' | '+' | '^' | '~' if can_begin => {
                    if let Some(close) = phrase_end(characters, index + 1, &[character]) {
                        let style = match character {
                            '*' => Style { strong: true, ..style },
                            '_' => Style { emphasis: true, ..style },
                            other => panic!("a phrase of {other}"),
                        };
                        self.read(index + 1, close, style, link);
                        index = close + 1;
                        continue;
                    }
                }
                '?' => assert_ne!(next, Some('?'), "a citation"),
                _ => {}
            }
            self.push(character, style, link);
            index += 1;
        }
    }

    fn push(&mut self, character: char, style: Style, link: Option<&LinkUrl>) {
        self.found.push(Inline::Span(Span { text: character.to_string(), style, link: link.cloned() }));
    }
}

fn inlines(markup: &str) -> Vec<Inline> {
    let characters: Vec<char> = markup.chars().collect();
    assert!(!DASHES.is_match(markup), "dashes");
    let mut reader = Inlines { characters: &characters, found: Vec::new() };
    reader.read(0, characters.len(), Style::default(), None);
    // What is looked for in text after the escapes are gone.
    let mut visible = String::new();
    let mut in_code = false;
    for inline in &reader.found {
        if let Inline::Span(span) = inline
            && std::mem::replace(&mut in_code, span.style.code) != span.style.code
        {
            // Braces stand between.
            visible.push('\u{FFFC}');
        }
        match inline {
            Inline::Span(span) if span.link.is_none() => visible.push_str(&span.text),
            _ => visible.push('\n'),
        }
    }
    for pattern in ACTS.iter() {
        assert!(!pattern.is_match(&visible), "{pattern} in {visible:?}");
    }
    reader.found
}

/// `|` and `||` outside links, unescaped, part cells.
fn row(line: &str) -> Row {
    let characters: Vec<char> = line.chars().collect();
    assert!(characters.len() > 1 && characters.ends_with(&['|']), "a row on more than one line: {line}");
    let mut cells: Vec<(bool, String)> = Vec::new();
    let mut in_link = false;
    let mut index = 0;
    while index < characters.len() {
        let is_escaped = index > 0 && characters[index - 1] == '\\';
        match characters[index] {
            '[' if !is_escaped => in_link = true,
            ']' if !is_escaped => in_link = false,
            '|' if !is_escaped && !in_link => {
                let is_header = characters.get(index + 1) == Some(&'|');
                index += 1 + usize::from(is_header);
                cells.push((is_header, String::new()));
                continue;
            }
            _ => {}
        }
        cells.last_mut().expect("a mark first").1.push(characters[index]);
        index += 1;
    }
    let last = cells.pop().expect("a mark last");
    assert!(last.1.is_empty());
    Row { cells: cells.into_iter().map(|(is_header, markup)| Cell { is_header, content: inlines(&markup) }).collect() }
}

/// Marks and text of an item, where the line is one.
fn item(line: &str) -> Option<(&str, &str)> {
    let marks = line.find(|character| !matches!(character, '*' | '#' | '-'))?;
    (marks > 0).then_some(())?;
    line[marks..].strip_prefix(' ').map(|text| (&line[..marks], text))
}

fn list(lines: &[(&str, &str)], depth: usize) -> Vec<List> {
    let mut lists: Vec<List> = Vec::new();
    let mut index = 0;
    while index < lines.len() {
        let (marks, text) = lines[index];
        let kind = match marks.chars().nth(depth).expect("an item of this depth") {
            '*' => ListKind::Bullet,
            '#' => ListKind::Ordered,
            other => panic!("a list of {other}"),
        };
        let deeper = lines[index + 1..].iter().take_while(|(marks, _)| marks.chars().count() > depth + 1).count();
        let inner = list(&lines[index + 1..=index + deeper], depth + 1);
        let item = Item { content: inlines(text), lists: inner };
        match lists.last_mut() {
            Some(list) if list.kind == kind => list.items.push(item),
            _ => lists.push(List { kind, items: vec![item] }),
        }
        index += 1 + deeper;
    }
    lists
}

fn read(markup: &str) -> Document {
    let heading = Regex::new(r"^h([1-6])\. (.*)$").expect("a pattern");
    let block_name = Regex::new(r"^\s*(h[0-9]+\.|bq\.|-{4,})").expect("a pattern");
    let lines: Vec<&str> = markup.split('\n').collect();
    let mut blocks = Vec::new();
    let mut index = 0;
    while index < lines.len() {
        let line = lines[index];
        if line.is_empty() {
            index += 1;
        } else if line == "{noformat}" {
            let end = index + 1 + lines[index + 1..].iter().position(|line| line.contains("{noformat}")).expect("an end");
            assert_eq!(lines[end], "{noformat}");
            blocks.push(Block::Code(lines[index + 1..end].join("\n")));
            index = end + 1;
        } else if let Some(found) = heading.captures(line) {
            blocks.push(Block::Heading { level: found[1].parse().expect("a level"), content: inlines(&found[2]) });
            index += 1;
        } else if item(line).is_some() {
            let items: Vec<(&str, &str)> = lines[index..].iter().map_while(|line| item(line)).collect();
            index += items.len();
            blocks.extend(list(&items, 0).into_iter().map(Block::List));
        } else if line.starts_with('|') {
            let rows: Vec<Row> = lines[index..].iter().take_while(|line| line.starts_with('|')).map(|line| row(line)).collect();
            index += rows.len();
            blocks.push(Block::Table(Table { rows }));
        } else {
            assert!(!block_name.is_match(line), "a block begins: {line}");
            assert!(lines.get(index + 1).is_none_or(|next| next.is_empty()), "a paragraph on two lines: {line}");
            blocks.push(Block::Paragraph(inlines(line)));
            index += 1;
        }
    }
    Document::new(blocks)
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn a_document_written_and_read_is_the_same(document in strategy::document()) {
        let markup = write(&document, Format::JiraWiki);
        prop_assert_eq!(bare(&read(&markup)), bare(&document), "{}", markup);
    }
}
