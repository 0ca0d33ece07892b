//! Connections as they are stored: settings, sealed.

use async_trait::async_trait;
use deskbridge_core::ids::{ConnectionId, TenantId};

use crate::Result;

/// A stored connection, still sealed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredConnection {
    /// Never changes.
    pub id: ConnectionId,
    /// Whose it is.
    pub tenant: TenantId,
    /// Unique within the tenant.
    pub name: String,
    /// Sealed JSON of the settings.
    pub settings: Vec<u8>,
    /// Its doors and workers rest.
    pub disabled: bool,
    /// Unix ms; changes with every save, and when its settings were found to be good.
    pub updated_at: i64,
}

/// Changes whenever a connection is saved or removed, so that looking for changes costs the same for any number of connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ConnectionStamp {
    /// How many there are.
    pub count: i64,
    /// Unix ms of the latest save.
    pub latest: i64,
    /// Sum of all [`StoredConnection::updated_at`], modulo 2^63: tells a removal together with an addition.
    pub sum: i64,
}

/// Connections.
#[async_trait]
pub trait ConnectionStore: Send + Sync {
    /// Whether anything changed since an earlier stamp.
    async fn connection_stamp(&self) -> Result<ConnectionStamp>;
    /// All connections of all tenants, by tenant and name.
    async fn connections(&self) -> Result<Vec<StoredConnection>>;
    /// Adds a connection, or replaces the one of that id.
    async fn save_connection(&self, connection: &StoredConnection) -> Result<()>;
    /// The same for a connection that now is for another help desk: with the same commit ends what was granted for it (devices' grants,
    /// codes, agents' sessions).
    async fn replace_connection(&self, connection: &StoredConnection) -> Result<()>;
    /// Changes nothing but the time of the save, if that is still `seen`: running servers take the connection up anew.
    async fn touch_connection(&self, id: ConnectionId, seen: i64, updated_at: i64) -> Result<()>;
    /// What is stored of a host's accounts and sessions under one spelling of its name (events, decisions about owners, sweeps) is found under
    /// the other one from now on. What is there under both stays as the other one has it.
    async fn rename_host(&self, from: &str, to: &str) -> Result<()>;
    /// Removes a connection and what was granted for it: devices' grants, codes, agents' sessions, what was handed out, decisions about
    /// owners. Its deliveries and known sessions stay until their retention ends; its events that wait become undecided.
    async fn delete_connection(&self, id: ConnectionId) -> Result<bool>;
}
