//! All attacks, in lanes of their own, some at once; what came of them, counted; and the table at the end.

use std::{
    collections::{BTreeSet, VecDeque},
    fs,
    io::{BufRead, BufReader},
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;

use crate::{
    kernel::{die_with_parent, signal},
    lane::Order,
    naive::Switches,
    server::Target,
    table::{Attack, Kind},
};

/// A column of the table.
#[derive(Clone, Debug)]
pub struct Column {
    pub title: String,
    /// `None` is the control.
    pub without: Option<Vec<String>>,
}

/// What came of one attack in one column.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    pub answered: usize,
    pub refused: usize,
    /// Refused, and not in the audit log with a reason that fits.
    pub unrecorded: usize,
    pub broken: usize,
    pub skipped: usize,
    pub reasons: BTreeSet<String>,
    pub owner_served: usize,
    pub owner_denied: usize,
    /// What somebody who looks for a fault should read.
    pub notes: BTreeSet<String>,
}

impl Tally {
    fn tries(&self) -> usize {
        self.answered + self.refused + self.broken + self.skipped
    }

    fn add(&mut self, other: Self) {
        self.answered += other.answered;
        self.refused += other.refused;
        self.unrecorded += other.unrecorded;
        self.broken += other.broken;
        self.skipped += other.skipped;
        self.reasons.extend(other.reasons);
        self.owner_served += other.owner_served;
        self.owner_denied += other.owner_denied;
        self.notes.extend(other.notes);
    }

    /// Whether it is what it must be.
    pub fn verdict(&self, attack: &Attack, column: &Column) -> Verdict {
        let tries = self.tries();
        if is_absent(attack, column) {
            return Verdict::Absent;
        }
        if tries > 0 && self.skipped == tries {
            return Verdict::Skipped;
        }
        let good = match (attack.kind, &column.without) {
            (Kind::Twin, _) => self.answered == tries,
            // One in twenty may miss: a control is a race in places.
            (Kind::Attack, None) => tries - self.answered <= (tries / 20).max(usize::from(tries >= 10)),
            (Kind::Attack, Some(_)) => self.refused == tries && self.unrecorded == 0,
        };
        if good && tries > 0 && self.owner_denied == 0 { Verdict::Passed } else { Verdict::Failed }
    }

