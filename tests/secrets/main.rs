//! Keys are nowhere but where they belong: not in logs, errors, state, the daemon's environment, or what a crash
//! leaves.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::print_stdout, reason = "tests")]

#[path = "../common/mod.rs"]
mod common;

mod needles;
mod scanner;

use std::{
    fs,
    os::unix::process::{CommandExt as _, ExitStatusExt as _},
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use common::{
    DAYFLY, Daemon, Folder,
    h2raw::{Head, Raw, message},
    messages::{JwtOrder, JwtSvids, ToValidate, Validated, Watch, WitSvids, ask, fetch},
    own_uid,
};
use needles::Needles;
use prost::Message as _;

/// Every file below a folder, but for some.
fn files(folder: &Path, but: &[&Path]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if but.contains(&path.as_path()) {
            continue;
        }
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => found.extend(files(&path, but)),
            Ok(kind) if kind.is_file() => found.push(path),
            _ => {}
        }
    }
    found
}

#[test]
fn no_key_is_found_where_it_does_not_belong() {
    let folder = Folder::new();
    let home = folder.path();
    fs::write(home.join("dayfly.toml"), "[log]\nlevel = \"trace\"\n[wit]\nenabled = true\n").unwrap();
    let mut daemon = Daemon::start_in(home, &[]);
    for at in 0..3 {
        daemon.entry(&format!("spiffe://example.org/me/{at}"), &[&own_uid()], &["--x509-ttl", "4s"]);
    }
    let mut needles = Needles::default();
    // New ones, renewals, and some that are open when it dies.
    let mut open: Vec<Watch> = (0..20).map(|_| Watch::open(&daemon.socket()).unwrap()).collect();
    for _ in 0..2 {
        for watch in &mut open {
            watch.next().unwrap().unwrap().iter().for_each(|svid| needles.add(&svid.key));
        }
    }
    for _ in 0..30 {
        fetch(&daemon.socket()).unwrap().unwrap().iter().for_each(|svid| needles.add(&svid.key));
    }
    for at in 0..20 {
        let order = JwtOrder { audience: vec![format!("audience-{at}")], spiffe_id: String::new() };
        let jwts: JwtSvids = ask(&daemon.socket(), "FetchJWTSVID", &order).unwrap().unwrap();
        jwts.svids.iter().for_each(|one| needles.add_token(&one.svid));
        let judged = ToValidate { audience: "another".to_owned(), svid: jwts.svids[0].svid.clone() };
        assert!(ask::<Validated>(&daemon.socket(), "ValidateJWTSVID", &judged).unwrap().is_err());
        let mut raw = Raw::connect(&daemon.socket()).unwrap();
        let stream = raw.call(&Head::new("/SpiffeWorkloadAPI/FetchWITSVID"), &message(&[])).unwrap();
        let wits = WitSvids::decode(&*raw.next_message(stream).unwrap().unwrap()).unwrap();
        for one in &wits.svids {
            needles.add_jwk(&one.key);
            needles.add_token(&one.svid);
        }
    }
    // A renewal is of one identity at least, since each has its own moment.
    assert!(needles.keys() >= 20 * 3 + 20 + 30 * 3 + 20 * 3, "every stream has keys of its own");
    let keys = home.join("state/keys");
    for path in files(&keys, &[]) {
        needles.add_file(&fs::read(path).unwrap());
    }

    // Everything that people are told, and everything that goes wrong.
    let mut haystacks = vec![("log".to_owned(), daemon.log().into_bytes())];
    for args in verbs() {
        let output = daemon.try_cli(&args);
        haystacks.push((format!("{args:?}"), [output.stdout, output.stderr].concat()));
    }
    for name in ["environ", "cmdline", "status", "maps", "comm"] {
        haystacks
            .push((format!("/proc/{name}"), fs::read(format!("/proc/{}/{name}", daemon.pid())).unwrap_or_default()));
    }
    let debug = fs::read_to_string(home.join("log")).unwrap();
    assert!(debug.contains("DEBUG") || debug.contains("TRACE"), "the log is as loud as it can be: {debug}");

    abort(&mut daemon);
    haystacks.push(("log after the abort".to_owned(), daemon.log().into_bytes()));
    for path in files(home, &[&keys]) {
        haystacks.push((path.display().to_string(), fs::read(&path).unwrap()));
    }
    let bytes: usize = haystacks.iter().map(|(_, bytes)| bytes.len()).sum();
    println!(
        "{} keys in {} forms searched in {} places, {bytes} bytes",
        needles.keys(),
        needles.forms(),
        haystacks.len()
    );
    for (place, bytes) in &haystacks {
        assert!(needles.find(bytes).is_none(), "{} of a key is in {place}", needles.find(bytes).unwrap_or_default());
    }
    // The search finds what is there.
    let key = fs::read(files(&keys, &[]).pop().expect("a key of the CA")).unwrap();
    assert!(needles.find(&[b"before", &key[..], b"after"].concat()).is_some());
}

