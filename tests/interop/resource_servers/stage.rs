//! A resource server beside a daemon that it knows by nothing but keys, issuer and audience, and an agent that calls it.

use std::{
    fs,
    io::{self, Write as _},
    net::{Ipv4Addr, TcpStream},
    os::unix::net::UnixStream,
    path::PathBuf,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant, SystemTime},
};

use data_encoding::BASE64URL_NOPAD;
use dayfly::{
    oauth::{TokenHash, dpop::Prover},
    spiffe::jose::Signer as _,
};
use serde_json::{Value, json};

use super::super::{
    common::{Daemon, Folder, PATIENCE, own_uid},
    http::{Answer, exchange, seconds_ago, served},
};

const ISSUER: &str = "https://example.org/oauth";
const LOGIN: &str = "https://login.test/realms/one";
const AUDIENCE: &str = "https://tickets.example.org";
/// How long a peer may take to start: Spring needs 3 s of a whole core.
const START_MAX: Duration = Duration::from_secs(120);
const FORM: &str = "grant_type=client_credentials&resource=https%3A%2F%2Ftickets.example.org";

/// A resource server's program: it takes the URL of the keys, issuer and audience, and says on which port it listens.
pub(super) struct Peer(pub(super) Vec<String>);

/// All of it.
pub(super) struct Stage {
    daemon: Daemon,
    /// Another of the same name, with keys of its own.
    pub(super) namesake: Daemon,
    port: u16,
    /// What the program of the agent holds, where it asks at the token endpoint itself.
    pub(super) prover: Prover,
    pub(super) token: String,
    /// What signs users' tokens at the login that the daemon believes.
    login: Prover,
    folder: Folder,
    _server: Server,
}

/// One request.
#[derive(Clone)]
pub(super) struct Call {
    pub(super) method: String,
    pub(super) path: String,
    pub(super) headers: Vec<(&'static str, String)>,
}

impl Stage {
    pub(super) fn of(peer: &Peer) -> Self {
        let (login, folder) = (Prover::generate().unwrap(), Folder::new());
        let file = folder.path().join("login.jwks.json");
        let mut key: Value = serde_json::from_str(&login.public_key().to_json()).unwrap();
        key["kid"] = json!("login-1");
        fs::write(&file, json!({"keys": [key]}).to_string()).unwrap();
        let believed = format!("[[token.user_issuer]]\nissuer = \"{LOGIN}\"\njwks = {file:?}\n");
        let (daemon, namesake) = (Daemon::start(&believed), Daemon::start(""));
        let server = Server::start(peer, &daemon);
        let port = server.port();
        for daemon in [&daemon, &namesake] {
            register(daemon, &format!("http://127.0.0.1:{port}"));
        }
        let prover = Prover::generate().unwrap();
        let token = issue(&daemon, &prover);
        Self { daemon, namesake, port, prover, token, login, folder, _server: server }
    }

    pub(super) fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// A call with what `dayfly token header` says for it.
    pub(super) fn call(&self, method: &str, path: &str, more: &[&str]) -> Call {
        self.call_by(&self.daemon, method, path, more)
    }

    /// The same, by what another daemon gives.
    pub(super) fn call_by(&self, daemon: &Daemon, method: &str, path: &str, more: &[&str]) -> Call {
        let (url, socket) = (self.url(path), daemon.socket().display().to_string());
        let printed = daemon.cli(&[&["token", "header", method, &url, "--socket", &socket][..], more].concat());
        let headers = printed.lines().map(|line| {
            let (name, value) = line.split_once(": ").unwrap();
            let name = ["Authorization", "DPoP"].into_iter().find(|known| *known == name).unwrap();
            (name, value.to_owned())
        });
        Call { headers: headers.collect(), method: method.to_owned(), path: path.to_owned() }
    }

    /// A call with the token that is held, and a proof that says of it what it wants.
    pub(super) fn call_with(&self, url: &str, method: &str, token: Option<&str>, age: i64) -> Call {
        let hash = token.map(TokenHash::of);
        let proof = self.prover.prove(method, url, hash, None, seconds_ago(age)).unwrap();
        let authorization = format!("DPoP {}", token.unwrap_or(&self.token));
        let headers = vec![("Authorization", authorization), ("DPoP", proof)];
        Call { method: "GET".to_owned(), path: "/items/7".to_owned(), headers }
    }

