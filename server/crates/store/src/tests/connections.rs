//! Connections, and what ends with them.

use super::*;

#[tokio::test]
async fn connection_saved_again_keeps_its_id_and_takes_the_rest() {
    on_both(|store| async move {
        let first = stored_connection(a(), "a");
        store.save_connection(&first).await.unwrap();
        let renamed = StoredConnection { name: "renamed".into(), settings: vec![3], disabled: true, updated_at: NOW + 1, ..first };
        store.save_connection(&renamed).await.unwrap();
        assert_eq!(store.connections().await.unwrap(), [renamed]);
        assert!(store.delete_connection(a()).await.unwrap());
        assert!(!store.delete_connection(a()).await.unwrap());
        assert!(store.connections().await.unwrap().is_empty());
    })
    .await;
}

#[tokio::test]
async fn connection_name_within_a_tenant_is_unique() {
    on_both(|store| async move {
        store.save_connection(&stored_connection(a(), "same")).await.unwrap();
        assert!(store.save_connection(&stored_connection(b(), "same")).await.is_err());
        let other_tenant = StoredConnection { tenant: TenantId::new("other"), ..stored_connection(b(), "same") };
        store.save_connection(&other_tenant).await.unwrap();
        assert_eq!(store.connections().await.unwrap(), [stored_connection(a(), "same"), other_tenant], "by tenant and name");
    })
    .await;
}

#[tokio::test]
async fn connection_stamp_after_each_change_differs() {
    on_both(|store| async move {
        let none = store.connection_stamp().await.unwrap();
        assert_eq!(none, ConnectionStamp::default());
        let first = stored_connection(a(), "a");
        store.save_connection(&first).await.unwrap();
        let added = store.connection_stamp().await.unwrap();
        assert_eq!(added, ConnectionStamp { count: 1, latest: NOW, sum: NOW });
        assert_eq!(store.connection_stamp().await.unwrap(), added, "nothing changed");

        store.save_connection(&StoredConnection { updated_at: NOW + 5, ..first.clone() }).await.unwrap();
        let saved = store.connection_stamp().await.unwrap();
        assert_eq!(saved, ConnectionStamp { count: 1, latest: NOW + 5, sum: NOW + 5 });

        store.replace_connection(&StoredConnection { updated_at: NOW + 6, ..first }).await.unwrap();
        store.save_connection(&StoredConnection { updated_at: NOW + 3, ..stored_connection(b(), "b") }).await.unwrap();
        let two = store.connection_stamp().await.unwrap();
        assert_eq!(two, ConnectionStamp { count: 2, latest: NOW + 6, sum: 2 * NOW + 9 });

        assert!(store.delete_connection(b()).await.unwrap());
        let deleted = store.connection_stamp().await.unwrap();
        assert_eq!((deleted.count, deleted.sum), (1, NOW + 6));
        store.save_connection(&StoredConnection { updated_at: NOW + 4, ..stored_connection(id(3), "c") }).await.unwrap();
        let added_for_deleted = store.connection_stamp().await.unwrap();
        assert_ne!(added_for_deleted, two, "another connection, though as many as before");
        assert_ne!(added_for_deleted, deleted);
    })
    .await;
}

/// Servers take it up anew, unless somebody has saved other settings meanwhile.
#[tokio::test]
async fn touched_connection_is_seen_and_otherwise_the_same() {
    on_both(|store| async move {
        let first = stored_connection(a(), "a");
        store.save_connection(&first).await.unwrap();
        store.save_connection(&stored_connection(b(), "b")).await.unwrap();
        let before = store.connection_stamp().await.unwrap();
        store.touch_connection(a(), NOW - 1, NOW + 100).await.unwrap();
        assert_eq!(store.connection_stamp().await.unwrap(), before, "it was saved meanwhile");
        store.touch_connection(a(), NOW, NOW + 7).await.unwrap();
        let touched = StoredConnection { updated_at: NOW + 7, ..first };
        assert_eq!(store.connections().await.unwrap(), [touched, stored_connection(b(), "b")]);
        assert_eq!(store.connection_stamp().await.unwrap(), ConnectionStamp { count: 2, latest: NOW + 7, sum: 2 * NOW + 7 });
    })
    .await;
}

