//! Which events a connection processes, and how often it tries again.

use std::time::Duration;

use crate::event::{EventKind, Origin};

/// How often a failed event of an incident is tried again, whatever an engine's settings say: about a day.
const INCIDENT_RETRIES: u32 = 10;

/// What a connection wants of its remote-support system's events. Each engine's section has its own words for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventPolicy {
    /// Pushed events that are processed.
    pub outbound: Vec<EventKind>,
    /// Events that are looked for where none was pushed.
    pub polling: Vec<EventKind>,
    /// Time between two sweeps.
    pub polling_interval: Duration,
    /// How often a failed event is tried again before it becomes a dead letter.
    pub retry_attempt_limit: u32,
    /// Pushed events that are tried again.
    pub retry_outbound: Vec<EventKind>,
    /// Polled events that are tried again.
    pub retry_polling: Vec<EventKind>,
}

impl Default for EventPolicy {
    /// Everything pushed is processed, and everything is tried again ten times.
    fn default() -> Self {
        Self {
            outbound: EventKind::all_in_settings(),
            polling: Vec::new(),
            polling_interval: Duration::from_mins(5),
            retry_attempt_limit: 10,
            retry_outbound: EventKind::all_in_settings(),
            retry_polling: vec![EventKind::SessionEnd],
        }
    }
}

impl EventPolicy {
    /// Whether this pushed event is processed. Progress always is: it only brings the live state along.
    pub fn processes(&self, kind: EventKind) -> bool {
        !kind.is_in_settings() || self.outbound.contains(&kind)
    }

    /// Whether an event of this kind from there is tried again.
    pub fn retries(&self, kind: EventKind, origin: Origin) -> bool {
        let list = match origin {
            // Sweeps find surveys too, which the setting for polled events does not know.
            Origin::Polling if kind == EventKind::SessionEnd => &self.retry_polling,
            Origin::Polling | Origin::Outbound => &self.retry_outbound,
        };
        !kind.is_in_settings() || list.contains(&kind)
    }

    /// How often an event of this kind is tried again at most.
    pub fn limit(&self, kind: EventKind) -> u32 {
        if kind.is_of_incident() { INCIDENT_RETRIES } else { self.retry_attempt_limit }
    }

    /// Whether an event of this kind is processed that a sweep found, or that was posted to another connection of the appliance.
    pub fn processes_found(&self, kind: EventKind) -> bool {
        match kind {
            EventKind::SessionEnd | EventKind::CustomerSurvey | EventKind::RepresentativeSurvey => {
                self.polling.contains(&EventKind::SessionEnd) || self.outbound.contains(&kind)
            }
            EventKind::Progress
            | EventKind::SomeoneJoins
            | EventKind::HelpRequest
            | EventKind::Incident
            | EventKind::IncidentEnd
            | EventKind::IncidentReopened => self.processes(kind),
        }
    }

    /// Whether sweeps look for sessions that ended.
    pub fn sweeps(&self) -> bool {
        self.processes_found(EventKind::SessionEnd)
    }
}
