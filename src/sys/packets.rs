//! A private channel between two processes of one host: whole messages, with descriptors in them.
//!
//! It is made in a folder that only its owner may enter, and lives from one meeting to its end. Who is at the other end
//! is the kernel's word; a message that is longer than it may be ends the channel.
#![expect(
    unsafe_code,
    reason = "a descriptor that accept(2) has just made, and watches on descriptors that are owned here"
)]

use std::{
    ffi::OsString,
    io::{self, IoSlice},
    os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd, RawFd},
    path::{Path, PathBuf},
};

use nix::{
    fcntl::{OFlag, open},
    sys::{
        socket::{
            AddressFamily, Backlog, ControlMessage, MsgFlags, SockFlag, SockType, UnixAddr, accept4, bind, connect,
            getsockopt, listen, sendmsg, socket, sockopt::PeerCredentials,
        },
        stat::{Mode, fchmod},
    },
    unistd::{UnlinkatFlags, unlinkat},
};
use tokio::io::{Interest, unix::AsyncFd};

use super::{
    kernel::{Feature, Kernel, refuse_descriptors},
    pidfd::Pidfd,
    rights,
};

/// The longest message, in bytes.
pub(crate) const PACKET_BYTES_MAX: usize = 4 * 1024;

/// Where one other process is waited for. Its file goes when this is dropped.
#[derive(Debug)]
pub(crate) struct Meeting {
    socket: AsyncFd<OwnedFd>,
    folder: OwnedFd,
    name: OsString,
}

/// One end of the channel.
#[derive(Debug)]
pub(crate) struct Packets {
    socket: AsyncFd<OwnedFd>,
    pid: i32,
    uid: u32,
    process: Pidfd,
    /// Whether the kernel itself named the process.
    is_exact: bool,
}

/// One message.
#[derive(Debug)]
pub(crate) struct Packet {
    pub(crate) bytes: Vec<u8>,
    pub(crate) descriptors: Vec<OwnedFd>,
}

impl Meeting {
    /// Waits under this name in a folder, for processes that may enter it. What lies there goes. No descriptors are
    /// taken from whoever comes.
    ///
    /// # Errors
    /// What the system said.
    pub(crate) fn open(folder: &Path, name: &str, kernel: Kernel) -> io::Result<Self> {
        let folder = open_folder(folder)?;
        unlinkat(&folder, name, UnlinkatFlags::NoRemoveDir).ok();
        let socket = packet_socket()?;
        if kernel.has(Feature::PassRights) {
            refuse_descriptors(&socket)?;
        }
        fchmod(&socket, Mode::S_IRUSR | Mode::S_IWUSR)?;
        bind(socket.as_raw_fd(), &UnixAddr::new(&below(&folder, name))?)?;
        listen(&socket, Backlog::new(1)?)?;
        // SAFETY: an OwnedFd is the same descriptor, open, as long as it lives.
        let socket = unsafe { AsyncFd::register_with_interest(socket, Interest::READABLE) }?;
        Ok(Self { socket, folder, name: name.into() })
    }

    /// The first process that comes.
    ///
    /// # Errors
    /// What the system said.
    pub(crate) async fn accept(&self) -> io::Result<Packets> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let accept = |socket: &OwnedFd| {
            let fd: RawFd = accept4(socket.as_raw_fd(), flags)?;
            // SAFETY: accept4(2) has just returned it, so nobody else owns it.
            Ok(unsafe { OwnedFd::from_raw_fd(fd) })
        };
        Packets::over(self.socket.async_io(Interest::READABLE, accept).await?)
    }
}

impl Drop for Meeting {
    fn drop(&mut self) {
        unlinkat(&self.folder, self.name.as_os_str(), UnlinkatFlags::NoRemoveDir).ok();
    }
}

impl Packets {
    /// Goes to a [`Meeting`].
    ///
    /// # Errors
    /// What the system said, for example that nobody waits there.
    pub(crate) fn connect(folder: &Path, name: &str) -> io::Result<Self> {
        let (folder, socket) = (open_folder(folder)?, packet_socket()?);
        connect(socket.as_raw_fd(), &UnixAddr::new(&below(&folder, name))?)?;
        Self::over(socket)
    }

    fn over(socket: OwnedFd) -> io::Result<Self> {
        let noted = getsockopt(&socket, PeerCredentials)?;
        // Before Linux 6.5 by its number. Whoever may have that meanwhile is waited for, and never ended.
        let (process, is_exact) = match Pidfd::of_peer(&socket) {
            Ok(process) => (process, true),
            Err(_) => (Pidfd::open(noted.pid())?, false),
        };
        // SAFETY: an OwnedFd is the same descriptor, open, as long as it lives.
        let socket = unsafe { AsyncFd::register_with_interest(socket, Interest::READABLE | Interest::WRITABLE) }?;
        Ok(Self { socket, pid: noted.pid(), uid: noted.uid(), process, is_exact })
    }

    /// The process at the other end, in our pid namespace.
    pub(crate) fn pid(&self) -> i32 {
        self.pid
    }

    /// Its uid, in our user namespace.
    pub(crate) fn uid(&self) -> u32 {
        self.uid
    }

