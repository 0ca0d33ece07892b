//! Proofs of ownership.

use super::*;

fn given(connection: ConnectionId, kind: HandedOutKind, issued_at: i64, usable_until: i64) -> NewHandedOut {
    NewHandedOut { tenant: main(), connection, ticket: "1".into(), kind, issued_at, usable_until }
}

async fn owners(store: &Arc<dyn Store>, started_at: i64, tolerance_ms: i64) -> Vec<ConnectionId> {
    let handed_out = store.handed_out(&[a(), b()], "1", started_at, tolerance_ms).await.unwrap();
    handed_out.iter().map(|given| given.connection).collect()
}

#[tokio::test]
async fn key_issued_while_another_works_keeps_the_earlier_issue() {
    on_both(|store| async move {
        store.hand_out(&given(a(), HandedOutKind::Key, NOW, NOW + 100)).await.unwrap();
        store.hand_out(&given(a(), HandedOutKind::Key, NOW + 50, NOW + 200)).await.unwrap();
        assert_eq!(store.open_since(a(), "1", 0, NOW + 60).await.unwrap(), Some(NOW), "the earliest that is still open");
        assert_eq!(store.open_since(a(), "1", 0, NOW + 200).await.unwrap(), None);
        assert_eq!(store.open_since(b(), "1", 0, NOW + 60).await.unwrap(), None);
        assert_eq!(store.open_since(a(), "2", 0, NOW + 60).await.unwrap(), None);
        // A shorter one takes nothing away.
        store.hand_out(&given(a(), HandedOutKind::Key, NOW + 60, NOW + 70)).await.unwrap();
        let expected = HandedOut { connection: a(), issued_at: NOW, usable_until: NOW + 200 };
        assert_eq!(store.handed_out(&[a()], "1", NOW + 150, 0).await.unwrap(), [expected]);
    })
    .await;
}

#[tokio::test]
async fn key_issued_after_another_ended_counts_from_its_own_issue() {
    on_both(|store| async move {
        store.hand_out(&given(a(), HandedOutKind::Key, NOW, NOW + 100)).await.unwrap();
        store.hand_out(&given(a(), HandedOutKind::Key, NOW + 500, NOW + 600)).await.unwrap();
        assert_eq!(store.open_since(a(), "1", 0, NOW + 550).await.unwrap(), Some(NOW + 500));
        assert_eq!(owners(&store, NOW + 50, 0).await, [a()], "a session of the earlier key is still proved");
        assert!(owners(&store, NOW + 300, 0).await.is_empty(), "no session came of either");
    })
    .await;
}

#[tokio::test]
async fn handed_out_outside_its_time_proves_nothing() {
    on_both(|store| async move {
        store.hand_out(&given(a(), HandedOutKind::Key, NOW + 1_000, NOW + 2_000)).await.unwrap();
        store.hand_out(&given(b(), HandedOutKind::Jump, NOW + 5_000, NOW + 6_000)).await.unwrap();
        assert!(owners(&store, NOW + 999, 0).await.is_empty());
        assert_eq!(owners(&store, NOW + 1_000, 0).await, [a()]);
        assert_eq!(owners(&store, NOW + 1_999, 0).await, [a()]);
        assert!(owners(&store, NOW + 2_000, 0).await.is_empty());
        assert_eq!(owners(&store, NOW + 500, 500).await, [a()], "clocks differ");
        assert_eq!(owners(&store, NOW + 2_499, 500).await, [a()]);
        assert_eq!(owners(&store, NOW + 3_500, 1_600).await, [a(), b()]);
        assert!(store.handed_out(&[b()], "1", NOW + 1_500, 0).await.unwrap().is_empty(), "not asked for");
        assert!(store.handed_out(&[a()], "2", NOW + 1_500, 0).await.unwrap().is_empty());
        assert!(store.handed_out(&[], "1", NOW + 1_500, 0).await.unwrap().is_empty());
        assert_eq!(store.open_since(b(), "1", 0, NOW).await.unwrap(), Some(NOW + 5_000));
    })
    .await;
}

#[tokio::test]
async fn handed_out_of_every_kind_counts() {
    on_both(|store| async move {
        store.hand_out(&given(a(), HandedOutKind::Chat, NOW + 20, NOW + 300)).await.unwrap();
        store.hand_out(&given(a(), HandedOutKind::Jump, NOW + 10, NOW + 200)).await.unwrap();
        assert_eq!(store.open_since(a(), "1", 0, NOW + 100).await.unwrap(), Some(NOW + 10));
        assert_eq!(store.open_since(a(), "1", 0, NOW + 250).await.unwrap(), Some(NOW + 20), "the Jump is over");
    })
    .await;
}

#[tokio::test]
async fn owner_decided_twice_stays_the_first() {
    on_both(|store| async move {
        let decided = async |host, connection| decide(&store, host, "s1", connection, "key", NOW).await.unwrap();
        assert_eq!(decided("host", a()).await, a());
        assert_eq!(decided("host", b()).await, a());
        assert_eq!(decided("other", b()).await, b(), "hosts are apart");
        assert_eq!(store.known_owners("host", "s1", &[a(), b()]).await.unwrap(), [a()]);
        assert!(store.known_owners("host", "s1", &[b()]).await.unwrap().is_empty());
    })
    .await;
}

