//! The inbox.

use super::*;

#[tokio::test]
async fn events_of_any_number_are_stored() {
    on_both(|store| async move {
        let mut stored = 0;
        for count in [1, 2, 3, 255, 257, 600] {
            let events: Vec<NewEvent> = (0..count).map(|number| event(a(), &format!("s{number}"), EventKind::SessionEnd, 0)).collect();
            assert_eq!(store.add_events(&events).await.unwrap(), count);
            stored += count;
        }
        let sizes = store.queue_sizes().await.unwrap();
        assert_eq!(sizes.iter().map(|size| size.events).sum::<i64>(), i64::try_from(stored).unwrap());
    })
    .await;
}

#[tokio::test]
async fn event_posted_twice_is_stored_once_and_leased_in_order() {
    on_both(|store| async move {
        let end = event(a(), "s1", EventKind::SessionEnd, 1);
        let survey = event(a(), "s1", EventKind::CustomerSurvey, 0);
        let other = event(a(), "s2", EventKind::SessionEnd, 2);
        let foreign = event(b(), "s1", EventKind::SessionEnd, 0);
        assert_eq!(store.add_events(&[end.clone(), survey.clone(), other.clone(), foreign]).await.unwrap(), 4);
        let again = NewEvent { id: Uuid::from_u128(5), ..end.clone() };
        assert_eq!(store.add_events(&[again]).await.unwrap(), 0, "the same event posted twice is one");
        let due = NOW + 10_000;
        let leased = claim(&store, due).await;
        assert_eq!(leased.iter().map(|event| event.id).collect::<Vec<_>>(), [end.id, other.id], "the survey waits for its session's end");
        assert!(claim(&store, due).await.is_empty(), "leased ones are not leased again");
        assert!(finish(&store, &leased[0], &Outcome::Done("written".into()), due).await);
        let leased = claim(&store, due).await;
        assert_eq!(leased.iter().map(|event| event.id).collect::<Vec<_>>(), [survey.id]);
        assert_eq!(list(&store, Some("done")).await[0].outcome.as_deref(), Some("written"));
        assert_eq!(list(&store, None).await.len(), 4);
    })
    .await;
}

#[tokio::test]
async fn event_with_a_lost_lease_is_not_written() {
    on_both(|store| async move {
        store.add_events(&[event(a(), "s1", EventKind::SessionEnd, 0)]).await.unwrap();
        let first = claim(&store, NOW).await.remove(0);
        assert_eq!((first.attempts, first.epoch), (1, 1));
        assert!(store.renew_lease(&first, NOW + 20_000).await.unwrap());
        assert!(claim(&store, NOW + 16_000).await.is_empty(), "renewed");
        let second = claim(&store, NOW + 20_001).await.remove(0);
        assert_eq!((second.attempts, second.epoch), (2, 2), "the attempt was counted when it began");
        assert!(!store.renew_lease(&first, NOW + 90_000).await.unwrap());
        assert!(!finish(&store, &first, &Outcome::Dead("late".into()), NOW).await);
        assert_eq!(store.event(second.id).await.unwrap().unwrap().state, "leased");
        assert!(finish(&store, &second, &Outcome::Done("now".into()), NOW).await);
    })
    .await;
}

#[tokio::test]
async fn retry_waits_and_counts_only_when_it_should() {
    on_both(|store| async move {
        store.add_events(&[event(a(), "s1", EventKind::SessionEnd, 0)]).await.unwrap();
        let leased = claim(&store, NOW).await.remove(0);
        let retry = |counts| Outcome::Retry { not_before: NOW + 5_000, reason: "later".into(), counts };
        assert!(finish(&store, &leased, &retry(false), NOW).await);
        assert_eq!(store.next_due(NOW).await.unwrap(), Some(NOW + 5_000));
        assert_eq!(store.next_due(NOW + 5_000).await.unwrap(), None, "what is due already is not what comes next");
        assert!(claim(&store, NOW + 4_999).await.is_empty());
        let leased = claim(&store, NOW + 5_000).await.remove(0);
        assert_eq!(leased.attempts, 1, "the first attempt did not count");
        assert!(finish(&store, &leased, &retry(true), NOW).await);
        let leased = claim(&store, NOW + 5_000).await.remove(0);
        assert_eq!(leased.attempts, 2);
        assert!(finish(&store, &leased, &Outcome::Dead("gave up".into()), NOW).await);
        assert_eq!(store.next_due(0).await.unwrap(), None);
        assert!(store.retry_event(leased.id, NOW).await.unwrap());
        assert!(!store.retry_event(leased.id, NOW).await.unwrap(), "it is due already");
        assert_eq!(claim(&store, NOW).await[0].attempts, 1, "a person's retry counts anew");
    })
    .await;
}

