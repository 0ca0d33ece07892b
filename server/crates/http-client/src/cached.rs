//! One answer of an outside system that is kept: a token, a key, a list that changes rarely.
//!
//! One caller at a time asks for it, and all who wait share what comes, a failure too. An old answer serves on where it cannot be renewed,
//! as long as it has not expired. For answers by key there is `moka`, whose `try_get_with` asks once for each key in the same way.
//!
//! Must not know what it keeps.

use std::fmt::Display;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Until an answer that could not be renewed is asked for again.
const RETRY_RENEWAL_AFTER: Duration = Duration::from_secs(30);

/// How old an answer may be that decides something.
///
/// A kept answer may lead to a refusal whose reason a person has corrected meanwhile. So what is refused is decided once more, by answers
/// that were asked for after it began; only if a kept one had a part in it.
pub struct Freshness {
    begun: Instant,
    takes_kept: bool,
    took_kept: AtomicBool,
}

impl Freshness {
    /// Kept answers will do.
    pub fn any() -> Self {
        Self { begun: Instant::now(), takes_kept: true, took_kept: AtomicBool::new(false) }
    }

    /// Only an answer that was asked for less than this long ago will do.
    pub fn at_most(age: Duration) -> Self {
        let now = Instant::now();
        let begun = now.checked_sub(age).unwrap_or(now) + Duration::from_nanos(1);
        Self { begun, takes_kept: false, took_kept: AtomicBool::new(false) }
    }

    /// For deciding once more with new answers, if a kept one had a part in the decision.
    pub fn once_more(&self) -> Option<Self> {
        let kept_had_a_part = self.takes_kept && self.took_kept.load(Ordering::Relaxed);
        kept_had_a_part.then(|| Self { begun: self.begun, takes_kept: false, took_kept: AtomicBool::new(false) })
    }

    /// Whether an answer that was asked for then will do.
    pub fn takes(&self, asked_at: Instant) -> bool {
        if asked_at >= self.begun {
            return true;
        }
        if self.takes_kept {
            self.took_kept.store(true, Ordering::Relaxed);
        }
        self.takes_kept
    }
}

/// How long an answer serves, counted from when it was asked for.
#[derive(Clone, Copy, Debug)]
pub struct Lifetime {
    /// It is asked for again after this time.
    pub renew_after: Duration,
    /// Where that fails, it serves on until this time; `None`: for as long as it fails.
    pub expires_after: Option<Duration>,
}

impl Lifetime {
    /// Serves until it is rejected or asked for anew.
    pub const FOREVER: Self = Self::renewed_after(Duration::MAX);

    /// Renewed after this time; serves on for as long as that fails.
    pub const fn renewed_after(time: Duration) -> Self {
        Self { renew_after: time, expires_after: None }
    }

    /// Serves for this time and no longer.
    pub const fn only(time: Duration) -> Self {
        Self { renew_after: time, expires_after: Some(time) }
    }
}

/// How long a failure is everybody's. Whoever waited while it came shares it in any case.
#[derive(Clone, Copy, Debug)]
pub struct FailureLife {
    /// At least so long: what fails must not be asked for at every call.
    pub least: Duration,
    /// As long as it took to come, but no longer than this: what hangs must not hang one caller after the other.
    pub longest: Duration,
}

impl FailureLife {
    /// The next caller asks again.
    pub const NONE: Self = Self { least: Duration::ZERO, longest: Duration::ZERO };
}

/// A kept answer.
pub struct Cached<T, E> {
    lifetime: Lifetime,
    failure_life: FailureLife,
    kept: Mutex<Kept<T, E>>,
    /// Held by the one who asks.
    asking: tokio::sync::Mutex<()>,
}

struct Kept<T, E> {
    answer: Option<Known<T>>,
    failure: Option<Failure<E>>,
}

struct Known<T> {
    value: Arc<T>,
    asked_at: Instant,
    /// `None`: never.
    renew_at: Option<Instant>,
    /// `None`: never.
    expires_at: Option<Instant>,
}

impl<T> Known<T> {
    fn new(value: Arc<T>, asked_at: Instant, lifetime: Lifetime) -> Self {
        let renew_at = asked_at.checked_add(lifetime.renew_after);
        let expires_at = lifetime.expires_after.and_then(|after| asked_at.checked_add(after));
        Self { value, asked_at, renew_at, expires_at }
    }
}

fn has_passed(at: Option<Instant>) -> bool {
    at.is_some_and(|at| at <= Instant::now())
}

struct Failure<E> {
    error: E,
    failed_at: Instant,
    forget_at: Instant,
}

