//! A new issue as GitHub takes it (argus-tickets.md 2.3).
//!
//! GitHub makes labels that it does not know, and leaves out labels, assignees, milestone and type in silence where the token's user may
//! not set them. So only labels that exist are sent, and what does not stand afterwards is named in the issue's text.

use deskbridge_core::text::shown;
use deskbridge_documents::{Block, Document, Flavour, Format, Inline, Limit, Measure, NoteForm};
use serde_json::{Map, Value, json};

use super::labels::Labels;
use super::section::GitHubSection;
use crate::incident_values::{self, Given};
use crate::{HelpDeskError, NewTicket, customer};

/// Markdown of at most 65,536 characters. Whether GitHub counts code points or UTF-16 units is not told; this holds for both.
pub(super) const FORM: NoteForm =
    NoteForm { format: Format::Markdown(Flavour::GitHub), limit: Limit { measure: Measure::Utf16, most: 65_536 } };
/// Longest title; the same holds for it.
const MAX_TITLE: usize = 256;
/// Where there is no title at all, which GitHub refuses.
const NO_TITLE: &str = "Ticket of Deskbridge";
/// What the defaults may set, besides the plain names, as GitHub calls it.
const FIELDS: [&str; 4] = ["labels", "assignees", "milestone", "type"];
/// Names every ticket system understands.
const PLAIN: [&str; 5] = ["title", "subject", "description", "name", "email"];
/// Longest value that is told in the issue's text instead of being set.
const MAX_TOLD: usize = 100;
/// Most people or labels in one list of a key.
const MAX_LIST: usize = 10;

fn field(name: &str) -> Option<&'static str> {
    PLAIN.iter().chain(&FIELDS).find(|known| known.eq_ignore_ascii_case(name)).copied()
}

/// Whether a new issue can have a field of that name.
pub(super) fn is_field(name: &str) -> bool {
    field(name).is_some()
}

/// The names of all of them, for people.
pub(super) fn field_names() -> String {
    [&PLAIN[..], &FIELDS[..]].concat().join(", ")
}

/// `ticket_default_data`; the error says what is expected.
pub(super) fn read_defaults(text: &str) -> Result<Map<String, Value>, String> {
    let fields: Map<String, Value> =
        serde_json::from_str(text).map_err(|_| "a JSON object like {\"assignees\": [\"anna\"], \"milestone\": 3}".to_owned())?;
    let fields = named(fields).map_err(|unknown| format!("names of {} (“{}” is none)", field_names(), shown(&unknown, 60)))?;
    match fields.iter().find(|(name, value)| !is_possible(name, value)) {
        Some((name, _)) => Err(format!("{name} as {}", shape(name))),
        None => Ok(fields),
    }
}

/// The same with GitHub's own names; the error is a name that is none.
fn named(fields: Map<String, Value>) -> Result<Map<String, Value>, String> {
    let named = fields.into_iter().filter(|(_, value)| !value.is_null());
    named.map(|(name, value)| field(&name).map(|known| (known.to_owned(), value)).ok_or(name)).collect()
}

fn shape(name: &str) -> &'static str {
    match name {
        "labels" | "assignees" => "a list of at most 10 names",
        "milestone" => "the milestone's number",
        _ => "a text",
    }
}

/// Whether a field can have that value.
fn is_possible(name: &str, value: &Value) -> bool {
    match name {
        "labels" | "assignees" => value.as_array().is_some_and(|list| {
            list.len() <= MAX_LIST
                && list.iter().all(|one| one.as_str().is_some_and(|text| !text.trim().is_empty() && text.len() <= MAX_TOLD))
        }),
        "milestone" => value.as_u64().is_some_and(|number| number > 0),
        _ => value.is_string(),
    }
}

fn names(value: Option<&Value>) -> Vec<String> {
    value.and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).map(|name| name.trim().to_owned()).collect()
}