#[tokio::test]
async fn grants_of_a_connection_end_with_it() {
    on_both(|store| async move {
        let grant = |connections: &[ConnectionId]| DeviceGrant {
            agent_name: None,
            agent_email: Some("Anna@example.com".into()),
            connections: connections.to_vec(),
        };
        let code = |number: u8, connections: &[ConnectionId]| NewPairingCode {
            tenant: main(),
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
        let session = |id: u8, connection| NewAgentSession {
            tenant: main(),
            id_hash: [id; 32],
            connection,
            record: "{}".into(),
            created_at: NOW,
            keep_until: NOW + 1_000,
        };
        store.save_connection(&stored_connection(a(), "a")).await.unwrap();
        store.replace_connection(&stored_connection(b(), "b \"c\"")).await.unwrap();
        store.add_pairing_code(&code(1, &[a(), b()])).await.unwrap();
        store.add_pairing_code(&code(2, &[a()])).await.unwrap();
        assert!(matches!(pair(1, 1).await, Pairing::Paired(_)));
        assert!(matches!(pair(2, 2).await, Pairing::Paired(_)));
        store.open_agent_sessions(&[session(1, a()), session(2, b())]).await.unwrap();

        // An id that only ends like another's changes nothing of it.
        assert!(!store.delete_connection(id(0x1a)).await.unwrap());
        assert_eq!(granted(1).await, [a(), b()]);
        assert!(store.delete_connection(a()).await.unwrap());
        assert_eq!((granted(1).await, granted(2).await), (vec![b()], vec![]));
        assert!(store.agent_session(&[1; 32]).await.unwrap().is_none());
        assert!(store.agent_session(&[2; 32]).await.unwrap().is_some());
        assert_eq!(store.open_agent_sessions(&[session(1, a())]).await.unwrap(), [false], "its token stays used");
        assert_eq!(pair(2, 3).await, Pairing::UnknownCode);
        let Pairing::Paired(late) = pair(1, 4).await else { panic!("not paired") };
        assert_eq!(late.grant.connections, [b()]);

        let replaced = StoredConnection { settings: vec![2], disabled: true, updated_at: NOW + 1, ..stored_connection(b(), "b \"c\"") };
        store.replace_connection(&replaced).await.unwrap();
        assert_eq!(store.connections().await.unwrap(), [replaced]);
        assert!(granted(1).await.is_empty() && granted(4).await.is_empty());
        assert!(store.agent_session(&[2; 32]).await.unwrap().is_none());
        assert!(store.list_pairing_codes(10).await.unwrap().is_empty());

        // By address, in any spelling; an agent without a name is called by it.
        store.add_pairing_code(&code(3, &[a()])).await.unwrap();
        store.add_pairing_code(&code(4, &[a()])).await.unwrap();
        let email = DevicesOf::Email("anna@EXAMPLE.com".into());
        assert_eq!(store.revoke_devices_of(&email, NOW).await.unwrap(), Revoked { devices: 3, codes: 2 });
        assert_eq!(store.withdraw_pairing_code(CodeId([3; 8]), NOW).await.unwrap(), Withdrawal::EndedBefore);
        store.add_pairing_code(&code(5, &[a()])).await.unwrap();
        let agent = DevicesOf::Agent("anna@example.com".into());
        assert_eq!(store.revoke_devices_of(&agent, NOW).await.unwrap(), Revoked { devices: 0, codes: 1 });
        store.add_pairing_code(&code(6, &[a()])).await.unwrap();
        assert!(matches!(pair(6, 6).await, Pairing::Paired(_)));
        assert_eq!(store.revoke_devices_of(&DevicesOf::Code(CodeId([6; 8])), NOW).await.unwrap(), Revoked { devices: 1, codes: 1 });
    })
    .await;
}

#[tokio::test]
async fn deleted_connection_loses_its_proofs_and_leaves_its_waiting_events_to_a_person() {
    on_both(|store| async move {
        store.save_connection(&stored_connection(a(), "a")).await.unwrap();
        let given = |connection| NewHandedOut {
            tenant: main(),
            connection,
            ticket: "1".into(),
            kind: HandedOutKind::Key,
            issued_at: NOW,
            usable_until: NOW + 100,
        };
        store.hand_out(&given(a())).await.unwrap();
        store.hand_out(&given(b())).await.unwrap();
        decide(&store, "host", "s1", a(), "key", NOW).await.unwrap();
        decide(&store, "host", "s2", b(), "key", NOW).await.unwrap();
        store.add_events(&[event(a(), "s1", EventKind::SessionEnd, 0)]).await.unwrap();
        store.save_session(&known_session(a(), "s3", "1"), NOW).await.unwrap();
        assert_eq!(list(&store, None).await[0].connection_name.as_deref(), Some("a"));

        assert!(store.delete_connection(a()).await.unwrap());
        let handed_out = store.handed_out(&[a(), b()], "1", NOW, 0).await.unwrap();
        assert_eq!(handed_out.iter().map(|given| given.connection).collect::<Vec<_>>(), [b()]);
        assert!(store.known_owners("host", "s1", &[a(), b()]).await.unwrap().is_empty());
        assert_eq!(store.known_owners("host", "s2", &[a(), b()]).await.unwrap(), [b()]);
        let kept = list(&store, None).await;
        assert_eq!((kept.len(), kept[0].connection, kept[0].connection_name.as_deref(), &*kept[0].state), (1, None, None, "undecided"));
        assert_eq!(store.sessions_of_ticket(a(), "1").await.unwrap().len(), 1);
    })
    .await;
}

#[tokio::test]
async fn host_renamed_keeps_events_sweeps_and_owners() {
    on_both(|store| async move {
        let (from, to) = ("hilfe.müller.de", "hilfe.xn--mller-kva.de");
        let (old, new) = (format!("{from}/client"), format!("{to}/client"));
        let waiting = NewEvent { account: old.clone(), ..unowned("s1", EventKind::SessionEnd, 0) };
        let owned = NewEvent { account: old.clone(), ..event(a(), "s2", EventKind::SessionEnd, 1) };
        let former = NewEvent { account: format!("{from}/former"), ..unowned("s3", EventKind::SessionEnd, 2) };
        let twice = NewEvent { account: old.clone(), ..unowned("s4", EventKind::SessionEnd, 3) };
        let again = NewEvent { id: Uuid::from_u128(4), account: new.clone(), ..twice.clone() };
        let other = NewEvent { account: format!("{from}:8443/client"), ..unowned("s5", EventKind::SessionEnd, 4) };
        store.add_events(&[waiting, owned, former, twice, again, other.clone()]).await.unwrap();
        store.take_sweep_turn(&main(), &old, NOW, NOW + 1).await.unwrap();
        store.save_checkpoint(&old, 7).await.unwrap();
        let decide = async |host: &str, lsid: &str, connection| {
            let (tenant, proof) = (&main(), "a key");
            store.decide_owner(&OwnerDecision { tenant, host, lsid, connection, proof, used_up_for: None, now: NOW }).await.unwrap()
        };
        decide(from, "s1", a()).await;
        decide(from, "s2", a()).await;
        decide(to, "s2", b()).await;

        // A second server does the same.
        for _ in 0..2 {
            store.rename_host(from, to).await.unwrap();
        }
        let lsids = async |slot: &str| claim_in(&store, slot, NOW + 9_000).await.into_iter().map(|event| event.lsid).collect::<Vec<_>>();
        assert_eq!(lsids(&new).await, ["s4", "s1"]);
        assert_eq!(lsids(&a().to_string()).await, ["s2"]);
        assert_eq!(lsids(&format!("{to}/former")).await, ["s3"]);
        assert_eq!(lsids(&other.account).await, ["s5"], "another host");
        let accounts: Vec<_> = list(&store, None).await.into_iter().map(|event| event.account).collect();
        assert_eq!((accounts.len(), accounts.iter().filter(|account| **account == new).count()), (5, 3), "{accounts:?}");
        assert_eq!(store.take_sweep_turn(&main(), &new, i64::MAX, NOW).await.unwrap(), Some(Some(7)));
        assert_eq!((decide(to, "s1", b()).await, decide(to, "s2", a()).await), (a(), b()), "decided before");
    })
    .await;
}
