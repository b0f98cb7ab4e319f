//! A daemon in a user namespace of its own: who has no number in there is nobody, and not everybody.

use std::{
    os::unix::process::CommandExt as _,
    path::Path,
    process::{Child, Command, Stdio},
};

use super::common::{DAYFLY, Folder, eventually};

/// One daemon, ended when dropped.
struct Inside(Child);

impl Drop for Inside {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// `dayfly` as a uid, which is also the gid.
fn dayfly(id: u32, home: &Path, args: &[&str]) -> std::process::Output {
    let mut command = Command::new(DAYFLY);
    command.args(args).arg("--home").arg(home).uid(id).gid(id);
    command.output().unwrap()
}

#[test]
fn a_caller_without_a_number_in_the_daemons_namespace_is_refused() {
    let can = Command::new("unshare").args(["-Ur", "true"]).status().is_ok_and(|status| status.success());
    // The build's folder must be there for others, too.
    let others = |id: u32| Command::new(DAYFLY).arg("--version").uid(id).gid(id).output();
    if !can || !others(2_000).is_ok_and(|output| output.status.success()) {
        println!("left out: it takes root, user namespaces, and a program that others may run");
        return;
    }
    let folder = Folder::new();
    let home = folder.path();
    std::os::unix::fs::chown(home, Some(1_000), Some(1_000)).unwrap();
    let log = std::fs::File::create(home.join("log")).unwrap();
    let daemon = Command::new("unshare")
        .args(["-Ur", DAYFLY, "daemon", "--trust-domain", "example.org", "--home"])
        .arg(home)
        .uid(1_000)
        .gid(1_000)
        .stdin(Stdio::null())
        .stderr(log)
        .spawn()
        .unwrap();
    let _daemon = Inside(daemon);
    // In there uid 1000 is root.
    eventually("the daemon is ready", || dayfly(1_000, home, &["status"]).status.success());
    for (id, selector) in [("many", "unix:uid:65534"), ("one", "unix:uid:0")] {
        let id = format!("spiffe://example.org/{id}");
        let added = dayfly(1_000, home, &["entry", "add", &id, "-s", selector]);
        assert!(added.status.success(), "{added:?}");
    }
    for id in [2_000, 3_000] {
        let fetched = dayfly(id, home, &["fetch", "x509"]);
        assert!(!fetched.status.success(), "{fetched:?}");
    }
    let own = dayfly(1_000, home, &["fetch", "x509"]);
    assert!(String::from_utf8_lossy(&own.stdout).contains("spiffe://example.org/one"), "{own:?}");
    let status = dayfly(1_000, home, &["status", "--counters"]);
    let status = String::from_utf8_lossy(&status.stdout).into_owned();
    for wanted in ["whole_id_map", "unmapped_id"] {
        assert!(status.contains(wanted), "{wanted} is not in: {status}");
    }
    let log = std::fs::read_to_string(home.join("log")).unwrap();
    assert_eq!(log.matches("not all ids are mapped").count(), 1, "{log}");
}
