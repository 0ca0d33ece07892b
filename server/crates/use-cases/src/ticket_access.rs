//! May this agent work on this ticket? A ticket id from a browser is a claim; the help desk is asked before anything is made.

use std::sync::Arc;

use deskbridge_help_desks::{Agent, AgentReference, HelpDeskError, NotAllowed, Ticket};

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
    match connection.access.get(&(agent.clone(), ticket.to_owned())).await {
        Some(access) => Ok(access),
        None => ask(connection, agent, ticket).await,
    }
}

async fn ask(connection: &Connection, agent: &AgentReference, name: &str) -> Result<Arc<TicketAccess>, SupportError> {
    let key = (agent.clone(), name.to_owned());
    match connection.help_desk.ticket_for(agent, name).await {
        Ok((ticket, agent)) => {
            let access = Arc::new(TicketAccess { ticket, agent });
            connection.access.insert(key, access.clone()).await;
            Ok(access)
        }
        Err(error) => {
            // What was allowed some seconds ago is not any more.
            connection.access.invalidate(&key).await;
            Err(error.into())
        }
    }
}

/// For acts whose record must fit on the ticket: a closed one takes no more notes. The help desk is always asked, since the ticket may have
/// been closed, or taken from the agent, some seconds ago.
pub async fn check_open(connection: &Connection, agent: &AgentReference, ticket: &str) -> Result<Arc<TicketAccess>, SupportError> {
    let access = ask(connection, agent, ticket).await?;
    if access.ticket.closed {
        let what = "this ticket is closed and takes no session record; create a follow-up ticket and start from there";
        return Err(HelpDeskError::not_allowed(NotAllowed::TicketClosed, what).into());
    }
    Ok(access)
}
