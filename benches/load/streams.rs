//! Many open streams: what they cost to open and to keep, how soon all hear of a change, and what stays after they left.

use std::{env, thread, time::Duration};

use anyhow::{Result, bail};

use crate::{
    Plan,
    daemon::Daemon,
    goals::{Goal, spire},
    order::{Answer, Loader, Order},
    pb::admin::Entry,
    process::{self, moment},
    start,
    table::{Runs, Table},
};

/// A way in which streams lie on connections, and its goals.
struct Shape {
    key: &'static str,
    name: String,
    connections: usize,
    each: usize,
    rss_mib: f64,
    /// Per connection, or per stream where there are many on one.
    each_kib: f64,
    /// Until the last has heard of a change, the certificate being the same.
    change_ms: f64,
    /// … each with a new key and certificate.
    renewal_ms: Option<f64>,
    spire: [&'static str; 2],
}

pub(crate) fn run(plan: &Plan, table: &mut Table) -> Result<()> {
    let most = process::connections_max();
    let shapes = [
        Shape {
            key: "1000x1",
            name: "1,000 streams on 1,000 connections".into(),
            connections: 1_000,
            each: 1,
            rss_mib: 40.0,
            each_kib: 28.0,
            change_ms: 30.0,
            renewal_ms: None,
            spire: [spire::RSS_1000, spire::PER_CONNECTION],
        },
        Shape {
            key: "100x100",
            name: "10,000 streams on 100 connections".into(),
            connections: 100,
            each: 100,
            rss_mib: 64.0,
            each_kib: 5.5,
            change_ms: 150.0,
            renewal_ms: Some(450.0),
            spire: [spire::RSS_10000, spire::PER_STREAM],
        },
        Shape {
            key: "most",
            name: format!("{most} streams, a connection each"),
            connections: most,
            each: 1,
            rss_mib: 270.0 * f64::from(u32::try_from(most)?) / 9_500.0,
            each_kib: 28.0,
            change_ms: 150.0,
            renewal_ms: Some(450.0),
            spire: [spire::MANY, spire::PER_CONNECTION],
        },
    ];
    shapes.iter().try_for_each(|shape| one_shape(shape, plan, table))
}

/// What one round of opening, changing and leaving gave.
#[derive(Default)]
struct Figures {
    rss: Runs,
    pss: Runs,
    anonymous: Runs,
    each: Runs,
    open_wall: Runs,
    open_cpu: Runs,
    idle: Runs,
    change: Change,
    renewal: Change,
    pushed: Runs,
    after: Runs,
}

/// How a change reached all streams.
#[derive(Default)]
struct Change {
    wall: Runs,
    spread: Runs,
    cpu: Runs,
}

fn one_shape(shape: &Shape, plan: &Plan, table: &mut Table) -> Result<()> {
    let mut figures = Figures::default();
    for round in 0..plan.pick(2, 1) {
        measure(shape, plan, round == 0, &mut figures)?;
    }
    let (key, [rss_spire, each_spire]) = (shape.key, shape.spire);
    let name = |what: &str| format!("{key}_{what}");
    table.runs(
        &name("rss_mib"),
        &format!("RSS, {}", shape.name),
        "MiB",
        &figures.rss,
        Goal::at_most(shape.rss_mib),
        rss_spire,
    );
    table.value(&name("pss_mib"), figures.pss.median());
    table.value(&name("anonymous_mib"), figures.anonymous.median());
    let what = if shape.each == 1 { "… per connection" } else { "… per stream" };
    table.runs(&name("each_kib"), what, "KiB", &figures.each, Goal::at_most(shape.each_kib), each_spire);
    table.runs(&name("open_wall_us"), "… opening one, wall", "µs", &figures.open_wall, Goal::default(), "");
    table.runs(&name("open_cpu_us"), "… opening one, CPU of the daemon", "µs", &figures.open_cpu, Goal::default(), "");
    if shape.each == 1 && shape.connections == 1_000 {
        table.runs(&name("idle_cpu"), "… CPU idle", "% of a core", &figures.idle, Goal::at_most(0.1), "");
    }
    let change = &figures.change;
    table.runs(
        &name("change_ms"),
        "… a change reaches the last",
        "ms",
        &change.wall,
        Goal::at_most(shape.change_ms),
        spire::CHANGE,
    );
    table.runs(
        &name("change_spread_ms"),
        "… … from the first to the last",
        "ms",
        &change.spread,
        Goal::default(),
        "620 ms",
    );
    table.runs(&name("change_cpu_us"), "… … CPU per stream", "µs", &change.cpu, Goal::at_most(10.0), "");
    let renewal = &figures.renewal;
    let goal = shape.renewal_ms.map(Goal::at_most).unwrap_or_default();
    table.runs(&name("renewal_ms"), "… a new key and certificate for all", "ms", &renewal.wall, goal, "");
    let goal = Goal::at_most(10.0 + 41.0).or_portable(10.0 + 2.6 * plan.units().sign);
    table.runs(&name("renewal_cpu_us"), "… … CPU per stream", "µs", &renewal.cpu, goal, "");
    table.runs(
        &name("pushed_rss_mib"),
        "… RSS after the changes",
        "MiB",
        &figures.pushed,
        Goal::at_most(shape.rss_mib),
        "",
    );
    table.runs(
        &name("after_rss_mib"),
        "… RSS 10 s after all left",
        "MiB",
        &figures.after,
        Goal::at_most(20.0),
        spire::AFTER,
    );
    Ok(())
}

fn measure(shape: &Shape, plan: &Plan, with_idle: bool, figures: &mut Figures) -> Result<()> {
    let daemon = Daemon::new()?;
    let mut entry = daemon.add_entry(&[])?;
    let mut loader = Loader::start(&env::current_exe()?, &daemon.socket())?;
    let streams = f64::from(u32::try_from(shape.connections * shape.each)?);
    let idle = process::memory(daemon.pid())?;
    let before = process::cpu(daemon.pid())?;
    let Answer::Opened { seconds } = loader.ask(Order::Open { connections: shape.connections, each: shape.each })?
    else {
        bail!("opening was answered otherwise");
    };
    figures.open_cpu.push((process::cpu(daemon.pid())? - before).as_secs_f64() * 1e6 / streams);
    figures.open_wall.push(seconds * 1e6 / streams);
    thread::sleep(Duration::from_millis(500));
    let memory = process::memory(daemon.pid())?;
    figures.rss.push(memory.rss / 1024.0);
    figures.pss.push(memory.pss / 1024.0);
    figures.anonymous.push(memory.anonymous / 1024.0);
    figures.each.push((memory.rss - idle.rss) / streams);
    if with_idle {
        figures.idle.push(start::idle_cpu(daemon.pid(), plan)?);
    }
    for round in 0..plan.pick(5, 2) {
        entry.hint = format!("round-{round}");
        entry = change(&daemon, &mut loader, entry, streams, &mut figures.change)?;
    }
    for round in 0..plan.pick(3, 1) {
        entry.dns_names = vec![format!("round-{round}.example.org")];
        entry = change(&daemon, &mut loader, entry, streams, &mut figures.renewal)?;
    }
    figures.pushed.push(process::memory(daemon.pid())?.rss / 1024.0);
    loader.ask(Order::Leave)?;
    thread::sleep(Duration::from_secs(10));
    figures.after.push(process::memory(daemon.pid())?.rss / 1024.0);
    Ok(())
}

/// Changes the entry, and waits until the last stream has heard.
fn change(daemon: &Daemon, loader: &mut Loader, entry: Entry, streams: f64, to: &mut Change) -> Result<Entry> {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count of streams")]
    let messages = streams as u64;
    loader.ask(Order::Arm)?;
    let before = process::cpu(daemon.pid())?;
    let began = moment();
    let entry = daemon.update_entry(entry)?;
    let Answer::Reached { first, last } = loader.ask(Order::Reached { messages })? else {
        bail!("a change was answered otherwise");
    };
    thread::sleep(Duration::from_millis(300));
    to.cpu.push((process::cpu(daemon.pid())? - before).as_secs_f64() * 1e6 / streams);
    to.wall.push(millis(last.saturating_sub(began)));
    to.spread.push(millis(last.saturating_sub(first)));
    Ok(entry)
}

fn millis(nanos: u64) -> f64 {
    Duration::from_nanos(nanos).as_secs_f64() * 1e3
}
