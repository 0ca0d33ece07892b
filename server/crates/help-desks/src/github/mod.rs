//! The issues of one repository on GitHub (argus-tickets.md 2.3), as one token's user.
//!
//! A comment is read by everybody who sees the issue, and a closed issue takes comments like an open one. Must not retry or remember what was
//! written, but for the addresses of the last issues made.

mod check;
mod client;
mod issue;
mod labels;
mod note;
mod section;
mod webhook;

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use async_trait::async_trait;
use deskbridge_core::finding::Finding;
use deskbridge_core::settings::ConnectionSettings;
use deskbridge_http_client::cached::{Cached, FailureLife, Freshness, Lifetime};
use reqwest::Method;
use serde_json::{Value, json};
use url::Url;

use self::client::{Client, Fault, Ready, Sent};
use self::issue::{Asked, Draft, FORM};
use self::labels::KnownLabels;
pub use self::section::GitHubSection;
use self::webhook::IssuesWebhook;
use crate::{
    Abilities, Agent, AgentReference, Files, HelpDesk, HelpDeskError, Item, NotAllowed, Prepared, PreparedWrite, Surroundings, Ticket,
    TicketAddress, Webhook, Write, WriteOutcome, section_of,
};

/// So many addresses of issues are remembered.
const KEPT_ADDRESSES: u64 = 1_000;
/// Longest address of an issue that is believed.
const MAX_ADDRESS: usize = 2_000;
/// The user of a token does not change, but may be renamed.
const KEPT_LOGIN: Duration = Duration::from_hours(1);
/// Pages of open issues that are looked through for those asked for; the rest is asked for one by one.
const MOST_PAGES_OF_OPEN: usize = 4;

/// One repository.
pub struct GitHub {
    client: Client,
    section: GitHubSection,
    /// `owner/name` as it is now: a repository can be renamed, and GitHub redirects.
    repository: Arc<RwLock<Arc<str>>>,
    labels: KnownLabels,
    /// The token's user; an app's token has none.
    login: Cached<Option<String>, HelpDeskError>,
    /// `html_url` by number.
    addresses: moka::future::Cache<String, String>,
    webhook: Option<IssuesWebhook>,
}

impl GitHub {
    /// The repository of a connection; nothing is contacted. The error names the key at fault.
    pub(crate) fn build(settings: &ConnectionSettings) -> Result<Arc<dyn HelpDesk>, String> {
        let section: GitHubSection = section_of(settings)?;
        let token = section.token.resolve().map_err(|error| format!("github.token: {error}"))?;
        let client = Client::new(section.api(), &token, section.ca_file.as_deref(), section.is_hosted());
        let client = client.map_err(|fault| format!("github: {fault}"))?;
        let project = section.project.trim().to_owned();
        let repository = Arc::new(RwLock::new(Arc::from(project.as_str())));
        let secret =
            section.webhook_secret.as_ref().map(|secret| secret.resolve().map_err(|error| format!("github.webhook_secret: {error}")));
        let webhook = secret.transpose()?.map(|secret| IssuesWebhook::new(secret, project, repository.clone()));
        Ok(Arc::new(Self {
            client,
            section,
            repository,
            labels: KnownLabels::new(),
            login: Cached::new(Lifetime::renewed_after(KEPT_LOGIN), FailureLife::NONE),
            addresses: moka::future::Cache::new(KEPT_ADDRESSES),
            webhook,
        }))
    }

