//! Why a certificate, a chain or a bundle was refused.

use thiserror::Error;

use crate::spiffe::{IdError, TrustDomain};

use super::{CERTIFICATE_BYTES_MAX, CHAIN_CERTIFICATES_MAX, SIGNATURE_CHECKS_MAX};

/// Why a certificate, a chain or a bundle was refused. Codes of the SPIFFE X509-SVID and RFC 5280 rules
/// are in the variants' words.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Error {
    /// The bytes are not the DER they should be; says of which part.
    #[error("{0} is not proper DER")]
    Malformed(&'static str),
    /// There are bytes after the end; says of which part.
    #[error("there are bytes after the end of {0}")]
    Trailing(&'static str),
    /// A list is longer than allowed.
    #[error("more than {most} certificates")]
    TooMany {
        /// How many are allowed.
        most: usize,
    },
    /// One certificate is too long.
    #[error("a certificate has {0} bytes, at most {CERTIFICATE_BYTES_MAX} are read")]
    TooLarge(usize),
    /// There is nothing to verify.
    #[error("there is no certificate")]
    NoCertificate,
    /// Not an X.509 version 3 certificate (the others have no extensions, so no SPIFFE ID).
    #[error("it is not a version 3 certificate")]
    Version,
    /// The serial number is negative or longer than 20 octets, or, at our own issuer, zero.
    #[error("the serial number is {0}")]
    Serial(&'static str),
    /// The two places that name the signature algorithm differ.
    #[error("the signature algorithms inside and outside the signed part differ")]
    AlgorithmsDiffer,
    /// SHA-1, MD5 or something unknown.
    #[error("the signature algorithm is not allowed")]
    Algorithm,
    /// Too short an RSA key, an unknown curve, or something unknown.
    #[error("the public key is not allowed: {0}")]
    Key(&'static str),
    /// An extension twice.
    #[error("the extension {0} is there twice")]
    DuplicateExtension(String),
    /// An extension that must be understood, and is not.
    #[error("the critical extension {0} is not understood")]
    CriticalExtension(String),
    /// Zero or several URI names.
    #[error("it has {0} URI names, an X.509-SVID has exactly one")]
    UriNames(usize),
    /// The one URI name is not a workload's SPIFFE ID.
    #[error("its URI name is not a workload's SPIFFE ID")]
    Id(#[from] IdError),
    /// A signing certificate was shown as a leaf.
    #[error("it is an authority's certificate, not a workload's")]
    LeafIsAuthority,
    /// A certificate that is no authority's stands where one is needed.
    #[error("it is not an authority's certificate")]
    NotAuthority,
    /// The key usage is missing or wrong.
    #[error("its key usage {0}")]
    KeyUsage(&'static str),
    /// The extended key usage does not name what it is used for.
    #[error("its extended key usage does not allow this use")]
    Purpose,
    /// Something that our own issuer never makes.
    #[error("an issuer must not make this: {0}")]
    Profile(&'static str),
    /// Client libraries refuse to read it, and with it the whole message that it is in.
    #[error("client libraries do not read it: {0}")]
    Unreadable(&'static str),
    /// Its first second has not come.
    #[error("it is not valid yet")]
    NotYetValid,
    /// Its last second is over.
    #[error("it has expired")]
    Expired,
    /// The signature does not match.
    #[error("the signature does not match")]
    Signature,
    /// More certificates follow an authority than it allows.
    #[error("an authority's path length is exceeded")]
    PathLength,
    /// An authority's certificate has name constraints, which are not evaluated here.
    #[error("an authority has name constraints, which are not supported")]
    NameConstraints,
    /// No bundle for the trust domain that the leaf names.
    #[error("there is no bundle for the trust domain {0}")]
    NoBundle(TrustDomain),
    /// The trust domain's bundle has no usable authority now: everything in it is revoked.
    #[error("the bundle of the trust domain {0} has no usable authority")]
    EmptyBundle(TrustDomain),
    /// No authority of the leaf's own trust domain stands behind it. The cause is the failure that came
    /// nearest to an authority, where there was one.
    #[error("no authority of the trust domain {trust_domain} stands behind it")]
    Untrusted {
        /// The trust domain in the leaf's ID.
        trust_domain: TrustDomain,
        /// Why the best candidate was no path.
        #[source]
        cause: Option<Box<Error>>,
    },
    /// The chain is built so that looking for a path is endless.
    #[error("more than {SIGNATURE_CHECKS_MAX} signatures would have to be checked")]
    TooMuchWork,
}

impl Error {
    pub(super) const CHAIN: Self = Self::TooMany { most: CHAIN_CERTIFICATES_MAX };
}
