//! Proxies that ask for secrets by SDS, and what they may do wrong: each is told what it lacks, and nobody else waits.

use std::{
    thread,
    time::{Duration, Instant},
};

use prost::Message as _;

use super::{
    SOON,
    common::{
        Daemon, eventually,
        h2raw::{DATA, Head, INVALID_ARGUMENT, PERMISSION_DENIED, Raw, UNAVAILABLE, frame, message},
        own_uid,
        secrets::{
            Any, DELTA_SECRETS, DeltaRequest, DeltaResponse, Error, FETCH_SECRETS, Request, Response, STREAM_SECRETS,
            ask, envoy, open,
        },
    },
    registered,
};

const ME: &str = "spiffe://example.org/me";
/// gRPC's code for a message that is too long.
const OUT_OF_RANGE: u32 = 11;

fn status(daemon: &Daemon) -> serde_json::Value {
    serde_json::from_str(&daemon.cli(&["status", "--output", "json"])).unwrap()
}

/// How a stream ends that says this.
fn end(daemon: &Daemon, request: &Request) -> (Option<u32>, String) {
    let (mut raw, asking) = ask(&daemon.socket(), request).unwrap();
    let answer = asking.next::<Response>(&mut raw).unwrap().unwrap_err();
    (answer.code(), answer.words())
}

#[test]
fn a_proxy_needs_no_header_and_is_answered_by_name() {
    let daemon = registered("");
    let names = ["default", ME, "ROOTCA", "spiffe://example.org", "ALL"];
    let request = Request { node: Some(envoy("web-1")), ..Request::of(&names) };
    let (mut raw, asking) = ask(&daemon.socket(), &request).unwrap();
    let first: Response = asking.next(&mut raw).unwrap().unwrap();
    let mut sorted = names;
    sorted.sort_unstable();
    assert_eq!(first.names(), sorted);
    assert_eq!(first.chain("default"), first.chain(ME), "one identity has one certificate");
    // On another stream, too.
    let other = open(&mut raw, STREAM_SECRETS).unwrap();
    other.say(&mut raw, &Request::of(&[ME])).unwrap();
    let second: Response = other.next(&mut raw).unwrap().unwrap();
    assert_eq!(second.chain(ME), first.chain(ME));
    // What is sent is told from what was taken.
    let taken = |daemon: &Daemon| {
        let streams = status(daemon)["proxies"].as_array().unwrap().clone();
        let told = streams.iter().find(|one| one["node"] == "web-1").cloned().unwrap();
        let secrets = told["secrets"].as_array().unwrap().clone();
        secrets.iter().filter(|one| one["sent"] == one["taken"]).count()
    };
    assert_eq!(taken(&daemon), 0);
    asking.say(&mut raw, &Request { node: Some(Vec::new()), ..request.took(&first.nonce) }).unwrap();
    eventually("the answer is taken", || taken(&daemon) == names.len());
    // Any other call does need it.
    let refused = raw.ask(&Head::bare("/SpiffeWorkloadAPI/FetchX509SVID")).unwrap();
    assert_eq!(refused.code(), Some(INVALID_ARGUMENT));
    for path in ["/envoy.service.secret.v3.SecretDiscoveryServiceX/StreamSecrets", "/grpc.health.v1.Health/Check"] {
        assert_eq!(raw.ask(&Head::bare(path)).unwrap().code(), Some(INVALID_ARGUMENT), "{path}");
    }
    let fetch = raw.call(&Head::bare(FETCH_SECRETS), &message(&Request::of(&["ROOTCA"]).encode_to_vec())).unwrap();
    let fetched = Response::decode(&*raw.finish(fetch).unwrap().messages[0]).unwrap();
    assert_eq!((fetched.names(), fetched.nonce.as_str()), (vec!["ROOTCA".to_owned()], ""));
    let fetch = raw.call(&Head::bare(FETCH_SECRETS), &message(&Request::of(&["odd"]).encode_to_vec())).unwrap();
    assert_eq!(raw.finish(fetch).unwrap().code(), Some(PERMISSION_DENIED));
}

