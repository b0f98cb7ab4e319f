//! What a crash or a power failure leaves, and what the log makes of it.

use std::{fs::OpenOptions, io::Write as _};

use super::*;

/// Puts bytes behind the last segment's end, as a write that the power failure cut short.
fn add_tail(dir: &Path, tail: &[u8]) {
    let last = segments(dir).pop().unwrap();
    OpenOptions::new().append(true).open(last).unwrap().write_all(tail).unwrap();
}

#[test]
fn a_torn_last_line_is_cut_off_and_the_log_says_so() {
    for tail in [&b"{\"seq\":99,\"time\":\"20"[..], &[0; 4096], b"{}\n", b"\n\n\n"] {
        let dir = Scratch::new();
        written(dir.path(), 20);
        let last = verify(dir.path()).unwrap().last;
        add_tail(dir.path(), tail);
        let torn = u64::try_from(tail.len()).unwrap();
        assert!(matches!(verify(dir.path()), Err(Fault::Trailing { bytes, .. }) if bytes == torn), "nobody writes it");
        let log = open(dir.path(), &small());
        append(&log, "after").unwrap();
        log.close();
        let report = verify(dir.path()).unwrap();
        assert!(report.last >= last + 4, "what was cut, a checkpoint, the record, a checkpoint");
        assert_eq!(report.findings, [Finding { record: last + 2, kind: "tail_cut".to_owned(), tail: None }]);
    }
}

#[test]
fn whole_lines_that_the_head_does_not_know_are_kept() {
    let (dir, killed) = (Scratch::new(), Scratch::new());
    let log = open(dir.path(), &small());
    append(&log, "1").unwrap();
    log.close();
    let old_head = fs::read(dir.path().join("head")).unwrap();
    let log = open(dir.path(), &small());
    // Enough for several segments.
    for serial in 0..30 {
        append(&log, &serial.to_string()).unwrap();
    }
    // As kill -9 leaves it at this moment.
    copy(dir.path(), killed.path());
    fs::write(killed.path().join("head"), old_head).unwrap();
    let last = records(killed.path()).last().unwrap()["seq"].as_u64().unwrap();
    let log = open(killed.path(), &small());
    assert!((last + 1..=last + 2).contains(&log.last().0), "a checkpoint, and perhaps what was not signed");
    append(&log, "after").unwrap();
    log.close();
    let report = verify(killed.path()).unwrap();
    assert!(report.findings.iter().all(|found| found.kind == "unsigned_tail"));
    assert_eq!(kinds(killed.path())["issued"], 32);
}

#[test]
fn a_segment_that_was_made_and_never_written_is_taken_again() {
    for leftover in [&b""[..], b"{\"seq\":"] {
        let dir = Scratch::new();
        written(dir.path(), 20);
        let count = segments(dir.path()).len();
        fs::write(segment::path(dir.path(), u64::try_from(count).unwrap() + 1), leftover).unwrap();
        let log = open(dir.path(), &small());
        append(&log, "after").unwrap();
        log.close();
        assert!(verify(dir.path()).unwrap().findings.is_empty());
    }
}

#[test]
fn a_start_that_ended_before_the_first_record_is_begun_again() {
    let dir = Scratch::new();
    drop(head::Head::open(dir.path()).unwrap());
    written(dir.path(), 1);
    assert!(verify(dir.path()).unwrap().findings.is_empty());
    let dir = Scratch::new();
    head::Head::open(dir.path()).unwrap().0.begin().unwrap();
    fs::write(segment::path(dir.path(), 1), b"").unwrap();
    written(dir.path(), 1);
    assert!(verify(dir.path()).unwrap().findings.is_empty());
}

#[test]
fn a_log_that_was_cut_goes_on_behind_the_gap_and_the_gap_is_found() {
    let dir = Scratch::new();
    written(dir.path(), 20);
    let last = verify(dir.path()).unwrap().last;
    let path = segments(dir.path()).pop().unwrap();
    let text = fs::read_to_string(&path).unwrap();
    let (before, _) = text.trim_end().rsplit_once('\n').unwrap();
    fs::write(&path, format!("{before}\n")).unwrap();
    assert!(matches!(verify(dir.path()), Err(Fault::EndMissing { known, .. }) if known == last));
    let log = open(dir.path(), &small());
    let next = append(&log, "after").unwrap();
    assert!(next.0 > last, "no number is given twice");
    log.close();
    assert!(matches!(verify(dir.path()), Err(Fault::Order { .. })));
    assert_eq!(kinds(dir.path())["records_missing"], 1);
}

#[test]
fn a_log_without_its_segments_does_not_begin_again() {
    let dir = Scratch::new();
    written(dir.path(), 20);
    let last = verify(dir.path()).unwrap().last;
    for path in segments(dir.path()) {
        fs::remove_file(path).unwrap();
    }
    assert!(matches!(verify(dir.path()), Err(Fault::EndMissing { last: 0, .. })));
    let log = open(dir.path(), &small());
    assert!(append(&log, "after").unwrap().0 > last);
    log.close();
    assert!(verify(dir.path()).is_err());
}

#[test]
fn a_lost_head_is_recorded() {
    let dir = Scratch::new();
    written(dir.path(), 20);
    fs::remove_file(dir.path().join("head")).unwrap();
    assert!(matches!(verify(dir.path()), Err(Fault::HeadMissing)));
    let log = open(dir.path(), &small());
    append(&log, "after").unwrap();
    log.close();
    let findings = verify(dir.path()).unwrap().findings;
    assert_eq!(findings.len(), 1);
    assert_eq!(findings[0].kind, "head_missing");
}

#[test]
fn a_damaged_end_without_a_head_is_refused_with_words() {
    let dir = Scratch::new();
    written(dir.path(), 20);
    fs::remove_file(dir.path().join("head")).unwrap();
    let path = segments(dir.path()).pop().unwrap();
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replacen("segment", "sediment", 1)).unwrap();
    let error = Log::in_test(dir.path(), small(), Clock::system()).unwrap_err();
    assert!(matches!(error, Error::Damaged { .. }), "{error}");
}
