//! A database of commit 5e96a24 (schema 4) is taken along without loss.

use super::database::{Raw, on_each};
use super::*;

/// Every table filled as that server did: two connections, and traces of one that was removed.
const FILLED: &str = r#"
INSERT INTO connection (name, settings, disabled, updated_at) VALUES
    ('Zendesk production', X'0102', FALSE, 1733240467123),
    ('Autotask "B"', X'03', TRUE, 1733240468000);

INSERT INTO agent_session (id_hash, connection, record, created_at, used_at, keep_until) VALUES
    (X'0101010101010101010101010101010101010101010101010101010101010101', 'Zendesk production', '{"identity":{"connection":"Zendesk production","agent_id":123}}', 1733240467000, 1733240467000, 1733299999000),
    (X'0202020202020202020202020202020202020202020202020202020202020202', 'Zendesk production', '', 1733240467000, 1733240467000, 1733299999000),
    (X'0303030303030303030303030303030303030303030303030303030303030303', 'removed', '', 1733240467000, 1733240467000, 1733299999000);

INSERT INTO inbox_event (id, connection, fingerprint, kind, rank, lsid, ticket, origin, received_at, state, attempts, not_before, lease_owner, lease_epoch, lease_until, outcome, finished_at) VALUES
    (X'01938d2e00007000800000000000000a', 'Zendesk production', X'0a', 'session_end', 1, 's1', '100', 'outbound', 1733240460000, 'ready', 2, 1733240470000, NULL, 3, NULL, 'HTTP 502', NULL),
    (X'01938d2e00007000800000000000000b', 'Zendesk production', X'0b', 'customer_survey', 2, 's1', NULL, 'polling', 1733240461000, 'ready', 0, 1733240461000, NULL, 0, NULL, NULL, NULL),
    (X'01938d2e00007000800000000000000c', 'Autotask "B"', X'0a', 'session_end', 1, 's1', NULL, 'outbound', 1733240462000, 'leased', 1, 1733240462000, X'00000000000000000000000000000001', 1, 1733240482000, NULL, NULL),
    (X'01938d2e00007000800000000000000d', 'Autotask "B"', X'0d', 'session_end', 1, 's2', NULL, 'outbound', 1733240463000, 'done', 1, 1733240463000, NULL, 1, NULL, 'written', 1733240464000),
    (X'01938d2e00007000800000000000000e', 'removed', X'0e', 'session_end', 1, 's3', '7', 'outbound', 1733240464000, 'done', 1, 1733240464000, NULL, 1, NULL, 'written', 1733240465000),
    (X'01938d2e00007000800000000000000f', 'removed', X'0f', 'someone_joins', 0, 's4', NULL, 'outbound', 1733240465000, 'dead', 9, 1733240465000, NULL, 9, NULL, 'gone', 1733240466000);

INSERT INTO event_attempt (event_id, epoch, leased_at, ended_at, result, said, next_at) VALUES
    (X'01938d2e00007000800000000000000a', 3, 1733240461000, 1733240462000, 'retry', 'HTTP 502', 1733240470000),
    (X'01938d2e00007000800000000000000d', 1, 1733240463000, 1733240464000, 'done', 'written', NULL);

INSERT INTO delivery (connection, lsid, kind, part, ticket, marker, state, remote_id, planned_at, sent_at, confirmed_at, sent_by, sends, settled_at) VALUES
    ('Zendesk production', 's1', 'report', 0, '100', 'm1', 'sent', NULL, 1733240461000, 1733240461500, NULL, X'01938d2e00007000800000000000000a', 1, 1733240481500),
    ('Zendesk production', 's1', 'ticket', 0, '', 'm2', 'confirmed', '100', 1733240461000, 1733240461100, 1733240461200, X'01938d2e00007000800000000000000a', 1, 1733240481100),
    ('Autotask "B"', 's2', 'report', 0, '8', 'm3', 'confirmed', '77', 1733240463000, 1733240463100, 1733240463200, X'01938d2e00007000800000000000000d', 1, 1733240483100),
    ('Autotask "B"', 's2', 'time', 1, '8', 'm4', 'planned', NULL, 1733240463000, NULL, NULL, NULL, 0, 0),
    ('removed', 's3', 'report', 0, '7', 'm5', 'confirmed', '66', 1733240464000, 1733240464100, 1733240464200, NULL, 1, 0);

