//! What somebody can do who may write the folder and has no key, while the daemon is down.

use super::{
    checkpoint::Beginning,
    state::{State, forge, forge_removal},
    *,
};

fn forged_admin() -> Vec<u8> {
    let (verb, object) = ("entry_create", "e".to_owned());
    let forged = Record::Admin { caller: caller(0), verb, object, result: "ok", changes: Vec::new() };
    record::body(&forged).unwrap()
}

/// A log whose daemon was killed with three records that no checkpoint signs.
fn killed() -> State {
    let state = State::written(40);
    let log = state.open_with(Limits::default(), Clock::system());
    let signed = log.checkpoint();
    (0..3).for_each(|serial| assert!(append(&log, &serial.to_string()).is_ok()));
    let killed = state.killed();
    killed.keep(signed);
    killed
}

#[test]
fn a_forged_removal_after_a_clean_stop_excuses_no_missing_segment() {
    let state = State::written(40);
    forge_removal(&state.log());
    assert!(state.verify().is_err(), "before the next start");
    assert!(state.damage_at_start().is_some());
    assert!(state.verify().is_err(), "now that it is signed");
    assert!(verify(&state.log()).is_err(), "also without the database");
    assert!(state.damage_at_start().is_some(), "and at each start");
    assert!(state.verify().is_err());
}

#[test]
fn a_forged_removal_after_a_kill_excuses_no_missing_segment() {
    let state = killed();
    forge_removal(&state.log());
    for _ in 0..2 {
        assert!(state.damage_at_start().is_some_and(|fault| fault.contains("were removed")));
        assert!(matches!(state.verify(), Err(Fault::BeginningMissing { .. })));
        assert!(matches!(verify(&state.log()), Err(Fault::BeginningMissing { .. })), "also without the database");
    }
}

#[test]
fn segments_that_go_without_a_word_are_missed() {
    let state = State::written(40);
    fs::remove_file(segment::path(&state.log(), 1)).unwrap();
    assert!(matches!(state.verify(), Err(Fault::BeginningMissing { .. })));
    assert!(state.damage_at_start().is_some());
    assert!(matches!(state.verify(), Err(Fault::BeginningMissing { .. })));
}

#[test]
fn whatever_is_added_after_a_clean_stop_is_told_for_ever() {
    let own = |own: &Own| record::body(own).unwrap();
    let daemon = Record::Daemon { event: "started", detail: None };
    let all = [
        forged_admin(),
        record::body(&issued("1", false)).unwrap(),
        record::body(&daemon).unwrap(),
        own(&Own::UnsignedTail { from: 1, count: 1 }),
    ];
    for (body, times) in all.iter().zip([1, 1, 1, 100]) {
        let state = State::written(5);
        let last = state.kept().unwrap().link.seq;
        (0..times).for_each(|_| forge(&state.log(), body));
        for _ in 0..2 {
            assert!(matches!(state.verify(), Err(Fault::AfterEnd { record, .. }) if record == last + 1));
            assert!(matches!(verify(&state.log()), Err(Fault::AfterEnd { .. })), "also without the database");
            assert!(state.damage_at_start().is_some_and(|fault| fault.contains("after the daemon had stopped")));
        }
        let tail = records(&state.log()).into_iter().find(|found| found["from"] == last + 1).unwrap();
        assert_eq!((&tail["kind"], &tail["count"]), (&"unsigned_tail".into(), &times.into()));
    }
}

#[test]
fn a_checkpoint_that_somebody_else_makes_opens_no_closed_log() {
    let state = State::written(5);
    let other = seal::Sealer::open(&state.dir.path().join("other/audit.key")).unwrap();
    let link = state.kept().unwrap().link;
    let statement = checkpoint::Statement { link, beginning: Some(Beginning::FIRST), is_end: false };
    let made = other.seal(&statement, SystemTime::UNIX_EPOCH).unwrap();
    forge(&state.log(), &record::body(&made).unwrap());
    forge(&state.log(), &forged_admin());
    assert!(matches!(state.verify(), Err(Fault::ForeignKey { .. })));
    assert!(state.damage_at_start().is_some());
    assert!(matches!(state.verify(), Err(Fault::ForeignKey { .. })));
}

