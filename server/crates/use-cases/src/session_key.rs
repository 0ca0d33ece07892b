//! Makes a session key for a ticket. The ticket's id is the session's external key, so that its report finds the way back.

use std::sync::Arc;

use deskbridge_core::clock::rfc3339;
use deskbridge_core::settings::SessionKeyQueue;
use deskbridge_help_desks::AgentReference;
use deskbridge_remote_support::{EngineFault, Error as EngineError, KeyRequest, SessionTag};
use deskbridge_shared::api::SessionKey;

use crate::connections::Connection;
use crate::{NotOffered, Services, SupportError, ValueFault, ownership, ticket_access};

/// Bounds of a key's life in seconds.
pub const TTL_SECONDS: std::ops::RangeInclusive<u32> = 60..=604_800;
/// Life assumed of a key whose expiry the appliance does not tell.
const ASSUMED_LIFE_MS: i64 = 24 * 3_600_000;

/// What the panel may ask for.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// As the setting `session_key_queue`.
    pub queue: Option<String>,
    /// Life in seconds.
    pub ttl_seconds: Option<u32>,
}

/// Makes a key for `ticket` on behalf of the agent.
pub async fn generate(
    services: &Services,
    connection: &Arc<Connection>,
    agent: &AgentReference,
    ticket: &str,
    wanted: &Wanted,
) -> Result<SessionKey, SupportError> {
    let panel = &connection.settings.panel;
    let queue = match &wanted.queue {
        Some(text) => SessionKeyQueue::parse(text)
            .ok_or_else(|| SupportError::invalid("queue", ValueFault::Unknown, "general, agent, team:ID or issue:CODE"))?,
        None => panel.session_key_queue.clone(),
    };
    if let Some(ttl) = wanted.ttl_seconds
        && !TTL_SECONDS.contains(&ttl)
    {
        let expected = format!("{} to {}", TTL_SECONDS.start(), TTL_SECONDS.end());
        return Err(SupportError::invalid("ttl_seconds", ValueFault::Unknown, expected));
    }
    let access = ticket_access::check_open(connection, agent, ticket).await?;
    let queue = match queue {
        SessionKeyQueue::Agent => {
            let name = access.agent.email.as_deref().and_then(|email| email.split('@').next()).filter(|name| !name.is_empty());
            let no_name = || {
                let what = "no e-mail address of yours is known to find your representative by";
                SupportError::not_offered(NotOffered::AgentWithoutEmail, what)
            };
            format!("rep_username:{}", name.ok_or_else(no_name)?)
        }
        other => String::from(other),
    };
    let engine = connection.engine.as_ref().ok_or_else(SupportError::no_engine)?;
    if !engine.abilities().session_keys {
        let what = format!("{} makes no session keys; open one of the machines", engine.title());
        return Err(SupportError::not_offered(NotOffered::NoRemoteSupport, what));
    }
    let now = services.clock.now_ms();
    let made = engine
        .create_session_key(&KeyRequest {
            queue: &queue,
            ttl_seconds: wanted.ttl_seconds.or(panel.session_key_ttl_seconds),
            tag: SessionTag { ticket: &access.ticket.id, connection: connection.id },
        })
        .await?;
    let expires_ms = made.expires.map(|seconds| seconds.saturating_mul(1_000));
    ownership::key_handed_out(services, connection, &access.ticket.id, expires_ms.unwrap_or(now + ASSUMED_LIFE_MS)).await?;
    if made.short_key.is_empty() || made.key_url.is_empty() {
        let what = format!("{} made a session key without key or link", engine.title());
        return Err(EngineError::new(EngineFault::Unexpected, what).into());
    }
    tracing::info!(connection = connection.name(), ticket = access.ticket.id, %agent, "session key made");
    Ok(SessionKey {
        mail_subject: made.mail_subject.unwrap_or_default(),
        mail_body: made.mail_body.unwrap_or_else(|| made.key_url.clone()),
        short_key: made.short_key,
        key_url: made.key_url,
        expires_at: expires_ms.map(rfc3339),
    })
}
