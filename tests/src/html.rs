//! What a ticket system makes of the HTML it is given: an allow-list of elements and attributes, and the plain text of it.
//!
//! Comments do not survive, so nobody can hide a marker in them. Which elements survive is each system's own.
//! Must not be taken for a general HTML parser.

const VOID: &[&str] = &["br", "hr", "img"];
/// These go with everything inside them.
const REMOVED: &[&str] = &["iframe", "math", "noscript", "object", "script", "style", "svg", "template", "textarea", "title"];
const BLOCKS: &[&str] =
    &["blockquote", "br", "div", "dl", "dt", "h1", "h2", "h3", "h4", "h5", "h6", "hr", "li", "ol", "p", "pre", "table", "tr", "ul"];

/// A piece of HTML as the loop below sees it.
enum Piece<'a> {
    Text(&'a str),
    Open {
        name: String,
        attributes: Vec<(String, String)>,
    },
    Close(String),
    /// Comments, doctypes, processing instructions.
    Nothing,
}

/// What survives.
pub(crate) struct Rules {
    /// Elements, by name.
    pub(crate) elements: &'static [&'static str],
    /// Elements whose closing tag ends the text where none of them is open: what the system wraps the text in, closed too early.
    pub(crate) ends: &'static [&'static str],
    /// What becomes of an attribute's value, by element, attribute and value; `None` removes the attribute.
    pub(crate) attribute: fn(&str, &str, &str) -> Option<String>,
}

/// Well-formed HTML with only the kept elements and attributes; entities are decoded and encoded anew, so `&#123;` is `{`.
pub(crate) fn clean(html: &str, rules: &Rules) -> String {
    let mut out = String::with_capacity(html.len());
    let mut open: Vec<String> = Vec::new();
    let mut rest = html;
    while let Some((piece, tail)) = next_piece(rest) {
        rest = tail;
        match piece {
            Piece::Text(text) => out.push_str(&escape_text(&decode_entities(text))),
            Piece::Open { name, .. } if REMOVED.contains(&name.as_str()) => {
                rest = after_element(rest, &name);
            }
            Piece::Open { name, attributes } if rules.elements.contains(&name.as_str()) => {
                out.push('<');
                out.push_str(&name);
                for (attribute, value) in attributes {
                    if let Some(value) = (rules.attribute)(&name, &attribute, &value) {
                        out.push(' ');
                        out.push_str(&attribute);
                        out.push_str("=\"");
                        out.push_str(&escape_text(&value).replace('"', "&quot;"));
                        out.push('"');
                    }
                }
                out.push('>');
                if !VOID.contains(&name.as_str()) {
                    open.push(name);
                }
            }
            Piece::Open { .. } | Piece::Nothing => {}
            Piece::Close(name) if rules.ends.contains(&name.as_str()) && !open.contains(&name) => break,
            Piece::Close(name) => {
                if let Some(at) = open.iter().rposition(|other| *other == name) {
                    for inner in open.drain(at..).rev() {
                        close(&mut out, &inner);
                    }
                }
            }
        }
    }
    for inner in open.iter().rev() {
        close(&mut out, inner);
    }
    out
}

/// The text of already cleaned HTML: a line per block, cells apart, at most one empty line in a row.
pub(crate) fn text(html: &str) -> String {
    let mut raw = String::with_capacity(html.len());
    let mut rest = html;
    while let Some((piece, tail)) = next_piece(rest) {
        rest = tail;
        match piece {
            Piece::Text(text) => raw.push_str(&decode_entities(text)),
            Piece::Open { name, .. } | Piece::Close(name) if BLOCKS.contains(&name.as_str()) => {
                raw.push('\n');
            }
            Piece::Close(name) if name == "td" || name == "th" || name == "dd" => raw.push(' '),
            Piece::Open { .. } | Piece::Close(_) | Piece::Nothing => {}
        }
    }
    let mut out = String::with_capacity(raw.len());
    for line in raw.lines().map(str::trim).filter(|line| !line.is_empty()) {
        if !out.is_empty() {
            out.push('\n');
        }
        out.push_str(line);
    }
    out
}

/// The text with each first of a pair replaced by the second wherever it stands; what was put in is not looked at again.
pub(crate) fn replaced(text: &str, pairs: &[(&str, &str)]) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        if let Some((from, to)) = pairs.iter().find(|(from, _)| rest.starts_with(from)) {
            out.push_str(to);
            rest = &rest[from.len()..];
        } else {
            out.push(first);
            rest = &rest[first.len_utf8()..];
        }
    }
    out
}

