//! The keys of one trust domain for one kind of token, by `kid`.

use std::{collections::BTreeMap, fmt, marker::PhantomData};

use thiserror::Error;

use crate::spiffe::{
    TrustDomain,
    json::{self, Members},
};

use super::Jwk;

/// The most keys in one bundle. A rotation has two or three.
pub const KEYS_MAX: usize = 1_000;

/// What keys are for. A key for one kind of token never verifies another (TDB §4.2.2): they are two types.
pub trait Usage {
    /// The JWK's `use` in a bundle document.
    const USE: &'static str;
    /// Whether a JWK Set of these keys alone says it, too.
    const IS_TOLD_ALONE: bool;
    /// Whether a JWK says its `alg`, where the key is for one algorithm only.
    const IS_ALGORITHM_TOLD: bool = false;
}

/// The keys of one trust domain that verify one kind of token. It may be empty: then no such token of that
/// trust domain is believed.
#[derive(Clone, PartialEq, Eq)]
pub struct Bundle<U> {
    trust_domain: TrustDomain,
    keys: BTreeMap<String, Jwk>,
    usage: PhantomData<U>,
}

/// Why keys are no bundle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum BundleError {
    /// A key without a name.
    #[error("a key's `kid` is empty")]
    KeyIdEmpty,
    /// Two keys of one name.
    #[error("two keys have one `kid`")]
    KeyIdTwice,
    /// More than [`KEYS_MAX`].
    #[error("more than {KEYS_MAX} keys")]
    TooMany,
}

impl<U: Usage> Bundle<U> {
    /// A bundle of keys with their `kid`s.
    ///
    /// # Errors
    /// When a `kid` is empty or comes twice, or there are more than [`KEYS_MAX`].
    pub fn new(trust_domain: TrustDomain, keys: impl IntoIterator<Item = (String, Jwk)>) -> Result<Self, BundleError> {
        let mut all = BTreeMap::new();
        for (id, key) in keys {
            if id.is_empty() {
                return Err(BundleError::KeyIdEmpty);
            }
            if all.len() == KEYS_MAX {
                return Err(BundleError::TooMany);
            }
            if all.insert(id, key).is_some() {
                return Err(BundleError::KeyIdTwice);
            }
        }
        Ok(Self { trust_domain, keys: all, usage: PhantomData })
    }

    /// A JWK Set of these keys alone, as the Workload API sends it: `kty`, `kid` and the key itself, by `kid`.
    /// Without a key it is `{"keys":[]}`.
    ///
    /// Keys for WIT-SVIDs say their `use`. Those for JWT-SVIDs do not: such a set is given to JWT libraries that
    /// know nothing of SPIFFE and skip a key whose `use` is not `sig`.
    pub fn to_json(&self) -> String {
        Members::new().raw("keys", &json::array(self.written(U::IS_TOLD_ALONE))).finish()
    }

    /// The JWKs as a bundle document has them, one by one.
    pub(in crate::spiffe) fn entries(&self) -> impl Iterator<Item = String> {
        self.written(true)
    }

    fn written(&self, with_use: bool) -> impl Iterator<Item = String> {
        self.keys.iter().map(move |(id, key)| {
            let begun = key.write_type();
            let begun = if with_use { begun.string("use", U::USE) } else { begun };
            let begun = match key.algorithm() {
                Some(algorithm) if U::IS_ALGORITHM_TOLD => begun.string("alg", algorithm.name()),
                _ => begun,
            };
            key.write_key(begun.string("kid", id)).finish()
        })
    }
}

impl<U> Bundle<U> {
    /// Whose keys these are.
    pub fn trust_domain(&self) -> &TrustDomain {
        &self.trust_domain
    }

    /// The key of a `kid`, compared byte by byte.
    pub fn key(&self, id: &str) -> Option<&Jwk> {
        self.keys.get(id)
    }

    /// The keys by their `kid`s.
    pub fn keys(&self) -> impl Iterator<Item = (&str, &Jwk)> {
        self.keys.iter().map(|(id, key)| (id.as_str(), key))
    }

    /// How many keys there are.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether there is no key.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }
}

impl<U> fmt::Debug for Bundle<U> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Bundle({}, {} keys)", self.trust_domain, self.keys.len())
    }
}