#[tokio::test]
async fn join_that_waits_long_holds_up_nothing() {
    on_both(|store| async move {
        store.add_events(&[event(a(), "s1", EventKind::SomeoneJoins, 0)]).await.unwrap();
        let joins = claim(&store, NOW).await.remove(0);
        store.add_events(&[event(a(), "s1", EventKind::SessionEnd, 0)]).await.unwrap();
        assert!(claim(&store, NOW).await.is_empty(), "it is worked at");
        let retry = |not_before| Outcome::Retry { not_before, reason: "HTTP 502".into(), counts: true };
        assert!(finish(&store, &joins, &retry(NOW + 4_000), NOW).await);
        assert!(claim(&store, NOW).await.is_empty(), "it is tried again in a moment");
        let joins = claim(&store, NOW + 4_000).await.remove(0);
        assert!(finish(&store, &joins, &retry(NOW + 600_000), NOW).await);
        assert_eq!(claim(&store, NOW + 4_000).await[0].kind, EventKind::SessionEnd);
    })
    .await;
}

#[tokio::test]
async fn attempts_are_kept_as_long_as_their_event() {
    on_both(|store| async move {
        store.add_events(&[event(a(), "s1", EventKind::SessionEnd, 0)]).await.unwrap();
        for attempt in 0..25 {
            let leased = claim(&store, NOW + attempt).await.remove(0);
            let retry = Outcome::Retry { not_before: NOW + attempt + 1, reason: format!("HTTP 502, {attempt}"), counts: true };
            assert!(finish(&store, &leased, &retry, NOW + attempt + 500).await);
        }
        let leased = claim(&store, NOW + 40_000).await.remove(0);
        let lost = LeasedEvent { epoch: leased.epoch - 1, ..leased.clone() };
        assert!(!finish(&store, &lost, &Outcome::Done("late".into()), NOW).await);
        assert!(finish(&store, &leased, &Outcome::Done("written".into()), NOW + 40_100).await);
        let attempts = store.attempts(leased.id).await.unwrap();
        let last =
            AttemptRow { leased_at: NOW + 40_000, ended_at: NOW + 40_100, result: "done".into(), message: "written".into(), next_at: None };
        assert_eq!(attempts.last(), Some(&last));
        let (first, kept) = (&attempts[0], attempts.len());
        assert_eq!((kept, first.message.as_str(), first.next_at), (20, "HTTP 502, 6", Some(NOW + 7)), "the newest are kept");
        assert_eq!(store.purge_events(NOW + 50_000, 10).await.unwrap(), 1);
        assert!(store.attempts(leased.id).await.unwrap().is_empty());
    })
    .await;
}

#[tokio::test]
async fn leases_of_a_server_that_stops_are_given_back() {
    on_both(|store| async move {
        store.add_events(&[event(a(), "s1", EventKind::SessionEnd, 0)]).await.unwrap();
        let leased = claim(&store, NOW).await.remove(0);
        assert_eq!(store.release_leases(Uuid::from_u128(2), NOW).await.unwrap(), 0, "another's are left alone");
        assert_eq!(store.release_leases(Uuid::from_u128(1), NOW).await.unwrap(), 1);
        assert!(!finish(&store, &leased, &Outcome::Done("late".into()), NOW).await);
        assert_eq!(claim(&store, NOW).await[0].attempts, 1);
    })
    .await;
}

