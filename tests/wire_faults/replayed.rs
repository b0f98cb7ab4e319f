//! A proof that somebody has captured, and a daemon that has forgotten it: refused.

use dayfly::oauth::dpop::Prover;

use super::{
    access::{FORM, FORM_HEAD, TOKEN, URL, agent, agent_with, get, nonce, now, post, proof, signed, token, verify},
    common::{Daemon, eventually},
};

/// What somebody saw go by: one call of the token endpoint, and one of the tool. Both had been accepted.
struct Captured {
    asked: String,
    called: String,
}

impl Captured {
    fn of(daemon: &Daemon, prover: &Prover, token: &str) -> Self {
        let asked = format!("{FORM_HEAD}DPoP: {}\r\n", proof(daemon, prover));
        assert_eq!(post(daemon, &asked, FORM).status, 200);
        let called = signed(prover, token, "GET", URL, Some(&nonce(daemon, prover, token)));
        assert_eq!(verify(daemon, "GET", URL, &called).status, 200);
        Self { asked, called }
    }

    /// Neither is taken again, and it is said why.
    fn must_be_refused(&self, daemon: &Daemon, wanted: [&str; 2]) {
        let asked = post(daemon, &self.asked, FORM);
        assert_eq!((asked.status, asked.error().as_str()), (400, wanted[0]));
        let called = verify(daemon, "GET", URL, &self.called);
        let challenge = called.header("www-authenticate").unwrap();
        assert!(called.status == 401 && challenge.contains(&format!("error=\"{}\"", wanted[1])), "{challenge}");
        for answer in [asked, called] {
            let wants_nonce = wanted[0] == "use_dpop_nonce";
            assert_eq!(answer.header("dpop-nonce").is_some(), wants_nonce, "{}", answer.head);
        }
    }
}

const USED: [&str; 2] = ["invalid_dpop_proof"; 2];
const FORGOTTEN: [&str; 2] = ["use_dpop_nonce"; 2];

fn reasons(daemon: &Daemon, what: &str) -> Vec<String> {
    let refused = daemon.audit().into_iter().filter(|record| record["kind"] == "refused" && record["what"] == what);
    refused.map(|record| record["reasons"][0].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_captured_proof_is_refused_by_the_daemon_that_saw_it_and_by_those_after_it() {
    let mut first = agent();
    let home = first.home().to_owned();
    let prover = Prover::generate().unwrap();
    let token = token(&first, &prover);
    let captured = Captured::of(&first, &prover, &token);
    captured.must_be_refused(&first, USED);
    assert_eq!(reasons(&first, "request").last().unwrap(), "proof_replayed");
    assert_eq!(reasons(&first, "access-token").last().unwrap(), "proof_replayed");
    // A crash, and a start: what was seen is not known any more.
    first.kill();
    let second = Daemon::start_in(&home, &[]);
    captured.must_be_refused(&second, FORGOTTEN);
    assert_eq!(reasons(&second, "request").last().unwrap(), "nonce_stale");
    // With the nonce of its predecessor or none at all, and a jti that nobody has seen: the same.
    for nonce in [None, Some("AAAAAAAAAAAAAAAAAAAAAA")] {
        let asked = prover.prove("POST", TOKEN, None, nonce, now()).unwrap();
        let never_seen = Captured {
            asked: format!("{FORM_HEAD}DPoP: {asked}\r\n"),
            called: signed(&prover, &token, "GET", URL, nonce),
        };
        never_seen.must_be_refused(&second, FORGOTTEN);
    }
    // Who holds the key goes on, with a token from before.
    let again = Captured::of(&second, &prover, &token);
    again.must_be_refused(&second, USED);
    // Another process takes its place, while clients see no closed door.
    let mut second = second;
    let third = Daemon::spawn_in(&home, &["--replace"]);
    eventually("the other has ended", || !second.is_running());
    third.wait_ready();
    for captured in [&captured, &again] {
        captured.must_be_refused(&third, FORGOTTEN);
    }
    assert_eq!(get(&third, "/oauth/jwks").status, 200);
    Captured::of(&third, &prover, &token).must_be_refused(&third, USED);
}

/// Calls with a new proof each; answers the status, `Retry-After`, and the reason where it was refused.
fn call(daemon: &Daemon, prover: &Prover, token: &str, nonce: &str) -> (u16, Option<u64>, String) {
    let answer = verify(daemon, "GET", URL, &signed(prover, token, "GET", URL, Some(nonce)));
    let after = answer.header("retry-after").map(|after| after.parse().unwrap());
    let reason = if answer.status == 200 { String::new() } else { reasons(daemon, "request").pop().unwrap() };
    (answer.status, after, reason)
}

#[test]
fn a_full_store_refuses_with_a_time_and_recovers() {
    let config = "[authz]\nreplay_entries_max = 3\nreplay_entries_per_key_max = 2\n\
                  [token]\nproof_age_max = \"3s\"\nproof_ahead_max = \"1s\"\n";
    let daemon = agent_with(config);
    let (busy, other) = (Prover::generate().unwrap(), Prover::generate().unwrap());
    let (of_busy, of_other) = (token(&daemon, &busy), token(&daemon, &other));
    let nonce = nonce(&daemon, &busy, &of_busy);
    let (busy, other) = (|| call(&daemon, &busy, &of_busy, &nonce), || call(&daemon, &other, &of_other, &nonce));
    let passed = (200, None, String::new());
    assert_eq!([busy(), busy()], [passed.clone(), passed.clone()]);
    assert_eq!(busy(), (429, Some(5), "replay_quota".to_owned()), "one key has its share");
    assert_eq!(other(), passed, "and others have theirs");
    assert_eq!(other(), (503, Some(5), "replay_full".to_owned()), "nothing is forgotten for it");
    eventually("the proofs are too old", || other() == passed);
    eventually("the proofs are too old", || busy() == passed);
    assert!(!daemon.log().contains("panicked"));
}

/// The door may ask for nonces where the endpoint does not.
#[test]
fn a_door_that_requires_nonces_does_so_for_ever() {
    let config = "[authz]\nreplay_nonce = \"require\"\n[token]\nproof_age_max = \"1s\"\nproof_ahead_max = \"0s\"\n";
    let daemon = agent_with(config);
    let prover = Prover::generate().unwrap();
    let token = token(&daemon, &prover);
    let bare = || {
        let proof = prover.prove("POST", TOKEN, None, None, now()).unwrap();
        post(&daemon, &format!("{FORM_HEAD}DPoP: {proof}\r\n"), FORM).status
    };
    eventually("the endpoint asks for none any more", || bare() == 200);
    let nonce = nonce(&daemon, &prover, &token);
    assert_eq!(call(&daemon, &prover, &token, &nonce).0, 200);
}
