//! Names of tokens in proofs: their SHA-256.

use std::fmt;

use crate::spiffe::jose::{encode, sha256};

/// The SHA-256 of a token's ASCII as it was received: the `ath` of a DPoP proof (RFC 9449 §4.2), `wth` and `tth` of a workload
/// proof token. Its text is base64url without padding, 43 characters.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TokenHash([u8; 32]);

impl TokenHash {
    /// That of a token.
    pub fn of(token: &str) -> Self {
        Self(sha256(&[token.as_bytes()]))
    }
}

impl fmt::Display for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&encode(&self.0))
    }
}

impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TokenHash({self})")
    }
}
