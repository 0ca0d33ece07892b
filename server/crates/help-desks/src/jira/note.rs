//! Comments, work log and files (argus-tickets.md 2.2).
//!
//! Comments and work log are read from the ticket itself, which does not lag as a search does. Each ends with its marker.

use deskbridge_core::note::Attachment;
use deskbridge_core::text::shown;
use deskbridge_documents::{Block, Document, Format, Inline, Limit, Measure, NoteForm, write_with};
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::macros::format_description;

use super::JiraSection;
use super::client::{Body, Client, Fault, Kind, Ready};
use crate::{HelpDeskError, NewNote, TimeEntry};

/// Jira's limit for a text. Whether Cloud counts the text or its JSON is not documented, so the JSON is counted.
const LIMIT: Limit = Limit { measure: Measure::Utf16, most: 32_767 };
/// Entries of a page.
const PAGE: usize = 50;
/// Most pages that are read.
const MAX_PAGES: usize = 40;
/// Longest name of a representative told.
const MAX_NAME: usize = 120;
/// Sessions longer than this were none.
const MAX_MINUTES: i64 = 60 * 24 * 31;

impl Kind {
    /// The form of texts.
    pub(super) fn form(self) -> NoteForm {
        let format = match self {
            Self::Cloud => Format::Adf,
            Self::DataCenter => Format::JiraWiki,
        };
        NoteForm { format, limit: LIMIT }
    }
}

/// A written text as the REST API takes it.
pub(super) fn text_value(kind: Kind, text: &str) -> Result<Value, HelpDeskError> {
    match kind {
        Kind::Cloud => serde_json::from_str(text).map_err(|_| HelpDeskError::Refused("the text is no ADF".into())),
        Kind::DataCenter => Ok(text.into()),
    }
}

/// Who can read what is not for the requester.
fn hide(section: &JiraSection, body: &mut Value) {
    let (kind, name) = match (&section.internal_role, &section.internal_group) {
        (Some(role), _) => ("role", role),
        (None, Some(group)) => ("group", group),
        (None, None) => return,
    };
    body["visibility"] = json!({ "type": kind, "value": name.trim() });
}

/// Gets a note ready to be sent.
pub(super) fn ready<'a>(client: &'a Client, section: &JiraSection, ticket: &str, note: &NewNote<'_>) -> Result<Ready<'a>, HelpDeskError> {
    let mut body = json!({ "body": text_value(client.kind, note.body)? });
    if !note.is_public {
        // Jira Service Management hides it from customers; any other Jira keeps the property and does nothing.
        body["properties"] = json!([{ "key": "sd.public.comment", "value": { "internal": true } }]);
        hide(section, &mut body);
    }
    client.ready(format!("issue/{ticket}/comment"), Body::Json(body), "the note")
}

/// Gets a session's time ready to be sent. Jira credits it to the API user, so the text says whose it was.
pub(super) fn ready_time<'a>(
    client: &'a Client,
    section: &JiraSection,
    ticket: &str,
    entry: &TimeEntry,
    marker: &str,
) -> Result<Ready<'a>, HelpDeskError> {
    let text = format!("Remote support session of {}", shown(&entry.name, MAX_NAME));
    let document = Document::new(vec![Block::Paragraph(vec![Inline::text(text)])]);
    let written = write_with(document, client.kind.form().format, marker);
    let started = started(entry.started_at).ok_or_else(|| HelpDeskError::Refused("the session's start is no time".into()))?;
    let mut body = json!({
        "comment": text_value(client.kind, &written)?,
        "started": started,
        "timeSpentSeconds": minutes(entry) * 60,
    });
    hide(section, &mut body);
    client.ready(format!("issue/{ticket}/worklog"), Body::Json(body), "the work log entry")
}

/// Whole minutes, begun ones too.
fn minutes(entry: &TimeEntry) -> i64 {
    let seconds = entry.ended_at.saturating_sub(entry.started_at) / 1_000;
    seconds.saturating_add(59).div_euclid(60).clamp(1, MAX_MINUTES)
}

/// `2026-11-21T20:14:00.123+0000`, the only form the work log takes.
fn started(unix_ms: i64) -> Option<String> {
    let format = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]+0000");
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(unix_ms) * 1_000_000).ok()?.format(&format).ok()
}

