//! Words for the service manager: that we serve, that we stop, and which process is the service's main one.
//!
//! One datagram each, as `sd_notify(3)` has them. Nobody waits for an answer; a manager that is not there is no fault.

use std::{
    ffi::OsString,
    io,
    os::{
        linux::net::SocketAddrExt as _,
        unix::{
            ffi::OsStrExt as _,
            net::{SocketAddr, UnixDatagram},
        },
    },
};

/// Where the service manager listens; nowhere, by default.
#[derive(Clone, Debug, Default)]
pub(crate) struct Notify(Option<OsString>);

impl Notify {
    /// As `NOTIFY_SOCKET` says it: a path, or `@` and an abstract name.
    pub(crate) fn to(address: OsString) -> Self {
        Self(Some(address).filter(|address| !address.is_empty()))
    }

    /// Says something, lines of `NAME=value`. What is not heard is logged.
    pub(crate) fn tell(&self, words: &str) {
        let Some(address) = &self.0 else { return };
        if let Err(error) = send(address.as_bytes(), words) {
            tracing::warn!(%error, "the service manager does not listen");
        }
    }
}

fn send(address: &[u8], words: &str) -> io::Result<()> {
    let address = match address.strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(std::ffi::OsStr::from_bytes(address))?,
    };
    let socket = UnixDatagram::unbound()?;
    // A manager that does not read keeps nobody waiting.
    socket.set_nonblocking(true)?;
    socket.send_to_addr(words.as_bytes(), &address).map(drop)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::sys::scratch::Scratch;

    #[test]
    fn words_arrive_by_path_and_by_abstract_name() {
        let folder = Scratch::new();
        let path = folder.path().join("notify");
        let name = format!("dayfly-test-{}", std::process::id());
        let table = [
            (UnixDatagram::bind(&path).unwrap(), path.into_os_string()),
            (
                UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap(),
                format!("@{name}").into(),
            ),
        ];
        for (manager, address) in table {
            Notify::to(address).tell("READY=1");
            let mut words = [0; 64];
            let count = manager.recv(&mut words).unwrap();
            assert_eq!(words.get(..count).unwrap(), b"READY=1");
        }
    }

    #[test]
    fn a_manager_that_is_not_there_is_no_fault() {
        Notify::default().tell("READY=1");
        Notify::to("/nowhere/at/all".into()).tell("READY=1");
    }
}
