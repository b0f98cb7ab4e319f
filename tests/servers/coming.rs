//! Proxies that were configured for SPIRE's agent take the same from ours, by the same names and in the same words: only
//! where the socket is changes, or, with SPIRE's path among `workload_sockets`, not even that.
//!
//! SPIRE's own examples are run where `DAYFLY_SPIRE_TUTORIALS` names a folder with spiffe/spire-tutorials (Apache-2.0);
//! nothing of them is here. What is here says the same of secrets in the old words that those use: of the SDS names the
//! SPIFFE ID, the trust domain's ID, `ROOTCA`, `ALL` and `default`, one service as a mapping, `match_subject_alt_names`, and
//! HTTP/2 as an option of the cluster.

use std::{env, fs, os::unix::process::CommandExt as _, path::PathBuf, process::Command, thread, time::Duration};

use nix::sys::signal::Signal;

use super::{
    common::{Daemon, Folder, eventually},
    envoy::upstream,
    stage::{Background, CLIENT, STRANGER, port, program, words},
};

/// Who they are in SPIRE's tutorial.
const BACKEND: &str = "spiffe://example.org/ns/default/sa/default/backend";
const FRONTEND: &str = "spiffe://example.org/ns/default/sa/default/frontend";
/// Where SPIRE's agent has its socket there.
const SOCKET: &str = "/run/spire/sockets/agent.sock";

/// A daemon that has a socket at SPIRE's path too, below a folder of its own.
struct Scene {
    daemon: Daemon,
    folder: Folder,
    envoy: PathBuf,
}

impl Scene {
    fn new(envoy: PathBuf) -> Self {
        let folder = Folder::new();
        let home = folder.path().join("h");
        fs::create_dir_all(&home).unwrap();
        fs::create_dir_all(folder.path().join("s")).unwrap();
        let sockets = [home.join("workload.sock"), folder.path().join("s/agent.sock")];
        fs::write(home.join("dayfly.toml"), format!("workload_sockets = {sockets:?}\n[x509]\nttl = \"10s\"\n"))
            .unwrap();
        let daemon = Daemon::start_in(&home, &[]);
        daemon.entry(BACKEND, &[&format!("unix:gid:{STRANGER}")], &[]);
        daemon.entry(FRONTEND, &[&format!("unix:gid:{CLIENT}")], &[]);
        Self { daemon, folder, envoy }
    }

    fn socket(&self) -> String {
        self.folder.path().join("s/agent.sock").display().to_string()
    }

    fn start(&self, name: &str, gid: u32, text: &str) -> Background {
        let file = self.folder.path().join(format!("{name}.yaml"));
        fs::write(&file, text).unwrap();
        let log = fs::File::create(self.folder.path().join(format!("{name}.log"))).unwrap();
        let mut command = Command::new(&self.envoy);
        command.args(["--use-dynamic-base-id", "--concurrency", "1", "-l", "error", "-c"]).arg(&file);
        Background::of(command.gid(gid).stdout(log.try_clone().unwrap()).stderr(log), Signal::SIGTERM)
    }

    /// A request through both proxies comes to the service, which is told who asks; and another certificate comes in time.
    fn carries(&self, egress: u16) {
        let url = format!("http://127.0.0.1:{egress}/");
        let caller = || {
            let said = Command::new("curl").args(["-s", "--max-time", "20", &url]).output().unwrap();
            let said = words(&said);
            said.lines().find_map(|line| line.strip_prefix("x-forwarded-client-cert: ").map(str::to_owned))
        };
        eventually("a request passes", || caller().is_some());
        let first = caller().unwrap();
        assert!(first.ends_with(&format!("URI={FRONTEND}")), "{first}");
        eventually("another certificate calls", || {
            // SPIRE's examples end a connection that was idle for a second; the next one shows what there is by then.
            thread::sleep(Duration::from_millis(1200));
            caller().is_some_and(|now| now != first)
        });
        assert!(self.daemon.cli(&["status"]).contains("frontend"));
    }
}

/// A secret's place in SPIRE's words.
fn sds(name: &str) -> String {
    let source =
        "{api_type: GRPC, transport_api_version: V3, grpc_services: {envoy_grpc: {cluster_name: spire_agent}}}";
    format!("{{name: \"{name}\", sds_config: {{resource_api_version: V3, api_config_source: {source}}}}}")
}

/// As whom, whom it believes, and who the peer must be.
fn tls(identity: &str, trust: &str, peer: &str) -> String {
    let peer = format!("{{match_subject_alt_names: {{exact: \"{peer}\"}}}}");
    let trust = sds(trust);
    format!(
        "{{tls_certificate_sds_secret_configs: [{}], combined_validation_context: {{default_validation_context: {peer}, \
         validation_context_sds_secret_config: {trust}}}, tls_params: {{ecdh_curves: [\"X25519:P-256:P-521:P-384\"]}}}}",
        sds(identity)
    )
}

