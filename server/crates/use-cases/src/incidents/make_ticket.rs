//! The ticket of an incident, once.

use std::sync::Arc;
use std::time::Duration;

use deskbridge_core::fault_point;
use deskbridge_core::incident::Incident;
use deskbridge_help_desks::NewTicket;
use deskbridge_store::{IncidentTicket, LeasedEvent, StoredIncident};
use deskbridge_work::WorkError;
use deskbridge_work::delivery::Deliverer;
use serde_json::{Map, Value};

use crate::connections::Connection;
use crate::create_ticket::{self, TICKET};
use crate::{Services, note};

/// Callers post again and again until they have the ticket: what is unknown is decided within about 25 s (with what delivery adds), also where
/// a ticket system's settings give sessions' records more time.
const DECIDED_WITHIN: Duration = Duration::from_secs(12);

/// The id of the incident's ticket, made or found. `None`: it ended before anything was written, and gets none.
pub(super) async fn run(
    services: &Services,
    connection: &Arc<Connection>,
    deliverer: &mut Deliverer<'_>,
    event: &LeasedEvent,
    known: &StoredIncident,
) -> Result<Option<String>, WorkError> {
    deliverer.hurry(DECIDED_WITHIN);
    // One that an earlier attempt made knows nothing of what happened since.
    let may_stand = deliverer.is_sent(TICKET) || create_ticket::created(deliverer).is_some();
    let is_new = !may_stand && known.is_open;
    let ticket = if known.is_open {
        let new = new_ticket(services, connection, known).await?;
        Some(create_ticket::write(deliverer, &new).await?)
    } else {
        create_ticket::look_for(deliverer).await?
    };
    let Some(ticket) = ticket else { return Ok(None) };
    let url = match deliverer.heard().help_desk(connection.help_desk.ticket_url(&ticket).await) {
        Ok(url) => url,
        Err(error) => {
            deliverer.confirm_written().await?;
            return Err(error);
        }
    };
    let kept = IncidentTicket { id: ticket.clone(), url };
    let untold = if is_new { known.changes } else { 0 };
    let key = deliverer.key(TICKET);
    services.store.incident_made(connection.id, &event.lsid, &kept, &key, untold, services.clock.now_ms()).await?;
    services.incidents.tell(connection.id, &event.lsid);
    fault_point::reach("incident_made");
    tracing::info!(connection = connection.name(), ticket, lsid = event.lsid, "ticket made for an incident");
    create_ticket::fill_fields(services, connection, &ticket).await;
    Ok(Some(ticket))
}

async fn new_ticket(services: &Services, connection: &Connection, known: &StoredIncident) -> Result<NewTicket, WorkError> {
    let unreadable = |what: String| WorkError::Permanent(format!("the stored incident cannot be read ({what}); post it again"));
    let posted = known.posted.as_deref().ok_or_else(|| unreadable("nothing is stored".into()))?;
    let posted: Value = serde_json::from_str(posted).map_err(|error| unreadable(error.to_string()))?;
    let incident = Arc::new(Incident::read(posted).map_err(|fault| unreadable(fault.to_string()))?);
    let (reports, time_zone, told) = (services.reports.clone(), connection.time_zone.clone(), incident.clone());
    let document = note::off_the_runtime(move || reports.incident(&told, &time_zone)).await;
    let document = document.map_err(|fault| WorkError::Permanent(fault.to_string()))?;
    let (title, description) = (incident.title.clone(), incident.description.clone());
    // What the settings give every new ticket must not take the place of these.
    let text = |text: &str| Value::from(text);
    let fields = Map::from_iter([("title".to_owned(), text(&title)), ("description".to_owned(), text(&description))]);
    let refers_to = incident.details_url.iter().chain(&incident.url).cloned().collect();
    Ok(NewTicket { fields, title, description, document: Some(document), refers_to, incident: Some(incident), ..NewTicket::default() })
}
