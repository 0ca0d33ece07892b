//! The document between template and writers: what every ticket system can show, and no more.
//!
//! [`Document::new`] brings any blocks into one normal form, so that writers meet no surprise and two documents that look the
//! same are equal. Must not know a format.

use crate::link::LinkUrl;

/// Lists nest this deep; deeper items stand at this depth. Jira and GitHub show no more in a readable way.
pub const MAX_LIST_DEPTH: usize = 6;
/// Columns of a table. Further cells join the last column's.
pub const MAX_COLUMNS: usize = 100;

/// Blocks from top to bottom, in normal form:
///
/// - White space in text is folded as browsers fold it: one blank between words, none at the ends of a line. Line ends
///   (CR, LF, NEL, U+2028, U+2029) are [`Inline::LineBreak`]s, never more than two together, none at the ends, and none in
///   headings.
/// - Control characters show as their pictures (`␘`), U+FEFF is gone.
/// - Neighbouring spans differ. Code is neither strong nor emphasis (ADF knows no such thing).
/// - Rows of a table are equally long. A list never follows a list of its kind. Nothing is empty but a table's cell.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Document {
    blocks: Vec<Block>,
}

/// One block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Block {
    /// A heading.
    Heading {
        /// 1 (largest) to 6.
        level: u8,
        /// One line.
        content: Vec<Inline>,
    },
    /// A paragraph.
    Paragraph(Vec<Inline>),
    /// A list.
    List(List),
    /// A table.
    Table(Table),
    /// Preformatted text: blanks, tabs and `\n` stand as they are.
    Code(String),
}

/// Bullets or numbers (from 1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListKind {
    /// Bullets.
    Bullet,
    /// Numbers from 1.
    Ordered,
}

/// A list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct List {
    /// Bullets or numbers.
    pub kind: ListKind,
    /// At least one.
    pub items: Vec<Item>,
}

/// One item of a list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Item {
    /// Not empty.
    pub content: Vec<Inline>,
    /// Lists inside it, after the content.
    pub lists: Vec<List>,
}

/// A table. Any cell can be a header: reports have their headers in the first column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// At least one.
    pub rows: Vec<Row>,
}

/// One row.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Row {
    /// As many as every other row has.
    pub cells: Vec<Cell>,
}

/// One cell.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cell {
    /// Titles its row or column.
    pub is_header: bool,
    /// May be empty.
    pub content: Vec<Inline>,
}

/// A piece of a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Inline {
    /// Text of one look.
    Span(Span),
    /// The next piece begins a new line.
    LineBreak,
}

/// Text of one look.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Span {
    /// Plain Unicode text: nothing in it is markup.
    pub text: String,
    /// How it looks.
    pub style: Style,
    /// Where it leads. Neighbouring spans with the same address are one link.
    pub link: Option<LinkUrl>,
}

/// How text looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Style {
    /// Bold.
    pub strong: bool,
    /// Italic.
    pub emphasis: bool,
    /// Monospaced; excludes the other two.
    pub code: bool,
}

impl Inline {
    /// Text without any look.
    pub fn text(text: impl Into<String>) -> Self {
        Self::Span(Span { text: text.into(), ..Span::default() })
    }

    /// Strong text.
    pub fn strong(text: impl Into<String>) -> Self {
        Self::Span(Span { text: text.into(), style: Style { strong: true, ..Style::default() }, link: None })
    }

    /// A link; text alone where the address may not become one ([`LinkUrl::new`]).
    pub fn link(text: impl Into<String>, address: &str) -> Self {
        Self::Span(Span { text: text.into(), style: Style::default(), link: LinkUrl::new(address) })
    }
}

impl Document {
    /// Brings the blocks into normal form.
    pub fn new(blocks: Vec<Block>) -> Self {
        let mut document = Self { blocks: Vec::with_capacity(blocks.len()) };
        for block in blocks {
            document.push(block);
        }
        document
    }

