//! What templates and administrators write in HTML, and what no HTML can do to the parser.

use deskbridge_documents::{Block, Document, Flavour, Format, Guards, Inline, ListKind, parse, write};

/// Read and written again, which shows the structure.
fn html(input: &str) -> String {
    write(&parse::from_html(input), Format::Html(Guards::NONE)).replace('\n', "")
}

#[test]
fn html_becomes_what_it_looks_like() {
    for (input, expected) in [
        // Entities are decoded once.
        ("<p>&lt;b&gt; &amp;amp; &#64;x &copy;</p>", "<p>&lt;b&gt; &amp;amp; @x ©</p>"),
        ("<p>&amp;lt;script&amp;gt;</p>", "<p>&amp;lt;script&amp;gt;</p>"),
        // White space folds, but not in pre.
        ("<p>  a \n b<b> c </b>d </p>", "<p>a b <strong>c</strong> d</p>"),
        ("<pre>\n  a\tb\n c<br>d</pre>", "<pre>  a\tb cd</pre>"),
        ("a<br>\nb<br><br><br>c<br>", "<p>a<br>b<br><br>c</p>"),
        // Unknown elements keep their text, what is not shown is gone.
        ("<blink>a</blink> <custom-x>b</custom-x>", "<p>a b</p>"),
        (
            "<html><head><title>t</title><style>s</style></head><body>a<script>b</script><!-- c --><template>d</template></body></html>",
            "<p>a</p>",
        ),
        ("<div>a<div>b</div>c</div>", "<p>a</p><p>b</p><p>c</p>"),
        ("<svg><text>a</text></svg><textarea><b></textarea>", "<p>a&lt;b&gt;</p>"),
        // Missing end tags and implied elements.
        ("<ul><li>a<li>b<ul><li>c</ul></ul>", "<ul><li>a</li><li>b<ul><li>c</li></ul></li></ul>"),
        ("<ol><li>a<ol><li>b</ol>c</ol>", "<ol><li>a<br>c<ol><li>b</li></ol></li></ol>"),
        ("<ul><ul><li>a</ul></ul>", "<ul><li>a</li></ul>"),
        ("<li>a</li>", "<ul><li>a</li></ul>"),
        (
            "<table><caption>t</caption><thead><tr><th>a<th>b<tbody><tr><td>c<p>d</p></table>",
            "<p>t</p><table><tr><th>a</th><th>b</th></tr><tr><td>c<br>d</td><td></td></tr></table>",
        ),
        ("<table>x<tr><td>y</table>", "<p>x</p><table><tr><td>y</td></tr></table>"),
        ("<table><tr><td><ul><li>a<li>b</ul><table><tr><td>c<td>d</table></table>", "<table><tr><td>• a<br>• b<br>c | d</td></tr></table>"),
        ("<p>a<p>b<h1>c</h1><h6>d", "<p>a</p><p>b</p><h3>c</h3><h4>d</h4>"),
        ("<h3>a<br>b</h3>", "<h3>a b</h3>"),
        ("<b>a<p>b</b>c</p>", "<p><strong>a</strong></p><p><strong>b</strong>c</p>"),
        ("<li>a<pre>b\nc</pre>", "<ul><li>a<br><code>b</code><br><code>c</code></li></ul>"),
        // Links.
        ("<a href='https://x.example/?a=1&amp;b'><i>a</i> b</a>", "<p><a href=\"https://x.example/?a=1&amp;b\"><em>a</em> b</a></p>"),
        ("<a href=' javascript:x'>a</a><a href>b</a><a>c</a><a href=/x>d</a>", "<p>a (javascript:x)bcd (/x)</p>"),
        ("<img src=x onerror=y alt=z><input value=v><hr>", ""),
        ("\0a\u{18}\u{feff}", "<p>a␘</p>"),
        ("", ""),
    ] {
        assert_eq!(html(input), expected, "{input}");
    }
}

#[test]
fn what_is_read_is_text_not_markup() {
    let document = parse::from_html("<p>{{x}} &lt;li&gt; *a*</p><ol><li>b</ol>");
    let [Block::Paragraph(content), Block::List(list)] = document.blocks() else { panic!("{document:?}") };
    assert_eq!(content[..], [Inline::text("{{x}} <li> *a*")]);
    assert_eq!(list.kind, ListKind::Ordered);
}

#[test]
fn hostile_nesting_overflows_nothing() {
    let many = 20_000;
    for (open, text) in [
        ("<div>", "x"),
        ("<b>", "x"),
        ("<p><b><i><u><s><em><strong><font>", "x"),
        ("<b a=1><b a=2><b a=3>", "<p>x"),
        ("<ul><li>", "x"),
        ("<ol>", "x"),
        ("<table><tr><td>", "x"),
        ("<table>", "x"),
        ("<a href=https://x.example/>", "x"),
        ("<a href=https://x.example/><p>", "x"),
        ("<h3><pre>", "x"),
        ("<select><option>", "x"),
        ("<svg><g>", "x"),
        ("<template>", "x"),
        ("<form><button>", "x"),
        ("</p>", "x"),
        ("</div></b>", "x"),
        ("<p>x", "x"),
        ("<script>", "x"),
        ("&amp;&#123;", "x"),
        ("<!--", "x"),
        // What an end tag seems to close and does not.
        ("<b><div></b>", "x"),
        ("<div><table><tr><td></div>", "x"),
        ("<li><ul></li>", "x"),
    ] {
        let document = parse::from_html(&(open.repeat(many) + text));
        for format in
            [Format::Html(Guards::ALL), Format::Text(Guards::ALL), Format::Markdown(Flavour::GitLab), Format::JiraWiki, Format::Adf]
        {
            write(&document, format);
        }
    }
}

/// What was nested too deep does not spoil what comes after it.
#[test]
fn depth_is_regained_where_elements_end() {
    let deep = format!("{}x{}<h3>T</h3><table><tr><td>a<td>b</table>", "<div>".repeat(150), "</div>".repeat(150));
    assert_eq!(html(&deep), "<p>x</p><h3>T</h3><table><tr><td>a</td><td>b</td></tr></table>");
    // Without end tags, each is still a line of its own.
    let lines = html(&"<div>é".repeat(150));
    assert_eq!(lines.matches("<p>é").count() + lines.matches("<br>é").count(), 150, "{lines}");
    // Elements that need no end tags are not taken for nested ones.
    assert_eq!(html(&"<li>é<p>à".repeat(150)).matches("<li>é").count(), 150);
}

#[test]
fn too_much_html_ends_in_an_ellipsis() {
    let last = |document: &Document| document.blocks().last().cloned();
    let ellipsis = Some(Block::Paragraph(vec![Inline::text("…")]));
    assert_eq!(last(&parse::from_html(&"<p>é".repeat(parse::MAX_NODES))), ellipsis);
    assert_eq!(last(&parse::from_html(&format!("<pre>{}", "é".repeat(parse::MAX_HTML_BYTES)))), ellipsis);
    assert_ne!(last(&parse::from_html(&"<p>é".repeat(1000))), ellipsis);
}
