//! How the log is opened: where it ends, and what happened to it since it was last written.
//!
//! Only the last segment can have an end that is not whole (the others were synced before it was made), and only
//! behind what the head knows. That end is cut off, and the log says so. Everything else that is not as it was left is
//! left as it is, for `verify` to find: the log goes on in a new segment, with the numbers that come after those that
//! the head, or the last checkpoint that was kept elsewhere, knows of.
//!
//! The folder is not believed: where the log begins is what the last checkpoint says, and of records that none has
//! signed the log says that they are such before it signs them.

use std::{
    fs::{self, File},
    io::{BufRead as _, BufReader, Read as _, Seek as _, SeekFrom},
    path::Path,
    sync::Arc,
    time::SystemTime,
};

use crate::sys::files;

use super::{
    Error, Limits,
    chain::{self, Link},
    checkpoint::{Beginning, Checkpoint},
    head::{Head, Mark},
    header::{LINE_BYTES_MAX, first_line, write_header},
    oldest::{Older, Oldest},
    record::Own,
    seal::Sealer,
    segment::{self, Listing, Segment},
    signed,
    writer::{Start, Writer},
};

/// A log that can be written.
pub(super) struct Opened {
    pub(super) writer: Writer,
    pub(super) head: Head,
    pub(super) sealer: Arc<Sealer>,
}

/// Opens the log in `dir`, or begins one.
pub(super) fn open(
    dir: &Path,
    limits: &Limits,
    key: &Path,
    known: Option<&Checkpoint>,
    now: SystemTime,
) -> Result<Opened, Error> {
    files::create_private_dir(dir)?;
    files::check_writable(dir)?;
    let (head, mark) = Head::open(dir)?;
    let sealer = Arc::new(Sealer::open(key)?);
    let reached = known.map_or(0, |known| known.segment);
    let mark = mark.filter(|mark| mark.segment <= segment::number_max(reached));
    let numbers = numbers_with_lines(dir, reached)?;
    if numbers.is_empty() && mark.is_none() {
        head.begin().map_err(Error::io(dir, "written"))?;
    }
    let (end, mut notes) = match (find_end(dir, &numbers, mark), known) {
        (Ok((end, _)), Some(known)) if end.link().seq < known.link.seq => missing(known.mark(), end.number()),
        // What can be told is that the log had come so far.
        (Err(Error::Damaged { .. }), Some(known)) => missing(known.mark(), numbers.last().copied().unwrap_or(0)),
        (found, _) => found?,
    };
    let signed = signed::last(dir, &numbers, known, sealer.fingerprint())?;
    let is_signed = signed.is_some_and(|signed| signed.link == *end.link());
    if let (Some(signed), End::In { link, .. }) = (signed, &end)
        && !is_signed
    {
        let count = link.seq.saturating_sub(signed.link.seq);
        notes.push(Own::UnsignedTail { from: signed.link.seq.saturating_add(1), count });
    }
    let beginning = signed.and_then(|signed| signed.beginning).unwrap_or_else(|| beginning_found(dir, &numbers));
    let (segment, link) = match end {
        End::In { number, offset, link } => (Segment::open(dir, number, offset, limits.reserve_bytes)?, link),
        End::After { number, link } => {
            let mut fresh = Segment::create(dir, number.saturating_add(1), limits.reserve_bytes)?;
            let link = match write_header(&mut fresh, &link, &mut Vec::new(), now) {
                Ok(link) => link,
                Err(error) => {
                    fresh.discard();
                    return Err(error);
                }
            };
            files::sync_dir(dir)?;
            (fresh, link)
        }
    };
    let next = numbers.iter().copied().skip(1).chain([segment.number]);
    let older = numbers.iter().copied().zip(next).filter(|(number, _)| *number < segment.number);
    let older = older.map(|(number, next)| {
        let length = fs::metadata(segment::path(dir, number)).map_or(0, |meta| meta.len());
        Older { number, length, end: first_line(dir, next).map(|line| line.after) }
    });
    let oldest = Oldest::new(dir, beginning, older, &link);
    let writer = Writer::new(dir, limits, sealer.clone(), Start { link, segment, oldest, notes, is_signed });
    Ok(Opened { writer, head, sealer })
}

/// Where a log begins of which no checkpoint says it: that is accepted once, for a log of an earlier build.
fn beginning_found(dir: &Path, numbers: &[u64]) -> Beginning {
    let Some(segment) = numbers.first().copied() else { return Beginning::FIRST };
    let after = first_line(dir, segment).map_or(Link::START, |line| line.after);
    Beginning { segment, after }
}

/// Where the log goes on.
enum End {
    /// In this segment, behind this many bytes.
    In { number: u64, offset: u64, link: Link },
    /// In a new segment behind this one.
    After { number: u64, link: Link },
}

impl End {
    fn number(&self) -> u64 {
        match self {
            Self::In { number, .. } | Self::After { number, .. } => *number,
        }
    }

    fn link(&self) -> &Link {
        match self {
            Self::In { link, .. } | Self::After { link, .. } => link,
        }
    }
}

