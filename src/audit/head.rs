//! How far the log had come when it was last on the disk: the file `head`, which is also the log's lock.
//!
//! It is written after the segment was synced and never synced itself, so it is never ahead of what is on the disk.
//! Records that it knows of and that are not there were taken away.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io,
    os::unix::fs::{FileExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::{
    Error,
    chain::{Hash, Link},
    segment,
};

/// A place in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    /// The segment's number.
    pub(super) segment: u64,
    /// How many of its bytes are on the disk; a line ends there.
    pub(super) offset: u64,
    /// The end of the chain there.
    pub(super) link: Link,
}

/// The open and locked file.
#[derive(Debug)]
pub(super) struct Head {
    file: File,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    segment: u64,
    offset: u64,
    seq: u64,
    hash: String,
}

impl Drop for Head {
    /// A process that was forked meanwhile may hold the same file until it execs; the lock is not its.
    fn drop(&mut self) {
        self.file.unlock().ok();
    }
}

impl Head {
    /// Opens or makes the file and locks it; says what it knows.
    pub(super) fn open(dir: &Path) -> Result<(Self, Option<Mark>), Error> {
        let path = path(dir);
        if !is_file_or_absent(&path).map_err(Error::io(&path, "read"))? {
            // As if it were missing, which the log says of itself. One daemon is kept from another's log by the lock of
            // its state, too.
            segment::set_aside(&path).map_err(Error::io(&path, "renamed"))?;
        }
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags(libc::O_NOFOLLOW | libc::O_CLOEXEC)
            .open(&path)
            .map_err(Error::io(&path, "opened"))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(Error::InUse { dir: dir.to_owned() }),
            Err(TryLockError::Error(source)) => return Err(Error::io(&path, "locked")(source)),
        }
        let mark = parse(&file).map_err(Error::io(&path, "read"))?;
        Ok((Self { file }, mark))
    }

    /// Says that there is nothing yet, before the first segment is made: from then on a log without a head was
    /// tampered with.
    pub(super) fn begin(&self) -> io::Result<()> {
        self.write(&Mark { segment: 0, offset: 0, link: Link::START })?;
        self.file.sync_all()
    }

    /// Notes how far the log is on the disk. Always the same length and within one sector, so it is torn by nothing.
    pub(super) fn write(&self, mark: &Mark) -> io::Result<()> {
        let Mark { segment, offset, link } = *mark;
        let written = Written { segment, offset, seq: link.seq, hash: link.hash.to_string() };
        let mut text = serde_json::to_vec(&written)?;
        text.resize(BYTES - 1, b' ');
        text.push(b'\n');
        self.file.write_all_at(&text, 0)
    }
}

/// What the file knows, for those who only read the log; `None` when there is none, or something else in its place.
pub(super) fn read(dir: &Path) -> io::Result<Option<Mark>> {
    let path = path(dir);
    if !is_file_or_absent(&path)? {
        return Ok(None);
    }
    match File::open(path) {
        Ok(file) => parse(&file),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// A folder, a link or a pipe may be there: nobody is to follow it or wait for it.
fn is_file_or_absent(path: &Path) -> io::Result<bool> {
    match fs::symlink_metadata(path) {
        Ok(meta) => Ok(meta.is_file()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
        Err(error) => Err(error),
    }
}

/// Anything that is not what [`Head::write`] wrote counts as nothing.
fn parse(file: &File) -> io::Result<Option<Mark>> {
    let mut text = [b' '; BYTES];
    let length = file.read_at(&mut text, 0)?;
    let text = text.get(..length).unwrap_or_default();
    let Ok(Written { segment, offset, seq, hash }) = serde_json::from_slice(text) else { return Ok(None) };
    Ok(Hash::parse(hash.as_bytes()).map(|hash| Mark { segment, offset, link: Link { seq, hash } }))
}

fn path(dir: &Path) -> PathBuf {
    dir.join("head")
}

const BYTES: usize = 256;
