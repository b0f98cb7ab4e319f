//! Sockets that cannot be had: the daemon says why, and touches nobody's.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Command, Output, Stdio},
};

use super::common::{DAYFLY, Daemon, Folder, PATIENCE};

/// Starts a daemon that must not start; answers what it says. It must not have panicked either.
pub(super) fn refused(home: &Path, config: &str, trust_domain: &str) -> String {
    fs::write(home.join("dayfly.toml"), config).unwrap();
    let child = Command::new(DAYFLY)
        .args(["daemon", "--trust-domain", trust_domain, "--home"])
        .arg(home)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let pid = nix::unistd::Pid::from_raw(i32::try_from(child.id()).unwrap());
    let (sender, ended) = std::sync::mpsc::channel();
    std::thread::spawn(move || sender.send(child.wait_with_output()));
    let Ok(output) = ended.recv_timeout(PATIENCE) else {
        nix::sys::signal::kill(pid, nix::sys::signal::SIGKILL).ok();
        panic!("the daemon runs, though it should have refused to start");
    };
    let Output { status, stdout, stderr } = output.unwrap();
    let words = [stdout, stderr].concat();
    let words = String::from_utf8_lossy(&words).into_owned();
    assert!(status.code().is_some_and(|code| code != 0), "{status}: {words}");
    assert!(!words.contains("panicked"), "{words}");
    // What is wrong, and what to do about it.
    let begins = |with: &str| words.lines().filter(|line| line.starts_with(with)).count();
    assert_eq!((begins("error: "), begins("hint: ")), (1, 1), "{words}");
    println!("{status}: {words}");
    words
}

/// That one of these is said.
pub(super) fn says(words: &str, any: &[&str]) {
    let low = words.to_lowercase();
    assert!(any.iter().any(|word| low.contains(word)), "none of {any:?} in: {words}");
}

#[test]
fn a_socket_path_that_is_too_long_is_refused() {
    let folder = Folder::new();
    let long = folder.path().join("x".repeat(100)).join("workload.sock");
    let words = refused(folder.path(), &format!("workload_sockets = [\"{}\"]\n", long.display()), "example.org");
    says(&words, &["too long", "can have 107 bytes"]);
}

#[test]
fn a_socket_that_a_living_daemon_serves_is_left_to_it() {
    let first = Daemon::start("");
    first.entry("spiffe://example.org/me", &[&super::own_uid()], &[]);
    let folder = Folder::new();
    let words =
        refused(folder.path(), &format!("workload_sockets = [\"{}\"]\n", first.socket().display()), "example.org");
    says(&words, &["already serve", "is served", "in use", "another daemon", "running"]);
    let words = refused(
        folder.path(),
        &format!("admin_socket = \"{}\"\n", first.home().join("admin.sock").display()),
        "example.org",
    );
    says(&words, &["already serve", "is served", "in use", "another daemon", "running"]);
    first.must_serve("another daemon tried to take its sockets");
    first.cli(&["entry", "list"]);
}

#[test]
fn a_second_daemon_on_the_same_state_is_refused() {
    let first = super::registered("");
    let words = refused(first.home(), "", "example.org");
    says(&words, &["already", "lock", "in use", "another daemon", "running"]);
    first.must_serve("a second daemon tried its state");
}

#[test]
fn the_socket_of_a_dead_daemon_is_taken_over() {
    let folder = Folder::new();
    let mut first = Daemon::start_in(folder.path(), &[]);
    first.entry("spiffe://example.org/me", &[&super::own_uid()], &[]);
    first.must_serve("start");
    first.kill();
    assert!(first.socket().exists(), "kill -9 leaves the socket behind");
    let second = Daemon::start_in(folder.path(), &[]);
    second.must_serve("taking over");
    let mode = fs::metadata(second.socket()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o666, "{mode:o}");
}

#[test]
fn a_file_that_is_no_socket_is_not_removed() {
    let folder = Folder::new();
    let path = folder.path().join("workload.sock");
    fs::write(&path, "somebody's").unwrap();
    refused(folder.path(), "", "example.org");
    assert_eq!(fs::read_to_string(&path).unwrap(), "somebody's");
}

#[test]
fn folders_of_somebody_else_or_open_to_others_are_refused() {
    let (home, away) = (Folder::new(), Folder::new());
    let mode = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    let state = format!("state_dir = \"{}/state\"\n", away.path().display());
    let socket = format!("workload_sockets = [\"{}/workload.sock\"]\n", away.path().display());
    for (folder, config) in [(home.path(), ""), (away.path(), &state), (away.path(), &socket)] {
        mode(folder, 0o777);
        let words = refused(home.path(), config, "example.org");
        says(&words, &[&format!("{} may be written by others", folder.display())]);
        says(&words, &[&format!("chmod go-w {}", folder.display())]);
        mode(folder, 0o1777);
        if nix::unistd::geteuid().is_root() {
            std::os::unix::fs::chown(folder, Some(20_001), None).unwrap();
            let words = refused(home.path(), config, "example.org");
            says(&words, &[&format!("{} belongs to uid 20001", folder.display())]);
            says(&words, &[&format!("chown 0 {}", folder.display())]);
            std::os::unix::fs::chown(folder, Some(0), None).unwrap();
        }
        assert!(!folder.join("state").exists(), "nothing was made in it");
    }
    // The sticky bit is enough, as in /tmp.
    fs::write(home.path().join("dayfly.toml"), "").unwrap();
    drop(Daemon::start_in(home.path(), &[]));
}

#[test]
fn every_problem_of_a_configuration_is_told_with_its_line() {
    let folder = Folder::new();
    let config = "trust_domain = \"Not A Domain\"\nunknown_key = 1\n[x509]\nttl = \"soon\"\nttl_max = 7\n";
    let words = refused(folder.path(), config, "example.org");
    for wanted in [":1", ":2", ":4", ":5", "unknown_key"] {
        assert!(words.contains(wanted), "{wanted} is not in: {words}");
    }
}
