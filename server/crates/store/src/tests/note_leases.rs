//! Leases of tickets, for notes that pages write.

use super::*;

fn wish<'a>(tenant: &'a TenantId, ticket: &'a str, holder: &'a str, until: i64) -> NoteLease<'a> {
    NoteLease { tenant, connection: a(), ticket, lease: holder, holder, agent: holder, until }
}

#[tokio::test]
async fn one_browser_at_a_time_may_add_a_note_to_a_ticket() {
    on_both(|store| async move {
        let tenant = main();
        let take = async |ticket, holder, until, now| store.take_note_lease(wish(&tenant, ticket, holder, until), now).await.unwrap();
        let held = |agent: &str, until| Some(NoteLeaseHolder { agent: agent.into(), until });
        assert_eq!(take("1", "anna", NOW + 100, NOW).await, None);
        assert_eq!(take("1", "bert", NOW + 150, NOW + 50).await, held("anna", NOW + 100));
        assert_eq!(take("2", "bert", NOW + 150, NOW + 50).await, None, "another ticket");
        let other = NoteLease { connection: b(), ..wish(&tenant, "1", "bert", NOW + 150) };
        assert_eq!(store.take_note_lease(other, NOW + 50).await.unwrap(), None, "another connection's ticket");
        assert_eq!(take("1", "anna", NOW + 200, NOW + 60).await, None, "the same browser goes on");
        assert_eq!(take("1", "bert", NOW + 300, NOW + 199).await, held("anna", NOW + 200));
        assert_eq!(take("1", "bert", NOW + 300, NOW + 200).await, None, "it has run out");
        store.release_note_lease(a(), "1", "anna").await.unwrap();
        assert_eq!(take("1", "anna", NOW + 300, NOW + 210).await, held("bert", NOW + 300), "it was not hers to give back");
        store.release_note_lease(a(), "1", "bert").await.unwrap();
        assert_eq!(take("1", "anna", NOW + 400, NOW + 211).await, None);
        // The same browser once more, in another tab: what the first tab says of its lease does not end the second's.
        let again = NoteLease { lease: "anna's second", ..wish(&tenant, "1", "anna", NOW + 400) };
        assert_eq!(store.take_note_lease(again, NOW + 212).await.unwrap(), None);
        store.release_note_lease(a(), "1", "anna").await.unwrap();
        assert_eq!(take("1", "bert", NOW + 500, NOW + 213).await, held("anna", NOW + 400));
        assert_eq!(store.purge_note_leases(NOW + 160, 10).await.unwrap(), 2);
        assert_eq!(take("1", "bert", NOW + 500, NOW + 220).await, held("anna", NOW + 400));
    })
    .await;
}

#[tokio::test]
async fn of_many_at_the_same_moment_one_gets_the_ticket() {
    on_both(|store| async move {
        let mut wishes = tokio::task::JoinSet::new();
        for number in 0..8 {
            let store = store.clone();
            wishes.spawn(
                async move { store.take_note_lease(wish(&main(), "1", &format!("browser {number}"), NOW + 100), NOW).await.unwrap() },
            );
        }
        assert_eq!(wishes.join_all().await.into_iter().filter(Option::is_none).count(), 1);
    })
    .await;
}
