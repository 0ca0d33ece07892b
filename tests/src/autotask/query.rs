//! The query language and its pages (autotask-extension.md a.4).
//!
//! Read completely before anything is looked up. Must not know who asks.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use axum::http::Method;
use serde_json::{Map, Value, json};
use time::OffsetDateTime;

use super::call::{Call, Checked, Outcome, Refusal, Reply};
use super::schema::{Entity, Field, Kind, Record};
use super::tenant::{Tenant, integer, user_defined};
use super::times;
use super::writing::unknown_field;

/// Rows of a page, and conditions of all `or` groups together.
const MAX: usize = 500;
/// Groups within groups; nobody writes so many, and the reader must end.
const DEPTH_MAX: usize = 16;

/// Which page is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Page {
    First,
    Next,
    Previous,
}

/// `Entity/query` and its further pages. `base` is the zone's URL.
pub(super) fn run(tenant: &Tenant, call: &Call, entity: Entity, page: Page, base: &str) -> Outcome {
    if page != Page::First && call.query("search").is_some() != (call.method == Method::GET) {
        // A query goes on with the method it began with: only those of GET carry the search along.
        return Err(Refusal::method(&call.method));
    }
    let search = search_of(call)?;
    let query = Query::read(tenant, entity, &search)?;
    let mut hasher = DefaultHasher::new();
    Value::Object(search).to_string().hash(&mut hasher);
    let fingerprint = hasher.finish();

    let found: Vec<&Record> = tenant.all(entity).filter(|record| query.condition.holds(record)).collect();
    if found.len() > MAX && query.include.as_ref().is_some_and(|names| !names.iter().any(|name| name == "id")) {
        return Err(Refusal::invalid("A query of more than 500 results must have id among its IncludeFields."));
    }
    let position = Position::read(call, page, fingerprint)?;
    let range = position.range(&found, query.size);
    let rows = &found[range.clone()];
    let items: Vec<Value> = rows.iter().map(|record| query.projected(tenant.shown(entity, record)).into()).collect();

    let link = |name: &str, wanted: bool| {
        wanted.then(|| {
            let ids = |row: Option<&&Record>| vec![row.and_then(|record| integer(record, "id")).unwrap_or(-1)];
            let paging = json!({
                "pageSize": query.size, "previousIds": ids(rows.first()), "nextIds": ids(rows.last()), "query": fingerprint,
            });
            let mut pairs = url::form_urlencoded::Serializer::new(String::new());
            pairs.append_pair("paging", &paging.to_string());
            if let Some(search) = call.query("search") {
                pairs.append_pair("search", search);
            }
            // The real one writes a capital V here, whatever the request had.
            format!("{base}V1.0/{}/query/{name}?{}", entity.path(), pairs.finish())
        })
    };
    Ok(Reply::json(json!({
        "items": items,
        "pageDetails": {
            "count": rows.len(),
            "requestCount": query.size,
            "prevPageUrl": link("previous", range.start > 0),
            "nextPageUrl": link("next", range.end < found.len()),
        },
    })))
}

/// `Entity/query/count`.
pub(super) fn count(tenant: &Tenant, call: &Call, entity: Entity) -> Outcome {
    let query = Query::read(tenant, entity, &search_of(call)?)?;
    let count = tenant.all(entity).filter(|record| query.condition.holds(record)).count();
    Ok(Reply::json(json!({ "queryCount": count })))
}

/// All records of a ticket: `GET /Tickets/{id}/Notes`.
pub(super) fn children(tenant: &Tenant, entity: Entity, ticket: i64) -> Reply {
    let of_ticket = tenant.all(entity).filter(|record| integer(record, "ticketID") == Some(ticket));
    let items: Vec<Value> = of_ticket.take(MAX).map(|record| tenant.shown(entity, record).into()).collect();
    list(&items)
}

/// A list that has no further pages.
pub(super) fn list(items: &[Value]) -> Reply {
    let count = items.len();
    Reply::json(json!({"items": items, "pageDetails": {"count": count, "requestCount": MAX, "prevPageUrl": null, "nextPageUrl": null}}))
}

