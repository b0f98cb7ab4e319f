//! The log's end: one line after the other, the next segment when one is full, and which one goes when all are.

use std::{
    collections::VecDeque,
    fs::File,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use crate::sys::files;

use super::{
    Error, Limits,
    cadence::Cadence,
    chain::{self, Link},
    checkpoint::{Checkpoint, Statement},
    head::Mark,
    header::write_header,
    oldest::{Leaving, Older, Oldest},
    record::{self, Own, Urgency},
    seal::Sealer,
    segment::Segment,
};

/// What can be written to.
#[derive(Debug)]
pub(super) struct Writer {
    dir: PathBuf,
    limits: Limits,
    sealer: Arc<Sealer>,
    /// The end of the chain.
    link: Link,
    segment: Segment,
    oldest: Oldest,
    /// What the log has to say of itself before anything else is written.
    pending: VecDeque<Own>,
    stage: Stage,
    cadence: Cadence,
    /// The last checkpoint that is in its segment.
    checkpoint: Option<Checkpoint>,
    /// The number of the last record that found room beside the reserve.
    ordinary: u64,
    /// The buffer that lines are made in.
    line: Vec<u8>,
}

/// Where a writer goes on.
pub(super) struct Start {
    /// The end of the chain, and the segment that ends there.
    pub(super) link: Link,
    pub(super) segment: Segment,
    pub(super) oldest: Oldest,
    /// What is to be said of the log as it was found.
    pub(super) notes: Vec<Own>,
    /// Whether a checkpoint signs everything that was found.
    pub(super) is_signed: bool,
}

/// What may be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Nothing before the checkpoint of the start. Where it is the first to follow a checkpoint, what the log has to
    /// say of itself comes behind it, and otherwise before it.
    Begin {
        is_signed: bool,
    },
    Open,
    /// Nothing: a checkpoint says that the log ends here.
    Ended,
}

