//! Why nothing was signed.

use crate::spiffe::x509;

/// How signing, or making the keys for it, fails.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The crypto library made no key or number.
    #[error("no key could be made")]
    Key,
    /// The certificate could not be put together.
    #[error("the certificate could not be made")]
    Certificate(#[from] rcgen::Error),
    /// What was made is not what the standard asks for; it does not leave.
    #[error("the certificate that was made breaks the profile")]
    Profile(#[source] x509::Error),
    /// The signature that was made does not verify; it does not leave.
    #[error("the certificate that was made does not verify")]
    Unverified(#[source] x509::Error),
    /// The permit is for another trust domain than the authority's.
    #[error("the permit is for another trust domain")]
    ForeignTrustDomain,
    /// The authority, or the permit, ends too soon to be worth a certificate.
    #[error("the authority expires too soon to sign with")]
    Expiring,
}
