//! Every known trap of every format, written out: what a stranger types, and what is sent. `·` stands for U+2060.

use deskbridge_documents::{
    Block, Cell, Document, Flavour, Format, Guards, Inline, Item, LinkUrl, List, ListKind, Row, Span, Style, Table, WORD_JOINER, write,
};

fn written(content: Vec<Inline>, format: Format) -> String {
    write(&Document::new(vec![Block::Paragraph(content)]), format).replace(WORD_JOINER, "·")
}

fn check(format: Format, table: &[(&str, &str)]) {
    for (text, expected) in table {
        assert_eq!(written(vec![Inline::text(*text)], format), *expected, "{text:?} as {format:?}");
    }
}

fn span(text: &str, style: Style) -> Inline {
    Inline::Span(Span { text: text.to_owned(), style, link: None })
}

fn code(text: &str) -> Inline {
    span(text, Style { code: true, ..Style::default() })
}

fn emphasis(text: &str) -> Inline {
    span(text, Style { emphasis: true, ..Style::default() })
}

fn cell(is_header: bool, text: &str) -> Cell {
    Cell { is_header, content: vec![Inline::text(text)] }
}

const GITHUB: Format = Format::Markdown(Flavour::GitHub);
const GITLAB: Format = Format::Markdown(Flavour::GitLab);

#[test]
fn markdown_of_both_sites() {
    let table = [
        // Mentions, references, commits: found in rendered text, so no backslash helps.
        ("@octocat", "@·octocat"),
        ("a@b.example", "a@·b.example"),
        ("@org/team", "@·org/team"),
        ("#123 owner/repo#1", "\\#·123 owner/repo\\#·1"),
        ("GH-12 ABC-1", "GH-·12 ABC-·1"),
        ("deadbeef", "deadbe·ef"),
        ("e9e99aeb9ad54fb381634498502c5a1b", "e9e99a·eb9ad5·4fb381·634498·502c5a·1b"),
        ("deadbe decade", "deadbe decade"),
        // Commands.
        ("/close", "·/close"),
        ("x\n/assign @me", "x\\\n·/assign @·me"),
        ("a /close", "a /close"),
        // Addresses.
        ("https://x.example", "https:·//x.example"),
        ("www.x.example", "www·.x.example"),
        ("mailto:a@b.example", "mailto:a@·b.example"),
        // Emoji, but no times and no addresses of machines.
        (":smile: :+1: :100:", "\\:·smile: :·+1: :·100:"),
        ("15:26:05 2001:db8::1", "15:26:05 2001:db8::1"),
        // Syntax.
        ("<b>&amp;", "\\<b\\>\\&amp;"),
        ("AT&T & co", "AT\\&T & co"),
        ("*a* _b_ ~~c~~ `d`", "\\*a\\* \\_b\\_ \\~\\~c\\~\\~ \\`d\\`"),
        ("[x](y)", "\\[x\\](y)"),
        ("![x](y)", "\\!\\[x\\](y)"),
        ("[^1]", "\\[\\^1\\]"),
        ("a | b", "a \\| b"),
        ("C:\\Users", "C:\\\\Users"),
        ("# x", "\\# x"),
        ("- x", "\\- x"),
        ("+ x", "\\+ x"),
        ("1. x", "1\\. x"),
        ("12) x", "12\\) x"),
        ("1.5 x", "1\\.5 x"),
        ("> x", "\\> x"),
        ("x\n---", "x\\\n\\---"),
        ("x\n===", "x\\\n\\=\\=\\="),
        (": x", "\\: x"),
        ("a-b 1.5 (x) it's!", "a-b 1.5 (x) it's!"),
    ];
    // GitLab finds things after `[` in rendered text, too (below).
    let without_brackets: Vec<_> = table.iter().copied().filter(|(text, _)| !text.contains(['[', '&', '>', '~'])).collect();
    check(GITHUB, &table);
    check(GITLAB, &without_brackets);
}

#[test]
fn markdown_of_one_site() {
    check(
        GITHUB,
        &[("$5 and $6", "<span>&#36;</span>5 and <span>&#36;</span>6"), ("!45 ~bug %7", "!45 \\~bug %7"), ("[ ] x", "\\[ \\] x")],
    );
    check(
        GITLAB,
        &[
            ("$5 $", "\\$·5 \\$"),
            ("!45", "!·45"),
            ("~bug ~\"x\"", "\\~·bug \\~·\"x\""),
            ("%7 100 %", "%·7 100 %"),
            ("&3", "\\&·3"),
            ("[+x+] {-y-}", "\\[·+x+\\] {·-y-}"),
            ("[TOC] [[_TOC_]]", "\\[·TOC\\] \\[·\\[·\\_TOC\\_\\]\\]"),
            ("*iteration:1", "\\*·iteration:1"),
            ("group/project>", "group/project·\\>"),
            (";;;", "\\;;;"),
        ],
    );
}

