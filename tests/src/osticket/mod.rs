//! A simulated osTicket: the staff's side of the web application, as an agent's browser meets it.
//!
//! Tests and the demo start it in their own process and steer it by [`SimulatedOsTicket`]. It is strict: without a session, a CSRF token or
//! a lock it refuses, in the real words where those are known. Facts are from `osticket.md`; section numbers stand in the comments. The
//! pages are the saved ones of the extension (`extension/pages/osticket`), filled. It must never be reachable from another machine.

mod desk;
mod messages;
mod pages;
mod staff;
mod web_server;

use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use axum::http::Method;
use time::OffsetDateTime;
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};

pub use crate::wire::{Fault, Matching, RecordedRequest};
pub use desk::{Agent, Entry, EntryKind, LOCK_LIFE, SESSION_LIFE, Ticket};
pub use web_server::CRASH;

use crate::wire::{Line, locked};
use desk::Desk;

/// What an installation is like when it starts; everything but port, path and the first agent can be altered later.
#[derive(Clone, Debug)]
pub struct Options {
    /// Port on 127.0.0.1; 0 takes a free one.
    pub port: u16,
    /// Where it is installed on its host: `/` or `/support/`.
    pub path: String,
    /// The first agent.
    pub agent: Agent,
    /// Whether an agent who writes locks the ticket ("Agent Collision Avoidance").
    pub locking: bool,
    /// "Enable Rich Text": whether notes are HTML.
    pub rich_text: bool,
    /// Added to every answer.
    pub latency: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self { port: 0, path: "/support/".to_owned(), agent: Agent::default(), locking: true, rich_text: true, latency: Duration::ZERO }
    }
}

/// Ids of the tickets [`SimulatedOsTicket::fill_sample_data`] makes.
#[derive(Clone, Copy, Debug)]
pub struct SampleData {
    /// Number 515631, "Laptop will not connect to VPN"; its form names the machine.
    pub vpn: u32,
    /// Number HD.43-4182, "Second screen stays dark".
    pub screen: u32,
}

/// State that connections and handles share.
#[derive(Debug)]
struct Shared {
    desk: Mutex<Desk>,
    line: Line,
}

impl Shared {
    fn desk(&self) -> MutexGuard<'_, Desk> {
        locked(&self.desk)
    }
}

/// A running installation. Clones are handles to the same one; it stops when the last is dropped.
#[derive(Clone, Debug)]
pub struct SimulatedOsTicket {
    shared: Arc<Shared>,
    url: Arc<str>,
    _guard: Arc<DropGuard>,
}

