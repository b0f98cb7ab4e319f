//! The bench: starts the built daemon, loads it from another process, and prints one table.
//!
//! `cargo bench --bench load [-- --quick] [--json FILE] [--only PART]`. It measures first what this machine can do (the
//! units V, S and W), so that a goal found on one machine can be read on another. The daemon's limits per user are raised
//! by its configuration, since all load comes from one user. With `SPIRE_SOCKET` set, the same loader runs against that
//! agent too, where the figures can be compared. Best on an otherwise idle machine, under `nice -n -10`.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a table for people")]

mod client;
mod daemon;
mod files;
mod foreign;
mod goals;
mod latency;
mod loader;
mod mixed;
mod order;
#[expect(dead_code, reason = "the bench uses a part of the generated code")]
#[path = "../../src/pb.rs"]
mod pb;
mod process;
mod proxy;
mod rate;
mod start;
mod streams;
mod table;
mod units;
mod verify;
mod watches;

use std::{env, path::PathBuf, time::Instant};

use anyhow::{Context as _, Result, bail};

use self::{order::Loader, table::Table, units::Units};

/// How much is measured.
pub(crate) struct Plan {
    quick: bool,
    /// Another agent's socket, beside ours.
    spire: Option<PathBuf>,
    units: Units,
}

impl Plan {
    /// `full` of something, or `quick` when there is no time.
    pub(crate) fn pick<T>(&self, full: T, quick: T) -> T {
        if self.quick { quick } else { full }
    }

    pub(crate) fn units(&self) -> &Units {
        &self.units
    }

    /// A loader for the other agent, if there is one.
    pub(crate) fn spire(&self) -> Result<Option<Loader>> {
        self.spire.as_deref().map(|socket| Loader::start(&env::current_exe()?, socket)).transpose()
    }
}

type Part = fn(&Plan, &mut Table) -> Result<()>;

const PARTS: [(&str, Part); 7] = [
    ("verify", verify::run),
    ("proxy", proxy::run),
    ("start", start::run),
    ("latency", latency::run),
    ("rate", rate::run),
    ("streams", streams::run),
    ("watches", watches::run),
];

fn main() -> Result<()> {
    let arguments: Vec<String> = env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match *words {
        ["loader", socket] => loader::run(socket.into()),
        ["echo", socket] => units::echo(socket.as_ref()),
        _ => bench(&words),
    }
}

fn bench(words: &[&str]) -> Result<()> {
    let (mut quick, mut json, mut only) = (false, None, None);
    let mut rest = words.iter();
    while let Some(word) = rest.next() {
        match *word {
            "--quick" => quick = true,
            "--json" => json = Some(PathBuf::from(rest.next().context("--json needs a file")?)),
            "--only" => only = Some(*rest.next().context("--only needs a part")?),
            other => bail!("unknown argument `{other}`; known are --quick, --json FILE and --only PART"),
        }
    }
    if let Some(only) = only.filter(|only| PARTS.iter().all(|(name, _)| name != only)) {
        bail!("there is no part `{only}`; there are {}", PARTS.map(|(name, _)| name).join(", "));
    }
    let began = Instant::now();
    process::raise_descriptor_limit()?;
    let mut table = Table::new();
    println!("The daemon's limits per user are raised by its configuration: all load comes from one user.");
    let units = Units::measure(quick)?;
    units.describe(&mut table);
    let plan = Plan { quick, spire: env::var_os("SPIRE_SOCKET").map(PathBuf::from), units };
    for (name, part) in PARTS.iter().filter(|(name, _)| only.is_none_or(|only| only == *name)) {
        eprintln!("{:>4.0} s  {name}", began.elapsed().as_secs_f64());
        // What can be measured is shown, also when a part fails.
        if let Err(error) = part(&plan, &mut table) {
            eprintln!("{name}: {error:#}");
            table.failed(name, &error);
        }
    }
    table.note(format!("took {:.0} s", began.elapsed().as_secs_f64()));
    table.print();
    if let Some(file) = json {
        std::fs::write(&file, table.json()?).with_context(|| format!("{}", file.display()))?;
    }
    // The table says what failed.
    std::process::exit(i32::from(table.has_failed()))
}
