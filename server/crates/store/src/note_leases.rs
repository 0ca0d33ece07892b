//! Who may add a note to a ticket through its page: one at a time.

use async_trait::async_trait;
use deskbridge_core::ids::{ConnectionId, TenantId};

use crate::Result;

/// A wish to add a note to a ticket.
#[derive(Clone, Copy, Debug)]
pub struct NoteLease<'a> {
    /// Whose connection it is.
    pub tenant: &'a TenantId,
    /// The connection.
    pub connection: ConnectionId,
    /// The ticket's id.
    pub ticket: &'a str,
    /// This lease's own name: random, so that a late word about an earlier one does not end it.
    pub lease: &'a str,
    /// The browser or session that adds the note; it may take its own ticket again.
    pub holder: &'a str,
    /// The agent's name, for those who have to wait.
    pub agent: &'a str,
    /// Unix ms until which nobody else may.
    pub until: i64,
}

/// Who may add one now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoteLeaseHolder {
    /// The agent's name.
    pub agent: String,
    /// Until when, Unix ms.
    pub until: i64,
}

/// Leases of tickets, for notes that pages write.
#[async_trait]
pub trait NoteLeases: Send + Sync {
    /// Takes the ticket, from the same holder too, whose lease it was ends with that. An answer: at `now` (Unix ms) somebody else has it.
    async fn take_note_lease(&self, lease: NoteLease<'_>, now: i64) -> Result<Option<NoteLeaseHolder>>;
    /// Gives the ticket back, if it is still leased so.
    async fn release_note_lease(&self, connection: ConnectionId, ticket: &str, lease: &str) -> Result<()>;
    /// Removes up to `limit` leases that ended before `before` (Unix ms).
    async fn purge_note_leases(&self, before: i64, limit: i64) -> Result<u64>;
}
