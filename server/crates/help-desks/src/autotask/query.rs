//! Queries (autotask-extension.md a.4): entities, operators and their nesting as types, since Autotask answers a misspelt operator
//! with every record there is.

use serde_json::{Value, json};

/// The entities we use. The names are Autotask's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entity {
    /// Tickets.
    Tickets,
    /// Their notes.
    TicketNotes,
    /// Their files, without content.
    AttachmentInfo,
    /// The same where they are added.
    TicketAttachments,
    /// Their configuration items but the first.
    TicketAdditionalConfigurationItems,
    /// Time entries.
    TimeEntries,
    /// People who work in the tenant.
    Resources,
    /// Roles.
    Roles,
    /// Which resource holds which role.
    ResourceServiceDeskRoles,
    /// Companies (once: accounts).
    Companies,
    /// Their people.
    Contacts,
    /// Their machines.
    ConfigurationItems,
    /// How much of the hour's requests is used: no entity, but asked for like one.
    ThresholdInformation,
}

impl Entity {
    pub(super) const COUNT: usize = 13;

    /// Its name in paths and in an API user's rights.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tickets => "Tickets",
            Self::TicketNotes => "TicketNotes",
            Self::AttachmentInfo => "AttachmentInfo",
            Self::TicketAttachments => "TicketAttachments",
            Self::TicketAdditionalConfigurationItems => "TicketAdditionalConfigurationItems",
            Self::TimeEntries => "TimeEntries",
            Self::Resources => "Resources",
            Self::Roles => "Roles",
            Self::ResourceServiceDeskRoles => "ResourceServiceDeskRoles",
            Self::Companies => "Companies",
            Self::Contacts => "Contacts",
            Self::ConfigurationItems => "ConfigurationItems",
            Self::ThresholdInformation => "ThresholdInformation",
        }
    }
}

/// A condition, or several.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Filter(Value);

impl Filter {
    fn compare(operator: &'static str, field: &str, value: impl Into<Value>) -> Self {
        Self(json!({ "op": operator, "field": field, "value": value.into() }))
    }

    pub(super) fn is(field: &str, value: impl Into<Value>) -> Self {
        Self::compare("eq", field, value)
    }

    pub(super) fn contains(field: &str, text: &str) -> Self {
        Self::compare("contains", field, text)
    }

    pub(super) fn is_one_of(field: &str, values: &[i64]) -> Self {
        Self::compare("in", field, values.to_vec())
    }

    pub(super) fn all(filters: impl IntoIterator<Item = Self>) -> Self {
        Self::group("and", filters)
    }

    pub(super) fn any(filters: impl IntoIterator<Item = Self>) -> Self {
        Self::group("or", filters)
    }

    fn group(operator: &'static str, filters: impl IntoIterator<Item = Self>) -> Self {
        let items: Vec<Value> = filters.into_iter().map(|filter| filter.0).collect();
        Self(json!({ "op": operator, "items": items }))
    }
}

/// Rows of a page at most (autotask-extension.md a.4).
const LARGEST_PAGE: usize = 500;

/// The query's body. `fields` are answered besides `id`, which further pages need.
pub(super) fn body(filter: &Filter, fields: &[&str], at_most: usize) -> Value {
    let fields: Vec<&str> = std::iter::once("id").chain(fields.iter().copied()).collect();
    json!({ "MaxRecords": at_most.clamp(1, LARGEST_PAGE), "IncludeFields": fields, "filter": [filter.0] })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_worded_as_autotask_reads_it() {
        let filter = Filter::all([
            Filter::is("ticketID", 7),
            Filter::any([Filter::contains("title", "a"), Filter::is("isActive", true)]),
            Filter::is_one_of("id", &[0, 8]),
        ]);
        let expected = json!({
            "MaxRecords": 500,
            "IncludeFields": ["id", "title"],
            "filter": [{ "op": "and", "items": [
                { "op": "eq", "field": "ticketID", "value": 7 },
                { "op": "or", "items": [
                    { "op": "contains", "field": "title", "value": "a" },
                    { "op": "eq", "field": "isActive", "value": true },
                ] },
                { "op": "in", "field": "id", "value": [0, 8] },
            ] }],
        });
        assert_eq!(body(&filter, &["title"], 100_000), expected);
    }
}
