//! GitLab Issues over the REST API v4 (argus-tickets.md 2.4), as one token's user, in one project.
//!
//! A ticket's id is the issue's number in its project (`iid`). Closed issues take notes. Must not retry or remember what was written, but for
//! the addresses of the issues it made.

mod check;
mod client;
mod issue;
mod note;
mod project;
mod section;
mod webhook;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use deskbridge_core::finding::Finding;
use deskbridge_core::settings::ConnectionSettings;
use deskbridge_shared::percent;
use moka::future::Cache;
use reqwest::Method;
use serde_json::{Value, json};

use self::client::{Client, Fault, Ready, Sent};
use self::issue::Draft;
use self::project::{Known, Project};
pub use self::section::GitLabSection;
use self::webhook::IssueHook;
use crate::zendesk::NoteVisibility;
use crate::{
    Abilities, Agent, AgentReference, Files, HelpDesk, HelpDeskError, Item, NotAllowed, Prepared, PreparedWrite, Surroundings, Ticket,
    TicketAddress, Webhook, Write, WriteOutcome, section_of,
};

/// Most addresses of issues that are remembered: each is asked for once, soon after the issue was made.
const MOST_URLS: u64 = 1_000;
/// What stands between a project's page and an issue's number; the first is how GitLab wrote it before version 13.
const ISSUE_PATHS: [&str; 3] = ["issues/", "-/issues/", "-/work_items/"];

/// The issues of one project.
pub struct GitLab {
    client: Client,
    section: GitLabSection,
    known: Known,
    /// The address that GitLab gave an issue, by its number.
    urls: Cache<String, String>,
    hook: Option<IssueHook>,
}

impl GitLab {
    /// The project of a connection; nothing is contacted. The error names the key at fault.
    pub(crate) fn build(settings: &ConnectionSettings) -> Result<Arc<dyn HelpDesk>, String> {
        let section: GitLabSection = section_of(settings)?;
        let token = section.token.resolve().map_err(|error| format!("gitlab.token: {error}"))?;
        let client = Client::new(section.site(), &token, section.ca_file.as_deref()).map_err(|fault| format!("gitlab: {fault}"))?;
        let secret =
            section.webhook_secret.as_ref().map(|secret| secret.resolve().map_err(|error| format!("gitlab.webhook_secret: {error}")));
        let hook = secret.transpose()?.map(|secret| IssueHook::new(secret, section.project()));
        Ok(Arc::new(Self { client, section, known: Known::default(), urls: Cache::new(MOST_URLS), hook }))
    }

    async fn project(&self) -> Result<Arc<Project>, HelpDeskError> {
        self.known.project(&self.client, &self.section).await
    }

    fn path(project: &Project, issue: &str) -> String {
        format!("projects/{}/issues/{issue}", project.id)
    }

    /// What a fault about an issue means.
    async fn of_issue(&self, fault: Fault, issue: &str) -> HelpDeskError {
        match fault {
            Fault::NotFound(_) => {
                self.known.forget().await;
                self.no_issue(issue)
            }
            Fault::NoRight { what, said } => HelpDeskError::Refused(format!(
                "the token's user may not use {what} on issue {issue} of {}: give them at least the role Reporter in the project, and see that \
                 the issue is not locked ({said})",
                self.section.project()
            )),
            other => other.into(),
        }
    }

    fn no_issue(&self, issue: &str) -> HelpDeskError {
        HelpDeskError::NoTicket(format!("GitLab shows the token's user no issue {issue} in {}", self.section.project()))
    }

    async fn issue_json(&self, issue: &str) -> Result<Value, HelpDeskError> {
        let project = self.project().await?;
        match self.client.get(&Self::path(&project, issue), "the issue").await {
            Ok(found) => Ok(found),
            Err(fault) => Err(self.of_issue(fault, issue).await),
        }
    }

