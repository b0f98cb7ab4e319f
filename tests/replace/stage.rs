//! Two daemons of one home.

use std::{fs, path::Path, time::Duration};

use super::common::{Daemon, Folder, PATIENCE, eventually, messages::fetch, own_uid};

/// A home with a daemon that knows us.
pub(super) fn registered(config: &str, more: &[&str]) -> (Folder, Daemon) {
    let folder = Folder::new();
    fs::write(folder.path().join("dayfly.toml"), config).unwrap();
    let daemon = Daemon::start_in(folder.path(), more);
    daemon.entry("spiffe://example.org/me", &[&own_uid()], &[]);
    (folder, daemon)
}

/// Starts one that takes the place of whoever serves there.
pub(super) fn replacing(home: &Path, more: &[&str]) -> Daemon {
    Daemon::spawn_in(home, &[&["--replace"], more].concat())
}

/// The same, and sees to it that the old one ends well.
pub(super) fn replace(mut old: Daemon) -> Daemon {
    let new = replacing(old.home(), &[]);
    let status = old.wait();
    assert!(status.success(), "{status}: {}", old.log());
    must_be_served_by(&new);
    new
}

/// That this process serves us, at once.
pub(super) fn must_be_served_by(daemon: &Daemon) {
    let served = fetch(&daemon.socket());
    assert!(matches!(&served, Ok(Ok(svids)) if !svids.is_empty()), "{served:?}\n{}", daemon.log());
    assert_eq!(serving_pid(daemon), daemon.pid(), "{}", daemon.log());
    assert!(!daemon.log().contains("panicked"), "{}", daemon.log());
}

/// Waits until somebody serves us.
pub(super) fn eventually_served(daemon: &Daemon) {
    eventually(
        &format!("somebody serves: {}", daemon.log()),
        || matches!(fetch(&daemon.socket()), Ok(Ok(svids)) if !svids.is_empty()),
    );
}

/// Who answers at the admin socket.
pub(super) fn serving_pid(daemon: &Daemon) -> i32 {
    let status: serde_json::Value = serde_json::from_str(&daemon.cli(&["status", "--output", "json"])).unwrap();
    i32::try_from(status["pid"].as_i64().unwrap()).unwrap()
}

/// Waits for the end of a process that must not take long; answers whether it ended well.
pub(super) fn must_end(daemon: &mut Daemon) -> bool {
    eventually("the process ends", || !daemon.is_running());
    daemon.wait().success()
}

/// The events of the daemon itself in its audit log, oldest first.
pub(super) fn events(daemon: &Daemon) -> Vec<String> {
    let of_daemon = daemon.audit().into_iter().filter(|record| record["kind"] == "daemon");
    of_daemon.map(|record| record["event"].as_str().unwrap().to_owned()).collect()
}

/// Long enough for a loaded machine, and far less than a client's patience.
pub(super) const SOON: Duration = Duration::from_secs(2);
const _: () = assert!(SOON.as_secs() < PATIENCE.as_secs());