#[test]
fn markdown_marks_open_and_close_wherever_they_stand() {
    let strong = |text: &str| Inline::strong(text);
    let text = |text: &str| Inline::text(text);
    for (content, expected) in [
        (vec![strong("Jane D."), text(": hi")], "**Jane D.**: hi"),
        (vec![text("a"), strong("b"), text("c")], "a**b**c"),
        (vec![text("a"), strong("(b)"), text("c")], "a**·(b)·**c"),
        (vec![strong("a"), emphasis("b")], "**a**·*b*"),
        (vec![strong("*")], "**\\***"),
        (vec![strong("\u{a0}")], "**·\u{a0}·**"),
        (vec![text("!"), Inline::link("x", "https://x.example/(a)?b&c")], "\\![x](https://x.example/\\(a\\)?b&c)"),
        (vec![Inline::link("x", "https://x.example/?a=1&copy;=$")], "[x](https://x.example/?a=1&amp;copy;=%24)"),
        (vec![code("a`b @x #1"), text("`")], "``a`b @x #1``\\`"),
        (vec![code("`")], "`` ` ``"),
    ] {
        assert_eq!(written(content, GITHUB), expected);
    }
}

#[test]
fn markdown_blocks() {
    let document = Document::new(vec![
        Block::Heading { level: 3, content: vec![Inline::text("A #")] },
        Block::Code("```\n/close\n  /close\n@x".to_owned()),
        Block::List(List {
            kind: ListKind::Ordered,
            items: vec![Item {
                content: vec![Inline::text("[x] a\n- b")],
                lists: vec![List { kind: ListKind::Bullet, items: vec![Item { content: vec![Inline::text("# c")], lists: vec![] }] }],
            }],
        }),
        Block::Table(Table {
            rows: vec![
                Row { cells: vec![cell(true, "Name|x"), Cell { is_header: false, content: vec![code("a\\|b")] }] },
                Row { cells: vec![cell(true, "B"), cell(false, "a\n| b\\")] },
            ],
        }),
        Block::Table(Table { rows: vec![Row { cells: vec![cell(true, "H")] }, Row { cells: vec![cell(false, "v")] }] }),
    ]);
    let expected = "\
        ### A \\#\n\n\
        ````\n```\n·/close\n  ·/close\n@x\n````\n\n\
        1. \\[x\\] a\\\n   \\- b\n   - \\# c\n\n\
        | | |\n| --- | --- |\n| **Name\\|x** | `a\\·\\|b` |\n| **B** | a<br>\\| b\\\\ |\n\n\
        | H |\n| --- |\n| v |";
    assert_eq!(write(&document, GITHUB).replace(WORD_JOINER, "·"), expected);
}

#[test]
fn jira_wiki() {
    check(
        Format::JiraWiki,
        &[
            ("{code}x{code}", "\\{·code\\}x\\{·code\\}"),
            ("{{x}}", "\\{·\\{·x\\}\\}"),
            ("[x|https://y]", "\\[·x\\|https:·//y\\]"),
            ("[~admin]", "\\[·\\~admin\\]"),
            ("[^file] [#a]", "\\[·\\^file\\] \\[·#a\\]"),
            ("!img.png!", "\\!img.png\\!"),
            ("Hello! there", "Hello! there"),
            ("*a* _b_ -c- +d+ ^e^ ~f~ ??g??", "\\*a\\* \\_b\\_ \\-c\\- \\+d\\+ \\^e\\^ \\~f\\~ \\?\\?g\\?\\?"),
            ("a_b 2024-12-03 c*d", "a_b 2024-12-03 c*d"),
            ("a -- b --- c", "a \\-\\- b \\-\\-\\- c"),
            ("C:\\Users\\\\x\\*", "C:·\\·Users\\·\\·x\\·\\*"),
            (":) :-( ;) :D (!) (x) (*r) (c) (invited)", ":·) :·\\-( ;·) :·D (·\\!) (·x) (·\\*r) (·c) (invited)"),
            ("https://x mailto:a@b tel:1", "https:·//x mailto:·a@·b tel:·1"),
            ("www.x", "www·.x"),
            ("ABC-12", "ABC-·12"),
            ("&lt; &#64; a & b", "&·lt; &·#64; a & b"),
            ("h3. x", "·h3. x"),
            ("bq. x", "·bq. x"),
            ("# x", "\\# x"),
            ("* x", "\\* x"),
            ("- x", "\\- x"),
            ("----", "\\-\\-\\-\\-"),
            ("|a|", "\\|a\\|"),
            ("a\nh3. b", "a\\\\ h3. b"),
            ("(55%) it's @ 5", "(55%) it's @ 5"),
        ],
    );
    let strong = |text: &str| Inline::strong(text);
    let text = |text: &str| Inline::text(text);
    for (content, expected) in [
        (vec![strong("Jane"), text(": x")], "*Jane*: x"),
        (vec![text("a"), strong("b"), text("c")], "a·*b*·c"),
        (vec![strong("a*")], "*a\\**"),
        (vec![code("a}"), text(" b")], "{{a\\}·}} b"),
        (vec![code("@x ABC-1")], "{{@·x ABC-·1}}"),
        (vec![Inline::link("a|b]", "https://x.example/[a]|b")], "[a\\|b\\]|https://x.example/%5Ba%5D%7Cb]"),
        (vec![Inline::link("a", "https://[2001:db8::1]/")], "a (https:·//\\[·2001:db8::1\\]/)"),
    ] {
        assert_eq!(written(content, Format::JiraWiki), expected);
    }
    let document = Document::new(vec![
        Block::Heading { level: 3, content: vec![text("A")] },
        Block::Code("{noformat}\n{code} {1}".to_owned()),
        Block::Table(Table {
            rows: vec![
                Row { cells: vec![cell(true, "Name"), cell(false, "x|y\nz")] },
                Row { cells: vec![cell(true, "B"), cell(false, "")] },
            ],
        }),
        Block::List(List {
            kind: ListKind::Bullet,
            items: vec![Item {
                content: vec![text("a\n* b")],
                lists: vec![List { kind: ListKind::Ordered, items: vec![Item { content: vec![text("c")], lists: vec![] }] }],
            }],
        }),
    ]);
    let expected = "h3. A\n\n{noformat}\n{·noformat}\n{·code} {1}\n{noformat}\n\n||Name|x\\|y\\\\ z|\n||B| |\n\n* a\\\\ \\* b\n*# c";
    assert_eq!(write(&document, Format::JiraWiki).replace(WORD_JOINER, "·"), expected);
}

