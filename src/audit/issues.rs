//! Credentials that were issued are listed one by one, up to a number of bytes for each party; beyond it they are
//! counted until the minute is over.
//!
//! No credential leaves before a record says so, also then: the first of them waits until it is recorded that from now
//! on they are counted (`issued_counting`). What they came to is told after the minute (`issued_more`). A daemon that
//! is killed in between leaves the first record without the second: that some were issued is known, and not how many.

use std::{
    collections::HashMap,
    time::{Duration, SystemTime},
};

use super::{
    chain::Hash,
    minute::{Allowances, Minute},
    record::{Caller, IdentityIssued, Own},
    rows::Rows,
};

/// How many counts wait for space on the disk. Of those beyond it is never told how many they were.
pub(super) const UNTOLD_MAX: usize = 1024;

/// The credentials of one minute.
#[derive(Debug)]
pub(super) struct Issues {
    minute: Minute,
    allowances: Allowances,
    /// By who has the bytes, and the kind of credential.
    folds: HashMap<(Option<u32>, &'static str), Fold>,
    /// What could not be written.
    untold: Vec<Own>,
}

/// Credentials that are counted.
#[derive(Debug)]
struct Fold {
    /// The record that says so.
    of: u64,
    count: u64,
    since: SystemTime,
    until: SystemTime,
    serials: Hash,
    rows: Rows,
}

impl Issues {
    /// With so many bytes for each party and minute, in a log that has at most so many.
    pub(super) fn new(per_minute: u64, total: u64) -> Self {
        let (minute, allowances) = (Minute::default(), Allowances::new(per_minute, total));
        Self { minute, allowances, folds: HashMap::new(), untold: Vec::new() }
    }

    /// Whether these are counted already; answers the number of the record that says so.
    pub(super) fn count(
        &mut self,
        caller: &Caller,
        credential: &'static str,
        identities: &[IdentityIssued],
        now: SystemTime,
    ) -> Option<u64> {
        let fold = self.folds.get_mut(&(self.allowances.payer(caller.uid), credential))?;
        identities.iter().for_each(|issued| fold.add(caller, issued, now));
        Some(fold.of)
    }

    /// Whether a record of so many bytes may be written. If not, what is issued is counted from the record on that
    /// [`Issues::counting`] makes.
    pub(super) fn admit(&mut self, uid: u32, bytes: usize) -> bool {
        let payer = self.allowances.payer(uid);
        self.allowances.take(payer, bytes)
    }

    /// The record that says that they are counted.
    pub(super) fn counting(&self, uid: u32, credential: &'static str) -> Own {
        Own::IssuedCounting { uid: self.allowances.payer(uid), credential, until: self.minute.end() }
    }

    /// They are counted, which the record of this number says.
    pub(super) fn begin(&mut self, uid: u32, credential: &'static str, of: u64, now: SystemTime) {
        let (serials, rows) = (Hash::of(b""), Rows::default());
        let fold = Fold { of, count: 0, since: now, until: now, serials, rows };
        self.folds.insert((self.allowances.payer(uid), credential), fold);
    }

    /// Whether anything is counted that was not told.
    pub(super) fn has_any(&self) -> bool {
        !self.folds.is_empty() || !self.untold.is_empty()
    }

    /// What was counted, once its minute is over; or at once when everything ends. Whoever takes it and cannot write
    /// it gives it back.
    pub(super) fn take_due(&mut self, now: SystemTime, at_once: bool) -> Vec<Own> {
        let minutes = self.minute.pass(now);
        if minutes == 0 && !at_once {
            return Vec::new();
        }
        self.allowances.refill(minutes);
        let folds = self.folds.drain().map(|((uid, credential), fold)| fold.told(uid, credential));
        let mut due: Vec<_> = self.untold.drain(..).chain(folds).collect();
        due.sort_by_key(|own| if let Own::IssuedMore { of, .. } = own { *of } else { 0 });
        due
    }

    /// Takes back what could not be written.
    pub(super) fn give_back(&mut self, own: Own) {
        if self.untold.len() < UNTOLD_MAX {
            self.untold.push(own);
        }
    }

    /// How long it is until what was counted is due.
    pub(super) fn due_in(&self, now: SystemTime) -> Option<Duration> {
        self.has_any().then(|| self.minute.left(now))
    }
}

impl Fold {
    fn add(&mut self, caller: &Caller, issued: &IdentityIssued, now: SystemTime) {
        self.count = self.count.saturating_add(1);
        self.until = now;
        self.serials = Hash::of(format!("{}{}", self.serials, issued.serial).as_bytes());
        self.rows.add(caller.pid, caller.uid, &issued.entry);
    }

