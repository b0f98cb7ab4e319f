//! JWT-SVIDs: made in the one way that every validator in the field reads, and judged by every rule of the
//! standard, in an order in which no key is touched before the token is whole.
//!
//! Keys come only from the bundle of the trust domain that `sub` names.

use std::{
    collections::BTreeSet,
    time::{Duration, SystemTime},
};

use thiserror::Error;

use super::{
    ClaimError, Id, TrustDomain, claims,
    jose::{self, SignError, Signer, Unverified, Usage},
    json::{self, Members, Object, Value},
};

/// The most audiences in one token. A client library reads no more.
pub const AUDIENCES_MAX: usize = 32;
/// The most bytes of a token's audiences, as JSON writes them. With the longest SPIFFE ID and an `iss` as long as that,
/// the token can still be read.
pub const AUDIENCES_BYTES_MAX: usize = 7 * 1024;
/// The most keys that are tried for a token that names none.
pub const KEY_TRIALS_MAX: usize = 8;

/// What a bundle of JWT keys is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {}

impl Usage for Profile {
    const USE: &'static str = "jwt-svid";
    const IS_TOLD_ALONE: bool = false;
}

/// The JWT keys of one trust domain.
pub type Bundle = jose::Bundle<Profile>;

/// What a new token is to say.
#[derive(Clone, Copy, Debug)]
pub struct Draft<'a> {
    /// Whose token it is.
    pub id: &'a Id,
    /// For whom it is, in this order; what comes twice is written once.
    pub audiences: &'a [String],
    /// Its `iss`, where there is to be one. Nobody finds keys by it.
    pub issuer: Option<&'a str>,
    /// When it ends; rounded down to a second.
    pub expires_at: SystemTime,
}

/// Why no token was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum DraftError {
    /// There is no audience, or an empty one.
    #[error("there is no audience, or an empty one")]
    AudienceEmpty,
    /// More than [`AUDIENCES_MAX`].
    #[error("there are {0} audiences, at most {AUDIENCES_MAX} are allowed")]
    TooManyAudiences(usize),
    /// They are more than [`AUDIENCES_BYTES_MAX`] together.
    #[error("its audiences have {0} bytes in JSON, at most {AUDIENCES_BYTES_MAX} are allowed")]
    AudiencesTooLong(usize),
    /// It would not live a second, or a time is not between 1970 and 9999.
    #[error("it would end before it begins, or at no time that can be written")]
    Time,
    /// The signer failed.
    #[error("it was not signed")]
    Sign(#[from] SignError),
}

/// Makes a JWT-SVID: header `alg`, `kid` and `typ`, claims `sub`, `aud` (a list), `exp`, `iat` and perhaps `iss`, the times in
/// whole seconds since 1970. `iat` is `now`, rounded down.
///
/// # Errors
/// See [`DraftError`]. Nothing is signed when the draft is at fault.
pub fn issue(draft: &Draft<'_>, signer: &dyn Signer, now: SystemTime) -> Result<String, DraftError> {
    let audiences = distinct(draft.audiences);
    if audiences.is_empty() || audiences.iter().any(|audience| audience.is_empty()) {
        return Err(DraftError::AudienceEmpty);
    }
    if audiences.len() > AUDIENCES_MAX {
        return Err(DraftError::TooManyAudiences(audiences.len()));
    }
    let audiences = array(audiences);
    if audiences.len() > AUDIENCES_BYTES_MAX {
        return Err(DraftError::AudiencesTooLong(audiences.len()));
    }
    let (issued_at, expires_at) = claims::span(now, draft.expires_at).ok_or(DraftError::Time)?;
    let claims = Members::new()
        .string("sub", draft.id.as_str())
        .raw("aud", &audiences)
        .integer("exp", expires_at)
        .integer("iat", issued_at);
    let claims = draft.issuer.into_iter().fold(claims, |claims, issuer| claims.string("iss", issuer)).finish();
    Ok(jose::sign("JWT", &claims, signer)?)
}

/// How many bytes the `aud` of a token for these has.
pub(crate) fn audiences_bytes(audiences: &[String]) -> usize {
    array(distinct(audiences)).len()
}

fn array(audiences: Vec<&String>) -> String {
    json::array(audiences.into_iter().map(|audience| json::quoted(audience)))
}

/// In order, each once.
fn distinct(audiences: &[String]) -> Vec<&String> {
    let mut seen = BTreeSet::new();
    audiences.iter().filter(|audience| seen.insert(*audience)).collect()
}

/// What a validator expects of a token.
#[derive(Clone, Copy, Debug)]
pub struct Expected<'a> {
    /// The name that the validator goes by. Compared byte by byte with each audience of the token.
    pub audience: &'a str,
    /// The time.
    pub now: SystemTime,
    /// How much clocks may differ, at most [`LEEWAY_MAX`](super::LEEWAY_MAX); more counts as that.
    pub leeway: Duration,
}

/// Whose signature counts for a trust domain, and what its tokens may look like.
#[derive(Clone, Copy, Debug)]
pub struct Issuer<'a> {
    /// Its keys.
    pub bundle: &'a Bundle,
    /// What becomes of a token with other header parameters than `alg`, `kid` and `typ`.
    pub unknown_headers: UnknownHeaders,
}

/// What becomes of a token with header parameters that no issuer of JWT-SVIDs may set. Those that change
/// what a signature means, or name a key, are refused in any case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UnknownHeaders {
    /// The token is refused.
    #[default]
    Refused,
    /// They are passed over: for a foreign trust domain whose issuer cannot be mended.
    Ignored,
}