/// Gets a file ready to be sent.
pub(super) fn ready_file<'a>(client: &'a Client, ticket: &str, file: &Attachment) -> Result<Ready<'a>, HelpDeskError> {
    let body = Body::File { name: file.file_name.clone(), content_type: file.content_type, bytes: file.bytes.clone() };
    client.ready(format!("issue/{ticket}/attachments"), body, "the file")
}

/// The comment that holds the marker.
pub(super) async fn find(client: &Client, ticket: &str, marker: &str) -> Result<Option<String>, HelpDeskError> {
    // The newest first.
    let found = find_on_pages(client, ticket, "comment?orderBy=-created&", ("comments", "body"), marker, "the ticket's comments").await;
    found.map_err(|fault| of_ticket(ticket, fault))
}

/// The work log entry that holds the marker.
pub(super) async fn find_time(client: &Client, ticket: &str, entry: &TimeEntry, marker: &str) -> Result<Option<String>, HelpDeskError> {
    // Data Center does not know the condition, and answers all.
    let path = format!("worklog?startedAfter={}&", entry.started_at.saturating_sub(60_000).max(0));
    let found = find_on_pages(client, ticket, &path, ("worklogs", "comment"), marker, "the ticket's work log").await;
    found.map_err(|fault| of_ticket(ticket, fault))
}

async fn find_on_pages(
    client: &Client,
    ticket: &str,
    path: &str,
    (list, text): (&str, &str),
    marker: &str,
    what: &'static str,
) -> Result<Option<String>, Fault> {
    let mut seen = 0;
    for _ in 0..MAX_PAGES {
        let page = client.get(&format!("issue/{ticket}/{path}startAt={seen}&maxResults={PAGE}"), what).await?;
        let entries = page[list].as_array().map_or(&[][..], Vec::as_slice);
        // Whole: it ends with a number, which must not be the beginning of another.
        let is_end = |rest: &str| !rest.starts_with(|next: char| next.is_ascii_alphanumeric() || next == '/' || next == '-');
        let has_marker = |entry: &&Value| {
            let text = entry[text].to_string();
            text.match_indices(marker).any(|(at, _)| is_end(&text[at + marker.len()..]))
        };
        if let Some(entry) = entries.iter().find(has_marker) {
            return Ok(Some(id_of(&entry["id"]).unwrap_or_else(|| "of no told id".to_owned())));
        }
        seen += entries.len();
        if entries.is_empty() || page["total"].as_u64().is_some_and(|total| seen as u64 >= total) {
            return Ok(None);
        }
    }
    Ok(None)
}

/// The file of that name. Names of reports hold the session's id and what kind of report it is.
pub(super) async fn find_file(client: &Client, ticket: &str, name: &str) -> Result<Option<String>, HelpDeskError> {
    let issue =
        client.get(&format!("issue/{ticket}?fields=attachment"), "the ticket's files").await.map_err(|fault| of_ticket(ticket, fault))?;
    let files = issue["fields"]["attachment"].as_array().into_iter().flatten();
    let file = files.into_iter().find(|file| file["filename"].as_str() == Some(name));
    Ok(file.and_then(|file| id_of(&file["id"])))
}

/// An id, which Jira writes as text, and older ones as a number.
pub(super) fn id_of(value: &Value) -> Option<String> {
    value.as_u64().map(|id| id.to_string()).or_else(|| value.as_str().map(str::to_owned)).filter(|id| !id.is_empty())
}

/// What a fault means that is about one ticket.
pub(super) fn of_ticket(ticket: &str, fault: Fault) -> HelpDeskError {
    match fault {
        Fault::NotFound { said, .. } => HelpDeskError::NoTicket(format!(
            "there is no ticket {ticket} in Jira, or the API user may not browse its project ({})",
            said.text
        )),
        other => other.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn begun_minutes_count_and_the_start_is_as_jira_writes_it() {
        let minutes =
            |ms: i64| minutes(&TimeEntry { started_at: 1_000, ended_at: 1_000 + ms, representative: String::new(), name: String::new() });
        for (ms, expected) in [(0, 1), (59_000, 1), (60_000, 1), (61_000, 2), (720_000, 12), (-5_000, 1), (i64::MAX / 2, MAX_MINUTES)] {
            assert_eq!(minutes(ms), expected, "{ms}");
        }
        assert_eq!(started(1_795_292_040_123).as_deref(), Some("2026-11-21T20:14:00.123+0000"));
    }
}
