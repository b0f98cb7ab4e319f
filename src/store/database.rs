//! The file: opened with everything that could be wrong with it looked at first. Nothing is written to a database that
//! is refused.

use std::{
    fs::{self, OpenOptions},
    io,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use rusqlite::{Connection, OpenFlags, OptionalExtension as _};

use crate::{spiffe::TrustDomain, sys::files};

use super::{Error, keys, schema};

/// How long a database that another process holds is waited for: one that was killed lets go at once.
const LOCK_WAIT: Duration = Duration::from_secs(1);

/// Where the database is.
pub(super) fn path(state: &Path) -> PathBuf {
    state.join("dayfly.db")
}

/// A database that was opened.
pub(super) struct Opened {
    pub(super) connection: Connection,
    /// Whether it was made now.
    pub(super) is_fresh: bool,
}

/// Opens the database of a trust domain, or makes it where nothing was before. Its pages are for the caller to check
/// ([`check_integrity`]) before anything is written.
pub(super) fn open(state: &Path, trust_domain: &TrustDomain) -> Result<Opened, Error> {
    files::create_private_dir(state)?;
    let path = path(state);
    let failed = Error::of_file(&path);
    let is_new = fs::metadata(&path).map_or(true, |meta| meta.len() == 0);
    if is_new {
        refuse_beside_others(state, &path)?;
        create(&path)?;
    }
    files::check_writable(&path)?;
    for file in [&path, &path.with_extension("db-wal")] {
        // A restored backup often is. SQLite gives the files beside it the database's own mode.
        if files::close_to_others(file)? {
            tracing::warn!(path = %file.display(), "others had rights on this file; it has mode 0600 now");
        }
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_EXRESCODE;
    let mut connection = Connection::open_with_flags(&path, flags).map_err(&failed)?;
    connection.busy_timeout(LOCK_WAIT).map_err(&failed)?;
    // Held from the first look on, so there is one daemon for each database; and no memory is shared with others.
    connection.pragma_update(None, "locking_mode", "EXCLUSIVE").map_err(&failed)?;
    let version = check_kind(&connection, &path)?;
    if version == 0 {
        // A start that ended before the first write leaves a file with nothing in it.
        refuse_beside_others(state, &path)?;
    } else {
        check_trust_domain(&connection, &path, trust_domain)?;
    }
    connection.pragma_update(None, "journal_mode", "WAL").map_err(&failed)?;
    connection.pragma_update(None, "synchronous", "FULL").map_err(&failed)?;
    connection.pragma_update(None, "foreign_keys", true).map_err(&failed)?;
    connection.pragma_update(None, "trusted_schema", false).map_err(&failed)?;
    // The writer does it, when nobody waits.
    connection.pragma_update(None, "wal_autocheckpoint", 0).map_err(&failed)?;
    if version < schema::version() {
        check_integrity(&connection, &path)?;
        schema::migrate(&mut connection, version, trust_domain).map_err(&failed)?;
    }
    if is_new {
        files::sync_dir(state)?;
    }
    Ok(Opened { connection, is_fresh: version == 0 })
}

/// Mode 0600 from the first moment on; SQLite gives the files beside it the same.
fn create(path: &Path) -> Result<(), Error> {
    let created = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path);
    created.map(drop).map_err(|source| match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Error::Full,
        _ => Error::Dir(files::Error::Io { path: path.to_owned(), verb: "created", source }),
    })
}

fn refuse_beside_others(state: &Path, path: &Path) -> Result<(), Error> {
    let path = path.to_owned();
    // The database is made before the first key and before the log.
    match (keys::count(state)?, keys::segments(state)?) {
        (0, 0) => Ok(()),
        (0, _) => Err(Error::MissingBesideLog { path, keys: keys::dir(state), log: keys::log_dir(state) }),
        (keys, _) => Err(Error::MissingBesideKeys { path, dir: keys::dir(state), keys }),
    }
}

/// The schema's version; 0 for a database with nothing in it.
fn check_kind(connection: &Connection, path: &Path) -> Result<u32, Error> {
    let failed = Error::of_file(path);
    let number = |pragma: &str| connection.pragma_query_value(None, pragma, |row| row.get::<_, i64>(0));
    let found = number("user_version").map_err(&failed)?;
    let application = number("application_id").map_err(&failed)?;
    let tables: i64 =
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0)).map_err(&failed)?;
    let known = schema::version();
    match (u32::try_from(found), application, tables) {
        (Ok(0), 0, 0) => Ok(0),
        (Ok(found), application, _) if found > 0 && application == i64::from(schema::APPLICATION_ID) => {
            match found <= known {
                true => Ok(found),
                false => Err(Error::Newer { path: path.to_owned(), found, known }),
            }
        }
        _ => Err(Error::NotOurs { path: path.to_owned() }),
    }
}

