//! Our own process: it leaves no core, nobody may look into it, and it gives memory back.
#![expect(unsafe_code, reason = "malloc_trim is glibc's alone, and priorities are a thread's on Linux alone")]

use std::{io, thread};

use nix::sys::{
    prctl,
    resource::{Resource, getrlimit, setrlimit},
};

/// No core dump, and no process of the same uid may read our memory or descriptors.
///
/// # Errors
/// What the system said; the daemon does not start then.
pub(crate) fn harden() -> io::Result<()> {
    setrlimit(Resource::RLIMIT_CORE, 0, 0)?;
    prctl::set_dumpable(false)?;
    Ok(())
}

/// Stops this process until it is told to go on.
pub(crate) fn halt() {
    nix::sys::signal::raise(nix::sys::signal::Signal::SIGSTOP).ok();
}

/// Lets a daemon of the same uid look at which program we run, where `kernel.yama.ptrace_scope` forbids it.
pub(crate) fn allow_looks() {
    // SAFETY: PR_SET_PTRACER takes one integer; without Yama it fails with EINVAL, and nothing needs it then.
    unsafe { libc::prctl(libc::PR_SET_PTRACER, libc::PR_SET_PTRACER_ANY) };
}

/// Raises the soft limit of open descriptors to the hard one; answers it.
///
/// # Errors
/// What the system said.
pub(crate) fn raise_descriptor_limit() -> io::Result<u64> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    Ok(hard)
}

/// Runs something that takes a core for long, on a thread of its own that yields to those that serve; `None` when
/// there is no thread to be had.
pub(crate) async fn in_background<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let (sender, done) = tokio::sync::oneshot::channel();
    let run = move || {
        step_back();
        sender.send(work()).ok();
    };
    thread::Builder::new().name("dayfly-work".into()).spawn(run).ok()?;
    done.await.ok()
}

/// Lets the calling thread yield to those that serve, from now on.
pub(crate) fn step_back() {
    // SAFETY: three integers; on Linux 0 is the calling thread. Without the lower priority it works all the same.
    unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, BACKGROUND_NICE) };
}

/// A third of an ordinary thread's share of a busy core.
const BACKGROUND_NICE: libc::c_int = 5;

/// Gives freed memory back to the system, which glibc does not do by itself. Takes milliseconds: not for a thread
/// that serves.
pub(crate) fn give_memory_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: malloc_trim(3) may be called at any time, from any thread.
    unsafe {
        libc::malloc_trim(0);
    }
}
