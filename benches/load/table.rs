//! The one table at the end: aligned text for people, JSON for programs.

use std::fmt::Write as _;

use anyhow::Result;
use serde_json::{Map, Value, json};

use crate::goals::{Goal, Verdict};

/// The same figure from several runs.
#[derive(Clone, Debug, Default)]
pub(crate) struct Runs(Vec<f64>);

impl Runs {
    pub(crate) fn push(&mut self, value: f64) {
        self.0.push(value);
    }

    pub(crate) fn median(&self) -> f64 {
        self.at(0.5)
    }

    /// The value below which this share of them lies.
    pub(crate) fn at(&self, share: f64) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_unstable_by(f64::total_cmp);
        let last = sorted.len().saturating_sub(1);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a place within a small list")]
        let place = (share * sorted.len() as f64) as usize;
        sorted.get(place.min(last)).copied().unwrap_or(f64::NAN)
    }

    /// The median, and the least and the most where they differ.
    pub(crate) fn text(&self, unit: &str) -> String {
        let (low, high) = (self.at(0.0), self.at(1.0));
        match self.0.len() {
            0 | 1 => format!("{} {unit}", short(self.median())),
            _ => format!("{} ({}–{}) {unit}", short(self.median()), short(low), short(high)),
        }
    }
}

/// Three figures that matter, no more.
pub(crate) fn short(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

/// All figures so far.
pub(crate) struct Table {
    rows: Vec<[String; 5]>,
    values: Map<String, Value>,
    notes: Vec<String>,
    failed: bool,
}

const HEAD: [&str; 5] = ["figure", "measured", "goal (portable here)", "SPIRE 1.15.3", "met?"];

impl Table {
    pub(crate) fn new() -> Self {
        Self { rows: Vec::new(), values: Map::new(), notes: Vec::new(), failed: false }
    }

    /// A figure that several runs gave. `key` is its name in JSON.
    pub(crate) fn runs(&mut self, key: &str, figure: &str, unit: &str, runs: &Runs, goal: Goal, spire: &str) {
        let verdict = goal.verdict(runs.median());
        let limit = |limit: f64| format!("≤ {} {unit}", short(limit));
        self.row(key, runs, [figure.into(), runs.text(unit), goal_text(goal, limit), spire.into()], verdict);
    }

    /// A latency: the median over runs of p50 and p99, each with its goal; the spread is of p50.
    pub(crate) fn latency(
        &mut self,
        key: &str,
        figure: &str,
        unit: &str,
        times: &Times,
        goals: [Goal; 2],
        spire: &str,
    ) {
        let (p50, p99) = (times.p50.median(), times.p99.median());
        let spread = format!("{}–{}", short(times.p50.at(0.0)), short(times.p50.at(1.0)));
        let measured = format!("{} / {} ({spread}) {unit}", short(p50), short(p99));
        let verdict = match (goals[0].verdict(p50), goals[1].verdict(p99)) {
            (Verdict::Missed, _) | (_, Verdict::Missed) => Verdict::Missed,
            (first, Verdict::NoGoal) => first,
            (Verdict::Met, second) => second,
            (first, _) => first,
        };
        let limit = |p50: f64| format!("≤ {} {unit}", short(p50));
        let both = match goals[1].absolute {
            Some(p99) => goal_text(goals[0], |p50| format!("≤ {} / {} {unit}", short(p50), short(p99))),
            None => goal_text(goals[0], limit),
        };
        self.row(key, &times.p50, [figure.into(), measured, both, spire.into()], verdict);
        self.value(&format!("{key}_p99"), p99);
    }

    fn row(&mut self, key: &str, runs: &Runs, cells: [String; 4], verdict: Verdict) {
        let [figure, measured, goal, spire] = cells;
        self.values.insert(key.into(), json!({ "median": runs.median(), "runs": runs.0, "met": verdict.word() }));
        self.rows.push([figure, measured, goal, spire, verdict.word().into()]);
    }

    pub(crate) fn value(&mut self, key: &str, value: f64) {
        self.values.insert(key.into(), json!(value));
    }

    pub(crate) fn note(&mut self, words: String) {
        self.notes.push(words);
    }

    pub(crate) fn failed(&mut self, part: &str, error: &anyhow::Error) {
        self.failed = true;
        self.rows.push([part.into(), "failed".into(), String::new(), String::new(), "NO".into()]);
        self.note(format!("{part} failed: {}", format!("{error:#}").lines().next().unwrap_or_default()));
    }

    pub(crate) fn has_failed(&self) -> bool {
        self.failed
    }

    pub(crate) fn print(&self) {
        let head = HEAD.map(String::from);
        let all: Vec<&[String; 5]> = std::iter::once(&head).chain(&self.rows).collect();
        let widths: Vec<usize> =
            (0..HEAD.len()).map(|at| all.iter().map(|row| width(row, at)).max().unwrap_or(0)).collect();
        println!();
        for row in all {
            let mut line = String::new();
            for (cell, width) in row.iter().zip(&widths) {
                write!(line, "{cell:<width$}  ").ok();
            }
            println!("{}", line.trim_end());
        }
        println!();
        println!(
            "measured: p50 / p99 (least–most p50 of the runs), or the median (least–most); goal: in brackets its portable form, from V, S and W"
        );
        for note in &self.notes {
            println!("{note}");
        }
    }

    pub(crate) fn json(&self) -> Result<String> {
        let rows: Vec<_> =
            self.rows.iter().map(|row| HEAD.iter().zip(row).collect::<std::collections::BTreeMap<_, _>>()).collect();
        Ok(serde_json::to_string_pretty(&json!({ "values": self.values, "rows": rows, "notes": self.notes }))?)
    }
}

/// p50 and p99 of several runs.
#[derive(Clone, Debug, Default)]
pub(crate) struct Times {
    pub(crate) p50: Runs,
    pub(crate) p99: Runs,
}

fn goal_text(goal: Goal, text: impl Fn(f64) -> String) -> String {
    match (goal.absolute, goal.portable) {
        (Some(absolute), Some(portable)) => format!("{} [{}]", text(absolute), short(portable)),
        (Some(absolute), None) => text(absolute),
        (None, Some(portable)) => format!("[≤ {}]", short(portable)),
        (None, None) => String::new(),
    }
}

fn width(row: &[String; 5], at: usize) -> usize {
    row.get(at).map_or(0, |cell| cell.chars().count())
}
