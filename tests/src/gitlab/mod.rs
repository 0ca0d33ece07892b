//! A simulated GitLab with one project: the part of the REST API v4 that is about issues, and of the GraphQL API what REST lacks.
//!
//! Tests start it in their own process and steer it by [`SimulatedGitLab`]. It is strict: it refuses what GitLab's code refuses, and names it
//! does not know, which the real one overlooks. What the real one does in silence it does in silence: it makes labels that are unknown, drops
//! those of guests, and does what a line of a text says that begins with a slash. Facts are from `argus-tickets.md` 2.4 and from GitLab's
//! `lib/api`. It must never be reachable from another machine.

mod api;
mod delivery;
mod project;
mod web_server;

use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard};

use anyhow::{Context as _, Result};
use axum::http::Method;
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};

pub use crate::wire::{Fault, Matching, RecordedRequest};
pub use delivery::GitLabDesk;
pub use project::{Issue, Note, TimeSpent, Upload};

use crate::wire::{Line, locked};
use project::Project;

/// Path of every REST call, for [`Matching::path_prefix`].
pub const REST: &str = "/api/v4/";
/// The project's number.
pub const PROJECT_ID: u64 = 7;

/// What the token's user may do in the project.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// The project is hidden from them.
    None = 0,
    /// May make issues and notes.
    Guest = 10,
    /// May also set labels, close issues, write internal notes.
    Reporter = 20,
}

/// What GitLab's check for spam says to a new issue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpamAnswer {
    /// It is thrown away.
    Discarded,
    /// A person must solve a captcha.
    Captcha,
}

/// What it is like; everything but the address can be altered later.
#[derive(Clone, Debug)]
pub struct Options {
    /// The path it is installed under: `/` or `/gitlab/`.
    pub path: String,
    /// The project's full path.
    pub project: String,
    /// The token.
    pub token: String,
    /// The token's scopes.
    pub scopes: Vec<String>,
    /// Role of the token's user.
    pub role: Role,
    /// The version it tells.
    pub version: String,
    /// A web server in front of it decodes `%2F`, so that nothing is found under a project's path.
    pub decodes_slashes: bool,
    /// The project is archived.
    pub is_archived: bool,
    /// The project has issues.
    pub has_issues: bool,
    /// Most items on a page, whatever is asked for.
    pub page_size: usize,
    /// No request is taken; so many seconds in `Retry-After`.
    pub limited: Option<u64>,
    /// The check for spam.
    pub spam: Option<SpamAnswer>,
    /// Most bytes of an upload.
    pub upload_max: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            path: "/gitlab/".to_owned(),
            project: "grp/sub/proj".to_owned(),
            token: "glpat-simulated-token".to_owned(),
            scopes: vec!["api".to_owned()],
            role: Role::Reporter,
            version: "18.5.1-ee".to_owned(),
            decodes_slashes: false,
            is_archived: false,
            has_issues: true,
            page_size: 20,
            limited: None,
            spam: None,
            upload_max: 10 * 1024 * 1024,
        }
    }
}

/// State that connections and handles share.
#[derive(Debug)]
struct Shared {
    project: Mutex<Project>,
    line: Line,
}

impl Shared {
    fn project(&self) -> MutexGuard<'_, Project> {
        locked(&self.project)
    }
}

/// A running GitLab. Clones are handles to the same one; it stops when the last is dropped.
#[derive(Clone, Debug)]
pub struct SimulatedGitLab {
    shared: Arc<Shared>,
    url: Arc<str>,
    _guard: Arc<DropGuard>,
}

