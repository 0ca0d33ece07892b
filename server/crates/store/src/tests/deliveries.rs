//! Writes to help desks.

use super::*;

fn report() -> DeliveryKey {
    DeliveryKey { tenant: main(), connection: a(), lsid: "s1".into(), kind: "report".into(), part: 0 }
}

/// A request for the ticket that is sent at `now`.
fn send<'a>(key: &'a DeliveryKey, ticket: &'a str, sends: i64, now: i64) -> SendTicket<'a> {
    SendTicket { key, ticket, marker: "m", sends, now, settled_at: now + 20_000 }
}

async fn stored(store: &Arc<dyn Store>, key: &DeliveryKey) -> Option<Delivery> {
    store.deliveries(key.connection, &key.lsid).await.unwrap().into_iter().find(|delivery| delivery.key == *key)
}

#[tokio::test]
async fn write_that_was_refused_may_go_to_another_ticket_and_one_without_answer_may_not() {
    on_both(|store| async move {
        store.add_events(&[event(a(), "s1", EventKind::SessionEnd, 0)]).await.unwrap();
        let leased = claim(&store, NOW).await.remove(0);
        let key = report();
        assert!(store.mark_sent(&leased, &send(&key, "1", 0, NOW)).await.unwrap());
        store.settle_sent(&key, 1, DeliveryState::Planned, NOW).await.unwrap();
        assert_eq!(stored(&store, &key).await.unwrap().state, DeliveryState::Sent, "another write's outcome");
        store.settle_sent(&key, 0, DeliveryState::Planned, NOW).await.unwrap();
        let refused = stored(&store, &key).await.unwrap();
        assert_eq!((refused.ticket.as_str(), refused.state, refused.sends), ("1", DeliveryState::Planned, 1));
        assert!(store.mark_sent(&leased, &SendTicket { marker: "n", ..send(&key, "2", 1, NOW) }).await.unwrap());
        let again = stored(&store, &key).await.unwrap();
        assert_eq!((again.ticket.as_str(), again.marker.as_str(), again.state, again.sends), ("2", "n", DeliveryState::Sent, 2));
        store.settle_sent(&key, 1, DeliveryState::Sent, NOW + 60_000).await.unwrap();
        let unanswered = stored(&store, &key).await.unwrap();
        assert_eq!((unanswered.ticket.as_str(), unanswered.settled_at), ("2", NOW + 60_000));
        assert!(store.mark_sent(&leased, &send(&key, "3", 2, NOW + 1)).await.unwrap());
        let sent = stored(&store, &key).await.unwrap();
        assert_eq!((sent.ticket.as_str(), sent.marker.as_str()), ("2", "n"), "a write may stand there");
        assert_eq!((sent.sends, sent.sent_at, sent.settled_at), (3, Some(NOW + 1), NOW + 20_001));
    })
    .await;
}

#[tokio::test]
async fn delivery_state_never_moves_backwards() {
    on_both(|store| async move {
        store.add_events(&[event(a(), "s1", EventKind::SessionEnd, 0)]).await.unwrap();
        let leased = claim(&store, NOW).await.remove(0);
        let key = report();
        let stale = LeasedEvent { epoch: leased.epoch - 1, ..leased.clone() };
        assert!(!store.mark_sent(&stale, &send(&key, "1", 0, NOW)).await.unwrap(), "another worker has the event");
        assert!(!store.mark_sent(&leased, &send(&key, "1", 0, NOW + 15_001)).await.unwrap(), "the lease is over");
        assert!(!store.mark_sent(&leased, &send(&key, "1", 1, NOW)).await.unwrap(), "seen with another number of writes");
        assert_eq!(stored(&store, &key).await, None, "nothing was sent");
        assert!(store.mark_sent(&leased, &send(&key, "2", 0, NOW)).await.unwrap());
        let sent = Delivery {
            key: key.clone(),
            ticket: "2".into(),
            marker: "m".into(),
            state: DeliveryState::Sent,
            remote_id: None,
            sends: 1,
            sent_at: Some(NOW),
            settled_at: NOW + 20_000,
        };
        assert_eq!(stored(&store, &key).await, Some(sent.clone()));
        assert!(!store.mark_sent(&leased, &send(&key, "3", 0, NOW)).await.unwrap(), "a write was begun since");
        assert!(!store.mark_sent(&stale, &send(&key, "3", 1, NOW)).await.unwrap());
        assert!(!store.mark_sent(&leased, &send(&key, "3", 1, NOW + 15_001)).await.unwrap());
        assert_eq!(stored(&store, &key).await, Some(sent), "a write may stand there");
        assert_eq!(store.release_leases(Uuid::from_u128(1), NOW).await.unwrap(), 0, "a write may be under way: the lease ends by itself");
        store.mark_confirmed(&key, "3", "n", "77", NOW).await.unwrap();
        assert!(!store.mark_sent(&leased, &send(&key, "3", 1, NOW)).await.unwrap());
        store.settle_sent(&key, 0, DeliveryState::Planned, NOW).await.unwrap();
        let confirmed = stored(&store, &key).await.unwrap();
        assert_eq!((confirmed.state, confirmed.ticket.as_str(), confirmed.marker.as_str()), (DeliveryState::Confirmed, "2", "m"));
        assert_eq!(confirmed.remote_id.as_deref(), Some("77"));
        assert_eq!(store.release_leases(Uuid::from_u128(1), NOW).await.unwrap(), 1, "no write is under way");
    })
    .await;
}

