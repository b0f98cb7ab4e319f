//! Who connected, and what is true of that process now.
//!
//! A [`Peer`] is made once for a connection from what the kernel noted at connect(2). Everything read later goes
//! through one `/proc/PID` descriptor, and *afterwards* the pidfd is alive and the ids are as before: then all that
//! was read was about this process.
#![expect(unsafe_code, reason = "a watch on a descriptor that the peer owns")]

use std::{
    fs, io,
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd, RawFd},
        unix::fs::MetadataExt as _,
    },
    path::Path,
    sync::Arc,
    task::{Context, Poll},
};

use nix::sys::socket::{UnixCredentials, getsockopt, sockopt::PeerCredentials};

use tokio::io::{Interest, unix::AsyncFd};

use super::{
    groups::{GROUPS_NOTED_MAX, GroupsDigest, Noted, peer_groups, peer_groups_up_to},
    kernel::{Feature, Kernel},
    pidfd::Pidfd,
    proc::{ProcDir, Status},
};

/// Why a connection is not, or no longer, the process that made it. Each of these closes the connection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    /// The process that connected has exited.
    #[error("the process that connected is gone")]
    Gone,
    /// Its real, effective and saved ids, those it connected with and those it writes with are not all one.
    #[error("the caller's ids differ from those it connected with")]
    MixedIds,
    /// Another process than the one that connected wrote to the socket.
    #[error("another process wrote to the connection")]
    SenderDiffers {
        /// Its number.
        pid: i32,
    },
    /// A child of the one that connected wrote: a client that forked after connecting.
    #[error("a child of the process that connected wrote to the connection; connect after fork")]
    ForkedClient,
    /// The writer is outside the daemon's pid namespace.
    #[error("the caller is outside the daemon's pid namespace")]
    OutsidePidNamespace,
    /// Its uid or gid is the one that stands for all that the daemon's user namespace does not map.
    #[error("the caller's uid or gid has no number in the daemon's user namespace")]
    UnmappedId,
    /// Bytes came without the kernel's word on who wrote them.
    #[error("bytes came without credentials")]
    NoCredentials,
    /// Somebody sent us open descriptors.
    #[error("the caller sent descriptors")]
    Descriptors,
    /// A byte out of band, whose writer is never seen.
    #[error("the caller sent a byte out of band")]
    OutOfBand,
    /// The kernel did not answer as it should.
    #[error("the caller could not be looked at")]
    Unreadable(#[source] io::Error),
}

impl Fault {
    /// A stable word for the audit log and the counters.
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::Gone => "peer_gone",
            Self::MixedIds => "mixed_ids",
            Self::SenderDiffers { .. } => "sender_differs",
            Self::ForkedClient => "forked_client",
            Self::OutsidePidNamespace => "caller_outside_pid_namespace",
            Self::UnmappedId => "unmapped_id",
            Self::NoCredentials => "no_credentials",
            Self::Descriptors => "descriptors_sent",
            Self::OutOfBand => "oob",
            Self::Unreadable(_) => "peer_unreadable",
        }
    }
}

/// A process for as long as a connection of its lasts, told apart from every other until the next boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum ProcessKey {
    /// The inode of its pidfd.
    Inode(u64),
    /// Where pidfds have no inodes of their own: its number and start time, good while its pidfd is held.
    Started { pid: i32, ticks: u64 },
}

/// The process at the other end of a connection.
#[derive(Debug)]
pub(crate) struct Peer {
    pidfd: Pidfd,
    key: ProcessKey,
    pid: i32,
    uid: u32,
    gid: u32,
    groups: Noted,
    is_exact: bool,
    kernel: Kernel,
}

/// What is true of a process at one moment, without its image.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Facts {
    pub(crate) process: ProcessKey,
    pub(crate) pid: i32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// Supplementary groups; absent where they were not asked for.
    pub(crate) groups: Option<GroupsDigest>,
    /// Id of its cgroup in the v2 hierarchy; 0 where there is none.
    pub(crate) cgroup: u64,
}

