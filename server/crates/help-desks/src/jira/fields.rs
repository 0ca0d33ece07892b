//! Which fields a new ticket can have, and values in the form each of them takes.
//!
//! Jira refuses a ticket because of one field that is not on the screen, is not known, or has no such option. So what cannot be set is found
//! by the fields' own description (`createmeta`) and left out, with a reason for people.

use deskbridge_core::text::shown;
use deskbridge_documents::{Block, Document, Format, Inline, adf_value, write};
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use time::macros::format_description;
use tokio::time::Instant;

use super::client::{Client, Fault, Kind};
use crate::incident_values::{as_text, title_utf16};

/// Entries of a page (Cloud's limit for `createmeta`).
const PAGE: usize = 200;
/// Most pages that are read.
const MAX_PAGES: usize = 20;
/// Longest text in a field of one line, in UTF-16 units.
const MAX_LINE: usize = 255;
/// Longest text in a field of several lines, in characters: room is left for what the form adds.
const MAX_TEXT: usize = 20_000;
/// Longest name or value told to people.
const MAX_TOLD: usize = 80;
/// Most values that are told where one is none of them.
const MAX_LISTED: usize = 8;

/// A field as `createmeta` describes it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Field {
    pub(super) id: String,
    pub(super) name: String,
    /// `type`, `items`, `custom`, `system`.
    schema: Value,
    /// Empty: anything goes, or Jira does not tell.
    allowed: Vec<Value>,
}

/// What new tickets of the project and issue type can have.
#[derive(Debug)]
pub(super) struct Form {
    /// `{"id": …}` or `{"name": …}`.
    pub(super) issue_type: Value,
    /// On the screen for new tickets. `None`: Jira does not tell.
    fields: Option<Vec<Field>>,
    /// When it was asked for.
    pub(super) asked_at: Instant,
}

/// A value for a field, as Jira takes it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Setting {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) value: Value,
}

impl Form {
    /// Asks Jira. Two requests, unless there are many fields.
    pub(super) async fn load(client: &Client, project: &str, issue_type: &str) -> Result<Self, Fault> {
        let asked_at = Instant::now();
        let base = format!("issue/createmeta/{}/issuetypes", deskbridge_shared::percent::encode(project));
        let wanted = issue_type.trim();
        let plain = if super::ticket_name::is_number(wanted) { json!({ "id": wanted }) } else { json!({ "name": wanted }) };
        let types = match pages(client, &base, &["issueTypes", "values"], "the project's issue types").await {
            Ok(types) => types,
            // Whoever may not create sees no types there; the creation itself says so in words.
            Err(Fault::NotFound { .. } | Fault::Refused { .. }) => return Ok(Self { issue_type: plain, fields: None, asked_at }),
            Err(fault) => return Err(fault),
        };
        let is_it = |found: &&Value| {
            let is = |key: &str| found[key].as_str().is_some_and(|text| text.eq_ignore_ascii_case(wanted));
            found["id"].as_str() == Some(wanted) || is("name") || is("untranslatedName")
        };
        let Some(id) = types.iter().find(is_it).and_then(|found| found["id"].as_str()) else {
            if types.is_empty() {
                return Ok(Self { issue_type: plain, fields: None, asked_at });
            }
            let names: Vec<&str> = types.iter().filter_map(|found| found["name"].as_str()).collect();
            return Err(crate::HelpDeskError::Refused(format!(
                "the project {} has no issue type “{}” for the API user: set jira.type to one of {}",
                shown(project, MAX_TOLD),
                shown(wanted, MAX_TOLD),
                listed(&names)
            ))
            .into());
        };
        let fields = match pages(client, &format!("{base}/{id}"), &["fields", "values", "results"], "the fields of new tickets").await {
            Ok(fields) => Some(fields.iter().filter_map(Field::read).collect()),
            Err(Fault::NotFound { .. } | Fault::Refused { .. }) => None,
            Err(fault) => return Err(fault),
        };
        Ok(Self { issue_type: json!({ "id": id }), fields, asked_at })
    }

    /// Whether new tickets can have the field of this id. `None`: Jira does not tell.
    pub(super) fn has(&self, id: &str) -> Option<bool> {
        Some(self.fields.as_ref()?.iter().any(|field| field.id == id))
    }

    /// The field of that id or name.
    pub(super) fn field(&self, name: &str) -> Option<&Field> {
        found(self.fields.as_deref().unwrap_or_default(), name)
    }

