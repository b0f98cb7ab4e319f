//! An entry of the registry, and what can be done to entries.

use std::{
    fmt,
    str::FromStr,
    time::{Duration, SystemTime},
};

use crate::spiffe::{Id, TrustDomain};

use super::{
    error::Error,
    image::ImageSet,
    item::{Item, ItemId},
    label::Label,
    name::Name,
    profile::Profile,
    revocations::{Revoked, RevokedId},
    selector::Selector,
    template::{Placeholder, Template},
};

/// One registered identity: who has all of these selectors is this SPIFFE ID.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Its name in the registry.
    pub(crate) id: EntryId,
    /// What it says.
    pub(crate) spec: Spec,
    /// Counts its changes, from 1.
    pub(crate) revision: u64,
    /// When it was registered. The oldest entry of a caller is its default identity.
    pub(crate) created_at: SystemTime,
    /// Since when its SPIFFE ID, selectors and agent are these. What its callers were issued in earlier seconds tells
    /// nothing of who is its agent now.
    pub(crate) since: SystemTime,
}

/// What an operator says in an entry. Made by [`Draft::check`](super::Draft::check) only, so every
/// limit and rule holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Spec {
    /// The identity, or what it is made of; in the daemon's own trust domain.
    pub(crate) spiffe_id: Name,
    /// Sorted, none twice, never empty. The caller must have all.
    pub(crate) selectors: Vec<Selector>,
    /// How long its X.509-SVIDs live; whole seconds; `None` is the daemon's default.
    pub(crate) x509_ttl: Option<Duration>,
    /// How long its JWT-SVIDs live; whole seconds; `None` is the daemon's default.
    pub(crate) jwt_ttl: Option<Duration>,
    /// How long its WIT-SVIDs live; whole seconds; `None` is the daemon's default.
    pub(crate) wit_ttl: Option<Duration>,
    /// DNS names for its X.509-SVIDs, in lower case, in the operator's order.
    pub(crate) dns_names: Vec<String>,
    /// What stands in the subject of its certificates.
    pub(crate) profile: Profile,
    /// Tells one identity of a caller from the others; may be empty.
    pub(crate) hint: String,
    /// The foreign trust domains whose bundles its callers get; sorted.
    pub(crate) federates_with: Vec<TrustDomain>,
    /// Whose X.509-SVIDs its callers, which are proxies, may take by SDS beside their own; sorted.
    pub(crate) sds_for: Vec<Id>,
    /// Whether its callers may use the admin API (carried for SPIRE's sake).
    pub(crate) admin: bool,
    /// Whether its callers may sign for others below them (carried for SPIRE's sake).
    pub(crate) downstream: bool,
    /// From when on it gives nothing any more; whole seconds.
    pub(crate) expires_at: Option<SystemTime>,
    /// The agent that its callers are; `None` where they are none.
    pub(crate) agent: Option<Label>,
}

impl Entry {
    /// Whether it gives nothing any more at this time.
    pub(crate) fn is_expired(&self, now: SystemTime) -> bool {
        self.spec.expires_at.is_some_and(|end| end <= now)
    }
}

impl Spec {
    /// Whether another one gives the same callers the same SPIFFE ID, as the same agent.
    pub(crate) fn is_same_identity(&self, other: &Self) -> bool {
        self.spiffe_id == other.spiffe_id && self.selectors == other.selectors && self.agent == other.agent
    }

    /// The common name in the subject of its certificates: the one that its profile has, or its first DNS name. A DNS
    /// name that is too long for the place stands in the alternative name alone.
    pub(crate) fn common_name(&self) -> Option<&str> {
        let first = self.dns_names.first().map(String::as_str);
        self.profile.chosen().or(first.filter(|name| name.len() <= Profile::COMMON_NAME_BYTES_MAX))
    }

    /// Which kinds of image selectors it names, or puts into its SPIFFE ID.
    pub(crate) fn images(&self) -> ImageSet {
        let named = self.selectors.iter().filter_map(Selector::image);
        named.chain(self.placeholders().filter_map(Placeholder::image)).collect()
    }

    /// Whether a selector of a process with this name (`user`) says who matches, or whose identity it is.
    pub(super) fn asks_for(&self, name: &str) -> bool {
        self.selectors.iter().any(|selector| selector.unix(name).is_some())
            || self.placeholders().any(|placeholder| placeholder.name() == name)
    }

    fn placeholders(&self) -> impl Iterator<Item = Placeholder> {
        self.spiffe_id.template().into_iter().flat_map(Template::placeholders)
    }
}

/// The name of an entry in the registry: a UUID, in lower case wherever it is written.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct EntryId([u8; 16]);

impl EntryId {
    /// A version 4 UUID of random bytes (RFC 9562 §5.4).
    pub(crate) fn from_random(mut bytes: [u8; 16]) -> Self {
        let [.., version, _, variant, _, _, _, _, _, _, _] = &mut bytes;
        *version = (*version & 0x0f) | 0x40;
        *variant = (*variant & 0x3f) | 0x80;
        Self(bytes)
    }

    /// Where the hyphens are in its text.
    const HYPHENS: [usize; 4] = [8, 13, 18, 23];
}

impl FromStr for EntryId {
    type Err = Error;

    /// Reads the canonical form only: 36 characters, lower case.
    fn from_str(text: &str) -> Result<Self, Error> {
        let wrong = || Error::EntryId(text.chars().take(64).collect());
        if text.len() != 36 {
            return Err(wrong());
        }
        let mut digits = Vec::with_capacity(32);
        for (at, byte) in text.bytes().enumerate() {
            match (byte, Self::HYPHENS.contains(&at)) {
                (b'-', true) => {}
                (b'0'..=b'9', false) => digits.push(byte - b'0'),
                (b'a'..=b'f', false) => digits.push(byte - b'a' + 10),
                _ => return Err(wrong()),
            }
        }
        let bytes: Vec<u8> =
            digits.chunks_exact(2).map(|pair| pair.iter().fold(0, |sum, digit| sum << 4 | digit)).collect();
        bytes.try_into().map(Self).map_err(|_| wrong())
    }
}

impl fmt::Display for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, byte) in self.0.iter().enumerate() {
            let hyphen = if matches!(at, 4 | 6 | 8 | 10) { "-" } else { "" };
            write!(f, "{hyphen}{byte:02x}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EntryId({self})")
    }
}

/// One step from a snapshot to the next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// A new entry.
    Create(Entry),
    /// The entry of this id is to be like this.
    Update(Entry),
    /// The entry is to go.
    Delete(EntryId),
    /// An agent, tool or grant is to be like this, whether or not there was one of its name.
    Put(Item),
    /// The agent, tool or grant is to go.
    Remove(ItemId),
    /// This is not good any more, whether or not it was before.
    Revoke(Revoked),
    /// This is no longer kept as revoked.
    Restore(RevokedId),
}
