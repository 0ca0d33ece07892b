//! Agents' sessions.

use super::*;

fn session(number: u8) -> NewAgentSession {
    NewAgentSession {
        tenant: main(),
        id_hash: [number; 32],
        connection: a(),
        record: "{}".into(),
        created_at: NOW,
        keep_until: NOW + 1_000,
    }
}

#[tokio::test]
async fn agent_session_opened_twice_opens_once() {
    on_both(|store| async move {
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
        assert_eq!(store.purge_agent_sessions(NOW + 1_000, 10).await.unwrap(), 0);
        assert_eq!(store.purge_agent_sessions(NOW + 1_001, 10).await.unwrap(), 3);
    })
    .await;
}

#[tokio::test]
async fn agent_session_purge_goes_in_steps_from_the_oldest() {
    on_both(|store| async move {
        let sessions: Vec<_> = (0..5).map(|number| NewAgentSession { keep_until: NOW - i64::from(number), ..session(number) }).collect();
        store.open_agent_sessions(&sessions).await.unwrap();
        assert_eq!(store.purge_agent_sessions(NOW + 1, 2).await.unwrap(), 2);
        assert!(store.agent_session(&[3; 32]).await.unwrap().is_none() && store.agent_session(&[4; 32]).await.unwrap().is_none());
        assert_eq!(store.purge_agent_sessions(NOW + 1, 2).await.unwrap(), 2);
        assert_eq!(store.purge_agent_sessions(NOW + 1, 2).await.unwrap(), 1);
        assert_eq!(store.purge_agent_sessions(NOW + 1, 2).await.unwrap(), 0);
    })
    .await;
}