#[test]
fn html() {
    check(
        Format::Html(Guards::NONE),
        &[
            ("<script>alert(\"x\")</script> & 'y' {{x}}", "<p>&lt;script&gt;alert(&quot;x&quot;)&lt;/script&gt; &amp; 'y' {{x}}</p>"),
            ("&amp;#64;", "<p>&amp;amp;#64;</p>"),
            ("https://x.example", "<p>https://x.example</p>"),
        ],
    );
    check(
        Format::Html(Guards::ALL),
        &[("{{ticket.id}} https://x.example a@b", "<p>{·{ticket.id}} https:·//x.example a@·b</p>"), ("{&#123;x", "<p>{&amp;#123;x</p>")],
    );
    assert_eq!(
        written(vec![Inline::link("https://x.example \"", "https://x.example/?a=1&b=\"")], Format::Html(Guards::ALL)),
        "<p><a href=\"https://x.example/?a=1&amp;b=%22\">https://x.example &quot;</a></p>"
    );
    assert_eq!(written(vec![Inline::link("x", "javascript:alert(1)")], Format::Html(Guards::ALL)), "<p>x</p>");
    assert_eq!(LinkUrl::new("sra://x"), None);
}

#[test]
fn plain_text() {
    check(Format::Text(Guards::NONE), &[("<b> {{x}} *a*\nb", "<b> {{x}} *a*\nb"), ("https://x", "https://x")]);
    check(Format::Text(Guards::ALL), &[("{{x}} https://x", "{·{x}} https:·//x")]);
    for (content, expected) in [
        (vec![Inline::link("View", "https://x.example/")], "View: https://x.example/"),
        (vec![Inline::text("see "), Inline::link("View", "https://x.example/")], "see View (https://x.example/)"),
        (vec![Inline::link("https://x.example/", "https://x.example/")], "https://x.example/"),
        (vec![Inline::link("a@b.example", "mailto:a@b.example")], "a@b.example"),
    ] {
        assert_eq!(written(content, Format::Text(Guards::NONE)), expected);
    }
    // Half an address in one look and half in another is whole again in plain text.
    assert_eq!(written(vec![Inline::strong("https:"), Inline::text("//x")], Format::Text(Guards::ALL)), "https:·//x");
}

#[test]
fn adf_is_valid_where_others_need_escapes() {
    let document = Document::new(vec![
        Block::Paragraph(vec![Inline::text("@x {code} <b>"), Inline::LineBreak, Inline::link("l", "https://x.example")]),
        Block::Table(Table { rows: vec![Row { cells: vec![cell(true, "a"), cell(false, "")] }] }),
    ]);
    let expected = r#"{"content":[{"content":[{"text":"@x {code} <b>","type":"text"},{"type":"hardBreak"},{"marks":[{"attrs":{"href":"https://x.example"},"type":"link"}],"text":"l","type":"text"}],"type":"paragraph"},{"content":[{"content":[{"content":[{"content":[{"text":"a","type":"text"}],"type":"paragraph"}],"type":"tableHeader"},{"content":[{"content":[],"type":"paragraph"}],"type":"tableCell"}],"type":"tableRow"}],"type":"table"}],"type":"doc","version":1}"#;
    let [written, expected] =
        [write(&document, Format::Adf), expected.to_owned()].map(|json| serde_json::from_str::<serde_json::Value>(&json).unwrap());
    assert_eq!(written, expected);
}
