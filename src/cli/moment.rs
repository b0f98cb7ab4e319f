//! Times and lengths of time, as people and programs write them here.

use std::time::{Duration, SystemTime};

use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use crate::{daemon::units, sys::Clock};

/// Unix seconds of a time.
pub(crate) fn unix(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// As `2026-07-01T12:00:00Z`; whole seconds.
pub(crate) fn text(seconds: u64) -> String {
    let time = i64::try_from(seconds).ok().and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok());
    time.and_then(|time| time.format(&Rfc3339).ok()).unwrap_or_else(|| format!("{seconds} s after 1970"))
}

/// As [`text`], with how far from now it is.
pub(crate) fn text_and_distance(seconds: u64, now: SystemTime) -> String {
    let now = unix(now);
    match seconds.checked_sub(now) {
        Some(ahead) => format!("{} (in {})", text(seconds), rough(ahead)),
        None => format!("{} ({} ago)", text(seconds), rough(now.saturating_sub(seconds))),
    }
}

/// A length of time in its two largest units.
pub(crate) fn rough(seconds: u64) -> String {
    const UNITS: [(u64, &str); 5] = [(365 * 86_400, "y"), (86_400, "d"), (3_600, "h"), (60, "m"), (1, "s")];
    let mut rest = seconds;
    let mut words = Vec::new();
    for (unit, name) in UNITS {
        if rest >= unit {
            words.push(format!("{}{name}", rest / unit));
            rest %= unit;
        } else if !words.is_empty() {
            break;
        }
    }
    words.truncate(2);
    if words.is_empty() { "0s".into() } else { words.concat() }
}

/// A lifetime: whole units as `90s`, `15m`, `1h30m`; `0` is the daemon's own choice.
///
/// # Errors
/// Words that say what is wanted.
pub(crate) fn ttl(text: &str) -> Result<u64, String> {
    if text == "0" {
        return Ok(0);
    }
    units::duration(text).map(|length| length.as_secs())
}

/// A lifetime in seconds, where 0 is the daemon's own choice.
pub(crate) fn ttl_text(seconds: u64) -> String {
    if seconds == 0 { "default".into() } else { units::duration_text(Duration::from_secs(seconds)) }
}

/// When something is to end, in Unix seconds and ahead: a length of time from now, with or without a `+`, a time in RFC
/// 3339, or Unix seconds; `never` is 0.
///
/// # Errors
/// Words that say what is wanted.
pub(crate) fn end(text: &str) -> Result<u64, String> {
    if text == "never" {
        return Ok(0);
    }
    let now = unix(Clock::system().now());
    let end = match units::duration(text.strip_prefix('+').unwrap_or(text)) {
        Ok(length) => now.saturating_add(length.as_secs()),
        Err(_) => {
            time(text).map_err(|()| format!("`{text}` is no end, write it as 30d, 2099-01-31T12:00:00Z or never"))?
        }
    };
    match end > now {
        true => Ok(end),
        false => Err(format!("`{text}` is not ahead: name a later end or never, or remove the entry")),
    }
}

/// A time of RFC 3339, or in Unix seconds, as Unix seconds; not before 1970.
pub(crate) fn time(text: &str) -> Result<u64, ()> {
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return text.parse().map_err(|_| ());
    }
    let time = OffsetDateTime::parse(text, &Rfc3339).map_err(|_| ())?;
    u64::try_from(time.unix_timestamp()).map_err(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn a_distance_is_told_beside_its_time() {
        assert_eq!(text_and_distance(90, at(0)), "1970-01-01T00:01:30Z (in 1m30s)");
        assert_eq!(text_and_distance(0, at(90_061)), "1970-01-01T00:00:00Z (1d1h ago)");
    }

    #[test]
    fn times_are_written_in_utc() {
        assert_eq!(text(0), "1970-01-01T00:00:00Z");
        assert_eq!(text(1_782_907_200), "2026-07-01T12:00:00Z");
        assert_eq!(text(u64::MAX), "18446744073709551615 s after 1970");
    }

    #[test]
    fn distances_have_two_units() {
        for (seconds, words) in [(0, "0s"), (59, "59s"), (3_600, "1h"), (3_601, "1h"), (90_061, "1d1h")] {
            assert_eq!(rough(seconds), words);
        }
    }

    #[test]
    fn a_lifetime_of_nothing_is_the_daemons_choice() {
        assert_eq!((ttl("0"), ttl("0s"), ttl("15m")), (Ok(0), Ok(0), Ok(900)));
        assert!(ttl("15").is_err());
    }

    #[test]
    fn an_end_is_a_length_a_time_or_never() {
        assert_eq!(end("never"), Ok(0));
        assert_eq!(end("2099-07-01T12:00:00Z"), Ok(4_086_590_400));
        assert_eq!(end("2099-07-01T14:00:00+02:00"), Ok(4_086_590_400));
        let soon = unix(Clock::system().now()) + 3_600;
        for length in ["1h", "+1h", "+60m"] {
            assert!(end(length).is_ok_and(|end| end.abs_diff(soon) < 60), "{length}");
        }
        assert_eq!(end("4086590400"), Ok(4_086_590_400));
        let too_long = "99999999999999999999";
        for wrong in
            ["", "+", "-1h", "++1h", "+4086590400", "+2099-07-01T12:00:00Z", "1700000000", "15", "0", "-1", too_long]
        {
            assert!(end(wrong).is_err(), "{wrong}");
        }
        for wrong in ["tomorrow", "1960-01-01T00:00:00Z", "2099-07-01", "0s", "2020-01-01T00:00:00Z"] {
            assert!(end(wrong).is_err(), "{wrong}");
        }
    }
}
