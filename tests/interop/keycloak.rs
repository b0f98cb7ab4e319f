//! Keycloak as the issuer of what our doors take: an agent shows it a JWT-SVID of ours in the place of a secret, has a
//! token that is bound to its key, and calls a tool with it; nobody else can.
//!
//! `tests/run` brings it. It listens on the loopback interface alone, keeps nothing, and is ended with the test.

use std::{
    fs,
    io::Write as _,
    net::{Ipv4Addr, TcpListener, TcpStream},
    os::unix::{net::UnixStream, process::CommandExt as _},
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use dayfly::oauth::{TokenHash, dpop::Prover, foreign::LEEWAY};
use nix::{
    sys::signal::{Signal, kill, killpg},
    unistd::Pid,
};
use serde_json::{Value, json};

use super::{
    common::{Daemon, Folder, PATIENCE, eventually, own_uid},
    from_environment,
    http::{Answer, exchange, seconds_ago, served},
};

const AGENT: &str = "spiffe://example.org/reporter";
const AUDIENCE: &str = "https://tickets.example.org";
const URL: &str = "https://tickets.example.org/api/items/7";
/// The first start builds it anew: half a minute of two cores.
const START_MAX: Duration = Duration::from_secs(300);
const STOP_MAX: Duration = Duration::from_secs(20);
/// Of a Keycloak that nobody else reaches, for as long as the test.
const ADMIN: &str = "admin";

/// Its process, ended when dropped.
struct Keycloak {
    child: Child,
    port: u16,
    home: Folder,
}

impl Keycloak {
    fn start(folder: &str) -> Self {
        // Free now; it says itself when somebody else has taken it meanwhile.
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
        let home = Folder::new();
        let log = fs::File::create(home.path().join("log")).unwrap();
        let child = Command::new(Path::new(folder).join("bin/kc.sh"))
            .args(["start-dev", "--features=spiffe", "--db=dev-mem", &format!("--http-port={port}")])
            .envs([("KC_BOOTSTRAP_ADMIN_USERNAME", ADMIN), ("KC_BOOTSTRAP_ADMIN_PASSWORD", ADMIN)])
            .envs([("KC_HTTP_HOST", "127.0.0.1"), ("JAVA_OPTS_KC_HEAP", "-Xmx320m")])
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .process_group(0)
            .spawn()
            .unwrap();
        let mut keycloak = Self { child, port, home };
        let begin = Instant::now();
        while !keycloak.is_ready() {
            let ended = keycloak.child.try_wait().unwrap();
            assert!(ended.is_none() && begin.elapsed() < START_MAX, "{ended:?} {}", keycloak.log());
            thread::sleep(Duration::from_millis(200));
        }
        keycloak
    }

    fn log(&self) -> String {
        fs::read_to_string(self.home.path().join("log")).unwrap()
    }

    fn is_ready(&self) -> bool {
        TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).is_ok()
            && self.ask("GET", "/realms/master", "", "").status == 200
    }

    /// HTTP/1.0: the answer is in one piece.
    fn ask(&self, method: &str, path: &str, headers: &str, body: &str) -> Answer {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).unwrap();
        stream.set_read_timeout(Some(START_MAX)).unwrap();
        let (port, length) = (self.port, body.len());
        let head = format!("{method} {path} HTTP/1.0\r\nHost: 127.0.0.1:{port}\r\nContent-Length: {length}\r\n");
        exchange(stream, &format!("{head}{headers}\r\n{body}"))
    }

    fn realm(&self) -> String {
        format!("http://127.0.0.1:{}/realms/q", self.port)
    }

    fn form(&self, realm: &str, headers: &str, fields: &[(&str, &str)]) -> (u16, Value) {
        let path = format!("/realms/{realm}/protocol/openid-connect/token");
        let fields = fields.iter().map(|(name, value)| format!("{name}={}", value.replace('+', "%2B")));
        let body = fields.collect::<Vec<_>>().join("&");
        let headers = format!("Content-Type: application/x-www-form-urlencoded\r\n{headers}");
        let answer = self.ask("POST", &path, &headers, &body);
        (answer.status, serde_json::from_str(&answer.body).unwrap_or_else(|_| panic!("{}{}", answer.head, answer.body)))
    }

    /// A realm that knows the agent by its SPIFFE ID, and its scopes.
    fn set_up(&self, bundle: &str) {
        let admin = [("grant_type", "password"), ("client_id", "admin-cli"), ("username", ADMIN), ("password", ADMIN)];
        let (_, admin) = self.form("master", "", &admin);
        let token = admin["access_token"].as_str().unwrap_or_else(|| panic!("{admin}")).to_owned();
        let headers = format!("Authorization: Bearer {token}\r\nContent-Type: application/json\r\n");
        let create = |path: &str, what: Value| {
            let answer = self.ask("POST", &format!("/admin/realms{path}"), &headers, &what.to_string());
            assert_eq!(answer.status, 201, "{what}: {}\n{}\n{}", answer.head, answer.body, self.log());
        };
        create("", json!({ "realm": "q", "enabled": true }));
        for scope in ["read", "write"] {
            let attributes = json!({ "include.in.token.scope": "true" });
            let scope = json!({ "name": scope, "protocol": "openid-connect", "attributes": attributes });
            create("/q/client-scopes", scope);
        }
        let config =
            json!({ "trustDomain": "spiffe://example.org", "bundleEndpoint": bundle, "allowedClockSkew": "10" });
        create(
            "/q/identity-provider/instances",
            json!({ "alias": "spiffe-example", "providerId": "spiffe", "enabled": true, "config": config }),
        );
        let audience = json!({
            "name": "tool", "protocol": "openid-connect", "protocolMapper": "oidc-audience-mapper",
            "config": { "included.custom.audience": AUDIENCE, "access.token.claim": "true" },
        });
        let attributes = json!({
            "jwt.credential.issuer": "spiffe-example", "jwt.credential.sub": AGENT, "dpop.bound.access.tokens": "true",
            "access.token.header.type.rfc9068": "true", "access.token.signed.response.alg": "ES256",
        });
        create(
            "/q/clients",
            json!({
                "clientId": AGENT, "enabled": true, "publicClient": false, "serviceAccountsEnabled": true,
                "standardFlowEnabled": false, "fullScopeAllowed": false, "clientAuthenticatorType": "federated-jwt",
                "attributes": attributes, "protocolMappers": [audience],
                "defaultClientScopes": ["basic", "service_account", "read"], "optionalClientScopes": ["write"],
            }),
        );
    }

    /// What it answers to this client assertion and a proof by this key, if there is one.
    fn issue(&self, svid: &str, prover: Option<&Prover>, scope: &str) -> (u16, Value) {
        let url = format!("{}/protocol/openid-connect/token", self.realm());
        let proof = prover.map(|prover| prover.prove("POST", &url, None, None, seconds_ago(0)).unwrap());
        let headers = proof.map(|proof| format!("DPoP: {proof}\r\n")).unwrap_or_default();
        let kind = "urn:ietf:params:oauth:client-assertion-type:jwt-spiffe";
        let assertion = [("client_assertion_type", kind), ("client_assertion", svid)];
        let fields = [&[("grant_type", "client_credentials"), ("scope", scope)][..], &assertion].concat();
        self.form("q", &headers, &fields)
    }

    fn token(&self, daemon: &Daemon, prover: &Prover, scope: &str) -> String {
        let svid = daemon.cli(&["fetch", "jwt", "--audience", &self.realm()]);
        let (status, said) = self.issue(svid.trim(), Some(prover), scope);
        let told = (status, said["token_type"].as_str());
        assert_eq!(told, (200, Some("DPoP")), "{said}\n{}", self.log());
        said["access_token"].as_str().unwrap().to_owned()
    }

    fn keys(&self, realm: &str) -> String {
        self.ask("GET", &format!("/realms/{realm}/protocol/openid-connect/certs"), "", "").body
    }
}

