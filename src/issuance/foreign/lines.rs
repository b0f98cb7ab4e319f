//! What is different about a foreign bundle, for the audit log: a line for each key, and none without an end.

use std::collections::BTreeSet;

use super::bundle::fingerprint;
use crate::spiffe::document::Document;

/// The most keys that are told one by one.
const LINES_MAX: usize = 40;
/// The most of a `kid` that is told, in characters.
const KEY_ID_CHARS_MAX: usize = 120;

/// The difference between two documents, of which one may not be there.
pub(super) fn difference(before: Option<&Document>, after: Option<&Document>) -> Vec<String> {
    let (before, after) = (keys(before), keys(after));
    let gone = before.difference(&after).map(|key| format!("removed {key}"));
    let new = after.difference(&before).map(|key| format!("added {key}"));
    let mut lines: Vec<_> = gone.chain(new).collect();
    let more = lines.len().saturating_sub(LINES_MAX);
    lines.truncate(LINES_MAX);
    if more > 0 {
        lines.push(format!("and {more} more"));
    }
    lines
}

fn keys(document: Option<&Document>) -> BTreeSet<String> {
    let Some(document) = document else { return BTreeSet::new() };
    let short = |id: &str| id.chars().take(KEY_ID_CHARS_MAX).flat_map(char::escape_debug).collect::<String>();
    let x509 = document.x509().authorities().iter().map(|one| format!("x509 authority {}", fingerprint(one)));
    let jwt = document.jwt().keys().map(|(id, key)| format!("jwt key {} {}", short(id), key.thumbprint()));
    let wit = document.wit().keys().map(|(id, key)| format!("wit key {} {}", short(id), key.thumbprint()));
    let sequence = document.sequence().map(|number| format!("sequence {number}"));
    x509.chain(jwt).chain(wit).chain(sequence).collect()
}
