//! Unix sockets that workloads connect to: made here, or taken over from whoever made them.
#![expect(unsafe_code, reason = "a watch on a descriptor that the listener owns")]

use std::{
    fs, io,
    os::{
        fd::{AsFd, AsRawFd as _, OwnedFd},
        unix::{
            ffi::OsStrExt as _,
            fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _},
            net::{UnixListener, UnixStream},
        },
    },
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use nix::{
    fcntl::{OFlag, open},
    sys::{
        socket::{
            AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind, getsockopt, listen, setsockopt, socket,
            sockopt::PassCred,
        },
        stat::{Mode, fchmod},
    },
};
use tokio::io::{Interest, unix::AsyncFd};

use super::{
    closer, files,
    inherited::{self, Address, Inherited},
    kernel::{Feature, Kernel, refuse_descriptors, refuses_descriptors},
};

/// The longest path that fits a socket address, in bytes.
pub(crate) const PATH_BYTES_MAX: usize = 107;
/// Connections that may wait for accept(2); the kernel's own limit (`net.core.somaxconn`) comes on top.
const BACKLOG: i32 = 4_096;

/// Why a socket cannot be served.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The path does not fit a socket address.
    #[error("socket path {} is {length} bytes long, {PATH_BYTES_MAX} is the most", path.display())]
    TooLong { path: PathBuf, length: usize },
    /// A living daemon answers there.
    #[error("{} is served by another process already", path.display())]
    InUse { path: PathBuf },
    /// Something else lies there.
    #[error("{} is there and is not a socket", path.display())]
    NotASocket { path: PathBuf },
    /// Others could put a socket of their own in its place.
    #[error("socket {} cannot be served safely", path.display())]
    Folder { path: PathBuf, source: files::Error },
    /// It was passed to us, and is not what it should be.
    #[error("the socket {} that was passed cannot be served", path.display())]
    Passed { path: PathBuf, source: inherited::Error },
    /// It was passed to us, and others may open it.
    #[error("the socket {} that was passed has mode {mode:04o}, and {most:04o} is the most", path.display())]
    Wide { path: PathBuf, mode: u32, most: u32 },
    /// The system said no.
    #[error("socket {} cannot be {verb}", path.display())]
    Io { path: PathBuf, verb: &'static str, source: io::Error },
}

/// A listening Unix socket. Its file is removed when it and its [`Spare`]s are dropped, unless another has taken its
/// place, or the file is not ours to remove.
#[derive(Debug)]
pub(crate) struct Listener {
    inner: AsyncFd<UnixListener>,
    file: Arc<SocketFile>,
    /// Given up when there is no other descriptor left, so that one connection can be accepted and closed.
    reserve: Option<OwnedFd>,
}

impl Listener {
    /// Serves `path` with this file mode. A socket that a dead process left there is taken over.
    ///
    /// # Errors
    /// When a living process serves it, when something else lies there, or when others may write its folder or have it.
    pub(crate) fn bind(path: &Path, mode: u32, kernel: Kernel) -> Result<Self, Error> {
        let failed = |verb| move |source: io::Error| Error::Io { path: path.to_owned(), verb, source };
        check_path(path)?;
        clear_dead(path)?;
        let listening = (|| -> io::Result<_> {
            let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
            let fd = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
            // Before listen(2): connections in the backlog have them from the start.
            setsockopt(&fd, PassCred, &true)?;
            if kernel.has(Feature::PassRights) {
                refuse_descriptors(&fd)?;
            }
            // Before bind(2), so that the file is never wider than it may be; after it, since umask narrows it.
            fchmod(&fd, Mode::from_bits_truncate(mode))?;
            bind(fd.as_raw_fd(), &UnixAddr::new(path)?)?;
            fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
            listen(&fd, Backlog::new(BACKLOG).unwrap_or(Backlog::MAXCONN))?;
            // SAFETY: a UnixListener has the same descriptor, open, as long as it lives.
            Ok(unsafe { AsyncFd::register_with_interest(fd.into(), Interest::READABLE) }?)
        })();
        let inner = listening.map_err(failed("served"))?;
        Ok(Self { inner, file: Arc::new(SocketFile::of(path, false, true)), reserve: reserve().ok() })
    }

