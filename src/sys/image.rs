//! Which program a process runs, or why nobody may rely on that.

use std::{
    fs::File,
    io,
    os::{
        fd::{AsFd as _, OwnedFd},
        unix::{ffi::OsStrExt as _, fs::FileExt as _},
    },
    path::{Path, PathBuf},
    sync::Arc,
};

use nix::sys::socket::{UnixAddr, getpeername, getsockopt, sockopt::SockType};

use super::{
    peer::{Fault, Peer},
    proc::{FileId, Layout, ProcDir, file_id, open_below},
};

/// Where images are looked for, and what must be true of a process that has one.
#[derive(Clone, Debug)]
pub(crate) struct Lens {
    /// The user namespace of the daemon.
    namespace: FileId,
    /// Below which paths are opened: `/`, or the host's root as a container sees it.
    host_root: Arc<Path>,
    /// `kernel.randomize_va_space`, open: it is read at each look.
    randomize: Arc<File>,
    /// The addresses of our own listeners, as `getpeername` gives them to our clients.
    listeners: Arc<[Vec<u8>]>,
}

/// The program a process runs, and where it lies in memory: another exec, even of the same file, is another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Spot {
    pub(crate) file: FileId,
    pub(crate) layout: Layout,
}

/// A program that a process runs, seen with everything that must hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Image {
    pub(crate) spot: Spot,
    /// The path at which this very file lies.
    pub(crate) path: PathBuf,
}

/// Why a process has no image that could be relied on. A process without one keeps its other selectors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Lack {
    /// In a user namespace of its own it can set `/proc/PID/exe` and forge its pid.
    UserNamespace,
    /// Another process may change what it does.
    Traced,
    /// A zombie leader, or a kernel thread.
    NoExecutable,
    /// It is in the middle of an exec: to be looked at again.
    Changing,
    /// The daemon may not look (`CAP_SYS_PTRACE`, or `kernel.yama.ptrace_scope`).
    NotReadable,
    /// The file was removed or replaced since it was started.
    Deleted,
    /// Another file lies at the path: one is mounted over it, or the process sees another tree.
    PathDiffers,
    /// Its addresses are not drawn at random, so that an exec would not show.
    NotRandomized,
    /// A connection to us is one of its descriptors 0 to 2: it may be a filter that speaks for another.
    StandardStream,
    /// It is connected over HTTP/1.1, which has nothing that a running image could answer.
    Http1,
}

impl Lack {
    /// A stable word for the audit log and the counters.
    pub(crate) fn code(self) -> &'static str {
        match self {
            Self::UserNamespace => "image_user_namespace",
            Self::Traced => "image_traced",
            Self::NoExecutable => "image_none",
            Self::Changing => "image_changing",
            Self::NotReadable => "image_not_readable",
            Self::Deleted => "image_deleted",
            Self::PathDiffers => "image_path_differs",
            Self::NotRandomized => "image_not_randomized",
            Self::StandardStream => "image_standard_stream",
            Self::Http1 => "image_http1",
        }
    }

    /// A sentence for `explain`.
    pub(crate) fn sentence(self) -> &'static str {
        match self {
            Self::UserNamespace => "it is in a user namespace of its own, where it can set what it seems to run",
            Self::Traced => "another process traces it",
            Self::NoExecutable => "it has no executable (a zombie leader, or a kernel thread)",
            Self::Changing => "it is in the middle of an exec; ask again",
            Self::NotReadable => {
                "the daemon may not look at it (it needs CAP_SYS_PTRACE, or the same uid and kernel.yama.ptrace_scope=0)"
            }
            Self::Deleted => "its file was removed or replaced since it was started; restart it",
            Self::PathDiffers => "another file lies at the path of its executable",
            Self::NotRandomized => "its addresses are not randomised (personality, or kernel.randomize_va_space)",
            Self::StandardStream => {
                "a connection to this daemon is its descriptor 0, 1 or 2 (was it started with those closed?)"
            }
            Self::Http1 => "over HTTP/1.1 no running image can be asked; connect by gRPC",
        }
    }
}

