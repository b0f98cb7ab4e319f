//! The servers under attack: the naive one and the built daemon, each in a process and a folder of its own.

use std::{
    collections::BTreeSet,
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::Duration,
};

use anyhow::{Context as _, ensure};
use nix::sys::signal::Signal;

use crate::{
    kernel::{die_with_parent, signal},
    naive::{Entry, Switches},
    scene::{Programs, wait_until},
    wire::IDENTITY,
};

/// What is attacked.
#[derive(Clone, Debug)]
pub enum Target {
    Naive(Switches),
    /// The built daemon, with these kernel features forced off.
    Dayfly(Vec<String>),
}

/// A running server; killed when dropped.
pub struct Server {
    child: Child,
    pub socket: PathBuf,
    home: PathBuf,
    is_dayfly: bool,
}

/// One refusal in the daemon's audit log.
#[derive(Clone, Debug)]
pub struct Refusal {
    pub pid: i32,
    pub reasons: BTreeSet<String>,
}

const DAYFLY: &str = env!("CARGO_BIN_EXE_dayfly");
/// Waits are shortened, refusals are all written, and nobody is slowed down for asking often.
const CONFIG: &str = "
[limits]
ping_seconds = 1
[audit]
refusals_per_uid_minute = 100000
bytes_per_uid_minute = \"1GiB\"
";

impl Server {
    /// Starts a server in `home`, with one entry.
    pub fn start(target: &Target, home: &Path, programs: &Programs, entry: &Entry) -> anyhow::Result<Self> {
        match target {
            Target::Naive(switches) => Self::naive(*switches, home, programs, entry),
            Target::Dayfly(without) => Self::dayfly(without, home, entry),
        }
    }

    fn naive(switches: Switches, home: &Path, programs: &Programs, entry: &Entry) -> anyhow::Result<Self> {
        let socket = home.join("workload.sock");
        let path = entry.path.as_ref().map_or("-".into(), |path| path.to_string_lossy().into_owned());
        let mut command = Command::new(&programs.attacker);
        command.arg("naive").arg(&socket).args([switches.number().to_string(), entry.uid.to_string(), path]);
        command.arg(entry.sha256.as_deref().unwrap_or("-")).stdin(Stdio::null()).stdout(Stdio::null());
        let child = die_with_parent(&mut command).spawn()?;
        let server = Self { child, socket, home: home.to_owned(), is_dayfly: false };
        wait_until("the naive server listens", || server.socket.exists())?;
        Ok(server)
    }

    fn dayfly(without: &[String], home: &Path, entry: &Entry) -> anyhow::Result<Self> {
        fs::write(home.join("dayfly.toml"), CONFIG)?;
        let log = fs::File::create(home.join("log"))?;
        let mut command = Command::new(DAYFLY);
        command.args(["daemon", "--trust-domain", "example.org", "--home"]).arg(home);
        if !without.is_empty() {
            command.args(["--without-kernel", &without.join(",")]);
        }
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let child = die_with_parent(&mut command).spawn()?;
        let server = Self { child, socket: home.join("workload.sock"), home: home.to_owned(), is_dayfly: true };
        wait_until("the daemon is ready", || server.cli(&["healthcheck"]).is_ok_and(|output| output.status.success()))?;
        let mut words = vec!["entry".to_owned(), "add".to_owned(), IDENTITY.to_owned()];
        let path = entry.path.as_ref().map(|path| format!("unix:path:{}", path.display()));
        let sha256 = entry.sha256.as_ref().map(|digest| format!("unix:sha256:{digest}"));
        for selector in [Some(format!("unix:uid:{}", entry.uid)), path, sha256].into_iter().flatten() {
            words.extend(["-s".to_owned(), selector]);
        }
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let added = server.cli(&words)?;
        ensure!(added.status.success(), "no entry: {}", String::from_utf8_lossy(&added.stderr));
        Ok(server)
    }

