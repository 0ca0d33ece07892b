//! Paired browsers.

use super::*;

#[tokio::test]
async fn code_pairs_as_many_browsers_as_it_may_and_request_is_seen_once() {
    on_both(|store| async move {
        let grant = DeviceGrant { agent_name: Some("Jürgen 日本".into()), agent_email: None, connections: vec![a(), b()] };
        let code =
            NewPairingCode { tenant: main(), code_hash: [1; 32], grant: grant.clone(), uses: 2, created_at: NOW, expires_at: NOW + 1_000 };
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
            tenant: main(),
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

        let seen = |number: u8, keep_until| SeenRequest { tenant: main(), fingerprint: [number; 32], keep_until };
        let remembered = store.remember_requests(&[seen(1, NOW), seen(1, NOW), seen(2, NOW + 1)]).await.unwrap();
        assert_eq!(remembered, [true, false, true], "one of two that come together");
        assert_eq!(store.remember_requests(&[seen(3, NOW), seen(2, NOW)]).await.unwrap(), [true, false]);
        assert_eq!(store.purge_devices(NOW + 1, NOW + 1_000, NOW, 10).await.unwrap(), 2, "what is over, and not before");
        assert_eq!(store.remember_requests(&[seen(2, NOW)]).await.unwrap(), [false]);
        assert_eq!(store.purge_devices(NOW, NOW + 1_001, NOW, 10).await.unwrap(), 1, "the code");
        assert_eq!(store.pair_device(&[1; 32], &new(3), NOW).await.unwrap(), Pairing::UnknownCode);
    })
    .await;
}

#[tokio::test]
async fn device_takes_the_tenant_of_its_code() {
    on_both(|store| async move {
        let grant = DeviceGrant { agent_name: Some("Anna".into()), agent_email: None, connections: vec![a()] };
        let tenant = TenantId::new("other");
        let code = NewPairingCode { tenant: tenant.clone(), code_hash: [1; 32], grant, uses: 1, created_at: NOW, expires_at: NOW + 1_000 };
        store.add_pairing_code(&code).await.unwrap();
        let new = NewDevice { id: Uuid::from_u128(1), public_key: vec![1; 91], name: "laptop".into(), browser: None };
        let Pairing::Paired(paired) = store.pair_device(&[1; 32], &new, NOW).await.unwrap() else { panic!("not paired") };
        assert_eq!(paired.tenant, tenant);
        assert_eq!(store.device(new.id).await.unwrap(), Some(paired));
    })
    .await;
}

#[tokio::test]
async fn device_purge_goes_in_steps_and_leaves_devices_that_work() {
    on_both(|store| async move {
        let grant = DeviceGrant { agent_name: Some("Anna".into()), agent_email: None, connections: vec![a()] };
        for number in 0..4_u8 {
            let code = NewPairingCode {
                tenant: main(),
                code_hash: [number; 32],
                grant: grant.clone(),
                uses: 1,
                created_at: NOW,
                expires_at: NOW + 10,
            };
            store.add_pairing_code(&code).await.unwrap();
            let new = NewDevice { id: Uuid::from_u128(number.into()), public_key: vec![number; 91], name: "laptop".into(), browser: None };
            assert!(matches!(store.pair_device(&[number; 32], &new, NOW).await.unwrap(), Pairing::Paired(_)));
            store.remember_requests(&[SeenRequest { tenant: main(), fingerprint: [number; 32], keep_until: NOW }]).await.unwrap();
        }
        for number in 0..3 {
            assert!(store.revoke_device(Uuid::from_u128(number), NOW + i64::try_from(number).unwrap()).await.unwrap());
        }
        assert_eq!(store.purge_devices(NOW, NOW + 10, NOW, 10).await.unwrap(), 0);
        assert_eq!(store.purge_devices(NOW + 1, NOW + 11, NOW + 2, 1).await.unwrap(), 3, "one of each");
        assert_eq!(store.device(Uuid::from_u128(0)).await.unwrap(), None, "the one revoked first");
        assert_eq!(store.purge_devices(NOW + 1, NOW + 11, NOW + 2, 10).await.unwrap(), 3 + 3 + 1);
        let left: Vec<_> = store.list_devices(10).await.unwrap().iter().map(|device| device.id.as_u128()).collect();
        assert_eq!(left, [3, 2], "the last was revoked lately");
    })
    .await;
}
