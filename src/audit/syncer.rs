//! The thread that makes accepted records last: it syncs within 50 ms after the first record since the last time, all
//! records together, and sleeps while there are none.

use std::{
    fs,
    io::{self},
    os::unix::fs::FileExt as _,
    sync::{Arc, MutexGuard},
    time::Duration,
};

use super::{
    Durability,
    carry::Carrier,
    checkpoint::Checkpoint,
    head::{Head, Mark},
    keeper::Keeper,
    seal::Sealer,
    shared::{Shared, State},
};

/// How long records gather before they are synced together. With the sync itself they are on the disk within 50 ms.
const GATHER: Duration = Duration::from_millis(40);

/// How soon a disk that did not take the records is asked again.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

/// What the thread owns.
pub(super) struct Syncer {
    shared: Arc<Shared>,
    head: Head,
    sealer: Arc<Sealer>,
    keeper: Keeper,
    carrier: Carrier,
    /// Where the last sync ended: behind it, pages may have to be written again.
    synced: Option<Mark>,
    /// The last checkpoint that is on the disk for certain.
    checkpoint: Option<Checkpoint>,
}

impl Syncer {
    pub(super) fn new(shared: Arc<Shared>, head: Head, sealer: Arc<Sealer>, keeper: Keeper) -> Self {
        Self { shared, head, sealer, keeper, carrier: Carrier::default(), synced: None, checkpoint: None }
    }

    /// Runs until the log is closed and everything is on the disk, or cannot be brought there.
    pub(super) fn run(mut self) {
        let shared = self.shared.clone();
        let mut state = shared.lock();
        loop {
            state = self.wait_for_work(&shared, state);
            // It may be closed while this turn is made; then there is another one.
            let is_closing = state.is_closed;
            state = self.carrier.step(&shared, state);
            state.write_counts(shared.clock.now());
            state.write_notes(shared.clock.now());
            state = self.seal(&shared, state, is_closing);
            if state.is_dirty {
                state = self.sync(&shared, state);
                if state.is_failing {
                    if state.is_closed {
                        return;
                    }
                    state = shared.pause(state, AGAIN_AFTER);
                    continue;
                }
            }
            let is_last = is_closing && !state.is_dirty && !self.carrier.has_work(&state);
            drop(state);
            match is_last {
                true => self.keeper.settle(self.checkpoint),
                false => self.keeper.offer(self.checkpoint),
            }
            state = self.remove_doomed(&shared, shared.lock());
            if is_last {
                return;
            }
        }
    }

    /// Sleeps while there is nothing to do. What was counted is due when their minute is over,
    /// checkpoints a while after the first record that none signs.
    fn wait_for_work<'a>(&self, shared: &'a Shared, mut state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        while !state.is_dirty && !state.is_closed && !self.carrier.has_work(&state) {
            let now = shared.clock.now();
            let own = state.counts_due_in(now).into_iter().chain(state.writer.seal_due_in(now)).min();
            let others = self.keeper.due_in(self.checkpoint);
            if own.is_some_and(|due| due.is_zero()) || others.is_some_and(|due| due.is_zero()) {
                break;
            }
            state = shared.wait(state, own.into_iter().chain(others).min());
            if others.is_some() {
                break;
            }
        }
        state
    }

    /// Writes a checkpoint when one is due, and one behind everything that says that the log ends there. It is signed
    /// while the door is open: what comes meanwhile is signed too, in another try; the last try keeps the door shut for
    /// the 20 µs that it takes.
    fn seal<'a>(
        &self,
        shared: &'a Shared,
        mut state: MutexGuard<'a, State>,
        is_closing: bool,
    ) -> MutexGuard<'a, State> {
        let now = shared.clock.now();
        let is_due = state.writer.seal_due_in(now).is_some_and(|due| due.is_zero());
        let is_end = is_closing && !self.carrier.has_work(&state);
        if !is_due && !is_end {
            return state;
        }
        state.writer.begin_seal(now);
        if !state.writer.is_open() {
            return state;
        }
        let mut statement = state.writer.statement(is_end);
        // The door is shut at the end, and what else the log has to say must not come in between.
        for _ in 0..if is_end { 0 } else { OPEN_TRIES } {
            drop(state);
            let made = self.sealer.seal(&statement, now);
            state = shared.lock();
            if statement == state.writer.statement(is_end) {
                state.write_seal(made, &statement, now);
                return state;
            }
            statement = state.writer.statement(is_end);
        }
        let made = self.sealer.seal(&statement, now);
        state.write_seal(made, &statement, now);
        state
    }

    /// Brings everything to the disk. Where that fails, the state says so.
    fn sync<'a>(&mut self, shared: &'a Shared, mut state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        if !state.is_closed && shared.limits.durability == Durability::Soon {
            state = shared.pause(state, GATHER);
        }
        let (mark, file) = state.writer.mark();
        state.is_dirty = false;
        let (was_failing, checkpoint) = (state.is_failing, state.writer.checkpoint());
        drop(state);

        let outcome = match was_failing {
            false => file.sync_data(),
            true => write_again(&file, self.synced.as_ref(), &mark).and_then(|()| file.sync_data()),
        };
        if let Err(error) = &outcome {
            tracing::error!(%error, "audit log not synced");
        } else {
            if let Err(error) = self.head.write(&mark) {
                tracing::warn!(%error, "audit head not written");
            }
            self.synced = Some(mark);
            self.checkpoint = checkpoint;
        }

        let mut state = shared.lock();
        state.is_failing = outcome.is_err();
        match outcome {
            Ok(()) => state.synced = mark.link.seq,
            Err(_) => state.is_dirty = true,
        }
        shared.done.notify_all();
        state
    }

    /// Removes the segments whose removal is signed by a checkpoint that others have.
    fn remove_doomed<'a>(&self, shared: &'a Shared, mut state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        let doomed = state.writer.take_doomed(self.keeper.kept());
        if doomed.is_empty() {
            return state;
        }
        drop(state);
        for path in doomed {
            // A leftover goes when the log is opened next time and is over its cap still.
            if let Err(error) = fs::remove_file(&path) {
                tracing::warn!(%error, path = %path.display(), "old audit segment not removed");
            }
        }
        shared.lock()
    }
}

/// How often a checkpoint is signed in vain.
const OPEN_TRIES: usize = 3;

/// After a sync that failed, the kernel takes pages for clean that are not on the disk, and the next sync says nothing
/// about them. So they are made dirty again.
fn write_again(file: &Arc<fs::File>, synced: Option<&Mark>, mark: &Mark) -> io::Result<()> {
    let mut offset = synced.filter(|synced| synced.segment == mark.segment).map_or(0, |synced| synced.offset);
    let mut page = [0; 64 * 1024];
    while offset < mark.offset {
        let left = usize::try_from(mark.offset - offset).unwrap_or(usize::MAX);
        let most = left.min(page.len());
        let part = page.get_mut(..most).unwrap_or_default();
        file.read_exact_at(part, offset)?;
        file.write_all_at(part, offset)?;
        offset = offset.saturating_add(u64::try_from(most).unwrap_or(u64::MAX));
    }
    Ok(())
}