impl Drop for Keycloak {
    fn drop(&mut self) {
        let pid = Pid::from_raw(self.child.id().try_into().unwrap());
        kill(pid, Signal::SIGTERM).ok();
        let begin = Instant::now();
        while matches!(self.child.try_wait(), Ok(None)) {
            if begin.elapsed() > STOP_MAX {
                killpg(pid, Signal::SIGKILL).ok();
            }
            thread::sleep(Duration::from_millis(50));
        }
    }
}

/// The daemon's bundle, for who fetches it over HTTP.
fn published(bundle: String) -> String {
    served(move |stream| {
        let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n";
        stream.write_all(format!("{head}Content-Length: {}\r\n\r\n{bundle}", bundle.len()).as_bytes())
    })
}

/// A daemon with an agent, which we are, and two tools that it may read, one of which takes the issuer's tokens for itself.
fn daemon() -> Daemon {
    let daemon = Daemon::start("");
    daemon.cli(&["agent", "add", "reporter", "--owner", "ada@example.org"]);
    for (name, audience) in [("tickets", AUDIENCE), ("elsewhere", "https://elsewhere.example.org")] {
        let scopes = ["--scope", "read=read", "--scope", "write=write"];
        let routes = ["--route", "GET /items/*=read", "--route", "POST /items=write"];
        let url = format!("{audience}/api");
        let tool = ["tool", "add", name, "--audience", audience, "--url", &url];
        daemon.cli(&[&tool[..], &scopes, &routes].concat());
        daemon.cli(&["grant", "add", "reporter", name, "--scope", "read"]);
    }
    daemon.entry(AGENT, &[&own_uid()], &["--agent", "reporter"]);
    daemon
}

