//! A daemon, a folder with a place for each user, and what runs there; all of it ends with the test.

use std::{
    env,
    ffi::OsString,
    fs,
    net::TcpListener,
    os::unix::{fs::chown, process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, killpg},
    unistd::{Pid, User, geteuid},
};

use super::{
    asker::Asker,
    common::{DAYFLY, Daemon, Folder, PATIENCE, eventually},
    probe::Probe,
};

/// A certificate lives so long, and is renewed at half of that. What signs is replaced within a minute or two.
const CONFIG: &str = "[x509]\nttl = \"10s\"\n[authority]\nissuing_ttl = \"2m\"\n";
/// Of a full run: what signs is itself in the bundles, and its successor is there before it signs.
const ONE_TIER: &str = "layout = \"self-signed\"\n";
/// Renewals come about every five seconds, on a machine that is not too busy; also the authority's comes within this.
const ROTATIONS_WAIT: Duration = Duration::from_secs(180);

/// A user without a name.
pub(super) const CLIENT: u32 = 47_101;
/// Another one, whom nobody lets in.
pub(super) const STRANGER: u32 = 47_102;

pub(super) struct Stage {
    pub(super) daemon: Daemon,
    /// For what is in a user's folder.
    folder: Folder,
    /// Folders before the others in `PATH`.
    path: Vec<PathBuf>,
    environment: Vec<(&'static str, String)>,
}

/// A process of the stage, ended when dropped.
pub(super) struct Background {
    child: Child,
    by: Signal,
}

/// Where a program is that `tests/run` has found; `None`, and a word about it, where it cannot be run.
pub(super) fn program(variable: &str) -> Option<PathBuf> {
    let found = env::var_os(variable).map(PathBuf::from);
    if found.is_none() {
        println!("not run: {variable} is not set (tests/run sets it)");
    } else if !geteuid().is_root() {
        println!("not run: each server and each client is a user of its own, which takes root");
        return None;
    }
    found
}

impl Stage {
    pub(super) fn new(bin: &Path) -> Self {
        let layout = if env::var_os("DAYFLY_TESTS_FULL").is_some() { ONE_TIER } else { "" };
        Self::of(&format!("{CONFIG}{layout}"), bin)
    }

    /// With a daemon that is configured so.
    pub(super) fn of(config: &str, bin: &Path) -> Self {
        let (daemon, folder) = (Daemon::start(config), Folder::new());
        let environment = vec![
            ("SPIFFE_ENDPOINT_SOCKET", daemon.endpoint()),
            ("DAYFLY_HOME", daemon.home().display().to_string()),
            ("HOME", folder.path().display().to_string()),
        ];
        let path = vec![bin.to_owned(), Path::new(DAYFLY).parent().unwrap().to_owned()];
        Self { daemon, folder, path, environment }
    }

    /// Also told to every process.
    pub(super) fn with(mut self, name: &'static str, value: impl ToString) -> Self {
        self.environment.push((name, value.to_string()));
        self
    }

    pub(super) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// A folder of that user.
    pub(super) fn place(&self, name: &str, uid: u32) -> PathBuf {
        let path = self.path().join(name);
        fs::create_dir_all(&path).unwrap();
        chown(&path, Some(uid), Some(uid)).unwrap();
        path
    }

    /// A line of shell, as this user.
    pub(super) fn shell(&self, uid: u32, line: &str) -> Command {
        let path = env::var_os("PATH").unwrap_or_default();
        let path: OsString = env::join_paths(self.path.iter().cloned().chain(env::split_paths(&path))).unwrap();
        let mut shell = Command::new("sh");
        shell.args(["-c", line]).env("PATH", path).envs(self.environment.iter().map(|(name, value)| (name, value)));
        shell.current_dir(self.path()).stdin(Stdio::null()).process_group(0).uid(uid).gid(uid);
        shell
    }

    /// Runs lines that must succeed.
    pub(super) fn run(&self, uid: u32, lines: &[String]) -> String {
        let output = self.shell(uid, &lines.join("\n")).output().unwrap();
        assert!(output.status.success(), "{lines:?}: {}\n{}", words(&output), self.daemon.log());
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Runs a line in the background; what it says goes into a file.
    pub(super) fn start(&self, uid: u32, line: &str, by: Signal) -> Background {
        let log = fs::File::options().create(true).append(true).open(self.path().join("log")).unwrap();
        Background::of(self.shell(uid, line).stdout(log.try_clone().unwrap()).stderr(log), by)
    }

    /// Runs a fetch that stays, until its files are there.
    pub(super) fn fetch(&self, uid: u32, line: &str) -> Background {
        let dir = line.split_whitespace().skip_while(|word| *word != "--write").nth(1).unwrap();
        let background = self.start(uid, line, Signal::SIGTERM);
        self.eventually(&format!("{line} writes"), || Path::new(dir).join("svid.pem").exists());
        background
    }

    /// What a client of another trust domain has, who claims the same.
    pub(super) fn forged(&self, entry: &[&str]) -> PathBuf {
        let (daemon, place) = (Daemon::start_of("other.test", CONFIG), self.place("forged", CLIENT));
        daemon.entry("spiffe://other.test/forged", &[&format!("unix:uid:{CLIENT}")], entry);
        let line = format!("dayfly fetch x509 --socket {} --write {}", daemon.socket().display(), place.display());
        self.run(CLIENT, &[format!("{line}/certs")]);
        place.join("certs")
    }

    /// Waits until another authority than the first has signed the server's certificates a while.
    pub(super) fn after_another_authority(&self, first: &[u8], server: &Probe, serials: &Asker) {
        self.after_rotations("another authority", || {
            serials.answers();
            server.authority().unwrap() != first
        });
        let before = serials.answers();
        self.after_rotations("two rotations after that", || serials.answers() > before + 1);
    }

    /// Waits until something holds, and tells what was said meanwhile where it does not.
    pub(super) fn eventually(&self, what: &str, holds: impl FnMut() -> bool) {
        self.within(PATIENCE, what, holds);
    }

    /// The same, for so many rotations as they take.
    pub(super) fn after_rotations(&self, what: &str, holds: impl FnMut() -> bool) {
        self.within(ROTATIONS_WAIT, what, holds);
    }

    fn within(&self, most: Duration, what: &str, mut holds: impl FnMut() -> bool) {
        let begin = Instant::now();
        while !holds() {
            assert!(begin.elapsed() < most, "{what}: not within {most:?}\n{}", self.said());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// What all processes have said.
    pub(super) fn said(&self) -> String {
        fs::read_to_string(self.path().join("log")).unwrap_or_default()
    }
}

impl Background {
    /// A process in a group of its own, ended by this signal.
    pub(super) fn of(command: &mut Command, by: Signal) -> Self {
        Self { child: command.process_group(0).spawn().unwrap(), by }
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(super) fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        // A group of its own, and not reaped yet.
        let group = Pid::from_raw(i32::try_from(self.child.id()).unwrap());
        killpg(group, self.by).ok();
        if !std::thread::panicking() {
            eventually("a process ends", || matches!(self.child.try_wait(), Ok(Some(_))));
        }
        killpg(group, Signal::SIGKILL).ok();
        self.child.wait().ok();
    }
}

/// The uid of a user that a package has made.
pub(super) fn uid_of(name: &str) -> u32 {
    User::from_name(name).unwrap().unwrap_or_else(|| panic!("there is no user {name}")).uid.as_raw()
}

/// A port that nobody has now.
pub(super) fn port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// All that a process has said.
pub(super) fn words(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}
