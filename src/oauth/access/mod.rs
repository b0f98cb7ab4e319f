//! Access tokens (RFC 9068): made in one way, and read in that way only.
//!
//! The header is always `{"typ":"at+jwt","alg":"ES256","kid":"dfly-…"}`, in this order, so that every token begins with
//! the same characters and can be found where it should not be. Each token is bound to one key by `cnf.jkt`, is for one
//! audience, and ends when it says, without leeway: who issues and who verifies have one clock.

mod brand;
mod issue;
mod jwks;
mod read;
mod subject;

use std::time::{Duration, SystemTime};

use thiserror::Error;

use crate::spiffe::jose;

use super::{Scopes, Thumbprint};

pub use brand::{CONSTANT_PREFIX, KEY_ID_BRAND, KEY_ID_BYTES_MAX, is_key_id, key_id, pattern};
pub use issue::{Draft, DraftError, issue};
pub use jwks::{JWKS_BYTES_MAX, JwksError, read_keys};
pub use read::Unverified;
pub use subject::{ACTORS_MAX, Actor, Subject};
pub(in crate::oauth) use subject::{actors, is_in, is_text, text};

/// The longest token that is made or read, in bytes.
pub const TOKEN_BYTES_MAX: usize = 2_048;
/// The longest life of a token.
pub const LIFETIME_MAX: Duration = Duration::from_secs(3_600);
/// How far a token's `iat` may be ahead of the clock: one that was set back by more makes old tokens live longer.
pub const AHEAD_MAX: Duration = Duration::from_secs(5);
/// The longest name, URL or id in a token, in bytes.
pub const TEXT_BYTES_MAX: usize = 512;

const TYPE: &str = "at+jwt";

/// What a bundle of access token keys is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {}

impl jose::Usage for Profile {
    const USE: &'static str = "sig";
    const IS_TOLD_ALONE: bool = true;
    const IS_ALGORITHM_TOLD: bool = true;
}

/// The keys that access tokens are verified with, by `kid`.
pub type Keys = jose::Bundle<Profile>;

/// What a token says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claims {
    /// `iss`
    pub issuer: String,
    /// `sub`, and with a delegation `sub_iss` and `act`.
    pub subject: Subject,
    /// `aud`, of which there is one.
    pub audience: String,
    /// `client_id`: the agent's name.
    pub client: String,
    /// `iat`
    pub issued_at: SystemTime,
    /// `exp`: from then on it is not good any more.
    pub expires_at: SystemTime,
    /// `jti`
    pub token_id: TokenId,
    /// `scope`
    pub scopes: Scopes,
    /// `cnf.jkt`: the key whose holder may use it.
    pub key: Thumbprint,
    /// `sid`: the session that it belongs to.
    pub session: Option<String>,
}

/// A token's `jti`: 128 random bits. Its text is base64url without padding, 22 characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TokenId(pub [u8; 16]);

impl TokenId {
    /// Reads one: 22 characters of base64url without padding, in their one spelling. `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        jose::decode(text)?.try_into().ok().map(Self)
    }
}

impl std::fmt::Display for TokenId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&jose::encode(&self.0))
    }
}

/// Why a token was refused: the first rule that it breaks.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Error {
    /// It is no compact JWS, or the signature is not right.
    #[error(transparent)]
    Token(#[from] jose::Error),
    /// More than [`TOKEN_BYTES_MAX`].
    #[error("the token has {0} bytes, at most {TOKEN_BYTES_MAX} are read")]
    TooLong(usize),
    /// `typ` is not `at+jwt`.
    #[error("its `typ` is not `at+jwt`")]
    Type,
    /// The header is not exactly the one that every token has.
    #[error("its header is not written as every access token's is")]
    Header,
    /// A claim is missing or malformed; says which.
    #[error("its `{0}` is missing or malformed")]
    Claim(&'static str),
    /// `cnf` is missing, has more than one member, or another than `jkt`.
    #[error("its `cnf` is not exactly one `jkt`")]
    Confirmation,
    /// `iss` is somebody else.
    #[error("it is of another issuer")]
    Issuer,
    /// There is no key of its `kid`.
    #[error("there is no key of its `kid`")]
    UnknownKey,
    /// It is for others.
    #[error("it is for another audience")]
    Audience,
    /// It has ended.
    #[error("it has expired")]
    Expired,
    /// It is of a time to come.
    #[error("its `iat` is ahead of the clock")]
    Ahead,
    /// It would live longer than any may.
    #[error("it lives longer than an access token may")]
    TooLongLived,
}

impl Error {
    /// A stable name for records.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Token(jose::Error::Signature) => "token_signature",
            Self::Token(_) | Self::TooLong(_) => "token_malformed",
            Self::Type => "token_type",
            Self::Header => "token_header",
            Self::Claim(_) => "token_claim",
            Self::Confirmation => "token_binding",
            Self::Issuer => "token_issuer",
            Self::UnknownKey => "token_key",
            Self::Audience => "token_audience",
            Self::Expired => "token_expired",
            Self::Ahead => "token_ahead",
            Self::TooLongLived => "token_lifetime",
        }
    }
}

impl Claims {
    /// Whether it is good at this time, for this audience.
    ///
    /// # Errors
    /// [`Error::Audience`], [`Error::Expired`], [`Error::Ahead`].
    pub fn check(&self, audience: &str, now: SystemTime) -> Result<(), Error> {
        if self.audience != audience {
            return Err(Error::Audience);
        }
        if now >= self.expires_at {
            return Err(Error::Expired);
        }
        match self.issued_at > now + AHEAD_MAX {
            true => Err(Error::Ahead),
            false => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
