//! Bundles: the authorities of a trust domain, and the bundles of several trust domains side by side.
//! They are never pooled: a leaf is judged by the bundle of the domain it names, and no other.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use bytes::{Bytes, BytesMut};

use crate::spiffe::TrustDomain;

use super::{Error, check_authority, split_at_most};

/// The most authorities in one bundle. A rotation has two or three.
pub const AUTHORITIES_MAX: usize = 64;

/// The X.509 authorities of one trust domain, in their order, none twice. It may be empty: then nothing
/// of that trust domain is believed.
#[derive(Clone, PartialEq, Eq)]
pub struct Bundle {
    trust_domain: TrustDomain,
    /// All certificates in a row; `authorities` are parts of it.
    der: Bytes,
    authorities: Vec<Bytes>,
}

impl Bundle {
    /// A bundle of CA certificates, each in DER. One that comes twice is kept once.
    ///
    /// # Errors
    /// When one is not an authority's certificate ([`check_authority`]), or there are more than
    /// [`AUTHORITIES_MAX`]. Expired ones are kept, and ignored by [`verify`](super::verify).
    pub fn new(trust_domain: TrustDomain, authorities: Vec<Bytes>) -> Result<Self, Error> {
        let mut seen = BTreeSet::new();
        let mut all = BytesMut::new();
        let mut lengths = Vec::new();
        for authority in &authorities {
            check_authority(authority)?;
            if seen.insert(authority) {
                all.extend_from_slice(authority);
                lengths.push(authority.len());
            }
        }
        if lengths.len() > AUTHORITIES_MAX {
            return Err(Error::TooMany { most: AUTHORITIES_MAX });
        }
        let der = all.freeze();
        let mut rest = der.clone();
        let authorities = lengths.into_iter().map(|length| rest.split_to(length)).collect();
        Ok(Self { trust_domain, der, authorities })
    }

    /// A bundle from concatenated DER, as it is in the Workload API's fields.
    ///
    /// # Errors
    /// As [`Bundle::new`], and when the bytes are not DER certificates in a row.
    pub fn from_der(trust_domain: TrustDomain, der: &[u8]) -> Result<Self, Error> {
        let authorities = split_at_most(&Bytes::copy_from_slice(der), AUTHORITIES_MAX)?;
        Self::new(trust_domain, authorities)
    }

    /// Whose authorities these are.
    pub fn trust_domain(&self) -> &TrustDomain {
        &self.trust_domain
    }

    /// All certificates as concatenated DER, as the Workload API sends them.
    pub fn der(&self) -> &Bytes {
        &self.der
    }

    /// The certificates, one DER each.
    pub fn authorities(&self) -> &[Bytes] {
        &self.authorities
    }

    /// Whether there is no authority.
    pub fn is_empty(&self) -> bool {
        self.authorities.is_empty()
    }

    /// For tests of what `verify` does by itself with a certificate that has no place here.
    #[cfg(test)]
    pub(super) fn unchecked(trust_domain: TrustDomain, authorities: Vec<Bytes>) -> Self {
        Self { trust_domain, der: authorities.concat().into(), authorities }
    }
}

impl fmt::Debug for Bundle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Bundle({}, {} authorities)", self.trust_domain, self.authorities.len())
    }
}

/// The bundles of several trust domains, each apart from the others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bundles(BTreeMap<TrustDomain, Bundle>);

impl Bundles {
    /// Nobody is believed.
    pub fn empty() -> Self {
        Self::default()
    }

    /// Puts a bundle in the place of the one its trust domain had, which is answered. Nothing of the old
    /// one stays.
    pub fn insert(&mut self, bundle: Bundle) -> Option<Bundle> {
        self.0.insert(bundle.trust_domain.clone(), bundle)
    }

    /// Takes a trust domain's bundle out.
    pub fn remove(&mut self, trust_domain: &TrustDomain) -> Option<Bundle> {
        self.0.remove(trust_domain)
    }

    /// The bundle of a trust domain.
    pub fn of(&self, trust_domain: &TrustDomain) -> Option<&Bundle> {
        self.0.get(trust_domain)
    }

    /// All bundles, by the names of their trust domains.
    pub fn iter(&self) -> impl Iterator<Item = &Bundle> {
        self.0.values()
    }

    /// Of how many trust domains there are bundles.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is no bundle at all.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromIterator<Bundle> for Bundles {
    /// Of two bundles of one trust domain the later stands.
    fn from_iter<I: IntoIterator<Item = Bundle>>(bundles: I) -> Self {
        let mut all = Self::default();
        for bundle in bundles {
            all.insert(bundle);
        }
        all
    }
}
