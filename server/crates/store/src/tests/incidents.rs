//! Incidents and their tickets.

use super::*;

fn post(lsid: &str, number: u128, is_open: bool, second: i64) -> IncidentPost {
    IncidentPost {
        id: Uuid::from_u128(number),
        tenant: main(),
        connection: a(),
        lsid: lsid.into(),
        fingerprint: [u8::try_from(lsid.len()).unwrap(); 32],
        source: "nav".into(),
        source_id: "42".into(),
        posted: format!("{{\"number\":{number}}}"),
        is_open,
        changed_at: NOW + second * 1_000,
        argus_pk: Some(7),
        now: NOW + second * 1_000,
    }
}

async fn stored(store: &Arc<dyn Store>, post: IncidentPost) -> StoredIncident {
    match store.store_incidents(&[post]).await.unwrap().remove(0) {
        PostStored::Known(known) => known,
        PostStored::Unknown => panic!("not known"),
    }
}

fn at(second: i64) -> i64 {
    NOW + second * 1_000
}

async fn work(store: &Arc<dyn Store>, lsid: &str) -> (String, i64) {
    let work = store.incident_work(a(), lsid).await.unwrap().unwrap();
    (work.state, work.not_before)
}

async fn made(store: &Arc<dyn Store>, lsid: &str, changes: i64) {
    let ticket = IncidentTicket { id: "7".into(), url: "https://t/7".into() };
    let key = DeliveryKey { tenant: main(), connection: a(), lsid: lsid.into(), kind: "ticket".into(), part: 0 };
    store.incident_made(a(), lsid, &ticket, &key, changes, NOW).await.unwrap();
}

#[tokio::test]
async fn an_incident_has_one_event_until_it_has_its_ticket() {
    on_both(|store| async move {
        assert_eq!(store.store_incidents(&[post("i", 1, false, 0)]).await.unwrap(), [PostStored::Unknown]);
        assert_eq!(store.incident(a(), "i").await.unwrap(), None, "an end of something unknown leaves nothing");
        let answers = store.store_incidents(&[post("i", 2, true, 0), post("other", 3, true, 0), post("i", 4, true, 0)]).await.unwrap();
        let creators: Vec<u128> = answers
            .iter()
            .map(|answer| match answer {
                PostStored::Known(known) => known.creator.as_u128(),
                PostStored::Unknown => 0,
            })
            .collect();
        assert_eq!(creators, [2, 3, 2], "the first post of each");
        let known = store.incident(a(), "i").await.unwrap().unwrap();
        assert_eq!((known.posted.as_deref(), known.changes, known.untold), (Some("{\"number\":4}"), 0, 0), "the newest data");
        assert_eq!(store.incident(b(), "i").await.unwrap(), None, "another connection's");
        assert_eq!((list(&store, None).await.len(), work(&store, "i").await), (2, ("ready".into(), NOW)));

        let event = claim(&store, at(1)).await.into_iter().find(|event| event.lsid == "i").unwrap();
        assert_eq!(event.kind, EventKind::Incident);
        stored(&store, post("i", 5, true, 1)).await;
        assert_eq!(work(&store, "i").await.0, "leased", "it is worked at");
        made(&store, "i", 0).await;
        assert!(finish(&store, &event, &Outcome::Done("made".into()), at(2)).await);
        let known = stored(&store, post("i", 6, true, 3)).await;
        assert_eq!((known.ticket.unwrap().url.as_str(), known.posted, known.creator.as_u128()), ("https://t/7", None, 2));
        assert_eq!(work(&store, "i").await.0, "done", "nothing is due again");
        let delivery = store.deliveries(a(), "i").await.unwrap().remove(0);
        assert_eq!((delivery.state, delivery.remote_id.as_deref()), (DeliveryState::Confirmed, Some("7")));
    })
    .await;
}

#[tokio::test]
async fn a_post_makes_what_waits_or_is_dead_due_but_not_before_the_ticket_system_may_be_asked() {
    on_both(|store| async move {
        stored(&store, post("i", 1, true, 0)).await;
        let event = claim(&store, at(0)).await.remove(0);
        let retry = Outcome::Retry { not_before: at(100), reason: "HTTP 500".into(), counts: true };
        finish(&store, &event, &retry, at(0)).await;
        assert_eq!(stored(&store, post("i", 2, true, 1)).await.creator.as_u128(), 2);
        assert_eq!(work(&store, "i").await, ("ready".into(), at(1)));
        assert_eq!(stored(&store, post("i", 3, true, 2)).await.creator.as_u128(), 2, "it is due already");

        let event = claim(&store, at(2)).await.remove(0);
        assert_eq!(event.attempts, 1, "a fresh count");
        store.incident_waits(a(), "i", at(50)).await.unwrap();
        finish(&store, &event, &retry, at(2)).await;
        stored(&store, post("i", 4, true, 3)).await;
        assert_eq!(work(&store, "i").await, ("ready".into(), at(50)));

        let event = claim(&store, at(50)).await.remove(0);
        finish(&store, &event, &Outcome::Dead("no such queue".into()), at(50)).await;
        let dead = store.incident_work(a(), "i").await.unwrap().unwrap();
        assert_eq!((dead.state.as_str(), dead.outcome.as_deref()), ("dead", Some("no such queue")));
        let known = stored(&store, post("i", 5, true, 60)).await;
        assert_eq!((known.creator.as_u128(), known.posted.as_deref()), (5, Some("{\"number\":5}")));
        assert_eq!(work(&store, "i").await, ("ready".into(), at(60)));
    })
    .await;
}