    /// The number in an issue's address, and the project's path; `None`: it is no such address on this GitLab.
    fn in_address(&self, text: &str) -> Option<(String, String)> {
        let site = self.section.site();
        let beginning = text.get(..site.len()).filter(|beginning| beginning.eq_ignore_ascii_case(&site))?;
        let rest = &text[beginning.len()..];
        let (page, number) = ISSUE_PATHS.iter().rev().find_map(|path| rest.split_once(&format!("/{path}")))?;
        let number = number.strip_suffix('/').unwrap_or(number);
        let page = percent::decode(page)?;
        (is_number(number) && page.contains('/')).then(|| (page, number.to_owned()))
    }

    /// Which of these issues are closed; in halves where the answer for all would be too large.
    async fn closed_of(&self, project: &Project, issues: &[String]) -> Result<Vec<String>, HelpDeskError> {
        let mut closed = Vec::new();
        let mut left: Vec<&[String]> = vec![issues];
        while let Some(part) = left.pop() {
            let asked: Vec<String> = part.iter().filter(|issue| is_number(issue)).map(|issue| format!("iids[]={issue}")).collect();
            let path = format!("projects/{}/issues?scope=all&state=opened&per_page=100&{}", project.id, asked.join("&"));
            let open = match self.client.get(&path, "the issues").await {
                Ok(open) => open,
                Err(Fault::AnswerTooLarge(_)) if part.len() > 1 => {
                    let (one, other) = part.split_at(part.len() / 2);
                    left.extend([one, other]);
                    continue;
                }
                Err(fault) => {
                    if matches!(fault, Fault::NotFound(_)) {
                        self.known.forget().await;
                    }
                    return Err(fault.into());
                }
            };
            let open = open.as_array().cloned().unwrap_or_default();
            // The state is asked for and looked at: one that is gone counts as closed.
            let is_open = |issue: &str| {
                open.iter().any(|found| found["state"] == "opened" && found["iid"].as_u64().is_some_and(|iid| iid.to_string() == issue))
            };
            closed.extend(part.iter().filter(|issue| !is_open(issue)).cloned());
        }
        Ok(closed)
    }

    /// A draft of a new issue, with those of its labels that exist.
    async fn draft(&self, project: &Project, new: &crate::NewTicket, marker: &str) -> Result<Draft, HelpDeskError> {
        let wanted = issue::wanted_labels(&self.section, new);
        let existing = self.known.existing(&self.client, project, &wanted.values).await?;
        let (labels, unknown): (Vec<String>, Vec<String>) = wanted.values.into_iter().partition(|label| existing.contains(label));
        let missing = wanted.missing.iter().map(|attribute| format!("a label from {attribute}: the incident has none"));
        let unknown = unknown.iter().map(|label| format!("the label “{label}”: the project has no such label"));
        Draft::new(new, marker, &self.section, labels, missing.chain(unknown).collect())
    }
}

/// An issue's number.
fn is_number(text: &str) -> bool {
    (1..=10).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit()) && !text.starts_with('0')
}

/// An answer of the API that says something else than it should.
fn unknown<'a>(what: &str) -> WriteOutcome<'a> {
    let error = HelpDeskError::passing(format!("GitLab answered something else than it should for {what}; it is looked for"));
    WriteOutcome::Unknown { error, repeat_after: None }
}

fn no_ability(what: &str) -> HelpDeskError {
    HelpDeskError::no_ability(what)
}

/// A note, ready to be sent.
struct NoteWrite<'a> {
    desk: &'a GitLab,
    project: Arc<Project>,
    ready: Ready<'a>,
    issue: String,
    is_internal: bool,
}

