//! The process that gets a signal after a write: named by its number, or by a pid file that is read each time.
//!
//! A pid file is somebody's claim. It is believed only as far as its owner could send the signal himself: one of root
//! or of this user names any process, one of another user only a process of that user. The process is held by a pidfd
//! from the first look at it, so that whoever gets its number later gets no signal.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    str::FromStr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use nix::{sys::signal::Signal, unistd::geteuid};

use crate::{
    cli::{exit::Exit, failure::Failure},
    sys::{pidfd::Pidfd, process},
};

/// What the person asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    whom: Whom,
    signal: Signal,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Whom {
    Pid(i32),
    File(PathBuf),
}

impl FromStr for Wanted {
    type Err = String;

    /// `4711`, `4711:USR1`, `/run/nginx.pid`, `/run/nginx.pid:SIGHUP`. What follows the last colon is part of a path
    /// only where it has a slash or a dot.
    fn from_str(text: &str) -> Result<Self, String> {
        let (whom, signal) = match text.rsplit_once(':') {
            Some((whom, name)) if !name.contains(['/', '.']) => (whom, signal(name)?),
            _ => (text, Signal::SIGHUP),
        };
        let whom = match whom {
            "" => return Err("no process and no file is named".into()),
            number if number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-' || byte == b'+') => {
                // 0 and negative numbers are groups of processes, and everybody.
                Whom::Pid(pid(number).ok_or_else(|| format!("`{number}` is not the number of a process"))?)
            }
            path => Whom::File(path.into()),
        };
        Ok(Self { whom, signal })
    }
}

/// Who gets the signal.
pub(super) struct Recipient {
    signal: Signal,
    seat: Arc<Seat>,
}

enum Seat {
    Process(i32, Pidfd),
    File(PathBuf, Mutex<Option<Known>>),
}

/// The process that a pid file has named, for as long as the file is the same one.
struct Known {
    file: FileState,
    pid: i32,
    process: Pidfd,
}

/// What changes when a file is written: device, inode, size, and the time of its last change.
type FileState = (u64, u64, u64, i64, i64);

impl Recipient {
    /// Finds the process of a number at once: it is this one that was meant, and not whoever has the number later. A
    /// pid file may come later.
    ///
    /// # Errors
    /// When no process has the number.
    pub(super) fn new(wanted: &Wanted) -> Result<Self, Failure> {
        let seat = match &wanted.whom {
            Whom::File(path) => Seat::File(path.clone(), Mutex::new(None)),
            Whom::Pid(pid) => Seat::Process(*pid, Pidfd::open(*pid).map_err(|error| not_open(*pid, &error))?),
        };
        Ok(Self { signal: wanted.signal, seat: Arc::new(seat) })
    }

    /// Sends the signal.
    ///
    /// # Errors
    /// When the process has ended, or the pid file is not to be believed, or the system does not allow it.
    pub(super) async fn signal(&self) -> Result<(), Failure> {
        let (signal, seat) = (self.signal, self.seat.clone());
        // Aside, as a file system may hang.
        let sending = process::in_background(move || seat.send(signal));
        match tokio::time::timeout(SEND_WAIT, sending).await {
            Ok(Some(sent)) => sent,
            Ok(None) => Err(Failure::new(Exit::Failed, "no signal was sent: there is no thread to be had")),
            Err(_) => Err(Failure::new(
                Exit::Failed,
                format!("no signal was sent: the pid file was not read within {} s", SEND_WAIT.as_secs()),
            )),
        }
    }
}

impl Seat {
    fn send(&self, signal: Signal) -> Result<(), Failure> {
        match self {
            Self::Process(pid, process) => send(*pid, process, signal),
            Self::File(path, known) => {
                let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
                let (file, meta) = open(path)?;
                let state = (meta.dev(), meta.ino(), meta.size(), meta.ctime(), meta.ctime_nsec());
                // The number in a file that nobody has touched means the process that had it before, or none.
                if known.as_ref().is_none_or(|known| known.file != state) {
                    *known = Some(found(path, file, &meta, state)?);
                }
                match known.as_ref() {
                    Some(known) if known.process.is_alive() => send(known.pid, &known.process, signal),
                    Some(known) => Err(stale(path, known.pid)),
                    None => Ok(()),
                }
            }
        }
    }
}

