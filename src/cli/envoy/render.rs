//! The configuration as Envoy 1.40 reads it: templates, filled.
//!
//! INVARIANT: what somebody gave stands in it only as [`Quoted`], or has a type without a character that means anything in
//! YAML: addresses, ports, hosts with ports.

use std::{fmt, net::SocketAddr};

use super::{
    address::{Connection, Place, Site},
    bootstrap::{Bootstrap, Callers, Ingress, trust_in},
    yaml::{Quoted, fill},
};
use crate::spiffe::Id;

impl fmt::Display for Bootstrap {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let admin = self.admin.map_or_else(
            || include_str!("parts/no_admin.yaml").to_owned(),
            |address| fill(include_str!("parts/admin.yaml"), &socket(address)),
        );
        let numbered = || (1..).zip(&self.egress);
        let listeners = self.ingress.iter().map(|ingress| self.listener(ingress));
        let listeners = listeners.chain(numbered().map(|(number, connection)| local(number, connection)));
        let clusters = self.ingress.iter().map(service);
        let clusters = clusters.chain(numbered().map(|(number, connection)| self.peer(number, connection)));
        let authz = self
            .ingress
            .as_ref()
            .and_then(|ingress| ingress.tool.as_ref())
            .map(|tool| fill(include_str!("parts/authz.yaml"), &[("socket", Quoted(&tool.socket).to_string())]));
        out.write_str(&fill(
            include_str!("parts/whole.yaml"),
            &[
                ("node", Quoted(&self.node).to_string()),
                ("admin", admin),
                ("listeners", listeners.collect()),
                ("clusters", clusters.collect()),
                ("socket", Quoted(&self.socket).to_string()),
                ("authz", authz.unwrap_or_default()),
            ],
        ))
    }
}

impl Bootstrap {
    /// Before the service.
    fn listener(&self, Ingress { listen, callers, site, tool, .. }: &Ingress) -> String {
        let mut values = Vec::from(socket(*listen));
        values.push((
            "tls",
            match callers {
                Callers::Own => self.tls(fill(include_str!("parts/own.yaml"), &[("sds", self.sds())])),
                Callers::These(ids) => self.tls(self.these(ids)),
            },
        ));
        values.push((
            "domains",
            match site {
                Some(site) => fill(include_str!("parts/one_host.yaml"), &[("hosts", hosts(site))]),
                None => include_str!("parts/any_host.yaml").to_owned(),
            },
        ));
        let of_tool = tool.as_ref().zip(site.as_ref()).map(|(tool, site)| {
            let url = format!("https://{}%REQ(:PATH)%", site.authority);
            [
                (
                    "judged",
                    fill(include_str!("parts/judged.yaml"), &[("tool", Quoted(tool.name.as_str()).to_string())]),
                ),
                ("pages", fill(include_str!("parts/pages.yaml"), &[("url", Quoted(&url).to_string())])),
                ("paths", include_str!("parts/paths.yaml").to_owned()),
                ("filter", include_str!("parts/ext_authz.yaml").to_owned()),
                ("claims", String::new()),
            ]
        });
        values.extend(of_tool.unwrap_or_else(|| {
            let claims = include_str!("parts/claims.yaml").to_owned();
            let nothing = |name| (name, String::new());
            [nothing("judged"), nothing("pages"), nothing("paths"), nothing("filter"), ("claims", claims)]
        }));
        fill(include_str!("parts/ingress.yaml"), &values)
    }

    /// To a peer.
    fn peer(&self, number: usize, Connection { place, peers, .. }: &Connection) -> String {
        let sni = if place.is_name() { format!("sni: {}", Quoted(&place.host)) } else { String::new() };
        let mut values = Vec::from(target(place));
        values.extend([("number", number.to_string()), ("sni", sni), ("tls", self.tls(self.these(peers)))]);
        fill(include_str!("parts/peer.yaml"), &values)
    }

    /// As whom it speaks, and whom it believes.
    fn tls(&self, trust: String) -> String {
        let identity = Quoted(&self.identity).to_string();
        fill(include_str!("parts/tls.yaml"), &[("identity", identity), ("sds", self.sds()), ("trust", trust)])
    }

    /// It believes these alone.
    fn these(&self, ids: &[Id]) -> String {
        let each = ids.iter().map(|id| format!("- {{san_type: URI, matcher: {{exact: {}}}}}\n", Quoted(id.as_str())));
        let vouching = Quoted(&trust_in(ids)).to_string();
        fill(
            include_str!("parts/these.yaml"),
            &[("peers", each.collect()), ("vouching", vouching), ("sds", self.sds())],
        )
    }

    /// From where secrets come.
    fn sds(&self) -> String {
        let api = if self.is_delta { "DELTA_GRPC" } else { "GRPC" };
        fill(include_str!("parts/sds.yaml"), &[("api", api.to_owned())])
    }
}

/// For the services of this machine.
fn local(number: usize, Connection { listen, place, .. }: &Connection) -> String {
    let mut values = Vec::from(socket(*listen));
    let authority = Quoted(&place.authority).to_string();
    values.extend([("number", number.to_string()), ("to", place.to_string()), ("authority", authority)]);
    fill(include_str!("parts/egress.yaml"), &values)
}

fn service(Ingress { upstream, is_http2, .. }: &Ingress) -> String {
    let protocol = if *is_http2 { include_str!("parts/http2.yaml") } else { "" };
    let mut values = Vec::from(target(upstream));
    values.push(("protocol", protocol.to_owned()));
    fill(include_str!("parts/service.yaml"), &values)
}

/// Where it listens.
fn socket(address: SocketAddr) -> [(&'static str, String); 2] {
    [("address", Quoted(&address.ip().to_string()).to_string()), ("port", address.port().to_string())]
}

/// Where it connects to.
fn target(place: &Place) -> [(&'static str, String); 3] {
    let found = if place.is_name() { "type: STRICT_DNS\ndns_lookup_family: V4_PREFERRED\n" } else { "type: STATIC\n" };
    [("where", found.to_owned()), ("host", Quoted(&place.host).to_string()), ("port", place.port.to_string())]
}

/// The names that a client may have for the one host; some say the port of https.
fn hosts(site: &Site) -> String {
    let authority = &site.authority;
    let has_port = authority.rsplit_once(':').is_some_and(|(_, port)| !port.ends_with(']'));
    match has_port {
        true => Quoted(authority).to_string(),
        false => format!("{}, {}", Quoted(authority), Quoted(&format!("{authority}:443"))),
    }
}
