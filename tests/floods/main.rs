//! Floods by one user, while another is served: the daemon stays up and within its memory, the flooder's connections
//! end and are counted, and what it costs the other is printed. Times are printed, never asserted. Flooders take the
//! machine's cores too, so a second daemon, which nobody floods, is asked at the same time: what is more than there is
//! what the flood costs.
//!
//! Flooders are this program once more, in processes and (as root) under a uid of their own.
//! `DAYFLY_FLOODS=ping,settings` runs some; `DAYFLY_TESTS_FULL` makes each last longer.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::print_stdout, reason = "tests")]

#[path = "../common/mod.rs"]
mod common;

mod bystander;
mod crowd;
mod descriptors;
mod flooder;
mod kinds;
mod table;

use std::{
    fs,
    os::unix::fs::{FileExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    sync::Mutex,
    thread,
    time::{Duration, Instant},
};

use bystander::{Bystander, Usage, watch};
use common::{Daemon, Folder, eventually, own_uid};
use flooder::Flooders;
use kinds::{KINDS, Kind};
use table::{Row, print};

/// What the daemon may have in memory at any time during any flood: 9,500 connections opened at once included.
const RSS_MIB_MAX: u64 = 128;
/// What may stay of it when the flooder is gone: the allocator's, for the next one.
const RSS_LEFT_MIB_MAX: u64 = 96;
/// One flood at a time, so that each is measured alone.
static ALONE: Mutex<()> = Mutex::new(());
/// Whom the first flood's processes run as, where we may choose; each flood has a user of its own, as limits do.
const FIRST_UID: u32 = 2_001;
/// The flooders' group; and that of those whose digest is wanted.
const GROUP: u32 = 2_001;
const DIGEST_GROUP: u32 = 2_002;
/// The flood whose callers are asked for a digest.
const DIGESTS: &str = "digests";
/// The flood of calls that are refused; and how many of them a user may make, which a slow machine makes too.
const BAD_CALLS: &str = "calls without header";
const BAD_CALLS_PER_SECOND: u32 = 1_000;

/// How long each phase lasts.
struct Phases {
    before: Duration,
    during: Duration,
    after: Duration,
}

impl Phases {
    fn chosen() -> Self {
        let is_full = std::env::var_os("DAYFLY_TESTS_FULL").is_some();
        let [before, during, after] = if is_full { [3_000, 10_000, 3_000] } else { [1_000, 3_000, 1_000] };
        Self {
            before: Duration::from_millis(before),
            during: Duration::from_millis(during),
            after: Duration::from_millis(after),
        }
    }
}

fn is_root() -> bool {
    nix::unistd::getuid().is_root()
}

/// Whom a flood's processes run as: uid and gid.
fn flooder(kind: &Kind) -> (u32, u32) {
    if !is_root() {
        return (nix::unistd::getuid().as_raw(), nix::unistd::getgid().as_raw());
    }
    let place = KINDS.iter().position(|one| one.name == kind.name).unwrap_or_default();
    (FIRST_UID + u32::try_from(place).unwrap_or_default(), if kind.name == DIGESTS { DIGEST_GROUP } else { GROUP })
}

/// This program, where every user may run it.
fn program(folder: &Path) -> PathBuf {
    let copy = folder.join("flooder");
    fs::copy(std::env::current_exe().unwrap(), &copy).unwrap();
    fs::set_permissions(&copy, fs::Permissions::from_mode(0o755)).unwrap();
    copy
}

/// What a flooder's process runs. Without its orders, nothing.
#[test]
fn as_a_flooder() {
    flooder::obey();
}

#[test]
fn floods_cost_the_flooder_its_connection_and_others_little() {
    if !is_root() {
        println!(
            "not root: flooders run as our own uid and share its limits, so that a bystander may be refused with them"
        );
    }
    let _alone = ALONE.lock();
    let folder = Folder::new();
    let program = program(folder.path());
    let mut daemon = daemon("");
    // Where the kernel keeps descriptors from us, they are sent to a daemon that does without its help.
    let mut lenient = self::daemon("without_kernel = [\"pass_rights\"]\n");
    // Where nobody floods.
    let elsewhere = self::daemon("");
    let mut strict = self::daemon(&format!("[limits]\nrequests_per_second = {BAD_CALLS_PER_SECOND}\n"));

    let chosen = std::env::var("DAYFLY_FLOODS").unwrap_or_default();
    let is_chosen = |kind: &&Kind| chosen.is_empty() || chosen.split(',').any(|name| name == kind.name);
    let phases = Phases::chosen();
    let (mut rows, mut wrong) = (Vec::new(), Vec::new());
    for kind in KINDS.iter().filter(is_chosen) {
        let programs = if kind.name == DIGESTS { giants(folder.path(), &program) } else { vec![program.clone()] };
        let target = match kind.name {
            "descriptors" => &mut lenient,
            BAD_CALLS => &mut strict,
            _ => &mut daemon,
        };
        let row = flood(target, &elsewhere.socket(), kind, &programs, &phases);
        wrong.extend(row.faults.iter().map(|fault| format!("{}: {fault}", kind.name)));
        rows.push(row);
        print(&rows[rows.len() - 1..]);
    }
    println!();
    print(&rows);
    assert!(
        wrong.is_empty(),
        "{}\n{}",
        wrong.join("\n"),
        daemon.log().lines().rev().take(20).collect::<Vec<_>>().join("\n")
    );
}

/// A daemon that knows everybody who takes part.
fn daemon(config: &str) -> Daemon {
    let daemon = Daemon::start(config);
    daemon.entry("spiffe://example.org/bystander", &[&own_uid()], &[]);
    daemon.entry("spiffe://example.org/flooder", &[&format!("unix:gid:{GROUP}")], &[]);
    // An entry that names a digest, so that callers who have the rest are asked for theirs.
    let digest = format!("unix:sha256:{}", "0".repeat(64));
    daemon.entry("spiffe://example.org/digest", &[&format!("unix:gid:{DIGEST_GROUP}"), &digest], &[]);
    daemon.must_serve("start");
    daemon
}

/// One flood, with a bystander before, during and after, and during it another one elsewhere.
fn flood(daemon: &mut Daemon, elsewhere: &Path, kind: &'static Kind, programs: &[PathBuf], phases: &Phases) -> Row {
    let mut faults = Vec::new();
    let counters = daemon.status();
    let records = refusals(daemon, kind);
    let pid = daemon.pid();
    let mut bystander = Bystander::new(&daemon.socket());
    let before = bystander.watch(phases.before);
    let idle = Usage::of(pid);
    idle.reset_peak();

    let flooders = Flooders::start(programs, kind, &daemon.socket(), phases.during + LEAD);
    thread::sleep(LEAD);
    let [during, elsewhere] = watch([&mut bystander, &mut Bystander::new(elsewhere)], phases.during);
    let busy = Usage::of(pid);
    let tally = flooders.wait();

    let gone = Instant::now();
    eventually("the flooder's connections are gone", || {
        let status = daemon.status();
        status.connections <= 4 && status.streams <= 4
    });
    let recovery = gone.elapsed();
    let after = bystander.watch(phases.after);
    // Memory is given back a few seconds after connections have gone.
    let left = Usage::of(pid);

    let now = daemon.status();
    let ended = kind.proof.found(&counters, &now, refusals(daemon, kind) - records);
    if let Err(fault) = &ended {
        faults.push(format!("{fault}; {tally:?}"));
    }
    if !daemon.is_running() || daemon.log().contains("panicked") || now.sum("panics", "") > 0 {
        faults.push("the daemon died or panicked".to_owned());
    }
    if is_root() && !during.failures.is_empty() {
        faults.push(format!("the bystander was not served {} times: {}", during.failures.len(), during.failures[0]));
    }
    if let Some(failure) = before.failures.iter().chain(&after.failures).next() {
        faults.push(format!("the bystander was not served though nobody floods: {failure}"));
    }
    if busy.peak_mib > RSS_MIB_MAX || left.rss_mib > RSS_LEFT_MIB_MAX {
        faults.push(format!("{} MiB at its peak, {} MiB left", busy.peak_mib, left.rss_mib));
    }
    let cpu = busy.cpu.saturating_sub(idle.cpu).as_secs_f64() / (phases.during + LEAD).as_secs_f64();
    Row {
        name: kind.name,
        before,
        during,
        elsewhere,
        after,
        recovery,
        rss: [idle.rss_mib, busy.peak_mib, left.rss_mib],
        cpu,
        tally,
        ended: ended.unwrap_or_default(),
        faults,
    }
}

/// How long a flood runs before it is measured.
const LEAD: Duration = Duration::from_millis(300);

/// Refusals of the flooder's in the audit log, counted ones with their count.
fn refusals(daemon: &Daemon, kind: &Kind) -> u64 {
    let uid = format!("\"uid\":{}", flooder(kind).0);
    let records = daemon.audit().into_iter().map(|record| record.to_string());
    let of_flooder = records.filter(|record| record.contains(&uid) && record.contains("refused"));
    of_flooder.count().try_into().unwrap()
}

/// Eight programs of 1 GiB, each with a digest of its own; sparse, so that they cost no disk.
fn giants(folder: &Path, program: &Path) -> Vec<PathBuf> {
    let make = |number: u8| {
        let path = folder.join(format!("giant-{number}"));
        if !path.exists() {
            fs::copy(program, &path).unwrap();
            let file = fs::File::options().write(true).open(&path).unwrap();
            file.write_all_at(&[number], (1 << 30) - 1).unwrap();
        }
        path
    };
    (1..=8).map(make).collect()
}