    /// `dayfly http`; answers its exit code and what it printed.
    pub(super) fn http(&self, method: &str, path: &str, more: &[&str]) -> (Option<i32>, String) {
        let (url, socket) = (self.url(path), self.daemon.socket().display().to_string());
        let output = self.daemon.try_cli(&[&["http", method, &url, "--socket", &socket][..], more].concat());
        (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// A JWT-SVID of the agent for the tool, which is no access token.
    pub(super) fn jwt_svid(&self) -> String {
        self.daemon.cli(&["fetch", "jwt", "--audience", AUDIENCE])
    }

    /// A file with a token of the login for the user `ada`, good for two minutes.
    pub(super) fn user_token(&self) -> String {
        let now = seconds_ago(0).duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
        let header = json!({"alg": "ES256", "kid": "login-1", "typ": "JWT"});
        let claims = json!({
            "iss": LOGIN, "sub": "ada", "aud": ISSUER, "iat": now, "exp": now + 120, "scope": "openid read"
        });
        let signed = [header, claims].map(|part| BASE64URL_NOPAD.encode(part.to_string().as_bytes())).join(".");
        let signature = BASE64URL_NOPAD.encode(&self.login.sign(signed.as_bytes()).unwrap());
        let file = self.folder.path().join("user.jwt");
        fs::write(&file, format!("{signed}.{signature}")).unwrap();
        file.display().to_string()
    }

    pub(super) fn send(&self, call: &Call) -> Answer {
        let headers: String = call.headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let head = format!("{} {} HTTP/1.1\r\nHost: 127.0.0.1:{}\r\n", call.method, call.path, self.port);
        let body = if call.method == "POST" { "Content-Length: 1\r\n\r\nx" } else { "\r\n" };
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        exchange(stream, &format!("{head}Connection: close\r\n{headers}{body}"))
    }
}

/// We are an agent that may call the tool at this URL, and another one.
fn register(daemon: &Daemon, url: &str) {
    let tool = |name: &str, audience: &str, url: &[&str]| {
        let scopes = ["--scope", "read=read", "--scope", "admin=write", "--route", "GET /items/*=read"];
        daemon.cli(&[&["tool", "add", name, "--audience", audience][..], url, &scopes].concat());
        daemon.cli(&["grant", "add", "reporter", name, "--scope", "read", "--scope", "admin"]);
    };
    daemon.cli(&["agent", "add", "reporter", "--owner", "ada@example.org"]);
    tool("tickets", AUDIENCE, &["--url", url]);
    // Without a URL of its own: its token goes where it is told to.
    tool("elsewhere", "https://elsewhere.example.org", &[]);
    daemon.entry("spiffe://example.org/reporter", &[&own_uid()], &["--agent", "reporter"]);
}

/// A token of the HTTP endpoint, bound to this key.
fn issue(daemon: &Daemon, prover: &Prover) -> String {
    let mut nonce = None::<String>;
    for _ in 0..2 {
        let url = format!("{ISSUER}/token");
        let proof = prover.prove("POST", &url, None, nonce.as_deref(), seconds_ago(0)).unwrap();
        let head = "POST /oauth/token HTTP/1.1\r\nHost: dayfly\r\nConnection: close\r\n\
                    Content-Type: application/x-www-form-urlencoded\r\n";
        let request = format!("{head}DPoP: {proof}\r\nContent-Length: {}\r\n\r\n{FORM}", FORM.len());
        let answer = exchange(UnixStream::connect(daemon.home().join("http.sock")).unwrap(), &request);
        let body: Value = serde_json::from_str(&answer.body).unwrap();
        if let Some(token) = body["access_token"].as_str() {
            return token.to_owned();
        }
        assert_eq!(body["error"], "use_dpop_nonce", "{body}");
        nonce = answer.header("dpop-nonce").map(ToOwned::to_owned);
    }
    panic!("the token endpoint asks for nonce after nonce");
}

/// The keys of a daemon on the loopback interface, for who reads no Unix socket: each time those that `http.sock` has
/// then. Nothing else of that socket is to be had there.
fn published(daemon: &Daemon) -> String {
    let socket = daemon.home().join("http.sock");
    served(move |stream| {
        let mut ours = UnixStream::connect(&socket)?;
        ours.write_all(b"GET /oauth/jwks HTTP/1.1\r\nHost: dayfly\r\nConnection: close\r\n\r\n")?;
        io::copy(&mut ours, stream).map(drop)
    })
}

/// The peer's process, ended when dropped.
struct Server {
    child: Child,
    log: PathBuf,
}

impl Server {
    fn start(peer: &Peer, daemon: &Daemon) -> Self {
        let log = daemon.home().join("peer");
        let file = fs::File::create(&log).unwrap();
        let (program, before) = peer.0.split_first().unwrap();
        let child = Command::new(program)
            .args(before)
            .args([&published(daemon), ISSUER, AUDIENCE])
            .stdin(Stdio::null())
            .stdout(file.try_clone().unwrap())
            .stderr(file)
            .spawn()
            .unwrap_or_else(|error| panic!("{program}: {error}"));
        Self { child, log }
    }

    fn port(&self) -> u16 {
        let begin = Instant::now();
        loop {
            let said = fs::read_to_string(&self.log).unwrap();
            if let Some(port) = said.lines().find_map(|line| line.strip_prefix("listening ")) {
                return port.parse().unwrap();
            }
            assert!(begin.elapsed() < START_MAX, "nobody listens after {START_MAX:?}: {said}");
            thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
