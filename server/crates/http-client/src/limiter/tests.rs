use std::sync::Arc;

use super::*;

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_hours(1);

fn limiter(per_second: u32, per_hour: u32) -> Limiter {
    Limiter::of_windows(vec![Window { calls: per_second, length: SECOND }, Window { calls: per_hour, length: HOUR }])
}

async fn departures(limiter: &Limiter, urgency: Urgency, calls: usize) -> Vec<Duration> {
    let start = Instant::now();
    let mut departures = Vec::new();
    for _ in 0..calls {
        loop {
            match limiter.turn(urgency).await {
                Ok(turn) => break turn.passed(),
                Err(NoTurn::Busy { retry_after } | NoTurn::Paused { retry_after }) => tokio::time::sleep(retry_after).await,
            }
        }
        departures.push(start.elapsed());
    }
    departures
}

/// As if so many servers shared the limits.
fn among(servers: u32, limiter: Limiter) -> Limiter {
    Limiter { servers: Box::leak(Box::new(AtomicU32::new(servers))), ..limiter }
}

fn most_in_any(window: Duration, departures: &[Duration]) -> usize {
    let within = |start: &Duration| departures.iter().filter(|time| *time >= start && time.saturating_sub(*start) < window).count();
    departures.iter().map(within).max().unwrap_or_default()
}

#[tokio::test(start_paused = true)]
async fn no_second_sees_more_calls_than_its_share() {
    let limiter = limiter(20, 100_000);
    let times = departures(&limiter, Urgency::Person, 200).await;
    assert_eq!(times[4], Duration::ZERO, "a quarter goes at once");
    assert!(times[5] >= SECOND, "what went before the start is not known");
    assert_eq!(most_in_any(SECOND, &times), 20);
    assert!(times[199] > Duration::from_secs(9) && times[199] < Duration::from_secs(12), "{:?}", times[199]);
}

#[tokio::test(start_paused = true)]
async fn no_hour_sees_more_calls_than_its_share() {
    let times = departures(&limiter(1000, 400), Urgency::Person, 1200).await;
    assert_eq!(most_in_any(HOUR, &times), 400);
}

#[tokio::test(start_paused = true)]
async fn servers_that_share_an_account_share_its_limits() {
    let limiter = among(3, limiter(20, 15_000));
    let times = departures(&limiter, Urgency::Person, 60).await;
    assert_eq!(most_in_any(SECOND, &times), 6);
}