    /// Serves a socket that listens already at `path`. Its file stays for now: it is removed at the end only after
    /// [`Spare::keep`], and never where it is borrowed. A mode that is not borrowed is set, a borrowed one must not be
    /// wider than `mode`.
    ///
    /// Connections that wait in it were made under the options that it had then. Where it passed no credentials, what
    /// they have sent has none either, on a new kernel also what they will send: the proof of the caller closes them
    /// (`no_credentials`) as it closes everybody whose bytes come without. So they need no care here.
    ///
    /// # Errors
    /// When the file at its path is another's, when others may write its folder or open it, or the system said no.
    pub(crate) fn adopt(inherited: Inherited, path: &Path, mode: u32, kernel: Kernel) -> Result<Self, Error> {
        let failed = |verb| move |source: io::Error| Error::Io { path: path.to_owned(), verb, source };
        let Inherited { fd, address: _, is_borrowed } = inherited;
        check_folder(path)?;
        inherited::check_file(&fd, path).map_err(|source| Error::Passed { path: path.to_owned(), source })?;
        if is_borrowed {
            let found = fs::metadata(path).map_err(failed("looked at"))?.mode() & 0o777;
            // Who may write a socket may connect; to read it is nothing.
            if found & !mode & 0o222 != 0 {
                return Err(Error::Wide { path: path.to_owned(), mode: found, most: mode });
            }
        }
        let adopted = (|| -> io::Result<_> {
            if !getsockopt(&fd, PassCred)? {
                tracing::warn!(
                    path = %path.display(),
                    "the socket was passed without PassCredentials=yes; who connected before now is turned away"
                );
                setsockopt(&fd, PassCred, &true)?;
            }
            if kernel.has(Feature::PassRights) {
                refuse_descriptors(&fd)?;
            }
            if !is_borrowed {
                fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
            }
            let listener = UnixListener::from(fd);
            listener.set_nonblocking(true)?;
            // Once more, for our own backlog; and who asks the kernel who serves it is told of us.
            listen(&listener, Backlog::new(BACKLOG).unwrap_or(Backlog::MAXCONN))?;
            // SAFETY: a UnixListener has the same descriptor, open, as long as it lives.
            Ok(unsafe { AsyncFd::register_with_interest(listener, Interest::READABLE) }?)
        })();
        let inner = adopted.map_err(failed("taken over"))?;
        Ok(Self { inner, file: Arc::new(SocketFile::of(path, is_borrowed, false)), reserve: reserve().ok() })
    }

    /// Keeps the socket listening, and its file there, also when this is dropped.
    ///
    /// # Errors
    /// When there is no descriptor left.
    pub(crate) fn spare(&self) -> io::Result<Spare> {
        Ok(Spare { fd: self.inner.get_ref().as_fd().try_clone_to_owned()?, file: self.file.clone() })
    }

    /// Its path, as clients' `getpeername` shows it.
    pub(crate) fn path(&self) -> &Path {
        &self.file.place.path
    }

    /// Its file.
    pub(crate) fn place(&self) -> &Place {
        &self.file.place
    }

    /// Lets a group open it too. Who may open a borrowed one is for its owner to say.
    ///
    /// # Errors
    /// When the daemon may not give files to that group.
    pub(crate) fn give_to_group(&self, gid: u32) -> Result<(), Error> {
        if self.file.is_borrowed {
            return Ok(());
        }
        let failed = |source| Error::Io { path: self.file.place.path.clone(), verb: "given to the group", source };
        std::os::unix::fs::chown(&self.file.place.path, None, Some(gid)).map_err(failed)
    }

    /// The next connection, before the runtime knows it ([`registered`]): turning one away costs little.
    ///
    /// # Errors
    /// `EMFILE` or `ENFILE`: there was no descriptor left, and one waiting connection was closed instead; or too many
    /// are yet to be closed ([`closer::is_full`]). The caller backs off.
    pub(crate) async fn accept(&mut self) -> io::Result<UnixStream> {
        if closer::is_full() {
            return Err(io::Error::from_raw_os_error(libc::EMFILE));
        }
        loop {
            match self.next().await {
                Ok(stream) => {
                    if self.reserve.is_none() {
                        self.reserve = reserve().ok();
                    }
                    return Ok(stream);
                }
                Err(error) if matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE)) => {
                    if self.reserve.take().is_some() {
                        // Somebody waits; better a closed door than no answer at all.
                        if let Ok(stream) = self.next().await {
                            closer::hang_up(stream);
                        }
                        self.reserve = reserve().ok();
                    }
                    return Err(error);
                }
                // The connection went away before we came to it.
                Err(error) if matches!(error.raw_os_error(), Some(libc::ECONNABORTED | libc::EINTR)) => {}
                Err(error) => return Err(error),
            }
        }
    }

    async fn next(&self) -> io::Result<UnixStream> {
        self.inner.async_io(Interest::READABLE, |inner| Ok(inner.accept()?.0)).await
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.inner.as_fd()
    }
}

