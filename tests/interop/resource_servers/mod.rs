//! Resource servers that know nothing of Dayfly: Nimbus's SDK, Spring Security and huskarl believe what its agents send,
//! and nothing that was stolen from one.
//!
//! Each is a small program beside this file that listens on the loopback interface, given where the keys are, the issuer
//! and the audience. `tests/run` builds them.

mod stage;

use std::thread;

use dayfly::oauth::{TokenHash, dpop::Prover};

use self::stage::{Call, Peer, Stage};
use super::{
    from_environment,
    http::{Answer, seconds_ago},
};

/// What is sent, and what each of Nimbus, Spring and huskarl says of it: a status and the error's code. Of several calls
/// all but the last one pass.
type Row = (&'static str, fn(&Stage) -> Vec<Call>, [&'static str; 3]);

const PASSED: [&str; 3] = ["200"; 3];
const BAD_PROOF: [&str; 3] = ["401 invalid_dpop_proof"; 3];
/// A good proof, and a good token, that do not belong together.
const NOT_ITS_PROOF: [&str; 3] = ["401 invalid_token", "401 invalid_dpop_proof", "401 invalid_dpop_proof"];
const BAD_TOKEN: [&str; 3] = ["401 invalid_token"; 3];
/// The scheme is the thief's; huskarl says no more than which it takes.
const BEARER: [&str; 3] = ["401 invalid_token", "401 invalid_token", "401"];
const ITEM: &str = "/items/7";

#[rustfmt::skip]
const ROWS: &[Row] = &[
    ("a call", |stage| vec![item(stage)], PASSED),
    ("a POST", |stage| vec![stage.call("POST", "/items", &[])], PASSED),
    ("a query, which no proof is for", |stage| vec![stage.call("GET", "/items?page=2&of=a%20b", &[])], PASSED),
    ("the scheme in lower case", |stage| vec![scheme(item(stage), "dpop")], PASSED),
    ("two calls with proofs of their own", |stage| vec![own(stage), own(stage)], PASSED),
    ("a scope that it takes", |stage| vec![stage.call("GET", "/admin", &["--scope", "admin"])], PASSED),
    ("a scope that the token lacks", |stage| vec![stage.call("GET", "/admin", &["--scope", "read"])],
        ["403 insufficient_scope"; 3]),
    ("no token", |_| vec![Call { method: "GET".to_owned(), path: ITEM.to_owned(), headers: Vec::new() }],
        ["401 invalid_token", "401", "401"]),
    // What was stolen.
    ("no proof", |stage| vec![without_proof(item(stage))],
        ["401 invalid_dpop_proof", "401 invalid_request", "400 invalid_request"]),
    ("as a bearer token", |stage| vec![scheme(item(stage), "Bearer")], BEARER),
    ("as a bearer token without proof", |stage| vec![scheme(without_proof(item(stage)), "Bearer")], BEARER),
    ("a proof by the thief's key", |stage| vec![stolen(stage)], NOT_ITS_PROOF),
    ("the proof of another token", |stage| vec![proof_of_another(stage)], NOT_ITS_PROOF),
    ("both again", |stage| vec![item(stage); 2], BAD_PROOF),
    ("both again, after another call", |stage| { let first = item(stage); vec![first.clone(), own(stage), first] }, BAD_PROOF),
    ("for another method", |stage| vec![Call { method: "POST".to_owned(), ..item(stage) }], BAD_PROOF),
    ("for another URL", |stage| vec![Call { path: "/items/8".to_owned(), ..item(stage) }], BAD_PROOF),
    ("for another server", |stage| vec![with(stage, "http://127.0.0.1:1/items/7", "GET", 0)], BAD_PROOF),
    ("a minute and a half later", |stage| vec![with(stage, &stage.url(ITEM), "GET", 90)], BAD_PROOF),
    ("a minute and a half ahead", |stage| vec![with(stage, &stage.url(ITEM), "GET", -90)], BAD_PROOF),
    ("twenty seconds later", |stage| vec![with(stage, &stage.url(ITEM), "GET", 20)], PASSED),
    // What was never issued for it.
    ("another tool's token", |stage| vec![stage.call("GET", ITEM, &["--tool", "elsewhere"])], BAD_TOKEN),
    ("a token of a daemon with other keys", |stage| vec![stage.call_by(&stage.namesake, "GET", ITEM, &[])], BAD_TOKEN),
    ("another signature", |stage| vec![altered(stage)], BAD_TOKEN),
    ("a JWT-SVID", |stage| vec![stage.call_with(&stage.url(ITEM), "GET", Some(&stage.jwt_svid()), 0)], BAD_TOKEN),
    // Proofs that say something else, each by the right key.
    ("no hash of the token", |stage| vec![stage.call_with(&stage.url(ITEM), "GET", None, 0)], BAD_PROOF),
    ("two proofs", |stage| vec![two_proofs(stage)],
        ["401 invalid_dpop_proof", "401 invalid_request", "400 invalid_request"]),
    ("a query in the proof", |stage| vec![with(stage, &stage.url("/items/7?a=b"), "GET", 0)], BAD_PROOF),
    ("a slash more", |stage| vec![with(stage, &stage.url("/items/7/"), "GET", 0)], BAD_PROOF),
    // Where they differ.
    ("the URL in capitals", |stage| vec![with(stage, &stage.url(ITEM).replace("http", "HTTP"), "GET", 0)],
        ["401 invalid_dpop_proof", "401 invalid_dpop_proof", "200"]),
    ("the method in small letters", |stage| vec![with(stage, &stage.url(ITEM), "get", 0)],
        ["401 invalid_dpop_proof", "200", "401 invalid_dpop_proof"]),
    ("a nonce that nobody asked for", |stage| vec![stage.call("GET", ITEM, &["--nonce", "unasked"])],
        ["401 invalid_dpop_proof", "200", "200"]),
];