    /// As `n/N`, of what there should be.
    pub fn figure(&self, attack: &Attack, column: &Column) -> String {
        let good = match (attack.kind, &column.without) {
            (Kind::Twin, _) | (Kind::Attack, None) => self.answered,
            (Kind::Attack, Some(_)) => self.refused - self.unrecorded,
        };
        if is_absent(attack, column) { "-".to_owned() } else { format!("{good}/{}", self.tries()) }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Passed,
    Failed,
    Skipped,
    /// There is nothing to show.
    Absent,
}

/// An honest twin has a control only where a server with every rule but one serves it too.
fn is_absent(attack: &Attack, column: &Column) -> bool {
    attack.kind == Kind::Twin && column.without.is_none() && attack.control.is_empty()
}

/// Lanes at once. Most of them wait for something most of the time.
const LANES: usize = 6;
/// Tries in one lane at most.
const TRIES_MAX: usize = 25;
/// The same where each try waits for a deadline.
const WAITING_TRIES_MAX: usize = 5;

struct Job {
    attack: usize,
    column: usize,
    order: Order,
}

/// Runs each attack so many times in each column. The answer has a row for each attack, a tally for each column.
pub fn run(attacks: &[&'static Attack], columns: &[Column], rounds: usize) -> Vec<Vec<Tally>> {
    let folder = Folder::new();
    let mut jobs = VecDeque::new();
    for (row, attack) in attacks.iter().enumerate() {
        for (at, column) in columns.iter().enumerate().filter(|(_, column)| !is_absent(attack, column)) {
            let target = match &column.without {
                None => Target::Naive(Switches::of(attack.control)),
                Some(without) => Target::Dayfly(without.clone()),
            };
            let lane = if attack.waits { WAITING_TRIES_MAX } else { TRIES_MAX };
            let mut left = rounds;
            while left > 0 {
                let tries = left.min(lane);
                left -= tries;
                let folder = folder.0.join(format!("{}", jobs.len()));
                let order = Order { attack, target: target.clone(), tries, folder };
                jobs.push_back(Job { attack: row, column: at, order });
            }
        }
    }
    let all = jobs.len();
    let (jobs, done) = (Mutex::new(jobs), AtomicUsize::new(0));
    let tallies = Mutex::new(vec![vec![Tally::default(); columns.len()]; attacks.len()]);
    thread::scope(|scope| {
        for _ in 0..LANES {
            scope.spawn(|| {
                loop {
                    let Some(job) = jobs.lock().unwrap_or_else(PoisonError::into_inner).pop_front() else { return };
                    let tally = lane(&job.order);
                    let mut tallies = tallies.lock().unwrap_or_else(PoisonError::into_inner);
                    tallies[job.attack][job.column].add(tally);
                    let count = done.fetch_add(1, Ordering::Relaxed) + 1;
                    if count.is_multiple_of(50) {
                        eprintln!("{count} of {all} lanes");
                    }
                }
            });
        }
    });
    tallies.into_inner().unwrap_or_else(PoisonError::into_inner)
}

/// Runs one lane and counts what it says.
fn lane(order: &Order) -> Tally {
    let mut tally = Tally::default();
    if let Err(error) = lane_in(order, &mut tally) {
        tally.notes.insert(format!("lane: {error}"));
    }
    fs::remove_dir_all(&order.folder).ok();
    let missing = order.tries.saturating_sub(tally.tries());
    tally.broken += missing;
    tally
}

fn lane_in(order: &Order, tally: &mut Tally) -> std::io::Result<()> {
    fs::DirBuilder::new().mode(0o755).create(&order.folder)?;
    let log = fs::File::create(order.folder.join("log"))?;
    let mut command = Command::new("/proc/self/exe");
    command.arg("lane").args(order.words()).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log);
    let mut child = die_with_parent(&mut command).spawn()?;
    let lines = child.stdout.take().map(BufReader::new);
    let seconds = u64::try_from(order.tries).unwrap_or(0).saturating_mul(20).saturating_add(60);
    let until = Instant::now() + Duration::from_secs(seconds);
    let pid = i32::try_from(child.id()).unwrap_or(0);
    let (finished, wait) = std::sync::mpsc::channel::<()>();
    let watch = thread::spawn(move || {
        let late = wait.recv_timeout(until.saturating_duration_since(Instant::now()));
        if matches!(late, Err(std::sync::mpsc::RecvTimeoutError::Timeout)) {
            signal(pid, Signal::SIGKILL).ok();
        }
    });
    for line in lines.into_iter().flat_map(BufRead::lines).map_while(Result::ok) {
        count(&line, order.attack, tally);
    }
    let status = child.wait()?;
    drop(finished);
    watch.join().ok();
    if !status.success() {
        let words = fs::read_to_string(order.folder.join("log")).unwrap_or_default();
        tally.notes.insert(format!("lane: {status}: {}", words.trim()));
    }
    Ok(())
}

fn count(line: &str, attack: &Attack, tally: &mut Tally) {
    let words: Vec<&str> = line.split('\t').collect();
    match words.as_slice() {
        ["try", "answered", ..] => tally.answered += 1,
        ["try", "refused", reasons, _] => {
            let reasons: BTreeSet<String> =
                reasons.split(',').filter(|one| !one.is_empty()).map(str::to_owned).collect();
            tally.refused += 1;
            let fits = attack.reasons.iter().any(|reason| reasons.contains(*reason));
            tally.unrecorded += usize::from(!fits);
            tally.reasons.extend(reasons);
        }
        ["try", "prevented", _, why] => {
            tally.refused += 1;
            tally.reasons.insert(format!("({why})"));
        }
        ["try", "skipped", _, why] => {
            tally.skipped += 1;
            tally.notes.insert((*why).to_owned());
        }
        ["try", "broken", _, why] => {
            tally.broken += 1;
            tally.notes.insert((*why).to_owned());
        }
        ["owner", "served", ..] => tally.owner_served += 1,
        ["owner", _, why] => {
            tally.owner_denied += 1;
            tally.notes.insert(format!("the rightful owner was not served {why}"));
        }
        other => {
            tally.notes.insert(other.join(" "));
        }
    }
}

/// A folder that goes when it is dropped; its path is short, since socket paths are.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let path = std::env::temp_dir().join(format!("dfa-{}", std::process::id()));
        fs::DirBuilder::new().mode(0o755).create(&path).expect("a folder for the attacks");
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let path: &Path = &self.0;
        fs::remove_dir_all(path).ok();
    }
}
