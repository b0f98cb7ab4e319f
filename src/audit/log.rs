//! The door: records go in, one at a time, from any thread.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    thread::{self, JoinHandle},
    time::Duration,
};

use crate::sys::{Clock, chain as chain_of, process};

use super::{
    Checkpoint, Durability, Error, Known, Limits, Record, Urgency,
    keeper::{Keep, Keeper},
    recover::{self, Opened},
    shared::Shared,
    syncer::Syncer,
    verify::verify,
};

/// What the log has outside its folder, so that who can write the folder cannot make another log of it.
pub(crate) struct Outside {
    /// The key of its checkpoints. It is made where none is.
    pub(crate) key: PathBuf,
    /// What `keep` was given last, in any run.
    pub(crate) known: Option<Checkpoint>,
    /// Keeps the last checkpoint, soon, and says when it is kept.
    pub(crate) keep: Keep,
}

/// The number of a record in its log, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Sequence(pub(crate) u64);

/// The open log. Cloning shares it; when the last one is dropped everything is brought to the disk.
#[derive(Clone, Debug)]
pub(crate) struct Log(Arc<Open>);

#[derive(Debug)]
struct Open {
    shared: Arc<Shared>,
    syncer: Mutex<Option<JoinHandle<()>>>,
    dir: PathBuf,
    /// What was known of the log when it was opened.
    known: Known,
}

impl Log {
    /// Opens the log in a folder, or begins one. What a power failure left half-written is cut off, and recorded.
    ///
    /// # Errors
    /// When another process writes it, the folder is open to others, or the disk is full and there is no log yet.
    pub(crate) fn open(dir: &Path, mut limits: Limits, outside: Outside, clock: Clock) -> Result<Self, Error> {
        let Outside { key, known, keep } = outside;
        limits.total_bytes_max = limits.total_bytes_max.max(limits.segment_bytes_max.saturating_mul(2));
        let Opened { mut writer, head, sealer } = recover::open(dir, &limits, &key, known.as_ref(), clock.now())?;
        // Only the header of the first segment is there when it is begun.
        if known.is_none() && writer.last() > 1 {
            tracing::info!(
                "audit log has no known checkpoint, as an earlier release left it; it is signed from now on"
            );
        }
        match writer.begin(clock.now()) {
            Ok(()) => {}
            // It is begun when there is space, and then signed.
            Err(Error::Full { .. }) => writer.begin_seal(clock.now()),
            Err(error) => return Err(error),
        }
        let pinned = known.map_or(sealer.fingerprint(), |known| known.key);
        let known = Known { key: Some(pinned), checkpoint: known.or(writer.checkpoint()), is_written: true };
        let shared = Arc::new(Shared::new(clock, limits, writer));
        let theirs = shared.clone();
        let syncer = thread::Builder::new()
            .name("audit".to_owned())
            .spawn(move || Syncer::new(theirs, head, sealer, Keeper::new(keep)).run())
            .map_err(Error::io(dir, "synced by a thread"))?;
        let (syncer, dir) = (Mutex::new(Some(syncer)), dir.to_owned());
        Ok(Self(Arc::new(Open { shared, syncer, dir, known })))
    }

    /// Reads the whole log as it was left, in a thread of its own that yields to those that serve and begins after a
    /// `rest`. What is wrong with it is logged, recorded, and answered by [`Log::damage`] from then on.
    ///
    /// # Errors
    /// When there can be no thread.
    pub(crate) fn examine(&self, rest: Duration) -> Result<JoinHandle<()>, Error> {
        let log = self.clone();
        let examine = move || {
            thread::sleep(rest);
            process::step_back();
            let Err(fault) = verify(&log.0.dir, &log.0.known) else { return };
            log.0.shared.tell_damage(&mut log.0.shared.lock(), chain_of(&fault));
        };
        let thread = thread::Builder::new().name("audit-examiner".to_owned()).spawn(examine);
        thread.map_err(Error::io(&self.0.dir, "examined by a thread"))
    }

    /// What [`Log::examine`] found to be wrong, or what was later before it was removed.
    pub(crate) fn damage(&self) -> Option<&str> {
        self.0.shared.damage.get().map(String::as_str)
    }

    /// The last checkpoint that is in its segment. The next sync brings it to the disk.
    pub(crate) fn checkpoint(&self) -> Option<Checkpoint> {
        self.0.shared.lock().writer.checkpoint()
    }

    /// A log with a key in its own folder, and nothing outside.
    #[cfg(test)]
    pub(crate) fn in_test(dir: &Path, limits: Limits, clock: Clock) -> Result<Self, Error> {
        let outside =
            Outside { key: dir.join("audit.key"), known: None, keep: Box::new(|_| Box::new(|_| Some(Ok(())))) };
        Self::open(dir, limits, outside, clock)
    }

    /// Accepts a record; answers its number. A refusal that was only counted answers the number of a record that
    /// is on the disk, and credentials that are, that of the record that says so.
    /// Where durability is strict it waits for the disk, with a bound.
    ///
    /// # Errors
    /// When the record was not accepted: there is no space (also none in the reserve, for a renewal), the disk fails,
    /// or the log is closed. Nothing of it was written then. In strict durability also when the disk does not answer;
    /// then the record may be there.
    pub(crate) fn append(&self, record: &Record, urgency: Urgency) -> Result<Sequence, Error> {
        let shared = &self.0.shared;
        let mut state = shared.lock();
        let now = shared.clock.now();
        state.check()?;
        let before = (state.is_dirty, state.has_counts());
        let accepted = state.accept(record, urgency, now);
        // The syncer must know what is there, and when the minute of a count is over.
        if before != (state.is_dirty, state.has_counts()) {
            shared.work.notify_one();
        }
        let number = accepted?;
        drop(state);
        if shared.limits.durability == Durability::Strict {
            shared.wait_for_disk(number)?;
        }
        Ok(Sequence(number))
    }

    /// Why no record would be taken now, but for a renewal's; `None` when one would. It makes room as a record would.
    pub(crate) fn fault(&self) -> Option<Error> {
        let shared = &self.0.shared;
        let mut state = shared.lock();
        let last = state.writer.last();
        let found = state.check().and_then(|()| state.writer.make_room(shared.clock.now())).err();
        if state.writer.last() != last && !std::mem::replace(&mut state.is_dirty, true) {
            shared.work.notify_one();
        }
        found
    }

    /// The number of the last record.
    pub(crate) fn last(&self) -> Sequence {
        Sequence(self.0.shared.lock().writer.last())
    }

    /// Brings everything to the disk and accepts nothing any more. Blocks until that is done.
    pub(crate) fn close(&self) {
        self.0.close();
    }
}

impl Open {
    fn close(&self) {
        self.shared.lock().is_closed = true;
        self.shared.work.notify_one();
        let syncer = self.syncer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(syncer) = syncer {
            // A syncer that panicked has said so itself.
            syncer.join().ok();
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.close();
    }
}
