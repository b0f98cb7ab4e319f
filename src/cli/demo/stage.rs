//! The demo's throw-away folder, its programs and its processes: all of it gone at the end, however it ends.

use std::{
    fs::{self, DirBuilder},
    io,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    process::{Output, Stdio},
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
};

use crate::{
    cli::{context::ENDPOINT_VARIABLE, exit::Exit, failure::Failure, link::Admin},
    daemon::Paths,
    pb::admin::StatusRequest,
};

use super::role::{Event, Part};

/// Where the demo plays.
pub(super) struct Stage {
    dir: PathBuf,
    keep: bool,
    daemon: Option<Child>,
    cast: Vec<Child>,
}

/// One process of the demo, as it is heard.
pub(super) struct Actor {
    part: Part,
    pub(super) pid: u32,
    lines: Lines<BufReader<ChildStdout>>,
    /// Closed when the actor is dropped: then the process ends.
    _stdin: Option<ChildStdin>,
}

impl Stage {
    /// Makes the folder and the programs in it.
    ///
    /// # Errors
    /// When there is no place for them.
    pub(super) fn new(keep: bool) -> Result<Self, Failure> {
        let dir = std::env::temp_dir().join(format!("dayfly-demo-{}", std::process::id()));
        // A leftover of a process of the same number: it was ended so that it could not clean up.
        fs::remove_dir_all(&dir).ok();
        DirBuilder::new().mode(0o700).create(&dir).map_err(|error| {
            Failure::because(format_args!("no throw-away folder could be made at {}", dir.display()), &error)
                .hint("TMPDIR may name a folder where you can")
        })?;
        let stage = Self { dir, keep, daemon: None, cast: Vec::new() };
        stage.programs().map_err(|error| {
            Failure::because("the demo's programs could not be made", &error)
                .hint("TMPDIR may name a folder with more space")
        })?;
        Ok(stage)
    }

