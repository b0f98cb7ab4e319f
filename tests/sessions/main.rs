//! The built binary as a person uses it: whole terminal sessions, compared word by word.
//!
//! A session is a file beside this one:
//!
//! ```text
//! # prose; blank lines between steps mean nothing
//! @daemon ARGS…        starts a daemon for example.org in the session's folder, which is also DAYFLY_HOME
//! @stop                ends it
//! @start COMMAND       runs in the background, until @end or the end of the session
//! @end                 ends what runs in the background
//! @until COMMAND       waits until it succeeds
//! @need root           the rest is left out, and said so, where this does not hold
//! @file NAME           the lines that follow and begin with `|` are its content
//! $ COMMAND            a line of shell; what follows is compared with what it prints
//! id = $ COMMAND       the same, and its stdout is {id} from now on; {home}, {uid} and {sessions} are known
//! a line of stdout     `…` stands for any characters; alone on a line for any lines
//! ! a line of stderr
//! = 3                  the exit code, where it is not 0
//! ```
#![expect(clippy::expect_used, clippy::panic, clippy::print_stderr, reason = "tests")]

use std::{
    collections::BTreeMap,
    env, fs,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

#[path = "../common/mod.rs"]
mod common;

use common::{DAYFLY, Daemon, Folder, eventually};

macro_rules! sessions {
    ($($name:ident)*) => {
        $(#[test]
        fn $name() {
            Session::run(stringify!($name));
        })*

        #[test]
        fn every_session_is_run() {
            let known = [$(concat!(stringify!($name), ".txt")),*];
            let files = fs::read_dir(folder()).expect("the sessions").flatten().map(|file| file.file_name());
            for name in files.filter_map(|name| name.into_string().ok()).filter(|name| name.ends_with(".txt")) {
                assert!(known.contains(&name.as_str()), "{name} is not in the list");
            }
        }
    };
}

sessions! {
    agents apply audit bundles config demo endpoint entries envoy explain fetch help keys others revoke spire status templates tokens
    unreachable up validate
}

struct Session {
    home: Folder,
    daemon: Option<Daemon>,
    background: Vec<Child>,
    words: BTreeMap<String, String>,
}

/// What a command is expected to do.
#[derive(Default)]
struct Expected {
    stdout: Vec<String>,
    stderr: Vec<String>,
    code: i32,
}

impl Session {
    fn run(name: &str) {
        let path = folder().join(format!("{name}.txt"));
        let text = fs::read_to_string(&path).expect("the session");
        let home = Folder::new();
        let words = [
            ("home", home.path().display().to_string()),
            ("uid", nix::unistd::getuid().to_string()),
            ("sessions", folder().display().to_string()),
        ];
        let words = words.map(|(name, value)| (name.to_owned(), value)).into();
        let mut session = Self { home, daemon: None, background: Vec::new(), words };
        let lines: Vec<&str> = text.lines().collect();
        let mut rest = lines.iter().enumerate().map(|(at, line)| (at + 1, *line)).peekable();
        while let Some((number, line)) = rest.next() {
            let at = format!("{name}.txt:{number}: {line}");
            let line = session.fill(line);
            if let Some(step) = line.strip_prefix('@') {
                let mut block = Vec::new();
                while let Some((_, content)) = rest.next_if(|(_, next)| next.starts_with('|')) {
                    block.push(session.fill(content.trim_start_matches('|').strip_prefix(' ').unwrap_or_default()));
                }
                if !session.step(step, &block, &at) {
                    return;
                }
            } else if let Some((variable, command)) = command(&line) {
                let mut expected = Expected::default();
                while let Some((_, next)) = rest.next_if(|(_, next)| !is_step(next)) {
                    let next = session.fill(next);
                    if let Some(code) = next.strip_prefix("= ") {
                        expected.code = code.trim().parse().expect("an exit code");
                    } else if let Some(word) = next.strip_prefix('!') {
                        expected.stderr.push(word.strip_prefix(' ').unwrap_or(word).to_owned());
                    } else {
                        expected.stdout.push(next);
                    }
                }
                session.command(command, variable, expected, &at);
            }
        }
    }

    /// Whether the session goes on.
    fn step(&mut self, step: &str, block: &[String], at: &str) -> bool {
        let (verb, argument) = step.split_once(' ').unwrap_or((step, ""));
        match verb {
            "daemon" => {
                let more: Vec<_> = argument.split_whitespace().collect();
                self.daemon = Some(Daemon::start_in(self.home.path(), &more));
            }
            "stop" => self.stop(),
            "end" => self.end(),
            "start" => self.background.push(self.shell(argument).process_group(0).spawn().expect("a process")),
            "until" => eventually(at, || {
                self.shell(argument)
                    .stdout(Stdio::null())
                    .stderr(Stdio::null())
                    .status()
                    .is_ok_and(|status| status.success())
            }),
            "file" => fs::write(
                self.home.path().join(argument),
                block.iter().map(|line| format!("{line}\n")).collect::<String>(),
            )
            .expect("a file"),
            "need" if argument == "root" => {
                let is_root = nix::unistd::geteuid().is_root();
                if !is_root {
                    eprintln!("{at}: left out, this is not root");
                }
                return is_root;
            }
            _ => panic!("{at}: no such step"),
        }
        true
    }

    fn command(&mut self, command: &str, variable: Option<&str>, mut expected: Expected, at: &str) {
        let output = self.shell(command).output().expect("a shell");
        let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        // Blank lines before the next step are the file's, not the command's.
        while expected.stdout.last().is_some_and(|line| line.is_empty()) {
            expected.stdout.pop();
        }
        if let Some(variable) = variable {
            self.words.insert(variable.to_owned(), stdout.trim().to_owned());
            expected.stdout = vec!["…".into()];
        }
        let found = || format!("{at}\nstdout:\n{stdout}\nstderr:\n{stderr}\nexit: {}\n", output.status);
        assert!(matches_all(&expected.stdout, &lines(&stdout)), "stdout is another one: {}", found());
        assert!(matches_all(&expected.stderr, &lines(&stderr)), "stderr is another one: {}", found());
        assert_eq!(output.status.code(), Some(expected.code), "{}", found());
    }

    fn shell(&self, command: &str) -> Command {
        let own = Path::new(DAYFLY).parent().expect("a folder");
        let path = env::var_os("PATH").unwrap_or_default();
        let folders = [own.to_owned()].into_iter().chain(env::split_paths(&path));
        let mut shell = Command::new("sh");
        shell.args(["-c", command]).current_dir(self.home.path()).stdin(Stdio::null());
        shell.env("PATH", env::join_paths(folders).expect("a PATH"));
        shell.env("DAYFLY_HOME", self.home.path()).env("HOME", self.home.path());
        for name in [
            "SPIFFE_ENDPOINT_SOCKET",
            "DAYFLY_ADMIN_SOCKET",
            "XDG_RUNTIME_DIR",
            "XDG_STATE_HOME",
            "XDG_CONFIG_HOME",
            "NO_COLOR",
        ] {
            shell.env_remove(name);
        }
        shell
    }

    fn fill(&self, line: &str) -> String {
        self.words.iter().fold(line.to_owned(), |line, (name, value)| line.replace(&format!("{{{name}}}"), value))
    }

    fn stop(&mut self) {
        if let Some(mut daemon) = self.daemon.take() {
            assert!(daemon.stop(), "the daemon did not end well");
        }
    }

    fn end(&mut self) {
        for mut child in self.background.drain(..) {
            // A group of its own, and not reaped yet.
            let group = i32::try_from(child.id()).map(nix::unistd::Pid::from_raw).expect("a pid");
            nix::sys::signal::killpg(group, nix::sys::signal::Signal::SIGTERM).ok();
            child.wait().ok();
            eventually("what ran in the background has ended", || nix::sys::signal::killpg(group, None).is_err());
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.end();
        if !std::thread::panicking() {
            self.stop();
        }
    }
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sessions")
}

fn is_step(line: &str) -> bool {
    line.starts_with(['@', '#']) || command(line).is_some()
}

/// The command of a `$` line, and the variable that takes its output.
fn command(line: &str) -> Option<(Option<&str>, &str)> {
    if let Some(command) = line.strip_prefix("$ ") {
        return Some((None, command));
    }
    let (variable, command) = line.split_once(" = $ ")?;
    variable.bytes().all(|byte| byte.is_ascii_lowercase()).then_some((Some(variable), command))
}

fn lines(text: &str) -> Vec<&str> {
    text.lines().collect()
}

fn matches_all(expected: &[String], found: &[&str]) -> bool {
    match expected.split_first() {
        None => found.is_empty(),
        Some((any, rest)) if any == "…" => {
            (0..=found.len()).any(|skipped| found.get(skipped..).is_some_and(|found| matches_all(rest, found)))
        }
        Some((pattern, rest)) => match found.split_first() {
            Some((line, found)) => matches_line(pattern, line) && matches_all(rest, found),
            None => false,
        },
    }
}

fn matches_line(pattern: &str, line: &str) -> bool {
    match pattern.split_once('…') {
        None => pattern == line,
        Some((before, after)) => line.strip_prefix(before).is_some_and(|rest| {
            rest.char_indices()
                .map(|(at, _)| at)
                .chain([rest.len()])
                .any(|at| rest.get(at..).is_some_and(|rest| matches_line(after, rest)))
        }),
    }
}

#[test]
fn patterns_stand_for_what_they_say() {
    let expected = |lines: &[&str]| lines.iter().map(|line| (*line).to_owned()).collect::<Vec<_>>();
    assert!(matches_all(&expected(&["a…c", "…", "z"]), &["abc", "x", "y", "z"]));
    assert!(matches_all(&expected(&["…"]), &[]));
    assert!(!matches_all(&expected(&["a…c"]), &["ab"]));
    assert!(!matches_all(&expected(&["a"]), &["a", "b"]));
}
