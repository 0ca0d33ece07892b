//! Which server hears an engine's account.

use super::*;

const ONE: Uuid = Uuid::from_u128(1);
const OTHER: Uuid = Uuid::from_u128(2);

#[tokio::test]
async fn one_server_at_a_time_hears_an_account() {
    on_both(|store| async move {
        let hold = async |account, server, now, until| {
            store.hold_listener(&main(), account, server, NOW + now, NOW + until).await.unwrap().is_some()
        };
        assert!(hold(SHARED, ONE, 0, 100).await);
        assert!(!hold(SHARED, OTHER, 50, 150).await);
        assert!(hold("other/client", OTHER, 50, 150).await, "accounts are apart");
        assert!(hold(SHARED, ONE, 60, 160).await, "the holder prolongs its lease");
        assert!(!hold(SHARED, OTHER, 159, 300).await);
        assert!(hold(SHARED, OTHER, 160, 300).await, "the lease has run out");
        assert!(!hold(SHARED, ONE, 161, 300).await);
        store.release_listener(SHARED, ONE).await.unwrap();
        assert!(!hold(SHARED, ONE, 162, 300).await, "it was not the first server's to give back");
        store.release_listener(SHARED, OTHER).await.unwrap();
        assert!(hold(SHARED, ONE, 163, 400).await);
    })
    .await;
}

#[tokio::test]
async fn a_holder_goes_on_where_the_one_before_it_stopped() {
    on_both(|store| async move {
        let hold = async |server, now, until| store.hold_listener(&main(), SHARED, server, NOW + now, NOW + until).await.unwrap();
        assert!(!store.save_cursor(SHARED, ONE, 1, None).await.unwrap(), "nobody holds it");
        assert_eq!(hold(ONE, 0, 100).await, Some(Held { cursor: None, clock_ahead: None }), "nobody has listened yet");
        assert!(store.save_cursor(SHARED, ONE, 7, None).await.unwrap());
        assert_eq!(hold(ONE, 50, 150).await, Some(Held { cursor: Some(7), clock_ahead: None }));
        assert_eq!(hold(OTHER, 150, 300).await, Some(Held { cursor: Some(7), clock_ahead: None }));
        assert!(!store.save_cursor(SHARED, ONE, 9, None).await.unwrap(), "the lease was lost");
        assert!(store.save_cursor(SHARED, OTHER, 8, Some(-3)).await.unwrap());
        store.release_listener(SHARED, OTHER).await.unwrap();
        assert!(!store.save_cursor(SHARED, OTHER, 9, None).await.unwrap(), "it was given back");
        assert_eq!(hold(ONE, 160, 300).await, Some(Held { cursor: Some(8), clock_ahead: Some(-3) }));
        assert!(store.save_cursor(SHARED, ONE, 5, Some(4)).await.unwrap());
        assert_eq!(hold(ONE, 170, 300).await, Some(Held { cursor: Some(5), clock_ahead: Some(4) }), "the engine's clock was set back");
    })
    .await;
}

#[tokio::test]
async fn of_many_servers_at_the_same_moment_one_gets_the_account() {
    on_both(|store| async move {
        let mut servers = tokio::task::JoinSet::new();
        for number in 1..=8 {
            let store = store.clone();
            servers.spawn(async move { store.hold_listener(&main(), SHARED, Uuid::from_u128(number), NOW, NOW + 100).await.unwrap() });
        }
        assert_eq!(servers.join_all().await.into_iter().flatten().count(), 1);
    })
    .await;
}

#[tokio::test]
async fn accounts_nobody_has_held_for_long_are_purged_in_steps() {
    on_both(|store| async move {
        for number in 0..4 {
            let account = format!("host/{number}");
            store.hold_listener(&main(), &account, ONE, NOW, NOW + number).await.unwrap();
            store.save_cursor(&account, ONE, number, None).await.unwrap();
            store.release_listener(&account, ONE).await.unwrap();
        }
        let mut purged = Vec::new();
        for _ in 0..3 {
            purged.push(store.purge_listeners(NOW + 3, 2).await.unwrap());
        }
        assert_eq!(purged, [2, 1, 0]);
        let cursor = async |account| store.hold_listener(&main(), account, ONE, NOW, NOW).await.unwrap().unwrap().cursor;
        assert_eq!((cursor("host/2").await, cursor("host/3").await), (None, Some(3)));
    })
    .await;
}
