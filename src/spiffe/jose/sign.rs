//! Making a compact JWS. The key is somebody else's: here is only what is signed.

use thiserror::Error;

use crate::spiffe::json::Members;

use super::{Algorithm, TOKEN_BYTES_MAX, encode};

/// Who holds a key and signs with it.
pub trait Signer {
    /// The algorithm of its key.
    fn algorithm(&self) -> SigningAlgorithm;

    /// The `kid` under which the public key stands in the bundle.
    fn key_id(&self) -> &str;

    /// The signature over the hash of these bytes: r and s, big-endian, each at the full width of the curve
    /// (RFC 7518 §3.4), not DER. `None` when there is none to be had.
    fn sign(&self, message: &[u8]) -> Option<Vec<u8>>;
}

/// An algorithm that tokens are signed with here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SigningAlgorithm {
    /// ECDSA on P-256 with SHA-256: the default, and what WIMSE demands.
    Es256,
    /// ECDSA on P-384 with SHA-384.
    Es384,
}

impl SigningAlgorithm {
    /// Of a signature, in bytes.
    pub fn signature_bytes(self) -> usize {
        match self {
            Self::Es256 => 64,
            Self::Es384 => 96,
        }
    }
}

impl From<SigningAlgorithm> for Algorithm {
    fn from(algorithm: SigningAlgorithm) -> Self {
        match algorithm {
            SigningAlgorithm::Es256 => Self::Es256,
            SigningAlgorithm::Es384 => Self::Es384,
        }
    }
}

/// Why nothing was signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum SignError {
    /// The signer has no name for its key.
    #[error("the signing key has no `kid`")]
    KeyId,
    /// The signer gave no signature.
    #[error("the signing key gave no signature")]
    NoSignature,
    /// The signer gave something else than r and s at full width, DER perhaps.
    #[error("the signature has {0} bytes, which is not the fixed width of its algorithm")]
    Width(usize),
    /// No validator would read the token.
    #[error("the token would have {0} bytes, at most {TOKEN_BYTES_MAX} are read")]
    TooLong(usize),
}

/// Signs a set of claims (JSON) under a header of exactly `alg`, `kid` and `typ`.
pub(crate) fn sign(kind: &str, claims: &str, signer: &dyn Signer) -> Result<String, SignError> {
    let header = Members::new()
        .string("alg", Algorithm::from(signer.algorithm()).name())
        .string("kid", signer.key_id())
        .string("typ", kind)
        .finish();
    seal(&header, claims, signer)
}

/// Signs a set of claims under a header, both JSON. The header says what the signer is.
pub(crate) fn seal(header: &str, claims: &str, signer: &dyn Signer) -> Result<String, SignError> {
    if signer.key_id().is_empty() {
        return Err(SignError::KeyId);
    }
    let mut token = format!("{}.{}", encode(header.as_bytes()), encode(claims.as_bytes()));
    let signature = signer.sign(token.as_bytes()).ok_or(SignError::NoSignature)?;
    if signature.len() != signer.algorithm().signature_bytes() {
        return Err(SignError::Width(signature.len()));
    }
    token.push('.');
    token.push_str(&encode(&signature));
    match token.len() <= TOKEN_BYTES_MAX {
        true => Ok(token),
        false => Err(SignError::TooLong(token.len())),
    }
}
