//! The session store behind tower-sessions: rows are found by the SHA-256 of the session id, so a copy of the database
//! opens no session; idle and absolute lifetimes are checked here (tower-sessions knows only one of them).

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use time::OffsetDateTime;
use tower_sessions::session::{Id, Record};
use tower_sessions::session_store::{self, SessionStore};

use deskbridge_core::clock::Clock;
use deskbridge_core::ids::{ConnectionId, TenantId};
use deskbridge_security::sha256;
use deskbridge_store::{NewAgentSession, Store, StoreError};

/// `used_at` is written at most once in this time, so that reading does not become writing.
const TOUCH_AFTER_MS: i64 = 60_000;

/// How long a session lives.
#[derive(Clone, Copy, Debug)]
pub struct Lifetimes {
    /// Without use. Milliseconds.
    pub idle_ms: i64,
    /// In all. Milliseconds.
    pub absolute_ms: i64,
}

/// Agents' sessions.
#[derive(Clone)]
pub struct AgentSessionStore {
    store: Arc<dyn Store>,
    clock: Clock,
    lifetimes: Lifetimes,
}

impl fmt::Debug for AgentSessionStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AgentSessionStore").finish_non_exhaustive()
    }
}

/// What is stored for a session id.
pub fn id_hash(id: &Id) -> [u8; 32] {
    sha256(id.to_string().as_bytes())
}

impl AgentSessionStore {
    /// A session store on `store`.
    pub fn new(store: Arc<dyn Store>, clock: Clock, lifetimes: Lifetimes) -> Self {
        Self { store, clock, lifetimes }
    }

    /// The row of a new session, to be opened together with the token that admits it.
    pub fn new_session(
        &self,
        id: &Id,
        tenant: &TenantId,
        connection: ConnectionId,
        data: &HashMap<String, serde_json::Value>,
        remember_until: i64,
    ) -> NewAgentSession {
        let now = self.clock.now_ms();
        NewAgentSession {
            id_hash: id_hash(id),
            tenant: tenant.clone(),
            connection,
            record: serde_json::to_string(data).unwrap_or_default(),
            created_at: now,
            keep_until: now.saturating_add(self.lifetimes.absolute_ms).max(remember_until.saturating_mul(1_000)),
        }
    }
}

fn backend(error: &StoreError) -> session_store::Error {
    session_store::Error::Backend(error.to_string())
}

#[async_trait]
impl SessionStore for AgentSessionStore {
    /// Sessions are opened by the sidebar's door, together with the token that admits them, and by nothing else.
    async fn create(&self, _record: &mut Record) -> session_store::Result<()> {
        Err(session_store::Error::Backend("agents' sessions are opened by a signed token only".into()))
    }

    async fn save(&self, record: &Record) -> session_store::Result<()> {
        let data = serde_json::to_string(&record.data).map_err(|error| session_store::Error::Encode(error.to_string()))?;
        self.store.save_agent_session(&id_hash(&record.id), &data).await.map_err(|error| backend(&error))
    }

    async fn load(&self, id: &Id) -> session_store::Result<Option<Record>> {
        self.load_if(id, |_| true).await
    }

    async fn delete(&self, id: &Id) -> session_store::Result<()> {
        self.store.end_agent_session(&id_hash(id)).await.map_err(|error| backend(&error))
    }
}

impl AgentSessionStore {
    /// The session if it is one of those that are `wanted`; another one is not used by this.
    pub async fn load_if(&self, id: &Id, wanted: impl FnOnce(&Record) -> bool) -> session_store::Result<Option<Record>> {
        let hash = id_hash(id);
        let Some(stored) = self.store.agent_session(&hash).await.map_err(|error| backend(&error))? else { return Ok(None) };
        let now = self.clock.now_ms();
        let ends_at = stored.created_at.saturating_add(self.lifetimes.absolute_ms);
        if now >= ends_at || now >= stored.used_at.saturating_add(self.lifetimes.idle_ms) {
            self.store.end_agent_session(&hash).await.map_err(|error| backend(&error))?;
            return Ok(None);
        }
        let data = serde_json::from_str(&stored.record).map_err(|error| session_store::Error::Decode(error.to_string()))?;
        let expiry_date = OffsetDateTime::from_unix_timestamp(ends_at.div_euclid(1_000)).unwrap_or(OffsetDateTime::UNIX_EPOCH);
        let record = Record { id: *id, data, expiry_date };
        if !wanted(&record) {
            return Ok(None);
        }
        if now - stored.used_at >= TOUCH_AFTER_MS {
            self.store.touch_agent_session(&hash, now).await.map_err(|error| backend(&error))?;
        }
        Ok(Some(record))
    }
}