    /// Whether Jira told the fields.
    pub(super) fn is_known(&self) -> bool {
        self.fields.is_some()
    }
}

/// Every field there is, whether it is on a screen or not.
pub(super) async fn all(client: &Client) -> Result<Vec<Field>, Fault> {
    let fields = client.get("field", "the fields").await?;
    Ok(fields.as_array().into_iter().flatten().filter_map(Field::read).collect())
}

/// The field of that id, else of that name.
pub(super) fn found<'a>(fields: &'a [Field], name: &str) -> Option<&'a Field> {
    let name = name.trim();
    let has_name = |field: &&Field| field.name.trim().to_lowercase() == name.to_lowercase();
    fields.iter().find(|field| field.id == name).or_else(|| fields.iter().find(has_name))
}

async fn pages(client: &Client, path: &str, lists: &[&str], what: &'static str) -> Result<Vec<Value>, Fault> {
    let mut all = Vec::new();
    for _ in 0..MAX_PAGES {
        let mut page = client.get(&format!("{path}?startAt={}&maxResults={PAGE}", all.len()), what).await?;
        let list = lists.iter().find_map(|name| match page[*name].take() {
            Value::Array(list) => Some(list),
            _ => None,
        });
        let list = list.unwrap_or_default();
        let is_last = list.is_empty() || page["isLast"].as_bool() == Some(true);
        all.extend(list);
        if is_last || page["total"].as_u64().is_some_and(|total| all.len() as u64 >= total) {
            break;
        }
    }
    Ok(all)
}

impl Field {
    /// From `createmeta` (`fieldId`) or from the list of all fields (`id`).
    fn read(value: &Value) -> Option<Self> {
        let id = ["fieldId", "key", "id"].iter().find_map(|key| value[key].as_str())?;
        Some(Self {
            id: id.to_owned(),
            name: value["name"].as_str().unwrap_or(id).to_owned(),
            schema: value["schema"].clone(),
            allowed: value["allowedValues"].as_array().cloned().unwrap_or_default(),
        })
    }

    fn is_of_lines(&self) -> bool {
        self.schema["custom"].as_str().is_some_and(|custom| custom.ends_with(":textarea"))
            || matches!(self.schema["system"].as_str(), Some("environment" | "description"))
    }

    /// The value in the form this field takes; else why it has none.
    pub(super) async fn value(&self, client: &Client, value: &Value) -> Result<Setting, String> {
        let kind = self.schema["type"].as_str().unwrap_or("any");
        let value = if kind == "array" {
            let items = self.schema["items"].as_str().unwrap_or("any");
            let values = value.as_array().map_or_else(|| std::slice::from_ref(value), Vec::as_slice);
            let mut list = Vec::new();
            for value in values {
                list.push(self.single(client, items, value).await?);
            }
            Value::Array(list)
        } else {
            self.single(client, kind, value).await?
        };
        Ok(Setting { id: self.id.clone(), name: self.name.clone(), value })
    }

    async fn single(&self, client: &Client, kind: &str, value: &Value) -> Result<Value, String> {
        let text = as_text(value);
        let text = text.trim();
        let told = || shown(text, MAX_TOLD);
        match kind {
            // Already in Jira's own form.
            _ if value.is_object() => Ok(value.clone()),
            "string" if self.schema["type"] == "array" => Ok(label(text).into()),
            "string" if self.is_of_lines() => Ok(lines(client.kind, text)),
            "string" => Ok(title_utf16(text, MAX_LINE).into()),
            "number" => {
                let number = value.as_f64().or_else(|| text.parse().ok()).filter(|number: &f64| number.is_finite());
                if value.is_i64() || value.is_u64() {
                    return Ok(value.clone());
                }
                number.map(Value::from).ok_or_else(|| format!("“{}” is no number", told()))
            }
            "date" => day(text).map(Value::from).ok_or_else(|| format!("“{}” is no date", told())),
            "datetime" => moment(text).map(Value::from).ok_or_else(|| format!("“{}” is no time with an offset from UTC", told())),
            "option" | "option-with-child" => self.choice("value", text),
            "user" if client.kind == Kind::Cloud => account(client, text).await,
            "project" => self.choice("key", text),
            "issuelink" => Ok(json!({ "key": text })),
            "user" | "group" | "priority" | "version" | "component" | "resolution" | "securitylevel" | "issuetype" | "status" => {
                self.choice("name", text)
            }
            _ => Ok(value.clone()),
        }
    }

