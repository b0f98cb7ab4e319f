//! Our token endpoint by an OAuth client that is not ours, and our tokens before its verifier: oauth4webapi, driven by
//! `node/exchange.mjs`. jose makes the tokens of a user that are exchanged.

use std::{
    fs,
    io::Write as _,
    path::PathBuf,
    process::{Command, Stdio},
};

use serde_json::{Value, json};

use super::{
    common::{Daemon, Folder, own_uid},
    from_environment,
};

const ISSUER: &str = "https://example.org/oauth";
const LOGIN: &str = "https://login.test/realms/one";
const AUDIENCE: &str = "https://tickets.example.org";

fn ask(script: &PathBuf, verb: &str, request: &Value) -> Value {
    let command = Command::new("node").arg(script).arg(verb).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let mut child = command.unwrap_or_else(|error| panic!("node: {error}"));
    child.stdin.take().unwrap().write_all(request.to_string().as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "exchange.mjs {verb}: what it says is above");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// A daemon that believes this issuer of users and wants a nonce with each proof, and an agent, which is the script.
fn daemon(jwks: &Value, folder: &Folder) -> Daemon {
    let file = folder.path().join("login.jwks.json");
    fs::write(&file, jwks.to_string()).unwrap();
    let pinned = format!("[[token.user_issuer]]\nissuer = \"{LOGIN}\"\njwks = {file:?}\n");
    let daemon = Daemon::start(&format!("[token]\nnonce = \"require\"\n{pinned}"));
    daemon.cli(&["agent", "add", "reporter", "--owner", "ada@example.org"]);
    let scopes = ["--scope", "read=read", "--scope", "list=read", "--scope", "write=write"];
    daemon.cli(&[&["tool", "add", "tickets", "--audience", AUDIENCE][..], &scopes].concat());
    daemon.cli(&["grant", "add", "reporter", "tickets", "--scope", "read", "--scope", "list"]);
    daemon.entry("spiffe://example.org/reporter", &[&own_uid()], &["--agent", "reporter"]);
    daemon
}

#[test]
fn oauth4webapi_exchanges_a_users_token_and_verifies_what_it_gets() {
    let Some(folder) = from_environment("DAYFLY_NODE") else { return };
    let (script, home) = (PathBuf::from(folder).join("exchange.mjs"), Folder::new());
    let made = ask(&script, "keys", &json!({}));
    let daemon = daemon(&made["jwks"], &home);
    let found = ask(
        &script,
        "drive",
        &json!({
            "socket": daemon.home().join("http.sock"), "issuer": ISSUER, "login": LOGIN, "secret": made["secret"],
            "audience": AUDIENCE, "url": "https://tickets.example.org/api/items/7",
        }),
    );
    assert_eq!(found["metadata"], json!(["client_credentials", "urn:ietf:params:oauth:grant-type:token-exchange"]));
    let kind = "urn:ietf:params:oauth:token-type:access_token";
    for (name, scope, issued) in [
        ("own", "list read", Value::Null),
        ("delegated", "read", json!(kind)),
        ("again", "read", json!(kind)),
        ("narrowed", "read", json!(kind)),
    ] {
        let given = &found["given"][name];
        assert_eq!((given["token_type"].as_str(), given["scope"].as_str()), (Some("dpop"), Some(scope)), "{name}");
        assert_eq!(given.get("issued_token_type").unwrap_or(&Value::Null), &issued, "{name}");
    }
    // Its own lives 15 minutes, the user's ends in two.
    let lives = |name: &str| found["given"][name]["expires_in"].as_u64().unwrap();
    assert_eq!(lives("own"), 900);
    assert!((60..=120).contains(&lives("delegated")) && lives("again") <= lives("delegated") + 1, "{}", found["given"]);
    let agent = "spiffe://example.org/reporter";
    let user = json!({
        "sub": "ada", "sub_iss": LOGIN, "act": { "sub": agent }, "client_id": "reporter", "scope": "read"
    });
    assert_eq!((&found["judged"]["delegated"], &found["judged"]["again"]), (&user, &user));
    assert_eq!(found["judged"]["own"], json!({ "sub": agent, "client_id": "reporter", "scope": "list read" }));
    let all = |name: &str| found[name].as_object().unwrap().clone();
    for (case, said) in all("unjudged") {
        assert!(said["refused"].is_string(), "{case}: {said}");
    }
    for (case, said) in all("refused") {
        let code = match case.as_str() {
            "wider" => "invalid_scope",
            "another tool" => "invalid_target",
            _ => "invalid_request",
        };
        assert_eq!((said["refused"].as_str(), said["status"].as_u64()), (Some(code), Some(400)), "{case}");
    }
    assert_eq!((all("unjudged").len(), all("refused").len()), (6, 10), "no case is left out");
    assert!(found["nonces"].as_u64().unwrap() >= 2, "a key begins without a nonce");
}
