//! What a stream says, when, in which order, and how it ends.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use super::{
    common::{
        Daemon, Folder, eventually,
        h2raw::{FETCH_SVID, Head, PERMISSION_DENIED, UNAVAILABLE, message},
        messages::{self, Bundles, JwtBundles, Nothing, Watch},
        own_uid,
    },
    rows::Rows,
    subject::{Stream, Subject},
    tokens,
    wire::{METHODS, X509Answer},
    x509::{fetch, split},
};

/// Long enough for an agent that asks its server every five seconds.
const QUIET: Duration = Duration::from_secs(8);

fn ids(answer: &X509Answer) -> BTreeSet<String> {
    answer.svids.iter().map(|svid| svid.spiffe_id.clone()).collect()
}

fn named(paths: &[&str]) -> BTreeSet<String> {
    paths.iter().map(|path| format!("spiffe://example.org/{path}")).collect()
}

/// WAPI-05, WAPI-11: a new stream has its first message without waiting for a change, also the second on a connection.
#[test]
fn each_stream_has_its_first_message_at_once() {
    let subject = Subject::with(&[("one", "")]);
    let mut rows = Rows::of("each_stream_has_its_first_message_at_once", &subject);
    let mut raw = subject.connect();
    for method in ["FetchX509SVID", "FetchX509Bundles", "FetchX509SVID"] {
        let begin = Instant::now();
        let stream = raw.call(&Head::new(&super::wire::path(method)), &message(&[])).unwrap();
        let is_there = raw.next_message(stream).is_ok_and(|next| next.is_ok());
        rows.must("WAPI-05 at once", is_there && begin.elapsed() < QUIET, begin.elapsed());
    }
    rows.settle();
}

/// WAPI-04, WAPI-06, WAPI-08, WAPI-42, WAPI-54: one message for a change, the whole state in it, and none without one.
#[test]
fn a_change_is_one_message_with_everything_in_it() {
    let subject = Subject::with(&[("one", "")]);
    let mut rows = Rows::of("a_change_is_one_message_with_everything_in_it", &subject);
    let mut stream = Stream::open(&subject, "FetchX509SVID", &Nothing {});
    let mut bundles = Stream::open(&subject, "FetchX509Bundles", &Nothing {});
    rows.equal("WAPI-04 first", ids(&stream.next().unwrap()), named(&["one"]));
    bundles.next::<Bundles>().unwrap();
    subject.add("two", "");
    let with_two = named(&["one", "two"]);
    rows.equal("WAPI-06 an identity more, and at once that", ids(&stream.next().unwrap()), with_two.clone());
    // Whoever has said something else before says that now, or has said it several times.
    while let Some(next) = stream.within::<X509Answer>(Duration::from_secs(1)) {
        rows.equal("WAPI-04 in the end", ids(&next.unwrap()), with_two.clone());
        rows.must("WAPI-06 one message for one change", false, "another one");
    }
    subject.remove("two");
    rows.equal("WAPI-42 an identity less", ids(&stream.next().unwrap()), named(&["one"]));
    rows.equal("WAPI-42 also for a new stream", fetch(&subject).len(), 1);
    let more = stream.within::<X509Answer>(QUIET).map(|next| next.map(|answer| ids(&answer)));
    rows.must("WAPI-06 and nothing more", more.is_none(), more);
    let of_bundles = bundles.within::<Bundles>(Duration::from_millis(100));
    rows.must("WAPI-54 nothing for bundles that did not change", of_bundles.is_none(), of_bundles);
    rows.settle();
}

/// WAPI-13, WAPI-12, WAPI-52, WAPI-74, ADV-RPC-17.
#[test]
fn who_loses_the_last_identity_hears_it_on_every_stream() {
    let subject = Subject::with(&[("one", "")]);
    let mut rows = Rows::of("who_loses_the_last_identity_hears_it_on_every_stream", &subject);
    let mut open = Vec::new();
    for method in ["FetchX509SVID", "FetchX509SVID", "FetchX509Bundles", "FetchJWTBundles"] {
        let mut stream = Stream::open(&subject, method, &Nothing {});
        stream.next::<Nothing>().unwrap();
        open.push((method, stream));
    }
    subject.remove("one");
    for (method, mut stream) in open {
        let end = loop {
            match stream.next::<JwtBundles>() {
                // SPIRE may say the last state once more; an empty one it must not.
                Ok(_) => {}
                Err(end) => break end,
            }
        };
        rows.equal(format!("ADV-RPC-17 {method}"), end.code(), Some(PERMISSION_DENIED));
        rows.equal(format!("WAPI-17 {method}"), end.words().as_str(), "no identity issued");
    }
    rows.settle();
}