INSERT INTO support_session (connection, lsid, ticket, representative, customer, active, started_at, ended_at, recorded_at, seen_at) VALUES
    ('Zendesk production', 's1', '100', 'Anna', 'Jürgen 日本', TRUE, 1733240400000, NULL, NULL, 1733240461000),
    ('Autotask "B"', 's2', '8', NULL, NULL, FALSE, 1733240400000, 1733240463000, 1733240464000, 1733240464000),
    ('removed', 's3', '7', NULL, NULL, FALSE, NULL, 1733240464000, 1733240465000, 1733240465000);

INSERT INTO issued_key (connection, ticket, issued_at, expires_at) VALUES
    ('Zendesk production', '100', 1733240400000, 1733244000000),
    ('removed', '7', 1733240400000, 1733244000000);

INSERT INTO sweep (connection, checkpoint, next_at) VALUES
    ('Zendesk production', 1733240300, 1733240700000),
    ('Autotask "B"', 1733240200, 1733240600000),
    ('removed', 1, 1733240500000);

INSERT INTO server (id, seen_at) VALUES (X'00000000000000000000000000000001', 1733240460000);
INSERT INTO app_key (app, pem, fetched_at) VALUES ('https://example.zendesk.com/1001', 'PEM', 1733240000000);

INSERT INTO device (id, public_key, name, browser, agent_name, agent_email, connections, paired_at, used_at, revoked_at, code_hash) VALUES
    (X'00000000000000000000000000000001', X'aa', 'laptop', 'Firefox', 'Anna', NULL, '["Autotask \"B\"","removed","Zendesk production"]', 1733240000000, 1733240001000, NULL, X'0101010101010101010101010101010101010101010101010101010101010101'),
    (X'00000000000000000000000000000002', X'bb', 'tower', NULL, NULL, 'b@example.com', '["removed"]', 1733240000000, NULL, 1733240002000, NULL);
INSERT INTO pairing_code (code_hash, agent_name, agent_email, connections, uses_left, created_at, expires_at) VALUES
    (X'0101010101010101010101010101010101010101010101010101010101010101', 'Anna', NULL, '["Autotask \"B\"","Zendesk production"]', 3, 1733240000000, 1733299999000),
    (X'0202020202020202020202020202020202020202020202020202020202020202', NULL, NULL, '["removed"]', 3, 1733240000000, 1733299999000);
INSERT INTO device_nonce (fingerprint, keep_until) VALUES (X'0404040404040404040404040404040404040404040404040404040404040404', 1733299999000);
"#;

/// A filled older database, opened by this server, and the ids of its two connections.
async fn migrated(url: &str) -> (Arc<dyn Store>, ConnectionId, ConnectionId) {
    let raw = Raw::connect(url).await;
    raw.migrate_to(4).await;
    // PostgreSQL reads backslashes in plain texts as they are, and so does SQLite.
    raw.run(FILLED).await;
    raw.close().await;
    let store = open(url).await.unwrap();
    let connections = store.connections().await.unwrap();
    let id_of = |name: &str| connections.iter().find(|connection| connection.name == name).unwrap().id;
    let (zendesk, autotask) = (id_of("Zendesk production"), id_of("Autotask \"B\""));
    (store, zendesk, autotask)
}

fn event_id(last: u8) -> Uuid {
    let mut bytes = [0x01, 0x93, 0x8d, 0x2e, 0, 0, 0x70, 0, 0x80, 0, 0, 0, 0, 0, 0, 0];
    bytes[15] = last;
    Uuid::from_bytes(bytes)
}

/// What stands in place of the account of an event stored before.
fn former_account(connection: ConnectionId) -> String {
    format!("connection/{connection}")
}