    /// Adds a block at the end, in normal form; nothing where it is empty.
    pub fn push(&mut self, block: Block) {
        match block {
            Block::Heading { level, content } => {
                let content = one_line(normal_inlines(content));
                if !content.is_empty() {
                    self.blocks.push(Block::Heading { level: level.clamp(1, 6), content });
                }
            }
            Block::Paragraph(content) => {
                let content = normal_inlines(content);
                if !content.is_empty() {
                    self.blocks.push(Block::Paragraph(content));
                }
            }
            Block::List(list) => {
                let items = normal_items(list.items, 1);
                match self.blocks.last_mut() {
                    Some(Block::List(previous)) if previous.kind == list.kind => previous.items.extend(items),
                    _ if items.is_empty() => {}
                    _ => self.blocks.push(Block::List(List { kind: list.kind, items })),
                }
            }
            Block::Table(table) => self.blocks.extend(normal_table(table).map(Block::Table)),
            Block::Code(text) => {
                let text = normal_code(&text);
                if !text.trim().is_empty() {
                    self.blocks.push(Block::Code(text));
                }
            }
        }
    }

    /// The blocks, in normal form.
    pub fn blocks(&self) -> &[Block] {
        &self.blocks
    }

    /// Characters of visible text, line breaks counted as one each.
    pub fn characters(&self) -> usize {
        let mut count = 0;
        for block in &self.blocks {
            match block {
                Block::Heading { content, .. } | Block::Paragraph(content) => count += inline_characters(content),
                Block::List(list) => count += list_characters(list),
                Block::Table(table) => {
                    count += table.rows.iter().flat_map(|row| &row.cells).map(|cell| inline_characters(&cell.content)).sum::<usize>();
                }
                Block::Code(text) => count += text.chars().count(),
            }
        }
        count
    }

    /// The block with the most characters, by its index, and how many it has. None where there is no block.
    pub fn longest_block(&self) -> Option<(usize, usize)> {
        let lengths = self.blocks.iter().map(|block| Self { blocks: vec![block.clone()] }.characters()).enumerate();
        lengths.max_by_key(|(_, characters)| *characters)
    }

    /// The same with the first `characters` of one block, by its index, and `…` behind them: the others stay whole.
    #[must_use]
    pub fn with_block_shortened(&self, index: usize, characters: usize) -> Self {
        let shortened = |(at, block): (usize, &Block)| {
            let alone = Self { blocks: vec![block.clone()] };
            if at == index { alone.shortened(characters).blocks } else { alone.blocks }
        };
        Self::new(self.blocks.iter().enumerate().flat_map(shortened).collect())
    }

    /// The first `characters` of it, and a last paragraph `…`; itself where it has no more than that.
    ///
    /// What a ticket system would cut off silently or refuse is left out here, where a table or link cannot break.
    #[must_use]
    pub fn shortened(&self, characters: usize) -> Self {
        if self.characters() <= characters {
            return self.clone();
        }
        let mut left = characters;
        let mut blocks = Vec::new();
        for block in &self.blocks {
            if left == 0 {
                break;
            }
            blocks.push(match block {
                Block::Heading { level, content } => Block::Heading { level: *level, content: first(content, &mut left) },
                Block::Paragraph(content) => Block::Paragraph(first(content, &mut left)),
                Block::List(list) => Block::List(first_items(list, &mut left)),
                Block::Table(table) => {
                    let mut rows = Vec::new();
                    for row in &table.rows {
                        if left == 0 {
                            break;
                        }
                        let cells = row.cells.iter();
                        let cells = cells.map(|cell| Cell { is_header: cell.is_header, content: first(&cell.content, &mut left) });
                        rows.push(Row { cells: cells.collect() });
                    }
                    Block::Table(Table { rows })
                }
                Block::Code(text) => {
                    let kept: String = text.chars().take(left).collect();
                    left -= kept.chars().count();
                    Block::Code(kept)
                }
            });
        }
        blocks.push(Block::Paragraph(vec![Inline::text("…")]));
        Self::new(blocks)
    }
}

/// The spans of each line.
pub(crate) fn lines(content: &[Inline]) -> impl Iterator<Item = Vec<&Span>> {
    content.split(|inline| *inline == Inline::LineBreak).map(|line| {
        let spans = line.iter().filter_map(|inline| match inline {
            Inline::Span(span) => Some(span),
            Inline::LineBreak => None,
        });
        spans.collect()
    })
}

/// The same inlines, all strong but code: for formats that know header cells in the first row only.
pub(crate) fn strengthened(content: &[Inline]) -> Vec<Inline> {
    let mut strong = content.to_vec();
    for inline in &mut strong {
        if let Inline::Span(span) = inline {
            span.style.strong = true;
        }
    }
    normal_inlines(strong)
}

fn list_characters(list: &List) -> usize {
    list.items.iter().map(|item| inline_characters(&item.content) + item.lists.iter().map(list_characters).sum::<usize>()).sum()
}

