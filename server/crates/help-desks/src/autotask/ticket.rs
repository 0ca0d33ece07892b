//! Tickets: read by id or number, and created from an external key's fields over the connection's defaults (autotask-extension.md
//! a.5, a.17).

use serde_json::{Map, Value, json};

use super::client::{Client, Fault};
use super::defaults::{Given, TicketDefaults, field_name, whole_number};
use super::lookup::{Lookup, Resource};
use super::metadata::{Field, Fields, Metadata};
use super::query::{Entity, Filter};
use super::record_write::{Deciding, RecordWrite};
use super::text::{cut, lines, one_line};
use crate::{HelpDeskError, NewTicket, Prepared, Ticket, WriteOutcome, customer, incident_values};
use deskbridge_core::clock::rfc3339;
use deskbridge_documents::{Format, Guards, Limit, Measure, NoteForm};
use deskbridge_http_client::cached::Freshness;

/// Longest texts, in characters (autotask-extension.md a.5).
const TITLE: usize = 255;
const DESCRIPTION: usize = 8_000;
/// The description of a ticket with a document. Addresses that strangers wrote make no link.
const TEXT: NoteForm = NoteForm {
    format: Format::Text(Guards { addresses: true, ..Guards::NONE }),
    limit: Limit { measure: Measure::Utf16, most: DESCRIPTION - 200 },
};
/// A ticket that must have a due date and is given none is due so much later.
const DUE_AFTER_MS: i64 = 24 * 60 * 60 * 1_000;
/// The usual number of the status *New*, and of the priority *Medium*; the tenant's own list decides (autotask-extension.md a.5).
const USUAL_STATUS: i64 = 1;
const USUAL_PRIORITY: i64 = 2;
/// Tickets looked at that carry a marker or number; one is expected.
const FEW: usize = 20;
/// Longest machine name told to the panel.
const MAX_TARGET: usize = 255;
/// Where a machine's name stands, the best first (autotask-extension.md a.8).
const TARGET_FIELDS: [&str; 4] = ["rmmDeviceAuditHostname", "dattoHostname", "referenceTitle", "serialNumber"];
/// A ticket's marker; no external key sets it.
const MARKER_FIELD: &str = "externalID";

/// What names a ticket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Name {
    Id(i64),
    /// `T20260101.0001`, or `T20260101.0001.005` (autotask-extension.md a.5).
    Number(String),
}

impl Name {
    pub(super) fn read(text: &str) -> Option<Self> {
        let digits = |text: &str, lengths: std::ops::RangeInclusive<usize>| {
            lengths.contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())
        };
        if digits(text, 1..=18) && !text.starts_with('0') {
            return text.parse().ok().map(Self::Id);
        }
        let mut parts = text.strip_prefix(['T', 't'])?.split('.');
        let is_number = parts.next().is_some_and(|part| digits(part, 8..=8))
            && parts.next().is_some_and(|part| digits(part, 4..=6))
            && parts.next().is_none_or(|part| digits(part, 1..=6))
            && parts.next().is_none();
        is_number.then(|| Self::Number(text.to_ascii_uppercase()))
    }
}

/// The ticket of that id.
pub(super) async fn by_id(client: &Client, id: i64) -> Result<Value, HelpDeskError> {
    let item = client.item(Entity::Tickets, id, "the ticket").await.map_err(Fault::of_the_essential)?;
    item.ok_or_else(|| super::no_ticket(id))
}

/// The id of the ticket of that number.
pub(super) async fn id_of(client: &Client, number: &str) -> Result<i64, HelpDeskError> {
    let filter = Filter::is("ticketNumber", number);
    let rows = client.query(Entity::Tickets, &filter, &["ticketNumber"], FEW, "the ticket").await.map_err(Fault::of_the_essential)?;
    let is_it = |row: &&Value| row["ticketNumber"].as_str().is_some_and(|found| found.eq_ignore_ascii_case(number));
    rows.iter()
        .find(is_it)
        .and_then(|row| row["id"].as_i64())
        .ok_or_else(|| HelpDeskError::NoTicket(format!("there is no ticket {number} in Autotask, or the API user cannot see it")))
}

/// The id of the ticket that carries the marker; of several, the first.
pub(super) async fn find(client: &Client, marker: &str) -> Result<Option<i64>, HelpDeskError> {
    let rows = client.query(Entity::Tickets, &Filter::is(MARKER_FIELD, marker), &[MARKER_FIELD], FEW, "the session's ticket").await?;
    let is_it = |row: &&Value| row[MARKER_FIELD].as_str() == Some(marker);
    Ok(rows.iter().filter(is_it).filter_map(|row| row["id"].as_i64()).min())
}

