//! What this kernel offers for proving callers. Probed, never guessed from a version.
#![expect(unsafe_code, reason = "a socket option that nix does not have")]

use std::{
    io,
    os::{
        fd::{AsFd, AsRawFd as _},
        unix::net::UnixStream,
    },
};

use super::{id_map::Unmapped, pidfd::Pidfd};

/// A kernel call that came after 5.3 and that the proof of the caller uses where it is there. Without one,
/// the same is proved in a dearer way, never less.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Feature {
    /// `SO_PEERPIDFD`, 6.5.
    PeerPidfd,
    /// Inodes of pidfds that are never used twice, 6.9.
    PidfdInode,
    /// `PIDFD_GET_INFO`, 6.13.
    PidfdInfo,
    /// `SO_PASSRIGHTS`, 6.16.
    PassRights,
}

impl Feature {
    /// All of them, oldest first.
    pub(crate) const ALL: [Self; 4] = [Self::PeerPidfd, Self::PidfdInode, Self::PidfdInfo, Self::PassRights];

    /// Its name in configuration, status and logs.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::PeerPidfd => "peer_pidfd",
            Self::PidfdInode => "pidfd_inode",
            Self::PidfdInfo => "pidfd_info",
            Self::PassRights => "pass_rights",
        }
    }

    /// What is done on a kernel without it.
    pub(crate) fn without(self) -> &'static str {
        match self {
            Self::PeerPidfd => "every connection answers a challenge before its first answer; there is no http socket",
            Self::PidfdInode => "a process is known by its open pidfd and start time",
            Self::PidfdInfo => "ids and cgroup are read from /proc",
            Self::PassRights => "descriptors sent to us are received, closed elsewhere, and end the connection",
        }
    }
}

/// Which of the [`Feature`]s are used, and which ids cannot be told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Kernel {
    present: [bool; Feature::ALL.len()],
    unmapped: Unmapped,
}

impl Kernel {
    /// Tries each call on a socket and a process of our own; those in `without` count as absent.
    ///
    /// # Errors
    /// When there is no `pidfd_open` (before Linux 5.3), or the own user namespace cannot be seen: no caller could be
    /// proved.
    pub(crate) fn probe(without: &[Feature]) -> io::Result<Self> {
        let this = Pidfd::open(i32::try_from(std::process::id()).unwrap_or(0))?;
        let (socket, _other) = UnixStream::pair()?;
        let present = Feature::ALL.map(|feature| {
            !without.contains(&feature)
                && match feature {
                    Feature::PeerPidfd => Pidfd::of_peer(&socket).is_ok(),
                    Feature::PidfdInode => this.has_own_inode(),
                    Feature::PidfdInfo => this.info().is_ok(),
                    Feature::PassRights => refuse_descriptors(&socket).is_ok(),
                }
        });
        Ok(Self { present, unmapped: Unmapped::look()? })
    }

    /// Whether a call is there, and used.
    pub(crate) fn has(self, feature: Feature) -> bool {
        Feature::ALL.iter().zip(self.present).any(|(each, present)| *each == feature && present)
    }

    /// The ids that stand for all that the daemon's user namespace does not map.
    pub(crate) fn unmapped(self) -> Unmapped {
        self.unmapped
    }

    #[cfg(test)]
    pub(crate) fn with_unmapped(self, unmapped: Unmapped) -> Self {
        Self { unmapped, ..self }
    }
}

/// Sets `SO_PASSRIGHTS` to 0: whoever sends us a descriptor gets EPERM (Linux 6.16).
///
/// # Errors
/// `ENOPROTOOPT` on an older kernel.
pub(crate) fn refuse_descriptors(socket: &impl AsFd) -> io::Result<()> {
    let off: libc::c_int = 0;
    let size = libc::socklen_t::try_from(size_of_val(&off)).unwrap_or(4);
    // SAFETY: the value is an int that outlives the call, and its size is given.
    let done = unsafe {
        libc::setsockopt(socket.as_fd().as_raw_fd(), libc::SOL_SOCKET, SO_PASSRIGHTS, (&raw const off).cast(), size)
    };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Whether `SO_PASSRIGHTS` is 0 on it: nothing that lies unread in it carries a descriptor.
pub(crate) fn refuses_descriptors(socket: &impl AsFd) -> bool {
    let mut is_on: libc::c_int = 1;
    let mut size = libc::socklen_t::try_from(size_of_val(&is_on)).unwrap_or(4);
    let (number, value) = (socket.as_fd().as_raw_fd(), (&raw mut is_on).cast());
    // SAFETY: it writes one int, whose size is given; both outlive the call.
    let done = unsafe { libc::getsockopt(number, libc::SOL_SOCKET, SO_PASSRIGHTS, value, &raw mut size) };
    done == 0 && is_on == 0
}

/// Of Linux 6.16.
const SO_PASSRIGHTS: libc::c_int = 83;

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn a_feature_that_is_forced_off_is_absent() {
        let kernel = Kernel::probe(&Feature::ALL).unwrap();
        assert!(Feature::ALL.into_iter().all(|feature| !kernel.has(feature)));
    }

    #[test]
    fn a_socket_says_whether_it_takes_descriptors() {
        let (socket, _other) = UnixStream::pair().unwrap();
        assert!(!refuses_descriptors(&socket));
        let is_refused = refuse_descriptors(&socket).is_ok();
        assert_eq!(refuses_descriptors(&socket), is_refused);
    }
}