/// Reads every page. What it finds is refused; the database is as it was.
pub(super) fn check_integrity(connection: &Connection, path: &Path) -> Result<(), Error> {
    let found: String =
        connection.pragma_query_value(None, "quick_check", |row| row.get(0)).map_err(Error::of_file(path))?;
    match found.as_str() {
        "ok" => Ok(()),
        _ => Err(Error::Corrupt { path: path.to_owned(), what: found }),
    }
}

fn check_trust_domain(connection: &Connection, path: &Path, configured: &TrustDomain) -> Result<(), Error> {
    let found = read_meta(connection, "trust_domain").map_err(Error::of_file(path))?.unwrap_or_default();
    let found = TrustDomain::parse(&found).map_err(|source| Error::NoTrustDomain { path: path.to_owned(), source })?;
    match found == *configured {
        true => Ok(()),
        false => Err(Error::ForeignTrustDomain {
            path: path.to_owned(),
            found: found.to_string(),
            configured: configured.clone(),
        }),
    }
}

/// How often the registry was changed.
pub(super) fn registry_revision(connection: &Connection) -> rusqlite::Result<u64> {
    let text = read_meta(connection, "registry_revision")?.unwrap_or_default();
    text.parse()
        .map_err(|error| rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Text, Box::new(error)))
}

/// Until when it is not known since when the entries of earlier releases are the same.
pub(super) fn entries_since(connection: &Connection) -> rusqlite::Result<SystemTime> {
    let text = read_meta(connection, "entries_since_seconds")?;
    let seconds = text.and_then(|text| text.parse().ok()).unwrap_or_default();
    Ok(SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds)).unwrap_or(SystemTime::UNIX_EPOCH))
}

/// How many transactions have changed something. Those of earlier releases were not counted.
pub(super) fn change_count(connection: &Connection) -> rusqlite::Result<u64> {
    let text = read_meta(connection, "changes")?;
    // A count that is none says nothing; it begins again.
    Ok(text.and_then(|text| text.parse().ok()).unwrap_or_default())
}

/// Counts one more, inside its transaction; answers the count.
pub(super) fn count_change(connection: &Connection) -> rusqlite::Result<u64> {
    let count = change_count(connection)?.saturating_add(1);
    let upsert = "INSERT INTO meta (key, value) VALUES ('changes', ?1) \
                  ON CONFLICT (key) DO UPDATE SET value = excluded.value";
    connection.prepare_cached(upsert)?.execute([count.to_string()]).map(|_| count)
}

/// The audit log's last checkpoint, as its room writes it.
pub(super) fn audit_checkpoint(connection: &Connection) -> rusqlite::Result<Option<String>> {
    read_meta(connection, "audit_checkpoint")
}

/// Puts it in the place of the one before.
pub(super) fn keep_audit_checkpoint(connection: &Connection, text: &str) -> rusqlite::Result<()> {
    let upsert = "INSERT INTO meta (key, value) VALUES ('audit_checkpoint', ?1) \
                  ON CONFLICT (key) DO UPDATE SET value = excluded.value";
    connection.prepare_cached(upsert)?.execute([text]).map(drop)
}

/// The audit log's last checkpoint, by somebody who is not the daemon.
pub(super) fn read_only(state: &Path) -> Result<Option<String>, Error> {
    let path = path(state);
    let failed = Error::of_file(&path);
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_EXRESCODE;
    let connection = Connection::open_with_flags(&path, flags).map_err(&failed)?;
    // A daemon that has it keeps it: there is nothing to wait for (rusqlite's default is five seconds).
    connection.busy_timeout(Duration::ZERO).map_err(&failed)?;
    match check_kind(&connection, &path)? {
        0 => Err(Error::Empty { path: path.clone() }),
        _ => audit_checkpoint(&connection).map_err(&failed),
    }
}

fn read_meta(connection: &Connection, key: &str) -> rusqlite::Result<Option<String>> {
    connection.query_row("SELECT value FROM meta WHERE key = ?1", [key], |row| row.get(0)).optional()
}