impl Peer {
    /// The process that connected this socket.
    ///
    /// # Errors
    /// [`Fault::Gone`] when it has exited already, [`Fault::OutsidePidNamespace`] when it has no number here,
    /// [`Fault::UnmappedId`] when its uid or gid has none.
    pub(crate) fn of(socket: &impl AsFd, kernel: Kernel) -> Result<Self, Fault> {
        let noted = getsockopt(&socket.as_fd(), PeerCredentials).map_err(|error| Fault::Unreadable(error.into()))?;
        let pid = noted.pid();
        if pid == 0 {
            return Err(Fault::OutsidePidNamespace);
        }
        let is_exact = kernel.has(Feature::PeerPidfd);
        let pidfd =
            if is_exact { Pidfd::of_peer(socket) } else { Pidfd::open(pid) }.map_err(|error| gone_or(error, false))?;
        let groups = match peer_groups_up_to(GROUPS_NOTED_MAX, socket).map_err(Fault::Unreadable)? {
            Ok(groups) => Noted::Few(known(groups, kernel).1),
            Err(count) => Noted::Many(count),
        };
        Self::new(pidfd, pid, noted.uid(), noted.gid(), groups, is_exact, kernel)
    }

    /// A process by its number, for a look from outside (`explain`): who had the number a moment ago is not said,
    /// so nothing is ever issued to it.
    ///
    /// # Errors
    /// [`Fault::Gone`] when nobody has the number.
    pub(crate) fn by_number(pid: i32, kernel: Kernel) -> Result<Self, Fault> {
        let pidfd = Pidfd::open(pid).map_err(|error| gone_or(error, true))?;
        let status = ProcDir::open(pid).and_then(|dir| dir.status()).map_err(|error| gone_or(error, true))?;
        let ([uid, ..], [gid, ..]) = (status.uids, status.gids);
        let groups = Noted::Few(known(status.groups, kernel).1);
        Self::new(pidfd, pid, uid, gid, groups, false, kernel)
    }

    fn new(
        pidfd: Pidfd,
        pid: i32,
        uid: u32,
        gid: u32,
        groups: Noted,
        is_exact: bool,
        kernel: Kernel,
    ) -> Result<Self, Fault> {
        let unmapped = kernel.unmapped();
        if unmapped.uid == Some(uid) || unmapped.gid == Some(gid) {
            return Err(Fault::UnmappedId);
        }
        let key = if kernel.has(Feature::PidfdInode) {
            ProcessKey::Inode(pidfd.inode().map_err(Fault::Unreadable)?)
        } else {
            let stat = ProcDir::open(pid).and_then(|dir| dir.stat()).map_err(|error| gone_or(error, true))?;
            ProcessKey::Started { pid, ticks: stat.start_time }
        };
        let peer = Self { pidfd, key, pid, uid, gid, groups, is_exact, kernel };
        // The number was ours to read from only if the process lives now.
        if peer.is_alive() { Ok(peer) } else { Err(Fault::Gone) }
    }

    /// What names this process and no other until the next boot. Absent where the kernel did not say who connected, or
    /// has no such name.
    pub(crate) fn lasting_key(&self) -> Option<ProcessKey> {
        (self.is_exact && matches!(self.key, ProcessKey::Inode(_))).then_some(self.key)
    }

    /// Its number in the daemon's pid namespace.
    pub(crate) fn pid(&self) -> i32 {
        self.pid
    }

    /// The uid it connected with.
    pub(crate) fn uid(&self) -> u32 {
        self.uid
    }

    /// The gid it connected with.
    pub(crate) fn gid(&self) -> u32 {
        self.gid
    }

    /// How many supplementary groups it connected with.
    pub(crate) fn groups_count(&self) -> usize {
        match self.groups {
            Noted::Few(digest) => digest.count(),
            Noted::Many(count) => count,
        }
    }

    /// All of them, sorted, from its own connection.
    ///
    /// # Errors
    /// When the kernel does not say.
    pub(crate) fn groups_noted(&self, socket: &impl AsFd) -> Result<Vec<u32>, Fault> {
        let noted = peer_groups(socket).map_err(Fault::Unreadable)?;
        Ok(known(noted, self.kernel).0)
    }

    /// Whether the kernel itself named the process that connected. Otherwise its number was looked up after
    /// accept(2), may be a successor's, and the first answer waits for a challenge.
    pub(crate) fn is_exact(&self) -> bool {
        self.is_exact
    }

    /// Whether it still runs.
    pub(crate) fn is_alive(&self) -> bool {
        self.pidfd.is_alive()
    }