/// A proxy with one listener and one cluster, and a transport of the one or the other.
fn proxy(node: &str, socket: &str, listen: u16, to: u16, [listener, cluster]: [&str; 2]) -> String {
    let router = "{name: envoy.filters.http.router, typed_config: {\"@type\": \
                  type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}";
    format!(
        r#"node: {{id: {node}, cluster: moved}}
static_resources:
  listeners:
  - address: {{socket_address: {{address: 127.0.0.1, port_value: {listen}}}}}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: moved
          common_http_protocol_options: {{idle_timeout: 1s}}
          forward_client_cert_details: sanitize_set
          set_current_client_cert_details: {{uri: true}}
          route_config: {{virtual_hosts: [{{name: all, domains: ["*"], routes: [{{match: {{prefix: /}}, route: {{cluster: next}}}}]}}]}}
          http_filters: [{router}]
{listener}
  clusters:
  - name: spire_agent
    connect_timeout: 0.25s
    http2_protocol_options: {{}}
    load_assignment: {{cluster_name: spire_agent, endpoints: [{{lb_endpoints: [{{endpoint: {{address: {{pipe: {{path: "{socket}"}}}}}}}}]}}]}}
  - name: next
    type: strict_dns
    load_assignment: {{cluster_name: next, endpoints: [{{lb_endpoints: [{{endpoint: {{address: {{socket_address: {{address: 127.0.0.1, port_value: {to}}}}}}}}}]}}]}}
{cluster}
"#
    )
}

fn transport(indent: usize, kind: &str, tls: &str) -> String {
    let url = format!("type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.{kind}TlsContext");
    let config = format!("{{\"@type\": {url}, common_tls_context: {tls}}}");
    format!("{:indent$}transport_socket: {{name: envoy.transport_sockets.tls, typed_config: {config}}}", "")
}

#[test]
fn what_spires_agent_is_asked_for_is_answered() {
    let Some(envoy) = program("DAYFLY_ENVOY") else { return };
    let (scene, service) = (Scene::new(envoy), upstream());
    for (identity, trust) in [(BACKEND, "spiffe://example.org"), ("default", "ROOTCA"), (BACKEND, "ALL")] {
        let (ingress, egress, socket) = (port(), port(), scene.socket());
        let server = transport(6, "Downstream", &tls(identity, trust, FRONTEND));
        let client = transport(4, "Upstream", &tls(FRONTEND, trust, BACKEND));
        let _server = scene.start("backend", STRANGER, &proxy("backend", &socket, ingress, service, [&server, ""]));
        let _client = scene.start("frontend", CLIENT, &proxy("frontend", &socket, egress, ingress, ["", &client]));
        scene.carries(egress);
    }
}

#[test]
fn spires_own_examples_work_unchanged() {
    let Some(envoy) = program("DAYFLY_ENVOY") else { return };
    let Some(folder) = env::var_os("DAYFLY_SPIRE_TUTORIALS").map(PathBuf::from) else {
        println!("not run: DAYFLY_SPIRE_TUTORIALS names no folder with spiffe/spire-tutorials");
        return;
    };
    let (scene, service) = (Scene::new(envoy), upstream());
    let (ingress, egress, admin) = (port(), port(), port());
    let [backend, frontend] = ["backend", "frontend"]
        .map(|name| fs::read_to_string(folder.join(format!("k8s/envoy-x509/k8s/{name}/config/envoy.yaml"))).unwrap());
    let socket = (SOCKET, scene.socket());
    let server = swapped(
        &backend,
        &[
            &socket,
            &("port_value: 9001", format!("port_value: {ingress}")),
            &("port_value: 80\n", format!("port_value: {service}\n")),
            &("/tmp/inbound-proxy.log", "/dev/null".to_owned()),
        ],
    );
    let client = swapped(
        &frontend,
        &[
            &socket,
            &("port_value: 8100", format!("port_value: {admin}")),
            &("port_value: 3001", format!("port_value: {egress}")),
            &("port_value: 9011", format!("port_value: {ingress}")),
            &("/tmp/admin_access0.log", "/dev/null".to_owned()),
            &("/tmp/outbound-proxy.log", "/dev/null".to_owned()),
        ],
    );
    let _server = scene.start("backend", STRANGER, &server);
    let _client = scene.start("frontend", CLIENT, &client);
    scene.carries(egress);
}

/// With other texts, each of which must be there.
fn swapped(text: &str, swaps: &[&(&str, String)]) -> String {
    swaps.iter().fold(text.to_owned(), |text, (from, to)| {
        assert!(text.contains(from), "the example does not say {from}");
        text.replace(from, to)
    })
}
