//! What the simulated GitHub keeps: one repository with its labels, issues and comments, and what the token may do in it.

use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::Options;

/// The repository's number, which stays when it is renamed.
pub(super) const REPOSITORY_ID: u64 = 1_296_269;

/// A comment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Comment {
    /// Its id.
    pub id: u64,
    /// Login of the user it is of.
    pub author: String,
    /// Markdown.
    pub body: String,
    pub(super) at: OffsetDateTime,
}

/// An issue, or a pull request, which GitHub lists among them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issue {
    /// Its number.
    pub number: u64,
    /// Its title.
    pub title: String,
    /// Markdown.
    pub body: String,
    /// Login of the user it is of.
    pub author: String,
    /// Names.
    pub labels: Vec<String>,
    /// Logins.
    pub assignees: Vec<String>,
    /// Its milestone's number.
    pub milestone: Option<u64>,
    /// Whether it is closed, and as what.
    pub closed: Option<String>,
    /// It was deleted.
    pub is_deleted: bool,
    /// It is a pull request.
    pub is_pull_request: bool,
    /// Oldest first.
    pub comments: Vec<Comment>,
    pub(super) created_at: OffsetDateTime,
}

/// Everything, behind one lock.
#[derive(Debug)]
pub(super) struct Repository {
    pub options: Options,
    /// `owner/name` that it had, oldest first.
    pub earlier_names: Vec<String>,
    pub labels: Vec<String>,
    /// Logins of those who can be assigned.
    pub people: Vec<String>,
    /// Numbers.
    pub milestones: Vec<u64>,
    pub issues: Vec<Issue>,
    next_id: u64,
}

#[expect(clippy::disallowed_methods, reason = "the simulated GitHub's clock is the real one")]
pub(super) fn real_time() -> OffsetDateTime {
    OffsetDateTime::now_utc()
}

fn text_of(at: OffsetDateTime) -> String {
    at.replace_nanosecond(0).unwrap_or(at).format(&Rfc3339).unwrap_or_default()
}

impl Repository {
    pub(super) fn new(options: Options) -> Self {
        Self {
            labels: vec!["bug".to_owned(), "Incident".to_owned()],
            people: vec!["octocat".to_owned(), options.login.clone()],
            milestones: vec![3],
            options,
            earlier_names: Vec::new(),
            issues: Vec::new(),
            next_id: 1_000,
        }
    }

    pub(super) fn next_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    /// Another issue; gives its number.
    pub(super) fn add(&mut self, author: &str, title: &str, body: &str) -> u64 {
        let number = self.issues.last().map_or(1, |issue| issue.number + 1);
        self.issues.push(Issue {
            number,
            title: title.to_owned(),
            body: body.to_owned(),
            author: author.to_owned(),
            labels: Vec::new(),
            assignees: Vec::new(),
            milestone: None,
            closed: None,
            is_deleted: false,
            is_pull_request: false,
            comments: Vec::new(),
            created_at: real_time(),
        });
        number
    }

    pub(super) fn issue(&mut self, number: u64) -> Option<&mut Issue> {
        self.issues.iter_mut().find(|issue| issue.number == number)
    }

    /// The label of that name as it is spelt here.
    pub(super) fn label(&self, name: &str) -> Option<&String> {
        self.labels.iter().find(|label| label.to_lowercase() == name.to_lowercase())
    }

    // As JSON, by the description's examples

    fn api(&self) -> String {
        format!("{}api/v3/repos/{}", self.options.url, self.options.project)
    }

    pub(super) fn user_json(&self, login: &str, mut pattern: Value) -> Value {
        pattern["login"] = json!(login);
        pattern["html_url"] = json!(format!("{}{login}", self.options.url));
        pattern["url"] = json!(format!("{}api/v3/users/{login}", self.options.url));
        pattern
    }