    /// The handle on the process.
    pub(crate) fn pidfd(&self) -> &Pidfd {
        &self.pidfd
    }

    /// Opens its `/proc/PID`. What is read through it counts only if [`Peer::is_alive`] holds afterwards.
    ///
    /// # Errors
    /// [`Fault::Gone`] when it has exited.
    pub(crate) fn proc_dir(&self) -> Result<ProcDir, Fault> {
        ProcDir::open(self.pid).map_err(|error| gone_or(error, true))
    }

    /// Whether to look at it means to read `/proc`, which may take as long as the process likes.
    pub(crate) fn is_read(&self, with_groups: bool) -> bool {
        with_groups || !self.kernel.has(Feature::PidfdInfo)
    }

    /// What is true of it now, its supplementary groups only if they are asked for: they stand in `/proc/PID/status`
    /// alone, which costs more than everything else here.
    ///
    /// # Errors
    /// [`Fault::Gone`], or [`Fault::MixedIds`] when its ids are not those it connected with.
    pub(crate) fn facts(&self, with_groups: bool) -> Result<Facts, Fault> {
        if self.is_read(with_groups) {
            let (facts, _) = self.facts_and_groups()?;
            return Ok(Facts { groups: facts.groups.filter(|_| with_groups), ..facts });
        }
        let cgroup = self.ids_and_cgroup()?;
        self.settle(None, cgroup)
    }

    /// What is true of it now, and its supplementary groups, sorted: a long list perhaps, of which nobody is to keep
    /// more than is asked.
    ///
    /// # Errors
    /// As [`Peer::facts`].
    pub(crate) fn facts_and_groups(&self) -> Result<(Facts, Vec<u32>), Fault> {
        let dir = self.proc_dir()?;
        let status = dir.status().map_err(|error| gone_or(error, true))?;
        self.check_ids(status.uids, status.gids)?;
        let count = status.groups.len();
        let (groups, digest) = known(status.groups, self.kernel);
        // Of very many only the number is compared with what it connected with: who can change his own groups may take
        // any (`CAP_SETGID`), and what counts are those that he has now.
        let as_noted = match self.groups {
            Noted::Few(noted) => noted == digest,
            Noted::Many(noted) => noted == count,
        };
        if !as_noted || status.pid != self.pid {
            return Err(Fault::MixedIds);
        }
        let cgroup = self.ids_again(&dir)?;
        Ok((self.settle(Some(digest), cgroup)?, groups))
    }

    /// What was read counts only if the process lives now.
    fn settle(&self, groups: Option<GroupsDigest>, cgroup: u64) -> Result<Facts, Fault> {
        if !self.is_alive() {
            return Err(Fault::Gone);
        }
        Ok(Facts { process: self.key, pid: self.pid, uid: self.uid, gid: self.gid, groups, cgroup })
    }

    /// Whether facts that were read a moment ago are so still: it lives, with the same ids, in the same cgroup.
    ///
    /// Where one call says all of that, the supplementary groups are not read again: only a process that may take any
    /// group at all (`CAP_SETGID`) can change its own, and it had these just now.
    ///
    /// # Errors
    /// As [`Peer::facts`].
    pub(crate) fn still(&self, facts: &Facts) -> Result<bool, Fault> {
        if !self.kernel.has(Feature::PidfdInfo) {
            return Ok(self.facts(facts.groups.is_some())? == *facts);
        }
        let cgroup = self.ids_and_cgroup()?;
        if !self.is_alive() {
            return Err(Fault::Gone);
        }
        Ok(cgroup == facts.cgroup)
    }

    /// The ids once more after everything else was read; answers the id of the cgroup.
    fn ids_again(&self, dir: &ProcDir) -> Result<u64, Fault> {
        if self.kernel.has(Feature::PidfdInfo) {
            return self.ids_and_cgroup();
        }
        let cgroup = dir.cgroup().ok().and_then(|path| cgroup_id(&path)).unwrap_or(0);
        let Status { uids, gids, .. } = dir.status().map_err(|error| gone_or(error, true))?;
        self.check_ids(uids, gids)?;
        Ok(cgroup)
    }

    fn ids_and_cgroup(&self) -> Result<u64, Fault> {
        let info = self.pidfd.info().map_err(|error| gone_or(error, true))?;
        if info.pid != self.pid {
            return Err(Fault::Gone);
        }
        self.check_ids(info.uids, info.gids)?;
        Ok(info.cgroup)
    }

