//! How far the database had come when a change was last acknowledged: the file `dayfly.mark` beside it.
//!
//! SQLite leaves out what is damaged in its log of changes, and all that follows, as if it had never been written. So
//! each transaction that changes something counts, inside the database; the count is also noted here, behind the commit
//! and before anybody hears of it. A database that has a smaller count than its mark has lost what was acknowledged.
//!
//! The mark is never ahead of the disk, whenever the daemon is killed. It is not synced: after a power failure it may
//! be behind, and then it sees less. It says nothing about what was changed by hand, or lost together with it.

use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::{FileExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use aws_lc_rs::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};

/// A database that is older than what was acknowledged. It stays one until somebody removes the mark.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Behind {
    /// How many changes were acknowledged.
    pub(crate) acknowledged: u64,
    /// How many of them the database had when that was found out.
    pub(crate) found: u64,
    /// The file that remembers it.
    pub(crate) mark: PathBuf,
}

/// The mark of an open database.
#[derive(Debug)]
pub(super) struct Mark {
    path: PathBuf,
    /// `None` where there is none yet, or can be none; the latter is said once.
    file: Option<File>,
    /// How many changes the database had when it was opened.
    count: u64,
    behind: Option<Behind>,
}

#[derive(Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Noted {
    acknowledged: u64,
    /// What was acknowledged and what was found, when the database was first found to be older.
    behind: Option<(u64, u64)>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    noted: Noted,
    /// Of `noted`: what was damaged is no claim.
    sum: u64,
}

impl Mark {
    /// Compares a database that has `count` with what was noted of it. Of a fresh one nothing was. Nothing is written
    /// before [`Mark::begin`]: a database that is refused after all has no part in what its mark says.
    pub(super) fn compare(state: &Path, count: u64, is_fresh: bool) -> Self {
        let path = path(state);
        // What cannot be opened now is tried once more, and told, when it is to be written.
        let file = options().open(&path).ok();
        let noted = file.as_ref().filter(|_| !is_fresh).and_then(|file| read(file, &path));
        let behind = match noted {
            Some(Noted { acknowledged, behind }) if count < acknowledged => behind.or(Some((acknowledged, count))),
            Some(Noted { behind, .. }) => behind,
            None => None,
        };
        let behind = behind.map(|(acknowledged, found)| Behind { acknowledged, found, mark: path.clone() });
        Self { path, file, count, behind }
    }

    /// Begins to note, and says what was found out. Where no mark can be kept the database is used all the same: it
    /// only looks after what should never happen.
    pub(super) fn begin(&mut self) {
        if let Some(Behind { acknowledged, found, mark }) = &self.behind {
            tracing::error!(
                acknowledged,
                found,
                mark = %mark.display(),
                "database is older than what was acknowledged: changes are lost"
            );
        }
        if self.file.is_none() {
            self.file = options().create(true).open(&self.path).inspect_err(not_kept).ok();
        }
        self.note(self.count);
        if self.behind.is_some()
            && let Some(Err(error)) = self.file.as_ref().map(File::sync_all)
        {
            not_kept(&error);
        }
    }

    /// What it has found out.
    pub(super) fn behind(&self) -> Option<&Behind> {
        self.behind.as_ref()
    }

    /// Notes that so many changes are on the disk, and will be acknowledged.
    pub(super) fn note(&mut self, acknowledged: u64) {
        let behind = self.behind.as_ref().map(|behind| (behind.acknowledged, behind.found));
        let written = self.file.as_ref().map(|file| write(file, Noted { acknowledged, behind }));
        if let Some(Err(error)) = written {
            not_kept(&error);
            self.file = None;
        }
    }
}

/// Where it is.
pub(super) fn path(state: &Path) -> PathBuf {
    state.join("dayfly.mark")
}

fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(0o600).custom_flags(libc::O_NOFOLLOW | libc::O_CLOEXEC | libc::O_NONBLOCK);
    options
}

fn not_kept(error: &io::Error) {
    tracing::warn!(%error, "no mark is kept beside the database: a loss of acknowledged changes would not be seen");
}

fn read(file: &File, path: &Path) -> Option<Noted> {
    let mut text = [b' '; BYTES];
    let length = file.read_at(&mut text, 0).inspect_err(not_kept).ok()?;
    let text = text.get(..length).unwrap_or_default();
    // One that was just made.
    if text.is_empty() {
        return None;
    }
    let written = serde_json::from_slice(text).ok().filter(|Written { noted, sum }| sum_of(*noted) == *sum);
    if written.is_none() {
        tracing::warn!(mark = %path.display(), "mark beside the database is damaged; it is begun anew");
    }
    written.map(|Written { noted, .. }| noted)
}

/// Always the same length and within one sector, so it is torn by nothing.
fn write(file: &File, noted: Noted) -> io::Result<()> {
    let mut text = serde_json::to_vec(&Written { noted, sum: sum_of(noted) })?;
    text.resize(BYTES - 1, b' ');
    text.push(b'\n');
    file.write_all_at(&text, 0)
}

fn sum_of(Noted { acknowledged, behind }: Noted) -> u64 {
    let text = format!("{acknowledged} {behind:?}");
    let digest = digest(&SHA256, text.as_bytes());
    digest.as_ref().iter().take(8).fold(0, |sum, byte| sum << 8 | u64::from(*byte))
}

const BYTES: usize = 256;
