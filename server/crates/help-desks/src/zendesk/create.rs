//! A ticket as Zendesk's creation takes it (zendesk.md d.6).

use deskbridge_core::text::shown;
use serde_json::{Map, Value, json};

use deskbridge_documents::{Format, Guards, Limit, Measure, NoteForm, neutralise};

use crate::{HelpDeskError, NewTicket, customer, incident_values, is_address};

/// Longest subject.
const MAX_SUBJECT: usize = 150;
/// The text of a ticket with a document: like a note, but what strangers wrote makes no link either.
const TEXT: NoteForm = NoteForm { format: Format::Html(Guards::ALL), limit: Limit { measure: Measure::Bytes, most: 60_000 } };
/// What the defaults may set, besides the plain names. Whatever acts as somebody else, or marks a ticket, is not among them.
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
/// What any external key may say: what the matter is. Who asks, who works on it and what becomes of it is the account's to say, since whoever
/// reaches the portal writes the key (beyondtrust.md F.1).
const ANY_KEY_MAY_SET: [&str; 6] = ["title", "subject", "description", "name", "priority", "type"];
/// Longest value that is told in the ticket's text instead of being set.
const MAX_TOLD: usize = 100;

/// Whether a new ticket can have a field of that name.
pub(super) fn is_field(name: &str) -> bool {
    PLAIN.iter().chain(&FIELDS).any(|field| *field == name)
}

/// The names of all of them, for people.
pub(super) fn field_names() -> String {
    [&PLAIN[..], &FIELDS[..]].concat().join(", ")
}

/// What the account lets tickets have.
pub(super) struct Rules<'a> {
    /// `ticket_default_data`.
    pub(super) defaults: Option<&'a str>,
    /// `external_key_may_set`.
    pub(super) key_may_set: &'a [String],
    /// Whether the requester reads the first comment.
    pub(super) public: bool,
}

/// The body of the creation: the session's own fields over the configured ones. What a key may not set stands in the text.
pub(super) fn body(new: &NewTicket, marker: &str, rules: &Rules<'_>) -> Result<Value, HelpDeskError> {
    let mut fields: Map<String, Value> = rules.defaults.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
    let may_set = |name: &str| ANY_KEY_MAY_SET.contains(&name) || rules.key_may_set.iter().any(|named| named == name);
    let mut key: Map<String, Value> = new.fields.clone();
    key.retain(|_, value| !value.is_null());
    if let Some(unknown) = fields.keys().chain(key.keys()).find(|name| !is_field(name)) {
        let shown = shown(unknown, 60);
        return Err(HelpDeskError::Refused(format!(
            "“{shown}” is no field of a new Zendesk ticket; the external key and ticket_default_data may have {}",
            field_names()
        )));
    }
    // Who asks is told whole, or set whole.
    let text = |name: &str| {
        let text = shown(key.get(name)?.as_str()?.trim(), MAX_TOLD);
        (!text.is_empty()).then_some(text)
    };
    let customer = customer(text("name"), text("email"));
    let key_names_address = key.get("email").and_then(Value::as_str).is_some_and(is_address);
    let is_requester = !new.key_in_text && may_set("email") && key_names_address;
    if is_requester || new.key_in_text {
        fields.retain(|name, _| !matches!(name.as_str(), "name" | "email"));
    }
    // Two names of the same.
    if key.contains_key("title") || key.contains_key("subject") {
        fields.retain(|name, _| !matches!(name.as_str(), "title" | "subject"));
    }
    let mut told: Vec<String> = Vec::new();
    for (name, value) in key {
        match name.as_str() {
            "name" | "email" if is_requester => drop(fields.insert(name, value)),
            "name" | "email" => {}
            "title" | "subject" | "description" => drop(fields.insert(name, value)),
            _ if may_set(&name) && !new.key_in_text && is_possible(&name, &value) => drop(fields.insert(name, value)),
            _ => told.push(format!("{name}: {}", shown(&value.to_string(), MAX_TOLD))),
        }
    }
    fields.retain(|_, value| !value.is_null());
    let mut take = |name: &str| match fields.remove(name) {
        Some(Value::String(text)) if !text.trim().is_empty() => Some(text),
        _ => None,
    };
    // What an agent writes goes through the account's placeholders; these words are not an agent's (zendesk.md d.3).
    let (subject, title) = (take("subject"), take("title"));
    let subject = incident_values::title(&subject.or(title).unwrap_or_else(|| new.title.clone()), MAX_SUBJECT);
    let mut description = take("description").unwrap_or_else(|| new.description.clone());
    let (name, email) = (take("name"), take("email"));
    if let Some(customer) = customer.filter(|_| !is_requester) {
        description += "\n\nCustomer: ";
        description += &customer;
    }
    if !told.is_empty() {
        description += "\n\nAsked for by the session's external key, which does not set it: ";
        description += &told.join("; ");
    }
    let mut ticket = Value::Object(fields);
    ticket["subject"] = neutralise(&subject).into();
    ticket["comment"] = match &new.document {
        Some(_) => {
            let text = incident_values::text(new, &description, TEXT, &told, "").unwrap_or_default();
            json!({ "html_body": text, "public": rules.public })
        }
        None => json!({ "body": neutralise(&description), "public": rules.public }),
    };
    ticket["external_id"] = marker.into();
    if let Some(email) = email {
        ticket["requester"] = json!({ "name": name.unwrap_or_else(|| email.clone()), "email": email });
    }
    Ok(json!({ "ticket": ticket }))
}

