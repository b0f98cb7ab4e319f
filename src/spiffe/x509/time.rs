//! The two time formats of certificates (RFC 5280 §4.1.2.5): `YYMMDDHHMMSSZ` up to 2049,
//! `YYYYMMDDHHMMSSZ` from 2050 on.

use std::time::{Duration, SystemTime};

use super::{Error, der::Reader};

const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

/// Reads the next element as a time.
pub(super) fn read(reader: &mut Reader<'_>) -> Result<SystemTime, Error> {
    const WHAT: &str = "a time";
    let element = reader.element(WHAT)?;
    let (year, rest) = match (element.tag, element.content) {
        (UTC_TIME, [a, b, rest @ ..]) => {
            let short = digits(*a, *b);
            (short.map(|year| if year < 50 { 2000 + year } else { 1900 + year }), rest)
        }
        // Years before 2050 must be in the short form (RFC 5280 §4.1.2.5), but many issuers write the
        // long one for all, and there is one reading of it only.
        (GENERALIZED_TIME, [a, b, c, d, rest @ ..]) => {
            (digits(*a, *b).zip(digits(*c, *d)).map(|(century, year)| century * 100 + year), rest)
        }
        _ => return Err(Error::Malformed(WHAT)),
    };
    year.and_then(|year| moment(year, rest)).ok_or(Error::Malformed(WHAT))
}

fn digits(tens: u8, ones: u8) -> Option<i64> {
    (tens.is_ascii_digit() && ones.is_ascii_digit()).then(|| i64::from(tens - b'0') * 10 + i64::from(ones - b'0'))
}

/// `MMDDHHMMSSZ` of a year. No fractions, no offsets, no leap seconds: RFC 5280 allows none.
fn moment(year: i64, rest: &[u8]) -> Option<SystemTime> {
    let [m1, m2, d1, d2, h1, h2, n1, n2, s1, s2, b'Z'] = rest else { return None };
    let month = digits(*m1, *m2).filter(|month| (1..=12).contains(month))?;
    let day = digits(*d1, *d2).filter(|day| (1..=days_in(year, month)).contains(day))?;
    let hour = digits(*h1, *h2).filter(|hour| *hour < 24)?;
    let minute = digits(*n1, *n2).filter(|minute| *minute < 60)?;
    let second = digits(*s1, *s2).filter(|second| *second < 60)?;
    let seconds = days_from_epoch(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second;
    let distance = Duration::from_secs(seconds.unsigned_abs());
    match seconds < 0 {
        true => SystemTime::UNIX_EPOCH.checked_sub(distance),
        false => SystemTime::UNIX_EPOCH.checked_add(distance),
    }
}

fn days_in(year: i64, month: i64) -> i64 {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if leap => 29,
        2 => 28,
        _ => 31,
    }
}

/// Days since 1970-01-01 of a Gregorian date from year 0 on: years are counted from March, so that the
/// leap day is the last of its year.
fn days_from_epoch(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    year * 365 + leap_days + (month * 153 + 2) / 5 + day - 1 - 719_468
}
