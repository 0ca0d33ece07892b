//! What the tenant holds: records, choices, API users, settings, its zone and its clock.
//!
//! Also how a record looks in an answer. Must not know of HTTP.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};
use time::{Date, Duration, OffsetDateTime};

use super::Options;
use super::limits::{Attaching, Requests};
use super::schema::{Entity, Kind, Record};
use super::times::{self, real_time};

/// What an API user may do with an entity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Right {
    /// Read and query.
    Query,
    /// Create.
    Create,
    /// Change.
    Update,
    /// Delete.
    Delete,
}

impl Right {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Query => "query",
            Self::Create => "create",
            Self::Update => "update",
            Self::Delete => "delete",
        }
    }
}

/// An API user (autotask-extension.md a.2).
#[derive(Clone, Debug)]
pub struct ApiUser {
    /// The `UserName` header.
    pub user_name: String,
    /// The `Secret` header.
    pub secret: String,
    /// The `ApiIntegrationCode` header.
    pub integration_code: String,
    /// His own record among the resources; 0 makes one.
    pub resource_id: i64,
    /// What his security level does not allow.
    pub denied: Vec<(Entity, Right)>,
    /// Status of the refusal: 500 or 403; both are seen.
    pub denial_status: u16,
    /// Whether he may set `billingCodeID` on time entries (a.7: often not).
    pub may_set_work_type: bool,
    /// Entities he may create as somebody else (a.9).
    pub may_impersonate: Vec<Entity>,
}

impl Default for ApiUser {
    fn default() -> Self {
        Self {
            user_name: "api-user@msp.example".to_owned(),
            secret: "simulated-secret".to_owned(),
            integration_code: "SIMULATEDINTEGRATIONCODE000".to_owned(),
            resource_id: 0,
            denied: Vec::new(),
            denial_status: 500,
            may_set_work_type: true,
            may_impersonate: Vec::new(),
        }
    }
}

impl ApiUser {
    /// The same user with no more than what is known to be enough (a.2): companies, contacts and billing codes to read, tickets with
    /// what hangs on them to read, add and edit, time entries to read and add. People and roles are not among it.
    #[must_use]
    pub fn least_privilege(mut self) -> Self {
        let granted = |entity: Entity, right: Right| match entity {
            Entity::BillingCodes | Entity::Companies | Entity::Contacts => right == Right::Query,
            Entity::TimeEntries => matches!(right, Right::Query | Right::Create),
            Entity::AttachmentInfo | Entity::TicketAdditionalConfigurationItems | Entity::TicketNotes | Entity::Tickets => {
                right != Right::Delete
            }
            _ => false,
        };
        let rights = [Right::Query, Right::Create, Right::Update, Right::Delete];
        let all = Entity::ALL.iter().flat_map(|entity| rights.map(|right| (*entity, right)));
        self.denied = all.filter(|(entity, right)| !granted(*entity, *right)).collect();
        self
    }
}

/// One choice of a picklist.
#[derive(Clone, Debug)]
pub struct Choice {
    /// What is stored.
    pub value: i64,
    /// What people see.
    pub label: String,
    /// An inactive one can no longer be chosen.
    pub active: bool,
    /// Taken when a create says nothing and the field is not required.
    pub default: bool,
    /// Value of the parent field it belongs to.
    pub parent: Option<i64>,
}

impl Choice {
    /// An active choice.
    pub fn new(value: i64, label: &str) -> Self {
        Self { value, label: label.to_owned(), active: true, default: false, parent: None }
    }

    /// The same as the default.
    #[must_use]
    pub fn by_default(mut self) -> Self {
        self.default = true;
        self
    }

    /// The same below a value of the parent field.
    #[must_use]
    pub fn under(mut self, parent: i64) -> Self {
        self.parent = Some(parent);
        self
    }

    /// The same, no longer in use.
    #[must_use]
    pub fn inactive(mut self) -> Self {
        self.active = false;
        self
    }

    fn json(&self, order: usize) -> Value {
        json!({
            // A string that holds an integer (a.5).
            "value": self.value.to_string(),
            "label": self.label,
            "isDefaultValue": self.default,
            "sortOrder": order + 1,
            "parentValue": self.parent.map(|parent| parent.to_string()).unwrap_or_default(),
            "isActive": self.active,
            "isSystem": self.value < 100,
        })
    }
}