/// A new issue, before it is known which of its labels exist.
pub(super) struct Draft {
    title: String,
    /// Its text, as [`incident_values::text`] takes it.
    new: NewTicket,
    labels: Given<String>,
    assignees: Vec<String>,
    milestone: Option<u64>,
    kind: Option<String>,
}

/// What is sent for a draft.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    /// The request's body.
    pub(super) body: Value,
    /// What the text says is not set.
    left_out: Vec<String>,
}

impl Draft {
    /// The session's own fields over the configured ones; what a key may not set stands in the text. An incident's ticket has the incident's
    /// title and text.
    pub(super) fn new(new: &NewTicket, section: &GitHubSection) -> Result<Self, HelpDeskError> {
        let wrong = HelpDeskError::Refused;
        let defaults = section.ticket_default_data.as_deref().map(read_defaults).transpose();
        let mut fields = defaults.map_err(|expected| wrong(format!("ticket_default_data: expected {expected}")))?.unwrap_or_default();
        if new.incident.is_some() {
            fields.retain(|name, _| FIELDS.contains(&name.as_str()));
        }
        let key = named(new.fields.clone()).map_err(|unknown| {
            wrong(format!(
                "“{}” is no field of a new issue on GitHub; the external key and ticket_default_data may have {}",
                shown(&unknown, 60),
                field_names()
            ))
        })?;
        let may_set = |name: &str| section.external_key_may_set.iter().any(|named| named.eq_ignore_ascii_case(name));
        let mut told: Vec<String> = Vec::new();
        let mut has_own_text = false;
        for (name, value) in key {
            match name.as_str() {
                "title" | "subject" | "description" | "name" | "email" => {
                    has_own_text |= name == "description";
                    fields.insert(name, value);
                }
                _ if may_set(&name) && !new.key_in_text && is_possible(&name, &value) => drop(fields.insert(name, value)),
                _ => told.push(format!("{name}: {}", shown(&value.to_string(), MAX_TOLD))),
            }
        }
        let mut take = |name: &str| match fields.remove(name) {
            Some(Value::String(text)) if !text.trim().is_empty() => Some(text),
            _ => None,
        };
        let (subject, title) = (take("subject"), take("title"));
        let title = incident_values::title_utf16(&subject.or(title).unwrap_or_else(|| new.title.clone()), MAX_TITLE);
        let title = if title.is_empty() { NO_TITLE.to_owned() } else { title };
        let description = take("description");
        // GitHub knows no requester but the user of the token.
        let customer =
            customer(take("name").map(|text| shown(text.trim(), MAX_TOLD)), take("email").map(|text| shown(text.trim(), MAX_TOLD)));
        let paragraph = |text: String| Block::Paragraph(vec![Inline::text(text)]);
        let mut document = match &new.document {
            Some(document) if !has_own_text => document.clone(),
            _ => Document::new(vec![paragraph(description.unwrap_or_else(|| new.description.clone()))]),
        };
        if let Some(customer) = customer {
            document.push(paragraph(format!("Customer: {customer}")));
        }
        if !told.is_empty() {
            document.push(paragraph(format!("Asked for by the session's external key, which does not set it: {}", told.join("; "))));
        }
        let mut wanted = section.labels_set.clone();
        wanted.extend(names(fields.get("labels")));
        Ok(Self {
            title,
            labels: incident_values::labels(&wanted, &section.labels_mapping, new.incident.as_deref()),
            assignees: names(fields.get("assignees")),
            milestone: fields.get("milestone").and_then(Value::as_u64),
            kind: fields.get("type").and_then(Value::as_str).map(|kind| kind.trim().to_owned()),
            new: NewTicket { document: Some(document), ..NewTicket::default() },
        })
    }

    /// The names of the labels it asks for.
    pub(super) fn wanted_labels(&self) -> &[String] {
        &self.labels.values
    }

