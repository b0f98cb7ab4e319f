//! Access tokens and certificates together: the server's Envoy looks at the certificate of who connects, and has the
//! daemon look at the token and proof of each request.

use std::{fs, time::SystemTime};

use dayfly::oauth::{TokenHash, dpop::Prover};

use super::{
    Mesh, Pair, SERVER_SIDE, STRANGE_SIDE,
    envoy::Said,
    id,
    sidecar::{Setup, Sidecar, curl},
    stage::CLIENT,
};

const ITEM: &str = "https://tickets.example.org/api/items/7";
const OTHER_ITEM: &str = "https://tickets.example.org/api/items/8";

#[test]
fn a_request_needs_the_peers_certificate_and_the_callers_token_and_proof() {
    // As which the server's Envoy may ask the daemon.
    let Some(mut mesh) = Mesh::start(&format!("authz_group = \"{SERVER_SIDE}\"\n")) else { return };
    let scope = ["--scope", "read=read", "--route", "GET /items/*=read"];
    let daemon = &mesh.stage.daemon;
    daemon.cli(&["agent", "add", "reporter", "--owner", "ada@example.org"]);
    let tool = ["tool", "add", "tickets", "--audience", "https://tickets.example.org"];
    daemon.cli(&[&tool[..], &["--url", "https://tickets.example.org/api"], &scope].concat());
    daemon.cli(&["grant", "add", "reporter", "tickets", "--scope", "read"]);
    daemon.entry(&id("reporter"), &[&format!("unix:uid:{CLIENT}")], &["--agent", "reporter"]);
    mesh.stage.place("reporter", CLIENT);
    let pair = mesh.pair_with("GRPC", include_str!("judged.yaml"));
    let stranger = Setup::client("stranger", STRANGE_SIDE, &pair.server).start(&mesh.stage, "GRPC");

    let caller = Caller::new(&mesh, &pair);
    passes(&caller, &caller.headers(ITEM));
    refuses_tokens(&caller);
    refuses_peers(&mesh, &caller, &stranger);
    let headers = caller.headers(ITEM);
    assert!(mesh.stage.daemon.stop());
    let caller = Caller { mesh: &mesh, pair: &pair, nonce: String::new() };
    let said = caller.asks(&pair.client, ITEM, "", &headers);
    assert_eq!((said.status, said.header("x-agent")), (403, None), "nobody passes without a daemon: {}", said.head);
    mesh.stage.daemon.start_again();
    mesh.stage.eventually("the daemon is asked again", || {
        let caller = Caller { mesh: &mesh, pair: &pair, nonce: String::new() };
        caller.asks(&pair.client, ITEM, "", "").status == 401
    });
    let caller = Caller::new(&mesh, &pair);
    passes(&caller, &caller.headers(ITEM));
}

/// Who has the agent's tokens.
struct Caller<'m> {
    mesh: &'m Mesh,
    pair: &'m Pair,
    /// Of the daemon's first minute, in which it wants one.
    nonce: String,
}

impl<'m> Caller<'m> {
    fn new(mesh: &'m Mesh, pair: &'m Pair) -> Self {
        let caller = Self { mesh, pair, nonce: String::new() };
        let headers = mesh.stage.run(CLIENT, &[format!("dayfly token header GET {ITEM}")]);
        let said = caller.asks(&pair.client, ITEM, "", &headers);
        assert_eq!(said.status, 401, "{}", said.head);
        assert!(said.header("www-authenticate").unwrap().contains("use_dpop_nonce"), "{}", said.head);
        let nonce = said.header("dpop-nonce").unwrap().to_owned();
        Self { nonce, ..caller }
    }

    /// A token and a proof for this URL.
    fn headers(&self, url: &str) -> String {
        self.mesh.stage.run(CLIENT, &[format!("dayfly token header --nonce {} GET {url}", self.nonce)])
    }

    /// A request by way of this Envoy, with more words for curl.
    fn asks(&self, by: &Sidecar, url: &str, more: &str, headers: &str) -> Said {
        let file = self.mesh.stage.path().join("headers");
        fs::write(&file, headers).unwrap();
        let here = url.replace("https://tickets.example.org", &format!("http://127.0.0.1:{}", by.port));
        let line = format!("-sSi --max-time 20 {more} -H 'Host: tickets.example.org' -H @{} {here}", file.display());
        Said::of(&curl(&line))
    }
}