    /// `owner/name` as it is now.
    fn repository(&self) -> Arc<str> {
        self.repository.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The repository, and what it is called now.
    async fn look_up(&self) -> Result<Value, Fault> {
        let repository = self.client.get(&format!("repos/{}", self.repository()), "the repository").await?;
        if let Some(name) = repository["full_name"].as_str().filter(|name| section::is_project(name)) {
            *self.repository.write().unwrap_or_else(PoisonError::into_inner) = Arc::from(name);
        }
        Ok(repository)
    }

    /// Whether the repository is called otherwise than `before`, after GitHub sent a request elsewhere.
    async fn has_moved_from(&self, before: &str) -> Result<bool, HelpDeskError> {
        if *self.repository() == *before {
            self.look_up().await?;
        }
        Ok(*self.repository() != *before)
    }

    fn issue_path(&self, ticket: &str) -> String {
        format!("repos/{}/issues/{ticket}", self.repository())
    }

    async fn issue_json(&self, ticket: &str) -> Result<Value, HelpDeskError> {
        if !is_number(ticket) {
            return Err(HelpDeskError::NoTicket("a ticket of GitHub is named by its number".into()));
        }
        match self.client.get(&self.issue_path(ticket), "the issue").await {
            Ok(issue) => Ok(issue),
            Err(fault) => Err(self.of_ticket(ticket, fault)),
        }
    }

    /// What a fault means for a ticket.
    fn of_ticket(&self, ticket: &str, fault: Fault) -> HelpDeskError {
        match fault {
            Fault::NotFound(_) => HelpDeskError::NoTicket(format!("GitHub shows the token no issue {ticket} in {}", self.repository())),
            Fault::Refused { said, is_gone: true, .. } => {
                HelpDeskError::NoTicket(format!("issue {ticket} of {}: {said}", self.repository()))
            }
            Fault::NoRight { said, .. } => HelpDeskError::Refused(format!(
                "the token may not write on issue {ticket} of {}: give it the permission Issues: Read and write ({said})",
                self.repository()
            )),
            fault => fault.into(),
        }
    }

    /// What a fault means for a new ticket.
    fn of_new_ticket(&self, fault: Fault) -> HelpDeskError {
        let repository = self.repository();
        match fault {
            Fault::NotFound(_) => HelpDeskError::Refused(format!(
                "GitHub shows the token no repository {repository}: correct github.project, or give the token access to it (GitHub: Not Found)"
            )),
            Fault::NoRight { said, .. } => HelpDeskError::Refused(format!(
                "the token may not make issues in {repository}: give it the permission Issues: Read and write ({said})"
            )),
            fault => fault.into(),
        }
    }

    /// The token's user, where it has one and that can be told now: who wrote something is looked at besides its marker.
    async fn login(&self) -> Option<String> {
        let ask = || async {
            match self.client.get("user", "the token's user").await {
                Ok(user) => Ok(user["login"].as_str().map(str::to_owned)),
                // An app's token has none.
                Err(Fault::NoRight { .. } | Fault::NotFound(_)) => Ok(None),
                Err(fault) => Err(fault.into()),
            }
        };
        let login = self.login.get(&Freshness::any(), ask).await.ok()?;
        login.as_ref().clone()
    }

    async fn remember_address(&self, issue: &Value) {
        if let (Some(number), Some(address)) = (issue["number"].as_u64(), address(issue)) {
            self.addresses.insert(number.to_string(), address).await;
        }
    }

    /// Those of the asked tickets that are open, as far as a few pages tell.
    async fn seen_open(&self, tickets: &[String]) -> Result<Vec<String>, HelpDeskError> {
        let oldest = tickets.iter().filter_map(|ticket| ticket.parse::<u64>().ok()).min().unwrap_or_default();
        let (path, mut query) =
            (format!("repos/{}/issues", self.repository()), "state=open&sort=created&direction=desc&per_page=100".to_owned());
        let mut open = Vec::new();
        for _ in 0..MOST_PAGES_OF_OPEN {
            let page = self.client.page(&path, &query, "the open issues").await?;
            let numbers: Vec<u64> = page.items.iter().filter_map(|issue| issue["number"].as_u64()).collect();
            open.extend(numbers.iter().map(ToString::to_string).filter(|number| tickets.contains(number)));
            match page.next {
                Some(next) if numbers.last().is_some_and(|last| *last > oldest) => query = next,
                _ => break,
            }
        }
        Ok(open)
    }
}

/// GitHub's numbers have at most 10 digits.
fn is_number(text: &str) -> bool {
    (1..=10).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit()) && !text.starts_with('0')
}

/// The address that GitHub gives an issue.
fn address(issue: &Value) -> Option<String> {
    let address = issue["html_url"].as_str().filter(|address| address.len() <= MAX_ADDRESS)?;
    let is_page = Url::parse(address).is_ok_and(|url| matches!(url.scheme(), "https" | "http") && url.host().is_some());
    is_page.then(|| address.to_owned())
}

fn no_ability(what: &str) -> HelpDeskError {
    HelpDeskError::no_ability(what)
}

