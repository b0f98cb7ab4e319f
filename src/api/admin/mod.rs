//! The admin socket: entries, agents, tools and grants, revocations, foreign bundles, and the daemon itself. It asks who is calling, translates, and decides nothing.

mod bundles;
mod catalog;
mod control;
mod entries;
mod item_list;
mod items;
mod list;
mod revocations;
#[cfg(test)]
mod tests;
mod watch;
mod wire;

#[cfg(any(fuzzing, test))]
pub(crate) use {
    list::List,
    wire::{amendment, entry_id, new_draft, order},
};

use std::{os::fd::AsFd, sync::Arc};

use tokio::sync::watch as channel;
use tokio_util::sync::CancellationToken;
use tonic::{
    Request, Status,
    service::{InterceptorLayer, Routes},
};
use tonic_health::server::HealthReporter;
use tower::Layer as _;

pub(crate) use control::{About, Invite, LogSwitch, Succession, Uninvited};

use super::{standard::add_standard, status};
use crate::{
    issuance::{
        Alive, Explain, Proxies, Stand,
        desk::{Author, Desk},
        foreign::Office,
    },
    oauth::issuer::Issuers,
    pb::admin::{
        bundles_server::BundlesServer, catalog_server::CatalogServer, control_server::ControlServer,
        entries_server::EntriesServer, revocations_server::RevocationsServer,
    },
    sys::{
        Clock,
        counters::Counters,
        peer::{Fault, Peer},
    },
};

/// The longest request: ten thousand entries in one apply.
pub(crate) const MESSAGE_BYTES_MAX: usize = 16 << 20;

/// The process at the other end of the admin socket. The connection puts it into each request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AdminCaller {
    /// In the daemon's pid namespace.
    pub(crate) pid: i32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// Its supplementary groups: most people are in the admin group only by these.
    pub(crate) groups: Arc<[u32]>,
}

/// Who may ask anything at all, beside root.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rights {
    /// The daemon's own uid.
    pub(crate) uid: u32,
    /// The admin group's gid, where there is one.
    pub(crate) gid: Option<u32>,
}

/// What the services stand on.
pub(crate) struct Admin {
    pub(crate) rights: Rights,
    pub(crate) desk: Desk,
    pub(crate) office: Office,
    /// Whose access tokens tools may take.
    pub(crate) issuers: channel::Receiver<Arc<Issuers>>,
    /// Access tokens that are out.
    pub(crate) alive: Arc<Alive>,
    /// Who listens for secrets.
    pub(crate) proxies: Arc<Proxies>,
    pub(crate) clock: Clock,
    pub(crate) about: About,
    pub(crate) stand: Stand,
    pub(crate) explain: Explain,
    pub(crate) log: LogSwitch,
    pub(crate) succession: Succession,
    pub(crate) counters: Arc<Counters>,
    /// Ends watches.
    pub(crate) stopping: CancellationToken,
    pub(crate) health: HealthReporter,
}

/// All services of the admin socket, behind one gate.
pub(crate) fn admin_routes(admin: Admin) -> Routes {
    let Admin {
        rights,
        desk,
        office,
        issuers,
        alive,
        proxies,
        clock,
        about,
        stand,
        explain,
        log,
        succession,
        counters,
        stopping,
        health,
    } = admin;
    let (doorkeeper, counts) = (desk.clone(), counters.clone());
    let gate = move |request: Request<()>| {
        let caller = caller(&request)?;
        if rights.cover(caller) {
            return Ok(request);
        }
        if counts.is_worth_a_line(caller.uid) {
            tracing::warn!(pid = caller.pid, uid = caller.uid, "refused at the admin socket");
        }
        doorkeeper.note_stranger(caller.into());
        Err(status::stranger())
    };
    let heirs = control::Heirs { rights, succession };
    let environment = about.environment.clone();
    let (foreign, counts) = (office.foreign(), counters.clone());
    let control = control::Control {
        about,
        desk: desk.clone(),
        foreign,
        issuers,
        stand,
        explain,
        proxies,
        log,
        heirs,
        counters: counts,
        clock: clock.clone(),
    };
    let catalog = catalog::Catalog::new(desk.clone(), alive, clock, environment);
    let revocations = revocations::Revocations::new(desk.clone());
    let entries = entries::Entries::new(desk, counters, stopping);
    let mut routes = Routes::builder();
    add_standard(
        &mut routes,
        &["dayfly.v1.Entries", "dayfly.v1.Catalog", "dayfly.v1.Revocations", "dayfly.v1.Bundles", "dayfly.v1.Control"],
        &health,
        gate.clone(),
    );
    let gate = InterceptorLayer::new(gate);
    routes.add_service(gate.layer(EntriesServer::new(entries).max_decoding_message_size(MESSAGE_BYTES_MAX)));
    routes.add_service(gate.layer(CatalogServer::new(catalog)));
    routes.add_service(gate.layer(RevocationsServer::new(revocations)));
    routes.add_service(gate.layer(BundlesServer::new(bundles::Bundles::new(office))));
    routes.add_service(gate.layer(ControlServer::new(control)));
    routes.routes().prepare()
}

impl AdminCaller {
    /// As the kernel noted it at connect(2), for all requests of a connection.
    ///
    /// # Errors
    /// When the kernel does not say.
    pub(crate) fn of(peer: &Peer, socket: &impl AsFd) -> Result<Self, Fault> {
        let groups = peer.groups_noted(socket)?.into();
        Ok(Self { pid: peer.pid(), uid: peer.uid(), gid: peer.gid(), groups })
    }
}

impl Rights {
    /// Whether the daemon is the caller's own: what it has may be given to nobody else.
    fn own(self, caller: &AdminCaller) -> bool {
        caller.uid == self.uid || caller.uid == 0
    }

    fn cover(self, caller: &AdminCaller) -> bool {
        let in_group = |group| caller.gid == group || caller.groups.contains(&group);
        self.own(caller) || self.gid.is_some_and(in_group)
    }
}

impl From<&AdminCaller> for Author {
    fn from(caller: &AdminCaller) -> Self {
        Self { pid: caller.pid, uid: caller.uid, gid: caller.gid }
    }
}

/// The caller of a request. A connection that says none is a fault of ours, and nothing is done for it.
fn caller<T>(request: &Request<T>) -> Result<&AdminCaller, Status> {
    request.extensions().get::<AdminCaller>().ok_or_else(status::panicked)
}
