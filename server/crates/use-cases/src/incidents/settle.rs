//! What an event of an incident leads to: the incident has its ticket, and the ticket knows what happened since. Every event of an incident
//! does all that is left.

use std::sync::Arc;

use deskbridge_store::LeasedEvent;
use deskbridge_work::WorkError;
use deskbridge_work::delivery::Deliverer;
use deskbridge_work::heard::Heard;
use deskbridge_work::worker::Handled;

use super::{change, make_ticket};
use crate::Services;
use crate::connections::Connection;

/// What is said of an incident that was over before anything was written.
pub(super) const OVER: &str = "the incident ended before its ticket was made; none is made";

/// Does what is left for the event's incident.
pub(crate) async fn run(
    services: &Services,
    connection: &Arc<Connection>,
    event: &LeasedEvent,
    heard: &Heard,
) -> Result<Handled, WorkError> {
    let settled = settle(services, connection, event, heard).await;
    if let Err(WorkError::Passing { retry_after: Some(retry_after), .. }) = &settled {
        let retry_at = services.clock.now_ms().saturating_add(i64::try_from(retry_after.as_millis()).unwrap_or(i64::MAX));
        services.store.incident_waits(connection.id, &event.lsid, retry_at).await?;
    }
    settled
}

async fn settle(services: &Services, connection: &Arc<Connection>, event: &LeasedEvent, heard: &Heard) -> Result<Handled, WorkError> {
    let Some(known) = services.store.incident(connection.id, &event.lsid).await? else {
        return Ok(Handled::done("the incident is not known any more"));
    };
    let help_desk = connection.help_desk.as_ref();
    let mut deliverer = Deliverer::load(services.store.as_ref(), &services.clock, help_desk, connection.id, event, heard).await?;
    let (ticket, mut done) = match known.ticket {
        Some(ticket) => (ticket.id, Vec::new()),
        None => match make_ticket::run(services, connection, &mut deliverer, event, &known).await? {
            Some(ticket) => (ticket.clone(), vec![format!("the incident has ticket {ticket}")]),
            None => return Ok(Handled::done(OVER)),
        },
    };
    done.extend(change::tell_all(services, connection, &mut deliverer, event, &ticket).await?);
    if done.is_empty() {
        done.push(format!("ticket {ticket} knows all of it"));
    }
    Ok(Handled { confirmed: deliverer.into_written(), ..Handled::done(done.join("; ")) })
}
