//! The log's end: one line after the other, the next segment when one is full, and which one goes when all are.

use std::{
    collections::VecDeque,
    fs::File,
    io::{BufRead as _, BufReader, Read as _},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use crate::sys::files;

use super::{
    Error, Limits,
    chain::{self, Line, Link},
    head::Mark,
    record::{self, Own, RECORD_BYTES_MAX, Urgency},
    segment::{self, Segment},
};

/// The longest line: a record, its place and its hashes; twice these where it was carried over.
pub(super) const LINE_BYTES_MAX: usize = RECORD_BYTES_MAX + 1024;

/// What can be written to.
#[derive(Debug)]
pub(super) struct Writer {
    dir: PathBuf,
    limits: Limits,
    /// The end of the chain.
    link: Link,
    segment: Segment,
    /// The segments before, oldest first.
    older: VecDeque<Older>,
    /// What the log has to say of itself before anything else is written.
    pending: VecDeque<Own>,
    /// Segments whose removal is recorded in the record of that number.
    doomed: Vec<(u64, PathBuf)>,
    /// The number of the last record that had no use of the reserve.
    ordinary: u64,
    /// The number of the last checkpoint, and of the last record when one was tried.
    sealed: u64,
    tried: u64,
    /// Since when there is something that no checkpoint signs.
    unsealed_since: Option<SystemTime>,
    /// Whether the next checkpoint does not wait.
    is_seal_urgent: bool,
    /// The buffer that lines are made in.
    line: Vec<u8>,
}

/// A segment that is full.
#[derive(Debug)]
pub(super) struct Older {
    pub(super) number: u64,
    pub(super) length: u64,
}

impl Writer {
    /// Goes on after `link`, in a segment that ends there. Its header is written if it has none.
    pub(super) fn new(dir: &Path, limits: &Limits, link: Link, segment: Segment, older: VecDeque<Older>) -> Self {
        Self {
            dir: dir.to_owned(),
            limits: limits.clone(),
            link,
            segment,
            older,
            pending: VecDeque::new(),
            doomed: Vec::new(),
            ordinary: 0,
            sealed: 0,
            tried: 0,
            unsealed_since: None,
            is_seal_urgent: false,
            line: Vec::with_capacity(1024),
        }
    }

    /// The number of the last record.
    pub(super) fn last(&self) -> u64 {
        self.link.seq
    }

    /// The number of the last record that found room beside the reserve.
    pub(super) fn last_ordinary(&self) -> u64 {
        self.ordinary
    }

    /// Something the log has to say of itself, before the next record.
    pub(super) fn note(&mut self, own: Own) {
        self.pending.push_back(own);
    }

    /// Where the log ends now, and the file to sync so that it lasts.
    pub(super) fn mark(&self) -> (Mark, Arc<File>) {
        let mark = Mark { segment: self.segment.number, offset: self.segment.length(), link: self.link };
        (mark, self.segment.file())
    }

    /// Segments that may go once the checkpoint of this number is on the disk.
    pub(super) fn take_doomed(&mut self, checkpoint: u64) -> Vec<PathBuf> {
        self.doomed.extract_if(.., |(recorded, _)| *recorded < checkpoint).map(|(_, path)| path).collect()
    }

    /// The end of the chain, for a checkpoint to sign.
    pub(super) fn link(&self) -> Link {
        self.link
    }

    /// How long it is until a checkpoint is due; `None` while everything is signed.
    pub(super) fn seal_due_in(&self, now: SystemTime) -> Option<Duration> {
        let since = self.unsealed_since?;
        if self.is_seal_urgent {
            return Some(Duration::ZERO);
        }
        // A clock that was set back must not hold a checkpoint for hours.
        Some((since + UNSEALED_MAX).duration_since(now).unwrap_or_default().min(UNSEALED_MAX))
    }

    /// A checkpoint is tried now; one that comes to nothing is due again later.
    pub(super) fn begin_seal(&mut self, now: SystemTime) {
        self.unsealed_since = Some(now);
        self.is_seal_urgent = false;
        self.tried = self.link.seq;
    }

    /// Writes a checkpoint that signs the end of the chain; answers its segment and its place.
    pub(super) fn seal(&mut self, checkpoint: &Own, now: SystemTime) -> Result<(u64, Link), Error> {
        // It stays in the present segment, over its cap: a header in between would not be what it signs.
        let written = record::body(checkpoint).and_then(|body| self.put(&body, Urgency::Ordinary, now))?;
        self.sealed = written;
        self.unsealed_since = None;
        self.is_seal_urgent = false;
        Ok((self.segment.number, self.link))
    }

    /// Writes what the log has to say of itself.
    pub(super) fn write_notes(&mut self, now: SystemTime) -> Result<(), Error> {
        while let Some(own) = self.pending.front() {
            let body = record::body(own)?;
            self.put(&body, Urgency::Ordinary, now)?;
            self.pending.pop_front();
        }
        Ok(())
    }

    /// Writes a record, given as the members of its JSON object; answers its number.
    pub(super) fn append(&mut self, body: &[u8], urgency: Urgency, now: SystemTime) -> Result<u64, Error> {
        if let Err(error) = self.write_notes(now)
            && urgency == Urgency::Ordinary
        {
            return Err(error);
        }
        let size = u64::try_from(body.len()).unwrap_or(u64::MAX).saturating_add(LINK_BYTES);
        if let Err(error) = self.rotate_before(size, now)
            && urgency == Urgency::Ordinary
        {
            // A renewal goes into the old segment, over its cap, as far as the reserve reaches.
            return Err(error);
        }
        let written = self.put(body, urgency, now)?;
        if urgency == Urgency::Ordinary {
            self.ordinary = written;
        }
        Ok(written)
    }

    /// Makes sure that a record of the usual size finds room, and a file that takes it.
    pub(super) fn make_room(&mut self, now: SystemTime) -> Result<(), Error> {
        self.rotate_before(USUAL_BYTES, now)?;
        self.segment.make_room(USUAL_BYTES, now)
    }

    fn rotate_before(&mut self, size: u64, now: SystemTime) -> Result<(), Error> {
        match self.segment.length().saturating_add(size) > self.limits.segment_bytes_max {
            true => self.rotate(now),
            false => Ok(()),
        }
    }

    fn put(&mut self, body: &[u8], urgency: Urgency, now: SystemTime) -> Result<u64, Error> {
        let next = chain::seal(&mut self.line, &self.link, now, body);
        self.segment.write(&self.line, urgency, now)?;
        self.link = next;
        let since = *self.unsealed_since.get_or_insert(now);
        let is_long = now.duration_since(since).is_ok_and(|unsealed| unsealed >= UNSEALED_MAX);
        self.is_seal_urgent |= is_long || next.seq.saturating_sub(self.sealed.max(self.tried)) >= UNSEALED_RECORDS_MAX;
        Ok(next.seq)
    }

    /// Begins the next segment. The old one is synced first, so only the last segment ever has a torn end.
    fn rotate(&mut self, now: SystemTime) -> Result<(), Error> {
        self.segment.sync()?;
        let number = self.segment.number.saturating_add(1);
        let mut fresh = Segment::create(&self.dir, number, self.limits.reserve_bytes)?;
        let header = write_header(&mut fresh, &self.link, &mut self.line, now)
            .and_then(|link| files::sync_dir(&self.dir).map(|()| link).map_err(Error::Dir));
        match header {
            Ok(link) => self.link = link,
            Err(error) => {
                fresh.discard();
                return Err(error);
            }
        }
        let full = std::mem::replace(&mut self.segment, fresh);
        self.older.push_back(Older { number: full.number, length: full.length() });
        full.close();
        // The end of each segment is signed.
        self.unsealed_since.get_or_insert(now);
        self.is_seal_urgent = true;
        Ok(())
    }

    /// The oldest segment, when there are more bytes than there may be.
    pub(super) fn oldest_over(&self) -> Option<(u64, PathBuf)> {
        let kept: u64 = self.older.iter().map(|older| older.length).sum();
        let is_over = kept.saturating_add(self.limits.segment_bytes_max) > self.limits.total_bytes_max;
        let oldest = self.older.front().filter(|_| is_over)?;
        Some((oldest.number, segment::path(&self.dir, oldest.number)))
    }

    /// Records that the oldest segment is removed. It goes when a checkpoint that signs the record is on the disk.
    pub(super) fn remove_oldest(&mut self, kept: u64, dropped: u64, now: SystemTime) -> Result<(), Error> {
        let Some(oldest) = self.older.front() else { return Ok(()) };
        let (number, path) = (oldest.number, segment::path(&self.dir, oldest.number));
        let next = self.older.get(1).map_or(self.segment.number, |older| older.number);
        let through = first_line(&self.dir, next).map(|line| line.after.seq);
        let body = record::body(&Own::Removed { segment: number, through, kept, dropped })?;
        let recorded = self.append(&body, Urgency::Ordinary, now)?;
        self.doomed.push((recorded, path));
        self.older.pop_front();
        self.is_seal_urgent = true;
        Ok(())
    }
}

/// Writes the first line of a segment; answers the end of the chain after it.
pub(super) fn write_header(
    fresh: &mut Segment,
    after: &Link,
    line: &mut Vec<u8>,
    now: SystemTime,
) -> Result<Link, Error> {
    let body = record::body(&Own::Segment { segment: fresh.number })?;
    let link = chain::seal(line, after, now, &body);
    fresh.write(line, Urgency::Ordinary, now)?;
    Ok(link)
}

/// The first line of a segment, if it is one.
pub(super) fn first_line(dir: &Path, number: u64) -> Option<Line> {
    let file = File::open(segment::path(dir, number)).ok()?;
    let mut line = Vec::new();
    let most = u64::try_from(LINE_BYTES_MAX).unwrap_or(u64::MAX);
    BufReader::new(file.take(most)).read_until(b'\n', &mut line).ok()?;
    chain::read(line.strip_suffix(b"\n")?).ok()
}

/// For how long, and for how many records, there may be no checkpoint while there are records to sign.
const UNSEALED_MAX: Duration = Duration::from_secs(10);
const UNSEALED_RECORDS_MAX: u64 = 10_000;

/// About what a line has, as most are.
const USUAL_BYTES: u64 = 600;

/// What a line has beside the record, about.
const LINK_BYTES: u64 = 240;
