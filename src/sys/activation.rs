//! What a service manager gives a process at its start: sockets that listen already, and an address to report to.
//!
//! As systemd passes them (`sd_listen_fds(3)`, `sd_notify(3)`): in variables of the environment, which are taken out of
//! it, so that no child takes them for its own.
#![expect(unsafe_code, reason = "the environment, and descriptors that were left open for us")]

use std::{
    env,
    ffi::{OsStr, OsString},
    fs, io,
    os::fd::{FromRawFd as _, OwnedFd, RawFd},
};

use super::notify::Notify;

/// The most sockets that are taken.
pub(crate) const PASSED_MAX: usize = 32;

/// What was given.
#[derive(Debug, Default)]
pub(crate) struct Activation {
    pub(crate) sockets: Vec<Passed>,
    pub(crate) notify: Notify,
}

/// A descriptor that was open at the start.
#[derive(Debug)]
pub(crate) struct Passed {
    pub(crate) fd: OwnedFd,
    /// Its number then, as the person who passed it knows it.
    pub(crate) number: RawFd,
    /// What the service manager calls it; empty where it does not say.
    pub(crate) name: String,
}

/// Why what was given cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// A variable that is no number.
    #[error("{variable} is {value:?}, which is not a number")]
    NoNumber { variable: &'static str, value: OsString },
    /// Too many.
    #[error("LISTEN_FDS passes {count} sockets, {PASSED_MAX} are the most")]
    TooMany { count: usize },
    /// More or fewer names than sockets.
    #[error("LISTEN_FDNAMES names {names} sockets, and LISTEN_FDS passes {count}")]
    Names { names: usize, count: usize },
    /// A number that stands for nothing.
    #[error("LISTEN_FDS passes descriptor {number}, which is not open")]
    NotOpen { number: RawFd },
    /// Something else runs in this process already, and may read the environment.
    #[error("the environment cannot be changed any more")]
    Threads,
    /// The system said no.
    #[error("what the service manager passed cannot be taken")]
    Io(#[from] io::Error),
}

/// Takes what was given to this process, once, before it has a second thread.
///
/// # Errors
/// When the variables contradict themselves or the descriptors; then nothing should be served.
pub(crate) fn take() -> Result<Activation, Error> {
    if !VARIABLES.iter().chain([&NOTIFY]).any(|name| env::var_os(name).is_some()) {
        return Ok(Activation::default());
    }
    let announced = announced(|name| env::var_os(name), std::process::id());
    let notify = env::var_os(NOTIFY).map(Notify::to).unwrap_or_default();
    if fs::read_dir("/proc/self/task")?.count() != 1 {
        return Err(Error::Threads);
    }
    for name in VARIABLES.iter().chain([&NOTIFY]) {
        // SAFETY: this is the only thread, as was just looked up, so nobody reads the environment meanwhile.
        unsafe { env::remove_var(name) };
    }
    let sockets = announced?.into_iter().map(|(number, name)| own(number).map(|fd| Passed { fd, number, name }));
    Ok(Activation { sockets: sockets.collect::<Result<_, _>>()?, notify })
}

/// The numbers and names that the variables say; none when they are meant for another process.
fn announced(of: impl Fn(&str) -> Option<OsString>, own: u32) -> Result<Vec<(RawFd, String)>, Error> {
    let number = |variable: &'static str| match of(variable) {
        None => Ok(None),
        Some(value) => match value.to_str().and_then(|text| text.parse::<usize>().ok()) {
            Some(number) => Ok(Some(number)),
            None => Err(Error::NoNumber { variable, value }),
        },
    };
    let (pid, count) = (number("LISTEN_PID")?, number("LISTEN_FDS")?.unwrap_or(0));
    if pid != usize::try_from(own).ok() || count == 0 {
        return Ok(Vec::new());
    }
    if count > PASSED_MAX {
        return Err(Error::TooMany { count });
    }
    let names = of("LISTEN_FDNAMES").filter(|names| !names.is_empty());
    let names: Vec<String> = match names.as_deref().map(OsStr::to_string_lossy) {
        Some(names) => names.split(':').map(str::to_owned).collect(),
        None => vec![String::new(); count],
    };
    if names.len() != count {
        return Err(Error::Names { names: names.len(), count });
    }
    Ok((FIRST..).zip(names).collect())
}

/// Takes over a descriptor that was left open for us; no child gets it.
fn own(number: RawFd) -> Result<OwnedFd, Error> {
    // SAFETY: fcntl(2) with F_SETFD takes integers; of a number that is not open it says EBADF.
    if unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) } < 0 {
        return Err(Error::NotOpen { number });
    }
    // SAFETY: it is open, and was passed to this process to keep; the variable that said so is gone, so nobody takes
    // it twice. It is taken before anything of ours was opened, so no other part of us can own that number.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// The first number that a service manager passes (`SD_LISTEN_FDS_START`).
const FIRST: RawFd = 3;
const VARIABLES: [&str; 4] = ["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "LISTEN_PIDFDID"];
const NOTIFY: &str = "NOTIFY_SOCKET";

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn read(pid: &str, fds: &str, names: Option<&str>) -> Result<Vec<(RawFd, String)>, Error> {
        let of = |name: &str| match name {
            "LISTEN_PID" => Some(pid.into()),
            "LISTEN_FDS" => Some(fds.into()),
            "LISTEN_FDNAMES" => names.map(Into::into),
            _ => None,
        };
        announced(of, 77)
    }

    #[test]
    fn numbers_and_names_are_as_systemd_says_them() {
        let pair = |number: RawFd, name: &str| (number, name.to_owned());
        assert_eq!(read("77", "2", Some("workload:admin")).unwrap(), [pair(3, "workload"), pair(4, "admin")]);
        assert_eq!(read("77", "1", None).unwrap(), [pair(3, "")]);
        assert_eq!(read("77", "1", Some("")).unwrap(), [pair(3, "")]);
        assert_eq!(read("77", "0", None).unwrap(), []);
        assert_eq!(read("78", "2", None).unwrap(), [], "they are another process's");
        assert_eq!(announced(|_| None, 77).unwrap(), []);
    }

    #[test]
    fn what_contradicts_itself_is_refused() {
        assert!(matches!(read("77", "two", None), Err(Error::NoNumber { variable: "LISTEN_FDS", .. })));
        assert!(matches!(read("-1", "1", None), Err(Error::NoNumber { variable: "LISTEN_PID", .. })));
        assert!(matches!(read("77", "2", Some("workload")), Err(Error::Names { names: 1, count: 2 })));
        let most = PASSED_MAX.to_string();
        assert_eq!(read("77", &most, None).unwrap().len(), PASSED_MAX);
        assert!(matches!(read("77", &(PASSED_MAX + 1).to_string(), None), Err(Error::TooMany { .. })));
    }

    #[test]
    fn a_number_that_is_not_open_is_no_socket() {
        assert!(matches!(own(1_000_000), Err(Error::NotOpen { number: 1_000_000 })));
    }
}
