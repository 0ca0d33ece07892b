//! Placeholder expansion in comments, the trap that text from a chat must not fall into (zendesk.md d.3).
//!
//! Pure. Must not know where values come from.

/// Replaces `{{name}}` by what `lookup` finds; unknown names vanish. Left alone: `\{{` (the backslash goes), an
/// opening without an end, and, when `html` is set, everything inside `<code>`.
pub(super) fn expand(text: &str, html: bool, lookup: impl Fn(&str) -> Option<String>) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(['{', '<', '\\']) {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        if let Some(tail) = rest.strip_prefix("\\{{") {
            out.push_str("{{");
            rest = tail;
        } else if html && rest.starts_with("<code>") {
            let end = rest.find("</code>").unwrap_or(rest.len());
            out.push_str(&rest[..end]);
            rest = &rest[end..];
        } else if let Some((name, tail)) = rest.strip_prefix("{{").and_then(|r| r.split_once("}}")) {
            out.push_str(&lookup(name.trim()).unwrap_or_default());
            rest = tail;
        } else {
            // All three characters are one byte long.
            out.push_str(&rest[..1]);
            rest = &rest[1..];
        }
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::expand;

    #[test]
    fn expands_what_the_real_one_expands() {
        let lookup = |name: &str| (name == "ticket.id").then(|| "35436".to_owned());
        for (html, input, expected) in [
            (false, "no. {{ticket.id}}!", "no. 35436!"),
            (false, "no. {{ ticket.id }}!", "no. 35436!"),
            (false, "a {{ticket.unheard_of}} b", "a  b"),
            (false, r"a \{{ticket.id}} b", "a {{ticket.id}} b"),
            (false, "a {{ticket.id b", "a {{ticket.id b"),
            (false, r"C:\temp {one} <tag>", r"C:\temp {one} <tag>"),
            (false, "<code>{{ticket.id}}</code>", "<code>35436</code>"),
            (true, "<p>{{ticket.id}}</p>", "<p>35436</p>"),
            (true, "<code>{{ticket.id}}</code>{{ticket.id}}", "<code>{{ticket.id}}</code>35436"),
        ] {
            assert_eq!(expand(input, html, lookup), expected, "{input}");
        }
    }
}
