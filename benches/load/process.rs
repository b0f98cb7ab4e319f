//! What the kernel says of a process: its time, its memory; and our own clock and descriptors.

use std::{fs, os::unix::net::UnixStream, path::Path, time::Duration};

use anyhow::{Context as _, Result};
use nix::{
    sys::{
        resource::{Resource, getrlimit, setrlimit},
        socket::{getsockopt, sockopt::PeerCredentials},
    },
    time::{ClockId, clock_getcpuclockid, clock_gettime},
    unistd::Pid,
};

/// A process's memory, in KiB.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Memory {
    pub(crate) rss: f64,
    /// Shared pages count as their share.
    pub(crate) pss: f64,
    pub(crate) anonymous: f64,
}

/// CPU time of all threads of a process, those that have ended too.
pub(crate) fn cpu(pid: i32) -> Result<Duration> {
    let clock = clock_getcpuclockid(Pid::from_raw(pid)).context("the process's clock")?;
    Ok(clock_gettime(clock)?.into())
}

/// CPU time of the calling thread.
pub(crate) fn own_cpu() -> Result<Duration> {
    Ok(clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)?.into())
}

/// A moment that all processes of the machine agree on, in nanoseconds.
pub(crate) fn moment() -> u64 {
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(Duration::ZERO, Duration::from);
    u64::try_from(now.as_nanos()).unwrap_or(u64::MAX)
}

/// What a process has in memory now. The exact sums are shown to root alone, since the daemon lets nobody look.
pub(crate) fn memory(pid: i32) -> Result<Memory> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    let field = |name: &str| {
        let line = rollup.lines().chain(status.lines()).find_map(|line| line.strip_prefix(name));
        line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok())
    };
    let (rss, anonymous) = (field("Rss:").or(field("VmRSS:")), field("Anonymous:").or(field("RssAnon:")));
    Ok(Memory {
        rss: rss.unwrap_or_default(),
        pss: field("Pss:").unwrap_or_default(),
        anonymous: anonymous.unwrap_or_default(),
    })
}

/// The process that listens on a socket.
pub(crate) fn listener(socket: &Path) -> Result<i32> {
    Ok(getsockopt(&UnixStream::connect(socket)?, PeerCredentials)?.pid())
}

/// As many descriptors as may be had, for us and for what we start.
pub(crate) fn raise_descriptor_limit() -> Result<()> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    Ok(setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?)
}

/// The most connections that a daemon with two descriptors each can have, and still breathe.
pub(crate) fn connections_max() -> usize {
    const MOST: usize = 9_500;
    const RESERVE: u64 = 1_000;
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap_or((0, 4_096));
    usize::try_from(hard.saturating_sub(RESERVE) / 2).map_or(MOST, |fits| fits.min(MOST))
}
