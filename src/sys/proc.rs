//! What `/proc/PID` says of one process, read through one directory descriptor.
//!
//! The descriptor stays bound to the process that had the number when it was opened: once that has exited,
//! every read fails with ESRCH, also when the number has been given to another. The parsers take foreign bytes
//! (a process chooses its own name) and are fuzzed.
#![expect(unsafe_code, reason = "openat2 and statx")]

use std::{
    ffi::{CStr, CString, OsString},
    fs::File,
    io::{self, Read as _},
    os::{
        fd::{AsFd, AsRawFd as _, FromRawFd as _, OwnedFd, RawFd},
        unix::ffi::{OsStrExt as _, OsStringExt as _},
    },
    path::{Path, PathBuf},
};

use nix::{
    fcntl::{OFlag, open, openat, readlinkat},
    sys::stat::{Mode, fstat},
};

/// What is read of one file at most. `status` grows with the groups: 65,536 of them make 720 KiB.
pub(crate) const FILE_BYTES_MAX: usize = 1024 * 1024;
/// Supplementary groups that are kept at most (the kernel's own limit, `NGROUPS_MAX`).
pub(crate) const GROUPS_MAX: usize = 65_536;

/// An open `/proc/PID`.
#[derive(Debug)]
pub(crate) struct ProcDir(OwnedFd);

/// A file by its device and inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct FileId {
    pub(crate) device: u64,
    pub(crate) inode: u64,
}

/// What is used of `/proc/PID/stat`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Stat {
    /// One letter; `Z` is a zombie.
    pub(crate) state: u8,
    /// Parent, in the daemon's pid namespace; 0 when it is outside.
    pub(crate) parent: i32,
    /// Clock ticks since boot.
    pub(crate) start_time: u64,
    /// Where the running image lies: code, stack, heap. Each exec draws them anew.
    pub(crate) layout: Layout,
}

/// Addresses that address-space randomisation draws at each exec (`stat` fields 26, 28 and 47). All are 0 in
/// the middle of an exec, and for a reader who may not see them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Layout {
    pub(crate) code: u64,
    pub(crate) stack: u64,
    pub(crate) heap: u64,
}

/// What is used of `/proc/PID/status`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Status {
    /// Thread-group id.
    pub(crate) pid: i32,
    /// Who traces it; 0 is nobody.
    pub(crate) tracer: i32,
    /// Real, effective, saved.
    pub(crate) uids: [u32; 3],
    /// Real, effective, saved.
    pub(crate) gids: [u32; 3],
    /// Supplementary groups, in the kernel's order (sorted).
    pub(crate) groups: Vec<u32>,
}

