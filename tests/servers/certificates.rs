//! Tokens of another issuer that are bound to the certificate of a TLS client, behind the nginx that ends its connection:
//! nginx finds that the client has the certificate's key, and the daemon that the token is for that certificate. Of its
//! configuration the README has the line that matters.

use std::{fs, path::Path, process::Command};

use aws_lc_rs::digest::{SHA256, digest};
use data_encoding::{BASE64, BASE64URL_NOPAD};
use nix::sys::signal::Signal;
use serde_json::json;

use super::{
    common::{
        Daemon, Folder, eventually,
        issuer::{IDP, Issuer},
        own_uid,
    },
    stage::{Background, port, program, words},
};

const AUDIENCE: &str = "https://tickets.example.org";

/// The `x5t#S256` of the leaf in a file of certificates.
fn thumbprint(file: &Path) -> String {
    let pem = fs::read_to_string(file).unwrap();
    let leaf = pem.split("-----END").next().unwrap().replace("-----BEGIN CERTIFICATE-----", "").replace('\n', "");
    BASE64URL_NOPAD.encode(digest(&SHA256, &BASE64.decode(leaf.as_bytes()).unwrap()).as_ref())
}

#[test]
fn a_token_is_good_on_its_certificates_connection_alone() {
    let Some(nginx) = program("DAYFLY_NGINX") else { return };
    let (folder, port, tool) = (Folder::new(), port(), port());
    let issuer = Issuer::new(&folder);
    let daemon = Daemon::start(&format!("[authz]\ncertificate_header = \"X-Client-Cert\"\n{}", issuer.config()));
    daemon.cli(&["agent", "add", "reporter", "--owner", "ada@example.org"]);
    let scope = ["--scope", "read=read", "--route", "GET /items/*=read", "--url", "https://tickets.example.org/api"];
    let accept = ["--accept", IDP, "--accept", "mtls"];
    daemon.cli(&[&["tool", "add", "tickets", "--audience", AUDIENCE][..], &scope, &accept].concat());
    daemon.cli(&["grant", "add", "reporter", "tickets", "--scope", "read"]);
    daemon.entry("spiffe://example.org/reporter", &[&own_uid()], &["--agent", "reporter"]);
    let at = |name: &str| folder.path().join(name).display().to_string();
    // Its own, and one that somebody else has who is as well known.
    for name in ["own", "other"] {
        daemon.cli(&["fetch", "x509", "--write", &at(name)]);
    }
    let temps = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("{kind}_temp_path {};", at(&format!("{kind}-temp"))));
    let authz = daemon.home().join("authz.sock");
    fs::write(
        at("nginx.conf"),
        format!(
            r#"user root; daemon off; pid {pid}; error_log stderr; events {{}}
http {{ access_log off; {temps}
server {{
    listen 127.0.0.1:{port} ssl;
    ssl_certificate {own}/svid.pem;
    ssl_certificate_key {own}/svid_key.pem;
    ssl_verify_client optional_no_ca;
    location /api/ {{
        auth_request /dayfly;
        auth_request_set $agent $upstream_http_x_dayfly_agent;
        proxy_set_header X-Dayfly-Agent $agent;
        proxy_pass http://127.0.0.1:{tool};
    }}
    location = /dayfly {{
        internal;
        proxy_pass http://unix:{authz}:/verify;
        proxy_pass_request_body off;
        proxy_set_header Content-Length "";
        proxy_set_header Host dayfly;
        proxy_set_header X-Original-Method $request_method;
        proxy_set_header X-Original-URL https://tickets.example.org$request_uri;
        proxy_set_header X-Client-Cert $ssl_client_escaped_cert;
    }}
}}
server {{ listen 127.0.0.1:{tool}; location / {{ return 200 "$http_x_dayfly_agent\n"; }} }}
}}"#,
            pid = at("nginx.pid"),
            temps = temps.join(" "),
            own = at("own"),
            authz = authz.display(),
        ),
    )
    .unwrap();
    let log = fs::File::create(at("log")).unwrap();
    let mut command = Command::new(nginx);
    command.args(["-e", "stderr", "-p", &at(""), "-c", &at("nginx.conf")]).stderr(log);
    let _server = Background::of(&mut command, Signal::SIGTERM);
    let call = |certificate: Option<&str>, more: &[String]| {
        let url = format!("https://127.0.0.1:{port}/api/items/7");
        let mut curl = Command::new("curl");
        curl.args(["-sk", "--max-time", "20", "-w", "%{http_code}", &url]).args(more);
        if let Some(name) = certificate {
            curl.args(["--cert", &at(&format!("{name}/svid.pem")), "--key", &at(&format!("{name}/svid_key.pem"))]);
        }
        words(&curl.output().unwrap())
    };
    let bearer = |token: &str| vec!["-H".to_owned(), format!("Authorization: Bearer {token}")];
    let own = folder.path().join("own/svid.pem");
    let token = issuer.bound(AUDIENCE, &json!({ "x5t#S256": thumbprint(&own) }));
    eventually("nginx serves", || call(None, &[]).ends_with("401"));
    for _ in 0..2 {
        assert_eq!(call(Some("own"), &bearer(&token)), "reporter\n200", "{}", daemon.log());
    }
    let refused = |certificate: Option<&str>, more: &[String], reason: &str| {
        let said = call(certificate, more);
        let records = daemon.audit();
        let last = records.iter().rfind(|record| record["what"] == "request").unwrap();
        assert!(said.ends_with("401") && last["reasons"][0] == reason, "{reason}: {said} {last}");
    };
    refused(None, &bearer(&token), "certificate_missing");
    refused(Some("other"), &bearer(&token), "certificate_mismatch");
    // What a thief says of himself is not what nginx says of him.
    let said = fs::read_to_string(&own).unwrap().replace('\n', "%0A");
    let header = ["-H".to_owned(), format!("X-Client-Cert: {said}")];
    refused(None, &[&bearer(&token)[..], &header].concat(), "certificate_missing");
    refused(Some("other"), &[&bearer(&token)[..], &header].concat(), "certificate_mismatch");
    let unbound = issuer.bound(AUDIENCE, &json!({}));
    refused(Some("own"), &bearer(&unbound), "foreign_binding");
    daemon.cli(&["agent", "suspend", "reporter"]);
    refused(Some("own"), &bearer(&token), "agent_suspended");
}