    fn told(self, uid: Option<u32>, credential: &'static str) -> Own {
        let Self { of, count, since, until, serials, rows } = self;
        let (serials, (rows, without_row)) = (serials.to_string(), rows.told());
        Own::IssuedMore { of, uid, credential, count, since, until, serials, rows, without_row }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

    use super::*;
    use crate::{
        audit::{
            record::{self, RECORD_BYTES_MAX, Row},
            rows::{ENTRIES_MAX, PROCESSES_MAX, UIDS_MAX},
        },
        spiffe::Id,
    };

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn caller(pid: i32, uid: u32) -> Caller {
        Caller { pid, uid, gid: 1, exe: None }
    }

    fn identity(serial: &str) -> IdentityIssued {
        let spiffe_id = Id::parse("spiffe://example.org/a").unwrap();
        IdentityIssued {
            spiffe_id,
            entry: "e".into(),
            revision: 1,
            serial: serial.into(),
            not_after: at(9_000),
            access: None,
        }
    }

    /// Issues of a party that has spent its bytes, and counts from record 9 on.
    fn counting() -> Issues {
        let mut issues = Issues::new(100, 0);
        issues.take_due(at(60), false);
        assert!(issues.admit(7, 100) && !issues.admit(7, 1));
        assert!(issues.count(&caller(1, 7), "x", &[identity("s")], at(61)).is_none());
        assert_eq!(issues.counting(7, "x"), Own::IssuedCounting { uid: Some(7), credential: "x", until: at(120) });
        issues.begin(7, "x", 9, at(61));
        issues
    }

    #[test]
    fn those_beyond_the_bytes_are_counted_and_told_after_the_minute() {
        let mut issues = counting();
        assert_eq!(issues.count(&caller(1, 7), "x", &[identity("a"), identity("b")], at(62)), Some(9));
        assert_eq!(issues.count(&caller(2, 7), "x", &[identity("c")], at(63)), Some(9));
        assert_eq!(issues.count(&caller(1, 7), "y", &[identity("d")], at(63)), None, "another kind has its own");
        assert_eq!(issues.count(&caller(1, 8), "x", &[identity("d")], at(63)), None, "so has another party");
        assert_eq!(issues.due_in(at(100)), Some(Duration::from_secs(20)));
        assert!(issues.take_due(at(119), false).is_empty());
        let chained = |before: String, serial: &str| Hash::of(format!("{before}{serial}").as_bytes()).to_string();
        let serials = ["a", "b", "c"].into_iter().fold(Hash::of(b"").to_string(), chained);
        let row = |pid, count| Row { pid: Some(pid), uid: 7, entry: Some("e".into()), count };
        let (since, until, rows) = (at(61), at(63), vec![row(1, 2), row(2, 1)]);
        let told = Own::IssuedMore {
            of: 9,
            uid: Some(7),
            credential: "x",
            count: 3,
            since,
            until,
            serials,
            rows,
            without_row: 0,
        };
        assert_eq!(issues.take_due(at(120), false), [told]);
        assert!(!issues.has_any() && issues.admit(7, 100), "a new minute");
    }

    #[test]
    fn all_that_is_counted_is_in_a_row_or_said_to_be_in_none() {
        let mut issues = Issues::new(100, 0);
        issues.take_due(at(60), false);
        issues.begin(100_000, "x", 9, at(61));
        for uid in 100_000..102_000 {
            issues.count(&caller(1, uid), "x", &[identity("a"), identity("b")], at(62)).unwrap();
        }
        let due = issues.take_due(at(120), false);
        let [Own::IssuedMore { count: 4_000, rows, without_row, .. }] = due.as_slice() else { panic!("{due:?}") };
        assert_eq!(rows.iter().map(|row| row.count).sum::<u64>() + without_row, 4_000);
        assert_eq!((rows.len(), *without_row), (128 + 256 + 1024, 2 * (2_000 - 128 - 256 - 1024)));
    }

    #[test]
    fn the_longest_count_is_no_longer_than_a_record_may_be() {
        let row = |pid, entry| Row { pid, uid: u32::MAX, entry, count: u64::MAX };
        let entry = || Some("f".repeat(36));
        let rows = std::iter::repeat_with(|| row(Some(i32::MIN), entry())).take(PROCESSES_MAX);
        let rows = rows.chain(std::iter::repeat_with(|| row(None, entry())).take(ENTRIES_MAX));
        let rows = rows.chain(std::iter::repeat_with(|| row(None, None)).take(UIDS_MAX)).collect();
        let (most, serials) = (u64::MAX, "f".repeat(64));
        let (of, uid, count, without_row) = (most, Some(u32::MAX), most, most);
        let (since, until, credential) = (at(61), at(62), "x509-svid");
        let body =
            record::body(&Own::IssuedMore { of, uid, credential, count, since, until, serials, rows, without_row });
        let bytes = body.unwrap().len();
        assert!((RECORD_BYTES_MAX / 2..RECORD_BYTES_MAX).contains(&bytes), "{bytes}");
    }

    #[test]
    fn what_could_not_be_written_is_told_later_and_not_without_end() {
        let mut issues = counting();
        let own = issues.take_due(at(120), false).pop().unwrap();
        for _ in 0..UNTOLD_MAX + 5 {
            issues.give_back(own.clone());
        }
        assert!(issues.take_due(at(130), false).is_empty() && issues.has_any());
        assert_eq!(issues.take_due(at(180), false).len(), UNTOLD_MAX);
    }
}
