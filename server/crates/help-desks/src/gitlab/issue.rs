//! A new issue as the API takes it (argus-tickets.md 2.4).

use deskbridge_core::text::shown;
use deskbridge_documents::{Block, Document, Flavour, Format, Inline, Limit, Measure, NoteForm, guarded_title};
use serde_json::{Map, Value, json};

use super::section::GitLabSection;
use crate::incident_values;
use crate::{HelpDeskError, NewTicket, customer};

/// Longest title, in characters: a longer one is refused.
const MAX_TITLE: usize = 255;
/// A longer description is refused (1,048,576 characters; administrators can set a limit in bytes).
pub(super) const FORM: NoteForm =
    NoteForm { format: Format::Markdown(Flavour::GitLab), limit: Limit { measure: Measure::Bytes, most: 1_000_000 } };
/// What defaults and keys may set, besides the plain names, as GitLab calls it.
const FIELDS: [&str; 6] = ["confidential", "issue_type", "due_date", "milestone_id", "assignee_ids", "weight"];
/// Names every ticket system understands.
const PLAIN: [&str; 5] = ["title", "subject", "description", "name", "email"];
/// Longest value that is told in the issue's text instead of being set.
const MAX_TOLD: usize = 100;

/// The name as it is sent, whatever case it is written in.
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
        serde_json::from_str(text).map_err(|_| "a JSON object like {\"confidential\": true, \"assignee_ids\": [7]}".to_owned())?;
    let fields = named(fields).map_err(|unknown| format!("names of {} (“{}” is none)", field_names(), shown(&unknown, 60)))?;
    match fields.iter().find(|(name, value)| !is_possible(name, value)) {
        Some((name, _)) => Err(format!("another value for {name}: {}", expected(name))),
        None => Ok(fields),
    }
}

/// The same with GitLab's own names; the error is a name that is none.
fn named(fields: Map<String, Value>) -> Result<Map<String, Value>, String> {
    let named = fields.into_iter().filter(|(_, value)| !value.is_null());
    named.map(|(name, value)| field(&name).map(|known| (known.to_owned(), value)).ok_or(name)).collect()
}

/// Whether a field can have that value; GitLab would refuse the issue, or pass over it.
fn is_possible(name: &str, value: &Value) -> bool {
    match name {
        "confidential" => value.is_boolean(),
        "issue_type" => matches!(value.as_str(), Some("issue" | "incident" | "task" | "test_case")),
        "due_date" => value.as_str().is_some_and(is_date),
        "milestone_id" | "weight" => value.is_u64(),
        "assignee_ids" => value.as_array().is_some_and(|ids| ids.iter().all(Value::is_u64)),
        _ => value.is_string(),
    }
}

fn expected(name: &str) -> &'static str {
    match name {
        "confidential" => "true or false",
        "issue_type" => "issue, incident, task or test_case",
        "due_date" => "a date like 2026-11-22",
        "milestone_id" | "weight" => "a number",
        "assignee_ids" => "a list of user numbers",
        _ => "a text",
    }
}

fn is_date(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let is_number = |part: &&str, length| part.len() == length && part.bytes().all(|byte| byte.is_ascii_digit());
    matches!(parts.as_slice(), [year, month, day] if is_number(year, 4) && is_number(month, 2) && is_number(day, 2))
}

/// The labels that an issue is to have, and what there is none for.
pub(super) fn wanted_labels(section: &GitLabSection, new: &NewTicket) -> incident_values::Given<String> {
    incident_values::labels(&section.labels_set, &section.labels_mapping, new.incident.as_deref())
}

/// What a new issue has.
pub(super) struct Draft {
    fields: Map<String, Value>,
    title: String,
    new: NewTicket,
    description: String,
    /// Labels, all of which the project has.
    pub(super) labels: Vec<String>,
    /// What could not be set, each with the reason.
    pub(super) left_out: Vec<String>,
    marker: String,
}

impl Draft {
    /// The session's own fields over the configured ones. Whoever reaches the portal writes the key (beyondtrust.md F.1): it says what the
    /// matter is, and what else it may not set stands in the text. `labels`: those that exist;
    /// `left_out`: what cannot be set.
    pub(super) fn new(
        new: &NewTicket,
        marker: &str,
        section: &GitLabSection,
        labels: Vec<String>,
        left_out: Vec<String>,
    ) -> Result<Self, HelpDeskError> {
        let wrong = HelpDeskError::Refused;
        let defaults = section.ticket_default_data.as_deref().map(read_defaults).transpose();
        let mut fields = defaults.map_err(|expected| wrong(format!("ticket_default_data: expected {expected}")))?.unwrap_or_default();
        let key = named(new.fields.clone()).map_err(|unknown| {
            wrong(format!(
                "“{}” is no field of a new issue in GitLab; the external key and ticket_default_data may have {}",
                shown(&unknown, 60),
                field_names()
            ))
        })?;
        let is_named = |name: &str| section.external_key_may_set.iter().any(|named| named.eq_ignore_ascii_case(name));
        let text = |name: &str| {
            let text = shown(key.get(name)?.as_str()?.trim(), MAX_TOLD);
            (!text.is_empty()).then_some(text)
        };
        // GitLab's issues have no requester.
        let customer = customer(text("name"), text("email"));
        let mut told: Vec<String> = Vec::new();
        for (name, value) in key {
            match name.as_str() {
                "name" | "email" => {}
                "title" | "subject" | "description" => drop(fields.insert(name, value)),
                _ if is_named(&name) && !new.key_in_text && is_possible(&name, &value) => drop(fields.insert(name, value)),
                _ => told.push(format!("{name}: {}", shown(&value.to_string(), MAX_TOLD))),
            }
        }
        let mut take = |name: &str| match fields.remove(name) {
            Some(Value::String(text)) if !text.trim().is_empty() => Some(text),
            _ => None,
        };
        let (subject, title) = (take("subject"), take("title"));
        let title = subject.or(title).unwrap_or_else(|| new.title.clone());
        let mut description = take("description").unwrap_or_else(|| new.description.clone());
        drop((take("name"), take("email")));
        if let Some(customer) = customer {
            description += "\n\nCustomer: ";
            description += &customer;
        }
        if !told.is_empty() {
            description += "\n\nAsked for by the session's external key, which does not set it: ";
            description += &told.join("; ");
        }
        Ok(Self { fields, title, new: new.clone(), description, labels, left_out, marker: marker.to_owned() })
    }

