//! May this agent work on this ticket? A ticket id from a browser is a claim; the help desk is asked before anything is made.

use std::sync::Arc;

use deskbridge_help_desks::{Agent, AgentReference, HelpDeskError, Ticket};

use crate::SupportError;
use crate::connections::Connection;

/// An agent and a ticket they may work on.
#[derive(Clone, Debug)]
pub struct TicketAccess {
    /// The ticket.
    pub ticket: Ticket,
    /// The agent.
    pub agent: Agent,
}

/// Asks the help desk, or remembers what it said some seconds ago. A refusal is not remembered.
pub async fn check(connection: &Connection, agent: &AgentReference, ticket: &str) -> Result<Arc<TicketAccess>, SupportError> {
    let key = (agent.clone(), ticket.to_owned());
    if let Some(access) = connection.access.get(&key).await {
        return Ok(access);
    }
    let (ticket, agent) = connection.help_desk.ticket_for(agent, ticket).await?;
    let access = Arc::new(TicketAccess { ticket, agent });
    connection.access.insert(key, access.clone()).await;
    Ok(access)
}

/// As [`check`], for acts whose record must fit on the ticket: a closed one takes no more notes.
pub async fn check_open(connection: &Connection, agent: &AgentReference, ticket: &str) -> Result<Arc<TicketAccess>, SupportError> {
    let access = check(connection, agent, ticket).await?;
    if access.ticket.closed {
        return Err(HelpDeskError::NotAllowed(
            "this ticket is closed and takes no session record; create a follow-up ticket and start from there".into(),
        )
        .into());
    }
    Ok(access)
}
