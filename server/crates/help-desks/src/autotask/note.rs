//! Ticket notes (autotask-extension.md a.6): created below their ticket, found at the top level.

use deskbridge_documents::{Format, Guards, Limit, Measure, NoteForm};
use serde_json::json;

use super::client::{Client, Fault, Ready};
use super::query::{Entity, Filter};
use super::text::{lines, title_with};
use crate::{HelpDeskError, NewNote};

/// Longest title, in characters (autotask-extension.md a.6).
const TITLE: usize = 250;
/// Plain text; at most 32,000 characters (autotask-extension.md a.6), counted as .NET counts them.
pub(super) const FORM: NoteForm = NoteForm { format: Format::Text(Guards::NONE), limit: Limit { measure: Measure::Utf16, most: 32_000 } };
/// Notes looked at that carry a marker; one is expected.
const FEW: usize = 20;

/// The id of the note whose title has the marker.
pub(super) async fn find(client: &Client, ticket: i64, marker: &str) -> Result<Option<i64>, HelpDeskError> {
    let filter = Filter::all([Filter::is("ticketID", ticket), Filter::contains("title", marker)]);
    let found = client.query(Entity::TicketNotes, &filter, &["ticketID", "title"], FEW, "the ticket's notes").await;
    let rows = found.map_err(Fault::of_the_essential)?;
    let has_marker = |title: &str| title.contains(marker);
    Ok(rows
        .iter()
        .filter(|row| row["ticketID"].as_i64() == Some(ticket) && row["title"].as_str().is_some_and(has_marker))
        .find_map(|row| row["id"].as_i64()))
}

/// Gets a note ready to be sent.
pub(super) async fn ready<'a>(
    client: &'a Client,
    ticket: i64,
    note: &NewNote<'_>,
    marker: &str,
    note_type: i64,
    publish: i64,
) -> Result<Ready<'a>, HelpDeskError> {
    let body = json!({
        "ticketID": ticket,
        "title": title_with(note.title, marker, TITLE),
        "description": lines(note.body),
        "noteType": note_type,
        "publish": publish,
    });
    client.ready(Entity::TicketNotes, format!("Tickets/{ticket}/Notes"), body, "the note").await
}

/// What a refused note means.
pub(super) fn refusal(ticket: i64, fault: Fault) -> HelpDeskError {
    match fault {
        Fault::NotFound(_) => super::no_ticket(ticket),
        other => other.of_the_essential(),
    }
}
