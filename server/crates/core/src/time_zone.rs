//! The time zone in which people read times: the offset from UTC is the one of each moment, not one for the whole year.
//!
//! What is known of zones is in the program: a server's own data may be old or missing, and the same report must not differ by server.

use std::fmt;
use std::sync::LazyLock;

use jiff::Timestamp;
use jiff::tz::{Offset, TimeZone as Rules, TimeZoneDatabase};
use time::{OffsetDateTime, UtcOffset};

/// The farthest that a zone is from UTC.
const MOST_MINUTES: i32 = 14 * 60;
/// A name may differ from a known one by one letter in so many, to be taken for a slip.
const LETTERS_FOR_A_SLIP: usize = 3;

static KNOWN: LazyLock<TimeZoneDatabase> = LazyLock::new(TimeZoneDatabase::bundled);

/// A time zone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimeZone(Rules);

/// A moment as clocks in a zone show it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalTime {
    /// Date and time.
    pub at: OffsetDateTime,
    /// `UTC`, or `+01:00`.
    pub offset: String,
}

impl fmt::Display for LocalTime {
    /// `2024-12-03 16:26:05 +01:00`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { at, offset } = self;
        let (month, day) = (u8::from(at.month()), at.day());
        write!(f, "{:04}-{month:02}-{day:02} {:02}:{:02}:{:02} {offset}", at.year(), at.hour(), at.minute(), at.second())
    }
}

impl Default for TimeZone {
    fn default() -> Self {
        Self(Rules::UTC)
    }
}

impl TimeZone {
    /// The zone of an IANA name like `Europe/Berlin`. The error says what is expected instead.
    pub fn named(name: &str) -> Result<Self, String> {
        match KNOWN.get(name) {
            Ok(rules) if !rules.is_unknown() => Ok(Self(rules)),
            _ => {
                let expected = "the IANA name of a time zone, such as Europe/Berlin, America/New_York or UTC";
                Err(similar(name).map_or_else(|| expected.to_owned(), |known| format!("{expected}; did you mean {known}?")))
            }
        }
    }

    /// A zone in which it is always so many minutes later than in UTC.
    pub fn of_minutes(minutes: i32) -> Self {
        let seconds = minutes.clamp(-MOST_MINUTES, MOST_MINUTES) * 60;
        Self(Offset::from_seconds(seconds).map_or(Rules::UTC, Rules::fixed))
    }

    /// `UTC`, `Europe/Berlin`, `+01:00`.
    pub fn name(&self) -> String {
        match self.0.iana_name() {
            Some(name) => name.to_owned(),
            None => offset_text(self.0.to_offset(Timestamp::UNIX_EPOCH).seconds()),
        }
    }

    /// A moment, Unix seconds. `None`: no calendar has it.
    pub fn local(&self, unix: i64) -> Option<LocalTime> {
        let info = self.0.to_offset_info(Timestamp::from_second(unix).ok()?);
        let seconds = info.offset().seconds();
        let offset = if info.abbreviation() == "UTC" { "UTC".to_owned() } else { offset_text(seconds) };
        let at = OffsetDateTime::from_unix_timestamp(unix).ok()?.checked_to_offset(UtcOffset::from_whole_seconds(seconds).ok()?)?;
        Some(LocalTime { at, offset })
    }
}

fn offset_text(seconds: i32) -> String {
    let (sign, minutes) = (if seconds < 0 { '-' } else { '+' }, seconds.abs() / 60);
    format!("{sign}{:02}:{:02}", minutes / 60, minutes % 60)
}

