//! Tokens of another issuer that are bound to the certificate of a TLS client, behind the server that ends its connection:
//! the server finds that the client has the certificate's key, and the daemon that the token is for that certificate. The
//! README has the lines that matter.

use std::{
    fs,
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::Command,
};

use aws_lc_rs::digest::{SHA256, digest};
use data_encoding::{BASE64, BASE64URL_NOPAD};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use super::{
    common::{
        Daemon, Folder, eventually,
        issuer::{IDP, Issuer},
        own_uid,
    },
    envoy::{configure, upstream},
    stage::{Background, port, program, words},
};

const AUDIENCE: &str = "https://tickets.example.org";
const ITEM: &str = "https://tickets.example.org/api/items/7";

/// The `x5t#S256` of the leaf in a file of certificates.
fn thumbprint(file: &Path) -> String {
    let pem = fs::read_to_string(file).unwrap();
    let leaf = pem.split("-----END").next().unwrap().replace("-----BEGIN CERTIFICATE-----", "").replace('\n', "");
    BASE64URL_NOPAD.encode(digest(&SHA256, &BASE64.decode(leaf.as_bytes()).unwrap()).as_ref())
}

/// An agent with a certificate, `own`; somebody who is as well known has the certificate `other`.
struct Scene {
    daemon: Daemon,
    issuer: Issuer,
    folder: Folder,
    /// Of the server that ends the connections.
    port: u16,
    /// The one header line of who has the agent's token.
    bearer: String,
}

impl Scene {
    fn new() -> Self {
        let (folder, port) = (Folder::new(), port());
        let issuer = Issuer::new(&folder);
        let daemon = Daemon::start(&format!("[authz]\ncertificate_header = \"X-Client-Cert\"\n{}", issuer.config()));
        daemon.cli(&["agent", "add", "reporter", "--owner", "ada@example.org"]);
        let scope =
            ["--scope", "read=read", "--route", "GET /items/*=read", "--url", "https://tickets.example.org/api"];
        let accept = ["--accept", IDP, "--accept", "mtls"];
        daemon.cli(&[&["tool", "add", "tickets", "--audience", AUDIENCE][..], &scope, &accept].concat());
        daemon.cli(&["grant", "add", "reporter", "tickets", "--scope", "read"]);
        daemon.entry("spiffe://example.org/reporter", &[&own_uid()], &["--agent", "reporter"]);
        for name in ["own", "other"] {
            daemon.cli(&["fetch", "x509", "--write", folder.path().join(name).to_str().unwrap()]);
        }
        let bound = json!({ "x5t#S256": thumbprint(&folder.path().join("own/svid.pem")) });
        let bearer = format!("Authorization: Bearer {}", issuer.bound(AUDIENCE, &bound));
        Self { daemon, issuer, folder, port, bearer }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Calls with this certificate; answers the status and what came with it.
    fn call(&self, certificate: Option<&str>, headers: &[&str]) -> (u16, String) {
        let mut curl = Command::new("curl");
        curl.args(["-sk", "--max-time", "20", "-w", "\n%{http_code}", ITEM, "--connect-to"]);
        curl.arg(format!("::127.0.0.1:{}", self.port));
        headers.iter().for_each(|header| _ = curl.args(["-H", header]));
        if let Some(name) = certificate {
            let [cert, key] = ["svid.pem", "svid_key.pem"].map(|file| self.at(name).join(file));
            curl.arg("--cert").arg(cert).arg("--key").arg(key);
        }
        let said = words(&curl.output().unwrap());
        let (body, status) = said.rsplit_once('\n').unwrap();
        (status.parse().unwrap(), body.to_owned())
    }

    fn passes(&self, as_told: &str) {
        for _ in 0..2 {
            let (status, body) = self.call(Some("own"), &[&self.bearer]);
            assert!(status == 200 && body.contains(as_told), "{status} {body}{}", self.daemon.log());
        }
    }

    fn refused(&self, certificate: Option<&str>, headers: &[&str], reason: &str) {
        let (status, body) = self.call(certificate, headers);
        let records = self.daemon.audit();
        let last: &Value = records.iter().rfind(|record| record["what"] == "request").unwrap();
        assert!(status == 401 && last["reasons"][0] == reason, "{reason}: {status} {body} {last}");
    }

    /// Whoever is not on the certificate's connection, and says himself that he is.
    fn refuses_the_rest(&self) {
        self.refused(None, &[&self.bearer], "certificate_missing");
        self.refused(Some("other"), &[&self.bearer], "certificate_mismatch");
        let own = self.at("own/svid.pem");
        let said = fs::read_to_string(&own).unwrap().replace('\n', "%0A");
        let named = format!("X-Client-Cert: {said}");
        let hash = thumbprint(&own);
        let forwarded =
            format!("X-Forwarded-Client-Cert: Hash={hash};Cert=\"{said}\";URI=spiffe://example.org/reporter");
        for spoofed in [&named, &forwarded] {
            self.refused(None, &[&self.bearer, spoofed], "certificate_missing");
            self.refused(Some("other"), &[&self.bearer, spoofed], "certificate_mismatch");
        }
        let unbound = format!("Authorization: Bearer {}", self.issuer.bound(AUDIENCE, &json!({})));
        self.refused(Some("own"), &[&unbound], "foreign_binding");
        self.daemon.cli(&["agent", "suspend", "reporter"]);
        self.refused(Some("own"), &[&self.bearer], "agent_suspended");
        self.daemon.cli(&["agent", "resume", "reporter"]);
        assert_eq!(self.call(Some("own"), &[&self.bearer]).0, 200);
    }
}

#[test]
fn a_token_is_good_on_its_certificates_connection_alone() {
    let Some(nginx) = program("DAYFLY_NGINX") else { return };
    let (scene, tool) = (Scene::new(), port());
    let at = |name: &str| scene.at(name).display().to_string();
    let temps = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("{kind}_temp_path {};", at(&format!("{kind}-temp"))));
    let authz = scene.daemon.home().join("authz.sock");
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
            port = scene.port,
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
    eventually("nginx serves", || scene.call(None, &[]).0 == 401);
    scene.passes("reporter\n");
    scene.refuses_the_rest();
}

