//! Markdown, read again by comrak (which GitLab renders with) and pulldown-cmark, with every extension the sites have and
//! some they have not; and what the sites look for in rendered text and in raw lines.

use super::{bare, change_spans, config, strategy};
use comrak::nodes::{AstNode, ListType, NodeValue};
use deskbridge_documents::{Block, Cell, Document, Flavour, Format, Inline, Item, LinkUrl, List, ListKind, Row, Span, Style, Table, write};
use proptest::prelude::*;
use pulldown_cmark::{Event, Options, Parser, Tag};
use regex::Regex;
use std::sync::LazyLock;

/// What either parser found.
#[derive(Debug)]
enum Found {
    Root,
    Heading(u8),
    Paragraph,
    List(ListKind),
    Item,
    Table,
    Row,
    Cell,
    CodeBlock(String),
    Text(String),
    Code(String),
    Strong,
    Emphasis,
    Link(String),
    Break,
    Html(String),
}

#[derive(Debug)]
struct Element {
    found: Found,
    children: Vec<Element>,
}

fn by_comrak(markdown: &str) -> Element {
    let mut options = comrak::Options::default();
    let extension = &mut options.extension;
    extension.strikethrough = true;
    extension.table = true;
    extension.autolink = true;
    extension.tasklist = true;
    extension.superscript = true;
    extension.footnotes = true;
    extension.inline_footnotes = true;
    extension.description_lists = true;
    extension.front_matter_delimiter = Some("---".to_owned());
    extension.multiline_block_quotes = true;
    extension.alerts = true;
    extension.math_dollars = true;
    extension.math_code = true;
    extension.shortcodes = true;
    extension.wikilinks_title_after_pipe = true;
    extension.underline = true;
    extension.subscript = true;
    extension.highlight = true;
    extension.block_directive = true;
    options.parse.smart = false;
    let arena = comrak::Arena::new();
    comrak_element(comrak::parse_document(&arena, markdown, &options))
}

fn comrak_element<'a>(node: &'a AstNode<'a>) -> Element {
    let found = match &node.data.borrow().value {
        NodeValue::Document => Found::Root,
        NodeValue::Heading(heading) => Found::Heading(heading.level),
        NodeValue::Paragraph => Found::Paragraph,
        NodeValue::List(list) => Found::List(if list.list_type == ListType::Bullet { ListKind::Bullet } else { ListKind::Ordered }),
        NodeValue::Item(_) => Found::Item,
        NodeValue::Table(_) => Found::Table,
        NodeValue::TableRow(_) => Found::Row,
        NodeValue::TableCell => Found::Cell,
        NodeValue::CodeBlock(block) => {
            assert!(block.info.is_empty());
            Found::CodeBlock(block.literal.clone())
        }
        NodeValue::Text(text) => Found::Text(text.to_string()),
        NodeValue::Code(code) => Found::Code(code.literal.clone()),
        NodeValue::Strong => Found::Strong,
        NodeValue::Emph => Found::Emphasis,
        NodeValue::Link(link) => {
            assert!(link.title.is_empty());
            Found::Link(link.url.clone())
        }
        NodeValue::LineBreak => Found::Break,
        NodeValue::HtmlInline(html) => Found::Html(html.clone()),
        other => panic!("{other:?}"),
    };
    Element { found, children: node.children().map(comrak_element).collect() }
}

