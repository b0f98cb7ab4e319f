//! A tool behind Envoy, with `packaging/envoy/` as it is, the second look among it: each request is judged by the daemon, its
//! token by Envoy too, and what passes has the daemon's word for who asks.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::Command,
    thread,
    time::SystemTime,
};

use dayfly::oauth::{TokenHash, dpop::Prover};
use nix::sys::signal::Signal;

use super::{
    common::{
        DAYFLY, Daemon, Folder, eventually,
        issuer::{IDP, Issuer},
        own_uid,
    },
    readme::Recipe,
    stage::{Background, CLIENT, STRANGER, Stage, port, program, words},
    tokens::Call,
};

const AUDIENCE: &str = "https://tickets.example.org";
const ITEM: &str = "https://tickets.example.org/api/items/7";
const ITEMS: &str = "https://tickets.example.org/api/items";
/// As clients speak: what is refused on one is refused on the other.
const SPOKEN: [&str; 2] = ["--http1.1", "--http2"];

#[test]
fn a_tool_behind_envoy_is_called_by_its_agent_alone() {
    let Some(envoy) = program("DAYFLY_ENVOY") else { return };
    let (port, tool, bin) = (port(), upstream(), Folder::new());
    let stage = Stage::new(bin.path());
    let at = stage.path().display().to_string();
    let mut stage = stage.with("CURL_HOME", &at);
    let registered = Recipe::of("A tool behind nginx")
        .swap("unix:user:reporter", format!("unix:uid:{CLIENT}"))
        .swap("unix:path:/usr/local/bin/dayfly", format!("unix:path:{DAYFLY}"))
        .swap("/var/lib/", format!("{at}/"));
    let recipe = Recipe::of("A tool behind Envoy")
        .swap("/var/lib/", format!("{at}/"))
        .swap("/etc/envoy/", format!("{at}/envoy/"));
    let place = stage.place("envoy", 0);
    stage.place("reporter", CLIENT);
    stage.run(0, &registered.lines("as admin"));
    let home = stage.daemon.home().display().to_string();
    configure(
        &place,
        &[
            ("/etc/envoy/", &format!("{at}/envoy/")),
            ("/run/envoy/", &format!("{at}/envoy/")),
            ("/var/lib/envoy", &format!("{at}/envoy")),
            ("/run/dayfly/", &format!("{home}/")),
            ("0.0.0.0, port_value: 443}", &format!("127.0.0.1, port_value: {port}}}")),
            ("port_value: 8080", &format!("port_value: {tool}")),
        ],
    );
    second_look(&place, &home);
    let script =
        format!("#!/bin/sh\nexec {} --use-dynamic-base-id --concurrency 1 -l warning \"$@\"\n", envoy.display());
    fs::write(bin.path().join("envoy"), script).unwrap();
    fs::set_permissions(bin.path().join("envoy"), fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(stage.path().join(".curlrc"), format!("connect-to = \"::127.0.0.1:{port}\"\nmax-time = 20\n")).unwrap();
    let _certs = stage.fetch(0, &recipe.lines("as root").concat());
    let _server = stage.start(0, &format!("exec {}", recipe.lines("as envoy").concat()), Signal::SIGTERM);

    let lines = registered.lines("as reporter");
    stage.run(CLIENT, lines.get(..1).unwrap());
    {
        // The README's call, with nothing but the nonce.
        let call = Call { stage: &stage, line: lines.get(1).unwrap().clone() };
        stage.eventually("Envoy asks for a nonce", || call.status(CLIENT, &[]).starts_with("401"));
        let with_nonce = format!("token header --nonce {} ", call.nonce());
        let passed = call.status(CLIENT, &[("token header ", with_nonce.as_str())]);
        assert!(passed.starts_with("200 GET /api/items/7 HTTP/1.1\r\n"), "{passed}");
        let client = Client { stage: &stage, nonce: call.nonce() };
        passes_and_says_who_it_is(&client);
        SPOKEN.iter().for_each(|spoken| refuses_the_rest(&client, spoken));
        another_tools_host_leads_nowhere(&client);
        // Envoy has looked at each token by itself, with the daemon's keys, and found those for the other tool.
        let stats = format!("curl -sS --unix-socket {at}/envoy/admin.sock 'http://envoy/stats?filter=jwt_authn'");
        let stats = stage.run(0, &[stats]);
        let count = |name: &str| {
            let line = stats.lines().find_map(|line| line.strip_prefix(&format!("http.tickets.jwt_authn.{name}: ")));
            line.unwrap_or_else(|| panic!("no {name}: {stats}")).parse::<u64>().unwrap()
        };
        assert!(count("jwks_fetch_success") > 0 && count("allowed") > 8 && count("denied") == 2, "{stats}");
        // A new certificate is read when it is there.
        let present = || client.certificate();
        let first = present();
        stage.after_rotations("Envoy has a new certificate", || present() != first);
    }
    assert!(stage.daemon.stop());
    let without = Client { stage: &stage, nonce: String::new() };
    let closed = without.curl("--http2", ITEM, "", "Authorization: DPoP x\nDPoP: y\n");
    assert_eq!((closed.status, closed.body.contains("GET ")), (503, false), "nobody passes without a daemon");
    stage.daemon.start_again();
    let call = Call { stage: &stage, line: lines.get(1).unwrap().clone() };
    stage.eventually("Envoy asks the new daemon", || call.status(CLIENT, &[]).starts_with("401"));
    let client = Client { stage: &stage, nonce: call.nonce() };
    for spoken in SPOKEN {
        assert_eq!(client.curl(spoken, ITEM, "", &client.headers("GET", ITEM)).status, 200);
    }
}

/// Of what a tool takes besides our own tokens Envoy knows nothing, and keeps nothing back.
#[test]
fn whatever_a_tool_takes_envoy_lets_pass() {
    let Some(envoy) = program("DAYFLY_ENVOY") else { return };
    let (folder, port, prover) = (Folder::new(), port(), Prover::generate().unwrap());
    let issuer = Issuer::new(&folder);
    let daemon = Daemon::start(&issuer.config());
    daemon.cli(&["agent", "add", "reporter", "--owner", "ada@example.org"]);
    let scope = ["--scope", "read=read", "--route", "GET /items/*=read", "--url", "https://tickets.example.org/api"];
    let accept = ["--accept", IDP, "--accept", "jwt-svid"];
    daemon.cli(&[&["tool", "add", "tickets", "--audience", AUDIENCE][..], &scope, &accept].concat());
    daemon.cli(&["grant", "add", "reporter", "tickets", "--scope", "read"]);
    daemon.entry("spiffe://example.org/reporter", &[&own_uid()], &["--agent", "reporter"]);
    daemon.cli(&["fetch", "x509", "--write", &folder.path().join("certs").display().to_string()]);
    let (at, home) = (folder.path().display().to_string(), daemon.home().display().to_string());
    let place = folder.path().join("envoy");
    fs::create_dir(&place).unwrap();
    configure(
        &place,
        &[
            ("/etc/envoy/", &format!("{at}/envoy/")),
            ("/run/envoy/", &format!("{at}/envoy/")),
            ("/var/lib/envoy", &at),
            ("/run/dayfly/", &format!("{home}/")),
            ("0.0.0.0, port_value: 443}", &format!("127.0.0.1, port_value: {port}}}")),
            ("port_value: 8080", &format!("port_value: {}", upstream())),
        ],
    );
    let log = fs::File::create(folder.path().join("log")).unwrap();
    let mut command = Command::new(envoy);
    command.args(["--use-dynamic-base-id", "--concurrency", "1", "-l", "warning", "-c"]);
    let _server = Background::of(command.arg(place.join("envoy.yaml")).stderr(log), Signal::SIGTERM);
    // Status and head, and what the tool was told.
    let call = |headers: &[String]| {
        let mut curl = Command::new("curl");
        curl.args(["-ski", "--max-time", "20", "--http1.1", ITEM, "--connect-to", &format!("::127.0.0.1:{port}")]);
        headers.iter().for_each(|header| _ = curl.args(["-H", header]));
        let said = words(&curl.output().unwrap());
        (said.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0), said)
    };
    eventually("Envoy serves", || call(&[]).0 == 401);
    let token = issuer.token(AUDIENCE, &prover);
    let dpop = |token: &str, nonce: Option<&str>| {
        let proof = prover.prove("GET", ITEM, Some(TokenHash::of(token)), nonce, now()).unwrap();
        [format!("Authorization: DPoP {token}"), format!("DPoP: {proof}")]
    };
    let (_, asked) = call(&dpop(&token, None));
    let nonce = asked.lines().find_map(|line| line.strip_prefix("dpop-nonce: ")).unwrap_or_else(|| panic!("{asked}"));
    let svid = daemon.cli(&["fetch", "jwt", "--audience", AUDIENCE]);
    let bearer = [format!("Authorization: Bearer {}", svid.trim())];
    for headers in [&dpop(&token, Some(nonce))[..], &bearer] {
        let (status, said) = call(headers);
        assert!(status == 200 && said.contains("x-dayfly-agent: reporter\r\n"), "{said}{}", daemon.log());
    }
    // The daemon says no, and nobody else has to.
    let thief = dpop(&issuer.token(AUDIENCE, &Prover::generate().unwrap()), Some(nonce));
    assert_eq!(call(&thief).0, 401);
    assert_eq!(call(&["Authorization: Bearer x".to_owned()]).0, 401);
}