/// `packaging/envoy/` with what mTLS takes.
#[test]
fn behind_envoy_it_is_the_same() {
    let Some(envoy) = program("DAYFLY_ENVOY") else { return };
    let scene = Scene::new();
    let (at, home) = (scene.folder.path().display().to_string(), scene.daemon.home().display().to_string());
    let place = scene.at("envoy");
    fs::create_dir(&place).unwrap();
    let asked = format!("validation_context: {{trusted_ca: {{filename: {at}/own/bundle.pem}}}}");
    configure(
        &place,
        &[
            ("/etc/envoy/", &format!("{at}/envoy/")),
            ("/run/envoy/", &format!("{at}/envoy/")),
            ("/var/lib/envoy/certs/", &format!("{at}/own/")),
            ("/var/lib/envoy", &at),
            ("/run/dayfly/", &format!("{home}/")),
            ("0.0.0.0, port_value: 443}", &format!("127.0.0.1, port_value: {}}}", scene.port)),
            ("port_value: 8080", &format!("port_value: {}", upstream())),
            ("alpn_protocols: [h2, http/1.1]", &format!("alpn_protocols: [h2, http/1.1]\n            {asked}")),
            ("transport_api_version: V3", "transport_api_version: V3\n              include_peer_certificate: true"),
            // What a client says of itself comes to the daemon, which does not look at it.
            (
                "merge_slashes: false",
                "merge_slashes: false\n          forward_client_cert_details: ALWAYS_FORWARD_ONLY",
            ),
            (
                "- {exact: txn-token}",
                "- {exact: txn-token}\n                  - {exact: x-client-cert}\n                  - {exact: x-forwarded-client-cert}",
            ),
        ],
    );
    let file = place.join("envoy.yaml");
    let log = fs::File::create(scene.at("log")).unwrap();
    let mut command = Command::new(envoy);
    command.args(["--use-dynamic-base-id", "--concurrency", "1", "-l", "warning", "-c"]).arg(&file).stderr(log);
    let _server = Background::of(&mut command, Signal::SIGTERM);
    eventually("Envoy serves", || {
        UnixStream::connect(place.join("admin.sock")).is_ok() && scene.call(None, &[]).0 == 401
    });
    scene.passes("x-dayfly-agent: reporter\r\n");
    scene.refuses_the_rest();
}
