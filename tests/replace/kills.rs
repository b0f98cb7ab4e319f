//! kill -9 of either, at each step: one of them serves, or the next start does, and nothing is lost.

use std::{
    fs, thread,
    time::{Duration, Instant},
};

use nix::fcntl::{Flock, FlockArg};

use super::{
    chance::Chance,
    common::{
        Daemon, Folder, PATIENCE, eventually,
        messages::{Watch, fetch},
        rounds,
    },
    proof::{Kept, audit_must_verify},
    stage::{events, eventually_served, must_be_served_by, must_end, registered, replacing},
};

/// Steps of the old one, and of the new one.
const OLD: [&str; 7] = ["invited", "met", "resting", "closed", "handed-over", "replaced", "left"];
const NEW: [&str; 8] = ["asked", "joined", "ready", "received", "locked", "opened", "serving", "released"];

#[test]
fn the_old_one_is_killed_at_each_step_and_the_new_one_serves() {
    for step in OLD {
        let (folder, mut old) = registered("", &["--halt-at", step]);
        let kept = Kept::new(&fetch(&old.socket()).unwrap().unwrap()[0]);
        let mut new = replacing(folder.path(), &[]);
        assert!(old.has_halted(), "{step}: {}", old.log());
        old.kill();
        new.wait_ready();
        must_be_served_by(&new);
        kept.must_verify(&fetch(&new.socket()).unwrap().unwrap()[0]);
        audit_must_verify(&new);
        assert!(new.stop() && !new.socket().exists(), "{step}");
    }
}

#[test]
fn the_new_one_is_killed_at_each_step_and_the_old_one_serves() {
    for step in NEW {
        let (folder, mut old) = registered("", &[]);
        let socket = old.socket();
        let kept = Kept::new(&fetch(&socket).unwrap().unwrap()[0]);
        let mut watch = Watch::open(&socket).unwrap();
        watch.next().unwrap().unwrap();
        let mut new = replacing(folder.path(), &["--halt-at", step]);
        assert!(new.has_halted(), "{step}: {}", new.log());
        new.kill();
        if step == "released" {
            // The old one has gone, as it was told to: this is a crash of the new one, and a start recovers.
            assert!(must_end(&mut old), "{}", old.log());
            old = Daemon::start_in(folder.path(), &[]);
        } else {
            eventually_served(&old);
        }
        must_be_served_by(&old);
        let is_undisturbed = ["asked", "joined"].contains(&step);
        match is_undisturbed {
            // It was never ready: no stream of the old one has heard of it.
            true => eventually("it is told", || old.log().contains("not replaced")),
            false => assert_eq!(watch.next().unwrap().unwrap_err().code(), Some(14), "{step}"),
        }
        kept.must_verify(&fetch(&socket).unwrap().unwrap()[0]);
        audit_must_verify(&old);
        let wanted = match step {
            "asked" | "joined" => &["started", "not_replaced"][..],
            "released" => &["started", "handing_over", "started", "taken_over", "started"],
            "serving" => &["started", "handing_over", "started", "taken_over", "started", "taken_back"],
            _ => &["started", "handing_over", "started", "taken_back"],
        };
        assert_eq!(events(&old), wanted, "{step}");
        // And it can be replaced after all.
        let new = super::stage::replace(old);
        assert_eq!(new.status().entries, 1);
    }
}

#[test]
fn both_are_killed_at_each_step_and_the_next_start_recovers() {
    for (old_step, new_step) in [
        (Some("met"), None),
        (Some("resting"), None),
        (Some("closed"), None),
        (Some("handed-over"), Some("received")),
        (Some("handed-over"), Some("locked")),
        (Some("handed-over"), Some("opened")),
        (Some("handed-over"), Some("serving")),
        (Some("replaced"), Some("released")),
        (Some("left"), Some("released")),
    ] {
        let halt = |step: Option<&'static str>| step.map_or(Vec::new(), |step| vec!["--halt-at", step]);
        let (folder, mut old) = registered("", &halt(old_step));
        let kept = Kept::new(&fetch(&old.socket()).unwrap().unwrap()[0]);
        let mut new = replacing(folder.path(), &halt(new_step));
        assert!(old.has_halted() && (new_step.is_none() || new.has_halted()), "{}", old.log());
        new.kill();
        old.kill();
        next_start_recovers(&folder, &kept);
    }
}

fn next_start_recovers(folder: &Folder, kept: &Kept) {
    let next = Daemon::start_in(folder.path(), &[]);
    must_be_served_by(&next);
    kept.must_verify(&fetch(&next.socket()).unwrap().unwrap()[0]);
    audit_must_verify(&next);
    assert_eq!(next.status().problems, Vec::<String>::new());
}

/// The new one fails, and then the old one is killed while it takes everything back.
#[test]
fn the_old_one_is_killed_while_it_takes_back_and_the_next_start_recovers() {
    let (folder, mut old) = registered("", &["--halt-at", "taking-back"]);
    let kept = Kept::new(&fetch(&old.socket()).unwrap().unwrap()[0]);
    let mut new = replacing(folder.path(), &["--halt-at", "received"]);
    assert!(new.has_halted());
    new.kill();
    assert!(old.has_halted(), "{}", old.log());
    old.kill();
    next_start_recovers(&folder, &kept);
}

