//! How many lines of the operator's log callers can cause. What is left out is counted, and the audit log has it.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use super::party::party_of;

/// Lines that one party causes in a minute.
pub(crate) const LINES_OF_PARTY: u32 = 60;
/// Lines that all of them cause in a minute.
pub(crate) const LINES_MAX: u32 = 600;
const MINUTE: Duration = Duration::from_secs(60);

/// Counts the lines of the present minute.
#[derive(Debug, Default)]
pub(crate) struct Lines(Mutex<Option<Count>>);

#[derive(Debug)]
struct Count {
    since: Instant,
    all: u32,
    /// No more than `LINES_MAX` of them have a line in one minute.
    parties: HashMap<u32, u32>,
}

impl Lines {
    /// Whether one more line about this user may be written now.
    pub(crate) fn may(&self, uid: u32, now: Instant) -> bool {
        let mut count = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = match &mut *count {
            Some(count) if now.saturating_duration_since(count.since) < MINUTE => count,
            over => over.insert(Count { since: now, all: 0, parties: HashMap::new() }),
        };
        if count.all >= LINES_MAX {
            return false;
        }
        let of_party = count.parties.entry(party_of(uid)).or_default();
        if *of_party >= LINES_OF_PARTY {
            return false;
        }
        *of_party += 1;
        count.all += 1;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_party_and_all_have_so_many_lines_a_minute() {
        let (lines, begin) = (Lines::default(), Instant::now());
        let said = |uid, after| (0..2 * LINES_MAX).filter(|_| lines.may(uid, begin + after)).count();
        assert_eq!(said(1_000, Duration::ZERO), 60);
        assert_eq!(said(100_000, Duration::ZERO), 60);
        assert_eq!(said(100_001, Duration::ZERO), 0, "the same party");
        let others: usize = (1..20).map(|uid| said(uid, Duration::from_secs(59))).sum();
        assert_eq!(others, 480, "all together");
        assert_eq!(said(1_000, MINUTE), 60, "the next minute");
    }
}
