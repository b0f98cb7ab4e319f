//! The bundle of one foreign trust domain, with everything that messages take from it made ready.

use std::time::SystemTime;

use aws_lc_rs::digest::{SHA256, digest};
use bytes::Bytes;
use data_encoding::HEXLOWER;

use crate::{policy::Credential, spiffe::document::Document, store::BundleRow};

/// A foreign bundle as it is kept.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Bundle {
    document: Document,
    json: Bytes,
    revision: u64,
    changed_at: SystemTime,
    x509: Option<Bytes>,
    jwt: Option<Bytes>,
    wit: Option<Bytes>,
}

impl Bundle {
    pub(super) fn new(document: Document, revision: u64, changed_at: SystemTime) -> Self {
        let json = document.to_json().into();
        let x509 = (!document.x509().is_empty()).then(|| document.x509().der().clone());
        let jwt = (!document.jwt().is_empty()).then(|| document.jwt().to_json().into());
        let wit = (!document.wit().is_empty()).then(|| document.wit().to_json().into());
        Self { document, json, revision, changed_at, x509, jwt, wit }
    }

    /// Whose keys these are, and which.
    pub(crate) fn document(&self) -> &Document {
        &self.document
    }

    /// The document in its canonical form, JSON.
    pub(crate) fn json(&self) -> &Bytes {
        &self.json
    }

    /// Counts its changes, from 1.
    pub(crate) fn revision(&self) -> u64 {
        self.revision
    }

    /// When it was changed last.
    pub(crate) fn changed_at(&self) -> SystemTime {
        self.changed_at
    }

    /// What a map says of its keys that verify these credentials; `None` where it has no such key.
    pub(crate) fn value(&self, credential: Credential) -> Option<&Bytes> {
        match credential {
            Credential::X509 => self.x509.as_ref(),
            Credential::Jwt => self.jwt.as_ref(),
            Credential::Wit => self.wit.as_ref(),
        }
    }

    pub(super) fn row(&self) -> BundleRow {
        BundleRow {
            trust_domain: self.document.trust_domain().clone(),
            document: self.json.to_vec(),
            revision: self.revision,
            changed_at: self.changed_at,
        }
    }
}

/// By which people know a certificate: the SHA-256 of its DER, lower-case hex.
pub(super) fn fingerprint(certificate: &[u8]) -> String {
    HEXLOWER.encode(digest(&SHA256, certificate).as_ref())
}