#[tokio::test]
async fn migrated_connections_get_ids_made_of_their_time() {
    on_each(async |url| {
        let (store, zendesk, autotask) = migrated(&url).await;
        let expected = |id, name: &str, settings, disabled, updated_at| StoredConnection {
            id,
            tenant: main(),
            name: name.into(),
            settings,
            disabled,
            updated_at,
        };
        let connections = [
            expected(autotask, "Autotask \"B\"", vec![3], true, 1_733_240_468_000),
            expected(zendesk, "Zendesk production", vec![1, 2], false, 1_733_240_467_123),
        ];
        assert_eq!(store.connections().await.unwrap(), connections);
        for connection in &connections {
            let id = Uuid::try_parse(&connection.id.to_string()).unwrap();
            assert_eq!((id.get_version_num(), id.get_variant()), (7, uuid::Variant::RFC4122));
            let (seconds, nanoseconds) = id.get_timestamp().unwrap().to_unix();
            assert_eq!(i64::try_from(seconds).unwrap() * 1_000 + i64::from(nanoseconds / 1_000_000), connection.updated_at);
        }
        let stamp = store.connection_stamp().await.unwrap();
        assert_eq!((stamp.count, stamp.latest), (2, 1_733_240_468_000));
        store.save_connection(&StoredConnection { name: "renamed".into(), ..connections[0].clone() }).await.unwrap();
        assert_eq!(store.connections().await.unwrap().len(), 2, "by its id, not by its name");
    })
    .await;
}

#[tokio::test]
async fn migrated_agent_sessions_end_and_their_tokens_stay_used() {
    on_each(async |url| {
        let (store, zendesk, _) = migrated(&url).await;
        let again = |number: u8| NewAgentSession {
            tenant: main(),
            id_hash: [number; 32],
            connection: zendesk,
            record: "{}".into(),
            created_at: NOW,
            keep_until: NOW,
        };
        assert_eq!(store.open_agent_sessions(&[again(1), again(2), again(3), again(4)]).await.unwrap(), [false, false, false, true]);
        assert_eq!(store.agent_session(&[1; 32]).await.unwrap(), None, "the agent loads the page again");
        assert_eq!(store.purge_agent_sessions(1_733_299_999_001, 10).await.unwrap(), 4, "kept as long as before");
    })
    .await;
}

#[tokio::test]
async fn migrated_events_go_on_in_the_slot_of_their_connection() {
    on_each(async |url| {
        let (store, zendesk, autotask) = migrated(&url).await;
        let rows = list(&store, None).await;
        assert_eq!(rows.len(), 6);
        let row = |last| rows.iter().find(|row| row.id == event_id(last)).unwrap();
        let expected = EventRow {
            id: event_id(0x0a),
            account: former_account(zendesk),
            connection: Some(zendesk),
            connection_name: Some("Zendesk production".into()),
            kind: "session_end".into(),
            lsid: "s1".into(),
            ticket: Some("100".into()),
            origin: "outbound".into(),
            state: "ready".into(),
            attempts: 2,
            received_at: 1_733_240_460_000,
            not_before: 1_733_240_470_000,
            outcome: Some("HTTP 502".into()),
        };
        assert_eq!(*row(0x0a), expected);
        assert_eq!((row(0x0c).connection, row(0x0c).state.as_str()), (Some(autotask), "leased"));
        assert_eq!((row(0x0d).connection, row(0x0d).state.as_str()), (Some(autotask), "done"));
        let removed = row(0x0e).connection.unwrap();
        assert!(removed != zendesk && removed != autotask);
        assert_eq!(row(0x0e).connection_name, None);
        assert_eq!((row(0x0f).connection, row(0x0f).state.as_str()), (Some(removed), "dead"), "one id for one name");

        let attempt = AttemptRow {
            leased_at: 1_733_240_461_000,
            ended_at: 1_733_240_462_000,
            result: "retry".into(),
            message: "HTTP 502".into(),
            next_at: Some(1_733_240_470_000),
        };
        assert_eq!(store.attempts(event_id(0x0a)).await.unwrap(), [attempt]);

        let at = 1_733_240_490_000;
        let slots: Vec<_> = store.slots_with_work(at).await.unwrap().into_iter().map(|work| work.connection.unwrap()).collect();
        assert_eq!(slots.len(), 2);
        assert!(slots.contains(&zendesk) && slots.contains(&autotask));
        let leased = claim_in(&store, &zendesk.to_string(), at).await;
        assert_eq!(leased.iter().map(|event| (event.id, event.epoch)).collect::<Vec<_>>(), [(event_id(0x0a), 4)], "the survey waits");
        let renewed = claim_in(&store, &autotask.to_string(), at).await;
        assert_eq!(renewed.iter().map(|event| (event.id, event.epoch)).collect::<Vec<_>>(), [(event_id(0x0c), 2)], "its lease had ended");
        assert_eq!(store.purge_events(NOW + 1_000, 10).await.unwrap(), 2);
    })
    .await;
}

