//! Which trust domains entries federate with in vain, each told once.

use std::{
    collections::BTreeSet,
    ops::Deref,
    sync::{Mutex, PoisonError},
};

use crate::{registry::Entry, spiffe::TrustDomain};

use super::Foreign;

/// The most names that are remembered as told. What is beyond is not told: `explain` does.
const NAMES_MAX: usize = 1_024;

/// The names that were told.
#[derive(Debug, Default)]
pub(crate) struct Missing(Mutex<BTreeSet<TrustDomain>>);

impl Missing {
    /// The trust domains of these entries that there is no bundle of, and that were not told since there was none.
    pub(crate) fn newly(&self, foreign: &Foreign, entries: &[impl Deref<Target = Entry>]) -> Vec<TrustDomain> {
        let mut missing = foreign.missing(entries);
        if missing.is_empty() {
            return missing;
        }
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // One that comes and goes again is told again.
        told.retain(|name| foreign.of(name).is_none());
        missing.retain(|name| told.len() < NAMES_MAX && told.insert(name.clone()));
        missing
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use std::time::SystemTime;

    use std::sync::Arc;

    use super::*;
    use crate::{
        issuance::foreign::fixture::kept,
        registry::{Draft, EntryId},
    };

    fn entry(names: &[String]) -> Arc<Entry> {
        let draft = Draft {
            spiffe_id: "spiffe://example.org/a".into(),
            selectors: vec!["unix:uid:1".into()],
            federates_with: names.to_vec(),
            ..Draft::default()
        };
        let spec = draft.check(&TrustDomain::parse("example.org").unwrap()).unwrap();
        Arc::new(Entry {
            id: EntryId::from_random([1; 16]),
            spec,
            revision: 1,
            created_at: SystemTime::UNIX_EPOCH,
            since: SystemTime::UNIX_EPOCH,
        })
    }

    fn names(numbers: std::ops::Range<usize>) -> Vec<String> {
        numbers.map(|number| format!("d{number}.test")).collect()
    }

    #[test]
    fn a_name_is_told_once_and_again_when_its_bundle_has_gone() {
        let (missing, none) = (Missing::default(), Foreign::default());
        let entries = [entry(&names(0..2))];
        assert_eq!(missing.newly(&none, &entries).len(), 2);
        assert!(missing.newly(&none, &entries).is_empty());
        let first = TrustDomain::parse("d0.test").unwrap();
        let some = kept(&[("d0.test", r#"{"keys":[]}"#)]);
        assert!(missing.newly(&some, &entries).is_empty());
        assert_eq!(missing.newly(&none, &entries), [first]);
    }

    #[test]
    fn so_many_names_are_told_at_most() {
        let (missing, none) = (Missing::default(), Foreign::default());
        let told: usize =
            (0..NAMES_MAX / 32 + 2).map(|at| missing.newly(&none, &[entry(&names(at * 32..at * 32 + 32))]).len()).sum();
        assert_eq!(told, NAMES_MAX);
    }
}
