//! What stands on a ticket, typed, for assertions.

use std::sync::Arc;

use time::OffsetDateTime;

use super::schema::{Entity, Record};
use super::tenant::{Tenant, integer, text, time_of};

/// A note.
#[derive(Clone, Debug, PartialEq)]
pub struct Note {
    /// Its id.
    pub id: i64,
    /// Title.
    pub title: String,
    /// Text, as it was sent.
    pub description: String,
    /// `noteType`.
    pub note_type: i64,
    /// 1 is seen by customers, 2 is internal.
    pub publish: i64,
    /// Who wrote it.
    pub creator: i64,
    /// When it was made, by the tenant's clock.
    pub created_at: Option<OffsetDateTime>,
}

/// A time entry.
#[derive(Clone, Debug, PartialEq)]
pub struct TimeEntry {
    /// Its id.
    pub id: i64,
    /// Who worked.
    pub resource: i64,
    /// In which role.
    pub role: Option<i64>,
    /// From.
    pub start: Option<OffsetDateTime>,
    /// To.
    pub end: Option<OffsetDateTime>,
    /// The day, at midnight.
    pub date_worked: Option<OffsetDateTime>,
    /// Hours, four decimals.
    pub hours_worked: f64,
    /// Work type.
    pub billing_code: Option<i64>,
    /// Contract.
    pub contract: Option<i64>,
    /// What customers see.
    pub summary: String,
    /// What they do not.
    pub internal_notes: String,
    /// Who entered it.
    pub creator: i64,
}

/// A file or a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attachment {
    /// Its id.
    pub id: i64,
    /// `FILE_ATTACHMENT`, `URL`, …
    pub kind: String,
    /// Title.
    pub title: String,
    /// File name, or where the link leads.
    pub full_path: String,
    /// As for notes.
    pub publish: i64,
    /// Empty for a link.
    pub content: Arc<[u8]>,
}

pub(super) fn notes(tenant: &Tenant, ticket: i64) -> Vec<Note> {
    let note = |record: &Record| Note {
        id: number(record, "id"),
        title: words(record, "title"),
        description: words(record, "description"),
        note_type: number(record, "noteType"),
        publish: number(record, "publish"),
        creator: number(record, "creatorResourceID"),
        created_at: time_of(record, "createDateTime"),
    };
    of_ticket(tenant, Entity::TicketNotes, ticket).map(note).collect()
}

pub(super) fn time_entries(tenant: &Tenant, ticket: i64) -> Vec<TimeEntry> {
    let entry = |record: &Record| TimeEntry {
        id: number(record, "id"),
        resource: number(record, "resourceID"),
        role: integer(record, "roleID"),
        start: time_of(record, "startDateTime"),
        end: time_of(record, "endDateTime"),
        date_worked: time_of(record, "dateWorked"),
        hours_worked: record.get("hoursWorked").and_then(serde_json::Value::as_f64).unwrap_or_default(),
        billing_code: integer(record, "billingCodeID"),
        contract: integer(record, "contractID"),
        summary: words(record, "summaryNotes"),
        internal_notes: words(record, "internalNotes"),
        creator: number(record, "creatorUserID"),
    };
    of_ticket(tenant, Entity::TimeEntries, ticket).map(entry).collect()
}

pub(super) fn attachments(tenant: &Tenant, ticket: i64) -> Vec<Attachment> {
    let attachment = |record: &Record| {
        let id = number(record, "id");
        Attachment {
            id,
            kind: words(record, "attachmentType"),
            title: words(record, "title"),
            full_path: words(record, "fullPath"),
            publish: number(record, "publish"),
            content: tenant.contents.get(&id).cloned().unwrap_or_default(),
        }
    };
    of_ticket(tenant, Entity::AttachmentInfo, ticket).map(attachment).collect()
}

fn of_ticket(tenant: &Tenant, entity: Entity, ticket: i64) -> impl Iterator<Item = &Record> {
    tenant.all(entity).filter(move |record| integer(record, "ticketID") == Some(ticket))
}

fn number(record: &Record, field: &str) -> i64 {
    integer(record, field).unwrap_or_default()
}

fn words(record: &Record, field: &str) -> String {
    text(record, field).unwrap_or_default().to_owned()
}
