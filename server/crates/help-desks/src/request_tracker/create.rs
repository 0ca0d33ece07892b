//! A ticket as REST 2 takes it (argus-tickets.md 2.1).
//!
//! RT leaves out in silence what it does not know or cannot set, so unknown names are told here. What marks the ticket is a link in it: RT
//! writes it together with the ticket, and finds it by index.

use deskbridge_core::text::shown;
use deskbridge_documents::{Format, Guards, NoteForm};
use serde_json::{Map, Value};

use super::note;
use crate::{HelpDeskError, NewTicket, customer, incident_values, is_address};

/// Longest subject, in characters: RT cuts it in silence.
const MAX_SUBJECT: usize = 200;
/// Longest text, in characters.
const MAX_TEXT: usize = 20_000;
/// Longest address of a link, in bytes (RT's schema: 240).
const MAX_LINK: usize = 240;
/// The text of a ticket with a document: like a note, but addresses that strangers wrote make no link.
const TEXT: NoteForm = NoteForm { format: Format::Html(Guards { addresses: true, ..Guards::NONE }), limit: note::FORM.limit };
/// What the defaults may set, besides the plain names, as RT calls it.
const FIELDS: [&str; 13] = [
    "Queue",
    "Status",
    "Owner",
    "Requestor",
    "Cc",
    "AdminCc",
    "Priority",
    "FinalPriority",
    "Starts",
    "Due",
    "TimeEstimated",
    "TimeLeft",
    "CustomFields",
];
/// Names every ticket system understands.
const PLAIN: [&str; 5] = ["title", "subject", "description", "name", "email"];
/// What any external key may say: what the matter is. Who asks, who works on it and what becomes of it is RT's to say, since whoever reaches
/// the portal writes the key (beyondtrust.md F.1).
const ANY_KEY_MAY_SET: [&str; 5] = ["title", "subject", "description", "name", "Priority"];
/// Longest value that is told in the ticket's text instead of being set.
const MAX_TOLD: usize = 100;

/// The name as it is sent, whatever case it is written in.
fn field(name: &str) -> Option<&'static str> {
    PLAIN.iter().chain(&FIELDS).find(|known| known.eq_ignore_ascii_case(name)).copied()
}

/// Whether a new ticket can have a field of that name.
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
        serde_json::from_str(text).map_err(|_| "a JSON object like {\"Owner\": \"anna\", \"Priority\": 50}".to_owned())?;
    named(fields).map_err(|unknown| format!("names of {} (“{}” is none)", field_names(), shown(&unknown, 60)))
}

/// The same with RT's own names; the error is a name that is none.
fn named(fields: Map<String, Value>) -> Result<Map<String, Value>, String> {
    let named = fields.into_iter().filter(|(_, value)| !value.is_null());
    named.map(|(name, value)| field(&name).map(|known| (known.to_owned(), value)).ok_or(name)).collect()
}

/// What a connection lets tickets have.
pub(super) struct Rules<'a> {
    /// `queue`.
    pub(super) queue: &'a str,
    /// `ticket_default_data`.
    pub(super) defaults: Option<&'a str>,
    /// `external_key_may_set`.
    pub(super) key_may_set: &'a [String],
}

/// A URN that nothing opens; RT takes no link without a scheme.
pub(super) fn link(marker: &str) -> String {
    format!("urn:{}", marker.replace('/', ":"))
}

/// An address as RT keeps it; none where it would not.
fn address_of_link(address: &str) -> Option<String> {
    let url = url::Url::parse(address).ok().filter(|url| matches!(url.scheme(), "http" | "https"))?;
    let address = String::from(url);
    (address.len() <= MAX_LINK).then_some(address)
}

