//! Entries that come and go while streams are open (ADV-RPC 17).

use std::{
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use prost::Message as _;

use super::common::{
    Daemon,
    h2raw::{ACK, FETCH_BUNDLES, FETCH_SVID, Head, PERMISSION_DENIED, PING, Raw, frame, message},
    messages::{JwtOrder, ToValidate, Watch},
    own_uid,
};

/// What is promised is 100 ms; a loaded machine with a debug build gets more.
const BOUND: Duration = Duration::from_secs(5);

#[test]
fn a_removed_entry_ends_all_streams_of_its_caller() {
    let daemon = Daemon::start("");
    let id = daemon.entry("spiffe://example.org/me", &[&own_uid()], &[]);
    let mut raw = Raw::connect(&daemon.socket()).unwrap();
    let streams: Vec<_> = (0..5).map(|_| raw.call(&Head::new(FETCH_SVID), &message(&[])).unwrap()).collect();
    for stream in &streams {
        raw.next_message(*stream).unwrap().unwrap();
    }
    let (sender, ended) = mpsc::channel();
    thread::spawn(move || {
        for stream in streams {
            let answer = raw.next_message(stream).unwrap().expect_err("no message comes any more");
            sender.send((Instant::now(), answer)).unwrap();
        }
    });
    daemon.cli(&["entry", "remove", &id]);
    let removed = Instant::now();
    for _ in 0..5 {
        let (at, answer) = ended.recv_timeout(BOUND).expect("a stream ends");
        println!("removed → ended: {:?} after the verb was done", at.saturating_duration_since(removed));
        assert_eq!(answer.code(), Some(PERMISSION_DENIED), "{answer:?}");
        assert_eq!(answer.words(), "no identity issued");
    }
}

/// A caller that keeps the daemon waiting for its answer to the challenge gains nothing by it.
#[test]
fn an_entry_that_goes_while_its_caller_is_asked_gives_nothing() {
    let daemon = Daemon::start("[wit]\nenabled = true\n");
    let path = format!("unix:path:{}", std::env::current_exe().unwrap().canonicalize().unwrap().display());
    let order = JwtOrder { audience: vec!["a".to_owned()], spiffe_id: String::new() }.encode_to_vec();
    let judged = ToValidate { audience: "a".to_owned(), svid: "x".to_owned() }.encode_to_vec();
    for (method, request) in [
        (FETCH_SVID, &[][..]),
        (FETCH_BUNDLES, &[]),
        ("/SpiffeWorkloadAPI/FetchJWTSVID", &order),
        ("/SpiffeWorkloadAPI/FetchJWTBundles", &[]),
        ("/SpiffeWorkloadAPI/ValidateJWTSVID", &judged),
        ("/SpiffeWorkloadAPI/FetchWITSVID", &[]),
        ("/SpiffeWorkloadAPI/FetchWITBundles", &[]),
    ] {
        let id = daemon.entry("spiffe://example.org/me", &[&own_uid(), &path], &[]);
        let mut raw = Raw::connect(&daemon.socket()).unwrap();
        let stream = raw.call(&Head::new(method), &message(request)).unwrap();
        let asked = loop {
            let came = raw.next_frame().unwrap();
            if came.kind == PING && came.flags == 0 {
                break came;
            }
        };
        daemon.cli(&["entry", "remove", &id]);
        let issued = daemon.status().sum("issued", "");
        raw.send(&frame(PING, ACK, 0, &asked.payload)).unwrap();
        let answer = raw.next_message(stream).unwrap().expect_err(method);
        assert_eq!(answer.code(), Some(PERMISSION_DENIED), "{method}: {answer:?}");
        assert_eq!(daemon.status().sum("issued", ""), issued, "{method}: nothing was signed for it");
    }
}

#[test]
fn an_added_entry_reaches_an_open_stream() {
    let daemon = Daemon::start("");
    daemon.entry("spiffe://example.org/one", &[&own_uid()], &[]);
    let mut watch = Watch::open(&daemon.socket()).unwrap();
    let first = watch.next().unwrap().unwrap();
    assert_eq!(first.len(), 1);
    let (sender, came) = mpsc::channel();
    thread::spawn(move || {
        let next = watch.next().unwrap().unwrap();
        sender.send((Instant::now(), next)).unwrap();
    });
    daemon.entry("spiffe://example.org/two", &[&own_uid()], &[]);
    let added = Instant::now();
    let (at, next) = came.recv_timeout(BOUND).expect("the stream learns of it");
    println!("added → sent: {:?} after the verb was done", at.saturating_duration_since(added));
    let ids: Vec<_> = next.iter().map(|svid| svid.spiffe_id.as_str()).collect();
    assert_eq!(ids, ["spiffe://example.org/one", "spiffe://example.org/two"]);
}

#[test]
fn an_entry_of_another_neither_signs_nor_sends() {
    let daemon = Daemon::start("");
    daemon.entry("spiffe://example.org/me", &[&own_uid()], &[]);
    let mut watch = Watch::open(&daemon.socket()).unwrap();
    watch.next().unwrap().unwrap();
    let issued = daemon.status().sum("issued", "");
    for at in 0..20 {
        daemon.entry(&format!("spiffe://example.org/other/{at}"), &["unix:uid:4294967294"], &[]);
    }
    assert_eq!(daemon.status().sum("issued", ""), issued);
    watch.raw.socket.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    assert!(watch.next().is_err(), "nothing comes");
}
