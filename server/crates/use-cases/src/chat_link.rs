//! Chat links: signed, expiring, opened by the customer; the chat they start is tied to the ticket.

use std::fmt;
use std::sync::Arc;

use deskbridge_core::ids::TenantId;
use deskbridge_help_desks::AgentReference;
use deskbridge_remote_support::SessionTag;
use deskbridge_security::chat_token::{self, ChatInvitation, ChatTokenError};
use deskbridge_shared::api::Issue;

use crate::connections::Connection;
use crate::{NotOffered, Services, SupportError, ValueFault, allowed_actions, ownership, ticket_access};

/// Hours a chat link is valid without a setting.
const DEFAULT_HOURS: u32 = 72;

/// A chat link for `ticket`: its URL and when it ends (Unix ms).
pub async fn make(
    services: &Services,
    connection: &Arc<Connection>,
    agent: &AgentReference,
    ticket: &str,
    issue: Option<&str>,
) -> Result<(String, i64), SupportError> {
    let issues = allowed_actions::current(connection).await?.issues;
    if issues.is_empty() {
        let what = "no issues are configured, so a chat has no queue to go to; add issues in the app's settings";
        return Err(SupportError::not_offered(NotOffered::Chat, what));
    }
    if let Some(code) = issue
        && !issues.iter().any(|known| known.code_name == code)
    {
        return Err(SupportError::invalid("issue", ValueFault::Issue, "the code name of one of the configured issues"));
    }
    let access = ticket_access::check_open(connection, agent, ticket).await?;
    let hours = connection.settings.panel.chat_link_hours.unwrap_or(DEFAULT_HOURS);
    let expires_at = services.clock.now_seconds() + i64::from(hours) * 3_600;
    let invitation = ChatInvitation {
        connection: connection.id.to_string(),
        ticket: access.ticket.id.clone(),
        issue: issue.map(str::to_owned),
        expires_at,
    };
    let token = chat_token::issue(&services.master_key, &invitation);
    let url = format!("{}{}/{token}", services.public_url, deskbridge_shared::routes::CHAT_LINK);
    ownership::chat_handed_out(services, connection, &access.ticket.id, expires_at * 1_000).await?;
    tracing::info!(connection = connection.name(), ticket = access.ticket.id, %agent, "chat link made");
    Ok((url, expires_at * 1_000))
}

/// What a customer who opens a chat link gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Opened {
    /// Straight to the chat.
    Chat(String),
    /// First a choice of issues.
    Choose(Vec<Issue>),
}

/// Why a chat link opens nothing.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The link itself.
    #[error(transparent)]
    Token(#[from] ChatTokenError),
    /// The ticket system is away.
    #[error("this link cannot be opened at the moment; try again in a minute")]
    Later,
    /// Its connection is gone or disabled, or has no issues any more.
    #[error("this link cannot be used any more")]
    Gone,
}

fn later(connection: &Connection, error: &dyn fmt::Display) -> OpenError {
    tracing::warn!(connection = connection.name(), %error, "a chat link could not be opened");
    OpenError::Later
}

/// Opens a chat link; `chosen`: the code name of the issue chosen by the customer.
pub async fn open(services: &Services, token: &str, chosen: Option<&str>) -> Result<Opened, OpenError> {
    let invitation = chat_token::verify(&services.master_key, token, services.clock.now_seconds())?;
    // Links sent before connections had ids name them.
    let connection = services.connections.current().called(&TenantId::main(), &invitation.connection).cloned().ok_or(OpenError::Gone)?;
    let engine = connection.engine.as_ref().ok_or(OpenError::Gone)?;
    let issues = allowed_actions::current(&connection).await.map_err(|error| later(&connection, &error))?.issues;
    // An issue that was removed since leaves the choice to the customer.
    let offered = |code: &&str| issues.iter().any(|issue| issue.code_name == *code);
    let wanted = invitation.issue.as_deref().filter(offered).or(chosen.filter(offered));
    let issue = match (wanted, issues.as_slice()) {
        (_, []) => return Err(OpenError::Gone),
        (Some(code), _) => code,
        (None, [only]) => only.code_name.as_str(),
        _ => return Ok(Opened::Choose(issues)),
    };
    // Links sent by an earlier version were not remembered when they were made.
    let expires_at = invitation.expires_at.saturating_mul(1_000);
    let handed_out = ownership::chat_handed_out(services, &connection, &invitation.ticket, expires_at).await;
    handed_out.map_err(|error| later(&connection, &error))?;
    let tag = SessionTag { ticket: &invitation.ticket, connection: connection.id };
    engine.chat_url(issue, tag).map(Opened::Chat).map_err(|_| OpenError::Gone)
}