#[tokio::test]
async fn migrated_events_are_known_to_the_sweep_of_any_account() {
    on_each(async |url| {
        let (store, ..) = migrated(&url).await;
        let lsids: Vec<String> = ["s1", "s2", "s3", "s4", "s5"].map(str::to_owned).to_vec();
        let mut known = store.known_events(SHARED, EventKind::SessionEnd, &lsids).await.unwrap();
        known.sort_by(|one, other| one.lsid.cmp(&other.lsid));
        assert_eq!(known.iter().map(|event| event.lsid.as_str()).collect::<Vec<_>>(), ["s1", "s1", "s2", "s3"]);
        let surveys = store.known_events(SHARED, EventKind::CustomerSurvey, &lsids).await.unwrap();
        assert_eq!(surveys.iter().map(|event| (event.lsid.as_str(), event.origin)).collect::<Vec<_>>(), [("s1", Origin::Polling)]);
    })
    .await;
}

#[tokio::test]
async fn migrated_deliveries_and_sessions_keep_all_they_hold() {
    on_each(async |url| {
        let (store, zendesk, autotask) = migrated(&url).await;
        let removed = store.event(event_id(0x0e)).await.unwrap().unwrap().connection.unwrap();
        let key = |connection, lsid: &str, kind: &str, part| DeliveryKey {
            tenant: main(),
            connection,
            lsid: lsid.into(),
            kind: kind.into(),
            part,
        };
        let of_zendesk = store.deliveries(zendesk, "s1").await.unwrap();
        let sent = Delivery {
            key: key(zendesk, "s1", "report", 0),
            ticket: "100".into(),
            marker: "m1".into(),
            state: DeliveryState::Sent,
            remote_id: None,
            sends: 1,
            sent_at: Some(1_733_240_461_500),
            settled_at: 1_733_240_481_500,
        };
        assert_eq!((of_zendesk.len(), &of_zendesk[0]), (2, &sent));
        assert_eq!((of_zendesk[1].state, of_zendesk[1].remote_id.as_deref()), (DeliveryState::Confirmed, Some("100")));
        let of_autotask = store.deliveries(autotask, "s2").await.unwrap();
        assert_eq!(
            of_autotask.iter().map(|one| one.key.clone()).collect::<Vec<_>>(),
            [key(autotask, "s2", "report", 0), key(autotask, "s2", "time", 1)]
        );
        assert_eq!(of_autotask[1].state, DeliveryState::Planned);
        assert_eq!(store.deliveries(removed, "s3").await.unwrap()[0].remote_id.as_deref(), Some("66"));

        let open = KnownSession {
            tenant: main(),
            connection: zendesk,
            lsid: "s1".into(),
            ticket: "100".into(),
            representative: Some("Anna".into()),
            customer: Some("Jürgen 日本".into()),
            machine: None,
            kind: None,
            recording: false,
            active: true,
            started_at: Some(1_733_240_400_000),
            ended_at: None,
            recorded_at: None,
        };
        assert_eq!(store.sessions_of_ticket(zendesk, "100").await.unwrap(), [open]);
        assert_eq!(store.sessions_of_ticket(autotask, "8").await.unwrap()[0].recorded_at, Some(1_733_240_464_000));
        assert_eq!(store.sessions_of_ticket(removed, "7").await.unwrap().len(), 1);

        // The write that had no answer is looked for by whoever gets the event now, and sent once more only then.
        let leased = claim_in(&store, &zendesk.to_string(), NOW + 23_000).await.remove(0);
        let send = SendTicket { key: &sent.key, ticket: "100", marker: "m1", sends: 1, now: NOW + 23_000, settled_at: NOW + 43_000 };
        assert!(!store.mark_sent(&leased, &SendTicket { sends: 0, ..send }).await.unwrap());
        assert!(store.mark_sent(&leased, &send).await.unwrap());
        assert_eq!(store.known_owners("host", "s1", &[zendesk, autotask]).await.unwrap(), [zendesk]);
        assert_eq!(store.known_owners("host", "s2", &[zendesk, autotask]).await.unwrap(), [autotask]);
    })
    .await;
}

