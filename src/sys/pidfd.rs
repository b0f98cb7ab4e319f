//! A process that cannot be mistaken for its successor.
#![expect(unsafe_code, reason = "pidfd calls that nix does not have")]

use std::{
    io,
    os::fd::{AsFd, AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd, RawFd},
};

use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::{signal::Signal, socket::getsockopt, stat::fstat},
};

/// An open pidfd: it names one process for as long as it is held, whatever becomes of the number.
#[derive(Debug)]
pub(crate) struct Pidfd(OwnedFd);

/// What `PIDFD_GET_INFO` says (Linux 6.13). Ids are as seen from the daemon's own user namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Info {
    /// Thread-group id, in the daemon's pid namespace.
    pub(crate) pid: i32,
    /// Its parent's, there; 0 when that is outside.
    pub(crate) parent: i32,
    /// Real, effective and saved uid.
    pub(crate) uids: [u32; 3],
    /// Real, effective and saved gid.
    pub(crate) gids: [u32; 3],
    /// Id of the process's cgroup in the v2 hierarchy; 0 where there is none.
    pub(crate) cgroup: u64,
}

impl Pidfd {
    /// The process that connected this socket, as the kernel noted it then (`SO_PEERPIDFD`, Linux 6.5).
    ///
    /// # Errors
    /// `ENOPROTOOPT` on an older kernel; before 6.16 also when the peer has already been reaped.
    pub(crate) fn of_peer(socket: &impl AsFd) -> io::Result<Self> {
        Ok(Self(getsockopt(&socket.as_fd(), nix::sys::socket::sockopt::PeerPidfd)?))
    }

    /// The process that has this number now. Who had it a moment ago is not said.
    ///
    /// # Errors
    /// `ESRCH` when nobody has it; `ENOSYS` before Linux 5.3.
    pub(crate) fn open(pid: i32) -> io::Result<Self> {
        // SAFETY: pidfd_open(2) takes two integers and returns a new descriptor or -1.
        let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
        owned(fd).map(Self)
    }

    /// Whether the process still runs (a zombie does not).
    pub(crate) fn is_alive(&self) -> bool {
        let mut fds = [PollFd::new(self.0.as_fd(), PollFlags::POLLIN)];
        // Readable means exited; an error means that we do not know, and then it counts as gone.
        matches!(poll(&mut fds, PollTimeout::ZERO), Ok(0))
    }

    /// Sends it a signal (`pidfd_send_signal`, Linux 5.1).
    ///
    /// # Errors
    /// `ESRCH` when it has ended; `EPERM` when we may not.
    pub(crate) fn signal(&self, signal: Signal) -> io::Result<()> {
        let info = std::ptr::null::<libc::siginfo_t>();
        // SAFETY: pidfd_send_signal(2) takes three integers, and no siginfo, which is then made as kill(2) makes it.
        let done =
            unsafe { libc::syscall(libc::SYS_pidfd_send_signal, self.0.as_raw_fd(), signal as libc::c_int, info, 0) };
        if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }

    /// A number that no other process gets until the next boot (pidfs, Linux 6.9).
    ///
    /// # Errors
    /// What `fstat` said.
    pub(crate) fn inode(&self) -> io::Result<u64> {
        Ok(fstat(&self.0)?.st_ino)
    }

    /// Whether pidfd inodes name processes on this kernel.
    pub(crate) fn has_own_inode(&self) -> bool {
        const PID_FS_MAGIC: i64 = 0x5049_4446;
        nix::sys::statfs::fstatfs(&self.0).is_ok_and(|fs| fs.filesystem_type().0 == PID_FS_MAGIC)
    }

