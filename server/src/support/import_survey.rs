//! An exit survey was answered: it goes onto the ticket of its session, once.
//!
//! The event may come before the survey can be read, and a representative's survey before the session's report.

use super::deliver;
use super::import_session::{ImportError, NO_TICKET, read_report, ticket_of};
use crate::app::App;
use crate::appliance::{self, ExitSurvey, SurveyQuery};
use crate::connections::Connection;
use crate::reports::RenderOptions;
use crate::security::sha256;
use crate::store::{EventName, LeasedEvent, Origin};

/// A survey is waited for this long if others of its session can be read already.
const OTHERS_PATIENCE_MS: i64 = 20_000;
/// Length of the window in which a session is looked for by its start.
const WINDOW_SECONDS: u32 = 10;

/// Imports the survey of `event`. The answer says what was done.
pub async fn run(app: &App, connection: &Connection, event: &LeasedEvent) -> Result<String, ImportError> {
    let report = read_report(connection, &event.lsid).await?;
    let Some(ticket) = ticket_of(app, connection, event, &report).await? else { return Ok(NO_TICKET.into()) };
    if connection.tickets.abilities().note.is_none() {
        return Ok("the ticket system takes no notes from a server".into());
    }
    let customer = event.kind == EventName::CustomerSurvey;
    let kind = if customer { "customer-survey" } else { "representative-survey" };
    let surveys = match surveys(connection, customer, SurveyQuery::Lsid(&event.lsid)).await {
        // Old appliances know surveys by the time their session began only (beyondtrust.md D.7).
        Err(appliance::Error::Refused { .. }) if report.start_time.is_some() => {
            let start = report.start_time.unwrap_or_default() - i64::from(WINDOW_SECONDS / 2);
            surveys(connection, customer, SurveyQuery::Window { start, seconds: WINDOW_SECONDS }).await?
        }
        other => other?,
    };
    let mut surveys: Vec<_> = surveys.into_iter().filter(|survey| survey.lsid.eq_ignore_ascii_case(&event.lsid)).collect();
    surveys.sort_by_key(|survey| survey.timestamp);
    let title = format!("{} exit survey of session {}", if customer { "Customer's" } else { "Representative's" }, event.lsid);
    let mut done = Vec::new();
    for survey in &surveys {
        // Several people may answer; each answer is a delivery of its own, whichever of them can be read first.
        let kind = format!("{kind}-{}", distinction(survey));
        let render = |options: &RenderOptions, limit| {
            if customer {
                app.reports.fit_customer_survey(survey, options, limit)
            } else {
                app.reports.fit_representative_survey(survey, options, limit)
            }
        };
        done.push(deliver::note(app, connection, event, &kind, &ticket, &title, render).await?);
    }
    // The appliance tells of each survey once: with fewer surveys, one of them cannot be read yet.
    let told = app.store.known_events(connection.name(), event.kind, std::slice::from_ref(&event.lsid)).await?;
    let told = told.iter().filter(|(_, origin)| *origin == Origin::Outbound).count();
    let is_waited_for = app.clock.now_ms() - event.received_at < OTHERS_PATIENCE_MS;
    if done.is_empty() || done.len() < told && is_waited_for { Err(ImportError::NotReady) } else { Ok(done.join("; ")) }
}

/// Tells the surveys of a session apart.
fn distinction(survey: &ExitSurvey) -> String {
    let by = survey.submitted_by.as_ref().map(|actor| format!("{actor:?}")).unwrap_or_default();
    let [a, b, c, d, ..] = sha256(format!("{:?}/{by}", survey.timestamp).as_bytes());
    format!("{:08x}", u32::from_be_bytes([a, b, c, d]))
}

async fn surveys(connection: &Connection, customer: bool, query: SurveyQuery<'_>) -> Result<Vec<ExitSurvey>, appliance::Error> {
    if customer { connection.appliance.customer_surveys(query).await } else { connection.appliance.representative_surveys(query).await }
}
