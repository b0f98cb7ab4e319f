//! Callers who ask for large answers and do not read them: what is held for them has a bound, and what is beyond ends
//! with Unavailable, or at the cost of whoever holds most.

use std::fs;

use super::{
    SOON,
    common::{
        Daemon, eventually,
        h2raw::{Head, PREFACE, Raw, SETTINGS, UNAVAILABLE, frame, message},
        messages::JwtBundles,
        own_uid,
    },
    registered,
};

const X509_SVID: &str = "/SpiffeWorkloadAPI/FetchX509SVID";
const JWT_BUNDLES: &str = "/SpiffeWorkloadAPI/FetchJWTBundles";
const BYTES_MAX: u64 = 4 << 20;
const LIMITS: &str = "[limits]\nanswer_bytes_per_uid = \"4MiB\"\nanswer_bytes_uid_0 = \"4MiB\"\n";
const STREAMS: usize = 14;

/// A JWK Set of some 460 KB.
fn large() -> Vec<u8> {
    let key = |number: u32| {
        serde_json::json!({
            "kty": "EC", "use": "jwt-svid", "crv": "P-256", "kid": format!("{number:04}{}", "k".repeat(4_000)),
            "x": "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4", "y": "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM",
        })
    };
    serde_json::json!({ "keys": (0..110).map(key).collect::<Vec<_>>() }).to_string().into_bytes()
}

/// Sets the bundle of `other.test`.
fn enlarge(daemon: &Daemon) {
    let file = daemon.home().join("other.json");
    fs::write(&file, large()).unwrap();
    daemon.cli(&["bundle", "set", "other.test", file.to_str().unwrap()]);
}

fn delete(daemon: &Daemon) {
    daemon.cli(&["bundle", "delete", "other.test", "--force"]);
}

/// A daemon where we federate with `other.test`, whose bundle is set; and the bytes of a frame with it.
fn federated() -> (Daemon, u64) {
    let daemon = registered(LIMITS);
    daemon.entry("spiffe://example.org/more", &[&own_uid()], &["--federates-with", "other.test"]);
    enlarge(&daemon);
    let mut raw = Raw::connect(&daemon.socket()).unwrap();
    let stream = raw.call(&Head::new(JWT_BUNDLES), &message(&[])).unwrap();
    let bytes = raw.next_message(stream).unwrap().unwrap();
    assert!(<JwtBundles as prost::Message>::decode(&*bytes).unwrap().bundles.contains_key("spiffe://other.test"));
    drop(raw);
    eventually("the reader has left", || held_by(&daemon) < 4_096);
    (daemon, u64::try_from(bytes.len()).unwrap() + 5)
}

/// A client without an HPACK table, whose windows are those of the protocol, and stay as they are: 64 KiB for all streams together.
fn narrow(daemon: &Daemon) -> Raw {
    let mut raw = Raw::silent(&daemon.socket()).unwrap();
    raw.send(&[PREFACE, &frame(SETTINGS, 0, 0, &[0, 1, 0, 0, 0, 0])].concat()).unwrap();
    raw
}

fn calls(raw: &mut Raw) -> Vec<u32> {
    (0..STREAMS).map(|_| raw.call(&Head::new(JWT_BUNDLES), &message(&[])).unwrap()).collect()
}

/// Reads what comes until as many calls have ended as must, and looks how; those that go on are left unread.
fn ended(raw: &mut Raw, streams: &[u32], expected: usize) {
    let over = |raw: &Raw| streams.iter().filter(|stream| raw.answers.get(stream).is_some_and(|it| it.ended)).count();
    while over(raw) < expected {
        raw.pump().unwrap();
    }
    for stream in streams {
        let Some(answer) = raw.answers.get(stream).filter(|answer| answer.ended) else { continue };
        assert_eq!(answer.code(), Some(UNAVAILABLE), "{answer:?}");
        // NO_ERROR when it was refused before the request had come whole (RFC 9113 §8.1).
        assert!(matches!(answer.reset, None | Some(0)), "{answer:?}");
        let words = answer.words();
        assert!(words.contains("answer_bytes_per_uid; read the answers that wait"), "{words}");
    }
}

fn held_by(daemon: &Daemon) -> u64 {
    daemon.status().sum("answer_bytes", "")
}

/// So many are held, and no more; everything is given back with the connection.
fn look_and_leave(daemon: &Daemon, raw: Raw, fit: usize, frame: u64) {
    let status = daemon.status();
    let refused = u64::try_from(STREAMS - fit).unwrap();
    assert_eq!(status.sum("limits_met", "answer_bytes_per_uid"), refused, "{:?}", status.counters);
    let (held, fit) = (held_by(daemon), u64::try_from(fit).unwrap());
    // The status itself is an answer that has not left.
    assert!((fit * frame..fit * frame + 4_096).contains(&held) && held <= BYTES_MAX, "{held} for {fit} of {frame}");
    drop(raw);
    eventually("everything is given back", || held_by(daemon) < 4_096);
    daemon.must_serve("unread answers");
}

fn fitting(frame: u64) -> usize {
    let fit = usize::try_from(BYTES_MAX / frame).unwrap();
    assert!((2..STREAMS).contains(&fit), "{frame}");
    fit
}

#[test]
fn answers_that_nobody_reads_have_a_bound() {
    let (daemon, frame) = federated();
    let fit = fitting(frame);
    let mut raw = narrow(&daemon);
    let streams = calls(&mut raw);
    ended(&mut raw, &streams, STREAMS - fit);
    look_and_leave(&daemon, raw, fit, frame);
}

#[test]
fn updates_that_nobody_reads_have_a_bound() {
    let (daemon, frame) = federated();
    let fit = fitting(frame);
    delete(&daemon);
    let mut raw = narrow(&daemon);
    let streams = calls(&mut raw);
    for stream in &streams {
        assert!(raw.next_message(*stream).unwrap().is_ok());
    }
    enlarge(&daemon);
    ended(&mut raw, &streams, STREAMS - fit);
    // One more change: a stream with an unsent message makes no other.
    delete(&daemon);
    look_and_leave(&daemon, raw, fit, frame);
}

#[test]
fn who_reads_nothing_is_signed_nothing_and_makes_room_for_others_of_its_user() {
    let (daemon, frame) = federated();
    let fit = fitting(frame);
    let mut silent = narrow(&daemon);
    let streams = calls(&mut silent);
    ended(&mut silent, &streams, STREAMS - fit);
    let issued = daemon.status().sum("issued", "");
    let more: Vec<_> = (0..20).map(|_| silent.call(&Head::new(X509_SVID), &message(&[])).unwrap()).collect();
    ended(&mut silent, &more, more.len());
    assert_eq!(daemon.status().sum("issued", ""), issued, "nothing was signed for it");
    let mut reader = Raw::connect(&daemon.socket()).unwrap();
    for path in [JWT_BUNDLES, X509_SVID] {
        let stream = reader.call(&Head::new(path), &message(&[])).unwrap();
        assert!(reader.next_message(stream).unwrap().is_ok(), "{path}");
    }
    assert!(silent.is_closed_within(SOON));
    eventually("what it did not read is given back", || held_by(&daemon) < 4_096);
}
