//! kill -9 while the first CA is made: the next start has one CA and is ready, or the same as nothing had happened.

use std::{
    fs,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use super::{
    chance::Chance,
    common::{DAYFLY, Daemon, Folder, messages::fetch, own_uid, rounds},
    proof::{Kept, audit_must_verify},
};

/// Starts a daemon and does not wait for it.
pub(super) fn spawn(home: &Path) -> Child {
    Command::new(DAYFLY)
        .args(["daemon", "--trust-domain", "example.org", "--home"])
        .arg(home)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(fs::File::options().create(true).append(true).open(home.join("log")).unwrap())
        .spawn()
        .unwrap()
}

#[test]
fn a_first_start_that_is_killed_at_any_moment_is_made_good_by_the_next() {
    let seed = Chance::seed();
    println!("seed {seed}");
    let mut chance = Chance::new(seed);
    for round in 0..rounds(200) {
        let folder = Folder::new();
        let mut child = spawn(folder.path());
        thread::sleep(chance.moment(Duration::from_millis(120)));
        child.kill().unwrap();
        child.wait().unwrap();
        let mut daemon = Daemon::start_in(folder.path(), &[]);
        daemon.entry("spiffe://example.org/me", &[&own_uid()], &[]);
        let kept = Kept::new(&fetch(&daemon.socket()).unwrap().unwrap()[0]);
        audit_must_verify(&daemon);
        daemon.kill();
        let again = Daemon::start_in(folder.path(), &[]);
        kept.must_verify(&fetch(&again.socket()).unwrap().unwrap()[0]);
        assert!(!again.log().contains("panicked"), "round {round}: {}", again.log());
        assert_eq!(again.status().problems, Vec::<String>::new(), "round {round}: {}", again.log());
    }
}
