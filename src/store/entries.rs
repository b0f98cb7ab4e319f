//! Entries as rows. What is read goes through the same checks as what an operator writes.

use rusqlite::{Connection, Row};

use crate::{
    registry::{Change, Draft, Entry, EntryId},
    spiffe::TrustDomain,
};

use super::{
    Error,
    authorities::{nanos_of, time_of},
};

/// All of them, in no order. One that does not pass today's checks is left out, and said: it takes nothing from the
/// others.
pub(super) fn load(connection: &Connection, own: &TrustDomain) -> rusqlite::Result<Vec<Entry>> {
    let count: i64 = connection.query_row("SELECT count(*) FROM entry", [], |row| row.get(0))?;
    let mut entries = Vec::with_capacity(usize::try_from(count).unwrap_or_default());
    let mut statement = connection.prepare(&format!("SELECT {COLUMNS} FROM entry"))?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        match read(row, own)? {
            Ok(entry) => entries.push(entry),
            Err((id, problem)) => tracing::error!(entry = id, problem, "an entry in the database is left out"),
        }
    }
    Ok(entries)
}

fn read(row: &Row<'_>, own: &TrustDomain) -> rusqlite::Result<Result<Entry, (String, String)>> {
    let id = row.get_ref(0)?.as_str()?;
    let list = |at: usize| -> rusqlite::Result<Option<Vec<String>>> {
        Ok(serde_json::from_str(row.get_ref(at)?.as_str()?).ok())
    };
    let (Some(selectors), Some(dns_names), Some(federates_with)) = (list(2)?, list(5)?, list(7)?) else {
        return Ok(Err((id.to_owned(), "a list is none".to_owned())));
    };
    let draft = Draft {
        spiffe_id: row.get(1)?,
        selectors,
        x509_ttl_seconds: natural(row, 3)?,
        jwt_ttl_seconds: natural(row, 4)?,
        dns_names,
        hint: row.get(6)?,
        federates_with,
        admin: row.get(8)?,
        downstream: row.get(9)?,
        expires_at: natural(row, 10)?,
    };
    let (revision, created_at) = (natural(row, 11)?, time_of(row.get(12)?));
    let entry_id = match id.parse::<EntryId>() {
        Ok(entry_id) => entry_id,
        Err(error) => return Ok(Err((id.to_owned(), error.to_string()))),
    };
    Ok(match draft.check(own) {
        Ok(spec) => Ok(Entry { id: entry_id, spec, revision, created_at }),
        Err(problems) => Err((id.to_owned(), problems.to_string())),
    })
}

/// Makes changes in their order, and the registry's next revision. Inside a transaction of the caller's.
pub(super) fn commit(connection: &Connection, stored: u64, revision: u64, changes: &[Change]) -> Result<(), Error> {
    if revision <= stored {
        return Err(Error::Revision { stored, offered: revision });
    }
    for change in changes {
        let (id, changed) = match change {
            Change::Create(entry) => (&entry.id, write(connection, INSERT, entry)),
            Change::Update(entry) => (&entry.id, write(connection, UPDATE, entry)),
            Change::Delete(id) => (id, delete(connection, id)),
        };
        if changed.map_err(Error::of_change)? != 1 {
            return Err(Error::Entry(id.clone()));
        }
    }
    connection
        .prepare_cached("UPDATE meta SET value = ?1 WHERE key = 'registry_revision'")
        .and_then(|mut statement| statement.execute([revision.to_string()]))
        .map(drop)
        .map_err(Error::of_change)
}

fn write(connection: &Connection, sql: &str, entry: &Entry) -> rusqlite::Result<usize> {
    let Draft {
        spiffe_id,
        selectors,
        x509_ttl_seconds,
        jwt_ttl_seconds,
        dns_names,
        hint,
        federates_with,
        admin,
        downstream,
        expires_at,
    } = Draft::from(&entry.spec);
    connection.prepare_cached(sql)?.execute(rusqlite::params![
        entry.id.to_string(),
        spiffe_id,
        json(&selectors),
        integer(x509_ttl_seconds),
        integer(jwt_ttl_seconds),
        json(&dns_names),
        hint,
        json(&federates_with),
        admin,
        downstream,
        integer(expires_at),
        integer(entry.revision),
        nanos_of(entry.created_at),
    ])
}

fn delete(connection: &Connection, id: &EntryId) -> rusqlite::Result<usize> {
    connection.prepare_cached("DELETE FROM entry WHERE id = ?1")?.execute([id.to_string()])
}

/// SQLite's integers are signed.
fn natural(row: &Row<'_>, at: usize) -> rusqlite::Result<u64> {
    let value: i64 = row.get(at)?;
    u64::try_from(value).map_err(|_| rusqlite::Error::IntegralValueOutOfRange(at, value))
}

/// What an entry counts is below 2⁶³.
fn integer(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// A list of texts is JSON whatever they are.
fn json(texts: &[String]) -> String {
    serde_json::to_string(texts).unwrap_or_default()
}

const COLUMNS: &str = "id, spiffe_id, selectors, x509_ttl_seconds, jwt_ttl_seconds, dns_names, hint, federates_with, \
                       admin, downstream, expires_at, revision, created_at_nanos";

/// A taken id changes nothing.
const INSERT: &str = "INSERT INTO entry (id, spiffe_id, selectors, x509_ttl_seconds, jwt_ttl_seconds, dns_names, hint, \
                      federates_with, admin, downstream, expires_at, revision, created_at_nanos) \
                      VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13) ON CONFLICT (id) DO NOTHING";

const UPDATE: &str = "UPDATE entry SET spiffe_id = ?2, selectors = ?3, x509_ttl_seconds = ?4, jwt_ttl_seconds = ?5, \
                      dns_names = ?6, hint = ?7, federates_with = ?8, admin = ?9, downstream = ?10, expires_at = ?11, \
                      revision = ?12, created_at_nanos = ?13 WHERE id = ?1";
