//! A ticket as Jira's REST API takes it (argus-tickets.md 2.2).
//!
//! What marks it is a label, which a search finds to the letter; where tickets have no labels, it stands in the text alone.

use std::sync::Arc;

use async_trait::async_trait;
use deskbridge_core::text::shown;
use serde_json::{Map, Value, json};
use tokio::time::Instant;

use super::Jira;
use super::client::{Body, Client, Fault, Said, Sent};
use super::fields::{self, Form, Setting};
use super::note::text_value;
use crate::incident_values::{self, title_utf16};
use crate::{HelpDeskError, NewTicket, PreparedWrite, WriteOutcome, customer, is_address};

/// Longest title, in UTF-16 units: what is longer is refused.
const MAX_TITLE: usize = 255;
/// Longest text of an external key, in characters.
const MAX_TEXT: usize = 20_000;
/// Longest value that is told in the ticket's text instead of being set.
const MAX_TOLD: usize = 100;
/// Most refused fields that are told.
const MAX_LEFT_OUT: usize = 30;
/// So old, what is known of the project may be wrong: a refusal is tried again with what Jira says now.
const MAY_BE_OLD: std::time::Duration = std::time::Duration::from_secs(20);
/// Names every ticket system understands.
const PLAIN: [&str; 5] = ["title", "subject", "description", "name", "email"];
/// What any external key may say: what the matter is. Who asks, who works on it and what becomes of it is Jira's to say, since whoever reaches
/// the portal writes the key (beyondtrust.md F.1).
const ANY_KEY_MAY_SET: [&str; 5] = ["title", "subject", "description", "name", "priority"];
/// What every ticket has from other settings.
const OWN: [&str; 4] = ["project", "issuetype", "issue type", "summary"];

/// Whether a ticket has the field from other settings.
pub(super) fn is_own(name: &str) -> bool {
    let name = name.trim();
    OWN.iter().any(|own| own.eq_ignore_ascii_case(name))
}

fn is_plain(name: &str) -> bool {
    PLAIN.iter().any(|plain| plain.eq_ignore_ascii_case(name.trim()))
}

/// `ticket_default_data`; the error says what is expected.
pub(super) fn read_defaults(text: &str) -> Result<Map<String, Value>, String> {
    let fields: Map<String, Value> =
        serde_json::from_str(text).map_err(|_| "a JSON object like {\"Priority\": \"High\", \"labels\": [\"remote\"]}".to_owned())?;
    match fields.keys().find(|name| is_own(name)) {
        Some(name) => Err(format!("names or ids of fields (“{}” is set by other settings)", shown(name, 60))),
        None => Ok(fields.into_iter().filter(|(_, value)| !value.is_null()).collect()),
    }
}

/// What the settings and the external key ask for.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Asked {
    title: String,
    description: String,
    /// Names or ids of fields, the later ones first in rank.
    fields: Vec<(String, Value)>,
    /// What the incident lacks.
    missing: Vec<String>,
}

