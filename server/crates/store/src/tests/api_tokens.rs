//! API tokens: looked up by hash, revoked, and gone with their connection.

use deskbridge_core::api_purpose::ApiPurpose;

use super::*;

fn token(number: u8, connection: ConnectionId) -> ApiToken {
    ApiToken {
        tenant: main(),
        connection,
        id: Uuid::from_u128(number.into()),
        name: format!("Überwachung {number}"),
        hash: [number; 32],
        purposes: ApiPurpose::ALL[..usize::from(number.min(2))].to_vec(),
        created_at: NOW,
        revoked_at: None,
        last_used_at: None,
    }
}

fn used(connection: ConnectionId, name: &str, used_at: i64) -> SettingsTokenUse {
    SettingsTokenUse { tenant: main(), connection, name: name.into(), used_at }
}

#[tokio::test]
async fn a_token_is_found_by_its_hash_and_keeps_what_became_of_it() {
    on_both(|store| async move {
        let (one, two) = (token(1, a()), token(2, b()));
        store.add_api_token(&one).await.unwrap();
        store.add_api_token(&two).await.unwrap();
        assert!(store.add_api_token(&ApiToken { id: Uuid::from_u128(7), ..one.clone() }).await.is_err(), "no two are the same");
        assert_eq!(store.api_token(&[1; 32]).await.unwrap(), Some(one.clone()));
        assert_eq!(store.api_token(&[3; 32]).await.unwrap(), None);
        assert_eq!(store.list_api_tokens(10).await.unwrap(), [two.clone(), one.clone()]);
        assert_eq!(store.list_api_tokens(1).await.unwrap(), std::slice::from_ref(&two));
        store.touch_api_token(one.id, NOW + 5).await.unwrap();
        assert!(store.revoke_api_token(one.id, NOW + 6).await.unwrap());
        assert!(!store.revoke_api_token(one.id, NOW + 7).await.unwrap(), "it was revoked before");
        assert!(!store.revoke_api_token(Uuid::from_u128(9), NOW + 7).await.unwrap());
        let revoked = ApiToken { revoked_at: Some(NOW + 6), last_used_at: Some(NOW + 5), ..one };
        assert_eq!(store.api_token(&[1; 32]).await.unwrap(), Some(revoked));
        assert_eq!(store.api_token(&[2; 32]).await.unwrap(), Some(two.clone()), "another one stays as it was");
        assert_eq!(store.purge_api_tokens(NOW + 6, 10).await.unwrap(), 0);
        assert_eq!(store.purge_api_tokens(NOW + 7, 10).await.unwrap(), 1);
        assert_eq!(store.list_api_tokens(10).await.unwrap(), [two]);
    })
    .await;
}

#[tokio::test]
async fn tokens_end_with_their_connection() {
    on_both(|store| async move {
        store.save_connection(&stored_connection(a(), "a")).await.unwrap();
        store.save_connection(&stored_connection(b(), "b")).await.unwrap();
        for (number, connection) in [(1, a()), (2, b())] {
            store.add_api_token(&token(number, connection)).await.unwrap();
            store.touch_settings_token(&used(connection, "argus", NOW)).await.unwrap();
        }
        store.touch_settings_token(&used(b(), "argus", NOW + 1)).await.unwrap();
        assert_eq!(store.settings_token_uses().await.unwrap().len(), 2);
        assert!(store.delete_connection(a()).await.unwrap());
        assert_eq!(store.list_api_tokens(10).await.unwrap(), [token(2, b())]);
        assert_eq!(store.settings_token_uses().await.unwrap(), [used(b(), "argus", NOW + 1)]);
        // Another ticket system than before.
        store.replace_connection(&stored_connection(b(), "b")).await.unwrap();
        assert!(store.list_api_tokens(10).await.unwrap().is_empty());
        assert!(store.settings_token_uses().await.unwrap().is_empty());
    })
    .await;
}
