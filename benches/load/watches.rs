//! Two hundred watches of all kinds: what they cost to keep, how soon a change of an entry or of a foreign bundle is on the
//! last of them, and what they are told of a burst.

use std::{env, thread, time::Duration};

use anyhow::{Result, bail, ensure};

use crate::{
    Plan,
    daemon::{Change, Daemon},
    foreign,
    goals::{Goal, spire},
    order::{Answer, Loader, Order, Says},
    pb::admin::Entry,
    process, start,
    table::{Runs, Table},
};

/// Watches of each kind: X.509-SVIDs, WIT-SVIDs, and the bundles of X.509, JWT and WIT.
const EACH: usize = 40;
const ALL: usize = 5 * EACH;
/// SVIDs have a hint.
const OF_ENTRIES: usize = 2 * EACH;
/// WIT-SVIDs come without a bundle.
const OF_BUNDLES: usize = 4 * EACH;
/// Changes of the entry in a burst, and as many of the bundle.
const BURST: u32 = 10;
/// A stream has a message in this time.
const BETWEEN_MS: f64 = 50.0;
/// A change is to be everywhere within this.
const SOON_MS: f64 = 100.0;

#[derive(Default)]
struct Figures {
    rss: Runs,
    each: Runs,
    idle: Runs,
    entry: Runs,
    bundle: Runs,
    burst: Runs,
    burst_length: Runs,
    burst_messages: Runs,
    burst_most: Runs,
}

pub(crate) fn run(plan: &Plan, table: &mut Table) -> Result<()> {
    let mut figures = Figures::default();
    for _ in 0..plan.pick(2, 1) {
        measure(plan, &mut figures)?;
    }
    let Figures { rss, each, idle, entry, bundle, burst, burst_length, burst_messages, burst_most } = &figures;
    let mut row = |key: &str, figure: &str, unit: &str, runs: &Runs, goal: Goal, spire: &str| {
        table.runs(&format!("watches_{key}"), figure, unit, runs, goal, spire);
    };
    // What an idle daemon and two hundred connections may have.
    let goal = Goal::at_most(14.0 + 200.0 * 28.0 / 1024.0);
    row("rss_mib", &format!("RSS, {ALL} mixed watches, a connection each"), "MiB", rss, goal, spire::NO_WATCHES_RSS);
    row("each_kib", "… per connection", "KiB", each, Goal::at_most(28.0), spire::PER_CONNECTION);
    row("idle_cpu", "… CPU idle", "% of a core", idle, Goal::at_most(0.1), spire::IDLE_CPU);
    let soon = Goal::at_most(SOON_MS);
    let figure = format!("… an entry's change reaches the last of {OF_ENTRIES}");
    row("entry_ms", &figure, "ms", entry, soon, spire::WATCHES);
    let figure = format!("… a foreign bundle's change reaches the last of {OF_BUNDLES}");
    row("bundle_ms", &figure, "ms", bundle, soon, spire::WATCHES);
    row("burst_ms", &format!("… {} changes, the last one reaches all", 2 * BURST), "ms", burst, soon, spire::WATCHES);
    row("burst_length_ms", "… … asked for within", "ms", burst_length, Goal::default(), "");
    row("burst_messages", "… … told to a watch, mean", "messages", burst_messages, Goal::default(), "");
    // The first at once, then one in each interval, and the last after the last change; but half are not few.
    let few = 2.0 + (burst_length.median() / BETWEEN_MS).floor();
    let goal = Goal::at_most(few.min(f64::from(BURST)));
    row("burst_most", "… … told to a watch, most", "messages", burst_most, goal, "");
    Ok(())
}

fn measure(plan: &Plan, figures: &mut Figures) -> Result<()> {
    let mut site = Site::new()?;
    let idle = process::memory(site.daemon.pid())?;
    site.loader.ask(Order::Watch { each: EACH })?;
    thread::sleep(Duration::from_millis(500));
    let memory = process::memory(site.daemon.pid())?;
    figures.rss.push(memory.rss / 1024.0);
    figures.each.push((memory.rss - idle.rss) / ALL as f64);
    figures.idle.push(start::idle_cpu(site.daemon.pid(), plan)?);
    for _ in 0..plan.pick(10, 4) {
        let change = site.next_entry();
        figures.entry.push(site.tell(vec![change], OF_ENTRIES)?.last_ms);
        let change = site.next_bundle()?;
        figures.bundle.push(site.tell(vec![change], OF_BUNDLES)?.last_ms);
    }
    for _ in 0..plan.pick(5, 2) {
        let mut changes = Vec::new();
        for _ in 0..BURST {
            changes.extend([site.next_entry(), site.next_bundle()?]);
        }
        let told = site.tell(changes, ALL)?;
        figures.burst.push(told.last_ms);
        figures.burst_length.push(told.length_ms);
        figures.burst_messages.push(told.messages / ALL as f64);
        figures.burst_most.push(told.most);
    }
    site.loader.ask(Order::Leave)?;
    Ok(())
}

/// A daemon with an entry that federates, and a loader.
struct Site {
    daemon: Daemon,
    loader: Loader,
    entry: Entry,
    /// What the last changes say.
    truth: Says,
}

/// How some changes came to the watches.
struct Told {
    /// From when the last change was asked for to when the last watch had it.
    last_ms: f64,
    /// From the first change to the last.
    length_ms: f64,
    messages: f64,
    most: f64,
}

impl Site {
    fn new() -> Result<Self> {
        let daemon = Daemon::configured("[wit]\nenabled = true\n")?;
        let mut entry = daemon.add_entry(&[])?;
        entry.federates_with = vec![foreign::NAME.into()];
        let loader = Loader::start(&env::current_exe()?, &daemon.socket())?;
        let mut site = Self { daemon, loader, entry, truth: Says { entry: Some(0), bundle: Some(0) } };
        let changes = vec![site.next_bundle()?, site.next_entry()];
        site.daemon.change(changes)?;
        Ok(site)
    }

    fn next_entry(&mut self) -> Change {
        self.entry.hint = foreign::mark(next(&mut self.truth.entry));
        Change::Entry(Box::new(self.entry.clone()))
    }

    fn next_bundle(&mut self) -> Result<Change> {
        Ok(Change::Bundle(foreign::bundle(next(&mut self.truth.bundle))?))
    }

    /// Makes the changes, and waits until all watches were told. Exactly `concerned` of them hear anything, one change in
    /// one message.
    fn tell(&mut self, changes: Vec<Change>, concerned: usize) -> Result<Told> {
        let is_one = changes.len() == 1;
        self.loader.ask(Order::Arm)?;
        let (first_asked, last_asked) = self.daemon.change(changes)?;
        let Answer::Told { last, watches, messages, most } = self.loader.ask(Order::Told { truth: self.truth })? else {
            bail!("a change was answered otherwise");
        };
        ensure!(watches == concerned, "{watches} watches heard of a change for {concerned}");
        ensure!(!is_one || most == 1, "one change came in {most} messages");
        let millis = |from: u64, to: u64| Duration::from_nanos(to.saturating_sub(from)).as_secs_f64() * 1e3;
        let (last_ms, length_ms) = (millis(last_asked, last), millis(first_asked, last_asked));
        Ok(Told { last_ms, length_ms, messages: messages as f64, most: most as f64 })
    }
}

fn next(number: &mut Option<u32>) -> u32 {
    *number.insert(number.unwrap_or(0) + 1)
}
