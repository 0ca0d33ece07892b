//! An exit survey was answered: it goes onto the ticket of its session, once.
//!
//! The event may come before the survey can be read, and a representative's survey before the session's report.

use super::deliver;
use super::import_session::{ImportError, NO_TICKET, read_report, ticket_of};
use crate::app::App;
use crate::appliance::{self, ExitSurvey, SurveyQuery};
use crate::connections::Connection;
use crate::reports::RenderOptions;
use crate::store::{EventName, LeasedEvent};

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
    for (index, survey) in surveys.iter().enumerate() {
        // Several people may answer; each answer is a delivery of its own.
        let kind = if index == 0 { kind.to_owned() } else { format!("{kind}-{index}") };
        let render = |options: &RenderOptions, limit| {
            if customer {
                app.reports.fit_customer_survey(survey, options, limit)
            } else {
                app.reports.fit_representative_survey(survey, options, limit)
            }
        };
        done.push(deliver::note(app, connection, event, &kind, &ticket, &title, render).await?);
    }
    if done.is_empty() { Err(ImportError::NotReady) } else { Ok(done.join("; ")) }
}

async fn surveys(connection: &Connection, customer: bool, query: SurveyQuery<'_>) -> Result<Vec<ExitSurvey>, appliance::Error> {
    if customer { connection.appliance.customer_surveys(query).await } else { connection.appliance.representative_surveys(query).await }
}
