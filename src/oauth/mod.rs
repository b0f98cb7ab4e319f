//! OAuth as types: what stands in an access token, a proof of possession and a request, read strictly, and the one
//! function that judges a request at a resource (RFC 9068, RFC 9449, RFC 7638).
//!
//! Pure: bytes and times come in as arguments. What a registry knows comes in through [`verify::Registry`], what was
//! revoked too; nothing here knows a socket, a file or a clock. Each thing has one spelling; what another reader might
//! see otherwise is refused.

mod key;
mod thumbprint;
mod token_hash;

pub mod dpop;
pub mod target;

use aws_lc_rs::digest::{Context, SHA256};

pub use key::{KeyError, ProofKey};
pub use thumbprint::{NotThumbprint, Thumbprint};
pub use token_hash::TokenHash;

/// The SHA-256 of these parts, one behind the other.
fn sha256(parts: &[&[u8]]) -> [u8; 32] {
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
mod tests;
