//! The one OAuth token that all calls of an API account share.
//!
//! One caller fetches it while the others wait, it is renewed before it ends, and replaced once when the other system says that it is dead
//! (an appliance keeps at most 30 tokens for an account and silently kills the oldest, beyondtrust.md C.1). Must not know HTTP: how a token
//! is fetched is passed in.

use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;
use serde_json::Value;

use crate::cached::{Cached, FailureLife, Freshness, Lifetime};

/// Renewal begins that long before the end (beyondtrust.md C.1), or at half-time of a token that lives shorter than twice that.
const EARLY: Duration = Duration::from_mins(5);

/// What a token endpoint gave.
pub struct Grant {
    /// The token.
    pub access_token: SecretString,
    /// `expires_in`.
    pub lifetime: Duration,
}

impl Grant {
    /// Reads a token endpoint's answer. `usual`: the life where it names none; `longest`: the longest that is believed. `None`: no token.
    pub fn read(answer: &Value, usual: Duration, longest: Duration) -> Option<Self> {
        let access_token = answer["access_token"].as_str().filter(|token| !token.is_empty())?.into();
        let lifetime = answer["expires_in"].as_u64().map_or(usual, Duration::from_secs).clamp(Duration::from_secs(1), longest);
        Some(Self { access_token, lifetime })
    }
}

/// The token of one API account.
pub struct SharedToken<E>(Cached<SecretString, E>);

impl<E: Clone + Display> Default for SharedToken<E> {
    fn default() -> Self {
        Self(Cached::new(Lifetime::FOREVER, FailureLife::NONE))
    }
}

impl<E: Clone + Display> SharedToken<E> {
    /// The token, fetched if there is none or it ends soon. Of many callers one fetches; the others get its token, or its failure.
    ///
    /// # Errors
    /// What `fetch` failed with, if no token lives.
    pub async fn get<F>(&self, fetch: impl FnOnce() -> F) -> Result<Arc<SecretString>, E>
    where
        F: Future<Output = Result<Grant, E>>,
    {
        let fetch = || async {
            let Grant { access_token, lifetime } = fetch().await?;
            let renew_after = lifetime.saturating_sub(EARLY.min(lifetime / 2));
            Ok((access_token, Lifetime { renew_after, expires_after: Some(lifetime) }))
        };
        self.0.get_with_lifetime(&Freshness::any(), fetch).await
    }

    /// The other system says that this token is dead: the next call fetches another, unless somebody has done so already.
    pub fn reject(&self, dead: &Arc<SecretString>) {
        self.0.reject(dead);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use secrecy::ExposeSecret;
    use std::sync::atomic::{AtomicU64, Ordering};
    use tokio::time::advance;

    type Token = SharedToken<&'static str>;

    struct Endpoint {
        fetches: AtomicU64,
        lifetime: Duration,
    }

    impl Endpoint {
        fn new(seconds: u64) -> Self {
            Self { fetches: AtomicU64::new(0), lifetime: Duration::from_secs(seconds) }
        }

        async fn grant(&self) -> Result<Grant, &'static str> {
            let number = self.fetches.fetch_add(1, Ordering::SeqCst) + 1;
            tokio::time::sleep(Duration::from_millis(20)).await;
            Ok(Grant { access_token: format!("token-{number}").into(), lifetime: self.lifetime })
        }
    }

    #[tokio::test(start_paused = true)]
    async fn is_renewed_early_and_not_before() {
        let (token, endpoint) = (Token::default(), Endpoint::new(3600));
        for (wait, expected) in [(0, "token-1"), (3299, "token-1"), (2, "token-2"), (3298, "token-2"), (10, "token-3")] {
            advance(Duration::from_secs(wait)).await;
            assert_eq!(token.get(|| endpoint.grant()).await.unwrap().expose_secret(), expected);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_short_lived_token_is_renewed_at_half_time() {
        let (token, endpoint) = (Token::default(), Endpoint::new(100));
        for (wait, expected) in [(0, "token-1"), (45, "token-1"), (6, "token-2")] {
            advance(Duration::from_secs(wait)).await;
            assert_eq!(token.get(|| endpoint.grant()).await.unwrap().expose_secret(), expected);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn of_two_callers_with_the_same_dead_token_one_renews() {
        let (token, endpoint) = (Token::default(), Endpoint::new(3600));
        let dead = token.get(|| endpoint.grant()).await.unwrap();
        let renew = async || {
            token.reject(&dead);
            token.get(|| endpoint.grant()).await.unwrap()
        };
        let (first, second) = tokio::join!(renew(), renew());
        assert_eq!((first.expose_secret(), second.expose_secret()), ("token-2", "token-2"));
        assert_eq!(endpoint.fetches.load(Ordering::SeqCst), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn waiting_callers_share_a_failure_and_the_next_one_tries_again() {
        let (token, endpoint) = (Token::default(), Endpoint::new(3600));
        let fetches = AtomicU64::new(0);
        let fail = || async {
            fetches.fetch_add(1, Ordering::SeqCst);
            tokio::time::sleep(Duration::from_secs(1)).await;
            Err("invalid_client")
        };
        let outcomes: [_; 3] = tokio::join!(token.get(fail), token.get(fail), token.get(fail)).into();
        assert!(outcomes.iter().all(|outcome| outcome.as_ref().err() == Some(&"invalid_client")));
        assert_eq!(fetches.load(Ordering::SeqCst), 1);
        assert!(token.get(|| endpoint.grant()).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_living_token_outlasts_a_fault_of_the_token_endpoint() {
        let (token, endpoint) = (Token::default(), Endpoint::new(3600));
        token.get(|| endpoint.grant()).await.unwrap();
        advance(Duration::from_secs(3400)).await;
        let fetches = AtomicU64::new(0);
        let fail = || async {
            fetches.fetch_add(1, Ordering::SeqCst);
            Err("no answer")
        };
        assert_eq!(token.get(fail).await.unwrap().expose_secret(), "token-1");
        assert_eq!(token.get(fail).await.unwrap().expose_secret(), "token-1");
        assert_eq!(fetches.load(Ordering::SeqCst), 1, "not at every call");
        advance(Duration::from_mins(5)).await;
        assert_eq!(token.get(fail).await.err(), Some("no answer"), "it has expired");
    }
}