fn pin(daemon: &Daemon, issuer: &str, keys: &str) {
    let file = daemon.home().join("keycloak.json");
    fs::write(&file, keys).unwrap();
    let config = daemon.home().join("dayfly.toml");
    let before = fs::read_to_string(&config).unwrap();
    let before = before.split("[[authz").next().unwrap();
    fs::write(&config, format!("{before}\n[[authz.issuer]]\nissuer = \"{issuer}\"\njwks = {file:?}\n")).unwrap();
    let readings = || daemon.audit().iter().filter(|record| record["event"] == "config_read").count();
    let read = readings();
    kill(Pid::from_raw(daemon.pid()), Signal::SIGHUP).unwrap();
    eventually("it is read", || readings() > read);
}

/// A call of the tool as the door is asked about it.
struct Call<'a> {
    daemon: &'a Daemon,
    token: &'a str,
    nonce: String,
}

impl<'a> Call<'a> {
    fn new(daemon: &'a Daemon, token: &'a str, prover: &Prover) -> Self {
        let mut call = Self { daemon, token, nonce: String::new() };
        let asked = call.send("GET", URL, &call.headers(prover, "GET", URL));
        call.nonce = asked.header("dpop-nonce").unwrap_or_else(|| panic!("{}", asked.head)).to_owned();
        call
    }

    fn headers(&self, prover: &Prover, method: &str, url: &str) -> String {
        let (hash, nonce) = (TokenHash::of(self.token), Some(self.nonce.as_str()).filter(|nonce| !nonce.is_empty()));
        let proof = prover.prove(method, url, Some(hash), nonce, seconds_ago(0)).unwrap();
        format!("Authorization: DPoP {}\r\nDPoP: {proof}\r\n", self.token)
    }

    fn send(&self, method: &str, url: &str, headers: &str) -> Answer {
        let stream = UnixStream::connect(self.daemon.home().join("authz.sock")).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let original = format!("X-Original-Method: {method}\r\nX-Original-URL: {url}\r\nConnection: close\r\n");
        exchange(stream, &format!("GET /verify HTTP/1.1\r\nHost: dayfly\r\n{original}{headers}\r\n"))
    }

    fn get(&self, prover: &Prover) -> Answer {
        self.send("GET", URL, &self.headers(prover, "GET", URL))
    }

    fn refused(&self, answer: &Answer, status: u16, reason: &str) -> String {
        let records = self.daemon.audit();
        let last = records.iter().rfind(|record| record["what"] == "request").unwrap();
        assert_eq!((answer.status, last["reasons"][0].as_str()), (status, Some(reason)), "{}", answer.head);
        last["detail"].as_str().unwrap().to_owned()
    }
}

