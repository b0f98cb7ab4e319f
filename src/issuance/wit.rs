//! WIT-SVIDs: for one program on one connection each identity has one key pair, in all streams and through all renewals.
//!
//! A program that is started over another in the same process may find the connection open. It gets keys of its own.
//! Where it does not show that it is still the same program, each WIT-SVID has a key of its own, and none is sent twice.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::SystemTime,
};

use bytes::Bytes;

use super::{credential::Credentials, kind::Kind, tokens::Wanted};
use crate::{
    authority::{self, AuthorityId, Keyring, Token, holder_key},
    policy::{Credential, Permit},
    registry::{Given, Snapshot, Spec},
    spiffe::{Id, jose::PrivateJwk},
    sys::image::Spot,
};

/// The key pairs of one connection, an identity each. They are gone with it, with the program, and with the identity.
#[derive(Default)]
pub(crate) struct HolderKeys(Mutex<Keys>);

#[derive(Default)]
struct Keys {
    /// Whose they are.
    program: Option<Spot>,
    each: HashMap<Id, Arc<PrivateJwk>>,
}

impl HolderKeys {
    fn key(&self, id: &Id, program: Option<Spot>) -> Result<Arc<PrivateJwk>, authority::Error> {
        let mut keys = self.keys();
        if program.is_none() || keys.program != program {
            *keys = Keys { program, each: HashMap::new() };
        }
        if let Some(key) = keys.each.get(id) {
            return Ok(key.clone());
        }
        let key = Arc::new(holder_key()?);
        if program.is_some() {
            keys.each.insert(id.clone(), key.clone());
        }
        Ok(key)
    }

    /// Keeps those of identities that the caller still has, which are few.
    fn keep(&self, entries: &[Given]) {
        self.keys().each.retain(|id, _| entries.iter().any(|entry| entry.spiffe_id() == id));
    }

    fn keys(&self) -> MutexGuard<'_, Keys> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
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
    /// For whom this signs: what ran when it was last looked at, if that can be told.
    program: Option<Spot>,
}

/// A token with the key of its holder.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) token: Token,
    pub(crate) key: Arc<PrivateJwk>,
}

impl Wit {
    pub(super) fn new(wanted: Wanted, keys: Arc<HolderKeys>) -> Self {
        Self { wanted, keys, program: None }
    }
}

impl Kind for Wit {
    type Signed = Held;
    const CREDENTIAL: Credential = Credential::Wit;

    fn is_of_program(&self) -> bool {
        true
    }

    fn runs(&mut self, program: Option<Spot>) -> bool {
        std::mem::replace(&mut self.program, program) == program
    }

    fn is_told_apart(&self) -> bool {
        self.program.is_some()
    }

    fn wants(&self, entry: &Given) -> bool {
        self.wanted.has(entry)
    }

    fn sign(
        &self,
        keyring: &Keyring,
        permit: Permit,
        _: &Given,
        now: SystemTime,
    ) -> Result<Arc<Held>, authority::Error> {
        let key = self.keys.key(permit.id(), self.program)?;
        Ok(Arc::new(Held { token: keyring.sign_wit(permit, &key, now)?, key }))
    }

    fn is_same(then: &Spec, now: &Spec) -> bool {
        then.wit_ttl == now.wit_ttl && then.expires_at == now.expires_at
    }

    fn counts_from(entry: &Given, snapshot: &Snapshot) -> SystemTime {
        snapshot.tokens_from(entry)
    }

    fn signer(keyring: &Keyring) -> Option<(&AuthorityId, SystemTime)> {
        keyring.wit().map(|keys| keys.signer())
    }

    fn bundle(_: &Keyring) -> Bytes {
        Bytes::new()
    }

    fn granted(&self, entries: &[Given]) {
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

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::sys::proc::{FileId, Layout};

    fn spot(stack: u64) -> Option<Spot> {
        let file = FileId { device: 1, inode: 1 };
        Some(Spot { file, layout: Layout { code: 1, stack, heap: 1 } })
    }

    #[test]
    fn a_key_is_one_programs_and_one_identitys() {
        let (keys, [a, b]) = (HolderKeys::default(), ["a", "b"].map(id));
        let first = keys.key(&a, spot(1)).unwrap();
        assert!(Arc::ptr_eq(&first, &keys.key(&a, spot(1)).unwrap()));
        assert!(!Arc::ptr_eq(&first, &keys.key(&b, spot(1)).unwrap()));
        let second = keys.key(&a, spot(2)).unwrap();
        assert_ne!(first.expose(), second.expose(), "the same file, started again");
        assert!(Arc::ptr_eq(&second, &keys.key(&a, spot(2)).unwrap()));
        assert_ne!(first.expose(), keys.key(&a, spot(1)).unwrap().expose(), "it is not kept");
    }

    #[test]
    fn a_program_that_cannot_be_told_from_another_has_no_key_for_long() {
        let (keys, a) = (HolderKeys::default(), id("a"));
        let known = keys.key(&a, spot(1)).unwrap();
        let unknown = keys.key(&a, None).unwrap();
        assert_ne!(known.expose(), unknown.expose());
        assert_ne!(unknown.expose(), keys.key(&a, None).unwrap().expose());
        assert_ne!(known.expose(), keys.key(&a, spot(1)).unwrap().expose());
    }

    #[test]
    fn only_a_program_that_shows_is_told_apart() {
        let mut wit = Wit::new(Wanted::default(), Arc::default());
        assert!(wit.runs(None) && !wit.is_told_apart());
        assert!(!wit.runs(spot(1)) && wit.is_told_apart());
        assert!(wit.runs(spot(1)) && wit.is_told_apart());
        assert!(!wit.runs(None) && !wit.is_told_apart());
    }

    fn id(name: &str) -> Id {
        Id::parse(&format!("spiffe://example.org/{name}")).unwrap()
    }
}
