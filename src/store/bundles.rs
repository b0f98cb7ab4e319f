//! Foreign bundles as rows: one document for each trust domain, with a sum over everything in the row.

use std::time::SystemTime;

use aws_lc_rs::digest::{Context, SHA256};
use rusqlite::{Connection, Row};

use crate::spiffe::TrustDomain;

use super::{
    authorities::{nanos_of, time_of},
    entries::{SUM_BYTES, integer, natural},
};

/// The bundle document of one foreign trust domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BundleRow {
    /// Whose keys they are; the document does not say.
    pub(crate) trust_domain: TrustDomain,
    /// JSON, byte for byte as it was given to be kept.
    pub(crate) document: Vec<u8>,
    /// Counts its changes, from 1.
    pub(crate) revision: u64,
    /// When it was changed last.
    pub(crate) changed_at: SystemTime,
}

/// All rows by their names, and how many were left out: a row that is not as it was written is said, and takes nothing
/// from the others.
pub(super) fn load(connection: &Connection) -> rusqlite::Result<(Vec<BundleRow>, usize)> {
    let select = "SELECT trust_domain, document, revision, changed_at_nanos, sum FROM foreign_bundle \
                  ORDER BY trust_domain";
    let mut statement = connection.prepare(select)?;
    let rows = statement.query_map([], raw)?.collect::<rusqlite::Result<Vec<_>>>()?;
    let all = rows.len();
    let checked = rows.into_iter().filter_map(|(name, row, written_sum)| match row {
        Some(row) if row.sum() == written_sum => Some(row),
        _ => {
            tracing::error!(
                trust_domain = name,
                problem = "it is not as it was written",
                "a foreign bundle in the database is left out"
            );
            None
        }
    });
    let checked: Vec<_> = checked.collect();
    let left_out = all.saturating_sub(checked.len());
    Ok((checked, left_out))
}

/// Puts a row in the place of the one with its name, or beside the others.
pub(super) fn save(connection: &Connection, row: &BundleRow) -> rusqlite::Result<()> {
    let upsert = "INSERT INTO foreign_bundle (trust_domain, document, revision, changed_at_nanos, sum) \
                  VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT (trust_domain) DO UPDATE SET document = excluded.document, \
                  revision = excluded.revision, changed_at_nanos = excluded.changed_at_nanos, sum = excluded.sum";
    let BundleRow { trust_domain, document, revision, changed_at } = row;
    let values = (trust_domain.as_str(), document, integer(*revision), nanos_of(*changed_at), row.sum());
    connection.prepare_cached(upsert)?.execute(values).map(drop)
}

/// Takes one out. One that is not there is gone already.
pub(super) fn remove(connection: &Connection, trust_domain: &TrustDomain) -> rusqlite::Result<()> {
    let delete = "DELETE FROM foreign_bundle WHERE trust_domain = ?1";
    connection.prepare_cached(delete)?.execute([trust_domain.as_str()]).map(drop)
}

/// The name as it is written, the row where the name is one, and the sum that was written beside it.
fn raw(row: &Row<'_>) -> rusqlite::Result<(String, Option<BundleRow>, Vec<u8>)> {
    let name: String = row.get(0)?;
    let (document, revision, changed_at) = (row.get(1)?, natural(row, 2)?, time_of(row.get(3)?));
    let bundle = TrustDomain::parse(&name).ok();
    let bundle = bundle.map(|trust_domain| BundleRow { trust_domain, document, revision, changed_at });
    Ok((name, bundle, row.get(4)?))
}

impl BundleRow {
    /// The first 16 bytes of a SHA-256 over everything in the row, each text with its length before it.
    fn sum(&self) -> Vec<u8> {
        let mut context = Context::new(&SHA256);
        for text in [self.trust_domain.as_str().as_bytes(), &self.document] {
            context.update(&u64::try_from(text.len()).unwrap_or(u64::MAX).to_be_bytes());
            context.update(text);
        }
        for number in [integer(self.revision), nanos_of(self.changed_at)] {
            context.update(&number.to_be_bytes());
        }
        context.finish().as_ref().get(..SUM_BYTES).unwrap_or_default().to_vec()
    }
}
