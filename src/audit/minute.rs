//! What workloads may have written one by one, so that no caller can fill the disk or push others' records out of the
//! log: the minute in which the rest is counted, and how many bytes are left to whom.

use std::{
    collections::HashMap,
    time::{Duration, SystemTime},
};

use crate::sys::party::party_of;

/// How many parties have bytes of their own. The others share: who comes when the map is full.
pub(super) const PARTIES_MAX: usize = 1024;
/// How many minutes' bytes a party may have at once, where it has had none for as long: a node that starts has all its
/// workloads come at once.
const BURST_MINUTES: u64 = 64;
/// And at most such a part of the whole log.
const BURST_PART: u64 = 64;

/// The minute that counts run in, since 1970.
#[derive(Debug, Default)]
pub(super) struct Minute(u64);

impl Minute {
    /// How many minutes have begun since; at least one where the clock was set back.
    pub(super) fn pass(&mut self, now: SystemTime) -> u64 {
        let minute = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs() / 60;
        let before = std::mem::replace(&mut self.0, minute);
        if minute == before { 0 } else { minute.saturating_sub(before).max(1) }
    }

    /// When it is over.
    pub(super) fn end(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(self.0.saturating_add(1).saturating_mul(60))
    }

    /// How long that is. A clock that was set back must not hold a count for hours.
    pub(super) fn left(&self, now: SystemTime) -> Duration {
        self.end().duration_since(now).unwrap_or_default().min(Duration::from_secs(60))
    }
}

/// The bytes of records that parties may cause. They come back minute by minute.
#[derive(Debug)]
pub(super) struct Allowances {
    per_minute: u64,
    at_once: u64,
    /// `None` is everybody who came when the map was full.
    spent: HashMap<Option<u32>, u64>,
}

impl Allowances {
    /// So many bytes a minute, in a log that has at most so many.
    pub(super) fn new(per_minute: u64, total: u64) -> Self {
        let at_once = per_minute.saturating_mul(BURST_MINUTES).min(total / BURST_PART).max(per_minute);
        Self { per_minute, at_once, spent: HashMap::new() }
    }

    /// Whose bytes these are: the first uid of a party, or nobody's in particular.
    pub(super) fn payer(&self, uid: u32) -> Option<u32> {
        let party = Some(party_of(uid));
        if self.spent.len() < PARTIES_MAX || self.spent.contains_key(&party) { party } else { None }
    }

    /// Takes so many bytes, where they are left.
    pub(super) fn take(&mut self, payer: Option<u32>, bytes: usize) -> bool {
        let spent = self.spent.entry(payer).or_default();
        let after = spent.saturating_add(u64::try_from(bytes).unwrap_or(u64::MAX));
        let fits = after <= self.at_once;
        if fits {
            *spent = after;
        }
        fits
    }

    /// So many minutes are over.
    pub(super) fn refill(&mut self, minutes: u64) {
        let back = self.per_minute.saturating_mul(minutes);
        self.spent.retain(|_, spent| {
            *spent = spent.saturating_sub(back);
            *spent > 0
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_back_minute_by_minute() {
        let mut allowances = Allowances::new(10, 6_400);
        let seven = allowances.payer(7);
        assert!(allowances.take(seven, 100) && !allowances.take(seven, 1), "a part of the log at once");
        allowances.refill(1);
        assert!(!allowances.take(seven, 11) && allowances.take(seven, 10) && !allowances.take(seven, 1));
        allowances.refill(10);
        assert!(allowances.take(seven, 100));
        // Never less than a minute's, however small the log is.
        assert!(Allowances::new(10, 0).take(seven, 10));
    }

    #[test]
    fn a_range_of_uids_has_one_allowance_and_parties_beyond_the_limit_share_one() {
        let mut allowances = Allowances::new(10, 0);
        let (one, other) = (allowances.payer(100_000), allowances.payer(165_535));
        assert!(one == other && allowances.take(one, 10) && !allowances.take(other, 1));
        let many = u32::try_from(PARTIES_MAX).unwrap_or(u32::MAX);
        let taken = (0..many + 100).filter(|uid| {
            let payer = allowances.payer(*uid);
            allowances.take(payer, 10)
        });
        // One place was taken, and those who share one have it together.
        assert_eq!(taken.count(), PARTIES_MAX - 1 + 1);
        assert_eq!(allowances.spent.len(), PARTIES_MAX + 1);
        allowances.refill(1);
        assert!(allowances.spent.is_empty());
    }

    #[test]
    fn a_minute_passes_also_when_the_clock_is_set_back() {
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        let mut minute = Minute::default();
        assert_eq!([600, 659, 660, 900, 60].map(|seconds| minute.pass(at(seconds))), [10, 0, 1, 4, 1]);
        assert_eq!((minute.left(at(70)), minute.end()), (Duration::from_secs(50), at(120)));
        minute.pass(at(600_000));
        assert_eq!(minute.left(at(1_000)), Duration::from_secs(60));
    }
}
