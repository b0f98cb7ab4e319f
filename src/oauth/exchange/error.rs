//! Why a subject token was refused.

use thiserror::Error;

use crate::{
    oauth::{access, issuer::TokenError},
    spiffe::jose,
};

/// The first rule that a subject token breaks. Who presents it learns none of this.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Error {
    /// It is no token of a pinned issuer: no compact JWS, of no key of it, or not signed by it.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// It is one of ours, but not a good one.
    #[error(transparent)]
    Own(#[from] access::Error),
    /// Nobody has pinned its `iss`.
    #[error("its `iss` is neither this daemon nor an issuer that is pinned")]
    Issuer,
    /// Its `iss` is pinned, but its keys are not here: their file could not be read.
    #[error("the keys of its issuer are not here")]
    NoKeys,
    /// It is another kind of token: by its `typ`, by what is in it, or by what its presenter says.
    #[error("it is of a kind that is not exchanged")]
    Type,
    /// `aud` is not our issuer alone.
    #[error("its `aud` is not this daemon's token issuer alone")]
    Audience,
    /// A claim is missing or malformed; says which.
    #[error("its `{0}` is missing or malformed")]
    Claim(&'static str),
    /// It has ended.
    #[error("it has expired")]
    Expired,
    /// It has not begun, or is of a time to come.
    #[error("its `nbf` or `iat` is ahead of the clock")]
    NotYet,
    /// It is bound to another key than the request's, or in another way.
    #[error("it is bound to another key than the proof's, or in a way that is not known here")]
    Key,
    /// Its `sub` looks like a workload of ours.
    #[error("its `sub` is a SPIFFE ID of this trust domain")]
    Name,
    /// There were too many actors before, or `act` is malformed.
    #[error("its `act` is malformed or too deep")]
    Actors,
}

impl Error {
    /// A stable name for records.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Token(TokenError::Token(jose::Error::Signature))
            | Self::Own(access::Error::Token(jose::Error::Signature)) => "subject_signature",
            Self::Token(TokenError::UnknownKey) | Self::Own(access::Error::UnknownKey) => "subject_key",
            Self::Own(access::Error::Expired) | Self::Expired => "subject_expired",
            Self::Own(access::Error::Ahead) | Self::NotYet => "subject_not_yet",
            Self::Token(_) | Self::Own(_) => "subject_malformed",
            Self::Issuer => "subject_issuer",
            Self::NoKeys => "subject_no_keys",
            Self::Type => "subject_type",
            Self::Audience => "subject_audience",
            Self::Claim(_) => "subject_claim",
            Self::Key => "subject_binding",
            Self::Name => "subject_name",
            Self::Actors => "subject_actors",
        }
    }
}