/// The known name that somebody may have meant: its city alone, or a slip of the pen.
fn similar(name: &str) -> Option<String> {
    let plain = |name: &str| name.trim().to_lowercase().replace(' ', "_");
    let city = |name: &str| name.rsplit('/').next().unwrap_or_default().to_owned();
    let wanted = plain(name);
    let known: Vec<String> = KNOWN.available().map(|known| known.to_string()).collect();
    let same_city = known.iter().find(|known| known.contains('/') && city(&plain(known)) == city(&wanted));
    let slips = |known: &&String| strsim::osa_distance(&plain(known), &wanted);
    let nearest = || known.iter().min_by_key(slips).filter(|known| slips(known) * LETTERS_FOR_A_SLIP <= wanted.chars().count());
    same_city.or_else(nearest).cloned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(zone: &TimeZone, unix: i64) -> String {
        zone.local(unix).unwrap().to_string()
    }

    #[test]
    fn each_moment_has_its_own_offset() {
        let check = |zone: &str, unix: i64, expected: &str| assert_eq!(shown(&TimeZone::named(zone).unwrap(), unix), expected);
        check("Europe/Berlin", 1_733_239_565, "2024-12-03 16:26:05 +01:00");
        check("Europe/Berlin", 1_720_000_000, "2024-07-03 11:46:40 +02:00");
        // The last second of summer time, and the next.
        check("Europe/Berlin", 1_761_440_399, "2025-10-26 02:59:59 +02:00");
        check("Europe/Berlin", 1_761_440_400, "2025-10-26 02:00:00 +01:00");
        check("Europe/London", 1_733_239_565, "2024-12-03 15:26:05 +00:00");
        check("Asia/Kathmandu", 1_733_239_565, "2024-12-03 21:11:05 +05:45");
        check("America/St_Johns", 1_733_239_565, "2024-12-03 11:56:05 -03:30");
        check("UTC", 1_733_239_565, "2024-12-03 15:26:05 UTC");
        check("Etc/UTC", 1_733_239_565, "2024-12-03 15:26:05 UTC");
        // By rule, beyond the years that are listed.
        check("America/New_York", 2_540_000_000, "2050-06-27 23:33:20 -04:00");
    }

    #[test]
    fn a_fixed_zone_is_the_same_all_year() {
        for (minutes, name, winter, summer) in [
            (60, "+01:00", "2024-12-03 16:26:05 +01:00", "2024-07-03 10:46:40 +01:00"),
            (-210, "-03:30", "2024-12-03 11:56:05 -03:30", "2024-07-03 06:16:40 -03:30"),
            (0, "UTC", "2024-12-03 15:26:05 UTC", "2024-07-03 09:46:40 UTC"),
            (i32::MAX, "+14:00", "2024-12-04 05:26:05 +14:00", "2024-07-03 23:46:40 +14:00"),
        ] {
            let zone = TimeZone::of_minutes(minutes);
            assert_eq!(
                (zone.name().as_str(), shown(&zone, 1_733_239_565), shown(&zone, 1_720_000_000)),
                (name, winter.into(), summer.into())
            );
        }
        assert_eq!((TimeZone::of_minutes(840).local(253_402_300_799), TimeZone::default().local(i64::MAX)), (None, None));
    }

    #[test]
    fn what_is_no_zone_is_told_with_the_name_that_may_be_meant() {
        for (name, meant) in [
            ("Berlin", Some("Europe/Berlin")),
            ("Germany/Berlin", Some("Europe/Berlin")),
            ("Europe/Berln", Some("Europe/Berlin")),
            ("america/new york", Some("America/New_York")),
            (" Europe/Berlin", Some("Europe/Berlin")),
            ("W. Europe Standard Time", None),
            ("UTC+1", None),
            ("Etc/Unknown", None),
            ("../../etc/passwd", None),
            ("", None),
        ] {
            let expected = TimeZone::named(name).unwrap_err();
            assert!(expected.starts_with("the IANA name of a time zone, such as Europe/Berlin"), "{name}: {expected}");
            assert_eq!(expected.split("did you mean ").nth(1), meant.map(|meant| format!("{meant}?")).as_deref(), "{name}");
        }
        assert_eq!(TimeZone::named("europe/berlin").unwrap().name(), "Europe/Berlin");
    }
}
