//! What lies beside the database: keys, and the audit log. Only names are looked at; what is in the files is for
//! others.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use crate::sys::files;

use super::{AuthorityRow, Error};

/// Where the keys are.
pub(super) fn dir(state: &Path) -> PathBuf {
    state.join("keys")
}

/// Where the audit log is.
pub(super) fn log_dir(state: &Path) -> PathBuf {
    state.join("audit")
}

/// How many keys there are.
pub(super) fn count(state: &Path) -> Result<usize, Error> {
    count_in(dir(state), "key")
}

/// How many segments the audit log has.
pub(super) fn segments(state: &Path) -> Result<usize, Error> {
    count_in(log_dir(state), "jsonl")
}

fn count_in(dir: PathBuf, kind: &str) -> Result<usize, Error> {
    let failed = |source| Error::Dir(files::Error::Io { path: dir.clone(), verb: "read", source });
    let listing = match fs::read_dir(&dir) {
        Ok(listing) => listing,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        Err(error) => return Err(failed(error)),
    };
    let mut count = 0;
    for file in listing {
        let path = file.map_err(failed)?.path();
        count += usize::from(path.extension().is_some_and(|extension| extension == kind));
    }
    Ok(count)
}

/// The ids of authorities whose key is not there.
pub(super) fn missing(state: &Path, rows: &[AuthorityRow]) -> Vec<String> {
    let dir = dir(state);
    let is_missing = |row: &&AuthorityRow| fs::symlink_metadata(dir.join(format!("{}.key", row.id))).is_err();
    rows.iter().filter(is_missing).map(|row| row.id.clone()).collect()
}