    fn check_ids(&self, uids: [u32; 3], gids: [u32; 3]) -> Result<(), Fault> {
        if uids == [self.uid; 3] && gids == [self.gid; 3] { Ok(()) } else { Err(Fault::MixedIds) }
    }

    /// Judges who wrote a piece of the stream.
    ///
    /// # Errors
    /// When it was anybody but this process with the ids it connected with.
    pub(crate) fn check_sender(&self, sender: &UnixCredentials) -> Result<(), Fault> {
        if sender.pid() == 0 {
            return Err(Fault::OutsidePidNamespace);
        }
        if sender.pid() != self.pid {
            let fault = Fault::SenderDiffers { pid: sender.pid() };
            // Where the parent stands in /proc alone, it is looked up when the connection has been closed.
            return Err(if self.kernel.has(Feature::PidfdInfo) { self.tell_apart(fault) } else { fault });
        }
        if sender.uid() != self.uid || sender.gid() != self.gid {
            return Err(Fault::MixedIds);
        }
        Ok(())
    }

    /// A child of this process is told apart from other strangers. May have to read `/proc`.
    pub(crate) fn tell_apart(&self, fault: Fault) -> Fault {
        match fault {
            Fault::SenderDiffers { pid } if self.parent_of(pid).is_ok_and(|parent| parent == self.pid) => {
                Fault::ForkedClient
            }
            fault => fault,
        }
    }

    fn parent_of(&self, pid: i32) -> io::Result<i32> {
        match self.kernel.has(Feature::PidfdInfo) {
            true => Ok(Pidfd::open(pid)?.info()?.parent),
            false => Ok(ProcDir::open(pid)?.stat()?.parent),
        }
    }
}

impl AsFd for Peer {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }
}

impl AsRawFd for Peer {
    fn as_raw_fd(&self) -> RawFd {
        self.pidfd.as_raw_fd()
    }
}

/// Tells when a process has exited, with no descriptor of its own.
pub(crate) struct Exit(AsyncFd<Arc<Peer>>);

impl Exit {
    /// # Errors
    /// When the process cannot be watched.
    pub(crate) fn of(peer: Arc<Peer>) -> io::Result<Self> {
        // SAFETY: the descriptor is the peer's own pidfd: it stays open and the same for as long as the Arc is held,
        // which the registration does.
        let registered = unsafe { AsyncFd::register_with_interest(peer, Interest::READABLE) };
        Ok(Self(registered?))
    }

    /// Ready once the process has exited.
    pub(crate) fn poll(&self, cx: &mut Context<'_>) -> Poll<()> {
        // An error of the watch counts as an exit: better closed than unwatched.
        self.0.poll_read_ready(cx).map(drop)
    }
}

/// Groups that the daemon's user namespace can tell apart, sorted, and their digest.
fn known(groups: Vec<u32>, kernel: Kernel) -> (Vec<u32>, GroupsDigest) {
    let mut groups = kernel.unmapped().groups_known(groups);
    groups.sort_unstable();
    let digest = GroupsDigest::of_sorted(&groups);
    (groups, digest)
}

/// ESRCH, and for names below `/proc` ENOENT, mean that the process has exited.
fn gone_or(error: io::Error, in_proc: bool) -> Fault {
    match error.raw_os_error() {
        Some(libc::ESRCH) => Fault::Gone,
        Some(libc::ENOENT) if in_proc => Fault::Gone,
        // Before Linux 6.16, SO_PEERPIDFD of a peer that has been reaped.
        Some(libc::EINVAL | libc::ENODATA) if !in_proc => Fault::Gone,
        _ => Fault::Unreadable(error),
    }
}

/// The id of a cgroup in the v2 hierarchy: the inode of its folder.
fn cgroup_id(path: &Path) -> Option<u64> {
    let below = path.strip_prefix("/").ok()?;
    // On hybrid hosts the v2 hierarchy has a folder of its own.
    let roots = ["/sys/fs/cgroup/unified", "/sys/fs/cgroup"];
    roots.iter().find_map(|root| Some(fs::metadata(Path::new(root).join(below)).ok()?.ino()))
}

#[cfg(test)]
mod tests;
