//! The curve of the authority's own keys. Workloads' keys are P-256.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm,
};
use rcgen::{PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, SignatureAlgorithm};

use super::Error;
use crate::sys::Secret;

/// A curve and its hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Algorithm {
    P256,
    P384,
}

impl Algorithm {
    /// A new key pair: PKCS#8, DER.
    ///
    /// # Errors
    /// When the crypto library makes none.
    pub(crate) fn generate(self) -> Result<Secret, Error> {
        let pair = EcdsaKeyPair::generate(self.signing()).map_err(|_| Error::Key)?;
        let document = pair.to_pkcs8v1().map_err(|_| Error::Key)?;
        Ok(Secret::new(document.as_ref().to_vec()))
    }

    pub(super) fn signing(self) -> &'static EcdsaSigningAlgorithm {
        match self {
            Self::P256 => &ECDSA_P256_SHA256_ASN1_SIGNING,
            Self::P384 => &ECDSA_P384_SHA384_ASN1_SIGNING,
        }
    }

    pub(super) fn named(self) -> &'static SignatureAlgorithm {
        match self {
            Self::P256 => &PKCS_ECDSA_P256_SHA256,
            Self::P384 => &PKCS_ECDSA_P384_SHA384,
        }
    }
}
