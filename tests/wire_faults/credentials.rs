//! Other credentials than access tokens at the door of the built daemon: SVIDs that it has issued itself.

use std::{
    cell::Cell,
    fs, thread,
    time::{Duration, SystemTime},
};

use aws_lc_rs::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair},
};
use data_encoding::BASE64URL_NOPAD;
use dayfly::oauth::TokenHash;
use serde_json::json;

use super::{
    access::{AUDIENCE, Answer, URL, agent_with, now, verify},
    common::{Daemon, eventually, own_uid},
};

/// Proofs are good for three seconds, so that a daemon knows soon which were used.
const CONFIG: &str = "[wit]\nenabled = true\n[token]\nproof_age_max = \"3s\"\nproof_ahead_max = \"0s\"\n";
const LIFE: u64 = 3;

/// A workload that has fetched a WIT-SVID, and proves its key.
struct Workload {
    token: String,
    key: EcdsaKeyPair,
    next: Cell<u32>,
}

impl Workload {
    fn of(daemon: &Daemon) -> Self {
        let folder = daemon.home().join("wit");
        daemon.cli(&["fetch", "wit", "--write", folder.to_str().unwrap()]);
        let read = |name| fs::read_to_string(folder.join(name)).unwrap();
        let jwk: serde_json::Value = serde_json::from_str(&read("wit_svid_key.json")).unwrap();
        let part = |name| BASE64URL_NOPAD.decode(jwk[name].as_str().unwrap().as_bytes()).unwrap();
        let point = [vec![4], part("x"), part("y")].concat();
        let key = EcdsaKeyPair::from_private_key_and_public_key(&ECDSA_P256_SHA256_FIXED_SIGNING, &part("d"), &point);
        Self { token: read("wit_svid.token").trim().to_owned(), key: key.unwrap(), next: Cell::new(0) }
    }

    /// A proof for this URL that is as long good as it may be.
    fn proof(&self, url: &str) -> String {
        self.next.set(self.next.get() + 1);
        let exp = now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs() + LIFE;
        let (jti, wth) = (format!("proof-{:08}", self.next.get()), TokenHash::of(&self.token).to_string());
        let encode = |value: serde_json::Value| BASE64URL_NOPAD.encode(value.to_string().as_bytes());
        let header = encode(json!({ "typ": "wpt+jwt", "alg": "ES256" }));
        let signed = format!("{header}.{}", encode(json!({ "aud": url, "exp": exp, "jti": jti, "wth": wth })));
        let signature = self.key.sign(&SystemRandom::new(), signed.as_bytes()).unwrap();
        format!("{signed}.{}", BASE64URL_NOPAD.encode(signature.as_ref()))
    }

    fn headers(&self, proof: &str) -> String {
        format!("Workload-Identity-Token: {}\r\nWorkload-Proof-Token: {proof}\r\n", self.token)
    }

    fn call(&self, url: &str) -> String {
        self.headers(&self.proof(url))
    }
}

/// Asks until a proof is taken, and seldom: of one caller's refusals 60 are written in a minute.
fn taken(mut is_taken: impl FnMut() -> bool) {
    eventually("proofs are taken", || {
        thread::sleep(Duration::from_millis(500));
        is_taken()
    });
}

pub(super) fn refused(daemon: &Daemon, answer: &Answer, status: u16, reason: &str, kind: &str) {
    assert_eq!((answer.status, answer.header("x-dayfly-agent")), (status, Some("")), "{reason}: {}", answer.head);
    let refusals: Vec<_> = daemon.audit().into_iter().filter(|record| record["what"] == "request").collect();
    let last = refusals.last().unwrap();
    assert_eq!(last["reasons"][0], reason);
    assert!(last["detail"].as_str().unwrap().starts_with(kind), "{last}");
}

