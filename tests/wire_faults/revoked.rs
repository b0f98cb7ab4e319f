//! What was taken back: refused from the answer on, and after a crash behind it.

use std::{
    io::Write as _,
    process::{Command, Output, Stdio},
};

use dayfly::oauth::dpop::Prover;

use super::{
    access::{FORM, FORM_HEAD, URL, agent, nonce, post, proof, signed, token, verify},
    common::{DAYFLY, Daemon},
};

/// The last reason for which a request was refused at the door.
fn last_reason(daemon: &Daemon) -> String {
    let last = daemon.audit().into_iter().rfind(|record| record["what"] == "request");
    last.unwrap()["reasons"][0].as_str().unwrap().to_owned()
}

/// A call with this token, with the nonce that the door asks for after a start.
fn call(daemon: &Daemon, prover: &Prover, token: &str) -> u16 {
    let nonce = nonce(daemon, prover, token);
    verify(daemon, "GET", URL, &signed(prover, token, "GET", URL, Some(&nonce))).status
}

fn must_be_refused(daemon: &Daemon, prover: &Prover, token: &str, reason: &str) {
    assert_eq!((call(daemon, prover, token), last_reason(daemon).as_str()), (401, reason));
}

/// `dayfly revoke token -`
fn revoke_whole(daemon: &Daemon, token: &str) -> Output {
    let mut child = Command::new(DAYFLY)
        .args(["revoke", "token", "-", "--home"])
        .arg(daemon.home())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(format!("{token}\n").as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

fn jti(token: &str) -> String {
    let claims = data_encoding::BASE64URL_NOPAD.decode(token.split('.').nth(1).unwrap().as_bytes()).unwrap();
    let claims: serde_json::Value = serde_json::from_slice(&claims).unwrap();
    claims["jti"].as_str().unwrap().to_owned()
}

#[test]
fn what_is_taken_back_is_refused_from_the_answer_on() {
    let daemon = agent();
    let (prover, other) = (Prover::generate().unwrap(), Prover::generate().unwrap());
    let (first, second, third) = (token(&daemon, &prover), token(&daemon, &prover), token(&daemon, &other));
    assert_eq!(call(&daemon, &prover, &first), 200, "and its verdict is known");
    // What is alive is shown, and can be taken back by what is shown.
    let alive = || {
        let shown: serde_json::Value =
            serde_json::from_str(&daemon.cli(&["agent", "show", "reporter", "--output", "json"])).unwrap();
        let text = |token: &serde_json::Value, name: &str| token[name].as_str().unwrap().to_owned();
        let tokens = shown["tokens"].as_array().unwrap().iter();
        tokens.map(|token| (text(token, "jti"), text(token, "jkt"))).collect::<Vec<_>>()
    };
    let of = |token: &str, prover: &Prover| (jti(token), prover.thumbprint().to_string());
    assert_eq!(alive(), [of(&third, &other), of(&second, &prover), of(&first, &prover)]);
    let output = revoke_whole(&daemon, &first);
    assert!(output.status.success(), "{output:?}");
    must_be_refused(&daemon, &prover, &first, "revoked_token");
    assert_eq!(call(&daemon, &prover, &second), 200);
    for _ in 0..2 {
        daemon.cli(&["revoke", "token", &jti(&second)]);
    }
    must_be_refused(&daemon, &prover, &second, "revoked_token");
    assert_eq!(alive(), [of(&third, &other)]);
    // A key: its tokens, and new ones.
    let jkt = other.thumbprint().to_string();
    daemon.cli(&["revoke", "key", &jkt]);
    must_be_refused(&daemon, &other, &third, "revoked_key");
    let asked = || post(&daemon, &format!("{FORM_HEAD}DPoP: {}\r\n", proof(&daemon, &other)), FORM);
    let answer = asked();
    assert_eq!((answer.status, answer.error().as_str()), (400, "invalid_dpop_proof"));
    assert!(answer.body.contains("revoked"), "{}", answer.body);
    let refused = daemon.audit().into_iter().rfind(|record| record["what"] == "access-token").unwrap();
    assert_eq!(refused["reasons"][0], "key_revoked");
    daemon.cli(&["revoke", "remove", "key", &jkt]);
    assert_eq!((asked().status, call(&daemon, &other, &third)), (200, 200));
    // Everything of the agent, which may ask again at once.
    for _ in 0..3 {
        let old = token(&daemon, &prover);
        assert_eq!(call(&daemon, &prover, &old), 200);
        daemon.cli(&["revoke", "agent", "reporter"]);
        must_be_refused(&daemon, &prover, &old, "revoked_agent");
    }
    let new = token(&daemon, &prover);
    assert_eq!(call(&daemon, &prover, &new), 200);
    must_be_refused(&daemon, &other, &third, "revoked_agent");
    // The entry by which it is the agent.
    let entries: serde_json::Value = serde_json::from_str(&daemon.cli(&["entry", "list", "--output", "json"])).unwrap();
    let id = entries.pointer("/entries/0/id").unwrap().as_str().unwrap();
    daemon.cli(&["entry", "remove", id]);
    must_be_refused(&daemon, &prover, &new, "revoked_entry");
    let verbs: Vec<_> =
        daemon.audit().into_iter().filter_map(|record| record["verb"].as_str().map(str::to_owned)).collect();
    let count = |verb: &str| verbs.iter().filter(|each| *each == verb).count();
    assert_eq!(
        (count("token_revoke"), count("key_revoke"), count("key_restore")),
        (2, 1, 1),
        "what is so already is no record"
    );
    assert!(count("agent_revoke") >= 3);
    let said = daemon.log() + &serde_json::to_string(&daemon.audit()).unwrap();
    for token in [first, second, third, new] {
        assert!(!said.contains(token.rsplit_once('.').unwrap().1), "no token is in a log");
    }
}

#[test]
fn nothing_is_taken_back_by_what_is_no_token_of_ours_or_no_name() {
    let daemon = agent();
    let stranger = agent();
    let prover = Prover::generate().unwrap();
    let (good, foreign) = (token(&daemon, &prover), token(&stranger, &prover));
    let (head, signature) = good.rsplit_once('.').unwrap();
    let forged = format!("{head}.{}", foreign.rsplit_once('.').unwrap().1);
    for text in [&foreign, &forged, &"x".repeat(5_000), "", "a.b.c"] {
        let output = revoke_whole(&daemon, text);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(text.is_empty() || !said.contains(text), "a token is said again: {said}");
    }
    assert_eq!(call(&daemon, &prover, &good), 200, "whoever knows only its text takes nothing back");
    // On the command line it can be read by everybody; it is not said once more.
    let output = daemon.try_cli(&["revoke", "token", &good]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2));
    assert!(said.contains("stdin") && !said.contains(signature) && !said.contains(head), "{said}");
    for (args, code) in [
        (&["revoke", "token", "-x"][..], 2),
        (&["revoke", "key", "x"], 2),
        (&["revoke", "agent", "nobody"], 5),
        (&["revoke", "agent", "No Name"], 2),
        (&["revoke", "remove", "key", &prover.thumbprint().to_string()], 5),
    ] {
        let output = daemon.try_cli(args);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{args:?}: {said}");
        assert!(said.contains("error: "), "{said}");
    }
    let listed: serde_json::Value = serde_json::from_str(&daemon.cli(&["revoke", "list", "--output", "json"])).unwrap();
    assert_eq!(listed["total"], 0);
    assert_eq!(call(&daemon, &prover, &good), 200);
}

/// Who has the answer may rely on it, whatever becomes of the daemon.
#[test]
fn a_crash_right_after_the_answer_brings_nothing_back() {
    let mut first = agent();
    let (prover, other) = (Prover::generate().unwrap(), Prover::generate().unwrap());
    let (by_jti, whole) = (token(&first, &prover), token(&first, &prover));
    let (by_key, of_agent) = (token(&first, &other), token(&first, &prover));
    let home = first.home().to_owned();
    first.cli(&["revoke", "token", &jti(&by_jti)]);
    first.kill();
    let mut daemon = Daemon::start_in(&home, &[]);
    must_be_refused(&daemon, &prover, &by_jti, "revoked_token");
    assert!(revoke_whole(&daemon, &whole).status.success());
    daemon.kill();
    let mut daemon = Daemon::start_in(&home, &[]);
    must_be_refused(&daemon, &prover, &whole, "revoked_token");
    assert_eq!(call(&daemon, &other, &by_key), 200);
    daemon.cli(&["revoke", "key", &other.thumbprint().to_string()]);
    daemon.kill();
    let mut daemon = Daemon::start_in(&home, &[]);
    must_be_refused(&daemon, &other, &by_key, "revoked_key");
    assert_eq!(call(&daemon, &prover, &of_agent), 200);
    daemon.cli(&["revoke", "agent", "reporter"]);
    daemon.kill();
    let daemon = Daemon::start_in(&home, &[]);
    must_be_refused(&daemon, &prover, &of_agent, "revoked_agent");
    let listed: serde_json::Value = serde_json::from_str(&daemon.cli(&["revoke", "list", "--output", "json"])).unwrap();
    assert_eq!(listed["total"], 3);
    assert_eq!(call(&daemon, &prover, &token(&daemon, &prover)), 200);
}
