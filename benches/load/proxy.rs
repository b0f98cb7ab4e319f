//! What a verdict costs at a real Envoy: the same request to a route that asks the daemon (ext_authz) and to one that does
//! not, in turn, on one connection. `tests/run servers` installs Envoy; `DAYFLY_ENVOY` says where it is.

use std::{
    env,
    ffi::OsStr,
    fs,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    os::unix::net::UnixStream,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant, SystemTime},
};

use anyhow::{Context as _, Result, bail, ensure};
use dayfly::oauth::{TokenHash, dpop::Prover};
use nix::unistd::geteuid;

use crate::{
    Plan,
    daemon::{DAYFLY, Daemon},
    files::Folder,
    goals::Goal,
    table::{Runs, Table, short},
};

const URL: &str = "http://tickets.example.org/api/items/7";
const TOKEN_URL: &str = "https://example.org/oauth/token";
/// Calls of each kind in a round.
const CALLS: usize = 300;
/// How long Envoy may take to serve.
const PATIENCE: Duration = Duration::from_secs(30);

const CONFIG: &str = r#"
node: {id: bench, cluster: bench}
static_resources:
  listeners:
  - address: {socket_address: {address: 127.0.0.1, port_value: @PORT}}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: bench
          route_config:
            virtual_hosts:
            - name: tickets
              domains: [tickets.example.org]
              routes:
              - match: {prefix: /api/}
                direct_response: {status: 200}
              - match: {prefix: /open/}
                direct_response: {status: 200}
                typed_per_filter_config:
                  envoy.filters.http.ext_authz:
                    "@type": type.googleapis.com/envoy.extensions.filters.http.ext_authz.v3.ExtAuthzPerRoute
                    disabled: true
          http_filters:
          - name: envoy.filters.http.ext_authz
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.ext_authz.v3.ExtAuthz
              transport_api_version: V3
              grpc_service: {envoy_grpc: {cluster_name: dayfly}, timeout: 1s}
              encode_raw_headers: true
              allowed_headers: {patterns: [{exact: authorization}, {exact: dpop}]}
          - name: envoy.filters.http.router
            typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}
  clusters:
  - name: dayfly
    type: STATIC
    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        explicit_http_config: {http2_protocol_options: {}}
    load_assignment:
      cluster_name: dayfly
      endpoints: [{lb_endpoints: [{endpoint: {address: {pipe: {path: @SOCKET}}}}]}]
"#;

pub(crate) fn run(plan: &Plan, table: &mut Table) -> Result<()> {
    let Some(envoy) = env::var_os("DAYFLY_ENVOY") else {
        table.note("what Envoy adds is not measured: DAYFLY_ENVOY is not set".into());
        return Ok(());
    };
    let daemon = Daemon::new()?;
    register(&daemon)?;
    let (prover, folder) = (Prover::generate()?, Folder::new()?);
    let token = token(&daemon, &prover)?;
    let (_envoy, mut http) = start(&envoy, &daemon, &folder)?;
    let mut added = Runs::default();
    let (mut with, mut without) = (Runs::default(), Runs::default());
    // The first round warms up.
    for round in 0..=plan.pick(7, 3) {
        let (asked, open) = calls(&mut http, &prover, &token)?;
        if round > 0 {
            added.push(asked.median() - open.median());
            with.push(asked.median());
            without.push(open.median());
        }
    }
    table.runs("envoy_added_us", "p50 that a verdict adds at Envoy", "µs", &added, Goal::at_most(600.0), "");
    table.note(format!(
        "at Envoy: p50 {} µs with a verdict, {} without",
        short(with.median()),
        short(without.median())
    ));
    Ok(())
}

/// As many calls of each kind as a round has, each with a proof of its own; microseconds.
fn calls(http: &mut TcpStream, prover: &Prover, token: &str) -> Result<(Runs, Runs)> {
    let sign = |nonce: Option<&str>| {
        let proof = prover.prove("GET", URL, Some(TokenHash::of(token)), nonce, now())?;
        anyhow::Ok(format!("Host: tickets.example.org\r\nAuthorization: DPoP {token}\r\nDPoP: {proof}\r\n\r\n"))
    };
    let first = ask(http, &format!("GET /api/items/7 HTTP/1.1\r\n{}", sign(None)?))?;
    let nonce = first.header("dpop-nonce");
    let all = (0..CALLS).map(|_| sign(nonce.as_deref())).collect::<Result<Vec<_>>>()?;
    let (mut asked, mut open) = (Runs::default(), Runs::default());
    for headers in &all {
        for (path, times) in [("/open/items/7", &mut open), ("/api/items/7", &mut asked)] {
            let request = format!("GET {path} HTTP/1.1\r\n{headers}");
            let began = Instant::now();
            let answer = ask(http, &request)?;
            times.push(began.elapsed().as_secs_f64() * 1e6);
            ensure!(answer.status == 200, "{path}: {}", answer.head);
        }
    }
    Ok((asked, open))
}