    /// The ids and the cgroup of the process, at one moment.
    ///
    /// # Errors
    /// `ENOTTY` before Linux 6.13; `ESRCH` when it has exited.
    pub(crate) fn info(&self) -> io::Result<Info> {
        let mut raw = RawInfo { mask: MASK_PID | MASK_CREDS | MASK_CGROUP, ..RawInfo::default() };
        // SAFETY: PIDFD_GET_INFO writes at most the 64 bytes its number encodes, which is the size of RawInfo.
        unsafe { pidfd_get_info(self.0.as_raw_fd(), &raw mut raw) }?;
        if raw.mask & (MASK_PID | MASK_CREDS) != MASK_PID | MASK_CREDS {
            return Err(io::Error::from_raw_os_error(libc::ESRCH));
        }
        Ok(Info {
            pid: i32::try_from(raw.tgid).map_err(|_| io::Error::from_raw_os_error(libc::ESRCH))?,
            parent: i32::try_from(raw.ppid).unwrap_or(0),
            uids: [raw.ruid, raw.euid, raw.suid],
            gids: [raw.rgid, raw.egid, raw.sgid],
            cgroup: if raw.mask & MASK_CGROUP == 0 { 0 } else { raw.cgroup },
        })
    }

    /// Ends the process at once.
    ///
    /// # Errors
    /// `ESRCH` when it has ended; `EPERM` when it is another user's.
    pub(crate) fn kill(&self) -> io::Result<()> {
        let none = std::ptr::null::<libc::siginfo_t>();
        // SAFETY: pidfd_send_signal(2) takes a descriptor that we hold, two integers, and no siginfo.
        let done = unsafe { libc::syscall(libc::SYS_pidfd_send_signal, self.0.as_raw_fd(), libc::SIGKILL, none, 0) };
        if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }

    /// A copy of one of the process's descriptors (`pidfd_getfd`, Linux 5.6).
    ///
    /// # Errors
    /// `EBADF` when it has none of that number; `EPERM` when we may not look.
    pub(crate) fn copy_fd(&self, number: RawFd) -> io::Result<OwnedFd> {
        // SAFETY: pidfd_getfd(2) takes three integers and returns a new descriptor (CLOEXEC) or -1.
        let fd = unsafe { libc::syscall(libc::SYS_pidfd_getfd, self.0.as_raw_fd(), number, 0) };
        owned(fd)
    }
}

impl AsFd for Pidfd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl std::os::fd::AsRawFd for Pidfd {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

fn owned(fd: libc::c_long) -> io::Result<OwnedFd> {
    match RawFd::try_from(fd) {
        // SAFETY: the system call has just returned this descriptor, so nobody else owns it.
        Ok(fd) if fd >= 0 => Ok(unsafe { OwnedFd::from_raw_fd(fd) }),
        _ => Err(io::Error::last_os_error()),
    }
}

const MASK_PID: u64 = 1;
const MASK_CREDS: u64 = 1 << 1;
const MASK_CGROUP: u64 = 1 << 2;

/// `struct pidfd_info` of `<linux/pidfd.h>` in its first version, 64 bytes.
#[repr(C)]
#[derive(Default)]
struct RawInfo {
    mask: u64,
    cgroup: u64,
    pid: u32,
    tgid: u32,
    ppid: u32,
    ruid: u32,
    rgid: u32,
    euid: u32,
    egid: u32,
    suid: u32,
    sgid: u32,
    fsuid: u32,
    fsgid: u32,
    exit_code: i32,
}

nix::ioctl_readwrite!(pidfd_get_info, 0xFF, 11, RawInfo);

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn a_process_is_alive_until_it_exits() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let pidfd = Pidfd::open(i32::try_from(child.id()).unwrap()).unwrap();
        assert!(pidfd.is_alive());
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(!pidfd.is_alive());
    }

    #[test]
    fn our_own_ids_are_what_getuid_says() {
        let this = Pidfd::open(i32::try_from(std::process::id()).unwrap()).unwrap();
        let Ok(info) = this.info() else { return };
        assert_eq!(info.pid, i32::try_from(std::process::id()).unwrap());
        assert_eq!(info.uids, [nix::unistd::getuid().as_raw(); 3]);
        assert_eq!(info.gids, [nix::unistd::getgid().as_raw(); 3]);
    }

    #[test]
    fn the_raw_layout_is_the_kernels() {
        assert_eq!(size_of::<RawInfo>(), 64);
    }
}
