//! The public key of an installation's app: from a file, or fetched from the account and cached.
//!
//! A fetch happens when there is no key, and again when a signature does not verify, but at most once in
//! [`REFETCH_AFTER`]: a flood of forged tokens must not become a flood of requests (zendesk.md b.3).

use std::sync::{Arc, Mutex, PoisonError};

use deskbridge_http_client::cached::{Cached, FailureLife, Freshness, Lifetime};
use jsonwebtoken::DecodingKey;
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

/// One installation's key.
pub struct AppKey {
    key: Cached<DecodingKey, KeyFault>,
    /// Noted before a fetch: whoever breaks off must not make room for the next one.
    attempted_at: Mutex<Option<Instant>>,
    is_fixed: bool,
}

impl Default for AppKey {
    fn default() -> Self {
        let failure_life = FailureLife { least: RETRY_AFTER, longest: RETRY_AFTER };
        Self { key: Cached::new(Lifetime::FOREVER, failure_life), attempted_at: Mutex::default(), is_fixed: false }
    }
}

impl AppKey {
    /// A key from settings: never fetched.
    pub fn fixed(pem: &[u8]) -> Result<Self, KeyFault> {
        let fixed = Self { is_fixed: true, ..Self::default() };
        fixed.key.put(Arc::new(parse(pem)?));
        Ok(fixed)
    }

    /// The key; fetched by `fetch` when there is none. Concurrent callers wait for the one fetch.
    pub async fn get<F>(&self, fetch: impl FnOnce() -> F) -> Result<Arc<DecodingKey>, KeyFault>
    where
        F: Future<Output = Result<String, KeyFault>>,
    {
        self.key.get(&Freshness::any(), || self.fetched(RETRY_AFTER, fetch)).await
    }

    async fn fetched<F>(&self, pause: Duration, fetch: impl FnOnce() -> F) -> Result<DecodingKey, KeyFault>
    where
        F: Future<Output = Result<String, KeyFault>>,
    {
        {
            let mut attempted_at = self.attempted_at.lock().unwrap_or_else(PoisonError::into_inner);
            if attempted_at.is_some_and(|at| at.elapsed() < pause) {
                return Err(KeyFault::NotFetched("it was asked for a moment ago".into()));
            }
            *attempted_at = Some(Instant::now());
        }
        parse(fetch().await?.as_bytes())
    }

    /// After a signature did not verify with `seen`: another key, if a fetch is due and brings one. Nobody with a good signature waits for it.
    pub async fn after_bad_signature<F>(&self, seen: &Arc<DecodingKey>, fetch: impl FnOnce() -> F) -> Option<Arc<DecodingKey>>
    where
        F: Future<Output = Result<String, KeyFault>>,
    {
        if self.is_fixed {
            return None;
        }
        let is_another = |key: &Arc<DecodingKey>| !Arc::ptr_eq(key, seen);
        if let Some(newer) = self.key.peek().filter(is_another) {
            return Some(newer);
        }
        // While the account is away, the key that is kept goes on serving.
        let fetched = self.key.get(&Freshness::at_most(REFETCH_AFTER), || self.fetched(REFETCH_AFTER, fetch)).await;
        fetched.ok().filter(is_another)
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
