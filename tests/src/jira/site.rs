//! What stands in the simulated Jira, and what it refuses to take.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Map, Value, json};
use time::OffsetDateTime;
use time::macros::format_description;
use tokio::time::Instant;

use super::{Kind, Options, vendor};

/// Most characters of a text, in UTF-16 units (argus-tickets.md 2.2).
pub(super) const TEXT_MAX: usize = 32_767;
/// Most characters of a title.
const SUMMARY_MAX: usize = 255;
/// The project's id.
pub(super) const PROJECT_ID: &str = "10000";

/// What an error answers: messages about the whole, and about fields.
#[derive(Clone, Debug, Default)]
pub(super) struct Errors {
    pub(super) messages: Vec<String>,
    pub(super) fields: BTreeMap<String, String>,
}

impl Errors {
    pub(super) fn of(message: impl Into<String>) -> Self {
        Self { messages: vec![message.into()], ..Self::default() }
    }

    pub(super) fn field(name: &str, message: impl Into<String>) -> Self {
        Self { fields: BTreeMap::from([(name.to_owned(), message.into())]), ..Self::default() }
    }

    pub(super) fn body(&self) -> Value {
        json!({ "errorMessages": self.messages, "errors": self.fields })
    }
}

/// A ticket.
#[derive(Clone, Debug)]
pub struct Issue {
    /// Its number in the whole of Jira.
    pub id: u64,
    /// `NET-7`.
    pub key: String,
    /// All of them, as they were taken.
    pub fields: Map<String, Value>,
    /// Name of its status.
    pub status: String,
    /// Its comments, oldest first, as they were taken.
    pub comments: Vec<Value>,
    /// Its work log, as it was taken.
    pub worklogs: Vec<Value>,
    /// Its files: id, name, type, content.
    pub files: Vec<(u64, String, String, Vec<u8>)>,
    /// A search knows it from then on.
    pub(super) found_from: Instant,
}

/// A field of the site.
#[derive(Clone, Debug)]
pub struct Field {
    /// `customfield_10001`, or the name of a field of Jira's own.
    pub id: String,
    /// What people call it.
    pub name: String,
    /// `type`, `items`, `custom`, `system`.
    pub schema: Value,
    /// Its values, where it has a list of them.
    pub options: Vec<String>,
    /// It is on the screen for new tickets.
    pub is_on_screen: bool,
    /// New tickets must have it.
    pub is_required: bool,
}

/// A transition of the workflow, possible from every status but its own.
#[derive(Clone, Debug)]
pub struct Transition {
    /// Its name.
    pub name: String,
    /// The status it leads to.
    pub to: String,
}

pub(super) struct Site {
    pub(super) options: Options,
    /// Its address, with a slash at the end.
    pub(super) url: String,
    pub(super) issues: Vec<Issue>,
    pub(super) fields: Vec<Field>,
    pub(super) transitions: Vec<Transition>,
    pub(super) types: Vec<(String, String)>,
    pub(super) denied: Vec<String>,
    /// What was sent or answered that the vendor's document does not have.
    pub(super) violations: Vec<String>,
    next_id: u64,
    moved: BTreeMap<String, String>,
}

fn custom(number: u64, name: &str, kind: &str, items: Option<&str>, type_key: &str, options: &[&str]) -> Field {
    let custom = format!("com.atlassian.jira.plugin.system.customfieldtypes:{type_key}");
    let mut schema = json!({ "type": kind, "custom": custom, "customId": number });
    if let Some(items) = items {
        schema["items"] = json!(items);
    }
    let options = options.iter().map(|option| (*option).to_owned()).collect();
    Field { id: format!("customfield_{number}"), name: name.to_owned(), schema, options, is_on_screen: true, is_required: false }
}

fn own(id: &str, name: &str, kind: &str, items: Option<&str>, options: &[&str], is_required: bool) -> Field {
    let mut schema = json!({ "type": kind, "system": id });
    if let Some(items) = items {
        schema["items"] = json!(items);
    }
    let options = options.iter().map(|option| (*option).to_owned()).collect();
    Field { id: id.to_owned(), name: name.to_owned(), schema, options, is_on_screen: true, is_required }
}