impl ProcDir {
    /// Opens `/proc/PID`.
    ///
    /// # Errors
    /// `ENOENT` when nobody has the number.
    pub(crate) fn open(pid: i32) -> io::Result<Self> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        Ok(Self(open(format!("/proc/{pid}").as_str(), flags, Mode::empty())?))
    }

    /// `/proc/PID/stat`.
    ///
    /// # Errors
    /// `ESRCH` when the process has exited; `InvalidData` when the text is not understood.
    pub(crate) fn stat(&self) -> io::Result<Stat> {
        parse_stat(&self.read(c"stat")?).ok_or_else(not_understood)
    }

    /// `/proc/PID/status`.
    ///
    /// # Errors
    /// As [`ProcDir::stat`].
    pub(crate) fn status(&self) -> io::Result<Status> {
        parse_status(&self.read(c"status")?).ok_or_else(not_understood)
    }

    /// The execution domain (`personality(2)`).
    ///
    /// # Errors
    /// `EPERM` when we may not look.
    pub(crate) fn personality(&self) -> io::Result<u32> {
        let text = self.read(c"personality")?;
        let text = std::str::from_utf8(&text).map_err(|_| not_understood())?;
        u32::from_str_radix(text.trim_end(), 16).map_err(|_| not_understood())
    }

    /// The path in the v2 hierarchy, as `/user.slice/…`.
    ///
    /// # Errors
    /// As [`ProcDir::stat`]; `InvalidData` where there is no v2 hierarchy.
    pub(crate) fn cgroup(&self) -> io::Result<PathBuf> {
        parse_cgroup(&self.read(c"cgroup")?).ok_or_else(not_understood)
    }

    /// The executable's file, opened without access to its content (`O_PATH`): an open for reading may be
    /// answered by a FUSE server, when it likes.
    ///
    /// # Errors
    /// `ENOENT` for a zombie leader or a kernel thread; `EACCES` when we may not look.
    pub(crate) fn executable(&self) -> io::Result<OwnedFd> {
        Ok(openat(&self.0, c"exe", OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty())?)
    }

    /// Device and inode of the executable's file.
    ///
    /// # Errors
    /// As [`ProcDir::executable`].
    pub(crate) fn executable_id(&self) -> io::Result<FileId> {
        self.id_of(c"exe")
    }

    /// The path the executable had when it was started, as the kernel spells it now.
    ///
    /// # Errors
    /// As [`ProcDir::executable`].
    pub(crate) fn executable_path(&self) -> io::Result<OsString> {
        Ok(readlinkat(&self.0, c"exe")?)
    }

    /// Opens the executable's content for hashing.
    ///
    /// # Errors
    /// As [`ProcDir::executable`], and what its file system says.
    pub(crate) fn open_executable(&self) -> io::Result<File> {
        let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
        Ok(openat(&self.0, c"exe", flags, Mode::empty())?.into())
    }

    /// Which user namespace it is in.
    ///
    /// # Errors
    /// `EACCES` when we may not look.
    pub(crate) fn user_namespace(&self) -> io::Result<FileId> {
        self.id_of(c"ns/user")
    }

    /// Where one of its descriptors leads, as `socket:[4711]`.
    ///
    /// # Errors
    /// `ENOENT` when it has no such descriptor.
    pub(crate) fn descriptor(&self, number: RawFd) -> io::Result<OsString> {
        let name = CString::new(format!("fd/{number}")).map_err(|_| not_understood())?;
        Ok(readlinkat(&self.0, name.as_c_str())?)
    }

    /// What the kernel has in memory: a file system that another process answers for is not asked.
    fn id_of(&self, name: &CStr) -> io::Result<FileId> {
        // SAFETY: statx is plain data, for which all zero is a valid value.
        let mut stat: libc::statx = unsafe { std::mem::zeroed() };
        let flags = libc::AT_STATX_DONT_SYNC | libc::AT_NO_AUTOMOUNT;
        // SAFETY: the directory is open, name ends with NUL, and stat has room for what the call writes; all outlive it.
        let done = unsafe { libc::statx(self.0.as_raw_fd(), name.as_ptr(), flags, libc::STATX_INO, &raw mut stat) };
        if done != 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(FileId { device: libc::makedev(stat.stx_dev_major, stat.stx_dev_minor), inode: stat.stx_ino })
    }

    fn read(&self, name: &CStr) -> io::Result<Vec<u8>> {
        let fd = openat(&self.0, name, OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())?;
        // One read gets all of it as it was at one moment, unless there are thousands of groups.
        let mut bytes = Vec::with_capacity(4096);
        File::from(fd).take(FILE_BYTES_MAX as u64).read_to_end(&mut bytes)?;
        Ok(bytes)
    }
}

/// Device and inode of what a descriptor leads to.
///
/// # Errors
/// What `fstat` said.
pub(crate) fn file_id(file: &impl AsFd) -> io::Result<FileId> {
    let stat = fstat(file)?;
    Ok(FileId { device: stat.st_dev, inode: stat.st_ino })
}