    fn programs(&self) -> io::Result<()> {
        let own = own_program()?;
        fs::create_dir(self.dir.join("bin"))?;
        for part in Part::ALL {
            fs::copy(&own, self.program(part))?;
        }
        Ok(())
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// The program of somebody in the demo.
    pub(super) fn program(&self, part: Part) -> PathBuf {
        self.dir.join("bin").join(part.name())
    }

    /// Starts the daemon and waits until it serves.
    ///
    /// # Errors
    /// When it does not come up in time.
    pub(super) async fn start_daemon(&mut self, trust_domain: &str) -> Result<Admin, Failure> {
        let cannot = |error: io::Error| Failure::because("the daemon could not be started", &error);
        let log = fs::File::create(self.dir.join("daemon.log")).map_err(cannot)?;
        let mut command = Command::new(own_program().map_err(cannot)?);
        command.args(["daemon", "--trust-domain", trust_domain, "--home"]).arg(&self.dir);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        self.daemon = Some(spawn(command).map_err(cannot)?);
        match tokio::time::timeout(START_WAIT, self.ready()).await {
            Ok(outcome) => outcome,
            Err(_) => Err(self.silent("the daemon did not come up in time")),
        }
    }

    async fn ready(&mut self) -> Result<Admin, Failure> {
        let socket = Paths::below(&self.dir).admin_socket;
        loop {
            if let Ok(mut admin) = Admin::connect_to(&socket).await
                && admin.control.status(StatusRequest {}).await.is_ok()
            {
                return Ok(admin);
            }
            if let Some(Ok(Some(status))) = self.daemon.as_mut().map(Child::try_wait) {
                return Err(self.silent(&format!("the daemon ended: {status}")));
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// A failure with the daemon's last words.
    pub(super) fn silent(&self, words: &str) -> Failure {
        let log = fs::read_to_string(self.dir.join("daemon.log")).unwrap_or_default();
        let lines: Vec<_> = log.lines().collect();
        let last = lines.iter().skip(lines.len().saturating_sub(LOG_LINES));
        Failure::new(Exit::Failed, words).details(last.copied())
    }

    /// Starts somebody's program.
    ///
    /// # Errors
    /// When it cannot be started.
    pub(super) fn start(&mut self, part: Part, more: &[&str]) -> Result<Actor, Failure> {
        let program = self.program(part);
        let cannot = |error: io::Error| not_started(&program, &error);
        let mut command = Command::new(&program);
        command.args(["demo-role", part.name()]);
        if part != Part::Tickets {
            command.arg("--socket").arg(Paths::below(&self.dir).workload_socket);
        }
        command.args(more);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit());
        let mut child = spawn(command).map_err(cannot)?;
        let stdout = child.stdout.take().ok_or_else(|| cannot(io::ErrorKind::BrokenPipe.into()))?;
        let lines = BufReader::new(stdout).lines();
        let actor = Actor { part, pid: child.id().unwrap_or_default(), lines, _stdin: child.stdin.take() };
        self.cast.push(child);
        Ok(actor)
    }

    /// Runs a verb of the ordinary program as somebody, to its end.
    ///
    /// # Errors
    /// When it cannot be started, or does not end in time.
    pub(super) async fn call(&self, part: Part, verb: &[&str]) -> Result<Output, Failure> {
        let program = self.program(part);
        let mut command = own_group(Command::new(&program));
        command.args(verb).arg("--socket").arg(Paths::below(&self.dir).workload_socket).stdin(Stdio::null());
        match tokio::time::timeout(EVENT_WAIT, command.output()).await {
            Ok(output) => output.map_err(|error| not_started(&program, &error)),
            Err(_) => Err(self.silent(&format!("{} did not end in time", part.name()))),
        }
    }

    /// Ends every process and removes the folder.
    pub(super) async fn clear(mut self) {
        for child in &mut self.cast {
            child.kill().await.ok();
        }
        if let Some(mut daemon) = self.daemon.take() {
            // Not reaped yet, so the number is still its own.
            if let Some(pid) = daemon.id().and_then(|pid| i32::try_from(pid).ok()) {
                kill(Pid::from_raw(pid), Signal::SIGTERM).ok();
            }
            if tokio::time::timeout(STOP_WAIT, daemon.wait()).await.is_err() {
                daemon.kill().await.ok();
            }
        }
    }
}

/// Processes end with their handles (`kill_on_drop`); the folder goes here, also after a failure in the middle.
impl Drop for Stage {
    fn drop(&mut self) {
        if !self.keep {
            fs::remove_dir_all(&self.dir).ok();
        }
    }
}

impl Actor {
    /// What it tells next.
    ///
    /// # Errors
    /// When it ends, or tells nothing in time.
    pub(super) async fn tells(&mut self, stage: &Stage) -> Result<Event, Failure> {
        let name = self.part.name();
        match tokio::time::timeout(EVENT_WAIT, self.lines.next_line()).await {
            Ok(Ok(Some(line))) => serde_json::from_str(&line)
                .map_err(|error| Failure::because(format_args!("{name} said something strange"), &error)),
            Ok(_) => Err(stage.silent(&format!("{name} ended before its time"))),
            Err(_) => Err(stage.silent(&format!("{name} did not come further in time"))),
        }
    }
}

fn spawn(command: Command) -> io::Result<Child> {
    own_group(command).spawn()
}

/// A group of their own: a ^C at the terminal is for the demo, which ends them in order.
fn own_group(mut command: Command) -> Command {
    command.process_group(0).kill_on_drop(true);
    command.env_remove("DAYFLY_HOME").env_remove("DAYFLY_ADMIN_SOCKET").env_remove(ENDPOINT_VARIABLE);
    command
}

fn not_started(program: &Path, error: &io::Error) -> Failure {
    Failure::because(format_args!("{} could not be started", program.display()), error)
        .hint("TMPDIR may name a folder from which programs can be run")
}

/// The image that runs, even if its name was replaced by a newer build meanwhile.
fn own_program() -> io::Result<PathBuf> {
    let own = std::env::current_exe()?;
    Ok(if own.exists() { own } else { "/proc/self/exe".into() })
}

const START_WAIT: Duration = Duration::from_secs(15);
const EVENT_WAIT: Duration = Duration::from_secs(15);
const STOP_WAIT: Duration = Duration::from_secs(5);
const LOOK_AGAIN: Duration = Duration::from_millis(10);
const LOG_LINES: usize = 8;