fn inline_characters(content: &[Inline]) -> usize {
    let length = |inline: &Inline| match inline {
        Inline::Span(span) => span.text.chars().count(),
        Inline::LineBreak => 1,
    };
    content.iter().map(length).sum()
}

fn first(content: &[Inline], left: &mut usize) -> Vec<Inline> {
    let mut kept = Vec::new();
    for inline in content {
        if *left == 0 {
            break;
        }
        match inline {
            Inline::Span(span) => {
                let text: String = span.text.chars().take(*left).collect();
                *left -= text.chars().count();
                kept.push(Inline::Span(Span { text, ..span.clone() }));
            }
            Inline::LineBreak => {
                *left -= 1;
                kept.push(Inline::LineBreak);
            }
        }
    }
    kept
}

fn first_items(list: &List, left: &mut usize) -> List {
    let mut items = Vec::new();
    for item in &list.items {
        if *left == 0 {
            break;
        }
        let content = first(&item.content, left);
        let lists = item.lists.iter().map(|list| first_items(list, left)).collect();
        items.push(Item { content, lists });
    }
    List { kind: list.kind, items }
}

/// `None` for a line end.
fn clean(character: char) -> Option<char> {
    match character {
        '\n' | '\r' | '\u{85}' | '\u{2028}' | '\u{2029}' => None,
        '\u{7f}' => Some('␡'),
        '\u{0}'..='\u{1f}' => char::from_u32(0x2400 + u32::from(character)),
        character if character.is_control() => Some(char::REPLACEMENT_CHARACTER),
        character => Some(character),
    }
}

/// Collects characters with their looks, folding white space on the way.
#[derive(Default)]
struct Folded {
    inlines: Vec<Inline>,
    /// A blank stands here if more of the line follows.
    blank: bool,
    breaks: usize,
}

impl Folded {
    fn character(&mut self, character: char, style: Style, link: Option<&LinkUrl>) {
        if character == ' ' {
            let line_has_begun = self.breaks == 0 && !self.inlines.is_empty();
            self.blank |= line_has_begun;
            return;
        }
        for _ in 0..std::mem::take(&mut self.breaks) {
            self.inlines.push(Inline::LineBreak);
        }
        if std::mem::take(&mut self.blank) {
            // A blank between two looks has none, so that no look begins or ends with one.
            let (style, link) = match self.inlines.last() {
                Some(Inline::Span(before)) => {
                    let same_link = before.link.as_ref() == link;
                    (if same_link && before.style == style { style } else { Style::default() }, link.filter(|_| same_link))
                }
                _ => (style, link),
            };
            self.push(' ', style, link);
        }
        self.push(character, style, link);
    }

    fn push(&mut self, character: char, style: Style, link: Option<&LinkUrl>) {
        match self.inlines.last_mut() {
            Some(Inline::Span(span)) if span.style == style && span.link.as_ref() == link => span.text.push(character),
            _ => self.inlines.push(Inline::Span(Span { text: character.to_string(), style, link: link.cloned() })),
        }
    }

    fn line_break(&mut self) {
        self.blank = false;
        if !self.inlines.is_empty() {
            self.breaks = (self.breaks + 1).min(2);
        }
    }
}

fn normal_inlines(content: Vec<Inline>) -> Vec<Inline> {
    let mut folded = Folded::default();
    for inline in content {
        let Inline::Span(Span { text, mut style, link }) = inline else {
            folded.line_break();
            continue;
        };
        if style.code {
            style = Style { code: true, ..Style::default() };
        }
        let mut after_return = false;
        for character in text.chars() {
            match clean(character) {
                _ if character == '\u{feff}' => {}
                _ if character == '\t' => folded.character(' ', style, link.as_ref()),
                None if character == '\n' && after_return => {}
                None => folded.line_break(),
                Some(cleaned) => folded.character(cleaned, style, link.as_ref()),
            }
            after_return = character == '\r';
        }
    }
    folded.inlines
}

fn one_line(content: Vec<Inline>) -> Vec<Inline> {
    if !content.contains(&Inline::LineBreak) {
        return content;
    }
    normal_inlines(content.into_iter().map(|inline| if inline == Inline::LineBreak { Inline::text(" ") } else { inline }).collect())
}

fn normal_code(text: &str) -> String {
    let mut normal = String::with_capacity(text.len());
    let mut after_return = false;
    for character in text.chars() {
        match clean(character) {
            _ if character == '\u{feff}' => {}
            _ if character == '\t' => normal.push('\t'),
            None if character == '\n' && after_return => {}
            None => normal.push('\n'),
            Some(cleaned) => normal.push(cleaned),
        }
        after_return = character == '\r';
    }
    normal.trim_matches('\n').to_owned()
}

