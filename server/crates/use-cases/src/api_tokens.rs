//! Who calls with an API token, for which connection, and whether the token is for that.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use deskbridge_core::api_purpose::ApiPurpose;
use deskbridge_core::clock::{new_id, random_bytes};
use deskbridge_core::ids::{ConnectionId, TenantId};
use deskbridge_core::settings::ConnectionSettings;
use deskbridge_security::api_token::new_api_token;
use deskbridge_security::sha256;
use deskbridge_store::{ApiToken, SettingsTokenUse, StoreError};
use secrecy::ExposeSecret;
use subtle::ConstantTimeEq;

use crate::Services;
use crate::connections::Connection;

/// A token's use is noted at most once in this time, so that reading does not become writing.
const TOUCH_AFTER_MS: i64 = 60_000;

/// A program whose token holds.
#[derive(Clone)]
pub struct ApiCaller {
    /// The connection it calls for.
    pub connection: Arc<Connection>,
    /// Its token's name.
    pub token: String,
}

impl std::fmt::Debug for ApiCaller {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ApiCaller").field("connection", &self.connection.name()).field("token", &self.token).finish()
    }
}

/// Why a program may not do what it asks for.
#[derive(Debug, thiserror::Error)]
pub enum CallerRefused {
    /// There is no `Authorization` header.
    #[error("no token was sent")]
    NoToken,
    /// The header names no token that holds: it is unknown, revoked, or of another scheme than `Bearer` and `Token`.
    #[error("the token is not known")]
    Unauthorized,
    /// The request names no connection.
    #[error("the request names no connection")]
    NoConnectionNamed,
    /// The token is another connection's, or there is no connection of that name.
    #[error("the token is not for that connection")]
    OtherConnection,
    /// The connection is disabled, or its settings are faulty.
    #[error("the connection does not run")]
    NotRunning,
    /// The token is for another purpose.
    #[error("the token is not for {0}")]
    OtherPurpose(ApiPurpose),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A token of the settings, as it is compared.
pub struct SettingsToken {
    name: String,
    /// SHA-256 of the secret.
    hash: [u8; 32],
    purposes: Vec<ApiPurpose>,
    /// When its use was last noted by this process, Unix ms.
    noted_at: AtomicI64,
}

impl SettingsToken {
    /// Those of a connection. One whose secret cannot be read opens nothing.
    pub(crate) fn of(settings: &ConnectionSettings) -> Arc<[Self]> {
        let tokens = settings.api_token.iter().filter_map(|token| match token.secret.resolve() {
            Ok(secret) => Some(Self {
                name: token.name.clone(),
                hash: sha256(secret.expose_secret().as_bytes()),
                purposes: token.purposes.clone(),
                noted_at: AtomicI64::new(i64::MIN),
            }),
            Err(error) => {
                tracing::error!(connection = settings.name, token = token.name, %error, "the API token cannot be used");
                None
            }
        });
        tokens.collect()
    }

