//! Lengths of time and sizes as people write them: `90s`, `1h30m`, `5y`; `512B`, `64KiB`, `1GiB`.

use std::time::Duration;

/// Reads a length of time: whole numbers with a unit each, the larger unit first. A year has 365 days.
///
/// # Errors
/// Words that say what is wanted.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("`{text}` is not a length of time, write it as 90s, 15m, 1h, 30d or 5y");
    let mut rest = text;
    let mut seconds: u64 = 0;
    let mut last = u64::MAX;
    while !rest.is_empty() {
        let (number, after) = number(rest).ok_or_else(wrong)?;
        let unit = after.chars().next().ok_or_else(wrong)?;
        let (_, of_unit) = DURATIONS.into_iter().find(|(each, _)| *each == unit).ok_or_else(wrong)?;
        if of_unit >= last {
            return Err(wrong());
        }
        last = of_unit;
        let added = number.checked_mul(of_unit).and_then(|added| seconds.checked_add(added));
        seconds = added.ok_or_else(|| format!("`{text}` is too long"))?;
        rest = after.strip_prefix(unit).ok_or_else(wrong)?;
    }
    match last {
        u64::MAX => Err(wrong()),
        _ => Ok(Duration::from_secs(seconds)),
    }
}

/// Writes whole seconds the way [`duration`] reads them.
pub(crate) fn duration_text(length: Duration) -> String {
    let mut rest = length.as_secs();
    if rest == 0 {
        return "0s".into();
    }
    let mut text = String::new();
    for (unit, seconds) in DURATIONS {
        let count = rest / seconds;
        rest %= seconds;
        if count > 0 {
            text.push_str(&format!("{count}{unit}"));
        }
    }
    text
}

/// Reads a size in bytes: one whole number and a binary unit.
///
/// # Errors
/// Words that say what is wanted.
pub(crate) fn size(text: &str) -> Result<u64, String> {
    let wrong = || format!("`{text}` is not a size, write it as 512B, 64KiB, 16MiB or 1GiB");
    let (number, unit) = number(text).ok_or_else(wrong)?;
    let (_, bytes) = SIZES.into_iter().find(|(each, _)| *each == unit).ok_or_else(wrong)?;
    number.checked_mul(bytes).ok_or_else(|| format!("`{text}` is too large"))
}

/// Writes bytes the way [`size`] reads them, in the largest unit that has no remainder.
pub(crate) fn size_text(bytes: u64) -> String {
    let exact = SIZES.into_iter().rev().find(|(_, unit)| bytes > 0 && bytes.is_multiple_of(*unit));
    exact.map_or_else(|| format!("{bytes}B"), |(name, unit)| format!("{}{name}", bytes / unit))
}

/// The number that `text` begins with, and what follows it.
fn number(text: &str) -> Option<(u64, &str)> {
    let end = text.find(|each: char| !each.is_ascii_digit())?;
    let (digits, rest) = text.split_at_checked(end)?;
    Some((digits.parse().ok()?, rest))
}

const DURATIONS: [(char, u64); 5] = [('y', 365 * 86_400), ('d', 86_400), ('h', 3_600), ('m', 60), ('s', 1)];
const SIZES: [(&str, u64); 4] = [("B", 1), ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30)];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_time_are_read_and_written_back() {
        for (text, seconds) in [
            ("90s", 90),
            ("15m", 900),
            ("1h", 3_600),
            ("24h", 86_400),
            ("1h30m", 5_400),
            ("7d", 604_800),
            ("5y", 157_680_000),
            ("0s", 0),
        ] {
            assert_eq!(duration(text), Ok(Duration::from_secs(seconds)), "{text}");
            assert_eq!(duration(&duration_text(Duration::from_secs(seconds))), Ok(Duration::from_secs(seconds)));
        }
        assert_eq!(duration_text(Duration::from_secs(90)), "1m30s");
    }

    #[test]
    fn what_is_no_length_of_time_is_refused() {
        for text in [
            "",
            "1",
            "s",
            "1.5h",
            "-1h",
            " 1h",
            "1 h",
            "1H",
            "30m1h",
            "1h1h",
            "1ms",
            "1w",
            "1hé",
            "99999999999999999999s",
        ] {
            assert!(duration(text).is_err(), "{text}");
        }
        assert_eq!(duration("18446744073709551615y"), Err("`18446744073709551615y` is too long".into()));
    }

    #[test]
    fn sizes_are_read_and_written_back() {
        for (text, bytes) in [("512B", 512), ("64KiB", 65_536), ("16MiB", 16 << 20), ("1GiB", 1 << 30), ("0B", 0)] {
            assert_eq!(size(text), Ok(bytes), "{text}");
            assert_eq!(size_text(bytes), text);
        }
        assert_eq!(size_text(1_025), "1025B");
    }

    #[test]
    fn what_is_no_size_is_refused() {
        for text in ["", "64", "KiB", "64KB", "64kib", "1.5MiB", "-1B", "64 KiB", "18446744073709551615GiB"] {
            assert!(size(text).is_err(), "{text}");
        }
    }
}
