//! A scanner of secrets, the real gitleaks: it finds our tokens where they are, and nothing in what we write down.

use std::{
    env, fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::Command,
    time::SystemTime,
};

use dayfly::oauth::dpop::Prover;

use super::common::{DAYFLY, Daemon, Folder, own_uid, rounds};

const TOKEN: &str = "https://example.org/oauth/token";
const FORM: &str = "grant_type=client_credentials&resource=https%3A%2F%2Ftickets.example.org";
/// Our rule's name.
const RULE: &str = "dayfly-access-token";

#[test]
fn a_scanner_finds_tokens_where_they_are_and_none_in_logs() {
    let Some(gitleaks) = env::var_os("DAYFLY_GITLEAKS").map(PathBuf::from) else {
        println!("not run: DAYFLY_GITLEAKS is not set (tests/run sets it)");
        return;
    };
    let scan = |config: Option<&Path>, what: &Path| {
        let mut command = Command::new(&gitleaks);
        command.args(["dir", "--no-banner", "--exit-code", "0", "--report-format", "json", "--report-path", "-"]);
        if let Some(config) = config {
            command.arg("--config").arg(config);
        }
        let output = command.arg(what).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let found: Vec<serde_json::Value> = serde_json::from_slice(&output.stdout).unwrap();
        let told =
            |one: &serde_json::Value| ["RuleID", "File", "Match"].map(|name| one[name].as_str().unwrap().to_owned());
        found.iter().map(told).collect::<Vec<_>>()
    };
    let folder = Folder::new();
    let rule = folder.path().join("gitleaks.toml");
    let said = Command::new(DAYFLY).args(["token", "format", "--for", "gitleaks"]).output().unwrap();
    fs::write(&rule, said.stdout).unwrap();

    let daemon = agent();
    let tokens = issue(&daemon, rounds(10_000));
    let place = Folder::new();
    let note = place.path().join("note.txt");
    fs::write(&note, format!("# why does this not work?\ncurl -H 'Authorization: DPoP {}' …\n", tokens[0])).unwrap();
    for (config, rule) in [(None, "jwt"), (Some(rule.as_path()), RULE)] {
        let found = scan(config, place.path());
        assert!(found.iter().any(|[name, _, found]| name == rule && found.contains(&tokens[0])), "{rule}: {found:?}");
    }

    // What was refused is written down, too.
    for token in tokens.iter().take(20) {
        let words = "GET /verify HTTP/1.1\r\nHost: dayfly\r\nConnection: close\r\nX-Original-Method: GET\r\n";
        let url = "X-Original-URL: https://tickets.example.org/api/items/7\r\n";
        let mut stream = UnixStream::connect(daemon.home().join("authz.sock")).unwrap();
        write!(stream, "{words}{url}Authorization: Bearer {token}\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
    }
    let log = daemon.log();
    assert!(log.contains("DEBUG") || log.contains("TRACE"), "the log is as loud as it can be");
    let records = daemon.audit();
    assert!(records.len() > tokens.len(), "{} records", records.len());
    for config in [None, Some(rule.as_path())] {
        let found = scan(config, daemon.home());
        assert!(found.is_empty(), "in what {} tokens left behind: {found:?}", tokens.len());
    }
}

/// A daemon that writes down all it can, and knows us as an agent.
fn agent() -> Daemon {
    let daemon = Daemon::start("[log]\nlevel = \"trace\"\n");
    daemon.cli(&["agent", "add", "reporter", "--owner", "ada@example.org"]);
    let url = ["--url", "https://tickets.example.org/api", "--scope", "read=read", "--route", "GET /items/*=read"];
    daemon.cli(&[&["tool", "add", "tickets", "--audience", "https://tickets.example.org"][..], &url].concat());
    daemon.cli(&["grant", "add", "reporter", "tickets", "--scope", "read"]);
    daemon.entry("spiffe://example.org/reporter", &[&own_uid()], &["--agent", "reporter"]);
    daemon
}

/// So many tokens, over one connection.
fn issue(daemon: &Daemon, count: usize) -> Vec<String> {
    let prover = Prover::generate().unwrap();
    let mut stream = BufReader::new(UnixStream::connect(daemon.home().join("http.sock")).unwrap());
    let (mut nonce, mut tokens) = (None::<String>, Vec::new());
    while tokens.len() < count {
        #[expect(clippy::disallowed_methods, reason = "the daemon's own clock is the system's")]
        let proof = prover.prove("POST", TOKEN, None, nonce.as_deref(), SystemTime::now()).unwrap();
        let kind = "Content-Type: application/x-www-form-urlencoded";
        let head = format!("POST /oauth/token HTTP/1.1\r\nHost: dayfly\r\n{kind}\r\nDPoP: {proof}\r\n");
        write!(stream.get_mut(), "{head}Content-Length: {}\r\n\r\n{FORM}", FORM.len()).unwrap();
        let (mut length, mut wanted) = (0, None);
        loop {
            let mut line = String::new();
            stream.read_line(&mut line).unwrap();
            match line.trim_end().split_once(": ") {
                Some(("content-length", value)) => length = value.parse().unwrap(),
                Some(("dpop-nonce", value)) => wanted = Some(value.to_owned()),
                None if line.trim_end().is_empty() => break,
                _ => {}
            }
        }
        let mut body = vec![0; length];
        stream.read_exact(&mut body).unwrap();
        let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
        match body["access_token"].as_str() {
            Some(token) => tokens.push(token.to_owned()),
            None => assert_eq!(body["error"].as_str(), Some("use_dpop_nonce"), "{body}"),
        }
        nonce = wanted.or(nonce);
    }
    tokens
}