impl<'a> From<&'a Bundle> for Issuer<'a> {
    /// The strict reading.
    fn from(bundle: &'a Bundle) -> Self {
        Self { bundle, unknown_headers: UnknownHeaders::Refused }
    }
}

/// What a token says, after every check.
#[derive(Clone, Debug, PartialEq)]
pub struct Validated {
    /// Whose token it is.
    pub id: Id,
    /// From when on it is not good any more, leeway apart.
    pub expires_at: SystemTime,
    /// All claims, those included that are not known here.
    pub claims: Object,
}

/// Why a token was refused: the first rule that it breaks.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Error {
    /// It is no compact JWS, or the signature is not right.
    #[error(transparent)]
    Token(#[from] jose::Error),
    /// `typ` is there, and neither `JWT` nor `JOSE`.
    #[error("its `typ` is neither `JWT` nor `JOSE`")]
    Type,
    /// A claim is not as it must be.
    #[error(transparent)]
    Claim(#[from] ClaimError),
    /// There is no bundle for the trust domain of `sub`.
    #[error("there are no keys of the trust domain {0}")]
    NoBundle(TrustDomain),
    /// The bundle has no key: everything of this trust domain is revoked.
    #[error("the trust domain {0} has no key for such tokens")]
    EmptyBundle(TrustDomain),
    /// The header has a parameter that no issuer may set.
    #[error("its header has more than `alg`, `kid` and `typ`")]
    UnknownHeader,
    /// `aud` is missing, empty, or not one text or a list of texts.
    #[error("`aud` is missing, empty, or not a text or a list of texts")]
    AudienceMalformed,
    /// More than [`AUDIENCES_MAX`].
    #[error("it has {0} audiences, at most {AUDIENCES_MAX} are read")]
    TooManyAudiences(usize),
    /// It is for others.
    #[error("it is for another audience")]
    Audience,
    /// The trust domain has no key of this `kid`.
    #[error("the trust domain has no key of its `kid`")]
    UnknownKey,
    /// It has no `kid`, and no key of the trust domain goes with its `alg`.
    #[error("it names no key, and none of the trust domain goes with its `alg`")]
    NoFittingKey,
    /// It has no `kid`, and more than [`KEY_TRIALS_MAX`] keys would have to be tried.
    #[error("it names no key, and {0} would have to be tried, more than {KEY_TRIALS_MAX}")]
    TooManyKeys(usize),
}

/// Judges a JWT-SVID. `issuer_of` answers whose keys count for the trust domain that `sub` names; a bundle of
/// another trust domain than that counts for nothing.
///
/// # Errors
/// See [`enum@Error`].
pub fn validate<'a>(
    token: &str,
    expected: &Expected<'_>,
    issuer_of: impl FnOnce(&TrustDomain) -> Option<Issuer<'a>>,
) -> Result<Validated, Error> {
    let token = Unverified::parse(token)?;
    if !matches!(token.header().kind.as_deref(), None | Some("JWT" | "JOSE")) {
        return Err(Error::Type);
    }
    let claims = token.unverified_claims();
    let id = claims::subject(claims)?;
    let trust_domain = id.trust_domain();
    let issuer = issuer_of(&trust_domain).filter(|issuer| *issuer.bundle.trust_domain() == trust_domain);
    let Some(Issuer { bundle, unknown_headers }) = issuer else {
        return Err(Error::NoBundle(trust_domain));
    };
    if bundle.is_empty() {
        return Err(Error::EmptyBundle(trust_domain));
    }
    if token.header().has_others && unknown_headers == UnknownHeaders::Refused {
        return Err(Error::UnknownHeader);
    }
    check_audience(claims, expected.audience)?;
    let expires_at = claims::check_time(claims, expected.now, expected.leeway)?;
    let keys = match &token.header().key_id {
        Some(id) => vec![bundle.key(id).ok_or(Error::UnknownKey)?],
        None => fitting(bundle, token.header().algorithm)?,
    };
    Ok(Validated { id, expires_at, claims: token.verify(keys)? })
}

/// The keys that a token without `kid` may be signed with (JWT-SVID §2.2 makes `kid` optional).
fn fitting(bundle: &Bundle, algorithm: jose::Algorithm) -> Result<Vec<&jose::Jwk>, Error> {
    let keys: Vec<_> = bundle.keys().map(|(_, key)| key).filter(|key| key.admits(algorithm)).collect();
    match keys.len() {
        0 => Err(Error::NoFittingKey),
        1..=KEY_TRIALS_MAX => Ok(keys),
        more => Err(Error::TooManyKeys(more)),
    }
}

/// One text, or a list of them (RFC 7519 §4.1.3); equal is what is equal byte by byte.
fn check_audience(claims: &Object, expected: &str) -> Result<(), Error> {
    let audiences = match claims.member("aud") {
        Some(one @ Value::String(_)) => std::slice::from_ref(one),
        Some(Value::Array(several)) => several,
        _ => return Err(Error::AudienceMalformed),
    };
    if audiences.len() > AUDIENCES_MAX {
        return Err(Error::TooManyAudiences(audiences.len()));
    }
    let texts: Option<Vec<_>> = audiences.iter().map(Value::as_str).collect();
    let texts = texts.filter(|texts| !texts.is_empty() && texts.iter().all(|text| !text.is_empty()));
    match texts.ok_or(Error::AudienceMalformed)?.contains(&expected) {
        true => Ok(()),
        false => Err(Error::Audience),
    }
}

#[cfg(test)]
mod tests;
