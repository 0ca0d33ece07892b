//! Incidents become tickets, one each: what a monitoring system posts is stored in one commit with what is to be done, and the inbox does it.
//!
//! `receive` stores a post, `wait` waits for its ticket, `settle` is what the inbox does: `make_ticket`, then `change` tells the ticket of ends
//! and reopenings.

mod change;
mod make_ticket;
mod receive;
pub(crate) mod settle;
#[cfg(test)]
mod tests;
mod wait;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use deskbridge_core::ids::ConnectionId;
use deskbridge_core::settings::OnIncidentEnd;
use deskbridge_store::{GroupCommit, IncidentPost, PostStored, Store};
use tokio::sync::Notify;

pub use receive::{NotTaken, Received, receive};
pub use wait::{Answer, Status, status, wait};

use crate::connections::Connection;

/// What an incident's id begins with among the ids of sessions.
const LSID: &str = "incident-";
/// Hexadecimal digits of its hash: with `deskbridge/incident-` 50 characters, the most that Autotask's field for a marker takes.
const DIGITS: usize = 30;

type Waiting = HashMap<(ConnectionId, String), Weak<Notify>>;

/// Stores posted incidents, many in one commit, and tells who waits for their tickets in this process.
pub struct IncidentIntake {
    posts: GroupCommit<IncidentPost, PostStored>,
    waiting: Mutex<Waiting>,
}

impl IncidentIntake {
    /// Starts the writing task; it ends with the intake.
    pub fn new(store: Arc<dyn Store>) -> Self {
        let posts = GroupCommit::start(move |posts: Vec<IncidentPost>| {
            let store = store.clone();
            async move { store.store_incidents(&posts).await }
        });
        Self { posts, waiting: Mutex::default() }
    }

    /// What is told when something happened to an incident.
    fn told(&self, connection: ConnectionId, lsid: &str) -> Arc<Notify> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.retain(|_, notify| notify.strong_count() > 0);
        let known = waiting.entry((connection, lsid.to_owned())).or_default();
        known.upgrade().unwrap_or_else(|| {
            let notify = Arc::new(Notify::new());
            *known = Arc::downgrade(&notify);
            notify
        })
    }

    /// Something happened to an incident: whoever waits for it looks.
    pub(crate) fn tell(&self, connection: ConnectionId, lsid: &str) {
        let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(notify) = waiting.get(&(connection, lsid.to_owned())).and_then(Weak::upgrade) {
            notify.notify_waiters();
        }
    }
}

/// What the connection's settings ask for at an incident's end and its ticket system cannot do.
pub(crate) fn unfulfilled(connection: &Connection) -> Option<&'static str> {
    let abilities = connection.help_desk.abilities();
    match connection.settings.on_incident_end {
        OnIncidentEnd::Close if !abilities.closes_tickets => Some(
            "on_incident_end = \"close\" closes nothing: Deskbridge cannot close tickets of this system. The note is written all the same",
        ),
        _ => None,
    }
}
