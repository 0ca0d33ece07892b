//! The sections of a `[[connection]]` that name a system: each system brings its own, and nothing here knows which there are.

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::fault::Within;

/// What a system is to a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Where its tickets are. A connection has exactly one.
    HelpDesk,
    /// Where its sessions happen. A connection that only makes tickets has none.
    RemoteSupport,
    /// Where the help desk's customers see their own tickets.
    HelpCenter,
}

/// The settings of one kind of system.
pub trait Section: Serialize + DeserializeOwned + JsonSchema {
    /// Its key in `[[connection]]`.
    const NAME: &'static str;
    /// What it is to a connection.
    const ROLE: Role;
    /// Its keys that hold a secret.
    const SECRETS: &'static [&'static str];
    /// The section it needs beside it.
    const BESIDE: Option<&'static str> = None;

    /// What of the system beside it is for this connection alone, each with its key: no other connection with the same system may name it.
    fn claims(&self) -> Vec<(&'static str, String)> {
        Vec::new()
    }

    /// Adds what is wrong with its meaning, which the schema cannot say.
    fn check(&self, faults: &mut Within<'_>);

    /// What makes it this very system and no other: addresses, tenants, in a form that can be compared. Credentials are no part of it.
    fn identity(&self) -> Vec<String>;
}

/// A [`Section`] as a value, so that kinds can be listed.
#[derive(Clone, Copy)]
pub struct SectionKind {
    /// [`Section::NAME`].
    pub name: &'static str,
    /// [`Section::ROLE`].
    pub role: Role,
    /// [`Section::SECRETS`].
    pub secrets: &'static [&'static str],
    pub(super) beside: Option<&'static str>,
    pub(super) schema: fn(&mut SchemaGenerator) -> Schema,
    pub(super) check: fn(&Value, &mut Within<'_>),
    pub(super) claims: fn(&Value) -> Vec<(&'static str, String)>,
    pub(super) normalise: fn(Value) -> Value,
    /// [`Section::identity`] of a section that reads; empty for one that does not.
    pub identity: fn(&Value) -> Vec<String>,
}

fn read<T: Section>(value: &Value) -> Option<T> {
    serde_json::from_value(value.clone()).ok()
}

/// Without members that are null, which a settings file cannot hold.
fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(members) => Value::Object(
            members.into_iter().filter(|(_, value)| !value.is_null()).map(|(key, value)| (key, without_nulls(value))).collect(),
        ),
        other => other,
    }
}

impl SectionKind {
    /// The kind of `T`.
    pub const fn of<T: Section>() -> Self {
        Self {
            name: T::NAME,
            role: T::ROLE,
            secrets: T::SECRETS,
            beside: T::BESIDE,
            schema: |generator| generator.subschema_for::<T>(),
            check: |value, faults| {
                if let Some(section) = read::<T>(value) {
                    section.check(faults);
                }
            },
            claims: |value| read::<T>(value).map(|section| section.claims()).unwrap_or_default(),
            normalise: |value| match read::<T>(&value).and_then(|section| serde_json::to_value(section).ok()) {
                Some(whole) => without_nulls(whole),
                None => value,
            },
            identity: |value| read::<T>(value).map(|section| section.identity()).unwrap_or_default(),
        }
    }
}

/// Every kind of section there is.
#[derive(Clone)]
pub struct Sections(Vec<SectionKind>);

impl Sections {
    /// These kinds.
    pub fn new(kinds: impl IntoIterator<Item = SectionKind>) -> Self {
        Self(kinds.into_iter().collect())
    }

    /// All kinds.
    pub fn all(&self) -> impl Iterator<Item = &SectionKind> {
        self.0.iter()
    }

    /// The kinds with that role.
    pub fn with(&self, role: Role) -> impl Iterator<Item = &SectionKind> {
        self.0.iter().filter(move |kind| kind.role == role)
    }

    /// The kind of that name.
    pub fn named(&self, name: &str) -> Option<&SectionKind> {
        self.0.iter().find(|kind| kind.name == name)
    }

    /// The systems' sections that `connection`, an object, has.
    pub fn of<'a>(&'a self, connection: &'a Value) -> impl Iterator<Item = (&'a SectionKind, &'a Value)> {
        self.0.iter().filter_map(|kind| Some((kind, connection.get(kind.name).filter(|section| !section.is_null())?)))
    }
}
