//! Comments and replies, and the time worked that goes with a comment (argus-tickets.md 2.1).
//!
//! A note is found again by its subject, which RT keeps in a column of its own and shows above the note.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use deskbridge_core::clock::rfc3339;
use deskbridge_core::text::shown;
use deskbridge_documents::{Format, Guards, Limit, Measure, NoteForm};
use serde_json::{Value, json};

use super::client::{Client, Fault, Ready};
use super::text::title_with;
use crate::{HelpDeskError, NewNote, TimeEntry};

/// HTML, which RT scrubs when it shows it. What is longer than `$MaxInlineBody` (25 kB in RT 5) is not shown but offered for download; less
/// room for what RT counts differently. Addresses become links where RT is set up so, as its users are used to.
pub(super) const FORM: NoteForm = NoteForm { format: Format::Html(Guards::NONE), limit: Limit { measure: Measure::Bytes, most: 24_000 } };
/// Longest subject of a note, in characters (RT's schema: 255).
const SUBJECT: usize = 250;
/// RT serves files of a text type as their source; the browser is to save and open the page instead.
const FILE_TYPE: &str = "application/octet-stream";
/// Longest name of a representative told.
const MAX_NAME: usize = 120;
/// Sessions longer than this were none (RT's column holds 32 bits of minutes).
const MAX_MINUTES: i64 = 60 * 24 * 31;

/// The ticket as it was read before the note.
pub(super) struct Target {
    /// Its id, after merging.
    pub(super) id: u64,
    /// RT offers to comment on it.
    pub(super) takes_comments: bool,
    /// RT offers to reply to it.
    pub(super) takes_replies: bool,
}

/// Gets a note ready to be sent.
pub(super) fn ready<'a>(client: &'a Client, target: &Target, note: &NewNote<'_>, marker: &str) -> Result<Ready<'a>, HelpDeskError> {
    let files = note
        .attachments
        .iter()
        .map(|file| json!({ "FileName": file.file_name, "FileType": FILE_TYPE, "FileContent": STANDARD.encode(&file.bytes) }));
    let mut body = json!({ "Subject": title_with(note.title, marker, SUBJECT), "Content": note.body, "ContentType": "text/html" });
    if !note.attachments.is_empty() {
        body["Attachments"] = files.collect();
    }
    let kind = if note.is_public { "correspond" } else { "comment" };
    client.ready(format!("ticket/{}/{kind}", target.id), body, "the note")
}

/// Gets a session's time ready to be sent. RT credits it to the API user, so the text says whose it was.
pub(super) fn ready_time<'a>(client: &'a Client, target: &Target, entry: &TimeEntry, marker: &str) -> Result<Ready<'a>, HelpDeskError> {
    let minutes = minutes(entry);
    let text = format!(
        "Remote support session of {}, {} to {}: {minutes} min",
        shown(&entry.name, MAX_NAME),
        rfc3339(entry.started_at),
        rfc3339(entry.ended_at),
    );
    let subject = title_with("Time worked in a remote support session", marker, SUBJECT);
    let body = json!({ "Subject": subject, "Content": text, "ContentType": "text/plain", "TimeTaken": minutes });
    client.ready(format!("ticket/{}/comment", target.id), body, "the time worked")
}

/// Whole minutes, begun ones too.
fn minutes(entry: &TimeEntry) -> i64 {
    let seconds = (entry.ended_at - entry.started_at) / 1_000;
    ((seconds + 59) / 60).clamp(1, MAX_MINUTES)
}

/// The transaction whose note has the marker in its subject, on the ticket or on one that was merged into it.
pub(super) async fn find(client: &Client, ticket: u64, marker: &str) -> Result<Option<String>, HelpDeskError> {
    let conditions = json!([{ "field": "Subject", "operator": "LIKE", "value": marker }]);
    let path = format!("ticket/{ticket}/attachments?fields=Subject,TransactionId&per_page=20");
    let rows = client.search(&path, &conditions, "the ticket's notes").await?;
    let wanted = format!("[{marker}]");
    let row = rows.iter().find(|row| row["Subject"].as_str().is_some_and(|subject| subject.contains(&wanted)));
    Ok(row.and_then(|row| id_of(&row["TransactionId"])))
}

/// An id, which REST 2 writes as a number or as text.
pub(super) fn id_of(value: &Value) -> Option<String> {
    value.as_u64().map(|id| id.to_string()).or_else(|| value.as_str().map(str::to_owned)).filter(|id| !id.is_empty())
}

/// What a refused note means. RT says no for every reason with one status and in its user's language; what it offers on the ticket tells more.
pub(super) fn refusal(target: &Target, is_public: bool, has_files: bool, fault: Fault) -> HelpDeskError {
    let (right, is_offered) = if is_public { ("ReplyToTicket", target.takes_replies) } else { ("CommentOnTicket", target.takes_comments) };
    match fault {
        Fault::NotFound(_) => super::no_ticket(target.id),
        Fault::TooLarge(_) if has_files => HelpDeskError::FileRefused(fault.to_string()),
        Fault::Refused { said, .. } | Fault::NoRight { said, .. } if !is_offered => HelpDeskError::Refused(format!(
            "the API user may not write on ticket {}: give them the right {right} for its queue ({said})",
            target.id
        )),
        other => other.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn begun_minutes_count() {
        let minutes =
            |ms: i64| minutes(&TimeEntry { started_at: 1_000, ended_at: 1_000 + ms, representative: String::new(), name: String::new() });
        for (ms, expected) in [(0, 1), (59_000, 1), (60_000, 1), (61_000, 2), (720_000, 12), (-5_000, 1), (i64::MAX / 2, MAX_MINUTES)] {
            assert_eq!(minutes(ms), expected, "{ms}");
        }
    }
}
