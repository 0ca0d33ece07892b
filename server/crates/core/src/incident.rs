//! An incident of a monitoring system, as it was posted or read.
//!
//! Two forms are understood: Argus's serialized incident (argus-tickets.md 1.3, and the tags of its coming API v3), and a small one of ours. What an
//! incident holds was written by the devices it is about: none of it is trusted.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Longest name of a source or id of an incident, in characters.
const MAX_NAME: usize = 255;
/// Most tags that are kept.
const MAX_TAGS: usize = 200;

/// What a custom field or a label takes its value from.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum Attribute {
    /// A member of the incident, like `level` or `start_time`; one inside another by dots, like `source.name`.
    Named(String),
    /// The value of a tag.
    Tag {
        /// Its key.
        tag: String,
    },
}

impl fmt::Display for Attribute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Named(name) => f.write_str(name),
            Self::Tag { tag } => write!(f, "tag {tag}"),
        }
    }
}

/// A tag.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Tag {
    /// What stands before the first `=`.
    pub key: String,
    /// What stands after it.
    pub value: String,
}

/// What makes an incident itself within a connection. Two posts with the same are of one incident.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Identity {
    /// Argus's number, of this source.
    Argus {
        /// The source's number, where it is told.
        source: Option<i64>,
        /// The source's name.
        source_name: String,
        /// The incident's number.
        pk: i64,
    },
    /// An incident of Argus without a number: the source's own id.
    ArgusSource {
        /// The source's number, where it is told.
        source: Option<i64>,
        /// The source's name.
        source_name: String,
        /// The source's id of it.
        id: String,
    },
    /// The small form's pair.
    Small {
        /// `source`.
        source: String,
        /// `id`.
        id: String,
    },
}

impl Identity {
    /// A text that no other identity has.
    pub fn canonical(&self) -> String {
        let parts = match self {
            Self::Argus { source, source_name, pk } => serde_json::json!(["argus", source, source_name, pk]),
            Self::ArgusSource { source, source_name, id } => serde_json::json!(["argus-source", source, source_name, id]),
            Self::Small { source, id } => serde_json::json!(["small", source, id]),
        };
        parts.to_string()
    }
}

/// An incident.
#[derive(Clone, Debug, PartialEq)]
pub struct Incident {
    /// What makes it itself.
    pub identity: Identity,
    /// Name of the monitoring system that noticed it.
    pub source: String,
    /// Its id there, for people.
    pub id: String,
    /// One line.
    pub title: String,
    /// Several lines; the title again where nothing more is told.
    pub description: String,
    /// 1 (critical) to 5 (information).
    pub level: Option<u8>,
    /// When it began, Unix ms.
    pub started_at: Option<i64>,
    /// When it ended, Unix ms.
    pub ended_at: Option<i64>,
    /// It has not ended.
    pub is_open: bool,
    /// Its page in Argus, or the small form's `url`.
    pub url: Option<String>,
    /// Its page in the source.
    pub details_url: Option<String>,
    /// Who made it a ticket, where Argus says.
    pub user: Option<String>,
    /// In the order told.
    pub tags: Vec<Tag>,
    /// All that was posted.
    pub posted: Value,
}

/// Why a posted incident cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{member}: {expected}")]
pub struct IncidentFault {
    /// The member at fault, like `source.name`.
    pub member: &'static str,
    /// What is expected there.
    pub expected: &'static str,
}

fn fault(member: &'static str, expected: &'static str) -> IncidentFault {
    IncidentFault { member, expected }
}

/// A level in words, as Argus names it (argus-server: `incident/constants.py`).
pub fn level_word(level: u8) -> &'static str {
    match level {
        1 => "Critical",
        2 => "High",
        3 => "Moderate",
        4 => "Low",
        _ => "Information",
    }
}

impl Incident {
    /// Reads a posted incident: Argus's form where `source` is an object, else the small form.
    pub fn read(posted: Value) -> Result<Self, IncidentFault> {
        if !posted.is_object() {
            return Err(fault("the body", "expected a JSON object"));
        }
        if posted["source"].is_object() { Self::read_argus(posted) } else { Self::read_small(posted) }
    }

