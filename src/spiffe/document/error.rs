//! Why a document was refused, and why an entry of one was left out.

use thiserror::Error;

use crate::spiffe::{jose::KeyError, json, x509};

use super::ENTRIES_MAX;

/// Why a bundle document was refused whole. Whoever had an older one keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Error {
    /// It is not JSON that has one meaning, or it is too long.
    #[error("the bundle document cannot be read")]
    Json(#[from] json::Error),
    /// It is no object.
    #[error("the bundle document is not a JSON object")]
    NotObject,
    /// `keys` is missing or no array. That is not the same as an empty array.
    #[error("the bundle document has no `keys` that are a list")]
    NoKeys,
    /// It is a bundle map (Trust Domain and Bundle §5), of as many trust domains as it likes.
    #[error("it is a bundle map, which speaks for several trust domains: take the bundle of this one out of it")]
    Map,
    /// More than [`ENTRIES_MAX`].
    #[error("the bundle document has {0} entries, at most {ENTRIES_MAX} are read")]
    TooManyEntries(usize),
    /// The authorities are no bundle: there are too many.
    #[error("the X.509 authorities of the bundle document are refused")]
    Authorities(#[source] x509::Error),
    /// An authority's key is of a kind that has no JWK here.
    #[error("an X.509 authority's key cannot be written as a JWK")]
    AuthorityKey,
    /// One `kid` for two keys.
    #[error("two keys have one `kid`")]
    KeyIdTwice,
    /// Bundles of several trust domains.
    #[error("the keys are of several trust domains")]
    TrustDomains,
}

/// An entry of a document that is not used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftOut {
    /// Where it stands in `keys`, from 0.
    pub index: usize,
    /// Why it is not used.
    pub reason: Reason,
}

/// Why an entry of a document is not used.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Reason {
    /// It is no object.
    #[error("it is not a JSON object")]
    NotObject,
    /// It has two members of one name.
    #[error("it has two members with one name")]
    Repeated,
    /// Its `use` is missing, or none that is known here. That is no fault.
    #[error("its `use` is none that is known here")]
    Use,
    /// Its key is refused.
    #[error("its key is refused")]
    Key(#[from] KeyError),
    /// Its `kid` is missing, empty or no text.
    #[error("its `kid` is missing, empty or not a text")]
    KeyId,
    /// Another entry has the same `kid`. All of them are left out.
    #[error("another entry has the same `kid`")]
    KeyIdTwice,
    /// Its `x5c` is missing or empty.
    #[error("its `x5c` is missing or empty")]
    NoCertificate,
    /// The first of its `x5c` is not base64 with padding.
    #[error("its certificate is not in base64")]
    CertificateEncoding,
    /// Its certificate is none of an authority.
    #[error("its certificate is refused")]
    Certificate(#[source] x509::Error),
    /// Its key is another than the certificate's.
    #[error("its key is not the certificate's")]
    KeyDiffers,
}

impl Reason {
    /// Whether somebody should be told at once: a secret was published, or a name stands for two keys.
    pub fn is_alarming(&self) -> bool {
        match self {
            Self::KeyIdTwice => true,
            Self::Key(reason) => reason.is_alarming(),
            _ => false,
        }
    }
}

/// Something that is wrong with a document, and without consequence for its keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Warning {
    /// `spiffe_sequence` is no integer from 0 to 2^64 − 1, so that it counts as missing.
    #[error("its `spiffe_sequence` is not an unsigned 64-bit integer")]
    Sequence,
    /// `spiffe_refresh_hint` is no integer from 0 on, so that it counts as missing.
    #[error("its `spiffe_refresh_hint` is not a number of seconds")]
    RefreshHint,
    /// An X.509 authority has a `kid`, which it must not have.
    #[error("its entry {index}, an X.509 authority, has a `kid`")]
    KeyIdOfAuthority {
        /// Where it stands in `keys`, from 0.
        index: usize,
    },
}
