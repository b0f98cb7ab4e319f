//! One person with many uids, as a user namespace gives them: each holds as many silent connections as it may, or as
//! many streams. Everybody else is served throughout.

use std::{
    os::unix::process::CommandExt as _,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use super::{
    ALONE,
    bystander::Bystander,
    common::{
        Daemon, Folder, eventually,
        h2raw::{DATA, END_STREAM, Head, Raw, frame, message},
        own_uid,
    },
    is_root, program,
};

const UIDS: u32 = 12;
/// Ordinary users and a range for a namespace.
const FIRST_UIDS: [u32; 2] = [3_001, 100_000];
/// Small limits, so that few are needed to meet them.
const LIMITS: &str = "[limits]\nconnections_per_uid = 40\nconnections_uid_0 = 160\nconnections_total = 300\n\
                      streams_per_uid = 60\nstreams_uid_0 = 240\nstreams_total = 500\n";
/// They are ended before that, unless whoever started them was.
const HOLD: Duration = Duration::from_secs(120);
const WATCHED: Duration = Duration::from_secs(2);
const ORDERS: &str = "DAYFLY_CROWD";
const WATCH_HEALTH: &str = "/grpc.health.v1.Health/Watch";

/// What one of the many does. Without its orders, nothing.
#[test]
fn as_one_of_many() {
    let Ok(orders) = std::env::var(ORDERS) else { return };
    let (kind, socket) = orders.split_once(' ').expect("orders");
    let end = Instant::now() + HOLD;
    let mut held = Vec::new();
    while Instant::now() < end {
        // More than it may, again and again.
        if held.len() < 50
            && let Ok(mut raw) = Raw::connect(Path::new(socket))
        {
            for _ in 0..if kind == "streams" { 3 } else { 0 } {
                let stream = raw.stream();
                let call = [Head::new(WATCH_HEALTH).frames(stream, 0), frame(DATA, END_STREAM, stream, &message(&[]))];
                raw.send(&call.concat()).ok();
            }
            held.push(raw);
        } else {
            thread::sleep(Duration::from_millis(20));
            // The oldest, which had to make room already; few, or the daemon would see none but those who have left.
            held.drain(..held.len().min(5));
        }
    }
}

#[test]
fn many_uids_of_one_person_shut_nobody_out() {
    if !is_root() {
        println!("not root: the flood of many uids is left out");
        return;
    }
    let _alone = ALONE.lock();
    let folder = Folder::new();
    let program = program(folder.path());
    for kind in ["connections", "streams"] {
        for first in FIRST_UIDS {
            let mut daemon = Daemon::start(LIMITS);
            daemon.entry("spiffe://example.org/bystander", &[&own_uid()], &[]);
            daemon.must_serve("start");
            let many = Many::start(&program, kind, first, &daemon);
            eventually("the crowd is there", || {
                let status = daemon.status();
                // Nearly all there may be: somebody always comes and goes.
                if kind == "streams" { status.streams >= 350 } else { status.connections >= 270 }
            });
            let times = Bystander::new(&daemon.socket()).watch(WATCHED);
            drop(many);
            assert!(times.failures.is_empty(), "{kind} from {first}: {:?}\n{}", times.failures, daemon.log());
            assert!(!times.new.is_empty() && !times.kept.is_empty(), "{kind} from {first}: {times:?}");
            let status = daemon.status();
            assert_eq!(status.sum("limits_met", "descriptors"), 0, "{:?}", status.counters);
            assert!(status.sum("connections_ended", "evicted") > 0, "{:?}", status.counters);
            eventually("the crowd is gone", || daemon.status().connections <= 4);
            assert!(daemon.is_running() && !daemon.log().contains("panicked"), "{}", daemon.log());
        }
    }
}

/// One process for each uid; killed when dropped.
struct Many(Vec<Child>);

impl Many {
    fn start(program: &Path, kind: &str, first: u32, daemon: &Daemon) -> Self {
        let start = |uid: u32| {
            let mut command = Command::new(program);
            command
                .args(["crowd::as_one_of_many", "--exact"])
                .env(ORDERS, format!("{kind} {}", daemon.socket().display()))
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .uid(uid)
                .gid(uid)
                .spawn()
                .expect("one of many starts")
        };
        Self((first..first + UIDS).map(start).collect())
    }
}

impl Drop for Many {
    fn drop(&mut self) {
        for child in &mut self.0 {
            child.kill().ok();
            child.wait().ok();
        }
    }
}
