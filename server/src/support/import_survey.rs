//! An exit survey was answered: it goes onto the ticket of its session, once.
//!
//! The event may come before the survey can be read, and a representative's survey before the session's report.

use super::import_session::{ImportError, deliver, read_report, ticket_of};
use crate::app::App;
use crate::appliance::SurveyQuery;
use crate::connections::Connection;
use crate::reports::RenderOptions;
use crate::store::{EventName, LeasedEvent};

/// Imports the survey of `event`. The answer says what was done.
pub async fn run(app: &App, connection: &Connection, event: &LeasedEvent) -> Result<String, ImportError> {
    let report = read_report(connection, &event.lsid).await?;
    let Some(ticket) = ticket_of(connection, &report)? else { return Ok("the session belongs to no ticket (no external key)".into()) };
    let query = SurveyQuery::Lsid(&event.lsid);
    let customer = event.kind == EventName::CustomerSurvey;
    let (surveys, kind) = if customer {
        (connection.appliance.customer_surveys(query).await?, "customer-survey")
    } else {
        (connection.appliance.representative_surveys(query).await?, "representative-survey")
    };
    let surveys: Vec<_> = surveys.into_iter().filter(|survey| survey.lsid == event.lsid).collect();
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
        done.push(deliver(app, connection, &event.lsid, &kind, &ticket, render).await?);
    }
    if done.is_empty() { Err(ImportError::NotReady) } else { Ok(done.join("; ")) }
}
