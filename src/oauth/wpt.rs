//! Workload proof tokens (draft-ietf-wimse-wpt-01): that who sends a WIT-SVID has its key, for one request.
//!
//! What comes out of [`Unproved::parse`] proves nothing. [`Unproved::check`] compares it with the request at hand, and
//! what was signed is for [`wit::Unproved::prove`](crate::spiffe::wit::Unproved::prove), which alone says whose the
//! WIT-SVID is.

use std::{
    fmt,
    time::{Duration, SystemTime},
};

use thiserror::Error;
use zeroize::Zeroizing;

use crate::spiffe::{
    SECONDS_MAX,
    jose::{self, Algorithm, Compact, decode},
    json::{Object, Value},
    wit,
};

use super::{
    TokenHash,
    dpop::TOKEN_ID_BYTES,
    target::{self, Target},
};

/// The longest proof token that is read, in bytes.
pub const PROOF_BYTES_MAX: usize = 4 * 1024;

const TYPE: &str = "wpt+jwt";

/// The request at hand, to which a proof token must belong.
#[derive(Clone, Copy, Debug)]
pub struct Expected<'a> {
    /// Its URL: of scheme and authority what the verifier itself is configured with.
    pub target: &'a Target,
    /// The WIT-SVID beside it.
    pub workload_token: TokenHash,
    /// The transaction token beside it.
    pub transaction_token: Option<TokenHash>,
    /// The longest time that it may be good for from now on.
    pub lifetime_max: Duration,
    /// The time, by our own clock.
    pub now: SystemTime,
}

/// Why a proof token was refused: the first rule that it breaks.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Error {
    /// It is no compact JWS.
    #[error(transparent)]
    Token(#[from] jose::Error),
    /// `typ` is not `wpt+jwt`.
    #[error("its `typ` is not `wpt+jwt`")]
    Type,
    /// `alg` is none that a WIT-SVID's key can have.
    #[error("its `alg` is none that the key of a WIT-SVID can have")]
    Algorithm,
    /// `alg` is not the one that the WIT-SVID's key names.
    #[error("its `alg` is not that of the WIT-SVID's key")]
    OtherAlgorithm,
    /// A claim is missing or not of its type; says which.
    #[error("its `{0}` is missing or malformed")]
    Claim(&'static str),
    /// `aud` is no URL that a request can have.
    #[error("its `aud` is refused")]
    Target(#[source] target::Error),
    /// `aud` is another URL.
    #[error("it is for another URL")]
    OtherTarget,
    /// `wth` is another WIT-SVID's.
    #[error("it is for another WIT-SVID")]
    OtherWorkloadToken,
    /// `ath` is there, and no access token is beside a WIT-SVID here.
    #[error("it is for a request with an access token")]
    AccessToken,
    /// `tth` is missing beside a transaction token.
    #[error("it has no `tth`, and there is a transaction token")]
    NoTransactionHash,
    /// `tth` is another transaction token's, or there is none.
    #[error("it is for another transaction token, or there is none")]
    OtherTransactionToken,
    /// `oth` names tokens that are not known here.
    #[error("its `oth` names tokens that are not known here")]
    OtherTokens,
    /// It has ended.
    #[error("it has expired")]
    Expired,
    /// It begins later.
    #[error("it is not valid yet")]
    NotYetValid,
    /// It is good for longer than a proof may be.
    #[error("it is good for longer than a proof may be")]
    TooLongLived,
}

impl Error {
    /// A stable name for records.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Token(_) => "wpt_malformed",
            Self::Type => "wpt_type",
            Self::Algorithm | Self::OtherAlgorithm => "wpt_algorithm",
            Self::Claim(_) => "wpt_claim",
            Self::Target(_) => "wpt_url_malformed",
            Self::OtherTarget => "wpt_url",
            Self::OtherWorkloadToken => "wpt_token",
            Self::AccessToken | Self::OtherTokens => "wpt_other_tokens",
            Self::NoTransactionHash | Self::OtherTransactionToken => "wpt_transaction",
            Self::Expired => "wpt_expired",
            Self::NotYetValid => "wpt_ahead",
            Self::TooLongLived => "wpt_lifetime",
        }
    }
}

/// A proof token of which nothing is believed yet.
pub struct Unproved<'a> {
    token: Compact<'a, Algorithm>,
    token_id: Zeroizing<String>,
    target: Target,
    expires_at: SystemTime,
    not_before: Option<SystemTime>,
    workload_token: String,
    transaction_token: Option<String>,
}

