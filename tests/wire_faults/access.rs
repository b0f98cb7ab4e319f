//! The HTTP doors of access tokens: what is said wrong there, and what was captured.

mod exchange;

use std::{
    io::{Read as _, Write as _},
    os::unix::net::UnixStream,
    time::SystemTime,
};

use dayfly::oauth::{TokenHash, dpop::Prover};

use super::{
    SOON,
    common::{DAYFLY, Daemon, own_uid},
};

pub(super) const AUDIENCE: &str = "https://tickets.example.org";
pub(super) const URL: &str = "https://tickets.example.org/api/items/7";
pub(super) const TOKEN: &str = "https://example.org/oauth/token";
pub(super) const FORM: &str = "grant_type=client_credentials&resource=https%3A%2F%2Ftickets.example.org";
pub(super) const FORM_HEAD: &str = "Content-Type: application/x-www-form-urlencoded\r\n";

/// A daemon that knows an agent, which we are, and what it may read.
pub(super) fn agent() -> Daemon {
    agent_with("")
}

/// The same, with these lines of configuration.
pub(super) fn agent_with(config: &str) -> Daemon {
    let daemon = Daemon::start(config);
    register(&daemon, "reporter");
    daemon
}

/// Tells a daemon of the agent, under this name, of the tool, and what it may read.
pub(super) fn register(daemon: &Daemon, agent: &str) {
    daemon.cli(&["agent", "add", agent, "--owner", "ada@example.org"]);
    add_tool(daemon);
    daemon.cli(&["grant", "add", agent, "tickets", "--scope", "read"]);
    daemon.entry("spiffe://example.org/reporter", &[&own_uid()], &["--agent", agent]);
}

fn add_tool(daemon: &Daemon) {
    let scopes = ["--scope", "read=read", "--scope", "write=write"];
    let routes = ["--route", "GET /items/*=read", "--route", "POST /items=write"];
    let url = ["--url", "https://tickets.example.org/api"];
    daemon.cli(&[&["tool", "add", "tickets", "--audience", AUDIENCE][..], &url, &scopes, &routes].concat());
}

pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) head: String,
    pub(super) body: String,
}

impl Answer {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let is_it = |line: &&str| line.split_once(':').is_some_and(|(own, _)| own.eq_ignore_ascii_case(name));
        Some(self.head.lines().find(is_it)?.split_once(':')?.1.trim())
    }

    pub(super) fn error(&self) -> String {
        let body: serde_json::Value = serde_json::from_str(&self.body).unwrap_or_default();
        assert!(body["error_description"].as_str().is_none_or(|words| !words.is_empty()));
        body["error"].as_str().unwrap_or_default().to_owned()
    }
}

/// Sends what a client would, and reads one answer.
pub(super) fn send(daemon: &Daemon, socket: &str, request: &[u8]) -> Answer {
    let mut stream = UnixStream::connect(daemon.home().join(socket)).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    // Who is refused early does not take all of it.
    stream.write_all(request).ok();
    let (mut said, mut piece) = (Vec::new(), [0; 4_096]);
    loop {
        let text = String::from_utf8_lossy(&said).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let status = head.split(' ').nth(1).unwrap().parse().unwrap();
            let answer = Answer { status, head: head.to_owned(), body: body.to_owned() };
            let length = answer.header("content-length").map_or(0, |length| length.parse::<usize>().unwrap());
            if answer.body.len() >= length {
                return answer;
            }
        }
        match stream.read(&mut piece) {
            Ok(count) if count > 0 => said.extend_from_slice(&piece[..count]),
            ended => panic!("{ended:?} after {text}"),
        }
    }
}

pub(super) fn get(daemon: &Daemon, path: &str) -> Answer {
    send(daemon, "http.sock", format!("GET {path} HTTP/1.1\r\nHost: dayfly\r\n\r\n").as_bytes())
}

pub(super) fn post(daemon: &Daemon, headers: &str, body: &str) -> Answer {
    let length = body.len();
    let request =
        format!("POST /oauth/token HTTP/1.1\r\nHost: dayfly\r\nContent-Length: {length}\r\n{headers}\r\n{body}");
    send(daemon, "http.sock", request.as_bytes())
}

