//! A simulated GitHub with one repository, as an Enterprise Server: the part of the REST API that is about its issues.
//!
//! Tests start it in their own process and steer it by [`SimulatedGitHub`]. It is strict: it refuses what GitHub's own description of its
//! API refuses, and misspelt names, too, which the real one overlooks. What the real one does in silence it does in silence. Facts are from
//! `argus-tickets.md` 2.3. It must never be reachable from another machine.

mod api;
mod delivery;
pub mod description;
mod repository;
mod web_server;

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard};

use anyhow::{Context as _, Result};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};

pub use crate::wire::{Fault, Matching, RecordedRequest};
pub use delivery::GitHubDesk;
pub use repository::{Comment, Issue};

use crate::wire::{Line, locked};
use api::Reply;
use repository::Repository;

/// Path of every REST call, for [`Matching::path_prefix`].
pub const REST: &str = "/api/v3/";

/// Why GitHub takes no more requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// Too much at once.
    Secondary {
        /// 403 or 429.
        status: u16,
        /// Seconds, where it tells them.
        retry_after: Option<u64>,
    },
    /// The hour's requests are used up.
    Primary {
        /// Seconds until there are new ones.
        resets_in: u32,
    },
}

/// What it is like; everything but the address can be altered later.
#[derive(Clone, Debug)]
pub struct Options {
    /// `http://127.0.0.1:PORT/`; set when it starts.
    url: String,
    /// `owner/name`.
    pub project: String,
    /// The token.
    pub token: String,
    /// When the token ends, as GitHub's header tells it.
    pub token_ends: Option<String>,
    /// Login of the token's user.
    pub login: String,
    /// The token is a GitHub App's, which has no user.
    pub is_app: bool,
    /// Not everybody sees it.
    pub is_private: bool,
    /// The token sees it; else everything is a 404.
    pub is_seen: bool,
    /// The token has the permission to write issues.
    pub may_write_issues: bool,
    /// Its user has push access, without which labels, people and milestones are left out in silence.
    pub may_push: bool,
    /// Issues are turned on.
    pub has_issues: bool,
    /// It is archived.
    pub is_archived: bool,
    /// Why no request is taken.
    pub limit: Option<Limit>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            url: String::new(),
            project: "example/operations".to_owned(),
            token: "github_pat_simulated".to_owned(),
            token_ends: None,
            login: "deskbridge-bot".to_owned(),
            is_app: false,
            is_private: true,
            is_seen: true,
            may_write_issues: true,
            may_push: true,
            has_issues: true,
            is_archived: false,
            limit: None,
        }
    }
}

/// State that connections and handles share.
#[derive(Debug)]
struct Shared {
    repository: Mutex<Repository>,
    line: Line,
    /// By the request's number in the journal.
    answers: Mutex<BTreeMap<usize, Value>>,
}

impl Shared {
    fn repository(&self) -> MutexGuard<'_, Repository> {
        locked(&self.repository)
    }

    fn keep_answer(&self, number: usize, reply: &Reply) {
        locked(&self.answers).insert(number, reply.body.clone());
    }
}

/// A running GitHub. Clones are handles to the same one; it stops when the last is dropped.
#[derive(Clone, Debug)]
pub struct SimulatedGitHub {
    shared: Arc<Shared>,
    url: String,
    _guard: Arc<DropGuard>,
}