#[async_trait]
impl<'a> PreparedWrite<'a> for NoteWrite<'a> {
    async fn send(self: Box<Self>) -> WriteOutcome<'a> {
        let Self { desk, project, ready, issue, is_internal } = *self;
        match ready.send().await {
            Sent::Done(body) => {
                let Some(id) = body["id"].as_u64() else { return unknown("the note") };
                let says_public = body["internal"] == false && body["confidential"] != true;
                if is_internal && says_public {
                    let path = format!("{}/notes/{id}", GitLab::path(&project, &issue));
                    return match desk.client.ready(Method::DELETE, path, Value::Null, "the note") {
                        Ok(ready) => WriteOutcome::Partly(Box::new(Removal { ready, issue })),
                        Err(error) => WriteOutcome::Unknown { error, repeat_after: None },
                    };
                }
                WriteOutcome::Written(id.to_string())
            }
            Sent::Refused(fault) => WriteOutcome::Refused(desk.of_issue(fault, &issue).await),
            Sent::Unknown(error) => WriteOutcome::Unknown { error, repeat_after: None },
        }
    }
}

/// A note for agents that GitLab showed to everybody: before version 15 it does not know internal notes.
struct Removal<'a> {
    ready: Ready<'a>,
    issue: String,
}

#[async_trait]
impl<'a> PreparedWrite<'a> for Removal<'a> {
    async fn send(self: Box<Self>) -> WriteOutcome<'a> {
        let issue = self.issue;
        match self.ready.send().await {
            Sent::Done(_) => WriteOutcome::Refused(HelpDeskError::Refused(format!(
                "GitLab made a note on issue {issue} public that is for agents, and it was removed at once: internal notes need GitLab 15 and at \
                 least the role Reporter; or set note_visibility = \"public\""
            ))),
            Sent::Refused(fault) => WriteOutcome::Refused(HelpDeskError::Refused(format!(
                "GitLab made a note on issue {issue} public that is for agents, and it could not be removed ({fault}): remove it. Internal notes \
                 need GitLab 15 and at least the role Reporter"
            ))),
            Sent::Unknown(error) => WriteOutcome::Unknown { error, repeat_after: None },
        }
    }
}

/// Time spent, ready to be sent.
struct TimeWrite<'a> {
    desk: &'a GitLab,
    ready: Ready<'a>,
    issue: String,
}

#[async_trait]
impl<'a> PreparedWrite<'a> for TimeWrite<'a> {
    async fn send(self: Box<Self>) -> WriteOutcome<'a> {
        match self.ready.send().await {
            Sent::Done(body) if body["total_time_spent"].is_number() => WriteOutcome::Written("of no told number".to_owned()),
            Sent::Done(_) => unknown("the time spent"),
            Sent::Refused(fault) => WriteOutcome::Refused(self.desk.of_issue(fault, &self.issue).await),
            Sent::Unknown(error) => WriteOutcome::Unknown { error, repeat_after: None },
        }
    }
}

/// An issue, ready to be made.
struct Creation<'a> {
    desk: &'a GitLab,
    project: Arc<Project>,
    ready: Ready<'a>,
    draft: Draft,
}

#[async_trait]
impl<'a> PreparedWrite<'a> for Creation<'a> {
    async fn send(self: Box<Self>) -> WriteOutcome<'a> {
        let Self { desk, project, ready, mut draft } = *self;
        match ready.send().await {
            Sent::Done(body) => {
                let Some(issue) = body["iid"].as_u64().map(|iid| iid.to_string()) else { return unknown("the new issue") };
                if let Some(url) = body["web_url"].as_str() {
                    desk.urls.insert(issue.clone(), url.to_owned()).await;
                }
                let stands = |label: &String| body["labels"].as_array().is_none_or(|labels| labels.iter().any(|one| one == label.as_str()));
                let dropped: Vec<String> = draft.labels.iter().filter(|label| !stands(label)).cloned().collect();
                if dropped.is_empty() {
                    return WriteOutcome::Written(issue);
                }
                let why = "the token's user may not set labels";
                draft.left_out.extend(dropped.iter().map(|label| format!("the label “{label}”: {why}")));
                let edited = draft.text().and_then(|text| {
                    desk.client.ready(Method::PUT, GitLab::path(&project, &issue), json!({ "description": text }), "the issue's text")
                });
                match edited {
                    Ok(ready) => WriteOutcome::Partly(Box::new(Amendment { ready, issue })),
                    Err(_) => WriteOutcome::Written(issue),
                }
            }
            Sent::Refused(Fault::NotFound(_) | Fault::Moved(..)) => {
                desk.known.forget().await;
                WriteOutcome::Refused(HelpDeskError::passing(format!(
                    "GitLab has no project of the number {} any more; it is looked up again",
                    project.id
                )))
            }
            Sent::Refused(Fault::NoRight { said, .. }) => WriteOutcome::Refused(HelpDeskError::Refused(format!(
                "the token's user may not make issues in {}: give them at least the role Reporter, and see that the project has issues and is \
                 not archived ({said})",
                desk.section.project()
            ))),
            Sent::Refused(fault) => WriteOutcome::Refused(fault.into()),
            Sent::Unknown(error) => WriteOutcome::Unknown { error, repeat_after: None },
        }
    }
}

