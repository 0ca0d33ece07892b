//! The page on which an administrator of the help desk puts the customer's button into their Help Center.
//!
//! The panel gives its administrators a link to it, signed and short-lived. That they are administrators is asked again when it is opened.

use std::sync::Arc;

use deskbridge_core::ids::TenantId;
use deskbridge_help_desks::zendesk::{CustomerProof, PageChecked, Who};
use deskbridge_help_desks::{AgentReference, HelpDeskError};
use deskbridge_security::administrator_token::AdministratorInvitation;
use deskbridge_security::signed_token::{self, TokenError};
use deskbridge_shared::routes;

use crate::Services;
use crate::connections::Connection;
use crate::ticket_access::TicketAccess;

/// A link to the page works for so long: an agent's session does not live longer without use by default.
const LINK_SECONDS: i64 = 8 * 3_600;

/// The page's address for an agent, if they are an administrator whose connection can have the button.
pub fn address(services: &Services, connection: &Connection, agent: &AgentReference, access: &TicketAccess) -> Option<String> {
    let AgentReference::User(agent) = agent else { return None };
    let has_chats = connection.engine.as_ref().is_some_and(|engine| engine.abilities().chats);
    if !(access.agent.is_administrator && has_chats && connection.help_desk.customers_origin().is_some()) {
        return None;
    }
    let expires_at = services.clock.now_seconds() + LINK_SECONDS;
    let invitation = AdministratorInvitation { connection: connection.id.to_string(), agent: agent.clone(), expires_at };
    let token = signed_token::issue(&services.master_key, &invitation);
    Some(format!("{}{}/{token}", services.public_url, routes::HELP_CENTER_CUSTOMIZE))
}

/// Why the page does not open.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// The link itself.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// Its connection is gone, or whoever it was made for is no administrator any more.
    #[error("this page is for administrators of the help desk")]
    NotAdministrator,
    /// The help desk does not answer.
    #[error(transparent)]
    HelpDesk(#[from] HelpDeskError),
}

/// What the page shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetUp {
    /// The connection's name.
    pub connection: String,
    /// Its id, which a page of the Help Center names.
    pub id: String,
    /// Our public address.
    pub public_url: String,
    /// Where the Help Center is: the account's own origin first.
    pub origins: Vec<String>,
    /// Whether the settings have a `[connection.help_center]`.
    pub is_in_settings: bool,
    /// The ticket field that gets a chat link.
    pub link_field: Option<u64>,
    /// The ticket field that holds a proof, if that is used.
    pub ticket_field: Option<u64>,
    /// How customers prove that a ticket is theirs.
    pub proofs: Vec<CustomerProof>,
    /// Whether people in copy may start chats, too.
    pub has_participants: bool,
}

/// Opens the page: whose it is, and what it shows.
pub async fn open(services: &Services, token: &str) -> Result<(Arc<Connection>, SetUp), Refusal> {
    let invitation: AdministratorInvitation = signed_token::verify(&services.master_key, token, services.clock.now_seconds())?;
    let found = services.connections.current().called(&TenantId::main(), &invitation.connection).cloned();
    let connection = found.ok_or(Refusal::NotAdministrator)?;
    if !connection.help_desk.is_administrator(&AgentReference::User(invitation.agent)).await? {
        return Err(Refusal::NotAdministrator);
    }
    let help_center = connection.help_desk.help_center();
    let own = connection.help_desk.customers_origin();
    let set_up = SetUp {
        connection: connection.name().to_owned(),
        id: connection.id.to_string(),
        public_url: services.public_url.clone(),
        origins: help_center.map_or_else(|| own.into_iter().collect(), |help_center| help_center.origins().to_vec()),
        is_in_settings: help_center.is_some(),
        link_field: help_center.and_then(|help_center| help_center.settings().link_field),
        ticket_field: help_center
            .filter(|help_center| help_center.takes(CustomerProof::TicketField))
            .and_then(|help_center| help_center.settings().ticket_field),
        proofs: help_center.map_or_else(|| CustomerProof::DEFAULT.to_vec(), |help_center| help_center.settings().customer_proof.clone()),
        has_participants: help_center.is_some_and(|help_center| help_center.settings().who == Who::Participants),
    };
    Ok((connection, set_up))
}

/// Looks whether the button's line is in the Help Center's public pages.
pub async fn check(services: &Services, connection: &Connection) -> Vec<PageChecked> {
    let Some(help_center) = connection.help_desk.help_center() else { return Vec::new() };
    help_center.check_pages(&services.public_url, &[connection.name(), &connection.id.to_string()]).await
}
