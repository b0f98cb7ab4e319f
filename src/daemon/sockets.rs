//! Which of the sockets that were passed to this process is which of ours; what was not passed is made.

use std::{
    net::SocketAddr,
    os::fd::{AsFd as _, RawFd},
    path::Path,
};

use anyhow::Context as _;

use super::config::{Config, OpsAddress};
use crate::{
    api::ops::Socket,
    sys::{
        activation::Passed,
        inherited::{self, Address, Inherited},
        kernel::Kernel,
        listener::{Listener, Spare},
    },
};

/// Why a descriptor of a service manager's is not served.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// Not a socket that could be.
    #[error("descriptor {number}{} that was passed cannot be served", called(name))]
    Kind { number: RawFd, name: String, source: inherited::Error },
    /// Nothing in the configuration says so.
    #[error(
        "descriptor {number}{} that was passed listens on {at}, where this configuration serves nothing",
        called(name)
    )]
    Unknown { number: RawFd, name: String, at: String },
    /// The name says one thing, the address another.
    #[error("descriptor {number} that was passed is called `{name}`, and listens on {at}, which is the {role} socket")]
    Role { number: RawFd, name: String, at: String, role: &'static str },
}

fn called(name: &str) -> String {
    if name.is_empty() { String::new() } else { format!(" (`{name}`)") }
}

/// Judges what a service manager passed. By its address each is the workload, admin, http, authz or ops socket; where its name
/// (`FileDescriptorName=`) is one of these words, it must be the same one.
///
/// # Errors
/// The first descriptor that is none of this configuration's sockets.
pub(crate) fn judge(passed: Vec<Passed>, config: &Config) -> Result<Vec<Inherited>, Error> {
    let mut known: Vec<Inherited> = Vec::new();
    for Passed { fd, number, name } in passed {
        let name_of = || name.clone();
        let found = Inherited::of(fd, true).map_err(|source| Error::Kind { number, name: name_of(), source })?;
        let at = match &found.address {
            Address::Unix(path) => path.display().to_string(),
            Address::Tcp(address) => address.to_string(),
        };
        let is_first = known.iter().all(|other| other.address != found.address);
        match role_of(&found.address, config).filter(|_| is_first) {
            None => return Err(Error::Unknown { number, name, at }),
            Some(role) if ROLES.contains(&name.as_str()) && name != role => {
                return Err(Error::Role { number, name, at, role });
            }
            Some(_) => known.push(found),
        }
    }
    Ok(known)
}

const WORKLOAD: &str = "workload";
const ADMIN: &str = "admin";
const HTTP: &str = "http";
const AUTHZ: &str = "authz";
const OPS: &str = "ops";
const ROLES: [&str; 5] = [WORKLOAD, ADMIN, HTTP, AUTHZ, OPS];

fn role_of(address: &Address, config: &Config) -> Option<&'static str> {
    match address {
        Address::Unix(path) if config.workload_sockets.contains(path) => Some(WORKLOAD),
        Address::Unix(path) if config.admin_socket == *path => Some(ADMIN),
        Address::Unix(path) if config.http_socket == *path => Some(HTTP),
        Address::Unix(path) if config.authz_socket == *path => Some(AUTHZ),
        Address::Unix(path) => (config.ops.address == Some(OpsAddress::Unix(path.clone()))).then_some(OPS),
        Address::Tcp(address) => (config.ops.address == Some(OpsAddress::Tcp(*address))).then_some(OPS),
    }
}

/// The sockets that listen already, each until somebody asks for it.
pub(super) struct Sockets(Vec<Inherited>);

impl Sockets {
    pub(super) fn of(given: Vec<Inherited>) -> Self {
        Self(given)
    }

    fn take(&mut self, address: &Address) -> Option<Inherited> {
        self.0.iter().position(|one| one.address == *address).map(|at| self.0.swap_remove(at))
    }

    /// The socket at a path.
    pub(super) fn unix(&mut self, path: &Path, mode: u32, kernel: Kernel) -> anyhow::Result<Listener> {
        if let Some(inherited) = self.take(&Address::Unix(path.to_owned())) {
            return Ok(Listener::adopt(inherited, path, mode, kernel)?);
        }
        if let Some(folder) = path.parent().filter(|folder| !folder.exists()) {
            std::fs::create_dir_all(folder).with_context(|| format!("{} cannot be made", folder.display()))?;
        }
        Ok(Listener::bind(path, mode, kernel)?)
    }

    /// The socket of probes and Prometheus, and whether it is borrowed.
    pub(super) async fn ops(&mut self, address: &OpsAddress, kernel: Kernel) -> anyhow::Result<(Socket, bool)> {
        let address: &SocketAddr = match address {
            OpsAddress::Unix(path) => return Ok((Socket::Unix(self.unix(path, 0o666, kernel)?), false)),
            OpsAddress::Tcp(address) => address,
        };
        let cannot = || format!("the ops listener cannot listen on {address}");
        if let Some(Inherited { fd, is_borrowed, .. }) = self.take(&Address::Tcp(*address)) {
            let listener = std::net::TcpListener::from(fd);
            listener.set_nonblocking(true).with_context(cannot)?;
            let listener = tokio::net::TcpListener::from_std(listener).with_context(cannot)?;
            return Ok((Socket::Tcp(listener), is_borrowed));
        }
        let bound = tokio::net::TcpListener::bind(address).await;
        Ok((Socket::Tcp(bound.with_context(cannot)?), false))
    }

    /// The files of those that nobody asked for, which another configuration had: they go when we serve. What is
    /// borrowed stays.
    pub(super) fn leftover(self) -> Vec<Inherited> {
        self.0
    }
}

/// Every socket of a daemon once more, so that none stops listening when its door stops accepting.
pub(super) struct Spares {
    unix: Vec<Spare>,
    tcp: Vec<Inherited>,
}

impl Spares {
    /// # Errors
    /// When there is no descriptor left.
    pub(super) fn of<'a>(
        doors: impl IntoIterator<Item = &'a Listener>,
        ops: Option<&(Socket, bool)>,
    ) -> std::io::Result<Self> {
        let mut spares = Self { unix: Vec::new(), tcp: Vec::new() };
        for listener in doors {
            spares.unix.push(listener.spare()?);
        }
        match ops {
            Some((Socket::Unix(listener), _)) => spares.unix.push(listener.spare()?),
            Some((Socket::Tcp(listener), is_borrowed)) => {
                let (fd, address) = (listener.as_fd().try_clone_to_owned()?, Address::Tcp(listener.local_addr()?));
                spares.tcp.push(Inherited { fd, address, is_borrowed: *is_borrowed });
            }
            None => {}
        }
        Ok(spares)
    }

    /// We serve: files that are ours go with us.
    pub(super) fn keep(&self) {
        self.unix.iter().for_each(Spare::keep);
    }

    /// Another process serves, or will: every file stays.
    pub(super) fn leave(&self) {
        self.unix.iter().for_each(Spare::leave);
    }

    /// All of them, each with whether it is borrowed.
    pub(super) fn each(&self) -> Vec<(std::os::fd::BorrowedFd<'_>, bool)> {
        let unix = self.unix.iter().map(|spare| (spare.as_fd(), spare.is_borrowed()));
        unix.chain(self.tcp.iter().map(|one| (one.fd.as_fd(), one.is_borrowed))).collect()
    }

    /// As they would come from another process.
    pub(super) fn into_inherited(self) -> Vec<Inherited> {
        self.unix.into_iter().map(Spare::into_inherited).chain(self.tcp).collect()
    }
}
