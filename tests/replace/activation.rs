//! Sockets that a service manager passes, which is played here as systemd does it, and what it is told.

use std::{
    fs,
    io::Read as _,
    net::TcpListener,
    os::{
        fd::OwnedFd,
        unix::{
            fs::PermissionsExt as _,
            net::{UnixDatagram, UnixListener, UnixStream},
        },
    },
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use super::{
    common::{
        DAYFLY, Daemon, Folder, eventually,
        h2raw::{FETCH_SVID, Head, Raw, message},
        own_uid,
        passed::{activating, listener},
    },
    stage::{must_be_served_by, must_end, replace, replacing},
};

/// Starts a daemon with these as its descriptors 3 and 4.
fn activated(home: &Path, passed: [Option<OwnedFd>; 2], names: Option<&str>, for_it: bool) -> Daemon {
    Daemon::of(home, activating(home, passed, names, for_it).spawn().unwrap())
}

fn register(daemon: &Daemon) {
    daemon.wait_ready();
    daemon.entry("spiffe://example.org/me", &[&own_uid()], &[]);
}

#[test]
fn sockets_that_listened_before_are_served_and_outlive_the_daemon() {
    for names in [Some("workload:admin"), Some("dayfly.socket:dayfly.socket"), None] {
        let folder = Folder::new();
        let workload = listener(&folder.path().join("workload.sock"), 0o666, true);
        let admin = listener(&folder.path().join("admin.sock"), 0o600, true);
        let pass = || [Some(workload.try_clone().unwrap().into()), Some(admin.try_clone().unwrap().into())];
        // It waits for a daemon that is not there yet.
        let early = std::thread::spawn({
            let path = folder.path().join("workload.sock");
            move || {
                let mut raw = Raw::connect(&path).unwrap();
                raw.ask(&Head::new(FETCH_SVID)).map(|answer| answer.code())
            }
        });
        let mut daemon = activated(folder.path(), pass(), names, true);
        register(&daemon);
        must_be_served_by(&daemon);
        // Refused, as it was not registered then; but answered.
        assert!(matches!(early.join().unwrap(), Ok(Some(7 | 0))), "{}", daemon.log());
        assert!(!daemon.log().contains("without PassCredentials"), "{}", daemon.log());
        assert!(daemon.stop());
        let between = UnixStream::connect(daemon.socket()).unwrap();
        let again = activated(folder.path(), pass(), names, true);
        again.wait_ready();
        must_be_served_by(&again);
        drop(between);

        // One that is replaced hands them on as what they are.
        let mut next = replace(again);
        assert!(next.stop() && next.socket().exists() && next.home().join("admin.sock").exists(), "they are not ours");
        UnixStream::connect(next.socket()).unwrap();
    }
}

#[test]
fn who_connected_before_credentials_were_passed_does_not_get_round_the_proof() {
    let folder = Folder::new();
    let path = folder.path().join("workload.sock");
    let workload = listener(&path, 0o666, false);
    // One that has asked already, and one that asks later.
    let mut asked = Raw::connect(&path).unwrap();
    let stream = asked.call(&Head::new(FETCH_SVID), &message(&[])).unwrap();
    let mut asks = UnixStream::connect(&path).unwrap();
    let daemon = activated(folder.path(), [Some(workload.into()), None], Some("workload"), true);
    register(&daemon);
    assert!(daemon.log().contains("without PassCredentials=yes"), "{}", daemon.log());
    // Whether their bytes have credentials is the kernel's to say; without, nothing is answered.
    let first = asked.finish(stream);
    std::io::Write::write_all(&mut asks, &super::common::h2raw::hello()).unwrap();
    asks.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let second = asks.read_to_end(&mut Vec::new());
    let refused = || daemon.audit().iter().filter(|record| record["reasons"][0] == "no_credentials").count();
    println!("asked before: {first:?}; asked later: {second:?}; {} refused", refused());
    match first {
        Ok(answer) => {
            assert_eq!((answer.code(), refused()), (Some(7), 0), "an older kernel notes the writer all the same")
        }
        Err(_) => {
            // More may have come so early: who asked whether it is ready.
            eventually("both are refused", || refused() >= 2);
            let greeting = second.unwrap();
            assert!(greeting < 100, "our SETTINGS, and then the end: {greeting} bytes");
        }
    }
    must_be_served_by(&daemon);
}

#[test]
fn descriptors_that_are_none_of_ours_are_a_clear_error() {
    let folder = Folder::new();
    let path = |name: &str| folder.path().join(name);
    let fail = |passed: [Option<OwnedFd>; 2], names: Option<&str>, wanted: &str| {
        fs::remove_file(path("log")).ok();
        let mut daemon = activated(folder.path(), passed, names, true);
        assert!(!must_end(&mut daemon), "{wanted}");
        let words = daemon.log();
        println!("{words}");
        assert!(words.contains(wanted) && words.contains("hint: "), "{words}");
        assert!(!words.contains("panicked"), "{words}");
    };
    let file = || fs::File::open("/dev/null").unwrap().into();
    fail([Some(file()), None], Some("workload"), "descriptor 3 (`workload`) that was passed cannot be served");
    let (one, _two) = UnixStream::pair().unwrap();
    fail([Some(one.into()), None], None, "it does not listen");
    let elsewhere = listener(&path("elsewhere.sock"), 0o600, true);
    fail([Some(elsewhere.into()), None], None, "where this configuration serves nothing");
    for name in ["workload", "admin"] {
        // Whoever comes by TCP cannot be proved.
        let tcp = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        fail([Some(tcp.into()), None], Some(name), "where this configuration serves nothing");
    }
    let admin = listener(&path("admin.sock"), 0o600, true);
    let pass = |fd: &UnixListener| Some(fd.try_clone().unwrap().into());
    fail([pass(&admin), None], Some("workload"), "which is the admin socket");
    fail([pass(&admin), pass(&admin)], None, "descriptor 4");
    fail([pass(&admin), None], Some("a:b"), "LISTEN_FDNAMES names 2 sockets, and LISTEN_FDS passes 1");
    fs::set_permissions(path("admin.sock"), fs::Permissions::from_mode(0o666)).unwrap();
    fail([pass(&admin), None], Some("admin"), "0600 is the most");
    fs::remove_file(path("admin.sock")).unwrap();
    let _other = listener(&path("admin.sock"), 0o600, true);
    fail([pass(&admin), None], Some("admin"), "is not that socket's");
    assert!(path("admin.sock").exists(), "nothing of anybody's was removed");
}

#[test]
fn sockets_of_another_process_are_left_alone() {
    let folder = Folder::new();
    let elsewhere = listener(&folder.path().join("elsewhere.sock"), 0o600, true);
    let daemon = activated(folder.path(), [Some(elsewhere.into()), None], None, false);
    register(&daemon);
    must_be_served_by(&daemon);
}

#[test]
fn the_service_manager_is_told_who_serves() {
    let folder = Folder::new();
    let path = folder.path().join("notify");
    let manager = UnixDatagram::bind(&path).unwrap();
    manager.set_read_timeout(Some(super::common::PATIENCE)).unwrap();
    let heard = || {
        let mut words = [0; 256];
        let count = manager.recv(&mut words).unwrap();
        String::from_utf8(words[..count].to_vec()).unwrap()
    };
    let notified = |more: &[&str]| {
        let log = fs::File::options().create(true).append(true).open(folder.path().join("log")).unwrap();
        let mut command = Command::new(DAYFLY);
        command.args(["daemon", "--trust-domain", "example.org", "--home"]).arg(folder.path()).args(more);
        command.env("NOTIFY_SOCKET", &path).stdin(Stdio::null()).stderr(log);
        Daemon::of(folder.path(), command.spawn().unwrap())
    };
    let mut old = notified(&[]);
    assert_eq!(heard(), format!("MAINPID={}\nREADY=1", old.pid()));
    let mut new = notified(&["--replace"]);
    let from_new = heard();
    assert_eq!(from_new, format!("MAINPID={}\nREADY=1", new.pid()));
    // The old one is the main process until it says so.
    assert_eq!(heard(), format!("MAINPID={}", new.pid()));
    assert!(must_end(&mut old));
    assert!(new.stop());
    assert_eq!(heard(), "STOPPING=1");
    // One that was never told where has nothing to say.
    let first = replacing(folder.path(), &[]);
    first.wait_ready();
}
