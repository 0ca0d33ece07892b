//! What an incident gives a new ticket besides its text: custom fields and labels, fixed or taken from the incident, as the ticket plugins
//! of Argus have them (argus-tickets.md 1.1). What cannot be had or set is named on the ticket.

use std::collections::BTreeMap;

use deskbridge_core::incident::{Attribute, Incident};
use deskbridge_core::text::shown;
use deskbridge_documents::{Block, Document, Inline, Item, List, ListKind, NoteForm, write_with};
use serde_json::Value;

use crate::NewTicket;

/// Longest name or reason told on the ticket, in characters.
const MAX_TOLD: usize = 200;

/// Values for a ticket, and what there is none for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Given<T> {
    /// In the order of the settings, each once.
    pub values: Vec<T>,
    /// What the incident lacks, for people: `Host (tag host)`.
    pub missing: Vec<String>,
}

/// `custom_fields_set` and `custom_fields_mapping`: a field of both has the mapped value. Without an incident only the fixed ones count.
pub fn custom_fields(
    set: &BTreeMap<String, Value>,
    mapping: &BTreeMap<String, Attribute>,
    incident: Option<&Incident>,
) -> Given<(String, Value)> {
    let mut values: BTreeMap<&String, Value> = set.iter().map(|(name, value)| (name, value.clone())).collect();
    let mut missing = Vec::new();
    for (name, attribute) in incident.iter().flat_map(|_| mapping) {
        match incident.and_then(|incident| incident.attribute(attribute)) {
            Some(value) => drop(values.insert(name, value)),
            None => missing.push(format!("{} ({})", shown(name, MAX_TOLD), shown(&attribute.to_string(), MAX_TOLD))),
        }
    }
    Given { values: values.into_iter().map(|(name, value)| (name.clone(), value)).collect(), missing }
}

/// `labels_set` and `labels_mapping`, as texts. Without an incident only the fixed ones count.
pub fn labels(set: &[String], mapping: &[Attribute], incident: Option<&Incident>) -> Given<String> {
    let mut given = Given { values: Vec::new(), missing: Vec::new() };
    let add = |values: &mut Vec<String>, label: &str| {
        let label = shown(label.trim(), MAX_TOLD);
        if !label.is_empty() && !values.contains(&label) {
            values.push(label);
        }
    };
    for label in set {
        add(&mut given.values, label);
    }
    for attribute in incident.iter().flat_map(|_| mapping) {
        match incident.and_then(|incident| incident.attribute(attribute)).map(|value| as_text(&value)) {
            Some(label) => add(&mut given.values, &label),
            None => given.missing.push(shown(&attribute.to_string(), MAX_TOLD)),
        }
    }
    given
}

/// A value as people and labels have it: a text without quotation marks.
pub fn as_text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// The text of a new ticket, in the system's form: its document, else its description. `left_out`: what could not be set, each with the
/// reason. It stands under the text, and like `last_line` (empty: none) it is never shortened away. None where not even that fits.
pub fn text(new: &NewTicket, description: &str, form: NoteForm, left_out: &[String], last_line: &str) -> Option<String> {
    let plain = || Document::new(vec![Block::Paragraph(vec![Inline::text(description)])]);
    let document = new.document.clone().unwrap_or_else(plain);
    let whole = |mut document: Document| {
        if !left_out.is_empty() {
            document.push(Block::Heading { level: 2, content: vec![Inline::text("Not set on this ticket")] });
            let item = |what: &String| Item { content: vec![Inline::text(shown(what, MAX_TOLD))], lists: Vec::new() };
            document.push(Block::List(List { kind: ListKind::Bullet, items: left_out.iter().map(item).collect() }));
        }
        write_with(document, form.format, last_line)
    };
    let all = whole(document.clone());
    if form.limit.takes(&all) {
        return Some(all);
    }
    // A long description, or one long tag, must not cost the facts below it.
    let longest = document.longest_block();
    let shortened = longest.and_then(|(index, characters)| {
        form.limit.longest(characters, |characters| whole(document.with_block_shortened(index, characters)))
    });
    shortened.or_else(|| form.limit.longest(document.characters(), |characters| whole(document.shortened(characters))))
}

/// One line of at most `limit` characters, cut at a word where that leaves at least half of it, and then with `…`.
pub fn title(text: &str, limit: usize) -> String {
    title_by(text, limit, |_| 1)
}

/// The same, where the system counts UTF-16 units.
pub fn title_utf16(text: &str, limit: usize) -> String {
    title_by(text, limit, char::len_utf16)
}

