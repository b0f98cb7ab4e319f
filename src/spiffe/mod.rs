//! The SPIFFE standard as types: trust domains, identities, X.509-SVIDs, JWT-SVIDs, WIT-SVIDs, and the bundles that
//! verify them.
//!
//! Pure: bytes and times come in as arguments, no file, clock or socket is touched. A value of one of
//! these types has passed every rule of the standard that can be judged without context; what was
//! refused says by which rule.

mod claims;
pub mod document;
mod error;
mod id;
pub mod jose;
pub mod json;
pub mod jwt;
mod trust_domain;
pub mod wit;
pub mod x509;

pub use claims::{ClaimError, LEEWAY_MAX};
pub(crate) use claims::{SECONDS_MAX, numeric_date, span};
pub use error::IdError;
pub use id::{ID_BYTES_MAX, Id};
pub use trust_domain::{TRUST_DOMAIN_BYTES_MAX, TrustDomain};

#[cfg(test)]
mod tests;
