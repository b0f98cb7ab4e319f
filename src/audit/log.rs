//! The door: records go in, one at a time, from any thread.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError},
    thread::{self, JoinHandle},
    time::{Duration, SystemTime},
};

use tokio::runtime::{Handle, RuntimeFlavor};

use crate::sys::{Clock, chain as chain_of};

use super::{
    Error, Record, Urgency,
    record::{self, Own},
    recover,
    refusals::Refusals,
    seal::{Checkpoint, Sealer},
    syncer,
    verify::{Known, verify},
    writer::Writer,
};

/// How large the log may become, and how sure a record must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    /// When the next segment is begun, in bytes.
    pub(crate) segment_bytes_max: u64,
    /// Of all segments; beyond it the oldest are removed. Less than two segments count as two.
    pub(crate) total_bytes_max: u64,
    /// Kept free for renewals, in bytes; a renewal takes about 600.
    pub(crate) reserve_bytes: u64,
    /// How many refusals of one uid are written one by one in one minute. Those beyond are counted.
    pub(crate) refusals_per_minute: u32,
    /// When a record counts as accepted.
    pub(crate) durability: Durability,
}

/// When a record counts as accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Durability {
    /// When the kernel has it. It is on the disk within 50 ms: a power failure in between loses it.
    Soon,
    /// When the disk has it.
    Strict,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            segment_bytes_max: 64 << 20,
            total_bytes_max: 1 << 30,
            reserve_bytes: 8 << 20,
            refusals_per_minute: 60,
            durability: Durability::Soon,
        }
    }
}

/// What the log has outside its folder, so that who can write the folder cannot make another log of it.
pub(crate) struct Outside {
    /// The key of its checkpoints. It is made where none is.
    pub(crate) key: PathBuf,
    /// What `keep` was given last, in any run.
    pub(crate) known: Option<Checkpoint>,
    /// Keeps the last checkpoint, soon, and without waiting for it.
    pub(crate) keep: Box<dyn Fn(Checkpoint) + Send>,
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
    /// Why the log is not whole.
    damage: OnceLock<String>,
}

/// What the door and the syncer share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) clock: Clock,
    pub(super) limits: Limits,
    state: Mutex<State>,
    /// There is something to sync, or the log is closed.
    work: Condvar,
    /// Something was synced, or could not be.
    pub(super) done: Condvar,
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) writer: Writer,
    pub(super) refusals: Refusals,
    /// The last record that is on the disk for certain.
    pub(super) synced: u64,
    pub(super) is_dirty: bool,
    /// The disk did not take what was written. Nothing is accepted until it does.
    pub(super) is_failing: bool,
    pub(super) is_closed: bool,
    /// The last checkpoint that is in its segment.
    pub(super) checkpoint: Option<Checkpoint>,
}

impl Log {
    /// Opens the log in a folder, or begins one. What a power failure left half-written is cut off, and recorded.
    ///
    /// # Errors
    /// When another process writes it, the folder is open to others, or the disk is full and there is no log yet.
    pub(crate) fn open(dir: &Path, mut limits: Limits, outside: Outside, clock: Clock) -> Result<Self, Error> {
        let Outside { key, known, keep } = outside;
        limits.total_bytes_max = limits.total_bytes_max.max(limits.segment_bytes_max.saturating_mul(2));
        let (mut writer, head) = recover::open(dir, &limits, known.as_ref(), clock.now())?;
        let sealer = Sealer::open(&key)?;
        // Only the header of the first segment is there when it is begun.
        if known.is_none() && writer.last() > 1 {
            tracing::info!(
                "audit log has no known checkpoint, as an earlier release left it; it is signed from now on"
            );
        }
        let first = match sealer.seal(&writer.link(), clock.now()).and_then(|seal| writer.seal(&seal, clock.now())) {
            Ok((segment, link)) => Some(Checkpoint { segment, link, key: sealer.fingerprint() }),
            // What is unsigned is signed when there is space.
            Err(Error::Full { .. }) => {
                writer.begin_seal(clock.now());
                None
            }
            Err(error) => return Err(error),
        };
        let pinned = known.map_or(sealer.fingerprint(), |known| known.key);
        let known = Known { key: Some(pinned), checkpoint: known.or(first), is_written: true };
        let state = State {
            refusals: Refusals::new(limits.refusals_per_minute),
            synced: 0,
            is_dirty: true,
            is_failing: false,
            is_closed: false,
            checkpoint: first,
            writer,
        };
        let (work, done) = (Condvar::new(), Condvar::new());
        let shared = Arc::new(Shared { clock, limits, state: Mutex::new(state), work, done });
        let theirs = shared.clone();
        let syncer = thread::Builder::new()
            .name("audit".to_owned())
            .spawn(move || syncer::run(&theirs, &head, &sealer, &*keep))
            .map_err(Error::io(dir, "synced by a thread"))?;
        let (syncer, dir) = (Mutex::new(Some(syncer)), dir.to_owned());
        Ok(Self(Arc::new(Open { shared, syncer, dir, known, damage: OnceLock::new() })))
    }

    /// Reads the whole log as it was left, in a thread of its own. What is wrong with it is logged, recorded, and
    /// answered by [`Log::damage`] from then on.
    ///
    /// # Errors
    /// When there can be no thread.
    pub(crate) fn examine(&self) -> Result<JoinHandle<()>, Error> {
        let log = self.clone();
        let examine = move || {
            let Err(fault) = verify(&log.0.dir, &log.0.known) else { return };
            let fault = chain_of(&fault);
            tracing::error!(fault, "audit log is not whole");
            let mut state = log.0.shared.lock();
            state.writer.note(Own::Damaged { fault: fault.clone() });
            state.is_dirty = true;
            drop(state);
            log.0.shared.work.notify_one();
            log.0.damage.set(fault).ok();
        };
        let thread = thread::Builder::new().name("audit-examiner".to_owned()).spawn(examine);
        thread.map_err(Error::io(&self.0.dir, "examined by a thread"))
    }

