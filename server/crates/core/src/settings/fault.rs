//! Faults in settings, all of them at once: the key, the value (never a secret's) and what is expected.

use super::Secret;
use std::fmt::{self, Write};
use std::path::Path;

use jsonschema::error::{TypeKind, ValidationErrorKind};
use serde_json::Value;

/// Keys whose values are never shown.
const SECRET_KEYS: [&str; 8] =
    ["client_secret", "password", "event_token", "token", "secret", "integration_code", "keys", "webhook_secret"];

/// One fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The key's path in the file.
    pub key: String,
    /// The value found, as written; `(hidden)` for secrets.
    pub value: String,
    /// What is expected instead.
    pub expected: String,
}

/// All faults of one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Faults {
    file: String,
    list: Vec<Fault>,
    /// The first so many are of shape.
    of_shape: usize,
}

/// A place in the file to which faults are added.
pub struct Within<'a> {
    faults: &'a mut Faults,
    prefix: String,
}

impl Faults {
    pub(super) fn new(file: &str) -> Self {
        Self { file: file.to_owned(), list: Vec::new(), of_shape: 0 }
    }

    /// The file as a whole cannot be read.
    pub(super) fn of_file(file: &Path, why: &str) -> Self {
        let list = vec![Fault { key: String::new(), value: String::new(), expected: why.to_owned() }];
        Self { file: file.display().to_string(), list, of_shape: 0 }
    }

    pub(super) fn within(&mut self, prefix: &str) -> Within<'_> {
        Within { faults: self, prefix: prefix.to_owned() }
    }

    /// Whether the key, or an item of it, is of the wrong shape.
    fn has_wrong_shape(&self, key: &str) -> bool {
        let rest = |fault: &Fault| fault.key.strip_prefix(key).map(str::to_owned);
        self.list[..self.of_shape].iter().filter_map(rest).any(|rest| rest.is_empty() || rest.starts_with('['))
    }

    pub(super) fn into_result(self) -> Result<(), Self> {
        if self.list.is_empty() { Ok(()) } else { Err(self) }
    }

    /// The faults, in the order of the file.
    pub fn list(&self) -> &[Fault] {
        &self.list
    }
}

impl Within<'_> {
    /// Adds a fault at `key` of this place; an empty key means the place itself. A key of the wrong shape has no meaning
    /// that could be wrong.
    pub fn add(&mut self, key: &str, value: impl fmt::Display, expected: &str) {
        let path = if key.is_empty() { self.prefix.clone() } else { format!("{}.{key}", self.prefix) };
        if self.faults.has_wrong_shape(&path) {
            return;
        }
        let value = match value.to_string() {
            value if !is_secret(key) => format!("“{}”", without_login(&value)),
            // Nothing is there to be hidden.
            value if value.is_empty() => value,
            _ => "(hidden)".to_owned(),
        };
        self.faults.list.push(Fault { key: path, value, expected: expected.to_owned() });
    }

    /// One of two pairs of keys must be set, whole: `[(key, is set); 2]`. `neither`: what is expected where none of them is.
    pub fn one_pair(&mut self, first: [(&str, bool); 2], second: [(&str, bool); 2], neither: &str) {
        let halves = [first, second].map(|[(one, one_is_set), (other, other_is_set)]| match (one_is_set, other_is_set) {
            (true, false) => Some((other, one)),
            (false, true) => Some((one, other)),
            _ => None,
        });
        let is_set = |pair: [(&str, bool); 2]| pair.iter().any(|(_, is_set)| *is_set);
        for (missing, given) in halves.into_iter().flatten() {
            self.add(missing, "", &format!("what belongs to {given}"));
        }
        match (is_set(first), is_set(second)) {
            (false, false) => self.add(first[0].0, "", neither),
            (true, true) => {
                let [(a, _), (b, _)] = first;
                let [(c, _), (d, _)] = second;
                self.add(c, "set", &format!("either {a} and {b} or {c} and {d}, not both"));
            }
            _ => {}
        }
    }

    /// A secret that is given must be readable.
    pub fn readable_secret(&mut self, key: &str, secret: Option<&Secret>) {
        if let Some(Err(error)) = secret.filter(|secret| !secret.is_stored_mark()).map(Secret::resolve) {
            self.add(key, "", &format!("a readable secret: {error}"));
        }
    }

    /// A place inside this one.
    pub fn within(&mut self, name: &str) -> Within<'_> {
        Within { prefix: format!("{}.{name}", self.prefix), faults: self.faults }
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, fault) in self.list.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            match (fault.key.as_str(), fault.value.as_str()) {
                ("", _) => write!(f, "{}: {}", self.file, fault.expected)?,
                (key, "") => write!(f, "{}: {key}: expected {}", self.file, fault.expected)?,
                (key, value) => write!(f, "{}: {key} = {value}: expected {}", self.file, fault.expected)?,
            }
        }
        Ok(())
    }
}

