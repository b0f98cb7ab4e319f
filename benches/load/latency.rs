//! How long a caller waits for its first message.

use std::{env, path::Path, thread, time::Duration};

use anyhow::{Result, bail};

use crate::{
    Plan,
    daemon::Daemon,
    files::{self, Folder},
    goals::{Goal, spire},
    order::{Answer, Loader, Order},
    table::{Runs, Table, Times},
};

/// The size of a large workload.
const LARGE_BYTES: u64 = 50_000_000;

pub(crate) fn run(plan: &Plan, table: &mut Table) -> Result<()> {
    let own = env::current_exe()?;
    let rounds = plan.pick(2_000, 500);
    let daemon = Daemon::with_entry(&[])?;
    let mut loader = Loader::start(&own, &daemon.socket())?;
    let reused = times(&mut loader, Order::Reused { rounds }, plan)?;
    let fresh = times(&mut loader, Order::Fresh { rounds }, plan)?;
    drop((loader, daemon));
    let units = plan.units();
    let goal = Goal::at_most(140.0).or_portable(2.5 * units.wake + 2.0 * units.sign);
    let goals = [goal, Goal::at_most(350.0)];
    table.latency("reused_us", "first SVID, connection reused", "µs", &reused, goals, spire::REUSED);
    // The goal's "+ 2 S" is on top of what a connection costs; the form that fits its figure is 5 W + 4 S.
    let goal = Goal::at_most(270.0).or_portable(5.0 * units.wake + 4.0 * units.sign);
    let goals = [goal, Goal::at_most(600.0)];
    table.latency("fresh_us", "first SVID, new connection", "µs", &fresh, goals, spire::FRESH);
    if let Some(mut loader) = plan.spire()? {
        let none = [Goal::default(); 2];
        let reused = times(&mut loader, Order::Reused { rounds }, plan)?;
        table.latency("spire_reused_us", "  SPIRE beside it, reused", "µs", &reused, none, "");
        let fresh = times(&mut loader, Order::Fresh { rounds }, plan)?;
        table.latency("spire_fresh_us", "  SPIRE beside it, new connection", "µs", &fresh, none, "");
    }
    with_path(plan, table, &own, fresh.p50.median())?;
    with_hash(plan, table)
}

/// What the challenge of a running image costs.
fn with_path(plan: &Plan, table: &mut Table, own: &Path, plain: f64) -> Result<()> {
    let daemon = Daemon::with_entry(&[format!("unix:path:{}", own.display())])?;
    let mut loader = Loader::start(own, &daemon.socket())?;
    let rounds = plan.pick(2_000, 500);
    let fresh = times(&mut loader, Order::Fresh { rounds }, plan)?;
    let reused = times(&mut loader, Order::Reused { rounds }, plan)?;
    // One round trip and the reading of /proc/PID/exe and maps: no goal of its own, so twice W beside the plain figure.
    let goals = [Goal { absolute: None, portable: Some(plain + 2.0 * plan.units().wake) }, Goal::default()];
    table.latency("path_fresh_us", "… the same, entry with unix:path", "µs", &fresh, goals, "");
    table.latency("path_reused_us", "… the same, connection reused", "µs", &reused, [Goal::default(); 2], "");
    Ok(())
}

fn with_hash(plan: &Plan, table: &mut Table) -> Result<()> {
    let mut once = Runs::default();
    let mut after = Times::default();
    for _ in 0..plan.pick(5, 1) {
        let folder = Folder::new()?;
        let program = folder.join("caller");
        files::padded_program(&program, LARGE_BYTES)?;
        // A file changed within the last 2 s is hashed each time: it may change again within its timestamp.
        thread::sleep(Duration::from_millis(2_200));
        let daemon = Daemon::with_entry(&[format!("unix:sha256:{}", files::sha256(&program)?)])?;
        let mut loader = Loader::start(&program, &daemon.socket())?;
        once.push(one(&mut loader, Order::Fresh { rounds: 1 })?.0 / 1e3);
        let (p50, p99) = one(&mut loader, Order::Fresh { rounds: plan.pick(500, 200) })?;
        after.p50.push(p50);
        after.p99.push(p99);
    }
    table.runs("hash_once_ms", "first answer, 50 MB caller hashed", "ms", &once, Goal::at_most(45.0), spire::HASHED);
    let goals = [Goal::at_most(270.0 + 2.0 * plan.units().wake), Goal::default()];
    table.latency("hash_after_us", "… afterwards, new connection", "µs", &after, goals, spire::HASHED);
    Ok(())
}

/// The same order, run after run.
fn times(loader: &mut Loader, order: Order, plan: &Plan) -> Result<Times> {
    let mut times = Times::default();
    for _ in 0..plan.pick(5, 3) {
        let (p50, p99) = one(loader, order)?;
        times.p50.push(p50);
        times.p99.push(p99);
    }
    Ok(times)
}

fn one(loader: &mut Loader, order: Order) -> Result<(f64, f64)> {
    match loader.ask(order)? {
        Answer::Latency { p50, p99, .. } => Ok((p50, p99)),
        other => bail!("{order:?} was answered {other:?}"),
    }
}
