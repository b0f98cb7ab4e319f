//! What a case finds, row by row, so that one wrong row hides no other, and another agent's known faults can be told
//! from unknown ones.

use std::collections::{BTreeMap, BTreeSet};

use super::{deviations::DEVIATIONS, subject::Subject};

/// The rows of one case.
pub struct Rows {
    case: &'static str,
    is_ours: bool,
    asked: BTreeSet<String>,
    wrong: Vec<(String, String)>,
}

impl Rows {
    /// `case` is the name of the test, as `deviations.rs` has it.
    pub fn of(case: &'static str, subject: &Subject) -> Self {
        Self { case, is_ours: subject.ours().is_some(), asked: BTreeSet::new(), wrong: Vec::new() }
    }

    /// A row that must hold; `seen` is what there was instead. A row may be asked several times.
    pub fn must(&mut self, row: impl Into<String>, holds: bool, seen: impl std::fmt::Debug) {
        let row = row.into();
        if !holds {
            self.wrong.push((row.clone(), format!("{seen:.600?}")));
        }
        self.asked.insert(row);
    }

    /// A row with one right answer.
    pub fn equal<T: PartialEq + std::fmt::Debug>(&mut self, row: impl Into<String>, found: T, wanted: T) {
        self.must(row, found == wanted, (found, "instead of", wanted));
    }

    /// Whether all of it is as it must be: of ours everything, of another agent everything but what is known of it.
    pub fn settle(self) {
        let known: BTreeMap<_, _> = DEVIATIONS
            .iter()
            .filter(|one| one.case == self.case && !self.is_ours)
            .map(|one| (one.row, one.why))
            .collect();
        let (expected, unexpected): (Vec<_>, Vec<_>) =
            self.wrong.iter().partition(|(row, _)| known.contains_key(row.as_str()));
        for (row, seen) in &expected {
            println!("known: {}: {row}: {}: {seen}", self.case, known[row.as_str()]);
        }
        let failed: BTreeSet<_> = self.wrong.iter().map(|(row, _)| row.as_str()).collect();
        let stale: Vec<_> = known.keys().filter(|row| !failed.contains(*row)).collect();
        assert!(!self.asked.is_empty(), "{}: no row was asked", self.case);
        assert!(unexpected.is_empty(), "{}:\n{}", self.case, lines(&unexpected));
        assert!(stale.is_empty(), "{}: no deviation any more, or not asked: {stale:?}", self.case);
    }
}

fn lines(rows: &[&(String, String)]) -> String {
    rows.iter().map(|(row, seen)| format!("  {row}: {seen}\n")).collect()
}
