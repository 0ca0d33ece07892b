use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

const PEM: &str = include_str!("example.pem");

/// Counts fetches; each brings what `answer` says.
struct Account {
    fetches: AtomicUsize,
    answer: std::sync::Mutex<Result<String, KeyFault>>,
}

impl Account {
    fn giving(answer: Result<String, KeyFault>) -> Self {
        Self { fetches: AtomicUsize::new(0), answer: std::sync::Mutex::new(answer) }
    }

    fn now_gives(&self, answer: Result<String, KeyFault>) {
        *self.answer.lock().unwrap() = answer;
    }

    async fn fetch(&self) -> Result<String, KeyFault> {
        self.fetches.fetch_add(1, Ordering::SeqCst);
        tokio::task::yield_now().await;
        self.answer.lock().unwrap().clone()
    }

    fn fetches(&self) -> usize {
        self.fetches.load(Ordering::SeqCst)
    }
}

fn away() -> Result<String, KeyFault> {
    Err(KeyFault::NotFetched("HTTP 503".into()))
}

#[tokio::test(start_paused = true)]
async fn a_key_is_fetched_once_for_all_who_wait() {
    let (key, account) = (AppKey::default(), Account::giving(Ok(PEM.into())));
    let all = futures_util::future::join_all((0..50).map(|_| key.get(|| account.fetch()))).await;
    assert!(all.iter().all(Result::is_ok));
    assert_eq!(account.fetches(), 1);
}

#[tokio::test(start_paused = true)]
async fn forged_signatures_cause_one_fetch_in_five_minutes() {
    let (key, account) = (AppKey::default(), Account::giving(Ok(PEM.into())));
    let seen = key.get(|| account.fetch()).await.unwrap();
    for _ in 0..20 {
        assert!(key.after_bad_signature(&seen, || account.fetch()).await.is_none());
    }
    assert_eq!(account.fetches(), 1, "the first fetch was just now");
    tokio::time::advance(REFETCH_AFTER).await;
    let newer = key.after_bad_signature(&seen, || account.fetch()).await.unwrap();
    assert_eq!(account.fetches(), 2);
    assert!(
        Arc::ptr_eq(&newer, &key.after_bad_signature(&seen, || account.fetch()).await.unwrap()),
        "others get the newer key without a fetch"
    );
    assert!(key.after_bad_signature(&newer, || account.fetch()).await.is_none());
    assert_eq!(account.fetches(), 2);
}

#[tokio::test(start_paused = true)]
async fn an_account_that_is_away_leaves_the_old_key_and_is_not_hammered() {
    let (key, account) = (AppKey::default(), Account::giving(away()));
    assert_eq!(key.get(|| account.fetch()).await.unwrap_err(), away().unwrap_err());
    assert!(key.get(|| account.fetch()).await.is_err());
    assert_eq!(account.fetches(), 1, "a failure is remembered shortly");
    tokio::time::advance(RETRY_AFTER).await;
    account.now_gives(Ok(PEM.into()));
    let seen = key.get(|| account.fetch()).await.unwrap();
    tokio::time::advance(REFETCH_AFTER).await;
    account.now_gives(away());
    assert!(key.after_bad_signature(&seen, || account.fetch()).await.is_none());
    assert!(Arc::ptr_eq(&seen, &key.get(|| account.fetch()).await.unwrap()));
}

#[tokio::test(start_paused = true)]
async fn those_who_waited_for_a_fetch_that_hung_do_not_each_hang_on_their_own() {
    let (key, fetches) = (AppKey::default(), AtomicUsize::new(0));
    let hang = || async {
        fetches.fetch_add(1, Ordering::SeqCst);
        tokio::time::sleep(RETRY_AFTER * 6).await;
        away()
    };
    let began = Instant::now();
    let all = futures_util::future::join_all((0..50).map(|_| key.get(hang))).await;
    assert!(all.iter().all(Result::is_err));
    assert_eq!((fetches.load(Ordering::SeqCst), began.elapsed()), (1, RETRY_AFTER * 6));
}

#[tokio::test(start_paused = true)]
async fn who_breaks_off_makes_no_room_for_the_next_fetch() {
    let (key, account) = (AppKey::default(), Account::giving(Ok(PEM.into())));
    let seen = key.get(|| account.fetch()).await.unwrap();
    tokio::time::advance(REFETCH_AFTER).await;
    for _ in 0..5 {
        let hang = || async {
            account.fetch().await.ok();
            std::future::pending().await
        };
        // A caller that closes its connection: its future is dropped.
        tokio::time::timeout(Duration::from_secs(1), key.after_bad_signature(&seen, hang)).await.ok();
    }
    assert_eq!(account.fetches(), 2, "the first, and one of five");
}

#[tokio::test]
async fn a_key_from_a_file_is_never_fetched() {
    let (key, account) = (AppKey::fixed(PEM.as_bytes()).unwrap(), Account::giving(away()));
    let seen = key.get(|| account.fetch()).await.unwrap();
    assert!(key.after_bad_signature(&seen, || account.fetch()).await.is_none());
    assert_eq!(account.fetches(), 0);
    assert!(AppKey::fixed(b"no key").is_err());
}

#[test]
fn raw_pem_and_a_json_text_are_read() {
    let json = serde_json::to_string(PEM).unwrap();
    assert_eq!(pem_of_answer(PEM).as_deref(), Some(PEM.trim()));
    assert_eq!(pem_of_answer(&json).as_deref(), Some(PEM));
    for other in ["", "\"", "{}", "<html>", "-----BEGIN RSA PRIVATE KEY-----"] {
        assert_eq!(pem_of_answer(other), None, "{other}");
    }
}