    fn read_argus(posted: Value) -> Result<Self, IncidentFault> {
        let source_name = name(&posted["source"]["name"], "source.name")?;
        let source = number(&posted["source"]["pk"], "source.pk")?;
        let own_id = optional_id(&posted["source_incident_id"], "source_incident_id")?;
        let identity = match (number(&posted["pk"], "pk")?, &own_id) {
            (Some(pk), _) => Identity::Argus { source, source_name: source_name.clone(), pk },
            (None, Some(id)) => Identity::ArgusSource { source, source_name: source_name.clone(), id: id.clone() },
            (None, None) => return Err(fault("pk", "expected the incident's number in Argus, or a source_incident_id")),
        };
        let description = text(&posted["description"], "description")?;
        let id = own_id.unwrap_or_else(|| match &identity {
            Identity::Argus { pk, .. } => pk.to_string(),
            Identity::ArgusSource { id, .. } | Identity::Small { id, .. } => id.clone(),
        });
        let started_at = moment(&posted["start_time"]);
        let ended_at = moment(&posted["end_time"]);
        Ok(Self {
            source: source_name,
            id,
            title: one_line(&description),
            level: level(&posted["level"])?,
            // Argus's own `open` is false for what has no end at all (`end_time: null`).
            is_open: ended_at.is_none(),
            started_at,
            ended_at,
            url: address(&posted["argus_url"]),
            details_url: address(&posted["details_url"]),
            user: optional_text(&posted["user"]),
            tags: tags(&posted["tags"])?,
            description,
            identity,
            posted,
        })
    }

    fn read_small(posted: Value) -> Result<Self, IncidentFault> {
        let source = name(&posted["source"], "source")?;
        let id = optional_id(&posted["id"], "id")?.ok_or_else(|| fault("id", "expected the incident's id, a text that is not blank"))?;
        let title = text(&posted["title"], "title")?;
        let description = match &posted["description"] {
            Value::Null => title.clone(),
            Value::String(text) if text.trim().is_empty() => title.clone(),
            Value::String(text) => text.clone(),
            _ => return Err(fault("description", "expected a text")),
        };
        let is_open = match &posted["open"] {
            Value::Null => true,
            Value::Bool(is_open) => *is_open,
            _ => return Err(fault("open", "expected true or false")),
        };
        if !matches!(&posted["url"], Value::Null | Value::String(_)) {
            return Err(fault("url", "expected an address"));
        }
        Ok(Self {
            identity: Identity::Small { source: source.clone(), id: id.clone() },
            source,
            id,
            title: one_line(&title),
            description,
            level: level(&posted["level"])?,
            started_at: moment(&posted["start_time"]),
            ended_at: moment(&posted["end_time"]),
            is_open,
            url: address(&posted["url"]),
            details_url: None,
            user: None,
            tags: tags(&posted["tags"])?,
            posted,
        })
    }

    /// The value of an attribute. None: there is no such member or tag, or it is empty.
    pub fn attribute(&self, attribute: &Attribute) -> Option<Value> {
        let value = match attribute {
            Attribute::Tag { tag } => Value::from(self.tag(tag)?),
            Attribute::Named(path) => path.split('.').try_fold(&self.posted, |value, member| value.get(member))?.clone(),
        };
        let is_empty = value.is_null() || value.as_str().is_some_and(|text| text.trim().is_empty());
        (!is_empty).then_some(value)
    }

    /// The value of the first tag of that key.
    pub fn tag(&self, key: &str) -> Option<&str> {
        self.tags.iter().find(|tag| tag.key == key).map(|tag| tag.value.as_str())
    }
}

fn text(value: &Value, member: &'static str) -> Result<String, IncidentFault> {
    match value {
        Value::String(text) if !text.trim().is_empty() => Ok(text.clone()),
        _ => Err(fault(member, "expected a text that is not blank")),
    }
}

fn name(value: &Value, member: &'static str) -> Result<String, IncidentFault> {
    let text = text(value, member)?;
    if text.chars().count() > MAX_NAME { Err(fault(member, "expected at most 255 characters")) } else { Ok(text) }
}

/// An id, which may be a number. Blank is none.
fn optional_id(value: &Value, member: &'static str) -> Result<Option<String>, IncidentFault> {
    let text = match value {
        Value::Null => return Ok(None),
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        _ => return Err(fault(member, "expected a text")),
    };
    if text.chars().count() > MAX_NAME {
        return Err(fault(member, "expected at most 255 characters"));
    }
    Ok((!text.trim().is_empty()).then_some(text))
}

