//! A home whose daemon ends and is followed by another, with or without sockets that outlive it.

use std::{
    fs,
    os::unix::net::{UnixDatagram, UnixListener},
    process::{Command, Stdio},
    time::{SystemTime, UNIX_EPOCH},
};

use super::super::common::{
    DAYFLY, Daemon, Folder, PATIENCE, own_uid,
    passed::{activating, listener},
};

pub(super) struct Site {
    daemon: Daemon,
    /// The workload and the admin socket, where a service manager holds them.
    kept: Option<[UnixListener; 2]>,
    /// Where daemons say when they serve.
    manager: UnixDatagram,
    entry: String,
    /// How often the entry was changed.
    changes: u32,
    name: String,
    folder: Folder,
}

/// The wall clock in milliseconds, as the clients print it.
pub(super) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis().try_into().unwrap()
}

impl Site {
    /// One whose daemon serves, and knows us.
    pub(super) fn new(is_kept: bool) -> Self {
        let folder = Folder::new();
        let kept = is_kept.then(|| {
            [("workload.sock", 0o666), ("admin.sock", 0o600)]
                .map(|(name, mode)| listener(&folder.path().join(name), mode, true))
        });
        let manager = UnixDatagram::bind(folder.path().join("notify")).unwrap();
        manager.set_read_timeout(Some(PATIENCE)).unwrap();
        let daemon = spawn(&folder, kept.as_ref());
        heard(&manager, daemon.pid());
        let name = "at-0.example.org".to_owned();
        let entry = daemon.entry("spiffe://example.org/peer", &[&own_uid()], &["--dns", &name]);
        Self { daemon, kept, manager, entry, changes: 0, name, folder }
    }

    pub(super) fn daemon(&self) -> &Daemon {
        &self.daemon
    }

    /// The DNS name that certificates have now.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Changes the entry, so that every certificate that was issued is none any more.
    pub(super) fn rename(&mut self) {
        self.changes += 1;
        self.name = format!("at-{}.example.org", self.changes);
        self.daemon.cli(&["entry", "update", &self.entry, "--dns", &self.name]);
    }

    /// Ends the daemon, as a service manager does it.
    pub(super) fn stop(&mut self) {
        assert!(self.daemon.stop(), "{}", self.daemon.log());
    }

    /// Ends it as a crash would.
    pub(super) fn kill(&mut self) {
        self.daemon.kill();
    }

    /// Starts one where none is; answers when it served.
    pub(super) fn start(&mut self) -> u64 {
        self.daemon = spawn(&self.folder, self.kept.as_ref());
        heard(&self.manager, self.daemon.pid())
    }

    /// Starts one in the place of the one that is there; answers when it served.
    pub(super) fn replace(&mut self) -> u64 {
        let mut command = Command::new(DAYFLY);
        let log = fs::File::options().append(true).open(self.folder.path().join("log")).unwrap();
        command.args(["daemon", "--replace", "--trust-domain", "example.org", "--home"]).arg(self.folder.path());
        command.env("NOTIFY_SOCKET", self.folder.path().join("notify")).stdin(Stdio::null()).stderr(log);
        let new = Daemon::of(self.folder.path(), command.spawn().unwrap());
        let served = heard(&self.manager, new.pid());
        let mut old = std::mem::replace(&mut self.daemon, new);
        assert!(old.wait().success(), "{}", old.log());
        served
    }
}

fn spawn(folder: &Folder, kept: Option<&[UnixListener; 2]>) -> Daemon {
    let passed = match kept {
        Some(sockets) => sockets.each_ref().map(|socket| Some(socket.try_clone().unwrap().into())),
        None => [None, None],
    };
    let mut command = activating(folder.path(), passed, None, true);
    command.env("NOTIFY_SOCKET", folder.path().join("notify"));
    Daemon::of(folder.path(), command.spawn().unwrap())
}

/// Waits until this process says that it serves; answers when.
fn heard(manager: &UnixDatagram, pid: i32) -> u64 {
    let wanted = format!("MAINPID={pid}\nREADY=1");
    let mut words = [0; 256];
    loop {
        let count = manager.recv(&mut words).unwrap_or_else(|error| panic!("{pid} says nothing: {error}"));
        if words[..count] == *wanted.as_bytes() {
            return now();
        }
    }
}