impl Site {
    pub(super) fn new(options: Options, url: String) -> Self {
        let hidden = |field: Field| Field { is_on_screen: false, ..field };
        let fields = vec![
            own("summary", "Summary", "string", None, &[], true),
            own("description", "Description", "string", None, &[], false),
            own("project", "Project", "project", None, &[], true),
            own("issuetype", "Issue Type", "issuetype", None, &[], true),
            own("labels", "Labels", "array", Some("string"), &[], false),
            own("priority", "Priority", "priority", None, &["Highest", "High", "Medium", "Low"], false),
            own("reporter", "Reporter", "user", None, &[], false),
            custom(10_001, "Host", "string", None, "textfield", &[]),
            custom(10_002, "Started", "datetime", None, "datetime", &[]),
            custom(10_003, "Severity", "option", None, "select", &["High", "Low"]),
            custom(10_004, "Level", "number", None, "float", &[]),
            custom(10_005, "Details", "string", None, "textarea", &[]),
            custom(10_006, "Keywords", "array", Some("string"), "labels", &[]),
            custom(10_007, "Sites", "array", Some("option"), "multiselect", &["Oslo", "Bergen"]),
            custom(10_008, "Contact", "user", None, "userpicker", &[]),
            custom(10_009, "Day", "date", None, "datepicker", &[]),
            hidden(custom(10_020, "Hidden", "string", None, "textfield", &[])),
        ];
        let transition = |name: &str, to: &str| Transition { name: name.to_owned(), to: to.to_owned() };
        Self {
            options,
            url,
            issues: Vec::new(),
            fields,
            transitions: vec![transition("Start", "In Progress"), transition("Resolve", "Done")],
            types: vec![("10001".to_owned(), "Task".to_owned()), ("10002".to_owned(), "Incident".to_owned())],
            denied: Vec::new(),
            violations: Vec::new(),
            next_id: 20_000,
            moved: BTreeMap::new(),
        }
    }

    pub(super) fn id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    pub(super) fn issue(&self, name: &str) -> Option<&Issue> {
        let name = self.moved.get(name).map_or(name, String::as_str);
        self.issues.iter().find(|issue| issue.key.eq_ignore_ascii_case(name) || issue.id.to_string() == name)
    }

    pub(super) fn issue_mut(&mut self, name: &str) -> Option<&mut Issue> {
        let key = self.issue(name)?.key.clone();
        self.issues.iter_mut().find(|issue| issue.key == key)
    }

    /// Moves a ticket to another project; its old key goes on to name it.
    pub(super) fn move_issue(&mut self, key: &str, new: &str) {
        if let Some(issue) = self.issues.iter_mut().find(|issue| issue.key == key) {
            new.clone_into(&mut issue.key);
            self.moved.insert(key.to_owned(), new.to_owned());
        }
    }

    pub(super) fn category(status: &str) -> (&'static str, &'static str, u32) {
        match status {
            "Done" | "Rejected" => ("done", "Done", 3),
            "In Progress" => ("indeterminate", "In Progress", 4),
            _ => ("new", "To Do", 2),
        }
    }

    /// Makes a ticket of what was asked for.
    pub(super) fn create(&mut self, fields: Map<String, Value>) -> Result<&Issue, Errors> {
        let mut errors = Errors::default();
        for (id, value) in &fields {
            let known = self.fields.iter().find(|field| field.id == *id && field.is_on_screen);
            let wrong = match known {
                None => Some(format!("Field '{id}' cannot be set. It is not on the appropriate screen, or unknown.")),
                Some(field) => self.value_fault(field, value),
            };
            if let Some(wrong) = wrong {
                errors.fields.insert(id.clone(), wrong);
            }
        }
        for field in self.fields.iter().filter(|field| field.is_required && !fields.contains_key(&field.id)) {
            let message = match field.id.as_str() {
                "summary" => "You must specify a summary of the issue.".to_owned(),
                "project" => "valid project is required".to_owned(),
                "issuetype" => "Specify an issue type".to_owned(),
                _ => format!("{} is required.", field.name),
            };
            errors.fields.insert(field.id.clone(), message);
        }
        if self.denied.iter().any(|permission| permission == "CREATE_ISSUES") {
            errors = Errors::field("project", "You cannot create issues in this project.");
        }
        if !(errors.messages.is_empty() && errors.fields.is_empty()) {
            return Err(errors);
        }
        let id = self.id();
        let key = format!("{}-{}", self.options.project, self.issues.len() + 1);
        let found_from = Instant::now() + self.options.search_lag;
        let status = "To Do".to_owned();
        self.issues.push(Issue { id, key, fields, status, comments: Vec::new(), worklogs: Vec::new(), files: Vec::new(), found_from });
        Ok(&self.issues[self.issues.len() - 1])
    }