    /// The request with what can be set.
    pub(super) fn asked(&self, labels: &Labels, marker: &str) -> Result<Asked, HelpDeskError> {
        let mut left_out: Vec<String> = self.labels.missing.iter().map(|missing| format!("Label: the incident has no {missing}")).collect();
        let mut set: Vec<&str> = Vec::new();
        for wanted in &self.labels.values {
            match labels.known(wanted) {
                Ok(name) if set.contains(&name) => {}
                Ok(name) => set.push(name),
                Err(reason) => left_out.push(format!("Label {wanted}: {reason}")),
            }
        }
        let mut body = json!({ "title": self.title });
        if !set.is_empty() {
            body["labels"] = json!(set);
        }
        if !self.assignees.is_empty() {
            body["assignees"] = json!(self.assignees);
        }
        if let Some(milestone) = self.milestone {
            body["milestone"] = json!(milestone);
        }
        if let Some(kind) = &self.kind {
            body["type"] = json!(kind);
        }
        self.with_text(body, left_out, marker)
    }

    /// The same with nothing but title and text, once GitHub has said no to the rest.
    pub(super) fn reduced(&self, asked: &Asked, said: &str, marker: &str) -> Result<Option<Asked>, HelpDeskError> {
        let dropped = asked.settings().map(|name| format!("{name}: {said}"));
        let mut left_out = asked.left_out.clone();
        left_out.extend(dropped);
        if left_out.len() == asked.left_out.len() {
            return Ok(None);
        }
        self.with_text(json!({ "title": self.title }), left_out, marker).map(Some)
    }

    /// The text that names what GitHub left out in silence, too; `None`: nothing was.
    pub(super) fn text_after(&self, asked: &Asked, made: &Value, marker: &str) -> Result<Option<String>, HelpDeskError> {
        let dropped = asked.dropped(made);
        if dropped.is_empty() {
            return Ok(None);
        }
        let mut left_out = asked.left_out.clone();
        left_out.extend(dropped.into_iter().map(|name| format!("{name}: {NOT_TAKEN}")));
        let whole = self.with_text(json!({}), left_out, marker)?;
        Ok(whole.body["body"].as_str().map(str::to_owned))
    }

    fn with_text(&self, mut body: Value, left_out: Vec<String>, marker: &str) -> Result<Asked, HelpDeskError> {
        let text = incident_values::text(&self.new, "", FORM, &left_out, marker);
        body["body"] = text.ok_or_else(|| HelpDeskError::Refused("what cannot be set is too much to be told on an issue".into()))?.into();
        Ok(Asked { body, left_out })
    }
}

/// Why something does not stand though GitHub took the issue.
pub(super) const NOT_TAKEN: &str = "GitHub did not take it; the token's user needs push access to the repository";

impl Asked {
    /// What it sets besides title and text, for people.
    fn settings(&self) -> impl Iterator<Item = String> {
        let list = |name: &str| names(self.body.get(name));
        let labels = list("labels").into_iter().map(|label| format!("Label {label}"));
        let assignees = list("assignees").into_iter().map(|name| format!("Assignee {name}"));
        let milestone = self.body["milestone"].as_u64().map(|number| format!("Milestone {number}"));
        let kind = self.body["type"].as_str().map(|kind| format!("Type {kind}"));
        labels.chain(assignees).chain(milestone).chain(kind)
    }

    /// What of that does not stand on the issue that GitHub made.
    fn dropped(&self, made: &Value) -> Vec<String> {
        let has = |list: &str, member: &str, wanted: &str| {
            made[list].as_array().into_iter().flatten().any(|one| {
                let name = one[member].as_str().or_else(|| one.as_str());
                name.is_some_and(|name| name.to_lowercase() == wanted.to_lowercase())
            })
        };
        let stands = |setting: &str| match setting.split_once(' ') {
            Some(("Label", name)) => has("labels", "name", name),
            Some(("Assignee", name)) => has("assignees", "login", name),
            Some(("Milestone", number)) => made["milestone"]["number"].as_u64().is_some_and(|found| found.to_string() == number),
            // Older Enterprise Servers do not tell an issue's type.
            Some(("Type", name)) => {
                made.get("type").is_none() || made["type"]["name"].as_str().is_some_and(|found| found.eq_ignore_ascii_case(name))
            }
            _ => true,
        };
        self.settings().filter(|setting| !stands(setting)).collect()
    }

