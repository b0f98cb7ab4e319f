//! Selectors, drafts and snapshots as tables, and the snapshot against a plain scan.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "tests"
)]

mod asked;
mod catalog;
mod draft;
mod filing;
mod given;
mod large;
mod profile;
mod selector;
mod snapshot;
mod standing;
mod template;

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use super::{Draft, Entry, EntryId, Given, Selector, Selectors, Snapshot, Spec, granted};
use crate::spiffe::TrustDomain;

pub(crate) use large::Numbers;

fn own() -> TrustDomain {
    TrustDomain::parse("example.org").unwrap()
}

fn draft(path: &str, selectors: &[&str]) -> Draft {
    Draft {
        spiffe_id: format!("spiffe://example.org/{path}"),
        selectors: selectors.iter().map(|text| (*text).to_owned()).collect(),
        ..Draft::default()
    }
}

fn spec(path: &str, selectors: &[&str]) -> Spec {
    draft(path, selectors).check(&own()).unwrap()
}

/// The id of the entry of this number.
fn id(number: u32) -> EntryId {
    let mut bytes = [7; 16];
    bytes[12..].copy_from_slice(&number.to_be_bytes());
    EntryId::from_random(bytes)
}

/// An entry whose number is its age: the lowest is the oldest.
pub(crate) fn entry(number: u32, path: &str, selectors: &[&str]) -> Entry {
    let created_at = SystemTime::UNIX_EPOCH + Duration::from_secs(u64::from(number));
    Entry { id: id(number), spec: spec(path, selectors), revision: 1, created_at, since: created_at }
}

/// What the entry gives to who has its selectors, whenever that is.
pub(crate) fn grant(entry: &Entry) -> Given {
    let have = entry.spec.selectors.iter().cloned().collect();
    let snapshot = Snapshot::build(1, [Arc::new(entry.clone())]);
    granted(&snapshot, &have, SystemTime::UNIX_EPOCH).given.pop().unwrap()
}

fn have(selectors: &[&str]) -> Selectors {
    selectors.iter().map(|text| Selector::parse(text).unwrap()).collect()
}

fn paths(entries: &[Arc<Entry>]) -> Vec<&str> {
    entries.iter().map(|entry| entry.spec.spiffe_id.as_str().trim_start_matches("spiffe://example.org/")).collect()
}
