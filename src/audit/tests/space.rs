//! Caps, full disks and the reserve.

use super::{carry::Carrier, shared::Shared, *};
use crate::sys::scratch::SmallDisk;

/// A full disk is believed to be full for a moment, and refusals are counted for a minute.
const ASK_AGAIN: Duration = Duration::from_millis(110);
const MINUTE: Duration = Duration::from_secs(61);

/// A log whose clock the test moves.
fn on_a_test_clock(dir: &Path, limits: &Limits) -> Log {
    Log::in_test(dir, limits.clone(), Clock::following_tokio()).unwrap()
}

#[test]
fn the_oldest_segments_go_beyond_the_total_cap_and_the_rest_verifies() {
    let dir = Scratch::new();
    let limits = Limits { total_bytes_max: 16 * 1024, ..small() };
    let log = open(dir.path(), &limits);
    for serial in 0..400 {
        append(&log, &serial.to_string()).unwrap();
    }
    log.close();
    let bytes: u64 = segments(dir.path()).iter().map(|path| fs::metadata(path).unwrap().len()).sum();
    assert!(bytes <= limits.total_bytes_max + limits.segment_bytes_max, "{bytes} bytes are left");
    let report = verify(dir.path()).unwrap();
    assert!(report.first > 1 && report.segments <= 5, "{report:?}");
    // The same beginning without a word about it is a cut.
    fs::remove_file(segments(dir.path()).remove(0)).unwrap();
    assert!(matches!(verify(dir.path()), Err(Fault::BeginningMissing { .. })));
}

#[test]
fn a_log_over_a_cap_that_was_lowered_is_cut_at_the_next_start() {
    let dir = Scratch::new();
    written(dir.path(), 200);
    let before = segments(dir.path()).len();
    let log = open(dir.path(), &Limits { total_bytes_max: 16 * 1024, ..small() });
    log.close();
    assert!(segments(dir.path()).len() < before);
    verify(dir.path()).unwrap();
}

#[test]
fn a_removed_segment_that_is_still_there_is_no_fault() {
    let (dir, before) = (Scratch::new(), Scratch::new());
    written(dir.path(), 200);
    copy(dir.path(), before.path());
    open(dir.path(), &Limits { total_bytes_max: 16 * 1024, ..small() }).close();
    // As if the daemon had ended between the record and the removal.
    for path in segments(before.path()) {
        let there = dir.path().join(path.file_name().unwrap());
        if !there.exists() {
            fs::copy(path, there).unwrap();
        }
    }
    assert_eq!(verify(dir.path()).unwrap().first, 1);
}

#[tokio::test(start_paused = true)]
async fn on_a_full_disk_renewals_go_on_from_the_reserve_and_others_are_refused() {
    let Some(disk) = SmallDisk::mount(1024) else { return };
    let dir = disk.path().join("audit");
    let limits = Limits { segment_bytes_max: 64 * 1024, ..small() };
    let log = on_a_test_clock(&dir, &limits);
    append(&log, "before").unwrap();
    disk.fill();
    // What is allocated already may still be used.
    let mut ordinary = 0;
    let error = loop {
        match append(&log, "ordinary") {
            Ok(_) => ordinary += 1,
            Err(error) => break error,
        }
        assert!(ordinary < 10_000);
    };
    assert!(matches!(error, Error::Full { .. }), "{error}");
    assert!(matches!(log.fault(), Some(Error::Full { .. })));
    let length = fs::metadata(segments(&dir).pop().unwrap()).unwrap().len();
    assert!(log.fault().is_some(), "renewals are no sign of space");
    let mut renewals = 0;
    while log.append(&issued("renewal", true), Urgency::Renewal).is_ok() {
        renewals += 1;
        assert!(append(&log, "ordinary").is_err(), "the reserve is for renewals");
    }
    let reserve = usize::try_from(limits.reserve_bytes).unwrap();
    assert!(renewals >= reserve / 600 - 1, "{renewals} renewals");
    assert!(fs::metadata(segments(&dir).pop().unwrap()).unwrap().len() > length);
    verify(&dir).unwrap();

    disk.empty();
    tokio::time::advance(ASK_AGAIN).await;
    assert!(log.fault().is_none(), "it heals without a record");
    append(&log, "after").unwrap();
    log.close();
    assert!(matches!(log.fault(), Some(Error::Closed)));
    let report = verify(&dir).unwrap();
    assert_eq!(kinds(&dir)["issued"], ordinary + renewals + 2);
    assert!(report.findings.is_empty(), "nothing was half-written");
}

