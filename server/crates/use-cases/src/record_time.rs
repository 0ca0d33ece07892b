//! The session's time goes onto its ticket, once: the real start and end, for the primary representative.

use deskbridge_core::session_report::SessionReport;
use deskbridge_help_desks::{Item, TimeEntry};
use deskbridge_work::WorkError;
use deskbridge_work::delivery::{Deliverer, Planned};

use crate::connections::Connection;
use crate::note::marker;

/// The delivery of a session's time.
pub(crate) const TIME: &str = "time";

/// Records the session's time where the help desk does. `None`: it does not.
pub(crate) async fn run(
    connection: &Connection,
    deliverer: &mut Deliverer<'_>,
    ticket: &str,
    report: &SessionReport,
) -> Result<Option<String>, WorkError> {
    if !connection.help_desk.abilities().records_time {
        return Ok(None);
    }
    let representative = report.primary_representative().and_then(|representative| representative.username.clone());
    let (Some(start), Some(end), Some(representative)) = (report.start_time, report.end_time, representative) else {
        return Ok(Some("no time entry: no representative was in the session".into()));
    };
    let marker = marker(&deliverer.key(TIME));
    let ms = |seconds: i64| seconds.saturating_mul(1_000);
    let entry = TimeEntry { started_at: ms(start), ended_at: ms(end), representative };
    let done = deliverer.once(&Planned { kind: TIME, ticket, marker: &marker, item: Item::Time(&entry) }).await?;
    Ok(Some(format!("the time entry {} ticket {} (entry {})", done.how, done.ticket, done.remote_id)))
}
