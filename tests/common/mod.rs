//! The built daemon in a folder of its own, as tests use it.
#![allow(dead_code, unreachable_pub, reason = "each test target uses its own part of this")]

pub mod h2raw;
pub mod issuer;
pub mod messages;
pub mod passed;
pub mod secrets;

use std::{
    fs,
    io::{BufRead as _, BufReader},
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

/// The daemon's program.
pub const DAYFLY: &str = env!("CARGO_BIN_EXE_dayfly");
/// How long anything that should happen at once may take on a loaded machine.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A folder that is removed when dropped; its path is short, since socket paths are.
pub struct Folder(PathBuf);

impl Folder {
    pub fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("df-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        fs::DirBuilder::new().mode(0o755).create(&path).expect("a folder for the test");
        Self(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).ok();
    }
}

/// A running daemon, killed when dropped.
pub struct Daemon {
    home: PathBuf,
    child: Child,
    _folder: Option<Folder>,
}

impl Daemon {
    /// A daemon for `example.org` with these lines of configuration.
    pub fn start(config: &str) -> Self {
        Self::start_of("example.org", config)
    }

    /// A daemon for another trust domain.
    pub fn start_of(trust_domain: &str, config: &str) -> Self {
        let folder = Folder::new();
        let home = folder.path().to_owned();
        fs::write(home.join("dayfly.toml"), config).expect("a configuration");
        let mut daemon = Self::start_as(trust_domain, &home, &[]);
        daemon._folder = Some(folder);
        daemon
    }

    /// A daemon in a folder that stays.
    pub fn start_in(home: &Path, more: &[&str]) -> Self {
        Self::start_as("example.org", home, more)
    }

    fn start_as(trust_domain: &str, home: &Path, more: &[&str]) -> Self {
        let daemon = Self::spawn_as(trust_domain, home, more);
        daemon.wait_ready();
        daemon
    }

    /// The same as [`Daemon::start_in`], but nobody waits until it is ready.
    pub fn spawn_in(home: &Path, more: &[&str]) -> Self {
        Self::spawn_as("example.org", home, more)
    }

    fn spawn_as(trust_domain: &str, home: &Path, more: &[&str]) -> Self {
        let log = fs::File::options().create(true).append(true).open(home.join("log")).expect("a log");
        let child = Command::new(DAYFLY)
            .args(["daemon", "--home"])
            .arg(home)
            .args(["--trust-domain", trust_domain])
            .args(more)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("the daemon starts");
        Self::of(home, child)
    }

    /// A daemon that was started in another way.
    pub fn of(home: &Path, child: Child) -> Self {
        Self { home: home.to_owned(), child, _folder: None }
    }

    pub fn wait_ready(&self) {
        eventually("the daemon is ready", || self.try_cli(&["healthcheck"]).status.success());
    }

    pub fn home(&self) -> &Path {
        &self.home
    }

    pub fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).expect("a pid")
    }

    pub fn socket(&self) -> PathBuf {
        self.home.join("workload.sock")
    }

    /// As clients of the ecosystem want it.
    pub fn endpoint(&self) -> String {
        format!("unix://{}", self.socket().display())
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.home.join("log")).unwrap_or_default()
    }

    /// Runs a verb against this daemon.
    pub fn try_cli(&self, args: &[&str]) -> Output {
        Command::new(DAYFLY).args(args).arg("--home").arg(&self.home).output().expect("the command line runs")
    }

    /// Runs a verb that must succeed; answers its output.
    pub fn cli(&self, args: &[&str]) -> String {
        let output = self.try_cli(args);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        assert!(
            output.status.success(),
            "dayfly {args:?}: {}{}\n{}",
            text(&output.stdout),
            text(&output.stderr),
            self.log()
        );
        text(&output.stdout).trim().to_owned()
    }

    /// Registers an entry; answers its id.
    pub fn entry(&self, id: &str, selectors: &[&str], more: &[&str]) -> String {
        let mut args = vec!["entry", "add", id];
        selectors.iter().for_each(|selector| args.extend(["-s", selector]));
        args.extend(more);
        self.cli(&args)
    }

    /// All audit records, oldest first.
    pub fn audit(&self) -> Vec<serde_json::Value> {
        let mut segments: Vec<_> = fs::read_dir(self.home.join("state/audit"))
            .map(|entries| entries.flatten().map(|entry| entry.path()).collect())
            .unwrap_or_default();
        segments.retain(|path: &PathBuf| path.extension().is_some_and(|extension| extension == "jsonl"));
        segments.sort();
        let lines = segments.iter().flat_map(|path| BufReader::new(fs::File::open(path).expect("a segment")).lines());
        lines.map_while(Result::ok).filter_map(|line| serde_json::from_str(&line).ok()).collect()
    }

    /// What it says of itself.
    pub fn status(&self) -> messages::Status {
        messages::Admin::connect(&self.home).and_then(|mut admin| admin.status()).expect("a status")
    }

    /// Whether it serves us, who are registered, as it should: alive, at once, and without a panic before.
    pub fn must_serve(&self, after: &str) {
        let served = messages::fetch(&self.socket());
        assert!(matches!(&served, Ok(Ok(svids)) if !svids.is_empty()), "after {after}: {served:?}\n{}", self.log());
        let log = self.log();
        assert!(!log.contains("panicked"), "after {after}: {log}");
    }

    /// Ends it at once, as a crash would.
    pub fn kill(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }

    /// Asks it to stop; answers whether it ended well.
    pub fn stop(&mut self) -> bool {
        let pid = nix::unistd::Pid::from_raw(self.pid());
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).ok();
        self.child.wait().is_ok_and(|status| status.success())
    }

    /// Starts it again, once it has ended.
    pub fn start_again(&mut self) {
        let mut next = Self::start_in(&self.home, &[]);
        std::mem::swap(&mut self.child, &mut next.child);
    }

    /// Has another one take its place, and waits until it has ended well.
    pub fn replace(&mut self) {
        let mut next = Self::spawn_in(&self.home, &["--replace"]);
        let status = self.wait();
        assert!(status.success(), "{status}: {}", self.log());
        std::mem::swap(&mut self.child, &mut next.child);
        self.wait_ready();
    }

    /// Waits until it has ended.
    pub fn wait(&mut self) -> std::process::ExitStatus {
        self.child.wait().expect("its end")
    }

    /// Waits until it has halted itself; answers whether it did, and did not end.
    pub fn has_halted(&self) -> bool {
        use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
        let flags = WaitPidFlag::WSTOPPED | WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT | WaitPidFlag::WNOHANG;
        let mut state = WaitStatus::StillAlive;
        eventually("the process halts or ends", || {
            state = waitid(Id::Pid(nix::unistd::Pid::from_raw(self.pid())), flags).expect("a child of ours");
            state != WaitStatus::StillAlive
        });
        matches!(state, WaitStatus::Stopped(..))
    }

    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Waits until something holds.
pub fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !holds() {
        assert!(begin.elapsed() < PATIENCE, "{what}: not within {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Our own uid as a selector.
pub fn own_uid() -> String {
    format!("unix:uid:{}", nix::unistd::getuid())
}

/// Tries: a tenth of `full` unless the run is a full one (`tests/run --full`).
pub fn rounds(full: usize) -> usize {
    if std::env::var_os("DAYFLY_TESTS_FULL").is_some() { full } else { (full / 10).max(1) }
}
