//! Sweeps, servers, apps' keys.

use super::*;

#[tokio::test]
async fn sweep_turn_is_taken_by_one_and_continues_from_the_checkpoint() {
    on_both(|store| async move {
        let take = async |due_by, next_at| store.take_sweep_turn(&main(), SHARED, due_by, next_at).await.unwrap();
        assert_eq!(take(NOW, NOW + 300).await, Some(None), "never swept");
        assert_eq!(take(NOW, NOW + 300).await, None, "another has taken it");
        store.save_checkpoint(SHARED, 1_733_240_400).await.unwrap();
        assert_eq!(take(NOW + 299, NOW + 600).await, None, "not due");
        assert_eq!(take(NOW + 300, NOW + 600).await, Some(Some(1_733_240_400)));
        assert_eq!(take(i64::MAX, NOW + 700).await, Some(Some(1_733_240_400)), "at a server's start");
        assert_eq!(store.take_sweep_turn(&main(), "other/client", NOW, NOW + 300).await.unwrap(), Some(None), "accounts are apart");
    })
    .await;
}

#[tokio::test]
async fn sweep_not_taken_for_long_is_purged_in_steps() {
    on_both(|store| async move {
        for number in 0..3 {
            store.take_sweep_turn(&main(), &format!("host/{number}"), NOW, NOW + number).await.unwrap();
        }
        store.save_checkpoint("host/2", 7).await.unwrap();
        assert_eq!(store.purge_sweeps(NOW + 2, 1).await.unwrap(), 1);
        assert_eq!(store.purge_sweeps(NOW + 2, 1).await.unwrap(), 1);
        assert_eq!(store.purge_sweeps(NOW + 2, 1).await.unwrap(), 0);
        assert_eq!(store.take_sweep_turn(&main(), "host/2", i64::MAX, NOW).await.unwrap(), Some(Some(7)));
        assert_eq!(store.take_sweep_turn(&main(), "host/0", NOW, NOW).await.unwrap(), Some(None), "forgotten");
    })
    .await;
}

#[tokio::test]
async fn servers_not_seen_lately_are_not_counted() {
    on_both(|store| async move {
        let (first, second) = (Uuid::from_u128(1), Uuid::from_u128(2));
        assert_eq!(store.server_alive(first, NOW, NOW - 30).await.unwrap(), 1);
        assert_eq!(store.server_alive(second, NOW + 10, NOW - 20).await.unwrap(), 2);
        assert_eq!(store.server_alive(second, NOW + 40, NOW + 10).await.unwrap(), 1);
        assert_eq!(store.server_alive(first, NOW + 41, NOW + 10).await.unwrap(), 2);
        store.server_stopped(second).await.unwrap();
        assert_eq!(store.server_alive(first, NOW + 42, NOW + 10).await.unwrap(), 1, "one that stopped is not waited for");
    })
    .await;
}

#[tokio::test]
async fn app_key_saved_again_is_replaced() {
    on_both(|store| async move {
        assert_eq!(store.app_key("https://example.zendesk.com/1").await.unwrap(), None);
        store.save_app_key(&main(), "https://example.zendesk.com/1", "old", NOW).await.unwrap();
        store.save_app_key(&main(), "https://example.zendesk.com/1", "new", NOW + 1).await.unwrap();
        assert_eq!(store.app_key("https://example.zendesk.com/1").await.unwrap(), Some(("new".into(), NOW + 1)));
    })
    .await;
}
