//! What every verb is given: how to print, and which daemon is meant.

use std::{
    env,
    path::{Path, PathBuf},
};

use crate::daemon::Paths;

use super::{
    endpoint::Endpoint,
    exit::Exit,
    failure::{Failure, whole},
    print::Printer,
};

/// The person's wishes that are common to all verbs.
#[derive(Clone, Debug)]
pub(crate) struct Context {
    pub(crate) print: Printer,
    /// `--home`.
    pub(crate) home: Option<PathBuf>,
    /// `--admin-socket`, or its variable.
    pub(crate) admin_socket: Option<PathBuf>,
}

impl Context {
    /// The places of the daemon that is meant.
    ///
    /// # Errors
    /// When an ordinary user has no home.
    pub(crate) fn paths(&self) -> Result<Paths, Failure> {
        Paths::of_process(self.home.as_deref()).map_err(|error| {
            Failure::new(Exit::Usage, whole(&error)).hint("give it a folder with --home or DAYFLY_HOME")
        })
    }

    /// The folder that everything is below, where one was named.
    ///
    /// # Errors
    /// As [`Context::paths`].
    pub(crate) fn named_home(&self) -> Result<Option<PathBuf>, Failure> {
        let config = if self.is_named() { Some(self.paths()?.config) } else { None };
        Ok(config.and_then(|config| config.parent().map(Path::to_owned)))
    }

    fn is_named(&self) -> bool {
        self.home.is_some() || env::var_os("DAYFLY_HOME").is_some_and(|home| !home.is_empty())
    }

    /// Where admin verbs go.
    ///
    /// # Errors
    /// As [`Context::paths`].
    pub(crate) fn admin_socket(&self) -> Result<PathBuf, Failure> {
        match &self.admin_socket {
            Some(socket) => Ok(socket.clone()),
            None => Ok(self.own_or_system(self.paths()?.admin_socket, |system| system.admin_socket)),
        }
    }

    /// Where a workload goes: what `--socket` says, then `--home`, `SPIFFE_ENDPOINT_SOCKET`, `DAYFLY_HOME`, and the
    /// defaults.
    ///
    /// # Errors
    /// When an address is none, or not one of a Unix socket.
    pub(crate) fn workload_socket(&self, flag: Option<&str>) -> Result<PathBuf, Failure> {
        if let Some(text) = flag {
            return match text.contains(':') {
                true => unix_path("--socket", text),
                false => Ok(text.into()),
            };
        }
        if self.home.is_none()
            && let Some(value) = env::var_os(ENDPOINT_VARIABLE)
        {
            return unix_path(ENDPOINT_VARIABLE, &value.to_string_lossy());
        }
        Ok(self.own_or_system(self.paths()?.workload_socket, |system| system.workload_socket))
    }

    /// Where a proxy has requests judged: what `--authz-socket` says, then as for admin verbs.
    ///
    /// # Errors
    /// As [`Context::paths`].
    pub(crate) fn authz_socket(&self, flag: Option<&Path>) -> Result<PathBuf, Failure> {
        match flag {
            Some(socket) => Ok(socket.to_owned()),
            None => Ok(self.own_or_system(self.paths()?.authz_socket, |system| system.authz_socket)),
        }
    }

    /// Nobody named a place: one's own daemon is meant if it is there, else the system's.
    fn own_or_system(&self, own: PathBuf, of: impl Fn(Paths) -> PathBuf) -> PathBuf {
        let system = of(Paths::system());
        if !self.is_named() && !exists(&own) && exists(&system) { system } else { own }
    }
}

/// The standard's variable that tells a workload where to ask (SPIFFE Workload Endpoint §4).
pub(crate) const ENDPOINT_VARIABLE: &str = "SPIFFE_ENDPOINT_SOCKET";

fn exists(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}

fn unix_path(origin: &str, text: &str) -> Result<PathBuf, Failure> {
    match Endpoint::parse(text) {
        Ok(Endpoint::Unix(path)) => Ok(path),
        Ok(Endpoint::Tcp(address)) => {
            Err(Failure::new(Exit::Usage, format!("{origin} names the TCP address {address}"))
                .hint("dayfly speaks over Unix sockets only: the kernel tells who is at the other end of one"))
        }
        Err(error) => Err(Failure::new(Exit::Usage, format!("{origin}: `{text}` is not an address: {error}"))
            .hint("write it as unix:///run/dayfly/workload.sock")),
    }
}
