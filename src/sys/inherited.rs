//! Sockets that listened before this process was there: what they are is looked up, never taken on trust.

use std::{
    fs, io,
    net::{SocketAddr, TcpListener},
    os::{
        fd::{AsFd, AsRawFd as _, OwnedFd},
        unix::{
            fs::{FileTypeExt as _, MetadataExt as _},
            net::UnixListener,
        },
    },
    path::{Path, PathBuf},
};

use nix::sys::{
    socket::{AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, getsockopt, recv, send, socket, sockopt},
    stat::{fstat, major, minor},
};

/// A socket that listens, and where.
#[derive(Debug)]
pub(crate) struct Inherited {
    pub(crate) fd: OwnedFd,
    pub(crate) address: Address,
    /// Whether it is somebody else's, who keeps it and its file.
    pub(crate) is_borrowed: bool,
}

/// Where a socket listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Address {
    Unix(PathBuf),
    Tcp(SocketAddr),
}

/// Why a descriptor is no socket that can be served.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// A file, a pipe, or a socket of datagrams or packets.
    #[error("it is not a stream socket")]
    NotStream,
    /// A connection, or one on which listen(2) was never called.
    #[error("it does not listen")]
    NotListening,
    /// Of another family, without an address, or with an abstract one.
    #[error("it is bound neither to a path nor to an IP address")]
    NoAddress,
    /// Clients that come by the path do not come to it.
    #[error("the file {} is not that socket's", path.display())]
    OtherFile { path: PathBuf },
    /// The system said no.
    #[error("it cannot be looked at")]
    Io(#[from] io::Error),
}

impl Inherited {
    /// Looks at a descriptor. Whose file lies at its path is for [`Inherited::check_file`].
    ///
    /// # Errors
    /// When it is not a listening stream socket with a path or an IP address.
    pub(crate) fn of(fd: OwnedFd, is_borrowed: bool) -> Result<Self, Error> {
        match getsockopt(&fd, sockopt::SockType) {
            Ok(SockType::Stream) => {}
            Ok(_) | Err(nix::errno::Errno::ENOTSOCK | nix::errno::Errno::EINVAL) => return Err(Error::NotStream),
            Err(errno) => return Err(Error::Io(errno.into())),
        }
        if !getsockopt(&fd, sockopt::AcceptConn).map_err(io::Error::from)? {
            return Err(Error::NotListening);
        }
        let unix = UnixListener::from(fd);
        if let Ok(address) = unix.local_addr() {
            let path = address.as_pathname().ok_or(Error::NoAddress)?.to_owned();
            return Ok(Self { fd: unix.into(), address: Address::Unix(path), is_borrowed });
        }
        let tcp = TcpListener::from(OwnedFd::from(unix));
        let address = tcp.local_addr().map_err(|_| Error::NoAddress)?;
        Ok(Self { fd: tcp.into(), address: Address::Tcp(address), is_borrowed })
    }

    /// Nobody serves it any more: its file goes, unless it is borrowed, or another's.
    pub(crate) fn retire(self) {
        if let Address::Unix(path) = &self.address
            && !self.is_borrowed
            && check_file(&self.fd, path).is_ok()
        {
            fs::remove_file(path).ok();
        }
    }
}

/// Checks that the file at a path is the one that a socket was bound to: whoever comes by the path comes to this socket.
/// The kernel is asked (`sock_diag`). It says nothing of a socket that was made in another network namespace, and on a
/// file system that shows its files under another device than its own nothing that could be compared; then that there is
/// a socket must do.
///
/// # Errors
/// [`Error::OtherFile`], or what the system said.
pub(crate) fn check_file(fd: &impl AsFd, path: &Path) -> Result<(), Error> {
    let other = || Error::OtherFile { path: path.to_owned() };
    let meta = match fs::symlink_metadata(path) {
        Ok(meta) => meta,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(other()),
        Err(error) => return Err(Error::Io(error)),
    };
    if !meta.file_type().is_socket() {
        return Err(other());
    }
    let inode = fstat(fd).map_err(io::Error::from)?.st_ino;
    let Some((file, device)) = u32::try_from(inode).ok().and_then(|inode| bound_file(inode).ok().flatten()) else {
        tracing::debug!(path = %path.display(), "the kernel does not say which file a socket was bound to");
        return Ok(());
    };
    // The kernel's own way to write a device: twelve bits and twenty.
    let is_its_device =
        u64::from(device >> 20) == major(meta.dev()) && u64::from(device & 0xf_ffff) == minor(meta.dev());
    // It tells the lower half of an inode's number.
    match is_its_device && u64::from(file) != meta.ino() & 0xffff_ffff {
        true => Err(other()),
        false => Ok(()),
    }
}

/// Inode and device of the file that the socket of this inode was bound to (`sock_diag(7)`, `UNIX_DIAG_VFS`).
fn bound_file(inode: u32) -> io::Result<Option<(u32, u32)>> {
    let netlink = socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::NetlinkSockDiag)?;
    let mut request = Vec::with_capacity(REQUEST_BYTES);
    // struct nlmsghdr: length, type, flags, sequence, port.
    request.extend(u32::try_from(REQUEST_BYTES).unwrap_or_default().to_ne_bytes());
    request.extend(SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    request.extend(NLM_F_REQUEST.to_ne_bytes());
    request.extend([0; 8]);
    // struct unix_diag_req: family, protocol, padding, states, inode, what to show, no cookie.
    request.extend([AF_UNIX, 0, 0, 0]);
    for word in [u32::MAX, inode, UDIAG_SHOW_VFS, u32::MAX, u32::MAX] {
        request.extend(word.to_ne_bytes());
    }
    send(netlink.as_raw_fd(), &request, MsgFlags::empty())?;
    // The kernel has answered when send(2) returns.
    let mut answer = [0; ANSWER_BYTES_MAX];
    let count = recv(netlink.as_raw_fd(), &mut answer, MsgFlags::MSG_DONTWAIT)?;
    Ok(parse(answer.get(..count).unwrap_or_default()))
}

