//! Listening sockets that a service manager passes, which is played here as systemd does it.

use std::{
    fs,
    os::{
        fd::OwnedFd,
        unix::{fs::PermissionsExt as _, net::UnixListener},
    },
    path::Path,
    process::{Command, Stdio},
};

use nix::sys::socket::{setsockopt, sockopt::PassCred};

use super::DAYFLY;

/// What starts a daemon with these as its descriptors 3 and 4, passed to it or to another process.
pub fn activating(home: &Path, passed: [Option<OwnedFd>; 2], names: Option<&str>, for_it: bool) -> Command {
    let [first, second] = passed;
    let count = usize::from(first.is_some()) + usize::from(second.is_some());
    let pid = if for_it { "$$" } else { "1" };
    let script = format!("LISTEN_PID={pid} exec \"$@\" 3<&0 4<&1 </dev/null >/dev/null");
    let log = fs::File::options().create(true).append(true).open(home.join("log")).expect("a log");
    let pass = |fd: Option<OwnedFd>| fd.map_or_else(Stdio::null, Stdio::from);
    let mut command = Command::new("sh");
    command.args(["-c", &script, "sh", DAYFLY, "daemon", "--trust-domain", "example.org", "--home"]).arg(home);
    command.stdin(pass(first)).stdout(pass(second)).stderr(log).env("LISTEN_FDS", count.to_string());
    if let Some(names) = names {
        command.env("LISTEN_FDNAMES", names);
    }
    command
}

/// A socket that listens, and stays when the daemon ends.
pub fn listener(path: &Path, mode: u32, passes_credentials: bool) -> UnixListener {
    let listener = UnixListener::bind(path).expect("a socket");
    setsockopt(&listener, PassCred, &passes_credentials).expect("its option");
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("its mode");
    listener
}
