//! The session's time goes onto its ticket, once: the real start and end, for the primary representative.

use deskbridge_core::session_report::SessionReport;
use deskbridge_help_desks::{Item, TimeEntry};
use deskbridge_store::Result as StoreResult;
use deskbridge_work::WorkError;
use deskbridge_work::delivery::{Deliverer, Planned};

use crate::Services;
use crate::connections::Connection;
use crate::note::marker;
use crate::ownership::CLOCK_TOLERANCE_MS;

/// The delivery of a session's time.
pub(crate) const TIME: &str = "time";

/// Records the session's time where the help desk does. `None`: it does not.
pub(crate) async fn run(
    services: &Services,
    connection: &Connection,
    deliverer: &mut Deliverer<'_>,
    ticket: &str,
    report: &SessionReport,
) -> Result<Option<String>, WorkError> {
    if !connection.help_desk.abilities().records_time {
        return Ok(None);
    }
    let representative = match report.primary_representative().and_then(|representative| representative.username.clone()) {
        Some(name) => Some(name),
        None => agent_of_link(services, connection, ticket, report).await?,
    };
    let (Some(start), Some(end), Some(representative)) = (report.start_time, report.end_time, representative) else {
        return Ok(Some("no time entry: no representative was in the session".into()));
    };
    let marker = marker(&deliverer.key(TIME));
    let ms = |seconds: i64| seconds.saturating_mul(1_000);
    let entry = TimeEntry { started_at: ms(start), ended_at: ms(end), representative };
    let done = deliverer.once(&Planned { kind: TIME, ticket, marker: &marker, item: Item::Time(&entry) }).await?;
    Ok(Some(format!("the time entry {} ticket {} (entry {})", done.how, done.ticket, done.remote_id)))
}

/// A link names its agent; what the help desk knows them by stands beside it.
async fn agent_of_link(services: &Services, connection: &Connection, ticket: &str, report: &SessionReport) -> StoreResult<Option<String>> {
    let Some(((kind, agent), began)) = report.kind.zip(report.representative_name()).zip(report.start_time) else { return Ok(None) };
    let at = began.saturating_mul(1_000).saturating_add(CLOCK_TOLERANCE_MS);
    services.store.agent_email(connection.id, ticket, kind.as_str(), agent, at).await
}