#[test]
fn what_comes_to_exist_is_served_soon_and_what_is_taken_away_is_said() {
    let daemon = registered("");
    let (mut raw, asking) = ask(&daemon.socket(), &Request::of(&["spiffe://example.org/later", "ROOTCA"])).unwrap();
    let first: Response = asking.next(&mut raw).unwrap().unwrap();
    assert_eq!(first.names(), ["ROOTCA"]);
    asking.say(&mut raw, &Request::of(&["spiffe://example.org/later", "ROOTCA"]).took(&first.nonce)).unwrap();
    let told = daemon.cli(&["explain", "--pid", &std::process::id().to_string()]);
    assert!(told.contains("spiffe://example.org/later"), "{told}");
    let id = daemon.entry("spiffe://example.org/later", &[&own_uid()], &[]);
    let begin = Instant::now();
    let second: Response = asking.next(&mut raw).unwrap().unwrap();
    println!("served {:?} after its entry was made", begin.elapsed());
    assert_eq!(second.names(), ["ROOTCA", "spiffe://example.org/later"]);
    daemon.cli(&["entry", "remove", id.trim()]);
    let ended = asking.next::<Response>(&mut raw).unwrap().unwrap_err();
    assert_eq!(ended.code(), Some(PERMISSION_DENIED));
    assert!(ended.words().contains("spiffe://example.org/later not given"), "{}", ended.words());
    // The same connection, as Envoy does.
    let again = open(&mut raw, DELTA_SECRETS).unwrap();
    let more = vec!["spiffe://example.org/later".to_owned()];
    again.say(&mut raw, &DeltaRequest { more, ..DeltaRequest::default() }).unwrap();
    daemon.entry("spiffe://example.org/later", &[&own_uid()], &[]);
    let served: DeltaResponse = again.next(&mut raw).unwrap().unwrap();
    assert_eq!(served.resources[0].name, "spiffe://example.org/later");
    daemon.must_serve("secrets");
}

#[test]
fn who_has_no_entry_waits_and_gets_nobody_to_trust() {
    let daemon = Daemon::start("");
    let (mut raw, asking) = ask(&daemon.socket(), &Request::of(&["default", "ROOTCA"])).unwrap();
    eventually("it is told that it waits", || {
        status(&daemon)["proxies"][0]["waits_for"].as_array().is_some_and(|all| all.len() == 2)
    });
    daemon.entry(ME, &[&own_uid()], &[]);
    let first: Response = asking.next(&mut raw).unwrap().unwrap();
    assert_eq!(first.names(), ["ROOTCA", "default"]);
    let refused: Vec<_> = daemon.audit().into_iter().filter(|record| record["kind"] == "refused").collect();
    assert_eq!(refused[0]["reasons"], serde_json::json!(["no_entry"]));
}

#[test]
fn a_proxy_acts_for_the_identities_that_its_entry_names_and_no_others() {
    let daemon = registered("");
    for (name, uid) in [("web", "40001"), ("db", "40002")] {
        daemon.entry(&format!("spiffe://example.org/{name}"), &[&format!("unix:uid:{uid}")], &[]);
    }
    let names = ["default", "spiffe://example.org/db", "spiffe://example.org/web"];
    let (mut raw, asking) = ask(&daemon.socket(), &Request::of(&names)).unwrap();
    let first: Response = asking.next(&mut raw).unwrap().unwrap();
    assert_eq!(first.names(), ["default"]);
    let entries: serde_json::Value =
        serde_json::from_str(&daemon.cli(&["entry", "list", "--spiffe-id", ME, "--output", "json"])).unwrap();
    let id = entries["entries"][0]["id"].as_str().unwrap().to_owned();
    daemon.cli(&["entry", "update", &id, "--sds-for", "spiffe://example.org/web"]);
    let second: Response = asking.next(&mut raw).unwrap().unwrap();
    assert_eq!(second.names(), ["default", "spiffe://example.org/web"]);
    // By SDS alone.
    let own = super::common::messages::fetch(&daemon.socket()).unwrap().unwrap();
    assert_eq!(own.len(), 1);
    daemon.cli(&["entry", "update", &id, "--no-sds-for"]);
    let ended = asking.next::<Response>(&mut raw).unwrap().unwrap_err();
    assert_eq!(ended.code(), Some(PERMISSION_DENIED));
}

