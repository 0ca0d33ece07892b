//! What an outbound event's name asks for (beyondtrust.md E.3).

use deskbridge_core::event::EventKind;

/// The names the appliance posts. Unknown ones are acknowledged and ignored: later versions have more.
const NAMES: [(&str, EventKind); 7] = [
    ("support_conference_begin", EventKind::Progress),
    ("support_conference_owner_changed", EventKind::Progress),
    ("support_conference_member_departed", EventKind::Progress),
    ("support_conference_member_added", EventKind::SomeoneJoins),
    ("support_conference_end", EventKind::SessionEnd),
    ("support_conference_customer_exit_survey_completed", EventKind::CustomerSurvey),
    ("support_conference_rep_exit_survey_completed", EventKind::RepresentativeSurvey),
];

/// The event of a posted name.
pub fn of_posted_name(name: &str) -> Option<EventKind> {
    NAMES.iter().find(|(posted, _)| *posted == name).map(|(_, event)| *event)
}
