//! What checkpoints and what is kept outside the folder show.

use std::sync::mpsc;

use super::{state::State, *};

/// Writes the whole log anew as somebody would who knows the format and has no key: `change` gets each record's kind
/// and body, and answers the body it becomes, or nothing.
fn rewrite(dir: &Path, change: impl Fn(&str, String) -> Option<String>) {
    let mut link = Link::START;
    let mut end = (0, 0);
    for number in segment::list(dir, 0).unwrap().numbers {
        let path = segment::path(dir, number);
        let (mut whole, mut line) = (Vec::new(), Vec::new());
        for text in fs::read_to_string(&path).unwrap().lines() {
            let read = chain::read(text.as_bytes()).unwrap();
            let from = text.find("\"kind\"").unwrap();
            let to = text.rfind(",\"prev\"").unwrap();
            if let Some(body) = change(&read.kind, text.get(from..to).unwrap().to_owned()) {
                link = chain::seal(&mut line, &link, SystemTime::UNIX_EPOCH, body.as_bytes());
                whole.extend_from_slice(&line);
            }
        }
        end = (number, u64::try_from(whole.len()).unwrap());
        fs::write(path, whole).unwrap();
    }
    let (head, _) = head::Head::open(dir).unwrap();
    head.write(&head::Mark { segment: end.0, offset: end.1, link }).unwrap();
}

#[test]
fn a_closed_log_is_signed_to_its_end_and_its_last_checkpoint_is_kept_outside() {
    let state = State::written(40);
    let report = state.verify().unwrap();
    assert_eq!(report.signed + 1, report.last);
    assert_eq!(report.key, state.kept().unwrap().fingerprint().to_string());
    assert_eq!(Checkpoint::parse(&state.kept().unwrap().to_string()), state.kept());
    assert!(state.kept().unwrap().is_end);
    assert_eq!(state.damage_at_start(), None);
    assert!(state.verify().unwrap().findings.is_empty());
    use std::os::unix::fs::PermissionsExt as _;
    let key = fs::metadata(state.dir.path().join("keys/audit.key")).unwrap();
    assert_eq!(key.permissions().mode() & 0o777, 0o600);
}

#[test]
fn an_emptied_folder_is_found_and_the_log_does_not_begin_again() {
    let state = State::written(20);
    let last = state.kept().unwrap().link.seq;
    fs::remove_dir_all(state.log()).unwrap();
    files::create_private_dir(&state.log()).unwrap();
    assert!(matches!(state.verify(), Err(Fault::EndMissing { last: 0, known }) if known == last));
    assert!(state.damage_at_start().is_some());
    let records = records(&state.log());
    assert!(records.iter().all(|record| record["seq"].as_u64().unwrap() > last), "no number is given twice");
    for kind in ["records_missing", "damaged"] {
        assert_eq!(kinds(&state.log())[kind], 1, "{kind}");
    }
    assert!(matches!(state.verify(), Err(Fault::BeginningMissing { .. })));
}

#[test]
fn a_log_that_was_written_anew_without_the_key_is_found() {
    let to_another = |kind: &str, body: String| match kind {
        "issued" => Some(body.replace("1000", "4242")),
        _ => Some(body),
    };
    let state = State::written(40);
    rewrite(&state.log(), to_another);
    assert!(matches!(verify(&state.log()), Err(Fault::Forged { .. })), "without anything from outside");
    assert!(matches!(state.verify(), Err(Fault::Forged { .. })));
    assert!(state.damage_at_start().is_some_and(|fault| fault.contains("signature")));

    // Without the checkpoints nothing is signed wrongly; then what is outside tells.
    let state = State::written(40);
    rewrite(&state.log(), |kind, body| (kind != "checkpoint").then_some(body));
    assert!(state.verify().is_err());
    let only_key = Known { checkpoint: None, ..state.known() };
    assert!(matches!(audit_verify(&state.log(), &only_key), Err(Fault::Unsigned { .. })));
    assert!(state.damage_at_start().is_some());
}

#[test]
fn a_log_signed_with_another_key_is_found() {
    let (state, other) = (State::written(40), State::written(40));
    fs::remove_dir_all(state.log()).unwrap();
    files::create_private_dir(&state.log()).unwrap();
    copy(&other.log(), &state.log());
    verify(&state.log()).unwrap();
    assert!(matches!(state.verify(), Err(Fault::ForeignKey { .. })));
}

