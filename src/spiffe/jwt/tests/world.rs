//! Two trust domains with their keys, and a validator between them.

use std::time::{Duration, SystemTime};

use crate::spiffe::{
    TrustDomain,
    jose::{
        Algorithm, encode,
        tests::kit::{Key, NOW, object, rsa},
    },
    jwt::{Bundle, Error, Expected, Issuer, UnknownHeaders, Validated, validate},
};

pub(super) struct World {
    pub(super) k1: Key,
    pub(super) w1: Key,
    pub(super) o1: Key,
    pub(super) own: Bundle,
    pub(super) other: Bundle,
    pub(super) federated: bool,
    pub(super) leeway: Duration,
    pub(super) foreign_headers: UnknownHeaders,
}

pub(super) fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(NOW)
}

pub(super) fn bundle(name: &str, keys: &[&Key]) -> Bundle {
    let keys = keys.iter().map(|key| (key.id.clone(), key.jwk()));
    Bundle::new(TrustDomain::parse(name).unwrap(), keys).unwrap()
}

impl World {
    pub(super) fn new() -> Self {
        let (k1, o1) = (Key::new("k1", Algorithm::Es256), Key::new("o1", Algorithm::Es256));
        Self {
            own: bundle("example.org", &[&k1, rsa()]),
            other: bundle("other.test", &[&o1]),
            w1: Key::new("w1", Algorithm::Es256),
            k1,
            o1,
            federated: true,
            leeway: Duration::ZERO,
            foreign_headers: UnknownHeaders::Refused,
        }
    }

    pub(super) fn judge(&self, token: &str) -> Result<Validated, Error> {
        let expected = Expected { audience: "aud1", now: now(), leeway: self.leeway };
        validate(token, &expected, |trust_domain| match trust_domain.as_str() {
            "example.org" => Some((&self.own).into()),
            "other.test" if self.federated => {
                Some(Issuer { bundle: &self.other, unknown_headers: self.foreign_headers })
            }
            _ => None,
        })
    }

    /// What comes of a good token with this header.
    pub(super) fn header(&self, header: &str) -> Result<Validated, Error> {
        self.judge(&self.k1.token(header, claims(&[])))
    }

    /// What comes of a good header with these changes of good claims.
    pub(super) fn claims(&self, changes: &[(&str, &str)]) -> Result<Validated, Error> {
        self.payload(claims(changes))
    }

    pub(super) fn payload(&self, payload: impl AsRef<[u8]>) -> Result<Validated, Error> {
        self.judge(&self.k1.token(HEADER, payload))
    }
}

pub(super) const HEADER: &str = r#"{"alg":"ES256","kid":"k1","typ":"JWT"}"#;

/// Good claims with changes; an empty value leaves a claim out.
pub(super) fn claims(changes: &[(&str, &str)]) -> String {
    let good = [("sub", r#""spiffe://example.org/a""#), ("aud", r#"["aud1"]"#), ("exp", "1800000300")];
    object(&[&good, changes].concat())
}

/// `header.claims`, encoded.
pub(super) fn signed(header: &str, claims: &str) -> String {
    format!("{}.{}", encode(header.as_bytes()), encode(claims.as_bytes()))
}