#[test]
fn a_wit_svid_with_a_proof_is_good_for_its_agent_and_once() {
    let daemon = agent_with(CONFIG);
    let workload = Workload::of(&daemon);
    let get = |headers: &str| verify(&daemon, "GET", URL, headers);
    // A tool takes what it says.
    refused(&daemon, &get(&workload.call(URL)), 401, "credential_not_taken", "GET");
    daemon.cli(&["tool", "update", "tickets", "--accept", "wit"]);
    assert!(daemon.cli(&["tool", "show", "tickets"]).contains("wit"));
    // Right after the start a proof may have been used before it; soon it cannot have been.
    taken(|| get(&workload.call(URL)).status == 200);
    let headers = workload.call(URL);
    let answer = get(&headers);
    let told = (answer.status, answer.header("x-dayfly-agent"), answer.header("x-dayfly-scopes"));
    assert_eq!(told, (200, Some("reporter"), Some("read")));
    refused(&daemon, &get(&headers), 400, "proof_replayed", "wit GET");
    refused(&daemon, &get(&workload.call(&format!("{URL}8"))), 400, "wpt_url", "wit GET");
    refused(&daemon, &get(&format!("Workload-Identity-Token: {}\r\n", workload.token)), 400, "wit_headers", "GET");
    refused(&daemon, &get(&format!("Authorization: Bearer {}\r\n", workload.token)), 401, "bearer", "GET");
    let both = workload.call(URL) + "Authorization: DPoP a\r\nDPoP: b\r\n";
    refused(&daemon, &get(&both), 400, "several_credentials", "GET");
    // Another workload's WIT-SVID with a proof by this one's key.
    let mut stolen = Workload::of(&daemon);
    std::mem::swap(&mut stolen.token, &mut Workload::of(&daemon).token);
    refused(&daemon, &get(&stolen.call(URL)), 400, "wpt_signature", "wit GET");
    let posted = verify(&daemon, "POST", "https://tickets.example.org/api/items", &{
        workload.call("https://tickets.example.org/api/items")
    });
    refused(&daemon, &posted, 403, "scope_missing", "wit POST");
    // What is taken away is gone at once.
    for (take, give, reason) in [
        (&["agent", "suspend", "reporter"][..], &["agent", "resume", "reporter"][..], "agent_suspended"),
        (
            &["grant", "remove", "reporter/tickets"],
            &["grant", "add", "reporter", "tickets", "--scope", "read"],
            "not_granted",
        ),
        (
            &["tool", "update", "tickets", "--accept", "dpop"],
            &["tool", "update", "tickets", "--accept", "wit"],
            "credential_not_taken",
        ),
    ] {
        let headers = workload.call(URL);
        daemon.cli(take);
        let status = if reason == "credential_not_taken" { 401 } else { 403 };
        refused(&daemon, &get(&headers), status, reason, if status == 401 { "GET" } else { "wit GET" });
        daemon.cli(give);
        assert_eq!(get(&headers).status, 200, "{reason}: what was refused burnt nothing");
    }
    // Another entry, of nobody, says the same SPIFFE ID: who shows it may be either.
    let other = daemon.entry("spiffe://example.org/reporter", &["unix:uid:4000000"], &[]);
    refused(&daemon, &get(&workload.call(URL)), 403, "no_agent", "wit GET");
    daemon.cli(&["entry", "remove", other.trim()]);
    // And what was issued meanwhile may be of either.
    refused(&daemon, &get(&workload.call(URL)), 403, "revoked_entry", "wit GET");
    assert_eq!(get(&Workload::of(&daemon).call(URL)).status, 200);
    let log = daemon.log() + &serde_json::to_string(&daemon.audit()).unwrap();
    assert!(!log.contains(workload.token.split_once('.').unwrap().1), "no token is in a log");
}

#[test]
fn a_proof_that_was_captured_is_worth_nothing_after_a_restart() {
    let mut daemon = agent_with(CONFIG);
    daemon.cli(&["tool", "update", "tickets", "--accept", "wit"]);
    let workload = Workload::of(&daemon);
    let mut used = String::new();
    eventually("proofs are taken", || {
        used = workload.call(URL);
        verify(&daemon, "GET", URL, &used).status == 200
    });
    daemon.kill();
    let daemon = Daemon::start_in(daemon.home(), &[]);
    let answer = verify(&daemon, "GET", URL, &used);
    assert!(matches!(answer.status, 400 | 503), "{}", answer.head);
}

#[test]
fn a_jwt_svid_for_the_tool_is_its_bearers() {
    let daemon = agent_with("");
    let token = |audience: &[&str]| {
        let audiences: Vec<_> = audience.iter().flat_map(|audience| ["--audience", audience]).collect();
        daemon.cli(&[&["fetch", "jwt"][..], &audiences].concat()).trim().to_owned()
    };
    let bearer = |token: &str| verify(&daemon, "GET", URL, &format!("Authorization: Bearer {token}\r\n"));
    let good = token(&[AUDIENCE]);
    refused(&daemon, &bearer(&good), 401, "bearer", "GET");
    daemon.cli(&["tool", "update", "tickets", "--accept", "jwt-svid"]);
    for _ in 0..2 {
        let answer = bearer(&good);
        let told = (answer.status, answer.header("x-dayfly-agent"), answer.header("x-dayfly-scopes"));
        assert_eq!(told, (200, Some("reporter"), Some("read")));
    }
    let challenge = |answer: &Answer| answer.header("www-authenticate").unwrap_or_default().to_owned();
    let other = bearer(&token(&["https://other.example.org"]));
    assert!(challenge(&other).starts_with("Bearer error=\"invalid_token\""), "{}", other.head);
    refused(&daemon, &other, 401, "jwt_svid_audience", "jwt-svid GET");
    let several = bearer(&token(&[AUDIENCE, "https://other.example.org"]));
    refused(&daemon, &several, 401, "svid_claim", "jwt-svid GET");
    let (signed, _) = good.rsplit_once('.').unwrap();
    let forged = format!("{signed}.{}", BASE64URL_NOPAD.encode(&[1; 64]));
    refused(&daemon, &bearer(&forged), 401, "jwt_svid_signature", "jwt-svid GET");
    daemon.cli(&["agent", "suspend", "reporter"]);
    refused(&daemon, &bearer(&good), 401, "agent_suspended", "jwt-svid GET");
    daemon.cli(&["agent", "resume", "reporter"]);
    assert_eq!(bearer(&good).status, 200);
    let log = daemon.log() + &serde_json::to_string(&daemon.audit()).unwrap();
    assert!(!log.contains(good.split_once('.').unwrap().1), "no token is in a log");
}

