//! The keys of one issuer, as it publishes them (RFC 7517 §5).

use std::collections::BTreeSet;

use thiserror::Error;

use crate::{
    oauth::{KeyError, ProofKey},
    spiffe::{
        jose::{self, Jwk},
        json::{self, Object, Value},
    },
};

use super::{Algorithm, TokenError};

/// The longest JWK Set that is read, in bytes.
pub const JWKS_BYTES_MAX: usize = 256 * 1024;
/// The most keys in one set, those that are not used counted.
pub const KEYS_MAX: usize = 32;
/// The longest `kid`, in bytes.
const KEY_ID_BYTES_MAX: usize = 256;

/// Keys that verify, each with its `kid` where it has one; at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Keys(Vec<(Option<String>, Key)>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Key {
    Jose(Jwk),
    Ed25519(ProofKey),
}

/// Why a JWK Set is no issuer's.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum JwksError {
    /// It is not JSON that has one meaning, or it is too long.
    #[error("the JWK Set cannot be read")]
    Json(#[from] json::Error),
    /// It is no object with a list of `keys`.
    #[error("it is no JWK Set: a JSON object with a list of `keys`")]
    NoKeys,
    /// More than [`KEYS_MAX`].
    #[error("the JWK Set has {0} keys, at most {KEYS_MAX} are read")]
    TooMany(usize),
    /// Who can read the file can sign for the issuer.
    #[error("key {index} of the JWK Set is private or secret: pin the public ones alone")]
    Secret {
        /// Where it stands in `keys`, from 0.
        index: usize,
        /// What it has.
        source: jose::KeyError,
    },
    /// Nobody could tell which of the two a token means.
    #[error("two keys of the JWK Set have one `kid`")]
    KeyIdTwice,
    /// None of its keys can verify a token.
    #[error("the JWK Set has no key that can be used")]
    Useless,
}

/// A key that is not used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftOut {
    /// Where it stands in `keys`, from 0.
    pub index: usize,
    /// Why.
    pub reason: Reason,
}

/// Why a key is not used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Reason {
    /// It is no object.
    #[error("it is not a JSON object")]
    NotObject,
    /// It is for encryption, or for something that is not known here.
    #[error("its `use` is not `sig`")]
    Use,
    /// It is not for verifying.
    #[error("its `key_ops` does not have `verify`")]
    Operations,
    /// Its `kid` is empty, no text, or too long.
    #[error("its `kid` is empty, not a text, or longer than {KEY_ID_BYTES_MAX} bytes")]
    KeyId,
    /// It is no good key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// It is for none of [`Algorithm`].
    #[error("it is for no algorithm that is taken: RS256, PS256, ES256, ES384, Ed25519")]
    Algorithm,
}

impl Keys {
    pub(super) fn read(jwks: &[u8]) -> Result<(Self, Vec<LeftOut>), JwksError> {
        let set = json::parse(jwks, JWKS_BYTES_MAX)?;
        let keys = set.as_object().and_then(|set| set.member("keys")).and_then(Value::as_array);
        let keys = keys.ok_or(JwksError::NoKeys)?;
        if keys.len() > KEYS_MAX {
            return Err(JwksError::TooMany(keys.len()));
        }
        let (mut used, mut left_out, mut ids) = (Vec::new(), Vec::new(), BTreeSet::new());
        for (index, key) in keys.iter().enumerate() {
            if let Some(object) = key.as_object() {
                Jwk::check_public(object).map_err(|source| JwksError::Secret { index, source })?;
            }
            match key.as_object().ok_or(Reason::NotObject).and_then(read) {
                Ok((Some(id), _)) if !ids.insert(id.clone()) => return Err(JwksError::KeyIdTwice),
                Ok(key) => used.push(key),
                Err(reason) => left_out.push(LeftOut { index, reason }),
            }
        }
        match used.is_empty() {
            true => Err(JwksError::Useless),
            false => Ok((Self(used), left_out)),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Checks a signature with the key of this `kid`; a token that names none means the only key that there is.
    pub(super) fn verify(
        &self,
        key_id: Option<&str>,
        algorithm: Algorithm,
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), TokenError> {
        let named = |name| self.0.iter().find(|(id, _)| id.as_deref() == Some(name));
        let only = || self.0.first().filter(|_| self.0.len() == 1);
        let (_, key) = key_id.map_or_else(only, named).ok_or(TokenError::UnknownKey)?;
        match (key, algorithm.of_jose()) {
            (Key::Jose(key), Some(algorithm)) => Ok(key.verify(algorithm, message, signature)?),
            (Key::Ed25519(key), None) => Ok(key.verify(message, signature)?),
            _ => Err(jose::Error::KeyMismatch.into()),
        }
    }
}

/// A key for verifying, with its `kid`.
fn read(jwk: &Object) -> Result<(Option<String>, Key), Reason> {
    if jwk.member("use").is_some_and(|usage| usage.as_str() != Some("sig")) {
        return Err(Reason::Use);
    }
    let verifies = |operations: &Value| {
        operations.as_array().is_some_and(|all| all.iter().any(|operation| operation.as_str() == Some("verify")))
    };
    if jwk.member("key_ops").is_some_and(|operations| !verifies(operations)) {
        return Err(Reason::Operations);
    }
    let id = match jwk.member("kid") {
        None => None,
        Some(Value::String(id)) if (1..=KEY_ID_BYTES_MAX).contains(&id.len()) => Some(id.clone()),
        Some(_) => return Err(Reason::KeyId),
    };
    if jwk.member("kty").and_then(Value::as_str) == Some("OKP") {
        return Ok((id, Key::Ed25519(ProofKey::read(jwk)?)));
    }
    let key = Jwk::read(jwk).map_err(KeyError::Jwk)?;
    match Algorithm::ALL.into_iter().filter_map(Algorithm::of_jose).any(|algorithm| key.admits(algorithm)) {
        true => Ok((id, Key::Jose(key))),
        false => Err(Reason::Algorithm),
    }
}
