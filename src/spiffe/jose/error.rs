//! Why a token or a key was refused.

use thiserror::Error;

use crate::spiffe::json;

use super::{RSA_BITS_MAX, RSA_BITS_MIN};

/// Why a text is no compact JWS that can be believed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Error {
    /// Longer than the reader's limit.
    #[error("the token has {bytes} bytes, at most {most} are read")]
    TooLong {
        /// How many it has.
        bytes: usize,
        /// How many are read.
        most: usize,
    },
    /// Not three parts with dots between them.
    #[error("the token does not have the three parts of a compact JWS")]
    Parts,
    /// A part is not canonical base64url without padding; says which.
    #[error("the token's {0} is not canonical base64url without padding")]
    Base64(&'static str),
    /// A part is not JSON that has one meaning; says which.
    #[error("the token's {part} cannot be read")]
    Json {
        /// The header or the payload.
        part: &'static str,
        /// What is wrong with it.
        source: json::Error,
    },
    /// A part is JSON, but no object; says which.
    #[error("the token's {0} is not a JSON object")]
    NotObject(&'static str),
    /// `alg` is missing, or none of the nine ([`Algorithm`](super::Algorithm)).
    #[error("the token's `alg` is none that a SPIFFE token may have")]
    Algorithm,
    /// A header parameter that nothing good can come of: `crit`, or another place to take a key from.
    #[error("the token's header has `{0}`")]
    Header(&'static str),
    /// `kid` is no text, or an empty one.
    #[error("the token's `kid` is not a text, or is empty")]
    KeyId,
    /// `typ` is no text.
    #[error("the token's `typ` is not a text")]
    Type,
    /// The key is of another kind or curve than the algorithm, or names another algorithm.
    #[error("the key does not go with the token's `alg`")]
    KeyMismatch,
    /// The signature does not match.
    #[error("the token's signature does not match")]
    Signature,
}

/// Why an object is no public key that can be believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum KeyError {
    /// It has a member that only a private or secret key has: somebody has published his key.
    #[error("it has `{0}`, which is private")]
    Private(&'static str),
    /// `kty` is `oct`: a secret that everybody knows now.
    #[error("it is a symmetric key")]
    Symmetric,
    /// It is not JSON that has one meaning.
    #[error("it cannot be read")]
    Json(#[from] json::Error),
    /// It is no object.
    #[error("it is not a JSON object")]
    NotObject,
    /// `kty` is missing, or neither `EC` nor `RSA`.
    #[error("its `kty` is neither `EC` nor `RSA`")]
    Type,
    /// `crv` is missing, or none of P-256, P-384, P-521.
    #[error("its `crv` is none of P-256, P-384, P-521")]
    Curve,
    /// A member is missing, no text, or not canonical base64url.
    #[error("its `{0}` is missing or not canonical base64url")]
    Member(&'static str),
    /// A coordinate is not as wide as its curve (RFC 7518 §6.2.1.2).
    #[error("a coordinate does not have the width of its curve")]
    Width,
    /// The point is not on its curve.
    #[error("its point is not on its curve")]
    Point,
    /// The modulus is too short or too long.
    #[error("its RSA modulus does not have {RSA_BITS_MIN} to {RSA_BITS_MAX} bits")]
    RsaSize,
    /// The modulus is even, or has a zero in front.
    #[error("its RSA modulus is even or has a zero in front")]
    RsaModulus,
    /// The exponent is even, less than 3, longer than 32 bits, or has a zero in front.
    #[error("its RSA exponent is wrong")]
    RsaExponent,
    /// It is no key pair of the curve that was asked for, or its two halves are of two pairs.
    #[error("it is not a key pair of this curve")]
    KeyPair,
    /// `alg` is none of the nine, or does not go with the key.
    #[error("its `alg` does not go with it")]
    Algorithm,
}

impl KeyError {
    /// Whether somebody should be told: a secret stands where the world can read it.
    pub fn is_alarming(&self) -> bool {
        matches!(self, Self::Private(_) | Self::Symmetric)
    }
}
