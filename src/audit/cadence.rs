//! When the next checkpoint is due.

use std::time::{Duration, SystemTime};

/// For how long, and for how many records, there may be no checkpoint while there are records to sign.
const UNSEALED_MAX: Duration = Duration::from_secs(10);
const UNSEALED_RECORDS_MAX: u64 = 10_000;

/// What is signed, and what is not.
#[derive(Debug, Default)]
pub(super) struct Cadence {
    /// The number of the last checkpoint, and of the last record when one was tried.
    sealed: u64,
    tried: u64,
    /// Since when there is something that no checkpoint signs.
    unsealed_since: Option<SystemTime>,
    /// Whether the next checkpoint does not wait.
    is_urgent: bool,
}

impl Cadence {
    /// How long it is until a checkpoint is due; `None` while everything is signed.
    pub(super) fn due_in(&self, now: SystemTime) -> Option<Duration> {
        let since = self.unsealed_since?;
        if self.is_urgent {
            return Some(Duration::ZERO);
        }
        // A clock that was set back must not hold a checkpoint for hours.
        Some((since + UNSEALED_MAX).duration_since(now).unwrap_or_default().min(UNSEALED_MAX))
    }

    /// There is a record of this number to sign.
    pub(super) fn wrote(&mut self, seq: u64, now: SystemTime) {
        let since = *self.unsealed_since.get_or_insert(now);
        let is_long = now.duration_since(since).is_ok_and(|unsealed| unsealed >= UNSEALED_MAX);
        self.is_urgent |= is_long || seq.saturating_sub(self.sealed.max(self.tried)) >= UNSEALED_RECORDS_MAX;
    }

    /// What is there is to be signed now.
    pub(super) fn hurry(&mut self, now: SystemTime) {
        self.unsealed_since.get_or_insert(now);
        self.is_urgent = true;
    }

    /// A checkpoint is tried now behind this record; one that comes to nothing is due again later.
    pub(super) fn tried(&mut self, seq: u64, now: SystemTime) {
        *self = Self { sealed: self.sealed, tried: seq, unsealed_since: Some(now), is_urgent: false };
    }

    /// The record of this number is a checkpoint.
    pub(super) fn sealed(&mut self, seq: u64) {
        *self = Self { sealed: seq, ..Self::default() };
    }
}
