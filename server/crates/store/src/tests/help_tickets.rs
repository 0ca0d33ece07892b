//! Tickets of requests for help.

use super::*;

async fn begin(store: &dyn Store, request: &str, machine: &str, instead_of: Option<&str>) -> HelpTicket {
    let tenant = main();
    let new = NewHelpTicket { tenant: &tenant, connection: a(), request, machine, asked_at: NOW };
    store.begin_help_ticket(&new, instead_of).await.unwrap()
}

fn current(request: &str, ticket: Option<&str>) -> HelpTicket {
    HelpTicket { request: request.into(), ticket: ticket.map(str::to_owned), asked_at: NOW, is_under_way: false }
}

#[tokio::test]
async fn one_request_of_a_machine_is_its_current_one() {
    on_both(|store| async move {
        let store = store.as_ref();
        assert_eq!(begin(store, "1", "node//a", None).await, current("1", None));
        assert_eq!(begin(store, "2", "node//a", None).await, current("1", None), "the place is taken");
        assert_eq!(begin(store, "3", "node//b", None).await, current("3", None), "another machine");
        store.help_ticket_made(a(), "1", "88").await.unwrap();
        store.help_ticket_made(b(), "1", "99").await.unwrap();
        assert_eq!(begin(store, "2", "node//a", Some("none")).await, current("1", Some("88")), "not that one has the place");
        assert_eq!(begin(store, "2", "node//a", Some("1")).await, current("2", None));
        assert_eq!(begin(store, "4", "node//a", Some("1")).await, current("2", None), "somebody was faster");
        // What was noted of the former one stays.
        assert_eq!(store.machines_of_help(a(), "88").await.unwrap(), ["node//a"]);
        assert!(store.machines_of_help(b(), "88").await.unwrap().is_empty());
        // One that lost its place, and had no ticket, takes it back.
        assert_eq!(begin(store, "5", "node//a", Some("2")).await, current("5", None));
        assert_eq!(begin(store, "2", "node//a", Some("5")).await, current("2", None));
    })
    .await;
}

#[tokio::test]
async fn of_requests_at_once_one_gets_the_place() {
    on_both(|store| async move {
        let one = async |request| begin(store.as_ref(), request, "node//a", None).await;
        let tried = <[HelpTicket; 3]>::from(tokio::join!(one("1"), one("2"), one("3")));
        let first = tried[0].request.as_str();
        assert!(tried.iter().all(|current| current.request == first), "{tried:?}");
        let next = async |request| begin(store.as_ref(), request, "node//a", Some(first)).await;
        let tried = <[HelpTicket; 3]>::from(tokio::join!(next("4"), next("5"), next("6")));
        assert!(tried.iter().all(|current| current.request == tried[0].request && current.request != first), "{tried:?}");
    })
    .await;
}

#[tokio::test]
async fn whether_a_request_is_worked_at_is_told() {
    on_both(|store| async move {
        begin(store.as_ref(), "1", "node//a", None).await;
        let event = NewEvent { connection: Some(a()), ..event(a(), "1", EventKind::HelpRequest, 0) };
        store.add_events(std::slice::from_ref(&event)).await.unwrap();
        let is_under_way = async || begin(store.as_ref(), "2", "node//a", None).await.is_under_way;
        assert!(is_under_way().await);
        let now = NOW + 1_000;
        let leased = store.claim_events(&a().to_string(), Uuid::from_u128(1), now, now + 15_000, 1).await.unwrap().remove(0);
        assert!(is_under_way().await);
        assert!(store.finish_event(&leased, &Outcome::Dead("refused".into()), &[], false, now).await.unwrap());
        assert!(!is_under_way().await);
    })
    .await;
}

#[tokio::test]
async fn requests_are_purged_a_time_after_they_were_made() {
    on_both(|store| async move {
        begin(store.as_ref(), "1", "node//a", None).await;
        assert_eq!(store.purge_help_tickets(NOW, 10).await.unwrap(), 0);
        assert_eq!(store.purge_help_tickets(NOW + 1, 10).await.unwrap(), 1);
        assert_eq!(begin(store.as_ref(), "2", "node//a", None).await, current("2", None));
    })
    .await;
}