fn find_end(dir: &Path, numbers: &[u64], mark: Option<Mark>) -> Result<(End, Vec<Own>), Error> {
    let Some(last) = numbers.last().copied() else {
        return Ok(match mark {
            Some(mark) if mark.link != Link::START => missing(mark, 0),
            _ => (End::After { number: 0, link: Link::START }, Vec::new()),
        });
    };
    let from = match mark {
        Some(mark) if mark.segment > last => return Ok(missing(mark, last)),
        Some(mark) if mark.segment == last => {
            if !ends_at(dir, &mark)? {
                return Ok(missing(mark, last));
            }
            (mark.offset, mark.link)
        }
        // The head is behind; the segment before was synced, and `verify` looks whether the two fit together.
        _ => match (first_line(dir, last), mark) {
            (Some(line), _) => (0, line.after),
            (None, Some(mark)) => return Ok(missing(mark, last)),
            (None, None) => return Err(Error::Damaged { path: segment::path(dir, last) }),
        },
    };
    let mut notes = Vec::new();
    if mark.is_none() {
        notes.push(Own::HeadMissing);
    }
    let whole = whole_lines(dir, last, from)?;
    if whole.bytes_behind > 0 {
        notes.push(Own::TailCut { bytes: whole.bytes_behind });
    }
    Ok((End::In { number: last, offset: whole.offset, link: whole.link }, notes))
}

/// Goes on behind what the head knows, though it is not there.
fn missing(mark: Mark, last: u64) -> (End, Vec<Own>) {
    let end = End::After { number: last.max(mark.segment), link: mark.link };
    (end, vec![Own::RecordsMissing { through: mark.link.seq }])
}

/// The segments that have at least one line. A last one without was made just before the daemon ended; it goes.
fn numbers_with_lines(dir: &Path, known: u64) -> Result<Vec<u64>, Error> {
    let Listing { mut numbers, foreign } = segment::list(dir, known).map_err(Error::io(dir, "read"))?;
    for name in foreign {
        tracing::warn!(?name, "audit folder has a file that is no segment of the log; it is left alone");
    }
    if let Some(last) = numbers.last() {
        let path = segment::path(dir, *last);
        let mut line = Vec::new();
        let file = File::open(&path).map_err(Error::io(&path, "opened"))?;
        BufReader::new(file).take(limit()).read_until(b'\n', &mut line).map_err(Error::io(&path, "read"))?;
        // A first line that is too long is no leftover of ours.
        if !line.ends_with(b"\n") && line.len() < LINE_BYTES_MAX {
            fs::remove_file(&path).map_err(Error::io(&path, "removed"))?;
            numbers.pop();
        }
    }
    Ok(numbers)
}

/// Whether the line that the head knows as the last one still ends where it says.
fn ends_at(dir: &Path, mark: &Mark) -> Result<bool, Error> {
    let path = segment::path(dir, mark.segment);
    let read = || {
        let mut file = File::open(&path)?;
        let from = mark.offset.saturating_sub(limit());
        file.seek(SeekFrom::Start(from))?;
        let mut bytes = Vec::new();
        file.take(mark.offset.saturating_sub(from)).read_to_end(&mut bytes)?;
        Ok((from, bytes))
    };
    let (from, bytes) = read().map_err(Error::io(&path, "read"))?;
    if u64::try_from(bytes.len()).ok() != mark.offset.checked_sub(from) {
        return Ok(false);
    }
    let Some(body) = bytes.strip_suffix(b"\n") else { return Ok(false) };
    let line = body.rsplit(|byte| *byte == b'\n').next().unwrap_or_default();
    Ok(chain::read(line).is_ok_and(|line| line.link == mark.link))
}

/// How far a segment is whole.
struct Whole {
    offset: u64,
    link: Link,
    bytes_behind: u64,
}

/// Reads lines from an offset on, as long as each follows the one before.
fn whole_lines(dir: &Path, number: u64, (mut offset, mut link): (u64, Link)) -> Result<Whole, Error> {
    let path = segment::path(dir, number);
    let error = |source| Error::io(&path, "read")(source);
    let mut file = File::open(&path).map_err(error)?;
    let length = file.seek(SeekFrom::End(0)).map_err(error)?;
    file.seek(SeekFrom::Start(offset)).map_err(error)?;
    let mut reader = BufReader::with_capacity(64 * 1024, file);
    let mut bytes = Vec::new();
    loop {
        bytes.clear();
        let size = reader.by_ref().take(limit()).read_until(b'\n', &mut bytes).map_err(error)?;
        match bytes.strip_suffix(b"\n").map(chain::read) {
            Some(Ok(line)) if line.after == link => link = line.link,
            _ => return Ok(Whole { offset, link, bytes_behind: length.saturating_sub(offset) }),
        }
        offset = offset.saturating_add(u64::try_from(size).unwrap_or(u64::MAX));
    }
}

fn limit() -> u64 {
    u64::try_from(LINE_BYTES_MAX).unwrap_or(u64::MAX)
}
