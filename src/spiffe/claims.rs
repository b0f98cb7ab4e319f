//! The claims that JWT-SVIDs and WIT-SVIDs share: whose token it is, and from when until when.

use std::time::{Duration, SystemTime};

use thiserror::Error;

use super::{
    Id, IdError,
    json::{Number, Object, Value},
};

/// The most leeway that is given to clocks that differ.
pub const LEEWAY_MAX: Duration = Duration::from_secs(60);

/// Why a claim that every SPIFFE token has is not as it must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ClaimError {
    /// `sub` is missing or no text.
    #[error("`sub` is missing or not a text")]
    Subject,
    /// `sub` is not a workload's SPIFFE ID. A trust domain's own is none either.
    #[error("`sub` is not a workload's SPIFFE ID")]
    Id(#[from] IdError),
    /// `exp` is missing.
    #[error("`exp` is missing")]
    ExpiryMissing,
    /// A time is no number, before 1970 or after 9999; says which.
    #[error("`{0}` is not a time between 1970 and 9999")]
    Time(&'static str),
    /// It has ended.
    #[error("it has expired")]
    Expired,
    /// It has not begun.
    #[error("it is not valid yet")]
    NotYetValid,
}

/// Whose token it is.
pub(super) fn subject(claims: &Object) -> Result<Id, ClaimError> {
    Ok(Id::parse(claims.member("sub").and_then(Value::as_str).ok_or(ClaimError::Subject)?)?)
}

/// Until when it is good, if it is good now. `iat` bounds nothing (RFC 7519 §4.1.6).
pub(super) fn check_time(claims: &Object, now: SystemTime, leeway: Duration) -> Result<SystemTime, ClaimError> {
    let leeway = leeway.min(LEEWAY_MAX);
    let expires_at = numeric_date(claims, "exp")?.ok_or(ClaimError::ExpiryMissing)?;
    let not_before = numeric_date(claims, "nbf")?;
    // On or after `exp` it is over (RFC 7519 §4.1.4).
    if now >= expires_at + leeway {
        return Err(ClaimError::Expired);
    }
    match not_before {
        Some(not_before) if now.checked_add(leeway).is_some_and(|latest| latest < not_before) => {
            Err(ClaimError::NotYetValid)
        }
        _ => Ok(expires_at),
    }
}

/// `iat` and `exp` of a new token: whole seconds since 1970, rounded down, so that `iat` is never ahead of the
/// clock. `None` when it would not live a second, or a time cannot be written.
pub(crate) fn span(now: SystemTime, expires_at: SystemTime) -> Option<(u64, u64)> {
    let seconds = |time: SystemTime| time.duration_since(SystemTime::UNIX_EPOCH).ok().map(|since| since.as_secs());
    let (issued_at, expires_at) = (seconds(now)?, seconds(expires_at)?);
    (issued_at < expires_at && expires_at <= SECONDS_MAX).then_some((issued_at, expires_at))
}

/// A NumericDate (RFC 7519 §2), which may have a fraction.
pub(crate) fn numeric_date(claims: &Object, name: &'static str) -> Result<Option<SystemTime>, ClaimError> {
    let since_1970 = match claims.member(name) {
        None => return Ok(None),
        Some(Value::Number(Number::Unsigned(seconds))) => Some(Duration::from_secs(*seconds)),
        Some(Value::Number(Number::Inexact(seconds))) => Duration::try_from_secs_f64(*seconds).ok(),
        Some(_) => None,
    };
    let since_1970 = since_1970.filter(|time| time.as_secs() <= SECONDS_MAX).ok_or(ClaimError::Time(name))?;
    Ok(Some(SystemTime::UNIX_EPOCH + since_1970))
}

/// The last second of the year 9999.
pub(crate) const SECONDS_MAX: u64 = 253_402_300_799;