/// Text as HTML: escaped, with its line ends.
pub(crate) fn from_text(text: &str) -> String {
    let paragraphs: Vec<String> =
        text.split("\n\n").map(|paragraph| format!("<p>{}</p>", escape_text(paragraph.trim()).replace('\n', "<br>"))).collect();
    paragraphs.concat()
}

/// Safe in HTML text; not in attributes.
pub(crate) fn escape_text(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

fn close(out: &mut String, name: &str) {
    out.push_str("</");
    out.push_str(name);
    out.push('>');
}

fn after_element<'a>(rest: &'a str, name: &str) -> &'a str {
    let closing = format!("</{name}");
    match rest.to_ascii_lowercase().find(&closing) {
        Some(at) => rest[at..].split_once('>').map_or("", |(_, outside)| outside),
        None => "",
    }
}

fn next_piece(rest: &str) -> Option<(Piece<'_>, &str)> {
    if rest.is_empty() {
        return None;
    }
    if let Some(comment) = rest.strip_prefix("<!--") {
        return Some((Piece::Nothing, comment.split_once("-->").map_or("", |(_, tail)| tail)));
    }
    if let Some(tail) =
        rest.strip_prefix("<!").or_else(|| rest.strip_prefix("<?")).map(|other| other.split_once('>').map_or("", |(_, tail)| tail))
    {
        return Some((Piece::Nothing, tail));
    }
    if let Some(tag) = rest.strip_prefix("</")
        && tag.starts_with(|c: char| c.is_ascii_alphabetic())
    {
        let (inside, tail) = tag.split_once('>').unwrap_or((tag, ""));
        let name = inside.split(|c: char| !c.is_ascii_alphanumeric()).next();
        return Some((Piece::Close(name.unwrap_or_default().to_ascii_lowercase()), tail));
    }
    if let Some(tag) = rest.strip_prefix('<')
        && tag.starts_with(|c: char| c.is_ascii_alphabetic())
    {
        return Some(opening(tag));
    }
    // A `<` that opens nothing is text.
    let end = rest.char_indices().skip(1).find(|(_, c)| *c == '<').map_or(rest.len(), |(at, _)| at);
    Some((Piece::Text(&rest[..end]), &rest[end..]))
}

fn opening(tag: &str) -> (Piece<'_>, &str) {
    let name_end = tag.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(tag.len());
    let name = tag[..name_end].to_ascii_lowercase();
    let mut rest = &tag[name_end..];
    let mut attributes = Vec::new();
    loop {
        rest = rest.trim_start_matches(|c: char| c.is_ascii_whitespace() || c == '/');
        if let Some(tail) = rest.strip_prefix('>') {
            return (Piece::Open { name, attributes }, tail);
        }
        let end = rest
            .char_indices()
            .skip(1)
            .find(|(_, c)| c.is_ascii_whitespace() || matches!(c, '=' | '>' | '/'))
            .map_or(rest.len(), |(at, _)| at);
        if end == 0 {
            return (Piece::Open { name, attributes }, "");
        }
        let attribute = rest[..end].to_ascii_lowercase();
        rest = rest[end..].trim_start();
        let mut value = "";
        if let Some(given) = rest.strip_prefix('=') {
            let given = given.trim_start();
            (value, rest) = match given.chars().next() {
                Some(quote @ ('"' | '\'')) => given[1..].split_once(quote).unwrap_or((given, "")),
                _ => given.split_at(given.find(|c: char| c.is_ascii_whitespace() || c == '>').unwrap_or(given.len())),
            };
        }
        attributes.push((attribute, decode_entities(value)));
    }
}

fn decode_entities(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('&') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let decoded = rest.char_indices().take(12).find(|(_, c)| *c == ';').and_then(|(end, _)| entity(&rest[1..end]).map(|c| (c, end)));
        if let Some((character, end)) = decoded {
            out.push(character);
            rest = &rest[end + 1..];
        } else {
            out.push('&');
            rest = &rest[1..];
        }
    }
    out.push_str(rest);
    out
}

fn entity(name: &str) -> Option<char> {
    if let Some(number) = name.strip_prefix('#') {
        let code = match number.strip_prefix(['x', 'X']) {
            Some(hex) => u32::from_str_radix(hex, 16).ok()?,
            None => number.parse().ok()?,
        };
        return char::from_u32(code);
    }
    Some(match name {
        "amp" => '&',
        "lt" => '<',
        "gt" => '>',
        "quot" => '"',
        "apos" => '\'',
        "nbsp" => '\u{a0}',
        "lbrace" | "lcub" => '{',
        "rbrace" | "rcub" => '}',
        _ => return None,
    })
}
