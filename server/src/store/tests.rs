//! The same story on both databases. PostgreSQL: `DESKBRIDGE_TEST_POSTGRES` names a server (`cargo xtask test` starts one).

use std::sync::Arc;

use super::*;
use crate::clock::random_bytes;

const NOW: i64 = 1_733_240_467_000;

/// Runs `story` on a fresh database of each kind.
async fn on_both<Told: Future<Output = ()>>(story: impl Fn(Arc<dyn Store>) -> Told) {
    let folder = tempfile::tempdir().unwrap();
    story(open(&format!("sqlite://{}", folder.path().join("story.db").display())).await.unwrap()).await;
    let Ok(server) = std::env::var("DESKBRIDGE_TEST_POSTGRES") else {
        eprintln!("DESKBRIDGE_TEST_POSTGRES is not set: told on SQLite only");
        return;
    };
    let name = format!("story_{}", Uuid::from_bytes(random_bytes()).simple());
    let pool = sqlx::PgPool::connect(&server).await.unwrap();
    sqlx::query(sqlx::AssertSqlSafe(format!("CREATE DATABASE {name}"))).execute(&pool).await.unwrap();
    let mut url = url::Url::parse(&server).unwrap();
    url.set_path(&name);
    story(open(url.as_str()).await.unwrap()).await;
    sqlx::query(sqlx::AssertSqlSafe(format!("DROP DATABASE {name} WITH (FORCE)"))).execute(&pool).await.unwrap();
}

fn event(connection: &str, lsid: &str, kind: EventName, second: i64) -> NewEvent {
    let at = NOW + second * 1_000;
    let id = uuid::Builder::from_unix_timestamp_millis(u64::try_from(at).unwrap(), &random_bytes()).into_uuid();
    NewEvent {
        id,
        connection: connection.into(),
        fingerprint: random_bytes(),
        kind,
        lsid: lsid.into(),
        ticket: None,
        origin: Origin::Outbound,
        received_at: at,
    }
}

async fn claim(store: &Arc<dyn Store>, now: i64) -> Vec<LeasedEvent> {
    store.claim_events("a", Uuid::from_u128(1), now, now + 15_000, 10).await.unwrap()
}