/// By GET it is in the URL, by POST it is the body.
fn search_of(call: &Call) -> Checked<Map<String, Value>> {
    if call.method == Method::POST {
        return call.json();
    }
    let search = call.query("search").ok_or_else(|| Refusal::invalid("The search parameter is missing."))?;
    match serde_json::from_str(search) {
        Ok(Value::Object(search)) => Ok(search),
        _ => Err(Refusal::invalid("The search parameter is not a JSON object.")),
    }
}

/// Where a page begins.
#[derive(Clone, Copy, Debug)]
enum Position {
    Start,
    After(i64),
    Before(i64),
}

impl Position {
    fn read(call: &Call, page: Page, fingerprint: u64) -> Checked<Self> {
        let key = match page {
            Page::First => return Ok(Self::Start),
            Page::Next => "nextIds",
            Page::Previous => "previousIds",
        };
        let spoilt = || Refusal::invalid("The paging parameter is not valid.");
        let paging: Value = call.query("paging").and_then(|text| serde_json::from_str(text).ok()).ok_or_else(spoilt)?;
        // The real one would answer a page of another query.
        if paging["query"] != fingerprint {
            return Err(Refusal::invalid("The query is not the one this page belongs to."));
        }
        let id = paging[key][0].as_i64().ok_or_else(spoilt)?;
        Ok(if page == Page::Next { Self::After(id) } else { Self::Before(id) })
    }

    fn range(self, found: &[&Record], size: usize) -> std::ops::Range<usize> {
        let at = |id: i64, inclusive: bool| {
            found.partition_point(|record| integer(record, "id").is_some_and(|held| held < id || inclusive && held == id))
        };
        match self {
            Self::Before(id) => {
                let end = at(id, false);
                end.saturating_sub(size)..end
            }
            Self::Start => 0..size.min(found.len()),
            Self::After(id) => {
                let start = at(id, true);
                start..(start + size).min(found.len())
            }
        }
    }
}

/// A query, read.
#[derive(Debug)]
struct Query {
    size: usize,
    /// Names as in answers.
    include: Option<Vec<String>>,
    condition: Condition,
}

impl Query {
    fn read(tenant: &Tenant, entity: Entity, search: &Map<String, Value>) -> Checked<Self> {
        let mut size = MAX;
        let mut include = None;
        let mut filter = None;
        for (key, value) in search {
            match key.to_ascii_lowercase().as_str() {
                "maxrecords" => size = page_size(value)?,
                "includefields" => include = Some(included(tenant, entity, value)?),
                "filter" => filter = Some(value),
                // The real one passes it over; it is a mistake of the caller.
                _ => return Err(Refusal::invalid(format!("Unknown key {key} in the query"))),
            }
        }
        let filter = filter.and_then(Value::as_array).filter(|conditions| !conditions.is_empty());
        let filter = filter.ok_or_else(|| Refusal::invalid("The query needs a filter."))?;
        let mut reader = Reader { tenant, entity, alternatives: 0, user_defined: 0 };
        // A flat list behaves as `and` (a.4).
        let condition = Condition::All(reader.conditions(filter, 0)?);
        Ok(Self { size, include, condition })
    }

    fn projected(&self, mut shown: Record) -> Record {
        if let Some(names) = &self.include {
            let defined = shown.remove("userDefinedFields");
            shown.retain(|name, _| names.iter().any(|wanted| wanted == name));
            let wanted = |field: &&Value| names.iter().any(|name| field["name"] == **name);
            let defined: Vec<Value> = defined.iter().filter_map(Value::as_array).flatten().filter(wanted).cloned().collect();
            if !defined.is_empty() {
                shown.insert("userDefinedFields".to_owned(), defined.into());
            }
        }
        shown
    }
}

fn page_size(value: &Value) -> Checked<usize> {
    let size = value.as_u64().and_then(|size| usize::try_from(size).ok()).filter(|size| (1..=MAX).contains(size));
    size.ok_or_else(|| Refusal::invalid("MaxRecords must be between 1 and 500."))
}