/// Reads settings and key. What a key may not set stands in the text.
pub(super) fn asked(desk: &super::JiraSection, new: &NewTicket) -> Result<Asked, HelpDeskError> {
    let defaults = desk.ticket_default_data.as_deref().map(read_defaults).transpose();
    let mut defaults =
        defaults.map_err(|expected| HelpDeskError::Refused(format!("ticket_default_data: expected {expected}")))?.unwrap_or_default();
    if new.incident.is_some() {
        // What the matter is, the incident says.
        defaults.retain(|name, _| !is_plain(name));
    }
    let given = incident_values::custom_fields(&desk.custom_fields_set, &desk.custom_fields_mapping, new.incident.as_deref());
    let plain = |fields: &Map<String, Value>, name: &str| {
        let value = fields.iter().find(|(key, _)| key.trim().eq_ignore_ascii_case(name))?.1.as_str()?.trim();
        (!value.is_empty()).then(|| value.to_owned())
    };
    let key = &new.fields;
    let is_named = |name: &str| desk.external_key_may_set.iter().any(|named| named.trim().eq_ignore_ascii_case(name.trim()));
    let may_set = |name: &str| ANY_KEY_MAY_SET.contains(&name.trim().to_ascii_lowercase().as_str()) || is_named(name);
    let mut asked = Asked { missing: given.missing, ..Asked::default() };
    let set = |fields: &mut Vec<(String, Value)>, name: &str, value: Value| {
        fields.retain(|(known, _)| !known.trim().eq_ignore_ascii_case(name.trim()));
        fields.push((name.trim().to_owned(), value));
    };
    for (name, value) in defaults.iter().filter(|(name, _)| !is_plain(name)) {
        set(&mut asked.fields, name, value.clone());
    }
    for (name, value) in given.values {
        set(&mut asked.fields, &name, value);
    }
    let mut told: Vec<String> = Vec::new();
    for (name, value) in key.iter().filter(|(name, value)| !is_plain(name) && !value.is_null()) {
        if may_set(name) && !new.key_in_text && !is_own(name) {
            set(&mut asked.fields, name, value.clone());
        } else {
            told.push(format!("{}: {}", shown(name, MAX_TOLD), shown(&value.to_string(), MAX_TOLD)));
        }
    }
    let text = |names: &[&str]| {
        let of = |fields: &Map<String, Value>| names.iter().find_map(|name| plain(fields, name));
        of(key).or_else(|| of(&defaults))
    };
    let short = |text: Option<String>| text.map(|text| shown(&text, MAX_TOLD));
    let email = plain(key, "email");
    let is_reporter = !new.key_in_text && is_named("email") && email.as_deref().is_some_and(is_address);
    asked.title = text(&["subject", "title"]).unwrap_or_else(|| new.title.clone());
    let description = text(&["description"]).unwrap_or_else(|| new.description.clone());
    asked.description = description.chars().take(MAX_TEXT).collect();
    match email.filter(|_| is_reporter) {
        Some(email) => set(&mut asked.fields, "reporter", email.into()),
        None => {
            if let Some(customer) = customer(short(plain(key, "name")), short(plain(key, "email"))) {
                asked.description += "\n\nCustomer: ";
                asked.description += &customer;
            }
        }
    }
    if !told.is_empty() {
        asked.description += "\n\nAsked for by the session's external key, which does not set it: ";
        asked.description += &told.join("; ");
    }
    Ok(asked)
}

/// A ticket whose values are in Jira's form.
#[derive(Clone)]
struct Draft {
    new: Arc<NewTicket>,
    marker: String,
    title: String,
    description: String,
    settings: Vec<Setting>,
    left_out: Vec<String>,
    has_label: bool,
}

impl Draft {
    fn body(&self, project: &str, issue_type: &Value, client: &Client) -> Result<Value, HelpDeskError> {
        let left_out = &self.left_out[..self.left_out.len().min(MAX_LEFT_OUT)];
        let text = incident_values::text(&self.new, &self.description, client.kind.form(), left_out, &self.marker);
        let text = text.ok_or_else(|| HelpDeskError::Refused("the ticket's text has no room for what could not be set".into()))?;
        let mut fields = Map::new();
        for setting in &self.settings {
            fields.insert(setting.id.clone(), setting.value.clone());
        }
        if self.has_label {
            let labels = fields.entry("labels").or_insert_with(|| json!([]));
            if let Some(labels) = labels.as_array_mut() {
                labels.push(self.marker.as_str().into());
            }
        }
        let project = if super::ticket_name::is_number(project) { json!({ "id": project }) } else { json!({ "key": project }) };
        fields.insert("project".into(), project);
        fields.insert("issuetype".into(), issue_type.clone());
        fields.insert("summary".into(), self.title.as_str().into());
        fields.insert("description".into(), text_value(client.kind, &text)?);
        Ok(json!({ "fields": fields }))
    }

    /// The same without the fields that were refused. `None`: the refusal is about something else.
    fn without(&self, said: &Said) -> Option<Self> {
        let mut draft = self.clone();
        for (field, why) in &said.fields {
            let had = draft.settings.len();
            let name = draft.settings.iter().find(|setting| setting.id == *field).map(|setting| setting.name.clone());
            draft.settings.retain(|setting| setting.id != *field);
            let is_label = field == "labels" && draft.has_label;
            if draft.settings.len() == had && !is_label {
                // A field that we did not send must have a value: nothing of ours can be left out for it.
                return None;
            }
            draft.has_label &= !is_label;
            if let Some(name) = name {
                draft.left_out.push(format!("{name}: {why}"));
            }
        }
        (!said.is_of_more && !said.fields.is_empty()).then_some(draft)
    }
}

/// A ticket, ready to be created.
struct TicketCreation<'a> {
    desk: &'a Jira,
    form: Arc<Form>,
    draft: Draft,
    body: Value,
}