fn title_by(text: &str, limit: usize, length: fn(char) -> usize) -> String {
    let words: Vec<&str> =
        text.split(|character: char| character.is_whitespace() || character.is_control()).filter(|word| !word.is_empty()).collect();
    let line = words.join(" ");
    if line.chars().map(length).sum::<usize>() <= limit {
        return line;
    }
    let (mut kept, mut used) = (String::new(), 1);
    for character in line.chars() {
        used += length(character);
        if used > limit {
            break;
        }
        kept.push(character);
    }
    let is_whole_word = line[kept.len()..].starts_with(' ');
    if !is_whole_word
        && let Some((words, _)) = kept.rsplit_once(' ')
        && words.len() * 2 >= kept.len()
    {
        kept.truncate(words.len());
    }
    format!("{}…", kept.trim_end())
}

#[cfg(test)]
mod tests {
    use deskbridge_documents::{Flavour, Format, Guards, Limit, Measure};
    use serde_json::json;

    use super::*;

    fn incident() -> Incident {
        Incident::read(json!({ "source": "nav", "id": "7", "title": "Link down", "level": 2, "tags": { "host": "core-1", "empty": " " } }))
            .unwrap()
    }

    fn tag(key: &str) -> Attribute {
        Attribute::Tag { tag: key.into() }
    }

    #[test]
    fn custom_fields_are_fixed_or_mapped() {
        let set = BTreeMap::from([("Severity".to_owned(), json!("High")), ("Host".to_owned(), json!("none"))]);
        let mapping = BTreeMap::from([
            ("Host".to_owned(), tag("host")),
            ("Level".to_owned(), Attribute::Named("level".into())),
            ("Place".to_owned(), tag("place")),
            ("Empty".to_owned(), tag("empty")),
        ]);
        let given = custom_fields(&set, &mapping, Some(&incident()));
        let value = |name: &str, value: Value| (name.to_owned(), value);
        assert_eq!(given.values, [value("Host", json!("core-1")), value("Level", json!(2)), value("Severity", json!("High"))]);
        assert_eq!(given.missing, ["Empty (tag empty)", "Place (tag place)"]);
        let given = custom_fields(&set, &mapping, None);
        assert_eq!((given.values.len(), given.missing.len()), (2, 0));
    }

    #[test]
    fn labels_are_texts_each_once() {
        let mapping = [Attribute::Named("level".into()), tag("host"), tag("place")];
        let given = labels(&["bug".into(), "core-1".into()], &mapping, Some(&incident()));
        assert_eq!(given.values, ["bug", "core-1", "2"]);
        assert_eq!(given.missing, ["tag place"]);
    }

    #[test]
    fn what_is_left_out_stands_even_under_a_text_that_is_too_long() {
        let new = NewTicket::default();
        let limit = Limit { measure: Measure::CodePoints, most: 300 };
        let form = NoteForm { format: Format::Markdown(Flavour::GitHub), limit };
        let written = text(&new, &"word ".repeat(200), form, &["Host (tag host)".to_owned()], "mark").unwrap();
        assert!(
            limit.takes(&written) && written.contains("Host (tag host)") && written.contains("mark") && written.contains('…'),
            "{written}"
        );
        assert!(text(&new, "short", form, &[], "").unwrap().contains("short"));
        assert_eq!(text(&new, "short", NoteForm { limit: Limit { most: 3, ..limit }, ..form }, &["x".to_owned()], ""), None);
    }

    #[test]
    fn a_long_description_costs_no_fact_below_it() {
        let paragraph = |text: &str| Block::Paragraph(vec![Inline::text(text)]);
        let document = Document::new(vec![paragraph(&"word ".repeat(20_000)), paragraph("Level: High (2)")]);
        let new = NewTicket { document: Some(document), ..NewTicket::default() };
        let limit = Limit { measure: Measure::CodePoints, most: 8_000 };
        for format in [Format::Markdown(Flavour::GitHub), Format::Html(Guards::ALL), Format::Text(Guards::ALL), Format::JiraWiki] {
            let written = text(&new, "", NoteForm { format, limit }, &[], "").unwrap();
            assert!(limit.takes(&written) && written.contains("Level") && written.chars().count() > 7_000, "{written:.60}");
        }
        let tiny = NoteForm { format: Format::Text(Guards::NONE), limit: Limit { measure: Measure::CodePoints, most: 10 } };
        assert!(text(&new, "", tiny, &[], "").unwrap().contains('…'), "then the beginning");
    }

    #[test]
    fn a_title_is_cut_at_a_word() {
        for (text, limit, expected) in [
            ("Link  down\r\n core-1", 30, "Link down core-1"),
            ("Link down core-1", 16, "Link down core-1"),
            ("Link down core-1", 15, "Link down…"),
            ("Link down core-1", 10, "Link down…"),
            ("Abcdefghijklmnop", 6, "Abcde…"),
            ("A bcdefghijklmnop", 8, "A bcdef…"),
        ] {
            let cut = title(text, limit);
            assert_eq!(cut, expected);
            assert!(cut.chars().count() <= limit);
        }
        let cut = title_utf16(&"😀".repeat(10), 7);
        assert_eq!(cut, "😀😀😀…");
    }
}