fn number(value: &Value, member: &'static str) -> Result<Option<i64>, IncidentFault> {
    match value {
        Value::Null => Ok(None),
        value => value.as_i64().map(Some).ok_or_else(|| fault(member, "expected a whole number")),
    }
}

fn level(value: &Value) -> Result<Option<u8>, IncidentFault> {
    match value {
        Value::Null => Ok(None),
        value => match value.as_u64() {
            Some(level @ 1..=5) => Ok(Some(u8::try_from(level).unwrap_or(5))),
            _ => Err(fault("level", "expected a whole number from 1 (critical) to 5 (information)")),
        },
    }
}

fn optional_text(value: &Value) -> Option<String> {
    value.as_str().filter(|text| !text.trim().is_empty()).map(str::to_owned)
}

/// An address that may become a link is for the writers to judge.
fn address(value: &Value) -> Option<String> {
    optional_text(value).map(|text| text.trim().to_owned())
}

/// Unix ms.
fn moment(value: &Value) -> Option<i64> {
    let time = OffsetDateTime::parse(value.as_str()?, &Rfc3339).ok()?;
    i64::try_from(time.unix_timestamp_nanos() / 1_000_000).ok()
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// `{"key": "value"}`, `["key=value"]`, `[{"tag": "key=value"}]`, `[{"key": …, "value": …}]`.
fn tags(value: &Value) -> Result<Vec<Tag>, IncidentFault> {
    const EXPECTED: &str = "expected an object of texts, or a list of tags like \"key=value\"";
    let as_text = |value: &Value| match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        _ => None,
    };
    let parted = |text: &str| {
        let (key, value) = text.split_once('=').unwrap_or((text, ""));
        Tag { key: key.to_owned(), value: value.to_owned() }
    };
    let tag = |value: &Value| match value {
        Value::String(text) => Some(parted(text)),
        Value::Object(_) if value["tag"].is_string() => value["tag"].as_str().map(parted),
        Value::Object(_) => Some(Tag { key: value["key"].as_str()?.to_owned(), value: as_text(&value["value"])? }),
        _ => None,
    };
    let found: Option<Vec<Tag>> = match value {
        Value::Null => Some(Vec::new()),
        Value::Object(members) => {
            members.iter().take(MAX_TAGS).map(|(key, value)| Some(Tag { key: key.clone(), value: as_text(value)? })).collect()
        }
        Value::Array(list) => list.iter().take(MAX_TAGS).map(tag).collect(),
        _ => None,
    };
    found.ok_or_else(|| fault("tags", EXPECTED))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn argus() -> Value {
        json!({
            "pk": 1, "start_time": "2026-11-21T21:14:00.123456+01:00", "end_time": "infinity",
            "source": { "pk": 2, "name": "nav.example.org", "type": { "name": "nav" } }, "source_incident_id": "42",
            "details_url": "https://nav.example.org/event/42", "description": "Link down:\n core-1 <b>", "level": 2, "metadata": { "k": 1 },
            "tags": [{ "added_by": 2, "tag": "host=core-1" }, { "tag": "url=https://x/?a=b" }],
            "argus_url": "http://127.0.0.1:8082/incidents/1", "user": "Admin"
        })
    }

    fn changed(mut value: Value, changes: &Value) -> Value {
        value.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        value
    }

    #[test]
    fn an_incident_of_argus_is_read() {
        let incident = Incident::read(argus()).unwrap();
        assert_eq!((incident.source.as_str(), incident.id.as_str(), incident.level), ("nav.example.org", "42", Some(2)));
        assert_eq!((incident.title.as_str(), incident.description.as_str()), ("Link down: core-1 <b>", "Link down:\n core-1 <b>"));
        assert_eq!(incident.identity, Identity::Argus { source: Some(2), source_name: "nav.example.org".into(), pk: 1 });
        assert_eq!((incident.started_at, incident.ended_at, incident.is_open), (Some(1_795_292_040_123), None, true));
        assert_eq!((incident.tag("host"), incident.tag("url"), incident.tag("x")), (Some("core-1"), Some("https://x/?a=b"), None));
        let named = |path: &str| incident.attribute(&Attribute::Named(path.into()));
        assert_eq!((named("level"), named("source.name"), named("nope")), (Some(json!(2)), Some(json!("nav.example.org")), None));
        assert_eq!(incident.attribute(&Attribute::Tag { tag: "host".into() }), Some(json!("core-1")));
    }

    #[test]
    fn an_end_is_a_time_and_nothing_else() {
        for (change, is_open) in [
            (json!({ "end_time": null }), true),
            (json!({ "end_time": "2026-11-21T22:14:00Z" }), false),
            (json!({ "end_time": "2026-11-21T22:14:00Z", "open": true }), false),
            (json!({ "end_time": null, "open": false }), true),
            (json!({ "open": false }), true),
        ] {
            assert_eq!(Incident::read(changed(argus(), &change)).unwrap().is_open, is_open, "{change}");
        }
    }

    #[test]
    fn what_is_missing_is_named() {
        for (change, member) in [
            (json!({ "source": { "pk": 2 } }), "source.name"),
            (json!({ "description": " " }), "description"),
            (json!({ "pk": null, "source_incident_id": "" }), "pk"),
            (json!({ "pk": "1" }), "pk"),
            (json!({ "level": 6 }), "level"),
            (json!({ "level": "2" }), "level"),
            (json!({ "tags": 5 }), "tags"),
            (json!({ "tags": [5] }), "tags"),
            (json!({ "source_incident_id": [] }), "source_incident_id"),
        ] {
            assert_eq!(Incident::read(changed(argus(), &change)).unwrap_err().member, member, "{change}");
        }
        assert_eq!(Incident::read(json!([])).unwrap_err().member, "the body");
        let small = json!({ "source": "zabbix", "id": "7", "title": "Disk full" });
        for (change, member) in [
            (json!({ "source": "" }), "source"),
            (json!({ "source": 5 }), "source"),
            (json!({ "id": null }), "id"),
            (json!({ "title": "\n" }), "title"),
            (json!({ "description": 5 }), "description"),
            (json!({ "open": "no" }), "open"),
            (json!({ "url": 5 }), "url"),
            (json!({ "level": 0 }), "level"),
            (json!({ "tags": { "a": [] } }), "tags"),
        ] {
            assert_eq!(Incident::read(changed(small.clone(), &change)).unwrap_err().member, member, "{change}");
        }
    }

    #[test]
    fn the_small_form_is_read() {
        let posted = json!({ "source": "zabbix", "id": 7, "title": "Disk full", "level": 3, "url": " https://z/7 ", "tags": { "host": "a", "n": 5 } });
        let incident = Incident::read(posted).unwrap();
        assert_eq!((incident.id.as_str(), incident.description.as_str(), incident.is_open), ("7", "Disk full", true));
        assert_eq!((incident.url.as_deref(), incident.tag("n")), (Some("https://z/7"), Some("5")));
        assert!(!Incident::read(json!({ "source": "z", "id": "7", "title": "t", "open": false })).unwrap().is_open);
    }

    #[test]
    fn every_shape_of_tags_is_read() {
        let both = vec![Tag { key: "a".into(), value: "b=c".into() }, Tag { key: "d".into(), value: String::new() }];
        for shape in [
            json!(["a=b=c", "d"]),
            json!([{ "tag": "a=b=c" }, { "tag": "d" }]),
            json!([{ "key": "a", "value": "b=c" }, { "key": "d", "value": "" }]),
            json!({ "a": "b=c", "d": "" }),
        ] {
            assert_eq!(tags(&shape).unwrap(), both, "{shape}");
        }
    }

    #[test]
    fn a_pair_is_never_joined_to_one_text() {
        let small = |source: &str, id: &str| Identity::Small { source: source.into(), id: id.into() }.canonical();
        assert_ne!(small("a", "b\",\"c"), small("a\",\"b", "c"));
        assert_ne!(small("a:b", "c"), small("a", "b:c"));
        let argus = |id: &str| {
            Incident::read(changed(argus(), &json!({ "source_incident_id": "", "pk": id.parse::<i64>().unwrap() }))).unwrap().identity
        };
        assert_ne!(argus("1"), argus("2"));
    }
}
