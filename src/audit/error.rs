//! Why a record is not accepted, or the log cannot be used at all.

use std::{
    io,
    path::{Path, PathBuf},
};

use crate::sys::files;

use super::record::RECORD_BYTES_MAX;

/// Why a record is not accepted, or the log cannot be used at all.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The disk, or the daemon's share of it, is full. It heals when there is space.
    #[error("no space is left for the audit log in {}", dir.display())]
    Full { dir: PathBuf },
    /// A record that nobody should write.
    #[error("an audit record has {0} bytes, at most {RECORD_BYTES_MAX} are written")]
    TooLarge(usize),
    /// A record that is no JSON.
    #[error("an audit record cannot be encoded")]
    Encode(#[source] serde_json::Error),
    /// Another daemon writes this log.
    #[error("the audit log in {} is in use by another process", dir.display())]
    InUse { dir: PathBuf },
    /// Where the log ends cannot be told.
    #[error("the audit log's last segment {} is damaged and there is no head beside it", path.display())]
    Damaged { path: PathBuf },
    /// The folder is not as it must be.
    #[error("the audit folder cannot be used")]
    Dir(#[from] files::Error),
    /// The key of the checkpoints is none.
    #[error("{} is not the key that the audit log is signed with", path.display())]
    Key { path: PathBuf },
    /// The crypto library signs nothing.
    #[error("a checkpoint of the audit log cannot be signed")]
    Sign,
    /// The system said no.
    #[error("{} cannot be {verb}", path.display())]
    Io { path: PathBuf, verb: &'static str, source: io::Error },
    /// The disk did not take what was written last. It heals when it does.
    #[error("the disk does not take the audit log")]
    Failing,
    /// The disk does not answer: strict durability was asked for, and the record may or may not last.
    #[error("the disk did not confirm an audit record within {seconds} s")]
    Slow { seconds: u64 },
    /// The daemon is ending.
    #[error("the audit log is closed")]
    Closed,
}

impl Error {
    /// What a private file said.
    pub(super) fn of_file(error: files::Error) -> Self {
        match error {
            files::Error::Io { path, verb, source } => Self::io(&path, verb)(source),
            error => Self::Dir(error),
        }
    }

    pub(super) fn io(path: &Path, verb: &'static str) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| match is_full(&source) {
            true => Self::Full { dir: path.parent().map(Path::to_owned).unwrap_or(path) },
            false => Self::Io { path, verb, source },
        }
    }
}

/// Whether this is about space: of the disk, of the user's share, or of one file.
fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge)
}
