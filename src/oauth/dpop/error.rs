//! Why a proof was refused.

use thiserror::Error;

use crate::{
    oauth::{KeyError, target},
    spiffe::jose,
};

/// Why a proof was refused: the first rule that it breaks.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Error {
    /// Two proofs in one header, with a comma between them.
    #[error("there is more than one proof")]
    Several,
    /// It is no compact JWS, or the signature is not right.
    #[error(transparent)]
    Token(#[from] jose::Error),
    /// `typ` is not `dpop+jwt`.
    #[error("its `typ` is not `dpop+jwt`")]
    Type,
    /// `alg` is none that a proof may have here.
    #[error("its `alg` is neither `ES256` nor `Ed25519`")]
    Algorithm,
    /// The header has no `jwk` that is an object.
    #[error("its header has no `jwk`")]
    NoKey,
    /// The key is none that can be proved.
    #[error("the key in its header is refused")]
    Key(#[from] KeyError),
    /// A claim is missing or not of its type; says which.
    #[error("its `{0}` is missing or malformed")]
    Claim(&'static str),
    /// `htu` is no URL that a request can have.
    #[error("its `htu` is refused")]
    Target(#[source] target::Error),
    /// `htm` is another method.
    #[error("it is for another method")]
    OtherMethod,
    /// `htu` is another URL.
    #[error("it is for another URL")]
    OtherTarget,
    /// `ath` is missing beside an access token.
    #[error("it has no `ath`, and there is an access token")]
    NoTokenHash,
    /// `ath` is another token's.
    #[error("it is for another access token")]
    OtherToken,
    /// It is too old.
    #[error("it is too old")]
    Stale,
    /// It is of a time to come.
    #[error("its `iat` is ahead of the clock")]
    Ahead,
}

impl Error {
    /// A stable name for records.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Several => "proof_several",
            Self::Token(jose::Error::Signature) => "proof_signature",
            Self::Token(_) => "proof_malformed",
            Self::Type => "proof_type",
            Self::Algorithm => "proof_algorithm",
            Self::NoKey | Self::Key(_) => "proof_key",
            Self::Claim(_) => "proof_claim",
            Self::Target(_) => "proof_url_malformed",
            Self::OtherMethod => "proof_method",
            Self::OtherTarget => "proof_url",
            Self::NoTokenHash => "proof_token_missing",
            Self::OtherToken => "proof_token",
            Self::Stale => "proof_stale",
            Self::Ahead => "proof_ahead",
        }
    }
}