/// Gets a ticket ready to be created.
pub(super) async fn ready<'a>(desk: &'a Jira, new: &NewTicket, marker: &str) -> Result<Box<dyn PreparedWrite<'a> + 'a>, HelpDeskError> {
    let asked = asked(&desk.section, new)?;
    let form = desk.form().await?;
    let mut settings = Vec::new();
    let mut left_out = asked.missing.clone();
    for (name, value) in &asked.fields {
        match desk.setting(&form, name, value).await? {
            Ok(setting) => settings.push(setting),
            Err(why) => left_out.push(format!("{}: {why}", shown(name, MAX_TOLD))),
        }
    }
    let draft = Draft {
        new: Arc::new(new.clone()),
        marker: marker.to_owned(),
        title: title_utf16(&asked.title, MAX_TITLE),
        description: asked.description,
        settings,
        left_out,
        has_label: form.has("labels") != Some(false),
    };
    TicketCreation::prepared(desk, form, draft)
}

impl<'a> TicketCreation<'a> {
    fn prepared(desk: &'a Jira, form: Arc<Form>, draft: Draft) -> Result<Box<dyn PreparedWrite<'a> + 'a>, HelpDeskError> {
        let body = draft.body(desk.section.project.trim(), &form.issue_type, &desk.client)?;
        Ok(Box::new(Self { desk, form, draft, body }))
    }
}

#[async_trait]
impl<'a> PreparedWrite<'a> for TicketCreation<'a> {
    async fn send(self: Box<Self>) -> WriteOutcome<'a> {
        let Self { desk, form, draft, body } = *self;
        let ready = match desk.client.ready("issue".to_owned(), Body::Json(body), "the new ticket") {
            Ok(ready) => ready,
            Err(error) => return WriteOutcome::Refused(error),
        };
        match ready.send().await {
            Sent::Done(body) => match body["key"].as_str() {
                Some(key) => WriteOutcome::Written(key.to_owned()),
                None => super::unknown("the new ticket"),
            },
            Sent::Refused(Fault::Refused { what, said }) => {
                desk.forms.doubt();
                if let Some(Ok(next)) = draft.without(&said).map(|draft| Self::prepared(desk, form.clone(), draft)) {
                    return WriteOutcome::TryInstead(next);
                }
                let fault = Fault::Refused { what, said };
                // The project or the issue type may be another now.
                if Instant::now().duration_since(form.asked_at) > MAY_BE_OLD {
                    return WriteOutcome::Refused(HelpDeskError::passing(fault.to_string()));
                }
                WriteOutcome::Refused(fault.into())
            }
            Sent::Refused(fault) => WriteOutcome::Refused(fault.into()),
            Sent::Unknown(error) => WriteOutcome::Unknown { error, repeat_after: None },
        }
    }
}

impl Jira {
    /// A field's value, or why the ticket cannot have it.
    pub(super) async fn setting(&self, form: &Form, name: &str, value: &Value) -> Result<Result<Setting, String>, HelpDeskError> {
        if let Some(field) = form.field(name) {
            return Ok(field.value(&self.client, value).await);
        }
        let all = self.all_fields().await?;
        Ok(match fields::found(&all, name) {
            Some(field) if !form.is_known() => field.value(&self.client, value).await,
            Some(field) => {
                Err(format!("not on the screen for new tickets of {} ({})", shown(&self.section.project, 60), shown(&field.id, 60)))
            }
            None => Err("Jira has no field of this name, or does not show it to the API user".to_owned()),
        })
    }
}

/// The ticket with the marker. A search lags by up to five seconds behind what was written.
pub(super) async fn find(desk: &Jira, marker: &str) -> Result<Option<String>, HelpDeskError> {
    // It stands between quotation marks.
    let Some(hex) = marker.rsplit(['/', '-']).next().filter(|_| !marker.contains(['"', '\\'])) else { return Ok(None) };
    let project = desk.project_clause();
    let queries = [format!("{project} AND labels = \"{marker}\""), format!("{project} AND description ~ \"{hex}\"")];
    let mut searches = queries.iter();
    if desk.forms.peek().is_some_and(|form| form.has("labels") == Some(true)) {
        searches = queries[..1].iter();
    }
    for query in searches {
        let issues = desk.search(query, &["labels", "description"], 20, "the ticket").await?;
        let mut marked: Vec<&Value> = issues.iter().filter(|issue| issue["fields"].to_string().contains(marker)).collect();
        // Of two, the first that was made.
        marked.sort_by_key(|issue| issue["id"].as_str().and_then(|id| id.parse::<u64>().ok()).unwrap_or(u64::MAX));
        if let Some(key) = marked.first().and_then(|issue| issue["key"].as_str()) {
            return Ok(Some(key.to_owned()));
        }
    }
    Ok(None)
}