fn send(pid: i32, process: &Pidfd, signal: Signal) -> Result<(), Failure> {
    process.signal(signal).map_err(|error| match error.raw_os_error() {
        Some(libc::ESRCH) => Failure::new(Exit::Missing, format!("no signal was sent: process {pid} has ended")),
        Some(libc::EPERM) => Failure::new(Exit::Failed, format!("uid {} may not signal process {pid}", geteuid()))
            .hint("run as the service's own user"),
        _ => Failure::because(format_args!("process {pid} was not signalled"), &error),
    })
}

/// The pid file, if it is one that may be believed at all.
fn open(path: &Path) -> Result<(File, fs::Metadata), Failure> {
    let at = path.display();
    let cannot = |error: &io::Error| match error.kind() {
        io::ErrorKind::NotFound => Failure::new(Exit::Missing, format!("the pid file {at} is not there"))
            .hint("is the service running? it takes the new files when it starts"),
        _ => Failure::because(format_args!("the pid file {at} cannot be read"), error),
    };
    let own = geteuid().as_raw();
    if let Ok(link) = fs::symlink_metadata(path)
        && link.is_symlink()
        && ![0, own].contains(&link.uid())
    {
        return Err(Failure::new(Exit::Failed, format!("the pid file {at} is a link of uid {}", link.uid()))
            .hint("name the file itself: whoever owns the link can let it lead anywhere"));
    }
    // A FIFO must not keep us waiting for its writer.
    let opened = OpenOptions::new().read(true).custom_flags(libc::O_CLOEXEC | libc::O_NONBLOCK).open(path);
    let file = opened.map_err(|error| cannot(&error))?;
    let meta = file.metadata().map_err(|error| cannot(&error))?;
    if !meta.is_file() {
        return Err(Failure::new(Exit::Failed, format!("the pid file {at} is not a plain file")));
    }
    if meta.mode() & 0o022 != 0 {
        return Err(Failure::new(Exit::Failed, format!("others than its owner may write the pid file {at}"))
            .hint("`chmod go-w` it: whoever writes there chooses who is signalled"));
    }
    Ok((file, meta))
}

/// The process that the file names.
fn found(path: &Path, file: File, meta: &fs::Metadata, state: FileState) -> Result<Known, Failure> {
    let at = path.display();
    let mut text = String::new();
    let malformed =
        || Failure::new(Exit::Failed, format!("the pid file {at} does not begin with the number of a process"));
    file.take(FILE_BYTES_MAX).read_to_string(&mut text).map_err(|_| malformed())?;
    // Some write more below it (PostgreSQL does).
    let pid = text.lines().next().map(str::trim).and_then(pid).ok_or_else(malformed)?;
    let process = Pidfd::open(pid).map_err(|error| match error.raw_os_error() {
        Some(libc::ESRCH) => stale(path, pid),
        _ => not_open(pid, &error),
    })?;
    if !process.is_alive() {
        return Err(stale(path, pid));
    }
    let owner = meta.uid();
    if ![0, geteuid().as_raw()].contains(&owner) && owner_of(pid, &process) != Some(owner) {
        return Err(Failure::new(
            Exit::Failed,
            format!("the pid file {at} is uid {owner}'s, and process {pid} that it names is not"),
        ));
    }
    Ok(Known { file: state, pid, process })
}

/// The effective uid. Before Linux 6.13 by `/proc`, where a process that hides is root's.
fn owner_of(pid: i32, process: &Pidfd) -> Option<u32> {
    let uid = match process.info() {
        Ok(info) => Some(info.uids[1]),
        Err(_) => fs::metadata(format!("/proc/{pid}")).ok().map(|meta| meta.uid()),
    };
    // Still the same process, so what was read was about it.
    uid.filter(|_| process.is_alive())
}

fn stale(path: &Path, pid: i32) -> Failure {
    Failure::new(Exit::Missing, format!("the pid file {} is stale: there is no process {pid}", path.display()))
        .hint("is the service running? it takes the new files when it starts")
}

