//! Whether the log is as it was written: every record there, unchanged, in its order.
//!
//! What may be missing is the beginning, when its removal is recorded, and an end that was never on the disk. The log
//! may be read while it is written.

use std::{
    fs::File,
    io::{self, BufRead as _, BufReader, Read as _},
    path::{Path, PathBuf},
};

use super::{
    chain::{self, Flaw, Line, Link},
    head::{self, Mark},
    segment,
    writer::LINE_BYTES_MAX,
};

/// A log that is as it was written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Report {
    /// How many segments there are.
    pub(crate) segments: usize,
    /// How many records.
    pub(crate) records: u64,
    /// The number of the first one; 0 when there is none.
    pub(crate) first: u64,
    /// The number of the last one; 0 when there is none.
    pub(crate) last: u64,
    /// When the first one was written, RFC 3339.
    pub(crate) since: String,
    /// When the last one was written, RFC 3339.
    pub(crate) until: String,
    /// The hash of the last one, lower-case hex: kept elsewhere, it shows later that nothing before was rewritten.
    pub(crate) hash: String,
    /// Bytes at the end that are no whole record: one is being written, or was when the power failed.
    pub(crate) torn_bytes: u64,
    /// What the log says of its own past.
    pub(crate) findings: Vec<Finding>,
}

/// Something that was found when the log was opened, and recorded then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    /// The record that says so.
    pub(crate) record: u64,
    /// `tail_cut` or `head_missing`.
    pub(crate) kind: String,
}

/// What is wrong with a log: the first thing that is.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    /// A line is not one of ours.
    #[error("segment {segment}, line {line}: not an audit record")]
    Malformed { segment: u64, line: u64 },
    /// A line is not as it was written.
    #[error("segment {segment}, line {line}: the record was changed")]
    Changed { segment: u64, line: u64 },
    /// Another record stands here.
    #[error("segment {segment}, line {line}: record {found} stands where record {expected} belongs")]
    Order { segment: u64, line: u64, expected: u64, found: u64 },
    /// The record is the right one, but the one before it is not the one it was linked to.
    #[error("segment {segment}, line {line}: record {record} does not follow the one before it, which was replaced")]
    Unlinked { segment: u64, line: u64, record: u64 },
    /// A whole file is missing.
    #[error("segment {segment} is missing")]
    SegmentMissing { segment: u64 },
    /// The log begins later than it may.
    #[error("the log begins with record {first}, and no record says that those before were removed")]
    BeginningMissing { first: u64 },
    /// The log ends earlier than it did.
    #[error("the log ends with record {last}, but record {known} was written")]
    EndMissing { last: u64, known: u64 },
    /// Nothing says how far the log had come.
    #[error("the file `head` is missing or damaged, so records may be missing at the end")]
    HeadMissing,
    /// The record that the head knows is another one.
    #[error("segment {segment}, line {line}: record {record} is not the one that was written last")]
    Replaced { segment: u64, line: u64, record: u64 },
    /// It cannot be read.
    #[error("{} cannot be read", path.display())]
    Io { path: PathBuf, source: io::Error },
}