/// The status, and who the door says it is.
fn told(answer: &Answer) -> (u16, Option<&str>) {
    (answer.status, answer.header("x-dayfly-agent"))
}

#[test]
fn what_an_entry_gave_before_it_became_anothers_is_good_for_nobody() {
    let daemon = agent_with(CONFIG);
    daemon.cli(&["agent", "add", "night", "--owner", "ada@example.org"]);
    daemon.cli(&["grant", "add", "night", "tickets", "--scope", "read"]);
    daemon.cli(&["tool", "update", "tickets", "--accept", "jwt-svid", "--accept", "wit"]);
    let entries: serde_json::Value = serde_json::from_str(&daemon.cli(&["entry", "list", "--output", "json"])).unwrap();
    let id = entries.pointer("/entries/0/id").unwrap().as_str().unwrap().to_owned();
    let svid = || daemon.cli(&["fetch", "jwt", "--audience", AUDIENCE]).trim().to_owned();
    let bearer = |token: &str| verify(&daemon, "GET", URL, &format!("Authorization: Bearer {token}\r\n"));
    let get = |workload: &Workload| verify(&daemon, "GET", URL, &workload.call(URL));
    taken(|| get(&Workload::of(&daemon)).status == 200);
    let own = own_uid();
    let group = format!("unix:gid:{}", nix::unistd::getgid());
    for (change, agent) in [
        (&["--agent", "night"][..], "night"),
        (&["--selector", &own, "--selector", &group], "night"),
        (&["--agent", "reporter"], "reporter"),
        (&["--spiffe-id", "spiffe://example.org/other"], "reporter"),
        (&["--spiffe-id", "spiffe://example.org/reporter"], "reporter"),
    ] {
        let (old, held) = (svid(), Workload::of(&daemon));
        assert_eq!((bearer(&old).status, get(&held).status), (200, 200), "{change:?}");
        daemon.cli(&[&["entry", "update", &id][..], change].concat());
        let answer = bearer(&old);
        // Of an identity that nobody has any more it is not asked since when.
        let reason = if change[0] == "--spiffe-id" { "no_agent" } else { "revoked_entry" };
        refused(&daemon, &answer, 401, reason, "jwt-svid GET");
        refused(&daemon, &get(&held), 403, reason, "wit GET");
        assert_eq!(told(&bearer(&svid())), (200, Some(agent)), "{change:?}: what is issued at once is good");
        assert_eq!(told(&get(&Workload::of(&daemon))), (200, Some(agent)), "{change:?}");
    }
    // What changes nothing of it leaves it.
    let old = svid();
    daemon.cli(&["entry", "update", &id, "--jwt-ttl", "4m"]);
    assert_eq!(told(&bearer(&old)), (200, Some("reporter")));
    // One that goes lends nothing to another that says the same, be it there already or made at once.
    daemon.entry("spiffe://example.org/reporter", &["unix:uid:4000000"], &["--agent", "night"]);
    daemon.cli(&["entry", "remove", &id]);
    refused(&daemon, &bearer(&old), 401, "revoked_entry", "jwt-svid GET");
}

/// They say whole seconds.
#[test]
fn an_svid_of_the_second_in_which_its_agent_was_revoked_counts_if_it_came_after() {
    let daemon = agent_with(CONFIG);
    daemon.cli(&["tool", "update", "tickets", "--accept", "jwt-svid", "--accept", "wit"]);
    let svid = || daemon.cli(&["fetch", "jwt", "--audience", AUDIENCE]).trim().to_owned();
    let bearer = |token: &str| verify(&daemon, "GET", URL, &format!("Authorization: Bearer {token}\r\n"));
    let get = |workload: &Workload| verify(&daemon, "GET", URL, &workload.call(URL));
    taken(|| get(&Workload::of(&daemon)).status == 200);
    for _ in 0..3 {
        let (old, held) = (svid(), Workload::of(&daemon));
        assert_eq!((bearer(&old).status, get(&held).status), (200, 200));
        daemon.cli(&["revoke", "agent", "reporter"]);
        let (new, later) = (svid(), Workload::of(&daemon));
        refused(&daemon, &bearer(&old), 401, "revoked_agent", "jwt-svid GET");
        refused(&daemon, &get(&held), 403, "revoked_agent", "wit GET");
        assert_eq!((told(&bearer(&new)), told(&get(&later))), ((200, Some("reporter")), (200, Some("reporter"))));
    }
}