/// Who looks at the lock meanwhile, as each start with `--replace` does, must not have it for a moment.
#[test]
fn what_is_taken_back_is_held_from_the_first_look_on() {
    let (folder, mut old) = registered("", &["--halt-at", "taking-back"]);
    let mut new = replacing(folder.path(), &["--halt-at", "received"]);
    assert!(new.has_halted());
    new.kill();
    assert!(old.has_halted(), "{}", old.log());
    let lock = fs::File::options().write(true).open(folder.path().join("state/lock")).unwrap();
    let looked = Flock::lock(lock, FlockArg::LockExclusiveNonblock);
    assert!(looked.is_err(), "nobody had it");
    go_on(&old);
    eventually_served(&old);
    must_be_served_by(&old);
    assert!(old.stop());
}

/// As when a disk stalls: somebody has the state for longer than anybody waits for, and neither can open it.
#[test]
fn while_the_state_cannot_be_had_the_old_one_waits_and_serves_then() {
    let (folder, mut old) = registered("", &["--halt-at", "closed"]);
    let kept = Kept::new(&fetch(&old.socket()).unwrap().unwrap()[0]);
    let lock = fs::File::options().write(true).open(folder.path().join("state/lock")).unwrap();
    let mut new = replacing(folder.path(), &[]);
    // It has let go, and the new one does not know yet.
    assert!(old.has_halted());
    let held = Flock::lock(lock, FlockArg::LockExclusiveNonblock).unwrap();
    go_on(&old);
    assert!(!must_end(&mut new), "{}", new.log());
    eventually("it waits", || old.log().contains("the state is held still"));
    assert!(old.is_running());
    // Clients wait; they are not refused.
    let waiting = std::os::unix::net::UnixStream::connect(old.socket()).unwrap();
    drop(held);
    eventually_served(&old);
    must_be_served_by(&old);
    drop(waiting);
    assert_eq!(events(&old), ["started", "handing_over", "started", "taken_back"]);
    kept.must_verify(&fetch(&old.socket()).unwrap().unwrap()[0]);
    audit_must_verify(&old);
    assert!(old.stop());
}

fn go_on(daemon: &Daemon) {
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(daemon.pid()), nix::sys::signal::SIGCONT).unwrap();
}

/// The new one goes on after all, when the old one has waited for long.
#[test]
fn a_new_one_that_is_late_serves_all_the_same() {
    let (folder, mut old) = registered("", &[]);
    let new = replacing(folder.path(), &["--halt-at", "opened"]);
    assert!(new.has_halted());
    // Clients wait; they are not refused.
    let waiting = std::os::unix::net::UnixStream::connect(old.socket()).unwrap();
    go_on(&new);
    assert!(must_end(&mut old));
    must_be_served_by(&new);
    drop(waiting);
}

/// At random moments, as `tests/kills` does it.
#[test]
fn whoever_is_killed_at_whatever_moment_somebody_serves_or_a_start_recovers() {
    let seed = Chance::seed();
    println!("seed {seed}");
    let mut chance = Chance::new(seed);
    let (folder, mut old) = registered("", &[]);
    let kept = Kept::new(&fetch(&old.socket()).unwrap().unwrap()[0]);
    let (mut taken, mut gone_on, mut begun) = (0, 0, 0);
    for round in 0..rounds(200) {
        let mut new = replacing(folder.path(), &[]);
        // A replacement takes some 15 ms, and another 15 until the program is there.
        thread::sleep(chance.moment(Duration::from_millis(60)));
        match chance.below(3) {
            0 => old.kill(),
            1 => new.kill(),
            _ => {
                old.kill();
                new.kill();
            }
        }
        // Whoever is left has a while to see what happened.
        let settled = Instant::now();
        let pid = loop {
            match (old.is_running(), new.is_running()) {
                (true, false) if is_served(&old) => break old.pid(),
                (false, true) if is_served(&new) => break new.pid(),
                (false, false) => break 0,
                _ => assert!(settled.elapsed() < PATIENCE, "round {round}: {}", new.log()),
            }
        };
        old = match pid {
            0 => {
                begun += 1;
                Daemon::start_in(folder.path(), &[])
            }
            pid if pid == new.pid() => {
                taken += 1;
                new
            }
            _ => {
                gone_on += 1;
                old
            }
        };
        must_be_served_by(&old);
        kept.must_verify(&fetch(&old.socket()).unwrap().unwrap()[0]);
        assert_eq!((old.status().problems, old.status().entries), (Vec::new(), 1), "round {round}");
    }
    // One chain of records, through all of them.
    audit_must_verify(&old);
    println!("{taken} taken over, {gone_on} gone on, {begun} begun again");
}

fn is_served(daemon: &Daemon) -> bool {
    matches!(fetch(&daemon.socket()), Ok(Ok(svids)) if !svids.is_empty())
}
