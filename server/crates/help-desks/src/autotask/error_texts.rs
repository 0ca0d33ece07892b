//! The words of Autotask's refusals, and what they mean: nearly all come with HTTP 500, so the words must say whether the same request
//! will be refused again (autotask-extension.md a.11).
//!
//! Must not look at the status but where words alone are ambiguous. Words nobody has written down mean nothing for good: the request is
//! tried again until the limit of attempts.

use std::time::Duration;

use deskbridge_core::text::shown;
use serde_json::Value;

/// How much of a refusal is told.
pub(super) const MAX_EXCERPT: usize = 400;
/// When to come again after too many requests at a time, where the answer does not say.
const AFTER_THREAD_LIMIT: Duration = Duration::from_secs(5);
/// The same after too many requests in an hour.
const AFTER_HOURLY_LIMIT: Duration = Duration::from_mins(2);
/// The same after too many bytes of files in five minutes (autotask-extension.md a.10).
const AFTER_FILE_LIMIT: Duration = Duration::from_mins(5);

/// Parts of refusals that pass by themselves, whatever else they say.
const PASSING_TEXTS: [&str; 8] =
    ["deadlock", "timed out", "timeout", "try again", "temporarily", "unavailable", "concurrent", "invalid operation"];

/// Parts of refusals that judge what was sent (autotask-extension.md a.5, a.6, a.7, a.10, a.11). Rather too many than too few: each is
/// how a validation speaks, not how a machine fails.
const PERMANENT_TEXTS: [&str; 46] = [
    // Fields, choices, references.
    "does not exist",
    "do not exist",
    "required field",
    "is required",
    "are required",
    "must have",
    "must be",
    "must not",
    "must contain",
    "must assign",
    "you must",
    "needs to be",
    "have to be",
    "require a",
    "can not be",
    "cannot be",
    "may not",
    "should not",
    "could not convert",
    "cannot convert",
    "unable to find",
    "unable to convert",
    "not found",
    "no matching record",
    "invalid",
    "not valid",
    "not supported",
    "unsupported",
    "not currently defined",
    "not an active",
    "not active",
    "inactive",
    "does not belong",
    "only one of",
    "already exists",
    "duplicate",
    "read-only",
    // Sizes and times.
    "length",
    "too long",
    "too large",
    "exceeds the maximum",
    "characters",
    "greater than",
    "midnight",
    // Rights on a field or a value.
    "not authori",
    "not allowed",
];

/// What to do about a refusal, by a part of its text (autotask-extension.md a.5, a.7).
const ADVICE: [(&str, &str); 9] = [
    ("combination is not currently defined", "give the resource that role, with a Service Desk queue"),
    ("assign both", "give assignedResourceName and assignedResourceRoleName together in ticket_default_data, or neither"),
    ("is not an active general allocation code", "allocationCodeID must be a work type (a billing code of use type 1) that is active"),
    ("not exist for the required field", "a new ticket's fields can be given in ticket_default_data or in the session's external key"),
    ("queueid is required", "give queueID in ticket_default_data, or assignedResourceName"),
    ("picklist value", "Autotask's numbers differ from tenant to tenant; use the label"),
    ("summarynotes can not be blank", "give summaryNotes in time_entry_default_data"),
    ("require a start and stop time", "the ticket's type needs both; report this"),
    ("hoursworked greater than 24 hours", "enter the time by hand"),
];

/// What to do, in brackets; nothing where nobody knows.
pub(super) fn advice(said: &str) -> String {
    let said = said.to_lowercase();
    let found = ADVICE.iter().find(|(text, _)| said.contains(text));
    found.map_or_else(String::new, |(_, advice)| format!(" ({advice})"))
}

/// Whether a refusal passes by itself.
pub(super) fn passes(said: &str) -> bool {
    has_any(said, &PASSING_TEXTS)
}

/// Whether Autotask gave up waiting for something that may still go on.
pub(super) fn is_about_time(said: &str) -> bool {
    has_any(said, &["timed out", "timeout"])
}

/// Whether the same request will be refused again.
pub(super) fn is_permanent(said: &str) -> bool {
    !passes(said) && has_any(said, &PERMANENT_TEXTS)
}

/// Whether the API user lacks a right (autotask-extension.md a.9).
pub(super) fn lacks_right(said: &str) -> bool {
    has_any(said, &["adequate permissions"])
}

fn has_any(said: &str, texts: &[&str]) -> bool {
    let said = said.to_lowercase();
    texts.iter().any(|text| said.contains(text))
}

