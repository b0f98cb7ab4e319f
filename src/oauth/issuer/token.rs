//! What pinned issuers sign: read whole before a key is touched, believed only after.

use std::fmt;

use thiserror::Error;

use crate::spiffe::{
    jose::{self, Compact},
    json::{Object, Value},
};

use super::Issuer;

/// The longest token that is read, in bytes. Those of users carry groups and roles.
pub const TOKEN_BYTES_MAX: usize = 8 * 1024;

/// How a pinned issuer may sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    Rs256,
    /// RSASSA-PSS with SHA-256.
    Ps256,
    /// ECDSA on P-256 with SHA-256.
    Es256,
    /// ECDSA on P-384 with SHA-384.
    Es384,
    /// Ed25519, under its own name (RFC 9864) or as `EdDSA`.
    Ed25519,
}

impl Algorithm {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Rs256, Self::Ps256, Self::Es256, Self::Es384, Self::Ed25519];

    /// The algorithm of this name, in exactly this spelling.
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "RS256" => Some(Self::Rs256),
            "PS256" => Some(Self::Ps256),
            "ES256" => Some(Self::Es256),
            "ES384" => Some(Self::Es384),
            "EdDSA" | "Ed25519" => Some(Self::Ed25519),
            _ => None,
        }
    }

    /// As SPIFFE's tokens have it, which have no Ed25519.
    pub(super) fn of_jose(self) -> Option<jose::Algorithm> {
        match self {
            Self::Rs256 => Some(jose::Algorithm::Rs256),
            Self::Ps256 => Some(jose::Algorithm::Ps256),
            Self::Es256 => Some(jose::Algorithm::Es256),
            Self::Es384 => Some(jose::Algorithm::Es384),
            Self::Ed25519 => None,
        }
    }
}

/// Why a token is no pinned issuer's.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum TokenError {
    /// It is no compact JWS, or the signature is not right.
    #[error(transparent)]
    Token(#[from] jose::Error),
    /// `alg` is missing, or none of [`Algorithm`].
    #[error("its `alg` is none of RS256, PS256, ES256, ES384, EdDSA, Ed25519")]
    Algorithm,
    /// The issuer has no key of its `kid`; or it has no `kid`, and the issuer more than one key.
    #[error("its issuer has no key of its `kid`")]
    UnknownKey,
}

/// A token of which nothing is believed yet.
pub struct Unverified<'a>(Compact<'a, Header>);

struct Header {
    algorithm: Algorithm,
    key_id: Option<String>,
    kind: Option<String>,
}

impl<'a> Unverified<'a> {
    /// Reads a token of at most [`TOKEN_BYTES_MAX`].
    ///
    /// # Errors
    /// When it breaks a rule that can be judged without a key.
    pub fn parse(token: &'a str) -> Result<Self, TokenError> {
        Compact::parse(token, TOKEN_BYTES_MAX, read_header).map(Self)
    }

    /// Its `typ`.
    pub fn kind(&self) -> Option<&str> {
        self.0.header.kind.as_deref()
    }

    /// What it claims, for finding out cheaply that it cannot be good, and whose keys may be tried.
    pub fn unverified_claims(&self) -> &Object {
        &self.0.claims
    }

    /// Its claims, if it is signed with a key of this issuer. That it names the issuer, and whether it is good now, is
    /// for its reader to look at.
    ///
    /// # Errors
    /// [`TokenError::UnknownKey`], or that of the signature.
    pub fn verify(self, issuer: &Issuer) -> Result<Object, TokenError> {
        let Header { algorithm, key_id, .. } = &self.0.header;
        issuer.keys.verify(key_id.as_deref(), *algorithm, self.0.signed().as_bytes(), self.0.signature())?;
        Ok(self.0.claims)
    }
}

impl fmt::Debug for Unverified<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Unverified(..)")
    }
}

fn read_header(header: &Object) -> Result<Header, TokenError> {
    let algorithm = header.member("alg").and_then(Value::as_str).and_then(Algorithm::named);
    let algorithm = algorithm.ok_or(TokenError::Algorithm)?;
    if let Some(name) = REFUSED.into_iter().find(|name| header.has(name)) {
        return Err(jose::Error::Header(name).into());
    }
    let text = |name, error| match header.member(name) {
        None => Ok(None),
        Some(Value::String(text)) if !text.is_empty() => Ok(Some(text.clone())),
        Some(_) => Err(error),
    };
    Ok(Header { algorithm, key_id: text("kid", jose::Error::KeyId)?, kind: text("typ", jose::Error::Type)? })
}

/// Extensions that must be understood and are not, and places to take a key from other than the operator's.
const REFUSED: [&str; 8] = ["crit", "b64", "zip", "enc", "jwk", "jku", "x5u", "x5c"];