fn by_pulldown(markdown: &str) -> Element {
    let mut options = Options::all();
    // Not what the sites do: quotation marks, `# x {#id}`.
    options.remove(Options::ENABLE_SMART_PUNCTUATION | Options::ENABLE_HEADING_ATTRIBUTES);
    let mut open = vec![Element { found: Found::Root, children: Vec::new() }];
    for event in Parser::new_ext(markdown, options) {
        let leaf = |found| Element { found, children: Vec::new() };
        let done = match event {
            Event::Start(tag) => {
                let found = match tag {
                    Tag::Paragraph => Found::Paragraph,
                    Tag::Heading { level, id: None, .. } => Found::Heading(level as u8),
                    Tag::CodeBlock(_) => Found::CodeBlock(String::new()),
                    Tag::List(start) => {
                        assert!(start.is_none_or(|start| start == 1));
                        Found::List(if start.is_some() { ListKind::Ordered } else { ListKind::Bullet })
                    }
                    Tag::Item => Found::Item,
                    Tag::Table(_) => Found::Table,
                    Tag::TableHead | Tag::TableRow => Found::Row,
                    Tag::TableCell => Found::Cell,
                    Tag::Emphasis => Found::Emphasis,
                    Tag::Strong => Found::Strong,
                    Tag::Link { dest_url, title, .. } if title.is_empty() => Found::Link(dest_url.to_string()),
                    other => panic!("{other:?}"),
                };
                open.push(leaf(found));
                continue;
            }
            Event::End(_) => open.pop().expect("an element"),
            Event::Text(text) => leaf(Found::Text(text.to_string())),
            Event::Code(code) => leaf(Found::Code(code.to_string())),
            Event::InlineHtml(html) => leaf(Found::Html(html.to_string())),
            Event::HardBreak => leaf(Found::Break),
            other => panic!("{other:?}"),
        };
        open.last_mut().expect("the root").children.push(done);
    }
    open.pop().expect("the root")
}

fn inlines(elements: &[Element], style: Style, link: Option<&LinkUrl>, inlines_found: &mut Vec<Inline>) {
    for Element { found, children } in elements {
        let mut span =
            |text: &str, style: Style| inlines_found.push(Inline::Span(Span { text: text.to_owned(), style, link: link.cloned() }));
        match found {
            Found::Text(text) => span(text, style),
            Found::Code(code) => span(code, Style { code: true, ..style }),
            Found::Strong => inlines(children, Style { strong: true, ..style }, link, inlines_found),
            Found::Emphasis => inlines(children, Style { emphasis: true, ..style }, link, inlines_found),
            Found::Link(url) => {
                assert!(link.is_none());
                inlines(children, style, Some(&LinkUrl::new(url).expect("an address")), inlines_found);
            }
            Found::Break => inlines_found.push(Inline::LineBreak),
            Found::Html(html) => match html.as_str() {
                "<br>" => inlines_found.push(Inline::LineBreak),
                "<span>" | "</span>" => {}
                other => panic!("HTML {other}"),
            },
            other => panic!("{other:?} in a line"),
        }
    }
}

fn all_inlines(elements: &[Element]) -> Vec<Inline> {
    let mut found = Vec::new();
    inlines(elements, Style::default(), None, &mut found);
    found
}

fn list(kind: ListKind, elements: &[Element]) -> List {
    let item = |element: &Element| {
        let mut item = Item::default();
        for child in &element.children {
            match &child.found {
                Found::List(kind) => item.lists.push(list(*kind, &child.children)),
                Found::Paragraph => item.content.extend(all_inlines(&child.children)),
                _ => inlines(std::slice::from_ref(child), Style::default(), None, &mut item.content),
            }
        }
        item
    };
    List { kind, items: elements.iter().map(item).collect() }
}

fn document(root: &Element) -> Document {
    let block = |element: &Element| match &element.found {
        Found::Heading(level) => Block::Heading { level: *level, content: all_inlines(&element.children) },
        Found::Paragraph => Block::Paragraph(all_inlines(&element.children)),
        Found::List(kind) => Block::List(list(*kind, &element.children)),
        Found::Table => {
            let rows = element.children.iter().enumerate().map(|(index, row)| {
                let cells = row.children.iter().map(|cell| Cell { is_header: index == 0, content: all_inlines(&cell.children) });
                Row { cells: cells.collect() }
            });
            Block::Table(Table { rows: rows.collect() })
        }
        Found::CodeBlock(text) => {
            let inner: String =
                element.children.iter().map(|child| if let Found::Text(text) = &child.found { text.as_str() } else { "" }).collect();
            Block::Code(format!("{text}{inner}"))
        }
        other => panic!("{other:?} as a block"),
    };
    without_empty_headers(&Document::new(root.children.iter().map(block).collect()))
}

/// The empty header row above a table without one.
fn without_empty_headers(document: &Document) -> Document {
    let document = bare(document);
    let block = |block: &Block| match block {
        Block::Table(table) if table.rows[0].cells.iter().all(|cell| cell.is_header && cell.content.is_empty()) => {
            Block::Table(Table { rows: table.rows[1..].to_vec() })
        }
        other => other.clone(),
    };
    Document::new(document.blocks().iter().map(block).collect())
}

