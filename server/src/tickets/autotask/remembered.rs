//! One value that is asked for rarely: kept for a while, asked for by one caller at a time, and served on when asking again
//! fails, since an old answer is better than none while the tenant is away.
//!
//! Must not know what it keeps.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;

/// Until a value that could not be renewed is asked for again.
const AGAIN_AFTER_FAILURE: Duration = Duration::from_secs(30);

/// A kept value.
pub(super) struct Remembered<T> {
    life: Duration,
    kept: Mutex<Kept<T>>,
}

struct Kept<T> {
    value: Option<Arc<T>>,
    ask_at: Instant,
}

impl<T> Remembered<T> {
    pub(super) fn new(life: Duration) -> Self {
        Self { life, kept: Mutex::new(Kept { value: None, ask_at: Instant::now() }) }
    }

    /// The value; `ask` is awaited if there is none or it is too old.
    pub(super) async fn get<E: std::fmt::Display>(&self, ask: impl Future<Output = Result<T, E>>) -> Result<Arc<T>, E> {
        let mut kept = self.kept.lock().await;
        if let Some(value) = kept.value.clone().filter(|_| Instant::now() < kept.ask_at) {
            return Ok(value);
        }
        match (ask.await, kept.value.clone()) {
            (Ok(value), _) => {
                let value = Arc::new(value);
                *kept = Kept { value: Some(value.clone()), ask_at: Instant::now() + self.life };
                Ok(value)
            }
            (Err(error), Some(old)) => {
                tracing::debug!(%error, "an answer of Autotask could not be renewed; the old one is used on");
                kept.ask_at = Instant::now() + AGAIN_AFTER_FAILURE;
                Ok(old)
            }
            (Err(error), None) => Err(error),
        }
    }

    /// The value as it is, without asking.
    pub(super) async fn peek(&self) -> Option<Arc<T>> {
        self.kept.lock().await.value.clone()
    }

    /// Keeps a value that came another way.
    pub(super) async fn put(&self, value: Arc<T>) {
        *self.kept.lock().await = Kept { value: Some(value), ask_at: Instant::now() + self.life };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};

    #[tokio::test(start_paused = true)]
    async fn asked_once_renewed_when_old_and_served_on_when_that_fails() {
        let asked = AtomicU32::new(0);
        let remembered = Remembered::new(Duration::from_mins(10));
        let ask = |answer: Result<u32, &'static str>| {
            asked.fetch_add(1, Ordering::SeqCst);
            async move { answer }
        };
        assert_eq!(remembered.get(async { Err::<u32, _>("away") }).await, Err("away"));
        assert_eq!(remembered.get(ask(Ok(1))).await.as_deref(), Ok(&1));
        assert_eq!(remembered.get(async { Ok::<_, &str>(2) }).await.as_deref(), Ok(&1));
        tokio::time::advance(Duration::from_mins(10)).await;
        assert_eq!(remembered.get(ask(Err("away"))).await.as_deref(), Ok(&1));
        assert_eq!(remembered.get(async { Ok::<_, &str>(3) }).await.as_deref(), Ok(&1), "not asked at every call while away");
        tokio::time::advance(AGAIN_AFTER_FAILURE).await;
        assert_eq!(remembered.get(ask(Ok(4))).await.as_deref(), Ok(&4));
        assert_eq!(asked.load(Ordering::SeqCst), 3);
    }
}