    /// What is wrong with a text of several lines, in this Jira's form.
    pub(super) fn text_fault(&self, value: &Value) -> Option<String> {
        let length = match self.options.kind {
            Kind::Cloud => {
                if !value.is_object() {
                    return Some("Operation value must be an Atlassian Document (see the Atlassian Document Format)".to_owned());
                }
                if let Some(fault) = vendor::adf_fault(value) {
                    return Some(format!("INVALID_INPUT: {fault}"));
                }
                value.to_string().encode_utf16().count()
            }
            Kind::DataCenter => match value.as_str() {
                None => return Some("Operation value must be a string".to_owned()),
                Some(text) => text.encode_utf16().count(),
            },
        };
        (length > TEXT_MAX).then(|| "The entered text is too long. It exceeds the allowed limit of 32,767 characters.".to_owned())
    }

    fn value_fault(&self, field: &Field, value: &Value) -> Option<String> {
        let kind = field.schema["type"].as_str().unwrap_or_default();
        match field.id.as_str() {
            "summary" => return summary_fault(value),
            "description" => return self.text_fault(value),
            "project" => {
                let is_ours = value["key"].as_str() == Some(self.options.project.as_str()) || value["id"].as_str() == Some(PROJECT_ID);
                return (!is_ours).then(|| "valid project is required".to_owned());
            }
            "issuetype" => {
                let is_there = self.types.iter().any(|(id, name)| value["id"].as_str() == Some(id) || value["name"].as_str() == Some(name));
                return (!is_there).then(|| "The issue type selected is invalid.".to_owned());
            }
            _ => {}
        }
        if field.schema["custom"].as_str().is_some_and(|custom| custom.ends_with(":textarea")) {
            return self.text_fault(value);
        }
        if kind == "array" {
            let Some(values) = value.as_array() else { return Some("data was not an array".to_owned()) };
            let items = field.schema["items"].as_str().unwrap_or_default();
            return values.iter().find_map(|value| self.single_fault(field, items, value));
        }
        self.single_fault(field, kind, value)
    }

    fn single_fault(&self, field: &Field, kind: &str, value: &Value) -> Option<String> {
        let text = value.as_str();
        let is_time = |time: &str| {
            let format = format_description!(
                "[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3][offset_hour sign:mandatory][offset_minute]"
            );
            OffsetDateTime::parse(time, &format).is_ok()
        };
        let format = format_description!("[year]-[month]-[day]");
        let is_day = |day: &str| time::Date::parse(day, &format).is_ok();
        match kind {
            "string" if field.schema["type"] == "array" => match text {
                None => Some("string expected".to_owned()),
                Some(label) if label.contains(char::is_whitespace) => {
                    Some(format!("The label '{label}' contains spaces which is invalid."))
                }
                Some(label) if label.encode_utf16().count() > 255 => Some(format!("The label '{label}' exceeds the maximum length")),
                Some(_) => None,
            },
            "string" => match text {
                None => Some("Operation value must be a string".to_owned()),
                Some(text) if text.encode_utf16().count() > 255 => {
                    Some("The entered text is too long. It exceeds the allowed limit of 255 characters.".to_owned())
                }
                Some(_) => None,
            },
            "number" => (!value.is_number()).then(|| "Operation value must be a number".to_owned()),
            "datetime" => (!text.is_some_and(is_time)).then(|| format!("Error parsing time: {value}")),
            "date" => (!text.is_some_and(is_day)).then(|| "Error parsing date string".to_owned()),
            "option" | "priority" => {
                let key = if kind == "option" { "value" } else { "name" };
                let named = value[key].as_str().map(str::to_owned);
                match named {
                    None => Some(format!("Specify a valid 'id' or '{key}' for {}", field.name)),
                    Some(named) if !field.options.contains(&named) => Some(format!("Option value '{named}' is not valid")),
                    Some(_) => None,
                }
            }
            "user" => {
                let key = if self.options.kind == Kind::Cloud { "accountId" } else { "name" };
                let is_known = value[key].as_str().is_some_and(|name| self.options.users.iter().any(|user| user.id == name));
                (!is_known).then(|| "User does not exist.".to_owned())
            }
            _ => Some(format!("no value of the type {kind}")),
        }
    }
}

fn summary_fault(value: &Value) -> Option<String> {
    match value.as_str() {
        None => Some("Operation value must be a string".to_owned()),
        Some(text) if text.trim().is_empty() => Some("You must specify a summary of the issue.".to_owned()),
        Some(text) if text.contains(['\n', '\r']) => Some("The summary is invalid because it contains newline characters.".to_owned()),
        Some(text) if text.encode_utf16().count() > SUMMARY_MAX => Some("Summary can't exceed 255 characters.".to_owned()),
        Some(_) => None,
    }
}

/// Whether a search knows a ticket already.
pub(super) fn is_found(issue: &Issue) -> bool {
    Instant::now() >= issue.found_from
}

/// The longest lag of a search there is (contract 41).
pub const LONGEST_LAG: Duration = Duration::from_secs(5);