#[tokio::test]
async fn slots_with_work_are_those_with_an_event_that_can_be_leased() {
    on_both(|store| async move {
        let slots = async |now| {
            let mut slots = store.slots_with_work(now).await.unwrap();
            slots.sort_by(|one, other| one.slot.cmp(&other.slot));
            slots
        };
        let of = |connection: ConnectionId| SlotWork { slot: connection.to_string(), connection: Some(connection) };
        let shared = SlotWork { slot: SHARED.into(), connection: None };
        assert!(slots(NOW).await.is_empty());
        let events = [
            event(a(), "s1", EventKind::SessionEnd, 0),
            event(a(), "s2", EventKind::SessionEnd, 0),
            event(b(), "s3", EventKind::SessionEnd, 5),
            unowned("s4", EventKind::SessionEnd, 0),
        ];
        store.add_events(&events).await.unwrap();
        assert!(slots(NOW - 1).await.is_empty(), "nothing is due");
        assert_eq!(slots(NOW).await, [of(a()), shared.clone()]);
        assert_eq!(slots(NOW + 5_000).await, [of(a()), of(b()), shared.clone()]);

        let leased = claim(&store, NOW).await;
        assert_eq!(leased.len(), 2);
        assert_eq!(slots(NOW).await, std::slice::from_ref(&shared), "all of the first connection's are leased");
        assert_eq!(slots(NOW + 15_000).await, [of(b()), shared.clone()]);
        assert_eq!(slots(NOW + 15_001).await, [of(a()), of(b()), shared.clone()], "the leases have ended");

        let retry = Outcome::Retry { not_before: NOW + 100, reason: "later".into(), counts: true };
        assert!(finish(&store, &leased[0], &retry, NOW).await);
        assert!(finish(&store, &leased[1], &Outcome::Dead("no".into()), NOW).await);
        assert_eq!(slots(NOW + 99).await, std::slice::from_ref(&shared));
        assert_eq!(slots(NOW + 100).await, [of(a()), shared]);
    })
    .await;
}

#[tokio::test]
async fn session_of_a_shared_account_is_worked_at_in_one_slot_at_a_time() {
    on_both(|store| async move {
        let in_account = unowned("s1", EventKind::SessionEnd, 0);
        let survey = NewEvent { connection: Some(a()), ..unowned("s1", EventKind::CustomerSurvey, 0) };
        let other_connection = NewEvent { connection: Some(b()), ..unowned("s2", EventKind::SessionEnd, 0) };
        store.add_events(&[in_account.clone(), survey.clone(), other_connection.clone()]).await.unwrap();
        assert!(claim(&store, NOW).await.is_empty(), "the survey waits for its session's end in the other slot");
        assert_eq!(claim_in(&store, &b().to_string(), NOW).await[0].id, other_connection.id);
        let end = claim_in(&store, SHARED, NOW).await.remove(0);
        assert_eq!((end.id, end.connection, end.account.as_str()), (in_account.id, None, SHARED));
        assert!(finish(&store, &end, &Outcome::Undecided("a or b".into()), NOW).await);
        assert_eq!(claim(&store, NOW).await[0].id, survey.id);
    })
    .await;
}

#[tokio::test]
async fn event_that_belongs_to_a_connection_goes_on_in_its_slot() {
    on_both(|store| async move {
        let new = NewEvent { ticket: Some("1".into()), ..unowned("s1", EventKind::SessionEnd, 0) };
        store.add_events(std::slice::from_ref(&new)).await.unwrap();
        let leased = claim_in(&store, SHARED, NOW).await.remove(0);
        assert_eq!(leased.attempts, 1);
        let belongs = Outcome::Belongs { connection: b(), reason: "by its key".into() };
        assert!(finish(&store, &leased, &belongs, NOW + 7).await);
        assert!(claim_in(&store, SHARED, NOW + 7).await.is_empty());
        let work = store.slots_with_work(NOW + 7).await.unwrap();
        assert_eq!(work, [SlotWork { slot: b().to_string(), connection: Some(b()) }]);
        let leased = claim_in(&store, &b().to_string(), NOW + 7).await.remove(0);
        assert_eq!((leased.id, leased.connection, leased.account.as_str()), (new.id, Some(b()), SHARED));
        assert_eq!((leased.attempts, leased.ticket.as_deref()), (1, Some("1")), "a fresh count; the ticket is kept");
        let attempts = store.attempts(new.id).await.unwrap();
        let expected = AttemptRow {
            leased_at: NOW,
            ended_at: NOW + 7,
            result: "assigned".into(),
            message: "by its key".into(),
            next_at: Some(NOW + 7),
        };
        assert_eq!(attempts, [expected]);
        assert_eq!(store.add_events(&[NewEvent { id: Uuid::from_u128(5), ..new }]).await.unwrap(), 0, "still the account's event");
    })
    .await;
}