/// A ticket as the use cases look at it. A completed one takes notes and files all the same (autotask-extension.md a.6).
pub(super) fn read(item: &Value, target: Option<String>) -> Ticket {
    Ticket { id: item["id"].as_i64().map_or_else(String::new, |id| id.to_string()), closed: false, target, merged: Vec::new() }
}

/// The machine of the ticket's configuration item. That none can be read is no fault of the ticket.
pub(super) async fn target(client: &Client, ticket: &Value, field: Option<&str>) -> Option<String> {
    let found = async {
        let item = match ticket["configurationItemID"].as_i64() {
            Some(id) => Some(id),
            None => additional_item(client, ticket["id"].as_i64().unwrap_or_default()).await?,
        };
        match item {
            Some(id) => Ok::<_, Fault>(client.item(Entity::ConfigurationItems, id, "the configuration item").await?),
            None => Ok(None),
        }
    };
    let item = found.await.inspect_err(|error| tracing::debug!(%error, "the ticket's machine could not be read")).ok()??;
    machine_name(&item, field)
}

async fn additional_item(client: &Client, ticket: i64) -> Result<Option<i64>, Fault> {
    let fields = ["ticketID", "configurationItemID"];
    let filter = Filter::is("ticketID", ticket);
    let entity = Entity::TicketAdditionalConfigurationItems;
    let rows = client.query(entity, &filter, &fields, FEW, "the ticket's further configuration items").await?;
    let of_ticket = rows.iter().filter(|row| row["ticketID"].as_i64() == Some(ticket));
    Ok(of_ticket.min_by_key(|row| row["id"].as_i64()).and_then(|row| row["configurationItemID"].as_i64()))
}

/// The value of the wanted field or user-defined field, or of the usual ones.
fn machine_name(item: &Value, field: Option<&str>) -> Option<String> {
    let text = |value: &Value| {
        let text = one_line(&value.as_str().map(str::to_owned).or_else(|| value.as_number().map(ToString::to_string))?);
        (!text.is_empty()).then(|| text.chars().take(MAX_TARGET).collect::<String>())
    };
    let own = |name: &str| item.as_object()?.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).and_then(|(_, value)| text(value));
    let user_defined = |name: &str| {
        let mut rows = item["userDefinedFields"].as_array()?.iter();
        rows.find(|row| row["name"].as_str().is_some_and(|found| found.eq_ignore_ascii_case(name))).and_then(|row| text(&row["value"]))
    };
    match field {
        Some(name) => own(name).or_else(|| user_defined(name)),
        None => TARGET_FIELDS.into_iter().find_map(own),
    }
}

/// What a ticket is made with.
pub(super) struct Maker<'a> {
    pub(super) client: &'a Client,
    pub(super) lookup: &'a Lookup,
    pub(super) metadata: &'a Metadata,
    pub(super) defaults: &'a TicketDefaults,
    /// `external_key_may_set`.
    pub(super) key_may_set: &'a [String],
    pub(super) now_ms: i64,
}

/// Fields whose values are looked up, whatever the tenant tells of them.
const RESOLVED: [&str; 3] = ["companyID", "assignedResourceID", "assignedResourceRoleID"];

/// What any external key may say, by REST's names: what the matter is. Who pays for it and who works on it is the tenant's to say, since
/// whoever reaches the portal writes the key (beyondtrust.md F.1).
const ANY_KEY_MAY_SET: [&str; 15] = [
    "title",
    "description",
    "name",
    "email",
    "status",
    "priority",
    "issueType",
    "subIssueType",
    "ticketType",
    "ticketCategory",
    "source",
    "queueID",
    "configurationItemID",
    "dueDateTime",
    "userDefinedFields",
];

