//! The tree of elements to blocks. Each element is a block, a look, a line break, or nothing but its text.
//!
//! Must not decode anything: the parser did. Recursion is bounded by the depth of the tree and, should that fail, by
//! [`MAX_RECURSION`].

use super::tree::{Kind, Tree};
use super::{MAX_DEPTH, MAX_NODES};
use crate::document::{Block, Cell, Inline, Item, List, ListKind, Row, Span, Style, Table};
use crate::link::LinkUrl;

/// The parser itself adds elements (`tbody`, reopened looks), so a tree can be deeper than [`MAX_DEPTH`].
const MAX_RECURSION: usize = 4 * MAX_DEPTH;

/// What an element is to a document.
enum Role {
    Hidden,
    Heading(u8),
    List(ListKind),
    Item,
    Table,
    Row,
    Cell,
    Preformatted,
    LineBreak,
    /// Begins and ends a line, and is nothing else.
    Block,
    Look(Style),
    Link,
    /// Unknown, or only around others (`tbody`, `span`).
    Nothing,
}

fn role(name: &str) -> Role {
    const PLAIN: Style = Style { strong: false, emphasis: false, code: false };
    match name {
        "script" | "style" | "head" | "title" | "template" | "iframe" | "noembed" | "noframes" => Role::Hidden,
        "h1" => Role::Heading(1),
        "h2" => Role::Heading(2),
        "h3" => Role::Heading(3),
        "h4" => Role::Heading(4),
        "h5" => Role::Heading(5),
        "h6" => Role::Heading(6),
        "ul" | "menu" | "dir" => Role::List(ListKind::Bullet),
        "ol" => Role::List(ListKind::Ordered),
        "li" => Role::Item,
        "table" => Role::Table,
        "tr" => Role::Row,
        "td" | "th" => Role::Cell,
        "pre" | "listing" | "xmp" | "plaintext" => Role::Preformatted,
        "br" => Role::LineBreak,
        "p" | "div" | "address" | "article" | "aside" | "blockquote" | "body" | "caption" | "center" | "dd" | "details" | "dialog"
        | "dl" | "dt" | "fieldset" | "figcaption" | "figure" | "footer" | "form" | "header" | "hgroup" | "hr" | "html" | "legend"
        | "main" | "nav" | "option" | "search" | "section" | "summary" => Role::Block,
        "strong" | "b" => Role::Look(Style { strong: true, ..PLAIN }),
        "em" | "i" => Role::Look(Style { emphasis: true, ..PLAIN }),
        "code" | "kbd" | "samp" | "tt" => Role::Look(Style { code: true, ..PLAIN }),
        "a" => Role::Link,
        _ => Role::Nothing,
    }
}

/// The look of what is being read.
#[derive(Clone, Default)]
struct Look {
    style: Style,
    link: Option<LinkUrl>,
}

/// Inline content, where a block inside it is a line of its own.
#[derive(Default)]
struct Content {
    inlines: Vec<Inline>,
    new_line: bool,
}

impl Content {
    /// White space folds later; here it only must not be taken for line ends.
    fn text(&mut self, text: &str, look: &Look) {
        let text: String = text.chars().map(|character| if character.is_ascii_whitespace() { ' ' } else { character }).collect();
        if self.new_line && text.chars().any(|character| character != ' ') {
            self.new_line = false;
            if !self.inlines.is_empty() {
                self.inlines.push(Inline::LineBreak);
            }
        }
        self.inlines.push(Inline::Span(Span { text, style: look.style, link: look.link.clone() }));
    }

    fn preformatted(&mut self, text: &str, look: &Look) {
        let look = Look { style: Style { code: true, ..Style::default() }, link: look.link.clone() };
        for line in text.lines() {
            self.new_line = true;
            self.text(line, &look);
        }
        self.new_line = true;
    }
}

struct Walk<'tree> {
    tree: &'tree Tree,
}

/// All blocks of the tree.
pub(super) fn blocks(tree: &Tree) -> Vec<Block> {
    let walk = Walk { tree };
    let mut flow = Flow::default();
    walk.flow(0, &Look::default(), &mut flow, 0);
    flow.end_paragraph();
    flow.blocks
}

/// Blocks so far, and the paragraph being read.
#[derive(Default)]
struct Flow {
    blocks: Vec<Block>,
    paragraph: Content,
}