/// The body of the creation: the session's own fields over the configured ones. What a key may not set stands in the text.
pub(super) fn body(new: &NewTicket, marker: &str, rules: &Rules<'_>) -> Result<Value, HelpDeskError> {
    let wrong = |what: String| HelpDeskError::Refused(what);
    let defaults = rules.defaults.map(read_defaults).transpose();
    let mut fields = defaults.map_err(|expected| wrong(format!("ticket_default_data: expected {expected}")))?.unwrap_or_default();
    let key = named(new.fields.clone()).map_err(|unknown| {
        wrong(format!(
            "“{}” is no field of a new ticket in Request Tracker; the external key and ticket_default_data may have {}",
            shown(&unknown, 60),
            field_names()
        ))
    })?;
    let is_named = |name: &str| rules.key_may_set.iter().any(|named| named.eq_ignore_ascii_case(name));
    let may_set = |name: &str| ANY_KEY_MAY_SET.contains(&name) || is_named(name);
    let text = |name: &str| {
        let text = shown(key.get(name)?.as_str()?.trim(), MAX_TOLD);
        (!text.is_empty()).then_some(text)
    };
    // Who asks is told whole, or set whole. An address that is none would be left out in silence.
    let customer = customer(text("name"), text("email"));
    let key_names_address = key.get("email").and_then(Value::as_str).is_some_and(is_address);
    let is_requestor = !new.key_in_text && is_named("email") && key_names_address;
    if is_requestor || new.key_in_text {
        fields.retain(|name, _| !matches!(name.as_str(), "name" | "email"));
    }
    let mut told: Vec<String> = Vec::new();
    for (name, value) in key {
        match name.as_str() {
            "name" | "email" if is_requestor => drop(fields.insert(name, value)),
            "name" | "email" => {}
            "title" | "subject" | "description" => drop(fields.insert(name, value)),
            _ if may_set(&name) && !new.key_in_text && is_possible(&name, &value) => drop(fields.insert(name, value)),
            _ => told.push(format!("{name}: {}", shown(&value.to_string(), MAX_TOLD))),
        }
    }
    let mut take = |name: &str| match fields.remove(name) {
        Some(Value::String(text)) if !text.trim().is_empty() => Some(text),
        _ => None,
    };
    let (subject, title) = (take("subject"), take("title"));
    let subject = subject.or(title).unwrap_or_else(|| new.title.clone());
    let mut description: String = take("description").unwrap_or_else(|| new.description.clone()).chars().take(MAX_TEXT).collect();
    let (_, email) = (take("name"), take("email"));
    if let Some(customer) = customer.filter(|_| !is_requestor) {
        description += "\n\nCustomer: ";
        description += &customer;
    }
    if !told.is_empty() {
        description += "\n\nAsked for by the session's external key, which does not set it: ";
        description += &told.join("; ");
    }
    let mut ticket = Value::Object(fields);
    if ticket["Queue"].is_null() {
        ticket["Queue"] = rules.queue.trim().into();
    }
    ticket["Subject"] = super::text::one_line(&subject, MAX_SUBJECT).into();
    if new.document.is_some() {
        ticket["Content"] = incident_values::text(new, &description, TEXT, &told, "").unwrap_or_default().into();
        ticket["ContentType"] = "text/html".into();
    } else {
        ticket["Content"] = description.into();
        ticket["ContentType"] = "text/plain".into();
    }
    let mut links = vec![link(marker)];
    for address in new.refers_to.iter().filter_map(|address| address_of_link(address)) {
        if !links.contains(&address) {
            links.push(address);
        }
    }
    ticket["RefersTo"] = links.into();
    if let Some(email) = email.filter(|email| is_address(email)) {
        ticket["Requestor"] = email.into();
    }
    Ok(ticket)
}