    /// The description, with the marker at its end. The error: not even that fits.
    pub(super) fn text(&self) -> Result<String, HelpDeskError> {
        let mut new = self.new.clone();
        if new.document.is_none() {
            new.document = Some(paragraphs(&self.description));
        }
        incident_values::text(&new, &self.description, FORM, &self.left_out, &self.marker)
            .ok_or_else(|| HelpDeskError::Refused("what could not be set is too much to be told on the issue".into()))
    }

    /// The body of the creation.
    pub(super) fn body(&self) -> Result<Value, HelpDeskError> {
        let mut issue = Value::Object(self.fields.clone());
        issue["title"] = title(&self.title).into();
        issue["description"] = self.text()?.into();
        if !self.labels.is_empty() {
            issue["labels"] = json!(self.labels);
        }
        Ok(issue)
    }
}

/// One line within the limit, in which nobody is mentioned. A title that is empty is refused.
fn title(text: &str) -> String {
    let line = guarded_title(&incident_values::title(text, MAX_TITLE), Flavour::GitLab);
    let line = incident_values::title(&line, MAX_TITLE);
    if line.is_empty() { "(no title)".to_owned() } else { line }
}

/// Plain text: an empty line begins a paragraph.
fn paragraphs(text: &str) -> Document {
    let text = text.replace("\r\n", "\n");
    Document::new(text.split("\n\n").map(|part| Block::Paragraph(vec![Inline::text(part)])).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn section(more: &str) -> GitLabSection {
        let text = format!(r#"{{"url": "https://gitlab.example.com", "token": "t", "project": "a/b"{more}}}"#);
        serde_json::from_str(&text).unwrap()
    }

    fn made(fields: Value, more: &str, key_in_text: bool) -> Result<Value, HelpDeskError> {
        let Value::Object(fields) = fields else { unreachable!() };
        let new = NewTicket { fields, title: "T".into(), description: "D".into(), key_in_text, ..NewTicket::default() };
        Draft::new(&new, "deskbridge/ab", &section(more), vec!["bug".into()], Vec::new())?.body()
    }

    #[test]
    fn the_external_key_speaks_before_the_defaults_about_the_matter_alone() {
        let defaults = r#", "ticket_default_data": "{\"Confidential\": true, \"weight\": 3}""#;
        let key = json!({ "title": "VPN\ndown", "WEIGHT": 9, "email": "jane@example.com", "name": "Jane" });
        let issue = made(key.clone(), defaults, false).unwrap();
        assert_eq!(
            (&issue["title"], &issue["confidential"], &issue["weight"], &issue["labels"]),
            (&json!("VPN down"), &json!(true), &json!(3), &json!(["bug"]))
        );
        let text = issue["description"].as_str().unwrap();
        assert!(
            text.contains("D\n") && text.contains("Customer: Jane \\<jane@\u{2060}example.com") && text.contains("weight: 9"),
            "{text}"
        );
        assert!(text.ends_with("```\ndeskbridge/ab\n```"), "{text}");
        let may_set = format!(r#"{defaults}, "external_key_may_set": ["Weight"]"#);
        assert_eq!(made(key.clone(), &may_set, false).unwrap()["weight"], json!(9));
        assert_eq!(made(key, &may_set, true).unwrap()["weight"], json!(3), "it was refused");
        // GitLab would refuse the issue, or pass over it.
        assert_eq!(made(json!({ "weight": "many" }), &may_set, false).unwrap()["weight"], json!(3));
        let said = made(json!({ "wieght": 1 }), "", false).unwrap_err().to_string();
        assert!(said.contains("wieght") && said.contains("weight"), "{said}");
    }

    #[test]
    fn a_title_is_one_line_of_255_characters_that_mentions_nobody() {
        let check = |text: &str, expected: &str| assert_eq!(title(text), expected);
        check("a\r\nb", "a b");
        check("@all: see #12, !3 and ~bug", "@\u{2060}all: see #\u{2060}12, !\u{2060}3 and ~\u{2060}bug");
        check("core-1 xe-0/0/1 has ABC-12, deadbeef", "core-1 xe-0/0/1 has ABC-\u{2060}12, deadbe\u{2060}ef");
        check(" ", "(no title)");
        let cut = title(&"@x ü".repeat(100));
        assert!(cut.chars().count() <= 255 && cut.ends_with('…'), "{cut}");
        assert!(!cut.contains("@x"), "{cut}");
    }

    #[test]
    fn defaults_are_checked() {
        assert!(read_defaults(r#"{"confidential": true, "due_date": "2026-11-22", "assignee_ids": [7]}"#).is_ok());
        for (text, part) in [
            ("[]", "a JSON object"),
            (r#"{"labels": ["bug"]}"#, "“labels” is none"),
            (r#"{"confidential": "yes"}"#, "confidential: true or false"),
            (r#"{"due_date": "22.11.2026"}"#, "a date like"),
            (r#"{"issue_type": "bug"}"#, "incident"),
        ] {
            let said = read_defaults(text).unwrap_err();
            assert!(said.contains(part), "{text}: {said}");
        }
    }
}
