//! A service in Rust that verifies its requests itself, as the example does, called by the ordinary client.

use std::sync::Arc;

use dayfly::{
    oauth::freshness::Settings,
    resource::{ResourceServer, fetch_keys},
};
use tokio::net::TcpListener;

use super::common::{Daemon, own_uid};

#[path = "../../examples/resource_server.rs"]
#[expect(dead_code, reason = "it is a program")]
mod example;

#[tokio::test(flavor = "multi_thread")]
async fn the_example_serves_agents_alone() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let url = format!("http://127.0.0.1:{port}");
    let daemon = Daemon::start("");
    daemon.cli(&["agent", "add", "reporter", "--owner", "ada@example.org"]);
    let scopes = ["--scope", "read=read", "--scope", "write=write", "--route", "GET /items/*=read"];
    let tool = ["tool", "add", "tickets", "--audience", "https://tickets.example.org", "--url", &url];
    daemon.cli(&[&tool[..], &scopes].concat());
    daemon.cli(&["grant", "add", "reporter", "tickets", "--scope", "read", "--scope", "write"]);
    daemon.entry("spiffe://example.org/reporter", &[&own_uid()], &["--agent", "reporter"]);
    let protected = example::protected("example.org", port).unwrap();
    let server = Arc::new(ResourceServer::new(protected, Settings::default()).unwrap());
    let serving = server.clone();
    tokio::spawn(async move { example::serve(listener, serving).await.map_err(|error| error.to_string()) });
    let (socket, at) = (daemon.socket().display().to_string(), format!("{url}/items/7"));
    let call = |method: &str, more: &[&str]| {
        let output = daemon.try_cli(&[&["http", method, &at, "--socket", &socket][..], more].concat());
        (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    // Without keys it is closed.
    assert_eq!(call("GET", &[]).0, Some(1));
    fetch_keys(&server, &daemon.home().join("http.sock")).await.unwrap();
    assert_eq!(call("GET", &[]), (Some(0), "/items/7, for reporter\n".to_owned()));
    assert_eq!(call("GET", &["--scope", "write"]).0, Some(3));
    assert_eq!(call("POST", &[]).0, Some(3));
    assert!(fetch_keys(&server, &daemon.home().join("nothing.sock")).await.is_err());
}