#[tokio::test]
async fn delivery_confirmed_before_it_was_stored_is_added() {
    on_both(|store| async move {
        let key = report();
        store.mark_confirmed(&key, "1", "m", "added in the page", NOW).await.unwrap();
        let confirmed = stored(&store, &key).await.unwrap();
        assert_eq!((confirmed.state, confirmed.ticket.as_str(), confirmed.marker.as_str()), (DeliveryState::Confirmed, "1", "m"));
        store.add_events(&[event(a(), "s1", EventKind::SessionEnd, 0)]).await.unwrap();
        let leased = claim(&store, NOW).await.remove(0);
        assert!(!store.mark_sent(&leased, &send(&key, "1", 0, NOW)).await.unwrap(), "it stands");
        let other_part = DeliveryKey { part: 1, ..key };
        assert!(store.mark_sent(&leased, &send(&other_part, "1", 0, NOW)).await.unwrap(), "another of the session");
        assert!(store.deliveries(b(), "s1").await.unwrap().is_empty());
        assert_eq!(store.deliveries(a(), "s1").await.unwrap().len(), 2);
    })
    .await;
}

#[tokio::test]
async fn events_of_one_session_never_write_at_the_same_time() {
    on_both(|store| async move {
        // An id is made before its row is seen: the sweep's event is stored, and leased, before the outbound one with the earlier id.
        let earlier = event(a(), "s1", EventKind::SessionEnd, 0);
        let later = event(a(), "s1", EventKind::SessionEnd, 1);
        store.add_events(std::slice::from_ref(&later)).await.unwrap();
        let now = NOW + 1_000;
        let first = claim(&store, now).await.remove(0);
        store.add_events(std::slice::from_ref(&earlier)).await.unwrap();
        assert!(claim(&store, now).await.is_empty(), "its session is worked at");
        // Two servers may have leased both in the same moment all the same.
        let second = claim(&store, now + 15_001).await.remove(0);
        assert_eq!((first.id, second.id), (later.id, earlier.id));
        let key = report();
        assert!(store.mark_sent(&first, &send(&key, "1", 0, now)).await.unwrap());
        let seen = stored(&store, &key).await.unwrap();
        assert!(!store.mark_sent(&second, &send(&key, "1", seen.sends, now)).await.unwrap(), "the other may be writing");
        assert!(finish(&store, &first, &Outcome::Done("written".into()), now).await);
        assert!(!store.mark_sent(&second, &send(&key, "1", 0, now)).await.unwrap(), "it has not looked since");
        assert!(store.mark_sent(&second, &send(&key, "1", seen.sends, now)).await.unwrap());
    })
    .await;
}

#[tokio::test]
async fn first_write_marked_by_many_at_once_is_marked_once() {
    on_both(|store| async move {
        store.add_events(&[event(a(), "s1", EventKind::SessionEnd, 0)]).await.unwrap();
        let leased = claim(&store, NOW).await.remove(0);
        let senders: Vec<_> = (0..8)
            .map(|_| {
                let (store, leased) = (store.clone(), leased.clone());
                tokio::spawn(async move { store.mark_sent(&leased, &send(&report(), "1", 0, NOW)).await.unwrap() })
            })
            .collect();
        let mut marked = 0;
        for sender in senders {
            marked += usize::from(sender.await.unwrap());
        }
        assert_eq!((marked, stored(&store, &report()).await.unwrap().sends), (1, 1));
    })
    .await;
}

#[tokio::test]
async fn delivery_purge_goes_in_steps_and_leaves_what_may_still_be_written() {
    on_both(|store| async move {
        let key = |part| DeliveryKey { part, ..report() };
        store.add_events(&[event(a(), "s1", EventKind::SessionEnd, 0)]).await.unwrap();
        let leased = claim(&store, NOW).await.remove(0);
        for part in 0..3 {
            store.mark_confirmed(&key(part), "1", "m", "7", NOW + i64::from(part)).await.unwrap();
        }
        assert!(store.mark_sent(&leased, &send(&key(3), "1", 0, NOW)).await.unwrap());
        assert!(store.mark_sent(&leased, &send(&key(4), "1", 0, NOW)).await.unwrap());
        store.settle_sent(&key(4), 0, DeliveryState::Planned, NOW).await.unwrap();
        assert_eq!(store.purge_deliveries(NOW, 10).await.unwrap(), 0);
        assert_eq!(store.purge_deliveries(NOW + 2, 2).await.unwrap(), 2, "two of the parts 0, 1 and 4");
        assert_eq!(store.purge_deliveries(NOW + 2, 2).await.unwrap(), 1);
        let left: Vec<_> = store.deliveries(a(), "s1").await.unwrap().iter().map(|delivery| delivery.key.part).collect();
        assert_eq!(left, [2, 3], "one confirmed later, one without an answer");
        assert_eq!(store.purge_deliveries(i64::MAX, 10).await.unwrap(), 1);
        assert_eq!(stored(&store, &key(3)).await.unwrap().state, DeliveryState::Sent);
    })
    .await;
}
