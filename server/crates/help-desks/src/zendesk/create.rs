//! A ticket as Zendesk's creation takes it (zendesk.md d.6).

use deskbridge_core::text::shown;
use serde_json::{Map, Value, json};

use deskbridge_documents::neutralise;

use crate::{HelpDeskError, NewTicket};

/// Longest subject.
const MAX_SUBJECT: usize = 150;
/// What an external key or the defaults may set, besides the plain names. Whatever acts as somebody else, or marks a ticket, is not among them.
const FIELDS: [&str; 12] = [
    "priority",
    "type",
    "status",
    "tags",
    "group_id",
    "assignee_id",
    "assignee_email",
    "organization_id",
    "custom_fields",
    "ticket_form_id",
    "brand_id",
    "due_at",
];
/// Names every ticket system understands.
const PLAIN: [&str; 5] = ["title", "subject", "description", "name", "email"];

/// The body of the creation: the session's own fields over the configured ones.
pub(super) fn body(new: &NewTicket, marker: &str, defaults: Option<&str>, public: bool) -> Result<Value, HelpDeskError> {
    let mut fields: Map<String, Value> = defaults.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
    fields.extend(new.fields.clone());
    fields.retain(|_, value| !value.is_null());
    if let Some(unknown) = fields.keys().find(|name| !FIELDS.contains(&name.as_str()) && !PLAIN.contains(&name.as_str())) {
        let shown = shown(unknown, 60);
        return Err(HelpDeskError::Refused(format!(
            "“{shown}” is no field of a new Zendesk ticket; the external key and ticket_default_data may have {}, {}",
            PLAIN.join(", "),
            FIELDS.join(", ")
        )));
    }
    let mut take = |name: &str| match fields.remove(name) {
        Some(Value::String(text)) if !text.trim().is_empty() => Some(text),
        _ => None,
    };
    // What an agent writes goes through the account's placeholders; these words are not an agent's (zendesk.md d.3).
    let (subject, title) = (take("subject"), take("title"));
    let subject: String = subject.or(title).unwrap_or_else(|| new.title.clone()).chars().take(MAX_SUBJECT).collect();
    let description = take("description").unwrap_or_else(|| new.description.clone());
    let (name, email) = (take("name"), take("email"));
    let mut ticket = Value::Object(fields);
    ticket["subject"] = neutralise(&subject).into();
    ticket["comment"] = json!({ "body": neutralise(&description), "public": public });
    ticket["external_id"] = marker.into();
    if let Some(email) = email {
        ticket["requester"] = json!({ "name": name.unwrap_or_else(|| email.clone()), "email": email });
    }
    Ok(json!({ "ticket": ticket }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ticket(fields: Value, defaults: Option<&str>) -> Result<Value, HelpDeskError> {
        let Value::Object(fields) = fields else { unreachable!() };
        let (title, description) = ("Remote support session".to_owned(), "Created at its begin.".to_owned());
        let new = NewTicket { fields, title, description };
        body(&new, "deskbridge/ab", defaults, false).map(|mut body| body["ticket"].take())
    }

    #[test]
    fn the_external_key_speaks_before_the_defaults() {
        let defaults = Some(r#"{"priority": "low", "tags": ["remote"], "description": null}"#);
        let made = ticket(json!({ "title": "VPN", "priority": "high", "email": "jane@example.com", "name": "Jane" }), defaults).unwrap();
        let expected = json!({
            "subject": "VPN", "priority": "high", "tags": ["remote"], "external_id": "deskbridge/ab",
            "comment": { "body": "Created at its begin.", "public": false },
            "requester": { "name": "Jane", "email": "jane@example.com" },
        });
        assert_eq!(made, expected);
    }

    #[test]
    fn words_of_strangers_fill_no_placeholders() {
        let made = ticket(json!({ "subject": "{{ticket.id}}", "description": "{{current_user.email}}" }), None).unwrap();
        assert!(!made.to_string().contains("{{"), "{made}");
    }

    #[test]
    fn a_field_that_is_none_of_ours_is_told() {
        for field in ["external_id", "submitter_id", "comment", "safe_update", "prioriy"] {
            let said = ticket(json!({ field: 1 }), None).unwrap_err().to_string();
            assert!(said.contains(field) && said.contains("priority"), "{said}");
        }
    }
}
