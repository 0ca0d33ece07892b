//! The guide's two JSON settings, *Time Entry Default Data* and *Ticket Default Data*, read as they stand there (autotask-extension.md
//! a.17): SOAP's names or REST's in any case, `null` for what is not given.
//!
//! Must not contact anything: names are resolved when they are used.

use std::collections::BTreeMap;

use deskbridge_core::text::shown;
use serde_json::{Map, Number, Value};

/// Longest value that is told in a message.
const MAX_SHOWN: usize = 60;

/// *Time Entry Default Data*.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TimeDefaults {
    /// Makes a representative's user name an e-mail address.
    pub default_domain: Option<String>,
    /// The role under which the work is recorded.
    pub role_name: Option<String>,
    /// What the entry says; customers may read it.
    pub summary_notes: Option<String>,
    /// The work type.
    pub billing_code: Option<i64>,
    /// The contract.
    pub contract: Option<i64>,
    /// Added to the hours to bill.
    pub offset_hours: Option<Number>,
    /// Whether the entry is billed at all.
    pub is_non_billable: Option<bool>,
    /// Whether it stands on the invoice.
    pub show_on_invoice: Option<bool>,
}

/// The session decides these, or Autotask does.
const DECIDED_ELSEWHERE: [&str; 13] = [
    "type",
    "timeentrytype",
    "date",
    "dateworked",
    "startdatetime",
    "enddatetime",
    "hoursworked",
    "createdatetime",
    "creatoruserid",
    "createrid",
    "internalrepid",
    "lastmodifieduserid",
    "lastmodifieddatetime",
];

impl TimeDefaults {
    /// Reads the setting. The error says what is expected.
    pub fn read(text: &str) -> Result<Self, String> {
        let mut read = Self::default();
        for (name, value) in object(text)? {
            if value.is_null() {
                continue;
            }
            match name.to_ascii_lowercase().as_str() {
                "defaultdomain" => read.default_domain = Some(text_of(&name, &value)?.trim_start_matches('@').to_owned()),
                "rolename" => read.role_name = Some(text_of(&name, &value)?),
                "summarynotes" => read.summary_notes = Some(text_of(&name, &value)?),
                "allocationcodeid" | "billingcodeid" => read.billing_code = Some(number_of(&name, &value)?),
                "contractid" => read.contract = Some(number_of(&name, &value)?),
                "offsethours" => read.offset_hours = Some(hours_of(&name, &value)?),
                "nonbillable" | "isnonbillable" => read.is_non_billable = Some(truth_of(&name, &value)?),
                "showoninvoice" => read.show_on_invoice = Some(truth_of(&name, &value)?),
                "taskid" | "internalallocationcodeid" | "internalbillingcodeid" => {
                    return Err(format!(
                        "{name} null: Autotask takes one of ticket, task and internal work type only, and the time goes onto the ticket"
                    ));
                }
                known if DECIDED_ELSEWHERE.contains(&known) => {}
                _ => {
                    return Err(format!(
                        "a JSON object without “{}”; known are defaultDomain, roleName, summaryNotes, allocationCodeID, contractID, offsetHours, nonBillable and showOnInvoice",
                        shown(&name, MAX_SHOWN)
                    ));
                }
            }
        }
        Ok(read)
    }

    /// What must be there and is not.
    pub fn missing(&self) -> Option<&'static str> {
        match (&self.role_name, &self.summary_notes) {
            (None, _) => Some("a JSON object with roleName: a role your representatives hold in Autotask"),
            (_, None) => Some("a JSON object with summaryNotes: what each time entry says"),
            _ => None,
        }
    }
}

/// A value given for a ticket's field.
#[derive(Clone, Debug, PartialEq)]
pub struct Given {
    /// The value.
    pub value: Value,
    /// It is a name, even if it looks like a number.
    pub is_name: bool,
}

/// *Ticket Default Data*, or the fields of an external key: by REST's field name, without those that are null.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TicketDefaults(pub BTreeMap<String, Given>);

/// Other names of a ticket's fields: those of SOAP, of the guide, and plain ones (autotask-extension.md a.5, a.17).
const NAMES: [(&str, &str, bool); 16] = [
    ("accountid", "companyID", false),
    ("accountname", "companyID", true),
    ("companyname", "companyID", true),
    ("accountphysicallocationid", "companyLocationID", false),
    ("allocationcodeid", "billingCodeID", false),
    ("installedproductid", "configurationItemID", false),
    ("aemalertid", "rmmAlertID", false),
    ("businessdivisionsubdivisionid", "organizationalLevelAssociationID", false),
    ("assignedresourcename", "assignedResourceID", true),
    ("assignedresourcerolename", "assignedResourceRoleID", true),
    ("queuename", "queueID", false),
    ("subject", "title", false),
    ("title", "title", false),
    ("description", "description", false),
    ("name", "name", false),
    ("email", "email", false),
];

/// REST's name of the field that `name` means, and whether its value is a name.
fn known_name(name: &str) -> Option<(&'static str, bool)> {
    NAMES.iter().find(|(other, ..)| name.eq_ignore_ascii_case(other)).map(|(_, field, is_name)| (*field, *is_name))
}

/// REST's name of the field that `name` means; `name` itself where it has no other.
pub(super) fn field_name(name: &str) -> &str {
    known_name(name).map_or(name, |(field, _)| field)
}

impl TicketDefaults {
    /// Reads the setting. The error says what is expected.
    pub fn read(text: &str) -> Result<Self, String> {
        Self::of(object(text)?)
    }