/// An answer that says something else than it should.
fn unknown<'a>(what: &str) -> WriteOutcome<'a> {
    let error = HelpDeskError::passing(format!("GitHub answered something else than it should for {what}; it is looked for"));
    WriteOutcome::Unknown { error, repeat_after: None }
}

/// A comment, ready to be sent.
struct CommentWrite<'a> {
    desk: &'a GitHub,
    ready: Ready<'a>,
    repository: Arc<str>,
    ticket: String,
    body: String,
}

#[async_trait]
impl<'a> PreparedWrite<'a> for CommentWrite<'a> {
    async fn send(self: Box<Self>) -> WriteOutcome<'a> {
        let Self { desk, ready, repository, ticket, body } = *self;
        match ready.send().await {
            Sent::Done(comment) => {
                comment["id"].as_u64().map_or_else(|| unknown("the comment"), |id| WriteOutcome::Written(id.to_string()))
            }
            Sent::Moved => match desk.has_moved_from(&repository).await {
                Ok(true) => {
                    let repository = desk.repository();
                    match note::ready(&desk.client, &repository, &ticket, &body).await {
                        Ok(ready) => WriteOutcome::TryInstead(Box::new(Self { desk, ready, repository, ticket, body })),
                        Err(error) => WriteOutcome::Refused(error),
                    }
                }
                Ok(false) => {
                    WriteOutcome::Refused(HelpDeskError::NoTicket(format!("issue {ticket} was transferred to another repository")))
                }
                Err(error) => WriteOutcome::Refused(error),
            },
            Sent::Refused(fault) => WriteOutcome::Refused(desk.of_ticket(&ticket, fault)),
            Sent::Unknown(error) => WriteOutcome::Unknown { error, repeat_after: None },
        }
    }
}

/// An issue, ready to be made.
struct IssueCreation<'a> {
    desk: &'a GitHub,
    ready: Ready<'a>,
    repository: Arc<str>,
    draft: Draft,
    asked: Asked,
    marker: String,
}

impl<'a> IssueCreation<'a> {
    async fn new(desk: &'a GitHub, draft: Draft, asked: Asked, marker: String) -> Result<Self, HelpDeskError> {
        let repository = desk.repository();
        let ready = desk.client.ready(Method::POST, format!("repos/{repository}/issues"), asked.body.clone(), "the new issue").await?;
        Ok(Self { desk, ready, repository, draft, asked, marker })
    }

    async fn instead(desk: &'a GitHub, draft: Draft, asked: Asked, marker: String) -> WriteOutcome<'a> {
        match Self::new(desk, draft, asked, marker).await {
            Ok(creation) => WriteOutcome::TryInstead(Box::new(creation)),
            Err(error) => WriteOutcome::Refused(error),
        }
    }
}

#[async_trait]
impl<'a> PreparedWrite<'a> for IssueCreation<'a> {
    async fn send(self: Box<Self>) -> WriteOutcome<'a> {
        let Self { desk, ready, repository, draft, asked, marker } = *self;
        match ready.send().await {
            Sent::Done(made) => desk.made(&made, &draft, &asked, &marker).await,
            Sent::Moved => match desk.has_moved_from(&repository).await {
                Ok(true) => Self::instead(desk, draft, asked, marker).await,
                Ok(false) => WriteOutcome::Refused(HelpDeskError::passing(format!("GitHub sends new issues of {repository} elsewhere"))),
                Err(error) => WriteOutcome::Refused(error),
            },
            Sent::Refused(Fault::Refused { said, is_of_content: true, what, is_gone }) => {
                desk.labels.doubt();
                match draft.reduced(&asked, &said, &marker) {
                    Ok(Some(reduced)) => Self::instead(desk, draft, reduced, marker).await,
                    Ok(None) => {
                        let fault = Fault::Refused { said, is_of_content: true, what, is_gone };
                        WriteOutcome::Refused(desk.of_new_ticket(fault))
                    }
                    Err(error) => WriteOutcome::Refused(error),
                }
            }
            Sent::Refused(fault) => WriteOutcome::Refused(desk.of_new_ticket(fault)),
            Sent::Unknown(error) => WriteOutcome::Unknown { error, repeat_after: None },
        }
    }
}

