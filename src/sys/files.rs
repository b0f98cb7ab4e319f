//! Files that only the daemon's user may touch: owner and mode are checked on the opened descriptor, and
//! what is written is whole and on the disk, or not there at all.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use nix::{
    errno::Errno,
    fcntl::{Flock, FlockArg},
    sys::statvfs::{FsFlags, statvfs},
    unistd::{getegid, geteuid},
};
use zeroize::Zeroizing;

use super::Secret;

/// No private file of ours is larger (a P-384 key in PEM is 306 bytes).
pub(crate) const PRIVATE_BYTES_MAX: u64 = 64 * 1024;

/// Why a private file could not be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// Somebody else could read or replace it.
    #[error("{} has mode {mode:04o}: others than its owner may use it", path.display())]
    LooseMode { path: PathBuf, mode: u32, want: u32 },
    /// It belongs to somebody else.
    #[error("{} belongs to uid {owner}, not to the daemon's uid {uid}", path.display())]
    ForeignOwner { path: PathBuf, owner: u32, uid: u32 },
    /// Others could change what is in it.
    #[error("{} may be written by others: it has mode {mode:04o} and belongs to gid {group}", path.display())]
    Writable { path: PathBuf, mode: u32, group: u32 },
    /// Others could replace what is in it.
    #[error("the folder {} may be written by others (mode {mode:04o})", path.display())]
    OpenFolder { path: PathBuf, mode: u32 },
    /// A link, socket, folder or device where a file was expected, or no folder where one was.
    #[error("{} is not {what}", path.display())]
    WrongKind { path: PathBuf, what: &'static str },
    /// More than [`PRIVATE_BYTES_MAX`].
    #[error("{} is larger than {PRIVATE_BYTES_MAX} bytes", path.display())]
    TooLarge { path: PathBuf },
    /// Nothing can be kept there.
    #[error("{} is on a read-only file system", path.display())]
    ReadOnly { path: PathBuf },
    /// Another daemon has it.
    #[error("{} is held by another process", path.display())]
    InUse { path: PathBuf },
    /// The system said no.
    #[error("{} cannot be {verb}", path.display())]
    Io { path: PathBuf, verb: &'static str, source: io::Error },
}

impl Error {
    fn io(path: &Path, verb: &'static str) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { path, verb, source }
    }
}

/// Reads a file that only the daemon's user may read. Links are not followed.
///
/// # Errors
/// When it is missing, is not a plain file, has another owner, or grants anything to group or others.
pub(crate) fn read_private(path: &Path) -> Result<Secret, Error> {
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NOFOLLOW | libc::O_CLOEXEC | libc::O_NONBLOCK)
        .open(path)
        .map_err(Error::io(path, "read"))?;
    // Judged on what was opened, not on what the name says a moment later.
    let meta = file.metadata().map_err(Error::io(path, "read"))?;
    if !meta.is_file() {
        return Err(Error::WrongKind { path: path.to_owned(), what: "a plain file" });
    }
    check_owner(path, &meta, 0o600)?;
    if meta.len() > PRIVATE_BYTES_MAX {
        return Err(Error::TooLarge { path: path.to_owned() });
    }
    let mut bytes = Zeroizing::new(Vec::with_capacity(usize::try_from(meta.len()).unwrap_or(0).saturating_add(1)));
    file.take(PRIVATE_BYTES_MAX).read_to_end(&mut bytes).map_err(Error::io(path, "read"))?;
    Ok(Secret::new(std::mem::take(&mut *bytes)))
}

/// Writes a file that only the daemon's user may read (mode 0600): beside it first, synced, then renamed over
/// it, then the folder synced. After an error the old file, or none, is there.
///
/// # Errors
/// What the system said, e.g. that the disk is full.
pub(crate) fn write_private(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let beside = path.with_extension("new");
    let written = write_synced(&beside, bytes)
        .and_then(|()| fs::rename(&beside, path))
        .map_err(Error::io(path, "written"))
        .and_then(|()| path.parent().map_or(Ok(()), sync_dir));
    if written.is_err() {
        // Best effort: a leftover is overwritten by the next write and read by nobody.
        fs::remove_file(&beside).ok();
    }
    written
}