/// Opens an absolute path below `root` without access to its content; no link on the way leads out of it.
///
/// # Errors
/// `ENOENT` when there is none; `ENOSYS` before Linux 5.6.
pub(crate) fn open_below(root: &Path, path: &Path) -> io::Result<OwnedFd> {
    let root = open(root, OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())?;
    let path = CString::new(path.as_os_str().as_bytes()).map_err(|_| not_understood())?;
    // SAFETY: open_how is plain data, for which all zero is a valid value.
    let mut how: libc::open_how = unsafe { std::mem::zeroed() };
    how.flags = u64::from((libc::O_PATH | libc::O_CLOEXEC | libc::O_NOFOLLOW).cast_unsigned());
    how.resolve = libc::RESOLVE_IN_ROOT | libc::RESOLVE_NO_MAGICLINKS;
    // SAFETY: root is open, path ends with NUL, and how is passed with its own size; all outlive the call.
    let fd = unsafe {
        libc::syscall(libc::SYS_openat2, root.as_raw_fd(), path.as_ptr(), &raw const how, size_of::<libc::open_how>())
    };
    match RawFd::try_from(fd) {
        // SAFETY: the system call has just returned this descriptor, so nobody else owns it.
        Ok(fd) if fd >= 0 => Ok(unsafe { OwnedFd::from_raw_fd(fd) }),
        _ => Err(io::Error::last_os_error()),
    }
}

fn not_understood() -> io::Error {
    io::Error::from(io::ErrorKind::InvalidData)
}

/// Parses `/proc/PID/stat`. The name in parentheses is the process's own choice and may hold anything, further
/// parentheses and line breaks too: the fields begin after the last one.
pub(crate) fn parse_stat(text: &[u8]) -> Option<Stat> {
    let end = text.iter().rposition(|byte| *byte == b')')?;
    let rest = std::str::from_utf8(text.get(end + 1..)?).ok()?;
    let mut fields = rest.split_ascii_whitespace();
    // Numbered as in proc_pid_stat(5), where the state is field 3.
    let mut at = 3;
    let mut field = |number: usize| {
        let text = fields.nth(number - at)?;
        at = number + 1;
        Some(text)
    };
    Some(Stat {
        state: *field(3)?.as_bytes().first()?,
        parent: field(4)?.parse().ok()?,
        start_time: field(22)?.parse().ok()?,
        layout: Layout {
            code: field(26)?.parse().ok()?,
            stack: field(28)?.parse().ok()?,
            heap: field(47)?.parse().ok()?,
        },
    })
}

/// Parses `/proc/PID/status`. The kernel escapes the name on its first line, so that it cannot make a line of its
/// own; a key that comes twice is refused all the same.
pub(crate) fn parse_status(text: &[u8]) -> Option<Status> {
    let (mut pid, mut tracer, mut uids, mut gids, mut groups) = (None, None, None, None, None);
    for line in text.split(|byte| *byte == b'\n') {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        let (key, value) = line.split_at_checked(colon)?;
        let value = || std::str::from_utf8(value.get(1..)?).ok();
        match key {
            b"Tgid" => set(&mut pid, value()?.trim().parse().ok()?)?,
            b"TracerPid" => set(&mut tracer, value()?.trim().parse().ok()?)?,
            b"Uid" => set(&mut uids, first_three(value()?)?)?,
            b"Gid" => set(&mut gids, first_three(value()?)?)?,
            b"Groups" => {
                let list = value()?.split_ascii_whitespace().take(GROUPS_MAX + 1).map(str::parse);
                let list = list.collect::<Result<Vec<u32>, _>>().ok()?;
                set(&mut groups, (list.len() <= GROUPS_MAX).then_some(list)?)?;
            }
            _ => {}
        }
    }
    Some(Status { pid: pid?, tracer: tracer?, uids: uids?, gids: gids?, groups: groups? })
}

/// Parses `/proc/PID/cgroup`: the path of the v2 hierarchy (`0::/…`).
pub(crate) fn parse_cgroup(text: &[u8]) -> Option<PathBuf> {
    let path = text.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(b"0::"))?;
    path.starts_with(b"/").then(|| OsString::from_vec(path.to_vec()).into())
}

fn set<T>(slot: &mut Option<T>, value: T) -> Option<()> {
    slot.replace(value).is_none().then_some(())
}