    pub(super) fn repository_json(&self, mut pattern: Value) -> Value {
        let options = &self.options;
        let (owner, name) = options.project.split_once('/').unwrap_or_default();
        pattern["id"] = json!(REPOSITORY_ID);
        pattern["name"] = json!(name);
        pattern["full_name"] = json!(options.project);
        pattern["owner"] = self.user_json(owner, pattern["owner"].clone());
        pattern["private"] = json!(options.is_private);
        pattern["visibility"] = json!(if options.is_private { "private" } else { "public" });
        pattern["html_url"] = json!(format!("{}{}", options.url, options.project));
        pattern["url"] = json!(self.api());
        pattern["has_issues"] = json!(options.has_issues);
        pattern["archived"] = json!(options.is_archived);
        // Required, and not in the description's own example.
        pattern["language"] = Value::Null;
        pattern["permissions"] =
            json!({ "admin": false, "maintain": false, "push": options.may_push, "triage": options.may_push, "pull": true });
        pattern
    }

    pub(super) fn label_json(&self, name: &str, mut pattern: Value) -> Value {
        pattern["name"] = json!(name);
        pattern["url"] = json!(format!("{}/labels/{name}", self.api()));
        pattern
    }

    pub(super) fn issue_json(&self, issue: &Issue, mut pattern: Value) -> Value {
        let own = format!("{}/issues/{}", self.api(), issue.number);
        let user = pattern["user"].clone();
        let label = pattern["labels"][0].clone();
        let page = if issue.is_pull_request { "pull" } else { "issues" };
        let page = format!("{}{}/{page}/{}", self.options.url, self.options.project, issue.number);
        for (member, value) in [
            ("id", json!(issue.number + 5_000_000)),
            ("number", json!(issue.number)),
            ("url", json!(own)),
            ("repository_url", json!(self.api())),
            ("labels_url", json!(format!("{own}/labels{{/name}}"))),
            ("comments_url", json!(format!("{own}/comments"))),
            ("events_url", json!(format!("{own}/events"))),
            ("html_url", json!(page)),
            ("title", json!(issue.title)),
            ("body", json!(issue.body)),
            ("state", json!(if issue.closed.is_some() { "closed" } else { "open" })),
            ("state_reason", json!(issue.closed)),
            ("user", self.user_json(&issue.author, user.clone())),
            ("labels", issue.labels.iter().map(|name| self.label_json(name, label.clone())).collect()),
            ("assignee", issue.assignees.first().map_or(Value::Null, |login| self.user_json(login, user.clone()))),
            ("assignees", issue.assignees.iter().map(|login| self.user_json(login, user.clone())).collect()),
            ("comments", json!(issue.comments.len())),
            ("created_at", json!(text_of(issue.created_at))),
            ("updated_at", json!(text_of(issue.created_at))),
            ("closed_at", if issue.closed.is_some() { json!(text_of(issue.created_at)) } else { Value::Null }),
            ("locked", json!(false)),
            ("active_lock_reason", Value::Null),
        ] {
            pattern[member] = value;
        }
        match issue.milestone {
            Some(number) => pattern["milestone"]["number"] = json!(number),
            None => pattern["milestone"] = Value::Null,
        }
        if !issue.is_pull_request
            && let Some(members) = pattern.as_object_mut()
        {
            members.remove("pull_request");
        }
        pattern
    }

    pub(super) fn comment_json(&self, issue: u64, comment: &Comment, mut pattern: Value) -> Value {
        pattern["id"] = json!(comment.id);
        pattern["url"] = json!(format!("{}/issues/comments/{}", self.api(), comment.id));
        pattern["html_url"] = json!(format!("{}{}/issues/{issue}#issuecomment-{}", self.options.url, self.options.project, comment.id));
        pattern["issue_url"] = json!(format!("{}/issues/{issue}", self.api()));
        pattern["body"] = json!(comment.body);
        pattern["user"] = self.user_json(&comment.author, pattern["user"].clone());
        pattern["created_at"] = json!(text_of(comment.at));
        pattern["updated_at"] = json!(text_of(comment.at));
        pattern
    }
}