#[tokio::test]
async fn each_end_and_each_reopening_is_told_once() {
    on_both(|store| async move {
        stored(&store, post("i", 1, true, 0)).await;
        let event = claim(&store, at(0)).await.remove(0);
        // It ends while its ticket is being made, and the end is told three times.
        for number in 2..5 {
            let known = stored(&store, post("i", number, false, 1)).await;
            assert_eq!((known.changes, known.creator.as_u128()), (1, 1), "who told of the end makes no ticket");
        }
        assert!(claim(&store, at(1)).await.is_empty(), "one event of an incident at a time");
        made(&store, "i", 0).await;
        finish(&store, &event, &Outcome::Done("made".into()), at(1)).await;
        let end = claim(&store, at(1)).await;
        assert_eq!(end.iter().map(|event| event.kind).collect::<Vec<_>>(), [EventKind::IncidentEnd]);
        let change = |number, is_open, second| IncidentChange { number, is_open, changed_at: at(second) };
        assert_eq!(store.incident_changes(a(), "i").await.unwrap(), [change(1, false, 1)]);
        finish(&store, &end[0], &Outcome::Dead("refused".into()), at(1)).await;
        // Posted again, the dead letter is due again; so does whatever happens next.
        stored(&store, post("i", 5, false, 2)).await;
        assert_eq!(work(&store, "i").await, ("ready".into(), at(2)));
        let known = stored(&store, post("i", 6, true, 3)).await;
        assert_eq!((known.is_open, known.changes, known.untold), (true, 2, 2));
        assert_eq!(store.incident_changes(a(), "i").await.unwrap(), [change(1, false, 1), change(2, true, 3)]);
        store.incident_told(a(), "i", 1).await.unwrap();
        assert_eq!(store.incident_changes(a(), "i").await.unwrap(), [change(2, true, 3)]);
    })
    .await;
}

#[tokio::test]
async fn what_happened_before_the_ticket_was_made_is_not_told() {
    on_both(|store| async move {
        stored(&store, post("i", 1, true, 0)).await;
        stored(&store, post("i", 2, false, 1)).await;
        let known = stored(&store, post("i", 3, true, 2)).await;
        assert_eq!((known.changes, known.untold), (2, 2));
        made(&store, "i", 2).await;
        assert!(store.incident_changes(a(), "i").await.unwrap().is_empty());
    })
    .await;
}

#[tokio::test]
async fn ended_incidents_go_after_a_time_and_open_ones_stay() {
    on_both(|store| async move {
        for (number, lsid) in (1..).zip(["open", "ended", "again"]) {
            stored(&store, post(lsid, number, true, 0)).await;
        }
        stored(&store, post("ended", 4, false, 1)).await;
        stored(&store, post("again", 5, false, 1)).await;
        // Whoever posts it again, still ended, is heard once a day.
        stored(&store, post("again", 6, false, 90_000)).await;
        assert_eq!(store.purge_incidents(at(80_000), 10).await.unwrap(), 1);
        let known = async |lsid| store.incident(a(), lsid).await.unwrap().is_some();
        assert_eq!((known("open").await, known("ended").await, known("again").await), (true, false, true));
        assert!(store.incident_changes(a(), "ended").await.unwrap().is_empty());
    })
    .await;
}

#[tokio::test]
async fn another_ticket_system_knows_none_of_the_incidents() {
    on_both(|store| async move {
        store.save_connection(&stored_connection(a(), "a")).await.unwrap();
        stored(&store, post("i", 1, true, 0)).await;
        let event = claim(&store, at(0)).await.remove(0);
        made(&store, "i", 0).await;
        finish(&store, &event, &Outcome::Done("made".into()), at(0)).await;
        store.replace_connection(&stored_connection(a(), "a")).await.unwrap();
        assert_eq!(store.incident(a(), "i").await.unwrap(), None);
        assert!(store.deliveries(a(), "i").await.unwrap().is_empty() && list(&store, None).await.is_empty());
        stored(&store, post("i", 2, true, 1)).await;
        store.delete_connection(a()).await.unwrap();
        assert!(list(&store, None).await.is_empty(), "nobody can be given it");
    })
    .await;
}
