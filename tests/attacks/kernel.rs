//! What attackers ask of the kernel that neither std nor nix offers safely. The only unsafe of the attacks.
#![expect(unsafe_code, reason = "attackers fork, exec, share pages and change ids in ways that std does not")]

use std::{
    ffi::CString,
    io,
    os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd, RawFd},
    panic::{AssertUnwindSafe, catch_unwind},
    ptr,
};

use nix::{
    sys::{
        prctl,
        signal::{Signal, kill},
        socket::{ControlMessage, MsgFlags, sendmsg},
    },
    unistd::Pid,
};

/// Runs `child` in a fork of this process, which must have one thread. It dies with its parent.
pub fn fork(child: impl FnOnce() -> u8) -> io::Result<Pid> {
    // SAFETY: every program here that forks has one thread, so the child may do anything.
    match unsafe { nix::unistd::fork()? } {
        nix::unistd::ForkResult::Parent { child } => Ok(child),
        nix::unistd::ForkResult::Child => {
            prctl::set_pdeathsig(Signal::SIGKILL).ok();
            let code = catch_unwind(AssertUnwindSafe(child)).unwrap_or(1);
            // SAFETY: ends the process at once; destructors and exit handlers are the parent's.
            unsafe { libc::_exit(code.into()) }
        }
    }
}

/// Becomes a user for good, with no group but its own; still dies with its parent, and may be looked at.
pub fn become_user(uid: u32) -> io::Result<()> {
    if nix::unistd::getuid().as_raw() != uid {
        nix::unistd::setgroups(&[])?;
        let gid = nix::unistd::Gid::from_raw(uid);
        nix::unistd::setresgid(gid, gid, gid)?;
        let uid = nix::unistd::Uid::from_raw(uid);
        nix::unistd::setresuid(uid, uid, uid)?;
        // A change of ids took both.
        prctl::set_dumpable(true)?;
        prctl::set_pdeathsig(Signal::SIGKILL)?;
    }
    Ok(())
}

/// Runs another program in this process, with these descriptors left open.
pub fn exec(program: &str, words: &[&str], keep: &[RawFd]) -> io::Error {
    let text = |word: &&str| CString::new(*word).unwrap_or_default();
    let (program, words) = (text(&program), words.iter().map(text).collect::<Vec<_>>());
    for descriptor in keep {
        // SAFETY: fcntl takes any number and says EBADF to those that are none.
        unsafe { libc::fcntl(*descriptor, libc::F_SETFD, 0) };
    }
    match nix::unistd::execv(&program, &words) {
        Err(error) => error.into(),
        Ok(never) => match never {},
    }
}

/// Takes over a descriptor by its number, as after an exec. The next exec closes it, unless it is told to keep it.
pub fn adopt(number: RawFd) -> OwnedFd {
    // SAFETY: fcntl takes any number and says EBADF to those that are none.
    unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) };
    // SAFETY: callers name a descriptor that was left open for them and that nothing else owns.
    unsafe { OwnedFd::from_raw_fd(number) }
}