/// Whether a field can have that value; what RT cannot read it would refuse, or leave out in silence.
fn is_possible(name: &str, value: &Value) -> bool {
    let number = || value.as_u64().or_else(|| value.as_str()?.trim().parse().ok());
    match name {
        "Priority" | "FinalPriority" => number().is_some_and(|number| number <= 100),
        "TimeEstimated" | "TimeLeft" => number().is_some_and(|number| number <= 1_000_000),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn made(fields: Value, defaults: Option<&str>, key_may_set: &[&str], key_in_text: bool) -> Result<Value, HelpDeskError> {
        let Value::Object(fields) = fields else { unreachable!() };
        let new = NewTicket { fields, title: "T".into(), description: "D".into(), key_in_text, ..NewTicket::default() };
        let key_may_set: Vec<String> = key_may_set.iter().map(ToString::to_string).collect();
        body(&new, "deskbridge/ab", &Rules { queue: "Support", defaults, key_may_set: &key_may_set })
    }

    #[test]
    fn the_external_key_speaks_before_the_defaults_about_the_matter_alone() {
        let defaults = Some(r#"{"priority": 10, "owner": "anna", "Queue": "Remote", "CustomFields": {"Kind": "session"}}"#);
        let key = json!({ "title": "VPN\ndown", "PRIORITY": "70", "Owner": "root", "email": "jane@example.com", "name": "Jane" });
        let ticket = made(key.clone(), defaults, &[], false).unwrap();
        let text =
            "D\n\nCustomer: Jane <jane@example.com>\n\nAsked for by the session's external key, which does not set it: Owner: \"root\"";
        let expected = json!({
            "Subject": "VPN down", "Priority": "70", "Owner": "anna", "Queue": "Remote", "CustomFields": { "Kind": "session" },
            "Content": text, "ContentType": "text/plain", "RefersTo": ["urn:deskbridge:ab"],
        });
        assert_eq!(ticket, expected);
        let ticket = made(key, defaults, &["email", "owner"], false).unwrap();
        assert_eq!((&ticket["Owner"], &ticket["Requestor"], &ticket["Content"]), (&json!("root"), &json!("jane@example.com"), &json!("D")));
    }

    #[test]
    fn what_was_refused_is_tried_as_text() {
        let ticket =
            made(json!({ "title": "VPN", "Status": "gone", "email": "jane@example.com" }), None, &["Status", "email"], true).unwrap();
        assert_eq!((&ticket["Subject"], &ticket["Status"], &ticket["Requestor"]), (&json!("VPN"), &Value::Null, &Value::Null));
        let text = ticket["Content"].as_str().unwrap();
        assert!(text.contains("jane@example.com") && text.contains("Status: \"gone\""), "{text}");
    }

    #[test]
    fn what_rt_would_leave_out_in_silence_is_told() {
        let said = made(json!({ "prioriy": 1 }), None, &[], false).unwrap_err().to_string();
        assert!(said.contains("prioriy") && said.contains("Priority"), "{said}");
        for field in ["RefersTo", "Content", "id", "MergeInto"] {
            assert!(made(json!({ field: "x" }), None, &[], false).is_err(), "{field}");
        }
        // An address that is none makes no requestor.
        let ticket = made(json!({ "email": "jane" }), None, &["email"], false).unwrap();
        assert_eq!((&ticket["Requestor"], &ticket["Content"]), (&Value::Null, &json!("D\n\nCustomer: jane")));
        let ticket = made(json!({ "Priority": "urgent" }), None, &[], false).unwrap();
        assert_eq!(ticket["Priority"], Value::Null);
    }

    #[test]
    fn a_document_stands_as_html_and_addresses_as_links() {
        use deskbridge_documents::{Block, Document, Inline};
        let document = Some(Document::new(vec![Block::Paragraph(vec![Inline::text("<b>&amp; ä")])]));
        let refers_to = ["https://nav.example/42", "javascript:x", "https://nav.example/42", ""].map(str::to_owned).into();
        let new = NewTicket { title: "T".into(), description: "D".into(), document, refers_to, ..NewTicket::default() };
        let ticket = body(&new, "deskbridge/ab", &Rules { queue: "Support", defaults: None, key_may_set: &[] }).unwrap();
        assert_eq!(ticket["RefersTo"], json!(["urn:deskbridge:ab", "https://nav.example/42"]));
        assert_eq!(
            (&ticket["ContentType"], ticket["Content"].as_str().unwrap().contains("&lt;b&gt;&amp;amp; ä")),
            (&json!("text/html"), true)
        );
    }

    #[test]
    fn a_subject_is_one_line_of_200_characters() {
        let ticket = made(json!({ "subject": format!("a\r\nb {}", "ü".repeat(300)) }), None, &[], false).unwrap();
        let subject = ticket["Subject"].as_str().unwrap();
        assert!(subject.starts_with("a b ü") && subject.chars().count() == 200, "{subject}");
    }
}
