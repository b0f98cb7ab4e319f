//! What is printed, and what is refused; whether Envoy takes it is tried in `tests/servers`.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use clap::Parser as _;

use super::*;
use crate::cli::{
    exit::Exit,
    print::{Output, Printer},
};

#[derive(Debug, clap::Parser)]
struct Line {
    #[command(subcommand)]
    verb: EnvoyVerb,
}

fn context() -> Context {
    Context { print: Printer::new(Output::Table), home: Some("/h".into()), admin_socket: None }
}

/// What is printed for these options.
fn printed(options: &[&str]) -> Result<String, Failure> {
    let line = Line::try_parse_from([&["envoy", "bootstrap"], options].concat()).unwrap();
    let EnvoyVerb::Bootstrap(options) = line.verb;
    options.understood(&context()).map(|bootstrap| bootstrap.to_string())
}

const INGRESS: [&str; 4] = ["--listen", "0.0.0.0:8443", "--upstream", "127.0.0.1:8080"];
const ORDERS: &str = "9001=orders.internal:8443=spiffe://example.org/orders";

fn ingress(more: &[&str]) -> Result<String, Failure> {
    printed(&[&INGRESS[..], more].concat())
}

#[test]
fn every_place_of_the_templates_is_filled() {
    let whole = ingress(&[
        "--allow",
        "spiffe://example.org/shop",
        "--tool",
        "tickets",
        "--url",
        "https://tickets.example.org",
        "--connect",
        ORDERS,
        "--admin-port",
        "9901",
    ]);
    for text in [whole.unwrap(), printed(&["--connect", ORDERS]).unwrap(), ingress(&["--allow-any"]).unwrap()] {
        assert!(!text.contains(['<', '>']), "{text}");
        assert!(text.lines().all(|line| line == line.trim_end()), "{text}");
    }
}

#[test]
fn who_vouches_is_the_one_trust_domain_of_the_peers_or_each_for_its_own() {
    let both = ["--allow", "spiffe://a.test/x", "--allow", "spiffe://a.test/y"];
    let one = ingress(&both).unwrap();
    assert!(one.contains("name: \"spiffe://a.test\"\n") && !one.contains("ROOTCA") && !one.contains("ALL"), "{one}");
    assert!(one.contains("{exact: \"spiffe://a.test/x\"}") && one.contains("{exact: \"spiffe://a.test/y\"}"));
    let two = ingress(&[&both[..], &["--allow", "spiffe://b.test/x"]].concat()).unwrap();
    assert!(two.contains("name: \"ALL\"\n") && two.contains("{exact: \"spiffe://b.test/x\"}"), "{two}");
    let any = ingress(&["--allow-any"]).unwrap();
    assert!(any.contains("name: ROOTCA\n") && !any.contains("san_type"), "{any}");
    assert_eq!(any.matches("require_client_certificate: true").count(), 1);
}

#[test]
fn hosts_are_literal_where_one_is_believed() {
    let tool = |url| ingress(&["--allow-any", "--tool", "tickets", "--url", url]).unwrap();
    let text = tool("https://Tickets.example.org");
    assert!(text.contains("domains: [\"tickets.example.org\", \"tickets.example.org:443\"]"), "{text}");
    assert!(text.contains("{key: X-Original-URL, value: \"https://tickets.example.org%REQ(:PATH)%\"}"), "{text}");
    assert!(text.contains("{dayfly_tool: \"tickets\"}") && text.contains("failure_mode_allow: false"));
    assert!(text.contains("{path: \"/h/authz.sock\"}") && text.contains("{path: \"/h/workload.sock\"}"));
    assert!(tool("https://a.test:8443").contains("domains: [\"a.test:8443\"]"));
    assert!(tool("https://[::1]").contains("domains: [\"[::1]\", \"[::1]:443\"]"));
    let egress = printed(&["--connect", ORDERS]).unwrap();
    assert!(egress.contains("host_rewrite_literal: \"orders.internal:8443\""), "{egress}");
    assert!(egress.contains("sni: \"orders.internal\""), "{egress}");
}

