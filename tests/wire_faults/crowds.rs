//! What the records of a door say of a stolen token while others are refused by the thousand behind the same proxy.

use dayfly::oauth::dpop::Prover;
use serde_json::Value;

use super::{
    access::{FORM, FORM_HEAD, URL, agent, nonce, post, proof, signed, token, verify},
    common::own_uid,
    credentials::refused,
};

#[test]
fn a_stolen_token_is_recorded_behind_a_crowd_without_any_and_behind_a_loud_agent() {
    let daemon = agent();
    let (prover, thief) = (Prover::generate().unwrap(), Prover::generate().unwrap());
    let of_reporter = token(&daemon, &prover);
    let nonce = nonce(&daemon, &prover, &of_reporter);
    let steal = |token: &str| verify(&daemon, "GET", URL, &signed(&thief, token, "GET", URL, Some(&nonce)));
    for _ in 0..1_500 {
        assert_eq!(verify(&daemon, "GET", URL, "").status, 401);
    }
    refused(&daemon, &steal(&of_reporter), 401, "key_mismatch", &format!("dpop GET {URL} client=reporter"));
    daemon.cli(&["agent", "add", "other", "--owner", "ada@example.org"]);
    daemon.cli(&["grant", "add", "other", "tickets", "--scope", "read"]);
    daemon.entry("spiffe://example.org/other", &[&own_uid()], &["--agent", "other"]);
    let headers = format!("{FORM_HEAD}DPoP: {}\r\n", proof(&daemon, &prover));
    let body: Value = serde_json::from_str(&post(&daemon, &headers, &format!("{FORM}&client_id=other")).body).unwrap();
    let of_other = body["access_token"].as_str().unwrap();
    for _ in 0..500 {
        assert_eq!(steal(&of_reporter).status, 401);
    }
    refused(&daemon, &steal(of_other), 401, "key_mismatch", &format!("dpop GET {URL} client=other"));
    let of_requests = |record: &&Value| record["kind"] == "refused" && record["what"] == "request";
    let written = daemon.audit().iter().filter(of_requests).count();
    assert!(written < 250, "{written} of 2,000 are written");
}