impl std::error::Error for Faults {}

fn is_secret(key: &str) -> bool {
    SECRET_KEYS.contains(&key.rsplit('.').next().unwrap_or(key))
}

/// A text that may hold a login (`https://user:password@host`, `user:password@host`, `user@example.com/token:…`) without
/// what may be secret in it.
fn without_login(text: &str) -> String {
    let (scheme, rest) = text.split_once("://").map_or(("", text), |(scheme, rest)| (scheme, rest));
    match (scheme, rest.rsplit_once('@')) {
        (_, None) => text.to_owned(),
        ("", Some(_)) => match text.split_once(':') {
            Some((beginning, _)) => format!("{beginning}:…"),
            None => text.to_owned(),
        },
        (scheme, Some((_, host))) => format!("{scheme}://…@{host}"),
    }
}

/// A value of the right type in the place of a wrong or missing one, so that what is beside it can be read all the same.
/// Without one, what is there must go.
pub(super) struct StandIn {
    pub(super) pointer: String,
    pub(super) value: Option<Value>,
}

/// Checks the shape of `value`; every deviation becomes a fault and gets a stand-in.
pub(super) fn check_schema(schema: &Value, value: &Value, faults: &mut Faults) -> Vec<StandIn> {
    let mut found = Found { schema, document: value, faults, stand_ins: Vec::new() };
    match jsonschema::validator_for(schema) {
        Ok(validator) => {
            for error in validator.iter_errors(value) {
                found.add(&error);
            }
        }
        Err(error) => found.faults.list.push(Fault {
            key: String::new(),
            value: String::new(),
            expected: format!("internal: the settings schema is invalid: {error}"),
        }),
    }
    let stand_ins = found.stand_ins;
    faults.of_shape = faults.list.len();
    stand_ins
}

/// The faults of one document, as they are found.
struct Found<'a> {
    schema: &'a Value,
    document: &'a Value,
    faults: &'a mut Faults,
    stand_ins: Vec<StandIn>,
}

impl Found<'_> {
    fn add(&mut self, error: &jsonschema::ValidationError<'_>) {
        let pointer = error.instance_path().as_str().to_owned();
        let key = shown_path(&pointer, self.document);
        let below = |name: &str| {
            let key = if key.is_empty() { name.to_owned() } else { format!("{key}.{name}") };
            (key, format!("{pointer}/{}", name.replace('~', "~0").replace('/', "~1")))
        };
        match error.kind() {
            // An optional value is "this or null" in the schema; TOML knows no null, so only the first reading helps.
            ValidationErrorKind::AnyOf { context } | ValidationErrorKind::OneOfNotValid { context } => {
                let alternatives: Vec<_> = context.iter().filter(|branch| !branch.iter().all(is_null_branch)).collect();
                if let [only] = alternatives.as_slice() {
                    only.iter().for_each(|inner| self.add(inner));
                } else {
                    let inner: Vec<_> = alternatives.iter().flat_map(|branch| branch.iter()).collect();
                    let expected = inner.iter().map(|inner| expectation(inner.kind())).collect::<Vec<_>>().join(", or ");
                    let stand_in = inner.first().and_then(|inner| stand_in(inner.kind()));
                    self.push(key, pointer, expected, stand_in);
                }
            }
            ValidationErrorKind::AdditionalProperties { unexpected } => {
                for name in unexpected {
                    let (key, pointer) = below(name);
                    self.push_absent(key, pointer, format!("one of the keys known here: {}", known_keys(self.schema, error)), None);
                }
            }
            ValidationErrorKind::Required { property } => {
                let name = property.as_str().unwrap_or_default();
                let (key, pointer) = below(name);
                let stand_in = self.type_of_property(error, name).and_then(of_type);
                self.push_absent(key, pointer, "this required key to be set".to_owned(), stand_in);
            }
            ValidationErrorKind::Pattern { pattern } => {
                let expected = self.described(error).unwrap_or_else(|| format!("a text like {pattern}"));
                self.push(key, pointer, expected, None);
            }
            kind => self.push(key, pointer, expectation(kind), stand_in(kind)),
        }
    }

    fn push(&mut self, key: String, pointer: String, expected: String, stand_in: Option<Value>) {
        let shown = |value| if is_secret(&key) { "(hidden)".to_owned() } else { shown_value(value) };
        let value = self.document.pointer(&pointer).map_or_else(String::new, shown);
        self.faults.list.push(Fault { key, value, expected });
        self.stand_ins.push(StandIn { pointer, value: stand_in });
    }

    fn push_absent(&mut self, key: String, pointer: String, expected: String, stand_in: Option<Value>) {
        self.faults.list.push(Fault { key, value: String::new(), expected });
        self.stand_ins.push(StandIn { pointer, value: stand_in });
    }

    /// What the schema says about the place, in words.
    fn described(&self, error: &jsonschema::ValidationError<'_>) -> Option<String> {
        let (place, _) = error.schema_path().as_str().rsplit_once('/')?;
        Some(self.schema.pointer(place)?.get("description")?.as_str()?.trim_end_matches('.').to_owned())
    }

    /// The type of a property of the section that misses it.
    fn type_of_property(&self, error: &jsonschema::ValidationError<'_>, name: &str) -> Option<&str> {
        let (place, _) = error.schema_path().as_str().rsplit_once('/')?;
        let property = self.schema.pointer(place)?.get("properties")?.get(name)?;
        let referred = property.get("$ref").and_then(Value::as_str).and_then(|reference| reference.strip_prefix('#'));
        let property = referred.map_or(Some(property), |pointer| self.schema.pointer(pointer))?;
        property.get("type")?.as_str()
    }
}