/// The issue's text, with what GitLab dropped in silence.
struct Amendment<'a> {
    ready: Ready<'a>,
    issue: String,
}

#[async_trait]
impl<'a> PreparedWrite<'a> for Amendment<'a> {
    async fn send(self: Box<Self>) -> WriteOutcome<'a> {
        let fault: Option<HelpDeskError> = match self.ready.send().await {
            Sent::Done(_) => None,
            Sent::Refused(fault) => Some(fault.into()),
            Sent::Unknown(error) => Some(error),
        };
        if let Some(fault) = fault {
            tracing::warn!(issue = self.issue, %fault, "an issue stands without some of its labels, and its text could not say so");
        }
        WriteOutcome::Written(self.issue)
    }
}

#[async_trait]
impl HelpDesk for GitLab {
    fn name(&self) -> &'static str {
        "gitlab"
    }

    fn abilities(&self) -> Abilities {
        Abilities {
            note: Some(note::FORM),
            page_note: None,
            files: Files::WithNote,
            notes_are_public: self.section.note_visibility == NoteVisibility::Public,
            takes_internal_notes: true,
            settles_within: Duration::from_secs(u64::from(self.section.settle_seconds)),
            guards_repeats: false,
            records_time: self.section.update_time_spent,
            creates_tickets: self.section.enable_automatic_ticket_creation,
            takes_incidents: true,
            closes_tickets: true,
            follows_up: false,
        }
    }

    /// The number, or the issue's address. Whether an address is of the project is seen by [`HelpDesk::resolve`] where the settings have the
    /// project's number alone.
    fn is_ticket_name(&self, text: &str) -> bool {
        let is_own = |path: &str| self.section.project_path().is_none_or(|own| own.eq_ignore_ascii_case(path));
        is_number(text) || self.in_address(text).is_some_and(|(path, _)| is_own(&path))
    }

    async fn resolve(&self, name: &str) -> Result<String, HelpDeskError> {
        if is_number(name) {
            return Ok(name.to_owned());
        }
        let Some((path, number)) = self.in_address(name) else { return Err(self.no_issue("of that name")) };
        if self.section.project_path().is_none_or(|own| !own.eq_ignore_ascii_case(&path))
            && !self.project().await?.path.eq_ignore_ascii_case(&path)
        {
            return Err(HelpDeskError::NoTicket(format!("the address is of another project than {}", self.section.project())));
        }
        Ok(number)
    }

    async fn ticket_for(&self, _agent: &AgentReference, _name: &str) -> Result<(Ticket, Agent), HelpDeskError> {
        Err(HelpDeskError::not_allowed(NotAllowed::PanelInExtension, "GitLab's issues have no panel; reports reach them all the same"))
    }

    async fn prepare<'a>(&'a self, write: &Write<'_>) -> Result<Prepared<'a>, HelpDeskError> {
        if matches!(write.item, Item::Note(_) | Item::Time(_)) && !is_number(write.ticket) {
            return Err(HelpDeskError::NoTicket("an issue of GitLab is named by its number".into()));
        }
        let project = self.project().await?;
        let issue = write.ticket.to_owned();
        match write.item {
            Item::Note(new) => {
                let ready = note::ready(&self.client, &project, &issue, new).await?;
                Ok(Box::new(NoteWrite { desk: self, project, ready, issue, is_internal: !new.is_public }))
            }
            Item::Time(entry) => {
                let ready = note::ready_time(&self.client, &project, &issue, entry, write.marker)?;
                Ok(Box::new(TimeWrite { desk: self, ready, issue }))
            }
            Item::Ticket(new) => {
                let draft = self.draft(&project, new, write.marker).await?;
                let ready = self.client.ready(Method::POST, format!("projects/{}/issues", project.id), draft.body()?, "the new issue")?;
                Ok(Box::new(Creation { desk: self, project, ready, draft }))
            }
            Item::File(_) => Err(no_ability("take files by themselves")),
            Item::FollowUp(_) => Err(no_ability("make follow-up tickets")),
        }
    }

    async fn find(&self, write: &Write<'_>) -> Result<Option<String>, HelpDeskError> {
        let project = self.project().await?;
        let found = match write.item {
            Item::Note(_) => note::find(&self.client, &project, write.ticket, write.marker).await,
            Item::Time(_) => note::find_time(&self.client, &project, write.ticket, write.marker).await,
            Item::Ticket(_) => return self.find_issue(&project, write.marker).await,
            Item::File(_) => return Err(no_ability("take files by themselves")),
            Item::FollowUp(_) => return Err(no_ability("make follow-up tickets")),
        };
        match found {
            Ok(found) => Ok(found),
            Err(fault) => Err(self.of_issue(fault, write.ticket).await),
        }
    }

    async fn check(&self, _around: &Surroundings<'_>) -> Vec<Finding> {
        self.check_rights().await
    }

    async fn ticket_address(&self) -> Option<TicketAddress> {
        let page = match self.section.project_path() {
            Some(path) => format!("{}{path}", self.section.site()),
            None => self.project().await.ok()?.web_url.clone(),
        };
        Some(TicketAddress { address: format!("{page}/-/issues/{{ticket}}"), remark: None })
    }

    async fn ticket_url(&self, ticket: &str) -> Result<String, HelpDeskError> {
        if let Some(url) = self.urls.get(ticket).await {
            return Ok(url);
        }
        let found = self.issue_json(ticket).await?;
        let url = found["web_url"].as_str().ok_or_else(|| HelpDeskError::passing("GitLab told no address of the issue"))?;
        self.urls.insert(ticket.to_owned(), url.to_owned()).await;
        Ok(url.to_owned())
    }

    async fn close(&self, ticket: &str) -> Result<(), HelpDeskError> {
        let project = self.project().await?;
        let ready = self.client.ready(Method::PUT, Self::path(&project, ticket), json!({ "state_event": "close" }), "the issue's end")?;
        match ready.send().await {
            Sent::Done(body) if body["state"] == "closed" => Ok(()),
            Sent::Done(_) => Err(HelpDeskError::Refused(format!(
                "GitLab did not close issue {ticket}: the token's user needs at least the role Reporter in {}",
                self.section.project()
            ))),
            Sent::Refused(fault) => Err(self.of_issue(fault, ticket).await),
            Sent::Unknown(error) => Err(error),
        }
    }

    async fn closed_among(&self, tickets: &[String]) -> Result<Vec<String>, HelpDeskError> {
        if tickets.is_empty() {
            return Ok(Vec::new());
        }
        let project = self.project().await?;
        self.closed_of(&project, tickets).await
    }

    fn webhook(&self) -> Option<&dyn Webhook> {
        self.hook.as_ref().map(|hook| hook as &dyn Webhook)
    }
}

