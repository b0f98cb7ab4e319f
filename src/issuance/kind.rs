//! What a feed must know of the kind of credential that it hands out.

use std::{ops::Deref, time::SystemTime};

use bytes::Bytes;

use super::{
    credential::Credentials,
    foreign::{Foreign, View},
};
use crate::{
    authority::{self, AuthorityId, Keyring, Svid},
    policy::{Credential, Permit},
    registry::{Entry, Grant, Spec},
    sys::image::Spot,
};

/// A kind of credential that lives as long as somebody listens.
pub(crate) trait Kind: Send + 'static {
    /// What is signed.
    type Signed: Credentials + Send + Sync;
    /// Its kind.
    const CREDENTIAL: Credential;

    /// Whether what is signed is for the program that runs, so that one that is started over it gets nothing of it.
    const IS_OF_PROGRAM: bool = false;

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
    fn wants(&self, _: &Grant) -> bool {
        true
    }

    /// Signs one.
    ///
    /// # Errors
    /// When nothing could be signed.
    fn sign(&self, keyring: &Keyring, permit: Permit, now: SystemTime) -> Result<Self::Signed, authority::Error>;

    /// Whether two states of an entry that give the same SPIFFE ID ask for the same credential.
    fn is_same(then: &Spec, now: &Spec) -> bool;

    /// Who signs now, and when at the latest everything ends that it signs; `None` when nothing signs.
    fn signer(keyring: &Keyring) -> Option<(&AuthorityId, SystemTime)>;

    /// What a message carries beside the credentials: authorities of our trust domain, DER, one after the other.
    fn bundle(keyring: &Keyring) -> Bytes;

    /// What it carries of the foreign trust domains that these entries federate with.
    fn federated<'e, E: Deref<Target = Entry> + 'e>(_: &Foreign, _: impl IntoIterator<Item = &'e E>) -> View {
        View::new()
    }

    /// These are what the caller may have now.
    fn granted(&self, _: &[Grant]) {}
}

/// X.509-SVIDs: each with a key pair of its own.
#[derive(Debug)]
pub(crate) struct X509;

impl Kind for X509 {
    type Signed = Svid;
    const CREDENTIAL: Credential = Credential::X509;

    fn sign(&self, keyring: &Keyring, permit: Permit, now: SystemTime) -> Result<Svid, authority::Error> {
        keyring.sign_x509(permit, now)
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

    fn bundle(keyring: &Keyring) -> Bytes {
        keyring.bundle().der().clone()
    }

    fn federated<'e, E: Deref<Target = Entry> + 'e>(
        foreign: &Foreign,
        entries: impl IntoIterator<Item = &'e E>,
    ) -> View {
        foreign.view(Credential::X509, entries)
    }
}