pub(super) fn verify(daemon: &Daemon, method: &str, url: &str, headers: &str) -> Answer {
    let original = format!("X-Original-Method: {method}\r\nX-Original-URL: {url}\r\n");
    let request = format!("GET /verify HTTP/1.1\r\nHost: dayfly\r\n{original}{headers}\r\n");
    send(daemon, "authz.sock", request.as_bytes())
}

pub(super) fn now() -> SystemTime {
    #[expect(clippy::disallowed_methods, reason = "the daemon's own clock is the system's")]
    SystemTime::now()
}

/// A proof for the token endpoint, with the nonce that it asks for.
pub(super) fn proof(daemon: &Daemon, prover: &Prover) -> String {
    proof_at(daemon, TOKEN, prover)
}

fn proof_at(daemon: &Daemon, endpoint: &str, prover: &Prover) -> String {
    let without = prover.prove("POST", endpoint, None, None, now()).unwrap();
    let answer = post(daemon, &format!("{FORM_HEAD}DPoP: {without}\r\n"), FORM);
    match answer.header("dpop-nonce") {
        None => prover.prove("POST", endpoint, None, None, now()).unwrap(),
        nonce => {
            assert_eq!((answer.status, answer.error().as_str()), (400, "use_dpop_nonce"));
            prover.prove("POST", endpoint, None, nonce, now()).unwrap()
        }
    }
}

pub(super) fn token(daemon: &Daemon, prover: &Prover) -> String {
    token_at(daemon, TOKEN, prover)
}

/// The same of a daemon whose endpoint is elsewhere.
pub(super) fn token_at(daemon: &Daemon, endpoint: &str, prover: &Prover) -> String {
    let answer = post(daemon, &format!("{FORM_HEAD}DPoP: {}\r\n", proof_at(daemon, endpoint, prover)), FORM);
    let body: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
    assert_eq!((answer.status, body["token_type"].as_str(), body["scope"].as_str()), (200, Some("DPoP"), Some("read")));
    assert_eq!((answer.header("cache-control"), body["expires_in"].as_u64()), (Some("no-store"), Some(900)));
    body["access_token"].as_str().unwrap().to_owned()
}

/// The headers of a call.
pub(super) fn signed(prover: &Prover, token: &str, method: &str, url: &str, nonce: Option<&str>) -> String {
    let proof = prover.prove(method, url, Some(TokenHash::of(token)), nonce, now()).unwrap();
    format!("Authorization: DPoP {token}\r\nDPoP: {proof}\r\n")
}

/// The nonce that the door asks for.
pub(super) fn nonce(daemon: &Daemon, prover: &Prover, token: &str) -> String {
    let asked = verify(daemon, "GET", URL, &signed(prover, token, "GET", URL, None));
    assert_eq!(asked.status, 401);
    assert!(asked.header("www-authenticate").unwrap().contains("use_dpop_nonce"), "{}", asked.head);
    asked.header("dpop-nonce").unwrap().to_owned()
}

#[test]
fn clients_find_the_endpoint_and_its_keys() {
    let daemon = agent();
    for path in [
        "/.well-known/oauth-authorization-server",
        "/.well-known/oauth-authorization-server/oauth",
        "/oauth/.well-known/openid-configuration",
    ] {
        let answer = get(&daemon, path);
        let said: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
        assert_eq!((answer.status, said["issuer"].as_str()), (200, Some("https://example.org/oauth")));
        assert_eq!(
            (said["token_endpoint"].as_str(), answer.header("cache-control")),
            (Some(TOKEN), Some("max-age=3600"))
        );
    }
    let keys: serde_json::Value = serde_json::from_str(&get(&daemon, "/oauth/jwks").body).unwrap();
    assert!(keys["keys"][0]["kid"].as_str().unwrap().starts_with("dfly-"));
    assert_eq!(get(&daemon, "/").status, 404);
}

