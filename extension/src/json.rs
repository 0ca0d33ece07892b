//! JSON read and written through one representation, so that each type is compiled once: half the module's size. Pure.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

/// Reads JSON. `None`: it is none, or of another shape.
pub fn read<T: DeserializeOwned>(json: &str) -> Option<T> {
    let value: Value = serde_json::from_str(json).ok()?;
    serde_json::from_value(value).ok()
}

/// Writes JSON; `null` for what has none.
pub fn write<T: Serialize>(value: &T) -> String {
    serde_json::to_value(value).unwrap_or_default().to_string()
}

/// What does not read is taken as not there: a policy or an older version may have left anything, and must not take the rest along.
pub fn lenient<'de, D: Deserializer<'de>, T: DeserializeOwned + Default>(deserializer: D) -> Result<T, D::Error> {
    let value = Value::deserialize(deserializer)?;
    Ok(serde_json::from_value(value).unwrap_or_default())
}

/// As [`lenient`], entry by entry.
pub fn lenient_list<'de, D: Deserializer<'de>, T: DeserializeOwned>(deserializer: D) -> Result<Option<Vec<T>>, D::Error> {
    let value = Value::deserialize(deserializer)?;
    let Value::Array(entries) = value else { return Ok(None) };
    Ok(Some(entries.into_iter().filter_map(|entry| serde_json::from_value(entry).ok()).collect()))
}
