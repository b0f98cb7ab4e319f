//! Access tokens of a pinned issuer at the door of the built daemon: whose, with which keys, and what is taken back.

use std::{fs, thread, time::Duration};

use dayfly::oauth::{CERTIFICATE_BYTES_MAX, dpop::Prover, foreign::LEEWAY};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use prost::Message as _;
use serde_json::{Value, json};

use super::{
    access::{AUDIENCE, URL, agent_with, get, nonce, register, send, signed, token, token_at, verify},
    common::{
        Daemon, Folder, eventually,
        h2raw::{Head, Raw, message},
        issuer::{IDP, Issuer},
    },
    credentials::refused,
    doors::{VERIFY, VerifyRequest, VerifyResponse, answered, call},
};

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

/// What `status` says does not work.
fn problems(daemon: &Daemon) -> String {
    let status: Value = serde_json::from_str(&daemon.cli(&["status", "--output", "json"])).unwrap();
    let problems = status["problems"].as_array().unwrap().iter().map(|problem| problem.as_str().unwrap().to_owned());
    let all = problems.collect::<Vec<_>>().join("\n");
    assert_eq!(status["state"], if all.is_empty() { "ready" } else { "degraded" });
    all
}

/// One party's data must not keep the node's workloads without an identity.
#[test]
fn an_issuer_whose_keys_cannot_be_read_is_closed_alone() {
    let folder = Folder::new();
    let (issuer, prover) = (Issuer::new(&folder), Prover::generate().unwrap());
    fs::write(&issuer.jwks, "").unwrap();
    let daemon = agent_with(&issuer.config());
    daemon.must_serve("the start");
    daemon.cli(&["tool", "update", "tickets", "--accept", IDP]);
    let own = token(&daemon, &prover);
    let nonce = nonce(&daemon, &prover, &own);
    let get = |token: &str| verify(&daemon, "GET", URL, &signed(&prover, token, "GET", URL, Some(&nonce)));
    assert_eq!(get(&own).status, 200);
    let one = issuer.token(AUDIENCE, &prover);
    refused(&daemon, &get(&one), 401, "foreign_no_keys", &format!("foreign-dpop {IDP} GET"));
    let told = problems(&daemon);
    assert!(told.contains(IDP) && told.contains("none of its tokens is taken"), "{told}");
    assert!(daemon.log().contains("there are no keys of an issuer"), "{}", daemon.log());
    assert!(daemon.audit().iter().any(|record| record["event"] == "issuer_keys_refused"));
    let checked = daemon.try_cli(&["daemon", "--check", "--trust-domain", "example.org"]);
    let said = String::from_utf8(checked.stderr).unwrap();
    assert!(checked.status.code() == Some(2) && said.contains(IDP), "{said}");
    issuer.publish(&issuer.key);
    assert_eq!(reread(&daemon).0, "config_read");
    assert_eq!((get(&one).status, problems(&daemon).as_str()), (200, ""));
}

fn last_refusal(daemon: &Daemon) -> String {
    let records = daemon.audit();
    records.iter().rfind(|record| record["what"] == "request").unwrap()["detail"].as_str().unwrap().to_owned()
}

