//! Every attack of the threat table, run against the built daemon, and against a control.
//!
//! `cargo test --test attacks -- [FILTER…] [--rounds N] [--full] [--without FEATURE] [--list]`
//!
//! An attack is a short script of actors: processes with their own program, uid and namespaces that connect, write,
//! fork, exec and hand things over as told (`puppet`). It is run against the daemon, where each try must be refused,
//! with its reason in the audit log and the rightful owner served before and after; and against a naive server
//! (`naive`), where the secret must come out 95 times of 100. That server believes what most do; where it would not
//! even come to the point, it has every rule of ours but the one that stops the attack. So a broken attack cannot pass
//! for a good defence. Honest twins of the attacks must be served.
//!
//! The table is run again with each newer kernel feature forced off. A try that needs a right which this machine does
//! not give is said in one line, and counted as skipped. Rounds are a tenth unless `--full` (or
//! `DAYFLY_TESTS_FULL=1`). Every process started here dies with the one that started it.
#![expect(
    clippy::expect_used,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::indexing_slicing,
    unreachable_pub,
    reason = "a test program"
)]

mod blank;
mod execs;
mod extras;
mod files;
mod filter;
mod handed;
mod ids;
mod kernel;
mod lane;
mod link;
mod naive;
mod puppet;
mod reuse;
mod run;
mod scene;
mod server;
mod streams;
mod table;
mod twins;
mod userns;
mod wire;

use std::process::ExitCode;

use crate::{
    lane::Order,
    run::{Column, Verdict},
    table::{Attack, Need},
};

/// What the daemon can do without, in a dearer way.
const FEATURES: [&str; 4] = ["peer_pidfd", "pidfd_inode", "pidfd_info", "pass_rights"];
const ROUNDS: usize = 10;
const ROUNDS_FULL: usize = 100;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    // As an interpreter has it: the script's path comes first.
    let is_script = words.first().is_some_and(|word| word.starts_with('/'));
    let (role, rest) =
        words[usize::from(is_script)..].split_first().map_or(("", &[][..]), |(role, rest)| (role.as_str(), rest));
    let done = match role {
        "puppet" => puppet::act(rest).map_err(Into::into),
        "idle" => puppet::idle(),
        "filter" => puppet::filter(rest).map_err(Into::into),
        "own-user-namespace" => puppet::may_have_user_namespace().map_err(Into::into),
        "naive" => naive::serve(rest).map_err(Into::into),
        "lane" => match Order::from_words(rest) {
            Some(order) => lane::run(&order),
            None => Err(anyhow::anyhow!("no such lane")),
        },
        _ => return attack(&words),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{role}: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// What was asked for.
struct Wish {
    filters: Vec<String>,
    rounds: usize,
    columns: Vec<Column>,
}

fn wish(words: &[String]) -> Result<Wish, String> {
    let full = std::env::var_os("DAYFLY_TESTS_FULL").is_some();
    let mut rounds = if full { ROUNDS_FULL } else { ROUNDS };
    let (mut filters, mut without, mut is_control_alone) = (Vec::new(), Vec::new(), false);
    let mut words = words.iter();
    while let Some(word) = words.next() {
        match word.as_str() {
            "--full" => rounds = ROUNDS_FULL,
            "--rounds" => rounds = words.next().and_then(|text| text.parse().ok()).ok_or("--rounds takes a number")?,
            "--without" => without.push(words.next().ok_or("--without takes names, with commas between")?.clone()),
            "--control" => is_control_alone = true,
            "--quiet" | "-q" | "--nocapture" => {}
            word if word.starts_with('-') => return Err(format!("{word} is not understood; see the head of main.rs")),
            word => filters.push(word.to_owned()),
        }
    }
    let list = |names: &str| names.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect::<Vec<_>>();
    let mut columns = vec![Column { title: "control".to_owned(), without: None }];
    if !is_control_alone {
        let all = FEATURES.join(",");
        let alone = FEATURES.iter().copied().chain([all.as_str()]);
        let chosen: Vec<String> =
            if without.is_empty() { [""].into_iter().chain(alone).map(str::to_owned).collect() } else { without };
        columns.extend(chosen.iter().map(|names| Column {
            title: match names.as_str() {
                "" | "none" => "daemon".to_owned(),
                names if names == all => "-all".to_owned(),
                names => format!("-{names}"),
            },
            without: Some(if names == "none" { Vec::new() } else { list(names) }),
        }));
    }
    Ok(Wish { filters, rounds, columns })
}

fn attack(words: &[String]) -> ExitCode {
    if words.iter().any(|word| word == "--list") {
        for attack in table::all() {
            println!("{}: {}", attack.name, attack.what);
        }
        return ExitCode::SUCCESS;
    }
    let wish = match wish(words) {
        Ok(wish) => wish,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::FAILURE;
        }
    };
    let chosen: Vec<&'static Attack> = table::all()
        .filter(|attack| wish.filters.is_empty() || wish.filters.iter().any(|part| attack.name.contains(part)))
        .collect();
    let lacks = table::lacking();
    let (able, unable): (Vec<_>, Vec<_>) =
        chosen.into_iter().partition(|attack| !attack.needs.iter().any(|need| lacks.contains(need)));
    for attack in &unable {
        println!("skipped: {}: this machine gives no {}", attack.name, Need::words(attack.needs));
    }
    let tallies = run::run(&able, &wish.columns, wish.rounds);
    print(&able, &wish.columns, &tallies, unable.len())
}

