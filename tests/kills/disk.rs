//! A disk that is full: clear words, nothing half-written, those who have an identity keep it, and all heals when there
//! is space.

use std::{
    fs,
    io::{Read as _, Write as _},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use super::{
    common::{
        Daemon, Folder, eventually,
        h2raw::UNAVAILABLE,
        messages::{Admin, Create, Entry, Watch, fetch},
        own_uid,
    },
    proof::{Kept, audit_must_verify},
};

/// A small disk of our own.
struct Disk(PathBuf);

impl Disk {
    /// `None` where we may not mount.
    fn mount(at: &Path) -> Option<Self> {
        fs::create_dir(at).unwrap();
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=48m,mode=0700", "tmpfs"]).arg(at).output();
        mounted.is_ok_and(|output| output.status.success()).then(|| Self(at.to_owned()))
    }

    /// Leaves not a page.
    fn fill(&self) {
        let mut file = fs::File::options().create(true).append(true).open(self.filler()).unwrap();
        while file.write_all(&[0; 65_536]).is_ok() {}
        while file.write_all(&[0; 512]).is_ok() {}
    }

    fn clear(&self) {
        fs::remove_file(self.filler()).unwrap();
    }

    fn filler(&self) -> PathBuf {
        self.0.join("filler")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        Command::new("umount").arg("-l").arg(&self.0).status().ok();
    }
}

/// A lifetime whose half is soon over.
const TTL: [&str; 2] = ["--x509-ttl", "6s"];

fn entry(number: u32) -> Create {
    let entry = Entry {
        spiffe_id: format!("spiffe://example.org/full/{number}"),
        selectors: vec![format!("unix:gid:{number}"), "unix:uid:4294967294".to_owned()],
        dns_names: (0..10).map(|at| format!("{at}.{}.example.org", "long".repeat(12))).collect(),
        ..Entry::default()
    };
    Create { entry: Some(entry) }
}

/// That `dayfly status` has this among the problems, and that it is degraded.
fn must_say(daemon: &Daemon, problem: &str) {
    let words = daemon.cli(&["status"]);
    assert!(words.contains(problem) && words.contains("degraded"), "{problem} is not in: {words}");
}

/// What `/ready` answers.
fn ready(ops: &Path) -> String {
    let mut stream = UnixStream::connect(ops).unwrap();
    stream.write_all(b"GET /ready HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn a_full_disk_stops_new_things_and_leaves_old_ones() {
    let folder = Folder::new();
    let Some(disk) = Disk::mount(&folder.path().join("state")) else {
        println!("skipped: a small disk can be mounted by root only");
        return;
    };
    let ops = folder.path().join("ops.sock");
    let config = "[audit]\nsegment_bytes = \"1MiB\"\ntotal_bytes = \"8MiB\"\nrefusals_per_uid_minute = 100000\nbytes_per_uid_minute = \"1GiB\"\n";
    let config = format!("{config}[ops]\naddress = \"{}\"\n", ops.display());
    fs::write(folder.path().join("dayfly.toml"), config).unwrap();
    let mut daemon = Daemon::start_in(folder.path(), &[]);
    daemon.entry("spiffe://example.org/me", &[&own_uid()], &TTL);
    let mut watch = Watch::open(&daemon.socket()).unwrap();
    let kept = Kept::new(&watch.next().unwrap().unwrap()[0]);
    assert_eq!(daemon.status().state, "ready");
    disk.fill();

    // Entries: the first that finds no room says so.
    let mut admin = Admin::connect(daemon.home()).unwrap();
    let mut written = 0;
    let refusal = loop {
        match admin.call::<Entry>("Entries/Create", &entry(written)).unwrap() {
            Ok(_) => written += 1,
            Err(answer) => break answer,
        }
        assert!(written < 20_000, "entries are written though the disk is full");
    };
    println!("after {written} entries: {:?} {}", refusal.code(), refusal.words());
    assert_eq!(refusal.code(), Some(UNAVAILABLE), "{refusal:?}");
    let words = refusal.words();
    assert!(words.contains("full") || words.contains("space"), "{words}");
    let count = usize::try_from(written).unwrap() + 1;
    assert_eq!(admin.entries().unwrap().len(), count, "what was refused is not there");
    let failed = daemon.try_cli(&["entry", "add", "spiffe://example.org/more", "-s", "unix:uid:77"]);
    let words = String::from_utf8_lossy(&failed.stderr).into_owned();
    assert!(!failed.status.success() && (words.contains("full") || words.contains("space")), "{words}");

    must_say(&daemon, "nothing can be changed: no space is left for the database");

    // The audit log: without a record nobody gets anything new.
    let begin = Instant::now();
    let mut issued = 0;
    let refusal = loop {
        match fetch(&daemon.socket()).unwrap_or_else(|error| panic!("after {issued}: {error}\n{}", daemon.log())) {
            Ok(_) => issued += 1,
            Err(answer) => break answer,
        }
        assert!(begin.elapsed() < Duration::from_secs(120), "{issued} are issued though the disk is full");
    };
    println!("after {issued} SVIDs: {:?} {}", refusal.code(), refusal.words());
    assert_eq!(refusal.code(), Some(UNAVAILABLE), "{refusal:?}");

    must_say(&daemon, "nothing new is issued: no space is left for the audit log");
    must_say(&daemon, "nothing can be changed: no space is left for the database");
    assert!(ready(&ops).starts_with("HTTP/1.1 503 "), "{}", ready(&ops));

    // Who has an identity keeps it: three renewals.
    for _ in 0..3 {
        let next =
            watch.next().unwrap().unwrap_or_else(|answer| panic!("the stream ended: {answer:?}\n{}", daemon.log()));
        kept.must_verify(&next[0]);
    }
    assert!(fetch(&daemon.socket()).unwrap().is_err(), "the disk is still full");
    assert!(daemon.is_running());
    daemon.cli(&["entry", "list"]);
    daemon.cli(&["status"]);

    // Space again.
    disk.clear();
    eventually("the problems are over, though nobody asked for anything", || daemon.status().problems.is_empty());
    assert_eq!(daemon.status().state, "ready");
    assert!(ready(&ops).starts_with("HTTP/1.1 200 "), "{}", ready(&ops));
    eventually("SVIDs are issued again", || fetch(&daemon.socket()).unwrap().is_ok());
    daemon.entry("spiffe://example.org/after", &["unix:uid:78"], &[]);
    audit_must_verify(&daemon);
    assert!(daemon.stop());
    let daemon = Daemon::start_in(folder.path(), &[]);
    assert_eq!(Admin::connect(daemon.home()).unwrap().entries().unwrap().len(), count + 1);
    kept.must_verify(&fetch(&daemon.socket()).unwrap().unwrap()[0]);
    audit_must_verify(&daemon);
    assert!(!daemon.log().contains("panicked"), "{}", daemon.log());
}

#[test]
fn a_kill_while_the_disk_is_full_leaves_a_state_that_starts() {
    let folder = Folder::new();
    let Some(disk) = Disk::mount(&folder.path().join("state")) else {
        println!("skipped: a small disk can be mounted by root only");
        return;
    };
    let mut daemon = Daemon::start_in(folder.path(), &[]);
    daemon.entry("spiffe://example.org/me", &[&own_uid()], &[]);
    let kept = Kept::new(&fetch(&daemon.socket()).unwrap().unwrap()[0]);
    disk.fill();
    let mut admin = Admin::connect(daemon.home()).unwrap();
    let mut written = 0;
    while written < 20_000 && admin.call::<Entry>("Entries/Create", &entry(written)).unwrap().is_ok() {
        written += 1;
    }
    daemon.kill();
    disk.clear();
    let daemon = Daemon::start_in(folder.path(), &[]);
    assert_eq!(Admin::connect(daemon.home()).unwrap().entries().unwrap().len(), usize::try_from(written).unwrap() + 1);
    kept.must_verify(&fetch(&daemon.socket()).unwrap().unwrap()[0]);
    audit_must_verify(&daemon);
}

#[test]
fn a_first_start_on_a_full_disk_says_so_and_can_be_repeated() {
    let folder = Folder::new();
    let Some(disk) = Disk::mount(&folder.path().join("state")) else {
        println!("skipped: a small disk can be mounted by root only");
        return;
    };
    disk.fill();
    let mut child = super::first_start::spawn(folder.path());
    let begin = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if begin.elapsed() > Duration::from_secs(30) {
            child.kill().unwrap();
            panic!("it runs, though it has nothing to keep its key on");
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    let words = fs::read_to_string(folder.path().join("log")).unwrap();
    assert!(status.code().is_some_and(|code| code != 0), "{status}: {words}");
    assert!(words.contains("full") || words.contains("space"), "{words}");
    disk.clear();
    let daemon = Daemon::start_in(folder.path(), &[]);
    daemon.entry("spiffe://example.org/me", &[&own_uid()], &[]);
    daemon.must_serve("space again");
}
