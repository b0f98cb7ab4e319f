//! Who was given what, of credentials that are counted: as exactly as there is room for.
//!
//! A row is a process and an entry while there are few of these. Those beyond are told by uid and entry, then by uid
//! alone: whoever comes first with many processes hides which of them it was, and not what another uid was given. Each
//! credential is in one row at most: what a uid has by an entry is the sum of its rows, with a pid and without.

use std::collections::BTreeMap;

use super::record::Row;

/// How many rows name a process and an entry.
pub(super) const PROCESSES_MAX: usize = 128;
/// How many of those one uid has.
pub(super) const PROCESSES_PER_UID: usize = PROCESSES_MAX / 2;
/// How many rows name a uid and an entry.
pub(super) const ENTRIES_MAX: usize = 256;
/// How many rows name a uid. With user namespaces a party has 65,536.
pub(super) const UIDS_MAX: usize = 1024;

/// What was counted for each.
#[derive(Debug, Default)]
pub(super) struct Rows {
    processes: BTreeMap<(i32, u32, String), u64>,
    entries: BTreeMap<(u32, String), u64>,
    uids: BTreeMap<u32, u64>,
    without_row: u64,
}

impl Rows {
    /// One more.
    pub(super) fn add(&mut self, pid: i32, uid: u32, entry: &str) {
        let is_told = self.add_process(pid, uid, entry)
            || add(&mut self.entries, (uid, entry.to_owned()), |rows| rows.len() < ENTRIES_MAX)
            || add(&mut self.uids, uid, |rows| rows.len() < UIDS_MAX);
        if !is_told {
            self.without_row = self.without_row.saturating_add(1);
        }
    }

    fn add_process(&mut self, pid: i32, uid: u32, entry: &str) -> bool {
        add(&mut self.processes, (pid, uid, entry.to_owned()), |rows| {
            let of_uid = || rows.keys().filter(|(_, other, _)| *other == uid).count();
            rows.len() < PROCESSES_MAX && of_uid() < PROCESSES_PER_UID
        })
    }

    /// The rows, and how many credentials are in none.
    pub(super) fn told(self) -> (Vec<Row>, u64) {
        let Self { processes, entries, uids, without_row } = self;
        let processes = processes.into_iter().map(|((pid, uid, entry), count)| Row {
            pid: Some(pid),
            uid,
            entry: Some(entry),
            count,
        });
        let entries =
            entries.into_iter().map(|((uid, entry), count)| Row { pid: None, uid, entry: Some(entry), count });
        let uids = uids.into_iter().map(|(uid, count)| Row { pid: None, uid, entry: None, count });
        (processes.chain(entries).chain(uids).collect(), without_row)
    }
}

/// Counts one for this key; answers whether it has a row.
fn add<K: Ord>(rows: &mut BTreeMap<K, u64>, key: K, has_room: impl Fn(&BTreeMap<K, u64>) -> bool) -> bool {
    if let Some(count) = rows.get_mut(&key) {
        *count = count.saturating_add(1);
        return true;
    }
    let is_new = has_room(rows);
    if is_new {
        rows.insert(key, 1);
    }
    is_new
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All that the rows tell of one uid, and of all.
    fn sum(rows: &[Row], uid: Option<u32>) -> u64 {
        rows.iter().filter(|row| uid.is_none_or(|uid| row.uid == uid)).map(|row| row.count).sum()
    }

    #[test]
    fn a_uid_with_many_processes_does_not_hide_what_another_was_given() {
        let mut rows = Rows::default();
        for pid in 0..1_000 {
            rows.add(pid, 100_001, "a");
        }
        // Each by twenty-one processes: more than there are rows with a pid.
        for pid in 0..21 {
            (0..61).for_each(|entry| rows.add(pid, 100_002, &format!("b{entry:02}")));
        }
        let (rows, without_row) = rows.told();
        assert_eq!(without_row, 0);
        assert_eq!((sum(&rows, Some(100_001)), sum(&rows, Some(100_002))), (1_000, 61 * 21));
        for entry in 0..61 {
            let entry = Some(format!("b{entry:02}"));
            let theirs = rows.iter().filter(|row| row.uid == 100_002 && row.entry == entry);
            assert_eq!(theirs.map(|row| row.count).sum::<u64>(), 21, "{entry:?}");
        }
        let with_pid = |uid| rows.iter().filter(|row| row.uid == uid && row.pid.is_some()).count();
        assert_eq!([100_001, 100_002].map(with_pid), [PROCESSES_PER_UID; 2]);
        // What has no pid is not told twice.
        let rest: Vec<_> = rows.iter().filter(|row| row.uid == 100_001 && row.pid.is_none()).collect();
        assert_eq!(rest, [&Row { pid: None, uid: 100_001, entry: Some("a".into()), count: 1_000 - 64 }]);
    }

    #[test]
    fn beyond_each_limit_a_row_says_less_and_the_sum_is_right() {
        let mut rows = Rows::default();
        let mut given = 0;
        for uid in 0..2_000 {
            for entry in ["a", "b"] {
                rows.add(1, uid, entry);
                rows.add(1, uid, entry);
                given += 2;
            }
        }
        let (rows, without_row) = rows.told();
        let of = |has_pid, has_entry| {
            rows.iter().filter(|row| (row.pid.is_some(), row.entry.is_some()) == (has_pid, has_entry)).count()
        };
        assert_eq!((of(true, true), of(false, true), of(false, false)), (PROCESSES_MAX, ENTRIES_MAX, UIDS_MAX));
        // Two entries a uid.
        let (listed, all) = ((PROCESSES_MAX + ENTRIES_MAX) / 2 + UIDS_MAX, 2_000);
        assert_eq!(without_row, 4 * u64::try_from(all - listed).unwrap_or(0));
        assert_eq!(sum(&rows, None) + without_row, given);
    }

    #[test]
    fn a_row_that_is_there_counts_on_when_all_are_taken() {
        let mut rows = Rows::default();
        rows.add(1, 7, "a");
        (0..10_000).for_each(|uid| rows.add(2, uid, "b"));
        rows.add(1, 7, "a");
        let (rows, _) = rows.told();
        assert!(rows.contains(&Row { pid: Some(1), uid: 7, entry: Some("a".into()), count: 2 }));
    }
}
