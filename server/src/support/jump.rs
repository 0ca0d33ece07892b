//! Makes the client-script URL of a Jump. It carries no credential: the representative console that opens it has its own.

use deskbridge_shared::api::JumpRequest;
use deskbridge_shared::client_script::{self, client_script_url};

use super::{SupportError, offer, ticket_access};
use crate::config::JumpAction;
use crate::connections::Connection;
use crate::tickets::AgentReference;

/// The launch URL for `ticket`, if the method and the Jumpoint are among those offered.
pub async fn launch_url(
    connection: &Connection,
    agent: &AgentReference,
    ticket: &str,
    request: &JumpRequest,
) -> Result<String, SupportError> {
    let offer = offer::current(connection).await?;
    if !offer.methods.contains(&request.method) {
        return Err(SupportError::NotOffered(format!(
            "{} is not allowed here; the administrator can allow it in the app's settings",
            request.method.name()
        )));
    }
    if let Some(jumpoint) = &request.jumpoint
        && !offer.jumpoints.contains(jumpoint)
    {
        return Err(SupportError::invalid("jumpoint", "one of the configured Jumpoints"));
    }
    let access = ticket_access::check_open(connection, agent, ticket).await?;
    let action = match connection.settings.appliance.jump_action {
        JumpAction::JumpItem => client_script::JumpAction::JumpItem,
        JumpAction::PinnedClient => client_script::JumpAction::PinnedClient,
    };
    let url = client_script_url(&connection.appliance_host(), request, &access.ticket.id, action, &[])
        .map_err(|fault| SupportError::invalid(fault.field(), fault.to_string()))?;
    tracing::info!(
        connection = connection.name(),
        ticket = access.ticket.id,
        %agent,
        method = request.method.name(),
        "jump made"
    );
    Ok(url)
}