#[tokio::test]
async fn undecided_events_wait_for_a_person_and_go_to_the_connection_they_choose() {
    on_both(|store| async move {
        let (end, survey) = (unowned("s1", EventKind::SessionEnd, 0), unowned("s1", EventKind::CustomerSurvey, 0));
        let other = unowned("s2", EventKind::SessionEnd, 0);
        let foreign = NewEvent { account: "other/client".into(), ..unowned("s1", EventKind::SessionEnd, 0) };
        store.add_events(&[end.clone(), survey.clone(), other.clone(), foreign.clone()]).await.unwrap();
        let undecided = Outcome::Undecided("a or b".into());
        for slot in [SHARED, SHARED, "other/client"] {
            for leased in claim_in(&store, slot, NOW).await {
                assert!(finish(&store, &leased, &undecided, NOW).await);
            }
        }
        let waiting = list(&store, Some("undecided")).await;
        assert_eq!(waiting.len(), 4);
        assert!(waiting.iter().all(|row| row.connection.is_none() && row.outcome.as_deref() == Some("a or b")));
        assert_eq!(store.attempts(end.id).await.unwrap()[0].result, "undecided");
        assert!(store.slots_with_work(NOW + 90_000).await.unwrap().is_empty());
        assert_eq!(store.next_due(0).await.unwrap(), None);
        assert_eq!(store.purge_events(NOW + 90_000, 10).await.unwrap(), 0, "it stays until somebody decides");
        let sizes = store.queue_sizes().await.unwrap();
        assert_eq!(sizes, [QueueSize { connection: None, state: "undecided".into(), events: 4, oldest_received_at: NOW }]);

        assert_eq!(store.assign_events(SHARED, "s1", b(), NOW + 5).await.unwrap(), 2, "all of the session, of that account");
        assert_eq!(store.assign_events(SHARED, "s1", a(), NOW + 5).await.unwrap(), 0, "they are decided");
        let row = store.event(end.id).await.unwrap().unwrap();
        assert_eq!((row.connection, row.state.as_str(), row.attempts, row.not_before), (Some(b()), "ready", 0, NOW + 5));
        let leased = claim_in(&store, &b().to_string(), NOW + 5).await;
        assert_eq!(leased.iter().map(|event| (event.id, event.attempts)).collect::<Vec<_>>(), [(end.id, 1)], "the survey after it");

        assert!(store.retry_event(other.id, NOW + 6).await.unwrap(), "ask again");
        assert_eq!(claim_in(&store, SHARED, NOW + 6).await[0].id, other.id, "in the slot it was in");
    })
    .await;
}

