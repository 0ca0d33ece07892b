//! Bodies of creates and updates: names, types, lengths, choices, references (autotask-extension.md a.5).
//!
//! Everything is checked before anything changes. What depends on more than one field is with the entity's own rules.

use serde_json::{Map, Value};

use super::call::{Checked, Refusal};
use super::schema::{Entity, Field, Kind, Record};
use super::tenant::{Tenant, integer};
use super::times;

/// Fields the account takes in and forgets, whatever its metadata says (a.5, a.6).
const IGNORED: &[&str] = &["createdByContactID"];

/// The fields of `body` that will be stored, under their own names; null clears one. Read-only fields are passed over, as by the real
/// product. A name that is no field, which the real one passes over too, is refused here: it is a mistake of the caller.
pub(super) fn checked(tenant: &Tenant, entity: Entity, body: &Map<String, Value>) -> Checked<Record> {
    let mut record = Record::new();
    for (name, value) in body {
        if name.eq_ignore_ascii_case("userDefinedFields") {
            record.insert("userDefinedFields".to_owned(), user_defined_fields(tenant, entity, value)?);
            continue;
        }
        let field = entity.field(name).ok_or_else(|| unknown_field(entity, name))?;
        if field.read_only || IGNORED.contains(&field.name) {
            continue;
        }
        if !value.is_null() {
            check(tenant, entity, field, value)?;
        }
        let stored = match (field.kind, value.as_str().and_then(times::parse)) {
            (Kind::Time, Some(at)) => times::written(at).into(),
            _ => value.clone(),
        };
        if record.insert(field.name.to_owned(), stored).is_some() {
            return Err(Refusal::invalid(format!("{} stands twice in the body", field.name)));
        }
    }
    Ok(record)
}

/// Text of the refusal of a field that is none; seen in `WYRE-AI/autotask-mcp` (pull request 282).
pub(super) fn unknown_field(entity: Entity, name: &str) -> Refusal {
    Refusal::invalid(format!("Unable to find {name} in the {} Entity.", entity.singular()))
}

/// Every required field must have a value, a text one more than blanks.
pub(super) fn require(entity: Entity, record: &Record) -> Checked<()> {
    let missing = entity.fields().iter().filter(|field| field.required).find(|field| is_blank(record.get(field.name)));
    missing.map_or(Ok(()), |field| Err(Refusal::required(field.name)))
}

/// A choice below another must belong to the one chosen.
pub(super) fn check_parents(tenant: &Tenant, entity: Entity, record: &Record) -> Checked<()> {
    for field in entity.fields().iter().filter(|field| !field.parent.is_empty()) {
        let Some(value) = integer(record, field.name) else { continue };
        let chosen = tenant.choices(entity, field.name).iter().find(|choice| choice.value == value);
        if chosen.is_some_and(|choice| choice.parent != integer(record, field.parent)) {
            return Err(Refusal::invalid(format!("{} [{value}] does not belong to the given {}", field.name, field.parent)));
        }
    }
    Ok(())
}

pub(super) fn is_blank(value: Option<&Value>) -> bool {
    match value {
        None | Some(Value::Null) => true,
        Some(Value::String(text)) => text.trim().is_empty(),
        Some(_) => false,
    }
}

fn check(tenant: &Tenant, entity: Entity, field: &Field, value: &Value) -> Checked<()> {
    let name = field.name;
    match field.kind {
        Kind::Integer => {
            let number = value.as_i64().ok_or_else(|| unconvertible("integer", name, value))?;
            if field.picklist && !tenant.choices(entity, name).iter().any(|choice| choice.value == number && choice.active) {
                return Err(Refusal::invalid(format!("Picklist value [{number}] does not exist for {name}")));
            }
            if let Some(referred) = field.refers_to
                && tenant.get(referred, number).is_none()
            {
                return Err(Refusal::invalid(format!("The reference value {number} does not exist for {name}")));
            }
        }
        Kind::Decimal => {
            value.as_f64().ok_or_else(|| unconvertible("decimal", name, value))?;
        }
        Kind::Boolean => {
            value.as_bool().ok_or_else(|| unconvertible("boolean", name, value))?;
        }
        Kind::Time => {
            value.as_str().and_then(times::parse).ok_or_else(|| unconvertible("DateTime", name, value))?;
        }
        Kind::Text(length) => {
            let text = value.as_str().ok_or_else(|| unconvertible("string", name, value))?;
            let units = text.encode_utf16().count();
            if units > length {
                return Err(Refusal::invalid(format!("The value of {name} has {units} characters, more than the maximum of {length}")));
            }
        }
    }
    Ok(())
}

/// As Json.NET says it; only the integer's text is seen (a.5).
fn unconvertible(kind: &str, name: &str, value: &Value) -> Refusal {
    let shown = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    Refusal::invalid(format!("Could not convert string to {kind}: {shown}. Path '{name}', line 1, position 1."))
}

fn user_defined_fields(tenant: &Tenant, entity: Entity, given: &Value) -> Checked<Value> {
    let known = tenant.user_defined_fields.get(&entity);
    for field in given.as_array().ok_or_else(|| unconvertible("array", "userDefinedFields", given))? {
        let name = field["name"].as_str().unwrap_or_default();
        if !known.is_some_and(|names| names.iter().any(|known| known.eq_ignore_ascii_case(name))) {
            return Err(unknown_field(entity, name));
        }
        if !field["value"].is_string() && !field["value"].is_null() {
            return Err(unconvertible("string", name, &field["value"]));
        }
    }
    Ok(given.clone())
}
