//! Files on a ticket (autotask-extension.md a.10).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use super::client::{Client, Fault, Ready};
use super::query::{Entity, Filter};
use super::text::title_with;
use crate::HelpDeskError;
use deskbridge_core::note::Attachment;

/// Largest file (autotask-extension.md a.10: 6 to 7 MB).
const LARGEST: usize = 6_000_000;
/// Longest title, in characters: that of a note, which is safe here too.
const TITLE: usize = 250;
/// Files looked at that carry a marker; one is expected.
const FEW: usize = 20;

/// The id of the file whose title has the marker.
pub(super) async fn find(client: &Client, ticket: i64, marker: &str) -> Result<Option<i64>, HelpDeskError> {
    let of_ticket = Filter::any([Filter::is("ticketID", ticket), Filter::is("parentID", ticket)]);
    let filter = Filter::all([of_ticket, Filter::contains("title", marker)]);
    let rows = client.query(Entity::AttachmentInfo, &filter, &["ticketID", "parentID", "title"], FEW, "the ticket's files").await?;
    // The marker names one session's file; no other ticket can have it.
    let has_marker = |title: &str| title.contains(marker);
    Ok(rows.iter().find(|row| row["title"].as_str().is_some_and(has_marker)).and_then(|row| row["id"].as_i64()))
}

/// Gets a file ready to be sent.
pub(super) async fn ready<'a>(
    client: &'a Client,
    ticket: i64,
    file: &Attachment,
    marker: &str,
    publish: i64,
) -> Result<Ready<'a>, HelpDeskError> {
    if file.bytes.len() > LARGEST {
        return Err(HelpDeskError::Refused(format!(
            "the file {} has {} bytes, Autotask takes {LARGEST}; read the session's report on the appliance",
            file.file_name,
            file.bytes.len()
        )));
    }
    let body = json!({
        "id": 0,
        "attachmentType": "FILE_ATTACHMENT",
        "fullPath": file.file_name,
        "title": title_with(&file.file_name, marker, TITLE),
        "publish": publish,
        "data": STANDARD.encode(&file.bytes),
    });
    client.ready(Entity::AttachmentInfo, format!("Tickets/{ticket}/Attachments"), body, "the file").await
}

/// What a refused file means.
pub(super) fn refusal(ticket: i64, fault: Fault) -> HelpDeskError {
    match fault {
        Fault::NotFound(_) => super::no_ticket(ticket),
        other => other.into(),
    }
}
