//! The SPIFFE bundle document: a JWK Set with all keys of one trust domain (SPIFFE Trust Domain and Bundle §4).
//!
//! The document does not say whose keys they are; a [`Document`] does. What a publisher has done wrong with one
//! entry costs that entry, by name; a document that contradicts itself is refused whole. Comparing sequences
//! with what was there before is the caller's part.

mod error;
mod read;
mod set;

use std::time::Duration;

use data_encoding::BASE64;

pub use error::{Error, LeftOut, Reason, Warning};
pub use read::{Outcome, parse};
pub use set::parse_set;

use super::{
    TrustDomain,
    jose::{Jwk, KEYS_MAX},
    json::{self, Members},
    jwt, wit, x509,
};

/// The longest document that is read, in bytes.
pub const DOCUMENT_BYTES_MAX: usize = 4 * 1024 * 1024;
/// The most entries in one document; those that are left out count too.
pub const ENTRIES_MAX: usize = KEYS_MAX;
/// The shortest time between two looks at a document, whatever it asks for.
pub const REFRESH_MIN: Duration = Duration::from_secs(60);
/// The longest time between two looks at a document, whatever it asks for.
pub const REFRESH_MAX: Duration = Duration::from_secs(24 * 60 * 60);
/// The time between two looks at a document that asks for none (Trust Domain and Bundle §4.1.2).
pub const REFRESH_DEFAULT: Duration = Duration::from_secs(5 * 60);

const USE_X509: &str = "x509-svid";

/// All keys of one trust domain, each kind apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    x509: x509::Bundle,
    /// The keys of the X.509 authorities, in their order.
    authority_keys: Vec<Jwk>,
    jwt: jwt::Bundle,
    wit: wit::Bundle,
    sequence: Option<u64>,
    refresh_hint: Option<Duration>,
}

impl Document {
    /// A document of these bundles. A refresh hint counts in whole seconds, and as [`REFRESH_MIN`] or
    /// [`REFRESH_MAX`] where it is out of these bounds.
    ///
    /// # Errors
    /// When the bundles are of several trust domains, a `kid` stands for a JWT key and for a WIT key, there are
    /// more than [`ENTRIES_MAX`] keys in all, or an authority's key cannot be written as a JWK (Ed25519).
    pub fn new(
        x509: x509::Bundle,
        jwt: jwt::Bundle,
        wit: wit::Bundle,
        sequence: Option<u64>,
        refresh_hint: Option<Duration>,
    ) -> Result<Self, Error> {
        if x509.trust_domain() != jwt.trust_domain() || x509.trust_domain() != wit.trust_domain() {
            return Err(Error::TrustDomains);
        }
        if wit.keys().any(|(id, _)| jwt.key(id).is_some()) {
            return Err(Error::KeyIdTwice);
        }
        let entries = x509.authorities().len() + jwt.len() + wit.len();
        if entries > ENTRIES_MAX {
            return Err(Error::TooManyEntries(entries));
        }
        let authority_keys = x509.authorities().iter().map(|authority| authority_key(authority));
        let authority_keys = authority_keys.collect::<Option<_>>().ok_or(Error::AuthorityKey)?;
        let refresh_hint = refresh_hint.map(|hint| Duration::from_secs(hint.as_secs()).clamp(REFRESH_MIN, REFRESH_MAX));
        Ok(Self { x509, authority_keys, jwt, wit, sequence, refresh_hint })
    }

    /// Whose keys these are.
    pub fn trust_domain(&self) -> &TrustDomain {
        self.x509.trust_domain()
    }

    /// The authorities that X.509-SVIDs are verified with.
    pub fn x509(&self) -> &x509::Bundle {
        &self.x509
    }

    /// The keys that JWT-SVIDs are verified with.
    pub fn jwt(&self) -> &jwt::Bundle {
        &self.jwt
    }

    /// The keys that WIT-SVIDs are verified with.
    pub fn wit(&self) -> &wit::Bundle {
        &self.wit
    }

    /// Whether there is no key of any kind: then nothing of this trust domain is believed.
    pub fn is_empty(&self) -> bool {
        self.x509.is_empty() && self.jwt.is_empty() && self.wit.is_empty()
    }

    /// Its number, which grows with each change, where it has one.
    pub fn sequence(&self) -> Option<u64> {
        self.sequence
    }

    /// How often it asks to be looked at, where it does, within [`REFRESH_MIN`] and [`REFRESH_MAX`].
    pub fn refresh_hint(&self) -> Option<Duration> {
        self.refresh_hint
    }

    /// How long to wait for the next look.
    pub fn refresh_after(&self) -> Duration {
        self.refresh_hint.unwrap_or(REFRESH_DEFAULT)
    }

    /// The document as JSON, in one spelling: authorities in their order, JWT keys and WIT keys by `kid`, and of
    /// each only the members that the standard defines. A JWK's `alg` is not one of them.
    pub fn to_json(&self) -> String {
        let authorities = self.x509.authorities().iter().zip(&self.authority_keys).map(|(der, key)| {
            let begun = key.write_type().string("use", USE_X509);
            key.write_key(begun).raw("x5c", &json::array([json::quoted(&BASE64.encode(der))])).finish()
        });
        let entries = authorities.chain(self.jwt.entries()).chain(self.wit.entries());
        let mut document = Members::new().raw("keys", &json::array(entries));
        if let Some(sequence) = self.sequence {
            document = document.integer("spiffe_sequence", sequence);
        }
        if let Some(hint) = self.refresh_hint {
            document = document.integer("spiffe_refresh_hint", hint.as_secs());
        }
        document.finish()
    }
}

fn authority_key(certificate: &[u8]) -> Option<Jwk> {
    Jwk::from_parts(x509::key_parts(certificate).ok()?)
}

#[cfg(test)]
mod tests;