fn not_open(pid: i32, error: &io::Error) -> Failure {
    match error.raw_os_error() {
        Some(libc::ESRCH | libc::EINVAL) => Failure::new(Exit::Missing, format!("there is no process {pid}")),
        _ => Failure::because(format_args!("process {pid} cannot be looked at"), error),
    }
}

/// A number from 1 on, as programs write it: nothing but digits.
fn pid(text: &str) -> Option<i32> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|pid| digits && *pid > 0)
}

fn signal(name: &str) -> Result<Signal, String> {
    let name = name.to_ascii_uppercase();
    let whole = if name.starts_with("SIG") { name.clone() } else { format!("SIG{name}") };
    Signal::from_str(&whole).map_err(|_| format!("`{name}` is not the name of a signal, as HUP or SIGUSR1 is"))
}

/// How long reading the pid file may take.
const SEND_WAIT: Duration = Duration::from_secs(10);
/// What is read of a pid file at most.
const FILE_BYTES_MAX: u64 = 4_096;

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use std::{
        os::unix::{
            fs::{PermissionsExt as _, chown, symlink},
            process::ExitStatusExt as _,
        },
        process::{Child, Command},
    };

    use nix::{
        sys::wait::{Id, WaitPidFlag, waitid},
        unistd::Pid,
    };

    use crate::sys::scratch::Scratch;

    use super::*;

    struct World {
        folder: Scratch,
        child: Child,
    }

    impl World {
        fn new() -> Self {
            Self { folder: Scratch::new(), child: Command::new("sleep").arg("600").spawn().unwrap() }
        }

        fn file(&self, text: &str) -> PathBuf {
            let path = self.folder.path().join("a.pid");
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
            path
        }

        fn pid_file(&self) -> PathBuf {
            self.file(&format!("{}\n", self.child.id()))
        }

        fn end(&mut self) -> Option<i32> {
            self.child.wait().unwrap().signal()
        }
    }

    impl Drop for World {
        fn drop(&mut self) {
            self.child.kill().ok();
            self.child.wait().ok();
        }
    }

    fn recipient(text: &str) -> Recipient {
        Recipient::new(&text.parse().unwrap()).unwrap()
    }

    async fn refused(path: &Path) -> String {
        recipient(path.to_str().unwrap()).signal().await.unwrap_err().words().to_owned()
    }

    #[test]
    fn a_process_is_named_by_number_or_by_file_with_a_signal_or_without() {
        for (text, whom, signal) in [
            ("4711", Whom::Pid(4711), Signal::SIGHUP),
            ("4711:USR1", Whom::Pid(4711), Signal::SIGUSR1),
            ("4711:sigterm", Whom::Pid(4711), Signal::SIGTERM),
            ("/run/a.pid", Whom::File("/run/a.pid".into()), Signal::SIGHUP),
            ("/run/a.pid:SIGHUP", Whom::File("/run/a.pid".into()), Signal::SIGHUP),
            ("/run/a:b/c.pid", Whom::File("/run/a:b/c.pid".into()), Signal::SIGHUP),
        ] {
            assert_eq!(text.parse(), Ok(Wanted { whom, signal }), "{text}");
        }
        // Neither groups of processes nor everybody.
        for wrong in ["0", "-1", "-4711", "+5", "99999999999", "", ":HUP", "4711:", "4711:NOPE", "4711:1"] {
            assert!(wrong.parse::<Wanted>().is_err(), "{wrong}");
        }
    }

    #[tokio::test]
    async fn the_signal_reaches_the_process_that_is_named() {
        let mut by_number = World::new();
        recipient(&format!("{}:USR1", by_number.child.id())).signal().await.unwrap();
        assert_eq!(by_number.end(), Some(libc::SIGUSR1));

        let mut by_file = World::new();
        let path = by_file.file(&format!("{}\n/var/lib/more\n", by_file.child.id()));
        recipient(path.to_str().unwrap()).signal().await.unwrap();
        assert_eq!(by_file.end(), Some(libc::SIGHUP));
    }

    #[tokio::test]
    async fn a_process_that_has_ended_gets_nothing() {
        let mut world = World::new();
        let (by_number, by_file) = (recipient(&world.child.id().to_string()), world.pid_file());
        let by_file = recipient(by_file.to_str().unwrap());
        world.child.kill().unwrap();
        // A zombie is nobody either.
        waitid(
            Id::Pid(Pid::from_raw(world.child.id().try_into().unwrap())),
            WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT,
        )
        .unwrap();
        assert!(by_file.signal().await.unwrap_err().words().contains("stale"));
        world.end();
        assert_eq!(by_number.signal().await.unwrap_err().exit(), Exit::Missing);
        assert!(by_file.signal().await.unwrap_err().words().contains("stale"));
        assert_eq!(Recipient::new(&world.child.id().to_string().parse().unwrap()).err().unwrap().exit(), Exit::Missing);
    }

    #[tokio::test]
    async fn a_file_that_was_believed_is_not_read_again_for_whoever_has_the_number_now() {
        let mut world = World::new();
        let path = world.pid_file();
        let recipient = recipient(&format!("{}:CONT", path.display()));
        recipient.signal().await.unwrap();
        world.child.kill().unwrap();
        world.end();
        // Whatever has the number now: the file means the one before.
        assert!(recipient.signal().await.unwrap_err().words().contains("stale"));
        // A file that is written anew means another one.
        let next = World::new();
        fs::remove_file(&path).unwrap();
        world.file(&next.child.id().to_string());
        recipient.signal().await.unwrap();
    }

    #[tokio::test]
    async fn a_malformed_file_is_refused() {
        let world = World::new();
        for wrong in ["", "\n", "0\n", "-1", "+4711", "4711x", "0x10", "pid: 4711", "99999999999", "\u{feff}4711"] {
            assert!(refused(&world.file(wrong)).await.contains("does not begin with the number"), "{wrong:?}");
        }
        let long = format!("{}4711", " ".repeat(5_000));
        assert!(refused(&world.file(&long)).await.contains("does not begin with the number"));
        assert!(refused(&world.folder.path().join("none.pid")).await.contains("is not there"));
        assert!(refused(world.folder.path()).await.contains("not a plain file"));
    }

    #[tokio::test]
    async fn a_fifo_is_refused_and_not_waited_for() {
        let world = World::new();
        let path = world.folder.path().join("fifo");
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert!(refused(&path).await.contains("not a plain file"));
    }

    #[tokio::test]
    async fn a_file_that_others_may_write_is_refused() {
        let world = World::new();
        let path = world.pid_file();
        for mode in [0o666, 0o664, 0o646] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            assert!(refused(&path).await.contains("may write"), "{mode:o}");
        }
    }

    #[tokio::test]
    async fn another_users_file_names_only_that_users_processes() {
        if !geteuid().is_root() {
            return;
        }
        let mut world = World::new();
        let path = world.pid_file();
        chown(&path, Some(4_711), None).unwrap();
        assert!(refused(&path).await.contains("is uid 4711's"), "root's process by a stranger's word");
        let own = Command::new("setpriv").args(["--reuid", "4711", "--clear-groups", "sleep", "600"]).spawn();
        let Ok(own) = own else { return };
        world.child.kill().unwrap();
        world.end();
        world.child = own;
        // Not before it has taken the uid.
        let proc = format!("/proc/{}", world.child.id());
        while fs::metadata(&proc).unwrap().uid() != 4_711 {
            std::thread::yield_now();
        }
        fs::write(&path, world.child.id().to_string()).unwrap();
        recipient(path.to_str().unwrap()).signal().await.unwrap();
        assert_eq!(world.end(), Some(libc::SIGHUP));
    }

    #[tokio::test]
    async fn a_link_of_another_user_is_refused_and_our_own_is_followed() {
        let mut world = World::new();
        let (path, link) = (world.pid_file(), world.folder.path().join("link.pid"));
        symlink(&path, &link).unwrap();
        if geteuid().is_root() {
            std::os::unix::fs::lchown(&link, Some(4_711), None).unwrap();
            assert!(refused(&link).await.contains("is a link of uid 4711"));
            std::os::unix::fs::lchown(&link, Some(0), None).unwrap();
        }
        recipient(link.to_str().unwrap()).signal().await.unwrap();
        assert_eq!(world.end(), Some(libc::SIGHUP));
    }
}
