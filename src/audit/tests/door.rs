//! What goes in comes out, in order, and bounded.

use std::{os::unix::ffi::OsStringExt as _, thread};

use super::*;
use crate::sys::threads::runtime_of_one_worker;

#[test]
fn what_was_accepted_is_read_again_and_verifies() {
    let dir = Scratch::new();
    let log = open(dir.path(), &small());
    let not_after = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
    let all = [
        Record::Daemon { event: "started", detail: None },
        issued("0a0b", true),
        refused(7),
        Record::Admin {
            caller: caller(0),
            verb: "entry_create",
            object: "e1".to_owned(),
            result: "ok",
            changes: vec!["hint: a".to_owned()],
        },
        Record::Authority { event: "activated", role: "root", id: "ab".to_owned(), not_after },
    ];
    for (record, number) in all.iter().zip(3..) {
        assert_eq!(
            log.append(record, Urgency::Ordinary).unwrap(),
            Sequence(number),
            "the log's own are a header and a checkpoint"
        );
    }
    log.close();
    let records = records(dir.path());
    assert_eq!(
        records.iter().map(|record| record["kind"].as_str().unwrap()).collect::<Vec<_>>(),
        ["segment", "checkpoint", "daemon", "issued", "refused", "admin", "authority", "checkpoint"]
    );
    let issued = &records[3];
    assert_eq!(issued["identities"][0]["spiffe_id"], "spiffe://example.org/a");
    assert_eq!(issued["caller"]["exe"], "/usr/bin/true");
    assert_eq!(issued["identities"][0]["not_after"], "2027-01-15T08:00:00Z");
    assert_eq!(issued["time"].as_str().unwrap().len(), "2026-01-01T00:00:00.000000000Z".len());
    let report = verify(dir.path()).unwrap();
    assert_eq!((report.records, report.first, report.last, report.signed), (8, 1, 8, 7));
    assert_eq!(report.hash, records[7]["hash"].as_str().unwrap());
}

#[test]
fn hostile_names_stay_inside_their_quotes() {
    let dir = Scratch::new();
    let log = open(dir.path(), &small());
    let hostile = [
        b"/tmp/a\",\"kind\":\"admin\",\"x\":\"".to_vec(),
        b"/tmp/a\n{\"seq\":9}\n".to_vec(),
        b"/tmp/\xff\xfe\x00\x1b[2J\\".to_vec(),
        vec![0x01; 4096],
    ];
    for name in hostile.clone() {
        let caller = Caller { exe: Some(PathBuf::from(std::ffi::OsString::from_vec(name))), ..caller(1) };
        let record =
            Record::Refused { caller, what: "x509-svid", reasons: vec!["no_entry"], detail: None, holder: None };
        log.append(&record, Urgency::Ordinary).unwrap();
    }
    log.close();
    verify(dir.path()).unwrap();
    let read: Vec<_> = records(dir.path()).into_iter().filter(|record| record["kind"] == "refused").collect();
    for (name, record) in hostile.iter().zip(&read) {
        assert_eq!(record["caller"]["exe"].as_str().unwrap(), String::from_utf8_lossy(name));
    }
    assert_eq!(read.len(), hostile.len());
}

#[test]
fn a_record_beyond_the_limit_is_refused_and_nothing_of_it_is_written() {
    let dir = Scratch::new();
    let log = open(dir.path(), &small());
    let record = Record::Daemon { event: "started", detail: Some("x".repeat(record::RECORD_BYTES_MAX)) };
    assert!(matches!(log.append(&record, Urgency::Ordinary), Err(Error::TooLarge(_))));
    log.append(&Record::Daemon { event: "started", detail: Some("x".repeat(100 * 1024)) }, Urgency::Ordinary).unwrap();
    log.close();
    assert_eq!(verify(dir.path()).unwrap().last, log.last().0);
}

