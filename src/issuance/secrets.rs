//! What a proxy asks for by Envoy's secret discovery: X.509-SVIDs by their names, and whom to trust.
//!
//! A proxy lives longer than its entries. What it asks for and is not given, it waits for; nothing ends by it. All its
//! streams have one key pair for each identity, as long as it is one program on one connection.

use std::{collections::BTreeSet, ops::Deref, sync::Arc, time::SystemTime};

use bytes::Bytes;

use super::{
    foreign::{Foreign, View},
    issuer::Grants,
    kind::Kind,
    x509::X509,
};
use crate::{
    authority::{self, AuthorityId, Keyring, Svid},
    policy::{Credential, Permit, Reason},
    registry::{Entry, Given, Granted, Spec, granted_to_proxy},
    spiffe::Id,
    sys::image::Spot,
};

/// The certificates that a stream asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Certificates {
    /// All that the proxy may have.
    pub(crate) every: bool,
    /// That of its default identity.
    pub(crate) default: bool,
    /// Those of these SPIFFE IDs.
    pub(crate) ids: BTreeSet<Id>,
}

/// The secrets of one stream of a proxy.
#[derive(Debug)]
pub(crate) struct Secrets {
    x509: X509,
    asked: Certificates,
    /// What the proxy may have, whether it asks for it or not; oldest first.
    entries: Vec<Given>,
}

impl Secrets {
    /// For one stream.
    pub(super) fn new(x509: X509) -> Self {
        Self { x509, asked: Certificates::default(), entries: Vec::new() }
    }

    /// These are asked for from now on.
    pub(crate) fn ask(&mut self, asked: Certificates) {
        self.asked = asked;
    }

    /// Whose the proxy is if it says nothing; `None` where it has no identity, and then nobody to trust either.
    pub(crate) fn default_id(&self) -> Option<&Id> {
        self.entries.first().map(Given::spiffe_id)
    }

    /// The entry of a SPIFFE ID. Where several give the same one, the oldest.
    fn of(&self, id: &Id) -> Option<&Given> {
        self.entries.iter().find(|entry| entry.spiffe_id() == id)
    }
}

impl Kind for Secrets {
    type Signed = Svid;
    const CREDENTIAL: Credential = Credential::X509;
    const GRANTS: Grants = granted_to_proxy;

    fn is_of_program(&self) -> bool {
        self.x509.is_of_program()
    }

    fn runs(&mut self, program: Option<Spot>) -> bool {
        self.x509.runs(program)
    }

    fn wants(&self, entry: &Given) -> bool {
        let is_asked_for = self.asked.every
            || self.asked.ids.contains(entry.spiffe_id())
            || (self.asked.default && self.default_id() == Some(entry.spiffe_id()));
        is_asked_for && self.of(entry.spiffe_id()).is_some_and(|first| first.id == entry.id)
    }

    fn sign(
        &self,
        keyring: &Keyring,
        permit: Permit,
        entry: &Given,
        now: SystemTime,
    ) -> Result<Arc<Svid>, authority::Error> {
        self.x509.sign(keyring, permit, entry, now)
    }

    fn is_same(then: &Spec, now: &Spec) -> bool {
        X509::is_same(then, now)
    }

    fn signer(keyring: &Keyring) -> Option<(&AuthorityId, SystemTime)> {
        X509::signer(keyring)
    }

    fn bundle(&self, keyring: &Keyring) -> Bytes {
        match self.entries.is_empty() {
            true => Bytes::new(),
            false => self.x509.bundle(keyring),
        }
    }

    fn federated<'e, E: Deref<Target = Entry> + 'e>(
        &self,
        foreign: &Foreign,
        _: impl IntoIterator<Item = &'e E>,
    ) -> View {
        self.x509.federated(foreign, &self.entries)
    }

    fn granted(&mut self, entries: &[Given]) {
        self.entries = entries.to_vec();
    }

    fn is_concerned(&self, entries: &[Given]) -> bool {
        let said = |entry: &Given| (entry.id.clone(), entry.revision, entry.spiffe_id().clone());
        !self.entries.iter().map(said).eq(entries.iter().map(said))
    }

    fn lacks(&self, granted: &Granted) -> Option<Vec<Reason>> {
        if granted.given.is_empty() {
            return Some(Reason::of_nothing(granted.withheld.clone()));
        }
        let lacking = self.asked.ids.iter().filter(|id| self.of(id).is_none());
        Some(lacking.take(LACKING_MAX).map(|id| Reason::NotGiven { id: id.clone() }).collect())
    }
}

/// Of how many identities it is told that a proxy asks for them and is not given them.
const LACKING_MAX: usize = 16;
