//! SIGHUP: the configuration is read again while the daemon runs.

use std::fs;

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use super::{
    common::{
        Daemon, Folder, eventually,
        h2raw::{ACK, PING, Raw, frame},
    },
    registered,
};

/// What the audit log says of each reading, oldest first.
fn readings(daemon: &Daemon) -> Vec<(String, String)> {
    let text = |record: &serde_json::Value, name: &str| record[name].as_str().unwrap_or_default().to_owned();
    let of_daemon = daemon.audit().into_iter().filter(|record| record["kind"] == "daemon");
    let events = of_daemon.map(|record| (text(&record, "event"), text(&record, "detail")));
    events.filter(|(event, _)| event.starts_with("config")).collect()
}

/// Has this configuration read; answers what was recorded.
fn reread(daemon: &Daemon, config: &str) -> (String, String) {
    let before = readings(daemon).len();
    fs::write(daemon.home().join("dayfly.toml"), config).unwrap();
    kill(Pid::from_raw(daemon.pid()), Signal::SIGHUP).unwrap();
    eventually("it is read", || readings(daemon).len() > before);
    readings(daemon).pop().unwrap()
}

fn level(daemon: &Daemon) -> String {
    let status: serde_json::Value = serde_json::from_str(&daemon.cli(&["status", "--output", "json"])).unwrap();
    status["log_level"].as_str().unwrap().to_owned()
}

/// Whether the daemon answers on it.
fn answers(connection: &mut Raw) -> bool {
    let mut asked = connection.send(&frame(PING, 0, 0, b"are you "));
    while asked.is_ok() {
        match connection.pump() {
            Ok(came) if came.kind == PING && came.flags & ACK != 0 => return true,
            came => asked = came.map(drop),
        }
    }
    false
}

/// Whether it was told to make room before this was asked: it may answer once more before it ends.
fn is_open(connection: &mut Raw) -> bool {
    answers(connection) && answers(connection)
}

#[test]
fn what_can_be_taken_over_is_and_the_rest_is_named() {
    let daemon = registered("[log]\nlevel = \"info\"\n");
    // Whoever is to make room is told before the last one, which is accepted after the others, is answered.
    let three = || {
        let mut three = [(); 3].map(|()| Raw::connect(&daemon.socket()).unwrap());
        assert!(answers(&mut three[2]));
        three
    };
    assert!(three().iter_mut().all(is_open), "there is room for many");
    let config = "[log]\nlevel = \"debug\"\n[limits]\nconnections_per_uid = 2\nconnections_uid_0 = 2\n\
                  ping_seconds = 6\n[jwt]\nttl = \"1m\"\n";
    let changed = "changed: log.level limits.connections_per_uid limits.connections_uid_0; need a restart: jwt.ttl \
                   limits.ping_seconds";
    assert_eq!(reread(&daemon, config), ("config_read".to_owned(), changed.to_owned()));
    assert_eq!(level(&daemon), "debug");
    // Those of before may not have been seen to leave.
    eventually("the oldest makes room", || three().each_mut().map(is_open) == [false, true, true]);
    let log = daemon.log();
    let named = log.lines().find(|line| line.contains("need a restart")).unwrap();
    assert!(named.contains("jwt.ttl limits.ping_seconds"), "{named}");
    // The same once more: what needs a restart is named as long as it does, and nothing else is touched.
    daemon.cli(&["log", "warn"]);
    let again = reread(&daemon, config);
    assert_eq!(again.1, "changed: ; need a restart: jwt.ttl limits.ping_seconds");
    assert_eq!(level(&daemon), "warn", "somebody has set it for now");
    // And back.
    assert_eq!(
        reread(&daemon, "").1,
        "changed: log.level limits.connections_per_uid limits.connections_uid_0; need a restart: "
    );
    assert_eq!(level(&daemon), "info");
    assert!(three().iter_mut().all(is_open));
    daemon.must_serve("all of it");
}

#[test]
fn a_bad_file_changes_nothing_and_says_why() {
    let daemon = registered("");
    for (config, line, words) in [
        ("[log]\nlevel = \"debug\"\n[limits]\nping_second = 1\n", 4, "unknown key `limits.ping_second`"),
        ("[log]\nlevel = \"debug\"\nlevel = \"info\"\n", 3, "duplicate key"),
        ("[log]\nlevel = \"debug\"\n[authz]\nreplay_entries_max = 0\n", 4, "authz.replay_entries_max: must be from 1"),
    ] {
        assert_eq!(reread(&daemon, config).0, "config_refused");
        let said = format!("dayfly.toml:{line}: {words}");
        eventually("it is said", || daemon.log().contains(&said) && daemon.log().contains("nothing is changed"));
        assert_eq!(level(&daemon), "info", "not even what is right");
    }
    // Signals in any number; the last file counts.
    fs::write(daemon.home().join("dayfly.toml"), "[log]\nlevel = \"warn\"\n").unwrap();
    for _ in 0..200 {
        kill(Pid::from_raw(daemon.pid()), Signal::SIGHUP).unwrap();
    }
    eventually("the last one is read", || level(&daemon) == "warn");
    daemon.must_serve("all of it");
}

/// Whether a process of ours holds back SIGHUP.
fn holds_back(pid: i32) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let blocked = status.lines().find_map(|line| line.strip_prefix("SigBlk:"));
    blocked.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask & 1 == 1)
}

#[test]
fn a_sighup_of_the_first_moments_waits_until_it_can_be_heard() {
    for _ in 0..3 {
        let folder = Folder::new();
        fs::write(folder.path().join("dayfly.toml"), "").unwrap();
        let mut daemon = Daemon::spawn_in(folder.path(), &[]);
        let was_held_back = loop {
            if holds_back(daemon.pid()) {
                break true;
            }
            if daemon.socket().exists() {
                break false;
            }
        };
        if was_held_back {
            kill(Pid::from_raw(daemon.pid()), Signal::SIGHUP).unwrap();
        }
        eventually("it serves", || {
            assert!(daemon.is_running(), "{}", daemon.log());
            daemon.try_cli(&["healthcheck"]).status.success()
        });
        assert!(!holds_back(daemon.pid()));
        if was_held_back {
            eventually("it is read", || !readings(&daemon).is_empty());
            return;
        }
    }
    panic!("nobody saw it start");
}
