//! Ids that never change: of a tenant, and of a connection. Names are for people and can change.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::clock::{Clock, new_id};

/// Whom everything stored belongs to. A self-hosted server has one, [`TenantId::main`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TenantId(String);

impl TenantId {
    /// The one tenant of a self-hosted server.
    pub fn main() -> Self {
        Self("main".to_owned())
    }

    /// A tenant by its stored id.
    pub fn new(id: impl Into<String>) -> Self {
        Self(id.into())
    }

    /// As it is stored.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TenantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A connection's id: a UUID (version 7 where this server made it), made when the connection is first saved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
#[schemars(with = "String", extend("pattern" = "^[0-9a-fA-F]{8}-([0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}$"))]
pub struct ConnectionId(Uuid);

impl ConnectionId {
    /// A new id.
    pub fn new(clock: &Clock) -> Self {
        Self(new_id(clock))
    }
}

impl From<Uuid> for ConnectionId {
    fn from(id: Uuid) -> Self {
        Self(id)
    }
}

impl From<ConnectionId> for Uuid {
    fn from(id: ConnectionId) -> Self {
        id.0
    }
}

impl fmt::Display for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for ConnectionId {
    type Err = uuid::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Uuid::try_parse(text).map(Self)
    }
}

/// What several connections share when they use the same account of the same remote-support system: one limiter, one token, one sweep,
/// one queue of events that belong to no connection yet.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EngineAccount {
    /// The appliance or server: host and port in lower case. Sessions of one host can belong to any connection that uses it.
    pub host: String,
    /// The account on it by which we ask, e.g. the OAuth client's id.
    pub account: String,
}

impl EngineAccount {
    /// The host of an account in its stored form. None: what stands in its place for an event of before migration 0005, which did not
    /// store accounts.
    pub fn stored_host(stored: &str) -> Option<&str> {
        stored.split('/').next().filter(|host| *host != "connection")
    }
}

impl fmt::Display for EngineAccount {
    /// The form it is stored in.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.host, self.account)
    }
}