    /// Sends a message, with copies of descriptors.
    ///
    /// # Errors
    /// When the other end is gone, or the message is longer than [`PACKET_BYTES_MAX`].
    pub(crate) async fn send(&self, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
        if bytes.is_empty() || bytes.len() > PACKET_BYTES_MAX {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "a message that has no bytes, or too many"));
        }
        let numbers: Vec<RawFd> = descriptors.iter().map(|each| each.as_raw_fd()).collect();
        let rights = [ControlMessage::ScmRights(&numbers)];
        let rights = if numbers.is_empty() { &[][..] } else { &rights[..] };
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
        let send = |socket: &OwnedFd| {
            Ok(sendmsg::<()>(socket.as_raw_fd(), &[IoSlice::new(bytes)], rights, flags, None).map(drop)?)
        };
        self.socket.async_io(Interest::WRITABLE, send).await
    }

    /// The next message; nothing when the other end is gone. Safe to drop half-way.
    ///
    /// # Errors
    /// When a message is longer than [`PACKET_BYTES_MAX`], has descriptors that did not fit, or the system said no.
    pub(crate) async fn receive(&self) -> io::Result<Option<Packet>> {
        let mut buffer = vec![0; PACKET_BYTES_MAX + 1];
        let received = self
            .socket
            .async_io(Interest::READABLE, |socket: &OwnedFd| rights::receive(socket.as_fd(), &mut buffer))
            .await;
        let message = match received {
            Ok(message) => message,
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(None),
            Err(error) => return Err(error),
        };
        if message.bytes > PACKET_BYTES_MAX || !message.is_whole {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a message that is too long"));
        }
        buffer.truncate(message.bytes);
        let is_end = buffer.is_empty() && message.descriptors.is_empty();
        Ok((!is_end).then_some(Packet { bytes: buffer, descriptors: message.descriptors }))
    }

    /// Waits until the process at the other end has ended, and with it all that it held.
    ///
    /// # Errors
    /// When it cannot be watched.
    pub(crate) async fn ended(&self) -> io::Result<()> {
        // SAFETY: the pidfd is borrowed, open and the same, for longer than the watch lives.
        let watch = unsafe { AsyncFd::register_with_interest(self.process.as_fd(), Interest::READABLE) }?;
        let _readable = watch.readable().await?;
        Ok(())
    }

    /// Ends the process at the other end at once.
    ///
    /// # Errors
    /// When we may not, it has ended, or this kernel does not say for certain which process it is.
    pub(crate) fn kill(&self) -> io::Result<()> {
        if !self.is_exact {
            return Err(io::ErrorKind::Unsupported.into());
        }
        self.process.kill()
    }
}

fn packet_socket() -> io::Result<OwnedFd> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    Ok(socket(AddressFamily::Unix, SockType::SeqPacket, flags, None)?)
}

fn open_folder(folder: &Path) -> io::Result<OwnedFd> {
    Ok(open(folder, OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())?)
}

/// A short way to a name in a folder, however long the folder's own path is: a socket's address has 107 bytes.
fn below(folder: &OwnedFd, name: &str) -> PathBuf {
    format!("/proc/self/fd/{}/{name}", folder.as_raw_fd()).into()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use std::{fs, fs::File};

    use super::*;
    use crate::sys::scratch::Scratch;

    fn kernel() -> Kernel {
        Kernel::probe(&[]).unwrap()
    }

    async fn pair(folder: &Path) -> (Packets, Packets) {
        let meeting = Meeting::open(folder, "here", kernel()).unwrap();
        let coming = Packets::connect(folder, "here").unwrap();
        (meeting.accept().await.unwrap(), coming)
    }

    #[tokio::test]
    async fn messages_come_whole_with_their_descriptors_and_one_way_only() {
        let scratch = Scratch::new();
        // Longer than any socket's address.
        let folder = scratch.path().join("x".repeat(120));
        fs::create_dir(&folder).unwrap();
        let (old, new) = pair(&folder).await;
        assert!(!folder.join("here").exists(), "nobody else comes");
        assert_eq!((old.pid(), new.pid()), (nix::unistd::getpid().as_raw(), nix::unistd::getpid().as_raw()));
        assert_eq!(old.uid(), nix::unistd::getuid().as_raw());
        let file = File::open("/dev/null").unwrap();
        old.send(b"one", &[file.as_fd(), file.as_fd()]).await.unwrap();
        old.send(b"two", &[]).await.unwrap();
        let first = new.receive().await.unwrap().unwrap();
        assert_eq!((first.bytes.as_slice(), first.descriptors.len()), (&b"one"[..], 2));
        assert_eq!(new.receive().await.unwrap().unwrap().bytes, b"two");
        if kernel().has(Feature::PassRights) {
            assert!(new.send(b"three", &[file.as_fd()]).await.is_err());
        }
        drop(old);
        assert!(new.receive().await.unwrap().is_none());
    }

    #[tokio::test]
    async fn a_message_that_is_too_long_is_neither_sent_nor_received() {
        let scratch = Scratch::new();
        let (old, new) = pair(scratch.path()).await;
        old.send(&[b'x'; PACKET_BYTES_MAX], &[]).await.unwrap();
        assert_eq!(new.receive().await.unwrap().unwrap().bytes.len(), PACKET_BYTES_MAX);
        assert!(old.send(&[b'x'; PACKET_BYTES_MAX + 1], &[]).await.is_err());
        let raw = [IoSlice::new(&[b'x'; PACKET_BYTES_MAX + 1])];
        sendmsg::<()>(old.socket.as_raw_fd(), &raw, &[], MsgFlags::empty(), None).unwrap();
        assert_eq!(new.receive().await.unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}