    /// One of the field's values, named by `key` or its id.
    fn choice(&self, key: &str, text: &str) -> Result<Value, String> {
        if self.allowed.is_empty() {
            return Ok(json!({ key: text }));
        }
        let is_named = |allowed: &&Value, same: fn(&str, &str) -> bool| {
            [key, "name", "id"].iter().any(|key| allowed[key].as_str().is_some_and(|name| same(name.trim(), text)))
        };
        let exact = |left: &str, right: &str| left == right;
        let alike = |left: &str, right: &str| left.to_lowercase() == right.to_lowercase();
        let found = self.allowed.iter().find(|allowed| is_named(allowed, exact));
        match found.or_else(|| self.allowed.iter().find(|allowed| is_named(allowed, alike))) {
            Some(allowed) if allowed[key].is_string() => Ok(json!({ key: allowed[key] })),
            Some(allowed) => Ok(json!({ "id": allowed["id"] })),
            None => {
                let names: Vec<&str> =
                    self.allowed.iter().filter_map(|allowed| allowed[key].as_str().or(allowed["name"].as_str())).collect();
                Err(format!("“{}” is none of {}", shown(text, MAX_TOLD), listed(&names)))
            }
        }
    }
}

fn listed(names: &[&str]) -> String {
    let more = if names.len() > MAX_LISTED { ", …" } else { "" };
    let names: Vec<String> = names.iter().take(MAX_LISTED).map(|name| shown(name, MAX_TOLD)).collect();
    format!("{}{more}", names.join(", "))
}

/// A label has no blanks, and at most 255 characters.
pub(super) fn label(text: &str) -> String {
    let words: Vec<&str> =
        text.split(|character: char| character.is_whitespace() || character.is_control()).filter(|word| !word.is_empty()).collect();
    title_utf16(&words.join("_"), MAX_LINE)
}

/// A text of several lines, which shows as it was written.
fn lines(kind: Kind, text: &str) -> Value {
    let text: String = text.chars().take(MAX_TEXT).collect();
    let document = Document::new(vec![Block::Paragraph(vec![Inline::text(text)])]);
    match kind {
        Kind::Cloud => adf_value(&document),
        Kind::DataCenter => write(&document, Format::JiraWiki).into(),
    }
}

/// `2026-11-21`, in the zone the text itself has.
fn day(text: &str) -> Option<String> {
    let format = format_description!("[year]-[month]-[day]");
    let day = time::Date::parse(text, &format).ok().or_else(|| Some(OffsetDateTime::parse(text, &Rfc3339).ok()?.date()))?;
    day.format(&format).ok()
}

/// The same instant as Jira writes it: `2026-11-21T21:14:00.123+0100`.
fn moment(text: &str) -> Option<String> {
    let format = format_description!(
        "[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3][offset_hour sign:mandatory][offset_minute]"
    );
    OffsetDateTime::parse(text, &Rfc3339).ok()?.format(&format).ok()
}

