//! A caller with as many supplementary groups as `/etc/subgid` gives anybody costs no more than others.
#![expect(unsafe_code, reason = "a child that connects between fork and exec")]

use std::{
    fs,
    os::{fd::AsRawFd as _, unix::process::CommandExt as _},
    process::{Child, Command},
};

use nix::{
    sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, socket},
    unistd::{Gid, Uid, setgid, setgroups, setuid, write},
};

use super::common::{
    Daemon, eventually,
    h2raw::{FETCH_SVID, Head, frame, hello, message},
};

const CALLER: u32 = 20_011;
const FIRST: u32 = 100_000;
const GROUPS: u32 = 60_000;
const CONNECTIONS: u32 = 100;
/// A list for each connection would be 23 MiB, and a selector for each group of each 500 MiB.
const GROWTH_MAX: u64 = 16 << 20;

/// Connections of one process, each with what it says.
struct Crowd(Child);

impl Crowd {
    fn new(daemon: &Daemon, words: Vec<u8>) -> Self {
        let address = UnixAddr::new(&daemon.socket()).unwrap();
        let groups: Vec<_> = (FIRST..FIRST + GROUPS).map(Gid::from_raw).collect();
        let mut command = Command::new("sleep");
        command.arg("300");
        // SAFETY: between fork and exec only system calls are made, and nothing is allocated.
        unsafe {
            command.pre_exec(move || {
                setgroups(&groups)?;
                setgid(Gid::from_raw(CALLER))?;
                setuid(Uid::from_raw(CALLER))?;
                for _ in 0..CONNECTIONS {
                    let line = socket(AddressFamily::Unix, SockType::Stream, SockFlag::empty(), None)?;
                    connect(line.as_raw_fd(), &address)?;
                    write(&line, &words)?;
                    // They live on in what is exec'd.
                    std::mem::forget(line);
                }
                Ok(())
            });
        }
        Self(command.spawn().unwrap())
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

fn resident(daemon: &Daemon) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", daemon.pid())).unwrap();
    let kibibytes = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    kibibytes.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

fn is_root() -> bool {
    let is_root = Uid::current().is_root();
    if !is_root {
        println!("left out: it takes root to have other groups");
    }
    is_root
}

#[test]
fn idle_connections_keep_no_groups() {
    if !is_root() {
        return;
    }
    let daemon = super::registered("");
    let before = resident(&daemon);
    let _crowd = Crowd::new(&daemon, hello());
    eventually("all are connected", || daemon.status().sum("connections", "") >= CONNECTIONS.into());
    let grown = resident(&daemon).saturating_sub(before);
    println!("{CONNECTIONS} idle connections: {} KiB", grown / 1024);
    assert!(grown < GROWTH_MAX, "{grown}");
}

#[test]
fn attested_callers_keep_the_groups_that_entries_name() {
    if !is_root() {
        return;
    }
    // More than one user's looks may do at once in a debug build.
    let daemon = Daemon::start("[limits]\nattestation_seconds = 60");
    let id = "spiffe://example.org/grouped";
    let (uid, group) = (format!("unix:uid:{CALLER}"), format!("unix:supplementary_gid:{}", FIRST + GROUPS - 1));
    daemon.entry(id, &[&uid, &group], &[]);
    daemon.entry(id, &["unix:supplementary_group:root"], &[]);
    daemon.entry("spiffe://example.org/other", &[&uid, "unix:supplementary_gid:5"], &[]);
    let before = resident(&daemon);
    let request = [hello(), Head::new(FETCH_SVID).frames(1, 0), frame(0, 1, 1, &message(&[]))].concat();
    let _crowd = Crowd::new(&daemon, request);
    let issued = || daemon.audit().iter().filter(|record| record["kind"] == "issued").count();
    eventually("all are answered", || issued() >= usize::try_from(CONNECTIONS).unwrap());
    let grown = resident(&daemon).saturating_sub(before);
    println!("{CONNECTIONS} attested connections: {} KiB", grown / 1024);
    assert!(grown < GROWTH_MAX, "{grown}");
    assert_eq!(issued(), usize::try_from(CONNECTIONS).unwrap(), "one identity each");
}
