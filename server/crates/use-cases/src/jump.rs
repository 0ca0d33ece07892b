//! Makes what opens a session with a machine: the client-script URL of a Jump, which carries no credential, because the representative console
//! that opens it has its own; or a link, which is good for whoever has it until it expires or is ended.

use std::sync::Arc;

use deskbridge_core::text::shown;
use deskbridge_help_desks::AgentReference;
use deskbridge_remote_support::{Jump, Launch, LaunchError, LinkId, SessionTag};
use deskbridge_shared::api::JumpRequest;
use deskbridge_shared::client_script::{Fault, Unit};

use deskbridge_store::MachineLink;

use crate::connections::Connection;
use crate::ticket_access::TicketAccess;
use crate::{NotOffered, Services, SupportError, ValueFault, allowed_actions, ownership, ticket_access};

/// What opens a session for `ticket`, if the method and the Jumpoint are among those offered.
pub async fn launch(
    services: &Services,
    connection: &Arc<Connection>,
    agent: &AgentReference,
    ticket: &str,
    request: &JumpRequest,
) -> Result<Launch, SupportError> {
    let allowed = allowed_actions::current(connection).await?;
    if !allowed.methods.contains(&request.method) {
        let what = format!("{} is not allowed here; the administrator can allow it in the app's settings", request.method.name());
        return Err(SupportError::not_offered(NotOffered::Method(request.method), what));
    }
    if let Some(jumpoint) = &request.jumpoint
        && !allowed.jumpoints.contains(jumpoint)
    {
        return Err(SupportError::invalid("jumpoint", ValueFault::Jumpoint, "one of the configured Jumpoints"));
    }
    let access = ticket_access::check_open(connection, agent, ticket).await?;
    let engine = connection.engine.as_ref().ok_or_else(SupportError::no_engine)?;
    let tag = SessionTag { ticket: &access.ticket.id, connection: connection.id };
    let name = shown(&access.agent.name, MOST_NAME);
    let jump = Jump { request, agent: &name, agent_email: access.agent.email.as_deref(), tag };
    let launch = engine.launch(&jump).await.map_err(|error| match error {
        LaunchError::Argument(fault) => SupportError::invalid(fault.field(), value_fault(&fault), fault.to_string()),
        LaunchError::Engine(error) => error.into(),
    })?;
    match &launch.link {
        // Its sessions prove themselves, by what stands in the link.
        Some(link) => {
            let agent = launch.agent.clone().unwrap_or_else(|| name.clone());
            let made = made(services, connection, &access, request, (link, agent), launch.expires_at);
            if let Err(error) = services.store.add_link(&made).await {
                // Nobody could end it later.
                if let Err(error) = engine.end_link(link).await {
                    tracing::warn!(connection = connection.name(), link = link.id, %error, "a link that is not kept was not ended");
                }
                return Err(error.into());
            }
        }
        None => ownership::jump_handed_out(services, connection, &access.ticket.id).await?,
    }
    tracing::info!(
        connection = connection.name(),
        ticket = access.ticket.id,
        %agent,
        method = request.method.name(),
        "jump made"
    );
    Ok(launch)
}

/// Longest name of an agent. The engine may have less room for it; what is kept is what stands in the link, by which its sessions are known.
const MOST_NAME: usize = 60;

fn made(
    services: &Services,
    connection: &Connection,
    access: &TicketAccess,
    request: &JumpRequest,
    (link, agent): (&LinkId, String),
    expires_at: Option<i64>,
) -> MachineLink {
    MachineLink {
        tenant: connection.tenant.clone(),
        connection: connection.id,
        link_id: link.id.clone(),
        ticket: access.ticket.id.clone(),
        machine: link.machine.clone(),
        machine_name: link.machine_name.clone(),
        kind: request.method.name().to_owned(),
        agent: Some(agent),
        agent_email: access.agent.email.clone(),
        made_at: services.clock.now_ms(),
        expires_at: expires_at.map(|seconds| seconds.saturating_mul(1_000)),
        ended_at: None,
    }
}

fn value_fault(fault: &Fault) -> ValueFault {
    match fault {
        Fault::Missing { .. } => ValueFault::Missing,
        Fault::TooLong { limit, unit: Unit::Characters, .. } => ValueFault::TooLong(*limit),
        Fault::NotTaken { method, .. } => ValueFault::NotTaken(*method),
        Fault::TooLong { unit: Unit::Bytes, .. } | Fault::Unknown { .. } | Fault::Twice { .. } => ValueFault::Unknown,
    }
}