impl SimulatedOsTicket {
    /// Starts one with an agent and no tickets. Fails when the port is taken.
    pub async fn start(options: Options) -> anyhow::Result<Self> {
        ensure!(options.path.starts_with('/') && options.path.ends_with('/'), "{} is not the path of a directory", options.path);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, options.port))
            .await
            .with_context(|| format!("listening on 127.0.0.1:{}", options.port))?;
        let url = format!("http://{}{}", listener.local_addr()?, options.path);
        let stop = CancellationToken::new();
        let shared = Arc::new(Shared { desk: Mutex::new(Desk::new(options)), line: Line::until(stop.clone()) });
        let answering = Arc::clone(&shared);
        shared.line.open(listener, move |request| web_server::answer(Arc::clone(&answering), request));
        Ok(Self { shared, url: url.into(), _guard: Arc::new(stop.drop_guard()) })
    }

    /// Closes the listener and every connection, and waits until they are.
    pub async fn stop(&self) {
        self.shared.line.end().await;
    }

    /// The installation: `http://127.0.0.1:PORT/support/`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The staff's page of a ticket, by its internal id.
    pub fn ticket_page(&self, ticket: u32) -> String {
        format!("{}scp/tickets.php?id={ticket}", self.url)
    }

    /// The path of a staff page on its host, for [`Matching::path_prefix`]: `/support/scp/` + `tickets.php`.
    pub fn staff_path(&self, page: &str) -> String {
        format!("{}scp/{page}", self.shared.desk().options.path)
    }

    // People and tickets

    /// The options as they are now.
    pub fn options(&self) -> Options {
        self.shared.desk().options.clone()
    }

    /// Changes locking or latency.
    pub fn alter(&self, change: impl FnOnce(&mut Options)) {
        self.write(|desk| change(&mut desk.options));
    }

    /// Adds an agent.
    pub fn add_agent(&self, agent: Agent) {
        self.write(|desk| desk.agents.push(agent));
    }

    /// Adds a ticket with the requester's message; gives its internal id.
    pub fn add_ticket(&self, ticket: Ticket) -> u32 {
        self.write(|desk| desk.add_ticket(ticket))
    }

    /// Two tickets.
    pub fn fill_sample_data(&self) -> SampleData {
        let vpn = self.add_ticket(Ticket::default());
        let screen = self.add_ticket(Ticket {
            number: "HD.43-4182".to_owned(),
            subject: "Second screen stays dark".to_owned(),
            requester_name: "Quentin Query".to_owned(),
            requester_email: "quentin@customer.example".to_owned(),
            message: "<p>Since I moved desks the second screen stays dark.</p>".to_owned(),
            device: None,
            ..Ticket::default()
        });
        SampleData { vpn, screen }
    }

    /// The thread of a ticket, oldest first.
    pub fn entries(&self, ticket: u32) -> Vec<Entry> {
        self.shared.desk().tickets.get(&ticket).map(|ticket| ticket.entries.clone()).unwrap_or_default()
    }

    /// The internal notes of a ticket, oldest first.
    pub fn notes(&self, ticket: u32) -> Vec<Entry> {
        self.entries(ticket).into_iter().filter(|entry| entry.kind == EntryKind::Note).collect()
    }

    /// Another agent, or the same one in another tab, begins to write on a ticket; `user` is an agent's.
    pub fn begin_writing(&self, ticket: u32, user: &str) -> anyhow::Result<()> {
        self.write(|desk| {
            let agent = desk.agents.iter().position(|agent| agent.user == user).with_context(|| format!("nobody is {user}"))?;
            desk.lock(ticket, agent);
            Ok(())
        })
    }

    /// The agent has written a note, in HTML, and not sent it.
    pub fn draft_note(&self, ticket: u32, html: &str) {
        self.write(|desk| {
            if let Some(held) = desk.tickets.get_mut(&ticket) {
                html.clone_into(&mut held.draft);
            }
        });
    }

    /// Who holds a ticket's lock now, by user name.
    pub fn lock_holder(&self, ticket: u32) -> Option<String> {
        let desk = self.shared.desk();
        desk.lock_of(ticket).map(|lock| desk.agents[lock.agent].user.clone())
    }

    /// Everybody is signed out.
    pub fn end_sessions(&self) {
        self.write(|desk| desk.sessions.clear());
    }

    /// Moves the installation's clock on: sessions and locks run out.
    pub fn advance_clock(&self, by: Duration) {
        self.write(|desk| desk.clock_ahead += by);
    }

    /// The installation's clock stands still from now on, but for [`SimulatedOsTicket::advance_clock`].
    pub fn stop_clock(&self) {
        self.write(|desk| desk.stopped = Some(desk::real_time()));
    }

    /// Merges a ticket into another: its page has no forms any more, though a note that is posted is still taken.
    pub fn merge(&self, ticket: u32, into: u32) {
        self.write(|desk| {
            if let Some(held) = desk.tickets.get_mut(&ticket) {
                held.merged_into = Some(into);
            }
        });
    }

    /// The code of the lock on a ticket.
    pub fn lock_code(&self, ticket: u32) -> Option<String> {
        self.shared.desk().lock_of(ticket).map(|lock| lock.code.clone())
    }

    /// The installation's clock.
    pub fn now(&self) -> OffsetDateTime {
        self.shared.desk().now()
    }

    // The wire

    /// The next `times` matching requests fail so. Faults ordered earlier are used up first.
    pub fn fail_next(&self, times: u32, matching: Matching, fault: Fault) {
        self.shared.line.faults().order(Some(times.max(1)), matching, fault);
    }

    /// All matching requests fail so until [`SimulatedOsTicket::clear_faults`].
    pub fn fail_always(&self, matching: Matching, fault: Fault) {
        self.shared.line.faults().order(None, matching, fault);
    }

    /// Forgets all faults.
    pub fn clear_faults(&self) {
        self.shared.line.faults().clear();
    }

    /// Requests so far, oldest first; the latest 20,000 are kept. `user` is the agent's whose session it was; cookies are not kept.
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

    // Waiting

    /// The first note of the ticket that `wanted` accepts, waiting for it up to a minute.
    pub async fn wait_for_note(&self, ticket: u32, wanted: impl Fn(&Entry) -> bool) -> anyhow::Result<Entry> {
        self.wait_until(|desk| desk.notes(ticket).into_iter().find(&wanted)).await.with_context(|| {
            let seen: Vec<String> = self.notes(ticket).into_iter().map(|note| note.title).collect();
            format!("no such note on ticket {ticket}, which has {seen:?}")
        })
    }

    /// Asks `probe` after every request and every change until it finds something, up to a minute.
    pub async fn wait_until<T>(&self, probe: impl Fn(&Self) -> Option<T>) -> anyhow::Result<T> {
        self.shared.line.wait_until(|| probe(self)).await
    }

    fn write<T>(&self, change: impl FnOnce(&mut Desk) -> T) -> T {
        let result = change(&mut self.shared.desk());
        self.shared.line.changed();
        result
    }
}
