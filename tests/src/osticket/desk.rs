//! What an installation holds: agents, their sessions, tickets with their threads, locks.
//!
//! Knows no request and no page.

use std::collections::BTreeMap;
use std::time::Duration;

use time::OffsetDateTime;

use super::{Options, messages};

/// Idle time after which a session ends (osticket.md 2.14).
pub const SESSION_LIFE: Duration = Duration::from_mins(30);
/// Life of a lock (osticket.md 2.14).
pub const LOCK_LIFE: Duration = Duration::from_mins(3);

/// Ids begin where the saved pages' do.
const FIRST_TICKET: u32 = 116;

/// Somebody who works in the staff's pages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agent {
    /// User name.
    pub user: String,
    /// Password.
    pub password: String,
    /// First name.
    pub first_name: String,
    /// Last name.
    pub last_name: String,
    /// The departments whose tickets he sees.
    pub departments: Vec<String>,
}

impl Agent {
    /// Somebody of the Support department; the password is `simulated-password`.
    pub fn named(user: &str, first_name: &str, last_name: &str) -> Self {
        Self {
            user: user.to_owned(),
            password: "simulated-password".to_owned(),
            first_name: first_name.to_owned(),
            last_name: last_name.to_owned(),
            departments: vec!["Support".to_owned()],
        }
    }

    /// As threads show it.
    pub fn name(&self) -> String {
        format!("{} {}", self.first_name, self.last_name)
    }
}

impl Default for Agent {
    fn default() -> Self {
        Self::named("avery", "Avery", "Agent")
    }
}

/// A ticket to be added.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ticket {
    /// What people call it; not always digits.
    pub number: String,
    /// Subject.
    pub subject: String,
    /// Requester.
    pub requester_name: String,
    /// The requester's address.
    pub requester_email: String,
    /// Department.
    pub department: String,
    /// The requester's message, in HTML.
    pub message: String,
    /// What the administrator's own form says of the machine; `None`: there is no such form.
    pub device: Option<String>,
}

impl Default for Ticket {
    fn default() -> Self {
        Self {
            number: "515631".to_owned(),
            subject: "Laptop will not connect to VPN".to_owned(),
            requester_name: "Priya Patel".to_owned(),
            requester_email: "priya@customer.example".to_owned(),
            department: "Support".to_owned(),
            message: "<p>Since this morning the VPN says “timeout” after a minute.</p>".to_owned(),
            device: Some("PRIYA-LT-07".to_owned()),
        }
    }
}

/// Of which kind a thread's entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryKind {
    /// The requester's.
    Message,
    /// Internal.
    Note,
}

/// An entry of a ticket's thread.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its id.
    pub id: u32,
    /// Of which kind.
    pub kind: EntryKind,
    /// Who wrote it.
    pub author: String,
    /// Title.
    pub title: String,
    /// Body, as it is kept: sanitised.
    pub html: String,
    /// When, by the installation's clock.
    pub at: OffsetDateTime,
}

/// A ticket as it is held.
#[derive(Debug)]
pub(super) struct Held {
    pub ticket: Ticket,
    pub entries: Vec<Entry>,
    /// The first agent's note that was not sent.
    pub draft: String,
    /// The ticket it was merged into.
    pub merged_into: Option<u32>,
}

/// A browser's session, signed in or not.
#[derive(Clone, Debug)]
pub(super) struct Session {
    pub csrf_token: String,
    /// Who is signed in, by his place in [`Desk::agents`].
    pub agent: Option<usize>,
    /// Where he wanted to go before he was sent to sign in.
    pub destination: Option<String>,
    last_used: OffsetDateTime,
}

/// Who writes on a ticket.
#[derive(Clone, Debug)]
pub(super) struct Lock {
    pub id: u32,
    pub agent: usize,
    pub code: String,
    /// When it was taken or asked for again.
    pub renewed: OffsetDateTime,
    until: OffsetDateTime,
}

#[derive(Debug)]
pub(super) struct Desk {
    pub options: Options,
    pub agents: Vec<Agent>,
    pub sessions: BTreeMap<String, Session>,
    pub tickets: BTreeMap<u32, Held>,
    pub clock_ahead: Duration,
    /// The clock stands still here.
    pub stopped: Option<OffsetDateTime>,
    locks: BTreeMap<u32, Lock>,
    last_id: u32,
}

impl Desk {
    pub(super) fn new(options: Options) -> Self {
        Self {
            agents: vec![options.agent.clone()],
            options,
            sessions: BTreeMap::new(),
            tickets: BTreeMap::new(),
            clock_ahead: Duration::ZERO,
            stopped: None,
            locks: BTreeMap::new(),
            last_id: 0,
        }
    }