/// Recurses no deeper than [`MAX_LIST_DEPTH`].
fn normal_items(items: Vec<Item>, depth: usize) -> Vec<Item> {
    let mut normal: Vec<Item> = Vec::new();
    for Item { content, lists } in items {
        let content = normal_inlines(content);
        let has_content = !content.is_empty();
        if has_content {
            normal.push(Item { content, lists: Vec::new() });
        }
        for list in lists {
            if depth == MAX_LIST_DEPTH {
                normal.extend(flat_items(list));
                continue;
            }
            let items = normal_items(list.items, depth + 1);
            match normal.last_mut() {
                // An item of nothing but a list: its items belong to the one before, or stand in its place.
                None => normal.extend(items),
                Some(item) => match item.lists.last_mut() {
                    Some(previous) if previous.kind == list.kind => previous.items.extend(items),
                    _ if items.is_empty() => {}
                    _ => item.lists.push(List { kind: list.kind, items }),
                },
            }
        }
    }
    normal
}

/// All items below, one after the other. A loop: such lists can be nested without bounds.
fn flat_items(list: List) -> Vec<Item> {
    let mut flat = Vec::new();
    let mut waiting: Vec<std::vec::IntoIter<Item>> = vec![list.items.into_iter()];
    while let Some(items) = waiting.last_mut() {
        let Some(Item { content, lists }) = items.next() else {
            waiting.pop();
            continue;
        };
        let content = normal_inlines(content);
        if !content.is_empty() {
            flat.push(Item { content, lists: Vec::new() });
        }
        waiting.extend(lists.into_iter().rev().map(|list| list.items.into_iter()));
    }
    flat
}

