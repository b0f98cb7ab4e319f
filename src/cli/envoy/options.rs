//! The options of `dayfly envoy bootstrap`, and which of them fit together.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
};

use clap::Args;

use super::{
    address::{self, Connection, Place, Site},
    bootstrap::{Bootstrap, Callers, Ingress, Tool},
};
use crate::{
    cli::{context::Context, exit::Exit, failure::Failure},
    registry::Label,
    spiffe::Id,
};

const HELP_URL: &str = "The only host it answers for, as https://tickets.example.org; without it, any. A tool's is that of \
                        its base URL";

/// `envoy bootstrap`
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// What the proxy calls itself, for people: `dayfly status` shows it
    #[arg(long, value_name = "NAME", default_value = "envoy", value_parser = node)]
    node: String,
    /// As whom it speaks: one of its identities, or `default` for the first
    #[arg(long, value_name = "SPIFFE_ID|default", default_value = DEFAULT, value_parser = own_identity)]
    identity: String,
    /// Take calls by mTLS here, for a service on this machine
    #[arg(long, value_name = "ADDR:PORT", value_parser = address::listen)]
    listen: Option<SocketAddr>,
    /// The service before which it listens
    #[arg(long, value_name = "HOST:PORT", value_parser = address::place)]
    upstream: Option<Place>,
    /// The service speaks HTTP/2 without TLS, as those of gRPC do
    #[arg(long)]
    upstream_http2: bool,
    /// Who may call; may be given several times
    #[arg(long, value_name = "SPIFFE_ID", value_parser = address::identity, conflicts_with = "allow_any")]
    allow: Vec<Id>,
    /// Whoever has an identity of the daemon's own trust domain may call
    #[arg(long)]
    allow_any: bool,
    /// The tool that the service is: the daemon judges each request's access token, and without its answer nobody passes
    #[arg(long, value_name = "NAME", value_parser = Label::parse)]
    tool: Option<Label>,
    // No doc comment: there, a bare URL is a fault.
    #[arg(long, value_name = "https://HOST", value_parser = address::site, help = HELP_URL)]
    url: Option<Site>,
    /// Take calls without TLS at LISTEN, a port or an address of this machine, and make them by mTLS at HOST:PORT, where
    /// only SPIFFE_ID may answer (or several, with commas); may be given several times
    #[arg(long, value_name = "LISTEN=HOST:PORT=SPIFFE_ID", value_parser = address::connection)]
    connect: Vec<Connection>,
    /// Have only the changes of secrets sent (DeltaSecrets)
    #[arg(long)]
    delta: bool,
    /// Where Envoy's admin interface listens, on 127.0.0.1; without it there is none
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    admin_port: Option<u16>,
    /// The daemon's workload socket, as a path or unix:///…
    #[arg(long, value_name = "PATH")]
    socket: Option<String>,
    /// The daemon's authz socket, which judges a tool's requests
    #[arg(long, value_name = "PATH", requires = "tool")]
    authz_socket: Option<PathBuf>,
}

/// The SDS name of the first identity.
const DEFAULT: &str = "default";
/// The longest name of a proxy, in bytes.
const NODE_BYTES_MAX: usize = 128;
/// How many callers are named.
const ALLOW_MAX: usize = 1000;
/// How many peers are called.
const CONNECT_MAX: usize = 100;
/// The longest path of a Unix socket, in bytes.
const SOCKET_BYTES_MAX: usize = 107;