#[test]
fn what_is_no_request_for_secrets_ends_with_the_right_code() {
    let daemon = registered("");
    let names = |count: usize| (0..count).map(|number| format!("spiffe://example.org/{number}")).collect::<Vec<_>>();
    let many = Request { names: names(1_025), ..Request::of(&[]) };
    assert_eq!(
        end(&daemon, &many),
        (Some(INVALID_ARGUMENT), "a stream can ask for 1024 secrets, this one asks for more".to_owned())
    );
    let long = Request::of(&[&"x".repeat(2_049)]);
    assert_eq!(end(&daemon, &long).0, Some(INVALID_ARGUMENT));
    let cluster =
        Request { type_url: "type.googleapis.com/envoy.config.cluster.v3.Cluster".into(), ..Request::of(&[]) };
    let (code, words) = end(&daemon, &cluster);
    assert!(code == Some(INVALID_ARGUMENT) && words.contains("envoy.config.cluster.v3.Cluster"), "{words}");
    let large = Request { node: Some(envoy("x")), names: vec!["y".repeat(1_999); 120], ..Request::of(&[]) };
    assert_eq!(end(&daemon, &large).0, Some(OUT_OF_RANGE));
    // A thousand names, of which one is something.
    let thousand = Request { names: [names(1_000), vec![ME.to_owned()]].concat(), ..Request::of(&[]) };
    let (mut raw, asking) = ask(&daemon.socket(), &thousand).unwrap();
    assert_eq!(asking.next::<Response>(&mut raw).unwrap().unwrap().names(), [ME]);
    // Garbage, a field of another kind, nothing at all.
    let mut raw = Raw::connect(&daemon.socket()).unwrap();
    for garbage in [&b"\xff\xff\xff\xff"[..], b"\x12\x02\x08\x96", b"\x1a\x03\xff\xfe\xfd"] {
        let asking = open(&mut raw, STREAM_SECRETS).unwrap();
        asking.send(&mut raw, &message(garbage)).unwrap();
        let ended = asking.next::<Response>(&mut raw).unwrap().unwrap_err();
        assert!(matches!(ended.code(), Some(INVALID_ARGUMENT | 13)), "{garbage:?} {ended:?}");
    }
    let asking = open(&mut raw, STREAM_SECRETS).unwrap();
    asking.end(&mut raw).unwrap();
    assert_eq!(asking.next::<Response>(&mut raw).unwrap().unwrap_err().code(), Some(INVALID_ARGUMENT));
    let any = Any { type_url: "x".into(), value: vec![0xff; 100] };
    let odd = open(&mut raw, DELTA_SECRETS).unwrap();
    odd.say(&mut raw, &any).unwrap();
    odd.next::<DeltaResponse>(&mut raw).unwrap().unwrap_err();
    daemon.must_serve("garbage");
}

#[test]
fn names_that_are_asked_for_have_a_bound_for_each_user() {
    let daemon = registered("[limits]\nanswer_bytes_per_uid = \"4MiB\"\nanswer_bytes_uid_0 = \"4MiB\"\n");
    let long = Request {
        names: (0..110).map(|number| format!("{number:03}{}", "n".repeat(2_000))).collect(),
        ..Request::of(&[ME])
    };
    let mut raw = Raw::connect(&daemon.socket()).unwrap();
    let mut refused = 0;
    for _ in 0..40 {
        let asking = open(&mut raw, STREAM_SECRETS).unwrap();
        asking.say(&mut raw, &long).unwrap();
        // Those that wait say nothing: a call after each shows that it was looked at.
        raw.ask(&Head::bare(FETCH_SECRETS)).unwrap();
        let ended = raw.answers.get(&asking.0).filter(|answer| answer.ended);
        if let Some(answer) = ended {
            assert_eq!(answer.code(), Some(UNAVAILABLE), "{answer:?}");
            refused += 1;
        }
    }
    assert!((15..40).contains(&refused), "{refused} of 40");
    drop(raw);
    daemon.must_serve("long names");
}