#[tokio::test(start_paused = true)]
async fn on_a_full_disk_a_full_segment_is_stretched_for_renewals() {
    let Some(disk) = SmallDisk::mount(512) else { return };
    let dir = disk.path().join("audit");
    let log = on_a_test_clock(&dir, &small());
    disk.fill();
    while append(&log, "ordinary").is_ok() {}
    assert!(matches!(log.fault(), Some(Error::Full { .. })));
    let before = segments(&dir).len();
    for _ in 0..10 {
        log.append(&issued("renewal", true), Urgency::Renewal).unwrap();
    }
    assert_eq!(segments(&dir).len(), before);
    disk.empty();
    tokio::time::advance(ASK_AGAIN).await;
    append(&log, "after").unwrap();
    assert_eq!(segments(&dir).len(), before + 1, "the next one is begun when it can be");
    log.close();
    verify(&dir).unwrap();
}

#[test]
fn a_full_disk_at_the_start_keeps_the_reserve_of_the_last_run() {
    let Some(disk) = SmallDisk::mount(1024) else { return };
    let dir = disk.path().join("audit");
    let limits = Limits { segment_bytes_max: 64 * 1024, ..small() };
    open(&dir, &limits).close();
    disk.fill();
    let log = open(&dir, &limits);
    log.append(&issued("renewal", true), Urgency::Renewal).unwrap();
    drop(log);
    verify(&dir).unwrap();
}

#[test]
fn a_full_disk_at_the_first_start_is_an_error_and_leaves_nothing() {
    let Some(disk) = SmallDisk::mount(256) else { return };
    let dir = disk.path().join("audit");
    disk.fill();
    let error = Log::in_test(&dir, small(), Clock::system()).unwrap_err();
    assert!(matches!(error, Error::Full { .. }), "{error}");
    disk.empty();
    written(&dir, 1);
    assert!(verify(&dir).unwrap().findings.is_empty());
}

#[tokio::test(start_paused = true)]
async fn refusals_on_a_full_disk_are_counted_and_told_when_there_is_space() {
    let Some(disk) = SmallDisk::mount(512) else { return };
    let dir = disk.path().join("audit");
    let log = on_a_test_clock(&dir, &small());
    disk.fill();
    // Shorter than a refusal.
    let short = Record::Daemon { event: "short", detail: None };
    while log.append(&short, Urgency::Ordinary).is_ok() {}
    for _ in 0..10 {
        assert!(log.append(&refused(7), Urgency::Ordinary).is_err());
    }
    disk.empty();
    tokio::time::advance(MINUTE).await;
    append(&log, "after").unwrap();
    log.close();
    let counted: u64 = records(&dir).iter().filter_map(|record| record["count"].as_u64()).sum();
    assert_eq!(counted, 10);
}

#[test]
fn what_has_no_room_to_be_carried_over_is_not_tried_again_for_each_renewal() {
    let Some(disk) = SmallDisk::mount(1024) else { return };
    let dir = disk.path().join("audit");
    written(&dir, 60);
    let limits = Limits { total_bytes_max: 8 * 1024, ..small() };
    let (clock, now) = (Clock::system(), SystemTime::UNIX_EPOCH);
    let shared = Shared::new(
        clock,
        limits.clone(),
        recover::open(&dir, &limits, &dir.join("audit.key"), None, now).unwrap().writer,
    );
    disk.fill();
    let mut state = shared.lock();
    let body = record::body(&issued("1", true)).unwrap();
    while state.writer.append(&body, Urgency::Ordinary, now).is_ok() {}
    let mut carrier = Carrier::default();
    assert!(carrier.has_work(&state));
    state = carrier.step(&shared, state);
    assert!(!carrier.has_work(&state), "there is no room");
    state.writer.append(&body, Urgency::Renewal, now).unwrap();
    assert!(!carrier.has_work(&state), "a renewal is no sign of room");
    disk.empty();
    let later = now + Duration::from_secs(1);
    state.writer.append(&body, Urgency::Ordinary, later).unwrap();
    assert!(carrier.has_work(&state));
}
