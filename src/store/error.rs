//! Why something is not stored, or cannot be read.

use std::{io, path::PathBuf};

use rusqlite::ErrorCode;

/// How opening, reading or writing the database fails. After a failed write nothing was changed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// Keys without the database that says what they are for.
    #[error(
        "{} is missing, and there are keys beside it: restore it from a backup, or move the keys away to begin with a new CA",
        path.display()
    )]
    DatabaseMissing { path: PathBuf },
    /// The same, with an empty file where the database was.
    #[error(
        "{} is empty, and there are keys beside it: restore it from a backup, or move the keys away to begin with a new CA",
        path.display()
    )]
    DatabaseEmpty { path: PathBuf },
    /// Another process uses it.
    #[error("the database is locked by another process")]
    Locked,
    /// Its bytes are damaged.
    #[error("the database is corrupt ({0}): restore it from a backup")]
    Corrupt(String),
    /// A later version of this program wrote it.
    #[error("the database has version {found}, and this program knows up to {known}: use the newer program")]
    Newer { found: i64, known: i64 },
    /// It is not this program's.
    #[error("{} is not a database of this program", path.display())]
    Foreign { path: PathBuf },
    /// It was made for another trust domain.
    #[error("the state belongs to the trust domain {found}, not to {configured}: a trust domain cannot be changed")]
    OtherTrustDomain { found: String, configured: String },
    /// A row is not what this program writes.
    #[error("row {id} in the table {table} is not understood: {why}")]
    Row { table: &'static str, id: String, why: String },
    /// The disk is full.
    #[error("the disk is full")]
    Full,
    /// More changes wait than there is room for.
    #[error("too many changes wait for the disk")]
    Busy,
    /// The writer has ended.
    #[error("the database is closed")]
    Gone,
    /// The file could not be made.
    #[error("{} cannot be opened", path.display())]
    Io { path: PathBuf, source: io::Error },
    /// The database said no.
    #[error("the database failed")]
    Sqlite(#[source] rusqlite::Error),
}

impl From<rusqlite::Error> for Error {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::Locked,
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Self::Corrupt(error.to_string()),
            Some(ErrorCode::DiskFull) => Self::Full,
            _ => Self::Sqlite(error),
        }
    }
}
