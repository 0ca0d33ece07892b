//! Times as the API reads and writes them: UTC, ISO 8601 (autotask-extension.md a.13), and the clock they come from.

use time::format_description::well_known::Rfc3339;
use time::{OffsetDateTime, UtcOffset};

/// The machine's clock: peers outside this process live by it.
#[expect(clippy::disallowed_methods, reason = "an outside system has its own clock; tests move it by advance_clock")]
pub(super) fn real_time() -> OffsetDateTime {
    OffsetDateTime::now_utc()
}

/// A time of a request; without a zone it is UTC, without a time it is midnight.
pub(super) fn parse(text: &str) -> Option<OffsetDateTime> {
    let candidates = [text.to_owned(), format!("{text}Z"), format!("{text}T00:00:00Z")];
    let parsed = candidates.iter().find_map(|candidate| OffsetDateTime::parse(candidate, &Rfc3339).ok())?;
    Some(parsed.to_offset(UtcOffset::UTC))
}

/// With milliseconds when there are any: `2018-01-23T11:00:00Z`, `2018-01-23T11:00:57.537Z`.
pub(super) fn written(at: OffsetDateTime) -> String {
    let at = at.to_offset(UtcOffset::UTC);
    let milliseconds = at.replace_millisecond(at.millisecond()).unwrap_or(at);
    milliseconds.format(&Rfc3339).unwrap_or_default()
}