    /// Whether it asks for labels and the issue that GitHub made has none of them.
    pub(super) fn lost_its_labels(&self, made: &Value) -> bool {
        let (dropped, asked) = (self.dropped(made), names(self.body.get("labels")).len());
        asked > 0 && dropped.iter().filter(|name| name.starts_with("Label ")).count() == asked
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use deskbridge_core::incident::Incident;

    use super::*;

    fn section(changes: &Value) -> GitHubSection {
        let mut section = json!({ "token": "t", "project": "example/operations" });
        section.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        serde_json::from_value(section).unwrap()
    }

    fn asked(new: &NewTicket, changes: &Value, labels: &[&str]) -> (Draft, Asked) {
        let draft = Draft::new(new, &section(changes)).unwrap();
        let labels = Labels::of(labels.iter().map(ToString::to_string).collect());
        let asked = draft.asked(&labels, "deskbridge/ab").unwrap();
        (draft, asked)
    }

    fn with_key(fields: Value) -> NewTicket {
        let Value::Object(fields) = fields else { unreachable!() };
        NewTicket { fields, title: "T".into(), description: "D".into(), ..NewTicket::default() }
    }

    fn incident() -> NewTicket {
        let posted = json!({ "source": "nav", "id": "7", "title": "Link down", "level": 2, "tags": { "host": "core-1", "site": "Oslo" } });
        let document = Document::new(vec![Block::Paragraph(vec![Inline::text("Link down, see @root #1 https://x.example/")])]);
        let incident = Some(Arc::new(Incident::read(posted).unwrap()));
        NewTicket { title: "Link down".into(), document: Some(document), incident, ..NewTicket::default() }
    }

    #[test]
    fn the_external_key_speaks_before_the_defaults_about_the_matter_alone() {
        let defaults = r#"{"Assignees": ["anna"], "milestone": 3, "title": "Session"}"#;
        let key = json!({ "title": "VPN\ndown", "assignees": ["root"], "email": "jane@example.com", "name": "Jane" });
        let (_, made) = asked(&with_key(key.clone()), &json!({ "ticket_default_data": defaults }), &[]);
        assert_eq!(
            (&made.body["title"], &made.body["assignees"], &made.body["milestone"]),
            (&json!("VPN down"), &json!(["anna"]), &json!(3))
        );
        let text = made.body["body"].as_str().unwrap();
        assert!(
            text.starts_with("D\n") && text.contains("Customer: Jane \\<jane@\u{2060}example.com\\>") && text.contains("assignees"),
            "{text}"
        );
        assert!(text.ends_with("```\ndeskbridge/ab\n```"), "{text}");
        let (_, made) = asked(&with_key(key.clone()), &json!({ "external_key_may_set": ["Assignees"] }), &[]);
        assert_eq!(made.body["assignees"], json!(["root"]));
        // Once it was refused.
        let (_, made) = asked(&NewTicket { key_in_text: true, ..with_key(key) }, &json!({ "external_key_may_set": ["assignees"] }), &[]);
        assert_eq!(made.body.get("assignees"), None);
    }

    #[test]
    fn names_and_values_that_github_does_not_take_are_told() {
        assert!(Draft::new(&with_key(json!({ "assignee": "root" })), &section(&json!({}))).is_err());
        for wrong in [r#"{"owner": "x"}"#, r#"{"milestone": "3"}"#, r#"{"labels": "bug"}"#, r#"{"assignees": [" "]}"#, "[]"] {
            assert!(read_defaults(wrong).is_err(), "{wrong}");
        }
        let (_, made) = asked(&with_key(json!({ "labels": "bug" })), &json!({ "external_key_may_set": ["labels"] }), &["bug"]);
        assert!(made.body.get("labels").is_none() && made.body["body"].as_str().unwrap().contains("labels: \"bug\""));
    }

    #[test]
    fn only_labels_that_exist_are_sent_and_the_others_are_named() {
        let settings = json!({ "labels_set": ["Incident", "nope"], "labels_mapping": ["level", { "tag": "host" }, { "tag": "rack" }] });
        let (_, made) = asked(&incident(), &settings, &["incident", "2", "core-1"]);
        assert_eq!(made.body["labels"], json!(["incident", "2", "core-1"]));
        let text = made.body["body"].as_str().unwrap();
        assert!(text.contains("Not set on this ticket") && text.contains("Label nope: ") && text.contains("no tag rack"), "{text}");
        assert!(!text.contains("Label core"), "{text}");
    }

    #[test]
    fn defaults_give_an_incident_no_other_title_or_text() {
        let defaults = r#"{"title": "Session", "description": "A session", "name": "n", "assignees": ["anna"]}"#;
        let (_, made) = asked(&incident(), &json!({ "ticket_default_data": defaults }), &[]);
        let text = made.body["body"].as_str().unwrap();
        assert_eq!((&made.body["title"], &made.body["assignees"]), (&json!("Link down"), &json!(["anna"])));
        assert!(text.starts_with("Link down") && !text.contains("session") && !text.contains("Customer"), "{text}");
    }

    #[test]
    fn foreign_text_neither_mentions_nor_refers_nor_links() {
        let (_, made) = asked(&incident(), &json!({}), &[]);
        let text = made.body["body"].as_str().unwrap();
        for dead in ["@root", "#1", "https://x"] {
            assert!(!text.contains(dead), "{dead} in {text}");
        }
        assert_eq!(text.replace(['\u{2060}', '\\'], "").lines().next(), Some("Link down, see @root #1 https://x.example/"));
    }

    #[test]
    fn what_was_left_out_in_silence_is_named() {
        let settings = json!({ "labels_set": ["bug"], "ticket_default_data": r#"{"assignees": ["anna"], "milestone": 3}"# });
        let (draft, made) = asked(&incident(), &settings, &["bug"]);
        let all = json!({ "labels": [{ "name": "Bug" }], "assignees": [{ "login": "Anna" }], "milestone": { "number": 3 } });
        assert_eq!((draft.text_after(&made, &all, "m").unwrap(), made.lost_its_labels(&all)), (None, false));
        let none = json!({ "labels": [], "assignees": [], "milestone": null });
        let text = draft.text_after(&made, &none, "m").unwrap().unwrap();
        assert!(text.contains("Label bug: ") && text.contains("Assignee anna: ") && text.contains("Milestone 3: "), "{text}");
        assert!(made.lost_its_labels(&none));
    }

    #[test]
    fn what_was_refused_with_the_rest_is_tried_without_it_once() {
        let (draft, made) = asked(&incident(), &json!({ "labels_set": ["bug"] }), &["bug"]);
        let reduced = draft.reduced(&made, "Validation Failed", "m").unwrap().unwrap();
        assert_eq!(reduced.body.get("labels"), None);
        assert!(reduced.body["body"].as_str().unwrap().contains("Label bug: Validation Failed"));
        assert!(draft.reduced(&reduced, "Validation Failed", "m").unwrap().is_none());
    }

    #[test]
    fn a_title_and_a_text_that_are_too_long_are_cut() {
        let new = NewTicket { title: "ü ".repeat(400), description: "*#@a ".repeat(20_000), ..NewTicket::default() };
        let (_, made) = asked(&new, &json!({}), &[]);
        let (title, text) = (made.body["title"].as_str().unwrap(), made.body["body"].as_str().unwrap());
        assert!(title.chars().count() <= 256 && title.ends_with('…'), "{title}");
        assert!(FORM.limit.takes(text) && text.contains('…') && text.ends_with("deskbridge/ab\n```"));
        let (_, made) = asked(&NewTicket::default(), &json!({}), &[]);
        assert_eq!(made.body["title"], json!(NO_TITLE));
    }
}