/// What a look ends with: an image, a lack of one, or a fault that closes the connection.
pub(crate) type Looked<T> = Result<Result<T, Lack>, Fault>;

impl Lens {
    /// # Errors
    /// When the daemon cannot see its own user namespace, or whether addresses are randomised.
    pub(crate) fn new(host_root: PathBuf, listeners: Vec<Vec<u8>>) -> io::Result<Self> {
        let this = ProcDir::open(i32::try_from(std::process::id()).map_err(io::Error::other)?)?;
        let randomize = Arc::new(File::open("/proc/sys/kernel/randomize_va_space")?);
        Ok(Self {
            namespace: this.user_namespace()?,
            host_root: host_root.into(),
            randomize,
            listeners: listeners.into(),
        })
    }

    /// The image of a process and its path.
    ///
    /// # Errors
    /// [`Fault::Gone`] when the process exited meanwhile: nothing that was read counts.
    pub(crate) fn image(&self, peer: &Peer) -> Looked<Image> {
        settle(peer, self.image_of(peer))
    }

    /// Whether a process runs, where it lay, what it ran a moment ago.
    ///
    /// # Errors
    /// As [`Lens::image`].
    pub(crate) fn is_still(&self, peer: &Peer, spot: Spot) -> Result<bool, Fault> {
        let seen = peer.proc_dir().map_err(Stop::from).and_then(|dir| self.spot_of(&dir));
        Ok(settle(peer, seen)? == Ok(spot))
    }

    /// What a process seems to run. It counts only when [`Lens::image`] finds the same later: an exec in the midst of
    /// this look shows there.
    ///
    /// # Errors
    /// As [`Lens::image`].
    pub(crate) fn spot(&self, peer: &Peer) -> Looked<Spot> {
        settle(peer, peer.proc_dir().map_err(Stop::from).and_then(|dir| self.look(peer, &dir)))
    }

    fn image_of(&self, peer: &Peer) -> Result<Image, Stop> {
        let dir = peer.proc_dir()?;
        let spot = self.look(peer, &dir)?;
        let path = self.path_of(&dir, spot.file)?;
        // An exec in the midst of these reads shows here.
        if self.spot_of(&dir)? != spot {
            return Err(Lack::Changing.into());
        }
        Ok(Image { spot, path })
    }

    /// Everything that must hold of a process that has an image, but for the image's path.
    fn look(&self, peer: &Peer, dir: &ProcDir) -> Result<Spot, Stop> {
        self.check_namespace(dir)?;
        if dir.status()?.tracer != 0 {
            return Err(Lack::Traced.into());
        }
        if !self.is_randomized(dir)? {
            return Err(Lack::NotRandomized.into());
        }
        self.check_standard_streams(peer, dir)?;
        let spot = self.spot_of(dir)?;
        if spot.layout.code == 0 || spot.layout.stack == 0 {
            return Err(Lack::Changing.into());
        }
        Ok(spot)
    }

    /// Whether an exec would draw new addresses. Anybody may switch that off for himself and what he starts.
    fn is_randomized(&self, dir: &ProcDir) -> Result<bool, Stop> {
        const ADDR_NO_RANDOMIZE: u32 = 0x0004_0000;
        let mut system = [0];
        self.randomize.read_exact_at(&mut system, 0)?;
        Ok(system != *b"0" && dir.personality()? & ADDR_NO_RANDOMIZE == 0)
    }

    /// What runs, and then where it lies, so that an exec in between shows. Last, whether it is in our user namespace:
    /// outside it could have set both a moment ago, and whoever has left does not come back.
    fn spot_of(&self, dir: &ProcDir) -> Result<Spot, Stop> {
        let file = dir.executable_id().map_err(no_executable);
        let layout = dir.stat().map(|stat| stat.layout);
        self.check_namespace(dir)?;
        Ok(Spot { file: file?, layout: layout? })
    }

