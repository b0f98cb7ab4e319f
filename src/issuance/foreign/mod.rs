//! The bundles of foreign trust domains: who is believed beside our own, and who is told so.
//!
//! A document is read, recorded, written to disk, and only then seen by anybody. Doors hold an [`Office`]; the
//! [`Registrar`] owns the set. Every stream reads whole snapshots of it ([`Foreign`]). A caller is given the bundles
//! of the domains that its entries federate with, and no others; they are never merged.

mod bundle;
mod error;
#[cfg(test)]
pub(crate) mod fixture;
mod lines;
mod missing;
mod office;
mod plan;
mod read;
mod registrar;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Deref,
    sync::Arc,
};

use bytes::Bytes;

use crate::{
    policy::Credential,
    registry::Entry,
    spiffe::{TrustDomain, jwt},
};

pub(crate) use bundle::Bundle;
pub(crate) use error::{Error, Refusal};
pub(crate) use missing::Missing;
pub(crate) use office::{Office, Opened, open};
pub(crate) use plan::Outcome;
#[cfg(any(fuzzing, test))]
pub(crate) use read::read;
pub(crate) use registrar::Registrar;

/// The most foreign trust domains. With our own they are as many as a client takes in one message (rust-spiffe: 200).
pub(crate) const DOMAINS_MAX: usize = 199;
/// The longest document that is taken, in bytes.
pub(crate) const DOCUMENT_BYTES_MAX: usize = 512 << 10;
/// The most bytes that all documents have together, each in its canonical form. Every message has less of them, and
/// stays under 4 MiB with all else that is in it.
pub(crate) const TOTAL_BYTES_MAX: usize = 1536 << 10;

/// What one caller sees of the keys of one kind: foreign trust domains by their names, each with its value in the map,
/// DER certificates one after the other or a JWK Set.
pub(crate) type View = Vec<(TrustDomain, Bytes)>;

/// All foreign bundles at one moment. Immutable and shared; a change makes the next one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Foreign(BTreeMap<TrustDomain, Arc<Bundle>>);

impl Foreign {
    /// The bundle of a trust domain. It may be empty.
    pub(crate) fn of(&self, trust_domain: &TrustDomain) -> Option<&Arc<Bundle>> {
        self.0.get(trust_domain)
    }

    /// All bundles by the names of their trust domains.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<Bundle>> {
        self.0.values()
    }

    /// Of how many trust domains there are bundles.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// How many bytes the documents have together.
    pub(crate) fn bytes(&self) -> usize {
        self.iter().map(|bundle| bundle.json().len()).sum()
    }

    /// What a caller with these entries sees of the keys that verify one kind of credential. A domain without such
    /// keys, as one that has revoked them all, is left out, and so is one that there is no bundle of.
    pub(crate) fn view<'e, E: Deref<Target = Entry> + 'e>(
        &self,
        credential: Credential,
        entries: impl IntoIterator<Item = &'e E>,
    ) -> View {
        let value = |name: &TrustDomain| Some((name.clone(), self.of(name)?.value(credential)?.clone()));
        federated(entries).into_iter().filter_map(value).collect()
    }

    /// The trust domains that these entries federate with and that there is no bundle of.
    pub(crate) fn missing<'e, E: Deref<Target = Entry> + 'e>(
        &self,
        entries: impl IntoIterator<Item = &'e E>,
    ) -> Vec<TrustDomain> {
        federated(entries).into_iter().filter(|name| self.of(name).is_none()).cloned().collect()
    }

    /// The keys that verify JWT-SVIDs of a trust domain for a caller with these entries; `None` where it is not meant
    /// to believe that domain, or nothing is known of it. It may be empty: then nothing is believed either.
    pub(crate) fn jwt<'e, E: Deref<Target = Entry> + 'e>(
        &self,
        trust_domain: &TrustDomain,
        entries: impl IntoIterator<Item = &'e E>,
    ) -> Option<&jwt::Bundle> {
        let mut names = entries.into_iter().flat_map(|entry| &entry.spec.federates_with);
        names.any(|name| name == trust_domain).then(|| self.of(trust_domain))?.map(|bundle| bundle.document().jwt())
    }

    fn with(&self, bundle: Arc<Bundle>) -> Self {
        let mut next = self.clone();
        next.0.insert(bundle.document().trust_domain().clone(), bundle);
        next
    }

    fn without(&self, trust_domain: &TrustDomain) -> Self {
        let mut next = self.clone();
        next.0.remove(trust_domain);
        next
    }
}

/// Each trust domain that these entries federate with, once, by name.
fn federated<'e, E: Deref<Target = Entry> + 'e>(entries: impl IntoIterator<Item = &'e E>) -> BTreeSet<&'e TrustDomain> {
    entries.into_iter().flat_map(|entry| &entry.spec.federates_with).collect()
}
