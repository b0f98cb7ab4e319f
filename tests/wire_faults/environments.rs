//! Agents of another environment than the daemon's, in front of the built daemon: no token, and none that is good.

use dayfly::oauth::dpop::Prover;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;

use super::{
    access::{FORM, FORM_HEAD, URL, agent_with, nonce, post, proof, signed, token, verify},
    common::{Daemon, eventually},
    credentials::refused,
};

fn json(daemon: &Daemon, args: &[&str]) -> Value {
    serde_json::from_str(&daemon.cli(&[args, &["--output", "json"]].concat())).unwrap()
}

#[test]
fn an_agent_has_access_in_its_own_environment_alone() {
    let daemon = agent_with("[token]\nenvironment = \"production\"\n");
    let prover = Prover::generate().unwrap();
    assert_eq!(json(&daemon, &["status"])["environment"], "production");
    for its in ["", "staging"] {
        daemon.cli(&["agent", "update", "reporter", "--environment", its]);
        let answer = post(&daemon, &format!("{FORM_HEAD}DPoP: {}\r\n", proof(&daemon, &prover)), FORM);
        assert_eq!((answer.status, answer.error().as_str()), (400, "unauthorized_client"), "{its}");
        assert!(!answer.body.contains("production") && !answer.body.contains("staging"), "{}", answer.body);
        let last = daemon.audit().into_iter().rfind(|record| record["what"] == "access-token").unwrap();
        assert_eq!(last["reasons"], serde_json::json!(["environment"]), "{last}");
        assert_eq!(json(&daemon, &["agent", "show", "reporter"])["elsewhere"], true);
        let told = daemon.try_cli(&["agent", "show", "reporter"]).stderr;
        assert!(String::from_utf8(told).unwrap().contains("not of this daemon's environment"));
    }
    daemon.cli(&["agent", "update", "reporter", "--environment", "production"]);
    assert_eq!(json(&daemon, &["agent", "show", "reporter"])["elsewhere"], false);
    let good = token(&daemon, &prover);
    let nonce = nonce(&daemon, &prover, &good);
    let get = || verify(&daemon, "GET", URL, &signed(&prover, &good, "GET", URL, Some(&nonce)));
    assert_eq!(get().status, 200);
    // What was issued is not good any more, though it is known.
    daemon.cli(&["agent", "update", "reporter", "--environment", "staging"]);
    refused(&daemon, &get(), 401, "agent_environment", "dpop GET");
    daemon.cli(&["agent", "update", "reporter", "--environment", "production"]);
    assert_eq!(get().status, 200);
    // The daemon's own needs a restart.
    std::fs::write(daemon.home().join("dayfly.toml"), "[token]\nenvironment = \"staging\"\n").unwrap();
    kill(Pid::from_raw(daemon.pid()), Signal::SIGHUP).unwrap();
    let is_named =
        |record: &Value| record["detail"].as_str().is_some_and(|it| it.ends_with("restart: token.environment"));
    eventually("it is read", || daemon.audit().iter().any(is_named));
    assert_eq!((get().status, &json(&daemon, &["status"])["environment"]), (200, &Value::from("production")));
}