#[test]
fn keycloak_takes_our_svid_and_our_door_takes_its_token() {
    let Some(folder) = from_environment("DAYFLY_KEYCLOAK") else { return };
    let (daemon, begin) = (daemon(), Instant::now());
    let keycloak = Keycloak::start(&folder);
    keycloak.set_up(&published(daemon.cli(&["fetch", "bundle", "--format", "spiffe"])));
    let (issuer, prover) = (keycloak.realm(), Prover::generate().unwrap());
    // Who has no SVID for it alone, or no proof, has no token.
    let svid = |audience: &str| daemon.cli(&["fetch", "jwt", "--audience", audience]).trim().to_owned();
    let for_another = keycloak.issue(&svid(AUDIENCE), Some(&prover), "read");
    assert!(matches!(for_another.0, 400 | 401), "{}", for_another.1);
    assert_eq!(keycloak.issue(&svid(&issuer), None, "read").0, 400);
    // Its clock might be ahead: the agent must be older.
    thread::sleep((LEEWAY + Duration::from_secs(1)).saturating_sub(begin.elapsed()));
    let token = keycloak.token(&daemon, &prover, "read");
    // Its key for ES256 is made with the first token.
    pin(&daemon, &issuer, &keycloak.keys("q"));
    let accept = |words: &[&str]| {
        let words: Vec<_> = words.iter().flat_map(|word| ["--accept", word]).collect();
        daemon.cli(&[&["tool", "update", "tickets"][..], &words].concat());
    };
    accept(&[&issuer]);
    let call = Call::new(&daemon, &token, &prover);
    let headers = call.headers(&prover, "GET", URL);
    let answer = call.send("GET", URL, &headers);
    let told = (answer.status, answer.header("x-dayfly-agent"), answer.header("x-dayfly-scopes"));
    assert_eq!(told, (200, Some("reporter"), Some("read")), "{}\n{}", answer.head, daemon.log());
    assert_eq!(call.get(&prover).status, 200);

    // What was stolen.
    let detail = call.refused(&call.send("GET", URL, &headers), 401, "proof_replayed");
    let jkt = prover.thumbprint();
    assert_eq!(detail, format!("foreign-dpop {issuer} GET {URL} client={AGENT} jkt={jkt}"));
    call.refused(&call.get(&Prover::generate().unwrap()), 401, "key_mismatch");
    let without = format!("Authorization: DPoP {token}\r\n");
    call.refused(&call.send("GET", URL, &without), 401, "proof_missing");
    call.refused(&call.send("GET", URL, &without.replace("DPoP", "Bearer")), 401, "bearer");
    let post = "https://tickets.example.org/api/items";
    call.refused(&call.send("POST", post, &call.headers(&prover, "POST", post)), 403, "scope_missing");
    // Its issuer would let it, and we do not.
    let wider = keycloak.token(&daemon, &prover, "read write");
    let wider = Call { daemon: &daemon, token: &wider, nonce: call.nonce.clone() };
    wider.refused(&wider.send("POST", post, &wider.headers(&prover, "POST", post)), 403, "scope_missing");
    assert_eq!(wider.get(&prover).header("x-dayfly-scopes"), Some("read"));
    // Another tool takes the same issuer, and the token is not for it.
    daemon.cli(&["tool", "update", "elsewhere", "--accept", &issuer]);
    let elsewhere = "https://elsewhere.example.org/api/items/7";
    let answer = call.send("GET", elsewhere, &call.headers(&prover, "GET", elsewhere));
    call.refused(&answer, 401, "foreign_audience");
    accept(&["dpop"]);
    call.refused(&call.get(&prover), 401, "token_header");
    accept(&[&issuer]);
    // Keys that are withdrawn.
    pin(&daemon, &issuer, &keycloak.keys("master"));
    call.refused(&call.get(&prover), 401, "foreign_key");
    pin(&daemon, &issuer, &keycloak.keys("q"));
    assert_eq!(call.get(&prover).status, 200);
    // What we take back.
    daemon.cli(&["agent", "suspend", "reporter"]);
    call.refused(&call.get(&prover), 401, "agent_suspended");
    daemon.cli(&["agent", "resume", "reporter"]);
    assert_eq!(call.get(&prover).status, 200);
    daemon.cli(&["revoke", "key", &prover.thumbprint().to_string()]);
    call.refused(&call.get(&prover), 401, "revoked_key");
    let other = Prover::generate().unwrap();
    let again = keycloak.token(&daemon, &other, "read");
    let again = Call { daemon: &daemon, token: &again, nonce: call.nonce.clone() };
    assert_eq!(again.get(&other).status, 200);
    thread::sleep(Duration::from_secs(1));
    daemon.cli(&["revoke", "agent", "reporter"]);
    again.refused(&again.get(&other), 401, "revoked_agent");
    let log = daemon.log() + &serde_json::to_string(&daemon.audit()).unwrap();
    assert!(!log.contains(token.split('.').nth(1).unwrap()), "no token is in a log");
}