/// The table, what is wrong, and a line in the words of Cargo's own harness.
fn print(attacks: &[&Attack], columns: &[Column], tallies: &[Vec<run::Tally>], unable: usize) -> ExitCode {
    let (mut passed, mut failed, mut skipped) = (0, 0, unable);
    let titles: Vec<String> = columns.iter().map(|column| format!("{:>12}", column.title)).collect();
    println!("{:<34}{}  reasons", "attack", titles.concat());
    let mut notes = Vec::new();
    for (attack, row) in attacks.iter().zip(tallies) {
        let mut line = format!("{:<34}", attack.name);
        let mut reasons: Vec<&str> = Vec::new();
        for (column, tally) in columns.iter().zip(row) {
            let verdict = tally.verdict(attack, column);
            let mark = match verdict {
                Verdict::Passed | Verdict::Absent => "",
                Verdict::Failed => "!",
                Verdict::Skipped => "~",
            };
            match verdict {
                Verdict::Passed => passed += 1,
                Verdict::Failed => failed += 1,
                Verdict::Skipped => skipped += 1,
                Verdict::Absent => {}
            }
            line += &format!("{:>12}", format!("{mark}{}", tally.figure(attack, column)));
            reasons.extend(tally.reasons.iter().map(String::as_str));
            if matches!(verdict, Verdict::Failed | Verdict::Skipped) {
                notes.push(format!("{} ({}): {}", attack.name, column.title, said(tally)));
            }
        }
        reasons.sort_unstable();
        reasons.dedup();
        println!("{line}  {}", reasons.join(" "));
    }
    for note in &notes {
        println!("{note}");
    }
    let verdict = if failed == 0 { "ok" } else { "FAILED" };
    println!("test result: {verdict}. {passed} passed; {failed} failed; {skipped} skipped");
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn said(tally: &run::Tally) -> String {
    let run::Tally { answered, refused, unrecorded, broken, skipped, owner_denied, .. } = tally;
    let notes: Vec<&str> = tally.notes.iter().map(String::as_str).collect();
    format!(
        "{answered} answered, {refused} refused ({unrecorded} not in the audit log with a reason that fits), {broken} broken, \
         {skipped} skipped, owner denied {owner_denied}\n    {}",
        notes.join("\n    ")
    )
}