#[tokio::test(start_paused = true)]
async fn a_person_never_waits_behind_the_backlog() {
    let limiter = Arc::new(limiter(15, 15_000));
    let backlog: Vec<_> = (0..300)
        .map(|_| {
            let limiter = limiter.clone();
            tokio::spawn(async move { limiter.turn(Urgency::Work).await.map(|turn| turn.passed()) })
        })
        .collect();
    tokio::time::sleep(SECOND * 5).await;
    let begun = Instant::now();
    limiter.turn(Urgency::Person).await.unwrap().passed();
    assert_eq!(begun.elapsed(), Duration::ZERO);
    let together = (0..15).map(|_| async { limiter.turn(Urgency::Person).await.unwrap().passed() });
    futures_util::future::join_all(together).await;
    assert!(begun.elapsed() <= SECOND * 2, "what becomes free is theirs: {:?}", begun.elapsed());
    for call in backlog {
        let outcome = call.await.unwrap();
        assert!(matches!(outcome, Ok(()) | Err(NoTurn::Busy { .. })), "{outcome:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_does_not_wait_longer_than_a_person_would() {
    let limiter = Arc::new(limiter(1, 100_000));
    let start = Instant::now();
    let calls: Vec<_> = (0..100)
        .map(|_| {
            let limiter = limiter.clone();
            tokio::spawn(async move { limiter.turn(Urgency::Work).await.map(|turn| turn.passed()) })
        })
        .collect();
    let mut passed = 0;
    for call in calls {
        match call.await.unwrap() {
            Ok(()) => passed += 1,
            Err(error) => assert!(matches!(error, NoTurn::Busy { .. }), "{error:?}"),
        }
    }
    assert!((28..=32).contains(&passed), "{passed}");
    assert!(start.elapsed() <= MAX_WAIT + SECOND);
}

#[tokio::test(start_paused = true)]
async fn an_exhausted_hour_is_told_at_once() {
    let limiter = limiter(20, 4);
    departures(&limiter, Urgency::Person, 4).await;
    let start = Instant::now();
    assert!(matches!(limiter.turn(Urgency::Person).await, Err(NoTurn::Busy { retry_after }) if retry_after > MAX_WAIT));
    assert_eq!(start.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_pause_holds_work_and_ends() {
    let limiter = limiter(20, 15_000);
    limiter.pause(Duration::from_secs(90));
    limiter.pause(Duration::from_secs(10));
    tokio::time::advance(Duration::from_secs(30)).await;
    for urgency in [Urgency::Work, Urgency::Person] {
        assert_eq!(limiter.turn(urgency).await.err(), Some(NoTurn::Paused { retry_after: Duration::from_mins(1) }));
    }
    tokio::time::advance(Duration::from_mins(1)).await;
    limiter.turn(Urgency::Work).await.unwrap().passed();
}

#[tokio::test(start_paused = true)]
async fn pauses_grow_only_as_refusals_repeat() {
    let limiter = limiter(20, 15_000);
    let turn = async || limiter.turn(Urgency::Work).await.unwrap();
    let together = [turn().await, turn().await, turn().await];
    for refused in &together {
        assert_eq!(refused.refused(None), SECOND, "of calls that left together one pause comes");
    }
    for seconds in [2, 4, 8, 16, 32, 60, 60] {
        let wait = limiter.turn(Urgency::Work).await.err();
        let Some(NoTurn::Paused { retry_after }) = wait else { panic!("{wait:?}") };
        tokio::time::advance(retry_after).await;
        assert_eq!(turn().await.refused(None), Duration::from_secs(seconds));
    }
    tokio::time::advance(Duration::from_mins(1)).await;
    turn().await.passed();
    assert_eq!(turn().await.refused(None), SECOND, "one answer ends the row");
}

#[tokio::test(start_paused = true)]
async fn a_named_wait_is_believed_and_a_person_waits_through_a_short_one() {
    let limiter = limiter(20, 15_000);
    let turn = limiter.turn(Urgency::Work).await.unwrap();
    assert_eq!(turn.refused(Some(Duration::ZERO)), SECOND);
    assert_eq!(turn.refused(Some(Duration::from_secs(4))), Duration::from_secs(4));
    assert!(limiter.turn(Urgency::Work).await.is_err());
    let begun = Instant::now();
    limiter.turn(Urgency::Person).await.unwrap().passed();
    assert_eq!(begun.elapsed(), Duration::from_secs(4));
}

#[tokio::test(start_paused = true)]
async fn two_at_once_and_others_wait_a_bounded_time() {
    let limiter = Limiter::of_calls_at_once(2);
    let first = limiter.turn(Urgency::Work).await.unwrap();
    let _second = limiter.turn(Urgency::Work).await.unwrap();
    assert!(matches!(limiter.turn(Urgency::Person).await, Err(NoTurn::Busy { .. })));
    drop(first);
    drop(limiter.turn(Urgency::Work).await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn servers_that_share_a_limit_of_calls_at_once_ask_one_at_a_time() {
    let limiter = among(1, Limiter::of_calls_at_once(2));
    let alone = limiter.turn(Urgency::Work).await.unwrap();
    limiter.servers.store(2, Ordering::Relaxed);
    assert!(limiter.turn(Urgency::Work).await.is_err(), "one is under way already");
    drop(alone);
    let one = limiter.turn(Urgency::Work).await.unwrap();
    assert!(limiter.turn(Urgency::Work).await.is_err());
    drop(one);
    limiter.servers.store(1, Ordering::Relaxed);
    let _one = limiter.turn(Urgency::Work).await.unwrap();
    let _two = limiter.turn(Urgency::Work).await.unwrap();
}
