//! Puts our values into a ticket's fields where its customer reads them: the proof that they may read the ticket, and a chat link for e-mails.
//!
//! When an agent's panel reads the ticket, and when we have made it. Only these fields are written, and only if their value is not good.

use std::sync::Arc;

use deskbridge_help_desks::zendesk::{CustomerProof, HelpCenter};
use deskbridge_security::ticket_value::TicketValue;

use crate::connections::Connection;
use crate::{Services, SupportError, allowed_actions, chat_link};

/// Fills the fields in the background: the panel does not wait for it.
pub fn fill_soon(services: &Arc<Services>, connection: &Arc<Connection>, ticket: &str) {
    if connection.help_desk.help_center().is_none_or(|help_center| !has_fields(help_center)) {
        return;
    }
    let (services, connection, ticket) = (services.clone(), connection.clone(), ticket.to_owned());
    tokio::spawn(async move { fill(&services, &connection, &ticket).await });
}

/// Fills the fields, unless that was done lately. What fails is logged: the agent can do nothing about it.
pub(crate) async fn fill(services: &Services, connection: &Arc<Connection>, ticket: &str) {
    let Some(help_center) = connection.help_desk.help_center().filter(|help_center| has_fields(help_center)) else { return };
    let epoch = match services.store.ticket_value_epoch(connection.id).await {
        Ok(epoch) => epoch,
        Err(error) => return tracing::warn!(connection = connection.name(), %error, "a ticket's fields cannot be filled"),
    };
    // What failed is remembered, too: a ticket that many look at must not be tried at each look.
    let filled = async {
        if let Err(error) = write(services, connection, help_center, ticket, epoch).await {
            tracing::warn!(connection = connection.name(), ticket, %error, "a ticket's fields cannot be filled; run `deskbridge check`");
        }
    };
    connection.filled.get_with((ticket.to_owned(), epoch), filled).await;
}

fn has_fields(help_center: &HelpCenter) -> bool {
    value_field(help_center).is_some() || help_center.settings().link_field.is_some()
}

fn value_field(help_center: &HelpCenter) -> Option<u64> {
    help_center.settings().ticket_field.filter(|_| help_center.takes(CustomerProof::TicketField))
}

async fn write(
    services: &Services,
    connection: &Arc<Connection>,
    help_center: &HelpCenter,
    id: &str,
    epoch: i64,
) -> Result<(), SupportError> {
    let Some(ticket) = help_center.ticket(id).await?.filter(|ticket| !ticket.is_closed) else {
        return Ok(());
    };
    let mut values = Vec::new();
    if let Some(field) = value_field(help_center) {
        let connection = (connection.tenant.as_str(), connection.id.to_string());
        let value = TicketValue { tenant: connection.0, connection: &connection.1, ticket: &ticket.id, epoch }.text(&services.master_key);
        if ticket.field(field) != value {
            values.push((field, value));
        }
    }
    if let Some(field) = help_center.settings().link_field
        && !is_good_link(services, connection, &ticket.id, ticket.field(field))
        && !allowed_actions::current(connection).await?.issues.is_empty()
    {
        // Nothing is handed out by that: a session can come of the link only when somebody presses its button.
        values.push((field, chat_link::issue_link(services, connection, &ticket.id, None).0));
    }
    if values.is_empty() {
        return Ok(());
    }
    if !help_center.write_fields(&ticket.id, &values).await? {
        // Closed in this very moment.
        return Ok(());
    }
    tracing::info!(
        connection = connection.name(),
        ticket = ticket.id,
        fields = values.len(),
        "the ticket's fields for its customer are filled"
    );
    Ok(())
}

/// Whether a link is ours, this ticket's, and good for half of its life at least.
fn is_good_link(services: &Services, connection: &Connection, ticket: &str, link: &str) -> bool {
    let left = |expires_at: i64| (expires_at - services.clock.now_seconds()).saturating_mul(1_000);
    chat_link::read_link(services, link).is_some_and(|invitation| {
        invitation.ticket == ticket
            && connection.is_called(&invitation.connection)
            && left(invitation.expires_at) >= chat_link::life_ms(connection) / 2
    })
}
