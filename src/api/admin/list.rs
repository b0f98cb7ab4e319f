//! Lists of entries: filters, pages, and how many there are.

use std::{
    fmt::Display,
    sync::Arc,
    time::{Duration, SystemTime},
};

use prost::Message as _;
use tonic::Status;

use super::wire;
use crate::{
    api::status,
    pb::admin as pb,
    registry::{Entry, EntryId, Name, Selector, Snapshot},
    spiffe::TrustDomain,
};

/// Entries on a page when nobody says.
const PAGE_SIZE: usize = 50;
/// Entries on a page at most.
pub(super) const PAGE_SIZE_MAX: usize = 1_000;
/// Bytes on a page at most, beside its first entry: clients take messages of 4 MiB.
pub(super) const PAGE_BYTES_MAX: usize = 2 << 20;

/// A list that makes sense.
#[derive(Debug)]
pub(crate) struct List {
    spiffe_id: Option<Name>,
    prefix: String,
    selectors: Vec<Selector>,
    hint: String,
    federates_with: Option<TrustDomain>,
    agent: String,
    page_size: usize,
    /// The last entry of the page before.
    after: Option<(SystemTime, EntryId)>,
    count_only: bool,
}

impl List {
    /// Reads a request.
    ///
    /// # Errors
    /// InvalidArgument with everything that is wrong, a line each.
    pub(crate) fn of(request: pb::ListEntriesRequest) -> Result<Self, Status> {
        let mut problems = Vec::new();
        let spiffe_id = read("spiffe_id", &request.spiffe_id, Name::parse, &mut problems);
        let selectors = request.selectors.iter();
        let selectors = selectors.filter_map(|text| match Selector::parse(text) {
            Ok(selector) => Some(selector),
            Err(error) => {
                problems.push(format!("selectors: {error}"));
                None
            }
        });
        let selectors = selectors.collect();
        let federates_with = read("federates_with", &request.federates_with, TrustDomain::parse, &mut problems);
        let place = |token: &str| read_token(token).ok_or("it is not from a page before");
        let after = read("page_token", &request.page_token, place, &mut problems);
        if !problems.is_empty() {
            return Err(status::invalid(&problems.join("\n")));
        }
        let page_size = page_size(request.page_size);
        let (prefix, hint, count_only) = (request.spiffe_id_prefix, request.hint, request.count_only);
        let agent = request.agent;
        Ok(Self { spiffe_id, prefix, selectors, hint, federates_with, agent, page_size, after, count_only })
    }

    /// Answers it. This walks over all entries: not for a thread that serves.
    pub(super) fn answer(&self, registry: &Snapshot) -> pb::ListEntriesResponse {
        let total = registry.entries().filter(|entry| self.takes(entry)).count();
        let total = u64::try_from(total).unwrap_or(u64::MAX);
        if self.count_only {
            return pb::ListEntriesResponse { total, ..pb::ListEntriesResponse::default() };
        }
        let (mut entries, mut next_page_token, mut bytes) = (Vec::new(), String::new(), 0);
        let mut last: Option<&Arc<Entry>> = None;
        for entry in self.rest(registry).filter(|entry| self.takes(entry)) {
            let encoded = wire::encode(entry);
            bytes += encoded.encoded_len();
            if let Some(last) = last
                && (entries.len() == self.page_size || bytes > PAGE_BYTES_MAX)
            {
                next_page_token = token(last);
                break;
            }
            entries.push(encoded);
            last = Some(entry);
        }
        pb::ListEntriesResponse { entries, next_page_token, total }
    }

    fn rest<'a>(&'a self, registry: &'a Snapshot) -> Box<dyn Iterator<Item = &'a Arc<Entry>> + 'a> {
        match &self.after {
            Some((created_at, id)) => Box::new(registry.entries_after(*created_at, id)),
            None => Box::new(registry.entries()),
        }
    }

    fn takes(&self, entry: &Entry) -> bool {
        let spec = &entry.spec;
        self.spiffe_id.as_ref().is_none_or(|id| *id == spec.spiffe_id)
            && spec.spiffe_id.as_str().starts_with(&self.prefix)
            && self.selectors.iter().all(|selector| spec.selectors.binary_search(selector).is_ok())
            && (self.hint.is_empty() || self.hint == spec.hint)
            && (self.agent.is_empty() || spec.agent.as_ref().is_some_and(|agent| agent.as_str() == self.agent))
            && self.federates_with.as_ref().is_none_or(|name| spec.federates_with.contains(name))
    }
}

/// How many go on a page, of what was asked for.
pub(super) fn page_size(asked: u32) -> usize {
    match usize::try_from(asked) {
        Ok(0) => PAGE_SIZE,
        Ok(size) => size.min(PAGE_SIZE_MAX),
        Err(_) => PAGE_SIZE_MAX,
    }
}

/// Reads a field that may be empty.
fn read<'t, T, E: Display>(
    field: &str,
    text: &'t str,
    parse: impl FnOnce(&'t str) -> Result<T, E>,
    problems: &mut Vec<String>,
) -> Option<T> {
    if text.is_empty() {
        return None;
    }
    parse(text).map_err(|error| problems.push(format!("{field}: {error}"))).ok()
}

/// Names the last entry of a page by its place, which stays when the entry goes.
fn token(entry: &Entry) -> String {
    let micros = entry.created_at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_micros();
    format!("{micros}.{}", entry.id)
}

fn read_token(token: &str) -> Option<(SystemTime, EntryId)> {
    let (micros, id) = token.split_once('.')?;
    let created_at = SystemTime::UNIX_EPOCH.checked_add(Duration::from_micros(micros.parse().ok()?))?;
    Some((created_at, id.parse().ok()?))
}
