//! What the simulated GitLab holds.

use serde_json::{Value, json};

use super::{Options, PROJECT_ID};

/// Number of the token's user.
pub(super) const USER_ID: u64 = 21;
/// The token's user.
pub(super) const USER: &str = "project_7_bot";

/// An issue.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Issue {
    /// Number in the project.
    pub iid: u64,
    /// Title.
    pub title: String,
    /// Markdown.
    pub description: String,
    /// Names of its labels.
    pub labels: Vec<String>,
    /// `opened` or `closed`.
    pub state: String,
    /// The other fields it was made with.
    pub fields: serde_json::Map<String, Value>,
    /// Notes, oldest first.
    pub notes: Vec<Note>,
    /// Times spent, oldest first.
    pub times: Vec<TimeSpent>,
    /// The token's user made it.
    pub is_own: bool,
}

/// A note.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// Its id.
    pub id: u64,
    /// Markdown.
    pub body: String,
    /// For members with the role Reporter alone.
    pub internal: bool,
}

/// Time spent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimeSpent {
    /// Minutes.
    pub minutes: u64,
    /// What was said about it.
    pub summary: String,
}

/// A file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upload {
    /// `/uploads/…/NAME`, as texts name it.
    pub path: String,
    /// What is in it.
    pub content: Vec<u8>,
}

/// The project.
#[derive(Debug)]
pub(super) struct Project {
    pub(super) options: Options,
    /// With a slash at the end.
    pub(super) url: String,
    pub(super) former_path: Option<String>,
    pub(super) labels: Vec<String>,
    pub(super) issues: Vec<Issue>,
    pub(super) uploads: Vec<Upload>,
    pub(super) quick_actions: Vec<String>,
    next: u64,
}

impl Project {
    pub(super) fn new(options: Options, url: &str) -> Self {
        Self {
            options,
            url: url.to_owned(),
            former_path: None,
            labels: Vec::new(),
            issues: Vec::new(),
            uploads: Vec::new(),
            quick_actions: Vec::new(),
            next: 300,
        }
    }

    pub(super) fn next_id(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    pub(super) fn add_issue(&mut self, title: &str, description: &str) -> u64 {
        // Numbers of deleted issues are not given again.
        let iid = 14 + self.next_id() - 300;
        self.issues.push(Issue {
            iid,
            title: title.to_owned(),
            description: description.to_owned(),
            state: "opened".to_owned(),
            ..Issue::default()
        });
        iid
    }

    /// Does what lines of a text say that begin with a slash, outside code blocks; here that is noted.
    pub(super) fn obey(&mut self, text: &str) {
        let mut fence: Option<usize> = None;
        for line in text.lines() {
            let ticks = line.trim_start().chars().take_while(|character| *character == '`').count();
            match fence {
                None if ticks >= 3 => fence = Some(ticks),
                Some(open) if ticks >= open => fence = None,
                None if line.starts_with('/') && line[1..].starts_with(|next: char| next.is_ascii_alphabetic()) => {
                    self.quick_actions.push(line.to_owned());
                }
                _ => {}
            }
        }
    }

    pub(super) fn web_url(&self) -> String {
        format!("{}{}", self.url, self.options.project)
    }

    pub(super) fn issue_json(&self, issue: &Issue) -> Value {
        json!({
            "id": issue.iid + 1_000, "iid": issue.iid, "project_id": PROJECT_ID, "title": issue.title, "description": issue.description,
            "state": issue.state, "labels": issue.labels, "created_at": "2026-11-22T10:00:00.000Z", "updated_at": "2026-11-22T10:00:00.000Z",
            "author": { "id": if issue.is_own { USER_ID } else { 1 } }, "assignees": [], "confidential": issue.fields.get("confidential") == Some(&json!(true)),
            "web_url": format!("{}/-/issues/{}", self.web_url(), issue.iid),
            "references": { "short": format!("#{}", issue.iid), "full": format!("{}#{}", self.options.project, issue.iid) },
        })
    }
}

pub(super) fn note_json(note: &Note, issue: u64, tells_internal: bool) -> Value {
    let internal = note.internal && tells_internal;
    json!({
        "id": note.id, "body": note.body, "author": { "id": USER_ID, "username": USER }, "system": false, "noteable_type": "Issue",
        "noteable_iid": issue, "project_id": PROJECT_ID, "created_at": "2026-11-22T10:00:00.000Z", "confidential": internal, "internal": internal,
    })
}