    pub(crate) fn hash(&self) -> [u8; 32] {
        self.hash
    }
}

/// One connection that the token opens.
struct Opened {
    connection: ConnectionId,
    name: String,
    purposes: Vec<ApiPurpose>,
}

/// Who calls. `connection`: the name or id that the request names; `authorization`: the header's value. Refused in this order: the token,
/// the connection, the purpose, so that nobody without a token learns what there is.
pub async fn caller(
    services: &Services,
    connection: Option<&str>,
    authorization: Option<&str>,
    purpose: ApiPurpose,
) -> Result<ApiCaller, CallerRefused> {
    let token = token_in(authorization.ok_or(CallerRefused::NoToken)?).ok_or(CallerRefused::Unauthorized)?;
    // Hashes are compared, so that the time of a comparison tells nothing of a token.
    let opened = opened_by(services, &sha256(token.as_bytes())).await?;
    if opened.is_empty() {
        return Err(CallerRefused::Unauthorized);
    }
    let named = connection.ok_or(CallerRefused::NoConnectionNamed)?;
    let directory = services.connections.current();
    let is_named = |opened: &&Opened| directory.name_of(opened.connection) == Some(named) || opened.connection.to_string() == named;
    let opened: Vec<&Opened> = opened.iter().filter(is_named).collect();
    let first = opened.first().ok_or(CallerRefused::OtherConnection)?;
    let connection = directory.by_id(first.connection).cloned().ok_or(CallerRefused::NotRunning)?;
    let token = opened.iter().find(|opened| opened.purposes.contains(&purpose)).ok_or(CallerRefused::OtherPurpose(purpose))?;
    Ok(ApiCaller { connection, token: token.name.clone() })
}

/// The token in an `Authorization` header. `Token` is how Argus's people write it.
fn token_in(authorization: &str) -> Option<&str> {
    let (scheme, token) = authorization.trim().split_once(' ')?;
    let is_ours = ["bearer", "token"].iter().any(|known| scheme.eq_ignore_ascii_case(known));
    let token = token.trim_start();
    (is_ours && !token.is_empty()).then_some(token)
}

/// What the token with this hash opens. The same secret may stand at several connections.
async fn opened_by(services: &Services, hash: &[u8; 32]) -> Result<Vec<Opened>, StoreError> {
    let now = services.clock.now_ms();
    let directory = services.connections.current();
    let mut opened = Vec::new();
    for (id, token) in directory.settings_tokens(hash).filter(|(_, token)| token.hash.ct_eq(hash).into()) {
        if let Some(tenant) = directory.tenant_of(id) {
            note_settings_use(services, tenant, id, token, now).await;
        }
        opened.push(Opened { connection: id, name: token.name.clone(), purposes: token.purposes.clone() });
    }
    if !opened.is_empty() {
        return Ok(opened);
    }
    // Each time from the database: revocation holds at once, on every server.
    let stored = services.store.api_token(hash).await?;
    let Some(token) = stored.filter(|token| token.revoked_at.is_none() && token.hash.ct_eq(hash).into()) else { return Ok(opened) };
    if token.last_used_at.is_none_or(|at| now - at >= TOUCH_AFTER_MS)
        && let Err(error) = services.store.touch_api_token(token.id, now).await
    {
        // Only people look at it.
        tracing::warn!(token = token.name, %error, "an API token's use could not be noted");
    }
    Ok(vec![Opened { connection: token.connection, name: token.name, purposes: token.purposes }])
}

async fn note_settings_use(services: &Services, tenant: &TenantId, connection: ConnectionId, token: &SettingsToken, now: i64) {
    let before = token.noted_at.load(Ordering::Relaxed);
    let is_due = now.saturating_sub(before) >= TOUCH_AFTER_MS;
    // Of several at once, one notes it.
    if !is_due || token.noted_at.compare_exchange(before, now, Ordering::Relaxed, Ordering::Relaxed).is_err() {
        return;
    }
    let used = SettingsTokenUse { tenant: tenant.clone(), connection, name: token.name.clone(), used_at: now };
    if let Err(error) = services.store.touch_settings_token(&used).await {
        tracing::warn!(token = token.name, %error, "an API token's use could not be noted");
    }
}

/// A new token for a connection, and the row to store. The token itself is kept nowhere.
pub fn create(
    clock: &deskbridge_core::clock::Clock,
    tenant: &TenantId,
    connection: ConnectionId,
    name: &str,
    purposes: &[ApiPurpose],
) -> (String, ApiToken) {
    let secret = new_api_token(random_bytes());
    let mut purposes = purposes.to_vec();
    purposes.sort_unstable();
    purposes.dedup();
    let token = ApiToken {
        tenant: tenant.clone(),
        connection,
        id: new_id(clock),
        name: name.to_owned(),
        hash: sha256(secret.as_bytes()),
        purposes,
        created_at: clock.now_ms(),
        revoked_at: None,
        last_used_at: None,
    };
    (secret, token)
}

#[cfg(test)]
mod tests {
    use deskbridge_core::api_purpose::ApiPurpose::{Incidents, Presses};
    use deskbridge_core::clock::Clock;
    use deskbridge_core::settings::Settings;
    use std::sync::atomic::AtomicI64;

    use super::*;
    use crate::connections::{seal_settings, sections};
    use crate::testing::{NOW, services};

    const SHARED: &str = "a-secret-that-two-connections-share";

    /// A connection with a token for incidents and, with the same secret, one for presses; another connection that shares a secret with it;
    /// a third one that is disabled.
    async fn rig() -> (Arc<Services>, Arc<AtomicI64>) {
        let text = format!(
            r#"
            [[connection]]
            name = "one"
            api_token = [
                {{ name = "argus", secret = "argus-secret-argus-secret", for = ["incidents"] }},
                {{ name = "buttons", secret = "buttons-secret-buttons-secret", for = ["presses"] }},
                {{ name = "shared", secret = "{SHARED}", for = ["incidents", "presses"] }},
            ]
            [connection.osticket]
            url = "https://help.example.com"

            [[connection]]
            name = "two"
            api_token = [{{ name = "also shared", secret = "{SHARED}", for = ["incidents"] }}]
            [connection.osticket]
            url = "https://other.example.com"

            [[connection]]
            name = "resting"
            disabled = true
            api_token = [{{ name = "early", secret = "early-secret-early-secret", for = ["incidents"] }}]
            [connection.osticket]
            url = "https://third.example.com"
            "#
        );
        let settings = Settings::parse(sections(), "test.toml", &text, std::iter::empty()).unwrap();
        let now = Arc::new(AtomicI64::new(NOW));
        let store = deskbridge_store::open("sqlite::memory:").await.unwrap();
        let services = services(&store, &Clock::Manual(now.clone()));
        for (number, connection) in (1..).zip(&settings.connection) {
            let id = ConnectionId::from(uuid::Uuid::from_u128(number));
            store.save_connection(&seal_settings(services.connections.master_key(), id, &TenantId::main(), connection, 1)).await.unwrap();
        }
        services.connections.refresh(store.as_ref()).await.unwrap();
        (services, now)
    }

    /// `connection/token`, or the refusal.
    async fn said(services: &Services, connection: Option<&str>, authorization: Option<&str>, purpose: ApiPurpose) -> String {
        match caller(services, connection, authorization, purpose).await {
            Ok(caller) => format!("{}/{}", caller.connection.name(), caller.token),
            Err(refused) => format!("{refused:?}"),
        }
    }