/// State of the tenant.
#[derive(Debug)]
pub(super) struct Tenant {
    pub options: Options,
    /// The zone the tenant lives in now.
    pub zone: usize,
    pub users: Vec<ApiUser>,
    pub picklists: BTreeMap<(Entity, &'static str), Vec<Choice>>,
    pub user_defined_fields: BTreeMap<Entity, Vec<String>>,
    pub contents: HashMap<i64, Arc<[u8]>>,
    pub requests: Requests,
    pub attaching: Attaching,
    pub clock_ahead: Duration,
    /// By how much the answers would have come later in all.
    pub slowed_by: Duration,
    /// Updates of tickets still to be answered with 200 without effect.
    pub patches_to_ignore: u32,
    records: BTreeMap<Entity, BTreeMap<i64, Record>>,
    last_id: i64,
    last_ticket_of_day: (Option<Date>, u32),
}

impl Tenant {
    pub(super) fn new(options: Options, picklists: BTreeMap<(Entity, &'static str), Vec<Choice>>) -> Self {
        Self {
            zone: options.home_zone,
            users: Vec::new(),
            picklists,
            user_defined_fields: BTreeMap::new(),
            contents: HashMap::new(),
            requests: Requests::default(),
            attaching: Attaching::default(),
            clock_ahead: Duration::ZERO,
            slowed_by: Duration::ZERO,
            patches_to_ignore: 0,
            records: BTreeMap::new(),
            last_id: 29_683_000,
            last_ticket_of_day: (None, 0),
            options,
        }
    }

    pub(super) fn now(&self) -> OffsetDateTime {
        real_time() + self.clock_ahead
    }

    /// Adds an API user; gives the id of his own record.
    pub(super) fn add_user(&mut self, mut user: ApiUser) -> i64 {
        if user.resource_id == 0 {
            user.resource_id = self.next_id();
            let record = json!({"firstName": "API", "lastName": "User", "email": user.user_name, "isActive": true, "userType": 17});
            self.put(Entity::Resources, user.resource_id, as_record(record));
        }
        let id = user.resource_id;
        self.users.push(user);
        id
    }

    pub(super) fn next_id(&mut self) -> i64 {
        self.last_id += 1;
        self.last_id
    }

    /// `T20261121.0001`, counted anew every day (a.5).
    pub(super) fn next_ticket_number(&mut self) -> String {
        let today = self.now().date();
        let (day, last) = self.last_ticket_of_day;
        let number = if day == Some(today) { last + 1 } else { 1 };
        self.last_ticket_of_day = (Some(today), number);
        format!("T{:04}{:02}{:02}.{number:04}", today.year(), u8::from(today.month()), today.day())
    }

    pub(super) fn get(&self, entity: Entity, id: i64) -> Option<&Record> {
        self.records.get(&entity)?.get(&id)
    }

    pub(super) fn get_mut(&mut self, entity: Entity, id: i64) -> Option<&mut Record> {
        self.records.get_mut(&entity)?.get_mut(&id)
    }

    /// By id.
    pub(super) fn all(&self, entity: Entity) -> impl DoubleEndedIterator<Item = &Record> {
        self.records.get(&entity).into_iter().flat_map(BTreeMap::values)
    }

    pub(super) fn put(&mut self, entity: Entity, id: i64, mut record: Record) {
        record.insert("id".to_owned(), id.into());
        self.records.entry(entity).or_default().insert(id, record);
    }

    /// Stores a new record under a new id.
    pub(super) fn insert(&mut self, entity: Entity, record: Record) -> i64 {
        let id = self.next_id();
        self.put(entity, id, record);
        id
    }

    pub(super) fn remove(&mut self, entity: Entity, id: i64) -> Option<Record> {
        self.records.get_mut(&entity)?.remove(&id)
    }

    /// Adds a record past all rules but the field names, as somebody who works in the web pages.
    pub(super) fn add(&mut self, entity: Entity, fields: Value) -> anyhow::Result<i64> {
        let mut record = spelt(entity, fields)?;
        let id = match record.get("id") {
            Some(id) => id.as_i64().context("id is not an integer")?,
            None => self.next_id(),
        };
        if entity == Entity::Tickets {
            let now = times::written(self.now());
            let number = self.next_ticket_number();
            record.entry("ticketNumber").or_insert_with(|| number.into());
            record.entry("createDate").or_insert_with(|| now.clone().into());
            record.entry("lastActivityDate").or_insert_with(|| now.into());
        }
        self.put(entity, id, record);
        Ok(id)
    }

    /// Whether the person may work in the role on tickets (a.5, a.7).
    pub(super) fn is_pair(&self, resource: i64, role: i64) -> bool {
        let paired = self.all(Entity::ResourceServiceDeskRoles).any(|pair| {
            integer(pair, "resourceID") == Some(resource)
                && integer(pair, "roleID") == Some(role)
                && pair.get("isActive") == Some(&Value::Bool(true))
        });
        paired && self.is_active(Entity::Resources, resource)
    }

    pub(super) fn is_active(&self, entity: Entity, id: i64) -> bool {
        self.get(entity, id).is_some_and(|record| record.get("isActive") == Some(&Value::Bool(true)))
    }

    pub(super) fn choices(&self, entity: Entity, field: &'static str) -> &[Choice] {
        self.picklists.get(&(entity, field)).map_or(&[], Vec::as_slice)
    }

    /// All fields of a record, those without a value as null.
    pub(super) fn shown(&self, entity: Entity, record: &Record) -> Record {
        let value = |name: &str| record.get(name).cloned().unwrap_or(Value::Null);
        let mut shown: Record = entity.fields().iter().map(|field| (field.name.to_owned(), value(field.name))).collect();
        if entity.has_user_defined_fields() {
            let names = self.user_defined_fields.get(&entity).into_iter().flatten();
            let fields = names.map(|name| json!({"name": name, "value": user_defined(record, name)}));
            shown.insert("userDefinedFields".to_owned(), fields.collect());
        }
        shown
    }

    /// The answer to `entityInformation/fields` (a.5).
    pub(super) fn fields_json(&self, entity: Entity) -> Value {
        let described = entity.fields().iter().map(|field| {
            let mut described = field.json();
            if field.picklist {
                let choices = self.choices(entity, field.name).iter().enumerate();
                described["picklistValues"] = choices.map(|(order, choice)| choice.json(order)).collect();
            }
            described
        });
        json!({"fields": described.collect::<Vec<_>>()})
    }

    /// The answer to `entityInformation/userDefinedFields`.
    pub(super) fn user_defined_fields_json(&self, entity: Entity) -> Value {
        let names = self.user_defined_fields.get(&entity).into_iter().flatten();
        let described = names.map(|name| json!({"name": name, "label": name, "dataType": Kind::Text(0).name(), "isPickList": false}));
        json!({"fields": described.collect::<Vec<_>>()})
    }
}

/// The object, whose keys must be field names as in answers.
pub(super) fn spelt(entity: Entity, fields: Value) -> anyhow::Result<Record> {
    let record = as_record(fields);
    for name in record.keys() {
        let known = name == "userDefinedFields" || entity.fields().iter().any(|field| field.name == name);
        ensure!(known, "{} has no field {name}", entity.path());
    }
    Ok(record)
}

/// The object; anything else is an empty record.
pub(super) fn as_record(value: Value) -> Record {
    match value {
        Value::Object(record) => record,
        _ => Record::new(),
    }
}

pub(super) fn integer(record: &Record, field: &str) -> Option<i64> {
    record.get(field)?.as_i64()
}

pub(super) fn text<'a>(record: &'a Record, field: &str) -> Option<&'a str> {
    record.get(field)?.as_str()
}

pub(super) fn time_of(record: &Record, field: &str) -> Option<OffsetDateTime> {
    times::parse(text(record, field)?)
}

/// A user-defined field's text; null when it has none.
pub(super) fn user_defined<'a>(record: &'a Record, name: &str) -> &'a Value {
    let fields = record.get("userDefinedFields").and_then(Value::as_array).into_iter().flatten();
    let named = fields.into_iter().find(|field| field["name"].as_str().is_some_and(|held| held.eq_ignore_ascii_case(name)));
    named.map_or(&Value::Null, |field| &field["value"])
}
