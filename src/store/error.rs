//! Why the database cannot be used, or a change was not made.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use rusqlite::ErrorCode;

use crate::{
    registry::{EntryId, ItemId, RevokedId},
    spiffe::{IdError, TrustDomain},
    sys::files,
};

/// Why the database cannot be used, or a change was not made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The folder is not as it must be.
    #[error("the state folder cannot be used")]
    Dir(#[from] files::Error),
    /// Another process has it.
    #[error("the database {} is in use by another process", path.display())]
    Locked { path: PathBuf },
    /// It is not what was written.
    #[error("the database {} is damaged ({what})", path.display())]
    Corrupt { path: PathBuf, what: String },
    /// It is some other program's.
    #[error("{} is not a database of this program's", path.display())]
    NotOurs { path: PathBuf },
    /// Nothing was ever written to it, or all of it was taken away.
    #[error("the database {} is empty", path.display())]
    Empty { path: PathBuf },
    /// A later release has written it.
    #[error("the database {} has schema {found}, and this release knows no later one than {known}", path.display())]
    Newer { path: PathBuf, found: u32, known: u32 },
    /// Keys without what says what they are for. A new database would mean a new authority.
    #[error("the database {} is missing, but {} holds {keys} of its keys", path.display(), dir.display())]
    MissingBesideKeys { path: PathBuf, dir: PathBuf, keys: usize },
    /// A log of what an authority did, and nothing of the authority itself. A new database would mean a new one.
    #[error("the database {} is missing, and the keys in {}, but the audit log {} tells of an earlier authority", path.display(), keys.display(), log.display())]
    MissingBesideLog { path: PathBuf, keys: PathBuf, log: PathBuf },
    /// Authorities without their keys.
    #[error("the database {} knows authorities whose keys are missing: {}", path.display(), missing.join(", "))]
    KeysMissingBesideDatabase { path: PathBuf, missing: Vec<String> },
    /// It belongs to another trust domain.
    #[error("the database {} belongs to the trust domain {found}, not to {configured}: a trust domain cannot be changed", path.display())]
    ForeignTrustDomain { path: PathBuf, found: String, configured: TrustDomain },
    /// The trust domain that is written in it is none.
    #[error("the database {} names no trust domain", path.display())]
    NoTrustDomain { path: PathBuf, source: IdError },
    /// No space. It heals when there is some.
    #[error("no space is left for the database; nothing was changed")]
    Full,
    /// The disk or the file system said no. It heals when it does not.
    #[error("the database cannot be written; nothing was changed")]
    Io(#[source] Arc<rusqlite::Error>),
    /// A change of an entry that is not there, or a new one with a taken id: the registry and the database differ.
    #[error("the entry {0} is not as the change takes it to be; nothing was changed")]
    Entry(EntryId),
    /// An agent, tool or grant that is to go and is not there: the registry and the database differ.
    #[error("the {0} is not as the change takes it to be; nothing was changed")]
    Item(ItemId),
    /// A revocation that is to go and is not there: the registry and the database differ.
    #[error("the revoked {0} is not as the change takes it to be; nothing was changed")]
    Revoked(RevokedId),
    /// A change from a registry that is not the one in the database.
    #[error("the database has the registry's revision {stored}, so {offered} cannot follow; nothing was changed")]
    Revision { stored: u64, offered: u64 },
    /// A rule of the schema.
    #[error("the change breaks a rule of the database; nothing was changed")]
    Rule(#[source] Arc<rusqlite::Error>),
    /// A bug of ours.
    #[error("the database did not understand the change; nothing was changed")]
    Statement(#[source] Arc<rusqlite::Error>),
    /// More changes wait than are kept.
    #[error("too many changes wait for the disk; nothing was changed")]
    Overloaded,
    /// The change never came to be written.
    #[error("the database was busy for {seconds} s; nothing was changed")]
    TimedOut { seconds: u64 },
    /// The disk does not answer in the middle of it. What is true is what [`Store::load`](super::Store::load) says.
    #[error("the disk did not confirm the change within {seconds} s; it may or may not have been made")]
    Unconfirmed { seconds: u64 },
    /// The daemon is ending.
    #[error("the database is closed")]
    Closed,
}

impl Error {
    /// What SQLite says about a change, in our words.
    pub(super) fn of_change(error: rusqlite::Error) -> Self {
        let code = error.sqlite_error_code();
        let error = Arc::new(error);
        match code {
            Some(ErrorCode::DiskFull) => Self::Full,
            Some(ErrorCode::ConstraintViolation) => Self::Rule(error),
            Some(
                ErrorCode::SystemIoFailure
                | ErrorCode::CannotOpen
                | ErrorCode::ReadOnly
                | ErrorCode::PermissionDenied
                | ErrorCode::DatabaseCorrupt
                | ErrorCode::NotADatabase
                | ErrorCode::DatabaseBusy
                | ErrorCode::DatabaseLocked
                | ErrorCode::OutOfMemory
                | ErrorCode::FileLockingProtocolFailed,
            ) => Self::Io(error),
            _ => Self::Statement(error),
        }
    }

    /// The same for everybody whose change was in the same transaction.
    pub(super) fn share(&self) -> Self {
        match self {
            Self::Full => Self::Full,
            Self::Rule(error) => Self::Rule(error.clone()),
            Self::Io(error) => Self::Io(error.clone()),
            Self::Statement(error) => Self::Statement(error.clone()),
            // No other fault is a transaction's.
            _ => Self::Closed,
        }
    }

    /// What SQLite says when the database is opened or read.
    pub(super) fn of_file(path: &Path) -> impl Fn(rusqlite::Error) -> Self {
        let path = path.to_owned();
        move |error| match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::Locked { path: path.clone() },
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
                Self::Corrupt { path: path.clone(), what: error.to_string() }
            }
            Some(_) => Self::of_change(error),
            // A column that is not what the schema says.
            None => Self::Corrupt { path: path.clone(), what: error.to_string() },
        }
    }
}