#[tokio::test]
async fn finished_event_stores_confirmations_and_record_together() {
    on_both(|store| async move {
        store.add_events(&[event(a(), "s1", EventKind::SessionEnd, 0)]).await.unwrap();
        let leased = claim(&store, NOW).await.remove(0);
        store.save_session(&known_session(a(), "s1", "1"), NOW).await.unwrap();
        let key = |kind: &str| DeliveryKey { tenant: main(), connection: a(), lsid: "s1".into(), kind: kind.into(), part: 0 };
        let report = key("report");
        let send = SendTicket { key: &report, ticket: "1", marker: "m", sends: 0, now: NOW, settled_at: NOW + 20_000 };
        assert!(store.mark_sent(&leased, &send).await.unwrap());
        let state = async |kind: &str| {
            let deliveries = store.deliveries(a(), "s1").await.unwrap();
            let found = deliveries.into_iter().find(|delivery| delivery.key == key(kind));
            found.map(|delivery| (delivery.ticket, delivery.marker, delivery.state, delivery.remote_id))
        };
        let recorded = async || store.sessions_of_ticket(a(), "1").await.unwrap()[0].recorded_at;

        let lost = LeasedEvent { epoch: leased.epoch - 1, ..leased.clone() };
        let late = [(key("time"), "8".to_owned())];
        assert!(!store.finish_event(&lost, &Outcome::Done("late".into()), &late, true, NOW + 1).await.unwrap());
        assert_eq!(state("time").await.unwrap().3.as_deref(), Some("8"), "it stands, whoever has the event");
        assert_eq!((recorded().await, store.event(leased.id).await.unwrap().unwrap().state.as_str()), (None, "leased"));

        let written = [(report.clone(), "7".to_owned())];
        assert!(store.finish_event(&leased, &Outcome::Done("written".into()), &written, true, NOW + 2).await.unwrap());
        assert_eq!(state("report").await, Some(("1".into(), "m".into(), DeliveryState::Confirmed, Some("7".into()))));
        assert_eq!(recorded().await, Some(NOW + 2));
    })
    .await;
}

#[tokio::test]
async fn turn_of_a_ticket_goes_to_the_session_that_ended_first() {
    on_both(|store| async move {
        let (first, second) = (event(a(), "s1", EventKind::SessionEnd, 0), event(a(), "s2", EventKind::SessionEnd, 1));
        store.add_events(&[first.clone(), second.clone()]).await.unwrap();
        let now = NOW + 1_000;
        let leased = claim(&store, now).await;
        assert_eq!(leased.len(), 2, "nobody knows their ticket yet");
        let session = |lsid: &str| KnownSession { ended_at: Some(NOW), ..known_session(a(), lsid, "1") };
        assert!(store.begin_in_order(&leased[0], &session("s1"), now).await.unwrap());
        assert!(!store.begin_in_order(&leased[1], &session("s2"), now).await.unwrap(), "an earlier end waits");
        assert_eq!(store.sessions_of_ticket(a(), "1").await.unwrap(), [session("s1"), session("s2")], "both are known");
        assert_eq!(store.event(second.id).await.unwrap().unwrap().ticket.as_deref(), Some("1"));

        store.forget_ticket(&leased[0]).await.unwrap();
        assert_eq!(store.event(first.id).await.unwrap().unwrap().ticket, None);
        assert!(store.begin_in_order(&leased[1], &session("s2"), now).await.unwrap(), "it was of another ticket");
        assert!(store.begin_in_order(&leased[0], &session("s1"), now).await.unwrap());
        assert!(finish(&store, &leased[0], &Outcome::Done("written".into()), now).await);
        assert!(store.begin_in_order(&leased[1], &session("s2"), now).await.unwrap(), "the earlier one is done");
    })
    .await;
}

#[tokio::test]
async fn known_events_are_those_of_the_account_and_kind() {
    on_both(|store| async move {
        let polled = NewEvent { origin: Origin::Polling, connection: Some(b()), ..unowned("s2", EventKind::SessionEnd, 0) };
        let foreign = NewEvent { account: "other/client".into(), ..unowned("s4", EventKind::SessionEnd, 0) };
        let survey = unowned("s3", EventKind::CustomerSurvey, 0);
        store.add_events(&[unowned("s1", EventKind::SessionEnd, 0), polled, survey, foreign]).await.unwrap();
        let lsids: Vec<String> = (0..600).map(|number| format!("s{number}")).collect();
        let mut known = store.known_events(SHARED, EventKind::SessionEnd, &lsids).await.unwrap();
        known.sort_by(|one, other| one.lsid.cmp(&other.lsid));
        let known: Vec<_> = known.iter().map(|event| (event.lsid.as_str(), event.origin)).collect();
        assert_eq!(known, [("s1", Origin::Outbound), ("s2", Origin::Polling)]);
        assert!(store.known_events(SHARED, EventKind::SessionEnd, &[]).await.unwrap().is_empty());
    })
    .await;
}