impl Flow {
    fn end_paragraph(&mut self) {
        let paragraph = std::mem::take(&mut self.paragraph);
        if !paragraph.inlines.is_empty() {
            self.blocks.push(Block::Paragraph(paragraph.inlines));
        }
    }
}

impl Walk<'_> {
    fn children(&self, index: usize) -> impl Iterator<Item = usize> + '_ {
        self.tree.nodes[index].children.iter().copied()
    }

    fn text_of(&self, index: usize) -> Option<&str> {
        match &self.tree.nodes[index].kind {
            Kind::Text(text) => Some(text),
            _ => None,
        }
    }

    fn look(&self, index: usize, look: &Look) -> Look {
        let mut look = look.clone();
        match role(self.tree.name(index)) {
            Role::Look(style) => {
                look.style.strong |= style.strong;
                look.style.emphasis |= style.emphasis;
                look.style.code |= style.code;
            }
            Role::Link => {
                if let Kind::Element { href: Some(href), .. } = &self.tree.nodes[index].kind {
                    look.link = LinkUrl::new(href);
                }
            }
            _ => {}
        }
        look
    }

    /// An address that may not become a link is not lost.
    fn address_as_text(&self, index: usize) -> Option<String> {
        let Kind::Element { href: Some(href), .. } = &self.tree.nodes[index].kind else { return None };
        let is_lost = LinkUrl::new(href).is_none() && !href.trim().is_empty() && self.all_text(index).trim() != href.trim();
        is_lost.then(|| format!(" ({})", href.trim()))
    }

    /// Reads the node's children where blocks can stand.
    fn flow(&self, index: usize, look: &Look, flow: &mut Flow, depth: usize) {
        for child in self.children(index) {
            if let Some(text) = self.text_of(child) {
                flow.paragraph.text(text, look);
                continue;
            }
            let role = role(self.tree.name(child));
            if matches!(role, Role::Heading(_) | Role::List(_) | Role::Item | Role::Table | Role::Preformatted | Role::Block) {
                flow.end_paragraph();
            }
            match role {
                Role::Hidden => {}
                _ if depth >= MAX_RECURSION => flow.paragraph.text(&self.all_text(child), look),
                Role::Heading(level) => {
                    let content = self.inlines(child, look, depth);
                    flow.blocks.push(Block::Heading { level, content });
                }
                Role::List(kind) => flow.blocks.push(Block::List(List { kind, items: self.items(child, look, depth + 1) })),
                Role::Item => {
                    let item = self.item(child, look, depth + 1);
                    flow.blocks.push(Block::List(List { kind: ListKind::Bullet, items: vec![item] }));
                }
                Role::Table => self.table(child, look, flow, depth + 1),
                Role::Preformatted => flow.blocks.push(Block::Code(self.all_text(child))),
                Role::LineBreak => flow.paragraph.inlines.push(Inline::LineBreak),
                Role::Block => {
                    self.flow(child, look, flow, depth + 1);
                    flow.end_paragraph();
                }
                Role::Look(_) | Role::Link => {
                    self.flow(child, &self.look(child, look), flow, depth + 1);
                    if let Some(address) = self.address_as_text(child) {
                        flow.paragraph.text(&address, look);
                    }
                }
                Role::Row | Role::Cell | Role::Nothing => self.flow(child, look, flow, depth + 1),
            }
        }
    }

    /// Reads the node's children where only inlines can stand.
    fn inlines(&self, index: usize, look: &Look, depth: usize) -> Vec<Inline> {
        let mut content = Content::default();
        self.inline(index, look, &mut content, None, depth);
        content.inlines
    }

    /// `lists` takes lists where they can stand (in an item); elsewhere their items are lines.
    fn inline(&self, index: usize, look: &Look, content: &mut Content, mut lists: Option<&mut Vec<List>>, depth: usize) {
        for child in self.children(index) {
            if let Some(text) = self.text_of(child) {
                content.text(text, look);
                continue;
            }
            let depth = depth + 1;
            match role(self.tree.name(child)) {
                Role::Hidden => {}
                _ if depth >= MAX_RECURSION => content.text(&self.all_text(child), look),
                Role::LineBreak => {
                    content.new_line = false;
                    content.inlines.push(Inline::LineBreak);
                }
                Role::Look(_) | Role::Link => {
                    self.inline(child, &self.look(child, look), content, lists.as_deref_mut(), depth);
                    if let Some(address) = self.address_as_text(child) {
                        content.text(&address, look);
                    }
                }
                Role::Nothing => self.inline(child, look, content, lists.as_deref_mut(), depth),
                Role::List(kind) if lists.is_some() => {
                    let list = List { kind, items: self.items(child, look, depth) };
                    if let Some(lists) = &mut lists {
                        lists.push(list);
                    }
                    content.new_line = true;
                }
                Role::Item => {
                    content.new_line = true;
                    content.text("• ", look);
                    self.inline(child, look, content, None, depth);
                    content.new_line = true;
                }
                Role::Preformatted => content.preformatted(&self.all_text(child), look),
                Role::Cell => {
                    if self.children(index).find(|cell| matches!(role(self.tree.name(*cell)), Role::Cell)) != Some(child) {
                        content.text(" | ", look);
                    }
                    self.inline(child, look, content, None, depth);
                }
                Role::Heading(_) | Role::List(_) | Role::Table | Role::Row | Role::Block => {
                    content.new_line = true;
                    self.inline(child, look, content, lists.as_deref_mut(), depth);
                    content.new_line = true;
                }
            }
        }
    }

    fn items(&self, list: usize, look: &Look, depth: usize) -> Vec<Item> {
        let mut items: Vec<Item> = Vec::new();
        for child in self.children(list) {
            if let Some(text) = self.text_of(child) {
                if !text.trim_ascii().is_empty() {
                    items.push(Item {
                        content: vec![Inline::text(text.split_ascii_whitespace().collect::<Vec<_>>().join(" "))],
                        lists: vec![],
                    });
                }
                continue;
            }
            match role(self.tree.name(child)) {
                Role::Hidden => {}
                // A list right in a list belongs to the item before it.
                Role::List(kind) if depth < MAX_RECURSION => {
                    let list = List { kind, items: self.items(child, look, depth + 1) };
                    match items.last_mut() {
                        Some(item) => item.lists.push(list),
                        None => items.push(Item { content: Vec::new(), lists: vec![list] }),
                    }
                }
                _ => items.push(self.item(child, look, depth + 1)),
            }
        }
        items
    }

    fn item(&self, index: usize, look: &Look, depth: usize) -> Item {
        let mut content = Content::default();
        let mut lists = Vec::new();
        let look = self.look(index, look);
        self.inline(index, &look, &mut content, Some(&mut lists), depth);
        Item { content: content.inlines, lists }
    }

    /// Its caption stands as a paragraph before it.
    fn table(&self, index: usize, look: &Look, flow: &mut Flow, depth: usize) {
        let mut rows = Vec::new();
        let mut parts = vec![index];
        let mut seen = 0;
        while let Some(part) = parts.pop() {
            seen += 1;
            if seen > MAX_NODES {
                break;
            }
            let mut inner = Vec::new();
            for child in self.children(part) {
                match self.tree.name(child) {
                    "caption" => {
                        let content = self.inlines(child, look, depth);
                        flow.blocks.push(Block::Paragraph(content));
                    }
                    "thead" | "tbody" | "tfoot" => inner.push(child),
                    "tr" => {
                        let cells = self.children(child).filter(|cell| matches!(self.tree.name(*cell), "td" | "th"));
                        let cells =
                            cells.map(|cell| Cell { is_header: self.tree.name(cell) == "th", content: self.inlines(cell, look, depth) });
                        rows.push(Row { cells: cells.collect() });
                    }
                    _ => {}
                }
            }
            parts.extend(inner.into_iter().rev());
        }
        flow.blocks.push(Block::Table(Table { rows }));
    }

    /// The text of a node and all below it, `br` as line ends. A loop, not a recursion.
    fn all_text(&self, index: usize) -> String {
        let mut text = String::new();
        let mut waiting = vec![index];
        while let Some(index) = waiting.pop() {
            if let Some(piece) = self.text_of(index) {
                text.push_str(piece);
            }
            match role(self.tree.name(index)) {
                Role::Hidden => continue,
                Role::LineBreak => text.push('\n'),
                Role::Block | Role::Item | Role::Row | Role::Heading(_) if !text.is_empty() && !text.ends_with('\n') => text.push('\n'),
                _ => {}
            }
            waiting.extend(self.tree.nodes[index].children.iter().rev());
        }
        text
    }
}
