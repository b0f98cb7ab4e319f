//! What an order comes to, worked out before anything is written.

use std::{collections::BTreeSet, sync::Arc, time::SystemTime};

use crate::{
    audit::{self, Record, Urgency},
    authority::Keyring,
    issuance::desk::{self, Author},
    registry::Snapshot,
    spiffe::{TrustDomain, document::Document, x509},
};

use super::{Bundle, DOMAINS_MAX, Error, Foreign, TOTAL_BYTES_MAX, lines::difference, office::Order, read::Given};

/// What an order came to.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    /// As it is now; of what was deleted, as it was.
    pub(crate) bundle: Arc<Bundle>,
    /// Whether anything is different.
    pub(crate) is_changed: bool,
    /// Sentences: what was left out of it, and what else to know.
    pub(crate) warnings: Vec<String>,
    /// How many entries federate with the trust domain.
    pub(crate) entries: usize,
}

/// Everything that an order is checked against.
pub(super) struct Present {
    pub(super) foreign: Arc<Foreign>,
    pub(super) registry: Arc<Snapshot>,
    pub(super) keyring: Arc<Keyring>,
    pub(super) now: SystemTime,
}

/// An order that fits, worked out to the end.
pub(super) struct Plan {
    pub(super) next: Foreign,
    pub(super) verb: &'static str,
    lines: Vec<String>,
    pub(super) outcome: Outcome,
}

impl Present {
    pub(super) fn plan(&self, order: Order) -> Result<Plan, Error> {
        match order {
            Order::Set(given) => self.set(*given),
            Order::Delete { trust_domain, force } => self.delete(trust_domain, force),
        }
    }

    fn set(&self, given: Given) -> Result<Plan, Error> {
        let Given { document, mut warnings, is_pem } = given;
        let name = document.trust_domain().clone();
        let before = self.foreign.of(&name);
        let entries = self.entries_of(&name);
        if let Some(same) = before.filter(|before| *before.document() == document) {
            let outcome = Outcome { bundle: same.clone(), is_changed: false, warnings, entries };
            return Ok(Plan { next: Foreign::clone(&self.foreign), verb: SET, lines: Vec::new(), outcome });
        }
        let old = before.map(|bundle| bundle.document());
        warnings.extend(old.and_then(|old| sequence_warning(old, &document)));
        if let Some(old) = old.filter(|old| is_pem && !(old.jwt().is_empty() && old.wit().is_empty())) {
            let keys = old.jwt().len() + old.wit().len();
            warnings.push(format!("its JWT and WIT keys are gone ({keys}): PEM has X.509 authorities only"));
        }
        warnings.extend(self.shared(&document));
        let lines = difference(old, Some(&document));
        let revision = before.map_or(0, |before| before.revision()).saturating_add(1);
        let bundle = Arc::new(Bundle::new(document, revision, self.now));
        let next = self.foreign.with(bundle.clone());
        if next.len() > DOMAINS_MAX {
            return Err(Error::TooManyDomains(next.len()));
        }
        if next.bytes() > TOTAL_BYTES_MAX {
            return Err(Error::TooManyBytes(next.bytes()));
        }
        Ok(Plan { next, verb: SET, lines, outcome: Outcome { bundle, is_changed: true, warnings, entries } })
    }

    fn delete(&self, trust_domain: TrustDomain, force: bool) -> Result<Plan, Error> {
        let Some(bundle) = self.foreign.of(&trust_domain).cloned() else {
            return Err(Error::Unknown(trust_domain));
        };
        let entries = self.entries_of(&trust_domain);
        if entries > 0 && !force {
            return Err(Error::Federated { trust_domain, entries });
        }
        let lines = difference(Some(bundle.document()), None);
        let next = self.foreign.without(&trust_domain);
        let outcome = Outcome { bundle, is_changed: true, warnings: Vec::new(), entries };
        Ok(Plan { next, verb: DELETE, lines, outcome })
    }

    fn entries_of(&self, name: &TrustDomain) -> usize {
        self.registry.entries().filter(|entry| entry.spec.federates_with.contains(name)).count()
    }

    /// A key in two trust domains is one that can speak for both, so somebody made a mistake; each stays in its own.
    fn shared(&self, document: &Document) -> Vec<String> {
        let (own, others) = (self.keyring.bundle(), self.foreign.iter().map(|bundle| bundle.document()));
        let mine = public_keys(document.x509());
        let tokens = token_keys(document);
        let with = |name: &TrustDomain| format!("it has a key that the bundle of {name} has, too");
        let own = (!mine.is_disjoint(&public_keys(own))).then(|| with(own.trust_domain()));
        let others = others.filter(|other| other.trust_domain() != document.trust_domain());
        let shares = |other: &&Document| {
            !mine.is_disjoint(&public_keys(other.x509())) || !tokens.is_disjoint(&token_keys(other))
        };
        own.into_iter().chain(others.filter(shares).map(|other| with(other.trust_domain()))).collect()
    }
}

fn public_keys(bundle: &x509::Bundle) -> BTreeSet<Vec<u8>> {
    let keys = bundle.authorities().iter().filter_map(|authority| x509::public_key(authority).ok());
    keys.map(|key| key.to_vec()).collect()
}

fn token_keys(document: &Document) -> BTreeSet<String> {
    let keys = document.jwt().keys().chain(document.wit().keys());
    keys.map(|(_, key)| key.thumbprint()).collect()
}

/// A sequence that goes back, or says that nothing has changed.
fn sequence_warning(old: &Document, new: &Document) -> Option<String> {
    let (before, after) = (old.sequence()?, new.sequence()?);
    match after.cmp(&before) {
        std::cmp::Ordering::Less => Some(format!("its sequence {after} is older than {before}, which was there")),
        std::cmp::Ordering::Equal => Some(format!("its sequence {after} is the same, and its keys are not")),
        std::cmp::Ordering::Greater => None,
    }
}

impl Plan {
    pub(super) fn trust_domain(&self) -> &TrustDomain {
        self.outcome.bundle.document().trust_domain()
    }

    /// Recorded before it is made, so that nothing is in effect that the log does not know of.
    pub(super) fn record(&self, log: &audit::Log, author: Author) -> Result<(), Error> {
        if !self.outcome.is_changed {
            return Ok(());
        }
        let record = self.say(author, "ok", self.lines.clone());
        log.append(&record, Urgency::Ordinary).map(drop).map_err(|error| desk::Error::Audit(error).into())
    }

    /// Says that what was recorded was not made after all.
    pub(super) fn take_back(&self, log: &audit::Log, author: Author) {
        // It may use the reserve. Where that is used up too, the database tells what is so.
        log.append(&self.say(author, "not_made", Vec::new()), Urgency::Renewal).ok();
    }

    fn say(&self, author: Author, result: &'static str, changes: Vec<String>) -> Record {
        let (caller, object) = (author.into(), self.trust_domain().to_string());
        Record::Admin { caller, verb: self.verb, object, result, changes }
    }
}

const SET: &str = "bundle_set";
const DELETE: &str = "bundle_delete";
