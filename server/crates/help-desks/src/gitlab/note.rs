//! Notes with the files they name, and time spent (argus-tickets.md 2.4).

use std::fmt::Write as _;

use deskbridge_core::clock::rfc3339;
use deskbridge_core::text::shown;
use deskbridge_documents::{Flavour, Format, Limit, Measure, NoteForm};
use reqwest::Method;
use serde_json::{Value, json};

use super::client::{Client, Fault, Ready};
use super::project::Project;
use crate::{HelpDeskError, NewNote, TimeEntry};

/// GitLab takes 1,000,000 characters, but pages with such notes take long to open; what is longer than this goes along as a file.
pub(super) const FORM: NoteForm =
    NoteForm { format: Format::Markdown(Flavour::GitLab), limit: Limit { measure: Measure::Bytes, most: 100_000 } };
/// Most notes of an issue that are looked through, in pages of a hundred.
const MAX_PAGES: u32 = 50;
/// Longest name of a representative told: a summary takes 255 characters.
const MAX_NAME: usize = 80;
/// Sessions longer than this were none.
const MAX_MINUTES: i64 = 60 * 24 * 31;
/// What is asked about time spent: REST tells only the sum.
const TIMELOGS: &str = "query timelogs($project: ID!, $issue: String!) { project(fullPath: $project) { issue(iid: $issue) { \
    timelogs(last: 100) { nodes { id summary } } } } }";

/// Whether a text has the marker on a line of its own.
pub(super) fn has_marker(text: &str, marker: &str) -> bool {
    text.lines().any(|line| line.trim() == marker)
}

/// Uploads the note's files and gets it ready to be sent.
pub(super) async fn ready<'a>(client: &'a Client, project: &Project, issue: &str, note: &NewNote<'_>) -> Result<Ready<'a>, HelpDeskError> {
    let mut body = note.body.to_owned();
    for file in note.attachments {
        let answer = client.upload(&format!("projects/{}/uploads", project.id), file).await.map_err(|fault| match fault {
            Fault::Other(error) if !note.gives_up_files || error.is_of_credentials() => error,
            fault => HelpDeskError::FileRefused(fault.to_string()),
        })?;
        let path = upload_path(&answer).ok_or_else(|| HelpDeskError::passing("GitLab took a file but did not say where it is"))?;
        let name: String = file.file_name.chars().filter(|character| character.is_alphanumeric() || "-.".contains(*character)).collect();
        let _ = write!(body, "\n\n[{name}]({path})");
    }
    let path = format!("projects/{}/issues/{issue}/notes", project.id);
    client.ready(Method::POST, path, json!({ "body": body, "internal": !note.is_public }), "the note")
}

/// `/uploads/` and what GitLab made of the file's name.
fn upload_path(answer: &Value) -> Option<&str> {
    let path = answer["url"].as_str()?;
    let is_plain = |character: char| character.is_ascii_alphanumeric() || "/-_.".contains(character);
    (path.starts_with("/uploads/") && path.chars().all(is_plain)).then_some(path)
}

/// The id of the note that has the marker.
pub(super) async fn find(client: &Client, project: &Project, issue: &str, marker: &str) -> Result<Option<String>, Fault> {
    let path = format!("projects/{}/issues/{issue}/notes?sort=desc&order_by=created_at&activity_filter=only_comments", project.id);
    let is_it = |note: &&Value| note["body"].as_str().is_some_and(|body| has_marker(body, marker));
    let id = |notes: &[Value]| notes.iter().find(is_it).and_then(|note| note["id"].as_u64());
    Ok(client.find_in_pages(&path, MAX_PAGES, "the issue's notes", id).await?.map(|id| id.to_string()))
}

/// Gets a session's time ready to be sent. GitLab credits it to the token's user, so the summary says whose it was.
pub(super) fn ready_time<'a>(
    client: &'a Client,
    project: &Project,
    issue: &str,
    entry: &TimeEntry,
    marker: &str,
) -> Result<Ready<'a>, HelpDeskError> {
    let summary = format!("Remote support session of {}, {} [{marker}]", shown(&entry.name, MAX_NAME), rfc3339(entry.started_at));
    let body = json!({ "duration": format!("{}m", minutes(entry)), "summary": summary });
    client.ready(Method::POST, format!("projects/{}/issues/{issue}/add_spent_time", project.id), body, "the time spent")
}

/// Whole minutes, begun ones too.
fn minutes(entry: &TimeEntry) -> i64 {
    let seconds = (entry.ended_at - entry.started_at) / 1_000;
    ((seconds + 59) / 60).clamp(1, MAX_MINUTES)
}

/// The id of the time spent that has the marker.
pub(super) async fn find_time(client: &Client, project: &Project, issue: &str, marker: &str) -> Result<Option<String>, Fault> {
    let variables = json!({ "project": project.path, "issue": issue });
    let data = client.query(TIMELOGS, &variables, "the issue's time spent").await?;
    let wanted = format!("[{marker}]");
    let found = data["project"]["issue"]["timelogs"]["nodes"].as_array().into_iter().flatten();
    let mut found = found.filter(|log| log["summary"].as_str().is_some_and(|summary| summary.ends_with(&wanted)));
    Ok(found.next().map(|log| log["id"].as_str().and_then(|id| id.rsplit('/').next()).unwrap_or_default().to_owned()))
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

    #[test]
    fn a_marker_stands_on_a_line_of_its_own() {
        let text = "Report\n\n```\ndeskbridge/ab/report/0\n```\n\n[session.html](/uploads/x/session.html)";
        assert!(has_marker(text, "deskbridge/ab/report/0"));
        assert!(!has_marker(text, "deskbridge/ab/report") && !has_marker("a deskbridge/ab/report/0", "deskbridge/ab/report/0"));
    }

    #[test]
    fn only_a_path_of_an_upload_becomes_a_link() {
        let path = |url: &str| upload_path(&json!({ "url": url })).is_some();
        assert!(path("/uploads/66dbcd21ec5d24ed6ea225176098d52b/session-ab.html"));
        for wrong in ["", "https://evil.example/uploads/x", "/uploads/x](https://evil.example)", "/-/x"] {
            assert!(!path(wrong), "{wrong}");
        }
    }
}
