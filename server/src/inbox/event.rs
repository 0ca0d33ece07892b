//! What an outbound event's name asks for (beyondtrust.md E.3).

use crate::config::{ApplianceSection, EventKind};
use crate::store::EventName;

/// The names the appliance posts. Unknown ones are acknowledged and ignored: later versions have more.
const NAMES: [(&str, EventName); 7] = [
    ("support_conference_begin", EventName::Progress),
    ("support_conference_owner_changed", EventName::Progress),
    ("support_conference_member_departed", EventName::Progress),
    ("support_conference_member_added", EventName::SomeoneJoins),
    ("support_conference_end", EventName::SessionEnd),
    ("support_conference_customer_exit_survey_completed", EventName::CustomerSurvey),
    ("support_conference_rep_exit_survey_completed", EventName::RepresentativeSurvey),
];

/// The event of a posted name.
pub fn of_posted_name(name: &str) -> Option<EventName> {
    NAMES.iter().find(|(posted, _)| *posted == name).map(|(_, event)| *event)
}

/// The setting that speaks of this event; none for mere progress.
pub fn setting(event: EventName) -> Option<EventKind> {
    match event {
        EventName::Progress => None,
        EventName::SomeoneJoins => Some(EventKind::SomeoneJoins),
        EventName::SessionEnd => Some(EventKind::SessionEnd),
        EventName::CustomerSurvey => Some(EventKind::CustomerSurvey),
        EventName::RepresentativeSurvey => Some(EventKind::RepresentativeSurvey),
    }
}

/// Whether the connection processes this outbound event.
pub fn is_processed(section: &ApplianceSection, event: EventName) -> bool {
    setting(event).is_none_or(|kind| section.outbound_events.contains(&kind))
}
