//! kill -9, while entries are written and SVIDs are issued.

use std::{
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use super::{
    chance::Chance,
    common::{
        Daemon, Folder,
        messages::{Admin, Watch, fetch},
        own_uid, rounds,
    },
    proof::{Kept, audit_must_verify},
    writer::Writer,
};

const WRITERS: usize = 4;
const WATCHERS: usize = 4;
/// The latest that it is killed after the writers began.
const LATEST: Duration = Duration::from_millis(400);

#[test]
fn a_kill_at_any_moment_loses_nothing_that_was_acknowledged() {
    let seed = Chance::seed();
    println!("seed {seed}");
    let mut chance = Chance::new(seed);
    let folder = Folder::new();
    let mut daemon = Daemon::start_in(folder.path(), &[]);
    daemon.entry("spiffe://example.org/me", &[&own_uid()], &["--x509-ttl", "10s"]);
    let first = fetch(&daemon.socket()).unwrap().unwrap();
    let kept = Kept::new(&first[0]);
    let mut writers: Vec<_> =
        (0..WRITERS).map(|at| Writer::new(&format!("w{at}"), Chance::new(seed + u64::try_from(at).unwrap()))).collect();
    let (mut issued, mut slowest) = (0, Duration::ZERO);
    for round in 0..rounds(200) {
        let moment = chance.moment(LATEST);
        issued += die_at_work(&mut daemon, &mut writers, moment);

        let begin = Instant::now();
        if chance.below(4) == 0 {
            // It dies once more, while it starts.
            die_while_starting(folder.path(), chance.moment(Duration::from_millis(150)));
        }
        daemon = Daemon::start_in(folder.path(), &[]);
        slowest = slowest.max(begin.elapsed());
        let all = Admin::connect(daemon.home()).unwrap().entries().unwrap();
        writers.iter_mut().for_each(|writer| writer.reconcile(&all));
        let known: usize = writers.iter().map(|writer| writer.acknowledged.len()).sum();
        assert_eq!(all.len(), known + 1, "round {round}");
        kept.must_verify(&fetch(&daemon.socket()).unwrap().unwrap()[0]);
        audit_must_verify(&daemon);
        let log = daemon.log();
        assert!(!log.contains("panicked"), "round {round}: {log}");
        assert!(!log.contains("older than what was acknowledged"), "round {round}: {log}");
    }
    let written: u64 = writers.iter().map(|writer| writer.written).sum();
    println!("{} rounds: {written} writes acknowledged, {issued} SVIDs issued, slowest start {slowest:?}", rounds(200));
    assert!(written > 0 && issued > 0);
}

/// Writers and watchers at work, until the daemon is killed; answers how many SVIDs came.
fn die_at_work(daemon: &mut Daemon, writers: &mut [Writer], moment: Duration) -> usize {
    let (home, socket) = (daemon.home().to_owned(), daemon.socket());
    let is_dead = AtomicBool::new(false);
    thread::scope(|scope| {
        for writer in writers {
            let home = &home;
            scope.spawn(move || writer.write_until_it_dies(home));
        }
        let watchers: Vec<_> = (0..WATCHERS).map(|_| scope.spawn(|| watch_until_it_dies(&socket, &is_dead))).collect();
        thread::sleep(moment);
        daemon.kill();
        is_dead.store(true, Ordering::Relaxed);
        watchers.into_iter().map(|watcher| watcher.join().unwrap()).sum()
    })
}

/// New streams as fast as they come, and whatever an open one is sent.
fn watch_until_it_dies(socket: &Path, is_dead: &AtomicBool) -> usize {
    let mut came = 0;
    let mut open = Vec::new();
    while !is_dead.load(Ordering::Relaxed) {
        let Ok(mut watch) = Watch::open(socket) else { break };
        match watch.next() {
            Ok(Ok(_)) => came += 1,
            Ok(Err(answer)) => panic!("refused: {answer:?}"),
            Err(_) => break,
        }
        open.push(watch);
        if open.len() > 20 {
            open.clear();
        }
    }
    came
}

fn die_while_starting(home: &Path, moment: Duration) {
    let mut child = super::first_start::spawn(home);
    thread::sleep(moment);
    child.kill().ok();
    child.wait().ok();
}
