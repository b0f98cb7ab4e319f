//! What a fetched token says of itself. It came from the endpoint that this process trusts with its identity, so no
//! signature is checked; but a token that could not be used is not taken in.

use std::time::{Duration, SystemTime};

use crate::spiffe::{
    Id,
    jose::Unverified,
    json::{Object, Value},
};

/// What is used of a token's claims.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Said {
    pub(super) id: Id,
    /// None in a WIT-SVID.
    pub(super) audiences: Vec<String>,
    pub(super) issued_at: Option<SystemTime>,
    pub(super) expires_at: SystemTime,
}

impl Said {
    /// Reads a token that is said to be of this identity.
    ///
    /// # Errors
    /// When it is no token, somebody else's, or over.
    pub(super) fn read(token: &str, id: &str, now: SystemTime) -> Result<Self, Box<dyn std::error::Error>> {
        let token = Unverified::parse(token)?;
        let claims = token.unverified_claims();
        let subject = Id::parse(claims.member("sub").and_then(Value::as_str).ok_or("it has no `sub`")?)?;
        if subject.as_str() != id {
            return Err(format!("the token is {subject}'s, not {id}'s").into());
        }
        let expires_at = time(claims, "exp").ok_or("its `exp` is missing or not a time")?;
        if expires_at <= now {
            return Err("it has expired: does the clock of this machine differ?".into());
        }
        let audiences = match claims.member("aud") {
            Some(Value::String(one)) => vec![one.clone()],
            Some(Value::Array(several)) => several.iter().filter_map(Value::as_str).map(Into::into).collect(),
            _ => Vec::new(),
        };
        Ok(Self { id: subject, audiences, issued_at: time(claims, "iat"), expires_at })
    }

    /// When to ask for the next one: around half of its life, `drawn` of 65,536 parts of the way from 40 % to 60 %.
    ///
    /// An endpoint may keep a token and give it out again. If that one is past the moment, the next is asked for when a
    /// quarter of the rest is over. Never within the second.
    pub(super) fn renewal(&self, now: SystemTime, drawn: u16) -> SystemTime {
        let begin = self.issued_at.filter(|begin| *begin <= now).unwrap_or(now);
        let life = self.expires_at.duration_since(begin).unwrap_or_default();
        let share = SHARE_MIN + u32::from(drawn) * SHARE_SPREAD / 65_536;
        let moment = begin + life * share / 1_000;
        let rest = self.expires_at.duration_since(now).unwrap_or_default();
        let moment = if moment > now { moment } else { now + rest / 4 };
        moment.max(now + RENEWAL_WAIT_MIN)
    }
}

/// A NumericDate (RFC 7519 §2).
fn time(claims: &Object, name: &str) -> Option<SystemTime> {
    let Value::Number(number) = claims.member(name)? else { return None };
    let since_1970 = Duration::try_from_secs_f64(number.to_f64()).ok().filter(|time| time.as_secs() <= SECONDS_MAX)?;
    Some(SystemTime::UNIX_EPOCH + since_1970)
}

/// In thousandths of a life.
const SHARE_MIN: u32 = 400;
const SHARE_SPREAD: u32 = 200;
const RENEWAL_WAIT_MIN: Duration = Duration::from_secs(1);
/// The last second of the year 9999.
const SECONDS_MAX: u64 = 253_402_300_799;

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use data_encoding::BASE64URL_NOPAD;

    use super::*;

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn token(claims: &str) -> String {
        let header = BASE64URL_NOPAD.encode(br#"{"alg":"ES256","kid":"a","typ":"JWT"}"#);
        format!("{header}.{}.{}", BASE64URL_NOPAD.encode(claims.as_bytes()), BASE64URL_NOPAD.encode(&[1; 64]))
    }

    #[test]
    fn what_could_not_be_used_is_not_taken_in() {
        let id = "spiffe://example.org/web";
        let read = |claims: &str| Said::read(&token(claims), id, at(1_000)).map_err(|error| error.to_string());
        let good = read(r#"{"sub":"spiffe://example.org/web","aud":"a","exp":1300,"iat":1000}"#).unwrap();
        assert_eq!((good.audiences, good.expires_at, good.issued_at), (vec!["a".into()], at(1_300), Some(at(1_000))));
        for (claims, why) in [
            (r#"{"sub":"spiffe://example.org/web","exp":1000}"#, "expired"),
            (r#"{"sub":"spiffe://example.org/web"}"#, "`exp`"),
            (r#"{"sub":"spiffe://example.org/web","exp":1e300}"#, "`exp`"),
            (r#"{"sub":"spiffe://example.org/web","exp":-1}"#, "`exp`"),
            (r#"{"sub":"spiffe://example.org/other","exp":1300}"#, "not spiffe://example.org/web's"),
            (r#"{"exp":1300}"#, "`sub`"),
        ] {
            let error = read(claims).unwrap_err();
            assert!(error.contains(why), "{claims}: {error}");
        }
        assert!(Said::read("x.y", id, at(0)).is_err());
    }

    #[test]
    fn renewal_is_around_half_of_the_life() {
        let said = |issued_at, expires_at| Said {
            id: Id::parse("spiffe://example.org/web").unwrap(),
            audiences: Vec::new(),
            issued_at,
            expires_at: at(expires_at),
        };
        for drawn in [0, 1, 32_768, u16::MAX] {
            let moment = said(Some(at(1_000)), 2_000).renewal(at(1_000), drawn);
            assert!((at(1_400)..=at(1_600)).contains(&moment), "{moment:?}");
        }
        assert_eq!(said(None, 2_000).renewal(at(1_000), 32_768), at(1_500), "without `iat` it begins now");
        assert_eq!(said(Some(at(3_000)), 2_000).renewal(at(1_000), 32_768), at(1_500), "an `iat` ahead is none");
        assert_eq!(said(Some(at(1_000)), 2_000).renewal(at(1_800), 0), at(1_850), "one that was kept");
        assert_eq!(said(Some(at(1_000)), 2_000).renewal(at(1_999), 0), at(2_000), "never within the second");
    }
}
