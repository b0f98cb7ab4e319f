//! A token that somebody has stolen, at each door of the built daemon: without its key, with another, and with a proof that
//! was captured with it. Each is refused, and the audit log says by what.

use std::{collections::HashMap, thread, time::Duration};

use dayfly::oauth::dpop::Prover;

use super::{
    access::{FORM, FORM_HEAD, URL, agent_with, nonce, now, post, signed, token, verify},
    common::{Daemon, eventually},
    doors::{check, told},
};

/// So that what was captured is soon too old, and each refusal has its record.
const CONFIG: &str =
    "[token]\nproof_age_max = \"10s\"\nproof_ahead_max = \"1s\"\n[audit]\nrefusals_per_uid_minute = 1200\n";

/// Asks of the daemon whether a request passes, by its method, URL and headers.
type Ask = fn(&Daemon, &str, &str, &str) -> (u32, String);

/// Asks by page, as Envoy does, and by call: the status and the challenge.
const DOORS: [Ask; 3] = [
    |daemon, method, url, headers| {
        let answer = verify(daemon, method, url, headers);
        (answer.status.into(), answer.header("www-authenticate").unwrap_or_default().to_owned())
    },
    |daemon, method, url, headers| challenge(check(daemon, None, method, url, headers, false)),
    |daemon, method, url, headers| challenge(told(daemon, None, method, url, headers)),
];

fn challenge((status, mut headers): (u32, HashMap<String, String>)) -> (u32, String) {
    (status, headers.remove("www-authenticate").unwrap_or_default())
}

/// Why the last one was refused.
fn reason(daemon: &Daemon, what: &str) -> String {
    let records = daemon.audit();
    let last = records.iter().rfind(|record| record["what"] == what && record["kind"] == "refused").unwrap();
    assert_eq!(last["reasons"].as_array().unwrap().len(), 1, "{last}");
    last["reasons"][0].as_str().unwrap().to_owned()
}

#[test]
fn a_stolen_token_is_worth_nothing_at_any_door() {
    let daemon = agent_with(CONFIG);
    let (prover, thief) = (Prover::generate().unwrap(), Prover::generate().unwrap());
    let (stolen, other) = (token(&daemon, &prover), token(&daemon, &prover));
    let nonce = nonce(&daemon, &prover, &stolen);
    let posted = "https://tickets.example.org/api/items";
    let proof_of = |headers: &str| headers.lines().nth(1).unwrap().strip_prefix("DPoP: ").unwrap().to_owned();
    let with = |token: &str, proof: &str| format!("Authorization: DPoP {token}\r\nDPoP: {proof}\r\n");
    let bare = format!("Authorization: DPoP {stolen}\r\n");
    let (mut all_captured, mut reasons) = (Vec::new(), Vec::new());
    for door in DOORS {
        // What went by, and was accepted.
        let captured = signed(&prover, &stolen, "GET", URL, Some(&nonce));
        assert_eq!(door(&daemon, "GET", URL, &captured).0, 200);
        let seen = proof_of(&captured);
        let own = proof_of(&signed(&thief, &stolen, "GET", URL, Some(&nonce)));
        // What the holder would sign next, with a signature that the thief can make.
        let next = proof_of(&signed(&prover, &stolen, "GET", URL, Some(&nonce)));
        let forged = format!("{}.{}", next.rsplit_once('.').unwrap().0, own.rsplit_once('.').unwrap().1);
        let for_none = prover.prove("GET", URL, None, Some(&nonce), now()).unwrap();
        let two = format!("{captured}DPoP: {own}\r\n");
        reasons.clear();
        for (what, method, url, headers, error, wanted) in [
            ("as Bearer", "GET", URL, bare.replace("DPoP", "Bearer"), "invalid_token", "bearer"),
            ("alone", "GET", URL, bare.clone(), "invalid_dpop_proof", "proof_missing"),
            ("with another key", "GET", URL, with(&stolen, &own), "invalid_token", "key_mismatch"),
            ("in the holder's name", "GET", URL, with(&stolen, &forged), "invalid_dpop_proof", "proof_signature"),
            ("with a captured proof", "GET", URL, captured.clone(), "invalid_dpop_proof", "proof_replayed"),
            ("for another URL", "GET", &format!("{URL}1"), captured.clone(), "invalid_dpop_proof", "proof_url"),
            ("for another method", "POST", posted, captured.clone(), "invalid_dpop_proof", "proof_method"),
            ("with another token", "GET", URL, with(&other, &seen), "invalid_dpop_proof", "proof_token"),
            (
                "with a proof for none",
                "GET",
                URL,
                with(&stolen, &for_none),
                "invalid_dpop_proof",
                "proof_token_missing",
            ),
            ("with two proofs", "GET", URL, two, "invalid_dpop_proof", "proof_several"),
        ] {
            let (status, challenge) = door(&daemon, method, url, &headers);
            assert!(status == 401 && challenge.contains(&format!("error=\"{error}\"")), "{what}: {status} {challenge}");
            assert_eq!(reason(&daemon, "request"), wanted, "{what}");
            reasons.push(wanted);
        }
        all_captured.push((door, captured));
    }
    // Nor is it good for more tokens.
    let seen = proof_of(&all_captured[0].1);
    let answer = post(&daemon, &format!("{FORM_HEAD}DPoP: {seen}\r\n"), FORM);
    assert_eq!((answer.status, answer.error().as_str()), (400, "invalid_dpop_proof"));
    assert_eq!(reason(&daemon, "access-token"), "proof_method");
    // Later; seldom asked, as of one caller's refusals 60 are written in a minute.
    for (door, captured) in &all_captured {
        eventually("what was captured is too old", || {
            thread::sleep(Duration::from_secs(1));
            let (status, challenge) = door(&daemon, "GET", URL, captured);
            assert!(status == 401 && challenge.contains("error=\"invalid_dpop_proof\""), "{status} {challenge}");
            reason(&daemon, "request") == "proof_stale"
        });
    }
    reasons.push("proof_stale");
    let count = reasons.len();
    reasons.sort_unstable();
    reasons.dedup();
    assert_eq!(reasons.len(), count, "each has a reason of its own");
    // Its holder was not kept from anything.
    for door in DOORS {
        assert_eq!(door(&daemon, "GET", URL, &signed(&prover, &stolen, "GET", URL, Some(&nonce))).0, 200);
    }
    let log = daemon.log() + &serde_json::to_string(&daemon.audit()).unwrap();
    for secret in [&stolen, &other, &seen] {
        assert!(!log.contains(secret.rsplit_once('.').unwrap().1), "neither token nor proof is in a log");
    }
}
