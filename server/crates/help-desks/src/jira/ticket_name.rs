//! What can name a ticket: its key, or its page's address.

/// Longest key of a project: Jira's own limit, which administrators can raise to this (Data Center: `jira.projectkey.maxlength`).
const MAX_PROJECT: usize = 255;

/// Whether the text can be a project's key, or its id.
pub(super) fn is_project(text: &str) -> bool {
    is_number(text) || is_project_key(text)
}

fn is_project_key(text: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    text.len() <= MAX_PROJECT && text.starts_with(|first: char| first.is_ascii_alphabetic()) && text.bytes().all(is_part)
}

/// A number as Jira writes it.
pub(super) fn is_number(text: &str) -> bool {
    (1..=18).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit()) && !text.starts_with('0')
}

/// Whether it is a key as Jira writes it.
pub(super) fn is_key(text: &str) -> bool {
    text.split_once('-').is_some_and(|(project, number)| is_project_key(project) && is_number(number)) && text.to_ascii_uppercase() == text
}

/// The key that `text` names, as Jira writes it: a key, or the address of its page below `site` (with a slash at the end). Where `project` is
/// a key, only keys of that project.
pub(super) fn key(text: &str, site: &str, project: &str) -> Option<String> {
    let named = match text.strip_prefix(site).and_then(|path| path.strip_prefix("browse/")) {
        Some(key) => key.strip_suffix('/').unwrap_or(key),
        None => text,
    };
    let (of, number) = named.split_once('-')?;
    let is_of_project = is_number(project) || of.eq_ignore_ascii_case(project);
    (is_project_key(of) && is_number(number) && is_of_project).then(|| named.to_ascii_uppercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_or_its_page_names_a_ticket() {
        let site = "https://jira.example.com/base/";
        for (text, expected) in [
            ("NET-7", Some("NET-7")),
            ("net-7", Some("NET-7")),
            ("https://jira.example.com/base/browse/NET-7", Some("NET-7")),
            ("https://jira.example.com/base/browse/NET-7/", Some("NET-7")),
            ("https://jira.example.com/base/browse/NET-7?focusedId=1", None),
            ("https://jira.example.com/base/browse/NET-7#x", None),
            ("https://jira.example.com/base/browse/NET-7//", None),
            ("https://jira.example.com/browse/NET-7", None),
            ("https://other.example.com/base/browse/NET-7", None),
            ("http://jira.example.com/base/browse/NET-7", None),
            ("OPS-7", None),
            ("NET-07", None),
            ("NET-", None),
            ("NET-7 and more", None),
            ("NET-7/../OPS-1", None),
            ("7", None),
            ("", None),
        ] {
            assert_eq!(key(text, site, "NET").as_deref(), expected, "{text}");
        }
        assert_eq!(key("OPS-7", site, "10000").as_deref(), Some("OPS-7"), "the project's key is not known");
        for (text, expected) in [("OPS-7", true), ("ops-7", false), ("OPS-7/x", false), ("../OPS-7", false), ("OPS", false)] {
            assert_eq!(is_key(text), expected, "{text}");
        }
    }
}