impl<'a> Unproved<'a> {
    /// Reads the value of a `Workload-Proof-Token` header, of at most [`PROOF_BYTES_MAX`].
    ///
    /// # Errors
    /// When it breaks a rule that can be judged without the request.
    pub fn parse(value: &'a str) -> Result<Self, Error> {
        let token = Compact::parse(value, PROOF_BYTES_MAX, read_header)?;
        if token.signature().is_empty() {
            return Err(jose::Error::Parts.into());
        }
        let claims = &token.claims;
        let target = match claims.member("aud") {
            Some(Value::String(one)) => one,
            Some(Value::Array(several)) if let [Value::String(one)] = several.as_slice() => one,
            _ => return Err(Error::Claim("aud")),
        };
        let target = Target::parse_htu(target).map_err(Error::Target)?;
        let token_id = claims.member("jti").and_then(Value::as_str).filter(|id| TOKEN_ID_BYTES.contains(&id.len()));
        let token_id = Zeroizing::new(token_id.ok_or(Error::Claim("jti"))?.to_owned());
        let expires_at = time(claims, "exp")?.ok_or(Error::Claim("exp"))?;
        let not_before = time(claims, "nbf")?;
        let workload_token = hash(claims, "wth")?.ok_or(Error::Claim("wth"))?;
        let transaction_token = hash(claims, "tth")?;
        if hash(claims, "ath")?.is_some() {
            return Err(Error::AccessToken);
        }
        match claims.member("oth").map(Value::as_object) {
            None => {}
            Some(None) => return Err(Error::Claim("oth")),
            Some(Some(others)) if others.is_empty() => {}
            Some(Some(_)) => return Err(Error::OtherTokens),
        }
        Ok(Self { token, token_id, target, expires_at, not_before, workload_token, transaction_token })
    }

    /// Compares it with the request at hand. No signature is looked at.
    ///
    /// # Errors
    /// The first thing in which they differ.
    pub fn check(&self, expected: &Expected<'_>) -> Result<(), Error> {
        if self.target != *expected.target {
            return Err(Error::OtherTarget);
        }
        if self.workload_token != expected.workload_token.to_string() {
            return Err(Error::OtherWorkloadToken);
        }
        match (&self.transaction_token, expected.transaction_token) {
            (None, None) => {}
            (None, Some(_)) => return Err(Error::NoTransactionHash),
            (Some(hash), Some(token)) if *hash == token.to_string() => {}
            (Some(_), _) => return Err(Error::OtherTransactionToken),
        }
        if expected.now >= self.expires_at {
            return Err(Error::Expired);
        }
        if self.not_before.is_some_and(|begin| begin > expected.now) {
            return Err(Error::NotYetValid);
        }
        match self.expires_at > expected.now + expected.lifetime_max {
            true => Err(Error::TooLongLived),
            false => Ok(()),
        }
    }

    /// When it ends.
    pub fn expires_at(&self) -> SystemTime {
        self.expires_at
    }

    /// Its `jti`, which is for one request.
    pub fn token_id(&self) -> &str {
        &self.token_id
    }

    /// What the holder of this WIT-SVID's key must have signed.
    ///
    /// # Errors
    /// [`Error::OtherAlgorithm`].
    pub fn proof(&self, holder: &wit::Unproved) -> Result<wit::Proof<'_>, Error> {
        match holder.key().algorithm() == Some(self.token.header) {
            true => Ok(wit::Proof { message: self.token.signed().as_bytes(), signature: self.token.signature() }),
            false => Err(Error::OtherAlgorithm),
        }
    }
}

impl fmt::Debug for Unproved<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Unproved(..)")
    }
}

fn read_header(header: &Object) -> Result<Algorithm, Error> {
    if header.member("typ").and_then(Value::as_str) != Some(TYPE) {
        return Err(Error::Type);
    }
    match REFUSED.into_iter().find(|name| header.has(name)) {
        Some(name) => Err(jose::Error::Header(name).into()),
        None => header.member("alg").and_then(Value::as_str).and_then(Algorithm::named).ok_or(Error::Algorithm),
    }
}

/// A time in whole seconds, where it is there.
fn time(claims: &Object, name: &'static str) -> Result<Option<SystemTime>, Error> {
    let Some(value) = claims.member(name) else { return Ok(None) };
    let seconds = value.as_u64().filter(|seconds| *seconds <= SECONDS_MAX).ok_or(Error::Claim(name))?;
    Ok(Some(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)))
}

/// The SHA-256 of a token in base64url, where it is there.
fn hash(claims: &Object, name: &'static str) -> Result<Option<String>, Error> {
    let Some(value) = claims.member(name) else { return Ok(None) };
    let text = value.as_str().filter(|text| decode(text).is_some_and(|hash| hash.len() == 32));
    Ok(Some(text.ok_or(Error::Claim(name))?.to_owned()))
}

/// Extensions that must be understood and are not, and places to take a key from other than the WIT-SVID.
const REFUSED: [&str; 8] = ["crit", "b64", "zip", "enc", "jwk", "jku", "x5u", "x5c"];
