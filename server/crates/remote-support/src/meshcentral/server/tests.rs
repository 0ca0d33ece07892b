use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::{advance, timeout};

use super::*;
use crate::meshcentral::testing::{Fake, server_at};

/// How often a connection was tried.
fn tries(server: &Server) -> u32 {
    server.memory().connections
}

/// The errors of so many who want the socket at once.
async fn errors(server: &Arc<Server>, callers: usize) -> Vec<Error> {
    let mut waiting = JoinSet::new();
    for _ in 0..callers {
        let server = server.clone();
        waiting.spawn(async move { server.socket().await.map(|_| ()).unwrap_err() });
    }
    waiting.join_all().await
}

#[tokio::test(start_paused = true)]
async fn a_server_that_does_not_answer_is_tried_once_for_all_who_wait() {
    // It takes connections and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = server_at(&Url::parse(&format!("http://{}/", silent.local_addr().unwrap())).unwrap());
    let began = Instant::now();
    let heard = errors(&server, 20).await;
    assert!(heard.iter().all(|error| error.fault == EngineFault::Unreachable), "{heard:?}");
    assert_eq!((tries(&server), heard.len()), (1, 20));
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    // The failure is remembered, longer each time.
    for (tried, rest) in [(1, 500), (2, 1_000), (3, 2_000)] {
        advance(Duration::from_millis(rest - 50)).await;
        errors(&server, 3).await;
        assert_eq!(tries(&server), tried);
        advance(Duration::from_millis(60)).await;
        errors(&server, 3).await;
        assert_eq!(tries(&server), tried + 1);
    }
    // A person does not wait for the rest.
    server.let_person_try();
    errors(&server, 1).await;
    assert_eq!(tries(&server), 5);
}

/// Panels wait for less than a connection takes.
#[tokio::test(start_paused = true)]
async fn a_try_goes_on_when_whoever_began_it_waits_no_longer() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = server_at(&Url::parse(&format!("http://{}/", silent.local_addr().unwrap())).unwrap());
    for _ in 0..3 {
        assert!(timeout(Duration::from_secs(2), server.socket()).await.is_err());
    }
    errors(&server, 1).await;
    assert_eq!(tries(&server), 1);
}

#[tokio::test]
async fn refused_credentials_and_banned_addresses_are_left_alone() {
    let fake = Fake::start().await;
    fake.refuse(Some(json!({"action": "close", "cause": "noauth", "msg": "noauth-2d"})));
    let server = fake.server();
    let heard = errors(&server, 10).await;
    let is_left_alone =
        |error: &Error, most| matches!(error.fault, EngineFault::Resting { again_in } if again_in <= Duration::from_secs(most));
    assert_eq!(heard.iter().filter(|error| is_left_alone(error, 30)).count(), 9, "{heard:?}");
    assert_eq!(fake.connections(), 1);

    fake.refuse(Some(json!({"action": "close", "cause": "banned", "msg": "banned-1"})));
    let server = fake.server();
    for _ in 0..2 {
        let heard = errors(&server, 3).await;
        let is_busy = |error: &Error| matches!(error.fault, EngineFault::Busy { retry_after } if retry_after > Duration::from_mins(1));
        assert!(heard.iter().all(is_busy), "{heard:?}");
    }
    assert_eq!(fake.connections(), 2);
    fake.refuse(None);
    server.forget_failures();
    assert!(server.socket().await.is_ok() && server.socket().await.is_ok());
    assert_eq!(fake.connections(), 3);
}