/// Another daemon, whose tokens begin as ours do: what it issues to its agent is good here for the agent of that SPIFFE ID.
#[test]
fn another_daemon_may_be_pinned() {
    const NAME: &str = "https://a.example.org/oauth";
    let (folder, prover) = (Folder::new(), Prover::generate().unwrap());
    let issuer = Daemon::start(&format!("[token]\nissuer = \"{NAME}\"\n"));
    register(&issuer, "its-name-there");
    let jwks = folder.path().join("a.json");
    fs::write(&jwks, get(&issuer, "/oauth/jwks").body).unwrap();
    let daemon = agent_with(&format!("[[authz.issuer]]\nissuer = \"{NAME}\"\njwks = {jwks:?}\n"));
    let theirs = || token_at(&issuer, &format!("{NAME}/token"), &prover);
    let own = token(&daemon, &prover);
    let nonce = nonce(&daemon, &prover, &own);
    let get = |token: &str| verify(&daemon, "GET", URL, &signed(&prover, token, "GET", URL, Some(&nonce)));
    refused(&daemon, &get(&theirs()), 401, "token_issuer", "dpop GET");
    daemon.cli(&["tool", "update", "tickets", "--accept", NAME]);
    // The other's clock may be ahead: the agent that is here must be older.
    let kind = format!("foreign-dpop {NAME} GET");
    refused(&daemon, &get(&theirs()), 401, "revoked_agent", &kind);
    assert_eq!(get(&own).status, 200);
    thread::sleep(LEEWAY + Duration::from_secs(1));
    let answer = get(&theirs());
    let told = (answer.status, answer.header("x-dayfly-agent"), answer.header("x-dayfly-scopes"));
    assert_eq!(told, (200, Some("reporter"), Some("read")), "{}", answer.head);
    // Neither daemon's token is good at the other one as its own.
    daemon.cli(&["tool", "update", "tickets", "--accept", "dpop"]);
    refused(&daemon, &get(&theirs()), 401, "token_issuer", "dpop GET");
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
    let one = issuer.token(AUDIENCE, &prover);
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
    // Whose token is out, known before or not, stands in the record, and what can be revoked.
    let whose = format!("{kind} {URL} client=spiffe://example.org/reporter jkt={}", prover.thumbprint());
    for stolen in [&one, &issuer.token(AUDIENCE, &prover)] {
        refused(&daemon, &get(&signed(&thief, stolen, "GET", URL, Some(&nonce))), 401, "key_mismatch", &whose);
    }
    let own = token(&daemon, &prover);
    refused(&daemon, &get(&signed(&thief, &own, "GET", URL, Some(&nonce))), 401, "key_mismatch", "dpop GET");
    let detail = last_refusal(&daemon);
    assert!(
        detail.contains(" client=reporter jti=") && detail.contains(&format!(" jkt={}", prover.thumbprint())),
        "{detail}"
    );
    let alone = format!("Authorization: DPoP {one}\r\n");
    refused(&daemon, &get(&alone), 401, "proof_missing", "GET");
    assert!(last_refusal(&daemon).contains(" client=spiffe://example.org/reporter "));
    let unsigned = format!("{}.{}", one.rsplit_once('.').unwrap().0, "A".repeat(86));
    refused(&daemon, &get(&signed(&thief, &unsigned, "GET", URL, Some(&nonce))), 401, "key_mismatch", &kind);
    assert!(!last_refusal(&daemon).contains("client="), "nobody is named by whom nothing is proved");
    let actor = issuer.with(AUDIENCE, &prover, "act", &json!({ "sub": "spiffe://example.org/other" }));
    refused(&daemon, &get(&headers(&actor)), 401, "foreign_claim", "foreign-dpop GET");
    assert!(last_refusal(&daemon).ends_with(" claim=act"), "{}", last_refusal(&daemon));
    let nobody = issuer.with(AUDIENCE, &prover, "client_id", &json!("spiffe://example.org/nobody"));
    refused(&daemon, &get(&headers(&nobody)), 401, "no_agent", &kind);
    assert!(last_refusal(&daemon).contains(" client=spiffe://example.org/nobody "));
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
    // What is no key set takes nothing away, and stops nothing else.
    fs::write(&issuer.jwks, "{}").unwrap();
    let believed = || daemon.log().matches("the tokens of an issuer are believed").count();
    let before = believed();
    assert_eq!(reread(&daemon).0, "config_read");
    refused(&daemon, &get(&headers(&one)), 401, "foreign_signature", &kind);
    assert_eq!(believed(), before);
    assert!(problems(&daemon).contains("could not be read again, and those of before stay"));
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

/// RFC 8705 Appendix A: the certificate, percent-encoded as nginx does, and its hash.
const CERTIFICATE: &str = "-----BEGIN%20CERTIFICATE-----%0AMIIBBjCBrAIBAjAKBggqhkjOPQQDAjAPMQ0wCwYDVQQDDARtdGxzMB4XDTE4MTAxODEyMzcwOVoXDTIyMDUwMjEyMzcwOVowDzENMAsGA1UEAwwEbXRsczBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABNcnyxwqV6hY8QnhxxzFQ03C7HKW9OylMbnQZjjJ%2FAu08%2FcoZwxS7LfA4vOLS9WuneIXhbGGWvsDSb0tH6IxLm8wCgYIKoZIzj0EAwIDSQAwRgIhAP0RC1E%2BvwJD%2FD1AGHGzuri%2BhlV%2FPpQEKTWUVeORWz83AiEA5x2eXZOVbUlJSGQgjwD5vaUaKlLR50Q2DmFfQj1L%2BSY%3D%0A-----END%20CERTIFICATE-----%0A";
const CERTIFICATE_HASH: &str = "A4DtL2JmUMhAsvJj5tKyn64SqzmuXbMrJa0n761y5v0";

#[test]
fn a_certificate_is_what_the_proxy_says_in_the_header_that_is_named() {
    let folder = Folder::new();
    let issuer = Issuer::new(&folder);
    let other = CERTIFICATE.replace("MIIBBj", "MIIBBk");
    for (header, is_named) in [("certificate_header = \"X-Client-Cert\"\n", true), ("", false)] {
        let daemon = agent_with(&format!("[authz]\n{header}{}", issuer.config()));
        // Not before there is an agent.
        let token = issuer.bound(AUDIENCE, &json!({ "x5t#S256": CERTIFICATE_HASH }));
        let authorization = format!("Authorization: Bearer {token}\r\n");
        let with = |name: &str| format!("{authorization}{name}: {CERTIFICATE}\r\n");
        let get = |headers: &str| verify(&daemon, "GET", URL, headers);
        let kind = format!("foreign-mtls {IDP} GET");
        daemon.cli(&["tool", "update", "tickets", "--accept", IDP]);
        refused(&daemon, &get(&with("X-Client-Cert")), 401, "bearer", "GET");
        daemon.cli(&["tool", "update", "tickets", "--accept", IDP, "--accept", "mtls"]);
        if !is_named {
            // Anybody may write it.
            refused(&daemon, &get(&with("X-Client-Cert")), 401, "certificate_missing", &kind);
            continue;
        }
        for _ in 0..2 {
            let answer = get(&with("x-client-cert"));
            let told = (answer.status, answer.header("x-dayfly-agent"), answer.header("x-dayfly-scopes"));
            assert_eq!(told, (200, Some("reporter"), Some("read")), "{}", answer.head);
        }
        let challenge = get(&authorization);
        let said = challenge.header("www-authenticate").unwrap_or_default();
        assert!(said.starts_with("Bearer error=\"invalid_token\""), "{said}");
        refused(&daemon, &challenge, 401, "certificate_missing", &kind);
        refused(&daemon, &get(&with("X-Other-Cert")), 401, "certificate_missing", &kind);
        refused(&daemon, &get(&format!("{authorization}X-Client-Cert: \r\n")), 401, "certificate_missing", &kind);
        let twice = with("X-Client-Cert") + &format!("X-Client-Cert: {CERTIFICATE}\r\n");
        refused(&daemon, &get(&twice), 401, "certificate_missing", &kind);
        let metadata = "https://tickets.example.org/.well-known/oauth-protected-resource";
        let asked = format!("GET /metadata HTTP/1.1\r\nHost: dayfly\r\nX-Original-URL: {metadata}\r\n\r\n");
        let said: Value = serde_json::from_str(&send(&daemon, "authz.sock", asked.as_bytes()).body).unwrap();
        assert_eq!(said["authorization_servers"], json!(["https://example.org/oauth", IDP]));
        assert_eq!(said["tls_client_certificate_bound_access_tokens"], true);
        assert_eq!(
            (&said["bearer_methods_supported"], &said["dpop_bound_access_tokens_required"]),
            (&json!(["header"]), &json!(false))
        );
        let another = format!("{authorization}X-Client-Cert: {other}\r\n");
        refused(&daemon, &get(&another), 401, "certificate_mismatch", &kind);
        refused(&daemon, &get(&format!("{authorization}X-Client-Cert: a\r\n")), 401, "certificate_malformed", &kind);
        daemon.cli(&["agent", "suspend", "reporter"]);
        refused(&daemon, &get(&with("X-Client-Cert")), 401, "agent_suspended", &kind);
    }
}

/// A service that has ended the connection itself says the certificate in its call.
#[test]
fn a_certificate_is_what_the_service_says_in_its_call() {
    let folder = Folder::new();
    let issuer = Issuer::new(&folder);
    let daemon = agent_with(&issuer.config());
    daemon.cli(&["tool", "update", "tickets", "--accept", IDP, "--accept", "mtls"]);
    let bound = |hash: &str| format!("Bearer {}", issuer.bound(AUDIENCE, &json!({ "x5t#S256": hash })));
    let of = |authorization: String, certificate: &str| VerifyRequest {
        method: "GET".into(),
        url: URL.into(),
        authorization: vec![authorization],
        client_certificate: certificate.into(),
        ..VerifyRequest::default()
    };
    let with = |certificate: &str| of(bound(CERTIFICATE_HASH), certificate);
    let escapes = [("%20", " "), ("%0A", "\n"), ("%2F", "/"), ("%2B", "+"), ("%3D", "=")];
    let pem = escapes.iter().fold(CERTIFICATE.to_owned(), |text, (escaped, plain)| text.replace(escaped, plain));
    let longest = format!("{pem}{}", "\n".repeat(CERTIFICATE_BYTES_MAX - pem.len()));
    for certificate in [CERTIFICATE, &pem, &longest] {
        let verified = answered::<VerifyResponse>(&call(&daemon, VERIFY, &with(certificate))).verified.unwrap();
        let told = (verified.agent.as_str(), verified.credential.as_str(), verified.issuer.as_str());
        assert_eq!(told, ("reporter", "foreign-mtls", IDP));
        assert_eq!(verified.jkt, "", "no key was proved to us");
    }
    let refused = |request: &[u8], reason: &str| {
        let mut raw = Raw::connect(&daemon.home().join("authz.sock")).unwrap();
        let stream = raw.call(&Head::bare(VERIFY), &message(request)).unwrap();
        let refused = answered::<VerifyResponse>(&raw.finish(stream).unwrap()).refused.unwrap();
        let challenge = refused.headers.iter().find(|line| line.name == "www-authenticate").unwrap();
        assert!(challenge.value.starts_with("Bearer error=\"invalid_token\""), "{reason}: {}", challenge.value);
        let records = daemon.audit();
        let last = records.iter().rfind(|record| record["what"] == "request").unwrap();
        assert_eq!((refused.status, last["reasons"][0].as_str()), (401, Some(reason)), "{last}");
        assert!(last["detail"].as_str().unwrap().starts_with(&format!("foreign-mtls {IDP} GET")), "{last}");
    };
    let other = pem.replace("MIIBBj", "MIIBBk");
    for (certificate, reason) in [
        ("", "certificate_missing"),
        (&*other, "certificate_mismatch"),
        ("garbage", "certificate_malformed"),
        ("%", "certificate_malformed"),
        (CERTIFICATE_HASH, "certificate_malformed"),
        (&pem.replace("MIIBBj", "!IIBBj"), "certificate_malformed"),
        (&pem.repeat(2), "certificate_malformed"),
        (&format!("{other}{pem}"), "certificate_malformed"),
        (&format!("{longest}\n"), "certificate_malformed"),
    ] {
        refused(&with(certificate).encode_to_vec(), reason);
    }
    // The field twice: the last counts, as everywhere in such messages, and no two are taken for one.
    let last = |first: &str, second: &str| {
        let second = VerifyRequest { client_certificate: second.into(), ..VerifyRequest::default() };
        [with(first).encode_to_vec(), second.encode_to_vec()].concat()
    };
    refused(&last(&pem, &other), "certificate_mismatch");
    refused(&last(&pem, "garbage"), "certificate_malformed");
    let long = pem.repeat(CERTIFICATE_BYTES_MAX / pem.len() + 1);
    refused(&last(&pem, &long), "certificate_malformed");
    // Of another one's token the agent's certificate makes nothing.
    let others = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    refused(&of(bound(others), &pem).encode_to_vec(), "certificate_mismatch");
}
