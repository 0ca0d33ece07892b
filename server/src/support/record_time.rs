//! The session's time goes onto its ticket, once: the real start and end, for the primary representative.

use super::deliver::{Item, delivery_key, marker, once};
use super::import_session::ImportError;
use crate::app::App;
use crate::appliance::SupportSession;
use crate::connections::Connection;
use crate::store::LeasedEvent;
use crate::tickets::TimeEntry;

/// The delivery of a session's time.
pub(super) const TIME: &str = "time";

/// Records the session's time where the ticket system does. `None`: it does not.
pub(super) async fn run(
    app: &App,
    connection: &Connection,
    event: &LeasedEvent,
    ticket: &str,
    report: &SupportSession,
) -> Result<Option<String>, ImportError> {
    if !connection.tickets.abilities().records_time {
        return Ok(None);
    }
    let representative = report.primary_representative().and_then(|representative| representative.username.clone());
    let (Some(start), Some(end), Some(representative)) = (report.start_time, report.end_time, representative) else {
        return Ok(Some("no time entry: no representative was in the session".into()));
    };
    let key = delivery_key(connection, event, TIME);
    let ms = |seconds: i64| seconds.saturating_mul(1_000);
    let entry = TimeEntry { started_at: ms(start), ended_at: ms(end), representative, marker: marker(&key) };
    let done = once(app, connection, event, &key, (ticket, &entry.marker), Item::Time(&entry)).await?;
    Ok(Some(format!("the time entry {} ticket {} (entry {})", done.how, done.ticket, done.remote_id)))
}
