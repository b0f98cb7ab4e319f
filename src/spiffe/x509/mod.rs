//! X.509-SVIDs: what an issuer must have made, what a validator may believe, and whom it may believe.
//!
//! Certificates are read by a strict DER reader of this room's own: it refuses what general parsers let
//! pass (bytes left over inside a SEQUENCE, BER booleans, doubled extensions, lengths that are not
//! minimal), so that nobody can show two readers two different certificates.

mod algorithm;
mod bundle;
mod certificate;
mod der;
mod error;
mod extensions;
mod path;
mod profile;
mod readable;
mod time;

use std::time::SystemTime;

use bytes::Bytes;

pub(in crate::spiffe) use algorithm::KeyParts;
pub use bundle::{AUTHORITIES_MAX, Bundle, Bundles};
pub use certificate::CERTIFICATE_BYTES_MAX;
pub use error::Error;
pub(crate) use path::check_issued;
pub use path::{SIGNATURE_CHECKS_MAX, verify};
pub use profile::{check_authority, check_authority_profile, check_profile};
pub use readable::check_readable;

use super::Id;

/// The most certificates in one chain, the leaf included. Client libraries stop at the same number.
pub const CHAIN_CERTIFICATES_MAX: usize = 16;

/// What a leaf certificate says, after it was checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leaf {
    /// Whose certificate it is.
    pub id: Id,
    /// The first second of its life.
    pub not_before: SystemTime,
    /// The last second of its life.
    pub not_after: SystemTime,
    /// The serial number, big-endian, without a leading zero byte (zero itself is one zero byte).
    pub serial: Vec<u8>,
    /// The public key as `SubjectPublicKeyInfo`, DER.
    pub public_key: Bytes,
    /// The first common name of its subject, if that can be read; it may be anything.
    pub common_name: Option<String>,
    /// The DNS names in its subject alternative name, in their order.
    pub dns_names: Vec<String>,
    /// The key identifier of the authority that signed it, where it says so.
    pub authority_key_id: Option<Vec<u8>>,
}

impl Leaf {
    /// Whether it has ended at this time; its last second is still good.
    pub fn is_expired(&self, now: SystemTime) -> bool {
        now > self.not_after
    }
}

/// What a peer's certificate is to be used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// The peer is a TLS server.
    Server,
    /// The peer is a TLS client.
    Client,
    /// Either of the two.
    Any,
}

/// From when until when a certificate (DER) says that it is valid. Nothing else of it is judged.
///
/// # Errors
/// When it cannot be read.
pub fn validity(certificate: &[u8]) -> Result<(SystemTime, SystemTime), Error> {
    let read = certificate::Certificate::read(certificate)?;
    Ok((read.not_before, read.not_after))
}

/// How many authorities may stand below the one of a certificate (DER), where it says so (RFC 5280 §4.2.1.9).
///
/// # Errors
/// When it cannot be read.
pub fn path_length(certificate: &[u8]) -> Result<Option<u32>, Error> {
    let read = certificate::Certificate::read(certificate)?;
    Ok(read.extensions.basic_constraints.and_then(|mark| mark.value.path_length))
}

/// The public key that a certificate (DER) is about: its SubjectPublicKeyInfo, DER.
///
/// # Errors
/// When it cannot be read.
pub fn public_key(certificate: &[u8]) -> Result<Bytes, Error> {
    Ok(Bytes::copy_from_slice(certificate::Certificate::read(certificate)?.public_key))
}

/// What the public key of a certificate (DER) is made of.
pub(in crate::spiffe) fn key_parts(certificate: &[u8]) -> Result<KeyParts<'_>, Error> {
    certificate::Certificate::read(certificate)?.key.parts()
}

/// Cuts concatenated DER certificates (as in the Workload API's fields) apart, without reading them.
/// Nothing gives an empty list.
///
/// # Errors
/// When there are more than [`CHAIN_CERTIFICATES_MAX`], one is longer than [`CERTIFICATE_BYTES_MAX`], or
/// there is anything that is no DER SEQUENCE, be it a single byte.
pub fn split(der: &[u8]) -> Result<Vec<Bytes>, Error> {
    split_at_most(&Bytes::copy_from_slice(der), CHAIN_CERTIFICATES_MAX)
}

/// As [`split`], with the caller's limit, and sharing the caller's bytes.
///
/// # Errors
/// As [`split`].
pub(crate) fn split_at_most(der: &Bytes, most: usize) -> Result<Vec<Bytes>, Error> {
    let mut reader = der::Reader::new(der);
    let mut certificates = Vec::new();
    while !reader.is_empty() {
        if certificates.len() == most {
            return Err(Error::TooMany { most });
        }
        let certificate = reader.sequence("a certificate")?.whole;
        certificate::check_size(certificate)?;
        certificates.push(der.slice_ref(certificate));
    }
    Ok(certificates)
}

#[cfg(test)]
pub(in crate::spiffe) mod tests;