/// Reads the whole log and checks every record and every link.
///
/// # Errors
/// The first place at which it is not as it was written.
pub(crate) fn verify(dir: &Path) -> Result<Report, Fault> {
    let mut rounds = 0;
    loop {
        rounds += 1;
        match verify_once(dir) {
            // The oldest segment may go while it is read; then there is another beginning.
            Err(Fault::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound && rounds < ROUNDS_MAX => {}
            outcome => return outcome,
        }
    }
}

/// How often the beginning may change while the log is read.
const ROUNDS_MAX: u32 = 64;

fn verify_once(dir: &Path) -> Result<Report, Fault> {
    // The head first: what it knows is in the segments, whatever is written meanwhile.
    let mark = head::read(dir).map_err(|source| Fault::Io { path: dir.join("head"), source })?;
    let numbers = segment::list(dir).map_err(|source| Fault::Io { path: dir.to_owned(), source })?;
    let known = mark.map_or(0, |mark| mark.link.seq);
    let (Some(first), Some(last)) = (numbers.first().copied(), numbers.last().copied()) else {
        return match known {
            0 => Ok(Report::default()),
            known => Err(Fault::EndMissing { last: 0, known }),
        };
    };
    let mark = mark.ok_or(Fault::HeadMissing)?;
    let mut walk = Walk::new(mark);
    for (number, expected) in numbers.iter().copied().zip(first..) {
        if number != expected {
            return Err(Fault::SegmentMissing { segment: expected });
        }
        walk.segment(dir, number, number == last)?;
    }
    walk.finish(numbers.len())
}

/// What was seen so far.
struct Walk {
    mark: Mark,
    /// The end of the chain; `None` before the first line.
    link: Option<Link>,
    /// What the first line follows, and in which segment it is.
    beginning: Option<(u64, Link)>,
    removed: Vec<(u64, Option<u64>)>,
    report: Report,
}

impl Walk {
    fn new(mark: Mark) -> Self {
        Self { mark, link: None, beginning: None, removed: Vec::new(), report: Report::default() }
    }

    fn segment(&mut self, dir: &Path, number: u64, is_last: bool) -> Result<(), Fault> {
        let path = segment::path(dir, number);
        let failed = |source| Fault::Io { path: path.clone(), source };
        let mut reader = BufReader::with_capacity(64 * 1024, File::open(&path).map_err(failed)?);
        let most = u64::try_from(LINE_BYTES_MAX).unwrap_or(u64::MAX);
        let (mut bytes, mut offset) = (Vec::new(), 0_u64);
        for line in 1.. {
            bytes.clear();
            reader.by_ref().take(most).read_until(b'\n', &mut bytes).map_err(failed)?;
            if bytes.is_empty() {
                break;
            }
            // What was not on the disk yet may be torn.
            let may_be_torn = is_last && (number, offset) >= (self.mark.segment, self.mark.offset);
            let read = match bytes.strip_suffix(b"\n") {
                Some(whole) => chain::read(whole),
                None => Err(Flaw::Malformed),
            };
            match read {
                Ok(read) => self.line(number, line, read)?,
                Err(_) if may_be_torn => {
                    self.report.torn_bytes = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
                    io::copy(&mut reader, &mut io::sink())
                        .map(|rest| self.report.torn_bytes = self.report.torn_bytes.saturating_add(rest))
                        .map_err(failed)?;
                    break;
                }
                Err(Flaw::Malformed) => return Err(Fault::Malformed { segment: number, line }),
                Err(Flaw::Changed) => return Err(Fault::Changed { segment: number, line }),
            }
            offset = offset.saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        }
        match offset {
            0 if !is_last => Err(Fault::Malformed { segment: number, line: 1 }),
            _ => Ok(()),
        }
    }

    fn line(&mut self, segment: u64, line: u64, read: Line) -> Result<(), Fault> {
        let link = *self.link.get_or_insert(read.after);
        if self.beginning.is_none() {
            self.beginning = Some((segment, read.after));
            self.report.first = read.link.seq;
            self.report.since.clone_from(&read.time);
        }
        let record = read.link.seq;
        if read.after.seq != link.seq {
            return Err(Fault::Order { segment, line, expected: link.seq.saturating_add(1), found: record });
        }
        if read.after != link {
            return Err(Fault::Unlinked { segment, line, record });
        }
        if record == self.mark.link.seq && read.link != self.mark.link {
            return Err(Fault::Replaced { segment, line, record });
        }
        if (line == 1) != (read.kind == "segment") || (line == 1 && read.segment != Some(segment)) {
            return Err(Fault::Malformed { segment, line });
        }
        match (read.kind.as_str(), read.segment) {
            ("removed", Some(removed)) => self.removed.push((removed, read.through)),
            ("tail_cut" | "head_missing", _) => self.report.findings.push(Finding { record, kind: read.kind }),
            _ => {}
        }
        self.report.records = self.report.records.saturating_add(1);
        self.report.last = record;
        self.report.until = read.time;
        self.report.hash = read.link.hash.to_string();
        self.link = Some(read.link);
        Ok(())
    }

    fn finish(self, segments: usize) -> Result<Report, Fault> {
        if let Some((segment, after)) = self.beginning
            && !self.is_beginning(segment, after)
        {
            return Err(Fault::BeginningMissing { first: after.seq.saturating_add(1) });
        }
        let (last, known) = (self.report.last, self.mark.link.seq);
        match last < known {
            true => Err(Fault::EndMissing { last, known }),
            false => Ok(Report { segments, ..self.report }),
        }
    }

    /// Whether the log may begin here: with the first record of all, or behind a removal that is recorded.
    fn is_beginning(&self, segment: u64, after: Link) -> bool {
        let before = segment.checked_sub(1);
        match segment {
            1 => after == Link::START,
            _ => self.removed.iter().any(|(removed, through)| {
                Some(*removed) == before && through.is_none_or(|through| through == after.seq)
            }),
        }
    }
}