#[test]
fn a_message_that_does_not_come_whole_ends_its_stream_and_one_that_waits_does_not() {
    let daemon = registered("[limits]\nrequest_seconds = 1\n");
    let mut raw = Raw::connect(&daemon.socket()).unwrap();
    let whole = open(&mut raw, FETCH_SECRETS).unwrap();
    whole.say(&mut raw, &Request::of(&["default"])).unwrap();
    assert_eq!(whole.next::<Response>(&mut raw).unwrap().unwrap_err().code(), Some(UNAVAILABLE), "it does not end");
    let silent = open(&mut raw, STREAM_SECRETS).unwrap();
    assert_eq!(silent.next::<Response>(&mut raw).unwrap().unwrap_err().code(), Some(UNAVAILABLE));
    let asking = open(&mut raw, STREAM_SECRETS).unwrap();
    asking.say(&mut raw, &Request::of(&["default"])).unwrap();
    let first: Response = asking.next(&mut raw).unwrap().unwrap();
    thread::sleep(Duration::from_millis(1_500));
    asking.say(&mut raw, &Request::of(&["default", "ROOTCA"]).took(&first.nonce)).unwrap();
    assert_eq!(asking.next::<Response>(&mut raw).unwrap().unwrap().names(), ["ROOTCA", "default"]);
    let begun = message(&Request::of(&["default"]).encode_to_vec());
    asking.send(&mut raw, &begun[..begun.len() - 1]).unwrap();
    assert_eq!(asking.next::<Response>(&mut raw).unwrap().unwrap_err().code(), Some(UNAVAILABLE));
}

#[test]
fn refusals_are_answered_with_nothing_and_a_storm_of_them_ends_at_the_rate() {
    let daemon = registered("[limits]\nrequests_per_second = 500\n");
    let (mut raw, asking) = ask(&daemon.socket(), &Request::of(&["default"])).unwrap();
    let first: Response = asking.next(&mut raw).unwrap().unwrap();
    let error = Some(Error { code: 13, message: "Failed to load\nprivate key".into() });
    let refusal = Request { error, ..Request::of(&["default"]).took(&first.nonce) };
    asking.say(&mut raw, &refusal).unwrap();
    eventually("the refusal is told", || status(&daemon)["proxies"][0]["refusal"] == "Failed to load\\nprivate key");
    let storm = message(&refusal.encode_to_vec());
    let frames = vec![frame(DATA, 0, asking.0, &storm); 5_000].concat();
    raw.send(&frames).ok();
    // The stream ends with the rate, or the connection does as a flood.
    let ended = asking.next::<Response>(&mut raw);
    assert!(ended.is_err() || ended.unwrap().unwrap_err().code() == Some(UNAVAILABLE));
    daemon.must_serve("a storm of refusals");
    thread::sleep(Duration::from_secs(1));
    let (mut raw, asking) = ask(&daemon.socket(), &Request::of(&["default"])).unwrap();
    assert!(asking.next::<Response>(&mut raw).unwrap().is_ok());
}

#[test]
fn many_secrets_of_one_proxy_are_renewed_without_a_flood() {
    let daemon = registered("[x509]\nttl = \"20s\"\n");
    let mut raw = Raw::connect(&daemon.socket()).unwrap();
    let node = envoy("wide");
    let streams: Vec<_> = (0..150)
        .map(|_| {
            let asking = open(&mut raw, STREAM_SECRETS).unwrap();
            asking.say(&mut raw, &Request { node: Some(node.clone()), ..Request::of(&["default"]) }).unwrap();
            let first: Response = asking.next(&mut raw).unwrap().unwrap();
            asking
                .say(&mut raw, &Request { node: Some(node.clone()), ..Request::of(&["default"]).took(&first.nonce) })
                .unwrap();
            (asking, first.chain("default"))
        })
        .collect();
    let begin = Instant::now();
    let mut renewed = Vec::new();
    for (asking, chain) in &streams {
        let next: Response = asking.next(&mut raw).unwrap().unwrap();
        assert_ne!(next.chain("default"), *chain);
        asking
            .say(&mut raw, &Request { node: Some(node.clone()), ..Request::of(&["default"]).took(&next.nonce) })
            .unwrap();
        renewed.push(next.chain("default"));
    }
    assert!(begin.elapsed() < 3 * SOON, "{:?}", begin.elapsed());
    renewed.sort();
    renewed.dedup();
    println!("{} certificates for 150 streams", renewed.len());
    assert!(renewed.len() <= 2, "one key for all, and the next where the first was old when the last came");
}