fn stand_in(kind: &ValidationErrorKind) -> Option<Value> {
    match kind {
        ValidationErrorKind::Type { kind: TypeKind::Single(kind) } => of_type(&kind.to_string()),
        ValidationErrorKind::Enum { options } => options.get(0).cloned(),
        ValidationErrorKind::Constant { expected_value } => Some(Value::clone(expected_value)),
        ValidationErrorKind::Minimum { limit } | ValidationErrorKind::Maximum { limit } => Some(Value::clone(limit)),
        _ => None,
    }
}

fn of_type(name: &str) -> Option<Value> {
    match name {
        "string" => Some(Value::from("")),
        "integer" => Some(Value::from(1)),
        "boolean" => Some(Value::from(false)),
        "array" => Some(Value::Array(Vec::new())),
        _ => None,
    }
}

fn is_null_branch(error: &jsonschema::ValidationError<'static>) -> bool {
    matches!(error.kind(), ValidationErrorKind::Type { kind: TypeKind::Single(kind) } if kind.to_string() == "null")
}

fn expectation(kind: &ValidationErrorKind) -> String {
    match kind {
        ValidationErrorKind::Type { kind: TypeKind::Single(kind) } => article(&kind.to_string()),
        ValidationErrorKind::Type { kind: TypeKind::Multiple(kinds) } => kinds
            .iter()
            .map(|kind| kind.to_string())
            .filter(|kind| kind != "null")
            .map(|kind| article(&kind))
            .collect::<Vec<_>>()
            .join(" or "),
        ValidationErrorKind::Enum { options } => format!("one of {options}"),
        ValidationErrorKind::Constant { expected_value } => expected_value.to_string(),
        ValidationErrorKind::Minimum { limit } => format!("at least {limit}"),
        ValidationErrorKind::Maximum { limit } => format!("at most {limit}"),
        other => other.keyword().to_owned(),
    }
}

fn article(kind: &str) -> String {
    match kind {
        "integer" => "a whole number".to_owned(),
        "number" => "a number".to_owned(),
        "boolean" => "true or false".to_owned(),
        "array" => "a list: [ … ]".to_owned(),
        "object" => "a section".to_owned(),
        _ => "a text in quotes".to_owned(),
    }
}

/// The section's keys, read from the schema's own property list in the error's instance.
fn known_keys(schema: &Value, error: &jsonschema::ValidationError<'_>) -> String {
    let pointer = error.schema_path().as_str();
    let section = pointer.strip_suffix("/additionalProperties").unwrap_or(pointer);
    let properties = schema.pointer(section).and_then(|section| section.get("properties")).and_then(Value::as_object);
    properties
        .map_or_else(|| "see `deskbridge config schema`".to_owned(), |properties| properties.keys().cloned().collect::<Vec<_>>().join(", "))
}

/// `/connection/0/appliance/host` as `connection[0] “Name”.appliance.host`.
fn shown_path(pointer: &str, document: &Value) -> String {
    let mut shown = String::new();
    let mut here = Some(document);
    for part in pointer.split('/').skip(1) {
        let part = part.replace("~1", "/").replace("~0", "~");
        if let Ok(index) = part.parse::<usize>() {
            here = here.and_then(|value| value.get(index));
            let _ = write!(shown, "[{index}]");
            if let Some(name) = here.and_then(|value| value.get("name")).and_then(Value::as_str) {
                let _ = write!(shown, " “{name}”");
            }
        } else {
            here = here.and_then(|value| value.get(&part));
            if !shown.is_empty() {
                shown.push('.');
            }
            shown.push_str(&part);
        }
    }
    shown
}

/// A scalar as written; sections and lists are not shown, they may hold secrets.
fn shown_value(value: &Value) -> String {
    match value {
        Value::String(text) => format!("“{}”", without_login(text)),
        Value::Object(_) => "(a section)".to_owned(),
        Value::Array(_) => "(a list)".to_owned(),
        other => other.to_string(),
    }
}