impl Writer {
    /// Nothing is written yet.
    pub(super) fn new(dir: &Path, limits: &Limits, sealer: Arc<Sealer>, start: Start) -> Self {
        let Start { link, segment, oldest, notes, is_signed } = start;
        Self {
            dir: dir.to_owned(),
            limits: limits.clone(),
            sealer,
            link,
            segment,
            oldest,
            pending: notes.into(),
            stage: Stage::Begin { is_signed },
            cadence: Cadence::default(),
            checkpoint: None,
            ordinary: 0,
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

    /// The last checkpoint that is in its segment.
    pub(super) fn checkpoint(&self) -> Option<Checkpoint> {
        self.checkpoint
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

    /// Segments that may go once the checkpoint of this number is kept by others.
    pub(super) fn take_doomed(&mut self, checkpoint: u64) -> Vec<PathBuf> {
        self.oldest.take_doomed(checkpoint)
    }

    /// What a checkpoint would sign now.
    pub(super) fn statement(&self, is_end: bool) -> Statement {
        Statement { link: self.link, beginning: Some(self.oldest.beginning()), is_end }
    }

    /// How long it is until a checkpoint is due; `None` while everything is signed.
    pub(super) fn seal_due_in(&self, now: SystemTime) -> Option<Duration> {
        self.cadence.due_in(now)
    }

    /// A checkpoint is tried now; one that comes to nothing is due again later.
    pub(super) fn begin_seal(&mut self, now: SystemTime) {
        self.cadence.tried(self.link.seq, now);
    }

    /// Writes the checkpoint of the start, and before it what is to be said of a tail that none has signed. It may take
    /// of the reserve: nothing else can be written before, and whoever ends the daemon now leaves a log that was begun.
    pub(super) fn begin(&mut self, now: SystemTime) -> Result<(), Error> {
        let Stage::Begin { is_signed } = self.stage else { return Ok(()) };
        if !is_signed {
            self.write_pending(Urgency::Renewal, now)?;
        }
        let statement = self.statement(false);
        let made = self.sealer.seal(&statement, now)?;
        self.write_seal(&made, &statement, Urgency::Renewal, now)?;
        self.stage = Stage::Open;
        Ok(())
    }

    /// Writes a checkpoint that was made of the present statement. The last one may take of the reserve.
    pub(super) fn seal(&mut self, made: &Own, statement: &Statement, now: SystemTime) -> Result<(), Error> {
        let urgency = if statement.is_end { Urgency::Renewal } else { Urgency::Ordinary };
        self.write_seal(made, statement, urgency, now)?;
        if statement.is_end {
            self.stage = Stage::Ended;
        }
        Ok(())
    }

    /// Whether the checkpoint of the start is written, and none that says that the log ends here.
    pub(super) fn is_open(&self) -> bool {
        self.stage == Stage::Open
    }

    fn write_seal(
        &mut self,
        made: &Own,
        Statement { beginning, is_end, .. }: &Statement,
        urgency: Urgency,
        now: SystemTime,
    ) -> Result<(), Error> {
        // It stays in the present segment, over its cap: a header in between would not be what it signs.
        let seq = record::body(made).and_then(|body| self.put(&body, urgency, now))?;
        self.cadence.sealed(seq);
        self.checkpoint = Some(Checkpoint {
            segment: self.segment.number,
            offset: self.segment.length(),
            link: self.link,
            key: self.sealer.fingerprint(),
            beginning: *beginning,
            is_end: *is_end,
        });
        Ok(())
    }

    /// Writes what the log has to say of itself.
    pub(super) fn write_notes(&mut self, now: SystemTime) -> Result<(), Error> {
        self.begin(now)?;
        self.write_pending(Urgency::Ordinary, now)
    }

    fn write_pending(&mut self, urgency: Urgency, now: SystemTime) -> Result<(), Error> {
        while let Some(own) = self.pending.front() {
            let body = record::body(own)?;
            self.put(&body, urgency, now)?;
            self.pending.pop_front();
        }
        Ok(())
    }

    /// Writes a record, given as the members of its JSON object; answers its number.
    pub(super) fn append(&mut self, body: &[u8], urgency: Urgency, now: SystemTime) -> Result<u64, Error> {
        self.begin(now)?;
        if let Err(error) = self.write_notes(now)
            && urgency == Urgency::Ordinary
        {
            return Err(error);
        }
        let size = u64::try_from(body.len()).unwrap_or(u64::MAX).saturating_add(LINK_BYTES as u64);
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
        self.begin(now)?;
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
        if self.stage == Stage::Ended {
            return Err(Error::Closed);
        }
        let next = chain::seal(&mut self.line, &self.link, now, body);
        self.segment.write(&self.line, urgency, now)?;
        self.link = next;
        self.cadence.wrote(next.seq, now);
        Ok(next.seq)
    }

    /// Begins the next segment. The old one is synced first, so only the last segment ever has a torn end.
    fn rotate(&mut self, now: SystemTime) -> Result<(), Error> {
        self.segment.sync()?;
        let (number, end) = (self.segment.number.saturating_add(1), self.link);
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
        self.oldest.push(Older { number: full.number, length: full.length(), end: Some(end) });
        full.close();
        // The end of each segment is signed.
        self.cadence.hurry(now);
        Ok(())
    }

    /// The oldest segment, when there are more bytes than there may be.
    pub(super) fn oldest_over(&self) -> Option<Leaving> {
        self.oldest.over(self.limits.total_bytes_max.saturating_sub(self.limits.segment_bytes_max))
    }

    /// Records that the oldest segment is removed. It goes when others have a checkpoint that signs the record.
    pub(super) fn remove_oldest(&mut self, kept: u64, dropped: u64, now: SystemTime) -> Result<(), Error> {
        let Some((segment, beginning)) = self.oldest.first(self.segment.number) else { return Ok(()) };
        let through = beginning.map(|beginning| beginning.after.seq);
        let body = record::body(&Own::Removed { segment, through, kept, dropped })?;
        let recorded = self.append(&body, Urgency::Ordinary, now)?;
        self.oldest.doom_first(recorded, beginning);
        self.cadence.hurry(now);
        Ok(())
    }
}

/// About what a line has, as most are.
const USUAL_BYTES: u64 = 600;

/// What a line has beside the record, about.
pub(super) const LINK_BYTES: usize = 240;
