//! Ticket fields: what they are, and which of them a customer is shown.

use serde_json::{Value, json};

use super::account::{Account, Role};
use super::call::{Call, Outcome, PAGING, Reply, paged};

/// A ticket field of the account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TicketField {
    /// Given by the account when 0.
    pub id: u64,
    /// `text`, `textarea`, `checkbox`, …
    pub kind: String,
    /// What people read.
    pub title: String,
    /// A field that is not active stands on no ticket and no page.
    pub active: bool,
    /// Customers see it, on their pages and in `GET /api/v2/requests/{id}`.
    pub visible_in_portal: bool,
    /// Customers may fill it in.
    pub editable_in_portal: bool,
    /// Customers must fill it in.
    pub required_in_portal: bool,
    /// The account's own (subject, description, status): it has no value in `custom_fields`.
    pub system: bool,
}

impl Default for TicketField {
    /// A text field that agents alone see, as the account makes it.
    fn default() -> Self {
        Self {
            id: 0,
            kind: "text".to_owned(),
            title: "Field".to_owned(),
            active: true,
            visible_in_portal: false,
            editable_in_portal: false,
            required_in_portal: false,
            system: false,
        }
    }
}

impl TicketField {
    /// A text field that customers see and cannot change.
    pub fn shown_to_customers(title: &str) -> Self {
        Self { title: title.to_owned(), visible_in_portal: true, ..Self::default() }
    }

    pub(super) fn of_the_account(kind: &str, title: &str) -> Self {
        Self {
            kind: kind.to_owned(),
            title: title.to_owned(),
            visible_in_portal: true,
            editable_in_portal: kind != "status",
            required_in_portal: kind != "status",
            system: true,
            ..Self::default()
        }
    }

    /// Whether customers see its value.
    pub(super) fn is_public(&self) -> bool {
        self.active && self.visible_in_portal
    }

    fn json(&self, url: &str) -> Value {
        json!({
            "id": self.id,
            "url": format!("{url}/api/v2/ticket_fields/{}.json", self.id),
            "type": self.kind,
            "title": self.title,
            "raw_title": self.title,
            "title_in_portal": self.title,
            "raw_title_in_portal": self.title,
            "description": "",
            "raw_description": "",
            "agent_description": null,
            "position": 0,
            "active": self.active,
            "required": false,
            "collapsed_for_agents": false,
            "regexp_for_validation": null,
            "visible_in_portal": self.visible_in_portal,
            "editable_in_portal": self.editable_in_portal,
            "required_in_portal": self.required_in_portal,
            "tag": null,
            "removable": !self.system,
        })
    }
}

/// Customers are told of the fields they see, and of no other.
fn is_told_to(account: &Account, caller: u64, field: &TicketField) -> bool {
    let role = account.users.get(&caller).map(|user| user.role);
    field.is_public() || role.is_some_and(|role| role != Role::EndUser)
}

pub(super) fn list(account: &Account, call: &Call) -> Outcome {
    call.only_query(PAGING)?;
    let told = account.ticket_fields.values().filter(|field| is_told_to(account, call.caller, field));
    paged(call, &account.url, "ticket_fields", told.map(|field| field.json(&account.url)).collect())
}

pub(super) fn show(account: &Account, call: &Call, id: u64) -> Outcome {
    call.only_query(&[])?;
    let field = account.ticket_fields.get(&id).filter(|field| is_told_to(account, call.caller, field)).ok_or_else(Reply::no_record)?;
    Ok(Reply::json(200, json!({"ticket_field": field.json(&account.url)})))
}