    fn check_namespace(&self, dir: &ProcDir) -> Result<(), Stop> {
        if dir.user_namespace()? == self.namespace { Ok(()) } else { Err(Lack::UserNamespace.into()) }
    }

    /// The path of the executable, if the same file lies there below the host's root.
    fn path_of(&self, dir: &ProcDir, file: FileId) -> Result<PathBuf, Stop> {
        let path = dir.executable_path().map_err(no_executable)?;
        if path.as_bytes().ends_with(b" (deleted)") {
            return Err(Lack::Deleted.into());
        }
        let path = PathBuf::from(path);
        match open_below(&self.host_root, &path).and_then(|named| file_id(&named)) {
            Ok(named) if named == file => Ok(path),
            Ok(_) => Err(Lack::PathDiffers.into()),
            Err(error) if error.raw_os_error() == Some(libc::ENOSYS) => Err(Stop::Lack(Lack::NotReadable)),
            Err(_) => Err(Lack::PathDiffers.into()),
        }
    }

    /// A filter like `cat` with our connection as its output would answer for whoever feeds it.
    fn check_standard_streams(&self, peer: &Peer, dir: &ProcDir) -> Result<(), Stop> {
        for number in 0..=2 {
            match dir.descriptor(number) {
                Ok(target) if !target.as_bytes().starts_with(b"socket:") => {}
                Ok(_) => self.check_socket(peer, number)?,
                Err(error) if error.raw_os_error() == Some(libc::ENOENT) => {}
                Err(error) => return Err(readable(error)),
            }
        }
        Ok(())
    }

    fn check_socket(&self, peer: &Peer, number: i32) -> Result<(), Stop> {
        let copy = match peer.pidfd().copy_fd(number) {
            Ok(copy) => copy,
            Err(error) if error.raw_os_error() == Some(libc::EBADF) => return Ok(()),
            // What cannot be looked at counts as ours.
            Err(_) => return Err(Lack::StandardStream.into()),
        };
        // The copy is closed here, at the end of the look, also when that takes as long as its maker likes (a lingering
        // TCP socket that he has closed meanwhile): the look is counted as his, and nobody else waits for it.
        if self.is_ours(&copy) { Err(Lack::StandardStream.into()) } else { Ok(()) }
    }

    fn is_ours(&self, socket: &OwnedFd) -> bool {
        if getsockopt(&socket.as_fd(), SockType).is_err() {
            return false;
        }
        let named = getpeername::<UnixAddr>(std::os::fd::AsRawFd::as_raw_fd(socket));
        match named {
            Ok(address) => address
                .path()
                .is_some_and(|path| self.listeners.iter().any(|ours| ours.as_slice() == path.as_os_str().as_bytes())),
            // Another family, or not connected (any more): not a connection to us.
            Err(_) => false,
        }
    }
}

/// How a look is cut short.
enum Stop {
    Lack(Lack),
    Fault(Fault),
}

impl From<Lack> for Stop {
    fn from(lack: Lack) -> Self {
        Self::Lack(lack)
    }
}

impl From<Fault> for Stop {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        readable(error)
    }
}

fn readable(error: io::Error) -> Stop {
    match error.raw_os_error() {
        Some(libc::ESRCH | libc::ENOENT) => Stop::Fault(Fault::Gone),
        Some(libc::EACCES | libc::EPERM) => Stop::Lack(Lack::NotReadable),
        _ => Stop::Fault(Fault::Unreadable(error)),
    }
}

fn no_executable(error: io::Error) -> Stop {
    match error.raw_os_error() {
        Some(libc::ENOENT) => Stop::Lack(Lack::NoExecutable),
        _ => readable(error),
    }
}

/// What was read counts only if the process lives now.
fn settle<T>(peer: &Peer, seen: Result<T, Stop>) -> Looked<T> {
    if !peer.is_alive() {
        return Err(Fault::Gone);
    }
    match seen {
        Ok(seen) => Ok(Ok(seen)),
        Err(Stop::Lack(lack)) => Ok(Err(lack)),
        Err(Stop::Fault(fault)) => Err(fault),
    }
}