fn write_synced(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .custom_flags(libc::O_NOFOLLOW | libc::O_CLOEXEC)
        .open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Makes a folder with mode 0700, parents too, or checks that the one there is ours and closed to others.
///
/// # Errors
/// When it is there with another owner, another kind, or a loose mode; or cannot be made.
pub(crate) fn create_private_dir(path: &Path) -> Result<(), Error> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(Error::io(path, "created"))?;
    let meta = fs::symlink_metadata(path).map_err(Error::io(path, "read"))?;
    if !meta.is_dir() {
        return Err(Error::WrongKind { path: path.to_owned(), what: "a folder" });
    }
    check_owner(path, &meta, 0o700)
}

/// Checks that nobody but root and the daemon's user can take the place of what is in a folder: it belongs to one of
/// them, and others may not write it, or only what is theirs (the sticky bit).
///
/// # Errors
/// When it is somebody else's, open to others, or cannot be looked at.
pub(crate) fn check_folder(path: &Path) -> Result<(), Error> {
    let meta = fs::metadata(path).map_err(Error::io(path, "read"))?;
    let (mode, uid) = (meta.mode() & 0o7777, geteuid().as_raw());
    if !meta.is_dir() {
        return Err(Error::WrongKind { path: path.to_owned(), what: "a folder" });
    }
    if meta.uid() != uid && meta.uid() != 0 {
        return Err(Error::ForeignOwner { path: path.to_owned(), owner: meta.uid(), uid });
    }
    if mode & 0o002 != 0 && mode & 0o1000 == 0 {
        return Err(Error::OpenFolder { path: path.to_owned(), mode });
    }
    Ok(())
}

/// Checks that nobody but root and the daemon's user says what is in a file that was opened by this name: it belongs to one
/// of them; neither others nor a group but root's or the daemon's may write it; and nobody else can put another one in its
/// place, in any folder on the way to it. Links were followed, as what is mounted often is one.
///
/// # Errors
/// When somebody else says what is in it, or it cannot be looked at.
pub(crate) fn check_trusted(path: &Path, file: &File) -> Result<(), Error> {
    let meta = file.metadata().map_err(Error::io(path, "read"))?;
    let (mode, group, uid) = (meta.mode() & 0o7777, meta.gid(), geteuid().as_raw());
    if meta.uid() != uid && meta.uid() != 0 {
        return Err(Error::ForeignOwner { path: path.to_owned(), owner: meta.uid(), uid });
    }
    let is_of_others = group != 0 && group != getegid().as_raw();
    if mode & 0o002 != 0 || mode & 0o020 != 0 && is_of_others {
        return Err(Error::Writable { path: path.to_owned(), mode, group });
    }
    // Where the link is, and where it leads to.
    let real = fs::canonicalize(path).map_err(Error::io(path, "read"))?;
    let folder = path.parent().map_or_else(|| Ok(PathBuf::new()), fs::canonicalize).map_err(Error::io(path, "read"))?;
    for folder in folder.ancestors().chain(real.ancestors().skip(1)).filter(|folder| folder.is_absolute()) {
        match check_folder(folder) {
            // Volumes of Kubernetes are such, and nobody can write there.
            Err(Error::OpenFolder { .. }) if matches!(check_writable(folder), Err(Error::ReadOnly { .. })) => {}
            checked => checked?,
        }
    }
    Ok(())
}

/// Takes a file in a private folder from everybody but its owner, who must be this user; answers whether anybody else
/// had a right. A file that is not there is nobody's.
///
/// # Errors
/// When it has another owner, is no plain file, or cannot be changed.
pub(crate) fn close_to_others(path: &Path) -> Result<bool, Error> {
    // By name, as nobody else may change the folder; and to open and close it would drop SQLite's locks on it.
    let meta = match fs::symlink_metadata(path) {
        Ok(meta) => meta,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(Error::io(path, "read")(error)),
    };
    if !meta.is_file() {
        return Err(Error::WrongKind { path: path.to_owned(), what: "a plain file" });
    }
    match check_owner(path, &meta, 0o600) {
        Err(Error::LooseMode { .. }) => {
            fs::set_permissions(path, fs::Permissions::from_mode(0o600))
                .map_err(Error::io(path, "closed to others"))?;
            Ok(true)
        }
        checked => checked.map(|()| false),
    }
}

