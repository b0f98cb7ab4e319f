//! WIT-SVIDs: for one connection each identity has one key pair, in all streams and through all renewals.
//!
//! A program that is started over another in the same process opens a connection of its own, and so has keys of its
//! own.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::SystemTime,
};

use bytes::Bytes;

use super::{credential::Credentials, kind::Kind, tokens::Wanted};
use crate::{
    authority::{self, AuthorityId, Keyring, Token, holder_key},
    policy::{Credential, Permit},
    registry::{Grant, Spec},
    spiffe::{Id, jose::PrivateJwk},
};

/// The key pairs of one connection, an identity each. They are gone with it, and with the identity.
#[derive(Default)]
pub(crate) struct HolderKeys(Mutex<HashMap<Id, Arc<PrivateJwk>>>);

impl HolderKeys {
    fn key(&self, id: &Id) -> Result<Arc<PrivateJwk>, authority::Error> {
        let mut keys = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(key) = keys.get(id) {
            return Ok(key.clone());
        }
        let key = Arc::new(holder_key()?);
        keys.insert(id.clone(), key.clone());
        Ok(key)
    }

    /// Keeps those of identities that the caller still has, which are few.
    fn keep(&self, entries: &[Grant]) {
        let mut keys = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        keys.retain(|id, _| entries.iter().any(|entry| entry.spiffe_id() == id));
    }
}

impl fmt::Debug for HolderKeys {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("HolderKeys(..)")
    }
}

/// WIT-SVIDs of all identities, or of the one asked for.
#[derive(Debug)]
pub(crate) struct Wit {
    wanted: Wanted,
    keys: Arc<HolderKeys>,
}

/// A token with the key of its holder.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) token: Token,
    pub(crate) key: Arc<PrivateJwk>,
}

impl Wit {
    pub(super) fn new(wanted: Wanted, keys: Arc<HolderKeys>) -> Self {
        Self { wanted, keys }
    }
}

impl Kind for Wit {
    type Signed = Held;
    const CREDENTIAL: Credential = Credential::Wit;

    fn wants(&self, entry: &Grant) -> bool {
        self.wanted.has(entry)
    }

    fn sign(&self, keyring: &Keyring, permit: Permit, now: SystemTime) -> Result<Held, authority::Error> {
        let key = self.keys.key(permit.id())?;
        Ok(Held { token: keyring.sign_wit(permit, &key, now)?, key })
    }

    fn is_same(then: &Spec, now: &Spec) -> bool {
        then.wit_ttl == now.wit_ttl && then.expires_at == now.expires_at
    }

    fn signer(keyring: &Keyring) -> Option<(&AuthorityId, SystemTime)> {
        keyring.wit().map(|keys| keys.signer())
    }

    fn bundle(_: &Keyring) -> Bytes {
        Bytes::new()
    }

    fn granted(&self, entries: &[Grant]) {
        self.keys.keep(entries);
    }
}

impl Credentials for Held {
    fn id(&self) -> &Id {
        self.token.id()
    }

    fn serial(&self) -> &str {
        self.token.serial()
    }

    fn not_before(&self) -> SystemTime {
        self.token.not_before()
    }

    fn not_after(&self) -> SystemTime {
        self.token.not_after()
    }

    fn authority(&self) -> &AuthorityId {
        self.token.authority()
    }
}
