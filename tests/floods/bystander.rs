//! Who has done nothing: fetches on new and on a kept connection, and how long that takes. And what the daemon uses.

use std::{
    fs, io,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use super::common::{
    h2raw::{FETCH_SVID, Head, Raw, message},
    messages::Watch,
};

/// Times of one phase.
#[derive(Clone, Debug, Default)]
pub(super) struct Times {
    pub(super) new: Vec<Duration>,
    pub(super) kept: Vec<Duration>,
    pub(super) failures: Vec<String>,
}

impl Times {
    pub(super) fn percentile(times: &[Duration], percent: usize) -> Duration {
        let mut sorted = times.to_vec();
        sorted.sort();
        sorted.get((sorted.len() * percent / 100).min(sorted.len().saturating_sub(1))).copied().unwrap_or_default()
    }
}

pub(super) struct Bystander {
    socket: PathBuf,
    kept: Option<Raw>,
}

impl Bystander {
    pub(super) fn new(socket: &Path) -> Self {
        Self { socket: socket.to_owned(), kept: None }
    }

    /// Fetches now and then for so long.
    pub(super) fn watch(&mut self, length: Duration) -> Times {
        let [times] = watch([self], length);
        times
    }

    fn fetch(&mut self, times: &mut Times) {
        let begin = Instant::now();
        match on_new(&self.socket) {
            Ok(()) => times.new.push(begin.elapsed()),
            Err(error) => times.failures.push(format!("new connection: {error}")),
        }
        if self.kept.is_none() {
            self.kept = Raw::connect(&self.socket).and_then(|mut raw| on_kept(&mut raw).map(|()| raw)).ok();
        }
        let begin = Instant::now();
        match self.kept.as_mut().map(on_kept) {
            Some(Ok(())) => times.kept.push(begin.elapsed()),
            Some(Err(error)) => {
                times.failures.push(format!("kept connection: {error}"));
                self.kept = None;
            }
            None => times.failures.push("no connection could be kept".to_owned()),
        }
    }
}

/// All of them fetch for so long, one after the other, so that the machine is as busy for each.
pub(super) fn watch<const N: usize>(mut bystanders: [&mut Bystander; N], length: Duration) -> [Times; N] {
    let mut all = std::array::from_fn(|_| Times::default());
    let end = Instant::now() + length;
    while Instant::now() < end {
        for (bystander, times) in bystanders.iter_mut().zip(&mut all) {
            bystander.fetch(times);
            thread::sleep(Duration::from_millis(2));
        }
    }
    all
}

fn on_new(socket: &Path) -> io::Result<()> {
    let served = Watch::open(socket)?.next()?;
    served.map(drop).map_err(|answer| io::Error::other(format!("{:?} {}", answer.code(), answer.words())))
}

fn on_kept(raw: &mut Raw) -> io::Result<()> {
    let stream = raw.call(&Head::new(FETCH_SVID), &message(&[]))?;
    let served = raw.next_message(stream)?;
    raw.reset(stream)?;
    served.map(drop).map_err(|answer| io::Error::other(format!("{:?} {}", answer.code(), answer.words())))
}

/// What a process has used, as its /proc tells.
#[derive(Clone, Copy, Debug)]
pub(super) struct Usage {
    pid: i32,
    pub(super) rss_mib: u64,
    pub(super) peak_mib: u64,
    pub(super) cpu: Duration,
}

impl Usage {
    pub(super) fn of(pid: i32) -> Self {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let kib = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
            line.split_whitespace().next().and_then(|number| number.parse::<u64>().ok()).unwrap_or_default()
        };
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        // Fields 14 and 15, counted from behind the name; in hundredths of a second on every Linux.
        let after_name = stat.rsplit(')').next().unwrap_or_default();
        let ticks: u64 =
            after_name.split_whitespace().skip(11).take(2).filter_map(|number| number.parse::<u64>().ok()).sum();
        Self {
            pid,
            rss_mib: kib("VmRSS:") / 1_024,
            peak_mib: kib("VmHWM:") / 1_024,
            cpu: Duration::from_millis(ticks * 10),
        }
    }

    /// Begins the peak anew, where we may.
    pub(super) fn reset_peak(&self) {
        fs::write(format!("/proc/{}/clear_refs", self.pid), "5").ok();
    }
}