impl<'a> Maker<'a> {
    /// Looks everything up for the ticket, and gets its creation ready.
    pub(super) async fn prepare(self, new: &NewTicket, marker: &str) -> Result<Prepared<'a>, HelpDeskError> {
        let freshness = Freshness::any();
        let (fields, body) = match (self.body(new, marker, &freshness).await, freshness.once_more()) {
            (Err(HelpDeskError::Refused(_)), Some(new_answers)) => self.body(new, marker, &new_answers).await?,
            (other, _) => other?,
        };
        let mut body = Value::Object(body);
        if body["dueDateTime"].is_null() && fields.get("dueDateTime").is_some_and(|field| field.is_required) {
            body["dueDateTime"] = json!(rfc3339(self.now_ms + DUE_AFTER_MS));
        }
        self.ready(body).await
    }

    async fn ready(self, body: Value) -> Result<Prepared<'a>, HelpDeskError> {
        let ready = self.client.ready(Entity::Tickets, "Tickets".to_owned(), body.clone(), "the new ticket").await?;
        Ok(RecordWrite::boxed(ready, move |written| self.after(written, body)))
    }

    fn after(self, written: Result<i64, Fault>, mut body: Value) -> Deciding<'a> {
        Box::pin(async move {
            match written {
                Ok(id) => WriteOutcome::Written(id.to_string()),
                // A service level, which sets the date, is there or not as the ticket's other values have it.
                Err(Fault::Refused { said, .. }) if body["dueDateTime"].is_null() && asks_for_due_date(&said) => {
                    body["dueDateTime"] = json!(rfc3339(self.now_ms + DUE_AFTER_MS));
                    match self.ready(body).await {
                        Ok(next) => WriteOutcome::TryInstead(next),
                        Err(error) => WriteOutcome::Refused(error),
                    }
                }
                Err(fault) => {
                    if let Fault::Refused { .. } = fault {
                        self.metadata.doubt();
                        self.lookup.doubt();
                    }
                    WriteOutcome::Refused(fault.into())
                }
            }
        })
    }

    async fn body(
        &self,
        new: &NewTicket,
        marker: &str,
        freshness: &Freshness,
    ) -> Result<(std::sync::Arc<Fields>, Map<String, Value>), HelpDeskError> {
        let fields = self.metadata.of_tickets(self.client, freshness).await?;
        self.check_external_key(new, &fields)?;
        let asked = TicketDefaults::of(new.fields.clone())
            .map_err(|expected| HelpDeskError::Refused(format!("the session's external key: expected {expected}")))?;
        let mut given = self.defaults.overridden_by(asked).0;
        let mut text = |name: &str| given.remove(name).and_then(|given| plain(&given.value));
        let (title, description, name, email) = (text("title"), text("description"), text("name"), text("email"));
        let mut body = Map::new();
        let company = match given.remove("companyID") {
            Some(company) => self.company(&company, freshness).await?,
            None => {
                return Err(HelpDeskError::Refused(
                    "the new ticket has no company; give accountName in ticket_default_data or in the session's external key".into(),
                ));
            }
        };
        body.insert("companyID".into(), json!(company));
        let mut contact = None;
        if let Some(email) = email.as_deref().filter(|_| !given.contains_key("contactID") && !new.key_in_text) {
            contact = self.contact(company, email).await?;
        }
        if let Some(contact) = contact {
            body.insert("contactID".into(), json!(contact));
        }
        self.assignment(&mut given, &mut body, freshness).await?;
        for (name, given) in given {
            let field = fields.get(&name).filter(|field| is_writable(field));
            match field {
                Some(field) => drop(body.insert(field.name.clone(), value_for(field, &given.value)?)),
                None if name.eq_ignore_ascii_case("userDefinedFields") => drop(body.insert("userDefinedFields".into(), given.value)),
                None => {
                    return Err(HelpDeskError::Refused(format!(
                        "Autotask's tickets have no field “{}” that can be set; correct the session's external key or ticket_default_data",
                        cut(&one_line(&name), 60)
                    )));
                }
            }
        }
        for (name, usual) in [("status", USUAL_STATUS), ("priority", USUAL_PRIORITY)] {
            if !body.contains_key(name)
                && let Some(value) = fields.get(name).and_then(|field| field.beginning(usual))
            {
                body.insert(name.into(), json!(value));
            }
        }
        let has_queue = body.contains_key("queueID") || body.contains_key("assignedResourceID");
        if let Some(queue) = fields.get("queueID").filter(|_| !has_queue).and_then(default_of) {
            body.insert("queueID".into(), json!(queue));
        }
        let customer = if contact.is_some() { String::new() } else { customer_line(name.as_deref(), email.as_deref()) };
        let description = description.unwrap_or_else(|| new.description.clone());
        let description = match &new.document {
            Some(_) => incident_values::text(new, &description, TEXT, &[], "").unwrap_or_default(),
            None => description,
        };
        body.insert("title".into(), json!(incident_values::title_utf16(title.as_deref().unwrap_or(&new.title), TITLE)));
        body.insert("description".into(), json!(cut(&lines(&(customer + &description)), DESCRIPTION)));
        body.insert(MARKER_FIELD.into(), json!(marker));
        Ok((fields, body))
    }

    /// That the external key sets nothing it may not. What is no field at all is told by its own name later.
    fn check_external_key(&self, new: &NewTicket, fields: &Fields) -> Result<(), HelpDeskError> {
        let may_set = |field: &str| {
            let named = self.key_may_set.iter().map(|name| field_name(name));
            ANY_KEY_MAY_SET.into_iter().chain(named).any(|name| name.eq_ignore_ascii_case(field))
        };
        let is_field = |field: &str| {
            fields.get(field).is_some_and(is_writable) || RESOLVED.iter().any(|resolved| resolved.eq_ignore_ascii_case(field))
        };
        let mut given = new.fields.iter().filter(|(_, value)| !value.is_null()).map(|(name, _)| name);
        match given.find(|name| is_field(field_name(name)) && !may_set(field_name(name))) {
            None => Ok(()),
            Some(name) => Err(HelpDeskError::Refused(format!(
                "the session's external key may not set “{}”: customers can write the key. If they cannot in your portal, name the field in \
                 external_key_may_set; else give it in ticket_default_data",
                cut(&one_line(name), 60)
            ))),
        }
    }

    async fn company(&self, given: &Given, freshness: &Freshness) -> Result<i64, HelpDeskError> {
        match whole_number(&given.value).filter(|_| !given.is_name) {
            Some(id) => Ok(id),
            None => Ok(self.lookup.company(self.client, &plain(&given.value).unwrap_or_default(), freshness).await?),
        }
    }

    /// A customer who is no contact stands in the description; so does one the API user may not look for.
    async fn contact(&self, company: i64, email: &str) -> Result<Option<i64>, HelpDeskError> {
        match self.lookup.contact(self.client, company, email).await {
            Err(fault @ (Fault::NoRight { .. } | Fault::Refused { .. })) => {
                tracing::debug!(%fault, "the customer could not be looked for among the contacts");
                Ok(None)
            }
            other => Ok(other?),
        }
    }

    /// A ticket is assigned to a resource under a role, or not at all (autotask-extension.md a.5).
    async fn assignment(
        &self,
        given: &mut std::collections::BTreeMap<String, Given>,
        body: &mut Map<String, Value>,
        freshness: &Freshness,
    ) -> Result<(), HelpDeskError> {
        let (resource, role) = (given.remove("assignedResourceID"), given.remove("assignedResourceRoleID"));
        let Some(resource) = resource else {
            return match role {
                Some(_) => Err(HelpDeskError::Refused("a ticket has an assigned role only together with assignedResourceName".into())),
                None => Ok(()),
            };
        };
        let number = |given: &Given| whole_number(&given.value).filter(|_| !given.is_name);
        let (resource_id, role_id) = match (number(&resource), role.as_ref().and_then(number)) {
            (Some(resource), Some(role)) => (resource, role),
            (id, role_id) => {
                let named = match id {
                    Some(id) => Resource::of_id(id),
                    None => (*self.resource(&plain(&resource.value).unwrap_or_default(), freshness).await?).clone(),
                };
                let wanted = role.as_ref().and_then(|role| plain(&role.value));
                let role = match role_id {
                    Some(role) => role,
                    None => self.lookup.role_of(self.client, &named, wanted.as_deref(), freshness).await?,
                };
                (named.id, role)
            }
        };
        body.insert("assignedResourceID".into(), json!(resource_id));
        body.insert("assignedResourceRoleID".into(), json!(role_id));
        Ok(())
    }

    async fn resource(&self, name: &str, freshness: &Freshness) -> Result<std::sync::Arc<Resource>, HelpDeskError> {
        match self.lookup.resource(self.client, name, freshness).await? {
            Some(resource) if resource.is_active => Ok(resource),
            found => Err(HelpDeskError::Refused(format!(
                "assignedResourceName: Autotask has no {}resource with the user name or e-mail address “{}”",
                if found.is_some() { "active " } else { "" },
                cut(&one_line(name), 120)
            ))),
        }
    }
}

