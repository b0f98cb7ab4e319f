//! Damage to the database's log of changes takes acknowledged changes away. That is told, and no key goes with it.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use super::common::{Daemon, Folder, PATIENCE, own_uid};

/// The head of a WAL file, and one frame of it (SQLite's file format, §4).
const HEAD: usize = 32;
const FRAME: usize = 24 + 4096;

fn duplicate(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    fs::set_permissions(to, fs::metadata(from).unwrap().permissions()).unwrap();
    for entry in fs::read_dir(from).unwrap().flatten() {
        match entry.file_type().unwrap().is_dir() {
            true => duplicate(&entry.path(), &to.join(entry.file_name())),
            false => drop(fs::copy(entry.path(), to.join(entry.file_name()))),
        }
    }
}

fn keys(home: &Path) -> BTreeSet<PathBuf> {
    let names = fs::read_dir(home.join("state/keys")).unwrap().flatten();
    names.map(|entry| entry.file_name().into()).collect()
}

/// What must not be lost in silence: entries and authorities.
fn kept(daemon: &Daemon) -> Vec<serde_json::Value> {
    let status: serde_json::Value = serde_json::from_str(&daemon.cli(&["status", "--output", "json"])).unwrap();
    ["registry_revision", "entries", "authorities"].map(|name| status[name].clone()).to_vec()
}

/// A start that may be refused; answers the daemon if it serves.
fn start(home: &Path) -> Option<Daemon> {
    let mut child = super::first_start::spawn(home);
    let begin = std::time::Instant::now();
    loop {
        if child.try_wait().unwrap().is_some() {
            return None;
        }
        if home.join("admin.sock").exists() {
            child.kill().unwrap();
            child.wait().unwrap();
            return Some(Daemon::start_in(home, &[]));
        }
        assert!(begin.elapsed() < PATIENCE, "it neither starts nor ends");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
}

#[test]
fn a_flipped_byte_in_the_log_of_changes_is_told_and_removes_no_key() {
    let folder = Folder::new();
    let mut daemon = Daemon::start_in(folder.path(), &[]);
    daemon.entry("spiffe://example.org/me", &[&own_uid()], &[]);
    daemon.entry("spiffe://example.org/other", &["unix:uid:77"], &[]);
    let whole = kept(&daemon);
    assert_eq!(daemon.status().problems, Vec::<String>::new());
    daemon.kill();
    let (had, wal) = (keys(folder.path()), fs::read(folder.path().join("state/dayfly.db-wal")).unwrap());
    let (mut told, mut refused) = (0, 0);
    for at in 0..(wal.len() - HEAD) / FRAME {
        let copy = Folder::new();
        duplicate(&folder.path().join("state"), &copy.path().join("state"));
        let mut damaged = wal.clone();
        damaged[HEAD + at * FRAME + 100] ^= 1;
        fs::write(copy.path().join("state/dayfly.db-wal"), damaged).unwrap();
        // Twice, as it is not forgotten with the first start after it.
        let Some(daemon) = start(copy.path()) else {
            refused += 1;
            assert!(keys(copy.path()).is_superset(&had), "frame {at}");
            continue;
        };
        assert!(keys(copy.path()).is_superset(&had), "frame {at}: {}", daemon.log());
        let status = daemon.status();
        match kept(&daemon) == whole {
            true => assert_eq!(status.problems, Vec::<String>::new(), "frame {at}"),
            false => {
                told += 1;
                assert!(
                    status.problems[0].contains("has lost changes that were acknowledged"),
                    "{:?}",
                    status.problems
                );
                assert!(daemon.log().contains("ERROR database is older than what was acknowledged"));
                assert!(daemon.audit().iter().any(|record| record["event"] == "database_older"));
            }
        }
    }
    println!("{told} told, {refused} refused");
    assert!(told > 3 && refused > 0);
}
