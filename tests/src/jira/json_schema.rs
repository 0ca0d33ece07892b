//! As much of JSON Schema as the vendor's documents use (draft 4, and OpenAPI 3.0's `nullable`).

use regex::Regex;
use serde_json::Value;

/// What is wrong with `value`, and where. `document`: what `#/…` refers to.
pub(super) fn fault(document: &Value, schema: &Value, value: &Value) -> Option<String> {
    check(document, schema, value, "").err()
}

type Checked = Result<(), String>;

fn check(document: &Value, schema: &Value, value: &Value, at: &str) -> Checked {
    let Some(rules) = schema.as_object() else { return Ok(()) };
    if let Some(target) = rules.get("$ref").and_then(Value::as_str) {
        let pointer = target.trim_start_matches('#').replace("/components", "");
        let target = document.pointer(&pointer).ok_or_else(|| format!("{at}: no {target} in the document"))?;
        return check(document, target, value, at);
    }
    if value.is_null() && rules.get("nullable") == Some(&Value::Bool(true)) {
        return Ok(());
    }
    for (rule, said) in rules {
        let holds = match rule.as_str() {
            "type" => is_of(said, value),
            "enum" => said.as_array().is_some_and(|values| values.contains(value)),
            "allOf" => {
                for schema in list(said) {
                    check(document, schema, value, at)?;
                }
                true
            }
            "anyOf" => any_of(document, said, value, at)?,
            "oneOf" => list(said).iter().filter(|schema| check(document, schema, value, at).is_ok()).count() == 1,
            "required" => list(said)
                .iter()
                .all(|name| value.as_object().is_none_or(|object| name.as_str().is_some_and(|name| object.contains_key(name)))),
            "properties" | "additionalProperties" | "items" | "nullable" | "format" | "$schema" | "description" | "definitions" => true,
            "minItems" => value.as_array().is_none_or(|items| items.len() as u64 >= said.as_u64().unwrap_or(0)),
            "maxItems" => value.as_array().is_none_or(|items| items.len() as u64 <= said.as_u64().unwrap_or(u64::MAX)),
            "minLength" => value.as_str().is_none_or(|text| text.chars().count() as u64 >= said.as_u64().unwrap_or(0)),
            "maxLength" => value.as_str().is_none_or(|text| text.chars().count() as u64 <= said.as_u64().unwrap_or(u64::MAX)),
            "minimum" => value.as_f64().is_none_or(|number| number >= said.as_f64().unwrap_or(f64::MIN)),
            "maximum" => value.as_f64().is_none_or(|number| number <= said.as_f64().unwrap_or(f64::MAX)),
            "pattern" => {
                value.as_str().is_none_or(|text| Regex::new(said.as_str().unwrap_or_default()).is_ok_and(|pattern| pattern.is_match(text)))
            }
            "uniqueItems" => value.as_array().is_none_or(|items| items.iter().enumerate().all(|(at, item)| !items[..at].contains(item))),
            other => return Err(format!("{at}: {other} is not understood")),
        };
        if !holds {
            return Err(format!("{at}: {rule} {}: {}", brief(said), brief(value)));
        }
    }
    if let Some(object) = value.as_object() {
        let properties = rules.get("properties").and_then(Value::as_object);
        for (name, value) in object {
            let at = format!("{at}/{name}");
            match (properties.and_then(|properties| properties.get(name)), rules.get("additionalProperties")) {
                (None, Some(Value::Bool(false))) => return Err(format!("{at} is not in the document")),
                (Some(schema), _) | (None, Some(schema)) => check(document, schema, value, &at)?,
                (None, None) => {}
            }
        }
    }
    if let Some(items) = value.as_array() {
        for (index, value) in items.iter().enumerate() {
            let schema = match rules.get("items") {
                Some(Value::Array(schemas)) => schemas.get(index),
                other => other,
            };
            if let Some(schema) = schema {
                check(document, schema, value, &format!("{at}/{index}"))?;
            }
        }
    }
    Ok(())
}

/// One of them; else the fault that is furthest inside says most.
fn any_of(document: &Value, schemas: &Value, value: &Value, at: &str) -> Result<bool, String> {
    let mut deepest = String::new();
    for schema in list(schemas) {
        match check(document, schema, value, at) {
            Ok(()) => return Ok(true),
            Err(fault) if fault.matches('/').count() > deepest.matches('/').count() || deepest.is_empty() => deepest = fault,
            Err(_) => {}
        }
    }
    Err(deepest)
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn is_of(kind: &Value, value: &Value) -> bool {
    match kind.as_str() {
        Some("object") => value.is_object(),
        Some("array") => value.is_array(),
        Some("string") => value.is_string(),
        Some("integer") => value.is_i64() || value.is_u64(),
        Some("number") => value.is_number(),
        Some("boolean") => value.is_boolean(),
        Some("null") => value.is_null(),
        _ => list(kind).iter().any(|kind| is_of(kind, value)),
    }
}

fn brief(value: &Value) -> String {
    value.to_string().chars().take(200).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn each_rule_can_refuse() {
        let document = json!({ "definitions": { "name": { "type": "string", "minLength": 1 } } });
        let schema = json!({
            "type": "object", "required": ["a"], "additionalProperties": false,
            "properties": {
                "a": { "$ref": "#/definitions/name" },
                "b": { "anyOf": [{ "type": "integer", "minimum": 2 }, { "type": "boolean" }] },
                "c": { "type": "array", "items": { "enum": ["x"] }, "maxItems": 1 },
                "d": { "type": "string", "nullable": true, "pattern": "^x" },
            },
        });
        for (value, is_good) in [
            (json!({ "a": "x", "b": 2, "c": ["x"], "d": null }), true),
            (json!({ "a": "x", "b": true, "d": "xy" }), true),
            (json!({}), false),
            (json!({ "a": "" }), false),
            (json!({ "a": 1 }), false),
            (json!({ "a": "x", "b": 1 }), false),
            (json!({ "a": "x", "c": ["y"] }), false),
            (json!({ "a": "x", "c": ["x", "x"] }), false),
            (json!({ "a": "x", "d": "y" }), false),
            (json!({ "a": "x", "e": 1 }), false),
            (json!([]), false),
        ] {
            let fault = fault(&document, &schema, &value);
            assert_eq!(fault.is_none(), is_good, "{value}: {fault:?}");
        }
    }
}
