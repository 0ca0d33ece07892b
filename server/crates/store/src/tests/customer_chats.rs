//! Chats of customers, how often they are started, and the epoch of values in ticket fields.

use super::*;

fn chat<'a>(tenant: &'a TenantId, customer: &'a str, id: &'a str, expires_at: i64) -> NewCustomerChat<'a> {
    NewCustomerChat {
        tenant,
        connection: a(),
        ticket: "88121",
        customer,
        issue: "vpn",
        id,
        name: Some("Zoë"),
        company: None,
        expires_at,
        opened_at: None,
    }
}

#[tokio::test]
async fn pressing_again_gets_the_same_chat_until_it_cannot_be_opened() {
    on_both(|store| async move {
        let tenant = main();
        let start = async |new: NewCustomerChat<'_>, instead_of, now| store.start_customer_chat(&new, instead_of, now).await.unwrap().id;
        let first = chat(&tenant, "user:1", "one", NOW + 100);
        assert_eq!(store.customer_chat_of(&first, NOW).await.unwrap(), None);
        let started = store.start_customer_chat(&first, None, NOW).await.unwrap();
        assert_eq!(
            (started.id.as_str(), started.name.as_deref(), started.company, started.opened_at, started.expires_at),
            ("one", Some("Zoë"), None, None, NOW + 100)
        );
        let again = chat(&tenant, "user:1", "two", NOW + 200);
        assert_eq!(start(again, None, NOW + 50).await, "one");
        assert_eq!(store.customer_chat_of(&again, NOW + 99).await.unwrap().map(|chat| chat.id), Some("one".into()));
        assert_eq!(store.customer_chat_of(&again, NOW + 100).await.unwrap(), None);
        assert_eq!(start(again, Some("another"), NOW + 50).await, "one", "only in place of the one that is there");
        for (other, id) in [
            (NewCustomerChat { issue: "mail", ..chat(&tenant, "user:1", "issue", NOW + 100) }, "issue"),
            (NewCustomerChat { ticket: "88122", ..chat(&tenant, "user:1", "ticket", NOW + 100) }, "ticket"),
            (NewCustomerChat { connection: b(), ..chat(&tenant, "user:1", "connection", NOW + 100) }, "connection"),
            (chat(&tenant, "user:2", "customer", NOW + 100), "customer"),
        ] {
            assert_eq!(start(other, None, NOW).await, id);
        }
        assert!(store.open_customer_chat("one", false, NOW + 60).await.unwrap());
        assert!(!store.open_customer_chat("one", false, NOW + 61).await.unwrap(), "it was opened before");
        assert_eq!(store.customer_chat("one").await.unwrap().unwrap().opened_at, Some(NOW + 60));
        assert!(store.open_customer_chat("one", true, NOW + 62).await.unwrap(), "once more");
        assert!(!store.open_customer_chat("none", true, NOW + 61).await.unwrap());
        assert_eq!(store.customer_chat_opened_at(a(), "88121").await.unwrap(), Some(NOW + 62));
        assert_eq!(store.customer_chat_opened_at(b(), "88121").await.unwrap(), None);
        assert_eq!(start(again, Some("one"), NOW + 70).await, "two");
        assert_eq!(store.customer_chat("one").await.unwrap(), None);
        assert_eq!(store.customer_chat("two").await.unwrap().unwrap().opened_at, None);
        let going_on = NewCustomerChat { opened_at: Some(NOW + 62), ..chat(&tenant, "user:3", "going on", NOW + 100) };
        assert_eq!(store.start_customer_chat(&going_on, None, NOW).await.unwrap().opened_at, Some(NOW + 62));
        assert!(!store.open_customer_chat("going on", false, NOW + 70).await.unwrap());
        assert_eq!(start(chat(&tenant, "user:1", "three", NOW + 300), None, NOW + 200).await, "three", "the one before has ended");
        assert_eq!(store.purge_customer_chats(NOW + 101, 10).await.unwrap(), 5);
        assert!(store.customer_chat("three").await.unwrap().is_some());
    })
    .await;
}

#[tokio::test]
async fn of_many_presses_at_the_same_moment_all_get_one_chat() {
    on_both(|store| async move {
        let mut presses = tokio::task::JoinSet::new();
        for number in 0..8 {
            let store = store.clone();
            presses.spawn(async move {
                let id = format!("chat {number}");
                store.start_customer_chat(&chat(&main(), "user:1", &id, NOW + 100), None, NOW).await.unwrap().id
            });
        }
        let mut ids = presses.join_all().await;
        ids.dedup();
        assert_eq!(ids.len(), 1, "{ids:?}");
    })
    .await;
}

#[tokio::test]
async fn uses_are_counted_for_a_span() {
    on_both(|store| async move {
        let tenant = main();
        let count = async |subject, now| store.count_use(UseLimit { tenant: &tenant, subject, most: 2, span_ms: 100 }, now).await.unwrap();
        assert_eq!(count("a", NOW).await, None);
        assert_eq!(count("a", NOW + 10).await, None);
        assert_eq!(count("a", NOW + 20).await, Some(NOW + 100), "too many");
        assert_eq!(count("b", NOW + 20).await, None, "another");
        let used_up = async |subject, now| store.used_up(UseLimit { tenant: &tenant, subject, most: 2, span_ms: 100 }, now).await.unwrap();
        assert_eq!(used_up("a", NOW + 20).await, Some(NOW + 100));
        assert_eq!(used_up("a", NOW + 100).await, None);
        assert_eq!(used_up("b", NOW + 20).await, None);
        assert_eq!(count("a", NOW + 99).await, Some(NOW + 100), "what was refused does not count");
        assert_eq!(count("a", NOW + 100).await, None, "a new span");
        assert_eq!(count("a", NOW + 110).await, None);
        assert_eq!(count("a", NOW + 120).await, Some(NOW + 200));
        assert_eq!(store.purge_use_counts(NOW + 150, 10).await.unwrap(), 1);
        assert_eq!(count("a", NOW + 150).await, Some(NOW + 200));
    })
    .await;
}

#[tokio::test]
async fn of_many_uses_at_the_same_moment_no_more_than_the_limit_pass() {
    on_both(|store| async move {
        let mut uses = tokio::task::JoinSet::new();
        for _ in 0..12 {
            let store = store.clone();
            uses.spawn(
                async move { store.count_use(UseLimit { tenant: &main(), subject: "a", most: 5, span_ms: 100 }, NOW).await.unwrap() },
            );
        }
        assert_eq!(uses.join_all().await.into_iter().filter(Option::is_none).count(), 5);
    })
    .await;
}

#[tokio::test]
async fn an_epoch_is_raised_for_one_connection() {
    on_both(|store| async move {
        assert_eq!(store.ticket_value_epoch(a()).await.unwrap(), 0);
        assert_eq!(store.raise_ticket_value_epoch(&main(), a()).await.unwrap(), 1);
        assert_eq!(store.raise_ticket_value_epoch(&main(), a()).await.unwrap(), 2);
        assert_eq!(store.ticket_value_epoch(a()).await.unwrap(), 2);
        assert_eq!(store.ticket_value_epoch(b()).await.unwrap(), 0);
    })
    .await;
}
