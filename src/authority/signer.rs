//! A private key with the certificate that speaks for it.

use std::{fmt, time::SystemTime};

use aws_lc_rs::{
    rand::SystemRandom,
    signature::{EcdsaKeyPair, KeyPair as _},
};
use bytes::Bytes;
use rcgen::{PublicKeyData, SignatureAlgorithm, SigningKey};

use super::{Algorithm, Error, sample::Sample};
use crate::sys::Secret;

/// An authority's name in logs, status and file names: the first 16 bytes of its key's SHA-256, lower-case hex.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct AuthorityId(String);

impl AuthorityId {
    /// The name of a public key.
    pub(crate) fn of(key: &Key) -> Self {
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, key.pair.public_key().as_ref());
        Self(hex(digest.as_ref().get(..16).unwrap_or_default()))
    }

    /// As it was written before.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let is_one = text.len() == 32 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        is_one.then(|| Self(text.to_owned()))
    }

    /// Lower-case hex, 32 characters.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for AuthorityId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

/// A key pair that is parsed once and signs often; rcgen's own would be parsed again at each generation.
pub(crate) struct Key {
    pub(super) pair: EcdsaKeyPair,
    algorithm: Algorithm,
}

impl Key {
    /// A key pair from PKCS#8, DER.
    ///
    /// # Errors
    /// When it is none of this algorithm.
    pub(crate) fn from_pkcs8(algorithm: Algorithm, der: &Secret) -> Result<Self, Error> {
        let pair = EcdsaKeyPair::from_pkcs8(algorithm.signing(), der.expose()).map_err(|_| Error::Key)?;
        Ok(Self { pair, algorithm })
    }

    /// A new key pair.
    ///
    /// # Errors
    /// When the crypto library makes none.
    pub(crate) fn generate(algorithm: Algorithm) -> Result<Self, Error> {
        let pair = EcdsaKeyPair::generate(algorithm.signing()).map_err(|_| Error::Key)?;
        Ok(Self { pair, algorithm })
    }

    /// Whether this is the key that a certificate (DER) is about.
    ///
    /// # Errors
    /// When the certificate is not understood.
    pub(crate) fn is_of(&self, certificate: &[u8]) -> Result<bool, Error> {
        let named = crate::spiffe::x509::public_key(certificate).map_err(Error::Profile)?;
        Ok(named == self.subject_public_key_info())
    }

    /// Its PKCS#8, DER.
    ///
    /// # Errors
    /// When the crypto library gives none.
    pub(crate) fn to_pkcs8(&self) -> Result<Secret, Error> {
        let document = self.pair.to_pkcs8v1().map_err(|_| Error::Key)?;
        Ok(Secret::new(document.as_ref().to_vec()))
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Key(..)")
    }
}

impl PublicKeyData for Key {
    fn der_bytes(&self) -> &[u8] {
        self.pair.public_key().as_ref()
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        self.algorithm.named()
    }
}

impl SigningKey for Key {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        let signature = self.pair.sign(&SystemRandom::new(), message).map_err(|_| rcgen::Error::RingUnspecified)?;
        Ok(signature.as_ref().to_vec())
    }
}

/// A certificate authority that signs: its key, its certificate (DER), and what follows a leaf of its in a chain.
pub(crate) struct Signer {
    pub(crate) id: AuthorityId,
    pub(crate) certificate: Bytes,
    pub(crate) not_before: SystemTime,
    pub(crate) not_after: SystemTime,
    /// Whether the certificate is itself in the bundle, so that a chain ends with the leaf.
    pub(crate) is_anchor: bool,
    pub(super) issuer: rcgen::Issuer<'static, Key>,
    pub(super) sample: Sample,
}

impl Signer {
    /// The authority of this certificate and key.
    ///
    /// # Errors
    /// When the certificate is not understood.
    pub(crate) fn new(key: Key, certificate: Bytes, is_anchor: bool) -> Result<Self, Error> {
        let id = AuthorityId::of(&key);
        let (not_before, not_after) = crate::spiffe::x509::validity(&certificate).map_err(Error::Profile)?;
        let issuer = rcgen::Issuer::from_ca_cert_der(&certificate.to_vec().into(), key)?;
        Ok(Self { id, certificate, not_before, not_after, is_anchor, issuer, sample: Sample::default() })
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Signer").field("id", &self.id).field("not_after", &self.not_after).finish_non_exhaustive()
    }
}

pub(super) fn hex(bytes: &[u8]) -> String {
    use fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a String does not fail.
        write!(text, "{byte:02x}").ok();
        text
    })
}