impl GitHub {
    /// What becomes of an issue that was made: what GitHub left out in silence is added to its text.
    async fn made<'a>(&'a self, made: &Value, draft: &Draft, asked: &Asked, marker: &str) -> WriteOutcome<'a> {
        let Some(number) = made["number"].as_u64().map(|number| number.to_string()) else { return unknown("the new issue") };
        self.remember_address(made).await;
        if asked.lost_its_labels(made) {
            self.labels.were_dropped();
        }
        let Ok(Some(text)) = draft.text_after(asked, made, marker) else { return WriteOutcome::Written(number) };
        let change = self.client.ready(Method::PATCH, self.issue_path(&number), json!({ "body": text }), "the issue's text").await;
        match change {
            Ok(ready) => WriteOutcome::Partly(Box::new(TextChange { ready, number })),
            Err(error) => {
                not_told(&number, &error);
                WriteOutcome::Written(number)
            }
        }
    }
}

/// The text of an issue that was just made, with what GitHub left out.
struct TextChange<'a> {
    ready: Ready<'a>,
    number: String,
}

#[async_trait]
impl<'a> PreparedWrite<'a> for TextChange<'a> {
    /// The issue stands, whatever becomes of this.
    async fn send(self: Box<Self>) -> WriteOutcome<'a> {
        let Self { ready, number } = *self;
        match ready.send().await {
            Sent::Done(_) => {}
            Sent::Moved => not_told(&number, &"the repository was renamed just now"),
            Sent::Refused(fault) => not_told(&number, &fault),
            Sent::Unknown(error) => not_told(&number, &error),
        }
        WriteOutcome::Written(number)
    }
}

fn not_told(number: &str, why: &dyn std::fmt::Display) {
    tracing::warn!(number, %why, "GitHub left out labels, people or the milestone of a new issue, and its text does not name them");
}

