//! The public key of an installation's app: from a file, or fetched from the account and cached.
//!
//! A fetch happens when there is no key, and again when a signature does not verify, but at most once in
//! [`REFETCH_AFTER`]: a flood of forged tokens must not become a flood of requests (zendesk.md b.3).

use std::future::Future;
use std::sync::Arc;

use jsonwebtoken::DecodingKey;
use tokio::sync::Mutex;
use tokio::time::{Duration, Instant};

/// Least time between two fetches that a bad signature can cause.
pub const REFETCH_AFTER: Duration = Duration::from_mins(5);
/// Least time between two fetches while there is no key at all.
pub const RETRY_AFTER: Duration = Duration::from_secs(10);

/// No key could be had.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum KeyFault {
    /// The account did not give it.
    #[error("the app's public key could not be fetched: {0}. Check app_id and the API user, or set public_key_file")]
    NotFetched(String),
    /// What came is no RSA public key.
    #[error("the app's public key is not an RSA public key in PEM form. Set public_key_file to the right one")]
    NotAKey,
}

#[derive(Default)]
struct State {
    key: Option<Arc<DecodingKey>>,
    fetched_at: Option<Instant>,
    fault: Option<KeyFault>,
}

/// The cache of one installation's key.
#[derive(Default)]
pub struct AppKey {
    state: Mutex<State>,
    fixed: bool,
}

impl AppKey {
    /// A key from settings: never fetched.
    pub fn fixed(pem: &[u8]) -> Result<Self, KeyFault> {
        let key = parse(pem)?;
        Ok(Self { state: Mutex::new(State { key: Some(Arc::new(key)), ..State::default() }), fixed: true })
    }

    /// The key; fetched by `fetch` when there is none. Concurrent callers wait for the one fetch.
    pub async fn get<F>(&self, fetch: impl FnOnce() -> F) -> Result<Arc<DecodingKey>, KeyFault>
    where
        F: Future<Output = Result<String, KeyFault>>,
    {
        let mut state = self.state.lock().await;
        if let Some(key) = &state.key {
            return Ok(key.clone());
        }
        if let (Some(fault), Some(at)) = (&state.fault, state.fetched_at)
            && at.elapsed() < RETRY_AFTER
        {
            return Err(fault.clone());
        }
        state.refresh(fetch).await
    }

    /// After a signature did not verify with `seen`: another key, if a fetch is due and brings one.
    pub async fn after_bad_signature<F>(&self, seen: &Arc<DecodingKey>, fetch: impl FnOnce() -> F) -> Option<Arc<DecodingKey>>
    where
        F: Future<Output = Result<String, KeyFault>>,
    {
        if self.fixed {
            return None;
        }
        let mut state = self.state.lock().await;
        match &state.key {
            Some(key) if !Arc::ptr_eq(key, seen) => return Some(key.clone()),
            _ => {}
        }
        if state.fetched_at.is_some_and(|at| at.elapsed() < REFETCH_AFTER) {
            return None;
        }
        let before = state.key.clone();
        if let Ok(key) = state.refresh(fetch).await {
            Some(key)
        } else {
            // The account is away: the old key goes on serving.
            state.key = before;
            None
        }
    }
}

impl State {
    async fn refresh<F>(&mut self, fetch: impl FnOnce() -> F) -> Result<Arc<DecodingKey>, KeyFault>
    where
        F: Future<Output = Result<String, KeyFault>>,
    {
        self.fetched_at = Some(Instant::now());
        let result = fetch().await.and_then(|pem| parse(pem.as_bytes()));
        // Counted from the end as well: after a fetch that hung, those who waited must not each hang on one of their own.
        self.fetched_at = Some(Instant::now());
        match result {
            Ok(key) => {
                let key = Arc::new(key);
                self.key = Some(key.clone());
                self.fault = None;
                Ok(key)
            }
            Err(fault) => {
                self.fault = Some(fault.clone());
                Err(fault)
            }
        }
    }
}

fn parse(pem: &[u8]) -> Result<DecodingKey, KeyFault> {
    DecodingKey::from_rsa_pem(pem).map_err(|_| KeyFault::NotAKey)
}

/// The account answers raw PEM, or a JSON text that holds it (zendesk.md b.3).
pub fn pem_of_answer(body: &str) -> Option<String> {
    let text = body.trim();
    let text = if text.starts_with('"') { serde_json::from_str::<String>(text).ok()? } else { text.to_owned() };
    text.contains("-----BEGIN PUBLIC KEY-----").then_some(text)
}

#[cfg(test)]
mod tests;