impl Options {
    /// What the proxy is to do.
    ///
    /// # Errors
    /// The first thing that does not fit.
    pub(super) fn understood(self, context: &Context) -> Result<Bootstrap, Failure> {
        let socket = text("the workload socket", &context.workload_socket(self.socket.as_deref())?)?;
        let authz = match &self.tool {
            Some(_) => Some(text("the authz socket", &context.authz_socket(self.authz_socket.as_deref())?)?),
            None => None,
        };
        let admin = self.admin_port.map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
        few("--allow", self.allow.len(), ALLOW_MAX)?;
        few("--connect", self.connect.len(), CONNECT_MAX)?;
        let (node, is_delta, identity) = (self.node.clone(), self.delta, self.identity.clone());
        let (ingress, egress) = self.parts(authz)?;
        let listeners = ingress.iter().map(|one| one.listen).chain(egress.iter().map(|one| one.listen)).chain(admin);
        let listeners: Vec<_> = listeners.collect();
        for (number, &one) in listeners.iter().enumerate() {
            if let Some(other) = listeners.iter().skip(number + 1).find(|&&other| overlap(one, other)) {
                return Err(unfit(format!("it would listen twice on the same port: {one} and {other}"))
                    .hint("give each of --listen, --connect and --admin-port a port of its own"));
            }
        }
        let targets = ingress.iter().map(|one| &one.upstream).chain(egress.iter().map(|one| &one.place));
        for target in targets {
            let address = target.host.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, target.port));
            if address.is_ok_and(|address| listeners.iter().any(|one| leads_to(address, *one))) {
                return Err(unfit(format!("{target} is this proxy itself: requests would go round and round"))
                    .hint("a service and the proxy before it need ports of their own"));
            }
        }
        Ok(Bootstrap { node, socket, is_delta, identity, admin, ingress, egress })
    }

    /// Where it listens for others and for this machine, at least one of the two.
    fn parts(self, authz: Option<String>) -> Result<(Option<Ingress>, Vec<Connection>), Failure> {
        let of_listen = [
            ("--upstream", self.upstream.is_some()),
            ("--upstream-http2", self.upstream_http2),
            ("--allow", !self.allow.is_empty()),
            ("--allow-any", self.allow_any),
            ("--tool", self.tool.is_some()),
            ("--url", self.url.is_some()),
        ];
        let Some(listen) = self.listen else {
            if let Some((option, _)) = of_listen.iter().find(|(_, given)| *given) {
                return Err(unfit(format!("{option} says how it listens, and not where"))
                    .hint("say where with --listen: --listen 0.0.0.0:8443"));
            }
            if self.connect.is_empty() {
                return Err(unfit("nothing says what the proxy is to do").hint(
                    "--listen with --upstream takes calls for a service, --connect makes them; `--help` has examples",
                ));
            }
            return Ok((None, self.connect));
        };
        let Some(upstream) = self.upstream else {
            return Err(unfit("--listen needs --upstream, the service that it listens for")
                .hint("for a service on this machine: --upstream 127.0.0.1:8080"));
        };
        let callers = match (self.allow_any, self.allow) {
            (true, _) => Callers::Own,
            (false, ids) if ids.is_empty() => {
                return Err(unfit("--listen needs to know who may call").hint(
                    "name the callers with --allow SPIFFE_ID, or take all of the trust domain with --allow-any",
                ));
            }
            (false, ids) => Callers::These(ids),
        };
        if self.tool.is_some() && self.url.is_none() {
            return Err(unfit("--tool needs --url: what the client says of the host is not believed")
                .hint("give scheme and host of the tool's base URL: --url https://tickets.example.org"));
        }
        let tool = self.tool.zip(authz).map(|(name, socket)| Tool { name, socket });
        let is_http2 = self.upstream_http2;
        Ok((Some(Ingress { listen, upstream, is_http2, callers, site: self.url, tool }), self.connect))
    }
}

fn unfit(words: impl Into<String>) -> Failure {
    Failure::new(Exit::Usage, words)
}

fn few(option: &str, number: usize, most: usize) -> Result<(), Failure> {
    match number <= most {
        true => Ok(()),
        false => Err(unfit(format!("{option} is given {number} times, at most {most} are taken"))),
    }
}

/// Whether two cannot listen at once.
fn overlap(one: SocketAddr, other: SocketAddr) -> bool {
    one == other || (one.port() == other.port() && (is_any_of(one, other) || is_any_of(other, one)))
}

/// Whether this machine would take a call there to that listener.
fn leads_to(address: SocketAddr, listener: SocketAddr) -> bool {
    let here = address.ip().is_loopback() || address.ip().is_unspecified();
    address == listener || (address.port() == listener.port() && here && is_any_of(listener, address))
}

/// Whether it listens at all addresses of the other's kind; Envoy keeps IPv4 and IPv6 apart.
fn is_any_of(listener: SocketAddr, other: SocketAddr) -> bool {
    listener.ip().is_unspecified() && listener.is_ipv4() == other.is_ipv4()
}

/// The path of a socket as Envoy takes it.
fn text(what: &str, path: &Path) -> Result<String, Failure> {
    let whole = std::path::absolute(path)
        .map_err(|error| Failure::because(format_args!("{what}'s path cannot be used"), &error))?;
    let Some(text) = whole.to_str() else {
        return Err(unfit(format!("{what}'s path {} is not UTF-8, and Envoy takes no other", whole.display())));
    };
    match text.len() {
        0..=SOCKET_BYTES_MAX => Ok(text.to_owned()),
        _ => Err(unfit(format!("the path {text} is too long for a socket"))
            .hint(format!("a socket's path has at most {SOCKET_BYTES_MAX} bytes"))),
    }
}

/// What a proxy calls itself: any text that a person may want.
fn node(text: &str) -> Result<String, String> {
    match text.len() {
        0 => Err("it is empty".to_owned()),
        1..=NODE_BYTES_MAX => Ok(text.to_owned()),
        many => Err(format!("it has {many} bytes, at most {NODE_BYTES_MAX} are taken")),
    }
}

fn own_identity(text: &str) -> Result<String, String> {
    match text {
        DEFAULT => Ok(text.to_owned()),
        _ => address::identity(text).map(|id| id.as_str().to_owned()),
    }
}