fn normal_table(table: Table) -> Option<Table> {
    let mut rows: Vec<Row> = Vec::with_capacity(table.rows.len());
    for row in table.rows {
        let mut cells: Vec<Cell> = Vec::with_capacity(row.cells.len().min(MAX_COLUMNS));
        let mut too_many: Vec<Inline> = Vec::new();
        for cell in row.cells {
            if cells.len() < MAX_COLUMNS {
                cells.push(cell);
            } else {
                too_many.push(Inline::text(" "));
                too_many.extend(cell.content);
            }
        }
        if let Some(last) = cells.last_mut() {
            last.content.extend(too_many);
        }
        for cell in &mut cells {
            cell.content = normal_inlines(std::mem::take(&mut cell.content));
        }
        if !cells.is_empty() {
            rows.push(Row { cells });
        }
    }
    if rows.iter().flat_map(|row| &row.cells).all(|cell| cell.content.is_empty()) {
        return None;
    }
    let columns = rows.iter().map(|row| row.cells.len()).max()?;
    for row in &mut rows {
        row.cells.resize_with(columns, Cell::default);
    }
    Some(Table { rows })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paragraph(content: Vec<Inline>) -> Vec<Inline> {
        match Document::new(vec![Block::Paragraph(content)]).blocks().first() {
            Some(Block::Paragraph(content)) => content.clone(),
            _ => Vec::new(),
        }
    }

    #[test]
    fn text_is_folded_as_browsers_fold_it() {
        let line = |text: &str| Inline::text(text);
        for (text, expected) in [
            ("  a \t b  ", vec![line("a b")]),
            (
                "a\r\nb\rc\u{2028}d",
                vec![line("a"), Inline::LineBreak, line("b"), Inline::LineBreak, line("c"), Inline::LineBreak, line("d")],
            ),
            ("\n\na \n \n \n b\n", vec![line("a"), Inline::LineBreak, Inline::LineBreak, line("b")]),
            ("a\u{18}\u{0}\u{7f}\u{9b}\u{feff}b", vec![line("a␘␀␡\u{fffd}b")]),
            ("\u{a0}a\u{3000}\u{200b}\u{202e}", vec![line("\u{a0}a\u{3000}\u{200b}\u{202e}")]),
            (" \t\n", vec![]),
        ] {
            assert_eq!(paragraph(vec![Inline::text(text)]), expected, "{text:?}");
        }
    }

    #[test]
    fn no_look_begins_or_ends_with_a_blank() {
        let strong = |text: &str| Inline::strong(text);
        assert_eq!(
            paragraph(vec![Inline::text("a"), strong(" b "), Inline::text("c")]),
            [Inline::text("a "), strong("b"), Inline::text(" c")]
        );
        assert_eq!(paragraph(vec![strong("a "), strong(" b")]), [strong("a b")]);
        assert_eq!(paragraph(vec![strong("a"), Inline::text("  "), strong("b")]), [strong("a b")].to_vec());
    }

    #[test]
    fn code_is_neither_strong_nor_emphasis() {
        let style = Style { strong: true, emphasis: true, code: true };
        let content = paragraph(vec![Inline::Span(Span { text: "x".to_owned(), style, link: None })]);
        assert!(matches!(&content[..], [Inline::Span(Span { style: Style { strong: false, emphasis: false, code: true }, .. })]));
    }

    #[test]
    fn empty_and_ragged_things_are_put_right() {
        let item = |text: &str, lists: Vec<List>| Item { content: vec![Inline::text(text)], lists };
        let bullets = |items: Vec<Item>| List { kind: ListKind::Bullet, items };
        let cell = |text: &str| Cell { is_header: false, content: vec![Inline::text(text)] };
        let document = Document::new(vec![
            Block::Heading { level: 9, content: vec![Inline::text("a\nb")] },
            Block::Heading { level: 3, content: vec![Inline::text(" ")] },
            Block::List(bullets(vec![item("", vec![bullets(vec![item("b", vec![])])])])),
            Block::List(bullets(vec![item("c", vec![]), item("", vec![])])),
            Block::Table(Table { rows: vec![Row { cells: vec![cell("x")] }, Row::default(), Row { cells: vec![cell(""), cell("y")] }] }),
            Block::Table(Table { rows: vec![Row { cells: vec![cell(" ")] }] }),
            Block::Code("\n\n \n".to_owned()),
            Block::Code("\r\n  x\t\u{1}\r\n".to_owned()),
        ]);
        let expected = Document {
            blocks: vec![
                Block::Heading { level: 6, content: vec![Inline::text("a b")] },
                Block::List(bullets(vec![item("b", vec![]), item("c", vec![])])),
                Block::Table(Table {
                    rows: vec![Row { cells: vec![cell("x"), Cell::default()] }, Row { cells: vec![Cell::default(), cell("y")] }],
                }),
                Block::Code("  x\t␁".to_owned()),
            ],
        };
        assert_eq!(document, expected);
    }

    #[test]
    fn lists_and_tables_are_bounded() {
        let mut list = List { kind: ListKind::Bullet, items: vec![Item { content: vec![Inline::text("deepest")], lists: vec![] }] };
        for _ in 0..50 {
            list = List { kind: ListKind::Bullet, items: vec![Item { content: vec![Inline::text("x")], lists: vec![list] }] };
        }
        let document = Document::new(vec![Block::List(list)]);
        assert_eq!(document.characters(), 50 + "deepest".len());
        let [Block::List(mut list)] = <[Block; 1]>::try_from(document.blocks).unwrap() else { panic!() };
        let mut depth = 1;
        while let Some(inner) = list.items.into_iter().find_map(|item| item.lists.into_iter().next()) {
            (list, depth) = (inner, depth + 1);
        }
        assert_eq!(depth, MAX_LIST_DEPTH);

        let cells = (0..150).map(|index| Cell { is_header: false, content: vec![Inline::text(index.to_string())] }).collect();
        let table = normal_table(Table { rows: vec![Row { cells }] }).unwrap();
        assert_eq!(table.rows[0].cells.len(), MAX_COLUMNS);
        assert_eq!(table.rows[0].cells[MAX_COLUMNS - 1].content.len(), 1);
    }

    #[test]
    fn shortened_keeps_the_beginning_and_says_so() {
        let document = Document::new(vec![
            Block::Heading { level: 3, content: vec![Inline::text("abc")] },
            Block::Paragraph(vec![Inline::text("def\ngh")]),
            Block::Code("ijk".to_owned()),
        ]);
        assert_eq!(document.characters(), 12);
        assert_eq!(document.shortened(12), document);
        let short = document.shortened(5);
        assert_eq!(
            short.blocks(),
            [
                Block::Heading { level: 3, content: vec![Inline::text("abc")] },
                Block::Paragraph(vec![Inline::text("de")]),
                Block::Paragraph(vec![Inline::text("…")]),
            ]
        );
        assert_eq!(document.shortened(0).blocks().len(), 1);
    }
}
