//! One value that is asked for rarely: kept for a while, asked for by one caller at a time, whose answer all who wait share, and served
//! on when asking again fails, since an old answer is better than none while the tenant is away.
//!
//! Must not know what it keeps.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Until a value that could not be renewed is asked for again.
const AGAIN_AFTER_FAILURE: Duration = Duration::from_secs(30);
/// A failure is everybody's for as long as it took to come, and no longer than this: what fails at once can be asked for at once, and
/// what hangs must not hang one caller after the other.
const LONGEST_FAILURE: Duration = Duration::from_secs(5);

/// How old an answer may be that decides something.
///
/// A kept answer may lead to a refusal that a person has corrected meanwhile. So whoever is refused decides once more, by answers that were
/// asked for after he began; only if a kept one had a part in it.
pub(super) struct Freshness {
    begun: Instant,
    takes_kept: bool,
    took_kept: AtomicBool,
}

impl Freshness {
    /// Kept answers will do.
    pub(super) fn any() -> Self {
        Self { begun: Instant::now(), takes_kept: true, took_kept: AtomicBool::new(false) }
    }

    /// The same matter once more, if a kept answer had a part in it.
    pub(super) fn once_more(&self) -> Option<Self> {
        let led = self.takes_kept && self.took_kept.load(Ordering::Relaxed);
        led.then(|| Self { begun: self.begun, takes_kept: false, took_kept: AtomicBool::new(false) })
    }

    /// Whether an answer that was asked for then will do.
    pub(super) fn takes(&self, asked_at: Instant) -> bool {
        if asked_at >= self.begun {
            return true;
        }
        if self.takes_kept {
            self.took_kept.store(true, Ordering::Relaxed);
        }
        self.takes_kept
    }
}

/// A kept value.
pub(super) struct Remembered<T, E> {
    life: Duration,
    kept: Mutex<Kept<T, E>>,
    /// Held by the one who asks.
    asking: tokio::sync::Mutex<()>,
}

struct Kept<T, E> {
    value: Option<Known<T>>,
    failure: Option<Failure<E>>,
}

struct Known<T> {
    value: Arc<T>,
    asked_at: Instant,
    renew_at: Instant,
}

struct Failure<E> {
    error: E,
    failed_at: Instant,
    forget_at: Instant,
}

impl<T, E: Clone + std::fmt::Display> Remembered<T, E> {
    pub(super) fn new(life: Duration) -> Self {
        Self { life, kept: Mutex::new(Kept { value: None, failure: None }), asking: tokio::sync::Mutex::default() }
    }

    /// The value; `ask` is awaited if there is none that will do. An old one will do where it cannot be renewed, unless it must be new.
    pub(super) async fn get(&self, freshness: &Freshness, ask: impl Future<Output = Result<T, E>>) -> Result<Arc<T>, E> {
        let called_at = Instant::now();
        if let Some(known) = self.known(freshness, called_at) {
            return known;
        }
        let _turn = match (self.asking.try_lock(), self.old(freshness)) {
            (Ok(turn), _) => turn,
            (Err(_), Some(old)) => return Ok(old),
            (Err(_), None) => self.asking.lock().await,
        };
        // What others have learnt meanwhile.
        if let Some(known) = self.known(freshness, called_at) {
            return known;
        }
        let asked_at = Instant::now();
        let answer = ask.await;
        let now = Instant::now();
        match answer {
            Ok(value) => {
                let value = Arc::new(value);
                *self.kept() = Kept { value: Some(Known { value: value.clone(), asked_at, renew_at: now + self.life }), failure: None };
                Ok(value)
            }
            Err(error) => {
                let old = self.old(freshness);
                let mut kept = self.kept();
                if let Some(value) = &mut kept.value {
                    tracing::debug!(%error, "an answer of Autotask could not be renewed; the old one is used on");
                    value.renew_at = now + AGAIN_AFTER_FAILURE;
                }
                let forget_at = now + (now - asked_at).min(LONGEST_FAILURE);
                kept.failure = Some(Failure { error: error.clone(), failed_at: now, forget_at });
                old.ok_or(error)
            }
        }
    }

    /// The value as it is, without asking.
    pub(super) fn peek(&self) -> Option<Arc<T>> {
        self.kept().value.as_ref().map(|kept| kept.value.clone())
    }

    /// Keeps a value that came another way.
    pub(super) fn put(&self, value: Arc<T>) {
        let now = Instant::now();
        *self.kept() = Kept { value: Some(Known { value, asked_at: now, renew_at: now + self.life }), failure: None };
    }

    /// The value has proved wrong: it is asked for when it is next wanted.
    pub(super) fn doubt(&self) {
        if let Some(value) = &mut self.kept().value {
            value.renew_at = Instant::now();
        }
    }