/// Checks that a file system is not mounted read-only where a file or folder is. To try is no test: SQLite then
/// opens its file for reading only, and says so at the first change.
///
/// # Errors
/// [`Error::ReadOnly`], or what the system said.
pub(crate) fn check_writable(path: &Path) -> Result<(), Error> {
    let disk = statvfs(path).map_err(|errno| Error::io(path, "read")(errno.into()))?;
    match disk.flags().contains(FsFlags::ST_RDONLY) {
        true => Err(Error::ReadOnly { path: path.to_owned() }),
        false => Ok(()),
    }
}

/// Held for as long as nobody else may use a folder.
#[derive(Debug)]
pub(crate) struct Lock(#[expect(dead_code, reason = "held for its drop")] Flock<File>);

/// Takes a lock file for this process; it goes when the process ends, however it ends.
///
/// # Errors
/// [`Error::InUse`] when another process holds it.
pub(crate) fn lock(path: &Path) -> Result<Lock, Error> {
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(libc::O_NOFOLLOW | libc::O_CLOEXEC)
        .open(path)
        .map_err(Error::io(path, "locked"))?;
    match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(lock) => Ok(Lock(lock)),
        Err((_, Errno::EWOULDBLOCK)) => Err(Error::InUse { path: path.to_owned() }),
        Err((_, errno)) => Err(Error::io(path, "locked")(errno.into())),
    }
}

/// Makes what was created, renamed or removed in a folder last.
///
/// # Errors
/// What the system said.
pub(crate) fn sync_dir(path: &Path) -> Result<(), Error> {
    File::open(path).and_then(|dir| dir.sync_all()).map_err(Error::io(path, "synced"))
}

/// How much more can be written where a file is, in bytes.
///
/// # Errors
/// What the system said.
pub(crate) fn free_bytes(path: &Path) -> io::Result<u64> {
    let disk = statvfs(path)?;
    Ok(disk.blocks_available().saturating_mul(disk.fragment_size()))
}

