//! What a crash or a power failure leaves, and what the log makes of it.

use std::{fs::OpenOptions, io::Write as _};

use super::{state::State, *};

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

/// Opens the log, writes through several rotations, and says what is wrong with it then.
fn used_on(state: &State) -> Result<Report, Fault> {
    let log = state.open();
    (0..30).for_each(|serial| assert!(append(&log, &serial.to_string()).is_ok()));
    log.close();
    state.verify()
}

#[test]
fn a_file_that_is_named_as_no_segment_of_ours_stops_nothing() {
    for stem in ["18446744073709551615", "18446744073709551614", "200000000", "7", "00000000"] {
        let state = State::written(20);
        let name = format!("{stem}.jsonl");
        fs::write(state.log().join(&name), "no record\n").unwrap();
        for report in [state.verify(), used_on(&state), used_on(&state)] {
            assert_eq!(report.unwrap().foreign, [name.as_str()]);
        }
    }
}

#[test]
fn a_file_of_the_highest_number_that_is_ours_does_not_end_the_log() {
    for (content, has_head) in [("", true), ("no record\n", true), ("no record\n", false)] {
        let state = State::written(20);
        for _ in 0..3 {
            let most = segment::number_max(state.kept().unwrap().segment);
            fs::write(segment::path(&state.log(), most), content).unwrap();
            if !has_head {
                fs::remove_file(state.log().join("head")).unwrap();
            }
            let killed = state.killed();
            assert!(used_on(&killed).is_ok() == content.is_empty(), "it is told, and nothing is refused");
            assert!(used_on(&state).is_ok() == content.is_empty());
        }
    }
}

#[test]
fn a_file_of_the_highest_number_alone_is_no_panic() {
    for stem in ["18446744073709551615", "100000000"] {
        let (dir, whole) = (Scratch::new(), Scratch::new());
        written(whole.path(), 3);
        fs::copy(whole.path().join("head"), dir.path().join("head")).unwrap();
        fs::copy(segment::path(whole.path(), 1), dir.path().join(format!("{stem}.jsonl"))).unwrap();
        assert!(verify(dir.path()).is_err());
    }
}

#[test]
fn what_stands_in_the_place_of_the_next_segment_is_set_aside() {
    for kind in ["file", "folder", "link"] {
        let state = State::written(1);
        let log = state.open();
        let next = segment::path(&state.log(), 2);
        match kind {
            "file" => fs::write(&next, b"mine").unwrap(),
            "folder" => fs::create_dir(&next).unwrap(),
            _ => std::os::unix::fs::symlink("/dev/null", &next).unwrap(),
        }
        (0..30).for_each(|serial| assert!(append(&log, &serial.to_string()).is_ok(), "{kind}"));
        log.close();
        let report = state.verify().unwrap();
        assert!(report.segments > 2 && report.foreign.len() == 1, "{kind}: {report:?}");
    }
}

#[test]
fn a_forged_head_brings_no_number_to_its_end() {
    let state = State::written(20);
    let (head, mark) = head::Head::open(&state.log()).unwrap();
    head.write(&head::Mark { segment: u64::MAX, ..mark.unwrap() }).unwrap();
    drop(head);
    let findings = used_on(&state).unwrap().findings;
    assert!(findings.iter().any(|found| found.kind == "head_missing"), "{findings:?}");
}

#[test]
fn a_head_that_is_no_file_is_a_missing_one() {
    for kind in ["folder", "link", "pipe"] {
        let state = State::written(20);
        let path = state.log().join("head");
        fs::rename(&path, state.dir.path().join("old")).unwrap();
        match kind {
            "folder" => fs::create_dir(&path).unwrap(),
            "link" => std::os::unix::fs::symlink(state.dir.path().join("old"), &path).unwrap(),
            _ => nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap(),
        }
        assert!(matches!(state.verify(), Err(Fault::HeadMissing)), "{kind}");
        let findings = used_on(&state).unwrap().findings;
        assert!(findings.iter().any(|found| found.kind == "head_missing"), "{kind}: {findings:?}");
    }
}