#[test]
fn what_a_checkpoint_says_cannot_be_changed() {
    for (from, to) in [("\"end\":true", "\"end\":false"), ("\"first\":{\"segment\":1", "\"first\":{\"segment\":2")] {
        let state = State::written(5);
        let path = segments(&state.log()).pop().unwrap();
        let text = fs::read_to_string(&path).unwrap();
        let (before, last) = text.trim_end().rsplit_once('\n').unwrap();
        assert!(last.contains(from));
        let read = chain::read(last.as_bytes()).unwrap();
        let body = last.get(last.find("\"kind\"").unwrap()..last.rfind(",\"prev\"").unwrap()).unwrap();
        let mut line = Vec::new();
        chain::seal(&mut line, &read.after, SystemTime::UNIX_EPOCH, body.replace(from, to).as_bytes());
        fs::write(&path, [before.as_bytes(), b"\n", &line].concat()).unwrap();
        fs::remove_file(state.log().join("head")).unwrap();
        let (head, _) = head::Head::open(&state.log()).unwrap();
        let link = chain::read(line.strip_suffix(b"\n").unwrap()).unwrap().link;
        let offset = u64::try_from(before.len() + 1 + line.len()).unwrap();
        head.write(&head::Mark {
            segment: segment::list(&state.log(), 0).unwrap().numbers.pop().unwrap(),
            offset,
            link,
        })
        .unwrap();
        drop(head);
        assert!(state.verify().is_err(), "{to}");
        assert!(matches!(verify(&state.log()), Err(Fault::Forged { .. })), "{to}");
    }
}

#[test]
fn records_that_nobody_had_signed_are_kept_and_told() {
    let state = killed();
    let before = state.kept().unwrap().link.seq;
    assert_eq!(state.damage_at_start(), None);
    let report = state.verify().unwrap();
    let tail = Some((before + 1, 3));
    assert_eq!(report.findings, [Finding { record: before + 4, kind: "unsigned_tail".to_owned(), tail }]);
    assert_eq!(kinds(&state.log())["issued"], 44);
    assert_eq!(records(&state.log())[usize::try_from(before).unwrap() + 4]["kind"], "checkpoint", "it is signed then");
}

/// Cuts the log behind so many of its bytes, in whatever segment that is.
fn cut(dir: &Path, mut bytes: u64) {
    for path in segments(dir) {
        let length = fs::metadata(&path).unwrap().len();
        match bytes {
            0 => fs::remove_file(path).unwrap(),
            _ => fs::OpenOptions::new().write(true).open(path).unwrap().set_len(length.min(bytes)).unwrap(),
        }
        bytes = bytes.saturating_sub(length);
    }
}

#[test]
fn a_kill_at_any_moment_is_no_alarm() {
    let state = State::written(20);
    let first = state.killed();
    let before: u64 = segments(&state.log()).iter().map(|path| fs::metadata(path).unwrap().len()).sum();
    // A start that has something to say, records in two segments, and a stop.
    forge_tail(&state.log());
    let log = state.open();
    (0..8).for_each(|serial| assert!(append(&log, &serial.to_string()).is_ok()));
    log.close();
    let text: Vec<u8> = segments(&state.log()).into_iter().flat_map(|path| fs::read(path).unwrap()).collect();
    let ends = text.iter().zip(1_u64..).filter(|(byte, _)| **byte == b'\n').map(|(_, end)| end);
    let ends: Vec<_> = ends.filter(|end| *end >= before).collect();
    assert!(ends.len() > 10);
    for end in ends.iter().flat_map(|end| [*end, end + 1, end + 300]).filter(|end| *end <= text.len() as u64) {
        // The database was told of nothing since, and the head either.
        let killed = state.killed();
        killed.keep(first.kept());
        fs::copy(first.log().join("head"), killed.log().join("head")).unwrap();
        cut(&killed.log(), end);
        for start in 0..2 {
            assert_eq!(killed.damage_at_start(), None, "cut behind {end}, start {start}");
        }
        let findings = killed.verify().unwrap().findings;
        assert!(findings.iter().all(|found| ["tail_cut", "unsigned_tail"].contains(&found.kind.as_str())));
    }
}

/// Half a line, as a power failure leaves it.
fn forge_tail(dir: &Path) {
    let path = segments(dir).pop().unwrap();
    let text = fs::read(&path).unwrap();
    fs::write(path, [&text, &b"{\"seq\":"[..]].concat()).unwrap();
}