/// The agent's call as its program makes it.
fn item(stage: &Stage) -> Call {
    stage.call("GET", ITEM, &[])
}

/// With the token that is held, and its key.
fn with(stage: &Stage, url: &str, method: &str, age: i64) -> Call {
    stage.call_with(url, method, Some(&stage.token), age)
}

fn own(stage: &Stage) -> Call {
    with(stage, &stage.url(ITEM), "GET", 0)
}

fn scheme(mut call: Call, scheme: &str) -> Call {
    call.headers[0].1 = call.headers[0].1.replacen("DPoP", scheme, 1);
    call
}

fn without_proof(mut call: Call) -> Call {
    call.headers.truncate(1);
    call
}

/// All that a thief can do himself: the hash of the token is right, and so are method, URL and time.
fn stolen(stage: &Stage) -> Call {
    let mut call = own(stage);
    let hash = TokenHash::of(&stage.token);
    let url = stage.url(ITEM);
    call.headers[1].1 = Prover::generate().unwrap().prove("GET", &url, Some(hash), None, seconds_ago(0)).unwrap();
    call
}

fn proof_of_another(stage: &Stage) -> Call {
    let (mut call, other) = (item(stage), item(stage));
    call.headers[1] = other.headers[1].clone();
    call
}

/// One bit of the signature, and all else made to fit it.
fn altered(stage: &Stage) -> Call {
    let (rest, signature) = stage.token.rsplit_once('.').unwrap();
    let (first, others) = signature.split_at(1);
    let altered = format!("{rest}.{}{others}", if first == "A" { "B" } else { "A" });
    stage.call_with(&stage.url(ITEM), "GET", Some(&altered), 0)
}

fn two_proofs(stage: &Stage) -> Call {
    let (mut call, other) = (own(stage), own(stage));
    call.headers.push(other.headers[1].clone());
    call
}

/// Status, and the code of the error in the challenges.
fn verdict(answer: &Answer) -> String {
    let challenges = answer.head.lines().filter(|line| line.to_ascii_lowercase().starts_with("www-authenticate: "));
    let code =
        challenges.filter_map(|line| line.split_once("error=\"")?.1.split_once('"')).map(|(code, _)| code).next();
    code.map_or_else(|| answer.status.to_string(), |code| format!("{} {code}", answer.status))
}

/// What is sent to one of them, which is that column of the table.
fn check(peer: &Peer, column: usize) {
    let stage = Stage::of(peer);
    let mut wrong = Vec::new();
    for (what, calls, expected) in ROWS {
        let calls = calls(&stage);
        let (last, before) = calls.split_last().unwrap();
        for call in before {
            let answer = stage.send(call);
            assert_eq!(verdict(&answer), "200", "before {what}: {}\n{}", answer.head, answer.body);
        }
        let answer = stage.send(last);
        let (verdict, expected) = (verdict(&answer), expected[column]);
        let is_told_who = answer.body.contains("spiffe://example.org/reporter reporter ");
        if verdict != expected || (verdict == "200") != is_told_who {
            wrong.push(format!("{what}: {verdict}, not {expected}: {}\n{}", answer.head, answer.body));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    check_at_once(&stage);
    check_for_a_user(&stage);
    // All of it in one command.
    assert_eq!(
        stage.http("GET", ITEM, &["--scope", "read"]),
        (Some(0), "spiffe://example.org/reporter reporter read".to_owned())
    );
    assert_eq!(stage.http("POST", "/items", &["-d", "x"]).0, Some(0));
    assert_eq!(stage.http("GET", ITEM, &["--tool", "elsewhere"]).0, Some(3));
}

/// Eight times the same call at the same time is one call.
fn check_at_once(stage: &Stage) {
    let call = own(stage);
    let passed = thread::scope(|scope| {
        let all: Vec<_> = (0..8).map(|_| scope.spawn(|| stage.send(&call).status)).collect();
        all.into_iter().map(|one| one.join().unwrap()).filter(|status| *status == 200).count()
    });
    assert_eq!(passed, 1, "the same proof, eight times at once");
}

/// A token that a user's was exchanged for is the agent's alone as well.
fn check_for_a_user(stage: &Stage) {
    let call = stage.call("GET", ITEM, &["--scope", "read", "--subject-token-file", &stage.user_token()]);
    assert_ne!(stage.send(&without_proof(call.clone())).status, 200, "without its proof");
    let answer = stage.send(&call);
    assert_eq!(
        (answer.status, answer.body.contains("ada reporter read")),
        (200, true),
        "{}\n{}",
        answer.head,
        answer.body
    );
    assert_eq!(verdict(&stage.send(&call)), BAD_PROOF[0], "for a user, again");
}

fn java(variable: &str, main: &str) -> Option<Peer> {
    let classpath = from_environment(variable)?;
    Some(Peer(["java", "-cp", &classpath, main].map(str::to_owned).to_vec()))
}

#[test]
fn nimbus_believes_our_calls_and_no_stolen_one() {
    if let Some(peer) = java("DAYFLY_NIMBUS_CLASSPATH", "Nimbus") {
        check(&peer, 0);
    }
}

#[test]
fn spring_believes_our_calls_and_no_stolen_one() {
    if let Some(peer) = java("DAYFLY_SPRING_CLASSPATH", "dayfly.Spring") {
        check(&peer, 1);
    }
}

#[test]
fn huskarl_believes_our_calls_and_no_stolen_one() {
    if let Some(program) = from_environment("DAYFLY_HUSKARL") {
        check(&Peer(vec![program]), 2);
    }
}