/// A socket that goes on listening while nobody accepts: clients wait in it.
#[derive(Debug)]
pub(crate) struct Spare {
    fd: OwnedFd,
    file: Arc<SocketFile>,
}

impl Spare {
    /// From now on the file is removed at the end, unless it is borrowed.
    pub(crate) fn keep(&self) {
        self.file.goes.store(!self.file.is_borrowed, Ordering::Release);
    }

    /// From now on the file stays: another process serves it, or will.
    pub(crate) fn leave(&self) {
        self.file.goes.store(false, Ordering::Release);
    }

    /// Whether the file is somebody else's.
    pub(crate) fn is_borrowed(&self) -> bool {
        self.file.is_borrowed
    }

    /// As it would come from another process.
    pub(crate) fn into_inherited(self) -> Inherited {
        let Self { fd, file } = self;
        Inherited { fd, address: Address::Unix(file.place.path.clone()), is_borrowed: file.is_borrowed }
    }
}

impl AsFd for Spare {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// The file of a socket, for all who hold the socket.
#[derive(Debug)]
struct SocketFile {
    place: Place,
    /// Whether it is not ours.
    is_borrowed: bool,
    /// Whether it goes with the last who holds it.
    goes: AtomicBool,
}

impl SocketFile {
    fn of(path: &Path, is_borrowed: bool, goes: bool) -> Self {
        Self { place: Place::of(path), is_borrowed, goes: AtomicBool::new(goes) }
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if self.goes.load(Ordering::Acquire) && self.place.is_ours() {
            fs::remove_file(&self.place.path).ok();
        }
    }
}

/// A connection that is to be served, as the runtime's.
///
/// # Errors
/// When the system has no room to watch it. It is hung up then.
pub(crate) fn registered(accepted: UnixStream) -> io::Result<tokio::net::UnixStream> {
    // The runtime closes what it cannot watch, here and now; with a second descriptor that is not the end of it.
    let second = match refuses_descriptors(&accepted) {
        true => None,
        false => match accepted.try_clone() {
            Ok(second) => Some(second),
            Err(error) => {
                closer::hang_up(accepted);
                return Err(error);
            }
        },
    };
    let registered = accepted.set_nonblocking(true).and_then(|()| tokio::net::UnixStream::from_std(accepted));
    if let (Err(_), Some(second)) = (&registered, second) {
        closer::hang_up(second);
    }
    registered
}

/// The file of a socket that listens. Clients come by it: without it nobody new does.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    path: PathBuf,
    inode: Option<u64>,
}

impl Place {
    fn of(path: &Path) -> Self {
        Self { path: path.to_owned(), inode: inode_at(path) }
    }

    /// Where it is, or was.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether our socket still is there, and nothing else.
    pub(crate) fn is_ours(&self) -> bool {
        let now = inode_at(&self.path);
        now.is_some() && now == self.inode
    }
}

fn inode_at(path: &Path) -> Option<u64> {
    fs::symlink_metadata(path).map(|meta| meta.ino()).ok()
}

fn reserve() -> io::Result<OwnedFd> {
    Ok(open("/dev/null", OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())?)
}

/// Checks that a socket can be served at a path, whether or not one is there.
///
/// # Errors
/// When the path is too long, or others may write its folder or have it.
pub(crate) fn check_path(path: &Path) -> Result<(), Error> {
    let length = path.as_os_str().as_bytes().len();
    if length > PATH_BYTES_MAX {
        return Err(Error::TooLong { path: path.to_owned(), length });
    }
    check_folder(path)
}

/// Whoever may write the folder, or has it, could take the socket's place.
fn check_folder(path: &Path) -> Result<(), Error> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    files::check_folder(folder).map_err(|source| Error::Folder { path: path.to_owned(), source })
}