/// What Markdown can say of a document: header cells below the first row are strong, and so are those of a first row that
/// has others, too.
fn expected(document: &Document) -> Document {
    let document = change_spans(document, |span| {
        let url = span.link.as_ref().map(|url| url.as_str().replace('$', "%24"));
        span.link = url.and_then(|url| LinkUrl::new(&url));
    });
    let block = |block: &Block| match block {
        Block::Table(table) => {
            let mut rows = table.rows.clone();
            for (index, row) in rows.iter_mut().enumerate() {
                if index == 0 && row.cells.iter().all(|cell| cell.is_header) {
                    continue;
                }
                for cell in row.cells.iter_mut().filter(|cell| cell.is_header) {
                    cell.is_header = false;
                    for inline in &mut cell.content {
                        if let Inline::Span(span) = inline {
                            span.style.strong = true;
                        }
                    }
                }
            }
            Block::Table(Table { rows })
        }
        other => other.clone(),
    };
    without_empty_headers(&Document::new(document.blocks().iter().map(block).collect()))
}

/// What a site finds in a text node after rendering: mentions, references, commits, addresses, emoji.
static FOUND_BY_BOTH: LazyLock<Vec<Regex>> = LazyLock::new(|| {
    regexes(&[
        r"@[A-Za-z0-9]",
        r"#[A-Za-z0-9]",
        r"(?i)\bGH-[0-9]",
        r"\b[A-Za-z][A-Za-z0-9_]*-[0-9]",
        r"\b[0-9a-fA-F]{7,64}\b",
        r"(?i)\b[a-z][a-z0-9+.-]*://",
        r"(?i)\bwww\.",
        r":[a-zA-Z_+-][a-zA-Z0-9_+-]*[g-zG-Z_+-][a-zA-Z0-9_+-]*:",
        r":(100|1234|[+-]1|[a-f]+):",
    ])
});
static FOUND_BY_GITLAB: LazyLock<Vec<Regex>> = LazyLock::new(|| {
    regexes(&[r"![0-9]", r"~[\w\x22]", r"%[\w\x22{]", r"&[0-9]", r"\$[0-9]", r"[\[{][+-]", r"\[[A-Za-z_\[]", r"\w>", r"\*iteration:"])
});

fn regexes(patterns: &[&str]) -> Vec<Regex> {
    patterns.iter().map(|pattern| Regex::new(pattern).expect("a pattern")).collect()
}

fn check_text_nodes(element: &Element, flavour: Flavour) {
    let mut text = String::new();
    let check = |text: &mut String| {
        let found = FOUND_BY_BOTH.iter().chain(FOUND_BY_GITLAB.iter().filter(|_| flavour == Flavour::GitLab));
        for pattern in found {
            assert!(!pattern.is_match(text), "{pattern} in {text:?}");
        }
        if flavour == Flavour::GitHub {
            assert!(!text.contains('$') || text == "$", "a formula could begin: {text:?}");
        }
        text.clear();
    };
    for child in &element.children {
        if let Found::Text(piece) = &child.found {
            text.push_str(piece);
        } else {
            check(&mut text);
            if !matches!(child.found, Found::CodeBlock(_)) {
                check_text_nodes(child, flavour);
            }
        }
    }
    check(&mut text);
}

fn check(document_written: &Document, flavour: Flavour) {
    let markdown = write(document_written, Format::Markdown(flavour));
    for root in [by_comrak(&markdown), by_pulldown(&markdown)] {
        check_text_nodes(&root, flavour);
        assert_eq!(document(&root), expected(document_written), "{markdown}");
    }
    let commands = markdown.lines().find(|line| line.trim_start().starts_with('/'));
    assert_eq!(commands, None, "{markdown}");
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn a_document_written_for_github_and_read_is_the_same(document in strategy::document()) {
        check(&document, Flavour::GitHub);
    }

    #[test]
    fn a_document_written_for_gitlab_and_read_is_the_same(document in strategy::document()) {
        check(&document, Flavour::GitLab);
    }
}
