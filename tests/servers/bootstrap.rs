//! What `dayfly envoy bootstrap` prints, and the same in `packaging/envoy/`: the real Envoy takes it, whatever was asked
//! for, and two of them carry requests from one service to another by mTLS, with certificates that the daemon gives them.

use std::{fs, os::unix::process::CommandExt as _, path::Path, process::Command};

use nix::sys::signal::Signal;

use super::{
    common::Folder,
    envoy::upstream,
    stage::{Background, CLIENT, STRANGER, Stage, port, program, words},
};

/// Proxies are told apart by their groups: all are root, since where Envoy is installed nobody else may come.
const SERVER: u32 = 47_103;

/// What a proxy may be called, if somebody wants it so.
const NODE: &str = "orders-1\", cluster: x}\n#: {[%REQ(x)%] &a *b\u{2028}\u{7f}🦋";
const SHOP: &str = "spiffe://example.org/shop";
const ORDERS: &str = "spiffe://example.org/orders";

/// Lists of options, one of each: all of them with all others.
fn product(choices: &[&[&[&'static str]]]) -> Vec<Vec<&'static str>> {
    choices.iter().fold(vec![Vec::new()], |lines, choice| {
        let longer = |line: &Vec<_>| choice.iter().map(|more| [line, *more].concat()).collect::<Vec<_>>();
        lines.iter().flat_map(longer).collect()
    })
}

#[test]
fn envoy_takes_what_is_printed_whatever_was_asked_for() {
    let Some(envoy) = program("DAYFLY_ENVOY") else { return };
    let folder = Folder::new();
    let v4 = ["--listen", "0.0.0.0:8443", "--upstream", "127.0.0.1:8080"];
    let v6 = ["--listen", "[::]:8443", "--upstream", "orders.internal:8080", "--identity", ORDERS];
    let callers: &[&[&str]] = &[
        &[&v4[..], &["--allow-any"]].concat(),
        &[&v4[..], &["--allow", SHOP]].concat(),
        &[&v6[..], &["--allow", SHOP, "--allow", "spiffe://other.test/shop"]].concat(),
    ];
    let sites: &[&[&str]] = &[
        &[],
        &["--url", "https://tickets.example.org"],
        &["--url", "https://[::1]:8443", "--tool", "tickets"],
        &["--url", "https://tickets.example.org", "--tool", "tickets", "--upstream-http2"],
    ];
    let one = "9001=orders.internal:443=spiffe://example.org/orders";
    let other = "[::1]:9001=[::1]:9443=spiffe://example.org/orders,spiffe://other.test/orders";
    let calls: &[&[&str]] = &[&["--connect", one], &["--connect", one, "--connect", other]];
    let none: &[&[&str]] = &[&[]];
    let delta: &[&[&str]] = &[&[], &["--delta"]];
    let admin: &[&[&str]] = &[&["--admin-port", "9901", "--node", NODE], &["--socket", "/s p\"{}"]];
    let mut lines = product(&[callers, sites, &[none, calls].concat(), delta, admin]);
    lines.extend(product(&[calls, delta, admin]));
    let mut taken = 0;
    for (number, line) in lines.iter().enumerate() {
        let file = folder.path().join(format!("{number}.yaml"));
        let printed = Command::new(super::common::DAYFLY).args(["envoy", "bootstrap"]).args(line).output().unwrap();
        assert!(printed.status.success() && printed.stderr.is_empty(), "{line:?}: {}", words(&printed));
        fs::write(&file, printed.stdout).unwrap();
        taken += usize::from(is_taken(&envoy, &file));
    }
    assert_eq!(taken, lines.len());
    assert!(lines.len() > 150, "{}", lines.len());
    // What is no configuration is not taken: the answer is Envoy's, not that of a program that takes all.
    let file = folder.path().join("0.yaml");
    fs::write(&file, fs::read_to_string(&file).unwrap().replace("stat_prefix: ", "stat_profix: ")).unwrap();
    assert!(!is_taken(&envoy, &file));
}

fn is_taken(envoy: &Path, file: &Path) -> bool {
    let mut command = Command::new(envoy);
    command.args(["--mode", "validate", "--use-dynamic-base-id", "-l", "error", "-c"]).arg(file);
    let said = command.output().unwrap();
    println!("{}: {}", file.display(), words(&said).trim());
    said.status.success() && words(&said).contains("OK")
}

/// The examples are what is printed.
const EXAMPLES: [(&str, &[&str]); 4] = [
    (
        "ingress.yaml",
        &["--node", "orders", "--listen", "0.0.0.0:8443", "--upstream", "127.0.0.1:8080", "--allow", SHOP],
    ),
    ("egress.yaml", &["--node", "shop", "--connect", "9001=orders.internal:8443=spiffe://example.org/orders"]),
    ("ingress-delta.yaml", &[]),
    ("egress-delta.yaml", &[]),
];

/// As whom an example is printed: for the system's daemon.
fn example(name: &str) -> String {
    let delta = name.ends_with("-delta.yaml");
    let plain = name.replace("-delta", "");
    let (_, options) = EXAMPLES.iter().find(|(each, _)| *each == plain).unwrap();
    let mut command = Command::new(super::common::DAYFLY);
    command.args(["envoy", "bootstrap", "--socket", "/run/dayfly/workload.sock"]).args(*options);
    let said = command.args(delta.then_some("--delta")).output().unwrap();
    assert!(said.status.success(), "{}", words(&said));
    String::from_utf8(said.stdout).unwrap()
}

#[test]
fn the_examples_are_what_is_printed() {
    for (name, _) in EXAMPLES {
        assert_eq!(packaged(name), example(name), "packaging/envoy/{name}");
    }
}

fn packaged(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/envoy").join(name)).unwrap()
}

/// Two proxies and a service behind the second.
struct Mesh {
    stage: Stage,
    envoy: String,
    ingress: u16,
    egress: u16,
    service: u16,
}

impl Mesh {
    fn new(envoy: &Path, bin: &Folder) -> Self {
        let stage = Stage::new(bin.path());
        Self { stage, envoy: envoy.display().to_string(), ingress: port(), egress: port(), service: upstream() }
    }

    fn enter(&self, id: &str, gid: u32) -> String {
        self.stage.daemon.entry(id, &[&format!("unix:gid:{gid}")], &[])
    }

    /// Starts a proxy with this configuration, in this group.
    fn start(&self, name: &str, gid: u32, text: &str) -> Background {
        let file = self.stage.path().join(name);
        fs::write(&file, text).unwrap();
        let log = fs::File::options().create(true).append(true).open(self.stage.path().join("log")).unwrap();
        let envoy =
            format!("exec {} --use-dynamic-base-id --concurrency 1 -l warning -c {}", self.envoy, file.display());
        let mut shell = self.stage.shell(0, &envoy);
        Background::of(shell.gid(gid).stdout(log.try_clone().unwrap()).stderr(log), Signal::SIGTERM)
    }

    /// What a command line prints.
    fn printed(&self, options: &str) -> String {
        self.stage.run(0, &[format!("dayfly envoy bootstrap {options}")])
    }

    /// An example, for this daemon and these ports.
    fn packaged(&self, name: &str) -> String {
        let swaps = [
            ("/run/dayfly/workload.sock", self.stage.daemon.socket().display().to_string()),
            ("\"0.0.0.0\", port_value: 8443", format!("\"127.0.0.1\", port_value: {}", self.ingress)),
            ("port_value: 8080", format!("port_value: {}", self.service)),
            ("port_value: 9001", format!("port_value: {}", self.egress)),
            ("\"orders.internal\", port_value: 8443", format!("\"localhost\", port_value: {}", self.ingress)),
        ];
        swaps.iter().fold(packaged(name), |text, (from, to)| text.replace(from, to))
    }

    /// What the service is asked by way of the first proxy, or why not: a status and the body.
    fn asks(&self, port: u16) -> (String, String) {
        let line = format!("curl -sS --max-time 20 -w '\\n%{{http_code}}' http://127.0.0.1:{port}/a?b=c 2>&1");
        let said = words(&self.stage.shell(STRANGER, &line).output().unwrap());
        let (body, status) = said.rsplit_once('\n').unwrap();
        (status.to_owned(), body.to_owned())
    }

    /// The request as it came to the service.
    fn passes(&self) -> String {
        let mut last = String::new();
        self.stage.eventually("a request passes", || {
            let (status, body) = self.asks(self.egress);
            last = body;
            status == "200"
        });
        last
    }
}

/// Two proxies carry a request, and go on with their next certificates; connections do so too, only sooner than printed.
fn carries(mesh: &Mesh, [ingress, egress]: [&str; 2], host: &str) {
    let (long, short) = ("max_connection_duration: 300s", "max_connection_duration: 1s");
    assert!(egress.contains(long), "{egress}");
    let egress = &egress.replace(long, short);
    let server = mesh.start("ingress.yaml", SERVER, ingress);
    let client = mesh.start("egress.yaml", CLIENT, egress);
    let request = mesh.passes();
    let header = |request: &str, name: &str| {
        let lines: Vec<_> = request.lines().filter_map(|line| line.strip_prefix(&format!("{name}: "))).collect();
        assert_eq!(lines.len(), 1, "{name}: {request}");
        lines.concat()
    };
    assert!(request.starts_with("GET /a?b=c HTTP/1.1\r\n"), "{request}");
    let caller = |request: &str| header(request, "x-forwarded-client-cert");
    let first = caller(&request);
    assert!(first.ends_with(&format!("URI={SHOP}")), "{first}");
    assert_eq!(header(&request, "host"), host);
    // Without a certificate nobody comes in.
    let line = format!("curl -sk --max-time 20 https://127.0.0.1:{}/", mesh.ingress);
    let said = mesh.stage.shell(STRANGER, &line).output().unwrap();
    assert!(!said.status.success() && said.stdout.is_empty(), "{}", words(&said));
    // The hash in it is that of the certificate.
    mesh.stage.after_rotations("another certificate calls", || caller(&mesh.passes()) != first);
    drop((server, client));
}

#[test]
fn printed_proxies_carry_requests_from_service_to_service() {
    let Some(envoy) = program("DAYFLY_ENVOY") else { return };
    let bin = Folder::new();
    let mesh = Mesh::new(&envoy, &bin);
    let Mesh { ingress, egress, service, .. } = mesh;
    let authority = format!("localhost:{ingress}");
    for delta in ["", "--delta"] {
        let admin = port();
        let server =
            format!("--node '{NODE}' --listen 127.0.0.1:{ingress} --upstream 127.0.0.1:{service} --allow {SHOP}");
        let server = mesh.printed(&format!("{server} --url https://{authority} --admin-port {admin} {delta}"));
        let client = mesh.printed(&format!("--node shop-1 --connect {egress}={authority}={ORDERS} {delta}"));
        let is_first = delta.is_empty();
        let proxies = is_first.then(|| {
            // Nobody knows them yet: they wait, and the daemon knows for what.
            let server = mesh.start("ingress.yaml", SERVER, &server);
            mesh.stage.eventually("the proxy asks", || mesh.stage.daemon.cli(&["status"]).contains("orders-1"));
            let state = [format!("curl -sS http://127.0.0.1:{admin}/ready")];
            assert_ne!(mesh.stage.run(0, &state).trim(), "LIVE");
            mesh.enter(ORDERS, SERVER);
            mesh.enter(SHOP, CLIENT);
            mesh.stage.eventually("the proxy has what it needs", || mesh.stage.run(0, &state).trim() == "LIVE");
            let info = mesh.stage.run(0, &[format!("curl -sS http://127.0.0.1:{admin}/server_info")]);
            let info: serde_json::Value = serde_json::from_str(&info).unwrap();
            assert_eq!((&info["node"]["id"], &info["node"]["cluster"]), (&NODE.into(), &NODE.into()));
            server
        });
        drop(proxies);
        carries(&mesh, [&server, &client], &authority);
        refuses_others(&mesh, &server, &authority, delta);
    }
}

/// Somebody else's proxy is not let in, and a proxy lets nobody else answer.
fn refuses_others(mesh: &Mesh, server: &str, authority: &str, delta: &str) {
    let other = port();
    let _server = mesh.start("ingress.yaml", SERVER, server);
    let entry = mesh.enter("spiffe://example.org/other", STRANGER);
    let stranger = mesh.printed(&format!("--connect {other}={authority}={ORDERS} {delta}"));
    {
        let _stranger = mesh.start("stranger.yaml", STRANGER, &stranger);
        let mut said = (String::new(), String::new());
        mesh.stage.eventually("the stranger is refused", || {
            said = mesh.asks(other);
            said.0 == "503"
        });
        assert!(!said.1.contains("GET /"), "{}", said.1);
    }
    mesh.stage.daemon.cli(&["entry", "remove", &entry]);
    let (admin, peer) = (port(), "spiffe://example.org/elsewhere");
    let wrong = mesh.printed(&format!("--connect {other}={authority}={peer} --admin-port {admin} {delta}"));
    let _client = mesh.start("wrong.yaml", CLIENT, &wrong);
    mesh.stage.eventually("the wrong peer is refused", || mesh.asks(other).0 == "503");
    let stats = mesh.stage.run(0, &[format!("curl -sS 'http://127.0.0.1:{admin}/stats?filter=ssl.fail_verify_san'")]);
    assert!(stats.contains("cluster.egress_1.ssl.fail_verify_san: ") && !stats.contains(": 0"), "{stats}");
}

#[test]
fn the_examples_carry_requests() {
    let Some(envoy) = program("DAYFLY_ENVOY") else { return };
    let bin = Folder::new();
    let mesh = Mesh::new(&envoy, &bin);
    mesh.enter(ORDERS, SERVER);
    mesh.enter(SHOP, CLIENT);
    for kind in ["", "-delta"] {
        let [server, client] = ["ingress", "egress"].map(|name| mesh.packaged(&format!("{name}{kind}.yaml")));
        carries(&mesh, [&server, &client], "orders.internal:8443");
    }
}

const ITEM: &str = "https://tickets.example.org/api/items/7";

/// The agent's calls, with its certificate.
struct Caller<'m> {
    mesh: &'m Mesh,
    nonce: String,
}

impl Caller<'_> {
    /// The status, with what came after it.
    fn call(&self, url: &str, more: &str) -> String {
        let curl = "curl -sS --max-time 20 -D reporter/head -w '\\n%{http_code}' --cacert reporter/certs/bundle.pem";
        let certificate = "--cert reporter/certs/svid.pem --key reporter/certs/svid_key.pem";
        let to = format!("--connect-to ::127.0.0.1:{}", self.mesh.ingress);
        let said = self.mesh.stage.shell(CLIENT, &format!("{curl} {certificate} {to} {more} {url}")).output().unwrap();
        let said = words(&said);
        let (body, status) = said.rsplit_once('\n').unwrap();
        format!("{status} {body}")
    }

    /// With a token and a proof.
    fn asks(&self, more: &str) -> String {
        let headers = format!("dayfly token header --nonce '{}' GET {ITEM} > reporter/headers", self.nonce);
        self.mesh.stage.run(CLIENT, &[headers]);
        self.call(ITEM, &format!("-H @reporter/headers {more}"))
    }

    /// A header of the last answer.
    fn header(&self, name: &str) -> Option<String> {
        let head = fs::read_to_string(self.mesh.stage.path().join("reporter/head")).unwrap();
        head.lines().find_map(|line| line.strip_prefix(&format!("{name}: ")).map(str::to_owned))
    }
}

#[test]
fn a_printed_door_of_a_tool_asks_for_a_certificate_and_a_token() {
    let Some(envoy) = program("DAYFLY_ENVOY") else { return };
    let bin = Folder::new();
    let mesh = Mesh::new(&envoy, &bin);
    mesh.stage.place("reporter", CLIENT);
    let tool = "dayfly tool add tickets --audience https://tickets.example.org --url https://tickets.example.org/api";
    mesh.stage.run(
        0,
        &[
            "dayfly agent add reporter --owner ada@example.org".to_owned(),
            format!("{tool} --scope read=read --route 'GET /items/*=read'"),
            "dayfly grant add reporter tickets --scope read".to_owned(),
            format!(
                "dayfly entry add spiffe://example.org/reporter -s unix:uid:{CLIENT} --agent reporter --x509-ttl 1h"
            ),
            format!("dayfly entry add {ORDERS} -s unix:uid:0 --dns tickets.example.org --x509-ttl 1h"),
        ],
    );
    mesh.stage.run(CLIENT, &["dayfly fetch x509 --write reporter/certs".to_owned()]);
    let options = format!("--listen 127.0.0.1:{} --upstream 127.0.0.1:{} --allow-any", mesh.ingress, mesh.service);
    let authz = mesh.stage.daemon.home().join("authz.sock");
    let url = format!("--tool tickets --url https://tickets.example.org --authz-socket {}", authz.display());
    let door = mesh.printed(&format!("{options} {url} --delta"));
    let _door = mesh.start("door.yaml", 0, &door);
    let mut caller = Caller { mesh: &mesh, nonce: String::new() };
    // With a certificate and no token: what is asked for is said.
    mesh.stage.eventually("the door asks for a token", || caller.call(ITEM, "").starts_with("401"));
    assert!(caller.header("www-authenticate").is_some_and(|challenge| challenge.starts_with("DPoP ")));
    let page = caller.call("https://tickets.example.org/.well-known/oauth-protected-resource", "");
    assert!(page.starts_with("200") && page.contains(r#""resource":"https://tickets.example.org""#), "{page}");
    assert!(caller.asks("").starts_with("401"));
    caller.nonce = caller.header("dpop-nonce").unwrap().trim().to_owned();
    // With both it passes, and the tool is told of both; what the caller says of himself is not.
    let lies = "-H 'X-Dayfly-Agent: admin' -H 'X-Forwarded-Client-Cert: URI=spiffe://example.org/admin'";
    let passed = caller.asks(lies);
    assert!(passed.starts_with("200 GET /api/items/7"), "{passed}");
    assert!(passed.contains("x-dayfly-agent: reporter\r\n") && !passed.contains("admin"), "{passed}");
    assert!(passed.contains("URI=spiffe://example.org/reporter\r\n"), "{passed}");
    assert!(caller.asks("-H 'Host: other.example.org'").starts_with("404"));
    // A token alone is nothing.
    let bare = format!("curl -sk --max-time 20 --connect-to ::127.0.0.1:{} -H @reporter/headers {ITEM}", mesh.ingress);
    let said = mesh.stage.shell(CLIENT, &bare).output().unwrap();
    assert!(!said.status.success() && said.stdout.is_empty(), "{}", words(&said));
    // Nobody passes without the daemon.
    let mut mesh = mesh;
    assert!(mesh.stage.daemon.stop());
    let closed = Caller { mesh: &mesh, nonce: String::new() }.call(ITEM, "-H @reporter/headers");
    assert!(closed.starts_with("503") && !closed.contains("GET "), "{closed}");
}