/// Whether a field can have that value, where the account's values are the same everywhere (zendesk.md d.6).
fn is_possible(name: &str, value: &Value) -> bool {
    match name {
        "priority" => ["urgent", "high", "normal", "low"].iter().any(|known| value == known),
        "type" => ["problem", "incident", "question", "task"].iter().any(|known| value == known),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ticket(fields: Value, defaults: Option<&str>) -> Result<Value, HelpDeskError> {
        let Value::Object(fields) = fields else { unreachable!() };
        let (title, description) = ("Remote support session".to_owned(), "Created at its begin.".to_owned());
        let new = NewTicket { fields, title, description, ..NewTicket::default() };
        let key_may_set = ["email", "tags"].map(str::to_owned);
        body(&new, "deskbridge/ab", &Rules { defaults, key_may_set: &key_may_set, public: false }).map(|mut body| body["ticket"].take())
    }

    /// As [`ticket`], where nothing is named in `external_key_may_set`.
    fn of_a_portal(fields: Value, defaults: Option<&str>, key_in_text: bool) -> Value {
        let Value::Object(fields) = fields else { unreachable!() };
        let new = NewTicket { fields, title: "T".into(), description: "D".into(), key_in_text, ..NewTicket::default() };
        body(&new, "m", &Rules { defaults, key_may_set: &[], public: false }).unwrap()["ticket"].take()
    }

    #[test]
    fn a_key_sets_neither_the_requester_nor_what_becomes_of_the_ticket() {
        let made = of_a_portal(json!({ "email": "ceo@example.com", "status": "solved", "priority": "high" }), None, false);
        assert_eq!((&made["requester"], &made["status"], &made["priority"]), (&Value::Null, &Value::Null, &json!("high")));
        let text = made["comment"]["body"].as_str().unwrap();
        assert_eq!(
            text,
            "D\n\nCustomer: ceo@example.com\n\nAsked for by the session's external key, which does not set it: status: \"solved\""
        );
        // What the account has no such value of would be refused with the whole ticket.
        let made = of_a_portal(json!({ "priority": "asap", "type": "incident" }), None, false);
        assert_eq!((&made["priority"], &made["type"]), (&Value::Null, &json!("incident")));
        let made = of_a_portal(json!({ "title": "VPN", "priority": "high" }), None, true);
        assert_eq!((&made["subject"], &made["priority"]), (&json!("VPN"), &Value::Null));
        // A pair of the administrator's is not mixed with the key's, and stays where the key's is only told.
        let defaults = Some(r#"{"email": "it@example.com", "name": "IT desk"}"#);
        let made = ticket(json!({ "email": "jane@example.com" }), defaults).unwrap();
        assert_eq!(made["requester"], json!({ "name": "jane@example.com", "email": "jane@example.com" }));
        let made = of_a_portal(json!({ "email": "jane@example.com" }), defaults, false);
        assert_eq!(made["requester"], json!({ "name": "IT desk", "email": "it@example.com" }));
        // The defaults are the administrator's.
        let made = of_a_portal(json!({}), Some(r#"{"email": "it@example.com", "status": "open"}"#), false);
        assert_eq!((&made["requester"]["email"], &made["status"]), (&json!("it@example.com"), &json!("open")));
    }

    #[test]
    fn a_customer_who_cannot_be_the_requester_stands_in_the_text() {
        let key = json!({ "title": "VPN", "name": "Jane", "email": "n/a" });
        for made in [ticket(key.clone(), None).unwrap(), of_a_portal(key, None, false)] {
            assert_eq!(made["requester"], Value::Null);
            assert!(made["comment"]["body"].as_str().unwrap().ends_with("\n\nCustomer: Jane <n/a>"), "{made}");
        }
        let Value::Object(fields) = json!({ "name": "Jane", "email": "jane@example.com" }) else { unreachable!() };
        let new = NewTicket { fields, title: "T".into(), description: "D".into(), key_in_text: true, ..NewTicket::default() };
        let key_may_set = ["email".to_owned()];
        let made = body(&new, "m", &Rules { defaults: None, key_may_set: &key_may_set, public: false }).unwrap();
        assert_eq!(made["ticket"]["requester"], Value::Null, "the account refused the requester");
        assert!(made["ticket"]["comment"]["body"].as_str().unwrap().ends_with("Customer: Jane <jane@example.com>"));
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
        // Under either name.
        for (key, default) in [("title", "subject"), ("subject", "title"), ("title", "title")] {
            let defaults = json!({ default: "Remote support" }).to_string();
            assert_eq!(ticket(json!({ key: "VPN" }), Some(&defaults)).unwrap()["subject"], "VPN", "{key} over {default}");
        }
    }

    #[test]
    fn a_document_stands_in_place_of_the_description() {
        use deskbridge_documents::{Block, Document, Inline};
        let paragraph = Block::Paragraph(vec![Inline::text("<b>{{ticket.id}} https://evil.example")]);
        let document = Some(Document::new(vec![paragraph, Block::Paragraph(vec![Inline::link("it", "https://argus.example/1")])]));
        let title = "Link down ".repeat(30);
        let new = NewTicket { title, description: "D".into(), document, ..NewTicket::default() };
        let made = body(&new, "m", &Rules { defaults: None, key_may_set: &[], public: false }).unwrap()["ticket"].take();
        let html = made["comment"]["html_body"].as_str().unwrap();
        assert!(
            html.contains("&lt;b&gt;") && !html.contains("{{") && html.contains("<a href=\"https://argus.example/1\">it</a>"),
            "{html}"
        );
        assert!(!html.contains("https://evil.example") && made["comment"]["body"].is_null(), "{html}");
        let subject = made["subject"].as_str().unwrap();
        assert!(subject.chars().count() <= 150 && subject.ends_with("Link down…"), "{subject}");
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