/// The files of `packaging/envoy/`, with other texts, each of which must be there.
pub(super) fn configure(place: &Path, swaps: &[(&str, &str)]) {
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/envoy");
    let texts = ["envoy.yaml", "certificate.yaml"].map(|name| (name, fs::read_to_string(from.join(name)).unwrap()));
    for (text, _) in swaps {
        assert!(texts.iter().any(|(_, whole)| whole.contains(text)), "the example does not say {text}");
    }
    for (name, text) in texts {
        let text = swaps.iter().fold(text, |text, (from, to)| text.replace(from, to));
        fs::write(place.join(name), text).unwrap();
    }
}

/// Adds both parts of `jwt_authn.yaml` where it says.
fn second_look(place: &Path, home: &str) {
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/envoy/jwt_authn.yaml");
    let text = fs::read_to_string(from).unwrap().replace("/run/dayfly/", &format!("{home}/"));
    let (filter, cluster) = text.split_once("# The cluster:\n").unwrap();
    let (file, router) = (place.join("envoy.yaml"), "          - name: envoy.filters.http.router\n");
    let whole = fs::read_to_string(&file).unwrap();
    assert_eq!((whole.matches(router).count(), whole.matches("jwt_authn.v3").count()), (1, 0));
    fs::write(file, whole.replace(router, &format!("{filter}{router}")) + cluster).unwrap();
}