impl SimulatedGitLab {
    /// Starts one without issues and labels.
    pub async fn start(options: Options) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.context("no free port on 127.0.0.1")?;
        let url = format!("http://{}{}", listener.local_addr()?, options.path);
        let stop = CancellationToken::new();
        let shared = Arc::new(Shared { project: Mutex::new(Project::new(options, &url)), line: Line::until(stop.clone()) });
        let answering = Arc::clone(&shared);
        shared.line.open(listener, move |request| web_server::answer(Arc::clone(&answering), request));
        Ok(Self { shared, url: url.into(), _guard: Arc::new(stop.drop_guard()) })
    }

    /// Its address: `http://127.0.0.1:PORT/gitlab/`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The server's `[gitlab]` for this project, as text that more keys may follow.
    pub fn section(&self) -> String {
        let options = self.options();
        format!("[gitlab]\nurl = \"{}\"\ntoken = \"{}\"\nproject = \"{}\"", self.url, options.token, options.project)
    }

    /// The path of something of the project, for [`Matching::path_prefix`]: `issues`, `issues/3/notes`.
    pub fn path(&self, below: &str) -> String {
        format!("{}{}projects/{PROJECT_ID}/{below}", self.options().path.trim_end_matches('/'), REST)
    }

    /// The options as they are now.
    pub fn options(&self) -> Options {
        self.shared.project().options.clone()
    }

    /// Changes the options, but for the path.
    pub fn alter(&self, change: impl FnOnce(&mut Options)) {
        self.write(|project| change(&mut project.options));
    }

    /// The project gets another path; the old one leads to it.
    pub fn rename(&self, path: &str) {
        self.write(|project| {
            let old = std::mem::replace(&mut project.options.project, path.to_owned());
            project.former_path = Some(old);
        });
    }

    /// Adds a label.
    pub fn add_label(&self, name: &str) {
        self.write(|project| project.labels.push(name.to_owned()));
    }

    /// The names of all labels.
    pub fn labels(&self) -> Vec<String> {
        self.shared.project().labels.clone()
    }

    /// Adds an open issue of somebody else; answers its number.
    pub fn add_issue(&self, title: &str, description: &str) -> String {
        self.write(|project| project.add_issue(title, description).to_string())
    }

    /// An issue.
    pub fn issue(&self, iid: &str) -> Option<Issue> {
        self.issues().into_iter().find(|issue| issue.iid.to_string() == iid)
    }

    /// All issues, oldest first.
    pub fn issues(&self) -> Vec<Issue> {
        self.shared.project().issues.clone()
    }

    /// Changes an issue.
    pub fn alter_issue(&self, iid: &str, change: impl FnOnce(&mut Issue)) {
        self.write(|project| {
            if let Some(issue) = project.issues.iter_mut().find(|issue| issue.iid.to_string() == iid) {
                change(issue);
            }
        });
    }

    /// An issue is gone.
    pub fn delete_issue(&self, iid: &str) {
        self.write(|project| project.issues.retain(|issue| issue.iid.to_string() != iid));
    }

    /// The files uploaded, oldest first.
    pub fn uploads(&self) -> Vec<Upload> {
        self.shared.project().uploads.clone()
    }

    /// Lines of texts that GitLab took for quick actions.
    pub fn quick_actions(&self) -> Vec<String> {
        self.shared.project().quick_actions.clone()
    }

    // The wire

    /// The next `times` matching requests fail so. Faults ordered earlier are used up first.
    pub fn fail_next(&self, times: u32, matching: Matching, fault: Fault) {
        self.shared.line.faults().order(Some(times.max(1)), matching, fault);
    }

    /// All matching requests fail so until [`SimulatedGitLab::clear_faults`].
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

    /// How many requests had this method and a path that begins so.
    pub fn count(&self, method: &Method, path_prefix: &str) -> usize {
        self.shared.line.journal().count(method, path_prefix)
    }

    /// Forgets the requests so far.
    pub fn clear_requests(&self) {
        self.shared.line.journal().clear();
    }

    /// How many writes are still to happen later, as faults ordered it.
    pub fn pending_writes(&self) -> usize {
        self.shared.line.pending_writes()
    }

    /// Asks `probe` after every request and every change until it finds something, up to a minute.
    pub async fn wait_until<T>(&self, probe: impl Fn(&Self) -> Option<T>) -> Result<T> {
        self.shared.line.wait_until(|| probe(self)).await
    }

    fn write<T>(&self, change: impl FnOnce(&mut Project) -> T) -> T {
        let result = change(&mut self.shared.project());
        self.shared.line.changed();
        result
    }
}