/// Real, effective and saved of the four ids in a `Uid:` or `Gid:` line; the fourth follows the second.
fn first_three(value: &str) -> Option<[u32; 3]> {
    let mut ids = value.split_ascii_whitespace().map(|id| id.parse().ok());
    Some([ids.next()??, ids.next()??, ids.next()??])
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    const STAT: &str = "4711 (NAME) S 17 4711 17 34816 4711 4194304 1 2 3 4 5 6 7 8 20 0 1 0 987654 22 33 \
        18446744073709551615 1000 2000 3000 4000 5000 0 0 0 0 1 0 0 17 1 0 0 0 0 0 6000 7000 8000 9 10 11 12 0";

    #[test]
    fn stat_is_read_by_the_kernels_field_numbers() {
        let stat = parse_stat(STAT.as_bytes()).unwrap();
        let layout = Layout { code: 1000, stack: 3000, heap: 8000 };
        assert_eq!(stat, Stat { state: b'S', parent: 17, start_time: 987_654, layout });
    }

    #[test]
    fn a_name_cannot_forge_fields() {
        for name in ["x) R 1 1 1", "a b (c) d)", ")", "\n) Z 1", "((("] {
            let text = STAT.replace("NAME", name);
            assert_eq!(parse_stat(text.as_bytes()), parse_stat(STAT.as_bytes()), "{name:?}");
        }
    }

    #[test]
    fn a_cut_stat_is_refused() {
        let end = STAT.find(" 8000").unwrap();
        for cut in 0..end {
            assert_eq!(parse_stat(STAT.get(..cut).unwrap().as_bytes()), None, "cut at {cut}");
        }
    }

    #[test]
    fn status_is_read_and_a_second_key_refused() {
        let text = "Name:\tx\nTgid:\t7\nTracerPid:\t0\nUid:\t1\t2\t3\t4\nGid:\t5\t6\t7\t8\nGroups:\t4 20 \n";
        let status = Status { pid: 7, tracer: 0, uids: [1, 2, 3], gids: [5, 6, 7], groups: vec![4, 20] };
        assert_eq!(parse_status(text.as_bytes()), Some(status));
        assert_eq!(parse_status(format!("{text}Uid:\t0\t0\t0\t0\n").as_bytes()), None);
        assert_eq!(parse_status(text.replace("\t2\t3\t4", "").as_bytes()), None);
        let mut odd = b"Name:\t\xff\xfe\n".to_vec();
        odd.extend_from_slice(text.strip_prefix("Name:\tx\n").unwrap().as_bytes());
        assert!(parse_status(&odd).is_some(), "a name need not be UTF-8");
    }

    #[test]
    fn the_v2_path_is_found_among_v1_hierarchies() {
        let text = b"9:name=systemd:/x\n8:pids:/\n0::/user.slice/a:b\n";
        assert_eq!(parse_cgroup(text), Some(PathBuf::from("/user.slice/a:b")));
        assert_eq!(parse_cgroup(b"8:pids:/\n"), None);
    }

    #[test]
    fn our_own_process_is_understood() {
        let dir = ProcDir::open(i32::try_from(std::process::id()).unwrap()).unwrap();
        let stat = dir.stat().unwrap();
        assert!(stat.layout.code != 0 && stat.layout.stack != 0);
        let status = dir.status().unwrap();
        assert_eq!(status.uids, [nix::unistd::getuid().as_raw(); 3]);
        let path = PathBuf::from(dir.executable_path().unwrap());
        let named = open_below(Path::new("/"), &path).unwrap();
        assert_eq!(file_id(&dir.executable().unwrap()).unwrap(), file_id(&named).unwrap());
    }

    #[test]
    fn a_directory_of_a_dead_process_answers_nothing() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let dir = ProcDir::open(i32::try_from(child.id()).unwrap()).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(dir.stat().unwrap_err().raw_os_error(), Some(libc::ESRCH));
    }
}
