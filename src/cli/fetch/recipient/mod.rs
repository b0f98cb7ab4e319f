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

use nix::{fcntl::readlinkat, sys::signal::Signal, unistd::geteuid};

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
    let file = match open_itself(path, 0) {
        Err(error) if error.raw_os_error() == Some(libc::ELOOP) => {
            // The very link whose owner is asked is the one that is followed: the name may lead elsewhere by now.
            let link = open_itself(path, libc::O_PATH).map_err(|error| cannot(&error))?;
            let owner = link.metadata().map_err(|error| cannot(&error))?.uid();
            if ![0, geteuid().as_raw()].contains(&owner) {
                return Err(Failure::new(Exit::Failed, format!("the pid file {at} is a link of uid {owner}"))
                    .hint("name the file itself: whoever owns the link can let it lead anywhere"));
            }
            let target = readlinkat(&link, "").map_err(|error| cannot(&error.into()))?;
            open_itself(&path.parent().unwrap_or(Path::new("")).join(target), 0)
        }
        opened => opened,
    };
    let file = file.map_err(|error| cannot(&error))?;
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

/// Opens what has this name, and follows no link. A FIFO must not keep us waiting for its writer.
fn open_itself(path: &Path, flags: i32) -> io::Result<File> {
    let flags = flags | libc::O_CLOEXEC | libc::O_NONBLOCK | libc::O_NOFOLLOW;
    OpenOptions::new().read(true).custom_flags(flags).open(path)
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
mod tests;