fn is_writable(field: &Field) -> bool {
    !field.is_read_only && !["id", MARKER_FIELD].iter().any(|name| field.name.eq_ignore_ascii_case(name))
}

fn default_of(field: &Field) -> Option<i64> {
    field.list.iter().flatten().find(|choice| choice.is_active && choice.is_default).map(|choice| choice.value)
}

/// A field's value as Autotask takes it: numbers for lists and references, whatever they were given as.
fn value_for(field: &Field, given: &Value) -> Result<Value, HelpDeskError> {
    let number = whole_number(given);
    if field.list.is_some() {
        return match (number, given.as_str()) {
            (Some(number), _) => Ok(json!(number)),
            (None, Some(label)) => field.by_label(label).map(Value::from),
            _ => Err(HelpDeskError::Refused(format!("Autotask's {} takes one of {}", field.name, field.labels()))),
        };
    }
    match field.data_type.as_str() {
        "integer" | "long" => {
            number.map(Value::from).ok_or_else(|| HelpDeskError::Refused(format!("Autotask's {} takes a number", field.name)))
        }
        "string" => Ok(plain(given).map_or_else(|| given.clone(), |text| json!(lines(&text)))),
        _ => Ok(given.clone()),
    }
}

/// A text or a number as a text; none if it is blank.
fn plain(value: &Value) -> Option<String> {
    let text = value.as_str().map(|text| text.trim().to_owned()).or_else(|| value.as_number().map(ToString::to_string))?;
    (!text.is_empty()).then_some(text)
}

