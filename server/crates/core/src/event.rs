//! What happens to a support session, and where we hear of it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What an event asks for. Settings name only what an engine posts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// Something happened in a session that goes on; only the live state changes.
    #[serde(skip)]
    Progress,
    /// Support Session End: its report is due.
    SessionEnd,
    /// Customer Exit Survey is Completed.
    CustomerSurvey,
    /// Representative Survey is Completed.
    RepresentativeSurvey,
    /// Someone Joins a Support Session: may create a ticket.
    SomeoneJoins,
    /// Somebody at a machine asks for help: may create a ticket. The event's session id is the request's. Its engine has its own setting.
    #[serde(skip)]
    HelpRequest,
    /// An incident was posted: it needs a ticket. Of this and the two below, the event's session id is the incident's.
    #[serde(skip)]
    Incident,
    /// An incident ended: its ticket is told.
    #[serde(skip)]
    IncidentEnd,
    /// An incident that had ended is open again: its ticket is told.
    #[serde(skip)]
    IncidentReopened,
}

impl EventKind {
    const ALL: [(Self, &'static str, i32); 9] = [
        (Self::Progress, "progress", 0),
        (Self::SomeoneJoins, "someone_joins", 0),
        (Self::HelpRequest, "help_request", 0),
        (Self::Incident, "incident", 0),
        (Self::SessionEnd, "session_end", 1),
        (Self::CustomerSurvey, "customer_survey", 2),
        (Self::RepresentativeSurvey, "representative_survey", 2),
        (Self::IncidentEnd, "incident_end", 1),
        (Self::IncidentReopened, "incident_reopened", 1),
    ];

    /// Every kind that settings can name.
    pub fn all_in_settings() -> Vec<Self> {
        vec![Self::SessionEnd, Self::CustomerSurvey, Self::RepresentativeSurvey, Self::SomeoneJoins]
    }

    /// The stored name.
    pub fn as_str(self) -> &'static str {
        Self::ALL.iter().find(|(kind, ..)| *kind == self).map_or("progress", |(_, text, _)| text)
    }

    /// The kind of a stored name.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().find(|(_, name, _)| *name == text).map(|(kind, ..)| *kind)
    }

    /// Whether settings can name it. What they cannot name is always processed and tried again.
    pub fn is_in_settings(self) -> bool {
        !matches!(self, Self::Progress | Self::HelpRequest) && !self.is_of_incident()
    }

    /// Whether it is about an incident: no engine's settings decide about it.
    pub fn is_of_incident(self) -> bool {
        matches!(self, Self::Incident | Self::IncidentEnd | Self::IncidentReopened)
    }

    /// Orders the events of one support session: a lower rank goes first.
    pub fn rank(self) -> i32 {
        Self::ALL.iter().find(|(kind, ..)| *kind == self).map_or(0, |(.., rank)| *rank)
    }
}

/// Where an event came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Posted or pushed by the engine.
    Outbound,
    /// Found by asking the engine.
    Polling,
}

impl Origin {
    /// The stored name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Outbound => "outbound",
            Self::Polling => "polling",
        }
    }

    /// The origin of a stored name.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Outbound, Self::Polling].into_iter().find(|origin| origin.as_str() == text)
    }
}