#[test]
fn a_key_that_was_lost_is_found_and_the_daemon_starts_with_a_new_one() {
    let state = State::written(5);
    fs::remove_file(state.dir.path().join("keys/audit.key")).unwrap();
    assert!(state.damage_at_start().is_some_and(|fault| fault.contains("key")));
}

#[test]
fn an_older_state_of_the_log_is_found() {
    let state = State::written(5);
    let older = Scratch::new();
    copy(&state.log(), older.path());
    let log = state.open();
    append(&log, "later").unwrap();
    log.close();
    fs::remove_dir_all(state.log()).unwrap();
    files::create_private_dir(&state.log()).unwrap();
    copy(older.path(), &state.log());
    assert!(matches!(state.verify(), Err(Fault::EndMissing { .. })));
    assert!(state.damage_at_start().is_some());
}

#[test]
fn bytes_behind_the_end_are_found() {
    let state = State::written(5);
    let last = segments(&state.log()).pop().unwrap();
    let text = fs::read_to_string(&last).unwrap();
    fs::write(last, text + "junk\n").unwrap();
    assert!(matches!(state.verify(), Err(Fault::Trailing { bytes: 5, .. })));
}

#[test]
fn a_hole_in_the_middle_is_told_at_the_next_start() {
    let state = State::written(40);
    let path = segments(&state.log()).remove(1);
    let text = fs::read_to_string(&path).unwrap();
    let lines: Vec<_> = text.lines().enumerate().filter(|(at, _)| *at != 3).map(|(_, line)| line).collect();
    fs::write(path, lines.join("\n") + "\n").unwrap();
    assert!(state.damage_at_start().is_some_and(|fault| fault.contains("segment 2")));
    assert_eq!(kinds(&state.log())["damaged"], 1);
}

#[test]
fn a_log_of_an_earlier_release_is_accepted_and_signed_from_then_on() {
    let state = State::written(40);
    rewrite(&state.log(), |kind, body| (kind != "checkpoint").then_some(body));
    state.keep(None);
    assert_eq!(state.verify().unwrap().signed, 0);
    assert_eq!(state.damage_at_start(), None);
    let report = state.verify().unwrap();
    assert_eq!((report.first, report.signed + 1), (1, report.last));
    assert!(report.findings.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_running_log_is_signed_a_while_after_a_record_and_never_when_nothing_happens() {
    let state = State::new();
    let log = state.open_with(Limits::default(), Clock::following_tokio());
    append(&log, "1").unwrap();
    tokio::time::advance(Duration::from_secs(11)).await;
    append(&log, "2").unwrap();
    let (sender, receiver) = mpsc::channel();
    let reader = log.clone();
    std::thread::spawn(move || {
        while reader.checkpoint().is_none_or(|checkpoint| checkpoint.link.seq < 4) {
            std::thread::yield_now();
        }
        sender.send(()).ok();
    });
    receiver.recv_timeout(Duration::from_secs(10)).unwrap();
    log.close();
    assert!(kinds(&state.log())["checkpoint"] <= 3);
    let before = kinds(&state.log())["checkpoint"];
    state.open().close();
    assert_eq!(kinds(&state.log())["checkpoint"], before + 2, "a start and a stop with nothing between");
}

#[test]
fn a_checkpoint_that_calls_its_key_so_as_the_first_ones_did_is_believed() {
    let state = State::written(20);
    let text = fs::read_to_string(segment::path(&state.log(), 1)).unwrap();
    let text = text.lines().rfind(|line| line.contains("\"kind\":\"checkpoint\"")).unwrap();
    let (read, from, to) = (chain::read(text.as_bytes()).unwrap(), text.find("\"kind\""), text.rfind(",\"prev\""));
    let body = text.get(from.unwrap()..to.unwrap()).unwrap();
    let told = |body: &str| {
        let mut line = Vec::new();
        chain::seal(&mut line, &read.after, SystemTime::UNIX_EPOCH, body.as_bytes());
        let line = chain::read(line.strip_suffix(b"\n").unwrap_or(&line)).unwrap();
        seal::Seal::checkpoint(&line, 1, 0).map(|found| found.fingerprint())
    };
    let earlier = body.replace("\"public_key\":", "\"key\":");
    assert_ne!(earlier, body);
    assert_eq!(told(&earlier), Some(state.kept().unwrap().fingerprint()));
    assert_eq!(told(&body.replace("\"public_key\":", "\"other\":")), None);
}