#[tokio::test]
async fn events_listed_by_filter_are_the_newest_that_match() {
    on_both(|store| async move {
        store.save_connection(&stored_connection(a(), "Zendesk production")).await.unwrap();
        let events = [
            event(a(), "s1", EventKind::SessionEnd, 0),
            event(b(), "s1", EventKind::SessionEnd, 1),
            event(a(), "s2", EventKind::CustomerSurvey, 2),
            unowned("s3", EventKind::SessionEnd, 3),
        ];
        store.add_events(&events).await.unwrap();
        let listed = async |filter: EventFilter, limit| {
            let rows = store.list_events(&filter, limit).await.unwrap();
            rows.into_iter().map(|row| (row.lsid, row.connection_name)).collect::<Vec<_>>()
        };
        let row = |lsid: &str, name: Option<&str>| (lsid.to_owned(), name.map(str::to_owned));
        let production = Some("Zendesk production");
        assert_eq!(
            listed(EventFilter::default(), 10).await,
            [row("s3", None), row("s2", production), row("s1", None), row("s1", production)]
        );
        assert_eq!(listed(EventFilter::default(), 1).await, [row("s3", None)]);
        let of_a = EventFilter { connection: Some(a()), ..EventFilter::default() };
        assert_eq!(listed(of_a.clone(), 10).await, [row("s2", production), row("s1", production)]);
        let of_session = EventFilter { lsid: Some("s1".into()), ..EventFilter::default() };
        assert_eq!(listed(of_session, 10).await, [row("s1", None), row("s1", production)]);
        let of_both = EventFilter { lsid: Some("s1".into()), state: Some("ready".into()), ..of_a.clone() };
        assert_eq!(listed(of_both, 10).await, [row("s1", production)]);
        assert!(listed(EventFilter { state: Some("done".into()), ..of_a }, 10).await.is_empty());
        let one = store.event(events[2].id).await.unwrap().unwrap();
        let expected = EventRow {
            id: events[2].id,
            account: account_of(a()),
            connection: Some(a()),
            connection_name: production.map(str::to_owned),
            kind: "customer_survey".into(),
            lsid: "s2".into(),
            ticket: None,
            origin: "outbound".into(),
            state: "ready".into(),
            attempts: 0,
            received_at: NOW + 2_000,
            not_before: NOW + 2_000,
            outcome: None,
        };
        assert_eq!(one, expected);
        assert_eq!(store.event(Uuid::from_u128(9)).await.unwrap(), None);
    })
    .await;
}

#[tokio::test]
async fn event_purge_goes_in_steps_and_leaves_what_is_not_done() {
    on_both(|store| async move {
        let events: Vec<_> = (0..6).map(|number| event(a(), &format!("s{number}"), EventKind::SessionEnd, 0)).collect();
        store.add_events(&events).await.unwrap();
        let mut leased = claim(&store, NOW).await;
        leased.sort_by(|one, other| one.lsid.cmp(&other.lsid));
        for (number, one) in (0..).zip(&leased) {
            let outcome = if number == 5 { Outcome::Dead("no".into()) } else { Outcome::Done("written".into()) };
            assert!(finish(&store, one, &outcome, NOW + number).await);
        }
        assert_eq!(store.purge_events(NOW, 10).await.unwrap(), 0);
        assert_eq!(store.purge_events(NOW + 4, 3).await.unwrap(), 3);
        assert!(store.attempts(leased[0].id).await.unwrap().is_empty() && !store.attempts(leased[3].id).await.unwrap().is_empty());
        assert_eq!(store.purge_events(NOW + 4, 3).await.unwrap(), 1);
        assert_eq!(store.purge_events(NOW + 4, 3).await.unwrap(), 0);
        let mut left: Vec<_> = list(&store, None).await.into_iter().map(|row| row.state).collect();
        left.sort_unstable();
        assert_eq!(left, ["dead", "done"]);
    })
    .await;
}