fn register(daemon: &Daemon) -> Result<()> {
    let scopes = ["--scope", "read=read", "--route", "GET /items/*=read", "--audience", "https://tickets.example.org"];
    let url = ["--url", "http://tickets.example.org/api"];
    let uid = format!("unix:uid:{}", geteuid());
    for words in [
        &["agent", "add", "reporter", "--owner", "bench"][..],
        &[&["tool", "add", "tickets"][..], &url, &scopes].concat(),
        &["grant", "add", "reporter", "tickets", "--scope", "read"],
        &["entry", "add", "spiffe://example.org/reporter", "-s", &uid, "--agent", "reporter"],
    ] {
        let output = Command::new(DAYFLY).args(words).arg("--home").arg(daemon.home()).output()?;
        ensure!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(())
}

fn token(daemon: &Daemon, prover: &Prover) -> Result<String> {
    let mut http = UnixStream::connect(daemon.home().join("http.sock"))?;
    let form = "grant_type=client_credentials&resource=https%3A%2F%2Ftickets.example.org";
    let mut post = |nonce: Option<&str>| {
        let proof = prover.prove("POST", TOKEN_URL, None, nonce, now())?;
        let kind = "Content-Type: application/x-www-form-urlencoded";
        let length = form.len();
        let head = format!("Host: dayfly\r\n{kind}\r\nContent-Length: {length}\r\nDPoP: {proof}\r\n");
        ask(&mut http, &format!("POST /oauth/token HTTP/1.1\r\n{head}\r\n{form}"))
    };
    let nonce = post(None)?.header("dpop-nonce").context("the daemon asks for no nonce")?;
    let answer: serde_json::Value = serde_json::from_slice(&post(Some(&nonce))?.body)?;
    let token = answer.get("access_token").and_then(serde_json::Value::as_str);
    Ok(token.with_context(|| format!("no token: {answer}"))?.to_owned())
}

/// Envoy, ended when dropped, and a connection to it.
fn start(envoy: &OsStr, daemon: &Daemon, folder: &Folder) -> Result<(Envoy, TcpStream)> {
    let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let socket = daemon.home().join("authz.sock");
    let config = CONFIG.replace("@PORT", &port.to_string()).replace("@SOCKET", &socket.display().to_string());
    fs::write(folder.join("envoy.yaml"), config)?;
    let mut command = Command::new(envoy);
    command.args(["--use-dynamic-base-id", "--concurrency", "1", "-l", "error", "-c"]).arg(folder.join("envoy.yaml"));
    let mut envoy = Envoy(command.stdin(Stdio::null()).spawn().context("Envoy cannot be started")?);
    let began = Instant::now();
    while began.elapsed() < PATIENCE {
        if let Some(status) = envoy.0.try_wait()? {
            bail!("Envoy has ended: {status}");
        }
        if let Ok(stream) = TcpStream::connect(("127.0.0.1", port)) {
            stream.set_nodelay(true)?;
            return Ok((envoy, stream));
        }
        thread::sleep(Duration::from_millis(50));
    }
    bail!("Envoy does not serve within {} s", PATIENCE.as_secs())
}

struct Envoy(Child);

impl Drop for Envoy {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

struct Answer {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Answer {
    fn header(&self, name: &str) -> Option<String> {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.find(|(own, _)| own.eq_ignore_ascii_case(name)).map(|(_, value)| value.to_owned())
    }
}

/// One request and its answer.
fn ask(stream: &mut (impl Read + Write), request: &str) -> Result<Answer> {
    stream.write_all(request.as_bytes())?;
    let (mut said, mut piece) = (Vec::new(), [0; 4_096]);
    loop {
        if let Some(at) = said.windows(4).position(|end| end == b"\r\n\r\n") {
            let (head, body) = said.split_at(at + 4);
            let head = String::from_utf8_lossy(head).into_owned();
            let status = head.split(' ').nth(1).context("no status")?.parse()?;
            let answer = Answer { status, head, body: body.to_vec() };
            let length = answer.header("content-length").map_or(Ok(0), |length| length.parse::<usize>())?;
            if answer.body.len() >= length {
                return Ok(answer);
            }
        }
        match stream.read(&mut piece)? {
            0 => bail!("the connection was closed after {} bytes", said.len()),
            count => said.extend_from_slice(piece.get(..count).unwrap_or_default()),
        }
    }
}

fn now() -> SystemTime {
    #[expect(clippy::disallowed_methods, reason = "the daemon's own clock is the system's")]
    SystemTime::now()
}