impl SimulatedGitHub {
    /// Starts one with two labels, `bug` and `Incident`, and no issues.
    pub async fn start(options: Options) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.context("no free port on 127.0.0.1")?;
        let url = format!("http://{}/", listener.local_addr()?);
        let stop = CancellationToken::new();
        let repository = Repository::new(Options { url: url.clone(), ..options });
        let (repository, line) = (Mutex::new(repository), Line::until(stop.clone()));
        let shared = Arc::new(Shared { repository, line, answers: Mutex::default() });
        let answering = Arc::clone(&shared);
        shared.line.open(listener, move |request| web_server::answer(Arc::clone(&answering), request));
        Ok(Self { shared, url, _guard: Arc::new(stop.drop_guard()) })
    }

    /// `http://127.0.0.1:PORT/`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The server's `[github]` for this one, as text that more keys may follow.
    pub fn section(&self) -> String {
        let options = self.options();
        format!("[github]\nurl = \"{}\"\ntoken = \"{}\"\nproject = \"{}\"", self.url, options.token, options.project)
    }

    /// The path of something in the repository, for [`Matching`]: `issues`.
    pub fn path(&self, rest: &str) -> String {
        format!("{REST}repos/{}/{rest}", self.shared.repository().options.project)
    }

    // What stands in it

    /// The options as they are now.
    pub fn options(&self) -> Options {
        self.shared.repository().options.clone()
    }

    /// Changes rights and limits.
    pub fn alter(&self, change: impl FnOnce(&mut Options)) {
        self.write(|repository| change(&mut repository.options));
    }

    /// Gives the repository another name; requests for the old one are sent on.
    pub fn rename(&self, project: &str) {
        self.write(|repository| {
            let before = std::mem::replace(&mut repository.options.project, project.to_owned());
            repository.earlier_names.push(before);
        });
    }

    /// Another label.
    pub fn add_label(&self, name: &str) {
        self.write(|repository| repository.labels.push(name.to_owned()));
    }

    /// The names of the labels.
    pub fn labels(&self) -> Vec<String> {
        self.shared.repository().labels.clone()
    }

    /// Another open issue of somebody; answers its number.
    pub fn add_issue(&self, title: &str, body: &str) -> String {
        self.write(|repository| repository.add("somebody", title, body)).to_string()
    }

    /// Changes an issue.
    pub fn alter_issue(&self, number: &str, change: impl FnOnce(&mut Issue)) {
        self.write(|repository| {
            if let Some(issue) = number.parse().ok().and_then(|number| repository.issue(number)) {
                change(issue);
            }
        });
    }

    /// Somebody comments on an issue so often.
    pub fn add_comments(&self, number: &str, count: usize, body: &str) {
        self.write(|repository| {
            for _ in 0..count {
                let id = repository.next_id();
                let comment = Comment { id, author: "somebody".to_owned(), body: body.to_owned(), at: repository::real_time() };
                if let Some(issue) = number.parse().ok().and_then(|number| repository.issue(number)) {
                    issue.comments.push(comment);
                }
            }
        });
    }

    /// All issues, oldest first.
    pub fn issues(&self) -> Vec<Issue> {
        self.shared.repository().issues.clone()
    }

    /// An issue.
    pub fn issue(&self, number: &str) -> Result<Issue> {
        self.issues().into_iter().find(|issue| issue.number.to_string() == number).with_context(|| format!("no issue {number}"))
    }

    // The wire

    /// The next `times` matching requests fail so. Faults ordered earlier are used up first.
    pub fn fail_next(&self, times: u32, matching: Matching, fault: Fault) {
        self.shared.line.faults().order(Some(times.max(1)), matching, fault);
    }

    /// All matching requests fail so until [`SimulatedGitHub::clear_faults`].
    pub fn fail_always(&self, matching: Matching, fault: Fault) {
        self.shared.line.faults().order(None, matching, fault);
    }

    /// Forgets all faults.
    pub fn clear_faults(&self) {
        self.shared.line.faults().clear();
    }

    /// Requests so far, oldest first.
    pub fn requests(&self) -> Vec<RecordedRequest> {
        self.shared.line.journal().all()
    }

    /// The same with what was answered; null where that was no JSON.
    pub fn exchanges(&self) -> Vec<(RecordedRequest, Value)> {
        let answers = locked(&self.shared.answers);
        self.requests()
            .into_iter()
            .enumerate()
            .map(|(number, request)| (request, answers.get(&number).cloned().unwrap_or_default()))
            .collect()
    }

    /// How many writes are still to happen later.
    pub fn pending_writes(&self) -> usize {
        self.shared.line.pending_writes()
    }

    /// Asks `probe` after every request and every change until it finds something, up to a minute.
    pub async fn wait_until<T>(&self, probe: impl Fn(&Self) -> Option<T>) -> Result<T> {
        self.shared.line.wait_until(|| probe(self)).await
    }

    fn write<T>(&self, change: impl FnOnce(&mut Repository) -> T) -> T {
        let result = change(&mut self.shared.repository());
        self.shared.line.changed();
        result
    }
}