fn passes(caller: &Caller<'_>, headers: &str) {
    let said = caller.asks(&caller.pair.client, ITEM, "", headers);
    assert_eq!(said.status, 200, "{}\n{}", said.head, caller.mesh.stage.said());
    let who = ["x-client", "x-agent"].map(|name| said.header(name).map(str::to_owned));
    assert_eq!(who, [id("client"), "reporter".to_owned()].map(Some));
}

fn refuses_tokens(caller: &Caller<'_>) {
    let used = caller.headers(ITEM);
    passes(caller, &used);
    let good = caller.headers(ITEM);
    let line = |at: usize| format!("{}\n", good.lines().nth(at).unwrap());
    let token = line(0);
    #[expect(clippy::disallowed_methods, reason = "the daemon's own clock is the system's")]
    let now = SystemTime::now();
    let hash = TokenHash::of(token.trim().strip_prefix("Authorization: DPoP ").unwrap());
    let thief = Prover::generate().unwrap().prove("GET", ITEM, Some(hash), Some(&caller.nonce), now).unwrap();
    for (what, more, headers, status, says) in [
        ("nothing", "", String::new(), 401, "DPoP algs="),
        ("a proof alone", "", line(1), 401, "DPoP algs="),
        ("a token alone", "", token.clone(), 401, "invalid_dpop_proof"),
        ("a proof for another path", "", caller.headers(OTHER_ITEM), 401, "invalid_dpop_proof"),
        ("used before", "", used, 401, "invalid_dpop_proof"),
        ("a thief's key", "", format!("{token}DPoP: {thief}\n"), 401, "invalid_token"),
        ("as Bearer", "", token.replace("DPoP", "Bearer"), 401, "invalid_token"),
        ("no route", "-X DELETE", caller.headers(ITEM), 403, ""),
    ] {
        let said = caller.asks(&caller.pair.client, ITEM, more, &headers);
        let challenge = said.header("www-authenticate").unwrap_or_default();
        assert_eq!(said.status, status, "{what}: {}", said.head);
        assert!(challenge.contains(says) && challenge.is_empty() == says.is_empty(), "{what}: {challenge}");
        assert!(challenge.is_empty() || challenge.starts_with("DPoP "), "{what}: {challenge}");
    }
    passes(caller, &good);
}

/// A good token and proof are worth nothing on the connection of another peer, and are not spent there.
fn refuses_peers(mesh: &Mesh, caller: &Caller<'_>, stranger: &Sidecar) {
    let server = &caller.pair.server;
    let headers = caller.headers(ITEM);
    let counted = |name: &str| server.admin.stat(&format!(".ssl.{name}"));
    mesh.stage.eventually("the stranger has a certificate of ours", || stranger.admin.serial().is_ok());
    let said = caller.asks(stranger, ITEM, "", &headers);
    assert_eq!((said.status, said.header("x-agent"), said.header("x-client")), (503, None, None), "{}", said.head);
    assert!(counted("fail_verify_san") > 0, "another SPIFFE ID");
    // Directly: without a certificate, and with one of another trust domain that has the same path.
    let file = mesh.stage.path().join("headers");
    let forged = mesh.stage.forged(&[]);
    let forged = forged.display();
    for (certificate, counter) in [
        (String::new(), "fail_verify_no_cert"),
        (format!("--cert {forged}/svid.pem --key {forged}/svid_key.pem"), "fail_verify_error"),
    ] {
        let line = "-sSi --max-time 20 -k --http2 -H 'Host: tickets.example.org'";
        let said =
            curl(&format!("{line} -H @{} {certificate} https://127.0.0.1:{}/api/items/7", file.display(), server.port));
        assert!(said.starts_with("curl: ") && !said.contains("HTTP/"), "{counter}: {said}");
        assert!(counted(counter) > 0, "{counter}: {:?}", server.admin.stats());
    }
    passes(caller, &headers);
}
