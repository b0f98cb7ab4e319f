//! X.509-SVIDs: each with a key pair of its own, for each stream, identity and renewal.
//!
//! Where an operator says so, a program that opens another stream soon after has the same ones on it.

use std::{ops::Deref, sync::Arc, time::SystemTime};

use bytes::Bytes;

use super::{
    foreign::{Foreign, View},
    kind::Kind,
    reuse::{Holder, Reuse},
};
use crate::{
    authority::{self, AuthorityId, Keyring, Svid},
    policy::{Credential, Permit},
    registry::{Entry, Given, Spec},
    sys::{image::Spot, peer::ProcessKey},
};

/// X.509-SVIDs of all identities.
#[derive(Debug)]
pub(crate) struct X509 {
    /// What was signed lately, and whose this stream is; where the same is given again.
    lately: Option<(Arc<Reuse>, ProcessKey)>,
    /// What runs, as last looked at. Without it everything is signed.
    program: Option<Spot>,
}

impl X509 {
    /// For one stream of this process.
    pub(super) fn new(lately: Option<(Arc<Reuse>, ProcessKey)>) -> Self {
        Self { lately, program: None }
    }
}

impl Kind for X509 {
    type Signed = Svid;
    const CREDENTIAL: Credential = Credential::X509;

    fn is_of_program(&self) -> bool {
        self.lately.is_some()
    }

    fn runs(&mut self, program: Option<Spot>) -> bool {
        std::mem::replace(&mut self.program, program) == program
    }

    fn sign(
        &self,
        keyring: &Keyring,
        permit: Permit,
        entry: &Given,
        now: SystemTime,
    ) -> Result<Arc<Svid>, authority::Error> {
        let sign = || keyring.sign_x509(permit, now).map(Arc::new);
        match (&self.lately, self.program) {
            (Some((lately, process)), Some(program)) => {
                lately.again_or::<Self>(Holder { process: *process, program }, entry, keyring.issuer(), now, sign)
            }
            _ => sign(),
        }
    }

    fn is_same(then: &Spec, now: &Spec) -> bool {
        then.dns_names == now.dns_names
            && then.profile == now.profile
            && then.x509_ttl == now.x509_ttl
            && then.expires_at == now.expires_at
    }

    fn signer(keyring: &Keyring) -> Option<(&AuthorityId, SystemTime)> {
        Some((keyring.issuer(), keyring.until()))
    }

    fn bundle(&self, keyring: &Keyring) -> Bytes {
        keyring.bundle().der().clone()
    }

    fn federated<'e, E: Deref<Target = Entry> + 'e>(
        &self,
        foreign: &Foreign,
        entries: impl IntoIterator<Item = &'e E>,
    ) -> View {
        foreign.view(Credential::X509, entries)
    }
}