    #[tokio::test]
    async fn a_token_opens_its_own_connection_for_its_own_purpose() {
        let (services, _) = rig().await;
        let check = async |connection: Option<&str>, authorization: Option<&str>, purpose, expected: &str| {
            let said = said(&services, connection, authorization, purpose).await;
            assert_eq!(said, expected, "{connection:?} {authorization:?} {purpose}");
        };
        let (argus, buttons) = ("Bearer argus-secret-argus-secret", "Token buttons-secret-buttons-secret");
        let shared = format!("token  {SHARED}");
        check(Some("one"), Some(argus), Incidents, "one/argus").await;
        check(Some("one"), Some("TOKEN argus-secret-argus-secret"), Incidents, "one/argus").await;
        check(Some("00000000-0000-0000-0000-000000000001"), Some(argus), Incidents, "one/argus").await;
        check(Some("one"), Some(buttons), Presses, "one/buttons").await;
        check(Some("one"), Some(&shared), Presses, "one/shared").await;
        check(Some("two"), Some(&shared), Incidents, "two/also shared").await;

        check(Some("one"), None, Incidents, "NoToken").await;
        for wrong in [
            "",
            "Bearer",
            "Bearer ",
            "Bearer argus-secret-argus-secreT",
            "Bearer argus-secret-argus-secret2",
            "Bearer argus-secret-argus-secre",
            "Basic argus-secret-argus-secret",
            "argus-secret-argus-secret",
            "Bearerargus-secret-argus-secret",
            "Bearer argus-secret-argus-secret, Bearer argus-secret-argus-secret",
            "Bearer argus",
        ] {
            check(Some("one"), Some(wrong), Incidents, "Unauthorized").await;
            // Nobody without a token learns what there is.
            check(None, Some(wrong), Incidents, "Unauthorized").await;
            check(Some("none"), Some(wrong), Presses, "Unauthorized").await;
        }
        check(None, Some(argus), Incidents, "NoConnectionNamed").await;
        for other in ["two", "none", "", "ONE", "resting"] {
            check(Some(other), Some(argus), Incidents, "OtherConnection").await;
            check(Some(other), Some(argus), Presses, "OtherConnection").await;
        }
        check(Some("one"), Some(argus), Presses, "OtherPurpose(Presses)").await;
        check(Some("two"), Some(&shared), Presses, "OtherPurpose(Presses)").await;
        check(Some("resting"), Some("Bearer early-secret-early-secret"), Incidents, "NotRunning").await;
    }

    #[tokio::test]
    async fn a_created_token_opens_until_it_is_revoked_and_its_use_is_noted_by_the_minute() {
        let (services, now) = rig().await;
        let id = ConnectionId::from(uuid::Uuid::from_u128(1));
        let (secret, token) = create(&services.clock, &TenantId::main(), id, "made", &[ApiPurpose::Presses, ApiPurpose::Presses]);
        assert!(secret.len() > 40 && !format!("{token:?}").contains(&secret));
        services.store.add_api_token(&token).await.unwrap();
        let header = format!("Bearer {secret}");
        let ask = async |connection, purpose| said(&services, Some(connection), Some(&header), purpose).await;
        let used = async || services.store.api_token(&token.hash).await.unwrap().unwrap().last_used_at;
        assert_eq!(used().await, None);
        assert_eq!(ask("one", ApiPurpose::Presses).await, "one/made");
        assert_eq!(used().await, Some(NOW));
        now.store(NOW + 59_999, Ordering::SeqCst);
        assert_eq!(ask("one", ApiPurpose::Presses).await, "one/made");
        assert_eq!(used().await, Some(NOW));
        now.store(NOW + 60_000, Ordering::SeqCst);
        assert_eq!(ask("one", ApiPurpose::Incidents).await, "OtherPurpose(Incidents)");
        assert_eq!(used().await, Some(NOW + 60_000), "refused, but known");
        assert_eq!(ask("two", ApiPurpose::Presses).await, "OtherConnection");
        assert!(services.store.revoke_api_token(token.id, NOW + 70_000).await.unwrap());
        assert_eq!(ask("one", ApiPurpose::Presses).await, "Unauthorized");
    }

    #[tokio::test]
    async fn the_use_of_a_token_in_the_settings_is_noted_by_the_minute() {
        let (services, now) = rig().await;
        let ask = async || said(&services, Some("one"), Some("Bearer argus-secret-argus-secret"), ApiPurpose::Incidents).await;
        let uses = async || services.store.settings_token_uses().await.unwrap();
        assert!(uses().await.is_empty());
        for (at, expected) in [(NOW, NOW), (NOW + 59_999, NOW), (NOW + 60_000, NOW + 60_000)] {
            now.store(at, Ordering::SeqCst);
            assert_eq!(ask().await, "one/argus");
            let uses = uses().await;
            assert_eq!((uses.len(), uses[0].name.as_str(), uses[0].used_at), (1, "argus", expected));
        }
    }
}