/// The wait that a refusal for too many requests means; these come with many a status (autotask-extension.md a.10 to a.12).
pub(super) fn throttled(status: u16, said: &str) -> Option<Duration> {
    let said = said.to_lowercase();
    let says = |texts: &[&str]| texts.iter().all(|text| said.contains(text));
    if said.contains("itgenatr005") || says(&["thread", "threshold"]) {
        return Some(AFTER_THREAD_LIMIT);
    }
    if status >= 400 && (says(&["attachment", "5 minute"]) || says(&["attachment", "five minute"])) {
        return Some(AFTER_FILE_LIMIT);
    }
    if status >= 400 && says(&["threshold", "exceeded"]) {
        return Some(AFTER_HOURLY_LIMIT);
    }
    (status == 429).then_some(AFTER_THREAD_LIMIT)
}

/// The words of Autotask itself; none if somebody else speaks, the web framework for example, which knows `Message` only
/// (autotask-extension.md a.11).
pub(super) fn errors(body: &Value) -> Option<String> {
    let of_error = |error: &Value| error.as_str().or_else(|| error["message"].as_str()).map(str::to_owned);
    let errors: Vec<String> = body["errors"].as_array()?.iter().filter_map(of_error).collect();
    Some(excerpt(&errors.join("; "))).filter(|words| !words.is_empty())
}

/// The words of an error body of any known shape.
pub(super) fn said(body: &Value) -> Option<String> {
    errors(body).or_else(|| {
        let message = body["Message"].as_str().or_else(|| body["message"].as_str())?;
        Some(excerpt(message)).filter(|words| !words.is_empty())
    })
}

/// The beginning of a text, on one line.
pub(super) fn excerpt(text: &str) -> String {
    shown(&text.split_whitespace().collect::<Vec<_>>().join(" "), MAX_EXCERPT)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_judges_the_request_is_permanent_and_what_nobody_knows_is_not() {
        for permanent in [
            "Value does not exist for the required field resourceID",
            "TimeEntries for Tickets must have a roleID",
            "The specified AssignedResourceID and AssignedRoleID combination is not currently defined",
            "Must have at least one of hoursWorked or startDateTime/endDateTime",
            "TimeEntries for Service tickets require a start and stop time.",
            "dateWorked is required when no value is supplied for startDateTime",
            "TimeEntry.summaryNotes can not be blank.",
            "hoursWorked greater than 24 hours or less than zero hours",
            "The given allocation code is not an active general allocation code",
            "Only one of ticketID,taskID and InternallAllocationCodeID can be used at once",
            "Picklist value [3] does not exist for priority",
            "Could not convert string to integer: High. Path 'status', line 1, position 14.",
            "Unable to find Colour in the Ticket Entity.",
            "No message. No matching records found.",
            "The string length of description exceeds 8000",
            "The API user is not authorized to set billingCodeID",
            "Time entries may not span over midnight.",
            "The file type .exe is not allowed",
            "You must assign both a Resource and a Role.",
            "You must assign both assignedResourceID and assignedResourceRoleID",
            "A Role needs to be assigned together with the Resource",
            "You must select a work type before saving",
            "AssignedResourceID and AssignedResourceRoleID have to be given together",
        ] {
            assert!(is_permanent(permanent), "{permanent}");
        }
        for passing in [
            "An error has occurred.",
            "Object reference not set to an instance of an object.",
            "Some text nobody has written down yet",
            "Transaction (Process ID 71) was deadlocked on lock resources. The value is invalid.",
            "Invalid operation. The connection is closed.",
            "Timeout expired. The timeout period elapsed prior to completion, or the server must be restarted.",
            "The service is temporarily not supported",
        ] {
            assert!(!is_permanent(passing), "{passing}");
        }
    }

    #[test]
    fn words_are_read_in_any_shape_and_within_bounds() {
        assert_eq!(said(&json!({ "errors": ["a\r\n  b", { "message": "c" }] })).as_deref(), Some("a b; c"));
        assert_eq!(said(&json!({ "errors": ["x".repeat(10_000)] })).unwrap().len(), MAX_EXCERPT);
        let of_framework = json!({ "Message": "An error has occurred." });
        assert_eq!((said(&of_framework).as_deref(), errors(&of_framework)), (Some("An error has occurred."), None));
        assert_eq!(said(&json!({ "errors": [] })), None);
    }
}