fn included(tenant: &Tenant, entity: Entity, value: &Value) -> Checked<Vec<String>> {
    let names = value.as_array().ok_or_else(|| Refusal::invalid("IncludeFields must be a list of field names."))?;
    let name_of = |given: &Value| {
        let given = given.as_str().unwrap_or_default();
        let defined = tenant.user_defined_fields.get(&entity).into_iter().flatten();
        let defined = defined.into_iter().find(|name| name.eq_ignore_ascii_case(given)).cloned();
        entity.field(given).map(|field| field.name.to_owned()).or(defined).ok_or_else(|| unknown_field(entity, given))
    };
    names.iter().map(name_of).collect()
}

#[derive(Debug)]
enum Condition {
    All(Vec<Condition>),
    Any(Vec<Condition>),
    /// An operator that is none is passed over: everything fits (a.4).
    PassedOver,
    Test(Target, Operator, Vec<Operand>),
}

#[derive(Debug)]
enum Target {
    Field(&'static Field),
    UserDefined(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operator {
    Eq,
    NotEq,
    Gt,
    Gte,
    Lt,
    Lte,
    BeginsWith,
    EndsWith,
    Contains,
    Exist,
    NotExist,
    In,
    NotIn,
}

/// A value in a condition; texts in lower case, for the database compares them so.
#[derive(Clone, Debug, PartialEq, PartialOrd)]
enum Operand {
    Number(f64),
    Flag(bool),
    Text(String),
    Time(OffsetDateTime),
}

impl Operator {
    fn named(name: &str) -> Option<Self> {
        Some(match name {
            "eq" => Self::Eq,
            "noteq" => Self::NotEq,
            "gt" => Self::Gt,
            "gte" => Self::Gte,
            "lt" => Self::Lt,
            "lte" => Self::Lte,
            "beginsWith" => Self::BeginsWith,
            "endsWith" => Self::EndsWith,
            "contains" => Self::Contains,
            "exist" => Self::Exist,
            "notExist" => Self::NotExist,
            "in" => Self::In,
            "notIn" => Self::NotIn,
            _ => return None,
        })
    }

    fn holds(self, held: Option<&Operand>, given: &[Operand]) -> bool {
        let Some(held) = held else {
            // As in SQL nothing is equal or unequal to a missing value.
            return self == Self::NotExist;
        };
        let texts = |compare: fn(&str, &str) -> bool| match (held, given.first()) {
            (Operand::Text(held), Some(Operand::Text(given))) => compare(held, given),
            _ => false,
        };
        match self {
            Self::Eq | Self::In => given.contains(held),
            Self::NotEq | Self::NotIn => !given.contains(held),
            Self::Gt => given.first().is_some_and(|given| held > given),
            Self::Gte => given.first().is_some_and(|given| held >= given),
            Self::Lt => given.first().is_some_and(|given| held < given),
            Self::Lte => given.first().is_some_and(|given| held <= given),
            Self::BeginsWith => texts(|held, given| held.starts_with(given)),
            Self::EndsWith => texts(|held, given| held.ends_with(given)),
            Self::Contains => texts(|held, given| held.contains(given)),
            Self::Exist => true,
            Self::NotExist => false,
        }
    }
}

impl Condition {
    fn holds(&self, record: &Record) -> bool {
        match self {
            Self::All(conditions) => conditions.iter().all(|condition| condition.holds(record)),
            Self::Any(conditions) => conditions.iter().any(|condition| condition.holds(record)),
            Self::PassedOver => true,
            Self::Test(target, operator, given) => operator.holds(target.held(record).as_ref(), given),
        }
    }
}

impl Target {
    fn held(&self, record: &Record) -> Option<Operand> {
        match self {
            Self::Field(field) => operand(field.kind, record.get(field.name)?),
            Self::UserDefined(name) => operand(Kind::Text(0), user_defined(record, name)),
        }
    }

    fn kind(&self) -> Kind {
        match self {
            Self::Field(field) => field.kind,
            Self::UserDefined(_) => Kind::Text(0),
        }
    }
}

fn operand(kind: Kind, value: &Value) -> Option<Operand> {
    match kind {
        Kind::Integer => value.is_i64().then(|| value.as_f64().map(Operand::Number))?,
        Kind::Decimal => value.as_f64().map(Operand::Number),
        // Real ones only, and never for the integer that Contacts have (a.4).
        Kind::Boolean => value.as_bool().map(Operand::Flag),
        Kind::Text(_) => value.as_str().map(|text| Operand::Text(text.to_lowercase())),
        Kind::Time => value.as_str().and_then(times::parse).map(Operand::Time),
    }
}

struct Reader<'a> {
    tenant: &'a Tenant,
    entity: Entity,
    alternatives: usize,
    user_defined: usize,
}

impl Reader<'_> {
    fn conditions(&mut self, items: &[Value], depth: usize) -> Checked<Vec<Condition>> {
        if depth > DEPTH_MAX {
            return Err(Refusal::invalid("The filter is nested too deeply."));
        }
        items.iter().map(|item| self.condition(item, depth)).collect()
    }

    fn condition(&mut self, item: &Value, depth: usize) -> Checked<Condition> {
        let item = item.as_object().ok_or_else(|| Refusal::invalid("A condition must be an object."))?;
        let key = |name: &str| item.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value);
        if let Some(unknown) =
            item.keys().find(|key| !["op", "field", "value", "udf", "items"].contains(&key.to_ascii_lowercase().as_str()))
        {
            return Err(Refusal::invalid(format!("Unknown key {unknown} in a condition")));
        }
        let name = key("op").and_then(Value::as_str).unwrap_or_default();
        if name == "and" || name == "or" {
            let items = key("items").and_then(Value::as_array).filter(|items| !items.is_empty());
            let items = items.ok_or_else(|| Refusal::invalid(format!("The group {name} has no items.")))?;
            if name == "and" {
                return Ok(Condition::All(self.conditions(items, depth + 1)?));
            }
            self.alternatives += items.len();
            if self.alternatives > MAX {
                return Err(Refusal::invalid("A query may have at most 500 OR conditions."));
            }
            return Ok(Condition::Any(self.conditions(items, depth + 1)?));
        }

        let field = key("field").and_then(Value::as_str).unwrap_or_default();
        let target = self.target(field, key("udf") == Some(&Value::Bool(true)))?;
        let Some(operator) = Operator::named(name) else {
            return Ok(Condition::PassedOver);
        };
        let given = self.operands(&target, field, operator, key("value"))?;
        Ok(Condition::Test(target, operator, given))
    }

