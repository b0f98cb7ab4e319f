//! The segments before the last one: where the log begins, and which of them goes next.

use std::{
    collections::VecDeque,
    path::{Path, PathBuf},
};

use super::{chain::Link, checkpoint::Beginning, segment};

/// A segment that is full.
#[derive(Debug)]
pub(super) struct Older {
    pub(super) number: u64,
    pub(super) length: u64,
    /// Its last record, as this daemon wrote it, or as the next segment said when the log was opened.
    pub(super) end: Option<Link>,
}

/// A segment that is to go.
#[derive(Debug)]
pub(super) struct Leaving {
    pub(super) number: u64,
    pub(super) path: PathBuf,
    /// What its first record follows, and its last one, as they are known without it.
    pub(super) after: Option<Link>,
    pub(super) end: Option<Link>,
}

/// All of them.
#[derive(Debug)]
pub(super) struct Oldest {
    dir: PathBuf,
    /// Oldest first.
    older: VecDeque<Older>,
    /// As the next checkpoint signs it. It moves with what this daemon removes, and with nothing else.
    beginning: Beginning,
    /// Segments whose removal is recorded in the record of that number.
    doomed: Vec<(u64, PathBuf)>,
}

impl Oldest {
    /// Those before the beginning are leftovers: their removal is recorded behind `link` at the latest.
    pub(super) fn new(dir: &Path, beginning: Beginning, found: impl Iterator<Item = Older>, link: &Link) -> Self {
        let (left, older): (Vec<_>, Vec<_>) = found.partition(|older| older.number < beginning.segment);
        let doomed = left.into_iter().map(|older| (link.seq, segment::path(dir, older.number))).collect();
        Self { dir: dir.to_owned(), older: older.into(), beginning, doomed }
    }

    /// Where the log begins.
    pub(super) fn beginning(&self) -> Beginning {
        self.beginning
    }

    /// Another segment is full.
    pub(super) fn push(&mut self, older: Older) {
        self.older.push_back(older);
    }

    /// The oldest segment, when all together have more bytes than these.
    pub(super) fn over(&self, bytes_max: u64) -> Option<Leaving> {
        let kept = self.older.iter().fold(0_u64, |kept, older| kept.saturating_add(older.length));
        let Older { number, end, .. } = *self.older.front().filter(|_| kept > bytes_max)?;
        let after = (self.beginning.segment == number).then_some(self.beginning.after);
        Some(Leaving { number, path: segment::path(&self.dir, number), after, end })
    }

    /// The oldest segment, and where the log begins without it, as far as that can be told.
    pub(super) fn first(&self, last: u64) -> Option<(u64, Option<Beginning>)> {
        let oldest = self.older.front()?;
        let next = self.older.get(1).map_or(last, |older| older.number);
        Some((oldest.number, oldest.end.map(|after| Beginning { segment: next, after })))
    }

    /// The oldest segment goes, which the record of this number says.
    pub(super) fn doom_first(&mut self, recorded: u64, beginning: Option<Beginning>) {
        let Some(oldest) = self.older.pop_front() else { return };
        self.doomed.push((recorded, segment::path(&self.dir, oldest.number)));
        // Where that cannot be told, what was signed stays, and is missed.
        self.beginning = beginning.unwrap_or(self.beginning);
    }

    /// Segments that may go once the checkpoint of this number is kept by others.
    pub(super) fn take_doomed(&mut self, checkpoint: u64) -> Vec<PathBuf> {
        self.doomed.extract_if(.., |(recorded, _)| *recorded < checkpoint).map(|(_, path)| path).collect()
    }
}