    /// What can be said without asking: a value that is not too old, or a failure the caller shares.
    fn known(&self, freshness: &Freshness, called_at: Instant) -> Option<Result<Arc<T>, E>> {
        let kept = self.kept();
        let now = Instant::now();
        if let Some(value) = kept.value.as_ref().filter(|value| now < value.renew_at && freshness.takes(value.asked_at)) {
            return Some(Ok(value.value.clone()));
        }
        let failure = kept.failure.as_ref().filter(|failure| failure.failed_at > called_at || now < failure.forget_at)?;
        Some(Err(failure.error.clone()))
    }

    fn old(&self, freshness: &Freshness) -> Option<Arc<T>> {
        let kept = self.kept();
        kept.value.as_ref().filter(|value| freshness.takes(value.asked_at)).map(|value| value.value.clone())
    }

    fn kept(&self) -> MutexGuard<'_, Kept<T, E>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicU32;

    const LIFE: Duration = Duration::from_mins(10);

    type Number = Remembered<u32, &'static str>;

    async fn any(number: &Number, answer: Result<u32, &'static str>) -> Result<u32, &'static str> {
        number.get(&Freshness::any(), async { answer }).await.map(|value| *value)
    }

    #[tokio::test(start_paused = true)]
    async fn asked_once_renewed_when_old_and_served_on_when_that_fails() {
        let number = Number::new(LIFE);
        assert_eq!(any(&number, Err("away")).await, Err("away"));
        assert_eq!(any(&number, Ok(1)).await, Ok(1), "what failed at once is asked for at once");
        assert_eq!(any(&number, Ok(2)).await, Ok(1));
        tokio::time::advance(LIFE).await;
        assert_eq!(any(&number, Err("away")).await, Ok(1));
        assert_eq!(any(&number, Ok(3)).await, Ok(1), "not asked at every call while away");
        tokio::time::advance(AGAIN_AFTER_FAILURE).await;
        assert_eq!(any(&number, Ok(4)).await, Ok(4));
        number.doubt();
        assert_eq!(any(&number, Ok(5)).await, Ok(5));
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_is_refused_by_a_kept_answer_gets_a_new_one_and_only_then() {
        let number = Number::new(LIFE);
        let first = Freshness::any();
        assert_eq!(number.get(&first, async { Ok(1) }).await.as_deref(), Ok(&1));
        assert!(first.once_more().is_none(), "it was asked for just now");
        tokio::time::advance(Duration::from_millis(1)).await;
        let kept = Freshness::any();
        assert_eq!(number.get(&kept, async { Ok(2) }).await.as_deref(), Ok(&1));
        let new = kept.once_more().unwrap();
        assert_eq!(number.get(&new, async { Err("away") }).await, Err("away"), "an old answer does not do");
        assert_eq!(any(&number, Ok(9)).await, Ok(1), "but for the others it does, for a while");
        assert_eq!(number.get(&new, async { Ok(2) }).await.as_deref(), Ok(&2));
        assert_eq!(number.get(&new, async { Ok(3) }).await.as_deref(), Ok(&2), "once");
        assert!(new.once_more().is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn those_who_wait_behind_a_hung_answer_share_it() {
        let number = Number::new(LIFE);
        let asked = AtomicU32::new(0);
        let begun = Instant::now();
        let ask = async |late: u64| {
            tokio::time::sleep(Duration::from_secs(late)).await;
            number
                .get(&Freshness::any(), async {
                    asked.fetch_add(1, Ordering::SeqCst);
                    tokio::time::sleep(Duration::from_secs(30)).await;
                    Err::<u32, _>("no answer")
                })
                .await
                .is_err()
        };
        let all = tokio::join!(ask(0), ask(1), ask(15), ask(29), ask(34));
        assert_eq!(all, (true, true, true, true, true));
        assert_eq!((asked.load(Ordering::SeqCst), begun.elapsed().as_secs()), (1, 34));
        tokio::time::advance(LONGEST_FAILURE).await;
        assert_eq!(any(&number, Ok(7)).await, Ok(7));
    }

    #[tokio::test(start_paused = true)]
    async fn an_old_answer_serves_while_it_is_renewed() {
        let number = Number::new(LIFE);
        assert_eq!(any(&number, Ok(1)).await, Ok(1));
        tokio::time::advance(LIFE).await;
        let begun = Instant::now();
        let freshness = Freshness::any();
        let renewing = number.get(&freshness, async {
            tokio::time::sleep(Duration::from_secs(30)).await;
            Ok(2)
        });
        let meanwhile = async {
            tokio::task::yield_now().await;
            (any(&number, Ok(3)).await, begun.elapsed())
        };
        let (renewed, (old, waited)) = tokio::join!(renewing, meanwhile);
        assert_eq!((renewed.as_deref(), old, waited), (Ok(&2), Ok(1), Duration::ZERO));
    }
}
