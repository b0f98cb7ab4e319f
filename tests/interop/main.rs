//! Unmodified clients of the ecosystem against the built daemon: fetch, bundles, watch, renewal, the challenge; and libraries
//! for tokens that know nothing of SPIFFE.
//!
//! `tests/run` installs them and says where they are; a client that is not there is not run.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "tests"
)]

#[path = "../common/mod.rs"]
mod common;
mod exchange;
mod http;
mod keycloak;
mod libraries;
mod resource_servers;
mod spire;
mod watches;

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use common::{Daemon, own_uid, rounds};
use futures_util::StreamExt as _;

/// Short enough that a watch sees two renewals within seconds.
const TTL: [&str; 2] = ["--x509-ttl", "10s"];

/// A client in another process, and the program that its entry names.
struct Client {
    command: Vec<String>,
    program: PathBuf,
}

impl Client {
    fn run(&self, daemon: &Daemon, args: &[&str]) -> String {
        let (program, before) = self.command.split_first().unwrap();
        let output = Command::new(program)
            .args(before)
            .args(args)
            .env("SPIFFE_ENDPOINT_SOCKET", daemon.endpoint())
            // Without it gRPC reconnects in a forked child by itself, which is served as its own process.
            .env("GRPC_ENABLE_FORK_SUPPORT", "0")
            .output()
            .unwrap_or_else(|error| panic!("{program}: {error}"));
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{args:?}: {out}\n{err}\n{}", daemon.log());
        out.into_owned()
    }

    /// What every client must be able to do.
    fn check(&self) {
        let daemon = Daemon::start("");
        daemon.entry("spiffe://example.org/peer", &[&own_uid()], &TTL);
        let fetched = self.run(&daemon, &["fetch"]);
        assert!(fetched.contains("x509 spiffe://example.org/peer 2"), "leaf and issuing CA: {fetched}");
        assert!(fetched.contains("bundle example.org 1"), "{fetched}");
        let watched = self.run(&daemon, &["watch"]);
        assert_eq!(watched.matches("update ").count(), 3, "the first and two renewals: {watched}");
        assert!(!watched.contains("error"), "{watched}");
    }

    /// Tokens and their bundles, ours and those of a trust domain that the caller's entry federates with.
    fn check_tokens(&self) {
        let (ours, _theirs, token) = federated();
        let out = self.run(&ours, &["tokens", &token]);
        let expected = [
            "trusted example.org other.test",
            "local spiffe://example.org/peer",
            "remote spiffe://example.org/peer",
            "federated spiffe://other.test/them",
            "refused ",
        ];
        for line in expected {
            assert!(out.lines().any(|said| said.starts_with(line)), "{line}: {out}");
        }
        assert!(!out.contains("accepted"), "{out}");
    }

    /// Served at the first try, each time, where an entry names the program.
    fn check_challenge(&self) {
        let daemon = Daemon::start("");
        let path = format!("unix:path:{}", self.program.display());
        daemon.entry("spiffe://example.org/program", &[&own_uid(), &path], &[]);
        let count = rounds(1_000).to_string();
        let looped = self.run(&daemon, &["loop", &count]);
        assert!(looped.contains(&format!("served {count}")), "{looped}");
        let refused = daemon.audit().iter().filter(|record| record["kind"] == "refused").count();
        assert_eq!(refused, 0, "{}", daemon.log());
    }
}

/// Two daemons, the first of which trusts the second, and a JWT-SVID of the second.
fn federated() -> (Daemon, Daemon, String) {
    let (ours, theirs) = (Daemon::start("[wit]\nenabled = true\n"), Daemon::start_of("other.test", ""));
    theirs.entry("spiffe://other.test/them", &[&own_uid()], &[]);
    let token = theirs.cli(&["fetch", "jwt", "--audience", "aud-a"]).trim().to_owned();
    let bundle = theirs.home().join("bundle.json");
    std::fs::write(&bundle, theirs.cli(&["fetch", "bundle", "--format", "spiffe"])).unwrap();
    ours.cli(&["bundle", "set", "other.test", &bundle.display().to_string()]);
    ours.entry("spiffe://example.org/peer", &[&own_uid()], &["--federates-with", "other.test"]);
    (ours, theirs, token)
}

fn from_environment(name: &str) -> Option<String> {
    let value = std::env::var(name).ok();
    if value.is_none() {
        println!("not run: {name} is not set (tests/run sets it)");
    }
    value
}

/// The file that runs when this command is started.
fn running(command: &str) -> PathBuf {
    let found = if command.contains('/') {
        PathBuf::from(command)
    } else {
        let path = std::env::var_os("PATH").unwrap();
        std::env::split_paths(&path).map(|folder| folder.join(command)).find(|file| file.exists()).unwrap()
    };
    found.canonicalize().unwrap()
}

#[test]
fn py_spiffe_fetches_and_watches() {
    if let Some(client) = python() {
        client.check();
    }
}

#[test]
fn py_spiffe_fetches_and_validates_tokens() {
    if let Some(client) = python() {
        client.check_tokens();
    }
}

