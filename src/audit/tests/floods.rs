//! Workloads that ask for more than is listed.

use super::*;

/// Little for each party, and not much for all.
fn tight() -> Limits {
    Limits { bytes_per_minute: 4_096, total_bytes_max: 256 << 10, segment_bytes_max: 32 << 10, ..small() }
}

fn of_kind(dir: &Path, kind: &str) -> Vec<serde_json::Value> {
    records(dir).into_iter().filter(|record| record["kind"] == kind).collect()
}

fn to(uid: u32, serial: u32) -> Record {
    let Record::Issued { credential, renewal, identities, .. } = issued(&serial.to_string(), false) else {
        panic!("it is issued")
    };
    Record::Issued { caller: caller(uid), credential, renewal, identities }
}

#[tokio::test(start_paused = true)]
async fn every_credential_is_in_a_line_or_in_a_count_that_was_announced_before() {
    let dir = Scratch::new();
    let log = Log::in_test(dir.path(), tight(), Clock::following_tokio()).unwrap();
    let mut said = 0;
    for serial in 0..100 {
        let Sequence(number) = log.append(&to(1000, serial), Urgency::Ordinary).unwrap();
        // What is answered is a record that speaks of it, and that is there.
        let record = records(dir.path()).into_iter().find(|record| record["seq"] == number).unwrap();
        match record["kind"].as_str().unwrap() {
            "issued" => assert_eq!(record["identities"][0]["serial"], serial.to_string()),
            kind => assert_eq!((kind, &record["credential"]), ("issued_counting", &"x509-svid".into())),
        }
        said += 1;
    }
    let listed = of_kind(dir.path(), "issued").len();
    assert!((3..20).contains(&listed), "{listed}");
    assert!(of_kind(dir.path(), "issued_more").is_empty(), "the minute is not over");
    tokio::time::advance(Duration::from_secs(61)).await;
    log.append(&to(1000, 100), Urgency::Ordinary).unwrap();
    let more = of_kind(dir.path(), "issued_more");
    assert_eq!((more.len(), of_kind(dir.path(), "issued").len()), (1, listed + 1));
    assert_eq!(more[0]["count"], said - listed);
    assert_eq!(more[0]["of"], of_kind(dir.path(), "issued_counting")[0]["seq"]);
    assert_eq!(more[0]["rows"][0]["count"], said - listed);
    log.close();
    let report = verify(dir.path()).unwrap();
    assert_eq!((report.counted, report.findings), (u64::try_from(said - listed).unwrap(), Vec::new()));
}

/// The records that a flood of one person leaves, and another's.
#[tokio::test(start_paused = true)]
async fn nobody_pushes_out_what_was_issued_to_others() {
    let dir = Scratch::new();
    // The sums of five minutes are more than `tight` has room for.
    let limits = Limits { total_bytes_max: 512 << 10, ..tight() };
    let log = Log::in_test(dir.path(), limits, Clock::following_tokio()).unwrap();
    let theirs = |dir: &Path| of_kind(dir, "issued").iter().any(|record| record["caller"]["uid"] == 8);
    log.append(&to(8, 0), Urgency::Ordinary).unwrap();
    for minute in 0..5 {
        for uid in 100_000..100_500 {
            log.append(&to(uid, minute), Urgency::Ordinary).unwrap();
            log.append(&refused(100_000), Urgency::Ordinary).unwrap();
        }
        assert!(theirs(dir.path()), "minute {minute}");
        tokio::time::advance(Duration::from_secs(60)).await;
    }
    log.append(&to(8, 1), Urgency::Ordinary).unwrap();
    let counted: u64 = of_kind(dir.path(), "issued_more").iter().filter_map(|record| record["count"].as_u64()).sum();
    assert_eq!(counted + u64::try_from(of_kind(dir.path(), "issued").len()).unwrap(), 2 + 5 * 500);
    log.close();
    verify(dir.path()).unwrap();
}

#[test]
fn a_count_that_was_not_told_is_found() {
    let (dir, killed) = (Scratch::new(), Scratch::new());
    let log = open(dir.path(), &tight());
    for serial in 0..100 {
        log.append(&to(1000, serial), Urgency::Ordinary).unwrap();
    }
    // As kill -9 leaves it.
    copy(dir.path(), killed.path());
    let report = verify(killed.path()).unwrap();
    assert!(report.findings.iter().any(|finding| finding.kind == "issued_counting"), "{report:?}");
    log.close();
    let report = verify(dir.path()).unwrap();
    assert!(report.findings.is_empty() && report.counted > 0, "{report:?}");
}

#[test]
fn a_record_of_the_most_and_longest_identities_is_written() {
    let dir = Scratch::new();
    let log = open(dir.path(), &small());
    let Record::Issued { credential, renewal, mut identities, .. } = issued("0", false) else { panic!("it is issued") };
    let longest = format!("spiffe://example.org/{}", "a".repeat(2_048 - "spiffe://example.org/".len()));
    identities[0].spiffe_id = Id::parse(&longest).unwrap();
    identities[0].serial = "f".repeat(40);
    let one = || IdentityIssued {
        spiffe_id: identities[0].spiffe_id.clone(),
        entry: identities[0].entry.clone(),
        serial: identities[0].serial.clone(),
        access: None,
        ..identities[0]
    };
    let identities = (0..IDENTITIES_PER_RECORD).map(|_| one()).collect();
    let exe = Some("\u{1}".repeat(4_096).into());
    let caller = Caller { exe, ..caller(1000) };
    log.append(&Record::Issued { caller, credential, renewal, identities }, Urgency::Ordinary).unwrap();
    log.close();
    verify(dir.path()).unwrap();
}