#[test]
fn nothing_that_is_given_is_more_than_a_text() {
    let plain = ingress(&["--allow-any", "--node", "web", "--socket", "/s"]).unwrap();
    for nasty in [
        "web\", cluster: x}\nadmin: {address: {}}\n#",
        "'\"\\{}[],&*!|>%@`#: -",
        "<socket>\n<authz>",
        "a\r\n\u{85}\u{2028}\u{2029}b\u{feff}",
        "\u{1b}[2J\0\u{7f}",
        "🦋 é",
    ] {
        let path = format!("/s/{}", nasty.replace(':', ""));
        let text = ingress(&["--allow-any", "--node", nasty, "--socket", &path]).unwrap();
        assert!(text.is_ascii(), "{text}");
        assert_eq!(text.lines().count(), plain.lines().count(), "{text}");
        let other = text.lines().zip(plain.lines()).filter(|(one, other)| one != other).map(|(one, _)| one);
        let node = yaml::Quoted(nasty);
        let pipe = format!("{{pipe: {{path: {}}}}}", yaml::Quoted(&path));
        let other: Vec<_> = other.collect();
        assert_eq!(other.first().unwrap(), &format!("node: {{id: {node}, cluster: {node}}}"));
        assert!(other.len() == 2 && other.last().unwrap().contains(&pipe), "{other:?}");
    }
}

#[test]
fn what_does_not_fit_together_is_said_with_a_hint() {
    let listen = ["--listen", "0.0.0.0:8443"];
    for (options, words) in [
        (&[][..], "nothing says what the proxy is to do"),
        (&["--allow-any"], "--allow-any says how it listens, and not where"),
        (&["--connect", ORDERS, "--url", "https://a.test"], "--url says how it listens, and not where"),
        (&["--connect", ORDERS, "--upstream", "a:1"], "--upstream says how it listens, and not where"),
        (&[listen[0], listen[1], "--allow-any"], "--listen needs --upstream"),
        (&INGRESS, "--listen needs to know who may call"),
        (&[&INGRESS[..], &["--allow-any", "--tool", "a"]].concat(), "--tool needs --url"),
        (&["--connect", ORDERS, "--connect", ORDERS], "twice on the same port: 127.0.0.1:9001 and 127.0.0.1:9001"),
        (&["--connect", ORDERS, "--admin-port", "9001"], "twice on the same port"),
        (&[&INGRESS[..], &["--allow-any", "--admin-port", "8443"]].concat(), "twice on the same port"),
        (&["--listen", "0.0.0.0:80", "--upstream", "127.0.0.1:80", "--allow-any"], "127.0.0.1:80 is this proxy itself"),
        (&["--listen", "[::]:80", "--upstream", "[::1]:80", "--allow-any"], "[::1]:80 is this proxy itself"),
        (&["--connect", "1=127.0.0.1:1=spiffe://a.test/b"], "127.0.0.1:1 is this proxy itself"),
    ] {
        let failure = printed(options).unwrap_err();
        assert!(failure.exit() == Exit::Usage && failure.words().contains(words), "{options:?}: {failure:?}");
        assert!(failure.advice().is_some(), "{failure:?}");
    }
    for ports in [["127.0.0.1:1", "127.0.0.2:1"], ["127.0.0.1:1", "127.0.0.1:2"], ["127.0.0.1:1", "[::1]:1"]] {
        let each = ports.map(|listen| format!("{listen}=a:1=spiffe://a.test/b"));
        assert!(printed(&["--connect", &each[0], "--connect", &each[1]]).is_ok(), "{ports:?}");
    }
}

#[test]
fn lists_and_paths_have_limits() {
    let ids: Vec<_> = (0..=1000).map(|number| format!("--allow=spiffe://a.test/{number}")).collect();
    let ids: Vec<_> = ids.iter().map(String::as_str).collect();
    assert!(ingress(&ids[1..]).is_ok());
    assert!(ingress(&ids).unwrap_err().words().contains("--allow is given 1001 times, at most 1000"));
    let peers: Vec<_> = (1..=101).map(|port| format!("--connect={port}=a:1=spiffe://a.test/b")).collect();
    let peers: Vec<_> = peers.iter().map(String::as_str).collect();
    assert!(printed(&peers[1..]).is_ok());
    assert!(printed(&peers).unwrap_err().words().contains("--connect is given 101 times, at most 100"));
    let path = |bytes: usize| format!("/{}", "s".repeat(bytes - 1));
    assert!(printed(&["--connect", ORDERS, "--socket", &path(107)]).is_ok());
    let failure = printed(&["--connect", ORDERS, "--socket", &path(108)]).unwrap_err();
    assert!(failure.words().ends_with("is too long for a socket"), "{failure:?}");
}

#[test]
fn what_is_no_name_port_or_identity_is_refused_at_once() {
    let long = "n".repeat(129);
    for options in [
        ["--node", ""],
        ["--node", &long],
        ["--identity", "Default"],
        ["--identity", "spiffe://a.test"],
        ["--admin-port", "0"],
        ["--allow", "spiffe://a.test/x\""],
        ["--tool", "a b"],
        ["--authz-socket", "/a"],
    ] {
        let line = ["envoy", "bootstrap", "--connect", ORDERS].iter().chain(&options);
        assert!(Line::try_parse_from(line).is_err(), "{options:?}");
    }
}
