//! What a proxy is to do. Options that fit together become this, and it becomes the configuration.

use std::{collections::BTreeSet, net::SocketAddr};

use super::address::{Connection, Place, Site};
use crate::{registry::Label, spiffe::Id};

/// A proxy of this node.
#[derive(Clone, Debug)]
pub(super) struct Bootstrap {
    /// What it calls itself.
    pub(super) node: String,
    /// The daemon's workload socket.
    pub(super) socket: String,
    /// Whether secrets come as changes, not all that were asked for each time.
    pub(super) is_delta: bool,
    /// As whom it speaks: an SDS name.
    pub(super) identity: String,
    /// On this machine alone.
    pub(super) admin: Option<SocketAddr>,
    pub(super) ingress: Option<Ingress>,
    pub(super) egress: Vec<Connection>,
}

/// mTLS before a service.
#[derive(Clone, Debug)]
pub(super) struct Ingress {
    pub(super) listen: SocketAddr,
    pub(super) upstream: Place,
    /// Whether the service speaks HTTP/2 without being asked.
    pub(super) is_http2: bool,
    pub(super) callers: Callers,
    pub(super) site: Option<Site>,
    pub(super) tool: Option<Tool>,
}

/// Who may call.
#[derive(Clone, Debug)]
pub(super) enum Callers {
    /// Everybody of our trust domain.
    Own,
    /// These.
    These(Vec<Id>),
}

/// A tool whose requests the daemon judges.
#[derive(Clone, Debug)]
pub(super) struct Tool {
    pub(super) name: Label,
    /// The daemon's authz socket.
    pub(super) socket: String,
}

/// The SDS name of those who vouch for these peers: their trust domain, or all domains, each for its own names.
pub(super) fn trust_in(peers: &[Id]) -> String {
    let domains: BTreeSet<_> = peers.iter().map(Id::trust_domain).collect();
    match domains.first() {
        Some(only) if domains.len() == 1 => only.id(),
        _ => "ALL".to_owned(),
    }
}
