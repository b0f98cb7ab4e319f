//! What a feed must know of the kind of credential that it hands out.

use std::{ops::Deref, sync::Arc, time::SystemTime};

use bytes::Bytes;

use super::{
    credential::Credentials,
    foreign::{Foreign, View},
    issuer::Grants,
};
use crate::{
    authority::{self, AuthorityId, Keyring},
    policy::{Credential, Permit, Reason},
    registry::{Entry, Given, Granted, Snapshot, Spec, granted},
    sys::image::Spot,
};

/// A kind of credential that lives as long as somebody listens.
pub(crate) trait Kind: Send + 'static {
    /// What is signed.
    type Signed: Credentials + Send + Sync;
    /// Its kind.
    const CREDENTIAL: Credential;
    /// Which entries a caller has for it.
    const GRANTS: Grants = granted;

    /// Whether what is signed is for the program that runs, so that one that is started over it gets nothing of it.
    fn is_of_program(&self) -> bool {
        false
    }

    /// This program runs now, if that can be told; answers whether it is the same as before.
    fn runs(&mut self, _: Option<Spot>) -> bool {
        true
    }

    /// Whether another program would show. Where not, nothing that was sent is said again: everything of a message is
    /// signed for it.
    fn is_told_apart(&self) -> bool {
        true
    }

    /// Whether the caller asks for what this entry gives.
    fn wants(&self, _: &Given) -> bool {
        true
    }

    /// Signs one by this entry, which the permit is for.
    ///
    /// # Errors
    /// When nothing could be signed.
    fn sign(
        &self,
        keyring: &Keyring,
        permit: Permit,
        entry: &Given,
        now: SystemTime,
    ) -> Result<Arc<Self::Signed>, authority::Error>;

    /// Whether two states of an entry that give the same SPIFFE ID ask for the same credential.
    fn is_same(then: &Spec, now: &Spec) -> bool;

    /// From which second on what is signed by an entry counts at tools; earlier ones are signed anew.
    fn counts_from(_: &Given, _: &Snapshot) -> SystemTime {
        SystemTime::UNIX_EPOCH
    }

    /// Who signs now, and when at the latest everything ends that it signs; `None` when nothing signs.
    fn signer(keyring: &Keyring) -> Option<(&AuthorityId, SystemTime)>;

    /// What a message carries beside the credentials: authorities of our trust domain, DER, one after the other.
    fn bundle(&self, keyring: &Keyring) -> Bytes;

    /// What it carries of the foreign trust domains that these entries federate with, of which credentials are held.
    fn federated<'e, E: Deref<Target = Entry> + 'e>(&self, _: &Foreign, _: impl IntoIterator<Item = &'e E>) -> View {
        View::new()
    }

    /// These are what the caller may have now.
    fn granted(&mut self, _: &[Given]) {}

    /// Whether a message would say anything else by these, beside the credentials that are held.
    fn is_concerned(&self, _: &[Given]) -> bool {
        false
    }

    /// Why the caller is not given all that it asks for by name, these being what it may have. It is told of nothing
    /// else, and waits for it; `None` where a stream of its credentials ends when there are none.
    fn lacks(&self, _: &Granted) -> Option<Vec<Reason>> {
        None
    }
}