/// WAPI-38: the same order each time, and whoever comes later does not take the first place.
#[test]
fn the_order_stays_and_the_first_stays_first() {
    let subject = Subject::with(&[("one", ""), ("two", "other")]);
    let mut rows = Rows::of("the_order_stays_and_the_first_stays_first", &subject);
    let order = || fetch(&subject).into_iter().map(|svid| svid.spiffe_id).collect::<Vec<_>>();
    let before = order();
    rows.equal("WAPI-38 the oldest is first", before[0].as_str(), "spiffe://example.org/one");
    for _ in 0..50 {
        rows.equal("WAPI-38 the same each time", order(), before.clone());
    }
    subject.add("three", "");
    eventually("the third is there", || order().len() == 3);
    let with_third = order();
    rows.equal("WAPI-38 the first stays first", &with_third[0], &before[0]);
    let tokens = tokens::fetch(&subject, &["a"], "").unwrap();
    let of_tokens: Vec<_> = tokens.into_iter().map(|token| token.spiffe_id).collect();
    rows.equal("WAPI-60 tokens in the same order", of_tokens, with_third);
    rows.settle();
}

/// WAPI-38 over a restart, SID-16: order and identities are what they were.
#[test]
fn the_order_outlives_a_restart() {
    let Some(subject) = Subject::configured("", &[]) else { return };
    drop(subject);
    let folder = Folder::new();
    let mut daemon = Daemon::start_in(folder.path(), &[]);
    for path in ["m", "z", "a", "k"] {
        daemon.entry(&format!("spiffe://example.org/{path}"), &[&own_uid()], &[]);
    }
    let order = |daemon: &Daemon| {
        messages::fetch(&daemon.socket()).unwrap().unwrap().into_iter().map(|svid| svid.spiffe_id).collect::<Vec<_>>()
    };
    let before = order(&daemon);
    assert_eq!(before, ["m", "z", "a", "k"].map(|path| format!("spiffe://example.org/{path}")));
    assert!(daemon.stop());
    let daemon = Daemon::start_in(folder.path(), &[]);
    assert_eq!(order(&daemon), before);
}

/// WAPI-37, WAPI-111, ADV-RPC-34.
#[test]
fn no_hint_comes_twice_in_an_answer() {
    let subject = Subject::with(&[("one", "same"), ("two", "other"), ("three", ""), ("four", "")]);
    let mut rows = Rows::of("no_hint_comes_twice_in_an_answer", &subject);
    if let Some(daemon) = subject.ours() {
        // Refused at once, or left out of the answer, where the selectors are others.
        daemon.try_cli(&["entry", "add", "spiffe://example.org/five", "-s", &own_uid(), "--hint", "same"]);
        let gid = format!("unix:gid:{}", nix::unistd::getgid());
        daemon.try_cli(&["entry", "add", "spiffe://example.org/six", "-s", &own_uid(), "-s", &gid, "--hint", "same"]);
    }
    let hints: Vec<_> = fetch(&subject).into_iter().map(|svid| svid.hint).collect();
    let of_tokens: Vec<_> = tokens::fetch(&subject, &["a"], "").unwrap().into_iter().map(|one| one.hint).collect();
    for (row, hints) in [("WAPI-37 X.509", hints), ("WAPI-111 JWT", of_tokens)] {
        let mut named: Vec<_> = hints.iter().map(String::as_str).filter(|hint| !hint.is_empty()).collect();
        named.sort();
        rows.equal(row, named, vec!["other", "same"]);
        rows.equal("WAPI-37 empty ones may repeat", hints.iter().filter(|hint| hint.is_empty()).count(), 2);
    }
    rows.settle();
}

/// WAPI-19, WAPI-41, XLEAF-12, XLEAF-13: through renewals each message leads to its own bundle and is far from its end.
#[test]
fn each_renewal_is_whole_and_far_from_its_end() {
    let Some(subject) = Subject::configured("", &[]) else { return };
    let daemon = subject.ours().unwrap();
    daemon.entry("spiffe://example.org/one", &[&own_uid()], &["--x509-ttl", "6s"]);
    let mut stream = Stream::open(&subject, "FetchX509SVID", &Nothing {});
    let mut serials = BTreeSet::new();
    for _ in 0..3 {
        let svid = stream.next::<X509Answer>().unwrap().svids.remove(0);
        let (chain, bundle) = (split(&svid.chain), split(&svid.bundle));
        let last = &chain[chain.len() - 1];
        assert!(bundle.iter().any(|root| last.verify_signature(Some(root.public_key())).is_ok()), "WAPI-19");
        let (begin, end) = (chain[0].validity().not_before.timestamp(), chain[0].validity().not_after.timestamp());
        let now = super::forge::now();
        // Half of six seconds, less one for the rounding of certificates.
        assert!(begin <= now && end - now >= 2, "WAPI-41: {begin}..{end} at {now}");
        assert!(serials.insert(chain[0].raw_serial_as_string()), "XLEAF-12");
    }
}