    pub(super) fn now(&self) -> OffsetDateTime {
        self.stopped.unwrap_or_else(real_time) + self.clock_ahead
    }

    // Sessions

    /// A new session; gives its id.
    pub(super) fn open_session(&mut self, agent: Option<usize>) -> String {
        let id = random(32);
        let session = Session { csrf_token: random(40), agent, destination: None, last_used: self.now() };
        self.sessions.insert(id.clone(), session);
        id
    }

    /// A session that has not run out, which it now does later.
    pub(super) fn session(&mut self, id: &str) -> Option<&mut Session> {
        let now = self.now();
        self.sessions.retain(|_, session| now - session.last_used < SESSION_LIFE);
        let session = self.sessions.get_mut(id)?;
        session.last_used = now;
        Some(session)
    }

    // Tickets

    pub(super) fn add_ticket(&mut self, ticket: Ticket) -> u32 {
        let id = self.tickets.last_key_value().map_or(FIRST_TICKET, |(id, _)| id + 1);
        let (author, title, html) = (ticket.requester_name.clone(), ticket.subject.clone(), ticket.message.clone());
        self.tickets.insert(id, Held { ticket, entries: Vec::new(), draft: String::new(), merged_into: None });
        self.add_entry(id, EntryKind::Message, author, &title, &html);
        id
    }

    pub(super) fn add_entry(&mut self, ticket: u32, kind: EntryKind, author: String, title: &str, html: &str) {
        let id = self.next_id();
        let at = self.now();
        let is_html = kind != EntryKind::Note || self.options.rich_text;
        if let Some(held) = self.tickets.get_mut(&ticket) {
            let kept = if is_html { messages::sanitised(html) } else { messages::as_text(html) };
            let (title, html) = (messages::title(title), kept);
            held.entries.push(Entry { id, kind, author, title, html, at });
        }
    }

    /// The ticket of an id, if the agent may see it.
    pub(super) fn visible(&self, agent: usize, ticket: u32) -> Option<&Held> {
        self.tickets.get(&ticket).filter(|held| self.agents[agent].departments.contains(&held.ticket.department))
    }

    /// The tickets the agent may see, by id.
    pub(super) fn all_visible(&self, agent: usize) -> impl Iterator<Item = (u32, &Held)> {
        self.tickets.iter().map(|(id, held)| (*id, held)).filter(move |(id, _)| self.visible(agent, *id).is_some())
    }

    // Locks

    /// Locks a ticket for an agent, whoever had it.
    pub(super) fn lock(&mut self, ticket: u32, agent: usize) -> Lock {
        let lock = Lock { id: self.next_id(), agent, code: lock_code(), renewed: self.now(), until: self.now() + LOCK_LIFE };
        self.locks.insert(ticket, lock.clone());
        lock
    }

    /// A lock that has not run out.
    pub(super) fn lock_of(&self, ticket: u32) -> Option<&Lock> {
        let now = self.now();
        self.locks.get(&ticket).filter(|lock| lock.until > now)
    }

    /// Prolongs a lock that is held.
    pub(super) fn renew(&mut self, ticket: u32) -> Lock {
        let now = self.now();
        let lock = self.locks.get_mut(&ticket).unwrap_or_else(|| panic!("nobody has locked {ticket}"));
        (lock.renewed, lock.until) = (now, now + LOCK_LIFE);
        lock.clone()
    }

    /// Gives a lock back; whether the agent held it.
    pub(super) fn release(&mut self, id: u32, agent: usize) -> bool {
        let before = self.locks.len();
        self.locks.retain(|_, lock| lock.id != id || lock.agent != agent);
        self.locks.len() < before
    }

    pub(super) fn unlock(&mut self, ticket: u32) {
        self.locks.remove(&ticket);
    }

    fn next_id(&mut self) -> u32 {
        self.last_id += 1;
        self.last_id
    }
}

/// Ten characters of the real one's alphabet, `A-Za-z0-9_=`: always with those that are no letters or digits.
fn lock_code() -> String {
    format!("{}_{}=", random(4), random(4).to_ascii_uppercase())
}

/// Hexadecimal digits: as session ids and tokens have.
#[expect(clippy::disallowed_methods, reason = "an outside system makes its own ids")]
fn random(length: usize) -> String {
    let digits = format!("{:032x}{:032x}", rand::random::<u128>(), rand::random::<u128>());
    digits[..length].to_owned()
}

/// The machine's clock: browsers live by it.
#[expect(clippy::disallowed_methods, reason = "an outside system has its own clock; tests move it by advance_clock")]
pub(super) fn real_time() -> OffsetDateTime {
    OffsetDateTime::now_utc()
}
