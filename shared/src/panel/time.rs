//! Spans of time, as people read them. Must not ask what time it is.

use super::texts::decimal;

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_read_like_a_clock() {
        let check = |milliseconds, expected| assert_eq!(clock(milliseconds), expected);
        check(-5_000, "0:00");
        check(999, "0:00");
        check(65_000, "1:05");
        check(600_000, "10:00");
        check(3_723_000, "1:02:03");
        check(i64::MAX, "0:00");
    }
}