fn clear_dead(path: &Path) -> Result<(), Error> {
    let failed = |source| Error::Io { path: path.to_owned(), verb: "taken over", source };
    let meta = match fs::symlink_metadata(path) {
        Ok(meta) => meta,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(error)),
    };
    if !meta.file_type().is_socket() {
        return Err(Error::NotASocket { path: path.to_owned() });
    }
    match UnixStream::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path).map_err(failed),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        // Answered, or full, or not for us to try: somebody lives there.
        Ok(_) | Err(_) => Err(Error::InUse { path: path.to_owned() }),
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::sys::scratch::Scratch;

    fn kernel() -> Kernel {
        Kernel::probe(&[]).unwrap()
    }

    #[tokio::test]
    async fn a_socket_has_its_mode_and_goes_when_dropped() {
        let dir = Scratch::new();
        let path = dir.path().join("w.sock");
        for mode in [0o666, 0o660, 0o600] {
            let listener = Listener::bind(&path, mode, kernel()).unwrap();
            assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, mode);
            drop(listener);
            assert!(!path.exists());
        }
    }

    #[tokio::test]
    async fn a_living_socket_is_left_alone_and_a_dead_one_taken_over() {
        let dir = Scratch::new();
        let path = dir.path().join("w.sock");
        let first = Listener::bind(&path, 0o600, kernel()).unwrap();
        assert!(matches!(Listener::bind(&path, 0o600, kernel()), Err(Error::InUse { .. })));
        drop(first);
        drop(UnixListener::bind(&path).unwrap());
        assert!(path.exists(), "a dead process leaves its socket");
        Listener::bind(&path, 0o600, kernel()).unwrap();
    }

    #[tokio::test]
    async fn a_file_a_long_path_and_an_open_folder_are_refused() {
        let dir = Scratch::new();
        let path = dir.path().join("file");
        fs::write(&path, "").unwrap();
        assert!(matches!(Listener::bind(&path, 0o600, kernel()), Err(Error::NotASocket { .. })));
        let long = dir.path().join("x".repeat(120));
        assert!(matches!(Listener::bind(&long, 0o600, kernel()), Err(Error::TooLong { .. })));
        let open = dir.path().join("open");
        fs::create_dir(&open).unwrap();
        fs::set_permissions(&open, fs::Permissions::from_mode(0o777)).unwrap();
        assert!(matches!(Listener::bind(&open.join("s"), 0o600, kernel()), Err(Error::Folder { .. })));
    }

    fn connected(path: &Path) -> UnixStream {
        UnixStream::connect(path).unwrap()
    }

    #[tokio::test]
    async fn a_socket_waits_while_nobody_accepts_and_is_taken_over() {
        let dir = Scratch::new();
        let path = dir.path().join("w.sock");
        let listener = Listener::bind(&path, 0o666, kernel()).unwrap();
        let spare = listener.spare().unwrap();
        spare.leave();
        drop(listener);
        let _waiting = connected(&path);
        let inherited = Inherited::of(spare.into_inherited().fd, false).unwrap();
        assert_eq!(inherited.address, Address::Unix(path.clone()));
        let mut listener = Listener::adopt(inherited, &path, 0o660, kernel()).unwrap();
        listener.accept().await.unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o660, "the new configuration's mode");
        let spare = listener.spare().unwrap();
        drop(listener);
        assert!(path.exists(), "one that never served leaves it");
        spare.keep();
        drop(spare);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn a_borrowed_socket_gets_its_options_and_keeps_its_file() {
        let dir = Scratch::new();
        let path = dir.path().join("w.sock");
        let borrowed = || Inherited::of(UnixListener::bind(&path).unwrap().into(), true).unwrap();
        let inherited = borrowed();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o660)).unwrap();
        let listener = Listener::adopt(inherited, &path, 0o666, kernel()).unwrap();
        assert!(getsockopt(&listener.inner.get_ref(), PassCred).unwrap());
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o660);
        let spare = listener.spare().unwrap();
        spare.keep();
        drop((listener, spare));
        assert!(path.exists());
        fs::remove_file(&path).unwrap();
        let inherited = borrowed();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
        let wide = Listener::adopt(inherited, &path, 0o600, kernel());
        assert!(matches!(wide, Err(Error::Wide { mode: 0o666, most: 0o600, .. })), "{wide:?}");
        let inherited = Inherited::of(UnixListener::bind(dir.path().join("other")).unwrap().into(), true).unwrap();
        fs::remove_file(&path).unwrap();
        assert!(matches!(Listener::adopt(inherited, &path, 0o666, kernel()), Err(Error::Passed { .. })));
    }
}