#[async_trait]
impl HelpDesk for GitHub {
    fn name(&self) -> &'static str {
        "github"
    }

    fn abilities(&self) -> Abilities {
        Abilities {
            note: Some(FORM),
            page_note: None,
            files: Files::Never,
            notes_are_public: true,
            takes_internal_notes: false,
            settles_within: Duration::from_secs(u64::from(self.section.settle_seconds)),
            guards_repeats: false,
            records_time: false,
            creates_tickets: self.section.enable_automatic_ticket_creation,
            takes_incidents: true,
            closes_tickets: true,
            follows_up: false,
        }
    }

    fn is_ticket_name(&self, text: &str) -> bool {
        is_number(text) || self.number_in(text).is_some()
    }

    /// The issue's own address names it, too.
    async fn resolve(&self, name: &str) -> Result<String, HelpDeskError> {
        let number = self.number_in(name).or_else(|| is_number(name).then_some(name));
        number.map(str::to_owned).ok_or_else(|| HelpDeskError::NoTicket("a ticket of GitHub is named by its number".into()))
    }

    async fn ticket_for(&self, _agent: &AgentReference, _name: &str) -> Result<(Ticket, Agent), HelpDeskError> {
        Err(HelpDeskError::not_allowed(NotAllowed::PanelInExtension, "GitHub's issues have no panel"))
    }

    async fn prepare<'a>(&'a self, write: &Write<'_>) -> Result<Prepared<'a>, HelpDeskError> {
        match write.item {
            Item::Note(new) => {
                if !is_number(write.ticket) {
                    return Err(HelpDeskError::NoTicket("a ticket of GitHub is named by its number".into()));
                }
                let (repository, ticket, body) = (self.repository(), write.ticket.to_owned(), new.body.to_owned());
                let ready = note::ready(&self.client, &repository, &ticket, &body).await?;
                Ok(Box::new(CommentWrite { desk: self, ready, repository, ticket, body }))
            }
            Item::Ticket(new) => {
                let draft = Draft::new(new, &self.section)?;
                let labels = self.labels.for_wanted(&self.client, &self.repository(), draft.wanted_labels()).await?;
                let asked = draft.asked(&labels, write.marker)?;
                Ok(Box::new(IssueCreation::new(self, draft, asked, write.marker.to_owned()).await?))
            }
            Item::Time(_) => Err(no_ability("record time")),
            Item::File(_) => Err(no_ability("take files")),
            Item::FollowUp(_) => Err(no_ability("make follow-up tickets")),
        }
    }

    async fn find(&self, write: &Write<'_>) -> Result<Option<String>, HelpDeskError> {
        match write.item {
            Item::Note(_) => {
                if !is_number(write.ticket) {
                    return Err(HelpDeskError::NoTicket("a ticket of GitHub is named by its number".into()));
                }
                let login = self.login().await;
                let found = note::find(&self.client, &self.repository(), write.ticket, write.marker, login.as_deref()).await;
                found.map_err(|fault| self.of_ticket(write.ticket, fault))
            }
            Item::Ticket(_) => {
                let login = self.login().await;
                let found = note::find_issue(&self.client, &self.repository(), write.marker, login.as_deref()).await;
                found.map_err(|fault| self.of_new_ticket(fault))
            }
            Item::Time(_) => Err(no_ability("record time")),
            Item::File(_) => Err(no_ability("take files")),
            Item::FollowUp(_) => Err(no_ability("make follow-up tickets")),
        }
    }

    async fn check(&self, _around: &Surroundings<'_>) -> Vec<Finding> {
        self.check_all().await
    }

    async fn ticket_address(&self) -> Option<TicketAddress> {
        Some(TicketAddress { address: format!("{}{}/issues/{{ticket}}", self.section.site(), self.repository()), remark: None })
    }

    async fn ticket_url(&self, ticket: &str) -> Result<String, HelpDeskError> {
        if let Some(address) = self.addresses.get(ticket).await {
            return Ok(address);
        }
        let issue = self.issue_json(ticket).await?;
        self.remember_address(&issue).await;
        Ok(address(&issue).unwrap_or_else(|| format!("{}{}/issues/{ticket}", self.section.site(), self.repository())))
    }

    async fn close(&self, ticket: &str) -> Result<(), HelpDeskError> {
        // One that somebody closed as not planned stays so.
        if self.issue_json(ticket).await?["state"].as_str() == Some("closed") {
            return Ok(());
        }
        let change = json!({ "state": "closed", "state_reason": "completed" });
        for _ in 0..2 {
            let repository = self.repository();
            let ready = self.client.ready(Method::PATCH, self.issue_path(ticket), change.clone(), "the closing").await?;
            match ready.send().await {
                Sent::Done(issue) if issue["state"].as_str() == Some("closed") => return Ok(()),
                Sent::Done(_) => return Err(HelpDeskError::passing(format!("GitHub did not close issue {ticket}"))),
                Sent::Moved if self.has_moved_from(&repository).await? => {}
                Sent::Moved => return Err(HelpDeskError::NoTicket(format!("issue {ticket} was transferred to another repository"))),
                Sent::Refused(fault) => return Err(self.of_ticket(ticket, fault)),
                Sent::Unknown(error) => return Err(error),
            }
        }
        Err(HelpDeskError::passing("GitHub sends the request from one address to another"))
    }

    /// One request tells which are open, as nearly all are; the others are looked at, so that none is taken for closed that is only not
    /// seen.
    async fn closed_among(&self, tickets: &[String]) -> Result<Vec<String>, HelpDeskError> {
        let open = if tickets.len() > 1 { self.seen_open(tickets).await? } else { Vec::new() };
        let mut closed = Vec::new();
        for ticket in tickets.iter().filter(|ticket| !open.contains(ticket)) {
            let is_closed = match self.issue_json(ticket).await {
                Ok(issue) => issue["state"].as_str() == Some("closed"),
                // Unless the whole repository is not seen any more.
                Err(HelpDeskError::NoTicket(_)) => self.look_up().await.map(|_| true)?,
                Err(error) => return Err(error),
            };
            if is_closed {
                closed.push(ticket.clone());
            }
        }
        Ok(closed)
    }

    fn webhook(&self) -> Option<&dyn Webhook> {
        self.webhook.as_ref().map(|webhook| webhook as &dyn Webhook)
    }
}

impl GitHub {
    /// The number in an issue's own address, as GitHub writes it.
    fn number_in<'a>(&self, address: &'a str) -> Option<&'a str> {
        let path = address.strip_prefix(self.section.site().as_str())?;
        let (name, number) = path.split_once("/issues/")?;
        let is_ours = name.eq_ignore_ascii_case(self.section.project.trim()) || name.eq_ignore_ascii_case(&self.repository());
        (is_ours && is_number(number)).then_some(number)
    }
}
