//! Workloads push nobody's records out but their own.

use super::*;

fn admin(object: &str) -> Record {
    let changes = vec!["hint: \"kind\":\"issued\"".to_owned()];
    Record::Admin { caller: caller(0), verb: "entry_create", object: object.to_owned(), result: "ok", changes }
}

/// Room for about 25 records in a segment, and for four segments.
fn limits() -> Limits {
    Limits { segment_bytes_max: 16 * 1024, total_bytes_max: 64 * 1024, ..small() }
}

fn flood(log: &Log, records: u32) {
    for serial in 0..records {
        append(log, &serial.to_string()).unwrap();
    }
}

/// What admins did.
fn admins(dir: &Path) -> Vec<String> {
    let objects = records(dir).into_iter().filter_map(|record| {
        let inner = if record["kind"] == "kept" { &record["record"] } else { &record };
        (inner["kind"] == "admin").then(|| inner["object"].as_str().unwrap().to_owned())
    });
    // They are carried over in the order in which their segments go.
    let mut objects: Vec<_> = objects.collect();
    objects.sort();
    objects
}

#[test]
fn a_flood_of_issued_records_pushes_no_admins_record_out() {
    let dir = Scratch::new();
    for run in 0..3 {
        let log = open(dir.path(), &limits());
        log.append(&admin(&format!("e{run}")), Urgency::Ordinary).unwrap();
        flood(&log, 1_000);
        log.close();
        let report = verify(dir.path()).unwrap();
        assert!(report.first > 1 && report.signed + 1 == report.last, "{report:?}");
        let bytes: u64 = segments(dir.path()).iter().map(|path| fs::metadata(path).unwrap().len()).sum();
        assert!(bytes <= 2 * limits().total_bytes_max, "{bytes} bytes are left");
    }
    assert_eq!(admins(dir.path()), ["e0", "e1", "e2"]);
    let kept = records(dir.path()).into_iter().find(|record| record["kind"] == "kept").unwrap();
    let line = serde_json::to_string(&kept["record"]).unwrap();
    assert!(line.contains("\"hash\"") && kept["record"]["seq"].as_u64() < kept["seq"].as_u64(), "{line}");
}

/// What a running daemon says when somebody else has done this to its first segment before it goes.
fn told_of(change: impl Fn(&Path)) -> Option<String> {
    let dir = Scratch::new();
    let log = open(dir.path(), &limits());
    log.append(&admin("e"), Urgency::Ordinary).unwrap();
    flood(&log, 40);
    change(&segment::path(dir.path(), 1));
    flood(&log, 200);
    log.close();
    let report = verify(dir.path()).unwrap();
    assert!(report.first > 1);
    let damage = log.damage().map(str::to_owned);
    assert_eq!(damage.is_some(), report.findings.iter().any(|found| found.kind == "damaged"));
    damage
}

#[test]
fn a_segment_that_was_changed_before_it_goes_is_told() {
    assert_eq!(told_of(|_| {}), None);
    let gone = told_of(|path| fs::remove_file(path).unwrap());
    assert!(gone.is_some_and(|fault| fault.contains("could not be read")));
    // All lines anew, each with a hash that fits.
    let forged = told_of(|path| {
        let (mut link, mut whole, mut line) = (Link::START, Vec::new(), Vec::new());
        for text in fs::read_to_string(path).unwrap().lines() {
            let body = text.get(text.find("\"kind\"").unwrap()..text.rfind(",\"prev\"").unwrap()).unwrap();
            let body = body.replace("entry_create", "entry_delete");
            link = chain::seal(&mut line, &link, SystemTime::UNIX_EPOCH, body.as_bytes());
            whole.extend_from_slice(&line);
        }
        fs::write(path, whole).unwrap();
    });
    assert!(forged.is_some_and(|fault| fault.contains("was not as it was written")));
    let cut = told_of(|path| {
        let text = fs::read_to_string(path).unwrap();
        let kept = text.lines().filter(|line| !line.contains("admin"));
        fs::write(path, kept.map(|line| format!("{line}\n")).collect::<String>()).unwrap();
    });
    assert!(cut.is_some_and(|fault| fault.contains("was not as it was written")));
}

#[test]
fn what_the_log_says_of_its_own_past_outlives_its_segment() {
    let dir = Scratch::new();
    written(dir.path(), 1);
    fs::remove_file(dir.path().join("head")).unwrap();
    let log = open(dir.path(), &limits());
    flood(&log, 1_000);
    log.close();
    assert_eq!(kinds(dir.path()).get("head_missing"), None, "its segment is gone");
    let findings = verify(dir.path()).unwrap().findings;
    assert_eq!(findings.iter().map(|found| found.kind.as_str()).collect::<Vec<_>>(), ["head_missing"]);
}

#[test]
fn what_is_carried_over_is_bounded() {
    let dir = Scratch::new();
    let log = open(dir.path(), &limits());
    let wanted = 100;
    (0..wanted).for_each(|number| assert!(log.append(&admin(&number.to_string()), Urgency::Ordinary).is_ok()));
    flood(&log, 1_000);
    log.close();
    verify(dir.path()).unwrap();
    let present = admins(dir.path()).len();
    assert!((1..wanted).contains(&present), "{present}");
}

#[test]
fn what_is_not_carried_over_is_counted() {
    let dir = Scratch::new();
    let log = open(dir.path(), &limits());
    (0..100).for_each(|number| assert!(log.append(&admin(&number.to_string()), Urgency::Ordinary).is_ok()));
    log.close();
    // One that has only such records goes.
    let bytes: u64 = segments(dir.path()).iter().map(|path| fs::metadata(path).unwrap().len()).sum();
    open(dir.path(), &Limits { total_bytes_max: bytes, ..limits() }).close();
    let removed = records(dir.path()).into_iter().find(|record| record["kind"] == "removed").unwrap();
    assert!(removed["kept"].as_u64() > Some(0) && removed["dropped"].as_u64() > Some(0), "{removed}");
    verify(dir.path()).unwrap();
}

#[test]
fn records_of_two_floods_at_once_are_carried_over_while_others_are_written() {
    let dir = Scratch::new();
    let log = open(dir.path(), &limits());
    log.append(&admin("first"), Urgency::Ordinary).unwrap();
    let writers: Vec<_> = (0..2)
        .map(|_| {
            let log = log.clone();
            std::thread::spawn(move || flood(&log, 1_000))
        })
        .collect();
    writers.into_iter().for_each(|writer| writer.join().unwrap());
    log.close();
    verify(dir.path()).unwrap();
    assert_eq!(admins(dir.path()), ["first"]);
}
