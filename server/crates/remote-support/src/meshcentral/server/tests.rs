use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::{advance, timeout};

use super::*;
use crate::meshcentral::socket::SILENCE;
use crate::meshcentral::testing::{Fake, NODE, NOW, help, server_at, time};

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

/// An event that means nothing to us.
fn other(node: &str, at: i64) -> Value {
    json!({"action": "agentlog", "nodeid": node, "msgid": 36, "time": time(at)})
}

/// MeshCentral lists the newest events, and a list has an end.
#[tokio::test]
async fn what_does_not_fit_into_one_list_is_read_machine_by_machine() {
    let fake = Fake::start().await;
    let server = fake.server();
    fake.store(help(NODE, "before", NOW - 120_000));
    fake.store(help(NODE, "an old one", NOW - 90_000));
    for number in 0..i64::try_from(EVENTS.1).unwrap() {
        fake.store(other("node//gone", NOW - 80_000 + number));
    }
    fake.store(help(NODE, "a new one", NOW - 1_000));
    let found = async || {
        let mut found = server.help_since(NOW - 100_000).await.unwrap();
        found.sort_by_key(|help| help.at);
        found.into_iter().map(|help| help.text).collect::<Vec<_>>()
    };
    assert_eq!(found().await, ["an old one", "a new one"]);
    let said = || server.said_incomplete.lock().unwrap().keys().cloned().collect::<BTreeSet<_>>();
    assert_eq!(said(), BTreeSet::from([String::new()]), "of machines that are gone");
    // Each machine's list has an end, too.
    for number in 0..i64::try_from(EVENTS.1).unwrap() {
        fake.store(other(NODE, NOW - 70_000 + number));
    }
    assert_eq!(found().await, ["a new one"]);
    assert_eq!(said(), BTreeSet::from([String::new(), NODE.into()]));
    let longest = fake.lists().iter().map(|list| list["limit"].as_u64().unwrap()).max();
    assert_eq!(longest, u64::try_from(EVENTS.1).ok());
}

#[tokio::test]
async fn what_is_found_in_a_short_list_is_looked_for_in_no_longer_one() {
    let fake = Fake::start().await;
    for number in 0..1_000 {
        fake.store(other(NODE, NOW - 1_000_000 + number));
    }
    fake.store(help(NODE, "x", NOW - 1_000));
    let id = HelpEvent::read(&help(NODE, "x", NOW - 1_000)).unwrap().id;
    assert_eq!(fake.server().help(&id).await.unwrap().unwrap().text, "x");
    assert_eq!(fake.lists().len(), 1);
}

/// Nor is the connection taken for a broken one because nothing else is heard meanwhile.
#[tokio::test(start_paused = true)]
async fn a_long_list_has_its_time() {
    let fake = Fake::start().await;
    for number in 0..300 {
        fake.store(other(NODE, NOW - 10_000 + number));
    }
    fake.store(help(NODE, "x", NOW - 20_000));
    fake.take_for_lists(SILENCE * 2);
    assert_eq!(fake.server().help_since(NOW - 30_000).await.unwrap().len(), 1);
}
