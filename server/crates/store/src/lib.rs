//! What must outlive the process, on SQLite or PostgreSQL.
//!
//! One small trait for each thing that is kept; [`Store`] is all of them. Nothing outside this crate knows a table. The statements stand
//! once, in `queries/`, and are compiled for each database; `sqlite.rs` and `postgres.rs` hold only what differs (connecting, locking).
//!
//! Every table but the stamp has its tenant. A connection is named by its id, which never changes.
//!
//! | table | what for | trait |
//! | --- | --- | --- |
//! | `connection` | settings, sealed as a whole | [`ConnectionStore`] |
//! | `connection_stamp` | one row that changes with every connection, kept by triggers | [`ConnectionStore`] |
//! | `agent_session` | agents' sessions; the one key on ids is also the memory of tokens used | [`AgentSessions`] |
//! | `inbox_event`, `event_attempt` | durable work: events as they came, leased to workers, and what each attempt came to | [`Inbox`] |
//! | `incident`, `incident_change` | incidents that monitoring systems told of, their tickets, and what these were not told of yet | [`Incidents`] |
//! | `delivery` | every write to a help desk: sent, confirmed | [`Deliveries`] |
//! | `support_session` | what is known of a support session, for the panel | [`SupportSessions`] |
//! | `handed_out` | keys, Jumps and chat links handed out: proof of whose a session is | [`Ownership`] |
//! | `session_owner` | which connection a session of a shared appliance belongs to, once that is decided | [`Ownership`] |
//! | `sweep` | how far each engine's account was asked for ended sessions, and whose turn it is | [`Sweeps`] |
//! | `former_sweep` | how far connections were swept before sweeps were by account; an account's first sweep begins there | [`Sweeps`] |
//! | `listener` | which server signs in to an engine's account, which login hears a user, and how far their events are stored | [`Listeners`] |
//! | `help_ticket` | requests for help of which tickets were made, and their machines | [`HelpTickets`] |
//! | `machine_link` | links to machines, made for tickets | [`MachineLinks`] |
//! | `server` | servers alive, which share an account's limits | [`Servers`] |
//! | `app_key` | public keys fetched from accounts, so that servers agree on them | [`AppKeys`] |
//! | `customer_chat` | chats that customers start from their tickets | [`CustomerChats`] |
//! | `use_count` | how often somebody did what they may do only so often | [`CustomerChats`] |
//! | `ticket_value_epoch` | part of what signs the values in ticket fields | [`CustomerChats`] |
//! | `note_lease` | who may add a note to a ticket through its page | [`NoteLeases`] |
//! | `device`, `pairing_code`, `device_nonce` | paired browsers, the codes that pair them, requests seen lately | [`DeviceStore`] |
//! | `api_token`, `settings_token_use` | tokens with which programs call this server, and when those in the settings were last used | [`ApiTokens`] |

mod agent_sessions;
mod api_tokens;
mod connections;
mod customer_chats;
mod deliveries;
mod devices;
mod due;
mod group_commit;
mod help_tickets;
mod inbox;
mod incidents;
mod listeners;
mod machine_links;
mod migrations;
mod note_leases;
mod ownership;
mod postgres;
mod servers;
mod sqlite;
mod support_sessions;

use std::sync::Arc;

use async_trait::async_trait;

pub use agent_sessions::{AgentSessions, NewAgentSession, StoredAgentSession};
pub use api_tokens::{ApiToken, ApiTokens, SettingsTokenUse};
pub use connections::{ConnectionStamp, ConnectionStore, StoredConnection};
pub use customer_chats::{CustomerChat, CustomerChats, NewCustomerChat, UseLimit};
pub use deliveries::{Deliveries, Delivery, DeliveryKey, DeliveryState, SendTicket};
pub use devices::{
    CodeId, Device, DeviceGrant, DeviceStore, DevicesOf, NewDevice, NewPairingCode, Pairing, PairingCode, Revoked, SeenRequest, Withdrawal,
};
pub use group_commit::GroupCommit;
pub use help_tickets::{HelpTicket, HelpTickets, NewHelpTicket};
pub use inbox::{AttemptRow, EventFilter, EventRow, Inbox, KnownEvent, LeasedEvent, NewEvent, Outcome, QueueSize, SlotWork};
pub use incidents::{IncidentChange, IncidentPost, IncidentTicket, IncidentWork, Incidents, PostStored, StoredIncident, incident_account};
pub use listeners::{Held, Listeners};
pub use machine_links::{MachineLink, MachineLinks};
pub use note_leases::{NoteLease, NoteLeaseHolder, NoteLeases};
pub use ownership::{HandedOut, HandedOutKind, NewHandedOut, OwnerDecision, Ownership};
pub use servers::{AppKeys, Servers, Sweeps};
pub use support_sessions::{KnownSession, SupportSessions};

/// Nothing more precise helps the caller: the request fails, the worker tries again.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database refused or is away.
    #[error("the database failed: {0}")]
    Database(#[from] sqlx::Error),
    /// Migrations.
    #[error("the database could not be brought up to date: {0}")]
    Migration(#[from] sqlx::migrate::MigrateError),
    /// A newer server has changed the schema.
    #[error(
        "the database was changed by a newer Deskbridge (schema {found}, this one knows {known}); start that version or restore a backup"
    )]
    Newer {
        /// Schema found.
        found: i64,
        /// Newest schema this server knows.
        known: i64,
    },
    /// A stored value does not read.
    #[error("a stored value does not read: {0}")]
    Damaged(String),
    /// A commit shared with other requests failed.
    #[error("{0}")]
    Group(Arc<StoreError>),
    /// The process is stopping.
    #[error("the server is stopping")]
    Stopped,
}

/// Answer of every store call.
pub type Result<T, E = StoreError> = std::result::Result<T, E>;

/// The durable memory. Every call may fail with [`StoreError`]; none blocks longer than the database's own time-outs.
#[async_trait]
pub trait Store:
    ConnectionStore
    + AgentSessions
    + Inbox
    + Incidents
    + Deliveries
    + NoteLeases
    + SupportSessions
    + Ownership
    + Sweeps
    + Listeners
    + MachineLinks
    + HelpTickets
    + Servers
    + AppKeys
    + DeviceStore
    + CustomerChats
    + ApiTokens
{
    /// Answers if the database does.
    async fn ping(&self) -> Result<()>;
}

/// Connects to the database of that URL and brings its schema up to date.
pub async fn open(url: &str) -> Result<Arc<dyn Store>> {
    if url.starts_with("sqlite:") { Ok(Arc::new(sqlite::connect(url).await?)) } else { Ok(Arc::new(postgres::connect(url).await?)) }
}

/// A schema newer than the newest migration this server knows must not be touched.
fn check_not_newer(applied: Option<i64>, migrator: &sqlx::migrate::Migrator) -> Result<()> {
    let known = migrator.iter().map(|migration| migration.version).max().unwrap_or(0);
    match applied {
        Some(found) if found > known => Err(StoreError::Newer { found, known }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
