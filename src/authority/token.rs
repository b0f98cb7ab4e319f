//! The keys that sign tokens, and all that verify them at one moment.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, SystemTime},
};

use aws_lc_rs::{
    rand::SystemRandom,
    signature::{EcdsaKeyPair, KeyPair as _},
};
use bytes::Bytes;

use super::{Algorithm, AuthorityId, Error, keyring::LIFE_MIN, sample::Sample};
use crate::{
    oauth::access,
    policy::Permit,
    spiffe::{
        TrustDomain,
        jose::{self, Bundle, Jwk, SigningAlgorithm, Usage},
    },
    store::AuthorityKind,
    sys::Secret,
};

/// A key that signs tokens. Its `kid` is its authority's name, with a brand before it where scanners look for one.
pub(crate) struct TokenKey {
    id: AuthorityId,
    key_id: String,
    algorithm: SigningAlgorithm,
    pair: EcdsaKeyPair,
    public: Jwk,
    not_before: SystemTime,
    not_after: SystemTime,
    pub(super) sample: Sample,
}

impl TokenKey {
    /// The key of a PKCS#8 document, DER, under the name and for the time of its authority, whose kind it is of.
    ///
    /// # Errors
    /// When it is no key pair of this algorithm.
    pub(super) fn new(
        id: AuthorityId,
        kind: AuthorityKind,
        algorithm: Algorithm,
        pkcs8: &Secret,
        not_before: SystemTime,
        not_after: SystemTime,
    ) -> Result<Self, Error> {
        let pair = EcdsaKeyPair::from_pkcs8(algorithm.token_signing(), pkcs8.expose()).map_err(|_| Error::Key)?;
        let public = Jwk::from_point(pair.public_key().as_ref()).map_err(|_| Error::Key)?;
        let (algorithm, sample) = (algorithm.of_tokens(), Sample::default());
        let (key_id, public) = match kind {
            AuthorityKind::Access => {
                (access::key_id(&public), public.for_algorithm(algorithm.into()).map_err(|_| Error::Key)?)
            }
            _ => (id.as_str().to_owned(), public),
        };
        Ok(Self { id, key_id, algorithm, pair, public, not_before, not_after, sample })
    }

    /// When an SVID ends that is signed now: as the permit says, and not after the key. Its end is a whole second, so it
    /// has two of them, or it is none.
    pub(super) fn end(&self, permit: &Permit, now: SystemTime) -> Result<SystemTime, Error> {
        self.end_of(now + permit.ttl(), permit.expires_at(), LIFE_MIN + Duration::from_secs(1), now)
    }

    /// When a token ends that is signed now and may last until `end`: not after the key, nor after `expires_at`.
    pub(super) fn end_of(
        &self,
        end: SystemTime,
        expires_at: Option<SystemTime>,
        least: Duration,
        now: SystemTime,
    ) -> Result<SystemTime, Error> {
        if now < self.not_before {
            return Err(Error::Early);
        }
        let ends = [Some(end), expires_at, Some(self.not_after)];
        let end = ends.into_iter().flatten().min().unwrap_or(now);
        match end.duration_since(now).unwrap_or_default() {
            left if left.is_zero() || left < least => Err(Error::Expiring),
            _ => Ok(end),
        }
    }
}

impl jose::Signer for TokenKey {
    fn algorithm(&self) -> SigningAlgorithm {
        self.algorithm
    }

    fn key_id(&self) -> &str {
        &self.key_id
    }

    fn sign(&self, message: &[u8]) -> Option<Vec<u8>> {
        self.pair.sign(&SystemRandom::new(), message).ok().map(|signature| signature.as_ref().to_vec())
    }
}

impl fmt::Debug for TokenKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("TokenKey").field("id", &self.id).field("not_after", &self.not_after).finish_non_exhaustive()
    }
}

/// The keys for one kind of token: who signs, and the bundle with all that verify, which is older than any token by
/// the one that signs.
#[derive(Debug)]
pub(crate) struct TokenKeys<U> {
    pub(super) active: Arc<TokenKey>,
    bundle: Bundle<U>,
    document: Bytes,
}

impl<U: Usage> TokenKeys<U> {
    /// Signs with `active`; `all` are believed, `active` among them.
    ///
    /// # Errors
    /// When two keys have one name.
    pub(super) fn new(
        trust_domain: TrustDomain,
        active: Arc<TokenKey>,
        all: impl IntoIterator<Item = Arc<TokenKey>>,
    ) -> Result<Self, Error> {
        let keys = all.into_iter().map(|key| (key.key_id.clone(), key.public.clone()));
        let bundle = Bundle::new(trust_domain, keys)?;
        let document = bundle.to_json().into();
        Ok(Self { active, bundle, document })
    }

    /// The keys that verify.
    pub(crate) fn bundle(&self) -> &Bundle<U> {
        &self.bundle
    }

    /// The same as a JWK Set, JSON.
    pub(crate) fn document(&self) -> &Bytes {
        &self.document
    }

    /// Who signs, and when everything has ended that it signs.
    pub(crate) fn signer(&self) -> (&AuthorityId, SystemTime) {
        (&self.active.id, self.active.not_after)
    }

    /// Whether it signs and verifies with the same keys.
    pub(super) fn is_as(&self, other: &Self) -> bool {
        self.active.id == other.active.id && self.document == other.document
    }
}

/// A token as it leaves. Its text is wiped when it is dropped.
pub(crate) struct Token {
    pub(crate) id: crate::spiffe::Id,
    /// A compact JWS, ASCII.
    pub(crate) text: Secret,
    /// A name for records: lower-case hex, 16 bytes.
    pub(crate) serial: String,
    /// When it was signed.
    pub(crate) not_before: SystemTime,
    /// When it ends, in whole seconds.
    pub(crate) not_after: SystemTime,
    /// The `kid` it was signed under.
    pub(crate) authority: AuthorityId,
}

impl Token {
    pub(super) fn new(
        id: crate::spiffe::Id,
        text: String,
        serial: String,
        (not_before, not_after): (SystemTime, SystemTime),
        key: &TokenKey,
    ) -> Self {
        Self { id, text: Secret::new(text.into_bytes()), serial, not_before, not_after, authority: key.id.clone() }
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Token").field("id", &self.id).field("serial", &self.serial).finish_non_exhaustive()
    }
}