#[tokio::test]
async fn owner_decided_by_many_at_once_is_one() {
    on_both(|store| async move {
        for round in 0..5 {
            let deciders: Vec<_> = (0..8)
                .map(|number| {
                    let (store, lsid) = (store.clone(), format!("s{round}"));
                    tokio::spawn(async move { decide(&store, "host", &lsid, id(number), "key", NOW).await.unwrap() })
                })
                .collect();
            let mut decided = Vec::new();
            for decider in deciders {
                decided.push(decider.await.unwrap());
            }
            assert!(decided.windows(2).all(|two| two[0] == two[1]), "{decided:?}");
            let all: Vec<_> = (0..8).map(id).collect();
            assert_eq!(store.known_owners("host", &format!("s{round}"), &all).await.unwrap(), [decided[0]]);
        }
    })
    .await;
}

#[tokio::test]
async fn known_owners_without_a_decision_are_those_of_sessions_and_tickets() {
    on_both(|store| async move {
        let owners = async |connections: &[ConnectionId]| store.known_owners("host", "s1", connections).await.unwrap();
        let key = |connection, kind: &str| DeliveryKey { tenant: main(), connection, lsid: "s1".into(), kind: kind.into(), part: 0 };
        assert!(owners(&[a(), b()]).await.is_empty());
        store.mark_confirmed(&key(a(), "report"), "1", "m", "7", NOW).await.unwrap();
        assert!(owners(&[a(), b()]).await.is_empty(), "a report was written where it was thought to belong");
        store.mark_confirmed(&key(a(), "ticket"), "", "m", "7", NOW).await.unwrap();
        assert_eq!(owners(&[a(), b()]).await, [a()]);
        store.save_session(&known_session(b(), "s1", "1"), NOW).await.unwrap();
        store.save_session(&known_session(a(), "s1", "1"), NOW).await.unwrap();
        assert_eq!(owners(&[a(), b()]).await, [a(), b()], "each once");
        assert_eq!(owners(&[b()]).await, [b()]);
        decide(&store, "host", "s1", b(), "assigned", NOW).await.unwrap();
        assert_eq!(owners(&[a(), b()]).await, [b()]);
        assert!(owners(&[a()]).await.is_empty(), "decided for another");
    })
    .await;
}

#[tokio::test]
async fn ticket_that_may_not_exist_proves_no_owner() {
    on_both(|store| async move {
        store.add_events(&[event(a(), "s1", EventKind::SomeoneJoins, 0)]).await.unwrap();
        let leased = claim(&store, NOW).await.remove(0);
        let key = DeliveryKey { tenant: main(), connection: a(), lsid: "s1".into(), kind: "ticket".into(), part: 0 };
        let send = SendTicket { key: &key, ticket: "", marker: "m", sends: 0, now: NOW, settled_at: NOW + 20_000 };
        assert!(store.mark_sent(&leased, &send).await.unwrap());
        assert!(store.known_owners("host", "s1", &[a()]).await.unwrap().is_empty());
    })
    .await;
}

#[tokio::test]
async fn ownership_purge_goes_in_steps() {
    on_both(|store| async move {
        for number in 0..3 {
            store.hand_out(&given(id(number), HandedOutKind::Key, NOW, NOW + 10)).await.unwrap();
            decide(&store, "host", &format!("s{number}"), a(), "key", NOW).await.unwrap();
        }
        store.hand_out(&given(b(), HandedOutKind::Key, NOW, NOW + 11)).await.unwrap();
        decide(&store, "host", "later", b(), "key", NOW + 1).await.unwrap();
        assert_eq!(store.purge_ownership(NOW + 10, NOW, 2).await.unwrap(), 0);
        assert_eq!(store.purge_ownership(NOW + 11, NOW + 1, 2).await.unwrap(), 4);
        assert_eq!(store.purge_ownership(NOW + 11, NOW + 1, 2).await.unwrap(), 2);
        assert_eq!(store.purge_ownership(NOW + 11, NOW + 1, 2).await.unwrap(), 0);
        assert_eq!(owners(&store, NOW, 0).await, [b()]);
        assert_eq!(store.known_owners("host", "later", &[b()]).await.unwrap(), [b()]);
    })
    .await;
}

#[tokio::test]
async fn key_that_led_to_a_session_proves_no_other() {
    on_both(|store| async move {
        let key = |issued_at| NewHandedOut {
            tenant: main(),
            connection: a(),
            ticket: "1".into(),
            kind: HandedOutKind::Key,
            issued_at,
            usable_until: NOW + 1_000_000,
        };
        let tenant = main();
        let used = async |lsid: &str| {
            let decision =
                OwnerDecision { tenant: &tenant, host: "host", lsid, connection: a(), proof: "key", used_up_for: Some("1"), now: NOW };
            store.decide_owner(&decision).await.unwrap();
            store.handed_out(&[a(), b()], "1", NOW + 10, 0).await.unwrap().len()
        };
        store.hand_out(&key(NOW)).await.unwrap();
        store.hand_out(&key(NOW + 5)).await.unwrap();
        assert_eq!(used("s1").await, 1, "one of two keys is left");
        assert_eq!(used("s1").await, 1, "decided before: nothing more is used up");
        assert_eq!(used("s2").await, 0);
        // Nobody knows whether a session came of a key or of a Jump.
        store.hand_out(&key(NOW + 6)).await.unwrap();
        store.hand_out(&NewHandedOut { kind: HandedOutKind::Jump, ..key(NOW + 6) }).await.unwrap();
        assert_eq!(used("s3").await, 2);
    })
    .await;
}
