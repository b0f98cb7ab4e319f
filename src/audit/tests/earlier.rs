//! Logs of earlier builds, whose checkpoints did not say where the log begins.

use super::{
    checkpoint::{Beginning, Statement},
    state::{State, forge_removal},
    *,
};

/// Makes of a closed log what an earlier build would have left, in the database too.
fn earlier(state: &State) {
    let sealer = seal::Sealer::open(&state.dir.path().join("keys/audit.key")).unwrap();
    let (mut link, mut mark, mut kept) = (None, None, String::new());
    for number in segment::list(&state.log(), 0).unwrap().numbers {
        let path = segment::path(&state.log(), number);
        let (mut whole, mut line) = (Vec::new(), Vec::new());
        for text in fs::read_to_string(&path).unwrap().lines() {
            let read = chain::read(text.as_bytes()).unwrap();
            let after = link.unwrap_or(read.after);
            let old = Statement { link: after, beginning: None, is_end: false };
            let body = match read.kind.as_str() {
                "checkpoint" => record::body(&sealer.seal(&old, SystemTime::UNIX_EPOCH).unwrap()).unwrap(),
                _ => text
                    .get(text.find("\"kind\"").unwrap()..text.rfind(",\"prev\"").unwrap())
                    .unwrap()
                    .as_bytes()
                    .to_vec(),
            };
            let end = chain::seal(&mut line, &after, SystemTime::UNIX_EPOCH, &body);
            whole.extend_from_slice(&line);
            link = Some(end);
            if read.kind == "checkpoint" {
                kept = format!("{number} {} {} {}", end.seq, end.hash, sealer.fingerprint());
            }
            mark = Some(head::Mark { segment: number, offset: u64::try_from(whole.len()).unwrap(), link: end });
        }
        fs::write(path, whole).unwrap();
    }
    head::Head::open(&state.log()).unwrap().0.write(&mark.unwrap()).unwrap();
    state.keep(Checkpoint::parse(&kept));
    assert!(state.kept().is_some_and(|kept| kept.beginning.is_none()));
}

#[test]
fn a_log_of_an_earlier_build_is_accepted_once_and_then_says_where_it_begins() {
    let state = State::written(40);
    earlier(&state);
    state.verify().unwrap();
    assert_eq!(state.damage_at_start(), None);
    assert_eq!(state.kept().unwrap().beginning, Some(Beginning::FIRST));
    assert!(state.verify().unwrap().findings.is_empty());
    fs::remove_file(segment::path(&state.log(), 1)).unwrap();
    assert!(matches!(state.verify(), Err(Fault::BeginningMissing { .. })));
}

#[test]
fn a_log_of_an_earlier_build_may_begin_behind_a_removal_that_it_signed() {
    let state = State::written(40);
    let log = state.open_with(Limits { total_bytes_max: 8 * 1024, ..small() }, Clock::system());
    append(&log, "1").unwrap();
    log.close();
    earlier(&state);
    assert!(state.verify().unwrap().first > 1);
    assert_eq!(state.damage_at_start(), None);
    assert!(state.verify().unwrap().findings.is_empty());
}

#[test]
fn a_removal_that_an_earlier_build_has_not_signed_is_found_at_the_first_start() {
    let state = State::written(40);
    earlier(&state);
    forge_removal(&state.log());
    assert!(matches!(state.verify(), Err(Fault::BeginningMissing { .. })));
    assert!(state.damage_at_start().is_some_and(|fault| fault.contains("were removed")));
    assert!(state.verify().unwrap().findings.iter().any(|found| found.kind == "damaged"));
}