impl<T, E: Clone + Display> Cached<T, E> {
    /// Nothing is kept yet. `lifetime`: of answers that do not say it themselves.
    pub fn new(lifetime: Lifetime, failure_life: FailureLife) -> Self {
        Self { lifetime, failure_life, kept: Mutex::new(Kept { answer: None, failure: None }), asking: tokio::sync::Mutex::default() }
    }

    /// The answer; `ask` is awaited if there is none that will do.
    ///
    /// # Errors
    /// What `ask` failed with, now or for a caller whose failure this one shares.
    pub async fn get<F>(&self, freshness: &Freshness, ask: impl FnOnce() -> F) -> Result<Arc<T>, E>
    where
        F: Future<Output = Result<T, E>>,
    {
        let lifetime = self.lifetime;
        self.get_with_lifetime(freshness, || async move { Ok((ask().await?, lifetime)) }).await
    }

    /// As [`Self::get`], for answers that say themselves how long they live.
    pub async fn get_with_lifetime<F>(&self, freshness: &Freshness, ask: impl FnOnce() -> F) -> Result<Arc<T>, E>
    where
        F: Future<Output = Result<(T, Lifetime), E>>,
    {
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
        // Boxed: it may be large, and most callers do not ask.
        match Box::pin(ask()).await {
            Ok((value, lifetime)) => {
                let value = Arc::new(value);
                *self.kept() = Kept { answer: Some(Known::new(value.clone(), asked_at, lifetime)), failure: None };
                Ok(value)
            }
            Err(error) => {
                let old = self.old(freshness);
                self.keep_failure(&error, asked_at);
                old.ok_or(error)
            }
        }
    }

    fn keep_failure(&self, error: &E, asked_at: Instant) {
        let now = Instant::now();
        let mut kept = self.kept();
        if let Some(answer) = &mut kept.answer {
            tracing::debug!(%error, "a kept answer could not be renewed; it serves on");
            answer.renew_at = answer.renew_at.map(|at| at.max(now + RETRY_RENEWAL_AFTER));
        }
        let FailureLife { least, longest } = self.failure_life;
        let forget_at = now + (now - asked_at).min(longest).max(least);
        kept.failure = Some(Failure { error: error.clone(), failed_at: now, forget_at });
    }

    /// The answer as it is, without asking.
    pub fn peek(&self) -> Option<Arc<T>> {
        let kept = self.kept();
        kept.answer.as_ref().filter(|answer| !has_passed(answer.expires_at)).map(|answer| answer.value.clone())
    }

    /// Keeps an answer that came another way, as if it had been asked for now.
    pub fn put(&self, value: Arc<T>) {
        *self.kept() = Kept { answer: Some(Known::new(value, Instant::now(), self.lifetime)), failure: None };
    }

    /// The answer may be wrong: it is asked for when it is next wanted, and serves on where that fails.
    pub fn doubt(&self) {
        if let Some(answer) = &mut self.kept().answer {
            answer.renew_at = Some(Instant::now());
        }
    }

    /// This answer is wrong: if it is still the one that is kept, it serves nobody any more.
    pub fn reject(&self, value: &Arc<T>) {
        self.kept().answer.take_if(|answer| Arc::ptr_eq(&answer.value, value));
    }

    /// What can be said without asking: an answer that is not too old, or a failure the caller shares.
    fn known(&self, freshness: &Freshness, called_at: Instant) -> Option<Result<Arc<T>, E>> {
        let kept = self.kept();
        let is_due = |answer: &Known<T>| has_passed(answer.renew_at) || has_passed(answer.expires_at);
        if let Some(answer) = kept.answer.as_ref().filter(|answer| !is_due(answer) && freshness.takes(answer.asked_at)) {
            return Some(Ok(answer.value.clone()));
        }
        let failure = kept.failure.as_ref().filter(|failure| failure.failed_at > called_at || Instant::now() < failure.forget_at)?;
        let error = failure.error.clone();
        drop(kept);
        Some(self.old(freshness).ok_or(error))
    }

