//! What the door and the syncer share: the log's end under one lock, and who waits for whom.

use std::{
    sync::{Condvar, Mutex, MutexGuard, OnceLock, PoisonError},
    time::{Duration, SystemTime},
};

use crate::sys::{Clock, chain as chain_of, threads};

use super::{
    Error, Limits, Record,
    checkpoint::Statement,
    issues::Issues,
    record::{self, Own, Urgency},
    refusals::{Refusals, Weight},
    writer::{LINK_BYTES, Writer},
};

/// What the door and the syncer share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) clock: Clock,
    pub(super) limits: Limits,
    state: Mutex<State>,
    /// Why the log is not whole: the first thing that was found.
    pub(super) damage: OnceLock<String>,
    /// There is something to sync, or the log is closed.
    pub(super) work: Condvar,
    /// Something was synced, or could not be.
    pub(super) done: Condvar,
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) writer: Writer,
    refusals: Refusals,
    issues: Issues,
    /// The last record that is on the disk for certain.
    pub(super) synced: u64,
    pub(super) is_dirty: bool,
    /// The disk did not take what was written. Nothing is accepted until it does.
    pub(super) is_failing: bool,
    pub(super) is_closed: bool,
}

impl Shared {
    pub(super) fn new(clock: Clock, limits: Limits, writer: Writer) -> Self {
        let state = State {
            refusals: Refusals::new(limits.refusals_per_minute, limits.bytes_per_minute, limits.total_bytes_max),
            issues: Issues::new(limits.bytes_per_minute, limits.total_bytes_max),
            synced: 0,
            is_dirty: true,
            is_failing: false,
            is_closed: false,
            writer,
        };
        Self {
            clock,
            limits,
            state: Mutex::new(state),
            damage: OnceLock::new(),
            work: Condvar::new(),
            done: Condvar::new(),
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says everywhere that the log is not whole: in the daemon's log, in a record, and to whoever asks.
    pub(super) fn tell_damage(&self, state: &mut State, fault: String) {
        tracing::error!(fault, "audit log is not whole");
        state.writer.note(Own::Damaged { fault: fault.clone() });
        state.is_dirty = true;
        self.work.notify_one();
        self.damage.set(fault).ok();
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

    /// Waits until a record is on the disk. A worker of the runtime hands its other tasks over meanwhile, where there is
    /// a thread for that: they may be the ones that the next sync gathers.
    pub(super) fn wait_for_disk(&self, number: u64) -> Result<(), Error> {
        threads::in_place(|| self.block_on_disk(number))
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
    pub(super) fn check(&self) -> Result<(), Error> {
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
    pub(super) fn write_seal(&mut self, made: Result<Own, Error>, statement: &Statement, now: SystemTime) {
        match made.and_then(|seal| self.writer.seal(&seal, statement, now)) {
            Ok(()) => self.is_dirty = true,
            Err(error) => tracing::warn!(error = %chain_of(&error), "audit checkpoint not written"),
        }
    }

    /// Writes a record, or counts it; answers the number of the record that speaks of it.
    pub(super) fn accept(&mut self, record: &Record, urgency: Urgency, now: SystemTime) -> Result<u64, Error> {
        self.write_counts(now);
        match record {
            Record::Refused { caller, reasons, holder, .. } => {
                let body = record::body(record)?;
                let weight = match holder {
                    Some(holder) => Weight::Of(holder),
                    None if urgency == Urgency::Slight => Weight::Slight,
                    None => Weight::Ordinary,
                };
                if !self.refusals.admit(caller.uid, reasons, (size(&body), weight), now) {
                    // It does not have to last before it is answered.
                    return Ok(self.synced);
                }
                let written = self.write(&body, urgency, now);
                written.inspect_err(|_| self.refusals.count(caller.uid, reasons, now))
            }
            Record::Issued { caller, credential, identities, .. } => {
                if let Some(number) = self.issues.count(caller, credential, identities, now) {
                    return Ok(number);
                }
                let body = record::body(record)?;
                if self.issues.admit(caller.uid, size(&body)) {
                    return self.write(&body, urgency, now);
                }
                // Before any that is counted leaves, the log says that some may.
                let number = self.write(&record::body(&self.issues.counting(caller.uid, credential))?, urgency, now)?;
                self.issues.begin(caller.uid, credential, number, now);
                self.issues.count(caller, credential, identities, now);
                Ok(number)
            }
            _ => self.write(&record::body(record)?, urgency, now),
        }
    }

    fn write(&mut self, body: &[u8], urgency: Urgency, now: SystemTime) -> Result<u64, Error> {
        let number = self.writer.append(body, urgency, now)?;
        self.is_dirty = true;
        Ok(number)
    }

    /// Writes what was counted, when it is time.
    pub(super) fn write_counts(&mut self, now: SystemTime) {
        for own in self.refusals.take_due(now, self.is_closed) {
            if record::body(&own).and_then(|body| self.write(&body, Urgency::Ordinary, now)).is_err() {
                self.refusals.give_back(own);
            }
        }
        // Credentials have left, so it may use the reserve.
        for own in self.issues.take_due(now, self.is_closed) {
            if record::body(&own).and_then(|body| self.write(&body, Urgency::Renewal, now)).is_err() {
                self.issues.give_back(own);
            }
        }
    }

    /// Whether anything is counted that was not told.
    pub(super) fn has_counts(&self) -> bool {
        self.refusals.has_any() || self.issues.has_any()
    }

    /// How long it is until what was counted is due.
    pub(super) fn counts_due_in(&self, now: SystemTime) -> Option<Duration> {
        self.refusals.due_in(now).into_iter().chain(self.issues.due_in(now)).min()
    }
}

/// About what a record's line has.
fn size(body: &[u8]) -> usize {
    body.len().saturating_add(LINK_BYTES)
}

/// How long a record is waited for in strict durability.
const DISK_WAIT_MAX: Duration = Duration::from_secs(5);
