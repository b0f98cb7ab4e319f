//! The floods' table.

use std::time::Duration;

use super::{bystander::Times, flooder::Tally};

/// One flood's figures.
pub(super) struct Row {
    pub(super) name: &'static str,
    pub(super) before: Times,
    pub(super) during: Times,
    /// On a daemon that nobody floods, at the same time.
    pub(super) elsewhere: Times,
    pub(super) after: Times,
    pub(super) recovery: Duration,
    /// MiB before, at the peak, left.
    pub(super) rss: [u64; 3],
    /// Of one core.
    pub(super) cpu: f64,
    pub(super) tally: Tally,
    pub(super) ended: String,
    pub(super) faults: Vec<String>,
}

/// Times in milliseconds; p50 / p99.
pub(super) fn print(rows: &[Row]) {
    if rows.len() != 1 {
        println!(
            "bystander's ms: p50/p99 before, during (p99 as a multiple of before and of elsewhere), after; on a new and \
             on a kept connection"
        );
    }
    println!(
        "{:<20} {:>10} {:>24} {:>10} | {:>11} {:>24} {:>10} | {:>5} | {:>12} | {:>4} | flooder: frames, connections, ended",
        "flood", "new before", "during", "after", "kept before", "during", "after", "back", "MiB b/pk/a", "cpu"
    );
    for row in rows {
        let part = |pick: fn(&Times) -> &Vec<Duration>| {
            let [before, during, elsewhere, after] =
                [&row.before, &row.during, &row.elsewhere, &row.after].map(|times| both(pick(times)));
            let [of_before, of_elsewhere] = [before, elsewhere].map(|(_, p99)| during.1 / p99.max(0.001));
            format!(
                "{:>10} {:>24} {:>10}",
                format!("{:.2}/{:.2}", before.0, before.1),
                format!("{:.2}/{:.2} ({of_before:.1}× {of_elsewhere:.1}×)", during.0, during.1),
                format!("{:.2}/{:.2}", after.0, after.1)
            )
        };
        println!(
            "{:<20} {} | {} | {:>5} | {:>12} | {:>3.0}% | {} {} {} {}",
            row.name,
            part(|times| &times.new),
            part(|times| &times.kept),
            format!("{:.1}s", row.recovery.as_secs_f64()),
            format!("{}/{}/{}", row.rss[0], row.rss[1], row.rss[2]),
            row.cpu * 100.0,
            row.tally.sent,
            row.tally.connections,
            row.tally.closed,
            row.ended,
        );
        row.faults.iter().for_each(|fault| println!("    wrong: {fault}"));
    }
}

fn both(times: &[Duration]) -> (f64, f64) {
    let [p50, p99] = [50, 99].map(|percent| Times::percentile(times, percent).as_secs_f64() * 1_000.0);
    (p50, p99)
}
