//! Links to machines.

use super::*;

fn machine_link(link_id: &str, ticket: &str, machine: &str, made_at: i64) -> MachineLink {
    MachineLink {
        tenant: main(),
        connection: a(),
        link_id: link_id.into(),
        ticket: ticket.into(),
        machine: machine.into(),
        machine_name: "Büro 日本".into(),
        kind: "desktop".into(),
        agent_email: Some("anna@example.com".into()),
        agent: Some("Anna".into()),
        made_at: NOW + made_at,
        expires_at: Some(NOW + made_at + 100),
        ended_at: None,
    }
}

#[tokio::test]
async fn a_ticket_lists_the_links_that_can_still_be_used() {
    on_both(|store| async move {
        let without_end = MachineLink { expires_at: None, agent: None, ..machine_link("without end", "1", "node//b", 20) };
        for link in [
            &machine_link("first", "1", "node//a", 0),
            &machine_link("second", "1", "node//a", 10),
            &without_end,
            &machine_link("of another ticket", "2", "node//a", 0),
            &MachineLink { connection: b(), ..machine_link("first", "1", "node//a", 0) },
        ] {
            store.add_link(link).await.unwrap();
        }
        let listed = async |ticket, now| store.links_of_ticket(a(), ticket, NOW + now).await.unwrap();
        let ids = async |ticket, now| listed(ticket, now).await.into_iter().map(|link| link.link_id).collect::<Vec<_>>();
        assert_eq!(
            listed("1", 99).await,
            [without_end, machine_link("second", "1", "node//a", 10), machine_link("first", "1", "node//a", 0)]
        );
        assert_eq!(ids("2", 99).await, ["of another ticket"]);
        assert_eq!(ids("1", 100).await, ["without end", "second"], "the first has expired");
        assert!(store.end_link(a(), "second", NOW + 50).await.unwrap());
        assert!(!store.end_link(a(), "second", NOW + 60).await.unwrap(), "it was ended before");
        assert!(!store.end_link(a(), "none", NOW + 60).await.unwrap());
        assert_eq!(ids("1", 99).await, ["without end", "first"]);
        let link = async |connection, id| store.link(connection, id).await.unwrap();
        assert_eq!(link(a(), "second").await.unwrap().ended_at, Some(NOW + 50));
        assert_eq!(link(b(), "first").await.unwrap().connection, b());
        assert_eq!(link(b(), "second").await, None, "another connection's");
        assert!(store.end_link(b(), "first", NOW + 60).await.unwrap());
        assert_eq!(link(a(), "first").await.unwrap().ended_at, None, "only the other connection's was ended");
    })
    .await;
}

#[tokio::test]
async fn machines_a_ticket_used_are_listed_last_used_first() {
    on_both(|store| async move {
        for (link_id, ticket, machine, made_at) in [
            ("1", "1", "node//a", 0),
            ("2", "1", "node//b", 10),
            ("3", "1", "node//a", 20),
            ("4", "2", "node//c", 30),
            ("5", "1", "node//d", 5),
        ] {
            store.add_link(&machine_link(link_id, ticket, machine, made_at)).await.unwrap();
        }
        store.end_link(a(), "3", NOW + 21).await.unwrap();
        assert_eq!(store.last_machines(a(), "1", 10).await.unwrap(), ["node//a", "node//b", "node//d"], "ended links count too");
        assert_eq!(store.last_machines(a(), "1", 2).await.unwrap(), ["node//a", "node//b"]);
        assert!(store.last_machines(b(), "1", 10).await.unwrap().is_empty());
    })
    .await;
}

#[tokio::test]
async fn links_are_purged_a_time_after_they_were_ended_or_expired() {
    on_both(|store| async move {
        store.add_link(&machine_link("expired", "1", "node//a", 0)).await.unwrap();
        store.add_link(&machine_link("ended early", "1", "node//a", 50)).await.unwrap();
        store.end_link(a(), "ended early", NOW + 60).await.unwrap();
        store.add_link(&MachineLink { expires_at: None, ..machine_link("without end", "1", "node//b", 0) }).await.unwrap();
        assert_eq!(store.purge_links(NOW + 61, 10).await.unwrap(), 1);
        assert_eq!(store.link(a(), "ended early").await.unwrap(), None);
        assert_eq!(store.purge_links(NOW + 100, 10).await.unwrap(), 0);
        assert_eq!(store.purge_links(NOW + 1_000_000, 10).await.unwrap(), 1);
        assert!(store.link(a(), "without end").await.unwrap().is_some(), "it can still be used");
    })
    .await;
}