    /// What [`Log::examine`] found to be wrong.
    pub(crate) fn damage(&self) -> Option<&str> {
        self.0.damage.get().map(String::as_str)
    }

    /// The last checkpoint that is on the disk for certain.
    pub(crate) fn checkpoint(&self) -> Option<Checkpoint> {
        self.0.shared.lock().checkpoint
    }

    /// A log with a key in its own folder, and nothing outside.
    #[cfg(test)]
    pub(crate) fn in_test(dir: &Path, limits: Limits, clock: Clock) -> Result<Self, Error> {
        let outside = Outside { key: dir.join("audit.key"), known: None, keep: Box::new(|_| {}) };
        Self::open(dir, limits, outside, clock)
    }

    /// Accepts a record; answers its number. A refusal that was only counted answers the number of the last record.
    /// Where durability is strict it waits for the disk, with a bound.
    ///
    /// # Errors
    /// When the record was not accepted: there is no space (also none in the reserve, for a renewal), the disk fails,
    /// or the log is closed. Nothing of it was written then. In strict durability also when the disk does not answer;
    /// then the record may be there.
    pub(crate) fn append(&self, record: &Record, urgency: Urgency) -> Result<Sequence, Error> {
        let shared = &self.0.shared;
        let body = record::body(record)?;
        let mut state = shared.lock();
        let now = shared.clock.now();
        state.check()?;
        state.write_counts(now);
        let refused = match record {
            Record::Refused { caller, reasons, .. } => Some((caller.uid, reasons.as_slice())),
            _ => None,
        };
        let had_counts = state.refusals.has_any();
        if let Some((uid, reasons)) = refused
            && !state.refusals.admit(uid, reasons, now)
        {
            if !had_counts {
                // The syncer must know when the minute is over.
                shared.work.notify_one();
            }
            return Ok(Sequence(state.writer.last()));
        }
        let appended = state.writer.append(&body, urgency, now);
        if let (Err(_), Some((uid, reasons))) = (&appended, refused) {
            state.refusals.count(uid, reasons, now);
        }
        let number = appended?;
        if !std::mem::replace(&mut state.is_dirty, true) {
            shared.work.notify_one();
        }
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

impl Shared {
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sleeps until there may be work, at most so long.
    pub(super) fn wait<'a>(&self, state: MutexGuard<'a, State>, most: Option<Duration>) -> MutexGuard<'a, State> {
        match most {
            None => self.work.wait(state).unwrap_or_else(PoisonError::into_inner),
            Some(most) => self.work.wait_timeout(state, most).unwrap_or_else(PoisonError::into_inner).0,
        }
    }

    /// Sleeps so long, or until the log is closed.
    pub(super) fn pause<'a>(&self, state: MutexGuard<'a, State>, so_long: Duration) -> MutexGuard<'a, State> {
        self.work.wait_timeout_while(state, so_long, |state| !state.is_closed).unwrap_or_else(PoisonError::into_inner).0
    }

    /// Waits until a record is on the disk. A worker of the runtime hands its other tasks over meanwhile: they may be
    /// the ones that the next sync gathers.
    fn wait_for_disk(&self, number: u64) -> Result<(), Error> {
        match Handle::try_current().map(|handle| handle.runtime_flavor()) {
            Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(|| self.block_on_disk(number)),
            _ => self.block_on_disk(number),
        }
    }

    fn block_on_disk(&self, number: u64) -> Result<(), Error> {
        let is_waiting = |state: &mut State| state.synced < number && !state.is_failing;
        let state = self.lock();
        let (state, _) =
            self.done.wait_timeout_while(state, DISK_WAIT_MAX, is_waiting).unwrap_or_else(PoisonError::into_inner);
        match state.synced >= number {
            true => Ok(()),
            false => Err(Error::Slow { seconds: DISK_WAIT_MAX.as_secs() }),
        }
    }
}

impl State {
    fn check(&self) -> Result<(), Error> {
        match (self.is_closed, self.is_failing) {
            (true, _) => Err(Error::Closed),
            (_, true) => Err(Error::Failing),
            _ => Ok(()),
        }
    }

    /// Writes what the log has to say of itself. What finds no room waits for the next record.
    pub(super) fn write_notes(&mut self, now: SystemTime) {
        let last = self.writer.last();
        if let Err(error) = self.writer.write_notes(now) {
            tracing::debug!(%error, "audit log does not take its own record");
        }
        self.is_dirty |= self.writer.last() != last;
    }

    /// Writes a checkpoint that was signed.
    pub(super) fn write_seal(&mut self, made: Result<Own, Error>, sealer: &Sealer, now: SystemTime) {
        match made.and_then(|seal| self.writer.seal(&seal, now)) {
            Ok((segment, link)) => {
                self.checkpoint = Some(Checkpoint { segment, link, key: sealer.fingerprint() });
                self.is_dirty = true;
            }
            Err(error) => tracing::warn!(error = %chain_of(&error), "audit checkpoint not written"),
        }
    }

    /// Writes the refusals that were counted, when it is time.
    pub(super) fn write_counts(&mut self, now: SystemTime) {
        for own in self.refusals.take_due(now, self.is_closed) {
            let written = record::body(&own).and_then(|body| self.writer.append(&body, Urgency::Ordinary, now));
            match written {
                Ok(_) => self.is_dirty = true,
                Err(_) => self.refusals.give_back(own),
            }
        }
    }
}

/// How long a record is waited for in strict durability.
const DISK_WAIT_MAX: Duration = Duration::from_secs(5);
