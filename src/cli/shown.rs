//! An entry as it is shown: to programs with the names and units of the admin API, to people as a row or a card.

use serde::Serialize;

use crate::{pb::admin::Entry, sys::Clock};

use super::{entry::DEFAULT_PROFILE, failure::Failure, moment, print::Printer};

/// An entry in JSON. `apply -f` reads it again.
#[derive(Debug, Serialize)]
pub(crate) struct EntryView<'e> {
    id: &'e str,
    spiffe_id: &'e str,
    selectors: &'e [String],
    x509_ttl_seconds: u64,
    jwt_ttl_seconds: u64,
    wit_ttl_seconds: u64,
    dns_names: &'e [String],
    certificate_profile: &'e str,
    common_name: &'e str,
    hint: &'e str,
    federates_with: &'e [String],
    sds_for: &'e [String],
    admin: bool,
    downstream: bool,
    expires_at: u64,
    revision: u64,
    created_at: u64,
    agent: &'e str,
}

impl<'e> From<&'e Entry> for EntryView<'e> {
    fn from(entry: &'e Entry) -> Self {
        // Every field by name: one that the API gets later must be shown too.
        let Entry {
            id,
            spiffe_id,
            selectors,
            x509_ttl_seconds,
            jwt_ttl_seconds,
            wit_ttl_seconds,
            dns_names,
            hint,
            federates_with,
            sds_for,
            admin,
            downstream,
            expires_at,
            revision,
            created_at,
            certificate_profile,
            common_name,
            agent,
        } = entry;
        Self {
            id,
            spiffe_id,
            selectors,
            x509_ttl_seconds: *x509_ttl_seconds,
            jwt_ttl_seconds: *jwt_ttl_seconds,
            wit_ttl_seconds: *wit_ttl_seconds,
            dns_names,
            hint,
            federates_with,
            sds_for,
            admin: *admin,
            downstream: *downstream,
            expires_at: *expires_at,
            certificate_profile: if certificate_profile.is_empty() { DEFAULT_PROFILE } else { certificate_profile },
            common_name,
            revision: *revision,
            created_at: *created_at,
            agent,
        }
    }
}

/// Entries in JSON.
pub(crate) fn views(entries: &[Entry]) -> Vec<EntryView<'_>> {
    entries.iter().map(EntryView::from).collect()
}

/// A table of entries.
///
/// # Errors
/// When stdout cannot be written.
pub(crate) fn rows(print: &Printer, entries: &[Entry]) -> Result<(), Failure> {
    let row = |entry: &Entry| {
        let selectors = entry.selectors.join("\n");
        [entry.id.clone(), entry.spiffe_id.clone(), selectors, moment::ttl_text(entry.x509_ttl_seconds)]
    };
    // Most registries have no end in them, and lines are long.
    if entries.iter().all(|entry| entry.expires_at == 0) {
        let rows = entries.iter().map(|entry| {
            let [id, spiffe_id, selectors, ttl] = row(entry);
            [id, spiffe_id, selectors, ttl, entry.hint.clone()]
        });
        return print.table(["ID", "SPIFFE ID", "SELECTORS", "X509 TTL", "HINT"], rows);
    }
    let now = now();
    let rows = entries.iter().map(|entry| {
        let [id, spiffe_id, selectors, ttl] = row(entry);
        [id, spiffe_id, selectors, ttl, end(entry, now), entry.hint.clone()]
    });
    print.table(["ID", "SPIFFE ID", "SELECTORS", "X509 TTL", "EXPIRES", "HINT"], rows)
}

/// When it ends; and whether that has come, as such an entry gives nothing and stays in the list.
fn end(entry: &Entry, now: u64) -> String {
    match entry.expires_at {
        0 => "never".into(),
        end if end <= now => format!("{} (expired)", moment::text(end)),
        end => moment::text(end),
    }
}

fn now() -> u64 {
    moment::unix(Clock::system().now())
}

/// One entry, whole.
///
/// # Errors
/// When stdout cannot be written.
pub(crate) fn card(print: &Printer, entry: &Entry) -> Result<(), Failure> {
    let mut pairs = vec![
        ("id", entry.id.clone()),
        ("spiffe id", entry.spiffe_id.clone()),
        ("selectors", entry.selectors.join("\n")),
        ("x509 ttl", moment::ttl_text(entry.x509_ttl_seconds)),
        ("jwt ttl", moment::ttl_text(entry.jwt_ttl_seconds)),
        ("wit ttl", moment::ttl_text(entry.wit_ttl_seconds)),
        ("dns names", entry.dns_names.join("\n")),
        ("certificate profile", entry.certificate_profile.clone()),
        ("common name", entry.common_name.clone()),
        ("hint", entry.hint.clone()),
        ("federates with", entry.federates_with.join("\n")),
        ("acts for", entry.sds_for.join("\n")),
        ("agent", entry.agent.clone()),
        ("expires", end(entry, now())),
        ("created", moment::text(entry.created_at)),
        ("revision", entry.revision.to_string()),
    ];
    // Carried for SPIRE's sake; most entries have neither.
    pairs.extend(entry.admin.then(|| ("admin", "yes".into())));
    pairs.extend(entry.downstream.then(|| ("downstream", "yes".into())));
    print.pairs(pairs.into_iter().filter(|(_, value)| !value.is_empty()))
}
