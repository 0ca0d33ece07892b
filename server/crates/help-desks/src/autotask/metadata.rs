//! What a tenant calls its fields and the values of its lists: these differ from tenant to tenant, people know the labels, and
//! Autotask takes the numbers only (autotask-extension.md a.5).

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use super::client::{Client, Fault};
use super::query::Entity;
use crate::HelpDeskError;
use deskbridge_http_client::cached::{Cached, Freshness, Lifetime};

/// A description is believed this long.
const LIFE: Duration = Duration::from_mins(10);
/// Labels named in a message.
const MAX_LABELS: usize = 30;

/// A field of an entity.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Field {
    /// As Autotask writes it.
    pub(super) name: String,
    /// `string`, `integer`, `datetime`, …
    pub(super) data_type: String,
    pub(super) is_required: bool,
    pub(super) is_read_only: bool,
    /// The values of a list; none for other fields.
    pub(super) list: Option<Vec<Choice>>,
}

/// A value of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Choice {
    pub(super) value: i64,
    pub(super) label: String,
    pub(super) is_active: bool,
    pub(super) is_default: bool,
}

impl Field {
    fn read(row: &Value) -> Option<Self> {
        let yes = |name: &str| row[name].as_bool() == Some(true);
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let choice = |row: &Value| {
            Some(Choice {
                // A string that holds a number (autotask-extension.md a.5).
                value: row["value"].as_i64().or_else(|| row["value"].as_str()?.trim().parse().ok())?,
                label: text(&row["label"]).trim().to_owned(),
                is_active: row["isActive"].as_bool() != Some(false),
                is_default: row["isDefaultValue"].as_bool() == Some(true),
            })
        };
        Some(Self {
            name: row["name"].as_str()?.to_owned(),
            data_type: text(&row["dataType"]),
            is_required: yes("isRequired"),
            is_read_only: yes("isReadOnly"),
            list: yes("isPickList").then(|| row["picklistValues"].as_array().into_iter().flatten().filter_map(choice).collect()),
        })
    }

    fn choices(&self) -> impl Iterator<Item = &Choice> {
        self.list.iter().flatten().filter(|choice| choice.is_active)
    }

    /// The number behind a label of the field's list.
    pub(super) fn by_label(&self, label: &str) -> Result<i64, HelpDeskError> {
        let label = label.trim();
        let found: Vec<&Choice> = self.choices().filter(|choice| choice.label.to_lowercase() == label.to_lowercase()).collect();
        match found.as_slice() {
            [choice] => Ok(choice.value),
            [] => Err(HelpDeskError::Refused(format!("Autotask's {} has no “{label}”; it has {}", self.name, self.labels()))),
            several => {
                let numbers: Vec<String> = several.iter().map(|choice| choice.value.to_string()).collect();
                Err(HelpDeskError::Refused(format!(
                    "Autotask's {} has “{label}” more than once; give the number: {}",
                    self.name,
                    numbers.join(", ")
                )))
            }
        }
    }

    /// The label of a number, if the list has it.
    pub(super) fn label_of(&self, value: i64) -> Option<&str> {
        self.choices().find(|choice| choice.value == value).map(|choice| choice.label.as_str())
    }

    /// The value the tenant's own form begins with, else `usual` if the list has it, else the first.
    pub(super) fn beginning(&self, usual: i64) -> Option<i64> {
        let of = |wanted: &dyn Fn(&Choice) -> bool| self.choices().find(|choice| wanted(choice)).map(|choice| choice.value);
        of(&|choice| choice.is_default).or_else(|| of(&|choice| choice.value == usual)).or_else(|| of(&|_| true))
    }

    pub(super) fn labels(&self) -> String {
        let mut labels: Vec<String> = self.choices().map(|choice| format!("“{}” ({})", choice.label, choice.value)).collect();
        let omitted = labels.len().saturating_sub(MAX_LABELS);
        labels.truncate(MAX_LABELS);
        if labels.is_empty() {
            return "none".to_owned();
        }
        let more = if omitted == 0 { String::new() } else { format!(" and {omitted} more") };
        labels.join(", ") + &more
    }
}

/// An entity's fields.
#[derive(Debug)]
pub(super) struct Fields(Vec<Field>);

impl Fields {
    pub(super) fn read(answer: &Value) -> Self {
        Self(answer["fields"].as_array().into_iter().flatten().filter_map(Field::read).collect())
    }

    /// A field, whatever the case of its name.
    pub(super) fn get(&self, name: &str) -> Option<&Field> {
        self.0.iter().find(|field| field.name.eq_ignore_ascii_case(name))
    }
}

/// The descriptions of the two entities we write with lists.
pub(super) struct Metadata {
    tickets: Cached<Fields, Fault>,
    notes: Cached<Fields, Fault>,
}

impl Metadata {
    pub(super) fn new() -> Self {
        Self {
            tickets: Cached::new(Lifetime::renewed_after(LIFE), super::FAILURE_LIFE),
            notes: Cached::new(Lifetime::renewed_after(LIFE), super::FAILURE_LIFE),
        }
    }

    pub(super) async fn of_tickets(&self, client: &Client, freshness: &Freshness) -> Result<Arc<Fields>, Fault> {
        self.tickets.get(freshness, || ask(client, Entity::Tickets)).await
    }

    pub(super) async fn of_notes(&self, client: &Client, freshness: &Freshness) -> Result<Arc<Fields>, Fault> {
        self.notes.get(freshness, || ask(client, Entity::TicketNotes)).await
    }

    /// What was written by these descriptions was refused: they are asked for again when they are next wanted.
    pub(super) fn doubt(&self) {
        self.tickets.doubt();
        self.notes.doubt();
    }
}

async fn ask(client: &Client, entity: Entity) -> Result<Fields, Fault> {
    Ok(Fields::read(&client.describe(entity, "/fields").await?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn field(choices: &Value) -> Field {
        let row = json!({ "name": "noteType", "dataType": "integer", "isRequired": true, "isPickList": true, "picklistValues": choices });
        Fields::read(&json!({ "fields": [row] })).get("NOTETYPE").unwrap().clone()
    }

    #[test]
    fn labels_become_numbers_and_unknown_ones_are_told_with_those_there_are() {
        let field = field(&json!([
            { "value": "1", "label": "Task Summary ", "isActive": true },
            { "value": "2", "label": "Task Detail", "isActive": true, "isDefaultValue": true },
            { "value": "3", "label": "Old", "isActive": false },
            { "value": "4", "label": "Twice", "isActive": true },
            { "value": "5", "label": "twice", "isActive": true },
        ]));
        assert_eq!(field.by_label(" task summary").unwrap(), 1);
        assert_eq!(field.label_of(2), Some("Task Detail"));
        let said = |label| field.by_label(label).unwrap_err().to_string();
        assert!(said("Old").contains("“Task Summary” (1), “Task Detail” (2)"), "{}", said("Old"));
        assert!(!said("none of them").contains("(3)"));
        assert!(said("Twice").contains("4, 5"));
        assert_eq!(field.beginning(1), Some(2));
    }

    #[test]
    fn a_list_without_a_default_begins_with_the_usual_value_or_its_first() {
        let field = field(&json!([{ "value": "8", "label": "A" }, { "value": "1", "label": "New" }]));
        assert_eq!((field.beginning(1), field.beginning(99)), (Some(1), Some(8)));
    }
}