/// Puts a copy of a descriptor at a number, left open across exec.
pub fn put_at(descriptor: RawFd, number: RawFd) -> io::Result<()> {
    // SAFETY: dup2 takes any two numbers; what was at the second is one of 0 to 2, which nothing here owns.
    match unsafe { libc::dup2(descriptor, number) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// Stops a process that we started, or lets it go on.
pub fn signal(pid: i32, signal: Signal) -> io::Result<()> {
    Ok(kill(Pid::from_raw(pid), signal)?)
}

/// The bytes that wait to be read.
pub fn queued(socket: BorrowedFd<'_>) -> i32 {
    let mut count = 0;
    // SAFETY: FIONREAD writes one int, which outlives the call.
    unsafe { libc::ioctl(socket.as_raw_fd(), libc::FIONREAD, &raw mut count) };
    count
}

/// Sends bytes as somebody else, as far as the kernel lets us.
pub fn send_as(socket: BorrowedFd<'_>, pid: i32, bytes: &[u8]) -> io::Result<()> {
    let (uid, gid) = (nix::unistd::getuid().as_raw(), nix::unistd::getgid().as_raw());
    let credentials = libc::ucred { pid, uid, gid }.into();
    let control = [ControlMessage::ScmCredentials(&credentials)];
    let parts = [io::IoSlice::new(bytes)];
    sendmsg::<()>(socket.as_raw_fd(), &parts, &control, MsgFlags::MSG_NOSIGNAL, None)?;
    Ok(())
}

/// Sends bytes and descriptors.
pub fn send_descriptors(socket: BorrowedFd<'_>, descriptors: &[RawFd], bytes: &[u8]) -> io::Result<()> {
    let control = [ControlMessage::ScmRights(descriptors)];
    let parts = [io::IoSlice::new(bytes)];
    sendmsg::<()>(socket.as_raw_fd(), &parts, &control, MsgFlags::MSG_NOSIGNAL, None)?;
    Ok(())
}

/// Sends one byte out of band.
pub fn send_out_of_band(socket: BorrowedFd<'_>) -> io::Result<()> {
    let byte = [0_u8];
    // SAFETY: one byte that outlives the call.
    let sent = unsafe { libc::send(socket.as_raw_fd(), byte.as_ptr().cast(), 1, libc::MSG_OOB | libc::MSG_NOSIGNAL) };
    if sent == 1 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Closing the socket blocks until what it has to send was taken, for so many seconds at most.
pub fn linger(socket: BorrowedFd<'_>, seconds: i32) -> io::Result<()> {
    let linger = libc::linger { l_onoff: 1, l_linger: seconds };
    Ok(nix::sys::socket::setsockopt(&socket, nix::sys::socket::sockopt::Linger, &linger)?)
}

/// Sets the ids of this thread alone, as glibc never would: real, effective, saved.
pub fn set_ids_of_thread(ids: [u32; 3]) -> io::Result<()> {
    let [real, effective, saved] = ids;
    // SAFETY: three numbers; nothing in memory is touched.
    match unsafe { libc::syscall(libc::SYS_setresuid, real, effective, saved) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// A page that a fork of this process sees too.
#[derive(Clone, Copy)]
pub struct SharedPage(*mut u8);

/// The size of a [`SharedPage`].
pub const PAGE_BYTES: usize = 4096;

impl SharedPage {
    /// A page of zeros.
    pub fn new() -> io::Result<Self> {
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_SHARED | libc::MAP_ANONYMOUS;
        // SAFETY: a new mapping at a place of the kernel's choice.
        let page = unsafe { libc::mmap(ptr::null_mut(), PAGE_BYTES, protection, flags, -1, 0) };
        if page == libc::MAP_FAILED { Err(io::Error::last_os_error()) } else { Ok(Self(page.cast())) }
    }

    /// Writes into the page, for all who have it.
    pub fn write(&self, at: usize, bytes: &[u8]) {
        assert!(at + bytes.len() <= PAGE_BYTES, "within the page");
        // SAFETY: the page stays mapped for the life of the process; the range was checked.
        let place = unsafe { self.0.add(at) };
        // SAFETY: as above, and nobody here holds a reference into the page.
        unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), place, bytes.len()) };
    }

    /// Puts the first bytes of the page itself, not a copy of them, into a socket.
    pub fn queue(&self, socket: BorrowedFd<'_>, bytes: usize) -> io::Result<()> {
        use nix::fcntl::{SpliceFFlags, splice, vmsplice};
        assert!(bytes <= PAGE_BYTES, "within the page");
        let (read_end, write_end) = nix::unistd::pipe()?;
        // SAFETY: the page stays mapped; the slice is only handed to the kernel.
        let part = unsafe { std::slice::from_raw_parts(self.0, bytes) };
        vmsplice(&write_end, &[io::IoSlice::new(part)], SpliceFFlags::empty())?;
        let moved = splice(&read_end, None, socket, None, bytes, SpliceFFlags::empty())?;
        if moved == bytes { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
    }
}

/// Reads this much of a range of another process's memory, over and over in one call: as long as that takes, its
/// memory is kept even if it execs. Answers how much was read.
pub fn read_memory_of(pid: i32, address: usize, range: usize, times: usize) -> io::Result<usize> {
    let mut taken = vec![0_u8; range];
    let there = libc::iovec { iov_base: ptr::with_exposed_provenance_mut(address), iov_len: range };
    let here = libc::iovec { iov_base: taken.as_mut_ptr().cast(), iov_len: range };
    let (there, here) = (vec![there; times], vec![here; times]);
    let count = libc::c_ulong::try_from(times).map_err(io::Error::other)?;
    // SAFETY: the local parts all name `taken`, which outlives the call; the remote ones are the kernel's to check.
    let read = unsafe { libc::process_vm_readv(pid, here.as_ptr(), count, there.as_ptr(), count, 0) };
    usize::try_from(read).map_err(|_| io::Error::last_os_error())
}

/// A command whose process dies with the thread that started it.
pub fn die_with_parent(command: &mut std::process::Command) -> &mut std::process::Command {
    use std::os::unix::process::CommandExt as _;
    // SAFETY: one prctl between fork and exec, which touches no memory.
    unsafe { command.pre_exec(|| Ok(prctl::set_pdeathsig(Signal::SIGKILL)?)) }
}