#[test]
fn records_of_many_threads_are_one_chain() {
    let dir = Scratch::new();
    for durability in [Durability::Soon, Durability::Strict] {
        let log = open(dir.path(), &Limits { durability, ..small() });
        let before = log.last().0;
        let log = Arc::new(log);
        let writers: Vec<_> = (0..8)
            .map(|writer| {
                let log = log.clone();
                thread::spawn(move || {
                    let numbers = (0..50).map(|turn| append(&log, &format!("{writer}-{turn}")).unwrap());
                    let numbers: Vec<_> = numbers.collect();
                    assert!(numbers.is_sorted());
                    numbers
                })
            })
            .collect();
        let mut numbers: Vec<_> = writers.into_iter().flat_map(|writer| writer.join().unwrap()).collect();
        numbers.sort();
        numbers.dedup();
        assert_eq!(numbers.len(), 400, "no number is given twice");
        verify(dir.path()).unwrap();
        log.close();
        assert!(verify(dir.path()).unwrap().last >= before + 400);
    }
    assert_eq!(kinds(dir.path())["issued"], 800);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_strict_record_is_on_the_disk_when_it_is_accepted() {
    let dir = Scratch::new();
    let log = open(dir.path(), &Limits { durability: Durability::Strict, ..small() });
    let tasks: Vec<_> = (0..64)
        .map(|task| {
            let (log, dir) = (log.clone(), dir.path().to_owned());
            tokio::spawn(async move {
                let number = append(&log, &task.to_string()).unwrap();
                // The head says what was synced.
                assert!(head::read(&dir).unwrap().unwrap().link.seq >= number.0);
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
}

#[test]
fn a_strict_record_waits_for_the_disk_where_no_thread_takes_the_workers_tasks() {
    let dir = Scratch::new();
    let log = open(dir.path(), &Limits { durability: Durability::Strict, ..small() });
    let runtime = runtime_of_one_worker();
    for round in 0..20 {
        let (log, folder) = (log.clone(), dir.path().to_owned());
        let task = runtime.spawn(async move {
            let number = append(&log, &round.to_string()).unwrap();
            head::read(&folder).unwrap().unwrap().link.seq >= number.0
        });
        assert!(runtime.block_on(task).unwrap());
    }
}

#[test]
fn an_idle_log_is_on_the_disk_soon_after_the_last_record() {
    let dir = Scratch::new();
    let log = open(dir.path(), &small());
    let number = append(&log, "1").unwrap();
    let begun = std::time::Instant::now();
    while head::read(dir.path()).unwrap().is_none_or(|mark| mark.link.seq < number.0) {
        assert!(begun.elapsed() < Duration::from_secs(10));
        thread::yield_now();
    }
}

#[test]
fn a_closed_log_accepts_nothing() {
    let dir = Scratch::new();
    let log = open(dir.path(), &small());
    log.close();
    log.close();
    assert!(matches!(append(&log, "1"), Err(Error::Closed)));
}

#[test]
fn two_daemons_cannot_write_one_log() {
    let dir = Scratch::new();
    let log = open(dir.path(), &small());
    assert!(matches!(Log::in_test(dir.path(), small(), Clock::system()), Err(Error::InUse { .. })));
    drop(log);
    open(dir.path(), &small());
}

#[test]
fn a_folder_that_others_may_read_is_refused() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = Scratch::new();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o750)).unwrap();
    assert!(matches!(Log::in_test(dir.path(), small(), Clock::system()), Err(Error::Dir(_))));
}

#[tokio::test(start_paused = true)]
async fn refusals_beyond_the_number_are_one_record_a_minute() {
    let dir = Scratch::new();
    let clock = Clock::following_tokio();
    let log = Log::in_test(dir.path(), Limits { refusals_per_minute: 5, ..small() }, clock).unwrap();
    for _ in 0..100 {
        log.append(&refused(7), Urgency::Ordinary).unwrap();
    }
    log.append(&refused(8), Urgency::Ordinary).unwrap();
    append(&log, "1").unwrap();
    assert_eq!(kinds(dir.path()).get("refused_more"), None, "the minute is not over");
    tokio::time::advance(Duration::from_secs(61)).await;
    append(&log, "2").unwrap();
    assert_eq!(kinds(dir.path())["refused"], 6);
    let more: Vec<_> = records(dir.path()).into_iter().filter(|record| record["kind"] == "refused_more").collect();
    assert_eq!(more.len(), 1);
    assert_eq!((&more[0]["uid"], &more[0]["count"]), (&7.into(), &95.into()));
    assert_eq!(more[0]["reasons"]["no_entry"], 95);
}

#[test]
fn what_was_counted_is_told_when_the_log_is_closed() {
    let dir = Scratch::new();
    let log = open(dir.path(), &Limits { refusals_per_minute: 1, ..small() });
    for _ in 0..10 {
        log.append(&refused(7), Urgency::Ordinary).unwrap();
    }
    log.close();
    // A minute may have ended in between.
    let written = kinds(dir.path())["refused"];
    let counted: u64 = records(dir.path()).iter().filter_map(|record| record["count"].as_u64()).sum();
    assert_eq!(u64::try_from(written).unwrap() + counted, 10);
    verify(dir.path()).unwrap();
}