#[test]
fn what_is_asked_wrong_has_its_code_and_burns_nothing() {
    let daemon = agent();
    let prover = Prover::generate().unwrap();
    let proof = proof(&daemon, &prover);
    let good = format!("{FORM_HEAD}DPoP: {proof}\r\n");
    for (headers, body, status, code) in [
        ("Content-Type: application/json\r\n", "{}", 400, "invalid_request"),
        (FORM_HEAD, "", 400, "invalid_request"),
        (FORM_HEAD, "grant_type=client_credentials&grant_type=x", 400, "invalid_request"),
        (FORM_HEAD, "grant_type=%zz", 400, "invalid_request"),
        (FORM_HEAD, "grant_type=password", 400, "unsupported_grant_type"),
        (FORM_HEAD, &format!("{FORM}&client_secret=x"), 400, "invalid_request"),
        (&format!("{good}Authorization: Basic eDp5\r\n"), FORM, 400, "invalid_request"),
        (&good, "grant_type=client_credentials", 400, "invalid_target"),
        (&good, &format!("{FORM}&audience=https%3A%2F%2Fother.example.org"), 400, "invalid_target"),
        (&good, &format!("{FORM}&resource=https%3A%2F%2Ftickets.example.org"), 400, "invalid_target"),
        (&good, &FORM.replace("tickets", "nowhere"), 400, "invalid_target"),
        (&good, &format!("{FORM}&scope=%22"), 400, "invalid_scope"),
        (&good, &format!("{FORM}&scope=write"), 400, "invalid_scope"),
        (&good, &format!("{FORM}&client_id=somebody"), 401, "invalid_client"),
        (FORM_HEAD, FORM, 400, "invalid_dpop_proof"),
        (&format!("{good}DPoP: {proof}\r\n"), FORM, 400, "invalid_dpop_proof"),
        (&format!("{FORM_HEAD}DPoP: x\r\n"), FORM, 400, "invalid_dpop_proof"),
    ] {
        let answer = post(&daemon, headers, body);
        assert_eq!((answer.status, answer.error().as_str()), (status, code), "{headers}{body}");
        assert_eq!(answer.header("cache-control"), Some("no-store"));
    }
    for (path, allow) in [("/oauth/token", "POST"), ("/oauth/jwks", "GET, HEAD")] {
        let method = if allow == "POST" { "GET" } else { "PUT" };
        let answer = send(&daemon, "http.sock", format!("{method} {path} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes());
        assert_eq!((answer.status, answer.header("allow")), (405, Some(allow)));
        assert_eq!((answer.error().as_str(), answer.header("cache-control")), ("invalid_request", Some("no-store")));
        assert!(answer.body.contains("error_description"), "{}", answer.body);
    }
    assert_eq!(post(&daemon, &good, FORM).status, 200, "the proof is as good as new");
    let again = post(&daemon, &good, FORM);
    assert_eq!((again.status, again.error().as_str()), (400, "invalid_dpop_proof"));
    daemon.must_serve("all of it");
}

#[test]
fn what_is_no_request_is_refused_and_others_are_served() {
    let daemon = agent();
    let many: String = (0..101).map(|number| format!("x-{number}: y\r\n")).collect();
    let long = format!("x-long: {}\r\n", "y".repeat(40_000));
    for (socket, request, status) in [
        ("http.sock", "GET /oauth/jwks HTTP/1.1\r\n\r\n".to_owned(), 400),
        ("http.sock", "GET /oauth/jwks HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n".to_owned(), 400),
        ("http.sock", format!("GET /oauth/jwks HTTP/1.1\r\nHost: a\r\n{many}\r\n"), 431),
        ("http.sock", format!("GET /oauth/jwks HTTP/1.1\r\nHost: a\r\n{long}\r\n"), 431),
        ("http.sock", "GARBAGE\r\n\r\n".to_owned(), 400),
        ("authz.sock", "GET /verify HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), 400),
        ("authz.sock", "GET /other HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), 404),
        ("authz.sock", "GET /verify HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n".to_owned(), 400),
        (
            "authz.sock",
            format!("POST /verify HTTP/1.1\r\nHost: a\r\nContent-Length: 70000\r\n\r\n{}", "y".repeat(70_000)),
            413,
        ),
        ("authz.sock", "POST /metadata HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), 405),
        ("authz.sock", "GET /metadata HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), 400),
    ] {
        let answer = send(&daemon, socket, request.as_bytes());
        assert_eq!(answer.status, status, "{request:.80}: {}", answer.head);
        // What is no request at all is hyper's to refuse.
        let is_ours = answer.header("cache-control") == Some("no-store");
        assert_eq!(is_ours, status != 431 && !request.starts_with("GARBAGE"), "{request:.80}: {}", answer.head);
        let is_told = (answer.header("x-dayfly-agent"), answer.header("x-dayfly-scopes")) == (Some(""), Some(""));
        assert_eq!(is_told, socket == "authz.sock" && is_ours, "{request:.80}: {}", answer.head);
    }
    for body in [64 << 10, (64 << 10) + 1, 1 << 20] {
        let answer = post(&daemon, FORM_HEAD, &"a".repeat(body));
        assert_eq!(answer.status, if body > 64 << 10 { 413 } else { 400 }, "{body}");
        assert_eq!(answer.error(), "invalid_request");
        assert!(answer.body.contains("error_description"), "{}", answer.body);
    }
    for url in [
        "/api/items/7",
        "https://tickets.example.org/api/items/..%3B/x",
        "https://tickets.example.org/api/../items",
        "ftp://tickets.example.org/",
    ] {
        assert_eq!(verify(&daemon, "GET", url, "").status, 400, "{url}");
    }
    let twice = format!("X-Original-URL: {URL}\r\n");
    assert_eq!(verify(&daemon, "GET", URL, &twice).status, 400);
    assert_eq!(verify(&daemon, "GET", "https://nowhere.example.org/", "").status, 403);
    assert_eq!(verify(&daemon, "PUT", URL, "").status, 403, "no route");
    daemon.must_serve("all of it");
}

#[test]
fn a_token_is_good_for_its_agent_with_its_key_and_once() {
    let daemon = agent();
    let (prover, thief) = (Prover::generate().unwrap(), Prover::generate().unwrap());
    let token = token(&daemon, &prover);
    let nonce = nonce(&daemon, &prover, &token);
    let call = |prover, method, url| signed(prover, &token, method, url, Some(&nonce));
    let headers = call(&prover, "GET", URL);
    let answer = verify(&daemon, "GET", &format!("{URL}?q=1"), &headers);
    assert_eq!(
        (answer.status, answer.header("x-dayfly-agent"), answer.header("x-dayfly-scopes")),
        (200, Some("reporter"), Some("read"))
    );
    let fresh = || call(&prover, "GET", URL);
    let refused = |reason: &str, status: u16, url: &str, headers: &str| {
        let answer = verify(&daemon, "GET", url, headers);
        assert_eq!((answer.status, answer.header("x-dayfly-agent")), (status, Some("")), "{reason}");
        let refusals: Vec<_> = daemon.audit().into_iter().filter(|record| record["what"] == "request").collect();
        assert_eq!(refusals.last().unwrap()["reasons"][0], reason);
    };
    refused("proof_replayed", 401, URL, &headers);
    refused("proof_url", 401, &format!("{URL}8"), &fresh());
    refused("key_mismatch", 401, URL, &call(&thief, "GET", URL));
    refused("proof_missing", 401, URL, &format!("Authorization: DPoP {token}\r\n"));
    refused("bearer", 401, URL, &format!("Authorization: Bearer {token}\r\n"));
    refused("no_credentials", 401, URL, "");
    let broken = token.replace(".eyJ", ".eyK");
    refused("token_malformed", 401, URL, &fresh().replace(&token, &broken));
    let posted = call(&prover, "POST", "https://tickets.example.org/api/items");
    let answer = verify(&daemon, "POST", "https://tickets.example.org/api/items", &posted);
    assert!(answer.status == 403 && answer.header("www-authenticate").unwrap().contains("insufficient_scope"));
    // What is taken away is gone at once.
    let headers = fresh();
    daemon.cli(&["agent", "suspend", "reporter"]);
    refused("agent_suspended", 401, URL, &headers);
    daemon.cli(&["agent", "resume", "reporter"]);
    assert_eq!(verify(&daemon, "GET", URL, &headers).status, 200, "what was refused burnt nothing");
    daemon.cli(&["grant", "remove", "reporter/tickets"]);
    refused("revoked_grant", 401, URL, &fresh());
    // Another grant of the same name, and another tool, have not the tokens of the first.
    daemon.cli(&["grant", "add", "reporter", "tickets", "--scope", "read"]);
    refused("revoked_grant", 401, URL, &fresh());
    let second = self::token(&daemon, &prover);
    let called = || verify(&daemon, "GET", URL, &signed(&prover, &second, "GET", URL, Some(&nonce)));
    assert_eq!(called().status, 200);
    let tool = daemon.cli(&["tool", "show", "tickets", "--output", "json"]);
    daemon.cli(&["tool", "remove", "tickets", "--cascade"]);
    refused("no_tool", 403, URL, &fresh());
    add_tool(&daemon);
    assert_ne!(daemon.cli(&["tool", "show", "tickets", "--output", "json"]), tool);
    daemon.cli(&["grant", "add", "reporter", "tickets", "--scope", "read"]);
    assert_eq!(called().status, 401);
    refused("revoked_grant", 401, URL, &fresh());
    let token = self::token(&daemon, &prover);
    assert_eq!(verify(&daemon, "GET", URL, &signed(&prover, &token, "GET", URL, Some(&nonce))).status, 200);
    let fresh = || signed(&prover, &token, "GET", URL, Some(&nonce));
    daemon.cli(&["agent", "remove", "reporter", "--cascade"]);
    refused("agent_unknown", 401, URL, &fresh());
    let log = daemon.log() + &serde_json::to_string(&daemon.audit()).unwrap();
    let (_, claims) = token.split_once('.').unwrap();
    assert!(!log.contains(claims), "no token is in a log");
}

/// No running image can be asked over HTTP/1.1.
#[test]
fn selectors_of_the_image_give_nothing_over_http() {
    let daemon = agent();
    let entries: serde_json::Value = serde_json::from_str(&daemon.cli(&["entry", "list", "--output", "json"])).unwrap();
    let id = entries.pointer("/entries/0/id").or(entries.pointer("/0/id")).unwrap().as_str().unwrap().to_owned();
    daemon.cli(&["entry", "remove", &id]);
    let path = std::env::current_exe().unwrap();
    let path = format!("unix:path:{}", path.display());
    daemon.entry("spiffe://example.org/reporter", &[&own_uid(), &path], &["--agent", "reporter"]);
    let prover = Prover::generate().unwrap();
    let answer = post(&daemon, &format!("{FORM_HEAD}DPoP: {}\r\n", proof(&daemon, &prover)), FORM);
    assert_eq!((answer.status, answer.error().as_str()), (401, "invalid_client"));
    // By gRPC it can.
    daemon.entry("spiffe://example.org/cli", &[&own_uid(), &format!("unix:path:{DAYFLY}")], &["--agent", "reporter"]);
    assert!(daemon.cli(&["token", "get", "--tool", "tickets"]).starts_with("eyJ0eXAiOiJhdCtqd3Qi"));
}

/// RFC 9728: what a tool needs, where its challenges say.
#[test]
fn a_tool_says_what_it_needs() {
    let daemon = agent();
    let route = ["--scope", "read=read", "--route", "GET /=read"];
    let tool = |name: &str, audience: &str, url: &str| {
        daemon.cli(&[&["tool", "add", name, "--audience", audience, "--url", url][..], &route].concat());
    };
    tool("mcp", "https://mcp.example.org/mcp", "https://mcp.example.org/mcp");
    tool("slash", "https://slash.example.org/", "https://slash.example.org/v1");
    tool("elsewhere", "https://elsewhere.example.org", "https://here.example.org");
    let ask = |url: &str| {
        let request = format!("GET /metadata HTTP/1.1\r\nHost: a\r\nX-Original-URL: {url}\r\n\r\n");
        send(&daemon, "authz.sock", request.as_bytes())
    };
    for (at, audience) in [
        ("https://tickets.example.org/api/items/7", Some("https://tickets.example.org")),
        ("https://mcp.example.org/mcp", Some("https://mcp.example.org/mcp")),
        ("https://slash.example.org/v1", Some("https://slash.example.org/")),
        ("https://here.example.org/", None),
    ] {
        let challenge = verify(&daemon, "GET", at, "").header("www-authenticate").unwrap().to_owned();
        let url = challenge.split_once("resource_metadata=\"").map(|(_, rest)| rest.trim_end_matches('"').to_owned());
        assert_eq!(url.is_some(), audience.is_some(), "{challenge}");
        let Some(url) = url else { continue };
        let answer = ask(&url);
        let said: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
        assert_eq!((answer.status, said["resource"].as_str()), (200, audience), "{url}");
        assert_eq!(said["authorization_servers"], serde_json::json!(["https://example.org/oauth"]));
        assert!(said["scopes_supported"].as_array().unwrap().contains(&"read".into()));
        assert_eq!(said["bearer_methods_supported"], serde_json::json!([]));
        assert_eq!(said["dpop_bound_access_tokens_required"], true);
        assert_eq!(said["dpop_signing_alg_values_supported"][0], "ES256");
    }
    for (url, status) in [
        ("https://nowhere.example.org/.well-known/oauth-protected-resource", 404),
        ("https://tickets.example.org/.well-known/oauth-protected-resource/api", 404),
        ("https://tickets.example.org/api/items/7", 404),
        ("/.well-known/oauth-protected-resource", 400),
    ] {
        assert_eq!(ask(url).status, status, "{url}");
    }
}

#[test]
fn who_says_nothing_or_half_a_request_is_let_go() {
    let daemon = Daemon::start("[limits]\npreface_seconds = 1\n");
    for begin in ["", "GET /oauth/jwks HTTP/1.1\r\nHo", "GET /oauth/jwks HTTP/1.1\r\nHost: a\r\n\r\n"] {
        let mut stream = UnixStream::connect(daemon.home().join("http.sock")).unwrap();
        stream.set_read_timeout(Some(SOON)).unwrap();
        stream.write_all(begin.as_bytes()).unwrap();
        let mut said = Vec::new();
        stream.read_to_end(&mut said).unwrap();
        assert_eq!(said.starts_with(b"HTTP/1.1 200"), begin.ends_with("\r\n\r\n"), "{begin}");
    }
}

#[test]
fn a_caller_may_say_what_a_token_is_for_and_it_is_recorded() {
    let (daemon, prover) = (agent(), Prover::generate().unwrap());
    let with = |words: &str| {
        post(&daemon, &format!("{FORM_HEAD}DPoP: {}\r\n", proof(&daemon, &prover)), &format!("{FORM}&reason={words}"))
    };
    let reasons = || {
        let issued = daemon.audit().into_iter().filter(|record| record["kind"] == "issued");
        issued.map(|record| record["identities"][0]["access"]["reason"].clone()).collect::<Vec<_>>()
    };
    assert_eq!((with("look+at+%237+for+Ada").status, with("").status), (200, 200));
    assert_eq!(reasons(), ["look at #7 for Ada".into(), serde_json::Value::Null]);
    for words in ["a%0Ab", "%C2%85", &"x".repeat(201)] {
        let refused = with(words);
        assert_eq!((refused.status, refused.error().as_str()), (400, "invalid_request"), "{words}");
    }
    assert_eq!((with(&"x".repeat(200)).status, reasons().len()), (200, 3));
    let socket = daemon.socket().display().to_string();
    daemon.cli(&["token", "get", "--tool", "tickets", "--reason", "by hand", "--socket", &socket]);
    assert_eq!(reasons().last(), Some(&"by hand".into()));
}

/// A grant's rate: the answer says when to come again, and the proof is as good as new.
#[test]
fn who_asks_too_often_is_told_when_to_come_again() {
    let (daemon, prover) = (agent(), Prover::generate().unwrap());
    daemon.cli(&["grant", "update", "reporter/tickets", "--rate", "1/min"]);
    token(&daemon, &prover);
    let again = format!("{FORM_HEAD}DPoP: {}\r\n", proof(&daemon, &prover));
    for _ in 0..2 {
        let answer = post(&daemon, &again, FORM);
        let after: u64 = answer.header("retry-after").unwrap().parse().unwrap();
        assert_eq!((answer.status, answer.error().as_str()), (429, "slow_down"));
        assert!((1..=60).contains(&after) && answer.header("cache-control") == Some("no-store"), "{}", answer.head);
        let refused = daemon.audit().into_iter().rfind(|record| record["what"] == "access-token").unwrap();
        assert_eq!(refused["reasons"], serde_json::json!(["rate_reached"]));
    }
    daemon.cli(&["grant", "update", "reporter/tickets", "--rate", "0"]);
    assert_eq!(post(&daemon, &again, FORM).status, 200);
}

/// Where a door or the endpoint is, is registered or configured, and nobody who asks says it.
#[test]
fn neither_host_nor_forwarded_headers_say_where_a_request_is() {
    let (daemon, prover) = (agent(), Prover::generate().unwrap());
    let token = token(&daemon, &prover);
    let nonce = nonce(&daemon, &prover, &token);
    let spoofed = "X-Forwarded-Host: evil.test\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Uri: /api/items\r\n\
                   X-Forwarded-Method: POST\r\nX-Forwarded-Prefix: /x\r\nX-Real-Ip: 1.1.1.1\r\n\
                   Forwarded: host=evil.test;proto=http\r\nX-Original-Host: evil.test\r\nX-Rewrite-Url: /x\r\n";
    let ask = |original: &str, proof_for: &str| {
        let headers = signed(&prover, &token, "GET", proof_for, Some(&nonce));
        let request = format!("GET /verify HTTP/1.1\r\nHost: evil.test\r\n{spoofed}{original}{headers}\r\n");
        send(&daemon, "authz.sock", request.as_bytes())
    };
    let original = format!("X-Original-Method: GET\r\nX-Original-URL: {URL}\r\n");
    assert_eq!(ask(&original, URL).status, 200);
    for elsewhere in
        ["https://evil.test/api/items/7", "http://tickets.example.org/api/items/7", "http://evil.test/x/api/items"]
    {
        let answer = ask(&original, elsewhere);
        assert!(answer.header("www-authenticate").unwrap().contains("invalid_dpop_proof"), "{}", answer.head);
        let refused = daemon.audit().into_iter().rfind(|record| record["what"] == "request").unwrap();
        assert_eq!((answer.status, &refused["reasons"]), (401, &serde_json::json!(["proof_url"])), "{elsewhere}");
    }
    // They do not stand in for what the proxy has to say.
    let forwarded = "X-Forwarded-Method: GET\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: tickets.example.org\r\n\
                     X-Forwarded-Uri: /api/items/7\r\n";
    let headers = signed(&prover, &token, "GET", URL, Some(&nonce));
    let request = format!("GET /verify HTTP/1.1\r\nHost: tickets.example.org\r\n{forwarded}{headers}\r\n");
    assert_eq!(send(&daemon, "authz.sock", request.as_bytes()).status, 400);
    // Nor is the endpoint where somebody says that it is.
    let asked = |url: &str, nonce: Option<&str>| {
        let (proof, length) = (prover.prove("POST", url, None, nonce, now()).unwrap(), FORM.len());
        let head = format!("POST /oauth/token HTTP/1.1\r\nHost: evil.test\r\n{spoofed}Content-Length: {length}\r\n");
        send(&daemon, "http.sock", format!("{head}{FORM_HEAD}DPoP: {proof}\r\n\r\n{FORM}").as_bytes())
    };
    let nonce = asked(TOKEN, None).header("dpop-nonce").unwrap().to_owned();
    let refused = asked("https://evil.test/oauth/token", Some(&nonce));
    assert_eq!((refused.status, refused.error().as_str()), (400, "invalid_dpop_proof"));
    let answer: serde_json::Value = serde_json::from_str(&asked(TOKEN, Some(&nonce)).body).unwrap();
    let claims = answer["access_token"].as_str().unwrap().split('.').nth(1).unwrap();
    let claims: serde_json::Value =
        serde_json::from_slice(&data_encoding::BASE64URL_NOPAD.decode(claims.as_bytes()).unwrap()).unwrap();
    assert_eq!(claims["iss"], "https://example.org/oauth");
    let request = format!("GET /.well-known/oauth-authorization-server HTTP/1.1\r\nHost: evil.test\r\n{spoofed}\r\n");
    let metadata = send(&daemon, "http.sock", request.as_bytes());
    assert!(metadata.status == 200 && !metadata.body.contains("evil"), "{}", metadata.body);
}
