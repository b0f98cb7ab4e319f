//! What was taken back, as rows, with a sum over everything in each.

use std::time::SystemTime;

use aws_lc_rs::digest::{Context, SHA256};
use rusqlite::Connection;

use crate::registry::{Revoked, RevokedId};

use super::{
    authorities::{nanos_of, time_of},
    entries::{SUM_BYTES, sum_text},
};

/// All rows, and how many were left out: a row that is not as it was written says no more what it took back.
pub(super) fn load(connection: &Connection) -> rusqlite::Result<(Vec<Revoked>, usize)> {
    let mut statement = connection.prepare("SELECT kind, name, at_nanos, until_nanos, sum FROM revocation")?;
    let mut rows = statement.query([])?;
    let (mut all, mut left_out) = (Vec::new(), 0);
    while let Some(row) = rows.next()? {
        let (kind, name, sum): (String, String, Vec<u8>) = (row.get(0)?, row.get(1)?, row.get(4)?);
        let (at, until) = (time_of(row.get(2)?), time_of(row.get(3)?));
        let until = Some(until).filter(|end| *end != SystemTime::UNIX_EPOCH);
        let revoked = RevokedId::parse(&kind, &name).map(|id| Revoked { id, at, until });
        match revoked.filter(|revoked| sum_of(revoked) == sum && is_whole(revoked)) {
            Some(revoked) => all.push(revoked),
            None => {
                let problem = "it is not as it was written";
                tracing::error!(kind, name, problem, "a revocation in the database is left out");
                left_out += 1;
            }
        }
    }
    Ok((all, left_out))
}

/// Puts a row in the place of the one with its name, or beside the others; answers how many rows that are.
pub(super) fn put(connection: &Connection, revoked: &Revoked) -> rusqlite::Result<usize> {
    let upsert = "INSERT INTO revocation (kind, name, at_nanos, until_nanos, sum) VALUES (?1, ?2, ?3, ?4, ?5) \
                  ON CONFLICT (kind, name) DO UPDATE SET at_nanos = excluded.at_nanos, \
                  until_nanos = excluded.until_nanos, sum = excluded.sum";
    let Revoked { id, at, until } = revoked;
    let values = (id.kind(), id.name(), nanos_of(*at), until.map_or(0, nanos_of), sum_of(revoked));
    connection.prepare_cached(upsert)?.execute(values)
}

/// Takes one out; answers how many rows that are.
pub(super) fn remove(connection: &Connection, id: &RevokedId) -> rusqlite::Result<usize> {
    let delete = "DELETE FROM revocation WHERE kind = ?1 AND name = ?2";
    connection.prepare_cached(delete)?.execute((id.kind(), id.name()))
}

/// The first 16 bytes of a SHA-256 over everything in the row, each text with its length before it.
fn sum_of(revoked: &Revoked) -> Vec<u8> {
    let mut context = Context::new(&SHA256);
    [revoked.id.kind(), &revoked.id.name()].into_iter().for_each(|text| sum_text(&mut context, text));
    for number in [nanos_of(revoked.at), revoked.until.map_or(0, nanos_of)] {
        context.update(&number.to_be_bytes());
    }
    context.finish().as_ref().get(..SUM_BYTES).unwrap_or_default().to_vec()
}

/// Tokens end, keys do not.
fn is_whole(revoked: &Revoked) -> bool {
    revoked.until.is_some() == matches!(revoked.id, RevokedId::Token(_))
}
