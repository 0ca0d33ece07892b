//! Chat links: signed, expiring, sent to the customer; the chat they start is tied to the ticket.

use std::fmt;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use deskbridge_core::ids::TenantId;
use deskbridge_help_desks::AgentReference;
use deskbridge_help_desks::zendesk::Customer;
use deskbridge_security::chat_token::ChatInvitation;
use deskbridge_security::sha256;
use deskbridge_security::signed_token::{self, TokenError};
use deskbridge_shared::api::Issue;
use deskbridge_store::CustomerChat;

use crate::connections::Connection;
use crate::customer_chat::{Again, Limits, Refusal, Wanted, count_press, same_or_new};
use crate::{NotOffered, Services, SupportError, ValueFault, allowed_actions, ticket_access};

/// Hours a chat link is valid without a setting.
const DEFAULT_HOURS: u32 = 72;
/// Minutes in which a chat must be opened after its link was pressed, and chats by one link in an hour, where the connection has no Help
/// Center with settings of its own.
const WITHOUT_HELP_CENTER: Limits = Limits { life_minutes: 10, of_customer: 10, of_ticket: 20 };

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
    let link = issue_link(services, connection, &access.ticket.id, issue);
    tracing::info!(connection = connection.name(), ticket = access.ticket.id, %agent, "chat link made");
    Ok(link)
}

/// How long a connection's chat links live, in ms.
pub(crate) fn life_ms(connection: &Connection) -> i64 {
    i64::from(connection.settings.panel.chat_link_hours.unwrap_or(DEFAULT_HOURS)) * 3_600_000
}

/// A link and when it ends (Unix ms).
pub(crate) fn issue_link(services: &Services, connection: &Connection, ticket: &str, issue: Option<&str>) -> (String, i64) {
    let expires_at = services.clock.now_seconds() + life_ms(connection) / 1_000;
    let invitation =
        ChatInvitation { connection: connection.id.to_string(), ticket: ticket.to_owned(), issue: issue.map(str::to_owned), expires_at };
    let token = signed_token::issue(&services.master_key, &invitation);
    (format!("{}{}/{token}", services.public_url, deskbridge_shared::routes::CHAT_LINK), expires_at * 1_000)
}

/// What a link of this server says that has not ended, if `address` is one.
pub(crate) fn read_link(services: &Services, address: &str) -> Option<ChatInvitation> {
    let token = address.trim().strip_prefix(&services.public_url)?.strip_prefix(deskbridge_shared::routes::CHAT_LINK)?.strip_prefix('/')?;
    signed_token::verify(&services.master_key, token, services.clock.now_seconds()).ok()
}

/// What the page of a chat link shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invitation {
    /// Issues to choose from. With one only, there is nothing to choose.
    pub issues: Vec<Issue>,
    /// The origin of the chat.
    pub destination: String,
}

/// Why a chat link opens nothing.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// The link itself.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// The ticket system, or the database, is away.
    #[error("this link cannot be opened at the moment; try again in a minute")]
    Later,
    /// Too many chats were started.
    #[error("too many chats; try again later")]
    TooMany,
    /// The ticket takes no record any more.
    #[error("the request is closed")]
    Closed,
    /// Its ticket is gone, or its connection is gone or disabled, or has no issues any more.
    #[error("this link cannot be used any more")]
    Gone,
}

fn later(connection: &Connection, error: &dyn fmt::Display) -> LinkError {
    tracing::warn!(connection = connection.name(), %error, "a chat link could not be opened");
    LinkError::Later
}

/// A link that holds, its connection, and the issues it leaves to choose.
struct Read {
    invitation: ChatInvitation,
    connection: Arc<Connection>,
    issues: Vec<Issue>,
}

async fn read(services: &Services, token: &str) -> Result<Read, LinkError> {
    let invitation: ChatInvitation = signed_token::verify(&services.master_key, token, services.clock.now_seconds())?;
    // Links sent before connections had ids name them.
    let connection = services.connections.current().called(&TenantId::main(), &invitation.connection).cloned().ok_or(LinkError::Gone)?;
    let mut issues = allowed_actions::current(&connection).await.map_err(|error| later(&connection, &error))?.issues;
    // An issue that was removed since leaves the choice to the customer.
    if let Some(only) = issues.iter().find(|issue| invitation.issue.as_ref() == Some(&issue.code_name)).cloned() {
        issues = vec![only];
    }
    if issues.is_empty() { Err(LinkError::Gone) } else { Ok(Read { invitation, connection, issues }) }
}

/// What the page of a link shows; `chosen`: the code name of the issue chosen already. Nothing is started: mail programs open links, too.
pub async fn look(services: &Services, token: &str, chosen: Option<&str>) -> Result<Invitation, LinkError> {
    let Read { connection, mut issues, .. } = read(services, token).await?;
    if let Some(only) = issues.iter().find(|issue| chosen == Some(issue.code_name.as_str())).cloned() {
        issues = vec![only];
    }
    let destination = crate::customer_chat::chat_origin(&connection).ok_or(LinkError::Gone)?;
    Ok(Invitation { issues, destination })
}

/// The customer presses the button on the page of a link. `chosen`: the code name of the issue they chose.
///
/// # Errors
/// [`None`] inside: the choice is none of those on the page, which is to be shown again.
pub async fn press(services: &Services, token: &str, chosen: Option<&str>, again: bool) -> Result<Option<CustomerChat>, LinkError> {
    let Read { invitation, connection, issues } = read(services, token).await?;
    let issue = match issues.as_slice() {
        [only] => only,
        several => match several.iter().find(|issue| chosen == Some(issue.code_name.as_str())) {
            Some(issue) => issue,
            None => return Ok(None),
        },
    };
    let holder = format!("link:{}", URL_SAFE_NO_PAD.encode(&sha256(token.as_bytes())[..12]));
    let help_center = connection.help_desk.help_center();
    let limits = help_center.map_or(WITHOUT_HELP_CENTER, |help_center| Limits::of(help_center.settings()));
    let refused = |refusal| match refusal {
        Refusal::TooMany { .. } => LinkError::TooMany,
        other => later(&connection, &other),
    };
    count_press(services, &connection, &invitation.ticket, &holder, limits.of_customer).await.map_err(refused)?;
    let ticket = match help_center {
        Some(help_center) => {
            let found = help_center.ticket(&invitation.ticket).await.map_err(|error| later(&connection, &error))?;
            // A record of the session would have no place.
            Some(found.ok_or(LinkError::Gone)?)
        }
        None => None,
    };
    if ticket.as_ref().is_some_and(|ticket| ticket.is_closed) {
        return Err(LinkError::Closed);
    }
    let customer = async || match (help_center, &ticket) {
        (Some(help_center), Some(ticket)) => help_center.customer(ticket.requester(), ticket).await,
        _ => Customer::default(),
    };
    let wanted = Wanted {
        ticket: &invitation.ticket,
        issue: &issue.code_name,
        holder: &holder,
        again: if again { Again::Confirmed } else { Again::No },
        limits,
    };
    let (chat, _) = same_or_new(services, &connection, &wanted, customer).await.map_err(refused)?;
    Ok(Some(chat))
}