fn now() -> SystemTime {
    #[expect(clippy::disallowed_methods, reason = "the daemon's own clock is the system's")]
    SystemTime::now()
}

/// A tool that answers with what it was sent; its port.
pub(super) fn upstream() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let answer = |mut stream: TcpStream| {
        let (mut head, mut byte) = (Vec::new(), [0]);
        while !head.ends_with(b"\r\n\r\n") {
            stream.read_exact(&mut byte).ok()?;
            head.extend(byte);
        }
        let told = format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", head.len());
        stream.write_all(&[told.as_bytes(), &head].concat()).ok()
    };
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || answer(stream));
        }
    });
    port
}

/// The agent, and whoever else asks, by curl.
struct Client<'s> {
    stage: &'s Stage,
    nonce: String,
}

/// What came back.
pub(super) struct Said {
    pub(super) status: u16,
    pub(super) head: String,
    pub(super) body: String,
}

impl Said {
    /// What curl shows with `-i`.
    pub(super) fn of(text: &str) -> Self {
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((text, ""));
        let status = head.split(' ').nth(1).and_then(|word| word.parse().ok());
        Self { status: status.unwrap_or_else(|| panic!("{text}")), head: head.to_owned(), body: body.to_owned() }
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let mut found = self.head.lines().filter_map(|line| line.split_once(": ")).filter(|(own, _)| *own == name);
        let value = found.next()?.1;
        assert!(found.next().is_none(), "{name} is there twice: {}", self.head);
        Some(value)
    }
}

