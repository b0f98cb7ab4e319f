//! The database's file and its tables, version by version.

use std::{fs::OpenOptions, os::unix::fs::OpenOptionsExt as _, path::Path, time::Duration};

use rusqlite::{Connection, OpenFlags, OptionalExtension as _};

use super::Error;
use crate::spiffe::TrustDomain;

/// `dfly`, in the database's header: so that no other program's file is taken for ours.
const APPLICATION_ID: i64 = 0x6466_6C79;
/// One step for each version; the last one is what this program writes.
const STEPS: [&str; 1] = ["
    CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID, STRICT;
    CREATE TABLE entries (
        id TEXT PRIMARY KEY,
        spec TEXT NOT NULL,
        revision INTEGER NOT NULL,
        created_at INTEGER NOT NULL
    ) WITHOUT ROWID, STRICT;
    CREATE TABLE authorities (
        id TEXT PRIMARY KEY,
        kind TEXT NOT NULL,
        slot TEXT NOT NULL,
        algorithm TEXT NOT NULL,
        certificate BLOB NOT NULL,
        changed_at INTEGER NOT NULL
    ) WITHOUT ROWID, STRICT;
"];
/// How long another process may hold the database before it counts as locked.
const LOCK_WAIT: Duration = Duration::from_secs(2);

/// Opens the database, or makes it, and brings it to this program's version. With keys beside it, one that is empty has
/// lost what was in it: the database is whole before the first key is written.
pub(super) fn open(path: &Path, trust_domain: &TrustDomain, has_keys: bool) -> Result<Connection, Error> {
    // SQLite gives its other files the mode of this one.
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(libc::O_NOFOLLOW | libc::O_CLOEXEC)
        .open(path)
        .map_err(|source| Error::Io { path: path.to_owned(), source })?;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_NOFOLLOW;
    let mut connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(LOCK_WAIT)?;
    // One process, so no shared memory; a checkpoint is run between groups, never within a change.
    connection.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "wal_autocheckpoint", 0)?;
    connection.pragma_update(None, "trusted_schema", "OFF")?;
    let found: String = connection.pragma_query_value(None, "quick_check", |row| row.get(0))?;
    if found != "ok" {
        return Err(Error::Corrupt(found));
    }
    migrate(&mut connection, path, trust_domain, has_keys)?;
    check_trust_domain(&connection, trust_domain)?;
    Ok(connection)
}

fn migrate(connection: &mut Connection, path: &Path, domain: &TrustDomain, has_keys: bool) -> Result<(), Error> {
    let known = i64::try_from(STEPS.len()).unwrap_or(i64::MAX);
    let found: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let application: i64 = connection.pragma_query_value(None, "application_id", |row| row.get(0))?;
    let tables: i64 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    if application != APPLICATION_ID && (application != 0 || tables != 0) {
        return Err(Error::Foreign { path: path.to_owned() });
    }
    if found > known {
        return Err(Error::Newer { found, known });
    }
    if found == 0 && has_keys {
        return Err(Error::DatabaseEmpty { path: path.to_owned() });
    }
    for (version, step) in STEPS.iter().enumerate().skip(usize::try_from(found).unwrap_or(0)) {
        let transaction = connection.transaction()?;
        transaction.execute_batch(step)?;
        if version == 0 {
            transaction.execute("INSERT INTO meta VALUES ('trust_domain', ?1)", [domain.as_str()])?;
            transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
        }
        transaction.pragma_update(None, "user_version", i64::try_from(version + 1).unwrap_or(known))?;
        transaction.commit()?;
    }
    Ok(())
}

fn check_trust_domain(connection: &Connection, configured: &TrustDomain) -> Result<(), Error> {
    let found: Option<String> =
        connection.query_row("SELECT value FROM meta WHERE key = 'trust_domain'", [], |row| row.get(0)).optional()?;
    match found {
        Some(found) if found == configured.as_str() => Ok(()),
        found => Err(Error::OtherTrustDomain { found: found.unwrap_or_default(), configured: configured.to_string() }),
    }
}
