//! What the appliance knows, behind one lock, and the bell that rings when it changed.
//!
//! Nothing is awaited while the lock is held.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use tokio::sync::watch;

use super::access::{RateWindow, Tokens};
use super::clock::SimulatedClock;
use super::options::Options;
use super::outbound::Outbound;
use super::recording::{FaultRule, Recording};
use super::session::{Queue, Session};

/// No wait of the control handle lasts longer: a test that waits in vain shall fail, not hang.
const WAIT_LIMIT: Duration = Duration::from_secs(30);

/// What the handle, the doors and the outbound workers share.
pub(super) struct Shared {
    /// `127.0.0.1:PORT`.
    pub host: String,
    /// `https://127.0.0.1:PORT`, or `http`.
    pub base_url: String,
    pub clock: SimulatedClock,
    pub http: reqwest::Client,
    state: Mutex<State>,
    changes: watch::Sender<u64>,
}

impl Shared {
    pub(super) fn new(host: String, base_url: String, options: Options, http: reqwest::Client) -> Self {
        Self {
            host,
            base_url,
            clock: SimulatedClock::default(),
            http,
            state: Mutex::new(State::new(options)),
            changes: watch::Sender::new(0),
        }
    }

    /// Reads or changes the state, then wakes whoever waits for a change.
    pub(super) fn with<R>(&self, act: impl FnOnce(&mut State) -> R) -> R {
        let mut state = self.lock();
        let result = act(&mut state);
        state.outbound.wake_workers();
        drop(state);
        self.changes.send_modify(|changes| *changes += 1);
        result
    }

    /// Reads the state.
    pub(super) fn read<R>(&self, look: impl FnOnce(&State) -> R) -> R {
        look(&self.lock())
    }

    /// Waits until `reached` holds; `what` names it in the error after 30 seconds.
    pub(super) async fn wait_until(&self, what: &str, mut reached: impl FnMut(&State) -> bool) -> anyhow::Result<()> {
        // Subscribed before the first look: no change can slip in between.
        let mut changes = self.changes.subscribe();
        let wait = async {
            while !self.read(&mut reached) {
                changes.changed().await?;
            }
            anyhow::Ok(())
        };
        let waited = tokio::time::timeout(WAIT_LIMIT, wait).await;
        waited.with_context(|| {
            let recipients = self.read(|state| state.outbound.statuses());
            format!("waited {WAIT_LIMIT:?} in vain until {what}; recipients: {recipients:?}")
        })?
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Everything that can change.
pub(super) struct State {
    pub options: Options,
    pub tokens: Tokens,
    pub rate: RateWindow,
    pub recording: Recording,
    pub faults: Vec<FaultRule>,
    pub sessions: Sessions,
    pub keys: Vec<SessionKey>,
    pub clients: Vec<CustomerClient>,
    pub outbound: Outbound,
    pub reports_held: bool,
    pub healthy: bool,
}

impl State {
    fn new(options: Options) -> Self {
        Self {
            options,
            tokens: Tokens::default(),
            rate: RateWindow::default(),
            recording: Recording::default(),
            faults: Vec::new(),
            sessions: Sessions::default(),
            keys: Vec::new(),
            clients: Vec::new(),
            outbound: Outbound::default(),
            reports_held: false,
            healthy: true,
        }
    }
}

/// Sessions in the order they began.
#[derive(Default)]
pub(super) struct Sessions {
    all: Vec<Session>,
    positions: HashMap<String, usize>,
}

impl Sessions {
    pub(super) fn add(&mut self, session: Session) {
        self.positions.insert(session.lsid.clone(), self.all.len());
        self.all.push(session);
    }

    pub(super) fn get(&self, lsid: &str) -> Option<&Session> {
        self.all.get(*self.positions.get(&normal(lsid))?)
    }

    pub(super) fn get_mut(&mut self, lsid: &str) -> Option<&mut Session> {
        self.all.get_mut(*self.positions.get(&normal(lsid))?)
    }

    /// A session that has not ended.
    pub(super) fn active_mut(&mut self, lsid: &str) -> Option<&mut Session> {
        self.get_mut(lsid).filter(|session| session.ended_at.is_none())
    }

    pub(super) fn all(&self) -> &[Session] {
        &self.all
    }

    pub(super) fn all_mut(&mut self) -> &mut [Session] {
        &mut self.all
    }
}

fn normal(lsid: &str) -> String {
    lsid.to_ascii_lowercase()
}

/// A generated session key.
#[derive(Clone, Debug)]
pub(super) struct SessionKey {
    /// Seven digits.
    pub short_key: String,
    /// The long key in the link: 32 hex characters.
    pub long_key: String,
    pub custom_fields: Vec<(String, String)>,
    pub queue: Queue,
    /// Unix seconds.
    pub expires_at: i64,
    pub used: bool,
}

/// A downloaded customer client that was not started yet.
#[derive(Clone, Debug)]
pub(super) struct CustomerClient {
    /// Stands in the downloaded file.
    pub id: String,
    pub start: super::start_session::Start,
}

/// 32 random hex characters.
#[expect(clippy::disallowed_methods, reason = "ids of the appliance are really random, and come from here alone")]
pub(super) fn random_hex() -> String {
    format!("{:032x}", rand::random::<u128>())
}

/// Seven digits, as short keys have (beyondtrust.md B.4).
pub(super) fn random_digits() -> String {
    rand::random_range(1_000_000..10_000_000_u32).to_string()
}
