//! OAuth as types: what stands in an access token, a proof of possession and a request, read strictly, and the one
//! function that judges a request at a resource (RFC 9068, RFC 9449, RFC 7638; WIMSE's proof tokens).
//!
//! Pure: bytes and times come in as arguments. What a registry knows comes in through [`verify::Registry`], what was
//! revoked too; nothing here knows a socket, a file or a clock. Each thing has one spelling; what another reader might
//! see otherwise is refused.

mod certificate;
mod key;
mod nonce;
mod scope;
mod thumbprint;
mod token_hash;

pub(crate) mod metadata;

pub mod access;
pub mod challenge;
pub mod dpop;
pub mod exchange;
pub mod foreign;
pub mod freshness;
pub mod issuer;
pub mod replay;
pub mod target;
pub mod verify;
pub mod wpt;

pub use certificate::{CERTIFICATE_BYTES_MAX, Certificate, CertificateError, CertificateHash};
pub use key::{KeyError, ProofKey};
pub use scope::{SCOPE_BYTES_MAX, SCOPES_MAX, Scope, ScopeError, Scopes};
pub use thumbprint::{NotThumbprint, Thumbprint};
pub use token_hash::TokenHash;

#[cfg(test)]
mod tests;
