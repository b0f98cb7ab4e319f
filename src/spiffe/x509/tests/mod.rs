//! Certificates, chains and bundles, good and bad. Rows bear the numbers of the adversarial table that the
//! project keeps of the standard.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "tests"
)]

mod chains;
mod encodings;
pub(in crate::spiffe) mod kit;
mod leaves;
mod made;
mod readable;
