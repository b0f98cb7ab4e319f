//! Whether the log is as it was written: every record there, unchanged, in its order, and signed.
//!
//! What may be missing is what came before the beginning that the last checkpoint signs. What may be unsigned is the end:
//! what came after the last checkpoint, unless that says that the log was closed there. The log may be read while it is written.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, BufRead as _, BufReader, Read as _, Seek as _, SeekFrom},
    path::Path,
    thread,
    time::Duration,
};

use super::{
    chain::{self, Flaw, Hash, Line, Link},
    checkpoint::{Beginning, Checkpoint},
    head::{self, Mark},
    header::LINE_BYTES_MAX,
    report::{Fault, Finding, Known, Report},
    seal::Seal,
    segment::{self, Listing},
};

/// Reads the whole log and checks every record, every link and every signature.
///
/// # Errors
/// The first place at which it is not as it was written.
pub(crate) fn verify(dir: &Path, known: &Known) -> Result<Report, Fault> {
    let mut rounds = 0;
    loop {
        rounds += 1;
        match verify_once(dir, known) {
            // The oldest segment may go while it is read; then there is another beginning.
            Err(Fault::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound && rounds < ROUNDS_MAX => {}
            outcome => return outcome,
        }
    }
}

/// How long one line may take to be written.
const WRITE_WAIT: Duration = Duration::from_millis(100);

/// How often the beginning may change while the log is read.
const ROUNDS_MAX: u32 = 64;

fn verify_once(dir: &Path, known: &Known) -> Result<Report, Fault> {
    // The head first: what it knows is in the segments, whatever is written meanwhile.
    let mark = head::read(dir).map_err(|source| Fault::Io { path: dir.join("head"), source })?;
    let reached = known.checkpoint.map_or(0, |checkpoint| checkpoint.segment);
    let listing = segment::list(dir, reached).map_err(|source| Fault::Io { path: dir.to_owned(), source })?;
    let Listing { numbers, foreign } = listing;
    let checkpoint = known.checkpoint.map_or(0, |checkpoint| checkpoint.link.seq);
    let reached = mark.map_or(0, |mark| mark.link.seq).max(checkpoint);
    let (Some(first), Some(last)) = (numbers.first().copied(), numbers.last().copied()) else {
        return match reached {
            0 => Ok(Report { foreign, ..Report::default() }),
            known => Err(Fault::EndMissing { last: 0, known }),
        };
    };
    let mark = mark.ok_or(Fault::HeadMissing)?;
    let mut walk = Walk::new(mark, *known);
    let mut expected = first;
    for number in numbers.iter().copied() {
        if number != expected {
            return Err(Fault::SegmentMissing { segment: expected });
        }
        walk.segment(dir, number, number == last)?;
        expected = number.saturating_add(1);
    }
    walk.finish(numbers.len()).map(|report| Report { foreign, ..report })
}

/// What was seen so far.
struct Walk {
    mark: Mark,
    known: Known,
    /// The key of the checkpoints: the known one, or that of the first.
    key: Option<Hash>,
    /// The end of the chain; `None` before the first line.
    link: Option<Link>,
    /// Where each segment begins.
    segments: Vec<Beginning>,
    /// Where the log begins, as the last checkpoint says; `None` where that is of an earlier build, or there is none.
    beginning: Option<Beginning>,
    /// Whether the last record says that the log ends there.
    is_ended: bool,
    /// The last record that a checkpoint of an earlier build signs. Those do not say where the log begins.
    signed_before: u64,
    /// Which record says of which segment that it goes, and up to which record.
    removed: Vec<(u64, u64, Option<u64>)>,
    /// Which record says until when credentials are counted, where it is not told how many they were.
    counting: BTreeMap<u64, String>,
    report: Report,
}

impl Walk {
    fn new(mark: Mark, known: Known) -> Self {
        Self {
            mark,
            known,
            key: known.key,
            link: None,
            segments: Vec::new(),
            beginning: None,
            is_ended: false,
            signed_before: 0,
            removed: Vec::new(),
            counting: BTreeMap::new(),
            report: Report::default(),
        }
    }

    fn segment(&mut self, dir: &Path, number: u64, is_last: bool) -> Result<(), Fault> {
        let path = segment::path(dir, number);
        let failed = |source| Fault::Io { path: path.clone(), source };
        let mut reader = BufReader::with_capacity(64 * 1024, File::open(&path).map_err(failed)?);
        let most = u64::try_from(LINE_BYTES_MAX).unwrap_or(u64::MAX);
        let (mut bytes, mut offset, mut line) = (Vec::new(), 0_u64, 1);
        let mut torn_at = None;
        loop {
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
                // It may be half there while it is written, but not twice.
                Err(_) if may_be_torn && self.known.is_written && torn_at.replace(offset) != Some(offset) => {
                    thread::sleep(WRITE_WAIT);
                    reader.seek(SeekFrom::Start(offset)).map_err(failed)?;
                    continue;
                }
                Err(_) if may_be_torn => {
                    let torn = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
                    let rest = io::copy(&mut reader, &mut io::sink()).map_err(failed)?;
                    let bytes = torn.saturating_add(rest);
                    return Err(Fault::Trailing { segment: number, bytes, last: self.report.last });
                }
                Err(Flaw::Malformed) => return Err(Fault::Malformed { segment: number, line }),
                Err(Flaw::Changed) => return Err(Fault::Changed { segment: number, line }),
            }
            offset = offset.saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
            line += 1;
        }
        match offset {
            0 if !is_last => Err(Fault::Malformed { segment: number, line: 1 }),
            _ => Ok(()),
        }
    }

    fn line(&mut self, segment: u64, line: u64, read: Line) -> Result<(), Fault> {
        let link = *self.link.get_or_insert(read.after);
        if self.segments.is_empty() {
            self.report.first = read.link.seq;
            self.report.since.clone_from(&read.time);
        }
        if line == 1 {
            self.segments.push(Beginning { segment, after: read.after });
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
        if self.known.checkpoint.is_some_and(|known| known.link.seq == record && known.link != read.link) {
            return Err(Fault::NotKnown { segment, line, record });
        }
        if std::mem::take(&mut self.is_ended) && read.kind != "checkpoint" {
            return Err(Fault::AfterEnd { segment, line, record });
        }
        match (read.kind.as_str(), read.segment) {
            ("removed", Some(removed)) => self.removed.push((record, removed, read.through)),
            ("checkpoint", _) => self.checkpoint(segment, line, &read)?,
            ("issued_counting", _) => drop(self.counting.insert(record, read.until.unwrap_or_default())),
            ("issued_more", _) => {
                self.report.counted = self.report.counted.saturating_add(read.count.unwrap_or(0));
                read.of.and_then(|of| self.counting.remove(&of));
            }
            _ => {}
        }
        // What was found once is a finding also when the record of it was carried over.
        let found = read.kept.filter(|_| read.kind == "kept").unwrap_or(read.kind);
        if FINDINGS.contains(&found.as_str()) {
            self.report.findings.push(Finding { record, kind: found, tail: read.from.zip(read.count) });
        }
        self.report.records = self.report.records.saturating_add(1);
        self.report.last = record;
        self.report.until = read.time;
        self.report.hash = read.link.hash.to_string();
        self.link = Some(read.link);
        Ok(())
    }

    fn checkpoint(&mut self, segment: u64, line: u64, read: &Line) -> Result<(), Fault> {
        let record = read.link.seq;
        let checked = read.seal.as_ref().zip(Seal::checkpoint(read, segment, 0));
        let Some((seal, Checkpoint { key: found, beginning, is_end, .. })) = checked else {
            return Err(Fault::Forged { segment, line, record });
        };
        let wanted = *self.key.get_or_insert(found);
        if found != wanted {
            let (found, wanted) = (found.to_string(), wanted.to_string());
            return Err(Fault::ForeignKey { segment, line, record, found, wanted });
        }
        if beginning.is_none() {
            self.signed_before = read.after.seq;
        }
        (self.beginning, self.is_ended) = (beginning, is_end);
        self.report.signed = read.after.seq;
        self.report.signed_at.clone_from(&seal.at);
        self.report.key = found.to_string();
        Ok(())
    }

    fn finish(mut self, segments: usize) -> Result<Report, Fault> {
        if let Some(first) = self.segments.first()
            && !self.is_beginning(first)
        {
            return Err(Fault::BeginningMissing { first: first.after.seq.saturating_add(1) });
        }
        if let (Some(wanted), 0) = (self.known.key, self.report.signed) {
            return Err(Fault::Unsigned { wanted: wanted.to_string() });
        }
        // Those of the present minute are told when it is over.
        let is_over = |until: &str| until.get(..SECONDS) < self.report.until.get(..SECONDS);
        let lost = self.counting.iter().filter(|(_, until)| !self.known.is_written || is_over(until));
        let lost: Vec<_> = lost.map(|(record, _)| *record).collect();
        let kind = "issued_counting".to_owned();
        self.report.findings.extend(lost.into_iter().map(|record| Finding { record, kind: kind.clone(), tail: None }));
        let checkpoint = self.known.checkpoint.map_or(0, |checkpoint| checkpoint.link.seq);
        let (last, known) = (self.report.last, self.mark.link.seq.max(checkpoint));
        match last < known {
            true => Err(Fault::EndMissing { last, known }),
            false => Ok(Report { segments, ..self.report }),
        }
    }

    /// Whether the log may begin here. It has the beginning that the last checkpoint signs, perhaps with segments before
    /// that were to go. In an earlier build, a record of a removal was signed and nothing else; that is asked when there
    /// is no more, and once more when the last that is known outside is of such a build.
    fn is_beginning(&self, first: &Beginning) -> bool {
        let Some(signed) = self.beginning else { return self.is_recorded(first) };
        let was_earlier = self.known.checkpoint.is_some_and(|known| known.beginning.is_none());
        self.segments.contains(&signed) && (!was_earlier || self.is_recorded(first))
    }

    /// Whether the log begins with the first record of all, or behind a removal that is recorded and signed; where there
    /// is no checkpoint at all, recorded.
    fn is_recorded(&self, first: &Beginning) -> bool {
        let before = first.segment.checked_sub(1);
        let is_signed = |record: u64| self.report.signed == 0 || record <= self.signed_before;
        match first.segment {
            1 => first.after == Link::START,
            _ => self.removed.iter().any(|(record, removed, through)| {
                is_signed(*record) && Some(*removed) == before && through.is_none_or(|it| it == first.after.seq)
            }),
        }
    }
}

/// How much of a moment has its seconds: they are compared as text.
const SECONDS: usize = "2026-01-01T00:00:00".len();

/// What the log says of its own past.
const FINDINGS: [&str; 5] = ["tail_cut", "head_missing", "records_missing", "unsigned_tail", "damaged"];
