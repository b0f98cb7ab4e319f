//! Access tokens of a pinned issuer at the door of the built daemon: whose, with which keys, and what is taken back.

use std::{cell::Cell, fs, path::PathBuf, time::SystemTime};

use data_encoding::BASE64URL_NOPAD;
use dayfly::{oauth::dpop::Prover, spiffe::jose::Signer as _};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::{Value, json};

use super::{
    access::{AUDIENCE, URL, agent_with, nonce, now, signed, token, verify},
    common::{Daemon, Folder, eventually},
    credentials::refused,
};

const IDP: &str = "https://idp.test/realms/agents";

/// An issuer: what it signs with, and where its keys are for the daemon.
struct Issuer {
    key: Prover,
    jwks: PathBuf,
    next: Cell<u32>,
}

impl Issuer {
    fn new(folder: &Folder) -> Self {
        let jwks = folder.path().join("idp.json");
        let issuer = Self { key: Prover::generate().unwrap(), jwks, next: Cell::new(0) };
        issuer.publish(&issuer.key);
        issuer
    }

    fn publish(&self, key: &Prover) {
        let mut jwk: Value = serde_json::from_str(&key.public_key().to_json()).unwrap();
        jwk["kid"] = json!("one");
        fs::write(&self.jwks, json!({ "keys": [jwk] }).to_string()).unwrap();
    }

    fn config(&self) -> String {
        format!("[[authz.issuer]]\nissuer = \"{IDP}\"\njwks = {:?}\n", self.jwks)
    }

    /// A token for our SPIFFE ID, bound to this key, good for five minutes.
    fn token(&self, prover: &Prover) -> String {
        self.next.set(self.next.get() + 1);
        let since = now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
        let claims = json!({
            "iss": IDP, "sub": "7", "aud": [AUDIENCE, "https://other.example.org"], "scope": "openid read write",
            "client_id": "spiffe://example.org/reporter", "iat": since, "exp": since + 300, "jti": self.next.get(),
            "cnf": { "jkt": prover.thumbprint().to_string() },
        });
        let header = json!({ "alg": "ES256", "typ": "at+jwt", "kid": "one" });
        let signed = [header, claims].map(|part| BASE64URL_NOPAD.encode(part.to_string().as_bytes())).join(".");
        format!("{signed}.{}", BASE64URL_NOPAD.encode(&self.key.sign(signed.as_bytes()).unwrap()))
    }
}

/// Has the configuration read again; answers what was recorded.
fn reread(daemon: &Daemon) -> (Value, Value) {
    let readings = || -> Vec<Value> {
        let of_config = |record: &Value| record["event"].as_str().is_some_and(|event| event.starts_with("config"));
        daemon.audit().into_iter().filter(of_config).collect()
    };
    let before = readings().len();
    kill(Pid::from_raw(daemon.pid()), Signal::SIGHUP).unwrap();
    eventually("it is read", || readings().len() > before);
    let last = readings().pop().unwrap();
    (last["event"].clone(), last["detail"].clone())
}

#[test]
fn a_pinned_issuers_token_is_good_for_its_agent_where_the_tool_takes_it() {
    let folder = Folder::new();
    let (issuer, prover) = (Issuer::new(&folder), Prover::generate().unwrap());
    let daemon = agent_with(&issuer.config());
    // Right after the start each proof needs a nonce, whoever issued the token.
    let nonce = nonce(&daemon, &prover, &token(&daemon, &prover));
    let headers = |token: &str| signed(&prover, token, "GET", URL, Some(&nonce));
    let get = |headers: &str| verify(&daemon, "GET", URL, headers);
    let one = issuer.token(&prover);
    refused(&daemon, &get(&headers(&one)), 401, "token_header", "dpop GET");
    daemon.cli(&["tool", "update", "tickets", "--accept", IDP]);
    assert!(daemon.cli(&["tool", "show", "tickets"]).contains(IDP));
    let used = headers(&one);
    for headers in [&used, &headers(&one)] {
        let answer = get(headers);
        let told = (answer.status, answer.header("x-dayfly-agent"), answer.header("x-dayfly-scopes"));
        assert_eq!(told, (200, Some("reporter"), Some("read")), "{}", answer.head);
    }
    // Our own are good as before.
    assert_eq!(get(&headers(&token(&daemon, &prover))).status, 200);
    let kind = format!("foreign-dpop {IDP} GET");
    refused(&daemon, &get(&used), 401, "proof_replayed", &kind);
    let thief = Prover::generate().unwrap();
    refused(&daemon, &get(&signed(&thief, &one, "GET", URL, Some(&nonce))), 401, "key_mismatch", &kind);
    let post = "https://tickets.example.org/api/items";
    let posted = verify(&daemon, "POST", post, &signed(&prover, &one, "POST", post, Some(&nonce)));
    refused(&daemon, &posted, 403, "scope_missing", &format!("foreign-dpop {IDP} POST"));
    // What is taken away is gone at once.
    for (take, give, reason, status) in [
        (&["agent", "suspend", "reporter"][..], &["agent", "resume", "reporter"][..], "agent_suspended", 401),
        (
            &["grant", "remove", "reporter/tickets"],
            &["grant", "add", "reporter", "tickets", "--scope", "read"],
            "not_granted",
            403,
        ),
    ] {
        daemon.cli(take);
        refused(&daemon, &get(&headers(&one)), status, reason, &kind);
        daemon.cli(give);
        assert_eq!(get(&headers(&one)).status, 200, "{reason}");
    }
    daemon.cli(&["revoke", "key", &prover.thumbprint().to_string()]);
    refused(&daemon, &get(&headers(&one)), 401, "revoked_key", &kind);
    daemon.cli(&["revoke", "remove", "key", &prover.thumbprint().to_string()]);
    assert_eq!(get(&headers(&one)).status, 200);
    // Its issuer has new keys: from the next reading on the old ones count for nothing, a token that was known included.
    let other = Prover::generate().unwrap();
    issuer.publish(&other);
    assert_eq!(get(&headers(&one)).status, 200);
    assert_eq!(reread(&daemon).0, "config_read");
    refused(&daemon, &get(&headers(&one)), 401, "foreign_signature", &kind);
    // What is no key set changes nothing.
    fs::write(&issuer.jwks, "{}").unwrap();
    assert_eq!(reread(&daemon).0, "config_refused");
    refused(&daemon, &get(&headers(&one)), 401, "foreign_signature", &kind);
    issuer.publish(&issuer.key);
    assert_eq!(reread(&daemon).0, "config_read");
    assert_eq!(get(&headers(&one)).status, 200);
    // Nobody is pinned any more.
    fs::write(daemon.home().join("dayfly.toml"), "").unwrap();
    let (event, detail) = reread(&daemon);
    assert_eq!(
        (event.as_str(), detail.as_str()),
        (Some("config_read"), Some("changed: authz.issuer; need a restart: "))
    );
    refused(&daemon, &get(&headers(&one)), 401, "foreign_issuer", &kind);
    let log = daemon.log() + &serde_json::to_string(&daemon.audit()).unwrap();
    assert!(!log.contains(one.split('.').nth(1).unwrap()), "no token is in a log");
}