impl Client<'_> {
    /// The two headers of a call.
    fn headers(&self, method: &str, url: &str) -> String {
        self.stage.run(CLIENT, &[format!("dayfly token header --nonce {} {method} {url}", self.nonce)])
    }

    /// What Envoy shows itself with.
    fn certificate(&self) -> String {
        let bundle = self.stage.path().join("reporter/bundle.pem");
        let line = format!("curl -sS -o /dev/null -w '%{{certs}}' --cacert {} {ITEM}", bundle.display());
        self.stage.run(STRANGER, &[line])
    }

    fn curl(&self, spoken: &str, url: &str, more: &str, headers: &str) -> Said {
        let (at, file) = (self.stage.path(), self.stage.path().join("reporter/headers"));
        fs::write(&file, headers).unwrap();
        let (file, at) = (file.display(), at.display());
        let line =
            format!("curl -sSi {spoken} --path-as-is -H @{file} --cacert {at}/reporter/bundle.pem {more} '{url}'");
        let output = self.stage.shell(STRANGER, &line).output().unwrap();
        let said = words(&output);
        // Over HTTP/2 Envoy resets the stream of what it takes for no request.
        let has_none = output.stdout.is_empty() && said.contains("stream");
        Said::of(if has_none { "- 0" } else { &said })
    }
}

fn passes_and_says_who_it_is(client: &Client<'_>) {
    let spoofed = "-H 'X-Dayfly-Agent: admin' -H 'x-dayfly-agent: root' -H 'X-Dayfly-Scopes: write'";
    for spoken in SPOKEN {
        for (more, url) in [("", ITEM), (spoofed, ITEM), ("", &format!("{ITEM}?page=2"))] {
            let said = client.curl(spoken, url, more, &client.headers("GET", ITEM));
            assert_eq!(said.status, 200, "{spoken} {more} {url}: {}{}", said.head, client.stage.said());
            let told: Vec<_> = said.body.lines().filter(|line| line.starts_with("x-dayfly-")).collect();
            assert_eq!(told, ["x-dayfly-agent: reporter", "x-dayfly-scopes: read"], "{more}: {}", said.body);
        }
        let underscored = client.curl(spoken, ITEM, "-H 'X_Dayfly_Agent: admin'", &client.headers("GET", ITEM));
        assert!(matches!(underscored.status, 400 | 0), "{}", underscored.head);
    }
}