    fn target(&mut self, name: &str, is_user_defined: bool) -> Checked<Target> {
        if is_user_defined {
            self.user_defined += 1;
            if self.user_defined > 1 {
                return Err(Refusal::invalid("A query may have only one user defined field."));
            }
            let known = self.tenant.user_defined_fields.get(&self.entity);
            let known = known.and_then(|names| names.iter().find(|known| known.eq_ignore_ascii_case(name)));
            return known.cloned().map(Target::UserDefined).ok_or_else(|| unknown_field(self.entity, name));
        }
        let field = self.entity.field(name).ok_or_else(|| unknown_field(self.entity, name))?;
        if field.queryable { Ok(Target::Field(field)) } else { Err(Refusal::invalid(format!("{} is not queryable.", field.name))) }
    }

    fn operands(&self, target: &Target, field: &str, operator: Operator, value: Option<&Value>) -> Checked<Vec<Operand>> {
        let read = |value: &Value| {
            let shown = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            operand(target.kind(), value).ok_or_else(|| {
                Refusal::invalid(format!(
                    "Could not convert string to {}: {shown}. Path '{field}', line 1, position 1.",
                    target.kind().name()
                ))
            })
        };
        match operator {
            Operator::Exist | Operator::NotExist => Ok(Vec::new()),
            Operator::In | Operator::NotIn => {
                let values = value.and_then(Value::as_array).filter(|values| (1..=MAX).contains(&values.len()));
                let values = values.ok_or_else(|| Refusal::invalid(format!("{field} needs a list of 1 to 500 values.")))?;
                values.iter().map(read).collect()
            }
            Operator::BeginsWith | Operator::EndsWith | Operator::Contains if !matches!(target.kind(), Kind::Text(_)) => {
                Err(Refusal::invalid(format!("{field} is not a text, in {} Entity.", self.entity.singular())))
            }
            _ => Ok(vec![read(value.unwrap_or(&Value::Null))?]),
        }
    }
}