/// Verbs that show much, and verbs that fail.
fn verbs() -> Vec<Vec<&'static str>> {
    vec![
        vec!["status"],
        vec!["status", "--output", "json"],
        vec!["entry", "list"],
        vec!["entry", "list", "--output", "json"],
        vec!["explain", "--pid", "1"],
        vec!["audit", "verify"],
        vec!["entry", "add", "no id", "-s", "no selector"],
        vec!["entry", "show", "00000000-0000-4000-8000-000000000000"],
        vec!["healthcheck"],
        vec!["log", "trace"],
        vec!["daemon", "--trust-domain", "other.example"],
    ]
}

/// As a crash would: SIGABRT, which dumps core where cores are dumped.
fn abort(daemon: &mut Daemon) {
    let pid = nix::unistd::Pid::from_raw(daemon.pid());
    let limits = fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().skip(4).take(2).collect::<Vec<_>>(), ["0", "0"], "{core}");
    let before = cores();
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGABRT).unwrap();
    let status = daemon.wait();
    assert_eq!(status.signal(), Some(libc::SIGABRT), "{status}");
    assert!(!status.core_dumped(), "{status}");
    assert_eq!(cores(), before, "a core was left");
    let left: Vec<_> =
        files(daemon.home(), &[]).into_iter().filter(|path| path.to_string_lossy().contains("core")).collect();
    assert!(left.is_empty(), "{left:?}");
}

/// Files that look like cores where this machine puts them, if it puts them into files at all.
fn cores() -> Vec<PathBuf> {
    let pattern = fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap_or_default();
    let pattern = pattern.trim();
    if pattern.starts_with('|') {
        println!("cores go to a program here ({pattern}); that there is none is seen by the daemon's status");
        return Vec::new();
    }
    let folder = match Path::new(pattern).parent() {
        Some(parent) if parent.is_absolute() => parent.to_owned(),
        _ => std::env::current_dir().unwrap(),
    };
    let is_core = |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("core"));
    let mut found: Vec<_> =
        fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).filter(is_core).collect();
    found.sort();
    found
}

#[test]
fn nobody_of_the_same_user_can_look_into_the_daemon() {
    // As root one may look into everything, so the daemon runs as somebody else then.
    let folder = Folder::new();
    let home = folder.path();
    let mut child = if nix::unistd::getuid().is_root() {
        let program = home.join("dayfly");
        fs::copy(DAYFLY, &program).unwrap();
        nix::unistd::chown(home, Some(USER.into()), Some(USER.into())).unwrap();
        Command::new(program).args(arguments(home)).uid(USER).gid(USER).spawn().unwrap()
    } else {
        Command::new(DAYFLY).args(arguments(home)).spawn().unwrap()
    };
    let pid = child.id();
    common::eventually("the daemon serves", || home.join("workload.sock").exists() && home.join("admin.sock").exists());
    std::thread::sleep(Duration::from_millis(200));
    for name in ["mem", "environ", "maps", "fd", "auxv", "root", "cwd", "exe"] {
        let mut looker = Command::new("head");
        looker.args(["-c", "1"]).arg(format!("/proc/{pid}/{name}"));
        if name == "fd" {
            looker = Command::new("ls");
            looker.arg(format!("/proc/{pid}/fd"));
        } else if ["root", "cwd", "exe"].contains(&name) {
            looker = Command::new("readlink");
            looker.arg(format!("/proc/{pid}/{name}"));
        }
        if nix::unistd::getuid().is_root() {
            looker.uid(USER).gid(USER);
        }
        let output = looker.output().unwrap();
        let seen = [output.stdout, output.stderr].concat();
        assert!(!output.status.success(), "{name} can be read: {}", String::from_utf8_lossy(&seen));
    }
    child.kill().unwrap();
    child.wait().unwrap();
}

/// An ordinary user.
const USER: u32 = 2_003;

fn arguments(home: &Path) -> [String; 5] {
    ["daemon", "--trust-domain", "example.org", "--home", home.to_str().unwrap()].map(str::to_owned)
}