/// Cloud names people by account ids; an address is looked up.
async fn account(client: &Client, text: &str) -> Result<Value, String> {
    if !text.contains('@') {
        return Ok(json!({ "accountId": text }));
    }
    let path = format!("user/search?query={}&maxResults=3", deskbridge_shared::percent::encode(text));
    let users = client.get(&path, "a user").await.map_err(|fault| crate::HelpDeskError::from(fault).to_string())?;
    let users: Vec<&Value> = users.as_array().into_iter().flatten().filter(|user| user["active"] != false).collect();
    let has_address = |user: &&&Value| user["emailAddress"].as_str().is_some_and(|address| address.eq_ignore_ascii_case(text));
    // Most people hide their address, and are found by it all the same.
    let user = users.iter().find(has_address).or_else(|| users.first().filter(|_| users.len() == 1));
    let id = user.and_then(|user| user["accountId"].as_str());
    id.map(|id| json!({ "accountId": id })).ok_or_else(|| format!("no user is found by “{}”", shown(text, MAX_TOLD)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use secrecy::SecretString;

    fn client(kind: Kind) -> Client {
        let credentials = super::super::client::Credentials::Bearer(SecretString::from("x"));
        Client::new("http://127.0.0.1:1/", kind, &credentials, None).unwrap()
    }

    fn field(schema: &Value, allowed: &Value) -> Field {
        Field::read(&json!({ "fieldId": "customfield_1", "name": "F", "schema": schema, "allowedValues": allowed })).unwrap()
    }

    #[tokio::test]
    async fn each_kind_of_field_gets_its_own_form() {
        let options = json!([{ "id": "1", "value": "High" }, { "id": "2", "value": "Low" }]);
        let names = json!([{ "id": "3", "name": "Major" }]);
        let (option, multi) = (json!({ "type": "option" }), json!({ "type": "array", "items": "option" }));
        let area = json!({ "type": "string", "custom": "com.atlassian.jira.plugin.system.customfieldtypes:textarea" });
        for (schema, allowed, value, expected) in [
            (json!({ "type": "string" }), json!(null), json!("a\nb"), Ok(json!("a b"))),
            (json!({ "type": "string" }), json!(null), json!(2), Ok(json!("2"))),
            (json!({ "type": "number" }), json!(null), json!(2), Ok(json!(2))),
            (json!({ "type": "number" }), json!(null), json!("2.5"), Ok(json!(2.5))),
            (json!({ "type": "number" }), json!(null), json!("much"), Err("“much” is no number")),
            (option.clone(), options.clone(), json!("high"), Ok(json!({ "value": "High" }))),
            (option.clone(), options.clone(), json!("2"), Ok(json!({ "value": "Low" }))),
            (option.clone(), options.clone(), json!("Worst"), Err("“Worst” is none of High, Low")),
            (option.clone(), json!(null), json!("Worst"), Ok(json!({ "value": "Worst" }))),
            (option, options.clone(), json!({ "id": "1" }), Ok(json!({ "id": "1" }))),
            (multi.clone(), options.clone(), json!(["High", "Low"]), Ok(json!([{ "value": "High" }, { "value": "Low" }]))),
            (multi, options, json!("High"), Ok(json!([{ "value": "High" }]))),
            (json!({ "type": "array", "items": "string" }), json!(null), json!("core 1"), Ok(json!(["core_1"]))),
            (json!({ "type": "date" }), json!(null), json!("2026-11-21T23:14:00+01:00"), Ok(json!("2026-11-21"))),
            (json!({ "type": "date" }), json!(null), json!("infinity"), Err("“infinity” is no date")),
            (
                json!({ "type": "datetime" }),
                json!(null),
                json!("2026-11-21T21:14:00.123456+01:00"),
                Ok(json!("2026-11-21T21:14:00.123+0100")),
            ),
            (json!({ "type": "datetime" }), json!(null), json!("2026-11-21T21:14:00Z"), Ok(json!("2026-11-21T21:14:00.000+0000"))),
            (
                json!({ "type": "datetime" }),
                json!(null),
                json!("2026-11-21 21:14"),
                Err("“2026-11-21 21:14” is no time with an offset from UTC"),
            ),
            (json!({ "type": "priority" }), names, json!("major"), Ok(json!({ "name": "Major" }))),
            (json!({ "type": "user" }), json!(null), json!("5b10"), Ok(json!({ "accountId": "5b10" }))),
            (
                area,
                json!(null),
                json!("*x*"),
                Ok(
                    json!({ "version": 1, "type": "doc", "content": [{ "type": "paragraph", "content": [{ "type": "text", "text": "*x*" }] }] }),
                ),
            ),
        ] {
            let told = field(&schema, &allowed).value(&client(Kind::Cloud), &value).await.map(|setting| setting.value);
            assert_eq!(told, expected.map_err(str::to_owned), "{schema} {value}");
        }
        let area = json!({ "type": "string", "custom": "com.atlassian.jira.plugin.system.customfieldtypes:textarea" });
        let told = field(&area, &json!(null)).value(&client(Kind::DataCenter), &json!("*x*")).await.unwrap();
        assert_eq!(told.value, json!("\\*x\\*"));
        let told = field(&json!({ "type": "user" }), &json!(null)).value(&client(Kind::DataCenter), &json!("anna")).await.unwrap();
        assert_eq!(told.value, json!({ "name": "anna" }));
    }

    #[test]
    fn a_field_is_named_by_its_id_or_its_name() {
        let named = |id: &str, name: &str| Field::read(&json!({ "fieldId": id, "name": name, "schema": {} })).unwrap();
        let fields = [named("customfield_1", "Host"), named("customfield_2", "customfield_1"), named("priority", "Priority")];
        for (name, expected) in [("customfield_1", "customfield_1"), ("host ", "customfield_1"), ("PRIORITY", "priority")] {
            assert_eq!(found(&fields, name).map(|field| field.id.as_str()), Some(expected), "{name}");
        }
        assert_eq!(found(&fields, "Place"), None);
    }
}
