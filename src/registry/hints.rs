//! Hints, which must differ within one answer.

use std::{collections::BTreeSet, sync::Arc};

use super::entry::Entry;

/// Leaves out each entry whose hint an older one of the same caller has, as SPIRE does. Empty hints may
/// repeat. Which entries meet in one caller is known only when it calls, so this cannot be wholly refused
/// when entries are made.
///
/// The entries come, and stay, oldest first, as [`Snapshot::matching`](super::Snapshot::matching) gives them.
pub(crate) fn drop_repeated_hints(mut entries: Vec<Arc<Entry>>) -> Vec<Arc<Entry>> {
    if entries.len() > 1 {
        let mut seen = BTreeSet::new();
        let first: Vec<bool> = entries.iter().map(|e| e.spec.hint.is_empty() || seen.insert(&e.spec.hint)).collect();
        let mut first = first.into_iter();
        entries.retain(|_| first.next().unwrap_or(false));
    }
    entries
}