fn check_owner(path: &Path, meta: &fs::Metadata, want: u32) -> Result<(), Error> {
    let uid = geteuid().as_raw();
    if meta.uid() != uid {
        return Err(Error::ForeignOwner { path: path.to_owned(), owner: meta.uid(), uid });
    }
    let mode = meta.mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(Error::LooseMode { path: path.to_owned(), mode, want });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::sys::scratch::Scratch;

    #[test]
    fn what_was_written_is_read_again_and_nobody_else_may() {
        let dir = Scratch::new();
        let path = dir.path().join("a.key");
        write_private(&path, b"one").unwrap();
        write_private(&path, b"two").unwrap();
        assert_eq!(read_private(&path).unwrap().expose(), b"two");
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing is left beside it");
    }

    #[test]
    fn a_file_that_others_may_read_is_refused() {
        let dir = Scratch::new();
        let path = dir.path().join("a.key");
        for mode in [0o640, 0o604, 0o620, 0o610, 0o666] {
            write_private(&path, b"key").unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            assert!(matches!(read_private(&path), Err(Error::LooseMode { .. })), "mode {mode:o}");
        }
    }

    #[test]
    fn a_link_is_not_followed() {
        let dir = Scratch::new();
        let (real, link) = (dir.path().join("real"), dir.path().join("link"));
        write_private(&real, b"key").unwrap();
        std::os::unix::fs::symlink(&real, &link).unwrap();
        assert!(read_private(&link).is_err());
    }

    #[test]
    fn a_folder_or_a_pipe_is_not_a_key() {
        let dir = Scratch::new();
        assert!(matches!(read_private(dir.path()), Err(Error::WrongKind { .. })));
        let pipe = dir.path().join("pipe");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert!(matches!(read_private(&pipe), Err(Error::WrongKind { .. })));
    }

    #[test]
    fn a_file_beyond_the_limit_is_refused() {
        let dir = Scratch::new();
        let path = dir.path().join("big");
        write_private(&path, &vec![0; usize::try_from(PRIVATE_BYTES_MAX).unwrap() + 1]).unwrap();
        assert!(matches!(read_private(&path), Err(Error::TooLarge { .. })));
    }

    #[test]
    fn a_lock_is_held_by_one() {
        let dir = Scratch::new();
        let path = dir.path().join("lock");
        let held = lock(&path).unwrap();
        assert!(matches!(lock(&path), Err(Error::InUse { .. })));
        drop(held);
        lock(&path).unwrap();
    }

    #[test]
    fn a_folder_that_others_may_write_or_own_is_no_place_for_ours() {
        let dir = Scratch::new();
        let chmod = |mode| fs::set_permissions(dir.path(), fs::Permissions::from_mode(mode)).unwrap();
        for (mode, is_safe) in [(0o700, true), (0o755, true), (0o1777, true), (0o777, false), (0o757, false)] {
            chmod(mode);
            assert_eq!(check_folder(dir.path()).is_ok(), is_safe, "mode {mode:o}");
        }
        check_folder(Path::new("/")).unwrap();
        if geteuid().is_root() {
            for mode in [0o700, 0o755, 0o1777] {
                chmod(mode);
                std::os::unix::fs::chown(dir.path(), Some(4_242), None).unwrap();
                assert!(matches!(check_folder(dir.path()), Err(Error::ForeignOwner { owner: 4_242, .. })));
            }
        }
    }

    #[test]
    fn what_others_may_write_own_or_replace_is_not_trusted() {
        let dir = Scratch::new();
        let folder = dir.path().join("folder");
        let (path, link) = (folder.join("keys"), dir.path().join("link"));
        fs::create_dir(&folder).unwrap();
        fs::write(&path, "keys").unwrap();
        std::os::unix::fs::symlink(&path, &link).unwrap();
        let chmod = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        let check = |path: &Path| check_trusted(path, &File::open(path).unwrap());
        for (mode, is_safe) in
            [(0o600, true), (0o644, true), (0o444, true), (0o664, true), (0o646, false), (0o666, false)]
        {
            chmod(&path, mode);
            assert_eq!(check(&path).is_ok(), is_safe, "mode {mode:o}");
            assert_eq!(check(&link).is_ok(), is_safe, "mode {mode:o}");
        }
        chmod(&path, 0o644);
        for (mode, is_safe) in [(0o755, true), (0o1777, true), (0o777, false)] {
            chmod(&folder, mode);
            assert_eq!((check(&path).is_ok(), check(&link).is_ok()), (is_safe, is_safe), "folder {mode:o}");
        }
        chmod(&folder, 0o755);
        // The one above it, and the one in which the link is.
        chmod(dir.path(), 0o777);
        assert!(matches!(check(&path), Err(Error::OpenFolder { path, .. }) if path == dir.path()));
        assert!(matches!(check(&link), Err(Error::OpenFolder { .. })));
        chmod(dir.path(), 0o755);
        if geteuid().is_root() {
            let chown = |path: &Path, uid, gid| std::os::unix::fs::chown(path, Some(uid), Some(gid)).unwrap();
            for (group, mode, is_safe) in [(4_242, 0o664, false), (4_242, 0o644, true), (0, 0o664, true)] {
                chown(&path, 0, group);
                chmod(&path, mode);
                assert_eq!(check(&path).is_ok(), is_safe, "gid {group} mode {mode:o}");
            }
            chmod(&path, 0o600);
            chown(&path, 4_242, 0);
            assert!(matches!(check(&path), Err(Error::ForeignOwner { owner: 4_242, .. })));
            chown(&path, 0, 0);
            chown(&folder, 4_242, 0);
            assert!(matches!(check(&link), Err(Error::ForeignOwner { owner: 4_242, path, .. }) if path == folder));
        }
    }

    #[test]
    fn a_loose_folder_is_refused() {
        let dir = Scratch::new();
        let path = dir.path().join("state");
        create_private_dir(&path).unwrap();
        create_private_dir(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        assert!(matches!(create_private_dir(&path), Err(Error::LooseMode { .. })));
    }
}
