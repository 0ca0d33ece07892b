//! Documents full of text that would hurt.

use deskbridge_documents::{Block, Cell, Document, Inline, Item, LinkUrl, List, ListKind, Row, Span, Style, Table};
use proptest::prelude::*;

/// Markup of all formats, what sites look for in text, and characters nobody sees.
const PIECES: [&str; 123] = [
    "@octocat",
    "@",
    "#123",
    "#",
    "!45",
    "%7",
    "%\"x\"",
    "~bug",
    "~\"x y\"",
    "&3",
    "&",
    "$5",
    "$",
    "$$",
    "$`",
    "`$",
    "GH-12",
    "ABC-123",
    "-7",
    "0123abcdef",
    "deadbee",
    "1234567",
    "https://evil.example/x",
    "http://",
    "://",
    "ftp://x",
    "www.evil.example",
    "a@b.example",
    "mailto:x",
    "xmpp:a@b.example",
    "tel:1",
    "/close",
    "/",
    "/assign @me",
    "\n/close",
    ":smile:",
    ":+1:",
    ":100:",
    ":",
    ";",
    "15:26:05",
    ":)",
    ":-(",
    ";)",
    ":D",
    "(!)",
    "(x)",
    "(*r)",
    "(/)",
    "(",
    ")",
    "{code}",
    "{noformat}",
    "{quote}",
    "{{",
    "}}",
    "{",
    "}",
    "[x|https://evil.example]",
    "[~admin]",
    "!img.png!",
    "!",
    "![x](y)",
    "[x](y)",
    "[[w]]",
    "[^1]",
    "^[n]",
    "[ ] ",
    "[x] ",
    "[TOC]",
    "[",
    "]",
    "- ",
    "-",
    "* ",
    "+ ",
    "1. ",
    "1) ",
    "12",
    ".",
    "# ",
    "h3. ",
    "bq. ",
    "> ",
    ">",
    "| a |",
    "|",
    "||",
    "\\",
    "\\\\",
    "`",
    "```",
    "\n```\n",
    "~~~",
    "**",
    "__",
    "_",
    "*",
    "--",
    " --- ",
    "\n---\n",
    "\n===\n",
    "==",
    "<b>",
    "</li>",
    "<script>",
    "<!--",
    "&amp;",
    "&#64;x",
    "&lt;",
    "{+",
    "[-",
    "^",
    "??",
    "'",
    "\"",
    "\u{202e}",
    "\u{200b}",
    "\u{2060}",
    "\u{a0}",
    "\u{3000}",
    "\u{feff}",
    "\r\n",
];

fn piece() -> impl Strategy<Value = String> {
    prop_oneof![
        6 => proptest::sample::select(&PIECES[..]).prop_map(str::to_owned),
        2 => Just(" ".to_owned()),
        3 => r"[*_+^~!|{}\[\]()\\`#@:;.=<>&$%?/-]",
        2 => "[a-zA-Z0-9é日]{1,3}",
        1 => proptest::sample::select(&["\0", "\u{1b}", "\t", "\n", "\u{85}", "\u{2028}", "😀", "\u{301}", "²", "€"][..]).prop_map(str::to_owned),
        1 => any::<char>().prop_map(String::from),
    ]
}

pub(crate) fn text() -> impl Strategy<Value = String> {
    proptest::collection::vec(piece(), 0..8).prop_map(|pieces| pieces.concat())
}

fn link() -> impl Strategy<Value = Option<LinkUrl>> {
    let addresses = [
        "https://x.example/",
        "https://x.example/a?b=l%3De9e9&copy;=1&lt;=2#c",
        "http://x.example/(a)_*b*_~c~/!d!;e,f'g\"h[i]{j}|k\\l<m>",
        "https://x.example/$a$b",
        "https://x.example/)a((b",
        "mailto:a@b.example?subject=x",
    ];
    proptest::option::weighted(0.2, proptest::sample::select(addresses.to_vec()).prop_map(|address| LinkUrl::new(address).unwrap()))
}

fn inline() -> impl Strategy<Value = Inline> {
    let style = (any::<bool>(), any::<bool>(), proptest::bool::weighted(0.2));
    let style = prop_oneof![2 => Just((false, false, false)), 1 => style];
    let span = (text(), style, link())
        .prop_map(|(text, (strong, emphasis, code), link)| Inline::Span(Span { text, style: Style { strong, emphasis, code }, link }));
    prop_oneof![8 => span, 1 => Just(Inline::LineBreak)]
}

fn content() -> impl Strategy<Value = Vec<Inline>> {
    proptest::collection::vec(inline(), 0..4)
}

fn list() -> impl Strategy<Value = List> {
    let kind = || prop_oneof![Just(ListKind::Bullet), Just(ListKind::Ordered)];
    let item = content().prop_map(|content| Item { content, lists: Vec::new() });
    let flat = (kind(), proptest::collection::vec(item, 1..3)).prop_map(|(kind, items)| List { kind, items });
    flat.prop_recursive(3, 12, 3, move |inner| {
        let item = (content(), proptest::collection::vec(inner, 0..3)).prop_map(|(content, lists)| Item { content, lists });
        (kind(), proptest::collection::vec(item, 1..3)).prop_map(|(kind, items)| List { kind, items })
    })
}

fn table() -> impl Strategy<Value = Table> {
    let cell = (any::<bool>(), content()).prop_map(|(is_header, content)| Cell { is_header, content });
    let row = (proptest::option::of(any::<bool>()), proptest::collection::vec(cell, 1..4)).prop_map(|(all, mut cells)| {
        if let Some(is_header) = all {
            for cell in &mut cells {
                cell.is_header = is_header;
            }
        }
        Row { cells }
    });
    proptest::collection::vec(row, 1..4).prop_map(|rows| Table { rows })
}

fn block() -> impl Strategy<Value = Block> {
    prop_oneof![
        (1_u8..=6, content()).prop_map(|(level, content)| Block::Heading { level, content }),
        content().prop_map(Block::Paragraph),
        content().prop_map(Block::Paragraph),
        list().prop_map(Block::List),
        table().prop_map(Block::Table),
        text().prop_map(Block::Code),
    ]
}

pub(crate) fn document() -> impl Strategy<Value = Document> {
    proptest::collection::vec(block(), 0..5).prop_map(Document::new)
}
