//! Which of the entries that match a caller it is given, in one answer.

use std::{collections::BTreeSet, sync::Arc};

use super::entry::Entry;

/// Identities of one caller. Clients refuse a message with more (rust-spiffe), and one of 4 MiB.
pub(crate) const IDENTITIES_MAX: usize = 100;

/// Leaves out each entry whose hint an older one of the same caller has, as SPIRE does, and of the rest all but the
/// oldest [`IDENTITIES_MAX`]. Empty hints may repeat. Which entries meet in one caller is known only when it calls, so
/// this cannot be wholly refused when entries are made.
///
/// The entries come, and stay, oldest first, as [`Snapshot::matching`](super::Snapshot::matching) gives them.
pub(crate) fn granted(mut matching: Vec<Arc<Entry>>) -> Vec<Arc<Entry>> {
    if matching.len() > 1 {
        let mut seen = BTreeSet::new();
        let first: Vec<bool> = matching.iter().map(|e| e.spec.hint.is_empty() || seen.insert(&e.spec.hint)).collect();
        let mut first = first.into_iter();
        matching.retain(|_| first.next().unwrap_or(false));
        matching.truncate(IDENTITIES_MAX);
    }
    matching
}
