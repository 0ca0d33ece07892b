//! The one token all calls to an appliance share.
//!
//! An API account holds at most 30 tokens; the next one silently kills the oldest (beyondtrust.md C.1). So there is
//! one token per client, fetched by one caller while the others wait, renewed before it expires, and replaced once when
//! the appliance says that it is dead. Must not know HTTP: how a token is fetched is passed in.

use super::Error;
use secrecy::SecretString;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::Instant;

/// Renewal begins that long before the end (beyondtrust.md C.1), or at half-time of a token that lives shorter than twice that.
const EARLY: Duration = Duration::from_mins(5);
/// Pause between attempts at an early renewal: the old token still works.
const EARLY_RETRY: Duration = Duration::from_secs(10);

/// What the token endpoint gave.
pub(super) struct Grant {
    pub(super) access_token: SecretString,
    pub(super) lifetime: Duration,
}

/// A token, and its number among the tokens of this client.
#[derive(Clone)]
pub(super) struct Token {
    pub(super) value: Arc<SecretString>,
    pub(super) generation: u64,
    expires_at: Instant,
    refresh_at: Instant,
}

#[derive(Default)]
pub(super) struct SharedToken {
    state: Mutex<State>,
    /// Attempts that have ended. Read before waiting for the lock: it tells which attempts one has waited through.
    attempts: AtomicU64,
}

#[derive(Default)]
struct State {
    token: Option<Token>,
    generation: u64,
    failure: Option<Failure>,
}

struct Failure {
    attempt: u64,
    error: Error,
}

impl SharedToken {
    /// The token, fetched if there is none, it ends soon, or it is the one that was `rejected`. Of many callers one
    /// fetches; the others get its token, or its failure.
    pub(super) async fn get<F, Fut>(&self, rejected: Option<u64>, fetch: F) -> Result<Token, Error>
    where
        F: FnOnce() -> Fut,
        Fut: Future<Output = Result<Grant, Error>>,
    {
        let attempts_before = self.attempts.load(Ordering::Acquire);
        let mut state = self.state.lock().await;
        let now = Instant::now();
        state.token.take_if(|token| Some(token.generation) == rejected || token.expires_at <= now);
        let current = state.token.clone();
        if let Some(token) = &current
            && now < token.refresh_at
        {
            return Ok(token.clone());
        }
        if let Some(failure) = &state.failure
            && failure.attempt > attempts_before
        {
            return current.ok_or_else(|| failure.error.clone());
        }
        let outcome = fetch().await;
        let attempt = self.attempts.fetch_add(1, Ordering::AcqRel) + 1;
        match outcome {
            Ok(grant) => {
                // The life began when the appliance answered, or before: counted from before the call.
                let token = Token {
                    value: Arc::new(grant.access_token),
                    generation: state.generation + 1,
                    expires_at: now + grant.lifetime,
                    refresh_at: now + grant.lifetime.saturating_sub(EARLY.min(grant.lifetime / 2)),
                };
                *state = State { generation: token.generation, token: Some(token.clone()), failure: None };
                Ok(token)
            }
            Err(error) => {
                if let Some(token) = &mut state.token {
                    token.refresh_at = Instant::now() + EARLY_RETRY;
                }
                state.failure = Some(Failure { attempt, error: error.clone() });
                match current {
                    Some(token) if error.is_passing() => Ok(token),
                    _ => Err(error),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use secrecy::ExposeSecret;
    use tokio::time::advance;

    struct Endpoint {
        fetches: AtomicU64,
        lifetime: Duration,
    }

    impl Endpoint {
        fn new(seconds: u64) -> Self {
            Self { fetches: AtomicU64::new(0), lifetime: Duration::from_secs(seconds) }
        }

        async fn grant(&self) -> Result<Grant, Error> {
            let number = self.fetches.fetch_add(1, Ordering::SeqCst) + 1;
            tokio::time::sleep(Duration::from_millis(20)).await;
            Ok(Grant { access_token: format!("token-{number}").into(), lifetime: self.lifetime })
        }
    }

    #[tokio::test(start_paused = true)]
    async fn is_renewed_early_and_not_before() {
        let (token, endpoint) = (SharedToken::default(), Endpoint::new(3600));
        for (wait, expected) in [(0, "token-1"), (3299, "token-1"), (2, "token-2"), (3298, "token-2"), (10, "token-3")] {
            advance(Duration::from_secs(wait)).await;
            assert_eq!(token.get(None, || endpoint.grant()).await.unwrap().value.expose_secret(), expected);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_short_lived_token_is_renewed_at_half_time() {
        let (token, endpoint) = (SharedToken::default(), Endpoint::new(100));
        for (wait, expected) in [(0, "token-1"), (45, "token-1"), (6, "token-2")] {
            advance(Duration::from_secs(wait)).await;
            assert_eq!(token.get(None, || endpoint.grant()).await.unwrap().value.expose_secret(), expected);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn of_two_callers_with_the_same_dead_token_one_renews() {
        let (token, endpoint) = (SharedToken::default(), Endpoint::new(3600));
        let dead = token.get(None, || endpoint.grant()).await.unwrap().generation;
        let (first, second) = tokio::join!(token.get(Some(dead), || endpoint.grant()), token.get(Some(dead), || endpoint.grant()));
        assert_eq!(first.unwrap().value.expose_secret(), "token-2");
        assert_eq!(second.unwrap().value.expose_secret(), "token-2");
        assert_eq!(endpoint.fetches.load(Ordering::SeqCst), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn waiting_callers_share_a_failure_and_the_next_one_tries_again() {
        let (token, endpoint) = (SharedToken::default(), Endpoint::new(3600));
        let fetches = AtomicU64::new(0);
        let fail = || async {
            fetches.fetch_add(1, Ordering::SeqCst);
            tokio::time::sleep(Duration::from_secs(1)).await;
            Err(Error::Denied { reason: "invalid_client".to_owned() })
        };
        let (first, second, third) = tokio::join!(token.get(None, fail), token.get(None, fail), token.get(None, fail));
        for outcome in [first, second, third] {
            assert!(matches!(outcome, Err(Error::Denied { .. })));
        }
        assert_eq!(fetches.load(Ordering::SeqCst), 1);
        assert!(token.get(None, || endpoint.grant()).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_living_token_outlasts_a_passing_fault_of_the_token_endpoint() {
        let (token, endpoint) = (SharedToken::default(), Endpoint::new(3600));
        token.get(None, || endpoint.grant()).await.unwrap();
        advance(Duration::from_secs(3400)).await;
        let fetches = AtomicU64::new(0);
        let fail = || async {
            fetches.fetch_add(1, Ordering::SeqCst);
            Err(Error::Timeout { host: "a".to_owned(), seconds: 30 })
        };
        assert_eq!(token.get(None, fail).await.unwrap().value.expose_secret(), "token-1");
        assert_eq!(token.get(None, fail).await.unwrap().value.expose_secret(), "token-1");
        assert_eq!(fetches.load(Ordering::SeqCst), 1, "not at every call");
        advance(Duration::from_mins(5)).await;
        assert!(matches!(token.get(None, fail).await, Err(Error::Timeout { .. })), "it has expired");
    }
}
