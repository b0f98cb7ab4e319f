//! The authz socket by gRPC: Envoy's `Check` and our `Verify`, beside the pages, judged alike.

use std::{
    collections::HashMap,
    io::{Read as _, Write as _},
    os::unix::net::UnixStream,
    path::Path,
};

use dayfly::oauth::dpop::Prover;
use prost::Message;

use super::{
    access::{URL, agent, nonce, signed, token, verify},
    common::{
        Daemon,
        h2raw::{Answer, Head, OK, PREFACE, Raw, UNAVAILABLE, UNIMPLEMENTED, hello, message},
    },
};

const CHECK: &str = "/envoy.service.auth.v3.Authorization/Check";
pub(super) const VERIFY: &str = "/dayfly.v1.Authz/Verify";

#[derive(Clone, PartialEq, prost::Message)]
struct CheckRequest {
    #[prost(message, optional, tag = "1")]
    attributes: Option<Attributes>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Attributes {
    #[prost(message, optional, tag = "4")]
    request: Option<Http>,
    #[prost(map = "string, string", tag = "10")]
    extensions: HashMap<String, String>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Http {
    #[prost(message, optional, tag = "2")]
    http: Option<HttpRequest>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct HttpRequest {
    #[prost(string, tag = "2")]
    method: String,
    #[prost(map = "string, string", tag = "3")]
    headers: HashMap<String, String>,
    #[prost(string, tag = "4")]
    path: String,
    #[prost(string, tag = "5")]
    host: String,
    #[prost(string, tag = "6")]
    scheme: String,
    #[prost(message, optional, tag = "13")]
    raw: Option<Lines>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Lines {
    #[prost(message, repeated, tag = "1")]
    lines: Vec<Line>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Line {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    #[prost(string, tag = "2")]
    pub(super) value: String,
    #[prost(bytes = "vec", tag = "3")]
    raw: Vec<u8>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct CheckResponse {
    #[prost(message, optional, tag = "1")]
    status: Option<Number>,
    #[prost(message, optional, tag = "2")]
    denied: Option<Denied>,
    #[prost(message, optional, tag = "3")]
    passed: Option<Passed>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Number {
    #[prost(int32, tag = "1")]
    code: i32,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Denied {
    #[prost(message, optional, tag = "1")]
    status: Option<Number>,
    #[prost(message, repeated, tag = "2")]
    headers: Vec<Set>,
    #[prost(string, tag = "3")]
    body: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Passed {
    #[prost(message, repeated, tag = "2")]
    headers: Vec<Set>,
    #[prost(string, repeated, tag = "5")]
    removed: Vec<String>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Set {
    #[prost(message, optional, tag = "1")]
    line: Option<Line>,
    #[prost(int32, tag = "3")]
    action: i32,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct VerifyRequest {
    #[prost(string, tag = "1")]
    pub(super) method: String,
    #[prost(string, tag = "2")]
    pub(super) url: String,
    #[prost(string, repeated, tag = "3")]
    pub(super) authorization: Vec<String>,
    #[prost(string, repeated, tag = "4")]
    pub(super) dpop: Vec<String>,
    #[prost(string, tag = "5")]
    pub(super) tool: String,
    #[prost(string, tag = "9")]
    pub(super) client_certificate: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct VerifyResponse {
    #[prost(message, optional, tag = "1")]
    pub(super) verified: Option<Verified>,
    #[prost(message, optional, tag = "2")]
    pub(super) refused: Option<Refused>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Verified {
    #[prost(string, tag = "1")]
    pub(super) agent: String,
    #[prost(string, tag = "2")]
    subject: String,
    #[prost(string, tag = "3")]
    actor: String,
    #[prost(string, tag = "4")]
    tool: String,
    #[prost(string, repeated, tag = "5")]
    scopes: Vec<String>,
    #[prost(string, tag = "6")]
    scope: String,
    #[prost(string, tag = "7")]
    jti: String,
    #[prost(string, tag = "8")]
    pub(super) jkt: String,
    #[prost(int64, tag = "9")]
    expires_at: i64,
    #[prost(string, tag = "10")]
    pub(super) credential: String,
    #[prost(string, tag = "11")]
    pub(super) issuer: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Refused {
    #[prost(uint32, tag = "1")]
    pub(super) status: u32,
    #[prost(message, repeated, tag = "2")]
    pub(super) headers: Vec<Line>,
    #[prost(string, tag = "3")]
    body: String,
}

/// A call without the security header, on a connection of its own.
pub(super) fn call(daemon: &Daemon, method: &str, body: &impl Message) -> Answer {
    let mut raw = Raw::connect(&daemon.home().join("authz.sock")).unwrap();
    let stream = raw.call(&Head::bare(method), &message(&body.encode_to_vec())).unwrap();
    raw.finish(stream).unwrap()
}

pub(super) fn answered<T: Message + Default>(answer: &Answer) -> T {
    assert_eq!(answer.code(), Some(OK), "{answer:?}");
    T::decode(answer.messages.first().unwrap().as_slice()).unwrap()
}

/// What a request is judged: the status, and each header that is told.
pub(super) type Told = (u32, HashMap<String, String>);

fn lines(headers: &str) -> Vec<(String, String)> {
    let pairs = headers.lines().filter_map(|line| line.split_once(": "));
    pairs.map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned())).collect()
}

/// As Envoy asks, with each header line by itself or joined, as it is configured.
pub(super) fn check(daemon: &Daemon, tool: Option<&str>, method: &str, url: &str, headers: &str, joins: bool) -> Told {
    let (scheme, rest) = url.split_once("://").unwrap();
    let (host, path) = rest.split_at(rest.find('/').unwrap());
    let mut http = HttpRequest {
        method: method.into(),
        path: path.into(),
        host: host.into(),
        scheme: scheme.into(),
        ..HttpRequest::default()
    };
    for (name, value) in lines(headers) {
        if joins {
            let joined = http.headers.entry(name).or_default();
            *joined = if joined.is_empty() { value } else { format!("{joined},{value}") };
        } else {
            let raw = value.into_bytes();
            http.raw.get_or_insert_default().lines.push(Line { name, raw, ..Line::default() });
        }
    }
    let extensions = tool.into_iter().map(|tool| ("dayfly_tool".to_owned(), tool.to_owned())).collect();
    let attributes = Some(Attributes { request: Some(Http { http: Some(http) }), extensions });
    let said: CheckResponse = answered(&call(daemon, CHECK, &CheckRequest { attributes }));
    let headers = |set: Vec<Set>| {
        let each = set.into_iter().map(|set| {
            assert_eq!(set.action, 2, "it overwrites");
            set.line.map(|line| (line.name, line.value)).unwrap()
        });
        each.collect::<HashMap<_, _>>()
    };
    match (said.passed, said.denied) {
        (Some(passed), None) => {
            assert_eq!((said.status.unwrap().code, passed.removed.len()), (0, 0));
            (200, headers(passed.headers))
        }
        (None, Some(denied)) => {
            assert_eq!(said.status.unwrap().code, 7);
            let status = denied.status.unwrap().code.try_into().unwrap();
            (status, headers(denied.headers))
        }
        both => panic!("{both:?}"),
    }
}

fn ask(daemon: &Daemon, tool: &str, method: &str, url: &str, headers: &str) -> VerifyResponse {
    let of = |name: &str| lines(headers).into_iter().filter(|(own, _)| own == name).map(|(_, value)| value).collect();
    let (authorization, dpop) = (of("authorization"), of("dpop"));
    let (method, url, tool) = (method.into(), url.into(), tool.into());
    let request = VerifyRequest { method, url, authorization, dpop, tool, ..VerifyRequest::default() };
    answered(&call(daemon, VERIFY, &request))
}

/// As a service asks.
pub(super) fn told(daemon: &Daemon, tool: Option<&str>, method: &str, url: &str, headers: &str) -> Told {
    match ask(daemon, tool.unwrap_or_default(), method, url, headers) {
        VerifyResponse { verified: Some(_), refused: None } => (200, HashMap::new()),
        VerifyResponse { verified: None, refused: Some(refused) } => {
            (refused.status, refused.headers.into_iter().map(|line| (line.name, line.value)).collect())
        }
        both => panic!("{both:?}"),
    }
}

#[test]
fn the_authz_socket_is_told_what_it_speaks_by_the_first_bytes() {
    let daemon = agent();
    let health = Head::bare("/grpc.health.v1.Health/Check");
    let socket = daemon.home().join("authz.sock");
    for answer in [
        Raw::connect(&socket).unwrap().ask(&health).unwrap(),
        Raw::connect(&socket).unwrap().ask(&Head::bare("/grpc.health.v1.Health/Nothing")).unwrap(),
        Raw::connect(&socket).unwrap().ask(&Head::bare("/SpiffeWorkloadAPI/FetchX509SVID")).unwrap(),
    ] {
        assert!(matches!(answer.code(), Some(OK | UNIMPLEMENTED)), "{answer:?}");
    }
    // Byte by byte, and several requests on one connection.
    let mut slow = UnixStream::connect(&socket).unwrap();
    for byte in hello() {
        slow.write_all(&[byte]).unwrap();
    }
    let mut slow = Raw::adopted(slow, 1);
    for _ in 0..3 {
        assert_eq!(slow.ask(&health).unwrap().code(), Some(OK));
    }
    // Half a preface and then another word is HTTP/1.1, which has no such method.
    let said = |socket: &Path, begin: &[u8]| {
        let mut stream = UnixStream::connect(socket).unwrap();
        stream.write_all(begin).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let mut said = Vec::new();
        stream.read_to_end(&mut said).ok();
        String::from_utf8_lossy(&said).into_owned()
    };
    for begin in ["PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n", "PRI * HTTP/1.1\r\nHost: a\r\n\r\n", "PRI"] {
        let said = said(&socket, begin.as_bytes());
        assert!(said.is_empty() || said.starts_with("HTTP/1.1 4"), "{begin}: {said}");
    }
    assert!(said(&socket, &hello()).starts_with("\0\0"), "SETTINGS");
    assert_eq!(verify(&daemon, "GET", URL, "").status, 401);
    // The other sockets are what they were.
    let elsewhere = said(&daemon.home().join("http.sock"), PREFACE);
    assert!(elsewhere.is_empty() || elsewhere.starts_with("HTTP/1.1 4"), "{elsewhere}");
    assert!(Raw::connect(&daemon.socket()).unwrap().ask(&Head::bare(CHECK)).unwrap().code() != Some(OK));
    let mut stopped = daemon;
    let mut silent = UnixStream::connect(&socket).unwrap();
    assert!(stopped.stop(), "who says nothing holds nobody up");
    assert_eq!(silent.read(&mut [0; 1]).unwrap_or_default(), 0);
}

#[test]
fn envoy_and_services_are_told_what_proxies_are() {
    let daemon = agent();
    let (prover, thief) = (Prover::generate().unwrap(), Prover::generate().unwrap());
    let token = token(&daemon, &prover);
    let nonce = nonce(&daemon, &prover, &token);
    let good = || signed(&prover, &token, "GET", URL, Some(&nonce));
    let (status, set) = check(&daemon, None, "GET", &format!("{URL}?q=1"), &good(), false);
    let expected = [("x-dayfly-agent", "reporter"), ("x-dayfly-scopes", "read")];
    let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!((status, set), (200, expected.into()));
    assert_eq!(check(&daemon, Some("tickets"), "GET", URL, &good(), true).0, 200);
    let verified = ask(&daemon, "", "GET", URL, &good()).verified.unwrap();
    let id = "spiffe://example.org/reporter";
    assert_eq!((verified.agent.as_str(), verified.tool.as_str()), ("reporter", "tickets"));
    assert_eq!((verified.subject.as_str(), verified.actor.as_str()), (id, id));
    assert_eq!((verified.scopes, verified.scope.as_str()), (vec!["read".to_owned()], "read"));
    assert_eq!((verified.jti.len(), verified.jkt), (22, prover.thumbprint().to_string()));
    assert!(verified.expires_at > 1_700_000_000);

    let proof_of = |headers: &str| lines(headers).pop().map(|(_, proof)| format!("DPoP: {proof}\r\n")).unwrap();
    let used = good();
    assert_eq!(told(&daemon, None, "GET", URL, &used).0, 200);
    let posted = "https://tickets.example.org/api/items";
    let bare = format!("Authorization: DPoP {token}\r\n");
    let metadata = r#"resource_metadata="https://tickets.example.org/.well-known/oauth-protected-resource""#;
    type Case<'a> = (&'a str, &'a str, &'a str, String, u32, &'a str);
    let cases: [Case<'_>; 19] = [
        ("used before", "GET", URL, used.clone(), 401, "invalid_dpop_proof"),
        ("another method", "POST", posted, good(), 401, "invalid_dpop_proof"),
        ("another path", "GET", "https://tickets.example.org/api/items/8", good(), 401, "invalid_dpop_proof"),
        ("no proof", "GET", URL, bare.clone(), 401, "invalid_dpop_proof"),
        ("two proofs", "GET", URL, format!("{}{}", good(), proof_of(&good())), 401, "invalid_dpop_proof"),
        ("two tokens", "GET", URL, format!("{bare}{}", good()), 400, "invalid_request"),
        ("another key", "GET", URL, signed(&thief, &token, "GET", URL, Some(&nonce)), 401, "invalid_token"),
        ("Bearer", "GET", URL, bare.replace("DPoP", "Bearer"), 401, "invalid_token"),
        ("no nonce", "GET", URL, signed(&prover, &token, "GET", URL, None), 401, "use_dpop_nonce"),
        ("no scope", "POST", posted, signed(&prover, &token, "POST", posted, Some(&nonce)), 403, "insufficient_scope"),
        ("nothing", "GET", URL, String::new(), 401, "DPoP algs="),
        ("no route", "DELETE", URL, good(), 403, ""),
        ("another host", "GET", "https://other.example.org/api/items/7", good(), 403, ""),
        ("another scheme", "GET", "http://tickets.example.org/api/items/7", good(), 403, ""),
        ("dots", "GET", "https://tickets.example.org/api/items/%2e%2e/items/7", good(), 400, ""),
        ("a slash within", "GET", "https://tickets.example.org/api/items%2F7", good(), 400, ""),
        ("two slashes", "GET", "https://tickets.example.org/api//items/7", good(), 400, ""),
        ("a semicolon", "GET", "https://tickets.example.org/api/items/7;a", good(), 400, ""),
        ("no method", "", URL, good(), 400, ""),
    ];
    for (what, method, url, headers, status, says) in &cases {
        let page = verify(&daemon, method, url, headers);
        let mut all = vec![
            check(&daemon, None, method, url, headers, false),
            check(&daemon, None, method, url, headers, true),
            told(&daemon, None, method, url, headers),
        ];
        let names = ["www-authenticate", "dpop-nonce", "retry-after", "cache-control"];
        let told = names.iter().filter_map(|name| Some(((*name).to_owned(), page.header(name)?.to_owned())));
        all.push((page.status.into(), told.collect()));
        for (told, headers) in all {
            let challenge = headers.get("www-authenticate").map(String::as_str).unwrap_or_default();
            assert_eq!(told, *status, "{what}: {headers:?}");
            assert_eq!(challenge.is_empty(), says.is_empty(), "{what}: {challenge}");
            assert!(
                challenge.contains(says) && (challenge.is_empty() || challenge.ends_with(metadata)),
                "{what}: {challenge}"
            );
            assert_eq!(headers.get("cache-control").map(String::as_str), Some("no-store"), "{what}");
            assert_eq!(headers.contains_key("dpop-nonce"), *says == "use_dpop_nonce", "{what}");
        }
    }
    daemon.cli(&["agent", "suspend", "reporter"]);
    assert_eq!(
        (check(&daemon, None, "GET", URL, &good(), false).0, told(&daemon, None, "GET", URL, &good()).0),
        (401, 401)
    );
    daemon.cli(&["agent", "resume", "reporter"]);
    assert_eq!(told(&daemon, None, "GET", URL, &good()).0, 200);
    let log = daemon.log() + &serde_json::to_string(&daemon.audit()).unwrap();
    assert!(!log.contains(token.split_once('.').unwrap().1), "no token is in a log");
}

/// A route's word narrows, and opens only what no URL leads to.
#[test]
fn a_name_of_a_tool_narrows() {
    let daemon = agent();
    let prover = Prover::generate().unwrap();
    let token = token(&daemon, &prover);
    let nonce = nonce(&daemon, &prover, &token);
    let good = |url: &str| signed(&prover, &token, "GET", url, Some(&nonce));
    let scopes = ["--scope", "read=read", "--route", "GET /api/items/*=read"];
    let tool = |name: &str, audience: &str, more: &[&str]| {
        daemon.cli(&[&["tool", "add", name, "--audience", audience], &scopes[..], more].concat());
    };
    tool("other", "https://other.example.org", &["--url", "https://other.example.org"]);
    tool("local", "urn:local", &[]);
    let at = |tool: Option<&str>, url: &str| {
        let both =
            [check(&daemon, tool, "GET", url, &good(url), false).0, told(&daemon, tool, "GET", url, &good(url)).0];
        assert_eq!(both[0], both[1], "{tool:?} {url}");
        both[0]
    };
    assert_eq!(at(Some("tickets"), URL), 200);
    assert_eq!(at(Some("other"), URL), 403, "the URL is another tool's");
    assert_eq!(at(Some("nobody"), URL), 403);
    assert_eq!(check(&daemon, Some(""), "GET", URL, &good(URL), false).0, 403, "an empty name is no name of a tool");
    assert_eq!(at(Some("tickets"), "https://other.example.org/api/items/7"), 403, "it opens nothing");
    assert_eq!(at(None, "https://nowhere.example.org/api/items/7"), 403);
    // A tool without URLs is meant wherever it is: then the token is for another audience.
    let other = check(&daemon, Some("local"), "GET", URL, &good(URL), false);
    assert_eq!((other.0, other.1["www-authenticate"].contains("invalid_token")), (401, true));
    assert!(!other.1["www-authenticate"].contains("resource_metadata"), "urn:local is no URL");
    daemon.cli(&["grant", "add", "reporter", "local", "--scope", "read"]);
    let said = daemon.cli(&["token", "get", "--tool", "local"]);
    assert!(said.starts_with("eyJ"), "{said}");
}

/// More than a message may be, and what is no message: the call fails, which Envoy takes for no.
#[test]
fn what_is_no_call_is_never_a_yes() {
    let daemon = Daemon::start("[limits]\nrequest_message_bytes = 8192\n");
    let long = HttpRequest { path: format!("/{}", "x".repeat(9_000)), ..HttpRequest::default() };
    let attributes = Attributes { request: Some(Http { http: Some(long) }), ..Attributes::default() };
    let answer = call(&daemon, CHECK, &CheckRequest { attributes: Some(attributes) });
    assert!(!matches!(answer.code(), Some(OK | UNAVAILABLE) | None), "{answer:?}");
    for bytes in [&b"\x0a\xff"[..], &[0xff; 64]] {
        let mut raw = Raw::connect(&daemon.home().join("authz.sock")).unwrap();
        let stream = raw.call(&Head::bare(CHECK), &message(bytes)).unwrap();
        let answer = raw.finish(stream).unwrap();
        assert!(!matches!(answer.code(), Some(OK) | None), "{answer:?}");
    }
    let said: CheckResponse = answered(&call(&daemon, CHECK, &CheckRequest { attributes: None }));
    assert_eq!(said.denied.unwrap().status.unwrap().code, 400);
    assert_eq!(call(&daemon, "/grpc.health.v1.Health/Check", &CheckRequest::default()).code(), Some(OK));
}