#[test]
fn py_spiffe_answers_the_challenge() {
    if let Some(client) = python() {
        client.check_challenge();
    }
}

#[test]
fn py_spiffe_forked_child_is_refused_and_the_parent_served_again() {
    let Some(client) = python() else { return };
    let daemon = Daemon::start("");
    daemon.entry("spiffe://example.org/peer", &[&own_uid()], &[]);
    let out = client.run(&daemon, &["fork"]);
    assert!(
        out.contains("before spiffe://example.org/peer") && out.contains("after spiffe://example.org/peer"),
        "{out}"
    );
    assert!(!out.contains("child served"), "{out}");
    let refused = daemon.audit().iter().any(|record| record["reasons"].to_string().contains("forked_client"));
    assert!(refused, "{}", daemon.log());
}

fn python() -> Option<Client> {
    let python = from_environment("DAYFLY_PYTHON")?;
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interop/py/peer.py");
    Some(Client { program: running(&python), command: vec![python, script.display().to_string()] })
}

#[test]
fn go_spiffe_fetches_and_watches() {
    if let Some(client) = go() {
        client.check();
    }
}

#[test]
fn go_spiffe_fetches_and_validates_tokens() {
    if let Some(client) = go() {
        client.check_tokens();
    }
}

#[test]
fn go_spiffe_answers_the_challenge() {
    if let Some(client) = go() {
        client.check_challenge();
    }
}

fn go() -> Option<Client> {
    let peer = from_environment("DAYFLY_GO_PEER")?;
    Some(Client { program: running(&peer), command: vec![peer] })
}

#[test]
fn java_spiffe_fetches_and_watches() {
    if let Some(client) = java() {
        client.check();
    }
}

#[test]
fn java_spiffe_fetches_and_validates_tokens() {
    if let Some(client) = java() {
        client.check_tokens();
    }
}

#[test]
fn java_spiffe_answers_the_challenge() {
    if let Some(client) = java() {
        client.check_challenge();
    }
}

fn java() -> Option<Client> {
    let classpath = from_environment("DAYFLY_JAVA_CLASSPATH")?;
    let words = ["java", "-cp", &classpath, "Peer"].map(str::to_owned);
    Some(Client { program: running("java"), command: words.to_vec() })
}

#[tokio::test]
async fn rust_spiffe_fetches_and_watches() {
    let daemon = Daemon::start("");
    daemon.entry("spiffe://example.org/peer", &[&own_uid()], &TTL);
    let client = spiffe::WorkloadApiClient::connect_to(daemon.endpoint()).await.unwrap();
    let context = client.fetch_x509_context().await.unwrap();
    let svid = context.default_svid().unwrap();
    assert_eq!(svid.spiffe_id().to_string(), "spiffe://example.org/peer");
    assert_eq!(svid.cert_chain().len(), 2, "leaf and issuing CA");
    let bundles = client.fetch_x509_bundles().await.unwrap();
    let domain = spiffe::TrustDomain::new("example.org").unwrap();
    assert_eq!(bundles.get(&domain).unwrap().authorities().len(), 1);
    let mut updates = client.stream_x509_contexts().await.unwrap();
    let mut leaves = Vec::new();
    while leaves.len() < 3 {
        let next = tokio::time::timeout(Duration::from_secs(30), updates.next()).await;
        let context = next.expect("a renewal in time").unwrap().unwrap();
        leaves.push(context.default_svid().unwrap().leaf().as_bytes().to_vec());
    }
    leaves.dedup();
    assert_eq!(leaves.len(), 3, "each message has a new certificate");
}

#[tokio::test]
async fn rust_spiffe_fetches_and_validates_tokens() {
    let (ours, _theirs, token) = federated();
    let client = spiffe::WorkloadApiClient::connect_to(ours.endpoint()).await.unwrap();
    let svid = client.fetch_jwt_svid(["aud-a", "aud-b"], None).await.unwrap();
    assert_eq!(svid.spiffe_id().to_string(), "spiffe://example.org/peer");
    let bundles = client.fetch_jwt_bundles().await.unwrap();
    for name in ["example.org", "other.test"] {
        assert!(bundles.get(&spiffe::TrustDomain::new(name).unwrap()).is_some(), "{name}");
    }
    let remote = client.validate_jwt_token("aud-b", svid.token()).await.unwrap();
    assert_eq!(remote.spiffe_id(), svid.spiffe_id());
    let federated = client.validate_jwt_token("aud-a", &token).await.unwrap();
    assert_eq!(federated.spiffe_id().to_string(), "spiffe://other.test/them");
    assert!(client.validate_jwt_token("aud-c", svid.token()).await.is_err());
}

#[tokio::test]
async fn rust_spiffe_answers_the_challenge() {
    let daemon = Daemon::start("");
    let path = format!("unix:path:{}", running("/proc/self/exe").display());
    daemon.entry("spiffe://example.org/program", &[&own_uid(), &path], &[]);
    for _ in 0..rounds(1_000) {
        let client = spiffe::WorkloadApiClient::connect_to(daemon.endpoint()).await.unwrap();
        client.fetch_x509_svid().await.unwrap();
    }
}
