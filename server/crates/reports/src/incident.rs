//! What the template of an incident's ticket can say.
//!
//! As in context.rs every field is public contract. Everything here was written by the devices and people the incident is about: the template
//! engine escapes it, and what becomes a link is judged where the document is written.

use deskbridge_core::incident::{Incident, level_word};
use deskbridge_core::time_zone::TimeZone;
use deskbridge_documents::{Document, parse};
use serde::Serialize;
use serde_json::Value;

use super::context::{Moment, NameValue, moment};
use super::{ReportTemplates, TemplateFault, render_fault};

/// File name of the template, and what is built in.
pub(super) const TEMPLATE: (&str, &str) = ("incident.hbs", include_str!("../templates/incident.hbs"));

/// Context of `incident`.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct IncidentContext {
    /// Name of the monitoring system that noticed it.
    pub source: String,
    /// Its id of the incident.
    pub id: String,
    /// One line.
    pub title: String,
    /// Several lines.
    pub description: String,
    /// The title says something that the description does not.
    pub has_own_title: bool,
    /// 1 (critical) to 5 (information).
    pub level: Option<u8>,
    /// `High`.
    pub level_name: Option<String>,
    /// Begin.
    pub started: Option<Moment>,
    /// End.
    pub ended: Option<Moment>,
    /// It has not ended.
    pub is_open: bool,
    /// Its page.
    pub url: Option<String>,
    /// `Argus`, or `Page`.
    pub url_name: String,
    /// Its page in the source.
    pub details_url: Option<String>,
    /// Who made it a ticket, where Argus says.
    pub user: Option<String>,
    /// In the order told.
    pub tags: Vec<NameValue>,
    /// All that was posted, as it was posted.
    pub posted: Value,
    /// `UTC`, `Europe/Berlin` or `+01:00`.
    pub time_zone: String,
}

impl IncidentContext {
    /// The context of an incident.
    fn new(incident: &Incident, time_zone: &TimeZone) -> Self {
        let at = |unix_ms: Option<i64>| moment(time_zone, unix_ms?.div_euclid(1_000));
        Self {
            source: incident.source.clone(),
            id: incident.id.clone(),
            title: incident.title.clone(),
            description: incident.description.trim().to_owned(),
            has_own_title: incident.title.split_whitespace().ne(incident.description.split_whitespace()),
            level: incident.level,
            level_name: incident.level.map(|level| level_word(level).to_owned()),
            started: at(incident.started_at),
            ended: at(incident.ended_at),
            is_open: incident.is_open,
            url: incident.url.clone(),
            url_name: if incident.posted["source"].is_object() { "Argus" } else { "Page" }.to_owned(),
            details_url: incident.details_url.clone(),
            user: incident.user.clone(),
            tags: incident.tags.iter().map(|tag| NameValue { name: tag.key.clone(), value: tag.value.clone() }).collect(),
            posted: incident.posted.clone(),
            time_zone: time_zone.name(),
        }
    }

    /// A full incident of Argus, one of the small form, one full of hostile text, and one with nothing but what must be there.
    pub fn samples() -> Vec<Self> {
        let zone = TimeZone::of_minutes(60);
        let nasty = super::samples::NASTY;
        let read = |posted: Value| Incident::read(posted).map(|incident| Self::new(&incident, &zone));
        let samples = [
            serde_json::json!({
                "pk": 1, "start_time": "2026-11-21T21:14:00.123456+01:00", "end_time": "2026-11-21T22:14:00+01:00",
                "source": { "pk": 2, "name": "nav.example.org", "type": { "name": "nav" } }, "source_incident_id": "42",
                "details_url": "https://nav.example.org/event/42", "description": "Link down: core-1 xe-0/0/1\nsince the storm", "level": 2,
                "metadata": { "k": 1 }, "tags": [{ "tag": "host=core-1" }, { "tag": "url=https://x.example/?a=b" }],
                "argus_url": "https://argus.example.org/incidents/1", "user": "Admin"
            }),
            serde_json::json!({
                "source": "zabbix", "id": "7", "title": "Disk full", "description": "98 % of /var", "level": 3, "url": "https://z.example/7",
                "tags": { "host": "db-1" }
            }),
            serde_json::json!({
                "source": nasty, "id": nasty, "title": nasty, "description": nasty, "url": "javascript:alert(1)", "tags": { nasty: nasty }
            }),
            serde_json::json!({ "source": "zabbix", "id": "8", "title": "Disk full" }),
        ];
        samples.into_iter().filter_map(|posted| read(posted).ok()).collect()
    }
}

impl ReportTemplates {
    /// The text of an incident's ticket.
    ///
    /// # Errors
    /// The template cannot be rendered.
    pub fn incident(&self, incident: &Incident, time_zone: &TimeZone) -> Result<Document, TemplateFault> {
        Ok(parse::from_html(&self.render_incident(&IncidentContext::new(incident, time_zone))?))
    }

    pub(super) fn render_incident(&self, context: &IncidentContext) -> Result<String, TemplateFault> {
        self.html.render(TEMPLATE.0, context).map_err(|error| render_fault(self.file(TEMPLATE.0), &error))
    }
}
