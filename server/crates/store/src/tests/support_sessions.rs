//! Known support sessions.

use super::*;
use deskbridge_core::session_report::SessionKind;

#[tokio::test]
async fn known_session_end_and_record_are_not_taken_back() {
    on_both(|store| async move {
        let session = known_session(a(), "s1", "1");
        store.save_session(&session, NOW).await.unwrap();
        let ended = KnownSession { active: true, ended_at: Some(NOW + 1), ..session.clone() };
        store.save_session(&ended, NOW).await.unwrap();
        store.mark_recorded(a(), "s1", NOW + 2).await.unwrap();
        store.save_session(&session, NOW).await.unwrap();
        let known = store.sessions_of_ticket(a(), "1").await.unwrap();
        assert_eq!(
            known,
            [KnownSession { recorded_at: Some(NOW + 2), ended_at: Some(NOW + 1), ..session }],
            "an end and a record are not taken back"
        );
        assert!(store.sessions_of_ticket(b(), "1").await.unwrap().is_empty());
    })
    .await;
}

/// The report that was read last knows best: a recording comes some seconds after the end, and is removed some day.
#[tokio::test]
async fn a_session_is_kept_with_its_machine_kind_and_recording() {
    on_both(|store| async move {
        let session =
            KnownSession { machine: Some("front desk".into()), kind: Some(SessionKind::Terminal), ..known_session(a(), "s1", "1") };
        let recorded = KnownSession { recording: true, ..session.clone() };
        // A look at what goes on tells nothing of recordings: one that is known is not forgotten by it.
        for (saved, kept) in [(&session, &session), (&recorded, &recorded), (&session, &recorded)] {
            store.save_session(saved, NOW).await.unwrap();
            assert_eq!(store.sessions_of_ticket(a(), "1").await.unwrap().as_slice(), std::slice::from_ref(kept));
            assert_eq!(store.support_session(a(), "s1").await.unwrap().as_ref(), Some(kept));
        }
        assert_eq!(store.support_session(b(), "s1").await.unwrap(), None);
        assert_eq!(store.support_session(a(), "s2").await.unwrap(), None);
    })
    .await;
}

/// The databases disagree where to put a session whose begin is not known.
#[tokio::test]
async fn sessions_are_listed_newest_first_also_without_a_begin() {
    on_both(|store| async move {
        for (lsid, started_at, seen_at) in [("old", Some(NOW), NOW), ("unknown", None, NOW + 5), ("new", Some(NOW + 10), NOW + 10)] {
            store.save_session(&KnownSession { started_at, ..known_session(a(), lsid, "1") }, seen_at).await.unwrap();
        }
        let listed: Vec<_> = store.sessions_of_ticket(a(), "1").await.unwrap().into_iter().map(|session| session.lsid).collect();
        assert_eq!(listed, ["new", "unknown", "old"]);
    })
    .await;
}

#[tokio::test]
async fn known_session_purge_goes_in_steps_by_when_it_was_seen() {
    on_both(|store| async move {
        for number in 0..5 {
            store.save_session(&known_session(a(), &format!("s{number}"), "1"), NOW + number).await.unwrap();
        }
        assert_eq!(store.purge_sessions(NOW + 4, 3).await.unwrap(), 3);
        let left: Vec<_> = store.sessions_of_ticket(a(), "1").await.unwrap().into_iter().map(|session| session.lsid).collect();
        assert_eq!(left, ["s3", "s4"]);
        assert_eq!(store.purge_sessions(NOW + 4, 3).await.unwrap(), 1, "one was seen later");
        assert_eq!(store.purge_sessions(NOW + 4, 3).await.unwrap(), 0);
    })
    .await;
}