impl GitLab {
    /// The issue whose description has the marker. Looked for in the description alone, GitLab searches its table of issues, which has no lag;
    /// its other searches have.
    async fn find_issue(&self, project: &Project, marker: &str) -> Result<Option<String>, HelpDeskError> {
        let path = format!(
            "projects/{}/issues?scope=all&in=description&search={}&order_by=created_at&sort=asc",
            project.id,
            percent::encode(marker)
        );
        let is_it = |issue: &&Value| issue["description"].as_str().is_some_and(|text| note::has_marker(text, marker));
        let found = self.client.find_in_pages(&path, 2, "the session's issue", |issues| issues.iter().find(is_it).cloned()).await;
        match found {
            Ok(None) => Ok(None),
            Ok(Some(issue)) => {
                let number = issue["iid"].as_u64().map(|iid| iid.to_string());
                if let (Some(number), Some(url)) = (&number, issue["web_url"].as_str()) {
                    self.urls.insert(number.clone(), url.to_owned()).await;
                }
                Ok(number)
            }
            Err(fault) => {
                if matches!(fault, Fault::NotFound(_)) {
                    self.known.forget().await;
                }
                Err(fault.into())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn desk(project: &str) -> Arc<dyn HelpDesk> {
        let section = json!({ "url": "https://gitlab.example.com/git", "token": "t", "project": project });
        let settings = serde_json::from_value(json!({ "name": "a", "gitlab": section })).unwrap();
        GitLab::build(&settings).unwrap_or_else(|fault| panic!("{fault}"))
    }

    #[test]
    fn a_ticket_is_named_by_its_number_or_its_own_address() {
        let check = |text: &str, expected: bool| assert_eq!(desk("grp/sub/proj").is_ticket_name(text), expected, "{text}");
        for own in [
            "7",
            "https://gitlab.example.com/git/grp/sub/proj/-/issues/7",
            "https://gitlab.example.com/git/grp/sub/proj/-/work_items/7",
            "https://gitlab.example.com/git/grp/sub/proj/issues/7",
            "https://gitlab.example.com/git/Grp/sub/proj/-/issues/7/",
        ] {
            check(own, true);
        }
        for other in [
            "",
            "0",
            "07",
            "7 8",
            "#7",
            "grp/sub/proj#7",
            "99999999999",
            "https://gitlab.example.com/git/grp/sub/proj/-/issues/7?x=1",
            "https://gitlab.example.com/git/grp/sub/proj/-/issues/7#note_1",
            "https://gitlab.example.com/git/grp/sub/proj/-/issues/7//",
            "https://gitlab.example.com/git/grp/sub/proj/-/merge_requests/7",
            "https://gitlab.example.com/git/grp/other/-/issues/7",
            "https://gitlab.example.com/git/x/grp/sub/proj/-/issues/7",
            "https://gitlab.example.com/grp/sub/proj/-/issues/7",
            "https://gitlab.example.com.evil.example/git/grp/sub/proj/-/issues/7",
            "https://user@gitlab.example.com/git/grp/sub/proj/-/issues/7",
            "http://gitlab.example.com/git/grp/sub/proj/-/issues/7",
        ] {
            check(other, false);
        }
        assert!(
            desk("42").is_ticket_name("https://gitlab.example.com/git/grp/sub/proj/-/issues/7"),
            "the project is compared when it is known"
        );
    }

    #[tokio::test]
    async fn an_address_is_resolved_to_its_number() {
        let desk = desk("grp/sub/proj");
        for name in ["7", "https://gitlab.example.com/git/grp/sub/proj/-/work_items/7/"] {
            assert_eq!(desk.resolve(name).await.unwrap(), "7");
        }
        let address = desk.ticket_address().await.unwrap().address;
        assert_eq!(address, "https://gitlab.example.com/git/grp/sub/proj/-/issues/{ticket}");
    }
}