    fn old(&self, freshness: &Freshness) -> Option<Arc<T>> {
        let kept = self.kept();
        let will_do = |answer: &&Known<T>| !has_passed(answer.expires_at) && freshness.takes(answer.asked_at);
        kept.answer.as_ref().filter(will_do).map(|answer| answer.value.clone())
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

    type Number = Cached<u32, &'static str>;

    const LONGEST_FAILURE: Duration = Duration::from_secs(5);

    fn number() -> Number {
        Number::new(Lifetime::renewed_after(LIFE), FailureLife { least: Duration::ZERO, longest: LONGEST_FAILURE })
    }

    async fn any(number: &Number, answer: Result<u32, &'static str>) -> Result<u32, &'static str> {
        number.get(&Freshness::any(), || async { answer }).await.map(|value| *value)
    }

    #[tokio::test(start_paused = true)]
    async fn asked_once_renewed_when_old_and_served_on_when_that_fails() {
        let number = number();
        assert_eq!(any(&number, Err("away")).await, Err("away"));
        assert_eq!(any(&number, Ok(1)).await, Ok(1), "what failed at once is asked for at once");
        assert_eq!(any(&number, Ok(2)).await, Ok(1));
        tokio::time::advance(LIFE).await;
        assert_eq!(any(&number, Err("away")).await, Ok(1));
        assert_eq!(any(&number, Ok(3)).await, Ok(1), "not asked at every call while away");
        tokio::time::advance(RETRY_RENEWAL_AFTER).await;
        assert_eq!(any(&number, Ok(4)).await, Ok(4));
        number.doubt();
        assert_eq!(any(&number, Ok(5)).await, Ok(5));
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_is_refused_by_a_kept_answer_gets_a_new_one_and_only_then() {
        let number = number();
        let first = Freshness::any();
        assert_eq!(number.get(&first, || async { Ok(1) }).await.as_deref(), Ok(&1));
        assert!(first.once_more().is_none(), "it was asked for just now");
        tokio::time::advance(Duration::from_millis(1)).await;
        let kept = Freshness::any();
        assert_eq!(number.get(&kept, || async { Ok(2) }).await.as_deref(), Ok(&1));
        let new = kept.once_more().unwrap();
        assert_eq!(number.get(&new, || async { Err("away") }).await, Err("away"), "an old answer does not do");
        assert_eq!(any(&number, Ok(9)).await, Ok(1), "but for the others it does, for a while");
        assert_eq!(number.get(&new, || async { Ok(2) }).await.as_deref(), Ok(&2));
        assert_eq!(number.get(&new, || async { Ok(3) }).await.as_deref(), Ok(&2), "once");
        assert!(new.once_more().is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn those_who_wait_behind_a_hung_answer_share_it() {
        let number = number();
        let asked = AtomicU32::new(0);
        let begun = Instant::now();
        let ask = async |late: u64| {
            tokio::time::sleep(Duration::from_secs(late)).await;
            number
                .get(&Freshness::any(), || async {
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
        let number = number();
        assert_eq!(any(&number, Ok(1)).await, Ok(1));
        tokio::time::advance(LIFE).await;
        let begun = Instant::now();
        let freshness = Freshness::any();
        let renewing = number.get(&freshness, || async {
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

    #[tokio::test(start_paused = true)]
    async fn a_failure_is_not_asked_for_again_before_its_time() {
        let number = Number::new(Lifetime::renewed_after(LIFE), FailureLife { least: Duration::from_secs(10), longest: Duration::ZERO });
        assert_eq!(any(&number, Err("away")).await, Err("away"));
        assert_eq!(any(&number, Ok(1)).await, Err("away"));
        tokio::time::advance(Duration::from_secs(10)).await;
        assert_eq!(any(&number, Ok(1)).await, Ok(1));
    }

    #[tokio::test(start_paused = true)]
    async fn an_expired_or_rejected_answer_serves_nobody() {
        let number = number();
        let seconds =
            |renew, expire| Lifetime { renew_after: Duration::from_secs(renew), expires_after: Some(Duration::from_secs(expire)) };
        let get = async |answer: Result<u32, &'static str>| {
            let answer = answer.map(|value| (value, seconds(60, 90)));
            number.get_with_lifetime(&Freshness::any(), || async { answer }).await
        };
        let first = get(Ok(1)).await.unwrap();
        tokio::time::advance(Duration::from_mins(1)).await;
        assert_eq!(get(Err("away")).await.as_deref(), Ok(&1));
        tokio::time::advance(RETRY_RENEWAL_AFTER).await;
        assert_eq!((get(Err("away")).await, number.peek()), (Err("away"), None));
        let second = get(Ok(2)).await.unwrap();
        number.reject(&first);
        assert_eq!(get(Ok(3)).await.as_deref(), Ok(&2), "the first is no longer the one that is kept");
        number.reject(&second);
        assert_eq!(get(Ok(4)).await.as_deref(), Ok(&4));
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_of_a_given_age_is_asked_for_again_only_after_it() {
        let number = Number::new(Lifetime::FOREVER, FailureLife::NONE);
        assert_eq!(any(&number, Ok(1)).await, Ok(1));
        let young = async |answer: u32| number.get(&Freshness::at_most(LIFE), || async { Ok(answer) }).await.map(|value| *value);
        assert_eq!(young(2).await, Ok(1));
        tokio::time::advance(LIFE).await;
        assert_eq!(any(&number, Ok(3)).await, Ok(1));
        assert_eq!(young(4).await, Ok(4));
    }
}