/// The file in an answer of `sock_diag`; nothing where it has none.
fn parse(answer: &[u8]) -> Option<(u32, u32)> {
    let half = |at: usize| Some(u16::from_ne_bytes(answer.get(at..at.checked_add(2)?)?.try_into().ok()?));
    let word = |at: usize| Some(u32::from_ne_bytes(answer.get(at..at.checked_add(4)?)?.try_into().ok()?));
    if half(4)? != SOCK_DIAG_BY_FAMILY {
        return None;
    }
    // Behind nlmsghdr and unix_diag_msg, 16 bytes each, come attributes: length, type, value, padded to four.
    let mut at = 32_usize;
    loop {
        let (length, kind) = (usize::from(half(at)?), half(at.checked_add(2)?)?);
        if kind == UNIX_DIAG_VFS && length >= 12 {
            return Some((word(at.checked_add(4)?)?, word(at.checked_add(8)?)?));
        }
        if length < 4 {
            return None;
        }
        at = at.checked_add(length.checked_next_multiple_of(4)?)?;
    }
}

const AF_UNIX: u8 = 1;
const SOCK_DIAG_BY_FAMILY: u16 = 20;
const NLM_F_REQUEST: u16 = 1;
const UDIAG_SHOW_VFS: u32 = 2;
const UNIX_DIAG_VFS: u16 = 1;
const REQUEST_BYTES: usize = 40;
const ANSWER_BYTES_MAX: usize = 1_024;

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

    use std::os::unix::net::{UnixDatagram, UnixStream};

    use super::*;
    use crate::sys::scratch::Scratch;

    #[test]
    fn what_listens_at_a_place_is_known_by_it() {
        let folder = Scratch::new();
        let path = folder.path().join("s");
        let unix = Inherited::of(UnixListener::bind(&path).unwrap().into(), true).unwrap();
        assert_eq!((unix.address, unix.is_borrowed), (Address::Unix(path), true));
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let Ok(tcp) = TcpListener::bind(address) else { continue };
            let own = tcp.local_addr().unwrap();
            assert_eq!(Inherited::of(tcp.into(), false).unwrap().address, Address::Tcp(own));
        }
    }

    #[test]
    fn what_is_no_listening_stream_socket_is_refused() {
        use std::os::linux::net::SocketAddrExt as _;
        let (one, _other) = UnixStream::pair().unwrap();
        let name = format!("dayfly-inherited-{}", std::process::id());
        let name = std::os::unix::net::SocketAddr::from_abstract_name(name).unwrap();
        assert!(matches!(Inherited::of(one.into(), true), Err(Error::NotListening)));
        assert!(matches!(Inherited::of(UnixDatagram::unbound().unwrap().into(), true), Err(Error::NotStream)));
        assert!(matches!(Inherited::of(fs::File::open("/dev/null").unwrap().into(), true), Err(Error::NotStream)));
        let nameless = UnixListener::bind_addr(&name).unwrap();
        assert!(matches!(Inherited::of(nameless.into(), true), Err(Error::NoAddress)));
    }

    #[test]
    fn another_file_at_the_path_is_found() {
        let folder = Scratch::new();
        let path = folder.path().join("s");
        let listener = UnixListener::bind(&path).unwrap();
        let inode = u32::try_from(fstat(&listener).unwrap().st_ino).unwrap();
        let (file, _) = bound_file(inode).unwrap().unwrap();
        assert_eq!(u64::from(file), fs::metadata(&path).unwrap().ino() & 0xffff_ffff);
        check_file(&listener, &path).unwrap();
        fs::rename(&path, folder.path().join("away")).unwrap();
        assert!(matches!(check_file(&listener, &path), Err(Error::OtherFile { .. })), "nothing");
        let _other = UnixListener::bind(&path).unwrap();
        assert!(matches!(check_file(&listener, &path), Err(Error::OtherFile { .. })), "another socket");
        fs::remove_file(&path).unwrap();
        fs::write(&path, "").unwrap();
        assert!(matches!(check_file(&listener, &path), Err(Error::OtherFile { .. })), "a file");
        check_file(&listener, &folder.path().join("away")).unwrap();
    }

    #[test]
    fn an_answer_that_is_cut_short_or_odd_says_nothing() {
        assert_eq!(parse(&[]), None);
        let mut answer = vec![0; 32];
        answer[4..6].copy_from_slice(&SOCK_DIAG_BY_FAMILY.to_ne_bytes());
        assert_eq!(parse(&answer), None);
        for length in [0_u16, 3, 8, 12, u16::MAX] {
            let mut odd = answer.clone();
            odd.extend(length.to_ne_bytes());
            odd.extend(UNIX_DIAG_VFS.to_ne_bytes());
            assert_eq!(parse(&odd), None, "{length}");
        }
        answer.extend([5, 0, 9, 0, 1, 0, 0, 0]);
        answer.extend([12, 0, 1, 0, 7, 0, 0, 0, 8, 0, 0, 0]);
        assert_eq!(parse(&answer), Some((7, 8)));
    }
}
