//! Signed tokens and their keys, as far as SVIDs need them: compact JWS (RFC 7515), public JWKs (RFC 7517,
//! RFC 7518 §6), thumbprints (RFC 7638).
//!
//! Each thing has one spelling: base64url without padding, blanks or stray bits, coordinates of full width,
//! numbers without zeros in front, names once. An algorithm is chosen by the key, never by the token; an SVID's
//! own idea of where its key is (`jwk`, `jku`, `x5u`, `x5c`) ends the reading.

mod algorithm;
mod bundle;
mod curve;
mod error;
mod jwk;
mod jws;
mod private;
mod sign;

use aws_lc_rs::digest::{Context, SHA256};
use data_encoding::BASE64URL_NOPAD;

pub use algorithm::Algorithm;
pub use bundle::{Bundle, BundleError, KEYS_MAX, Usage};
pub use error::{Error, KeyError};
pub use jwk::{Jwk, RSA_BITS_MAX, RSA_BITS_MIN};
pub(crate) use jws::{Compact, Unverified};
pub use private::PrivateJwk;
pub use sign::{SignError, Signer, SigningAlgorithm};
pub(crate) use sign::{seal, sign};

/// The longest token that is read, in bytes.
pub const TOKEN_BYTES_MAX: usize = 16 * 1024;

/// Reads base64url without padding (RFC 7515 §2), in its one canonical spelling.
pub(crate) fn decode(text: &str) -> Option<Vec<u8>> {
    BASE64URL_NOPAD.decode(text.as_bytes()).ok()
}

/// Writes base64url without padding.
pub(crate) fn encode(bytes: &[u8]) -> String {
    BASE64URL_NOPAD.encode(bytes)
}

/// The SHA-256 of these parts, one behind the other.
pub(crate) fn sha256(parts: &[&[u8]]) -> [u8; 32] {
    let mut context = Context::new(&SHA256);
    for part in parts {
        context.update(part);
    }
    let mut hash = [0; 32];
    for (byte, of_digest) in hash.iter_mut().zip(context.finish().as_ref()) {
        *byte = *of_digest;
    }
    hash
}

#[cfg(test)]
pub(crate) mod tests;