#[tokio::test]
async fn migrated_grants_name_ids_and_those_of_removed_connections_are_gone() {
    on_each(async |url| {
        let (store, zendesk, autotask) = migrated(&url).await;
        let device = store.device(Uuid::from_u128(1)).await.unwrap().unwrap();
        let expected = Device {
            tenant: main(),
            id: Uuid::from_u128(1),
            public_key: vec![0xaa],
            name: "laptop".into(),
            browser: Some("Firefox".into()),
            grant: DeviceGrant { agent_name: Some("Anna".into()), agent_email: None, connections: vec![autotask, zendesk] },
            code_hash: Some([1; 32]),
            paired_at: 1_733_240_000_000,
            used_at: Some(1_733_240_001_000),
            revoked_at: None,
        };
        assert_eq!(device, expected);
        let tower = store.device(Uuid::from_u128(2)).await.unwrap().unwrap();
        assert_eq!((tower.grant.connections.len(), tower.revoked_at), (0, Some(1_733_240_002_000)));
        let codes = store.list_pairing_codes(10).await.unwrap();
        assert_eq!((codes.len(), &codes[0].grant.connections, codes[0].uses_left, codes[0].paired), (1, &vec![autotask, zendesk], 3, 1));
        let seen = SeenRequest { tenant: main(), fingerprint: [4; 32], keep_until: NOW };
        assert_eq!(store.remember_requests(&[seen]).await.unwrap(), [false]);
        assert!(store.delete_connection(zendesk).await.unwrap());
        assert_eq!(store.device(device.id).await.unwrap().unwrap().grant.connections, [autotask], "an id in a list is found");
    })
    .await;
}

#[tokio::test]
async fn migrated_keys_sweeps_and_apps_keys_go_on() {
    on_each(async |url| {
        let (store, zendesk, autotask) = migrated(&url).await;
        assert_eq!(store.open_since(zendesk, "100", 0, NOW).await.unwrap(), Some(1_733_240_400_000));
        let handed_out = store.handed_out(&[zendesk, autotask], "100", NOW, 0).await.unwrap();
        assert_eq!(handed_out, [HandedOut { connection: zendesk, issued_at: 1_733_240_400_000, usable_until: 1_733_244_000_000 }]);
        let take = async |account: &str, now| store.take_sweep_turn(&main(), account, now, now + 300_000).await.unwrap();
        assert_eq!(take(SHARED, NOW).await, Some(Some(1_733_240_200)), "where the connection that was swept least far was");
        store.save_checkpoint(SHARED, 1_733_240_500).await.unwrap();
        assert_eq!(take(SHARED, NOW + 300_000).await, Some(Some(1_733_240_500)));
        let month_later = NOW + 30 * 86_400_000;
        assert_eq!(take("new/client", month_later).await, Some(None), "nobody asks for a month");
        assert_eq!(store.purge_sweeps(NOW + 1_000_000, 10).await.unwrap(), 3, "and it is forgotten in the end");
        assert_eq!(store.app_key("https://example.zendesk.com/1001").await.unwrap(), Some(("PEM".into(), 1_733_240_000_000)));
        assert_eq!(store.server_alive(Uuid::from_u128(2), NOW, 1_733_240_460_000).await.unwrap(), 2);
    })
    .await;
}

#[tokio::test]
async fn migrated_database_names_no_connection_by_its_name() {
    on_each(async |url| {
        let (store, ..) = migrated(&url).await;
        drop(store);
        let raw = Raw::connect(&url).await;
        for (table, column) in [
            ("agent_session", "connection"),
            ("inbox_event", "connection"),
            ("inbox_event", "slot"),
            ("inbox_event", "account"),
            ("delivery", "connection"),
            ("support_session", "connection"),
            ("handed_out", "connection"),
            ("former_sweep", "connection"),
            ("device", "connections"),
            ("pairing_code", "connections"),
        ] {
            let values = raw.texts(&format!("SELECT {column} FROM {table}")).await;
            assert!(!values.is_empty(), "{table}");
            let named = values.iter().find(|value| ["Zendesk", "Autotask", "removed"].iter().any(|name| value.contains(name)));
            assert_eq!(named, None, "{table}.{column}");
        }
        raw.close().await;
    })
    .await;
}

#[tokio::test]
async fn migration_of_an_empty_older_database_succeeds() {
    on_each(async |url| {
        let raw = Raw::connect(&url).await;
        raw.migrate_to(4).await;
        raw.close().await;
        let store = open(&url).await.unwrap();
        assert!(store.connections().await.unwrap().is_empty());
        assert_eq!(store.connection_stamp().await.unwrap(), ConnectionStamp::default());
        assert_eq!(store.take_sweep_turn(&main(), SHARED, NOW, NOW).await.unwrap(), Some(None));
    })
    .await;
}