    /// The fields of a JSON object.
    pub fn of(fields: Map<String, Value>) -> Result<Self, String> {
        let mut read = BTreeMap::new();
        for (name, value) in fields {
            match &value {
                Value::Null => continue,
                Value::String(_) | Value::Number(_) | Value::Bool(_) => {}
                Value::Array(_) if name.eq_ignore_ascii_case("userDefinedFields") => {}
                Value::Array(_) | Value::Object(_) => return Err(format!("a text or a number for “{}”", shown(&name, MAX_SHOWN))),
            }
            let (name, is_name) = known_name(&name).map_or((name, false), |(field, is_name)| (field.to_owned(), is_name));
            read.insert(canonical(&read, name), Given { value, is_name });
        }
        Ok(Self(read))
    }

    /// These over `self`.
    #[must_use]
    pub fn overridden_by(&self, other: Self) -> Self {
        let mut all = self.clone();
        for (name, given) in other.0 {
            let name = canonical(&all.0, name);
            all.0.insert(name, given);
        }
        all
    }
}

/// The name under which `known` has the field already, whatever its case.
fn canonical(known: &BTreeMap<String, Given>, name: String) -> String {
    known.keys().find(|key| key.eq_ignore_ascii_case(&name)).cloned().unwrap_or(name)
}

fn object(text: &str) -> Result<Map<String, Value>, String> {
    serde_json::from_str(text).map_err(|error| format!("a JSON object (line {}, column {} is none)", error.line(), error.column()))
}

fn text_of(name: &str, value: &Value) -> Result<String, String> {
    let text = value.as_str().map(str::trim).filter(|text| !text.is_empty());
    text.map(str::to_owned).ok_or_else(|| format!("a text for {name}, or null"))
}

fn number_of(name: &str, value: &Value) -> Result<i64, String> {
    whole_number(value).ok_or_else(|| format!("a number for {name}, or null"))
}

/// A whole number, also one written as a text.
pub(super) fn whole_number(value: &Value) -> Option<i64> {
    value.as_i64().or_else(|| value.as_str()?.trim().parse().ok())
}

fn hours_of(name: &str, value: &Value) -> Result<Number, String> {
    let number = value.as_number().cloned().or_else(|| Number::from_f64(value.as_str()?.trim().parse().ok()?));
    number.ok_or_else(|| format!("hours for {name}, or null"))
}

fn truth_of(name: &str, value: &Value) -> Result<bool, String> {
    value.as_bool().ok_or_else(|| format!("true or false for {name}, or null"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// As in the guide's picture (seeds/003), with what its text names besides.
    const GUIDE_TIME: &str = r#"{
        "defaultDomain": "example.com", "roleName": "Sample Role", "summaryNotes": "Bomgar Session", "taskId": null,
        "internalAllocationCodeID": null, "type": null, "date": null, "offsetHours": null, "internalRepID": null,
        "creatorUserID": null, "allocationCodeID": null, "contractID": null
    }"#;

    #[test]
    fn the_guides_data_is_read_as_it_stands() {
        let read = TimeDefaults::read(GUIDE_TIME).unwrap();
        let expected = TimeDefaults {
            default_domain: Some("example.com".into()),
            role_name: Some("Sample Role".into()),
            summary_notes: Some("Bomgar Session".into()),
            ..TimeDefaults::default()
        };
        assert_eq!(read, expected);
        assert_eq!(read.missing(), None);
        let read =
            TimeDefaults::read(r#"{"ALLOCATIONCODEID": "29683407", "contractID": 5, "offsetHours": 0.25, "unknown": null}"#).unwrap();
        assert_eq!((read.billing_code, read.contract, read.offset_hours.unwrap().as_f64()), (Some(29_683_407), Some(5), Some(0.25)));
    }

    #[test]
    fn what_cannot_be_used_is_told() {
        let check = |text: &str, part: &str| {
            let said = TimeDefaults::read(text).unwrap_err();
            assert!(said.contains(part), "{text}: {said}");
        };
        check("[]", "a JSON object");
        check("{", "line 1");
        check(r#"{"roleName": 8}"#, "a text for roleName");
        check(r#"{"contractID": "five"}"#, "a number for contractID");
        check(r#"{"taskId": 7}"#, "taskId null");
        check(r#"{"rollName": "x"}"#, "without “rollName”");
        assert!(TimeDefaults::read("{}").unwrap().missing().unwrap().contains("roleName"));
        assert!(TimeDefaults::read(r#"{"roleName":"a"}"#).unwrap().missing().unwrap().contains("summaryNotes"));
        assert!(TicketDefaults::read(r#"{"a": {"b": 1}}"#).unwrap_err().contains("“a”"));
    }

    #[test]
    fn a_tickets_fields_have_rests_names_and_the_external_keys_win() {
        let defaults = TicketDefaults::read(
            r#"{"accountName": "Acme, Inc.", "userAgentID": null, "allocationCodeID": null, "AssignedResourceName": "defaultuser1",
                "assignedResourceRoleName": "Customer Service Representative", "Priority": "High"}"#,
        )
        .unwrap();
        let names: Vec<&str> = defaults.0.keys().map(String::as_str).collect();
        assert_eq!(names, ["Priority", "assignedResourceID", "assignedResourceRoleID", "companyID"]);
        let Value::Object(key) = json!({ "accountID": 0, "priority": 2, "subject": "Printer", "assignedResourceName": null }) else {
            panic!("an object")
        };
        let all = defaults.overridden_by(TicketDefaults::of(key).unwrap()).0;
        assert_eq!(all["companyID"], Given { value: json!(0), is_name: false });
        assert_eq!(all["Priority"].value, json!(2));
        assert_eq!(all["title"].value, json!("Printer"));
        assert_eq!(all["assignedResourceID"], Given { value: json!("defaultuser1"), is_name: true }, "null is not given");
    }
}