    fn cli(&self, words: &[&str]) -> std::io::Result<Output> {
        Command::new(DAYFLY).arg("--home").arg(&self.home).args(words).stdin(Stdio::null()).output()
    }

    /// Its process.
    pub fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).unwrap_or(0)
    }

    /// Whether it is the daemon.
    pub fn is_dayfly(&self) -> bool {
        self.is_dayfly
    }

    /// Stops it, as a machine with other things to do would; comes back when every thread stands still.
    pub fn stop(&self) -> anyhow::Result<()> {
        signal(self.pid(), Signal::SIGSTOP)?;
        let threads = format!("/proc/{}/task", self.pid());
        wait_until("the server stands still", || {
            let states = fs::read_dir(&threads).into_iter().flatten().flatten();
            states
                .map(|thread| fs::read_to_string(thread.path().join("stat")).unwrap_or_default())
                .all(|stat| stat.rsplit_once(") ").is_none_or(|(_, after)| after.starts_with('T')))
        })
    }

    /// Lets it go on.
    pub fn go_on(&self) -> anyhow::Result<()> {
        Ok(signal(self.pid(), Signal::SIGCONT)?)
    }

    /// Has the daemon push to every stream of the identity: its certificate says something else now. The naive server
    /// pushes by itself.
    pub fn push(&self, word: &str) -> anyhow::Result<()> {
        if self.is_dayfly {
            let listed = self.cli(&["entry", "list", "--output", "json"])?;
            let listed: serde_json::Value = serde_json::from_slice(&listed.stdout)?;
            let id = find_id(&listed).context("the entry is listed")?;
            let updated = self.cli(&["entry", "update", &id, "--dns", &format!("{word}.example.org")])?;
            ensure!(updated.status.success(), "no update: {}", String::from_utf8_lossy(&updated.stderr));
        }
        Ok(())
    }

    /// The refusals in its audit log, oldest first.
    pub fn refusals(&self) -> anyhow::Result<Vec<Refusal>> {
        let mut segments: Vec<_> = match fs::read_dir(self.home.join("state/audit")) {
            Ok(folder) => folder.flatten().map(|file| file.path()).collect(),
            Err(_) => return Ok(Vec::new()),
        };
        segments.retain(|path| path.extension().is_some_and(|extension| extension == "jsonl"));
        segments.sort();
        let mut refusals = Vec::new();
        for segment in segments {
            for line in fs::read_to_string(segment)?.lines() {
                let Ok(record) = serde_json::from_str::<serde_json::Value>(line) else { continue };
                if record["kind"] != "refused" {
                    continue;
                }
                let pid = record["caller"]["pid"].as_i64().and_then(|pid| i32::try_from(pid).ok()).unwrap_or(0);
                let reasons = record["reasons"].as_array().into_iter().flatten();
                let reasons = reasons.filter_map(|reason| reason.as_str().map(str::to_owned)).collect();
                refusals.push(Refusal { pid, reasons });
            }
        }
        Ok(refusals)
    }

    /// The last lines of its log, for whoever looks at a failure.
    pub fn log(&self) -> String {
        let log = fs::read_to_string(self.home.join("log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(6)..].join("\n")
    }
}

/// The first `id` anywhere in a list of entries.
fn find_id(value: &serde_json::Value) -> Option<String> {
    match value {
        serde_json::Value::Object(fields) => {
            fields.get("id").and_then(|id| id.as_str().map(str::to_owned)).or_else(|| fields.values().find_map(find_id))
        }
        serde_json::Value::Array(items) => items.iter().find_map(find_id),
        _ => None,
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        signal(self.pid(), Signal::SIGCONT).ok();
        self.child.kill().ok();
        self.child.wait().ok();
        std::io::stderr().flush().ok();
    }
}

/// How long the daemon may take to write a refusal after the connection has ended.
pub const AUDIT_LAG: Duration = Duration::from_secs(2);
