//! From exec to the first SVID, or to a token's headers; and what a daemon costs that nobody calls.

use std::{
    ffi::OsStr,
    os::unix::net::UnixStream,
    path::Path,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use nix::unistd::geteuid;

use crate::{
    Plan,
    client::{self, Workload},
    daemon::{DAYFLY, Daemon},
    goals::{Goal, spire},
    process,
    table::{Runs, Table, Times},
};

pub(crate) fn run(plan: &Plan, table: &mut Table) -> Result<()> {
    let rounds = plan.pick(40, 15);
    let (help, header) = (run_often(rounds, &["--help".as_ref()])?, header(rounds)?);
    let cold = cold_starts(plan)?;
    table.runs("help_ms", "dayfly --help", "ms", &help, Goal::default(), "");
    table.runs("token_header_ms", "dayfly token header: a token, a proof", "ms", &header, Goal::default(), "");
    let portable = 2.0 * help.median() + 3.0;
    let goals = [Goal::at_most(4.0).or_portable(portable), Goal::at_most(8.0)];
    table.latency("cold_start_ms", "exec → first SVID answered", "ms", &cold, goals, spire::COLD_START);
    idle(plan, table)
}

/// A program's whole life, so many times.
fn run_often(rounds: usize, words: &[&OsStr]) -> Result<Runs> {
    let mut runs = Runs::default();
    for _ in 0..rounds {
        let began = Instant::now();
        let status = Command::new(DAYFLY).args(words).stdout(Stdio::null()).stderr(Stdio::null()).status()?;
        runs.push(began.elapsed().as_secs_f64() * 1e3);
        ensure!(status.success(), "{words:?} failed");
    }
    Ok(runs)
}

/// What a script pays for each call of a tool: the daemon is asked what there is, and for a token.
fn header(rounds: usize) -> Result<Runs> {
    let daemon = Daemon::new()?;
    let own = format!("unix:uid:{}", geteuid());
    for words in [
        "agent add --owner bench reporter",
        "tool add --audience https://tickets.example.org --url https://tickets.example.org --scope read=read tickets",
        "grant add --scope read reporter tickets",
        &format!("entry add --agent reporter -s {own} spiffe://example.org/reporter"),
    ] {
        let words: Vec<&str> = words.split(' ').collect();
        run_often(1, &of(&daemon, &words))?;
    }
    run_often(rounds, &of(&daemon, &["token", "header", "GET", "https://tickets.example.org/items/7"]))
}

fn of<'a>(daemon: &'a Daemon, words: &[&'a str]) -> Vec<&'a OsStr> {
    let home = ["--home".as_ref(), daemon.home().as_os_str()];
    home.into_iter().chain(words.iter().map(|word| OsStr::new(*word))).collect()
}

fn cold_starts(plan: &Plan) -> Result<Times> {
    let mut daemon = Daemon::with_entry(&[])?;
    let (runs, rounds) = (plan.pick(3, 1), plan.pick(40, 20));
    let mut times = Times::default();
    for _ in 0..runs {
        let mut run = Runs::default();
        for _ in 0..rounds {
            daemon.stop()?;
            run.push(cold_start(&mut daemon)?.as_secs_f64() * 1e3);
        }
        times.p50.push(run.median());
        times.p99.push(run.at(0.99));
    }
    Ok(times)
}

fn cold_start(daemon: &mut Daemon) -> Result<Duration> {
    let socket = daemon.socket();
    client::block_on(async {
        let began = daemon.start_again()?;
        let stream = connect_soon(&socket, began)?;
        stream.set_nonblocking(true)?;
        let channel = client::over(tokio::net::UnixStream::from_std(stream)?).await?;
        let svids = client::fetch(&mut Workload::new(channel)).await?;
        let took = began.elapsed();
        drop(svids);
        Ok(took)
    })
}

/// Knocks until somebody opens.
fn connect_soon(socket: &Path, began: Instant) -> Result<UnixStream> {
    loop {
        match UnixStream::connect(socket) {
            Ok(stream) => return Ok(stream),
            Err(error) => ensure!(began.elapsed() < Duration::from_secs(10), "the daemon does not serve: {error}"),
        }
        thread::yield_now();
    }
}

fn idle(plan: &Plan, table: &mut Table) -> Result<()> {
    let (mut rss, mut anonymous) = (Runs::default(), Runs::default());
    let mut cpu = Runs::default();
    for _ in 0..plan.pick(3, 1) {
        let daemon = Daemon::new()?;
        // By then the audit log was read through, too.
        thread::sleep(Duration::from_secs(2));
        let memory = process::memory(daemon.pid())?;
        rss.push(memory.rss / 1024.0);
        anonymous.push(memory.anonymous / 1024.0);
        cpu.push(idle_cpu(daemon.pid(), plan)?);
    }
    table.runs("idle_rss_mib", "RSS idle, without entries", "MiB", &rss, Goal::at_most(14.0), spire::IDLE_RSS);
    table.runs("idle_anonymous_mib", "… of it anonymous", "MiB", &anonymous, Goal::at_most(4.0), "");
    table.runs("idle_cpu", "CPU idle", "% of a core", &cpu, Goal::at_most(0.1), spire::IDLE_CPU);
    Ok(())
}

/// How much of a core a process takes that has nothing to do, in percent.
pub(crate) fn idle_cpu(pid: i32, plan: &Plan) -> Result<f64> {
    let length = Duration::from_secs(plan.pick(5, 2));
    let before = process::cpu(pid)?;
    let began = Instant::now();
    thread::sleep(length);
    Ok((process::cpu(pid)? - before).as_secs_f64() / began.elapsed().as_secs_f64() * 100.0)
}
