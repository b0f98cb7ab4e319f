//! Issuers that an operator has pinned: their names, and the keys that verify what they sign.
//!
//! A name is compared octet by octet and never asked for anything; keys come from the operator and from nowhere else. A
//! token's own idea of where its key is (`jwk`, `jku`, `x5u`, `x5c`) ends the reading.

mod keys;
mod name;
mod token;

use std::{collections::BTreeMap, sync::Arc};

use thiserror::Error;

pub use keys::{JWKS_BYTES_MAX, JwksError, KEYS_MAX, LeftOut, Reason};
pub use name::{IssuerName, NAME_BYTES_MAX, NameError};
pub use token::{Algorithm, TOKEN_BYTES_MAX, TokenError, Unverified};

use keys::Keys;

/// The most issuers together.
pub const ISSUERS_MAX: usize = 64;

/// An issuer, with at least one key that can verify its tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issuer {
    name: IssuerName,
    keys: Keys,
}

impl Issuer {
    /// The issuer of this name, with the keys of a JWK Set of at most [`JWKS_BYTES_MAX`] (RFC 7517 §5). The second is what
    /// is not used of the set, in its order.
    ///
    /// # Errors
    /// When the set has two meanings, a private or secret key, two keys of one `kid`, too many keys, or none to use.
    pub fn read(name: IssuerName, jwks: &[u8]) -> Result<(Self, Vec<LeftOut>), JwksError> {
        let (keys, left_out) = Keys::read(jwks)?;
        Ok((Self { name, keys }, left_out))
    }

    /// Its name, which is the `iss` of its tokens.
    pub fn name(&self) -> &IssuerName {
        &self.name
    }

    /// How many keys it has.
    pub fn keys(&self) -> usize {
        self.keys.len()
    }
}

/// Some issuers, each of a name of its own; perhaps none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Issuers {
    all: BTreeMap<String, Arc<Issuer>>,
    keyless: BTreeMap<String, IssuerName>,
}

/// Why issuers cannot stand together.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum IssuersError {
    /// Nobody could tell whose keys count.
    #[error("the issuer {0} is named twice")]
    Twice(IssuerName),
    /// More than [`ISSUERS_MAX`].
    #[error("there are more than {ISSUERS_MAX} issuers")]
    TooMany,
}

impl Issuers {
    /// All of these.
    ///
    /// # Errors
    /// See [`IssuersError`].
    pub fn new<I: Into<Arc<Issuer>>>(issuers: impl IntoIterator<Item = I>) -> Result<Self, IssuersError> {
        let mut all = BTreeMap::new();
        for issuer in issuers {
            let issuer = issuer.into();
            if all.len() == ISSUERS_MAX {
                return Err(IssuersError::TooMany);
            }
            let name = issuer.name.clone();
            if all.insert(name.as_str().to_owned(), issuer).is_some() {
                return Err(IssuersError::Twice(name));
            }
        }
        Ok(Self { all, keyless: BTreeMap::new() })
    }

    /// The same with some that are pinned, but of which there are no keys: nothing of theirs is believed.
    #[must_use]
    pub fn with_keyless<'a>(self, names: impl IntoIterator<Item = &'a IssuerName>) -> Self {
        Self { keyless: names.into_iter().map(|name| (name.as_str().to_owned(), name.clone())).collect(), ..self }
    }

    /// Whether the issuer of exactly this name is pinned, and there are no keys of it.
    pub fn is_keyless(&self, name: &str) -> bool {
        self.keyless.contains_key(name)
    }

    /// The issuer of exactly this name.
    pub fn get(&self, name: &str) -> Option<&Arc<Issuer>> {
        self.all.get(name)
    }

    /// The names of all that are pinned, sorted; also of those without keys.
    pub fn names(&self) -> impl Iterator<Item = &IssuerName> {
        let known = self.all.values().map(|issuer| issuer.name());
        let mut names: Vec<_> = known.chain(self.keyless.values()).collect();
        names.sort_unstable_by_key(|name| name.as_str());
        names.into_iter()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.all.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }
}

#[cfg(test)]
mod tests;