fn customer_line(name: Option<&str>, email: Option<&str>) -> String {
    customer(name.map(one_line), email.map(one_line)).map_or_else(String::new, |customer| format!("Customer: {customer}\n\n"))
}

fn asks_for_due_date(said: &str) -> bool {
    let said = said.to_lowercase();
    said.contains("duedatetime") || said.contains("due date")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tickets_have_two_names() {
        let check = |text: &str, expected: Option<Name>| assert_eq!(Name::read(text), expected, "{text}");
        let number = |text: &str| Some(Name::Number(text.to_owned()));
        check("35754", Some(Name::Id(35_754)));
        check("T20260101.0001", number("T20260101.0001"));
        check("t20120604.0002.005", number("T20120604.0002.005"));
        for no in [
            "",
            "0",
            "07",
            "-1",
            "1234567890123456789",
            "T2026.0001",
            "T20260101",
            "T20260101.1",
            "T20260101.0001.",
            "T20260101.0001.1.1",
            "T20260101.0001/x",
            "Ticket",
        ] {
            check(no, None);
        }
    }

    #[test]
    fn the_machine_is_the_wanted_field_or_the_best_known() {
        let item = json!({
            "rmmDeviceAuditHostname": null, "dattoHostname": " ", "referenceTitle": "PC-042\r\n", "serialNumber": "S1",
            "userDefinedFields": [{ "name": "Device Name", "value": "LAPTOP-7" }, { "name": "Empty", "value": null }],
        });
        let check = |field, expected: Option<&str>| assert_eq!(machine_name(&item, field).as_deref(), expected, "{field:?}");
        check(None, Some("PC-042"));
        check(Some("device name"), Some("LAPTOP-7"));
        check(Some("SerialNumber"), Some("S1"));
        check(Some("Empty"), None);
        check(Some("dattoHostname"), None);
    }

    #[test]
    fn values_become_what_the_field_takes() {
        let fields = Fields::read(&json!({ "fields": [
            { "name": "priority", "dataType": "integer", "isPickList": true, "picklistValues": [{ "value": "1", "label": "High" }] },
            { "name": "billingCodeID", "dataType": "integer" },
            { "name": "purchaseOrderNumber", "dataType": "string" },
            { "name": "estimatedHours", "dataType": "decimal" },
        ] }));
        let value = |name: &str, given: Value| value_for(fields.get(name).unwrap(), &given).map_err(|error| error.to_string());
        assert_eq!(value("priority", json!("high")), Ok(json!(1)));
        assert_eq!(value("priority", json!("3")), Ok(json!(3)));
        assert!(value("priority", json!("urgent")).unwrap_err().contains("“High” (1)"));
        assert!(value("priority", json!(true)).unwrap_err().contains("takes one of"));
        assert_eq!(value("billingCodeID", json!("29683407")), Ok(json!(29_683_407)));
        assert!(value("billingCodeID", json!("work")).unwrap_err().contains("takes a number"));
        assert_eq!(value("purchaseOrderNumber", json!(12)), Ok(json!("12")));
        assert_eq!(value("estimatedHours", json!(1.5)), Ok(json!(1.5)));
    }
}