/// WAPI-14, CLI-01, CLI-02, WAPI-15: a daemon that stops says so on each stream, before the connection ends.
#[test]
fn a_daemon_that_stops_is_unavailable_on_every_stream() {
    let Some(subject) = Subject::configured("[wit]\nenabled = true\n", &[("one", "")]) else { return };
    let Subject::Ours(mut daemon) = subject else { return };
    let socket = daemon.socket();
    let mut open: Vec<_> = METHODS
        .iter()
        .filter(|method| !["FetchJWTSVID", "ValidateJWTSVID"].contains(method))
        .filter_map(|method| {
            let mut raw = super::common::h2raw::Raw::connect(&socket).unwrap();
            let stream = raw.call(&Head::new(&super::wire::path(method)), &message(&[])).unwrap();
            raw.next_message(stream).unwrap().ok().map(|_| (method, raw, stream))
        })
        .collect();
    assert_eq!(open.len(), 5, "streams are open");
    assert!(daemon.stop());
    for (method, raw, stream) in &mut open {
        let end = raw.next_message(*stream).unwrap().unwrap_err();
        assert_eq!((end.code(), end.reset), (Some(UNAVAILABLE), None), "{method}: {end:?}");
    }
    assert!(!socket.exists(), "CLI-02: the socket is gone");
}

/// WAPI-25, CLI-24: who takes one message and leaves costs nothing that stays.
#[test]
fn taking_one_message_and_leaving_is_ordinary() {
    let subject = Subject::with(&[("one", "")]);
    let mut rows = Rows::of("taking_one_message_and_leaving_is_ordinary", &subject);
    let before = subject.ours().map(Daemon::log);
    let mut raw = subject.connect();
    for _ in 0..super::common::rounds(1_000) {
        let stream = raw.call(&Head::new(FETCH_SVID), &message(&[])).unwrap();
        let next = raw.next_message(stream);
        rows.must("CLI-24 each is served", matches!(next, Ok(Ok(_))), next);
        raw.reset(stream).unwrap();
    }
    if let Some(daemon) = subject.ours() {
        // The question itself is one.
        eventually("no stream is left", || daemon.status().streams == 1);
        let log = daemon.log();
        let since = log.strip_prefix(before.as_deref().unwrap_or_default()).unwrap_or(&log);
        rows.must("WAPI-25 nothing is logged as an error", !since.contains("ERROR") && !since.contains("WARN"), since);
    }
    rows.settle();
}

/// WAPI-18, WAPI-32: the largest answer is one that clients take: 100 identities at most, under 4 MiB.
#[test]
fn the_largest_answer_is_one_that_clients_take() {
    let Some(subject) = Subject::configured("", &[]) else { return };
    let daemon = subject.ours().unwrap();
    let folder = Folder::new();
    let file = folder.path().join("entries.toml");
    let long = "x".repeat(1_900);
    let names: Vec<_> = (0..16).map(|at| format!("\"{}.n{at}.example.org\"", "d".repeat(60))).collect();
    let entries: String = (0..110)
        .map(|at| {
            format!(
                "[[entry]]\nspiffe_id = \"spiffe://example.org/{at}/{long}\"\nselectors = [\"{}\"]\ndns_names = [{}]\n",
                own_uid(),
                names.join(", ")
            )
        })
        .collect();
    std::fs::write(&file, entries).unwrap();
    daemon.cli(&["apply", "-f", file.to_str().unwrap()]);
    let mut watch = Watch::open(&daemon.socket()).unwrap();
    let message = watch.raw.next_message(watch.stream).unwrap().unwrap();
    assert!(message.len() < 4 << 20, "WAPI-18: {} bytes", message.len());
    let answer = <X509Answer as prost::Message>::decode(&*message).unwrap();
    assert_eq!(answer.svids.len(), 100, "rust-spiffe refuses more");
}