#[tokio::test]
async fn a_session_is_opened_once() {
    on_both(|store| async move {
        let session = |id: u8| NewAgentSession {
            id_hash: [id; 32],
            connection: "a".into(),
            record: "{}".into(),
            created_at: NOW,
            keep_until: NOW + 1_000,
        };
        let opened = store.open_agent_sessions(&[session(1), session(1), session(2)]).await.unwrap();
        assert_eq!(opened, [true, false, true], "one of two that come together");
        assert_eq!(store.open_agent_sessions(&[session(3), session(2)]).await.unwrap(), [true, false], "nor when it comes later");
        store.touch_agent_session(&[1; 32], NOW + 5).await.unwrap();
        store.save_agent_session(&[1; 32], r#"{"x":1}"#).await.unwrap();
        let stored = store.agent_session(&[1; 32]).await.unwrap().unwrap();
        assert_eq!(stored, StoredAgentSession { record: r#"{"x":1}"#.into(), created_at: NOW, used_at: NOW + 5 });
        store.end_agent_session(&[1; 32]).await.unwrap();
        assert!(store.agent_session(&[1; 32]).await.unwrap().is_none());
        assert_eq!(store.open_agent_sessions(&[session(1)]).await.unwrap(), [false], "an ended one is not opened again");
        assert_eq!(store.sweep_agent_sessions(NOW + 1_000).await.unwrap(), 0);
        assert_eq!(store.sweep_agent_sessions(NOW + 1_001).await.unwrap(), 3);
    })
    .await;
}

#[tokio::test]
async fn any_number_of_events_is_stored() {
    on_both(|store| async move {
        let mut stored = 0;
        for count in [1, 2, 3, 255, 257, 600] {
            let events: Vec<NewEvent> = (0..count).map(|number| event("a", &format!("s{number}"), EventName::SessionEnd, 0)).collect();
            assert_eq!(store.add_events(&events).await.unwrap(), count);
            stored += count;
        }
        let sizes = store.queue_sizes().await.unwrap();
        assert_eq!(sizes.iter().map(|size| size.events).sum::<i64>(), i64::try_from(stored).unwrap());
    })
    .await;
}

#[tokio::test]
async fn an_event_is_stored_once_and_leased_in_order() {
    on_both(|store| async move {
        let end = event("a", "s1", EventName::SessionEnd, 1);
        let survey = event("a", "s1", EventName::CustomerSurvey, 0);
        let other = event("a", "s2", EventName::SessionEnd, 2);
        let foreign = event("b", "s1", EventName::SessionEnd, 0);
        assert_eq!(store.add_events(&[end.clone(), survey.clone(), other.clone(), foreign]).await.unwrap(), 4);
        let again = NewEvent { id: Uuid::from_u128(5), ..end.clone() };
        assert_eq!(store.add_events(&[again]).await.unwrap(), 0, "the same event posted twice is one");
        let due = NOW + 10_000;
        let leased = claim(&store, due).await;
        assert_eq!(leased.iter().map(|event| event.id).collect::<Vec<_>>(), [end.id, other.id], "the survey waits for its session's end");
        assert!(claim(&store, due).await.is_empty(), "leased ones are not leased again");
        assert!(store.finish_event(&leased[0], &Outcome::Done("written".into()), due).await.unwrap());
        let leased = claim(&store, due).await;
        assert_eq!(leased.iter().map(|event| event.id).collect::<Vec<_>>(), [survey.id]);
        assert_eq!(store.list_events(Some("done"), 10).await.unwrap()[0].outcome.as_deref(), Some("written"));
        assert_eq!(store.list_events(None, 10).await.unwrap().len(), 4);
    })
    .await;
}

#[tokio::test]
async fn a_lost_lease_writes_nothing() {
    on_both(|store| async move {
        store.add_events(&[event("a", "s1", EventName::SessionEnd, 0)]).await.unwrap();
        let first = claim(&store, NOW).await.remove(0);
        assert_eq!((first.attempts, first.epoch), (1, 1));
        assert!(store.renew_lease(&first, NOW + 20_000).await.unwrap());
        assert!(claim(&store, NOW + 16_000).await.is_empty(), "renewed");
        let second = claim(&store, NOW + 20_001).await.remove(0);
        assert_eq!((second.attempts, second.epoch), (2, 2), "the attempt was counted when it began");
        assert!(!store.renew_lease(&first, NOW + 90_000).await.unwrap());
        assert!(!store.finish_event(&first, &Outcome::Dead("late".into()), NOW).await.unwrap());
        assert_eq!(store.event(second.id).await.unwrap().unwrap().state, "leased");
        assert!(store.finish_event(&second, &Outcome::Done("now".into()), NOW).await.unwrap());
    })
    .await;
}

#[tokio::test]
async fn a_retry_waits_and_counts_only_when_it_should() {
    on_both(|store| async move {
        store.add_events(&[event("a", "s1", EventName::SessionEnd, 0)]).await.unwrap();
        let leased = claim(&store, NOW).await.remove(0);
        let retry = |counts| Outcome::Retry { not_before: NOW + 5_000, reason: "later".into(), counts };
        assert!(store.finish_event(&leased, &retry(false), NOW).await.unwrap());
        assert_eq!(store.next_due().await.unwrap(), Some(NOW + 5_000));
        assert!(claim(&store, NOW + 4_999).await.is_empty());
        let leased = claim(&store, NOW + 5_000).await.remove(0);
        assert_eq!(leased.attempts, 1, "the first attempt did not count");
        assert!(store.finish_event(&leased, &retry(true), NOW).await.unwrap());
        let leased = claim(&store, NOW + 5_000).await.remove(0);
        assert_eq!(leased.attempts, 2);
        assert!(store.finish_event(&leased, &Outcome::Dead("gave up".into()), NOW).await.unwrap());
        assert_eq!(store.next_due().await.unwrap(), None);
        assert!(store.retry_event(leased.id, NOW).await.unwrap());
        assert!(!store.retry_event(leased.id, NOW).await.unwrap(), "it is due already");
        assert_eq!(claim(&store, NOW).await[0].attempts, 1, "a person's retry counts anew");
    })
    .await;
}

#[tokio::test]
async fn a_join_that_waits_long_holds_up_nothing() {
    on_both(|store| async move {
        store.add_events(&[event("a", "s1", EventName::SomeoneJoins, 0)]).await.unwrap();
        let joins = claim(&store, NOW).await.remove(0);
        store.add_events(&[event("a", "s1", EventName::SessionEnd, 0)]).await.unwrap();
        assert!(claim(&store, NOW).await.is_empty(), "it is worked at");
        let retry = |not_before| Outcome::Retry { not_before, reason: "HTTP 502".into(), counts: true };
        assert!(store.finish_event(&joins, &retry(NOW + 4_000), NOW).await.unwrap());
        assert!(claim(&store, NOW).await.is_empty(), "it is tried again in a moment");
        let joins = claim(&store, NOW + 4_000).await.remove(0);
        assert!(store.finish_event(&joins, &retry(NOW + 600_000), NOW).await.unwrap());
        assert_eq!(claim(&store, NOW + 4_000).await[0].kind, EventName::SessionEnd);
    })
    .await;
}

#[tokio::test]
async fn a_write_that_was_refused_may_go_to_another_ticket_and_one_without_answer_may_not() {
    on_both(|store| async move {
        store.add_events(&[event("a", "s1", EventName::SessionEnd, 0)]).await.unwrap();
        let leased = claim(&store, NOW).await.remove(0);
        let key = DeliveryKey { connection: "a".into(), lsid: "s1".into(), kind: "report".into(), part: 0 };
        store.plan_delivery(&key, "1", "m", NOW).await.unwrap();
        assert!(store.mark_sent(&key, 0, &leased, NOW, NOW + 20_000).await.unwrap());
        store.settle_sent(&key, 1, DeliveryState::Planned, NOW).await.unwrap();
        assert_eq!(store.plan_delivery(&key, "2", "m", NOW).await.unwrap().ticket, "1", "another write's fate");
        store.settle_sent(&key, 0, DeliveryState::Planned, NOW).await.unwrap();
        let again = store.plan_delivery(&key, "2", "m", NOW).await.unwrap();
        assert_eq!((again.ticket.as_str(), again.state, again.sends), ("2", DeliveryState::Planned, 1));
        assert!(store.mark_sent(&key, 1, &leased, NOW, NOW + 20_000).await.unwrap());
        store.settle_sent(&key, 1, DeliveryState::Sent, NOW + 60_000).await.unwrap();
        let unanswered = store.plan_delivery(&key, "3", "m", NOW).await.unwrap();
        assert_eq!((unanswered.ticket.as_str(), unanswered.settled_at), ("2", NOW + 60_000));
    })
    .await;
}

#[tokio::test]
async fn what_attempts_came_to_is_kept_as_long_as_their_event() {
    on_both(|store| async move {
        store.add_events(&[event("a", "s1", EventName::SessionEnd, 0)]).await.unwrap();
        for attempt in 0..25 {
            let leased = claim(&store, NOW + attempt).await.remove(0);
            let retry = Outcome::Retry { not_before: NOW + attempt + 1, reason: format!("HTTP 502, {attempt}"), counts: true };
            assert!(store.finish_event(&leased, &retry, NOW + attempt + 500).await.unwrap());
        }
        let leased = claim(&store, NOW + 40_000).await.remove(0);
        let lost = LeasedEvent { epoch: leased.epoch - 1, ..leased.clone() };
        assert!(!store.finish_event(&lost, &Outcome::Done("late".into()), NOW).await.unwrap());
        assert!(store.finish_event(&leased, &Outcome::Done("written".into()), NOW + 40_100).await.unwrap());
        let attempts = store.attempts(leased.id).await.unwrap();
        let last =
            AttemptRow { leased_at: NOW + 40_000, ended_at: NOW + 40_100, result: "done".into(), said: "written".into(), next_at: None };
        assert_eq!(attempts.last(), Some(&last));
        let (first, kept) = (&attempts[0], attempts.len());
        assert_eq!((kept, first.said.as_str(), first.next_at), (20, "HTTP 502, 6", Some(NOW + 7)), "the newest are kept");
        assert_eq!(store.sweep_events(NOW + 50_000).await.unwrap(), 1);
        assert!(store.attempts(leased.id).await.unwrap().is_empty());
    })
    .await;
}

#[tokio::test]
async fn a_clean_stop_gives_leases_back() {
    on_both(|store| async move {
        store.add_events(&[event("a", "s1", EventName::SessionEnd, 0)]).await.unwrap();
        let leased = claim(&store, NOW).await.remove(0);
        assert_eq!(store.release_leases(Uuid::from_u128(2), NOW).await.unwrap(), 0, "another's are left alone");
        assert_eq!(store.release_leases(Uuid::from_u128(1), NOW).await.unwrap(), 1);
        assert!(!store.finish_event(&leased, &Outcome::Done("late".into()), NOW).await.unwrap());
        assert_eq!(claim(&store, NOW).await[0].attempts, 1);
    })
    .await;
}

#[tokio::test]
async fn a_delivery_goes_one_way() {
    on_both(|store| async move {
        store.add_events(&[event("a", "s1", EventName::SessionEnd, 0)]).await.unwrap();
        let leased = claim(&store, NOW).await.remove(0);
        let key = DeliveryKey { connection: "a".into(), lsid: "s1".into(), kind: "report".into(), part: 0 };
        let planned = store.plan_delivery(&key, "1", "m", NOW).await.unwrap();
        assert_eq!(
            planned,
            Delivery { ticket: "1".into(), marker: "m".into(), state: DeliveryState::Planned, remote_id: None, sends: 0, settled_at: 0 }
        );
        assert_eq!(store.plan_delivery(&key, "2", "m", NOW).await.unwrap().ticket, "2", "nothing was sent: the newer external key counts");
        let stale = LeasedEvent { epoch: leased.epoch - 1, ..leased.clone() };
        assert!(!store.mark_sent(&key, 0, &stale, NOW, NOW + 20_000).await.unwrap(), "another worker has the event");
        assert!(!store.mark_sent(&key, 0, &leased, NOW + 15_001, NOW + 15_001 + 20_000).await.unwrap(), "the lease is over");
        assert_eq!(store.plan_delivery(&key, "2", "m", NOW).await.unwrap().state, DeliveryState::Planned);
        assert!(!store.mark_sent(&key, 1, &leased, NOW, NOW + 20_000).await.unwrap(), "seen with another number of writes");
        assert!(store.mark_sent(&key, 0, &leased, NOW, NOW + 20_000).await.unwrap());
        assert!(!store.mark_sent(&key, 0, &leased, NOW, NOW + 20_000).await.unwrap(), "a write was begun since");
        let sent = store.plan_delivery(&key, "3", "m", NOW).await.unwrap();
        assert_eq!((sent.ticket.as_str(), sent.state), ("2", DeliveryState::Sent), "a write may stand there");
        assert_eq!(store.release_leases(Uuid::from_u128(1), NOW).await.unwrap(), 0, "a write may be under way: the lease ends by itself");
        store.mark_confirmed(&key, "77", NOW).await.unwrap();
        assert!(!store.mark_sent(&key, 1, &leased, NOW, NOW + 20_000).await.unwrap());
        assert_eq!(store.plan_delivery(&key, "3", "m", NOW).await.unwrap().state, DeliveryState::Confirmed);
    })
    .await;
}

#[tokio::test]
async fn two_events_of_one_session_never_write_at_the_same_time() {
    on_both(|store| async move {
        // An id is made before its row is seen: the sweep's event is stored, and leased, before the outbound one with the earlier id.
        let earlier = event("a", "s1", EventName::SessionEnd, 0);
        let later = event("a", "s1", EventName::SessionEnd, 1);
        store.add_events(std::slice::from_ref(&later)).await.unwrap();
        let now = NOW + 1_000;
        let first = claim(&store, now).await.remove(0);
        store.add_events(std::slice::from_ref(&earlier)).await.unwrap();
        assert!(claim(&store, now).await.is_empty(), "its session is worked at");
        // Two servers may have leased both in the same moment all the same.
        let second = claim(&store, now + 15_001).await.remove(0);
        assert_eq!((first.id, second.id), (later.id, earlier.id));
        let key = DeliveryKey { connection: "a".into(), lsid: "s1".into(), kind: "report".into(), part: 0 };
        let seen = store.plan_delivery(&key, "1", "m", now).await.unwrap();
        assert!(store.mark_sent(&key, seen.sends, &first, now, now + 20_000).await.unwrap());
        let seen = store.plan_delivery(&key, "1", "m", now).await.unwrap();
        assert!(!store.mark_sent(&key, seen.sends, &second, now, now + 20_000).await.unwrap(), "the other may be writing");
        assert!(store.finish_event(&first, &Outcome::Done("written".into()), now).await.unwrap());
        assert!(!store.mark_sent(&key, 0, &second, now, now + 20_000).await.unwrap(), "it has not looked since");
        assert!(store.mark_sent(&key, seen.sends, &second, now, now + 20_000).await.unwrap());
    })
    .await;
}

#[tokio::test]
async fn sessions_keys_and_connections_are_remembered() {
    on_both(|store| async move {
        let session = KnownSession {
            connection: "a".into(),
            lsid: "s1".into(),
            ticket: "1".into(),
            representative: None,
            customer: Some("Jürgen 日本".into()),
            active: false,
            started_at: Some(NOW),
            ended_at: None,
            recorded_at: None,
        };
        store.save_session(&session, NOW).await.unwrap();
        let ended = KnownSession { active: true, ended_at: Some(NOW + 1), ..session.clone() };
        store.save_session(&ended, NOW).await.unwrap();
        store.mark_recorded("a", "s1", NOW + 2).await.unwrap();
        store.save_session(&session, NOW).await.unwrap();
        let known = store.sessions_of_ticket("a", "1").await.unwrap();
        assert_eq!(
            known,
            [KnownSession { recorded_at: Some(NOW + 2), ended_at: Some(NOW + 1), ..session }],
            "an end and a record are not taken back"
        );
        assert!(store.sessions_of_ticket("b", "1").await.unwrap().is_empty());

        store.key_issued("a", "1", NOW, NOW + 100).await.unwrap();
        store.key_issued("a", "1", NOW + 50, NOW + 200).await.unwrap();
        assert_eq!(store.open_key("a", "1", NOW + 60).await.unwrap(), Some(NOW), "the earliest that is still open");
        assert_eq!(store.open_key("a", "1", NOW + 200).await.unwrap(), None);

        let row = StoredConnection { name: "a".into(), settings: vec![1, 2], updated_at: NOW };
        store.save_connection(&row, false).await.unwrap();
        store.save_connection(&StoredConnection { settings: vec![3], updated_at: NOW + 1, ..row.clone() }, true).await.unwrap();
        assert_eq!(store.connections().await.unwrap(), [StoredConnection { settings: vec![3], updated_at: NOW + 1, ..row }]);
        assert!(store.delete_connection("a").await.unwrap());
        assert!(!store.delete_connection("a").await.unwrap());
        store.ping().await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_code_pairs_as_many_browsers_as_it_may_and_a_request_is_seen_once() {
    on_both(|store| async move {
        let grant =
            DeviceGrant { agent_name: Some("Jürgen 日本".into()), agent_email: None, connections: vec!["a".into(), "b \"c\"".into()] };
        let code = NewPairingCode { code_hash: [1; 32], grant: grant.clone(), uses: 2, created_at: NOW, expires_at: NOW + 1_000 };
        store.add_pairing_code(&code).await.unwrap();
        assert!(store.add_pairing_code(&code).await.is_err(), "codes are all different");
        let new = |id: u128| NewDevice {
            id: Uuid::from_u128(id),
            public_key: vec![u8::try_from(id).unwrap(); 91],
            name: format!("laptop {id}"),
            browser: Some("Firefox".into()),
        };
        assert_eq!(store.pair_device(&[2; 32], &new(1), NOW).await.unwrap(), Pairing::UnknownCode);
        assert_eq!(store.pair_device(&[1; 32], &new(1), NOW + 1_000).await.unwrap(), Pairing::CodeExpired);
        let Pairing::Paired(first) = store.pair_device(&[1; 32], &new(1), NOW + 999).await.unwrap() else { panic!("not paired") };
        let expected = Device {
            id: Uuid::from_u128(1),
            public_key: vec![1; 91],
            name: "laptop 1".into(),
            browser: Some("Firefox".into()),
            grant,
            code_hash: Some([1; 32]),
            paired_at: NOW + 999,
            used_at: None,
            revoked_at: None,
        };
        assert_eq!(first, expected);
        assert_eq!(store.device(first.id).await.unwrap(), Some(expected.clone()));
        let same_key = NewDevice { id: Uuid::from_u128(7), ..new(1) };
        let again = store.pair_device(&[1; 32], &same_key, NOW + 1_000).await.unwrap();
        assert_eq!(again, Pairing::PairedBefore(expected.clone()), "its answer was lost");
        assert_eq!(store.pair_device(&[2; 32], &same_key, NOW).await.unwrap(), Pairing::AlreadyPaired, "not its code");
        assert!(matches!(store.pair_device(&[1; 32], &new(2), NOW).await.unwrap(), Pairing::Paired(_)), "that used nothing up");
        assert_eq!(store.pair_device(&[1; 32], &new(3), NOW).await.unwrap(), Pairing::CodeUsed);
        assert!(
            matches!(store.pair_device(&[1; 32], &new(2), NOW).await.unwrap(), Pairing::PairedBefore(_)),
            "whatever became of the code"
        );
        let listed = store.list_pairing_codes(10).await.unwrap();
        let id = CodeId([1; 8]);
        let listed_code = PairingCode { id, grant: code.grant.clone(), uses_left: 0, paired: 2, created_at: NOW, expires_at: NOW + 1_000 };
        assert_eq!(listed, [listed_code]);
        assert_eq!(store.withdraw_pairing_code(id, NOW).await.unwrap(), Withdrawal::EndedBefore);
        assert_eq!(store.withdraw_pairing_code(CodeId([2; 8]), NOW).await.unwrap(), Withdrawal::UnknownCode);

        store.touch_device(first.id, NOW + 5).await.unwrap();
        assert!(store.revoke_device(first.id, NOW + 6).await.unwrap());
        assert!(!store.revoke_device(first.id, NOW + 7).await.unwrap());
        assert!(!store.revoke_device(Uuid::from_u128(9), NOW).await.unwrap());
        let revoked = Device { used_at: Some(NOW + 5), revoked_at: Some(NOW + 6), ..expected };
        assert_eq!(store.device(first.id).await.unwrap(), Some(revoked.clone()));
        assert_eq!(store.device(Uuid::from_u128(9)).await.unwrap(), None);
        assert_eq!(store.pair_device(&[1; 32], &new(1), NOW).await.unwrap(), Pairing::AlreadyPaired, "revoked");
        let agent = |name: &str| DevicesOf::Agent(name.to_owned());
        assert_eq!(store.revoke_devices_of(&agent("Anna"), NOW).await.unwrap(), Revoked { devices: 0, codes: 0 });
        let ended = store.revoke_devices_of(&agent("Jürgen 日本"), NOW + 8).await.unwrap();
        assert_eq!(ended, Revoked { devices: 1, codes: 0 }, "the other one; the code is used up");
        assert_eq!(store.device(first.id).await.unwrap(), Some(revoked), "the first time counts");
        assert_eq!(store.list_devices(10).await.unwrap().iter().map(|device| device.id.as_u128()).collect::<Vec<_>>(), [2, 1]);
        assert_eq!(store.list_devices(1).await.unwrap().len(), 1);

        let seen = |number: u8, keep_until| SeenRequest { fingerprint: [number; 32], keep_until };
        let remembered = store.remember_requests(&[seen(1, NOW), seen(1, NOW), seen(2, NOW + 1)]).await.unwrap();
        assert_eq!(remembered, [true, false, true], "one of two that come together");
        assert_eq!(store.remember_requests(&[seen(3, NOW), seen(2, NOW)]).await.unwrap(), [true, false]);
        assert_eq!(store.sweep_devices(NOW + 1, NOW + 1_000).await.unwrap(), 2, "what is over, and not before");
        assert_eq!(store.remember_requests(&[seen(2, NOW)]).await.unwrap(), [false]);
        assert_eq!(store.sweep_devices(NOW, NOW + 1_001).await.unwrap(), 1, "the code");
        assert_eq!(store.pair_device(&[1; 32], &new(3), NOW).await.unwrap(), Pairing::UnknownCode);
    })
    .await;
}

#[tokio::test]
async fn what_hangs_on_a_connections_name_ends_with_it() {
    on_both(|store| async move {
        let stored = |name: &str| StoredConnection { name: name.into(), settings: vec![1], updated_at: NOW };
        let quoted = "b \"c\"";
        let grant = |connections: &[&str]| DeviceGrant {
            agent_name: None,
            agent_email: Some("Anna@example.com".into()),
            connections: connections.iter().map(|name| (*name).to_owned()).collect(),
        };
        let code = |number: u8, connections: &[&str]| NewPairingCode {
            code_hash: [number; 32],
            grant: grant(connections),
            uses: 9,
            created_at: NOW + i64::from(number),
            expires_at: NOW + 1_000,
        };
        let pair = async |number: u8, id: u8| {
            let device = NewDevice { id: Uuid::from_u128(id.into()), public_key: vec![id; 91], name: "laptop".into(), browser: None };
            store.pair_device(&[number; 32], &device, NOW).await.unwrap()
        };
        let granted = async |id: u8| store.device(Uuid::from_u128(id.into())).await.unwrap().unwrap().grant.connections;
        let session = |id: u8, connection: &str| NewAgentSession {
            id_hash: [id; 32],
            connection: connection.into(),
            record: "{}".into(),
            created_at: NOW,
            keep_until: NOW + 1_000,
        };
        store.save_connection(&stored("a"), false).await.unwrap();
        store.replace_connection(&stored(quoted), false).await.unwrap();
        store.add_pairing_code(&code(1, &["a", quoted])).await.unwrap();
        store.add_pairing_code(&code(2, &["a"])).await.unwrap();
        assert!(matches!(pair(1, 1).await, Pairing::Paired(_)));
        assert!(matches!(pair(2, 2).await, Pairing::Paired(_)));
        store.open_agent_sessions(&[session(1, "a"), session(2, quoted)]).await.unwrap();

        // A name that only begins like another's changes nothing of it.
        assert!(!store.delete_connection("b").await.unwrap());
        assert_eq!(granted(1).await, ["a", quoted]);
        assert!(store.delete_connection("a").await.unwrap());
        assert_eq!((granted(1).await, granted(2).await), (vec![quoted.to_owned()], vec![]));
        assert!(store.agent_session(&[1; 32]).await.unwrap().is_none());
        assert!(store.agent_session(&[2; 32]).await.unwrap().is_some());
        assert_eq!(store.open_agent_sessions(&[session(1, "a")]).await.unwrap(), [false], "its token stays used");
        assert_eq!(pair(2, 3).await, Pairing::UnknownCode);
        let Pairing::Paired(late) = pair(1, 4).await else { panic!("not paired") };
        assert_eq!(late.grant.connections, [quoted]);

        let replaced = StoredConnection { settings: vec![2], updated_at: NOW + 1, ..stored(quoted) };
        store.replace_connection(&replaced, true).await.unwrap();
        assert_eq!(store.connections().await.unwrap(), [replaced]);
        assert!(granted(1).await.is_empty() && granted(4).await.is_empty());
        assert!(store.agent_session(&[2; 32]).await.unwrap().is_none());
        assert!(store.list_pairing_codes(10).await.unwrap().is_empty());

        // By address, in any spelling; an agent without a name is called by it.
        store.add_pairing_code(&code(3, &["a"])).await.unwrap();
        store.add_pairing_code(&code(4, &["a"])).await.unwrap();
        let email = DevicesOf::Email("anna@EXAMPLE.com".into());
        assert_eq!(store.revoke_devices_of(&email, NOW).await.unwrap(), Revoked { devices: 3, codes: 2 });
        assert_eq!(store.withdraw_pairing_code(CodeId([3; 8]), NOW).await.unwrap(), Withdrawal::EndedBefore);
        store.add_pairing_code(&code(5, &["a"])).await.unwrap();
        let agent = DevicesOf::Agent("anna@example.com".into());
        assert_eq!(store.revoke_devices_of(&agent, NOW).await.unwrap(), Revoked { devices: 0, codes: 1 });
        store.add_pairing_code(&code(6, &["a"])).await.unwrap();
        assert!(matches!(pair(6, 6).await, Pairing::Paired(_)));
        assert_eq!(store.revoke_devices_of(&DevicesOf::Code(CodeId([6; 8])), NOW).await.unwrap(), Revoked { devices: 1, codes: 1 });
    })
    .await;
}

#[tokio::test]
async fn a_newer_schema_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}", folder.path().join("newer.db").display());
    drop(open(&url).await.unwrap());
    let pool = sqlx::SqlitePool::connect(&url).await.unwrap();
    sqlx::query(
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) VALUES (9999, 'later', true, x'00', 0)",
    )
    .execute(&pool)
    .await
    .unwrap();
    pool.close().await;
    match open(&url).await {
        Err(StoreError::Newer { found: 9999, .. }) => {}
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("opened"),
    }
}

/// The queue's rules once more, as plain code: what the databases must agree with.
mod model {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    const LEASE_MS: i64 = 15_000;
    const WORKERS: usize = 3;

    #[derive(Clone, Debug)]
    enum Step {
        Add { session: u8, kind: u8, ticket: Option<u8> },
        Claim { worker: usize, limit: i64 },
        Finish { worker: usize, outcome: u8 },
        Renew { worker: usize },
        Crash { worker: usize },
        Release { worker: usize },
        Wait { ms: i64 },
    }

    fn step() -> impl Strategy<Value = Step> {
        let worker = 0..WORKERS;
        prop_oneof![
            4 => (0..4u8, 0..4u8, proptest::option::of(0..2u8)).prop_map(|(session, kind, ticket)| Step::Add { session, kind, ticket }),
            5 => (worker.clone(), 1..4i64).prop_map(|(worker, limit)| Step::Claim { worker, limit }),
            5 => (worker.clone(), 0..4u8).prop_map(|(worker, outcome)| Step::Finish { worker, outcome }),
            1 => worker.clone().prop_map(|worker| Step::Renew { worker }),
            1 => worker.clone().prop_map(|worker| Step::Crash { worker }),
            1 => worker.prop_map(|worker| Step::Release { worker }),
            3 => (1..20_000i64).prop_map(|ms| Step::Wait { ms }),
        ]
    }

    #[derive(Clone, Debug)]
    struct Row {
        event: NewEvent,
        leased_by: Option<(usize, i64)>,
        ended: bool,
        attempts: i32,
        epoch: i64,
        not_before: i64,
    }

    #[derive(Default)]
    struct Model {
        rows: Vec<Row>,
    }

    impl Model {
        fn claim(&mut self, worker: usize, now: i64, limit: i64) -> Vec<(Uuid, i32, i64)> {
            let open: Vec<(NewEvent, bool, i64)> = self
                .rows
                .iter()
                .filter(|row| !row.ended)
                .map(|row| (row.event.clone(), row.leased_by.is_some_and(|(_, until)| until >= now), row.not_before))
                .collect();
            let waits = |event: &NewEvent| {
                open.iter().any(|(other, worked_at, not_before)| {
                    let before = (other.kind.rank(), other.id) < (event.kind.rank(), event.id);
                    let is_far = other.kind.rank() == 0 && event.kind.rank() > 0 && !*worked_at && *not_before > now + 5_000;
                    let same_session = other.lsid == event.lsid && other.id != event.id && (before || *worked_at) && !is_far;
                    let ends = other.kind == EventName::SessionEnd && event.kind == EventName::SessionEnd;
                    let same_ticket =
                        ends && event.ticket.is_some() && other.ticket == event.ticket && other.lsid != event.lsid && other.id < event.id;
                    same_session || same_ticket
                })
            };
            let mut due: Vec<usize> = (0..self.rows.len())
                .filter(|index| {
                    let row = &self.rows[*index];
                    !row.ended && row.not_before <= now && row.leased_by.is_none_or(|(_, until)| until < now) && !waits(&row.event)
                })
                .collect();
            due.sort_by_key(|index| (self.rows[*index].not_before, self.rows[*index].event.id));
            due.truncate(usize::try_from(limit).unwrap());
            for &index in &due {
                let row = &mut self.rows[index];
                row.leased_by = Some((worker, now + LEASE_MS));
                row.attempts += 1;
                row.epoch += 1;
            }
            let mut claimed: Vec<_> =
                due.iter().map(|index| &self.rows[*index]).map(|row| (row.event.id, row.attempts, row.epoch)).collect();
            claimed.sort_unstable();
            claimed
        }

        fn holder(&mut self, event: &LeasedEvent) -> Option<&mut Row> {
            self.rows.iter_mut().find(|row| row.event.id == event.id && row.epoch == event.epoch && row.leased_by.is_some() && !row.ended)
        }
    }

    async fn agree(store: Arc<dyn Store>, steps: Vec<Step>) {
        let mut model = Model::default();
        let mut held: HashMap<usize, Vec<LeasedEvent>> = HashMap::new();
        let mut now = NOW;
        let owner = |worker: usize| Uuid::from_u128(u128::try_from(worker).unwrap() + 1);
        for (number, step) in steps.into_iter().enumerate() {
            match step {
                Step::Add { session, kind, ticket } => {
                    let kind = [EventName::Progress, EventName::SessionEnd, EventName::CustomerSurvey, EventName::RepresentativeSurvey]
                        [usize::from(kind)];
                    let mut event = event("a", &format!("s{session}"), kind, i64::try_from(number).unwrap());
                    event.ticket = ticket.map(|ticket| ticket.to_string());
                    event.received_at = now;
                    store.add_events(std::slice::from_ref(&event)).await.unwrap();
                    model.rows.push(Row { event, leased_by: None, ended: false, attempts: 0, epoch: 0, not_before: now });
                }
                Step::Claim { worker, limit } => {
                    let claimed = store.claim_events("a", owner(worker), now, now + LEASE_MS, limit).await.unwrap();
                    let seen: Vec<_> = claimed.iter().map(|event| (event.id, event.attempts, event.epoch)).collect();
                    assert_eq!(seen, model.claim(worker, now, limit), "step {number}");
                    held.entry(worker).or_default().extend(claimed);
                }
                Step::Finish { worker, outcome } => {
                    let Some(event) = held.get_mut(&worker).and_then(Vec::pop) else { continue };
                    let outcome = match outcome {
                        0 => Outcome::Done("done".into()),
                        1 => Outcome::Dead("dead".into()),
                        other => Outcome::Retry { not_before: now + 2_000, reason: "later".into(), counts: other == 2 },
                    };
                    let written = store.finish_event(&event, &outcome, now).await.unwrap();
                    let row = model.holder(&event);
                    assert_eq!(written, row.is_some(), "step {number}");
                    if let Some(row) = row {
                        row.leased_by = None;
                        match outcome {
                            Outcome::Retry { not_before, counts, .. } => {
                                row.not_before = not_before;
                                row.attempts -= i32::from(!counts);
                            }
                            _ => row.ended = true,
                        }
                    }
                }
                Step::Renew { worker } => {
                    let Some(event) = held.get(&worker).and_then(|events| events.last()) else { continue };
                    let renewed = store.renew_lease(event, now + LEASE_MS).await.unwrap();
                    let row = model.holder(event);
                    assert_eq!(renewed, row.is_some(), "step {number}");
                    if let Some(row) = row {
                        row.leased_by = Some((worker, now + LEASE_MS));
                    }
                }
                // It forgets what it held; its leases end by themselves.
                Step::Crash { worker } => drop(held.remove(&worker)),
                Step::Release { worker } => {
                    let released = store.release_leases(owner(worker), now).await.unwrap();
                    let mut expected = 0;
                    for row in model.rows.iter_mut().filter(|row| !row.ended && row.leased_by.is_some_and(|(holder, _)| holder == worker)) {
                        row.leased_by = None;
                        row.attempts -= 1;
                        row.epoch += 1;
                        row.not_before = now;
                        expected += 1;
                    }
                    assert_eq!(released, expected, "step {number}");
                }
                Step::Wait { ms } => now += ms,
            }
        }
        let ended = model.rows.iter().filter(|row| row.ended).count();
        let rows = store.list_events(None, 10_000).await.unwrap();
        assert_eq!(rows.len(), model.rows.len(), "nothing is lost");
        assert_eq!(rows.iter().filter(|row| matches!(row.state.as_str(), "done" | "dead")).count(), ended);
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn any_order_of_claims_crashes_and_answers_agrees_with_the_rules(steps in proptest::collection::vec(step(), 1..80)) {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(on_both(|store| agree(store, steps.clone())));
        }
    }
}