fn refuses_the_rest(client: &Client<'_>, spoken: &str) {
    let good = || client.headers("GET", ITEM);
    let (used, other) = (good(), good());
    assert_eq!(client.curl(spoken, ITEM, "", &used).status, 200);
    let line = |headers: &str, at: usize| format!("{}\n", headers.lines().nth(at).unwrap());
    let (bare, proof) = (line(&other, 0), line(&other, 1));
    let token = bare.trim().strip_prefix("Authorization: DPoP ").unwrap();
    let thief = Prover::generate().unwrap();
    let forged = thief.prove("GET", ITEM, Some(TokenHash::of(token)), Some(&client.nonce), now()).unwrap();
    let metadata = r#"resource_metadata="https://tickets.example.org/.well-known/oauth-protected-resource""#;
    let at = |path: &str| format!("https://tickets.example.org{path}");
    let post = "-X POST";
    for (what, url, more, headers, status, says) in [
        ("nothing", ITEM.to_owned(), "", String::new(), 401, "DPoP algs="),
        ("used before", ITEM.to_owned(), "", used, 401, "invalid_dpop_proof"),
        ("a proof for another method", ITEMS.to_owned(), post, good(), 401, "invalid_dpop_proof"),
        ("a proof for another path", at("/api/items/8"), "", good(), 401, "invalid_dpop_proof"),
        ("a stolen token alone", ITEM.to_owned(), "", bare.clone(), 401, "invalid_dpop_proof"),
        ("a thief's key", ITEM.to_owned(), "", format!("{bare}DPoP: {forged}\n"), 401, "invalid_token"),
        ("as Bearer", ITEM.to_owned(), "", bare.replace("DPoP", "Bearer"), 401, "invalid_token"),
        ("no scope", ITEMS.to_owned(), post, client.headers("POST", ITEMS), 403, "insufficient_scope"),
        ("no route", ITEM.to_owned(), "-X DELETE", client.headers("DELETE", ITEM), 403, ""),
        ("two tokens", ITEM.to_owned(), "", format!("{bare}{}", good()), 400, "invalid_request"),
        ("two proofs", ITEM.to_owned(), "", format!("{}{proof}", good()), 401, "invalid_dpop_proof"),
        ("dots", at("/api/items/%2e%2e/items/7"), "", good(), 400, ""),
        ("plain dots", at("/api/items/../items/7"), "", good(), 400, ""),
        ("a slash within", at("/api/items%2F7"), "", good(), 400, ""),
        ("two slashes", at("/api//items/7"), "", good(), 400, ""),
        ("a semicolon", at("/api/items/7;x"), "", good(), 400, ""),
        ("a backslash", at("/api/items/7%5C"), "", good(), 400, ""),
        ("another host", ITEM.to_owned(), "-H 'Host: other.example.org'", good(), 404, ""),
        ("a host that begins alike", ITEM.to_owned(), "-H 'Host: tickets.example.org.example.net'", good(), 404, ""),
    ] {
        let said = client.curl(spoken, &url, more, &headers);
        let challenge = said.header("www-authenticate").unwrap_or_default();
        assert_eq!(said.status, status, "{spoken}, {what}: {}", said.head);
        assert_eq!(challenge.is_empty(), says.is_empty(), "{spoken}, {what}: {challenge}");
        let is_whole = challenge.starts_with("DPoP ") && challenge.contains(says) && challenge.ends_with(metadata);
        assert!(challenge.is_empty() || is_whole, "{spoken}, {what}: {challenge}");
        assert!(!said.body.contains(" HTTP/1.1"), "{spoken}, {what} came to the tool");
        // What has no route is Envoy's own to answer.
        assert!(status == 404 || said.header("cache-control") == Some("no-store"), "{spoken}, {what}: {}", said.head);
    }
    // The proof that was sent with them is as good as new, and the one with the wrong nonce is told the right one.
    assert_eq!(client.curl(spoken, ITEM, "", &other).status, 200);
    let stale = client.stage.run(CLIENT, &[format!("dayfly token header GET {ITEM}")]);
    let said = client.curl(spoken, ITEM, "", &stale);
    assert!(said.status == 401 && said.header("www-authenticate").unwrap().contains("use_dpop_nonce"), "{}", said.head);
    assert!(said.header("dpop-nonce").is_some());
    client.stage.run(0, &["dayfly agent suspend reporter".to_owned()]);
    let said = client.curl(spoken, ITEM, "", &format!("{bare}{proof}"));
    client.stage.run(0, &["dayfly agent resume reporter".to_owned()]);
    assert!(said.status == 401, "suspended: {}", said.head);
    // What the tool needs is where the challenges say, for anybody.
    let said = client.curl(spoken, &at("/.well-known/oauth-protected-resource"), "", "");
    assert_eq!((said.status, said.header("content-type")), (200, Some("application/json")), "{}", said.head);
    assert!(said.body.contains(r#""resource":"https://tickets.example.org""#), "{}", said.body);
    assert_eq!(client.curl(spoken, &at("/.well-known/oauth-protected-resource/x"), "", "").status, 404);
}

/// A good token for another tool, sent to this one under the other's name. Without a route Envoy asks nobody; its own look
/// at the token is what refuses.
fn another_tools_host_leads_nowhere(client: &Client<'_>) {
    let add = "dayfly tool add other --audience https://other.example.org --url https://other.example.org";
    client.stage.run(
        0,
        &[
            format!("{add} --scope read=read --route 'GET /api/items/*=read'"),
            "dayfly grant add reporter other --scope read".to_owned(),
        ],
    );
    let url = "https://other.example.org/api/items/7";
    let headers = client.headers("GET", url);
    for spoken in SPOKEN {
        let said = client.curl(spoken, ITEM, "-H 'Host: other.example.org'", &headers);
        assert!(said.status == 403 && !said.body.contains("GET "), "{}", said.head);
    }
}
