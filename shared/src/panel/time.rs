//! RFC 3339 times in and short spans out, without a date library: the panel carries this code. Must not ask what time it is.

use super::texts::decimal;

/// Milliseconds since 1970 of an RFC 3339 time. Fractions of a second are dropped. `None` for anything else.
pub fn unix_milliseconds(text: &str) -> Option<i64> {
    let (time, mut zone) = text.as_bytes().split_at_checked(19)?;
    let shape = [(4, b'-'), (7, b'-'), (13, b':'), (16, b':')];
    if shape.iter().any(|&(at, expected)| time[at] != expected)
        || !matches!(time[10], b'T' | b't' | b' ')
    {
        return None;
    }
    let (year, month, day) = (
        number(&time[..4])?,
        number(&time[5..7])?,
        number(&time[8..10])?,
    );
    let (hour, minute, second) = (
        number(&time[11..13])?,
        number(&time[14..16])?,
        number(&time[17..])?,
    );
    let valid = (1..=12).contains(&month)
        && (1..=31).contains(&day)
        && hour < 24
        && minute < 60
        && second <= 60;
    if let [b'.', fraction @ ..] = zone {
        let digits = fraction
            .iter()
            .take_while(|digit| digit.is_ascii_digit())
            .count();
        zone = &fraction[digits..];
    }
    let seconds = days_since_1970(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second;
    let seconds = seconds - zone_seconds(zone)?;
    valid.then_some(seconds * 1000)
}

/// A span as a clock shows it: `9:05`, from an hour on `1:02:03`. Never below zero.
pub fn clock(milliseconds: i64) -> String {
    let seconds = u32::try_from(milliseconds / 1000).unwrap_or(0);
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    let mut out = String::new();
    if hours > 0 {
        out.push_str(&decimal(hours));
        out.push_str(if minutes < 10 { ":0" } else { ":" });
    }
    out.push_str(&decimal(minutes));
    out.push_str(if seconds < 10 { ":0" } else { ":" });
    out.push_str(&decimal(seconds));
    out
}

fn number(digits: &[u8]) -> Option<i64> {
    digits.iter().try_fold(0, |number, digit| {
        digit
            .is_ascii_digit()
            .then(|| number * 10 + i64::from(digit - b'0'))
    })
}

fn zone_seconds(zone: &[u8]) -> Option<i64> {
    let (sign, zone) = match zone {
        [b'Z' | b'z'] => return Some(0),
        [b'+', zone @ ..] => (1, zone),
        [b'-', zone @ ..] => (-1, zone),
        _ => return None,
    };
    let [h1, h2, b':', m1, m2] = *zone else {
        return None;
    };
    let (hours, minutes) = (number(&[h1, h2])?, number(&[m1, m2])?);
    (hours < 24 && minutes < 60).then_some(sign * (hours * 3600 + minutes * 60))
}

/// Days of the Gregorian calendar, years counted from March so that the leap day comes last.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    365 * year + year / 4 - year / 100 + year / 400 + day_of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read() {
        let check = |text, expected| assert_eq!(unix_milliseconds(text), expected, "{text}");
        check("1970-01-01T00:00:00Z", Some(0));
        check("2000-02-29T12:00:00Z", Some(951_825_600_000));
        check("2026-12-31T23:59:59.987Z", Some(1_798_761_599_000));
        check("2026-07-01T12:00:00+02:00", Some(1_782_900_000_000));
        check("2026-07-01T08:00:00.5-02:00", Some(1_782_900_000_000));
        check("2026-07-01t10:00:00z", Some(1_782_900_000_000));
    }

    #[test]
    fn anything_else_is_refused() {
        for text in [
            "",
            "soon",
            "2026-07-01",
            "2026-07-01T10:00:00",
            "2026-13-01T10:00:00Z",
            "2026-07-01T25:00:00Z",
            "2026-07-01T10:00:00+2",
            "é026-07-01T10:00:00Z",
        ] {
            assert_eq!(unix_milliseconds(text), None, "{text}");
        }
    }

    #[test]
    fn spans_read_like_a_clock() {
        let check = |milliseconds, expected| assert_eq!(clock(milliseconds), expected);
        check(-5, "0:00");
        check(999, "0:00");
        check(65_000, "1:05");
        check(600_000, "10:00");
        check(3_723_000, "1:02:03");
    }
}
