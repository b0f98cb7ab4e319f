//! Flooders' processes: how they are started, what they are told, and what they tell.

use std::{
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use super::{
    flooder, is_root,
    kinds::{KINDS, Kind},
};

/// What a flooder did.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tally {
    /// Frames, or whatever it floods with.
    pub(super) sent: u64,
    pub(super) connections: u64,
    /// Connections that the daemon ended.
    pub(super) closed: u64,
    /// Calls that were answered.
    pub(super) answered: u64,
}

impl Tally {
    pub(super) fn add(&mut self, other: Self) {
        self.sent += other.sent;
        self.connections += other.connections;
        self.closed += other.closed;
        self.answered += other.answered;
    }
}

/// What a flood is told.
pub(super) struct Order {
    pub(super) socket: PathBuf,
    pub(super) end: Instant,
}

impl Order {
    pub(super) fn is_on(&self) -> bool {
        Instant::now() < self.end
    }

    pub(super) fn left(&self) -> Duration {
        self.end.saturating_duration_since(Instant::now()).max(Duration::from_millis(1))
    }
}

/// Flooders at work; killed when dropped.
pub(super) struct Flooders(Vec<Child>);

impl Flooders {
    pub(super) fn start(programs: &[PathBuf], kind: &Kind, socket: &Path, length: Duration) -> Self {
        let start = |program: &PathBuf| {
            // Niced, so that it fights for the daemon's time and not for the bystander's; `cpu alone` shows what remains.
            let mut command = Command::new("nice");
            command
                .args(["-n", "15"])
                .arg(program)
                .args(["as_a_flooder", "--exact", "--nocapture"])
                .env("DAYFLY_FLOOD", kind.name)
                .env("DAYFLY_FLOOD_SOCKET", socket)
                .env("DAYFLY_FLOOD_MILLISECONDS", length.as_millis().to_string())
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .stderr(Stdio::inherit());
            if is_root() {
                let (uid, gid) = flooder(kind);
                command.uid(uid).gid(gid);
            }
            command.spawn().expect("a flooder starts")
        };
        Self(programs.iter().map(start).collect())
    }

    /// Waits for their end; answers what they did in all.
    pub(super) fn wait(mut self) -> Tally {
        let mut all = Tally::default();
        for child in self.0.drain(..) {
            let output = child.wait_with_output().expect("a flooder ends");
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            let number = |name: &str| {
                let found = text.split_whitespace().find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
                found.and_then(|number| number.parse().ok()).unwrap_or_default()
            };
            assert!(text.contains("flooder:"), "a flooder failed: {text}");
            all.add(Tally {
                sent: number("sent"),
                connections: number("connections"),
                closed: number("closed"),
                answered: number("answered"),
            });
        }
        all
    }
}

impl Drop for Flooders {
    fn drop(&mut self) {
        for child in &mut self.0 {
            child.kill().ok();
            child.wait().ok();
        }
    }
}

/// Floods, if this process was started to.
pub(super) fn obey() {
    let Ok(name) = std::env::var("DAYFLY_FLOOD") else { return };
    let kind = KINDS.iter().find(|kind| kind.name == name).expect("a flood that exists");
    let socket = PathBuf::from(std::env::var_os("DAYFLY_FLOOD_SOCKET").expect("a socket"));
    let length = std::env::var("DAYFLY_FLOOD_MILLISECONDS").expect("a length").parse().expect("a number");
    let end = Instant::now() + Duration::from_millis(length);
    raise_descriptors();
    let threads: Vec<_> = (0..kind.threads)
        .map(|_| {
            let order = Order { socket: socket.clone(), end };
            thread::spawn(move || (kind.flood)(&order))
        })
        .collect();
    let mut all = Tally::default();
    threads.into_iter().for_each(|thread| all.add(thread.join().expect("a flood")));
    println!(
        "flooder: sent={} connections={} closed={} answered={}",
        all.sent, all.connections, all.closed, all.answered
    );
}

/// As many descriptors as we may have.
fn raise_descriptors() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("a limit");
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).expect("a limit raised");
}
